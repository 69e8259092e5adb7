"A refusal says what to write instead, and that works"
import re
from dataclasses import replace  # noqa: F401  for advice that is evaluated
import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import spikegen
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import lower, prepare, preset
from quarantion.runtime.decision import warn_few
from quarantion.spikes import LIF, Network, from_snntorch, from_spikingjelly
from quarantion.train import evaluate


@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

class Net(nn.Module):
    "One call is one step; something is done before, between and behind"
    def __init__(self, before=lambda x: x, between=lambda c,s: c):
        super().__init__()
        self.fc1,self.l1 = nn.Linear(64,12),snn.Leaky(.9, init_hidden=True)
        self.fc2,self.l2 = nn.Linear(12,12),snn.Leaky(.9, init_hidden=True)
        self.before,self.between = before,between
    def forward(self, x):
        s = self.l1(self.fc1(self.before(x)))
        return self.l2(self.between(self.fc2(s), s))

def refused(make, *words, read=from_snntorch, **kw):
    with pytest.raises(CheckError) as e: read(make, **kw)
    said = str(e.value)
    for w in words: assert w in said, said
    assert '\n' not in said
    return said


@pytest.mark.parametrize('before,name,advice', [
    (lambda x: x*.5, 'mul', 'do it to the data before'), (lambda x: (x-.5)/.25, 'div', 'do it to the data before'),
    (lambda x: x.clamp(0, 1), 'clamp', 'do it to the data before'), (lambda x: F.normalize(x), 'normalize', 'do it to the data before'),
    (lambda x: spikegen.rate(x.clamp(0, 1), num_steps=1)[0], 'bernoulli', 'encode outside of `forward`, and give it x [T, B, …]'),
])
def test_of_data(before, name, advice): refused(Net(before), f'`{name}` at test_refusals.py:', f'; {advice}')


@pytest.mark.parametrize('between,name,advice', [
    (lambda c,s: c+s, 'add', 'sums of two branches cannot be read'), (lambda c,s: F.relu(c), 'relu', 'neurons take its place'),
    (lambda c,s: c*.5, 'mul', 'put it in the weights'), (lambda c,s: c/4, 'div', 'put it in the weights'), (lambda c,s: c+1, 'add', 'put it in the bias'),
    (lambda c,s: c*s, 'mul', 'products of two branches cannot be read'), (lambda c,s: c.roll(1), 'roll', 'outside of `forward`'),
])
def test_between_layers(between, name, advice): refused(Net(between=between), f'`{name}` at test_refusals.py:', advice)


@pytest.mark.parametrize('m,advice', [(nn.ReLU(),'neurons take its place'), (nn.LogSoftmax(-1),'answers are the same'), (nn.LayerNorm(12),'put a batch norm in its place')])
def test_modules(m, advice):
    refused(nn.Sequential(nn.Linear(8,12), m, snn.Leaky(.9, init_hidden=True)), f'found {type(m).__name__}; ', advice)
    refused(nn.Sequential(layer.Linear(8,12), m, neuron.IFNode()), f'found {type(m).__name__}; ', advice, read=from_spikingjelly)


# A layer at the end without neurons

def test_a_readout_is_appended():
    net = nn.Sequential(nn.Linear(8,16), snn.Leaky(.9, init_hidden=True), nn.Linear(16,5))
    refused(net, 'layer `2`, the last', "append snn.Leaky(beta=0., reset_mechanism='none')")
    x = 2*torch.rand(9, 4, 8)
    with torch.no_grad(): want = torch.stack([net(i) for i in x]).mean(0)
    ours = from_snntorch(nn.Sequential(*net, snn.Leaky(beta=0., reset_mechanism='none')))
    assert torch.allclose(ours.answer(x)[0], want, atol=1e-5) and want.any()

def test_a_readout_is_appended_to_what_is_read():
    net = nn.Sequential(layer.Linear(8,16), neuron.IFNode(), layer.Linear(16,5))
    functional.set_step_mode(net, 'm')
    refused(net, 'layer `2`, the last', "Network(*read.layers, nn.Linear(…), LIF(beta=0., reset='none'))", read=from_spikingjelly)
    x = 2*torch.rand(9, 4, 8)
    with torch.no_grad(): want = net(x).mean(0)
    last = nn.Linear(16, 5)
    last.load_state_dict(net[2].state_dict())
    ours = Network(*from_spikingjelly(net[:2]).layers, last, LIF(beta=0., reset='none'))
    assert torch.allclose(ours.answer(x)[0], want, atol=1e-5) and want.any()


# Neurons that are used twice

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1,self.fc2,self.fc3 = nn.Linear(8,8),nn.Linear(8,8),nn.Linear(8,4)
        self.l1,self.l2 = snn.Leaky(.9),snn.Leaky(.9)
    def forward(self, x):
        a,b,c,out = self.l1.init_leaky(),self.l1.init_leaky(),self.l2.init_leaky(),[]
        for i in x:
            s,a = self.l1(self.fc1(i), a)
            s,b = self.l1(self.fc2(s), b)
            s,c = self.l2(self.fc3(s), c)
            out.append(s)
        return torch.stack(out)

def test_neurons_used_twice():
    assert 'times' not in refused(Twice(), '`l1` is used twice in a step', 'neurons of its own each time')


# A wrong shape

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc,self.lif = nn.Linear(64,4),snn.Leaky(.9)
    def forward(self, x):
        x,mem,out = x.flatten(1),self.lif.init_leaky(),[]
        for _ in range(9):
            s,mem = self.lif(self.fc(x), mem)
            out.append(s)
        return torch.stack(out)

@pytest.mark.parametrize('shape', [(49,), (7,7), (1,7,7)])
def test_a_wrong_shape_is_told_of_a_plain_batch(shape):
    said = refused(Flat(), 'given (49,)', 'constant x [B, …]', in_shape=shape)
    assert '147' not in said


# Membranes that begin anew at each call

def test_one_step_that_begins_anew():
    class Anew(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc,self.lif = nn.Linear(8,4),snn.Leaky(.9)
        def forward(self, x): return self.lif(self.fc(x), self.lif.init_leaky())
    refused(Anew(), 'layer `lif` (Leaky)', 'begin its membranes anew in each step (`init_leaky`')


# Votes

def test_votes_name_the_decision_that_they_are():
    net = nn.Sequential(layer.Linear(8,60), neuron.IFNode(), layer.VotingLayer(6))
    refused(net, "layer `2`: expected nn.Identity() in its place, and decision='population(10)'", 'VotingLayer(voting_size=6) of 60 outputs', read=from_spikingjelly)
    x = 2*torch.rand(9, 5, 8)
    with torch.no_grad(): want = torch.stack([net(i) for i in x]).mean(0)
    net[2] = nn.Identity()
    ours = from_spikingjelly(net, decision='population(10)')
    with torch.no_grad(): assert torch.allclose(ours.answer(x)[0]/6, want) and want.any()


# A decision that does not fit

@pytest.mark.parametrize('make', [
    lambda d: Network(nn.Linear(8,100), LIF(), decision=d), lambda d: Network(nn.Conv2d(1,4,4), LIF(), in_shape=(1,8,8), decision=d),
    lambda d: from_snntorch(nn.Sequential(nn.Linear(8,100), snn.Leaky(.9, init_hidden=True)), decision=d),
    lambda d: from_spikingjelly(nn.Sequential(layer.Linear(8,100), neuron.IFNode()), decision=d),
    lambda d: Network(nn.Linear(8,100), nn.BatchNorm1d(100), LIF(), decision=d).double()])
def test_a_decision_that_does_not_fit_is_refused_where_the_network_is_made(make):
    assert make('population(10)').decision=='population(10)'
    with pytest.raises(CheckError, match=r'`decision`: expected a number of classes that divides 100 outputs, found population\(7\)'): make('population(7)')


# What is prepared

def conv(**kw):
    def leaky(): return snn.Leaky(.9, init_hidden=True)
    net = nn.Sequential(nn.Conv2d(1,4,3), leaky(), nn.MaxPool2d(2), nn.Conv2d(4,4,3), leaky(), nn.Flatten(), nn.Linear(64,5), leaky())
    return from_snntorch(net, in_shape=(1,14,14), **kw)

def test_both_obstacles_are_said_at_once():
    x,policy = torch.rand(4,1,14,14),preset('mint2')
    with pytest.raises(CheckError) as e: prepare(conv(), policy, x)
    said = str(e.value)
    assert "is never reset: reset 'subtract', as by from_snntorch(net, reset='subtract'), or" in said and 'more bits in a convolution of 8-bit input: replace(' in said
    code = re.search(r'replace\(.*?\)\}\)', said)[0]
    assert len(prepare(conv(reset='subtract'), eval(code), x).layers)==3

@pytest.mark.filterwarnings('ignore:.*of its codes are 0')
def test_names_have_backticks_once():
    net = Network(nn.Linear(4,3), LIF())
    q = prepare(net, preset('int8'), torch.rand(3,4))
    program = lower(q)
    for f in (lambda: program(np.array([[np.nan]*4])), lambda: q.encode(torch.tensor([[torch.nan]*4]))):
        with pytest.raises(CheckError) as e: f()
        assert '``' not in str(e.value) and '`x`: expected finite numbers' in str(e.value)
    with pytest.raises(CheckError) as e: from_spikingjelly(nn.Sequential(layer.Linear(4,3), neuron.IFNode(v_threshold=float('nan'))))
    assert '``' not in str(e.value) and 'layer `1` (IFNode): `v_threshold`: expected' in str(e.value)

def test_what_makes_a_policy_is_said():
    net = Network(nn.Linear(4,3), LIF())
    with pytest.raises(CheckError, match=r"prepare: `policy`: expected a Policy, such as preset\('nonary'\), found 'nonary'"): prepare(net, 'nonary', torch.rand(3,4))
    with pytest.raises(CheckError, match=r'prepare: `net`: expected a Network \(from_snntorch makes one\), found Linear'): prepare(net.layers[0], preset('nonary'), torch.rand(3,4))


# Warnings carry the line of whoever called

def line_of(f):
    "File and line that a warning names"
    with pytest.warns(UserWarning) as seen: f()
    return seen[0].filename,seen[0].lineno-f.__code__.co_firstlineno

def test_warnings_carry_the_line_of_the_caller():
    q = prepare(Network(nn.Linear(4,3), LIF()), preset('int8'), torch.rand(3,4))
    program = lower(q)
    for f in (lambda: q(9+torch.rand(3,4)), lambda: program(9+np.random.rand(3,4)), lambda: warn_few('sum', 10, 100, 360), lambda: evaluate(Network(nn.Linear(4,20), LIF()), [(torch.rand(400,4),torch.zeros(400).long())]),
              lambda: from_snntorch(nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4,3)), snn.Leaky(.9, init_hidden=True))),
              lambda: from_spikingjelly(nn.Sequential(layer.Linear(4,3), neuron.ParametricLIFNode())),
              lambda: prepare(Network(nn.Linear(4,3), nn.Linear(3,3), LIF()), preset('int8'), torch.rand(3,4))):
        assert line_of(f)==(__file__,0)

def test_another_reset_of_spikingjelly():
    net = nn.Sequential(layer.Linear(8,6), neuron.IFNode(v_reset=0.), layer.Linear(6,4), neuron.IFNode(v_reset=0.))
    assert [l.reset for l in from_spikingjelly(net, reset='subtract').layers if isinstance(l, LIF)]==['subtract','zero']
    refused(net, '`reset`: expected one of subtract', read=from_spikingjelly, reset='hard')


def test_a_network_of_pictures_without_their_shape_says_where_to_write_it():
    layers = nn.Conv2d(1,4,3),LIF(),nn.Flatten(),nn.Linear(4*26*26,10),LIF(reset='none')
    with pytest.raises(CheckError) as e: prepare(Network(*layers), preset('nonary'), torch.rand(4,1,28,28))
    assert str(e.value)=='Network: `in_shape`: expected the shape of one sample, as in `Network(…, in_shape=(1, 28, 28))`, found None'
    assert prepare(Network(*layers, in_shape=(1,28,28)), preset('nonary'), torch.rand(4,1,28,28)).in_shape==(1,28,28)
