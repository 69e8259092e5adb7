"Gates of a run: what is refused, what stops, what is put back, who overrides, and that a kill in between changes nothing"
import errno, json, math, os, re, shutil, subprocess, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from hypothesis import given, strategies as st
from quarantion.checks import CheckError
from quarantion.files import Lock, audit, check_audit, load_tensors, read_jsonl, sha256
from quarantion.train.config import RUN_VERSION, Config, config_from
from quarantion.train.gates import _OPS, RunGate, asked, asked_in_the_end, gate_words, gates_of, run_gates
from quarantion.train.job import CHECKPOINT, finish, load_data, prove, restored, start, train
from quarantion.train.overrides import GateFailed, reopen, standing, waived
from quarantion.train.rollback import LAST, PASSED
from quarantion.train.signals import LayerSignals, Signals, as_json
from quarantion.train.rundir import is_finished, overrides, read_manifest

pytestmark = pytest.mark.filterwarnings('default:a threshold of')
TINY = Config(epochs=4, qat_epochs=2, hidden=8, steps=4, batch=512)
FALLS = 'lr>=0.0015@each epoch of float' # by a half cosine from 0.002: epochs 0 and 1 pass, epoch 2 fails
SPLIT = load_data(TINY)

def events(run): return [l['event'] for l in read_jsonl(run/'audit.jsonl')]

def hashes(run): return {p.name:sha256(p) for p in run.rglob('*') if p.is_file() and p.name!='.lock'}

def begun(folder, *gates, **more): return start(replace(TINY, gates=gates, **more), folder)

def ran(run, reason=''):
    "Train, or go on, to the end or to a gate that fails, of which it returns the lines"
    with Lock(run):
        try: finish(run, SPLIT, *train(run, SPLIT, override=reason))
        except GateFailed as e: return e.args
    return ()

@pytest.fixture(scope='module')
def free(tmp_path_factory):
    "The same run without gates"
    run = begun(tmp_path_factory.mktemp('free'))
    assert ran(run)==()
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
            '[[gates]]\nop = "<"':'`gates`: `metric`', '[gates]\nloss = ["<2", "<3"]':'each number once', '[gates]\nloss = [1, 2]':"found 'loss' 2 times", 'gates = [1]':'list', '[gate]\nloss = "<2"':'`gate`'}.items():
        with pytest.raises(CheckError) as e: said(text)
        assert word in str(e.value), e.value

@given(st.sampled_from(['loss','dead','in_max']), st.sampled_from([*_OPS]), st.floats(0, 1), st.sampled_from(['result','each epoch','end of qat']))
def test_a_gate_says_the_word_that_it_is_read_from(metric, op, number, when):
    g = RunGate(metric, op, number, when)
    assert run_gates((str(g),))==(g,) and gates_of((str(g),)).asked=={} and gate_words([str(g)])==[str(g)]


# What comes out

NUMBERS = st.one_of(st.none(), st.floats(0, 2).map(lambda v: float(f'{v:.7g}')), st.just(math.nan)) # as many digits as a file has

def line_of(values, epoch=0, phase='float'):
    layers = tuple(LayerSignals(str(i), 9, True, dead=v) for i,v in enumerate(values))
    return dict(phase=phase, epoch=epoch, loss=1., health=as_json(Signals(layers)))

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
    assert asked_in_the_end((each,), {}, [line, line|dict(health=as_json(Signals((LayerSignals('0', 9, True, sqnr=12.),))))])==[]

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
    files = hashes(run)
    assert ran(run)==said and ran(run)==said # says it again, and changes nothing
    assert hashes(run)==files and standing(run)['gates']==[FALLS]
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

def keeping(run):
    "Train to a gate that fails: the checkpoint at the beginning of each epoch, and the lines"
    copies = {}
    def keep(phase, epoch, *seen): copies.setdefault((phase,epoch), (run/LAST).read_bytes() if (run/LAST).exists() else b'')
    with pytest.raises(GateFailed) as e: train(run, SPLIT, keep)
    return copies,e.value.args

def test_a_run_goes_back_over_the_epochs_of_a_phase(tmp_path):
    "The end of the float phase was asked, and passed; the end of the quantized one does not"
    run = begun(tmp_path, 'lr>=0.00027@end of each phase', on_gate='rollback') # a quarter of the rate begins the second
    copies,said = keeping(run)
    assert said[1]=='the run went back to float, epoch 3, the last that passed' and 'qat, epoch 1' in said[0]
    assert (run/LAST).read_bytes()==(run/PASSED).read_bytes()==copies['qat',0]!=copies['qat',1]
    assert [m['phase'] for m in read_jsonl(run/'metrics.jsonl')]==['float']*4 and events(run)[-3:]==['epoch','epoch','rolled back']

def test_a_run_goes_back_to_the_bytes_that_passed(tmp_path, free):
    run = begun(tmp_path, FALLS, on_gate='rollback')
    copies,said = keeping(run)
    assert said[1]=='the run went back to float, epoch 1, the last that passed'
    assert (run/LAST).read_bytes()==(run/PASSED).read_bytes()==copies['float',2]!=copies['float',1]
    assert events(run)==['started','epoch','epoch','epoch','rolled back'] and len(read_jsonl(run/'metrics.jsonl'))==2
    assert standing(run)['checkpoint']==sha256(run/PASSED)
    before = hashes(run)
    assert ran(run)==said and hashes(run)==before
    assert ran(run, 'let it fall')==() and events(run)[4:7]==['rolled back','overridden','resumed']
    assert (run/'integer.safetensors').read_bytes()==(free/'integer.safetensors').read_bytes()
    a,b = (restored(r, SPLIT)[1].state_dict() for r in (run,free))
    assert all(torch.equal(a[k], b[k]) for k in b)

def test_without_a_checkpoint_that_passed_it_stops_and_says_so(tmp_path):
    run = begun(tmp_path, 'lr>=0.001@end of float', on_gate='rollback')
    assert ran(run)[1]=='the run stands where it failed, as no checkpoint has passed before'
    assert not (run/PASSED).exists() and len(read_jsonl(run/'metrics.jsonl'))==4 and standing(run)

def test_default_runs_keep_no_second_checkpoint(free): assert not (free/PASSED).exists() and 'asked' not in events(free) and 'gates' in json.loads((free/'result.json').read_text())

@pytest.mark.parametrize('name,times', [('passed.safetensors',1), ('audit.jsonl',8), ('last.safetensors',6), ('metrics.jsonl',7)])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, name, times):
    "While the passing one is saved; while the audit says that the run goes back; while it does; while lines are cut"
    run,count,real = begun(tmp_path, 'lr>=0.00027@end of each phase', on_gate='rollback'),[0],os.fsync
    whole = begun(tmp_path, 'lr>=0.00027@end of each phase', on_gate='rollback')
    said = ran(whole)
    def fsync(fd):
        count[0] += name in Path(os.readlink(f'/proc/self/fd/{fd}')).name
        if count[0]==times: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd)
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', fsync)
        with pytest.raises(CheckError, match='No space left on device'): ran(run)
    at = {f:load_tensors(run/f, CHECKPOINT, RUN_VERSION)[1] for f in (LAST,PASSED) if (run/f).exists()}
    assert at[LAST]['epoch'] and (name=='passed.safetensors' or (at[PASSED]['phase'],at[PASSED]['epoch'])==('float',4))
    check_audit(run/'audit.jsonl')
    assert ran(run)==said and (run/LAST).read_bytes()==(run/PASSED).read_bytes()
    tensors = lambda r: load_tensors(r/LAST, CHECKPOINT, RUN_VERSION)[0]
    assert all((v==tensors(whole)[k]).all() for k,v in tensors(run).items()) and not [p for p in run.rglob('.*.tmp')]

def test_a_damaged_checkpoint_takes_nobodys_place(tmp_path):
    run = begun(tmp_path, 'lr>=0.00027@end of each phase', on_gate='rollback')
    def spoil(phase, epoch, *seen): phase=='qat' and epoch==1 and (run/PASSED).write_bytes((run/PASSED).read_bytes()[:-9])
    with pytest.raises(CheckError, match='passed.safetensors: contents'): train(run, SPLIT, spoil)
    assert load_tensors(run/LAST, CHECKPOINT, RUN_VERSION)[1]['phase']=='qat'

@pytest.mark.parametrize('how', ['short', pytest.param('full', marks=pytest.mark.soak)])
def test_killed_at_any_moment_it_goes_back_once_and_goes_on(tmp_path, how):
    r = subprocess.run([sys.executable, Path(__file__).with_name('gate_driver.py'), tmp_path, how], capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'), timeout=300)
    assert r.returncode==0, r.stderr[-2000:]
    d = json.loads(r.stdout)
    assert d['standing']==['started',*['epoch']*5,'rolled back'] and d['ended']==d['standing']+['overridden','epoch','epoch','trained','lowered','proved']
    assert (len(d['back']),len(d['on']))==((12,5) if how=='full' else (6,1))
    for k in d['back']: assert (k['killed'],k['again'],k['once'],k['bytes'],k['same'])==(-9,1,True,True,True), k
    for k in d['on']: assert (k['killed'],k['again'],k['once'],k['same'])==(-9,1 if 'torn' in k['moment'] else 0,True,True), k


# Overrides, and the command

def test_overrides_that_are_refused(here, tmp_path, free):
    run = begun(tmp_path, FALLS)
    for reason in '', '  ', 'two\nlines':
        code,out,err = here('run', '--resume', run, '--override', reason)
        assert (code,out)==(2,'') and '`--override`: expected a reason, in one line' in err
    code,_,err = here('run', '--override', 'why not', '--out', tmp_path/'runs')
    assert code==2 and 'expected --resume with the run that a gate stopped' in err and not (tmp_path/'runs').exists()
    for path in run, shutil.copytree(free, tmp_path/'free'): # one that has not begun, one without gates
        with pytest.raises(CheckError, match='`--override`: expected a run with a gate that failed, found none'): ran(path, 'why not')

def test_the_command_stops_says_so_and_goes_on(here, tmp_path, monkeypatch):
    "Exit code 1 twice, then 0; the reason is in the audit, the manifest, the result, and on the first line of the report"
    args = '--epochs',4,'--qat-epochs',1,'--hidden',8,'--steps',4,'--batch',512
    code,out,err = here('run', *args, '--gates', FALLS, '--gates', 'bytes<=10', '--on-gate', 'rollback', '--out', tmp_path)
    run = next(tmp_path.iterdir())
    lines = ['gate lr>=0.0015@each epoch of float: expected >= 0.0015, found 0.001 (float, epoch 2)','the run went back to float, epoch 1, the last that passed',
             f'go on all the same with: quarantion run --resume {run} --override REASON']
    assert (code,out)==(1,'') and err.splitlines()[1:]==lines
    assert here('run', '--resume', run)==(1, '', '\n'.join(lines)+'\n')
    with monkeypatch.context() as m: # the result has a gate of its own
        m.setattr('quarantion.inspect.report.write_report', lambda run: (run/'report.html').write_text('no time'))
        code,out,err = here('run', '--resume', run, '--override', 'the <rate> [red]is meant to fall', '--json')
    d = json.loads(out)
    assert code==1 and d['overridden'][0]['reason']=='the <rate> [red]is meant to fall' and re.search(r'gate bytes<=10@result: expected <= 10, found \d+\n', err)
    assert is_finished(run) and here('verify', run)[0]==1 and here('run', '--resume', run)[0]==1
    code,out,err = here('run', '--resume', run, '--override', 'small enough')
    assert code==0 and 'the <rate> [red]is meant to fall' in ' '.join(out.replace('│', ' ').split()), out
    assert [o['reason'] for o in overrides(run)]==['the <rate> [red]is meant to fall','small enough']==[o['reason'] for o in json.loads((run/'manifest.json').read_text())['overridden']]
    assert read_manifest(run).audit==check_audit(run/'audit.jsonl') and overrides(run)==json.loads((run/'result.json').read_text())['overridden']
    page = (run/'report.html').read_text()
    first = page[page.index('</h1>'):].split('</p>')
    assert 'Overridden' in first[0] and 'the &lt;rate&gt; [red]is meant to fall' in first[0] and 'small enough' in first[1] and 'A spiking network' in first[2]
    code,out,_ = here('verify', run)
    assert code==0 and out.startswith('overridden: gate lr>=0.0015@each epoch of float') and 'whole' in out
    assert here('run', '--resume', run, '--override', 'once more')[0]==2

def test_a_proof_that_failed_is_not_overridden(tmp_path):
    (tmp_path/'result.json').write_text(json.dumps(dict(gates=[dict(name='never_fires', passed=False), dict(name='max_drop', passed=False)], problems=['layer 1: never fires','gate max_drop: …'])))
    with pytest.raises(CheckError, match='equality of network and program is not overridden, found never_fires'): reopen(tmp_path, 'why not')

def test_gates_of_the_proof_are_overridden_too(tmp_path):
    run = begun(tmp_path, 'min_sqnr=99')
    with Lock(run): r = finish(run, SPLIT, *train(run, SPLIT))
    assert r['problems'] and r['problems'][0].startswith('gate min_sqnr')
    with Lock(run): r = finish(run, SPLIT, *train(run, SPLIT, override='it is meant to be rough'))
    assert not r['problems'] and r['overridden'][0]['gates']==['min_sqnr'] and prove(run, SPLIT).ok

def test_policy_float_has_gates(tmp_path):
    run = begun(tmp_path, 'test_accuracy>=1', 'loss<=99@end of float', policy='float')
    with Lock(run): r = finish(run, SPLIT, *train(run, SPLIT))
    assert [(g['name'],g['passed']) for g in r['gates']]==[('test_accuracy>=1@result',False)] and len(r['problems'])==1

@pytest.mark.parametrize('facts', [dict(), dict(reason=3, gates=[], said=[]), dict(reason='x', gates='loss', said=[])])
def test_an_audit_with_another_override_is_refused(tmp_path, facts):
    audit(tmp_path/'audit.jsonl', 'overridden', **facts)
    with pytest.raises(CheckError, match='override: expected a reason, gates'): overrides(tmp_path)
