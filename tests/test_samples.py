"Samples of any shape: what a folder holds, how it is read, and runs on it from the beginning to the proof"
import hashlib, json, os, shutil, subprocess, sys, warnings
from dataclasses import replace
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.data.folders import load_events, load_npy
from quarantion.data.idx import load_idx, write_idx
from quarantion.data.moving import moving_digits
from quarantion.data.samples import Samples, Split, digest, pictures
from quarantion.train.config import Config
from quarantion.train.job import load_data, settings as settings_of, start

# QAT with so few epochs may warn of a coarse threshold
pytestmark = pytest.mark.filterwarnings('default:a threshold of')
DIE = '''import os, pathlib, signal
real,count = os.fsync,[0]
def fsync(fd):
    count[0] += 'last.safetensors' in pathlib.Path(os.readlink(f'/proc/self/fd/{fd}')).name
    if count[0]==2: os.kill(os.getpid(), signal.SIGKILL)
    return real(fd)
os.fsync = fsync'''

def command(*args, before=''):
    "Exit code, stdout and stderr of `quarantion`"
    r = subprocess.run([sys.executable, '-c', f'{before}\nfrom quarantion.cli import main; main()', *map(str, args)],
        capture_output=True, text=True, timeout=300, env=os.environ|dict(OMP_NUM_THREADS='1'))
    return r.returncode,r.stdout,r.stderr

def whole_run(folder, out, *args):
    "Two runs of the same settings, one of them killed and resumed, are proved and have the same bytes; the result of one"
    args = ['run', '--epochs', '5', '--qat-epochs', '1', '--hidden', '32', *args]
    code,said,err = command(*args, '--json', '--out', out/'whole')
    assert code==0, err
    assert command(*args, '--out', out/'killed', before=DIE)[0]==-9
    whole,killed = (next((out/k).iterdir()) for k in ('whole','killed'))
    code,_,err = command('run', '--resume', killed)
    assert code==0, err
    for f in 'model.safetensors','integer.safetensors':
        assert hashlib.sha256((whole/f).read_bytes()).digest()==hashlib.sha256((killed/f).read_bytes()).digest(), f
    code,_,err = command('verify', killed)
    assert code==0, err
    got = json.loads(said)
    assert got['mismatches']==0 and got['spikes']>0
    return got,whole


@pytest.fixture(scope='module')
def digits():
    d = load_digits()
    return {k:(getattr(d, k)*(16 if k[0]=='x' else 1)).numpy() for k in ('x_train','y_train','x_test','y_test')}

def test_arrays_run_resume_and_prove(digits, tmp_path):
    for k,a in digits.items(): np.save(tmp_path/f'{k}.npy', a.reshape(-1, 8, 8).astype(np.float32)/16 if k[0]=='x' else a)
    got,run = whole_run(tmp_path, tmp_path/'runs', '--data', f'npy:{tmp_path}', '--steps', '8')
    assert got['test_accuracy']>.7 and run.name.startswith('npy-') and got['data']==f'npy:{tmp_path}'
    page = (run/'report.html').read_text()
    assert 'npy:' in page

def test_arrays_over_time_run_resume_and_prove(digits, tmp_path):
    "Digits row by row: eight steps of eight values"
    for k,a in digits.items(): np.save(tmp_path/f'{k}.npy', a.reshape(-1, 8, 8).astype(np.float32)/16 if k[0]=='x' else a)
    got,run = whole_run(tmp_path, tmp_path/'runs', '--data', f'npy:{tmp_path}', '--encode', 'series')
    assert settings_of(run).steps==8 and got['test_accuracy']>.25
    code,_,err = command('run', '--data', f'npy:{tmp_path}', '--encode', 'series', '--steps', '9', '--out', tmp_path/'none')
    assert code==2 and '`steps`: expected 8, as the samples have, found 9' in err and not (tmp_path/'none').exists()

def test_idx_run_resume_and_prove(digits, tmp_path):
    for k,a in digits.items():
        name = dict(x='images-idx3', y='labels-idx1')[k[0]]
        write_idx(tmp_path/f'{k[2:].replace("test","t10k")}-{name}-ubyte.gz', (a.reshape(-1, 8, 8)*15 if k[0]=='x' else a).astype(np.uint8))
    got,_ = whole_run(tmp_path, tmp_path/'runs', '--data', f'idx:{tmp_path}', '--steps', '8', '--batch', '64')
    assert got['test_accuracy']>.5

def save_events(folder, n=120):
    r = moving_digits(n=n, seed=1)
    for i,(e,label) in enumerate(r):
        f = folder/str(label%2)/f'{i}.npz'
        f.parent.mkdir(parents=True, exist_ok=True)
        np.savez(f, **{k:e[k] for k in 'txyp'})
    return 'x'.join(map(str, r.shape))

def test_events_run_resume_and_prove(tmp_path):
    sensor = save_events(tmp_path/'rec')
    got,run = whole_run(tmp_path, tmp_path/'runs', '--data', f'events:{tmp_path/"rec"}', '--sensor', sensor, '--steps', '10', '--epochs', '6')
    assert got['test_accuracy']>.6 and settings_of(run).encode=='series'
    code,out,err = command('report', run, '--show', 'cost', '--json')
    assert code==0, err

def test_samples_that_changed_are_refused(digits, tmp_path):
    for k,a in digits.items(): np.save(tmp_path/f'{k}.npy', a.astype(np.float32)/16 if k[0]=='x' else a)
    args = '--data', f'npy:{tmp_path}', '--steps', '4', '--hidden', '8', '--epochs', '2', '--qat-epochs', '1', '--out', tmp_path/'runs'
    assert command('run', *args, before=DIE)[0]==-9
    run = next((tmp_path/'runs').iterdir())
    x = np.load(tmp_path/'x_test.npy')
    x[7,3] = .5-x[7,3]/2
    np.save(tmp_path/'x_test.npy', x)
    code,_,err = command('run', '--resume', run)
    assert code==2 and 'samples: expected those that it began with, of digest' in err, err
    np.save(tmp_path/'x_test.npy', digits['x_test'].astype(np.float32)/16)
    assert command('run', '--resume', run)[0]==0
    np.save(tmp_path/'x_test.npy', x)
    code,out,err = command('verify', run)
    assert code==1 and 'those that it began with' in out+err, (code,out,err)


# What samples are

def test_nan_in_one_series_of_many_is_named():
    x = torch.rand(50, 20, 3)
    x[31,7,2] = torch.nan
    with pytest.raises(CheckError, match=r'speech train x`: expected finite numbers, found nan at \[31, 7, 2\]'):
        Samples(x, torch.zeros(50, dtype=torch.int64), (3,), name='speech train')

@pytest.mark.parametrize('value', [1.001, -.001, 255.])
def test_values_out_of_range(value):
    x = torch.rand(5, 4)
    x[2,1] = value
    with pytest.raises(CheckError, match=r'in \[0, 1\]'): Samples(x, torch.zeros(5, dtype=torch.int64))

def test_a_class_with_one_sample(tmp_path):
    np.save(tmp_path/'x.npy', np.random.rand(30, 4).astype(np.float32))
    np.save(tmp_path/'y.npy', np.array([2]+[0,1]*14+[0]))
    with pytest.raises(CheckError, match='class 2: expected 2 samples or more, for one in each part, found 1'): load_npy(tmp_path)

def test_parts_of_other_shapes(tmp_path):
    for part,p in (('train',4), ('test',5)):
        np.save(tmp_path/f'x_{part}.npy', np.random.rand(30, p).astype(np.float32))
        np.save(tmp_path/f'y_{part}.npy', np.arange(30)%3)
    with pytest.raises(CheckError, match=r'`in_shape` of the test samples: expected \(4,\)'): load_npy(tmp_path)

@pytest.mark.parametrize('names,words', [(['x_train'], 'y_train.npy'), (['y_train'], 'x_train.npy and y_train.npy'), (['x_train','y_train','x_test'], 'y_test.npy')])
def test_a_file_that_is_missing(tmp_path, names, words):
    for k in names: np.save(tmp_path/f'{k}.npy', np.random.rand(30, 4).astype(np.float32) if k[0]=='x' else np.arange(30)%3)
    with pytest.raises(CheckError) as e: load_npy(tmp_path)
    assert words in str(e.value)

@pytest.mark.parametrize('a,words', [(np.zeros((6,4), '<U3'), 'dtype'), (np.zeros((6,4), complex), 'dtype'), (np.zeros((6,4), np.int16), 'floats in [0, 1], uint8 or bool'),
    (np.zeros((0,4), np.float32), 'at least one'), (np.zeros(6, np.float32), 'at least one'), (np.array([object()]*6), 'dtype')])
def test_arrays_that_are_no_samples(tmp_path, a, words):
    np.save(tmp_path/'x.npy', a, allow_pickle=True)
    np.save(tmp_path/'y.npy', np.arange(len(a))%2)
    with pytest.raises(CheckError) as e: load_npy(tmp_path)
    assert words in str(e.value)

def test_counts_beyond_a_code(tmp_path):
    for bad in (-1, 256):
        x = np.ones((20,5,3), np.int32)
        x[4,2,1] = bad
        np.save(tmp_path/'x.npy', x); np.save(tmp_path/'y.npy', np.arange(20)%2)
        with pytest.raises(CheckError, match='counts: expected in 0..255'): load_npy(tmp_path, series=True)

def test_files_of_classes_have_one_shape(tmp_path):
    for c in 'ab':
        (tmp_path/c).mkdir()
        for i in range(3): np.save(tmp_path/c/f'{i}.npy', np.zeros((2,2+(c=='b' and i==1)), np.float32))
    with pytest.raises(CheckError, match=r'b/1.npy: sample: expected float32 of shape \(2, 2\), as the first, found float32 of shape \(2, 3\)'): load_npy(tmp_path)

def test_classes_are_counted_as_numbers(tmp_path):
    for c in range(12):
        (tmp_path/str(c)).mkdir()
        for i in range(5): np.save(tmp_path/str(c)/f'{i}.npy', np.full((2,2), c/16, np.float32))
    d = load_npy(tmp_path)
    assert torch.equal((d.x_train[:,0,0,0]*16).round().long(), d.y_train)

def test_a_class_that_is_called_train(tmp_path):
    for c in ('bus','train'):
        (tmp_path/c).mkdir()
        for i in range(5): np.save(tmp_path/c/f'{i}.npy', np.zeros((2,2), np.float32))
    assert load_npy(tmp_path).classes==2

def test_events_of_a_folder_without_all_classes(tmp_path):
    sensor = tuple(map(int, save_events(tmp_path/'train', 20).split('x')))
    save_events(tmp_path/'test', 10)
    shutil.rmtree(tmp_path/'test'/'0')
    with pytest.raises(CheckError, match='classes: expected 0, 1, as to train on, found 1'): load_events(tmp_path, sensor=sensor)

@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3))
def test_steps_and_pictures(n, c, p, t):
    shape = (c,p,2)
    x = torch.rand(n, *([t]*bool(t)), *shape)
    s = Samples(x, torch.zeros(n, dtype=torch.int64), shape)
    rows = Samples(x.flatten(1+bool(t)), s.y, shape)
    assert s.steps==rows.steps==t and len(s)==n
    assert pictures(s).shape==(n,p,2) and torch.equal(pictures(s), pictures(rows))
    assert 0<=pictures(s).min() and pictures(s).max()<=1

def test_the_digest_sees_each_value_label_and_meaning():
    d = load_digits()
    x,y = d.x_test.clone(),d.y_test.clone()
    x[5,9],y[3] = 1-x[5,9],(y[3]+1)%10
    others = [replace(d.test, x=x), replace(d.test, y=y), d.test[1:]]
    seen = {digest(Split(d.train, t, '')) for t in (d.test,*others)}|{digest(Split(d.test, d.train, '')), digest(Split(replace(d.train, scale=1.), replace(d.test, scale=1.), ''))}
    assert len(seen)==6

def test_a_run_takes_its_folder_along(tmp_path, monkeypatch):
    np.save(tmp_path/'x.npy', np.random.rand(30, 4).astype(np.float32)); np.save(tmp_path/'y.npy', np.arange(30)%3)
    monkeypatch.chdir(tmp_path)
    run = start(Config(data='npy:.'), tmp_path/'runs')
    monkeypatch.chdir('/')
    assert len(load_data(settings_of(run)).train)==24

def test_one_set_of_emnist_of_several(tmp_path):
    for k in ('letters','balanced'):
        for part in ('train','test'):
            write_idx(tmp_path/f'emnist-{k}-{part}-images-idx3-ubyte', np.zeros((8,3,3), np.uint8))
            write_idx(tmp_path/f'emnist-{k}-{part}-labels-idx1-ubyte', (np.arange(8)%4+(k=='letters')).astype(np.uint8))
    with pytest.raises(CheckError, match='emnist-letters, emnist-balanced; name one of these, such as .*emnist-balanced'): load_idx(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        assert load_idx(tmp_path/'emnist-letters').classes==4
    assert 'labels are 1 to 4; they are counted from 0' in str(said[0].message) and 'transposed' in str(said[1].message)
    with pytest.raises(CheckError, match='a folder with IDX files'): load_idx(tmp_path/'emnist-digit')

# What would be misread in silence

def arrays(folder, **named):
    folder.mkdir(exist_ok=True)
    for k,a in named.items(): np.save(folder/f'{k}.npy', a)
    return folder

X = np.linspace(0, 1, 240, dtype=np.float32).reshape(60, 4)

def test_a_class_of_the_test_samples_that_is_never_learnt_is_said(tmp_path):
    y = np.arange(60)%3
    with pytest.warns(UserWarning, match='6 test samples are of classes that no training sample has, such as 3, 4'):
        load_npy(arrays(tmp_path/'a', x_train=X, y_train=y, x_test=X[:9], y_test=y[:9]+2))
    for part,l in (('train',y), ('t10k',y+1)):
        write_idx(tmp_path/f'{part}-images-idx3-ubyte', np.zeros((60,2,2), np.uint8))
        write_idx(tmp_path/f'{part}-labels-idx1-ubyte', l.astype(np.uint8))
    with pytest.warns(UserWarning, match='20 test samples are of classes .* such as 3'): load_idx(tmp_path)

@pytest.mark.parametrize('label, words', [(10**9, 'labels: expected below 60, the number of samples, found 1000000000'),
    (2**63+5, 'label 1: expected at least 0, and below 2\\*\\*31, found 9223372036854775813'), (60, 'expected below 60')])
def test_labels_that_count_no_classes(tmp_path, label, words):
    y = (np.arange(60)%3).astype(np.uint64)
    y[y==1] = label
    with pytest.raises(CheckError, match=words): load_npy(arrays(tmp_path, x=X, y=y))

@pytest.mark.parametrize('other', ['train', 'test'])
def test_samples_in_parts_and_whole(tmp_path, other):
    y = np.arange(60)%3
    with pytest.raises(CheckError, match=f'files: expected x.npy or x_{other}.npy, found both'):
        load_npy(arrays(tmp_path, x=X, y=y, **{f'x_{other}':X[:9], f'y_{other}':y[:9]}))

def test_hidden_files_are_no_samples(tmp_path):
    for c in 'ab':
        for i in range(5): arrays(tmp_path/c, **{str(i):X[i]})
        (tmp_path/c/'._0.npy').write_bytes(b'of another system')
    assert sum(map(len, (load_npy(tmp_path).train, load_npy(tmp_path).test)))==10

def test_a_class_without_recordings_is_named(tmp_path):
    sensor = tuple(map(int, save_events(tmp_path, 10).split('x')))
    (tmp_path/'2').mkdir()
    with pytest.raises(CheckError, match='/2: class: expected files that end in .bin, .aedat, .npz, .csv, found none'):
        load_events(tmp_path, sensor=sensor)

def test_a_single_class_is_refused(tmp_path):
    for i in range(5): arrays(tmp_path/'a', **{str(i):X[i]})
    with pytest.raises(CheckError, match='classes: expected two or more, found one, of which any answer is right'): load_npy(tmp_path)

def test_signed_bytes_are_no_pixels(tmp_path):
    np.save(tmp_path/'x.npy', np.random.default_rng(0).integers(0, 100, (20,5,3)).astype(np.int8)); np.save(tmp_path/'y.npy', np.arange(20)%2)
    with pytest.raises(CheckError, match='floats in .0, 1., uint8 or bool, found int8'): load_npy(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert load_npy(tmp_path, series=True).scale==1 # counts

def test_folders_that_are_not_read_are_said(tmp_path):
    for part in ('train','test','val'):
        for c in 'ab':
            (tmp_path/part/c).mkdir(parents=True)
            for i in range(3): np.save(tmp_path/part/c/f'{i}.npy', np.zeros((2,2), np.float32))
    with pytest.warns(UserWarning, match='only train and test are read, expected no other folders, found val'): load_npy(tmp_path)

def test_a_sensor_that_nobody_asked_for_is_doubted(tmp_path):
    from quarantion.data.events import make_events
    for c in range(2):
        for i in range(4):
            e = make_events(np.arange(0, 1000, 50), np.arange(20)%12, np.arange(20)%9)
            f = tmp_path/str(c)/f'{i}.npz'
            f.parent.mkdir(exist_ok=True)
            np.savez(f, **{k:e[k] for k in 'txyp'})
    with pytest.warns(UserWarning, match='the sensor is taken as 2x34x34, expected events all over it, found 12 x 9 places; say `sensor`'): load_events(tmp_path, 5)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_events(tmp_path, 5, sensor=(2,9,12))

def test_no_classes(tmp_path):
    for k in (0,-1):
        write_idx(tmp_path/'train-images-idx3-ubyte', np.zeros((8,3,3), np.uint8)); write_idx(tmp_path/'train-labels-idx1-ubyte', (np.arange(8)%2).astype(np.uint8))
        with pytest.raises(CheckError, match='classes'): load_idx(tmp_path, classes=k)

@pytest.mark.parametrize('audit', [b'', b'{"event":"started","facts":{"seed":0}}\n', b'{"event":"started","facts":3}\n'])
def test_a_log_without_a_digest_is_no_traceback(tmp_path, audit):
    "Runs of before have none; whether a log is whole, `check_audit` says"
    from quarantion.train.checkpoints import check_same
    (tmp_path/'audit.jsonl').write_bytes(audit)
    check_same(tmp_path, load_digits())
