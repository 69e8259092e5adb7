"Each row of the table: read, compared with snnTorch, prepared, lowered, proved, saved, loaded and run."
import copy
import warnings

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import lower, prepare, preset, verify
from quarantion.runtime import load
from quarantion.spikes import LIF, Network, RecurrentLIF, from_snntorch, to_snntorch
from quarantion.spikes.readable import FORMS, LAYERS, copied, plain_weights
from quarantion.spikes.snntorch_neurons import NEURONS
from quarantion.spikes.tracing import FUNCTIONS

ROWS = {k.__name__:row.example for k,row in LAYERS.items()} | {k:example for k,(_,example) in FORMS.items()}
STEPS = 6


def quiet(f, *args, **kwargs):
    "What is folded is said, which tests of their own see"
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*(ends here|folded into one|membrane units is rounded).*')
        return f(*args, **kwargs)

def neuron(**kw): return snn.Leaky(.9, threshold=.1, init_hidden=True, **kw)

def whole(layers, in_shape, first=None):
    "A network of snnTorch: these layers, neurons, a readout"
    first = first or neuron()
    with torch.no_grad(): x = nn.Sequential(*copied(nn.ModuleList(layers))).eval()(torch.zeros(1, *in_shape))
    flat = [nn.Flatten()] if x.ndim>2 else []
    net = nn.Sequential(*layers, first, *flat, nn.Linear(x.numel(), 12), neuron(output=True))
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d,nn.BatchNorm2d)):
            m.running_mean.uniform_(-.2, .2); m.running_var.uniform_(.5, 2)
            m.weight.data.uniform_(.5, 2); m.bias.data.uniform_(-.2, .2)
    return net.eval()

def theirs_on(net, x):
    for m in net.modules():
        if isinstance(m, snn.SpikingNeuron): m.reset_mem()
    with torch.no_grad(): return torch.stack([net(i)[0] for i in x])

def proved(net, x, path):
    "Nonary and int8, from the float network to a loaded file"
    for name in 'nonary','int8':
        q = quiet(prepare, net, preset(name), x)
        program = quiet(lower, q)
        assert quiet(verify, q, program, [x]).mismatches==0
        program.save(path)
        again = load(path)
        for a,b,c in zip(program.record(x.numpy()), again.record(x.numpy()), q.eval().record(x)):
            assert np.array_equal(a.spk, b.spk) and np.array_equal(a.mem, b.mem)
            assert np.array_equal(a.spk, c.spk.detach().numpy()) and a.spk.shape==tuple(c.spk.shape)
        assert [r.spk.shape for r in net.record(x)]==[r.spk.shape for r in q.materialize().record(x)]

@pytest.mark.parametrize('name', ROWS)
def test_row(name, tmp_path):
    torch.manual_seed(0)
    layers,in_shape = ROWS[name]()
    net = whole(layers, in_shape)
    x = torch.rand(STEPS, 4, *in_shape)*2
    state = copy.deepcopy(net.state_dict())
    ours = quiet(from_snntorch, net, in_shape=in_shape)
    spk = theirs_on(net, x)
    with torch.no_grad(): assert torch.equal(ours.eval()(x)[0], spk) and spk.any()
    assert all(torch.equal(v, net.state_dict()[k]) for k,v in state.items())
    proved(ours, x, tmp_path/'net')

@pytest.mark.soak
@pytest.mark.parametrize('name', ROWS)
def test_row_of_our_own(name, tmp_path):
    "`Network` and `prepare` take the same list"
    torch.manual_seed(1)
    layers,in_shape = ROWS[name]()
    net = whole(layers, in_shape)
    mine = Network(*(LIF(.9, .1) if isinstance(m, snn.Leaky) else m for m in net), in_shape=in_shape).eval()
    proved(mine, torch.rand(STEPS, 4, *in_shape)*2, tmp_path/'net')


CIRCUITS = [dict(beta=.9), dict(R=5., C=2.), dict(R=2, C=3), dict(beta=.8, R=.5), dict(beta=.8, C=4.),
            dict(R=5., C=2., time_step=.5), dict(R=torch.tensor([2.,3,4,5,6]), C=torch.tensor([1.,2,3,4,5]))]

@pytest.mark.parametrize('reset', ['subtract','none'])
@pytest.mark.parametrize('how', CIRCUITS)
@pytest.mark.parametrize('after', [[], [nn.BatchNorm1d(5)]])
def test_lapicque(how, reset, after, tmp_path):
    "β = 1−Δt/RC, and a current that is multiplied with Δt/C"
    torch.manual_seed(0)
    make = lambda **kw: snn.Lapicque(threshold=.1, init_hidden=True, reset_mechanism=reset, **how, **kw)
    if isinstance(how.get('R'), torch.Tensor): # an `and` of tensors is none to snnTorch
        with pytest.raises(RuntimeError, match='ambiguous'): make()
        return
    net = whole([nn.Linear(6,5), *copy.deepcopy(after)], (6,), make())
    ours,x = from_snntorch(net),torch.rand(STEPS, 4, 6)*4
    rc = net[len(after)+1]
    beta = 1-rc.time_step/(rc.R*rc.C)
    assert torch.allclose(ours.layers[len(after)+1].beta, beta.float().reshape(()))
    spk = theirs_on(net, x)
    assert torch.equal(ours.eval()(x)[0], spk) and spk.any()
    if how==CIRCUITS[1]: proved(ours, x, tmp_path/'net')

@pytest.mark.parametrize('kw,words', [
    (dict(beta=.9, reset_mechanism='zero'), 'loses the current of the step after a spike'),
    (dict(beta=.9, learn_beta=True), '`learn_beta`'), (dict(R=.5, C=.5), '1-time_step/(R·C)'),
    (dict(beta=.9, inhibition=True), '`inhibition`: expected False, found True')])
@pytest.mark.filterwarnings('ignore:Inhibition')
def test_circuits_that_are_refused(kw, words):
    with pytest.raises(CheckError) as e: from_snntorch(whole([nn.Linear(6,5)], (6,), snn.Lapicque(init_hidden=True, **kw)))
    assert words in str(e.value)

@pytest.mark.filterwarnings('ignore:Inhibition')
@pytest.mark.parametrize('kind', NEURONS)
def test_neurons(kind, tmp_path):
    torch.manual_seed(0)
    kw = dict(alpha=.5) if 'Syn' in kind.__name__ else {}
    if kind.__name__.startswith('R'): kw |= dict(linear_features=5)
    net = whole([nn.Linear(6,5)], (6,), kind(beta=.9, threshold=.1, init_hidden=True, **kw))
    ours,x = from_snntorch(net),torch.rand(STEPS, 4, 6)
    x[0,0,0] = 1 # recurrent neurons want a whole 1/s
    assert torch.equal(ours.eval()(x)[0], theirs_on(net, x))
    proved(ours, x, tmp_path/'net')
    with pytest.raises(CheckError, match='`inhibition`: expected False, found True'):
        from_snntorch(whole([nn.Linear(6,5)], (6,), kind(beta=.9, init_hidden=True, inhibition=True, **kw)))

class Functional(nn.Module):
    def __init__(self, first, f, n):
        super().__init__()
        self.first,self.f,self.lif1,self.fc,self.lif2 = first,f,snn.Leaky(.9, threshold=.1),nn.Linear(n,12),snn.Leaky(.9, threshold=.1)

    def forward(self, x):
        mem1,mem2,out = self.lif1.reset_mem(),self.lif2.reset_mem(),[]
        for i in x:
            spk,mem1 = self.lif1(self.f(self.first(i), self.training), mem1)
            spk,mem2 = self.lif2(self.fc(spk.flatten(1)), mem2)
            out.append(spk)
        return torch.stack(out)

LINE,PICTURE = (nn.Conv1d(2,4,3),(2,12)),(nn.Conv2d(2,4,3),(2,8,8))
CALLS = dict(max_pool1d=(LINE,lambda x,t: F.max_pool1d(x, 2)), max_pool2d=(PICTURE,lambda x,t: F.max_pool2d(x, 2)),
    avg_pool1d=(LINE,lambda x,t: F.avg_pool1d(x, 2)), avg_pool2d=(PICTURE,lambda x,t: F.avg_pool2d(x, 2)),
    adaptive_avg_pool1d=(LINE,lambda x,t: F.adaptive_avg_pool1d(x, 5)), adaptive_avg_pool2d=(PICTURE,lambda x,t: F.adaptive_avg_pool2d(x, 3)),
    dropout=(LINE,lambda x,t: F.dropout(x, .2, t)), dropout1d=(LINE,lambda x,t: F.dropout1d(x, .2, t)),
    dropout2d=(PICTURE,lambda x,t: F.dropout2d(x, .2, t)), feature_dropout=(PICTURE,lambda x,t: torch.feature_dropout(x, .2, t)))

def test_all_functions_are_here(): assert set(FUNCTIONS)<=set(CALLS)

@pytest.mark.parametrize('name', CALLS)
def test_functions(name, tmp_path):
    torch.manual_seed(0)
    (first,in_shape),f = CALLS[name]
    first = copy.deepcopy(first)
    n = f(first(torch.zeros(1, *in_shape)), False).numel()
    net,x = Functional(first, f, n).eval(),torch.rand(STEPS, 4, *in_shape)*2
    ours = from_snntorch(net, in_shape=in_shape)
    with torch.no_grad(): assert torch.equal(ours(x)[0], net(x))
    proved(ours, x, tmp_path/'net')

NORMS = dict(weight_norm=nn.utils.parametrizations.weight_norm, spectral_norm=nn.utils.parametrizations.spectral_norm,
    orthogonal=nn.utils.parametrizations.orthogonal, prune=lambda m: nn.utils.prune.l1_unstructured(m, 'weight', .3),
    old_spectral_norm=nn.utils.spectral_norm)

@pytest.mark.parametrize('name', [*NORMS,'old_weight_norm'])
def test_parametrized(name, tmp_path):
    "Weights are those of the moment, and the network of the user stays as it was"
    torch.manual_seed(0)
    if name=='old_weight_norm':
        with pytest.warns(FutureWarning): m = nn.utils.weight_norm(nn.Linear(6,6))
    else: m = NORMS[name](nn.Linear(6,6))
    net,x = whole([m], (6,)),torch.rand(STEPS, 4, 6)*2
    net.train(); net(x[0]); net.eval() # spectral norm has moved, and old ones hold a weight with a gradient
    state,kind = copy.deepcopy(net.state_dict()),type(m)
    with pytest.warns(UserWarning, match='ends here, and the weights that it makes now') as said: ours = from_snntorch(net)
    assert len([w for w in said if 'ends here' in str(w.message)])==1 and '\n' not in str(said[0].message)
    assert type(net[0]) is kind and all(torch.equal(v, net.state_dict()[k]) for k,v in state.items())
    assert type(ours.layers[0]) is nn.Linear and isinstance(ours.layers[0].weight, nn.Parameter)
    spk = theirs_on(net, x)
    with torch.no_grad(): assert torch.equal(ours.eval()(x)[0], spk) and spk.any()
    proved(ours, x, tmp_path/'net')
    with pytest.warns(UserWarning, match='ends here'): q = prepare(Network(m, LIF(.9, .1)), preset('int8'), x)
    assert torch.equal(q.layers[0].latent, ours.layers[0].weight) and type(net[0]) is kind

def test_frozen_parametrization_stays_frozen():
    m = nn.utils.parametrizations.weight_norm(nn.Linear(4,3)).requires_grad_(False)
    new = copied(m)
    plain_weights(new)
    assert not new.weight.requires_grad and type(m).__name__=='ParametrizedLinear' and m.weight.shape==(3,4)

def test_two_linear_are_one_and_said():
    torch.manual_seed(0)
    net = Network(nn.Linear(6,20), nn.BatchNorm1d(20), nn.Dropout(.2), nn.Linear(20,5, bias=False), nn.Linear(5,4), LIF(.9, .1)).eval()
    x = torch.rand(STEPS, 3, 6)
    with pytest.warns(UserWarning, match='no neurons between them, and are folded into one') as said: q = prepare(net, preset('int8'), x)
    assert sum('folded' in str(w.message) for w in said)==2
    w = net.layers[4].weight@net.layers[3].weight@(net.layers[0].weight/(1+1e-5)**.5)
    assert torch.allclose(q.layers[0].latent, w, atol=1e-6) and q.names==['5']

@pytest.mark.parametrize('pool,why', [(nn.AvgPool2d(2, padding=1),'no padding between weights and neurons'), (nn.MaxPool2d(2),'weights above 0 behind a maximum')])
def test_norms_that_do_not_commute(pool, why):
    net = Network(nn.Conv2d(1,2,3), pool, nn.BatchNorm2d(2), LIF(), in_shape=(1,8,8)).eval()
    net.layers[2].weight.data[0] = -1
    with pytest.raises(CheckError, match=why): prepare(net, preset('int8'), torch.rand(2,1,8,8))

@pytest.mark.parametrize('make', [lambda: nn.Conv2d(1,2,2, padding='same'), lambda: nn.Conv2d(1,2,(3,4), padding='same')])
def test_same_padding_of_even_kernels(make):
    with pytest.raises(CheckError, match="padding='same' that is as wide on both sides"):
        prepare(Network(make(), LIF(), in_shape=(1,8,8)), preset('int8'), torch.rand(2,1,8,8))

def test_lines_that_are_pictures_are_refused():
    "A batch of lines is one picture to torch, if their number is that of its channels"
    net = Network(nn.Conv2d(4,2,3), LIF(), in_shape=(8,8))
    with pytest.raises(CheckError, match='pictures .c, h, w.'): prepare(net, preset('int8'), torch.rand(1,4,8,8))

@pytest.mark.parametrize('kw', [dict(), dict(stride=2, dilation=2), dict(groups=2, padding=2), dict(padding='same', dilation=3), dict(padding='valid')])
def test_lines(kw, tmp_path):
    "Samples [C, L] go in, spikes [T, B, C, L] come out"
    torch.manual_seed(0)
    net = Network(nn.Conv1d(2,4,3, **kw), LIF(.9, .1), nn.MaxPool1d(3, 2, 1), nn.Conv1d(4,4,1), nn.AvgPool1d(2),
        RecurrentLIF(nn.Conv1d(4,4,3, padding='same'), beta=.9, threshold=.1), in_shape=(2,20)).eval()
    x = torch.rand(STEPS, 3, 2, 20)
    proved(net, x, tmp_path/'net')
    assert prepare(net, preset('int8'), x)(x)[0].ndim==4

def test_lines_go_to_snntorch_and_back():
    net = Network(nn.Conv1d(2,4,3, padding='same'), LIF(.9, .1, reset='subtract_delayed'), nn.Flatten(), nn.Linear(40,3),
        LIF(.9, .1, reset='none'), in_shape=(2,10)).eval()
    back,x = to_snntorch(net),torch.rand(STEPS, 3, 2, 10)
    again = from_snntorch(back, in_shape=(2,10))
    assert torch.equal(again(x)[0], net(x)[0])

@pytest.mark.parametrize('k,shape', [('beta',(4,6,6)), ('threshold',(4,6,6)), ('alpha',(4,6,6)), ('beta',(1,6,6)), ('beta',(4,1,6))])
def test_values_of_each_neuron(k, shape):
    "Read and trained; a program has one for each channel, which is said with what works"
    torch.manual_seed(0)
    own = dict(beta=torch.tensor(.9), threshold=torch.tensor(.1)) | (dict(alpha=torch.tensor(.5)) if k=='alpha' else {})
    own[k] = torch.rand(shape)*.5+.1
    make = snn.Synaptic if k=='alpha' else snn.Leaky
    net = whole([nn.Conv2d(2,4,3)], (2,8,8), make(init_hidden=True, **own))
    ours,x = from_snntorch(net, in_shape=(2,8,8)),torch.rand(STEPS, 3, 2, 8, 8)
    assert getattr(ours.layers[1], k).shape==(4,6,6)
    with torch.no_grad(): assert torch.equal(ours.eval()(x)[0], theirs_on(net, x))
    with pytest.raises(CheckError, match=f'`{k}`: expected one value, or one for each of 4 channels .its mean over places'):
        prepare(ours, preset('int8'), x)
    setattr(ours.layers[1], k, getattr(ours.layers[1], k).mean((1,2)))
    assert getattr(prepare(ours, preset('int8'), x).layers[0], k).shape==(4,)

def test_values_of_each_neuron_learn():
    net = whole([nn.Conv2d(2,4,3)], (2,8,8), snn.Leaky(torch.full((4,6,6), .9), threshold=torch.full((4,6,6), .1), init_hidden=True,
        learn_beta=True, learn_threshold=True)).train()
    ours = from_snntorch(net, in_shape=(2,8,8))
    ours(torch.rand(STEPS, 3, 2, 8, 8))[1].sum().backward()
    assert ours.layers[1].beta.grad.shape==ours.layers[1].threshold.grad.shape==(4,6,6)
    again = Network(nn.Conv2d(2,4,3), LIF(torch.zeros(4,6,6)), nn.Flatten(), nn.Linear(144,12), LIF(), in_shape=(2,8,8))
    with torch.no_grad(): again.layers[1].beta.copy_(ours.state_dict()['layers.1.beta'])
    assert torch.equal(again.layers[1].beta, ours.layers[1].beta)

def test_a_layer_of_ones_own():
    "A class that only builds a layer is that layer; one that does something else is refused"
    class Glorot(nn.Linear):
        def reset_parameters(self): nn.init.xavier_uniform_(self.weight)
    class Twice(nn.Linear):
        def forward(self, x): return 2*super().forward(x)
    x = torch.rand(2,4)
    assert prepare(Network(Glorot(4,3, bias=False), LIF()), preset('int8'), x)
    with pytest.raises(CheckError, match='layer 0 .Twice.'): prepare(Network(Twice(4,3), LIF()), preset('int8'), x)
