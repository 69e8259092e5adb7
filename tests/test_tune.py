"A search through settings: killed and resumed it is the same search, what is not its own is refused, and test samples are never looked at"
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.data.idx import write_idx
from quarantion.data.samples import Split
from quarantion.train.space import Outcome, choice_of, front_of, space_of, validated
from quarantion.train.tune import STUDY, Wish, command_of, search, summed_up

optuna = pytest.importorskip('optuna')
ROOT = Path(__file__).parent.parent

GIVEN = dict(hidden=16, steps=5, epochs=1, qat_epochs=1)
SPACE = {'beta':dict(low=.7, high=.99), 'threshold':dict(low=.3, high=3., log=True), 'first':dict(weight=dict(among=['nonary','ternary','int4']))}

def few():
    d = load_digits()
    return Split(d.train[:300], d.test[:50], 'few')

def wish(**more): return Wish(GIVEN|more, space_of(SPACE), .2)

def facts(trials): return [(t.number, t.point, t.outcome, t.why) for t in trials]

MOMENTS = 'in a try','before it is told'
DRIVER = '''
import os, signal, sys
sys.path.insert(0, 'tests')
import test_tune as t
import quarantion.train.tune as tune
real,count = tune.tried,[0]
def die(): os.kill(os.getpid(), signal.SIGKILL)
def tried(*args):
    out = real(*args)
    count[0] += 1
    if count[0]==3 and moment=='in a try': die()
    if count[0]==3: t.optuna.study.Study.tell = lambda *a,**k: die()
    return out
tune.tried = tried
for moment in t.MOMENTS: # imported once, each killed in a fork
    if (pid := os.fork())==0:
        tune.search(f'{sys.argv[1]}/{moment}', t.wish(), t.few(), 5)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
'''


@pytest.fixture(scope='module')
def whole(tmp_path_factory): return search(tmp_path_factory.mktemp('whole'), wish(), few(), 5)


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('killed')
    how = dict(cwd=ROOT, env=os.environ|dict(OMP_NUM_THREADS='1'), capture_output=True, text=True)
    r = subprocess.run([sys.executable,'-c',DRIVER,str(folder)], **how)
    assert r.stdout.split()==['-9','-9'], r.stderr[-2000:]
    return folder


@pytest.mark.parametrize('moment', MOMENTS)
def test_killed_and_resumed_it_is_the_same_search(whole, killed, moment):
    folder = killed/moment
    store = optuna.storages.RDBStorage(f'sqlite:///{folder/STUDY}')
    states = [t.state.name for t in optuna.load_study(study_name=None, storage=store).trials]
    assert states.count('RUNNING')==1 and len(states)==3 # the third try was under way
    found = search(folder, wish(), few(), 5)
    assert facts(found)==facts(whole) # none lost, none twice, at the same points, with the same outcomes
    assert len({json.dumps(t.point, sort_keys=True) for t in found})==5
    assert not (folder/'try').exists()


class Untouched:
    "Samples that nobody may look at"
    def __getattr__(self, name): raise AssertionError(f'a search looked at `{name}` of the test samples')


def test_test_samples_are_never_looked_at(whole, tmp_path):
    split = few()
    object.__setattr__(split, 'test', Untouched())
    assert facts(search(tmp_path, wish(), split, 2))==facts(whole)[:2]


def test_samples_to_choose_by_are_none_to_learn_from():
    part = validated(load_digits(), .2)
    rows = [{x.numpy().tobytes() for x in s.x} for s in (part.train,part.test)]
    test = {x.numpy().tobytes() for x in load_digits().test.x}
    assert not rows[0]&rows[1] and not rows[1]&test and len(part.test)>250


def test_another_search_is_refused_by_name(whole, tmp_path):
    search(tmp_path, wish(), few(), 1)
    for other,said in ((wish(reset='zero'),'`settings.reset` zero'), (wish()._replace(share=.3),'`share` 0.3'),
                       (Wish(GIVEN, space_of(SPACE|dict(beta=dict(low=.8, high=.9))), .2),'`space.beta` [0.8, 0.9')):
        with pytest.raises(CheckError, match='study') as e: search(tmp_path, other, few(), 1)
        assert said in str(e.value) and STUDY in str(e.value)
    less = replace(few(), train=few().train[:200])
    with pytest.raises(CheckError, match='`samples`'): search(tmp_path, wish(), less, 1)
    assert len(search(tmp_path, wish(), few(), 1))==1


def test_what_is_no_study_of_ours_is_refused(tmp_path):
    optuna.create_study(storage=f'sqlite:///{tmp_path/STUDY}', study_name='lunch')
    with pytest.raises(CheckError, match='another one'): search(tmp_path, wish(), few(), 1)
    for content in b'', b'SQLite format 3\0', b'x'*5000:
        (tmp_path/STUDY).write_bytes(content)
        if content:
            with pytest.raises(CheckError, match='SQLite file of Optuna'): search(tmp_path, wish(), few(), 1)


def test_without_optuna_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'optuna', None)
    with pytest.raises(CheckError, match=r'pip install'): search(tmp_path, wish(), few(), 1)


def test_runs_that_are_in_vain_are_ended_early(tmp_path):
    silent = Wish(GIVEN|dict(threshold=1e4, epochs=5), space_of(dict(beta=dict(low=.5, high=.9))), .2)
    found = search(tmp_path, silent, few(), 2)
    assert [t.outcome for t in found]==[None,None] and all('float, epoch 1: no neuron fired' in t.why for t in found)
    assert summed_up(found).chosen is None and summed_up(found).front==[]


def test_the_front_by_brute_force():
    rng = np.random.default_rng(0)
    some = [Outcome(int(b), float(s), float(a)) for b,s,a in rng.integers(0, 6, (200,3))]
    beaten = lambda o: any(p!=o and p.bytes<=o.bytes and p.spikes<=o.spikes and p.accuracy>=o.accuracy for p in some)
    assert {some[i] for i in front_of(some)}=={o for o in some if not beaten(o)}
    assert some[choice_of(some, 0.)].accuracy==5


def test_the_command_is_the_point(whole, tmp_path):
    import shlex
    from quarantion.cli import main
    words = shlex.split(command_of(wish(), whole[0].point, tmp_path))[1:]
    with pytest.raises(SystemExit) as e: main([*words, '--dump-config'])
    assert not e.value.code


def test_small_files_trained_in_one_place_and_proved_in_another(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT/'tools')
    import small
    split,data = load_digits(),tmp_path/'data'
    data.mkdir()
    for part,x,y,n in ('train',split.x_train,split.y_train,400),('t10k',split.x_test,split.y_test,60):
        big = np.pad(np.kron(x[:n].reshape(-1, 8, 8).numpy(), np.ones((1,3,3))), ((0,0),(2,2),(2,2)))
        write_idx(data/f'{part}-images-idx3-ubyte.gz', (255*big).round().astype(np.uint8))
        write_idx(data/f'{part}-labels-idx1-ubyte.gz', y[:n].numpy().astype(np.uint8))
    s = small.Small(100, 'ternary', 'nonary', .8, .3, epochs=1, qat_epochs=2)
    small.float_network(s, data, 'cpu', tmp_path/'float.safetensors')
    small.small_network(s, tmp_path/'float.safetensors', data, 'cpu', tmp_path)
    row = small.prove(tmp_path/f'{s.name}.safetensors', data, 'here')
    assert row['mismatches']==0 and row['accuracy']==row['trained']['accuracy'] and row['spikes']==25*110*60
    assert row['left'][0]<=.2*78400+1 and row['left'][1]<=.7*1000+1 and row['bytes']*100<row['float_bytes']
