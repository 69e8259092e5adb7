"""Integer neurons of any policy in one launch, beside the torch loop and the program. They run on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1); elsewhere they are skipped by name"""
import copy
import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import random_layer
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import neurons, stepped
from quarantion.quant.neurons import Coded, Kept, Real, step_neurons
from quarantion.runtime.layer import ONE, RESETS, IntLayer, arrays
from quarantion.runtime.network import IntegerNetwork
from quarantion.runtime.state import State
from quarantion.spikes.neuron import Gradient
from quarantion.spikes.surrogate import SURROGATES

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'
SIZES = dict(t=(1,2,3,7,20), b=(1,2,5), n=(1,3,16,50)) if GPU else dict(t=(1,2,3,5), b=(1,2), n=(1,3,13))


def pick(rng, *v): return v[rng.integers(len(v))]


def each(rng, lo, hi, n): # one for all, or each its own
    return torch.from_numpy(rng.integers(lo, hi, n).astype(np.int32) if rng.random()<.5 else np.full(n, rng.integers(lo, hi), np.int32))


def real_of(i):
    "What integers stand for"
    alpha = i.current_leak/ONE if len(i.current_leak) else None
    return Real(i.weight, i.unit*i.bias, i.unit*i.theta, i.leak.double()/ONE, i.unit, i.unit*2.**i.guard, alpha)


def limits(rng, theta):
    "How membranes are kept"
    kind,first = pick(rng, 'none', 'clip', 'levels', 'levels'),bool(pick(rng, 0, 1))
    if kind=='none': return Kept()
    if kind=='clip': return Kept(int(theta.max())+int(rng.integers(1, 40)), None, first)
    return Kept(0, torch.from_numpy(np.unique([0, *rng.integers(-4*ONE, 4*ONE, int(rng.integers(1, 30))), ONE+1, 2*ONE]).astype(np.int32)), first)


def layer(rng, reset, sizes=SIZES):
    "A layer of some policy: sums, codes, how membranes are kept, steps, and what it starts from"
    t,b,n,guard = *(int(pick(rng, *sizes[k])) for k in 'tbn'),int(pick(rng, 0, 3, 8))
    ints = dict(bias=each(rng, -50, 50, n), theta=each(rng, 20<<guard, 60<<guard, n), leak=each(rng, 20000, 65537, n))
    if rng.random()<.5: ints['current_leak'] = each(rng, 0, 60000, n)
    few = int(pick(rng, 0, 0, 30))
    if few: ints |= dict(m0=torch.full((n,), 2**30+12345, dtype=torch.int32), shift=each(rng, 30, 33, n))
    unit = torch.from_numpy(rng.random(n)*1e-3+1e-4)
    i = IntLayer(torch.zeros(n, 1), unit=unit, guard=guard, reset=reset, current_max=few, **ints)
    a = torch.from_numpy((rng.normal(size=(1 if rng.random()<.2 else t,b,n))*40).round()).float()
    v,j = (torch.from_numpy(rng.integers(-60<<guard, 60<<guard, (b,n)).astype(np.int32)) for _ in range(2))
    start = None if rng.random()<.6 else (v,j) if 'current_leak' in ints else (v,None)
    return a,Coded(i, real_of(i)),limits(rng, i.theta),t,start


def begin(start, unit, dtype):
    "A state, and its leaves"
    if start is None: return None,[]
    reals = [None if v is None else (v*unit).to(dtype).requires_grad_() for v in start]
    return State(*reals, ints=State(*start)),reals


def run(one, how, dtype, seed, device='cpu'):
    "Outputs, and gradients of all that has one, of some of the outputs"
    a,k,kept,steps,start = one
    to = lambda v: v.to(device) if isinstance(v, torch.Tensor) else v
    free = lambda v: None if v is None else to(v).clone().requires_grad_()
    ints = replace(k.ints, **{f:to(v) for f,v in vars(k.ints).items()})
    real = Real(*map(to, k.real))._replace(**{f:free(getattr(k.real, f)) for f in ('bias','theta','beta','alpha')})
    x = free(a.double() if seed%2 else a.to(dtype))
    begun,reals = begin(start and tuple(map(to, start)), real.unit, dtype)
    r = step_neurons(x, Coded(ints, real), steps, kept, how, dtype, None, begun)
    rng = np.random.default_rng(seed)
    outs = [o for o,keep in zip((r.spk,r.mem,r.current[1]), ((1,1,1),(1,0,0),(0,1,0),(1,0,1),(0,0,1))[seed%5]) if keep]
    given = [torch.from_numpy(rng.normal(size=o.shape)).to(o) for o in outs]
    if seed%3==0: given = [g[:1].expand(g.shape) for g in given] # as of a sum over time
    leaves = [l for l in (x,real.bias,real.theta,real.beta,real.alpha,*reals) if l is not None]
    grads = torch.autograd.grad(outs, leaves, given, allow_unused=True)
    return [v.detach().cpu() for v in (*r[:5],*r.current)],[torch.zeros_like(l).cpu() if g is None else g.cpu() for g,l in zip(grads, leaves)]


@pytest.fixture
def ways(monkeypatch):
    "The torch loop on a CPU, and the kernels"
    def loop(*args):
        with monkeypatch.context() as m:
            m.setattr(neurons, 'in_one_launch', lambda *a: False)
            return run(*args)
    def kernel(*args):
        with monkeypatch.context() as m:
            m.setattr(neurons, 'in_one_launch', lambda *a: True)
            return run(*args, DEVICE)
    return loop,kernel


def compare(ways, seed, sizes=SIZES):
    rng = np.random.default_rng(seed)
    one = layer(rng, RESETS[seed%4], sizes)
    how = Gradient(SURROGATES[seed%5], float(pick(rng, 1., 25.)), bool(pick(rng, 0, 1)))
    (want,grads),(got,ours) = (f(one, how, torch.float64, seed) for f in ways)
    for x,y in zip(got, want): assert x.dtype==y.dtype and torch.equal(x, y)
    for x,y in zip(ours, grads): torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9*float(y.abs().max()))
    if seed%4: return
    again = ways[1](one, how, torch.float64, seed)[1]
    assert all(torch.equal(x, y) for x,y in zip(ours, again)) # the same bytes


@pytest.mark.parametrize('seed', range(200 if GPU else 12))
def test_equal_to_the_loop(ways, seed): compare(ways, seed)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(1000, 1300))
def test_more_layers_equal_the_loop(ways, seed): compare(ways, seed, dict(t=(1,5,20), b=(1,2,5), n=(1,3,16,50)))


@pytest.mark.parametrize('seed', range(40 if GPU else 4))
def test_gradients_of_float32_are_those_of_float64(ways, seed):
    rng = np.random.default_rng(seed+500)
    one = layer(rng, RESETS[seed%4])
    how = Gradient(SURROGATES[seed%3], 25., bool(seed%2)) # those without a jump
    (want,grads),(got,ours) = (f(one, how, d, seed) for f,d in zip(ways, (torch.float64,torch.float32)))
    plain = ways[0](one, how, torch.float32, seed)[1] # where a surrogate is tiny, nobody has its last digits in float32
    for i in (0,1,3): assert torch.equal(got[i].to(want[i].dtype), want[i]), (i, (got[i].to(want[i].dtype)-want[i]).abs().max())
    for x,y,z in zip(ours, grads, plain):
        off = 2*float((z.double()-y.double()).abs().max())+1e-5*float(y.abs().max())+1e-30
        torch.testing.assert_close(x.double(), y.double(), rtol=1e-5, atol=off)


def program(seed):
    "A program of one layer without a way back"
    rng = np.random.default_rng(seed)
    l = random_layer(rng, (int(rng.integers(1, 20)),), True, 9)
    l = replace(l, recurrent=np.empty(0, np.int8), recurrent_conv=())
    return IntegerNetwork((l,), (l.weight.shape[1],), 6, 1., 0, 9),rng.integers(0, 10, (6,3,l.weight.shape[1]))*(rng.random((6,3,l.weight.shape[1]))<.6)


@pytest.mark.parametrize('seed', range(100 if GPU else 8))
def test_membranes_are_those_of_the_program(monkeypatch, seed):
    monkeypatch.setattr(neurons, 'in_one_launch', lambda *a: True)
    net,x = program(seed)
    l,want = net.layers[0],net.record(x)[0]
    i = replace(l, **{n:torch.as_tensor(v).to(DEVICE) for n,v in arrays(l).items()})
    a = torch.from_numpy(x@l.weight.T.astype(np.int64)).to(DEVICE, torch.float64)
    r = step_neurons(a, Coded(i, real_of(i)), net.steps, Kept(l.clip, i.levels if len(i.levels) else None, l.before_fire))
    assert np.array_equal(r.spk.cpu().numpy(), want.spk) and np.array_equal(r.ints.cpu().numpy(), want.mem)


def test_programs_are_of_every_kind():
    ls = [program(seed)[0].layers[0] for seed in range(16)]
    assert {l.reset for l in ls}=={*RESETS}
    for k in 'clip','levels','current_leak','current_max': assert len({np.any(getattr(l, k)) for l in ls})==2


@pytest.mark.parametrize('bits', (2,8))
def test_levels_of_a_policy(ways, bits):
    "Of 4 and of 256, as a policy has them"
    from quarantion.quant.neurons import kept
    from quarantion.quant.policy import Membrane
    for kind,size in (('levels',2**bits),('clipped',bits)):
        a,k,_,steps,start = layer(np.random.default_rng(bits), 'subtract')
        i = replace(k.ints, theta=k.ints.theta*0+100, current_max=0)
        one = a,Coded(i, real_of(i)),kept(Membrane(kind, size), 'subtract'),steps,start
        (want,grads),(got,ours) = (f(one, Gradient(), torch.float64, 0) for f in ways)
        assert all(map(torch.equal, got, want))
        for x,y in zip(ours, grads): torch.testing.assert_close(x, y)


def moved(one, dtype=torch.float32):
    "A layer on the device: sums, codes, how membranes are kept, steps"
    a,k,kept,steps,_ = one
    to = lambda v: v.to(DEVICE) if isinstance(v, torch.Tensor) else v
    ints = replace(k.ints, **{f:to(v) for f,v in vars(k.ints).items()})
    return to(a).to(dtype),Coded(ints, Real(*map(to, k.real))),kept,steps


def test_one_launch_each_way(monkeypatch):
    from quarantion.kernels.cuda import kept, kept_back
    ran = []
    for m in (kept, kept_back):
        launch = m.launch
        monkeypatch.setattr(m, 'launch', lambda kernel, *a, launch=launch: (ran.append(kernel), launch(kernel, *a)))
    monkeypatch.setattr(neurons, 'in_one_launch', lambda *a: True)
    a,*rest = moved(layer(np.random.default_rng(1), 'zero'))
    x = a.requires_grad_()
    r = step_neurons(x, rest[0], rest[2], rest[1])
    assert ran==[kept._forward]
    r.spk.sum().backward()
    assert ran==[kept._forward,kept_back._backward] and x.grad is not None


def test_a_second_gradient_is_refused(monkeypatch):
    monkeypatch.setattr(neurons, 'in_one_launch', lambda *a: True)
    a,*rest = moved(layer(np.random.default_rng(1), 'zero'))
    x = a.requires_grad_()
    g = torch.autograd.grad(step_neurons(x, *rest[:1], rest[2], rest[1]).mem.square().sum(), x, create_graph=True)[0]
    with pytest.raises(CheckError, match='gradients'): g.sum().backward()


def test_the_operator_says_what_it_does(monkeypatch):
    "Its schema, its fake and its gradient, as torch checks them"
    monkeypatch.setattr(neurons, 'in_one_launch', lambda *a: True)
    op,seen = stepped._kept,[]
    monkeypatch.setattr(stepped, '_kept', lambda *a: (seen.append(a), op(*a))[1])
    a,k,kept,steps = moved(layer(np.random.default_rng(3), 'subtract'))
    step_neurons(a.requires_grad_(), k, steps, kept)
    torch.library.opcheck(op, seen[0], test_utils=('test_schema','test_autograd_registration','test_faketensor'))


def test_compiled_without_a_break(monkeypatch):
    "One operator each way, in one graph"
    if not GPU: monkeypatch.setattr(neurons, 'in_one_launch', lambda *a: True)
    a,k,kept,steps = moved(layer(np.random.default_rng(3), 'subtract'))
    def loss(x):
        r = step_neurons(x, k, steps, kept)
        return r.spk.sum()+r.mem.square().sum()
    one,two = (a.clone().requires_grad_() for _ in range(2))
    loss(one).backward()
    torch.compile(loss, backend='aot_eager', fullgraph=True)(two).backward()
    torch.testing.assert_close(two.grad, one.grad)


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.filterwarnings('ignore:The AccumulateGrad node')
def test_captured_in_a_graph():
    "Forward and back, replayed on other sums"
    a,k,kept,steps = moved(layer(np.random.default_rng(3), 'subtract'))
    x = a.requires_grad_()
    def step():
        r = step_neurons(x, k, steps, kept)
        return r.spk,torch.autograd.grad(r.mem.square().sum()+r.spk.sum(), x)[0]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side): step()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph := torch.cuda.CUDAGraph()): got = step()
    with torch.no_grad(): x.copy_((torch.randn_like(x)*40).round())
    graph.replay()
    assert all(map(torch.equal, got, step()))


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('policy', ['int4', 'nonary', 'current8', 'mint2', 'tcq4'])
@pytest.mark.parametrize('back', [False, True], ids=['forward', 'recurrent'])
def test_a_synaptic_network_is_the_same_on_a_gpu(policy, back):
    "Spikes and integer membranes to the bit, in training and in eval; and gradients"
    from quarantion import prepare, preset
    from quarantion.spikes import LIF, Network
    from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic
    torch.manual_seed(0)
    x = torch.rand(16, 20)
    hidden = RecurrentSynaptic(nn.Linear(40, 40), alpha=.6, beta=.9) if back else Synaptic(alpha=.6, beta=.9, learn_alpha=True)
    try: q = prepare(Network(nn.Linear(20, 40), hidden, nn.Linear(40, 5), LIF(beta=.8, reset='none')), preset(policy), x)
    except CheckError: pytest.skip('refused on a CPU as well')
    q(x)
    there = copy.deepcopy(q).cuda()
    for mode in (True, False):
        q.train(mode)
        there.train(mode)
        for a,b in zip(q.record(x), there.record(x.cuda())): assert torch.equal(a.spk, b.spk.cpu()) and torch.equal(a.mem, b.mem.cpu()), a.name
    for m,v in ((q.train(),x),(there.train(),x.cuda())): m(v)[1].square().mean().backward()
    for (n,a),(_,b) in zip(q.named_parameters(), there.named_parameters()):
        if a.grad is not None: torch.testing.assert_close(b.grad.cpu(), a.grad, rtol=1e-4, atol=1e-6, msg=n)


def test_second_order_neurons_in_real_numbers_take_no_loop(monkeypatch):
    "A current, then membranes: two launches and two back, or four where each makes its membranes anew; the same for any T"
    from quarantion.kernels.cuda import lif
    from quarantion.spikes import operators
    from quarantion.spikes.synaptic import Synaptic
    ran,launch,layer = [],lif.launch,Synaptic(.8, beta=.9, learn_alpha=True)
    counts = []
    for steps in (3,6):
        torch.manual_seed(0)
        x = torch.randn(steps, 2, 5, requires_grad=True)
        want = torch.autograd.grad((out := layer(x))[1].square().sum()+out[0].sum(), (x,layer.alpha))
        with monkeypatch.context() as m:
            m.setattr(lif, 'launch', lambda kernel, *a: (ran.append(kernel), launch(kernel, *a)))
            m.setattr(operators, 'on_gpu', lambda x: lif)
            mine = copy.deepcopy(layer).to(DEVICE)
            y = x.detach().to(DEVICE).requires_grad_()
            got = torch.autograd.grad((out := mine(y))[1].square().sum()+out[0].sum(), (y,mine.alpha))
        for a,b in zip(got, want): torch.testing.assert_close(a.cpu(), b)
        counts.append(len(ran))
        ran.clear()
    assert counts==([4,4] if GPU else [6,6]) # on a GPU membranes are kept
