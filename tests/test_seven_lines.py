"What a user does with a network: the seven lines of the README, and their own loops around it."
import copy

import numpy as np
import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.data.digits import load_digits
from quarantion.quant.lowering import lower
from quarantion.quant.policy import PRESETS, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.runtime.network import load
from quarantion.spikes.encoders import rate
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF


def small(n=64, c=10, last='none'): return Network(nn.Linear(n,32), LIF(beta=.9), nn.Linear(32,c), LIF(beta=.9, reset=last), steps=10)


@pytest.fixture(scope='module')
def digits(): return load_digits()


def fit(q, x, y, loss, epochs=4, opt=None):
    opt = opt or torch.optim.Adam(q.param_groups(5e-3) if hasattr(q, 'param_groups') else q.parameters(), 5e-3)
    first = last = None
    for _ in range(epochs):
        for i in torch.arange(len(x)).split(64):
            l = loss(*q(x[i]), y[i])
            opt.zero_grad(); l.backward(); opt.step()
            last = l.item()
            first = last if first is None else first
    return first,last


def test_seven_lines(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    my_net = nn.Sequential(nn.Linear(64,32), snn.Leaky(.9, init_hidden=True), nn.Linear(32,10), snn.Leaky(.9, init_hidden=True, output=True))
    x,sample = digits.x_test,digits.x_train[:64]
    loader = x.split(100)

    from quarantion import from_snntorch, load, lower, prepare, preset, verify
    net  = from_snntorch(my_net)                     # or quarantion's own modules
    q    = prepare(net, preset('nonary'), sample)    # quantized training network; runs the integers
    spk, mem = q(x)                                  # x [T,B,…] or constant [B,…]; records over T; my own loop and loss train it
    prog = lower(q)                                  # IntegerNetwork
    assert verify(q, prog, loader).mismatches == 0
    prog.save('net.safetensors'); again = load('net.safetensors')(x)

    assert spk.shape==mem.shape==(25,360,10)
    np.testing.assert_array_equal(again[0], spk.detach().numpy())


def test_my_own_loop_and_optimizer(digits):
    torch.manual_seed(0)
    q = prepare(small(), preset('nonary'), digits.x_train[:100])
    first,last = fit(q, digits.x_train, digits.y_train, lambda spk,mem,y: F.cross_entropy(mem.mean(0), y), opt=torch.optim.Adam(q.parameters(), 2e-3))
    assert last < .6*first
    assert verify(q, lower(q), digits.x_test.split(90)).ok


@pytest.mark.parametrize('loss', [SF.ce_rate_loss, SF.ce_count_loss, SF.mse_count_loss])
def test_losses_of_snntorch(digits, loss):
    torch.manual_seed(0)
    q = prepare(small(last='subtract_delayed'), preset('int4'), digits.x_train[:100])
    l = loss()
    first,last = fit(q, digits.x_train, digits.y_train, lambda spk,mem,y: l(spk, y), epochs=6)
    assert last < .95*first


def test_state_dict(digits):
    torch.manual_seed(0)
    a,b = (prepare(small(), preset('nonary'), digits.x_train[:100]) for _ in range(2))
    b.load_state_dict(a.state_dict())
    x = digits.x_test[:20]
    assert torch.equal(a(x)[1], b(x)[1])
    a.freeze()
    b.load_state_dict(a.state_dict())
    assert bool(b.layers[0].frozen) and torch.equal(a(x)[1], b(x)[1])


def test_deepcopy(digits):
    torch.manual_seed(0)
    x = digits.x_test[:20]
    a = prepare(small(), preset('nonary'), x)
    b = copy.deepcopy(a)
    assert torch.equal(a(x)[1], b(x)[1])
    with torch.no_grad(): b.layers[0].latent.mul_(-1)
    assert not torch.equal(a(x)[1], b(x)[1])


@pytest.mark.filterwarnings('ignore')
def test_torch_compile(digits):
    torch.manual_seed(0)
    x,y = digits.x_train[:64],digits.y_train[:64]
    for net in small(),prepare(small(), preset('nonary'), x):
        twin = copy.deepcopy(net)
        fast = torch.compile(twin, backend='aot_eager')
        for m in net,fast: F.cross_entropy(m(x)[1].mean(0), y).backward()
        a,b = net(x)[1],fast(x)[1] # a float readout adds in another order where spikes are written
        assert torch.equal(a, b) if hasattr(net, 'in_scale') else torch.allclose(a, b, rtol=1e-5, atol=1e-6)
        for a,b in zip(net.parameters(), twin.parameters()):
            if a.grad is not None: torch.testing.assert_close(a.grad, b.grad)


def test_input_over_time(digits):
    torch.manual_seed(0)
    x = rate(digits.x_train, 12, seed=0)
    q = prepare(small(), preset('nonary'), x[:,:100])
    assert (q.in_scale,q.in_max,q.layers[0].guard)==(1.,1,8)
    opt = torch.optim.Adam(q.param_groups(5e-3))
    for i in torch.arange(x.shape[1]).split(64):
        loss = F.cross_entropy(q(x[:,i])[1].mean(0), digits.y_train[i])
        opt.zero_grad(); loss.backward(); opt.step()
    test = rate(digits.x_test, 12, seed=1)
    proof = verify(q, lower(q), [(test,digits.y_test)])
    assert proof.ok and proof.accuracy>.5


def test_regression_on_the_membrane():
    torch.manual_seed(0)
    x = torch.rand(512,4)
    y = x.sum(1, keepdim=True).sin()
    q = prepare(Network(nn.Linear(4,64), LIF(beta=.9), nn.Linear(64,1), LIF(beta=.9, reset='none'), steps=10), preset('int8'), x)
    first,last = fit(q, x, y, lambda spk,mem,y: F.mse_loss(mem[-1], y), epochs=40)
    assert last < .1*first and last < .02
    proof = verify(q, lower(q), [x])
    assert proof.mismatches==0
    unit = lower(q).layers[-1].unit
    np.testing.assert_allclose(load_and_run(q, x)*unit, q(x)[1].detach().numpy()[-1], rtol=1e-5, atol=1e-5)


def load_and_run(q, x): return lower(q)(x.numpy())[1][-1]


def test_one_convolutional_network_end_to_end(tmp_path, digits):
    torch.manual_seed(0)
    net = Network(nn.Conv2d(1,8,3,padding=1), nn.BatchNorm2d(8), LIF(beta=.9), nn.AvgPool2d(2), nn.Conv2d(8,16,3,padding=1), nn.BatchNorm2d(16), LIF(beta=.9),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(.1), nn.Linear(64,10), LIF(beta=.9, reset='none'), in_shape=(1,8,8), steps=8)
    x,y = (digits.x_train.unflatten(1, (1,8,8)),digits.y_train)
    fit(net, x, y, lambda spk,mem,y: F.cross_entropy(mem.mean(0), y), epochs=4)
    q = prepare(net.eval(), preset('nonary'), x[:100]).train()
    fit(q, x, y, lambda spk,mem,y: F.cross_entropy(mem.mean(0), y), epochs=3)
    lower(q).save(tmp_path/'net.safetensors')
    test = digits.x_test.unflatten(1, (1,8,8))
    proof = verify(q, load(tmp_path/'net.safetensors'), zip(test.split(60), digits.y_test.split(60)))
    assert proof.ok, str(proof)
    assert proof.accuracy > .9


def test_float_network_and_its_copy_are_left_alone(digits):
    torch.manual_seed(0)
    net = small()
    before = copy.deepcopy(net.state_dict())
    q = prepare(net, preset('ternary'), digits.x_train[:50])
    fit(q, digits.x_train[:200], digits.y_train[:200], lambda spk,mem,y: F.cross_entropy(mem.mean(0), y), epochs=1)
    for k,v in net.state_dict().items(): assert torch.equal(v, before[k])


@pytest.mark.parametrize('policy', PRESETS)
def test_streams_are_told_from_constants(policy):
    torch.manual_seed(0)
    x = torch.rand(6,64)
    q = prepare(small(), preset(policy), x)
    assert torch.equal(q(x)[1], q(x.expand(10,6,64))[1])
