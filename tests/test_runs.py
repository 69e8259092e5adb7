"Many runs: chosen, sorted, compared; trained again; and which of them may be cited"
import json, os, re, shutil, signal, subprocess, sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings as hypo, strategies as st

import quarantion.train.reproduce as again
from commands import refused
from quarantion.checks import CheckError
from quarantion.files import Lock, audit, check_audit, read_jsonl, sha256, write_atomic
from quarantion.train.canon import canon_of, standing, uncited
from quarantion.train.config import Config
from quarantion.train.job import finish, load_data, start, train
from quarantion.train.machines import machine_class
from quarantion.train.reproduce import promote, reproduced
from quarantion.train.rundir import dump_toml, write_manifest
from quarantion.train.runs import SIGNS, Brief, Condition, conditions, ordered, selected, values

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings('default:a threshold of')


def trained(folder, name, **how):
    "A run of a second, sealed; without its report"
    cfg = Config(**dict(hidden=16, steps=5, epochs=1, qat_epochs=1)|how)
    split,run = load_data(cfg),start(cfg, folder)
    with Lock(run): finish(run, split, *train(run, split))
    write_manifest(run)
    return run.rename(Path(folder)/name)

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "Not to be changed"
    folder = tmp_path_factory.mktemp('runs')
    return trained(folder, 'a'),trained(folder, 'b', policy='int8', seed=1),trained(folder, 'c', policy='float', qat_epochs=0)

@pytest.fixture
def runs(made, tmp_path):
    "To be changed"
    for p in made: shutil.copytree(p, tmp_path/p.name)
    for i,n in enumerate('abc'): os.utime(tmp_path/n/'config.toml', (i, i))
    return tmp_path

def reseal(run, **facts):
    "An audit whose lines say something else, in a whole chain, and the manifest to it"
    lines = read_jsonl(run/'audit.jsonl')
    (run/'audit.jsonl').unlink()
    for l in lines: audit(run/'audit.jsonl', l['event'], **l['facts']|(facts if 'data' in l['facts'] else {}))
    write_manifest(run)

def listed(here, *args): return ''.join(Path(r['run']).name for r in json.loads(here('runs', *args, '--json')[1])['runs'])


# Which, and in which order

def test_where_and_sort(runs, here):
    assert [listed(here, runs, '--where', w) for w in ('policy=nonary','seed>=1','policy!=float,seed=0','samples>360','finished=true')]==['a','b','a','','abc']
    assert (listed(here, runs, '--sort', '-seed'), listed(here, runs, '--sort', 'bytes')[-1], listed(here, runs, '--sort', '-name')) == ('bac','c','cba')
    assert listed(here, runs, '--where', 'mismatches=0')=='ab' # of the float run nothing was compared
    code,out,err = here('runs', runs, '--where', 'policy=int8')
    assert code==0 and '1 of 3 runs in' in out and 'canon' not in out

@pytest.mark.parametrize('words,said', [
    (('--where','polcy=nonary'),('`where`','policy','seed')), (('--where','policy>int4'),('= or !=, as `policy` is a word',)), (('--where','seed=one'),("a number, as `seed` is one, found 'one'",)),
    (('--where','accuracy>inf'),('a number',)), (('--where','finished=1'),('true, false',)), (('--where','policy'),('a name, one of',)), (('--where',''),('condition',)),
    (('--where','seed<1,,'),('condition',)), (('--sort','best'),('`sort`','accuracy')), (('--sort',''),('`sort`',)), (('--promote','a','--sort','seed'),('`--promote`','--sort')),
    (('--diff','a','b','--where','seed=1'),('`--diff`','--where')), (('--diff','a','z'),("found 'z'",)), (('--diff','a','a'),('two of them','twice')),
    (('--figure','x.gif'),('.png',)), (('--promote','z'),("found 'z'",)), (('--where','policy=none','--figure','x.png'),('1 to 12','found 0'))])
def test_what_cannot_be_is_refused(runs, here, words, said, monkeypatch):
    monkeypatch.chdir(runs)
    refused(here('runs', runs, *words), *said)
    assert not (runs/'x.png').exists() and not (runs/'canon.jsonl').exists()

def test_values_that_do_not_compare_are_named(runs, here):
    f = runs/'a'/'config.toml'
    f.write_text(f.read_text().replace('seed = 0', 'seed = "zero"'))
    for how in ('--where','seed<3'),('--sort','seed'): refused(here('runs', runs, *how), '`seed`', 'number and word')

def test_a_folder_without_runs(tmp_path, here):
    for how in (), ('--where','policy=nonary,accuracy>0.97'), ('--sort','-accuracy'): assert listed(here, tmp_path, *how)==''
    refused(here('runs', tmp_path/'none'), 'a folder of runs')
    refused(here('runs', tmp_path, '--diff', 'a', 'b'), 'the name of a run in it')
    refused(here('runs', tmp_path, '--figure', tmp_path/'x.png'), 'found 0')
    refused(here('runs', tmp_path, '--promote', 'a'), 'the name of a run in it')

def test_epochs_are_not_read_for_a_list(runs, here):
    (runs/'a'/'metrics.jsonl').write_text('{')
    assert listed(here, runs)=='abc'
    (runs/'a'/'manifest.json').unlink() # how far is it?
    (runs/'a'/'metrics.jsonl').write_text('{\n')
    code,out,err = here('runs', runs)
    assert code==0 and '3 runs' in out and 'a is not finished' in err and 'line 1' in err

NUMBERS = st.one_of(st.none(), st.integers(-5, 5), st.floats(-5, 5))

@hypo(deadline=None, max_examples=60)
@given(st.lists(NUMBERS, max_size=8), st.sampled_from([*SIGNS]), st.integers(-5, 5))
def test_conditions_and_order_are_those_of_numbers(found, sign, x):
    some = [Brief(Path(f'r{i}'), {}, {} if v is None else {'test_accuracy':v}, True) for i,v in enumerate(found)]
    own = lambda rs: [int(r.name[1:]) for r in rs]
    assert own(selected(some, [Condition('accuracy', sign, str(x))]))==[i for i,v in enumerate(found) if v is not None and SIGNS[sign](v, x)]
    key = lambda i: found[i]
    there,not_there = [i for i,v in enumerate(found) if v is not None],[i for i,v in enumerate(found) if v is None]
    assert own(ordered(some, 'accuracy'))==sorted(there, key=key)+not_there
    assert own(ordered(some, '-accuracy'))==sorted(there, key=key, reverse=True)+not_there

def test_what_follows_from_numbers_is_not_made_of_none():
    v = values(Brief(Path('r'), {}, dict(float_bytes=10, bytes=0), True))
    assert v['smaller'] is None and v['drop'] is None and v['accuracy'] is None
    assert conditions('a!=b')==[Condition('a','!=','b')]


# Two of them

def test_a_difference_says_what_differs(runs, here):
    code,out,err = here('runs', runs, '--diff', 'a', 'b', '--figure', runs/'two.png', '--json')
    d,results = json.loads(out),[json.loads((runs/n/'result.json').read_text()) for n in 'ab']
    assert code==0 and d['settings']==dict(policy=['nonary','int8'], seed=[0,1]) and not d['same_network']
    assert d['metrics']['test_accuracy']==[r['test_accuracy'] for r in results]
    assert d['code']['torch']==[torch.__version__]*2 and d['code']['threads']==[torch.get_num_threads()]*2
    assert [sum(v[i] for v in d['sizes'].values()) for i in range(2)]==[r['bytes'] for r in results]
    assert d['files']['model.safetensors']=='differ' and (runs/'two.png').read_bytes()[:4]==b'\x89PNG' and 'two.png' in err
    code,out,err = here('runs', runs, '--diff', runs/'a', runs/'c')
    assert code==0 and f'A  {runs/"a"}' in out and 'settings that differ' in out and '–' in out # no program

def test_a_copy_is_the_same_network(runs, here):
    shutil.copytree(runs/'a', runs/'again')
    (runs/'again'/'config.toml').write_text((runs/'a'/'config.toml').read_text()+'# seen\n')
    d = json.loads(here('runs', runs, '--diff', 'a', 'again', '--json')[1])
    assert d['same_network'] and d['settings']=={} and d['files'].pop('config.toml')=='differ' and {*d['files'].values()}=={'alike'}

def test_two_runs_of_one_name(runs, here, monkeypatch):
    "In the folder, and where one is: say which"
    shutil.copytree(runs/'a', runs/'else'/'a')
    monkeypatch.chdir(runs/'else')
    refused(here('runs', runs, '--diff', 'a', 'b'), 'one run of this name', str(runs/'a'))
    code,out,err = here('runs', runs, '--diff', runs/'a', runs/'else'/'a', '--figure', 'x.svg', '--json')
    assert code==0 and json.loads(out)['same_network'] and Path('x.svg').read_text().count('else/a')>=1

def test_a_figure_stays_outside_of_runs(runs, here): refused(here('runs', runs, '--figure', runs/'a'/'x.png'), 'outside of runs')


# Again

def test_trained_again_it_is_the_same(made, here):
    for run in made:
        code,out,err = here('verify', run, '--reproduce', '--json')
        said = json.loads(out)
        found = said['reproduced']
        assert code==0 and found['how']=='hashes' and found['why']==[] and said['problems']==[]
        assert found['hashes']=={f:[sha256(run/f)]*2 for f in ('model.safetensors','integer.safetensors') if (run/f).exists()}
    assert 'trained again, hashes compared: model.safetensors: reproduced' in here('verify', made[2], '--reproduce')[1]

def test_what_is_not_reproduced_ends_with_one(runs, here):
    f = runs/'a'/'config.toml'
    f.write_text(f.read_text().replace('lr = 0.002', 'lr = 0.004'))
    write_manifest(runs/'a')
    code,out,err = here('verify', runs/'a', '--reproduce')
    assert code==1 and 'NOT reproduced' in out and 'PROBLEM: model.safetensors: expected SHA-256' in out
    with open(runs/'b'/'report.html', 'w') as f: f.write('x')
    code,out,err = here('verify', runs/'b', '--reproduce', '--json') # what has changed is not compared
    assert code==1 and json.loads(out)['reproduced'] is None and json.loads(out)['problems']==['extra: report.html']

def test_another_machine_class_is_said(runs, here):
    "Numbers are compared there, and have to be near"
    reseal(runs/'a', machine=machine_class()|dict(capability='SVE', torch='1.0'))
    code,out,err = here('verify', runs/'a', '--reproduce')
    assert code==0 and 'numbers compared, not hashes (capability SVE then' in out and 'torch 1.0 then' in out and 'within' in out
    result = json.loads((runs/'a'/'result.json').read_text())
    write_atomic(runs/'a'/'result.json', json.dumps(result|dict(test_accuracy=result['test_accuracy']+.0101)).encode())
    write_manifest(runs/'a')
    code,out,err = here('verify', runs/'a', '--reproduce')
    assert code==1 and 'PROBLEM: test_accuracy: expected' in out
    refused(here('runs', runs, '--promote', 'a'), 'equal hashes', 'capability SVE then')

def test_threads_are_those_that_it_had(made, monkeypatch):
    "Whatever the machine has now"
    n,seen = torch.get_num_threads(),[]
    real = torch.set_num_threads
    monkeypatch.setattr(torch, 'set_num_threads', lambda k: seen.append(k) or real(k))
    try:
        real(n+1)
        assert reproduced(made[0]).how=='hashes' and {*seen}=={n,n+1} and torch.get_num_threads()==n+1
    finally: real(n)

def test_a_real_other_class(tmp_path):
    "Torch without AVX in another process: other last bits"
    if torch.backends.cpu.get_cpu_capability()=='DEFAULT': pytest.skip('this CPU has no other capability')
    code = f'import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_runs import trained; trained({str(tmp_path)!r}, "a")'
    r = subprocess.run([sys.executable, '-c', code], env=os.environ|dict(ATEN_CPU_CAPABILITY='default'), capture_output=True, text=True)
    assert r.returncode==0, r.stderr[-2000:]
    found = reproduced(tmp_path/'a')
    assert found.how=='metrics' and found.why[0].startswith('capability DEFAULT then') and found.metrics.keys()=={'float_accuracy','test_accuracy','spike_rate','bytes'}

def test_runs_of_before_tell_no_class(runs):
    lines = read_jsonl(runs/'a'/'audit.jsonl')
    (runs/'a'/'audit.jsonl').unlink()
    for l in lines: audit(runs/'a'/'audit.jsonl', l['event'], **{k:v for k,v in l['facts'].items() if k!='machine'})
    write_manifest(runs/'a')
    found = reproduced(runs/'a')
    assert (found.how, found.why, found.problems)==('hashes', ['its audit tells no machine class'], []) and 'tells no machine class' in str(found)

def test_a_policy_of_its_own_goes_with_the_run(tmp_path):
    "Its file is in the run, wherever that goes, and the network says no path"
    from quarantion.quant.policy import dump_policy, preset
    write_atomic(tmp_path/'mine.toml', dump_policy(preset('ternary')).encode())
    run = trained(tmp_path/'runs', 'a', policy=str(tmp_path/'mine.toml'))
    (tmp_path/'mine.toml').unlink()
    run = Path(shutil.move(run, tmp_path/'moved'))
    assert reproduced(run).problems==[] and str(tmp_path).encode() not in (run/'model.safetensors').read_bytes()

def test_other_samples_are_refused(runs):
    reseal(runs/'a', data='0'*64)
    with pytest.raises(CheckError, match='samples'): reproduced(runs/'a')


# Which may be cited

def test_promoted_and_marked(runs, here):
    code,out,err = here('runs', runs, '--promote', 'a')
    assert code==0 and re.match(r'a is canon: \d+\.\d\d% of 360 samples\n', out) and str(runs/'canon.jsonl') in err
    line, = canon_of(runs)
    result = json.loads((runs/'a'/'result.json').read_text())
    assert (line.run,line.policy,line.accuracy,line.machine)==('a','nonary',result['test_accuracy'],machine_class())
    assert (line.config,line.model,line.program)==tuple(sha256(runs/'a'/f) for f in ('config.toml','model.safetensors','integer.safetensors'))
    refused(here('runs', runs, '--promote', 'a'), 'not canon yet', 'line 1')
    code,out,err = here('runs', runs, '--promote', 'c', '--json') # a float network has no program
    assert code==0 and json.loads(out)['program'] is None and len(canon_of(runs))==2
    assert [r['canon'] for r in json.loads(here('runs', runs, '--json')[1])['runs']]==[True,False,True]
    assert listed(here, runs, '--where', 'canon=true')=='ac' and here('runs', runs)[1].count(' canon ')==3 # with the head
    shutil.rmtree(runs/'a')
    shutil.copytree(runs/'b', runs/'a')
    code,out,err = here('runs', runs)
    assert code==0 and 'changed' in out and 'has the name of a canon run, and other files' in err

def spoil(run, how):
    result = json.loads((run/'result.json').read_text())
    def put(**more):
        write_atomic(run/'result.json', json.dumps({k:v for k,v in (result|more).items() if v is not ...}).encode())
        write_manifest(run)
    if how=='unfinished': (run/'manifest.json').unlink()
    if how=='changed': (run/'model.safetensors').write_bytes((run/'model.safetensors').read_bytes()[:-1]+b'\1')
    if how=='extra': (run/'notes').write_text('x')
    if how=='gate': put(problems=['gate max_drop: expected at most 0.01, found 0.3'])
    if how=='gates': put(gates=[dict(name='max_drop', passed=False)])
    if how=='unproved': put(problems=...)
    if how=='overridden':
        audit(run/'audit.jsonl', 'overridden', reason='it was late', gates=['loss<1'], said=['gate loss<1: found 2'])
        write_manifest(run)
    if how=='audit':
        f = run/'audit.jsonl'
        f.write_text(f.read_text().replace('"trained"', '"Trained"'))
    if how=='program': # another network than the one that it says
        shutil.copy(run.parent/'b'/'integer.safetensors', run)
        write_manifest(run)

@pytest.mark.parametrize('how,words', [('unfinished',['a finished run']), ('changed',['changed: model.safetensors']), ('extra',['extra: notes']), ('gate',['gate max_drop']),
    ('gates',['gate max_drop']), ('unproved',['no proof']), ('overridden',['over a failed gate']), ('audit',['audit.jsonl']), ('program',['canon'])])
def test_promotion_is_refused(runs, here, how, words):
    spoil(runs/'a', how)
    refused(here('runs', runs, '--promote', 'a'), *words)
    assert not (runs/'canon.jsonl').exists()

def test_a_broken_chain_is_refused_by_name_and_line(runs, here):
    for n in 'ac': promote(runs/n)
    f = runs/'canon.jsonl'
    text = f.read_text()
    accuracy = canon_of(runs)[1].accuracy
    for broken,line in ((text.replace('"seed":0','"seed":7', 1),1), (text.replace(f'"accuracy":{accuracy}','"accuracy":1.0'),2), (text.splitlines(True)[1],1), (text[:-40],2), (text+'{}\n',3)):
        f.write_text(broken)
        refused(here('runs', runs, '--promote', 'b'), f'{f}, line {line}')
        code,out,err = here('runs', runs)
        assert code==1 and '3 runs' in out and 'no run counts as canon' in err and f'line {line}' in err
        assert f.read_text()==broken
    f.write_text(text)
    audit(f, 'lowered', bytes=3) # a line in the chain that is no run
    refused(here('runs', runs, '--promote', 'b'), 'line 3', 'a promoted run')

def test_one_name_twice_in_the_list(runs):
    line = promote(runs/'a')
    audit(runs/'canon.jsonl', 'promoted', **line._asdict())
    with pytest.raises(CheckError, match='line 2.*a name that no line before has'): canon_of(runs)
    assert check_audit(runs/'canon.jsonl')

def forked(work):
    "What became of a fork of this process; negative for a signal"
    pid = os.fork()
    if pid: return pid
    code = 99
    try:
        work()
        code = 0
    finally: os._exit(code)

def ended(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

@pytest.fixture
def quick(monkeypatch):
    "What takes long has been done, and was fine: no thread of torch is asked for in a fork"
    monkeypatch.setattr(again, 'prove', lambda *a: SimpleNamespace(problems=[]))
    monkeypatch.setattr(again, 'reproduced', lambda *a, **_: again.Reproduction('hashes', [], {}, {}, []))

@pytest.mark.parametrize('where', ['before','at','torn'])
def test_killed_between_training_again_and_the_line(runs, where, here, quick, monkeypatch):
    "Nothing half: no line, or one that is there, or torn and said"
    def fsync(fd):
        if where=='torn': os.ftruncate(fd, os.fstat(fd).st_size-9)
        os.kill(os.getpid(), signal.SIGKILL)
    def die():
        if where=='before': again.add_canon = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = fsync
        promote(runs/'a')
    before = {p:p.read_bytes() for p in runs.rglob('*') if p.is_file()}
    assert ended(forked(die))==-signal.SIGKILL
    after = {p:p.read_bytes() for p in runs.rglob('*') if p.is_file()}
    line = after.pop(runs/'canon.jsonl', None)
    assert after==before and (line is None)==(where=='before')
    if where=='before': assert here('runs', runs, '--promote', 'a')[0]==0
    if where=='at': refused(here('runs', runs, '--promote', 'a'), 'not canon yet')
    if where=='torn': refused(here('runs', runs, '--promote', 'a'), 'canon.jsonl, line 1')
    if where!='torn': assert [c.run for c in canon_of(runs)]==['a'] and standing(runs/'a', canon_of(runs))=='canon'

def test_two_at_once_make_two_lines(runs, quick):
    both = [forked(lambda n=n: promote(runs/n)) for n in 'ab']
    assert [ended(p) for p in both]==[0,0] and sorted(c.run for c in canon_of(runs))==['a','b']

def test_changed_while_it_was_trained_again(runs, monkeypatch):
    real = again.reproduced
    def late(run, *a, **how):
        out = real(run, *a, **how)
        (run/'late').write_text('x')
        return out
    monkeypatch.setattr(again, 'reproduced', late)
    with pytest.raises(CheckError, match='extra: late'): promote(runs/'a')
    assert not (runs/'canon.jsonl').exists()


def test_accuracies_that_are_cited_are_those_of_canon_runs():
    "A stored table says the hashes of all its networks, and each is a line of a whole chain; or of none, and README says so"
    measured = ROOT/'nbs'/'measured'
    canon = canon_of(measured)
    for name in 'digits','mnist':
        rows = json.loads((measured/f'{name}.json').read_text())['rows']
        assert {'model' in r for r in rows} in ({True}, {False}), name
        if 'model' in rows[0]: assert uncited(rows, canon)==[]
    cell = next(c for c in json.loads((ROOT/'nbs'/'index.ipynb').read_text())['cells'] if 'def folded' in ''.join(c['source']))
    every = [r for n in ('digits','mnist') for r in json.loads((measured/f'{n}.json').read_text())['rows']]
    shown = ''.join(cell['outputs'][0]['data']['text/markdown'])
    assert f'Of the {len(every)} runs, {len(every)-len(uncited(every, canon))} are' in shown


# Two hundred

def invented(folder, n):
    "Runs that only have what a list reads"
    for i in range(n):
        run = folder/f'digits-{("int8","nonary")[i%2]}-s{i}'
        run.mkdir()
        config = {k:v for k,v in vars(Config(policy=('int8','nonary')[i%2], seed=i)).items()}
        (run/'config.toml').write_text(dump_toml(config))
        layers = [dict(name=str(k), levels=9, weights=16384, bytes=5200, rate=.2, mismatches=0) for k in (1,3)]
        result = dict(data='digits', policy=config['policy'], seed=i, float_accuracy=.98, test_accuracy=.95+i/10000, samples=360, spikes=2394000, mismatches=0, spike_rate=.2,
                      bytes=9280, float_bytes=77472, seconds=9.8, layers=layers, problems=[])
        (run/'result.json').write_text(json.dumps(result))
        (run/'metrics.jsonl').write_text('not read\n')
        (run/'manifest.json').write_text('{}')

def test_two_hundred_are_listed_within_a_second(tmp_path):
    "Of the processor, whole process; others may be at work on it"
    (tmp_path/'runs').mkdir()
    invented(tmp_path/'runs', 200)
    env = {k:v for k,v in os.environ.items() if k!='PYTHONDONTWRITEBYTECODE'}|dict(PYTHONPYCACHEPREFIX=str(tmp_path/'pyc'))
    used = lambda: sum(getrusage(RUSAGE_CHILDREN)[:2])
    def took(*how):
        before = used()
        p = subprocess.run([sys.executable, '-m', 'quarantion.cli', 'runs', tmp_path/'runs', *how], capture_output=True, text=True, env=env)
        assert p.returncode==0 and p.stdout.count('nonary')>=49, p.stderr
        return used()-before
    took() # the first one compiles
    for how in (), ('--where','policy=nonary,accuracy>0.96','--sort','-accuracy','--json'): assert min(took(*how), took(*how))<=1


def test_a_run_of_many_processes_is_reproduced_by_its_numbers(runs):
    reseal(runs/'a', processes=2)
    again = reproduced(runs/'a')
    assert again.how=='metrics' and again.why==['it was trained by 2 processes, whose sums come in another order'] and not again.problems, again
