"Neurons of every kind in training: their gradients against a plain float64 network with the same spikes, and how a layer changes its levels."
import copy

import pytest
import snntorch as snn
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant.neurons import kept, level_values
from quarantion.quant.lowering import lower
from quarantion.quant.policy import Policy, membrane_of, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.quant.weights import coded, materialize, quantize_weights
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RESETS, Diagonal, RecurrentLIF
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic


def ste(z): return z+(z.round()-z).detach()


def plain(l, x, k, spk):
    "States and spikes of layer `l` on spikes `x`, in float64, with nothing but autograd; the spikes are `spk`. Returns the parameters too"
    p = {n:getattr(l, n).detach().double().clone().requires_grad_() for n in ('latent','scale','bias','beta','threshold')+('alpha',)*(l.alpha is not None)+('recurrent',)*(l.recurrent is not None)}
    q,s,f = l.lv.quant_max,p['scale'],2.**l.guard
    codes = lambda w: ste(w/s.reshape(-1, *[1]*(w.ndim-1))).clamp(-q, q)*s.reshape(-1, *[1]*(w.ndim-1))
    w,r = codes(p['latent']),codes(p['recurrent']) if l.recurrent is not None else None
    u = k.unit.detach() if l.current_max else s*l.in_scale/f
    leak = lambda b: ste(b*65536)/65536
    bias,th,beta = ste(p['bias']/u)*u,ste(p['threshold']/u)*u,leak(p['beta'])
    exact = lambda real,ints: real+(ints*k.unit-real).detach()          # the value of the integers, the gradient of the real number
    v = j = torch.zeros(x.shape[1], len(w), dtype=torch.float64)
    vi = ji = torch.zeros(x.shape[1], len(w), dtype=torch.int64)
    m,m2,bi,ti = (a.long() if len(a) else None for a in (k.leak,k.current_leak,k.bias,k.theta))
    up = lambda v,m: (v*m+32768)>>16
    past,states,spikes = torch.zeros_like(v),[],[]
    table = None if l.kept.levels is None else level_values(l.kept.levels, ti)
    for t in range(len(x)):
        a = x[t]@w.T
        ai = (x[t]@k.weight.double().T).long()
        if r is not None:
            a = a+(past@r.T if r.ndim==2 else past*r)
            ai = ai+((past@k.recurrent.double().T) if r.ndim==2 else past*k.recurrent.double()).detach().round().long()
        if l.current_max:
            n = k.shift.long()
            qi = (ai*k.m0.long()+(1<<(n-1)))>>n
            a = torch.where(qi.abs()<=l.current_max, a, l.current_max*u*f*qi.sign())
            qi = qi.clamp(-l.current_max, l.current_max)
            ai = qi
        ii = (ai<<l.guard)+bi
        i = exact(a+bias, ii)
        if m2 is not None: ji = up(ji, m2)+ii; j = exact(leak(p['alpha'])*j+i, ji)
        else: ji,j = ii,i
        pi,pr = up(vi, m)+ji,beta*v+j
        if l.reset=='subtract_delayed': pi,pr = pi-ti*(vi>ti),pr-(vi>ti).double()*th
        pr = exact(pr, pi)
        fi = pi>ti
        assert torch.equal(fi.float(), spk[t])
        z = pr-th
        soft = fi.double()+(z-z.detach())/(1+l.slope*z.detach().abs())**2
        vi = pi-ti*fi if l.reset=='subtract' else pi*~fi if l.reset=='zero' else pi
        v = pr-fi.double()*th if l.reset=='subtract' else pr*(~fi).double() if l.reset=='zero' else pr
        if l.kept.clip:
            inside = vi.abs()<=l.kept.clip
            vi,v = vi.clamp(-l.kept.clip, l.kept.clip),torch.where(inside, v, v.detach())
        elif table is not None:
            new = torch.stack([table[n][(table[n][1:]+table[n][:-1]<2*vi[:,n:n+1]).sum(1)] for n in range(len(table))], 1)
            inside,share = (vi>=table[:,0])&(vi<=table[:,-1]),(new*k.unit/(k.unit*ti))
            v = torch.where(inside, v+th*(share-v/th).detach(), th*share)
            vi = new
        v = exact(v, vi)
        past = soft
        states.append(v); spikes.append(soft)
    return torch.stack(states),torch.stack(spikes),p


KINDS = dict(lif=lambda **kw: LIF(**kw), synaptic=lambda **kw: Synaptic(alpha=torch.full((8,), .6), learn_alpha=True, **kw),
    recurrent=lambda **kw: RecurrentLIF(nn.Linear(8,8,bias=False), **kw), diagonal=lambda **kw: RecurrentLIF(Diagonal(torch.randn(8)*.5), **kw),
    both=lambda **kw: RecurrentSynaptic(nn.Linear(8,8,bias=False), alpha=torch.full((8,), .6), learn_alpha=True, **kw))


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('reset', RESETS[:3])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('policy', [Policy('int8'), Policy('nonary', membrane='levels(16)'), Policy('int4', membrane='clipped(6)'), Policy('int8', current='int6')], ids=lambda p: f'{p.current}-{p.membrane}')
def test_gradients(kind, reset, policy):
    torch.manual_seed(4)
    net = Network(nn.Linear(6,8), KINDS[kind](beta=torch.full((8,), .9), threshold=torch.full((8,), 1.), reset=reset, learn_beta=True, learn_threshold=True), steps=9)
    x = (torch.rand(9,5,6)<.5).float()
    with torch.no_grad(): net.layers[0].weight.mul_(3)
    q = prepare(net, replace_last(policy), x)
    l = q.layers[0]
    if l.current_max: l.current.disable_observer()
    target,to = torch.randn(9,5,8),torch.randn(9,5,8)
    spk,mem = q.train()(x)
    ((mem*target).sum()+(spk*to).sum()).backward()
    assert .02<spk.mean()<.98
    v,s,p = plain(l, x.double(), l.codes().ints, spk.detach())
    torch.testing.assert_close(mem.detach(), v.float().detach(), rtol=1e-4, atol=1e-5)
    ((v*target).sum()+(s*to).sum()).backward()
    for n,exact in p.items():
        ours,exact = getattr(l, n).grad.double(),exact.grad
        if n=='scale': ours = ours*(sum(w.numel() for w in (l.latent,l.recurrent) if w is not None)*l.lv.quant_max)**.5      # LSQ's part of the gradient
        size = (p['latent'].grad*p['latent']/p['scale']).abs().sum() if n=='scale' else exact.abs().max()      # a scale's is a small sum of large terms
        assert exact.abs().max()>0 or n=='scale'
        assert (ours-exact).abs().max()<=1e-4*size+1e-6, (n, ours, exact)


def replace_last(p):
    from dataclasses import replace
    return replace(p, per_channel=False)      # the only layer is the last one, whose scale is one


def small(**kw): return Network(nn.Linear(20,16), LIF(.9, **kw), nn.Linear(16,4), LIF(.9, reset='none'), steps=10)


def test_weights_are_scale_times_code_and_materialize():
    torch.manual_seed(0)
    x = torch.rand(4,20)
    q = prepare(small(), preset('nonary'), x)
    for l in q.layers:
        k = l.codes().ints.weight
        assert torch.equal(l.weight, k*l.scale[:,None]) and torch.equal(k, k.round()) and k.abs().max()<=4
    twin = q.materialize()
    assert type(twin.layers[0]) is nn.Linear and torch.equal(twin.layers[0].weight, q.layers[0].weight)
    q.freeze()
    assert torch.allclose(q.materialize().layers[0].weight, twin.layers[0].weight, rtol=1e-6)


def test_switching_keeps_the_real_weights_and_the_optimizer():
    torch.manual_seed(0)
    x = torch.rand(16,20)
    q = prepare(small(), Policy('float'), x).train()
    opt = torch.optim.Adam(q.param_groups(1e-2))
    with pytest.raises(CheckError, match='no integer program'): lower(copy.deepcopy(q))
    for name in 'float','int8','int4','ternary':
        kept_ = [l.latent.detach().clone() for l in q.layers]
        scales = [l.scale for l in q.layers]
        q.switch(Policy(name))
        assert all(torch.equal(l.latent, w) and l.scale is s for l,w,s in zip(q.layers, kept_, scales))
        for _ in range(3):
            opt.zero_grad(); q(x)[1].pow(2).mean().backward(); opt.step()
        assert all(not torch.equal(l.latent, w) for l,w in zip(q.layers, kept_))
    assert verify(q, lower(q), [x]).mismatches==0
    with pytest.raises(CheckError, match='not frozen'): q.freeze().switch(Policy('int8'))


def test_noise_trains_and_then_is_gone():
    torch.manual_seed(0)
    x = torch.rand(16,20)
    q = prepare(small(), Policy('ternary', noise=.5), x).train()
    a,b = q(x)[1],q(x)[1]
    assert not torch.equal(a, b)                # other weights are real each time
    a.sum().backward()
    assert all(l.latent.grad.abs().sum()>0 for l in q.layers)
    q.eval()
    assert torch.equal(q(x)[1], q(x)[1]) and verify(q, lower(q), [x]).mismatches==0


def test_float_membranes_train_and_are_not_lowered():
    torch.manual_seed(0)
    x = torch.rand(16,20)
    q = prepare(small(), Policy('int8', membrane='float'), x).train()
    q(x)[1].sum().backward()
    assert q.layers[0].latent.grad.abs().sum()>0
    with pytest.raises(CheckError, match='`membrane`'): lower(q)


@pytest.mark.parametrize('observer', ['ema','adaptive','spike_aware','minmax','percentile','mse','entropy'])
def test_every_observer_finds_a_scale_of_currents(observer):
    torch.manual_seed(0)
    x = torch.rand(16,20)
    q = prepare(small(), Policy('int8', current='int8', observer=observer), x)
    k = q.layers[0].codes().ints
    assert len(k.m0)==16 and ((k.m0.long()>=2**30)&(k.m0.long()<2**31)).all()
    assert verify(q, lower(q), [x]).mismatches==0


def test_a_state_with_observed_currents_is_loaded():
    torch.manual_seed(0)
    x = torch.rand(16,20)
    a,b = (prepare(small(), preset('current8'), x) for _ in range(2))
    a.train()(x*.5)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.eval()(x)[1], b.eval()(x)[1])


class Theirs(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1,self.lif1,self.fc2,self.lif2 = nn.Linear(20,16),snn.Leaky(beta=.9),nn.Linear(16,4),snn.Leaky(beta=.9)
    def forward(self, x):
        m1,m2,out = self.lif1.init_leaky(),self.lif2.init_leaky(),[]
        for t in range(8):
            s,m1 = self.lif1(self.fc1(x), m1)
            s,m2 = self.lif2(self.fc2(s), m2)
            out.append(m2)
        return torch.stack(out)


def test_a_network_of_snntorch_trains_on_levels():
    torch.manual_seed(0)
    net,x = Theirs(),torch.rand(32,20)
    quantize_weights(net, Policy('nonary', layers={'fc2':dict(weight='int8')}))
    assert coded(net.fc1).lv.name=='nonary' and coded(net.fc2).lv.name=='int8'
    opt,first = torch.optim.Adam(net.parameters(), 1e-2),None
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(x).sum(0), torch.arange(32)%4)
        first = first or loss.item()
        opt.zero_grad(); loss.backward(); opt.step()
    assert loss.item()<first
    k = net.fc1.weight/coded(net.fc1).shaped(net.fc1.weight)
    assert (k-k.round()).abs().max()<1e-4
    plain_,before = materialize(net),net(x)
    assert type(plain_.fc1) is nn.Linear and torch.equal(plain_(x), net.eval()(x)) and torch.equal(before, net(x))


@pytest.mark.parametrize('membrane,reset', [('clipped(2, before_fire)','subtract'), ('clipped(2, before_fire)','zero'), ('clipped(2)','subtract_delayed')])
def test_neurons_that_cannot_fire_are_refused(membrane, reset):
    with pytest.raises(CheckError, match='cannot fire|never reset'): prepare(small(reset=reset), Policy('int4', membrane=membrane), torch.rand(4,20))


def test_levels_hold_zero_and_reach_beyond_a_late_reset():
    for n in 3,4,16,256:
        for reset in RESETS:
            t = kept(membrane_of(f'levels({n})'), reset).levels
            assert 0 in t and (t.diff()>0).all() and (t[-1]>65536)==(reset in ('subtract_delayed','none') and n>3)


def test_recurrent_input_needs_a_whole_scale():
    net = Network(nn.Linear(6,8), RecurrentLIF(Diagonal(.3)), nn.Linear(8,2), LIF(reset='none'), steps=5)
    x = torch.rand(4,6)*.83
    q = prepare(net, preset('int8'), x)
    assert abs(1/q.in_scale-round(1/q.in_scale))<1e-9 and q.in_scale*255>=float(x.max())
    with pytest.raises(CheckError, match='whole number'): prepare(net, preset('int8'), x*1000)
