"What all inspectors promise, without a browser: see tests/test_jupyterlab.py for the rest"
import base64
import re
import subprocess
import sys

import numpy as np
import pytest

from quarantion.inspect import NonaryExplorer, RunCompare, SizeTree, SpikeExplorer, SurrogateExplorer

widget = pytest.importorskip('ipywidgets').widgets.widget
images = np.linspace(0, 1, 2*64).reshape(2, 64)
MOVES = [(lambda: SpikeExplorer(images), dict(sample=1, steps=9, gain=.5, beta=.2, seed=3, pixel=7)),
         (NonaryExplorer, dict(a=-3, b=29524, v=-2.)), (SurrogateExplorer, dict(surrogate='triangular', slope=50., current=.7, beta=.1))]


@pytest.mark.parametrize('make,moves', MOVES)
def test_promises(make, moves):
    before = set(widget._instances)
    w = make()
    assert w.picture.startswith(b'\x89PNG')
    assert base64.b64decode(w._repr_mimebundle_()['image/png'])==w.picture
    for k, v in (moves | dict(dark=True)).items():
        old = w.picture
        getattr(w, k).value = v
        assert w.picture!=old and not w.message.value, k
    w.explain.value = True
    assert len(w.say())>60 and w.say()[:40].split("'")[0] in w.words.value
    page = w.to_html()
    assert re.search(r'<img [^>]*alt="[^"]{60,}"', page) and '<html lang="en">' in page and '<title>' in page and not re.search(r'(src|href)="(?!data:)', page)
    w.close(); w.close()
    assert set(widget._instances)==before and repr(w).endswith('(closed)') and list(w._repr_mimebundle_())==['text/plain']


def test_error_is_seen_and_goes():
    w = NonaryExplorer()
    draw,w.total = w.total,lambda: 1/0
    w.a.value = 7
    assert 'ZeroDivisionError' in w.message.value
    w.total = draw
    w.a.value = 8
    assert w.message.value==''
    w.close()


def test_same_settings_same_picture():
    a,b = SurrogateExplorer(),SurrogateExplorer()
    assert a.picture==b.picture
    for w in (a,b): w.close()


def test_import_runs_nothing():
    code = "import sys, quarantion.inspect as q; assert not {'torch','matplotlib','ipywidgets'} & set(sys.modules); q.SizeTree; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], check=True)


def test_needs_runs_and_networks():
    from quarantion.checks import CheckError
    with pytest.raises(CheckError, match='at least one folder of a run'): RunCompare([])
    for bad in 'runs/a',3,None: # a string is not a list of letters
        with pytest.raises(CheckError, match='RunCompare: `paths`: expected folders of runs, in a list, found'): RunCompare(bad)
    with pytest.raises(CheckError, match='SpikeExplorer: `images`: expected square ones, found 7 pixels'): SpikeExplorer(np.zeros((3,7)))
    for bad in [0],['a','b','c'],'abc',[[0,1,2]]:
        with pytest.raises(CheckError, match='`labels`: expected'): SpikeExplorer(np.zeros((3,8,8)), bad)
    assert SpikeExplorer(np.zeros((3,8,8)), np.arange(3.)).labels==['0','1','2']
    with pytest.raises(CheckError, match='nothing.safetensors'): SizeTree('nothing.safetensors')


def runs_of(tmp_path, *rows):
    import json
    from quarantion.files import append_jsonl, write_atomic
    from quarantion.train.rundir import dump_toml
    for name,acc,size,quantized in rows:
        run = tmp_path/name
        write_atomic(run/'config.toml', dump_toml(dict(policy='x')).encode())
        write_atomic(run/'result.json', json.dumps(dict(test_accuracy=acc, bytes=size, spike_rate=.1)).encode())
        for i in range(5): append_jsonl(run/'metrics.jsonl', dict(phase='qat' if quantized and i>2 else 'float', epoch=i, loss=1/(i+1), accuracy=.5, spike_rate=.1))
        yield run


def test_runs_are_points_and_curves_begin_with_quantization(tmp_path):
    from quarantion.inspect.run_compare import plot_run_curves, plot_runs
    from quarantion.paper import new_axes
    rc = RunCompare(runs_of(tmp_path, ('digits-float-s0-1', .96, 29_464, False), ('digits-nonary-s0-2', .95, 4_284, True), ('digits-int8-s0-3', .955, 9_000, True)))
    assert rc.message.value=='' and 'float answers best, 96.00 %' in rc.say() and 'nonary is smallest, 4,284 bytes' in rc.say() and 'digits' not in rc.say()
    ax = plot_runs(rc.runs, ax=new_axes())
    assert ax.get_xscale()=='log' and sorted((float(l.get_xdata()[0]),round(float(l.get_ydata()[0]), 2)) for l in ax.lines)==[(4284.,5.),(9000.,4.5),(29464.,4.)]
    assert {t.get_text().split()[0] for t in ax.texts}=={'float','nonary','int8'}
    ax = plot_run_curves(rc.runs, ax=new_axes())
    assert [l.get_ydata().tolist() if hasattr(l.get_ydata(), 'tolist') else list(l.get_ydata()) for l in ax.lines]==[[.2,.2],[.25,.2],[.25,.2]], 'a line where the float run ended, and the last two epochs of the others'
    assert ax.get_legend() is None and [t.get_text() for t in ax.texts].count('nonary')==1
    rc.close()


def test_sizes_before_and_after_on_one_scale():
    from quarantion.inspect.run_compare import plot_size_tree, plot_sizes
    from quarantion.paper import new_axes
    from quarantion.runtime import sizes
    from quarantion.quant import lower
    from inspected import POLICIES, networks
    rows = sizes(lower(networks(POLICIES['exact'])[1]))
    ax = plot_sizes(rows, ax=new_axes())
    tall = [sum(p.get_height() for p in ax.patches if round(p.get_x()+.35)==x) for x in (0,1)]
    before,after = (sum(getattr(r, k) for r in rows) for k in ('real','coded'))
    assert tall==[before,after] and f'{before/after:.1f} times smaller' in ax.get_title()
    first = [p.get_height() for p in ax.patches][:len(rows)]
    assert first==sorted(first, reverse=True)
    assert any('worth: real value of a unit' in t.get_text() for t in plot_size_tree(rows, ax=new_axes()).texts)
    w = SizeTree(lower(networks(POLICIES['exact'])[1]))
    assert 'worth is what one unit of a membrane is in real numbers' in w.say()
    w.close()


def test_surrogates_are_two_panels():
    from matplotlib.figure import Figure
    w,fig = SurrogateExplorer(),Figure(figsize=(9.8,3.6))
    w.paint(fig)
    assert [a.get_xlabel() for a in fig.axes]==['membrane − threshold','step',''] # the last has the gradient, over the same steps
    w.close()


def test_nothing_is_cut_off():
    "Axes that stand where earlier ones stood leave room for longer numbers"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends import backend_agg
    from quarantion.inspect.spike_explorer import SurrogateExplorer
    seen = []
    class Watched(FigureCanvasAgg):
        def draw(self):
            super().draw()
            box = self.figure.get_tightbbox(self.get_renderer())
            seen.append((box.x0, box.y0, self.figure.get_figwidth()-box.x1, self.figure.get_figheight()-box.y1))
    backend_agg.FigureCanvasAgg = Watched
    try:
        e = SurrogateExplorer()
        for name in dict.fromkeys(v if isinstance(v, str) else v[1] for v in e.surrogate.options): e.surrogate.value = name
        for w in e.slope,e.current,e.beta:
            for v in w.min,w.max: w.value = v
        e.close()
    finally: backend_agg.FigureCanvasAgg = FigureCanvasAgg
    assert len(seen)>8 and min(map(min, seen))>-.01, seen # inches


def test_images_are_grey_and_digits_have_one_palette():
    import matplotlib as mpl
    from quarantion.inspect.nonary_explorer import plot_addition
    from quarantion.inspect.spike_explorer import plot_image
    from quarantion.paper import DARK, LIGHT, NITS, new_axes, rgb
    for style,paper in (LIGHT,255),(DARK,0): # a pixel of 0 looks as the paper, one of 1 as the ink
        with mpl.rc_context(style): image = plot_image(np.array([[0.,.5,1.]]), ax=new_axes()).images[0]
        colours = image.cmap(image.norm(image.get_array()))[0,:,:3]*255
        assert (colours.max(1)==colours.min(1)).all() and colours[0,0]==paper and colours[2,0]==255-paper
    ax = plot_addition(1234, 4567, ax=new_axes())
    drawn = {tuple(round(255*v) for v in p.get_facecolor()[:3]) for p in ax.patches if hasattr(p, 'get_width')}
    assert drawn<={tuple(rgb(c)) for c in NITS} and len(set(NITS))==9
