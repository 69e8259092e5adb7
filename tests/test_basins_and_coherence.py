"Basins beside dense counts, and measures of coherence beside their definitions"
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.language.basins import basins_of, merged_basin, ppmi_vectors
from quarantion.language.coherence import adjacent_similarity, distinct, perplexity_per_byte, repetition


def texts(seed, n=12, vocab=30):
    g = np.random.default_rng(seed)
    return [g.integers(0, vocab-1, g.integers(0, 60)) for _ in range(n)]


@pytest.mark.parametrize('window,shift', [(1, 1.), (4, 1.), (3, 2.)])
def test_vectors_are_those_of_dense_counts(window, shift):
    ids,c = texts(0),np.zeros((30,30))
    for t in ids:
        for i,j in ((i,j) for i in range(len(t)) for j in range(len(t)) if 0<abs(i-j)<=window): c[t[i],t[j]] += 1
    with np.errstate(divide='ignore', invalid='ignore'): m = np.log(c*c.sum()/np.outer(c.sum(1), c.sum(1))/shift)
    m = np.where(m>0, m, 0)
    u,s,_ = np.linalg.svd(m)
    v = ppmi_vectors(ids, 30, 6, window, shift)
    assert np.allclose(v@v.T, (u[:,:6]*s[:6])@u[:,:6].T, atol=1e-9)
    assert (v[abs(v).argmax(0),np.arange(6)]>0).all() and np.all(np.diff(np.linalg.norm(v, axis=0))<1e-12)
    p = basins_of(ids, 30, 6, window, shift)
    assert np.array_equal(p, basins_of(ids, 30, 6, window, shift)) # the same again
    assert np.allclose(p, torch.tensor(v).softmax(1).numpy()) and np.allclose(p[29], 1/6)
    assert np.allclose(basins_of(ids[::-1], 30, 6, window, shift), p, atol=1e-9) # texts have no order


def test_basins_of_nothing_are_even():
    assert np.allclose(basins_of([np.array([3])], 5, 2), .5) # no pair at all
    assert np.allclose(merged_basin(np.array([[1,0],[0,1.]])), .5)


def test_what_basins_refuse():
    for ids,said in (([], 'at least one text'), ([np.array([], int)], 'at least one token'), ([np.array([1.5])], 'whole numbers'),
                     ([np.array([[1]])], 'whole numbers'), ([np.array([9])], 'in \\[0, 7\\], found 9'), ([np.array([-1])], 'found -1')):
        with pytest.raises(CheckError, match='`ids`: expected.*'+said): basins_of(ids, 8, 2)
    for how,said in ((dict(dim=8), '`dim`'), (dict(dim=2, window=0), '`window`'), (dict(dim=2, shift=.5), '`shift`')):
        with pytest.raises(CheckError, match=said): basins_of([np.arange(8)], 8, **how)
    with pytest.raises(CheckError, match='points.*sum to 1'): merged_basin(np.ones((2,3)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 12))
def test_variety_as_defined(t, n, window):
    runs = [tuple(t[i:i+n]) for i in range(len(t)-n+1)]
    assert distinct(t, n)==(len({*runs})/len(runs) if runs else 0)
    assert repetition(t, window)==pytest.approx(sum(x in t[max(0, i-window):i] for i,x in enumerate(t))/len(t))
    assert distinct([f'w{x}' for x in t], n)==distinct(t, n)


def test_perplexity_does_not_depend_on_how_text_is_cut():
    losses = np.random.default_rng(0).random(60)
    whole = perplexity_per_byte(losses, 90)
    assert perplexity_per_byte(losses.reshape(20, 3).sum(1), 90)==pytest.approx(whole)
    assert math.log2(whole)==pytest.approx(losses.sum()/90/math.log(2))
    with pytest.raises(CheckError, match='at most 700 nats a byte'): perplexity_per_byte(np.array([1e6]), 1)
    with pytest.raises(CheckError, match='`size`: expected >= 1'): perplexity_per_byte(losses, 0)


def test_adjacent_similarity_takes_any_encoder():
    v = np.random.default_rng(1).normal(size=(5,4))
    want = np.mean([a@b/np.linalg.norm(a)/np.linalg.norm(b) for a,b in zip(v, v[1:])])
    for encode in (lambda s: v, lambda s: torch.tensor(v), lambda s: v.tolist()): assert adjacent_similarity(list('abcde'), encode)==pytest.approx(want)
    for bad,said in ((lambda s: v[:4], 'n=5'), (lambda s: v*np.nan, 'finite'), (3, 'a function, found int')):
        with pytest.raises(CheckError, match=said): adjacent_similarity(list('abcde'), bad)
