"A foreign loop that is watched learns the same weights, and nothing is left of it."
import copy
import gc
import io
import math
import pickle
import random
import weakref

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils.data import DataLoader, Dataset, TensorDataset

from quarantion.checks import CheckError
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.listening import listening, probe, watch

pytestmark = pytest.mark.filterwarnings('ignore')
N = 60


class Leaky(nn.Module):
    "Two layers, a loop over time in `forward`, dropout"
    def __init__(self, make, delay=True):
        super().__init__()
        how = {} if delay is None else dict(reset_delay=delay)
        self.fc1,self.fc2,self.drop = nn.Linear(12,20),nn.Linear(20,3),nn.Dropout(.3)
        self.lif1,self.lif2 = make(20, init_hidden=True, **how),snn.Leaky(beta=.9, init_hidden=True, output=True, reset_mechanism='none')

    def forward(self, x):
        for m in self.lif1,self.lif2: m.reset_mem()
        out = []
        for _ in range(6): out.append(self.lif2(self.fc2(self.drop(self.lif1(self.fc1(x)))))[1])
        return torch.stack(out).mean(0)


MAKES = dict(leaky=lambda n, **k: snn.Leaky(beta=.9, **k), zero=lambda n, **k: snn.Leaky(beta=.9, reset_mechanism='zero', **k),
             synaptic=lambda n, **k: snn.Synaptic(alpha=.8, beta=.9, **k),
             alpha=lambda n, **k: snn.Alpha(alpha=.9, beta=.8, **{a:v for a,v in k.items() if a!='reset_delay'}),
             rleaky=lambda n, **k: snn.RLeaky(beta=.9, linear_features=n, **k))


class Jittered(Dataset):
    "Samples that every generator of random numbers moves"
    def __len__(self): return N
    def __getitem__(self, i):
        x = torch.full((12,), (i%3)/3)+.1*torch.rand(12)+.1*random.random()+.1*float(np.random.rand())
        return x,i%3


def plain():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(N)%3
    return TensorDataset(torch.rand(N,12, generator=g)+y[:,None]/3, y)


def trained(model, data, generator, watched, epochs=2, opt=torch.optim.Adam, lr=2e-3):
    torch.manual_seed(7); np.random.seed(7); random.seed(7)
    loader = DataLoader(data, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(5) if generator else None)
    opt = opt(model.parameters(), lr)
    w = watch(model, loader) if watched else None
    for _ in range(epochs):
        for x,y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            opt.step()
        with torch.no_grad(): model.eval()(x)
        model.train()
    return w,torch.get_rng_state(),random.random(),float(np.random.rand())


@pytest.mark.parametrize('kind', MAKES)
def test_the_same_weights(kind):
    torch.manual_seed(1)
    start = Leaky(MAKES[kind], None if kind=='alpha' else kind!='zero')
    for data in (plain(),Jittered()):
        for generator in (False,True) if kind=='leaky' else (True,):
            ends = []
            for watched in False,True:
                model = copy.deepcopy(start)
                w,*rng = trained(model, data, generator, watched)
                ends.append((model.state_dict(),rng))
            (a,ra),(b,rb) = ends
            assert all(torch.equal(a[k], b[k]) for k in a) and torch.equal(ra[0], rb[0]) and ra[1:]==rb[1:]
            assert len(w.records)==2 and [l.name for l in w.records[0].layers]==['lif1','lif2']
            l,out = w.records[-1].layers
            assert l.fires and not out.fires and l.neurons==20 and 0<=l.rate<=1 and l.grad>0 and l.update>0 and l.grad_ratio>0
            assert l.beta==pytest.approx(.8 if kind=='alpha' else .9) and w.records[-1].lr==2e-3 and w.records[-1].doubt<.7
            w.stop()


def test_what_is_heard_is_what_they_did():
    "Spikes and membranes of the step that was listened to, written down by the model itself"
    torch.manual_seed(0)
    class Own(Leaky):
        def forward(self, x):
            self.seen = []
            for m in self.lif1,self.lif2: m.reset_mem()
            out = []
            for _ in range(6):
                spk = self.lif1(self.fc1(x))
                self.seen.append((spk.detach(), self.lif1.mem.detach()))
                out.append(self.lif2(self.fc2(spk))[1])
            self.x = x
            return torch.stack(out).mean(0)
    model = Own(MAKES['leaky'])
    opt = torch.optim.SGD(model.parameters(), .1)
    w = watch(model, every=1)
    before = model.fc1.weight.detach().clone()
    model(torch.rand(16,12)).square().mean().backward()
    opt.step()
    spk,mem = map(torch.stack, zip(*model.seen)) # with a delay snnTorch's membranes are those before the reset
    l,mem = w.records[0].layers[0],mem.double().numpy()
    assert l.rate==pytest.approx(float(spk.double().mean())) and l.mem_mean==pytest.approx(mem.mean(), rel=1e-5)
    assert l.mem_std==pytest.approx(mem.std(), rel=1e-5) and l.peak==pytest.approx(np.median(mem.max((0,1))), rel=1e-6)
    assert l.growth==pytest.approx(abs(mem[3:]).mean()/abs(mem[:3]).mean(), rel=1e-5)
    assert l.grad==pytest.approx(float(model.fc1.weight.grad.double().square().mean().sqrt()), rel=1e-5)
    assert l.update==pytest.approx(float((model.fc1.weight-before).norm()/before.norm()), rel=1e-4)
    assert w.records[0].in_max==float(model.x.max()) and w.records[0].loss is None
    w.stop()


def test_a_loop_of_their_own_over_time():
    "Hidden states that the loop hands on, a list of batches, an optimizer that holds some other parameters too"
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc,self.lif = nn.Linear(12,5),snn.Leaky(beta=.5)
        def forward(self, x, mem): return self.lif(self.fc(x), mem)
    model,other = Step(),nn.Linear(2,2)
    opt = torch.optim.Adam([*other.parameters(),*model.parameters()], 1e-2)
    data = [(torch.rand(8,12),torch.arange(8)%5) for _ in range(4)]
    w = watch(model, data)
    for x,y in data:
        mem,total = model.lif.init_leaky(),0
        for _ in range(7):
            spk,mem = model(x, mem)
            total = total+spk
        opt.zero_grad()
        nn.functional.cross_entropy(total, y).backward()
        opt.step()
        torch.optim.SGD(other.parameters(), .1).step() # of somebody else
    (s,) = w.records
    assert w.steps==4 and s.layers[0].neurons==5 and s.layers[0].growth is not None and s.doubt is not None
    w.stop()


def test_nothing_is_left():
    hooks = len(_global_optimizer_pre_hooks),len(_global_optimizer_post_hooks)
    model = Leaky(MAKES['leaky'])
    w,ref = watch(model, every=1),weakref.ref(model)
    assert len(_global_optimizer_pre_hooks)==hooks[0]+1
    del model
    gc.collect()
    assert ref() is None and w.hooks==[] and (len(_global_optimizer_pre_hooks),len(_global_optimizer_post_hooks))==hooks
    model = Leaky(MAKES['leaky'])
    w = watch(model, every=1)
    w.stop(); w.stop()
    trained(model, plain(), True, False, 1)
    assert w.records==[] and not any('fire' in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert copy.deepcopy(model).state_dict().keys()==model.state_dict().keys()


class Hard(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return (x>0).float()
    @staticmethod
    def backward(ctx, g): return g


def hard(x): return Hard.apply(x) # those of snnTorch cannot be pickled


class Mixed(Leaky):
    "Neurons of ours among others"
    def __init__(self):
        super().__init__(MAKES['leaky'])
        self.lif1.spike_grad = self.lif2.spike_grad = hard
        self.ours = LIF(beta=.8)

    def forward(self, x): return super().forward(x)+self.ours(self.fc2(self.fc1(x))[None])[0].mean(0)


def test_saved_and_copied_meanwhile():
    "While it is listened to, a model is saved whole and copied; copies are themselves, know nothing of this package's watch, and are not heard"
    model = Mixed()
    w = watch(model, every=1) # listens at once
    assert 'fire' in vars(model.lif1)
    file = io.BytesIO()
    torch.save(model, file)
    assert b'listening' not in file.getvalue()
    file.seek(0)
    for c in torch.load(file, weights_only=False),copy.deepcopy(model),pickle.loads(pickle.dumps(model)):
        assert c.lif1.fire.__self__ is c.lif1
        x,n = torch.rand(4,12),len(w.heard.x)
        assert torch.equal(c.eval()(x), c(x)) and len(w.heard.x)==n
        for m in c.lif1,c.lif2: m.threshold.fill_(1e6) # its own
        c(x)
        assert not c.lif1.fire(torch.ones(3)).any() and model.lif1.threshold==1
    trained(model, plain(), True, False, 1)
    assert {l.name for l in w.records[0].layers}=={'lif1','lif2','ours'}
    w.stop()
    with listening(c) as heard: c(torch.rand(4,12))
    assert len(heard.fired['lif1'])==6 and len(heard.fired['ours'])==1 and 'fire' not in vars(c.lif1)


@pytest.mark.parametrize('quantized', [False,True])
def test_networks_of_ours(quantized):
    torch.manual_seed(0)
    net = Network(nn.Linear(12,20), LIF(), nn.Linear(20,3), LIF(reset='none'), steps=5)
    if quantized: net = prepare(net, preset('nonary'), plain().tensors[0]/2).train()
    ends = []
    for watched in False,True:
        n = copy.deepcopy(net)
        loader = DataLoader(TensorDataset(plain().tensors[0]/2, plain().tensors[1]), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(3))
        opt = torch.optim.Adam(n.param_groups(1e-3) if quantized else n.parameters(), 1e-3)
        w = watch(n, loader) if watched else None
        for _ in range(2):
            for x,y in loader:
                opt.zero_grad()
                nn.functional.cross_entropy(n.answer(x)[0], y).backward()
                opt.step()
        ends.append(n.state_dict())
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])
    assert len(w.records)==2 and w.records[1].layers[0].grad>0 and (w.records[1].layers[0].scale_drift is not None)==quantized
    w.stop()


def test_a_model_that_was_born_silent():
    torch.manual_seed(0)
    model = Leaky(lambda n, **k: snn.Leaky(beta=.9, threshold=50., **k)).train()
    x,y = plain()[:40]
    model(x[:7])
    kept,rng = [m.mem for m in (model.lif1,model.lif2)],torch.get_rng_state()
    s = probe(model, x, y)
    assert s.layers[0].dead==1 and s.layers[0].peak<.2 and s.layers[0].grad is None and s.doubt is not None
    assert all(a is b for a,b in zip(kept, [model.lif1.mem,model.lif2.mem])) and model.drop.training and torch.equal(rng, torch.get_rng_state())
    class Deaf(nn.Module):
        def forward(self, x): return x
    for bad,x,text in (Deaf(),x,'neurons of snnTorch'),(model,x[:,:5],'a batch that the model takes'):
        with pytest.raises(CheckError, match=text): probe(bad, x)
    with pytest.raises(CheckError, match='no length'): watch(model, iter([]))


@pytest.mark.parametrize('what', ['nan', 'batch of one', 'accumulated'])
def test_odd_steps(what):
    model = Leaky(MAKES['leaky'])
    opt = torch.optim.SGD(model.parameters(), .1)
    w = watch(model, every=1)
    if what=='nan':
        with torch.no_grad(): model.fc1.weight[0,0] = math.nan
    for b in (16,1) if what=='accumulated' else (1,) if what=='batch of one' else (16,): model(torch.rand(b,12)).sum().backward()
    opt.step()
    assert len(w.records)==1 and math.isnan(w.records[0].layers[0].mem_mean)==(what=='nan') and 'lif1' in repr(w) and '<table>' in w._repr_html_()
    w.stop()
