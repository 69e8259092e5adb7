"""Ranks that meet, as processes on gloo beside replicas in one of them: `meetings_driver.py RANK N FILE`; rank 0 prints JSON.

Started without arguments, or with N alone, it starts N of itself."""
import copy
import hashlib
import json
import subprocess
import sys
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from quarantion.checks import CheckError
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.meetings import (MEAN, Asked, Code, Every, Outer, Planned, flat, groups_of, processes, put_flat,
                                       replicas, start, step_done, two_level)

HALF = Code(lambda v: v.bfloat16().view(torch.uint8), lambda d,n: d.clone().view(torch.bfloat16).float())
SPARSE = Code(lambda v: torch.cat([(i := v.abs().topk(len(v)//20+int(v[0]>0)).indices.int()).view(torch.uint8), v[i].view(torch.uint8)]), # of any length
              lambda d,n: torch.zeros(n).index_put((d[:len(d)//2].clone().view(torch.int32).long(),), d[len(d)//2:].clone().view(torch.float32)))
RULES = dict(every=(Every(5),MEAN), diloco=(Every(5),Outer()), asked=(Asked(.05),MEAN), seldom=(Asked(.02, each=3),MEAN), planned=(Planned(.05),MEAN))


def digest(v): return hashlib.sha256(v.numpy().tobytes()).hexdigest()


def learned(here, n, ranks, rule, how, steps=12):
    "State and weights of the ranks that are here, each of which learns from its part of the samples"
    torch.manual_seed(0)
    net = Network(nn.Linear(16,32), LIF(), nn.Linear(32,4), LIF(reset='none'), steps=6)
    x,y = 2*torch.rand(96,16),torch.randint(4, (96,))
    nets = [copy.deepcopy(net) for _ in here]
    opts = [torch.optim.AdamW(m.parameters(), 5e-3) for m in nets]
    state = start(net)
    for _ in range(steps):
        for r,m,o in zip(here, nets, opts):
            o.zero_grad()
            cross_entropy(m.answer(x[r::n])[0], y[r::n]).backward()
            o.step()
        state = step_done(state, nets, ranks, rule, how)
    return state,[flat(m) for m in nets]


def same(rank, n, groups, code, rule, how):
    "Are processes as replicas are? Bits, or the largest difference; and meetings, messages, bytes"
    mine,own = learned([rank], n, processes(groups, code), rule, how)
    if rank: return None
    others,all_ = learned(range(n), n, replicas(groups, code), rule, how)
    count = lambda s: [s.meetings, s.messages, s.sent, s.between]
    return dict(bits=digest(own[0])==digest(all_[0]), apart=float((own[0]-all_[0]).abs().max()), equal=count(mine)==count(others), count=count(mine))


def means(rank, n):
    "Two levels and flat, a process a rank, beside float64"
    out = {}
    for size in range(1, n+1):
        for name,code in (('numbers',None),('half',HALF),('sparse',SPARSE)):
            groups,drawn,left,there,worst = groups_of(n, size),torch.Generator().manual_seed(size),(),(),0.
            ranks,sent,whole = processes(groups, code),torch.zeros(1001),torch.zeros(1001, dtype=torch.float64)
            for _ in range(3):
                values = [torch.randn(1001, generator=drawn) for _ in range(n)]
                here,twin = ranks.mean([values[rank]], left),two_level(values, groups, code, there)
                left,there = here.left,twin.left
                worst = max(worst, float((here.mean-twin.mean).abs().max()))
                whole += torch.stack(values).double().mean(0)
                sent += here.mean
            kept = torch.stack(left).sum(0) if left else torch.zeros(1001)
            dist.all_reduce(kept)
            all_ = [torch.zeros(1001) for _ in range(n)]
            dist.all_gather(all_, here.mean)
            out[f'{size} {name}'] = dict(twin=worst, missing=float((sent+kept/n-whole).abs().max()), one=all(a.equal(all_[0]) for a in all_),
                                         counts=(here.sent,here.between)==(twin.sent,twin.between))
    return out


def torchs(rank, n):
    "Weights in float64 by torch's own averager, and ours, at the same steps"
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager # warns of `torch.jit`
    from torch.distributed.optim import PostLocalSGDOptimizer
    def run(ours):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(10,20), nn.Tanh(), nn.Linear(20,3)).double()
        x,y = torch.randn(64,10).double(),torch.randint(3, (64,))
        opt = torch.optim.SGD(net.parameters(), .1, momentum=.9)
        if not ours: opt = PostLocalSGDOptimizer(opt, PeriodicModelAverager(period=4, warmup_steps=3)) # after the steps 4, 8, …
        state,ranks = start(net),processes()
        for _ in range(16):
            opt.zero_grad()
            cross_entropy(net(x[rank::n]), y[rank::n]).backward()
            opt.step()
            if ours: state = step_done(state, [net], ranks, Every(4))
        return flat(net),state
    (a,state),(b,_) = run(True),run(False)
    return dict(apart=float((a-b).abs().max()), far=float((a-a.mean()).abs().max()), meetings=state.meetings)


def lost(rank):
    "What a rank hears when the last one has lost its weights, at once and by asking"
    said = []
    for rule in Every(1),Asked(9.):
        net = nn.Linear(3, 2)
        state,ranks = start(net),processes()
        if rank==dist.get_world_size()-1: put_flat(flat(net)*torch.nan, net)
        try: step_done(state, [net], ranks, rule)
        except CheckError as e: said.append(str(e))
    return said


def refused(n):
    try: processes(((*range(n),0),))
    except CheckError as e: return str(e)


def main(rank, n, file):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=n)
    flat_,apart = groups_of(n, n),groups_of(n, 1 if n==2 else 2)
    out = dict(means=means(rank, n), torch=torchs(rank, n), lost=lost(rank), refused=refused(n))
    out['same'] = {k:same(rank, n, flat_, None, *how) for k,how in RULES.items()}
    out['same'] |= {f'groups {k}':same(rank, n, apart, c, Every(5), Outer()) for k,c in (('numbers',None),('half',HALF))}
    if len(out['lost'])!=2: raise SystemExit(f'rank {rank} goes on with {out["lost"]}')
    dist.barrier()
    if not rank: print(json.dumps(out))
    dist.destroy_process_group()


def begin(n):
    "What rank 0 said"
    with tempfile.TemporaryDirectory() as d:
        p = [subprocess.Popen([sys.executable, __file__, str(r), str(n), f'{d}/meet'], stdout=subprocess.PIPE, text=True) for r in range(n)]
        said = [q.communicate(timeout=240)[0] for q in p]
    if any(q.returncode for q in p): raise SystemExit(f'ended with {[q.returncode for q in p]}')
    return json.loads(said[0])


if __name__=='__main__':
    if len(sys.argv)==4: main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    else: print(json.dumps(begin(int((*sys.argv[1:],2)[0])), indent=1))
