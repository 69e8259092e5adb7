"""Layers on hypergraphs beside PyTorch Geometric's, the ball beside geoopt's, and what is refused."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.checks import CheckError
from quarantion.geometry import (BallLinear, ball_distance, distortion, embed_distances, exp0, log0, mobius_add,
                                 to_ball)
from quarantion.graphs import HypergraphAttention, HypergraphConv, Incidence, hypergraph

KINDS = HypergraphConv,HypergraphAttention


def drawn(seed, V=30, E=20):
    "Also with empty edges, and nodes without"
    r = np.random.default_rng(seed)
    edges = [[str(i) for i in r.choice(V-3, r.integers(0, 6), False)] for _ in range(E)]
    return hypergraph(edges, [str(i) for i in range(V)], r.uniform(.1, 3, E))


def made(kind, n_in=4, n_out=3, **how):
    torch.manual_seed(0)
    layer = kind(n_in, n_out, **how).double()
    if layer.bias is not None: torch.nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize('seed', range(5))
def test_convolution_is_that_of_pytorch_geometric_by_way_of_roots_of_degrees(seed):
    peer = pytest.importorskip('torch_geometric.nn')
    "Its weights only divide; edges that stand there several times are as heavy as ours"
    h,r = drawn(seed),np.random.default_rng(seed)
    times = r.integers(1, 4, h.n_edges)
    h = replace(h, weights=times.astype(float))
    x = torch.randn(h.n_nodes, 4, dtype=torch.float64)
    theirs,ours = peer.HypergraphConv(4, 3, bias=False).double(),made(HypergraphConv, bias=False)
    theirs.lin.weight.data = ours.theta.weight.data
    first = np.cumsum(times)-times # of the copies of each edge
    index = np.concatenate([[[m,first[e]+k] for k in range(times[e])] for m,e in zip(h.members, h.edge_of)]).T
    root = torch.tensor(np.sqrt(h.degrees))[:,None]
    inverse = torch.where(root>0, 1/root, 0.)
    want = root*theirs(inverse*x, torch.tensor(index, dtype=torch.int64), num_edges=int(times.sum()))
    assert torch.allclose(ours(x, Incidence(h, torch.float64)), want, rtol=0, atol=1e-12)
    got = ours.float()(x.float(), Incidence(h))
    assert got.dtype==torch.float32 and torch.allclose(got.double(), want, rtol=0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_operator_is_symmetric_with_eigenvalues_from_0_to_1(seed):
    S = Incidence(drawn(seed), torch.float64).mix(torch.eye(30, dtype=torch.float64)).numpy()
    w = np.linalg.eigvalsh(S)
    assert abs(S-S.T).max()<1e-12 and w.min()>-1e-12 and w.max()<1+1e-12


@pytest.mark.parametrize('kind', KINDS)
def test_nodes_and_edges_by_other_numbers_are_the_same(kind):
    h,r = drawn(1),np.random.default_rng(1)
    nodes,edges = r.permutation(h.n_nodes),r.permutation(h.n_edges)
    of = {h.edge_names[e]:[h.node_names[i] for i in h.members[h.edge_starts[e]:h.edge_starts[e+1]]] for e in edges}
    other = hypergraph(of, [h.node_names[i] for i in nodes], h.weights[edges])
    x,layer = torch.randn(h.n_nodes, 4, dtype=torch.float64),made(kind, act=torch.tanh)
    a,b = layer(x, Incidence(h, torch.float64)),layer(x[nodes], Incidence(other, torch.float64))
    assert torch.allclose(a[nodes], b, rtol=0, atol=1e-12)


@pytest.mark.parametrize('kind', KINDS)
def test_a_node_alone_has_the_bias_and_gradients_are_those_of_differences(kind):
    on,layer = Incidence(drawn(2), torch.float64),made(kind)
    x = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(layer(x, on)[-3:], layer.bias.expand(3, -1)) # the last three are in no edge
    assert torch.autograd.gradcheck(lambda x: layer(x, on), x)
    layer(x, on).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_attention_bears_scores_that_lie_far_apart():
    "A softmax over all edges at once would leave a node with nothing"
    h = hypergraph([['a','b'],['c','d']])
    layer = made(HypergraphAttention, 1, 1, bias=False)
    layer.theta.weight.data.fill_(1); layer.score.weight.data.fill_(1)
    x = torch.tensor([[2000.],[2000.],[-2000.],[-2000.]], dtype=torch.float64)
    assert torch.equal(layer(x, Incidence(h, torch.float64)), x)


WRONG = dict(rows=(torch.zeros(29, 4), 'shape'), width=(torch.zeros(30, 5), 'shape'), axes=(torch.zeros(30), 'shape'),
             nan=(torch.full((30,4), torch.nan), 'finite'), inf=(torch.full((30,4), torch.inf), 'finite'),
             dtype=(torch.zeros(30, 4, dtype=torch.float64), 'float32'), whole=(torch.zeros(30, 4, dtype=torch.int64), 'float32'),
             array=(np.zeros((30,4), np.float32), 'tensor'))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_vectors_are_named(kind, wrong):
    x,said = WRONG[wrong]
    with pytest.raises(CheckError, match=said) as e: kind(4, 3)(x, Incidence(drawn(0)))
    assert '`x`' in str(e.value) and '\n' not in str(e.value)


def test_no_nodes_and_a_layer_of_another_dtype_are_refused():
    with pytest.raises(CheckError, match='at least one node'): Incidence(hypergraph([]))
    with pytest.raises(CheckError, match='as its weights are'): HypergraphConv(4, 3)(torch.zeros(30, 4).double(), Incidence(drawn(0), torch.float64))
    with pytest.raises(CheckError, match='`n_in`'): HypergraphConv(0, 3)


def points(c, n=200, dtype=torch.float64, long=2., seed=0):
    v = torch.randn(n, 3, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return exp0(v*long/v.norm(dim=1, keepdim=True)*torch.linspace(0, 1, n, dtype=dtype)[:,None]/c**.5, c)


@pytest.mark.parametrize('c', (.25,1.,4.)) # whose roots float32 has, in which geoopt keeps them
def test_the_ball_is_that_of_geoopt(c):
    peer = pytest.importorskip('geoopt').PoincareBall(c)
    x,y = points(c),points(c, seed=1)
    v = log0(x, c)
    near = lambda a, b, most=1e-9: torch.allclose(a, b, rtol=0, atol=most)
    assert near(exp0(v, c), peer.expmap0(v)) and near(v, peer.logmap0(x))
    assert near(mobius_add(x, y, c), peer.mobius_add(x, y)) and near(ball_distance(x, y, c), peer.dist(x, y))
    layer = BallLinear(3, 2, c).double()
    torch.nn.init.normal_(layer.bias)
    want = peer.mobius_add(peer.mobius_matvec(layer.linear.weight, x), peer.expmap0(layer.bias))
    assert near(layer(x), want)


@pytest.mark.parametrize('dtype', (torch.float32,torch.float64))
@pytest.mark.parametrize('c', (.1,1.,4.))
def test_in_and_out_and_sums_to_nothing(dtype, c):
    v = torch.randn(500, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    v *= torch.linspace(0, 1, 500, dtype=dtype)[:,None]/v.norm(dim=1, keepdim=True)/c**.5
    assert (log0(exp0(v, c), c)-v).abs().max()*c**.5<1e-6
    for x in exp0(v, c),to_ball(1e3*v, c): assert not mobius_add(x, -x, c).any() # up to the rim


@pytest.mark.parametrize('dtype', (torch.float32,torch.float64))
@pytest.mark.parametrize('start', (0.,1e-20,1e-8,.5,1-1e-5,1.,1e4,1e15))
def test_gradients_are_finite_from_the_centre_to_beyond_the_rim(dtype, start):
    for c in .1,1.,4.:
        v = torch.zeros(2, 3, dtype=dtype)
        v[0,0],v[1,2] = start/c**.5,-start/c**.5
        v.requires_grad_()
        p = to_ball(v, c)
        for out in exp0(v, c),log0(p, c),mobius_add(p, p.flip(0), c),mobius_add(p, -p, c),ball_distance(p, p.flip(0), c),ball_distance(p, p.detach(), c):
            g, = torch.autograd.grad(out.sum(), v, retain_graph=True)
            assert out.isfinite().all() and g.isfinite().all(), (c, out, g)


def test_what_lies_outside_is_refused_and_so_is_a_space_that_is_not_curved():
    out,inside = torch.tensor([[.1,.2],[.8,.9]]),torch.tensor([[.1,.2]])
    for f in log0,lambda x: mobius_add(x, x),lambda x: ball_distance(x, x),BallLinear(2, 2):
        with pytest.raises(CheckError, match='points of the ball.*found ‖x‖ = 1.20416'): f(out)
    assert torch.equal(log0(inside), log0(out[:1]))
    for c in 0.,-1.,float('nan'),float('inf'):
        for f in exp0,log0,to_ball,lambda x, c: mobius_add(x, x, c),lambda x, c: BallLinear(2, 2, c):
            with pytest.raises(CheckError, match='`c`'): f(inside, c)
    with pytest.raises(CheckError, match='as `x` has'): mobius_add(inside, inside.double())
    with pytest.raises(CheckError, match='broadcasts'): mobius_add(inside.expand(2, 2), inside.expand(3, 2))
    with pytest.raises(CheckError, match='dtype'): exp0(inside.half())


def test_a_tree_lies_better_in_the_disk_than_in_the_plane():
    import networkx as nx
    wanted = np.array(nx.floyd_warshall_numpy(nx.balanced_tree(2, 4)))
    plane = embed_distances(wanted, lambda v: torch.cdist(v, v), steps=150)
    disk = embed_distances(wanted, lambda v: ball_distance(exp0(v)[:,None], exp0(v)[None]), steps=150)
    assert disk.distortion<.7*plane.distortion and disk.losses[-1]<disk.losses[0]
    assert distortion(7*wanted, wanted)<1e-12
