"Networks that take `[B, T, …]` are read as such, and so are all that are made from them; what comes out is `[T, B, …]`"
import warnings

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import adaround, calibrate, lower, prepare, preset, verify
from quarantion.runtime import load, save
from quarantion.spikes import LIF, Network, from_snntorch, to_snntorch


class Theirs(nn.Module):
    "As people write it: `forward` of `[B, T, …]`, of `[T, B, …]`, of both, or one that stops when it has seen enough"
    def __init__(self, how='batch'):
        super().__init__()
        self.how = how
        self.fc1,self.lif1,self.fc2,self.lif2 = nn.Linear(6,20),snn.Leaky(.9),nn.Linear(20,4),snn.Leaky(.8)

    def forward(self, x):
        mem1,mem2,out = self.lif1.init_leaky(),self.lif2.init_leaky(),[]
        if self.how=='both' and x.shape[0]==3: x = x.transpose(0, 1)
        for i in x.unbind(1 if self.how=='batch' else 0):
            spk,mem1 = self.lif1(self.fc1(i), mem1)
            spk,mem2 = self.lif2(self.fc2(spk), mem2)
            out.append(spk)
            if self.how=='stops' and sum(out).sum()>20: break
        return torch.stack(out)


@pytest.fixture(scope='module')
def theirs():
    torch.manual_seed(0)
    return Theirs()


def test_read_as_it_is(theirs):
    net,x = from_snntorch(theirs),torch.rand(5,9,6)*3
    assert net.batch_first and 'batch_first=True' in repr(net)
    assert torch.equal(net(x)[0], theirs(x)) and net(x)[0].shape==(9,5,4) and net(x)[0].sum()>0
    assert not from_snntorch(Theirs('time')).batch_first
    with pytest.raises(CheckError, match=r'expected shape \[B, 6\] or \[B, T, 6\], found \[5, 9, 7\]'): net(torch.rand(5,9,7))


def test_one_warning_where_both_fit():
    with pytest.warns(UserWarning, match='takes x .T, B, ….* read as .T, B') as seen: net = from_snntorch(Theirs('both'))
    assert len(seen)==1 and not net.batch_first


def test_steps_that_depend_on_data_are_refused():
    net = Theirs('stops')
    for w in net.fc1.weight,net.fc2.weight: w.data.abs_() # strong input makes it fire
    with pytest.raises(CheckError, match='as many steps for any input, found .* does it stop'): from_snntorch(net)


@pytest.mark.parametrize('policy', ['int8','nonary','current8'])
def test_all_that_is_made_of_it(theirs, policy, tmp_path):
    net = from_snntorch(theirs)
    plain = Network(*net.layers, steps=net.steps)
    x = torch.rand(5,9,6)*3
    first,time = (calibrate(n, preset(policy), v).eval() for n,v in ((net,x),(plain,x.transpose(0, 1))))
    assert 'batch_first=True' in repr(first) and 'batch first' in first._repr_html_()
    assert torch.equal(first(x)[0], time(x.transpose(0, 1))[0]) and first.materialize().batch_first
    program = lower(first)
    save(program, tmp_path/'net')
    back = load(tmp_path/'net')
    assert back.batch_first and lower(time).batch_first is False
    assert np.array_equal(back(x)[0], first(x)[0].detach().numpy()) and back(x.numpy())[0].shape==(9,5,4)
    assert np.array_equal(back.classify(x), lower(time).classify(x.transpose(0, 1)))
    proof = verify(first, back, [(x,torch.zeros(5, dtype=int))], net)
    assert proof.mismatches==0 and proof.spikes==5*9*24 and proof.samples==5 and not proof.parameters
    assert verify(first, lower(time), [x[:,:5]]).parameters==['batch_first']


def test_constant_input_is_not_touched(theirs):
    net = from_snntorch(theirs)
    x = torch.rand(5,6)
    assert torch.equal(net(x)[0], net(x[:,None].expand(5,net.steps,6))[0])


def test_back_to_snntorch(theirs):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        back = to_snntorch(from_snntorch(theirs))
    assert torch.equal(back[0].weight, theirs.fc1.weight)


def test_made_by_hand():
    net = Network(nn.Conv2d(2,3,3), LIF(), nn.Flatten(), nn.Linear(3*4*4,5), LIF(reset='none'), in_shape=(2,6,6), batch_first=True)
    x = torch.rand(2,7,2,6,6)
    other = Network(*net.layers, in_shape=(2,6,6))
    assert torch.equal(net(x)[1], other(x.transpose(0, 1))[1])
    for r,s in zip(net.record(x), other.record(x.transpose(0, 1))): assert torch.equal(r.mem, s.mem)
    q = prepare(net, preset('int4'), x)
    adaround(q, x)
    assert verify(q, lower(q), [x]).mismatches==0


def test_the_sample_of_a_run_is_one_sample():
    from quarantion.train.outcome import sample_outcome
    torch.manual_seed(0)
    net = Network(nn.Linear(6,8), LIF(), nn.Linear(8,3), LIF(reset='none'))
    x,y = torch.rand(7,5,6)*2,torch.zeros(5, dtype=torch.long)
    first = sample_outcome(x.transpose(0, 1), y, Network(*net.layers, batch_first=True), None, True)
    for k,v in sample_outcome(x, y, net, None, True).items(): assert torch.equal(torch.as_tensor(first[k]), torch.as_tensor(v)), k
