"Fewer meetings: reduction by groups, outer steps, drift; and two processes beside two replicas"
import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from meetings_driver import HALF, SPARSE, begin
from torch import nn

from quarantion.checks import CheckError
from quarantion.train.meetings import (MEAN, Asked, Every, Met, Outer, Planned, adam_stride, check_groups, drift, flat, groups_of, meet, moved,
                                       next_steps, outer_step, put_flat, replicas, start, step_done, two_level)


@st.composite
def partitions(draw):
    "Ranks in any order, in groups of any sizes"
    n = draw(st.integers(1, 13))
    order,cuts = draw(st.permutations(range(n))),sorted(draw(st.sets(st.integers(1, max(1, n-1)), max_size=5)))
    edges = [0,*(c for c in cuts if c<n),n]
    return tuple(tuple(order[a:b]) for a,b in zip(edges, edges[1:]))


@settings(max_examples=40, deadline=None)
@given(partitions(), st.integers(0, 99), st.sampled_from([1e-20,1.,1e20]))
def test_two_levels_are_the_flat_mean(groups, seed, size):
    "In float64 beside float32, to the last bits of the sum of sizes; whole numbers to the bit; the same whatever the groups"
    n,drawn = sum(map(len, groups)),torch.Generator().manual_seed(seed)
    values = [size*torch.randn(17, generator=drawn) for _ in range(n)]
    want,most = torch.stack(values).double().mean(0),torch.stack(values).double().abs().mean(0)
    r = two_level(values, groups)
    assert ((r.mean-want).abs()<=(n+1)*2**-24*most).all()
    whole = [torch.randint(-1000, 1000, (17,), generator=drawn).float() for _ in range(n)]
    assert two_level(whole, groups).mean.equal(torch.stack(whole).sum(0)/n)
    assert r.sent==2*(n-1)*17*4 and r.between==2*(len(groups)-1)*17*4


@settings(max_examples=30, deadline=None)
@given(partitions(), st.sampled_from([HALF,SPARSE]), st.integers(0, 99))
def test_what_was_sent_and_what_is_left_is_all(groups, code, seed):
    n,drawn,left,sent,whole = sum(map(len, groups)),torch.Generator().manual_seed(seed),(),0.,0.
    for _ in range(5):
        values = [torch.randn(40, generator=drawn) for _ in range(n)]
        r = two_level(values, groups, code, left)
        left,sent,whole = r.left,sent+r.mean.double(),whole+torch.stack(values).double().mean(0)
    kept = torch.stack(left).double().sum(0)/n if left else 0. # one group needs no code
    assert len(left)==(len(groups) if len(groups)>1 else 0)
    assert (sent+kept-whole).abs().max()<1e-5


@pytest.mark.parametrize('groups,found', [(((0,1),(1,2,3)),'rank 1 in 2'), (((0,1),(3,)),'rank 2 in none'), (((0,1,2,3),()),'no tuple'),
                                          (((0,1,2,4),),'rank 4'), (((0,1,2,3),(-1,)),'rank -1'), (((0,1,2,3.),),'no tuple'), ((),'rank 0 in none')])
def test_groups_that_are_none(groups, found):
    with pytest.raises(CheckError, match=found): check_groups(groups, 4)
    with pytest.raises(CheckError, match=found): two_level([torch.ones(3)]*4, groups)


def test_vectors_that_are_none():
    one,groups = torch.ones(3),((0,),(1,))
    for values in [one], [one,torch.ones(4)], [one,one.double()], [one,[1.,1.,1.]], [one.int()]*2, [one[None]]*2, []:
        with pytest.raises(CheckError): two_level(values, groups)
    for left in (one,), (one,torch.ones(4)): # of another network
        with pytest.raises(CheckError, match='left'): two_level([one,one], groups, HALF, left)


def test_bytes():
    assert moved(100, ((0,1,2,3),))==(600,0)
    assert moved(100, ((0,1),(2,3)))==(600,200)
    assert moved(100, ((0,1),(2,3)), [10,12])==(400+22,22) # each to the other
    assert moved(100, ((0,),(1,),(2,)), [30])==(60,60) # all that leaders write


@pytest.mark.parametrize('lr,momentum', [(.7,.9),(1.,0.),(.3,.5)])
def test_the_outer_step_is_nesterovs(lr, momentum):
    "Beside a loop over single numbers, in float64"
    drawn = torch.Generator().manual_seed(0)
    deltas = torch.randn(9, 5, generator=drawn, dtype=torch.float64)
    state = Met(torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64), steps=4)
    for d in deltas: state = outer_step(state, d, Outer(lr, momentum))
    for i in range(5):
        w,m = 0.,0.
        for d in deltas[:,i].tolist():
            m = momentum*m+d
            w -= lr*(d+momentum*m)
        assert abs(w-state.weights[i])<1e-13
    assert state.meetings==9 and state.steps==0


def test_outer_steps_that_cannot_be():
    state = start(nn.Linear(2, 2))
    for how in Outer(0.), Outer(-1.), Outer(momentum=1.), Outer(momentum=-.1), Outer(math.nan):
        with pytest.raises(CheckError): outer_step(state, torch.zeros(6), how)
    for d in torch.zeros(5), torch.zeros(6).double(), torch.full((6,), math.inf):
        with pytest.raises(CheckError, match='mean_delta'): outer_step(state, d)


@pytest.mark.parametrize('rule', [Every(0), Every(-3), Every(2.), Every(True), Asked(0.), Asked(-1.), Asked(math.nan), Asked(.1, 0), Planned(0.), Planned(math.inf)])
def test_rules_that_cannot_be(rule):
    net = nn.Linear(2, 2)
    with pytest.raises(CheckError): step_done(start(net), [net], replicas(((0,),)), rule)


def test_the_stride_of_adam_is_a_bound():
    "Random and hostile gradients stay below it, and the most hostile reach it"
    drawn = torch.Generator().manual_seed(0)
    for betas in (.9,.999), (.5,.9), (0.,.99):
        w = nn.Parameter(torch.zeros(2000, dtype=torch.float64))
        opt = torch.optim.Adam([w], lr=1., betas=betas, eps=1e-300)
        sizes = 10**(6*torch.rand(2000, generator=drawn, dtype=torch.float64)-3)
        for t in range(1, 60):
            w.grad = torch.randn(2000, generator=drawn, dtype=torch.float64)*sizes**(t/20)
            before = w.detach().clone()
            opt.step()
            assert (w.detach()-before).abs().max()<=adam_stride(t, betas)*(1+1e-9)
    for betas in (.9,.7), (1.,.999), (.9,1.), (.9,), (.9,-.1):
        with pytest.raises(CheckError): adam_stride(3, betas)


def test_drift():
    a,b = torch.randn(1000, generator=torch.Generator().manual_seed(0)),torch.ones(1000)
    want = math.sqrt(sum((x-y)**2 for x,y in zip(a.tolist(), b.tolist())))/math.sqrt(1000)
    assert abs(drift(a, b)-want)<1e-6
    assert drift(b, b)==0 and drift(b, 0*b)==math.inf and drift(0*b, 0*b)==math.inf and drift(b/0, b)==math.inf
    with pytest.raises(CheckError): drift(a, b[1:])


def test_plans_grow_at_most_twofold_and_never_stop():
    assert [next_steps(f, 6, .3) for f in (0.,.01,.15,.3,.7,9.,math.inf)]==[12,12,12,6,2,1,1]


def walk(rule, ranks=3, steps=60, how=MEAN, speed=.01):
    "Weights that go a random way each"
    drawn,net = torch.Generator().manual_seed(0),nn.Linear(20, 10)
    nets = [copy.deepcopy(net) for _ in range(ranks)]
    state,far = start(net),[]
    for _ in range(steps):
        for m in nets: put_flat(flat(m)+speed*torch.randn(210, generator=drawn), m)
        far.append(max(drift(flat(m), state.weights) for m in nets))
        before,state = state,step_done(state, nets, replicas(groups_of(ranks, ranks)), rule, how)
        if state.meetings>before.meetings: assert all(flat(m).equal(state.weights) for m in nets)
    return state,far


def test_who_asks_meets_within_a_step_and_who_plans_near_it():
    state,far = walk(Asked(.3))
    assert all(f<.45 for f in far) and 0<state.meetings<60 and state.messages==60
    seldom,_ = walk(Asked(.3, each=4))
    assert seldom.messages<=15+seldom.meetings and seldom.meetings<=state.meetings
    planned,far = walk(Planned(.3))
    assert max(far)<.6 and planned.messages==planned.meetings<60
    never,_ = walk(Every(10**6))
    assert never.meetings==never.sent==0 and never.steps==60


def test_one_rank_is_alone():
    "No bytes; and the mean of one is itself"
    state,_ = walk(Every(7), ranks=1)
    assert state.sent==0 and state.meetings==8


def test_a_rank_that_lost_its_weights_is_found_by_every_rule():
    for rule in Every(1), Asked(9.), Planned(9.):
        nets = [nn.Linear(2, 2) for _ in range(3)]
        put_flat(flat(nets[2])/0, nets[2])
        with pytest.raises(CheckError, match='a rank has lost its weights'): step_done(start(nets[0]), nets, replicas(((0,1,2),)), rule)


def test_only_what_learns_is_moved():
    net = nn.Linear(3, 2)
    net.bias.requires_grad_(False)
    bias = net.bias.clone()
    assert len(flat(net))==6
    meet(start(net), [net], replicas(((0,),)), Outer())
    assert net.bias.equal(bias)


@pytest.fixture(scope='module')
def two(): return begin(2)


def test_two_processes_reduce_as_replicas_do(two):
    for r in two['means'].values(): assert r['twin']==0 and r['missing']<1e-6 and r['one'] and r['counts']


def test_two_processes_end_with_the_bits_of_replicas(two):
    assert len(two['same'])==7
    for r in two['same'].values(): assert r['bits'] and r['equal'] and r['count'][0]>0


def test_means_of_weights_are_torchs(two):
    "PostLocalSGDOptimizer with PeriodicModelAverager, in float64"
    assert two['torch']['apart']<1e-14 and two['torch']['far']>.1 and two['torch']['meetings']==4


def test_every_process_hears_that_one_is_lost(two):
    assert len(two['lost'])==2 and 'a rank has lost its weights' in two['lost'][0]


def test_processes_refuse_groups(two): assert 'found rank 0 in 2' in two['refused']


@pytest.mark.soak
@pytest.mark.parametrize('n', [3,4])
def test_more_processes(n):
    "More than two may be added in another order: near, and the same on every rank"
    got = begin(n)
    for r in got['means'].values(): assert r['twin']<1e-6 and r['missing']<1e-5 and r['one'] and r['counts']
    assert got['torch']['apart']<1e-14
    for r in got['same'].values(): assert r['apart']<1e-2 and r['equal']
