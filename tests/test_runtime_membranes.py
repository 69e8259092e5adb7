"Layers with few bits of state, second leaks and recurrent weights: what a saved file runs is what plain Python says, and it stays in range."
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.runtime.store import FORMAT, VERSION, packed
from quarantion.runtime.layer import RESETS, IntLayer, Op, membrane_bound, prove_range
from quarantion.runtime.network import IntegerNetwork, load, sizes

FIRED = []   # rates of all layers that fire, over all examples below
TABLES = dict(quarters=[k*16384 for k in range(-4, 9)], exponential=[-131072,-65536,-32768,-16384,0,16384,32768,65536,131072], two=[0,98304], many=[k*1024-65536 for k in range(256)])


def ints(rng, lo, hi, n): return rng.integers(lo, hi, n, np.int32)


@st.composite
def layers(draw, shape, sums, neurons, conv=(), **kw):
    "A layer with options as they come; its current is of the size of `sums`"
    rng,c = np.random.default_rng(draw(st.integers(0, 2**20))),shape[0]
    q = draw(st.sampled_from([1,4,7,127]))
    guard,reset,before = draw(st.sampled_from([0,0,3,8])),draw(st.sampled_from(RESETS)),draw(st.booleans())
    kept = draw(st.sampled_from(['all','clip',*TABLES]))
    size = max(2, int(sums*q/2))                        # what a sum is like
    more = dict(conv=conv, reset=reset, **kw)
    if draw(st.booleans()):
        top = draw(st.sampled_from([7,127,32767]))
        shift = draw(st.integers(31, 36))
        m0 = rng.integers(2**30, 2**31, c, np.int64)
        more |= few_bits(m0.astype(np.int32), shift, top, c)
        size = max(2, min(top, int(size*2**30.5/2**shift)))
    theta = ints(rng, max(1, size//3), size+1, c)<<guard
    if kept=='clip': more['clip'] = int(draw(st.sampled_from([theta.max()+1, 3*theta.max()])))
    if kept in TABLES: more['levels'] = np.array(TABLES[kept], np.int32)
    if kept!='all' : more['before_fire'] = before
    if draw(st.integers(0, 2))==0: more['current_leak'] = ints(rng, 0, 60000, c)
    way = draw(st.sampled_from(['none','none','all','one','channel']))
    codes = lambda s: rng.integers(-q, q+1, s).astype(np.int8)
    if way=='all' and conv: more |= dict(recurrent=codes((c,c//conv[3],3,3)), recurrent_conv=((1,1),(1,1),(1,1),conv[3]))
    elif way!='none': more['recurrent'] = codes((neurons,neurons) if way=='all' else (neurons if way=='one' else c,))
    if way!='none': more['gain'] = draw(st.sampled_from([1,1,4]))
    return IntLayer(codes(shape), ints(rng, -size//8, size//2+1, c)<<guard, theta, ints(rng, 40000, 65537, c), 1/theta, guard, quant_max=q, **more)


@st.composite
def networks(draw):
    lo,hi = draw(st.sampled_from([(0,1),(0,1),(0,9),(-3,3)]))
    steps,hidden,c = draw(st.integers(5, 14)),draw(st.integers(2, 7)),draw(st.integers(1, 4))
    if draw(st.integers(0, 3))==0:
        groups,pool = draw(st.sampled_from([1,2])),draw(st.booleans())
        side = 2 if pool else 4
        first = draw(layers((4,2//groups,3,3), 3*hi, 4*side**2, ((1,1),(1,1),(1,1),groups), after=(Op('sum',(2,2),(2,2)),) if pool else ()))
        net,in_shape = (first,draw(layers((hidden,4*side**2), 3, hidden, before=(Op('flatten'),)))),(2,4,4)
    else:
        n = draw(st.integers(1, 9))
        net,in_shape = (draw(layers((hidden,n), n**.5*hi, hidden)),),(n,)
    net += draw(layers((c,hidden), hidden**.5, c)),
    return IntegerNetwork(net, in_shape, steps, 1., lo, hi, draw(st.integers(1, 2)))


def inputs(net, rng, batch, density=.5):
    shape = (net.steps,batch,*net.in_shape)
    return rng.integers(net.in_min, net.in_max+1, shape)*(rng.random(shape)<density)


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])
@given(net=networks(), seed=st.integers(0, 2**20), density=st.floats(.2, 1), batch=st.integers(1, 3))
def test_a_saved_file_runs_what_plain_python_says(tmp_path, net, seed, density, batch):
    net.save(tmp_path/'net.safetensors')
    file = load(tmp_path/'net.safetensors')
    x = inputs(net, np.random.default_rng(seed), batch, density)
    record,bounds = file.record(x),net.prove(net.steps)
    for b in range(batch):
        for l,r,bound,(spk,mem,raw) in zip(net.layers, record, bounds, reference.trace(net, x[:,b].tolist())):
            assert (r.spk[:,b].reshape(len(spk), -1)==np.array(spk)).all()
            assert (r.mem[:,b].reshape(len(mem), -1)==np.array(mem)).all()
            assert max(abs(np.array(raw)).max(), abs(np.array(mem)).max())<=bound
            if l.reset!='none': FIRED.append(np.mean(spk))
    spk,mem = file(x)
    assert (spk==record[-1].spk).all() and (mem==record[-1].mem).all()
    assert file.classify(x).tolist()==file.decide(spk, mem).tolist()


def test_examples_were_not_vacuous():
    assert len(FIRED)>300
    assert np.mean([0<r<1 for r in FIRED])>.6


def layer(w=((3,-2),(1,4)), theta=9, leak=60000, guard=0, reset='subtract', **kw):
    w = np.array(w, np.int8)
    full = lambda v: np.full(len(w), v, np.int32)
    return IntLayer(w, full(0), full(theta), full(leak), 1/full(theta), guard, reset, 4, **kw)


def few_bits(m0, shift, top, c=2): return dict(m0=np.full(c, 1, np.int32)*np.int32(m0), shift=np.full(c, shift, np.int32), current_max=top)


KINDS = dict(plain={}, clipped=dict(clip=15), levels=dict(levels=np.array(TABLES['quarters'], np.int32)), requant=few_bits(2**30, 31, 7),
             current_leak=dict(current_leak=np.full(2, 50000, np.int32)), recurrent=dict(recurrent=np.array([[1,-2],[2,1]], np.int8), gain=3))


@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('kind', KINDS)
def test_the_worst_input_stays_within_the_proof(kind, reset):
    "Inputs of the sign of the weights, held as long as it takes"
    l = layer(reset=reset, **KINDS[kind])
    for sign in 1,-1:
        net = IntegerNetwork((replace(l, weight=(abs(l.weight)*sign).astype(np.int8), recurrent=(abs(l.recurrent)*sign).astype(np.int8)),), (2,), 200, 1., 0, 1)
        _,_,raw = reference.trace(net, [[1,1]]*200)[0]
        assert abs(np.array(raw)).max()<=net.prove(200)[0]<2**31


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**20), st.sampled_from(RESETS), st.booleans(), st.integers(0, 65536), st.sampled_from(['all','clip','levels']))
def test_random_walks_stay_within_the_bound(seed, reset, second, m, kept):
    rng = np.random.default_rng(seed)
    l = layer([[127]], theta=int(rng.integers(1, 5000)), leak=m, guard=4, reset=reset, **({'current_leak':ints(rng, 0, 65537, 1)} if second else {}),
              **dict(all={}, clip=dict(clip=300), levels=dict(levels=np.array(TABLES['exponential'], np.int32)))[kept])
    bound,v,j = prove_range(l, 9, 60),0,0
    for i in range(60):
        a = int(rng.choice([-1,1]))*127*9 if i<30 else (127*9 if v>0 else -127*9)
        _,p,v,j = reference.step(v, j, a, l, 0)
        assert abs(p)<=bound and abs(v)<=bound


def test_bounds_for_tensors_are_those_for_arrays():
    rng = np.random.default_rng(0)
    p,b,t,m,m2,top = (rng.integers(1, 60000, 5) for _ in range(6))
    for kw in {}, dict(current_max=127), dict(current_leak=m2), dict(top=top), dict(current_max=7, current_leak=m2, top=top):
        top_ = kw.pop('top', None)
        low = IntLayer(np.ones((5,1), np.int8), b, t, m, np.ones(5), 3, **kw)
        tensors = replace(low, **{k:torch.tensor(getattr(low, k)) for k in ('bias','theta','leak','current_leak')})
        a = membrane_bound(p.astype(float), low, 25, top_)
        assert np.allclose(a, membrane_bound(torch.tensor(p).double(), tensors, 25, None if top_ is None else torch.tensor(top_).double()).numpy(), rtol=1e-12)
        if top_ is not None and 'current_leak' not in kw: assert (membrane_bound(p.astype(float), replace(low, leak=0*m+65536), math.inf, top_)<2**31).all()
    assert membrane_bound(np.ones(1), layer([[1]], theta=1, leak=65536), math.inf)[0]>2**31


@pytest.mark.parametrize('change,words', [
    (dict(clip=-1), '`clip`'), (dict(clip=7, levels=np.array([0], np.int32)), '`clip`'), (dict(levels=np.array([1,2], np.int32)), '`levels`'), (dict(levels=np.array([0,0], np.int32)), '`levels`'),
    (dict(levels=np.array([0.,1.])), '`levels`'), (dict(clip=9, before_fire=True), 'threshold: expected less than the largest membrane.*cannot fire'),
    (dict(levels=np.array([0,65536], np.int32), before_fire=True), 'cannot fire'), (few_bits(5, 31, 7), '`m0`'),
    (few_bits(2**30, 63, 7), '`shift`'), (few_bits(2**30, 31, 0), '`current_max`'),
    (few_bits(2**30, 31, 7) | dict(m0=np.full(1, 2**30, np.int32)), '`m0`'), (dict(current_leak=np.full(2, 65537, np.int32)), '`current_leak`'), (dict(current_leak=np.full(2, .5)), '`current_leak`'),
    (dict(recurrent=np.ones((2,3), np.int8)), '`recurrent`'), (dict(recurrent=np.ones(3, np.int8)), '`recurrent`'), (dict(recurrent=np.ones((2,2))), '`recurrent`'),
    (dict(recurrent=np.ones((4,4), np.int8)), '`recurrent`: expected weights of 2 neurons'), (dict(gain=0), '`gain`'),
    *[(dict(before=(Op('max', (2,2), (2,2), sides),)), '`padding`: expected less than the window') for sides in ((2,0),(0,2),(5,5))],
    (dict(after=(Op('max', (2,2), (2,2), (3,3)),)), '`padding`')])
def test_what_is_no_layer_is_refused_by_name(change, words):
    with pytest.raises(CheckError, match=f'layer 0: .*{words}'): IntegerNetwork((layer(**change),), (2,), 5, 1., 0, 1)(np.ones((1,2)))


def test_sums_beyond_int32_are_refused():
    with pytest.raises(CheckError, match=r'layer 0: products: expected \|A\| < 2\^31'):
        IntegerNetwork((layer(clip=127, **KINDS['requant'], before=(Op('sum', (2**11,2**11)),)),), (2,), 5, 1., 0, 255)
    with pytest.raises(CheckError, match='largest guard that fits: f = 4'): prove_range(layer(theta=2**29, guard=5, levels=np.array([0,2**18], np.int32)), 1, 5)


def test_recurrent_weights_of_a_convolution_must_keep_its_shape():
    one = np.ones((2,1,3,3), np.int8)
    l = replace(layer(one, conv=((1,1),(1,1),(1,1),1)), recurrent=np.ones((2,2,3,3), np.int8), recurrent_conv=((1,1),(0,0),(1,1),1))
    with pytest.raises(ValueError): IntegerNetwork((l,), (1,4,4), 3, 1., 0, 1)(np.ones((1,1,4,4)))


def test_runs_without_end_are_proved_for_clipped_membranes_alone():
    held = layer(leak=65536, clip=15)
    assert IntegerNetwork((held,), (2,), 5, 1., 0, 1).prove(math.inf)==[prove_range(held, 1, 5)]
    with pytest.raises(CheckError, match='layer 0: membranes'): IntegerNetwork((layer(leak=65536),), (2,), 5, 1., 0, 1).prove(math.inf)
    assert IntegerNetwork((layer(),), (2,), 5, 1., 0, 1).prove(math.inf)[0]<2**31


# Files

def first_version(net, path):
    "The file that the first version wrote"
    tensors,heads = {},[]
    for i,l in enumerate(net.layers):
        tensors[f'{i}.weight'] = packed(l.weight, l.quant_max)
        for k in 'bias','theta','leak','unit':
            v = getattr(l, k)
            tensors[f'{i}.{k}'] = v[:1] if (v==v[0]).all() else v
        packing = 'trits' if l.quant_max<=1 else 'nits' if l.quant_max<=4 else 'nibbles' if l.quant_max<=7 else 'bytes'
        heads.append(dict(shape=list(l.weight.shape), packing=packing, quant_max=l.quant_max, guard=l.guard, reset=l.reset, before=[asdict(o) for o in l.before], after=[asdict(o) for o in l.after], conv=list(l.conv)))
    save_tensors(path, tensors, dict(format='quarantion.integer', version=1, in_shape=list(net.in_shape), steps=net.steps, in_scale=net.in_scale, in_min=net.in_min, in_max=net.in_max, layers=heads))


@pytest.mark.parametrize('q', [1,4,7,127])
def test_files_of_the_first_version_are_read(tmp_path, q):
    rng = np.random.default_rng(q)
    codes = lambda *s: rng.integers(-q, q+1, s).astype(np.int8)
    first = replace(layer(codes(4,1,3,3), theta=3*q, conv=((1,1),(1,1),(1,1),1), after=(Op('sum',(2,2),(2,2)),)), quant_max=q)
    net = IntegerNetwork((first,replace(layer(codes(3,16), theta=2*q, before=(Op('flatten'),), reset='none'), quant_max=q, theta=ints(rng, q, 3*q+1, 3))), (1,4,4), 9, 1., 0, 1)
    first_version(net, tmp_path/'old')
    net.save(tmp_path/'new')
    x = inputs(net, rng, 5)
    with pytest.warns(UserWarning, match='old: version 1 has no seal'): old = load(tmp_path/'old')
    for a,b,c in zip(net.record(x), old.record(x), load(tmp_path/'new').record(x)):
        assert 0<a.spk.mean()<1
        assert (a.spk==b.spk).all() and (a.mem==b.mem).all() and (a.spk==c.spk).all() and (a.mem==c.mem).all()
    for a,b in zip(net.layers, load(tmp_path/'new').layers):
        assert np.abs(a.unit*a.theta-b.unit*b.theta).max()<=a.unit.max()/2+1e-6        # within half a part of θ


@pytest.mark.parametrize('field,value', [('shape',[2,3]),('shape',[2]),('shape',[2**20,2**20]),('current_max',0),('current_max',-1),('current_max','x'),('levels',0),('levels',4),('levels',-1),('recurrent',[]),('recurrent',[3,3]),
    ('recurrent',[0]),('recurrent_conv',[1]),('gain',0),('gain',1.5),('clip',-1),('clip',7),('before_fire',1),('current_leak','yes'),('current_leak',False),('colour','red'),('guard',31),('quant_max',3)])
def test_damaged_fields_of_a_layer(tmp_path, field, value):
    IntegerNetwork((rich(),), (2,), 5, 1., 0, 1).save(tmp_path/'net')
    tensors,head = load_tensors(tmp_path/'net', FORMAT, VERSION)
    head['layers'][0][field] = value
    save_tensors(tmp_path/'bad', tensors, head)
    with pytest.raises(CheckError, match='bad'): load(tmp_path/'bad')


def rich(): return layer(levels=np.array(TABLES['quarters'], np.int32), **KINDS['requant'], **KINDS['current_leak'], **KINDS['recurrent'])


@pytest.mark.parametrize('name', ['weight','bias','theta','leak','m0','shift','current_leak','levels','recurrent','worth'])
def test_lost_and_damaged_tensors_are_named(tmp_path, name):
    IntegerNetwork((rich(),), (2,), 5, 1., 0, 1).save(tmp_path/'net')
    tensors,head = load_tensors(tmp_path/'net', FORMAT, VERSION)
    lost = {k:v for k,v in tensors.items() if k!=f'0.{name}'}
    for bad in lost, lost | {f'0.{name}':np.array([*tensors[f'0.{name}'],1,1], tensors[f'0.{name}'].dtype)}:
        save_tensors(tmp_path/'bad', bad, head)
        with pytest.raises(CheckError, match=f'bad: tensor `0.{name}`: expected'): load(tmp_path/'bad')
    if name!='worth':
        for i in range(tensors[f'0.{name}'].size):
            a = tensors[f'0.{name}'].copy()
            a[i] ^= 4
            save_tensors(tmp_path/'bad', lost | {f'0.{name}':a}, head)
            with pytest.raises(CheckError, match=f'bad: tensor `0.{name}`: expected'): load(tmp_path/'bad')


def test_headers_hold_what_is_not_usual():
    from quarantion.runtime.store import file_header
    net = IntegerNetwork((layer(guard=8),), (2,), 5, 1., 0, 1)
    assert file_header(net.layers, net.header)==dict(digest='', format=FORMAT, version=VERSION, in_shape=[2], steps=5, layers=[dict(shape=[2,2])])


def test_sizes_are_those_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    net = IntegerNetwork((rich(),layer(rng.integers(-4, 5, (50,2)))), (2,), 5, 1., 0, 1)
    net.save(tmp_path/'net')
    rows = {r.name:r for r in sizes(net)}
    assert sum(r.coded for r in rows.values())==(tmp_path/'net').stat().st_size
    assert set(rows)-{'header'}==set(load_tensors(tmp_path/'net', FORMAT, VERSION)[0])
    w = rows['1.weight']
    assert (w.shape,w.real,w.packed)==((50,2),400,40) and rows['1.leak'].packed==4 and rows['0.m0'].real==0


def test_saving_says_what_it_needs(tmp_path, monkeypatch):
    "Without the range coder nothing is written, and the error names it"
    import sys
    net = IntegerNetwork((layer(),), (2,), 5, 1., 0, 1)
    net.save(tmp_path/'net')
    monkeypatch.setitem(sys.modules, 'constriction', None)
    with pytest.raises(CheckError, match='constriction'): net.save(tmp_path/'other')
    assert not (tmp_path/'other').exists()
    with pytest.raises(CheckError, match='constriction'): load(tmp_path/'net')
