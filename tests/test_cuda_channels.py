"""What channels have in units of the membrane: the kernel beside the torch that defines it. On a GPU, or in Triton's interpreter"""
import copy
import importlib.util
import os
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from quarantion import prepare, preset
from quarantion.quant import layer, units
from quarantion.spikes import LIF, Network
from quarantion.spikes.synaptic import neurons_with

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'


def one(seed, policy):
    "A layer of a network that has learned a little of everything"
    torch.manual_seed(seed)
    c = 7
    per = lambda lo,hi: nn.Parameter(lo+(hi-lo)*torch.rand(c if seed%2 else 1))
    neurons = neurons_with(.8 if seed%3==0 else None, None, beta=per(.5, 1.).detach(), threshold=per(.5, 1.5).detach(),
                           learn_beta=True, learn_threshold=True)
    net = Network(nn.Linear(9, c), neurons, nn.Linear(c, 4), LIF(.9, reset='none'), steps=4)
    with torch.no_grad():
        net.layers[0].weight[2] = 0
    p = preset(policy)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        q = prepare(net, replace(p, per_channel=seed%4!=3) if seed%4==3 else p, torch.rand(16, 9))
    with torch.no_grad():
        q.layers[0].beta[...] = torch.linspace(-.2, 1.2, q.layers[0].beta.numel()).reshape(q.layers[0].beta.shape) if seed%7==1 else q.layers[0].beta
        if seed%5==0: q.layers[0].bias[1] = 1e9
        if seed%6==1: q.layers[0].threshold.reshape(-1)[0] = -1.
    return q.double().train() if seed%2 else q.train()


def answers(q, l, monkeypatch, gpu):
    for module in layer,units: monkeypatch.setattr(module, 'on_gpu', lambda x: gpu)
    q.zero_grad(set_to_none=True)
    codes,reals,s,zero = layer._weight_codes(l)
    few = l.current_max if l.current.seen else 0
    scale = units.current_scale(l, units.thresholds(l)) if few else None
    out = units.in_units(l, s, zero, scale)
    torch.manual_seed(1)
    sum((v*torch.randn(len(v), dtype=v.dtype).to(v.device)).sum() for v in out[:4] if v is not None and v.requires_grad).backward()
    return out[:3]+(() if l.alpha is None else out[3:4])+out[4:6],list(out[6])[:3+(l.alpha is not None)],[p.grad for p in q.parameters()]


@pytest.mark.parametrize('policy', ['int8', 'nonary', 'ternary', 'current8', 'mint4', 'tcq4'])
@pytest.mark.parametrize('seed', range(14))
def test_a_kernel_gives_what_torch_gives(policy, seed, monkeypatch):
    q = one(seed, policy) # torch on a CPU: on a GPU it divides by a number by multiplying with its inverse
    there = copy.deepcopy(q).to(DEVICE)
    for l,m in zip(q.layers, there.layers):
        want,ints,grads = answers(q, l, monkeypatch, None)
        got,own,theirs = answers(there, m, monkeypatch, True)
        for i,(a,b) in enumerate(zip((*want,*ints), (*got,*own))):
            if a is not None: assert torch.equal(a, b.cpu()), (i, a.tolist(), b.tolist())
        for (n,_),a,b in zip(q.named_parameters(), grads, theirs):
            assert (a is None)==(b is None) or (a is None or not a.any()) and (b is None or not b.any()), n
            if a is not None and b is not None: assert torch.allclose(a, b.cpu(), rtol=1e-5, atol=1e-6*float(a.abs().max())), (n, a, b)
