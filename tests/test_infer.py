"Answers for files: by the command, without torch; and readers that no file can make crash, hang or fill the memory."
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.data.arrays import read_idx, read_npy, write_idx
from quarantion.data.event_files import read_events
from quarantion.runtime import load
from quarantion.runtime.layer import Op
from quarantion.runtime.until import Margin, early
from test_stream import plain

STORED = Path(__file__).parent/'stored'
RUN = STORED/'run-nonary'
pytestmark = pytest.mark.filterwarnings('default:.*has no seal')
ALLOWED = 2**22 # bytes, for what any call needs, beside four times the file


@pytest.fixture(scope='module')
def net():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return load(RUN/'integer.safetensors')



@pytest.fixture
def pictures(tmp_path):
    x = np.random.default_rng(0).integers(0, 17, (30,8,8)).astype(np.float32)/16
    np.save(tmp_path/'x.npy', x.reshape(30, 64))
    return tmp_path/'x.npy',x.reshape(30, 64)


def test_torch_is_not_imported(pictures):
    code = f"import sys; from quarantion.cli import main\ntry: main(['infer', {str(RUN)!r}, '--input', {str(pictures[0])!r}, '--json', '--until', 'proved', '--trace'])\nexcept SystemExit as e: print(e.code, 'torch' in sys.modules)"
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'))
    assert r.stdout.splitlines()[-1]=='0 False', (r.stdout, r.stderr)


def test_answers_as_an_object(here, net, pictures):
    code,out,_ = here('infer', RUN, '--input', pictures[0], '--json', '--trace')
    d,x = json.loads(out),pictures[1]
    assert code==0 and d['answers']==net.classify(x).tolist() and d['steps']==[net.steps]*30
    assert list(d['latency_us'])==['p50','p90','p99'] and 0<d['latency_us']['p50']<=d['latency_us']['p90']<=d['latency_us']['p99']
    fired = [r.spk.reshape(net.steps, 30, -1).sum(2) for r in net.record(x)]
    assert d['trace']==[[f[:,k].tolist() for f in fired] for k in range(30)]


@pytest.mark.parametrize('word,rule', [('proved','proved'), ('0.5',.5), ('0.5,3',Margin(.5, 3))])
def test_answers_before_the_end(here, net, pictures, word, rule):
    d = json.loads(here('infer', RUN, '--input', pictures[0], '--json', '--until', word, '--trace')[1])
    e = early(net, pictures[1], rule)
    assert d['answers']==e.said.tolist() and d['steps']==e.steps.tolist()
    assert [len(layer) for sample in d['trace'] for layer in sample]==[t for t in d['steps'] for _ in net.layers]


def test_lines(here, net, pictures):
    code,out,err = here('infer', RUN/'integer.safetensors', '--input', pictures[0])
    assert code==0 and [l.split('\t') for l in out.splitlines()]==[[str(k),str(net.steps)] for k in net.classify(pictures[1])]
    assert '30 samples, 6.00 of 6 steps; p50 ' in err


def test_idx_are_pixels(here, net, tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (5,8,8), dtype=np.uint8)
    write_idx(tmp_path/'x.gz', x)
    assert json.loads(here('infer', RUN, '--input', tmp_path/'x.gz', '--json')[1])['answers']==net.classify(x.reshape(5, 64).astype(np.float32)/255).tolist()


def test_codes_are_said_to_be(here, net, tmp_path):
    np.save(tmp_path/'x.npy', np.full((2,64), net.in_max))
    code,_,err = here('infer', RUN, '--input', tmp_path/'x.npy')
    assert code==2 and 'real numbers, or --codes' in err
    assert here('infer', RUN, '--input', tmp_path/'x.npy', '--codes')[0]==0


def event(x, y, p, t): return bytes([x, y, p<<7|t>>16, t>>8&255, t&255])


def events_net():
    l = plain().layers[0]
    flat = replace(l, before=(Op('flatten'),), weight=np.tile(l.weight, 2))
    return replace(plain(), layers=(flat,), in_shape=(2,2,3))


def test_a_recording(here, tmp_path):
    rng,net,x = np.random.default_rng(0),events_net(),np.zeros((20,1,2,2,3), np.uint8)
    data = b''
    for t in sorted(rng.integers(0, 20_000, 60).tolist())+[19_999]:
        p,r,c = int(rng.integers(2)),int(rng.integers(2)),int(rng.integers(3))
        x[t//1000,0,p,r,c],data = 1,data+event(c, r, p, t)
    (tmp_path/'e.bin').write_bytes(data)
    net.save(tmp_path/'net')
    for more in ([], ['--step-us','1000']):
        assert json.loads(here('infer', tmp_path/'net', '--input', tmp_path/'e.bin', '--json', *more)[1])['answers']==net.classify(x).tolist()
    for cut in range(1, 5):
        (tmp_path/'cut.bin').write_bytes(data[:-cut])
        code,out,err = here('infer', tmp_path/'net', '--input', tmp_path/'cut.bin')
        assert (code,out)==(2,'') and f'the last cut after {5-cut}' in err and err.count('\n')==1


@pytest.mark.parametrize('data,said', [(b'', 'whole records'), (event(3,0,0,1), '`x` of event 0: expected 0 to 2, found 3'), (event(0,2,0,1), '`y` of event 0: expected 0 to 1')])
def test_recordings_of_another_camera(tmp_path, data, said):
    (tmp_path/'e.bin').write_bytes(data)
    with pytest.raises(CheckError, match=said): read_events(tmp_path/'e.bin', (2,2,3), 4)


def test_a_recording_that_would_not_end(tmp_path):
    (tmp_path/'e.bin').write_bytes(event(0, 0, 0, 2**23-1))
    with pytest.raises(CheckError, match='at most'): read_events(tmp_path/'e.bin', (2,34,34), 4, step_us=1)


@pytest.mark.parametrize('words,said', [
    (['--until','soon'], 'proved, MARGIN or MARGIN,STEPS'), (['--until','-1'], 'MARGIN'), (['--until','0.5,0'], 'MARGIN'), (['--until','nan'], 'MARGIN'), (['--step-us','5'], 'events')])
def test_words_that_say_nothing(here, pictures, words, said):
    code,out,err = here('infer', RUN, '--input', pictures[0], *words)
    lines = [l for l in err.splitlines() if 'has no seal' not in l] # of the file, which is old
    assert (code,out)==(2,'') and len(lines)==1 and said in lines[0]


def test_images_of_emnist_are_turned_upright(net, tmp_path):
    from quarantion.data.idx import write_idx
    from quarantion.runtime.infer import samples_of
    x,theirs,plain = np.arange(128, dtype=np.uint8).reshape(2, 8, 8),tmp_path/'a'/'emnist-digits-test-images-idx3-ubyte',tmp_path/'a'/'images.idx'
    (tmp_path/'a').mkdir()
    for f in theirs,plain: write_idx(f, x)
    with pytest.warns(UserWarning, match='emnist-digits.*transposed'): turned = samples_of(theirs, net)
    assert np.array_equal(turned.reshape(2, 8, 8), samples_of(plain, net).reshape(2, 8, 8).transpose(0, 2, 1))


def test_files_that_do_not_fit(here, net, tmp_path):
    np.save(tmp_path/'x.npy', np.zeros((3,63), np.float32))
    np.save(tmp_path/'none.npy', np.zeros((0,64), np.float32))
    for name,said in (('x.npy','samples of [64]'), ('none.npy','at least one'), ('lost.npy','lost.npy')):
        code,out,err = here('infer', RUN, '--input', tmp_path/name)
        assert (code,out)==(2,'') and said in err
    code,_,err = here('infer', tmp_path, '--input', tmp_path/'x.npy')
    assert code==2 and 'expected a run directory, found no config.toml' in err


def peak_of(read, path):
    "Bytes that were held at most, whether it answers or refuses"
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            read(path)
    except CheckError: pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def holds(read, path, data):
    "`read` answers or refuses, in memory that the file pays for, and a little that any call takes; the first call imports"
    path.write_bytes(data)
    peak = min(peak_of(read, path) for _ in range(2))
    assert peak<=4*len(data)+ALLOWED, (peak, len(data))


def spoiled(whole):
    "A file with a few bytes changed, put in, or cut off"
    def do(v):
        data = bytearray(whole)
        for at,byte,how in v:
            at %= len(data)+1
            if how==0 and at<len(data): data[at] = byte
            elif how==1: data[at:at] = bytes([byte])*(byte%9)
            elif how==2: del data[at:]
            if not data: data = bytearray(b'\0')
        return bytes(data)
    small = st.tuples(st.one_of(st.integers(0, 160), st.integers(0, 2**20)), st.integers(0, 255), st.sampled_from([0,0,0,1,2]))
    return st.lists(small, min_size=1, max_size=4).map(do)


def npy(x):
    import io
    f = io.BytesIO()
    np.save(f, x)
    return f.getvalue()


NPY = npy(np.arange(12, dtype=np.float32).reshape(3, 4))
HEADER = st.one_of(st.sampled_from(["{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "("*3000,
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4), }", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"]), st.text(max_size=60))


@settings(max_examples=150, deadline=2000, database=None)
@given(st.one_of(spoiled(NPY), st.binary(max_size=200), HEADER.map(lambda h: b'\x93NUMPY\1\0'+len(h.encode()).to_bytes(2, 'little')+h.encode()+b'\0'*4)))
def test_npy_of_any_bytes(tmp_path_factory, data): holds(read_npy, tmp_path_factory.getbasetemp()/'any.npy', data)


@settings(max_examples=60, deadline=2000, database=None)
@given(st.one_of(spoiled((STORED/'mint2.safetensors').read_bytes()), spoiled((STORED/'conv-int8.safetensors').read_bytes()), st.binary(max_size=200)))
def test_programs_of_any_bytes(net, tmp_path_factory, data): holds(load, tmp_path_factory.getbasetemp()/'any.safetensors', data)


@settings(max_examples=60, deadline=2000, database=None)
@given(st.binary(max_size=100))
def test_events_of_any_bytes(tmp_path_factory, data): holds(lambda p: read_events(p, (2,8,8), 5), tmp_path_factory.getbasetemp()/'any.bin', data)


@settings(max_examples=60, deadline=2000, database=None)
@given(st.one_of(spoiled(bytes([0,0,8,2,0,0,0,2,0,0,0,3])+bytes(6)), st.binary(max_size=60)))
def test_idx_of_any_bytes(tmp_path_factory, data): holds(read_idx, tmp_path_factory.getbasetemp()/'any.idx', data)


@pytest.mark.parametrize('x', [np.arange(6.).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array([True,False]), np.arange(4, dtype='>i2'), np.float16([1,2]), np.zeros((0,3))])
def test_npy_as_numpy_reads_it(tmp_path, x):
    np.save(tmp_path/'x.npy', x)
    got = read_npy(tmp_path/'x.npy')
    assert got.dtype==x.dtype.newbyteorder('=') and got.shape==x.shape and (got==np.load(tmp_path/'x.npy')).all()


@pytest.mark.parametrize('x', [np.array(['a']), np.array([1j]), np.array(['2020'], 'M8[D]'), np.zeros(2, [('a', 'f4')]), np.array([None]), np.array([np.nan]), np.array([np.inf], np.float16)])
def test_npy_of_what_is_no_number(tmp_path, x):
    np.save(tmp_path/'x.npy', x, allow_pickle=True)
    with pytest.raises(CheckError): read_npy(tmp_path/'x.npy')


def test_nothing_to_answer(net):
    from quarantion.runtime.infer import Inferred, infer
    assert infer(net, np.zeros((0, *net.in_shape), np.float32))==Inferred([], [], [])
