"A network in training under torch's default compiler: the same spikes, and gradients that differ by the order of sums."
import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from quarantion.quant.layer import multiplier
from quarantion.quant.network import prepare
from quarantion.quant.policy import PRESETS, Policy, preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF


def test_factors_are_those_of_frexp():
    torch.manual_seed(0)
    r = torch.ldexp(1+torch.rand(60,200, dtype=torch.float64), torch.arange(-31, 29)[:,None]).flatten()
    edges = torch.ldexp(torch.ones(60, dtype=torch.float64), torch.arange(-31, 29))
    r = torch.cat([r, edges, torch.nextafter(edges, edges*2), torch.nextafter(edges*2, edges)]) # the last are rounded up to a power of two
    m,e = torch.frexp(r)
    m0,carry = torch.round(m*2.**31),torch.round(m*2.**31)==2**31
    ours = multiplier(r)
    assert torch.equal(ours[0].double(), torch.where(carry, 2.**30, m0)) and torch.equal(ours[1].long(), 31-e.long()-carry.long())


@pytest.mark.parametrize('e', [*range(-1074, -32, 40), -33, 30, *range(31, 1024, 40)])
def test_factors_out_of_range_are_refused(e):
    with pytest.raises(ValueError, match='within 2\\^30 of each other'): multiplier(torch.tensor([2.**e], dtype=torch.float64))


@pytest.mark.parametrize('r', [0., -1., float('inf'), float('nan')])
def test_what_is_no_factor_is_refused(r):
    with pytest.raises(ValueError, match='within 2\\^30 of each other'): multiplier(torch.tensor([r], dtype=torch.float64))


POLICIES = {**{n:preset(n) for n in PRESETS}, **{o:Policy('int8', current='int8', observer=o) for o in ('mse','percentile','entropy')}}


FEW = 'int8','current8','mint4' # of which two ended in a C++ compile error; half a minute each, on one layer
CASES = [('one',n) for n in FEW]+[pytest.param('two', n, marks=pytest.mark.soak) for n in POLICIES]

@pytest.mark.skipif(not shutil.which('g++'), reason='no g++, which torch compiles with')
@pytest.mark.filterwarnings('ignore')      # torch's own, of what it does not trace
@pytest.mark.parametrize('layers,name', CASES)
def test_default_compiler(layers, name):
    "Breaks in the graph remain where values decide: codes of the input, the proof of ranges, what was frozen; `fullgraph=True` is refused by torch"
    torch._dynamo.reset(); counters.clear()
    torch.manual_seed(0)
    more = (nn.Linear(12,4), LIF(beta=.9, reset='none')) if layers=='two' else ()
    net = Network(nn.Linear(20,12), LIF(beta=.9), *more, steps=4)
    x,y = torch.rand(16,20),torch.arange(16)%4
    with torch.no_grad():
        for l in net.layers[::2]: l.weight.mul_(4)
    q = prepare(net, POLICIES[name], x).train()
    twin = copy.deepcopy(q)
    out = [m(x) for m in (q,torch.compile(twin))]
    for spk,mem in out: (F.cross_entropy(mem.mean(0), y)+spk.mean()).backward()
    assert torch.equal(out[0][0], out[1][0]) and torch.allclose(out[0][1], out[1][1], atol=1e-6) and out[0][0].any()
    for l,m in zip(q.layers, twin.layers):
        terms = l.latent.grad.abs().sum() # a scale's gradient is a small sum of as large terms, which have other orders
        for (n,a),b in zip(l.named_parameters(), m.parameters()):
            if a.grad is None: continue
            most = 2e-6*terms if n.endswith('scale') else 1e-3*a.grad.abs().max()
            assert (a.grad-b.grad).abs().max()<=most, (n, (a.grad-b.grad).abs().max()/terms)
    assert 0<sum(counters['graph_break'].values())<=40
