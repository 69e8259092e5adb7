"A recording in pieces is the recording, bit for bit: float networks, quantized ones, their programs; and their gradients."
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from quarantion import load, lower, prepare
from quarantion.checks import CheckError
from quarantion.quant import Policy
from quarantion.spikes import LIF, Network, RecurrentLIF, RecurrentSynaptic, Synaptic
from quarantion.spikes.neuron import RESETS, Diagonal

KINDS = 'lif','synaptic','recurrent','both'
POLICIES = (Policy('int8'), Policy('nonary'), Policy('int4', membrane='clipped(8)', current='int4'), Policy('int4', membrane='levels(16)'),
    Policy('int8', current='int8'), Policy('int4', membrane='uint8', current='int5'))


def neurons(kind, n, reset, conv, way, **kw):
    kw = dict(beta=.875, threshold=.5, reset=reset, **kw)
    if kind=='lif': return LIF(**kw)
    if kind=='synaptic': return Synaptic(.5, **kw)
    back = Diagonal(torch.full((n,), -.25)) if way else nn.Conv2d(n, n, 3, padding=1) if conv else nn.Linear(n, n)
    return RecurrentLIF(back, **kw) if kind=='recurrent' else RecurrentSynaptic(back, alpha=.5, **kw)


def network(kind, reset, conv, way, last='none', **kw):
    "Weights on a grid, so that sums do not depend on their order"
    hidden,out = neurons(kind, 4, reset, conv, way, **kw),LIF(.875, .5, reset=last, **kw)
    if conv: net = Network(nn.Conv2d(1,4,3), hidden, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16,3), out, in_shape=(1,6,6), steps=7)
    else: net = Network(nn.Linear(5,4), hidden, nn.Linear(4,3), out, steps=7)
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (nn.Linear,nn.Conv2d)):
                m.weight.copy_((m.weight*96).round()/64)
                if m.bias is not None: m.bias.copy_((m.bias*96).round()/64)
    return net


def pieces(run, x, cuts, states=lambda rs: [r.state for r in rs]):
    "Records of the pieces between the cuts, joined, and the last state"
    state,out = None,[]
    for a,b in zip([0,*cuts], [*cuts,len(x)]):
        out.append(run(x[a:b], state))
        state = states(out[-1])
    join = torch.cat if isinstance(out[0][0].spk, torch.Tensor) else np.concatenate
    return [(join([p[i].spk for p in out]),join([p[i].mem for p in out])) for i in range(len(out[0]))],state


def same(joined, whole):
    for (s,m),w in zip(joined, whole):
        assert np.array_equal(np.asarray(s.detach() if hasattr(s, 'detach') else s), np.asarray(w.spk.detach() if hasattr(w.spk, 'detach') else w.spk))
        assert np.array_equal(np.asarray(m.detach() if hasattr(m, 'detach') else m), np.asarray(w.mem.detach() if hasattr(w.mem, 'detach') else w.mem))


def same_state(theirs, ours):
    "The integers in a state of a quantized network are the state of the program"
    for a,b in zip(theirs, ours):
        assert a.steps==b.steps
        for n in 'mem','current','spk':
            u,v = getattr(a.ints, n),getattr(b, n)
            assert (u is None)==(v is None) and (u is None or np.array_equal(u.numpy(), v) and str(u.dtype)==f'torch.{v.dtype}')


drawn = dict(seed=st.integers(0, 9999), kind=st.sampled_from(KINDS), reset=st.sampled_from(RESETS[:3]), conv=st.booleans(), way=st.booleans(),
    policy=st.sampled_from(POLICIES), last=st.sampled_from(['none','subtract']), cuts=st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True).map(sorted), first=st.booleans())


@settings(max_examples=30, deadline=None)
@given(**drawn)
def test_pieces_are_the_whole(tmp_path_factory, seed, kind, reset, conv, way, policy, last, cuts, first):
    torch.manual_seed(seed)
    net = network(kind, reset, conv, way, last)
    x = (torch.rand(7, 2, *net.in_shape)<.5).float()
    with torch.no_grad(): same(pieces(net.record, x, cuts)[0], net.record(x))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            q = prepare(net, policy, x)
            program = lower(q)
            path = tmp_path_factory.mktemp('p')/'net'
            program.save(path)
            again = load(path)
    except CheckError: return # refused by name: a neuron that cannot fire, a convolution of few bits
    for mode in (True,False):
        q.train(mode)
        if mode and policy.current!='exact': continue # scales of currents follow their observer, from piece to piece
        whole = q.record(x)
        joined,_ = pieces(q.record, x, cuts)
        same(joined, whole)
        state = [r.state for r in q.record(x[:cuts[0]])]
        assert torch.equal(q(x[cuts[0]:], state=state)[0], whole[-1].spk[cuts[0]:])
    joined,theirs = pieces(lambda x,s: q.integers(x, state=s), x, cuts)
    for p in program,again:
        run = lambda x,s: p.record(x.numpy(), state=s)
        ours = p.record(x.numpy())
        same(joined, ours)
        mine,state = pieces(run, x, cuts)
        same(mine, ours); same_state(theirs, state)
        half = [r.state for r in q.record(x[:cuts[0]])] # a state of the network is one of its program too
        for r,w in zip(p.record(x[cuts[0]:].numpy(), state=half), ours): assert np.array_equal(r.mem, w.mem[cuts[0]:])
        taken = [r.state for r in again.record(x[:cuts[0]].numpy())] # and that of the file, one of the program
        assert np.array_equal(program(x[cuts[0]:].numpy(), state=taken)[1], ours[-1].mem[cuts[0]:])


def gradients(net, x, cuts, weight, cut):
    "Of all parameters, of a loss over all pieces; states are detached where `cut`"
    net.zero_grad()
    state,loss,spikes = None,0,[]
    for a,b in zip([0,*cuts], [*cuts,len(x)]):
        rs = net.record(x[a:b], state)
        loss = loss+(rs[-1].mem*weight[a:b]).sum()+(rs[-1].spk*weight[a:b]).sum()
        state = [r.state.detach() if cut else r.state for r in rs]
        spikes.append(rs[0].spk)
    loss.backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None],torch.cat(spikes)


@pytest.mark.parametrize('detach', [True,False])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('reset', RESETS[:3])
@pytest.mark.parametrize('quantized', [False,True])
def test_gradients_cross_the_border(kind, reset, quantized, detach):
    torch.manual_seed(1)
    net = network(kind, reset, False, False, 'subtract', detach_reset=detach, slope=5., learn_beta=True, learn_threshold=True)
    x,w = (torch.rand(7,2,5)<.5).float(),torch.randn(7,2,3)
    if quantized:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            net = prepare(net, Policy('int8'), x).train()
    (all_,s),(pieced,t),(cut,u) = gradients(net, x, [], w, False),gradients(net, x, [2,5], w, False),gradients(net, x, [2,5], w, True)
    assert torch.equal(s, t) and torch.equal(s, u) and len(all_)>4
    for a,b in zip(all_, pieced): torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-3) # float32
    assert any(not torch.allclose(a, c, rtol=1e-3, atol=1e-3) for a,c in zip(all_, cut))


@pytest.mark.parametrize('reset', RESETS[:3])
def test_cut_gradients_are_those_of_a_plain_loop(reset):
    "One layer: membranes detached in the same places"
    from quarantion.spikes.surrogate import spike
    torch.manual_seed(0)
    x,w = torch.randn(9,2,4, dtype=torch.float64),torch.randn(9,2,4, dtype=torch.float64)
    lif = LIF(.8, .5, reset=reset, slope=5., learn_beta=True).double()
    state,loss = None,0
    for a in 0,3,6:
        r = lif.record(x[a:a+3], state)
        loss,state = loss+(w[a:a+3]*r.mem).sum(),r.state.detach()
    ours, = torch.autograd.grad(loss, [lif.beta])
    beta,u,total = lif.beta.detach().clone().requires_grad_(),torch.zeros(2,4, dtype=torch.float64),0
    for t in range(9):
        if t in (3,6): u = u.detach()
        v = beta*u+x[t]
        if reset=='subtract_delayed': v = v-spike(u-.5, slope=5.).detach()*.5
        s = spike(v-.5, slope=5.).detach()
        u = v-s*.5 if reset=='subtract' else v*(1-s) if reset=='zero' else v
        total = total+(w[t]*u).sum()
    torch.testing.assert_close(ours, torch.autograd.grad(total, [beta])[0], rtol=1e-9, atol=1e-9)


def test_training_may_move_the_scale_between_pieces():
    "The integers of a state are counted in the new unit"
    torch.manual_seed(0)
    x = (torch.rand(7,2,5)<.5).float()
    q = prepare(network('lif', 'subtract', False, False), Policy('int8'), x).train()
    s = [r.state for r in q.record(x)]
    with torch.no_grad():
        for l in q.layers: l.scale.mul_(2)
    for l,a,b in zip(q.layers, s, q.record(x[:1]*0, state=s)):
        now = l.codes().real.unit.detach()
        assert torch.allclose(now, 2*a.ints.of.unit)
    v = (s[0].ints.mem*s[0].ints.of.unit/q.layers[0].codes().real.unit.detach()).round()
    assert (v!=0).any() and (v*q.layers[0].codes().real.unit.detach()-s[0].mem).abs().max()<=q.layers[0].codes().real.unit.max()


def test_what_does_not_fit_is_refused():
    torch.manual_seed(0)
    net = network('synaptic', 'subtract', False, False)
    x = (torch.rand(7,2,5)<.5).float()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        q,other = prepare(net, Policy('int8'), x),prepare(net, Policy('nonary'), x)
        p,o = lower(q),lower(other)
    of = lambda run: [r.state for r in run]
    floats,quants,ints = of(net.record(x)),of(q.record(x)),of(p.record(x.numpy()))
    def refused(match, f):
        with pytest.raises(CheckError, match=match): f()
    for run,s in (net.record,floats),(q.record,quants),(lambda x,state: p.record(x.numpy(), state=state),ints):
        refused('`state`: expected 2 `State`s.*found 1', lambda: run(x, state=s[:1]))
        refused('`state`: expected a list, found Tensor', lambda: run(x, state=x))
        refused(r'`state.mem`: expected .* \[1, 4\], found .* \[2, 4\]', lambda: run(x[:,:1], state=s))
        refused(r'`state.current`: expected .*, found none', lambda: run(x, state=[replace(s[0], current=None, ints=None),s[1]]))
    refused('layer 1: `state.mem`: expected float32', lambda: net.record(x, [replace(s, mem=s.mem.double()) for s in floats]))
    refused('layer 0: `state.mem`: expected int32', lambda: p.record(x.numpy(), state=[replace(s, mem=s.mem.astype(np.int64)) for s in ints]))
    refused('layer 1: `levels` of `state`: expected int8, found nonary', lambda: q.record(x, of(other.record(x))))
    refused('layer 0: `state`: expected one of this program, found one of another', lambda: p.record(x.numpy(), state=of(o.record(x.numpy()))))
    refused('expected a|one of a float network', lambda: net.record(x, quants))
    refused('one of a quantized network', lambda: q.record(x, floats))
    refused('one of a quantized network', lambda: q.record(x, ints))
    refused('one of a program', lambda: p.record(x.numpy(), state=floats))


def test_steps_before_count_in_the_proof():
    "A readout that never leaks is proved for all steps since rest"
    net = Network(nn.Linear(3,2), LIF(1., reset='none'), steps=4)
    p = lower(prepare(net, Policy('int8'), torch.rand(8,3)))
    state = [replace(r.state, steps=2**26) for r in p.record(np.ones((4,1,3))/2)]
    with pytest.raises(CheckError, match=r'\|v\| < 2\^31'): p.record(np.ones((4,1,3))/2, state=state)


def test_batch_first_and_constant_input():
    torch.manual_seed(0)
    net = network('recurrent', 'zero', False, False)
    other = Network(*net.layers, steps=7, batch_first=True)
    x = (torch.rand(7,2,5)<.5).float()
    whole,state = net.record(x),[r.state for r in other.record(x[:3].transpose(0, 1))]
    for r,w in zip(other.record(x[3:].transpose(0, 1), state), whole): assert torch.equal(r.mem, w.mem[3:])
    still = x[0]
    first = net.record(still)
    for r,w in zip(net.record(still, [r.state for r in first]), net.record(still.expand(14, *still.shape))): assert torch.equal(r.mem, w.mem[7:])
