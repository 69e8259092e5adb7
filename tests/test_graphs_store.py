"""Hypergraphs: known ones, what both ways of the arrays say, files, and what is refused."""
import shutil
import time
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.bench.packages import debian_dependencies, read_packages
from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.graphs import Hypergraph, components, hypergraph, load_hypergraph, read_hif, save_hypergraph

DOMAINS = Path(__file__).parent/'stored'/'domains.hif.json' # 73 nodes of four fields, 54 edges of three or four
WORDS = st.text(st.characters(exclude_characters='\0'), max_size=6)
graphs = st.builds(lambda edges, nodes, seed: drawn(edges, nodes, seed),
                   st.dictionaries(WORDS, st.lists(WORDS, max_size=6), max_size=6),
                   st.lists(WORDS, max_size=4, unique=True), st.integers(0, 2**32-1))


def drawn(edges, nodes, seed):
    r = np.random.default_rng(seed)
    names = {*nodes, *(n for those in edges.values() for n in those)}
    return hypergraph(edges, nodes, r.uniform(.1, 3, len(edges)), [*r.choice(['', 'k', 'l'], len(edges))],
                      {n: 'x' for n in names if len(n)%2})


def members(h): return [h.members[a:b].tolist() for a, b in pairwise(h.edge_starts)]
def said(h):
    "Everything by names, whatever the order"
    nodes = dict(zip(h.node_names, h.node_kinds))
    those = ({h.node_names[i] for i in m} for m in members(h))
    return nodes, dict(zip(h.edge_names, zip(map(frozenset, those), h.weights.tolist(), h.edge_kinds)))
def incidence(h):
    H = np.zeros((h.n_nodes, h.n_edges), int)
    H[h.members, h.edge_of] = 1
    return H
def laplacian(h, weights):
    "I − Dv^-½ H W De^-1 Hᵀ Dv^-½"
    H = incidence(h)
    d = H@weights
    G = H/np.sqrt(np.where(d>0, d, 1))[:, None]
    return np.eye(h.n_nodes)-G*(weights/H.sum(0))@G.T


def test_a_toy_has_the_rows_it_is_known_for():
    h = hypergraph(dict(e1=['v1', 'v2', 'v3'], e2=['v2', 'v5'], e3=['v3', 'v4', 'v5']), ['v1', 'v2', 'v3', 'v4', 'v5'])
    assert [''.join(map(str, row)) for row in incidence(h)]==['100', '110', '101', '001', '011']


def test_four_fields_have_eight_components_and_a_known_gap():
    h = read_hif(DOMAINS)
    c = components(h)
    assert (h.n_nodes, h.n_edges, len(h.members))==(73, 54, 170)
    assert c.max()+1==8 and sorted(np.bincount(c))==[1, 3, 3, 4, 13, 15, 16, 18]
    assert h.node_names[int(np.flatnonzero(h.degrees==0)[0])]=='c19' # in no edge, and a component
    eig = np.linalg.eigvalsh(laplacian(h, np.ones(54)))
    assert -1e-12<eig.min() and eig.max()<=1+1e-12
    assert abs(eig[eig>1e-9][0]-.10168391)<1e-8
    assert abs((e := np.linalg.eigvalsh(laplacian(h, h.weights)))[e>1e-9][0]-.10352337)<1e-8
    assert h.find('v:a1')==('v', 0) and h.find('e:a1')==('e', 0) # nodes and edges of one name


@given(graphs)
def test_both_ways_say_the_same(h):
    H = incidence(h)
    assert (H.sum(0)==h.sizes).all() and np.allclose(H@h.weights, h.degrees)
    there = [(v, e) for e, those in enumerate(members(h)) for v in those]
    back = [(v, e) for v, (a, b) in enumerate(pairwise(h.node_starts)) for e in h.edges_of[a:b].tolist()]
    assert sorted(there)==back and there==sorted(there, key=lambda p: p[::-1])
    assert h.node_starts.dtype==h.edge_starts.dtype==np.int64 and h.edges_of.dtype==h.members.dtype==np.int32
    for x in (h.edge_starts, h.members, h.weights, h.node_starts, h.edges_of, h.sizes, h.degrees, h.edge_of):
        assert not x.flags.writeable
    for kind, names in (('v', h.node_names), ('e', h.edge_names)):
        assert [h.find(h.name(kind, i)) for i in range(len(names))]==[(kind, i) for i in range(len(names))]


@given(graphs)
@settings(max_examples=30)
def test_a_file_holds_all_of_it(tmp_path_factory, h):
    f = tmp_path_factory.mktemp('h')
    save_hypergraph(f/'a', h)
    assert load_hypergraph(f/'a')==h
    save_hypergraph(f/'b', load_hypergraph(f/'a'))
    assert (f/'a').read_bytes()==(f/'b').read_bytes()


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_nodes_edges_and_members_means_nothing(h, r):
    v, e = r.sample(range(h.n_nodes), h.n_nodes), r.sample(range(h.n_edges), h.n_edges)
    at = {old: new for new, old in enumerate(v)}
    those = [[at[i] for i in r.sample(m, len(m))]+[at[n] for n in m[:1]] for m in (members(h)[i] for i in e)] # one twice
    other = Hypergraph.of_arrays(np.cumsum([0, *map(len, those)]), np.array(sum(those, []), int), h.n_nodes,
                                 h.weights[e], [h.node_names[i] for i in v], [h.edge_names[i] for i in e],
                                 [h.node_kinds[i] for i in v], [h.edge_kinds[i] for i in e])
    assert said(other)==said(h)
    assert np.allclose(other.degrees, h.degrees[v])
    assert len({(a, b) for a, b in zip(components(h)[v], components(other))})==len({*components(h)})


@given(graphs, st.data())
def test_without_is_what_was_never_there(h, data):
    nodes = data.draw(st.lists(st.sampled_from(h.node_names))) if h.n_nodes else []
    edges = data.draw(st.lists(st.sampled_from(h.edge_names))) if h.n_edges else []
    less = h.without(nodes, [h.find(f'e:{e}')[1] for e in edges])
    kinds, those = said(h)
    assert said(less)==({n: k for n, k in kinds.items() if n not in nodes},
                        {e: (m-{*nodes}, w, k) for e, (m, w, k) in those.items() if e not in edges})
    assert list(less.node_names)==[n for n in h.node_names if n not in nodes]
    assert h.without()==h


@given(graphs)
def test_components_are_those_of_networkx(h):
    g = nx.Graph()
    g.add_nodes_from(range(h.n_nodes))
    for m in members(h): nx.add_path(g, m)
    theirs = {frozenset(c) for c in nx.connected_components(g)}
    c = components(h)
    assert {frozenset(np.flatnonzero(c==i).tolist()) for i in {*c.tolist()}}==theirs
    first = [c.tolist().index(i) for i in range(len(theirs))]
    assert first==sorted(first)


def test_an_edge_of_fifty_thousand_members():
    h = hypergraph([map(str, range(50_000)), ['0', '1']])
    assert h.sizes.tolist()==[50_000, 2] and components(h).max()==0 and h.degrees[:3].tolist()==[2, 2, 1]
    assert h.without(edges=[0]).degrees.sum()==2


def test_a_large_one_is_made_in_no_time():
    r, E, V, M = np.random.default_rng(0), 63_440, 68_883, 376_094
    starts, those = np.sort(np.r_[0, r.integers(0, M+1, E-1), M]), r.integers(0, V, M)
    def cpu(f):
        t, out = time.process_time(), f()
        return time.process_time()-t, out
    took, h = min((cpu(lambda: Hypergraph.of_arrays(starts, those, V)) for _ in range(2)), key=lambda x: x[0])
    assert took<.2, f'{took:.3f} s from arrays'
    named = {f'p{i}': [f'n{k}' for k in those[a:b].tolist()] for i, (a, b) in enumerate(pairwise(starts.tolist()))}
    took, g = cpu(lambda: hypergraph(named))
    assert took<2, f'{took:.3f} s from lists'
    assert np.array_equal(g.sizes, h.sizes) and len(g.members)==len(h.members)


ONE = dict(edge_starts=[0, 2], members=[0, 1], n_nodes=2)
@pytest.mark.parametrize('change, says', [
    (dict(weights=[0.]), '`weights`: expected > 0, found 0'), (dict(weights=[-1.]), '`weights`'),
    (dict(weights=[np.nan]), '`weights`'), (dict(weights=[np.inf]), '`weights`'), (dict(weights=[1., 1.]), '`weights`'),
    (dict(members=[0, 2]), '`members`: expected numbers from 0 to 1, found 2'), (dict(members=[0, -1]), '`members`'),
    (dict(members=[0., 1.]), '`members`: expected a row of whole numbers'), (dict(members=[[0, 1]]), '`members`'),
    (dict(edge_starts=[0, 1]), '`edge_starts`'), (dict(edge_starts=[1, 2]), '`edge_starts`'),
    (dict(edge_starts=[0, 2, 1, 2]), '`edge_starts`'), (dict(edge_starts=[]), '`edge_starts`'),
    (dict(edge_starts=[0, 3]), '`edge_starts`'), (dict(n_nodes=-1), '`n_nodes`'), (dict(n_nodes=1.5), '`n_nodes`'),
    (dict(edge_starts=[0, 1, 2], edge_names=['e', 'e']), "`edge_names`: expected names that are all different, found 'e' twice"),
    (dict(node_names=['a', 'a']), '`node_names`'), (dict(node_names=['a']), '`node_names`: expected 2 strings, found 1'),
    (dict(node_names=['a', 1]), '`node_names`: expected strings, found 1'), (dict(node_names=['a', 'b\0']), '`node_names`'),
    (dict(node_names='ab'), '`node_names`'), (dict(node_kinds=['a', None]), '`node_kinds`'), (dict(edge_kinds=[]), '`edge_kinds`')])
def test_arrays_that_are_none_of_a_hypergraph(change, says):
    with pytest.raises(CheckError) as e: Hypergraph.of_arrays(**(ONE|change))
    assert says in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('args, says', [
    ((['ab'],), "edge '0': members: expected a list of names, found 'ab'"), (([dict(a=1)],), 'members'), (([None],), 'members'),
    (([['a', ['b']]],), 'names: expected strings'), (([['a', 1]],), 'strings'), (('ab',), '`edges`'), ((3,), '`edges`'),
    (([{'a', 1}],), 'strings'), (({1: ['a']},), '`edge_names`: expected strings, found 1'),
    (([], ['a', 'a']), '`nodes`'), (([], 'ab'), 'nodes'), (([['a']], (), dict(x=1.)), "`weights`: expected one of 1 names, found 'x'"),
    (([['a']], (), [0.]), '`weights`'), (([['a']], (), None, dict(x='k')), '`edge_kinds`'), (([['a']], (), None, None, dict(x='k')), '`node_kinds`')])
def test_lists_that_are_none_of_a_hypergraph(args, says):
    with pytest.raises(CheckError) as e: hypergraph(*args)
    assert says in str(e.value) and '\n' not in str(e.value)


def test_names_that_look_like_others():
    h = hypergraph({'v:a': ['e:b', 'v:a', '']}, nodes=[':'])
    assert [h.find(n) for n in ('v:v:a', 'e:v:a', 'v:e:b', 'v:', 'v::')]==[('v', 2), ('e', 0), ('v', 1), ('v', 3), ('v', 0)]
    for n in ('a', 'x:a', '', 'v', 'e:', 'V:a', 'v:a'):
        with pytest.raises(CheckError): h.find(n)
    for bad in (dict(nodes=['v:v:a']), dict(nodes=[9]), dict(nodes=[-1]), dict(nodes='a'), dict(edges=[True]), dict(edges=3), dict(nodes=[1.])):
        with pytest.raises(CheckError): h.without(**bad)


def test_a_file_that_was_cut_changed_or_is_of_another_version(tmp_path):
    h, f = read_hif(DOMAINS), tmp_path/'h'
    save_hypergraph(f, h)
    whole = f.read_bytes()
    for n in (0, 7, 8, len(whole)//2, len(whole)-1):
        f.write_bytes(whole[:n])
        with pytest.raises(CheckError, match=str(f)): load_hypergraph(f)
    for at in np.random.default_rng(0).integers(0, len(whole), 300):
        f.write_bytes(whole[:at]+bytes([whole[at]^1<<int(at)%8])+whole[at+1:])
        with pytest.raises(CheckError, match=str(f)): load_hypergraph(f)
    f.write_bytes(whole)
    tensors, head = load_tensors(f, 'quarantion hypergraph', 1)
    for change in (dict(version=2), dict(format='other'), dict(nodes=72), dict(edges='54'), dict(nodes=None)):
        save_tensors(f, tensors, head|change)
        with pytest.raises(CheckError, match=str(f)): load_hypergraph(f)
    for name, x in dict(members=tensors['members']+70, weights=-tensors['weights'], node_names=tensors['node_names'][:-4],
                        edge_starts=tensors['edge_starts'][::-1], edge_kinds=tensors['edge_kinds'].astype(np.int32)).items():
        save_tensors(f, tensors|{name: x}, head)
        with pytest.raises(CheckError, match=str(f)): load_hypergraph(f)
    save_tensors(f, {k: x for k, x in tensors.items() if k!='members'}, head)
    with pytest.raises(CheckError, match='members'): load_hypergraph(f)
    with pytest.raises(CheckError): load_hypergraph(tmp_path/'none')


LISTS = """Package: a
Version: 1
Pre-Depends: dpkg (>= 1.15.6~)
Depends: b:any (>= 2), c [amd64] <!nocheck> | d|e (<< 3),
 f
Description: Depends: nothing

Package: b
Recommends: a
Suggests: z

Package: b
Depends: g
"""


def test_packages_and_what_they_need():
    assert read_packages(LISTS)=={'a': ['a', 'dpkg', 'b', 'c', 'd', 'e', 'f'], 'b': ['b', 'g']} # the later b counts
    assert read_packages(LISTS, ('Suggests',))=={'a': ['a'], 'b': ['b']}
    h = debian_dependencies(LISTS)
    assert {n for n, k in zip(h.node_names, h.node_kinds) if k=='package'}=={'a', 'b'} and h.edge_names==('a', 'b')
    with pytest.raises(CheckError, match='at least one'): debian_dependencies('')


@pytest.mark.soak
@pytest.mark.skipif(not shutil.which('apt-cache'), reason='no apt here')
def test_what_debian_needs():
    h = debian_dependencies()
    assert h.n_edges>1000 and h.sizes.min()>=1 and h.node_kinds.count('package')==h.n_edges
    assert all(h.node_names[v]==n for n, v in ((n, h.find(f'v:{n}')[1]) for n in h.edge_names[:1000]))
