"What a benchmark prints; how fast anything is, no test says."
import json

import pytest

from quarantion.cli import main


@pytest.mark.filterwarnings('ignore')
def test_bench_prints_one_object(capsys):
    with pytest.raises(SystemExit) as e: main(['bench', 'lif', '--threads', '1', '--quick', '--json'])
    d = json.loads(capsys.readouterr().out)
    assert e.value.code==0 and set(d)=={'bench','machine','rows'} and len(d['rows'])>=3
    for r in d['rows']:
        assert {'work','threads','ours_s','peer','peer_s','ratio','goal','ok'}<=r.keys()
        if r['peer_s'] is None: assert r['ratio'] is None and r['ok'] is None # a peer that is not installed is named all the same
        else: assert abs(r['ratio']-r['peer_s']/r['ours_s'])<1e-6*r['ratio']


def test_an_unknown_bench_is_named(capsys):
    with pytest.raises(SystemExit) as e: main(['bench', 'speed'])
    assert e.value.code==2 and "`bench`: expected one of lif, bptt, levels, nonary, wave, fakequant, events, cameras, quality, infer, codes, convert, train, many, own, health, nearest, walk, curvature, wire, links, ask, lattice, tokens, gpu, found 'speed'" in capsys.readouterr().err


@pytest.mark.parametrize('how', [['--json'],[]])
def test_links_are_measured_of_packages_that_apt_knows(monkeypatch, capsys, how):
    import numpy as np

    from quarantion.bench import links
    from quarantion.bench.link_sets import Sets
    r = np.random.default_rng(0)
    drawn = {tuple(sorted((r.choice(10, r.integers(2, 5), False)+10*r.integers(6)).tolist())) for _ in range(300)}
    monkeypatch.setattr(links, 'debian_dependencies', lambda: None)
    monkeypatch.setattr(links, 'sets_of', lambda h, least: Sets(sorted(drawn), 60))
    rows = links.links_rows
    monkeypatch.setattr(links, 'links_rows', lambda sets, seed: rows(sets, seed, 1)) # one epoch shows the command
    with pytest.raises(SystemExit) as e: main(['bench','links','--quick',*how])
    out = capsys.readouterr().out
    assert e.value.code==0
    if not how: assert '| attention | 0.' in out and 'seeds: 1' in out
    else: assert {r['method'] for r in json.loads(out)['rows']}=={*links.SIMPLE,*links.NETS}


def test_onnxruntime_runs_the_same_float_network():
    "With one thread and two, all answers are those of torch, and the graph is one that onnx takes"
    pytest.importorskip('onnxruntime')
    import numpy as np
    import onnx

    from quarantion.bench.infer import _onnx_model, drawn, drawn_spikes, peers
    for threads in 1,2:
        for shape in (64,128,10),(30,20,20,5):
            net,x = drawn(shape, .2, threads),drawn_spikes(shape, 100, .2)
            found = peers(net)
            onnx.checker.check_model(onnx.load_model_from_string(_onnx_model(net)), full_check=True)
            same = np.mean(found['onnxruntime'](x).numpy()==found['torch float'](x).detach().numpy())
            assert same>.97, (threads, shape, same)


@pytest.mark.parametrize('missing', ['onnx', 'onnxruntime'])
def test_a_peer_that_is_not_installed_is_left_out_and_said_so(monkeypatch, missing):
    import sys

    from quarantion.bench.infer import bench_infer, drawn, peers
    from quarantion.tables import table
    monkeypatch.setitem(sys.modules, missing, None)
    assert peers(drawn((8,6,4), .2))['onnxruntime'] is None
    rows = [r for r in bench_infer(1, True, ((64,128,10),), ((1,.05),), ()) if r.peer=='onnxruntime']
    assert len(rows)==1 and rows[0].peer_s is None and 'peer not installed' in table(rows)


def test_early_answers_are_raced_against_all_steps(monkeypatch):
    "A row says time as its ratio, steps in the name of the peer; and answers that are others are refused"
    import re

    from quarantion.bench import infer
    small = infer.learned_digits(24, 'direct', (2,1))
    monkeypatch.setattr(infer, 'learned_digits', lambda *a, threads=1: small)
    r, = infer.bench_until(24, 'direct', 1, True)
    steps = float(re.fullmatch(r'all steps, ([\d.]+)× as many', r.peer)[1])
    assert 1<=steps<=25 and r.goal==3 and abs(r.ratio-r.peer_s/r.ours_s)<1e-9 and r.ours_s<.01
    net,x,later = small
    margin = infer.margin_for(net, x)
    early = [infer.early(net, v, margin) for v in later[:50]]
    assert abs(25/steps-sum(int(e.steps[0]) for e in early)/50)<.1*25/steps
    monkeypatch.setattr(infer, 'margin_for', lambda net, x: infer.replace(margin, bound=0., least=1))
    with pytest.raises(AssertionError, match='digits, direct: only'): infer.bench_until(24, 'direct', 1, True)


SMALL = (20,30,10),4,6


def test_training_steps_begin_with_one_loss():
    "Float sides, from the same weights: to a thousandth, those that reset a step later among themselves"
    from quarantion.bench.gpu_steps import batch_of
    from quarantion.bench.train import ANSWER, DELAYED, FLOAT, HOISTED, JELLY, NORSE, TUTORIAL, contenders, dense_work, ready
    work = dense_work(*SMALL)
    made = ready(contenders(work, *batch_of(work, 'cpu'), compiled=False))
    for one,others in (FLOAT,(ANSWER,JELLY,NORSE)),(DELAYED,(TUTORIAL,HOISTED)):
        for o in others:
            if made[o].run: assert made[o].loss==pytest.approx(made[one].loss, rel=1e-3), o
    assert made[DELAYED].loss!=pytest.approx(made[FLOAT].loss, rel=1e-3)
    assert made[TUTORIAL].run and all(made[p].run() is not None for p in ('int8','nonary','ternary'))


def test_a_contender_with_another_loss_stops_the_bench(monkeypatch):
    from quarantion.bench import train
    monkeypatch.setattr(train, 'snntorch_net', train.jelly_net) # it does not know `hoisted`
    with pytest.raises(TypeError): train.ready(dict(a=lambda: train.snntorch_net(train.dense_work(*SMALL), hoisted=False)))
    with pytest.raises(AssertionError, match='float, answer: a loss of 2, float, membranes: 1'):
        train.ready({train.ANSWER:lambda: lambda: 2., train.FLOAT:lambda: lambda: 1.})


def test_what_cannot_be_compiled_is_named():
    from quarantion.bench.train import COMPILED, GOALS, TUTORIAL, ready, step_rows
    def no(): raise RuntimeError('no C++ compiler\nmore')
    steps = {who:lambda: lambda: 1. for g in GOALS.values() for who in g}|{who:lambda: lambda: 1. for who in GOALS}
    made = ready(steps|{COMPILED:no})
    rows = step_rows('work', 1, made, GOALS, repeats=3, burst=1e-4)
    bad, = [r for r in rows if r.ratio is None]
    assert bad.peer==f'{COMPILED} (RuntimeError: no C++ compiler)' and bad.ok is None
    assert all(r.goal==GOALS[r.work.removeprefix('work, ')][TUTORIAL] for r in rows if r.peer==TUTORIAL)
    assert not any(r.goal for r in step_rows('work', 2, made, GOALS, repeats=3, burst=1e-4)) # they are those of one thread


@pytest.mark.filterwarnings('ignore')
def test_rows_of_training_steps():
    from quarantion.bench.train import FLOAT, GOALS, HOISTED, JELLY, NORSE, TUTORIAL, bench_train, dense_work
    rows = bench_train(1, True, dense_work(*SMALL)) # one thread: two of a busy core wait for each other
    head = '20-30-10, T=4, batch 6'
    names = [f'{head}, constant input, 1 thread, {who}' for who in GOALS]+[f'{head}, 10% spikes, 1 thread, {who}' for who in (FLOAT,'int8')]
    assert list(dict.fromkeys(r.work for r in rows))==names and {r.threads for r in rows}=={1}
    peers = [r.peer for r in rows if r.work==f'{head}, constant input, 1 thread, {FLOAT}']
    assert peers==[TUTORIAL,HOISTED,JELLY,NORSE,'roofline (ReLU network)']
    assert [(r.peer,r.goal) for r in rows if r.work==f'{head}, constant input, 1 thread, int8'][2]==(f'ours, {FLOAT}',.77)


@pytest.mark.filterwarnings('ignore')
def test_parts_of_a_training_step_add_up(monkeypatch):
    import sys
    from pathlib import Path

    from quarantion.bench import train
    rows = train.bench_train_parts(train.dense_work(*SMALL), times=1)
    assert [r['who'] for r in rows]==[train.FLOAT,'int8','ReLU'] and [bool(r['step_ms']) for r in rows]==[True,True,False]
    some = lambda r: {k for k,v in r['parts'].items() if v>0}
    products = {'product of the input','readout','gradient of weights','optimizer','loss'} # the readout's are among its neurons'
    assert products|{'neurons forward','neurons backward','weight codes','observers'}<=some(rows[1])
    assert products<=some(rows[2]) and not {'neurons forward','neurons backward','observers'}&some(rows[2])
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent/'tools'))
    import measure
    monkeypatch.setattr(train, 'bench_train_parts', lambda: rows)
    first = measure.train_parts(())
    again = measure.train_parts(measure.train_parts(first))
    assert first==rows and [r['who'] for r in again]==[train.FLOAT,'int8, before','int8','ReLU']
    assert 'measure' in sys.modules


# codes

def test_encoders_are_compared_before_they_are_timed(monkeypatch):
    from quarantion.bench import codes
    rows = codes.bench_codes(1, True, 4, 9)
    assert [(r.peer,r.goal) for r in rows]==[('snnTorch',5)]*4+[('SpikingJelly',5)]*2 and all(r.ratio for r in rows)
    monkeypatch.setattr(codes, 'phase', lambda x, *a, **k: x.new_zeros(8, *x.shape))
    with pytest.raises(AssertionError, match='phase, 8 bits: spikes differ from SpikingJelly'): codes.bench_codes(1, True, 4, 9)

def test_the_stored_codes_reach_their_goal():
    "At most 5 spikes of a pixel and sample, within 1.0 of direct, over 5 seeds; and every neuron was proved"
    from quarantion.bench.codes import CODE_SETTINGS, CODE_STEPS, grouped_codes, which_code
    from quarantion.spikes.encoders import ENCODERS
    from quarantion.tables import measurement
    d = measurement('codes')
    rows,of = d['rows'],grouped_codes(d['rows'])
    assert d['settings']==CODE_SETTINGS and d['which']==which_code(rows) and d['seconds']<600
    assert {(r['encoder'],r['steps'],r['seed']) for r in rows}=={(e,t,s) for e in ENCODERS for t in CODE_STEPS for s in range(5) if e!='burst' or t>=5}
    assert all(r['mismatches']==0 and r['compared']==360*r['steps']*74 for r in rows)
    direct = max(a for (e,_),(a,_) in of.items() if e=='direct')
    assert max(a for (e,_),(a,s) in of.items() if e!='direct' and s<=5)>=direct-.01
    assert all(r['peak']<=1.2 for r in d['memory'])


# conversion

@pytest.mark.filterwarnings('ignore')
def test_a_small_conversion_is_told_as_a_table(monkeypatch, capsys):
    "Each way has a row for each T, programs have no mismatch, and the command prints points against the ReLU network"
    from quarantion.bench import convert
    from quarantion.data.digits import load_digits
    rows = [*convert.convert_rows('digits', load_digits(), 0, (2,8), epochs=2, tune=1)]
    ways = {(r.who,r.how) for r in rows}
    assert {w for w,_ in ways}=={'ReLU network','quarantion','SpikingJelly'} and len(ways)==14, ways
    assert sum(r.mismatches for r in rows)==0 and sum(r.compared>0 for r in rows)==4 and all(0<=r.accuracy<=1 for r in rows)
    monkeypatch.setattr(convert, 'bench_convert', lambda threads, quick: rows)
    with pytest.raises(SystemExit) as e: main(['bench', 'convert', '--quick', '--check'])
    out = capsys.readouterr().out
    assert e.value.code==0 and '| quarantion: shift | ' in out and '| SpikingJelly: 99.9 % | ' in out and '| T = 2 | T = 8 |' in out
    with pytest.raises(SystemExit): main(['bench', 'convert', '--json'])
    assert json.loads(capsys.readouterr().out)['rows'][0]['how']==''


@pytest.mark.filterwarnings('ignore')
def test_a_small_convolutional_network_is_converted_in_every_way():
    import torch

    from quarantion.bench.convert import convert_rows
    from quarantion.data.samples import Samples, Split
    torch.manual_seed(0)
    part = lambda n: Samples(torch.rand(n, 784), torch.arange(n)%10, in_shape=(1,28,28))
    rows = [*convert_rows('mnist', Split(part(60), part(20), 'mnist'), 0, (2,16), hidden=('conv',), epochs=1, sample=20)]
    proofs = {(r.how,r.steps) for r in rows if r.compared}
    assert proofs=={('hybrid, int8',16),('shift, int8',16),('shift, nonary',16)} and not any(r.mismatches for r in rows)
    assert {r.who for r in rows}=={'ReLU network','quarantion','SpikingJelly'} and {r.work for r in rows}=={'mnist, conv-10'}


@pytest.mark.filterwarnings('ignore')
def test_a_conversion_says_what_is_wrong(monkeypatch, capsys):
    from quarantion.bench import convert
    row = convert.ConvertRow('digits', 'ReLU network', '', 0, 0, .9)
    rows = [row, convert.ConvertRow('digits', 'SpikingJelly', 'max', 8, 0, None), convert.ConvertRow('digits', 'quarantion', 'shift, int8', 8, 0, .9, 10, 2)]
    monkeypatch.setattr(convert, 'bench_convert', lambda threads, quick: rows)
    with pytest.raises(SystemExit) as e: main(['bench', 'convert', '--check'])
    err = capsys.readouterr().err
    assert e.value.code==1 and 'not installed: SpikingJelly' in err and 'shift, int8, T = 8: 2 mismatches' in err


def test_the_stored_conversion_reaches_its_goals():
    from quarantion.bench.convert import CONVERT_STEPS, ConvertRow, convert_goals
    from quarantion.tables import measurement
    d = measurement('convert')
    rows = [ConvertRow(**r) for r in d['rows']]
    assert not any(r.mismatches for r in rows) and sum(r.compared for r in rows)>1e9
    main_ = [r for r in rows if r.work=='mnist, 784-1000-10']
    assert {r.seed for r in main_}=={0,1,2} and {r.steps for r in main_}=={0,*CONVERT_STEPS}
    assert all(r.accuracy>=.98 for r in main_ if not r.steps)
    for goal,found,ok in convert_goals(rows): assert ok or goal.startswith('shift'), (goal, found) # alone it may be an answer or two behind
