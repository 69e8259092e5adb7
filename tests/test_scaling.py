"The law of a step, on truths that are known; and two processes that are started."
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.bench.many import Turn, bench_many, bench_many_table, efficiency, in_turn, scaled
from quarantion.bench.scaling import Law, Steps, alone, errors, fit, hops, nonnegative, predict, received, slowest, spread_of, steps_of
from quarantion.bench.workers import LINKS, Hook, Job, Link, far_table, hooks_of, predict_far
from quarantion.checks import CheckError

ROWS = [(n,b,r,j,m,p) for n,m,p in (('a',1,4e4),('a',6,4e4),('b',2,6.4e6),('b',7,6.4e6)) for b in (8,24,64)
        for r,j in ((1,False),(2,False),(2,True),(3,True),(4,True))]


def steps(rows=ROWS): return Steps(*map(np.array, zip(*(r+(0.,) for r in rows))))


def plainly(law, network, batch, n, joined, messages, payload):
    "The law once more, a line for each word"
    t = law.step_s[network]+law.sample_s[network]*batch
    if n>1: t *= law.beside
    if joined:
        t *= max(1, float(np.quantile(law.spread, .5**(1/n))))
        for _ in range(2*(n-1)): t += messages*law.hop_s+payload/n*law.byte_s
    return t*max(1, n/law.cores)


positive = lambda a,b: st.floats(a, b)
laws = st.builds(lambda a,b,c,d,k,tau,beta,s: Law(dict(a=a,b=b), dict(a=c,b=d), k, tau, beta, np.array([1-s,1.,1+2*s]), 2),
                 *[positive(1e-3, .1)]*2, *[positive(1e-5, 1e-3)]*2, positive(1, 2), positive(1e-5, 2e-3), positive(1e-10, 2e-8), positive(0, .3))


@settings(max_examples=40, deadline=None)
@given(law=laws)
def test_a_known_law_is_found_again_and_knows_what_it_has_not_seen(law):
    s = steps()
    t = predict(law, s)
    assert np.allclose(t, [plainly(law, *r) for r in ROWS], rtol=1e-12)
    s = s._replace(seconds=t)
    found = fit(s.take(s.ranks<=2), law.spread, 2)
    for k in 'beside','hop_s','byte_s': assert getattr(found, k)==pytest.approx(getattr(law, k), rel=1e-5), k
    for k in 'ab': assert (found.step_s[k],found.sample_s[k])==pytest.approx((law.step_s[k],law.sample_s[k]), rel=1e-6)
    assert np.abs(errors(t, predict(found, s))).max()<1e-6


@pytest.mark.parametrize('seed', range(5))
def test_with_noise_of_two_percent_four_processes_are_known_within_five(seed):
    rng,law = np.random.default_rng(seed),Law(dict(a=.003,b=.006), dict(a=4e-4,b=1e-3), 1.05, 3e-4, 1.5e-9, np.array([.97,1.,1.,1.04]), 2)
    s = steps()
    noisy = s._replace(seconds=predict(law, s)*np.exp(.02*rng.standard_normal(len(ROWS))))
    found = fit(noisy.take(s.ranks<=2), law.spread, 2)
    assert np.median(np.abs(errors(predict(law, s), predict(found, s))[s.ranks==4]))<.05


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 8), m=st.integers(1, 3))
def test_nothing_counts_below_zero_and_no_other_choice_is_better(seed, k, m):
    from itertools import product
    rng = np.random.default_rng(seed)
    A,y,s = rng.standard_normal((k,m)),rng.standard_normal(k),rng.uniform(.5, 2, k)
    x = nonnegative(A, y, s)
    loss = lambda v: (((A@v-y)/s)**2).sum()
    assert (x>=0).all()
    if m<3: # of three columns, leaving out one at a time need not end at the best
        choices = [np.array(u, bool) for u in product((0,1), repeat=m)]
        best = []
        for u in choices:
            v = np.zeros(m)
            if u.any(): v[u] = np.linalg.lstsq(A[:,u]/s[:,None], y/s, rcond=None)[0]
            if (v>=-1e-12).all(): best.append(loss(v))
        assert loss(x)<=min(best)*(1+1e-9)+1e-9


def test_the_slowest_of_some():
    v = np.random.default_rng(3).lognormal(0, .3, 2001)
    draws = np.random.default_rng(4).choice(v, (4000,64))
    for n in 1,2,8,64: assert slowest(v, n)==pytest.approx(max(1, np.median(draws[:,:n].max(1))), rel=.03)
    assert slowest(v, 10**6)<=v.max() and slowest([.5], 3)==1
    assert (np.diff(slowest(v, np.arange(1, 50)))>=0).all()


def test_where_gathering_ends_to_pay():
    n = np.arange(2, 200)
    for bits in 16,8,4,3.2,1,.64:
        less = received('gather', n, bits/8)<received('ring', n, 4.)*(1-1e-12)
        assert (less==(n<64/bits*(1-1e-12))).all(), bits
    assert received('ring', 2, 4.)/received('gather', 2, .4)==pytest.approx(10) and received('ring', 4, 4.)/received('gather', 4, .4)==pytest.approx(5)


def test_far_away_time_is_computing_and_bytes():
    law,job = Law(dict(a=.01), dict(a=.001), 3., 1., 1., np.ones(4), 2),Job('a', 10, 10**6, 3)
    for way,n,s in ('ring',4,1.25*1e-9+2*1e-10),('gather',4,1e-9+4*1e-10): # what it packs and reads
        free,dear = (predict_far(law, job, Hook('x', 8., way, *c), LINKS[0], n) for c in ((),(1e-9,1e-10)))
        assert dear-free==pytest.approx(10**6*s)
    t = predict_far(law, job, Hook('x', 8.), Link('y', 8e6, .5), [1,3])
    assert t==pytest.approx([.02,.02+4/3+3*.5*4])
    assert predict_far(law, job, Hook('x', 8., 'gather'), Link('y', 8e6, .5), [1,3])==pytest.approx([.02,.02+2.+3*.5*2]) # neither neighbours nor the loopback of this machine are in it
    hooks = hooks_of([dict(name=n, bits=b, encode_s=0., decode_s=0.) for n,b in (('nonary',3.3),('topk',.64))])
    assert [(h.name,h.way) for h in hooks]==[('float32','ring'),('nonary','ring'),('topk','gather'),('nonary, gathered','gather')]
    assert far_table(law, job, 1024, hooks).count('\n')==1+len(hooks) and LINKS[0].name in far_table(law, job, 2, hooks)
    assert predict_far(law, job, hooks[1], LINKS[0], 2)-predict_far(law, job, hooks[3], LINKS[0], 2)==pytest.approx(3*1e-4) # as many bytes, a hop more


some = steps()._replace(seconds=np.ones(len(ROWS)))
two = some.take(some.ranks<=2)
REFUSED = dict(
    one_size=(lambda: fit(two.take(two.batch==8), [1.], 2), 'batches of a: expected two sizes or more'),
    negative=(lambda: fit(two._replace(seconds=-two.seconds), [1.], 2), 'seconds'),
    nan=(lambda: fit(two._replace(seconds=np.nan*two.seconds), [1.], 2), 'seconds'),
    more_than_cores=(lambda: fit(some, [1.], 2), 'at most a process for each of 2 cores'),
    no_meeting=(lambda: fit(two.take(~two.joined), [1.], 2), 'add up gradients'),
    no_parting=(lambda: fit(two.take(two.joined|(two.ranks==1)), [1.], 2), 'compute side by side'),
    one_message=(lambda: fit(two.take((two.network=='a')&(two.messages<2)), [1.], 2), 'messages and bytes'),
    no_cores=(lambda: fit(two, [1.], 0), 'cores'),
    no_ranks=(lambda: hops('ring', 0), 'whole numbers from 1 on'),
    half_a_rank=(lambda: received('ring', 1.5, 4.), 'whole numbers from 1 on'),
    no_way=(lambda: received('tree', 2, 4.), 'way'),
    no_spread=(lambda: slowest([], 2), 'spread'),
    zero_spread=(lambda: slowest([0.,1.], 2), 'spread'),
    other_network=(lambda: predict(Law({}, {}, 1., 0., 0., np.ones(1), 2), two), 'network'),
    no_rows=(lambda: steps_of([]), 'steps'),
    no_apart=(lambda: spread_of([dict(ranks=1, joined=False, seconds=[[1.]])]), 'rows'),
    no_bandwidth=(lambda: predict_far(Law(dict(a=1.), dict(a=1.), 1., 0., 0., np.ones(1), 2), Job('a', 1, 1), Hook('x', 32.), Link('', 0.), 2), 'bits_s'),
    no_workers=(lambda: predict_far(Law(dict(a=1.), dict(a=1.), 1., 0., 0., np.ones(1), 2), Job('a', 1, 1), Hook('x', 32.), LINKS[0], 0), 'ranks'),
    other_rounds=(lambda: efficiency([[1.]], [[1.],[1.]]), 'rounds'),
    no_time=(lambda: efficiency([[0.]], [[1.]]), 'seconds'),
    one_process=(lambda: bench_many(1), 'threads'),
    too_few=(lambda: in_turn([Turn('conv', 2, 3)], 2), 'ranks'),
    scale=(lambda: nonnegative([[1.]], [1.], [-1.]), 'scale'))


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_is_refused(name):
    call,word = REFUSED[name]
    with pytest.raises(CheckError) as e: call()
    assert word in str(e.value) and '\n' not in str(e.value), e.value


def test_no_gpus_no_nccl():
    import torch
    if torch.cuda.device_count()>=2: pytest.skip('there are two')
    with pytest.raises(CheckError, match='device.*expected 2 GPUs'): in_turn([Turn('conv', 2, 2)], 2, device='cuda')


def test_more_processes_than_cores_claim_nothing():
    rows = [dict(network='conv', batch=4, ranks=n, joined=j, seconds=[[s]*2]*3) for n,j,s in ((1,False,1.),(4,False,2.),(4,True,3.))]
    r = scaled(rows, 2)
    assert (r.efficiency,r.apart,r.goal,r.wrong)==(None,None,0.,'') and 'no scaling number' in bench_many_table([r])
    slow = scaled([r|dict(ranks=min(2, r['ranks'])) for r in rows], 2)
    assert slow.efficiency==pytest.approx(1/3) and '33% against 90%' in slow.wrong


def test_two_processes_meet_count_and_are_told_apart():
    "One start: what a law needs of its rows, and that processes which are joined have the same gradients"
    turns = [Turn('conv nonary', b, n, j, cap) for b in (1,2) for n,j,cap in ((1,False,0.),(2,False,0.),(2,True,0.),(2,True,.001))]
    rows = in_turn(turns, 2, rounds=2, steps=2)
    assert json.loads(json.dumps(rows))==rows
    assert [(r['rank'],r['ranks'],r['joined']) for r in rows].count((1,2,True))==4 and not any(r['rank'] and r['ranks']==1 for r in rows)
    for r in rows:
        assert [len(s) for s in r['seconds']]==[2,2] and (r['messages']>0)==r['joined']==(r['bytes']>0)
        if r['joined']: assert r['messages']==(4 if r['cap'] else 1) and r['bytes']==4*10965
    law = fit(steps_of(rows), spread_of(rows), 2)
    assert alone(law, 'conv nonary', 2)>0 and (predict(law, steps_of(rows))>0).all()
