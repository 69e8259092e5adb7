"What `forward` does after the last neurons is not lost: it changes nothing, keeps the order, or is refused with its line"
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer, neuron
from torch import nn

from quarantion.checks import CheckError
from quarantion.spikes import from_snntorch, from_spikingjelly


class Over(nn.Module):
    "A loop over x `[T, B, …]`, and something done to spikes and membranes `[T, B, 12]`"
    def __init__(self, tail, out=12, make=snn.Leaky, steps=len):
        super().__init__()
        torch.manual_seed(0)
        self.fc1,self.lif1 = nn.Linear(8,16),snn.Leaky(.9)
        self.fc2,self.lif2 = nn.Linear(16,out),make(beta=.9)
        self.tail,self.steps = tail,steps
    def forward(self, x):
        m1,m2,spks,mems,hidden = self.lif1.init_leaky(),self.lif2.reset_mem(),[],[],[]
        for t in range(self.steps(x)):
            s1,m1 = self.lif1(self.fc1(x[t]), m1)
            s2,m2 = self.lif2(self.fc2(s1), m2)
            spks.append(s2)
            mems.append(m2)
            hidden.append(s1)
        return self.tail(torch.stack(spks), torch.stack(mems), torch.stack(hidden))

class Theirs(nn.Module):
    "The same of SpikingJelly, in step mode m"
    def __init__(self, tail):
        super().__init__()
        torch.manual_seed(0)
        self.fc1,self.sn1 = layer.Linear(8,16,step_mode='m'),neuron.IFNode(step_mode='m')
        self.fc2,self.sn2 = layer.Linear(16,12,step_mode='m'),neuron.LIFNode(step_mode='m')
        self.tail = tail
    def forward(self, x): return self.tail(self.sn2(self.fc2(self.sn1(self.fc1(x)))))

def refused(net, *words, read=from_snntorch, **kw):
    with pytest.raises(CheckError) as e: read(net, steps=8, **kw)
    for w in (*words,'after the last neurons'): assert w in str(e.value), str(e.value)
    return str(e.value)


# What changes no answer

SAME = dict(
    spikes=lambda s,m,h: s, both=lambda s,m,h: (s,m), membranes=lambda s,m,h: m, dict=lambda s,m,h: dict(spk=s, mem=[m]),
    steps=lambda s,m,h: list(s), pairs=lambda s,m,h: [(a,b) for a,b in zip(s, m)], tuple_of_steps=lambda s,m,h: tuple(s),
    sum=lambda s,m,h: s.sum(0), mean=lambda s,m,h: (s.mean(0),m.mean(0)), rate=lambda s,m,h: s.sum(0)/len(s), last=lambda s,m,h: m[-1],
    last_spikes=lambda s,m,h: s[-1], batch_first=lambda s,m,h: s.transpose(0, 1), permuted=lambda s,m,h: s.permute(1,2,0),
    cat=lambda s,m,h: torch.cat(list(s)), cat_of_steps=lambda s,m,h: torch.cat([i[None] for i in s]), joined=lambda s,m,h: s.flatten(0, 1),
    squeezed=lambda s,m,h: s[:,None].squeeze(1), longer=lambda s,m,h: s.unsqueeze(-1), detached=lambda s,m,h: s.detach(),
    float=lambda s,m,h: s.float(), bool=lambda s,m,h: s.bool(), whole=lambda s,m,h: s.sum(0).long(), contiguous=lambda s,m,h: s.clone().contiguous(),
    hidden=lambda s,m,h: (s,h,h.mean()), scalars=lambda s,m,h: (s,s.mean(),m.sum((0,2))), classes=lambda s,m,h: s.sum(0).argmax(1),
    einsum=lambda s,m,h: torch.einsum('tbc->bc', s), running=lambda s,m,h: sum(s))

@pytest.mark.parametrize('name', SAME)
def test_what_changes_no_answer_is_read(name):
    net = Over(SAME[name])
    x = 2*torch.rand(9, 5, 8)
    plain = Over(SAME['spikes'])
    with torch.no_grad(): assert torch.equal(from_snntorch(net, steps=8)(x)[0], plain(x))


@pytest.mark.parametrize('tail', [lambda o: o, lambda o: o.mean(0), lambda o: o.sum(0)/len(o), lambda o: o.transpose(0, 1), lambda o: o[-1]])
def test_of_spikingjelly(tail):
    with torch.no_grad(): assert torch.equal(from_spikingjelly(Theirs(tail))(2*torch.ones(6,3,8))[0], Theirs(lambda o: o)(2*torch.ones(6,3,8)))


def test_a_fixed_number_of_steps_divides():
    assert from_snntorch(Over(lambda s,m,h: s.sum(0)/25), steps=25).steps==25
    with pytest.warns(UserWarning, match='takes 7 steps'): assert from_snntorch(Over(lambda s,m,h: s.sum(0)/7, steps=lambda x: 7)).steps==7


def test_a_synaptic_current_is_no_answer():
    class Second(nn.Module):
        def __init__(self, tail):
            super().__init__()
            self.fc,self.lif,self.tail = nn.Linear(4,6),snn.Synaptic(alpha=.5, beta=.9),tail
        def forward(self, x):
            syn,mem = self.lif.reset_mem()
            out = []
            for i in x:
                spk,syn,mem = self.lif(self.fc(i), syn, mem)
                out.append((spk,syn,mem))
            return [torch.stack(o) for o in zip(*self.tail(out))]
    assert len(from_snntorch(Second(lambda o: o)).layers)==2
    refused(Second(lambda o: [(s,c.flip(-1),m) for s,c,m in o]), '`flip` at test_returned.py')


def test_a_membrane_of_theirs_is_in_their_units():
    class Voltage(nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.fc,self.sn,self.gain = layer.Linear(8,6),neuron.LIFNode(tau=3., v_reset=-.5),gain
        def forward(self, x):
            self.sn(self.fc(x))
            return self.gain*self.sn.v
    assert len(from_spikingjelly(Voltage(1)).layers)==2
    with pytest.raises(CheckError, match='Voltage: what `forward` returns'): from_spikingjelly(Voltage(-1))


# What does

BAD = dict(flip=lambda s,m,h: s.flip(-1), __getitem__=lambda s,m,h: s[...,:10], __rsub__=lambda s,m,h: 1-s, roll=lambda s,m,h: (s.roll(1, -1),m),
    neg=lambda s,m,h: -m.sum(0), view=lambda s,m,h: s.view(*s.shape[:2], 3, 4).sum(2), index_select=lambda s,m,h: s.index_select(2, torch.arange(11,-1,-1)),
    mul=lambda s,m,h: s*torch.linspace(-1, 1, 12), relu=lambda s,m,h: F.relu(m.sum(0)), cat=lambda s,m,h: torch.cat([h,s], -1), matmul=lambda s,m,h: s@torch.ones(12,4),
    reshape=lambda s,m,h: s.reshape(s.shape[1], len(s), 12), linear=lambda s,m,h: F.linear(s, torch.ones(5,12)), abs=lambda s,m,h: m.abs())

@pytest.mark.parametrize('name', BAD)
def test_what_changes_an_answer_is_refused_with_its_line(name):
    said = refused(Over(BAD[name]), f'`{name}`', 'at test_returned.py:', '`lif2`', 'leave the rest to `decision`')
    assert '\n' not in said


@pytest.mark.parametrize('read,net', [(from_spikingjelly,Theirs(lambda o: torch.flip(o/6, [1]))), (from_spikingjelly,Theirs(lambda o: o.mean(0).flip(-1)))])
def test_of_spikingjelly_too(read, net): refused(net, '`flip` at test_returned.py', '`sn2`', read=read)


def by_groups(axis, n=4):
    "Sums of groups `[T, B, n]`, of neighbours or of every n-th"
    return lambda s,m,h: (s.view(*s.shape[:2], *((n,-1) if axis==3 else (-1,n)))).sum(axis)

def test_groups_are_those_of_the_decision():
    x = 2*torch.rand(9, 5, 8)
    net = from_snntorch(Over(by_groups(3)), decision='population(4)')
    with torch.no_grad():
        assert torch.allclose(net.answer(x)[0], Over(by_groups(3))(x).mean(0), atol=1e-5)
        assert net.answer(x)[0].any()
    refused(Over(by_groups(2)), '`view` at test_returned.py', '`sum` at test_returned.py', decision='population(4)')
    refused(Over(by_groups(3)), "decision='population(4)' does it")
    refused(Over(by_groups(3, 6)), decision='population(4)')
    refused(Over(lambda s,m,h: m.max(0).values), "decision='max_membrane' does it")
    assert from_snntorch(Over(lambda s,m,h: m.max(0).values), decision='max_membrane').decision=='max_membrane'


def test_means_of_groups():
    net = from_snntorch(Over(lambda s,m,h: F.avg_pool1d(s.mean(0), 3)), decision='population(4)')
    assert net.decision=='population(4)'


# What keeps the order

@pytest.mark.parametrize('name,tail', [('log_softmax',lambda s,m,h: F.log_softmax(s.sum(0), -1)), ('softmax',lambda s,m,h: m.softmax(-1)),
    ('mul',lambda s,m,h: 3*s), ('div',lambda s,m,h: s.sum(0)/100), ('add',lambda s,m,h: s.sum(0)+1)])
def test_the_same_answers_are_one_warning(name, tail):
    with pytest.warns(UserWarning, match='answers are the same, values are not') as said: from_snntorch(Over(tail), steps=8)
    assert len(said)==1 and name in str(said[0].message) and 'test_returned.py' in str(said[0].message)
    assert '\n' not in str(said[0].message)


@pytest.mark.parametrize('decision', ['values','labels(.5)'])
def test_where_numbers_are_the_answer_all_count(decision): refused(Over(lambda s,m,h: 3*m.mean(0)), decision=decision)


def test_one_output_has_no_order():
    refused(Over(lambda s,m,h: 1-s, out=1))
    assert from_snntorch(Over(lambda s,m,h: s.squeeze(-1), out=1)).decision=='sum'


def test_nothing_is_said():
    with pytest.warns(UserWarning, match='returns no tensor'): from_snntorch(Over(lambda s,m,h: None))


def test_other_neurons_are_no_answer():
    with pytest.raises(CheckError, match='Over: what `forward` returns: expected what they give'): from_snntorch(Over(lambda s,m,h: h))
