"Traces, occupancy, grids and the raster: each value is counted once"
import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.inspect.grid_fit import average_range, fit_grid, plot_grid, plot_history
from quarantion.inspect.membrane_traces import Trace, plot_occupancy, plot_spread, plot_traces
from quarantion.inspect.raster_canvas import RasterCanvas, raster_kinds
from quarantion.paper import new_axes
from quarantion.quant.observers import MovingAverage


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


def test_raster_sends_bytes_with_their_shape():
    spk = np.eye(4, 3)
    c = RasterCanvas()
    c.show(raster_kinds(spk, 1-spk))
    assert c.shape==[3,4] and np.frombuffer(c.data, np.uint8).reshape(3,4).tolist()==np.where(spk.T>0, 2, 3).tolist()
    c.close()
    with pytest.raises(CheckError, match='`spk`: expected in'): raster_kinds(2*spk)
