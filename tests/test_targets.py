"What a program needs of a chip, counted one connection at a time; and limits that say where they are from"
import math
import re
from pathlib import Path

import networks
import numpy as np
import pytest

from quarantion.export.cost import bytes_of
from quarantion.export.targets import DARWIN, ITEMS, TARGETS, Limit, Source, Target, needs_of, targets_of
from quarantion.runtime.layer import ONE, IntLayer
from quarantion.runtime.network import IntegerNetwork, load

DIGITS = Path(__file__).parent.parent/'nbs/measured/digits.safetensors'


def layer(w, theta=3, m=ONE-ONE//16, **kw):
    full = lambda v: np.full(len(w), v, np.int32)
    return IntLayer(np.array(w, np.int8), full(0), full(theta), full(m), np.ones(len(w)), guard=0, **kw)


def wires(l, shape):
    "Each connection of a convolution or of a linear layer by itself: pairs (input, neuron)"
    w = l.weight
    if not l.conv: return [(j, c) for c in range(len(w)) for j in range(w.shape[1]) if w[c,j]]
    h3 = (shape[0],1,shape[1]) if len(shape)==2 else shape
    (sh,sw),(ph,pw),(dh,dw),groups = l.conv
    _,h,v = h3
    kh,kw = w.shape[2:]
    oh,ow = ((n+2*p-(k-1)*d-1)//s+1 for n,p,k,d,s in zip((h,v), (ph,pw), (kh,kw), (dh,dw), (sh,sw)))
    own,out = len(w)//groups,[]
    for c in range(len(w)):
        for i in range(w.shape[1]):
            for a in range(kh):
                for b in range(kw):
                    for y in range(oh):
                        for x in range(ow):
                            iy,ix = y*sh-ph+a*dh,x*sw-pw+b*dw
                            if w[c,i,a,b] and 0<=iy<h and 0<=ix<v: out.append((((c//own)*w.shape[1]+i, iy, ix), (c,y,x)))
    return out


@pytest.mark.parametrize('seeds', [range(60), pytest.param(range(60, 600), marks=pytest.mark.soak)], ids=['short','long'])
def test_counts_of_random_networks(seeds):
    from quarantion.runtime.products import pooled
    seen = set()
    for seed in seeds:
        net = networks.network(np.random.default_rng(seed))
        need,shape,synapses,outs = needs_of(net),net.in_shape,0,0
        for i,p in enumerate(net.plan):
            met = pooled(np.zeros((1,*shape), np.int32), p.layer.before).shape[1:]
            w = wires(p.layer, met)
            synapses += len(w)
            if i: outs = max(outs, max(np.unique([str(a) for a,_ in w], return_counts=True)[1], default=0)) if w else outs
            r = p.layer.recurrent
            if r.ndim==1 and r.size: synapses += int(np.count_nonzero(r))*(p.neurons//len(r))
            elif r.ndim==2: synapses += np.count_nonzero(r)
            elif r.ndim==4: synapses += len(wires(layer(r, conv=p.layer.recurrent_conv), p.features))
            shape = p.features
            seen.add((bool(p.layer.conv), r.ndim if r.size else 0))
        assert need['synapses'].found==synapses, seed
        assert need['fan_out'].found>=outs, seed
        assert need['neurons'].found==sum(p.neurons for p in net.plan)==need['hidden'].found+need['outputs'].found
        assert need['inputs'].found==math.prod(net.in_shape) and need['memory'].found==sum(bytes_of(net))
        most = max(int(np.abs(r.mem).max(initial=0)) for r in net.record(networks.sample(np.random.default_rng(seed), net, 3)))
        assert most<2**(need['state_bits'].found-1), seed
        assert {*need}<={*ITEMS} and len(targets_of(net))==len(TARGETS)
    assert {(True,0),(False,0),(True,1),(False,2),(True,4)}<=seen


def test_a_limit_is_held_to_the_last_neuron():
    page = Source('x', 'https://example.com', 'y')
    net = IntegerNetwork((layer(np.ones((5,4), int)), layer(np.ones((2,5), int))), (4,), 3, 1., 0, 1)
    for item,n in dict(neurons=7, hidden=5, outputs=2, inputs=4, synapses=30, fan_in=5, fan_out=2, layers=2, weight_bits=4, input_max=1, distinct=1).items():
        for most,answer in ((n,'yes'), (n-1,'no')):
            fit, = targets_of(net, (Target('chip', (page,), (Limit(item, most),Limit('fan_in', 99))),))
            assert fit.answer==answer, (item, most, fit)
    for item,word in dict(reset='subtract', leak='shift', readout='spikes', pool='none', current='one step').items():
        assert targets_of(net, (Target('chip', (page,), (Limit(item, (word,)),Limit('fan_in', 99))),))[0].answer=='yes', item
        assert targets_of(net, (Target('chip', (page,), (Limit(item, ('other',)),Limit('fan_in', 99))),))[0].answer=='no', item
        assert targets_of(net, (Target('chip', (page,), (Limit(item, ('other',), 0, 'a way'),Limit('fan_in', 99))),))[0].answer=='with changes', item


def test_every_limit_has_a_page_that_says_it():
    for t in TARGETS:
        assert t.limits and all(re.fullmatch(r'https://[^\s<>()]+', s.url) and s.says and s.title for s in t.sources)
        used = {l.source for l in t.limits}
        assert used=={*range(len(t.sources))}, (t.name, used)
    names = ' '.join(t.name for t in TARGETS)
    for word in 'Loihi 2','SpiNNaker 2','Xylo','Speck','Akida','TrueNorth','Darwin','Cortex-M','iCE40','ECP5': assert word in names


def test_what_was_published_of_darwin_decides_nothing():
    fit, = targets_of(load(DIGITS), (DARWIN,))
    assert fit.answer=='unknown' and DARWIN.unknown
    wide = IntegerNetwork((layer(np.ones((2,17), int)),), (17,), 3, 1., 0, 1)
    assert targets_of(wide, (DARWIN,))[0].answer=='unknown'


def test_bytes_are_no_more_than_what_a_compiler_made_of_them():
    "A floor: the C of the digits took more flash and memory, as was measured"
    import json
    rows = json.loads((DIGITS.parent/'exports.json').read_text())['rows']
    constants,states = bytes_of(load(DIGITS))
    for r in rows:
        if r['shape']=='64-128-10' and 'flash' in r: assert r['flash']>=constants*.9 and r['ram']>=states, r
