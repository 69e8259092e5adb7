"What a network costs: counted again one connection at a time, and by NeuroBench; energy; what is refused"
import copy
import itertools
import math
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.export.cost import cost_of, fan_out, plot_cost, synops
from quarantion.export.energy import HOROWITZ, EnergyModel, break_even, dense_energy, energy_of
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.runtime.layer import ONE, IntLayer, Op
from quarantion.runtime.network import IntegerNetwork
from quarantion.runtime.products import pooled
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.spikes.synaptic import neurons_with

matplotlib.use('Agg')
pytestmark = pytest.mark.filterwarnings('ignore')


# by hand: one connection at a time

def i32(n, v): return np.full(n, v, np.int32)
def codes(rng, *shape): return rng.integers(-1, 2, shape).astype(np.int8)
def layer(w, theta=2, **kw): return IntLayer(w, i32(len(w), 0), i32(len(w), theta), i32(len(w), ONE*7//8), np.ones(len(w)), guard=2, **kw)

def links(w, conv, shape):
    "Every connection: place of an input, and its weight"
    if not conv: return [((j,),w[c,j]) for c,j in np.ndindex(*w.shape)]
    (sh,sw),(ph,pw),(dh,dw),groups = conv
    line = len(shape)==2
    c,h,width = (shape[0],1,shape[1]) if line else shape
    kh,kw = w.shape[2:]
    oh,ow = (h+2*ph-dh*(kh-1)-1)//sh+1,(width+2*pw-dw*(kw-1)-1)//sw+1
    out = []
    for o,y,x,i,ky,kx in itertools.product(range(len(w)), range(oh), range(ow), range(w.shape[1]), range(kh), range(kw)):
        row,col = y*sh-ph+ky*dh,x*sw-pw+kx*dw
        if not (0<=row<h and 0<=col<width): continue
        channel = o//(len(w)//groups)*w.shape[1]+i
        out.append(((channel,col) if line else (channel,row,col), w[o,i,ky,kx]))
    return out

def counted(links, codes):
    "inputs, events, dense, fetched and effective of codes `[n, …]`, one after the other"
    n = dict(inputs=0, events=0, dense=0, fetched=0, effective=0)
    for x in codes:
        n['inputs'] += x.size
        n['events'] += sum(v!=0 for v in x.reshape(-1).tolist())
        for place,w in links:
            n['dense'] += 1
            n['fetched'] += bool(x[place]!=0)
            n['effective'] += bool(x[place]!=0 and w!=0)
    return n

def windows(x, op):
    "Codes that are not 0, once for each window of a pooling that they are in"
    one = [k for k,_ in links(np.ones((1,1,*op.kernel)), (op.stride,op.padding,(1,1),1), (1,*x.shape[-2:]))]
    return sum(int(p[0,row,col]!=0) for s in x for p in s[:,None] for _,row,col in one)

def same(row, want): assert {k:getattr(row, k) for k in want}==want

@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('shape,conv,w', [
    ((5,), (), (3,5)), ((2,4,5), ((1,1),(1,1),(1,1),1), (3,2,3,3)), ((4,5,4), ((2,1),(0,1),(1,2),2), (4,2,2,2)),
    ((2,7), ((1,2),(0,1),(1,1),1), (3,2,1,3)), ((3,4,4), ((1,1),(2,2),(1,1),3), (6,1,3,3))])
def test_fan_out_is_that_of_each_connection(seed, shape, conv, w):
    rng = np.random.default_rng(seed)
    w = codes(rng, *w)
    some,every = np.zeros(shape, int),np.zeros(shape, int)
    for place,v in links(w, conv, shape):
        every[place] += 1
        some[place] += v!=0
    assert (fan_out(w, conv, shape)==some).all() and (fan_out(np.ones_like(w), conv, shape)==every).all()
    x = rng.integers(-1, 2, (3,2,*shape))
    assert (synops(x, some)==[[(some*(s!=0)).sum() for s in t] for t in x]).all()

@pytest.mark.parametrize('constant', [False, True])
@pytest.mark.parametrize('top', [1, 7])
def test_layers_in_a_row_are_counted_as_by_hand(constant, top):
    "Convolution, pooling before weights and behind them, a matrix; spikes, real numbers, constant or not"
    rng = np.random.default_rng(0)
    sums,after = (Op('sum', (2,2), (2,2)),),(Op('max', (2,2), (1,1), (1,1)),)
    net = IntegerNetwork((layer(codes(rng, 2,1,3,3), conv=((1,1),(1,1),(1,1),1), after=after),
                          layer(codes(rng, 4,2,2,2), conv=((1,1),(0,0),(1,1),1), before=sums),
                          layer(codes(rng, 3,4), before=(Op('flatten'),), reset='none')), (1,4,4), 3, 1., 0, top)
    x = rng.integers(0, top+1, ((2,) if constant else (3,2))+(1,4,4))*(rng.random((1,4,4))<.6)
    cost,records = cost_of(net, x, codes=True),net.record(x, codes=True)
    first = x if constant else x.reshape(6, 1, 4, 4)
    ins = [first,*(r.spk.reshape(6, *r.spk.shape[2:]) for r in records[:2])]
    a,b,c = net.layers
    met = [ins[0],pooled(ins[1], sums),ins[2].reshape(6, -1)]
    for row,l,m in zip(cost.layers, net.layers, met): same(row, counted(links(l.weight, l.conv, m.shape[1:]), m))
    assert (cost.layers[1].before,cost.layers[2].before,cost.layers[0].before)==(windows(ins[1], sums[0]),0,0)
    assert cost.layers[0].after==windows(np.ones((len(first),2,4,4)), after[0])
    assert [r.code_max for r in cost.layers]==[top,4,1] and [r.driven for r in cost.layers]==[top==1,True,True]
    for row,r in zip(cost.layers, records):
        assert row.updates==r.mem.size and row.changed==r.mem[0].size+(r.mem[1:]!=r.mem[:-1]).sum()
    plain = 0 if constant else cost.layers[0].fixed_bits
    assert cost.layers[0].fixed_bits==(32 if constant else plain) # products of constant input are read again

@pytest.mark.parametrize('kind', ['one each', 'one a channel', 'matrix', 'convolution'])
def test_spikes_that_come_back_are_counted_as_by_hand(kind):
    rng = np.random.default_rng(1)
    if kind in ('one each','matrix'):
        r = np.array([1,0,-1,1], np.int8) if kind=='one each' else codes(rng, 4, 4)
        net = IntegerNetwork((layer(codes(rng, 4, 5), recurrent=r),), (5,), 6, 1., 0, 1)
        back = [((j,),v) for j,v in enumerate(r)] if r.ndim==1 else links(r, (), (4,))
    else:
        conv = (1,1),(1,1),(1,1),1
        r = np.array([1,0], np.int8) if kind=='one a channel' else codes(rng, 2, 2, 3, 3)
        how = dict(recurrent=r)|(dict(recurrent_conv=conv) if r.ndim==4 else {})
        net = IntegerNetwork((layer(codes(rng, 2, 1, 3, 3), conv=conv, **how),), (1,3,3), 6, 1., 0, 1)
        back = links(r, conv, (2,3,3)) if r.ndim==4 else [(k,r[k[0]]) for k in np.ndindex(2,3,3)]
    x = (rng.random((6,3,*net.in_shape))<.6).astype(np.uint8)
    spk = net.record(x)[0].spk
    late = np.concatenate([0*spk[:1],spk[:-1]]).reshape(18, *spk.shape[2:])
    row,again = cost_of(net, x).layers
    assert spk.any() and again.name=='0.recurrent' and again.updates==0 and again.matrix==(kind in ('matrix','convolution'))
    same(again, counted(back, late))
    assert cost_of(net, x).neurobench['Dense']==(row.dense+again.dense*again.matrix)/3

def test_bytes_and_bits():
    "Of weights by their events, of what neurons keep, and of codes"
    w = np.array([[4,0,-2,1,3]]*5, np.int8)
    l = layer(w, theta=50, clip=60)
    net = IntegerNetwork((replace(l, bias=np.arange(5, dtype=np.int32)),), (5,), 2, 1., 0, 1)
    row, = cost_of(net, np.array([[[1,1,0,0,0]],[[0,0,1,0,0]]], np.uint8)).layers
    assert (row.weight_bits,row.state_bits,row.fixed_bits,row.adds,row.muls)==(8*10/25, 7, 32, 4, 1)
    assert (row.fetched,row.effective)==(15, 10)
    assert row.bytes==(15*8*10/25+10*(2*7+32+1)+10)/8


def test_order_of_axes_and_sign_of_codes():
    "Samples first, and input of both signs, are the same counts"
    net,x = some()
    assert cost_of(replace(net, batch_first=True), x.swapaxes(0, 1))==cost_of(net, x)
    signed = replace(net, in_min=-127, in_max=127)
    v = x.astype(np.int32)*np.where(np.arange(24)%2, -100, 3)
    row = cost_of(signed, v).layers[0]
    assert (row.code_bits,row.signed,row.driven,row.code_max)==(8, True, False, 127)
    assert row.effective==cost_of(net, x).layers[0].effective


# NeuroBench

def theirs(net, x):
    "What NeuroBench does, in a few lines: hooks at layers of weights, and ones in the place of what is not 0"
    seen,out = [],dict(Effective_MACs=0, Effective_ACs=0, Dense=0)
    hooks = [m.register_forward_pre_hook(lambda m,i: seen.append((m,i[0].detach()))) for m in net.modules() if isinstance(m, (nn.Linear,nn.Conv1d,nn.Conv2d))]
    with torch.no_grad(): net(x)
    for h in hooks: h.remove()
    for m,i in seen:
        ones = copy.deepcopy(m).double()
        ones.bias = None
        ones.weight.data = (m.weight!=0).double()
        kind = 'ACs' if ((i==0)|(i.abs()==1)).all() else 'MACs'
        out[f'Effective_{kind}'] += ones((i!=0).double()).sum().item()
        ones.weight.data.fill_(1)
        out['Dense'] += ones(torch.ones_like(i).double()).sum().item()
    tensors = [*net.parameters(),*net.buffers()]
    return {k:v/x.shape[1] for k,v in out.items()}|dict(Footprint=sum(t.numel()*t.element_size() for t in tensors))

NETS = dict(
    mlp=lambda: Network(nn.Linear(6,8), LIF(.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=7),
    conv=lambda: Network(nn.Conv2d(2,4,3,padding=1,stride=2), LIF(.9), nn.Conv2d(4,6,3,groups=2,dilation=2,padding=2), LIF(.9),
                         nn.Flatten(), nn.Linear(54,4), LIF(.9), steps=5, in_shape=(2,6,6)),
    line=lambda: Network(nn.Conv1d(2,3,3,padding=1), LIF(.9), nn.Flatten(), nn.Linear(24,4), LIF(.9), steps=5, in_shape=(2,8)),
    pool=lambda: Network(nn.Conv2d(1,4,3,padding=1), nn.MaxPool2d(2), LIF(.9), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16,4), LIF(.9),
                         steps=5, in_shape=(1,8,8)),
    recurrent=lambda: Network(nn.Linear(6,8), neurons_with(None, nn.Linear(8,8,bias=False), beta=.9), nn.Linear(8,4), LIF(.9), steps=7),
    synaptic=lambda: Network(nn.Linear(6,8), neurons_with(.8, None, beta=.9), nn.Linear(8,4), LIF(.9), steps=7))

def twins(name, policy, spikes, seed):
    "A program, and what `materialize()` gives; and input that is exactly its codes"
    torch.manual_seed(seed)
    net = NETS[name]()
    for p in net.parameters(): p.data *= 1+(p.ndim>1)
    x = torch.rand(net.steps, 3, *net.in_shape)
    x = (x>.5).float() if spikes else x*(x>.3)
    q = prepare(net, preset(policy), x).eval().freeze()
    prog = lower(q)
    return prog,q.materialize().eval(),x if spikes else torch.as_tensor(prog.codes(x.numpy())*prog.in_scale).float()

def agree(prog, twin, x):
    "Do both fire alike, every spike?"
    return all((torch.as_tensor(a.spk.astype(np.int64))==b.spk.long()).all() for a,b in zip(prog.record(x.numpy()), twin.record(x)))

@pytest.mark.parametrize('name', NETS)
def test_counts_are_those_of_neurobench_through_materialize(name):
    "Wherever the floats fire as the integers do; with spikes and with real numbers for input"
    compared = 0
    for policy,spikes,seed in itertools.product(('int8','nonary','ternary','int4'), (True,False), range(2)):
        prog,twin,x = twins(name, policy, spikes, seed)
        ours,want = cost_of(prog, x.numpy()).neurobench,theirs(twin, x)
        assert ours['Dense']==want['Dense'] and ours['Footprint']==want['Footprint'], (policy,spikes,seed)
        if not agree(prog, twin, x): continue
        assert ours==pytest.approx(want, rel=1e-12), (policy,spikes,seed)
        compared += 1
    assert compared>=5

def plain(kind):
    "The same integers here and as a plain snnTorch network: no leak, so that floats are exact; and input"
    import snntorch as snn
    rng = np.random.default_rng(7)
    def pair(w, theta, conv=(), before=()):
        l = IntLayer(w, i32(len(w), 0), i32(len(w), theta), i32(len(w), ONE), np.ones(len(w)), guard=0, reset='zero', conv=conv, before=before)
        m = nn.Conv2d(w.shape[1]*conv[3], len(w), w.shape[2:], *conv[:3], conv[3], bias=False) if conv else nn.Linear(w.shape[1], len(w), bias=False)
        m.weight.data = torch.as_tensor(w).float()
        return l,[*([nn.Flatten()] if before else []), m, snn.Leaky(1., threshold=theta, reset_mechanism='zero', reset_delay=False, init_hidden=True)]
    if kind=='linear': shape,parts = (12,),[pair(codes(rng, 9, 12), 2),pair(codes(rng, 5, 9), 2)]
    else:
        conv = (2,1),(1,1),(1,1),1
        shape,parts = (2,5,5),[pair(codes(rng, 3, 2, 3, 3), 2, conv),pair(codes(rng, 4, 45), 2, before=(Op('flatten'),))]
    parts[-1][1][-1].output = True
    x = rng.integers(0, 2, (6,4,*shape)).astype(np.uint8)
    return IntegerNetwork(tuple(l for l,_ in parts), shape, 6, 1., 0, 1),nn.Sequential(*(m for _,ms in parts for m in ms)),x

# Measured with NeuroBench 2.3.0, snnTorch 1.0.0 and torch 2.13.0, by the test below: SynOps and updates of a sample
MEASURED = dict(linear=dict(Effective_MACs=0., Effective_ACs=251.25, Dense=918., updates=59.75),
                conv=dict(Effective_MACs=0., Effective_ACs=1137.25, Dense=4356., updates=232.75))

@pytest.mark.parametrize('kind', MEASURED)
def test_counts_are_those_that_neurobench_measured_on_snntorch(kind):
    net,_,x = plain(kind)
    c = cost_of(net, x)
    got = {k:v for k,v in c.neurobench.items() if k!='Footprint'}|dict(updates=c.mean('changed'))
    assert got==MEASURED[kind]

@pytest.mark.filterwarnings('ignore')
def test_neurobench_itself_says_the_same():
    "Where it is installed: on plain snnTorch networks, and on what materialize() gives"
    pytest.importorskip('neurobench', reason='neurobench is not installed')
    from neurobench.metrics.static import Footprint
    from neurobench.metrics.workload import MembraneUpdates, SynapticOperations
    from neurobench.models import SNNTorchModel, TorchModel
    def measured(model, x):
        model.register_hooks()
        model(x)
        data = x,torch.zeros(len(x))
        out = SynapticOperations()(model, None, data)|dict(updates=MembraneUpdates()(model, None, data), Footprint=Footprint()(model))
        model.cleanup_hooks()
        return out
    for kind,want in MEASURED.items():
        net,snn,x = plain(kind)
        got = measured(SNNTorchModel(snn), torch.as_tensor(x).float().transpose(0, 1))
        print(kind, got)
        assert {k:v for k,v in got.items() if k!='Footprint'}==want
    for name,policy,spikes in itertools.product(NETS, ('int8','ternary'), (True,False)):
        prog,twin,x = twins(name, policy, spikes, 0)
        got = measured(TorchModel(twin), x) # its batch is the second axis
        del got['updates'] # it knows no neurons but those of snnTorch
        want = theirs(twin, x)
        assert got==pytest.approx({k:v if k=='Footprint' else v*x.shape[1]/len(x) for k,v in want.items()})

def test_ternary_weights_do_not_multiply():
    "NeuroBench #235: it counts MACs, and 32 bits a weight"
    rng = np.random.default_rng(0)
    w,x = codes(rng, 40, 50),rng.random((3,50))
    make = lambda q: IntegerNetwork((layer(w, quant_max=q),), (50,), 4, 1/255, 0, 255)
    one,four = (cost_of(make(q), x) for q in (1,4))
    assert one.neurobench==four.neurobench and one.neurobench['Effective_ACs']==0 and one.neurobench['Footprint']==4*(2000+120)
    assert not one.layers[0].multiplies and four.layers[0].multiplies and one.layers[0].weight_bits==1.6
    less = four.mean('effective')*HOROWITZ.mul8
    assert energy_of(four).operations-energy_of(one).operations==pytest.approx(less) and one.size==400+3*4+2*4*40


# adding up, energy, figure

def some(seed=0, rate=.3):
    rng = np.random.default_rng(seed)
    net = IntegerNetwork((layer(codes(rng, 16, 24)),layer(codes(rng, 5, 16), reset='none')), (24,), 8, 1., 0, 1)
    return net,(rng.random((8,6,24))<rate).astype(np.uint8)

def test_costs_of_batches_add_up():
    net,x = some()
    whole,parts = cost_of(net, x),[cost_of(net, x[:,a:b]) for a,b in ((0,1),(1,4),(4,6))]
    assert parts[0]+parts[1]+parts[2]==whole==cost_of(net, x, net.record(x))
    other,y = some(1)
    with pytest.raises(CheckError, match='one of the same network'): whole+cost_of(net, x[:4])
    with pytest.raises(CheckError, match='one of the same network'): whole+1

def test_energy_is_a_sum_of_what_was_counted():
    net,x = some()
    c,e = cost_of(net, x),energy_of(cost_of(net, x))
    pj = c.mean('effective')*.1+c.mean('updates')*(3*.1+3.1)
    assert e.operations==pytest.approx(pj) and e.memory==pytest.approx(c.mean('bytes')*8*10/64) and e.total==e.operations+e.memory
    mine = EnergyModel('mine', 'a chip', 1., 2., 3., 4., 5., ((math.inf,0.5),))
    assert energy_of(c, mine).memory==pytest.approx(c.mean('bytes')*4) and dense_energy((3,2), 32, mine).operations==6*9+2*8

def test_break_even_is_where_both_cost_the_same():
    "A network that fires more, found by counting, costs what the line says at its rate"
    few,many = (cost_of(some()[0], some(rate=r)[1]) for r in (.1,.9))
    one = replace(few, layers=few.layers[:1])      # the input alone: all of its spikes grow alike
    two = replace(many, layers=many.layers[:1])
    at = break_even(one, energy_of(two).total)
    assert at==pytest.approx(two.rate, rel=.1) # some inputs have more weights than others
    assert break_even(one, energy_of(one).total)==pytest.approx(one.rate) and break_even(one, 0.)==0 and break_even(one, 1e9)==1

def test_the_figure_says_its_numbers():
    net,x = some()
    c = cost_of(net, x)
    ax = plot_cost(c)
    assert [t.get_text() for t in ax.get_yticklabels()]==['layer 1','layer 0'] and len(ax.patches)==4
    assert ax.texts[1].get_text().strip().startswith(f"{c.layers[0].effective/6:,.0f} of {c.layers[0].dense/6:,.0f}")
    plt.close('all')


# what is refused

def test_records_of_something_else_are_refused():
    net,x = some()
    other,y = some(1)
    records = net.record(x)
    for bad,word in ((other.record(x),'another, by its weight'), (records[:1],'a `Record` of each layer'), (net.record(x[:,:3]),'(8, 6, 16)'),
                     (net.record(x[:5]),'(8, 6, 16)'), (net.record(x, state=[r.state for r in records]),'step 16'), ([1,2],'int')):
        with pytest.raises(CheckError) as e: cost_of(net, x, bad)
        assert word in str(e.value) and '\n' not in str(e.value)

def test_what_makes_no_sense_is_refused_in_a_line():
    net,x = some()
    with pytest.raises(CheckError, match='shape'): cost_of(net, x[...,:3])
    with pytest.raises(CheckError, match='at least one sample'): cost_of(net, x[:,:0])
    with pytest.raises(CheckError, match='at least one that meets a weight'): break_even(cost_of(net, 0*x), 1.)
    assert cost_of(net, 0*x).mean('effective')==0 and energy_of(cost_of(net, 0*x)).spikes==0
    with pytest.raises(CheckError, match='`codes`, `fan`'): synops(np.ones((2,3)), np.ones(4, int))
    with pytest.raises(CheckError, match='`what`'): cost_of(net, x).mean('joules')
    with pytest.raises(CheckError, match='8 or 32'): dense_energy((3,2), 16)
    with pytest.raises(CheckError, match='`memories`'): replace(HOROWITZ, memories=((8,.1),(4,.2)))
