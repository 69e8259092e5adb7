"The LIF kernels against others: snnTorch and plain Python integers."
import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings, strategies as st

import quarantion.kernels.lif as real
import quarantion.kernels.lif_int as ints
from quarantion.kernels.lif import lif_forward
from quarantion.kernels.lif_int import lif_int_forward

RESETS = 'subtract','subtract_delayed','zero','none'
NO_BITS,NO_COUNT = np.empty((0,0,0), np.uint8),np.empty((0,0), np.int32)


def forward(x, beta, theta, v0, reset, threads=2):
    v,spk,pre = v0.copy(),np.empty_like(x),np.empty_like(x)
    lif_forward(x, beta, theta, v, spk, NO_BITS, pre, NO_COUNT, len(x), RESETS.index(reset), threads)
    return spk,pre,v


def outputs(kind, x, leak, theta, v0, steps, wanted, threads):
    "Spikes, bits, V, counts and U; `wanted` has a letter for each output that is not left out"
    B,N = v0.shape
    n = lambda c,k: k if c in wanted else 0
    v,out = v0.copy(),(np.full((n('s',steps),B,N), 7, np.uint8), np.full((n('b',steps),B,-(-N//8)), 7, np.uint8), np.full((n('m',steps),B,N), 7, v0.dtype), np.full((n('c',B),N), 7, np.int32))
    if kind is real: lif_forward(x, leak, theta, v, *out, steps, 1, threads)
    else: lif_int_forward(x, 3, np.zeros(1, np.int32), leak, theta, v, *out, steps, 0, threads)
    return *out,v


@pytest.mark.parametrize('B,N', ((1,1), (1,5000), (7,10), (300,10), (40,48), (3,1100), (3,2047), (130,1000)))
@pytest.mark.parametrize('constant', (False,True))
@pytest.mark.parametrize('kind', (real,ints))
def test_outputs_agree(kind, constant, B, N, monkeypatch):
    "However strips are cut and shared out: alone or together, bits, counts, membranes and spikes tell the same, and one parameter is N equal ones"
    T,rng = 7,np.random.default_rng(N)
    dtype = np.float32 if kind is real else np.int32
    draw = lambda s: rng.normal(.2, .7, s).astype(np.float32) if kind is real else rng.integers(-90, 130, s, np.int32)
    x,v0 = draw((1 if constant else T,B,N)),draw((B,N))
    leak,theta = (np.array([a], dtype) for a in ((.9,1) if kind is real else (60000,900)))
    spk,bits,pre,count,v = outputs(kind, x, leak, theta, v0, T, 'sbmc', 1)
    assert N==1 or 0<spk.mean()<1
    np.testing.assert_array_equal(bits, np.packbits(spk, axis=-1, bitorder='little'))
    np.testing.assert_array_equal(count, spk.sum(0))
    np.testing.assert_array_equal(spk, pre>theta)
    if constant: x = np.repeat(x, T, 0)
    monkeypatch.setattr(kind, '_SHARE', 1)
    for chunk,threads,wanted in ((131072,2,'sbmc'), (131072,5,'s'), (128,3,'b'), (2048,16,'m'), (1,1,'c'), (128,2,'')):
        monkeypatch.setattr(kind, '_CHUNK', chunk)
        for c,a,b in zip('sbmcv', outputs(kind, x, np.full(N, leak[0]), np.full(N, theta[0]), v0, T, wanted, threads), (spk,bits,pre,count,v)):
            if c in wanted+'v': np.testing.assert_array_equal(a, b)
            else: assert not a.size


@pytest.mark.parametrize('reset', range(4))
@pytest.mark.parametrize('kind', (real,ints))
def test_state_is_the_membrane_after_its_reset(kind, reset):
    T,B,N,rng = 9,3,37,np.random.default_rng(2)
    dtype = np.float32 if kind is real else np.int32
    x = rng.normal(.2, .7, (T,B,N)).astype(dtype) if kind is real else rng.integers(-90, 130, (T,B,N), dtype)
    leak,theta = (np.array([a], dtype) for a in ((.9,1) if kind is real else (60000,900)))
    v,spk = np.zeros((B,N), dtype),np.empty((T,B,N), np.uint8)
    pre,mem = np.empty((2,T,B,N), dtype)
    rest = v,spk,NO_BITS,pre,NO_COUNT,T,reset,2,mem
    if kind is real: lif_forward(x, leak, theta, *rest)
    else: lif_int_forward(x, 3, np.zeros(1, np.int32), leak, theta, *rest)
    assert spk.any()
    np.testing.assert_array_equal(mem, np.where(spk>0, pre-theta if reset==0 else 0 if reset==2 else pre, pre))
    np.testing.assert_array_equal(mem[-1], v)


@pytest.mark.parametrize('kind', (real,ints))
def test_parts_of_larger_arrays(kind):
    "Inputs and outputs may be parts of larger arrays, whose other places stay as they were"
    T,B,N,rng = 6,3,37,np.random.default_rng(1)
    dtype = np.float32 if kind is real else np.int32
    draw = lambda s: rng.normal(.2, .7, s).astype(dtype) if kind is real else rng.integers(-90, 130, s, dtype)
    x,v0 = draw((T+2,B,N)),draw((B+2,N))
    leak,theta = (np.array([7,a,7], dtype) for a in ((.9,1) if kind is real else (60000,900)))
    want = outputs(kind, x[1:-1].copy(), leak[1:2].copy(), theta[1:2].copy(), v0[1:-1], T, 'sbmc', 1)
    room = [np.full((len(a)+2,*a.shape[1:]), 7, a.dtype) for a in want]
    room[-1][1:-1] = v0[1:-1]
    parts = [a[1:-1] for a in room]
    def run(x, leak, theta, spk, bits, pre, count, v):
        if kind is real: lif_forward(x, leak, theta, v, spk, bits, pre, count, T, 1, 2)
        else: lif_int_forward(x, 3, np.zeros(1, np.int32), leak, theta, v, spk, bits, pre, count, T, 0, 2)
    run(x[1:-1], leak[1:2], theta[1:2], *parts)
    for a,b,whole in zip(parts, want, room):
        np.testing.assert_array_equal(a, b)
        assert (whole[[0,-1]]==7).all()
    for a in parts: a[:] = 7
    parts[-1][:] = v0[1:-1]
    run(memoryview(x)[1:-1], memoryview(leak)[1:2], memoryview(theta)[1:2], *(memoryview(a)[1:-1] for a in room)) # buffers that are not arrays
    for a,b,whole in zip(parts, want, room):
        np.testing.assert_array_equal(a, b)
        assert (whole[[0,-1]]==7).all()


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
        lif_int_forward(x, guard, bias, m, theta, v, spk, NO_BITS, pre, NO_COUNT, T, RESETS.index(reset), 2)
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
    lif_int_forward(zero.reshape(1,1,7), 0, zero, half, np.full(7, 2**31-1, np.int32), v, np.empty((1,1,7), np.uint8), NO_BITS, pre, NO_COUNT, 1, 3)
    assert pre.reshape(-1).tolist()==[-1,0,1,2,-2,-(2**31),2**31-1]
