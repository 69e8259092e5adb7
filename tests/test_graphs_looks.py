"Hypergraphs drawn and written: everything is there, once; names stay names; what cannot be read is refused"
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.graphs import hypergraph
from quarantion.graphs.walk import fire, smoothing
from quarantion.inspect import plot_bipartite, plot_flow, plot_hull, plot_incidence, plot_rounds, to_mermaid, to_svg, to_tikz
from quarantion.inspect.graph_flow import rounds_of
from quarantion.inspect.graphs import around, best_places, levels, ordered, places, readable
from quarantion.paper import new_axes, png

TOY = hypergraph(dict(e1=['v1','v2','v3'], e2=['v2','v5'], e3=['v3','v4','v5']), nodes=['v1','v2','v3','v4','v5'])
names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=8)
def graphs_of(names):
    return st.builds(lambda nodes,edges: hypergraph({n:[nodes[i%len(nodes)] for i in m] for n,m in edges.items()}, nodes),
                     st.lists(names, min_size=1, max_size=7, unique=True), st.dictionaries(names, st.lists(st.integers(0, 99), max_size=5), max_size=5))
graphs = graphs_of(names)


@settings(max_examples=15, deadline=None)
@given(h=graphs, seed=st.integers(0, 9))
def test_texts_of_any_names_are_read_back(h, seed):
    "Mermaid by its code of letters, SVG by XML, TikZ by its braces"
    read = lambda s: re.sub(r'#(\d+);', lambda m: chr(int(m[1])), s)
    lines = to_mermaid(h).split('\n')[1:-1]
    said = [l.split('"')[1] for l in lines if '"' in l]
    assert [read(s) for s in said]==[*h.node_names,*h.edge_names] and all(l.count('"') in (0,2) for l in lines)
    assert {l.strip() for l in lines if '---' in l}=={f'v{i} --- e{j}' for i,j in zip(h.members, h.edge_of)}
    root = ElementTree.fromstring(to_svg(h, seed))
    kind = lambda k: root.findall(f'{{http://www.w3.org/2000/svg}}{k}')
    xml = lambda n: re.sub('[\0-\x1f\ufffe\uffff]', '\ufffd', n)
    assert [(t.text or '') for t in kind('text')]==[xml(n) for n in (*h.edge_names,*h.node_names)]
    assert (len(kind('polygon')),len(kind('circle')))==(h.n_edges,h.n_nodes)
    w,t = map(float, root.get('viewBox').split()[2:])
    at = [(float(c.get('cx')),float(c.get('cy'))) for c in kind('circle')]
    assert all(0<x<w and 0<y<t for x,y in at) and len(set(at))==len(at)
    tex = to_tikz(h, seed)
    bare = re.sub(r'\\[{}]', '', tex)
    assert bare.count('{')==bare.count('}') and tex.count('\\fill ')==h.n_nodes and tex.count(' \\draw[')==h.n_edges
    assert tex.count('\n')==9+h.n_nodes+2*h.n_edges # a name never breaks a line


@pytest.mark.skipif(not shutil.which('pdflatex'), reason='no TeX here')
def test_tex_compiles(tmp_path):
    odd = hypergraph({'a<b & "c"':['50 %','x_1','{}'], '#1;':['\\n','$5^2~'], 'none':[]})
    (tmp_path/'a.tex').write_text('\\documentclass{standalone}\\usepackage{tikz}\\begin{document}'+to_tikz(odd)+'\\end{document}')
    subprocess.run(['pdflatex','-interaction=batchmode','a.tex'], cwd=tmp_path, check=True)


@settings(max_examples=6, deadline=None)
@given(h=graphs_of(st.text(st.characters(max_codepoint=255, blacklist_characters='\0\xad'), max_size=8)), seed=st.integers(0, 9)) # which the font has
def test_pictures_have_every_name_and_are_the_same_again(h, seed):
    for draw in (lambda ax: plot_hull(h, seed, ax), lambda ax: plot_bipartite(h, ax)):
        a = draw(new_axes())
        assert sorted(t.get_text() for t in a.texts)==sorted(map(readable, (*h.node_names,*h.edge_names)))
    a,b = new_axes((2,2)),new_axes((2,2))
    assert png(plot_hull(h, seed, a).figure, 40)==png(plot_hull(h, seed, b).figure, 40)


@settings(max_examples=20, deadline=None)
@given(h=graphs)
def test_outlines_hold_their_members(h):
    from matplotlib.path import Path
    at,drawn,wrong = best_places(h, 0)
    lv,inside = levels(h),0
    for e,o in enumerate(drawn):
        own = set(h.members[h.edge_of==e].tolist())
        found = set(np.flatnonzero(Path(o).contains_points(at[:h.n_nodes])).tolist())
        assert own<=found
        inside += len(found-own)
        for f in range(e): assert lv[e]!=lv[f] or not own&set(h.members[h.edge_of==f].tolist())
    assert inside==wrong
    assert (places(h, 3)==places(h, 3)).all() and np.isfinite(at).all()
    for y in ordered(h): assert len(set(y.tolist()))==len(y) and ((y>0)&(y<1)).all()


@settings(max_examples=20, deadline=None)
@given(h=graphs, rounds=st.integers(1, 5), seed=st.integers(0, 9))
def test_rounds_are_steps_of_the_walk(h, rounds, seed):
    start = np.random.default_rng(seed).random(h.n_nodes)
    nodes,edges = rounds_of(h, start, rounds)
    half = np.sqrt(np.where(h.degrees>0, h.degrees, 1))
    x = start/half
    for n in nodes:
        assert np.allclose(n, half*x)
        x = smoothing(h)@x
    assert np.allclose(edges.sum(1), start[h.degrees>0].sum()) and np.allclose(nodes.sum(1), start.sum())


def test_the_table_is_exact_and_flow_says_what_it_leaves_out():
    cells = plot_incidence(TOY, new_axes()).images[0].get_array()[::80,::134,0][:,:3]
    assert (cells==0).astype(int).tolist()==[[1,0,0],[1,1,0],[1,0,1],[0,0,1],[0,1,1]]
    big = hypergraph([[f'v{i}',f'v{i+1}',f'v{7*i%900}'] for i in range(900)])
    r = np.zeros(big.n_nodes, int); r[5] = 10**9
    f = fire(big, r)
    ax = plot_flow(big, f.p, f.flow, nodes=6, edges=4, ax=new_axes())
    left = [1-np.sort(x/x.sum())[-n:].sum() for x,n in ((f.p,6), (f.flow,4))]
    assert ax.get_xlabel()==f'{left[0]:.1%} on {big.n_nodes-6} other nodes, {left[1]:.1%} on 896 other edges'
    assert [c.get_sizes().shape for c in ax.collections]==[(6,),(4,)] and len(ax.texts)==10
    assert len(plot_rounds(TOY, [1,0,0,0,0], 1, new_axes()).lines)==1+3


def test_near_ones():
    chain = hypergraph([[f'v{i}',f'v{i+1}'] for i in range(9)])
    assert around(chain, 'v:v4', 2).node_names==('v2','v3','v4','v5','v6') and around(chain, 'e:4', 0).node_names==('v4','v5')
    assert around(chain, 'v:v4', 0).n_edges==0 and around(chain, 'v:v4', 99)==chain


@pytest.mark.parametrize('draw,many,why', [(plot_hull,101,'1 to 100 nodes'), (plot_bipartite,81,'1 to 80 nodes'), (plot_incidence,2001,'1 to 2000 nodes'),
    (to_mermaid,201,'1 to 200 nodes'), (to_tikz,101,'1 to 100 nodes'), (to_svg,101,'1 to 100 nodes'), (lambda h: plot_rounds(h, np.ones(h.n_nodes)),25,'1 to 24 nodes')])
def test_too_many_and_none_are_refused(draw, many, why):
    for h in (hypergraph([[f'v{i}' for i in range(many)]]), hypergraph([])):
        with pytest.raises(CheckError, match=f'{why}.*takes some away.*`around` keeps what is near'): draw(h)


def test_masses_refused():
    for p,why in (([1,2],'n=5'), ([-1,0,0,0,2],'`p`'), ([0]*5,'mass somewhere'), ([np.nan]*5,'finite'), ('text','`p`')):
        with pytest.raises(CheckError, match=why): plot_flow(TOY, p, [1,1,1], ax=new_axes())
    for kw,why in ((dict(nodes=0),'`nodes`'), (dict(edges=61),'`edges`')):
        with pytest.raises(CheckError, match=why): plot_flow(TOY, [1]*5, [1]*3, ax=new_axes(), **kw)
    for kw,why in ((dict(start=[0]*5),'mass somewhere'), (dict(start=[1]*5, rounds=9),'`rounds`')):
        with pytest.raises(CheckError, match=why): plot_rounds(TOY, ax=new_axes(), **kw)
    with pytest.raises(CheckError, match='`steps`'): around(TOY, 'v:v1', -1)
