"The site has one description, which Quarto reads too, and the pages it lists exist."
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import quarantion

ROOT = Path(__file__).parent.parent
QUARTO = '''#!{python}
"Stands in for Quarto: reads the project as Quarto would, checks its sidebar, and renders a page a notebook"
import re, sys, yaml
from pathlib import Path
assert sys.argv[1]=='render', sys.argv
cfg = yaml.safe_load(Path('_quarto.yml').read_text())
assert cfg['project']['type']=='website'
def walk(x):
    for i in x:
        if isinstance(i, str): yield i
        elif isinstance(i['contents'], str): yield i['contents']
        else: yield from walk(i['contents'])
for path in walk(cfg['website']['sidebar']['contents']): assert list(Path().glob(path)), path + ' is in the sidebar but not there'
assert Path(cfg['format']['html']['css']).exists()
out = Path(cfg['project']['output-dir'])
for nb in Path().rglob('*.ipynb'):
    front = re.search(r'output-file: ([^\\\\"]+)', nb.read_text())
    page = out/nb.parent/(front[1] if front else nb.with_suffix('.html').name)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text('made by the stand-in')
'''


def sidebar(contents):
    for x in contents:
        if isinstance(x, str): yield x
        elif isinstance(x['contents'], str): yield x['contents']
        else: yield from sidebar(x['contents'])


def listed():
    cfg = yaml.safe_load((ROOT/'_quarto.yml').read_text())
    return list(sidebar(cfg['website']['sidebar']['contents']))


def test_one_description():
    assert (ROOT/'nbs/_quarto.yml').is_symlink()
    assert (ROOT/'nbs/_quarto.yml').resolve()==ROOT/'_quarto.yml'


@pytest.mark.parametrize('path', listed())
def test_sidebar_path_exists(path): assert list((ROOT/'nbs').glob(path))


def test_every_notebook_is_in_the_sidebar():
    shown = {p for pat in listed() for p in (ROOT/'nbs').glob(f'{pat}.ipynb' if pat.endswith('*') else pat)}
    assert {p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts}==shown


def test_settings_agree():
    from configparser import ConfigParser
    import tomllib
    ini = ConfigParser()
    ini.read(ROOT/'settings.ini')
    ini,cfg,proj = ini['DEFAULT'],yaml.safe_load((ROOT/'_quarto.yml').read_text()),tomllib.loads((ROOT/'pyproject.toml').read_text())['project']
    assert cfg['website']['site-url']==ini['doc_host']+ini['doc_baseurl']==proj['urls']['Documentation']
    assert cfg['website']['repo-url']==ini['git_url']==proj['urls']['Repository']
    assert cfg['website']['description']==ini['description']==proj['description']
    assert cfg['project']['output-dir']==ini['doc_path']
    assert proj['requires-python']==f">={ini['min_python']}"


def test_the_page_of_the_house_lists_the_rooms():
    "As the plan of the house has them"
    cells = json.loads((ROOT/'nbs/house.ipynb').read_text())['cells']
    shown = ''.join(''.join(o['data'].get('text/markdown', '')) for c in cells for o in c.get('outputs', ()))
    rows = re.findall(r'^\| .*\| `(\w+)` +\| (.*?) *\|$', shown, re.M)
    assert dict(rows)==quarantion.ROOMS and [r for r,_ in rows]==list(quarantion.ROOMS)


def test_the_front_page_shows_what_was_measured():
    "Its first sentence and its table are made of the stored runs"
    text = (ROOT/'README.md').read_text().replace('\N{NO-BREAK SPACE}', ' ')
    runs = json.loads((ROOT/'nbs/measured/frontier.json').read_text())['rows']
    small = [r for r in runs if (r['policy'],r['l1'],r['max_rate'])==('nonary',.2,.04)]
    size,times = ([f(r) for r in small] for f in (lambda r: r['bytes']/1e3, lambda r: r['float_bytes']/r['bytes']))
    assert f'A spiking network in {min(size):.0f}–{max(size):.0f} kB' in text and f'{min(times):.0f}–{max(times):.0f} times smaller' in text
    assert f"{sum(r['spikes'] for r in small):,} spike values" in text and not sum(r['mismatches'] for r in small)
    for policy in 'int8', 'nonary', 'ternary':
        rows = [r for r in json.loads((ROOT/'nbs/measured/mnist.json').read_text())['rows'] if r['policy']==policy]
        mean = lambda k: sum(r[k] for r in rows)/len(rows)
        assert f"{100*mean('test_accuracy'):.1f} %, {mean('bytes')/1e3:,.0f} kB, {mean('float_bytes')/mean('bytes'):.1f}× |" in text


def test_numbers_keep_their_units():
    "On a phone a line of a table of the front page does not end between a number and its unit"
    cells = json.loads((ROOT/'nbs/index.ipynb').read_text())['cells']
    said = [''.join(o['data'].get('text/markdown', '')) for c in cells for o in c.get('outputs', ()) if 'data' in o]
    tables = [s for s in said if s.startswith('| ') and ' kB' in s.replace('\N{NO-BREAK SPACE}', ' ')]
    assert len(tables)==2 and not [l for s in tables for l in s.splitlines() if l.startswith('|') and re.search(r'\d (%|kB|M )', l)]


def test_the_block_of_the_front_page_runs_when_pasted(tmp_path):
    code = max(re.findall(r'```python\n(.*?)```', (ROOT/'README.md').read_text(), re.S), key=len)
    assert len(code.splitlines())<=30
    r = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=os.environ|dict(OMP_NUM_THREADS='1'))
    assert r.returncode==0 and ': 0 mismatches\naccuracy 0.9' in r.stdout, r.stdout+r.stderr
    assert (tmp_path/'digits.safetensors').stat().st_size<8000


def test_links_of_the_front_page_lead_somewhere():
    "In README: to files that are there"
    links = re.findall(r'\]\((?!https?:|#)([^)]*)\)|src="([^"]*)"', (ROOT/'README.md').read_text())
    assert len(links)>10 and all((ROOT/(a or b).partition('#')[0]).exists() and not (a or b).startswith('/') for a,b in links), links


def test_the_lock_has_two_parts():
    import tomllib
    proj = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']
    core,dev = ([l for l in (ROOT/f).read_text().splitlines() if not l.startswith('#')] for f in ('requirements.lock','requirements-dev.lock'))
    assert all(re.fullmatch(r'[a-z0-9.-]+==[\w.]+', l) for l in core+dev) and 'torch==2.13.0' in core
    core,dev = ({l.split('==')[0] for l in part} for part in (core,dev))
    assert not core & dev and not core & {'nbdev','pytest','jupyterlab','ruff','playwright','hypothesis'}
    name = lambda dep: re.match(r'[\w-]+', dep)[0].lower()
    peers = [l for l in (ROOT/'requirements-peers.lock').read_text().splitlines() if not l.startswith('#')] # `--no-deps`
    assert all(re.fullmatch(r'[a-z0-9.-]+==[\w.]+', l) for l in peers) and not {l.split('==')[0] for l in peers} & (core|dev)
    assert set(peers) & set(proj['optional-dependencies']['bench'])=={'spikingjelly==2.0.0','norse==1.1.0','nir==1.0.8','onnx==1.23.2','onnxruntime==1.32.0','hypernetx==2.4.3','xgi==0.10.2','torch-geometric==2.8.1','networkit==11.2.2','igraph==1.0.0','geoopt==0.5.1','sentencepiece==0.2.3','morfessor==2.0.6'}
    for dep in proj['dependencies']: assert name(dep) in core, dep
    for dep in proj['optional-dependencies']['dev']: assert name(dep) in core|dev, dep


def test_with_quarto(tmp_path):
    "Where a `quarto` is found, it renders the site (here two small pages), and README.md stays as smalldocs made it"
    for d in 'nbs', 'quarantion', 'tools': shutil.copytree(ROOT/d, tmp_path/d, symlinks=True, ignore=shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__'))
    for f in 'settings.ini', 'pyproject.toml': shutil.copy(ROOT/f, tmp_path)
    pages = {'index.ipynb':'# quarantion\n\n> Small', 'quant/level_sets.ipynb':'# Levels\n\n> Of a set'}
    for nb in (tmp_path/'nbs').rglob('*.ipynb'): nb.unlink()
    for f,text in pages.items(): nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), tmp_path/'nbs'/f)
    site = yaml.safe_load((ROOT/'_quarto.yml').read_text())
    site['website']['sidebar']['contents'] = list(pages)
    (tmp_path/'_quarto.yml').write_text(yaml.safe_dump(site))
    quarto = tmp_path/'bin/quarto'
    quarto.parent.mkdir()
    quarto.write_text(QUARTO.format(python=sys.executable))
    quarto.chmod(0o755)
    env = os.environ | dict(PATH=f'{quarto.parent}:{os.environ["PATH"]}', PYTHONPATH=str(tmp_path))
    p = subprocess.run([sys.executable, 'tools/docs.py'], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert not p.returncode, p.stdout+p.stderr
    assert (tmp_path/'_docs/index.html').read_text()==(tmp_path/'_docs/quant/level_sets.html').read_text()=='made by the stand-in'
    assert (tmp_path/'README.md').read_text().startswith('# quarantion')


def test_a_picture_is_described_by_its_caption(tmp_path):
    "Whatever class the caption has; where there is none, by the paragraph before"
    import importlib.util
    spec = importlib.util.spec_from_file_location('docs', ROOT/'tools/docs.py')
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    page = tmp_path/'page.html'
    page.write_text('<title>t</title><p>Before.</p><figure><p><img src="a.png"></p>\n<figcaption>What it shows</figcaption></figure>'
                    '<figure><img alt="png" src="b.png"><figcaption class="quarto-caption">Another</figcaption></figure>'
                    '<p>Then this:</p><img src="c.png"><p>after</p>')
    docs.describe_pictures(tmp_path)
    assert re.findall('alt="(.*?)"', page.read_text())==['What it shows','Another','Then this']


def test_records_have_a_table_of_their_fields():
    "Also where a page has defined the class anew, so that it has no file; defaults that fill a page have their name"
    import importlib.util
    from dataclasses import dataclass

    from quarantion.data.quality import plot_classes
    from quarantion.data.samples import Samples
    from quarantion.export.nir import NirProof
    from quarantion.export.targets import Source, targets_of
    from quarantion.spikes.own import neuron
    spec = importlib.util.spec_from_file_location('docs', ROOT/'tools/docs.py')
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    said = docs.Documented(Samples)._repr_markdown_()
    assert '| `y` | `Tensor` |' in said and 'Labels, `[N]`' in said
    said = docs.Documented(NirProof)._repr_markdown_()
    assert 'FNV-1a' in said and 'Membranes that lay above a threshold' in said # what it inherits, too
    body = 'from typing import NamedTuple\nclass Source(NamedTuple):\n    title:str\n    url:str\n    says:str\n'
    exec(body, here := dict(__name__='__main__'))
    for kind in (Source,here['Source']):
        said = docs.Documented(kind)._repr_markdown_()
        assert 'title:str, url:str, says:str' in said and '| `url` | `str` | Its address |' in said
    @dataclass
    class Other: x:int # Not of the library
    assert 'x:int' in docs.Documented(Other)._repr_markdown_()
    assert 'targets:tuple=TARGETS' in docs.Documented(targets_of)._repr_markdown_()
    said = docs.Documented(neuron)._repr_markdown_()
    assert '| `**rest` | `float` | What a neuron remembers' in said # a comment behind **, too
    assert 'NoneType' not in docs.Documented(plot_classes)._repr_markdown_()


def test_tables_of_parameters_are_marked(tmp_path):
    "So that a phone stacks them; other tables stay tables"
    import importlib.util
    spec = importlib.util.spec_from_file_location('docs', ROOT/'tools/docs.py')
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    heads = ('','Type','Default','Details'),('','Type','Details'),('','Default','Details'),('a','Type','Details'),('','what','Details')
    page = tmp_path/'page.html'
    page.write_text('\n'.join(f'<table class="table">\n<thead>\n<tr>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead></table>' for head in heads))
    docs.mark_parameters(tmp_path)
    assert re.findall('class="(.*?)"', page.read_text())==['table params defaults','table params','table params','table','table']


def test_a_title_stands_by_itself():
    "What follows the title and its line in one cell is lost on the site"
    for p in sorted((ROOT/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in p.parts: continue
        first = next((c.source for c in nbformat.read(p, 4).cells if c.cell_type=='markdown' and c.source.startswith('# ')), '')
        said = [part for part in first.split('\n\n')[1:] if not part.startswith(('>','- skip_exec'))]
        assert not said, f'{p.relative_to(ROOT)}: {said[0][:60]}'
