"Each reader of a file of some MB takes at most four times its bytes: the peak of a process that reads nothing else"
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.data.event_files import npz_arrays, read_npz
from quarantion.export.onnx import to_onnx
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork

torch = pytest.importorskip('torch')
pytestmark = [pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory of Linux'),
              pytest.mark.filterwarnings('ignore:torch.quantize')]

# In a child for each: a small file, which loads what the reader needs, and then a large one
MEASURE = '''
import json, os, sys, warnings
warnings.simplefilter('ignore')
from quarantion.checks import CheckError
from quarantion.data.event_files import read_csv, read_npz
from quarantion.data.hdf5 import read_hdf5
from quarantion.export.events import read_raster
from quarantion.export.nir_events import read_nir_events
from quarantion.export.nir import from_nir
from quarantion.export.onnx import from_onnx
from quarantion.export.parts.graph import read_nir
from quarantion.spikes.pickles import read_state
from quarantion.spikes.states import from_snntorch_state
held = lambda k: int(next(l for l in open('/proc/self/status') if l.startswith(k)).split()[1])*1024
def tried(read, path):
    try: return read(path)
    except CheckError as e: return str(e)
shape = (2,128,128)
READ = dict(state=read_state, snntorch=from_snntorch_state, hdf5=read_hdf5, nir=read_nir, onnx=from_onnx, raster=read_raster,
            npz=lambda p: read_npz(p, shape), csv=lambda p: read_csv(p, shape), fromnir=from_nir, spikes=read_nir_events)
for name,read,small,large in json.loads(sys.argv[1]):
    r,w = os.pipe()
    if not os.fork():
        tried(READ[read], small)
        before = held('VmRSS')
        got = tried(READ[read], large)
        told = got if isinstance(got, str) else ''
        os.write(w, json.dumps([held('VmHWM')-before, told]).encode())
        os._exit(0)
    os.wait(), os.close(w)
    print(json.dumps([name, *json.loads(os.read(r, 10**5))]), flush=True)
'''


def floats(n): return np.random.default_rng(0).normal(size=n).astype(np.float32)


def state(path, n):
    torch.save({'0.weight':torch.from_numpy(floats(n*n).reshape(n, n)), '1.beta':torch.tensor(.9), '1.threshold':torch.tensor(1.)}, path)


def safetensors(path, n):
    from safetensors.torch import save_file
    save_file({'0.weight':torch.from_numpy(floats(n*n).reshape(n, n))}, path)


def quantized(path, n):
    q = torch.quantize_per_tensor(torch.from_numpy(floats(n*n).reshape(n, n)), .02, 0, torch.qint8)
    torch.save({'0.weight':q, '1.beta':torch.tensor(.9)}, path)


def hdf5(path, n):
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w') as f: f.create_dataset('x', data=floats(n*n).reshape(n, n), compression='gzip', shuffle=True, chunks=(min(n, 256),)*2)


def graph(path, n, dtype=np.float64):
    pytest.importorskip('h5py')
    from quarantion.export.parts.graph import NirGraph, NirNode
    one = np.ones(n)
    nodes = dict(input=NirNode('Input', dict(shape=np.array([n]))), fc=NirNode('Linear', dict(weight=floats(n*n).reshape(n, n).astype(dtype))),
                 lif=NirNode('LIF', dict(tau=1e-3*one, r=one, v_leak=0*one, v_threshold=one)), output=NirNode('Output', dict(shape=np.array([n]))))
    NirGraph(nodes, (('input','fc'),('fc','lif'),('lif','output'))).save(path)


def program(n, top=127):
    rng,full = np.random.default_rng(0),lambda v: np.full(n, v, np.int32)
    w = rng.integers(-top, top+1, (n,n)).astype(np.int8)
    return IntegerNetwork((IntLayer(w, full(0), full(9*256), full(60000), np.full(n, 1e-3), guard=8, reset='zero', quant_max=127),), (n,), 5, 1., 0, 1)


def nir(path, n):
    pytest.importorskip('h5py')
    from quarantion.export.nir import to_nir
    path.write_bytes(b''), to_nir(program(n)).graph.save(path)


def onnx(path, n):
    pytest.importorskip('onnx')
    path.write_bytes(to_onnx(program(n)).data)


def ternary(path, n):
    pytest.importorskip('onnx')
    path.write_bytes(to_onnx(program(2*n, 1)).data)


def recording(n):
    rng = np.random.default_rng(0)
    return dict(t=np.sort(rng.integers(0, 2**28, n)), x=rng.integers(0, 128, n).astype(np.uint16), y=rng.integers(0, 128, n).astype(np.uint16), p=rng.integers(0, 2, n).astype(np.uint8))


def npz(path, n, packed=False):
    with open(path, 'wb') as f: (np.savez_compressed if packed else np.savez)(f, **recording(n*n//4))


def csv(path, n):
    e = recording(n*n//4)
    path.write_text('t,x,y,p\n'+'\n'.join(f'{t},{x},{y},{p}' for t,x,y,p in zip(*(e[k].tolist() for k in 'txyp')))+'\n')


def raster(path, n):
    with open(path, 'wb') as f: np.savez(f, layer0=np.random.default_rng(0).random((n,n,4))<.5)


# name: writer, reader, size of the large file, and bytes that it holds where these are packed
FILES = {'safetensors':(safetensors,'state',800), 'quantized':(quantized,'state',1600), 'snntorch':(state,'snntorch',800),
         'hdf5':(hdf5,'hdf5',800), 'graph':(graph,'nir',640), 'graph32':(lambda p,n: graph(p, n, np.float32),'nir',800), 'nir':(nir,'fromnir',840,9*840**2),
         'onnx':(onnx,'onnx',1600), 'ternary':(ternary,'onnx',1500,3000**2), 'npz':(npz,'npz',840), 'npz packed':(lambda p,n: npz(p, n, True),'npz',1300,13*1300**2//4),
         'csv':(csv,'csv',700), 'raster':(raster,'raster',760)}


# Files that are small, and unpack to much: refused before that

def bomb_npz(path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for k in 'txyp':
            out = io.BytesIO()
            np.lib.format.write_array_header_1_0(out, dict(descr='<i8', fortran_order=False, shape=(2**20,)))
            with z.open(f'{k}.npy', 'w', force_zip64=True) as f:
                f.write(out.getvalue())
                for _ in range(8): f.write(bytes(2**20))


def bomb_torch(path):
    "A file of torch whose numbers were packed anew"
    whole = io.BytesIO()
    torch.save({'0.weight':torch.zeros(2**12, 2**12)}, whole)
    with zipfile.ZipFile(whole) as a, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as b:
        for i in a.infolist(): b.writestr(i.filename, a.read(i.filename))


def bomb_hdf5(path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w') as f: f.create_dataset('x', (2**28,), np.float64, chunks=(2**17,), compression='gzip')


BOMBS = {'much in npz':(bomb_npz,'npz',0,'bytes unpacked'), 'much in a raster':(bomb_npz,'raster',0,'bytes unpacked'), 'much for torch':(bomb_torch,'state',0,'data that are not packed'),
         'much in hdf5':(bomb_hdf5,'hdf5',0,'bytes, found')}
WHOLE = dict(npz=npz, raster=raster, state=state, hdf5=hdf5) # by reader
FILES |= BOMBS


@pytest.fixture(scope='module')
def peaks(tmp_path_factory):
    "Bytes that each reader took at most, and those of its file"
    folder,asked,sizes = tmp_path_factory.mktemp('files'),[],{}
    for name,(write,read,n,*_) in FILES.items():
        paths = [folder/f'{name}{k}' for k in ('small','large')]
        write(paths[0], 8) if n else WHOLE[read](paths[0], 8)
        write(paths[1], n) if n else write(paths[1])
        asked.append([name,read,*map(str, paths)])
        sizes[name] = paths[1].stat().st_size
    got = subprocess.run([sys.executable, '-c', MEASURE, json.dumps(asked)], capture_output=True, text=True)
    assert not got.returncode, got.stderr[-2000:]
    return {name:(most,sizes[name],told) for name,most,told in map(json.loads, got.stdout.splitlines())}


@pytest.mark.parametrize('name', [k for k in FILES if k not in BOMBS])
def test_at_most_four_times_the_file(peaks, name):
    "Where a file is packed, four times what it holds"
    most,size,told = peaks[name]
    holds = max(size, *FILES[name][3:]) if FILES[name][3:] else size
    assert size>1_500_000 and not told and most<=4*holds+2**20, f'{name}: {most/size:.1f} × {size:,} bytes, which hold {holds:,}; {told}'


@pytest.mark.parametrize('name', BOMBS)
def test_what_unpacks_to_much_is_refused_before(peaks, name):
    most,size,told = peaks[name]
    assert FILES[name][3] in told and most<4*size+2**20, (most, told)


def test_a_zip_that_lies_about_its_size(tmp_path):
    "What is said to be small is read no further"
    bomb_npz(tmp_path/'a')
    data = bytearray((tmp_path/'a').read_bytes())
    with zipfile.ZipFile(tmp_path/'a') as z: size = z.infolist()[0].file_size.to_bytes(4, 'little')
    while (at := data.find(size)) >= 0: data[at:at+4] = (1000).to_bytes(4, 'little')
    with pytest.raises(CheckError, match='NPZ|bytes|header'): dict(npz_arrays(bytes(data), 'a'))
    (tmp_path/'a').write_bytes(data)
    with pytest.raises(CheckError): read_npz(tmp_path/'a', (2,128,128))
