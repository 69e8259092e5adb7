"Encoders: equal to the peers' where they define the same code, read back within bounds, ready for integers, and small while they are made."
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import spikegen
from spikingjelly.activation_based import encoding, functional
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.quant.proof import verify
from quarantion.spikes.encoders import (DECODERS, ENCODERS, burst, decode, decode_burst, decode_delta, decode_latency, decode_phase,
    decode_population, decode_rate, decode_thermometer, delta, encode, latency, phase, population, rate, thermometer)
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

SPIKING = [e for e in ENCODERS if e!='direct']
FLOATS = torch.float32,torch.float64,torch.float16


def values(*shape, seed=0): return torch.rand(shape or (6,20), generator=torch.Generator().manual_seed(seed))


# the same spikes as the peers'

@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('shape', [(1,),(3,),(5,7),(8,64),(2,1,9,9)])
def test_rate_is_that_of_snntorch(shape, dtype):
    for seed in range(3):
        x = values(*shape, seed=seed).to(dtype)
        torch.manual_seed(seed)
        theirs = spikegen.rate(x, num_steps=17)
        ours = rate(x, 17, seed)
        assert torch.equal(ours, theirs) and ours.dtype==theirs.dtype==dtype
        assert torch.equal(rate(x, 17, seed, dtype=torch.uint8), theirs.to(torch.uint8))

def test_rate_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    rate(values(), 9, 3)
    assert torch.equal(before, torch.get_rng_state())

@pytest.mark.parametrize('T', [2,5,25,100])
def test_latency_is_that_of_snntorch(T):
    x = values(40, 25)
    assert torch.equal(latency(x.clamp(1e-3), T), spikegen.latency(x.clamp(1e-3), num_steps=T, linear=True, normalize=True, threshold=1e-6))
    for tau in .5,1,5,12.5,100:
        for theta in .01,.05,.3:
            x[0,:2] = torch.tensor([theta,1.]) # at the threshold itself, and full
            theirs = spikegen.latency(x, num_steps=T, tau=tau, threshold=theta, clip=True, bypass=True)
            assert torch.equal(latency(x, T, tau, theta), theirs)

def test_where_latency_differs_from_the_peers():
    "A pixel of zero is silent here, fires at the last step there"
    x = torch.tensor([[0., .5, 1.]])
    theirs = encoding.LatencyEncoder(9).single_step_encode(x)
    snn = spikegen.latency(x, num_steps=9, linear=True, normalize=True, threshold=1e-6)
    ours = latency(x, 9)
    for other in theirs,snn:
        assert torch.equal(ours[:,:,1:], other[:,:,1:]) and ours[:,:,0].sum()==0 and other[-1,0,0]==1

@pytest.mark.parametrize('T', [2,8,25,80])
def test_latency_is_that_of_spikingjelly(T):
    x = values(40, 25).clamp(1e-3)
    assert torch.equal(latency(x, T), encoding.LatencyEncoder(T).single_step_encode(x))

def test_delta_is_that_of_snntorch():
    x = values(30, 4, 11).cumsum(0)%1-.3
    for theta in .01,.1,.5:
        s = delta(x, theta)
        assert torch.equal(s[:,:,0]-s[:,:,1], spikegen.delta(x, threshold=theta, off_spike=True))
        assert torch.equal(s[:,:,0], spikegen.delta(x, threshold=theta)) and (s.sum(2)<=1).all()

@pytest.mark.parametrize('bits', range(1, 9))
def test_phase_is_that_of_spikingjelly(bits):
    x = values(40, 25).clamp(max=1-2**-bits)
    x[0,:3] = torch.tensor([0., .5, 1-2**-bits])
    once = phase(x, bits, bits)
    assert torch.equal(once, encoding.WeightedPhaseEncoder(bits).single_step_encode(x))
    assert torch.equal(phase(x, 3*bits, bits), torch.cat([once]*3))
    assert (phase(torch.ones(1,1), bits, bits)==1).all() # which SpikingJelly refuses

@pytest.mark.parametrize('neurons,width', [(1,.5),(3,.2),(8,1/14),(10,.15)])
def test_population_is_that_of_spikingjelly(neurons, width):
    x = values(300, 20)
    peer = encoding.PopSpikeEncoderDeterministic(20, neurons, 25, (0,1), width)
    functional.reset_net(peer)
    with torch.no_grad(): theirs = peer(x).view(25, 300, 20, neurons).transpose(2, 3)
    assert torch.equal(population(x, 25, neurons, width), theirs)


# what all of them do

@pytest.mark.parametrize('name', SPIKING)
def test_shapes_dtypes_and_samples_apart(name):
    x = values(5, 3, 4)
    s = encode(x, name, 12)
    assert s.shape[:2]==(12,5) and s.shape[-2:]==(3,4) and s.dtype==x.dtype and ((s==0)|(s==1)).all()
    assert torch.equal(s, encode(x, name, 12)) and decode(s, name).shape==x.shape
    assert torch.equal(s, encode(x.transpose(1, 2).contiguous().transpose(1, 2), name, 12)) # held in another order
    assert torch.equal(s, encode(x.clone().requires_grad_(), name, 12))
    if name!='rate': assert torch.equal(s[:,2:3], encode(x[2:3], name, 12)) # whatever else is in the batch
    for dtype in FLOATS: assert encode(x.to(dtype), name, 12).dtype==dtype

@pytest.mark.parametrize('f', [lambda x, **k: rate(x, 9, 0, **k), lambda x, **k: latency(x, 9, **k), lambda x, **k: latency(x, 9, 4., **k),
    lambda x, **k: delta(x, **k), lambda x, **k: population(x, 9, **k), lambda x, **k: thermometer(x, 9, **k), lambda x, **k: phase(x, 9, **k), lambda x, **k: burst(x, 9, **k)])
def test_uint8_are_the_same_spikes(f):
    x = values(6, 5, 4)
    assert f(x, dtype=torch.uint8).dtype==torch.uint8 and torch.equal(f(x, dtype=torch.uint8).float(), f(x))

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('name', ENCODERS)
def test_a_gpu_sees_the_same(name):
    x = values(9, 33)
    there = encode(x.cuda(), name, 12)
    assert there.is_cuda and torch.equal(there.cpu(), encode(x, name, 12))


# read back

UNIT = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30).map(lambda v: torch.tensor([v]))

@given(UNIT, st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_what_is_read_back_is_near(x, T):
    off = lambda back: (back-x).abs().max()
    assert off(decode_latency(latency(x, T))*(x>0))<=.5/(T-1)+1e-6
    for n in 1,4,10: assert off(decode_thermometer(thermometer(x, 2, n)))<=.5/n+1e-6
    for bits in range(1, 9): assert 0<=(x-decode_phase(phase(x, bits, bits), bits)).min() and off(decode_phase(phase(x, bits, bits), bits))<=2**-bits
    for most in range(1, min(T, 9)+1): assert off(decode_burst(burst(x, T, most), most))<=.5/most+1e-6
    told = decode_delta(delta(x.expand(T, *x.shape), 1/T, follow=True), 1/T)[-1]
    assert off(told)<1/T+1e-5

@given(UNIT, st.integers(2, 60), st.floats(.5, 40), st.floats(.01, .5))
@settings(max_examples=60, deadline=None)
def test_a_time_that_is_read_back_is_written_again(x, T, tau, theta):
    "What a logarithmic latency says is a value of the same step"
    s = latency(x, T, tau, theta)
    back = decode_latency(s, tau, theta)
    at,again = s.argmax(0),latency(back.clamp(max=1), T, tau, theta).argmax(0)
    heard = (s.amax(0)>0)&(at>=(tau*np.log(1/(1-theta)))) # earlier than a full value is never
    assert ((at-again).abs()[heard]<=1).all()

def test_rates_are_read_back_and_populations_nearly():
    x = values(8, 40)
    assert (decode_rate(rate(x, 2000, 0))-x).abs().max()<.06
    for n in 4,8,16: assert (decode_population(population(x, 25, n))-x).abs().max()<.25/(n-1)
    assert (decode_population(torch.zeros(3, 2, 4, 5))==0).all()

@given(st.lists(st.floats(-.09, .09), min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_what_delta_follows_stays_within_the_threshold(moves):
    x = torch.tensor(moves, dtype=torch.float64).cumsum(0)[:,None]
    assert (decode_delta(delta(x, .1, follow=True), .1)-x).abs().max()<.1+1e-5

@pytest.mark.parametrize('T,most', [(1,1),(5,5),(6,5),(25,5),(9,3)])
def test_bursts_end_in_time(T, most):
    x = torch.linspace(0, 1, 257)[None]
    s = burst(x, T, most)
    assert torch.equal(s.sum(0), (x*most).ceil()) and (s[0]==(x>0)).all()
    gaps = [np.diff(np.flatnonzero(c)) for c in s[:,0].T.numpy()]
    assert all(len(set(g))<2 for g in gaps)
    first = [g[0] for g in gaps if len(g)]
    assert first==sorted(first, reverse=True) # closer for a larger value


# integers from the first layer on

@pytest.mark.parametrize('policy', ['int8','nonary'])
@pytest.mark.parametrize('name', ENCODERS)
def test_every_spike_of_every_neuron_is_proved(name, policy):
    d = load_digits()
    x = encode(d.x_test[:60], name, 10)
    shape = tuple(x.shape[1 if name=='direct' else 2:])
    torch.manual_seed(0)
    net = Network(nn.Flatten(), nn.Linear(int(np.prod(shape)), 32), LIF(.9), nn.Linear(32, 10), LIF(.9, reset='none'), in_shape=shape, steps=10)
    with torch.no_grad(): net.layers[1].weight.mul_(3)
    q = prepare(net, preset(policy), x).freeze().eval()
    program = lower(q)
    proof = verify(q, program, [(x,d.y_test[:60])])
    assert proof.mismatches==0 and proof.ok and proof.spikes==60*10*42, proof.problems
    if name=='direct': return
    codes = x.to(torch.uint8).numpy()
    assert program.in_max==1 and program.in_scale==1
    for a,b in zip(program.record(codes), q.record(x)): assert np.array_equal(np.asarray(a.spk), b.spk.numpy()) # every neuron


# memory

PEAK = '''
import re, sys, torch
from pathlib import Path
from quarantion.spikes.encoders import delta, latency, phase, population, rate, thermometer
torch.set_num_threads(1)
held = lambda key: int(re.search(key+r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])*1024
x,few = torch.rand(2048, 784),torch.rand(4, 784)
signal = x[None].expand(25, *x.shape)
how = dict(rate=lambda x: rate(x, 25, 0, dtype=torch.uint8), latency=lambda x: latency(x, 25, dtype=torch.uint8),
    log_latency=lambda x: latency(x, 25, 12., dtype=torch.uint8), delta=lambda x: delta(x[None].expand(25, *x.shape), dtype=torch.uint8),
    phase=lambda x: phase(x, 25, dtype=torch.uint8), population=lambda x: population(x, 25, dtype=torch.uint8), thermometer=lambda x: thermometer(x, 25, dtype=torch.uint8))[sys.argv[1]]
how(few)
Path('/proc/self/clear_refs').write_text('5')
base = held('VmRSS')
out = how(x)
print((held('VmHWM')-base)/out.nbytes)
'''

@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='peaks are read from /proc')
@pytest.mark.parametrize('name', ['rate','latency','log_latency','delta','phase','population','thermometer'])
def test_peak_of_memory(name):
    r = subprocess.run([sys.executable,'-c',PEAK,name], capture_output=True, text=True, check=True)
    assert .9<float(r.stdout)<=1.2


# what is refused

NAN = torch.tensor([[.5, torch.nan]])

@pytest.mark.parametrize('call,words', [
    (lambda: rate(torch.tensor([[1.5]]), 3, 0), '`x`: expected in [0, 1], found 1.5'),
    (lambda: phase(torch.tensor([[-.5]]), 3), '`x`: expected in [0, 1], found -0.5'),
    (lambda: burst(NAN, 9), '`x`: expected finite numbers, found nan at [0, 1]'),
    (lambda: delta(NAN[None]), '`x`: expected finite numbers, found nan at [0, 0, 1]'),
    (lambda: thermometer(torch.ones(2, 3, dtype=torch.uint8), 3), '`x`: expected dtype float32 or float64 or float16, found uint8'),
    (lambda: delta(torch.ones(2, 3, dtype=torch.int64)), '`x`: expected dtype float32 or float64 or float16, found int64'),
    (lambda: latency(torch.zeros(0, 3), 3), '`x`: expected at least one value, found shape (0, 3)'),
    (lambda: rate(torch.tensor(.5), 3, 0), '`x`: expected values [B, …], found a single one'),
    (lambda: delta(torch.zeros(3)), 'delta: `x`: expected a signal [T, B, …], found shape [3]'),
    (lambda: population(values(), 0), '`steps`: expected a whole number >= 1, found 0'),
    (lambda: encode(values(), 'delta', 0), '`steps`: expected a whole number >= 1, found 0'),
    (lambda: phase(values(), 2.5), '`steps`: expected a whole number of 64 bits, found 2.5'),
    (lambda: latency(values(), 9, tau=0), '`tau`: expected > 0, found 0'),
    (lambda: latency(values(), 9, tau=-1.), '`tau`: expected > 0, found -1'),
    (lambda: latency(values(), 9, tau=2., threshold=0), '`threshold`: expected in (0, 1), found 0'),
    (lambda: latency(values(), 9, tau=2., threshold=1), '`threshold`: expected in (0, 1), found 1'),
    (lambda: delta(values(2, 3), 0), '`threshold`: expected > 0, found 0'),
    (lambda: population(values(), 9, 0), '`neurons`: expected a whole number >= 1, found 0'),
    (lambda: population(values(), 9, width=0), '`width`: expected > 0, found 0'),
    (lambda: thermometer(values(), 9, -1), '`neurons`: expected a whole number >= 1, found -1'),
    (lambda: phase(values(), 9, 9), '`bits`: expected one of 1, 2, 3, 4, 5, 6, 7, 8, found 9'),
    (lambda: burst(values(), 4), 'burst: `steps`: expected at least 5, one for each spike, found 4'),
    (lambda: burst(values(), 9, 0), '`most`: expected a whole number >= 1, found 0'),
    (lambda: rate(values(), 9, 0, dtype='uint8'), "`dtype`"),
    (lambda: encode(values(), 'morse'), '`encoder`: expected one of direct, rate, latency, log_latency, delta, population, thermometer, phase, burst, found \'morse\''),
    (lambda: decode(values(3, 2, 4), 'direct'), '`encoder`: expected one of rate, latency'),
    (lambda: decode_rate(values(3)), '`spk`: expected spikes [T, B, …] of at least 2 axes, found shape [3]'),
    (lambda: decode_population(values(3, 2)), '`spk`: expected spikes [T, B, …] of at least 3 axes, found shape [3, 2]'),
    (lambda: decode_delta(values(3, 2, 4)), '`spk`: expected shape [T, B, 2, …], on and off, found [3, 2, 4]'),
    (lambda: decode_phase(values(3, 2)*2), '`spk`: expected in [0, 1]'),
    (lambda: decode_burst(NAN), '`spk`: expected'),
    (lambda: decode_latency(values(3, 2), 0), '`tau`: expected > 0, found 0'),
    (lambda: decode_latency(values(3, 2), 3, 0), '`threshold`: expected in (0, 1), found 0')])
def test_what_is_wrong_is_named(call, words):
    with pytest.raises(CheckError) as e: call()
    assert words in str(e.value), e.value

def test_every_code_can_be_read_but_direct(): assert set(ENCODERS)-set(DECODERS)=={'direct'}


def test_the_table_of_the_page_has_each_encoder():
    "But for `direct`, which the words above it tell of"
    import json
    import re
    from pathlib import Path
    cells = json.loads((Path(__file__).parent.parent/'nbs/spikes/encoders.ipynb').read_text())['cells']
    assert set(re.findall(r'^\| `(\w+)` \|', ''.join(cells[2]['source']), re.M))=={*ENCODERS}-{'direct'}
