"Signatures and buckets are what the definition says, a plan is what was put into it, and waves find nothing that nobody injected"
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.memory.codes import unit_rows
from quarantion.memory.index import Index, load_index
from quarantion.memory.resonance import EDGES, KINDS, Resonance, coherence, signature
from quarantion.memory.waves import WaveMemory, recall

GOLDEN = .648721, 1.718282, 3.481689, 6.389056


def vectors(N, D, seed=0):
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(max(1, N//8),D))[rng.integers(0, max(1, N//8), N)]+.5*rng.normal(size=(N,D)))


def test_edges_of_magnitudes():
    np.testing.assert_allclose(EDGES, GOLDEN, atol=1e-6)
    for k,e in enumerate(EDGES, 1): # on the edge, and just below
        for turn in (1,-1,1j,-1j): assert signature([e*turn, np.nextafter(e, 0)*turn]).tolist()==[k,k-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.complex_numbers(max_magnitude=12), min_size=1, max_size=9))
def test_signatures_by_definition(z):
    z = np.array(z)
    for v,got in zip(z, signature(z)):
        edge = np.abs(np.abs(v)-EDGES).min()<1e-9
        assert edge or got==min(int(2*np.log(1+abs(v))), 4)
    parts = np.concatenate([z.real,z.imag])
    assert signature(z, 'signed').tolist()==np.clip(np.sign(parts)*np.ceil(np.abs(parts)-.5), -4, 4).astype(int).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.floats(0, 6), st.integers(0, 99))
def test_coherence_forgets_the_phase(n, phase, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(6,2*n)).view(complex)
    q,z = z[0],z[1:]
    c = coherence(q, z)
    assert (c>=0).all() and (c<=1+1e-12).all()
    np.testing.assert_allclose(coherence(q*np.exp(1j*phase)*3, z), c, atol=1e-12)
    np.testing.assert_allclose(coherence(q, [q*np.exp(1j*phase)]), [1], atol=1e-12)
    np.testing.assert_allclose(c, [abs(np.vdot(v, q))/np.sqrt((abs(v)**2).sum()*(abs(q)**2).sum()) for v in z], atol=1e-12)


def slow(plan, q, reach):
    "What the buckets hold, by comparing all digits"
    d,a = plan.digits(plan.z).astype(int),plan.digits(plan.along(q[None].astype(np.float32)))[0].astype(int)
    return np.flatnonzero((np.abs(d-a).sum(2)<=reach).any(1))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('values,tables,reach', [(9,1,0),(9,1,1),(3,4,1),(2,3,2),(1,64,0)])
def test_buckets_hold_what_their_digits_say(kind, values, tables, reach):
    x = vectors(400, 24)
    plan,ids = Resonance(x, kind, values, reach, tables, fallback=False),np.arange(400)[::-1]
    for q in vectors(12, 24, 1).astype(float):
        want = slow(plan, q, reach)
        at,score,p = plan.find(q, 5, ids)
        true = x.astype(float)@q
        best = want[np.lexsort((ids[want], -true[want]))][:5]
        np.testing.assert_allclose(score, true[best], atol=1e-14)
        assert p.candidates==p.read==len(want) and set(at)<=set(want) and len(at)==min(5, len(want))
        assert p.buckets<=len(plan.steps)*tables


def same(a, b, q):
    ids = np.arange(len(a))
    for v in q.astype(float):
        for s,t in zip(a.find(v, 7, ids), b.find(v, 7, ids)): assert np.array_equal(s, t)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from('add remove update find'.split()), st.integers(1, 20)), max_size=8), st.integers(0, 9))
def test_adding_removing_and_updating_is_building_anew(turns, seed):
    rng = np.random.default_rng(seed)
    plan,rows,q = Resonance(vectors(30, 12), tables=3, seed=seed),vectors(30, 12),vectors(3, 12, 5)
    for what,n in turns:
        at = np.sort(rng.permutation(len(rows))[:min(n, len(rows))])
        if what=='add':
            plan.add(new := vectors(n, 12, n))
            rows = np.concatenate([rows,new])
        if what=='update':
            rows[at] = new = vectors(len(at), 12, n)
            plan.update(at, new)
        if what=='remove' and len(at)<len(rows):
            keep = len(rows)-len(at)
            holes,tail = at[at<keep],np.setdiff1d(np.arange(keep, len(rows)), at)
            rows[holes] = rows[tail]
            rows = rows[:keep]
            plan.remove(at)
        if what=='find': plan.find(q[0].astype(float), 3, np.arange(len(rows)))
    again = Resonance.of_columns(dict(plan.columns(), x=rows), 'here')
    assert np.array_equal(plan.x, rows) and plan.z.tobytes()==again.z.tobytes()
    same(plan, again, q)


def test_coherence_chooses_who_is_read():
    x = vectors(500, 16)
    plan = Resonance(x, tables=8, read=20, fallback=False)
    for q in vectors(5, 16, 3).astype(float):
        at,_,p = plan.find(q, 10, np.arange(500))
        z = plan.along(q[None].astype(np.float32))[0]
        there,_ = plan.candidates(z)
        assert p.read==min(20, len(there))
        c = coherence(z, plan.z[there])
        assert set(at)<=set(there[np.argsort(-c, kind='stable')[:20]])


def test_as_a_plan_of_an_index(tmp_path):
    x = vectors(300, 20)
    ix = Index(x, np.arange(300)*3, plan='resonance', tables=32)
    hit = ix.search(x[:50], 5)
    assert (hit.ids[:,0]==np.arange(50)*3).all() and np.allclose(hit.scores[:,0], 1)
    ix.remove(np.arange(50)*3)
    names = ix.add(x[:50])
    assert np.array_equal(ix.search(x[:50], 1).ids[:,0], names)
    ix.save(p := tmp_path/'a.safetensors')
    back = load_index(p)
    for a,b in zip(ix.search(x, 5)[:2], back.search(x, 5)[:2]): assert np.array_equal(a, b)
    back.save(q := tmp_path/'b.safetensors')
    assert p.read_bytes()==q.read_bytes()
    for i in (back,ix):
        i.remove([150,153,names[3]])
        i.plan.update([7], x[:1])
    assert np.array_equal(ix.search(x, 5).ids, back.search(x, 5).ids)
    a,head = load_tensors(p, 'quarantion.index', head_of(p))
    for k,v in dict(law=np.array([0,0,1,4,0,1]), axes=a['axes'][:-1], middle=a['middle'].astype(np.float32), x=a['x'][:,:-1]).items():
        save_tensors(q, dict(a, **{k:v}), head)
        with pytest.raises(CheckError, match=f'`?{k}.*'): load_index(q)


def head_of(p):
    from quarantion.memory import index
    return index._VERSION


def test_too_few_candidates():
    "All are read, or the rest of the answers is none"
    x = vectors(60, 16)
    few = dict(plan='resonance', kind='signed', values=9, tables=1, reach=0)
    whole,part = Index(x, **few).search(x[:9], 8),Index(x, fallback=False, **few).search(x[:9], 8)
    assert np.array_equal(whole.ids, Index(x).search(x[:9], 8).ids) and (whole.proof.read==60).all() and (whole.proof.candidates<8).all()
    for ids,score,n in zip(part.ids, part.scores, part.proof.candidates):
        assert (ids[n:]==-1).all() and (score[n:]<-1).all() and (ids[:n]>=0).all()


@pytest.mark.parametrize('bad', [dict(kind='phase'), dict(values=0), dict(values=10), dict(reach=3), dict(tables=65), dict(read=-1), dict(seed=-1), dict(fallback=1), dict(probes=3)])
def test_options_that_there_are_not(bad):
    with pytest.raises(CheckError, match=next(iter(bad))): Index(vectors(20, 8), plan='resonance', **bad)


@pytest.mark.parametrize('N,D', [(1,2),(2,3),(9,5)])
def test_few_and_short_vectors(N, D):
    x = vectors(N, D)
    assert Index(x, plan='resonance', kind='magnitude', values=9).search(x, 1).scores.min()>.999


@pytest.fixture(scope='module')
def memory():
    x = vectors(300, 40)
    m = WaveMemory(x)
    m.store(x[:150], [f'text {i}' for i in range(150)])
    return m,x


def test_a_wave_finds_its_text_and_the_control_finds_nothing(memory):
    m,x = memory
    found,control = recall(m, x[:40]),recall(m, x[:40], inject=False)
    assert found.payloads==[f'text {i}' for i in range(40)] and (found.heights>.01).all()
    assert control.payloads==[None]*40 and not control.heights.any() and (control.places==-1).all()


def test_no_vectors_and_no_questions_are_refused(memory):
    m,x = memory
    for f in (lambda: recall(m, x[:0]), lambda: m.heights(x[:0])):
        with pytest.raises(CheckError, match='at least one question'): f()
    with pytest.raises(CheckError, match='at least one vector'): WaveMemory(x[:0])


def test_a_question_leaves_nothing_behind(memory):
    m,x = memory
    first = m.heights(x[:3])
    m.heights(x[3:9])
    assert np.array_equal(first, m.heights(x[:3])) and np.array_equal(first[1:2], m.heights(x[1:2]))


def test_only_where_something_is_stored(memory):
    m,x = memory
    h = m.heights(x[200:220])
    rest = np.ones(h.shape[1], bool)
    rest[m.at] = False
    assert not h[:,rest].any()
    empty = WaveMemory(x)
    assert recall(empty, x[:5]).payloads==[None]*5


def test_the_test_of_the_sources_passes_for_what_was_never_stored(memory):
    "Injected where one looks, every stranger is found; asked of the memory, most are below the same bar"
    m,x = memory
    theirs = WaveMemory(x)
    theirs.store(x[200:300], ['']*100)
    seen = theirs.heights(x[200:300])[np.arange(100),theirs.at]
    assert (seen>=.1).all()
    assert (recall(m, x[200:300], bar=.1).places>=0).mean()<.5


def test_a_wave_goes_a_cell_a_step(memory):
    m,x = memory
    cells = np.array(np.unravel_index(m.at, m.torus.shape)).T
    far = np.minimum((cells[:,None]-cells[None])%3, (cells[None]-cells[:,None])%3).sum(2)
    for steps in (0,1,2):
        m.steps = steps
        heard = m.heights(x[:20])[:,m.at]>0
        assert np.array_equal(heard, far[:20]<=steps)
    m.steps = 5


def test_vectors_apart_stay_where_they_are(tmp_path):
    x = vectors(90, 12)
    ix = Index(x, plan='resonance', tables=4)
    ix.save(p := tmp_path/'a.safetensors', floats=tmp_path/'x.safetensors')
    back = load_index(p, floats=tmp_path/'x.safetensors')
    assert not back.plan.x.flags.writeable
    for a,b in zip(ix.search(x, 5)[:2], back.search(x, 5)[:2]): assert np.array_equal(a, b)
