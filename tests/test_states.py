"A state says its policy: one of another policy is refused before anything is copied, and codes of the input come with it"
import copy
import itertools

import pytest
import torch
from safetensors.torch import load as load_bytes, save as save_bytes
from torch import nn

from quarantion.checks import CheckError
from quarantion.quant import Policy, lower, prepare, preset, verify
from quarantion.spikes import LIF, Network

POLICIES = dict(nonary=preset('nonary'), int8=preset('int8'), int4=preset('int4'), ternary=preset('ternary'),
    current8=preset('current8'), clipped=Policy('int8', membrane='clipped(8)'), levels=Policy('int8', membrane='levels(64)'))


@pytest.fixture(scope='module')
def x(): return torch.rand(16, 12, generator=torch.Generator().manual_seed(0))


pytestmark = pytest.mark.filterwarnings('ignore:.*of its neurons cannot reach')


def made(policy, x, reset='subtract'):
    torch.manual_seed(0)
    return prepare(Network(nn.Linear(12,16), LIF(reset=reset), nn.Linear(16,4), LIF(reset='none')), policy, x)


def same(a, b): return all(torch.equal(v, w) for v,w in zip(a.values(), b.values()))


@pytest.mark.parametrize('a,b', list(itertools.permutations(POLICIES, 2)))
def test_another_policy_is_refused_and_nothing_is_copied(a, b, x):
    theirs,q = made(POLICIES[a], x),made(POLICIES[b], x)
    theirs(x); theirs.layers[0].latent.data += 1
    before = copy.deepcopy(q.state_dict())
    for strict in True,False:
        with pytest.raises(CheckError, match='load_state_dict: `(levels|membrane|current|guard)` of layer [13]: expected .*, found'):
            q.load_state_dict(theirs.state_dict(), strict=strict)
    assert same(q.state_dict(), before)


def test_the_last_layer_is_compared_before_the_first_is_copied(x):
    theirs,q = made(preset('int8'), x),made(Policy('int8', layers={'last':dict(weight='int4')}), x)
    before = copy.deepcopy(q.state_dict())
    with pytest.raises(CheckError, match='`levels` of layer 3: expected int4, found int8'): q.load_state_dict(theirs.state_dict())
    assert same(q.state_dict(), before)


def test_reset_and_frozen_states(x):
    with pytest.raises(CheckError, match='`reset` of layer 1: expected zero, found subtract'):
        made(preset('int8'), x, 'zero').load_state_dict(made(preset('int8'), x).state_dict())
    frozen = made(preset('nonary'), x).freeze()
    with pytest.raises(CheckError, match='`levels`'): made(preset('int8'), x).load_state_dict(frozen.state_dict())
    q = made(preset('nonary'), x)
    q.load_state_dict(frozen.state_dict())
    assert verify(q, lower(frozen), [x]).mismatches==0


def test_inside_a_module_of_the_users_own(x):
    class Mine(nn.Module):
        def __init__(self, q): super().__init__(); self.q = q
    with pytest.raises(CheckError, match='`levels`'): Mine(made(preset('int8'), x)).load_state_dict(Mine(made(preset('nonary'), x)).state_dict())
    Mine(made(preset('int8'), x)).load_state_dict(Mine(made(preset('int8'), x)).state_dict())


@pytest.mark.parametrize('name', POLICIES)
@pytest.mark.parametrize('other', [lambda x: x[:3]*.3, lambda x: (x>.5).float(), lambda x: x-.5], ids=['smaller','spikes','signed'])
def test_codes_of_the_input_are_adopted(name, other, x):
    theirs = made(POLICIES[name], x)
    theirs(x)
    theirs.eval()
    q = made(POLICIES[name], other(x)).eval()
    q.load_state_dict(theirs.state_dict())
    assert (q.in_scale,q.in_min,q.in_max)==(theirs.in_scale,theirs.in_min,theirs.in_max)
    assert [l.guard for l in q.layers]==[l.guard for l in theirs.layers]
    for a,b in zip(q.integers(x), theirs.integers(x)): assert torch.equal(a.spk, b.spk) and torch.equal(a.mem, b.mem)
    proof = verify(q, lower(theirs), [x])
    assert proof.mismatches==0 and not proof.parameters


def test_a_state_that_does_not_say_is_taken_with_one_warning(x):
    state = {k:v for k,v in made(preset('int8'), x).state_dict().items() if not k.endswith('policy')}
    with pytest.warns(UserWarning, match='does not say its policy') as seen: made(preset('int8'), x).load_state_dict(state)
    assert len(seen)==1


def test_through_safetensors(x):
    q = made(preset('int4'), x)
    again = made(preset('int4'), x)
    again.load_state_dict(load_bytes(save_bytes(q.state_dict())))
    assert torch.equal(again(x)[1], q(x)[1])
    for bad in torch.tensor([1,2,3], dtype=torch.uint8),q.state_dict()['layers.0.policy'].float()+.4:
        with pytest.raises(CheckError, match='`policy`: expected JSON in bytes'): again.load_state_dict(q.state_dict() | {'layers.0.policy':bad})


@pytest.mark.parametrize('cast', [lambda q: q.float(), lambda q: q.half(), lambda q: q.to(torch.float32).double()], ids=['float','half','there and back'])
def test_codes_survive_casts(x, cast):
    q,scale = made(preset('int8'), x),made(preset('int8'), x).in_scale
    state = cast(q).state_dict()
    other = made(preset('int8'), x*2)
    other.load_state_dict(state)
    assert other.in_scale==scale and state['input_codes'].dtype==torch.float64
    tie = (torch.randint(0, 250, (5,12)).double()+.5)*scale
    assert torch.equal(other.encode(tie), q.encode(tie).to(other.layers[0].weight.dtype))


@pytest.mark.parametrize('a,b,field', [(Policy('int8'),Policy('int8', per_channel=False),'per_channel'), (Policy('int8'),Policy('int8', scale='pow2'),'scale'),
    (Policy('int8', current='int8'),Policy('int8', current='int8', observer='entropy'),'observer')])
def test_every_field_that_gives_numbers_a_meaning(x, a, b, field):
    for a,b in (a,b),(b,a):
        q = made(b, x*2)
        before = copy.deepcopy(q.state_dict())
        with pytest.raises(CheckError, match=f'`{field}` of layer 1'): q.load_state_dict(made(a, x).state_dict())
        assert same(q.state_dict(), before)


def test_parts_of_a_network(x):
    a,b = made(preset('int8'), x),made(preset('ternary'), x)
    before = copy.deepcopy(b.state_dict())
    for i in 0,1:
        with pytest.raises(CheckError, match='`levels` of layer'): b.layers[i].load_state_dict(a.layers[i].state_dict())
    with pytest.raises(CheckError, match='`levels` of layer'): b.layers.load_state_dict(a.layers.state_dict())
    assert same(b.state_dict(), before)


def test_a_load_that_fails_leaves_codes_alone(x):
    q,theirs = made(preset('int8'), x),made(preset('int8'), x*2).state_dict()
    scale = q.in_scale
    with pytest.raises(CheckError, match='expected shape'): q.load_state_dict(theirs|{'layers.0.parametrizations.weight.original':torch.zeros(3, 3)})
    for bad in {k:v for k,v in theirs.items() if k!='layers.1.bias'},theirs|dict(more=torch.zeros(1)):
        with pytest.raises(RuntimeError, match='key'): q.load_state_dict(bad)
    assert q.in_scale==scale


def test_recurrent_gain_follows_the_codes():
    from quarantion.spikes import RecurrentLIF
    torch.manual_seed(0)
    x = torch.rand(16, 12)
    def make(x): return prepare(Network(nn.Linear(12,16), RecurrentLIF(nn.Linear(16,16)), nn.Linear(16,4), LIF(reset='none')), preset('int8'), x).eval()
    torch.manual_seed(0)
    theirs = make(x)
    torch.manual_seed(0)
    q = make((x>.5).float())
    q.load_state_dict(theirs.state_dict())
    assert q.layers[0].gain==theirs.layers[0].gain>1
    for a,b in zip(q.integers(x), theirs.integers(x)): assert torch.equal(a.mem, b.mem)
