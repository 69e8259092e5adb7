"Waves in torch: the operator, its gradients in pieces, and the layer"
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.inspect.recordings import record_layers
from quarantion.waves.law import Medium, Sources, wave_loop
from quarantion.waves.network import Moment, Waves
from quarantion.waves.operators import wave_op, wave_twin, waves_over_time
from quarantion.waves.torus import Torus, new_field


def some(shape=(3,4), T=6, B=2, E=2, dtype=torch.double, faces=False, law=(.1,-.3,.1), seed=0):
    g = torch.Generator().manual_seed(seed)
    M = 2*int(np.prod(shape))
    draw = lambda *s: torch.randn(s, dtype=dtype, generator=g)
    f = draw(len(shape), M).abs()+.5 if faces else torch.zeros(0, M, dtype=dtype)
    return [draw(2, B, M),draw(M//2).abs().repeat_interleave(2),draw(1).sigmoid(),f,draw(T, B, 2*E),torch.arange(E)*2+1,[*shape],[*law]]


@pytest.mark.parametrize('faces', [False, True])
@pytest.mark.parametrize('shape', [(6,), (3,4), (2,3,2), (2,2,2,2)])
def test_twin_and_kernel(shape, faces):
    "The same operations; numbers may differ where a sum of torch is fused, not by more than rounding"
    for dtype,eps in ((torch.float32,2e-6),(torch.float64,1e-14)):
        args = some(shape, dtype=dtype, faces=faces, law=(.05,-.3,.1))
        for a,b in zip(wave_op(*args), wave_twin(*args)): torch.testing.assert_close(a, b, rtol=10*eps, atol=10*eps)


def test_operator_is_one():
    torch.library.opcheck(wave_op, [a.requires_grad_() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in some()],
                          test_utils=('test_schema','test_autograd_registration','test_faketensor'))


@pytest.mark.parametrize('faces', [False, True])
def test_gradients_of_everything(faces):
    args = some((2,3), T=5, faces=faces)
    free = [a.clone().requires_grad_() for a in args[:5]]
    if not faces: free[3] = args[3]
    assert torch.autograd.gradcheck(lambda *t: wave_op(*t, *args[5:]), free)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50), st.integers(1, 17), st.integers(0, 99))
def test_pieces_change_nothing(T, piece, seed):
    args = some((3,4), T=T, seed=seed)
    free = [args[i].clone().requires_grad_() for i in (0,1,2,4)]
    def loss(run):
        out,v = run(free[0], free[1], free[2], args[3], free[3])
        return (out[-1]**2).sum()+v.sum()+out[T//2].sum()
    whole = loss(lambda *t: waves_over_time(*t, tuple(args[5:]), piece=T))
    cut = loss(lambda *t: waves_over_time(*t, tuple(args[5:]), piece=piece))
    assert torch.equal(whole, cut)
    for a,b in zip(torch.autograd.grad(whole, free), torch.autograd.grad(cut, free)): torch.testing.assert_close(a, b)


def test_fifty_steps():
    args = some((3,3), T=50, B=1, E=1, law=(.1,0.,0.))
    run = lambda start, c: waves_over_time(start, c, args[2], args[3], args[4], tuple(args[5:]))[0][-1]
    assert torch.autograd.gradcheck(run, (args[0].requires_grad_(),args[1].requires_grad_()))


@pytest.mark.parametrize('kind', [torch.float32, torch.complex64, torch.float64, torch.complex128])
def test_layer_is_the_loop(kind):
    torus,rng = Torus((5,1,4)),np.random.default_rng(0)
    cells,slow = np.array([[4,0,1],[0,0,0]]),rng.random((5,1,4)) # not in order
    net = Waves(torus, cells, Medium(.8,.2,-.1,.3), slow, dt=.2)
    x = torch.randn(7, 3, 2, dtype=kind)
    psi,end = net(x)
    wide = 'complex128' if kind in (torch.float64,torch.complex128) else 'complex64'
    field = new_field(torus, wide, batch=3)._replace(s=slow.astype('f4'))
    want = wave_loop(field, 7, Medium(.8,.2,-.1,.3), Sources(cells, x.numpy()), dt=.2)
    for a,b in ((psi[-1],want.psi),(end.velocity,want.velocity)): assert np.abs(a.numpy()-b).max()<(1e-5 if wide=='complex64' else 1e-6)
    assert end.steps==7 and psi.shape==(7,3,5,1,4)


def test_constant_input_states_and_records():
    net = Waves(Torus((8,)), [[3]], dt=.5, mark=.2)
    x = torch.ones(2, 1)
    psi,end = net(x, steps=9)
    a,half = net(x, steps=4)
    b,done = net(x, half, 5)
    assert torch.equal(torch.cat([a,b]), psi) and torch.equal(done.psi, end.psi) and done.steps==9
    r, = net.record(x[None].expand(9, -1, -1))
    s, = net.record(x[None].expand(5, -1, -1), [half])
    assert torch.equal(r.mem[4:], s.mem) and torch.equal(r.spk, (psi.abs()>.2).float()) and r.spk.any() and not r.spk.all()
    seen, = record_layers(net, x[None].expand(9, -1, -1).contiguous())
    assert seen.mem.shape==(9,2,8)


def test_learns_where_to_be_slow():
    torch.manual_seed(0)
    net = Waves(Torus((24,)), [[2]], Medium(damping=0.), np.zeros(24), dt=.5, learn=('slow','damping'))
    x = torch.zeros(40, 1, 1)
    x[:6] = 1
    opt,first = torch.optim.Adam(net.parameters(), .05),None
    for _ in range(20):
        loss = -net(x)[0][-1,0,10].abs().square()
        first = loss.item() if first is None else first
        opt.zero_grad(); loss.backward(); opt.step()
    assert loss.item()<1.5*first and net.slow.min()!=net.slow.max()
    again = Waves(Torus((24,)), [[2]], Medium(damping=0.), np.zeros(24), dt=.5, learn=('slow','damping'))
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x)[0], net(x)[0])


@pytest.mark.parametrize('bad', [dict(cells=[[0]]), dict(cells=[[9,0]]), dict(cells=[[0,0],[0,0]]), dict(dt=0.), dict(dt=1.), dict(slow=-1.),
                                 dict(slow=np.ones(3)), dict(medium=Medium(kerr=.1)), dict(learn=('speed',)), dict(mark=-1.), dict(cells=[[.5,0]])])
def test_what_is_no_layer(bad):
    with pytest.raises(CheckError): Waves(**dict(torus=Torus((4,4)), cells=[[0,0]])|bad)


@pytest.mark.parametrize('bad', [lambda x, m: (x[...,:0],), lambda x, m: (x[0],), lambda x, m: (x,m._replace(psi=m.psi[:1])), lambda x, m: (x,3),
                                 lambda x, m: (x,Moment(m.psi, m.velocity[0]))])
def test_what_does_not_fit(bad):
    net = Waves(Torus((4,4)), [[0,0]])
    x = torch.randn(3, 2, 1)
    with pytest.raises(CheckError): net(*bad(x, net(x)[1]))


@pytest.mark.filterwarnings('ignore:.torch.jit.script. is deprecated')
def test_forward_mode():
    "Tangents are those of the loop, by dual numbers and by torch.func, through the layer as well"
    args = some((3,4), T=9, law=(.1,0.,0.))
    run = lambda start: waves_over_time(start, args[1], args[2], args[3], args[4], tuple(args[5:]))[0][-1]
    want = run(args[0]+1)-run(args[0]) # the law is linear, but for rounding
    torch.testing.assert_close(torch.func.jvp(run, (args[0],), (torch.ones_like(args[0]),))[1], want, rtol=1e-9, atol=1e-9)
    net = Waves(Torus((8,)), [[3]], dt=.5)
    x = torch.randn(4, 1, 1, dtype=torch.double)
    with torch.autograd.forward_ad.dual_level():
        psi,_ = net(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        ahead = torch.autograd.forward_ad.unpack_dual(psi).tangent
    torch.testing.assert_close(ahead, net(torch.ones_like(x))[0])
