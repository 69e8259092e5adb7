"""Hypergraphs go to other libraries and files and come back the same; what has no place is named or refused."""
import json
import warnings

import hypernetx as hnx
import networkx as nx
import numpy as np
import pytest
import requests
import xgi
from hypothesis import given, settings

from quarantion.checks import CheckError
from quarantion.graphs import (from_hypernetx, from_networkx, from_pyg, from_xgi, hypergraph, read_hif, to_hypernetx, to_networkx,
                               to_pyg, to_xgi, write_hif)
from test_graphs_store import DOMAINS, graphs, said

with warnings.catch_warnings(): # of what it imports
    warnings.simplefilter('ignore')
    import torch
    from torch_geometric.data import HeteroData
    from torch_geometric.data.hypergraph_data import HyperGraphData
    from torch_geometric.nn import HypergraphConv

pytestmark = pytest.mark.filterwarnings('ignore::FutureWarning', 'ignore::DeprecationWarning', 'ignore::ResourceWarning')


@pytest.fixture
def schema(monkeypatch):
    "HyperNetX fetches what HIF is; here it is said as the standard's table does"
    def record(*needs, **more):
        fields = {k: dict(type=['string', 'integer']) for k in needs}|dict(weight=dict(type='number'), attrs=dict(type='object'))|more
        return dict(type='array', items=dict(type='object', properties=fields, required=[*needs], additionalProperties=False))
    parts = dict(incidences=record('edge', 'node', direction=dict(enum=['head', 'tail'])), nodes=record('node'), edges=record('edge'))
    whole = {'type': 'object', 'properties': {'network-type': dict(enum=['undirected', 'directed', 'asc']),
             'metadata': dict(type='object')}|parts, 'required': ['incidences'], 'additionalProperties': False}
    class Page: text = json.dumps(whole)
    monkeypatch.setattr(requests, 'get', lambda *args, **kw: Page)


def domains(): return read_hif(DOMAINS)
def filled(h): return h.without(np.flatnonzero(np.diff(h.node_starts)==0), np.flatnonzero(h.sizes==0))
def quiet(f, *args):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return f(*args)


@given(graphs)
@settings(max_examples=25, deadline=None)
def test_there_and_back_is_the_same(h):
    for there, back in ((to_networkx, from_networkx), (to_xgi, from_xgi), (to_pyg, from_pyg)): assert back(there(h))==h
    h = filled(h)
    if all(n==n.encode(errors='ignore').decode() for n in h.node_names+h.edge_names): assert said(from_hypernetx(to_hypernetx(h)))==said(h)
    else:
        with pytest.raises(CheckError, match='UTF-8'): to_hypernetx(h)


@given(graphs)
@settings(max_examples=25, deadline=None)
def test_a_file_of_hif_and_back(tmp_path_factory, h):
    f = tmp_path_factory.mktemp('hif')/'h.json'
    write_hif(f, h)
    assert read_hif(f)==h
    assert said(from_xgi(xgi.read_hif(f)))==said(h)
    xgi.write_hif(to_xgi(h), f)
    assert said(read_hif(f))==said(h)


@pytest.mark.parametrize('weighted', (True, False))
def test_both_peers_read_our_file_and_we_theirs(tmp_path, schema, weighted):
    h, f = domains(), tmp_path/'h.json'
    if not weighted: h = type(h).of_arrays(h.edge_starts, h.members, 73, None, h.node_names, h.edge_names, None, h.edge_kinds)
    write_hif(f, h)
    whole,less = said(h),said(filled(h))
    theirs = xgi.read_hif(f)
    assert {e: theirs.edges.members(e) for e in theirs.edges}=={e: set(m) for e, (m, _, _) in whole[1].items()}
    assert (theirs.num_nodes, theirs.nodes.isolates().__len__())==(73, 1) and said(from_xgi(theirs))==whole
    other = hnx.from_hif(filename=f)
    assert {e: {*m} for e, m in other.incidence_dict.items()}=={e: set(m) for e, (m, _, _) in less[1].items()}
    assert {e: float(other.edges[e].weight) for e in other.edges}=={e: w for e, (_, w, _) in whole[1].items()}
    assert said(from_hypernetx(other))==less # the node in no edge is not seen there
    xgi.write_hif(theirs, tmp_path/'x.json')
    assert said(read_hif(tmp_path/'x.json'))==whole
    hnx.to_hif(other, tmp_path/'n.json')
    assert said(read_hif(tmp_path/'n.json'))==less
    assert said(from_hypernetx(hnx.from_hif(filename=tmp_path/'x.json')))==less
    assert said(quiet(from_xgi, xgi.read_hif(tmp_path/'n.json')))[0].keys()==less[0].keys()


def test_what_peers_made_themselves():
    women = nx.davis_southern_women_graph()
    w = quiet(from_networkx, women)
    assert {(w.node_names[v], w.edge_names[e]) for v, e in zip(w.members, w.edge_of)}=={tuple(sorted(p, key=lambda n: n[0]=='E' and n[1:].isdigit())) for p in women.edges}
    theirs = xgi.fast_random_hypergraph(20, [.1, .05], seed=1)
    h = from_xgi(theirs)
    assert sorted(map(tuple, ([int(h.node_names[i]) for i in h.members[a:b]] for a, b in zip(h.edge_starts, h.edge_starts[1:]))))== \
        sorted(tuple(sorted(m)) for m in theirs.edges.members())
    hn = hnx.Hypergraph({0: [1, 2, 3], 'x': [2]})
    assert said(from_hypernetx(hn))[1]=={'0': (frozenset('123'), 1, ''), 'x': (frozenset('2'), 1, '')}
    hyper = HyperGraphData(edge_index=torch.tensor([[0, 1, 2, 2], [0, 0, 0, 1]]), num_nodes=4)
    assert from_pyg(hyper).sizes.tolist()==[3, 1] and from_pyg(hyper).n_nodes==4


def test_a_layer_of_pyg_takes_what_it_is_given():
    h = filled(domains())
    data, H = to_pyg(h), np.zeros((h.n_nodes, h.n_edges))
    H[h.members, h.edge_of] = 1
    conv = HypergraphConv(4, 4, bias=False)
    torch.nn.init.eye_(conv.lin.weight)
    x = torch.randn(h.n_nodes, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): y = conv(x, data['node', 'in', 'edge'].edge_index, data['edge'].weight.float(), num_edges=h.n_edges)
    want = (H/h.sizes)@(H.T@x.double().numpy())/h.degrees[:, None] # theirs counts weights in degrees alone
    assert np.allclose(y.numpy(), want, atol=1e-5)


def warned(f, *args):
    with pytest.warns(UserWarning) as seen: f(*args)
    assert len(seen)==1 and '\n' not in str(seen[0].message)
    return str(seen[0].message)


def test_what_has_no_place_is_named_in_one_line(tmp_path):
    h = hypergraph(dict(e=['a', 'b']))
    g = to_networkx(h)
    g.nodes['v:a']['colour'], g.edges['v:a', 'e:e']['weight'], g.graph['name'], g.nodes['v:b']['kind'] = 'red', 2, 'x', 3
    assert warned(from_networkx, g)=='from_networkx: left out: `colour` of nodes, `kind` of nodes, `name` of the graph, `weight` of memberships'
    x = to_xgi(h)
    x.add_node('a', colour='red')
    x.add_edge(['a'], 'f', since=1990)
    assert 'left out: `colour` of nodes, `since` of edges' in warned(from_xgi, x)
    assert 'faces' in warned(from_xgi, xgi.SimplicialComplex([[1, 2, 3]]))
    n = hnx.Hypergraph({'e': {'a': dict(weight=2, role='head'), 'b': {}}}, node_properties={'a': dict(weight=3, age=4)}, name='x')
    assert warned(from_hypernetx, n)==('from_hypernetx: left out: `age` of nodes, `name` of the graph, `role` of memberships, '
                                       '`weight` of memberships, `weight` of nodes')
    assert 'nodes without edges (1)' in warned(to_hypernetx, hypergraph([['a']], ['lost']))
    p = to_pyg(h)
    p['node'].x, p['edge'].y, p['node', 'in', 'edge'].edge_attr = torch.zeros(2, 1), torch.zeros(1), torch.zeros(2)
    assert warned(from_pyg, p)=='from_pyg: left out: `edge_attr` of memberships, `x` of nodes, `y` of edges'
    f = tmp_path/'h.json'
    f.write_text(json.dumps({'network-type': 'asc', 'metadata': dict(by='x'), 'incidences': [dict(edge=1, node=2, weight=3, attrs=dict(role='x'))],
                             'nodes': [dict(node=2, weight=2)]}))
    assert warned(read_hif, f)==(f'{f}: left out: `by` of the file, `role` of memberships, `weight` of memberships, `weight` of nodes, '
                                 'that faces of edges are edges')


def bipartite(**more):
    g = nx.Graph()
    g.add_nodes_from([(1, dict(bipartite=0)), (2, dict(bipartite=1))])
    for k, v in more.items(): g.add_node(k, **v)
    return g
def other_pyg(**more):
    d = to_pyg(hypergraph([['a', 'b']]))
    for k, v in more.items(): d['edge' if k=='weight' else 'node'][k] = v
    return d
def beyond():
    d = to_pyg(hypergraph([['a', 'b']]))
    d['node', 'in', 'edge'].edge_index = torch.tensor([[0, 1], [0, 1]])
    return d


@pytest.mark.parametrize('f, made, says', [
    (from_networkx, lambda: nx.karate_club_graph(), '`bipartite of 0`'), (from_networkx, lambda: nx.DiGraph(), 'without directions'),
    (from_networkx, lambda: nx.Graph([(1, 2)]), 'bipartite'), (from_networkx, lambda: [[1]], 'networkx.Graph'),
    (from_networkx, lambda: bipartite(**{'1': dict(bipartite=0)}), 'names that differ as strings, found 1 and'),
    (from_networkx, lambda: bipartite(x=dict(bipartite=1, weight=0)), '`weights`'), (from_networkx, lambda: bipartite(x=dict(bipartite=1, weight='2')), '`weights`'),
    (from_networkx, lambda: bipartite(x=dict(bipartite=1, weight=float('nan'))), '`weights`'),
    (from_xgi, xgi.DiHypergraph, 'without directions'), (from_xgi, lambda: 3, 'xgi.Hypergraph'), (from_xgi, lambda: xgi.Hypergraph({'e': [1, '1']}), 'differ'),
    (from_hypernetx, lambda: {}, 'hypernetx.Hypergraph'), (from_hypernetx, lambda: hnx.Hypergraph({'e': [1, '1']}), 'differ'),
    (from_hypernetx, lambda: hnx.Hypergraph({'e': ['a']}, edge_properties={'e': dict(weight=-1)}), '`weights`'),
    (from_pyg, HeteroData, 'node, edge, and (node, in, edge)'), (from_pyg, lambda: 3, 'HeteroData'), (from_pyg, beyond, '`edge_index`'),
    (from_pyg, lambda: other_pyg(name=['a']), '`node_names`'), (from_pyg, lambda: other_pyg(name=['a', 'a']), '`node_names`'),
    (from_pyg, lambda: other_pyg(weight=torch.tensor([0.])), '`weights`')])
def test_what_is_refused(f, made, says):
    with pytest.raises(CheckError) as e: f(quiet(made))
    assert says in str(e.value) and '\n' not in str(e.value)


ONE = dict(edge='e', node='n')
@pytest.mark.parametrize('d, says', [
    ({}, '`incidences`'), ([], 'an object'), (dict(incidences=3), 'incidences: expected a list'), (dict(incidences=[3]), 'incidences[0]: record'),
    (dict(incidences=[dict(edge='e')]), '`node`: expected a string or a whole number'), (dict(incidences=[ONE|dict(node=1.5)]), '`node`'),
    (dict(incidences=[ONE|dict(node=True)]), '`node`'), (dict(incidences=[ONE|dict(role='x')]), "found 'role'"), (dict(incidences=[ONE|dict(weight='1')]), '`weight`'),
    (dict(incidences=[ONE|dict(attrs=[])]), '`attrs`'), (dict(incidences=[ONE|dict(direction='head')]), 'without a direction'),
    ({'network-type': 'directed', 'incidences': []}, '`network-type`'), ({'network-type': 3, 'incidences': []}, '`network-type`'),
    (dict(incidences=[], version=1), "found 'version'"), (dict(incidences=[], metadata=[]), '`metadata`'), (dict(incidences=[], nodes={}), 'nodes: expected a list'),
    (dict(incidences=[], edges=[dict(edge='e'), dict(edge='e')]), 'each once'), (dict(incidences=[], nodes=[dict(node=1), dict(node='1')]), 'differ'),
    (dict(incidences=[], edges=[dict(edge='e', weight=0)]), '`weights`'), (dict(incidences=[], edges=[dict(edge='e', weight=2, attrs=dict(weight=3))]), '`weight`')])
def test_files_that_are_no_hif(tmp_path, d, says):
    f = tmp_path/'h.json'
    f.write_text(json.dumps(d))
    with pytest.raises(CheckError) as e: read_hif(f)
    assert says in str(e.value) and '\n' not in str(e.value)
    f.write_text(json.dumps(d)[:-1])
    with pytest.raises(CheckError, match='JSON'): read_hif(f)


def test_a_library_that_is_missing_is_named(monkeypatch):
    import sys
    for name, f in dict(networkx=to_networkx, hypernetx=to_hypernetx, xgi=to_xgi).items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(CheckError, match=rf'{name}: expected it to be installed \(pip install {name}\)'): f(hypergraph([['a']]))
