"Curvature against exact Hessians, prices against counting, mixtures against trying all"
import copy, itertools, math
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from quarantion.checks import CheckError
from quarantion.quant.level_sets import levels, mse_scale, quantize
from quarantion.quant.policy import Policy
from quarantion.quant.sensitivity import (CHOICES, Sensitivity, twice_differentiable, agreement_sensitivity, allocate, hawq_sensitivity, hessian_traces, knapsack, plot_sensitivity,
                                          sqnr_sensitivity)
from quarantion.runtime.store import packed
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RecurrentLIF
from quarantion.spikes.surrogate import SURROGATES, surrogate_grad

def tiny(reset='subtract', last='none', recurrent=False, detach=True, **kw):
    torch.manual_seed(3)
    hidden = RecurrentLIF(nn.Linear(4,4), beta=.9, reset=reset, detach_reset=detach, **kw) if recurrent else LIF(.9, reset=reset, detach_reset=detach, **kw)
    return Network(nn.Linear(3,4), hidden, nn.Linear(4,2), LIF(.9, reset=last), steps=6)

def data(n=24):
    g = torch.Generator().manual_seed(5)
    return torch.rand(n, 3, generator=g)*2,torch.randint(0, 2, (n,), generator=g)

def conv():
    torch.manual_seed(4)
    return Network(nn.Conv2d(1,3,3,padding=1), nn.BatchNorm2d(3), LIF(.9), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27,4), LIF(.9, reset='none'), in_shape=(1,6,6), steps=4)

def exact(net, x, y, index):
    "The whole Hessian in the weights of a module"
    c,key = twice_differentiable(net, 'atan', 2.),f'layers.{index}.weight'
    w = c.layers[index].weight.detach()
    f = lambda v: F.cross_entropy(torch.func.functional_call(_Answer(c), {f'net.{key}': v}, (x.double(),)), y)
    return torch.autograd.functional.hessian(f, w).reshape(w.numel(), -1)

class _Answer(nn.Module):
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, x): return self.net.answer(x)[0]

@pytest.mark.parametrize('reset,detach', [('subtract',True), ('subtract',False), ('subtract_delayed',True), ('zero',True), ('none',True)])
@pytest.mark.parametrize('last', ['none','subtract'])
def test_traces_are_those_of_the_exact_hessian(reset, detach, last):
    net,(x,y) = tiny(reset, last, detach=detach),data()
    for t,i in zip(hessian_traces(net, x, y, probes=200), (0,2)):
        h = exact(net, x, y, i)
        assert (h-h.T).abs().max()<1e-10*h.abs().max()+1e-14 and h.abs().max()>0
        assert abs(t.trace-float(h.trace()))<=5*t.error+1e-12 and t.weights==len(h)
        off = h-torch.diag(h.diagonal()) # Var vᵀHv = 2·‖off-diagonal‖²
        assert t.error==pytest.approx(math.sqrt(2*float(off.pow(2).sum())/200), rel=.5)

def test_all_sign_vectors_give_the_trace_exactly():
    net,(x,y) = tiny(),data()
    h = exact(net, x, y, 2)
    signs = torch.tensor(list(itertools.product((-1.,1.), repeat=8)), dtype=torch.float64)
    assert float(torch.einsum('pi,ij,pj->p', signs, h, signs).mean())==pytest.approx(float(h.trace()), rel=1e-12)

def parabolic(net, x, seen=None):
    "Scores of a two-layer network, spikes replaced by parabolas through `seen`; and the distances from the threshold of each step"
    w1,b1,w2,b2 = (p.double() for m in (net.layers[0],net.layers[2]) for p in (m.weight,m.bias))
    i1,u,v,at,out = x.double()@w1.T+b1,0,0,[],0
    for t in range(net.steps):
        d = .9*u+i1-1
        at.append(d.detach())
        s = (d>0).double()
        z = s
        if seen is not None:
            e = seen[t].clone().requires_grad_(True)
            with torch.enable_grad():
                g1 = surrogate_grad(e, 'atan', 2.)
                g2, = torch.autograd.grad(g1.sum(), e)
            m,s = d-seen[t],(seen[t]>0).double() # a detached reset stays what it was
            z = s+g1.detach()*m+g2*m*m/2
        u = d+1-s
        v = .9*v+z@w2.T+b2
        out = out+v
    return out/net.steps,at

def test_the_hessian_is_that_of_the_network_with_parabolas_for_spikes():
    net,(x,y) = tiny(),data()
    h,w,g = exact(net, x, y, 0),net.layers[0].weight,torch.Generator().manual_seed(0)
    with torch.no_grad():
        scores,seen = parabolic(net, x)
        assert torch.allclose(scores, net.answer(x)[0].double(), atol=1e-5) and any((d>0).any() for d in seen)
        net = copy.deepcopy(net).double()
        w = net.layers[0].weight
        x = x.double()
        _,seen = parabolic(net, x)
        w0 = w.clone()
        def f(a, v):
            w.copy_(w0+a*v)
            return float(F.cross_entropy(parabolic(net, x, seen)[0], y))
        for _ in range(5):
            v,e = torch.randn(w.shape, generator=g, dtype=torch.float64),1e-4
            second = (f(e, v)-2*f(0, v)+f(-e, v))/e**2
            assert second==pytest.approx(float(v.flatten()@h@v.flatten()), rel=1e-5, abs=1e-6)

@pytest.mark.parametrize('surrogate', SURROGATES)
def test_the_copy_has_the_gradient_of_the_network(surrogate):
    net,(x,y) = tiny(surrogate=surrogate, slope=2.).double(),data()
    twin = twice_differentiable(net, surrogate, 2.)
    for n in net,twin: F.cross_entropy(n.answer(x.double())[0], y).backward()
    for i in 0,2: assert torch.allclose(net.layers[i].weight.grad, twin.layers[i].weight.grad, atol=1e-12)

def test_without_spikes_it_is_the_true_hessian():
    torch.manual_seed(0)
    net,(x,y) = Network(nn.Linear(3,2,bias=False), LIF(0., reset='none'), steps=1),data()
    p = (x.double()@net.layers[0].weight.double().T).softmax(1).detach()
    want = float((x.double().pow(2).sum(1)*(p*(1-p)).sum(1)).mean()) # tr(diag(p) − ppᵀ)·|x|², averaged
    assert float(exact(net, x, y, 0).trace())==pytest.approx(want, rel=1e-10)
    t, = hessian_traces(net, x, y, probes=300)
    assert abs(t.trace-want)<5*t.error

def test_networks_are_left_as_they_are():
    net,(x,y) = conv().train(),(torch.rand(8,1,6,6),torch.randint(0, 4, (8,)))
    before = {k:v.clone() for k,v in net.state_dict().items()}
    for s in hawq_sensitivity(net, x, y, probes=2),sqnr_sensitivity(net, x),agreement_sensitivity(net, x):
        assert s.score.shape==(2,5) and (s.score>=0).all() and np.isfinite(s.score).all()
    assert all(torch.equal(v, before[k]) for k,v in net.state_dict().items()) and all(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters()) and not any(m._forward_pre_hooks for m in net.modules())

def test_probes_are_seeded():
    net,(x,y) = tiny(),data()
    assert hessian_traces(net, x, y, seed=1)==hessian_traces(net, x, y, seed=1)!=hessian_traces(net, x, y, seed=2)

def test_bytes_are_packed_ones():
    s = sqnr_sensitivity(tiny(), data()[0])
    assert s.float_bytes.tolist()==[48,32] and s.names==('1','3') and s.choices==CHOICES
    for i,n in enumerate((12,8)):
        for k,c in enumerate(CHOICES): assert s.bytes[i,k]==packed(np.zeros(n, np.int8), levels(c).quant_max).nbytes

def test_synaptic_operations_are_counted():
    net,(x,_) = tiny(),data()
    x = x*(x>.7)
    s = sqnr_sensitivity(net, x, ('ternary','int8'))
    spk,w = net.record(x)[0].spk,[net.layers[i].weight.detach() for i in (0,2)]
    for k,c in enumerate(s.choices):
        for i,a in enumerate((x,spk.flatten(0,1))):
            q = quantize(w[i], mse_scale(w[i], levels(c), 0 if i==0 else None), levels(c))
            assert s.synops[i,k]==sum(int(((r!=0)&(q!=0)).sum()) for r in a)
            assert s.float_synops[i]==int((a!=0).sum())*len(w[i])
    assert (s.synops[:,0]<s.synops[:,1]).any()

def test_convolutions_and_recurrence_are_counted():
    x = (torch.rand(2,1,6,6)>.5).float()
    s = sqnr_sensitivity(conv(), x, ('int8',))
    assert s.float_synops[0]==int(F.conv2d(x, torch.ones(3,1,3,3), padding=1).sum()) and s.float_bytes.tolist()==[4*27,4*27*4]
    net,(x,_) = tiny(recurrent=True),data()
    s = sqnr_sensitivity(net, x, ('int8',))
    spk = net.record(x)[0].spk
    assert s.float_bytes.tolist()==[4*(12+16),4*8] and s.float_synops[0]==4*int((x!=0).sum())+4*int(spk[:-1].sum())

def test_sqnr_is_noise_over_signal():
    net,(x,_) = tiny(),data()
    w = net.layers[0].weight.detach()
    s = mse_scale(w, levels('nonary'), 0)
    want = float((x@(quantize(w, s, levels('nonary'))*s-w).T).double().pow(2).sum()/(x@w.T).double().pow(2).sum())
    assert sqnr_sensitivity(net, x, ('nonary',)).score[0,0]==pytest.approx(want, rel=1e-5)

def test_agreement_of_weights_that_are_codes_already():
    net,(x,_) = tiny(),data()
    with torch.no_grad():
        for i in 0,2: net.layers[i].weight.copy_(torch.tensor([-1.,1.]).repeat(net.layers[i].weight.numel()//2).reshape(net.layers[i].weight.shape)/2)
    assert (agreement_sensitivity(net, x, ('ternary',)).score==0).all()
    assert agreement_sensitivity(tiny(), x, ('ternary',)).score[0,0]>0

@pytest.mark.parametrize('seed', range(30))
def test_mixtures_are_the_best_of_all(seed):
    r = np.random.default_rng(seed)
    l,k = r.integers(1, 6),r.integers(1, 6)
    score,cost = 10.**r.uniform(-9, 1, (l,k)),r.integers(0, 10**int(r.integers(1, 8)), (l,k))
    low,high = cost.min(1).sum(),cost.max(1).sum()
    budget = int(r.integers(low, high+1))
    every = [p for p in itertools.product(range(k), repeat=l) if sum(cost[i,j] for i,j in enumerate(p))<=budget]
    best = min(sum(score[i,j] for i,j in enumerate(p)) for p in every)
    pick = knapsack(score, cost, budget)
    assert tuple(pick) in every and score[np.arange(l),pick].sum()==pytest.approx(best, rel=1e-9)

def table(score, size):
    score,size = np.array(score, float),np.array(size)
    n = len(score)
    return Sensitivity('s', tuple(str(2*i+1) for i in range(n)), ('ternary','int8'), score, size, size*10, np.full(n, 400), np.full(n, 4000))

def test_allocation_is_a_policy():
    s = table([[9,1],[2,1],[5,1]], [[20,100]]*3)
    p = allocate(s, 140/1200)
    assert [p.at(n).weight for n in s.names]==['int8','ternary','ternary'] and p.weight=='nonary'
    assert allocate(s, 140/1200, 'synops')==p
    own = Policy('int4', current='exact', layers={'first': dict(noise=.5), '3': dict(scale='max', weight='int8')})
    q = allocate(s, 220/1200, policy=own)
    assert q.at('1','first')==Policy('int8', noise=.5) and q.at('3')==Policy('ternary', scale='max') and q.at('5').weight=='int8'
    assert q.weight=='int4'

def test_a_mixture_is_prepared_lowered_and_proved():
    from quarantion.quant import lower, prepare, verify
    torch.manual_seed(0)
    net,x = Network(nn.Linear(12,40), LIF(.9), nn.Linear(40,40), LIF(.9), nn.Linear(40,3), LIF(.9, reset='none'), steps=10),torch.rand(60,12)*2
    y = torch.randint(0, 3, (60,))
    for s in hawq_sensitivity(net, x, y, probes=4),sqnr_sensitivity(net, x),agreement_sensitivity(net, x):
        p = allocate(s, .11)
        q = prepare(net, p, x)
        assert [l.lv.name for l in q.layers]==[p.at(n).weight for n in s.names] and len({l.lv.name for l in q.layers})>1
        program = lower(q)
        assert sum(packed(l.weight, l.quant_max).nbytes for l in program.layers)<=.11*s.float_bytes.sum()
        proof = verify(q, program, [x])
        assert proof.ok and proof.mismatches==0

def test_budgets_that_cannot_be_kept():
    s = table([[9,1]], [[20,100]])
    with pytest.raises(CheckError, match='`budget`: expected at least 0.05.*found 0.01'): allocate(s, .01)
    for b in 0,-1,1.5,float('nan'):
        with pytest.raises(CheckError, match='`budget`'): allocate(s, b)
    with pytest.raises(CheckError, match='`cost`'): allocate(s, .5, 'joules')
    with pytest.raises(CheckError, match='at least 20'): knapsack(s.score, s.bytes, 3)
    assert allocate(s, .05).at('1').weight=='ternary'

def test_errors():
    x,y = data()
    with pytest.raises(CheckError, match='Network'): sqnr_sensitivity(nn.Linear(2,2), torch.rand(3,2))
    with pytest.raises(CheckError, match='weights before them'): sqnr_sensitivity(Network(LIF(), in_shape=(3,)), torch.rand(2,3))
    with pytest.raises(CheckError, match='`choices`'): sqnr_sensitivity(tiny(), x, ())
    with pytest.raises(CheckError, match='level set'): sqnr_sensitivity(tiny(), x, ('int9',))
    with pytest.raises(CheckError, match='layer 1: currents: expected some'): sqnr_sensitivity(tiny(), x*0)
    with pytest.raises(CheckError, match='`probes`'): hessian_traces(tiny(), x, y, probes=1)

def test_a_picture():
    from matplotlib.figure import Figure
    ax = Figure().add_subplot()
    s = table([[9,0],[2,1]], [[20,100]]*2)
    assert plot_sensitivity(s, allocate(s, .2), ax) is ax and ax.get_xlabel().startswith('bytes')
    assert sum(l.get_markersize()==12 for l in ax.lines)==2
    assert 'ternary' in str(s) and '100' in str(s)
