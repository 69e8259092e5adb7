"One of several ranks: hooks on a network in several buckets; rank 0 prints what all of them found, one JSON object."
import json
import sys
import time
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from quarantion.train import hooks
from quarantion.train.hooks import Wire, gathered, requantized, summed
from quarantion.train.many import go_on_sending
from quarantion.train.ranks import ranks_now

CASES = [(n,h) for n in ('nonary','int4','int8','onebit','nonary(7)') for h in (gathered,requantized)]+[('topk(0.1)',None),('topk(auto)',None),('none',None)]


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 30), nn.Linear(30, 10), nn.Linear(10, 1)).to(memory_format=torch.channels_last)
    return DistributedDataParallel(net, bucket_cap_mb=.005)


def joined(name, hook):
    ddp,wire = network(),Wire(name)
    wire.join(ddp, hook)
    return ddp,wire


def flat(ts): return torch.cat([t.detach().double().reshape(-1) for t in ts])


def same(x):
    "Is a vector the same on all ranks, to the last bit?"
    all_ = [torch.empty_like(x) for _ in range(N)]
    dist.all_gather(all_, x.contiguous())
    return all(a.numpy().tobytes()==x.numpy().tobytes() for a in all_)


def case(name, hook):
    ddp,wire = joined(name, hook)
    net,x,equal = ddp.module,torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(rank)),True
    got,true = 0,0
    for _ in range(5):
        ddp.zero_grad()
        ddp(x).pow(2).sum().backward()
        got,equal = got+flat(p.grad for p in net.parameters()),equal and same(flat(p.grad for p in net.parameters()))
        true = true+flat(torch.autograd.grad(net(x).pow(2).sum(), [*net.parameters()]))
    left = wire.left()
    rest = sum(flat([left[k] if k in left else torch.zeros_like(p)]).sum() for k,p in net.named_parameters())
    means = sum((t.double().sum() for k,t in left.items() if k.startswith('mean:')), torch.zeros((), dtype=torch.float64))
    told = torch.stack([true.sum(), rest+N*means, true.abs().max()])
    each = true-flat([left.get(k, torch.zeros_like(p)) for k,p in net.named_parameters()])
    dist.all_reduce(told); dist.all_reduce(each)
    lost = (N*got.sum()+told[1]-told[0]).abs()/(told[2]*len(got)**.5)
    off = (N*got-each).abs().max()/told[2] if not any(k.startswith('mean:') for k in left) else torch.zeros(())
    buckets = len(wire.frames)
    ddp.zero_grad()
    ddp(x*(torch.nan if rank==1 else 1)).pow(2).sum().backward()
    nan = torch.tensor([float(all(p.grad.isnan().any() for p in net.parameters()))])
    dist.all_reduce(nan)
    kept = all(torch.isfinite(t).all() for t in wire.left().values())
    return dict(name=name, hook=hook.__name__ if hook else '', equal=equal, lost=float(lost), off=float(off), nan=float(nan)==N, kept=bool(kept),
                sent=wire.sent, whole=wire.whole, buckets=buckets, numbers=len(got))


def resumed(name, hook):
    "Are the weights after four steps those of two, a checkpoint, and two?"
    x = torch.randn(4, 8, 1, 8, 8, generator=torch.Generator().manual_seed(rank))
    def go(ddp, xs):
        opt = torch.optim.SGD(ddp.parameters(), .01)
        for v in xs:
            opt.zero_grad()
            ddp(v).pow(2).mean().backward()
            opt.step()
    ddp,wire = joined(name, hook)
    go(ddp, x[:2])
    kept,weights = wire.left(),{k:v.clone() for k,v in ddp.module.state_dict().items()}
    go(ddp, x[2:])
    again,second = joined(name, hook)
    again.module.load_state_dict(weights)
    second.put(kept)
    go(again, x[2:])
    return bool((flat(again.parameters())==flat(ddp.parameters())).all())


class Clock:
    "Seconds that are given: a message takes what its bytes take, and a rank comes as late as it does"
    def __init__(self): self.now,self.rate,self.send = 1.,1e6,dist.all_gather
    def perf_counter(self): return self.now

    def all_gather(self, got, mine, group=None):
        self.now += len(mine)/self.rate+.002*(N-1-rank) # the first waits the longest
        return self.send(got, mine, group=group)


def paced(rates, name='topk(auto)', **how):
    "A wire that is throttled and freed, with other gradients at each step: share, kept energy, extra messages and bits"
    clock,rows = Clock(),[]
    hooks.time,hooks.dist = clock,SimpleNamespace(**vars(dist)|dict(all_gather=clock.all_gather))
    ddp,wire = network(),Wire(name, **how)
    wire.join(ddp)
    drawn,params = torch.Generator().manual_seed(rank),[*ddp.module.parameters()]
    left = lambda: flat(wire.left()[k] for k,_ in ddp.module.named_parameters())
    for rate in rates:
        clock.rate,before = rate,left()
        clock.now += .01*(rank+1)
        x = torch.randn(8, 1, 8, 8, generator=drawn)*torch.rand(8, 1, 1, 1, generator=drawn)**8
        true = flat(torch.autograd.grad(ddp.module(x).pow(2).sum(), params))+before
        ddp.zero_grad()
        ddp(x).pow(2).sum().backward()
        kept = float((true-left()).pow(2).sum()/true.pow(2).sum())
        rows.append(dict(share=wire.share, kept=kept, more=wire.again, equal=same(flat(p.grad for p in params)) and same(wire.pace)))
    hooks.time,hooks.dist = time,dist
    least = torch.tensor([r['kept'] for r in rows])
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return [r|dict(kept=k) for r,k in zip(rows, least.tolist())]


def goes_on(before):
    "Do ranks go on with the share, the averages and what was not sent by as many, fewer or more ranks before?"
    drawn,unsent = torch.Generator().manual_seed(0),{}
    for r in range(before):
        left = joined('topk(auto)', None)[1].left()
        unsent |= {f'{r}.{k}':torch.randn(v.shape, generator=drawn) for k,v in left.items()}|{f'{r}.pace:':torch.tensor([.25,1e6,.125])}
    ddp,wire = joined('topk(auto)', None)
    go_on_sending(SimpleNamespace(wire=wire, net=ddp.module, ranks=ranks_now()), 'topk(auto)', unsent)
    left = flat(v for k,v in wire.left().items() if k!='pace:')
    dist.all_reduce(left)
    was = sum(flat(unsent[f'{r}.{k}'] for k in wire.left() if k!='pace:') for r in range(before))
    return wire.pace.tolist()==[.25,1e6,.125] and bool((left-was).abs().max()<1e-5)


if __name__=='__main__':
    torch.set_num_threads(1)
    rank,N,store = int(sys.argv[1]),int(sys.argv[2]),sys.argv[3]
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=N)
    told = dict(cases=[case(n, h) for n,h in CASES], resumed={f'{n} {h.__name__ if h else ""}':resumed(n, h) for n,h in CASES})
    told['paced'] = paced([3e5]*25+[3e4]*25+[1e8]*25, floor=.005)
    told['floors'] = {f:paced([1e4]*12, floor=f) for f in (.1,.5,.9,1.)}
    told['goes_on'] = [goes_on(n) for n in (2,3,4)]
    one,two = joined('none', summed)[0],network()
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(rank))
    for ddp in one,two: ddp(x).pow(2).sum().backward()
    told['plain'] = bool((flat(p.grad for p in one.parameters())==flat(p.grad for p in two.parameters())).all())
    if rank==0: print(json.dumps(told))
    dist.destroy_process_group()
