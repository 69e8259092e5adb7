"MembraneInspector and ObserverInspector without a browser: linked selection, three programs, what-if, and what they leave behind"
import base64
import gc
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.inspect.raster_canvas import RasterCanvas, raster_kinds
from quarantion.paper import draw_png, new_axes
from quarantion.inspect.grid_fit import average_range, fit_grid, plot_grid, plot_history
from quarantion.inspect.membrane_inspector import MembraneInspector
from quarantion.inspect.observer_inspector import TENSORS, ObserverInspector, look_at
from quarantion.inspect.membrane_traces import Trace, plot_occupancy, plot_spread, plot_traces
from quarantion.inspect.whatif import policy_in, policy_words, what_if
from quarantion.quant import lower, prepare
from quarantion.quant.observers import MovingAverage
from quarantion.quant.policy import Policy
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

widget = pytest.importorskip('ipywidgets').widgets.widget
POLICIES = dict(exact=Policy('int4'), levels=Policy('int4', membrane='levels(8)', layers={'last': dict(membrane='exact')}),
                clipped=Policy('int4', membrane='clipped(4)', layers={'last': dict(membrane='exact')}), current=Policy('int8', current='int8', layers={'last': dict(current='exact')}))


def networks(policy, conv=False):
    torch.manual_seed(0)
    first = [nn.Conv2d(1,3,3), LIF(), nn.Flatten(), nn.Linear(3*36,10)] if conv else [nn.Linear(64,24), LIF(), nn.Linear(24,10)]
    net = Network(*first, LIF(reset='none'), in_shape=(1,8,8) if conv else (64,), steps=9)
    x = torch.rand(12, *net.in_shape)
    return net,prepare(net, policy, x),x


def observer():
    _,q,x = networks(POLICIES['current'])
    return ObserverInspector(q, [(x,torch.arange(12)%10)])


def records(seed, N=1000, T=200):
    r = np.random.default_rng(seed)
    return [SimpleNamespace(name='0', spk=(r.random((T,1,N))<.05).astype(np.uint8), mem=r.standard_normal((T,1,N)).astype(np.float32)/2, theta=np.ones(N))]


# Figures

def test_traces_ring_what_differs():
    s = np.array([0,1,0,1,0])
    o = np.array([0,1,1,0,0])
    ax = plot_traces([Trace('a', np.zeros(5), s), Trace('b', np.ones(5), o), Trace('c', np.ones(5), s)], 1., [-1,0,1], 2, new_axes())
    rings = [l for l in ax.lines if l.get_marker()=='o']
    assert len(rings)==1 and rings[0].get_xdata().tolist()==[2,3]


@pytest.mark.parametrize('levels', [None, np.linspace(-1, 1, 7), np.array([-1,0,.5,.6,.7])])
def test_occupancy_counts_each_once(levels):
    m = np.random.default_rng(0).uniform(-1, 1, 333)
    ax = plot_occupancy(m, levels, .1, new_axes())
    assert sum(p.get_width() for p in ax.patches)==pytest.approx(100)
    assert len({p.get_facecolor() for p in ax.patches})==2


def test_spread_counts_each_once():
    m = np.random.default_rng(0).standard_normal((30,50))
    image = plot_spread(m, np.full(50, 2.), 3, 4, new_axes()).images[0].get_array()
    assert ((np.asarray(image)**2).sum(0)).tolist()==pytest.approx([50]*30)


@pytest.mark.parametrize('seed', range(6))
def test_grid_counts_each_once(seed):
    r = np.random.default_rng(seed)
    levels = np.unique(r.standard_normal(r.integers(2, 40)))
    x = r.standard_cauchy(500)
    from matplotlib.patches import StepPatch
    bars = [p for p in plot_grid(x, levels, ax=new_axes()).patches if isinstance(p, StepPatch)]
    count = [p.get_data().values.sum() for p in bars]
    assert sum(count)==500 and count[1]/500==pytest.approx(fit_grid(x, levels).clipped, abs=.02)


def test_fit_grid_against_a_loop():
    r = np.random.default_rng(1)
    x,levels = r.standard_normal(200),np.array([-1,-.2,0,.4,2])
    near = np.array([levels[abs(levels-v).argmin()] for v in x])
    f = fit_grid(x, levels)
    assert f.sqnr==pytest.approx(10*np.log10((x@x)/((x-near)@(x-near)))) and f.unused==5-len(set(near))
    assert f.clipped==np.mean((x<-1.4)|(x>2.8))


def test_average_is_the_observers():
    r = np.random.default_rng(2)
    lo,hi = -r.random(20),r.random(20)
    for adaptive in (True,False):
        o = MovingAverage(.07, adaptive=adaptive)
        for a,b in zip(lo, hi): o(torch.tensor([a,b], dtype=torch.float32))
        assert average_range(lo, hi, .07, adaptive)[-1]==pytest.approx([float(o.min_val),float(o.max_val)], rel=1e-5)
    assert len(plot_history(lo, hi, .07, hi, ax=new_axes()).figure.axes)==2


# The raster

def test_raster_sends_bytes_with_their_shape():
    spk = np.eye(4, 3)
    c = RasterCanvas()
    c.show(raster_kinds(spk, 1-spk))
    assert c.shape==[3,4] and np.frombuffer(c.data, np.uint8).reshape(3,4).tolist()==np.where(spk.T>0, 2, 3).tolist()
    c.close()
    with pytest.raises(CheckError, match='`spk`: expected in'): raster_kinds(2*spk)


# MembraneInspector

@pytest.mark.filterwarnings('ignore:.*cannot reach their threshold')
@pytest.mark.parametrize('conv', [False,True])
@pytest.mark.parametrize('name', POLICIES)
def test_three_programs(name, conv):
    net,q,x = networks(POLICIES[name], conv)
    mi = MembraneInspector(net, x, q)
    assert mi.message.value=='' and [t.name for t in mi.traces()]==['float','quantized','integer']
    for k in range(2):
        mi.layer.value = k
        _,b,c = mi.traces()
        np.testing.assert_allclose(b.mem, c.mem, atol=1e-5)
        assert (b.spk==c.spk).all() and mi.message.value==''
        levels = mi._levels()
        assert (levels is None)==(k==1 or name in ('exact','current'))
        if levels is not None: assert abs(c.mem[:,None]-levels).min(1).max()<1e-9, 'integers are on their levels'
    p = MembraneInspector(net, x, q, program=lower(q))
    assert p.message.value=='' and (p.traces()[2].spk==mi._c[0].spk[:,0,p.neuron.value]).all()
    mi.close(); p.close()


def test_selection_is_linked():
    mi = MembraneInspector(records(0, 50, 20), other=records(1, 50, 20))
    mi.raster.neuron,mi.raster.step = 30,7 # a click in the browser
    assert mi.chosen()[2:]==(30,7)
    mi.neuron.value,mi.step.value = 8,3
    assert (mi.raster.neuron,mi.raster.step)==(8,3)
    mi.play.value = 15
    assert mi.step.value==mi.raster.step==15
    mi.dark.value = True
    assert mi.raster.colours[0]!='#ffffff'
    mi.close()


@pytest.mark.parametrize('make', [lambda: MembraneInspector(records(0, 50, 20), other=records(1, 50, 20)), observer])
def test_promises(make):
    before = set(widget._instances)
    w = make()
    assert w.picture.startswith(b'\x89PNG') and w.message.value==''
    assert base64.b64decode(w._repr_mimebundle_()['image/png']).startswith(b'\x89PNG')
    old = w.picture
    w.dark.value = True
    assert w.picture!=old
    w.explain.value = True
    assert len(w.say())>60 and w.words.value
    assert 'alt="' in w.to_html() and '<html lang="en">' in w.to_html()
    kept = weakref.ref(w)
    w.close(); w.close()
    assert set(widget._instances)==before and repr(w).endswith('(closed)') and list(w._repr_mimebundle_())==['text/plain']
    del w; gc.collect()
    assert kept() is None


def test_nothing_of_the_last_picture_is_left():
    "The paper is used again; the picture is that of a new one"
    net,q,x = networks(POLICIES['levels'])
    mi = MembraneInspector(net, x, q)
    for layer,neuron,step,dark in (0,3,2,False),(1,4,8,False),(0,20,0,True),(1,0,5,True),(0,7,7,False):
        mi.layer.value,mi.neuron.value,mi.step.value,mi.dark.value = layer,neuron,step,dark
        assert mi.message.value=='' and mi.picture==draw_png(mi.paint, mi.size, dark)
    mi.close()


def test_redraw_is_quick():
    "1,000 neurons, 200 steps; bounded loosely, as others use the machine"
    mi = MembraneInspector(records(0), other=records(1))
    took = []
    for n in range(9):
        start = time.process_time()
        mi.neuron.value = 100*n+1
        took.append(time.process_time()-start)
    start = time.process_time()
    kinds = raster_kinds(mi._a[0].spk[:,0], mi._b[0].spk[:,0])
    mi.raster.show(kinds)
    raster = time.process_time()-start
    print(f'details {1e3*np.median(took):.0f} ms, raster {1e3*raster:.1f} ms of the processor')
    assert np.median(took)<.5 and raster<.1
    mi.close()


# ObserverInspector

@pytest.mark.parametrize('conv', [False,True])
@pytest.mark.parametrize('name', POLICIES)
def test_every_tensor_and_grid(name, conv):
    _,q,x = networks(POLICIES[name], conv)
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    for layer in range(2):
        oi.layer.value = layer
        for tensor in TENSORS:
            oi.tensor.value = tensor
            assert oi.message.value=='', (tensor,oi.message.value)
            for g in oi.grid.options[::5]:
                oi.grid.value = g
                assert oi.message.value=='', (tensor,g,oi.message.value)
            if name=='exact':
                for g in oi.grid.options: assert np.isfinite(look_at(q, x, layer, tensor, g).z).all(), (tensor,g)
    oi.close()


def test_what_if_leaves_the_network_alone():
    _,q,x = networks(POLICIES['current'])
    y = torch.arange(12)%10
    state = {k:v.clone() for k,v in q.state_dict().items()}
    oi = ObserverInspector(q, [(x,y)])
    oi.grid.value = 'ternary'
    oi.try_it.click()
    assert oi.message.value=='' and oi._tried[1].spikes[0]>0
    oi.tensor.value,oi.grid.value,oi.rule.value = 'current','int3','percentile'
    oi.try_it.click()
    assert oi.message.value=='' and oi._tried[1].spikes[0]>0
    assert all(torch.equal(v, state[k]) for k,v in q.state_dict().items())
    assert policy_in(q)==policy_in(q) and oi.policy.at('1').current=='int8'
    oi.apply.click()
    assert oi.policy.at('1').current=='int3' and oi.policy.at('1').observer=='percentile' and oi.policy.at('3')==POLICIES['current'].at('3','last') and oi.scale[:2]==(0,'current')
    oi.close()


def test_scales_are_followed():
    "While it trains: scales of weights and thresholds as they were after each batch"
    _,q,x = networks(POLICIES['levels'])
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    was = float(q.layers[0].scale.detach().mean())
    with torch.no_grad(): q.layers[0].scale.mul_(2)
    oi.update()
    assert oi._scales(7).tolist()==pytest.approx([was,2*was])
    oi.grid.value = 'ternary'
    assert oi._scales(1) is None, 'it never had that one'
    oi.grid.value,oi.tensor.value = 'int4','membrane'
    assert oi._scales(1).tolist()==pytest.approx(2*[float(q.layers[0].threshold.detach().mean())])
    assert policy_words(oi.policy)=='weight int4, membrane levels(8); layer 3: membrane exact' and 'levels(8)' in oi.status.value
    oi.close()


def test_same_policy_changes_nothing():
    for p in POLICIES.values():
        _,q,x = networks(p)
        w = what_if(q, policy_in(q), x, torch.arange(12)%10)
        assert w.spikes.max()==0 and w.answers==0 and w.before==w.after


def test_frozen_networks_say_so():
    _,q,x = networks(POLICIES['exact'])
    q.freeze()
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    oi.try_it.click()
    assert 'frozen' in oi.message.value
    oi.close()
