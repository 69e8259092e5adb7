"Losses: gradients by hand, and that each does what it is for"
import json, shutil
from itertools import product
import pytest, snntorch.functional as SF, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from quarantion.checks import CheckError
from quarantion.cli import main
from quarantion.inspect.report import write_report
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes import RecurrentLIF
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.fit import answered, batches, evaluate, train_epoch
from quarantion.train.losses import (TERMS, Loss, Seen, Term, ce_count, ce_max_membrane, ce_membrane, ce_rate, ce_sum_membrane, ce_temporal, code_l1,
    consistency, first_spike, latency, loss_of, membrane_energy, mse_count, mse_membrane, rate_ceiling, rate_target, ste_codes)

def test_codes_are_those_of_the_layer():
    w = torch.randn(20, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    s = torch.linspace(.1, .6, 20)
    k = ste_codes(w, s, -4, 4)
    assert (k==torch.round(w/s[:,None,None,None]).clamp(-4, 4)).all()
    assert (ste_codes(w, s[:1], -4, 4)==torch.round(w/s[0]).clamp(-4, 4)).all()

@pytest.mark.parametrize('channels', [1,20])
def test_gradients_of_code_l1(channels):
    g = torch.Generator().manual_seed(1)
    w,s = (2*torch.randn(20, 30, generator=g)).double().requires_grad_(),torch.linspace(.4, .9, channels).double().requires_grad_()
    k = ste_codes(w, s, -4, 4)
    code_l1([k,k[:2]]).backward()
    z,price = (w/s[:,None]).detach(),torch.full((20,30), 1/600).double()
    price[:2] += 1/60
    inside = price*torch.sign(k.detach())*((torch.round(z)>=-4)&(torch.round(z)<=4))
    assert torch.allclose(w.grad, inside/s.detach()[:,None])
    ds = -inside*z/s.detach()[:,None]
    assert torch.allclose(s.grad, ds.sum(1) if channels>1 else ds.sum()[None])

def test_codes_without_a_layer_are_refused():
    with pytest.raises(CheckError, match='a tensor for each layer'): code_l1([])
    with pytest.raises(CheckError, match='ceiling'): rate_ceiling(torch.tensor(.2), 1.5)

def test_zero_weights_are_left_alone():
    w,s = torch.zeros(2, 3, requires_grad=True),torch.ones(2, requires_grad=True)
    code_l1([ste_codes(w, s, -4, 4)]).backward()
    assert not w.grad.any() and not s.grad.any()

def test_ceiling_pulls_a_network_down_to_it_and_no_further():
    torch.manual_seed(0)
    net = Network(nn.Linear(10, 30), LIF(), nn.Linear(30, 4), LIF(reset='none'), steps=10)
    x = 4*torch.rand(16, 10)
    opt = torch.optim.SGD(net.parameters(), lr=.5)
    rates = []
    for _ in range(150):
        rate = net.record(x)[0].spk.mean()
        rates.append(rate.item())
        loss = 2*rate_ceiling(rate)
        opt.zero_grad(); loss.backward(); opt.step()
    assert rates[0]>.15 and .08<rates[-1]<=.1
    assert loss.item()==0 and not any(p.grad.any() for p in net.parameters() if p.grad is not None)


# beside snnTorch

PEERS = dict(ce_rate=(ce_rate, SF.ce_rate_loss), ce_count=(ce_count, SF.ce_count_loss), ce_max_membrane=(ce_max_membrane, SF.ce_max_membrane_loss),
    ce_temporal=(ce_temporal, SF.ce_temporal_loss), mse_count=(mse_count, SF.mse_count_loss), mse_membrane=(mse_membrane, SF.mse_membrane_loss))
SHAPES = [(1,1,2), (25,8,10), (100,3,4), (7,33,2)]

def spikes(t, b, c, seed=0, rate=.3): return (torch.rand(t, b, c, generator=torch.Generator().manual_seed(seed))<rate).float()
def states(t, b, c, seed=0): return torch.randn(t, b, c, generator=torch.Generator().manual_seed(seed))
def labels(b, c, seed=0): return torch.randint(c, (b,), generator=torch.Generator().manual_seed(seed))

def alike(ours, theirs, v, y):
    "Value to 1e-6 and gradient to 1e-5"
    a,b = v.clone().requires_grad_(),v.clone().requires_grad_()
    x,z = ours(a, y),theirs(b, y)
    assert x.ndim==0 and x.item()==pytest.approx(z.item(), rel=1e-6, abs=1e-6)
    x.backward(); z.sum().backward()
    assert (a.grad-b.grad).abs().max()<=1e-5

@pytest.mark.parametrize('name,shape', [*product(PEERS, SHAPES)])
def test_values_and_gradients_are_those_of_snntorch(name, shape):
    ours,theirs = PEERS[name]
    for seed in range(3): alike(ours, theirs(), (states if 'membrane' in name else spikes)(*shape, seed), labels(*shape[1:], seed))

@pytest.mark.parametrize('correct,incorrect', [(1.,0.), (.8,.2), (.5,.5), (0.,1.)])
def test_targets_of_counts_are_those_of_snntorch_where_they_are_whole(correct, incorrect):
    alike(lambda v,y: mse_count(v, y, correct, incorrect), SF.mse_count_loss(correct_rate=correct, incorrect_rate=incorrect), spikes(20, 8, 10), labels(8, 10))

@pytest.mark.parametrize('on,off', [(1.,0.), (2.,.5), (.5,2.)])
def test_targets_of_membranes_are_those_of_snntorch(on, off):
    alike(lambda v,y: mse_membrane(v, y, on, off), SF.mse_membrane_loss(on_target=on, off_target=off), states(20, 8, 10), labels(8, 10))

def test_where_snntorch_is_wrong():
    "As the page says; where it is put right there, this fails, and the page is to say so"
    silent,y = torch.zeros(100, 8, 10),labels(8, 10)
    assert SF.mse_count_loss(correct_rate=.29)(silent, y).item()==pytest.approx(.784) and mse_count(silent, y, .29).item()==pytest.approx(.841)
    U = states(25, 8, 10)
    assert SF.mse_membrane_loss(off_target=-1)(U, y).item()==SF.mse_membrane_loss(off_target=0)(U, y).item()!=pytest.approx(mse_membrane(U, y, 1., -1.).item())
    w,S = torch.tensor([1.]*5+[3.]*5),spikes(25, 8, 10)
    assert SF.ce_count_loss(weight=w)(S, y).item()>1.5*F.cross_entropy(S.sum(0), y, weight=w).item()
    assert SF.ce_rate_loss()(S.double(), y).dtype==torch.float32 and ce_rate(S.double(), y).dtype==torch.float64


# gradients

def soft(*shape, seed=0): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

Y = torch.tensor([2,0,1])
SMOOTH = dict(ce_rate=lambda v: ce_rate(v, Y), ce_count=lambda v: ce_count(v, Y, 3.), ce_sum_membrane=lambda v: ce_sum_membrane(v, Y),
    ce_membrane=lambda v: ce_membrane(v, Y), ce_max_membrane=lambda v: ce_max_membrane(v, Y), mse_count=lambda v: mse_count(v, Y, .8, .1),
    mse_membrane=lambda v: mse_membrane(v, Y, 1., -1.), first_spike=lambda v: first_spike(v, Y), latency=latency, consistency=consistency,
    membrane_energy=lambda v: membrane_energy([v,v[:2]]), rate_ceiling=lambda v: rate_ceiling(v.mean((0,1)), (.1,.3,.9,.2)),
    rate_target=lambda v: rate_target(v.mean((0,1)), .3))

@pytest.mark.parametrize('name', SMOOTH)
def test_gradients_are_finite_differences(name):
    for seed in range(3): assert torch.autograd.gradcheck(SMOOTH[name], soft(6, 3, 4, seed=seed).requires_grad_())

def test_each_term_is_checked(): assert {*TERMS}-{*SMOOTH}=={'ce','ce_temporal','code_l1'} # torch's, a surrogate as snnTorch's, and above

@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_latency_is_the_first_spike_and_its_gradient_what_a_spike_changes(train):
    s = torch.tensor(train, dtype=torch.float64)[:,None].requires_grad_()
    first = train.index(True) if any(train) else len(train)
    found = latency(s)
    found.sum().backward()
    assert found.item()==first
    for k in range(len(train)):
        with_,without = [*train[:k],True,*train[k+1:]],[*train[:k],False,*train[k+1:]]
        at = lambda v: v.index(True) if any(v) else len(v)
        assert s.grad[k].item()==at(with_)-at(without)

@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(2, 6), st.integers(0, 999), st.floats(.01, 30))
def test_bounds(t, b, c, seed, size):
    "Disagreement is between 0 and ln T, a share between 0 and 1, and shifting all classes changes no cross-entropy"
    U,S,y = size*states(t, b, c, seed).double(),spikes(t, b, c, seed).double(),labels(b, c, seed)
    assert -1e-9<=consistency(U).item()<=torch.tensor(float(t)).log().item()+1e-6
    assert 0<=first_spike(S, y).item()<=1
    for f in ce_membrane,ce_sum_membrane,ce_max_membrane: assert f(U+3, y).item()==pytest.approx(f(U, y).item(), abs=1e-9)


# terms by name

NETS = dict(
    linear=lambda: Network(nn.Linear(12,20), LIF(), nn.Linear(20,4), LIF(reset='none'), steps=6),
    fires=lambda: Network(nn.Linear(12,20), LIF(), nn.Linear(20,4), LIF(), steps=6),
    conv=lambda: Network(nn.Conv2d(1,3,3), LIF(), nn.Flatten(), nn.Linear(12,4), LIF(reset='none'), in_shape=(1,4,4), steps=6),
    recurrent=lambda: Network(nn.Linear(12,9), RecurrentLIF(nn.Linear(9,9)), nn.Linear(9,4), LIF(reset='none'), steps=6),
    population=lambda: Network(nn.Linear(12,9), LIF(), nn.Linear(9,8), LIF(), steps=6, decision='population(4)'))
WORDS = tuple(f'{n}:0.5' for n in TERMS)

@pytest.mark.parametrize('name,quantized', [*product(NETS, (False,True))])
def test_all_terms_of_all_networks(name, quantized):
    "Each finite and apart, with gradients that reach the first layer; float networks have no codes"
    torch.manual_seed(0)
    net = NETS[name]()
    x = 3*torch.rand(5, *net.in_shape)
    if quantized: net = prepare(net, preset('nonary'), x).train()
    loss,y = loss_of(WORDS),torch.tensor([0,1,2,3,0])
    parts,scores,rate = loss(net, x, y)
    assert parts.shape==(len(TERMS),) and parts.isfinite().all() and scores.shape==(5,4)
    by_name = dict(zip(TERMS, parts))
    assert (by_name['code_l1']>0)==quantized
    plain,_,fired = answered(net, x, y)
    assert by_name['ce'].item()==pytest.approx(plain.item()/2, rel=1e-5) and rate.item()==pytest.approx(fired.item(), rel=1e-9)
    parts.sum().backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in grads) and next(net.parameters()).grad.any()

@pytest.mark.parametrize('decision', ['values','labels(0.5)'])
def test_decisions_without_classes_are_refused(decision):
    net = Network(nn.Linear(12,9), LIF(), nn.Linear(9,4), LIF(reset='none'), steps=6, decision=decision)
    with pytest.raises(CheckError, match='`loss`: expected a function of your own'): loss_of(('ce_rate',))(net, torch.rand(5, 12), torch.tensor([0,1,2,3,0]))

def test_layers_have_ceilings_of_their_own():
    torch.manual_seed(0)
    net = Network(nn.Linear(12,20), LIF(), nn.Linear(20,9), LIF(), nn.Linear(9,4), LIF(reset='none'), steps=6)
    x,y = 3*torch.rand(5, 12),torch.tensor([0,1,2,3,0])
    a,b = [r.spk.mean().item() for r in net.record(x)[:2]]
    part = loss_of(('ce','rate_ceiling(0.01 0.02)'))(net, x, y)[0][1]
    assert part.item()==pytest.approx(max(0, a-.01)+max(0, b-.02), abs=1e-6)
    with pytest.raises(CheckError, match='one for each of 2 layers'): loss_of(('ce','rate_target(0.1 0.2 0.3)'))(net, x, y)

def test_terms_are_told_apart_and_add_up():
    torch.manual_seed(0)
    net = NETS['linear']()
    opt,x,y = torch.optim.SGD(net.parameters(), .1),torch.rand(50, 12),torch.randint(4, (50,))
    stats = train_epoch(net, opt, batches(x, y, 16), objective=loss_of(('ce_count(2)','rate_target(0.2):3')))
    assert list(stats)==['loss','accuracy','spike_rate','loss.ce_count','loss.rate_target']
    assert stats['loss']==pytest.approx(stats['loss.ce_count']+stats['loss.rate_target'], rel=1e-6)
    assert set(evaluate(net, batches(x, y, 16)))=={'accuracy','spike_rate'}

@pytest.mark.parametrize('words,said', [
    ('ce_rat', "`loss`: expected one of ce, ce_rate, ce_count"), ('ce_rate:-1', r"`ce_rate:-1`: `loss`: expected a weight, finite and >= 0, found '-1'"),
    ('ce_rate:nan', "a weight, finite and >= 0, found 'nan'"), ('ce_rate:inf', "found 'inf'"), ('ce_rate:', "found ''"), ('ce_rate:x', "found 'x'"),
    ('ce:0', 'a term that knows labels, of weight > 0, found ce:0'), ('rate_ceiling:2', 'a term that knows labels'), ('ce,ce:2', "each term once, found 'ce' 2 times"),
    ('mse_membrane(1e300)', "as float32 holds it, found '1e300'"), ('ce:1e300', "as float32 holds it, found '1e300'"),
    ('ce_count(0)', '`temperature`: expected > 0, found 0'), ('ce_count(nan)', 'finite numbers in parentheses'), ('ce_count(1 2)', r'at most 1 numbers \(temperature\), found 2'),
    ('ce(1)', r'at most 0 numbers \(none\), found 1'), ('mse_count(1.2)', r'`correct`: expected in \[0, 1\], found 1.2'), ('ce,rate_ceiling(2)', r'`ceiling`: expected in \[0, 1\], found 2'),
    ('ce,rate_ceiling(0.1', 'a term, such as'), ('(1)', 'expected one of ce')])
def test_bad_words_are_refused(words, said):
    with pytest.raises(CheckError, match=said): loss_of(tuple(words.split(',')))

@settings(max_examples=100, deadline=None)
@given(st.text('ce_rat(0.1) :-,mnfx\n', max_size=20))
def test_any_words_are_a_loss_or_refused(word):
    try: assert isinstance(loss_of((word,)), Loss)
    except CheckError as e: assert '`' in str(e)

def test_shapes_and_labels_are_refused():
    for f in ce_rate,ce_count,ce_sum_membrane,ce_membrane,ce_max_membrane,ce_temporal,mse_count,mse_membrane,first_spike:
        with pytest.raises(CheckError, match='axes `t b c`'): f(torch.zeros(3, 4), torch.zeros(4, dtype=torch.int64))
        with pytest.raises(CheckError, match='axes `t b c`'): f(torch.zeros(0, 3, 4), torch.zeros(3, dtype=torch.int64))
        with pytest.raises(CheckError, match='`y`'): f(torch.zeros(2, 3, 4), torch.zeros(5, dtype=torch.int64))
        with pytest.raises(CheckError, match='`y`'): f(torch.zeros(2, 3, 4), torch.zeros(3))

def test_seen_sums_a_population_to_classes():
    torch.manual_seed(0)
    net = NETS['population']()
    s = Seen(net, torch.rand(5, 12), torch.zeros(5, dtype=torch.int64))
    assert s.spk.shape==(6,5,4) and torch.equal(s.spk, s.layers[-1].spk.unflatten(2, (4,2)).sum(-1))
    assert Term('ce_rate').of(s).isfinite()


# a run

@pytest.fixture(scope='module')
def asked(tmp_path_factory):
    out = tmp_path_factory.mktemp('asked')
    with pytest.raises(SystemExit) as e:
        main(['run', '--loss', 'ce_count(4),rate_ceiling(0.1):2', '--loss', 'code_l1:0.1', '--epochs', '2', '--qat-epochs', '2', '--hidden', '24', '--steps', '8', '--out', str(out)])
    assert not e.value.code
    return next(out.iterdir())

@pytest.mark.filterwarnings('default:a threshold of')
def test_a_run_tells_its_terms(asked):
    rows = [json.loads(l) for l in (asked/'metrics.jsonl').read_text().splitlines()]
    names = ['loss.ce_count','loss.rate_ceiling','loss.code_l1']
    for m in rows:
        assert {k for k in m if k.startswith('loss.')}=={*names} and m['loss']==pytest.approx(sum(m[n] for n in names), rel=1e-6)
        assert (m['loss.code_l1']>0)==(m['phase']=='qat')
    page = (asked/'report.html').read_text()
    assert 'The terms of the loss' in page and all((asked/'figures'/f'curve_{n}.png').exists() for n in names)
    assert 'loss = ["ce_count(4)", "rate_ceiling(0.1):2", "code_l1:0.1"]' in (asked/'config.toml').read_text()

def test_damaged_terms_are_refused(asked, tmp_path):
    run = shutil.copytree(asked, tmp_path/'run')
    first,*rest = (run/'metrics.jsonl').read_text().splitlines()
    (run/'metrics.jsonl').write_text('\n'.join([json.dumps(json.loads(first)|{'loss.rate_ceiling':'x'}),*rest])+'\n')
    with pytest.raises(CheckError, match='loss.rate_ceiling'): write_report(run, tmp_path/'r.html')


def test_the_page_begins_with_all_terms():
    "The table at its top names each term, with what it is told and the usual values of that"
    import inspect
    import json
    import re
    from pathlib import Path
    cells = json.loads((Path(__file__).parent.parent/'nbs/train/losses.ipynb').read_text())['cells']
    said = re.findall(r'^\| `(\w+)(?:\((.*)\))?` \|', ''.join(cells[2]['source']), re.M)
    def told(f):
        ps = [p for n,p in inspect.signature(f).parameters.items() if p.default is not p.empty]
        return ', '.join(f'{p.name}={p.default:g}' for p in ps)
    assert dict(said)=={k:told(f) for k,f in TERMS.items()}
