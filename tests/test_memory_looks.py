"Figures of searches and their explorer: what is drawn is what is known, and true; what is refused"
import base64
import re

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from matplotlib.text import Text

from quarantion.checks import CheckError
from quarantion.inspect import SearchExplorer, plot_frontier, plot_proof
from quarantion.inspect.nearest import in_both, question_of, see_bounds
from quarantion.inspect.search_explorer import BITS, of_hits, see_answer
from quarantion.memory import Index
from quarantion.memory.index import Hits
from quarantion.memory.exact import _second, ask, read_all, read_digits
from quarantion.paper import BLUE, GREY, ORANGE, RED, new_axes, png, rgb


def grouped(N, D, seed=0, groups=12):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups,D))
    return centres[rng.integers(0, groups, N)]+.5*rng.normal(size=(N,D)),rng


def truth(ix, q, metric):
    x = ix.plan.table.cols['x'][:len(ix)].astype(np.float64)
    return x@(q if metric=='ip' else question_of(ix, q))


@settings(max_examples=25, deadline=None)
@given(N=st.integers(1, 400), D=st.integers(2, 40), seed=st.integers(0, 99), k=st.integers(1, 12), kind=st.sampled_from(['groups','noise','same']),
       metric=st.sampled_from(['cosine','ip']), levels=st.sampled_from(['nonary','int4','ternary']))
def test_what_is_seen_is_true(N, D, seed, k, kind, metric, levels):
    "Of every vector the bound is at least its score; those that were found are the nearest; the first ones were looked at twice, and have their scores"
    x,rng = grouped(N, D, seed)
    if kind=='noise': x = rng.normal(size=(N,D))
    if kind=='same': x[:] = x[0]
    if metric=='ip': x = x*10.**rng.integers(-2, 3, (N,1))
    ix,q,k = Index(x, rng.permutation(10*N)[:N], metric=metric, levels=levels),x[0]+rng.normal(size=D)*seed/50,min(k, N)
    s,score = see_bounds(ix, q, k),truth(ix, q, metric)
    assert sorted(s.at)==list(range(N)) and (s.ids==ix.names.all[s.at]).all() and (np.diff(s.most)<=0).all()
    size = np.abs(score).max()
    assert (s.most>=score[s.at]-1e-12*size).all()
    assert set(s.ids[s.found])==set(ix.search(q, k).ids[0]) and s.found.sum()==k
    assert s.tau==pytest.approx(np.sort(score)[-k], abs=1e-9*size) and s.left<=s.tau+1e-6*size
    known = np.isfinite(s.score)
    assert known[:s.twice].all() and known[s.found].all() and np.allclose(s.score[known], score[s.at[known]], atol=1e-9*size)
    both = in_both(ix, q, s)
    assert (both.most[:s.twice]>=score[s.at[:s.twice]]-1e-9*size).all() and (both.most[s.twice:]==s.most[s.twice:]).all()


def test_second_digits_are_those_of_the_search():
    x,rng = grouped(3000, 48)
    ix,q = Index(x),x[7]+rng.normal(size=48)
    s = see_bounds(ix, q)
    both,p,unit = in_both(ix, q, s),ix.plan,question_of(ix, q)
    a = ask(unit, p.axes, len(p.first), p.off)
    dots = read_digits(p.table, a.ints[None], p.levels)[0]
    about,_ = read_all(p.table, a, dots)
    assert np.allclose(both.most[:s.twice], _second(p.table, a, s.at[:s.twice], dots, about), atol=1e-12)
    wide,narrow = (np.mean(v.most[:s.twice]-v.about[:s.twice]) for v in (s,both))
    assert narrow<wide/2


def drawn(ax): # points of each kind of mark
    lines = {l.get_color() if l.get_markersize()==6 else ('near' if l.get_markersize()>3 else 'far'):l.get_xydata() for l in ax.lines if l.get_marker()=='o'}
    return lines.get(BLUE),lines['near'],lines['far']


@pytest.mark.parametrize('N,D,noise,k', [(8000,64,.5,10), (8000,64,30.,10), (3,5,.1,3), (1,2,.1,1), (40,8,.2,40)])
def test_the_picture_of_a_proof(N, D, noise, k):
    x,rng = grouped(N, D)
    ix,q = Index(x),x[0]+noise*rng.normal(size=D)
    s,ax = see_bounds(ix, q, k),plot_proof(ix, q, k, new_axes((7,4)))
    found,near,far = drawn(ax)
    rank = np.flatnonzero(s.found)
    assert (found[:,0]==rank+1).all() and (found[:,1]==s.score[rank]).all()
    others = np.flatnonzero(np.isfinite(s.score)&~s.found)
    assert len(near)+len(far)==min(len(others), 4000)
    level, = [l.get_ydata() for l in ax.lines if l.get_color()==RED]
    assert set(level)=={s.tau}
    bars = ax.collections[0]
    b = min(N, 32)
    assert [p[:,1].tolist() for p in bars.get_segments()]==[pytest.approx([s.about[i],s.most[i]]) for i in range(b)]
    inks = (255*bars.get_colors()[:,:3]).round().astype(int).tolist()
    assert inks==[rgb(ORANGE if i<s.twice else GREY) for i in range(b)]
    for c in ax.collections[1:]: # a band never goes above the bounds, nor below the estimates
        v = c.get_paths()[0].vertices
        assert v[:,1].max()<=s.most[b:].max()+1e-6 and v[:,1].min()>=s.about[b:].min()-1e-6 and .5<v[:,0].min() and v[:,0].max()<=N+.5
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[0]==('the nearest' if k==1 else f'the {k} nearest') and any(f'{s.tau:.4f}' in w for w in words)
    assert (words[-1].startswith(f'{N-s.twice:,} left out'))==(N>s.twice)
    low,high = ax.get_ylim()
    assert low<=s.tau<=high and high>=s.most.max()


def test_figures_are_the_same_again_and_leave_pyplot_alone():
    import matplotlib.pyplot as plt
    plt.close('all')
    x,_ = grouped(2000, 16)
    ix,rows = Index(x),[dict(name=n, recall=r, qps=q, bytes=b) for n,r,q,b in (('exact',1,900.,430), ('peer',.9,4000.,1000), ('peer',.99,700.,1000))]
    for draw in lambda a: plot_proof(ix, x[3], ax=a), lambda a: plot_frontier(rows, ax=a):
        a,b = new_axes(),new_axes()
        assert draw(a) is a and draw(b) is b and png(a.figure)==png(b.figure)
    assert not plt.get_fignums()


def test_a_frontier_is_drawn_as_it_was_measured():
    rng = np.random.default_rng(0)
    names = ['exact','cones','resonance',*(f'peer {i}' for i in range(11))]
    rows = [dict(name=n, recall=float(r), qps=float(rng.uniform(10, 9000)), bytes=float(b), other=1) for n,b in zip(names, rng.uniform(200, 3000, 14)) for r in rng.uniform(.8, 1, 4)]
    ax = plot_frontier(rows, ax=new_axes((7,4)))
    for n,line in zip(names, ax.lines):
        want = sorted((r['recall'],r['qps']) for r in rows if r['name']==n)
        assert np.allclose(line.get_xydata(), want)
    sizes = [c.get_sizes() for c in ax.collections[:14]]
    assert np.allclose([s[0] for s in sizes], [next(r['bytes'] for r in rows if r['name']==n)/8 for n in names])
    assert len({(l.get_color(),l.get_linestyle(),l.get_linewidth()) for l in ax.lines})==14 # nobody looks like another
    ax.figure.canvas.draw()
    words = [Text.get_window_extent(t) for t in ax.texts] # without the line to its point
    assert {t.get_text() for t in ax.texts}==set(names)
    high = sorted((b.y0,b.y1) for b in words)
    assert all(a[1]<=b[0]+1 for a,b in zip(high, high[1:])) # names do not lie on each other


@pytest.mark.parametrize('rows,why', [([], 'at least one'), ([dict(name='a', recall=2., qps=1., bytes=1)], 'recall'), ([dict(name='a', recall=.5, qps=0., bytes=1)], 'qps'),
                                      ([dict(name='a', recall=.5, qps=1.)], 'no bytes'), ([dict(name='a', recall=float('nan'), qps=1., bytes=1)], 'recall')])
def test_frontiers_refused(rows, why):
    with pytest.raises(CheckError, match=why): plot_frontier(rows, ax=new_axes())


def test_proofs_refused():
    ix = Index(np.eye(4))
    for q,k,why in ((np.eye(4),2,'one question'), (np.ones(5),2,'questions of 4 numbers'), (np.ones(4),5,'`k`'), (np.zeros(4),2,'row 0 of `q`'), ('text',1,'`q`')):
        with pytest.raises(CheckError, match=why): plot_proof(ix, q, k, new_axes())


@settings(max_examples=20, deadline=None)
@given(N=st.integers(1, 600), seed=st.integers(0, 99), k=st.integers(1, 15), noise=st.floats(0, 3))
@example(N=554, seed=51, k=8, noise=2.25) # an estimate too high made the bar too high
def test_few_bits_never_doubt_too_little(N, seed, k, noise):
    "Whoever is among the nearest and was not found by few bits is counted among those that may be"
    x,rng = grouped(N, 24, seed)
    ix,k = Index(x),min(k, N)
    q = x[0]+noise*rng.normal(size=24)
    want = ix.search(q, k)
    for bits in BITS:
        a = see_answer(ix, q, k, bits)
        assert len(a.ids)==k and (np.diff(a.scores)<=0).all()
        assert (a.right==np.isin(a.ids, want.ids[0])).all() and k-a.right.sum()<=a.doubt
        assert a.seen.found.sum()==k and set(a.seen.ids[a.seen.found])==set(a.ids)
    assert a.right.all() and a.doubt==0 and (a.ids==want.ids[0]).all() and np.allclose(a.scores, want.scores[0], atol=1e-12)


def test_another_plan_is_compared_with_the_truth():
    class Said:
        def said(self, i=0): return 'read some'
    x,_ = grouped(500, 16)
    ix = Index(x)
    s,far = see_bounds(ix, x[5], 6),np.array([[*ix.search(x[5], 4).ids[0],499,-1]])
    if 499 in far[0,:4]: far[0,4] = 498
    a = of_hits(s, Hits(far, np.where(far<0, -np.inf, np.linspace(1, 0, 6)), Said()))
    assert len(a.ids)==5 and a.right.tolist()==[True]*4+[False] and a.proof=='read some'
    assert np.isfinite(a.seen.score[s.found]).all() # who was overlooked is still drawn


widget = pytest.importorskip('ipywidgets').widgets.widget


def explorer(**kw):
    x,_ = grouped(300, 12)
    return SearchExplorer(Index(x), **kw)


def words(lines): return np.array([[len(s),s.count('a'),*[1.]*(10 if s!='zzzz' else 0),*[0.]*(0 if s!='zzzz' else 10)] for s in lines])*(lines!=['zzzz'])


def test_the_explorer_promises():
    before = set(widget._instances)
    w = explorer(texts=[f'text {i}\nand more' for i in range(300)], embedder=words)
    assert w.picture.startswith(b'\x89PNG') and not w.message.value and w.question.value=='text 0'
    still = base64.b64decode(w._repr_mimebundle_()['image/png'])
    assert still.startswith(b'\x89PNG') and still!=w.picture # with what was found
    for k,v in dict(question='another', k=3, bits='first digits', noise=.5, dark=True).items():
        old = w.picture
        getattr(w, k).value = v
        assert w.picture!=old and not w.message.value, k
    assert w.hits.value.count('<tr')==3 and 'text ' in w.hits.value and w.words.value==''
    w.explain.value = True
    assert '“another” with noise 0.5' in w.say() and w.say()[:9] in w.words.value
    assert re.search(r'<img [^>]*alt="[^"]{60,}"', w.to_html()) and not re.search(r'(src|href)="(?!data:)', w.to_html())
    old = w.picture,w.hits.value
    w.question.value = 'zzzz'
    assert 'words that the embedder knows' in w.message.value and old==(w.picture,w.hits.value)
    w.question.value = 'again'
    assert not w.message.value
    w.close(); w.close()
    assert set(widget._instances)==before and repr(w).endswith('(closed)') and list(w._repr_mimebundle_())==['text/plain']


def test_the_explorer_asks_by_numbers_and_says_what_it_finds():
    w = explorer()
    w.question.value,w.k.value = 17,5
    ix = w._source.ix
    hit = ix.search(ix.plan.table.cols['x'][17], 5)
    assert w.answer().ids.tolist()==hit.ids[0].tolist() and w.answer().ids[0]==17
    for i,v in zip(hit.ids[0], hit.scores[0]): assert f'vector {i} ({v:.3f})' in w.say()
    q = w.asked()
    w.noise.value = 2.
    noise = w.asked()-q
    assert np.sqrt(noise@noise)==pytest.approx(2) and (explorer().asked()!=w.asked()).any()
    assert w.answer().ids.tolist()==ix.search(w.asked(), 5).ids[0].tolist()
    w.close()


def test_words_of_strangers_stay_words():
    w = explorer(texts=['<script>alert(1)</script>']*300, embedder=words)
    assert '<script' not in w.hits.value+w.image.value and '&lt;script&gt;' in w.hits.value
    w.close()


@pytest.mark.parametrize('given,why', [(dict(source=3), 'a Library, or an Index'), (dict(source=Index(np.eye(4)), texts=['a']), 'with one for each name'),
    (dict(source=Index(np.eye(4)), embedder=3), 'a function of a list of strings')])
def test_sources_refused(given, why):
    with pytest.raises(CheckError, match=why): SearchExplorer(**given)


def test_names_below_zero_and_what_a_plan_does_not_find():
    x = np.random.default_rng(0).normal(size=(60, 8))
    w = SearchExplorer(Index(x, -np.arange(60)-5))
    for p in ('cones','resonance'):
        w.plan.value = p
        assert not w.message.value and len(w.answer().ids)==10 and (w.answer().ids<0).all() and w.answer().right.all()
    w.close()


def test_embedders_that_fail_are_one_line():
    emptied = Index(np.eye(4))
    emptied.remove(np.arange(4))
    for ix,kw,why in ((emptied,{},'at least one vector'), (Index(np.eye(4)),dict(texts=['a',3,'b','c']),'`texts`: expected strings, found 3'),
                      (Index(np.eye(4)),dict(texts=['a']*4, embedder=lambda s: 1/0),'ZeroDivisionError'),
                      (Index(np.eye(4)),dict(texts=['a']*4, embedder=lambda s: None),'a vector of 4 numbers'),
                      (Index(np.eye(4)),dict(texts=['a']*4, embedder=lambda s: np.ones((1,5))),'d=4'),
                      (Index(np.eye(4)),dict(texts=['a']*4, embedder=lambda s: np.full((1,4), np.nan)),'finite')):
        with pytest.raises(CheckError, match=why): SearchExplorer(ix, **kw).answer()


def test_a_library_is_explored_and_one_without_vectors_refused(tmp_path):
    from quarantion.memory import open_library
    for i,s in enumerate(('read lines of a file', 'write lines to a file', 'a thread that waits for a lock', 'locks for threads', 'parse numbers of a line')):
        (tmp_path/f'{i}.py').write_text(f'"""{s} that is long enough to be kept as a text of its own, with number {i}"""\n')
    lib = open_library(tmp_path, folder=tmp_path/'lsa', embed='lsa')
    w = SearchExplorer(lib)
    w.question.value,w.k.value = 'lock threads',2
    found = {lib.corpus.first_line(int(i))[:12] for i in w.answer().ids}
    assert not w.message.value and any('thread' in lib.corpus.texts[int(i)] for i in w.answer().ids), found
    w.close()
    with pytest.raises(CheckError, match='a library with vectors'): SearchExplorer(open_library(tmp_path, folder=tmp_path/'words', embed='tfidf'))
