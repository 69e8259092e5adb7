"Answers before the end: not one differs where it is proved, and few where that was asked for."
from dataclasses import replace

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.runtime.layer import ONE, IntLayer
from quarantion.runtime.network import IntegerNetwork, load
from quarantion.runtime.until import Margin, _Going, _step_by_step, early, margin_for
from quarantion.runtime.whole import is_wide
from test_stream import random_programs

WORDS = 'sum', 'population(3)', 'first_spike', 'max_membrane', 'labels(.2)'


def decided(program, rng):
    "The program with a decision that fits its last layer"
    words = [w for w in WORDS if not (w=='population(3)' and program.plan[-1].neurons%3)]
    return replace(program, decision=words[rng.integers(len(words))])


def changed(program, x, rng):
    "Answers that differ, and steps saved; also of input that is not known in advance"
    program,saved = decided(program, rng),0
    for v in (x, np.repeat(x[None], program.steps, 0) if x.ndim==len(program.in_shape)+1 else x):
        e = early(program, v, 'proved')
        assert (e.said==program.classify(v)).all(), program.decision
        assert e.steps.min()>=1 and e.steps.max()<=program.steps
        saved += int((program.steps-e.steps).sum())
    return saved


@pytest.mark.parametrize('seed', range(4))
def test_no_answer_differs_where_it_is_proved(seed): assert sum(changed(*found) for found in random_programs(1000+seed, 15))>0


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(40))
def test_no_answer_differs_where_it_is_proved_long(seed): assert sum(changed(*found) for found in random_programs(2000+seed, 30))>0


def plain(outputs=4, reset='subtract', decision='sum', steps=25, hidden=True, seed=0):
    rng = np.random.default_rng(seed)
    full = lambda c,v: np.full(c, v, np.int32)
    def layer(c, j, reset='subtract'):
        return IntLayer(rng.integers(-4, 5, (c,j)).astype(np.int8), full(c, 0), full(c, 6<<8), full(c, int(.9*ONE)), np.full(c, 1/(6<<8)), reset=reset)
    layers = (layer(16,8),layer(outputs,16,reset)) if hidden else (layer(outputs,8,reset),)
    return IntegerNetwork(layers, (8,), steps=steps, in_scale=1., in_min=0, in_max=1, decision=decision)


def pictures(n, seed=1): return (np.random.default_rng(seed).random((n,8))<.5).astype(np.uint8)


@pytest.mark.parametrize('decision', WORDS)
def test_what_is_known_is_said_before_anything_fired(decision):
    "Constant input of one layer tells all there is to come: the answer is that of the end, not that of the first step"
    net = plain(3 if '3' in decision else 4, hidden=False, decision=decision)
    e = early(net, pictures(300), 'proved')
    assert (e.said==net.classify(pictures(300))).all()
    if decision in ('sum','population(3)'): assert e.steps.max()==1


def any_future(net, x, t, rng):
    "Answers where the steps after t are anything"
    return net.classify(np.concatenate([x[:t], (rng.random((net.steps-t,*x.shape[1:]))<rng.random()).astype(np.uint8)]))


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize('reset', ['subtract', 'zero', 'subtract_delayed', 'none'])
def test_no_future_changes_a_proved_answer(reset, hidden):
    "What comes after the step that a sample stopped at is replaced: by noise, by nothing, by everything"
    rng,net = np.random.default_rng(0),plain(reset=reset, hidden=hidden)
    x = (rng.random((25,40,8))<.4).astype(np.uint8)
    e = early(net, x, 'proved')
    for t in np.unique(e.steps):
        on = e.steps==t
        for _ in range(20): assert (any_future(net, x[:,on], t, rng)==e.said[on]).all()
        for v in (0, 1):
            rest = np.full((25-t,on.sum(),8), v, np.uint8)
            assert (net.classify(np.concatenate([x[:t,on], rest]))==e.said[on]).all()


def test_a_bound_that_is_too_small_would_be_found(monkeypatch):
    "The tests above see a proof that leaves out one spike"
    from quarantion.runtime import until
    right = until.can_add
    monkeypatch.setattr(until, 'can_add', lambda *a: tuple((v*.2).astype(v.dtype) for v in right(*a)))
    with pytest.raises(AssertionError):
        for reset in ('subtract','zero'): test_no_future_changes_a_proved_answer(reset, False)


@pytest.mark.parametrize('decision', ['sum', 'population(2)', 'labels(0.2)'])
@pytest.mark.parametrize('reset', ['subtract', 'none'])
def test_a_margin_keeps_what_it_promises(decision, reset):
    net = plain(decision=decision, reset=reset)
    x,later = pictures(2000),pictures(2000, 2)
    m = margin_for(net, x, .98)
    e,want = early(net, x, m),net.classify(x)
    differ = (e.said!=want).reshape(len(x), -1).any(1).sum()
    assert differ==m.changed<=40 and e.steps.mean()==pytest.approx(m.steps) and m.samples==2000 and m.agreement==.98 and m.sure<.99
    assert (net.classify(later, until=m)!=net.classify(later)).reshape(len(x), -1).any(1).mean()<.04


def test_all_steps_are_what_classify_does():
    for decision in ('sum','labels(0.2)','population(2)'):
        net = plain(decision=decision)
        e = early(net, pictures(50), Margin(np.inf))
        assert (e.said==net.classify(pictures(50))).all() and (e.steps==25).all()


def test_no_change_allowed():
    net = plain()
    m = margin_for(net, pictures(500), 1.)
    assert m.changed==0 and (net.classify(pictures(500), until=m)==net.classify(pictures(500))).all()


def test_a_first_spike_ends_it():
    net = plain(decision='first_spike')
    e = early(net, pictures(200), 'proved')
    assert (e.said==net.classify(pictures(200))).all() and e.steps.mean()<15


@pytest.mark.parametrize('until', ['soon', True, -1, np.nan, None, [], object()])
def test_what_is_no_rule(until):
    with pytest.raises(CheckError, match='`until`'): early(plain(), pictures(2), until)


@pytest.mark.parametrize('decision', ['first_spike', 'max_membrane'])
def test_decisions_without_a_margin(decision):
    with pytest.raises(CheckError, match="until='proved'"): margin_for(plain(decision=decision), pictures(1000), .9)
    with pytest.raises(CheckError, match="until='proved'"): plain(decision=decision).classify(pictures(2), until=.5)


def test_values_have_no_answer():
    with pytest.raises(CheckError, match='classes or labels'): early(plain(decision='values', reset='none'), pictures(2), 'proved')


def test_too_few_samples_to_tell():
    with pytest.raises(CheckError, match='at least 1000 samples'): margin_for(plain(), pictures(999), .999)
    with pytest.raises(CheckError, match='agreement'): margin_for(plain(), pictures(999), 1.5)


def in_turn(net, x, m):
    "What the path layer by layer says"
    codes,steps = net._start(x, False)
    return _step_by_step(net, m, _Going(net, codes, steps), steps)


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize('reset', ['subtract', 'zero', 'subtract_delayed', 'none'])
@pytest.mark.parametrize('decision', ['sum', 'population(3)', 'labels(.2)'])
def test_one_call_is_layer_by_layer(decision, reset, hidden):
    "All that the kernel takes: spikes over time and constant, codes of several values, one sample and many, every bound"
    net,rng = plain(6, reset, decision, hidden=hidden),np.random.default_rng(3)
    many = replace(net, in_min=-5, in_max=9)
    cases = [(net,(rng.random((25,40,8))<.4).astype(np.uint8)), (net,pictures(40)), (many,rng.integers(-5, 10, (25,40,8))), (many,rng.integers(-5, 10, (40,8)))]
    for p,x in cases:
        assert p.whole
        for bound in (0, .1, 1000.):
            for least in (1, 4):
                m = Margin(bound, least)
                a,b = early(p, x, m),in_turn(p, x, m)
                np.testing.assert_array_equal(a.said, b.said)
                np.testing.assert_array_equal(a.steps, b.steps)
        one = x[:,:1] if x.ndim==3 else x[:1]
        np.testing.assert_array_equal(p.classify(one), p.decide(*p(one)))


@pytest.mark.parametrize('seed', range(3))
def test_random_programs_stop_where_they_did(seed):
    "Whatever a program is made of: where one call takes it, and where it does not"
    for p,x,rng in random_programs(3000+seed, 12):
        p = decided(p, rng)
        if not p.decision.startswith(('sum','population','labels')): continue
        m = Margin(float(rng.choice([0, .05, 50.])), int(rng.integers(1, 4)))
        a,b = early(p, x, m),in_turn(p, x, m)
        assert (a.said==b.said).all() and (a.steps==b.steps).all()
        one = x[:1] if x.ndim==len(p.in_shape)+1 else x[:,:1]
        assert (p.classify(one)==p.decide(*p(one))).all()


def test_a_margin_is_for_one_program(tmp_path):
    "The same program in a file, or on more threads, takes it; one of any other integer, number of steps or decision does not"
    net = plain()
    m = margin_for(net, pictures(2000), .99)
    net.save(tmp_path/'net.safetensors')
    for same in load(tmp_path/'net.safetensors'), replace(net, threads=2): assert (same.classify(pictures(9), until=m)==net.classify(pictures(9), until=m)).all()
    layer = net.layers[0]
    weight = layer.weight.copy()
    weight[0,0] ^= 1
    others = [replace(net, layers=(replace(layer, **k),*net.layers[1:])) for k in (dict(weight=weight), dict(theta=layer.theta+1), dict(leak=layer.leak-1), dict(reset='zero'))]
    for other in (*others, replace(net, steps=24), replace(net, decision='population(2)'), replace(net, in_max=2)):
        with pytest.raises(CheckError, match=f'classify: `until`: expected a margin for this program, {other.digest[:12]}, found one for another, {net.digest[:12]}'):
            other.classify(pictures(9), until=m)
        assert len(other.classify(pictures(9), until=Margin(m.bound, m.least)))==9
    with pytest.raises(CheckError, match='`of`: expected the digest of a program, found 3'): Margin(.5, of=3)


def test_a_program_that_is_read_is_the_same(tmp_path):
    for p,*_ in random_programs(4000, 12):
        p.save(tmp_path/'net.safetensors')
        assert load(tmp_path/'net.safetensors').digest==p.digest


def test_wide_layers_are_shared_between_threads():
    "With a thread to spare a wide network goes layer by layer, and says the same"
    net = plain(6)
    x = (np.random.default_rng(3).random((25,1,8))<.4).astype(np.uint8)
    long = np.tile(x, (500,1,1))
    assert not is_wide(net.whole, 1, 25, 2) and is_wide(net.whole, 1, 12_500, 2) and not is_wide(net.whole, 2, 12_500, 2)
    for v in x, long: assert (replace(net, threads=2).classify(v)==net.classify(v)).all()
