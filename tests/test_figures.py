"Figures: what they show, what they refuse, and that they leave nothing behind"
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.data.leakage import plot_pairs
from quarantion.inspect import MembraneInspector
from quarantion.inspect.clickable import clickable
from quarantion.inspect.figures import (plot_codes, plot_confusion, plot_counts, plot_curve, plot_membrane, plot_observer, plot_raster,
    plot_readout)
from quarantion.paper import new_axes, png
from quarantion.quant.level_sets import levels, quantize
from quarantion.spikes import LIF, Network


def texts(ax): return [t.get_text() for t in ax.get_legend().get_texts()]


def test_importing_starts_nothing():
    code = 'import sys, quarantion.inspect.membrane_inspector, quarantion.inspect.report; print([m for m in ("torch","ipywidgets","matplotlib.pyplot") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip()=='[]'


def test_figures_take_tensors_and_leave_pyplot_alone():
    import matplotlib.pyplot as plt
    plt.close('all')
    spk,mem = torch.rand(20,30)<.2,torch.rand(20,30, requires_grad=True)
    draw = [lambda a: plot_raster(spk, ~spk, neuron=3, ax=a), lambda a: plot_membrane(mem[:,0], 1., spk[:,0], mem[:,1], spk[:,1], ax=a),
            lambda a: plot_readout(mem, 4, a), lambda a: plot_observer(mem, torch.full((20,), .1), -4, 4, 0., 1., a),
            lambda a: plot_codes(torch.tensor([[0,1],[-4,4]]), range(-4,5), a), lambda a: plot_confusion(torch.eye(3, dtype=torch.int64), a),
            lambda a: plot_curve([dict(phase='float', loss=1.)], 'loss', a)]
    for f in draw:
        a,b = new_axes(),new_axes()
        assert f(a) is a
        f(b)
        assert png(a.figure)==png(b.figure)
    assert not plt.get_fignums()


def test_raster_counts_what_differs():
    a,b = np.zeros((2,3), bool),np.zeros((2,3), bool)
    a[0,0] = b[0,0] = a[1,1] = True
    ax = plot_raster(a, b, ('x','y'), ax=new_axes())
    assert texts(ax)==['both 1','only x 1','only y 0']
    image = ax.images[0].get_array()[...,:3]
    assert image.shape[0]%3==0 and image.shape[1]%2==0
    cells = image[::image.shape[0]//3, ::image.shape[1]//2] # [neuron, step]
    assert cells[0,0].tolist()==[0,0,0] and cells[1,1].tolist()==[0,0x72,0xb2] and cells[2].tolist()==[[255]*3]*2


def test_membrane_rings_only_what_differs():
    s,o = np.array([0,1,0,1,0]),np.array([0,1,1,0,0])
    ax = plot_membrane(np.zeros(5), 1., s, np.ones(5), o, ax=new_axes())
    rings = sorted(x for l in ax.lines if l.get_marker()=='o' for x in l.get_xdata())
    assert rings==[2,3] and 'differs' in texts(ax)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(['ternary','nonary','int4','int8']), st.floats(.01, 3), st.integers(0, 9), st.booleans())
def test_observer_counts_every_value_once(name, scale, seed, rows):
    lv = levels(name)
    x = np.random.default_rng(seed).standard_normal((7,31))*np.random.default_rng(seed).integers(1, 30)
    s = np.full(7, scale) if rows else scale
    ax = plot_observer(x, s, lv.quant_min, lv.quant_max, x.min(), x.max(), new_axes())
    assert sum(p.get_data().values.sum() for p in ax.patches if hasattr(p, 'get_data'))==x.size
    z = torch.round(torch.from_numpy(x)/scale)
    clipped = (quantize(torch.from_numpy(x), torch.tensor(scale, dtype=torch.float64), lv)!=z).double().mean()
    assert texts(ax)[0]==f'clipped: {100*float(clipped):.2g} %'


Z,TWO = np.zeros((3,2)),dict(labels=('one',))
NOT_TWO = [lambda a: plot_raster(Z, Z, ax=a, **TWO), lambda a: plot_counts([1], [2], ax=a, **TWO), lambda a: plot_membrane([1,2], ax=a, **TWO), lambda a: plot_pairs([Z], [Z], ax=a, **TWO),
           lambda a: MembraneInspector(NET, torch.rand(2,4), **TWO), lambda a: clickable(NET, torch.rand(2,4), **TWO), lambda a: plot_raster(Z, Z, ('a',2), ax=a)]
NET = Network(torch.nn.Linear(4,6), LIF(), steps=3)


@pytest.mark.parametrize('call, say', [
    (lambda a: plot_raster(np.zeros((3,2,1)), ax=a), '`spk`: expected axes `t n`'),
    (lambda a: plot_raster(np.zeros((0,2)), ax=a), '`spk`: expected at least one value'),
    (lambda a: plot_raster(np.zeros((3,2)), neuron=2, ax=a), '`neuron`'),
    *((f, '`labels`: expected two words, found') for f in NOT_TWO),
    (lambda a: plot_membrane([1,np.nan], ax=a), '`mem`: expected finite numbers'),
    (lambda a: plot_membrane([1,2], other=[1], ax=a), '`other`: expected axes `t` with t=2'),
    (lambda a: plot_membrane([1,2], spk=[0,2], ax=a), '`spk`: expected in [0, 1]'),
    (lambda a: plot_readout(np.zeros((3,2)), 2, a), '`label`'),
    (lambda a: plot_observer([1,2], 0, -4, 4, ax=a), '`scale`: expected > 0'),
    (lambda a: plot_observer([1,2], [1,2,3], -4, 4, ax=a), '`scale`: expected one number'),
    (lambda a: plot_observer([1,2], 1, -4, 4, min_val=[1,2], ax=a), '`min_val`: expected one number'),
    (lambda a: plot_observer([1,2], 1, 4, -4, ax=a), '`quant_max - quant_min`'),
    (lambda a: plot_codes([9], range(-4,5), a), '`codes`: expected codes in [-4, 4], found 9'),
    (lambda a: plot_curve([], ax=a), '`metrics`: expected at least one epoch'),
    (lambda a: plot_curve([dict(phase='x')], ax=a), '`metrics[0].phase`'),
    (lambda a: plot_curve([dict(phase='qat', accuracy='1')], ax=a), "`metrics[0].accuracy`: expected a finite number, found '1'"),
    (lambda a: plot_confusion(np.zeros((2,3), int), a), '`matrix`: expected axes `c k` with k=2'),
    (lambda a: plot_confusion(-np.eye(2, dtype=int), a), '`matrix`: expected >= 0'),
])
def test_figures_refuse(call, say):
    with pytest.raises(CheckError, match=re.escape(say)): call(new_axes())


def test_a_confusion_matrix_lies_on_the_paper_without_a_frame():
    import matplotlib as mpl
    from quarantion.paper import DARK, LIGHT
    for style in LIGHT,DARK:
        with mpl.rc_context(style): ax = plot_confusion(np.array([[3,0],[1,2]]), new_axes())
        assert np.allclose(ax.images[0].get_array()[0,1], ax.get_facecolor()[:3])
        assert not any(s.get_visible() for s in ax.spines.values())


def test_notebooks_draw_with_the_inks_of_paper():
    "No colours of matplotlib's own cycle or maps, no frames around legends; images are grey, or have a map of `paper`"
    import json
    from pathlib import Path
    other = re.compile(r"cmap='(?!gray)|get_cmap\(|\bcolormaps\b|\bc(?:olor)?=f?'C[\d{]|\.legend\((?!.*frameon=False)")
    found = []
    for f in sorted((Path(__file__).parents[1]/'nbs').rglob('*.ipynb')):
        if f.stem=='paper': continue # which has the maps that there are
        cells = [c for c in json.loads(f.read_text())['cells'] if c['cell_type']=='code']
        drawn = [c for c in cells if 'image/png' in str(c['outputs']) or '#| export\n' in c['source']]
        found += [f'{f.stem} {c["id"]}' for c in drawn if other.search(' '.join(c['source']).replace('\n', ' '))]
    assert not found
