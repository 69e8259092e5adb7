"The one walk over a network: what belongs to each layer of neurons, and what is refused by name"
import copy

import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant.advice import lint, recommend
from quarantion.quant.calibration import equalize
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.quant.pruning import magnitude_scores
from quarantion.quant.sensitivity import sqnr_sensitivity
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.parameters import learnable
from quarantion.spikes.stage import stages
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic, neurons_with


def conv():
    return Network(nn.Dropout2d(.1), nn.AvgPool2d(2), nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.MaxPool2d(2), LIF(), nn.Identity(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(.2),
        nn.Linear(6, 3), nn.BatchNorm1d(3), LIF(reset='none'), in_shape=(1,14,14), steps=4)


def test_everything_is_in_one_stage_or_passed_over():
    net = conv()
    a,b = stages(net)
    at = lambda *places: tuple(net.layers[i] for i in places)
    assert a==('5', at(1), net.layers[2], at(3), at(4), net.layers[5])
    assert b==('12', at(7,8), net.layers[10], at(11), (), net.layers[12])
    assert [s.name for s in stages(net)]==[r.name for r in net.record(torch.rand(2,1,14,14))]


def test_feeds_is_the_way_of_a_current():
    "The network, run by its stages"
    net = conv().eval()
    x = torch.rand(4,2,1,14,14)
    want = net.record(x)
    with torch.no_grad():
        for s,r in zip(stages(net), want):
            for m in s.feeds: x = m(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            x = s.neurons.spikes(x)
            assert torch.equal(x, r.spk)
    assert want[0].spk.any()


@pytest.mark.parametrize('neurons,kind,leaks', [(LIF(), 'lif', 'beta'), (Synaptic(), 'synaptic', 'beta alpha'), (RecurrentLIF(nn.Linear(5,5)), 'recurrent', 'beta'),
    (RecurrentSynaptic(nn.Linear(5,5)), 'recurrent_synaptic', 'beta alpha'), (RecurrentLIF(Diagonal()), 'recurrent', 'beta')], ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_neurons_say_what_they_are(neurons, kind, leaks):
    s,_ = stages(Network(nn.Linear(4,5), neurons, nn.Linear(5,2), LIF()))
    assert (s.neurons.kind,s.neurons.leaks)==(kind,tuple(leaks.split()))
    assert s.weights==(s.synapse, *[neurons.recurrent]*isinstance(neurons.recurrent, nn.Linear))
    assert (neurons.recurrent is None)==(not kind.startswith('recurrent'))
    same = neurons_with(**{k:getattr(neurons, k) for k in neurons.leaks}, recurrent=neurons.recurrent)
    assert type(same) is type(neurons) and same.kind==kind
    for n in copy.deepcopy(neurons),learnable(copy.deepcopy(neurons), 'beta'): assert (n.kind,n.leaks,n.recurrent is None)==(kind,neurons.leaks,neurons.recurrent is None)
    assert neurons.state_dict().keys()-{'recurrent.weight','recurrent.bias'}=={*neurons.leaks,'threshold'}


def test_quantized_networks_have_stages_too():
    net = conv()
    q = prepare(net, preset('int8'), torch.rand(4,1,14,14))
    assert [s.name for s in stages(q)]==[s.name for s in stages(net)]
    assert all(s.synapse is s.neurons is l for s,l in zip(stages(q), q.layers))
    assert [[len(s.before),len(s.after)] for s in stages(q)]==[[1,1],[2,0]]


BAD = {'layer 1 (Conv2d): weights: expected neurons between two layers of weights, found none':(nn.Conv2d(1,2,3), nn.Conv2d(2,2,3), LIF()),
    'layer 0 (BatchNorm1d): batch norm: expected weights just before it, found none':(nn.BatchNorm1d(4), nn.Linear(4,4), LIF()),
    'layer 1 (Flatten): Flatten: expected neurons before it, found weights':(nn.Conv2d(1,2,3), nn.Flatten(), LIF()),
    'layer 1 (LIF): neurons: expected weights before them, found none':(nn.Flatten(), LIF()),
    'layer 1 (ReLU): layer: expected Linear, Conv1d, Conv2d, BatchNorm':(nn.Linear(4,4), nn.ReLU(), LIF())}


@pytest.mark.parametrize('words', BAD)
def test_what_is_in_no_order_is_refused_everywhere(words):
    net,x = Network(*BAD[words], in_shape=(4,)),torch.rand(2,4)
    for use in (stages, lambda n: prepare(n, preset('int8'), x), magnitude_scores, equalize, lambda n: sqnr_sensitivity(n, x), recommend):
        with pytest.raises(CheckError) as e: use(net)
        assert words in str(e.value)
    found = lint(net, preset('int8'))
    assert [(f.what,f.level) for f in found]==[('layers','error')] and words in found[0].found
    with pytest.raises(CheckError, match='`net`'): stages(nn.Linear(3,4))


def test_batch_norm_without_statistics_is_refused_by_prepare_alone():
    net = Network(nn.Linear(4,4), nn.BatchNorm1d(4, track_running_stats=False), LIF())
    assert len(stages(net)[0].norms)==1 and '2' not in magnitude_scores(net)
    with pytest.raises(CheckError, match=r'layer 1 \(BatchNorm1d\): batch norm: expected running statistics'): prepare(net, preset('int8'), torch.rand(2,4))


@pytest.mark.parametrize('layers', [(nn.Linear(4,4), nn.Linear(4,4)), (nn.Conv2d(1,4,3), nn.AvgPool2d(2), nn.BatchNorm2d(4), LIF(), nn.Flatten(), nn.Linear(36,2))])
def test_what_is_folded_is_not_changed_in_place(layers):
    "`prepare` folds it; who scales or removes weights would change the wrong ones"
    net,shape = Network(*layers, LIF(), in_shape=(4,) if len(layers)==2 else (1,8,8)).eval(),(4,) if len(layers)==2 else (1,8,8)
    x = torch.rand(2,*shape)
    for use in (magnitude_scores, equalize, lambda n: sqnr_sensitivity(n, x)):
        with pytest.raises(CheckError, match='expected one layer of weights and norms right behind it'): use(net)
