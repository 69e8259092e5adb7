"One process of a run of many: what befalls it, and then the command; also a script for torchrun (WORDS … -- ARGUMENTS of the command)"
import json, os, signal, sys, time, traceback
from dataclasses import replace
from pathlib import Path

from forked import dies


def now():
    "How often torchrun has started anew"
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))


def _dies_at(rank, name, n, how):
    "kill -9 of a rank in its first life, at an fsync (see `dies`)"
    if now()==0 and int(os.environ['RANK'])==int(rank): dies(name, int(n), how)()


def _dies_after(rank, seconds):
    "… or some time after it began"
    if now() or int(os.environ['RANK'])!=int(rank): return
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, float(seconds))


def _dies_in(rank, module, function, n):
    "… or at the n-th call of a function"
    if now()==0 and int(os.environ['RANK'])==int(rank): _at_call(module, function, n, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _at_call(module, function, n, do):
    from importlib import import_module
    m,count = import_module(module),[0]
    real = getattr(m, function)
    def act(*args, **words):
        count[0] += 1
        if count[0]==int(n): do()
        return real(*args, **words)
    setattr(m, function, act)


def _agent_dies_at(rank, name, n, how):
    "kill -9 of the agent of a rank, and of the rank"
    if now() or int(os.environ['RANK'])!=int(rank) or os.environ['WORLD_SIZE']=='1': return
    real = os.kill
    os.kill = lambda pid,sig: (real(os.getppid(), sig), real(pid, sig))
    dies(name, int(n), how)()


def _agent_dies_in(rank, module, function, n):
    "… at the n-th call of a function"
    if now() or int(os.environ['RANK'])!=int(rank) or os.environ['WORLD_SIZE']=='1': return
    _at_call(module, function, n, lambda: (os.kill(os.getppid(), signal.SIGKILL), os.kill(os.getpid(), signal.SIGKILL)))


def _interrupts(rank, module, function, n):
    "Ctrl-C in the terminal of torchrun"
    if now()==0 and int(os.environ['RANK'])==int(rank): _at_call(module, function, n, lambda: os.kill(os.getppid(), signal.SIGINT))


def _slow(rank, times):
    "A rank whose forward passes take several times as long"
    if int(os.environ['RANK'])!=int(rank): return
    from quarantion.train import many
    real = many.losses_of
    def act(*args):
        began = time.perf_counter()
        out = real(*args)
        time.sleep((float(times)-1)*3*(time.perf_counter()-began)) # and the way back takes about twice as long
        return out
    many.losses_of = act


def _other_code(rank):
    if int(os.environ['RANK'])!=int(rank): return
    from quarantion.train import together
    together.code_hash = lambda: '0'*16


def _other_data(rank):
    if int(os.environ['RANK'])!=int(rank): return
    from quarantion.train import together
    real = together.load_data
    def act(cfg):
        split = real(cfg)
        return replace(split, train=split.train[1:])
    together.load_data = act


def _counts(folder):
    "How often ranks wrote to each other, and what"
    import torch.distributed as dist
    seen = {}
    for name in 'all_gather','all_reduce','broadcast','all_gather_into_tensor','reduce_scatter_tensor','barrier':
        def act(*args, real=getattr(dist, name), name=name, **words):
            seen[name] = seen.get(name, 0)+1
            Path(folder, f'counts-{os.environ["RANK"]}.json').write_text(json.dumps(seen))
            return real(*args, **words)
        setattr(dist, name, act)


def _states(folder):
    "The network of each rank after each epoch, as a hash for each of its tensors"
    import hashlib
    from quarantion.train import job
    real = job.met
    def act(run, at, stats, together):
        sha = lambda v: hashlib.sha256(v.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
        with open(Path(folder, f'states-{os.environ["RANK"]}.jsonl'), 'a') as f: f.write(json.dumps({k:sha(v) for k,v in at.model.state_dict().items()})+'\n')
        return real(run, at, stats, together)
    job.met = act


def _words(rank, *more):
    "Other words on the command line of a rank"
    return list(more) if int(os.environ['RANK'])==int(rank) else []


def _exits(folder):
    "What each rank ends with"
    import quarantion.cli as cli
    real = cli.main
    def act(args):
        try: real(args)
        except SystemExit as e:
            with open(Path(folder, 'exits.txt'), 'a') as f: f.write(f'{e.code or 0}\n')
            raise
    cli.main = act


HAPPENS = dict(exits=_exits, dies_at=_dies_at, dies_after=_dies_after, dies_in=_dies_in, agent_dies_at=_agent_dies_at, agent_dies_in=_agent_dies_in, interrupts=_interrupts,
    slow=_slow, other_code=_other_code, other_data=_other_data, counts=_counts, states=_states, words=_words)


def work(happens, args, log=None, report=True):
    "Do what a worker of `torchrun` does, with what is to happen to it"
    from quarantion import cli
    for s in signal.SIGTERM,signal.SIGHUP,signal.SIGQUIT: signal.signal(s, signal.SIG_DFL) # the agent's, where this is its fork
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli._RANK = int(os.environ['RANK']) if os.environ.get('RANK', '').isdecimal() else 0
    if log:
        f = os.open(f'{log}-{os.environ.get("RANK", 0)}-{now()}-{os.getpid()}.txt', os.O_WRONLY|os.O_CREAT|os.O_APPEND)
        os.dup2(f, 1); os.dup2(f, 2)
        sys.stdout,sys.stderr = os.fdopen(1, 'w'),os.fdopen(2, 'w', buffering=1)
    if not report:
        import quarantion.inspect.report as page
        page.write_report = lambda run: (Path(run)/'report.html').write_text('none')
    more,code = [],99
    try:
        for word,*rest in happens: more += HAPPENS[word](*rest) or []
        cli.main([*map(str, args), *more])
    except SystemExit as e: code = e.code or 0
    except BaseException: traceback.print_exc()
    sys.stdout.flush(); sys.stderr.flush()
    return code


if __name__=='__main__':
    at = sys.argv.index('--')
    sys.exit(work([w.split(',') for w in sys.argv[1:at]], sys.argv[at+1:]))
