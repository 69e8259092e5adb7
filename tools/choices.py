"""Training choices that the page of claims judges: small runs on the digits, into nbs/measured/choices.json.

    python tools/choices.py [SEEDS]   # three, on one thread: some four minutes
"""
import copy
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import cpu
from torch import nn

from quarantion import Policy, prepare, preset
from quarantion.data import load_digits
from quarantion.quant.fake import fake_quantize
from quarantion.quant.observers import MovingAverage
from quarantion.spikes import LIF, Network

PATH = Path(__file__).parent.parent/'nbs'/'measured'/'choices.json'
D = load_digits()


def network(seed):
    torch.manual_seed(seed)
    return Network(nn.Linear(64, 128), LIF(beta=.9), nn.Linear(128, 10), LIF(beta=.9, reset='none'))


def train(net, opt, epochs):
    net.train()
    for _ in range(epochs):
        for i in torch.randperm(len(D.x_train)).split(64):
            loss = F.cross_entropy(net(D.x_train[i])[1].mean(0), D.y_train[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return net.eval()


def accuracy(net):
    with torch.no_grad(): return (net(D.x_test)[1].sum(0).argmax(-1)==D.y_test).float().mean().item()


def adam(net, lr): return torch.optim.Adam(net.param_groups(lr=lr) if hasattr(net, 'param_groups') else net.parameters(), lr=lr)


def warm(seed, epochs=6): # the float network that most runs start from
    net = network(seed)
    return train(net, adam(net, 5e-3), epochs)


def quantized(net, seed, policy, epochs=3, lr=1e-3):
    torch.manual_seed(100+seed)
    q = prepare(net, policy, D.x_train[:256])
    return accuracy(train(q, adam(q, lr), epochs))


class Rounded(nn.Linear):
    "A linear layer with currents of few bits, by a moving average of their extremes"
    def __init__(self, linear, bits, per_channel):
        super().__init__(linear.in_features, linear.out_features)
        self.load_state_dict(linear.state_dict())
        self.top,self.axis = 2**(bits-1)-1,-1 if per_channel else None
        self.seen = MovingAverage(quant_max=self.top, ch_axis=self.axis, adaptive=True)

    def forward(self, v):
        u = super().forward(v)
        if self.training: self.seen(u.detach())
        return fake_quantize(u, self.seen.calculate_qparams()[0], -self.top, self.top, self.axis)


def rounded(net, seed, bits, per_channel):
    "After three epochs with rounded currents"
    torch.manual_seed(100+seed)
    net = copy.deepcopy(net)
    for k in 0,2: net.layers[k] = Rounded(net.layers[k], bits, per_channel)
    return accuracy(train(net, adam(net, 1e-3), 3))


def layer_by_layer(net, seed, weight):
    "The first layer is quantized for two epochs before the second one is too, for two more"
    torch.manual_seed(100+seed)
    q = prepare(net, Policy('float', layers={'first':dict(weight=weight)}), D.x_train[:256])
    opt = adam(q, 1e-3)
    train(q, opt, 2)
    return accuracy(train(q.switch(Policy(weight)), opt, 2))


def runs(net, seed):
    "Name → function that gives the test accuracy of one run from the float network `net`"
    def q(policy, *how, **kw): return lambda: quantized(net, seed, policy, *how, **kw)
    last = {'last':dict(current='exact')}
    found = {'float':lambda: accuracy(net), 'int4 at once':q(Policy('int4'), 0), 'mint2':q(preset('mint2'), 4),
             'int8 from the start':lambda: quantized(network(seed), seed, Policy('int8'), 9, 5e-3)}
    for o in 'minmax','ema','percentile': found[f'observer {o}'] = q(Policy('int8', current='int8', observer=o, layers=last))
    for w in 'int8','int4':
        for c,grain in (True,'each channel'),(False,'one scale'): found[f'{w} weights, {grain}'] = q(Policy(w, per_channel=c))
    for b in 8,4:
        for c,grain in (True,'each channel'),(False,'one scale'):
            found[f'{b}-bit currents, {grain}'] = lambda b=b, c=c: rounded(net, seed, b, c)
    for w in 'int8','int2':
        found[f'{w} layer by layer'] = lambda w=w: layer_by_layer(net, seed, w)
        found[f'{w} all at once'] = q(Policy(w), 4)
    return found


def main(seeds=3):
    torch.set_num_threads(1)
    got = {}
    for seed in range(seeds):
        for name,run in runs(warm(seed), seed).items():
            got.setdefault(name, []).append(run())
            print(f'{seed} {name:30} {got[name][-1]:.4f}', flush=True)
    d = dict(command='python tools/choices.py', machine=f'{cpu()}, 1 thread', torch=torch.__version__, accuracy=got)
    PATH.write_text(json.dumps(d, indent=1)+'\n')


if __name__=='__main__': main(*map(int, sys.argv[1:]))
