"Traps raise s smoothly, for as long as they should, and hold a wave back; the order of a step; an echo stays bounded"
import itertools
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.waves import traps as page
from quarantion.waves.echo import Echoing, echo_of, echo_weights, mix_echo, new_echo, remember
from quarantion.waves.law import Medium, Sources, step_limit
from quarantion.waves.propagate import propagate_field, watch
from quarantion.waves.rows import propagate_sparse
from quarantion.waves.sparse import from_field, to_field
from quarantion.waves.torus import Torus, new_field
from quarantion.waves.traps import Trapping, Traps, add_traps, bounded, fade, lifetime, peaks, propagate_trapped, release, slow, target_of, toward
from test_waves import FREE, a_field, noise, same

IMPORTANCE = np.array([1,.8,.5,.3,.1])
STEPS = [230717,175718,98190,51357,11743]


def test_how_long_traps_last():
    "As theory says, and step by step"
    assert lifetime(IMPORTANCE).tolist()==STEPS
    strength,loss,gone = 100*IMPORTANCE,1/(50000*IMPORTANCE+100),np.zeros(5, int)
    for n in range(1, 230718):
        strength = strength*(1-loss)
        if n in STEPS or n+1 in STEPS: gone[(strength<1)&(gone==0)] = n
    assert gone.tolist()==STEPS


def test_fade_drops_a_trap_in_its_step():
    t = add_traps(Torus((8,)), [[1],[4]], [.1,1.])
    t = t._replace(strength=t.strength*(1-t.loss)**(STEPS[4]-1))
    assert len(t.cells)==2 and fade(t).cells.tolist()==[[4]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 9999), st.floats(.05, 1), st.floats(0, 5))
def test_s_goes_its_share_of_the_way_and_never_further(shape, seed, rate, base):
    "Monotone, no jump beyond κ·Δ, and back to its base when nothing is left"
    rng = np.random.default_rng(seed)
    torus,how = Torus(tuple(shape)),Trapping(base=base, rate=rate, radius=2.)
    f = new_field(torus)._replace(s=(20*rng.random(torus.shape)).astype('f4'))
    t = add_traps(torus, np.stack([rng.integers(0, n, 3) for n in torus.shape], 1), rng.random(3)+.01)
    for traps in (t, Traps(torus, *(v[:0] for v in t[1:]))):
        want = target_of(traps, how)
        assert (want>=base).all() and want.max()<=max(base, *t.strength)
        for _ in range(5):
            s = f.s
            f = slow(f, traps, how)
            assert (np.abs(f.s-s)<=rate*np.abs(want-s)*(1+1e-5)+1e-5).all()
            assert ((f.s-s)*(want-s)>=-1e-9).all() and ((want-f.s)*(want-s)>=-1e-5*(1+want)).all()
    for _ in range(int(20/rate)): f = slow(f, traps, how)
    assert np.abs(f.s-base).max()<1e-4


def test_a_hundred_steps_at_a_target_of_100():
    f,t = new_field(Torus((9,9))),Traps(Torus((9,9)), np.array([[4,4]]), np.array([100.]), np.zeros(1))
    for _ in range(100): f = slow(f, t)
    assert abs(f.s[4,4]-100)<1e-3 and f.s[4,8]<.1 and f.s[0,0]==0


@pytest.mark.parametrize('shape', [(30,), (3,17), (9,8,7), (5,1,2,6), (3,)*5])
@pytest.mark.parametrize('radius', [0.,1.,3.,4.5])
def test_a_field_and_a_tree_and_a_loop_are_asked_the_same(shape, radius):
    rng,torus,how = np.random.default_rng(0),Torus(shape),Trapping(.2, radius=radius, width=1.5)
    t = add_traps(torus, np.stack([rng.integers(0, n, 7) for n in shape], 1), rng.random(7)+.01)
    cells = np.argwhere(np.ones(shape))
    gap = np.abs(cells[:,None]-t.cells)
    d2 = (np.minimum(gap, np.array(shape)-gap)**2).sum(-1)
    want = np.maximum(.2, np.where(d2<=radius**2, t.strength*np.exp(-d2/1.5**2), 0).max(1))
    assert np.allclose(target_of(t, how).ravel(), want, rtol=1e-12) and np.allclose(target_of(t, how, cells), want, rtol=1e-12)
    near = rng.integers(0, shape, (2,len(shape)))
    gap = np.abs(t.cells[:,None]-near)
    d2 = (np.minimum(gap, np.array(shape)-gap)**2).sum(-1).min(1)
    assert np.array_equal(release(t, near, radius).cells, t.cells[d2>radius**2])


def test_many_traps_and_cells_of_a_large_torus():
    rng,big = np.random.default_rng(1),Torus((127,)*9)
    cells = rng.integers(0, 127, (3000,9))
    t = add_traps(big, cells[:1000], .5)
    got = target_of(t, Trapping(), cells)
    assert (got[:1000]==50).all() and (got[1000:]==0).all()


def test_traps_of_a_table_are_those_of_its_torus():
    f = a_field(np.random.default_rng(8), (7,8), s=False)
    t,cells = add_traps(f.torus, [[1,1],[6,0]], [.5,.2]),from_field(f._replace(s=np.zeros((7,8), 'f4')))
    dt,held = step_limit(f._replace(s=np.float64(0)))/2,t
    for _ in range(10):
        held = fade(held)
        cells.s[:] = toward(cells.s, target_of(held, cells=cells.cells))
        propagate_sparse(cells, 1, dt=dt)
    got = propagate_trapped(f._replace(s=np.zeros((7,8), 'f4')), t, 10, dt=dt)
    assert same(to_field(cells), got.field) and np.array_equal(to_field(cells).s, got.field.s)


def arrival(s, dt=.5):
    "When the top of a pulse that starts in cell 200 comes to cell 800"
    x,n = np.arange(1024),1024
    pulse = np.exp(-((x-200)/20)**2)
    f = new_field(Torus((n,)), 'complex128')._replace(psi=pulse+0j, velocity=2*(x-200)/400*pulse+0j, s=s)
    seen = watch(f, int(900/dt), 1, FREE, dt=dt)
    p = np.abs(seen.psi[:,800])**2
    i = p.argmax()
    a,b,c = p[i-1:i+2]
    return seen.times[i]+dt*(a-c)/2/(a-2*b+c)


@pytest.mark.parametrize('strength', [.3,2.])
@pytest.mark.parametrize('width', [40.,60.])
def test_a_pulse_is_late_by_the_integral_of_s(strength, width):
    "Within 0.5 % of ∫ s/c₀ dx; the trap is wide beside the pulse, so that little of it is thrown back"
    t = Traps(Torus((1024,)), np.array([[500]]), np.array([strength]), np.zeros(1))
    s = target_of(t, Trapping(radius=3*width, width=width, floor=.1))
    late = arrival(s)-arrival(np.zeros(1024))
    assert abs(late/s[200:800].sum()-1)<.005


# The order of a step

def test_a_step_is_traps_speed_field_bound_look(monkeypatch):
    seen = []
    for name in ('fade','slow','propagate_field','bounded'):
        monkeypatch.setattr(page, name, lambda *a, _f=getattr(page, name), _n=name: (seen.append(_n), _f(*a))[1])
    f = a_field(np.random.default_rng(2), (6,6))
    t = add_traps(f.torus, [[1,1]])
    monkeypatch.setattr(page, 'check_field', lambda f, _f=page.check_field: (seen.append('look'), _f(f))[1])
    propagate_trapped(f, t, 3)
    inner = [n for i,n in enumerate(seen) if n!='look' or seen[i-1]=='bounded'] # `slow` looks as well
    assert inner[inner.index('fade'):]==['fade','slow','propagate_field','bounded','look']*3


def test_any_other_order_gives_another_result():
    f,how,m = a_field(np.random.default_rng(3), (6,6)),Trapping(.1, boundary='clip', bound=1.5),Medium()
    t = add_traps(f.torus, [[1,1],[4,2]], [.011,.5])._replace(loss=np.array([.2,.1])) # the first is gone in the first step
    dt = step_limit(f._replace(s=np.float64(.1)), m)/2
    stages = dict(traps=lambda f, t: (f,fade(t, how)), speed=lambda f, t: (slow(f, t, how),t), field=lambda f, t: (propagate_field(f, 1, m, None, dt),t),
                  bound=lambda f, t: (bounded(f, how)[0],t))
    got = propagate_trapped(f, t, 2, m, dt=dt, trapping=how)
    equal = []
    for order in itertools.permutations(stages):
        g,u = f,t
        for name in order*2: g,u = stages[name](g, u)
        if np.array_equal(g.psi, got.field.psi) and np.array_equal(g.s, got.field.s) and np.array_equal(u.strength, got.traps.strength): equal.append(order)
    assert equal==[('traps','speed','field','bound')]


def test_a_released_trap_is_gone_before_the_next_step():
    f = a_field(np.random.default_rng(4), (12,12), 'complex64', s=False)
    held = propagate_trapped(f, add_traps(f.torus, [[5,5],[0,11]]), 20)
    left = release(held.traps, [[6,5]])
    assert left.cells.tolist()==[[0,11]]
    after = propagate_trapped(held.field, left, 1, dt=.1)
    alone = Traps(f.torus, *(v[1:] for v in held.traps[1:]))
    assert same(after.field, propagate_trapped(held.field, alone, 1, dt=.1).field) # no ghost of it
    assert after.field.s[5,5]<.81*held.field.s[5,5] # and s is on its way back at once
    gone = propagate_trapped(held.field, release(left, [[0,11]]), 200, dt=.1) # also after the last one
    assert np.abs(gone.field.s).max()<1e-6


def test_amplitudes_beyond_a_bound_are_counted_or_cut():
    f = a_field(np.random.default_rng(5), (8,8))
    t,n = add_traps(f.torus, [[1,1]]),int((np.abs(f.psi)>1.).sum())
    for boundary,most in (('off',9.),('flag',9.),('clip',1.)):
        got = propagate_trapped(f, t, 5, trapping=Trapping(boundary=boundary, bound=1.))
        assert (got.over>0).all()==(boundary!='off') and np.abs(got.field.psi).max()<=most*(1+1e-12)
    assert bounded(f, Trapping(boundary='flag', bound=1.))[1]==n


def test_where_a_step_breaks():
    f = a_field(np.random.default_rng(6), (6,6))
    f = f._replace(psi=f.psi*20)
    with pytest.raises(CheckError, match=r'^step \d+: (ψ|velocity): expected finite amplitudes, found .* in cell \[\d, \d\], after up to'): propagate_trapped(f, add_traps(f.torus, [[1,1]], .02), 300, Medium(kerr=-9.), trapping=Trapping(floor=.01))
    with pytest.raises(CheckError, match='`dt`: expected below'): propagate_trapped(f._replace(s=np.float32(3)), add_traps(f.torus, [[1,1]]), 4, dt=1.) # s will fall to 0


def test_peaks():
    f = new_field(Torus((9,9)))
    f.psi[0,0],f.psi[4,4],f.psi[4,5],f.psi[7,7] = 1,2,2,.1
    cells,high = peaks(f)
    assert cells.tolist()==[[0,0],[4,4],[4,5]] and high.tolist()==[1,2,2] and not len(peaks(f._replace(psi=f.psi*0+1))[0])


# Echo

def test_how_far_back_an_echo_is_heard():
    for sure,depths in ((1.,(90,25,14,9,5)), (.5,(77,22,12,7,5))): # at a focus of 1 the nearest five
        e = new_echo(1)
        for _ in range(100): e = remember(e, np.ones(1), sure)
        assert tuple((echo_weights(e, f)>0).sum() for f in (0.,.25,.5,.8,1.))==depths
        k = np.arange(100)
        assert np.allclose(echo_weights(e, .5)[:12], sure*(.95*.75)**k[:12])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_an_echo_stays_bounded_for_any_input_and_focus(data):
    "No amplitude beyond the bound; and without input, none beyond what was"
    how = Echoing(decay=data.draw(st.floats(0, 1)), turn=data.draw(st.floats(-4, 4)), floor=data.draw(st.floats(0, 1)), near=data.draw(st.integers(1, 9)), bound=data.draw(st.floats(.01, 100)))
    e,psi = new_echo(3, data.draw(st.integers(1, 12))),np.zeros(3, complex)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for loud in data.draw(st.lists(st.floats(0, 1e6), min_size=1, max_size=15)):
        psi = mix_echo(psi+loud*noise(rng, 3), e, focus := data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1)), how)
        assert np.abs(psi).max()<=how.bound*(1+1e-12)
        e = remember(e, psi, data.draw(st.floats(0, 1)))
        assert np.abs(echo_of(e, focus, how)).max()<=np.abs(e.waves).max()*(1+1e-12)+1e-300
    most = max(np.abs(e.waves).max(), np.abs(psi).max())
    for _ in range(20):
        psi = mix_echo(psi, e, data.draw(st.floats(0, 1)), 1., how)
        e = remember(e, psi)
        assert np.abs(psi).max()<=most*(1+1e-9)


def test_an_echo_in_a_field_keeps_its_bound():
    f = a_field(np.random.default_rng(7), (8,8))
    e,src = new_echo((8,8), 16),Sources(np.array([[0,0]]), np.full((10,1), 3.))
    for t in range(30):
        f = f._replace(psi=mix_echo(propagate_field(f, 10, Medium(), src).psi, e, t%5/4))
        e = remember(e, f.psi, .5)
        assert np.abs(f.psi).max()<=4.5*(1+1e-12)
