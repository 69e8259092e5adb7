"What is drawn beside what it is defined as"
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.language.model import KernelLM
from quarantion.language.sample import Sampler, bigram_table, continued, sample_next

G = np.random.default_rng(0)
P = G.dirichlet(np.ones(5), 12)
T = bigram_table([G.integers(0, 12, 200)], 12, .5)


def test_a_table_counts_pairs_and_no_ends_of_texts():
    ids,n = [G.integers(0, 7, k) for k in (30,1,0,9)],np.zeros((7,7))
    for t in ids:
        for a,b in zip(t, t[1:]): n[a,b] += 1
    share = (np.bincount(np.concatenate(ids), minlength=7)+1)/(40+7)
    want = (n+2*share)/(n.sum(1, keepdims=True)+2)
    assert np.allclose(np.exp(bigram_table(ids, 7, 2.)), want) and np.isfinite(bigram_table(ids, 9, 1e-9)).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=9), st.floats(0, 5), st.floats(0, 5), st.floats(.1, 4), st.integers(0, 12), st.integers(1, 4))
def test_scores_as_defined(context, wb, w2, temperature, top, window):
    z = G.normal(size=12)
    s = Sampler(temperature, top, P, wb, window, T, w2).scores(z, context)
    m = Sampler(1., 0, P, 1., window).scores(np.zeros(12), context) # distances alone
    want = (z-z.max())/temperature+wb*m+w2*T[context[-1]]
    kept = np.isfinite(s)
    assert np.allclose(s[kept], want[kept], atol=1e-9) and kept.sum()==(top or 12)
    assert kept.all() or want[kept].min()>=want[~kept].max()-1e-9


def test_each_seed_is_one_text():
    torch.manual_seed(0)
    net = KernelLM(16, 1, 2, 12, 4)
    ask = lambda ids: net(torch.tensor(ids[None]))[0,-1].detach()
    a,b,c = (continued(ask, [1,2], 20, Sampler(1., 5, P, .5, 4, T, .5), s) for s in (0,0,1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(continued(ask, [1,2], 7, Sampler(1., 5, P, .5, 4, T, .5), 0), a[:7]) # its beginning is that of a longer one
    greedy = continued(ask, [3], 5, Sampler(top=1))
    assert greedy[0]==int(ask(np.array([3])).argmax())


def test_draws_are_as_frequent_as_probabilities():
    z,rng = G.normal(size=12),np.random.default_rng(3)
    s = Sampler(.7, 6).scores(z, [0])
    p = np.exp(s-s.max()); p /= p.sum()
    n = np.bincount([sample_next(z, [0], Sampler(.7, 6), rng) for _ in range(5000)], minlength=12)
    assert not n[p==0].any() and ((n-5000*p)[p>0]**2/(5000*p[p>0])).sum()<25 # chi squared, 5 degrees
    assert sample_next([-1e308,1e308], [0], Sampler(1e-3), rng)==1 # differences that are too large for numbers


@pytest.mark.parametrize('how,said', [(dict(basin_weight=.5), '`basins`: expected one'), (dict(bigram_weight=.5), '`table`: expected one'),
    (dict(basins=np.ones((3,2))), 'sum to 1'), (dict(basins=np.array([[1.5,-.5]])), '>= 0'), (dict(table=np.ones((2,2))), '`table`'),
    (dict(table=-np.ones((2,3))), 'as many columns'), (dict(table=np.full((2,2), -np.inf)), '`table`'), (dict(temperature=0.), '`temperature`'),
    (dict(temperature=float('nan')), '`temperature`'), (dict(top=-1), '`top`'), (dict(window=0), '`window`'), (dict(basin_weight=-1.), '`basin_weight`')])
def test_what_a_sampler_refuses(how, said):
    with pytest.raises(CheckError, match=said): Sampler(**how)


@pytest.mark.parametrize('logits,context,said', [([1,np.nan], [0], 'finite'), ([1,-np.inf], [0], 'finite'), ([], [0], 'at least one'),
    ([[1.,2.]], [0], 'axes'), ([1.,2.], [], 'at least one token'), ([1.,2.], [2], 'in .0, 1.'), ([1.,2.], [.5], 'whole numbers'), ([1.,2.], [-1], 'found -1')])
def test_what_scores_refuse(logits, context, said):
    with pytest.raises(CheckError, match=said): Sampler().scores(logits, context)
