"""Steps of one's own as kernels of a GPU, beside the loop that defines them. On a GPU, or in Triton's interpreter"""
import importlib.util
import os

import pytest
import torch

from quarantion.spikes import step as steps
from quarantion.spikes.compiled import loop, over_time
from test_own import Adaptive, Curved, Izhikevich, KINDS, Plain, Refractory

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'


def launched(step, x, starts, params, T, keep, gs, gstates, learn):
    from quarantion.kernels.cuda import step as gpu
    how = len(step.rest),len(step.params),x.dtype,step.name
    there = gpu.kernel_of(gpu.forward_text, steps.forward_graph(step, x.dtype), *how)
    back = gpu.kernel_of(gpu.backward_text, steps.backward_graph(step, x.dtype), *how)
    spk,states = gpu.run_forward(there, x, starts, params, T, True)
    if not keep: assert torch.equal(gpu.run_forward(there, x, starts, params, T, False)[0], spk)
    return spk,states,gpu.run_backward(back, x, starts, params, states, gs, gstates, learn)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('kind', [Plain, Adaptive, Izhikevich, Refractory, Curved] if GPU else [Plain, Adaptive, Izhikevich, Refractory], ids=lambda k: k.__name__)
def test_kernels_are_the_loop(kind, dtype):
    torch.manual_seed(0)
    step,exact = kind.step,kind in (Plain,Adaptive,Refractory)
    draw = lambda *shape: torch.randn(shape, dtype=dtype, device=DEVICE)
    for (b,n),const,some in (((1,1),False,False), ((3,7),True,True), ((5,100),False,True), ((2,33),True,False), ((2,33),False,False)):
        T,scale = 9,KINDS[kind]
        x = (draw(1 if const else T, b, n)*scale+scale).requires_grad_()
        starts = [(draw(b, n)*.1+v).requires_grad_() for v in step.rest.values()]
        params = [torch.full((n,), v, dtype=dtype, device=DEVICE).requires_grad_() for v in step.params.values()]
        learn = tuple(i%2==0 for i in range(len(params)))
        weigh = draw(1+len(starts), T, b, n)*(1 if kind is not Izhikevich else .01)
        gs,gstates = weigh[0],[w if some or i else None for i,w in enumerate(weigh[1:])]
        spk,states = loop(step, x, starts, params, T)
        loss = (spk*gs).sum()+sum((s*g).sum() for s,g in zip(states, gstates) if g is not None)
        want = torch.autograd.grad(loss, [x,*starts,*params], allow_unused=True)
        with torch.no_grad(): a,v,(gx,gstarts,gparams) = launched(step, x, starts, params, T, some, gs, gstates, learn)
        for p,q in zip((a,*v), (spk,*states)):
            assert torch.equal(p, q) if exact else torch.allclose(p, q, rtol=1e-4, atol=1e-4)
        how = dict(rtol=2e-3, atol=1e-2) if dtype==torch.float32 else dict(rtol=1e-8, atol=1e-8)
        for p,q in zip((gx,*gstarts,*gparams), want):
            if p is not None: torch.testing.assert_close(p.to(dtype), q if q is not None else torch.zeros_like(p), **how)
        assert [g is not None for g in gparams]==[*learn]


def test_no_gradient_of_spikes():
    step = Adaptive.step
    x,starts,params = torch.randn(6, 2, 9, device=DEVICE),[torch.zeros(2, 9, device=DEVICE)]*2,[torch.full((9,), v, device=DEVICE) for v in step.params.values()]
    free = [x.requires_grad_()]
    spk,states = loop(step, x, starts, params, 6)
    want, = torch.autograd.grad(states[0].sum(), free)
    one = torch.ones(6, 2, 9, device=DEVICE)
    with torch.no_grad(): _,_,(gx,*_) = launched(step, x, starts, params, 6, True, None, [one,None], (False,)*3)
    torch.testing.assert_close(gx, want)


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_layers_run_on_it():
    torch.manual_seed(0)
    layer = Adaptive(beta=torch.rand(50), learn_beta=True, learn_jump=True).cuda()
    x = torch.randn(20, 16, 50, device='cuda')
    outs = []
    for by in 'compiled','loop':
        layer.by = by
        layer.zero_grad()
        x = x.detach().requires_grad_()
        spk,mem = layer(x)
        (spk.sum()+(mem*mem).sum()).backward()
        outs.append((spk.detach(),mem.detach(),x.grad,layer.beta.grad,layer.jump.grad))
    for p,q in zip(outs[0][:2], outs[1][:2]): assert torch.equal(p, q)
    for p,q in zip(outs[0][2:], outs[1][2:]): torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_spikes_are_those_of_a_cpu():
    torch.manual_seed(0)
    for kind in Plain,Adaptive,Refractory:
        step = kind.step
        x = torch.randn(30, 8, 100)*.5+.3
        starts,params = [torch.zeros(8, 100)]*len(step.rest),[torch.full((100,), v) for v in step.params.values()]
        here = over_time(step, x, starts, params, 30)
        there = over_time(step, x.cuda(), [s.cuda() for s in starts], [p.cuda() for p in params], 30)
        for p,q in zip((here[0],*here[1]), (there[0],*there[1])): assert torch.equal(p, q.cpu())
