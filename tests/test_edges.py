"Edges: empty batches, infinite parameters, mixed dtypes, second derivatives, transforms, writes in place, words said twice."
import warnings

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from quarantion import lower, prepare, preset
from quarantion.checks import CheckError, check_range
from quarantion.inspect.recordings import record_layers
from quarantion.quant.calibration import correct_bias
from quarantion.quant.fake import fake_quantize
from quarantion.quant.membranes import lif_levels, uniform_levels
from quarantion.spikes import LIF, Network, RecurrentLIF, RecurrentSynaptic, Synaptic
from quarantion.spikes.neuron import RESETS, SAVES, Diagonal, Gradient, lif, lif_counts, lif_spikes
from quarantion.spikes.surrogate import spike
from quarantion.train.config import Config

inf,FIVE = float('inf'),uniform_levels(5)


def quiet(policy, net, x):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return prepare(net, preset(policy), x)


def pictures():
    return Network(nn.Conv2d(1,4,3,padding=1), RecurrentLIF(nn.Conv2d(4,4,3,padding=1)), nn.AvgPool2d(2), nn.Conv2d(4,4,3), RecurrentSynaptic(nn.Conv2d(4,4,3,padding=1), .5),
        nn.Flatten(), nn.Linear(16,6), RecurrentLIF(Diagonal(torch.full((6,), .5))), nn.Linear(6,3), LIF(reset='none'), in_shape=(1,8,8), steps=3)


@pytest.mark.parametrize('shape', [(0,1,8,8), (3,0,1,8,8)])
@pytest.mark.parametrize('policy', ['int8','current8','nonary'])
def test_empty_batches(shape, policy):
    torch.manual_seed(0)
    net,e = pictures(),torch.zeros(shape)
    q = quiet(policy, net, torch.rand(3,1,8,8))
    p,want = lower(q),[(3,0,4,8,8),(3,0,4,2,2),(3,0,6),(3,0,3)]
    for rs in net.record(e), q.eval().record(e), q.train().record(e), q.integers(e), p.record(e.numpy()):
        assert [tuple(r.spk.shape) for r in rs]==[tuple(r.mem.shape) for r in rs]==want
        assert [tuple(r.state.mem.shape) for r in rs]==[w[1:] for w in want]
    assert p.classify(e.numpy()).shape==(0,) and [r.spk.shape[1:] for r in record_layers(net, e)]==[(0,256),(0,16),(0,6),(0,3)]
    (net(e)[1].sum()+q.train()(e)[1].sum()).backward()
    assert all(g.grad is None or not g.grad.any() for g in net.parameters())
    for r in p.record(e.numpy(), state=[r.state for r in p.record(e.numpy())]): assert r.state.steps==6


def test_no_steps():
    for l in LIF(), Synaptic(), RecurrentLIF(Diagonal(.5)), RecurrentSynaptic(Diagonal(.5)):
        r = l.record(torch.zeros(0,2,3))
        assert r.spk.shape==r.mem.shape==(0,2,3) and r.state.mem.shape==(2,3) and not r.state.mem.any()


@pytest.mark.parametrize('make', [lambda v: LIF(threshold=v), lambda v: LIF(threshold=torch.tensor([1.,v])), lambda v: LIF(slope=v), lambda v: LIF(beta=v), lambda v: Synaptic(v),
    lambda v: Diagonal(v), lambda v: RecurrentLIF(Diagonal(0.), threshold=v), lambda v: lif(torch.ones(2,1,1), threshold=v), lambda v: lif(torch.ones(2,1,1), beta=v),
    lambda v: lif_counts(torch.ones(2,1,1), gradient=Gradient(slope=v)), lambda v: Network(nn.Linear(2,2), LIF(), steps=v), lambda v: spike(torch.ones(1,requires_grad=True), slope=v).backward()])
@pytest.mark.parametrize('v', [inf,-inf,float('nan')])
def test_parameters_are_finite(make, v):
    with pytest.raises(CheckError, match=r'expected .*, found .*(inf|nan)'): make(v)


def test_what_a_range_says_of_infinity():
    with pytest.raises(CheckError, match=r'`x`: expected finite and > 0, found inf'): check_range(inf, 0, above=True)
    with pytest.raises(CheckError, match=r'`x`: expected in \[0, 1\], found inf'): check_range(inf, 0, 1)
    assert check_range(3, 0)==3


LAYERS = {'lif':LIF, 'synaptic':Synaptic, 'recurrent':lambda: RecurrentLIF(Diagonal(.5)), 'linear':lambda: RecurrentLIF(nn.Linear(3,3)), 'both':lambda: RecurrentSynaptic(Diagonal(.5))}

@pytest.mark.parametrize('kind', LAYERS)
def test_membranes_of_another_dtype(kind):
    l,x = LAYERS[kind](),torch.rand(4,2,3)
    with pytest.raises(CheckError, match=r'`mem`: expected torch.float32, as `x`, found torch.float64'): l(x, torch.rand(2,3).double())
    with pytest.raises(CheckError, match='`state.mem`: expected float64'): l.double().record(x.double(), l.float().record(x).state)
    assert l(x, torch.rand(2,3))[0].dtype==x.dtype
    with pytest.raises(CheckError, match='`mem`'): lif_levels(x, table=uniform_levels(5), mem=torch.rand(2,3).double())


def test_input_of_another_dtype_than_weights():
    net = Network(nn.Linear(3,4), RecurrentLIF(nn.Linear(4,4)), nn.Linear(4,2), LIF(reset='none'))
    for x in torch.rand(5,3).double(), torch.ones(5,3).long(), torch.ones(5,3).bool(), torch.rand(5,3).half():
        with pytest.raises(CheckError, match=f'layer 0: `x`: expected torch.float32, as the weights, found {x.dtype}'): net(x)
    with pytest.raises(CheckError, match='recurrent: `x`: expected torch.float32, as the weights, found torch.float64'): net.layers[1](torch.rand(2,2,4).double())
    with torch.autocast('cpu', torch.bfloat16): assert net(torch.rand(5,3))[0].shape==(25,5,2)
    assert net.double()(torch.rand(5,3).double())[1].dtype==torch.float64
    spk,_ = RecurrentLIF(Diagonal(.5)).half()(torch.rand(4,2,3).half()) # parameters are cast, and no more
    assert spk.dtype==torch.float16


def losses():
    torch.manual_seed(0)
    net,slope = Network(nn.Linear(3,4), LIF(), nn.Linear(4,2), LIF(reset='none'), steps=4),torch.tensor(5., requires_grad=True)
    out = dict(lif=lambda x: lif(x)[1].sum(), trace=lambda x: lif(x, gradient=Gradient(save='trace'))[1].sum(), spikes=lambda x: lif_spikes(x).sum(), counts=lambda x: lif_counts(x).sum(),
        slope=lambda x: lif(x, gradient=Gradient(slope=slope))[0].sum(), fake=lambda x: fake_quantize(x, torch.tensor(.1), -4, 4).sum(), synaptic=lambda x: Synaptic()(x)[1].sum(),
        network=lambda x: net(x)[1].sum())
    for p in 'int8','mint4','nonary':
        q = quiet(p, net, torch.rand(8,3)).train()
        out[p] = lambda x, q=q: q(x*.5)[1].sum()
    return out


@pytest.mark.parametrize('name', losses())
def test_second_derivatives(name):
    "A penalty on a gradient is refused, not taken for a constant"
    f,x = losses()[name],torch.rand(4,2,3).requires_grad_()
    for power in 1,2:
        g, = torch.autograd.grad(f(x)**power, x, create_graph=True)
        assert g.isfinite().all()
        with pytest.raises(CheckError, match='spikes: gradients: expected one pass back.*found a second'): (f(x)+g.square().sum()).backward()


@pytest.mark.filterwarnings('ignore::DeprecationWarning') # of torch.jit, which forward mode imports
@pytest.mark.parametrize('name', [*losses(),'surrogate','recurrent','levels','nearest'])
def test_transforms_and_forward_mode(name):
    more = dict(surrogate=lambda x: spike(x-.5).sum(), recurrent=lambda x: RecurrentLIF(Diagonal(.5))(x)[1].sum(), levels=lambda x: lif_levels(x, table=FIVE)[1].sum(), nearest=lambda x: FIVE(x).sum())
    f,x = (losses()|more)[name],torch.rand(4,2,3)
    refused = pytest.raises(CheckError, match='gradients: expected one pass back, by backward.* found a transform of torch.func')
    with refused: torch.func.vmap(f)(torch.stack([x,x]))
    with refused: torch.func.jvp(f, (x,), (x,))
    with refused: torch.func.grad(f)(x)
    with forward_ad.dual_level(), pytest.raises(CheckError, match='found forward mode'): f(forward_ad.make_dual(x, x))


def test_second_derivatives_that_there_are():
    "Of the surrogate itself, in loops of torch operations, as curvature needs them"
    x = torch.rand(4,2,3, dtype=torch.float64).requires_grad_()
    for f in lambda x: spike(x-.5, 'atan', 2.).sum(), lambda x: RecurrentLIF(Diagonal(.5), surrogate='atan', slope=2.).double()(x)[1].sum():
        g, = torch.autograd.grad(f(x), x, create_graph=True)
        assert torch.autograd.grad(g.square().sum(), x)[0].isfinite().all()


@pytest.mark.parametrize('what', ['x','beta','threshold','mem'])
@pytest.mark.parametrize('f', [lif,lif_spikes,lif_counts], ids=lambda f: f.__name__)
@pytest.mark.parametrize('save', SAVES)
@pytest.mark.parametrize('reset', RESETS)
def test_writes_between_forward_and_backward(what, f, save, reset):
    "Found wherever the way back would read what was written; where it would not, gradients are those of the run that was"
    torch.manual_seed(0)
    leaf = torch.rand(5,2,3).requires_grad_()
    a = dict(x=leaf*1, beta=torch.full((3,), .9), threshold=torch.full((3,), .5), mem=torch.rand(2,3))
    def run():
        out = f(**a, reset=reset, gradient=Gradient(save=save))
        return sum(o.sum() for o in out) if isinstance(out, tuple) else out.sum()
    want, = torch.autograd.grad(run(), leaf, retain_graph=True)
    loss = run()
    with torch.no_grad(): a[what].mul_(.5)
    if what=='x' and save!='recompute' and f is not lif_counts: # membranes are kept, and x is not read again
        assert torch.equal(torch.autograd.grad(loss, leaf)[0], want)
        return
    with pytest.raises(RuntimeError, match='modified by an inplace operation'): loss.backward()


@pytest.mark.parametrize('save', SAVES)
def test_writes_into_what_came_out(save):
    "Spikes and states are nobody's but the caller's; a readout's states are kept by 'trace', and by 'bits' of neurons alone"
    torch.manual_seed(0)
    for reset in RESETS:
        leaf = torch.rand(5,2,3).requires_grad_()
        def run(): return lif(leaf*1, threshold=.5, reset=reset, gradient=Gradient(save=save))
        want, = torch.autograd.grad(run()[1].sum(), leaf)
        spk,mem = run()
        loss = mem.sum()
        with torch.no_grad(): mem.mul_(2)
        if save!='recompute' and reset in ('none','subtract_delayed'):
            with pytest.raises(RuntimeError, match='modified by an inplace operation'): loss.backward()
        else: assert torch.equal(torch.autograd.grad(loss, leaf)[0], want)


def test_words_said_twice():
    for k,v,name in ('learn','beta,beta','beta'), ('learn',('slope','beta',' slope '),'slope'), ('gates','min_sqnr=1,min_sqnr=2','min_sqnr'), ('gates','max_drop=0.1, max_drop = 0.1','max_drop'):
        with pytest.raises(CheckError, match=f"`{k}`: expected each name once, found '{name}' 2 times"): Config(**{k:v})
    assert Config(learn='beta,slope').learn==('beta','slope')


def test_calibration_of_recurrent_convolutions():
    torch.manual_seed(0)
    net,x = pictures(),torch.rand(6,1,8,8)
    q = quiet('int8', net, x)
    correct_bias(q, net, x)
    assert all(l.bias.isfinite().all() for l in q.layers)
