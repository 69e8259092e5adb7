"Sums over events, packed or not, and sums looked up, against the dense product of integers."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.kernels import dense, events

KERNELS = 'event_products','dense_products'


def kernel(name): return getattr(dense if name=='dense_products' else events, name)


def products(name, spk, weight, threads=1, channels=None):
    out = np.full((len(spk),weight.shape[1] if channels is None else channels), 7, np.int32)
    kernel(name)(spk, weight, out, threads)
    return out


def packed(weight):
    words = np.full((len(weight),-(-weight.shape[1]//5)), 7, np.uint16)
    events.pack_rows(weight, words)
    return words


@pytest.mark.parametrize('name', KERNELS)
@settings(deadline=None, max_examples=80)
@given(st.integers(0, 5), st.integers(0, 600), st.integers(0, 70), st.integers(0, 40), st.floats(0, 1), st.integers(0, 99))
def test_is_the_dense_product(name, R, J, C, more, density, seed):
    "With and without columns that are not asked for"
    rng = np.random.default_rng(seed)
    spk,weight = (rng.random((R,J))<density).astype(np.uint8),rng.integers(-128, 128, (J,C+more)).astype(np.int8)
    assert (products(name, spk, weight, channels=C)==(spk.astype(int)@weight.astype(int))[:,:C]).all()


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 5), st.integers(0, 600), st.integers(0, 70), st.floats(0, 1), st.integers(0, 99))
def test_packed_weights(R, J, C, density, seed):
    rng = np.random.default_rng(seed)
    spk,weight = (rng.random((R,J))<density).astype(np.uint8),rng.integers(-4, 5, (J,C)).astype(np.int8)
    words = packed(weight)
    assert words.max(initial=0)<9**5
    assert (products('packed_event_products', spk, words, channels=C)==spk.astype(int)@weight.astype(int)).all()


@pytest.mark.parametrize('name', (*KERNELS,'packed_event_products'))
@pytest.mark.parametrize('R,C', [(1,140_003), (2,70_001), (1500,130), (3000,33)])
def test_threads_share_rows_or_channels(name, R, C):
    "Shapes that are worth several threads"
    rng = np.random.default_rng(0)
    spk,weight = (rng.random((R,37))<.4).astype(np.uint8),rng.integers(-4, 5, (37,C)).astype(np.int8)
    if name[0]=='p': weight,C = packed(weight),C
    one = products(name, spk, weight, 1, C)
    for threads in 2,3,5: assert (products(name, spk, weight, threads, C)==one).all(), threads


@pytest.mark.parametrize('name', KERNELS)
@pytest.mark.parametrize('value', (-128,127))
@pytest.mark.parametrize('J', (255,256,257,512,1000))
def test_sums_beyond_16_bits(J, value, name):
    for C in 33,5: assert (products(name, np.ones((2,J), np.uint8), np.full((J,64), value, np.int8), channels=C)==J*value).all()


@pytest.mark.parametrize('value', (-4,4))
def test_packed_sums_beyond_16_bits(value):
    J = 20_000
    assert (products('packed_event_products', np.ones((1,J), np.uint8), packed(np.full((J,7), value, np.int8)), channels=7)==J*value).all()


@pytest.mark.parametrize('name', KERNELS)
def test_any_code_is_a_spike(name): assert products(name, np.uint8([[0,1,7,255]]), np.int8([[1],[2],[3],[4]]))[0,0]==9


@pytest.mark.parametrize('name', KERNELS)
def test_shapes_are_checked(name):
    good = dict(spk=np.zeros((2,3), np.uint8), weight=np.zeros((3,4), np.int8), out=np.zeros((2,4), np.int32), num_threads=1)
    fn = kernel(name)
    fn(**good)
    for bad in (dict(weight=np.zeros((4,4), np.int8)), dict(out=np.zeros((3,4), np.int32)), dict(out=np.zeros((2,5), np.int32)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): fn(**good|bad)


def test_shapes_of_packed_weights_are_checked():
    good = dict(spk=np.zeros((2,3), np.uint8), words=np.zeros((3,2), np.uint16), out=np.zeros((2,7), np.int32), num_threads=1)
    events.packed_event_products(**good)
    for bad in (dict(words=np.zeros((4,2), np.uint16)), dict(out=np.zeros((3,7), np.int32)), dict(out=np.zeros((2,5), np.int32)), dict(out=np.zeros((2,11), np.int32)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): events.packed_event_products(**good|bad)
    for bad in np.zeros((2,2), np.uint16),np.zeros((3,1), np.uint16):
        with pytest.raises(ValueError, match='`words`'): events.pack_rows(np.zeros((3,7), np.int8), bad)
    for n in -5,5,127:
        with pytest.raises(ValueError, match='`weight`'): events.pack_rows(np.full((1,1), n, np.int8), np.zeros((1,1), np.uint16))
