"A program step by step does what it does at once: spikes, states, and what is proved of them."
import math
import warnings

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.runtime.layer import ONE, IntLayer
from quarantion.runtime.network import IntegerNetwork
from quarantion.runtime.stream import Events, events_of, spikes_of
from test_random_networks import network, policy, sample

REFUSED = 'never reset', 'cannot fire', 'half a unit', '|v| < 2^31', 'more bits in a convolution'


def drawn(rng):
    "A random program of any kind and input for it, over time; None where its like is refused by name"
    torch.manual_seed(int(rng.integers(2**31)))
    net,p = network(rng),policy(rng)
    x = sample(rng, net, 3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return lower(prepare(net, p, x)),x.numpy()
    except CheckError as e:
        assert any(w in str(e) for w in REFUSED), e


def over_time(program, x): return x if x.ndim==len(program.in_shape)+2 else np.broadcast_to(x, (program.steps, *x.shape))


def same_step_by_step(program, x, rng):
    "Spikes of each step, by numbers or by events; and states, of a stream that another one goes on with"
    want,x,at = program.record(x),over_time(program, x),int(rng.integers(1, program.steps))
    spikes = program.in_min==0 and program.in_max==1
    s,got = program.stream(x.shape[1]),[]
    for t,xt in enumerate(x):
        if t==at: s = program.stream(x.shape[1], s.state)
        got.append(spikes_of(s.step(events_of(xt) if spikes and t%2 else xt)))
        if t==at:
            for r,now in zip(want, s.state): assert (r.mem[t]==now.mem).all()
    assert (np.stack(got)==want[-1].spk).all()
    for r,now in zip(want, s.state):
        assert now.steps==r.state.steps==len(x)
        for k in ('mem','current','spk'):
            a,b = getattr(r.state, k),getattr(now, k)
            assert a is None and b is None or (a==b).all(), k


def random_programs(seed, n):
    rng,done = np.random.default_rng(seed),0
    while done<n:
        if (found := drawn(rng)) is None: continue
        yield *found,rng
        done += 1


@pytest.mark.parametrize('seed', range(4))
def test_a_stream_does_what_a_run_does(seed):
    kinds = set()
    for program,x,rng in random_programs(seed, 12):
        same_step_by_step(program, x, rng)
        for l in program.layers: kinds |= {l.reset, bool(l.conv), l.recurrent.ndim if len(l.recurrent) else 0, bool(l.clip), bool(len(l.levels)), len(l.current_leak)>0}
    assert len(kinds)>6


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(100, 130))
def test_a_stream_does_what_a_run_does_long(seed):
    for program,x,rng in random_programs(seed, 20): same_step_by_step(program, x, rng)


def plain(m=.9, steps=20, **kw):
    full = lambda v: np.full(3, v, np.int32)
    w = np.random.default_rng(0).integers(-4, 5, (3,6)).astype(np.int8)
    l = IntLayer(w, full(0), full(3<<8), full(int(m*ONE)), np.full(3, 1/(3<<8)), **kw)
    return IntegerNetwork((l,), (6,), steps=steps, in_scale=1., in_min=0, in_max=1)


def test_the_steps_of_a_program_do_not_bound_a_stream_but_what_is_proved_does():
    leaks,sums = plain(),plain(1.)
    assert leaks.longest==math.inf and 20<sums.longest<2**31
    sums.prove(sums.longest)
    with pytest.raises(CheckError, match='2\\^31'): sums.prove(sums.longest+1)
    s = leaks.stream(1)
    for _ in range(100): s.step(np.ones((1,6), np.uint8))   # more than the 20 that the file promises
    assert s.steps==100
    s = sums.stream(1)
    s.steps = sums.longest-1
    s.step(np.ones((1,6), np.uint8))
    with pytest.raises(CheckError, match=f'steps: expected at most {sums.longest}, for which nothing overflows, found {sums.longest+1}'): s.step(np.ones((1,6), np.uint8))


def test_a_membrane_that_stays_in_bounds_is_proved_for_ever():
    assert plain(1., clip=2000).longest==math.inf
    v = plain(1., clip=2000).stream(1)
    for _ in range(300): v.step(np.zeros((1,6), np.uint8))


def test_steps_of_a_state_count():
    p = plain(1.)
    s = p.stream(1)
    s.steps = p.longest
    with pytest.raises(CheckError, match='nothing overflows'): p.stream(1, s.state).step(np.zeros((1,6)))


ONE_STEP = np.zeros((2,6), np.uint8)


@pytest.mark.parametrize('x,said', [
    (ONE_STEP[:1], r'batch of `x`.*one step of 2 samples, \[2, 6\], found \[1, 6\]'), (ONE_STEP[:,:5], 'width of `x`.*found \\[2, 5\\]'),
    (ONE_STEP[None], 'width of `x`'), (np.zeros(6), 'width of `x`'), (ONE_STEP+2, 'codes in'), (ONE_STEP+.5, 'spikes: 0 or 1'), (ONE_STEP*np.nan, '0 or 1'),
    (Events(np.array([0]), np.array([1]), (2,7)), 'width of `x`'), (Events(np.array([0]), np.array([1]), (3,6)), 'batch of `x`'),
    (Events(np.array([2]), np.array([1]), (2,6)), '`sample`.*from 0 to 1'), (Events(np.array([0]), np.array([-1]), (2,6)), '`place`.*from 0 to 5'),
    (Events(np.array([0,1]), np.array([1]), (2,6)), '`place`.*one for each sample'), (Events(np.array([0,0]), np.array([1,1]), (2,6)), 'found one twice'),
    (Events(np.array([0.]), np.array([1]), (2,6)), '`sample`')])
def test_what_is_not_one_step_is_refused_by_name(x, said):
    s = plain().stream(2)
    with pytest.raises(CheckError, match=said): s.step(x)
    assert s.steps==0 and not s.state[0].mem.any()


@pytest.mark.parametrize('batch', [0, -1, True, 1.5, '2'])
def test_a_batch_that_is_none(batch):
    with pytest.raises(CheckError, match='`batch`'): plain().stream(batch)


def test_a_state_of_another_program_or_batch():
    with pytest.raises(CheckError, match='int32 \\[3, 3\\]'): plain().stream(3, plain().stream(2).state)
    with pytest.raises(CheckError, match='one of this program'): plain().stream(2, plain(.5).stream(2).state)


def test_a_state_is_a_copy():
    s = plain().stream(2)
    kept = s.state
    s.step(np.ones((2,6), np.uint8))
    assert not kept[0].mem.any() and s.state[0].mem.any()
