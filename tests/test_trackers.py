"Trackers: each number of a run once, whatever happened to the run; and a run that does not notice them."
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from quarantion import cli
from quarantion.checks import CheckError
from quarantion.files import append_jsonl, audit, read_jsonl
from quarantion.inspect.report import write_report
from quarantion.train import trackers
from quarantion.train.config import Config
from quarantion.train.job import finish, load_data, start, train
from quarantion.train.rundir import unsealed, write_manifest
from quarantion.train.trackers import TRACKERS, Tracking, check_trackers, mirror, points_of

CFG = Config(epochs=2, qat_epochs=2, hidden=16, steps=5)
SHORT = ['--epochs', '2', '--qat-epochs', '2', '--hidden', '16', '--steps', '5']


class Kept:
    "A tracker that keeps what it gets in a list, by the name of the run"
    needs,lists = 'json',{}
    def __init__(self, run):
        self.points = self.lists.setdefault(run.name, [])
        self.seen = {p[:2] for p in self.points}
    def add(self, points, settings): self.points += points
    def close(self): pass


class Broken(Kept):
    "Its server is away"
    def __init__(self, run): self.seen = set()
    def add(self, points, settings): raise ConnectionError('no\nserver')


class Slow(Kept):
    "Its server is far away"
    def add(self, points, settings): time.sleep(60)


@pytest.fixture
def fakes(monkeypatch):
    for k,v in dict(kept=Kept, broken=Broken, slow=Slow).items(): monkeypatch.setitem(TRACKERS, k, v)
    monkeypatch.setattr(Kept, 'lists', {})


class Stopped(Exception): pass


def trained(folder, names=(), stop=None, say=None, **how):
    "A run, sealed; killed once if it is to stop in the quantized network"
    def stops(phase, epoch, epochs, done, total, stats):
        if (phase,epoch)==stop: raise Stopped
    split = load_data(CFG)
    run = start(CFG, folder)
    for progress in ([stops] if stop else [])+[lambda *a: None]:
        with Tracking(names, say or pytest.fail, **how) as t:
            t.follow(run)
            try: net,q,acc = train(run, split, progress)
            except Stopped: continue
            finish(run, split, net, q, acc)
            audit(run/'audit.jsonl', 'finished')
            write_manifest(run)
    return run


def truth(run):
    "What `metrics.jsonl` and `result.json` say: key, step and value, sorted"
    lines,rows = read_jsonl(run/'metrics.jsonl'),[]
    for m in lines:
        told = {k:v for k,v in m.items() if k not in ('phase','epoch','health')}
        told |= {f'health/{l["name"]}/{k}':v for l in m['health']['layers'] for k,v in l.items()}
        told |= {f'health/{k}':v for k,v in m['health'].items() if k not in m}
        rows += [(f'{m["phase"]}/{k}', m['epoch'], float(v)) for k,v in told.items() if type(v) in (int,float)]
    r = json.loads((run/'result.json').read_text())
    return sorted(rows),{f'result/{k}':float(v) for k,v in r.items() if isinstance(v, (int,float))}


def check(run, found):
    "Each number of the run is there, once, and no other"
    rows,result = truth(run)
    assert sorted(p for p in found if not p[0].startswith('result/'))==rows
    told = [p for p in found if p[0].startswith('result/')]
    assert {k:v for k,_,v in told}.items()>=result.items() and len({p[0] for p in told})==len(told)
    assert sorted(found)==sorted(p[:3] for p in points_of(run))


@pytest.mark.parametrize('stop', [None,('float',1),('qat',1)])
def test_each_number_once(tmp_path, fakes, stop):
    run = trained(tmp_path, ('kept',), stop)
    check(run, [p[:3] for p in Kept.lists[run.name]])
    assert mirror(run, 'kept')==0 and unsealed(run)==[]


def test_a_line_beyond_the_checkpoint_is_not_shown(tmp_path):
    split,run = load_data(CFG),start(CFG, tmp_path)
    def stops(phase, *a):
        if phase=='qat': raise Stopped
    with pytest.raises(Stopped): train(run, split, stops)
    before = points_of(run)
    assert {p.step for p in before}=={0,1} and {p.key.partition('/')[0] for p in before}=={'float'}
    append_jsonl(run/'metrics.jsonl', dict(phase='qat', epoch=0, loss=99.)) # killed between the line and the checkpoint
    assert points_of(run)==before
    train(run, split)
    assert 99. not in [p.value for p in points_of(run)] and points_of(run)[:len(before)]==before


def test_a_run_does_not_notice(tmp_path, fakes):
    "A tracker that fails, or hangs: one sentence each, in the end, and the same bytes"
    said = []
    plain,run = trained(tmp_path/'a'),trained(tmp_path/'b', ('broken','slow','kept'), say=said.append, wait=.5)
    assert len(said)==2 and all('\n' not in s for s in said)
    assert said[0].startswith('broken does not have all of the run (ConnectionError: no server); later: quarantion report')
    assert said[1].startswith('slow does not have all of the run (it takes too long); later: quarantion report')
    for f in 'model.safetensors','integer.safetensors': assert (plain/f).read_bytes()==(run/f).read_bytes()
    assert unsealed(run)==[] and sorted(p.name for p in run.iterdir())==sorted(p.name for p in plain.iterdir())
    with pytest.raises(CheckError, match='tracker broken: expected one that takes the numbers, found ConnectionError'): mirror(run, 'broken')


def test_what_is_missing_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, 'find_spec', lambda name: None)
    for name in TRACKERS:
        with pytest.raises(CheckError, match=rf'{name}: expected it to be installed, for `--track {name}` \(pip install {name}\), found no such module'): check_trackers((name,))
    with pytest.raises(CheckError, match='`track`: expected one of tensorboard, mlflow, trackio'): Tracking(('wandb',))
    with pytest.raises(CheckError, match='config.toml'): mirror(tmp_path, Kept(tmp_path))
    with pytest.raises(CheckError, match='`to`'): mirror(tmp_path, 3)


def command(*args, cwd, **env):
    env = os.environ|dict(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent.parent), *map(str, sys.path)]))|env
    return subprocess.Popen([sys.executable, '-m', 'quarantion.cli', *map(str, args)], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def here(capsys, *args):
    "The command in this process: exit code, stdout and stderr"
    try: cli.main([*map(str, args)])
    except SystemExit as e: code = e.code or 0
    else: code = 0
    return code,*capsys.readouterr()


def test_nothing_is_begun_with_a_tracker_that_is_not_there(tmp_path, capsys):
    code,out,err = here(capsys, 'run', *SHORT, '--out', tmp_path/'runs', '--track', 'tensorboard,wandb')
    assert (code,out)==(2,'') and 'expected one of tensorboard, mlflow, trackio' in err and not list(tmp_path.iterdir())


def test_a_finished_run_is_brought_and_followed_when_it_is_asked_for(tmp_path, fakes, capsys):
    run = trained(tmp_path)
    write_report(run)
    write_manifest(run)
    code,_,err = here(capsys, 'report', run, '--track', 'kept')
    assert code==0 and f'kept: {len(points_of(run))} numbers that it did not have' in err
    check(run, [p[:3] for p in Kept.lists.pop(run.name)])
    code,_,err = here(capsys, 'run', '--resume', run, '--track', 'kept')
    assert code==0 and 'is finished; nothing to do' in err
    check(run, [p[:3] for p in Kept.lists[run.name]])
    code,out,_ = here(capsys, 'verify', run)
    assert code==0 and 'manifest and audit chain are whole' in out


def event_files(folder):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray
    events = [e for f in sorted(folder.glob('*/events*')) for e in EventFileLoader(str(f)).Load()]
    found = [(v.tag, e.step, make_ndarray(v.tensor).item()) for e in events for v in e.summary.value]
    return [f for f in found if f[0]!='settings/text_summary'],[f for f in found if f[0]=='settings/text_summary']


def test_tensorboard_after_a_kill(tmp_path, capsys):
    "kill -9 in the second epoch; resumed; each number is in the event files once, in full precision"
    pytest.importorskip('tensorboard', reason='tensorboard is not installed (pip install tensorboard)')
    p = command('run', *SHORT, '--track', 'tensorboard', cwd=tmp_path)
    lines = lambda: sum(f.read_bytes().count(b'\n') for f in tmp_path.glob('runs/*/metrics.jsonl'))
    while p.poll() is None and lines()<2: time.sleep(.01)
    p.send_signal(signal.SIGKILL)
    p.communicate()
    run, = [f.parent for f in tmp_path.glob('runs/*/config.toml')]
    assert not (run/'manifest.json').exists()
    code,_,err = here(capsys, 'run', '--resume', run, '--track', 'tensorboard')
    assert code==0, err
    found,told = event_files(tmp_path/'runs/trackers/tensorboard')
    check(run, found)
    assert len(told)==1 and b'| hidden | 16 |' in told[0][2]
    assert unsealed(run)==[] and mirror(run, 'tensorboard')==0


def test_mlflow(tmp_path, monkeypatch):
    pytest.importorskip('mlflow', reason='mlflow is not installed (pip install mlflow)')
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    run = trained(tmp_path, ('mlflow',), ('qat',1), wait=120.)
    db = sqlite3.connect(tmp_path/'trackers/mlflow.db')
    check(run, db.execute('select key,step,value from metrics').fetchall())
    assert db.execute('select name,status from runs').fetchall()==[(run.name,'FINISHED')]
    assert ('hidden','16') in db.execute('select key,value from params').fetchall()
    db.close()
    said = []
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://127.0.0.1:9')
    with Tracking(('mlflow',), said.append) as t: t.follow(run)
    assert len(said)==1 and said[0].startswith('mlflow does not have all of the run')


def test_trackio(tmp_path, monkeypatch):
    if find_spec('trackio') is None: pytest.skip('trackio is not installed (pip install trackio)')
    monkeypatch.setenv('TRACKIO_DIR', str(tmp_path/'trackers/trackio')) # before it is imported
    run = trained(tmp_path, ('trackio',), ('qat',1), wait=120.)
    db = sqlite3.connect(tmp_path/'trackers/trackio/quarantion.db')
    check(run, [(k,step,v) for step,m in db.execute('select step,metrics from metrics') for k,v in json.loads(m).items()])
    db.close()
