"""C on bare Cortex-M processors in an emulator: every spike and membrane of 100 digits, flash, memory, stack, instructions"""
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import network, sample

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.export import proof as exported
from quarantion.export.c import to_c
from quarantion.export.cortex_m import BOARDS, footprint_of, prove_board
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork, load

MISSING = [f'no {name} (apt-get install {package})' for name,package in
           (('arm-none-eabi-gcc','gcc-arm-none-eabi libnewlib-arm-none-eabi'), ('qemu-system-arm','qemu-system-arm')) if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=', '.join(MISSING))


@pytest.fixture(scope='module')
def digits(): return load(Path(__file__).parent.parent/'nbs/measured/digits.safetensors')


@pytest.fixture(scope='module')
def x(): return load_digits().x_test.numpy()[:100]


@pytest.mark.parametrize('board', BOARDS, ids=lambda b: b.cpu)
def test_digits(digits, x, board):
    "100 samples, every spike and membrane; and a threshold that is one too large is found"
    got = prove_board(digits, to_c(digits), x, board)
    assert got.proof.proved and got.proof.samples==100 and got.proof.spikes==100*25*138
    assert 100_000<got.instructions<700_000 # one for every few weights of inputs that are not 0
    fires = int(digits.record(x)[0].spk.sum((0,1)).argmax())
    l = digits.layers[0]
    wrong = replace(digits, layers=(replace(l, theta=l.theta+np.eye(len(l.theta), dtype=np.int32)[fires]), *digits.layers[1:]))
    got = prove_board(digits, to_c(wrong), x[:20], board)
    assert not got.proof.proved and (got.proof.first['layer'],got.proof.first['neuron'])==(0,fires)


def test_flash_and_ram_of_digits(digits):
    "64-128-10 in nonary takes at most 8 kB of flash and 1.5 kB of memory"
    got = footprint_of(to_c(digits))
    assert got.flash<=8000 and got.ram<=1500 and got.stack<=200, got


def wide(n):
    return IntegerNetwork((IntLayer(np.ones((n,1), np.int8), *np.ones((3,n), np.int32), np.ones(n)),), (1,), 2, 1., 0, 1)


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(CheckError, match='microbit: ram: expected at most 16384 bytes, found'): prove_board(wide(3000), to_c(wide(3000)), np.ones((1,1)))


def test_a_tool_that_is_missing_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(exported.shutil, 'which', lambda name: None)
    with pytest.raises(CheckError, match=r'arm-none-eabi-gcc: expected this program \(apt-get install gcc-arm-none-eabi'): footprint_of(to_c(wide(2)))


def random_network(seed):
    rng = np.random.default_rng(seed)
    net = network(rng)
    text = to_c(net, 'n', sparse=bool(seed%2), crc=True)
    got = prove_board(net, text, sample(rng, net, 10), BOARDS[seed%4])
    assert got.proof.proved, got.proof


@pytest.mark.parametrize('seed', range(4))
def test_random_networks(seed): random_network(seed)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(100, 300))
def test_more_random_networks(seed): random_network(seed)
