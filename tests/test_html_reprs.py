"What a notebook shows of policies, networks and runs: tables that are whole, escaped and light; and progress that leaves one output"
import json
import os
import subprocess
import sys
import warnings
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.policy import PRESETS, Policy, preset
from quarantion.quant.network import prepare
from quarantion.runtime.network import sizes
from quarantion.tables import html_table
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RecurrentLIF
from quarantion.files import append_jsonl
from quarantion.train.rundir import Run, dump_toml, read_run


class Table(HTMLParser):
    "The words of each row; fails where tags do not close, or something is asked for from outside"
    def __init__(self, text):
        super().__init__()
        self.open,self.rows = [],[]
        self.feed(text)
        assert not self.open and not self.rawdata.strip()

    def handle_starttag(self, tag, attrs):
        assert tag in ('div','table','thead','tbody','tfoot','tr','th','td','p'), tag
        assert [k for k,_ in attrs] in ([],['style']) and all(v in ('text-align:left','text-align:right','overflow-x:auto') for _,v in attrs), attrs
        self.open.append(tag)
        if tag=='tr': self.rows.append([])
        if tag in ('th','td'): self.rows[-1].append('')

    def handle_endtag(self, tag): assert self.open.pop()==tag

    def handle_data(self, data):
        if self.open[-1] in ('th','td'): self.rows[-1][-1] += data


def one_line(x, most=300): return '\n' not in repr(x) and len(repr(x))<most


def linear():
    torch.manual_seed(0)
    return Network(nn.Linear(12,20), LIF(beta=.9), nn.Linear(20,4), LIF(beta=.9, reset='none'), steps=6),torch.rand(8,12)


def conv():
    torch.manual_seed(0)
    return Network(nn.Conv2d(1,4,3), LIF(beta=.9), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36,5), LIF(beta=.9, reset='none'), in_shape=(1,8,8), steps=5),torch.rand(8,1,8,8)


def recurrent():
    torch.manual_seed(0)
    return Network(nn.Linear(12,20), RecurrentLIF(nn.Linear(20,20, bias=False)), nn.Linear(20,4), LIF(reset='none'), steps=6),(torch.rand(6,8,12)<.3).float()


# Tables

def test_whatever_a_cell_holds_is_a_word():
    evil = '<script>x</script>&"\'</td>'
    t = Table(html_table((evil,'n'), [(evil,1234567), ('b',True)], (evil,-5), evil))
    assert t.rows==[[evil,'n'], [evil,'1,234,567'], ['b','True'], [evil,'-5']]


def test_numbers_stand_right():
    t = html_table(('a','b'), [('x',1)])
    assert t.count('text-align:right')==t.count('text-align:left')==2


# Policies

@pytest.mark.parametrize('name', PRESETS)
def test_policy(name):
    p = preset(name)
    rows = Table(p._repr_html_()).rows
    assert len(rows)==2+len(p.layers) and len({len(r) for r in rows})==1
    assert rows[1][1].startswith(f'{p.weight}: ') and rows[1][3]==p.membrane
    assert one_line(p) and eval(repr(p))==p


def test_exceptions_of_a_policy_show_only_what_differs():
    p = Policy('nonary', layers={'<i>*': dict(weight='float', per_channel=False), 'last': dict(noise=.5)})
    head,_,a,b = Table(p._repr_html_()).rows
    assert [(h,v) for h,v in zip(head, a) if v]==[('layers','<i>*'), ('weights','float: 32 bits'), ('scales','one a layer')]
    assert [(h,v) for h,v in zip(head, b) if v]==[('layers','last'), ('noise','0.5')]


# Networks

@pytest.mark.filterwarnings('ignore:layer')
@pytest.mark.parametrize('make,name', [(linear,n) for n in PRESETS]+[(conv,'int4'), (recurrent,'nonary')])
def test_network_counts_the_bytes_that_sizes_counts(make, name):
    net,x = make()
    prog = lower(prepare(net, preset(name), x))
    head,*rows,foot = Table(prog._repr_html_()).rows
    assert len(rows)==len(prog.layers) and {len(r) for r in (head,*rows,foot)}=={len(head)}
    for i,(row,l) in enumerate(zip(rows, prog.layers)):
        packed = sum(s.packed for s in sizes(prog) if s.name.startswith(f'{i}.') and not s.name.endswith('.worth'))
        assert row[head.index('bytes')]==f'{packed:,}' and row[head.index('reset')]==l.reset
        assert row[head.index('weights')]==' × '.join(map(str, l.weight.shape)) and f'{l.theta.min():,}' in row[head.index('θ')]
    assert foot[-2]==f'{sum(int(r[-2].replace(",", "")) for r in rows):,}'
    assert one_line(prog)


def test_a_quantized_network_and_a_proof_are_tables_too():
    from quarantion.quant.proof import verify
    net,x = linear()
    q = prepare(net, preset('nonary'), x)
    proof = verify(q, lower(q), [(x,torch.arange(8)%4)])
    for shown in q._repr_html_(),proof._repr_html_(): assert shown.count('<table')==shown.count('</table>')>0


def test_a_network_is_shown_without_torch(tmp_path):
    net,x = linear()
    lower(prepare(net, preset('nonary'), x)).save(tmp_path/'n')
    code = f'import sys; from quarantion import load; n = load({str(tmp_path/"n")!r}); n._repr_html_(); print("torch" in sys.modules, n)'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip()
    assert said=='False IntegerNetwork(12 → 20 → 4, 320 weights, T = 6)'


# Runs

@pytest.fixture
def run(tmp_path):
    "A run that was killed after its second epoch"
    folder = tmp_path/'a <b> run'
    folder.mkdir()
    (folder/'config.toml').write_text(dump_toml(dict(data='digits', policy='nonary', seed=3, epochs=2, qat_epochs=4)))
    for i in range(2): append_jsonl(folder/'metrics.jsonl', dict(phase='float', epoch=i, loss=1., accuracy=.5, spike_rate=.1))
    return folder


def test_a_run_that_is_not_finished(run):
    r = read_run(run)
    assert (r.name,r.epochs,r.result)==('a <b> run', 'float 2 of 2, qat 0 of 4', {}) and 'not finished' in repr(r) and one_line(r)
    rows = Table(r._repr_html_()).rows
    assert rows[0]==['run','a <b> run'] and rows[-1]==['result','none yet']


def test_a_run_before_its_first_epoch(run):
    (run/'metrics.jsonl').unlink()
    r = read_run(run)
    assert r.metrics==[] and Table(r._repr_html_()).rows[-2][1]=='–, –, –'


def test_a_finished_run(run):
    layers = [dict(name='<1>', levels=9, weights=100, bytes=40, rate=.25, mismatches=0), dict(name='3')]
    result = dict(test_accuracy=.9, float_accuracy=.95, samples=360, spikes=10**6, mismatches=0, spike_rate=.2, bytes=100, float_bytes=1000, seconds=3.5, layers=layers)
    (run/'result.json').write_text(json.dumps(result))
    r = read_run(run)
    rows = Table(r._repr_html_()).rows
    assert ['bytes','100, 10.0 times smaller than float32 (1,000)'] in rows and ['<1>','9','100','40','0.2500','0'] in rows and rows[-1]==['3','–','–','–','–','–']
    assert '90.00% of 360 samples, 0 mismatches, 100 bytes' in repr(r) and one_line(r)


def test_a_float_run_and_odd_results(run):
    (run/'config.toml').write_text(dump_toml(dict(data='digits', policy='float', epochs=2)))
    (run/'result.json').write_text('{"test_accuracy":null,"bytes":7,"float_bytes":0}')
    r = read_run(run)
    assert r.epochs=='float 2 of 2' and '– of – samples' in repr(r)
    Table(r._repr_html_())


def test_a_torn_line_is_left_out(run):
    with open(run/'metrics.jsonl', 'a') as f: f.write('{"phase":"flo')
    with pytest.warns(UserWarning, match='torn'): assert len(read_run(run).metrics)==2


@pytest.mark.parametrize('file,text,words', [('result.json','{',('result.json','JSON')), ('result.json','3',('result.json','an object','int')), ('result.json','{"layers":[3]}',('`layers`','a list of objects')),
    ('result.json','{"bytes":"many"}',('result.json','`bytes`','a number',"'many'")), ('result.json','{"bytes":"7","float_bytes":"8"}',('`bytes`','a number')),
    ('metrics.jsonl','3\n',('metrics.jsonl, line 1','an object')), ('config.toml','a = [1]',('config.toml','`a`'))])
def test_a_damaged_run_is_named(run, file, text, words):
    (run/file).write_text(text)
    with pytest.raises(CheckError) as e: read_run(run)
    for w in words: assert w in str(e.value)


def test_no_directory(tmp_path):
    with pytest.raises(CheckError, match='config.toml'): read_run(tmp_path/'none')
    assert isinstance(Run(tmp_path, {}, [], {})._repr_html_(), str)


# Progress

CELLS = ['from quarantion.cli import main\nimport os\nos.environ["OMP_NUM_THREADS"] = "1"',
         'args = "run --epochs 3 --qat-epochs 2 --hidden 16 --steps 5 --out".split()\ntry: main([*args, "one"])\nexcept SystemExit as e: assert e.code in (0, None)',
         '!{__import__("sys").executable} -m quarantion.cli {" ".join(args)} two']


def test_a_notebook_stores_one_output_of_progress(tmp_path):
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # of the kernel's transport
        NotebookClient(nb, timeout=120, kernel_name='python3', resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    called,shell = (c.outputs for c in nb.cells[1:])
    bars = [o for o in called if '<progress' in ''.join(o.get('data', {}).get('text/html', ''))]
    assert len(bars)==1 and bars[0]['data']['text/plain'].startswith('float: epoch 3/3, loss ') and '\nqat: epoch 2/2, loss ' in bars[0]['data']['text/plain']
    assert len(called)==4, called # where the run is, progress, its table, its report
    text = ''.join(o['text'] for o in shell)
    assert '\x1b' not in text and '\r' not in text.replace('\r\n', '') and text.count('\n')<20 and 'mismatches' in text
    assert len(json.dumps([called,shell]))<12_000


def test_a_pipe_gets_no_control_characters(tmp_path):
    r = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'run', *'--epochs 1 --qat-epochs 1 --hidden 16 --steps 5'.split(), '--out', tmp_path], capture_output=True, text=True,
        env=os.environ|dict(OMP_NUM_THREADS='1', TERM='xterm-256color'), check=True)
    for text in r.stdout,r.stderr: assert not any(ord(c)<32 and c!='\n' for c in text), repr(text)
    assert r.stderr.count('\n')==2
