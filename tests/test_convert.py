"ReLU networks that become spikes: thresholds, exactness, programs without a mismatch, and what is refused."
import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quarantion import load, lower, prepare, preset, verify
from quarantion.checks import CheckError
from quarantion.spikes import LIF, Network, from_ann, hybrid_from_ann
from quarantion.spikes.convert import HOWS, staircase, threshold_of
from quarantion.train.fit import Adam


def drawn(*shape, seed=0): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(*sizes, seed=0):
    torch.manual_seed(seed)
    layers = [m for a,b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b),nn.ReLU())]
    return nn.Sequential(*layers[:-1]).eval()


def picture(seed=0):
    "Everything that is read: batch norm, a maximum at the first ReLU, an average further inside"
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1,6,3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(.5), nn.Conv2d(6,8,2, groups=2),
                        nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8,10))
    net[1].running_mean.uniform_(-.2, .2); net[1].running_var.uniform_(.5, 2); net[1].weight.data.uniform_(-2, 2)
    return net.eval()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(.1, 10), st.integers(0, 1000))
def test_a_rate_is_the_value_cut_off_and_in_steps(T, theta, seed):
    "Within θ/T below for no shift, and θ/2T around with half a step: the bound of every value that is not cut off"
    z = (drawn(3, 20, seed=seed)*2-.5)*theta
    lif,want = LIF(1., theta),z.clamp(0, theta)
    down = theta*lif.spikes(z[None].double(), steps=T).mean(0)-want
    near = theta*lif.spikes((z+theta/(2*T))[None].double(), steps=T).mean(0)-want
    unit = theta/T*(1+1e-4)
    assert down.max()<=1e-4*theta and down.min()>=-unit and near.abs().max()<=unit/2+1e-5*theta


def test_the_maximum_is_the_plain_formula():
    "θ is the largest value of each layer, weights are multiplied with the θ before, biases stay"
    net,x = mlp(5, 8, 6, 3),drawn(50, 5)
    got = from_ann(net, x, 12, 'max')
    with torch.no_grad(): a = net[:2](x); b = net[2:4](a)
    assert [type(l) for l in got.layers]==[nn.Linear,LIF]*3 and got.steps==12
    assert [float(l.threshold) for l in got.layers[1:5:2]]==[float(a.max()),float(b.max())]
    assert torch.allclose(got.layers[2].weight, net[2].weight*a.max()) and torch.allclose(got.layers[4].weight, net[4].weight*b.max())
    assert all(torch.equal(got.layers[i].bias, net[i].bias) for i in (0,2,4))
    assert [float(l.beta) for l in got.layers[1::2]]==[1,1,0] and got.layers[5].reset=='none'


def test_percentiles_and_shifts_are_the_plain_formulas():
    a = drawn(200, 30).square()
    assert float(threshold_of(a, 'percentile', percentile=99.)[0])==float(a.flatten().sort().values[round(.99*a.numel())-1])
    for T in 1,4,9:
        theta = threshold_of(a, 'shift', T)
        for c in 0,7:
            v = a[:,c].double()
            grid = [float(v.max())*k/40 for k in range(1, 41)]
            off = [float((t/T*torch.floor(v*T/t+.5).clamp(0, T)-v).square().mean()) for t in grid]
            assert abs(grid[off.index(min(off))]-float(theta[c]))<1e-5
    net,x = mlp(5, 8, 3),drawn(50, 5)
    got = from_ann(net, x, 6)
    theta = threshold_of(net[:2](x), 'shift', 6)
    assert torch.equal(got.layers[1].threshold, theta)
    assert torch.allclose(got.layers[0].bias, net[0].bias+theta/12) and torch.allclose(got.layers[2].weight, net[2].weight*theta)


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('make,shape', [(lambda: mlp(5, 8, 6, 3),(5,)), (picture,(1,8,8))])
def test_with_many_steps_the_answer_is_the_one_of_the_network(make, shape, how):
    net,x = make(),drawn(60, *shape)
    want,apart = net(x),[]
    for T in 4,64,512: apart.append((from_ann(net, x, T, how, 100.).answer(x)[0]-want).detach().abs().mean())
    assert apart[2]<.01*want.std() and apart[2]<apart[1]<apart[0]


def test_one_hidden_layer_is_the_staircase():
    "Currents are constant there, so spikes are what the formula says"
    net,x = mlp(5, 40, 3),drawn(60, 5)
    for T in 1,3,10:
        got = from_ann(net, x, T)
        r = got.record(x)
        theta = got.layers[1].threshold
        assert (theta*r[0].spk.mean(0)-staircase(net[0](x), theta, T)).abs().max()<1e-5
        assert torch.allclose(got.answer(x)[0], net[2](staircase(net[0](x), theta, T)), atol=1e-5)


@pytest.mark.filterwarnings('ignore:.*(membrane units|labels use)') # small random networks have coarse thresholds
@pytest.mark.parametrize('policy', ['int8','nonary','current8'])
@pytest.mark.parametrize('make,shape', [(lambda: mlp(5, 30, 20, 3),(5,)), (picture,(1,8,8))])
def test_programs_have_no_mismatch(tmp_path, make, shape, policy):
    net,x = make(),drawn(80, *shape)
    got = from_ann(net, x, 8)
    q = prepare(got, preset(policy), x).freeze().eval()
    lower(q).save(tmp_path/'net.safetensors')
    proof = verify(q, load(tmp_path/'net.safetensors'), [(x,torch.arange(80)%3)])
    assert proof.mismatches==0 and not proof.problems and proof.spikes>0


def test_a_signed_input_and_exports():
    from quarantion.export import to_c, to_js
    net,x = mlp(5, 12, 3),drawn(80, 5)*2-1
    prog = lower(prepare(from_ann(net, x, 8), preset('int8'), x))
    assert prog.in_min==-127 and prog.longest>=8 and to_c(prog) and to_js(prog)


def test_a_front_is_the_network_and_the_proof_starts_behind_it():
    net,x = picture(),drawn(80, 1, 8, 8)
    front,rest = hybrid_from_ann(net, x, 1, 64)
    a = front(x)
    assert torch.allclose(a, net[:4](x), atol=1e-5) and rest.in_shape==(6,3,3)
    assert (rest.answer(a)[0]-net(x)).abs().mean()<.2*net(x).std()
    q = prepare(rest, preset('int8'), a).freeze().eval()
    assert (q.in_min,q.in_max)==(0,255)
    proof = verify(q, lower(q), [(a,torch.arange(80)%10)])
    assert proof.mismatches==0 and not proof.problems
    want = r'`front`: expected 1 … 1, found 2'
    with pytest.raises(CheckError, match=want): hybrid_from_ann(net, x, 2)
    with pytest.raises(CheckError, match='a network with two ReLUs or more'): hybrid_from_ann(mlp(5, 4, 3), drawn(9, 5))


def test_maxima_inside_are_taken_by_a_front():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1,4,3), nn.ReLU(), nn.Conv2d(4,4,3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16,8),
                        nn.ReLU(), nn.Linear(8,3)).eval()
    x = drawn(60, 1, 8, 8)
    with pytest.raises(CheckError, match='layer 2 of weights: MaxPool2d: expected AvgPool, or MaxPool2d at the first ReLU'): from_ann(net, x)
    for n in 1,2:
        front,rest = hybrid_from_ann(net, x, n, 256)
        assert (rest.answer(front(x))[0]-net(x)).abs().mean()<.05*net(x).std()


def test_functions_and_modules_inside_modules_are_followed():
    class Block(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.fc = nn.Linear(a, b)
        def forward(self, x): return F.relu(self.fc(x), inplace=True)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.out = Block(6,9),Block(9,7),nn.Linear(7,3)
        def forward(self, x): return self.out(self.b(self.a(x.flatten(1))))
    torch.manual_seed(0)
    net,x = Net().train(),drawn(50, 2, 3)
    before = copy.deepcopy(net.state_dict())
    got = from_ann(net, x, 256)
    assert (got.answer(x)[0]-net(x)).abs().mean()<.01 and got.training and got.in_shape==(2,3)
    assert all(torch.equal(v, before[k]) for k,v in net.state_dict().items()) and not any(m._forward_hooks for m in net.modules())


def test_it_trains_further():
    net,x,y = mlp(5, 30, 3),drawn(200, 5),(drawn(200, 5).argmax(1)%3)
    got = from_ann(net, x, 4).train()
    opt,losses = Adam(got.parameters(), 1e-2),[]
    for _ in range(20):
        loss = F.cross_entropy(got.answer(x)[0], y)
        opt.zero_grad(); loss.backward(); opt.step()
        losses.append(loss.item())
    assert losses[-1]<losses[0]-.1


lin = nn.Linear
BAD = { # network, and what the message says
    'leaky': (lambda: nn.Sequential(lin(5,6), nn.LeakyReLU(), lin(6,3)), r'`1` \(LeakyReLU\).*: activation: expected nn.ReLU as the only activation.*found LeakyReLU'),
    'gelu': (lambda: nn.Sequential(lin(5,6), nn.GELU(), lin(6,3)), 'activation: expected nn.ReLU.*found GELU'),
    'relu6': (lambda: nn.Sequential(lin(5,6), nn.ReLU6(), lin(6,3)), 'activation: expected nn.ReLU.*found ReLU6'),
    'softmax inside': (lambda: nn.Sequential(lin(5,6), nn.Softmax(1), lin(6,3)), r'`1` \(Softmax\).*nothing else has rates.*found Softmax'),
    'softmax at the end': (lambda: nn.Sequential(lin(5,6), nn.ReLU(), lin(6,3), nn.Softmax(1)), 'leave it out, as answers are the same.*found Softmax'),
    'skipped': (lambda: nn.Sequential(lin(5,6), nn.ReLU(), lin(6,6), lin(6,3)), r'layer `3` \(Linear\): activation: expected nn.ReLU between it and layer `2` \(Linear\), found none'),
    'skipped with a pool': (lambda: nn.Sequential(nn.Unflatten(1, (1,5)), nn.Flatten(), lin(5,6), lin(6,3)), 'Unflatten'),
    'relu at the end': (lambda: nn.Sequential(lin(5,6), nn.ReLU()), 'the output: weights: expected Linear, Conv1d or Conv2d before it'),
    'relu twice': (lambda: nn.Sequential(lin(5,6), nn.ReLU(), nn.ReLU(), lin(6,3)), r'`2` \(ReLU\).*: weights: expected'),
    'norm in front': (lambda: nn.Sequential(nn.BatchNorm1d(5), lin(5,6), nn.ReLU(), lin(6,3)), 'batch norm: expected right behind weights'),
    'silent': (lambda: nn.Sequential(lin(5,6), nn.ReLU(), lin(6,3)), 'values: expected some above 0 on the sample, found 0 at most'),
    'no weights': (lambda: nn.Sequential(nn.ReLU()), '`net`: expected a network with weights, found Sequential'),
    'nan': (lambda: nn.Sequential(lin(5,6), nn.ReLU(), lin(6,3)), '0.weight'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_becomes_no_spikes_is_named(name):
    make,said = BAD[name]
    net = make().eval()
    if name=='silent':
        with torch.no_grad(): net[0].bias.fill_(-100.)
    if name=='nan':
        with torch.no_grad(): net[0].weight[0,0] = torch.nan
    with pytest.raises(CheckError, match=said) as e: from_ann(net, drawn(20, 5))
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('bend,name', [(F.leaky_relu,'leaky_relu'), (torch.tanh,'tanh'), (lambda v: v.clamp(min=0),'clamp'), (lambda v: F.softmax(v, 1),'softmax')])
def test_functions_are_named_with_their_line(bend, name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = lin(5,6),lin(6,3)
        def forward(self, x): return self.b(bend(self.a(x)))
    with pytest.raises(CheckError, match=rf'`{name}` at test_convert.py:\d+: activation: expected nn.ReLU.*found {name}'): from_ann(Net(), drawn(20, 5))


def test_branches_are_refused():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = lin(5,6),lin(6,6),lin(6,3)
        def forward(self, x):
            y = F.relu(self.a(x))
            return self.c(F.relu(y+self.b(y)))
    with pytest.raises(CheckError, match='sums of two branches cannot be read'): from_ann(Net(), drawn(20, 5))


def test_arguments_are_held_to_what_they_are():
    net,x = mlp(5, 6, 3),drawn(20, 5)
    for bad,said in ((dict(how='mean'),'how'), (dict(steps=0),'steps'), (dict(percentile=0.),'percentile'), (dict(percentile=101.),'percentile')):
        with pytest.raises(CheckError, match=said): from_ann(net, x, **bad)
    with pytest.raises(CheckError, match='`sample`'): from_ann(net, x[:0])
    with pytest.raises(CheckError, match='a network that takes samples'): from_ann(net, drawn(20, 4))
    with pytest.raises(CheckError): from_ann(net, x/0)
    with pytest.raises(CheckError, match='one where values are above 0'): from_ann(net, x, how='percentile', percentile=1e-3)
    assert isinstance(from_ann(net, x), Network)
