"Probabilities on the sphere beside closed forms, distances that are bent, and what is refused"
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.geometry.simplex import distance, exp_map, geodesic, log_map, mean
from quarantion.geometry.warp import triangle_failures, warped

SEEDS = st.integers(0, 10**6)
KINDS = st.sampled_from(['all', 'some', 'one', 'tiny'])


def drawn(seed, kind, rows=2, n=5):
    "Probabilities, of which some may be 0, all but one, or very small"
    g = np.random.default_rng(seed)
    p = g.dirichlet(np.ones(n), rows)
    if kind=='some': p *= g.random(p.shape)<.6
    if kind=='one': p *= 0
    if kind=='tiny': p **= 12
    p[:,0] += 1e-3*(p.sum(1)==0)
    return torch.tensor(p/p.sum(1, keepdims=True))


@settings(max_examples=40, deadline=None)
@given(SEEDS, KINDS, KINDS)
def test_there_and_back(seed, a, b):
    p,q = drawn(seed, a),drawn(seed+1, b)
    v = log_map(p, q)
    assert torch.allclose(exp_map(p, v), q, rtol=0, atol=1e-13)
    assert torch.allclose(v.norm(dim=1), distance(p, q), atol=1e-13)
    assert torch.allclose(distance(p, q), 2*(p*q).sqrt().sum(1).clamp_max(1).arccos(), atol=1e-7)
    assert torch.equal(distance(p, q), distance(q, p)) and not distance(p, p).any()


@settings(max_examples=40, deadline=None)
@given(SEEDS, KINDS, KINDS, st.floats(0, 1))
def test_shares_of_a_way_add_up(seed, a, b, t):
    p,q = drawn(seed, a),drawn(seed+1, b)
    m,d = geodesic(p, q, t),distance(p, q)
    assert torch.allclose(distance(p, m), t*d, atol=1e-7) # a root of 1e-16
    assert torch.allclose(distance(p, m)+distance(m, q), d, atol=1e-7)
    assert torch.allclose(m, geodesic(q, p, 1-t), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS, KINDS)
def test_the_mean_does_not_know_the_order_and_is_least(seed, kind):
    points = drawn(seed, kind, 7)
    w = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))+.1
    order,m = torch.randperm(7),mean(points, w)
    assert torch.allclose(mean(points[order], w[order]), m, atol=1e-12)
    cost = lambda m: (w*distance(m, points)**2).sum()
    for other in (*drawn(seed+2, 'all'),*points): assert cost(geodesic(m, other, 1e-2))>=cost(m)-1e-12
    assert torch.allclose(mean(points.expand(3, 7, 5), w), m.expand(3, 5), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(SEEDS, KINDS, KINDS)
def test_float32_is_near_float64(seed, a, b):
    p,q = drawn(seed, a),drawn(seed+1, b)
    for f in distance,log_map,lambda p, q: geodesic(p, q, .4),lambda p, q: mean(torch.stack([p,q])):
        narrow = f(p.float(), q.float())
        assert narrow.dtype==torch.float32 and torch.allclose(narrow.double(), f(p, q), atol=2e-5)


@pytest.mark.parametrize('far', [1., 1e-2, 1e-5, 1e-9])
def test_gradients_are_those_of_the_closed_form(far):
    "Near each other too, where the closed form itself has none; its derivative is written out with differences"
    z = torch.tensor([.3,-.2,.5,.1], dtype=torch.float64)
    p,q = z.softmax(0).requires_grad_(),(z+far*torch.tensor([1.,-1.,.5,0.])).softmax(0)
    distance(p, q).backward()
    x,y = p.detach().sqrt(),q.sqrt()
    step = (q-p.detach())/(x+y)
    s = (step**2).sum()
    sin = (s*(1-s/4)).sqrt()
    tangent = -(step+s/2*x)/sin/x # 2 dΩ/dx · dx/dp, of points whose sum stays 1
    assert torch.allclose(p.grad, tangent, rtol=1e-6, atol=1e-9)


def test_vectors_change_probabilities_as_said():
    p = torch.tensor([.2,.3,.5], dtype=torch.float64)
    v = log_map(p, torch.tensor([.5,.2,.3], dtype=torch.float64))
    assert torch.allclose((exp_map(p, 1e-6*v)-p)/1e-6, p.sqrt()*v, atol=1e-5)


def test_golden():
    one = lambda *v: torch.tensor(v, dtype=torch.float64)
    assert distance(one(1,0), one(0,1)).item()==pytest.approx(math.pi, abs=1e-15)
    assert distance(one(.5,.5), one(1,0)).item()==pytest.approx(math.pi/2, abs=1e-15)
    assert log_map(one(1,0), one(0,1)).tolist()==pytest.approx([0,math.pi])
    assert mean(torch.eye(400, dtype=torch.float64)).tolist()==pytest.approx([1/400]*400)


def test_what_is_refused():
    p = torch.tensor([.25,.75])
    for bad,said in (([.5,.4],'sum to 1, found a sum of 0.9'), ([1.5,-.5],'>= 0, found -0.5'), ([math.nan,1.],'finite numbers, found nan'),
                     ([.5,.25,.25],'expected 2 probabilities, as `p` has, found 3')):
        for f in distance,log_map,lambda p, q: geodesic(p, q, .5):
            with pytest.raises(CheckError, match='^(distance|log_map|geodesic): `q`.*'+said): f(p, torch.tensor(bad))
    with pytest.raises(CheckError, match='`p`: expected dtype float32 or float64, found int64'): distance(torch.tensor([0,1]), p)
    with pytest.raises(CheckError, match='`q`: expected dtype torch.float32, as `p` has, found torch.float64'): distance(p, p.double())
    with pytest.raises(CheckError, match='exp_map: `v`: expected a way that stays on the simplex, found √p = -0.*at \\[0\\]'):
        exp_map(p, -1.2*log_map(p, torch.tensor([1.,0.])))
    with pytest.raises(CheckError, match='mean: `points`: expected at least one'): mean(torch.zeros(0, 3))
    with pytest.raises(CheckError, match='`weights`: expected >= 0, found -1'): mean(p[None], torch.tensor([-1.]))


def test_shortest_ways_close_the_triangle():
    g = np.random.default_rng(0)
    d,r = (np.triu(g.random((30,30)), 1) for _ in range(2))
    d,r = d+d.T,r+r.T
    d[:2,:2] = 0 # two at one place are an edge, not a gap
    bent = warped(d, r, 4.)
    assert np.array_equal(warped(d, r, 0.), d) and triangle_failures(bent)>0
    want = bent.copy()
    for k in range(30): want = np.minimum(want, want[:,[k]]+want[[k]])
    assert np.allclose(warped(d, r, 4., closure=True), want, rtol=1e-15) and triangle_failures(want)==0
    by_hand = sum(max(s)>sum(s)/2*(1+1e-12) for i in range(30) for j in range(i) for k in range(j) for s in [(bent[i,j],bent[j,k],bent[i,k])])
    assert triangle_failures(bent)==pytest.approx(by_hand/math.comb(30, 3))
