"""Wide layers in shards, and their checkpoints, on several ranks. One process imports everything once; each rank is a fork of it. Prints one JSON object.

`shards_driver.py OUT` on the CPU, with gloo; `shards_driver.py OUT pause [WIDTH]` measures how long training stops for a checkpoint;
`torchrun --nproc-per-node 2 tests/shards_driver.py OUT cuda` does the same work on GPUs, with NCCL."""
import datetime, hashlib, json, os, pickle, random, shutil, signal, statistics, sys, threading, time, traceback
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch._dynamo # noqa: F401  (imported once, before the forks: FSDP asks for it)
import torch.distributed as dist
import torch.distributed.distributed_c10d as distributed_c10d
from torch import nn
from forked import dies
from quarantion.checks import CheckError
from quarantion.quant import lower, prepare, preset, verify
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RecurrentLIF
from quarantion.spikes.parameters import learnable
from quarantion.train import shards
from quarantion.train.fit import train_epoch
from quarantion.train.shards import load_shards, published, save_shards
from quarantion.train.updates import Update
from quarantion.train.wide import gathered, sharded
from torch.distributed.tensor import DTensor

torch.set_num_threads(1) # a forked child cannot ask OpenMP for more
X,Y = torch.rand(24, 64, generator=torch.Generator().manual_seed(0)),torch.arange(24)%10
STEPS,RATE = 4,1e-3
LEAST = 1000 # weights of a wide layer here
DEVICE,FULL = 'cuda' if 'cuda' in sys.argv else 'cpu','full' in sys.argv


def no_pickle():
    "Whoever makes or reads one from here on fails, in messages too"
    def refuse(*args, **kwargs): raise AssertionError('a pickle')
    for m,names in ((pickle,'dump dumps load loads Pickler Unpickler'), (torch,'save load'), (dist,'all_gather_object broadcast_object_list gather_object scatter_object_list'), (distributed_c10d,'_object_to_tensor _tensor_to_object')):
        for n in names.split(): setattr(m, n, refuse)


def ranks(out, n, do, *args, prepare=lambda rank: None):
    "What `do` returns on each of n ranks, or minus the signal that ended it"
    init = out/f'init-{n}-{random.getrandbits(40):x}'
    pids = []
    for rank in range(n):
        if (pid := os.fork())==0:
            code = 1
            try:
                prepare(rank)
                no_pickle()
                dist.init_process_group('gloo', init_method=f'file://{init}', rank=rank, world_size=n, timeout=datetime.timedelta(seconds=30))
                (out/f'said-{rank}').write_text(json.dumps(do(rank, n, *args)))
                code = 0
            except BaseException: traceback.print_exc()
            finally: os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]
    init.unlink(missing_ok=True)
    return [json.loads((out/f'said-{r}').read_text()) if c==0 else c for r,c in enumerate(codes)]


def float_net(seed=0):
    torch.manual_seed(seed)
    return Network(nn.Linear(64, 49), learnable(LIF(.9), 'beta', 'threshold'), nn.Linear(49, 30), LIF(.9), nn.Linear(30, 10), LIF(.9, 1., 'none'), steps=5).to(DEVICE)

def back_net():
    torch.manual_seed(0)
    return Network(nn.Linear(64, 49), RecurrentLIF(nn.Linear(49, 49, bias=False), beta=.9), nn.Linear(49, 10), LIF(.9, 1., 'none'), steps=5).to(DEVICE)

def quant(policy, net=float_net): return prepare(net(), preset(policy), X.to(DEVICE)).train()

NETS = dict(float=float_net, nonary=lambda: quant('nonary'), current8=lambda: quant('current8'), mint2=lambda: quant('mint2'), back=back_net, back_nonary=lambda: quant('nonary', back_net))


def optimizer(net): return torch.optim.Adam(net.param_groups(RATE) if hasattr(net, 'param_groups') else net.parameters(), lr=RATE, eps=1e-5) # a gradient of rounding alone is no step

def seen_by_all(net): # what observers see is seen by all ranks
    for m in net.modules():
        if hasattr(m, 'synchronize'): m.synchronize()
    return net

def learn(net, opt, x, y, steps=STEPS, **how): return [train_epoch(net, opt, [(x.to(DEVICE),y.to(DEVICE))], update=Update(**how)) for _ in range(steps)]

def refused(do):
    try: do()
    except CheckError as e: return str(e)
    return ''

def far(a, b): # the largest difference of two states
    return max((float((a[k].cpu().double()-b[k].cpu().double()).abs().max()) if a[k].shape==b[k].shape else float('inf')) for k in a if a[k].numel() or b[k].numel())

def same(a, b): return a.keys()==b.keys() and all(a[k].dtype==b[k].dtype and a[k].shape==b[k].shape and torch.equal(a[k].cpu(), b[k].cpu()) for k in a)

def print_of(state): # a hash
    h = hashlib.sha256()
    for k,v in sorted(state.items()): h.update(k.encode()+v.cpu().contiguous().numpy().tobytes())
    return h.hexdigest()


def trained(rank, n, name):
    "One network on n ranks, and alone with all of the batch: how far apart are they, and are integers the same?"
    q,alone = seen_by_all(sharded(NETS[name](), LEAST)),NETS[name]()
    start = gathered(q)
    fresh = same(start, {k:v.detach().cpu() for k,v in alone.state_dict().items()})
    opt,theirs = optimizer(q),optimizer(alone)
    mine,all_ = learn(q, opt, X[rank::n], Y[rank::n]),learn(alone, theirs, X, Y)
    end = gathered(q)
    moved = far({k:start[k] for k,_ in alone.named_parameters()}, {k:end[k] for k,_ in alone.named_parameters()})
    here = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in q.parameters())
    out = dict(fresh=fresh, far=far(end, alone.state_dict()), moved=moved, loss=[m['loss'] for m in mine], alone=[m['loss'] for m in all_],
        wide=[k for k,p in q.named_parameters() if isinstance(p, DTensor)], here=here, whole=sum(p.numel() for p in alone.parameters()))
    if name not in ('float','back'):
        plain = NETS[name]()
        plain.load_state_dict(end)
        prog = lower(plain)
        out['mismatches'] = verify(plain, prog, [(X.to(DEVICE),Y.to(DEVICE))]).mismatches
        q.eval(); plain.eval()
        pairs = [*zip(q.integers(X.to(DEVICE)), plain.integers(X.to(DEVICE)))] # the codes that the sharded one runs on are those of the program
        out['integers'] = all(torch.equal(a.mem, b.mem) and torch.equal(a.spk, b.spk) for a,b in pairs)
        out['spikes'] = int(sum(a.spk.sum() for a,_ in pairs))
        frozen = NETS[name]()
        frozen.load_state_dict(end)
        frozen.freeze()
        out['frozen'] = all(np.array_equal(a.weight, b.weight) and np.array_equal(a.theta, b.theta) for a,b in zip(lower(frozen).layers, prog.layers))
    return out

def updates(rank, n):
    "What goes between gradients and a step"
    out = {}
    for how in (dict(clip=.01),dict(pieces=3),dict(sam=.05)):
        q,alone = sharded(float_net(), LEAST),float_net()
        learn(q, optimizer(q), X[rank::n], Y[rank::n], **how)
        learn(alone, optimizer(alone), X, Y, **how)
        out[next(iter(how))] = far(gathered(q), alone.state_dict())
    return out

def saved(rank, n, out):
    "Save while training goes on; what was saved is what was there at the call"
    q = seen_by_all(sharded(quant('current8'), LEAST))
    opt = optimizer(q)
    learn(q, opt, X[rank::n], Y[rank::n])
    real,go,then = shards.save_tensors,threading.Event(),gathered(q)
    def waits(*args, **kwargs):
        assert go.wait(20) # the file is not written before steps were made
        return real(*args, **kwargs)
    shards.save_tensors = waits
    saving = save_shards(out, q, opt, dict(phase='qat', epoch=3, print=print_of(then)))
    learn(q, opt, X[rank::n], Y[rank::n], 3)
    before = saving.done,[p.name for p in published(out)]
    early = refused(lambda: save_shards(out, q, opt, after=saving))
    second = save_shards(out, q, opt) # of which the folder knows
    twice = refused(second.wait)
    go.set()
    path = saving.wait()
    shards.save_tensors = real
    found = dict(before=before, path=path.name, twice=twice, early=early, files=sorted(p.name for p in path.iterdir()))
    new = seen_by_all(sharded(quant('current8'), LEAST)) # and it goes on as one that was left alone
    again = optimizer(new)
    found['facts'] = load_shards(out, new, again)
    learn(new, again, X[rank::n], Y[rank::n], 3)
    return found|dict(on=same(gathered(new), gathered(q)))

def loaded(rank, n, folder):
    "The last checkpoint, on another number of ranks"
    q = sharded(quant('current8'), LEAST)
    opt = optimizer(q)
    facts = load_shards(folder, q, opt)
    of = lambda v: print_of({'':v.full_tensor() if isinstance(v, DTensor) else v})
    state = {f'{i}.{k}':of(v) for i,s in opt.state_dict()['state'].items() for k,v in s.items()}
    got = print_of(gathered(q))
    learn(q, opt, X[rank::n], Y[rank::n], 1) # it can go on
    return dict(facts=facts, print=got, opt=hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest(), lr=[g['lr'] for g in opt.param_groups])

def many(rank, n, folder): # a checkpoint of four ranks
    q = sharded(quant('nonary'), LEAST)
    return save_shards(folder, q, None, dict(print=print_of(gathered(q)))).wait().name

def wrong(rank, n, out):
    "What one rank does wrong is refused by all"
    found = dict(other=refused(lambda: sharded(float_net(rank), LEAST)))
    q = sharded(float_net(), LEAST)
    (first := save_shards(out, q)).wait()
    own = q.layers[0].weight.to_local()
    if rank==1: own.data[0,0] = float('nan')
    found['nan'] = refused((second := save_shards(out, q, after=first)).wait)
    found['left'] = [p.name for p in published(out)]
    if rank==1: own.data[0,0] = 0.
    found['again'] = save_shards(out, q, after=second).wait().name
    return found

def refusals(rank, n, folders):
    "Damaged checkpoints, refused by all ranks, with nothing changed"
    out = {}
    for name,folder in folders.items():
        q = sharded(quant('nonary'), LEAST)
        before = gathered(q)
        out[name] = [refused(lambda: load_shards(folder, q)),same(gathered(q), before)]
    return out

def saves(rank, n, folder):
    "Save again and again, with no two alike, until someone dies"
    q = sharded(float_net(), LEAST)
    die_later()
    for step in range(1, 5):
        with torch.no_grad():
            for p in q.parameters(): (p.to_local() if isinstance(p, DTensor) else p).add_(step)
        save_shards(folder, q, None, dict(step=step, print=print_of(gathered(q)))).wait()
    return True

def last(rank, n, folder):
    "What stands there after all"
    if not published(folder): return {}
    net = float_net()
    facts = load_shards(folder, net)
    return dict(step=facts['step'], whole=print_of({k:v.detach() for k,v in net.state_dict().items()})==facts['print'], names=[p.name for p in published(folder)])

def unlinking(n): # die at the n-th file that is removed
    def prepare():
        real,count = os.unlink,[0]
        def unlink(*args, **kwargs):
            count[0] += '.safetensors' in str(args[0]) or 'shards.json' in str(args[0])
            if count[0]>=n: os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        os.unlink = unlink
    return prepare

LATER = [] # seconds after which to die, counted from the first save

def die_later():
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    for s in LATER: signal.setitimer(signal.ITIMER_REAL, s)

def killed(out, i, who, name, how, stands):
    folder = out/f'killed-{i}'
    codes = ranks(out, 2, saves, folder, prepare=lambda rank: how() if rank==who else None)
    left = [p.name for p in folder.glob('.*.tmp')] if folder.exists() else []
    found, = ranks(out, 1, last, folder)
    on = ranks(out, 2, many_after, folder) # the next save clears up
    return dict(moment=f'rank {who}, {name}', died=codes[who]==-9, codes=[c if type(c) is int else 0 for c in codes], left=left, found=found, stands=stands, on=on[0], clean=not [*folder.glob('.*.tmp')])

def many_after(rank, n, folder): return save_shards(folder, sharded(float_net(), LEAST), None, dict(step=9)).wait().name

def pause(rank, n, out, width):
    "Steps and when they ended: without saving, and with a checkpoint begun again and again"
    torch.manual_seed(0)
    net = sharded(prepare(Network(nn.Linear(64, width), LIF(.9), nn.Linear(width, width), LIF(.9), nn.Linear(width, 10), LIF(.9, 1., 'none'), steps=10), preset('nonary'), X).train())
    opt,res = optimizer(net),{}
    learn(net, opt, X[rank::n], Y[rank::n], 3)
    for how in 'without','with':
        ends,calls,cpu,saving = [time.perf_counter()],[],[],None
        began = time.thread_time()
        for step in range(60):
            if how=='with' and step%15==5:
                if saving: saving.wait()
                t,c = time.perf_counter(),time.thread_time()
                saving = save_shards(out, net, opt, dict(step=step))
                calls.append(time.perf_counter()-t)
                cpu.append(time.thread_time()-c)
            learn(net, opt, X[rank::n], Y[rank::n], 1)
            ends.append(time.perf_counter())
        step_cpu = (time.thread_time()-began-sum(cpu))/60 # of this thread, which other work on the machine does not lengthen
        if saving: saving.wait()
        gaps = [b-a for a,b in zip(ends, ends[1:])]
        res[how] = dict(gaps=gaps, median=statistics.median(gaps), longest=max(gaps), extra=max(gaps)/statistics.median(gaps)-1, calls=calls, call_of_step=[c/step_cpu for c in cpu])
    res['bytes'] = sum(p.stat().st_size for p in published(out)[-1].iterdir())
    return res


def damaged(out, path):
    "Copies of a checkpoint of four ranks, each with something wrong"
    folders = {}
    def copy(name):
        folders[name] = str(out/'damaged'/name)
        shutil.copytree(path, out/'damaged'/name/'000001')
        return out/'damaged'/name/'000001'
    (copy('lost')/'rank-2-of-4.safetensors').unlink()
    p = copy('cut')/'rank-1-of-4.safetensors'
    p.write_bytes(p.read_bytes()[:-5])
    p = copy('changed')/'rank-3-of-4.safetensors'
    p.write_bytes(p.read_bytes()[:-5]+b'5'+p.read_bytes()[-4:])
    p = copy('version')/'shards.json'
    p.write_text(p.read_text().replace('"version": 1', '"version": 2'))
    p = copy('edited')/'shards.json'
    p.write_text(p.read_text().replace('"ranks"', '"rank"').replace('"shard": 0', '"shard": 1', 1))
    (copy('index')/'shards.json').unlink()
    (out/'damaged'/'none').mkdir()
    folders['none'] = str(out/'damaged'/'none')
    return folders


def gloo(out):
    some = NETS if FULL else ('float','current8','back_nonary')
    d = dict(trained={f'{k}, {n}':ranks(out, n, trained, k) for k,n in [*((k,2) for k in some), ('nonary',4)]})
    d['updates'] = ranks(out, 2, updates)
    d['saved'] = ranks(out, 2, saved, out/'saved')
    d['loaded'] = {n:ranks(out, n, loaded, str(out/'saved')) for n in (1,3,4)}
    d['wrong'] = ranks(out, 2, wrong, out/'wrong')
    name, = {*ranks(out, 4, many, out/'four')}
    d['refused'] = ranks(out, 2, refusals, damaged(out, out/'four'/name))
    file = lambda f,n,how: (f'{how} {n} of {f}',lambda: dies(f, n, how)())
    # who dies where, and the step whose checkpoint stands then; 0 for none
    kills = [(1,*file('rank-1', 2, 'before'),1), (0,*file('rank-0', 3, 'after'),2), (0,*file('shards.json', 1, 'before'),0), (0,*file('shards.json', 2, 'done'),1),
        (0,*file('000002', 1, 'done'),2), (0,'removing',unlinking(2),3)]
    if FULL: kills += [(1,*file('rank-1', 1, 'done'),0), (0,*file('shards.json', 3, 'after'),2), (0,*file('.old-000001', 1, 'done'),3)]
    rng = random.Random(0)
    kills += [(i%2,'a time',partial(LATER.append, rng.uniform(0, .5)),None) for i in range(30 if FULL else 2)]
    d['killed'] = [killed(out, i, *k) for i,k in enumerate(kills)]
    return d

def cuda(out):
    rank,n = int(os.environ['RANK']),int(os.environ['WORLD_SIZE'])
    torch.cuda.set_device(rank)
    dist.init_process_group('cpu:gloo,cuda:nccl')
    d = dict(trained={k:trained(rank, n, k) for k in NETS}, saved=saved(rank, n, out/'saved'), loaded=loaded(rank, n, str(out/'saved')), wrong=wrong(rank, n, out/'wrong'),
        gpu=torch.cuda.get_device_name(), torch=torch.__version__, pause=pause(rank, n, out/'pause', 4096))
    dist.destroy_process_group()
    return d|dict(rank=rank)


if __name__=='__main__':
    out = Path(sys.argv[1])
    out.mkdir(exist_ok=True, parents=True)
    t0 = time.perf_counter()
    if DEVICE=='cuda': d = cuda(out)
    elif 'pause' in sys.argv: d = dict(pause=ranks(out, 2, pause, out/'pause', int(sys.argv[3]) if len(sys.argv)>3 else 1024))
    else: d = gloo(out)
    print(json.dumps(d|dict(seconds=time.perf_counter()-t0)), flush=True)
