"""Kernels of a GPU beside the loops of a CPU. They run on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1); elsewhere they are skipped by name"""
import importlib.util
import os

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.runtime.layer import RESETS
from quarantion.spikes import operators
from quarantion.spikes.operators import backward_loop, forward_loop
from quarantion.spikes.surrogate import SURROGATES

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'
STRIDES = dict(plain=lambda *s: torch.randn(s), turned=lambda t,b,n: torch.randn(t, n, b).transpose(1, 2), cut=lambda t,b,n: torch.randn(t, b, 2*n)[...,::2],
               late=lambda t,b,n: torch.randn(b, t, n).transpose(0, 1))


def there(*tensors):
    "On the GPU, with the strides that they have"
    def moved(t):
        if t is None or not GPU: return t
        if 0 in t.stride(): return t[tuple(slice(0, 1) if s==0 else slice(None) for s in t.stride())].cuda().expand(t.shape)
        return torch.empty_strided(t.shape, t.stride(), device=DEVICE, dtype=t.dtype).copy_(t)
    return [moved(t) for t in tensors]


def one(seed):
    "A layer with an input of any strides"
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    torch.manual_seed(seed)
    t,b,n,dtype = int(pick(1, 2, 3, 7, 20)),int(pick(1, 2, 5)),int(pick(1, 3, 16, 50)),pick(torch.float32, torch.float32, torch.float64)
    constant,steps = seed%5==4,t
    x = STRIDES[pick(*STRIDES)](1 if constant else t, b, n).to(dtype)*.7+.3
    per = lambda lo: (torch.rand(n if rng.random()<.5 else 1, dtype=dtype)+lo).expand(n)
    return x,per(0).clamp(max=1),per(.5),torch.randn(b, n, dtype=dtype),steps,pick(*RESETS),constant,pick


@pytest.mark.parametrize('seed', range(60))
def test_forward_equals_the_loop(seed):
    from quarantion.kernels.cuda.lif import lif_forward
    x,beta,theta,v0,steps,reset,_,_ = one(seed)
    want,pre = forward_loop(x, beta, theta, v0, steps, reset)
    got = [v.cpu() for v in lif_forward(*there(x, beta, theta, v0), steps, RESETS.index(reset), (True,True,True))]
    assert torch.equal(got[0], want) and torch.equal(got[1], pre) and torch.equal(got[2], want.sum(0))
    alone = [lif_forward(*there(x, beta, theta, v0), steps, RESETS.index(reset), tuple(k==i for k in range(3)))[i].cpu() for i in range(3)]
    assert all(torch.equal(a, b) for a,b in zip(alone, got))


@pytest.mark.parametrize('seed', range(60))
def test_gradients_equal_the_loop(seed):
    from quarantion.kernels.cuda.lif import lif_backward
    x,beta,theta,v0,steps,reset,constant,pick = one(seed)
    pre = forward_loop(x, beta, theta, v0, steps, reset)[1]
    shape = *pre.shape,
    gs = pick(None, torch.randn(shape), torch.randn(1, *shape[1:]).expand(shape), torch.randn(1, *shape[1:]))
    gpre = torch.randn(shape) if gs is None else pick(None, torch.randn(shape))
    gs,gpre = (None if g is None else g.to(x.dtype) for g in (gs,gpre))
    kind,detach,learn = pick(*SURROGATES),bool(pick(0, 1)),(bool(pick(0, 1)),bool(pick(0, 1)))
    want = backward_loop(gs, gpre, None, pre, None, v0, beta, theta, steps, reset, kind, 5., detach)
    want = want[0].sum(0, keepdim=True) if constant else want[0],*want[1:]
    how = RESETS.index(reset),SURROGATES.index(kind),5.,detach
    got = lif_backward(*there(gs, gpre, pre), None, tuple(there(v0, beta, theta)), how, constant, learn)
    again = lif_backward(*there(gs, gpre, pre), None, tuple(there(v0, beta, theta)), how, constant, learn)
    assert all(torch.equal(a, b) for a,b in zip(got, again)) # the same bytes
    for k,(a,b) in enumerate(zip(got, want)):
        if k in (1,2) and not learn[k-1]: assert not len(a)
        else: torch.testing.assert_close(a.cpu(), b.to(a.dtype), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('surrogate', SURROGATES)
def test_a_slope_that_learns_is_not_read_here(surrogate, detach, monkeypatch):
    "Gradients of a slope on the device, beside those of a CPU; nothing waits for the number"
    from quarantion.kernels.cuda import lif
    torch.manual_seed(0)
    for reset in RESETS:
        x,beta,theta,v0,g = torch.randn(9, 3, 7)+.4,torch.rand(7),torch.rand(7)+.5,torch.rand(3, 7),torch.randn(9, 3, 7)
        args = lambda *t: (*t,9,reset,surrogate,detach,True,True)
        monkeypatch.setattr(operators, 'on_gpu', lambda t: None)
        want = operators._lif_slope_bw(*args(g, None, x, beta, theta, v0, torch.tensor(3.)))
        monkeypatch.setattr(operators, 'on_gpu', lambda t: lif)
        with monkeypatch.context() as m:
            if GPU: m.setattr(torch.Tensor, 'item', None)
            got = operators._lif_slope_bw(*args(*there(g, None, x, beta, theta, v0, torch.tensor(3.))))
        for a,b in zip(got, want): torch.testing.assert_close(a.cpu(), b, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(GPU, reason='a sparse file stands for the memory')
def test_a_step_may_be_far(tmp_path):
    "Places beyond 2^31 numbers from the first"
    from quarantion.kernels.cuda.lif import lif_backward, lif_forward
    far = torch.from_numpy(np.memmap(tmp_path/'x', np.float32, 'w+', shape=5*(2**29+4)+6))
    x = far.as_strided((6,2,3), (2**29+4,3,1))
    x.copy_(torch.rand(6, 2, 3))
    args = torch.full((3,), .9),torch.ones(3),torch.zeros(2, 3)
    want = lif_forward(x.clone(), *args, 6, 0, (True,True,False))
    assert all(map(torch.equal, lif_forward(x, *args, 6, 0, (True,True,False)), want))
    back = lambda *g: lif_backward(*g, want[1], None, (args[2],*args[:2]), (0,0,5.,True), False, (False,False))[0]
    assert torch.equal(back(x, None), back(x.clone(), None)) and torch.equal(back(None, x), back(None, x.clone()))


def ints(seed):
    "An integer layer: sums, bias, θ and leak, unit, guard, steps, reset, start"
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    t,b,n,guard = int(pick(1, 2, 7, 20)),int(pick(1, 2, 5)),int(pick(1, 3, 16, 50)),int(pick(0, 3, 8))
    torch.manual_seed(seed)
    a = (STRIDES[pick(*STRIDES)](1 if seed%5==4 else t, b, n)*40).round().to(pick(torch.float32, torch.float64))
    whole = lambda lo,hi: torch.from_numpy(rng.integers(lo, hi, n).astype(np.int32) if rng.random()<.5 else np.full(n, rng.integers(lo, hi), np.int32))
    v0 = torch.from_numpy(rng.integers(-5000, 5000, (b,n)).astype(np.int32)) if rng.random()<.5 else None
    unit = torch.rand(n, dtype=pick(torch.float32, torch.float64))*1e-3+1e-4
    return a,(whole(-500, 500),whole(1, 60<<guard),whole(0, 65537)),unit,guard,t,pick(*RESETS),v0,pick


@pytest.mark.parametrize('seed', range(40))
def test_integer_neurons_equal_the_loop(seed):
    from quarantion.kernels.cuda.lif_int import lif_int_forward
    from quarantion.quant.neurons import _int_loop
    a,(bias,theta,m),unit,guard,steps,reset,v0,_ = ints(seed)
    spk,pre = _int_loop(a.long(), guard, bias, theta, m, steps, reset, v0)
    got = lif_int_forward(*there(a), tuple(there(bias, theta, m)), *there(unit), guard, steps, RESETS.index(reset), *there(v0))
    for x,y in zip(got, (spk.to(unit.dtype),pre,pre*unit)): assert x.dtype==y.dtype and torch.equal(x.cpu(), y)


@pytest.mark.parametrize('seed', range(20))
def test_gradients_through_units_equal_the_loop(seed):
    from quarantion.kernels.cuda.lif import lif_backward
    from quarantion.quant.neurons import _int_loop
    a,(bias,theta,m),unit,guard,steps,reset,v0,pick = ints(seed)
    pre = _int_loop(a.long(), guard, bias, theta, m, steps, reset, v0)[1]
    beta,th,start = (m/65536).to(unit.dtype),unit*theta.to(unit.dtype),unit.new_zeros(pre.shape[1:]) if v0 is None else v0*unit
    gs,kind = torch.randn(pre.shape, dtype=unit.dtype),pick(*SURROGATES)
    want = backward_loop(gs, None, None, pre, unit, start, beta, th, steps, reset, kind, 25., True)
    got = lif_backward(*there(gs), None, *there(pre, unit), tuple(there(start, beta, th)), (RESETS.index(reset),SURROGATES.index(kind),25.,True), False, (True,True))
    for x,y in zip(got, want): torch.testing.assert_close(x.cpu(), y.to(x.dtype), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('seed', range(40))
def test_spikes_go_into_bits_and_back(seed):
    from quarantion.kernels.cuda.bits import pack, unpack
    rng = np.random.default_rng(seed)
    pick = lambda *v: v[rng.integers(len(v))]
    torch.manual_seed(seed)
    t,b,n = int(pick(0, 1, 3, 20)),int(pick(1, 2, 5)),int(pick(1, 3, 16, 517))
    x = STRIDES[pick(*STRIDES)](t, b, n).gt(.5).to(pick(torch.float32, torch.float64, torch.float16))
    if seed%4==1: x = x[:,:,None].expand(t, b, 2, n) # two axes of neurons, one of no step
    if seed%4==2: x = x[:,0]
    bits = pack(*there(x))
    assert bits.dtype==torch.uint8 and np.array_equal(bits.cpu().numpy(), np.packbits(x.numpy()!=0, bitorder='little'))
    back = unpack(bits, x.numel(), x.dtype)
    assert back.dtype==x.dtype and torch.equal(back.cpu(), x.flatten())


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('policy', ['int8', 'int4', 'nonary', 'ternary', 'current8', 'mint2', 'tcq4'])
@pytest.mark.parametrize('reset', RESETS[:3])
def test_a_quantized_network_is_the_same_on_a_gpu(policy, reset):
    "Spikes and integer membranes to the bit, in training and in eval; and gradients"
    import copy

    from torch import nn

    from quarantion import prepare, preset
    from quarantion.spikes import LIF, Network
    torch.manual_seed(0)
    x = torch.rand(16, 20)
    net = Network(nn.Linear(20, 40), LIF(beta=.9, reset=reset), nn.Linear(40, 5), LIF(beta=.8, reset='none'))
    try: q = prepare(net, preset(policy), x)
    except CheckError: pytest.skip('refused on a CPU as well')
    q(x)
    there = copy.deepcopy(q).cuda()
    for mode in (True, False):
        q.train(mode); there.train(mode)
        for a,b in zip(q.record(x), there.record(x.cuda())):
            assert torch.equal(a.spk, b.spk.cpu()) and torch.equal(a.mem, b.mem.cpu()), a.name
    for m,v in ((q.train(), x),(there.train(), x.cuda())): m(v)[1].square().mean().backward()
    for (n,a),(_,b) in zip(q.named_parameters(), there.named_parameters()):
        if a.grad is not None: torch.testing.assert_close(b.grad.cpu(), a.grad, rtol=1e-4, atol=1e-6, msg=n)
