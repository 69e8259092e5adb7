"Every preset on ordinary networks: near the float accuracy after two epochs, or refused with advice that works."
import warnings
from functools import lru_cache

import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant.network import prepare
from quarantion.quant.policy import PRESETS, Policy, preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.spikes.snntorch import from_snntorch


def events(x): # ON and OFF spikes of 8 × 8 pixels, `[T, B, 2, 8, 8]`
    u,p = torch.rand(8, len(x), 8, 8, generator=torch.Generator().manual_seed(0)),x.reshape(-1, 8, 8)
    return torch.stack([u<p*.6, u>1-(1-p)*.15], 2).float()


KINDS = dict(mlp=lambda x: x, wide=lambda x: x, spikes=lambda x: events(x)[:,:,0].flatten(2), cnn=lambda x: x.reshape(-1, 1, 8, 8), events=events)


def network(kind, reset, last='none'):
    lif = lambda r=reset: LIF(beta=.9, reset=r)
    if kind in ('mlp','spikes'): return Network(nn.Linear(64,64), lif(), nn.Linear(64,10), lif(last), steps=8)
    if kind=='wide': return Network(nn.Linear(64,256), lif(), nn.Linear(256,256), lif(), nn.Linear(256,10), lif(last), steps=8)
    c = 1 if kind=='cnn' else 2
    pool = [nn.MaxPool2d(2)]
    first = [lif(),*pool] if kind=='cnn' else [*pool,lif()]
    return Network(nn.Conv2d(c,8,3,padding=1), *first, nn.Conv2d(8,16,3,padding=1), lif(), *pool, nn.Flatten(), nn.Linear(64,10), lif(last), in_shape=(c,8,8), steps=8)


def part(x, i): return x[:,i] if x.ndim in (3,5) else x[i]


def scores(net, x): # membranes of a readout, spikes of the others
    spk,mem = net(x)
    return mem.mean(0) if net.layers[-1].reset=='none' else spk.mean(0)*10


def fit(net, x, y, epochs):
    g = torch.Generator().manual_seed(1)
    opt = torch.optim.Adam(net.param_groups(5e-3) if hasattr(net, 'param_groups') else net.parameters(), 5e-3)
    for i in [i for _ in range(epochs) for i in torch.randperm(len(y), generator=g).split(32)]:
        opt.zero_grad(); F.cross_entropy(scores(net.train(), part(x, i)), y[i]).backward(); opt.step()
    return net


@torch.no_grad()
def accuracy(net, x, y): return (scores(net.eval(), x).argmax(1)==y).double().mean().item()


@lru_cache
def data(kind):
    d = load_digits()
    return KINDS[kind](d.x_train),d.y_train,KINDS[kind](d.x_test),d.y_test


@lru_cache
def trained(kind, reset, last='none'):
    x,y,*test = data(kind)
    torch.manual_seed(0)
    net = fit(network(kind, reset, last), x, y, 8 if x.ndim>3 else 4)
    return net,accuracy(net, *test)


def after_two_epochs(kind, net, policy):
    x,y,*test = data(kind)
    torch.manual_seed(0)
    return accuracy(fit(prepare(net, policy, part(x, torch.arange(128))), x, y, 2), *test)


def near(kind, name, reset, last='none'):
    net,base = trained(kind, reset, last)
    try: ours = after_two_epochs(kind, net, preset(name))
    except CheckError as e:
        assert name=='mint2'
        if reset=='subtract_delayed' and "from_snntorch(net, reset='subtract')" in str(e): return near(kind, name, 'subtract', last)
        assert kind=='cnn' and "8-bit input: replace(policy, layers=" in str(e)
        first = dict(current='int4', membrane='clipped(4)')
        ours = after_two_epochs(kind, net, Policy('int2', membrane='clipped(2)', layers={'first':first, 'last':dict(membrane='exact')}))
    most = .25 if (kind,name)==('cnn','mint2') else .15 # eight orders of batches gave .74 to .86 there, float .94; which one it is depends on the processor
    assert ours>=base-most, (base,ours)


@pytest.mark.parametrize('kind,name,reset', [('mlp','mint4','subtract_delayed'), ('spikes','mint4','subtract_delayed'), ('mlp','mint2','subtract_delayed'),
    ('cnn','mint2','subtract'), ('events','mint4','subtract_delayed')])
def test_mint_is_near_float(kind, name, reset): near(kind, name, reset)


@pytest.mark.soak
@pytest.mark.parametrize('reset', ['subtract','subtract_delayed'])
@pytest.mark.parametrize('kind', ['mlp','spikes','cnn','events'])
@pytest.mark.parametrize('name', PRESETS)
def test_every_preset_is_near_float(kind, name, reset): near(kind, name, reset)


@pytest.mark.soak
@pytest.mark.parametrize('kind', ['mlp','cnn','events'])
@pytest.mark.parametrize('name', [p for p in PRESETS if p not in ('ternary','mint2')]) # three weights take longer to get there
def test_every_preset_is_near_float_where_the_readout_spikes(kind, name): near(kind, name, 'subtract_delayed', 'subtract_delayed')


@pytest.mark.parametrize('kind', ['mlp','spikes'])
def test_requantized_currents_leave_scales_alone(kind):
    x = data(kind)[0]
    l = prepare(network(kind, 'subtract_delayed'), preset('mint4'), part(x, torch.arange(64))).layers[0]
    plain = prepare(network(kind, 'subtract_delayed'), preset('int4'), part(x, torch.arange(64))).layers[0]
    for m in l,plain: assert (m.codes().ints.weight==0).float().mean()<.3
    assert l(torch.ones(1,4,64)*l.into.top, 8).spk.any()


def test_a_silent_layer_is_named_and_the_advice_works():
    net,base = trained('wide', 'subtract_delayed')
    x = data('wide')[0][:64]
    with pytest.warns(UserWarning, match=r"layer 3: \d+% of its codes are 0; current='int4' for layer 3 or reset 'subtract'"):
        prepare(network('wide', 'subtract_delayed'), preset('mint4'), x)
    few = dict(current='int4')
    policy = Policy('int4', membrane='clipped(4)', layers={'first':few, '3':few, 'last':dict(membrane='exact')})
    prepare(network('wide', 'subtract_delayed'), policy, x)
    prepare(network('wide', 'subtract'), preset('mint4'), x)
    assert after_two_epochs('wide', net, policy)>=base-.15


def test_a_threshold_out_of_reach_is_said():
    net = Network(nn.Linear(6,4), LIF(threshold=100.), nn.Linear(4,2), LIF(reset='none'))
    with pytest.warns(UserWarning, match='layer 1: 100% of its neurons cannot reach their threshold; more levels of weights, or a lower threshold helps'):
        prepare(net, preset('int8'), torch.rand(3,6))
    net = Network(nn.Linear(6,4), LIF(.99, 20.), nn.Linear(4,2), LIF(reset='none'), steps=100)
    with torch.no_grad(): net.layers[0].weight.fill_(.1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        prepare(net, preset('int8'), torch.rand(3,6)) # 0.6 a step, kept for long


@pytest.mark.parametrize('reset', ['subtract','zero','none'])
def test_another_reset_than_the_network_of_snntorch_says(reset):
    theirs = nn.Sequential(nn.Linear(64,32), snn.Leaky(.9, init_hidden=True), nn.Linear(32,16), snn.Leaky(.9, init_hidden=True, reset_mechanism='none'),
        nn.Linear(16,10), snn.Leaky(.9, init_hidden=True, output=True))
    ours = from_snntorch(theirs, reset=reset)
    assert [ours.layers[i].reset for i in (1,3,5)]==[reset,reset,'subtract_delayed']
    assert [l.reset for l in from_snntorch(theirs).layers[1::2]]==['subtract_delayed','none','subtract_delayed']
    for k,v in from_snntorch(theirs).state_dict().items(): assert torch.equal(v, ours.state_dict()[k])
