"Scales by every rule, and exceptions for single layers: what is trained is still what runs in integers."
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.data.digits import load_digits
from quarantion.quant.level_sets import max_scale, levels, percentile_scale
from quarantion.quant.lowering import lower
from quarantion.quant.policy import SCALES, Policy, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.fit import batches, evaluate, train_epoch


def net():
    torch.manual_seed(0)
    return Network(nn.Linear(20,30), LIF(beta=.9), nn.Linear(30,4), LIF(beta=.9, reset='none'), steps=12)


def trained(policy, tmp_path, steps=12):
    "Prepared, trained a little, lowered and proved from its file"
    n,x = net(),torch.rand(40,20, generator=torch.Generator().manual_seed(1))
    q = prepare(n, policy, x)
    before = [l.scale.detach().clone() for l in q.layers]
    opt,y = torch.optim.Adam(q.param_groups(1e-2)),torch.arange(40)%4
    for _ in range(steps):
        loss = F.cross_entropy(q(x)[1].mean(0), y)
        opt.zero_grad(); loss.backward(); opt.step()
    prog = lower(q)
    prog.save(tmp_path/'n.safetensors')
    from quarantion.runtime.network import load
    proof = verify(q, load(tmp_path/'n.safetensors'), [(x,y)])
    assert proof.mismatches==0 and proof.spikes>0
    return n,q,before


@pytest.mark.parametrize('per_channel', (True,False))
@pytest.mark.parametrize('rule', SCALES)
def test_every_rule(rule, per_channel, tmp_path):
    n,q,before = trained(Policy('nonary', scale=rule, per_channel=per_channel), tmp_path)
    assert [len(s) for s in before]==[30 if per_channel else 1,1]
    moved = [not torch.equal(l.scale, s) for l,s in zip(q.layers, before)]
    assert moved==[rule in ('lsq','pact')]*2
    axis = 0 if per_channel else None
    if rule=='max': assert torch.equal(before[0], max_scale(n.layers[0].weight, levels('nonary'), axis).reshape(-1))
    if rule=='percentile': assert torch.equal(before[0], percentile_scale(n.layers[0].weight, levels('nonary'), axis).reshape(-1))
    if rule=='pow2': assert torch.equal(torch.log2(before[0]), torch.log2(before[0]).round())


def test_only_clipped_weights_move_a_pact_scale():
    q = prepare(net(), Policy('nonary', scale='pact'), torch.rand(4,20))
    l = q.layers[0]
    with torch.no_grad(): l.scale.mul_(.5)
    (k := l.codes().real).weight.sum().backward()
    z,s = (l.latent/l.scale[:,None]).detach(),l.scale.detach()
    out = torch.where(z.abs()>4, k.weight.detach(), torch.zeros(())).sum(1)/s/(20*4)**.5 # LSQ's 1/√(n·Q), ∂code = ∂(code·s)/s, and ∂(code·s)/∂s = code where clipped
    assert torch.allclose(l.scale.grad, out, atol=1e-3*out.abs().max().item()) and out.abs().max()>0
    assert torch.equal(l.latent.grad!=0, z.abs()<=4)


def test_fixed_scales_stay_fixed_when_loaded():
    q = prepare(net(), Policy('int4', scale='max'), torch.rand(4,20))
    q.load_state_dict(q.state_dict())
    assert not any(l.scale.requires_grad for l in q.layers) and all(l.latent.requires_grad for l in q.layers)


def test_exceptions(tmp_path):
    _,q,_ = trained(preset('mixed'), tmp_path)
    assert [l.lv.name for l in q.layers]==['nonary','int8']
    _,q,_ = trained(Policy('ternary', layers={q.names[0]: dict(weight='int4', scale='max')}), tmp_path)
    assert [(l.lv.name,l.rule) for l in q.layers]==[('int4','max'),('ternary','lsq')]


def test_a_weight_that_is_not_finite_is_refused_parametrized_or_not():
    "A parametrized weight is no parameter of its layer; it would become code 0 in silence"
    from quarantion.quant.pruning import hold_zeros
    for hold in False,True:
        q = prepare(net(), preset('nonary'), torch.rand(4,20))
        if hold: hold_zeros(q)
        w = q.layers[0].parametrizations.weight.parametrizations.original.original if hold else q.layers[0].latent
        with torch.no_grad(): w[0,0] = torch.nan
        with pytest.raises(ValueError, match='weight.*finite'): q.freeze()


def test_a_copy_that_is_switched_to_its_own_policy_stays_as_it_is():
    torch.manual_seed(0)
    policy,x = Policy('int4', current='int8'),torch.rand(40, 30)
    q = prepare(Network(nn.Linear(30,20), LIF(threshold=.4), nn.Linear(20,5), LIF(reset='none'), steps=9), policy, x).eval()
    other = copy.deepcopy(q).switch(policy)
    for a,b in zip(q.layers, other.layers): assert a.current.count.equal(b.current.count) and a.current.count.any() and a.current.max_val.equal(b.current.max_val)
    for a,b in zip(q.integers(x), other.integers(x)): assert a.spk.any() and a.spk.equal(b.spk) and a.mem.equal(b.mem)


@pytest.mark.parametrize('policy', [preset('int8'), Policy('int8', membrane='levels(16)', layers={'last': dict(membrane='exact')})], ids=['int8','levels'])
def test_gradient_descent_takes_one_rate_for_all_parameters(policy):
    d = load_digits()
    torch.manual_seed(0)
    n = Network(nn.Linear(64,32), LIF(beta=.9), nn.Linear(32,10), LIF(beta=.9, reset='none'), steps=10)
    data = lambda seed: batches(d.x_train, d.y_train, 64, seed=seed, shuffle=True)
    opt = torch.optim.Adam(n.parameters(), 5e-3)
    for e in range(3): train_epoch(n, opt, data(e))
    q = prepare(n, policy, d.x_train[:64])
    before,opt = [l.scale.detach().clone() for l in q.layers],torch.optim.SGD(q.parameters(), .01)
    once = evaluate(q, batches(d.x_test, d.y_test, 360))['accuracy']
    for e in range(2): train_epoch(q, opt, data(e+10))
    assert once>.9 and evaluate(q, batches(d.x_test, d.y_test, 360))['accuracy']>once-.02
    for l,s in zip(q.layers, before): assert ((l.scale/s).log2().abs()<.5).all() and not torch.equal(l.scale, s) # 20 seeds: .38 at most
