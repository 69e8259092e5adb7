"No bit of a program file changes unseen, its size is what it holds, and every field has a range."
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.files import load_tensors, save_tensors
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork, load
from quarantion.runtime.store import FORMAT, VERSION

MAKE = '''
import sys
import numpy as np
from quarantion.runtime.layer import IntLayer
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
