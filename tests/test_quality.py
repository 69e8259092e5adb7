"Faults that are planted in data are found, clean data have none, and both within a time and a memory"
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ks_2samp

from quarantion.checks import CheckError
from quarantion.data.digits import load_digits
from quarantion.data.leakage import look_alikes, near_rows, same_rows, typical_distance
from quarantion.data.quality import Limits, Raw, check, raw_of, survey, worst
from quarantion.data.shift import drift
from quarantion.files import check_audit, read_jsonl
from quarantion.train.config import Config, stored_of
from quarantion.train.job import refused, settings


def digits(seed=0, **changed): return raw_of(load_digits(seed=seed))._replace(**changed)
def errors(d, **how): return [(f.what,f.where) for f in worst(check(d, **how))]
def images(d, part='test'): return getattr(d, f'x_{part}').numpy().copy()


@pytest.mark.parametrize('seed', range(20))
def test_clean_digits_give_no_error_and_no_warning(seed):
    assert {f.level for f in check(load_digits(seed=seed))}<={'note'}


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(20, 220))
def test_many_more_splits_give_no_error_and_no_warning(seed):
    assert {f.level for f in check(load_digits(test_size=(.1,.2,.3,.5)[seed%4], seed=seed))}<={'note'}


@pytest.mark.parametrize('seed', range(3))
def test_ten_copied_test_rows(seed):
    d,rng = digits(seed),np.random.default_rng(seed)
    x,at = images(d),rng.permutation(360)[:10]
    x[at] = images(d, 'train')[rng.permutation(1437)[:10]]
    v = survey(d._replace(x_test=x))
    assert [f.what for f in worst(v.findings)]==['same as rows of digits train']
    assert worst(v.findings)[0].found.startswith('10 of 360: ')
    assert set(np.flatnonzero(v.copies.same>=0))=={*at}


@pytest.mark.parametrize('seed', range(3))
def test_near_copies(seed):
    d,rng = digits(seed),np.random.default_rng(seed)
    x = images(d)
    x[:10] = (images(d, 'train')[:10]+rng.normal(0, .01, (10,64))).clip(0, 1)
    found = worst(check(d._replace(x_test=x)))
    assert [f.what for f in found]==['nearly the same as rows of digits train'] and '10 of 360: 0 = 0, 1 = 1' in found[0].found


@pytest.mark.parametrize('change', [lambda i: .6*i+.3, lambda i: np.roll(i, 1, 2), lambda i: .5*np.roll(i, -1, 2)])
def test_pictures_that_only_look_the_same_are_a_warning(change):
    d = digits()
    x,own = images(d),images(d, 'train').reshape(-1,8,8)
    free = np.flatnonzero((own[:,:,[0,7]]==0).all((1,2)))[:10] # so that a shift cuts nothing off
    x[:10] = change(own[free]).reshape(10,64)
    found = [f for f in check(d._replace(x_test=x)) if f.what.startswith('looks like')]
    assert len(found)==1 and found[0].level=='warning' and found[0].found.startswith('10 of 360: ')
    assert look_alikes(x, (1,8,8), images(d, 'train')).row[:10].tolist()==free.tolist()


@pytest.mark.parametrize('part', ['train','test'])
@pytest.mark.parametrize('seed', range(3))
def test_five_per_cent_of_swapped_labels(seed, part):
    d,rng = digits(seed),np.random.default_rng(seed)
    y = getattr(d, f'y_{part}').numpy().copy()
    at = rng.permutation(len(y))[:len(y)//20]
    y[at] = (y[at]+rng.integers(1, 10, len(at)))%10
    assert ('labels',f'digits {part}') in errors(d._replace(**{f'y_{part}':y}))


@pytest.mark.parametrize('change', [lambda i: np.roll(i, 1, 1), lambda i: np.roll(i, 1, 2), lambda i: i*.9, lambda i: i.transpose(0,2,1)])
def test_a_shifted_part(change):
    d = digits()
    assert ('features','digits test') in errors(d._replace(x_test=change(images(d).reshape(-1,8,8)).reshape(-1,64)))


def test_shares_of_classes_that_differ():
    d = digits()
    keep = np.flatnonzero((d.y_test.numpy()<5)|(np.arange(360)%4==0))
    assert ('shares of classes','digits test') in errors(d._replace(x_test=d.x_test[keep], y_test=d.y_test[keep]))


@pytest.mark.parametrize('bad,what', [(np.nan,'NaN'), (np.inf,'infinity'), (-np.inf,'infinity')])
def test_one_sequence_of_many(bad, what):
    rng = np.random.default_rng(0)
    x = rng.random((40,12,6)).astype(np.float32)
    x[17,3,2] = bad
    d = Raw(x, np.arange(40)%2, rng.random((20,12,6)), np.arange(20)%2, in_shape=(6,), classes=2, name='seq')
    f = worst(check(d))[0]
    assert f[1:5]==(what, 'seq train', 'finite numbers', '1 in 1 of 40 sequences: sequence 17; the first at [17, 3, 2]')


@pytest.mark.parametrize('value,row', [(1.5,7), (-.2,300)])
def test_samples_outside_of_the_range(value, row):
    d = digits()
    x = images(d)
    x[row,20] = value
    f = next(f for f in check(d._replace(x_test=x)) if f.what=='values')
    lo,hi = min(0, value),max(1, value)
    assert f[:5]==('error', 'values', 'digits test', 'in [0, 1]', f'{lo:g} to {hi:g} in 1 of 360 rows: row {row}')


def test_counts_may_be_large_and_not_negative():
    rng = np.random.default_rng(0)
    x = rng.poisson(1, (60,5,4)).astype(np.int16)
    d = Raw(x, np.arange(60)%2, x[::-1]+1, np.arange(60)%2, in_shape=(4,), classes=2)
    assert 'values' not in {f.what for f in check(d)}
    x[3,1,1] = -1
    assert ('values','data train') in errors(d)


@pytest.mark.parametrize('left,expected', [(0,'samples of each'), (1,'2 samples of each, or more')])
def test_a_class_with_one_sample_or_none(left, expected):
    d = digits()
    keep = np.flatnonzero(d.y_train!=4).tolist()+np.flatnonzero(d.y_train==4)[:left].tolist()
    f = next(f for f in check(d._replace(x_train=d.x_train[keep], y_train=d.y_train[keep])) if f.what=='classes')
    assert f[:4]==('error', 'classes', 'digits train', expected) and f.found.endswith('of class 4')


def test_classes_of_very_different_size_and_a_missing_one_in_the_test_part():
    d = digits()
    keep = np.flatnonzero((d.y_train.numpy()!=4)|(np.arange(1437)%8==0))
    assert ('warning','balance') in {f[:2] for f in check(d._replace(x_train=d.x_train[keep], y_train=d.y_train[keep]))}
    keep = np.flatnonzero(d.y_test!=4)
    assert ('classes','digits test') in errors(d._replace(x_test=d.x_test[keep], y_test=d.y_test[keep]))


def test_constant_features():
    d = digits()
    flat = [f for f in check(d) if f.what=='features']
    assert flat[0].level=='note' and flat[0].found.startswith('4 of 64 constant: 0, 24, 32, 39')
    assert ('features','digits train') in errors(d._replace(x_train=d.x_train*0+.5, x_test=d.x_test*0+.5))


def test_outliers():
    d = digits()
    x = images(d)
    x[[5,9]] = np.random.default_rng(0).random((2,64))
    f = [f for f in check(d._replace(x_test=x)) if f.what=='outliers']
    assert f[0][:3]==('warning','outliers','digits test') and {*f[0].found.split(': ')[1].split(', ')}=={'5','9'}


def test_copies_within_a_part_count_each_pair_once():
    d = digits()
    x,y = images(d, 'train'),d.y_train.numpy().copy()
    x[[10,20]] = x[[3,3]]; y[[10,20]] = y[3]
    x[30] = (x[4]+np.random.default_rng(0).normal(0, .01, 64)).clip(0, 1); y[30] = y[4]
    found = {f.what:f for f in check(d._replace(x_train=x, y_train=y)) if 'earlier' in f.what}
    assert found['same as earlier rows'].found=='2 of 1,437: 10 = 3, 20 = 3' and found['same as earlier rows'].level=='warning'
    assert found['nearly the same as earlier rows'].found=='1 of 1,437: 30 = 4'
    y[30] = (y[4]+1)%10
    found = {f.what:f for f in check(d._replace(x_train=x, y_train=y))}
    assert found['nearly the same as earlier rows'].level=='warning' and '1 with another label' in found['nearly the same as earlier rows'].found


def test_labels_that_are_no_class():
    d = digits()
    y = d.y_test.numpy().astype(float)
    y[[3,8]] = 10,np.nan
    f = next(f for f in worst(check(d._replace(y_test=y))) if f.what=='labels')
    assert f.expected=='in 0..9' and '3, 8' in f.found


def test_findings_are_the_same_for_rows_images_and_codes():
    d = digits()
    first = check(d)
    assert first==check(load_digits())==check(d._replace(x_train=d.x_train.reshape(-1,1,8,8), x_test=d.x_test.reshape(-1,1,8,8)))
    assert first==check(d._replace(x_train=(d.x_train*16).byte(), x_test=(d.x_test*16).byte()))


@pytest.mark.parametrize('changed,words', [
    (dict(y_test=np.zeros(3)), 'digits test: labels: expected one for each sample'),
    (dict(x_test=np.zeros((360,9))), 'digits test: features: expected 64, as in digits train, found 9'),
    (dict(x_train=np.full((1437,64), 'a')), '`digits train x`: expected real numbers')])
def test_what_is_no_data_set_is_refused(changed, words):
    with pytest.raises(CheckError) as e: check(digits(**changed))
    assert words in str(e.value)


def test_empty_parts_and_single_samples():
    d = digits()
    assert errors(d._replace(x_test=d.x_test[:0], y_test=d.y_test[:0]))==[('samples','digits test')]
    one = d._replace(x_train=d.x_train[:1], y_train=d.y_train[:1], x_test=d.x_test[:1], y_test=d.y_test[:1])
    assert ('classes','digits train') in errors(one)


def test_near_rows_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    for axes in (2,8,64,100):
        a,b = rng.random((200,90)),rng.random((150,90))
        b[:30] = a[:30]+rng.normal(0, .004, (30,90))
        a,b = a.astype('f4'),b.astype('f4')
        d = np.linalg.norm(b[:,None].astype('f8')-a[None], axis=2)
        for eps in (.03,.1,3.,3.4,50.):
            got = near_rows(b, eps, a, axes=axes)
            assert ((got.row>=0)==(d.min(1)<=eps)).all()
            assert np.allclose(got.distance[got.row>=0], d[np.arange(150),got.row][got.row>=0], atol=1e-12)
        own = np.linalg.norm(a[:,None].astype('f8')-a[None], axis=2)+np.eye(200)*99
        assert ((near_rows(a, 3.3, axes=axes).row>=0)==(own.min(1)<=3.3)).all()


def test_degenerate_rows():
    same = np.ones((500,70))
    assert (near_rows(same, 0.).row>=0).all() and (same_rows(same)[1:]==0).all() and typical_distance(same)==0
    assert (near_rows(np.eye(70)*2, .1).row==-1).all()
    assert (same_rows(np.array([[0.],[-0.]]))==[-1,0]).all()


def test_drift_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a,b = rng.integers(0, 5, (300,40)),rng.integers(0, 6, (170,40))
    assert np.allclose(drift(a, b).ks, [ks_2samp(*c).statistic for c in zip(a.T, b.T)])
    p = [drift(a[:,[i]], b[:,[i]]).p[0] for i in range(40)]
    assert np.allclose(p, [ks_2samp(*c, method='asymp').pvalue for c in zip(a.T, b.T)])


def test_limits_can_be_chosen():
    d = digits()
    assert 'nearly the same as rows of digits train' in {f.what for f in check(d, Limits(near=.25))}
    assert check(d, Limits(balance=1.01))[0].what=='balance'


CHILD = '''
import sys, time
import sklearn.neighbors, scipy.fft
from quarantion.bench.quality import _rows
from quarantion.data.leakage import look_alikes, near_rows, same_rows, typical_distance
n,m = int(sys.argv[1]),int(sys.argv[2])
a,b = _rows(n, m)
most = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])/2**10 # ru_maxrss begins with what the parent held
before,t = most(),time.perf_counter()
near = near_rows(b, .05*typical_distance(a), a)
same = same_rows(b, a)
alike = look_alikes(b, (1,28,28), a)
assert ((same>=0)|(near.row>=0)).nonzero()[0].tolist()==[*range(10)] and (alike.row[:10]>=0).all()
print(most(), most()-before, time.perf_counter()-t)
'''

@pytest.mark.skipif(sys.platform!='linux', reason='peak memory is read as Linux tells it')
@pytest.mark.parametrize('n,m,mib,more,seconds', [
    (6_000, 1_000, 1_000, 150, 60),
    pytest.param(60_000, 10_000, 2_000, 700, 30, marks=pytest.mark.soak)])
def test_leakage_within_time_and_memory(n, m, mib, more, seconds):
    r = subprocess.run([sys.executable, '-c', CHILD, str(n), str(m)], capture_output=True, text=True, check=True,
                       env=os.environ|dict(OMP_NUM_THREADS='2'), timeout=600)
    whole,grown,took = map(float, r.stdout.split())
    assert whole<mib and grown<more and took<seconds, r.stdout


SMALL = '--epochs', '1', '--qat-epochs', '1', '--hidden', '8', '--steps', '5'

@pytest.fixture
def here(here, tmp_path, monkeypatch):
    "Run `quarantion` in a folder of its own"
    monkeypatch.chdir(tmp_path)
    return here


def folder(path, leaks): # Of arrays, as `npy:FOLDER` reads them
    d = load_digits()
    x = images(d)
    x[:leaks] = images(d, 'train')[:leaks]
    path.mkdir()
    named = dict(x_train=images(d, 'train').reshape(-1,8,8), y_train=d.y_train.numpy(), x_test=x.reshape(-1,8,8), y_test=d.y_test.numpy())
    for k,v in named.items(): np.save(path/f'{k}.npy', v)
    return f'npy:{path}'


def test_report_of_clean_data(here, tmp_path):
    code,out,err = here('report', '--data', 'digits')
    assert code==0 and 'constant' in out and err=='page: digits-quality/findings.html\n'
    assert {p.name for p in (tmp_path/'digits-quality').iterdir()}=={'findings.html','classes.png','drift.png'}


def test_report_of_leaky_data(here, tmp_path):
    data = folder(tmp_path/'mine', 10)
    code,out,err = here('report', '--data', data, '--out', tmp_path/'page', '--json')
    said = json.loads(out)
    assert code==1 and said['errors']==1 and said['findings'][0]['found'].startswith('10 of 360: 0 = 0')
    assert {*said['findings'][0]}=={'level','what','where','expected','found','fix'} and err.count('\n')==1
    assert (tmp_path/'page'/'leakage.png').read_bytes()[:4]==b'\x89PNG' and 'Leakage found' in (tmp_path/'page'/'findings.html').read_text()


@pytest.mark.parametrize('args,words', [
    ((), 'expected a run directory, or --data NAME, found none'),
    (('runs/x','--data','digits'), 'found both'),
    (('--data','digits','--show','size'), '`--show`: expected with a run'),
    (('runs/x','--data-dir','here'), '`--data-dir`: expected with --data'),
    (('--data','cifar'), "`data`: expected one of digits"),
    (('--data','digits','--out','file'), 'one that can be made')])
def test_report_refuses(here, tmp_path, args, words):
    (tmp_path/'file').write_text('')
    code,out,err = here('report', *args)
    assert (code,out)==(2,'') and words in err and err.count('\n')==1


def test_a_run_stops_before_training(here, tmp_path):
    data = folder(tmp_path/'mine', 10)
    code,out,err = here('run', *SMALL, '--data', data, '--check-data', '--out', 'runs')
    run, = (tmp_path/'runs').iterdir()
    assert (code,out)==(1,'') and 'same as rows of' in err and err.endswith('stopped before training, by --check-data\n')
    log = read_jsonl(run/'audit.jsonl')
    check_audit(run/'audit.jsonl')
    assert [l['event'] for l in log]==['started','refused'] and log[1]['facts']['findings'][0]['level']=='error'
    assert not (run/'metrics.jsonl').exists() and not (run/'manifest.json').exists() and len(refused(run))==1
    assert 'fix' in log[1]['facts']['findings'][0]
    assert here('run', '--resume', run)[0]==1 # the data are still the same


def test_a_run_on_clean_data_says_what_was_found(here, tmp_path):
    code,out,err = here('run', *SMALL, '--check-data', '--out', 'runs')
    run, = (tmp_path/'runs').iterdir()
    assert code==0 and [l['event'] for l in read_jsonl(run/'audit.jsonl')][:2]==['started','checked']
    assert settings(run).check_data and here('verify', run)[0]==0
    assert 'check_data' not in stored_of(Config()) and stored_of(Config(check_data=True))['check_data'] is True


def test_without_check_data_nothing_is_checked(here, tmp_path, monkeypatch):
    monkeypatch.setattr('quarantion.train.job.check', lambda split: 1/0)
    assert here('run', *SMALL, '--policy', 'float', '--qat-epochs', '0', '--out', 'runs')[0]==0

def test_parts_of_a_few_samples_are_not_sure_to_differ():
    rng = np.random.default_rng(0)
    for n,m in ((1,1), (2,2), (3,3), (5,5), (60,1), (3,40)):
        apart = drift(np.zeros((n,1)), np.ones((m,1))).p[0]
        assert np.isclose(apart, ks_2samp(np.zeros(n), np.ones(m), method='exact').pvalue, rtol=1e-6)
        assert drift(rng.random((n,64)), rng.random((m,64))).p.min()>.001

def test_numbers_beyond_float32():
    d = raw_of(digits())
    x = np.asarray(d.x_train, np.float64).copy()
    x[7,3] = 1e300
    found = check(d._replace(x_train=x))
    assert [(f.level,f.what,f.found) for f in found if f.level=='error']==[('error','values','0 to inf in 1 of 1,437 rows: row 7')]
