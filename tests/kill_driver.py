"Kill runs at many moments, at a few of them (`short`), several ways to learn (`learning`, or fewer of them: `recipes`), or runs of several phases (`phases`, or a few of them: `borders`), and resume them. One process imports everything once; each run is a fork of it. Prints one JSON object."
import hashlib, json, os, random, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import quarantion.cli as cli
from forked import dies, fork
import matplotlib.backends.backend_agg, sklearn.datasets, sklearn.model_selection, torch._dynamo # noqa: E401,F401  (imported once, before the forks)
import quarantion.inspect.report, quarantion.train.job # noqa: E401,F401

torch.set_num_threads(1) # a forked child cannot ask OpenMP for more
ARGS = ['run', '--epochs', '3', '--qat-epochs', '2', '--hidden', '16', '--steps', '10', '--json']
CHECKPOINT = 'last.safetensors'
LEARNING = ['adamw_cosine', 'sgd_step', 'plateau', 'warmup_cosine', 'rmsprop', # by `learning` these are killed in both phases, the others in one, as all are by `recipes`
    'adamw_cosine --ema 0.98', 'sgd_step --ema 0.9', 'adamw_cosine --sam 0.05 --clip 1 --accumulate 3', 'warmup_cosine --autocast bf16 --loss ce_count(4),code_l1:0.1',
    'plateau --optimizer Adagrad', 'adamw_cosine --optimizer Rprop', 'adamw_cosine --optimizer Adafactor --opt-args weight_decay=0.01',
    'adamw_cosine --optimizer NaturalSGD --opt-args damping=0.001']
out,short,both = Path(sys.argv[1]),sys.argv[2:]==['short'],sys.argv[2:]==['learning']


def child(args, prepare=lambda: None):
    "Run the command in a fork; returns its exit status, or minus the signal"
    return fork(lambda: cli.main([str(a) for a in args]), prepare)


def die_later(seconds):
    def prepare():
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)
    return prepare


def facts(run):
    sha = lambda f: hashlib.sha256((run/f).read_bytes()).hexdigest()
    metrics = [{k:v for k,v in json.loads(l).items() if not k.startswith('time_')} for l in (run/'metrics.jsonl').read_text().splitlines()]
    return dict(model=sha('model.safetensors'), integer=sha('integer.safetensors'), metrics=metrics)


def lines(run, log): return (run/log).read_bytes().count(b'\n') if (run/log).exists() else 0

def run_of(folder): return next((p for p in folder.glob('*') if (p/'config.toml').exists()), None)


def one(i, kind, name, prepare, args=ARGS, whole=None):
    "Kill, resume, verify"
    folder = out/f'kill{i}'
    first = child([*args, '--out', folder], prepare)
    run = run_of(folder)
    if run is None: return dict(moment=name, kind=kind, first=first, resumed=None) # killed before there was anything to resume
    state = dict(checkpoint=(run/'checkpoints'/CHECKPOINT).exists(), metrics=lines(run, 'metrics.jsonl'), audit=lines(run, 'audit.jsonl'),
        torn=any((run/l).exists() and not (run/l).read_bytes().endswith(b'\n') for l in ('metrics.jsonl','audit.jsonl')), left=[p.name for p in run.rglob('.*.tmp')])
    again = child(['run', '--resume', run, '--json'])
    return dict(moment=name, kind=kind, first=first, **state, resumed=again, verified=child(['verify', run]), same=again==0 and facts(run)==whole)


def learn(i):
    "Kill one way to learn, in both phases or in one; what is drawn of it is left out"
    args = [*ARGS, '--batch', '24', '--recipe', *LEARNING[i].split()]
    assert child([*args, '--out', out/f'whole{i}'])==0, args
    whole,moments = facts(run_of(out/f'whole{i}')),(2,5) if i<5 and both else (2+3*(i%2),) # after an epoch, its next is not in its place
    return [one(f'{i}-{n}', 'save', LEARNING[i], dies(CHECKPOINT, n, 'after'), args, whole) for n in moments]


# each run of phases, and at which fsync of what it dies; one `before` that of a phase's first epoch stands on the border
EARLY = """
[[phase]]
name = "float"
until = "accuracy > 0.2, at most 3 epochs"
policy = "float"
[[phase]]
name = "warm"
until = "1 epoch"
policy = "weight>=int8, membrane=float"
lr = "on"
losses = ["ce_rate"]
[[phase]]
name = "last"
until = "2 epochs"
lr = "on"
observers = "frozen"
"""
PHASES = dict(
    progressive=('--phases progressive --policy ternary --recipe sgd_step', [(CHECKPOINT,4,'before'), (CHECKPOINT,5,'before'), (CHECKPOINT,6,'before'), ('policy.toml',1,'after'),
        (CHECKPOINT,2,'after'), (CHECKPOINT,6,'after'), (CHECKPOINT,7,'after'), ('metrics.jsonl',5,'torn'), ('audit.jsonl',5,'before')]),
    delayed=('--phases delayed --policy current8 --recipe warmup_cosine --batch 24', [(CHECKPOINT,3,'before'), (CHECKPOINT,2,'before'), (CHECKPOINT,5,'after'), ('policy.toml',1,'before')]),
    layerwise=('--phases layerwise --policy mint2 --ema 0.9', [(CHECKPOINT,4,'before'), (CHECKPOINT,5,'before'), (CHECKPOINT,6,'before'), (CHECKPOINT,6,'after')]),
    freeze=('--phases freeze --policy current8 --prune 0.3', [(CHECKPOINT,4,'before'), (CHECKPOINT,6,'before'), (CHECKPOINT,7,'after')]),
    early=(f'--phases {out}/early.toml --policy mint4', [(CHECKPOINT,2,'before'), (CHECKPOINT,3,'before'), (CHECKPOINT,4,'after')]))
SOME = dict(progressive=(1,2), early=(0,)) # all of them on borders


def phase(name, moments):
    "Kill a run of phases at each moment"
    words,at = PHASES[name]
    args = [*ARGS[:-1], '--qat-epochs', '4', *words.split(), '--json']
    assert child([*args, '--out', out/f'whole-{name}'])==0, args
    whole,names = facts(run_of(out/f'whole-{name}')),lambda f,n,how: f'{how} fsync {n} of {f}'
    return [one(f'-{name}-{i}', 'save', f'{name}: {names(*at[i])}', dies(*at[i]), args, whole) for i in moments]


t0 = time.perf_counter()
if sys.argv[2:] in (['phases'],['borders']):
    quarantion.inspect.report.write_report = lambda run: None
    out.mkdir(exist_ok=True)
    (out/'early.toml').write_text(EARLY)
    todo = {n:range(len(m)) for n,(_,m) in PHASES.items()} if sys.argv[2]=='phases' else SOME
    with ThreadPoolExecutor(2) as two: results = [r for rs in two.map(phase, todo, todo.values()) for r in rs]
    print(json.dumps(dict(seconds=time.perf_counter()-t0, results=results)))
    sys.exit()
if sys.argv[2:] in (['learning'],['recipes']):
    quarantion.inspect.report.write_report = lambda run: None # most of the time of so short a run
    with ThreadPoolExecutor(2) as two: results = [r for rs in two.map(learn, range(len(LEARNING))) for r in rs]
    print(json.dumps(dict(seconds=time.perf_counter()-t0, results=results)))
    sys.exit()
assert child([*ARGS, '--out', out/'whole'])==0
whole,took = facts(run_of(out/'whole')),time.perf_counter()-t0
saves = [(CHECKPOINT,1,'before'), (CHECKPOINT,4,'after'), ('integer.safetensors',1,'before')]
if not short: saves += [(CHECKPOINT,2,'after'), (CHECKPOINT,4,'before'), (CHECKPOINT,5,'after'), ('checkpoints',2,'after'), ('audit.jsonl',3,'before'),
         ('model.safetensors',1,'after'), ('.png',3,'before'), ('manifest.json',1,'after')]
moments = [('save', f'{how} fsync {n} of {f}', dies(f, n, how)) for f,n,how in saves]
moments += [('torn', f'in line {n} of {f}', dies(f, n, 'torn')) for f,n in (('metrics.jsonl',2), ('metrics.jsonl',5), ('audit.jsonl',1))[:1 if short else 3]]
random.seed(0)
moments += [('time', f'after {s:.2f} s', die_later(s)) for s in (random.uniform(*part)*took for part in ((.3,.9), (.04,.1), (.1,.2))[:1 if short else 3])]
with ThreadPoolExecutor(2) as two: results = list(two.map(partial(one, whole=whole), range(len(moments)), *zip(*moments))) # each thread waits for its forks
print(json.dumps(dict(took=took, seconds=time.perf_counter()-t0, results=results)))
