"Policies as records and files, what is recommended for a network, and what is found fault with"
from dataclasses import FrozenInstanceError
import pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.quant.policy import PRESETS, SCALES, Policy, check_supported, dump_policy, membrane_of, policy_of, preset, read_policy

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

def test_offered_are_the_supported():
    for n in NAMES:
        try: ok = bool(check_supported(preset(n)))
        except CheckError as e: ok = False; assert 'prepare' in str(e) and '`' in str(e)
        assert ok==(n in PRESETS)

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
    ('per_channel','yes'), ('per_channel',1), ('noise',-.1), ('noise',float('nan')), ('noise','0'), ('noise',True), ('layers',3), ('layers',{'a':{'weight':'x'}}), ('layers',{'':{}}),
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

