"What must hold of waves: what theory says of a grid, the kernel equal to the loop, and one error for each bad input"
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.kernels.wave import wave_steps, wave_sweeps
from quarantion.waves.energy import field_energy
from quarantion.waves.law import Medium, Sources, grid_omega, step_limit, tones, wave_loop
from quarantion.waves.propagate import propagate_field, watch
from quarantion.waves.torus import Torus, load_field, new_field, save_field

FREE = Medium(damping=0.)


def noise(rng, *shape): return rng.normal(size=shape)+1j*rng.normal(size=shape)
def same(a, b): return np.array_equal(a.psi, b.psi) and np.array_equal(a.velocity, b.velocity) and a.psi.dtype==b.psi.dtype


def a_field(rng, shape, kind='complex128', batch=0, metric='identity', r=True, s=True):
    "A field in which everything differs from cell to cell"
    f = new_field(Torus(shape), kind, metric, batch)
    some = lambda on: rng.random(shape).astype('f4') if on else np.float32(.25)
    g = f.metric.copy()
    if metric!='identity': g += rng.random((len(g),1)+shape[1:]).astype('f4')*(g>0)
    return f._replace(psi=noise(rng, *f.psi.shape).astype(kind), velocity=noise(rng, *f.psi.shape).astype(kind), r=some(r), s=3*some(s), metric=g)


# What theory says

@pytest.mark.parametrize('shape,k', [((16,),(1,)), ((16,),(7,)), ((5,),(2,)), ((6,8),(1,3)), ((4,3,2),(1,1,1)), ((3,)*5,(1,0,1,2,1))])
@pytest.mark.parametrize('dt', [.01,.1,.3])
def test_a_plane_wave_turns_as_fast_as_theory_says(shape, k, dt):
    k = 2*np.pi*np.array(k)/shape
    f = new_field(Torus(shape), 'complex128')
    f = f._replace(psi=np.exp(1j*np.tensordot(k, np.indices(shape), 1)))
    w = grid_omega(k, dt)
    for steps in (1,7,200): assert np.abs(propagate_field(f, steps, FREE, dt=dt).psi-f.psi*np.cos(w*dt*steps)).max()<1e-12


def test_the_golden_frequency(): assert abs(grid_omega([2*np.pi/16], .1)-.39020539888)<1e-11


@pytest.mark.parametrize('steps', [10,50,1000])
@pytest.mark.parametrize('r', [0.,.5])
def test_damping_is_exact(steps, r):
    f = new_field(Torus((4,6)), 'complex128')
    f = f._replace(velocity=np.ones((4,6), complex), r=np.float64(r))
    v = propagate_field(f, steps, Medium(damping=.1/(1-r)), dt=10/steps if steps>20 else .5).velocity
    assert np.abs(v-math.exp(-(10 if steps>20 else 5)/10)).max()<1e-12


@pytest.mark.parametrize('shape,stable,not_', [((3,)*9,.38,.39), ((4,)*6,.40,.41)])
def test_the_limit_of_a_step(shape, stable, not_):
    "Below it nothing grows, above it everything"
    f = new_field(Torus(shape), 'complex128')
    f = f._replace(psi=noise(np.random.default_rng(0), *shape))
    assert stable<step_limit(f)<not_
    size = lambda dt: np.abs(wave_steps_of(f, 120, dt)).max()
    assert size(stable)<1e3 and size(not_)>1e6


def wave_steps_of(f, steps, dt):
    "The kernel without the check of a step"
    u = np.zeros((2,1,2*f.psi.size))
    u[0,0] = f.psi.reshape(-1).view(float)
    v,one = np.zeros((1,u.shape[2])),np.ones(1)
    wave_steps(u, v, one, one, one[:0], np.array(f.torus.shape), np.zeros(0, np.int64), np.zeros((steps,1,0)), (dt,0.,0.), steps)
    return u[steps%2]


def test_the_limit_with_a_metric_and_slow_cells():
    rng = np.random.default_rng(1)
    f = a_field(rng, (6,5,4), metric='diagonal')
    most = step_limit(f, FREE)
    assert np.abs(propagate_field(f, 2000, FREE, dt=.99*most).psi).max()<1e3
    assert step_limit(f._replace(s=f.s+1))>most # larger s only relaxes it


def test_time_of_blow_up():
    "A uniform field with β = .1 and no saturation reaches infinity at √(2/β)·1.31103; `Medium` refuses it"
    f,n,dt = new_field(Torus((2,)), 'complex128')._replace(psi=np.ones(2, complex)),0,.001
    with np.errstate(all='ignore'):
        while np.isfinite(f.psi).all() and abs(f.psi[0])<1e4: f,n = wave_loop(f, 1, Medium(damping=0., kerr=.1), dt=dt),n+1
    assert abs(n*dt-5.863)<.005


X,Y,Z = np.indices((16,)*3)*2*np.pi/16
DRIFT = dict(flat=(0.,0.,(7.1e-3,1.8e-3,4.4e-4)), slow=(3.,0.,(1.3e-3,3.3e-4,8.2e-5)), defocusing=(0.,-.1,(8e-3,2.0e-3,5.1e-4)))

@pytest.mark.parametrize('name', DRIFT)
def test_undamped_drift_of_energy(name):
    "Over 100 units of time, two modes in 16³ cells: the largest error of energy, and that it falls by 4 with each half of a step"
    s,kerr,want = DRIFT[name]
    f,m = new_field(Torus((16,)*3), 'complex128'),Medium(damping=0., kerr=kerr)
    f = f._replace(psi=np.exp(1j*(X+2*Y))+.5*np.exp(2j*Z), s=np.random.default_rng(0).uniform(0, s, X.shape) if s else np.float64(0))
    start = field_energy(f, m)
    worst = []
    for dt in (.2,.1,.05): worst.append(np.abs(watch(f, round(100/dt), round(1/dt), m, dt=dt).energy/start-1).max())
    assert np.allclose(worst, want, rtol=.06), worst
    assert np.allclose(np.array(worst[:-1])/worst[1:], 4, rtol=.05)


def test_energy_of_every_kind_of_field_is_kept():
    rng = np.random.default_rng(2)
    for kind in ('identity','diagonal'):
        for m in (FREE, Medium(damping=0., kerr=-.2), Medium(damping=0., kerr=.2, saturation=.5)):
            f = a_field(rng, (5,4,1,2), metric=kind, batch=2)
            dt,start,scale = step_limit(f, m)/20,field_energy(f, m),field_energy(f, FREE) # with β > 0 it may be near zero
            e = [(np.abs(watch(f, n, 1, m, dt=h).energy-start)/scale).max() for n,h in ((400,dt),(800,dt/2))]
            assert (e[0]<5e-3 or m.kerr>0) and 3<e[0]/e[1]<5, (kind, m, e) # what focuses grows on the way


def test_damping_and_sources_change_energy_as_they_should():
    "dE/dt = −Σ α(1−r)|V|²/c² + Re Σ V̄·E/c²"
    rng = np.random.default_rng(3)
    f,m,dt = a_field(rng, (6,7)),Medium(damping=.3),1e-3
    at = np.argwhere(np.ones((6,7)))[:5]
    src = Sources(at, np.repeat(noise(rng, 1, 5), 2, 0))
    g = propagate_field(f, 1, m, src._replace(x=src.x[:1]), dt)
    a,b = field_energy(f, m),field_energy(propagate_field(g, 1, m, src._replace(x=src.x[1:]), dt), m)
    v,c2 = g.velocity,1/(1+g.s)**2
    want = -(.3*(1-g.r)*np.abs(v)**2/c2).sum()+(v.conj()[tuple(at.T)]*src.x[0]/c2[tuple(at.T)]).real.sum()
    assert abs((b-a)/(2*dt)-want)<1e-4*abs(want)


# Symmetries

@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_shift_by_any_vector_commutes_with_steps(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4).filter(lambda s: 1<np.prod(s)<400)))
    by = tuple(data.draw(st.integers(-9, 9)) for _ in shape)
    rng,axes = np.random.default_rng(data.draw(st.integers(0, 99))),tuple(range(-len(shape), 0))
    f = a_field(rng, shape, data.draw(st.sampled_from(['complex64','complex128'])))
    moved = f._replace(**{k:np.roll(getattr(f, k), by, axes) for k in ('psi','velocity','r','s')})
    m = Medium(kerr=data.draw(st.sampled_from([0.,-.3])))
    dt = min(.1, step_limit(f, m)/2) # a strong cubic term stiffens slow cells beyond what `auto` knows
    a,b = propagate_field(moved, 5, m, dt=dt),propagate_field(f, 5, m, dt=dt)
    assert np.array_equal(a.psi, np.roll(b.psi, by, axes)) and np.array_equal(a.velocity, np.roll(b.velocity, by, axes))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3).filter(lambda s: np.prod(s)>1), st.integers(0, 99))
def test_without_a_cubic_term_waves_add(shape, seed):
    rng,shape = np.random.default_rng(seed),tuple(shape)
    f,x = a_field(rng, shape),noise(rng, 2, 30, 2)
    g = f._replace(psi=noise(rng, *shape), velocity=noise(rng, *shape))
    at,dt = np.zeros((2,len(shape)), int),step_limit(f)/2
    run = lambda h, x: propagate_field(h, 30, Medium(), Sources(at, x), dt).psi
    both = f._replace(psi=f.psi+g.psi, velocity=f.velocity+g.velocity)
    assert np.abs(run(both, x[0]+x[1])-run(f, x[0])-run(g, x[1])).max()<1e-11


def test_with_one_they_do_not():
    f = a_field(np.random.default_rng(4), (8,8))
    run = lambda h: propagate_field(h, 30, Medium(kerr=-.5), dt=.1).psi
    assert np.abs(run(f._replace(psi=2*f.psi, velocity=2*f.velocity))-2*run(f)).max()>.1


# The kernel is the loop

def both(f, steps, m, src=None, dt=.05, **kw):
    want = wave_loop(f, steps, m, src, dt)
    for threads in (1,2,3,4): assert same(propagate_field(f, steps, m, src, dt, threads=threads), want), (f.torus, threads, kw)


def sources(rng, shape, steps, batch=0):
    at = np.stack([rng.integers(0, n, 4) for n in shape], 1)
    return Sources(at, noise(rng, *((steps,batch,4) if batch else (steps,4))))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_kernel_is_the_loop_bit_for_bit(data):
    "Any rank and sizes of 1 to 5, both precisions, every column given or not, batches, sources, and any number of threads"
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=9))
    while np.prod(sizes)>1500: sizes[int(np.argmax(sizes))] -= 1
    if max(sizes)==1: sizes[0] = 2
    rng,shape = np.random.default_rng(data.draw(st.integers(0, 10**6))),tuple(sizes)
    pick = lambda *v: data.draw(st.sampled_from(v))
    batch,steps = pick(0,1,3),pick(1,2,3)
    f = a_field(rng, shape, pick('complex64','complex128'), batch, pick('identity','diagonal','full'), pick(True,False), pick(True,False))
    m = Medium(pick(1.,.7), pick(0.,.4), *pick((0.,0.),(-.3,0.),(.3,.2),(-.3,.2)))
    both(f, steps, m, pick(None, sources(rng, shape, steps, pick(0,batch))), min(.05, step_limit(f, m)/2))


@pytest.mark.parametrize('shape', [(5000,), (2049,), (3,2500), (2100,2), (2,3,1100), (64,64), (1,4096), (7,1,2048)])
@pytest.mark.parametrize('kind', ['complex64','complex128'])
def test_long_lines_that_are_cut_into_pieces(shape, kind):
    rng = np.random.default_rng(5)
    both(a_field(rng, shape, kind), 3, Medium(kerr=-.2), sources(rng, shape, 3))
    both(a_field(rng, shape, kind, metric='diagonal', r=False, s=False), 2, Medium())


def test_large_sheets_in_sweeps_of_several_steps():
    rng = np.random.default_rng(6)
    f = a_field(rng, (513,1100), 'complex64')
    assert f.psi.nbytes>2**22
    both(f, 9, Medium(kerr=-.2), sources(rng, f.torus.shape, 9))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(1, 12), st.integers(1, 16), st.integers(1, 4), st.sampled_from([np.float32,np.float64]))
def test_sweeps_are_steps(rows, columns, steps, depth, threads, real):
    rng,M = np.random.default_rng(rows),2*rows*columns
    x,v = rng.normal(size=(2,2,M)).astype(real)
    u,w = np.zeros((2,2,M), real),v.copy()
    u[0] = x
    rest = rng.uniform(.05, .2, M).astype(real),rng.uniform(.9, 1, M).astype(real)
    cells,src = np.array([1,rows*columns-1]),rng.normal(size=(steps,2,4)).astype(real)
    wave_steps(u, w, *rest, rest[0][:0], np.array([rows,columns]), cells, src, (.1,-.2,0.), steps)
    one = x[None].copy()
    wave_sweeps(one, v, *rest, np.array([rows,columns]), cells, src, (.1,-.2,0.), steps, threads, depth)
    assert np.array_equal(one[0], u[steps%2]) and np.array_equal(v, w)


def test_pieces_of_a_run_are_the_run():
    rng = np.random.default_rng(7)
    f,src = a_field(rng, (6,9)),sources(rng, (6,9), 130)
    want = propagate_field(f, 130, Medium(), src)
    for n in (1,64,65,129):
        a = propagate_field(f, n, Medium(), src._replace(x=src.x[:n]))
        assert same(propagate_field(a, 130-n, Medium(), src._replace(x=src.x[n:])), want)
    assert same(watch(f, 130, 7, Medium(), src).field, want)
    assert same(propagate_field(f, 0), f)


# What is refused

F = new_field(Torus((8,8)), 'complex128')
def put(a, at, v): a = np.array(a); a[at] = v; return a
SRC = lambda **kw: Sources(**dict(cells=np.array([[0,0]]), x=np.ones((4,1)))|kw)
BAD = {
    'dt of zero': (dict(dt=0.), '`dt`'), 'dt below zero': (dict(dt=-.1), '`dt`'), 'dt at the limit': (dict(dt=step_limit(F)), '`dt`.*below 0.707107'),
    'dt above it': (dict(dt=3.), '`dt`.*below 0.707107'), 'dt in words': (dict(dt='fast'), '`dt`'),
    'NaN in ψ': (dict(field=F._replace(psi=put(F.psi, (1,2), np.nan))), r'`psi`.*\[1, 2\]'), 'infinite velocity': (dict(field=F._replace(velocity=put(F.velocity, (0,0), np.inf))), '`velocity`'),
    's below zero': (dict(field=F._replace(s=np.float32(-.1))), '`s`'), 's below zero in a cell': (dict(field=F._replace(s=put(np.zeros((8,8)), (3,3), -1))), '`s`'), 'NaN in s': (dict(field=F._replace(s=np.float64(np.nan))), '`s`'),
    'r above one': (dict(field=F._replace(r=np.float32(1.5))), '`r`'), 'β above zero, unsaturated': (dict(medium=Medium(kerr=.1)), '`kerr`.*saturation'),
    'NaN in a source': (dict(sources=SRC(x=np.full((4,1), np.nan))), '`x`'), 'a source outside': (dict(sources=SRC(cells=np.array([[8,0]]))), r'`cells`.*inside.*\[8, 0\]'),
    'a source before the grid': (dict(sources=SRC(cells=np.array([[0,-1]]))), '`cells`'), 'too few values': (dict(sources=SRC(x=np.ones((3,1)))), '`x`'),
    'a metric of zero': (dict(field=F._replace(metric=np.zeros((2,8,8)))), 'metric'), 'a metric off its diagonal': (dict(field=F._replace(metric=np.ones((3,8,8)))), '`metric`.*diagonal'),
    'a wrong shape': (dict(field=F._replace(velocity=np.zeros((8,7), complex))), '`velocity`'), 'steps below zero': (dict(steps=-1), '`?steps'), 'no threads': (dict(threads=0), '`?threads')}
PLACELESS = 'steps below zero','no threads','a metric of zero' # an argument itself is their place

@pytest.mark.parametrize('name', BAD)
def test_bad_input_is_one_error(name):
    "What, where, what was expected and what was found"
    bad,said = BAD[name]
    with pytest.raises(CheckError, match=said) as e: propagate_field(**dict(field=F, steps=4)|bad)
    assert ': expected ' in str(e.value) and ', found ' in str(e.value) and '\n' not in str(e.value)
    if name not in PLACELESS: assert str(e.value).index('`')>0, e.value


def test_a_field_that_breaks_says_where_and_when():
    strong = F._replace(psi=put(F.psi, (3,5), 30.))
    with pytest.raises(CheckError, match=r'step \d+: (ψ|velocity): expected finite amplitudes, found .* in cell \[\d, \d\], after up to '): propagate_field(strong, 400, Medium(kerr=-10.))


def test_a_field_too_large_says_its_bytes():
    with pytest.raises(CheckError, match=r'Torus\(\[64, .*at most 4,294,967,296 bytes, found \d'): new_field(Torus((64,)*9))


def test_tones_go_on():
    a,b = tones(F.torus, [[1,1]], [.7], 10, .1),tones(F.torus, [[1,1]], [.7], 4, .1, 6)
    assert np.array_equal(a.x[6:], b.x)


# Files

def test_files_are_whole_and_true_or_refused(tmp_path):
    rng = np.random.default_rng(8)
    for metric,batch,kind in (('identity',0,'complex64'), ('diagonal',2,'complex128'), ('full',0,'complex64')):
        f = a_field(rng, (4,3), kind, batch, metric)
        save_field(tmp_path/'a', f)
        g = load_field(tmp_path/'a')
        assert same(f, g) and g.torus==f.torus and all(np.array_equal(getattr(f, k), getattr(g, k)) for k in ('r','s','metric'))
    data,bad = (tmp_path/'a').read_bytes(),tmp_path/'bad'
    wrong = [data[:n] for n in (0,7,len(data)//2,len(data)-1)]+[data+b'x', data.replace(b'ersion\\":1', b'ersion\\":2'), data.replace(b'quarantion.field', b'quarantion.fjeld'), data.replace(b'[4,3]', b'[3,4]'), data.replace(b'[4,3]', b'[2,6]')]
    for i in rng.integers(0, len(data), 60): wrong.append(data[:i]+bytes([data[i]^(1<<int(rng.integers(8)))])+data[i+1:])
    for w in wrong:
        assert w!=data
        bad.write_bytes(w)
        with pytest.raises(CheckError, match='bad: ') as e: load_field(bad)
        assert '\n' not in str(e.value)
    with pytest.raises((CheckError,FileNotFoundError)): load_field(tmp_path/'none')
