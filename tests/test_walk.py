"Walks on hypergraphs: they are those of a dense solve, of igraph, of any order of nodes; bounds hold; not a unit is lost."
import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.graphs.store import Hypergraph, hypergraph
from quarantion.graphs.walk import _leaves, dense_walk, fire, flow_of, raster, smoothing, walk


def drawn(V=90, E=120, seed=0, weights=True, largest=9):
    "A hypergraph with leaves, edges of one member, empty edges and nodes without edges"
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, largest, E)
    members = np.concatenate([rng.choice(V-5, s, False) for s in sizes]) if sizes.sum() else np.zeros(0, int)
    w = rng.uniform(.1, 3, E) if weights else None
    return Hypergraph.of_arrays(np.append(0, sizes.cumsum()), members, V, weights=w)


def starts(h, B=None, seed=1): return np.random.default_rng(seed).random((B,h.n_nodes) if B else h.n_nodes)


def by_series(h, r, alpha): # ours, without a solver: power in float64, of scipy-free numpy
    H = np.zeros((h.n_nodes,h.n_edges))
    H[h.members,h.edge_of] = 1
    P = H*(h.weights/np.maximum(h.sizes, 1))@H.T/np.where(h.degrees>0, h.degrees, 1)+np.diag(h.degrees==0)
    p = r = r/r.sum()
    for _ in range(4000): p = (1-alpha)*r+alpha*P@p
    return p


@pytest.mark.parametrize('alpha', [0, .3, .5, .85, .97])
@pytest.mark.parametrize('seed', range(4))
def test_the_reference_solves_the_walk(alpha, seed):
    h = drawn(seed=seed)
    r = starts(h, seed=seed)
    p = dense_walk(h, r, alpha)
    assert abs(p-by_series(h, r, alpha)).max()<1e-10 and p.sum()==pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize('gradients', [False, True, None])
@pytest.mark.parametrize('B', [None, 1, 3, 8, 19])
@pytest.mark.parametrize('alpha,error', [(0., 1e-3), (.3, 1e-5), (.5, 1e-3), (.5, 1e-5), (.85, 1e-3), (.97, 1e-3)])
def test_bounds_hold(alpha, error, B, gradients):
    for seed,few in (0,False),(1,True):
        h = drawn(seed=seed, weights=seed>0)
        r = starts(h, B, seed)
        if few: r[...,3:] = 0
        w = walk(h, r, alpha, error, gradients=gradients)
        off = abs(w.p.astype(float)-dense_walk(h, r, alpha)).sum(-1)
        assert (off<=w.error).all() and (w.error<=error).all() and w.p.dtype==np.float32 and w.p.shape==r.shape
        assert w.rounds.shape==w.error.shape==r.shape[:-1]
        assert abs(w.p.sum(-1, dtype=float)-1).max()<2e-6
        alone = dense_walk(h, r, alpha)[...,h.degrees==0].sum(-1)
        assert abs(w.flow.sum(-1, dtype=float)-(1-alone)).max()<3e-6 # what stays on nodes without edges passes through none


@pytest.mark.parametrize('alpha', [.3, .5, .51, .7, .85, .97, .99])
@pytest.mark.parametrize('B', [None, 9])
def test_edges_of_leaves_alone_keep_their_mass(alpha, B):
    "An edge whose members have no other: nothing is left open there, so that no bound would tell"
    rng = np.random.default_rng(0)
    sizes = [1,1,2,3,5,16,17,40]
    alone = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    hub = sum(sizes)
    stars = [[hub,hub+1+i] for i in range(30)]+[[hub,hub+31,hub+32],[hub+33]]
    h = hypergraph([[f'v{i}' for i in e] for e in [*alone,*stars]], weights=rng.uniform(.5, 2, len(sizes)+32))
    error = max(1e-4, 2**-20/(1-alpha))
    for at in (0,2,4,9,hub,hub+1,hub+33,None): # from one node, or from everywhere
        r = np.zeros(h.n_nodes)
        if at is None: r += rng.random(h.n_nodes)
        else: r[h.node_names.index(f'v{at}')] = 1
        true = dense_walk(h, r, alpha)
        for gradients in False,True:
            w = walk(h, r if B is None else [r]*B, alpha, error, gradients=gradients)
            assert (abs(w.p-true).sum(-1)<=w.error).all() and abs(w.p.sum(-1, dtype=float)-1).max()<2e-6, at


@pytest.mark.parametrize('alpha', [.5, .85, .97])
def test_packages_drawn_as_they_are(alpha):
    "Few hubs, most nodes with one edge, many edges of a single node: with a bound, and beside units"
    rng,V = np.random.default_rng(1),700
    edges = [[i,*np.minimum(V*rng.random(rng.integers(0, 5))**4, V-1).astype(int)] for i in range(500)]
    h = hypergraph([[f'v{j}' for j in e] for e in edges], nodes=[f'v{j}' for j in range(V)])
    for _ in range(10):
        r = np.zeros(V)
        r[rng.choice(V, 10, False)] = 1
        w = walk(h, r, alpha)
        assert abs(w.p-dense_walk(h, r, alpha)).sum()<=w.error<=1e-3
        f = fire(h, (r*2**40).astype(int), alpha)
        assert abs(f.p/f.p.sum()-dense_walk(h, r, alpha)).sum()<2.1e-3


@pytest.mark.parametrize('alpha', [.3, .5, .85])
def test_igraph_on_the_star_agrees(alpha):
    igraph = pytest.importorskip('igraph')
    h = drawn(weights=False, seed=3)
    h = h.without(nodes=np.flatnonzero(h.degrees==0).tolist())
    r = starts(h)
    g = igraph.Graph(h.n_nodes+h.n_edges, np.stack([h.members,h.n_nodes+h.edge_of], 1))
    q = np.array(g.personalized_pagerank(damping=alpha**.5, reset=[*r,*[0]*h.n_edges], directed=False))[:h.n_nodes]
    assert abs(q/q.sum()-dense_walk(h, r, alpha)).max()<1e-10


def test_names_may_change_places():
    h = drawn()
    rng,r = np.random.default_rng(5),starts(h)
    to,order = rng.permutation(h.n_nodes),rng.permutation(h.n_edges)
    edges = [to[h.members[h.edge_starts[e]:h.edge_starts[e+1]]] for e in order]
    other = Hypergraph.of_arrays(np.append(0, np.cumsum([len(e) for e in edges])), np.concatenate(edges), h.n_nodes, weights=h.weights[order])
    s = np.empty_like(r)
    s[to] = r
    assert abs(walk(other, s).p[to]-walk(h, r).p).sum()<2e-3
    assert abs(dense_walk(other, s)[to]-dense_walk(h, r)).max()<1e-14
    units,there = (r*1e12).astype(int),np.zeros(h.n_nodes, int)
    there[to] = units
    a,b = fire(h, units),fire(other, there)
    assert np.array_equal(b.p[to], a.p) and np.array_equal(b.flow, a.flow[order]) and a.rounds==b.rounds
    assert np.array_equal(b.left[:h.n_nodes][to], a.left[:h.n_nodes]) and np.array_equal(b.left[h.n_nodes:], a.left[h.n_nodes:][order])


def test_eigenvalues_and_graphs():
    for seed in range(5):
        low,*_,high = np.linalg.eigvalsh(smoothing(drawn(seed=seed)))
        assert -1e-12<low and high<1+1e-12
    pairs = [(0,1),(1,2),(2,3),(3,0),(1,3),(3,4)]
    h = hypergraph([[f'v{a}',f'v{b}'] for a,b in pairs], nodes=[f'v{i}' for i in range(5)])
    A = np.zeros((5,5))
    for a,b in pairs: A[a,b] = A[b,a] = 1
    half = A.sum(0)**-.5
    assert abs(np.eye(5)-smoothing(h)-(np.eye(5)-half[:,None]*A*half)/2).max()<1e-15


@pytest.mark.parametrize('alpha', [0, .5, .85])
@pytest.mark.parametrize('weights', [False, True])
def test_units_are_never_lost(alpha, weights):
    h = drawn(weights=weights, seed=7)
    units = np.random.default_rng(0).integers(0, 2**50, (2,h.n_nodes))
    units[:,9:] = 0
    f = fire(h, units, alpha, 1e-4)
    assert (f.p.sum(-1)+f.left.sum(-1)==units.sum(-1)).all() and (f.left>=0).all() and (f.p>=0).all()
    assert (f.left.sum(-1)<=1e-4*units.sum(-1)).all() and (f.left[:,h.n_nodes:]<np.maximum(h.sizes, 1)).all()
    off = abs(f.p/units.sum(-1, keepdims=True)-dense_walk(h, units, alpha)).sum(-1)
    assert (off<2e-4).all() # weights in 16 bits
    for threads in range(2, 9):
        g = fire(h, units, alpha, 1e-4, threads)
        assert all(getattr(g, k).tobytes()==getattr(f, k).tobytes() for k in ('p','flow','rounds','left'))
    once = units[0]
    who = raster(h, once, alpha, 1e-4, 3)
    assert who.shape==(f.rounds[0],h.n_nodes) and np.array_equal(who[0], once>0) and who[:,h.degrees==0].sum(0).max()<=1


def test_flow_of_units_is_that_of_the_walk():
    h = drawn(weights=False)
    h = h.without(nodes=np.flatnonzero(h.degrees==0).tolist())
    units = (starts(h)*1e15).astype(int)
    f,w = fire(h, units, .5, 1e-5),walk(h, units.astype(float), .5, 1e-5)
    assert abs(f.flow/f.flow.sum()-w.flow).sum()<5e-5


def test_corners():
    one = hypergraph([['a']])
    assert walk(one, [2.]).p.tolist()==[1] and fire(one, [10**6]).p.sum()>=999_000
    none = hypergraph([[]], nodes=['a','b']) # an empty edge, and nodes without edges
    assert walk(none, [1,3]).p.tolist()==[.25,.75] and fire(none, [5,0]).p.tolist()==[5,0]
    assert walk(none, [[1,3]]*9).p.tolist()==[[.25,.75]]*9
    with pytest.raises(CheckError, match='`restart`: expected mass on edges that have members'): walk(none, ([0,0],[1]))
    star = hypergraph([[f'v{i}' for i in range(200)]]) # leaves alone: sixteen are taken out
    assert _leaves(star).sum()==16
    w = walk(star, np.arange(200), .85, 1e-3)
    assert abs(w.p-dense_walk(star, np.arange(200), .85)).sum()<=w.error


def test_nothing_to_walk_on_and_nothing_to_start_from():
    "No nodes, no rows: a sentence, not what numpy says of shapes; no edges: mass stays"
    for h in (hypergraph([]), hypergraph([[]])):
        for shape in ((0,),(0,0),(3,0)):
            for f in (walk, dense_walk, fire, raster):
                with pytest.raises(CheckError, match='`h`: expected a node at least'): f(h, np.ones(shape, int))
        assert flow_of(h, np.ones((3,0))).shape==(3,h.n_edges)
    alone = hypergraph([], nodes=['a','b'])
    assert walk(alone, ([1,3],[])).p.tolist()==[.25,.75]
    assert walk(alone, ([[1,3]]*9,np.zeros((9,0)))).p.tolist()==[[.25,.75]]*9
    for f in (walk, dense_walk, fire):
        with pytest.raises(CheckError, match='a row at least'): f(alone, np.ones((0,2), int))


@pytest.mark.parametrize('seed', range(3))
def test_weights_huge_and_small(seed):
    h = drawn(seed=seed)
    for scale in 1e-300,1e300:
        other = Hypergraph.of_arrays(h.edge_starts, h.members, h.n_nodes, weights=h.weights*scale)
        assert np.array_equal(walk(other, starts(h)).p, walk(h, starts(h)).p) or abs(walk(other, starts(h)).p-walk(h, starts(h)).p).sum()<2e-3
        r = starts(h)
        assert abs(walk(h, r*scale).p-walk(h, r).p).sum()<1e-5
    uneven = Hypergraph.of_arrays(h.edge_starts, h.members, h.n_nodes, weights=10.**np.random.default_rng(seed).uniform(-6, 5, h.n_edges))
    for alpha in .5,.85:
        w = walk(uneven, starts(h), alpha)
        assert abs(w.p-dense_walk(uneven, starts(h), alpha)).sum()<=w.error<=1e-3
    with pytest.raises(CheckError, match='`weights`'):
        walk(Hypergraph.of_arrays(h.edge_starts, h.members, h.n_nodes, weights=10.**np.linspace(-20, 20, h.n_edges)), starts(h))


def test_an_edge_of_50000_members():
    rng = np.random.default_rng(0)
    few = [rng.choice(50_000, 5, False) for _ in range(3000)]
    starts_,members = np.append([0,50_000], 50_000+5*np.arange(1, 3001)),np.concatenate([np.arange(50_000),*few])
    h = Hypergraph.of_arrays(starts_, members, 50_000)
    r = np.zeros(50_000)
    r[:3] = 1
    def step(p): # float64
        q = p/h.degrees
        each = np.bincount(h.edge_of, q[h.members], h.n_edges)*h.weights/h.sizes
        return np.bincount(h.members, each[h.edge_of], h.n_nodes)
    p = r/3
    for _ in range(100): p = .5*r/3+.5*step(p)
    for rows in r,np.stack([r]*9):
        w = walk(h, rows)
        assert (abs(w.p.reshape(-1, 50_000)-p).sum(1)<=w.error).all()
    f = fire(h, (r*2**40).astype(int), threads=2)
    assert f.p.sum()+f.left.sum()==3*2**40 and abs(f.p/f.p.sum()-p).sum()<2.1e-3


@pytest.mark.parametrize('bad,said', [(dict(restart=np.zeros(90)), 'mass somewhere'), (dict(restart=-np.ones(90)), '>= 0'),
    (dict(restart=np.full(90, np.nan)), 'finite'), (dict(restart=np.full(90, np.inf)), 'finite'), (dict(restart=np.ones(89)), 'shape'),
    (dict(restart=np.ones((2,2,90))), 'shape'), (dict(restart=['a']*90), 'numbers'), (dict(restart=(np.ones(90),)), 'a pair'),
    (dict(restart=(np.ones((2,90)),np.ones(120))), 'as many rows'), (dict(alpha=1.), 'below 1'), (dict(alpha=-.1), 'in'),
    (dict(alpha=np.nan), 'alpha'), (dict(error=0.), 'in'), (dict(error=1e-6), 'in'), (dict(alpha=.9999, error=1e-3), 'in'), (dict(threads=0), 'in')])
def test_what_is_no_walk_is_refused(bad, said):
    h = drawn()
    with pytest.raises(CheckError, match=said): walk(h, **(dict(restart=np.ones(90))|bad))


@pytest.mark.parametrize('bad,said', [(dict(restart=np.zeros(90, int)), 'units somewhere'), (dict(restart=-np.ones(90, int)), '>= 0'),
    (dict(restart=np.ones(90)), 'whole numbers'), (dict(restart=np.full(90, 2**60)), 'at most'), (dict(restart=np.full(90, 2**64-1, np.uint64)), 'at most'),
    (dict(restart=np.ones(90, int)), 'at least'), (dict(alpha=1.), 'below 1'), (dict(error=0.), 'in'), (dict(threads=0), 'in')])
def test_units_that_do_not_fit_are_refused(bad, said):
    h = drawn()
    with pytest.raises(CheckError, match=said): fire(h, **(dict(restart=np.full(90, 2**40))|bad))


def test_the_largest_restart_fits():
    h = hypergraph([['a','b'],['b','c']])
    for alpha in .5,.85,.999:
        with pytest.raises(CheckError) as e: fire(h, [2**63-1,2**63-1,0], alpha)
        most = int(str(e.value).split('at most ')[1].split()[0])
        f = fire(h, [most,0,0], alpha)
        assert int(f.p.astype(object).sum())+int(f.left.astype(object).sum())==most and (f.flow>=0).all()
        with pytest.raises(CheckError, match=f'at most {most} units'): fire(h, [most,1,0], alpha)
