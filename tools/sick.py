"""Sick networks, made by seed, in the loop of users: what ails them is planted, and nobody who treats them is told.

A network is trained in real numbers and then, where its ailment is one of codes, in whole ones, by the functions of
`train.fit` and `train.recipes`; an ailment changes its parameters, its settings, its input or its labels before that."""
import copy
import math
from typing import NamedTuple

import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant.network import QuantNetwork, prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.spikes.parameters import settle
from quarantion.spikes.stage import stages
from quarantion.train.course import Held, eased
from quarantion.train.diagnosis import causes_of, diagnosed, renewed
from quarantion.train.fit import evaluate, load_optimizer, optimizer_tensors, seed_of, train_epoch
from quarantion.train.heal import Plan, Saved, Told, treated
from quarantion.train.losses import rate_ceiling
from quarantion.train.recipes import optimizer_of, recipe_of
from quarantion.train.seen import last_step
from quarantion.train.signals import signals
from quarantion.train.updates import Update

EPOCHS,QAT_EPOCHS,BATCH,PROBE = 20,10,64,128


def mlp(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(nn.Linear(64, 32), LIF(), nn.Linear(32, 10), LIF(reset='none'))


def conv(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 8, 3, padding=1), LIF(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1), LIF(), nn.Flatten(), nn.Linear(256, 10)
        return Network(*layers, LIF(reset='none'), in_shape=(1,8,8), steps=10)


NETWORKS = dict(mlp=mlp, conv=conv)


class Case(NamedTuple):
    "What is trained; an ailment changes it"
    net:nn.Module
    lr:float
    x:torch.Tensor # Training samples
    y:torch.Tensor
    x_test:torch.Tensor
    y_test:torch.Tensor
    seed:int
    policy:str='' # Of what is trained after the real network; none if empty
    codes:object=lambda q: None # What happens to the quantized network before it is trained


def case_of(name, seed, policy=''):
    net,d = NETWORKS[name](seed),load_digits()
    shaped = lambda s: s.x.reshape(-1, *net.in_shape)
    return Case(net, 2e-3, shaped(d.train), d.train.y, shaped(d.test), d.test.y, seed, policy)


def first(net): return stages(net)[0]

@torch.no_grad()
def dead(c, by):
    s = first(c.net).synapse
    s.weight.mul_(.01); s.bias.fill_(-by)
    return c

@torch.no_grad()
def exploding(c, by):
    first(c.net).synapse.bias.add_(by)
    return c

def on_input(c, f): return c._replace(x=f(c.x), x_test=f(c.x_test))

def outlier(c, by):
    def hot(x):
        x = x.clone()
        x.flatten(1)[:,27] *= by # a pixel in the middle
        return x
    return on_input(c, hot)._replace(policy='nonary') # whose input codes then hold nothing else

def collapse(c, by):
    @torch.no_grad()
    def change(q):
        for l in q.layers:
            for p in l.scale,l.scale_min: p.mul_(by)
    return c._replace(policy='nonary', codes=change)

coarse = collapse # by a number above 1

def rate(c, by): return c._replace(lr=c.lr*by)

def theta(c, by):
    first(c.net).neurons.threshold.mul_(by)
    return c

def no_leak(c, by):
    for s in stages(c.net): s.neurons.beta.fill_(by)
    return c

def scaled(c, by): return on_input(c, lambda x: x*by)

def shuffled(c, share):
    g = torch.Generator().manual_seed(c.seed)
    some = torch.randperm(len(c.y), generator=g)[:int(len(c.y)*share)]
    y = c.y.clone()
    y[some] = y[some[torch.randperm(len(some), generator=g)]]
    return c._replace(y=y)

def steep(c, by):
    for s in stages(c.net): s.neurons.slope = float(by)
    return c


class Ailment(NamedTuple):
    "What is planted, and what it is called by those who find it"
    plant:object # Function of a `Case` and a strength
    named:tuple # Causes that say it
    strengths:dict # By network: raised until an untreated network is 5 points below a healthy one


AILMENTS = dict(
    dead=Ailment(dead, ('silent',), dict(mlp=20, conv=20)),
    exploding=Ailment(exploding, ('saturated',), dict(mlp=20, conv=20)),
    outlier=Ailment(outlier, ('outlier',), dict(mlp=300, conv=1000)),
    collapse=Ailment(collapse, ('scale_small',), dict(mlp=.02, conv=.02)),
    rate=Ailment(rate, ('rate',), dict(mlp=60, conv=60)),
    theta=Ailment(theta, ('theta_high',), dict(mlp=100, conv=100)),
    no_leak=Ailment(no_leak, ('no_leak',), dict(mlp=1., conv=1.)),
    scale=Ailment(scaled, ('input_large',), dict(mlp=255, conv=2550)),
    labels=Ailment(shuffled, ('labels',), dict(mlp=.5, conv=.5)),
    slope=Ailment(steep, ('slope_steep',), dict(mlp=5e4, conv=5e4)),
    tiny=Ailment(scaled, ('input_small',), dict(mlp=1/255, conv=1/255)), # these two in the place of any that make nobody sick
    coarse=Ailment(coarse, ('scale_large',), dict(mlp=30, conv=30)))

TEN = dict(mlp=('dead','exploding','outlier','collapse','rate','theta','tiny','scale','labels','slope'),
           conv=('dead','exploding','outlier','collapse','rate','theta','tiny','coarse','labels','slope'))
FAILED = dict(mlp=('no_leak',), conv=('no_leak','scale')) # planted too, and told, but nobody falls sick of them


class Line(NamedTuple):
    "An epoch"
    phase:str
    epoch:int
    loss:float
    accuracy:float
    test:float
    alarms:tuple # Causes, the most trusted first
    events:tuple


def model_of(c, net): # the network of a phase, and how long it is
    if not isinstance(net, QuantNetwork): return c.lr,EPOCHS
    return c.lr/4,QAT_EPOCHS


def epoch_of(c, held, opt, shares, e, epochs, lr):
    "Train for an epoch; the loss is NaN where there was none"
    net,course,recipe = held.net,held.course,recipe_of('adamw_cosine')
    rate_now = recipe.rate(lr, e, epochs, [])*course.lr
    for g,s in zip(opt.param_groups, shares): g['lr'] = rate_now*s
    q = int(isinstance(net, QuantNetwork))
    data = ((eased(x, course),y) for x,y in shuffled_batches(c, seed_of(c.seed, q, e)))
    penalty = lambda net,rate: 2*rate_ceiling(rate, course.max_rate) if course.max_rate<1 else 0.
    with last_step(net, opt, math.ceil(len(c.x)/BATCH)) as step:
        try: stats = train_epoch(net, opt, data, penalty=penalty, update=Update(clip=course.clip))
        except CheckError: stats = dict(loss=math.nan, accuracy=0.)
    return stats,step


def shuffled_batches(c, seed):
    order = torch.randperm(len(c.x), generator=torch.Generator().manual_seed(seed))
    yield from ((c.x[i],c.y[i]) for i in order.split(BATCH))


def tested(c, held):
    pieces = zip(c.x_test.split(500), c.y_test.split(500))
    return evaluate(held.net, ((eased(x, held.course),y) for x,y in pieces))['accuracy']


def looked(c, held, step, before, stats, test):
    s = signals(held.net, eased(c.x[:PROBE], held.course), c.y[:PROBE], step, before)
    return s._replace(loss=stats['loss'], accuracy=stats['accuracy'], test_accuracy=test)


def phase(c, held, act, causes, name):
    "All epochs of a phase: what goes on, and its lines"
    lr,epochs = model_of(c, held.net)
    saved,plan,state,before,lines = Saved(),Plan(),None,None,[]
    saved.put('good', held)
    held = held._replace(opt={})
    opt,shares = optimizer_of(held.net, recipe_of('adamw_cosine'), lr)
    e = -1
    while (e := e+1)<epochs+held.course.extra:
        stats,step = epoch_of(c, held, opt, shares, e, epochs, lr)
        test = tested(c, held)
        before = looked(c, held, step, before, stats, test)
        alarms,state = diagnosed(before, state, causes)
        held,events = held._replace(opt=optimizer_tensors(opt)),[]
        if act:
            told = Told(alarms, state['values'], stats['loss'], e)
            new,plan,events = treated(held, saved, plan, told, c.x[:PROBE])
            if events:
                held,state = new,renewed(state)
                opt,shares = optimizer_of(held.net, recipe_of('adamw_cosine'), lr)
                if held.opt: load_optimizer(opt, held.opt)
        lines.append(Line(name, e, stats['loss'], stats['accuracy'], test, tuple(a.cause for a in alarms), tuple((v['event'],v['cause'],v['action']) for v in events)))
        if not math.isfinite(stats['loss']) and not events: break # nothing will come of it
    return held,lines


def run(network, seed, ailment='', act=True, strength=None, policy=''):
    "Train a network, healthy or with an ailment; its lines"
    c = case_of(network, seed, policy)
    if ailment: c = AILMENTS[ailment].plant(c, AILMENTS[ailment].strengths[network] if strength is None else strength)
    causes = causes_of()
    held,lines = phase(c, Held(c.net, {}), act, causes, 'float')
    if not c.policy: return lines
    q = prepare(settle(copy.deepcopy(held.net)), preset(c.policy), eased(c.x[:256], held.course)).train()
    c.codes(q)
    return lines+phase(c, held._replace(net=q, opt={}, course=held.course._replace(lr=1.)), act, causes, 'qat')[1]


def found(lines, a):
    "The epoch, from 1, in which what was planted was first among the first two named, in the phase in which it shows; None: never"
    last = lines[-1].phase if a.plant in (collapse,coarse) else 'float'
    return next((l.epoch+1 for l in lines if l.phase==last and set(a.named)&set(l.alarms[:2])), None)


def treat(network, seed, ailment):
    "A sick network, untreated and treated: a row"
    a = AILMENTS[ailment]
    runs = {k:run(network, seed, ailment, act) for k,act in (('untreated',False), ('treated',True))}
    acts = [e for l in runs['treated'] for e in l.events]
    return dict(strength=a.strengths[network], policy=case_and(network, seed, ailment).policy, named=found(runs['untreated'], a),
        said=[list(l.alarms[:3]) for l in runs['untreated'] if l.phase==runs['untreated'][-1].phase][:3],
        interventions=sum(e[0]=='intervened' for e in acts), undone=sum(e[0]=='undone' for e in acts),
        done=[e[2] for e in acts if e[0]=='kept'], **{k:r[-1].test for k,r in runs.items()}, curves={k:[round(l.test, 4) for l in r] for k,r in runs.items()})


def case_and(network, seed, ailment): return AILMENTS[ailment].plant(case_of(network, seed), AILMENTS[ailment].strengths[network])


def healthy(network, seed, policy=''):
    "A network that nothing ails, under the eyes of who may act: a row"
    lines = run(network, seed, act=True, policy=policy)
    alarms,before = 0,()
    for l in lines: # those that were raised
        alarms,before = alarms+len([a for a in l.alarms if a not in before or l.epoch==0]),l.alarms
    return dict(accuracy=lines[-1].test, epochs=len(lines), alarms=alarms, said=sorted({a for l in lines for a in l.alarms}),
        interventions=sum(e[0]=='intervened' for l in lines for e in l.events), curve=[round(l.test, 4) for l in lines])


# What a careful person does without a look inside: the range test of Lightning's learning-rate finder, gradients clipped at 1,
# a stop where held-out samples are answered no better, and the best of three beginnings, in the same number of steps altogether

def find_rate(net, pieces, steps=100, least=1e-8, most=1.):
    "Lightning's algorithm: rates rise exponentially, the loss is smoothed, and the steepest descent is suggested"
    net,lrs,losses,mean,best = copy.deepcopy(net),[],[],0.,math.inf
    opt = torch.optim.Adam(net.parameters(), least)
    for i,(x,y) in enumerate(pieces(steps)):
        lr = least*(most/least)**(i/(steps-1))
        for g in opt.param_groups: g['lr'] = lr
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net.answer(x)[0], y)
        loss.backward(); opt.step()
        mean = .98*mean+.02*float(loss.detach())
        now = mean/(1-.98**(i+1))
        if not math.isfinite(now) or i>0 and now>4*best: break
        best = min(best, now)
        lrs.append(lr); losses.append(now)
    some = torch.tensor(losses[10:-1])
    if len(some)<3: return 1e-3
    return lrs[10+int(torch.gradient(some)[0].argmin())]


def best_of(nets, c, epochs):
    "The best of some networks by held-out samples, each with its part of the steps; all that is planted is in them and in `c`"
    cut = len(c.x)*9//10
    per = math.ceil(cut/BATCH)
    def pieces(n, seed=0):
        order = torch.cat([torch.randperm(cut, generator=torch.Generator().manual_seed(seed_of(c.seed, seed, e))) for e in range(n//per+2)])
        return ((c.x[i],c.y[i]) for i in list(order.split(BATCH))[:n])
    lr,share,best = find_rate(nets[0], pieces),(epochs*per-100)//len(nets),(-1.,None)
    for k,net in enumerate(nets):
        opt,top,bad,done = torch.optim.Adam(net.parameters(), lr),-1.,0,0
        while done<share and bad<5: # patience
            n = min(per, share-done)
            try: train_epoch(net, opt, pieces(n, k*1000+done), update=Update(clip=1.))
            except CheckError: break
            done += n
            seen = evaluate(net, [(c.x[cut:],c.y[cut:])])['accuracy']
            top,bad = (seen,0) if seen>top else (top,bad+1)
            if seen>best[0]: best = seen,copy.deepcopy(net)
    return best[1] if best[1] is not None else nets[0]


def peer(network, seed, ailment):
    "The same sick network in other hands: a row"
    cs = [case_and(network, s, ailment) for s in (seed, seed+100, seed+200)]
    c = cs[0]
    net = best_of([o.net for o in cs], c, EPOCHS)
    if c.policy:
        qs = [prepare(settle(copy.deepcopy(net)), preset(c.policy), c.x[:256]).train() for _ in range(3)]
        for q in qs: c.codes(q)
        net = best_of(qs, c, QAT_EPOCHS)
    return dict(accuracy=tested(c, Held(net, {})))
