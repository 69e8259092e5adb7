"""Networks that others quantized: their codes exactly, the proof of here, and files that are not what they say

`stored/elsewhere/brevitas.pt` is a state of Brevitas 0.13.4 (a convolution with a scale for each row and a batch norm, and a linear layer, 4 bits, 20 steps of
Adam on noise), `brevitas.safetensors` the codes, scales and values that Brevitas' own `quant_weight()` gave."""
import io
from pathlib import Path

import numpy as np, pytest, snntorch as snn, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant.brevitas import from_brevitas
from quarantion.quant.lowering import lower
from quarantion.quant.policy import preset
from quarantion.quant.qat import from_qat
from quarantion.quant.proof import verify
from quarantion.runtime.network import load
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Diagonal, RecurrentLIF
from quarantion.spikes.snntorch import from_snntorch
from quarantion.spikes.pickles import _pickled, read_state
from quarantion.spikes.states import from_snntorch_state

pytestmark = pytest.mark.filterwarnings('ignore:.*(codes are 0|cannot reach their threshold|not read|became|changed, as all)')
STORED = Path(__file__).parent/'stored'/'elsewhere'

def conv(): return Network(nn.Conv2d(1,4,3), nn.BatchNorm2d(4), LIF(), nn.Flatten(), nn.Linear(144,10), LIF(reset='none'), in_shape=(1,8,8), steps=8).eval()
def rand(*shape, seed=0): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
def proved(q, x, path):
    prog = lower(q)
    prog.save(path)
    proof = verify(q, load(path), [(x,None)])
    assert proof.mismatches==0
    return load(path)

def test_a_state_of_brevitas_has_the_codes_that_brevitas_gave(tmp_path):
    want = load_file(STORED/'brevitas.safetensors')
    x = rand(40,1,8,8)
    q = from_brevitas(STORED/'brevitas.pt', conv(), x, bits=4)
    proved(q, x, tmp_path/'a.safetensors')
    prog = lower(q)
    state = torch.load(STORED/'brevitas.pt', weights_only=True)
    sign = state['1.weight'].sign().to(torch.int8).reshape(-1,1,1,1) # of the batch norm that is folded
    assert (torch.from_numpy(prog.layers[0].weight)==want['0.codes']*sign).all() and (torch.from_numpy(prog.layers[1].weight)==want['4.codes']).all()
    gain = state['1.weight'].double().abs()/torch.sqrt(state['1.running_var'].double()+1e-5)
    for l,s,f in zip(prog.layers, (want['0.scale'].double()*gain,want['4.scale'].double()), (prog.in_scale/2**prog.layers[0].guard,2.**-prog.layers[1].guard)):
        assert np.allclose(l.unit, (s*f).numpy(), rtol=1e-6)
    for name,s in (('0',(-1,1,1,1)),('4',(-1,1))): assert torch.equal(want[f'{name}.codes']*want[f'{name}.scale'].reshape(s), want[f'{name}.value'])

def test_policies_and_training_go_on(tmp_path):
    x = rand(40,1,8,8)
    state = torch.load(STORED/'brevitas.pt', weights_only=True)
    q = from_brevitas(state, conv(), x, bits={'0':4, '4':4}, policy=preset('nonary') if not preset('nonary').layers else None)
    before = [l.codes().ints.weight.clone() for l in q.layers]
    opt = torch.optim.SGD(q.parameters(), 1.)
    q.train()
    q(x)[1].pow(2).mean().backward(); opt.step()
    assert any((a!=l.codes().ints.weight).any() for a,l in zip(before, q.layers))
    proved(q.eval(), x, tmp_path/'b.safetensors')

@pytest.mark.parametrize('kind', ['state','module'])
def test_brevitas_itself(kind, tmp_path):
    "Where it is installed: per tensor and per row, learned and computed scales, 2 to 8 bits"
    qnn = pytest.importorskip('brevitas.nn', reason='Brevitas is not installed (pip install --no-deps brevitas==0.13.4 dependencies==2.0.1 unfoldNd)')
    from brevitas.inject.enum import ScalingImplType as S
    x,n = rand(30,12),0
    for bits in range(2, 9):
        for learned in (True,False):
            for per in (True,False):
                torch.manual_seed(bits)
                how = lambda per: dict(weight_bit_width=bits, weight_scaling_per_output_channel=per, weight_scaling_impl_type=S.PARAMETER_FROM_STATS if learned else S.STATS)
                theirs = nn.Sequential(qnn.QuantLinear(12, 9, bias=True, **how(per)), nn.ReLU(), qnn.QuantLinear(9, 4, bias=True, **how(False))).eval()
                theirs(x)
                net = Network(nn.Linear(12,9), LIF(threshold=.1), nn.Linear(9,4), LIF(reset='none'), steps=6)
                w = theirs[0].quant_weight().int(),theirs[2].quant_weight().int()
                given = dict(scales={'0':theirs[0].weight.detach().abs().amax(1) if per else theirs[0].weight.detach().abs().max(), '2':theirs[2].weight.detach().abs().max()}) if not learned else {}
                q = from_brevitas(theirs, net, x) if kind=='module' else from_brevitas(theirs.state_dict(), net, x, bits=bits, **given)
                prog = lower(q.eval())
                assert all((torch.from_numpy(l.weight)==k).all() for l,k in zip(prog.layers, w)), (bits,learned,per)
                n += 1
    assert n==28

def test_quantizers_that_a_state_cannot_say(tmp_path):
    state = torch.load(STORED/'brevitas.pt', weights_only=True)
    x = rand(4,1,8,8)
    for more,says in (({'0.weight_quant.tensor_quant.msb_clamp_bit_width_impl.bit_width_offset':torch.ones(1)}, 'quantizer'), ({'0.weight_quant.tensor_quant.scaling_impl.value':torch.zeros(4)}, 'above 0'),
                      ({'0.weight':torch.ones(4,1,2,2)}, 'shape'), ({'4.weight':torch.full((10,144), torch.nan)}, 'finite'), ({'9.weight':torch.ones(3,3)}, 'layer 9: scale')):
        with pytest.raises(CheckError, match=says): from_brevitas(state|more, conv(), x, bits=4)
    for bits in (None, 1, 9, True, '4', {'0':4}):
        with pytest.raises(CheckError, match='bits'): from_brevitas(state, conv(), x, bits=bits)
    for scales in ('mean', 3., None):
        with pytest.raises(CheckError, match='scale'): from_brevitas({k:v for k,v in state.items() if 'quant' not in k}, conv(), x, bits=4, scales=scales)
    with pytest.raises(CheckError, match='none that return'): from_brevitas({k:v for k,v in state.items() if k[0] in '4'}, Network(nn.Linear(144,10), RecurrentLIF(Diagonal(.5))), rand(3,144), bits=4)
    with pytest.raises(CheckError, match='layers of Brevitas'): from_brevitas(nn.Linear(2,2), Network(nn.Linear(2,2), LIF()), rand(3,2))


# torch

def trained(per, seed=0):
    "A prepared and a converted checkpoint of torch"
    import warnings
    import torch.ao.quantization as tq
    torch.manual_seed(seed)
    w = tq.default_per_channel_weight_fake_quant if per else tq.default_weight_fake_quant
    net = nn.Sequential(tq.QuantStub(), nn.Conv2d(1,4,3), nn.ReLU(), nn.Flatten(), nn.Linear(144,10), tq.DeQuantStub()).train()
    net.qconfig = tq.QConfig(tq.default_fake_quant, w)
    net[4].qconfig = tq.QConfig(tq.default_fake_quant, tq.default_weight_fake_quant)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ready = tq.prepare_qat(net)
        ready(rand(8,1,8,8))
        torch.backends.quantized.engine = 'onednn' if 'onednn' in torch.backends.quantized.supported_engines else torch.backends.quantized.engine
        done = tq.convert(ready.eval(), inplace=False)
    return ready,done

@pytest.mark.parametrize('per', [False,True])
def test_checkpoints_of_torch(per, tmp_path):
    "Prepared, converted, and real weights with scales that are given: the codes that torch has"
    ready,done = trained(per)
    net = lambda: Network(nn.Conv2d(1,4,3), LIF(), nn.Flatten(), nn.Linear(144,10), LIF(reset='none'), in_shape=(1,8,8), steps=8)
    x = rand(20,1,8,8)
    for name,m in (('ready',ready),('done',done)): torch.save(m.state_dict(), tmp_path/f'{name}.pt')
    a = proved(from_qat(ready.state_dict(), net(), x, exact=False), x, tmp_path/'a.safetensors')
    b = proved(from_qat(tmp_path/'done.pt', net(), x, exact=False), x, tmp_path/'b.safetensors')
    s = {k:getattr(ready, k).weight_fake_quant.scale.detach() for k in '14'}
    plain = {k:v for k,v in ready.state_dict().items() if k in ('1.weight','1.bias','4.weight','4.bias')}
    c = proved(from_qat(plain, net(), x, scales=s, exact=False), x, tmp_path/'c.safetensors')
    for l,m in zip(b.layers, (done[1],done[4])): assert (torch.from_numpy(l.weight)==m.weight().int_repr().clamp(min=-127)).all()
    for p in (a,c): assert all((k.weight==l.weight).all() for k,l in zip(p.layers, b.layers))
    low = sum(int((m.weight().int_repr()==-128).sum()) for m in (done[1],done[4]))
    if low:
        with pytest.raises(CheckError, match='exact=False makes -128 to -127'): from_qat(done.state_dict(), net(), x)

def test_the_last_layer_has_one_scale():
    state = {'0.weight':rand(4,6)-.5, '0.weight_fake_quant.scale':torch.full((4,), .01)}
    net = Network(nn.Linear(6,4,bias=False), LIF(reset='none'))
    assert len(from_qat(state, net, rand(5,6)).layers[0].scale)==1 # all are the same
    state['0.weight_fake_quant.scale'] = torch.tensor([.01,.02,.01,.01])
    with pytest.raises(CheckError, match='exact=False quantizes it anew'): from_qat(state, net, rand(5,6))
    with pytest.warns(UserWarning, match='codes changed, as all rows have one scale'): from_qat(state, net, rand(5,6), exact=False)


# snnTorch

def test_states_of_snntorch_equal_the_module():
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(1,3,3), nn.BatchNorm2d(3), snn.Leaky(beta=torch.rand(3,1,1), learn_beta=True, init_hidden=True), nn.Flatten(), nn.Linear(108,9),
                           snn.RLeaky(.8, linear_features=9, init_hidden=True), nn.Linear(9,5), snn.Synaptic(alpha=.5, beta=.9, init_hidden=True), nn.Linear(5,4), snn.Leaky(.7, reset_mechanism='zero', init_hidden=True)).eval()
    read = from_snntorch(theirs, in_shape=(1,8,8))
    blank = from_snntorch(theirs, in_shape=(1,8,8))
    with torch.no_grad():
        for t in (*blank.parameters(),*blank.buffers()): t.fill_(1) if t.is_floating_point() else None
    state = theirs.state_dict()
    ours = from_snntorch_state(state, blank)
    x = rand(12,6,1,8,8)*3
    for a,b in zip(ours.eval().record(x), read.eval().record(x), strict=True): assert torch.equal(a.spk, b.spk) and torch.equal(a.mem, b.mem)

def test_states_without_an_order(tmp_path):
    "Safetensors mix layers up, as does what their reader gives: numbers and shapes say the order, or it is refused"
    torch.manual_seed(0)
    theirs = nn.Sequential(*(m for i in range(7) for m in (nn.Linear(4,4), snn.Leaky(beta=.5+.05*i))))
    state = theirs.state_dict()
    save_file({k:v.clone() for k,v in state.items()}, tmp_path/'a.safetensors')
    want = from_snntorch_state(state)
    mixed = {k:state[k] for k in sorted(state, key=lambda k: hash(k)%1009)}
    for other in (tmp_path/'a.safetensors', load_file(tmp_path/'a.safetensors'), mixed):
        got = from_snntorch_state(other)
        for a,b in zip(want.state_dict().values(), got.state_dict().values(), strict=True): assert torch.equal(a, b)
    names = dict(zip(range(7), ['zeta','a','m','b','c','y','d']))
    named = {f'{names[int(k.split(".")[0])//2]}.{int(k.split(".")[0])%2 and "n" or "w"}.{k.split(".")[1]}':v.clone() for k,v in state.items()}
    assert torch.equal(from_snntorch_state(named).layers[0].weight, want.layers[0].weight) # in order, as torch saves
    save_file(named, tmp_path/'b.safetensors')
    with pytest.raises(CheckError, match='order of weights: expected names that differ in numbers alone'): from_snntorch_state(tmp_path/'b.safetensors')

def test_shapes_say_the_order(tmp_path):
    def net(*sizes): return Network(*(m for a,b in zip(sizes, sizes[1:]) for m in (nn.Linear(a,b), LIF())), in_shape=(sizes[0],), steps=3)
    for sizes,one in (((6,5,4,3),True), ((6,6,6,6),False), ((6,5,6,5),False)):
        n = net(*sizes)
        names = dict(zip((0,2,4), ('in','hidden1','out')))
        state = {f'{names[i]}.{k}':v.detach().clone() for i in names for k,v in n.layers[i].named_parameters()}
        save_file(state, tmp_path/'a.safetensors')
        if one: assert all(torch.equal(a.weight, b.weight) for a,b in zip(from_snntorch_state(tmp_path/'a.safetensors', n).layers[::2], n.layers[::2]))
        else:
            with pytest.raises(CheckError, match='order of weights'): from_snntorch_state(tmp_path/'a.safetensors', n)

def test_states_of_other_networks():
    theirs = nn.Sequential(nn.Linear(4,3), snn.Leaky(.9), nn.Linear(3,2), snn.Leaky(.9, reset_mechanism='none')).state_dict()
    assert [l.reset for l in from_snntorch_state(theirs).layers if isinstance(l, LIF)]==['subtract_delayed','none']
    for more,says in (({'1.graded_spikes_factor':torch.tensor(2.)}, 'graded'), ({'1.reset_mechanism_val':torch.tensor(7)}, '0, 1 or 2'), ({'0.weight':torch.ones(4,3)}, 'linear layers'), ({'0.weight':torch.ones(3,4,1,1)}, 'linear layers'),
                      ({'0.bias':torch.tensor([1,2,torch.inf])}, 'finite'), ({'1.beta':torch.rand(7)}, '1 or 3 values'), ({'1.recurrent.weight':torch.ones(3,3)}, 'linear layers')):
        with pytest.raises(CheckError, match=says): from_snntorch_state(dict(theirs)|more)(rand(5,4))
    with pytest.warns(UserWarning, match='not read: 8.extra'): from_snntorch_state(dict(theirs)|{'8.extra':torch.ones(2)})


# Files

class Evil:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch,(self.path,)

def saved(v, **how):
    f = io.BytesIO()
    torch.save(v, f, **how)
    return f.getvalue()

def test_nothing_is_executed(tmp_path):
    for how in ({},dict(_use_new_zipfile_serialization=False)):
        (tmp_path/'a.pt').write_bytes(saved(dict(a=torch.ones(2), b=Evil(tmp_path/'touched')), **how))
        with pytest.raises(CheckError, match='tensors alone, by torch.save'): dict(_pickled(str(tmp_path/'a.pt')))
        (tmp_path/'b.pt').write_bytes(saved(dict(a=torch.ones(2)), **how))
        assert (dict(_pickled(str(tmp_path/'b.pt')))['a']==1).all()
    with pytest.raises(CheckError, match='tensors alone, by torch.save'): read_state(tmp_path/'a.pt')
    assert not (tmp_path/'touched').exists()

def test_a_pickle_that_asks_for_memory(tmp_path):
    "100 GB, as a list of weights may ask for; it is refused in the other process, and soon"
    (tmp_path/'a.pt').write_bytes(b'\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.')
    (tmp_path/'b.pt').write_bytes(saved(dict(a=torch.ones(1).expand(10**9))))
    with pytest.raises(CheckError, match='a.pt'): read_state(tmp_path/'a.pt')
    with pytest.raises(CheckError, match='as are there'): dict(_pickled(str(tmp_path/'b.pt')))

def inner(path, data):
    "The reader of the other process, here; its memory is limited there"
    path.write_bytes(data)
    try: found = dict(_pickled(str(path)))
    except (CheckError,MemoryError) as e: assert '\n' not in str(e)
    else: assert all(isinstance(v, np.ndarray) for v in found.values())

PT = saved({'0.weight':torch.ones(5,4), '0.bias':torch.zeros(5)})
OLD = saved({'0.weight':torch.ones(5,4)}, _use_new_zipfile_serialization=False)

@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_that_are_nearly_a_state(tmp_path, data):
    b = bytearray(data.draw(st.sampled_from([PT,OLD])))
    for _ in range(data.draw(st.integers(0, 4))): b[data.draw(st.integers(0, len(b)-1))] = data.draw(st.integers(0, 255))
    inner(tmp_path/'a.pt', bytes(b[:data.draw(st.integers(0, len(b)))] if data.draw(st.booleans()) else b))

@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_that_are_nearly_safetensors(tmp_path, data):
    save_file({'0.weight':torch.ones(5,4)}, tmp_path/'w.safetensors')
    b = bytearray((tmp_path/'w.safetensors').read_bytes())
    for _ in range(data.draw(st.integers(0, 4))): b[data.draw(st.integers(9, len(b)-1))] = data.draw(st.integers(0, 255))
    (tmp_path/'a.safetensors').write_bytes(b[:data.draw(st.integers(9, len(b)))])
    try: assert read_state(tmp_path/'a.safetensors')
    except CheckError as e: assert '\n' not in str(e)
