"""Programs as their users write them, from training to the file: one epoch in the user's own loop, prepared with a preset, lowered,
verified, saved, loaded and run. Two presets here, all of them under soak; a population code is in test_answers, SpikingJelly in its own"""
import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import functional as SF
from snntorch import surrogate
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant import lower, preset, prepare, verify
from quarantion.quant.policy import PRESETS
from quarantion.runtime import load
from quarantion.spikes import from_snntorch

GRAD = surrogate.fast_sigmoid(slope=25)


def digits(size=8, n=800):
    d = load_digits()
    x,y = torch.cat([d.x_train, d.x_test])[:n],torch.cat([d.y_train, d.y_test])[:n]
    if size==8: return x,y
    big = F.interpolate(x.reshape(-1, 1, 8, 8), size=24)
    return F.pad(big, (2,2,2,2)),y


class Tutorial5(nn.Module):
    "snnTorch's tutorial 5: layers and neurons by turns, the loop in `forward`"
    def __init__(self, num_inputs=64, num_hidden=100, num_outputs=10, num_steps=15, beta=.95):
        super().__init__()
        self.num_steps = num_steps
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for step in range(self.num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


def tutorial5():
    x,y = digits()
    net,loss = Tutorial5(),nn.CrossEntropyLoss()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3, betas=(.9, .999))
    for i in torch.randperm(len(x)).split(64):
        spk_rec,mem_rec = net(x[i])
        loss_val = sum(loss(mem_rec[step], y[i]) for step in range(net.num_steps))
        opt.zero_grad(); loss_val.backward(); opt.step()
    return net,dict(),x[:150],y[:150],lambda x: net(x)[0]


class Tutorial6(nn.Module):
    "snnTorch's tutorial 6 as a class: pooling as a function, neurons that keep their state, a dropout"
    def __init__(self):
        super().__init__()
        self.conv1,self.lif1 = nn.Conv2d(1, 6, 5),snn.Leaky(.5, spike_grad=GRAD)
        self.conv2,self.lif2 = nn.Conv2d(6, 12, 5),snn.Leaky(.5, spike_grad=GRAD)
        self.fc1,self.lif3 = nn.Linear(12*4*4, 10),snn.Leaky(.5, spike_grad=GRAD)

    def forward(self, x):
        mem1,mem2,mem3 = self.lif1.init_leaky(),self.lif2.init_leaky(),self.lif3.init_leaky()
        spk_rec = []
        for _ in range(8):
            cur1 = F.max_pool2d(self.conv1(x), 2)
            spk1,mem1 = self.lif1(cur1, mem1)
            cur2 = F.max_pool2d(self.conv2(spk1), 2)
            spk2,mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(F.dropout(spk2, .1, self.training).view(spk2.size(0), -1))
            spk3,mem3 = self.lif3(cur3, mem3)
            spk_rec.append(spk3)
        return torch.stack(spk_rec)


def tutorial6():
    x,y = digits(28, 600)
    net,loss_fn = Tutorial6(),SF.ce_rate_loss()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for i in torch.randperm(len(x)).split(64):
        net.train()
        loss_val = loss_fn(net(x[i]), y[i])
        opt.zero_grad(); loss_val.backward(); opt.step()
    net.eval()
    return net,dict(in_shape=(1,28,28)),x[:60],y[:60],net


class Regression(nn.Module):
    "snnTorch's regression with recurrent neurons: the membranes follow a curve over time"
    def __init__(self, steps=20, hidden=32):
        super().__init__()
        self.steps = steps
        self.fc_in,self.lif_in = nn.Linear(4, hidden),snn.Leaky(.9, spike_grad=GRAD)
        self.fc_hidden = nn.Linear(hidden, hidden)
        self.lif_hidden = snn.RLeaky(.9, all_to_all=True, linear_features=hidden, spike_grad=GRAD)
        self.fc_out,self.li_out = nn.Linear(hidden, 1),snn.Leaky(.9, reset_mechanism='none')

    def forward(self, x):
        mem_1 = self.lif_in.init_leaky()
        spk_2,mem_2 = self.lif_hidden.init_rleaky()
        mem_3 = self.li_out.init_leaky()
        mem_rec = []
        for step in range(x.shape[0]):
            spk_1,mem_1 = self.lif_in(self.fc_in(x[step]), mem_1)
            spk_2,mem_2 = self.lif_hidden(self.fc_hidden(spk_1), spk_2, mem_2)
            _,mem_3 = self.li_out(self.fc_out(spk_2), mem_3)
            mem_rec.append(mem_3)
        return torch.stack(mem_rec)


def regression():
    net = Regression()
    phase = torch.rand(200)*6.28
    t = torch.arange(20)[:,None]/20*6.28
    x = torch.stack([torch.sin(t+phase+k) for k in range(4)], -1)+1
    y = torch.sin(t+phase)[...,None]
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for i in torch.randperm(200).split(16):
        loss = F.mse_loss(net(x[:,i]), y[:,i])
        opt.zero_grad(); loss.backward(); opt.step()
    return net,dict(decision='values'),x,y,net


class Events(nn.Module):
    "12C5-BN-MP2-32C5-BN-MP2-FC10 on events with the batch first, and leaks that are learned"
    def __init__(self):
        super().__init__()
        leaky = lambda: snn.Leaky(.8, threshold=.5, learn_beta=True, spike_grad=GRAD)
        self.conv1,self.bn1,self.lif1 = nn.Conv2d(2, 12, 5),nn.BatchNorm2d(12),leaky()
        self.conv2,self.bn2,self.lif2 = nn.Conv2d(12, 32, 5),nn.BatchNorm2d(32),leaky()
        self.pool,self.fc,self.lif3 = nn.MaxPool2d(2),nn.Linear(32*5*5, 10),leaky()

    def forward(self, x): # [B, T, 2, 34, 34]
        mem1,mem2,mem3 = self.lif1.init_leaky(),self.lif2.init_leaky(),self.lif3.init_leaky()
        out = []
        for t in range(x.size(1)):
            spk1,mem1 = self.lif1(self.pool(self.bn1(self.conv1(x[:,t]))), mem1)
            spk2,mem2 = self.lif2(self.pool(self.bn2(self.conv2(spk1))), mem2)
            spk3,mem3 = self.lif3(self.fc(spk2.flatten(1)), mem3)
            out.append(spk3)
        return torch.stack(out, dim=1)


def bars(n, T=6):
    "A bar that moves in one of ten ways, as events of its edges"
    y = torch.arange(n)%10
    x = torch.zeros(n, T, 2, 34, 34)
    for k in range(n):
        way,speed = int(y[k])%5,1+int(y[k])//5*2
        start = int(torch.randint(4, 12, ()))
        for t in range(T):
            at = start+t*speed
            if way==0: x[k,t,0,at%34], x[k,t,1,(at-2)%34] = 1,1
            if way==1: x[k,t,0,:,at%34], x[k,t,1,:,(at-2)%34] = 1,1
            if way==2: x[k,t,1,at%34], x[k,t,0,(at-2)%34] = 1,1
            if way==3: x[k,t,1,:,at%34], x[k,t,0,:,(at-2)%34] = 1,1
            if way==4: x[k,t,0,at%34,:17], x[k,t,1,17:,at%34] = 1,1
    return x*(torch.rand_like(x)<.9),y


def events():
    x,y = bars(120)
    net,loss_fn = Events(),SF.ce_count_loss()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for i in torch.randperm(len(x)).split(20):
        loss = loss_fn(net(x[i]).transpose(0, 1), y[i])
        opt.zero_grad(); loss.backward(); opt.step()
    net.eval()
    return net,dict(in_shape=(2,34,34)),x[:30],y[:30],lambda x: net(x).transpose(0, 1)


MADE = {f.__name__:f for f in (tutorial5, tutorial6, regression, events)}
CASES = [pytest.param(p, n, marks=() if n in ('nonary','int8') else pytest.mark.soak) for p in MADE for n in PRESETS]


@pytest.fixture(scope='module')
def trained():
    made = {}
    def of(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = MADE[name]()
        return made[name]
    return of


@pytest.mark.filterwarnings('ignore:layer') # few bits lose thresholds and codes, and say so
@pytest.mark.parametrize('program,name', CASES)
def test_from_the_users_loop_to_the_file(tmp_path, trained, program, name):
    theirs,how,x,y,run = trained(program)
    net = from_snntorch(theirs, **how)
    with torch.no_grad():
        spk,mem = net(x)
        want = run(x)
    if program=='regression': assert torch.allclose(mem, want, atol=1e-3)
    else: assert (spk!=want).float().mean()<1e-4 # sums in another order
    try: q = prepare(net, preset(name), x)
    except CheckError as e:
        assert name.startswith('mint'), e # which says by name what it needs
        return
    lower(q).save(tmp_path/'net.safetensors')
    prog = load(tmp_path/'net.safetensors')
    b = net.batch_first or x.ndim==len(net.in_shape)+1 # where the batch stands
    loader = list(zip(x.split(30, 0 if b else 1), y.split(30, 0 if y.ndim==1 else 1)))
    proof = verify(q, prog, loader, net)
    assert proof.mismatches==0 and not proof.parameters and proof.spikes>10_000, proof.problems
    if name in ('nonary','int8'): assert proof.ok, proof.problems
    if name=='int8' and program!='regression': assert proof.accuracy>proof.float_accuracy-.1
    if name=='int8' and program=='regression': assert proof.error<proof.float_error+.05
    ours,states = prog(x.numpy())
    assert ours.shape[:2]==(len(want),len(loader[0][0])*len(loader) if b else x.shape[1]) and np.isfinite(states).all()
