"A layer has one record, `IntLayer`: each field says how it is kept, and goes through files and states. Nothing freezes but `freeze`."
import copy
from dataclasses import fields, replace
import numpy as np
import pytest
import torch
from torch import nn
from quarantion import load, lower, prepare, preset, verify
from quarantion.quant import Policy
from quarantion.runtime.layer import DTYPES, IntLayer, Op, arrays, check_layer, differing
from quarantion.runtime.store import read, write
from quarantion.spikes import LIF, Network, RecurrentSynaptic

FIELDS = {f.name:f for f in fields(IntLayer)}
full = lambda v, n=4: np.full(n, v, np.int32)

# every field has a value that is not its default; what cannot stand together is in two layers
RICH = IntLayer(np.arange(-8, 8, dtype=np.int8).reshape(4, 4), full(-3), full(50), full(60000), np.full(4, 1/50), guard=3, reset='zero', quant_max=8,
    before=(Op('max', (2,2), (2,2)),Op('flatten')), m0=full(2**30+1), shift=full(31), current_max=127, current_leak=full(30000),
    recurrent=np.arange(-8, 8, dtype=np.int8).reshape(4, 4), gain=3, levels=np.array([-2**16,0,2**15,2**17], np.int32), before_fire=True)
WINDOW = (1,1),(1,1),(1,1),1
WIDE = IntLayer(np.ones((4,1,3,3), np.int8), full(1), full(50), full(60000), np.full(4, 1/50), after=(Op('sum', (2,2), (2,2)),), conv=WINDOW,
    recurrent=np.ones((4,4,3,3), np.int8), recurrent_conv=WINDOW, clip=99)


def same(a, b): return np.array_equal(a, b) if isinstance(a, np.ndarray) else a==b


def complaints(record):
    "Names of fields whose metadata do not say how they are kept"
    out = []
    for f in fields(record):
        how = f.metadata
        array = how.get('stored') in DTYPES
        ranged = how.get('stored')!='ints' and how.get('says')!='whole' or {'lo','hi'}<={*how}
        if not (array or how.get('says') in ('whole','word','flag','ops','conv')) or not ranged: out.append(f.name)
    return out


def test_every_field_says_how_it_is_kept():
    from dataclasses import dataclass
    assert complaints(IntLayer)==[]
    @dataclass(frozen=True)
    class More(IntLayer):
        colour:int=0
    assert complaints(More)==['colour']


@pytest.mark.parametrize('name', FIELDS)
def test_every_field_goes_through_a_file(tmp_path, name):
    "It is not as usual in what is written, and comes back as it was"
    default = IntLayer(RICH.weight, RICH.bias, RICH.theta, RICH.leak, RICH.unit)
    own = RICH if name in ('weight','bias','theta','leak','unit') or not same(getattr(RICH, name), getattr(default, name)) else WIDE
    assert name in ('weight','bias','theta','leak','unit') or not same(getattr(own, name), getattr(default, name))
    write(tmp_path/'net', [check_layer(own)], dict(in_shape=(4,), steps=3))
    (back,),_ = read(tmp_path/'net')
    if name=='unit': assert np.allclose(back.unit, own.unit, rtol=.02)
    else: assert same(getattr(back, name), getattr(own, name)) and differing(own, back)==[]


@pytest.mark.parametrize('name', [n for n,f in FIELDS.items() if f.metadata['stored']])
def test_arrays_of_other_dtypes_are_refused(name):
    with pytest.raises(ValueError, match=f'`{name}`'): check_layer(replace(RICH, **{name:getattr(RICH, name).astype(np.float32)}))


def network():
    torch.manual_seed(0)
    net = Network(nn.Linear(12,8), RecurrentSynaptic(nn.Linear(8,8), alpha=.5, beta=.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=6)
    return prepare(net, Policy('int4', current='int8', membrane='uint8'), (torch.rand(6,5,12)<.5).float())


def test_every_array_goes_through_a_state():
    q = network().freeze()
    state = q.state_dict()
    other = network()
    for p in other.parameters(): p.data.mul_(2)
    other.load_state_dict(state)
    for l,m,low in zip(q.layers, other.layers, lower(q).layers):
        for n,v in arrays(low).items():
            assert n=='levels' or torch.equal(torch.from_numpy(v), state[f'layers.{list(q.layers).index(l)}.{n}_code'])
            assert torch.equal(torch.as_tensor(getattr(m.codes().ints, n)), torch.from_numpy(v))
    assert [differing(a, b) for a,b in zip(lower(q).layers, lower(other).layers)]==[[],[]]
    assert {n for l in lower(q).layers for n in arrays(l)}=={n for n,f in FIELDS.items() if f.metadata['stored']}


def steps(q, x, between):
    opt,out = torch.optim.Adam(q.param_groups(1e-2)),[]
    for _ in range(4):
        loss = (q(x)[1].mean(0)-1).square().mean()
        opt.zero_grad(); loss.backward(); opt.step()
        between(q)
        out.append(loss.item())
    return out


@pytest.mark.filterwarnings('ignore:.*a threshold of')
@pytest.mark.parametrize('policy', ['nonary','tcq4','current8','mint4'])
def test_lower_and_verify_change_nothing(policy, tmp_path):
    torch.manual_seed(1)
    net,x = Network(nn.Linear(12,8), LIF(.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=6),torch.rand(16,12)
    plain = prepare(net, preset(policy), x).train()
    watched = copy.deepcopy(plain)
    learns = [p.requires_grad for p in plain.parameters()]
    def look(q):
        mode = [m.training for m in q.modules()]
        lower(q).save(tmp_path/'n')
        assert verify(q, load(tmp_path/'n'), [x]).mismatches==0
        assert [m.training for m in q.modules()]==mode and [p.requires_grad for p in q.parameters()]==learns
        assert not any(l.frozen for l in q.layers)
    torch.manual_seed(2)
    a = steps(plain, x, lambda q: None)
    torch.manual_seed(2)
    assert steps(watched, x, look)==a
    state = plain.state_dict()
    for n,t in watched.state_dict().items(): assert torch.equal(t, state[n]), n
    before = lower(plain)
    plain.freeze()
    assert all(l.frozen for l in plain.layers) and not any(p.requires_grad for p in plain.layers.parameters())
    assert [differing(a, b) for a,b in zip(before.layers, lower(plain).layers)]==[[],[]]


def test_what_freeze_refuses_lower_refuses():
    net = Network(nn.Linear(12,8), LIF(.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=6)
    q = prepare(net, preset('int8'), torch.rand(16,12))
    q.layers[0].latent.data[0,0] = torch.nan
    for f in q.layers[0].freeze, lambda: lower(q):
        with pytest.raises(ValueError, match='`weight`: expected finite'): f()
    with torch.no_grad(): net.layers[0].weight.fill_(100.); net.layers[0].bias.zero_()
    q = prepare(net, preset('ternary'), (torch.rand(5,2,12)<.5).float())
    with pytest.warns(UserWarning, match='is rounded with an error of'): lower(q)


def test_guard_is_a_number_that_the_first_currents_set():
    net = Network(nn.Linear(12,8), LIF(.9), nn.Linear(8,4), LIF(.9, reset='none'), steps=6)
    q = prepare(net, preset('int8'), torch.rand(16,12)).train()
    q.switch(Policy('int8', current='int8', observer='minmax'))
    assert [l.guard for l in q.layers]==[0,8] and all('guard' in vars(l) for l in q.layers)
    q(torch.rand(16,12))
    assert [l.guard for l in q.layers]==[8,8]
    other = prepare(net, preset('int8'), torch.rand(16,12))
    other.switch(Policy('int8', current='int8', observer='minmax'))
    other.load_state_dict({k:v if k!='input_codes' else other.input_codes for k,v in q.state_dict().items()})
    assert [l.guard for l in other.layers]==[8,8]
    q.switch(Policy('int4'))
    assert [l.guard for l in q.layers]==[0,8]
