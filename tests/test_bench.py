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
    assert e.value.code==2 and "`bench`: expected one of lif, bptt, levels, nonary, fakequant, events, infer, gpu, found 'speed'" in capsys.readouterr().err


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
