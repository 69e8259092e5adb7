"Recipes, and what goes between gradients and a step: against torch, by hand, and refused where it cannot be"
import copy, json, math
from dataclasses import replace
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as S
from quarantion.checks import CheckError
from quarantion.cli import main
from quarantion.files import load_tensors, save_tensors
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train import job
from quarantion.train.config import Config
from quarantion.train.fit import batches, load_optimizer, optimizer_tensors, train_epoch
from quarantion.train.recipes import OPTIMIZERS, RECIPES, SCHEDULES, Recipe, arguments, optimizer_of, plateau, recipe_of, thirds, warmed
from quarantion.train.updates import Update, slow_copy, slowly, take, uphill

pytestmark = pytest.mark.filterwarnings('default:a threshold of')


def dummy(lr=1.): return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)

def net_of(seed=0, quantized=False, **how):
    torch.manual_seed(seed)
    net = Network(nn.Linear(12,24), LIF(), nn.Linear(24,4), LIF(reset='none'), steps=6, **how)
    with torch.no_grad(): net.layers[0].weight *= 2
    return prepare(net, preset('nonary'), torch.rand(50, 12)).train() if quantized else net

def samples(n=128, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 12, generator=g),torch.randint(4, (n,), generator=g)

def same(a, b): return all(torch.equal(p, q) for p,q in zip(a.parameters(), b.parameters()))


# schedules

@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(1e-3, 10), max_size=60))
def test_plateau_is_that_of_torch(losses):
    opt = dummy()
    theirs = S.ReduceLROnPlateau(opt, 'min', .5, 2, min_lr=.002)
    for i,loss in enumerate(losses):
        theirs.step(loss)
        assert plateau(1., i, 99, losses[:i+1])==pytest.approx(opt.param_groups[0]['lr'], rel=1e-12)

@pytest.mark.parametrize('epochs', [3,6,15,30])
def test_thirds_are_the_steps_of_torch(epochs):
    opt = dummy()
    theirs = S.StepLR(opt, epochs//3, .1)
    for e in range(epochs):
        assert thirds(1., e, epochs, [])==pytest.approx(opt.param_groups[0]['lr'], rel=1e-12)
        opt.step(); theirs.step()

@pytest.mark.parametrize('name', SCHEDULES)
def test_rates_are_positive_and_never_above_the_first(name):
    for epochs in 1,2,7,100:
        for e in range(epochs): assert 0<SCHEDULES[name](.3, e, epochs, [1.]*e)<=.3

def test_warm_up_goes_on_where_an_epoch_ended():
    opt,seen = dummy(2.),[]
    theirs = (o := dummy(2.)) and S.LinearLR(o, .01, total_iters=50)
    for epoch in range(4):
        opt.param_groups[0]['lr'] = 2.
        for _ in warmed(range(20), opt, 20*epoch, 50): seen.append(opt.param_groups[0]['lr'])
    for lr in seen:
        assert lr==pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        o.step(); theirs.step()


# optimizers

@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_learns_and_goes_on_from_its_tensors(name):
    "Through the tensors of a checkpoint, to the last bit; float and quantized"
    for quantized in False,True:
        x,y = samples()
        net = net_of(quantized=quantized)
        before,recipe = copy.deepcopy(net),Recipe(name)
        opt,shares = optimizer_of(net, recipe, 1e-2)
        train_epoch(net, opt, batches(x, y, 32))
        assert not same(net, before) and all(p.isfinite().all() for p in net.parameters())
        twin = copy.deepcopy(net)
        again,_ = optimizer_of(twin, recipe, 1e-2)
        load_optimizer(again, optimizer_tensors(opt))
        for n,o in (net,opt),(twin,again): train_epoch(n, o, batches(x, y, 32, seed=3, shuffle=True))
        assert same(net, twin), name

def test_the_usual_optimizer_is_adam():
    x,y = samples()
    a,b = net_of(),net_of()
    opt,shares = optimizer_of(a, recipe_of('adamw_cosine'), 1e-2)
    for n,o in (a,opt),(b,torch.optim.Adam(b.parameters(), 1e-2, fused=True)): train_epoch(n, o, batches(x, y, 32))
    assert same(a, b) and shares==[1.]

def test_only_weights_decay():
    q = net_of(quantized=True)
    opt,shares = optimizer_of(q, recipe_of('adamw_cosine', words=('weight_decay=0.1',)), 1e-2)
    for g in opt.param_groups: assert all((p.ndim>1)==(g['weight_decay']>0) for p in g['params'])
    assert sum(len(g['params']) for g in opt.param_groups)==len(list(q.parameters())) and min(shares)==pytest.approx(.01)

@pytest.mark.parametrize('name,words,said', [
    ('SGDW', (), "`optimizer`: expected one of ASGD, .*, found 'SGDW'"), ('LBFGS', (), '`optimizer`'), ('Optimizer', (), '`optimizer`'),
    ('SGD', ('momentun=0.9',), "`opt_args`: expected one of momentum, dampening, weight_decay, nesterov, found 'momentun'"), ('SGD', ('lr=1',), "found 'lr'"),
    ('SGD', ('momentum=0.9','dampening=1e300'), "a finite number of float32, several with spaces between, true or false, found '1e300'"),
    ('SGD', ('momentum',), "`momentum`: `opt_args`: expected a finite number"), ('SGD', ('momentum=fast',), "found 'fast'"), ('SGD', ('momentum=nan',), "found 'nan'"),
    ('SGD', ('momentum=inf',), "found 'inf'"), ('SGD', ('momentum=-1',), 'arguments that torch takes, found Invalid momentum'), ('SGD', ('nesterov=true',), 'Nesterov momentum requires'),
    ('Adam', ('betas=0.9',), '`opt_args`: expected arguments that torch takes'), ('Adam', ('betas=0.9 1.5',), 'Invalid beta'), ('Adam', ('fused=true',), "found 'fused'")])
def test_arguments_are_refused(name, words, said):
    with pytest.raises(CheckError, match=said): arguments(name, words)

@pytest.mark.parametrize('how,said', [(dict(warmup=.5), '`warmup`: expected whole steps >= 0, found 0.5'), (dict(warmup=-1), 'found -1'), (dict(warmup=True), 'whole steps'),
    (dict(schedule='linear'), "`schedule`: expected one of cosine, thirds, plateau, found 'linear'"), (dict(times=0.), '`times`'), (dict(times=math.nan), '`times`'), (dict(optimizer='x'), '`optimizer`')])
def test_impossible_recipes_are_refused(how, said):
    with pytest.raises(CheckError, match=said): Recipe(**how)


# between gradients and a step

KINDS = dict(constant=(False,{},lambda x: x), time=(False,{},lambda x: x.expand(6, *x.shape)), batch_first=(False,dict(batch_first=True),lambda x: x[:,None].expand(-1, 6, -1)),
    quantized=(True,{},lambda x: x))

@pytest.mark.parametrize('kind', KINDS)
def test_four_of_32_are_128(kind):
    quantized,how,along = KINDS[kind]
    x,y = samples()
    nets = [net_of(quantized=quantized, **how) for _ in range(2)]
    stats = [train_epoch(n, torch.optim.SGD(n.parameters(), 0.), [(along(x),y)], update=Update(pieces=p)) for n,p in zip(nets, (1,4))]
    for a,b in zip(*(n.parameters() for n in nets)): assert (a.grad-b.grad).abs().max()<=1e-6
    assert stats[0]==pytest.approx(stats[1], rel=1e-6)

def test_pieces_of_any_number():
    x,y = samples(10)
    whole = net_of()
    train_epoch(whole, torch.optim.SGD(whole.parameters(), 0.), [(x,y)])
    for pieces in 3,7,10,99:
        net = net_of()
        train_epoch(net, torch.optim.SGD(net.parameters(), 0.), [(x,y)], update=Update(pieces=pieces))
        for a,b in zip(net.parameters(), whole.parameters()): assert (a.grad-b.grad).abs().max()<=1e-6

@pytest.mark.parametrize('clip', [1e-3,1e3])
def test_gradients_are_cut_as_by_torch(clip):
    x,y = samples()
    a,b = net_of(),net_of()
    train_epoch(a, torch.optim.SGD(a.parameters(), .1), [(x,y)], update=Update(clip=clip))
    opt = torch.optim.SGD(b.parameters(), .1)
    F.cross_entropy(b.answer(x)[0], y).backward()
    nn.utils.clip_grad_norm_(b.parameters(), clip)
    opt.step()
    assert same(a, b)

def test_uphill_is_as_written_out():
    x,y = samples()
    a,b = net_of(),net_of()
    train_epoch(a, torch.optim.SGD(a.parameters(), .1), [(x,y)], update=Update(sam=.3))
    loss = lambda: F.cross_entropy(b.answer(x)[0], y)
    loss().backward()
    weights = [p for p in b.parameters() if p.ndim>1]
    own,norm = [p.detach().clone() for p in weights],math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in weights))
    with torch.no_grad():
        for p in weights: p += .3*p.grad/norm
    b.zero_grad()
    loss().backward()
    with torch.no_grad():
        for p,v in zip(weights, own): p.copy_(v)
    torch.optim.SGD(b.parameters(), .1).step()
    for p,q in zip(a.parameters(), b.parameters()): assert (p-q).abs().max()<1e-6

def test_who_went_uphill_comes_back_whatever_happens():
    net = net_of()
    x,y = samples()
    F.cross_entropy(net.answer(x)[0], y).backward()
    before = copy.deepcopy(net)
    with pytest.raises(KeyError):
        with uphill(list(net.parameters()), 1.):
            assert not same(net, before)
            raise KeyError
    assert same(net, before)
    still = [nn.Parameter(torch.ones(2, 2))] # without a gradient
    with uphill(still, 1.): assert (still[0]==1).all()

def test_the_mean_follows_and_codes_are_taken_from_it():
    q = net_of(quantized=True)
    x,y = samples()
    mean,want = slow_copy(q),{k:p.detach().double() for k,p in q.named_parameters()}
    opt,_ = optimizer_of(q, RECIPES['adamw_cosine'], .05)
    for i in range(4):
        train_epoch(q, opt, [(x[32*i:32*i+32],y[32*i:32*i+32])], update=Update(decay=.7, mean=mean))
        want = {k:.7*want[k]+.3*p.detach().double() for k,p in q.named_parameters()}
    for k,v in mean.items(): assert (v-want[k]).abs().max()<1e-6
    twin = copy.deepcopy(q)
    take(mean, twin)
    with slowly(mean, q): during = [l.codes().ints.weight.clone() for l in q.layers]
    own = [l.codes().ints.weight for l in q.layers]
    assert all(torch.equal(a, l.codes().ints.weight) for a,l in zip(during, twin.layers)) and not all(map(torch.equal, during, own))
    with slowly({}, q): assert all(map(torch.equal, own, [l.codes().ints.weight for l in q.layers]))

def test_half_the_bits_of_a_forward_pass():
    net = net_of()
    x,y = samples()
    seen = []
    def objective(net, x, y):
        scores,rate = net.answer(x)
        seen.append(net.record(x)[0].mem.dtype)
        return F.cross_entropy(scores, y),scores,rate
    train_epoch(net, torch.optim.SGD(net.parameters(), .1), [(x,y)], objective=objective, update=Update(bf16=True))
    assert seen==[torch.bfloat16] and all(p.dtype==p.grad.dtype==torch.float32 for p in net.parameters())

@pytest.mark.parametrize('how,said', [(dict(clip=-1.), '`clip`'), (dict(clip=math.nan), '`clip`'), (dict(sam=-.1), '`sam`'), (dict(sam=math.inf), '`sam`'),
    (dict(pieces=0), '`pieces`'), (dict(pieces=1.5), '`pieces`'), (dict(decay=1.5), '`decay`'), (dict(bf16='yes'), '`bf16`')])
def test_impossible_updates_are_refused(how, said):
    net,(x,y) = net_of(),samples()
    with pytest.raises(CheckError, match=said): train_epoch(net, torch.optim.SGD(net.parameters(), .1), [(x,y)], update=Update(**how))


# a run

SMALL = dict(epochs=2, qat_epochs=2, hidden=16, steps=8)

def trained(tmp_path, **how):
    cfg = Config(**SMALL|how)
    split,run = job.load_data(cfg),job.start(cfg, tmp_path)
    return run,split,job.train(run, split)

def test_narrow_in_the_float_phase_only(tmp_path, monkeypatch):
    seen = []
    def spied(net, *args): seen.append((type(net).__name__, args[-1].bf16, args[-1].pieces, args[-1].clip)); return train_epoch(net, *args)
    monkeypatch.setattr(job, 'train_epoch', spied)
    trained(tmp_path, autocast='bf16', accumulate=2, clip=1.)
    assert seen==[('Network',True,2,1.)]*2+[('QuantNetwork',False,2,1.)]*2

def test_the_network_becomes_its_mean(tmp_path):
    "What is evaluated is what is lowered; a checkpoint without its mean is refused"
    run,split,(net,q,acc) = trained(tmp_path, ema=.9)
    result = job.finish(run, split, net, q, acc)
    rows = [json.loads(l) for l in (run/'metrics.jsonl').read_text().splitlines()]
    assert result['mismatches']==0 and result['test_accuracy']==rows[-1]['test_accuracy'] and result['float_accuracy']==rows[1]['test_accuracy']
    path = run/'checkpoints'/'last.safetensors'
    tensors,head = load_tensors(path, job.CHECKPOINT, job.RUN_VERSION)
    for k,v in tensors.items():
        if k.startswith('mean.'): assert (torch.as_tensor(v)==dict(q.named_parameters())[k[5:]]).all()
    kept = {k:v for k,v in tensors.items() if k!='mean.layers.0.bias'}
    assert len(kept)==len(tensors)-1
    save_tensors(path, kept, dict(format=job.CHECKPOINT, version=job.RUN_VERSION, **{k:head[k] for k in ('phase','epoch','float_accuracy','metrics','audit')}))
    with pytest.raises(CheckError, match=r'tensor `mean.layers.0.bias`: expected \(16,\), found none'): job.train(run, split)

def test_rates_of_a_plateau_come_from_the_losses_that_are_written(tmp_path):
    run,split,_ = trained(tmp_path, recipe='plateau', lr=1e-9, epochs=6) # nothing is learned, so nothing falls
    rows = [json.loads(l) for l in (run/'metrics.jsonl').read_text().splitlines()]
    losses = [r['loss'] for r in rows if r['phase']=='float']
    assert [r['lr'] for r in rows if r['phase']=='float']==[plateau(1e-9, e, 6, losses[:e]) for e in range(6)]

@pytest.mark.parametrize('args,words', [
    (('--recipe','sdg'), ('`recipe`','adamw_cosine',"'sdg'")), (('--optimizer','SGDW'), ('`optimizer`','SGD',"'SGDW'")), (('--optimizer','LBFGS'), ('`optimizer`',"'LBFGS'")),
    (('--opt-args','momentum=0.9'), ('`opt_args`','betas',"'momentum'")), (('--opt-args','eps=-1'), ('`opt_args`','torch','epsilon')), (('--sam',-1), ('`sam`','[0, 1e6]')),
    (('--clip','nan'), ('`clip`','nan')), (('--accumulate',0), ('`accumulate`',)), (('--accumulate',65), ('`accumulate`','at most 64','65')), (('--ema',1), ('`ema`','[0, 1)')),
    (('--autocast','fp8'), ('`autocast`','bf16',"'fp8'")), (('--recipe','warmup_cosine','--epochs',4), ('`recipe`','float network','more than 100 steps','92, 4 epochs of 23')),
    (('--recipe','rmsprop','--qat-epochs',2), ('`recipe`','quantized network','46, 2 epochs of 23'))])
def test_bad_settings(capsys, tmp_path, args, words):
    with pytest.raises(SystemExit) as e: main(['run', *map(str, args), '--out', str(tmp_path/'runs')])
    out,err = capsys.readouterr()
    assert e.value.code==2 and not out and err.count('\n')==1 and not (tmp_path/'runs').exists()
    for w in words: assert w in err, err

def test_files_say_only_what_was_asked(tmp_path):
    run,split,(net,q,acc) = trained(tmp_path, recipe='sgd_step', opt_args='nesterov=false')
    job._save_networks(run, job.settings(run), net, q, acc)
    said = load_tensors(run/'model.safetensors', job.MODEL, job.RUN_VERSION)[1]['config']
    assert (said['recipe'],said['opt_args'],said['lr'])==('sgd_step',['nesterov=false'],.01) and not {'loss','sam','ema','autocast'}&{*said}
    assert replace(job.settings(run), seed=1).lr==.01
