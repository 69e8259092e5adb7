"""Build the site into `_docs` and its front page into `README.md`; a broken link fails.

smalldocs renders the site and checks its links. Where Quarto is installed, it renders the site instead once that passed; README.md never depends on it."""
import inspect
import os
import re
import shutil
import sys
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


def write_readme(cfg):
    "Turn smalldocs' Markdown copy of the front page into README.md: pictures beside it, links to the notebooks"
    page = cfg.doc_path/Path(cfg.readme_nb).stem
    md = page.with_suffix('.llms.md').read_text()
    figures,shown = cfg.config_path/'README_files',page.with_name(f'{page.name}_files')
    shutil.rmtree(figures, ignore_errors=True)
    if shown.exists(): shutil.copytree(shown, figures)
    md = md.replace(f']({shown.name}/', ']({figures}/').replace('](images/', ']({nbs}/images/')
    md = re.sub(r'\]\((?!\w+:|#|\{)/?([\w/]+)\.llms\.md(?:#[^)]*)?\)', r']({nbs}/\1.ipynb)', md) # links to pages go to their notebooks
    (cfg.config_path/'README.md').write_text(md.replace('{figures}', figures.name).replace('{nbs}', cfg.nbs_path.name) + '\n')


def main():
    cfg = get_config()
    site = f'{cfg.doc_host}{cfg.doc_baseurl}/'
    cache = proc_nbs(force=True)
    for p in cache.rglob('*.ipynb'):
        txt = p.read_text().replace(site, '/') # links stay inside the local site, where smalldocs checks them
        p.write_text(re.sub(r' *"output-file: .*\n', '', txt)) # smalldocs always names a page after its notebook
    if smalldocs(['render', '--strict', '--quiet', str(cache)]): sys.exit(1)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(cache/cfg.doc_path.name, cfg.doc_path)
    take_offline(cfg.doc_path)
    write_readme(cfg)
    if shutil.which('quarto'):
        shutil.rmtree(cache) # else nbdev keeps what was edited above
        nbdev_docs.__wrapped__()
    print(f'{len(list(cfg.doc_path.rglob("*.html")))} pages in {cfg.doc_path.name}')


if __name__ == '__main__': main()
