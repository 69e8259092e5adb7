"Fake quantization against torch's own operators and a float64 definition: kernels, wrappers, statistics."
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quarantion.checks import CheckError
from quarantion.kernels.fake_rows import fake_quantize_back, fake_quantize_rows
from quarantion.quant.fake import _fake, _fake_bw, fake_quantize, fake_quantize_observed

RANGES = (-127,127),(-7,7),(-4,4),(-1,1),(0,255),(-128,127)
NONE = np.empty(0, np.float32),np.empty(0, np.float32),np.empty((0,0), np.int64)


def torchs(x, s, q, axis=None):
    if axis is None: return torch.fake_quantize_per_tensor_affine(x, float(s), 0, *q)
    return torch.fake_quantize_per_channel_affine(x, s, torch.zeros(len(s), dtype=torch.int32), axis, *q)


def bits(x): return x.detach().contiguous().numpy().view(np.int32)


def rows(x, scale, q, threads=1):
    x3 = x.reshape(1, *x.shape) if x.ndim==2 else x
    out,(lo,hi) = np.full_like(x3, 7),np.full((2,x3.shape[1]), 7, np.float32)
    fake_quantize_rows(x3, scale, *q, out, lo, hi, *NONE, threads)
    return out.reshape(x.shape),lo,hi


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (3,7), elements=st.floats(-2**20, 2**20, width=32)), arrays(np.float32, 3, elements=st.floats(2**-10, 2**10, width=32)), st.sampled_from(RANGES))
def test_kernel_is_torchs(x, scale, q):
    out,lo,hi = rows(x, scale, q)
    assert (out.view(np.int32)==bits(torchs(torch.tensor(x), torch.tensor(scale), q, 0))).all()
    assert (lo==x.min(1)).all() and (hi==x.max(1)).all()


@pytest.mark.parametrize('q', RANGES)
def test_ties(q):
    x = (np.arange(-600, 601, dtype=np.float32)/2).reshape(1,-1)
    assert (rows(x, np.ones(1, np.float32), q)[0]==np.rint(x).clip(*q)).all()
    a,b = (torch.tensor(x).requires_grad_() for _ in range(2))
    g = torch.linspace(-1, 1, x.size).reshape(1,-1)
    fake_quantize(a, torch.ones(()), *q).backward(g); torchs(b, 1., q).backward(g)
    assert (bits(a.grad)==bits(b.grad)).all() # clipped numbers get −0 of a negative gradient, as torch's do


@pytest.mark.parametrize('layout', ('plain','transposed','stepped','expanded'))
@pytest.mark.parametrize('axis', (None,0,1,2,3,-1,-2))
@pytest.mark.parametrize('shape', ((2,3,4,5),(3,2,17,20),(1,5,1,1),(2,0,3,4),(0,3,4,5)))
def test_is_torchs(shape, axis, layout):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=rng)
    if layout=='transposed': x = x.permute(3,1,0,2)
    if layout=='stepped': x = torch.randn((*shape[:-1],2*shape[-1]), generator=rng)[...,::2]
    if layout=='expanded': x = torch.randn(shape[-1], generator=rng).expand(shape)
    c = 1 if axis is None else x.shape[axis]
    s = torch.rand(c, generator=rng)*.3+.05
    a,b = (x.clone(memory_format=torch.preserve_format).requires_grad_() if layout!='expanded' else x.detach().requires_grad_() for _ in range(2))
    ours = fake_quantize(a, s, -4, 4, axis)
    if c==0: # torch has no answer for no channels
        assert ours.shape==x.shape
        return
    theirs = torchs(b, s, (-4,4), axis if axis is None else axis%4)
    assert (bits(ours)==bits(theirs)).all() and ours.dtype==theirs.dtype
    g = torch.randn(x.shape, generator=rng)
    ours.backward(g); theirs.backward(g)
    assert (bits(a.grad)==bits(b.grad)).all()


@pytest.mark.parametrize('axis', (None,0,1,2))
def test_scale_gradient(axis):
    "Against a sum in float64 over the definition"
    x,g = (torch.randn(3,4,9000, generator=torch.Generator().manual_seed(i)) for i in (0,1))
    x = x[...,:700] if axis==2 else x
    g = g[...,:x.shape[2]]
    s = (torch.rand(1 if axis is None else x.shape[axis], generator=torch.Generator().manual_seed(2))*.3+.05).requires_grad_()
    fake_quantize(x, s, -4, 4, axis).backward(g)
    shaped = s.detach().double().reshape([-1 if i==axis else 1 for i in range(3)])
    q = x.double()/shaped
    k = torch.round(q)
    term = g.double()*(k.clamp(-4, 4)-torch.where(k.abs()<=4, q, 0.))
    want = term.sum().reshape(1) if axis is None else term.movedim(axis, 0).flatten(1).sum(1)
    size = term.abs().sum()/len(want)
    assert (s.grad-want).abs().max()<2e-6*size


def test_threads_change_nothing():
    x,g = np.random.default_rng(0).normal(0, 1, (2,2,3,9001)).astype(np.float32)
    scale = np.float32([.01,.02,.5])
    def run(t):
        out,gx,(lo,hi),gs,n = np.full_like(x, 7),np.full_like(x, 7),np.empty((2,3), np.float32),np.empty(3),np.empty((3,66), np.int64)
        fake_quantize_rows(x, scale, -127, 127, out, lo, hi, -np.ones(3, np.float32), np.ones(3, np.float32), n, t)
        fake_quantize_back(g, x, scale, -127, 127, gx, gs, t)
        return [a.tobytes() for a in (out,lo,hi,n,gx,gs)]
    one = run(1)
    for t in (2,5,16): assert run(t)==one
    same = x.copy()
    fake_quantize_rows(same, scale, -127, 127, same, NONE[0], NONE[0], *NONE)
    assert same.tobytes()==one[0]


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (2,40), elements=st.floats(-4, 4, width=32)), st.integers(1, 40), st.floats(-3, 0, width=32), st.floats(.125, 3, width=32))
def test_histogram(x, bins, low, width):
    low = np.float32([low,low/2])
    high = low+np.float32(width)
    out,n = np.empty((1,2,40), np.float32),np.empty((2,bins+2), np.int64)
    fake_quantize_rows(x[None], np.ones(2, np.float32), -4, 4, out, NONE[0], NONE[0], low, high, n)
    for c in range(2):
        t = (x[c]-low[c])*(np.float32(bins)/(high[c]-low[c]))
        inside = (x[c]>=low[c])&(x[c]<=high[c])
        want = np.concatenate([[(x[c]<low[c]).sum()], np.bincount(np.minimum(t[inside], bins-1).astype(int), minlength=bins), [(x[c]>high[c]).sum()]])
        assert n[c].tolist()==want.tolist()


def test_observed():
    x = torch.randn(4,3,50, generator=torch.Generator().manual_seed(0))
    x[0,1,7] = torch.nan
    for axis,c in ((None,1),(0,4),(1,3)):
        s = torch.full((c,), .25)
        a,b = (fake_quantize_observed(v, s, -4, 4, axis, 8, -1.5, torch.full((c,), 1.25)) for v in (x,x.double())) # kernel, and torch operations
        for p,q in zip(a, b): assert torch.equal(torch.nan_to_num(p.double(), 9.), torch.nan_to_num(q.double(), 9.))
        assert a.counts.sum()==x.numel() and a.min_val.shape==(c,)
    empty = fake_quantize_observed(x[:0], torch.ones(()), -4, 4, bins=3)
    assert empty.min_val.tolist()==[np.inf] and empty.max_val.tolist()==[-np.inf] and empty.counts.tolist()==[[0]*5]


def test_operators():
    "What torch.library asks of a custom operator: fake kernels, autograd, aliasing"
    x,s,none = torch.randn(3,4,20),torch.rand(4)*.3+.1,torch.empty(0)
    for dtype in (torch.float32,torch.float64):
        a,t = (v.to(dtype).requires_grad_() for v in (x.clone(),s.clone()))
        torch.library.opcheck(_fake, (a, t, -4, 4, 1, True, -torch.ones(4, dtype=dtype), torch.ones(4, dtype=dtype), 5), test_utils=('test_schema','test_faketensor'))
        torch.library.opcheck(_fake, (a, t, -4, 4, 1, False, none.to(dtype), none.to(dtype), 0), test_utils=('test_schema','test_faketensor','test_autograd_registration'))
        torch.library.opcheck(_fake_bw, (x.to(dtype), x.to(dtype), s.to(dtype), -4, 4, 1, True), test_utils=('test_schema','test_faketensor'))


def test_compile():
    x,s = torch.randn(3,40),(torch.rand(3)*.3+.1)
    def run(f):
        a,t = x.clone().requires_grad_(),s.clone().requires_grad_()
        y = f(a, t)
        y.pow(2).sum().backward()
        return y.detach(),a.grad,t.grad
    def step(a, t): return fake_quantize(a*2, t, -4, 4, 0)
    for a,b in zip(run(step), run(torch.compile(step, backend='aot_eager', fullgraph=True))): assert torch.equal(a, b)


def test_what_is_refused():
    x = torch.randn(2,3)
    for bad in (dict(ch_axis=2, scale=torch.ones(3)), dict(ch_axis=0, scale=torch.ones(3)), dict(quant_min=5), dict(quant_max=2**23)):
        with pytest.raises(CheckError): fake_quantize(**dict(x=x, scale=torch.ones(()), quant_min=-4, quant_max=4)|bad)
    with pytest.raises(CheckError, match='`scale`'): fake_quantize_observed(x, torch.ones(2,3), -4, 4)
    with pytest.raises(ValueError, match='`scale`: expected > 0'): fake_quantize(x, torch.zeros(()), -4, 4)
    with pytest.raises(ValueError, match='`low`'): fake_quantize_observed(x, torch.ones(()), -4, 4, bins=3, low=1., high=1.)


def test_kernel_shapes_are_checked():
    f,none = lambda *s: np.zeros(s, np.float32),np.zeros((0,0), np.int64)
    good = dict(x=f(1,2,3), scale=f(2)+1, quant_min=-4, quant_max=4, out=f(1,2,3), min_val=f(2), max_val=f(2), low=f(2), high=f(2)+1, counts=np.zeros((2,3), np.int64), num_threads=1)
    fake_quantize_rows(**good)
    fake_quantize_rows(**good|dict(low=f(0), high=f(0), counts=none))
    for bad in (dict(scale=f(2)), dict(scale=f(3)+1), dict(scale=f(2)*np.nan), dict(quant_min=5), dict(quant_max=2**23), dict(out=f(1,3,2)), dict(min_val=f(3)), dict(max_val=f(0)),
                dict(low=f(3)), dict(low=f(2)+1), dict(high=f(2)+np.inf), dict(counts=np.zeros((3,3), np.int64)), dict(counts=np.zeros((2,2), np.int64)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): fake_quantize_rows(**good|bad)
    good = dict(g=f(1,2,3), x=f(1,2,3), scale=f(2)+1, quant_min=-4, quant_max=4, gx=f(1,2,3), gscale=np.zeros(2), num_threads=1)
    fake_quantize_back(**good)
    for bad in (dict(g=f(1,2,2)), dict(scale=f(1)+1), dict(quant_min=5), dict(gx=f(1,3,3)), dict(gscale=np.zeros(3)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): fake_quantize_back(**good|bad)
