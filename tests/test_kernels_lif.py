"The LIF kernels against others: snnTorch, autograd in float64, and plain Python integers."
import math

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings, strategies as st

from quarantion.kernels.bptt import lif_backward
from quarantion.kernels.lif import lif_forward
from quarantion.kernels.lif_int import lif_int_forward

RESETS = 'subtract','subtract_delayed','zero','none'
SURROGATES = 'fast_sigmoid','atan','sigmoid','triangular','rectangular'


def forward(x, beta, theta, v0, reset, threads=2):
    v,spk,pre = v0.copy(),np.empty_like(x),np.empty_like(x)
    lif_forward(x, beta, theta, v, spk, pre, RESETS.index(reset), threads)
    return spk,pre,v


@pytest.mark.parametrize('per_neuron', (False,True))
@pytest.mark.parametrize('reset', ('subtract_delayed','zero','none'))
def test_equals_snntorch(reset, per_neuron):
    "Spikes and membranes of `snn.Leaky` over 200 steps in float32, bit for bit"
    T,B,N = 200,8,33
    g = torch.Generator().manual_seed(0)
    x = torch.randn((T,B,N), generator=g)*.5+.2
    beta,theta = (torch.rand(N, generator=g)*.5+.5,torch.rand(N, generator=g)+.3) if per_neuron else (torch.full((N,), .95),torch.full((N,), 1.))
    leaky = snn.Leaky(beta=beta if per_neuron else .95, threshold=theta if per_neuron else 1., reset_mechanism='subtract' if reset=='subtract_delayed' else reset,
                      reset_delay=reset!='zero')
    mem,theirs = torch.zeros(B, N),[]
    with torch.no_grad():
        for t in range(T):
            s,mem = leaky(x[t], mem)
            theirs.append((s.numpy(),mem.numpy()))
    spk,pre,v = forward(x.numpy(), beta.numpy(), theta.numpy(), np.zeros((B,N), np.float32), reset)
    mem = pre*(1-spk) if reset=='zero' else pre
    assert .05<spk.mean()<.95
    np.testing.assert_array_equal(spk, [s for s,_ in theirs])
    np.testing.assert_array_equal(mem, [m for _,m in theirs])
    np.testing.assert_array_equal(v, mem[-1])


def sigma(x, surrogate, k):
    "σ', written once more"
    z = k*x.abs()
    match surrogate:
        case 'fast_sigmoid': return (1+z)**-2
        case 'atan': return k/2/(1+(math.pi/2*k*x)**2)
        case 'sigmoid': return k*torch.sigmoid(k*x)*torch.sigmoid(-k*x)
        case 'triangular': return (1-z).clamp(min=0)
        case 'rectangular': return k*(z<.5)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, surrogate, k):
        ctx.save_for_backward(x)
        ctx.args = surrogate,k
        return (x>0).to(x.dtype)

    @staticmethod
    def backward(ctx, g): return g*sigma(ctx.saved_tensors[0], *ctx.args),None,None


def autograd(x, beta, theta, v0, gs, gpre, reset, surrogate, k):
    "Spikes, V and gradients of Σ gs·S + Σ gpre·V with respect to x, β, θ, v0 (each of every row), by a loop in float64"
    T,B,N = gs.shape
    x,beta,theta,v0 = (torch.tensor(np.broadcast_to(a, s), dtype=torch.float64, requires_grad=True) for a,s in ((x,(len(x),B,N)),(beta,(B,N)),(theta,(B,N)),(v0,(B,N))))
    u,spk,pre = v0,[],[]
    for t in range(T):
        v = beta*u + x[t if len(x)>1 else 0]
        if reset=='subtract_delayed': v = v - theta*(u>theta)
        s = Spike.apply(v-theta, surrogate, k)
        u = v-theta*s.detach() if reset=='subtract' else v*(1-s.detach()) if reset=='zero' else v
        spk.append(s); pre.append(v)
    spk,pre = torch.stack(spk),torch.stack(pre)
    grads = torch.autograd.grad((spk*torch.tensor(gs)).sum()+(pre*torch.tensor(gpre)).sum(), (x,beta,theta,v0))
    return spk.detach().numpy(),pre.detach().numpy(),[g.numpy() for g in grads]


@pytest.mark.parametrize('constant', (False,True))
@pytest.mark.parametrize('surrogate', SURROGATES)
@pytest.mark.parametrize('reset', RESETS)
def test_gradients(reset, surrogate, constant):
    "Equal those of autograd, of a float64 loop with the same spikes"
    T,B,N,k = 17,3,13,2.5
    rng = np.random.default_rng(1)
    x = rng.normal(.4, .6, (1 if constant else T,B,N))
    beta,theta,v0 = rng.uniform(.6, 1, N),rng.uniform(.5, 1.2, N),rng.normal(0, 1, (B,N))
    gs,gpre = rng.normal(0, 1, (2,T,B,N))
    spk,pre,grads = autograd(x, beta, theta, v0, gs, gpre, reset, surrogate, k)
    mine,mypre = np.empty((T,B,N)),np.empty((T,B,N))
    lif_forward(x, beta, theta, v0.copy(), mine, mypre, RESETS.index(reset))
    np.testing.assert_array_equal(mine, spk)
    assert 0<spk.mean()<1
    np.testing.assert_allclose(mypre, pre, rtol=0, atol=1e-12)

    def back(gs, gpre, pre, unit, dtype=np.float64):
        a = [np.ascontiguousarray(p, dtype) for p in (gs,gpre)],[np.ascontiguousarray(p, dtype) for p in (unit,v0,beta,theta)]
        out = [np.empty((len(x),B,N), dtype)]+[np.empty((B,N), dtype) for _ in range(3)]
        lif_backward(*a[0], pre, *a[1], *out, RESETS.index(reset), SURROGATES.index(surrogate), k, 2)
        return out

    one,none = np.ones(N),np.empty((0,B,N))
    for got,want in zip(back(gs, gpre, mypre, one), grads): np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    # either gradient alone; the two add up
    for parts in zip(back(gs, none, mypre, one), back(none, gpre, mypre, one), grads): np.testing.assert_allclose(parts[0]+parts[1], parts[2], rtol=1e-9, atol=1e-11)
    # membranes as integers, with a unit for each neuron
    unit = rng.uniform(1e-4, 2e-4, N)
    codes = np.rint(mypre/unit).astype(np.int32)
    for got,want in zip(back(gs, gpre, codes, unit), back(gs, gpre, codes*unit, one)): np.testing.assert_array_equal(got, want)
    # float32
    for got,want in zip(back(gs, gpre, mypre.astype(np.float32), one, np.float32), back(gs, gpre, mypre.astype(np.float32).astype(float), one)):
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize('name,theirs', (('fast_sigmoid',snn.surrogate.fast_sigmoid), ('atan',snn.surrogate.atan), ('sigmoid',snn.surrogate.sigmoid)))
def test_surrogates_equal_snntorch(name, theirs):
    x = torch.linspace(-1.5, 1.5, 61, requires_grad=True)
    theirs(3.)(x).sum().backward()
    n = len(x)
    f = lambda *s: np.zeros(s, np.float32)
    gx = f(1,1,n)
    lif_backward(f(1,1,n)+1, f(0,1,n), x.detach().numpy().reshape(1,1,n), f(n)+1, f(1,n), f(n), f(n), gx, f(1,n), f(1,n), f(1,n), 3, SURROGATES.index(name), 3.)
    np.testing.assert_allclose(gx.reshape(-1), x.grad.numpy(), rtol=2e-6)


def int_reference(x, guard, bias, m, theta, v, reset):
    "One neuron in Python integers: spikes and V of each step, and U after the last"
    spk,pre = [],[]
    for a in x:
        new = (v*m + 2**15)//2**16 + a*2**guard + bias
        if reset=='subtract_delayed' and v>theta: new -= theta
        s = new>theta
        spk.append(int(s)); pre.append(new)
        v = new-theta if reset=='subtract' and s else 0 if reset=='zero' and s else new
    return spk,pre,v


@pytest.mark.parametrize('reset', RESETS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_integers(reset, data):
    T,B,N = data.draw(st.integers(1, 12)),data.draw(st.integers(1, 3)),data.draw(st.integers(1, 40))
    guard = data.draw(st.sampled_from((0,1,8)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    top = 2**30//(T+2)>>guard # so that no membrane leaves 32 bits
    amp = data.draw(st.integers(1, top))
    x = rng.integers(-amp, amp, (data.draw(st.sampled_from((1,T))),B,N), np.int32, endpoint=True)
    bias = rng.integers(-amp, amp, N, np.int32, endpoint=True)
    m = rng.choice(np.array([0,1,32767,32768,62259,65535,65536], np.int32), N)
    theta = rng.integers(1, (amp<<guard)+1, N, np.int32)
    v0 = rng.integers(-2**29, 2**29, (B,N), np.int32)
    v,pre = v0.copy(),np.empty((T,B,N), np.int32)
    for spk in np.empty((T,B,N), np.uint8),np.empty((T,B,N), np.float32):
        v[:] = v0
        lif_int_forward(x, guard, bias, m, theta, v, spk, pre, RESETS.index(reset), 2)
        for b in range(B):
            for n in range(N):
                col = [int(a) for a in np.broadcast_to(x[:,b,n], T)]
                assert int_reference(col, guard, *(int(p[n]) for p in (bias,m,theta)), int(v0[b,n]), reset)==(spk[:,b,n].tolist(), pre[:,b,n].tolist(), int(v[b,n]))


def test_negative_membranes_are_shifted_to_the_floor():
    "(v·m + 2¹⁵) >> 16 with ties up: −1.5 becomes −1, and −1.5 less a bit −2"
    v = np.array([[-3,-1,1,3,-5,-(2**31),2**31-1]], np.int32)
    pre = np.empty((1,1,7), np.int32)
    half = np.array([32768]*4+[32767]+[65536]*2, np.int32)
    zero = np.zeros(7, np.int32)
    lif_int_forward(zero.reshape(1,1,7), 0, zero, half, np.full(7, 2**31-1, np.int32), v, np.empty((1,1,7), np.uint8), pre, 3)
    assert pre.reshape(-1).tolist()==[-1,0,1,2,-2,-(2**31),2**31-1]
