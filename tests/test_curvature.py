"Curvature beside general solvers, spectra beside dense ones, and what both do with odd graphs."
import tracemalloc
import warnings

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.graphs import curvature
from quarantion.graphs.curvature import edge_curvature, forman, ollivier, pairs_of
from quarantion.graphs.spectrum import decay, spectra, zhou_factor
from quarantion.graphs.store import Hypergraph, hypergraph


def graph(ends, V):
    ends = np.asarray(ends, np.int32).reshape(-1, 2)
    return Hypergraph.of_arrays(np.arange(0, ends.size+1, 2), ends.ravel(), V)


def drawn(rng, V, p):
    A = np.triu(rng.random((V,V))<p, 1)
    return graph(np.argwhere(A), V)


def hubs(rng, V, m):
    "Each node joins m earlier ones, those with many neighbours rather"
    ends,at = [],[*range(m)]
    for v in range(m, V):
        to = {at[i] for i in rng.integers(0, len(at), m)}
        ends += [(u,v) for u in to]
        at += [*to]+[v]*len(to)
    return graph(ends, V)


def by_pot(h, alpha, some):
    "κ of some pairs, of all masses and all distances, by POT's network simplex"
    ot = pytest.importorskip('ot')
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path
    p = pairs_of(h)
    A = csr_array((np.ones(len(p.nodes)), p.nodes, p.starts), shape=(h.n_nodes,)*2)
    D,M = shortest_path(A, unweighted=True),A.toarray()
    M = alpha*np.eye(len(M))+(1-alpha)*M/np.maximum(M.sum(1, keepdims=True), 1)
    out = []
    for u,v in p.ends[some]:
        a,b = M[u].nonzero()[0],M[v].nonzero()[0]
        out.append(1-ot.emd2(M[u,a], M[v,b], np.ascontiguousarray(D[np.ix_(a, b)])))
    return np.array(out)


@pytest.mark.parametrize('alpha', [0, .5, 1/3, .07])
def test_curvature_is_that_of_a_general_solver(alpha):
    "Thousands of pairs: thin and dense graphs, and graphs with hubs"
    rng,n,flows = np.random.default_rng(int(100*alpha)),0,0
    for h in [drawn(rng, 40, p) for p in (.05,.1,.2,.5,.8)]+[hubs(rng, 150, m) for m in (1,2,4)]:
        c = ollivier(h, alpha)
        some = rng.permutation(len(c.ends))[:150]
        assert np.abs(c.values[some]-by_pot(h, alpha, some)).max()<1e-12
        n,flows = n+len(some),flows+(1-c.alone)*len(some)
    assert n>800 and flows>400


def test_the_peer_says_the_same():
    "GraphRicciCurvature's exact way, on hypergraphs too: by their pairs"
    pytest.importorskip('GraphRicciCurvature')
    pytest.importorskip('networkit')
    from quarantion.bench.curvature import _theirs
    rng = np.random.default_rng(0)
    h = hypergraph([[str(v) for v in rng.choice(30, rng.integers(2, 6), False)] for _ in range(30)])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert np.abs(_theirs(h, 'OTD', 1)()-ollivier(h).values).max()<1e-8


def test_more_sinks_than_a_word_has_bits():
    "Two hubs with some hundreds of neighbours each, some common, some joined"
    rng = np.random.default_rng(1)
    a,b = [*range(2, 230)],[*range(180, 400)]
    joined = {tuple(sorted(e)) for e in np.c_[rng.choice(a, 300), rng.choice(b, 300)].tolist() if e[0]!=e[1]}
    ends = {(0,1)}|{(0,x) for x in a}|{(1,y) for y in b}|joined
    h = graph(sorted(ends), 400)
    c = ollivier(h)
    assert np.abs(c.values[:1]-by_pot(h, .5, [0])).max()<1e-12


def test_names_order_and_threads_change_nothing():
    rng = np.random.default_rng(2)
    h = drawn(rng, 30, .3)
    c,turn = ollivier(h),rng.permutation(30).astype(np.int32)
    g = ollivier(graph(turn[h.members.reshape(-1, 2)][rng.permutation(h.n_edges)], 30), threads=3)
    there = {frozenset(e):k for e,k in zip(g.ends.tolist(), g.values)}
    assert [there[frozenset(e)] for e in turn[c.ends].tolist()]==c.values.tolist()


@pytest.mark.parametrize('n', [2, 3, 6, 12])
def test_what_is_known_by_hand(n):
    "Complete graphs, rings, stars and paths"
    for alpha in (.5,.8):
        all = ollivier(graph(np.argwhere(np.triu(np.ones((n,n)), 1)), n), alpha).values
        assert np.allclose(all, (1-alpha)*n/(n-1), atol=1e-15)
    ring = graph([(i,(i+1)%(n+5)) for i in range(n+5)], n+5)
    assert np.allclose(ollivier(ring).values, 0 if n+5>=6 else .25)
    star = graph([(0,i+1) for i in range(n)], n+1)
    assert np.allclose(ollivier(star).values, 1/n) and ollivier(star).alone==1
    assert np.allclose(forman(star), 4-n-1)


def test_odd_graphs():
    "Pieces, nodes alone, loops, edges that stand twice, weights"
    h = hypergraph([['a','b'],['b','a'],['a','a'],['x','y'],['y','z'],['x','z']], nodes=['alone'])
    c = ollivier(h)
    assert len(c.ends)==4 and np.allclose(c.values, [1,.75,.75,.75])
    assert np.isnan(edge_curvature(h, c)).tolist()==[False,False,True,False,False,False]
    with pytest.warns(UserWarning, match='weights of edges are not used'): ollivier(hypergraph([['a','b']], weights=[2.]))
    assert len(ollivier(hypergraph([])).values)==0 and ollivier(hypergraph([[],['a']])).alone==0


def test_a_hub_of_fifty_thousand_is_no_matter():
    "Nor is one that has a hundred other neighbours with neighbours"
    n = 50000
    ends = np.c_[np.zeros(n, int), np.arange(1, n+1)].tolist()+[(i,i+1) for i in range(1, 100)]
    h = graph(ends, n+1)
    tracemalloc.start()
    c = ollivier(h)
    assert tracemalloc.get_traced_memory()[1]<1<<30
    tracemalloc.stop()
    leaf = c.values[(c.ends[:,0]==0)&(c.ends[:,1]>100)]
    assert np.allclose(leaf, 1/n) and np.isfinite(c.values).all()


def test_two_hubs_without_room_are_named(monkeypatch):
    h = hubs(np.random.default_rng(3), 300, 8)
    made = pairs_of(h)
    monkeypatch.setattr(curvature, 'pairs_of', lambda h: made)
    monkeypatch.setattr(curvature, '_ROOM', 400)
    with pytest.raises(CheckError, match='two hubs: expected at most 400 distances; leave out one of them, found v:'): ollivier(h)


def test_spectra_are_those_of_dense_matrices():
    "Random hypergraphs with weights, in pieces: eigenvalues in [0, 1], as many zeros as pieces"
    rng = np.random.default_rng(4)
    for _ in range(20):
        edges = [[str(v) for v in rng.choice(25, rng.integers(1, 5), False)] for _ in range(rng.integers(5, 30))]
        h = hypergraph(edges, nodes=[str(i) for i in range(25)], weights=rng.uniform(.1, 5, len(edges)))
        B = zhou_factor(h).toarray()
        L = np.linalg.eigvalsh(np.eye(25)-B@B.T)
        mine = np.sort(np.concatenate([s.values for s in spectra(h, 25) if len(s.nodes)>1 or h.degrees[s.nodes[0]]]))
        dense = L if (h.degrees>0).all() else np.sort(np.linalg.eigvalsh((np.eye(25)-B@B.T)[np.ix_(h.degrees>0, h.degrees>0)]))
        assert L.min()>-1e-12 and L.max()<1+1e-12 and np.abs(mine-dense).max()<1e-10


def test_large_components_go_to_arpack_and_agree():
    rng = np.random.default_rng(5)
    h = hubs(rng, 260, 3)
    s, = spectra(h, 5)
    B = zhou_factor(h).toarray()
    L = np.linalg.eigvalsh(np.eye(260)-B@B.T)
    assert np.abs(s.values-L[:6]).max()<1e-10 and abs(s.largest-L[-1])<1e-10
    d = decay(h, 7)
    assert abs(d.time*-np.log1p(-s.gap)-1)<.01


def test_graphs_have_half_of_their_normalized_laplacian():
    nx = pytest.importorskip('networkx')
    G = nx.karate_club_graph()
    h = graph([*G.edges()], len(G))
    theirs = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(G, weight=None).toarray())
    assert np.abs(spectra(h, 40)[0].values-theirs/2).max()<1e-10


def test_bench_says_what_is_not_installed(monkeypatch):
    "And still measures ours"
    pytest.importorskip('networkx')
    from quarantion.bench import curvature as page
    from quarantion.tables import table
    monkeypatch.setattr(page, '_theirs', lambda *a: None)
    rows = page.bench_curvature(1, True)
    assert len(rows)==3 and all(r.ours_s>0 and r.peer_s is None for r in rows) and 'peer not installed' in table(rows)


def test_flow_begins_with_curvature_and_finds_blocks():
    "The first step sees what `ollivier` says; blocks come out, pieces and nodes alone stay apart"
    pytest.importorskip('ot')
    from quarantion.graphs.ricci import flow_communities, ricci_flow
    rng = np.random.default_rng(6)
    same = np.repeat(np.arange(2), 8)
    A = np.triu(rng.random((16,16))<np.where(same[:,None]==same, .8, .03), 1)
    h = graph(np.argwhere(A), 17)
    flow = ricci_flow(h, 6)
    assert np.abs(flow.curvature[0]-ollivier(h).values).max()<1e-12
    assert np.allclose(flow.lengths.mean(1), 1) and flow_communities(h, flow).tolist()==[*same,2]
    assert flow_communities(hypergraph([]), ricci_flow(hypergraph([]), 1)).tolist()==[]
