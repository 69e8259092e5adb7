"""Build the site into `_docs` and its front page into `README.md`; a broken link fails.

smalldocs renders the site and checks its links. Where Quarto is installed, it renders the site instead once that
passed; README.md never depends on it."""
import ast
import base64
import importlib
import inspect
import io
import os
import re
import shutil
import sys
import textwrap
import tokenize
from dataclasses import is_dataclass
from functools import cache
from html import escape, unescape
from pathlib import Path

import nbdev.processors
import nbdev.showdoc
import quarantion
from execnb.nbio import read_nb
from fastcore.basics import AttrDict
from fastcore.docments import DocmentText, docments
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup, _lineno
from nbdev.process import Processor
from nbdev.quarto import nbdev_docs
from nbdev.serve import proc_nbs
from smalldocs.cli import main as smalldocs
from smalldocs.layout import KATEX, Layout


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
    def code(x, show): return '' if x is nothing else f'`{text(show(x))}`'
    def kind(x): return short(x if isinstance(x, str) else inspect.formatannotation(x))
    nothing = inspect.Parameter.empty
    def value(v): return getattr(v, '__name__', repr(v))
    def row(name, d):
        type_,usual = code(d.get('anno', nothing), kind),code(d.get('default', nothing), value)
        return [name, type_, usual, text(d.get('docment') or '')]
    stars = {inspect.Parameter.VAR_POSITIONAL:'*', inspect.Parameter.VAR_KEYWORD:'**'}
    rows = [row(f"`{stars.get(d.get('kind'), '')}{n}`", d) for n, d in dm.items() if n!='return']
    if dm.get('return', {}).get('docment'): rows.append(row('**Returns**', dm['return'] | dict(default=nothing)))
    if not any(r[3] for r in rows): return ''
    head = ['', 'Type', 'Default', 'Details']
    keep = [i for i in range(4) if any(r[i] for r in rows)]
    return '\n'.join('| '+' | '.join(r[i] for i in keep)+' |' for r in [head, ['---']*4, *rows])


class Written(str):
    "A default as the source has it"
    __repr__ = str.__str__


def written(f, dm:dict):
    "Defaults that would fill a page, such as a table, are told as the source tells them"
    long = [n for n, d in dm.items() if n!='return' and len(repr(d.get('default')))>60]
    if not long or not inspect.isfunction(f): return
    args = ast.parse(textwrap.dedent(inspect.getsource(f))).body[0].args
    plain = [*args.posonlyargs, *args.args]
    said = dict(zip([a.arg for a in plain[len(plain)-len(args.defaults):]], args.defaults))
    said |= {a.arg:v for a, v in zip(args.kwonlyargs, args.kw_defaults)}
    for n in long: dm[n]['default'] = Written(ast.unparse(said[n]) if said.get(n) else '…')


def is_record(kind)->bool:
    "A dataclass, or a named tuple?"
    return isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, '_fields') and issubclass(kind, tuple))


@cache
def comments(path:str)->dict:
    "What stands behind the fields of the classes in a file, by class and field"
    src = Path(path).read_text()
    tokens = tokenize.generate_tokens(io.StringIO(src).readline)
    said = {t.start[0]:t.string.lstrip('# ') for t in tokens if t.type==tokenize.COMMENT}
    return {c.name:{f.target.id:said.get(f.end_lineno, '') for f in c.body if isinstance(f, ast.AnnAssign)}
            for c in ast.parse(src).body if isinstance(c, ast.ClassDef)}


def home(kind:type)->type:
    """The class of a module that a page has defined anew.

    Pages run their own cells, so that their classes have no file; the same name and fields tell which one it is."""
    import quarantion._modidx as index
    if kind.__module__ in sys.modules and kind.__module__.startswith('quarantion.'): return kind
    names = [m for m, syms in index.d['syms'].items() if f'{m}.{kind.__name__}' in syms]
    found = [getattr(importlib.import_module(m), kind.__name__) for m in names]
    same = [c for c in found if getattr(c, '__annotations__', {}).keys()==getattr(kind, '__annotations__', {}).keys()]
    return same[0] if same else kind


def fields(kind:type)->dict:
    "The fields of a record as docments, with those that it inherits"
    said = {}
    for c in reversed(home(kind).__mro__):
        path = getattr(sys.modules.get(c.__module__), '__file__', None) or ''
        if c.__module__.startswith('quarantion.') and path.endswith('.py'): said |= comments(path).get(c.__name__, {})
    def usual(v): return Written('…') if repr(v)=='<factory>' else v
    return {n:AttrDict(docment=said.get(n) or None, anno=p.annotation, default=usual(p.default), kind=p.kind)
            for n, p in inspect.signature(kind).parameters.items()}


class Documented(nbdev.showdoc.BasicMarkdownRenderer):
    "Signature, docstring, and a table of the parameters, or of the fields of a record"
    def _repr_markdown_(self):
        if is_record(self.sym): self.dm.dm = AttrDict(fields(self.sym))
        else:
            said = docments(self.sym, full=True, args_kwargs=True) # also what stands behind *args and **kwargs
            for n, d in self.dm.dm.items(): d['docment'] = d.get('docment') or said.get(n, {}).get('docment')
            written(self.sym, self.dm.dm)
        for d in self.dm.dm.values(): # None is no type that anything is asked to be
            if d.get('anno') is type(None): d['anno'] = inspect.Parameter.empty
        dm,table = self.dm.dm,parameters(self.dm.dm)
        if table or is_record(self.sym):
            self.dm = Signature(self.sym, maxline=64, docstring=False)
            self.dm.dm = dm
        return f'{super()._repr_markdown_()}\n\n{table}'


nbdev.showdoc.BasicMarkdownRenderer = Documented # in the workers of `proc_nbs` too: each imports this file


def meant(nb)->set:
    """The names that a page's own code exports, or imports from the library.

    What it defines for itself, such as a loop called `train`, is another thing."""
    out,own = set(),set()
    for c in nb.cells:
        if c.cell_type!='code': continue
        src = ''.join(c.source)
        try: tree = ast.parse(src)
        except SyntaxError: continue
        for n in tree.body:
            if isinstance(n, ast.ImportFrom) and (n.level or (n.module or '').startswith('quarantion')):
                out |= {a.name for a in n.names}
            names = {n.name} if isinstance(n, (ast.FunctionDef, ast.ClassDef)) else set()
            if isinstance(n, ast.Assign): names = {t.id for t in n.targets if isinstance(t, ast.Name)}
            if re.search(r'^#\| *exports?\b', src, re.M): out |= names
            else: own |= names
    return out-own


def module_of(path)->str:
    "The module that a notebook is exported to, or nothing; its cells in a `Processor` have no directives any more"
    said = (re.match(r'#\| *default_exp +(\S+)', ''.join(c.source)) for c in read_nb(path).cells if c.cell_type=='code')
    return next((f'quarantion.{m[1]}' for m in said if m), '')


class add_links(Processor):
    """A name in backticks becomes a link to what it is.

    A plain word, such as `subtract`, may be a function and the name of a reset: it is a link only where the page
    exports or imports that name, or if the front door has it. Qualified names (`nonary.subtract`, `neuron.LIF`) and
    names that no word is like (`LIF`, `lif_spikes`) are links everywhere, if one thing has them."""
    def begin(self):
        self.lookup,self.own = NbdevLookup(),meant(self.nb)|set(quarantion.__all__)-set(quarantion.ROOMS)
        mine = self.lookup.entries['quarantion']['syms']
        self.page = module_of(self.nb.path_)
        self.places,self.short = {},{}
        for mod,names in mine.items():
            for full,where in names.items():
                name,room = full.removeprefix(f'{mod}.'),mod.split('.')[1:]
                if '.' not in name: self.places.setdefault(name, []).append(where)
                for i in range(len(room)): # module.name, room.module.name, and room.name
                    for q in ('.'.join([*room[i:], name]), f'{room[0]}.{name}'): self.short.setdefault(q, where)

    def target(self, name):
        if name.split('.')[-1].startswith('_') and not name.endswith('__'): return None # no page shows it
        if name in self.short: return self.short[name]
        if '.' in name: return self.lookup[name]
        found = self.places.get(name, [])
        plain = re.fullmatch('[a-z]+', name)
        if len(found)!=1 or plain and name not in self.own: return None
        return found[0]

    def link(self, m):
        if m[1] is None: return m[0] # a link, which stays as it is
        to = self.target(m[1])
        if to is None: return m[0]
        called = '()' if m[0].endswith('()`') else ''
        return f'[`{m[1]}{called}`]({to[0] if isinstance(to, tuple) else to})'

    def words(self, md):
        lines,fence = md.splitlines(keepends=True),False
        for i,l in enumerate(lines):
            if l.startswith('```'): fence = not fence
            elif not fence and not l.startswith('    '):
                lines[i] = re.sub(r'!?\[[^\[\]]*\]\([^()]*\)|`([^`\s]+?)(?:\(\))?`', self.link, l)
        return ''.join(lines)

    def source(self, m):
        "The line of what this page exports, and not of a namesake in another module"
        at = self.lookup[f'{self.page}.{m[3]}']
        line = at and _lineno(m[3], at[1])
        return f'[source]({at[2]}#L{line}){m[2]}{m[3]}' if line else m[0]

    def shown(self, md):
        link = r'\[source\]\(([^)]*)\)(.*?\n\n#+ )([\w.]+)'
        return self.words(re.sub(link, self.source, md, flags=re.S))

    def cell(self, cell):
        if cell.cell_type=='markdown': cell.source = self.words(cell.source)
        for o in cell.get('outputs', []):
            said = o.get('data', {})
            if 'text/markdown' in said: said['text/markdown'] = [self.shown(''.join(said['text/markdown']))]


nbdev.processors.add_links = add_links


def take_offline(site:Path):
    """Ask no other host.

    KaTeX comes from a copy (`dist/` of the npm package katex 0.16.47), and text is set in the reader's own fonts."""
    libs = site/'site_libs/katex'
    shutil.copytree(Path(__file__).parent/'katex', libs)
    for page in site.rglob('*.html'):
        html = page.read_text()
        if KATEX in html: page.write_text(html.replace(KATEX, os.path.relpath(libs, page.parent)))
    for css in (site/'site_libs/themes').glob('*.css'):
        css.write_text(re.sub(r'@import url\(https:[^)]*\);', '', css.read_text()))


ROOMS = list(quarantion.ROOMS) # a room imports only those before it


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
    """The house: storeys from below, in each its rooms with a sentence, and lines from a room down to those it imports.

    A line is faint where another leads there too."""
    rooms,step,x,out = imports(cfg.lib_path),27,130,[]
    y,top,house = {},20,[]
    for storey,names in reversed(quarantion.STOREYS.items()):
        house.append((storey, top, top+step*len(names)+26))
        for k,r in enumerate(reversed(names)): y[r] = top+36+step*k
        top += step*len(names)+36
    for storey,a,b in house:
        out.append(f'<rect x="8" y="{a}" width="624" height="{b-a}" rx="6" fill="#f1f1ec"/>'
                   f'<text x="622" y="{a+17}" text-anchor="end" font-size="11" fill="#555555">{storey}</text>')
    for r,below in rooms.items():
        for b in sorted(below, key=ROOMS.index):
            faint = any(b in rooms[m] for m in below) # it comes by way of another room anyway
            bend = x-16-9*(ROOMS.index(r)-ROOMS.index(b))
            out.append(f'<path d="M{x} {y[r]} C{bend} {y[r]} {bend} {y[b]} {x} {y[b]}" fill="none" stroke="#0072B2" '
                       f'stroke-opacity="{.18 if faint else .9}" stroke-width="1.3">'
                       f'<title>{r} imports {b}</title></path>')
    for r,v in y.items():
        says = escape(quarantion.ROOMS[r].replace('`', ''))
        out.append(f'<circle cx="{x}" cy="{v}" r="4" fill="#0072B2"/>'
                   f'<text x="{x+12}" y="{v+5}" fill="#222222" font-weight="bold">{r}</text>')
        out.append(f'<text x="{x+92}" y="{v+5}" font-size="12" fill="#444444">{says}</text>')
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {top+4}" '
            'font-family="sans-serif" font-size="14">'
            '<rect width="100%" height="100%" rx="8" fill="#fcfcfa"/>')
    (cfg.nbs_path/'images/rooms.svg').write_text('\n'.join([head, *out, '</svg>\n']))


def raw_markdown(site:Path)->list:
    "Places where Markdown came through as text: a link inside a link, say"
    out = []
    for page in site.rglob('*.html'):
        text = re.sub(r'(?s)<(pre|script|style|code)\b.*?</\1>|<[^>]+>', '', page.read_text())
        out += [f'{page.relative_to(site)}: {m}' for m in re.findall(r'.{0,30}\]\([\w./#-]+\).{0,20}', text)]
    return out


def make_relative(site:Path):
    "Markdown copies are read where they lie, too: a link from the root becomes one from the page"
    for page in site.rglob('*.llms.md'):
        up = lambda m: f']({os.path.relpath(site/m[1], page.parent)}'
        page.write_text(re.sub(r'\]\(/(?!/)([^)#\s]+)', up, page.read_text()))


def astray(site:Path, pages:Path)->list:
    "Links to sources that lead out of the module of their page, to a namesake"
    out = []
    for nb in pages.rglob('*.ipynb'):
        page,module = site/nb.relative_to(pages).with_suffix('.html'),module_of(nb)
        if not module or not page.exists(): continue
        own = rf'/{module.replace(".", "/")}(/__init__)?\.py#L\d+$'
        links = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>source</a>', page.read_text())
        out += [f'{page.relative_to(site)}: {to}' for to in links if not re.search(own, to)]
    return out


def plain(html:str, most:int=200)->str:
    "What `html` says, at most so many characters, as the value of an attribute"
    text = ' '.join(unescape(re.sub('<[^>]+>', '', html)).split()).rstrip(':')
    return escape(text if len(text)<=most else text[:most].rsplit(' ', 1)[0]+' …')


def describe_pictures(site:Path):
    "A picture without alternative text gets its caption, or else the paragraph before it, or the title of the page"
    for page in site.rglob('*.html'):
        parts = re.split(r'(<img\b[^>]*>)', page.read_text())
        said = re.search('<title>(.*?)</title>', parts[0], re.S)[1]
        for i in range(1, len(parts), 2):
            before,after = parts[i-1],parts[i+1]
            caption = re.match(r'(?:\s|</?(?:p|a|div|figure|span)\b[^>]*>)*<(?:figcaption\b[^>]*|'
                               r'(?:div|p) class="[^"]*caption[^"]*")>(.*?)</(?:div|figcaption|p)>', after, re.S)
            texts = re.findall(r'<(?:p|h[1-6])\b[^>]*>(.*?)</(?:p|h[1-6])>', before, re.S)
            said = next((t for t in reversed(texts) if plain(t)), said)
            if not re.search(r'\balt="(?!png"|svg"|image")[^"]+"', parts[i]):
                bare,words = re.sub(r'\s+alt="[^"]*"', '', parts[i]),plain(caption[1] if caption else said)
                parts[i] = bare.replace('<img', f'<img alt="{words}"', 1)
        page.write_text(''.join(parts))


def on_paper(source:str, page:Path)->bool:
    "Is a picture, a file or inside its page, ink on white or transparent paper?"
    import matplotlib.image
    if source.startswith('data:image/png;base64,'): file = io.BytesIO(base64.b64decode(source.split(',', 1)[1]))
    else: file = page.parent/source
    if not source.startswith('data:image/png') and not (source.endswith('.png') and file.exists()): return False
    corners = matplotlib.image.imread(file, format='png')[::-1,::-1][[0,0,-1,-1],[0,-1,0,-1]]
    if corners.ndim<2: return False
    return bool((corners[:,:3]>.97).all() or corners.shape[1]==4 and (corners[:,3]==0).all())


def lay_on_page(site:Path):
    "Pictures on white paper get a class, so that the style sheet can take the paper away, in both themes"
    for page in site.rglob('*.html'):
        def mark(m):
            if not on_paper(m[1], page): return m[0]
            if 'class="' in m[0]: return m[0].replace('class="', 'class="ink ', 1)
            return m[0].replace('<img', '<img class="ink"', 1)
        page.write_text(re.sub(r'<img\b[^>]*?\bsrc="([^"]*)"[^>]*>', mark, page.read_text()))


HEAD = re.compile(r'<table class="([^"]*)">(\s*<thead>\s*<tr>\s*<th></th>'
                  r'((?:\s*<th>(?:Type|Default)</th>)*)\s*<th>Details</th>)')

def mark_parameters(site:Path):
    "Tables of parameters and fields get a class, so that the style sheet can stack them on a phone"
    for page in site.rglob('*.html'):
        def mark(m): return f'<table class="{m[1]} params{" defaults"*(m[3].count("<th>")==2)}">{m[2]}'
        page.write_text(HEAD.sub(mark, page.read_text()))


def draw_film(cfg):
    """The moving picture of the front page, and its last frame for readers who want no motion.

    Three digits are on their way through a stored integer program."""
    from quarantion.data import load_digits
    from quarantion.inspect.spike_film import TALL, WIDE, film, follow
    from quarantion.runtime.network import load
    digits,prog = load_digits(),load(cfg.nbs_path/'measured/digits.safetensors')
    for name,places,note in ('film',WIDE,'9 levels of weight,\nintegers only'),('film-tall',TALL,''):
        stages = [follow(prog, digits.x_test[k].reshape(8,8), 36, note, places) for k in (8,3,21)]
        (cfg.nbs_path/f'images/{name}.gif').write_bytes(film(stages))
        stages[0].moment(35).save(cfg.nbs_path/f'images/{name}.png')


def draw_live(cfg):
    "The network that runs on the front page, beside the pictures"
    from quarantion.data import load_digits
    from quarantion.inspect.live import live_page
    from quarantion.runtime.network import load
    digits,prog = load_digits(),load(cfg.nbs_path/'measured/digits.safetensors')
    (cfg.nbs_path/'images/live.html').write_text(live_page(prog, digits.x_test, digits.y_test, first=9))


FILM = ('A handwritten digit goes through an integer network step by step: the membrane of one neuron climbs to its '
        'threshold and fires, spikes of the hidden layer fill the raster, and the bar of the right digit grows longest')

def filmed(md:str, to:str)->str:
    "Where a page cannot run, its film, which leads to it"
    picture = f'''<a href="{to}"><picture>
<source srcset="images/film-tall.png" media="(max-width: 600px) and (prefers-reduced-motion: reduce)">
<source srcset="images/film-tall.gif" media="(max-width: 600px)">
<source srcset="images/film.png" media="(prefers-reduced-motion: reduce)">
<img src="images/film.gif" alt="{FILM}">
</picture></a>'''
    return re.sub(r'<iframe class="live".*?</iframe>', lambda m: picture, md, flags=re.S)


def write_readme(cfg):
    "Turn smalldocs' Markdown copy of the front page into README.md: pictures beside it, links to the notebooks"
    page = cfg.doc_path/Path(cfg.readme_nb).stem
    md = filmed(page.with_suffix('.llms.md').read_text(), f'{cfg.doc_host}{cfg.doc_baseurl}/images/live.html')
    figures,shown = cfg.config_path/'README_files',page.with_name(f'{page.name}_files')
    shutil.rmtree(figures, ignore_errors=True)
    if shown.exists(): shutil.copytree(shown, figures)
    md = md.replace(f']({shown.name}/', ']({figures}/')
    md = md.replace('](images/', ']({nbs}/images/').replace('="images/', '="{nbs}/images/')
    captioned = r'!\[\w*\](\([^)]*\)\s+<div class="figure-caption">\s+)(.*?)(?=\s+</div>)'
    md = re.sub(captioned, lambda m: f'![{m[2].strip()}]{m[1]}{m[2]}', md, flags=re.S)
    page_link = r'\]\((?!\w+:|#|\{)/?([\w/]+)\.(?:llms\.md|html)(?:#[^)]*)?\)'
    md = re.sub(page_link, r']({nbs}/\1.ipynb)', md) # links to pages go to their notebooks
    md = md.replace('{figures}', figures.name).replace('{nbs}', cfg.nbs_path.name)
    (cfg.config_path/'README.md').write_text(md+'\n')


def link_once():
    "The sidebar of each page links to all of them: a link is looked up once for each folder"
    known,href = {},Layout.href
    def once(self, to):
        key = self.page.out.parent,to
        if key not in known: known[key] = href(self, to)
        return known[key]
    Layout.href = once


def main():
    cfg = get_config()
    link_once()
    site = f'{cfg.doc_host}{cfg.doc_baseurl}/'
    draw_film(cfg)
    draw_live(cfg)
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
    lay_on_page(cfg.doc_path)
    mark_parameters(cfg.doc_path)
    make_relative(cfg.doc_path)
    if raw := raw_markdown(cfg.doc_path): sys.exit('Markdown that came through as text:\n'+'\n'.join(raw))
    if wrong := astray(cfg.doc_path, cfg.nbs_path): sys.exit('Sources of another page:\n'+'\n'.join(wrong))
    write_readme(cfg)
    if shutil.which('quarto'):
        shutil.rmtree(cache) # else nbdev keeps what was edited above
        nbdev_docs.__wrapped__()
    print(f'{len(list(cfg.doc_path.rglob("*.html")))} pages in {cfg.doc_path.name}')


if __name__ == '__main__': main()
