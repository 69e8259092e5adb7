"HDF5: read in a process of its own, within limits; whatever the bytes are, this process goes on."
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarantion.checks import CheckError
from quarantion.data.apart import read_apart
from quarantion.data.hdf5 import read_hdf5
from quarantion.data.shd import load_shd

h5py = pytest.importorskip('h5py', reason='h5py is not installed (pip install h5py)')
FUZZ = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shd(path, samples=4, n=50, **how):
    "A file as SHD has it"
    rng = np.random.default_rng(0)
    with h5py.File(path, 'w') as f:
        for k,dtype,make in (('times',np.float16,lambda: np.sort(rng.random(n))), ('units',np.uint16,lambda: rng.integers(0, 700, n))):
            d = f.create_dataset(f'spikes/{k}', (samples,), h5py.vlen_dtype(dtype), **how)
            for i in range(samples): d[i] = make().astype(dtype)
        f['labels'] = np.arange(samples)
    return path


def test_what_is_read_is_what_h5py_reads(tmp_path):
    got = load_shd(shd(tmp_path/'a.h5', 300))
    with h5py.File(tmp_path/'a.h5') as f:
        for i in (0,7,255,256,299):
            e,label = got[i]
            assert label==i and (e['x']==f['spikes/units'][i]).all()
            assert (e['t']==(f['spikes/times'][i].astype(np.float64)*1e6).astype(np.int64)).all()
    assert len(got)==300 and got[-1][1]==299


@pytest.mark.parametrize('how', [dict(compression='gzip', shuffle=True, fletcher32=True), dict(compression='lzf'), dict(chunks=(7,5)), {}])
def test_arrays_in_many_pieces(tmp_path, how):
    x = np.random.default_rng(0).normal(size=(3000,500)) # 12 MB
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        f.create_dataset('x', data=x[:50] if 'chunks' in how else x, **how)
        f['big'],f['half'],f['empty'],f['one'] = x[0].astype('>f8'),x[1].astype(np.float16),np.zeros((0,3)),3
        f['words'] = np.array([b'LIF','Linear'.encode()])
    got = read_hdf5(tmp_path/'a.h5')
    assert (got['x']==x[:len(got['x'])]).all() and (got['big']==x[0]).all() and got['half'].dtype==np.float16
    assert got['empty'].shape==(0,3) and got['one'].shape==() and got['one']==3 and got['words'].tolist()==[b'LIF',b'Linear']
    with pytest.raises(ValueError): got['x'][0] = 1 # nobody writes into a file that is gone


def test_groups_that_never_end(tmp_path):
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        f['a/b/x'] = 1
        f['a/b/a'] = f['a']
    with pytest.raises(CheckError, match='expected groups that end, found a group in itself'): read_hdf5(tmp_path/'a.h5')
    assert read_hdf5(tmp_path/'a.h5', ('a/b/a/b/x',))['a/b/a/b/x']==1


def test_what_leads_out_is_refused(tmp_path):
    shd(tmp_path/'true.h5')
    out = {'link':lambda f: f.update({'labels':h5py.ExternalLink('true.h5', 'labels')}),
           'group':lambda f: f.update({'spikes':h5py.ExternalLink('true.h5', 'spikes')}),
           'soft':lambda f: f.update({'labels':h5py.SoftLink('/spikes/units')})}
    for name,change in out.items():
        path = shd(tmp_path/f'{name}.h5')
        with h5py.File(path, 'a') as f:
            del f['spikes' if name=='group' else 'labels']
            change(f)
        for read in (load_shd, read_hdf5):
            with pytest.raises(CheckError, match=rf'{name}.h5: `\w+`: expected data that are in the file itself, found a link'): read(path)
    with h5py.File(tmp_path/'secret.h5', 'w') as f: f.create_dataset('labels', (9,), np.uint8, external=[('/etc/passwd', 0, 9)])
    with pytest.raises(CheckError, match='found data in another file'): read_hdf5(tmp_path/'secret.h5')
    with h5py.File(tmp_path/'v.h5', 'w') as f:
        layout = h5py.VirtualLayout((4,), np.int64)
        layout[:] = h5py.VirtualSource(str(tmp_path/'true.h5'), 'labels', (4,))
        f.create_virtual_dataset('labels', layout)
    with pytest.raises(CheckError, match='found a virtual data set'): read_hdf5(tmp_path/'v.h5')


@pytest.mark.parametrize('v', [np.zeros(2, [('a','f8')]), np.ones(2)*1j, np.void(b'abc')])
def test_kinds_that_are_not_read_are_named_once(tmp_path, v):
    with h5py.File(tmp_path/'a.h5', 'w') as f: f['x'] = v
    with pytest.raises(CheckError) as e: read_hdf5(tmp_path/'a.h5')
    assert str(e.value)==f"{tmp_path}/a.h5: `x`: expected numbers or text, found {np.asarray(v).dtype!r}"


def test_a_small_file_that_unpacks_to_much(tmp_path):
    with h5py.File(tmp_path/'a.h5', 'w') as f: f.create_dataset('x', data=np.zeros(2**25), compression='gzip') # 256 MB
    with pytest.raises(CheckError, match='`x`: expected at most 67,108,864 bytes, found 268,435,456'): read_hdf5(tmp_path/'a.h5')
    assert len(read_hdf5(tmp_path/'a.h5', room=2**28)['x'])==2**25


def changed(path, whole, places):
    b = bytearray(whole)
    for at,value in places: b[at%len(b)] = value
    path.write_bytes(bytes(b))
    return path


def holds(path):
    "Samples, or one error that names the file; soon, and without much memory"
    begun = time.monotonic()
    try:
        got = load_shd(path)
        for i in range(min(len(got), 50)): got[i]
    except CheckError as e: assert str(path) in str(e) and '\n' not in str(e)
    assert time.monotonic()-begun<40


def fuzzed(tmp_path, places):
    if not (tmp_path/'w.h5').exists(): shd(tmp_path/'w.h5')
    holds(changed(tmp_path/'a.h5', (tmp_path/'w.h5').read_bytes(), places))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss # of any of them


PLACES = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=20)

@given(PLACES)
@settings(max_examples=12, **FUZZ)
def test_bytes_that_were_changed(tmp_path, places): fuzzed(tmp_path, places)


@pytest.mark.soak
@pytest.mark.timeout(3600) # each example is a process
@given(PLACES)
@settings(max_examples=1500, **FUZZ)
def test_many_bytes_that_were_changed(tmp_path, places): fuzzed(tmp_path, places)


MEASURE = '''
import resource, sys
from quarantion.data.apart import read_apart
def peak(path, *more):
    read_apart('quarantion.data.hdf5:_read', path, names=None, most=2**40)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024
print(*map(peak, sys.argv[1:]))
'''

def test_memory_is_at_most_four_times_the_file(tmp_path):
    "Beyond what the reader of a small file needs; and the arrays are in no memory until they are looked at"
    small,large = shd(tmp_path/'s.h5'),shd(tmp_path/'l.h5', 200, 40_000)
    size = large.stat().st_size
    assert size>30_000_000
    said = subprocess.run([sys.executable, '-c', MEASURE, small, large], capture_output=True, text=True, check=True).stdout
    before,after = map(int, said.split())
    assert after-before<4*size, (before, after, size)


def test_the_reader_does_not_load_torch(tmp_path):
    (tmp_path/'seen.py').write_text('import sys, numpy as np\ndef modules(path): yield "n", np.array([m in sys.modules for m in ("torch","h5py","numpy")])\n')
    sys.path.insert(0, str(tmp_path))
    try: assert read_apart('seen:modules', tmp_path/'seen.py')['n'].tolist()==[0,0,1]
    finally: sys.path.remove(str(tmp_path))


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path/'tmp'))
    (tmp_path/'tmp').mkdir()
    got = read_hdf5(shd(tmp_path/'a.h5'))
    assert list((tmp_path/'tmp').iterdir())==[] and got['labels'].tolist()==[0,1,2,3]
    with pytest.raises(CheckError): read_apart('os:walk', tmp_path/'a.h5', seconds=.01)
    assert list((tmp_path/'tmp').iterdir())==[]
