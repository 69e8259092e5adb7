"SpikingJelly: what is read, spikes that stay equal, gradients, what is refused, and one program from training to a stored file"
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant import lower, prepare, preset, verify
from quarantion.quant.policy import PRESETS
from quarantion.runtime import load
from quarantion.spikes import from_spikingjelly

LEARNS = 'goes on learning as the leak'


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def node(kind, reset, decay, tau=2., **kw):
    if kind=='if': return neuron.IFNode(v_reset=reset, **kw)
    if kind=='lif': return neuron.LIFNode(tau=tau, decay_input=decay, v_reset=reset, **kw)
    return neuron.ParametricLIFNode(init_tau=tau, decay_input=decay, v_reset=reset, **kw)

def row(*nodes, n=12, step_mode='m', gain=3.):
    "Linear layers before each of the neurons, strong enough that most of them fire"
    sizes = [8]+[n]*len(nodes)
    net = nn.Sequential(*(m for i,l in enumerate(nodes) for m in (layer.Linear(sizes[i], sizes[i+1]), l)))
    for l in net[::2]: nn.init.normal_(l.weight, 0, gain/l.in_features**.5)
    functional.set_step_mode(net, step_mode)
    return net.eval()

def on_grid(net, k=8):
    "Weights that are multiples of 1/k, so that float32 sums are exact in any order"
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim: p.copy_((p*k).round()/k)
    return net

def read(net, *args, **kw):
    "`from_spikingjelly`, which says where 1/τ of the input learns no more"
    learns = any(isinstance(m, neuron.ParametricLIFNode) and m.decay_input for m in net.modules())
    if not learns: return from_spikingjelly(net, *args, **kw)
    with pytest.warns(UserWarning, match=LEARNS): return from_spikingjelly(net, *args, **kw)

def spikes(net, x):
    "What each layer of neurons of theirs does, in the step mode that they have"
    nodes = [m for m in net.modules() if isinstance(m, neuron.BaseNode)]
    seen = [[] for _ in nodes]
    hooks = [m.register_forward_hook(lambda m, a, out, s=s: s.append(out)) for m,s in zip(nodes, seen)]
    functional.reset_net(net)
    with torch.no_grad():
        if nodes[0].step_mode=='m': net(x)
        else:
            for i in x: net(i)
    for h in hooks: h.remove()
    functional.reset_net(net)
    return [s[0] if m.step_mode=='m' else torch.stack(s) for m,s in zip(nodes, seen)]

def different(net, ours, x):
    "How many spikes differ, of how many there are in theirs"
    with torch.no_grad(): pairs = list(zip(spikes(net, x), ours.eval().record(x), strict=True))
    return sum(int((a!=r.spk).sum()) for a,r in pairs), sum(int(a.sum()) for a,_ in pairs)

def refused(net, *words, **kw):
    with pytest.raises(CheckError) as e: from_spikingjelly(net, **kw)
    for w in words: assert w in str(e.value), str(e.value)
    assert '\n' not in str(e.value)


# What is read

KINDS = [('if',False,2.)]+[(k,d,t) for k in ('lif','plif') for d in (True,False) for t in (2.,3.)]

@pytest.mark.parametrize('reset', [0., None, -.5])
@pytest.mark.parametrize('kind,decay,tau', KINDS)
def test_spikes_over_100_steps(kind, decay, tau, reset):
    net = row(*(node(kind, reset, decay, tau) for _ in range(2)))
    ours = read(net)
    assert [l.reset for l in ours.layers[1::2]]==['subtract' if reset is None else 'zero']*2
    bad,fired = different(net, ours, torch.rand(100,4,8)*3)
    assert bad==0 and fired>100

@pytest.mark.parametrize('reset', [0., None])
@pytest.mark.parametrize('kind', ['if','lif'])
def test_membranes_that_meet_the_threshold(kind, reset):
    net = on_grid(row(*(node(kind, reset, False) for _ in range(2))))
    bad,fired = different(net, read(net), torch.randint(0, 9, (60,4,8))/4)
    assert bad==0 and fired>100

def test_threshold_is_met_as_there():
    x = torch.full((8,1,1), .25)
    for reset,tau in (0.,2.),(None,2.),(0.,3.):
        net = nn.Sequential(layer.Linear(1,1,bias=False), node('lif', reset, True, tau, step_mode='m'))
        nn.init.constant_(net[0].weight, 4*tau) # V = 1 = θ at the first step
        functional.set_step_mode(net, 'm')
        assert spikes(net, x)[0][0]==1 and different(net, read(net), x)[0]==0

nets = st.tuples(st.sampled_from(KINDS), st.sampled_from([0.,None,-1.,.25]), st.sampled_from('sm'), st.booleans(), st.booleans(),
    st.sampled_from([None,layer.MaxPool2d(2),layer.AvgPool2d(2),layer.AdaptiveAvgPool2d(2)]), st.integers(0, 999))

def random_net(kind, reset, mode, norm, bias, pool, seed):
    torch.manual_seed(seed)
    k,decay,tau = kind
    parts = [layer.Conv2d(2,4,3,padding=1,bias=bias)]
    if norm:
        parts.append(layer.BatchNorm2d(4))
        nn.init.uniform_(parts[-1].running_mean); nn.init.uniform_(parts[-1].running_var, .5, 2); nn.init.uniform_(parts[-1].weight, 1, 3)
    parts.append(node(k, reset, decay, tau, v_threshold=.75))
    if pool is not None: parts.append(pool)
    n = 4*(36 if pool is None else 4 if isinstance(pool, layer.AdaptiveAvgPool2d) else 9)
    parts += [layer.Dropout(.2), layer.Flatten(), layer.Linear(n,6), *[layer.BatchNorm1d(6)]*norm, node(k, reset, decay, tau)]
    net = nn.Sequential(*parts)
    nn.init.normal_(parts[0].weight, 0, .5)
    functional.set_step_mode(net, mode)
    return net.eval()

def check_random(args):
    net = random_net(*args)
    bad,_ = different(net, read(net, (2,6,6), steps=8), torch.rand(30,3,2,6,6)*4)
    assert bad==0

@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(nets)
def test_random_networks(args): check_random(args)

@pytest.mark.soak
@settings(max_examples=500, deadline=None)
@given(nets)
def test_many_random_networks(args): check_random(args)

def test_weights_are_the_same():
    net = row(neuron.LIFNode(tau=3.), neuron.LIFNode(tau=3.))
    ours = from_spikingjelly(net)
    assert type(ours.layers[0]) is nn.Linear and torch.equal(ours.layers[0].weight, net[0].weight)
    assert ours.layers[0].weight is not net[0].weight and not ours.training
    before = {k:v.clone() for k,v in net.state_dict().items()}
    spikes(net, torch.rand(5,2,8))
    net(torch.rand(5,2,8)) # keeps membranes with a gradient
    v = net[1].v
    from_spikingjelly(net)
    assert net[1].v is v and not net[1].store_v_seq and all(torch.equal(net.state_dict()[k], t) for k,t in before.items())

@pytest.mark.parametrize('step_mode', 'sm')
def test_own_forwards(step_mode):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = layer.SeqToANNContainer(nn.Conv2d(1,4,3), nn.BatchNorm2d(4)) if step_mode=='m' else nn.Conv2d(1,4,3)
            self.sn1,self.fc,self.sn2 = neuron.IFNode(step_mode=step_mode),nn.Linear(36,3),neuron.LIFNode(step_mode=step_mode)
        def many(self, x):
            s = F.max_pool2d(self.sn1(self.conv(x)).flatten(0, 1), 2).unflatten(0, x.shape[:2])
            return self.sn2(self.fc(s.flatten(2)))
        def one(self, x): return self.sn2(self.fc(F.max_pool2d(self.sn1(self.conv(x)), 2).flatten(1)))
        def forward(self, x): # a constant image
            functional.reset_net(self)
            if step_mode=='m': return self.many(x.unsqueeze(0).repeat(12, 1, 1, 1, 1)).mean(0)
            return sum(self.one(x) for _ in range(12))/12
    net = Net().eval()
    nn.init.normal_(net.fc.weight, .5, 1.)
    ours = from_spikingjelly(net, (1,8,8))
    assert ours.steps==12
    x = 3*torch.rand(4,1,8,8)
    with torch.no_grad(): assert torch.equal(ours(x)[0].mean(0), net(x)) and net(x).any()

@pytest.mark.parametrize('training', [True, False])
def test_the_mode_stays(training):
    net = nn.Sequential(layer.Linear(8,12), layer.Dropout(.9), neuron.IFNode(), layer.Linear(12,4), layer.Dropout(.9),
                        neuron.IFNode()).train(training)
    ours,x = from_spikingjelly(net),3*torch.rand(9,5,8)
    assert all(m.training==training for m in ours.modules() if isinstance(m, (nn.Dropout,nn.Linear)))
    if training: return
    assert all(torch.equal(a, r.spk) for a,r in zip(spikes(net, x), ours.record(x), strict=True)) and spikes(net, x)[0].any()

def test_hooks_and_own_forwards_are_said():
    net = row(neuron.IFNode())
    net[0].register_forward_hook(lambda m, args, out: 2*out)
    with pytest.warns(UserWarning, match='layer `0` .Linear.: its hooks are not called here'): from_spikingjelly(net)
    net = row(neuron.IFNode())
    net[0].forward = lambda x, m=net[0]: 2*layer.Linear.forward(m, x)
    refused(net, 'layer `0`', 'Linear with a `forward` that was put in place of its own')


# How it trains

@pytest.mark.parametrize('reset', [0., None])
@pytest.mark.parametrize('kind,decay,tau', KINDS[:3])
@pytest.mark.parametrize('detach', [True, False])
def test_gradients_are_the_same(kind, decay, tau, reset, detach):
    net = row(*(node(kind, reset, decay, tau, detach_reset=detach) for _ in range(2))).double()
    ours = read(net)
    x,goal = torch.rand(9,4,8).double(),torch.randn(9,4,12).double()
    (net(x)*goal).sum().backward()
    (ours(x)[0]*goal).sum().backward()
    for a,b in zip(net[::2], ours.layers[::2]):
        assert a.weight.grad.any()
        torch.testing.assert_close(b.weight.grad, a.weight.grad, rtol=1e-5, atol=1e-8)

def test_leak_learns():
    ours = from_spikingjelly(row(neuron.ParametricLIFNode(decay_input=False), neuron.LIFNode()))
    a,b = ours.layers[1::2]
    assert isinstance(a.beta, nn.Parameter) and a.beta.item()==.5 and not isinstance(b.beta, nn.Parameter)
    ours(torch.rand(6,2,8))[0].sum().backward()
    assert a.beta.grad.any()

def test_other_surrogates_are_named():
    net = row(neuron.IFNode(surrogate_function=surrogate.Erf()))
    with pytest.warns(UserWarning, match='derivative of Erf; it trains with sigmoid'): ours = from_spikingjelly(net)
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    surrogate.Erf()(x).backward()
    assert ours.layers[1].slope/4==pytest.approx(x.grad.item())
    assert from_spikingjelly(net, surrogate='atan').layers[1].slope==25


# What is refused

class Sub(neuron.LIFNode): pass

@pytest.mark.parametrize('make,words', [
    (lambda: row(neuron.QIFNode()), 'found QIFNode'), (lambda: row(Sub()), 'found Sub'), (lambda: row(neuron.SimpleLIFNode(2., True)), 'found SimpleLIFNode'),
    (lambda: row(neuron.IFNode(v_reset=1.)), '`v_threshold`'), (lambda: row(neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))), 'spikes [0, 1, 1]'),
    (lambda: nn.Sequential(layer.WSLinear(8,4), neuron.IFNode()), 'found WSLinear'), (lambda: nn.Sequential(layer.Linear(8,4), layer.SynapseFilter(), neuron.IFNode()), 'found SynapseFilter'),
    (lambda: nn.Sequential(layer.Linear(8,4), layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4)), 'found LinearRecurrentContainer'),
    (lambda: nn.Sequential(layer.Linear(8,4), neuron.IFNode(), layer.Linear(4,3)), 'the last'), (lambda: nn.Sequential(layer.Linear(8,4)), 'neurons of SpikingJelly'),
    (lambda: nn.Sequential(layer.Conv2d(1,2,3), neuron.IFNode()), '`in_shape`'), (lambda: neuron.IFNode(), 'a network of SpikingJelly'), (lambda: 3, 'expected a Module, found 3'),
])
def test_refused_by_name(make, words): refused(make(), words)

class Between(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f,self.fc1,self.sn1,self.fc2,self.sn2 = f,layer.Linear(4,4),neuron.IFNode(),layer.Linear(4,4),neuron.IFNode()
    def forward(self, x):
        s = self.sn1(self.fc1(x))
        return self.sn2(self.f(self.fc2(s), s))

@pytest.mark.parametrize('f,name', [(lambda a,b: a+b, '`add`'), (lambda a,b: a*b, '`mul`'), (lambda a,b: F.relu(a), '`relu`'), (lambda a,b: a*(1-b), '`mul`')])
def test_functions_between_layers_are_named(f, name): refused(Between(f), name, 'test_spikingjelly.py')

def test_nan(): refused(row(neuron.IFNode(v_threshold=float('nan'))), 'v_threshold')


# Where it is not installed

def test_nothing_here_imports_it():
    code = '''
import sys, importlib.util
sys.modules['spikingjelly'] = None
from quarantion import from_spikingjelly
from torch import nn
importlib.util.find_spec = lambda name: None
import quarantion.spikes.spikingjelly as m
m.find_spec = lambda name: None
try: from_spikingjelly(nn.Sequential(nn.Linear(2,3)))
except ValueError as e: print(e)
'''
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'SpikingJelly is not installed' in p.stdout, p.stderr


# One program

def conv_net(): # trained by whoever wrote it
    net = nn.Sequential(layer.Conv2d(1,8,3,padding=1,bias=False), layer.BatchNorm2d(8), neuron.LIFNode(tau=2., v_reset=0., detach_reset=True, surrogate_function=surrogate.ATan()),
        layer.MaxPool2d(2), layer.Flatten(), layer.Linear(128,10), neuron.LIFNode(tau=2., v_reset=0., detach_reset=True, surrogate_function=surrogate.ATan()))
    functional.set_step_mode(net, 'm')
    return net

@pytest.fixture(scope='module')
def trained():
    torch.manual_seed(0)
    net,data,T = conv_net(),load_digits(),6
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for i in torch.randperm(len(data.x_train)).split(64): # one epoch
        x,y = 2*data.x_train[i].reshape(-1,1,8,8),data.y_train[i]
        rate = net(x.unsqueeze(0).repeat(T, 1, 1, 1, 1)).mean(0)
        loss = F.mse_loss(rate, F.one_hot(y, 10).float())
        opt.zero_grad(); loss.backward(); opt.step()
        functional.reset_net(net)
    return net.eval(),2*data.x_test.reshape(-1,1,8,8),data.y_test,T

def check_program(policy, trained, path):
    net,x,y,T = trained
    if policy=='mint2': x = (x>.5).float() # two bits of membrane hold no sums of 8-bit pixels
    ours = from_spikingjelly(net, (1,8,8), steps=T)
    with torch.no_grad(): want = net(x.unsqueeze(0).repeat(T, 1, 1, 1, 1))
    functional.reset_net(net)
    with torch.no_grad(): assert torch.equal(ours(x)[0], want)
    q = prepare(ours, preset(policy), x[:100])
    prog = lower(q)
    proof = verify(q, prog, x.split(120))
    assert proof.mismatches==0
    prog.save(path/'net.safetensors')
    again = load(path/'net.safetensors')(x.numpy())
    np.testing.assert_array_equal(again[0], q(x)[0].detach().numpy())
    return (again[0].mean(0).argmax(1)==y.numpy()).mean()

@pytest.mark.parametrize('policy', ['nonary', 'int8'])
def test_from_training_to_a_stored_program(policy, trained, tmp_path): assert check_program(policy, trained, tmp_path)>.5

@pytest.mark.soak
@pytest.mark.parametrize('policy', PRESETS)
def test_every_preset(policy, trained, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # two bits say what they lose
        check_program(policy, trained, tmp_path)


def test_lines():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Conv1d(2,4,3,padding='same'), layer.BatchNorm1d(4), neuron.LIFNode(v_threshold=.2), layer.AvgPool1d(2),
        layer.Flatten(), layer.Linear(20,3), neuron.LIFNode(v_threshold=.1)).eval()
    functional.set_step_mode(net, 'm')
    ours,x = from_spikingjelly(net, (2,10)),2*torch.rand(8,5,2,10)
    with torch.no_grad(): assert torch.equal(ours(x)[0], net(x)) and ours(x)[0].any()
    q = prepare(ours, preset('int8'), x)
    assert verify(q, lower(q), [x]).mismatches==0


def test_votes_are_a_decision():
    "What a `VotingLayer` makes of spikes is a population code"
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(6,12), neuron.IFNode(v_threshold=.5))
    functional.set_step_mode(net, 'm')
    x = torch.rand(7, 20, 6)
    with torch.no_grad(): votes = layer.VotingLayer(3, step_mode='m')(net(x)).mean(0)
    ours = from_spikingjelly(net, decision='population(4)')
    assert torch.equal(ours.answer(x)[0].argmax(1), votes.argmax(1))
    with pytest.raises(CheckError, match="`2`.*decision='population.c.', which adds up groups of 3, found VotingLayer"):
        from_spikingjelly(nn.Sequential(*net, layer.VotingLayer(3)))
    with pytest.raises(CheckError, match='`steps`: expected a whole number of 64 bits, found 8.5'): from_spikingjelly(net, steps=8.5)
