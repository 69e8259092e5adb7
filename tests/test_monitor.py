"A monitor says of a stream whether it is still like the calibration: when, how often for nothing, and what it refuses"
import json
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from quarantion.checks import CheckError, Finding
from quarantion.cli import main
from quarantion.data.digits import load_digits
from quarantion.data.shift import ks_distance, stability_index
from quarantion.files import save_tensors
from quarantion.runtime import DriftMonitor, load, load_sketch, save_sketch, sketch
from quarantion.runtime.calibration import FORMAT, Sketch, looked
from quarantion.runtime.monitor import BLOCK, references, verdict_of, watch_start, watch_step

PROGRAM = Path(__file__).parents[1]/'nbs'/'measured'/'digits.safetensors'


@pytest.fixture(scope='module')
def net(): return load(PROGRAM)
@pytest.fixture(scope='module')
def held(): return load_digits().x_test.numpy()
@pytest.fixture(scope='module')
def made(net, held): return sketch(net, held[:256])


def drawn(seed, n=256): return np.random.default_rng(seed).normal(size=n)
def one(values): return references(Sketch('a', ('margin',), np.sort(values)[None].astype(float)))
def alarms(refs, values): return watch_step(refs, watch_start(refs), dict(margin=values))[0].alarms


def test_a_program_is_the_same_with_a_sketch_beside_it(net, made, tmp_path):
    net.save(tmp_path/'net.safetensors')
    before = (tmp_path/'net.safetensors').read_bytes()
    save_sketch(made, tmp_path/'sketch.safetensors')
    again = load_sketch(tmp_path/'sketch.safetensors')
    assert (tmp_path/'net.safetensors').read_bytes()==before
    assert again[:2]==made[:2] and np.array_equal(again.values, made.values) and again.of==net.digest
    assert again.places==('input','layer 0','margin')


def test_answers_are_those_of_the_program(net, made, held):
    m = DriftMonitor(net, made)
    said = [m.classify(v[None])[0] for v in held[:130]]
    assert said==net.classify(held[:130]).tolist()
    for x in held[:0],held[:2],held[:3],held: assert np.array_equal(m.classify(x), net.classify(x))
    assert m.verdict.samples==130+2+3+len(held)


def test_margins_are_the_same_one_by_one_in_batches_and_of_a_record(net, made, held):
    by = []
    for feed in (lambda m: [m.classify(v[None]) for v in held[:200]], lambda m: [m.classify(held[:77]), m.classify(held[77:200])],
                 lambda m: m.update(net.record(held[:200]), held[:200])):
        m = DriftMonitor(net, made)
        feed(m)
        assert m.verdict.level in ('OK','WARN')
        by.append(m.state[-1])
    for s in by[1:]:
        assert s.samples==200 and np.array_equal(s.counts, by[0].counts) and s.alarms==by[0].alarms
        assert np.allclose([s.up,s.down,s.total], [by[0].up,by[0].down,by[0].total])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32-1), st.lists(st.integers(1, 400), min_size=1, max_size=6), st.floats(-1, 1), st.integers(1, 20))
def test_how_a_stream_is_cut_changes_nothing(seed, cuts, by, ties):
    rng = np.random.default_rng(seed)
    coarse = lambda v: np.round(v*ties)
    refs,v = one(coarse(rng.normal(size=300))),coarse(rng.normal(by, 1, sum(cuts)))
    whole,parts = watch_step(refs, watch_start(refs), dict(margin=v)),watch_start(refs)
    for b in np.split(v, np.cumsum(cuts)[:-1]): parts = watch_step(refs, parts, dict(margin=b))
    for a,b in zip(whole[0], parts[0]): assert a is b is None or np.allclose(a, b)
    assert verdict_of(refs, whole).level==verdict_of(refs, parts).level


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32-1), st.sampled_from(['exp', 'cube', 'scale']))
def test_only_the_order_of_values_counts(seed, how):
    f = dict(exp=np.exp, cube=lambda v: v**3, scale=lambda v: 1e-9*v+7)[how]
    rng = np.random.default_rng(seed)
    c,v = rng.normal(size=200),rng.normal(.3, 1, 300)
    v = np.concatenate([c,v])[rng.permutation(500)[:300]] # those of the calibration have their own scores
    inside = v[np.isin(v, c)]
    a,b = (watch_step(one(g(c)), watch_start(one(c)), dict(margin=g(inside)))[0] for g in (lambda v: v,f))
    assert a.alarms==b.alarms and np.allclose([a.up,a.down,a.total], [b.up,b.down,b.total])


def test_half_a_deviation_is_found_and_little_is_found_for_nothing():
    took,false = [],0
    for k in range(200): # rates are of many calibrations: few of them give most of the alarms
        refs = one(drawn(k))
        false += alarms(refs, drawn(1000+k, 10_000))
        if k>=40: continue
        state,new = watch_start(refs),drawn(2000+k, 400)-.5
        for t in range(0, 400, 10):
            state = watch_step(refs, state, dict(margin=new[t:t+10]))
            if state[0].alarms: break
        took.append(t+10)
    assert false<=200, false # one in 10,000 samples
    assert np.mean(np.array(took)<=200)>=.9 and np.median(took)<=120, sorted(took)


def test_a_wider_spread_is_found_by_its_index():
    refs = one(drawn(0))
    state = watch_step(refs, watch_start(refs), dict(margin=1.8*drawn(5, 2*BLOCK)))
    v = verdict_of(refs, state)
    assert v.level=='ALARM' and v.psi['margin']>refs[0].indices[1] and v.compliance<.9


def test_an_alarm_ends_after_the_shift():
    refs = one(drawn(0))
    state = watch_step(refs, watch_start(refs), dict(margin=drawn(1, 256)-2))
    v = verdict_of(refs, state)
    assert v.level=='ALARM' and v.where=={'margin':'ALARM'} and v.shift['margin']<-1
    f, = v.findings()
    assert isinstance(f, Finding) and (f.level,f.what,f.where)==('error','drift','margin') and 'σ' in f.found
    state = watch_step(refs, state, dict(margin=drawn(3, 1024)))
    assert verdict_of(refs, state).level!='ALARM'


def test_places_that_never_moved_are_watched_too():
    refs = one(np.zeros(200))
    assert alarms(refs, np.zeros(1000))==0
    assert alarms(refs, np.full(100, 1e-3))>0


def test_a_darker_camera_is_found_in_the_input(net, made, held):
    m = DriftMonitor(net, made)
    for k in range(0, 320, 64): m.classify(held[k%256:k%256+64]*.6)
    assert m.verdict.where.get('input')=='ALARM' and set(m.verdict.psi)=={'input','layer 0','margin'}


def test_another_network_is_refused_by_name(net, made):
    for other in (replace(net, steps=24),replace(net, layers=(replace(net.layers[0], theta=net.layers[0].theta+1),net.layers[1]))):
        with pytest.raises(CheckError, match=f'`sketch`: expected one of this program, {other.digest[:12]}, found one of another, {net.digest[:12]}'):
            DriftMonitor(other, made)


def test_what_is_no_sketch_is_refused(net, made, held, tmp_path):
    f = tmp_path/'s.safetensors'
    save_sketch(made, f)
    data = f.read_bytes()
    for name,broken in (('torn',data[:-9]),('changed',data[:-1]+bytes([data[-1]^1])),('empty',b'')):
        f.write_bytes(broken)
        with pytest.raises(CheckError, match='s.safetensors'): load_sketch(f)
    head = dict(format=FORMAT, version=1, digest='', program=net.digest, places=list(made.places))
    v = made.values
    for values,more,words in ((v[:,::-1],{},'finite and sorted'), (v[:2],{},'float64 .3, N.'), (v[:,:20],{},'at least 100 samples'),
            (v,dict(version=2),'version'), (v,dict(places='x'),'places'), (v,dict(program=3),'program')):
        save_tensors(f, dict(values=np.ascontiguousarray(values)), head|more)
        with pytest.raises(CheckError, match=words): load_sketch(f)
    with pytest.raises(CheckError, match='at least 100 samples, found 5'): sketch(net, held[:5])
    with pytest.raises(CheckError, match='a Sketch'): save_sketch(dict(), f)


def test_what_is_no_record_is_refused(net, made, held):
    m,r = DriftMonitor(net, made),net.record(held[:4])
    wrong = (None,'no list'),([],'2 layers'),(r[:1],'2 layers'),(r[::-1],'of layer 0'),([replace(r[0], spk=r[0].spk*1.),r[1]],'whole numbers')
    for bad,_ in wrong:
        with pytest.raises(CheckError): m.update(bad)
    with pytest.raises(CheckError, match='finite'): m.update(r, held[:4]*np.nan)
    with pytest.raises(CheckError, match='the 4 samples of the record'): m.update(r, held[:5])
    with pytest.raises(CheckError, match='finite'): m.classify(held[:1]*np.nan)
    for v in (dict(speed=[1.]),dict(margin=[np.nan]),dict(margin=[]),dict(margin=[[1.]]),3):
        with pytest.raises(CheckError): watch_step(m.refs, m.state, v)
    assert m.verdict.samples==0 and m.verdict.compliance is None


def test_numbers_instead_of_classes_have_no_margin(net, held):
    values = replace(net, decision='values')
    s = sketch(values, held[:128])
    assert s.places==('input','layer 0')
    m = DriftMonitor(values, s)
    assert m.update(values.record(held), held).level in ('OK','WARN')
    with pytest.raises(CheckError, match='update takes records'): m.classify(held)


@pytest.mark.parametrize('decision', ['first_spike', 'max_membrane', 'population(5)', 'labels(0.5)'])
def test_every_decision_has_a_margin(net, held, decision):
    other = replace(net, decision=decision)
    seen = looked(other, other.record(held[:9]), held[:9])
    assert seen['margin'].shape==(9,) and (seen['margin']>=0).all()
    m = DriftMonitor(other, sketch(other, held[:128]))
    for x in held[:1],held[:30]: assert np.array_equal(m.classify(x), other.classify(x))
    assert m.verdict.samples==31


def test_from_the_command_line(net, held, tmp_path, capsys):
    np.save(tmp_path/'good.npy', held[:256]); np.save(tmp_path/'dark.npy', held*.6)
    def infer(name, *more):
        capsys.readouterr()
        with pytest.raises(SystemExit) as e: main(['infer',str(PROGRAM),'--input',str(tmp_path/name),'--monitor',str(tmp_path/'s.safetensors'),*more])
        return (e.value.code, *capsys.readouterr())
    code,_,err = infer('good.npy')
    assert code==0 and 'sketch of these samples' in err and load_sketch(tmp_path/'s.safetensors').of==net.digest
    code,out,err = infer('good.npy')
    assert code==0 and 'monitor: OK after 256 samples' in err and len(out.splitlines())==256
    code,out,err = infer('dark.npy', '--json')
    said = json.loads(out)['monitor']
    assert code==1 and said['level']=='ALARM' and said['where']['input']=='ALARM' and 'monitor: ALARM' in err


def test_two_statistics_that_stand_once():
    a,b = drawn(0, 400)[:,None],drawn(1, 300)[:,None]+.5
    by = max(abs((a<=v).mean()-(b<=v).mean()) for v in np.concatenate([a, b]))
    assert ks_distance(a, b)[0]==pytest.approx(by) and stability_index([5,5], [5,5])==0
    assert stability_index([1,9], [9,1])==pytest.approx(stability_index([9,1], [1,9]))
