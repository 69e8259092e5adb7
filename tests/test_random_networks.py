"Random networks of every kind: the torch network, the program from its file, and plain Python do the same, spike by spike."
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import reference
from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.policy import Policy, preset
from quarantion.quant.network import prepare
from quarantion.runtime.network import load
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RESETS, Diagonal, RecurrentLIF
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic

CASES,GROUP = 560,20


def pick(rng, *choices): return choices[rng.integers(len(choices))]


def neurons(rng, n, beta, conv=False):
    "Neurons of a random kind"
    kw = dict(beta=torch.rand(n)*.5+.5 if rng.random()<.3 else beta, threshold=torch.rand(n)*.6+.3 if rng.random()<.3 else float(rng.uniform(.2, 1.2)), reset=pick(rng, *RESETS[:3]))
    kind = pick(rng, 'lif', 'lif', 'synaptic', 'recurrent', 'both')
    if kind=='lif': return LIF(**kw)
    if kind=='synaptic': return Synaptic(alpha=float(rng.uniform(.2, .9)), **kw)
    if conv: back = pick(rng, Diagonal(float(rng.normal()*.4)), nn.Conv2d(n, n, 3, padding=1))
    else: back = pick(rng, Diagonal(torch.randn(n)*.4), nn.Linear(n, n))
    return RecurrentLIF(back, **kw) if kind=='recurrent' else RecurrentSynaptic(back, alpha=float(rng.uniform(.2, .9)), **kw)


def policy(rng):
    "A preset, or fields at random"
    if rng.random()<.4: return preset(pick(rng, 'int8', 'int4', 'nonary', 'ternary', 'mint2', 'mint4', 'tcq4', 'current8', 'mixed'))
    return Policy(pick(rng, 'int8', 'int4', 'nonary', 'ternary', 'int3'), current=pick(rng, 'exact', 'exact', 'int8', 'int5'),
        membrane=pick(rng, 'exact', 'clipped(8)', 'clipped(4)', 'clipped(6, before_fire)', 'levels(16)', 'levels(5)', 'uint8'), scale=pick(rng, 'lsq', 'max', 'pow2', 'percentile'),
        per_channel=bool(rng.random()<.7), observer=pick(rng, 'adaptive', 'percentile', 'mse'), layers={'last':dict(membrane=pick(rng, 'exact', 'exact', 'uint8'))})


def network(rng):
    beta,steps = float(rng.uniform(.5, 1)),int(rng.integers(4, 12))
    last = pick(rng, LIF(beta, reset='none'), LIF(beta, .3))
    if rng.random()<.3:
        net = Network(nn.Conv2d(1,3,3,padding=1), neurons(rng, 3, beta, True), pick(rng, nn.AvgPool2d(2), nn.MaxPool2d(2)), nn.Conv2d(3,4,3,padding=1,stride=2), neurons(rng, 4, beta, True),
            nn.Flatten(), nn.Linear(4*4,3), last, in_shape=(1,8,8), steps=steps)
    else: net = Network(nn.Linear(6,8,bias=bool(rng.random()<.7)), neurons(rng, 8, beta), nn.Linear(8,5), neurons(rng, 5, beta), nn.Linear(5,3), last, steps=steps)
    with torch.no_grad():
        for m in net.layers:
            if isinstance(m, (nn.Linear,nn.Conv2d)): m.weight.mul_(3)
    return net


def sample(rng, net, n=2):
    shape = (n, *net.in_shape)
    kind = pick(rng, 'pixels', 'signed', 'spikes')
    if kind=='spikes': return (torch.rand(net.steps, *shape)<.4).float()
    return (torch.rand(shape) if kind=='pixels' else torch.randn(shape)).clamp(-1, 1).index_fill(0, torch.tensor([0]), 1.) # 1/s_x is a whole number


def mismatches(q, x, path):
    "Places where the three differ, and the rates of layers that fire"
    program = lower(q)
    program.save(path)
    program = load(path)
    theirs,ours,codes,wrong = q.eval().integers(x),program.record(x.numpy()),program.codes(x.numpy()),0
    if x.ndim==len(q.in_shape)+1: codes = np.broadcast_to(codes, (q.steps, *codes.shape))
    for b in range(codes.shape[1]):
        for a,o,(spk,mem) in zip(theirs, ours, reference.run(program, codes[:,b].tolist())):
            spk,mem = np.array(spk),np.array(mem)
            for s,m in (a.spk.numpy(),a.mem.numpy()),(o.spk,o.mem):
                wrong += int((s[:,b].reshape(spk.shape)!=spk).sum()+(m[:,b].reshape(mem.shape)!=mem).sum())
    return wrong,[float(r.spk.mean()) for l,r in zip(q.layers, ours) if l.reset!='none']


@pytest.mark.parametrize('group', range(CASES//GROUP))
def test_three_programs_agree(tmp_path, group):
    rng,done,kinds = np.random.default_rng(group),0,set()
    while done<GROUP:
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)
        net,p = network(rng),policy(rng)
        x = sample(rng, net)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')     # coarse thresholds are part of the game
                q = prepare(net, p, x)
                if rng.random()<.3: q.train()(x)[1].sum().backward()
                wrong,rates = mismatches(q, x, tmp_path/'net.safetensors')
        except CheckError as e:
            assert any(w in str(e) for w in ('never reset', 'cannot fire', 'half a unit', '|v| < 2^31', 'more bits in a convolution')), e    # refused by name; another is drawn
            continue
        assert wrong==0, (group, done, seed, p)
        done += any(0<r<1 for r in rates)       # where all layers are dead or saturated, nothing was shown: another is drawn
        kinds |= {type(m).__name__ for m in net.layers}|{p.membrane,p.current,p.weight}
    assert len(kinds)>15, kinds
