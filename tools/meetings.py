"""Networks of the digits that meet rarely, as replicas in one process: `python tools/measure.py meetings`."""
import copy
import math
import statistics
import time

import torch
from torch.nn.functional import cross_entropy

from quarantion.data.digits import load_digits
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.fit import batches, cosine, evaluate, seed_of
from quarantion.train.meetings import (MEAN, Asked, Code, Every, Outer, Planned, adam_stride, drift, flat, groups_of, meet,
                                       replicas, start, step_done)
from quarantion.train.payloads import Frame, code_of, decode_into, encode
from quarantion.train.recipes import RECIPES, optimizer_of

EPOCHS,BATCH,LR = 10,64,2e-3
STEPS = 1437//BATCH # in an epoch; the rest of a shuffled epoch is left out, so that parts are equal


def sent_as(name):
    "A code of gradients for meetings, which keep what it leaves out"
    code = code_of(name)
    frame = lambda n: Frame(code, (n,))
    return Code(lambda v: encode(frame(len(v)), v, torch.zeros_like(v)), lambda data, n: decoded(frame(n), data))


def decoded(frame, data):
    out = torch.zeros(frame.n)
    decode_into(out, frame, data)
    return out


CODES = {'int8':sent_as('int8'), '1 bit':sent_as('onebit')}
WAYS = {('mean',f'H = {h}'):(Every(h),MEAN) for h in (4,22,220)}
WAYS |= {('DiLoCo',f'H = {h}'):(Every(h),Outer()) for h in (4,22,110)}
WAYS |= {('DiLoCo, η = 0.1',f'H = {h}'):(Every(h),Outer(lr=.1)) for h in (4,22)} # which goes as far as the mean in the long run
WAYS |= {('asked',f'drift {b:g}'):(Asked(b),MEAN) for b in (.03,.1,.3)}
WAYS |= {('planned',f'drift {b:g}'):(Planned(b),MEAN) for b in (.03,.1,.3)}


def jobs(seeds):
    "What is trained: policy, ranks, who has which samples, way, setting, seed"
    ways,out = [('every step',''), *WAYS],[]
    for policy,kinds in (('float',((4,'mixed'),(2,'mixed'),(2,'by class'))), ('nonary',((2,'mixed'),))):
        for s in range(seeds):
            out += [(policy,*k,*w,s) for k in kinds for w in ways]
            if policy=='float': out += [(policy,4,'mixed',f'groups, {c}','',s) for c in CODES]
    return out


def parts_of(data, n, parts, seed):
    "A step's samples of each rank, for an epoch: every n-th of a shuffled batch, or those of its own classes"
    if parts=='mixed':
        whole = batches(data.x_train, data.y_train, BATCH, seed=seed, shuffle=True)
        return [[(x[r::n],y[r::n]) for r in range(n)] for x,y in whole][:STEPS]
    own = [data.y_train*n//10==r for r in range(n)]
    each = [batches(data.x_train[i], data.y_train[i], BATCH//n, seed=seed, shuffle=True) for i in own]
    return [*zip(*each)][:STEPS]


def learns(net):
    opt,shares = optimizer_of(net, RECIPES['adamw_cosine'], LR)
    return net,opt,shares


def averaged(nets, ranks, state):
    "Put the mean of gradients in the place of each one's"
    grads = [torch.cat([p.grad.reshape(-1) for p in n.parameters()]) for n in nets]
    r = ranks.mean(grads, state.left)
    for n in nets:
        params = [*n.parameters()]
        for p,g in zip(params, r.mean.split([p.numel() for p in params])): p.grad.copy_(g.view_as(p))
    return state._replace(left=r.left, meetings=state.meetings+1, sent=state.sent+r.sent, between=state.between+r.between)


def train(job):
    "A row"
    policy,n,parts,what,setting,seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data,began = load_digits(),time.perf_counter()
    net = Network(*(m for a,b,r in ((64,256,{}),(256,10,dict(reset='none'))) for m in (torch.nn.Linear(a, b),LIF(**r))), steps=25)
    if policy!='float': net = prepare(net, preset(policy), data.x_train[:BATCH])
    state,own = start(net),[learns(copy.deepcopy(net)) for _ in range(n)]
    nets = [m.train() for m,_,_ in own]
    ranks = replicas(groups_of(n, 2), CODES[what[8:]]) if what.startswith('groups') else replicas(groups_of(n, n))
    rule,how = WAYS.get((what,setting), (None,MEAN))
    far,bounds,bound,t = [],[],0.,0
    for e in range(EPOCHS):
        rate = cosine(LR, e, EPOCHS)
        for _,opt,shares in own:
            for g,share in zip(opt.param_groups, shares): g['lr'] = rate*share
        for each in parts_of(data, n, parts, seed_of(seed, e)):
            t += 1
            for (m,opt,_),(x,y) in zip(own, each):
                opt.zero_grad(set_to_none=True)
                cross_entropy(m.answer(x)[0], y).backward()
            if rule is None: state = averaged(nets, ranks, state)
            for _,opt,_ in own: opt.step()
            if rule is None: continue
            bound += rate*adam_stride(t)*math.sqrt(len(state.weights))
            most,before = max(drift(flat(m), state.weights) for m in nets),state
            state = step_done(state, nets, ranks, rule, how)
            if state.meetings>before.meetings:
                far.append(most); bounds.append(bound/float(before.weights.norm())/most); bound = 0.
    if rule and state.steps: state = meet(state, nets, ranks, how)
    same = max(float((flat(m)-flat(nets[0])).abs().max()) for m in nets)
    if same: raise SystemExit(f'{job}: replicas differ by {same}')
    got = evaluate(nets[0].eval(), batches(data.x_test, data.y_test, 360))
    more = dict(drift=statistics.median(far), farthest=max(far), adam=statistics.median(bounds)) if far else {}
    return dict(policy=policy, ranks=n, parts=parts, what=what, setting=setting, seed=seed, accuracy=got['accuracy'], spike_rate=got['spike_rate'], steps=t,
                parameters=len(state.weights), meetings=state.meetings, messages=state.messages, sent=state.sent, between=state.between,
                seconds=round(time.perf_counter()-began, 1))|more
