"The level kernel against others: the definition, and snnTorch's `state_quant`."
import tracemalloc

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from snntorch.functional.quant import state_quant

from quarantion.checks import CheckError
from quarantion.kernels.levels import level_bounds, level_cells, nearest_level, uniform_rate
from quarantion.quant.level_sets import LevelTable, _nearest

WAYS = 'uniform','cells','search'


def prepared(levels):
    bounds,cells = np.empty(len(levels)-1, np.float32),np.full(4100, 7, np.int32)
    level_bounds(levels, bounds)
    level_cells(levels, bounds, cells)
    return bounds,cells


def nearest(x, levels, way='uniform', codes=False, threads=1):
    bounds,cells = prepared(levels)
    table = np.arange(len(levels), dtype=np.uint8) if codes else levels
    out,clipped = np.full(x.shape, 7, table.dtype),np.full(3, 7, np.int64)
    nearest_level(x, levels, bounds, table, out, clipped, uniform_rate(levels, bounds) if way=='uniform' else 0, cells if way=='cells' else cells[:0], threads)
    return out,clipped


def around(levels):
    "The levels, the middles between them, and the neighbours of both"
    mids = ((levels[:-1].astype(float)+levels[1:])/2).astype(np.float32)
    x = np.concatenate([levels, mids])
    with np.errstate(over='ignore'): return np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40, unique=True), st.integers(-20, 20), arrays(np.float32, 50, elements=st.floats(-2, 2, width=32)))
def test_is_the_definition(levels, power, x):
    levels = (np.sort(levels)*2.**power).astype(np.float32)
    x = np.concatenate([x*levels[np.abs(levels).argmax()], around(levels)]).astype(np.float32)
    d = np.abs(levels[:,None]-x)
    for u in WAYS:
        i,clipped = nearest(x, levels, u, codes=True)
        assert (d[i,np.arange(len(x))]==d.min(0)).all()
        inside = (x>=levels[0])&(x<=levels[-1])
        assert (i==d.argmin(0))[inside].all()
        assert clipped.tolist()==[(x<levels[0]).sum(),(x>levels[-1]).sum(),0]
        assert (nearest(x, levels, u)[0]==levels[i]).all()


@pytest.mark.parametrize('centred', (False,True))
@pytest.mark.parametrize('uniform', (False,True))
@pytest.mark.parametrize('bits', (2,4,6,8))
def test_is_state_quant(bits, uniform, centred):
    theirs = state_quant(bits, uniform=uniform, thr_centered=centred, threshold=1., lower_limit=.1, upper_limit=.2)
    levels = np.unique(theirs.__closure__[0].cell_contents.numpy())
    x = np.concatenate([np.random.default_rng(0).normal(0, 1, 3000).astype(np.float32), around(levels)])
    for way in WAYS: assert (nearest(x, levels, way)[0]==theirs(torch.tensor(x)).numpy()).all()


@pytest.mark.parametrize('L', (1,2,5,16,17,64,65,256))
def test_sizes_of_tables(L):
    levels = np.linspace(-1, 1.2, L, dtype=np.float32) if L>1 else np.float32([.5])
    x = np.concatenate([around(levels), np.float32([-np.inf,np.inf,np.nan])])
    for u in WAYS:
        out,clipped = nearest(x, levels, u)
        assert (out[:-3]==levels[np.abs(levels[:,None]-x[:-3]).argmin(0)]).all()
        assert out[-3:].tolist()==[levels[0],levels[-1],levels[0]] and clipped[2]==1


def test_threads():
    x,levels = np.random.default_rng(0).normal(0, 1, 9001).astype(np.float32),np.linspace(-1, 1, 33, dtype=np.float32)
    one = nearest(x, levels)
    for t in (2,5,16):
        for a,b in zip(nearest(x, levels, threads=t), one): assert (a==b).all()
    assert nearest(x[:0], levels, threads=3)[1].tolist()==[0,0,0]


@pytest.mark.parametrize('centre', (-2.5,0.,1.,1e-30,3e38,-1e38))
def test_cells(centre):
    "Tables that are dense around one place, at any distance and any place"
    for ratio in (1.01,1.1,2.,16.):
        d = 1e-6*ratio**np.arange(60)
        with np.errstate(over='ignore'): levels = np.float32(centre+np.concatenate([-d, d])*max(abs(centre), 1))
        levels = np.unique(levels[np.isfinite(levels)])
        x = np.concatenate([around(levels), np.random.default_rng(0).uniform(-1, 1, 100).astype(np.float32)*levels[-1]])
        a,b = (nearest(x, levels, way)[0] for way in ('cells','search'))
        assert (a==b).all()


def test_memory():
    "What is allocated besides the output does not grow with the input"
    levels = np.sort(np.random.default_rng(0).normal(0, 1, 256)).astype(np.float32)
    (bounds,cells),x = prepared(levels),np.zeros(1_000_000, np.float32)
    out,clipped = np.empty_like(x),np.empty(3, np.int64)
    for way in WAYS:
        tracemalloc.start()
        nearest_level(x, levels, bounds, levels, out, clipped, np.float32(255/(float(levels[255])-float(levels[0]))) if way=='uniform' else 0., cells if way=='cells' else cells[:0], 2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak<.1*out.nbytes, way


def test_shapes_are_checked():
    f = lambda *s: np.zeros(s, np.float32)
    good = dict(x=f(9), levels=np.float32([0,1]), bounds=f(1), table=f(2), out=f(9), clipped=np.zeros(3, np.int64), rate=0., cells=np.zeros(0, np.int32), num_threads=1)
    nearest_level(**good)
    for bad in (dict(bounds=f(2)), dict(table=f(3)), dict(out=f(8)), dict(clipped=np.zeros(2, np.int64)), dict(rate=-1.), dict(rate=np.nan), dict(num_threads=0),
                dict(cells=np.zeros(3, np.int32)), dict(cells=np.int32([0,16,0,1,0])), dict(cells=np.int32([0,0,0,1,0])), dict(cells=np.full(60000, 2, np.int32))):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): nearest_level(**good|bad)
    for levels in ([0,0],[1,0],[0,np.nan],[0,np.inf]):
        with pytest.raises(ValueError, match='expected finite numbers that rise'): level_bounds(np.float32(levels), f(1))


def dense(n): return torch.unique(state_quant(n, uniform=False, thr_centered=True).__closure__[0].cell_contents)


@pytest.mark.parametrize('levels', (torch.linspace(-1, 1.2, 256),torch.linspace(-1, 1.2, 16),dense(8),dense(4),torch.linspace(-1, 1, 9)**3,torch.tensor([.5])), ids=len)
def test_table_is_bucketize(levels):
    "The operator on a CPU is the loop, elsewhere torch's search for the same boundaries"
    t = LevelTable(levels)
    x = torch.cat([torch.randn(3000), torch.tensor(around(levels.numpy())), torch.tensor([torch.inf,-torch.inf])])
    want = torch.bucketize(x, t.bounds)
    assert torch.equal(t.codes(x).long(), want) and torch.equal(t(x), t.levels[want])
    y,clipped = t.observed(torch.cat([x, torch.tensor([torch.nan])]))
    assert torch.equal(y[:-1], t(x)) and y[-1]==t.levels[0]
    assert clipped.tolist()==[int((x<t.levels[0]).sum()),int((x>t.levels[-1]).sum()),1]


def test_table_as_state_quant():
    "In snnTorch's own neuron, in place of its own function"
    theirs = state_quant(6, uniform=False, thr_centered=True)
    ours = LevelTable(dense(6))
    out = []
    for q in (theirs,ours):
        lif,mem,spk = snn.Leaky(beta=.9, state_quant=q),torch.zeros(4,30),[]
        for x in torch.rand(25,4,30, generator=torch.Generator().manual_seed(0)):
            s,mem = lif(x, mem)
            spk.append(torch.stack([s,mem]))
        out.append(torch.stack(spk).detach())
    assert torch.equal(*out) and out[0][:,0].any()


def test_table_operator():
    t,x = LevelTable(dense(6)),torch.randn(3,7,requires_grad=True)
    for table,look in ((t.levels,True),(torch.arange(len(t)).to(torch.uint8),False)):
        torch.library.opcheck(_nearest, (x.detach(), t.levels, t.bounds, t.cells, table, t.rate, look), test_utils=('test_schema','test_faketensor'))
    def run(f):
        v = x.detach().clone().requires_grad_()
        y = f(v)
        y.pow(2).sum().backward()
        return y.detach(),v.grad
    def step(v): return t(v*2)
    for a,b in zip(run(step), run(torch.compile(step, backend='aot_eager', fullgraph=True))): assert torch.equal(a, b)


def test_table_refuses():
    for bad in ([],[1.,0.],[0.,torch.nan],[0.,torch.inf]):
        with pytest.raises(CheckError, match='levels'): LevelTable(bad)
    with pytest.raises(CheckError, match='at most 256'): LevelTable(torch.linspace(0, 1, 300)).codes(torch.rand(3))
