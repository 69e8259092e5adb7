"What is stored in the notebooks is fit to publish, and the site and the library can be made from it."
import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NBS = [p for p in sorted((ROOT/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
every_notebook = pytest.mark.parametrize('nb', NBS, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())


def cells(nb, kind='code'):
    for i, c in enumerate(json.loads(nb.read_text())['cells']):
        if c['cell_type']==kind: yield i,''.join(c['source']),c


def is_export(src): return re.search(r'^#\| *(export|exports|exporti)\b', src, re.M)


@every_notebook
def test_links_are_to_notebooks(nb):
    "Another page is linked as its notebook, which is there: so a link works in Jupyter, on the site and in README.md"
    for i, src, _ in cells(nb, 'markdown'):
        for link in re.findall(r'\]\((?!\w+:|#)([^)#\s]+)', src):
            assert not link.endswith('.html') and (nb.parent/link).is_file(), f'cell {i} links to {link}'


@every_notebook
def test_outputs(nb):
    for i, _, c in cells(nb):
        for out in c['outputs']:
            assert out['output_type']!='error', f'cell {i} stores an error'
            assert not (out['output_type']=='stream' and out['name']=='stderr'), f'cell {i} stores what it wrote on stderr'
            assert len(json.dumps(out))<400_000, f'cell {i}: too big to keep in git'


@every_notebook
def test_outputs_are_stored(nb):
    "A cell that ends in an expression or prints at its top level, and runs, has an output"
    for i, src, c in cells(nb):
        if re.search(r'^#\| *(eval: *false|notest|slow|hide|export)', src, re.M) or src.startswith('%') or c['outputs']: continue
        calls = [n.value.func.id for n in ast.parse(src).body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and isinstance(n.value.func, ast.Name)]
        assert 'print' not in calls, f'cell {i} prints, but no output is stored: make notebooks'


@every_notebook
def test_has_title_and_summary(nb):
    "In a cell of their own: nbdev drops what else is in it, but for `- key: value`"
    first = next(src for _, src, _ in cells(nb, 'markdown')).strip()
    m = re.match(r'# .+(\n+> .+)?(\n+- [\w-]+: .*)*$', first)
    assert m, 'the first markdown cell is `# Title`, `> summary` and nothing else'
    if any(src.startswith('#| default_exp') for _, src, _ in cells(nb)): assert m[1], 'a `> summary` follows the title'


@every_notebook
def test_module_has_the_path_of_its_notebook(nb):
    names = [m[1] for _, src, _ in cells(nb) if (m := re.match(r'#\| *default_exp +(\S+)', src))]
    if not names: return
    path = '.'.join(nb.relative_to(ROOT/'nbs').with_suffix('').parts)
    assert names==[path]


@every_notebook
def test_imports_have_cells_of_their_own(nb):
    "A docs build runs the cells that import, and those only: what else they hold would run without the cells before"
    if nb.name=='index.ipynb': return # it documents no code, and has a block that is pasted whole
    for i, src, _ in cells(nb):
        if is_export(src) or 'nbdev_export(' in src or src.startswith('%') or re.search(r'^#\| *eval: *false', src, re.M): continue
        tree = ast.parse(src)
        if any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree)):
            assert all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body), f'cell {i} imports and does more'


def test_whole_files_are_compared_at_once():
    "`test_eq` of two `bytes` looks at each of them, in Python: half a minute for a page"
    slow = re.compile(r"test_eq\(.*read_bytes\(\), .*read_bytes\(\)\)")
    found = [f'{nb.relative_to(ROOT)}, cell {i}: {line}' for nb in NBS for i, src, _ in cells(nb) for line in src.splitlines() if slow.search(line)]
    assert not found, found
