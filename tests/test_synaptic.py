"Second-order neurons: against snnTorch, against a plain loop, and their gradients"
import pytest, torch, snntorch as snn
from torch import nn
from quarantion.checks import CheckError
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import RESETS, SAVES, Diagonal
from quarantion.spikes.snntorch import from_snntorch, to_snntorch
from quarantion.spikes.surrogate import spike
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def plain(x, alpha, beta, theta, reset, detach, slope=5.):
    "A loop of torch operations under autograd"
    j = u = torch.zeros_like(x[0])
    ss,us = [],[]
    for i in x:
        prev = spike(u-theta, slope=slope)
        j = alpha*j+i
        v = beta*u+j
        if reset=='subtract_delayed': v = v-(prev.detach() if detach else prev)*theta
        s = spike(v-theta, slope=slope)
        r = s.detach() if detach else s
        u = v-r*theta if reset=='subtract' else v*(1-r) if reset=='zero' else v
        ss.append(s); us.append(u)
    return torch.stack(ss),torch.stack(us)

@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('save', SAVES)
@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('recurrent', [False, True])
def test_equals_a_plain_loop(reset, save, detach, recurrent):
    kw = dict(alpha=torch.linspace(.2,.9,5), beta=.8, threshold=.7, reset=reset, slope=5., learn_alpha=True, learn_beta=True, learn_threshold=True, detach_reset=detach)
    net = (RecurrentSynaptic(Diagonal(0.), **kw) if recurrent else Synaptic(**kw)).double()
    net.save = save
    x = torch.randn(30,3,5, dtype=torch.float64, requires_grad=True)
    w,z = torch.randn(2,30,3,5, dtype=torch.float64)
    ps = [x,net.alpha,net.beta,net.threshold]
    s,u = net(x)
    ours = torch.autograd.grad((w*s+z*u).sum(), ps)
    s2,u2 = plain(x, net.alpha, net.beta, net.threshold, reset, detach)
    assert torch.equal(s, s2) and torch.allclose(u, u2) and 0<s.mean()<1
    for a,b in zip(ours, torch.autograd.grad((w*s2+z*u2).sum(), ps)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9); assert b.any()

NEURONS = [dict(cls=snn.Synaptic), dict(cls=snn.Synaptic, reset_mechanism='zero', reset_delay=False), dict(cls=snn.Synaptic, reset_mechanism='none'),
    dict(cls=snn.RSynaptic, linear_features=12), dict(cls=snn.RSynaptic, all_to_all=False, V=torch.linspace(-.5,.5,12)), dict(cls=snn.RSynaptic, linear_features=12, reset_mechanism='none')]

@pytest.mark.parametrize('alpha', [.7, torch.linspace(0,1,12)], ids=['one','each'])
@pytest.mark.parametrize('kw', NEURONS, ids=lambda k: k['cls'].__name__+k.get('reset_mechanism',''))
def test_snntorch_spikes_float32(kw, alpha):
    "200 steps in float32, weights on a grid: spikes and membranes bit for bit"
    kw = dict(kw); cls = kw.pop('cls')
    net = nn.Sequential(nn.Linear(20,12), cls(alpha, .8, learn_alpha=True, init_hidden=True, **kw), nn.Linear(12,12), cls(alpha, .9, init_hidden=True, output=True, **kw))
    with torch.no_grad():
        for p in [p for m in net.modules() if isinstance(m, nn.Linear) for p in m.parameters()]: p.copy_((p*128).round()/64)
    ours = from_snntorch(net, steps=50)
    assert type(ours.layers[1]) is (Synaptic if cls is snn.Synaptic else RecurrentSynaptic) and isinstance(ours.layers[1].alpha, nn.Parameter)
    x = torch.randint(-8, 9, (200,4,20))/4
    for m in net[1::2]: m.reset_mem()
    with torch.no_grad():
        outs = [net(i) for i in x]
        spk,mem = ours(x)
    assert torch.equal(torch.stack([o[0] for o in outs]), spk) and torch.equal(torch.stack([o[-1] for o in outs]), mem) and 0<spk.mean()<1
    if ours.layers[1].reset!='zero' or cls is snn.Synaptic:
        back = from_snntorch(to_snntorch(ours))
        assert [str(l) for l in back.layers]==[str(l) for l in ours.layers]
        for k,v in ours.state_dict().items(): assert torch.equal(v, back.state_dict()[k])

def test_conv_and_channels():
    net = nn.Sequential(nn.Conv2d(1,4,3,padding=1), snn.Synaptic(torch.linspace(.2,.8,4).reshape(4,1,1), .8, init_hidden=True), nn.Conv2d(4,4,3,padding=1),
        snn.RSynaptic(.5, .8, conv2d_channels=4, kernel_size=3, init_hidden=True))
    ours = from_snntorch(net, (1,8,8))
    assert ours.layers[1].alpha.shape==(4,) and from_snntorch(to_snntorch(ours), (1,8,8)).layers[1].alpha.shape==(4,)

def test_constant_input():
    net = Network(nn.Linear(6,5), Synaptic(.7, threshold=.3), nn.Linear(5,3), Synaptic(.7, reset='none'), steps=12)
    x = torch.rand(4,6)
    for a,b in zip(net(x), net(x.expand(12,4,6))): torch.testing.assert_close(a, b)

def test_wrong_alpha_is_a_wrong_network():
    net = nn.Sequential(nn.Linear(20,12), snn.Synaptic(.7, .8, init_hidden=True))
    ours = from_snntorch(net).eval()
    x = torch.randn(50,3,20)
    a = ours(x)[0].clone()
    ours.layers[1].alpha.fill_(.6)
    assert not torch.equal(a, ours(x)[0])

@pytest.mark.parametrize('alpha', [1.1, -.1, float('nan')])
def test_alpha_is_checked(alpha):
    with pytest.raises(CheckError, match='`alpha`'): Synaptic(alpha)
    with pytest.raises(CheckError, match='`alpha`'): RecurrentSynaptic(Diagonal(0.), alpha)
