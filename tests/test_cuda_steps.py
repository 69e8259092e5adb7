"""A training step on a GPU: nothing waits, it may be written down as a graph, and what is wrong is said all the same"""
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quarantion import prepare, preset
from quarantion.checks import CheckError
from quarantion.spikes import LIF, Network
from quarantion.spikes.neuron import RecurrentLIF
from quarantion.spikes.parameters import learnable
from quarantion.train.fit import batches, train_epoch
from quarantion.train.repeated import Repeated, can_repeat

GPU = torch.cuda.is_available()
pytestmark = [pytest.mark.skipif(not GPU, reason='no GPU'), pytest.mark.filterwarnings('ignore:Synchronization debug mode')]
PRESETS = 'int8','int4','nonary','ternary','current8','mint2','tcq4'


def net(seed=0, back=False):
    torch.manual_seed(seed)
    hidden = RecurrentLIF(nn.Linear(40, 40, bias=False), beta=.9) if back else LIF(beta=.9)
    return Network(nn.Linear(20, 40), hidden, nn.Linear(40, 5), LIF(beta=.9, reset='none'), steps=6).cuda()


def data(n=640):
    torch.manual_seed(1)
    x = torch.rand(n, 20)
    return x,(x[:,:5].argmax(1))


def adam(m): return torch.optim.Adam(m.param_groups(1e-3) if hasattr(m, 'param_groups') else m.parameters(), 1e-3, fused=True, capturable=True)


def made(name):
    if name in ('float','recurrent'): return net(back=name=='recurrent')
    if name=='slope':
        learns = net()
        learnable(learns.layers[1], 'slope')
        return learns
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return prepare(net(), preset(name), data()[0][:64].cuda()).train()


@pytest.mark.parametrize('name', ['float','recurrent','slope',*PRESETS])
def test_nothing_waits_in_a_step(name):
    q,(x,y) = made(name),data()
    x,y,opt = x[:64].cuda(),y[:64].cuda(),adam(q)
    def step():
        opt.zero_grad(set_to_none=True)
        F.cross_entropy(q.answer(x)[0], y).backward()
        opt.step()
    for _ in range(3): step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for _ in range(2): step()
    finally: torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('name', ['float','recurrent',*PRESETS])
def test_a_written_step_is_the_step(name, monkeypatch):
    x,y = data()
    def trained():
        q = made(name)
        opt = adam(q)
        for e in range(2): stats = train_epoch(q, opt, batches(x, y, 64, seed=e, shuffle=True, device='cuda'))
        return stats,q.state_dict()
    graphs,write = [],Repeated._write
    monkeypatch.setattr(Repeated, '_write', lambda self,*t: (graphs.append(1), write(self, *t))[1])
    stats,state = trained()
    assert len(graphs)==2
    monkeypatch.setattr('quarantion.train.repeated.can_repeat', lambda opt: False)
    plain,want = trained()
    assert stats==plain and len(graphs)==2
    for k,v in want.items(): assert torch.equal(v, state[k]), k


def test_learns_as_on_a_cpu():
    x,y = data()
    runs = []
    for device in 'cpu','cuda':
        q = prepare(net().cpu(), preset('nonary'), x[:64]).to(device).train()
        opt = torch.optim.Adam(q.param_groups(1e-3), capturable=device=='cuda')
        runs.append([train_epoch(q, opt, batches(x, y, 64, seed=e, shuffle=True, device=device))['loss'] for e in range(3)])
    assert torch.allclose(*map(torch.tensor, runs), rtol=2e-2), runs


def test_another_shape_is_run_as_it_is():
    x,y = data(64*7+10)
    q = made('nonary')
    done = []
    train_epoch(q, adam(q), batches(x, y, 64, device='cuda'), lambda n,stats: done.append(n))
    assert done==[64*7+10]


@pytest.mark.parametrize('name', ['float','nonary'])
@pytest.mark.parametrize('at', [1, 5, 9])
def test_nan_is_found(name, at):
    x,y = data()
    x,y,q = x.cuda(),y.cuda(),made(name)
    bad = x.clone()
    bad[0,0] = torch.nan
    seen = {n:v.clone() for n,v in q.state_dict().items() if 'weights.max_val' in n or 'membrane.max_val' in n}
    feed = [(bad if i==at else x, y) for i in range(12)]
    with pytest.raises(CheckError, match='finite'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        train_epoch(q, adam(q), feed)
    for n in seen: assert q.state_dict()[n].isfinite().all(), n


def test_own_loop_hears_of_it_a_little_later():
    (x,_),q = data(),made('nonary')
    x = x[:64].cuda()
    q(x); torch.cuda.synchronize(); q(x)
    bad = x.clone()
    bad[0,0] = torch.nan
    q(bad)
    torch.cuda.synchronize()
    with pytest.raises(CheckError, match='`x`: expected finite numbers'): q(x)
    q(x)
    q.eval()
    with pytest.raises(CheckError, match='nan at'): q(bad)


def test_the_range_is_proved_now_and_then():
    x,_ = data()
    q = made('nonary')
    q.doubts.often = 4
    x = x[:64].cuda()
    q(x)
    with torch.no_grad(): q.layers[0].bias.fill_(1e12)
    with pytest.raises(CheckError, match='membranes|threshold'):
        for _ in range(5): q(x)


def test_what_cannot_be_written_is_said_and_run():
    x,y = data()
    m = net()
    opt = adam(m)
    def objective(net, x, y):
        scores,rate = net.answer(x)
        return F.cross_entropy(scores, y)*(1 if scores.sum().item()>-1e9 else 2),scores,rate
    with pytest.warns(UserWarning, match='CUDA graph can hold'):
        train_epoch(m, opt, batches(x, y, 64, device='cuda'), objective=objective)
    stats = train_epoch(m, opt, batches(x, y, 64, device='cuda'))
    assert stats['accuracy']>0


def test_a_loss_that_somebody_holds_is_no_hindrance():
    (x,y),q = data(),made('nonary')
    held = F.cross_entropy(q.answer(x[:64].cuda())[0], y[:64].cuda())
    kept = q(x[:64].cuda())
    stats = train_epoch(q, adam(q), batches(x, y, 64, device='cuda'))
    assert stats['loss']>0 and held.requires_grad and kept[0].requires_grad


def test_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        x,y = data()
        states = []
        for _ in range(2):
            q = made('nonary')
            train_epoch(q, adam(q), batches(x, y, 64, seed=0, shuffle=True, device='cuda'))
            states.append(q.state_dict())
        for k,v in states[0].items(): assert torch.equal(v, states[1][k]), k
    finally: torch.use_deterministic_algorithms(False)


def test_an_optimizer_that_counts_in_python_is_not_written_down():
    assert not can_repeat(torch.optim.Adam(net().parameters()))
    assert can_repeat(adam(net()))


def test_no_steps_and_no_samples():
    q = made('nonary')
    with pytest.raises(CheckError): q(torch.rand(0, 4, 20, device='cuda'))
    assert q(torch.rand(3, 0, 20, device='cuda'))[1].shape==(3,0,5)
    assert net()(torch.rand(3, 0, 20, device='cuda'))[1].shape==(3,0,5)


@pytest.mark.parametrize('policy', ['nonary', 'current8'])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(policy, tmp_path):
    from quarantion.train import job
    from quarantion.train.config import Config
    cfg = Config(epochs=3, qat_epochs=3, hidden=64, steps=8, policy=policy, device='cuda')
    split = job.load_data(cfg)
    def run(stop=None):
        r = job.start(cfg, tmp_path/str(stop))
        def progress(phase, epoch, epochs, done, total, stats):
            if (phase,epoch)==stop: raise KeyboardInterrupt(done)
        if stop:
            with pytest.raises(KeyboardInterrupt): job.train(r, split, progress)
        return job.train(r, split)[1].state_dict()
    want = run()
    for stop in ('float',1),('qat',0),('qat',2):
        got = run(stop)
        for k,v in want.items(): assert torch.equal(v, got[k]), (stop, k)


def test_two_devices_are_refused():
    m,q = net(),made('nonary')
    for n in m,q:
        with pytest.raises(CheckError, match='on cuda:0, as the weights, found on cpu'): n(torch.rand(3, 20))


def test_a_full_card_says_what_would_fit():
    m = net()
    with pytest.raises(CheckError, match=r'layer \d: memory: expected room for 2000000 samples \(about \d+ fit'): m(torch.rand(400, 2_000_000, 20, device='cuda'))
    assert m(torch.rand(4, 20, device='cuda'))[1].shape==(6,4,5)


def test_another_learning_rate_is_taken_at_once(monkeypatch):
    x,y = data()
    x,y = x[:64].cuda(),y[:64].cuda()
    def trained(rates):
        m = net()
        opt = adam(m)
        def feed():
            for lr in rates:
                for g in opt.param_groups: g['lr'] = lr
                yield x,y
        train_epoch(m, opt, feed())
        return m.state_dict()
    rates = [1e-3]*6+[1e-2]*6
    got = trained(rates)
    monkeypatch.setattr('quarantion.train.repeated.can_repeat', lambda opt: False)
    for k,v in trained(rates).items(): assert torch.equal(v, got[k]), k


@pytest.mark.filterwarnings('ignore') # of torch's compiler
@pytest.mark.parametrize('name', ['float','nonary'])
def test_a_compiled_step_is_the_step(name):
    q,(x,y) = made(name),data(64)
    def grads(run):
        q.zero_grad(set_to_none=True)
        F.cross_entropy(run(x.cuda())[1].mean(0), y.cuda()).backward()
        return [p.grad.clone() for p in q.parameters() if p.grad is not None]
    want = grads(q.eval()) # observers stand
    for a,b in zip(grads(torch.compile(q)), want, strict=True): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
