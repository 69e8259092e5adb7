"Graphs of NIR that others wrote: read, run in float64 as those that wrote them run them, and made networks of."
import contextlib
import hashlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.export import network_from_nir
from quarantion.export.graphs import RULES, NirRun
from quarantion.export.parts.graph import NirGraph, NirNode, read_nir
from quarantion.export.parts.rules import Rules
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.quant.proof import verify

pytest.importorskip('h5py', reason='no h5py (pip install h5py)')
pytestmark = pytest.mark.filterwarnings('ignore') # what other simulators say
STORED = Path(__file__).parent/'stored'/'nir' # from the paper of the NIR project, see LICENSE there
CNN = next((p for p in (f/'shared/data/nir/cnn_sinabs.nir' for f in Path(__file__).parents) if p.exists()), STORED/'cnn_sinabs.nir')


# What each rule is, in plain Python, one neuron at a time

def lif(p, r, i):
    "Spikes and membranes of one neuron for inputs `i`"
    s = r.dt/p['tau'] if r.decay=='euler' else 1-math.exp(-r.dt/p['tau'])
    v,out = 0.,[]
    for x in i:
        v += s*(p.get('v_leak', 0.)-v)+(1. if r.whole else s)*p['r']*x
        n,v = fire(p, r, v)
        out.append((n,v))
    return out


def fire(p, r, v):
    top = p['v_threshold']
    if r.many: n = max(0, math.floor(v/top))
    else: n = int(v>=top if r.ties else v>top)
    if r.reset=='subtract': return n,v-n*top
    return n,(p.get('v_reset', 0.) if n else v)


def integrate(p, r, i):
    "`IF`"
    v,out = 0.,[]
    for x in i:
        n,v = fire(p, r, v+(r.dt if r.seconds else 1.)*p['r']*x)
        out.append((n,v))
    return out


def cuba(p, r, i):
    "`CubaLIF`"
    a,b = r.dt/p['tau_syn'],r.dt/p['tau_mem']
    j,v,out = 0.,0.,[]
    for x in i:
        j += a*(p.get('w_in', 1.)*x-j)
        n,v = fire(p, r, v+b*(p['r']*j-v))
        out.append((n,v))
    return out


ALL = [Rules(reset=reset, ties=ties, decay=decay, whole=whole, seconds=seconds, many=many) for reset in ('zero','subtract') for ties in (False,True)
       for decay in ('euler','exp') for whole in (False,True) for seconds in (False,True) for many in (False,True)]


@pytest.mark.parametrize('kind', ['LIF','IF','CubaLIF'])
def test_neurons_do_what_plain_python_does(kind):
    rng = np.random.default_rng(0)
    plain,names = dict(LIF=(lif,'tau r v_leak v_threshold v_reset'), IF=(integrate,'r v_threshold v_reset'), CubaLIF=(cuba,'tau_syn tau_mem r w_in v_leak v_threshold v_reset'))[kind]
    for rules in ALL:
        if kind=='CubaLIF' and (rules.decay=='exp' or rules.whole): continue
        lo = dict(tau=5e-4, tau_syn=2e-4, tau_mem=5e-4, r=.5, w_in=.5, v_leak=-.2, v_threshold=.2, v_reset=-.1)
        p = {k:rng.uniform(lo[k], abs(lo[k])*2, 3) for k in names.split()}
        if kind=='CubaLIF': p['v_leak'] *= 0
        if kind=='IF' and rules.seconds: p['r'] *= 1e4
        nodes = dict(input=NirNode('Input', dict(shape=np.array([3]))), n=NirNode(kind, p), output=NirNode('Output', dict(shape=np.array([3]))))
        run = NirRun(NirGraph(nodes, (('input','n'),('n','output'))), rules)
        x = rng.normal(.5, 1, (40,2,3))
        r, = run.record(x)
        for b in range(2):
            for n in range(3):
                want = plain({k:v[n] for k,v in p.items()}, rules, x[:,b,n])
                assert [int(s) for s in r.spk[:,b,n]]==[s for s,_ in want]
                assert np.allclose(r.mem[:,b,n], [v for _,v in want], rtol=1e-9, atol=1e-12)
        assert (run(x)==r.spk).all()


def test_integrators_and_what_lies_between():
    one = np.ones(2)
    def run(*nodes, shape=(2,)):
        names = [f'n{i}' for i in range(len(nodes))]
        all_ = dict(zip(names, nodes))|dict(input=NirNode('Input', dict(shape=np.array(shape))), output=NirNode('Output', dict(shape=np.array(shape))))
        return NirRun(NirGraph(all_, tuple(zip(['input',*names], [*names,'output']))), Rules(dt=.5))
    x = np.arange(8.).reshape(4,1,2)
    assert (run(NirNode('I', dict(r=one)))(x)==.5*x.cumsum(0)).all()
    v,out = np.zeros((1,2)),[]
    for now in x: v = v+.25*(3-v+2*now); out.append(v)
    assert np.allclose(run(NirNode('LI', dict(tau=2*one, r=2*one, v_leak=3*one)))(x), np.array(out))
    assert (run(NirNode('Scale', dict(scale=np.array([1.,-2]))))(x)==x*[1,-2]).all()
    assert (run(NirNode('Threshold', dict(threshold=np.array(3.))))(x)==(x>3)).all()
    assert (run(NirNode('Linear', dict(weight=np.array([[1.,2],[3,4]]))))(x)==x@np.array([[1.,3],[2,4]])).all()
    with pytest.raises(CheckError, match='node n0: `weight`: expected'): run(NirNode('Linear', dict(weight=np.ones((2,3)))))
    with pytest.raises(CheckError, match='node n0: `tau`: expected above 0, found -1'): run(NirNode('LI', dict(tau=-one, r=one, v_leak=one)))
    with pytest.raises(CheckError, match='windows that fit'): run(NirNode('SumPool2d', dict(kernel_size=np.array(3), stride=np.array(1), padding=np.array(0))), shape=(1,2,2))
    huge = NirNode('SumPool2d', dict(kernel_size=np.array(1), stride=np.array(1), padding=np.array(4000)))
    with pytest.raises(CheckError, match='at most 16,777,216 numbers'): run(huge, shape=(1,2,2))
    with pytest.raises(CheckError, match='`start_dim`'): run(NirNode('Flatten', dict(start_dim=np.array(2), end_dim=np.array(1))), shape=(1,2,2))
    with pytest.raises(CheckError, match='`x`'): run(NirNode('I', dict(r=one)))(np.full((3,1,2), np.nan))


# Files of the NIR paper

def test_one_neuron_by_norse():
    g = read_nir(STORED/'lif_norse.nir')
    i = np.random.default_rng(0).random(200)*2
    for rules in (Rules(), Rules(reset='subtract'), Rules(dt=1e-3)): # the file says neither
        r, = NirRun(g, rules).record(i[:,None,None])
        p = {k:float(v[0]) for k,v in g.nodes['1'].values.items()}
        want = lif(p, rules, i)
        assert [*r.spk.ravel()]==[n for n,_ in want] and np.allclose(r.mem.ravel(), [v for _,v in want]) and r.spk.sum()>10


def braille(g, x, rest, reset='zero'):
    "The recurrent reader in plain numpy: one step between a spike and what comes back of it"
    v = {k:n.values for k,n in g.nodes.items()}
    def neurons(p, i, j, u):
        j = j+1e-4/p['tau_syn']*(p['w_in']*i-j)
        u = u+1e-4/p['tau_mem']*(p['r']*j-u)
        s = (u>p['v_threshold'])*1.
        return s,j,(u*(1-s) if reset=='zero' else u-s*p['v_threshold'])
    s = j1 = u1 = np.zeros((x.shape[1],38))
    j2 = u2 = np.zeros((x.shape[1],7))
    out = []
    for t,now in enumerate(x):
        back = s@v['lif1.w_rec']['weight'].T+v['lif1.w_rec']['bias'] if t or rest else 0.
        s,j1,u1 = neurons(v['lif1.lif'], now@v['fc1']['weight'].T+v['fc1']['bias']+back, j1, u1)
        s2,j2,u2 = neurons(v['lif2'], s@v['fc2']['weight'].T+v['fc2']['bias'], j2, u2)
        out.append((s,s2,u1,u2))
    return [np.stack(v) for v in zip(*out)]


@pytest.mark.parametrize('rest', [False,True])
@pytest.mark.parametrize('reset', ['zero','subtract'])
def test_a_recurrent_reader_by_snntorch(rest, reset):
    g = read_nir(STORED/'braille_noDelay_bias_zero.nir')
    x = (np.random.default_rng(0).random((100,5,12))<.2)*3.
    a,b = NirRun(g, Rules(rest=rest, reset=reset)).record(x)
    s1,s2,u1,u2 = braille(g, x, rest, reset)
    assert (a.spk==s1).all() and (b.spk==s2).all() and s1.sum()>20 and s2.sum()>20
    assert np.allclose(a.mem, u1) and np.allclose(b.mem, u2)
    half = NirRun(g, Rules(rest=rest, reset=reset)).record(x[:40])
    rest_of_it = NirRun(g, Rules(rest=rest, reset=reset)).record(x[40:], state=half[0].state)
    assert all((r.spk==w.spk[40:]).all() for r,w in zip(rest_of_it, (a,b)))


@pytest.mark.skipif(not CNN.exists(), reason='no graph by sinabs')
def test_a_convolutional_network_by_sinabs():
    g = read_nir(CNN)
    x = (np.random.default_rng(0).random((20,2,2,34,34))<.2)*1.
    for rules in (Rules(seconds=False), Rules(seconds=False, reset='subtract'), RULES['sinabs']):
        v,got = {k:torch.tensor(n.values['weight']) for k,n in g.nodes.items() if 'weight' in n.values},NirRun(g, rules)(x)
        state,out = {},[]
        def fired(name, i):
            u = state.get(name, 0.)+i.numpy()
            n = np.maximum(np.floor(u), 0) if rules.many else (u>1)*1.
            state[name] = u*(n==0) if rules.reset=='zero' else u-n
            return torch.tensor(n)
        for now in torch.tensor(x):
            h = fired('1', nn.functional.conv2d(now, v['0'], stride=2, padding=1))
            h = nn.functional.avg_pool2d(fired('3', nn.functional.conv2d(h, v['2'], padding=1)), 2)*4
            h = nn.functional.avg_pool2d(fired('6', nn.functional.conv2d(h, v['5'], padding=1)), 2)*4
            out.append(fired('12', fired('10', h.flatten(1)@v['9'].T)@v['11'].T).numpy())
        assert (got==np.stack(out)).all() and got.sum()>0


# Files that rockpool and lava-dl wrote, whose own runs are stored as digests (how: stored/nir/made.md)

DRIVE = (np.random.default_rng(0).random((1000,60,12))<.4).transpose(1,0,2).astype(float) # [T, B, N]


def others(name, spk):
    "Samples in which the tool that wrote a file fired otherwise"
    made = json.loads((STORED/'made.json').read_text())[name]
    each = [hashlib.blake2b(np.ascontiguousarray(s, np.uint8).tobytes(), digest_size=4).hexdigest() for s in spk.swapaxes(0, 1)]
    return sum(a!=b for a,b in zip(each, made['each'].split(), strict=True)),made['spikes']


def rockpool(p, x):
    "Neurons as rockpool runs them, from what its file says of τ and θ: its r stands for 1"
    a,b = (np.exp(-1e-3/p[k]) if k in p else 0. for k in ('tau_mem','tau_syn'))
    if 'tau' in p: a = np.exp(-1e-3/p['tau'])
    i = v = np.zeros(x[0].shape)
    out = []
    for now in x:
        i = b*(i+now) if 'tau_syn' in p else now
        v = a*v+i
        s = np.maximum(np.floor(v/p['v_threshold']), 0)
        v = v-s*p['v_threshold']
        out.append(s)
    return np.array(out)


def test_rockpool_wrote():
    "Fires as a plain loop of float64 does; rockpool itself runs in float32"
    g = read_nir(STORED/'rockpool.nir')
    got,h = NirRun(g, 'rockpool')(DRIVE[:,:,None]),DRIVE # its shapes have an axis of samples
    for n in NirRun(g).order:
        v = g.nodes[n].values
        if 'weight' in v: h = h@v['weight'].T
        elif 'v_threshold' in v: h = rockpool(v, h)
    assert (got[:,:,0]==h).all()
    differ,spikes = others('rockpool.nir', got[:,:,0])
    assert differ<=10 and abs(got.sum()-spikes)<=20 and spikes>600_000, differ
    one = replace(RULES['rockpool'], many=False)
    net,want = network_from_nir(STORED/'rockpool.nir', one),NirRun(g, one).record(DRIVE[:,:20,None])
    assert all((a.spk==b.spk.detach().numpy()).all() for a,b in zip(want, net.double().record(torch.tensor(DRIVE[:,:20,None]))))


def lava(p, w, x):
    "Neurons as lava-dl runs them, in whole numbers of 12 bits, whose leaks are cut towards 0"
    leak = [4096-round(4096*1e-4/p[k][0]) for k in ('tau_syn','tau_mem')]
    cut = lambda n: np.sign(n)*(np.abs(n)>>12)
    i = v = np.zeros((x.shape[1],len(w)), np.int64)
    out = []
    for now in x:
        i = cut(i*leak[0])+np.trunc(4096*(now@w.T)).astype(np.int64)
        v = cut(v*leak[1])+i
        s = v>4096*p['v_threshold']
        v = v*~s
        out.append(s*1.)
    return np.array(out)


def test_lava_dl_wrote():
    "The file in float64 is a plain loop; lava-dl rounds states, and gives what a layer fires a step later"
    g,h,f = read_nir(STORED/'lava.nir'),DRIVE,DRIVE
    for w,n in ('0','1'),('2','3'):
        w,p = g.nodes[w].values['weight'],g.nodes[n].values
        h = lava(p, w, h)
        units = [cuba({k:v[0] for k,v in p.items()}, RULES['lava'], c) for c in (f[:,:4]@w.T).reshape(len(f), -1).T]
        f = np.array([[s for s,_ in u] for u in units]).T.reshape(len(f), 4, -1)
    got = NirRun(g, 'lava')(DRIVE)
    assert (got[:,:4]==f).all() and f.any()
    late = lambda s: np.concatenate([np.zeros((2,*s.shape[1:])),s[:-2]])
    assert others('lava.nir', late(h))[0]==0 and others('lava.nir', late(got))[0]<150 and others('lava.nir', got)[0]>900
    net = network_from_nir(STORED/'lava.nir', 'lava').double()
    assert (net(torch.tensor(DRIVE[:,:20]))[0].detach().numpy()==got[:,:20]).all()


# Files that others write now

X = (np.random.default_rng(0).random((40,8,12))<.5).astype(np.float32)


def numbers(g):
    "Their exporters leave tensors in a graph, some without axes, which nir then does not write"
    for n in g.nodes.values():
        for k,v in vars(n).items():
            if isinstance(v, torch.Tensor) or k in ('tau','r','v_leak','v_threshold','v_reset'): setattr(n, k, np.atleast_1d(np.asarray(v)))
    return g


def over_time(net, step):
    with torch.no_grad(): return np.stack([np.asarray(step(net, torch.tensor(x))) for x in X])


def agree(g, tmp_path, spk, rules):
    nir = pytest.importorskip('nir', reason='no nir (pip install nir)')
    nir.write(tmp_path/'net.nir', numbers(g))
    run = NirRun(read_nir(tmp_path/'net.nir'), rules)
    assert spk.sum()>20 and (run(X.astype(float))==spk).all()
    return read_nir(tmp_path/'net.nir')


def test_snntorch_writes(tmp_path):
    import snntorch as snn
    export = pytest.importorskip('snntorch.export_nir', reason='no nirtorch (pip install nirtorch)').export_to_nir
    torch.manual_seed(0)
    how = dict(init_hidden=True, reset_mechanism='zero', reset_delay=False)
    vec = lambda n,v: torch.full((n,), v)
    for net in (nn.Sequential(nn.Linear(12,20), snn.Leaky(beta=vec(20,.9), threshold=vec(20,.5), **how), nn.Linear(20,5), snn.Leaky(beta=vec(5,.8), threshold=vec(5,.3), **how)),
                nn.Sequential(nn.Linear(12,20), snn.Synaptic(alpha=vec(20,.5), beta=vec(20,.9), threshold=vec(20,.8), **how)),
                nn.Sequential(nn.Linear(12,20), snn.RLeaky(beta=.9, threshold=.5, linear_features=20, **how))):
        def fresh():
            for m in net:
                if hasattr(m, 'reset_mem'): m.reset_mem()
        fresh()
        spk = over_time(net, lambda n,x: n(x))
        fresh()
        with contextlib.redirect_stdout(io.StringIO()): g = export(net, torch.tensor(X[0]), ignore_dims=[0])
        graph = agree(g, tmp_path, spk, 'snntorch')
        read = network_from_nir(graph, 'snntorch')
        assert (read(torch.tensor(X))[0].detach().numpy()!=spk).sum()<=2 # float32


def test_spikingjelly_writes(tmp_path):
    pytest.importorskip('nirtorch', reason='no nirtorch (pip install nirtorch)')
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir
    torch.manual_seed(0)
    for make in (lambda: neuron.LIFNode(tau=5., decay_input=True, v_threshold=.1), lambda: neuron.LIFNode(tau=5., decay_input=False, v_threshold=.4),
                 lambda: neuron.IFNode(v_threshold=.7)):
        net = nn.Sequential(layer.Linear(12,20), make(), layer.Linear(20,5), make())
        with torch.no_grad():
            for l in net[::2]: l.weight.mul_(2)
        spk = over_time(net, lambda n,x: n(x))
        functional.reset_net(net)
        agree(export_to_nir(net, torch.tensor(X[0,:1])), tmp_path, spk, 'spikingjelly')


def test_norse_writes(tmp_path):
    no = pytest.importorskip('norse.torch', reason='no norse (pip install norse)')
    from norse.torch.module.iaf import IAFCell, IAFParameters
    from norse.torch.module.lif_box import LIFBoxCell, LIFBoxParameters
    torch.manual_seed(0)
    lifs = lambda n: LIFBoxCell(LIFBoxParameters(tau_mem_inv=torch.full((n,), 200.), v_th=torch.full((n,), .05), v_leak=torch.zeros(n)))
    for cells,rules in (lifs,'norse_110'),(lambda n: IAFCell(IAFParameters(v_th=torch.full((n,), .7))),'norse'):
        net,state = no.SequentialState(nn.Linear(12,20), cells(20), nn.Linear(20,5), cells(5)),None
        def step(n, x):
            nonlocal state
            out,state = n(x, state)
            return out
        agree(no.to_nir(net, torch.tensor(X[0,0])), tmp_path, over_time(net, step), rules) # its τ are dt times what they are


def test_sinabs_writes(tmp_path):
    pytest.importorskip('sinabs', reason='no sinabs (pip install sinabs pbr)')
    import sinabs.layers as sl
    import sinabs.nir
    torch.manual_seed(0)
    top = torch.tensor(.7)
    for make in (lambda: sl.IAFSqueeze(batch_size=8, spike_threshold=top), lambda: sl.LIFSqueeze(tau_mem=torch.tensor(5.), batch_size=8, spike_threshold=top, norm_input=False)):
        net,flat = nn.Sequential(nn.Linear(12,20), make(), nn.Linear(20,5), make()),torch.tensor(X).transpose(0,1).reshape(-1,12)
        with torch.no_grad(): spk = net(flat).reshape(8,40,5).transpose(0,1).numpy()
        for m in net:
            if hasattr(m, 'reset_states'): m.reset_states()
        agree(sinabs.nir.to_nir(net, flat), tmp_path, spk, 'sinabs')


# Networks of graphs

def test_a_graph_is_quantized_and_proved():
    net = network_from_nir(STORED/'braille_noDelay_bias_zero.nir', 'snntorch', steps=40)
    x = (torch.rand(40, 16, 12, generator=torch.Generator().manual_seed(0))<.2).float()
    q = prepare(net, preset('int8'), x)
    q(x)
    proof = verify(q.eval(), lower(q), [(x,torch.zeros(16, dtype=torch.long))])
    assert proof.mismatches==0


def graph(**change):
    one = np.ones(2)
    nodes = dict(input=NirNode('Input', dict(shape=np.array([2]))), fc=NirNode('Affine', dict(weight=np.eye(2), bias=0*one)),
                 lif=NirNode('LIF', dict(tau=1e-3*one, r=10*one, v_leak=0*one, v_threshold=one, v_reset=0*one)), output=NirNode('Output', dict(shape=np.array([2]))))
    nodes['lif'] = replace(nodes['lif'], values=nodes['lif'].values|change)
    return NirGraph(nodes, (('input','fc'),('fc','lif'),('lif','output')))


@pytest.mark.parametrize('change,says', [(dict(v_leak=np.array([0.,.5])),'`v_leak`: expected 0, found 0.5'), (dict(v_reset=np.array([.1,.1])),'`v_reset`: expected 0'),
    (dict(v_threshold=np.array([-1.,1])),'a threshold above 0'), (dict(tau=np.array([1e-5,1e-5])),'τ ≥ dt'), (dict(r=np.array([-1.,1])),'a threshold above 0')])
def test_neurons_that_are_none_here(change, says):
    with pytest.raises(CheckError, match=says): network_from_nir(graph(**change))
    NirRun(graph(**change))(np.ones((2,1,2)))


def test_sums_and_scales_are_multiplied_into_weights():
    rng = np.random.default_rng(0)
    pool = dict(kernel_size=np.array([2,2]), stride=np.array([2,2]), padding=np.array([0,0]))
    conv = dict(weight=rng.normal(size=(3,1,3,3)), bias=rng.normal(size=3)*.1, stride=np.array(1), padding=np.array(-1), dilation=np.array(1), groups=np.array(1))
    one = lambda *s: np.ones(s)
    nodes = [('Scale',dict(scale=np.array(2.))), ('Conv2d',conv), ('LIF',dict(tau=5e-4*one(3,8,8), r=3*one(3,8,8), v_leak=0*one(3,8,8), v_threshold=one(3,8,8)*np.arange(1,4).reshape(3,1,1)/3)),
             ('SumPool2d',pool), ('Scale',dict(scale=np.array(.5))), ('Flatten',dict(start_dim=np.array(0), end_dim=np.array(-1))),
             ('Affine',dict(weight=rng.normal(size=(4,48)), bias=rng.normal(size=4))), ('CubaLIF',dict(tau_syn=2e-4*one(4), tau_mem=1e-3*one(4), r=10*one(4), v_leak=0*one(4), v_threshold=2*one(4)))]
    names = ['input',*(f'n{i}' for i in range(len(nodes))),'output']
    g = NirGraph(dict(input=NirNode('Input', dict(shape=np.array([1,8,8]))), output=NirNode('Output', dict(shape=np.array([4]))), **{n:NirNode(*v) for n,v in zip(names[1:], nodes)}),
                 tuple(zip(names, names[1:])))
    net,x = network_from_nir(g).double(),rng.random((20,3,1,8,8))
    for a,b in zip(NirRun(g).record(x), net.record(torch.tensor(x))): assert (a.spk==b.spk.detach().numpy()).all() and a.spk.any()
