"Spikes that nobody wrote: the same numbers as those that were, where order allows it, and near them where it does not."
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quarantion import prepare, preset
from quarantion.checks import CheckError
from quarantion.quant.readout import may_wait
from quarantion.quant.observers import find_observers
from quarantion.spikes import LIF, Network, unwritten

SIZES = (40,200,7)


def made(policy='', **how):
    torch.manual_seed(0)
    a,b,c = SIZES
    net = Network(nn.Linear(a,b), LIF(.9, **how), nn.Linear(b,c), LIF(.9, reset='none'), steps=12)
    x = torch.rand(16,a)
    return (prepare(net, preset(policy), x).train() if policy else net),x,torch.randint(0, c, (16,))


def grads(net, x, y, rate=0.):
    net.zero_grad()
    scores,fired = net.answer(x)
    (F.cross_entropy(scores, y)+rate*fired).backward()
    return scores.detach(),fired.detach(),{n:p.grad for n,p in net.named_parameters() if p.grad is not None}


def written(monkeypatch):
    "Spikes are written, and multiplied by torch"
    monkeypatch.setattr(unwritten, '_MOST', 0)


def near(a, b): assert (a-b).norm()<=2e-5*b.norm()+1e-8, (a-b).norm()/b.norm() # that of a scale is what is left of many


@pytest.mark.parametrize('over_time', (False,True))
@pytest.mark.parametrize('how', (dict(), dict(reset='zero', learn_beta=True), dict(reset='subtract_delayed', detach_reset=False, learn_threshold=True), dict(surrogate='sigmoid')))
@pytest.mark.parametrize('policy', ('','int8','nonary'))
def test_near_what_is_written(policy, how, over_time, monkeypatch):
    "Sums of float32 have another order: gradients differ by rounding; of integers, scores, spikes and observers do not differ"
    net,x,y = made(policy, **how)
    if over_time: x = (torch.rand(12,16,SIZES[0])<.3).float()
    if over_time and policy: net = prepare(Network(nn.Linear(40,200), LIF(.9, **how), nn.Linear(200,7), LIF(.9, reset='none')), preset(policy), x).train()
    before = {k:v.clone() for k,v in net.state_dict().items()}
    ours = grads(net, x, y, .3)
    seen = {n:(o.min_val.clone(),o.max_val.clone()) for n,o in find_observers(net).items()}
    net.load_state_dict(before)
    written(monkeypatch)
    theirs = grads(net, x, y, .3)
    if policy:
        assert torch.equal(ours[0], theirs[0])
        for n,o in find_observers(net).items(): assert torch.equal(seen[n][0], o.min_val) and torch.equal(seen[n][1], o.max_val), n
    else: near(ours[0], theirs[0])
    assert ours[1]==theirs[1]>0
    assert set(ours[2])==set(theirs[2])
    for k in ours[2]: near(ours[2][k], theirs[2][k])


@pytest.mark.parametrize('policy', ('','int8'))
def test_threads_change_nothing(policy):
    net,x,y = made(policy)
    before = {k:v.clone() for k,v in net.state_dict().items()}
    n,found = torch.get_num_threads(),[]
    try:
        for threads in 1,2,3:
            torch.set_num_threads(threads)
            net.load_state_dict(before)
            scores,_,g = grads(net, x.repeat(64, 1), y.repeat(64))
            found.append([scores,*(g[k] for k in g if k.endswith('2.weight') or k.endswith('1.latent'))])
    finally: torch.set_num_threads(n)
    for other in found[1:]:
        for a,b in zip(found[0], other): assert torch.equal(a, b)


@pytest.mark.parametrize('save', ('recompute','trace','bits'))
def test_all_ways_to_run_are_the_same(save):
    net,x,y = made()
    scores,fired,g = grads(net, x, y)
    net.layers[1].save = save
    again = grads(net, x, y)
    assert torch.equal(scores, again[0]) and fired==again[1]
    assert all(torch.equal(g[k], again[2][k]) for k in g)
    assert torch.equal(net(x)[1], net.record(x)[1].mem)
    with torch.no_grad(): assert torch.equal(net(x)[1], net.record(x)[1].mem)


def test_overflow_is_refused():
    "The proof is made before neurons run, written or not"
    net,x,_ = made('int8')
    with torch.no_grad():
        net.layers[0].bias.fill_(1e6)
        net.layers[0].beta.fill_(1.)
    with pytest.raises(CheckError, match='membranes: expected .v. < 2.31'): net(x)


def test_without_compiled_kernels(monkeypatch):
    "The source of the kernel, as Python, gives the same weights"
    from test_kernels import load
    net,x,y = made('nonary')
    before = {k:v.clone() for k,v in net.state_dict().items()}
    ours = grads(net, x[:2], y[:2])
    net.load_state_dict(before)
    for m,k in ('readout','readout_forward'),('readout_back','readout_backward'): monkeypatch.setattr(unwritten, k, getattr(load(m), k))
    theirs = grads(net, x[:2], y[:2])
    assert all(torch.equal(ours[2][k], theirs[2][k]) for k in ours[2])


def test_who_keeps_more_than_ends_gets_all():
    "A histogram of membranes needs every one of them"
    net,x,y = made('int8')
    net.layers[0].membrane.spike_aware = True
    assert not may_wait(net.layers[0], torch.zeros(1,16,200, requires_grad=True), 12)
    net.layers[0].membrane.spike_aware = False
    assert may_wait(net.layers[0], torch.zeros(1,16,200, requires_grad=True), 12)
    grads(net, x, y)


def test_many_outputs_and_other_layers_take_spikes():
    torch.manual_seed(0)
    net = Network(nn.Linear(9,20), LIF(), nn.Dropout(.1), nn.Linear(20,50), LIF(), nn.Linear(50,40), LIF(reset='none'))
    seen = []
    net.layers[5].register_forward_hook(lambda m, i, o: seen.append(i[0].shape))
    net(torch.rand(4,9))[1].sum().backward()
    assert seen==[(25*4,50)] and all(p.grad is not None for p in net.parameters())
    assert net.answer(torch.rand(4,9))[1]>0


@pytest.mark.filterwarnings('ignore:Full backward hook')
def test_who_listens_is_heard():
    import torch.nn.modules.module as modules
    torch.manual_seed(0)
    net,x = Network(nn.Linear(12,40), LIF(), nn.Linear(40,5), LIF(reset='none'), steps=6),torch.rand(3, 12)
    heard = []
    for listen in (lambda: net.layers[2].register_full_backward_hook(lambda *a: heard.append(1)),
                   lambda: net.layers[2].register_full_backward_pre_hook(lambda *a: heard.append(1)),
                   lambda: modules.register_module_forward_hook(lambda m, *a: heard.append(1) if m is net.layers[2] else None),
                   lambda: modules.register_module_full_backward_hook(lambda m, *a: heard.append(1) if m is net.layers[2] else None)):
        heard.clear()
        h = listen()
        net.answer(x)[0].sum().backward()
        h.remove()
        assert len(heard)==1
    want,old = net.answer(x)[0],net.layers[2].forward
    net.layers[2].forward = lambda v: 2*old(v)
    torch.testing.assert_close(net.answer(x)[0], 2*want)


def test_float32_where_inputs_are_small(monkeypatch):
    "Weights that could make sums of 2²⁴, and inputs that cannot: the same integers as in float64"
    from quarantion.quant import layer
    torch.manual_seed(0)
    x,y = torch.rand(16,784)*.2,torch.randint(0, 7, (16,))
    net = prepare(Network(nn.Linear(784,50), LIF(.9), nn.Linear(50,7), LIF(.9, reset='none'), steps=5), preset('int8'), x+.8*(x==x.max())).train()
    with torch.no_grad(): net.layers[0].latent.copy_(net.layers[0].latent.sign()*.04)
    before = {k:v.clone() for k,v in net.state_dict().items()}
    assert layer._fits_here(net.layers[0], net.encode(x)[None]) and not layer.prove(net.layers[0], net.layers[0].codes(), 5)
    ours = grads(net, x, y)
    net.load_state_dict(before)
    monkeypatch.setattr(layer, '_fits_here', lambda *a: False)
    theirs = grads(net, x, y)
    assert torch.equal(ours[0], theirs[0]) and ours[0].any()
    for k in ours[2]: near(ours[2][k], theirs[2][k])
