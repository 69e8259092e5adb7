"Figures, the membrane inspector without a front end, and the report: what they show, what they refuse, and that they leave nothing behind"
import gc, json, re, shutil, subprocess, sys, weakref
from types import SimpleNamespace
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors, write_atomic
from quarantion.inspect.figures import (plot_codes, plot_confusion, plot_curve, plot_membrane, plot_observer, plot_raster,
    plot_readout)
from quarantion.paper import new_axes, png
from quarantion.inspect.membrane_inspector import MembraneInspector
from quarantion.inspect.report import write_report
from quarantion.quant.level_sets import levels, quantize
from quarantion.files import append_jsonl
from quarantion.train.rundir import dump_toml


def texts(ax): return [t.get_text() for t in ax.get_legend().get_texts()]

# Figures

def test_importing_starts_nothing():
    code = 'import sys, quarantion.inspect.membrane_inspector, quarantion.inspect.report; print([m for m in ("torch","ipywidgets","matplotlib.pyplot") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip()=='[]'

def test_figures_take_tensors_and_leave_pyplot_alone():
    import matplotlib.pyplot as plt
    plt.close('all')
    spk,mem = torch.rand(20,30)<.2,torch.rand(20,30, requires_grad=True)
    draw = [lambda a: plot_raster(spk, ~spk, neuron=3, ax=a), lambda a: plot_membrane(mem[:,0], 1., spk[:,0], mem[:,1], spk[:,1], ax=a),
            lambda a: plot_readout(mem, 4, a), lambda a: plot_observer(mem, torch.full((20,), .1), -4, 4, 0., 1., a),
            lambda a: plot_codes(torch.tensor([[0,1],[-4,4]]), range(-4,5), a), lambda a: plot_confusion(torch.eye(3, dtype=torch.int64), a),
            lambda a: plot_curve([dict(phase='float', loss=1.)], 'loss', a)]
    for f in draw:
        a,b = new_axes(),new_axes()
        assert f(a) is a
        f(b)
        assert png(a.figure)==png(b.figure)
    assert not plt.get_fignums()

def test_raster_counts_what_differs():
    a,b = np.zeros((2,3), bool),np.zeros((2,3), bool)
    a[0,0] = b[0,0] = a[1,1] = True
    ax = plot_raster(a, b, ('x','y'), ax=new_axes())
    assert texts(ax)==['both 1','only x 1','only y 0']
    image = ax.images[0].get_array()
    assert image.shape[0]%3==0 and image.shape[1]%2==0
    cells = image[::image.shape[0]//3, ::image.shape[1]//2] # [neuron, step]
    assert cells[0,0].tolist()==[0,0,0] and cells[1,1].tolist()==[0,0x72,0xb2] and cells[2].tolist()==[[255]*3]*2

def test_membrane_rings_only_what_differs():
    s,o = np.array([0,1,0,1,0]),np.array([0,1,1,0,0])
    ax = plot_membrane(np.zeros(5), 1., s, np.ones(5), o, ax=new_axes())
    rings = sorted(x for l in ax.lines if l.get_marker()=='o' for x in l.get_xdata())
    assert rings==[2,3] and 'differs' in texts(ax)

@settings(max_examples=25, deadline=None)
@given(st.sampled_from(['ternary','nonary','int4','int8']), st.floats(.01, 3), st.integers(0, 9), st.booleans())
def test_observer_counts_every_value_once(name, scale, seed, rows):
    lv = levels(name)
    x = np.random.default_rng(seed).standard_normal((7,31))*np.random.default_rng(seed).integers(1, 30)
    s = np.full(7, scale) if rows else scale
    ax = plot_observer(x, s, lv.quant_min, lv.quant_max, x.min(), x.max(), new_axes())
    assert sum(p.get_data().values.sum() for p in ax.patches if hasattr(p, 'get_data'))==x.size
    z = torch.round(torch.from_numpy(x)/scale)
    clipped = (quantize(torch.from_numpy(x), torch.tensor(scale, dtype=torch.float64), lv)!=z).double().mean()
    assert texts(ax)[0]==f'clipped: {100*float(clipped):.2g} %'

@pytest.mark.parametrize('call, say', [
    (lambda a: plot_raster(np.zeros((3,2,1)), ax=a), '`spk`: expected axes `t n`'),
    (lambda a: plot_raster(np.zeros((0,2)), ax=a), '`spk`: expected at least one value'),
    (lambda a: plot_raster(np.zeros((3,2)), neuron=2, ax=a), '`neuron`'),
    (lambda a: plot_membrane([1,np.nan], ax=a), '`mem`: expected finite numbers'),
    (lambda a: plot_membrane([1,2], other=[1], ax=a), '`other`: expected axes `t` with t=2'),
    (lambda a: plot_membrane([1,2], spk=[0,2], ax=a), '`spk`: expected in [0, 1]'),
    (lambda a: plot_readout(np.zeros((3,2)), 2, a), '`label`'),
    (lambda a: plot_observer([1,2], 0, -4, 4, ax=a), '`scale`: expected > 0'),
    (lambda a: plot_observer([1,2], [1,2,3], -4, 4, ax=a), '`scale`: expected one number'),
    (lambda a: plot_observer([1,2], 1, -4, 4, min_val=[1,2], ax=a), '`min_val`: expected one number'),
    (lambda a: plot_observer([1,2], 1, 4, -4, ax=a), '`quant_max - quant_min`'),
    (lambda a: plot_codes([9], range(-4,5), a), '`codes`: expected codes in [-4, 4], found 9'),
    (lambda a: plot_curve([], ax=a), '`metrics`: expected at least one epoch'),
    (lambda a: plot_curve([dict(phase='x')], ax=a), '`metrics[0].phase`'),
    (lambda a: plot_curve([dict(phase='qat', accuracy='1')], ax=a), "`metrics[0].accuracy`: expected a finite number, found '1'"),
    (lambda a: plot_confusion(np.zeros((2,3), int), a), '`matrix`: expected axes `c k` with k=2'),
    (lambda a: plot_confusion(-np.eye(2, dtype=int), a), '`matrix`: expected >= 0'),
])
def test_figures_refuse(call, say):
    with pytest.raises(CheckError, match=re.escape(say)): call(new_axes())


# The inspector

class Fake:
    "Records what it is told to"
    def __init__(self, seed, shapes=((9,3,20),(9,3,4)), **kw): self.seed,self.shapes,self.kw = seed,shapes,kw
    def record(self, x):
        r = np.random.default_rng(self.seed)
        return [SimpleNamespace(name=str(i), spk=(r.random(s)<.3).astype(np.float32), mem=r.random(s), **self.kw) for i,s in enumerate(self.shapes)]

def test_inspector_follows_its_controls():
    mi = MembraneInspector(Fake(0), None, Fake(1))
    seen = {mi.image.value}
    for w,v in ((mi.sample,2), (mi.neuron,17), (mi.layer,1)):
        w.value = v
        assert mi.message.value=='' and mi.image.value not in seen
        seen.add(mi.image.value)
    assert mi.neuron.value==3 and mi.neuron.max==3 # a smaller layer
    mi.neuron.value = 0
    mi.differing.click()
    assert mi.neuron.value>0 and mi.message.value==''

def test_inspector_says_what_went_wrong_and_goes_on():
    mi = MembraneInspector(Fake(0), None, Fake(0))
    mi.differing.click() # nothing differs
    assert 'expected a neuron whose spikes differ, found none' in mi.message.value
    mi._a[0][2][0,1,:] = np.nan
    mi.sample.value = 1
    assert 'CheckError: `traces[0].mem`: expected finite numbers' in mi.message.value
    mi._guard(fail_with, '<script>')
    assert '&lt;script&gt;' in mi.message.value and '<script' not in mi.message.value
    mi.sample.value = 2
    assert mi.message.value==''

def fail_with(s): raise RuntimeError(s)

def test_close_frees_callbacks_and_recordings():
    mi = MembraneInspector(Fake(0), None, Fake(1))
    layer,sample,button,image = mi.layer,mi.sample,mi.differing,mi.image
    kept,before = weakref.ref(mi),image.value
    mi.close(); mi.close()
    assert not {'_a','_b','net'} & set(vars(mi)) and repr(mi)=='MembraneInspector (closed)' and list(mi._repr_mimebundle_())==['text/plain']
    sample.value = 1; layer.value = 1; button.click()
    assert image.value==before
    del mi; gc.collect()
    assert kept() is None

def test_view_only_where_someone_looks(monkeypatch):
    import comm
    mi = MembraneInspector(Fake(0), None)
    assert set(mi._repr_mimebundle_())=={'text/plain','image/png'} # as stored by a notebook that ran without a front end
    class Comm(comm.base_comm.BaseComm):
        def publish_msg(self, *args, **kw): pass
    monkeypatch.setattr(comm, 'create_comm', Comm)
    mi = MembraneInspector(Fake(0), None)
    d = mi._repr_mimebundle_()
    assert set(d)=={'text/plain','image/png','application/vnd.jupyter.widget-view+json'} and isinstance(d['image/png'], str)

@pytest.mark.parametrize('net, other, say', [
    ({}, None, '`net`: expected a network with record(x), found dict'), (Fake(0), 3, '`other`: expected a network with record(x), found int'),
    (Fake(0, ()), None, '`net`: expected at least one layer'), (Fake(0, ((3,4),)), None, 'spikes of layer 0: expected axes `t b ...`'),
    (Fake(0), Fake(0, ((9,3,20),)), '`other`: expected 2 layers, found 1'), (Fake(0), Fake(0, ((9,3,20),(9,3,5))), 'layer 1 of `other`: expected spikes of shape (9, 3, 4)')])
def test_inspector_refuses(net, other, say):
    with pytest.raises(CheckError, match=re.escape(say)): MembraneInspector(net, None, other)

def test_inspector_of_networks():
    from torch import nn
    from quarantion.quant.policy import preset
    from quarantion.quant.network import prepare
    from quarantion.spikes.network import Network
    from quarantion.spikes.neuron import LIF
    torch.manual_seed(0)
    net = Network(nn.Conv2d(1,4,3), LIF(threshold=torch.tensor([.5,1.,1.5,2.])), nn.Flatten(), nn.Linear(4*36,10), LIF(reset='none', threshold=3.), in_shape=(1,8,8), steps=6)
    x = torch.rand(3,1,8,8)
    q = prepare(net, preset('nonary'), x)
    net.train(); q.train(); net.layers[1].eval()
    seen = {k:v.clone() for k,v in q.state_dict().items()}
    mi = MembraneInspector(net, x, q)
    assert mi.message.value=='' and net.training and not net.layers[1].training and q.training
    assert all(torch.equal(v, seen[k]) for k,v in q.state_dict().items()), 'looking changed an observer'
    assert mi._a[0][3].tolist()==[t for t in (.5,1.,1.5,2.) for _ in range(36)] and mi._a[1][3].tolist()==[3.]*10
    assert mi._b[0][3].tolist()==mi._a[0][3].tolist()
    mi.record(x[:1])
    assert mi.sample.max==0 and mi.message.value==''


# The report

def sample(hidden=(12,), quantized=True, T=9, C=4, q=4, seed=0):
    r,t = np.random.default_rng(seed),{}
    t['confusion'] = np.eye(C, dtype=np.int64)*5
    t['confusion'][0,0],t['confusion'][0,1] = 4,1
    t['label'],t['image'] = np.array([2]),r.random((8,8))
    for i,(j,n) in enumerate(zip((64,*hidden), (*hidden,C))):
        t[f'weight.{i}'],t[f'theta.{i}'] = r.standard_normal((n,j)).astype(np.float32),np.ones(n, np.float32)
        for net in ('float','quant')[:1+quantized]:
            t[f'{net}.spk.{i}'],t[f'{net}.mem.{i}'] = (r.random((T,n))<.2).astype(np.uint8),r.random((T,n)).astype(np.float32)
        if quantized: t[f'scale.{i}'],t[f'codes.{i}'] = np.full(n, .5, np.float32),np.round(t[f'weight.{i}']/.5).clip(-q, q).astype(np.int8)
    return t

def make(run, policy='nonary', result=None, **kw):
    quantized = policy!='float'
    save_tensors(run/'sample.safetensors', sample(quantized=quantized, **kw), dict(format='quarantion.sample', version=2, **(dict(quant_max=4) if quantized else {})))
    write_atomic(run/'config.toml', dump_toml(dict(policy=policy, steps=9, note='<script>alert(1)</script>')).encode())
    for i in range(4): append_jsonl(run/'metrics.jsonl', dict(phase='float' if i<2 else 'qat', epoch=i%2, loss=1/(i+1), accuracy=.9, spike_rate=.1, lr=.1, time_s=1.))
    r = dict(run='r<1>', data='digits', policy=policy, seed=0, float_accuracy=.95, test_accuracy=.95 if quantized else None, samples=20, spikes=2880 if quantized else None,
             mismatches=0 if quantized else None, spike_rate=.1, bytes=500 if quantized else None, seconds=1.5)
    write_atomic(run/'result.json', json.dumps(r|(result or {})).encode())
    return run

@pytest.mark.parametrize('policy, kw', [('nonary',{}), ('float',{}), ('nonary',dict(hidden=())), ('nonary',dict(hidden=(7,5), T=1))])
def test_report_of_any_shape(tmp_path, policy, kw):
    run = make(tmp_path/'run', policy, **kw)
    page = write_report(run)
    text = page.read_text()
    assert page==run/'report.html' and len(list((run/'figures').glob('*.png')))==text.count('<img')>=8
    assert text.count('<figure>')==text.count('<figcaption>') and not re.search(r'https?:|<script|<link|@import|url\(', text)
    assert ('were skipped' in text)==(policy=='float') and '&lt;script&gt;' in text and 'r&lt;1&gt;' in text

def test_report_reads_the_extras(tmp_path):
    layers = [dict(name='<one>', rate=.1, compared=1000, mismatches=0, levels=9, weights=768, bytes=308), dict(name='3')]
    (tmp_path/'run').mkdir()
    (tmp_path/'run'/'integer.safetensors').write_bytes(bytes(1234))
    text = write_report(make(tmp_path/'run', result=dict(float_bytes=4000, layers=layers)), tmp_path/'page.html').read_text()
    assert '8.00 ×' in text and '&lt;one&gt;' in text and '1,234 bytes' in text and '0.1000' in text
    assert not (tmp_path/'run'/'report.html').exists()

def test_a_failed_proof_is_not_hidden(tmp_path):
    text = write_report(make(tmp_path/'run', result=dict(mismatches=3))).read_text()
    assert 'The proof failed' in text and '<b class="bad">3</b>' in text and 'fired exactly' not in text

def test_report_is_the_same_in_another_process(tmp_path):
    run = make(tmp_path/'run')
    here = write_report(run).read_bytes(),{p.name:p.read_bytes() for p in (run/'figures').iterdir()}
    code = 'import sys, matplotlib; matplotlib.rcParams["font.size"] = 20; from quarantion.inspect.report import write_report; write_report(sys.argv[1])'
    subprocess.run([sys.executable, '-c', code, str(run)], check=True)
    assert ((run/'report.html').read_bytes(),{p.name:p.read_bytes() for p in (run/'figures').iterdir()})==here

@pytest.mark.parametrize('name', ['config.toml','metrics.jsonl','result.json','sample.safetensors'])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    run = make(tmp_path/'run')
    data = (run/name).read_bytes()
    for bad in (None, b'{"a\xff', data[:len(data)//2] if name=='sample.safetensors' else b'[1, 2\n'):
        (run/name).unlink() if bad is None else (run/name).write_bytes(bad)
        with pytest.warns(UserWarning) if name=='metrics.jsonl' and bad==b'{"a\xff' else nothing(), pytest.raises(CheckError, match=f'{re.escape(str(run/name))}.*expected .*found '): write_report(run)
    assert not (run/'report.html').exists()

class nothing:
    def __enter__(self): pass
    def __exit__(self, *args): pass

@pytest.mark.parametrize('change, say', [
    (dict(run=None), "`run`: expected a string, found None"), (dict(seed=1.5), '`seed`: expected a whole number, found 1.5'), (dict(seed=True), '`seed`'),
    (dict(test_accuracy=None), '`test_accuracy`: expected a number'), (dict(float_accuracy=95.), '`float_accuracy`: expected in [0, 1], found 95'), (dict(mismatches=-1), '`mismatches`: expected no less than 0'),
    (dict(float_bytes='4'), '`float_bytes`'), (dict(layers={}), None), (dict(layers=5), '`layers`: expected a list'), (dict(layers=[5]), '`layers[0]`: expected an object'),
    (dict(layers=[dict(name=3)]), '`name`: expected a string, found 3'), (dict(samples=21), '`confusion`: expected 21 samples, as in result.json, found 20'),
    (dict(test_accuracy=.9), '`confusion`: expected 90.00 % right answers, as in result.json, found 95.00 %')])
def test_bad_results(tmp_path, change, say):
    run = make(tmp_path/'run', result=change)
    if say is None: write_report(run)
    else:
        with pytest.raises(CheckError, match=re.escape(say)): write_report(run)

@pytest.mark.parametrize('key, value, say', [
    ('loss', None, '`loss`: expected a number, found None'), ('accuracy', 2, '`accuracy`: expected in [0, 1]'), ('spike_rate', 'x', '`spike_rate`: expected a number'), ('phase', 'test', "`phase`: expected float or qat, found 'test'")])
def test_bad_metrics(tmp_path, key, value, say):
    run = make(tmp_path/'run')
    append_jsonl(run/'metrics.jsonl', dict(phase='qat', epoch=3, loss=1., accuracy=.9, spike_rate=.1)|{key:value})
    with pytest.raises(CheckError, match='metrics.jsonl, line 5: '+re.escape(say)): write_report(run)

@pytest.mark.parametrize('change, head, say', [
    (dict(confusion=None), {}, '`confusion`: expected a tensor, found none'), (dict(confusion=np.eye(4)*5), {}, '`confusion`: expected whole numbers'), (dict(label=None), {}, '`label`: expected one number, found none'),
    (dict(label=np.array(4)), {}, '`label`: expected in [0, 3], found 4'), (dict(image=np.zeros(64)), {}, '`image`: expected axes `h w`'), ({'theta.0': np.ones(3)}, {}, '`theta.0`: expected axes `n` with n=12'),
    ({'quant.spk.1': None}, {}, '`quant.spk.1`: expected a tensor, found none'), ({'float.spk.0': np.full((9,12), 2, np.uint8)}, {}, '`float.spk.0`: expected in [0, 1], found 2'),
    ({'quant.mem.0': np.zeros((8,12), np.float32)}, {}, '`quant.mem.0`: expected axes `t n` with t=9, n=12'), ({'scale.0': np.ones(3, np.float32)}, {}, '`scale.0`: expected 1 or 12 scales, found 3'),
    ({'scale.1': np.zeros(4, np.float32)}, {}, '`scale.1`: expected scales > 0'), ({'codes.0': np.full((12,64), 5, np.int8)}, {}, '`codes.0`: expected in [-4, 4], found 5'), ({}, dict(quant_max=None), '`quant_max` of the header'),
    ({}, dict(version=3), 'version: expected 2, found 3'), ({}, dict(format='other'), 'format: expected quarantion.sample, found other')])
def test_bad_samples(tmp_path, change, head, say):
    run = make(tmp_path/'run')
    t,h = load_tensors(run/'sample.safetensors', 'quarantion.sample', 2)
    save_tensors(run/'sample.safetensors', {k:v for k,v in (t|change).items() if v is not None}, h|head)
    with pytest.raises(CheckError, match='sample.safetensors: '+re.escape(say)): write_report(run)

@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_report_in_a_browser(tmp_path):
    sync = pytest.importorskip('playwright.sync_api')
    page = write_report(make(tmp_path/'run', result=dict(layers=[dict(name='1', rate=.1, compared=1_000_000_000, mismatches=0, levels=9, weights=768, bytes=308)])))
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu','--disable-background-networking'])
        for width,scheme in ((1200,'light'), (390,'dark'), (320,'light')):
            p,said = b.new_page(viewport=dict(width=width, height=800), color_scheme=scheme),[]
            p.on('console', lambda m: said.append(m.text))
            p.on('request', lambda r: said.append(r.url) if not r.url.startswith(('data:','file:')) else None)
            p.goto(page.as_uri())
            assert p.evaluate('document.documentElement.scrollWidth')<=width and not said
            assert p.evaluate('[...document.images].every(i => i.complete && i.naturalWidth>0)')
            dark = p.evaluate('getComputedStyle(document.body).backgroundColor')!='rgb(255, 255, 255)'
            assert dark==(scheme=='dark')
        b.close()
