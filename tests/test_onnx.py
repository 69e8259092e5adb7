"Programs in ONNX: run by onnxruntime to the bit, and read back; models of others, and files that were changed"
import collections, io, json, warnings
from dataclasses import replace

import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn

import networks
from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.export.onnx import FORMS, from_onnx, prove_onnx, run_onnx, to_onnx
from quarantion.quant.lowering import lower
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


def drawn(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        net = networks.network(rng)
        yield seed,net,networks.sample(rng, net, 5)

@pytest.mark.parametrize('seeds', [range(60), pytest.param(range(60, 1000), marks=pytest.mark.soak)], ids=['short','long'])
def test_random_networks_of_every_kind(seeds, tmp_path):
    "Every spike, membrane and answer in both forms; and the same program out of the file"
    seen = collections.Counter()
    for seed,net,x in drawn(seeds):
        seen.update(networks.kinds([net]))
        for form in FORMS:
            f = to_onnx(net, form=form)
            proof = prove_onnx(net, f, x)
            assert not any(proof.mismatches.values()), f'{seed} {form}: {proof}'
            f.save(tmp_path)
            back = from_onnx(tmp_path/'net.onnx')
            assert back.digest==net.digest and to_onnx(back, form=form).data==f.data, seed
            assert all((a.unit==b.unit).all() for a,b in zip(net.layers, back.layers))
    for kind in ('recurrent 1','recurrent 2','recurrent 4','current_max True','current_leak True','levels True','clip True','max','sum','flatten','zero',
                 'subtract','subtract_delayed','none','codes int16_t','codes int8_t','codes uint8_t','decision labels','decision values','decision first_spike'): assert seen[kind], (kind, seen)


@pytest.fixture(scope='module')
def programs():
    "A network of digits in several policies"
    torch.manual_seed(0)
    d = load_digits()
    net = Network(nn.Linear(64, 32), LIF(), nn.Linear(32, 10), LIF(reset='none'), in_shape=(64,), steps=12)
    return {p:lower(prepare(net, preset(p), d.x_train[:256]).freeze()) for p in ('int8','int4','nonary','ternary')},d

@pytest.mark.parametrize('policy', ['int8','int4','nonary','ternary'])
def test_policies_and_a_mutation(programs, policy):
    prog,x = programs[0][policy],torch.cat([programs[1].x_test, programs[1].x_train[:640]]).numpy()
    proof = prove_onnx(prog, to_onnx(prog), x)
    assert proof.proved and proof.samples==1000
    theta = prog.layers[0].theta.copy()
    theta[3] += 1
    other = replace(prog, layers=(replace(prog.layers[0], theta=theta),*prog.layers[1:]))
    proof = prove_onnx(prog, to_onnx(other), x)
    assert not proof.proved and (proof.first['layer'],proof.first['neuron'])==(0,3)

def test_other_numbers_of_steps(programs):
    prog = programs[0]['nonary']
    x = np.random.default_rng(0).random((30,4,64)).astype(np.float32)
    assert prove_onnx(prog, to_onnx(prog), x).proved
    with pytest.raises(CheckError, match='12 steps, as were unrolled'): prove_onnx(prog, to_onnx(prog, form='unrolled'), x)

def opset(f): return onnx.load_model_from_string(f.data).opset_import[0].version

def test_weights_take_half_a_byte_or_a_quarter(programs):
    assert {p:opset(to_onnx(prog)) for p,prog in programs[0].items()}==dict(int8=21, int4=21, nonary=21, ternary=25)
    sizes = {p:{t.name:len(t.raw_data) for t in onnx.load_model_from_string(to_onnx(prog).data).graph.initializer} for p,prog in programs[0].items()}
    assert sizes['int8']['0.weight']==64*32 and all(sizes[p]['0.weight']==32*32 for p in ('int4','nonary')) and sizes['ternary']['0.weight']==32*16

def ternary(net):
    sign = lambda l: {k:np.sign(w) for k in ('weight','recurrent') if (w := getattr(l, k)).ndim>1 and w.size}
    return replace(net, layers=tuple(replace(l, **sign(l)) for l in net.layers))

def test_two_bits_of_every_kind(tmp_path):
    "INT2 runs to the bit in onnxruntime: dense, convolutions and recurrent weights, in both forms; and comes back"
    seen = collections.Counter()
    for seed,net,x in drawn(range(24)):
        try: net = ternary(net)
        except CheckError: continue # thresholds or sums that codes of ±1 do not have
        seen.update(networks.kinds([net]))
        for form in FORMS:
            f = to_onnx(net, form=form)
            assert opset(f)==25 and not any(prove_onnx(net, f, x).mismatches.values()), (seed, form)
            f.save(tmp_path)
            assert from_onnx(tmp_path/'net.onnx').digest==net.digest
    assert seen['recurrent 2'] and seen['recurrent 4'] and seen['sum']

def test_ternary_files_of_opset_21_are_read(programs, tmp_path):
    "As they were written before"
    from quarantion.export import onnx as page
    (tmp_path/'old.onnx').write_bytes(page._model(programs[0]['ternary'], 'scan', '', 21).SerializeToString())
    assert from_onnx(tmp_path/'old.onnx').digest==programs[0]['ternary'].digest

def test_nothing_saturates():
    "The largest pixels and weights, of which two products do not fit in 16 bits"
    from quarantion.runtime.layer import IntLayer
    from quarantion.runtime.network import IntegerNetwork
    w = np.full((3,64), 127, np.int8)
    w[1] *= -1
    one = np.ones(3, np.int32)
    net = IntegerNetwork((IntLayer(w, 0*one, 10**6*one, 65536*one, np.ones(3), guard=0, quant_max=127),), (64,), 2, 1., 0, 255)
    assert prove_onnx(net, to_onnx(net), np.full((2,64), 255)).mismatches=={'onnxruntime':0}


# Files

def changed(f, tmp_path, change):
    m = onnx.load_model_from_string(f.data)
    change(m)
    (tmp_path/'x.onnx').write_bytes(m.SerializeToString())
    with pytest.raises(CheckError) as e: from_onnx(tmp_path/'x.onnx')
    assert str(e.value).startswith(f'{tmp_path}/x.onnx') and '\n' not in str(e.value) and len(str(e.value))<900
    return str(e.value)

def initializer(m, name): return next(t for t in m.graph.initializer if t.name==name)

def external(place):
    def change(m):
        t = initializer(m, '0.weight')
        t.data_location = onnx.TensorProto.EXTERNAL
        t.external_data.add(key='location', value=place)
        t.ClearField('raw_data')
    return change

@pytest.mark.parametrize('place', ['/etc/passwd', '../../secret', 'weights.bin'])
def test_values_in_other_files_are_refused(programs, tmp_path, place):
    (tmp_path/'weights.bin').write_bytes(bytes(4096))
    assert 'values in the file' in changed(to_onnx(programs[0]['nonary']), tmp_path, external(place))

def meta(change):
    def apply(m):
        said = json.loads(m.metadata_props[0].value)
        change(said)
        m.metadata_props[0].value = json.dumps(said)
    return apply

CHANGES = dict(
    shape=lambda m: initializer(m, '0.weight').dims.__setitem__(0, 2**50), negative=lambda m: initializer(m, '0.weight').dims.__setitem__(0, -1),
    cut=lambda m: setattr(initializer(m, '0.theta'), 'raw_data', b'123'), kind=lambda m: setattr(initializer(m, '0.theta'), 'data_type', 10), unknown=lambda m: setattr(initializer(m, '0.theta'), 'data_type', 999),
    gone=lambda m: m.graph.initializer.remove(initializer(m, '0.theta')), theta=lambda m: setattr(initializer(m, '0.theta'), 'raw_data', bytes(128)),
    more=lambda m: m.graph.node.add(op_type='Identity', input=['codes'], output=['more']), op=lambda m: setattr(m.graph.node[-1], 'op_type', 'ArgMin'),
    order=lambda m: m.graph.node.reverse(), output=lambda m: m.graph.output.pop(), opset=lambda m: setattr(m.opset_import[0], 'version', 22), domain=lambda m: m.opset_import.add(domain='evil', version=1), function=lambda m: m.functions.add(name='f'),
    title=meta(lambda s: s.update(title=3)), form=meta(lambda s: s.update(form='x')), version=meta(lambda s: s.update(version=2)), no_layers=meta(lambda s: s.update(layers=[])),
    layers=meta(lambda s: s['layers'].append(3)), header=meta(lambda s: s['header'].update(steps=10**30)), in_shape=meta(lambda s: s['header'].update(in_shape=[2**31])), unit=meta(lambda s: s['arrays'][0].update(unit=['x']*32)),
    worth=meta(lambda s: s['arrays'][0]['unit'].__setitem__(0, .125)), no_seal=meta(lambda s: s.pop('seal')),
    huge=meta(lambda s: s['layers'][0].update(shape=[2**20,2**20])), units=meta(lambda s: s['arrays'][0].update(unit=[1e300]*32)), more_arrays=meta(lambda s: s['arrays'][0].update(theta=[1]*32)), word=meta(lambda s: s['layers'][0].update(reset='up')), deep=lambda m: setattr(m.metadata_props[0], 'value', '['*10**5))

@pytest.mark.parametrize('what', CHANGES)
def test_changed_files_are_refused_by_name(programs, tmp_path, what): changed(to_onnx(programs[0]['nonary']), tmp_path, CHANGES[what])

def test_a_weight_that_was_changed(programs, tmp_path):
    "It stands there once, so that nothing but the seal knows"
    m = onnx.load_model_from_string(to_onnx(programs[0]['ternary']).data)
    t = next(t for t in m.graph.initializer if t.name.endswith('.weight'))
    t.raw_data = bytes([t.raw_data[0]^1])+t.raw_data[1:]
    (tmp_path/'x.onnx').write_bytes(m.SerializeToString())
    with pytest.raises(CheckError, match='x.onnx: seal: expected [0-9a-f]{64}, that of its numbers, found'): from_onnx(tmp_path/'x.onnx')

def test_a_name_that_is_no_text(programs, tmp_path):
    data = to_onnx(programs[0]['ternary']).data.replace(b'0.theta', b'0.th\xff\xfea')
    (tmp_path/'x.onnx').write_bytes(data)
    with pytest.raises(CheckError, match='x.onnx'): from_onnx(tmp_path/'x.onnx')

def test_models_of_others(tmp_path):
    h = onnx.helper
    g = h.make_graph([h.make_node('Relu', ['x'], ['y'])], 'g', [h.make_tensor_value_info('x', 1, [2])], [h.make_tensor_value_info('y', 1, [2])])
    (tmp_path/'x.onnx').write_bytes(h.make_model(g, producer_name='pytorch').SerializeToString())
    with pytest.raises(CheckError, match="metadata: expected those of an integer program, by to_onnx, found none, of 'pytorch'"): from_onnx(tmp_path/'x.onnx')

@pytest.mark.parametrize('data', [b'', b'{}', b'\x80\x04.', b'\x08\x0a'*9, bytes(1000)])
def test_no_models(tmp_path, data):
    (tmp_path/'x.onnx').write_bytes(data)
    with pytest.raises(CheckError): from_onnx(tmp_path/'x.onnx')

@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6), st.floats(.2, 1))
def test_bytes_that_were_changed(programs, tmp_path_factory, edits, share):
    "Never anything but the same program, or one line"
    f = to_onnx(programs[0]['ternary'])
    data = bytearray(f.data[:max(1, int(share*len(f.data)))])
    for at,b in edits: data[int(at*len(data))] = b
    path = tmp_path_factory.mktemp('fuzz')/'x.onnx'
    path.write_bytes(data)
    try: net = from_onnx(path)
    except CheckError as e: assert '\n' not in str(e)
    else: assert net.digest==programs[0]['ternary'].digest

def test_a_proof_makes_one_session(programs, monkeypatch):
    import onnxruntime
    from quarantion.export import onnx as page
    made,begin = [],onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, 'InferenceSession', lambda *a, **k: made.append(1) or begin(*a, **k))
    monkeypatch.setattr(page, '_AT_ONCE', 5000)
    prog = programs[0]['int8']
    assert prove_onnx(prog, to_onnx(prog), programs[1].x_test.numpy()).proved and len(made)==1

def test_a_model_that_onnxruntime_refuses():
    with pytest.raises(CheckError, match='onnxruntime: model: expected one that it takes'): run_onnx(b'no model', np.zeros((1,1,3), int))


# torch.export

@pytest.mark.parametrize('policy', ['float','int8','nonary','current8','mint4'])
def test_torch_export_gives_the_same_numbers(policy):
    torch.manual_seed(0)
    d = load_digits()
    net = Network(nn.Linear(64, 32), LIF(), nn.Linear(32, 10), LIF(reset='none'), in_shape=(64,), steps=8)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # coarse thresholds
        m = net.eval() if policy=='float' else prepare(net, preset(policy), d.x_train[:256]).freeze().eval()
    file = io.BytesIO()
    torch.export.save(torch.export.export(m, (d.x_test[:5],), dynamic_shapes=({0:torch.export.Dim('batch')},)), file)
    file.seek(0)
    again = torch.export.load(file).module()
    for x in d.x_test[:1],d.x_test:
        (spk,mem),last = again(x),m.record(x)[-1]
        assert torch.equal(spk, last.spk.to(spk.dtype))
        if policy=='float': torch.testing.assert_close(mem, last.mem, rtol=0, atol=1e-5)
        else: assert torch.equal(mem, last.mem.to(mem.dtype))
    if policy!='float':
        with pytest.raises(RuntimeError, match='finite numbers'): again(d.x_test*torch.nan)
        with pytest.raises(RuntimeError): again(d.x_test*2) # beyond the codes: told by a warning elsewhere
