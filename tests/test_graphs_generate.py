"A generator of hypergraphs: a likelihood that adds up, samples that follow it, numbers that are found again, likeness"
from itertools import combinations

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.graphs import (Generator, Hypergraph, chung_lu, core_nodes, fit_generator, hypergraph, rewired, shape_gaps,
                               shape_of, structure_attributes)
from quarantion.graphs.generate import _counts, _likelihood
from quarantion.inspect.graph_tails import plot_tails


def drawn(seed, V=30, E=25):
    r = np.random.default_rng(seed)
    return hypergraph([[str(i) for i in r.choice(V, r.integers(2, 7), False)] for _ in range(E)], [*map(str, range(V))])


def random_generator(seed, V=6, C=3, A=2, scale=1.):
    r = np.random.default_rng(seed)
    core = np.arange(V)<C
    return Generator(r.normal(size=(V,A)), r.permutation(core), r.normal(scale=scale, size=7*A+2), tuple(map(str, range(V))))


def by_hand(g, edge):
    "Probability of one edge, by a loop over seeds and over everybody else"
    A = g.attributes.shape[1]
    beta,among,away = np.split(g.numbers, [A,1+4*A])
    cores = np.flatnonzero(g.cores)
    pi = np.exp(g.attributes[cores]@beta)
    pi = dict(zip(cores.tolist(), pi/pi.sum()))
    def joins(q, x, to):
        u,t,w = q[1:].reshape(3, A)
        return 1/(1+np.exp(-(q[0]+u@x+t@to+w@(x*to))))
    total = 0.
    group = [v for v in edge if g.cores[v]]
    for s in group:
        p = pi[s]
        for v in range(len(g.cores)):
            if v==s: continue
            to = g.attributes[s] if g.cores[v] else g.attributes[group].mean(0)
            yes = joins(among if g.cores[v] else away, g.attributes[v], to)
            p *= yes if v in edge else 1-yes
        total += p
    return total


@pytest.mark.parametrize('seed,C', [(0,1),(1,3),(2,5),(3,6)])
def test_the_likelihood_is_what_one_counts_by_hand(seed, C):
    "Over all sets; also where everybody is a core, and where one is"
    g = random_generator(seed, C=C)
    sets = [c for k in range(2, 7) for c in combinations(range(6), k) if g.cores[list(c)].any()]
    p = np.array([by_hand(g, c) for c in sets])
    each = [g.log_likelihood(Hypergraph.of_arrays(np.array([0,len(c)]), np.array(c), 6)) for c in sets]
    assert np.allclose(np.exp(each), p/p.sum(), rtol=1e-9) and abs(np.exp(each).sum()-1)<1e-12
    every = Hypergraph.of_arrays(np.cumsum([0,*map(len, sets)]), np.concatenate(sets), 6)
    assert np.isclose(g.log_likelihood(every), sum(each))


def test_samples_follow_the_likelihood():
    g = random_generator(5, V=5, C=2, scale=.7)
    n = 30_000
    h = g.sample(n, 1)
    keys = np.bincount(h.edge_of, 2.**h.members)
    sets = [c for k in range(2, 6) for c in combinations(range(5), k) if g.cores[list(c)].any()]
    p = np.exp([g.log_likelihood(Hypergraph.of_arrays(np.array([0,len(c)]), np.array(c), 5)) for c in sets])
    seen = np.array([(keys==sum(2**i for i in c)).sum() for c in sets])
    assert seen.sum()==n and h.sizes.min()>=2
    assert (((seen-n*p)**2/(n*p)).sum()-len(p))/np.sqrt(2*len(p))<4


@pytest.mark.parametrize('seed', [0,1])
def test_numbers_are_found_again(seed):
    "Within their standard errors, of edges that were drawn; far away from the start"
    r = np.random.default_rng(seed)
    x,core = r.normal(size=(40,2)),np.arange(40)<10
    q = np.r_[r.normal(size=2),-2,r.normal(scale=.5, size=6),-3,r.normal(scale=.5, size=6)]
    h = Generator(x, core, q, tuple(map(str, range(40)))).sample(2500, seed)
    f = fit_generator(h, x, core, ridge=0.)
    two = [torch.tensor(x[c]) for c in (core,~core)]
    counts = _counts(h, x, core)
    H = torch.autograd.functional.hessian(lambda t: -_likelihood(t, counts, *two), torch.tensor(f.generator.numbers)).numpy()
    z = (f.generator.numbers-q)/np.sqrt(np.linalg.inv(H).diagonal())
    assert abs(z).max()<4.2 and .3<(z**2).mean()<2.5
    assert f.likelihood[-1]>=Generator(x, core, q, h.node_names).log_likelihood(h)
    assert np.isclose(f.likelihood[-1], f.generator.log_likelihood(h)) and f.penalty==0


@pytest.mark.parametrize('seed', range(3))
def test_the_way_never_goes_down(seed):
    h = drawn(seed)
    x = structure_attributes(h, 2)
    f = fit_generator(h, x)
    assert len(f.likelihood)>5 and (np.diff(f.likelihood)>=0).all()
    assert np.isclose(f.likelihood[-1]+f.penalty, f.generator.log_likelihood(h))


def test_the_order_of_nodes_and_edges_changes_nothing():
    h = drawn(4)
    x,turn = structure_attributes(h, 2),np.random.default_rng(0).permutation(30)
    back = np.argsort(turn)
    edges = np.random.default_rng(1).permutation(h.n_edges)
    g = hypergraph([[str(turn[i]) for i in h.members[h.edge_starts[e]:h.edge_starts[e+1]]] for e in edges], [*map(str, range(30))])
    core = core_nodes(h)
    a,b = fit_generator(h, x, core),fit_generator(g, x[back], core[back])
    assert np.isclose(a.likelihood[-1], b.likelihood[-1], atol=1e-3)
    assert np.isclose(b.generator.log_likelihood(g), Generator(x, core, b.generator.numbers, h.node_names).log_likelihood(h))


def test_cores_meet_every_edge():
    for seed in range(5):
        h = drawn(seed)
        for n in (0,12,30):
            core = core_nodes(h, n)
            assert core.sum()>=n and np.bincount(h.edge_of, core[h.members]).min()>0
        assert core.all() and core_nodes(h).sum()<15
    assert core_nodes(hypergraph([], ['a','b'])).sum()==0


def test_a_group_that_keeps_to_itself_is_seen_to():
    "Two kinds of nodes, edges of one kind each: what rewiring mixes, the generator keeps apart"
    r = np.random.default_rng(0)
    kind = np.arange(40)%2
    h = hypergraph([[str(i) for i in r.choice(np.flatnonzero(kind==e%2), r.integers(2, 6), False)] for e in range(120)], [*map(str, range(40))])
    x = kind[:,None]*1.
    g,true = fit_generator(h, x).generator,shape_of(h, x)
    ours,theirs = (np.mean([[*shape_gaps(true, shape_of(d(s), x)).values()] for s in range(5)], 0)
                   for d in (lambda s: g.sample(120, s), lambda s: rewired(h, s)))
    assert true.spread.max()==0 and ours[4]<.15<.5<theirs[4] # variance of kinds in an edge
    assert theirs[0]==theirs[1]==0<ours[0] # degrees and sizes are kept by what was rewired


def test_plain_models():
    h = drawn(7, 40, 60)
    r = [rewired(h, s) for s in (0,0,1)]
    assert r[0]==r[1]!=r[2] and r[0]!=h
    assert np.array_equal(r[0].degrees, h.degrees) and np.array_equal(r[0].sizes, h.sizes)
    c = [chung_lu(h, s) for s in range(200)]
    want = np.minimum(np.outer(np.diff(h.node_starts), h.sizes)/len(h.members), 1)
    assert np.allclose(np.mean([d.degrees for d in c], 0), want.sum(1), atol=.6)
    assert chung_lu(h, 3)==c[3]
    whole = hypergraph([['a','b'],['a','b']])
    assert rewired(whole)==whole # nothing can be exchanged


def test_shapes_are_those_of_a_dense_count():
    h = drawn(9, 20, 30)
    x = np.random.default_rng(0).normal(size=(20,3))
    B = np.zeros((30,20), int)
    B[h.edge_of,h.members] = 1
    s = shape_of(h, x)
    for got,m in ((s.shared,B@B.T),(s.together,B.T@B)):
        upper = m[np.triu_indices(len(m), 1)]
        assert np.array_equal(np.sort(got), np.sort(upper[upper>0]))
    assert np.allclose(s.spread, [x[b>0].var(0).sum() for b in B])
    paths = closed = 0
    for e,v in np.argwhere(B):
        for f in np.flatnonzero(B[:,v]):
            for w in np.flatnonzero(B[e]):
                if f!=e and w!=v: paths,closed = paths+1,closed+B[f,w]
    assert np.isclose(s.closed, closed/paths)
    assert set(shape_gaps(s, s).values())=={0}
    far = shape_of(hypergraph([['a','b']]), np.ones((2,1)))
    assert all(0<=v<=1 for v in shape_gaps(s, far).values())


def refused(f, *said):
    with pytest.raises(CheckError) as e: f()
    assert all(w in str(e.value) for w in said), str(e.value)


def test_what_is_refused():
    h = hypergraph([['a','b'],['b','c']])
    x,g = np.ones((3,1)),fit_generator(hypergraph([['a','b'],['b','c']]), np.ones((3,1))).generator
    refused(lambda: fit_generator(hypergraph([], nodes=['a']), np.ones((1,1))), 'an edge at least')
    refused(lambda: fit_generator(hypergraph([]), np.ones((0,1))), 'a node and an attribute at least')
    refused(lambda: fit_generator(hypergraph([['a','b'],['a']]), np.ones((2,1))), 'e:1', 'two members or more', 'found 1')
    refused(lambda: fit_generator(hypergraph([['a','b'],[]]), np.ones((2,1))), 'e:1', 'found 0')
    for bad in (np.nan,np.inf,1e4): refused(lambda bad=bad: fit_generator(h, np.array([[1.],[bad],[0]])), 'attributes')
    for shape in ((2,1),(3,),(3,0)): refused(lambda shape=shape: fit_generator(h, np.ones(shape)), 'attributes')
    for core in (np.zeros(3, bool),np.ones(2, bool),np.ones(3)): refused(lambda core=core: fit_generator(h, x, core), '`cores`')
    refused(lambda: fit_generator(h, x, np.arange(3)==0), 'e:1', 'a core')
    refused(lambda: fit_generator(h, x, ridge=-1.), '`ridge`')
    for n in (-1,4): refused(lambda n=n: core_nodes(h, n), '`n`', '0 to 3')
    for k in (-1,2): refused(lambda k=k: structure_attributes(h, k), '`k`', '0 to 1')
    for n,seed in ((0,0),(10**6+1,0),(3,-1),(3,.5),(3,'1'),(3,2**40)): refused(lambda n=n,seed=seed: g.sample(n, seed), '`')
    refused(lambda: g.log_likelihood(hypergraph([['a','b']])), '3 nodes', 'found 2')
    refused(lambda: Generator(x, np.ones(3, bool), np.r_[np.zeros(8),np.nan], ('a','b','c')), 'numbers')
    alone = Generator(x, g.cores, np.r_[0,[-30,0,0,0]*2], g.names)
    refused(lambda: alone.sample(5), 'a second member')
    with pytest.warns(UserWarning, match='still rises'): fit_generator(drawn(0), structure_attributes(drawn(0), 2), steps=2)
    with pytest.warns(UserWarning, match='weights of edges'): fit_generator(hypergraph([['a','b'],['b','c']], weights=[2.,1.]), x)


def test_tails_are_drawn():
    from quarantion.paper import new_axes, png
    rows = dict(data=np.array([1,1,2,9]), model=np.array([0,2,2,3]))
    pictures = []
    for _ in range(2):
        ax = new_axes()
        plot_tails(rows, 'edges', ax)
        pictures.append(png(ax.figure))
    assert pictures[0]==pictures[1]
    assert [l.get_label() for l in ax.lines]==['data','model']
    assert ax.lines[0].get_xdata().tolist()==[0,1,2,9] and ax.lines[0].get_ydata().tolist()==[1,1,.5,.25]
    refused(lambda: plot_tails({}), '`rows`')
    refused(lambda: plot_tails(dict(a=np.ones((2,2)))), 'a row of numbers')
