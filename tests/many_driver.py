"""Runs of several processes: killed, with fewer of them, refused, added in order. `many_driver.py FOLDER [short|full|NAME …]`; prints one JSON object.

The agents are torchrun's; what they start is a fork of this process, which has imported everything once, and not a new Python (as in `elsewhere`)."""
import hashlib, json, os, random, socket, subprocess, sys, tempfile, time, traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
import many_worker
from forked import fork
import matplotlib.backends.backend_agg, sklearn.datasets, sklearn.model_selection # noqa: E401,F401  (imported once, before the forks)
import torch, torch._dynamo, torch.distributed as dist, torch.distributed.run # noqa: E401,F401
import torch.distributed.elastic.rendezvous.registry # noqa: F401
import quarantion.cli, quarantion.inspect.report, quarantion.train.job, quarantion.train.together # noqa: E401,F401
from quarantion.train.ranks import code_hash
from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import SubprocessHandler

torch.set_num_threads(1)
code_hash()
out = Path(sys.argv[1])
ARGS = ['run', '--epochs', '2', '--qat-epochs', '2', '--hidden', '16', '--steps', '8', '--json']
CHECKPOINT = 'last.safetensors'
LATE = 'quarantion.train.many', 'losses_of', 60 # in qat: an epoch has 23 steps


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
    ('in rank 0 before the manifest', ('dies_at', 0, 'manifest.json', 1, 'after')),
    ('in rank 0 when the manifest is there, and its note', ('dies_at', 0, 'manifest.json', 1, 'done'))]


def kill(i, whole):
    words,what = KILLS[i]
    return dict(moment=words, **outcome(*many(f'kill{i}', 2, *ARGS, happens=[what], report='report' in words), whole))


def at_times(count, took, whole, seed=0):
    "Ranks killed at seeded times"
    drawn = random.Random(seed)
    todo = [(drawn.randrange(2), drawn.uniform(.02, .95)*took) for _ in range(count)]
    return [dict(moment=f'rank {r} after {s:.2f} s', **outcome(*many(f'time{i}', 2, *ARGS, happens=[('dies_after', r, s)]), whole)) for i,(r,s) in enumerate(todo)]


def elastic(name, *args, nodes='1:2', count=2, what=('agent_dies_in', 1, *LATE), whole=None):
    "The agent of a rank dies, and its process"
    folder,codes = agents(name, *ARGS, *args, nodes=nodes, count=count, happens=[what])
    return outcome(folder, codes, whole)|dict(warned=[l for l in lines_said(folder) if 'unequal size' in l])


def coded(name, code, n):
    "A rank dies in the second epoch of qat, where ranks have something that they had not sent"
    args = ['--compress', code, '--batch', '60']
    whole = undisturbed(f'{name}-whole', n, *args)
    return outcome(*many(name, n, *ARGS, *args, happens=[('dies_in', 1, *LATE[:2], 75)]), whole)


def interrupted(name, n, *args, what=('interrupts', 0, *LATE), on=1):
    "Ctrl-C, or a death that nothing is restarted after; then on with another number of processes"
    folder,first = many(name, n, *ARGS, *args, happens=[what], options=())
    run = runs_of(folder)[0]
    state = dict(first=first, notes=len([*(folder/'runs').glob('.job-*')]), interrupted=[l for l in said(folder).splitlines() if l.startswith('interrupted')])
    again = alone('run', '--resume', run, '--json') if on==1 else many(name, on, 'run', '--resume', run, '--json', runs=False)[1]
    return state|outcome(folder, again)


def refusals():
    "What is refused before anything is trained: exit status of torchrun, lines on stderr, and what is left"
    def told(name, folder, code): return dict(name=name, code=code, lines=[*lines_said(folder)], runs=len(runs_of(folder)), strays=strays(folder),
        exits=(out/name/'exits.txt').read_text().split() if (out/name/'exits.txt').exists() else None)
    def one(name, n, *args, happens=()): return told(name, *many(name, n, *ARGS, *args, happens=[*happens, ('exits', out/name)], options=()))
    return [one('other-seed', 2, happens=[('words', 1, '--seed', '7')]), one('other-code', 2, happens=[('other_code', 1)]), one('other-data', 2, happens=[('other_data', 1)]),
        one('three', 3, '--batch', '64'), one('cuda', 2, '--device', 'cuda'), one('accumulate', 2, '--exact-reduce', '4', '--accumulate', '2'), one('exact-of-three', 3, '--exact-reduce', '4', '--batch', '63')]


def by_hand(name, **env):
    "One rank, named by the environment alone: exit status, and what it says"
    folder = out/name
    folder.mkdir(parents=True, exist_ok=True)
    env = dict(MASTER_ADDR='localhost')|{k:str(v) for k,v in env.items()}
    began = time.perf_counter()
    code = alone(*ARGS, '--out', folder/'runs', env=env, folder=folder)
    return dict(name=name, code=code, lines=lines_said(folder), all=said(folder).splitlines(), runs=len(runs_of(folder)), seconds=round(time.perf_counter()-began, 1))


def alone_in_the_world():
    "A port in use, a rank that never comes, words that are no numbers, and a world of one"
    with socket.socket() as s:
        s.bind(('localhost', 0)); s.listen()
        port = s.getsockname()[1]
        used = by_hand('port', RANK=0, WORLD_SIZE=2, MASTER_PORT=port, QUARANTION_WAIT='.05')
    with socket.socket() as s:
        s.bind(('localhost', 0))
        free = s.getsockname()[1]
    return [used, by_hand('never', RANK=0, WORLD_SIZE=2, MASTER_PORT=free, QUARANTION_WAIT='.05'), by_hand('nobody', RANK=1, WORLD_SIZE=2, MASTER_PORT=free, QUARANTION_WAIT='.05'),
        by_hand('patience', RANK=0, WORLD_SIZE=2, MASTER_PORT=free, QUARANTION_WAIT='soon'), by_hand('no-rank', RANK='x', WORLD_SIZE=2, MASTER_PORT=free)]


def single(name, *args):
    "A run in one process without torchrun"
    (folder := out/name).mkdir(parents=True, exist_ok=True)
    return outcome(folder, alone(*ARGS, *args, '--out', folder/'runs', folder=folder))


def keys(o): return {k:o.get(k) for k in ('code','verified','model','integer','metrics','strays')}


def exact(name, *args, sizes=(1,2,4)):
    "The same shards on several numbers of processes"
    args = ['--exact-reduce', '4', *args]
    return {str(n):keys(single(f'{name}-1', *args) if n==1 else outcome(*many(f'{name}-{n}', n, *ARGS, *args))) for n in sizes}


def apart(a, b, begins):
    "The largest difference of two files of weights, and as a share of what was learned"
    from safetensors.numpy import load_file
    a,b,c = (load_file(f) for f in (a,b,begins))
    far = max(float(abs(a[k]-b[k]).max()) for k in a)
    return dict(largest=far, share=far/max(float(abs(a[k]-c[k]).max()) for k in a))


def near(batch):
    "After an epoch: one process against several"
    words = ['--policy', 'float', '--epochs', '1', '--recipe', 'sgd_step', '--lr', '.001', '--batch', batch]
    args = ['run', *words, '--hidden', '16', '--steps', '8', '--json']
    files = {}
    for n in 1,2,4:
        (folder := out/f'near{batch}-{n}').mkdir(parents=True, exist_ok=True)
        if n==1: alone(*args, '--out', folder/'runs', folder=folder)
        else: many(f'near{batch}-{n}', n, *args)
        files[n] = runs_of(folder)[0]/'model.safetensors'
    (folder := out/f'near{batch}-0').mkdir(parents=True, exist_ok=True)
    alone(*args, '--lr', '1e-12', '--out', folder/'runs', folder=folder)
    begins = runs_of(folder)[0]/'model.safetensors'
    return {str(n):apart(files[n], files[1], begins) for n in (2,4)}


def messages():
    "Gathers of runs of one and of three float epochs, the same of qat: how many more an epoch takes; and whether ranks are one network after each"
    def counted(name, epochs, qat):
        folder,code = many(name, 2, 'run', '--epochs', epochs, '--qat-epochs', qat, '--hidden', '16', '--steps', '8', '--json', happens=[('counts', out/name), ('states', out/name)])
        counts = [json.loads((folder/f'counts-{r}.json').read_text()) for r in (0,1)]
        states = [(folder/f'states-{r}.jsonl').read_text().splitlines() for r in (0,1)]
        return counts,states[0]==states[1],len(states[0]),[k for k in json.loads(states[0][-1]) if 'min_val' in k]
    (few,same,_,_),(more,also,n,observers),(last,quantized,_,_) = counted('count1', 1, 1),counted('count3', 3, 1),counted('count13', 1, 3)
    per = lambda a,b: {k:(b[0].get(k, 0)-a[0].get(k, 0))/2 for k in b[0]}
    return dict(equal=few[0]==few[1], same=same and also and quantized, epochs=n, observers=len(observers), float=per(few, more), qat=per(few, last))


def slow():
    folder,code = many('slow', 2, *ARGS, happens=[('slow', 1, 5)])
    run = runs_of(folder)[0]
    return dict(code=code, events=events(run, 'slow'), lines=lines_said(folder), times=[m['time_ranks_s'] for m in read(run, 'metrics.jsonl')])


def gate():
    folder,code = many('gate', 2, *ARGS, '--gates', 'test_accuracy>=0.99@end of float', options=())
    (other := out/'gate1').mkdir(parents=True, exist_ok=True)
    one = alone(*ARGS, '--gates', 'test_accuracy>=0.99@end of float', '--out', other/'runs', folder=other)
    run,run1 = runs_of(folder)[0],runs_of(other)[0]
    stands = lambda r: [m['epoch'] for m in read(r, 'metrics.jsonl')]
    return dict(code=code, alone=one, epochs=[stands(run), stands(run1)], events=[[l['event'] for l in read(r, 'audit.jsonl')] for r in (run,run1)],
        said=[l for l in said(folder).splitlines() if 'gate' in l], notes=len([*(folder/'runs').glob('.job-*')]))


def one_under_torchrun(): return keys(outcome(*many('one', 1, *ARGS)))|dict(alone=keys(single('one-alone')))


def as_typed():
    "`torchrun` of a terminal, by default with one machine and no name; a rank dies"
    folder,p = elsewhere('typed', [('dies_in', 1, 'quarantion.train.many', 'losses_of', 30)], ARGS, '--nproc-per-node', '2', '--max-restarts', '3', '--monitor-interval', '.1', '--master-port', str(29500+os.getpid()%1000))
    return outcome(folder, p.returncode, undisturbed('typed-whole', 2))|dict(error=p.stderr[-300:])


SHARED,MOVING = ['--exact-reduce', '2'],['--compress', 'topk(auto)', '--batch', '60']
SCENARIOS = dict(
    whole=lambda: outcome(*many('whole', 2, *ARGS)),
    kills=lambda: (whole := undisturbed('whole-of-kills', 2)) and pairs(lambda i: kill(i, whole), range(len(KILLS))),
    times=lambda: (began := time.perf_counter()) and (whole := undisturbed('whole-of-times', 2)) and at_times(6, time.perf_counter()-began, whole),
    few_kills=lambda: (whole := undisturbed('whole-of-few', 2)) and pairs(lambda i: kill(i, whole), (2,13)),
    elastic=lambda: elastic('elastic', *SHARED, whole=undisturbed('elastic-whole', 2, *SHARED)),
    elastic_first=lambda: elastic('elastic0', *SHARED, what=('agent_dies_at', 0, CHECKPOINT, 3, 'after'), whole=undisturbed('elastic0-whole', 2, *SHARED)),
    elastic_plain=lambda: elastic('elastic-plain'),
    elastic_uneven=lambda: elastic('elastic-uneven', '--batch', '63', nodes='2:3', count=3, what=('agent_dies_in', 2, *LATE)),
    elastic_shards=lambda: elastic('elastic-shards', '--exact-reduce', '3', '--batch', '63', nodes='2:3', count=3, whole=undisturbed('elastic-shards-whole', 3, '--exact-reduce', '3', '--batch', '63')),
    refusals=refusals, by_hand=alone_in_the_world, few_refusals=lambda: refusals()[:1], slow=slow, gate=gate, one=one_under_torchrun, as_typed=as_typed, messages=messages,
    ctrl_c=lambda: [interrupted('ctrl-c1', 2), interrupted('ctrl-c2', 2, on=2)],
    gone_on=lambda: dict(whole=exact('gone', sizes=(2,)), to1=keys(interrupted('gone1', 2, '--exact-reduce', '4', what=('dies_in', 1, *LATE), on=1)),
        to3=keys(interrupted('gone3', 2, '--exact-reduce', '4', what=('dies_in', 0, *LATE), on=3)), to4=keys(interrupted('gone4', 2, '--exact-reduce', '4', what=('dies_in', 0, *LATE), on=4))),
    near=lambda: {b:near(b) for b in ('64','60')},
    few_coded=lambda: coded('coded', 'nonary', 2),
    coded=lambda: [coded(f'coded-{c}-{n}', c, n) for c,n in (('topk',2),('onebit',2),('nonary',3))],
    elastic_coded=lambda: elastic('elastic-coded', '--compress', 'nonary', what=('agent_dies_in', 1, *LATE[:2], 75)),
    moving=lambda: [outcome(*many('moving', 2, *ARGS, *MOVING, happens=[('dies_in', 1, *LATE[:2], 75)])), elastic('moving-elastic', *MOVING, what=('agent_dies_in', 1, *LATE[:2], 75))],
    few_exact=lambda: exact('exact'),
    exact=lambda: {n:exact(f'exact-{n}', *words) for n,words in dict(nonary=[], mint2=['--policy','mint2'], rate=['--encode','rate'], ema=['--ema','.9'], clip=['--clip','.5'], batch=['--batch','100']).items()})
SHORT = 'few_kills','elastic','few_refusals','few_exact','few_coded'
AGAIN = 'few_refusals','few_kills','few_exact' # which are parts of others


def pairs(do, over):
    "Two at a time"
    with ThreadPoolExecutor(2) as two: return list(two.map(do, over))


if __name__=='__main__':
    words = sys.argv[2:] or ['short']
    todo = SHORT if words==['short'] else [n for n in SCENARIOS if n not in AGAIN] if words==['full'] else words
    def told(n):
        began = time.perf_counter()
        try: return dict(result=SCENARIOS[n](), seconds=round(time.perf_counter()-began, 1))
        except Exception: return dict(result=None, error=traceback.format_exc(), seconds=round(time.perf_counter()-began, 1))
    began = time.perf_counter()
    results = dict(zip(todo, pairs(told, todo) if words==['short'] else map(told, todo)))
    print(json.dumps(dict(seconds=round(time.perf_counter()-began, 1), **results)))
