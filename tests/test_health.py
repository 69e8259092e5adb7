"Alarms with hysteresis and hold, one intervention at a time, and what a run that acts leaves when it is killed"
import json
import math
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from forked import dies, fork

from quarantion.files import check_audit, read_jsonl
from quarantion.train.config import Config
from quarantion.train.course import Held
from quarantion.train.diagnosis import Alarm, causes_of, diagnosed
from quarantion.train.heal import AGAINST, MOST, REMEDIES, WAIT, Plan, Saved, Told, chosen, treated
from quarantion.train.interventions import INTERVENTIONS
from quarantion.train.job import finish, load_data, prove, restored, start, train
from quarantion.train.signals import LayerSignals, Signals

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
import sick

CAUSES = causes_of()


@given(st.lists(st.floats(0, 1), max_size=30))
@settings(deadline=None, max_examples=40)
def test_hysteresis_and_hold(values):
    "An alarm stands from the moment that `hold` records in a row were above `on`, to that at which as many were below `off`"
    c,state,stood,gone = CAUSES['silent'],None,False,0
    for i,v in enumerate(values):
        alarms,state = diagnosed(Signals((LayerSignals('1', 9, True, dead=v),)), state, dict(silent=c))
        state,last = json.loads(json.dumps(state)),values[max(0, i+1-c.hold):i+1]
        full = len(last)==c.hold
        if not stood and full and all(x>=c.on for x in last): stood = True
        elif stood and full and all(x<=c.off for x in last) and gone>=c.hold-1: stood = False
        gone = gone+1 if stood and v<=c.off else 0
        assert bool(alarms)==stood


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 0., 1., 1e30, None]), min_size=26, max_size=26))
@settings(deadline=None, max_examples=40)
def test_no_signal_breaks_a_diagnosis(values):
    "Whatever the numbers: alarms and a state that JSON can hold"
    fields,state = LayerSignals._fields[3:],None
    l = LayerSignals('1', 9, True, **dict(zip(fields, values)))
    s = Signals((l,l._replace(name='3', fires=False)), **dict(zip(Signals._fields[1:], values)))
    for _ in range(3):
        alarms,state = diagnosed(s, state)
        json.dumps([state, [a._asdict() for a in alarms]], allow_nan=False)
        assert [str(a) for a in alarms]==[str(a) for a in alarms]


def alarm(cause, where): return Alarm(cause, where, 0, 'error', *['']*6)


def treats(monkeypatch): # interventions that touch nothing, some of which are not possible
    from quarantion.checks import CheckError
    from quarantion.train.course import Changed
    def does(name):
        def act(held, where, x=None):
            if name=='rescale_weights' and where=='layer 9': raise CheckError('not here')
            return Changed(held._replace(opt={'by':name}), 'was', 'is')
        return act
    for n in INTERVENTIONS: monkeypatch.setitem(INTERVENTIONS, n, does(n))


def epochs():
    alarms = st.lists(st.tuples(st.sampled_from([*REMEDIES,'labels']), st.sampled_from(['layer 1','layer 9','run'])), max_size=4, unique=True)
    return st.lists(st.tuples(alarms, st.sampled_from([.1, 1., 2., 5., math.nan, None])), min_size=1, max_size=25)


def test_no_two_actions_in_one_wait(monkeypatch):
    "No sequence of signals makes two contradictory actions in one wait, or two at all; nothing is done against what was kept"
    treats(monkeypatch)
    @given(epochs())
    @settings(deadline=None, max_examples=100)
    def every(seen):
        saved,held,plan,acts,kept,open_ = Saved(),Held(torch.nn.Identity(), {}),Plan(),[],[],None
        saved.put('good', held)
        for e,(found,loss) in enumerate(seen):
            told = Told([alarm(*f) for f in found], {f'{c}@{w}':1. for c,w in found}, loss, e)
            before = held
            held,plan,events = treated(held, saved, plan, told, torch.zeros(1))
            plan = Plan(**json.loads(json.dumps(plan._asdict())))
            for v in events:
                if v['event']=='intervened':
                    assert open_ is None and v['action'] in REMEDIES[v['cause']]
                    assert (v['where'],AGAINST.get(v['action'])) not in kept
                    open_,acts = (e,v['action'],before),[*acts,v]
                else:
                    assert open_ is not None and v['action']==open_[1]
                    assert e-open_[0]>=WAIT or loss is not None and math.isnan(loss) or any(c=='lost' for c,_ in found)
                    if v['event']=='kept': kept.append((v['where'],v['action']))
                    open_ = None
            assert [v['event'] for v in events] in ([], ['intervened'], ['kept'], ['undone'], ['kept','intervened'], ['undone','intervened'])
        assert len(acts)<=MOST
    every()


def test_order_of_interventions_is_that_of_the_table():
    "Each remedy once, in order; then none"
    for cause,names in REMEDIES.items():
        key,tried = f'{cause}@layer 1',[]
        for n in names:
            assert chosen(Plan(tried={key:tried}), Told([alarm(cause, 'layer 1')], {}), INTERVENTIONS)==(cause,'layer 1',n)
            tried = [*tried,n]
        assert chosen(Plan(tried={key:tried}), Told([alarm(cause, 'layer 1')], {}), INTERVENTIONS) is None


SMALL = dict(hidden=12, steps=5, epochs=5, qat_epochs=1)


def run_of(folder, **more):
    cfg = Config(**SMALL|more)
    return start(cfg, folder),load_data(cfg)


def test_off_and_watch_leave_the_same_bytes_and_healthy_runs_are_not_touched(tmp_path):
    last = {}
    for h in 'off','watch','act':
        run,split = run_of(tmp_path/h, health=h, epochs=2)
        net,q,_ = train(run, split)
        last[h] = (run/'checkpoints'/'last.safetensors').read_bytes(),{**net.state_dict()}
        assert sorted(p.name for p in (run/'checkpoints').iterdir())==(['good.safetensors','last.safetensors'] if h=='act' else ['last.safetensors'])
        assert not [a for a in read_jsonl(run/'audit.jsonl') if a['event']=='intervened']
    assert last['off'][0]==last['watch'][0]
    assert all(map(torch.equal, last['act'][1].values(), last['off'][1].values()))


def learn(run, split):
    torch.set_num_threads(1) # a forked child cannot ask OpenMP for more
    train(run, split)


def left(run):
    metrics = [{k:v for k,v in m.items() if k!='time_s'} for m in read_jsonl(run/'metrics.jsonl')]
    done = [(a['event'],{k:v for k,v in a['facts'].items()}) for a in read_jsonl(run/'audit.jsonl') if a['event'] in ('intervened','kept','undone')]
    check_audit(run/'audit.jsonl')
    tensors = (run/'checkpoints'/'last.safetensors').read_bytes()
    return metrics,done,tensors[8+int.from_bytes(tensors[:8], 'little'):] # the header counts the lines of the audit


@pytest.mark.skipif(not hasattr(os, 'fork') or sys.platform!='linux', reason='forks, and names files by /proc')
def test_killed_in_an_intervention_it_is_done_once(tmp_path):
    "A rate that is far too high is lowered; killed at each file that this writes, the run does it once, and ends the same"
    torch.set_num_threads(1)
    sick_run = dict(health='act', lr=.2)
    run,split = run_of(tmp_path/'whole', **sick_run)
    assert fork(lambda: learn(run, split))==0
    whole = left(run)
    assert whole[1][0][0]=='intervened' and whole[1][0][1]['action']=='lower_rate', whole[1]
    moments = [('before.safetensors',1,'before'), ('before.safetensors',1,'after'), ('last.safetensors',1,'before'),
               ('last.safetensors',3,'before')]
    for i,(name,nth,how) in enumerate(moments):
        run,split = run_of(tmp_path/f'{i}', **sick_run)
        assert fork(lambda: learn(run, split), dies(name, nth, how))==-signal.SIGKILL
        assert fork(lambda: learn(run, split))==0
        assert left(run)==whole, (name,nth,how)


def test_three_sick_networks_are_named_and_healed(monkeypatch):
    "The short form of tools/measure.py health"
    torch.set_num_threads(1)
    monkeypatch.setattr(sick, 'EPOCHS', 10)
    well = sick.healthy('mlp', 0)
    assert (well['interventions'],well['alarms'])==(0,0)
    for ailment in 'dead','rate','scale':
        row = sick.treat('mlp', 0, ailment)
        assert row['named'] is not None and row['named']<=3, row
        assert row['untreated']<=well['accuracy']-.05 and row['treated']>=well['accuracy']-.03, row


def grid(folder, worth, dtype='float32'):
    "The digits in NPY files, times a number"
    import numpy as np
    from quarantion.data.digits import load_digits
    d = load_digits()
    folder.mkdir()
    for name,s in ('train',d.train),('test',d.test):
        np.save(folder/f'x_{name}.npy', (s.x.numpy()*worth).astype(dtype))
        np.save(folder/f'y_{name}.npy', s.y.numpy())
    return f'npy:{folder}'


def test_data_beyond_one_are_refused_and_bytes_are_divided(tmp_path):
    "What `rescale_input` would mend does not come into a run"
    from quarantion.checks import CheckError
    with pytest.raises(CheckError, match='in .0, 1.'): load_data(Config(data=grid(tmp_path/'a', 255)))
    assert float(load_data(Config(data=grid(tmp_path/'b', 255, 'uint8'))).x_train.max())==1


def test_a_small_input_is_met_by_weights_and_what_a_run_does_not_do_is_said(tmp_path):
    "Samples in 0 … 1/255: the input stays, weights are scaled from data, which mends a part, and the program is proved"
    torch.set_num_threads(1)
    tiny = dict(data=grid(tmp_path/'d', 1/255), epochs=10)
    run,split = run_of(tmp_path/'watched', policy='float', **tiny)
    untreated = train(run, split)[2]
    run,split = run_of(tmp_path/'run', health='act', **tiny)
    net,q,seen = train(run, split)
    first = read_jsonl(run/'metrics.jsonl')[0]['health']['alarms'][0]
    assert first['cause']=='input_small' and 'not done by a run: the program' in first['remedy']
    done = [a['facts'] for a in read_jsonl(run/'audit.jsonl') if a['event']=='intervened']
    assert done and {a['action'] for a in done}<={'rescale_weights'}
    result = finish(run, split, net, q, seen)
    assert result['mismatches']==0 and seen>untreated+.1, (untreated,seen,done)


def test_more_epochs_of_a_phase(tmp_path, monkeypatch):
    "A rate of nearly nothing: three epochs more, once for each time that they are asked for"
    torch.set_num_threads(1)
    monkeypatch.setitem(REMEDIES, 'stuck', ('extend',))
    run,split = run_of(tmp_path/'run', health='act', lr=1e-7, epochs=8, policy='float')
    train(run, split)
    done = [a['facts'] for a in read_jsonl(run/'audit.jsonl') if a['event']=='intervened']
    assert done and {a['action'] for a in done}=={'extend'}
    assert len(read_jsonl(run/'metrics.jsonl'))==8+3*len(done)


def test_a_finer_level_set_is_in_the_policy_of_the_run(tmp_path, monkeypatch):
    "Scales that collapsed: the layer takes nine levels, killed and resumed the same, and the program is proved with them"
    import quarantion.train.job as job
    torch.set_num_threads(1)
    monkeypatch.setitem(REMEDIES, 'scale_small', ('finer',))
    made = job.quantized
    def collapsed(*a):
        q = made(*a)
        with torch.no_grad():
            for p in q.layers[0].scale,q.layers[0].scale_min: p.mul_(.02)
        return q
    monkeypatch.setattr(job, 'quantized', collapsed)
    run,split = run_of(tmp_path/'run', health='act', policy='ternary', qat_epochs=4)
    net,q,seen = train(run, split)
    again = train(run, split) # from the last checkpoint
    assert [l.policy.weight for l in q.layers]==['nonary','ternary']==[l.policy.weight for l in again[1].layers]
    result = finish(run, split, net, q, seen)
    assert result['mismatches']==0 and 'nonary' in (run/'policy.toml').read_text()
    monkeypatch.setattr(job, 'quantized', made)
    assert [l.policy.weight for l in restored(run, split)[1].layers]==['nonary','ternary']
    assert prove(run, split).mismatches==0
