"Cards whose names attack, and folders that somebody else made: nothing is injected, unpickled, followed or run"
import dataclasses
import json
import os
import pickle
import re
import shutil
import sys

import networks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.export.card import in_span, mermaid, model_card, shared_settings
from quarantion.export.hub import CARD, CONFIG, MODEL, from_hub, prove_hub, to_hub
from quarantion.runtime.layer import ONE, IntLayer
from quarantion.runtime.network import IntegerNetwork

EVIL = ('</script><img src=x onerror=alert(1)>', '[here](javascript:alert(1))', '![x](http://evil.com/t.png)', '```\n# title\n```', '`` ` ``', 'a | b\n| c |',
        '"] --> x; click x "https://evil.com"', '%%{init: {}}%%', '---\nlicense: mit\n---', 'www.evil.com', 'https://evil.com', 'me@evil.com', '<!-- x', '&lt;b&gt;',
        '\\[x\\](y)', '\x00\x1b[31m\u202e\u2028', '\ud800', '#quot;', 'x'*10**5, '', ' ', '- x', '1. x', ': x', '{{x}}', '$x$', '~~x~~', '[^1]', '<https://evil.com>')


def layer(w, **kw):
    full = lambda v: np.full(len(w), v, np.int32)
    return IntLayer(np.array(w, np.int8), full(0), full(3), full(ONE*9//10), np.ones(len(w)), **kw)


NET = IntegerNetwork((layer([[1,0,-2],[3,4,4]], recurrent=np.ones((2,2), np.int8)), layer([[1,1]], reset='none')), (3,), 4, 1., 0, 1)


def result_of(name): return dict(test_accuracy=.9, samples=10, spikes=100, mismatches=0, layers=[dict(name=name, rate=.1), dict(name=name)], problems=[name], gates=[name])


def test_a_card_says_what_the_network_takes():
    assert 'spikes, 0 or 1, [T, B, 3]' in model_card(NET)
    assert 'numbers 0 … 1, [B, 3] or [B, T, 3]' in model_card(dataclasses.replace(NET, in_scale=1/255, in_max=255, batch_first=True))


def of(name): return model_card(NET, name, result_of(name), {'data':'npy:'+name, 'policy':name, 'k'+name:name, 'learn':[name]})


LABEL = re.compile(r'    (?:x|y|n\d+)(?:\["[^"`<>\[\]{}|;%#&\\\n]*"\])?(?: -->(?:\|"[^"`<>|\n]*"\|)? (?:y|n\d+))?')


def check_card(text):
    "The lines of a card are those that it has for a plain name, and what is from outside stands in code spans"
    front,body = text.removeprefix('---\n').split('\n---\n', 1)
    for line in front.splitlines():
        key,_,value = line.partition(': ')
        assert key in ('library_name','tags','model-index') and isinstance(json.loads(value), (str,list))
    plain = of('plain').split('\n---\n', 1)[1]
    shape = lambda t: [re.sub(r'`[^`]*`|–', 'S', l) if not l.startswith('    ') and '```' not in l else l[:1] for l in t.splitlines()]
    assert shape(body)==shape(plain)
    fence = body.split('```mermaid\n')[1].split('```')[0]
    lines = fence.splitlines()
    assert lines[0]=='flowchart LR' and all(LABEL.fullmatch(l) for l in lines[1:]), lines
    for bad in '<', '](', '![', 'javascript:alert(1))]', '\x00', '\x1b', '\u202e': assert bad not in text


@pytest.mark.parametrize('name', EVIL)
def test_names_that_attack(name):
    check_card(of(name))
    folder = to_hub(NET, name, result_of(name), dict(data=name, policy=name))
    assert all(isinstance(v, bytes) for v in folder.files.values()) and json.loads(folder.files[CONFIG])['title']==in_span(name)


@pytest.mark.parametrize('name', EVIL)
def test_what_a_reader_of_markdown_makes_of_them(name):
    "No link, picture or tag but those that Markdown itself makes"
    markdown_it = pytest.importorskip('markdown_it')
    body = of(name).split('\n---\n', 1)[1]
    html = markdown_it.MarkdownIt('commonmark', dict(html=True)).enable('table').render(body)
    tags = {*re.findall(r'<(/?[a-zA-Z!][^\s>]*)', html)}
    assert {t.strip('/') for t in tags}<={'h1','h2','p','code','pre','table','thead','tbody','tr','th','td','strong'}, tags
    assert html.count('<table>')==3 and html.count('<h1>')==1


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_name(name):
    check_card(of(name))
    assert '\n' not in in_span(name) and len(in_span(name))<=8*200


@pytest.mark.parametrize('k', ['spikes','mismatches','problems','samples','layers'])
@pytest.mark.parametrize('v', ['<b>', [1], True, 3, float('inf'), [{'a':'<b>'}], {'a':1}, -1])
def test_results_of_another_kind(k, v):
    "A card of any result; what is said to be a problem is one"
    card = model_card(NET, 'x', dict(test_accuracy=.9, spikes=100, mismatches=0)|{k:v}, dict(data='digits'))
    assert '<b>' not in card and (k not in ('spikes','mismatches','problems') or v==3 or 'none differs' not in card)
    if k=='problems': assert '**Not proved**' in card


def test_numbers_that_are_none_are_left_out():
    card = model_card(NET, 'x', dict(test_accuracy=float('nan'), samples='<b>', spikes=True, mismatches=[1], layers='no', problems='<b>'), dict(data='digits'))
    assert 'accuracy' not in card.split('## Layers')[0].split('## Measured')[1] and '<b>' not in card and 'model-index' not in card
    said = to_hub(NET, 'x', dict(test_accuracy=float('inf'), samples=True), dict(lr=float('nan'))).config
    assert said['measured']=={} and said['run']==dict(lr='nan')


def test_no_place_of_this_machine_is_shared():
    config = dict(data='npy:/home/me/secret/gestures', data_dir='/home/me/secret', policy='/home/me/secret/p.toml', out='/home/me/secret')
    folder = to_hub(NET, 'x', {}, config)
    assert b'secret' not in b''.join(folder.files.values()) and shared_settings(config)==dict(data='npy:gestures', policy='p.toml')


def test_a_diagram_of_random_networks():
    for seed in range(40):
        lines = mermaid(networks.network(np.random.default_rng(seed))).splitlines()
        assert all(LABEL.fullmatch(l) for l in lines[1:]), lines


@pytest.fixture
def folder(tmp_path):
    to_hub(NET, 'net', result_of('fc'), dict(data='digits')).save(tmp_path/'net')
    return tmp_path/'net'


def test_random_networks_come_back(tmp_path):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        net = networks.network(rng)
        made = to_hub(net, f'n{seed}')
        assert prove_hub(net, made, networks.sample(rng, net, 3)).mismatches==dict(from_hub=0)
        made.save(tmp_path/str(seed))
        assert from_hub(tmp_path/str(seed)).digest==net.digest


def test_what_hubs_put_beside_is_left_alone(folder):
    (folder/'.gitattributes').write_text('*.safetensors filter=lfs')
    (folder/'.cache/huggingface').mkdir(parents=True)
    (folder/'.git').mkdir()
    (folder/'proof.json').write_text('{')
    assert from_hub(folder).digest==NET.digest==from_hub(str(folder)).digest


class Bomb:
    def __reduce__(self): return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('name', ['pytorch_model.bin','model.pkl','weights.pt','x.npz','modeling.py','notes.txt','README','sub','a/../b','.hidden','config.json~'])
def test_unknown_files_are_refused_and_nothing_is_unpickled(folder, name, tmp_path):
    bomb = Bomb()
    bomb.path = tmp_path/'exploded'
    (folder/name.replace('/../', '_')).write_bytes(pickle.dumps(bomb))
    with pytest.raises(CheckError, match='contents'): from_hub(folder)
    assert not bomb.path.exists()


def test_links_and_other_kinds_are_refused(folder, tmp_path):
    (tmp_path/'link').symlink_to(folder)
    with pytest.raises(CheckError, match='found a link'): from_hub(tmp_path/'link')
    for name in MODEL,CONFIG,CARD,'proof.json','.gitattributes':
        copy = tmp_path/f'copy-{name}'
        shutil.copytree(folder, copy)
        (copy/name).unlink(missing_ok=True)
        (copy/name).symlink_to(folder/MODEL)
        with pytest.raises(CheckError, match='a link'): from_hub(copy)
        (copy/name).unlink()
        os.mkfifo(copy/name)
        with pytest.raises(CheckError, match='a fifo'): from_hub(copy) # and does not wait for it
    (folder/'.git').symlink_to(tmp_path)
    with pytest.raises(CheckError, match='a link'): from_hub(folder)
    for bad in tmp_path/'none',folder/CONFIG,3,None,'a\0b':
        with pytest.raises(CheckError): from_hub(bad)


def changed(folder, **how):
    d = json.loads((folder/CONFIG).read_text())
    for k,v in how.items():
        part,_,key = k.rpartition('__')
        (d[part] if part else d)[key] = v
    (folder/CONFIG).write_text(json.dumps(d))


@pytest.mark.parametrize('how', [dict(format='x'), dict(version=2), dict(version=True), dict(model=3), dict(model__file='../../etc/passwd'), dict(model__file='/etc/passwd'), dict(model__size=-1),
    dict(model__size=True), dict(model__sha256='0'*64), dict(model__sha256=None), dict(model__digest='0'*64), dict(more=1), dict(model__more='x'), dict(run=[]), dict(measured='x'), dict(title=3)])
def test_configs_that_say_something_else(folder, how):
    changed(folder, **how)
    with pytest.raises(CheckError): from_hub(folder)


def test_a_config_as_large_as_a_disk_is_not_read(folder):
    with open(folder/CONFIG, 'r+b') as f: f.truncate(2**36)
    with pytest.raises(CheckError, match='at most 1,048,576 bytes'): from_hub(folder)
    for text in '', '[]', '{', '['*10**5, '{"format": NaN}', '\ufeff{}', '{"a":'*5000:
        (folder/CONFIG).write_text(text)
        with pytest.raises(CheckError): from_hub(folder)


def test_weights_that_are_another_are_refused_before_they_are_read(folder):
    data = (folder/MODEL).read_bytes()
    with open(folder/MODEL, 'r+b') as f: f.truncate(2**36)
    with pytest.raises(CheckError, match='size'): from_hub(folder)
    (folder/MODEL).write_bytes(data[:-1]+bytes([data[-1]^1]))
    with pytest.raises(CheckError, match='SHA-256'): from_hub(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzz(folder, tmp_path_factory, data):
    "Bytes of both files changed, and the seal of the weights made anew by the attacker: a `CheckError`, or the same program"
    import hashlib
    copy = tmp_path_factory.mktemp('fuzz')/'net'
    shutil.copytree(folder, copy)
    for name in (MODEL,CONFIG):
        raw = bytearray((copy/name).read_bytes())
        for _ in range(data.draw(st.integers(0, 3))): raw[data.draw(st.integers(0, len(raw)-1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(raw)*3))
        (copy/name).write_bytes(raw[:cut] if cut<len(raw) else raw)
    blob = (copy/MODEL).read_bytes()
    try: changed(copy, model__size=len(blob), model__sha256=hashlib.sha256(blob).hexdigest())
    except (ValueError, TypeError, KeyError): pass
    try: assert from_hub(copy).digest==NET.digest
    except CheckError as e: assert '\n' not in str(e)
    finally: shutil.rmtree(copy)


PEAK = """
import sys
from quarantion.checks import CheckError
from quarantion.export.hub import from_hub
peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])*1024 # ru_maxrss begins with what the parent held
before = peak()
try: from_hub(sys.argv[1])
except CheckError as e: print(peak()-before, e)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory of Linux')
@pytest.mark.parametrize('head', [b'', (2**25).to_bytes(8, 'little')+b'{'], ids=['noise','a long header'])
def test_memory_of_a_file_that_is_no_program(folder, head):
    "Of the right size and SHA-256, and still no program"
    import hashlib
    import subprocess
    blob = head+b'x'*2**25
    (folder/MODEL).write_bytes(blob)
    changed(folder, model__size=len(blob), model__sha256=hashlib.sha256(blob).hexdigest())
    said = subprocess.run([sys.executable, '-c', PEAK, folder], capture_output=True, text=True, check=True).stdout
    assert int(said.split()[0])<=4*len(blob), said
