"Membranes on tables of levels: against a plain loop, snnTorch, the float neuron, and brute-force fits."
from itertools import combinations

import pytest
import snntorch as snn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch.functional.quant import state_quant

from quarantion.checks import CheckError
from quarantion.quant.level_sets import LevelTable
from quarantion.quant.membranes import WHERE, Rounding, centred_levels, clipped_levels, fitted_levels, lif_levels, uniform_levels
from quarantion.spikes.neuron import RESETS, Gradient, lif
from quarantion.spikes.surrogate import surrogate_grad


def drive(*shape, seed=0, dtype=torch.float32): return .3+.5*torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(deadline=None, max_examples=80)
@given(st.integers(3, 256), st.floats(0, 4), st.floats(1, 4), st.floats(.01, 4))
def test_tables(n, low, high, growth):
    u,c = uniform_levels(n, low, high).levels,centred_levels(n, low, high, growth).levels
    assert len(u)==n and 0 in u and (u.diff()-u.diff()[0]).abs().max()<1e-5*(low+high)
    assert u[-1]>0 and abs(u[-1]-high)<=1.01*(low+high)/(n-1) and abs(u[0]+low)<=1.01*(low+high)/(n-1)
    assert 3<=len(c)<=n and 0 in c and (1 in c or n==3) and c[0]>=-low-1e-5 and c[-1]<=high+1e-5


def test_centred_grows_away_from_the_threshold():
    c = centred_levels(64, 1, 2, 2.).levels
    one = (c==1).nonzero().item()
    gaps = c.diff()
    keep = (c[:-1]!=0)&(c[1:]!=0) # the level that became 0 has moved
    below,above = gaps[:one][keep[:one]],gaps[one:]
    assert (below.diff()<0).all() and (above.diff()>0).all()
    assert below[0]/below[-1]>5


def test_clipped():
    assert clipped_levels(2).levels.tolist()==[-1,0,1] and len(clipped_levels(8))==255
    with pytest.raises(CheckError): clipped_levels(9)


def test_fit_is_best_of_all_on_few_numbers():
    "Brute force: numbers in order are cut in three; one part has the level 0"
    for seed in range(8):
        u = (torch.randn(14, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)+.3).sort().values
        best = torch.inf
        for i,j in combinations(range(1, 14), 2):
            parts = u[:i],u[i:j],u[j:]
            for z in range(3):
                levels = torch.tensor([0. if k==z else p.mean().item() for k,p in enumerate(parts)], dtype=torch.float64)
                best = min(best, (u[:,None]-levels).abs().amin(1).pow(2).sum().item())
        t = fitted_levels(u.reshape(14,1,1), 3).levels.double()
        ours = (u[:,None]-t).abs().amin(1).pow(2).sum().item()
        assert 0 in t and best-1e-9<=ours<=1.6*best # walks downhill only


@pytest.mark.parametrize('n', (3,4,8,16,256))
def test_fit_beats_formulas(n):
    mem = lif(drive(100,4,32), .9)[1]
    error = lambda t: (t(mem)-mem).pow(2).mean()
    t = fitted_levels(mem, n)
    assert len(t)<=n and 0 in t.levels
    assert error(t)<=min(error(uniform_levels(n, a, b)) for a in (.2,.5,1,2) for b in (.7,1,1.5))
    per = torch.tensor([.5,2.]).repeat(16)
    assert torch.equal(fitted_levels(mem*per, n, per).levels, t.levels)


def test_fit_of_channels_and_refusals():
    mem = torch.randn(9,2,3,4,4)
    theta = torch.tensor([1.,2.,4.])
    assert torch.equal(fitted_levels(mem*theta[:,None,None], 8, theta).levels, fitted_levels(mem, 8).levels)
    for bad,what in (torch.zeros(4,1,1),'membranes that move'),(torch.zeros(0,1,1),'membranes that move'),(torch.full((4,1,1), torch.nan),'mem'):
        with pytest.raises(CheckError, match=what): fitted_levels(bad, 4)
    with pytest.raises(CheckError, match='`n`'): fitted_levels(mem, 2)


def plain(x, beta, theta, levels, unit, where, reset):
    "One neuron, in Python floats"
    near = lambda v: unit*min(levels, key=lambda l: abs(l-v/unit))
    u,out = 0.,[]
    for i in x:
        v = beta*u+i
        if reset=='subtract_delayed' and u>theta: v -= theta
        if where=='before_fire': v = near(v)
        s = v>theta
        u = v-theta*s if reset=='subtract' else v*(1-s) if reset=='zero' else v
        if where=='after_fire': u = near(u)
        out.append((float(s),u))
    return out


@pytest.mark.parametrize('where', WHERE)
@pytest.mark.parametrize('reset', RESETS)
def test_is_the_definition(reset, where):
    x,beta,theta,table = drive(60,1,5, dtype=torch.float64),torch.tensor([.5,.8,.9,.95,1.], dtype=torch.float64),torch.tensor([.5,1.,1.5,.8,2.], dtype=torch.float64),centred_levels(11, 1, 1.3)
    for unit in None,2.:
        spk,mem = lif_levels(x, beta, theta, Rounding(table, unit, where), reset=reset)
        assert spk.sum()>0
        for k in range(5):
            want = plain(x[:,0,k].tolist(), beta[k].item(), theta[k].item(), table.levels.double().tolist(), theta[k].item() if unit is None else unit, where, reset)
            assert spk[:,0,k].tolist()==[s for s,_ in want]
            assert torch.allclose(mem[:,0,k], torch.tensor([u for _,u in want], dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize('even', (True,False))
@pytest.mark.parametrize('bits', (2,3,4))
def test_is_snntorch(bits, even):
    theirs = state_quant(bits, uniform=even)
    x,neuron,mem = drive(80,3,7, seed=bits),snn.Leaky(beta=.9, state_quant=theirs),torch.zeros(3,7)
    spk,mems = lif_levels(x, .9, table=Rounding(LevelTable(torch.unique(theirs.__closure__[0].cell_contents)), where='before_fire'), reset='subtract_delayed')
    for i,s,u in zip(x, spk, mems):
        want,mem = neuron(i, mem)
        assert torch.equal(s, want) and torch.equal(u, mem)


@pytest.mark.parametrize('where', WHERE)
@pytest.mark.parametrize('reset', RESETS)
def test_gradients_near_those_of_the_float_neuron(reset, where):
    "With a very fine table rounding is nearly the identity, forward and backward"
    fine,grads = Rounding(LevelTable(torch.linspace(-20, 20, 2**20)), where=where),[]
    how = Gradient(slope=2., detach_reset=reset!='zero')
    for f in (lambda *a, **k: lif_levels(*a, table=fine, gradient=how, **k)),(lambda *a, **k: lif(*a, gradient=how, **k)):
        x,beta,theta,mem = drive(20,2,6, seed=3).requires_grad_(),torch.full((6,), .9, requires_grad=True),torch.full((6,), 1.1, requires_grad=True),torch.zeros(2,6, requires_grad=True)
        spk,u = f(x, beta, theta, mem=mem, reset=reset)
        (spk.pow(2).sum()+u.pow(2).sum()).backward()
        grads.append([t.grad for t in (x,beta,theta,mem)])
    for a,b in zip(*grads): assert torch.allclose(a, b, atol=2e-2, rtol=2e-3), (a-b).abs().max()


def test_gradients_of_one_step():
    table,unit = LevelTable([-2.,-1.,0.,1.,2.]),torch.tensor([.25,.25,.25,.5], requires_grad=True)
    x = torch.tensor([[[.3,.7,-.9,.2]]], requires_grad=True)
    _,mem = lif_levels(x, .9, 1., Rounding(table, unit))
    gx,gu = torch.autograd.grad(mem.sum(), (x,unit))
    assert mem.flatten().tolist()==[.25,.5,-.5,0]
    assert gx.flatten().tolist()==[1,0,0,1] # 2.8 and −3.6 units are outside of the table
    assert torch.allclose(gu, torch.tensor([1-1.2,2.,-2.,0-.4]))
    spk,_ = lif_levels(x, .9, .65, Rounding(table, .25))
    assert torch.allclose(torch.autograd.grad(spk.sum(), x)[0], surrogate_grad(x.detach()-.65))


@pytest.mark.parametrize('reset', RESETS)
def test_pieces_pass_codes(reset):
    x,table,theta = drive(50,3,8),centred_levels(16, 1, 1.5),torch.tensor(.8)
    spk,mem = lif_levels(x, .9, theta, table, reset=reset)
    codes = table.codes(mem[19]/theta)
    assert codes.max()<16
    assert torch.equal(lif_levels(x[20:], .9, theta, table, reset=reset, mem=table.levels[codes.long()]*theta)[0], spk[20:])


def test_shapes_and_constant_currents():
    t = centred_levels(16)
    spk,mem = lif_levels(drive(7,2,3,4,4), torch.tensor([.8,.9,1.]), torch.tensor([1.,2.,.5]), Rounding(t, torch.tensor([1.,.5,.1])))
    assert spk.shape==mem.shape==(7,2,3,4,4)
    i = drive(1,2,5)
    assert torch.equal(lif_levels(i, .9, table=t, steps=12)[1], lif_levels(i.expand(12,2,5), .9, table=t)[1])
    assert lif_levels(torch.zeros(0,2,5), .9, table=t)[0].shape==(0,2,5)
    assert (lif_levels(torch.zeros(30,2,5), .9, table=t)[1]==0).all() # who is not talked to rests


def test_refusals():
    x = drive(3,2,4)
    for kw,what in (dict(),'LevelTable'),(dict(table=Rounding(clipped_levels(4), where='later')),'where'),(dict(table=Rounding(clipped_levels(4), -1.)),'unit'),(dict(table=Rounding(clipped_levels(4), torch.ones(3))),'unit'),(dict(table=clipped_levels(4), threshold=0.),'threshold'),(dict(table=Rounding(centred_levels(16), where='before_fire')),'never fire'):
        with pytest.raises(CheckError, match=what): lif_levels(x, .9, **kw)
    for f in (lambda: centred_levels(2)),(lambda: centred_levels(8, -1.)),(lambda: centred_levels(8, high=.5)),(lambda: centred_levels(8, growth=0.)),(lambda: uniform_levels(8, high=0.)):
        with pytest.raises(CheckError): f()


def test_better_than_state_quant():
    for draw in (lambda g: .3+.5*torch.randn(100,4,32, generator=g)),(lambda g: .5*torch.rand(100,4,32, generator=g)):
        x,calibration = (draw(torch.Generator().manual_seed(s)) for s in (0,100))
        def agree(spk, reset):
            exact = lif(x, .9, reset=reset)[0]
            return 1-((spk!=exact).sum()/exact.sum()).item()
        for bits in 4,8:
            theirs = [agree(lif_levels(x, .9, table=Rounding(LevelTable(torch.unique(state_quant(bits, uniform=e).__closure__[0].cell_contents)), where='before_fire'), reset='subtract_delayed')[0], 'subtract_delayed') for e in (True,False)]
            for reset in 'subtract','zero':
                assert agree(lif_levels(x, .9, table=fitted_levels(lif(calibration, .9, reset=reset)[1], 2**bits), reset=reset)[0], reset)>max(theirs)+.1
