"Every number of a proof against plain numpy and scipy on whole arrays; gates that pass and fail; what is refused"
import itertools, math, tracemalloc, xml.etree.ElementTree as ET
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.quant.drift import Change, spike_correlation
from quarantion.quant.lowering import lower
from quarantion.quant.policy import Policy, preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import Gates, verify
from quarantion.runtime.layer import RESETS, IntLayer, Op
from quarantion.runtime.network import load
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic
from quarantion.train.fit import batches, train_epoch

D = load_digits()
DOTS = Policy('int4', membrane='clipped(4)', layers={'last': dict(membrane='exact')})


@pytest.fixture(scope='module')
def digits():
    "Two hidden layers, trained for two epochs"
    torch.manual_seed(0)
    net = Network(nn.Linear(64,48), LIF(.9), nn.Dropout(.1), nn.Linear(48,24), LIF(.8, reset='zero'), nn.Linear(24,10), LIF(reset='none'), steps=8)
    opt = torch.optim.Adam(net.parameters(), 3e-3)
    for e in range(2): train_epoch(net, opt, batches(D.x_train, D.y_train, 64, steps=8, seed=e, shuffle=True))
    return net


def conv_net(reset='subtract'):
    torch.manual_seed(1)
    net = Network(nn.Conv2d(1,4,3,padding=1), nn.BatchNorm2d(4), LIF(.9, .5, reset), nn.AvgPool2d(2), nn.Conv2d(4,4,3,padding=1,groups=2), nn.MaxPool2d(2), LIF(.8, .3, reset),
        nn.Flatten(), nn.Linear(16,10), LIF(.95, reset='none'), in_shape=(1,8,8), steps=5)
    net.train()(D.x_train[:64].reshape(-1,1,8,8))
    return net.eval()


def whole(net, program, x):
    "The same measures from whole arrays, by other means"
    with torch.no_grad(): floats = net.eval().record(x)
    out = []
    for f,r,low in zip(floats, program.record(x.numpy()), program.layers):
        unit = low.unit.reshape(1, 1, -1, *[1]*(r.mem.ndim-3))
        flat = lambda s: s.reshape(-1, math.prod(s.shape[2:])).astype(np.float64)
        a,b,u,v = flat(f.spk.numpy()),flat(r.spk),f.mem.numpy().astype(np.float64),r.mem*unit
        with np.errstate(all='ignore'):
            corr = [float((p==q).all()) if p.std()==0 or q.std()==0 else stats.pearsonr(p, q).statistic for p,q in zip(a.T, b.T)]
        counts = [s.reshape(*s.shape[:2], -1).sum(0).astype(int) for s in (f.spk.numpy(),r.spk)]
        out.append(dict(rate=b.mean(), float_rate=a.mean(), rate_change=b.mean()/a.mean()-1, correlation=np.mean(corr), sqnr=10*np.log10((u**2).sum()/((u-v)**2).sum()),
            agreement=1-(a!=b).sum()/a.sum(), count_agreement=1-abs(counts[0]-counts[1]).sum()/a.sum(),
            constant=sum((p==p[0]).all() and (q==q[0]).all() for p,q in zip(a.T, b.T)), correlations=corr))
    return floats,out


def agree(change, want):
    for k,v in want.items(): np.testing.assert_allclose(getattr(change, k), v, rtol=1e-6, atol=1e-9, err_msg=k)


@pytest.mark.parametrize('policy', ('int8','nonary','ternary','tcq4','current8'))
def test_every_number(digits, policy, tmp_path):
    q = prepare(digits, preset(policy), D.x_train)
    lower(q).save(tmp_path/'n.safetensors')
    program = load(tmp_path/'n.safetensors')
    digits.train(); q.train()
    proof = verify(q, program, zip(D.x_test.split(77), D.y_test.split(77)), digits)
    assert digits.training and q.training and proof.ok and proof.compared and proof.samples==len(D.x_test)
    floats,want = whole(digits, program, D.x_test)
    for l,w in zip(proof.layers, want): agree(l.change, w)
    y,f,p = D.y_test.numpy(),floats[-1].mem.numpy().sum(0).argmax(-1),program.classify(D.x_test.numpy())
    assert (proof.accuracy,proof.float_accuracy,proof.drop)==((p==y).mean(),(f==y).mean(),(f==y).mean()-(p==y).mean())
    assert proof.alike==(f==p).sum() and proof.confusion.sum()==len(y)
    assert proof.spike_rate==pytest.approx(sum(w['rate']*n for w,n in zip(want, (48,24)))/72) and proof.float_spike_rate==pytest.approx(sum(w['float_rate']*n for w,n in zip(want, (48,24)))/72)


@pytest.mark.parametrize('reset', ('subtract','subtract_delayed','zero'))
def test_convolutions_and_batches_of_any_size(reset, tmp_path):
    net = conv_net(reset)
    x = D.x_test[:90].reshape(-1,1,8,8)
    q = prepare(net, preset('int4'), x)
    lower(q).save(tmp_path/'n.safetensors')
    program = load(tmp_path/'n.safetensors')
    _,want = whole(net, program, x)
    for size in 90,7:
        proof = verify(q, program, x.split(size), net)
        assert proof.mismatches==0 and proof.parameters==[] and math.isnan(proof.accuracy) and math.isnan(proof.drop)
        for l,w in zip(proof.layers, want): agree(l.change, w)


@pytest.mark.parametrize('neurons', ('synaptic','recurrent','diagonal','recurrent_synaptic'))
def test_second_leaks_and_spikes_that_return(neurons):
    torch.manual_seed(2)
    hidden = dict(synaptic=lambda: Synaptic(alpha=.7, beta=.9), recurrent=lambda: RecurrentLIF(nn.Linear(20,20), beta=.9), diagonal=lambda: RecurrentLIF(Diagonal(torch.randn(20)*.3), beta=.9),
        recurrent_synaptic=lambda: RecurrentSynaptic(nn.Linear(20,20), alpha=.7, beta=.9))[neurons]()
    net,x = Network(nn.Linear(64,20), hidden, nn.Linear(20,10), LIF(.9, reset='none'), steps=6),(D.x_test[:60]>.5).float()
    q = prepare(net, preset('int8'), x)
    program = lower(q)
    proof = verify(q, program, x.split(13), net)
    assert proof.mismatches==0 and proof.parameters==[]
    for l,w in zip(proof.layers, whole(net, program, x)[1]): agree(l.change, w)
    codes = np.concatenate([program.layers[0].weight.ravel(), program.layers[0].recurrent.ravel()])
    assert proof.layers[0].weight_saturation==(abs(codes.astype(int))==127).mean()
    leaks = [(program.layers[0].leak,.9)]+([(program.layers[0].current_leak,.7)] if 'synaptic' in neurons else [])
    assert proof.layers[0].scales.beta_error==pytest.approx(max(np.abs(m/65536-b).max() for m,b in leaks), abs=1e-7)


def test_scale_table(digits):
    q = prepare(digits, preset('nonary'), D.x_train)
    program = lower(q)
    for l,layer,low in zip(verify(q, program, [D.x_test]).layers, q.layers, program.layers):
        s,real = l.scales,lambda t: t.detach().double().numpy().reshape(-1)
        s_w = np.broadcast_to(real(torch.maximum(layer.scale, layer.scale_min)), len(low.theta))
        for got,want in (s.weight,s_w),(s.unit,s_w*layer.in_scale/2**low.guard),(s.theta,low.theta): np.testing.assert_allclose(got, [want.min(),np.median(want),want.max()], rtol=1e-9)
        assert s.theta_error==np.max(np.abs(low.theta*low.unit-real(layer.threshold))/real(layer.threshold))
        assert s.bias_error==pytest.approx(np.sqrt(((low.bias*low.unit-real(layer.bias))**2).sum()/(real(layer.bias)**2).sum()), rel=1e-12)
        assert s.beta_error==np.max(np.abs(low.leak/65536-real(layer.beta)))
        assert l.weight_saturation==np.mean(np.abs(low.weight.astype(int))==4)


@pytest.mark.filterwarnings('ignore:.*a threshold of')   # clipped membranes have few units
@pytest.mark.parametrize('policy', (DOTS, Policy('int4', membrane='levels(16)'), Policy('int4', membrane='uint8'), Policy('int4')))
@pytest.mark.parametrize('kind', ('linear','conv'))
def test_saturated_states(policy, kind, digits):
    net,x = (digits,(D.x_test>.5).float()) if kind=='linear' else (conv_net(),(D.x_test[:60]>.5).float().reshape(-1,1,8,8))
    q = prepare(net, policy, x)
    program = lower(q)
    for l,low,r in zip(verify(q, program, x.split(50)).layers, program.layers, program.record(x.numpy())):
        at = np.zeros(r.mem.shape, bool)
        for c in range(len(low.theta)):
            if low.clip: at[:,:,c] = np.abs(r.mem[:,:,c])==low.clip
            elif len(low.levels):
                values = [(int(low.theta[c])*int(t)+32768)>>16 for t in low.levels]
                if not low.before_fire: assert np.isin(r.mem[:,:,c], values).all()
                at[:,:,c] = np.isin(r.mem[:,:,c], (values[0],values[-1]))
        assert l.state_saturation==at.mean()
        assert (l.at_ends>0)==at.any() and (low.clip or len(low.levels) or not at.any())


def test_saturated_input(digits):
    q = prepare(digits, preset('int8'), D.x_train)
    assert verify(q, lower(q), [D.x_test]).input_saturation==(D.x_test==1).double().mean()
    signed = D.x_test*2-1
    q = prepare(digits, preset('int8'), signed)
    assert verify(q, lower(q), [signed]).input_saturation==((D.x_test==1)|(D.x_test==0)).double().mean()
    dots = (D.x_test>.5).float()
    q = prepare(digits, preset('int8'), dots)
    assert verify(q, lower(q), [dots]).input_saturation==0


def test_codes_are_as_good_as_real_numbers(digits):
    q = prepare(digits, preset('int8'), D.x_train)
    program = lower(q)
    codes = torch.from_numpy(program.codes(D.x_test.numpy()))
    a,b = verify(q, program, [codes], digits, codes=True),verify(q, program, [codes*q.in_scale], digits)
    assert [l.change.sqnr for l in a.layers]==[l.change.sqnr for l in b.layers] and a.layers[0].change.sqnr>10


def test_one_step_one_sample_and_silence(digits):
    q = prepare(digits, preset('nonary'), D.x_train*8)
    program = lower(q)
    x = D.x_test[None]*8                                    # T = 1
    for l,w in zip(verify(q, program, [x], digits).layers, whole(digits, program, x)[1]): agree(l.change, w)
    one = verify(q, program, [x[:,:1]], digits)             # trains of one value are constant
    for l,f,r in zip(one.layers, digits.eval().record(x[:,:1]), program.record(x[:,:1].numpy())):
        assert l.change.correlations.tolist()==(f.spk[0,0].detach().numpy()==r.spk[0,0]).astype(float).tolist() and l.change.constant==len(l.change.correlations)
    dark = verify(q, program, [torch.zeros(0,64), torch.zeros(3,64)], digits)
    quiet = [l for l in dark.layers if not l.fired and not l.change.float_fired.any()]
    assert quiet
    for l in quiet: assert (l.change.correlation,l.change.agreement,l.change.count_agreement,l.change.rate_change)==(1,1,1,0)


def test_classes_without_samples(digits):
    q = prepare(digits, preset('int8'), D.x_train)
    two = D.y_test<2
    with pytest.warns(UserWarning, match='labels use 2 of 10 outputs'): proof = verify(q, lower(q), [(D.x_test[two],D.y_test[two])], digits)
    assert proof.confusion.shape==(10,10) and not proof.confusion[2:].any() and proof.confusion.sum()==int(two.sum()) and 0<=proof.accuracy<=1


# The sums

def test_correlation_is_scipys():
    rng = np.random.default_rng(0)
    for n,p,turned in itertools.product((2,3,50,4000), (.02,.3,.9), (0,.1,.5)):
        a = rng.random((n,9))<p
        b = a^(rng.random((n,9))<turned)
        got = spike_correlation(n, a.sum(0), b.sum(0), (a&b).sum(0))
        for r,s,t in zip(got, a.T.astype(float), b.T.astype(float)):
            if s.std() and t.std(): assert r==pytest.approx(stats.pearsonr(s, t).statistic, abs=1e-12)
            else: assert r==float((s==t).all())
            if (s==t).all(): assert r==1
    zero,full = np.zeros(1, int),np.full(1, 10**9)
    assert spike_correlation(10**9, full, full, full)==1 and spike_correlation(10**9, full, zero, zero)==0 and spike_correlation(10**9, full//2, full//2, full//2)==1
    assert spike_correlation(10**9, full//2, full//2, zero)==-1


def test_change_of_nothing_and_of_infinitely_much():
    c,z,o = Change(),np.zeros((4,2,3)),np.ones((4,2,3))
    assert (c.rate,c.float_rate,c.rate_change,c.sqnr)==(0,0,0,math.inf)
    c.add(z, z, z, z)
    assert (c.correlation,c.agreement,c.rate_change,c.sqnr,c.constant)==(1,1,0,math.inf,3)
    c = Change(); c.add(z, z, o, o)
    assert (c.correlation,c.agreement,c.count_agreement,c.rate_change,c.sqnr)==(0,-math.inf,-math.inf,math.inf,-math.inf)
    c = Change(); c.add(o, o, o, o)
    assert (c.correlation,c.agreement,c.rate_change,c.constant)==(1,1,0,3)
    with pytest.raises(CheckError, match=r'Change: `spk`: expected shape \[4, 2, 3\], found \[2, 3\]'): c.add(o, o, o[0], o)
    with pytest.raises(CheckError, match='Change: membranes: expected finite numbers'): c.add(o, o*np.nan, o, o)
    assert c.n==8                                           # nothing was added


def test_memory_does_not_grow_with_the_data(digits):
    q = prepare(digits, preset('nonary'), D.x_train)
    program = lower(q)
    def peak(n):
        tracemalloc.start()
        verify(q, program, (D.x_test[:50] for _ in range(n)), digits)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top
    peak(1)
    assert peak(30)<1.2*peak(3)


# Gates

def test_each_gate_passes_and_fails(digits):
    q = prepare(digits, preset('tcq4'), D.x_train)
    program,loader = lower(q),[(D.x_test,D.y_test)]
    free = verify(q, program, loader, digits)
    ls,fire = free.layers,free.firing
    found = dict(max_drop=free.drop, max_input_saturation=free.input_saturation, max_rate_change=max(abs(l.change.rate_change) for l in fire), min_sqnr=min(l.change.sqnr for l in ls),
        min_correlation=min(l.change.correlation for l in fire), min_agreement=min(l.change.agreement for l in fire), min_count_agreement=min(l.change.count_agreement for l in fire),
        max_theta_error=max(l.scales.theta_error for l in ls), max_weight_saturation=max(l.weight_saturation for l in ls), max_state_saturation=max(l.state_saturation for l in ls))
    assert set(found)==set(Gates.__dataclass_fields__) and [l.name for l in fire]==['1','4']
    for k,v in found.items():
        near,sign = max(abs(v)*1e-3, 1e-6),1 if k.startswith('min_') else -1
        for bound,ok in (v,True),(v-sign*near,True),(v+sign*near,False):
            proof = verify(q, program, [(D.x_test,D.y_test)], digits, Gates(**{k:bound}))
            g, = proof.gates[4:]
            assert (g.name,g.expected,g.found,g.passed,proof.ok)==(k,bound,v,ok,ok)
            assert ok or proof.problems==[f'gate {g}'] and f'expected {"≥" if sign>0 else "≤"} ' in str(g) and proof.mismatches==0
    g = verify(q, program, loader, digits, Gates(min_sqnr=99)).gates[-1]
    assert g.where==f'layer {min(ls, key=lambda l: l.change.sqnr).name}' and str(g)==f'min_sqnr: expected ≥ 99, found {g.found:.4g} ({g.where})'


def test_gates_that_are_always_there(digits):
    q = prepare(digits, preset('int4'), D.x_train)
    program = lower(q)
    named = lambda proof: {g.name:(g.found,g.where,g.passed) for g in proof.gates}
    assert named(verify(q, program, [D.x_test]))==dict(mismatches=(0,'',True), parameters=(0,'',True), never_fires=(0,'',True), always_fires=(0,'',True))
    theta = program.layers[1].theta.copy(); theta[3] += 1
    wrong = replace(program, layers=(program.layers[0],replace(program.layers[1], theta=theta),program.layers[2]))
    proof = verify(q, wrong, [D.x_test])
    assert named(proof)['parameters']==(1,'theta of layer 4',False) and named(proof)['mismatches'][2]==(proof.mismatches==0)
    dark = named(verify(q, program, [D.x_test*0]))
    assert not dark['never_fires'][2] and dark['never_fires'][1].startswith('layer ')


def test_readouts_alone_have_no_spikes_to_judge():
    torch.manual_seed(0)
    net = Network(nn.Linear(64,10), LIF(.9, reset='none'), steps=4)
    q = prepare(net, preset('int8'), D.x_train)
    proof = verify(q, lower(q), [D.x_test], net, Gates(min_correlation=.5, min_sqnr=5))
    assert [(g.name,g.passed,g.where) for g in proof.gates[4:]]==[('min_sqnr',True,'layer 1'),('min_correlation',False,'no layer fires')]
    assert '–' in str(proof)


def edits(v):
    "What is close to a value, and not the same"
    if isinstance(v, np.ndarray) and v.dtype.kind=='f': return [v*1.01,v*.99]
    if isinstance(v, np.ndarray):
        a,b = v.copy(),v.copy()
        a.flat[-1] += -1 if v.flat[-1]>0 else 1
        b.flat[0] ^= 1
        return [a,b]
    if isinstance(v, bool): return [not v]
    if isinstance(v, float): return [v*1.01,v*2]
    if isinstance(v, int): return [v+1,v-1]
    if isinstance(v, str): return [r for r in RESETS if r!=v]
    return [(*v[:-1],v[-1]+1)]


def named(q, program, x, **edit):
    "What `verify` says of an edited program: in its proof, or, if it cannot be run, in its error"
    try: return verify(q, replace(program, **edit), [x]).parameters
    except CheckError as e: return str(e).replace(' (', ', ').split('others: ')[1].split(', ')


def refused(f, *args, **kw):
    try: f(*args, **kw)
    except CheckError: return True


HEADER = 'in_shape','steps','in_scale','in_min','in_max'
EMPTY = dict(m0=2**30, shift=30, current_leak=9, levels=np.arange(-6, 6), recurrent=1)
@pytest.mark.filterwarnings('ignore:input beyond')
@pytest.mark.parametrize('field', [f.name for f in fields(IntLayer)]+[*HEADER])
@pytest.mark.parametrize('policy', ['int4','rich'])
def test_every_field_that_differs_is_named(policy, field):
    torch.manual_seed(0)
    rich = policy=='rich'
    hidden = RecurrentSynaptic(nn.Linear(12,12), alpha=.5, beta=.9) if rich else LIF(.9)
    net = Network(nn.Linear(64,12), hidden, nn.Linear(12,10), LIF(.9, reset='none'), steps=4)
    x = (D.x_test>.5).float() if rich else D.x_test
    q = prepare(net, Policy('int4', current='int8', membrane='uint8') if rich else preset('int4'), x)
    program = lower(q)
    assert verify(q, program, [x]).parameters==[]
    low = program.layers[0]
    of = program if field in HEADER else low
    v,found = getattr(of, field),0
    if isinstance(v, np.ndarray) and not v.size: new = [np.zeros(12, v.dtype)+np.array(EMPTY[field], v.dtype)]
    elif field in ('before','after'): new = [(Op('flatten'),),(Op('max', (2,2)),)]
    elif field in ('conv','recurrent_conv'): new = [((1,1),(0,0),(1,1),1)]
    else: new = edits(v)
    for w in new:
        edit = {field:w} if of is program else dict(layers=(replace(low, **{field:w}),*program.layers[1:]))
        if refused(replace, program, **edit): continue # it cannot even be made
        found += 1
        assert (field if of is program else f'{field} of layer 1') in named(q, program, x, **edit)
    cannot = {'conv'}|({'clip','recurrent_conv'} if rich else {'m0','shift','current_max'})
    assert bool(found)==(field not in cannot), field


def test_a_geometry_that_differs_is_named():
    net,x = conv_net(),D.x_test[:20].reshape(-1,1,8,8)
    q = prepare(net, preset('int4'), x)
    program = lower(q)
    low = program.layers[1]
    wrong = replace(program, layers=(program.layers[0],replace(low, after=(replace(low.after[0], kind='sum'),)),program.layers[2]))
    assert verify(q, wrong, [x]).parameters==['after of layer 6']
    stride,padding,dilation,groups = low.conv
    for conv in ((2,2),padding,dilation,groups),(stride,(2,2),dilation,groups),(stride,padding,(2,2),groups),(stride,padding,dilation,1):
        wrong = replace(program, layers=(program.layers[0],replace(low, conv=conv),program.layers[2]))
        assert 'conv of layer 6' in named(q, wrong, x)


# What is said, and what is refused

def test_what_a_proof_looks_like(digits):
    q = prepare(digits, preset('ternary'), D.x_train)
    proof = verify(q, lower(q), [(D.x_test,D.y_test)], digits, Gates(min_sqnr=90, max_drop=1))
    text = str(proof)
    assert text.splitlines()[0]==f'{proof.spikes:,} spike values compared over 360 samples ({proof.fired:,} spikes): 0 mismatches'
    assert 'FAILED: gate min_sqnr: expected ≥ 90' in text and 'passed: max_drop: expected ≤ 1' in text and f'{proof.layers[0].change.correlation:.4f}' in text
    assert max(map(len, text.splitlines()))<150
    page = ET.fromstring('<div>'+proof._repr_html_().replace('<br>', '<br/>')+'</div>')
    assert [len(list(t.iter('tr'))) for t in page.iter('table')]==[4,4] and len(page.findall('.//li'))==6
    assert all(len({len(r) for r in t.iter('tr')})==1 for t in page.iter('table'))
    plain = verify(q, lower(q), [D.x_test])
    assert 'SQNR' not in str(plain) and 'accuracy' not in str(plain) and plain.ok
    proof.layers[0].name = '<b>'
    assert '&lt;b&gt;</td>' in proof._repr_html_() and '<b></td>' not in proof._repr_html_()


def test_what_is_refused(digits):
    q = prepare(digits, preset('int8'), D.x_train)
    program = lower(q)
    def refused(what, *args, **kw):
        with pytest.raises(CheckError, match=what): verify(q, program, *args, **kw)
    refused('verify: `net`: expected the float network, for max_drop, min_sqnr, found none', [D.x_test], gates=Gates(min_sqnr=3, max_drop=.1))
    refused('verify: labels: expected labels with every batch, for the gate max_drop', [D.x_test], digits, Gates(max_drop=.1))
    refused('verify: `net`: expected a Network, found Linear', [D.x_test], nn.Linear(2,2))
    refused('verify: `gates`: expected Gates, found dict', [D.x_test], digits, dict(max_drop=.1))
    refused('verify: `net`: expected neurons in layers 1, 4, 6, as in the quantized network, found 1, 3', [D.x_test], Network(nn.Linear(64,48), LIF(), nn.Linear(48,10), LIF(reset='none')))
    other = Network(nn.Linear(64,48), LIF(), nn.Identity(), nn.Linear(48,25), LIF(), nn.Linear(25,10), LIF(reset='none'), steps=8)
    refused(r'verify: layer 4: expected spikes of shape \[8, 360, 24\] from the float network, found \[8, 360, 25\]', [D.x_test], other)
    other.steps = 9
    refused(r'verify: layer 1: expected spikes of shape \[8, 360, 48\]', [D.x_test], other)
    other.steps,other.layers[0].bias.data[0] = 8,float('nan')
    refused('layer 1.*membranes: expected finite numbers', [D.x_test], other)
    for v in '1%',True,float('nan'),float('inf'):
        with pytest.raises(CheckError, match='Gates: `min_agreement`: expected a finite number, or None'): Gates(min_agreement=v)
