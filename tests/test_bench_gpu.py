"The GPU's benchmark where there is no GPU: goals, tables, pictures and what is merged, from numbers that were made up"
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from quarantion.bench import gpu
from quarantion.bench.gpu import GOALS, Goal, front_table, goal_rows, goals_table, plot_grid, plot_parts, where
from quarantion.bench.gpu_layers import GRAPH, GRID, SHAPES, Timing, bench_layers, calls_table, least_ms, shape_name
from quarantion.bench.gpu_parts import PARTS, bench_parts, floor_of, parts_said
from quarantion.bench.gpu_steps import WORKS, bench_steps, eager_table
from quarantion.cli import main
from quarantion.paper import draw_png

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'tools'))
import measure

ON = dict(card='a card', driver='580', CUDA='13.0', torch='2.11', triton='3.6', snntorch='1.0', spikingjelly=None, date='2026-11-29')


def timing(work, who, ms, mib=None): return Timing(work, who, ms, .97*ms, 1.05*ms, mib)._asdict()


def made_up():
    "As `measure.py gpu` stores it"
    layers = [timing(f'LIF forward + backward, {shape_name(s)}', who, ms) for s in SHAPES
              for who,ms in (('ours',.2),('kernels alone',.15),('SpikingJelly',1.),('SpikingJelly triton',.6),('snnTorch loop',20.),('three copies',.1))]
    ms = {'ours, float':.3, 'ours, float, eager':1.5, 'ours, int8':.4, 'ours, nonary':.6, 'ours, float, bits':.35, 'snnTorch loop':27.8,
          'SpikingJelly eager':2.3, 'SpikingJelly captured':.33}
    steps = [timing(str(w), who, v, 500. if who.endswith('bits') else 1000.) for w in WORKS for who,v in ms.items()]
    memory = [Timing('2×128×128, T=100, B=16', who, 5., mib=m)._asdict() for who,m in (('ours, recompute',900.),('ours, bits, 4 at once',200.),('snnTorch loop',1200.),('SpikingJelly memopt 1',300.))]
    grid = [dict(axis=a, shape=list(s), who=who, ms=ms+least_ms(s, 4e12)) for a,ss in GRID.items() for s in ss for who,ms in (('ours',.1),('SpikingJelly',.5),('snnTorch loop',9.))]
    parts = [dict(work=str(w), who=who, step_ms=None if who=='floor' else 1., parts=dict.fromkeys([*PARTS,'the rest'], .1)) for w in WORKS for who in ('float','nonary','floor')]
    part = lambda rows, **more: dict(on=ON, rows=rows, **more)
    return dict(command='measure', tests=part([dict(file='test_cuda.py', passed=1200, failed=1, skipped=2, seconds=80.)]), layers=part(layers),
                steps=part(steps), memory=part(memory), grid=part(grid, copy=4e12), parts=part(parts),
                mnist=dict(on=ON, seconds=22., accuracy=.985, stored_accuracy=.9853, mismatches=0))


def test_goals_are_those_of_the_best_peer():
    rows = goal_rows(made_up())
    assert len(rows)==len(GOALS)
    of = {(r.work,r.peer):r for r in rows}
    first = of['LIF forward + backward, T=25, B=256, N=1000, ours','SpikingJelly triton']
    assert abs(first.ratio-3)<1e-9 and first.goal==2.5 and first.ok and not first.noise
    assert not of['LIF forward + backward, T=1000, B=1, N=1000, ours','snnTorch loop'].ok # 100 of 800
    copies = of['LIF forward + backward, T=100, B=128, N=1024, ours','three copies']
    assert abs(copies.ratio-.5)<1e-9 and copies.ok and copies.ratio<copies.goal


def test_steps_are_compared_with_the_graph_and_memory_with_its_least():
    rows = {(r.work,r.peer):r for r in goal_rows(made_up())}
    dense,conv = map(str, WORKS)
    assert abs(rows[f'{dense}, ours, float','SpikingJelly captured'].ratio-1.1)<1e-9 # not 1.5 ms, the eager one
    assert rows[f'{dense}, ours, int8','ours, float'].ratio>=1/1.5>rows[f'{dense}, ours, nonary','ours, float'].ratio
    peak = rows[f'{conv}, ours, float, bits, peak memory','SpikingJelly eager']
    assert peak.ratio==2 and peak.ours_s is None and peak.ok
    assert rows['2×128×128, T=100, B=16, ours, bits, 4 at once, peak memory','snnTorch loop'].ratio==6


def test_what_did_not_run_is_told_from_what_is_not_installed():
    work = GOALS[0].work
    only = lambda *rows: goal_rows(dict(layers=dict(rows=[r._asdict() for r in rows])))[0]
    broken = only(Timing(work, 'ours', why='RuntimeError: no'), Timing(work, 'SpikingJelly', 1., .9, 1.1))
    assert broken.ok is False and broken.ratio==0
    alone = only(Timing(work, 'ours', 1., .9, 1.1), Timing(work, 'SpikingJelly', why='not installed'))
    assert alone.ok is None and alone.ratio is None
    assert goal_rows({})==[] and goal_rows(dict(layers=dict(rows=[])))==[]


def test_a_memory_goal_needs_no_times():
    row, = goal_rows(dict(memory=dict(rows=[dict(work='w', who='ours', mib=2.), dict(work='w', who='other', mib=3.)])), [Goal('memory', 'w', 'ours', 'other', 2., 'mib')])
    assert row.ratio==1.5 and row.ok and not row.noise


def test_tables_say_reached_short_and_missed():
    text = goals_table(made_up())
    assert '| 2.5 times faster than SpikingJelly triton | 3 times | reached |' in text
    assert '| at most 1.67 of the time of three copies | 2 | short of it |' in text
    assert '| 800 times faster than snnTorch loop | 100 times | missed |' in text
    assert '| MNIST of the front page | 0 mismatches | 0 | reached |' in text
    assert '1,200 | 1 | 2 |' in gpu.tests_table(made_up())
    front = front_table(made_up())
    assert '| on a card |' in front and '| 0.2 ms | 100× (20 ms) | 3× (0.6 ms) |' in front
    assert 'training step, 784-1000-10, T=25, batch 256, nonary | 0.6 ms | 46.3× (27.8 ms) | 0.55× (0.33 ms) |' in front


def test_a_layer_as_a_graph_reads_well():
    d = made_up()
    d['layers']['rows'] += [timing(GOALS[0].work, GRAPH+who, ms) for who,ms in (('ours',.05),('SpikingJelly',.06))]
    text = goals_table(d)
    assert text.startswith('| work | asked | found | outcome |')
    assert f'| {GOALS[0].work}, as a graph: ours | not behind SpikingJelly as a graph | 1.2 times | reached |' in text
    assert '| T=25, B=256, N=1000 | 0.2 | 0.15 | 0.05 | 0.1 | 25 % |' in calls_table(d)


def test_stored_rows_are_called_as_they_are_now():
    rows = gpu.stored_gpu(ROOT/'nbs/measured/gpu.json')['layers']['rows']
    assert {r['who'] for r in rows if 'graph' in r['who']}=={f'{GRAPH}ours',f'{GRAPH}SpikingJelly'}


def test_all_peaks_and_steps_both_ways():
    d = made_up()
    peaks = gpu.memory_table(d).splitlines()
    assert len(peaks)==2+len(d['memory']['rows']) and peaks[4]=='| 2×128×128, T=100, B=16 | snnTorch loop | 1,200 | 5 |'
    both = eager_table(d).splitlines()
    assert f'| {WORKS[0]} | ours, float | 0.3 | 1.5 | 5.0 | 1,000 | 1,000 |' in both and len(both)==2+2*len(WORKS) # int8 was not run eagerly
    assert f'| {WORKS[1]} | SpikingJelly | 0.33 | 2.3 | 7.0 | 1,000 | 1,000 |' in both


def test_what_a_step_is_made_of_is_computed():
    row = lambda who, **ms: dict(work='w', who=who, step_ms=None if who=='floor' else 1., parts={k.replace('_', ' '):v for k,v in ms.items()})
    said = parts_said([row('float', products=.5, the_rest=.3, loss=.1), row('int8', products=.2, the_rest=.6, loss=.101), row('floor', products=9.)])
    assert said=='- w: the largest part is products in float (56 %), the rest in int8 (67 %); int8 adds 0.3 ms of the rest and saves 0.3 ms of products.'
    assert parts_said([])==''


def test_nothing_measured_is_a_sentence():
    assert where({})=='Nothing was measured on a GPU yet; `python tools/measure.py gpu` does it.'
    assert goals_table({})==front_table({})==gpu.tests_table({})==''
    assert where(made_up())=='Measured by `measure` on a card, driver 580, CUDA 13.0, torch 2.11, triton 3.6, snntorch 1.0; 2026-11-29.'


@pytest.mark.parametrize('dark', (False,True))
def test_pictures(dark):
    d,seen = made_up(),[]
    for paint in (lambda f: plot_grid(d['grid']['rows'], d['grid']['copy'], f), lambda f: plot_parts(d['parts']['rows'], f)):
        assert draw_png(lambda f: seen.append(paint(f)), (7,3), dark).startswith(b'\x89PNG')
    grid,parts = seen
    assert [ax.get_xlabel() for ax in grid.axes]==['B','N','T'] and all(ax.get_xscale()==ax.get_yscale()=='log' for ax in grid.axes)
    assert {t.get_text() for t in grid.axes[-1].texts}=={'ours','SpikingJelly','snnTorch','roofline'}
    assert [t.get_text() for t in parts.axes[0].get_yticklabels()]==['float','nonary','floor']


def test_no_layer_is_below_the_roofline_of_five_arrays():
    assert least_ms((25,256,1000), 4e12)==pytest.approx(5*4*25*256*1000/4e12*1e3)
    floor = floor_of(WORKS[0], dict(copy=4e12, dense=5e13, conv=5e13))
    assert floor['optimizer']==pytest.approx(7*4*(784*1000+1000+1000*10+10)/4e12*1e3)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU')
def test_without_a_gpu_one_line_and_success_unless_it_was_to_be_checked(capsys):
    for words in (['bench','gpu'],['bench','gpu','--check']):
        with pytest.raises(SystemExit) as e: main(words)
        out,err = capsys.readouterr()
        assert e.value.code==('--check' in words) and out=='' and err=='bench gpu: there is no GPU here, and nothing was measured\n'
    with pytest.raises(SystemExit) as e: main(['bench','gpu','--json'])
    assert e.value.code==0 and json.loads(capsys.readouterr().out)['rows']==[]


def test_check_fails_under_60_percent(monkeypatch, capsys):
    monkeypatch.setattr(gpu, 'bench_gpu', lambda threads, quick: goal_rows(made_up()))
    with pytest.raises(SystemExit) as e: main(['bench','gpu','--check'])
    out,err = capsys.readouterr()
    assert e.value.code==1 and 'under 60 % of its goal: LIF forward + backward, T=1000, B=1, N=1000, ours, snnTorch loop: 100 against 800' in err
    assert '784-1000-10, T=25, batch 256, ours, float' in out


@pytest.mark.soak
@pytest.mark.filterwarnings('ignore')
def test_everything_that_a_gpu_runs_also_runs_small_on_a_cpu():
    small = [WORKS[1]._replace(steps=2, batch=2)]
    for rows in (bench_layers([(2,2,4)], .1, 'cpu'), bench_steps(small, .1, 'cpu')):
        assert all(r.ms or r.why=='not installed' for r in rows), rows
    assert [r['who'] for r in bench_parts(small, .1, 'cpu', ('','nonary'))]==['float','nonary','floor']


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_parts_of_a_step_on_a_gpu():
    "Kernels of the neurons are found by the module that launched them"
    float_,nonary,_ = bench_parts(WORKS[:1], 1., 'cuda', ('','nonary'))
    for r in (float_,nonary): assert r['parts']['neurons']>0 and r['parts']['products']>0 and r['parts']['optimizer']>0
    assert nonary['parts']['codes and observers']>0==float_['parts']['codes and observers']


def test_parts_are_merged():
    old = measure.merged({'command':'c'}, 'layers', dict(on=ON, rows=[1]))
    assert measure.merged(old, 'steps', dict(on=ON, rows=[2]))==dict(command='c', layers=dict(on=ON, rows=[1]), steps=dict(on=ON, rows=[2]))
    assert measure.merged(old, 'layers', dict(on=ON, rows=[3]))['layers']['rows']==[3]


def test_files_of_tests_stay_on_the_same_machine_only():
    ran = lambda on, *files: dict(on=on, rows=[dict(file=f, on=on['date']) for f in files])
    old = measure.merged({}, 'tests', ran(ON, 'a.py', 'b.py'))
    later = ON|dict(date='2026-11-30')
    files = lambda d: [(r['file'],r['on']) for r in d['tests']['rows']]
    assert files(measure.merged(old, 'tests', ran(later, 'b.py', 'c.py')))==[('a.py','2026-11-29'),('b.py','2026-11-30'),('c.py','2026-11-30')]
    assert files(measure.merged(old, 'tests', ran(ON|dict(card='another'), 'b.py')))==[('b.py','2026-11-29')]


def test_pytest_is_counted():
    assert measure.counted('F..\n3 failed, 120 passed, 4 skipped, 1 error in 2.5s\n')==dict(passed=120, failed=4, skipped=4)
    assert measure.counted('')==dict(passed=0, failed=0, skipped=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU')
def test_measuring_without_a_gpu_says_what_it_skips(tmp_path, capsys):
    measure.gpu([], SimpleNamespace(from_=None, data_dir=''), tmp_path/'gpu.json')
    assert capsys.readouterr().out=='there is no GPU here: skipped tests layers steps grid own memory mnist parts\n'
    measure.gpu(['test_cuda.py'], SimpleNamespace(from_=None, data_dir=''), tmp_path/'gpu.json')
    assert capsys.readouterr().out=='there is no GPU here: skipped tests\n' and not list(tmp_path.iterdir())
    with pytest.raises(SystemExit, match='expected some of tests layers'): measure.gpu(['speed'], SimpleNamespace(from_=None, data_dir=''), tmp_path/'gpu.json')


@pytest.mark.parametrize('names,folder,said', ((['tests','test_nothing.py'],'','test_nothing.py'), (['mnist'],'/nowhere','no folder /nowhere')))
def test_what_is_not_there_is_refused_before_a_gpu_is_asked_for(names, folder, said, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: pytest.fail('asked for a GPU'))
    with pytest.raises(SystemExit, match=said): measure.gpu(names, SimpleNamespace(from_=None, data_dir=folder), tmp_path/'gpu.json')


def test_each_part_is_stored_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(measure, 'card', lambda: ON)
    def part(name, files, a):
        if name=='steps': raise SystemExit('out of time')
        return None if name=='memory' else dict(rows=[name])
    monkeypatch.setattr(measure, 'gpu_part', part)
    path,a = tmp_path/'gpu.json',SimpleNamespace(from_=None, data_dir='')
    with pytest.raises(SystemExit, match='out of time'): measure.gpu(['memory','layers','steps'], a, path)
    measure.gpu(['grid'], a, path)
    d = json.loads(path.read_text())
    assert set(d)=={'command','layers','grid'} and d['layers']==dict(rows=['layers'], on=ON)


def test_mnist_is_trained_there_and_proved_here(tmp_path, monkeypatch):
    values = dict(data='digits', hidden=16, epochs=1, qat_epochs=1, batch=256, policy='nonary', seed=0)
    row = measure.gpu_trained(values, 'cpu', '', tmp_path)
    assert row['mismatches'] is None and 0<row['test_accuracy']<=1
    path = tmp_path/'gpu.json'
    measure.put(path, dict(mnist=dict(on=ON, seconds=1., accuracy=row['test_accuracy'], stored_accuracy=.9, mismatches=None, why='not compared')))
    measure.gpu(['mnist'], SimpleNamespace(from_=tmp_path, data_dir=''), path)
    m = json.loads(path.read_text())['mnist']
    assert m['mismatches']==0 and m['accuracy']==pytest.approx(row['test_accuracy']) and 'why' not in m
