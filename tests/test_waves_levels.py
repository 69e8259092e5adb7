"Waves in few levels: sums, products and chords of nits; fields on levels; whole numbers equal to a loop over cells in Python's own"
import itertools
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.nonary.arithmetic import add, add_carry, product_gate, span
from quarantion.nonary.companding import encode_complex
from quarantion.nonary.nits import ROUNDINGS, quantize_nits
from quarantion.waves.energy import field_energy
from quarantion.waves.law import Medium, Sources
from quarantion.waves.levels import Levels, digit_planes, load_levels, nit_view, propagate_levels, save_levels, to_levels
from quarantion.waves.mix import CHORD, add_waves, add_waves_carry, chord, hear_chord, heterodyne
from quarantion.waves.planes import digits_for, pack_numbers, unpack_numbers
from quarantion.waves.propagate import propagate_field
from quarantion.waves.torus import Torus, new_field
from quarantion.waves.whole import from_whole, load_whole, propagate_whole, save_whole, to_whole, whole_bound, whole_loop

NITS = np.arange(-4, 5)
A,B = np.meshgrid(NITS, NITS)
BIG = st.complex_numbers(max_magnitude=1e6, allow_nan=False, allow_infinity=False)


def same(a, b):
    for x,y in ((a.psi,b.psi),(a.velocity,b.velocity)):
        assert x.dtype==y.dtype and x.shape==y.shape and x.tobytes()==y.tobytes()


# Mixing

def test_sums_of_nits_are_those_of_digits():
    for mode in ('saturate','wrap'): assert np.array_equal(encode_complex(add_waves(A, B, overflow=mode)), add(A, B, 1, mode))
    for got,want in zip(add_waves_carry(A, B), add_carry(A, B, 1)): assert np.array_equal(got, want)
    for a,b in itertools.product(NITS, NITS):
        if abs(a+b)>4:
            with pytest.raises(CheckError, match='the sum: expected amplitudes of at most 4.5, found 1 of 1'): add_waves(a, b, overflow='raise')
        else: assert add_waves(a, b, overflow='raise')==a+b

@settings(max_examples=200, deadline=None)
@given(BIG, BIG, st.integers(1, 6))
def test_a_carry_loses_nothing(a, b, D):
    low,carry = add_waves_carry(a, b, D)
    assert low+9**D*carry==a+b
    assert max(abs(low.real), abs(low.imag))<=9**D/2*(1+1e-12) and carry==np.rint(carry.real)+1j*np.rint(carry.imag)
    assert add_waves(a, b, D, 'wrap')==low
    kept = add_waves(a, b, D)
    assert abs(kept)<=9**D/2*(1+1e-12) and (abs(a+b)>9**D/2 or kept==a+b)

def test_products_of_nits():
    right = product_gate(A, B)
    assert np.array_equal(encode_complex(heterodyne(A, B)), right)
    for chi in (.01,.1,.37,5.): assert np.array_equal(encode_complex(heterodyne(A, B, chi=chi, gain=1/(2*chi))), right)
    assert (encode_complex(heterodyne(A, B, gain=1.))!=right).sum()==64

@settings(max_examples=100, deadline=None)
@given(BIG, BIG, st.floats(-50, 50), st.floats(-9, 9), st.floats(-9, 9))
def test_both_sidebands(a, b, t, wa, wb):
    def turned(f, p): return abs(a)*abs(b)*np.exp(1j*(f*t+p))
    want = .1*(turned(wa+wb, np.angle(a)+np.angle(b))+turned(wa-wb, np.angle(a)-np.angle(b)))
    got = heterodyne(a, b, t, (wa,wb), gain=1.)
    assert np.isclose(got, want, rtol=1e-9, atol=1e-9*(1+abs(a)*abs(b)))
    product = (a*np.exp(1j*wa*t)).real*(b*np.exp(1j*wb*t)).real
    assert np.isclose(heterodyne(a, b, t, (wa,wb)).real, product, rtol=1e-9, atol=1e-9*(1+abs(a)*abs(b)))

def noisy(window, n=64, noise=.05, seed=0):
    rng = np.random.default_rng(seed)
    q,t = rng.integers(-4, 5, (200,9)),np.arange(n)*window/n
    return q,t,chord(q, t)+noise*(rng.normal(size=(200,n))+1j*rng.normal(size=(200,n)))

def test_chords_by_window():
    for window,condition in ((2.56,4.6),(5.12,1.4)):
        q,t,c = noisy(window)
        heard = hear_chord(c, t)
        assert np.array_equal(heard.nits, q) and heard.nits.dtype==np.int8
        assert abs(heard.condition-condition)<.05 and heard.rest.max()<.1
    q,t,c = noisy(.64)
    with pytest.raises(CheckError, match='hear_chord: `t`: expected a window whose condition number is at most 100, found 3.8e'): hear_chord(c, t)
    assert (hear_chord(c, t, most=1e4).nits!=q).mean()>.3
    q,t,c = noisy(.64, noise=0)
    assert np.array_equal(hear_chord(c, t, most=1e4).nits, q)

@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=9, max_size=9), st.integers(9, 90), st.integers(0, 2**32-1))
def test_any_chord_comes_back(q, n, seed):
    rng = np.random.default_rng(seed)
    t,phase = np.sort(rng.uniform(0, 30, n)),rng.uniform(-3, 3, 9)
    try: heard = hear_chord(chord(q, t, CHORD, phase), t, CHORD, phase, 1e6)
    except CheckError as e: assert 'condition number' in str(e) # two times may be one
    else: assert heard.nits.tolist()==q and heard.condition>=1

@pytest.mark.parametrize('bad', [dict(c=np.ones(5)), dict(t=np.arange(8.)), dict(omega=[]), dict(phase=[1.,2.]), dict(most=.5), dict(c=np.full(20, np.nan))])
def test_chords_that_are_refused(bad):
    with pytest.raises(CheckError): hear_chord(**dict(c=np.ones(20, complex), t=.04*np.arange(20))|bad)


# Planes

@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-span(20), span(20)), max_size=23), st.integers(0, 3))
def test_planes_come_back(x, more):
    x = np.array(x, np.int64)
    D = digits_for(x)
    assert D==1 or np.abs(x).max()>span(D-1)
    D = min(20, D+more)
    words = pack_numbers(x, D)
    assert words.dtype==np.uint16 and len(words)==-(-D*len(x)//5) and np.array_equal(unpack_numbers(words, D, x.shape), x)


# Levels

def field_of(shape, dtype, batch, rng, size=1.):
    f = new_field(Torus(shape), dtype, batch=batch)
    draw = lambda: (size*(rng.normal(size=f.psi.shape)+1j*rng.normal(size=f.psi.shape))).astype(dtype)
    return f._replace(psi=draw(), velocity=draw(), r=rng.random(shape).astype('f4'), s=rng.random(shape).astype('f4'))

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=9).filter(lambda s: 2<=np.prod(s)<=160).map(tuple)

@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(['complex64','complex128']), st.integers(0, 2), st.integers(1, 4), st.sampled_from(ROUNDINGS), st.sampled_from(['saturate','wrap']),
       st.booleans(), st.integers(0, 2**32-1))
def test_levels_are_a_step_and_a_rounding(shape, dtype, batch, D, rounding, overflow, fast, seed):
    rng = np.random.default_rng(seed)
    f,levels = field_of(shape, dtype, batch, rng),Levels(rng.uniform(.01, .5), D, rounding, overflow, fast*rng.uniform(.1, 1))
    src = Sources(rng.integers(0, shape, (2,len(shape))), rng.normal(size=(4,2)))
    want = to_levels(f, levels)
    same(to_levels(want, levels), want)
    for t in range(4): want = to_levels(propagate_field(want, 1, Medium(kerr=-.3), src._replace(x=src.x[t:t+1]), dt=.2), levels)
    got = propagate_levels(f, 4, levels, Medium(kerr=-.3), src, .2, threads=1+seed%4)
    same(got, want)
    planes = digit_planes(got, levels)
    assert planes.shape==(D,*got.psi.shape,2) and np.abs(planes).max(initial=0)<=4
    worth = np.tensordot(9**np.arange(D), planes, 1)
    assert np.array_equal(worth[...,0].astype(got.psi.real.dtype)*got.psi.real.dtype.type(levels.scale), got.psi.real)

@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.floats(.01, 10), st.sampled_from(ROUNDINGS))
def test_one_digit_is_a_nit(x, scale, rounding):
    f = new_field(Torus((len(x),)), 'complex128')._replace(psi=np.array(x)*(1-1j))
    got = to_levels(f, Levels(scale, 1, rounding))
    assert np.array_equal(digit_planes(got, Levels(scale, 1, rounding))[0,:,0], quantize_nits(np.array(x), scale, rounding))
    assert np.array_equal(nit_view(f, scale), encode_complex(f.psi, scale)) and nit_view(f, scale).dtype==np.int8
    for mode in ('wrap',):
        n = digit_planes(to_levels(f, Levels(scale, 1, rounding, mode)), Levels(scale, 1, rounding, mode))[0,:,0].astype(int)
        q = np.rint(np.array(x)/scale) if rounding=='half_even' else None
        assert q is None or not ((n-q)%9).any()

def test_more_digits_are_more_exact():
    x = np.arange(48)-24
    f = new_field(Torus((48,48)), 'complex128')._replace(psi=np.exp(-(x[:,None]**2+x**2)/40)+0j)
    ref = propagate_field(f, 60, Medium(damping=0.))
    errors = [np.linalg.norm(propagate_levels(f, 60, Levels(1.2/span(D), D), Medium(damping=0.)).psi-ref.psi)/np.linalg.norm(ref.psi) for D in range(1, 7)]
    assert all(a>3*b for a,b in zip(errors, errors[1:])) and errors[-1]<1e-4
    assert field_energy(propagate_levels(f, 60, Levels(.3), Medium(damping=0.)))>2*field_energy(f)

def test_an_overflow_names_step_and_cell():
    f = new_field(Torus((5,4)), 'complex64')
    f.velocity[3,2] = 2
    with pytest.raises(CheckError, match='step 0: ψ: expected numbers within 4, found 6 in cell 14'):
        propagate_levels(f, 5, Levels(.1, overflow='raise'), Medium(damping=0., speed=.01), dt=.3)
    assert propagate_levels(f, 5, Levels(.1), Medium(damping=0., speed=.01), dt=.3).psi[3,2]==np.float32(.1)*4

@settings(max_examples=40, deadline=None)
@given(SHAPES, st.sampled_from(['complex64','complex128']), st.integers(0, 2), st.integers(1, 7), st.booleans(), st.integers(0, 2**32-1))
def test_files_of_levels(tmp_path_factory, shape, dtype, batch, D, fast, seed):
    rng = np.random.default_rng(seed)
    levels = Levels(float(rng.uniform(.01, .5)), D, velocity=fast*.3)
    f = to_levels(field_of(shape, dtype, batch, rng), levels)
    save_levels(p := tmp_path_factory.mktemp('levels')/'f.safetensors', f, levels)
    back,read = load_levels(p)
    same(back, f)
    assert read==levels and back.torus==f.torus and all(np.array_equal(a, b) for a,b in zip(back[3:], f[3:]))

@pytest.mark.parametrize('kind', ['levels','whole'])
def test_broken_files(tmp_path, kind):
    rng,p = np.random.default_rng(0),tmp_path/'f.safetensors'
    f = field_of((4,3), 'complex64', 0, rng)
    if kind=='levels': save_levels(p, to_levels(f, Levels(.1, 2, velocity=.1)), Levels(.1, 2, velocity=.1))
    else: save_whole(p, to_whole(f, .01))
    read,data = (load_levels if kind=='levels' else load_whole),p.read_bytes()
    read(p)
    swapped = [data.replace(a, b, 1) for a,b in ((b'\\"version\\":1',b'\\"version\\":2'), (b'quarantion.'+kind.encode(),b'quarantion.wave..'[:11+len(kind)]), (b'[4,3]',b'[3,4]'), (b'[4,3]',b'[4,9]'), (b'\\"batch\\":null',b'\\"batch\\":1234'))]
    flipped = [data[:i]+bytes([data[i]^16])+data[i+1:] for i in range(0, len(data), 13)]
    for bad in (b'',data[:100],data[:-2],data+b'00',*swapped,*flipped):
        assert bad!=data
        p.write_bytes(bad)
        with pytest.raises(CheckError, match='f.safetensors'): read(p)

def test_fields_that_are_not_on_levels_are_refused(tmp_path):
    f = new_field(Torus((4,)), 'complex128')
    for psi in ([.1,.25,0,0],[.5,0,0,0],[0,0,0,-0.j]):
        with pytest.raises(CheckError, match='`psi`: expected multiples of 0.1 of 1 digits'): save_levels(tmp_path/'f', f._replace(psi=np.array(psi, complex)), Levels(.1))
    assert not list(tmp_path.iterdir())


# Whole numbers

def by_hand(shape, u, w, kick, decay, guard, top, wrap, src, steps):
    "The contract for one field, cell by cell, in Python's whole numbers: `u[cell][part]`; every number fits into 32 bits"
    cells = list(itertools.product(*map(range, shape)))
    at = {c:i for i,c in enumerate(cells)}
    near = [[at[c[:d]+((c[d]+s)%n,)+c[d+1:]] for d,n in enumerate(shape) if n>1 for s in (1,-1)] for c in cells]
    def fits(x):
        assert -2**31<x<2**31
        return x
    def part(x, m): return fits((fits(x)*m+2**15)>>16)
    def clip(x): return max(-top*2**guard, min(top*2**guard, x)) if top else x
    def turned(x):
        if not top: return x
        return (x+top)%(2*top+1)-top if wrap else max(-top, min(top, x))
    def kicks(p): return [part(fits((fits(sum(u[j][p] for j in near[i]))-len(near[i])*u[i][p])*2**guard), kick[i]) for i in range(len(cells))]
    for t in range(steps):
        for p in (0,1):
            first = kicks(p)
            for i in range(len(cells)): w[i][p] = clip(fits(part(w[i][p], decay[i])+first[i]+src[t].get((i,p), 0)))
            for i in range(len(cells)): u[i][p] = fits(turned(u[i][p]+((w[i][p]+(2**guard>>1))>>guard)))
            second = kicks(p)
            for i in range(len(cells)): w[i][p] = part(clip(fits(w[i][p]+second[i]+src[t].get((i,p), 0))), decay[i])
    return u,w

def few_and_many(few, many, *draws):
    "A property with few examples, and with many in `make soak`"
    def of(f):
        short,long = (settings(max_examples=n, deadline=None)(given(*draws)(f)) for n in (few,many))
        return short,pytest.mark.soak(long)
    return of

@few_and_many(80, 1500, SHAPES, st.integers(0, 3), st.integers(0, 16), st.sampled_from([0,0,4,40,90]), st.booleans(), st.booleans(), st.integers(1, 6), st.integers(0, 2**32-1))
def every_node(shape, batch, guard, top, wrap, same_for_all, steps, seed):
    rng = np.random.default_rng(seed)
    f = field_of(shape, 'complex128', batch, rng, .2)
    if same_for_all: f = f._replace(r=np.float32(.25), s=np.float32(.5))
    reach = np.abs(np.stack([f.psi.real,f.psi.imag,f.velocity.real,f.velocity.imag])).max()
    unit = reach/(top or 50)*1.5
    w = to_whole(f, unit, Medium(damping=.3), guard=guard, top=top, overflow='wrap' if wrap else 'saturate')
    at = rng.integers(0, shape, (3,len(shape)))
    src = Sources(at, unit*rng.normal(size=(steps,3)) if not batch else unit*rng.normal(size=(steps,batch,3)))
    end = propagate_whole(w, steps, src, threads=1+seed%4)
    same(end, whole_loop(w, steps, src))
    flat = np.ravel_multi_index(at.T, shape)
    each = lambda m: (m.tolist()*w.torus.size)[:w.torus.size]
    force = w.dt**2/2*2**guard/unit
    for b in range(max(1, batch)):
        rows = [a.reshape(-1, w.torus.size, 2)[b] for a in (w.psi,w.velocity,end.psi,end.velocity)]
        x,given_ = (src.x[:,b] if batch else src.x)+0j,[{} for _ in range(steps)]
        for t in range(steps):
            total = {}
            for i,z in zip(flat.tolist(), x[t]): total[i] = total.get(i, 0)+z
            for i,z in total.items(): given_[t][i,0],given_[t][i,1] = int(np.rint(z.real*force)),int(np.rint(z.imag*force))
        u,v = by_hand(shape, rows[0].tolist(), rows[1].tolist(), each(w.kick), each(w.decay), guard, top, wrap, given_, steps)
        assert rows[2].tolist()==u and rows[3].tolist()==v

test_every_node_is_that_of_a_loop_in_python,test_many_nodes_are_those_of_a_loop_in_python = every_node

@pytest.mark.parametrize('shape', [(3000,), (70,90), (2100,2), (12,15,17), (4,)*6])
def test_blocks_and_threads_change_nothing(shape):
    rng = np.random.default_rng(0)
    w = to_whole(field_of(shape, 'complex128', 2, rng), .01, guard=4)
    src = Sources(rng.integers(0, shape, (40,len(shape))), rng.normal(size=(7,2,40)))
    want = whole_loop(w, 7, src)
    for threads in (1,2,3,4,16): same(propagate_whole(w, 7, src, threads), want)

@few_and_many(40, 600, SHAPES, st.integers(0, 12), st.booleans(), st.sampled_from(['random','checks','pulse','still']), st.integers(1, 60), st.integers(0, 2**32-1))
def bounded(shape, guard, same_for_all, kind, steps, seed):
    "Also for the fastest wave of a grid, a single cell, sources that always push, and the longest step"
    rng = np.random.default_rng(seed)
    f = field_of(shape, 'complex128', 0, rng)
    signs = (-1.)**np.indices(shape).sum(0)
    if kind!='random': f = f._replace(psi=dict(checks=signs, pulse=1.*(np.arange(f.psi.size)==0).reshape(shape), still=0*signs)[kind]+0j, velocity=(kind=='checks')*signs+0j)
    if same_for_all: f = f._replace(r=np.float32(0), s=np.float32(0))
    w = to_whole(f, 1/rng.integers(3, 300), Medium(damping=0.), guard=guard)
    most = min(65535, int(.98*2**17/sum(4 for n in shape if n>1)))
    if kind!='random': w = w._replace(kick=np.full_like(w.kick, most))
    src = Sources(np.zeros((1,len(shape)), int), np.ones((steps,1))*3*w.unit*(kind=='still'))
    far,seen = whole_bound(w, steps, src),w
    for t in range(steps):
        seen = whole_loop(seen, 1, src._replace(x=src.x[:1]))
        assert np.abs(seen.psi).max()<=far.psi and np.abs(seen.velocity).max()<=far.velocity
        bent = sum(np.roll(seen.psi.astype(int), s, d)-seen.psi for d,n in enumerate(shape) if n>1 for s in (1,-1))
        assert np.abs(bent).max()*2**guard<=far.bent

test_nothing_goes_beyond_its_bound,test_nothing_of_many_goes_beyond_its_bound = bounded

def test_what_may_not_fit_is_refused_before_it_runs():
    rng = np.random.default_rng(0)
    f = field_of((16,16), 'complex128', 0, rng)._replace(s=np.float32(0), r=np.float32(0))
    for unit,steps in ((1e-6,1),(1e-4,10**7)):
        with pytest.raises(CheckError, match=f'{steps} steps: `.*`: expected values below 2\\^31'): propagate_whole(to_whole(f, unit), steps)
    propagate_whole(to_whole(f, 1e-4), 1000)
    propagate_whole(to_whole(f, .1, top=60, overflow='wrap'), 10**4) # with a top there is no end
    w = to_whole(f, .01)
    with pytest.raises(CheckError, match='`kick`: expected below 0.25, which limits a step'): propagate_whole(w._replace(kick=np.int32([16500])), 1)

@pytest.mark.parametrize('bad', [dict(medium=Medium(kerr=-1.)), dict(unit=0.), dict(unit=np.nan), dict(dt=0.), dict(dt=.8), dict(guard=17), dict(guard=-1), dict(top=-1), dict(top=3), dict(overflow='raise'),
                                 dict(field=new_field(Torus((4,4)), metric='diagonal')._replace(metric=np.full((2,4,4), 2.))), dict(field=new_field(Torus((1,))))])
def test_what_has_no_whole_form_is_refused(bad):
    f = new_field(Torus((4,4)), 'complex128')
    f.psi[0,0] = 1
    with pytest.raises(CheckError): to_whole(**dict(field=f, unit=.1)|bad)

@settings(max_examples=30, deadline=None)
@given(SHAPES, st.integers(0, 2), st.integers(0, 2**32-1))
def test_files_of_whole_numbers(tmp_path_factory, shape, batch, seed):
    rng = np.random.default_rng(seed)
    w = to_whole(field_of(shape, 'complex128', batch, rng), rng.uniform(1e-6, 1), guard=int(rng.integers(0, 9)))
    save_whole(p := tmp_path_factory.mktemp('whole')/'f.safetensors', w)
    back = load_whole(p)
    same(back, w)
    assert back.torus==w.torus and np.array_equal(back.kick, w.kick) and np.array_equal(back.decay, w.decay) and back[5:]==w[5:]

@settings(max_examples=30, deadline=None)
@given(SHAPES, st.integers(0, 2**32-1), st.data())
def test_moved_fields_stay_moved(shape, seed, data):
    rng,axes = np.random.default_rng(seed),tuple(range(len(shape)))
    by = tuple(data.draw(st.integers(-9, 9)) for _ in shape)
    f = field_of(shape, 'complex128', 0, rng)._replace(r=np.float32(.5), s=np.float32(0))
    go = lambda g: g._replace(psi=np.roll(g.psi, by, axes), velocity=np.roll(g.velocity, by, axes))
    for run in (lambda g: propagate_levels(g, 5, Levels(.3, 2)), lambda g: from_whole(propagate_whole(to_whole(g, .01), 5))): same(run(go(f)), go(run(f)))

def test_whole_numbers_come_near_the_float_field():
    "An error of a unit in each step, at most, as long as the mean does not drift"
    x = np.arange(48)-24
    f = new_field(Torus((48,48)), 'complex128')._replace(psi=np.exp(-(x[:,None]**2+x**2)/40)+0j)
    for unit in (1e-2,1e-3,1e-4):
        w = to_whole(f, unit, Medium(damping=.05), dt=.3)
        assert np.abs(from_whole(propagate_whole(w, 100)).psi-propagate_field(f, 100, Medium(damping=.05), dt=.3).psi).max()<20*unit+1e-3
