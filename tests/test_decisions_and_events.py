"What a network decides without keeping anything is what the record says; compiled sums are those of numpy."
import numpy as np
import pytest
from dataclasses import replace
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantion.runtime import network as nw
from quarantion.runtime import plan, products
from quarantion.runtime.layer import RESETS, IntLayer, Op
from quarantion.runtime.network import IntegerNetwork


def layer(rng, shape, reset, theta, **kw):
    n = shape[0]
    return IntLayer(rng.integers(-127, 128, shape).astype(np.int8), rng.integers(-50, 50, n).astype(np.int32), np.full(n, theta, np.int32) + rng.integers(0, 50, n).astype(np.int32),
                    rng.integers(50000, 65536, n).astype(np.int32), np.ones(n), 4, reset, 127, **kw)


@st.composite
def networks(draw):
    "Networks of all kinds of layers, and how their inputs are coded"
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    lo,hi = draw(st.sampled_from([(0,1),(0,255),(-127,127),(-1,1)]))
    resets = [draw(st.sampled_from(RESETS)) for _ in range(3)]
    hidden,classes = draw(st.integers(1, 40)),draw(st.integers(1, 35))
    theta = 1500*hi
    if draw(st.booleans()):
        groups = draw(st.sampled_from([1,2]))
        pools = dict(before=(Op('max',(2,2),(2,2)),)) if draw(st.booleans()) else dict(after=(Op('sum',(2,2),(2,2)),)) if draw(st.booleans()) else {}
        layers = layer(rng, (4,2//groups,3,3), resets[0], theta, conv=((1,1),(1,1),(1,1),groups), **pools),
        side = 3 if pools else 6
        link = draw(st.sampled_from([(Op('flatten'),), (Op('sum',(3,3),(3,3)),Op('flatten')), (Op('max',(3,3),(3,3)),Op('flatten'))]))
        flat = 4*side**2 if len(link)==1 else 4*(side//3)**2
        layers += layer(rng, (hidden,flat), resets[1], 1500, before=link),
        in_shape = 2,6,6
    else:
        in_shape = draw(st.integers(1, 90)),
        layers = layer(rng, (hidden,*in_shape), resets[1], theta),
    return IntegerNetwork(layers+(layer(rng, (classes,hidden), resets[2], 1500),), in_shape, draw(st.integers(1, 7)), 1., lo, hi, draw(st.integers(1, 2)))


@settings(deadline=None, max_examples=120)
@given(networks(), st.integers(0, 9), st.booleans(), st.booleans(), st.floats(0, 1), st.data())
def test_classify_is_what_the_record_decides(net, batch, constant, turned, density, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    shape = ((batch,) if constant else (data.draw(st.integers(1, 9)),batch))+net.in_shape
    x = rng.integers(net.in_min, net.in_max+1, shape)*(rng.random(shape)<density)
    x = x.astype(data.draw(st.sampled_from(['int16','int64']+['uint8']*(net.in_min==0)+['bool']*(net.in_max==1 and net.in_min==0))))
    if turned: x = np.ascontiguousarray(x.T).T # not contiguous
    rec = net.record(x)
    spk,mem = net(x)
    assert (spk==rec[-1].spk).all() and (mem==rec[-1].mem).all() and spk.dtype==np.uint8 and mem.dtype==np.int32
    said = net.decide(rec[-1].spk, rec[-1].mem)
    old = nw._BLOCK,products.COMPILED
    try:
        for nw._BLOCK in old[0],1: # whole, and sample by sample
            assert net.classify(x).tolist()==said.tolist()
        plan.COMPILED = products.COMPILED = False # the products of numpy
        plain = replace(net, threads=1).record(x)
    finally:
        nw._BLOCK,products.COMPILED = old
        plan.COMPILED = products.COMPILED
    for a,b in zip(rec, plain):
        assert (a.spk==b.spk).all() and (a.mem==b.mem).all()


def test_all_floats_are_codes():
    rng = np.random.default_rng(0)
    net = IntegerNetwork((layer(rng, (3,8), 'subtract', 300),), (8,), 5, 1., 0, 1)
    x = rng.integers(0, 2, (5,4,8))
    for dtype in 'float32','float64','uint8','int8','bool': assert net.classify(x.astype(dtype)).tolist()==net.classify(x).tolist()
    assert net.codes(x.astype(bool)).dtype==np.int32
    for bad in 2,-1,.5:
        with pytest.raises(ValueError, match='`x`'): net.classify(np.full((5,4,8), bad))
    with pytest.raises(ValueError, match='shape'): net.classify(x[...,:7])


def test_windows_of_more_than_255_spikes():
    "Sums of windows do not fit in the byte that a spike has"
    one = np.ones(1, np.int32)
    first = IntLayer(np.ones((1,1,1,1), np.int8), 0*one, one, 65536*one, np.ones(1), 0, 'zero', 127, conv=((1,1),(0,0),(1,1),1))
    last = IntLayer(np.ones((1,1), np.int8), 0*one, one, 65536*one, np.ones(1), 0, 'none', 127, before=(Op('sum',(17,17),(17,17)),Op('flatten')))
    net = IntegerNetwork((first,last), (1,17,17), 1, 1., 0, 2)
    assert net(np.full((1,1,1,17,17), 2))[1].item()==17*17


def test_nothing_is_taken_twice(monkeypatch):
    "Products of a constant input are those of one step, and transposed weights are made once"
    rng = np.random.default_rng(0)
    net,seen = IntegerNetwork((layer(rng, (3,8), 'subtract', 300),layer(rng, (2,3), 'none', 300)), (8,), 25, 1., 0, 1),[]
    x = np.ones((4,8), np.uint8)
    net.classify(x)
    rows = [l.rows for l in net.layers]
    monkeypatch.setattr(plan, 'spike_products', lambda x, *a, f=products.spike_products: (seen.append(x.shape), f(x, *a))[1])
    net.classify(x)
    assert seen==[(4,8),(100,3)] and all(a is l.rows for a,l in zip(rows, net.layers))


@pytest.mark.parametrize('rows', (1,25,6400))
@pytest.mark.parametrize('channels', (1,10,100,1000))
def test_both_sides_of_the_break_even(rows, channels):
    "Whatever is chosen, products are the same"
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (40,-(-channels//32)*32)).astype(np.int8)
    for density in 0,.1,.9:
        spk = (rng.random((min(rows, 300),40))<density).astype(np.uint8)
        assert (products.spike_products(spk, w, channels, 1)==(spk.astype(int)@w)[:,:channels]).all()
    assert products.break_even(rows, channels)>=products.break_even(10*rows, channels)
