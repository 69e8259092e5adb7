"Signals are what a plain float64 loop says, nothing is changed by taking them, and runs say the same without them."
import copy
import json
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from quarantion.quant.network import prepare
from quarantion.quant.policy import Policy, preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.own import neuron
from quarantion.spikes.parameters import learnable
from quarantion.spikes.surrogate import spike, surrogate_grad
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic
from quarantion.train.seen import last_step
from quarantion.train.signals import as_json, of_json, signals

pytestmark = pytest.mark.filterwarnings('ignore')
NEAR = dict(rtol=2e-4, atol=1e-6)


def one(kind, n, reset='subtract', theta=1., surrogate='fast_sigmoid', slope=25.):
    how = dict(beta=.85, threshold=theta, reset=reset, surrogate=surrogate, slope=slope)
    if kind=='recurrent': return RecurrentLIF(nn.Linear(n, n, bias=False), **how)
    if kind=='diagonal': return RecurrentLIF(Diagonal(torch.full((n,), .2)), **how)
    if kind=='synaptic': return Synaptic(.7, **how)
    if kind=='recurrent_synaptic': return RecurrentSynaptic(nn.Linear(n, n, bias=False), .7, **how)
    if kind=='learned': return learnable(LIF(**how), 'beta', 'threshold', 'slope')
    return LIF(**how)


def plain(net, x):
    "Spikes and membranes before the reset of each layer of a float network, step by step in float64"
    x = x.double().numpy()
    x = np.broadcast_to(x, (net.steps,*x.shape)) if x.ndim==2 else x
    for w,m in zip(net.layers[::2], net.layers[1::2]):
        W,b = w.weight.detach().double().numpy(),w.bias.detach().double().numpy()
        par = lambda k: torch.as_tensor(getattr(m, k)).detach().double().numpy()
        back = 0 if m.recurrent is None else m.recurrent.weight.detach().double().numpy()
        n = len(W)
        u = j = s = np.zeros((x.shape[1],n))
        spk,pre = [],[]
        for t in range(len(x)):
            i = x[t]@W.T+b+(s@np.transpose(back) if np.ndim(back)==2 else s*back)
            j = par('alpha')*j+i if 'alpha' in m.leaks else i
            v = par('beta')*u+j-(par('threshold')*(u>par('threshold')) if m.reset=='subtract_delayed' else 0)
            s = (v>par('threshold')).astype(float)
            u = v-s*par('threshold') if m.reset=='subtract' else v*(1-s) if m.reset=='zero' else v
            spk.append(s); pre.append(v)
        x = np.stack(spk)
        yield m,W,x,np.stack(pre)


def plain_signals(m, W, spk, v):
    t,b,n = spk.shape
    theta = np.broadcast_to(torch.as_tensor(m.threshold).detach().double().numpy(), n)
    u,half = v/theta,t//2
    out = dict(mem_mean=u.mean(), mem_std=u.std(), weight=np.sqrt(np.square(W).mean()*W.shape[1]), theta=theta.mean())
    if np.ptp(theta)==0: out['growth'] = abs(v[half:]).mean()/abs(v[:half]).mean()
    if m.reset=='none': return out
    slope = float(m.slope)
    g = surrogate_grad(torch.as_tensor(v-theta), m.surrogate, slope).numpy()
    top = float(surrogate_grad(torch.zeros(1, dtype=torch.float64), m.surrogate, slope))
    return out|dict(rate=spk.mean(), dead=(spk.sum((0,1))==0).mean(), saturated=(spk.mean((0,1))>=.9).mean(),
                    peak=np.median(u.max((0,1))), reach=(g>=.1*top*(1-1e-9)).mean(), slope=slope)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(['lif','recurrent','diagonal','synaptic','recurrent_synaptic','learned']),
       st.sampled_from(['subtract','subtract_delayed','zero']), st.sampled_from(['fast_sigmoid','atan','sigmoid','triangular','rectangular']),
       st.sampled_from([1.,2.,'each']), st.booleans())
def test_float_networks_are_a_plain_loop(seed, kind, reset, surrogate, theta, over_time):
    torch.manual_seed(seed)
    if theta=='each': theta = .5+torch.rand(7)
    net = Network(nn.Linear(5,7), one(kind, 7, reset, theta, surrogate, 3.), nn.Linear(7,3), LIF(reset='none'), steps=6)
    x = 2*torch.rand(*(6,)*over_time, 9, 5)
    s = signals(net, x)
    for l,(m,W,spk,v) in zip(s.layers, plain(net, x)):
        if abs(v-np.broadcast_to(torch.as_tensor(m.threshold).detach().numpy(), v.shape[2])).min()<1e-5: return # a spike may differ
        for k,want in plain_signals(m, W, spk, v).items():
            slack = 3/v.size if k=='reach' else 0 # at the edge of its reach
            assert math.isclose(getattr(l, k), want, rel_tol=2e-4, abs_tol=1e-5+slack), (k, getattr(l, k), want)
    a = abs(x.double().numpy()).ravel()
    assert math.isclose(s.in_max, a.max(), rel_tol=1e-6) and math.isclose(s.in_mean, x.double().mean(), rel_tol=1e-5)
    assert math.isclose(s.in_outlier, a.max()/np.sort(a[a>0])[int(.999*((a>0).sum()-1))], rel_tol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(['nonary','int8','ternary','mint2']), st.sampled_from(['subtract','zero']), st.integers(1, 3))
def test_quantized_networks_are_their_integers(seed, name, reset, wide):
    "Spikes and states of `integers`, and codes and scales in plain numpy"
    torch.manual_seed(seed)
    net = Network(nn.Linear(5,12), LIF(.9, reset=reset), nn.Linear(12,3), LIF(reset='none'), steps=6)
    x = torch.rand(9,5)
    try: q = prepare(net, preset(name), x)
    except ValueError: return # such a network cannot be
    over = x.clone()
    over[0,0] = 1.+wide
    s,first = signals(q, over, twin=net),signals(q, x)
    with torch.no_grad(): ran = q.eval().integers(over)
    for l,r,m in zip(s.layers, ran, q.layers):
        w,sc = m.latent.detach().double().numpy(),m.coder.shaped(m.latent).detach().double().numpy()
        k = np.clip(np.round(w/sc), m.lv.quant_min, m.lv.quant_max)
        near = dict(rel_tol=1e-6, abs_tol=1e-9)
        if r.name==s.layers[0].name: assert math.isclose(l.rate, float(r.spk.double().mean()), **near)
        assert math.isclose(l.scale, sc.mean(), **near) and math.isclose(l.ends, (abs(k)==m.lv.quant_max).mean(), **near)
        z = w/sc
        assert math.isclose(l.clipping, ((z<m.lv.quant_min-.5)|(z>m.lv.quant_max+.5)).mean(), abs_tol=2/z.size)
        assert math.isclose(l.unused, 1-len(np.unique(k))/len(m.lv), **near)
    assert s.in_clipped==pytest.approx(1/x.numel() if over[0,0]/q.in_scale>q.in_max+.5 else 0.)
    assert s.layers[0].sqnr is not None and s.layers[1].correlation is None and first.layers[0].sqnr is None


def nets():
    torch.manual_seed(3)
    conv = Network(nn.Conv2d(1,4,3), nn.BatchNorm2d(4), LIF(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(.3), nn.Linear(36,3),
                   LIF(reset='none'), in_shape=(1,8,8), steps=5)
    conv(torch.rand(8,1,8,8)) # batch norms have seen something
    yield 'conv',conv,torch.rand(12,1,8,8)
    for kind in 'recurrent','synaptic','learned':
        yield kind,Network(nn.Linear(6,8), one(kind, 8), nn.Linear(8,3), LIF(reset='none'), steps=5),torch.rand(12,6)
    @neuron(v=0.)
    def mine(state, x, leak=.9):
        v = leak*state.v+x
        s = spike(v-1)
        return (v-s,),s
    own = mine()
    own.by = 'loop' # nothing is compiled for it
    yield 'own',Network(nn.Linear(6,8), own, nn.Linear(8,3), LIF(reset='none'), steps=5),torch.rand(12,6)
    plain = Network(nn.Linear(6,8), LIF(), nn.Linear(8,3), LIF(reset='none'), steps=5)
    x = torch.rand(12,6)
    for name in 'nonary','mint2': yield name,prepare(plain, preset(name), x),x
    yield 'real weights',prepare(plain, Policy('float'), x),x
    yield 'real membranes',prepare(plain, Policy('nonary', membrane='float'), x),x
    yield 'noise',prepare(plain, Policy('nonary', noise=.5), x),x


def every(net):
    "All that a network is: tensors, gradients, modes, what observers keep, and generators of random numbers"
    rng = torch.get_rng_state(),np.random.get_state()[1].tolist(),random.getstate()
    watchers = [(m.enabled,m.frozen) for m in net.modules() if hasattr(m, 'enabled')]
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    buffers = [b.clone() for b in net.buffers()]
    return {k:v.clone() for k,v in net.state_dict().items()},grads,buffers,[m.training for m in net.modules()],watchers,rng


def same(a, b):
    if isinstance(a, torch.Tensor): return a.dtype==b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, dict): return a.keys()==b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list,tuple)): return len(a)==len(b) and all(map(same, a, b))
    return a==b


@pytest.mark.parametrize('training', [True,False])
def test_nothing_is_changed(training):
    for name,net,x in nets():
        net.train(training)
        y = torch.arange(len(x))%3
        if name!='own': nn.functional.cross_entropy(net.answer(x)[0], y).backward()
        before = every(net)
        s = signals(net, x, y)
        assert same(every(net), before), name
        assert len(s.layers)==2 and s.layers[0].rate is not None and s.layers[0].neurons in (8,144), name
        again = of_json(json.loads(json.dumps(as_json(s), allow_nan=False)))
        assert as_json(again)==as_json(s) and signals(net, x, y)==s, name


def test_learning_goes_on_as_if_nobody_had_looked():
    for name,net,x in nets():
        if name in ('own','real weights'): continue
        y,ends = torch.arange(len(x))%3,[]
        for looks in False,True:
            torch.manual_seed(5)
            n = copy.deepcopy(net).train()
            opt = torch.optim.Adam(n.parameters(), 1e-2)
            for _ in range(4):
                opt.zero_grad()
                nn.functional.cross_entropy(n.answer(x)[0], y).backward()
                with last_step(n, opt) as step: opt.step()
                if looks: signals(n, x, y, step, twin=None)
            ends.append(n.state_dict())
        assert same(*ends), name


def test_gradients_and_steps():
    for name,net,x in nets():
        if name in ('own','real weights'): continue
        y,opt = torch.arange(len(x))%3,torch.optim.SGD(net.parameters(), .05)
        net.train()
        nn.functional.cross_entropy(net.answer(x)[0], y).backward()
        before = {n:p.detach().clone() for n,p in net.named_parameters()}
        with last_step(net, opt) as step: opt.step()
        s = signals(net, x, y, step)
        moved = {n:(p.detach()-before[n],p.grad,before[n]) for n,p in net.named_parameters() if p.ndim>1}
        groups = [[v for n,v in moved.items() if n.startswith(f'layers.{i}.')] for i in sorted({int(n.split('.')[1]) for n in moved})]
        if name=='recurrent': groups = [groups[0]+groups[1],*groups[2:]]
        for l,g in zip(s.layers, groups, strict=True):
            cat = lambda i: np.concatenate([v[i].double().numpy().ravel() for v in g])
            assert math.isclose(l.grad, np.sqrt(np.square(cat(1)).mean()), rel_tol=1e-5, abs_tol=1e-12), name
            assert math.isclose(l.update, np.linalg.norm(cat(0))/np.linalg.norm(cat(2)), rel_tol=1e-4, abs_tol=1e-12), name
        if s.layers[1].grad: assert math.isclose(s.layers[0].grad_ratio, s.layers[0].grad/s.layers[1].grad, rel_tol=1e-9)


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_what_is_no_number_is_told_and_breaks_nothing(bad):
    for name,net,x in nets():
        if name=='learned': continue
        with torch.no_grad(): next(p for p in net.parameters() if p.ndim>1).view(-1)[0] = bad
        s = signals(net, x, torch.arange(len(x))%3)
        assert not math.isfinite(s.layers[0].weight) and not math.isfinite(s.layers[0].mem_std or math.nan), name
        json.dumps(as_json(s), allow_nan=False)
    x[0] = bad
    s = signals(net, x, torch.arange(len(x))%3)
    assert not math.isfinite(s.in_mean) and math.isnan(s.doubt)


class Killed(Exception): pass


def test_a_resumed_run_says_the_same_in_each_line(tmp_path):
    "Killed in the middle of an epoch of either network; every field but the time"
    from quarantion.files import read_jsonl
    from quarantion.train.config import Config
    from quarantion.train.job import train
    from quarantion.train.setup import load_data, start
    cfg = Config(epochs=2, qat_epochs=2, hidden=24, steps=8)
    split,said = load_data(cfg),[]
    for stops in ((),(('float',1),('qat',1))):
        run,left = start(cfg, tmp_path),list(stops)
        def progress(phase, epoch, *_):
            if (phase,epoch) in left:
                left.remove((phase,epoch))
                raise Killed
        while True:
            try: train(run, split, progress); break
            except Killed: continue
        said.append([{k:v for k,v in m.items() if k!='time_s'} for m in read_jsonl(run/'metrics.jsonl')])
    assert said[0]==said[1] and len(said[0])==4
    for m in said[0]:
        s = of_json(m['health'])
        assert (s.loss,s.lr)==(pytest.approx(m['loss'], rel=1e-6),pytest.approx(m['lr'], rel=1e-6)) and 0<=s.doubt<=1
        l = s.layers[0]
        assert l.grad>0 and l.update>0 and (l.sqnr is None)==(m['phase']=='float')
    drifts = [of_json(m['health']).layers[0].scale_drift for m in said[0]]
    assert drifts[:3]==[None]*3 and drifts[3] is not None
