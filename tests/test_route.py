"Experts beside the sum that they are defined as, and gates beside distances"
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.geometry.e8 import SIMPLE_ROOTS, reflect
from quarantion.language.model import KernelLM
from quarantion.language.route import Experts, KeyGate, LearnedGate, load_of, random_keys, root_keys, with_experts


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(['roots','few','random','learned']), st.integers(1, 4), st.integers(0, 99), st.integers(0, 12))
def test_experts_are_a_sum_over_those_that_are_passed(kind, k, seed, n):
    torch.manual_seed(seed)
    gates = dict(roots=lambda: KeyGate(root_keys(), 10, k, .5, seed), few=lambda: KeyGate(root_keys(8), 10, k, seed=seed),
                 random=lambda: KeyGate(random_keys(6, seed), 10, k), learned=lambda: LearnedGate(10, 5, k))
    part,x = Experts(gates[kind](), 10, 3),torch.randn(n, 10, requires_grad=True)
    at,w = part.gate(x)
    want = torch.einsum('nkw,nkwh->nh', torch.einsum('nkwh,nh->nkw', part.up[at], x).relu()**2*w[...,None], part.down[at])
    out = part(x)
    assert torch.allclose(out, want, atol=1e-5) and torch.allclose(w.sum(1), torch.ones(n))
    if not n: return
    mine,its = (torch.autograd.grad(o.square().sum(), [x,part.up,part.down], retain_graph=True) for o in (out,want))
    assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-3) for a,b in zip(mine, its))


def test_mirrors_of_e8_leave_choices_as_they_are():
    gate,x = KeyGate(root_keys(), 8, 3),np.random.default_rng(0).normal(size=(50,8))
    back = gate.down.numpy() # 8 to 8
    for r in SIMPLE_ROOTS:
        a,b = (gate(torch.tensor(p@back, dtype=torch.float32))[0].numpy() for p in (x,reflect(x, r)))
        assert np.allclose(reflect(root_keys()[a], r).sum(1), root_keys()[b].sum(1))


def test_fixed_keys_are_saved_and_do_not_learn():
    torch.manual_seed(0)
    make = lambda i: Experts(KeyGate(random_keys(8, i), 16, seed=i), 16, 4)
    net = with_experts(KernelLM(16, 2, 2, 12, 4), make)
    before = net.blocks[0].part.gate.keys.clone()
    ids = torch.randint(12, (2,9))
    opt = torch.optim.SGD(net.parameters(), .1)
    net(ids).square().mean().backward(); opt.step()
    assert torch.equal(net.blocks[0].part.gate.keys, before)
    other = with_experts(KernelLM(16, 2, 2, 12, 4), lambda i: Experts(KeyGate(random_keys(8, 9), 16, seed=9), 16, 4))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(ids), net(ids))


def test_a_token_that_is_zero_has_an_answer():
    part = Experts(KeyGate(root_keys(8), 16), 16, 4)
    x = torch.zeros(1, 16, requires_grad=True)
    part(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('f,said', [(lambda: root_keys(9), '`n`'), (lambda: random_keys(0), '`n`'), (lambda: KeyGate(np.ones((3,7)), 9), 'n=8'),
    (lambda: KeyGate(np.full((3,8), np.nan), 9), '`keys`'), (lambda: KeyGate(np.ones((3,8)), 9), 'a length of'), (lambda: KeyGate(root_keys(8), 7), '`hidden`'),
    (lambda: KeyGate(root_keys(8), 9, 9), '`k`'), (lambda: KeyGate(root_keys(8), 9, tau=0.), '`tau`'), (lambda: LearnedGate(4, 3, 4), '`k`'),
    (lambda: Experts(KeyGate(root_keys(8), 9), 9, 0), '`width`'), (lambda: Experts(KeyGate(root_keys(8), 9), 9, 2)(torch.zeros(2, 8)), '9 numbers a token'),
    (lambda: KeyGate(root_keys(8), 9)(torch.zeros(2, 8)), '9 numbers a token'), (lambda: load_of(torch.tensor([2]), 2), '`at`'),
    (lambda: with_experts(KernelLM(16, 1, 2, 12, 4), lambda i: Experts(KeyGate(root_keys(8), 9), 9, 2)), 'width 16')])
def test_what_is_refused(f, said):
    with pytest.raises(CheckError, match=said): f()
