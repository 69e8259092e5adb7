"The level kernels against others: the definition, snnTorch's `state_quant`, and fake-quantization in torch."
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from snntorch.functional.quant import state_quant

from quarantion.kernels.levels import fake_quantize_rows, level_bounds, nearest_level, uniform_rate
from quarantion.quant.fake import fake_quantize


def nearest(x, levels, uniform=True, codes=False, threads=1):
    bounds = np.empty(len(levels)-1, np.float32)
    level_bounds(levels, bounds)
    table = np.arange(len(levels), dtype=np.uint8) if codes else levels
    out,clipped = np.full(x.shape, 7, table.dtype),np.full(3, 7, np.int64)
    nearest_level(x, levels, bounds, table, out, clipped, uniform_rate(levels, bounds) if uniform else 0, threads)
    return out,clipped


def around(levels):
    "The levels, the middles between them, and the neighbours of both"
    mids = ((levels[:-1].astype(float)+levels[1:])/2).astype(np.float32)
    x = np.concatenate([levels, mids])
    return np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40, unique=True), st.integers(-20, 20), arrays(np.float32, 50, elements=st.floats(-2, 2, width=32)))
def test_is_the_definition(levels, power, x):
    levels = (np.sort(levels)*2.**power).astype(np.float32)
    x = np.concatenate([x*levels[np.abs(levels).argmax()], around(levels)]).astype(np.float32)
    d = np.abs(levels[:,None]-x)
    for u in (True,False):
        i,clipped = nearest(x, levels, u, codes=True)
        assert (d[i,np.arange(len(x))]==d.min(0)).all()
        inside = (x>=levels[0])&(x<=levels[-1])
        assert (i==d.argmin(0))[inside].all()
        assert clipped.tolist()==[(x<levels[0]).sum(),(x>levels[-1]).sum(),0]
        assert (nearest(x, levels, u)[0]==levels[i]).all()


@pytest.mark.parametrize('centred', (False,True))
@pytest.mark.parametrize('uniform', (False,True))
@pytest.mark.parametrize('bits', (2,4))
def test_is_state_quant(bits, uniform, centred):
    theirs = state_quant(bits, uniform=uniform, thr_centered=centred, threshold=1., lower_limit=.1, upper_limit=.2)
    levels = np.unique(theirs.__closure__[0].cell_contents.numpy())
    x = np.concatenate([np.random.default_rng(0).normal(0, 1, 3000).astype(np.float32), around(levels)])
    assert (nearest(x, levels)[0]==theirs(torch.tensor(x)).numpy()).all()


@pytest.mark.parametrize('L', (1,2,5,16,17,64,65,256))
def test_sizes_of_tables(L):
    levels = np.linspace(-1, 1.2, L, dtype=np.float32) if L>1 else np.float32([.5])
    x = np.concatenate([around(levels), np.float32([-np.inf,np.inf,np.nan])])
    for u in (True,False):
        out,clipped = nearest(x, levels, u)
        assert (out[:-3]==levels[np.abs(levels[:,None]-x[:-3]).argmin(0)]).all()
        assert out[-3:].tolist()==[levels[0],levels[-1],levels[0]] and clipped[2]==1


def test_threads():
    x,levels = np.random.default_rng(0).normal(0, 1, 9001).astype(np.float32),np.linspace(-1, 1, 33, dtype=np.float32)
    one = nearest(x, levels)
    for t in (2,5,16):
        for a,b in zip(nearest(x, levels, threads=t), one): assert (a==b).all()
    assert nearest(x[:0], levels, threads=3)[1].tolist()==[0,0,0]


def fake(x, scale, q, threads=1):
    out,(lo,hi) = np.full_like(x, 7),np.full((2,len(x)), 7, np.float32)
    fake_quantize_rows(x, scale, *q, out, lo, hi, threads)
    return out,lo,hi


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (3,7), elements=st.floats(-2**20, 2**20, width=32)), arrays(np.float32, 3, elements=st.floats(2**-10, 2**10, width=32)),
       st.sampled_from([(-127,127),(-7,7),(-4,4),(-1,1),(0,255),(-128,127)]))
def test_is_fake_quantize(x, scale, q):
    out,lo,hi = fake(x, scale, q)
    assert (out.view(np.int32)==fake_quantize(torch.tensor(x), torch.tensor(scale)[:,None], *q).numpy().view(np.int32)).all()
    assert (lo==x.min(1)).all() and (hi==x.max(1)).all()


def test_ties_per_tensor():
    x = (np.arange(-600, 601, dtype=np.float32)/2).reshape(1,-1)
    out = fake(x, np.ones(1, np.float32), (-127,127))[0]
    assert (out==np.rint(x).clip(-127, 127)).all()
    assert (fake(x, np.float32([.3]), (-127,127))[0].view(np.int32)==fake_quantize(torch.tensor(x), torch.tensor(.3), -127, 127).numpy().view(np.int32)).all()


def test_rows_in_tiles():
    x,scale = np.random.default_rng(0).normal(0, 1, (3,9001)).astype(np.float32),np.float32([.01,.02,.5])
    one = fake(x, scale, (-127,127))
    assert (one[1]==x.min(1)).all() and (one[2]==x.max(1)).all()
    for t in (2,5,16): assert all((a==b).all() for a,b in zip(fake(x, scale, (-127,127), t), one))
    same = x.copy()
    fake_quantize_rows(same, scale, -127, 127, same, *np.empty((2,0), np.float32))
    assert (same==one[0]).all()
    assert [a.tolist() for a in fake(x[:,:0].copy(), scale, (-1,1))[1:]]==[[np.inf]*3,[-np.inf]*3]


def test_shapes_are_checked():
    f = lambda *s: np.zeros(s, np.float32)
    good = dict(x=f(9), levels=np.float32([0,1]), bounds=f(1), table=f(2), out=f(9), clipped=np.zeros(3, np.int64), rate=0., num_threads=1)
    nearest_level(**good)
    for bad in (dict(bounds=f(2)), dict(table=f(3)), dict(out=f(8)), dict(clipped=np.zeros(2, np.int64)), dict(rate=-1.), dict(rate=np.nan), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): nearest_level(**good|bad)
    good = dict(x=f(2,3), scale=f(2)+1, quant_min=-4, quant_max=4, out=f(2,3), min_val=f(2), max_val=f(2), num_threads=1)
    fake_quantize_rows(**good)
    for bad in (dict(scale=f(2)), dict(scale=f(3)+1), dict(quant_min=5), dict(quant_max=2**23), dict(out=f(3,2)), dict(min_val=f(3)), dict(max_val=f(0)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): fake_quantize_rows(**good|bad)
    for levels in ([0,0],[1,0],[0,np.nan],[0,np.inf]):
        with pytest.raises(ValueError, match='must be finite and rise'): level_bounds(np.float32(levels), f(1))
