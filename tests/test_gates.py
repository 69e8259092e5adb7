"Gates of a run: what is refused, what stops, what is put back, who overrides, and that a kill in between changes nothing"
import contextlib, errno, json, math, os, signal, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from hypothesis import given, strategies as st
import quarantion.inspect.report
from quarantion.checks import CheckError
from quarantion.cli import main
from quarantion.files import Lock, audit, check_audit, read_jsonl, sha256
from quarantion.train.config import Config, config_from
from quarantion.train.gates import _OPS, RunGate, asked, asked_in_the_end, gate_words, gates_of, run_gates
from quarantion.train.job import finish, load_data, restored, start, train
from quarantion.train.overrides import GateFailed, standing, waived
from quarantion.train.rundir import overrides, read_manifest

pytestmark = pytest.mark.filterwarnings('default:a threshold of')
TINY = Config(epochs=4, qat_epochs=2, hidden=8, steps=4, batch=512)
FALLS = 'lr>=0.0015@each epoch of float' # by a half cosine from 0.002: epochs 0 and 1 pass, epoch 2 fails
SPLIT = load_data(TINY)
LAST,PASSED = (f'checkpoints/{n}.safetensors' for n in ('last','passed'))

def events(run): return [l['event'] for l in read_jsonl(run/'audit.jsonl')]

def begun(folder, *gates, **more): return start(replace(TINY, gates=gates, **more), folder)

def ran(run, reason=''):
    "Train, or go on, to the end or to a gate that fails, of which it returns the lines"
    with Lock(run):
        try: finish(run, SPLIT, *train(run, SPLIT, override=reason))
        except GateFailed as e: return e.args
    return ()

def stands(run): return torch.load if False else json.loads((run/LAST).read_bytes()[8:].split(b'}}')[0]+b'}}')

@pytest.fixture(scope='module')
def free(tmp_path_factory):
    "The same run without gates"
    run = begun(tmp_path_factory.mktemp('free'))
    assert ran(run)==()
    return run

@pytest.fixture
def here(capsys):
    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as e: main([str(a) for a in args])
        return (e.value.code, *capsys.readouterr())
    return run


# Words and tables

@pytest.mark.parametrize('word,said', {
    'hope>=1':"expected one of loss, accuracy, spike_rate, test_accuracy, lr", 'max_hope=1':"expected one of max_drop", '>=1':"found ''", 'loss=2':'`loss`: expected >=, <=, > or < behind it',
    'loss>=':"a finite number behind the operator, found ''", 'loss<nan':'a finite number', 'loss<=inf':'a finite number', 'loss<=1=2':'a finite number', 'test_accuracy>=90':'a share in [0, 1], as test_accuracy is, found 90',
    'dead<=0.5@noon':"found 'noon'", 'dead<=0.5@end of':"found 'end of'", 'loss<=1@end of dawn':"one of the phases float, qat, found 'dawn'", 'loss<=1@each epoch of result':'one of the phases',
    'bytes<=9@each epoch':'expected result behind @', 'clipping<=0.1@end of float':'a quantized network, for clipping, found none', 'loss.ce_rate<=1':'a loss without terms', 'loss.hope<=1':'expected one of loss'}.items())
def test_words_that_are_refused_before_a_run_begins(here, tmp_path, word, said):
    code,out,err = here('run', '--gates', word, '--out', tmp_path/'runs')
    assert (code,out)==(2,'') and said in err and err.count('\n')==1, err
    assert not (tmp_path/'runs').exists()

@pytest.mark.parametrize('more,said', [
    (dict(gates=('loss<=1','loss<=2')), 'each number once at a time'), (dict(gates=('loss<=1@end of qat',), qat_epochs=0), "one of the phases float, found 'qat'"),
    (dict(gates=('clipping<=0.1',), policy='float'), 'a quantized network, for clipping'), (dict(gates=('max_drop=0.1',), policy='float'), '`policy`: expected a quantized one'),
    (dict(gates=('loss<=1@end of qat',), policy='float'), 'one of the phases float'), (dict(on_gate='rollback'), '`on_gate`: expected stop, unless a gate is asked before the end'),
    (dict(on_gate='hope'), '`on_gate`: expected one of stop, rollback')])
def test_gates_that_would_never_be_asked(more, said):
    with pytest.raises(CheckError) as e: replace(TINY, **more)
    assert said in str(e.value)

def test_gates_of_phases_from_a_preset():
    assert replace(TINY, phases='delayed', gates=('loss<=9@end of qat','rate<=1@each epoch')).gates
    cfg = replace(TINY, epochs=20, phases='freeze', gates=('clipping<=0.5@each epoch of frozen',))
    assert str(run_gates(cfg.gates)[0])=='clipping<=0.5@each epoch of frozen'

def test_tables_of_a_file(tmp_path):
    file = tmp_path/'run.toml'
    said = lambda text: (file.write_text(text), config_from(file, {})[0].gates)[1]
    assert said('epochs = 3\n[gates]\nmax_drop = 0.01\ntest_accuracy = [">= 0.9 @ end of float", ">= 0.95"]\ndead = {op = "<=", threshold = 0.5, when = "each epoch"}')==(
        'max_drop=0.01','test_accuracy>= 0.9 @ end of float','test_accuracy>= 0.95','dead<=0.5@each epoch')
    assert said('[[gates]]\nmetric = "loss"\nop = "<"\nthreshold = 2\nwhen = "end of qat"\n[[gates]]\nmetric = "min_sqnr"\nthreshold = 9')==('loss<2@end of qat','min_sqnr=9')
    assert said('gates = ["max_drop=0.5", "loss<2"]')==('max_drop=0.5','loss<2')
    for text,word in {'[gates]\nhope = ">= 1"':"found 'hope'", '[gates]\nloss = true':'`gates`: `loss`: expected a number', '[gates.loss]\nopp = "<"':'one of op, threshold, when', '[gates.loss]\nop = "<"':'`threshold`: expected a number',
            '[[gates]]\nop = "<"':'`gates`: `metric`', '[gates]\nloss = ["<2", "<3"]':'each number once', '[gates]\nloss = [1, 2]':'`loss`', 'gates = [1]':'list', '[gate]\nloss = "<2"':'`gate`'}.items():
        with pytest.raises(CheckError) as e: said(text)
        assert word in str(e.value), e.value

@given(st.sampled_from(['loss','dead','in_max']), st.sampled_from([*_OPS]), st.floats(0, 1), st.sampled_from(['result','each epoch','end of qat']))
def test_a_gate_says_the_word_that_it_is_read_from(metric, op, number, when):
    g = RunGate(metric, op, number, when)
    assert run_gates((str(g),))==(g,) and gates_of((str(g),)).asked=={} and gate_words([str(g)])==[str(g)]


# What comes out

NUMBERS = st.one_of(st.none(), st.floats(0, 2), st.just(math.nan))

def line_of(values, epoch=0, phase='float'):
    layers = [dict(name=str(i), dead=None if v is None or math.isnan(v) else v, **(dict(nan=['dead']) if v is not None and math.isnan(v) else {})) for i,v in enumerate(values)]
    return dict(phase=phase, epoch=epoch, loss=1., health=dict(layers=layers))

@given(st.lists(NUMBERS, max_size=4), st.sampled_from([*_OPS]), st.floats(0, 1))
def test_layers_are_judged_by_their_worst(values, op, bound):
    "A plain loop over layers: every known number is on its side, and NaN is on none"
    got = asked((RunGate('dead', op, bound, 'each epoch'),), line_of(values))
    known = [v for v in values if v is not None]
    assert bool(got)==bool(known)
    if got: assert got[0].passed==all(not math.isnan(v) and {'>=':v>=bound, '<=':v<=bound, '>':v>bound, '<':v<bound}[op] for v in known)
    if got and not got[0].passed:
        bad = values[int(got[0].where.split(',')[0].removeprefix('layer '))]
        assert math.isnan(bad) or not _OPS[op](bad, bound)

def test_nan_fails_and_is_named():
    v, = asked(run_gates(('dead<=0.9@each epoch',)), line_of([.1, math.nan], 3))
    assert str(v)=='gate dead<=0.9@each epoch: expected <= 0.9, found nan (layer 1, float, epoch 3)' and v.as_json()['found'] is None
    v, = asked(run_gates(('loss<=9@each epoch',)), line_of([])|dict(loss=math.nan))
    assert not v.passed

def test_when_gates_are_asked():
    gates = run_gates(('loss<=9@each epoch','loss<=8@each epoch of qat','loss<=7@end of each phase','loss<=6@end of qat','loss<=5'))
    said = lambda phase, ended: [v.gate.threshold for v in asked(gates, line_of([], phase=phase), ended)]
    assert (said('float',False), said('float',True), said('qat',False), said('qat',True))==([9], [9,7], [9,8], [9,8,7,6])

def test_a_number_that_nobody_knows():
    "After an epoch it is not asked, at the end of a phase it fails; one that no epoch knew fails in the end"
    each,end = run_gates(('sqnr>=9@each epoch','sqnr>=9@end of qat'))
    line = line_of([.1], phase='qat')
    assert [str(v.gate) for v in asked((each,end), line, True)]==[str(end)] and not asked((end,), line, True)[0].passed
    assert [(str(v.gate),v.passed) for v in asked_in_the_end((each,), {}, [line])]==[(str(each),False)]
    assert asked_in_the_end((each,), {}, [line, line|dict(health=dict(layers=[dict(name='0', sqnr=12.)]))])==[]

def test_of_the_result_before_the_last_epoch():
    gates = run_gates(('test_accuracy>=0.9','dead<=0.5','loss<=2'))
    got = asked_in_the_end(gates, dict(test_accuracy=.95), [line_of([.9]), line_of([.2])|dict(test_accuracy=.1)])
    assert [v.passed for v in got]==[True]*3
    assert [v.passed for v in asked_in_the_end(gates, {}, [])]==[False]*3


# Stop

def test_a_run_stops_where_it_failed_and_goes_on_with_a_reason(tmp_path, free):
    run = begun(tmp_path, FALLS)
    said = ran(run)
    assert said==('gate lr>=0.0015@each epoch of float: expected >= 0.0015, found 0.001 (float, epoch 2)','the run stands where it failed')
    assert events(run)==['started','epoch','epoch','epoch','stopped'] and len(read_jsonl(run/'metrics.jsonl'))==3
    files = {p.name:sha256(p) for p in run.rglob('*.*') if p.is_file()}
    assert ran(run)==said and ran(run)==said # says it again, and changes nothing
    assert {p.name:sha256(p) for p in run.rglob('*.*') if p.is_file()}==files and standing(run)['gates']==[FALLS]
    assert ran(run, 'only to see')==()
    assert events(run)[4:7]==['stopped','overridden','resumed'] and not standing(run) and waived(run)=={FALLS}
    assert (run/'integer.safetensors').read_bytes()==(free/'integer.safetensors').read_bytes()
    r = json.loads((run/'result.json').read_text())
    assert r['overridden']==overrides(run)==[dict(reason='only to see', gates=[FALLS], said=[said[0]])] and 'problems' in r and not r['problems']
    check_audit(run/'audit.jsonl')

def test_a_run_that_goes_on_and_is_killed_needs_no_second_reason(tmp_path, free):
    run = begun(tmp_path, FALLS)
    class Killed(Exception): pass
    def kill(*seen): raise Killed
    ran(run)
    with pytest.raises(Killed): train(run, SPLIT, kill, 'one reason')
    assert events(run)[-2:]==['overridden','resumed'] and ran(run)==()
    assert events(run).count('overridden')==1 and (run/'integer.safetensors').read_bytes()==(free/'integer.safetensors').read_bytes()

def test_only_the_gate_that_failed_is_overridden(tmp_path):
    run = begun(tmp_path, FALLS, 'lr>=0.001@end of float')
    assert ran(run) and [w.split(':')[0] for w in ran(run, 'the first')][0]=='gate lr>=0.001@end of float'
    assert ran(run, 'the second')==() and [o['reason'] for o in overrides(run)]==['the first','the second']


# Rollback

def test_a_run_goes_back_to_the_bytes_that_passed(tmp_path, free):
    "Over the epochs of another phase, too: only the end of the float phase was asked, and passed"
    run,copies = begun(tmp_path, 'lr>=0.0001@end of each phase', on_gate='rollback'),{}
    def keep(phase, epoch, *seen): copies.setdefault((phase,epoch), (run/LAST).read_bytes() if (run/LAST).exists() else b'')
    with pytest.raises(GateFailed) as e: train(run, SPLIT, keep)
    assert e.value.args[1]=='the run went back to float, epoch 3, the last that passed' or 'qat' in e.value.args[0], e.value.args

def test_each_epoch(tmp_path, free):
    run,copies = begun(tmp_path, FALLS, on_gate='rollback'),{}
    def keep(phase, epoch, *seen): copies.setdefault((phase,epoch), (run/LAST).read_bytes() if (run/LAST).exists() else b'')
    with pytest.raises(GateFailed) as e: train(run, SPLIT, keep)
    assert e.value.args[1]=='the run went back to float, epoch 1, the last that passed'
    assert (run/LAST).read_bytes()==(run/PASSED).read_bytes()==copies['float',2]!=copies['float',1]
    assert events(run)==['started','epoch','epoch','epoch','rolled back'] and len(read_jsonl(run/'metrics.jsonl'))==2
    assert standing(run)['checkpoint']==sha256(run/PASSED)
    before = {p.name:sha256(p) for p in run.rglob('*.*') if p.is_file()}
    assert ran(run)==e.value.args and {p.name:sha256(p) for p in run.rglob('*.*') if p.is_file()}==before
    assert ran(run, 'let it fall')==() and events(run)[4:7]==['rolled back','overridden','resumed']
    assert (run/'integer.safetensors').read_bytes()==(free/'integer.safetensors').read_bytes()
    a,b = (restored(r, SPLIT)[1].state_dict() for r in (run,free))
    assert all(torch.equal(a[k], b[k]) for k in b)
