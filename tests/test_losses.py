"Losses: gradients by hand, and that each does what it is for"
import pytest, torch
from torch import nn
from quarantion.checks import CheckError
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.losses import code_l1, rate_ceiling, ste_codes

def test_codes_are_those_of_the_layer():
    w = torch.randn(20, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    s = torch.linspace(.1, .6, 20)
    k = ste_codes(w, s, -4, 4)
    assert (k==torch.round(w/s[:,None,None,None]).clamp(-4, 4)).all()
    assert (ste_codes(w, s[:1], -4, 4)==torch.round(w/s[0]).clamp(-4, 4)).all()

@pytest.mark.parametrize('channels', [1,20])
def test_gradients_of_code_l1(channels):
    g = torch.Generator().manual_seed(1)
    w,s = (2*torch.randn(20, 30, generator=g)).double().requires_grad_(),torch.linspace(.4, .9, channels).double().requires_grad_()
    k = ste_codes(w, s, -4, 4)
    code_l1([k,k[:2]]).backward()
    z,price = (w/s[:,None]).detach(),torch.full((20,30), 1/600).double()
    price[:2] += 1/60
    inside = price*torch.sign(k.detach())*((torch.round(z)>=-4)&(torch.round(z)<=4))
    assert torch.allclose(w.grad, inside/s.detach()[:,None])
    ds = -inside*z/s.detach()[:,None]
    assert torch.allclose(s.grad, ds.sum(1) if channels>1 else ds.sum()[None])

def test_codes_without_a_layer_are_refused():
    with pytest.raises(CheckError, match='a tensor for each layer'): code_l1([])
    with pytest.raises(CheckError, match='ceiling'): rate_ceiling(torch.tensor(.2), 1.5)

def test_zero_weights_are_left_alone():
    w,s = torch.zeros(2, 3, requires_grad=True),torch.ones(2, requires_grad=True)
    code_l1([ste_codes(w, s, -4, 4)]).backward()
    assert not w.grad.any() and not s.grad.any()

def test_ceiling_pulls_a_network_down_to_it_and_no_further():
    torch.manual_seed(0)
    net = Network(nn.Linear(10, 30), LIF(), nn.Linear(30, 4), LIF(reset='none'), steps=10)
    x = 4*torch.rand(16, 10)
    opt = torch.optim.SGD(net.parameters(), lr=.5)
    rates = []
    for _ in range(150):
        rate = net.record(x)[0].spk.mean()
        rates.append(rate.item())
        loss = 2*rate_ceiling(rate)
        opt.zero_grad(); loss.backward(); opt.step()
    assert rates[0]>.15 and .08<rates[-1]<=.1
    assert loss.item()==0 and not any(p.grad.any() for p in net.parameters() if p.grad is not None)
