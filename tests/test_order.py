"Curves through a grid: bijective, one step at a time, the same by the loop and by whole numbers of Python"
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.geometry.order import CURVES, causal_order, from_curve, neighbour_gaps, to_curve

SIZES = [(n,b) for n in range(1, 64) for b in range(1, 32) if n*b<=63]
SMALL = [(n,b) for n,b in SIZES if n*b<=20]


def step_by_step(h, n, b):
    x = from_curve(h, n, b)
    assert np.array_equal(to_curve(x, b), h)
    return np.abs(np.diff(x.astype(np.int64), axis=0)).sum(1)

@pytest.mark.parametrize('most', [14, pytest.param(20, marks=pytest.mark.soak)])
def test_all_cells_of_small_grids(most):
    for n,b in SMALL:
        if n*b>most: continue
        h = np.arange(2**(n*b))
        assert (step_by_step(h, n, b)==1).all(), (n,b)
        x = from_curve(h[[0,-1]], n, b)
        assert not x[0].any() and (x[1]==[2**b-1]+[0]*(n-1)).all()

@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**63-1))
def test_runs_of_larger_grids(size, at):
    n,b = size
    h = at%max(1, 2**(n*b)-300)+np.arange(min(300, 2**(n*b)))
    assert (step_by_step(h, n, b)==1).all()

@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.sampled_from(list(CURVES)), st.integers(0, 2**32-1))
def test_the_loop_is_the_definition_and_wide_places_are_whole_numbers(n, b, curve, seed):
    rng = np.random.default_rng(seed)
    x = np.array([[int(v) for v in row] for row in rng.integers(0, 2**b, (5,n))], object)
    h = to_curve(x if b>31 else x.astype(np.int64), b, curve)
    assert [int(v) for v in h]==[CURVES[curve][0](c, b) for c in x]
    assert from_curve(h, n, b, curve).tolist()==x.tolist()
    assert from_curve(h, n, b, curve).tolist()==[list(CURVES[curve][1](int(v), n, b)) for v in h]

def test_golden_values():
    assert to_curve([[1,2,3,0,1,2,3,0,1],[0]*9,[3]*9,[1]+[0]*8,[0]*8+[1],[3]+[0]*8], 2).tolist()==[70075,0,174933,255,511,262143]
    assert to_curve([[1,2,3,4,5,6,7,8,9]], 4).tolist()==[396390655] and to_curve([[127]*9], 7).tolist()==[6154931241815026517]
    order = '(0,0)(1,0)(1,1)(0,1)(0,2)(0,3)(1,3)(1,2)(2,2)(2,3)(3,3)(3,2)(3,1)(2,1)(2,0)(3,0)'
    assert ''.join(f'({a},{b})' for a,b in from_curve(np.arange(16), 2, 2))==order

def test_morton_bits():
    x = np.random.default_rng(0).integers(0, 256, (50,7))
    want = [sum((int(v)>>i&1)<<(7*i+d) for d,v in enumerate(row) for i in range(8)) for row in x]
    assert to_curve(x, 8, 'morton').tolist()==want

def test_places_are_no_distances():
    g = neighbour_gaps(9, 2)
    assert (g<50).mean()==pytest.approx(.36, abs=.005)
    assert neighbour_gaps(2, 5).min()==1

@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(0, 9), st.integers(0, 40), st.sampled_from(list(CURVES)), st.integers(0, 2**32-1))
def test_causal_order(n, now, period, curve, seed):
    rng = np.random.default_rng(seed)
    period = max(period, now+1) if period else 0
    t,x = rng.integers(0, period or 10**9, n),rng.integers(0, 256, (n,8))[:,:7]
    order = causal_order(t, x, 8, curve, period, now)
    assert sorted(order.tolist())==list(range(n))
    age = (now-t)%period if period else -t
    h = to_curve(x, 8, curve)
    for a,b in zip(order, order[1:]): assert age[a]>age[b] or (age[a]==age[b] and h[a]<=h[b])

@pytest.mark.parametrize('bad', [dict(x=[[4,0]]), dict(x=[[-1,0]]), dict(x=[[.5,1]]), dict(x=[1,2]), dict(x=np.zeros((3,0), int)), dict(bits=0), dict(bits=2000), dict(curve='peano'), dict(threads=0), dict(x=[['a','b']]), dict(x=None)])
def test_what_is_no_cell_is_refused(bad):
    with pytest.raises(CheckError): to_curve(**dict(x=[[1,2]], bits=2)|bad)

@pytest.mark.parametrize('bad', [dict(h=[16]), dict(h=[-1]), dict(h=[[1]]), dict(h=[1.]), dict(axes=0), dict(bits=0), dict(curve=''), dict(h=[2**63])])
def test_what_is_no_place_is_refused(bad):
    with pytest.raises(CheckError): from_curve(**dict(h=[1], axes=2, bits=2)|bad)
