"Data sets: every way in which an IDX file, a folder or a download can be wrong"
import gzip, hashlib, http.server, shutil, threading, warnings
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.data.idx import IDX_TYPES, IMAGES, MNIST_SHA256, fetch_mnist, load_mnist, read_idx, write_idx
from quarantion.data.samples import Samples, hold_out

TRAIN = 'train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'
TEST = 't10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'
X = np.random.default_rng(0).integers(0, 256, (60,4,4), dtype=np.uint8)
Y = np.arange(60, dtype=np.uint8)%10


@pytest.fixture
def folder(tmp_path):
    "A tiny folder with the four files of MNIST"
    for names,n in ((TRAIN, 60), (TEST, 30)):
        write_idx(tmp_path/names[0], X[:n])
        write_idx(tmp_path/names[1], Y[:n])
    return tmp_path


def plain(x): # The bytes of an IDX file, not compressed
    code = next(k for k,v in IDX_TYPES.items() if np.dtype(v)==x.dtype.newbyteorder('>'))
    return bytes([0, 0, code, x.ndim]) + np.array(x.shape, '>i4').tobytes() + x.astype(IDX_TYPES[code]).tobytes()

def refused(path, *words, magic=None):
    with pytest.raises(CheckError) as e: read_idx(path, magic)
    for w in (path.name, 'expected', 'found', *words): assert w in str(e.value), str(e.value)
    assert '\n' not in str(e.value)


# IDX files

GZ = gzip.compress(plain(X), mtime=0)

@pytest.mark.parametrize('data,words', [
    (b'', ['an empty file']),
    (b'PK\x03\x04'+GZ[4:], ['first bytes', '1f 8b', '50 4b']),
    (b'<html>not found</html>', ['first bytes']),
    (GZ[:-1], ['gzip stream', 'end missing']),
    (GZ[:len(GZ)//2], ['gzip stream', 'end missing']),
    (GZ[:3], ['gzip stream']),
    (GZ[:-8]+b'\0\0\0\0'+GZ[-4:], ['gzip stream', 'CRC']),
    (GZ[:40]+b'\xff'*20+GZ[60:], ['gzip stream']),
    (GZ+b'junk', ['gzip stream']),
    (gzip.compress(b'', mtime=0), ['header', '4 bytes', '0']),
    (gzip.compress(plain(X)[:-1], mtime=0), ['size', '976 bytes', '975']),
    (gzip.compress(plain(X)+b'\0', mtime=0), ['size', '976 bytes', '977']),
    (gzip.compress(plain(X)[:10], mtime=0), ['header', '16 bytes', '10']),
    (gzip.compress(plain(Y), mtime=0), ['magic number', '2051', '2049']),
    (gzip.compress(b'\x08\x03\0\0'+plain(X)[4:], mtime=0), ['magic number', '2051']),
    (gzip.compress(bytes([0,0,8,3])+bytes(12), mtime=0), ['axes', 'at least one value']),
    (gzip.compress(bytes([0,0,8,3])+np.array([-1,4,4], '>i4').tobytes(), mtime=0), ['axes']),
])
def test_bad_gz(tmp_path, data, words):
    (tmp_path/'f.gz').write_bytes(data)
    refused(tmp_path/'f.gz', *words, magic=IMAGES)

@pytest.mark.parametrize('data,words', [
    (b'', ['an empty file']), (b'\0\0', ['header']), (plain(X)[:-7], ['size']), (GZ[:-1], ['gzip stream']), (b'PK\3\4', ['magic number']),
    (bytes([0,0,8,0]), ['at least one axis']), (bytes([0,0,10,1,0,0,0,1,5]), ['IDX type'])])
def test_bad_plain(tmp_path, data, words):
    (tmp_path/'f').write_bytes(data)
    refused(tmp_path/'f', *words)

@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_not_finite(tmp_path, bad, dtype):
    write_idx(tmp_path/'f', np.array([[1, 2], [bad, 0]], dtype))
    refused(tmp_path/'f', str(bad), '[1, 0]')

@pytest.mark.parametrize('name', ['f','f.gz'])
@pytest.mark.parametrize('data', [plain(X), GZ])
def test_contents_decide(tmp_path, name, data):
    (tmp_path/name).write_bytes(data)
    assert (read_idx(tmp_path/name, IMAGES)==X).all()

@pytest.mark.parametrize('name', ['a\0b', 'n'*300, 'file/below'])
def test_names_that_cannot_be(tmp_path, name):
    (tmp_path/'file').write_bytes(b'')
    for f in (read_idx, lambda p: write_idx(p, X), load_mnist):
        with pytest.raises(CheckError): f(f'{tmp_path}/{name}')

def test_no_file(tmp_path): refused(tmp_path/'none', 'No such file')

@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(IDX_TYPES.values())), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
def test_round_trip(tmp_path_factory, dtype, shape, packed):
    path = tmp_path_factory.mktemp('idx')/('f.gz' if packed else 'f')
    x = np.arange(np.prod(shape)).reshape(shape).astype(np.dtype(dtype).newbyteorder('='))
    write_idx(path, x)
    y = read_idx(path)
    assert y.dtype==x.dtype and (y==x).all()


# A folder of MNIST

def load_refused(folder, *words, **kw):
    with pytest.raises(CheckError) as e: load_mnist(folder, **kw)
    for w in words: assert w in str(e.value), str(e.value)

def test_complete(folder):
    d = load_mnist(folder)
    assert (d.name, d.classes, d.in_shape) == ('mnist', 10, (1,4,4))
    assert torch.equal((d.x_test*255).round().byte(), torch.from_numpy(X[:30].reshape(30, -1)))
    assert torch.equal(d.y_train, torch.from_numpy(Y).long())
    for a in (d.x_train, d.x_test): assert a.dtype==torch.float32 and 0<=a.min() and a.max()<=1

@pytest.mark.parametrize('sep', '-.')
def test_unpacked_names(folder, sep):
    want = load_mnist(folder)
    for name in TRAIN+TEST:
        f = folder/name
        (folder/name.removesuffix('.gz').replace('-idx', f'{sep}idx')).write_bytes(gzip.decompress(f.read_bytes()))
        f.unlink()
    assert torch.equal(load_mnist(folder).x_train, want.x_train)

def test_training_files_only(folder):
    for name in TEST: (folder/name).unlink()
    a,b = load_mnist(folder, size=20),load_mnist(folder, size=20)
    assert (len(a.x_train), len(a.x_test)) == (40, 20)
    assert a.y_test.bincount().tolist()==[2]*10 and torch.equal(a.x_test, b.x_test)
    rows = {tuple(r) for d in (a.x_train, a.x_test) for r in (d*255).round().int().tolist()}
    assert rows=={tuple(r) for r in X.reshape(60, -1).tolist()} # nothing lost, nothing twice
    load_refused(folder, 'hold out', '10000') # the default is more than there is

def test_counts_differ(folder):
    write_idx(folder/TRAIN[1], Y[:59])
    load_refused(folder, TRAIN[1], 'number of labels', 'expected 60', 'found 59')

def test_test_counts_differ(folder):
    write_idx(folder/TEST[1], Y[:31])
    load_refused(folder, TEST[1], 'expected 30', 'found 31')

def test_labels_out_of_range(folder):
    y = Y.copy()
    y[7] = 10
    write_idx(folder/TRAIN[1], y)
    load_refused(folder, TRAIN[1], 'label 7', 'in 0..9', 'found 10')

def test_swapped(folder):
    (folder/TRAIN[0]).write_bytes((folder/TRAIN[1]).read_bytes())
    load_refused(folder, TRAIN[0], 'magic number', '2051', '2049')

def test_image_sizes_differ(folder):
    write_idx(folder/TEST[0], X[:30,:3])
    load_refused(folder, 'size of the test images', '(4, 4)', '(3, 4)')

@pytest.mark.parametrize('name', TRAIN+TEST)
def test_one_missing(folder, name):
    (folder/name).unlink()
    load_refused(folder, name, str(folder))

def test_no_folder(folder):
    load_refused(folder/'none', 'data_dir')
    load_refused(folder/TRAIN[0], 'data_dir')


def test_places_looked_at_are_named(tmp_path):
    (tmp_path/'other'/'raw').mkdir(parents=True)
    load_refused(tmp_path, *(f'train-images{n}' for n in ('-idx3-ubyte.gz','-idx3-ubyte','.idx3-ubyte.gz','.idx3-ubyte')),
                 f'{tmp_path}, {tmp_path/"MNIST"/"raw"}, {tmp_path/"other"/"raw"}, {tmp_path/"raw"}, and there in folders of these names')
    with pytest.raises(CheckError) as e: load_mnist(tmp_path)
    assert str(e.value).isprintable()

def same(a, b): return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ('x_train','y_train','x_test','y_test'))

def test_as_torchvision_has_them(folder):
    want = load_mnist(folder)
    (folder/'data'/'MNIST').mkdir(parents=True)
    (folder/'raw').mkdir()
    for n in TRAIN+TEST: (folder/n).rename(folder/'raw'/n)
    (folder/'raw').rename(folder/'data'/'MNIST'/'raw')
    for place in (folder/'data', folder/'data'/'MNIST', folder/'data'/'MNIST'/'raw'): assert same(load_mnist(place), want)
    (folder/'data'/'MNIST'/'raw'/TEST[1]).unlink()
    load_refused(folder/'data', TEST[1], str(folder/'data'/'MNIST'/'raw'))

@pytest.mark.parametrize('own', ['-','.'])
@pytest.mark.parametrize('inner', ['-','.'])
@pytest.mark.parametrize('root', ['','MNIST/raw'])
def test_a_folder_for_each_file(folder, own, inner, root, tmp_path_factory):
    there = tmp_path_factory.mktemp('there')
    for n in TRAIN+TEST:
        name = lambda sep: n.removesuffix('.gz').replace('-idx', f'{sep}idx')
        (there/root/name(own)).mkdir(parents=True)
        (there/root/name(own)/name(inner)).write_bytes(gzip.decompress((folder/n).read_bytes()))
    assert same(load_mnist(there), load_mnist(folder))

def test_two_data_sets_below(folder):
    for name in ('MNIST','FashionMNIST'):
        (folder/'data'/name/'raw').mkdir(parents=True)
        for n in TRAIN+TEST: shutil.copy(folder/n, folder/'data'/name/'raw'/n)
    load_refused(folder/'data', 'data_dir: expected IDX files of one data set, found those in FashionMNIST/raw, MNIST/raw; name one')
    assert same(load_mnist(folder/'data'/'FashionMNIST'), load_mnist(folder))
    for n in TRAIN+TEST: shutil.copy(folder/n, folder/'data'/n) # those of the folder itself come first
    assert same(load_mnist(folder/'data'), load_mnist(folder))

# EMNIST: rows for columns

WIDE = np.arange(60*3*4, dtype=np.uint8).reshape(60,3,4) # 3 rows of 4
UPRIGHT = torch.from_numpy(WIDE).flatten(1)
ON_THEIR_SIDES = torch.from_numpy(WIDE.transpose(0, 2, 1).copy()).flatten(1)

def emnist(place, train='emnist-digits-train', test='emnist-digits-test'):
    for part,n in ((train,60), (test,30)):
        write_idx(place/f'{part}-images-idx3-ubyte.gz', WIDE[:n].transpose(0, 2, 1)) # as they are stored
        write_idx(place/f'{part}-labels-idx1-ubyte.gz', Y[:n])
    return place

@pytest.mark.parametrize('place,names', [('x', ()), ('x/EMNIST/raw', ()), ('x', ('emnist-mnist-train','emnist-mnist-test')),
    ('x/emnist', ('train','t10k')), ('x/EMNIST/raw', ('train','t10k'))])
def test_emnist_is_turned_and_said(tmp_path, place, names):
    there = emnist(tmp_path/place, *names)
    given = tmp_path/'x' if place.endswith('raw') else there
    with pytest.warns(UserWarning, match='images-idx3-ubyte.gz: EMNIST stores its images transposed; they are turned upright') as said: d = load_mnist(given)
    assert len(said)==1 and d.in_shape==(1,3,4)
    assert torch.equal((d.x_train*255).round().byte(), UPRIGHT) and torch.equal((d.x_test*255).round().byte(), UPRIGHT[:30])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert same(load_mnist(given, transpose=True), d)
        as_is = load_mnist(given, transpose=False)
    assert as_is.in_shape==(1,4,3) and torch.equal((as_is.x_train*255).round().byte(), ON_THEIR_SIDES)

def test_emnist_held_out(tmp_path):
    emnist(tmp_path)
    for f in tmp_path.glob('*test*'): f.unlink()
    d = load_mnist(tmp_path, size=20, transpose=True)
    rows = {tuple(r) for x in (d.x_train, d.x_test) for r in (x*255).round().int().tolist()}
    assert rows=={tuple(r) for r in UPRIGHT.tolist()}

def test_others_are_turned_only_if_asked(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        d = load_mnist(folder)
        t = load_mnist(folder, transpose=True)
    assert same(d, load_mnist(folder, transpose=False))
    assert torch.equal(t.x_train.unflatten(1, (4,4)), d.x_train.unflatten(1, (4,4)).mT)


# The download, from a server that stands in for the mirror

@pytest.fixture
def host(folder):
    "URL of a server for `folder`, and the paths that it was asked for"
    asked = []
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args): super().__init__(*args, directory=str(folder))
        def log_message(self, *args): asked.append(self.path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/',asked
        server.shutdown()

def hashes(folder): return {n:hashlib.sha256((folder/n).read_bytes()).hexdigest() for n in TRAIN+TEST}

def test_download(folder, host, tmp_path_factory):
    url,asked = host
    cache,sha = tmp_path_factory.mktemp('cache'),hashes(folder)
    a = load_mnist(cache=cache, url=url, sha256=sha)
    assert len(asked)==4 and torch.equal(a.x_train, load_mnist(folder).x_train)
    load_mnist(cache=cache, url=url, sha256=sha)
    assert len(asked)==4 # kept

def test_cache_is_checked(folder, host, tmp_path_factory):
    url,asked = host
    cache,sha = tmp_path_factory.mktemp('cache'),hashes(folder)
    (cache/TRAIN[0]).write_bytes(b'half a file')
    load_mnist(cache=cache, url=url, sha256=sha)
    assert len(asked)==4

def test_download_of_other_bytes(folder, host, tmp_path_factory):
    cache = tmp_path_factory.mktemp('cache')
    with pytest.raises(CheckError) as e: fetch_mnist(cache, host[0]) # the hashes of the real files
    for w in (host[0]+TRAIN[0], 'SHA-256', MNIST_SHA256[TRAIN[0]], '--data-dir'): assert w in str(e.value)
    assert not list(cache.iterdir())

def test_not_on_the_host(folder, host, tmp_path_factory):
    sha = hashes(folder)
    (folder/TEST[0]).unlink()
    with pytest.raises(CheckError, match='download.*404'): fetch_mnist(tmp_path_factory.mktemp('cache'), host[0], sha)

def test_no_host(tmp_path):
    with pytest.raises(CheckError, match='download: expected an answer') as e: fetch_mnist(tmp_path, 'http://127.0.0.1:9/')
    assert '--data-dir' in str(e.value) and str(e.value).isprintable()


# Splits

def test_digits():
    d = load_digits()
    assert (len(d.x_train), len(d.x_test)) == (1437, 360)
    rows = torch.cat([d.x_train, d.x_test])
    from sklearn import datasets
    x,y = datasets.load_digits(return_X_y=True)
    assert sorted((rows*16).int().tolist())==sorted(x.astype(int).tolist())
    from sklearn.model_selection import train_test_split
    parts = train_test_split(x, y, test_size=.2, stratify=y, random_state=0)
    for a,b in zip((d.x_train*16, d.x_test*16, d.y_train, d.y_test), parts): assert (a.numpy()==b).all()

def test_nan_in_data():
    d = load_digits()
    for bad,word in ((torch.nan, 'nan'), (torch.inf, 'inf'), (1.5, '[0, 1], found 1.5'), (-1., 'found -1')):
        x = d.x_train.clone()
        x[3,5] = bad
        with pytest.raises(CheckError) as e: Samples(x, d.y_train, d.in_shape, 10, d.scale, 'digits train')
        assert word in str(e.value) and 'digits train' in str(e.value)

@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(4, 30), st.integers(0, 3))
def test_hold_out(classes, n, seed):
    y = torch.arange(classes*n)%classes
    a,b = hold_out(y, .25, seed)
    assert sorted(a.tolist()+b.tolist())==list(range(len(y)))
    counts = y[b].bincount(minlength=classes)
    assert counts.max()-counts.min()<=1 and len(b)==-(-len(y)//4)

@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(.05, .9), st.booleans(), st.integers(0, 2**32-1))
def test_hold_out_is_that_of_scikit_learn(more, share, counted, seed):
    from sklearn.model_selection import train_test_split
    y = torch.tensor([*range(4)]*4+more)
    size = max(4, min(len(y)-4, int(share*len(y)))) if counted else share
    if not counted and not 4<=np.ceil(share*len(y))<=len(y)-4: return
    want = train_test_split(np.arange(len(y)), test_size=size, stratify=y, random_state=seed)
    for a,b in zip(hold_out(y, size, seed), want): assert a.dtype==torch.int64 and (a.numpy()==b).all()

def test_digits_of_a_scikit_learn_that_keeps_them_elsewhere(monkeypatch):
    from quarantion.data import digits
    want = load_digits()
    monkeypatch.setattr(digits, 'find_spec', lambda name: None)
    got = load_digits()
    assert all((getattr(want, k)==getattr(got, k)).all() for k in ('x_train','y_train','x_test','y_test'))

def test_labels():
    with pytest.raises(CheckError, match='label of sample 2: expected in 0..1, found -1'):
        Samples(torch.zeros(3, 2), torch.tensor([0,1,-1]), classes=2, name='')


def test_a_file_that_unpacks_to_more_than_it_declares_stops_there(tmp_path):
    "A gigabyte of zeros in a megabyte: what its header says is read, and one byte"
    import gzip, tracemalloc
    data = bytes([0,0,8,1])+np.array([10], '>i4').tobytes()
    packed = gzip.compress(data+bytes(2**27))
    (tmp_path/'bomb.gz').write_bytes(packed)
    tracemalloc.start()
    refused(tmp_path/'bomb.gz', 'size', '18 bytes')
    assert tracemalloc.get_traced_memory()[1]<4*len(packed)+2**20
    tracemalloc.stop()
    (tmp_path/'whole.gz').write_bytes(gzip.compress(data+bytes(10)))
    assert read_idx(tmp_path/'whole.gz').tolist()==[0]*10


def test_a_packed_file_that_holds_what_its_huge_header_says_is_refused_before_it_is_unpacked(tmp_path):
    "Memory stays that of the file; what gunzip makes of it is read"
    import gzip, tracemalloc
    data = bytes([0,0,8,2])+np.array([2**7,2**20], '>i4').tobytes()+bytes(2**27)
    packed = gzip.compress(data, mtime=0)
    (tmp_path/'zeros.gz').write_bytes(packed)
    tracemalloc.start()
    refused(tmp_path/'zeros.gz', 'size', f'at most {max(100*len(packed), 2**20)} bytes', f'{len(data)} bytes by its header', 'gunzip')
    assert tracemalloc.get_traced_memory()[1]<4*len(packed)+2**20
    tracemalloc.stop()
    (tmp_path/'zeros').write_bytes(data)
    assert read_idx(tmp_path/'zeros').shape==(2**7,2**20)


@pytest.mark.parametrize('dtype', ['u1', 'f4'])
def test_what_is_unpacked_is_held_twice_at_most(tmp_path, dtype):
    "Once where it has one byte order; packed five times, as MNIST is, that is not four times the file, but four times what it holds"
    import tracemalloc
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (200,28,28))*(rng.random((200,28,28))<.19)).astype(dtype)
    write_idx(tmp_path/'x.gz', x)
    read_idx(tmp_path/'x.gz') # the first call imports
    tracemalloc.start()
    got = read_idx(tmp_path/'x.gz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    got[0,0,0] += 1 # its owner may write
    assert (got.ravel()[1:]==x.ravel()[1:]).all() and got.dtype==dtype and peak<(1.3 if dtype=='u1' else 2.6)*x.nbytes+2*(tmp_path/'x.gz').stat().st_size+2**18, peak/x.nbytes
