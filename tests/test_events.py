"Events: files against tonic's readers, steps that lose nothing, changes that keep the order of time, and bytes that are no file."
import csv
import tracemalloc
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarantion.checks import CheckError
from quarantion.data.augment import crop_place, crop_time, drop_events, flip_events, jitter_events
from quarantion.data.event_files import (from_tonic, load_gestures, load_recordings, read_aedat, read_bin, read_npz,
                                         read_recording)
from quarantion.data.events import (EVENT, by_count, by_equal, by_steps, by_window, check_events, in_order, make_events,
                                    to_frames)
from quarantion.data.shd import load_shd

NMNIST,GESTURE = (2,34,34),(2,128,128)
PACKET = np.dtype('<i2,<i2,<i4,<i4,<i4,<i4,<i4,<i4')


def tonic():
    "tonic, or a skip that says so: it is no dependency, as it pulls librosa and importRosbag"
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return pytest.importorskip('tonic', reason='tonic is not installed (pip install tonic==1.7.*)')


def hdf5(): return pytest.importorskip('h5py', reason='h5py is not installed (pip install h5py)')


def some(n=500, shape=NMNIST, last=300_000, seed=0):
    rng = np.random.default_rng(seed)
    return make_events(np.sort(rng.integers(0, last, n)), *(rng.integers(0, k, n) for k in shape[:0:-1]), rng.integers(0, shape[0], n))


def packed(e):
    t,x,y,p = (e[k].astype(int) for k in 'txyp')
    return np.stack([x, y, p<<7|t>>16, t>>8&255, t&255], 1).astype(np.uint8).tobytes()


def addresses(e, x, y, p): return e['x'].astype(np.int64)<<x|e['y'].astype(np.int64)<<y|e['p'].astype(np.int64)<<p


def aedat2(e, *bits): return b'#!AER-DAT2.0\r\n# of a test\r\n'+np.stack([addresses(e, *bits), e['t']], 1).astype('>u4').tobytes()


def aedat3(e, sizes=(100,), kind=1, end=b''):
    out,words = b'#!AER-DAT3.1\r\n#Source 1: DVS128\r\n'+end,np.stack([addresses(e, 17, 2, 1)|1, e['t']], 1).astype('<u4')
    while len(words):
        part,words = words[:sizes[0]],words[sizes[0]:]
        out += np.array([(kind,1,8,4,0,len(part),len(part),len(part))], PACKET).tobytes()+part.tobytes()
    return out


def same(ours, theirs, p=None):
    "Field by field"
    assert len(ours)==len(theirs)
    for k in 'txyp':
        if k in theirs.dtype.names and not (k=='p' and p is not None): assert (ours[k]==theirs[k]).all(), k


# Against tonic

def test_bin_is_tonics(tmp_path):
    tonic()
    from tonic.io import read_mnist_file
    e = some()
    data = bytearray(packed(e))
    for i in (7,8,300): data[5*i+1] = 240 # the clock ran over
    (tmp_path/'e.bin').write_bytes(data)
    ours,theirs = read_bin(tmp_path/'e.bin', sort=False),read_mnist_file(str(tmp_path/'e.bin'), np.dtype([(k,int) for k in 'xytp']))
    same(ours, theirs)
    assert len(ours)==497 and ours['t'][-1]==e['t'][-1]+3*8192


@pytest.mark.parametrize('version', [2,3])
def test_aedat_is_tonics(tmp_path, version):
    "`tonic.io.read_dvs_128` of 1.7 unpacks two of three values and fails, so that its parts are called"
    tonic()
    from tonic.io import get_aer_events_from_file, make_structured_array, read_aedat_header_from_file
    e,path = some(shape=GESTURE),tmp_path/'e.aedat'
    path.write_bytes(aedat2(e, 8, 1, 0) if version==2 else aedat3(e, (77,)))
    number,start,_ = read_aedat_header_from_file(str(path))
    raw = get_aer_events_from_file(str(path), number, start)
    a,(x,y,p,m) = raw['address'],(8,1,0,127) if version==2 else (17,2,1,0x1fff) # those of read_dvs_128 and read_dvs_ibm
    theirs = make_structured_array(a>>x&m, a>>y&m, raw['timeStamp'], a>>p&1)
    same(read_aedat(path), theirs)
    assert (read_aedat(path)==e).all()
    path.write_bytes(aedat2(e, 17, 2, 1))
    assert (read_aedat(path, bits='gesture')==e).all()


def test_shd_is_tonics(tmp_path, monkeypatch):
    "But for polarity, which tonic makes 1 where there is only one; a picture of one polarity has it at 0"
    tonic()
    h5py = hdf5()
    (tmp_path/'SHD').mkdir()
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path/'SHD/shd_test.h5', 'w') as f:
        for k,dtype,make in (('times',np.float16,lambda n: np.sort(rng.random(n))), ('units',np.uint16,lambda n: rng.integers(0, 700, n))):
            d = f.create_dataset(f'spikes/{k}', (4,), h5py.vlen_dtype(dtype))
            for i,n in enumerate((5,1,80,9)): d[i] = make(n).astype(dtype)
        f['labels'],f['extra/keys'],f['extra/speaker'] = np.array([3,0,9,1]),[b'a'],np.arange(4)
    (tmp_path/'SHD/shd_test.h5.zip').write_bytes(b'')
    from tonic.datasets import SHD
    monkeypatch.setattr(SHD, '_check_exists', lambda self: True)
    theirs,ours = SHD(str(tmp_path), train=False),load_shd(tmp_path/'SHD/shd_test.h5')
    assert len(ours)==len(theirs)==4 and ours.labels.tolist()==[3,0,9,1]
    for (a,label),(b,target),(c,_) in zip(ours, theirs, from_tonic(theirs)):
        same(a, b, p=0)
        assert label==target and (a==c).all() and not a['p'].any()


def test_nmnist_folder_is_tonics(tmp_path, monkeypatch):
    tonic()
    from tonic.datasets import NMNIST as theirs
    monkeypatch.setattr(theirs, '_check_exists', lambda self: True)
    for c in range(10):
        (tmp_path/'NMNIST/Test'/str(c)).mkdir(parents=True)
        for i in range(2): (tmp_path/'NMNIST/Test'/str(c)/f'{i}.bin').write_bytes(packed(some(20, seed=2*c+i)))
    a,b = load_recordings(tmp_path/'NMNIST/Test'),theirs(str(tmp_path), train=False)
    assert a.labels.tolist()==b.targets==from_tonic(b).labels.tolist()
    for (e,_),(f,_),(g,_) in zip(a, b, from_tonic(b)):
        same(e, f)
        assert (e==g).all()


def test_npz_and_csv_hold_what_tonic_gives(tmp_path):
    t = tonic()
    assert t.__version__.startswith('1.7')
    e = some()
    theirs = t.io.make_structured_array(e['x'], e['y'], e['t'], e['p'])
    np.savez_compressed(tmp_path/'e.npz', **{k:theirs[k] for k in 'txyp'})
    with open(tmp_path/'e.csv', 'w', newline='') as f: csv.writer(f, lineterminator='\n').writerows([theirs.dtype.names, *([*r[:3],int(r[3])] for r in theirs.tolist())])
    for name in ('e.npz','e.csv'): same(read_recording(tmp_path/name, NMNIST), theirs)


def test_any_data_set_of_tonic():
    class Data:
        sensor_size = None
        def __init__(self, *fields, wrap=lambda e: e): self.fields,self.wrap = np.dtype(list(fields)),wrap
        def __len__(self): return 1
        def __getitem__(self, i):
            if i: raise IndexError
            return self.wrap(np.array([(1,)*len(self.fields)]*3, self.fields)),'a word'
    whole = Data(('x',np.int16), ('y',np.int16), ('t',np.int64), ('p',bool))
    with pytest.raises(CheckError, match='that of the sensor, which it does not say'): from_tonic(whole)
    (e,label), = from_tonic(whole, (2,4,4))
    assert (e==make_events([1]*3, 1, 1, 1)).all() and label=='a word'
    (e,_), = from_tonic(Data(('x',int), ('t',float)), (1,1,4)) # a cochlea, in real numbers
    assert (e==make_events([1]*3, 1)).all()
    assert len(from_tonic(Data(('x',int), ('t',int), ('p',int), wrap=lambda e: (np.zeros(3), e)), (2,1,4))[0][0])==3
    with pytest.raises(CheckError, match='Data, sample 0: `x` of event 0: expected 0 to 0, found 1'): from_tonic(whole, (2,4,1))[0]
    with pytest.raises(CheckError, match='expected events with `t` and `x`'): from_tonic(Data(('x',int)), (2,4,4))[0]


def test_without_h5py(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    with pytest.raises(CheckError, match=r'h5py: expected it to be installed, to read HDF5 \(pip install h5py\)'): load_shd(tmp_path/'a.h5')


def test_frames_hold_what_tonics_drop():
    "ToFrame of tonic 1.7 loses the last event of 50, in both modes, and begins with the first"
    t = tonic()
    e = make_events(np.arange(50)*10+3, np.arange(50)%34)
    theirs = t.io.make_structured_array(e['x'], e['y'], e['t'], e['p'])
    for kw,cut in ((dict(time_window=70),by_window(70)), (dict(n_time_bins=7),by_steps(7))):
        assert t.transforms.ToFrame(sensor_size=(34,34,2), **kw)(theirs.copy()).sum()<50
        assert to_frames([e], NMNIST, cut).sum()==50
    assert to_frames([e], NMNIST, by_window(100))[0].sum()==10 # 3 to 93 µs, of 0 to 99


# Steps

EVENTS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 8), st.integers(0, 4), st.integers(0, 1)), max_size=60).map(
    lambda rows: in_order(make_events(*np.array(rows, np.int64).reshape(-1, 4).T)))
CUTS = st.one_of(st.builds(by_window, st.integers(1000, 2**40)), st.builds(by_steps, st.integers(1, 99)),
                 st.builds(by_count, st.integers(1, 99)), st.builds(by_equal, st.integers(1, 99)))


@given(st.lists(EVENTS, min_size=1, max_size=3), CUTS)
@settings(max_examples=150, deadline=None)
def test_binning_conserves(es, cut):
    frames,ones = (to_frames(es, (2,5,9), cut, count) for count in (True,False))
    assert frames.shape[0]>=1 and frames.dtype==np.int32 and ones.dtype==np.uint8
    assert frames.sum((0,2,3,4)).tolist()==[len(e) for e in es]
    assert ((frames>0)==ones).all()
    for b,e in enumerate(es): assert (frames[:,b].sum(0)==to_frames([e], (2,5,9), by_steps(1))[0,0]).all()


@given(EVENTS, st.integers(1, 10**6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_edges_come_from_t0(e, window, t0):
    e['t'] += t0
    splits = by_window(window, t0)(e) if not len(e) or e['t'][-1]//window<2**12 else [0,len(e)]
    for k in range(len(splits)-1):
        t = e['t'][splits[k]:splits[k+1]]
        if len(splits)>2: assert ((t>=t0+k*window)&(t<t0+(k+1)*window)).all()


@given(EVENTS, st.integers(0, 2**32-1), st.integers(0, 5000), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_changes_keep_order_and_bounds(e, seed, us, pixels):
    shape = 2,5,9
    for f in (drop_events(e, shape, .3, seed), jitter_events(e, shape, us, pixels, seed), crop_time(e, us, us+10**6),
              flip_events(e, shape, True, True, True)): check_events(f, shape)
    check_events(crop_place(e, 1, 2, (2,3,4)), (2,3,4))
    assert (jitter_events(e, shape, us, pixels, seed)==jitter_events(e, shape, us, pixels, seed)).all()
    assert (flip_events(flip_events(e, shape, True, True, True), shape, True, True, True)==e).all()


def test_changes_of_a_seed():
    e = some()
    assert len(drop_events(e, NMNIST, .5, 0))!=len(e) and (drop_events(e, NMNIST, .5, 0)['t'][:9]!=drop_events(e, NMNIST, .5, 1)['t'][:9]).any()
    few = drop_events(make_events(np.arange(100)*7, 0), (1,1,1), .9, 3)
    assert few['t'].tolist()==[203,210,224,476,581,616,665] # the same everywhere


# Bad input: what, where, expected, found

def put(path, data): path.write_bytes(data); return path


BAD = [
    ('cut.bin', packed(some(3))[:-2], 'cut.bin: size: expected whole records of 5 bytes, found 13 bytes, the last cut after 3'),
    ('none.bin', b'', 'none.bin: size: expected whole records of 5 bytes, found 0 bytes'),
    ('over.bin', bytes([0,240,0,0,0]), 'over.bin: events: expected at least one, found 0'),
    ('x.bin', packed(make_events([1,2], [0,34])), 'x.bin: `x` of event 1: expected 0 to 33, found 34'),
    ('y.bin', packed(make_events([1,2], 0, [0,77])), 'y.bin: `y` of event 1: expected 0 to 33, found 77'),
    ('back.bin', packed(make_events([5,4], 0)), 'back.bin: `t` of event 1: expected 5 µs or later, as of the event before it, found 4'),
    ('none.csv', b't,x,y,p\n', 'none.csv: events: expected at least one, found 0'),
    ('early.csv', b't,x,y,p\n-1,0,0,0\n', 'early.csv: `t` of line 2: expected 0 to 9007199254740991 µs, found -1'),
    ('late.csv', b't,x,y,p\n0,0,0,0\n1000000000000000000,0,0,0\n', 'late.csv: `t` of line 3: expected 0 to 9007199254740991 µs, found 1000000000000000000'),
    ('later.csv', b't,x,y,p\n1'+b'0'*30+b',0,0,0\n', 'later.csv: line 2: expected four whole numbers, found'),
    ('neg.csv', b't,x,y,p\n0,-1,0,0\n', 'neg.csv: `x` of line 2: expected 0 to 33, found -1'),
    ('half.csv', b't,x,y,p\n0,1\n', 'half.csv: line 2: expected four whole numbers, found'),
    ('head.csv', b'0,1,2,0\n', 'head.csv: first line: expected t,x,y,p in any order, found'),
    ('bad.csv', b't,x,y,p\n\xff\n', 'bad.csv: contents: expected text, found'),
    ('gap.csv', b't,x,y,p\r\n\r\n1,0,0,0\r\n2,x,0,0\r\n', "gap.csv: line 4: expected four whole numbers, found '2,x,0,0'"),
    ('back.csv', b't,x,y,p\n5,0,0,0\n4,0,0,0\n', 'back.csv: `t` of line 3: expected 5 µs or later, as of the event before it, found 4'),
    ('sign.csv', b'p,t,x,y\n1,5,0,0\n-1,6,0,0\n', 'sign.csv: `p` of line 3: expected 0 to 1 (where polarities are -1 and 1, write 0 for -1), found -1'),
    ('v.aedat', b'#!AER-DAT4.0\r\n', 'v.aedat: version: expected 2.0 or 3.1, found 4.0'),
    ('no.aedat', b'PK', 'no.aedat: first line: expected #!AER-DAT and a version, found'),
    ('cut2.aedat', aedat2(some(3), 8, 1, 0)[:-3], 'cut2.aedat: size: expected whole events of 8 bytes, found 21 bytes, the last cut after 5'),
    ('cut3.aedat', aedat3(some(3))[:-3], 'cut3.aedat, byte 33: packet: expected 3 events of 8 bytes, found 21 bytes'),
    ('cuth.aedat', aedat3(some(3))+b'\0'*9, 'cuth.aedat, byte 85: packet: expected a header of 28 bytes, found 9'),
    ('kind.aedat', aedat3(some(3), kind=2), 'kind.aedat: events: expected at least one, found 0'),
    ('neg.aedat', aedat3(make_events([2**31+5], 0)), 'neg.aedat: `t` of event 0: expected 0 to 9007199254740991 µs, found -2147483643'),
    ('cut.npz', b'PK\3\4', 'cut.npz: contents: expected a whole NPZ file, found'),
    ('e.txt', b'', "e.txt`: expected one of .bin, .aedat, .npz, .csv, found '.txt'")]


@pytest.mark.parametrize('name, data, said', BAD, ids=[b[0] for b in BAD])
def test_bad_files(tmp_path, name, data, said):
    with pytest.raises(CheckError) as e: read_recording(put(tmp_path/name, data), NMNIST)
    assert str(e.value).replace(f'{tmp_path}/', '').replace('`ending of ', '').startswith(said)


def test_files_that_are_not_there(tmp_path):
    for name in ('a.bin','a.aedat','a.npz','a.csv'):
        with pytest.raises(CheckError, match='expected a file that can be read'): read_recording(tmp_path/name, NMNIST)
    with pytest.raises(CheckError, match='folder'): load_recordings(tmp_path/'none')
    with pytest.raises(CheckError, match='expected files that end in .bin'): load_recordings(tmp_path)
    with pytest.raises(CheckError, match='expected NAME_labels.csv, found none'): load_gestures(tmp_path)


def test_npz_of_other_things(tmp_path):
    e,path = some(3),tmp_path/'e.npz'
    for arrays,said in ((dict(t=e['t']),'arrays: expected t, x, y, p, found'), (dict(t=e['t'],x=e['x'][:2],y=e['y'],p=e['p']),'expected 3, one for each event'),
                        (dict(t=np.array([.5,1,2]),x=e['x'],y=e['y'],p=e['p']),'whole numbers'), (dict(t=-e['t'],x=e['x'],y=e['y'],p=e['p']),'expected in')):
        np.savez(path, **arrays)
        with pytest.raises(CheckError, match=said) as why: read_npz(path, NMNIST)
        assert str(path) in str(why.value)
    np.savez_compressed(path, t=np.zeros(10**6, np.int64), x=0, y=0, p=0)
    with pytest.raises(CheckError, match='size: expected at most 1048576 bytes unpacked'): read_npz(path, NMNIST)
    np.savez(path, t=e['t'], x=0, y=0, p=np.array([-1,1,-1]))
    with pytest.raises(CheckError, match=r'`p`: expected polarities from 0 \(where they are -1 and 1: p>0\), found -1'): read_npz(path, NMNIST)


def test_classes_are_counted(tmp_path):
    "Folders that are numbers are in their order, others in that of words; numbers in words count too"
    for c in ('0','1','10','2','a10','a9'):
        (tmp_path/c).mkdir()
        put(tmp_path/c/'a.bin', packed(some(int(c.strip('a'))+1, seed=0)))
    assert [len(e) for e,_ in load_recordings(tmp_path)]==[1,2,3,11,10,11]
    assert load_recordings(tmp_path).labels.tolist()==[*range(6)]


@pytest.mark.parametrize('rows, said', [
    (b'a,b,c\n', 'first line: expected class,startTime_usec,endTime_usec'), (b'', 'first line'), (b'\xff', 'contents: expected a table of text'),
    (b'class,startTime_usec,endTime_usec\n1,2\n', 'line 2: expected three whole numbers'), (b'class,startTime_usec,endTime_usec\n1,9,2\n', 'line 2: expected a class from 1')])
def test_tables_of_gestures(tmp_path, rows, said):
    put(tmp_path/'u_labels.csv', rows)
    with pytest.raises(CheckError, match='recording: expected u.aedat beside it, found none'): load_gestures(tmp_path)
    put(tmp_path/'u.aedat', aedat3(some(9, GESTURE), end=b'#!END-HEADER\r\n'))
    with pytest.raises(CheckError, match=said): load_gestures(tmp_path)


def test_gestures(tmp_path):
    e = some(900, GESTURE)
    put(tmp_path/'u.aedat', aedat3(e)), put(tmp_path/'u_labels.csv', b'class,startTime_usec,endTime_usec\n1,0,100000\n11,100000,300000\n')
    g = load_gestures(tmp_path)
    assert g.labels.tolist()==[0,10] and sum(len(v) for v,_ in g)==900
    assert (g[1][0]['t']+100000==e['t'][e['t']>=100000]).all()


@pytest.mark.parametrize('change, said', [
    (lambda f: f.pop('labels'), 'keys: expected spikes/times, spikes/units and labels, found'),
    (lambda f: f.update({'labels':np.zeros(3)}), 'samples: expected as many times as units and labels, found'),
    (lambda f: f.update({'labels':np.array([.5])}), 'label 0: expected a whole number of at least 0, found 0.5'),
    (lambda f: f.update({'labels':np.array([np.nan])}), 'label 0: expected a whole number of at least 0, found nan'),
    (lambda f: f.update({'labels':np.array([-1])}), 'label 0: expected a whole number of at least 0, found -1'),
    (lambda f: f.update({'spikes/times':np.array([[.1,-.5]])}), 'times: expected 0 to 9007199254 s, found -0.5'),
    (lambda f: f.update({'spikes/times':np.array([[.1,np.nan]])}), 'times: expected 0 to 9007199254 s'),
    (lambda f: f.update({'spikes/times':np.array([[.1,1e12]])}), 'times: expected 0 to 9007199254 s'),
    (lambda f: f.update({'spikes/times':np.array([[.3,.2]])}), 'of event 1: expected 300000 µs or later'),
    (lambda f: f.update({'spikes/units':np.array([[3,700]])}), '`x` of event 1: expected 0 to 699, found 700'),
    (lambda f: f.update({'spikes/units':np.array([[3]])}), 'channels: expected')])
def test_bad_hdf5(tmp_path, change, said):
    h5py = hdf5()
    values = {'spikes/times':np.array([[.1,.2]]), 'spikes/units':np.array([[3,699]]), 'labels':np.array([7])}
    change(values)
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        for k,v in values.items(): f[k] = v
    with pytest.raises(CheckError, match=said) as e: load_shd(tmp_path/'a.h5')[0]
    assert str(tmp_path/'a.h5') in str(e.value)


def test_cut_hdf5(tmp_path):
    h5py = hdf5()
    with h5py.File(tmp_path/'a.h5', 'w') as f: f['labels'] = np.arange(1000)
    data = (tmp_path/'a.h5').read_bytes()
    for n in (0,7,100,len(data)-1):
        with pytest.raises(CheckError): load_shd(put(tmp_path/'b.h5', data[:n]))


def test_sorted_where_it_is_asked_for(tmp_path):
    e = some(50)
    back = e[::-1].copy()
    np.savez(tmp_path/'e.npz', **{k:back[k] for k in 'txyp'})
    put(tmp_path/'e.bin', packed(back)), put(tmp_path/'e.aedat', aedat2(back, 8, 1, 0))
    put(tmp_path/'e.csv', ('t,x,y,p\n'+''.join(f'{t},{x},{y},{p}\n' for t,x,y,p in back.tolist())).encode())
    for name in ('e.npz','e.bin','e.aedat','e.csv'):
        with pytest.raises(CheckError, match='µs or later, as of the event before it, found'): read_recording(tmp_path/name, NMNIST)
        assert (read_recording(tmp_path/name, NMNIST, sort=True)==in_order(back)).all()


# Bytes that are no file

CAPS = dict(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WHOLE = {'.bin':packed(some(60)), '.aedat':aedat3(some(60)), '.2.aedat':aedat2(some(60), 8, 1, 0), '.csv':b't,x,y,p\n1,2,3,0\n5,2,1,1\n'}


def holds(path, data):
    "Events or a `CheckError`, in at most four times the memory of the file"
    put(path, data)
    tracemalloc.start()
    try:
        try: e = read_recording(path, NMNIST)
        except CheckError as why: assert str(why)
        else: assert e.dtype==EVENT and len(e)
        peak = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert peak<=4*len(data)+300_000, (peak, len(data)) # and what Python and the zip reader need


@pytest.mark.parametrize('ending', ['.bin','.aedat','.npz','.csv'])
@given(st.binary(max_size=400))
@settings(**CAPS)
def test_any_bytes(tmp_path, ending, data): holds(tmp_path/f'any{ending}', data)


@pytest.mark.parametrize('ending', [*WHOLE,'.npz'])
@given(st.data())
@settings(**CAPS)
def test_bytes_that_are_nearly_a_file(tmp_path, ending, data):
    if ending=='.npz' and not (tmp_path/'w.npz').exists(): np.savez_compressed(tmp_path/'w.npz', **{k:some(60)[k] for k in 'txyp'})
    b = bytearray((tmp_path/'w.npz').read_bytes() if ending=='.npz' else WHOLE[ending])
    for _ in range(data.draw(st.integers(0, 4))): b[data.draw(st.integers(0, len(b)-1))] = data.draw(st.integers(0, 255))
    holds(tmp_path/f'near{ending}', bytes(b[:data.draw(st.integers(0, len(b)))]))


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda b: b'\x89HDF\r\n\x1a\n'+b), st.integers(0, 9999)))
@settings(**CAPS)
def test_hdf5_of_any_bytes(tmp_path, data):
    "And whole files that were cut, where `data` is a number; libhdf5 itself crashes on some that were changed on purpose"
    h5py = hdf5()
    if isinstance(data, int):
        if not (tmp_path/'w.h5').exists():
            with h5py.File(tmp_path/'w.h5', 'w') as f:
                for k,dtype in (('times',np.float16),('units',np.uint16)):
                    f.create_dataset(f'spikes/{k}', (2,), h5py.vlen_dtype(dtype))[:] = [np.arange(3, dtype=dtype)]*2
                f['labels'] = np.arange(2)
        whole = (tmp_path/'w.h5').read_bytes()
        cut,data = data<len(whole),whole[:data]
    else: cut = True
    with pytest.raises(CheckError) if cut else nullcontext(): load_shd(put(tmp_path/'a.h5', data))[0]


@given(st.one_of(st.binary(max_size=100), st.text(max_size=80).map(lambda s: b'class,startTime_usec,endTime_usec\n'+s.encode(errors='replace'))))
@settings(**CAPS)
def test_tables_of_any_bytes(tmp_path, data):
    put(tmp_path/'u.aedat', aedat3(some(9, GESTURE))), put(tmp_path/'u_labels.csv', data)
    try: assert all(isinstance(label, int) for _,label in load_gestures(tmp_path))
    except CheckError as why: assert 'u_labels.csv' in str(why)


@pytest.mark.parametrize('ending', ['.bin','.aedat','.2.aedat','.npz','.csv'])
def test_memory_of_a_large_file(tmp_path, ending):
    e = some(200_000)
    data = dict(zip(('.bin','.aedat','.2.aedat'), (packed(e), aedat3(e, (10_000,)), aedat2(e, 8, 1, 0)))).get(ending)
    if ending=='.npz':
        np.savez(tmp_path/'w.npz', **{k:e[k] for k in 'txyp'})
        data = (tmp_path/'w.npz').read_bytes()
    if ending=='.csv': data = ('t,x,y,p\n'+''.join(f'{t},{x},{y},{p}\n' for t,x,y,p in e.tolist())).encode()
    holds(tmp_path/f'large{ending}', data)
    assert (read_recording(tmp_path/f'large{ending}', NMNIST)==e).all()
