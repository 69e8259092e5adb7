"E8: its points, its decoder, and weights as its points"
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quarantion.geometry.e8 import SIMPLE_ROOTS, e8_shell, nearest_e8, reflect, second_moment
from quarantion.kernels.e8 import e8_points

AROUND = np.concatenate([e8_shell(n) for n in (0,2,4)])


def points(x):
    out = np.empty(x.shape, np.int8)
    e8_points(np.ascontiguousarray(x, np.float32), out)
    return out/2


def test_shells_and_roots():
    assert [len(e8_shell(n)) for n in (0,2,4,6,8)]==[1,240,2160,6720,17520] and len(AROUND)==2401
    roots = e8_shell(2)
    assert set(np.unique(roots@roots.T))=={-2,-1,0,1,2}
    assert sum((r%1==0).all() for r in roots)==112
    for shell in roots,e8_shell(4):
        known = {tuple(p) for p in shell}
        for r in SIMPLE_ROOTS: assert {tuple(p) for p in reflect(shell, r)}==known


def test_second_moment():
    m,half = second_moment(100_000, 1)
    assert abs(m-929/12960)<2*half<4e-4


@pytest.mark.parametrize('decode', [nearest_e8,points])
def test_none_of_2401_points_is_nearer(decode):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, s, (150,8)) for s in (.3,1,4)]).astype(np.float32).astype(float)
    x[:100] = np.round(x[:100]*4)/4
    p = decode(x)
    assert (((x-p)**2).sum(1)<=((x-p)[:,None]-AROUND).__pow__(2).sum(2).min(1)+1e-12).all()
    assert (p.sum(1)%2==0).all() and ((p%1==0).all(1)|(p%1==.5).all(1)).all()
    assert (decode(p)==p).all()
    shift = rng.integers(-3, 4, (len(x),8))@SIMPLE_ROOTS
    alone = np.sort(((x-p)[:,None]-AROUND).__pow__(2).sum(2), 1)
    alone = alone[:,1]-alone[:,0]>1e-5 # one nearest point
    assert (decode(x+shift)[alone]==(p+shift)[alone]).all() and alone.mean()>.7


def test_ties_and_what_is_almost_one():
    rng = np.random.default_rng(0)
    quarters = rng.integers(-20, 21, (3000,8)).astype(np.float32)/4
    lower = np.where(rng.random(quarters.shape)<.1, np.nextafter(quarters, np.float32(-9)), quarters)
    for x in quarters,np.nextafter(quarters, np.float32(9)),lower,quarters*np.float32(1e-30): assert (points(x)==nearest_e8(x)).all()


floats = st.floats(-30, 30, width=32)|st.integers(-60, 60).map(lambda n: n/4)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (33,8), elements=floats))
def test_the_kernel_is_the_reference(x): assert (points(x)==nearest_e8(x)).all()
