"Pruning: exactly what is asked for goes, the rest does what it did, and zeros stay zero through training, files and lowering"
import copy
import numpy as np
import pytest, torch
from torch import nn
from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.policy import Policy, preset
from quarantion.quant.network import prepare
from quarantion.quant.pruning import (activity_scores, free_zeros, hold_zeros, keep_top, magnitude_scores, remove_neurons, spike_patterns, zero_smallest)
from quarantion.quant.proof import verify
from quarantion.runtime.coding import encode_codes
from quarantion.runtime.network import load
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RecurrentLIF

def eighths(net):
    "Weights whose sums are exact in any order"
    with torch.no_grad():
        for p in net.parameters(): p.copy_((p*40).round()/8)
    return net

def dense(reset='subtract', bn=False):
    torch.manual_seed(1)
    net = Network(nn.Linear(9, 14), *[nn.BatchNorm1d(14)]*bn, LIF(.5, torch.linspace(.5, 2, 14), reset=reset), nn.Dropout(.2), nn.Linear(14, 10), LIF(torch.full((10,), .5), reset=reset),
                  nn.Linear(10, 3), LIF(.5, reset='none'), steps=5)
    return eighths(net).eval()

def conv(bn=True):
    torch.manual_seed(2)
    net = Network(nn.Conv2d(1, 6, 3, padding=1), *[nn.BatchNorm2d(6)]*bn, LIF(.5, torch.linspace(.5, 1.5, 6)), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, padding=1), LIF(.5), nn.AvgPool2d(2),
                  nn.Flatten(), nn.Linear(20, 7), LIF(.5), nn.Linear(7, 3), LIF(.5, reset='none'), in_shape=(1,8,8), steps=4)
    return eighths(net).eval()

def sample(net, n=30): return (torch.rand(n, *net.in_shape, generator=torch.Generator().manual_seed(0))*8).round()/8

def silence(net, name, every=3):
    "Give every third neuron of a layer a bias that it cannot overcome, and the others one that helps"
    i = int(name)-1
    while not isinstance(net.layers[i], (nn.Linear,nn.Conv2d,nn.BatchNorm1d,nn.BatchNorm2d)): i -= 1
    with torch.no_grad():
        net.layers[i].bias.abs_()
        net.layers[i].bias[::every] = -1000

@pytest.mark.parametrize('net', [dense(), dense('zero'), dense('subtract_delayed'), dense(bn=True), conv(), conv(False)], ids=['subtract','zero','delayed','bn','conv bn','conv'])
def test_neurons_that_never_fire_are_removed_exactly(net):
    net = copy.deepcopy(net).double()
    names = [r.name for r in net.record(sample(net).double())[:-1]]
    for n in names: silence(net, n)
    x = sample(net).double()
    keep = {n:s>0 for n,s in activity_scores(net, x).items()}
    assert list(keep)==names and all(not k[::3].any() and k.any() for k in keep.values())
    state = copy.deepcopy(net.state_dict())
    small = remove_neurons(net, keep)
    for a,b in zip(net.record(x), small.record(x)):
        if a.name in keep: a.spk,a.mem = a.spk[:,:,keep[a.name]],a.mem[:,:,keep[a.name]]
        assert a.name not in keep or (a.spk.any() and not a.spk.all())
        assert torch.equal(a.spk, b.spk) and torch.allclose(a.mem, b.mem, atol=1e-10)
    assert sum(p.numel() for p in small.parameters())<sum(p.numel() for p in net.parameters())
    assert all(torch.equal(v, state[k]) for k,v in net.state_dict().items())

@pytest.mark.parametrize('net', [dense(bn=True), conv()], ids=['dense','conv'])
def test_a_smaller_network_is_trained_lowered_and_proved(net, tmp_path):
    x = sample(net)
    small = remove_neurons(net, keep_top(activity_scores(net, x), .6))
    q = prepare(small, preset('nonary'), x).train()
    opt = torch.optim.Adam(q.param_groups(1e-3))
    for _ in range(3):
        opt.zero_grad(); q(x)[1].sum(0).pow(2).mean().backward(); opt.step()
    prog = lower(q.eval())
    prog.save(tmp_path/'small.safetensors')
    assert verify(q, load(tmp_path/'small.safetensors'), [(x,torch.arange(len(x))%3)]).mismatches==0

def test_what_is_removed_and_what_stays():
    net = conv()
    mask = torch.tensor([True,False,True,True,False,True])
    small = remove_neurons(net, {'2':mask})
    a,b = net.layers,small.layers
    assert b[0].out_channels==4 and b[1].num_features==4 and b[4].in_channels==4 and b[4].out_channels==5
    assert torch.equal(b[0].weight, a[0].weight[mask]) and torch.equal(b[1].running_var, a[1].running_var[mask]) and torch.equal(b[2].threshold, a[2].threshold[mask])
    assert torch.equal(b[4].weight, a[4].weight[:,mask])
    mask = torch.tensor([False,True,True,False,True])
    small = remove_neurons(net, {'5':mask})
    assert torch.equal(small.layers[8].weight, a[8].weight.reshape(7, 5, 4)[:,mask].reshape(7, 12)) and small.layers[8].in_features==12
    assert all(torch.equal(p, r) for p,r in zip(remove_neurons(net, {}).parameters(), net.parameters()))

def test_patterns_are_the_singular_values_of_each_neuron():
    s = (torch.rand(7, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0))>.6).float()
    for c,got in enumerate(spike_patterns(s)):
        a = s[:,:,c].permute(1, 0, 2, 3).reshape(5, 28).double().numpy()
        assert got.item()==pytest.approx(np.linalg.svd(a, compute_uv=False).sum()/(5*28)**.5)
    assert spike_patterns(torch.zeros(3, 4, 2)).tolist()==[0,0]
    assert torch.allclose(spike_patterns(s), spike_patterns(s.repeat(1, 4, 1, 1, 1))) # the same samples again say no more

def test_magnitudes_are_those_of_the_folded_weights():
    net = conv()
    with torch.no_grad():
        net.layers[1].running_var.uniform_(.5, 2); net.layers[1].weight.uniform_(-2, 2)
    bn = net.layers[1]
    want = (net.layers[0].weight*(bn.weight/(bn.running_var+bn.eps).sqrt())[:,None,None,None]).flatten(1).norm(dim=1)
    got = magnitude_scores(net)
    assert list(got)==['2','5','9'] and torch.allclose(got['2'], want) and torch.allclose(got['9'], net.layers[8].weight.norm(dim=1))

def test_activity_leaves_mode_and_statistics_alone():
    net = conv().train()
    before = copy.deepcopy(net.state_dict())
    activity_scores(net, sample(net))
    assert net.training and all(torch.equal(v, before[k]) for k,v in net.state_dict().items())

def test_at_least_one_neuron_stays():
    assert keep_top({'1':torch.tensor([0.,0,0])}, .01)['1'].tolist()==[True,False,False]
    assert keep_top({'1':torch.tensor([0.,2,1])}, 1)['1'].all()

def test_refusals_of_structured_pruning():
    net = dense()
    some = torch.ones(14, dtype=torch.bool)
    for keep,match in [({'7':some},'names of hidden layers'), ({'1':some[:5]},'bool \\[14\\]'), ({'1':some.float()},'bool \\[14\\]'), ({'1':~some},'at least one')]:
        with pytest.raises(CheckError, match=match): remove_neurons(net, keep)
    with pytest.raises(CheckError, match='fraction'): keep_top({'1':torch.rand(3)}, 0)
    with pytest.raises(CheckError, match='scores'): keep_top({'1':torch.tensor([1.,float('nan')])}, .5)
    with pytest.raises(CheckError, match='before prepare'): activity_scores(prepare(net, preset('nonary'), sample(net)), sample(net))
    r = Network(nn.Linear(4, 5), RecurrentLIF(nn.Linear(5, 5)), nn.Linear(5, 2), LIF(reset='none'))
    with pytest.raises(CheckError, match='RecurrentLIF'): remove_neurons(r, {'1':torch.ones(5, dtype=torch.bool)})
    g = Network(nn.Conv2d(2, 4, 3, groups=2), LIF(), nn.Flatten(), nn.Linear(16, 2), LIF(reset='none'), in_shape=(2,4,4))
    with pytest.raises(CheckError, match='groups'): remove_neurons(g, {'1':torch.ones(4, dtype=torch.bool)})
    b = Network(nn.Linear(4, 5), LIF(), nn.BatchNorm1d(5), nn.Linear(5, 2), LIF(reset='none'))
    with pytest.raises(CheckError, match='layer 2'): magnitude_scores(b)
    with pytest.raises(CheckError, match='weights before them'): magnitude_scores(Network(nn.Linear(4, 5), LIF(), LIF(), in_shape=(4,)))
    hold_zeros(net)
    with pytest.raises(CheckError, match='free_zeros'): remove_neurons(net, {'1':some})

@pytest.mark.parametrize('rule', ['lsq','pact','max','pow2'])
@pytest.mark.parametrize('make', [dense,conv])
def test_zeros_stay_code_zero_through_training_and_file(make, rule, tmp_path):
    net = make()
    zero_smallest(net, .6)
    x = sample(net)
    q = prepare(net, Policy(weight='nonary', scale=rule), x).train()
    hold_zeros(q)
    zeros,first = [l.latent==0 for l in q.layers],[l.latent.detach().clone() for l in q.layers]
    assert all(z.double().mean()>=.55 for z in zeros)
    opt = torch.optim.SGD(q.param_groups(.05), momentum=.9, weight_decay=.01)
    for _ in range(4):
        opt.zero_grad(); q(x)[1].mean(0).pow(2).mean().backward(); torch.nn.utils.clip_grad_norm_(q.parameters(), 1.); opt.step()
        assert all(not l.latent[z].any() and not l.codes().ints.weight[z].any() for l,z in zip(q.layers, zeros))
    assert any(not torch.equal(l.latent, f) for l,f in zip(q.layers, first))
    prog = lower(q.eval().freeze())
    prog.save(tmp_path/'q.safetensors')
    again = load(tmp_path/'q.safetensors')
    assert all(not l.weight[z.numpy()].any() for l,z in zip(again.layers, zeros))
    assert verify(q, again, [(x,torch.arange(len(x))%3)]).mismatches==0
    free_zeros(q)
    assert all(isinstance(l.latent, nn.Parameter) and not l.latent.requires_grad and not l.latent[z].any() for l,z in zip(q.layers, zeros))
    assert verify(q, again, [(x,torch.arange(len(x))%3)]).mismatches==0

def test_optimizers_go_on_with_the_same_parameters():
    q = prepare(dense(), preset('nonary'), sample(dense()))
    before = [l.latent for l in q.layers]
    hold_zeros(q)
    assert all(l.parametrizations.weight.parametrizations.original.original is w for l,w in zip(q.layers, before))
    free_zeros(q)
    assert all(l.latent is w and w.requires_grad for l,w in zip(q.layers, before)) and 'layers.0.parametrizations.weight.original' in q.state_dict()

def test_without_holding_they_would_move():
    net = dense(); zero_smallest(net, .6)
    q = prepare(net, preset('nonary'), sample(net)).train()
    zeros = [l.latent==0 for l in q.layers]
    opt = torch.optim.SGD(q.param_groups(.05))
    q(sample(net))[1].pow(2).mean().backward(); opt.step()
    assert any(l.latent[z].any() for l,z in zip(q.layers, zeros))

def test_state_holds_the_mask_and_copies_are_held():
    net = dense()
    zero_smallest(net, .5)
    q = prepare(net, preset('nonary'), sample(net)); hold_zeros(q)
    p = prepare(dense(), preset('nonary'), sample(net)); hold_zeros(p)
    p.load_state_dict(q.state_dict())
    for other in p,copy.deepcopy(q):
        for a,b in zip(other.layers, q.layers):
            assert torch.equal(a.weight, b.weight)
            with torch.no_grad(): (a.parametrizations.weight.parametrizations.original.original if hasattr(a, 'latent') else a.parametrizations.weight.original).fill_(1.)
            assert torch.equal(a.weight!=0, b.weight!=0)

@pytest.mark.parametrize('make', [dense,conv])
def test_a_held_float_network_is_prepared_with_its_zeros(make):
    net = make(bn=True) if make is dense else make()
    zero_smallest(net, .5)
    want = [l.latent for l in prepare(net, preset('nonary'), sample(net)).layers]
    hold_zeros(net)
    got = [l.latent for l in prepare(net, preset('nonary'), sample(net)).layers]
    assert all(torch.equal(a, b) and (a==0).double().mean()>=.45 for a,b in zip(want, got))

def test_step_by_step_zeros_only_grow():
    net = dense()
    last = None
    for fraction in .2,.5,.5,.8:
        zero_smallest(net, fraction); hold_zeros(net)
        zeros = [m.weight==0 for m in net.layers if isinstance(m, nn.Linear)]
        assert all(z.sum()>=round(fraction*z.numel()) for z in zeros)
        assert last is None or all((z|~l).all() for z,l in zip(zeros, last))
        last = zeros

def test_the_smallest_go_and_no_more():
    net = Network(nn.Linear(10, 10), LIF(), nn.Linear(10, 2), LIF(reset='none'))
    w = net.layers[0].weight.detach().clone()
    zero_smallest(net, .37)
    gone = net.layers[0].weight==0
    assert gone.sum()==37 and w[gone].abs().max()<w[~gone].abs().min() and torch.equal(net.layers[0].weight[~gone], w[~gone])
    zero_smallest(net, .1)
    assert (net.layers[0].weight==0).sum()==37

def test_refusals_of_zeros():
    net = dense()
    for bad in -.1,1.,float('nan'):
        with pytest.raises(CheckError, match='fraction'): zero_smallest(net, bad)
    with pytest.raises(CheckError, match='Network'): hold_zeros(nn.Linear(2, 2))
    q = prepare(net, preset('nonary'), sample(net)).freeze()
    for f in hold_zeros,lambda q: zero_smallest(q, .5):
        with pytest.raises(CheckError, match='frozen'): f(q)
    nn.utils.parametrizations.weight_norm(net.layers[0])
    with pytest.raises(CheckError, match='no other parametrization'): hold_zeros(net)

def test_zeros_make_files_smaller():
    torch.manual_seed(0)
    net = Network(nn.Linear(64, 128), LIF(), nn.Linear(128, 10), LIF(reset='none'))
    sizes = []
    for fraction in 0,.5,.9:
        zero_smallest(net, fraction)
        q = prepare(net, preset('nonary'), sample(net)).eval().freeze()
        sizes.append(sum(len(encode_codes(l.weight_code.numpy(), 4)) for l in q.layers))
    assert sizes[0]>sizes[1]>1.5*sizes[2]
