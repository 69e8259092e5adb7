"No bit of a program file changes unseen, its size is what it holds, and every field has a range."
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from quarantion.checks import CheckError
from safetensors.numpy import save_file
from quarantion.files import load_tensors, save_tensors
from quarantion.runtime.layer import Op, prove_range
from quarantion.runtime.network import load
from quarantion.runtime.shapes import LARGEST
from quarantion.runtime.store import FORMAT, STEPS, VERSION

MAKE = '''
import sys
import numpy as np
from quarantion.runtime.coding import encode_codes, encode_ints
from quarantion.runtime.layer import IntLayer, Op, check_layer, prove_range
from quarantion.runtime.network import IntegerNetwork
full = lambda n,v: np.full(n, v, np.int32)
def layer(w, **kw): return IntLayer(np.array(w, np.int8), full(len(w), 0), full(len(w), 100), full(len(w), 62259), np.full(len(w), .01), **kw)
net = IntegerNetwork((layer([[1,-4,0],[3,0,2]]), layer([[2,-1]], reset='none', clip=9000)), (3,), 5, .25, 0, 15)
net.save(sys.argv[1])
'''


@pytest.fixture
def small(tmp_path):
    subprocess.run([sys.executable,'-c',MAKE,tmp_path/'net'], check=True)
    return tmp_path/'net'


def test_every_flipped_bit_is_found(small, tmp_path):
    data,bad = small.read_bytes(),tmp_path/'bad'
    load(small)
    assert len(data)<1300
    with open(bad, 'wb+', buffering=0) as f:
        for i in range(8*len(data)):
            flipped = bytearray(data)
            flipped[i//8] ^= 1<<i%8
            f.seek(0)
            f.write(flipped)
            with pytest.raises(CheckError, match='bad: '): load(bad)


def test_cut_and_lengthened_files_are_found(small, tmp_path):
    data = small.read_bytes()
    for bad in [data[:n] for n in range(len(data))]+[data+b'\0', data+data]:
        (tmp_path/'bad').write_bytes(bad)
        with pytest.raises(CheckError, match='bad: '): load(tmp_path/'bad')


def test_the_seal_is_the_sha256_with_zeros_for_itself(small):
    data,(_,head) = small.read_bytes(),load_tensors(small, FORMAT, VERSION)
    said = head['digest'].encode()
    assert data.count(said)==1 and hashlib.sha256(data.replace(said, b'0'*64)).hexdigest()==said.decode()
    top = json.loads(data[8:8+int.from_bytes(data[:8], 'little')])
    assert list(top['__metadata__'])==['quarantion'] # two would change places from process to process


def test_files_are_the_same_in_every_process(tmp_path):
    for seed in '0','1','7':
        subprocess.run([sys.executable,'-c',MAKE,tmp_path/seed], check=True, env=os.environ|dict(PYTHONHASHSEED=seed))
    assert len({(tmp_path/seed).read_bytes() for seed in '017'})==1
    load(tmp_path/'0').save(tmp_path/'again')
    assert (tmp_path/'again').read_bytes()==(tmp_path/'0').read_bytes()


@pytest.mark.parametrize('change', [dict(format='quarantion.integer'), dict(version=2), dict(version=1), dict(version=4), dict(version='3'), dict(format='quarantion.integer', version=3),
    dict(digest='0'*64), dict(digest=None)])
def test_what_a_file_says_it_is(small, change):
    tensors,head = load_tensors(small, FORMAT, VERSION)
    data = small.read_bytes()
    for k,v in change.items():
        old,new = (json.dumps(json.dumps({k:x}, separators=(',',':'))[1:-1])[1:-1].encode() for x in (head[k],v))
        assert data.count(old)==1
        data = data.replace(old, new)
    n = len(data)-len(small.read_bytes())
    data = (int.from_bytes(data[:8], 'little')+n).to_bytes(8, 'little')+data[8:]
    small.write_bytes(data)
    with pytest.raises(CheckError, match='net: '): load(small)


def test_a_file_without_a_seal_is_refused(small):
    tensors,head = load_tensors(small, FORMAT, VERSION)
    del head['digest']
    save_tensors(small, tensors, head)
    with pytest.raises(CheckError, match='net: header field `digest`: expected the SHA-256 of the file, found nothing'): load(small)


def test_old_files_say_that_they_are_not_sealed(small, tmp_path):
    tensors,head = load_tensors(small, FORMAT, VERSION)
    del head['digest']
    save_tensors(tmp_path/'old', tensors, head|dict(format='quarantion.integer', version=2))
    with pytest.warns(UserWarning, match='old: version 2 has no seal') as said: old = load(tmp_path/'old')
    assert len(said)==1
    old.save(tmp_path/'new')
    assert (tmp_path/'new').read_bytes()==small.read_bytes()


def edited(path, head=(), layer=(), **tensors):
    "The file with other fields and tensors, and a seal that fits them"
    old,h = load_tensors(path, FORMAT, VERSION)
    h['layers'][0].update(layer)
    save_tensors(path, old|{f'0.{k}':v for k,v in tensors.items()}, h|dict(head))
    return path


def refused(path, match):
    "Loading is refused, and asks for little memory on the way"
    tracemalloc.start()
    try:
        with pytest.raises(CheckError, match=match): load(path)
        assert tracemalloc.get_traced_memory()[1]<2**24
    finally: tracemalloc.stop()


BIG = 2**15
WIDE = dict(conv=[[1,1],[0,0],[1,1],1], shape=[2,1,1,3])
@pytest.mark.parametrize('head,layer,match', [
    ({}, dict(shape=[BIG,BIG]), 'tensor `0.weight`: expected 262144 bytes for 1073741824 numbers'),
    ({}, dict(shape=[BIG,2,BIG//2,2], conv=WIDE['conv']), 'tensor `0.weight`: expected 524288 bytes for 2147418112|less than 2'),
    ({}, dict(recurrent=[BIG,BIG]), 'tensor `0.recurrent`'), (dict(steps=10**9), {}, 'header field `steps`: expected a whole number from 1 to 1048576, found 1000000000'),
    (dict(in_shape=[BIG,BIG]), {}, 'network: `in_shape`: expected at most 268435456 codes'), (dict(in_shape=[BIG*8191]), {}, 'layer 0: shapes'),
    (dict(in_shape=[1,BIG,BIG//2]), WIDE, f'network: `in_shape`: expected at most {LARGEST} codes'),
    (dict(in_shape=[1,BIG//2,BIG//2]), WIDE, 'layer 0: shapes: expected at most 268435456 codes with borders and windows, found 805208064'),
    (dict(in_shape=[1,8,8]), WIDE|dict(conv=[[1,1],[2**20,2**20],[1,1],1]), 'layer 0: shapes: expected at most 268435456 codes'),
    (dict(in_shape=[1,8,8]), WIDE|dict(before=[dict(kind='max', kernel=[2,2], padding=[2**20,2**20])]), 'layer 0: shapes: expected at most 268435456 codes'),
    (dict(in_shape=[1,8,8]), WIDE|dict(before=[dict(kind='sum', kernel=[2**20,2**20])]*4), 'layer 0: '),
    (dict(in_shape=[1,8,8]), WIDE|dict(after=[dict(kind='sum', kernel=[2**12,2**12], padding=[2**11,2**11])]), 'layer 0: '),
    (dict(in_shape=[1,8,8]), WIDE|dict(conv=[[1,1],[0,0],[2**20,2**20],1]), 'layer 0: shapes: expected pictures of'),
    (dict(in_scale=10**300), {}, 'header field `in_scale`'), (dict(in_scale=1e-320), {}, 'header field `in_scale`'), (dict(in_scale=1e308), {}, 'header field `in_scale`'),
    ({}, dict(guard=31), 'guard'), ({}, dict(gain=2**20+1), 'gain'), ({}, dict(clip=2**31), 'clip'), ({}, dict(current_max=-1), 'current_max'), ({}, dict(reset=['zero']), 'reset'),
    ({}, dict(before_fire=0), 'before_fire'), ({}, dict(levels=2**17), 'levels')])
def test_sizes_and_fields_out_of_range(small, head, layer, match):
    refused(edited(small, head, layer), f'net.*{match}')


@pytest.mark.parametrize('worth', [-1,0,3e38,1e-38])
def test_worth_has_a_range(small, worth):
    refused(edited(small, worth=np.float32([worth])), r'net: tensor `0.worth`: expected in \[7.88861e-31, 1.26765e\+30\]')
    net = load_small(small)
    for unit in float(worth),float('nan'),float('inf'):
        with pytest.raises(CheckError, match='layer 0: `unit`'): replace(net, layers=(replace(net.layers[0], unit=np.full(2, unit)),net.layers[1]))


def load_small(path):
    subprocess.run([sys.executable,'-c',MAKE,path], check=True)
    return load(path)


def test_nested_headers(small):
    deep = []
    for _ in range(400): deep = [deep]
    for at in dict(layers=deep), dict(in_scale=deep), dict(format=deep, version=deep): # the second is parsed, but deep
        tensors,head = load_tensors(small, FORMAT, VERSION)
        with pytest.raises(CheckError, match='expected'): save_tensors(small.parent/'deep', tensors, head|at)
        save_file(tensors, small.parent/'deep', dict(quarantion=json.dumps(head|at)))
        refused(small.parent/'deep', 'deep: header: expected one that quarantion wrote')
    text = json.dumps(json.dumps(dict(format=FORMAT, version=VERSION))[:-1]+', "x": '+'['*10**5+']'*10**5+'}')
    raw = ('{"__metadata__":{"quarantion":'+text+'}}').encode()
    raw += b' '*(-len(raw)%8)
    (small.parent/'deep').write_bytes(len(raw).to_bytes(8, 'little')+raw)
    refused(small.parent/'deep', 'deep: header: expected one that quarantion wrote')


@pytest.mark.parametrize('x', ['x',None,1j,np.ones((2,3), complex),np.datetime64('2026-01-01'),np.timedelta64(1),[[1],[2,3]],{},object(),b'x',[None],np.array(['1'])])
def test_what_is_no_number_is_refused(small, x):
    net = load(small)
    for run in net,net.record,net.classify,net.codes:
        with pytest.raises(CheckError, match='`x`: expected (an array of numbers|real numbers or codes)'): run(x)


def test_settings_of_a_program_have_a_range(small):
    net = load(small)
    for steps in 0,-1,1.5,float('nan'),'x',None,True:
        with pytest.raises(CheckError, match='prove: `steps`'): net.prove(steps)
    for threads in 0,-1,1.5,10**6,None,True:
        with pytest.raises(CheckError, match='`threads`'): replace(net, threads=threads)
    bad = dict(steps=(0,STEPS+1,1.5,None), in_scale=(0,1e-320,1e308,10**400,float('nan'),'1'), in_min=(1,-128,.5), in_max=(0,256,None), in_shape=((),(0,),(3.,),3,None,(2**16,2**15)))
    for k,values in bad.items():
        for v in values:
            with pytest.raises(CheckError, match=f'network: header field `{k}`: expected'): replace(net, **{k:v})
    assert replace(net, steps=STEPS, threads=2).prove(STEPS)==net.prove(STEPS)


def test_sums_of_windows_of_windows_do_not_wrap(small):
    "The area of these windows is 0 in int64"
    low = replace(load(small).layers[0], before=(Op('sum', (2**16,2**16)),)*2, weight=np.ones((2,1,1,1), np.int8), conv=((1,1),(0,0),(1,1),1))
    with pytest.raises(CheckError, match=r'products: expected \|A\| < 2\^31'): prove_range(low, 1, 5)
