"E8: its points, its decoder, and weights as its points"
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quarantion.bench.lattice import drawn_weights, lattice_gains
from quarantion.checks import CheckError
from quarantion.files import save_tensors
from quarantion.geometry.e8 import SIMPLE_ROOTS, e8_shell, nearest_e8, reflect, second_moment
from quarantion.kernels.e8 import e8_points
from quarantion.quant.lattice import Lattice, lattice_bytes, lattice_codes, load_lattice, point_lists, save_lattice
from quarantion.runtime.coding import entropy_bytes

AROUND = np.concatenate([e8_shell(n) for n in (0,2,4)])


def points(x):
    out = np.empty(x.shape, np.int8)
    e8_points(np.ascontiguousarray(x, np.float32), out)
    return out/2


def test_shells_and_roots():
    assert [len(e8_shell(n)) for n in (0,2,4,6,8)]==[1,240,2160,6720,17520] and len(AROUND)==2401
    roots = e8_shell(2)
    assert set(np.unique(roots@roots.T))=={-2,-1,0,1,2}
    assert sum((r%1==0).all() for r in roots)==112
    for shell in roots,e8_shell(4):
        known = {tuple(p) for p in shell}
        for r in SIMPLE_ROOTS: assert {tuple(p) for p in reflect(shell, r)}==known


def test_second_moment():
    m,half = second_moment(100_000, 1)
    assert abs(m-929/12960)<2*half<4e-4


@pytest.mark.parametrize('decode', [nearest_e8,points])
def test_none_of_2401_points_is_nearer(decode):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, s, (150,8)) for s in (.3,1,4)]).astype(np.float32).astype(float)
    x[:100] = np.round(x[:100]*4)/4
    p = decode(x)
    assert (((x-p)**2).sum(1)<=((x-p)[:,None]-AROUND).__pow__(2).sum(2).min(1)+1e-12).all()
    assert (p.sum(1)%2==0).all() and ((p%1==0).all(1)|(p%1==.5).all(1)).all()
    assert (decode(p)==p).all()
    shift = rng.integers(-3, 4, (len(x),8))@SIMPLE_ROOTS
    alone = np.sort(((x-p)[:,None]-AROUND).__pow__(2).sum(2), 1)
    alone = alone[:,1]-alone[:,0]>1e-5 # one nearest point
    assert (decode(x+shift)[alone]==(p+shift)[alone]).all() and alone.mean()>.7


def test_ties_and_what_is_almost_one():
    rng = np.random.default_rng(0)
    quarters = rng.integers(-20, 21, (3000,8)).astype(np.float32)/4
    lower = np.where(rng.random(quarters.shape)<.1, np.nextafter(quarters, np.float32(-9)), quarters)
    for x in quarters,np.nextafter(quarters, np.float32(9)),lower,quarters*np.float32(1e-30): assert (points(x)==nearest_e8(x)).all()


floats = st.floats(-30, 30, width=32)|st.integers(-60, 60).map(lambda n: n/4)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (33,8), elements=floats))
def test_the_kernel_is_the_reference(x): assert (points(x)==nearest_e8(x)).all()


def codes_of(rows, n, seed, step=.8, per_channel=False):
    torch.manual_seed(seed)
    return lattice_codes(torch.randn(rows, n)*(1+torch.rand(rows, 1)), Lattice(step, per_channel))


@pytest.mark.parametrize('rows,n', [(1,1),(3,5),(10,64),(64,30)])
@pytest.mark.parametrize('per_channel', [False,True])
def test_a_layer_comes_back_exactly(tmp_path, rows, n, per_channel):
    "Filling is counted, and what is read is what was written"
    q = codes_of(rows, n, 0, per_channel=per_channel)
    assert q.points.size==(rows*-(-n//8)*8 if per_channel else -(-rows*n//8)*8)
    save_lattice(tmp_path/'w', dict(layer=q))
    read = load_lattice(tmp_path/'w')['layer']
    assert (read.points==q.points).all() and torch.equal(read.weights(), q.weights()) and read.shape==(rows,n)
    assert lattice_bytes(q)<(tmp_path/'w').stat().st_size


def test_filling_takes_bytes():
    some = [lattice_bytes(codes_of(200, n, 1, per_channel=True)) for n in (8,9)]
    assert some[1]>some[0]+100 # 1,400 zeros for 200 weights


def test_foreign_and_damaged_files_are_refused(tmp_path):
    path = tmp_path/'w'
    path.write_bytes(b'{}')
    with pytest.raises(CheckError, match='safetensors'): load_lattice(path)
    save_tensors(path, dict(a=np.zeros(3)), dict(format='quarantion.program', version=3))
    with pytest.raises(CheckError, match='quarantion.lattice'): load_lattice(path)
    save_lattice(path, dict(a=codes_of(20, 16, 0)))
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 60):
        bad = bytearray(whole)
        bad[at] ^= 16
        path.write_bytes(bad)
        with pytest.raises(CheckError): load_lattice(path)
    path.write_bytes(whole[:-3])
    with pytest.raises(CheckError): load_lattice(path)


def test_bytes_are_those_of_ideal_lists():
    "The coder learns: of many points, within 4 % of what knows all frequencies"
    q = lattice_codes(torch.from_numpy(drawn_weights('gaussian', 2**15).reshape(128, 256)), Lattice(.8))
    bits,lists = point_lists(q.points)
    assert 1<lattice_bytes(q)/sum(map(entropy_bytes, (bits,*lists)))<1.04


def test_gain_is_fair_and_what_is_unfair_shows():
    "At 2 to 3.3 bits of a bell .5 dB or more; above the limit only where levels lack what E8 has"
    gains = lattice_gains('gaussian', 2**17)
    limit = 10*np.log10(12960/929/12)
    assert all(.5<=g.gain<limit+.06 for g in gains if g.bits>=2) and not any(g.wrong for g in gains)
    assert max(g.unfair for g in gains)>limit+.03
    few = lattice_gains('laplace', 2**16)[-1]
    assert few.gain<0 # of what is mostly 0, levels are better
