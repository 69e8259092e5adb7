"Is an integer a code, or a number that happens to be whole? One rule for the network in training, the program and its file"
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import lower, prepare, preset, verify
from quarantion.runtime import load, save
from quarantion.spikes import LIF, Network


def net(): return Network(nn.Linear(12,16), LIF(.9), nn.Linear(16,4), LIF(reset='none'))


@pytest.fixture(scope='module')
def counts():
    "Events of a step, counted: 0 to 3"
    torch.manual_seed(0)
    return torch.poisson(torch.full((9,5,12), .7)).clamp(max=3)


@pytest.fixture(scope='module')
def both(counts, tmp_path_factory):
    torch.manual_seed(0)
    q = prepare(net(), preset('int8'), counts)
    q(counts)
    path = tmp_path_factory.mktemp('p')/'net'
    save(lower(q), path)
    return q.eval(),load(path)


@pytest.mark.parametrize('dtype', [torch.int16, torch.uint8, torch.int64, torch.int32, torch.int8])
def test_whole_numbers_are_refused_where_they_could_be_either(both, counts, dtype):
    q,program = both
    assert q.in_scale!=1
    for run in q,q.record,q.answer,q.integers,program,program.record,program.classify:
        with pytest.raises(CheckError, match=r'`x`: expected real numbers \(x.float\(\)\), or codes=True for codes of which one is worth 0.0117'):
            run(counts.to(dtype) if 'Network' in type(getattr(run, '__self__', run)).__name__ else counts.to(dtype).numpy())


def test_numbers_are_numbers(both, counts):
    q,program = both
    assert torch.equal(q(counts.long().float())[0], q(counts)[0])
    assert np.array_equal(program(counts.numpy())[0], q(counts)[0].detach().numpy())


def test_yes_or_no_is_never_a_code(both, counts):
    q,program = both
    x = counts>0
    assert torch.equal(q(x)[0], q(x.float())[0]) and np.array_equal(program(x)[0], program(x.float())[0])
    for run in q,program:
        with pytest.raises(CheckError, match='expected integers, with codes=True, found bool'): run(x, codes=True)
        with pytest.raises(CheckError, match='expected integers, with codes=True, found real numbers'): run(counts, codes=True)
    assert verify(q, program, [x], net()).mismatches==0


def test_codes_where_they_are_said(both, counts):
    q,program = both
    k = program.codes(counts)
    assert np.array_equal(k, q.encode(counts).numpy()) and k.max()==255
    for dtype in np.uint8,np.int16,np.int32:
        assert np.array_equal(program(k.astype(dtype), codes=True)[1], program(counts)[1])
        assert np.array_equal(program.classify(k.astype(dtype), codes=True), program.classify(counts))
        assert torch.equal(q(torch.from_numpy(k.astype(dtype)), codes=True)[1], q(counts)[1])
    with pytest.raises(CheckError, match=r'expected codes in \[0, 255\], found 0 … 256'): program(k.astype(int)+(k==255), codes=True)
    with pytest.raises(CheckError, match=r'expected codes in \[0, 255\]'): q(torch.from_numpy(k).long()*2, codes=True)


def test_a_network_made_on_whole_numbers_takes_them(counts, tmp_path):
    torch.manual_seed(0)
    q = prepare(net(), preset('int8'), counts.to(torch.uint8)).eval()
    save(lower(q), tmp_path/'net')
    program = load(tmp_path/'net')
    assert q.in_scale==program.in_scale==1
    for x in counts,counts.to(torch.uint8),counts.long():
        assert np.array_equal(program(x)[0], q(counts)[0].detach().numpy())
    assert verify(q, program, [counts.to(torch.uint8)]).mismatches==0


@pytest.mark.parametrize('change', [lambda x: x*300, lambda x: -x])
def test_clipped_input_is_said_by_both(both, counts, change):
    q,program = both
    with pytest.warns(UserWarning, match=r'clipped to \[0, 3\]') as a: spk = q(change(counts))[0].detach()
    with pytest.warns(UserWarning, match=r'clipped to \[0, 3\]') as b: assert np.array_equal(program(change(counts))[0], spk.numpy())
    assert len(a)==len(b)==1


@pytest.mark.parametrize('sample,dtypes', [(torch.rand(8,12)*3, [torch.int8,torch.uint8,torch.int16,torch.uint16,torch.int64]),
                                           (torch.randn(8,12), [torch.int8,torch.uint8,torch.int16,torch.uint16,torch.int64])], ids=['0…255','±127'])
def test_codes_of_any_width_are_read_alike(sample, dtypes):
    torch.manual_seed(0)
    q = prepare(net(), preset('int8'), sample).eval()
    program,k = lower(q),torch.arange(96).reshape(8,12)
    for dtype in dtypes:
        assert np.array_equal(q.encode(k.to(dtype), codes=True).numpy(), program.codes(k.to(dtype), codes=True))
        assert np.array_equal(q(k.to(dtype), codes=True)[1].detach().numpy(), q(k, codes=True)[1].detach().numpy())


@pytest.mark.parametrize('x', [torch.ones(5,12, dtype=torch.complex64), torch.ones(5,12).to(torch.float8_e4m3fn)])
def test_other_kinds_of_numbers_are_refused(both, x):
    for run in both:
        with pytest.raises(CheckError, match='`x`: expected'): run(x)


def test_bfloat16_is_real_numbers(both, counts):
    q,program = both
    x = (counts/7).bfloat16()
    assert np.array_equal(q.encode(x).numpy(), program.codes(x)) and np.array_equal(program.codes(x), program.codes(x.float()))


@pytest.mark.parametrize('code,said', [(254.5,False), (255.49,False), (255.5,True), (-.5,False), (-.51,True)])
def test_both_warn_of_the_same_clipping(both, code, said):
    x = torch.full((1,12), code*both[0].in_scale, dtype=torch.float64)
    for encode in both[0].encode,both[1].codes:
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            encode(x)
        assert len(w)==said


def test_what_the_caller_says_is_yes_or_no(both, counts):
    for run in both:
        with pytest.raises(CheckError, match="`codes`: expected True or False, found 'no'"): run(counts, codes='no')

def test_words_on_odd_input():
    net = Network(nn.Linear(4,3), LIF())
    q = prepare(net, preset('int8'), torch.rand(3,4)).eval()
    program,x = lower(q),torch.full((3,4), float('nan'))
    with pytest.raises(CheckError, match='^`x`: expected finite numbers'): program(x.numpy())
    for n in net,q:
        with pytest.raises(CheckError, match=r'`x`: expected a tensor of real numbers, found .* torch.sparse_coo'): n(torch.rand(3,4).to_sparse())
    with pytest.raises(CheckError, match='^`x`: expected an array of numbers, found [^`]*$'): program(torch.rand(3,4, device='meta'))
