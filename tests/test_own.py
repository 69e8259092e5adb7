"Neurons of one's own: compiled steps beside the loop that defines them, in networks, quantized where they are LIF"
import copy
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.quant.proof import verify
from quarantion.spikes import compiled
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Gradient, lif
from quarantion.spikes.own import neuron
from quarantion.spikes.surrogate import spike


@neuron(v=0.)
def Plain(state, x, *, beta=.9, theta=1.):
    v = beta*state.v + x
    s = spike(v-theta)
    return (v-theta*s.detach(),), s


@neuron(v=0., a=0.)
def Adaptive(state, x, *, beta=.9, rho=.97, jump=.2):
    v = beta*state.v + x
    s = spike(v-(1+state.a), 'atan', 2.)
    return (v-s*(1+state.a), rho*state.a+jump*s), s


@neuron(v=-65., u=-13.)
def Izhikevich(state, x, *, a=.02, b=.2, c=-65., d=8.):
    v,u = state
    for _ in range(2): v = v + .5*(.04*v*v + 5*v + 140 - u + x)
    u = u + a*(b*v-u)
    s = spike(v-30, slope=.1)
    return (torch.where(s>0, c, v), u+d*s), s


@neuron(v=0., wait=0.)
def Refractory(state, x, *, beta=.9, rest=5.):
    free = state.wait<=0
    v = beta*state.v + torch.where(free, x, 0.)
    s = spike(v-1, 'triangular', 1.)*free
    return (v*(1-s), (state.wait-1).clamp(min=0)+rest*s), s


@neuron(v=0.)
def Curved(state, x, *, tau=5., k=.5): # operations that are rounded in other ways
    v = state.v*torch.exp(-1/tau) + torch.tanh(k*x) + torch.sigmoid(state.v)*.1 + torch.minimum(x, state.v).abs()**.5*.01
    s = spike(v-.4, 'sigmoid', 4.)
    return (torch.where((v>.4) & (x>0), v-.4, torch.maximum(v, -torch.ones_like(v))),), s


CLOSE = {torch.float32:dict(rtol=2e-3, atol=1e-2), torch.float64:dict(rtol=1e-8, atol=1e-8)}
KINDS = {Plain:.5, Adaptive:.5, Izhikevich:12., Refractory:.5, Curved:1.}


def ran(layer, x, by, weigh):
    layer.by = by
    layer.zero_grad()
    x = x.detach().requires_grad_()
    spk,states = layer.run(x, steps=len(weigh[0]))
    sum((v*w).sum() for v,w in zip((spk,*states.values()), weigh)).backward()
    return (spk.detach(),*states.values()),(x.grad,*(p.grad for p in layer.parameters()))


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch): monkeypatch.setattr(compiled, 'WORTH', [0])


SHAPES = (1,1),(3,7),(40,1000),(2,3,5,4)


@pytest.mark.parametrize('kind,dtype', [*((k,torch.float32) for k in KINDS), (Adaptive,torch.float64), (Curved,torch.float64)],
                         ids=lambda v: getattr(v, '__name__', str(v)))
def test_compiled_is_the_loop(kind, dtype):
    torch.manual_seed(0)
    params,fired = kind.step.params,0
    for shape in SHAPES:
        layer = kind(**{k:torch.full(shape[1:2], v) if i%2 else v for i,(k,v) in enumerate(params.items())},
                     **{f'learn_{k}':i!=1 for i,k in enumerate(params)}).to(dtype)
        for const in False,True:
            x = torch.randn(1 if const else 9, *shape, dtype=dtype)*KINDS[kind]+KINDS[kind]
            weigh = torch.randn(3, 9, *shape, dtype=dtype)*(1 if kind is not Izhikevich else .01)
            (a,ga),(b,gb) = (ran(layer, x, by, weigh) for by in ('compiled','loop'))
            fired += int(a[0].sum())
            for p,q in zip(a, b): # additions and products are rounded alike
                assert torch.equal(p, q) if kind in (Plain,Adaptive,Refractory) else torch.allclose(p, q, rtol=1e-4, atol=1e-4)
            for p,q in zip(ga, gb): torch.testing.assert_close(p, q, **CLOSE[dtype])
    assert fired>1000


def test_it_is_lif():
    torch.manual_seed(0)
    x = torch.randn(30, 8, 50)
    for got,want in zip(Plain(beta=.8)(x), lif(x, .8)): assert torch.equal(got, want)
    a,b = (x.clone().requires_grad_() for _ in range(2))
    w = torch.randn(30, 8, 50)
    (Plain(beta=.8).spikes(a)*w).sum().backward()
    (lif(b, .8, gradient=Gradient())[0]*w).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)


def test_two_threads_make_the_same():
    x = torch.randn(5, 64, 1024)
    n = torch.get_num_threads()
    try:
        outs = []
        for threads in 1,2:
            torch.set_num_threads(threads)
            outs.append(ran(Adaptive(learn_beta=True), x, 'compiled', torch.ones(3, 5, 64, 1024)))
    finally: torch.set_num_threads(n)
    for p,q in zip(outs[0][0]+outs[0][1], outs[1][0]+outs[1][1]): assert torch.equal(p, q)


def test_a_few_are_left_to_the_loop(monkeypatch):
    monkeypatch.setattr(compiled, 'WORTH', [2**12])
    monkeypatch.setattr(compiled, 'forward_on_cpu', lambda *args: 1/0)
    assert Adaptive().spikes(torch.rand(4, 10, 100)).shape==(4,10,100)
    with pytest.raises(ZeroDivisionError): Adaptive().spikes(torch.rand(4, 11, 100))


def test_any_strides_and_dtypes():
    x = torch.randn(6, 10, 4)
    want = Adaptive()(x)
    for other in x.permute(1, 2, 0).contiguous().permute(2, 0, 1), x[:,None].expand(6, 2, 10, 4)[:,0]:
        for a,b in zip(Adaptive()(other), want): assert torch.equal(a, b)
    half = Adaptive()(x.bfloat16())
    assert half[0].dtype==torch.bfloat16 and half[0].shape==x.shape


def test_no_steps_and_no_samples():
    for shape in (0,3,4), (5,0,4), (5,3,0):
        x = torch.rand(shape, requires_grad=True)
        r = Adaptive().record(x)
        assert r.spk.shape==shape and r.state.mem.shape==shape[1:] and r.state.steps==shape[0]
        assert Adaptive().spikes(x).shape==shape
    assert Izhikevich().record(torch.rand(0, 2, 3)).state.mem.tolist()==[[-65.]*3]*2
    assert Adaptive()(torch.rand(1, 2, 3), steps=0)[0].shape==(0,2,3)


def test_without_a_compiler_it_says_so_and_loops(monkeypatch):
    import torch._inductor.compile_fx as inductor
    def none(*args, **kwargs): raise RuntimeError('no C++ compiler\nat all')
    monkeypatch.setattr(inductor, 'compile_fx_inner', none)
    compiled._compiled.cache_clear()
    x = torch.randn(4, 2, 3, requires_grad=True)
    try:
        with pytest.warns(UserWarning, match=r'Adaptive: runs in a slow loop of torch; expected a C\+\+ compiler that Inductor can call, found no C\+\+ compiler$'):
            spk = Adaptive().spikes(x)
        spk.sum().backward()
        with warnings.catch_warnings():
            warnings.simplefilter('error') # once
            assert torch.equal(Adaptive().spikes(x), spk)
    finally: compiled._compiled.cache_clear()


def test_spikes_without_a_gradient_are_said():
    @neuron(v=0.)
    def Hard(state, x):
        v = state.v+x
        s = (v>1).to(v.dtype)
        return (v-s,), s
    with pytest.warns(UserWarning, match='Hard: its spikes hand no gradient back'):
        spk,mem = Hard()(torch.rand(3, 2, 4, requires_grad=True))
        mem.sum().backward()


def test_a_second_way_back_is_refused():
    x = torch.rand(3, 2, 4, requires_grad=True)
    with pytest.raises(CheckError, match='a second'): torch.autograd.grad(Adaptive().spikes(x).sum(), x, create_graph=True)


def net(kind, **how):
    torch.manual_seed(0)
    return Network(nn.Linear(12, 30), kind(**how), nn.Linear(30, 5), LIF(reset='none'), steps=10)


def test_in_a_network():
    own,x = net(Adaptive, learn_rho=True),torch.rand(7, 12)*2
    whole = own.record(x)
    own.at_once = 3
    for a,b in zip(own.record(x), whole):
        assert torch.allclose(a.mem, b.mem, atol=1e-5) and a.state.steps==10
        if b.state.more is not None: assert torch.allclose(a.state.more, b.state.more) and b.state.more.shape==(7,1,30)
    own.at_once = None
    grads = []
    for save in 'trace','bits':
        own.layers[1].save = save
        own.zero_grad()
        own.answer(x)[0].pow(2).sum().backward()
        grads.append([p.grad.clone() for p in own.parameters()])
    for a,b in zip(*grads): torch.testing.assert_close(a, b)
    other = copy.deepcopy(own)
    other.load_state_dict(own.state_dict())
    assert torch.equal(other(x)[1], own(x)[1])


def test_under_torch_compile():
    own,x = net(Adaptive),torch.rand(4, 12)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # of torch's own
        got = torch.compile(own, backend='eager')(x)[1]
    torch.testing.assert_close(got, own(x)[1])


@pytest.mark.parametrize('name', ['int8', 'nonary', 'ternary'])
def test_a_lif_in_other_words_is_quantized_and_proved(name):
    own,x = net(Plain, beta=torch.rand(30)*.2+.8, theta=.8),torch.rand(40, 12)
    q = prepare(own, preset(name), x)
    loss = q.answer(x)[0].pow(2).sum()
    loss.backward()
    report = verify(q.eval(), lower(q), [x])
    assert report.mismatches==0
    twin = net(LIF, beta=own.layers[1].beta.clone(), threshold=.8)
    other = prepare(twin, preset(name), x).eval()
    for a,b in zip(q.integers(x), other.integers(x)): assert torch.equal(a.mem, b.mem)


def test_parentheses_are_asked_for():
    with pytest.raises(CheckError, match=r'as in @neuron\(v=0.\)'): neuron(lambda state, x: ((),x))


def test_others_are_refused_by_name():
    for kind in Adaptive,Izhikevich,Refractory,Curved:
        with pytest.raises(CheckError, match=f'{kind.__name__}: .*as the integer program has them, found'):
            prepare(net(kind), preset('int8'), torch.rand(4, 12))


def bad(f, **rest): return neuron(**(rest or dict(v=0.)))(f)()


def shrinks(state, x): return (state.v[:,:1]+x[:,:1],), spike(x)
def spreads(state, x): return (torch.cat([state.v, x], -1),), spike(x)
def counts(state, x): return ((state.v+1).long(),), spike(x)
def forgets(state, x): return (state.u+x,), spike(x)
def writes(state, x):
    v = state.v
    v += x
    return (v,), spike(v)
def places(state, x):
    v = state.v+x
    v[v>1] = 0
    return (v,), spike(v)
def asks(state, x): return (state.v+x,), spike(x) if x.sum()>0 else x*0
def numpy(state, x): return (state.v+torch.from_numpy(x.detach().numpy()*2),), spike(x)
def lottery(state, x): return (torch.nn.functional.dropout(state.v),), spike(x)
def loud(state, x): return (state.v,), 2*spike(x)
def lonely(state, x): return state.v, spike(x)
def averages(state, x): return (state.v-state.v.mean(),), spike(x)
def sums(state, x): return (state.v+x.cumsum(-1),), spike(x)
def sized(state, x): return (state.v+x/x.numel(),), spike(x)
def chance(state, x): return (state.v+x*random.random(),), spike(x)
THETA = nn.Parameter(torch.tensor(1.))
def closes(state, x): return (state.v+x,), spike(x-THETA)


class InPlace(torch.autograd.Function):
    "A surrogate as people write it"
    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v>0).to(v.dtype)

    @staticmethod
    def backward(ctx, g):
        k = g.clone()
        k[ctx.saved_tensors[0].abs()>.5] = 0
        return .1*g+.9*k


def test_a_gradient_that_writes_in_place_runs_in_the_loop():
    @neuron(v=0.)
    def Own(state, x):
        v = .9*state.v+x
        s = InPlace.apply(v-1)
        return (v-s,), s
    x = torch.randn(20, 8, 40, requires_grad=True)
    g = torch.ones(20, 8, 40)
    with pytest.warns(UserWarning, match='Own: runs in a slow loop of torch; expected operations on each neuron alone, found index_put_? in its gradient'):
        got, = torch.autograd.grad(Own().spikes(x), x, g)
    layer = Own()
    layer.by = 'loop'
    want, = torch.autograd.grad(layer.spikes(x), x, torch.ones_like(g))
    assert torch.equal(got, want) and torch.equal(g, torch.ones_like(g))


def test_half_precision_in_the_middle_is_kept():
    @neuron(v=0.)
    def Coarse(state, x):
        v = (.9*state.v+x).half().to(x.dtype)
        s = spike(v-1)
        return (v-s,), s
    x = torch.randn(20, 8, 40)
    layer = Coarse()
    got = layer(x)
    layer.by = 'loop'
    for a,b in zip(got, layer(x)): assert torch.equal(a, b)


LEVEL = [1.]


@pytest.mark.parametrize('by', ['compiled', 'loop'])
def test_what_it_reads_besides_may_not_change(by, monkeypatch):
    scale = .9
    @neuron(v=0.)
    def Level(state, x):
        v = scale*state.v+x
        s = spike(v-LEVEL[0])
        return (v-s,), s
    layer,x = Level(),torch.randn(5, 4, 30)
    layer.by = by
    layer(x)
    monkeypatch.setitem(globals(), 'LEVEL', [3.])
    with pytest.raises(CheckError, match=r'Level: `LEVEL`: expected \[1.0\], as when it was made .*found \[3.0\]'): layer(x)
    monkeypatch.undo()
    scale = .5
    with pytest.raises(CheckError, match='`scale`: expected 0.9'): layer(x)


def test_first_use_from_threads():
    @neuron(v=0.)
    def Shared(state, x):
        v = .8*state.v+x
        s = spike(v-1)
        return (v-s,), s
    x = torch.randn(10, 4, 30)
    with ThreadPoolExecutor(4) as pool: spks = list(pool.map(lambda _: Shared().spikes(x), range(4)))
    for s in spks: assert torch.equal(s, spks[0])


@pytest.mark.parametrize('f,said', [(lambda state, x, reset=1.: 0, '`reset`'), (lambda state, x, v=1.: 0, '`v`')])
def test_names_that_are_taken(f, said):
    with pytest.raises(CheckError, match=f'parameter {said}: expected a name that layers have not taken'): neuron(v=0.)(f)


@pytest.mark.parametrize('f,said', [(shrinks,'each neuron alone'), (spreads,'each neuron alone'), (counts,'expected torch.float32'), (writes,'add_'), (forgets,"AttributeError"),
    (places,'index_put_'), (asks,'torch.where'), (numpy,'one of its own of shape'), (lottery,'no random numbers'), (loud,'0 or 1'),
    (lonely,'what it remembers, in a tuple'),
    (averages,'found mean'), (sums,'found cumsum'), (sized,'the same numbers in it'), (chance,'the same numbers in it'), (closes,'one of its own of shape []')], ids=lambda v: getattr(v, '__name__', ''))
def test_a_step_that_cannot_be_one(f, said):
    with pytest.raises(CheckError) as e: bad(f)(torch.rand(3, 2, 4))
    assert said in str(e.value) and str(e.value).startswith(f.__name__), e.value
    if f in (shrinks,spreads,writes,places,asks,numpy,lottery): assert 'test_own.py:' in str(e.value)
