"Learned slope, leak and threshold: gradients against a plain loop, ranges, copies and compilation"
import copy
import pytest, torch
from torch import nn
from quarantion.checks import CheckError
from quarantion.spikes.parameters import learnable, settle
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RESETS, Diagonal, Gradient, RecurrentLIF, lif_counts
from quarantion.spikes.surrogate import SURROGATES, soft_spike, spike
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def step(x, name, k): # the value of a step, the gradients of the soft spike, by autograd alone
    soft = soft_spike(x, name, k)
    return (x>0).to(x.dtype)+soft-soft.detach()

def plain(x, beta, theta, k, name, reset, detach, u):
    ss,us = [],[]
    for i in x:
        v = beta*u+i
        if reset=='subtract_delayed':
            p = step(u-theta, name, k)
            v = v-(p.detach() if detach else p)*theta
        s = step(v-theta, name, k)
        r = s.detach() if detach else s
        u = v-r*theta if reset=='subtract' else v*(1-r) if reset=='zero' else v
        ss.append(s); us.append(u)
    return torch.stack(ss),torch.stack(us)

@pytest.mark.parametrize('name', SURROGATES)
@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('kind', ['recompute', 'trace', 'recurrent'])
def test_gradients(name, reset, detach, kind):
    kw = dict(beta=.8, threshold=.7, reset=reset, surrogate=name, slope=1.3, detach_reset=detach)
    net = (RecurrentLIF(Diagonal(0.), **kw) if kind=='recurrent' else LIF(**kw)).double()
    if kind!='recurrent': net.save = kind
    learnable(net, 'beta', 'threshold', 'slope')
    x,v0 = torch.randn(20,3,5, dtype=torch.float64),torch.randn(3,5, dtype=torch.float64)
    w,z = torch.randn(2,20,3,5, dtype=torch.float64)
    s,u = net(x, v0)
    (w*s+z*u).sum().backward()
    raw = {n:getattr(net.parametrizations, n).original for n in ('beta','threshold','slope')}
    ours = {n:p.grad for n,p in raw.items()}
    b,t,k = (p.detach().clone().requires_grad_() for p in raw.values())
    s2,u2 = plain(x, b.sigmoid(), t.exp(), k.exp(), name, reset, detach, v0)
    assert torch.equal(s, s2.detach().round()) and 0<s.mean()<1
    (w*s2+z*u2).sum().backward()
    for n,p in zip(ours, (b,t,k)):
        torch.testing.assert_close(ours[n], p.grad, rtol=1e-8, atol=1e-9); assert p.grad!=0

def test_constant_input_and_counts():
    x,k = torch.rand(1,3,5, dtype=torch.float64, requires_grad=True),torch.tensor(2., dtype=torch.float64, requires_grad=True)
    net = LIF(.8, .7, slope=2.).double()
    net.slope = k
    long = torch.autograd.grad(net(x.expand(9,3,5))[0].sum(), (x,k))
    for out in net(x, steps=9)[0].sum(),lif_counts(x, net.beta, net.threshold, gradient=Gradient(slope=k), steps=9).sum():
        for a,b in zip(torch.autograd.grad(out, (x,k)), long): torch.testing.assert_close(a, b); assert b.any()

@pytest.mark.parametrize('make', [lambda: LIF(), lambda: RecurrentLIF(Diagonal(.1)), lambda: Synaptic(.5), lambda: RecurrentSynaptic(Diagonal(.1), .5)])
def test_network(make):
    "Every value gets a gradient, moves, stays in range, and survives a copy and a state_dict"
    net = Network(nn.Linear(6,8), make(), nn.Linear(8,3), LIF(reset='none'), steps=10)
    names = [n for n in ('alpha','beta','threshold','slope') if hasattr(net.layers[1], n)]
    x,start = 2*torch.rand(4,6),copy.deepcopy(net)
    learnable(net.layers[1], *names)
    torch.testing.assert_close(net(x)[1], start(x)[1], rtol=1e-4, atol=1e-4)
    twin,opt = copy.deepcopy(net),torch.optim.Adam(net.parameters(), .3)
    for _ in range(30):
        opt.zero_grad(); net(x)[1][:,:,0].sum().neg().backward()
        opt.step()
    l = net.layers[1]
    for n in names:
        assert getattr(l, n)!=getattr(start.layers[1], n) and getattr(l, n)>0 and (n in ('threshold','slope') or getattr(l, n)<1)
        torch.testing.assert_close(getattr(twin.layers[1], n), torch.as_tensor(getattr(start.layers[1], n)), rtol=1e-4, atol=1e-4)
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(x)[1], net(x)[1])
    flat = settle(copy.deepcopy(net))
    assert type(flat.layers[1]) is type(make()) and isinstance(flat.layers[1].slope, float)
    assert set(flat.state_dict())==set(start.state_dict()) and torch.equal(flat(x)[0], net(x)[0])

def test_spike_alone():
    x,k = torch.randn(7, dtype=torch.float64),torch.tensor(3., dtype=torch.float64, requires_grad=True)
    spike(x, 'atan', k).sum().backward()
    assert torch.allclose(k.grad, torch.autograd.grad(soft_spike(x, 'atan', k).sum(), k)[0]) and k.grad!=0

def test_per_channel():
    l = learnable(LIF(torch.full((4,), .9), torch.ones(4)), 'beta', 'threshold')
    l(torch.rand(5,2,4,3,3))[1].sum().backward()
    for n in 'beta','threshold': assert getattr(l.parametrizations, n).original.grad.shape==(4,)

def test_compiles():
    l = learnable(LIF(.8, .7, slope=3.), 'beta', 'threshold', 'slope')
    x = torch.randn(6,2,5)
    l(x)[0].sum().backward()
    want = [p.grad.clone() for p in l.parameters()]
    l.zero_grad()
    torch.compile(l, backend='aot_eager')(x)[0].sum().backward()
    for p,g in zip(l.parameters(), want): torch.testing.assert_close(p.grad, g)

def test_refused():
    l = learnable(LIF(), 'beta')
    with pytest.raises(CheckError, match='`beta`.*already|`beta`.*yet'): learnable(l, 'beta')
    with pytest.raises(CheckError, match='names'): learnable(l, 'reset')
    with pytest.raises(CheckError, match='`alpha`'): learnable(l, 'alpha')
