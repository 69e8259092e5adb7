"Calibration: equalizing changes no spike, biases take the mean error, rounding lowers its objective, and programs equal their networks"
import copy
import pytest, torch
import torch.nn.functional as F
from torch import nn
from quarantion.checks import CheckError
from quarantion.quant.calibration import _currents, _float_currents, _gram, adaround, calibrate, correct_bias, equalize, round_codes
from quarantion.quant.lowering import lower
from quarantion.quant.policy import Policy, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.runtime.network import load
from quarantion.spikes.parameters import learnable
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic

pytestmark = pytest.mark.filterwarnings('ignore:.*(codes are 0|cannot reach their threshold)') # networks that nobody trained

def uneven(net, least=-5):
    "Channels of different ranges, in any real proportion, that go on firing; batch norms with statistics"
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for a,b in zip(net.layers, net.layers[1:]):
            if isinstance(a, (nn.BatchNorm1d,nn.BatchNorm2d)):
                a.running_mean.uniform_(-.1, .1, generator=g); a.running_var.uniform_(.05, .4, generator=g); a.weight.uniform_(.2, 2, generator=g); a.bias.uniform_(0, .3, generator=g)
            elif isinstance(b, LIF) and b.reset!='none' and isinstance(a, (nn.Linear,nn.Conv2d)):
                f = torch.exp2(torch.rand(len(a.weight), generator=g)*least)
                a.weight *= f.reshape(-1, *[1]*(a.weight.ndim-1))
                if a.bias is not None: a.bias.copy_(a.bias.abs()*f)
                th = b.threshold.detach()*f*.5
                if isinstance(b.threshold, nn.Parameter): b.threshold = nn.Parameter(th)
                else: b.threshold = th
    return net.eval()

def dense(reset='subtract', neurons=LIF, bn=False, **kw):
    torch.manual_seed(1)
    beta = torch.linspace(.4, .95, 14)
    return uneven(Network(nn.Linear(9, 14), *[nn.BatchNorm1d(14)]*bn, neurons(beta=beta, reset=reset, **kw), nn.Dropout(.2), nn.Linear(14, 10), LIF(torch.linspace(.3, .9, 10), reset=reset, learn_beta=True, learn_threshold=True),
                  nn.Linear(10, 3), LIF(.5, reset='none'), steps=6))

def conv(bn=False, groups=1, bias=True):
    torch.manual_seed(2)
    return uneven(Network(nn.Conv2d(2, 6, 3, padding=1, bias=bias), *[nn.BatchNorm2d(6)]*bn, LIF(torch.linspace(.4, .9, 6)), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, padding=1, groups=groups, bias=bias), nn.AvgPool2d(2), LIF(.5, reset='zero'),
                  nn.Flatten(), nn.Linear(16, 7, bias=bias), LIF(.5), nn.Linear(7, 3), LIF(.5, reset='none'), in_shape=(2,8,8), steps=5))

def back(n=14): torch.manual_seed(4); return nn.Linear(n, n)

NETS = {**{r:lambda r=r: dense(r) for r in ('subtract','subtract_delayed','zero','none')}, 'batch norm':lambda: dense(bn=True), 'synaptic':lambda: dense(neurons=Synaptic, alpha=.6),
    'recurrent':lambda: dense(neurons=lambda **k: RecurrentLIF(back(), **k)), 'diagonal':lambda: dense(neurons=lambda **k: RecurrentLIF(Diagonal(torch.linspace(-.5, .5, 14)), **k)),
    'self':lambda: dense(neurons=lambda **k: RecurrentLIF(Diagonal(.3), **k)), 'recurrent synaptic':lambda: dense(neurons=lambda **k: RecurrentSynaptic(back(), .6, **k)),
    'conv':conv, 'conv batch norm':lambda: conv(True), 'groups':lambda: conv(groups=2), 'no bias':lambda: conv(bias=False)}
nets = pytest.mark.parametrize('make', NETS.values(), ids=NETS)

def sample(net, n=40, seed=0): return torch.rand(n, *net.in_shape, generator=torch.Generator().manual_seed(seed))

@nets
@pytest.mark.parametrize('over_time', [False,True])
def test_equalizing_changes_no_spike_and_scales_membranes_exactly(make, over_time):
    net = make()
    x = sample(net)
    if over_time: x = torch.stack([sample(net, seed=s) for s in range(4)])
    state = copy.deepcopy(net.state_dict())
    even = equalize(net)
    assert all(torch.equal(v, state[k]) for k,v in net.state_dict().items())
    changed = 0
    with torch.no_grad(): pairs = list(zip(net.record(x), even.record(x)))
    for a,b in pairs:
        assert torch.equal(a.spk, b.spk)
        f = (even.layers[int(a.name)].threshold/net.layers[int(a.name)].threshold).detach()
        assert torch.equal(f, torch.exp2(torch.log2(f).round())) and f.min()>=1
        assert torch.equal(a.mem*(f.reshape(-1, *[1]*(a.mem.ndim-3)) if f.ndim else f), b.mem) # bit for bit
        changed += int((f>1).sum())
    assert changed and torch.equal(pairs[-1][0].mem, pairs[-1][1].mem)
    fired = torch.cat([a.spk.flatten() for a,_ in pairs[:-1]]).mean()
    assert .005<fired<.9, fired

@pytest.mark.parametrize('make', [conv,dense,NETS['recurrent']], ids=['conv','dense','recurrent'])
def test_ranges_meet_within_two(make):
    even = equalize(make())
    for a,b in zip(even.layers[:-2], even.layers[1:]):
        if isinstance(a, (nn.Linear,nn.Conv2d)) and isinstance(b, LIF):
            r = a.weight.abs().flatten(1).amax(1)
            if b.recurrent is not None: r = torch.maximum(r, b.recurrent.weight.abs().amax(1))
            assert r.max()<=2*r.min()

def test_equalizing_leaves_kinds_and_what_is_not_named():
    net = dense()
    even = equalize(net, ('4',))
    assert torch.equal(even.layers[0].weight, net.layers[0].weight) and not torch.equal(even.layers[3].weight, net.layers[3].weight)
    assert isinstance(even.layers[4].threshold, nn.Parameter) and even.layers[4].threshold.requires_grad and not isinstance(even.layers[1].threshold, nn.Parameter)
    net.layers[0].weight.data[0],net.layers[0].weight.data[1] = 0,1e-9
    f = equalize(net).layers[1].threshold/net.layers[1].threshold
    assert f[0]==1 and f[1]==256 # a channel of zeros keeps its scale; others have a limit
    net.layers[0].weight.data.zero_()
    assert torch.equal(equalize(net).layers[1].threshold, net.layers[1].threshold)

def test_equalizing_refuses_by_name():
    net = dense()
    with pytest.raises(CheckError, match='names'): equalize(net, ('7',))
    learnable(net.layers[1], 'threshold')
    with pytest.raises(CheckError, match='threshold.*settle'): equalize(net)
    plain = Network(nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False), LIF(), nn.Linear(5, 2), LIF(reset='none'))
    with pytest.raises(CheckError, match='affine=True'): equalize(plain)
    same = nn.Linear(5, 5)
    with pytest.raises(CheckError, match='each layer once'): equalize(Network(same, LIF(), same, LIF(), nn.Linear(5, 2), LIF(reset='none')))
    with pytest.raises(CheckError, match='Network'): equalize(nn.Linear(2, 2))

def test_with_a_scale_for_each_channel_equalizing_changes_no_code():
    net = dense()
    x = sample(net)
    for p in 'nonary','int4':
        a,b = (prepare(n, Policy(p, scale='mse'), x).eval().freeze() for n in (net,equalize(net)))
        for i,j in zip(a.layers, b.layers): assert torch.equal(i.weight_code, j.weight_code)

def test_equalized_codes_are_nearer_where_a_scale_is_shared():
    net = dense()
    x = sample(net)
    def error(n): q = prepare(n, Policy('nonary', scale='mse', per_channel=False), x).eval(); return [((l.latent-l.weight).flatten(1).norm(dim=1)/l.latent.flatten(1).norm(dim=1)).mean().item() for l in q.layers[:-1]]
    assert all(b<.8*a for a,b in zip(error(net), error(equalize(net))))

def off(q, net, x):
    "Mean error of currents of each layer: the largest in thresholds, and in units of the membrane"
    out,codes = [],q.encode(x)[None]
    with torch.no_grad():
        for l,(want,spk) in zip(q.layers, _float_currents(net, x)):
            e = (_currents(l, codes, spk)+l.codes().real.bias-want).abs()
            out.append((float((e/l.threshold).max()), float((e/l.codes().ints.unit).max())))
            codes = l(codes, net.steps, False).spk
    return out

@nets
@pytest.mark.parametrize('policy', [Policy('ternary'),Policy('nonary', current='int8')], ids=['ternary','int8 currents'])
def test_biases_take_the_mean_error(make, policy):
    net = make()
    x = sample(net)
    q = prepare(net, policy, x).eval()
    state = copy.deepcopy(net.state_dict())
    before = off(q, net, x)
    assert correct_bias(q, net, x) is q and not q.training and not net.training
    after = off(q, net, x)
    assert all(torch.equal(v, state[k]) for k,v in net.state_dict().items())
    assert max(e for e,_ in before)>.02 and max(u for _,u in after)<.51, (before,after) # what is left is the rounding of the bias
    if policy.current=='exact': # plain layers have the new biases too
        plain = [m for m in q.materialize().layers if isinstance(m, (nn.Linear,nn.Conv2d))]
        for l,m in zip(q.layers, plain): assert torch.equal(m.bias, l.codes().real.bias.float())

def test_currents_are_those_of_the_network():
    "Against products of plain layers, with what returns"
    net = NETS['recurrent']()
    x = sample(net)
    wanted = list(_float_currents(net, x))
    with torch.no_grad():
        spk = net.record(x)[0].spk
        i = net.layers[0](x).mean(0)+net.layers[1].recurrent(torch.cat([torch.zeros_like(spk[:1]), spk[:-1]])).mean((0,1))
        assert torch.allclose(wanted[0][0].float(), i, atol=1e-5) and torch.equal(wanted[0][1], spk)
        q = prepare(net, Policy('int8'), x).eval()
        plain = q.materialize()
        codes = q.encode(x)[None]
        s = q.layers[0](codes, net.steps, False).spk
        i = plain.layers[0](codes*q.in_scale).mean((0,1))-plain.layers[0].bias+plain.layers[1].recurrent(torch.cat([torch.zeros_like(s[:1]), s[:-1]])).mean((0,1))
        assert torch.allclose(_currents(q.layers[0], codes, s).float(), i, atol=1e-4)

def test_rounding_is_a_local_minimum_of_its_objective():
    torch.manual_seed(0)
    x = torch.rand(60, 20)@torch.rand(20, 20)
    h,w = (x.T@x/60).double()+.01*torch.eye(20).double(),(torch.randn(30, 20)*2).double()
    w[0,:5],w[:,3] = torch.tensor([1.,-2,9,-9,.5]).double(),0
    cost = lambda k: ((k-w)@h*(k-w)).sum(1)
    k = round_codes(w, h, 4)
    near = torch.round(w).clamp(-4, 4)
    assert (cost(k)<=cost(near)).all() and cost(k).sum()<.5*cost(near).sum()
    lo,hi = w.floor().clamp(-4, 4),w.ceil().clamp(-4, 4)
    assert ((k==lo)|(k==hi)).all() and not k[:,3].any() and k[0,:3].tolist()==[1,-2,4]
    for j in range(20):
        other = k.clone()
        other[:,j] = lo[:,j]+hi[:,j]-k[:,j]
        assert (cost(other)>=cost(k)-1e-9).all()
    assert torch.equal(round_codes(w, torch.zeros(20, 20), 4), near) # inputs that say nothing
    with pytest.raises(CheckError, match='gram'): round_codes(w, h[:5,:5], 4)

@pytest.mark.parametrize('groups', [1,2])
def test_gram_of_convolutions(groups):
    "eᵀHe is the mean squared error of products"
    net = conv(groups=groups)
    x = sample(net)
    q = prepare(net, preset('nonary'), x).eval()
    codes = q.layers[0](q.encode(x)[None], net.steps, False).spk
    l = q.layers[1]
    e,h = torch.randn(l.latent.shape).double(),_gram(l, codes)
    h = h-.01/1.01*h.diagonal(dim1=1, dim2=2).mean(1)[:,None,None]*torch.eye(h.shape[1]) # without the damping
    err = F.conv2d(F.max_pool2d(codes.flatten(0, 1).double(), 2), e, None, 1, 1, 1, groups).pow(2).mean((0,2,3))
    rows = e.flatten(1).chunk(groups)
    assert torch.allclose(torch.cat([(r@g*r).sum(1) for r,g in zip(rows, h)]), err)

@pytest.mark.parametrize('make', [dense,conv,lambda: conv(groups=2),NETS['recurrent']], ids=['dense','conv','groups','recurrent'])
@pytest.mark.parametrize('name', ['int8','nonary','ternary'])
def test_rounding_meets_currents_and_keeps_zeros(make, name):
    net = make()
    for m in net.layers:
        if isinstance(m, (nn.Linear,nn.Conv2d)): m.weight.data[:,::3] = 0
    x = sample(net)
    near,q = (prepare(net, preset(name), x).eval() for _ in range(2))
    adaround(q, x)
    codes,moved = q.encode(x)[None],0
    for a,b in zip(near.layers, q.layers):
        z = (a.latent/a.coder.shaped(a.latent)).detach()
        k = b.coder.codes(b.latent)[0]
        assert ((k-z).abs()<1).logical_or(k.abs()==b.lv.quant_max).all() and not k[z==0].any()
        moved += int((k!=a.coder.codes(a.latent)[0]).sum())
        h,rows = _gram(b, codes),lambda l: (l.coder.codes(l.latent)[0]-z).detach().double().flatten(1).chunk(len(h))
        cost = lambda l: sum((r@g*r).sum().item() for r,g in zip(rows(l), h))
        assert cost(b)<=cost(a)*(1+1e-6)
        codes = b(codes, net.steps, False).spk
    assert moved

@nets
@pytest.mark.parametrize('name', ['ternary','current8','shared','tcq4'])
def test_programs_equal_calibrated_networks(make, name, tmp_path):
    net = make()
    x = sample(net)
    policy = Policy('nonary', scale='mse', per_channel=False) if name=='shared' else preset(name)
    state = copy.deepcopy(net.state_dict())
    q,again = (calibrate(net, policy, x, 'adaround') for _ in range(2))
    assert all(torch.equal(v, state[k]) for k,v in net.state_dict().items()) and q.training==net.training
    for (k,v),w in zip(q.state_dict().items(), again.state_dict().values()): assert torch.equal(v, w), k
    lower(q.eval()).save(tmp_path/'q.safetensors')
    proof = verify(q, load(tmp_path/'q.safetensors'), [(sample(net, seed=9),None)])
    assert proof.mismatches==0 and not proof.parameters and proof.fired

def test_training_goes_on():
    net = dense().train()
    x = sample(net)
    q = calibrate(net, Policy('nonary', per_channel=False), x, 'adaround')
    assert q.training and net.training
    before = [l.latent.detach().clone() for l in q.layers]
    opt = torch.optim.Adam(q.param_groups(1e-2))
    for _ in range(3): opt.zero_grad(); q.answer(x)[0].pow(2).sum().backward(); opt.step()
    assert all(not torch.equal(a, l.latent) for a,l in zip(before, q.layers))

def test_what_cannot_be_calibrated_is_refused_by_name():
    net = dense()
    x = sample(net)
    with pytest.raises(CheckError, match='rounding.*nearest'): calibrate(net, preset('int8'), x, 'up')
    with pytest.raises(CheckError, match='policy'): calibrate(net, 'int8', x)
    with pytest.raises(CheckError, match='Network'): calibrate(nn.Linear(2, 2), preset('int8'), x)
    q = prepare(net, preset('int8'), x)
    for bad in x*float('nan'),x[:0],x[:,:3]:
        with pytest.raises(CheckError): correct_bias(q, net, bad)
        with pytest.raises(CheckError): adaround(q, bad)
    with pytest.raises(CheckError, match='as `q` has'): correct_bias(q, Network(nn.Linear(9, 3), LIF(reset='none')), x)
    with pytest.raises(CheckError, match='QuantNetwork'): adaround(net, x)
    with pytest.raises(CheckError, match='float'): calibrate(net, Policy('int8', layers={'first':dict(weight='float')}), x)
    q.freeze()
    with pytest.raises(CheckError, match='frozen'): correct_bias(q, net, x)
