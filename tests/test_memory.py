"Codes bound what they leave out, exact search is brute force, and an index is what was put into it"
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors, sha256
from quarantion.memory import exact
from quarantion.memory.codes import TOPS, best_code, encode_rows, new_axes, unit_rows
from quarantion.memory.exact import ask, read_all, read_digits
from quarantion.memory.index import Index, load_index
from quarantion.memory.parts.table import Table, digits_of, moves
from test_kernels import LEVELS, load

KINDS = 'noise','alike','groups','few','sparse','equal','tiny'
LEVEL = st.sampled_from(sorted(TOPS))


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


def bounds(ix, q):
    "What products of all vectors and a question can be at most, by first digits and by both; and what they are"
    p = ix.plan
    t,a = p.table,ask(np.asarray(q, float), p.axes, len(p.first), p.off)
    dots = read_digits(t, a.ints[None], p.levels)[0]
    est,bound = read_all(t, a, dots)
    twice = exact._second(t, a, np.arange(t.n), dots, est)
    if 'size' in t.cols: bound,twice = ((b.astype(float)+1e-9)*t.cols['size'][:t.n]*a.length for b in (bound,twice))
    return bound.astype(float),twice,t.cols['x'][:t.n].astype(float)@q


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 150), st.integers(2, 40), st.integers(0, 9), st.integers(0, 17), LEVEL)
@example('few', 3, 2, 1, 0, 'int4') # the last one that counts is opposite to the question
def test_exact_search_is_brute_force(kind, N, D, seed, head, levels):
    x,k = some(kind, N, D, seed),min(N, 7)
    q = np.concatenate([some('noise', 3, D, seed+1),x[:3]])
    ix = Index(x, head=min(head, D-1, N), levels=levels)
    hit = ix.search(q, k)
    want,s = brute(x, q, k)
    for i in range(len(q)):
        np.testing.assert_allclose(hit.scores[i], np.sort(s[i])[::-1][:k], atol=1e-12) # whoever it is among near ties
        apart = np.diff(np.sort(s[i])).min(initial=1)>1e-12
        if apart: assert hit.ids[i].tolist()==want[i].tolist()
    assert (hit.proof.left_out<=hit.proof.tau).all()
    for a,b in zip(hit[:2], ix.search(q, k, threads=3)[:2]): assert np.array_equal(a, b)
    for i in range(len(q)): # alone, or among others
        for a,b in zip(hit[:2], ix.search(q[i], k)[:2]): assert np.array_equal(a[i], b[0])


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 150), st.integers(2, 40), st.integers(0, 9), LEVEL)
def test_exact_search_by_products_is_brute_force(kind, N, D, seed, levels):
    "Lengths over ten powers of ten, duplicates, ties: float64 products of the float32 vectors with the question as it is"
    rng = np.random.default_rng(seed)
    x = (unit_rows(some(kind, N, D, seed))*10.**rng.integers(-5, 6, (N,1))).astype(np.float32)
    x,k = np.concatenate([x,x[:N//2]]),min(N, 7)
    q = np.concatenate([some('noise', 3, D, seed+1)*10.**rng.integers(-9, 9, (3,1)),x[:2]]).astype(float)
    hit = Index(x, metric='ip', levels=levels).search(q, k)
    for i,v in enumerate(q):
        s = x.astype(float)@v
        top = np.sort(s)[::-1][:k]
        np.testing.assert_allclose(hit.scores[i], top, rtol=1e-9, atol=1e-12*np.abs(s).max())
        if np.diff(np.unique(s)).min(initial=1)>1e-12*np.abs(s).max():
            assert hit.ids[i].tolist()==np.lexsort((np.arange(len(x)), -s))[:k].tolist()
    assert (hit.proof.left_out<=hit.proof.tau).all()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.integers(2, 40), st.integers(0, 99), LEVEL, st.sampled_from(['cosine','ip']))
def test_a_bound_is_never_below_the_truth(kind, D, seed, levels, metric):
    x = some(kind, 64, D, seed)
    if metric=='ip': x = unit_rows(x)*10.**np.random.default_rng(seed).integers(-30, 30, (64,1))
    ix = Index(x, seed=seed, levels=levels, metric=metric)
    stored = ix.plan.table.cols['x'].astype(float)
    for q in (*some('noise', 2, D, seed+1),stored[0],-stored[1],stored[0]-1e-3*stored[1],np.eye(D)[0],*worst(ix, 0)):
        if not q.any(): continue
        if metric=='cosine': q = unit_rows(q[None])[0].astype(float)
        bound,twice,true = bounds(ix, q)
        assert (bound>=true).all() and (twice>=true).all()


def worst(ix, i):
    "Questions between the code of a vector and what it leaves out: no room is left but for what is rounded"
    p = ix.plan
    t,h,D = p.table,len(p.first),ix.dims
    x = unit_rows(t.cols['x'][i:i+1])[0].astype(float)
    c = digits_of(t.rows('digits', np.array([i])).view(np.uint8), p.levels)[0][:D-h].astype(float)
    y = (p.axes@x)[h:]
    r = y-c*(y@c)/max(c@c, 1)
    out = [np.cos(a)*c/np.sqrt(max(c@c, 1))+np.sin(a)*r/max(np.sqrt(r@r), 1e-30) for a in (0,1e-4,1e-3,.01,.1,.5,1,1.57)]
    return [v@p.axes[h:] for v in out]


@pytest.mark.parametrize('n', [8,64,368,1024])
@pytest.mark.parametrize('e', [1e-4,.2])
def test_a_question_of_whole_numbers_that_a_code_almost_is(n, e):
    "One digit of the question is off by one, and what the code leaves out lies there: the root is of a difference that cancels"
    c = np.tile([4.,-4], n//2)
    e,r = e/n**.5,np.zeros(n) # e is less than half a step
    r[:2] = 1,1 # at right angles to c
    x = unit_rows((c/np.sqrt(c@c)+e*r/np.sqrt(2))[None])
    p = exact.Exact(x, head=0)
    p.axes,p.table = np.eye(n),Table()
    p.add(x)
    q = 127*np.sign(c)
    for j,d in ((1,1),(0,-1),(1,0)):
        v = q.copy()
        v[j] += d
        ix = Index(x)
        ix.plan = p
        bound,_,true = bounds(ix, v/np.sqrt(v@v))
        assert bound[0]>=true[0] and bound[0]<true[0]+8e-3*e+3e-5


def test_a_bound_meets_the_truth():
    "A vector that a code describes exactly, asked for in numbers that eight bits hold, has no room left but the slack"
    x = np.array([[4.,-4,0,4,0,-4,4,4],[1,2,3,4,4,3,2,1]])
    ix = Index(x, head=0)
    p = ix.plan
    p.axes,p.table = np.eye(8),Table()
    p.add(unit_rows(x))
    u = unit_rows(x[:1])[0].astype(float)
    assert (ask(u, p.axes, 0).ints==127*np.sign(x[0])).all() and p.table.rows('per', np.array([0]))[0,1]<1e-6 # e
    bound,_,true = bounds(ix, u)
    assert true[0]<=bound[0]<true[0]+1e-5 and bound[1]>true[1]+1e-3


@pytest.mark.parametrize('levels', ['ternary','nonary','int4']) # of int8, less is lost than in a question of eight bits
def test_an_error_that_is_too_small_is_caught(levels):
    "Half of what the code of one vector leaves out: its bound is below the truth for a question that finds it"
    ix = Index(some('noise', 200, 24, 0), head=4, levels=levels)
    for i in (0,77,199):
        assert all((bounds(ix, q)[0]>=bounds(ix, q)[2]).all() for q in worst(ix, i))
        per = ix.plan.table.cols['per']
        per[i//32,1,i%32] /= 2
        low = [(bounds(ix, q)[0]<bounds(ix, q)[2]).nonzero()[0].tolist() for q in worst(ix, i)]
        assert [i] in low
        per[i//32,1,i%32] *= 2


@pytest.mark.parametrize('levels', sorted(TOPS))
def test_every_level_of_the_machine_and_plain_python_agree(levels, monkeypatch):
    x,hits = some('groups', 70, 21, 5),[]
    ix = Index(x, levels=levels)
    for level in (*LEVELS,'source'):
        mod = load('scan', level)
        for name in ('dots_of','largest','low_digits','scan_bounds','scan_bytes','scan_digits'): monkeypatch.setattr(exact, name, getattr(mod, name))
        hit = ix.search(x[:3]+.1, 5)
        hits.append([hit.ids.tolist(),hit.scores.tolist(),*map(np.ndarray.tolist, hit.proof)])
    assert all(h==hits[0] for h in hits)


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
    (dict(x=np.ones((3,4)), head=-1), 'head'), (dict(x=np.ones((3,4)), head=4), '`head`: expected in .0, 3., found 4'),
    (dict(x=np.ones((3,9)), head=4), 'found 4'), (dict(x=np.ones((3,4)), levels='binary'), 'levels'), (dict(x=np.ones((3,4)), seed=-1), 'seed'),
    (dict(x=np.ones((3,4)), plan='best'), '`plan`'), (dict(x=np.ones((3,4)), recall=.9), '`recall`: expected an option of plan exact'),
    (dict(x=np.ones((3,4)), metric='l2'), '`metric`'), (dict(x=np.ones((3,4))*1e60, metric='ip'), 'row 0 of `x`'),
    (dict(x=np.ones((3,4))*1e-60, metric='ip'), 'row 0 of `x`'), (dict(x=np.zeros((3,4)), metric='ip'), 'zeros alone'),
    (dict(x=np.ones((1,4)), ids=np.array([2**63], np.uint64)), 'below 2..63')])
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
    assert np.array_equal(Index(x).plan.table.cols['x'], unit_rows(x))


@pytest.mark.parametrize('bad', [dict(first=np.zeros(3)), dict(ids=np.zeros(3)), dict(says=np.array([5,0,0])), dict(off=-np.ones(1)),
    dict(last=np.zeros(9)), dict(low=np.zeros(3, np.uint16)), dict(x=np.zeros((3,4), np.float32)), dict(seal=False)])
def test_files_that_lie(tmp_path, bad):
    "Columns of another shape or kind, and a file that nobody sealed: one error that names the file"
    Index(some('noise', 20, 9, 0)).save(p := tmp_path/'a.safetensors')
    a,head = load_tensors(p, 'quarantion.index', 2)
    if not bad.get('seal', True): head.pop('digest')
    save_tensors(p, a|{k:v for k,v in bad.items() if k!='seal'}, head)
    with pytest.raises(CheckError, match='a.safetensors'): load_index(p)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 100), st.integers(2, 40), LEVEL, st.sampled_from(['cosine','ip']), st.booleans(), st.integers(0, 9))
def test_saving_and_loading(tmp_path_factory, kind, N, D, levels, metric, apart, seed):
    "The same answers to the last bit, the same file when it is saved again, and the same life afterwards"
    d = tmp_path_factory.mktemp('index')
    x,rng = some(kind, N, D, seed),np.random.default_rng(seed)
    if kind=='tiny' and metric=='ip': x = unit_rows(x)
    ix = Index(x, None if seed%2 else rng.permutation(N)*5, levels=levels, metric=metric, seed=seed)
    if N>3: ix.remove(ix.names.all[[0,2]])
    own = (d/'x.safetensors',) if apart else ()
    ix.save(d/'a.safetensors', *own)
    back = load_index(d/'a.safetensors', *own)
    q = rng.normal(size=(3,D))
    same = lambda: all(np.array_equal(u, v) for u,v in zip(flat(ix.search(q, min(3, len(ix)))), flat(back.search(q, min(3, len(ix))))))
    assert same()
    back.save(d/'b.safetensors', *([d/'y.safetensors']*apart))
    assert (d/'a.safetensors').read_bytes()==(d/'b.safetensors').read_bytes()
    if apart: back = load_index(d/'a.safetensors', *own, mapped=False)
    assert np.array_equal(ix.add(x[:2]), back.add(x[:2])) and same()


def flat(hit): return [*hit[:2],*hit.proof]


def test_vectors_of_a_file_are_mapped(tmp_path):
    x = some('groups', 300, 33, 0)
    ix = Index(x)
    a,f = tmp_path/'a.safetensors',tmp_path/'x.safetensors'
    ix.save(a, f)
    back = load_index(a, f)
    assert isinstance(back.plan.table.cols['x'].base, np.memmap) or isinstance(back.plan.table.cols['x'], np.memmap)
    for change in (lambda: back.add(x[:1]), lambda: back.remove([0])):
        with pytest.raises(CheckError, match='expected some in memory'): change()
    with pytest.raises(CheckError, match='expected the file of its vectors, found None'): load_index(a)
    with pytest.raises(CheckError, match='another file'): ix.save(a, a)
    other = tmp_path/'other.safetensors'
    Index(x[::-1].copy()).save(tmp_path/'b.safetensors', other)
    with pytest.raises(CheckError, match='other.safetensors: digest'): load_index(a, other)
    with pytest.raises(CheckError, match='missing.safetensors'): load_index(a, tmp_path/'missing.safetensors')
    ix.save(tmp_path/'c.safetensors')
    with pytest.raises(CheckError, match='expected none, as it has its vectors'): load_index(tmp_path/'c.safetensors', f)
    data = f.read_bytes()
    for bad in (data[:-4], data[:5000]+bytes([data[5000]^1])+data[5001:]):
        f.write_bytes(bad)
        for mapped in (True, False):
            with pytest.raises(CheckError, match='x.safetensors: digest'): load_index(a, f, mapped=mapped)


def test_names_to_the_last_of_64_bits():
    "Names that are counted on stay whole numbers, each its own, up to 2**63−1"
    ix = Index(np.eye(3, 4), [0,1,2**63-3])
    assert ix.add(np.eye(2, 4)).tolist()==[2**63-2,2**63-1]==ix.names.all[3:].tolist()
    assert ix.add(np.eye(4)[:0]).dtype==np.int64 and ix.search(np.eye(4)[1], 2).ids.tolist()==[[1,2**63-1]]
    with pytest.raises(CheckError, match='none are left to count on'): ix.add(np.eye(1, 4))


@pytest.mark.parametrize('metric', ['cosine','ip'])
@pytest.mark.parametrize('levels', TOPS)
def test_an_index_that_was_emptied_is_saved_and_goes_on(tmp_path, levels, metric):
    x = some('noise', 20, 9, 0)
    ix = Index(x, levels=levels, metric=metric)
    ix.remove(np.arange(20))
    for own in ((tmp_path/'a',),(tmp_path/'b',tmp_path/'x')):
        ix.save(*own)
        back = load_index(*own, mapped=False)
        assert len(back)==0 and back.add(x).tolist()==[*range(20, 40)]
        assert np.array_equal(back.search(x, 20).scores, Index(x, metric=metric).search(x, 20).scores)
    with pytest.raises(CheckError, match='one that holds vectors, found none'): load_index(*own).search(x, 1)


def test_what_is_opposite_is_proved_too():
    "A product of rounded rows can be below −1; what was left out is never above `tau`"
    x = unit_rows(np.array([[2,7],[3,1]]))
    x = x[np.argmax((x.astype(np.float64)**2).sum(1))][None]
    hit = Index(np.repeat(x, 3, 0)).search(-x, 2)
    assert hit.scores[0,1]<-1 and hit.proof.left_out[0]<=hit.proof.tau[0] and 'none was left out' in hit.proof.said()


@pytest.mark.parametrize('plan', ['exact','cones','resonance'])
def test_headers_and_names_that_lie(tmp_path, plan):
    "With a seal that is right"
    Index(some('noise', 20, 9, 0), np.arange(20)+5, plan).save(p := tmp_path/'a.safetensors')
    a,head = load_tensors(p, 'quarantion.index', 2)
    for k,v in dict(metric='ip', dims=8, planned='exact' if plan!='exact' else 'resonance', next=3).items():
        save_tensors(p, a, head|{k:v})
        with pytest.raises(CheckError, match='a.safetensors'): load_index(p)
    save_tensors(p, a|dict(ids=np.full(20, 7)), head)
    with pytest.raises(CheckError, match='`ids`: expected each once, found 1 of 20'): load_index(p)
    for k in a:
        for v in (a[k].ravel()[0],a[k][...,None]):
            save_tensors(p, a|{k:v}, head)
            with pytest.raises(CheckError, match='a.safetensors'): load_index(p)


def test_floats_that_are_none(tmp_path):
    "Their digest is the one that the index knows, and they are not what it says"
    Index(some('noise', 20, 9, 0)).save(p := tmp_path/'a.safetensors', f := tmp_path/'x.safetensors')
    (a,head),x = load_tensors(p, 'quarantion.index', 2),load_tensors(f, 'quarantion.floats', 1)[0]['x']
    said = dict(format='quarantion.floats', version=1)
    for bad in (b'', b'junk', bytes(9), dict(x=x[0,0]), dict(x=x.astype(np.float64)), dict(y=x), dict(x=x*np.nan), dict(x=x[:9])):
        if isinstance(bad, dict): save_tensors(f, bad, said, finite=False)
        else: f.write_bytes(bad)
        save_tensors(p, a, head|dict(floats=sha256(f)))
        for mapped in (True, False):
            with pytest.raises(CheckError): load_index(p, f, mapped)


def test_floats_are_never_written_over_their_index(tmp_path, monkeypatch):
    (tmp_path/'d').mkdir()
    (tmp_path/'e').symlink_to(tmp_path/'d')
    monkeypatch.chdir(tmp_path)
    for f in ('d/../a', 'd/a', './d/a', 'e/a'):
        with pytest.raises(CheckError, match='another file'): Index(np.eye(3)).save('d/a' if f!='d/../a' else 'a', f)


def test_masked_values_are_no_numbers():
    "What stands under a mask is never taken for a number"
    x = np.ma.masked_array(np.eye(4), np.eye(4)>0)
    for f in (lambda: Index(x), lambda: Index(np.eye(4)).search(x, 1), lambda: Index(np.eye(4)).add(x)):
        with pytest.raises(CheckError, match='masked values'): f()
    assert Index(np.ma.masked_array(np.eye(4), False)).search(np.eye(4)[2], 1).ids.tolist()==[[2]]


def test_bytes_of_a_vector(tmp_path):
    "At D = 384, besides the axes, which are 8·D² bytes once"
    x = some('groups', 3200, 384, 0)
    ix = Index(x)
    t = ix.plan.table
    assert sum(v.nbytes for k,v in t.cols.items() if k!='x')/3200+ix.names.room.nbytes/3200<=430
    ix.save(tmp_path/'a.safetensors', tmp_path/'x.safetensors')
    once = 8*384*18 # axes of the head, and what is there to compare
    assert ((tmp_path/'a.safetensors').stat().st_size-once-2048)/3200<=343
    assert (once+2048)/30_000+342.5<=345


def test_old_files_are_refused(tmp_path):
    Index(some('noise', 20, 9, 0)).save(p := tmp_path/'a.safetensors')
    a,head = load_tensors(p, 'quarantion.index', 2)
    save_tensors(p, a, head|dict(version=1))
    with pytest.raises(CheckError, match='a.safetensors: version: expected 2, found 1'): load_index(p)


@pytest.mark.parametrize('call,says', [
    (lambda ix: ix.search(np.ones((2,8)), 3), '`q`: expected questions of 9 numbers, found 8'), (lambda ix: ix.search(np.zeros(9)), 'row 0 of `q`'),
    (lambda ix: ix.search(np.full(9, np.nan)), 'row 0 of `q`'), (lambda ix: ix.search(np.ones(9), 41), '`k`: expected 1 to 40, which it holds, found 41'),
    (lambda ix: ix.search(np.ones(9), 0), '`k`'), (lambda ix: ix.search(np.ones((0,9))), 'at least one question'), (lambda ix: ix.search(np.ones(9), threads=0), 'threads'),
    (lambda ix: ix.remove([3,99]), 'names that are there, found 99'), (lambda ix: ix.remove([.5]), 'whole numbers'), (lambda ix: ix.add(np.ones((1,8))), 'vectors of 9 numbers'),
    (lambda ix: ix.add(np.ones((1,9)), [3]), 'not taken, found 3'), (lambda ix: ix.add(np.ones((2,9)), [77,77]), 'not taken, found 77'), (lambda ix: ix.add(np.zeros((1,9))), 'row 0 of `x`')])
def test_what_is_refused(call, says):
    x = some('noise', 40, 9, 0)
    ix = Index(x)
    before = flat(ix.search(x[:3], 40))
    with pytest.raises(CheckError, match=says): call(ix)
    assert all(np.array_equal(a, b) for a,b in zip(before, flat(ix.search(x[:3], 40)))) # nothing came of it


def test_how_rows_move():
    assert [a.tolist() for a in moves(6, np.array([0,4]))]==[[0],[5]] and [a.tolist() for a in moves(3, np.arange(3))]==[[],[]]
    ix = Index(some('noise', 40, 9, 0))
    ix.remove(range(40))
    with pytest.raises(CheckError, match='one that holds vectors, found none'): ix.search(np.ones(9), 1)
    assert ix.add(np.eye(9)).tolist()==[*range(40, 49)] and ix.search(np.eye(9), 1).ids[:,0].tolist()==[*range(40, 49)]


def test_an_index_without_vectors_says_so():
    ix = Index(np.eye(4, dtype=np.float32))
    ix.remove([0,1,2,3])
    with pytest.raises(CheckError, match='one that holds vectors, found none'): ix.search(np.ones(4))
    ix.add(np.eye(4, dtype=np.float32)[:1])
    assert ix.search(np.ones(4), 1).ids.tolist()==[[4]]
