"Sums over events against the dense product of integers."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.kernels.events import event_products


def products(spk, weight, threads=1):
    out = np.full((len(spk),weight.shape[1]), 7, np.int32)
    event_products(spk, weight, out, threads)
    return out


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 5), st.integers(0, 600), st.integers(0, 70), st.floats(0, 1), st.sampled_from([1,2,5]), st.integers(0, 99))
def test_is_the_dense_product(R, J, C, density, threads, seed):
    rng = np.random.default_rng(seed)
    spk,weight = (rng.random((R,J))<density).astype(np.uint8),rng.integers(-128, 128, (J,C)).astype(np.int8)
    assert (products(spk, weight, threads)==spk.astype(int)@weight.astype(int)).all()


@pytest.mark.parametrize('value', (-128,127))
@pytest.mark.parametrize('J', (255,256,257,512,1000))
def test_sums_beyond_16_bits(J, value): assert (products(np.ones((2,J), np.uint8), np.full((J,33), value, np.int8))==J*value).all()


def test_any_code_is_a_spike(): assert products(np.uint8([[0,1,7,255]]), np.int8([[1],[2],[3],[4]]))[0,0]==9


def test_shapes_are_checked():
    good = dict(spk=np.zeros((2,3), np.uint8), weight=np.zeros((3,4), np.int8), out=np.zeros((2,4), np.int32), num_threads=1)
    event_products(**good)
    for bad in (dict(weight=np.zeros((4,4), np.int8)), dict(out=np.zeros((3,4), np.int32)), dict(out=np.zeros((2,3), np.int32)), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): event_products(**good|bad)
