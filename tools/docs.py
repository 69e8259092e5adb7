"""Build the site into `_docs` and its front page into `README.md`; a broken link fails.

smalldocs renders the site and checks its links. Where Quarto is installed, it renders the site instead once that passed; README.md never depends on it."""
import ast
import inspect
import os
import re
import shutil
import sys
from html import escape, unescape
from pathlib import Path

import nbdev.showdoc
from fastcore.docments import DocmentText
from nbdev.config import get_config
from nbdev.quarto import nbdev_docs
from nbdev.serve import proc_nbs
from smalldocs.cli import main as smalldocs
from smalldocs.layout import KATEX


def short(kind:str)->str:
    "A type without the modules it comes from; a fused type of Cython is one of two floats"
    return re.sub(r'\b(?:\w+\.)+(?=[A-Z])', '', re.sub(r'<Cython[\w.]*FusedType object at \w+>', 'floating', kind))


class Signature(DocmentText):
    "A signature without comments"
    @property
    def params(self): return [(p, '') for p, _ in super().params]

    @property
    def _ret_str(self): return super()._ret_str.split(' # ')[0]

    def __str__(self): return short(super().__str__())


def parameters(dm:dict)->str:
    "The docments of a function as a table"
    def text(x): return re.sub(r'\s*\n\s*', ' ', str(x)).replace('|', r'\|')
    def code(x, show): return '' if x is inspect.Parameter.empty else f'`{text(show(x))}`'
    def kind(x): return short(x if isinstance(x, str) else inspect.formatannotation(x))
    def row(name, d): return [name, code(d.get('anno', inspect.Parameter.empty), kind),
                              code(d.get('default', inspect.Parameter.empty), lambda v: getattr(v, '__name__', repr(v))), text(d.get('docment') or '')]
    rows = [row(f'`{n}`', d) for n, d in dm.items() if n!='return']
    if dm.get('return', {}).get('docment'): rows.append(row('**Returns**', dm['return'] | dict(default=inspect.Parameter.empty)))
    if not any(r[3] for r in rows): return ''
    head = ['', 'Type', 'Default', 'Details']
    keep = [i for i in range(4) if any(r[i] for r in rows)]
    return '\n'.join('| '+' | '.join(r[i] for i in keep)+' |' for r in [head, ['---']*4, *rows])


class Documented(nbdev.showdoc.BasicMarkdownRenderer):
    "Signature, docstring, and a table of the parameters"
    def _repr_markdown_(self):
        table = parameters(self.dm.dm)
        if table: self.dm = Signature(self.sym, maxline=64, docstring=False)
        return f'{super()._repr_markdown_()}\n\n{table}'


nbdev.showdoc.BasicMarkdownRenderer = Documented # in the workers of `proc_nbs` too: each imports this file


def take_offline(site:Path):
    "Ask no other host: KaTeX comes from a copy (`dist/` of the npm package katex 0.16.47), and text is set in the reader's own fonts"
    libs = site/'site_libs/katex'
    shutil.copytree(Path(__file__).parent/'katex', libs)
    for page in site.rglob('*.html'):
        html = page.read_text()
        if KATEX in html: page.write_text(html.replace(KATEX, os.path.relpath(libs, page.parent)))
    for css in (site/'site_libs/themes').glob('*.css'): css.write_text(re.sub(r'@import url\(https:[^)]*\);', '', css.read_text()))


ROOMS = ['checks','files','kernels','nonary','runtime','spikes','quant','data','train','inspect','bench','cli'] # a room imports only those before it


def imports(package:Path)->dict:
    "Which rooms each room imports, as its modules say"
    found = {r:set() for r in ROOMS}
    for path in package.rglob('*.py'):
        here = ('quarantion', *path.relative_to(package).with_suffix('').parts)
        if here[1] not in ROOMS: continue
        for n in ast.walk(ast.parse(path.read_text())):
            if isinstance(n, ast.Import): names = [a.name for a in n.names]
            elif isinstance(n, ast.ImportFrom):
                base = '.'.join([*(here[:-n.level] if n.level else ()), *filter(None, [n.module])])
                names = [f'{base}.{a.name}' for a in n.names]
            else: continue
            found[here[1]] |= {m.split('.')[1] for m in names if m.startswith('quarantion.')} & set(ROOMS) - {here[1]}
    return found


def draw_map(cfg):
    "The rooms and what they import, as a picture of lines from each room up to those it stands on; faint where another line leads there too"
    rooms,step,left = imports(cfg.lib_path),30,96
    y = {r:22+step*i for i,r in enumerate(ROOMS)}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 340 {step*len(ROOMS)+14}" font-family="sans-serif" font-size="14"><rect width="100%" height="100%" rx="8" fill="#fcfcfa"/>']
    for r,below in rooms.items():
        for b in sorted(below, key=ROOMS.index):
            faint = any(b in rooms[m] for m in below) # it comes by way of another room anyway
            bend = left+14+19*(ROOMS.index(r)-ROOMS.index(b))
            out.append(f'<path d="M{left} {y[r]} C{bend} {y[r]} {bend} {y[b]} {left} {y[b]}" fill="none" stroke="#0072B2" stroke-opacity="{.2 if faint else .9}" stroke-width="1.3"><title>{r} imports {b}</title></path>')
    out += [f'<circle cx="{left}" cy="{v}" r="4" fill="#0072B2"/><text x="{left-12}" y="{v+5}" text-anchor="end" fill="#222222">{r}</text>' for r,v in y.items()]
    (cfg.nbs_path/'images/rooms.svg').write_text('\n'.join([*out, '</svg>\n']))


def plain(html:str, most:int=200)->str:
    "What `html` says, at most so many characters, as the value of an attribute"
    text = ' '.join(unescape(re.sub('<[^>]+>', '', html)).split()).rstrip(':')
    return escape(text if len(text)<=most else text[:most].rsplit(' ', 1)[0]+' …')


def describe_pictures(site:Path):
    "Each picture that has no alternative text gets its caption, or else the paragraph before it, or the title of the page"
    for page in site.rglob('*.html'):
        parts = re.split(r'(<img\b[^>]*>)', page.read_text())
        said = re.search('<title>(.*?)</title>', parts[0], re.S)[1]
        for i in range(1, len(parts), 2):
            before,after = parts[i-1],parts[i+1]
            caption = re.match(r'(?:\s|</?(?:p|a|div|figure|span)\b[^>]*>)*<(?:div|figcaption|p) class="[^"]*caption[^"]*">(.*?)</(?:div|figcaption|p)>', after, re.S)
            texts = re.findall(r'<(?:p|h[1-6])\b[^>]*>(.*?)</(?:p|h[1-6])>', before, re.S)
            said = next((t for t in reversed(texts) if plain(t)), said)
            if not re.search(r'\balt="(?!png"|svg"|image")[^"]+"', parts[i]):
                parts[i] = re.sub(r'\s+alt="[^"]*"', '', parts[i]).replace('<img', f'<img alt="{plain(caption[1] if caption else said)}"', 1)
        page.write_text(''.join(parts))


def draw_film(cfg):
    "The moving picture of the front page, and its last frame for readers who want no motion: three digits on their way through a stored integer program"
    from quarantion.data import load_digits
    from quarantion.inspect.spike_film import TALL, WIDE, film, follow
    from quarantion.runtime.network import load
    digits,prog = load_digits(),load(cfg.nbs_path/'measured/digits.safetensors')
    for name,places,note in ('film',WIDE,'9 levels of weight,\nintegers only'),('film-tall',TALL,''):
        stages = [follow(prog, digits.x_test[k].reshape(8,8), 36, note, places) for k in (8,3,21)]
        (cfg.nbs_path/f'images/{name}.gif').write_bytes(film(stages))
        stages[0].moment(35).save(cfg.nbs_path/f'images/{name}.png')


def write_readme(cfg):
    "Turn smalldocs' Markdown copy of the front page into README.md: pictures beside it, links to the notebooks"
    page = cfg.doc_path/Path(cfg.readme_nb).stem
    md = page.with_suffix('.llms.md').read_text()
    figures,shown = cfg.config_path/'README_files',page.with_name(f'{page.name}_files')
    shutil.rmtree(figures, ignore_errors=True)
    if shown.exists(): shutil.copytree(shown, figures)
    md = md.replace(f']({shown.name}/', ']({figures}/').replace('](images/', ']({nbs}/images/').replace('="images/', '="{nbs}/images/')
    md = re.sub(r'!\[\w*\](\([^)]*\)\s+<div class="figure-caption">\s+)(.*?)(?=\s+</div>)', lambda m: f'![{m[2].strip()}]{m[1]}{m[2]}', md, flags=re.S)
    md = re.sub(r'\]\((?!\w+:|#|\{)/?([\w/]+)\.llms\.md(?:#[^)]*)?\)', r']({nbs}/\1.ipynb)', md) # links to pages go to their notebooks
    (cfg.config_path/'README.md').write_text(md.replace('{figures}', figures.name).replace('{nbs}', cfg.nbs_path.name) + '\n')


def main():
    cfg = get_config()
    site = f'{cfg.doc_host}{cfg.doc_baseurl}/'
    draw_film(cfg)
    draw_map(cfg)
    cache = proc_nbs(force=True)
    for p in cache.rglob('*.ipynb'):
        txt = p.read_text().replace(site, '/') # links stay inside the local site, where smalldocs checks them
        p.write_text(re.sub(r' *"output-file: .*\n', '', txt)) # smalldocs always names a page after its notebook
    if smalldocs(['render', '--strict', '--quiet', str(cache)]): sys.exit(1)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(cache/cfg.doc_path.name, cfg.doc_path)
    take_offline(cfg.doc_path)
    describe_pictures(cfg.doc_path)
    write_readme(cfg)
    if shutil.which('quarto'):
        shutil.rmtree(cache) # else nbdev keeps what was edited above
        nbdev_docs.__wrapped__()
    print(f'{len(list(cfg.doc_path.rglob("*.html")))} pages in {cfg.doc_path.name}')


if __name__ == '__main__': main()
