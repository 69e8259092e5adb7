"Codes bound what they leave out, exact search is brute force, and an index is what was put into it"
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.memory.codes import TOPS, best_code, encode_rows, new_axes, unit_rows
from quarantion.memory.exact import ask, read_all
from quarantion.memory.index import Index, load_index
from quarantion.memory.table import Table

KINDS = 'noise','alike','groups','few','sparse','equal','tiny'


def some(kind, N, D, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N,D))
    if kind=='alike': x = x*.3+1
    if kind=='groups': x = x[rng.integers(0, min(3, N), N)]+.05*x
    if kind=='few': x = rng.integers(-1, 2, (N,D)).astype(float)
    if kind=='sparse': x *= rng.random((N,D))<.1
    if kind=='equal': x = x[rng.integers(0, min(4, N), N)]
    if kind=='tiny': x *= 10.**rng.integers(-30, 30, (N,1))
    x[~x.any(1),0] = 1
    return x


def brute(x, q, k):
    "By float64 products of the float32 vectors that are stored; equal ones by their places"
    s = unit_rows(q).astype(float)@unit_rows(x).astype(float).T
    return np.array([np.lexsort((np.arange(len(x)), -np.round(v, 13)))[:k] for v in s]),s


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 150), st.integers(2, 40), st.integers(0, 9), st.integers(0, 17))
def test_exact_search_is_brute_force(kind, N, D, seed, head):
    x,k = some(kind, N, D, seed),min(N, 7)
    q = np.concatenate([some('noise', 3, D, seed+1),x[:3]])
    ix = Index(x, head=min(head, D-1, N))
    hit = ix.search(q, k)
    want,s = brute(x, q, k)
    for i in range(len(q)):
        np.testing.assert_allclose(hit.scores[i], np.sort(s[i])[::-1][:k], atol=1e-12) # whoever it is among near ties
        apart = np.diff(np.sort(s[i])).min(initial=1)>1e-12
        if apart: assert hit.ids[i].tolist()==want[i].tolist()
    assert (hit.proof.left_out<=hit.proof.tau).all()
    for a,b in zip(hit[:2], ix.search(q, k, threads=3)[:2]): assert np.array_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(2, 40), st.integers(0, 99))
def test_a_bound_is_never_below_the_truth(kind, D, seed):
    x = some(kind, 64, D, seed)
    ix = Index(x, seed=seed)
    t,stored = ix.plan.table,ix.plan.table.rows['x'][:64].astype(float)
    near = stored[0]-1e-3*stored[1]
    for q in (*some('noise', 2, D, seed+1),stored[0],-stored[1],near,np.eye(D)[0]):
        u = unit_rows(q[None])[0].astype(float)
        a = ask(u, ix.plan.axes, ix.plan.worth, 2*t.rows['digits'].shape[1])
        _,_,bound = read_all(t, a)
        assert (bound[:64].astype(float)>=stored@u).all()


def test_a_bound_meets_the_truth():
    "A vector that a code describes exactly, asked for in numbers that eight bits hold, has no room left but the slack"
    x = np.array([[4.,-4,0,4,0,-4,4,4],[1,2,3,4,4,3,2,1]])
    p = Index(x, head=0).plan
    p.axes,p.table = np.eye(8),Table()
    p.add(unit_rows(x))
    u = unit_rows(x[:1])[0].astype(float)
    a = ask(u, p.axes, p.worth, 8)
    assert (a.ints==127*np.sign(x[0])).all() and p.table.rows['per'][0,1]<1e-6 # e
    bound = read_all(p.table, a)[2][:2]
    true = p.table.rows['x'][:2].astype(float)@u
    assert true[0]<=bound[0]<true[0]+1e-5 and bound[1]>true[1]+1e-3


@pytest.mark.parametrize('column,by', [(1,.5), (3,.5)])
def test_an_error_that_is_too_small_is_caught(column, by):
    "Half of what codes leave out, or of a length: some bound is below the truth"
    x = some('noise', 200, 24, 0)
    p = Index(x, head=4).plan
    rows = p.table.rows
    if column==1: rows['per'][:,1] *= by
    else: rows['per'][:,0] *= by # s: estimates are wrong
    p.table.planes = None
    stored,low = rows['x'][:200].astype(float),0
    for q in stored[:50]:
        _,_,bound = read_all(p.table, ask(q/np.sqrt(q@q), p.axes, p.worth, 20))
        low += (bound[:200]<stored@q-1e-7).sum()
    assert low


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=8), st.integers(0, 99))
def test_adding_and_removing(turns, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30,12))
    ix,there = Index(x),dict(enumerate(x))
    for add,n in turns:
        if add:
            new = rng.normal(size=(n,12))
            there |= dict(zip(ix.add(new).tolist(), new))
        else:
            gone = rng.permutation([*there])[:min(n, len(there)-1)]
            ix.remove(gone)
            for i in gone: del there[i]
    names,rows = np.array([*there]),np.array([*there.values()])
    q = rng.normal(size=(4,12))
    hit,(at,_) = ix.search(q, min(5, len(there))),brute(rows, q, min(5, len(there)))
    assert np.array_equal(hit.ids, names[at]) and len(ix)==len(there)


def test_files(tmp_path):
    x = some('groups', 300, 33, 0)
    ix = Index(x, np.arange(300)*7)
    ix.remove([7,14])
    ix.save(p := tmp_path/'a.safetensors')
    back = load_index(p)
    for a,b in zip(ix.search(x[:9], 5)[:2], back.search(x[:9], 5)[:2]): assert np.array_equal(a, b)
    assert np.array_equal(back.add(x[:1]), ix.add(x[:1]))
    back.save(q := tmp_path/'b.safetensors')
    ix.save(p)
    assert p.read_bytes()==q.read_bytes()
    data = p.read_bytes()
    for bad in (data[:-1], data[:100], b'', data[:5000]+bytes([data[5000]^1])+data[5001:], data.replace(b'quarantion.index', b'quarantion.field')):
        q.write_bytes(bad)
        with pytest.raises(CheckError, match='b.safetensors'): load_index(q)


@pytest.mark.parametrize('bad,says', [
    (dict(x=np.zeros((3,4))), 'row 0 of `x`'), (dict(x=[[1.,2],[np.nan,1]]), 'row 1 of `x`'), (dict(x=np.ones((3,1))), 'D >= 2'),
    (dict(x=np.ones((0,4))), 'at least one vector'), (dict(x=np.ones(4)), 'vectors'), (dict(x=np.ones((3,4), complex)), 'vectors'),
    (dict(x=np.ones((3,4)), ids=[1,1,2]), 'not taken, found 1'), (dict(x=np.ones((3,4)), ids=[1,2]), '3 whole numbers'),
    (dict(x=np.ones((3,4)), head=-1), 'head')])
def test_what_is_no_index(bad, says):
    with pytest.raises(CheckError, match=says): Index(**bad)


@pytest.mark.parametrize('kind', [np.float16, np.float32, np.float64, np.int8])
def test_kinds_of_numbers(kind):
    x = (some('noise', 50, 16, 0)*9).astype(kind)
    a,b = Index(x).search(x[::7], 3),Index(np.asfortranarray(x)[:, ::1]).search(x[::7].tolist(), 3)
    assert np.array_equal(a.ids, b.ids)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=6), st.sampled_from(sorted(TOPS)))
def test_the_best_code_of_all(y, levels):
    "No code of these levels is at a smaller angle"
    y,top = np.array(y, float),min(TOPS[levels], 4)
    c = best_code(y, top).astype(float)
    if not y.any():
        assert not c.any()
        return
    some_codes = np.array(np.meshgrid(*[np.arange(-top, top+1)]*min(len(y), 4))).reshape(min(len(y), 4), -1).T
    y = y[:4]
    if not y.any(): return
    c = best_code(y, top).astype(float)
    n = np.maximum(np.sqrt((some_codes**2).sum(1)), 1e-9)
    assert y@c/np.sqrt(c@c)>=(some_codes@y/n).max()-1e-12


def test_digits_hold_together():
    y = some('noise', 40, 30, 3)
    y /= np.sqrt((y*y).sum(1, keepdims=True))
    c = encode_rows(y)
    v = 9*c.digit.astype(int)+c.low
    assert np.abs(v).max()<=40 and np.abs(c.low).max()<=4
    assert (np.rint(v/9)==c.digit).all() # dropping the lower digit is rounding
    for s,e,d in ((c.s,c.e,c.digit),(c.s2,c.e2,v)):
        rest = y-s.astype(float)[:,None]*d
        assert (np.sqrt((rest**2).sum(1))<=e).all() and (np.abs((rest*d).sum(1))<1e-4).all()
    a = new_axes(unit_rows(y), 5)
    assert np.allclose(a@a.T, np.eye(30), atol=1e-12)


def test_vectors_are_made_unit_once():
    x = some('noise', 500, 5, 4)
    assert np.array_equal(Index(x).plan.table.rows['x'][:500], unit_rows(x))


@pytest.mark.parametrize('bad', [dict(worth=np.float64(1)), dict(ids=np.zeros(3)), dict(x=np.zeros((3,4), np.float32)), dict(seal=False)])
def test_files_that_lie(tmp_path, bad):
    "Columns of another shape or kind, and a file that nobody sealed: one error that names the file"
    from quarantion.files import load_tensors, save_tensors
    Index(some('noise', 20, 9, 0)).save(p := tmp_path/'a.safetensors')
    a,head = load_tensors(p, 'quarantion.index', 2)
    if not bad.get('seal', True): head.pop('digest')
    save_tensors(p, a|{k:v for k,v in bad.items() if k!='seal'}, head)
    with pytest.raises(CheckError, match='a.safetensors'): load_index(p)
