"Cells in a table: they come whole, go without a trace, and their waves are those of a torus"
import time
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.waves.energy import field_energy
from quarantion.waves.law import Medium, Sources, step_limit
from quarantion.waves.propagate import propagate_field
from quarantion.waves.rows import propagate_sparse, sparse_energy, sparse_limit
from quarantion.waves.sparse import activate, add_cells, find_cells, from_field, load_sparse, neighbours, new_sparse, ready, remove_cells, save_sparse, to_field
from quarantion.waves.torus import Torus
from test_waves import FREE, a_field, noise

BIG = Torus((127,)*9)
COLUMNS = 'psi','velocity','r','s','metric'


def test_a_cell_is_seen_when_its_state_is_set(monkeypatch):
    "activate → set → ready: until then not in its length, in a search, among neighbours, in what is propagated or saved"
    t = new_sparse(BIG, metric='full')
    add_cells(t, [[0]*9], psi=1)
    there = np.array([[1]+[0]*8])
    row = activate(t, there)
    assert len(t)==1 and find_cells(t, there).tolist()==[-1] and len(t.psi)==1 and len(list(t))==1
    for f in (lambda: neighbours(t), lambda: propagate_sparse(t, 1), lambda: save_sparse('x', t), lambda: remove_cells(t, [[0]*9]), lambda: add_cells(t, [[5]*9])):
        with pytest.raises(CheckError, match='hidden'): f()
    with pytest.raises(CheckError, match='not there'): activate(t, there)
    t.columns['psi'][row],t.columns['metric'][row,1] = 3j,.5
    ready(t)
    assert (t[1].psi,t[1][0,1],t[1][3,3],find_cells(t, there).tolist())==(3j,.5,1,[1])
    seen = []
    monkeypatch.setattr('quarantion.waves.sparse.ready', lambda t: seen.append((len(t), t.columns['s'][t.count:t.count+1].tolist())))
    add_cells(t, [[9]*9], s=.5)
    assert seen==[(2,[.5])] # its state stands before it is shown


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60), st.sampled_from(['identity','diagonal','full']))
def test_cells_that_come_and_go_are_those_of_a_dictionary(moves, metric):
    t,want,rng = new_sparse(Torus((3,4)), 'complex128', metric),{},np.random.default_rng(0)
    for come,k in moves:
        c = divmod(k, 4)
        if come and c not in want:
            want[c] = psi,velocity,r,s,_ = noise(rng, 1)[0],noise(rng, 1)[0],np.float32(rng.random()),np.float32(rng.random()),rng.random((1,t.metric.shape[1])).astype('f4')
            add_cells(t, [c], psi, velocity, r, s, want[c][4])
        elif not come and c in want:
            remove_cells(t, [c])
            del want[c]
        else:
            with pytest.raises(CheckError): (add_cells if come else remove_cells)(t, [c])
    assert {n.cell for n in t}==set(want) and len(t)==len(want)
    for n in t:
        psi,velocity,r,s,g = want[n.cell]
        assert (n.psi,n.velocity,n.r,n.s)==(psi,velocity,r,s) and np.array_equal(t.metric[n.row], g[0])
    at = find_cells(t, [divmod(k, 4) for k in range(12)])
    assert [k for k in range(12) if at[k]>=0]==sorted(4*a+b for a,b in want)
    if len(t): # neighbours by hand
        for missing,none in (('mirror',None),('zero',len(t))):
            for row,near in enumerate(neighbours(t, missing)):
                i,j = t.cells[row]
                there = [((i+1)%3,j),((i-1)%3,j),(i,(j+1)%4),(i,(j-1)%4)]
                assert near.tolist()==[int(find_cells(t, [c])[0]) if c in want else row if none is None else none for c in [(int(a),int(b)) for a,b in there]]


def test_a_table_of_numbers_beyond_64_bits():
    huge = Torus((2**31-1,)*9)
    t = new_sparse(huge)
    last = 2**31-2
    add_cells(t, [[0]*9,[last]+[0]*8,[last]*9])
    assert neighbours(t)[0,:2].tolist()==[0,1] and neighbours(t)[1,:2].tolist()==[0,1] and find_cells(t, [[last]*9]).tolist()==[2]
    with pytest.raises(CheckError, match='at most 1,000 bytes'): add_cells(new_sparse(huge, most=1000), np.arange(900).reshape(100, 9))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_table_of_all_cells_is_the_torus_bit_for_bit(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=9))
    while np.prod(sizes)>600: sizes[int(np.argmax(sizes))] -= 1
    if max(sizes)==1: sizes[0] = 2
    pick,rng,shape = lambda *v: data.draw(st.sampled_from(v)),np.random.default_rng(data.draw(st.integers(0, 10**6))),tuple(sizes)
    metric = pick('identity','diagonal','full')
    f = a_field(rng, shape, pick('complex64','complex128'), 0, metric)
    if metric=='full': # what it stores off its diagonal is zero
        f = f._replace(metric=f.metric*(f.metric>=1))
    m,steps = Medium(pick(1.,.7), pick(0.,.4), *pick((0.,0.),(-.3,0.),(.3,.2))),pick(1,2,7)
    src = pick(None, Sources(np.stack([rng.integers(0, n, 4) for n in shape], 1), noise(rng, steps, 4)))
    dt = min(.05, step_limit(f, m)/2)
    want = propagate_field(f, steps, m, src, dt)
    t = from_field(f)
    order = rng.permutation(len(t)) # in any order of rows
    u = new_sparse(f.torus, str(f.psi.dtype), metric)
    add_cells(u, t.cells[order], *(getattr(t, k)[order] for k in COLUMNS))
    for table in (t,u):
        assert sparse_limit(table, m)==step_limit(f, m)
        for missing in ('mirror','zero'):
            again = from_field(to_field(table))
            got = to_field(propagate_sparse(again, steps, m, src, dt, missing, threads=pick(1,2,3)))
            assert np.array_equal(got.psi, want.psi) and np.array_equal(got.velocity, want.velocity)
    assert np.isclose(sparse_energy(t, m), field_energy(f, m), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('missing', ['mirror','zero'])
@pytest.mark.parametrize('metric', ['identity','diagonal'])
def test_energy_is_kept_where_cells_are_missing(missing, metric):
    "And its error falls by 4 with each half of a step; L is symmetric"
    rng = np.random.default_rng(1)
    f = a_field(rng, (7,6,2), metric=metric)
    t = from_field(f, least=1.7)
    assert 20<len(t)<80
    start,dt,e = sparse_energy(t, FREE, missing),sparse_limit(t, FREE, missing)/20,[]
    for h,n in ((dt,10),(dt/2,20)):
        u = from_field(f, least=1.7)
        e.append(max(abs(sparse_energy(propagate_sparse(u, n, FREE, dt=h, missing=missing), FREE, missing)/start-1) for _ in range(40)))
    assert e[0]<5e-3 and 3.5<e[0]/e[1]<4.5, e
    step = lambda psi: (setattr_psi(t, psi), propagate_sparse(t, 1, FREE, dt=1e-3, missing=missing).velocity.copy())[1]
    if metric=='identity':
        t.s[:] = 0
        L = np.stack([step(p) for p in np.eye(len(t), dtype=complex)], 1)
        assert np.abs(L-L.T).max()<1e-5*np.abs(L).max()


def setattr_psi(t, psi): t.psi[:],t.velocity[:] = psi,0


def test_held_at_zero_is_a_drum():
    "A row of n cells between two that are held: ω = 2·sin(k/2), k = π/(n+1)"
    n = 9
    t = new_sparse(Torus((1000,)), 'complex128')
    k = np.pi/(n+1)
    add_cells(t, np.arange(5, 5+n)[:,None], psi=np.sin(k*np.arange(1, n+1)))
    a,dt = t.psi.copy(),.1
    w = 2/dt*np.arcsin(dt*np.sin(k/2))
    propagate_sparse(t, 500, FREE, dt=dt, missing='zero')
    assert np.abs(t.psi-a*np.cos(w*dt*500)).max()<1e-12


def test_an_error_leaves_the_table_as_it_was():
    t = from_field(a_field(np.random.default_rng(2), (5,5)))
    kept = {k:v.copy() for k,v in t.columns.items()}
    for bad in (dict(dt=9.), dict(dt=0.), dict(missing='torus'), dict(steps=-1), dict(sources=Sources(np.array([[5,0]]), np.ones((4,1)))), dict(medium=Medium(kerr=.1)), dict(threads=0)):
        with pytest.raises(CheckError): propagate_sparse(**dict(table=t, steps=4)|bad)
    with pytest.raises(CheckError, match=r'step \d+: (ψ|velocity): .* in cell \[\d, \d\], after up to '): propagate_sparse(t, 200, Medium(kerr=-9.))
    remove_cells(t, [[0,0]])
    with pytest.raises(CheckError, match=r'`cells`: expected cells that are there, found \[0, 0\]'): propagate_sparse(t, 1, Medium(), Sources(np.array([[0,0]]), np.ones((1,1))))
    add_cells(t, [[0,0]], *(kept[k][:1] for k in COLUMNS))
    back = np.argsort(t.numbers(t.cells))
    assert all(np.array_equal(getattr(t, k)[back], v[:25]) for k,v in kept.items())
    t[3].s = 1
    for wrong in (lambda: setattr(t[3], 's', -1), lambda: setattr(t[3], 'psi', np.nan), lambda: t[25], lambda: t[0][0,2], lambda: t[0].__setitem__((0,1), 1)):
        with pytest.raises(CheckError): wrong()
    assert t[3].s==1


def test_files_of_tables(tmp_path):
    rng = np.random.default_rng(3)
    for metric in ('identity','diagonal','full'):
        t = new_sparse(BIG, metric=metric)
        add_cells(t, rng.integers(0, 127, (40,9)), noise(rng, 40), noise(rng, 40), rng.random(40), rng.random(40))
        save_sparse(tmp_path/'a', t)
        u = load_sparse(tmp_path/'a')
        assert u.at==t.at and (u.torus,u.stored,len(u))==(t.torus,metric,40) and all(np.array_equal(getattr(t, k), getattr(u, k)) for k in t.columns)
    data,bad = (tmp_path/'a').read_bytes(),tmp_path/'bad'
    wrong = [data[:n] for n in (0,7,len(data)//2,len(data)-1)]+[data.replace(b'ersion\\":1', b'ersion\\":9'), data.replace(b'[127', b'[126'), data.replace(b'\\"full\\"', b'\\"fuhl\\"')]
    for i in rng.integers(0, len(data), 40): wrong.append(data[:i]+bytes([data[i]^(1<<int(rng.integers(8)))])+data[i+1:])
    for w in wrong:
        assert w!=data
        bad.write_bytes(w)
        with pytest.raises(CheckError, match='bad: ') as e: load_sparse(bad)
        assert '\n' not in str(e.value)


def test_a_sheet_in_rows_takes_at_most_six_times_as_long():
    "CPU time of one thread, by turns; the middle of seven"
    f = a_field(np.random.default_rng(4), (256,256), 'complex64', s=False, r=False)
    t,ratio = from_field(f),[]
    neighbours(t)
    for _ in range(7):
        a = time.process_time(); propagate_field(f, 64, threads=1)
        b = time.process_time(); propagate_sparse(t, 64, threads=1)
        ratio.append((time.process_time()-b)/(b-a))
    print(f'sparse / dense: {sorted(ratio)[3]:.2f}')
    assert sorted(ratio)[3]<6
