"Many processes, one network: killed, fewer of them, refused, added in order"
import json, os, subprocess, sys, warnings
from pathlib import Path

import pytest
import torch

from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train import many
from quarantion.train.ranks import Ranks

HERE = Path(__file__).parent


def drive(folder, *words, timeout=900):
    env = os.environ|dict(OMP_NUM_THREADS='1')
    p = subprocess.run([sys.executable, HERE/'many_driver.py', folder, *words], capture_output=True, text=True, timeout=timeout, env=env)
    assert p.returncode==0, p.stderr[-3000:]
    said = json.loads(p.stdout.splitlines()[-1])
    bad = {n:r['error'] for n,r in said.items() if isinstance(r, dict) and 'error' in r}
    assert not bad, bad
    return {n:r['result'] for n,r in said.items() if isinstance(r, dict)}


@pytest.fixture(scope='module')
def short(tmp_path_factory): return drive(tmp_path_factory.mktemp('many'))


def whole(o):
    "Finished, verified, nothing left over, and the bytes of the undisturbed run"
    assert (o['runs'],o['finished'],o['verified'],o['strays'],o['same'])==(1,True,0,[],True), o


def lost(o, processes):
    "The audit says that a rank was lost, and how many went on"
    last = o['events'][-1]
    assert (last['processes'],last['restart'],last['lost'])==(processes,1,1), o


def refused(r, *words):
    "All ranks end with 2, one line is said, and nothing is left"
    assert (r['code'],set(r['exits']),len(r['lines']),r['runs'],r['strays'])==(1,{'2'},1,0,[]), r
    for w in words: assert w in r['lines'][0], r


def equal(by_size, *which):
    "Proved, and the same bytes whatever the number of processes"
    assert all((o['code'],o['verified'],o['strays'])==(0,0,[]) for o in by_size.values()), by_size
    for k in which or ('model','integer'): assert len({o[k] for o in by_size.values()})==1, by_size


def test_a_rank_that_is_killed(short): # rank 0 in a save, rank 1 in a step
    for o in short['few_kills']:
        whole(o); lost(o, 2)
        assert o['code']==0 and o['events'][-1]['event']=='resumed', o

def test_one_process_is_left(short):
    o = short['elastic']
    whole(o); lost(o, 1)
    assert sorted(o['code'])==[-9,0], o

def test_ranks_that_were_asked_for_something_else(short): refused(short['few_refusals'][0], 'rank 1: `seed`: expected 0, as on rank 0, found 7')

def test_what_was_not_sent_is_kept(short): # in the checkpoint that ranks go on from
    whole(short['few_coded']); lost(short['few_coded'], 2)

def test_added_in_order(short): # by 1, 2 and 4 processes
    equal(short['few_exact'])
    assert [*short['few_exact']]==['1','2','4']

def test_labels_that_use_few_outputs_are_told_once(monkeypatch): # as by `evaluate`, after epochs of many
    net = Network(torch.nn.Linear(4, 20), LIF())
    data = [(torch.rand(200, 4), torch.zeros(200).long())]*3
    monkeypatch.setattr(many, 'told_by_all', lambda v: v[None])
    for rank in range(2):
        monkeypatch.setattr(many, 'ranks_now', lambda: Ranks(rank, 2))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            many.evaluated(net, data)
        assert [str(w.message)[:35] for w in seen]==['600 labels use 1 of 20 outputs: `de']*(rank==0), [str(w.message) for w in seen]


@pytest.mark.soak
def test_killed_at_many_moments(tmp_path):
    r = drive(tmp_path, 'kills', 'times', timeout=3000)
    for o in r['kills']:
        whole(o); lost(o, 2)
    for o in r['times']: whole(o)

@pytest.mark.soak
def test_fewer_processes(tmp_path):
    r = drive(tmp_path, 'elastic_first', 'elastic_plain', 'elastic_uneven', 'elastic_shards', timeout=3000)
    for n in 'elastic_first','elastic_shards': whole(r[n])
    for n,o in r.items():
        lost(o, 2 if n in ('elastic_uneven','elastic_shards') else 1)
        assert o['verified']==0 and o['strays']==[], o
    assert len(r['elastic_uneven']['warned'])==1 and '`batch` 63' in r['elastic_uneven']['warned'][0], r['elastic_uneven']
    assert '`exact_reduce` 3' in r['elastic_shards']['warned'][0], r['elastic_shards']

@pytest.mark.soak
def test_codes_of_gradients(tmp_path):
    r = drive(tmp_path, 'coded', 'elastic_coded', timeout=3000)
    for o in r['coded']: whole(o)
    lost(r['elastic_coded'], 1)
    assert r['elastic_coded']['verified']==0 and r['elastic_coded']['strays']==[], r['elastic_coded']

@pytest.mark.soak
def test_a_share_that_moves(tmp_path):
    "It depends on the clock, so that bytes are other ones; the run ends all the same, and goes on with its share"
    r = drive(tmp_path, 'moving', timeout=3000)['moving']
    for o,n in zip(r, (2,1)):
        assert (o['finished'],o['verified'],o['strays'])==(True,0,[]), o
        lost(o, n)
    lines = [json.loads(l) for l in (Path(r[0]['run'])/'metrics.jsonl').read_text().splitlines()]
    assert all(0<l['share']<=.5 for l in lines) and [l['phase'] for l in lines]==['float']*2+['qat']*2, lines

@pytest.mark.soak
def test_refusals(tmp_path):
    r = drive(tmp_path, 'refusals', 'by_hand', timeout=3000)
    words = {'other-seed':('rank 1: `seed`',), 'other-code':('rank 1: code',), 'other-data':('rank 1: samples',), 'three':('`batch` 64','such as 2, found 3'), 'cuda':('`device`','CUDA'),
        'accumulate':('`accumulate`',), 'exact-of-three':('`exact_reduce` 4','such as 2, found 3')}
    assert {o['name'] for o in r['refusals']}==words.keys()
    for o in r['refusals']: refused(o, *words[o['name']])
    for o,word in zip(r['by_hand'], ('in use','1/2','timed out','QUARANTION_WAIT','invalid literal')):
        assert (o['code'],len(o['lines']),o['runs'])==(2,1,0) and word in o['lines'][0], o

@pytest.mark.soak
def test_what_a_run_of_many_says(tmp_path):
    r = drive(tmp_path, 'slow', 'gate', 'ctrl_c', 'one', 'as_typed', timeout=3000)
    assert {(e['rank']) for e in r['slow']['events']}=={1} and any('rank 1' in l for l in r['slow']['lines']), r['slow']
    g = r['gate']
    assert g['alone']==1 and g['code']==1 and g['epochs'][0]==g['epochs'][1] and g['events'][0]==g['events'][1] and g['notes']==0, g
    for o in r['ctrl_c']: assert o['notes']==0 and len(o['interrupted'])==1 and o['finished'] and o['verified']==0 and o['strays']==[], o
    assert {k:v for k,v in r['one'].items() if k!='alone'}==r['one']['alone'], r['one']
    whole(r['as_typed']); lost(r['as_typed'], 2)

@pytest.mark.soak
def test_one_small_message_a_step(tmp_path):
    m = drive(tmp_path, 'messages', timeout=3000)['messages']
    assert m['equal'] and m['same'] and m['observers'], m
    for k in 'float','qat': assert 23<=m[k]['all_gather']<=23+6 and set(m[k])=={'all_gather'}, m # 23 steps an epoch, and what is asked at its end

@pytest.mark.soak
def test_any_number_of_processes_and_the_same_bytes(tmp_path):
    r = drive(tmp_path, 'exact', 'gone_on', 'near', timeout=3000)
    for by_size in r['exact'].values(): equal(by_size)
    g = r['gone_on']
    g['to1']['strays'] = [p for p in g['to1']['strays'] if p.startswith('runs')] # the next one of many removes the folder of the rank that was killed
    equal({'2':g['whole']['2'], '1':g['to1'], '3':g['to3'], '4':g['to4']})
    for of_batch in r['near'].values():
        for o in of_batch.values(): assert o['share']<1e-4, of_batch
