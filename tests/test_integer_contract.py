"Three programs that share no arithmetic agree: the trained network, the integer network loaded from its file, and plain Python."
import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import reference
from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.quant.lowering import lower
from quarantion.quant.policy import PRESETS, Policy, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.runtime.coding import decode_ints, encode_ints
from quarantion.runtime.store import FORMAT, VERSION
from quarantion.runtime.network import load
from quarantion.runtime.layer import membrane_bound
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, RESETS
from quarantion.spikes.synaptic import RecurrentLIF

FIRED = []   # rates of all layers that fire, over all examples below


def mlp(n=6, h=8, c=4, reset='subtract', beta=.9, threshold=1., gain=3., steps=12, bias=True):
    net = Network(nn.Linear(n, h, bias=bias), LIF(beta, threshold, reset), nn.Linear(h, c), LIF(beta, threshold, 'none'), steps=steps)
    with torch.no_grad(): net.layers[0].weight.mul_(gain)
    return net


def conv_net(reset='subtract', steps=6):
    net = Network(nn.Conv2d(1,4,3,padding=1), nn.BatchNorm2d(4), LIF(.9, .5, reset), nn.AvgPool2d(2), nn.Conv2d(4,4,3,stride=1,padding=1,groups=2),
        nn.MaxPool2d(2), LIF(.8, .3, reset), nn.Flatten(), nn.Linear(16,3), LIF(.95, 1., 'none'), in_shape=(1,8,8), steps=steps)
    net.train()(torch.rand(16,1,8,8)*2)     # batch norm sees data
    return net.eval()


def three(q, x, path):
    "Mismatches between the three, over `x`"
    program = lower(q)
    program.save(path)
    program = load(path)
    theirs,ours = q.eval().integers(x),program.record(x.numpy())
    codes = program.codes(x.numpy())
    if x.ndim==len(q.in_shape)+1: codes = np.broadcast_to(codes, (q.steps, *codes.shape))
    wrong = 0
    for b in range(codes.shape[1]):
        for i,(spk,mem) in enumerate(reference.run(program, codes[:,b].tolist())):
            for a,s,m in (theirs[i],*(t.numpy() for t in (theirs[i].spk,theirs[i].mem))),(ours[i],ours[i].spk,ours[i].mem):
                wrong += int((s[:,b].reshape(len(spk), -1)!=np.array(spk)).sum())+int((m[:,b].reshape(len(mem), -1)!=np.array(mem)).sum())
    for l,r in zip(q.layers, ours):
        if l.reset!='none': FIRED.append(r.spk.mean())
    return wrong


@pytest.mark.filterwarnings('ignore:.*a threshold of', 'ignore:.*cannot reach their threshold')   # part of the game
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), reset=st.sampled_from(RESETS), policy=st.sampled_from(PRESETS), beta=st.floats(0, 1), threshold=st.floats(.1, 3),
    kind=st.sampled_from(['pixels','signed','spikes']), bias=st.booleans())
def test_random_networks(tmp_path, seed, reset, policy, beta, threshold, kind, bias):
    torch.manual_seed(seed)
    assume((policy,reset)!=('mint2','subtract_delayed'))    # refused by name
    net = mlp(reset=reset, beta=beta, threshold=threshold, bias=bias)
    x = dict(pixels=lambda: torch.rand(3,6), signed=lambda: torch.randn(3,6), spikes=lambda: (torch.rand(9,3,6)<.4).float())[kind]()
    try: assert three(prepare(net, preset(policy), x), x, tmp_path/'net.safetensors')==0
    except CheckError as e: assert policy.startswith('mint') and 'half a unit' in str(e)     # weights that dwarf a threshold have no membrane of few bits


@pytest.mark.filterwarnings('ignore:.*a threshold of')
@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('policy', PRESETS)
def test_convolutions(tmp_path, reset, policy):
    torch.manual_seed(1)
    x = torch.rand(2,1,8,8)*2
    if (policy,reset)==('mint2','subtract_delayed'):
        with pytest.raises(CheckError, match='never reset'): prepare(conv_net(reset), preset(policy), x)
        return
    if policy=='mint2':
        with pytest.raises(CheckError, match='more bits in a convolution of 8-bit input'): prepare(conv_net(reset), preset(policy), x)
        x = (torch.rand(5,2,1,8,8)<.5).float()
    assert three(prepare(conv_net(reset), preset(policy), x), x, tmp_path/'net.safetensors')==0


def test_average_pooling_of_products(tmp_path):
    torch.manual_seed(0)
    net = Network(nn.Conv2d(2,3,3,dilation=2,stride=(1,2)), nn.AvgPool2d(2, stride=1), LIF(.9, .2), nn.Flatten(), nn.Linear(3*7*3,2), LIF(reset='none'), in_shape=(2,12,12), steps=4)
    x = torch.randn(2,2,12,12)
    assert three(prepare(net, preset('int4'), x), x, tmp_path/'net.safetensors')==0


def test_examples_were_not_vacuous():
    assert len(FIRED)>60 and 20 < sum(0<r<1 for r in FIRED)
    assert np.mean([0<r<1 for r in FIRED]) > .8


@pytest.mark.parametrize('reset', RESETS)
def test_kernel_and_torch_loop_agree_in_training(reset):
    torch.manual_seed(0)
    x = torch.rand(5,6)*2
    q = prepare(mlp(reset=reset), preset('nonary'), x)
    for a,b in zip(q.train().integers(x), q.eval().integers(x)):
        assert torch.equal(a.spk, b.spk) and torch.equal(a.mem, b.mem)


def plain(q, x, spikes):
    "The fake-quantized float64 network with the spikes of `q`, written with nothing but autograd"
    ste = lambda z: z+(z.round()-z).detach()
    up = lambda z: z+((z+.5).floor()-z).detach()      # the leak rounds ties up
    k = torch.round(x.double()/q.in_scale).clamp(q.in_min, q.in_max)*q.in_scale
    s_in,params,out = k,[],[]
    for n,(l,spk) in enumerate(zip(q.layers, spikes)):
        p = {a:getattr(l, a).detach().double().requires_grad_() for a in ('latent','scale','bias','beta','threshold')}
        params.append(p)
        s = p['scale'].expand(len(l.bias))
        w = ste(p['latent']/s[:,None]).clamp(l.lv.quant_min, l.lv.quant_max)*s[:,None]
        u = s*(q.in_scale if n==0 else 1.)/2**l.guard
        b,th,beta = ste(p['bias']/u)*u,ste(p['threshold']/u)*u,ste(p['beta']*65536)/65536
        v,ss,us = torch.zeros(x.shape[-2], len(w), dtype=torch.float64),[],[]
        l.eval()
        vi = torch.zeros_like(v)
        for t in range(len(spk)):
            i = (s_in if s_in.ndim==2 else s_in[t])@w.T+b
            pre = u.detach()*up(beta*v/u.detach())+i
            if l.reset=='subtract_delayed': pre = pre-(vi>0).double()*th
            x0 = pre-th
            d = l.slope*x0
            fired = spk[t].double()
            sg = 1/(d.detach().abs()+1)**2
            sp = fired+(x0-x0.detach())*sg
            v = pre-fired*th if l.reset=='subtract' else pre*(1-fired) if l.reset=='zero' else pre
            vi = fired                      # subtract_delayed: it fired, so it was above the threshold
            ss.append(sp); us.append(v)
        s_in = torch.stack(ss)
        out.append(torch.stack(us))
    return out[-1],s_in,params


@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('policy', ['nonary','int8'])
def test_backward_is_that_of_the_fake_quantized_network(reset, policy):
    torch.manual_seed(3)
    net = Network(nn.Linear(6,8), LIF(torch.full((8,), .9), torch.full((8,), 1.), reset, learn_beta=True, learn_threshold=True), nn.Linear(8,4),
        LIF(.9, 1., 'none', learn_beta=True, learn_threshold=True), steps=10)
    with torch.no_grad(): net.layers[0].weight.mul_(3)
    x = torch.rand(5,6)
    q = prepare(net, preset(policy), x)
    target = torch.randn(10,5,4)
    spk,mem = q.train()(x)
    (mem*target).sum().add((spk*target).sum()).backward()
    spikes = [r.spk for r in q.integers(x)]
    assert 0 < spikes[0].mean() < 1
    v,s,params = plain(q, x, spikes)
    (v*target).sum().add((s*target).sum()).backward()
    for l,p in zip(q.layers, params):
        for name in p:
            ours,exact = getattr(l, name).grad.double(),p[name].grad
            if name=='scale': exact = exact/(l.latent.numel()/len(exact)*l.lv.quant_max)**.5     # LSQ's part of it: 1/√(n·Q)
            tol = 1e-3 if name=='scale' else 1e-5       # w/s − k is a small difference of float32 numbers
            assert (ours-exact).abs().max() <= tol*exact.abs().max()+1e-9, (name, ours, exact)


def test_rows_that_break_float32():
    "Sums beyond 2^24 are exact: the last bit of 127·255·1000 + 255 is not lost"
    net = Network(nn.Linear(1001,2,bias=False), LIF(beta=0., threshold=1e5), nn.Linear(2,2), LIF(reset='none'), steps=2)
    with torch.no_grad():
        net.layers[0].weight.fill_(127.)
        net.layers[0].weight[:,0] = 1.
    x = torch.full((1,1001), 255.)
    q = prepare(net, preset('int8'), x)
    program = lower(q)
    assert 127*255*1000 > 2**24
    for r in q.eval().integers(x)[0],program.record(x.numpy())[0]: assert int(r.mem[0,0,0])+int(r.spk[0,0,0])*int(program.layers[0].theta[0])==127*255*1000+255


def test_sloppy_float32_products_are_not_used():
    torch.manual_seed(0)
    x = torch.rand(4,6)
    q = prepare(mlp(), preset('int8'), x)
    good = q.integers(x)
    try:
        torch.set_float32_matmul_precision('medium')
        with torch.autocast('cpu', dtype=torch.bfloat16): bad = q.integers(x)
    finally: torch.set_float32_matmul_precision('highest')
    for a,b in zip(good, bad): assert torch.equal(a.mem, b.mem)


def test_overflow_is_refused_with_the_guard_that_fits():
    x = (torch.rand(4,3,6)<.5).float()
    net = mlp(beta=1., steps=10**4)
    with torch.no_grad(): net.layers[0].bias.fill_(30.)
    with pytest.raises(CheckError, match=r"membranes: expected \|v\| < 2\^31 \(the largest guard that fits: f = \d; the largest T: \d+; or membrane='clipped\(16\)' with current='int8'\), found up to"): prepare(net, preset('int8'), x)(torch.ones(2,6))
    q = prepare(mlp(), preset('int8'), x)
    program = lower(q)
    from dataclasses import replace
    with pytest.raises(CheckError, match='layer 0: membranes: expected .*largest guard that fits: f = '):
        replace(program, layers=(replace(program.layers[0], guard=27), program.layers[1]))


@pytest.mark.filterwarnings('ignore:.*a threshold of')
def test_ways_out_of_a_range_work():
    torch.manual_seed(0)
    x = torch.rand(4,784)
    def net(steps):
        n = Network(nn.Linear(784,8), LIF(beta=1.), nn.Linear(8,4), LIF(.9, reset='none'), steps=steps)
        with torch.no_grad(): n.layers[0].weight.fill_(.1)
        return n
    with pytest.raises(CheckError, match='the largest T: ') as e: prepare(net(1000), preset('int8'), x)(x)
    t = int(re.search(r'the largest T: (\d+)', str(e.value))[1])
    q = prepare(net(t), preset('int8'), x)
    assert 1<t<1000 and verify(q, lower(q), [x]).mismatches==0
    with pytest.raises(CheckError, match=f'the largest T: {t};'): prepare(net(t+1), preset('int8'), x)(x)
    with pytest.raises(CheckError, match=rf'the largest T: {t}\)'): lower(q).prove(1000)
    assert "or membrane='clipped(16)' with current='int8'" in str(e.value)
    q = prepare(net(1000), Policy('int8', layers={'first': dict(membrane='clipped(16)', current='int8')}), x)
    assert q.record(x)[0].spk.any() and verify(q, lower(q), [x]).mismatches==0


@pytest.mark.parametrize('x', [torch.rand(4,20)*300, torch.randn(4,20)*200], ids=['counts','signed'])
def test_scaling_of_wide_input_of_recurrent_neurons(x):
    torch.manual_seed(0)
    net = Network(nn.Linear(20,8), RecurrentLIF(nn.Linear(8,8,bias=False), beta=.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=6)
    with pytest.raises(CheckError, match='divide the input by') as e: prepare(net, preset('int8'), x)
    by = float(re.search(r'divide the input by ([\d.]+)', str(e.value))[1])
    twin = copy.deepcopy(net)
    with torch.no_grad(): twin.layers[0].weight.mul_(by)
    q = prepare(twin, preset('int8'), x/by)
    torch.testing.assert_close(twin(x/by)[1], net(x)[1], rtol=1e-3, atol=1e-3)
    assert verify(q, lower(q), [x/by]).mismatches==0


def test_longer_input_is_proved_again():
    q = prepare(mlp(beta=1., steps=5), preset('int8'), (torch.rand(5,2,6)<.5).float())
    program = lower(q)
    per_step = max(int(membrane_bound(np.abs(l.weight.astype(int)).sum(1), l, 1).max()) for l in program.layers)
    with pytest.raises(CheckError, match='membranes'): program.prove(2**31//max(1, per_step)*2)


def test_threshold_below_half_a_unit_is_refused_and_a_coarse_one_warned_of():
    net = mlp(threshold=1e-4, bias=False)
    with torch.no_grad(): net.layers[0].weight.mul_(100)
    q = prepare(net, preset('ternary'), (torch.rand(5,2,6)<.5).float())
    with pytest.raises(CheckError, match='threshold: expected more than half a unit'): q.freeze()
    net = mlp(threshold=1., bias=False)
    with torch.no_grad(): net.layers[0].weight.fill_(100.)
    q = prepare(net, preset('ternary'), (torch.rand(5,2,6)<.5).float())
    with pytest.warns(UserWarning, match='is rounded with an error of'): q.freeze()


def test_codes_are_frozen_once():
    torch.manual_seed(0)
    x = torch.rand(4,6)
    q = prepare(mlp(), preset('nonary'), x)
    program = lower(q.freeze())
    before = [t.clone() for t in (q.layers[0].weight_code,q.layers[0].theta_code)]
    with torch.no_grad(): q.layers[0].latent.mul_(7); q.layers[0].threshold.mul_(3)
    again = lower(q)
    assert torch.equal(before[0], q.layers[0].weight_code) and torch.equal(before[1], q.layers[0].theta_code)
    np.testing.assert_array_equal(program.layers[0].weight, again.layers[0].weight)
    assert verify(q, again, [x]).mismatches==0


@pytest.mark.filterwarnings('ignore:.*a threshold of')
@pytest.mark.filterwarnings('ignore:.*a threshold of')
@pytest.mark.parametrize('policy', PRESETS)
def test_a_mutated_file_is_found(tmp_path, policy):
    torch.manual_seed(0)
    x = torch.rand(200,6)
    if policy.startswith('mint'): x = x.round()     # a sum of pixels is far beyond a membrane of few bits, and one more or less in θ changes nothing
    q = prepare(mlp(), preset(policy), x)
    lower(q).save(tmp_path/'net.safetensors')
    assert verify(q, load(tmp_path/'net.safetensors'), x.split(50)).ok
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    i = int(q.integers(x)[0].spk.mean((0,1)).argmax())        # a neuron that fires
    theta = decode_ints(tensors['0.theta'], 8)
    theta[i] += 1
    save_tensors(tmp_path/'bad.safetensors', tensors | {'0.theta':encode_ints(theta)}, head)
    proof = verify(q, load(tmp_path/'bad.safetensors'), x.split(50))
    assert proof.mismatches > 0 and not proof.ok


@pytest.mark.parametrize('field,value,message', [
    ('layers', None, 'header field `layers`'), ('steps', 'x', 'header field `steps`'), ('in_scale', 'x', 'header field `in_scale`')])
def test_damaged_headers_are_named(tmp_path, field, value, message):
    lower(prepare(mlp(), preset('nonary'), torch.rand(2,6))).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    head = {k:v for k,v in head.items() if k!=field} | ({} if value is None else {field:value})
    save_tensors(tmp_path/'net.safetensors', tensors, head)
    with pytest.raises(CheckError, match=message): load(tmp_path/'net.safetensors')


@pytest.mark.parametrize('name,change,message', [
    ('0.weight', lambda a: a[:-1], 'tensor `0.weight`: expected .* whole words'), ('0.theta', lambda a: encode_ints(np.zeros(8, np.int32)), 'tensor `0.theta`: expected at least 1, found 0'),
    ('0.leak', lambda a: encode_ints(np.full(8, 70000, np.int32)), r'tensor `0.leak`: expected in \[0, 65536\], found 70000'), ('0.bias', lambda a: a.astype(np.int64), 'tensor `0.bias`: expected dtype uint8, found int64'),
    ('0.bias', lambda a: encode_ints(np.arange(7, dtype=np.int32)), 'tensor `0.bias`: expected values and bytes with CRC-32'), ('0.weight', lambda a: a^(np.arange(len(a))==len(a)//2).astype(np.uint8), 'tensor `0.weight`: expected'),
    ('0.worth', lambda a: a[:0], 'tensor `0.worth`: expected 1 or 8 values'), ('1.weight', None, 'tensor `1.weight`: expected uint8.*, found nothing')])
def test_damaged_tensors_are_named(tmp_path, name, change, message):
    lower(prepare(mlp(), preset('nonary'), torch.rand(2,6))).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    if change is None: del tensors[name]
    else: tensors[name] = change(tensors[name])
    save_tensors(tmp_path/'net.safetensors', tensors, head)
    with pytest.raises(CheckError, match=message): load(tmp_path/'net.safetensors')


def test_another_version_is_refused(tmp_path):
    lower(prepare(mlp(), preset('nonary'), torch.rand(2,6))).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    save_tensors(tmp_path/'net.safetensors', tensors, head | dict(version=4))
    with pytest.raises(CheckError, match='net.safetensors: version: expected 3, found 4'): load(tmp_path/'net.safetensors')
    del head['digest']
    save_tensors(tmp_path/'net.safetensors', tensors, head | dict(format='quarantion.integer', version=1))       # what it says, but not what it holds
    with pytest.raises(CheckError, match='net.safetensors, layer 0'): load(tmp_path/'net.safetensors')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('reset', RESETS)
def test_cuda_runs_the_same_integers(reset):
    torch.manual_seed(1)
    for net,x in (mlp(reset=reset),torch.rand(5,6)*2),(conv_net(reset),torch.rand(2,1,8,8)*2):
        q = prepare(net, preset('nonary'), x)
        a = q.eval().integers(x)
        g = copy.deepcopy(q).cuda()
        for b in g.eval().integers(x.cuda()),g.train().integers(x.cuda()):
            for r,s in zip(a, b): assert torch.equal(r.spk, s.spk.cpu()) and torch.equal(r.mem, s.mem.cpu())


def test_what_cannot_be_compared_is_named():
    torch.manual_seed(0)
    x = torch.rand(8,6)
    q = prepare(mlp(), preset('nonary'), x).train()
    program = lower(q)
    with pytest.raises(CheckError, match='`loader`: expected batches'): verify(q, program, x)
    with pytest.raises(CheckError, match='labels: expected whole numbers from 0 to 3, of shape'): verify(q, program, [(x,x)])
    with pytest.raises(CheckError, match='labels'): verify(q, program, [(x,torch.full((8,), 4))])
    assert q.training                                   # a failed comparison leaves the mode as it was
    with pytest.raises(CheckError, match='`q`: expected a QuantNetwork'): lower(mlp())
    with pytest.raises(CheckError, match='layers: expected 2'): verify(q, lower(prepare(conv_net(), preset('nonary'), torch.rand(2,1,8,8))), [x])


def test_a_threshold_beyond_int32_is_refused():
    x = (torch.rand(4,3,6)<.5).float()
    q = prepare(mlp(), preset('int8'), x)
    with torch.no_grad():
        for p in q.layers[0].scale,q.layers[0].scale_min,q.layers[0].latent: p.mul_(1e-9)
    for f in lambda: q(x),q.freeze:
        with pytest.raises(CheckError, match=r'threshold: expected less than 2\^31 units of the membrane'): f()
