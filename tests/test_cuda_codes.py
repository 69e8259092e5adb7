"""Codes of weights, and what observers keep, each in a launch. They run on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1); elsewhere they are skipped by name"""
import copy
import importlib.util
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from quarantion import prepare, preset
from quarantion.checks import CheckError
from quarantion.quant import at_once, fake, layer as quant_layer, level_sets, observers, weights
from quarantion.quant.histograms import Histogram
from quarantion.quant.layer import _weight_codes
from quarantion.quant.level_sets import LevelTable
from quarantion.quant.observers import MinMax, MovingAverage, PerStep
from quarantion.quant.policy import SCALES, Policy
from quarantion.quant.weights import WeightCodes

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = [pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)'),
              pytest.mark.filterwarnings('ignore:Synchronization debug mode')]
DEVICE = 'cuda' if GPU else 'cpu'


def layer(seed):
    "Weights of a layer, and what makes codes of them, with scales that have moved"
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    torch.manual_seed(seed)
    shape = pick((1,1), (3,1), (5,7), (6,3,3,3), (7,300), (2,2500), (33,65))
    dtype,rule = pick(torch.float32, torch.float32, torch.float64),SCALES[seed%len(SCALES)]
    w = (torch.randn(shape)*rng.choice([1e-3, 1, 40.])).to(dtype)
    w[rng.random(len(w))<.2] = 0
    coder = WeightCodes(w, Policy(pick('int8', 'int4', 'int2', 'nonary', 'ternary'), scale=rule), pick(True, True, False),
                        torch.rand(len(w), dtype=dtype)+.5)
    with torch.no_grad(): coder.scale *= torch.rand_like(coder.scale)*2*(torch.rand_like(coder.scale)<.9)
    back = torch.randn(pick((len(w),), (len(w),len(w))), dtype=dtype)*w.abs().amax() if seed%3==0 else None
    if seed%2: w.flatten()[:2] = coder.scale[0].detach().clamp(min=coder.scale_min[0])*torch.tensor([1.5, 2.5], dtype=dtype)[:w.numel()] # ties
    param = lambda t: t if t is None else torch.nn.Parameter(t)
    return SimpleNamespace(coder=coder, latent=param(w), recurrent=param(back)),pick


def moved(l, device):
    "A copy with parameters of its own, on a device"
    there = lambda t: None if t is None else torch.nn.Parameter(t.detach().clone().to(device))
    return SimpleNamespace(coder=copy.deepcopy(l.coder).to(device), latent=there(l.latent), recurrent=there(l.recurrent))


def by_torch(l, monkeypatch):
    "Codes by operations of torch"
    with monkeypatch.context() as m:
        m.setattr(quant_layer, 'in_one_pass', lambda *a: False)
        return _weight_codes(l)


def gradients(l, made, seed):
    "Of everything that learns, from gradients of codes and of the scales"
    codes,reals,worth,_ = made
    torch.manual_seed(seed)
    g = {k:torch.randn(v.shape, dtype=v.dtype) for k,v in reals.items()}
    own = torch.randn(len(worth), dtype=torch.float64)
    loss = sum((v*g[k].to(v.device)).sum() for k,v in reals.items() if seed%5!=4 or k!='weight')
    if worth.requires_grad and seed%5!=3: loss = loss+(worth*own.to(worth.device)).sum()
    if loss.__class__ is not int and loss.requires_grad: loss.backward()
    return [None if p is None or p.grad is None else p.grad.cpu() for p in (l.latent,l.recurrent,l.coder.scale)]


@pytest.mark.parametrize('seed', range(30))
def test_codes_and_gradients_are_those_of_torch(seed, monkeypatch):
    l,_ = layer(seed)
    plain,fused = moved(l, 'cpu'),moved(l, DEVICE)
    want = by_torch(plain, monkeypatch)
    if not GPU: monkeypatch.setattr(weights, 'on_gpu', lambda x: True)
    assert weights.in_one_pass(fused.coder, fused.latent)
    got,again = _weight_codes(fused),_weight_codes(moved(fused, DEVICE))
    for a,b in zip((*got[0].values(),*got[1].values(),*got[2:]), (*want[0].values(),*want[1].values(),*want[2:])):
        assert a.dtype==b.dtype and a.shape==b.shape and a.requires_grad==b.requires_grad
        assert torch.equal(a.detach().cpu(), b.detach()) and torch.equal(a.detach().cpu().double().signbit(), b.detach().double().signbit())
    (w,r,s),(ww,wr,ws) = gradients(fused, got, seed),gradients(plain, want, seed)
    for a,b in ((w,ww),(r,wr)):
        assert (a is None or not a.any()) if b is None else torch.equal(a, b)
    assert (s is None)==(ws is None)
    if s is not None:
        exact = s.dtype==torch.float64
        torch.testing.assert_close(s, ws, rtol=1e-10 if exact else 1e-4, atol=(1e-12 if exact else 1e-6)*float(ws.abs().max()))
    assert all(torch.equal(a, b) for a,b in zip(got[0].values(), again[0].values()))


_FREE = 'view','detach','empty','expand','slice','unsqueeze','squeeze','alias','as_strided','select','permute','transpose','t','unbind','_to_copy'


class Counted(TorchDispatchMode):
    "How many launches there are: operations of torch that compute, and kernels"
    def __init__(self, *modules):
        super().__init__()
        self.n,self.modules = 0,modules
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        free = name.startswith(('_unsafe_view','new_empty','empty')) or name.split('_like')[0] in _FREE
        if name=='_to_copy': free = (kwargs or {}).get('dtype') in (None,args[0].dtype)
        self.n += not free
        return func(*args, **(kwargs or {}))
    def __enter__(self):
        self.kept = [m.launch for m in self.modules]
        for m,f in zip(self.modules, self.kept): m.launch = self.counting(f)
        return super().__enter__()
    def __exit__(self, *args):
        for m,f in zip(self.modules, self.kept): m.launch = f
        return super().__exit__(*args)
    def counting(self, f):
        def counted(*args, **kwargs):
            self.n += 1
            with _disable_current_modes(): return f(*args, **kwargs)
        return counted


@pytest.mark.parametrize('rule', ['lsq', 'pact', 'max'])
@pytest.mark.parametrize('per_channel', [True, False])
def test_codes_are_one_launch_there_and_one_back(rule, per_channel, monkeypatch):
    from quarantion.kernels.cuda import codes
    w = torch.randn(6, 40)
    coder = WeightCodes(w, Policy('int4', scale=rule), per_channel)
    l = moved(SimpleNamespace(coder=coder, latent=w, recurrent=None), DEVICE)
    if not GPU: monkeypatch.setattr(weights, 'on_gpu', lambda x: True)
    with Counted(codes) as forward: k = _weight_codes(l)[1]['weight']
    g = torch.ones_like(k)
    with Counted(codes) as back: torch.autograd.backward(k, g)
    assert forward.n==1 and back.n==(2 if rule!='max' and not per_channel else 1)
    assert l.latent.grad is not None and (l.coder.scale.grad is not None)==(rule!='max')


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('rule', ['lsq', 'pact'])
@pytest.mark.parametrize('per_channel', [True, False])
def test_codes_can_be_captured(rule, per_channel):
    "In a CUDA graph, forward and back"
    w = torch.randn(60, 400)
    l = moved(SimpleNamespace(coder=WeightCodes(w, Policy('int4', scale=rule), per_channel), latent=w, recurrent=None), DEVICE)
    leaves = [l.latent,l.coder.scale]
    def step():
        _,reals,worth,_ = _weight_codes(l)
        return [reals['weight'].detach(),*torch.autograd.grad((reals['weight']**2).sum()+worth.sum(), leaves)]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side): step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): got = step()
    with torch.no_grad(): l.latent.mul_(-.7)
    graph.replay()
    assert all(torch.equal(a, b) for a,b in zip(got, step()))


def watchers(seed):
    "An observer twice, and batches of any shape and dtype"
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    torch.manual_seed(seed)
    shape,axis = pick(((2,),None), ((7,5,3),None), ((1,3),0), ((5,4,3),1), ((6,50),0), ((6,20),1), ((9000,),None), ((4,2500),0), ((40,3),-1))
    aware,history,dtype = bool(pick(0, 1)),int(pick(1, 3, 256)),pick(torch.float32, torch.float32, torch.float64, torch.float16, torch.int16, torch.bool)
    more = dict(ch_axis=axis, spike_aware=aware, history=history)
    make = (lambda: MinMax(int(pick(7, 127)), **more)) if seed%3==0 else lambda: MovingAverage(pick(.01, .3, 1.), 127, adaptive=bool(pick(0, 1)), **more)
    batches = [(torch.randn(shape)*s*(torch.rand(shape)<pick(.1, .9))).to(dtype) for s in (3,8,0,20)]
    if seed%4==3: batches = [b.mT.contiguous().mT if b.ndim>1 else b for b in batches]
    ob = make()
    return ob,copy.deepcopy(ob).to(DEVICE),batches


def same(a, b): return all(torch.equal(u, v.cpu()) and u.dtype==v.dtype for u,v in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def on_kernels(monkeypatch):
    if GPU: return
    monkeypatch.setattr(weights, 'on_gpu', lambda x: True)
    monkeypatch.setattr(at_once, 'on_gpu', lambda x: True)


@pytest.mark.parametrize('seed', range(24))
def test_observers_keep_what_they_keep_in_torch(seed, monkeypatch):
    plain,fused,batches = watchers(seed)
    for i,x in enumerate(batches):
        with monkeypatch.context() as m:
            m.setattr(observers, 'seen_at_once', lambda *_: False)
            plain(x)
        with monkeypatch.context() as m:
            on_kernels(m)
            there = x.to(DEVICE)
            assert at_once.seen_at_once(fused, there)
            assert fused(there) is there
        assert same(plain, fused), i


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf, 3e38])
@pytest.mark.parametrize('shape,axis', [((4,5), None), ((4,5), 1), ((9000,), None)])
@pytest.mark.parametrize('late', [False, True])
def test_a_bad_batch_is_refused_and_nothing_is_absorbed(bad, shape, axis, late, monkeypatch):
    on_kernels(monkeypatch)
    ob = MovingAverage(.3, ch_axis=axis).to(DEVICE)
    x = torch.randn(shape, device=DEVICE)
    if late: ob(x)
    before = copy.deepcopy(ob)
    x.view(-1)[-2] = bad
    with pytest.raises(CheckError, match='MovingAverage: `x`: expected finite numbers'): ob(x)
    assert same(before.cpu(), ob)
    refused,lo,hi = at_once.absorb_at_once(ob, x)
    assert refused.shape==() and refused.dtype==torch.bool and refused.item() and not ob.step.item()==2
    assert (lo.isnan() and hi.isnan()).item() if bad!=bad else max(-lo, hi)==abs(bad)


def test_what_no_kernel_is_for_takes_the_way_of_torch(monkeypatch):
    on_kernels(monkeypatch)
    x = torch.ones(3, 4, device=DEVICE)
    class Mine(MinMax): pass
    shared = MinMax().to(DEVICE)
    shared.synchronize()
    for ob in (Mine(),PerStep(),Histogram(),MinMax().double(),MinMax(ch_axis=5),shared):
        assert not at_once.seen_at_once(ob.to(DEVICE), x)
    ob = MinMax(ch_axis=0).to(DEVICE)
    ob(x)
    with pytest.raises(CheckError, match='3 channels on axis 0'): ob(torch.ones(5, 2, device=DEVICE))
    with pytest.raises(CheckError, match='real numbers'): ob(x*1j)


@pytest.mark.parametrize('n,launches', [(2,1), (4096,1), (5000,2)])
def test_a_batch_is_one_launch_or_two(n, launches, monkeypatch):
    from quarantion.kernels.cuda import watch
    on_kernels(monkeypatch)
    ob,x = MovingAverage(adaptive=True).to(DEVICE),torch.randn(n, device=DEVICE)
    ob(x)
    with Counted(watch) as counted: at_once.absorb_at_once(ob, x)
    assert counted.n==launches


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('axis', [None, 0, 1])
@pytest.mark.parametrize('n', [3, 500000])
def test_observers_can_be_captured(axis, n):
    "In a CUDA graph, which then absorbs a batch each time"
    ob,x = MovingAverage(.1, ch_axis=axis).cuda(),torch.randn(4, n//3, 3, device='cuda')
    ob(x)
    eager = copy.deepcopy(ob)
    at_once.absorb_at_once(ob, x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): refused = at_once.absorb_at_once(ob, x)[0]
    eager(x)
    for s in 2.,torch.nan,5.:
        x.mul_(s) if s==s else x.fill_(s)
        graph.replay()
        assert refused.item()==(not x.isfinite().all().item())
        if s!=s: x.normal_()
        elif not refused: eager(x)
    assert same(eager.cpu(), ob)


def faked(seed):
    "Values, scales, and where their histogram ends"
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    torch.manual_seed(seed)
    shape,axis = pick(((1,),-1), ((5,7),-1), ((5,7),0), ((5,7),1), ((3,4,6),1), ((2,3,20),2), ((2600,),-1), ((2,3,40,11),1), ((2,1500),0))
    dtype,c = pick(torch.float32, torch.float32, torch.float64),1 if axis<0 else shape[axis]
    s = (torch.rand(c)+.1).to(dtype)
    x = (torch.randn(shape)*pick(.2, 3, 100)).to(dtype)
    last = pick(1, 4, 127, 2**22)
    x.flatten()[:3] = s[0]*torch.tensor([.5, 1.5, -2.5], dtype=dtype)[:x.numel()]
    if seed%4==0: x.flatten()[-1] = pick(torch.nan, torch.inf, 1e30)
    if seed%3==0 and x.ndim>1: x = x.mT.contiguous().mT
    return x,s,axis,pick(-last, 0),last,int(pick(0, 5, 40)),pick


@pytest.mark.parametrize('seed', range(30))
def test_fake_quantization_is_that_of_torch(seed, monkeypatch):
    x,s,axis,first,last,bins,pick = faked(seed)
    look = bool(bins or pick(0, 1))
    low,high = (s.new_full((len(s),), v) if bins else s.new_empty(0) for v in (-1.5,2.))
    g,learn = torch.randn(x.shape, dtype=x.dtype),bool(pick(0, 1))
    monkeypatch.setattr(fake, '_fits', lambda x: False)
    want,back = fake._fake(x, s, first, last, axis, look, low, high, bins),fake._fake_bw(g, x, s, first, last, axis, learn)
    if not GPU: monkeypatch.setattr(fake, 'on_gpu', lambda x: True)
    there = lambda *ts: [t.to(DEVICE) for t in ts]
    with np.errstate(all='ignore'):
        got = fake._fake(*there(x, s), first, last, axis, look, *there(low, high), bins)
        gx,gs = fake._fake_bw(*there(g, x, s), first, last, axis, learn)
    for a,b in zip(got, want): assert a.dtype==b.dtype and a.shape==b.shape and torch.equal(a.cpu().nan_to_num(9e9), b.nan_to_num(9e9))
    assert torch.equal(gx.cpu(), back[0]) and gs.dtype==back[1].dtype and gs.shape==back[1].shape
    if learn: torch.testing.assert_close(gs.cpu(), back[1], rtol=1e-4, atol=1e-4*float(back[1].abs().nan_to_num(0, 0, 0).max()), equal_nan=True)


@pytest.mark.parametrize('axis,learn', [(-1,True), (1,True), (1,False)])
def test_fake_quantization_is_a_launch_or_two(axis, learn):
    from quarantion.kernels.cuda import fake as kernels
    x,s = torch.randn(4, 6, 30, device=DEVICE),torch.ones(6 if axis==1 else 1, device=DEVICE)
    with Counted(kernels) as plain: kernels.fake_forward(x, s, -4, 4, axis)
    low = -s
    with Counted(kernels) as seen: kernels.fake_forward(x, s, -4, 4, axis, True, low, s, 8)
    with Counted(kernels) as back: kernels.fake_backward(x, x, s, -4, 4, axis, learn)
    assert (plain.n,seen.n,back.n)==(1,2,2 if learn else 1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('x', [torch.int32, torch.float32, torch.float64, None])
@pytest.mark.parametrize('shape', [(3,2,5), (1,4,1), (6,10,300)])
def test_what_a_layer_shows_an_observer(shape, x, dtype, monkeypatch):
    "Numbers of neurons that are worth different things; weights alone"
    from quarantion.quant import layer
    torch.manual_seed(0)
    plain,fused = MovingAverage(.3),MovingAverage(.3).to(DEVICE)
    for i in range(3):
        v = torch.randint(-2**31+1, 2**31-1, shape).to(x) if x else torch.randn(shape)
        worth = (torch.rand(shape[-1], dtype=torch.float64)+1e-3).to(dtype) if x else None
        with monkeypatch.context() as m:
            m.setattr(layer, 'seen_at_once', lambda *_: False)
            m.setattr(observers, 'seen_at_once', lambda *_: False)
            layer._watch(plain, v, worth)
        with monkeypatch.context() as m:
            on_kernels(m)
            layer._watch(fused, v.to(DEVICE), None if worth is None else worth.to(DEVICE))
        assert same(plain, fused), i
@pytest.mark.parametrize('n', [1, 2, 3, 16, 17, 256, 1000])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, *[torch.bfloat16]*GPU]) # the interpreter cuts a bfloat16 off
def test_levels_are_those_of_a_cpu(n, dtype, monkeypatch):
    "Ties, NaN and infinity, codes and counts"
    torch.manual_seed(n)
    table = LevelTable(torch.unique(torch.randn(n)) if n%2 else torch.linspace(-1, 1, n))
    x = torch.cat([torch.randn(1500)*2, table.levels, table.bounds, torch.tensor([torch.nan, torch.inf, -torch.inf])]).to(dtype)
    x = torch.stack([x, x.flip(0)]).T # no copy of it is in order
    want,codes = table.observed(x),table.codes(x) if n<=256 else None
    if not GPU: monkeypatch.setattr(level_sets, 'on_gpu', lambda x: True)
    there = x.to(DEVICE)
    for a,b in zip(table.observed(there), want): assert a.dtype==b.dtype and torch.equal(a.cpu(), b)
    assert torch.equal(table(there).cpu(), want[0]) and not table(there[:0]).numel()
    if n<=256: assert table.codes(there).dtype==torch.uint8 and torch.equal(table.codes(there).cpu(), codes)


def test_levels_are_one_launch(monkeypatch):
    from quarantion.kernels.cuda import levels
    t,x = LevelTable(torch.linspace(-1, 1, 9)),torch.randn(50, device=DEVICE)
    with Counted(levels) as plain: levels.nearest_on_gpu(x, *t._on(x.device)[:2], t._on(x.device)[0])
    with Counted(levels) as seen: levels.nearest_on_gpu(x, *t._on(x.device)[:2], t._on(x.device)[0], True)
    assert (plain.n,seen.n)==(1,2) # counts begin with zeros


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_levels_can_be_captured():
    "In a CUDA graph: a table is carried to a device once"
    t,x = LevelTable(torch.linspace(-1, 1, 9)),torch.randn(5000, device='cuda')
    t.observed(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): out,counts = t.observed(x)
    x.mul_(-3)
    graph.replay()
    want = t.observed(x.cpu())
    assert torch.equal(out.cpu(), want[0]) and torch.equal(counts.cpu(), want[1])


def trained(q, x):
    "A step: counts, gradients, and what the observers know"
    torch.manual_seed(1)
    for _ in range(2): y = q(x)[1]
    y.square().mean().backward()
    return y.detach().cpu(),{n:p.grad.cpu() for n,p in q.named_parameters() if p.grad is not None},{n:b.cpu() for n,b in q.named_buffers()}


@pytest.mark.parametrize('name,recurrent', [('int8',True), ('current8',False), ('mint2',False)])
def test_a_network_trains_as_it_does_in_torch(name, recurrent, monkeypatch):
    from quarantion.spikes import LIF, Network, RecurrentLIF
    torch.manual_seed(0)
    middle = RecurrentLIF(nn.Linear(12, 12), beta=.9) if recurrent else LIF(beta=.9)
    x = torch.rand(6, 20)
    q = prepare(Network(nn.Linear(20, 12), middle, nn.Linear(12, 5), LIF(beta=.8, reset='none')), preset(name), x)
    there = copy.deepcopy(q).to(DEVICE)
    want,calls = trained(q.train(), x),[]
    on_kernels(monkeypatch)
    for m,f in (weights,'_coded_rows'),(at_once,'absorb_at_once'):
        monkeypatch.setattr(m, f, lambda *a, f=getattr(m, f): calls.append(f) or f(*a))
    got = trained(there.train(), x.to(DEVICE))
    assert len(calls)>=8
    assert torch.equal(got[0], want[0])
    for a,b in zip(got[1:], want[1:]):
        assert a.keys()==b.keys()
        for k in b: torch.testing.assert_close(a[k], b[k], rtol=1e-4, atol=1e-6, msg=k)
