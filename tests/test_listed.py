"Few spikes are lists: of integers the same numbers as of the dense product, of real numbers near them"
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quarantion import prepare, preset
from quarantion.checks import CheckError
from quarantion.spikes import LIF, Network, listed

SIZES = (40,60,50)


@pytest.fixture(autouse=True)
def small(monkeypatch): monkeypatch.setattr(listed, '_LEAST', 0)


def made(policy='', density=.2):
    torch.manual_seed(0)
    a,b,c = SIZES
    net = Network(nn.Linear(a,b), LIF(.9), nn.Linear(b,c), LIF(.9, reset='none'), steps=12)
    x = (torch.rand(12,16,a)<density).float()
    return prepare(net, preset(policy), x+(x.sum()==0)).train() if policy else net,x,torch.randint(0, c, (16,))


def grads(net, x, y):
    net.zero_grad()
    scores = net(x)[1].sum(0)
    F.cross_entropy(scores, y).backward()
    return scores.detach(),{n:p.grad for n,p in net.named_parameters() if p.grad is not None}


def dense(monkeypatch): monkeypatch.setattr(listed, 'lists_of', lambda x: ())


def near(a, b): assert (a-b).norm()<=2e-5*b.norm()+1e-8, (a-b).norm()/b.norm()


@pytest.mark.parametrize('density', (0,.1,.4,1))
@pytest.mark.parametrize('policy', ('','int8','nonary'))
def test_near_what_is_dense(policy, density, monkeypatch):
    net,x,y = made(policy, density)
    before,used = {k:v.clone() for k,v in net.state_dict().items()},[]
    sums = listed._sums
    monkeypatch.setattr(listed, '_sums', lambda *a: used.append(1) or sums(*a))
    ours = grads(net, x, y)
    assert len(used)>=(density<1)
    net.load_state_dict(before)
    dense(monkeypatch)
    theirs = grads(net, x, y)
    if policy: assert torch.equal(ours[0], theirs[0])
    else: near(ours[0], theirs[0])
    assert set(ours[1])==set(theirs[1])
    for k in ours[1]: near(ours[1][k], theirs[1][k])


@pytest.mark.parametrize('policy', ('','int8'))
def test_threads_change_nothing(policy, monkeypatch):
    net,x,y = made(policy)
    x,y = x.repeat(1, 64, 1),y.repeat(64)
    before,n,found = {k:v.clone() for k,v in net.state_dict().items()},torch.get_num_threads(),[]
    w,b,g = torch.randn(700, 40),torch.randn(700),torch.randn(12*16*64, 700)
    try:
        for threads in 1,2,3:
            torch.set_num_threads(threads)
            net.load_state_dict(before)
            lists = listed.lists_of(x.flatten(0, 1))
            found.append([grads(net, x, y)[0],listed._sums(lists, w, b),*listed._gains(lists, g, 40, True)])
    finally: torch.set_num_threads(n)
    for other in found[1:]: assert all(torch.equal(a, b) for a,b in zip(found[0], other))


@pytest.mark.parametrize('save', ('recompute','trace','bits'))
def test_all_ways_to_run_are_the_same(save):
    net,x,y = made()
    scores,g = grads(net, x, y)
    net.layers[1].save = save
    again = grads(net, x, y)
    assert torch.equal(scores, again[0]) and all(torch.equal(g[k], again[1][k]) for k in g)
    with torch.no_grad(): assert torch.equal(net(x)[1].sum(0), scores)


def test_who_is_not_plain_computes_as_ever(monkeypatch):
    "Hooks, autocast, other dtypes and transforms"
    x,layer = (torch.rand(20,40)<.1).float(),nn.Linear(40,60)
    monkeypatch.setattr(listed, '_sums', lambda *a: 1/0)
    for x_ in x.double(),x/2,torch.rand(20,40): listed.applied(layer.to(x_.dtype), x_)
    layer.float()
    with torch.autocast('cpu', torch.bfloat16): assert listed.applied(layer, x).dtype==torch.bfloat16
    assert torch.func.vmap(lambda v: listed.applied(layer, v[None]))(x).shape==(20,1,60)
    handle = layer.register_forward_hook(lambda m, i, o: None)
    listed.applied(layer, x)
    handle.remove()
    with pytest.raises(ZeroDivisionError): listed.applied(layer, x)


def test_nothing_to_multiply():
    layer = nn.Linear(40,60)
    for shape in (0,40),(3,40):
        y = listed.applied(layer, x := torch.zeros(shape).requires_grad_())
        y.sum().backward()
        assert torch.equal(y.detach(), layer.bias.detach().expand(shape[0], 60)) and x.grad.shape==shape
    assert torch.equal(layer.bias.grad, torch.full((60,), 3.)) and not layer.weight.grad.any()


def test_no_gradient_that_nobody_wants(monkeypatch):
    x,layer = (torch.rand(20,40)<.1).float(),nn.Linear(40,60, bias=False)
    g, = torch.autograd.grad(listed.applied(layer, x).sum(), layer.weight)
    near(g, x.sum(0).expand(60, 40))
    layer.weight.requires_grad_(False)
    monkeypatch.setattr(listed, '_gains', lambda *a: 1/0)
    near(torch.autograd.grad(listed.applied(layer, x.requires_grad_()).sum(), x)[0], layer.weight.sum(0).expand(20, 40))
    with pytest.raises(CheckError, match='second'): torch.autograd.grad(listed.applied(layer, x).square().sum(), x, create_graph=True)[0].sum().backward()


def test_overflow_is_refused():
    net,x,_ = made('int8')
    with torch.no_grad():
        net.layers[0].bias.fill_(1e6)
        net.layers[0].beta.fill_(1.)
    with pytest.raises(CheckError, match='membranes: expected .v. < 2.31'): net(x)


def test_without_compiled_kernels(monkeypatch):
    from test_kernels import load
    net,x,y = made()
    ours = grads(net, x[:,:2], y[:2])
    for k in 'list_spikes','turn_lists','listed_products','listed_gradient': monkeypatch.setattr(listed, k, getattr(load('listed'), k))
    theirs = grads(net, x[:,:2], y[:2])
    assert all(torch.equal(ours[1][k], theirs[1][k]) for k in ours[1])


def test_who_listens_is_heard():
    import torch.nn.modules.module as modules
    from torch import nn
    from quarantion.spikes.listed import applied
    layer,x,seen = nn.Linear(2048, 64),(torch.rand(64, 2048)<.1).float(),[]
    plain = applied(layer, x)
    h = modules.register_module_forward_hook(lambda m, i, y: seen.append(1) if m is layer else None)
    applied(layer, x)
    h.remove()
    assert seen==[1]
    old = layer.forward
    layer.forward = lambda v: 2*old(v)
    torch.testing.assert_close(applied(layer, x), 2*plain)
