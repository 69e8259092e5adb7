"Pictures of ratios: where a row begins, the number at its end, goals, and the panel of the roofline"
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from quarantion.checks import CheckError
from quarantion.paper import BLUE, GREY, RED
from quarantion.tables import Row, measured, one_a_subject, plot_ratios, plot_subjects, without_goals


def row(work, peer, ratio, goal=0, noise=False): return Row(work, 1, 1., peer, ratio, ratio, goal, True, noise)

def paper():
    fig = Figure(figsize=(7,4), layout='constrained')
    FigureCanvasAgg(fig)
    return fig

def dots(ax): return [l for l in ax.lines if l.get_marker()=='o']

def ticks(ax): return [l for l in ax.lines if isinstance(l.get_marker(), list)]

def words(ax): return [t.get_text() for t in ax.texts]


ROWS = [row('sum, small', 'one', 4, 3), row('sum, small', 'two', 30), row('sum, small', 'roofline (bytes)', .8, .6),
        row('sum, large', 'one', 2, 5), row('sum, large', 'none', None, 5)]


def test_every_row_begins_at_1_and_ends_with_its_number():
    ax,bx = plot_ratios(ROWS, paper()).axes
    assert ax.get_xscale()=='log' and ax.get_xlim()[0]==1
    assert [l.get_xdata()[0] for l in dots(ax)]==[30,4,2] # the slowest peer first
    assert {l.get_xdata()[0] for l in ax.lines if len(l.get_xdata())==2}=={1}
    assert [t for t in words(ax) if '×' in t]==['30×','4×','2×']
    assert [t.get_text() for t in ax.get_yticklabels()]==['two','one','one'] # and none for a peer that is not there
    assert all(to_rgb(l.get_color())==to_rgb(BLUE) for l in dots(ax))


def test_a_slower_row_lies_to_the_left_of_1():
    ax, = plot_ratios([row('a', 'x', .25), row('a', 'y', 2), row('a', 'z', 1.05, noise=True)], paper()).axes
    y,z,x = dots(ax)
    assert 0<ax.get_xlim()[0]<.25 and x.get_xdata()[0]==.25
    assert [to_rgb(l.get_color()) for l in (x,y,z)]==[to_rgb(c) for c in (RED,BLUE,GREY)]
    assert [t for t in words(ax) if t!='a']==['2×','noise','0.25×']


def test_goals_are_hollow_and_can_be_left_out():
    ax,bx = plot_ratios(ROWS, paper()).axes
    assert [t.get_xdata()[0] for t in ticks(ax)]==[3,5] and {t.get_markerfacecolor() for t in ticks(ax)}=={'none'}
    assert 'goal' in ax.get_xlabel()
    assert sum(not p.get_fill() for p in bx.patches)==1
    ax,bx = plot_ratios(without_goals(ROWS), paper()).axes
    assert not ticks(ax) and 'goal' not in ax.get_xlabel() and all(p.get_fill() for p in bx.patches)


def test_the_roofline_has_a_panel_of_its_own_in_percent():
    ax,bx = plot_ratios(ROWS, paper()).axes
    assert bx.get_xlim()==(0,100) and bx.get_xlabel()=='% of the roofline'
    assert words(bx)==['80 %'] and not any('roofline' in t.get_text() for t in ax.get_yticklabels())
    assert [p.get_width() for p in bx.patches if p.get_fill()]==[100,80]
    assert len(plot_ratios([r for r in ROWS if 'roofline' not in r.peer], paper()).axes)==1


def test_what_all_works_share_is_said_once():
    ax,_ = plot_ratios(ROWS, paper()).axes
    assert ax.get_title('left')=='in all: sum' and [t for t in words(ax) if '×' not in t]==['small','large']
    ax, = plot_ratios(ROWS[:1], paper()).axes
    assert not ax.get_title('left') and 'sum, small' in words(ax)


@pytest.mark.parametrize('name', ['lif','bptt','levels','fakequant','nonary','events'])
def test_the_stored_rows_can_be_drawn_and_nothing_leaves_the_picture(name):
    fig = plot_ratios(measured(name), paper())
    fig.set_size_inches(7.2, 14)
    fig.canvas.draw()
    ax,box = fig.axes[0],fig.bbox
    shown = [t for a in fig.axes for t in (*a.texts,*a.get_yticklabels()) if t.get_text()]
    for t in shown:
        e = t.get_window_extent()
        assert e.x0>=box.x0-1 and e.x1<=box.x1+1, t.get_text()
    heights = sorted(l.get_ydata()[0] for l in dots(ax))
    assert np.diff(heights).min()>=1


@pytest.mark.parametrize('rows', [[], [row('a', 'x', None)]])
def test_nothing_to_draw_is_refused(rows):
    with pytest.raises(CheckError, match='`rows`: expected one that has a ratio'): plot_ratios(rows, paper())


def test_one_a_subject_in_large_type():
    few = one_a_subject()
    ax, = plot_subjects(few, paper()).axes
    assert len(few)==6 and [t for t in words(ax) if t.endswith('×')]==[f'{float(f"{r.ratio:.3g}"):,g}×' for r in few.values()]
    assert min(t.get_fontsize() for t in ax.texts)>=10 and not ticks(ax) and ax.get_xlim()[0]==1
    assert ax.get_xlim()[1]>2*max(r.ratio for r in few.values()) # room for the numbers
    with pytest.raises(CheckError, match='`rows`: expected a subject'): plot_subjects({}, paper())


def test_a_subject_that_was_not_measured_is_told(tmp_path):
    (tmp_path/'bench.json').write_text('{}')
    with pytest.raises(CheckError, match='lif: benchmark'): one_a_subject(tmp_path/'bench.json')
