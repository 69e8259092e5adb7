"""Runs of several processes: killed, with fewer of them, refused, added in order. `many_driver.py FOLDER [short|full|NAME …]`; prints one JSON object.

The agents are torchrun's; what they start is a fork of this process, which has imported everything once, and not a new Python (as in `elsewhere`)."""
import hashlib, json, os, random, signal, socket, subprocess, sys, tempfile, time, traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
import quarantion.cli as cli
import many_worker
from forked import fork
import matplotlib.backends.backend_agg, sklearn.datasets, sklearn.model_selection # noqa: E401,F401  (imported once, before the forks)
import torch, torch._dynamo, torch.distributed as dist, torch.distributed.run # noqa: E401,F401
import torch.distributed.elastic.rendezvous.registry # noqa: F401
import quarantion.inspect.report, quarantion.train.job, quarantion.train.many # noqa: E401,F401
from quarantion.train.ranks import code_hash
from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import SubprocessHandler

torch.set_num_threads(1)
code_hash()
out = Path(sys.argv[1])
ARGS = ['run', '--epochs', '2', '--qat-epochs', '2', '--hidden', '16', '--steps', '8', '--json']
CHECKPOINT = 'last.safetensors'


class Forked:
    "What an agent starts instead of a new Python: a fork of this one"
    def __init__(self, work, env):
        ready,go = os.pipe()
        self.pid,self.code = os.fork(),None
        if self.pid==0:
            code = 99
            try:
                os.setsid()
                os.write(go, b'.')
                for f in ready,go: os.close(f)
                os.environ.clear()
                os.environ.update(env)
                code = work()
            finally: os._exit(code)
        os.read(ready, 1) # a session of its own by now
        for f in ready,go: os.close(f)

    def poll(self):
        if self.code is None:
            pid,status = os.waitpid(self.pid, os.WNOHANG)
            if pid: self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds):
        end = time.monotonic()+seconds
        while self.poll() is None:
            if time.monotonic()>end: raise subprocess.TimeoutExpired('fork', seconds)
            time.sleep(.01)


def _agent(folder, happens, args, report, options):
    "One torchrun, in this process: its exit status"
    os.setsid()
    log = os.open(folder/f'agent-{os.getpid()}.txt', os.O_WRONLY|os.O_CREAT)
    os.dup2(log, 1); os.dup2(log, 2)
    sys.stdout,sys.stderr = os.fdopen(1, 'w'),os.fdopen(2, 'w')
    tempfile.tempdir = None
    (tmp := folder/'tmp').mkdir(exist_ok=True)
    os.environ['TMPDIR'] = str(tmp)
    SubprocessHandler._popen = lambda self, words, env: Forked(lambda: many_worker.work(happens, args, str(folder/'log'), report), env)
    try: torch.distributed.run.main([*map(str, options), '--monitor-interval', '.05', 'fork'])
    except SystemExit: raise
    except BaseException:
        traceback.print_exc(); sys.stderr.flush()
        return 1
    return 0


def many(name, n, *args, happens=(), runs=True, report=False, options=('--max-restarts', 3)):
    "Run with n processes, under one torchrun; the folder, and the exit status"
    folder = out/name
    folder.mkdir(parents=True, exist_ok=True)
    args = [*args, '--out', folder/'runs'] if runs else args
    return folder,fork(lambda: _agent(folder, happens, args, report, ['--standalone', '--nproc-per-node', n, *options]))


def agents(name, *args, happens=(), nodes='1:2', count=2, report=False):
    "Several of them with a process each, which meet at a store that none of them keeps; the folder, and their exit statuses"
    folder = out/name
    folder.mkdir(parents=True, exist_ok=True)
    store = dist.TCPStore('localhost', 0, is_master=True, wait_for_workers=False, multi_tenant=True)
    conf = 'is_host=0,last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3'
    options = ['--nnodes', nodes, '--nproc-per-node', 1, '--rdzv-backend', 'c10d', '--rdzv-endpoint', f'localhost:{store.port}', '--rdzv-id', f'job-{name}',
        '--rdzv-conf', conf, '--max-restarts', 3]
    one = lambda i: fork(lambda: _agent(folder, happens, [*args, '--out', folder/'runs'], report, options))
    with ThreadPoolExecutor(count) as each: return folder,[*each.map(one, range(count))]


def alone(*args, env=None, folder=None, report=False):
    "The command in one process, in this process's fork"
    def act():
        os.environ.update(env or {})
        return many_worker.work([], args, str(folder/'log') if folder else None, report)
    return fork(act)


def elsewhere(name, happens, args, *options, env=None, timeout=300):
    "`torchrun` as it is started in a terminal"
    folder = out/name
    folder.mkdir(parents=True, exist_ok=True)
    words = [','.join(map(str, h)) for h in happens]
    p = subprocess.run([sys.executable, '-m', 'torch.distributed.run', *options, many_worker.__file__, *words, '--', *map(str, args), '--out', str(folder/'runs')],
        capture_output=True, text=True, timeout=timeout, env=os.environ|dict(env or {}))
    return folder,p


def runs_of(folder): return sorted(p.parent for p in (folder/'runs').glob('*/config.toml'))

def said(folder): return '\n'.join(p.read_text() for p in sorted(folder.glob('log-*.txt')))

def lines_said(folder): return [l for l in said(folder).splitlines() if l.startswith('quarantion: ')]

def sha(p): return hashlib.sha256(p.read_bytes()).hexdigest()[:16] if p.exists() else None

def read(run, log): return [json.loads(l) for l in (run/log).read_text().splitlines()]


def facts(run):
    metrics = [{k:v for k,v in m.items() if not k.startswith('time_')} for m in read(run, 'metrics.jsonl')]
    return dict(model=sha(run/'model.safetensors'), integer=sha(run/'integer.safetensors'), metrics=hashlib.sha256(json.dumps(metrics).encode()).hexdigest()[:16])


def events(run, *names): return [dict(event=l['event'], **l['facts']) for l in read(run, 'audit.jsonl') if l['event'] in names]


def strays(folder):
    "What nobody needs any more"
    found = [*(folder/'tmp').glob('quarantion*'), *(p for p in (folder/'runs').glob('*') if not (p/'manifest.json').exists()), *(folder/'runs').rglob('.*.tmp')]
    return [str(p.relative_to(folder)) for p in found]


def outcome(folder, code, whole=None):
    "What is left of a run that was disturbed"
    found = runs_of(folder)
    if len(found)!=1: return dict(code=code, runs=len(found), strays=strays(folder), said=said(folder)[-600:])
    run = found[0]
    told = [{k:e.get(k) for k in ('event','processes','restart','lost','epoch','phase') if k in e} for e in events(run, 'started', 'resumed')]
    done = (run/'manifest.json').exists()
    own = facts(run) if done else {}
    return dict(code=code, runs=1, finished=done, verified=done and alone('verify', run), strays=strays(folder), events=told, **own,
        same=None if whole is None else own==whole, run=str(run), said='' if done else said(folder)[-600:])


def undisturbed(name, n, *args): return facts(runs_of(many(name, n, *ARGS, *args)[0])[0])


# kills: rank, what happens, and words for it
KILLS = [
    ('in rank 0 before fsync 1 of its checkpoint', ('dies_at', 0, CHECKPOINT, 1, 'before')),
    ('in rank 0 after fsync 1 of its checkpoint', ('dies_at', 0, CHECKPOINT, 1, 'after')),
    ('in rank 0 after fsync 2 of its checkpoint, on the border of phases', ('dies_at', 0, CHECKPOINT, 2, 'after')),
    ('in rank 0 before fsync 3 of its checkpoint, in qat', ('dies_at', 0, CHECKPOINT, 3, 'before')),
    ('in rank 0 after fsync 4 of its checkpoint, the last', ('dies_at', 0, CHECKPOINT, 4, 'after')),
    ('in rank 0 in line 2 of metrics', ('dies_at', 0, 'metrics.jsonl', 2, 'torn')),
    ('in rank 0 in line 3 of the audit', ('dies_at', 0, 'audit.jsonl', 3, 'torn')),
    ('in rank 0 in line 1 of the audit', ('dies_at', 0, 'audit.jsonl', 1, 'torn')),
    ('in rank 0 before line 1 of the audit, after the note', ('dies_at', 0, 'audit.jsonl', 1, 'before')),
    ('in rank 0 before its settings are there', ('dies_at', 0, 'config.toml', 1, 'before')),
    ('in rank 0 before its note is there', ('dies_at', 0, '.job-', 1, 'before')),
    ('in rank 1 in its first step', ('dies_in', 1, 'quarantion.train.many', 'losses_of', 1)),
    ('in rank 1 in step 30, before the first checkpoint is followed by another', ('dies_in', 1, 'quarantion.train.many', 'losses_of', 30)),
    ('in rank 1 in qat', ('dies_in', 1, 'quarantion.train.many', 'losses_of', 60)),
    ('in rank 0 in the float phase', ('dies_in', 0, 'quarantion.train.many', 'losses_of', 20)),
    ('in rank 0 in qat', ('dies_in', 0, 'quarantion.train.many', 'losses_of', 75)),
    ('in rank 1 in its own checkpoint', ('dies_at', 1, CHECKPOINT, 2, 'after')),
    ('in rank 0 while the integer program is written', ('dies_at', 0, 'integer.safetensors', 1, 'before')),
    ('in rank 0 while the report is written', ('dies_at', 0, '.png', 2, 'before')),
    ('in rank 0 before the manifest', ('dies_at', 0, 'manifest.json', 1, 'after'))]


def kill(i, whole):
    words,what = KILLS[i]
    return dict(moment=words, **outcome(*many(f'kill{i}', 2, *ARGS, happens=[what], report='report' in words), whole))


def at_times(count, took, whole, seed=0):
    "Ranks killed at seeded times"
    drawn = random.Random(seed)
    todo = [(drawn.randrange(2), drawn.uniform(.02, .95)*took) for _ in range(count)]
    return [dict(moment=f'rank {r} after {s:.2f} s', **outcome(*many(f'time{i}', 2, *ARGS, happens=[('dies_after', r, s)]), whole)) for i,(r,s) in enumerate(todo)]


def elastic(name, *args, nodes='1:2', count=2, rank=1, whole=None, at=('quarantion.train.many', 'losses_of', 60)):
    "The agent of a rank dies, and its process"
    folder,codes = agents(name, *ARGS, *args, nodes=nodes, count=count, happens=[('agent_dies_in', rank, *at)])
    return outcome(folder, codes, whole)|dict(warned=[l for l in lines_said(folder) if 'batch' in l])
