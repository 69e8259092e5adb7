"Cells hold what was put into them, and cones find what they were asked to, say what they read, and are the same after a file"
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.memory.parts.cells import cells_of, in_order
from quarantion.memory.codes import unit_rows
from quarantion.memory.cones import Cones, Reach, read_cells
from quarantion.memory.index import Index, load_index
from test_memory import KINDS, some


def groups(N, D, seed=0, spread=.6):
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(max(N//40, 1),D))[rng.integers(0, max(N//40, 1), N)]+spread*rng.normal(size=(N,D)))


def check_cells(t):
    "Each row lies where it says, in the cell that it says, and nothing else does"
    slot = t['slot']
    assert np.array_equal(np.sort(slot), np.unique(slot)) and np.array_equal(t.blocks[3][slot], np.arange(len(t)))
    assert np.array_equal(t.size, np.bincount(t['cell'], minlength=len(t.unit)))
    assert np.array_equal(np.sort(in_order(t)), np.arange(len(t)))
    L,chained = len(t.blocks[0])//16,[]
    for b in (*t.first,t.after[L]):
        while b>=0:
            chained.append(int(b))
            b = t.after[b]
    assert sorted(chained)==list(range(L)) # a block is in one chain, of a cell or of those that are free


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 150), st.integers(2, 40), st.integers(0, 99))
def test_all_cells_and_all_numbers_are_brute_force(kind, N, D, seed):
    x = unit_rows(some(kind, N, D, seed))
    t,k = cells_of(x, max(N//8, 1), seed),min(N, 7)
    check_cells(t)
    q = unit_rows(np.concatenate([some('noise', 3, D, seed+1),x[:3]])).astype(float)
    at,score,read = read_cells(t, q, k, np.arange(N), Reach(999, N, N))
    true = q@x.T.astype(float)
    np.testing.assert_allclose(score, -np.sort(-true, 1)[:,:k], atol=1e-12)
    assert (read[:,1:]==N).all()
    for i in range(len(q)):
        assert len(set(at[i]))==k
        if np.diff(np.sort(true[i])).min(initial=1)>1e-12: assert at[i].tolist()==np.argsort(-true[i])[:k].tolist()


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(['noise','alike','groups']), st.integers(40, 150), st.integers(8, 40), st.integers(0, 99))
def test_both_digits_are_near_the_truth(kind, N, D, seed):
    "The best by two digits are, up to what codes leave out, the best"
    x = unit_rows(some(kind, N, D, seed))
    q = unit_rows(some('noise', 4, D, seed+1)).astype(float)
    _,score,_ = read_cells(cells_of(x, 5, seed), q, 5, np.arange(N), Reach(999, N, 5))
    assert (np.sort(q@x.T.astype(float))[:,:-6:-1]-score).max()<.1


def test_ties_go_to_the_lowest_name():
    x = np.repeat(groups(5, 20), 30, 0)
    t,names = cells_of(x, 4, 0),np.random.default_rng(0).permutation(150)
    at,_,_ = read_cells(t, x[[7,40]].astype(float), 6, names, Reach(999, 150, 150))
    assert names[at].tolist()==[sorted(names[:30])[:6],sorted(names[30:60])[:6]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8), st.sampled_from([None,30]), st.integers(0, 99))
def test_adding_and_removing(turns, capacity, seed):
    rng = np.random.default_rng(seed)
    x = groups(60, 12, seed)
    p,rows = Cones(x, seed=seed, capacity=capacity),x
    for add,n in turns:
        if add:
            new = groups(n, 12, seed+n)
            p.add(new)
            rows = np.concatenate([rows,new])
        else:
            at = np.sort(rng.permutation(len(rows))[:min(n, len(rows)-1)])
            p.remove(at)
            keep = len(rows)-len(at)
            rows[at[at<keep]] = rows[np.setdiff1d(np.arange(keep, len(rows)), at)]
            rows = rows[:keep]
        check_cells(p.table)
        assert capacity is None or p.table.size.max()<=capacity
    assert np.array_equal(p.table['x'], rows)
    k = min(5, len(rows))
    q = groups(4, 12, 7).astype(float)
    at,_,_ = read_cells(p.table, q, k, np.arange(len(rows)), Reach(999, len(rows), len(rows)))
    assert np.array_equal(np.sort((q@rows.T.astype(float))[np.arange(4)[:,None],at]), np.sort(q@rows.T.astype(float))[:,-k:])


def test_what_came_and_went_again_changes_no_answer():
    x = groups(2000, 24)
    p,q,names = Cones(x),groups(50, 24, 1).astype(float),np.arange(2000)
    before = p.find_all(q, 5, names, 1)
    p.add(groups(20, 24, 2))
    p.remove(np.arange(2000, 2020))
    for a,b in zip(before, p.find_all(q, 5, names, 1)):
        assert set(a[0])==set(b[0]) and a[2].read.tolist()==b[2].read.tolist() and b[2].changed==.02


def test_threads_and_one_by_one():
    x,q = groups(1500, 40),groups(40, 40, 1).astype(float)
    p,names = Cones(x),np.arange(1500)
    one = p.find_all(q, 10, names, 1)
    for other in (p.find_all(q, 10, names, 5),[p.find(v, 10, names, 1) for v in q]):
        for a,b in zip(one, other):
            for u,v in zip((*a[:2],*a[2]), (*b[:2],*b[2])): assert np.array_equal(u, v)
    two = Cones(x)
    for k,v in two.columns().items(): assert np.array_equal(v, p.columns()[k]) # the seed says all


@pytest.mark.parametrize('recall', [.8,.95])
def test_recall_of_fresh_questions(recall):
    x = groups(4000, 32, 3, 1.2)
    x,q = x[:3000],x[3000:].astype(float)
    p = Cones(x, recall=recall)
    at = np.array([f[0] for f in p.find_all(q, 10, np.arange(3000), 1)])
    true = np.argsort(-(q@x.T.astype(float)), 1)[:,:10]
    found = np.mean([len(set(a)&set(b))/10 for a,b in zip(at, true)])
    said = p.find(q[0], 10, np.arange(3000), 1)[2]
    assert recall<=said.found<=recall+.02 and said.low<said.found<said.high and said.questions==750
    assert abs(found-recall)<.03
    assert said.read[1]<2000


def test_half_replaced():
    "Found as in an index that is built anew, at the same reading"
    x = groups(3500, 32, 4, 1.)
    x,q = x[:3000],x[3000:].astype(float)
    p,new = Cones(x[:2000]),x[1000:]
    p.remove(np.arange(1000))
    p.add(x[2000:])
    rows = p.table['x']
    def found(p):
        at = np.array([f[0] for f in p.find_all(q, 10, np.arange(2000), 1)])
        s = q@p.table['x'].T.astype(float)
        return (np.take_along_axis(s, at, 1)>=np.sort(s)[:,-10:-9]-1e-9).mean()
    assert np.array_equal(np.sort(rows, 0), np.sort(new, 0)) and p.find(q[0], 5, np.arange(2000), 1)[2].changed==1
    assert abs(found(p)-found(Cones(new)))<.03


def test_a_large_cell_is_cut():
    x = groups(400, 16)
    p = Cones(x, cells=8)
    near = unit_rows(x[:1]+.01*np.random.default_rng(0).normal(size=(900,16)))
    p.add(near)
    assert p.table.size.max()<=max(2*1300/len(p.table.unit), 32) and len(p.table.unit)>8
    p.add(np.repeat(x[:1], 500, 0)) # equal vectors can be halved only
    assert p.table.size.max()<=max(2*1800/len(p.table.unit), 32)
    check_cells(p.table)


def test_few_vectors_are_all_read_until_there_are_more():
    x = groups(400, 16)
    p = Cones(x[:100])
    said = p.find(x[0].astype(float), 3, np.arange(100), 1)[2]
    assert said.questions==0 and (said.low,said.high)==(0,1) and said.read[1:].tolist()==[100]*3
    p.add(x[100:])
    assert p.find(x[0].astype(float), 3, np.arange(400), 1)[2].questions==100
    one = Cones(x[:1])
    assert one.find(x[0].astype(float), 1, np.arange(1), 1)[0].tolist()==[0]


def test_more_neighbours_than_the_nearest_cells_hold():
    x = groups(1000, 16)
    p = Cones(x, recall=.5)
    for k in (200,1000):
        at,score,_ = p.find(x[0].astype(float), k, np.arange(1000), 1)
        assert len(set(at))==k and (np.diff(score)<=0).all()


def test_questions_of_another_kind():
    x,q = groups(2000, 24, 0, .8),groups(300, 24, 9, 1.)
    p = Cones(x, questions=q)
    at,_,said = p.find(q[0].astype(float), 10, np.arange(2000), 1)
    assert said.questions==300 and said.found>=.95


def test_files(tmp_path):
    x = groups(900, 20)
    ix = Index(x, ids=np.arange(900)*3, plan='cones', recall=.9, seed=5)
    ix.remove(np.arange(0, 300, 3))
    ix.add(x[:50])
    ix.save(p := tmp_path/'a.safetensors')
    back = load_index(p)
    for a,b in zip(ix.search(x[:9], 5)[:2], back.search(x[:9], 5)[:2]): assert np.array_equal(a, b)
    for a,b in zip(ix.search(x[:9], 5).proof, back.search(x[:9], 5).proof): assert np.array_equal(a, b)
    back.save(q := tmp_path/'b.safetensors')
    assert p.read_bytes()==q.read_bytes()
    assert np.array_equal(back.add(x[:7]), ix.add(x[:7])) and np.array_equal(back.search(x[:9], 5).ids, ix.search(x[:9], 5).ids)
    ix.save(p, floats=q)
    apart = load_index(p, q)
    assert np.array_equal(apart.search(x[:9], 5).ids, ix.search(x[:9], 5).ids)


def wrong(columns, **changed): return {k:v for k,v in dict(columns, **changed).items() if v is not None}


@pytest.mark.parametrize('name,change', [('columns',dict(low=None)), ('digits',dict(digits=lambda v: v[:,:3])), ('unit',dict(unit=lambda v: v.astype(float))),
    ('cell',dict(cell=lambda v: v+1000)), ('order',dict(order=lambda v: v*0)), ('signs',dict(signs=lambda v: v*2)), ('says',dict(says=lambda v: v*np.nan)),
    *(('says',dict(says=lambda v, i=i, s=s: np.where(np.arange(len(v))==i, s, v))) for i,s in ((0,2), (1,-1), (1,.5), (5,1.5), (6,1e300), (7,-1), (11,1e30)))])
def test_columns_that_do_not_fit(name, change):
    a = Cones(groups(300, 20)).columns()
    bad = {k:v for k,v in a.items() if change.get(k, v) is not None}
    for k,f in change.items():
        if f: bad[k] = f(bad[k])
    with pytest.raises(CheckError, match=f'{name}.*expected'): Cones.of_columns(bad, 'there')


@pytest.mark.parametrize('options,says', [(dict(recall=0.), 'above 0 and below 1'), (dict(recall=1.), 'above 0 and below 1'), (dict(cells=201), r'\[1, 200\]'), (dict(cells=0), r'\[1, 200\]'),
    (dict(cells=10, capacity=19), '20 or more, for 200 vectors in 10 cells'), (dict(capacity=0), '>= 1'), (dict(seed=-1), 'seed'), (dict(questions=np.ones((3,5))), 'vectors of 20 numbers'),
    (dict(questions=np.zeros((3,20))), 'a direction'), (dict(head=16), 'an option of plan cones'), (dict(metric='ip'), 'cosine')])
def test_options_that_do_not_fit(options, says):
    with pytest.raises(CheckError, match=says): Index(groups(200, 20), plan='cones', **options)
