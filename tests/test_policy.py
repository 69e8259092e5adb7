"Policies as records and files, what is recommended for a network, and what is found fault with"
from dataclasses import FrozenInstanceError
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from quarantion.checks import LEVELS, CheckError, Finding
from quarantion.quant.advice import lint, recommend
from quarantion.quant.policy import PRESETS, SCALES, Policy, dump_policy, membrane_of, policy_of, preset, read_policy
from quarantion.quant.network import prepare
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF

NAMES = 'int8 int4 nonary ternary mint2 mint4 tcq4 current8 mixed'.split()
WEIGHTS = ['float','nonary','ternary',*(f'int{b}' for b in range(2, 9))]
VALUES = dict(weight=st.sampled_from(WEIGHTS), current=st.sampled_from(['exact',*(f'int{b}' for b in range(2, 17))]),
    membrane=st.one_of(st.sampled_from(['exact','float','uint8']), st.builds('clipped({}{})'.format, st.integers(2, 16), st.sampled_from(['',',before_fire',', after_fire'])),
                       st.builds('levels({})'.format, st.integers(3, 256))),
    leak=st.just(16), scale=st.sampled_from(SCALES), per_channel=st.booleans(), noise=st.floats(0, 1))
PATTERNS = st.text(st.characters(codec='utf-8', exclude_categories=['Cs']), min_size=1, max_size=8)
LAYERS = st.dictionaries(PATTERNS, st.fixed_dictionaries({}, optional=VALUES), max_size=3)

@settings(max_examples=150, deadline=None)
@given(values=st.fixed_dictionaries(VALUES), layers=LAYERS)
def test_round_trip(tmp_path_factory, values, layers):
    p,file = Policy(**values, layers=layers),tmp_path_factory.mktemp('policy')/'p.toml'
    file.write_bytes(dump_policy(p).encode())
    assert read_policy(file)==p and hash(read_policy(file))==hash(p)
    assert eval(repr(p))==p and eval(str(p))==p
    assert Policy(**values, layers=p.layers)==p

@pytest.mark.parametrize('name', NAMES)
def test_presets(name):
    p = preset(name)
    assert isinstance(p, Policy) and policy_of(dict(weight=p.weight, membrane=p.membrane, current=p.current, layers=dict((k,dict(v)) for k,v in p.layers)))==p
    if name in ('int8','int4','nonary','ternary'): assert p==Policy(name) and name in PRESETS

def test_a_policy_is_frozen():
    with pytest.raises(FrozenInstanceError): preset('int8').weight = 'int4'

@pytest.mark.parametrize('names,weight', [(('0',), 'nonary'), (('1',), 'int4'), (('12',), 'int5'), (('12','last'), 'int8'), (('0','first'), 'nonary')])
def test_later_patterns_win(names, weight):
    p = Policy('nonary', layers={'1*': dict(weight='int4'), '?2': dict(weight='int5'), 'last': dict(weight='int8')})
    assert p.at(*names)==Policy(weight)

def test_an_exception_changes_only_what_it_names():
    p = Policy('nonary', current='int8', noise=.5, layers={'*': dict(membrane='clipped(4)')})
    assert p.at('x')==Policy('nonary', current='int8', noise=.5, membrane='clipped(4)')

@pytest.mark.parametrize('field,bad', [('weight','int9'), ('weight','int1'), ('weight',4), ('current','int1'), ('current','float'), ('membrane','clipped(17)'), ('membrane','levels(2)'),
    ('membrane','levels(257)'), ('membrane','clipped(4, sideways)'), ('membrane','levels(4, before_fire)'), ('membrane',None), ('leak',8), ('leak',16.), ('leak',True), ('scale','median'),
    ('observer','max'), ('per_channel','yes'), ('per_channel',1), ('noise',-.1), ('noise',float('nan')), ('noise','0'), ('noise',True), ('layers',3), ('layers',{'a':{'weight':'x'}}), ('layers',{'':{}}),
    ('layers',{'a':{'layers':()}}), ('layers',[('a',{}),('a',{})]), ('layers',['ab','cd','e'])])
def test_errors_name_the_field(field, bad):
    with pytest.raises(CheckError, match=field) as e: Policy(**dict(weight='int8')|{field:bad})
    assert 'expected' in str(e.value) and 'found' in str(e.value)

@pytest.mark.parametrize('text,words', [('', ('`weight`','none')), ('weight = 4', ('`weight`','a string','4')), ('weight = "int4"\nbits = 3', ('`bits`','noise')), ('weight =', ('TOML',)),
    ('weight = "int4"\nlayers = 3', ('`layers`','3')), ('weight = "int4"\n[layers]\na = 3', ('`layers`',)), ('weight = "int4"\n[layers.a]\nwaight = "int8"', ('layers."a"','`waight`','weight')),
    ('weight = "int4"\n[layers.a]\nweight = "int9"', ('layers."a"','`weight`',"'int9'"))])
def test_files_that_are_no_policy(tmp_path, text, words):
    (tmp_path/'p.toml').write_text(text)
    with pytest.raises(CheckError) as e: read_policy(tmp_path/'p.toml')
    for w in ('p.toml',*words): assert w in str(e.value)

def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CheckError, match='nowhere.toml'): read_policy(tmp_path/'nowhere.toml')

@pytest.mark.parametrize('word,kind,size', [('exact','exact',0), ('float','float',0), ('clipped(2)','clipped',2), ('clipped(8, before_fire)','clipped',8), ('levels(4)','levels',4), ('uint8','levels',256)])
def test_membranes(word, kind, size):
    m = membrane_of(word)
    assert (m.kind,m.size,str(m))==(kind,size,word) and m.before_fire==('before' in word) and m.even==(word=='uint8')


def mlp(*sizes, seed=0, **kw):
    torch.manual_seed(seed)
    layers = []
    for i,(a,b) in enumerate(zip(sizes, sizes[1:])): layers += [nn.Linear(a, b), LIF(reset='none') if i==len(sizes)-2 else LIF(**kw)]
    return Network(*layers, steps=8)

def rules(*args, **kw): return [(f.what,f.level,f.where.removeprefix('layer ')) for f in lint(*args, **kw)]

X = torch.rand(16, 20, generator=torch.Generator().manual_seed(0))*2

def test_recommended_ends_and_channels():
    r = recommend(mlp(20, 513, 600, 512, 10))
    p = {n:r.policy.at(n) for n in '1357'}
    assert [v.weight for v in p.values()]==['int8','nonary','nonary','int8']
    assert [v.per_channel for v in p.values()]==[True,True,False,True]
    assert all(v.current==v.membrane=='exact' for v in p.values())
    assert {q.layer for q in r.reasons}=={'all','1','3','5','7'} and all(q.why for q in r.reasons)
    assert '513 outputs, more than 512' in str(r) and '512 outputs, not more' in str(r)

def test_a_first_layer_that_holds_most_is_not_spared():
    r = recommend(mlp(400, 30, 10), weight='ternary')
    assert r.policy.at('1').weight=='ternary' and r.policy.at('3').weight=='int8'
    assert any(q.layer=='1' and 'nothing would be gained' in q.why for q in r.reasons)

def test_float_ends_are_possible_and_said_to_have_no_program():
    net = mlp(20, 40, 40, 10)
    r = recommend(net, ends='float')
    assert r.policy.at('1').weight==r.policy.at('5').weight=='float' and 'no integer program' in str(r)
    assert ('no-program','warning','1') in rules(net, r.policy)

def test_what_is_recommended_can_be_prepared_and_has_no_errors():
    for net in mlp(20, 40, 10),mlp(20, 600, 30, 10):
        p = recommend(net).policy
        assert not [f for f in lint(net, p, X) if f.level=='error']
        prepare(net, p, X)(X)

@pytest.mark.parametrize('ends,weight', [('int9','int4'), ('int8','int9')])
def test_recommend_refuses(ends, weight):
    with pytest.raises(CheckError): recommend(mlp(4,4,2), weight, ends)
    with pytest.raises(CheckError, match='Network'): recommend(nn.Linear(2,2))

def test_nothing_to_complain_about():
    assert lint(mlp(20, 40, 10), preset('nonary'), X, epochs=5, qat_epochs=8, calibration=32)==[]

def test_findings_are_whole_and_sorted():
    net = mlp(20, 40, 10, slope=60., beta=.2)
    out = lint(net, Policy('int4', layers={'x': dict(weight='int8')}), epochs=1)
    assert [f.level for f in out]==sorted((f.level for f in out), key=LEVELS.index) and len(out)==4
    assert all(isinstance(f, Finding) and all(isinstance(v, str) for v in f) and f.expected and f.found and f.fix for f in out)

@pytest.mark.parametrize('rule,level,change', [('slope','warning',dict(slope=51.)), ('beta','warning',dict(beta=.89)), ('beta','warning',dict(beta=.99)), ('threshold','warning',dict(threshold=2.5)), ('threshold','warning',dict(threshold=.4))])
def test_rules_of_neurons(rule, level, change):
    assert rules(mlp(20, 40, 10, **change), preset('int8'))==[(rule,level,'1')]

@pytest.mark.parametrize('ok', [dict(slope=50.), dict(beta=.9), dict(beta=.98), dict(threshold=2.), dict(threshold=.5)])
def test_rules_of_neurons_hold_at_their_ends(ok): assert rules(mlp(20, 40, 10, **ok), preset('int8'))==[]

@pytest.mark.parametrize('plan,rule', [(dict(epochs=4),'warm-up'), (dict(qat_epochs=7),'qat-epochs'), (dict(calibration=31),'calibration'), (dict(qat_epochs=0),'learned-scale')])
def test_rules_of_the_plan(plan, rule):
    assert [r for r,_,_ in rules(mlp(20, 40, 10), preset('int8'), **plan)]==[rule]

def test_a_fixed_scale_without_training_is_still_little_training():
    assert [r for r,_,_ in rules(mlp(20, 40, 10), Policy('int8', scale='mse'), qat_epochs=0)]==['qat-epochs']

@pytest.mark.parametrize('policy', [Policy('float'), Policy('int8', membrane='float')])
def test_rule_no_program(policy):
    found = [f for f in lint(mlp(20, 40, 10), policy) if f.what=='no-program']
    assert len(found)==2 and all(f.level=='warning' for f in found)

def test_rule_pattern():
    assert rules(mlp(20, 40, 10), Policy('int8', layers={'2': dict(weight='int4')}))==[('pattern','error','')]
    assert rules(mlp(20, 40, 10), Policy('int8', layers={'[13]': dict(weight='int4'), 'first': dict(weight='int8'), 'l*': dict(weight='int8')}))==[]

def test_rule_per_channel():
    p = Policy('int8', per_channel=False)
    assert ('per-channel','warning','1') in rules(mlp(20, 513, 10), p) and rules(mlp(20, 512, 10), p)==[] and rules(mlp(20, 40, 600), p)==[]

def test_rule_finite():
    net = mlp(20, 40, 10)
    with torch.no_grad(): net.layers[2].weight[3,4] = float('nan')
    assert rules(net, preset('int8'), X)==[('finite','error','3')]

def test_rule_zero_row():
    net = mlp(20, 40, 10)
    with torch.no_grad(): net.layers[0].weight[5] = 0
    assert rules(net, preset('int8'))==[('zero-row','warning','1')]
    with torch.no_grad(): net.layers[0].weight[5] = 1e-4 # rounds to zero only on a scale that it shares
    assert rules(net, preset('int8'))==[] and rules(net, Policy('int8', per_channel=False))==[('zero-row','warning','1')]

def test_rule_theta_units():
    net = mlp(20, 40, 40, 10)
    coarse = lambda theta: (net.layers[3].threshold.fill_(theta), [r for r in rules(net, Policy('ternary', layers={'3': dict(membrane='clipped(4)')})) if r[0]=='theta-units'])[1]
    assert coarse(.01)==[('theta-units','error','3')] and coarse(.9)==[('theta-units','warning','3')] and coarse(50.)==[]

def test_theta_units_agree_with_what_prepare_warns_of():
    net = mlp(20, 40, 40, 10, threshold=.015)
    with torch.no_grad(): net.layers[0].weight.mul_(.2); net.layers[2].weight.mul_(3)
    q = prepare(net, preset('ternary'), X)
    with pytest.warns(UserWarning) as seen: q.freeze()
    layers = {str(w.message).split(':')[0].removeprefix('layer ') for w in seen}
    assert layers and layers=={f.where.removeprefix('layer ') for f in lint(net, preset('ternary'), X) if f.what=='theta-units'}

def test_theta_units_of_a_first_layer_need_a_sample():
    net = mlp(20, 40, 10)
    with torch.no_grad(): net.layers[0].weight.mul_(400)
    assert 'theta-units' not in [r for r,_,_ in rules(net, preset('ternary'))]
    assert ('theta-units','warning','1') in rules(net, preset('ternary'), X)

def test_rule_cannot_fire():
    net,p = mlp(20, 40, 40, 10, threshold=2.),lambda w: Policy('int8', layers={'3': dict(membrane=w)})
    assert ('cannot-fire','error','3') in rules(net, p('clipped(4, before_fire)'))
    assert 'cannot-fire' not in [r for r,_,_ in rules(net, p('clipped(4)'))+rules(net, p('clipped(16, before_fire)'))]

def test_rule_batch_norm():
    net = Network(nn.Linear(20,40), nn.BatchNorm1d(40), LIF(), nn.Linear(40,10), LIF(reset='none'))
    assert rules(net, preset('int8'))==[('batch-norm','warning','layers.1')]
    net.train()(X)
    assert rules(net, preset('int8'))==[]

@pytest.mark.parametrize('rule,level,gain', [('silent','error',0.), ('saturated','warning',100.)])
def test_rules_of_activity(rule, level, gain):
    net = mlp(20, 40, 10)
    with torch.no_grad(): net.layers[0].weight.abs_().mul_(gain); net.layers[0].bias.zero_()
    found = [r for r in rules(net, preset('int8'), X) if r[0] in ('silent','saturated')]
    assert found in ([(rule,level,'1')], [(rule,'error','1')])
    assert not [r for r in rules(net, preset('int8')) if r[0] in ('silent','saturated')]

def test_rules_of_quantized_networks():
    q = prepare(mlp(20, 40, 10), preset('int8'), X).train()
    assert {r for r,s,_ in rules(q, preset('int8'))}>={'observer','frozen','eval'}
    q(X)
    assert {r for r,s,_ in rules(q, preset('int8'))}=={'frozen','eval'}
    q.freeze().eval()
    assert rules(q, preset('int8'), X)==[]

def test_lint_leaves_the_network_as_it_is():
    net = mlp(20, 40, 10).train()
    before = {k:v.clone() for k,v in net.state_dict().items()}
    lint(net, preset('int8'), X)
    assert net.training and all(torch.equal(v, before[k]) for k,v in net.state_dict().items())

def test_lint_refuses():
    with pytest.raises(CheckError, match='`model`'): lint(nn.Linear(2,2), preset('int8'))
    with pytest.raises(CheckError, match='`policy`'): lint(mlp(4,4,2), 'int8')
