"""Fields on a GPU beside those of a CPU, to the last bit. On a GPU, or in Triton's interpreter"""
import importlib.util
import os

import numpy as np
import pytest
import torch

from quarantion.waves.law import Medium
from quarantion.waves.network import Waves
from quarantion.waves.operators import wave_op
from quarantion.waves.torus import Torus

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'


def some(shape, dtype, E, kerr, wide, faces, T=7, B=2):
    rng,M = np.random.default_rng(0),2*int(np.prod(shape))
    draw = lambda *s: torch.tensor(rng.normal(size=s), dtype=dtype)
    each = lambda n: torch.tensor(rng.uniform(.5, 1, n)).repeat_interleave(2).to(dtype) if wide else torch.full((1,), .9, dtype=dtype)
    cells = torch.tensor(np.sort(rng.choice(M//2, E, False)))
    f = draw(len(shape), M).abs() if faces else torch.zeros(0, M, dtype=dtype)
    return [draw(2, B, M),each(M//2),each(M//2),f,draw(T, B, 2*E),cells,list(shape),[.1,kerr,.2]]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('kerr,wide,faces', [(0.,False,False), (0.,True,False), (-.3,True,False), (0.,True,True), (.2,False,True)])
def test_the_bits_of_a_cpu(dtype, kerr, wide, faces):
    from quarantion.kernels.cuda.wave import wave_steps
    for shape,E in (((40,),3), ((5,7),0), ((2,3,4),4), ((4,4,4,4),5), ((2,2),1)):
        args = some(shape, dtype, E, kerr, wide, faces)
        there = [a.to(DEVICE) if isinstance(a, torch.Tensor) else a for a in args]
        for a,b in zip(wave_op(*args), wave_steps(*there)):
            assert torch.equal(a, b.cpu()), (shape, (a-b.cpu()).abs().max())


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_gradients_and_records():
    torch.manual_seed(0)
    args = some((6,8), torch.float64, 3, -.1, True, False, T=20)
    grads = []
    for device in ('cpu','cuda'):
        a = [t.detach().to(device) if isinstance(t, torch.Tensor) else t for t in args]
        free = [a[i].requires_grad_() for i in (0,1,2,4)]
        out,v = wave_op(*a)
        grads.append([g.cpu() for g in torch.autograd.grad((out**2).sum()+v.sum(), free)])
    for a,b in zip(*grads): torch.testing.assert_close(a, b)
    net = Waves(Torus((16,16)), [[0,0],[8,3]], Medium(damping=.02), dt=.3)
    x = torch.randn(30, 2, 2)
    here,there = net.record(x)[0],net.to('cuda').record(x.cuda())[0]
    assert torch.equal(here.mem, there.mem.cpu()) and torch.equal(here.state.velocity, there.state.velocity.cpu())
