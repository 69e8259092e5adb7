"What a hostile user tries: each of these was once a wrong result or a bad message."
import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.quant.lowering import lower
from quarantion.quant.policy import preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.runtime.store import FORMAT, VERSION
from quarantion.runtime.network import load
from quarantion.spikes.network import Network
from quarantion.train.fit import evaluate, train_epoch
from quarantion.train.checkpoints import check_head
from quarantion.spikes.neuron import LIF, RESETS, Gradient, lif

pytestmark = pytest.mark.filterwarnings('ignore:.*(codes are 0|cannot reach their threshold)') # networks that nobody trained

P = preset('nonary')


def mlp(**kw): return Network(nn.Linear(6,8), LIF(.9, **kw), nn.Linear(8,4), LIF(.9, reset='none'), steps=8)


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.rand(5,6)*2


def test_learned_neurons_train_step_after_step_and_are_copied(x):
    q = prepare(mlp(learn_beta=True, learn_threshold=True), P, x)
    before = {k:v.clone() for k,v in q.state_dict().items()}
    opt = torch.optim.Adam(q.parameters(), 1e-2)
    for _ in range(3):
        opt.zero_grad(); q(x)[1].pow(2).sum().backward(); opt.step()
    for k,v in q.state_dict().items():
        if k.endswith(('0.beta','0.threshold','original','.scale')): assert not torch.equal(before[k], v), k
    assert torch.equal(copy.deepcopy(q)(x)[1], q(x)[1])


def test_a_scale_below_its_floor_comes_back(x):
    q = prepare(mlp(), P, x)
    with torch.no_grad(): q.layers[0].scale.fill_(1e-9)
    q(x)[1].pow(2).sum().backward()
    assert (q.layers[0].scale.grad!=0).any()


@pytest.mark.parametrize('pool', [nn.AvgPool2d(2, padding=1), nn.AvgPool2d(3, 1, 1)])
def test_padded_averages_of_products_are_refused(pool):
    net = Network(nn.Conv2d(1,2,3), pool, LIF(), nn.Flatten(), nn.LazyLinear(2), LIF(reset='none'), in_shape=(1,8,8))
    net(torch.rand(1,1,8,8))
    with pytest.raises(CheckError, match=r'layer 1 \(AvgPool2d\): AvgPool2d: expected no padding between weights and neurons'): prepare(net, P, torch.rand(2,1,8,8))


@pytest.mark.parametrize('reset', RESETS)
def test_the_quantized_network_is_close_to_the_float_one(reset):
    "int8 with padding before weights, groups, dilation and both poolings: states agree within the rounding of the weights"
    torch.manual_seed(0)
    net = Network(nn.Conv2d(2,4,3,padding=1,groups=2), LIF(.9, 1., reset), nn.AvgPool2d(2, padding=1), nn.Conv2d(4,4,3,dilation=2,padding=2), nn.MaxPool2d(2),
        LIF(.9, 50., reset), nn.Flatten(), nn.Linear(16,3), LIF(.9, 50., 'none'), in_shape=(2,8,8), steps=1)
    x = torch.rand(3,2,8,8)
    with torch.no_grad(): a,b = net.record(x),prepare(net, preset('int8'), x).eval().record(x)
    for r,s in zip(a, b): assert (r.mem-s.mem).abs().max() < .02*max(1., float(r.mem.abs().max()))


def test_features_that_are_not_flat_are_refused():
    net = Network(nn.Linear(6,8), LIF(), in_shape=(8,6))
    with pytest.raises(CheckError, match=r'layer 0 \(Linear\): Linear: expected one axis of features before it \(nn.Flatten makes one\), found shape \[8, 6\]'): prepare(net, P, torch.rand(2,8,6))
    net = Network(nn.Flatten(), nn.Linear(7,8), LIF(), in_shape=(2,3))
    with pytest.raises(CheckError, match=r'layer 1 \(Linear\): shapes: expected weights and poolings that fit \[6\]'): prepare(net, P, torch.rand(2,2,3))


def test_a_state_brings_its_input_codes(x):
    net = mlp()
    a,b = prepare(net, P, x),prepare(net, P, x*3)
    b.load_state_dict(a.state_dict())
    assert b.in_scale==a.in_scale and torch.equal(b(x)[1], a(x)[1])
    with pytest.raises(CheckError, match='load_state_dict: `input_codes`: expected a scale above 0'):
        b.load_state_dict(a.state_dict()|dict(input_codes=torch.tensor([-1.,0,1])))


@pytest.mark.parametrize('cast', ['float','double','half'])
def test_casts_leave_the_file_readable(x, tmp_path, cast):
    q = prepare(mlp(), P, x).eval()
    lower(getattr(q, cast)()).save(tmp_path/'net.safetensors')
    load(tmp_path/'net.safetensors')


def test_samples_that_say_nothing_are_refused(x):
    for bad,words in ((x*0, 'not all zeros'), (x[:0], 'not all zeros'), (x*torch.nan, 'finite'), (torch.full((2,6), 300), 'integer codes of 8 bits')):
        with pytest.raises(CheckError, match=words): prepare(mlp(), P, bad)
    with pytest.raises(CheckError, match='`policy`: expected a Policy'): prepare(mlp(), 'nonary', x)
    with pytest.raises(CheckError, match='`net`: expected a Network|prepare: `net`'): prepare(nn.Linear(6,8), P, x)


def test_integer_samples_are_codes():
    codes = torch.randint(0, 201, (5,6), dtype=torch.uint8)
    q = prepare(mlp(), P, codes)
    assert q.in_scale==1
    a,b = q.eval().integers(codes),q.integers(codes.float())
    for r,s in zip(a, b): assert torch.equal(r.mem, s.mem)


def test_what_is_not_a_spike_is_refused_and_clipping_is_said(x):
    q = prepare(mlp(), P, (x>1).float())
    with pytest.raises(CheckError, match='expected spikes, 0 or 1'): q(x)
    with pytest.raises(CheckError, match='spikes: 0 or 1'): lower(q)(x.numpy())
    with pytest.warns(UserWarning, match='is clipped to'): prepare(mlp(), P, x)(x*2)
    with pytest.raises(CheckError, match='`x`: expected a tensor of real numbers, found ndarray'): q(x.numpy())


def test_neurons_check_what_they_are_given():
    x = torch.ones(6,1,2)
    for kw,words in ((dict(beta=2.), '`beta`'), (dict(beta=float('nan')), '`beta`'), (dict(threshold=-1.), '`threshold`'), (dict(gradient=Gradient(slope=0.)), '`slope`'),
                     (dict(mem=torch.zeros(2,1)), r'`mem`: expected shape \(1, 2\)'), (dict(mem=torch.zeros(1,3)), '`mem`')):
        with pytest.raises(CheckError, match=words): lif(x, **kw)
    with pytest.raises(CheckError, match='`x`: expected a floating dtype'): lif(x.long())


@pytest.mark.parametrize('name', ['weight','bias','beta','threshold'])
def test_nan_parameters_are_named(x, name):
    net = mlp(learn_beta=True, learn_threshold=True)
    with torch.no_grad(): getattr(net.layers[0 if name in ('weight','bias') else 1], name).view(-1)[0] = torch.nan
    with pytest.raises(CheckError, match=f'layer 1: `{name}`: expected finite numbers'): prepare(net, P, x)
    q = prepare(mlp(learn_beta=True, learn_threshold=True), P, x)
    with torch.no_grad(): getattr(q.layers[0], 'latent' if name=='weight' else name).view(-1)[0] = torch.nan
    with pytest.raises(CheckError, match=f'layer 1: `{name}`: expected finite numbers'): q.freeze()


@pytest.mark.parametrize('layer,tiny', [(0,1e-9),(2,1e-7),(2,1e-5)])
def test_a_nearly_dead_row_does_not_refuse_the_network(x, layer, tiny):
    net = mlp()
    with torch.no_grad(): net.layers[layer].weight[0] *= tiny
    q = prepare(net, preset('int8'), x)
    assert verify(q, lower(q), [x]).mismatches==0
    with torch.no_grad(): net.layers[layer].weight *= tiny
    q = prepare(net, preset('int8'), x)
    assert verify(q, lower(q), [x]).mismatches==0


@pytest.mark.parametrize('field,value', [('steps',0),('steps',-1),('steps',True),('in_scale',0),('in_scale',-1.),('in_min',300),('in_max',-5),('in_shape',[]),('in_shape',[7]),('layers',[]),
    ('layers','x'),('version',4)])
def test_damaged_fields(x, tmp_path, field, value):
    lower(prepare(mlp(), P, x)).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    if field!='version': save_tensors(tmp_path/'bad.safetensors', tensors, head | {field:value})
    else:
        data = (tmp_path/'net.safetensors').read_bytes()
        assert b'\\"version\\":3' in data
        (tmp_path/'bad.safetensors').write_bytes(data.replace(b'\\"version\\":3', b'\\"version\\":4'))
    with pytest.raises(CheckError, match='bad.safetensors'): load(tmp_path/'bad.safetensors')


@pytest.mark.parametrize('field,value', [('guard',200000),('guard',-1),('guard',None),('shape',['x']),('shape',[8]),('shape',[8,7]),('quant_max',0),('reset','hard'),('packing','zip'),('conv',[1]),('conv',[[1,1],[0,0],[1,1],1]),
    ('before',['x']),('before',[{}]),('before',[dict(kind='blur', kernel=[1,1], stride=[1,1], padding=[0,0])]),('before',[dict(kind='max', kernel=3, stride=[1,1], padding=[0,0])]),
    ('after',[dict(kind='max', kernel=[2,2], stride=[2,2], padding=[0,0])])])
def test_damaged_layers(x, tmp_path, field, value):
    lower(prepare(mlp(), P, x)).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    head['layers'][0][field] = value
    save_tensors(tmp_path/'bad.safetensors', tensors, head)
    with pytest.raises(CheckError): load(tmp_path/'bad.safetensors')


def test_tensors_of_nobody_are_refused(x, tmp_path):
    lower(prepare(mlp(), P, x)).save(tmp_path/'net.safetensors')
    tensors,head = load_tensors(tmp_path/'net.safetensors', FORMAT, VERSION)
    save_tensors(tmp_path/'bad.safetensors', tensors | {'2.weight':np.zeros(3)}, head)
    with pytest.raises(CheckError, match='also 2.weight'): load(tmp_path/'bad.safetensors')


def test_newer_precision_settings_of_torch_do_not_crash(x):
    q = prepare(mlp(), P, x).eval()
    good = q.integers(x)
    old = torch.backends.mkldnn.matmul.fp32_precision
    try:
        torch.backends.mkldnn.matmul.fp32_precision = 'bf16'
        for a,b in zip(good, q.integers(x)): assert torch.equal(a.mem, b.mem)
    finally: torch.backends.mkldnn.matmul.fp32_precision = old


@pytest.mark.parametrize('b', [0,1])
def test_batches_of_none_and_one(b):
    net = Network(nn.Conv2d(1,2,3), LIF(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18,3), LIF(reset='none'), in_shape=(1,8,8), steps=4)
    q = prepare(net, P, torch.rand(2,1,8,8)).eval()
    x = torch.rand(b,1,8,8)
    assert net(x)[1].shape==q(x)[1].shape==(4,b,3)
    assert lower(q)(x)[1].shape==(4,b,3)


def test_a_frozen_state_freezes_and_an_open_one_opens(x):
    a,b = (prepare(mlp(), P, x) for _ in range(2))
    state = copy.deepcopy(a.state_dict())
    b.load_state_dict(a.freeze().state_dict())
    assert not any(p.requires_grad for p in b.parameters())
    b.load_state_dict(state)
    assert all(p.requires_grad for p in b.parameters())


def test_nothing_compared_is_no_proof(x):
    q = prepare(mlp(), P, x)
    with pytest.raises(CheckError, match='`loader`: expected at least one sample'): verify(q, lower(q), [])
    with pytest.raises(CheckError, match='`q`: expected a QuantNetwork'): verify(mlp(), lower(q), [x])


def test_a_frozen_network_says_so_and_a_copy_goes_on(x):
    q = prepare(mlp(), P, x)
    before = copy.deepcopy(q)
    q.freeze()
    with pytest.raises(CheckError, match='param_groups: network: expected one that can learn, found one frozen by `freeze'): q.param_groups(.1)
    opt = torch.optim.SGD(before.param_groups(.1))
    with pytest.raises(CheckError, match='train_epoch: `net`: expected parameters that learn, found none; `freeze` ends learning'):
        train_epoch(q, opt, [(x, torch.zeros(5, dtype=torch.long))])
    assert train_epoch(before, opt, [(x, torch.zeros(5, dtype=torch.long))])['loss']>0


def test_an_optimizer_of_another_network_is_refused(x):
    net,data = mlp(),[(x, torch.zeros(5, dtype=torch.long))]
    opt = torch.optim.SGD(net.parameters(), .1)
    for other in (prepare(net, P, x), copy.deepcopy(net)):
        with pytest.raises(CheckError, match='train_epoch: `opt`: expected an optimizer of parameters of `net`, found only others'): train_epoch(other, opt, data)
    some = torch.optim.SGD([*net.parameters()][:1], .1) # of a part is enough
    assert train_epoch(net, some, data)['loss']>0


def test_what_a_quantized_network_keeps_is_not_chosen(x):
    net = mlp()
    net.at_once,net.layers[1].save = 2,'bits'
    with pytest.warns(UserWarning, match="prepare: save='bits' and at_once=2 are of float networks"): q = prepare(net, P, x)
    for at,name,v in ((q,'at_once',2),(q.layers[0],'save','bits'),(copy.deepcopy(q),'at_once',2),(copy.deepcopy(q).layers[0],'save','bits')):
        with pytest.raises(CheckError, match=f'`{name}`: expected a float network; a quantized one keeps what it keeps'): setattr(at, name, v)
        assert not hasattr(at, name)


def test_where_memory_ends_only_what_helps_is_recommended(x, monkeypatch):
    from quarantion.spikes import room
    monkeypatch.setattr(room, '_held', lambda device: (15*2**30, 16*2**30))
    def full(*_, **__): raise torch.OutOfMemoryError('Tried to allocate 4.00 GiB.')
    net = mlp()
    q,y = prepare(net, P, x),torch.zeros(5, dtype=torch.long)
    for n,helps in ((net,True),(q,False)):
        with pytest.raises(CheckError, match=r'memory: expected room for 5 samples \(about 3 fit in 16.0 GiB') as e:
            train_epoch(n, torch.optim.SGD(n.parameters(), .1), [(x,y)], objective=full)
        assert ("save='bits' of its neurons and fewer samples at_once" in str(e.value))==helps


def test_batches_of_other_kinds_are_refused(x):
    q = prepare(mlp(), P, x)
    for bad in (dict(x=x, y=0),),None,'text',[None],[(x,)],[['a','b']]:
        with pytest.raises(CheckError, match='`data`: expected batches of two tensors'): evaluate(q, bad)
    for bad in [dict(x=x)],None,'text',[None]:
        with pytest.raises(CheckError, match='verify: `loader`: expected'): verify(q, lower(q), bad)


def test_a_network_is_copied_but_not_pickled(x):
    q = prepare(mlp(), P, x)
    for twin in copy.deepcopy(q),copy.copy(q): assert torch.equal(twin(x)[1], q(x)[1])
    assert copy.deepcopy(q).layers[0].latent is not q.layers[0].latent and copy.copy(q).layers is q.layers
    with pytest.raises(CheckError, match='QuantNetwork: pickle: expected its `state_dict`'): torch.save(q, io.BytesIO())


@pytest.mark.parametrize('dtype', [torch.bfloat16,torch.float16,torch.float64])
def test_short_networks_and_inputs_are_read(x, dtype):
    net = mlp().to(dtype)
    assert net(x.to(dtype))[1].dtype==dtype
    with pytest.raises(CheckError, match='`x`: expected torch.*, as the weights'): net(x)
    q = prepare(net, P, x.to(dtype)).eval()
    low = lower(q)
    assert np.array_equal(low(x.to(dtype))[1], low(x.to(dtype).float())[1]) and verify(q, low, [x.to(dtype)]).mismatches==0


def test_float16_is_named_where_currents_leave_it(x):
    q = prepare(mlp(), preset('current8'), x).half()
    with pytest.raises(CheckError, match='MovingAverage: `x`: expected finite numbers, found others; float16 ends at 65504'): q.train()(x.half())


@pytest.mark.parametrize('field,bad', [('phase','x'),('phase',None),('epoch',-1),('epoch','1'),('metrics',None),('audit',1.5),('float_accuracy','1'),('float_accuracy',2.),('kind','float'),('health',[])])
def test_the_header_of_a_checkpoint_is_checked(field, bad):
    good = dict(phase='qat', epoch=1, metrics=1, audit=2, float_accuracy=.5)
    kinds = dict(float='float', qat='qat')
    check_head(good, 'last', kinds)
    with pytest.raises(CheckError, match=f'last: header field `{field}`'): check_head(good|{field:bad}, 'last', kinds)


def test_a_closed_inspector_says_so():
    from quarantion.inspect.nonary_explorer import NonaryExplorer
    e = NonaryExplorer()
    e.close()
    for f in e.draw,e.say,e.to_html:
        with pytest.raises(CheckError, match='NonaryExplorer: expected an open inspector, found a closed one'): f()
