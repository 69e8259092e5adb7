"Ways in which people write networks of snnTorch: what counts is the order of calls, and what cannot be read is named with its line"
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import lower, prepare, preset, verify
from quarantion.spikes import from_snntorch


@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)


def leaky(**kw): return snn.Leaky(.9, init_hidden=True, **kw)


class Base(nn.Module):
    "One call is one step"
    def step(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x))))
    def forward(self, x): return self.step(x)


class LayersFirst(Base):
    def __init__(self):
        super().__init__()
        self.fc1,self.fc2 = nn.Linear(12,12),nn.Linear(12,12)
        self.lif1,self.lif2 = leaky(),leaky()


class NeuronsFirst(Base):
    def __init__(self):
        super().__init__()
        self.lif2,self.lif1 = leaky(),leaky()
        self.fc2,self.fc1 = nn.Linear(12,12),nn.Linear(12,12)


class TwoLists(Base):
    def __init__(self):
        super().__init__()
        self.fcs = nn.ModuleList(nn.Linear(12,12) for _ in range(3))
        self.lifs = nn.ModuleList(leaky() for _ in range(3))
    def forward(self, x):
        for fc,lif in zip(self.fcs, self.lifs): x = lif(fc(x))
        return x


class Dictionary(Base):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict(dict(out=leaky(), b=nn.Linear(12,12), hidden=leaky(), a=nn.Linear(12,12)))
    def forward(self, x):
        for k in 'a','hidden','b','out': x = self.parts[k](x)
        return x


class Heads(LayersFirst):
    def __init__(self):
        super().__init__()
        self.other,self.unread,self.loss,self.act = nn.Linear(12,7),leaky(),nn.CrossEntropyLoss(),nn.GELU()


class Wrapped(Base):
    def __init__(self):
        super().__init__()
        self.net = LayersFirst()
    def forward(self, x): return self.net(x)


class NumSteps(LayersFirst):
    def forward(self, x, num_steps):
        out = []
        self.lif1.reset_mem(); self.lif2.reset_mem()
        for _ in range(num_steps): out.append(self.step(x))
        return torch.stack(out)


class LayerByLayer(LayersFirst):
    "All steps of a layer before the next"
    def forward(self, x):
        self.lif1.reset_mem(); self.lif2.reset_mem()
        spk = torch.stack([self.lif1(i) for i in self.fc1(x)])
        return torch.stack([self.lif2(self.fc2(s)) for s in spk])


@pytest.mark.parametrize('make', [LayersFirst, NeuronsFirst, TwoLists, Dictionary, Heads, Wrapped, NumSteps, LayerByLayer])
def test_order_of_calls(make):
    net = make()
    ours,x = from_snntorch(net),torch.rand(25,3,12)*3
    neurons = [m for m in net.modules() if isinstance(m, snn.Leaky)]
    for m in neurons: m.reset_mem()
    with torch.no_grad():
        if make is NumSteps: theirs,x = net(x[0], 25),x[0]
        else: theirs = net(x) if make is LayerByLayer else torch.stack([net(i) for i in x])
        assert torch.equal(theirs, ours(x)[0]) and 0<theirs.sum()<theirs.numel()
    q = prepare(ours, preset('int8'), x)
    assert verify(q, lower(q), [x]).mismatches==0


class Conv(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.conv1,self.lif1,self.conv2,self.lif2 = nn.Conv2d(1,4,3,padding=1),leaky(),nn.Conv2d(4,4,3,padding=1),leaky()
        self.fc,self.lif3,self.pool,self.drop,self.way = nn.Linear(16,5),leaky(),nn.MaxPool2d(2),nn.Dropout(.3),way
    def forward(self, x):
        if self.way=='twice': # one pool, one dropout, called twice
            x = self.drop(self.pool(self.lif1(self.conv1(x))))
            return self.lif3(self.fc(self.drop(self.pool(self.lif2(self.conv2(x)))).flatten(1)))
        x = F.dropout(F.max_pool2d(self.lif1(self.conv1(x)), 2), .3, self.training)
        x = F.avg_pool2d(self.lif2(self.conv2(x)), 2)
        if self.way=='adaptive': x = F.adaptive_avg_pool2d(x, (2,2))
        if self.way=='view': x = x.view(x.size(0), -1)
        if self.way=='reshape': x = torch.reshape(x, (len(x), 16))
        return self.lif3(self.fc(x.flatten(start_dim=1)))


@pytest.mark.parametrize('way', ['twice','view','reshape','adaptive'])
def test_functions_are_layers(way):
    net = Conv(way)
    ours,x = from_snntorch(net, in_shape=(1,8,8)),torch.rand(25,3,1,8,8)*3
    net.eval(); ours.eval()
    for m in (net.lif1,net.lif2,net.lif3): m.reset_mem()
    with torch.no_grad(): theirs = torch.stack([net(i) for i in x])
    assert torch.equal(theirs, ours(x)[0]) and theirs.any()
    kinds = [type(m).__name__ for m in ours.layers]
    assert kinds.count('Flatten')==1 and kinds.count('Dropout')==(2 if way=='twice' else 1)
    q = prepare(ours, preset('int4'), x)
    assert verify(q, lower(q), [x]).mismatches==0


def test_adaptive_pool_is_an_average():
    net = nn.Sequential(nn.Conv2d(1,4,3,padding=1), leaky(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16,3), leaky(output=True))
    ours = from_snntorch(net, in_shape=(1,8,8))
    assert type(ours.layers[2]) is nn.AvgPool2d and ours.layers[2].kernel_size==(4,4)
    net[2] = nn.AdaptiveAvgPool2d(3)
    net[4] = nn.Linear(36,3)
    refused(net, 'layer `4`' if False else '`2` (AdaptiveAvgPool2d)', 'a size that divides [8, 8]', 'found [3, 3]', in_shape=(1,8,8))


def refused(net, *words, **kw):
    with pytest.raises(CheckError) as e: from_snntorch(net, **kw)
    for w in words: assert w in str(e.value), str(e.value)
    assert '\n' not in str(e.value)


class Shared(LayersFirst):
    def forward(self, x): return self.lif1(self.fc2(self.lif1(self.fc1(x))))

class SharedWeights(LayersFirst):
    def forward(self, x): return self.lif2(self.fc1(self.lif1(self.fc1(x))))

class Through(LayersFirst):
    "Batch norm through time: one for each step"
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(12) for _ in range(25))
    def forward(self, x):
        out = []
        self.lif1.reset_mem(); self.lif2.reset_mem()
        for i,norm in zip(x, self.norms): out.append(self.lif2(self.fc2(self.lif1(norm(self.fc1(i))))))
        return torch.stack(out)

class Skip(LayersFirst):
    def forward(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x)))+x)

class Scaled(LayersFirst):
    def forward(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x/255))))

class Noisy(LayersFirst):
    def forward(self, x): return self.lif2(self.fc2(self.lif1(self.fc1(x)+torch.randn(12))))

class Membranes(Base):
    def __init__(self):
        super().__init__()
        self.fc1,self.fc2,self.lif1,self.lif2 = nn.Linear(12,12),nn.Linear(12,12),snn.Leaky(.9),snn.Leaky(.9)
    def forward(self, x, mem1, mem2):
        _,mem1 = self.lif1(self.fc1(x), mem1)
        spk,mem2 = self.lif2(self.fc2(mem1), mem2)
        return spk,mem1,mem2

class Branches(LayersFirst):
    def forward(self, x): return self.lif1(self.fc1(x)),self.lif2(self.fc2(x))


@pytest.mark.parametrize('make,words', [
    (Shared, ['layer `lif1` (Leaky)', 'neurons of its own', 'x → fc1 and lif1 → fc2', 'test_read_networks.py:']),
    (SharedWeights, ['layer `fc1` (Linear)', 'called once a step']),
    (Through, ['layer `lif1` (Leaky)', 'one norm for all of time', 'norms.0', 'norms.1']),
    (Skip, ['layer `lif2` (Leaky)', '`add` at test_read_networks.py:']),
    (Scaled, ['layer `lif1` (Leaky)', 'div` at test_read_networks.py:']),
    (Noisy, ['layer `lif1` (Leaky)', '`add` at test_read_networks.py:']),
    (Membranes, ['layer `lif2`', 'the spikes of `lif1`', 'its membranes']),
    (Branches, ['`forward`', 'one layer of neurons behind the input', '`lif1`, `lif2`']),
])
def test_what_cannot_be_read_is_named(make, words): refused(make(), *words)


# What only some input shows

class Changed(nn.Module):
    "A loop over x, with something done to what it takes of each step"
    def __init__(self, change=lambda v: v, steps=len, at=lambda x, t: x[t]):
        super().__init__()
        self.fc,self.lif = nn.Linear(4,3),snn.Leaky(.9)
        self.change,self.steps,self.at = change,steps,at
    def forward(self, x):
        mem,out = self.lif.init_leaky(),[]
        for t in range(self.steps(x)):
            spk,mem = self.lif(self.fc(self.change(self.at(x, t))), mem)
            out.append(spk)
        return torch.stack(out)

def pixels(v): return v/255 if v.max()>1 else v

def masked(v):
    v = v.clone()
    v[v<0] = 0
    return v

def through_a_view(v):
    v = v.clone()
    v.view(-1).clamp_(0, 1)
    return v

def into_out(v):
    v = v.clone()
    torch.clamp(v, 0, 1, out=v.view(-1, 4))
    return v

def detached(v):
    v = v.clone()
    v.detach().clamp_(0, 1)
    return v

def by_data(v):
    v = v.clone()
    v.data.clamp_(max=1.)
    return v

def added(v):
    v = v.clone()
    v += 1
    return v

@pytest.mark.parametrize('change', [pixels, masked, through_a_view, into_out, detached, by_data, added])
def test_what_only_some_input_shows_is_refused(change): refused(Changed(change), 'layer `lif` (Leaky)')


def test_membranes_that_are_cut_far_below():
    class Cut(Changed):
        def forward(self, x):
            mem,out = self.lif.init_leaky(),[]
            for i in x:
                mem = mem.clone()
                mem[mem<-6] = -6
                spk,mem = self.lif(self.fc(i), mem)
                out.append(spk)
            return torch.stack(out)
    refused(Cut(), 'layer `lif` (Leaky)', 'the first at step')


@pytest.mark.parametrize('kw,words', [
    (dict(steps=lambda x: len(x)-1), ['`forward`', 'all steps of x, or the same number of any', '24 of 25 and 29 of 30']),
    (dict(at=lambda x, t: x[min(t, 24)]), ['the first at step 25']),
])
def test_lengths(kw, words): refused(Changed(**kw), *words)


def test_a_length_of_its_own_is_said():
    with pytest.warns(UserWarning, match='takes 10 steps, however many x has; the network takes all') as said:
        assert from_snntorch(Changed(steps=lambda x: 10)).steps==10
    assert len(said)==1


def test_a_reset_after_some_steps():
    class Resets(Changed):
        def forward(self, x):
            mem,out = self.lif.init_leaky(),[]
            for t,i in enumerate(x):
                if t==30: mem = self.lif.init_leaky()
                spk,mem = self.lif(self.fc(i), mem)
                out.append(spk)
            return torch.stack(out)
    refused(Resets(), 'layer `lif` (Leaky)', 'the first at step 30')


def test_a_state_that_stays_between_calls_is_said():
    class Stays(LayersFirst):
        def forward(self, x): return torch.stack([self.step(i) for i in x])
    with pytest.warns(UserWarning, match='does not reset its neurons: they go on from the call before') as said: from_snntorch(Stays())
    assert len(said)==1


# What changes nothing

def filled(v):
    out = torch.zeros(len(v), 4)
    for i in range(len(v)): out[i] = v[i]
    return out

@pytest.mark.parametrize('change', [torch.Tensor.float, lambda v: v.to(torch.float32), lambda v: v.cpu(), lambda v: v.type_as(torch.ones(1)),
    lambda v: F.dropout(v, 0.), lambda v: torch.cat([i[None] for i in v]), filled])
def test_what_changes_nothing_is_read(change):
    net,x = Changed(change),torch.rand(9,5,4)*3
    with torch.no_grad(): assert torch.equal(from_snntorch(net)(x)[0], net(x))


@pytest.mark.parametrize('drop,layer', [(F.dropout2d,nn.Dropout2d), (torch.feature_dropout,nn.Dropout2d), (F.dropout,nn.Dropout)])
def test_dropouts_keep_their_kind(drop, layer):
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv,self.lif = nn.Conv2d(1,4,3),leaky()
        def forward(self, x): return self.lif(F.avg_pool2d(drop(self.conv(x), .3, self.training), 2, 2, 0, False, False))
    ours = from_snntorch(Drops(), in_shape=(1,8,8))
    assert [type(m) for m in ours.layers][1:3]==[layer,nn.AvgPool2d] and ours.layers[1].p==.3 and not ours.layers[2].count_include_pad


@pytest.mark.parametrize('training', [True, False])
def test_what_was_a_function_is_in_the_mode_of_the_network(training):
    class Drops(LayersFirst):
        def step(self, x): return self.lif2(self.fc2(F.dropout(self.lif1(self.fc1(x)), .5, self.training)))
    net = from_snntorch(Drops().train(training))
    assert [m.training for m in net.modules()]==[training]*len(list(net.modules()))
    with torch.no_grad(): a,b = (net(torch.ones(30, 4, 12)*2)[0] for _ in range(2))
    assert torch.equal(a, b)!=training


def test_axes_of_a_sample_that_forward_makes():
    class Channel(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv,self.lif = nn.Conv2d(1,4,3),leaky()
        def forward(self, x): return self.lif(self.conv(x.unsqueeze(1)))
    refused(Channel(), '`in_shape`', 'the shape that the first layer takes', '[8, 8]', in_shape=(8,8))


def test_bfloat16():
    net = nn.Sequential(nn.Linear(4,3), leaky(output=True)).bfloat16()
    assert from_snntorch(net).layers[0].weight.dtype==torch.bfloat16

@pytest.mark.parametrize('cast,name', [(lambda v: (v>.5).float(), 'gt'), (lambda v: v.bool().float(), 'bool'),
                                       (lambda v: v.int().to(torch.float32), 'int'), (lambda v: v.half().float(), 'half')])
def test_casts_back_to_float_name_what_was_before_them(cast, name):
    class Net(LayersFirst):
        def forward(self, x): return self.lif2(self.fc2(cast(self.lif1(self.fc1(x)))))
    refused(Net(), 'layer `lif2` (Leaky)', f'`{name}` at test_read_networks.py')

@pytest.mark.parametrize('name', ['fc1','lif1'])
def test_hooks_that_stay_behind_are_said(name):
    net = LayersFirst()
    net.get_submodule(name).register_forward_hook(lambda m, args, out: 2*out)
    with pytest.warns(UserWarning, match=f'layer `{name}` .*: its hooks are not called here, and what they change'):
        from_snntorch(net)

def test_hooks_of_a_float_network_are_said_by_prepare():
    net = from_snntorch(LayersFirst())
    handles = [net.layers[0].register_forward_hook(lambda m, args, out: 2*out),
               net.layers[2].register_forward_pre_hook(lambda m, args: (args[0]/2,))]
    with pytest.warns(UserWarning) as said: prepare(net, preset('int8'), torch.rand(3,12))
    assert [str(w.message)[:20] for w in said]==['layer `0` (Linear): ','layer `2` (Linear): ']
    for h in handles: h.remove()
    prepare(net, preset('int8'), torch.rand(3,12))

def test_a_forward_put_in_place_is_refused():
    net = LayersFirst()
    net.fc1.forward = lambda x, fc=net.fc1: 2*nn.Linear.forward(fc, x)
    refused(net, 'layer `fc1`', 'Linear with a `forward` that was put in place of its own')
    ours = from_snntorch(LayersFirst())
    ours.layers[2].forward = lambda x, fc=ours.layers[2]: 2*nn.Linear.forward(fc, x)
    with pytest.raises(CheckError, match='layer 2 .Linear.: .*in place of its own'):
        prepare(ours, preset('int8'), torch.rand(3,12))

@pytest.mark.parametrize('first', [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_pixels_of_another_type_before_a_pool(first):
    ours = from_snntorch(nn.Sequential(first, nn.Conv2d(1,2,3), leaky()), (1,8,8))
    with pytest.raises(CheckError, match='layer 0: `x`: expected torch.float32, as the weights, found torch.uint8'):
        ours(torch.zeros(3,1,8,8, dtype=torch.uint8))

@pytest.mark.parametrize('wrap', [nn.DataParallel, lambda net: torch.compile(net, backend='eager'),
                                  lambda net: nn.Sequential(nn.DataParallel(net))])
def test_wrapped_to_run_elsewhere(wrap):
    net,x = LayersFirst().eval(),torch.rand(5,3,12)
    plain,ours = from_snntorch(net),from_snntorch(wrap(net))
    assert torch.equal(ours(x)[0], plain(x)[0]) and all(r.spk.any() for r in ours.record(3*x))

@pytest.mark.parametrize('in_shape', [12, '12', (-12,), (12.,), (), (None,)])
def test_a_shape_that_is_none_is_refused(in_shape):
    refused(LayersFirst(), '`in_shape`: expected the shape of one sample', in_shape=in_shape)

def test_what_is_read_in_inference_mode_learns():
    net = LayersFirst()
    with torch.inference_mode():
        ours = from_snntorch(net)
        q = prepare(ours, preset('int8'), torch.rand(3,12))
    for n in ours,q:
        n(torch.rand(5,3,12))[0].sum().backward()
        assert all(p.grad is not None for p in n.layers[0].parameters())
