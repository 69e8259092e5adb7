"Waves at their edges: numbers that cancel, second derivatives, what does not fit, files bit for bit"
import numpy as np, pytest, torch
from quarantion.checks import CheckError
from quarantion.kernels.wave import wave_steps, wave_sweeps
from quarantion.kernels.wave_rows import wave_rows
from quarantion.waves.energy import field_energy
from quarantion.waves.law import Medium, Sources, grid_omega, step_limit, wave_loop
from quarantion.waves.mix import add_waves, add_waves_carry, heterodyne
from quarantion.waves.network import Moment, Waves
from quarantion.waves.propagate import propagate_field, watch
from quarantion.waves.sparse import add_cells, from_field, load_sparse, new_sparse, save_sparse
from quarantion.files import load_tensors, save_tensors
from quarantion.inspect.wave_inspector import WaveInspector
from quarantion.waves.levels import Levels, check_levels
from quarantion.waves.planes import pack_numbers
from quarantion.waves.rows import sparse_limit
from quarantion.waves.traps import Trapping, add_traps, propagate_trapped
from quarantion.waves.whole import check_whole, load_whole, save_whole, to_whole
from quarantion.waves.torus import Torus, cell_index, load_field, new_field, save_field, wrap

T = Torus((4,5))
F = new_field(T, 'complex128')
F.psi[1,2] = 1


@pytest.mark.parametrize('saturation', [0.,1e-300,1e-30,1e-16,1e-12,1e-8,1e-4])
def test_a_small_saturation_is_none(saturation):
    "A field of one cell of 1: two of its gradient, less β/4 (1 − 2κ/3 …) of the cubic term"
    assert abs(field_energy(F, Medium(kerr=1. if saturation else -1., saturation=saturation))-(2-(.25 if saturation else -.25)*(1-2*saturation/3)))<1e-8


def test_energy_of_a_saturation_has_no_seam():
    "The first terms of the logarithm, and the logarithm, where both are good"
    k = np.array([.00999999,.01,.01000001,.1,1.,1e3])
    want = [1/2/x*(1-np.log1p(x)/x) for x in k.tolist()]
    got = [2-float(field_energy(F, Medium(kerr=1., saturation=x))) for x in k.tolist()]
    np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize('law', ['speed','damping','kerr','saturation'])
def test_a_medium_is_the_same_everywhere(law):
    with pytest.raises(CheckError, match=f'Medium: `{law}`: expected one number, found ndarray'): propagate_field(F, 1, Medium()._replace(**{law:np.ones((4,5))}))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('size', [1e-200,1e-30,1e30,1e300])
def test_a_metric_beyond_reason_is_refused(size):
    with pytest.raises(CheckError, match='`metric`'): propagate_field(F._replace(metric=np.full((2,4,5), size)), 2)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('bad', [lambda: propagate_field(F._replace(torus=(4,5)), 1), lambda: wave_loop(F, -1), lambda: wave_loop(F._replace(psi=F.psi.real), 1),
    lambda: propagate_field(new_field(T), 3, sources=Sources([[0,0]], np.full((3,1), 1e300))), lambda: grid_omega([.1], -1.), lambda: grid_omega([np.nan], .1),
    lambda: grid_omega('a', .1), lambda: grid_omega([.1], .1, -1.), lambda: wrap(T, np.array([[2**64-1,0]], np.uint64)), lambda: cell_index(T, np.array([[2**64-1,0]], np.uint64))])
def test_what_fits_nowhere(bad):
    with pytest.raises(CheckError): bad()


def test_watching_no_step_of_a_batch(): assert watch(new_field(T, batch=3), 0).energy.shape==(0,3)


def test_files_keep_the_signs_of_zeros(tmp_path):
    z = np.array([0.,-0.,1.,-1.])
    f = new_field(Torus((4,4)))
    f.psi.real,f.psi.imag,f.velocity.real = -0.,z,z[:,None]
    f.velocity.imag = -0.
    save_field(tmp_path/'f', f)
    g = load_field(tmp_path/'f')
    assert g.psi.tobytes()==f.psi.tobytes() and g.velocity.tobytes()==f.velocity.tobytes() and g.psi.dtype==f.psi.dtype
    table = new_sparse(Torus((4,4)))
    add_cells(table, np.argwhere(np.ones((4,4))), psi=f.psi.ravel(), velocity=f.velocity.ravel())
    save_sparse(tmp_path/'s', table)
    g = load_sparse(tmp_path/'s')
    assert g.psi.tobytes()==table.psi.tobytes() and g.velocity.tobytes()==table.velocity.tobytes()


def test_a_wide_number_is_no_int32(tmp_path):
    "Twenty digits hold more than 32 bits, which are not to be cut off"
    whole = to_whole(F, .01)
    save_whole(tmp_path/'w', whole)
    columns,head = load_tensors(tmp_path/'w', 'quarantion.whole', 1)
    columns['psi'] = pack_numbers(np.full((4,5,2), 2**32+5), 20)
    save_tensors(tmp_path/'w', columns, head|dict(digest='', digits=head['digits']|dict(psi=20)))
    with pytest.raises(CheckError, match='w: .*psi'): load_whole(tmp_path/'w')


@pytest.mark.parametrize('bad', [[3,4],[],True,[.1]])
def test_records_of_laws_hold_single_numbers(bad):
    with pytest.raises(CheckError, match='`unit`: expected one number'): check_whole(to_whole(F, .01)._replace(unit=bad))
    with pytest.raises(CheckError, match='`scale`: expected one number'): check_levels(Levels(bad))
    with pytest.raises(CheckError, match='`base`: expected one number'): propagate_trapped(F, add_traps(T, [[0,0]]), 1, trapping=Trapping(base=bad))
    with pytest.raises(CheckError, match='`kerr`: expected one number'): field_energy(F, Medium(kerr=bad))


def test_missing_cells_at_zero_do_not_shorten_a_step():
    slow = F._replace(s=np.full((4,5), 3., 'f4'))
    assert sparse_limit(from_field(slow), Medium(), 'zero')==sparse_limit(from_field(slow))==step_limit(slow)


@pytest.mark.filterwarnings('error')
def test_an_inspector_keeps_its_field_where_the_next_is_too_large():
    w = WaveInspector(F)
    try:
        with pytest.raises(CheckError, match='`psi`'): w.field = F._replace(psi=F.psi*1e300)
        assert w.field.psi[1,2]==1
    finally: w.close()


# In torch

def test_a_second_derivative_is_one():
    net = Waves(Torus((2,3)), [[0,0],[1,1]], Medium(kerr=-.2), np.full((2,3), .1), dt=.2, learn=('slow',)).double()
    x = torch.randn(18, 1, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0)) # two pieces
    def run(end, slow):
        psi,m = torch.func.functional_call(net, dict(slow=slow), (torch.cat([x[:17],end]),))
        return torch.view_as_real(psi[-1]),torch.view_as_real(m.velocity)
    assert torch.autograd.gradgradcheck(run, (x[17:].requires_grad_(),net.slow))


def test_a_state_of_conjugates():
    net = Waves(T, [[0,0]], dt=.2)
    x = torch.randn(3, 2, 1, dtype=torch.complex64)
    m = net(x)[1]
    c = lambda f: Moment(f(m.psi.conj()), f(m.velocity.conj()))
    assert torch.equal(net(x, c(lambda z: z))[0], net(x, c(lambda z: z.resolve_conj()))[0])


def test_no_sample():
    psi,m = Waves(T, [[0,0]], dt=.2)(torch.ones(3, 0, 1))
    assert psi.shape==(3,0,4,5) and m.psi.shape==(0,4,5)


@pytest.mark.parametrize('bad', [lambda n, x, m: n(x, Moment(m.psi.numpy(), m.velocity.numpy())), lambda n, x, m: n(x, m._replace(steps=None)), lambda n, x, m: n(x.numpy()),
    lambda n, x, m: n(x[0], None, 0), lambda n, x, m: n(x[0], None, -1), lambda n, x, m: Waves(Torus((1,1)), [[0,0]], dt=.1), lambda n, x, m: Waves(T, None)])
def test_what_no_layer_takes(bad):
    net,x = Waves(T, [[0,0]], dt=.2),torch.randn(3, 2, 1)
    with pytest.raises(CheckError): bad(net, x, net(x)[1])


@pytest.mark.soak
def test_compiles_whole():
    net,x = Waves(T, [[0,0]], Medium(kerr=-.2), np.zeros((4,5)), dt=.2, learn=('slow',)),torch.randn(5, 2, 1)
    assert torch.equal(torch.compile(net, fullgraph=True, backend='aot_eager')(x)[0], net(x)[0])


# Mixing

@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('mix', [add_waves, lambda a, b: add_waves(a, b, 1, 'wrap'), add_waves_carry, heterodyne])
def test_what_is_beyond_all_numbers(mix):
    for a in (1e308,np.complex64(3e38)):
        with pytest.raises(CheckError, match='the (sum|product)`?: expected finite numbers'): mix(a, a)


@pytest.mark.parametrize('a', [np.complex64(1e8),np.complex64(1e8j),2.**62,1e300j])
def test_turns_are_exact_or_refused(a):
    "100,000,000 is 9 · 11,111,111 + 1, but float32 has no 99,999,999"
    for mix in (add_waves_carry,lambda a, b: add_waves(a, b, 1, 'wrap')):
        with pytest.raises(CheckError, match='the sum: expected parts of at most'): mix(a, a*0)
    low,carry = add_waves_carry(1e8, 0.)
    assert low==1 and carry==11_111_111


# Kernels

def test_a_law_of_one_number_is_refused():
    "A compiled loop looks at a tuple without asking how long it is"
    none,one = np.zeros(0),np.ones(1)
    u,v = np.zeros((2,1,8)),np.zeros((1,8))
    rest = np.zeros(0, np.int64),np.zeros((2,1,0)),(.1,),2
    with pytest.raises(CheckError, match='`law`: expected length 3, found 1'): wave_steps(u, v, one, one, none, np.array([4]), *rest)
    with pytest.raises(CheckError, match='`law`: expected length 3, found 1'): wave_sweeps(u[:1], v, one, one, np.array([2,2]), *rest)
    near = np.zeros((4,2), np.int32)
    with pytest.raises(CheckError, match='`law`: expected length 3, found 1'): wave_rows(u[:,0], v[0], one, one, near, none, rest[0], rest[1][:,0], *rest[2:])
