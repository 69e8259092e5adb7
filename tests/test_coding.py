"Entropy coding: exact, small, the same everywhere, and never garbage"
import hashlib, subprocess, sys
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.runtime.coding import decode_codes, decode_ints, decode_units, encode_codes, encode_ints, encode_units, entropy_bytes

def draw(shape, quant_max, density, seed):
    rng = np.random.default_rng(seed)
    return (rng.integers(-quant_max, quant_max+1, shape)*(rng.random(shape)<density)).astype(np.int8)

def lcg(n, seed=1):
    "The same numbers with every version of numpy"
    out = []
    for _ in range(n): out.append(seed := (seed*1103515245+12345)%2**31)
    return np.array(out)


# Exact

@settings(max_examples=60, deadline=None)
@given(shape=st.one_of(st.tuples(st.integers(0,40), st.integers(0,40)), st.tuples(*[st.integers(1,6)]*4), st.tuples(st.integers(0,50))),
       quant_max=st.sampled_from([1,3,4,7,127]), density=st.floats(0,1), seed=st.integers(0,2**32))
def test_codes_come_back(shape, quant_max, density, seed):
    w = draw(shape, quant_max, density, seed)
    back = decode_codes(encode_codes(w, quant_max), shape, quant_max)
    assert back.dtype==np.int8 and back.shape==w.shape and (back==w).all()

@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-2**31,2**31-1), st.integers(-500,500)), max_size=80))
def test_integers_come_back(x):
    x = np.array(x, np.int32)
    assert (decode_ints(encode_ints(x), len(x))==x).all()

@pytest.mark.parametrize('view', [lambda w: w.T, lambda w: w[::2], lambda w: w[:, ::-1]])
def test_views_are_written_as_they_look(view):
    w = view(draw((30,20), 4, .5, 0))
    before = w.copy()
    assert (decode_codes(encode_codes(w, 4), w.shape, 4)==w).all() and (w==before).all()


# Small

@pytest.mark.parametrize('quant_max,density', [(1,.2),(1,1),(4,.1),(4,1),(7,.5)])
def test_independent_codes_cost_their_entropy(quant_max, density):
    w = draw((300,200), quant_max, density, 0)
    assert len(encode_codes(w, quant_max))<1.03*entropy_bytes(w)+150

def test_zeros_cost_nothing():
    assert len(encode_codes(np.zeros((1000,784), np.int8), 4))<100

def test_dead_inputs_and_neurons_cost_little():
    w = draw((200,100), 4, .5, 0)
    alone = len(encode_codes(w, 4))
    dead = np.zeros((400,200), np.int8)
    dead[::2, 50:150] = w
    assert len(encode_codes(dead, 4))<1.12*alone+100<entropy_bytes(dead)

def test_neighbours_are_used():
    rng = np.random.default_rng(0)
    y,x = np.mgrid[:16,:16]
    at = rng.uniform(0, 16, (300,2))
    w = np.rint(5*np.exp(-((y-at[:,:1,None])**2+(x-at[:,1:,None])**2)/6)).clip(-4, 4).astype(np.int8).reshape(300, 256)
    assert len(encode_codes(w, 4))<.6*entropy_bytes(w)

def test_integers_are_small():
    x = np.rint(np.random.default_rng(0).normal(16000, 2500, 1000)).astype(np.int32)
    assert len(encode_ints(x))<1800
    assert len(encode_ints(np.full(1000, 62259, np.int32)))<30


# The same everywhere

def test_bytes_are_those_of_the_first_version():
    "A file written today is read tomorrow: these digests change only with a new version of the format"
    w = (lcg(2000)//65536%9-4).reshape(50, 40)
    w = np.where((lcg(2000, 7)//65536%5).reshape(50, 40)<3, 0, w).astype(np.int8)
    blobs = encode_codes(w, 4),encode_codes(np.sign(w).reshape(50, 10, 2, 2), 1),encode_ints((lcg(200)%10000+5).astype(np.int32))
    assert [hashlib.sha256(b.tobytes()).hexdigest()[:16] for b in blobs]==GOLDEN

GOLDEN = ['e32400aa24751a39', 'b8c4e1921ff765b5', '54925384b60f2129']

def test_needs_neither_torch_nor_more():
    code = 'import sys; before = set(sys.modules); import quarantion.runtime.coding; print({m.split(".")[0] for m in set(sys.modules)-before} & {"torch","scipy","constriction","safetensors"})'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='set()'


# Never garbage

def test_every_flipped_bit_is_found():
    w = draw((20,15), 4, .5, 0)
    blob = encode_codes(w, 4)
    for i in range(len(blob)*8):
        bad = blob.copy()
        bad[i//8] ^= 1<<i%8
        with pytest.raises(CheckError, match='`0.weight`'): decode_codes(bad, w.shape, 4, '0.weight')

def test_every_flipped_bit_of_integers_is_found():
    x = (lcg(60)%1000).astype(np.int32)
    blob = encode_ints(x)
    for i in range(len(blob)*8):
        bad = blob.copy()
        bad[i//8] ^= 1<<i%8
        with pytest.raises(CheckError, match='`0.bias`'): decode_ints(bad, 60, '0.bias')

@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    for f in (lambda a: decode_codes(a, (7,5), 4)),(lambda a: decode_ints(a, 9)):
        with pytest.raises(CheckError): f(np.frombuffer(data, np.uint8))

def test_what_else_is_refused():
    w = draw((20,15), 4, 1, 0)
    blob = encode_codes(w, 4)
    for shape,q in ((15,20),4),((20,14),4),((20,15),3),((20,15),7):
        with pytest.raises(CheckError): decode_codes(blob, shape, q)
    for bad in blob[:-4],np.append(blob, np.zeros(4, np.uint8)),blob[:3],blob.astype(np.int8),blob[None]:
        with pytest.raises(CheckError): decode_codes(bad, w.shape, 4)
    with pytest.raises(CheckError, match='`codes`: expected in'): encode_codes(w, 3)
    with pytest.raises(CheckError, match='dtype int8'): encode_codes(w.astype(int), 4)
    with pytest.raises(CheckError, match='quant_max'): encode_codes(w, 128)
    with pytest.raises(CheckError, match='dtype int32'): encode_ints(np.arange(3))
    with pytest.raises(CheckError, match='one axis'): encode_ints(np.zeros((2,2), np.int32))

def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'constriction', None)
    with pytest.raises(CheckError, match='pip install constriction'): encode_codes(np.zeros((2,2), np.int8), 4)


# Units

def test_units_of_one_threshold_need_one_number():
    unit = 1/np.random.default_rng(0).uniform(20, 30000, 500)
    theta = np.rint(1.5/unit).astype(np.int32)
    worth = encode_units(unit, theta)
    assert len(worth)==1 and (abs(decode_units(worth, theta)/unit-1)<=.5/theta+1e-6).all()

def test_units_of_several_thresholds():
    rng = np.random.default_rng(0)
    unit,theta = 1/rng.uniform(100, 30000, 500),rng.integers(50, 30000, 500).astype(np.int32)
    worth = encode_units(unit, theta)
    assert len(worth)==500 and np.allclose(decode_units(worth, theta), unit, rtol=1e-7)
    with pytest.raises(CheckError, match='1 or 499'): decode_units(worth, theta[1:])
