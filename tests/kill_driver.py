"Kill runs at many moments and resume them. One process imports everything once; each run is a fork of it. Prints one JSON object."
import contextlib, hashlib, io, json, os, random, signal, sys, time
from pathlib import Path

import quarantion.cli as cli
import quarantion.inspect.report, quarantion.train.job, torch # noqa: E401,F401  (imported before the forks)

torch.set_num_threads(1) # a forked child cannot ask OpenMP for more
ARGS = ['run', '--epochs', '4', '--qat-epochs', '3', '--hidden', '24', '--json']
out = Path(sys.argv[1])


def child(args, prepare):
    "Run the command in a fork; returns its exit status, or minus the signal"
    pid = os.fork()
    if pid==0:
        prepare()
        sys.stdout = sys.stderr = open(os.devnull, 'w')
        code = 99
        try: cli.main([str(a) for a in args])
        except SystemExit as e: code = e.code
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_in_save(n, before):
    "Die at the n-th fsync: before it, or right after it (the rename has not happened yet)"
    real,count = os.fsync,[0]
    def fsync(fd):
        count[0] += 1
        if count[0]==n and before: os.kill(os.getpid(), signal.SIGKILL)
        real(fd)
        if count[0]==n: os.kill(os.getpid(), signal.SIGKILL)
    os.fsync = fsync


def die_torn(n):
    "Die in the middle of writing the n-th line of a log"
    real,count = os.fsync,[0]
    def fsync(fd):
        count[0] += 1
        name = os.readlink(f'/proc/self/fd/{fd}')
        if count[0]>=n and name.endswith('metrics.jsonl'):
            os.ftruncate(fd, os.fstat(fd).st_size-7)
            os.kill(os.getpid(), signal.SIGKILL)
        real(fd)
    os.fsync = fsync


def die_later(seconds): signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL)); signal.setitimer(signal.ITIMER_REAL, seconds)


def facts(run):
    sha = lambda f: hashlib.sha256((run/f).read_bytes()).hexdigest()
    metrics = [{k:v for k,v in json.loads(l).items() if not k.startswith('time_')} for l in (run/'metrics.jsonl').read_text().splitlines()]
    return dict(model=sha('model.safetensors'), integer=sha('integer.safetensors'), metrics=metrics)


def run_of(folder): return next(p for p in folder.iterdir() if p.is_dir())


t0 = time.perf_counter()
assert child([*ARGS, '--out', out/'whole'], lambda: None)==0
whole,took = facts(run_of(out/'whole')),time.perf_counter()-t0
random.seed(0)
moments = [(f'save {n} {"before" if b else "after"} fsync', lambda n=n,b=b: die_in_save(n, b)) for n,b in [(1,True),(2,False),(3,True),(6,True),(9,False),(14,True),(19,False),(24,True),(33,False),(41,True)]]
moments += [(f'torn line {n}', lambda n=n: die_torn(n)) for n in (8,22)]
moments += [(f'{s:.2f} s', lambda s=s: die_later(s)) for s in (random.uniform(.02, .95*took) for _ in range(5))]
results = []
for i,(name,how) in enumerate(moments):
    folder = out/f'kill{i}'
    first = child([*ARGS, '--out', folder], how)
    made = folder.exists() and any(folder.iterdir())
    if not made or not (run_of(folder)/'config.toml').exists():
        results.append(dict(moment=name, first=first, resumed=None, same=None)) # killed before there was anything to resume
        continue
    again = child(['run', '--resume', run_of(folder), '--json'], lambda: None)
    ok = child(['verify', run_of(folder)], lambda: None)
    results.append(dict(moment=name, first=first, resumed=again, verified=ok, same=facts(run_of(folder))==whole))
print(json.dumps(dict(took=took, results=results)))
