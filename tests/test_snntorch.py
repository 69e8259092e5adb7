"snnTorch: what is read, what is refused and why, and spikes that stay equal over long runs"
import copy, warnings
import pytest, torch, torch.nn.functional as F
import snntorch as snn
from snntorch import functional as SF, surrogate, utils
from snntorch.functional import quant
from torch import nn
from quarantion.checks import CheckError
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.snntorch import from_snntorch, to_snntorch
from quarantion.spikes.surrogate import SURROGATES, spike, surrogate_grad

RLEAKY = [dict(linear_features=12), dict(all_to_all=False, V=-.3), dict(all_to_all=False, V=torch.linspace(-.5, .5, 12)),
    dict(all_to_all=False, V=torch.linspace(-.5, .5, 12), learn_recurrent=False)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    n = torch.get_num_threads()
    torch.set_num_threads(1) # layers this small only wait for each other
    yield
    torch.set_num_threads(n)


def hidden(**kwargs): return dict(beta=.9, init_hidden=True, **kwargs)

def row(*neurons, n=12):
    "Linear layers before each of the neurons"
    sizes = [20]+[n]*len(neurons)
    return nn.Sequential(*(m for i,l in enumerate(neurons) for m in (nn.Linear(sizes[i], sizes[i+1]), l)))

def on_grid(net):
    "Weights that are multiples of 1/64, so that a float32 sum is exact in any order"
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (nn.Linear, nn.Conv2d)):
                for p in m.parameters(): p.copy_((p*128).round()/64)
    return net

def spikes_over(net, x):
    "Spikes of every neuron of an snnTorch network, one call for each step, starting from zero"
    neurons = [m for m in net.modules() if isinstance(m, (snn.Leaky, snn.RLeaky))]
    for m in neurons: m.reset_mem()
    seen = [[] for _ in neurons]
    hooks = [m.register_forward_hook(lambda m, a, out, s=s: s.append(out[0] if isinstance(out, tuple) else out)) for m,s in zip(neurons, seen)]
    with torch.no_grad():
        for i in x: net(i)
    for h in hooks: h.remove()
    return [torch.stack(s) for s in seen]

def same_spikes(net, ours, x):
    "Every spike of every layer is the same, and there are some; how many"
    theirs = spikes_over(net, x)
    with torch.no_grad(): rec = ours.record(x)
    assert len(theirs)==len(rec)
    for a,b in zip(theirs, rec):
        assert torch.equal(a, b.spk)
        assert 0<a.sum()<a.numel()
    return sum(int(a.sum()) for a in theirs)

def refused(net, *words, **kwargs):
    with pytest.raises(CheckError) as e: from_snntorch(net, **kwargs)
    for w in words: assert w in str(e.value), str(e.value)
    assert '\n' not in str(e.value)


# What is read

@pytest.mark.parametrize('kw,reset', [
    (dict(), 'subtract_delayed'), (dict(reset_mechanism='zero'), 'zero'), (dict(reset_mechanism='zero', reset_delay=False), 'zero'),
    (dict(reset_mechanism='none'), 'none'), (dict(reset_mechanism='none', reset_delay=False), 'none'),
    (dict(threshold=1), 'subtract_delayed'), (dict(threshold=torch.linspace(.5, 1.5, 12)), 'subtract_delayed'), (dict(threshold=torch.tensor([.7])), 'subtract_delayed'),
    (dict(graded_spikes_factor=1), 'subtract_delayed'),
])
def test_leaky_spikes_over_200_steps(kw, reset):
    net = on_grid(row(snn.Leaky(**hidden(**kw)), snn.Leaky(**hidden(**kw, output=True))))
    ours = from_snntorch(net)
    assert [l.reset for l in ours.layers[1::2]]==[reset]*2
    same_spikes(net, ours, torch.randint(-8, 9, (200,4,20))/4)

@pytest.mark.parametrize('rec', RLEAKY)
@pytest.mark.parametrize('kw', [dict(), dict(reset_mechanism='zero', reset_delay=False), dict(reset_mechanism='none')])
def test_rleaky_spikes_over_200_steps(rec, kw):
    net = on_grid(row(snn.RLeaky(**hidden(**rec, **kw)), snn.RLeaky(**hidden(**rec, **kw, output=True))))
    ours = from_snntorch(net)
    l = ours.layers[1]
    assert type(l) is RecurrentLIF and type(l.recurrent) is (nn.Linear if 'linear_features' in rec else Diagonal)
    assert all(p.requires_grad==rec.get('learn_recurrent', True) for p in l.recurrent.parameters())
    same_spikes(net, ours, torch.randint(-8, 9, (200,4,20))/4)

@pytest.mark.parametrize('beta', [0., 1, 1., .5, torch.linspace(0, 1, 12), torch.full((1,12), .7), 1.5])
def test_beta(beta):
    net = on_grid(row(snn.Leaky(beta, init_hidden=True), snn.Leaky(beta, init_hidden=True, output=True)))
    ours = from_snntorch(net)
    assert ours.layers[1].beta.max()<=1 and ours.layers[1].beta.dtype==torch.float32
    same_spikes(net, ours, torch.randint(-8, 9, (100,4,20))/4)

def test_parameters_stay_parameters():
    net = row(snn.Leaky(torch.full((12,), .8), init_hidden=True, learn_beta=True), snn.Leaky(.9, threshold=.5, init_hidden=True, learn_threshold=True, output=True))
    net[3].threshold.requires_grad_(False)
    with torch.no_grad(): net[1].beta[0] = 1.1 # clamped by both, where it has no gradient
    ours = from_snntorch(net)
    a,b = ours.layers[1],ours.layers[3]
    assert isinstance(a.beta, nn.Parameter) and not isinstance(a.threshold, nn.Parameter)
    assert isinstance(b.threshold, nn.Parameter) and not isinstance(b.beta, nn.Parameter)
    assert a.beta.requires_grad and not b.threshold.requires_grad
    assert torch.equal(a.beta, net[1].beta)
    x = 3*torch.rand(9,4,20)
    ours(x)[1].sum().backward()
    torch.stack([net(i)[1] for i in x]).sum().backward()
    assert a.beta.grad[0]==0 and a.beta.grad.any()
    torch.testing.assert_close(a.beta.grad, net[1].beta.grad, rtol=1e-4, atol=1e-5)

def test_convolutional():
    net = nn.Sequential(
        nn.Conv2d(2,6,3,padding=1), nn.BatchNorm2d(6), snn.Leaky(torch.linspace(.5,.9,6)[:,None,None], threshold=torch.full((6,8,8), .8), init_hidden=True, learn_beta=True),
        nn.Sequential(nn.MaxPool2d(2), nn.Identity(), nn.Dropout(.2)),
        nn.Conv2d(6,4,3,bias=False), nn.AvgPool2d(2), snn.RLeaky(.8, threshold=.1, conv2d_channels=4, kernel_size=3, init_hidden=True),
        nn.Flatten(), nn.Linear(4,12), nn.BatchNorm1d(12), snn.Leaky(.9, threshold=.2, init_hidden=True, output=True))
    for _ in range(3): net(torch.randn(16,2,8,8)) # running statistics
    utils.reset(net)
    net.eval()
    ours = from_snntorch(net, (2,8,8))
    assert [type(l).__name__ for l in ours.layers]==['Conv2d','BatchNorm2d','LIF','MaxPool2d','Identity','Dropout','Conv2d','AvgPool2d','RecurrentLIF','Flatten','Linear','BatchNorm1d','LIF']
    assert ours.layers[2].beta.shape==(6,) and ours.layers[2].threshold.shape==(6,8,8)
    assert not ours.training and not ours.layers[1].training
    torch.set_default_dtype(torch.float64) # the same in float64, where summation order does not matter
    try:
        n64,x = copy.deepcopy(net).double(),torch.randn(200,3,2,8,8)
        for m in n64.modules():
            if isinstance(m, snn.SpikingNeuron): m.spike_grad = spike # snnTorch's own return float32
        same_spikes(n64, ours.double(), x)
    finally: torch.set_default_dtype(torch.float32)

@pytest.mark.parametrize('name', SURROGATES)
@pytest.mark.parametrize('slope', [.5, 1/3, 2., 100.])
def test_surrogate(name, slope):
    theirs = getattr(surrogate, name)(slope) if name in ('fast_sigmoid','atan','sigmoid') else lambda x: spike(x, name, slope)
    l = from_snntorch(row(snn.Leaky(**hidden(spike_grad=theirs)))).layers[1]
    assert l.surrogate==name and l.slope==pytest.approx(slope, rel=1e-7)
    x = torch.linspace(-.8, .8, 50, requires_grad=True) # snnTorch's sigmoid is NaN further out
    g, = torch.autograd.grad(theirs(x).sum(), x)
    torch.testing.assert_close(surrogate_grad(x.detach(), l.surrogate, l.slope), g)

@pytest.mark.parametrize('f', [surrogate.SFS(), surrogate.heaviside(), surrogate.straight_through_estimator(), surrogate.SSO(), surrogate.triangular(),
    surrogate.spike_rate_escape(), surrogate.custom_surrogate(lambda x, g, s: g*torch.exp(-x.abs()))])
def test_unknown_surrogate(f):
    net = row(snn.Leaky(**hidden(spike_grad=f)))
    refused(net, 'layer `1` (Leaky)', '`spike_grad`', 'pass `surrogate=`')
    l = from_snntorch(net, surrogate='triangular', slope=2).layers[1]
    assert (l.surrogate,l.slope)==('triangular',2.)
    assert from_snntorch(net, surrogate='fast_sigmoid').layers[1].slope==25.

def test_other_surrogates():
    refused(row(snn.Leaky(**hidden(spike_grad=surrogate.LSO()))), '`spike_grad`', 'TypeError')
    refused(row(snn.Leaky(**hidden(surrogate_disable=True))), '`spike_grad`', 'none of them')
    refused(row(snn.Leaky(**hidden(spike_grad=lambda x: (x>=0).float()))), '[0, 0, 1]', '[0.0, 1.0, 1.0]')
    refused(row(snn.Leaky(**hidden())), '`slope`', slope=3.)
    refused(row(snn.Leaky(**hidden())), '`surrogate`', 'one of fast_sigmoid', surrogate='tanh')

def test_half_and_double():
    net = row(snn.Leaky(torch.tensor(.9), init_hidden=True, output=True)).double()
    ours = from_snntorch(net)
    assert ours.layers[1].beta.dtype==torch.float64
    assert ours(torch.rand(3,20).double())[0].dtype==torch.float64


# Ways to write a forward

class Net(nn.Module):
    "Tutorial 5: a constant input, and a loop of its own"
    def __init__(self, steps=20, **kwargs):
        super().__init__()
        self.fc1,self.lif1 = nn.Linear(20,30),snn.Leaky(.9, **kwargs)
        self.fc2,self.lif2 = nn.Linear(30,12),snn.Leaky(.9, **kwargs)
        self.steps = steps
    def start(self): return self.lif1.init_leaky(),self.lif2.init_leaky()
    def step(self, x, mem1, mem2):
        spk1,mem1 = self.lif1(self.fc1(x), mem1)
        spk2,mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2,mem1,mem2
    def loop(self, xs):
        mem1,mem2 = self.start()
        res = []
        for x in xs:
            spk,mem1,mem2 = self.step(x, mem1, mem2)
            res.append((spk,mem2))
        return tuple(map(torch.stack, zip(*res)))
    def forward(self, x): return self.loop([x]*self.steps)

class OverTime(Net):
    def forward(self, x): return self.loop(x)

class OwnTime(Net):
    def forward(self, x): return self.loop([x[t] for t in range(self.steps)])

class BatchFirst(Net):
    def forward(self, x): return self.loop([x[:,t] for t in range(x.shape[1])])

class Once(Net): # the current of a constant input is computed once
    def forward(self, x):
        (mem1,mem2),cur,res = self.start(),self.fc1(x),[]
        for _ in range(self.steps):
            spk1,mem1 = self.lif1(cur, mem1)
            spk2,mem2 = self.lif2(self.fc2(spk1), mem2)
            res.append((spk2,mem2))
        return tuple(map(torch.stack, zip(*res)))

class Step(Net):
    def forward(self, x, mem1, mem2): return self.step(x, mem1, mem2)

class Hidden(Net):
    def __init__(self): super().__init__(init_hidden=True)
    def forward(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x))))

class Resets(Hidden):
    def forward(self, x):
        utils.reset(self)
        return torch.stack([super(Resets, self).forward(i) for i in x])

@pytest.mark.parametrize('cls,steps', [(Net,20),(OverTime,25),(OwnTime,20),(BatchFirst,25),(Once,20),(Step,25),(Hidden,25),(Resets,25)])
def test_ways(cls, steps):
    net = cls()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        ours = from_snntorch(net)
    assert [str(w.message) for w in said]==(['`forward` of OwnTime takes 20 steps, however many x has; the network takes all that it is given'] if cls is OwnTime else [])
    assert ours.steps==steps and ours.in_shape==(20,)
    torch.testing.assert_close(ours.layers[2].weight, net.fc2.weight)

@pytest.mark.parametrize('steps', [1,3,4,40])
def test_steps(steps):
    assert from_snntorch(OverTime(), steps=steps).steps==steps
    assert from_snntorch(Hidden(), steps=steps).steps==steps
    assert from_snntorch(Net(steps+1), steps=steps).steps==steps+1

def test_tutorial_5_trained():
    net,opt_in = Net(),torch.randint(-8, 9, (64,20))/2
    y = torch.randint(12, (64,))
    opt,loss = torch.optim.Adam(net.parameters(), lr=1e-2),SF.ce_rate_loss()
    first = None
    for _ in range(10):
        value = loss(net(opt_in)[0], y)
        first = first or value.item()
        opt.zero_grad(); value.backward(); opt.step()
    assert value<first
    on_grid(net) # while the neurons still hold membranes with gradients
    ours = from_snntorch(net)
    with torch.no_grad():
        spk,mem = net(opt_in)
        ours_spk,ours_mem = ours(opt_in)
    assert torch.equal(spk, ours_spk) and torch.equal(mem, ours_mem) and spk.any()
    value = loss(ours(opt_in)[0], y) # and it trains on, with the same gradients
    value.backward()
    opt.zero_grad(); loss(net(opt_in)[0], y).backward()
    for i,m in ((0,net.fc1),(2,net.fc2)): torch.testing.assert_close(ours.layers[i].weight.grad, m.weight.grad, rtol=1e-3, atol=1e-6)

def test_plain_sequential_needs_no_init_hidden():
    assert len(from_snntorch(row(snn.Leaky(.9), snn.Leaky(.9))).layers)==4

def test_blocks_and_lists():
    class Block(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.fc,self.lif = nn.Linear(i,o),snn.Leaky(**hidden())
        def forward(self, x): return self.lif(self.fc(x))
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(20,12), Block(12,12)])
        def forward(self, x):
            for b in self.blocks: x = b(x)
            return x
    assert len(from_snntorch(Deep()).layers)==4

def test_tied_weights_stay_tied():
    net = row(*(snn.Leaky(**hidden()) for _ in range(3)))
    net[4].weight = net[2].weight
    ours = from_snntorch(net)
    assert ours.layers[4].weight is ours.layers[2].weight is not net[2].weight

def test_shared_threshold():
    th,beta = torch.tensor(.6),torch.tensor(.8)
    from_snntorch(row(*(snn.Leaky(beta, threshold=th, init_hidden=True) for _ in range(2))))

def test_weights_on_a_coarse_grid(): # sums meet the threshold exactly, unless the check raises it a little
    net = row(*(snn.Leaky(1., init_hidden=True) for _ in range(3)), n=40)
    with torch.no_grad():
        for m in net[::2]:
            m.weight.copy_((m.weight*20).round()/10); m.bias.zero_()
    from_snntorch(net, steps=100)

def test_silent_network(): from_snntorch(row(snn.Leaky(.9, threshold=1e6), snn.Leaky(.9, threshold=1e6)))


# What is refused

class Scale(nn.Module):
    def forward(self, x): return 2*x

class MyLeaky(snn.Leaky): pass

@pytest.mark.parametrize('make,found', [
    (lambda: snn.Alpha(.9, .8, init_hidden=True), 'Alpha'),
    (lambda: nn.RNN(12,12), 'RNN'), (lambda: nn.ReLU(), 'ReLU'),
    (lambda: nn.LayerNorm(12), 'LayerNorm'), (lambda: MyLeaky(.9), 'MyLeaky'),
])
def test_unknown_layers_are_named(make, found): refused(nn.Sequential(row(snn.Leaky(**hidden())), make()), 'layer `1`: expected one of Linear', f'found {found}')

@pytest.mark.parametrize('neuron,words', [
    (lambda: snn.Leaky(.9, reset_delay=False), ['`reset_mechanism`', 'subtract_delayed', 'adds the threshold back']),
    (lambda: snn.RLeaky(.9, linear_features=12, reset_delay=False), ['(RLeaky)', 'subtract_delayed', 'adds the threshold back']),
    (lambda: snn.RLeaky(.9, linear_features=12, reset_mechanism='zero'), ['(RLeaky)', 'reset_delay=False', 'loses the current']),
    (lambda: snn.Synaptic(.8, .9, reset_mechanism='zero'), ['(Synaptic)', 'reset_delay=False', 'loses the current']),
    (lambda: snn.RSynaptic(.8, .9, linear_features=12, reset_mechanism='zero'), ['(RSynaptic)', "'subtract' or 'none'"]),
    (lambda: snn.RSynaptic(.8, .9, linear_features=12, reset_delay=False), ['(RSynaptic)', 'subtract_delayed']),
    (lambda: snn.Leaky(.9, state_quant=quant.state_quant(4)), ['`state_quant`', 'False']),
    (lambda: snn.Leaky(.9, graded_spikes_factor=.5), ['`graded_spikes_factor`', '0.5']),
    (lambda: snn.Leaky(.9, graded_spikes_factor=torch.linspace(1, 2, 12)), ['`graded_spikes_factor`', '(12,)']),
    (lambda: snn.Leaky(.9, learn_graded_spikes_factor=True), ['`graded_spikes_factor`', 'a parameter']),
    (lambda: snn.Leaky(.9, threshold=-1.), ['`1.threshold`', '> 0', '-1']),
    (lambda: snn.Leaky(.9, threshold=0.), ['`1.threshold`', '> 0']),
    (lambda: snn.Leaky(float('nan')), ['`1.beta`', 'nan']),
    (lambda: snn.Leaky(torch.full((4,12), .5)), ['layer `1` (Leaky)', 'tensor a (4)']),
])
def test_unknown_settings_are_named(neuron, words): refused(row(neuron()), '`1', *words)

@pytest.mark.filterwarnings('ignore:Inhibition')
def test_inhibition(): refused(row(snn.Leaky(.9, inhibition=True)), 'layer `1` (Leaky)', '`inhibition`', 'False')

def test_reset_set_too_late():
    net = row(snn.Leaky(**hidden()))
    net[1].reset_mechanism = 'zero'
    refused(net, '`reset_mechanism`', "'subtract', which it was built with", "'zero', set later")

def test_nan_weights():
    net = row(snn.Leaky(**hidden()))
    with torch.no_grad(): net[0].weight[1,2] = float('nan')
    refused(net, '`0.weight`', 'finite', '[1, 2]')

def test_channels_and_columns_are_told_apart(): # snnTorch would give each column of the image its own β
    net = nn.Sequential(nn.Conv2d(1,8,1), snn.Leaky(torch.linspace(0,1,8), init_hidden=True))
    refused(net, '`1.beta`', '(8, 1, 1)', in_shape=(1,8,8))

def test_shapes():
    conv = nn.Sequential(nn.Conv2d(1,4,3), snn.Leaky(**hidden()), nn.Linear(4*6*6,3), snn.Leaky(**hidden()))
    refused(conv, '`in_shape`', 'Conv2d')
    refused(conv, 'layer `2` (Linear)', '(4, 6, 6)', 'nn.Flatten()', in_shape=(1,8,8))
    refused(row(snn.Leaky(**hidden())), 'layer `0` (Linear)', '(7,)', in_shape=(7,))
    refused(nn.Sequential(nn.Linear(2,3)), 'neurons', 'Linear')
    refused(nn.Sequential(), 'neurons', 'no layers')
    refused(nn.Sequential(row(snn.Leaky(**hidden())), nn.Linear(12,2)), 'layer `1`, the last', 'Linear')
    one = snn.Leaky(**hidden())
    refused(row(one, one, n=20), 'layer `1` (Leaky)', 'neurons of its own', 'x → 0 and 1 → 2')

def test_steps_are_checked(): refused(row(snn.Leaky(**hidden())), '`steps`', steps=0)

class Pool(nn.Module):
    "As tutorial 6 is often rewritten: pooling is a function"
    def __init__(self, pool=F.max_pool2d):
        super().__init__()
        self.conv1,self.lif1 = nn.Conv2d(1,4,3,padding=1),snn.Leaky(.9)
        self.conv2,self.lif2 = nn.Conv2d(4,4,3,padding=1),snn.Leaky(.9)
        self.pool = pool
    def forward(self, x):
        mem1,mem2,res = self.lif1.reset_mem(),self.lif2.reset_mem(),[]
        for _ in range(10):
            spk1,mem1 = self.lif1(self.conv1(x), mem1)
            spk2,mem2 = self.lif2(self.conv2(self.pool(spk1, 3, 1, 1)), mem2)
            res.append(spk2)
        return torch.stack(res)

@pytest.mark.parametrize('pool,layer', [(F.max_pool2d,nn.MaxPool2d), (F.avg_pool2d,nn.AvgPool2d)])
def test_functional_pooling(pool, layer):
    net = Pool(pool)
    ours,x = from_snntorch(net, in_shape=(1,8,8), steps=10),torch.rand(4,1,8,8)*3
    assert type(ours.layers[2]) is layer and (ours.layers[2].kernel_size,ours.layers[2].stride,ours.layers[2].padding)==(3,1,1)
    assert torch.equal(ours(x)[0], net(x)) and net(x).any()

def test_functional_pooling_that_shrinks():
    net = Pool(lambda x, *_: F.max_pool2d(x, 2))
    ours,x = from_snntorch(net, in_shape=(1,8,8)),torch.rand(4,1,8,8)*3
    assert torch.equal(ours(x)[0], net(x)) and net(x).shape==(10,4,4,4,4)

def test_no_pooling_at_all(): assert from_snntorch(Pool(lambda x, *_: x), (1,8,8)).steps==10

class Relu(Net):
    def step(self, x, mem1, mem2):
        spk1,mem1 = self.lif1(self.fc1(x), mem1)
        spk2,mem2 = self.lif2(F.relu(self.fc2(spk1)), mem2)
        return spk2,mem1,mem2

class Skip(Net):
    def step(self, x, mem1, mem2):
        spk1,mem1 = self.lif1(self.fc1(x), mem1)
        spk2,mem2 = self.lif2(self.fc2(spk1)+x[:,:12], mem2)
        return spk2,mem1,mem2

class Decay(Net): # touches the membrane between steps
    def step(self, x, mem1, mem2):
        spk2,mem1,mem2 = super().step(x, mem1, mem2)
        return spk2,mem1,mem2*.5

class Noise(Net):
    def step(self, x, mem1, mem2): return super().step(F.dropout(x), mem1, mem2)

@pytest.mark.parametrize('cls,layer', [(Relu,'lif2'),(Skip,'lif2'),(Decay,'lif2'),(Noise,'lif1')])
def test_own_arithmetic(cls, layer): refused(cls(), f'layer `{layer}` (Leaky)')

def test_lines_are_named():
    refused(Relu(), '`relu` at test_snntorch.py:', 'a layer, or one of max_pool1d')
    refused(Skip(), '`add` at test_snntorch.py:')
    refused(nn.Sequential(nn.Linear(20,12), Scale(), snn.Leaky(.9)), '`mul` at test_snntorch.py:')
    refused(Decay(), 'different, the first at step')
    refused(Noise(), '`dropout`', 'training=self.training')

def test_membranes_differ_where_spikes_do_not():
    class Silent(Net): # a state that is cut while it is far below θ
        def step(self, x, mem1, mem2): return super().step(x, mem1.clamp(min=-.1), mem2)
    net = Silent()
    net.fc1.bias.data.fill_(-1e4)
    refused(net, 'layer `lif1` (Leaky): membranes', 'a difference of')

class Order(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1,self.fc2 = nn.Linear(12,12),nn.Linear(12,12)
        self.lif1,self.lif2 = snn.Leaky(**hidden()),snn.Leaky(**hidden())
    def forward(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x))))

def test_order_of_calls_counts():
    net = Order()
    ours = from_snntorch(net)
    same_spikes(net, ours, torch.rand(25,3,12)*3)

def test_unused_layers_are_left_out():
    net = Hidden()
    net.forward = lambda x: net.lif1(net.fc1(x)) # of the original, not of a copy
    refused(net, '`forward`')
    class First(Hidden):
        def forward(self, x): return self.lif1(self.fc1(x))
    assert len(from_snntorch(First()).layers)==2 # a head that is never called is no part of it

def test_forward_that_fails():
    class Bad(Net):
        def forward(self, x): raise KeyError('no data')
    refused(Bad(), '`forward`', 'x [T, B, …]', "found KeyError: 'no data'", 'no data')


# What is left alone

def fingerprint(net):
    tensors = {k:(id(t), t.clone()) for k,t in (*net.named_parameters(), *net.named_buffers())}
    return tensors, [m.training for m in net.modules()], [len(m._forward_hooks) for m in net.modules()], [id(m.spike_grad) for m in net.modules() if isinstance(m, snn.SpikingNeuron)]

@pytest.mark.parametrize('cls', [Net, Hidden, Resets])
def test_original_is_untouched(cls):
    net,seen = cls(),[]
    net.fc1.register_forward_hook(lambda *a: seen.append(1))
    net.fc2.eval()
    x = torch.rand(3,20) if cls is not Resets else torch.rand(5,3,20)
    net(x).sum().backward() if cls is not Net else net(x)[1].sum().backward()
    n,grad,instances = len(seen),net.fc1.weight.grad.clone(),list(snn.SpikingNeuron.instances)
    before,rng = fingerprint(net),torch.get_rng_state()
    with pytest.warns(UserWarning, match='layer `fc1` .Linear.: its hooks are not called here'): ours = from_snntorch(net)
    after = fingerprint(net)
    assert torch.equal(rng, torch.get_rng_state()) and len(seen)==n
    assert before[1:]==after[1:]
    assert {k:i for k,(i,_) in before[0].items()}=={k:i for k,(i,_) in after[0].items()}
    for k,(_,t) in before[0].items(): assert torch.equal(t, after[0][k][1])
    assert torch.equal(net.fc1.weight.grad, grad) and net.lif1.mem.grad_fn is not None
    assert [id(m) for m in instances]==[id(m) for m in snn.SpikingNeuron.instances]
    assert ours.training and not ours.layers[2].training and not ours.layers[0]._forward_hooks
    assert all(p.grad is None for p in ours.parameters())
    with torch.no_grad(): ours.layers[0].weight.zero_()
    assert net.fc1.weight.any()

def test_copies():
    net = Net()
    a,b = from_snntorch(copy.deepcopy(net)),copy.deepcopy(from_snntorch(net))
    for p,q in zip(a.parameters(), b.parameters()): assert torch.equal(p, q)


# The way back

def everything():
    lif = dict(surrogate='atan', slope=2.)
    return Network(
        nn.Conv2d(1,4,3,padding=1), nn.BatchNorm2d(4), LIF(torch.linspace(.2,.9,4), torch.full((4,8,8), .5), 'subtract_delayed', learn_beta=True, **lif), nn.MaxPool2d(2),
        nn.Conv2d(4,4,3,padding=1), RecurrentLIF(nn.Conv2d(4,4,3,padding=1), beta=torch.linspace(.2,.9,4), reset='zero', threshold=.3, surrogate='triangular', slope=1.5), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(.1), nn.Linear(16,12), RecurrentLIF(nn.Linear(12,12,bias=False), threshold=.3, reset='subtract_delayed', surrogate='sigmoid', slope=10.),
        nn.Linear(12,12), RecurrentLIF(Diagonal(torch.linspace(-1,1,12)), threshold=.3, reset='subtract_delayed', surrogate='rectangular', slope=.5), nn.Identity(),
        nn.Linear(12,5), LIF(torch.linspace(.5,1,5), .4, 'zero', learn_threshold=True, **lif), nn.Linear(5,3), LIF(.9, reset='none'), in_shape=(1,8,8), steps=12)

def test_there_and_back():
    net = everything()
    there = to_snntorch(net)
    back = from_snntorch(there, (1,8,8), 12)
    assert [str(l) for l in back.layers]==[str(l) for l in net.layers] and back.steps==12
    assert set(back.state_dict())==set(net.state_dict())
    for k,v in net.state_dict().items(): assert torch.equal(v, back.state_dict()[k]), k
    for l,m in zip(net.layers, back.layers):
        if isinstance(l, LIF): assert (l.reset,l.surrogate,l.slope)==(m.reset,m.surrogate,m.slope)
    assert {k for k,_ in back.named_parameters()}=={k for k,_ in net.named_parameters()}
    x = torch.randn(12,2,1,8,8)
    assert torch.equal(net.eval()(x)[0], back.eval()(x)[0])

def test_to_snntorch_runs_as_tutorial_6():
    net = on_grid(Network(nn.Linear(20,12), LIF(reset='subtract_delayed'), nn.Linear(12,5), LIF(.8, reset='subtract_delayed')))
    there = to_snntorch(net)
    assert all(len(m.mem)==0 for m in there if isinstance(m, snn.Leaky))
    x = torch.randint(-8, 9, (200,4,20))/4
    for _ in range(2): # the second time proves that `utils.reset` reaches it
        utils.reset(there)
        with torch.no_grad(): outs = [there(i) for i in x]
        spk,mem = (torch.stack(o) for o in zip(*outs))
        with torch.no_grad(): ours = net(x)
        assert torch.equal(spk, ours[0]) and torch.equal(mem, ours[1]) and spk.any()

def test_to_snntorch_trains_alike():
    net = Network(nn.Linear(20,12), LIF(.9, learn_beta=True, reset='subtract_delayed'), nn.Linear(12,5), LIF(.8, reset='none'))
    there,x = to_snntorch(net),3*torch.rand(10,4,20)
    net(x)[1].sum().backward()
    torch.stack([there(i)[1] for i in x]).sum().backward()
    for a,b in ((net.layers[0].weight,there[0].weight),(net.layers[1].beta,there[1].beta),(net.layers[2].bias,there[2].bias)):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)

def test_to_snntorch_leaves_the_network_alone():
    net = everything().eval()
    before,rng = {k:v.clone() for k,v in net.state_dict().items()},torch.get_rng_state()
    there = to_snntorch(net)
    assert torch.equal(rng, torch.get_rng_state()) and not net.training
    for k,v in net.state_dict().items(): assert torch.equal(v, before[k])
    assert there[0].weight is not net.layers[0].weight and not there.training

def test_to_snntorch_float64():
    net = Network(nn.Linear(20,12), LIF(reset='subtract_delayed'), nn.Linear(12,5), LIF(reset='subtract_delayed')).double()
    there = to_snntorch(net)
    assert there(torch.rand(2,20).double())[0].dtype==torch.float64

@pytest.mark.parametrize('layers,words', [
    ([nn.Linear(4,3), LIF()], ['layer `1` (LIF)', '`reset`', "'subtract_delayed'", "found 'subtract'"]),
    ([nn.Linear(4,3), nn.ReLU(), LIF(reset='zero')], ['layer `1`', 'found ReLU']),
    ([nn.Linear(4,3), RecurrentLIF(nn.Sequential(nn.Linear(3,3)), reset='zero')], ['layer `1` (RecurrentLIF)', '`recurrent`', 'found Sequential']),
])
def test_to_snntorch_refuses(layers, words):
    with pytest.raises(CheckError) as e: to_snntorch(Network(*layers))
    for w in words: assert w in str(e.value), str(e.value)

def test_to_snntorch_wants_a_network():
    with pytest.raises(CheckError, match='a Network, found Sequential'): to_snntorch(nn.Sequential())


@pytest.mark.parametrize('shape,layer,given', [((1,32,32),'3','(3600,)'), ((3,28,28),'0','(3, 28, 28)'), ((1,28),'0','(1, 28)')])
def test_wrong_in_shape_is_one_reason(shape, layer, given):
    "The way that got furthest says why it stopped, and none of the others"
    net = nn.Sequential(nn.Conv2d(1, 4, 3), snn.Leaky(beta=.9, init_hidden=True), nn.Flatten(), nn.Linear(4*26*26, 10), snn.Leaky(beta=.9, init_hidden=True, output=True))
    with pytest.raises(CheckError) as e: from_snntorch(net, in_shape=shape)
    said = str(e.value)
    assert said.startswith('Sequential: `forward`: expected ') and f'of samples {list(shape)}, found layer `{layer}`' in said and f'given {given}' in said
    assert len(said)<340 and said.count('given (')==1 and '\n' not in said


def test_a_sample_in_the_place_of_its_shape_is_one_line():
    "Four facts, and none of its numbers"
    net = row(snn.Leaky(**hidden()), snn.Leaky(**hidden(output=True)))
    for x in torch.rand(64, 1, 28, 28), torch.rand(64, 1, 28, 28).numpy():
        with pytest.raises(CheckError) as e: from_snntorch(net, x)
        want = 'from_snntorch: `in_shape`: expected the shape of one sample, such as (1, 28, 28), found '
        assert str(e.value)==want+f'{type(x).__name__} of {x.dtype}, shape [64, 1, 28, 28]'
    with pytest.raises(CheckError, match=r'found \[tensor\(') as e: from_snntorch(net, [torch.rand(64, 12)])
    assert len(str(e.value))<200 and '\n' not in str(e.value)
