"Answers in snnTorch's meaning, whatever the decision, and the same of network, program and file"
import dataclasses
import warnings

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import functional as SF
from snntorch.functional import acc
from snntorch.functional.loss import SpikeTime
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant import lower, preset, prepare, verify
from quarantion.quant.proof import Gates
from quarantion.runtime import load
from quarantion.runtime.decision import answers, check_decision, decision_of, kept_for, scores
from quarantion.runtime.store import write
from quarantion.spikes import from_snntorch
from quarantion.spikes.network import Network, readout
from quarantion.spikes.neuron import LIF
from quarantion.train.fit import evaluate, train_epoch

WORDS = 'sum', 'population(4)', 'first_spike', 'max_membrane', 'labels(0.2)', 'values'


def made(seed=0, outputs=8, reset='subtract', decision='sum'):
    torch.manual_seed(seed)
    return Network(nn.Linear(6,12), LIF(), nn.Linear(12,outputs), LIF(reset=reset), steps=7, decision=decision)


def record(seed=0, T=7, B=40, N=8):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(T, B, N, generator=g)<.15).float(), torch.randn(T, B, N, generator=g)


@pytest.mark.parametrize('seed', range(5))
def test_classes_are_those_of_snntorch(seed):
    spk,mem = record(seed)
    said = lambda d: answers(d, readout(spk, mem, 'subtract', d))
    assert torch.equal(said('sum'), spk.sum(0).max(1)[1])
    assert torch.equal(said('population(4)'), acc._population_code(spk, 4, 8).max(1)[1])
    assert acc.accuracy_rate(spk, said('population(4)'), population_code=True, num_classes=4)==1
    assert acc.accuracy_temporal(spk, said('first_spike'))==1
    assert torch.equal(said('max_membrane'), mem.max(0)[0].max(1)[1])


def test_gradients_are_those_of_snntorch():
    spk = record()[0].requires_grad_()
    times = SpikeTime(target_is_time=True)
    theirs,_ = times(spk, torch.zeros(40, 8))
    weight = torch.randn(40, 8)
    want, = torch.autograd.grad((-theirs*weight).sum(), spk)
    ours = readout(spk, spk, 'subtract', 'first_spike')
    assert torch.equal(ours, -theirs)
    got, = torch.autograd.grad((ours*weight).sum(), spk)
    assert torch.equal(got, want)
    mem = torch.randn(7, 4, 8, requires_grad=True)
    target = torch.randint(8, (4,))
    a, = torch.autograd.grad(SF.ce_max_membrane_loss()(mem, target), mem)
    b, = torch.autograd.grad(nn.functional.cross_entropy(readout(mem, mem, 'none', 'max_membrane'), target), mem)
    assert torch.allclose(a, b)


@pytest.mark.parametrize('reset', ['subtract', 'none'])
@pytest.mark.parametrize('word', WORDS)
def test_numpy_says_what_torch_says(word, reset):
    spk,mem = record()
    s,m = spk.numpy().astype(np.uint8),(mem*1000).round().int().numpy()
    kind = kept_for(word, reset)
    kept = dict(spk=s, mem=m, count=s.sum(0), total=m.sum(0))[kind]
    ours = answers(word, scores(word, kept, 7, .001 if kind in ('mem','total') else 1.))
    theirs = answers(word, readout(spk.double(), torch.as_tensor(m)*.001, reset, word)).numpy()
    assert np.allclose(ours, theirs) if word=='values' else np.array_equal(ours, theirs)


@pytest.mark.parametrize('reset', ['subtract', 'none'])
@pytest.mark.parametrize('word', WORDS)
def test_all_that_is_made_of_a_network_answers_as_it_does(tmp_path, word, reset):
    net = made(reset=reset, decision=word)
    x = torch.rand(50, 6)*2
    q = prepare(net, preset('int8'), x)
    prog = lower(q)
    prog.save(tmp_path/'net.safetensors')
    again = load(tmp_path/'net.safetensors')
    assert [m.decision for m in (net, q, prog, again, q.materialize())]==[str(decision_of(word))]*5
    assert word=='sum' or f'decision={word!r}' in repr(net) and f'decision={word!r}' in repr(q)
    spk,mem = again(x.numpy())
    said = again.decide(spk, mem)
    if word=='values':
        assert np.allclose(said, mem*again.layers[-1].unit) and said.shape==(7,50,8)
        with pytest.raises(CheckError, match='classify: `decision`: expected classes or labels'): again.classify(x.numpy())
    else:
        assert np.array_equal(again.classify(x.numpy()), said)
        small = dataclasses.replace(again, threads=3)
        assert np.array_equal(small.classify(x.numpy()), said)
    with torch.no_grad(): theirs = answers(word, q.eval().answer(x)[0]).numpy()
    if word=='values': assert np.allclose(said, theirs, atol=1e-5)
    else: assert (said==theirs).mean()>=.99 # ties of means in float32
    proof = verify(q, again, [x], net)
    assert proof.mismatches==0 and proof.decision==str(decision_of(word)) and not proof.parameters


class Population(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1,self.lif1,self.fc2,self.lif2 = nn.Linear(64,80),snn.Leaky(.9),nn.Linear(80,100),snn.Leaky(.9)

    def forward(self, x):
        mem1,mem2,out = self.lif1.init_leaky(),self.lif2.init_leaky(),[]
        for _ in range(12):
            spk1,mem1 = self.lif1(self.fc1(x), mem1)
            spk2,mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)


@pytest.fixture(scope='module')
def population():
    d = load_digits()
    torch.manual_seed(0)
    net = Population()
    loss_fn = SF.mse_count_loss(correct_rate=1., incorrect_rate=0., population_code=True, num_classes=10)
    opt = torch.optim.Adam(net.parameters(), 5e-3)
    for e in range(5):
        for i in torch.randperm(len(d.x_train)).split(64):
            loss = loss_fn(net(d.x_train[i]), d.y_train[i])
            opt.zero_grad(); loss.backward(); opt.step()
    return net,d


def presets(names):
    from quarantion.quant.policy import PRESETS
    soak = [n for n in PRESETS if n not in names]
    return [*names, *(pytest.param(n, marks=pytest.mark.soak) for n in soak)]


@pytest.mark.filterwarnings('ignore:layer') # few bits lose thresholds and codes, and say so
@pytest.mark.parametrize('name', presets(('nonary','int8')))
def test_a_population_code(tmp_path, population, name):
    theirs,d = population
    with torch.no_grad(): right = acc.accuracy_rate(theirs(d.x_test), d.y_test, population_code=True, num_classes=10)
    assert right>.9
    net = from_snntorch(theirs, decision='population(10)')
    loader = list(zip(d.x_test.split(100), d.y_test.split(100)))
    assert evaluate(net, loader)['accuracy']==pytest.approx(right)
    try: q = prepare(net, preset(name), d.x_train)
    except CheckError as e:
        assert name=='mint2' and 'from_snntorch can ask for it' in str(e)
        return
    lower(q).save(tmp_path/'net')
    prog = load(tmp_path/'net')
    proof = verify(q, prog, loader, net)
    assert proof.mismatches==0 and (proof.ok or name.startswith('mint')) and proof.float_accuracy==pytest.approx(right)
    if name in ('nonary','int8'): assert proof.accuracy>right-.1
    assert proof.confusion.shape==(10,10) and proof.confusion.sum()==len(d.x_test)
    assert (prog.classify(d.x_test.numpy())==d.y_test.numpy()).mean()==pytest.approx(proof.accuracy)


def test_labels_that_use_few_outputs(population):
    theirs,d = population
    net = from_snntorch(theirs)
    q = prepare(net, preset('int8'), d.x_train)
    loader = list(zip(d.x_test.split(100), d.y_test.split(100)))
    with pytest.warns(UserWarning, match="use 10 of 100 outputs: `decision` is sum, one output a class; 'population"):
        proof = verify(q, lower(q), loader)
    assert proof.accuracy<.3
    with pytest.warns(UserWarning, match='use 10 of 100 outputs'): evaluate(net, loader)
    assert verify(q, lower(q), loader, decision='population(10)').accuracy>.85 # and no warning
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x = torch.rand(5, 6)*2
        q = prepare(made(), preset('int8'), x)
        verify(q, lower(q), [(x, torch.tensor([0,1,0,1,0]))]) # five samples say nothing


def test_one_output_for_two_classes_and_several_labels():
    x = torch.rand(60, 6)*2
    for outputs,y in (1,torch.randint(2, (60,))),(4,torch.randint(2, (60,4))),(4,torch.randint(2, (60,4)).float()):
        net = made(outputs=outputs, decision='labels(0.3)')
        q = prepare(net, preset('int8'), x)
        prog = lower(q)
        proof = verify(q, prog, [(x,y)], net)
        spk,_ = prog(x.numpy())
        yes = 10*spk.sum(0, dtype=int)>3*7
        want = y.numpy().reshape(yes.shape).astype(int)
        assert proof.accuracy==(yes==want).mean() and proof.labelled==want.size and proof.confusion.shape==(2,2)
        assert evaluate(net, [(x,y)])['accuracy']==proof.float_accuracy
    with pytest.raises(CheckError, match='labels: expected whole numbers from 0 to 1'): verify(q, prog, [(x,y+1)])


def test_regression_is_judged_by_its_error():
    x = torch.rand(30, 6)*2
    net = made(reset='none', decision='values')
    q = prepare(net, preset('int8'), x)
    prog = lower(q)
    with torch.no_grad(): mem = net(x)[1]
    for y in (mem, mem+.5, mem[-1]):
        proof = verify(q, prog, [(x,y)], net)
        ours = prog(x.numpy())[1]*prog.layers[-1].unit
        assert proof.error==pytest.approx(np.square(ours-y.numpy()).mean(), rel=1e-5) and np.isnan(proof.accuracy)
        assert proof.float_error==pytest.approx(float((mem-y).pow(2).mean()), rel=1e-5)
        assert 'mean squared error' in str(proof) and 'decisions alike' not in str(proof)
    with pytest.raises(CheckError, match='max_drop for classes or labels'): verify(q, prog, [(x,mem)], net, Gates(max_drop=.1))
    with pytest.raises(CheckError, match='numbers of shape'): verify(q, prog, [(x,mem[:,:3])])


def test_training_needs_a_loss_of_its_own_where_answers_are_no_classes():
    x,y = torch.rand(8, 6),torch.randint(2, (8,8)).float()
    net = made(decision='labels(0.5)')
    opt = torch.optim.SGD(net.parameters(), .1)
    with pytest.raises(CheckError, match='`objective`: expected a function with a loss for the decision labels'): train_epoch(net, opt, [(x,y)])
    def bce(net, x, y):
        s,rate = net.answer(x)
        return nn.functional.binary_cross_entropy(s.clamp(.01, .99), y),s,rate
    assert 0<=train_epoch(net, opt, [(x,y)], objective=bce)['accuracy']<=1


@pytest.mark.parametrize('word', ['', 'rate', None, 3, 'population', 'population(1)', 'population(x)', 'population(2.5)', 'labels()',
                                  'labels(nan)', 'labels(1e999)', 'population(-4)', 'sum(3)', 'labels(1e)'])
def test_words_that_are_none(word):
    with pytest.raises(CheckError, match='`decision`: expected sum'): decision_of(word)
    with pytest.raises(CheckError, match='`decision`'): made(decision=word)
    prog = lower(prepare(made(), preset('int8'), torch.rand(5, 6)))
    with pytest.raises(CheckError, match='`decision`'): dataclasses.replace(prog, decision=word)


def test_a_population_that_does_not_fit(tmp_path):
    with pytest.raises(CheckError, match='divides 8 outputs, found population\\(3\\)'): check_decision('population(3)', 8)
    x = torch.rand(5, 6)
    with pytest.raises(CheckError, match='divides 8 outputs'): made(decision='population(3)')
    net = made()
    with pytest.raises(CheckError, match='divides 8 outputs'): prepare(net, preset('int8'), x, decision='population(3)')
    net.decision = 'population(3)' # set later
    with pytest.raises(CheckError, match='divides 8 outputs'): net.answer(x)
    prog = lower(prepare(net, preset('int8'), x, decision='population(2)'))
    write(tmp_path/'net', prog.layers, prog.header | dict(decision='population(3)'))
    with pytest.raises(CheckError, match='divides 8 outputs'): load(tmp_path/'net')


def test_outputs_of_several_axes():
    torch.manual_seed(0)
    net = Network(nn.Conv2d(1,4,3), LIF(), in_shape=(1,5,5), steps=4, decision='population(4)') # a map a class
    x = torch.rand(6, 1, 5, 5)*3
    q = prepare(net, preset('int8'), x)
    prog = lower(q)
    spk,_ = prog(x.numpy())
    assert np.array_equal(prog.classify(x.numpy()), spk.sum((0,3,4), dtype=int).argmax(1))
    assert verify(q, prog, [(x, torch.zeros(6, dtype=torch.long))], net).mismatches==0
