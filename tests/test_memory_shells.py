"Shells are filled as scores say, whatever came and went before, and a search of some is brute force among them"
import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from quarantion.bench.shells import bench_shells, fill_shells, tier_recall, wrong_order
from quarantion.checks import CheckError
from quarantion.files import Lock
from quarantion.memory import shells as module
from quarantion.memory.codes import unit_rows
from quarantion.memory.index import Index
from quarantion.memory.shells import (Shells, assign_shells, load_shells, local_density, shell_capacities,
                                      shell_radii)

KINDS = 'geometric','sqrt','quadratic','linear'


def some(N, D=8, seed=0): return np.random.default_rng(seed).normal(size=(N,D)).astype(np.float32)


@pytest.mark.parametrize('kind,p,want', [('linear',2,[0,2,5,8,12,18,24,31]), ('geometric',2,[1,1,2,4,8,14,25,45]),
                                         ('sqrt',1.5,[1,6,10,12,15,16,19,21])])
def test_golden_capacities(kind, p, want):
    assert shell_capacities(shell_radii(8, 8, kind), 100, p).tolist()==want


@settings(deadline=None)
@given(st.integers(2, 200), st.floats(1.01, 1e6), st.sampled_from(KINDS), st.integers(0, 5000), st.floats(0, 9))
def test_capacities_are_what_they_should_be_and_lose_none(S, outer, kind, more, p):
    r = shell_radii(S, outer, kind)
    assert r[0]==1 and abs(r[-1]/outer-1)<1e-12
    if not (np.diff(r)>0).all(): return
    c,w = shell_capacities(r, S+more, p),(r/r[-1])**p
    assert c.sum()==S+more and (c>=0).all() and np.abs(c-(S+more)*w/w.sum()).max()<1+1e-6


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 3), st.floats(-1e300, 1e300)), min_size=4, max_size=60).filter(lambda s: min(s)<max(s)),
       st.integers(2, 4), st.integers(0, 99))
def test_shells_rise_with_the_score_and_ties_by_name(s, S, seed):
    s,rng = np.array(s, float),np.random.default_rng(seed)
    cap = shell_capacities(shell_radii(S), len(s))
    names = rng.permutation(1000)[:len(s)]
    k = assign_shells(s, cap, names)
    assert np.bincount(k, minlength=S).tolist()==cap.tolist()
    i,j = np.triu_indices(len(s), 1)
    low = np.where((s[i]<s[j])|((s[i]==s[j])&(names[i]<names[j])), i, j)
    assert (k[low]<=k[i+j-low]).all()
    turn = rng.permutation(len(s))
    assert np.array_equal(assign_shells(s[turn], cap, names[turn]), k[turn])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=3, max_size=7).filter(lambda s: len({*s})>1), st.integers(0, 99))
def test_one_sort_is_the_optimum_of_all_ways(s, seed):
    rng,s = np.random.default_rng(seed),np.array(s, float)
    cap = np.bincount(rng.integers(0, 3, len(s)), minlength=3)
    r = np.cumsum(rng.integers(1, 5, 3)).astype(float)
    ways = np.array(sorted({*itertools.permutations(np.repeat(np.arange(3), cap))}))
    for h in (np.abs, np.square, lambda d: np.maximum(d, -3*d), lambda d: d**4):
        assert h(s-r[assign_shells(s, cap)]).sum()==h(s-r[ways]).sum(1).min()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(['high','low']), st.integers(2, 5), st.booleans())
@example(4138, 'low', 2, False) # nothing is added after something moved
def test_a_life_ends_where_one_building_would(seed, inside, S, doubled):
    "Vectors come and go, some of them equal, some worth the same: shells, hits and scores are those of shells built at once"
    rng = np.random.default_rng(seed)
    x = some(60, seed=seed)
    if doubled: x[30:] = x[:30]
    worth,here = rng.integers(0, 9, 60).astype(float),[*range(20)]
    worth[:2] = -1,10
    ours = Shells(x[:20], worth[:20], S, inside=inside)
    for _ in range(6):
        if rng.random()<.5:
            new = rng.permutation(np.setdiff1d(np.arange(60), here))[:rng.integers(0, 12)]
            before = len(here)
            ours.add(x[new], worth[new], new)
            here += new.tolist()
            assert ours.moved<=(len(new)+1)*(S-1) and ours.moved<=before
        else:
            gone = rng.permutation(here[2:])[:rng.integers(0, max(len(here)-S-2, 1))]
            ours.remove(gone)
            here = [i for i in here if i not in gone]
    ids = np.sort(here)
    anew = Shells(x[ids], worth[ids], S, ids, inside=inside)
    assert np.array_equal(ours.names, ids) and np.array_equal(ours.shell, anew.shell)
    q,k = some(4, seed=seed+1),min(5, len(ids))
    want = Index(x[ids], ids).search(q, k)
    for got in (ours.search(q, k),anew.search(q, k)):
        for a,b in zip(got[:2], want[:2]): assert np.array_equal(a, b)
    order = np.lexsort((ids, worth[ids] if inside=='low' else -worth[ids]))
    assert (np.diff(ours.shell[order])>=0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(-6, 5), min_size=1, max_size=4), st.integers(1, 4))
def test_some_shells_are_searched_as_by_brute_force(seed, which, threads):
    x,q = some(120, seed=seed),some(3, seed=seed+1)
    x[60:70] = x[0]
    s = Shells(x, x[:,0]+x[:,1], 6)
    here = np.flatnonzero(np.isin(s.shell, np.arange(6)[which]))
    if not len(here): return
    k = min(len(here), 9)
    hit = s.search(q, k, which, threads)
    score = unit_rows(q).astype(float)@unit_rows(x[here]).astype(float).T
    want = np.array([here[np.lexsort((here, -np.round(v, 13)))[:k]] for v in score])
    assert np.array_equal(hit.ids, want)
    np.testing.assert_allclose(hit.scores, np.sort(score)[:,::-1][:,:k], atol=1e-12)
    assert hit.proof[:3]==(tuple(sorted({*np.arange(6)[which].tolist()})),len(here),120)
    for p in hit.proof.each: assert (p.left_out<=hit.scores[:,-1]).all() # nothing left out of these shells is nearer


def test_density_is_that_of_brute_force_and_does_not_count_oneself():
    x = unit_rows(some(50))
    x[7:27] = x[3] # 21 equal ones: more than are counted
    c = x.astype(float)@x.T.astype(float)
    np.fill_diagonal(c, -2)
    want = np.sort(c)[:,-6:].mean(1)
    np.testing.assert_allclose(local_density(Index(x), x, 6, np.arange(50)), want, atol=1e-12)
    assert np.array_equal(Shells(x).score, local_density(Index(x), x, 10, np.arange(50)))
    s = Shells(x[:40])
    s.add(x[40:])
    before = s.score.copy()
    s.rescore()
    assert (s.score!=before).any() and np.array_equal(s.score, Shells(x).score) and np.array_equal(s.shell, Shells(x).shell)


def test_products_keep_lengths():
    x,q = some(90)*10.**np.random.default_rng(1).integers(-3, 4, (90,1)),some(3, seed=1)
    s,ix = Shells(x, metric='ip', shells=4),Index(x, metric='ip')
    assert np.array_equal(s.score, local_density(ix, x, 10, np.arange(90)))
    s.add(x[:5]*2, np.arange(5.))
    ix.add(x[:5]*2)
    s.rescore(np.arange(95.))
    for a,b in zip(s.search(q, 9)[:2], ix.search(q, 9)[:2]): assert np.array_equal(a, b)
    with pytest.raises(CheckError, match='metric'): Shells(x, metric='l2')


def test_the_tier_alone_is_read_from_its_file(tmp_path):
    x = some(200)
    s = Shells(x, x[:,0], exponent=1., head=4)
    s.save(tmp_path)
    for f in sorted(tmp_path.glob('[4-7]-*')): f.write_bytes(b'nothing')
    back = load_shells(tmp_path)
    for a,b in zip(back.search(x[:5], 3, slice(0, 4))[:2], s.search(x[:5], 3, slice(0, 4))[:2]): assert np.array_equal(a, b)
    with pytest.raises(CheckError, match=r'4-\w+.safetensors: contents: expected those of SHA-256'): back.search(x[0], 3, 4)
    next(tmp_path.glob('5-*')).unlink()
    with pytest.raises(CheckError, match='the shell that was saved, found none'): back.search(x[0], 3, 5)


def test_files_give_back_what_was_saved_and_can_go_on(tmp_path):
    x = some(150)
    s = Shells(x, x[:,0], [1.,2.,5.], np.arange(150)*3, 1.5, 'low')
    s.add(x[:9]+1, np.arange(9.))
    s.save(tmp_path)
    back = load_shells(tmp_path)
    for t in (s, back):
        assert t.add(x[:2], [5.,-5.]).tolist()==[457,458]
        t.remove([0,3])
    for k in ('radii','names','score','shell','exponent','inside','by','how','width','next','moved'):
        assert np.array_equal(getattr(s, k), getattr(back, k)), k
    back.save(tmp_path)
    again = load_shells(tmp_path)
    for a,b in zip(again.search(x[:5], 7)[:2], s.search(x[:5], 7)[:2]): assert np.array_equal(a, b)
    assert len([*tmp_path.glob('[!.]*')])==4 # none of what was before is left


def test_a_save_that_dies_leaves_what_was_there(tmp_path, monkeypatch):
    x = some(80)
    s = Shells(x, x[:,0], 4)
    s.save(tmp_path)
    want = s.search(x[:5], 7)
    s.add(x[:40]+1, np.arange(40.))
    def die(*a): raise KeyboardInterrupt
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(module, 'save_tensors', die)
        s.save(tmp_path)
    for a,b in zip(load_shells(tmp_path).search(x[:5], 7)[:2], want[:2]): assert np.array_equal(a, b)


def test_one_process_saves_at_a_time_and_the_next_one_clears_up(tmp_path):
    "Else one would take away the files that the other is about to name"
    s = Shells(some(80), np.arange(80.), 4)
    with Lock(tmp_path), pytest.raises(CheckError, match='no other process at work'): s.save(tmp_path)
    assert not [*tmp_path.glob('*.safetensors')]
    (tmp_path/'..0.new.0123456789abcdef.tmp').write_bytes(b'of one that was killed')
    s.save(tmp_path)
    assert {f.name for f in tmp_path.glob('.*')}=={'.lock'} and len(load_shells(tmp_path))==80


def test_files_that_lie_are_refused(tmp_path):
    x = some(80)
    Shells(x, x[:,0], 4).save(tmp_path)
    head = tmp_path/'shells.safetensors'
    data = head.read_bytes()
    for bad,said in ((data[:-5],'whole safetensors'), (data.replace(b'quarantion.shells', b'quarantion.shelly'),'format'),
                     (data[:-3]+bytes([data[-3]^1])+data[-2:],'digest')):
        head.write_bytes(bad)
        with pytest.raises(CheckError, match=said) as e: load_shells(tmp_path)
        assert 'shells.safetensors' in str(e.value)
    from quarantion.files import load_tensors, save_tensors
    head.write_bytes(data)
    a,h = load_tensors(head, 'quarantion.shells', 1)
    up = [['../'+h['files'][0][0],h['files'][0][1]],*h['files'][1:]]
    for arrays,more,said in ((a,dict(files=up),'files'), (a,dict(files=[1,2,3,4]),'files'), (a,dict(files=[None]),'files'), (a,dict(width='8'),'width'),
                             (dict(a, score=a['score'][:-1]),{},'score'), (dict(a, shell=a['shell']+9),{},'shell'),
                             (dict(a, names=a['names'][::-1].copy()),{},'names'), ({k:v for k,v in a.items() if k!='radii'},{},'tensors')):
        save_tensors(head, arrays, h|more)
        with pytest.raises(CheckError, match=said): load_shells(tmp_path)
    with pytest.raises(CheckError): load_shells(tmp_path/'no such folder')
    (tmp_path/'file').write_text('')
    with pytest.raises(CheckError, match='folder'): Shells(x, x[:,0], 4).save(tmp_path/'file')
    assert json.dumps(h) # what a header holds can be shown


@pytest.mark.parametrize('kw,said', [
    (dict(score=np.ones(40)), 'numbers that differ'), (dict(score=np.full(40, np.nan)), 'finite'), (dict(score=np.arange(39.)), 'score'),
    (dict(score=1.), 'score'), (dict(score='length'), 'dense, norm'), (dict(shells=1), r'shells.*in \[2'), (dict(shells=41), 'at least 41 vectors'),
    (dict(shells=[1.]), 'radii'), (dict(shells=[1.,1.]), 'rising'), (dict(shells=[1.,np.inf]), 'finite'), (dict(exponent=-1.), 'exponent'),
    (dict(inside='out'), 'high, low'), (dict(plan='best'), 'plan'), (dict(recall=.9), 'recall'), (dict(ids=[1,1]+[*range(2, 40)]), 'not taken'),
    (dict(ids=np.arange(39)), '40 whole numbers'), (dict(x=np.zeros((40,8))), 'a direction'), (dict(x=np.zeros((0,8)), score=[]), 'x|score|value'),
    (dict(shells=2.5), 'shells'), (dict(shells=None), 'shells')])
def test_what_does_not_fit_is_refused(kw, said):
    with pytest.raises(CheckError, match=said): Shells(**(dict(x=some(40), score=np.arange(40.))|kw))


def test_a_refusal_changes_nothing():
    x = some(40)
    s = Shells(x, x[:,0], 4)
    state = [s.names.copy(),s.score.copy(),s.shell.copy(),s.search(x[:3], 9)[:2]]
    for f in (lambda: s.add(x[:2], [1.,2.], [5,77]), lambda: s.add(x[:2], [1.]), lambda: s.add(x[:2]), lambda: s.add(x[:2,:3], [1.,2.]),
              lambda: s.remove([99]), lambda: s.remove(np.arange(37)), lambda: s.rescore(np.ones(40)), lambda: s.rescore(),
              lambda: s.search(x[0], 41), lambda: s.search(x[0], 0), lambda: s.search(x[0,:3]), lambda: s.search(x[0], 1, 4), lambda: s.search(x[0], 1, [])):
        with pytest.raises(CheckError): f()
    for a,b in zip(state, [s.names,s.score,s.shell,s.search(x[:3], 9)[:2]]): assert np.array_equal(a, b)
    assert s.add(np.zeros((0,8)), []).shape==(0,)


def test_a_shell_that_cannot_be_made_loses_no_vector():
    "A tier of too few vectors for its head is refused before anything moves"
    refused = 0
    for seed in range(40):
        r = np.random.default_rng(seed)
        n = int(r.integers(9, 25))
        try: ours = Shells(r.normal(size=(n,6)), r.normal(size=n), [1,1.5,3], exponent=float(r.uniform(0, 2)), head=2)
        except CheckError: continue
        was = ours.search(np.ones(6), n)
        try: ours.remove(r.permutation(n)[:int(r.integers(1, n-3))])
        except CheckError:
            refused += 1
            assert all(np.array_equal(a, b) for a,b in zip(was[:2], ours.search(np.ones(6), n)))
    assert refused


def test_names_and_capacities_are_whole_numbers():
    for c,ids,says in (([1.5,2.5],None,'`capacities`: expected whole'), ([1,2],[1.5,2,3],'3 whole numbers'), ([1,2],[5,5,5],'not taken')):
        with pytest.raises(CheckError, match=says): assign_shells([1,2,3], c, ids)


def test_lengths_as_a_score_come_with_a_warning():
    x = some(40)*np.arange(1, 41)[:,None]
    with pytest.warns(UserWarning, match='how long a text is'): s = Shells(x, 'norm')
    assert np.argmax(s.score)==np.argmax((x**2).sum(1))
    with pytest.warns(UserWarning), pytest.raises(CheckError, match='different lengths'): Shells(unit_rows(x), 'norm')


def test_rows_that_are_unit_keep_their_bits():
    for D in (2,3,8,384):
        x = unit_rows(some(300, D, D)*10.**np.random.default_rng(D).integers(-20, 20, (300,1)))
        assert np.array_equal(unit_rows(x), x)
    assert unit_rows(np.float32([[1,1e-3]]))[0,0]<1


def test_pairs_in_the_wrong_order_are_counted():
    rng = np.random.default_rng(0)
    s,k = rng.random(40),rng.integers(0, 5, 40)
    i,j = np.triu_indices(40, 1)
    assert abs(wrong_order(s, k)-(((s[i]-s[j])*(k[i]-k[j]))<0).mean())<1e-12


def test_no_pass_is_cheaper_than_the_sort_or_keeps_capacities():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400,16))*rng.choice([.8,2.,3.5], 400)[:,None]
    *others,sort = fill_shells(np.sqrt((x*x).sum(1)), x, 8)
    assert sort.surplus==sort.order==sort.empty==0 and sort.cost==1
    for e in others: assert e.surplus>.05 and e.cost>=1-1e-12


def test_recall_of_a_tier_is_that_of_a_search():
    x,q = some(300, 16),some(30, 16, 1)
    s = Shells(x)
    got,full = tier_recall(x, q, dict(dense=s.score))['dense'],s.search(q, 10).ids
    for j in (5,6,7):
        ids = s.search(q, 10, slice(0, j+1)).ids
        assert abs(np.mean([len(np.intersect1d(a, b)) for a,b in zip(ids, full)])/10-got[j,1])<1e-12
    d = bench_shells(x, np.arange(1, 301), 1, 100, 60)
    assert {r['questions'] for r in d['tiers']}=={'once','again'} and all(np.array(r['found'])[-1].tolist()==[1,1] for r in d['tiers'])
