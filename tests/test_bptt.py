"The gradient through all of time against others: autograd in float64 and float32, snnTorch, and itself in torch operations."
import itertools
import math
import tracemalloc

import numpy as np
import pytest
import snntorch as snn
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from quarantion.kernels.bptt import lif_backward
from quarantion.checks import CheckError
from quarantion.spikes.network import Network
from quarantion.spikes import operators
from quarantion.spikes.neuron import LIF, RESETS, SAVES, Diagonal, Gradient, RecurrentLIF, lif, lif_counts, lif_spikes
from quarantion.spikes.operators import lif_gradients, lif_op
from quarantion.spikes.surrogate import SURROGATES


SLOPES = dict(fast_sigmoid=25., atan=2., sigmoid=4., triangular=1., rectangular=.4)


def sigma(x, surrogate, k):
    "σ', written once more"
    z = k*x.abs()
    match surrogate:
        case 'fast_sigmoid': return 1/(1+z)**2
        case 'atan': return k/2/(1+(math.pi/2*k*x)**2)
        case 'sigmoid': return k*torch.exp(-z)/(1+torch.exp(-z))**2
        case 'triangular': return (1-z).clamp(min=0)
        case 'rectangular': return k*(z<.5)


class Spike(torch.autograd.Function):
    "A given spike, with the surrogate's derivative"
    @staticmethod
    def forward(ctx, x, s, surrogate, k):
        ctx.save_for_backward(x)
        ctx.args = surrogate,k
        return s.clone()

    @staticmethod
    def backward(ctx, g): return g*sigma(ctx.saved_tensors[0], *ctx.args),None,None,None


def autograd(spk, x, beta, theta, v0, gs, gmem, reset, surrogate, k, detach, dtype):
    "Gradients of Σ gs·S + Σ gmem·U with respect to x, β, θ, v0, by a loop over given spikes"
    x,beta,theta,v0 = leaves = [p.detach().to(dtype).requires_grad_() for p in (x,beta,theta,v0)]
    spk,gs,gmem = (p.to(dtype) for p in (spk,gs,gmem))
    constant = torch.Tensor.detach if detach else lambda s: s
    xs = x.unbind(0) if len(x)>1 else [x[0]]*len(spk)
    u,r,loss = v0,Spike.apply(v0-theta, (v0>theta).to(dtype), surrogate, k),0
    for t in range(len(spk)):
        v = beta*u + xs[t]
        if reset=='subtract_delayed': v = v-constant(r)*theta
        s = r = Spike.apply(v-theta, spk[t], surrogate, k)
        u = v-constant(s)*theta if reset=='subtract' else v*(1-constant(s)) if reset=='zero' else v
        loss = loss+(s*gs[t]).sum()+(u*gmem[t]).sum()
    return torch.autograd.grad(loss, leaves)


def layer(T, B, N, constant=False, seed=0, dtype=torch.float32):
    "x, β, θ, v0 and gradients of spikes and membranes"
    g = torch.Generator().manual_seed(seed)
    n,u = lambda *s: torch.randn(s, generator=g, dtype=dtype),lambda a,b: torch.rand(N, generator=g, dtype=dtype)*(b-a)+a
    return n(1 if constant else T,B,N)*.6+.4,u(.6, 1),u(.5, 1.2),n(B,N),n(T,B,N),n(T,B,N)


def gradients(args, reset, surrogate, k, detach, save, spikes_alone=False):
    x,beta,theta,v0,gs,gmem = args
    leaves = [p.clone().requires_grad_() for p in (x,beta,theta,v0)]
    kw = dict(reset=reset, steps=len(gs), gradient=Gradient(surrogate, k, detach, save))
    if spikes_alone: spk = lif_spikes(*leaves, **kw); loss = (spk*gs).sum()
    else: spk,mem = lif(*leaves, **kw); loss = (spk*gs).sum()+(mem*gmem).sum()
    return spk.detach(),torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize('constant', (False,True))
@pytest.mark.parametrize('detach', (True,False))
@pytest.mark.parametrize('surrogate', SURROGATES)
@pytest.mark.parametrize('reset', RESETS)
def test_as_precise_as_float32_can_be(reset, surrogate, detach, constant):
    """Against float64 with the same spikes, over three draws: within twice the largest error of a float32 loop, and 1e-5 of the largest gradient.
    What is saved changes nothing. Slopes are such that a spike's own reset does not amplify: beyond (σ'V or σ'θ well above 1), an undetached reset amplifies errors, ours as much as a float32 loop's"""
    worst = torch.zeros(4, 2)
    for seed in 1,2,3:
        args,k = layer(40, 8, 200, constant, seed),SLOPES[surrogate]
        spk,ours = gradients(args, reset, surrogate, k, detach, 'recompute')
        assert .05<spk.mean()<.95
        for a,b in zip(ours, gradients(args, reset, surrogate, k, detach, 'trace')[1]): assert torch.equal(a, b)
        exact,single = (autograd(spk, *args, reset, surrogate, k, detach, d) for d in (torch.float64,torch.float32))
        errors = torch.tensor([[(g-e).abs().max()/e.abs().max(),(f-e).abs().max()/e.abs().max()] for g,e,f in zip(ours, exact, single)])
        worst = worst.maximum(errors)
    for name,(error,theirs) in zip(('x','beta','threshold','mem'), worst.tolist()):
        assert error<=max(2*theirs, 1e-7) and error<=1e-5, (name,error,theirs)


@pytest.mark.parametrize('detach', (True,False))
@pytest.mark.parametrize('surrogate', SURROGATES)
@pytest.mark.parametrize('reset', RESETS)
def test_float64(reset, surrogate, detach):
    for constant in False,True:
        args = layer(17, 3, 13, constant, dtype=torch.float64)
        spk,ours = gradients(args, reset, surrogate, 2.5, detach, 'recompute')
        for a,b in zip(ours, autograd(spk, *args, reset, surrogate, 2.5, detach, torch.float64)): torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('save', SAVES)
@pytest.mark.parametrize('reset', RESETS)
def test_spikes_alone(reset, save):
    "Spikes and gradients of `lif_spikes` are those of `lif`, to the last bit"
    args = *layer(20, 3, 700)[:5],torch.zeros(20, 3, 700)
    a,b = (gradients(args, reset, 'atan', 2., False, 'recompute')),gradients(args, reset, 'atan', 2., False, save, True)
    assert torch.equal(a[0], b[0])
    for p,q in zip(a[1], b[1]): assert torch.equal(p, q)


@pytest.mark.parametrize('detach', (0,1))
@pytest.mark.parametrize('reset', range(4))
def test_parts(reset, detach):
    "Gradients of spikes and of membranes add up; integers are real numbers by their unit; whether β and θ learn changes nothing else"
    T,B,N = 17,3,13
    rng = np.random.default_rng(1)
    gs,gpre,pre = rng.normal(0, 1, (3,T,B,N))
    v0,beta,theta,unit,none = rng.normal(0, 1, (B,N)),rng.uniform(.6, 1, N),rng.uniform(.5, 1.2, N),rng.uniform(1e-4, 2e-4, N),np.empty((0,B,N))
    def back(gs, gpre, pre, unit=np.empty(0), learn=True):
        out = [np.empty((T,B,N)),*(np.empty((B if l else 0,N)) for l in (learn,learn,True))]
        lif_backward(gs, gpre, none, pre, unit, v0, beta, theta, *out, T, reset, 1, 2.5, detach, 2)
        return out
    for a,b,c in zip(back(gs, none, pre), back(none, gpre, pre), back(gs, gpre, pre)): np.testing.assert_allclose(a+b, c, rtol=1e-9, atol=1e-11)
    codes = np.rint(pre/unit).astype(np.int32)
    for a,b in zip(back(gs, gpre, codes, unit), back(gs, gpre, codes*unit)): np.testing.assert_array_equal(a, b)
    for i in 0,3: np.testing.assert_array_equal(back(gs, gpre, pre, learn=False)[i], back(gs, gpre, pre)[i])


def test_tiles_change_nothing():
    "However rows and neurons are shared out, and however long the block"
    for T,B,N in (3,5,1300),(70000,1,20):
        x = np.random.default_rng(0).normal(.3, .5, (T,B,N)).astype(np.float32)
        beta,theta,none = np.full(N, .9, np.float32),np.ones(N, np.float32),np.empty((0,B,N), np.float32)
        outs = []
        for pre,source,threads in (none,x,1),(none,x,3):
            out = [np.empty_like(x),*np.empty((2,B,N)),np.empty((B,N), np.float32)]
            lif_backward(x, none, source, pre, np.empty(0, np.float32), np.zeros((B,N), np.float32), beta, theta, *out, T, 1, 0, 25., 0, threads)
            outs.append(out)
        for a,b in zip(*outs): np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('name,theirs', (('fast_sigmoid',snn.surrogate.fast_sigmoid), ('atan',snn.surrogate.atan), ('sigmoid',snn.surrogate.sigmoid)))
def test_surrogates_equal_snntorch(name, theirs):
    x = torch.linspace(-1.5, 1.5, 61, requires_grad=True)
    theirs(3.)(x).sum().backward()
    y = x.detach().reshape(1,1,-1).requires_grad_()
    lif_spikes(y, beta=0., threshold=1e-30, reset='none', gradient=Gradient(name, 3.)).sum().backward()
    torch.testing.assert_close(y.grad.reshape(-1), x.grad, rtol=2e-6, atol=0)


@pytest.mark.parametrize('reset,kw', (('subtract_delayed',{}), ('zero',dict(reset_mechanism='zero', reset_delay=False)), ('none',dict(reset_mechanism='none'))))
def test_equals_snntorch(reset, kw):
    "The gradient of `snn.Leaky`, to the last bit; its `zero` without delay is not detached"
    x,_,_,_,gs,_ = layer(50, 4, 30)
    a,b = (x.clone().requires_grad_() for _ in range(2))
    leaky,mem,out = snn.Leaky(beta=.9, spike_grad=snn.surrogate.fast_sigmoid(25), **kw),torch.zeros(4, 30),[]
    for t in a.unbind(0):
        s,mem = leaky(t, mem)
        out.append(s)
    torch.stack(out).backward(gs)
    lif_spikes(b, .9, reset=reset, gradient=Gradient(detach_reset=reset!='zero')).backward(gs)
    assert torch.equal(a.grad, b.grad)


def kept(fn):
    "What autograd saves while `fn` runs"
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t): out = fn()
    return out,held


@pytest.mark.parametrize('constant', (False,True))
def test_nothing_is_saved_but_the_input(constant):
    T,B,N = 100,16,1024
    x = torch.randn(1 if constant else T, B, N, requires_grad=True)
    spk,held = kept(lambda: lif_spikes(x, steps=T))
    rest = [t for t in held if t.untyped_storage().data_ptr()!=x.untyped_storage().data_ptr()]
    assert sum(t.numel() for t in rest)<=2*N+B*N
    _,held = kept(lambda: lif_spikes(x, steps=T, gradient=Gradient(save='trace')))
    assert sum(t.numel() for t in held)>=T*B*N
    g = torch.randn(T, B, N)
    tracemalloc.start()
    spk.backward(g)
    peak = tracemalloc.get_traced_memory()[1] # numpy's: the gradient of the input, and the scratch
    tracemalloc.stop()
    assert peak<=(x.numel()+1.1*T*1024)*4 + 1e5


@pytest.mark.parametrize('constant', (False,True))
def test_no_array_over_time_but_the_spikes(constant):
    "All that torch and numpy allocate, forward and backward, is the spikes and the gradient of the input"
    T,B,N = 100,16,1024
    x,g = torch.randn(1 if constant else T, B, N, requires_grad=True),torch.randn(T, B, N)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True):
        lif_spikes(torch.randn(1, 1, 8, requires_grad=True), steps=2).sum().backward() # torch imports much on its first way there and back
    tracemalloc.start()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as p:
        lif_spikes(x, steps=T).backward(g)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(max(0, e.self_cpu_memory_usage) for e in p.events())<10*B*N*4
    assert peak<=(T*B*N + x.numel() + 1.1*T*1024)*4 + 4e6


def test_hidden_layers_make_no_membranes():
    net = Network(torch.nn.Linear(20,500), LIF(), torch.nn.Linear(500,5), LIF(reset='none'))
    x = torch.rand(30,8,20)
    def out(): s,u = net(x); return s.sum()+u.sum()
    a,held = kept(out)
    sizes = sorted(t.numel() for t in held)
    assert sum(n>=30*8*500 for n in sizes)==1 # the current of the hidden layer; its spikes are never written
    a.backward()
    record = net.record(x)
    assert [tuple(r.mem.shape) for r in record]==[(30,8,500),(30,8,5)]
    torch.testing.assert_close(record[1].mem, net(x)[1], rtol=0, atol=0)


@pytest.mark.parametrize('detach', (True,False))
@pytest.mark.parametrize('reset', RESETS)
def test_recurrent(reset, detach):
    "Without a recurrent weight, `RecurrentLIF` has the gradients of `LIF`"
    x,_,_,_,gs,gmem = layer(20, 3, 7, dtype=torch.float64)
    grads = []
    for net in LIF(.9, reset=reset, detach_reset=detach, learn_beta=True, learn_threshold=True),RecurrentLIF(Diagonal(0.), beta=.9, reset=reset, detach_reset=detach, learn_beta=True, learn_threshold=True):
        net,y = net.double(),x.clone().requires_grad_()
        s,u = net(y)
        assert torch.equal(net.spikes(y), s)
        grads.append(torch.autograd.grad((s*gs).sum()+(u*gmem).sum(), (y,net.beta,net.threshold)))
    for a,b in zip(*grads): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('constant', (False,True))
@pytest.mark.parametrize('keep,trace', ((False,False), (True,False), (True,True)))
def test_operators(keep, trace, constant):
    "torch's own checks of custom operators: schema, fake kernel, autograd, and what compilers make of them"
    x,beta,theta,v0,gs,gmem = layer(6, 2, 5, constant)
    for p in x,beta,theta,v0: p.requires_grad_()
    torch.library.opcheck(lif_op, (x,beta,theta,v0,6,'subtract','atan',2.,False,trace,keep))
    kept = (None,torch.randn(6,2,5)) if trace else (x.detach(),None)
    torch.library.opcheck(lif_gradients, (gs,gmem if keep else None,*kept,None,v0.detach(),beta.detach(),theta.detach(),6,'zero','atan',2.,False,constant,keep,trace))


@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor')
def test_compiles_around():
    "Layers without a break in the graph, and networks, with the same gradients"
    x,beta = torch.rand(5, 2, 6),torch.full((6,), .9, requires_grad=True)
    def spikes(x, beta): return lif_spikes(torch.relu(x)*2, beta)*3
    layer = LIF(reset='zero', detach_reset=False); layer.save = 'trace'
    def both(x, beta): s,u = layer(x*2); return s*beta+u
    for f in spikes,both:
        a,b = (torch.autograd.grad(g(x, beta).pow(2).sum(), beta)[0] for g in (f,torch.compile(f, backend='aot_eager', fullgraph=True)))
        torch.testing.assert_close(a, b)
    net,grads = Network(torch.nn.Linear(6,8), LIF(learn_beta=True), torch.nn.Linear(8,3), LIF(reset='none')),[]
    for f in net,torch.compile(net, backend='aot_eager'):
        net.zero_grad()
        f(x)[1].pow(2).sum().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    for a,b in zip(*grads): torch.testing.assert_close(a, b)


WHERE = [('cpu',torch.bfloat16), pytest.param('cuda', torch.float32, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]

@pytest.mark.parametrize('device,dtype', WHERE)
@pytest.mark.parametrize('detach', (True,False))
@pytest.mark.parametrize('reset', RESETS)
def test_torch_operations(reset, detach, device, dtype):
    "Where there is no kernel, torch's operations give what autograd finds, constant or not, saved or not"
    for constant,save in itertools.product((False,True), SAVES):
        args = [p.to(device, dtype) for p in layer(9, 2, 7, constant)]
        spk,ours = gradients(args, reset, 'atan', 2., detach, save)
        assert spk.device.type==device and all(g.dtype==dtype for g in ours)
        for a,b in zip(ours, autograd(spk, *args, reset, 'atan', 2., detach, torch.float32)):
            torch.testing.assert_close(a.float(), b, rtol=0, atol=float(b.abs().max())*(.1 if dtype==torch.bfloat16 else 1e-5))
    assert torch.equal(lif_spikes(args[0], steps=9), lif(args[0], steps=9)[0])


@pytest.mark.parametrize('reset', RESETS)
def test_shapes(reset):
    "No steps, no rows, no neurons; rows that are not contiguous; channels"
    for T,B,N in (0,2,3),(3,0,3),(3,2,0):
        x = torch.ones(T, B, N, requires_grad=True)
        s,u = lif(x, reset=reset, gradient=Gradient(detach_reset=False))
        (s.sum()+u.sum()+lif_spikes(x, reset=reset).sum()).backward()
        assert s.shape==u.shape==x.grad.shape==(T,B,N)
    x = torch.randn(6,5,4).permute(2,1,0).requires_grad_()
    a,b = x.detach().contiguous().requires_grad_(),x.detach().contiguous().reshape(4,5,6,1,1).requires_grad_()
    for y in x,a,b: lif_spikes(y, reset=reset).pow(2).sum().backward() if y is not x else lif_spikes(y, reset=reset).pow(2).sum().backward(inputs=[x])
    assert torch.equal(x.grad, a.grad) and torch.equal(b.grad.reshape(4,5,6), a.grad)


def test_refusals():
    x = torch.rand(3,2,4)
    for bad in dict(save='all'),dict(surrogate='step'),dict(slope=0):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): lif_spikes(x, gradient=Gradient(**bad))
    with pytest.raises(ValueError, match='`reset`'): lif_spikes(x, reset='soft')
    for bad in None,'atan',('atan',2.): # a name is no record
        with pytest.raises(ValueError, match='`gradient`: expected a Gradient'): lif_spikes(x, gradient=bad)
    with pytest.raises(ValueError, match='`detach_reset`: expected True or False'): lif_spikes(x, gradient=Gradient(detach_reset='no'))
    layer = LIF(); layer.save = 'all'
    with pytest.raises(ValueError, match='`save`'): layer(x)


@pytest.mark.parametrize('f', (lif_spikes,lif_counts))
def test_operators_and_plain_autograd_agree(f, monkeypatch):
    "What runs where nothing is compiled is what the operators do, and tensors that stand for others still meet the operators"
    x,beta = torch.rand(9, 2, 5),torch.rand(5)
    def run():
        a,b = x.clone().requires_grad_(),beta.clone().requires_grad_()
        out = f(a, b)
        out.square().sum().backward()
        return out.detach(),a.grad,b.grad
    plain = run()
    monkeypatch.setattr(operators, '_is_eager', lambda x: False)
    for a,b in zip(plain, run()): assert torch.equal(a, b)
    monkeypatch.undo()
    with FakeTensorMode(allow_non_fake_inputs=False): assert f(torch.empty(9, 2, 5)).shape==plain[0].shape


def test_second_derivatives_are_refused():
    x = torch.rand(9, 2, 5, requires_grad=True)
    g, = torch.autograd.grad(lif_spikes(x).square().sum(), x, create_graph=True)
    with pytest.raises(CheckError, match='expected one pass back'): g.sum().backward()
