"Wide layers in shards learn what one process learns; their checkpoints are whole or not there, load anywhere, and hold no pickle"
import json, math, os, pickletools, subprocess, sys
from pathlib import Path

import pytest
from torch import nn
from quarantion.checks import CheckError
from quarantion.files import load_tensors, parse_json
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.shards import SHARD, VERSION, load_shards, published, read_index, save_shards
from quarantion.train.wide import sharded

HERE = Path(__file__).parent


@pytest.fixture(scope='module', params=['short', pytest.param('full', marks=pytest.mark.soak)])
def done(request, tmp_path_factory):
    "What every rank said, and the folder where it worked"
    out = tmp_path_factory.mktemp('shards')
    r = subprocess.run([sys.executable, HERE/'shards_driver.py', out, request.param], capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'), timeout=400)
    assert r.returncode==0, r.stderr[-2000:]
    return out,json.loads(r.stdout),r.stderr


def test_the_same_weights_as_one_process(done):
    "Of 2 and 4 ranks with the same global batch; and every rank says the same"
    for name,said in done[1]['trained'].items():
        assert all(type(s) is dict for s in said), (name, done[2][-2000:])
        for s in said:
            assert s['fresh'] and len(s['wide'])>=1 and s['far']<1e-6 and s['moved']>3e-3, (name, s)
            mean = [sum(r['loss'][i] for r in said)/len(said) for i in range(len(s['alone']))]
            assert all(math.isclose(a, b, rel_tol=1e-5) for a,b in zip(mean, s['alone'])), (name, mean, s['alone'])
    assert {n[-1] for n in done[1]['trained']}=={'2','4'}

def test_a_rank_holds_its_part(done):
    for name,n in (('float, 2', 2), ('nonary, 4', 4)):
        s = done[1]['trained'][name][0]
        assert s['here']<s['whole']/n+500 # thresholds, biases and what is not wide

def test_the_same_integers_and_a_program_that_is_proved(done):
    for name,said in done[1]['trained'].items():
        if name.startswith(('float','back,')): continue
        for s in said: assert (s['mismatches'],s['integers'],s['frozen'])==(0,True,True) and s['spikes']>50, (name, s)

def test_what_goes_between_gradients_and_a_step(done):
    for s in done[1]['updates']: assert {*s}=={'clip','pieces','sam'} and max(s.values())<1e-6, s

def test_training_goes_on_while_files_wait(done):
    "Three steps are made before a file is written; a second save is refused meanwhile; what is saved is of the call; and after loading it goes on alike"
    for s in done[1]['saved']:
        assert s['before']==[False,[]] and s['path']=='000001' and s['on'] and 'lock: expected no other process' in s['twice'], s
        assert s['early']=='save_shards: `after`: expected a checkpoint that was waited for, found one that was not'
        assert s['files']==['rank-0-of-2.safetensors','rank-1-of-2.safetensors','shards.json']

def test_any_number_of_ranks_loads_the_same_bytes(done):
    saved = done[1]['saved'][0]['facts']
    assert (saved['phase'],saved['epoch'])==('qat',3)
    every = [s for said in done[1]['loaded'].values() for s in said]
    assert len(every)==1+3+4 and all(s['facts']==saved and s['print']==saved['print'] and s['lr']==[1e-3,1e-5] for s in every)
    assert len({s['opt'] for s in every})==1

def test_what_one_rank_does_wrong_is_said_by_all(done):
    for s in done[1]['wrong']:
        assert s['other'].startswith('rank 1: weights: expected ') and 'as on rank 0, found' in s['other']
        assert s['nan'].startswith('rank 1: ') and '`net.layers.0.weight`: expected finite numbers, found nan' in s['nan']
        assert (s['left'],s['again'])==(['000001'],'000002')

@pytest.mark.parametrize('name,words', dict(lost='shard `rank-2-of-4.safetensors`: expected a file of %d bytes, found none', cut='shard `rank-1-of-4.safetensors`: expected a file of %d bytes, found one of %d',
    changed='shard `rank-3-of-4.safetensors`: expected SHA-256 ', version='shards.json: version: expected 1, found 2', edited='shards.json: digest: expected that of what it says',
    index='shards.json: file: expected a file that can be read, found No such file', none='none: checkpoints: expected one that is whole, found none').items())
def test_damaged_checkpoints_are_refused_by_all(done, name, words):
    n = (done[0]/'four'/'000001'/'rank-2-of-4.safetensors').stat().st_size
    for s in done[1]['refused']:
        said,kept = s[name]
        assert kept and words.replace('%d', str(n), 1).replace('%d', str(n-5)) in said, said

def test_killed_anywhere_the_last_whole_one_is_taken(done):
    kills = done[1]['killed']
    for k in kills:
        assert k['found']=={} or k['found']['whole'], k
        if k['stands'] is not None: assert k['died'] and k['found'].get('step', 0)==k['stands'], k
        if k['died']: assert k['codes'].count(1)==1, k # the other one ended with an error, and did not wait
        assert k['clean'] and int(k['on'])==(int(k['found']['names'][-1])+1 if k['found'] else 1), k
    assert sum('.new.tmp' in k['left'] for k in kills)>=3 and any(f.startswith('.old-') for k in kills for f in k['left'])

def test_nothing_saved_is_a_pickle(done):
    "Nobody made one (the ranks would have failed), and none is there to be found"
    files = [p for f in ('saved','four') for p in (done[0]/f).rglob('*') if p.is_file() and p.name!='.lock']
    assert len(files)==8 and {p.suffix for p in files}=={'.json','.safetensors'}
    for p in files:
        data = p.read_bytes()
        if p.suffix=='.json': assert isinstance(parse_json(data), dict)
        else: assert load_tensors(p, SHARD, VERSION)[1]['ranks'] in (2,4)
        assert b'PK\x03\x04' not in data # what torch.save writes
        assert not [at for v in range(2, 6) for at in range(len(data)) if data.startswith(bytes((0x80,v)), at) and is_pickle(data[at:])]
    import pickle
    assert is_pickle(pickle.dumps(dict(a=1))) and not is_pickle(b'\x80\x04\xff')

def is_pickle(data): # does it read to its end?
    try: return len([*pickletools.genops(data)])>2
    except Exception: return False


@pytest.fixture
def net(): return Network(nn.Linear(8, 6), LIF(.9), nn.Linear(6, 3), LIF(.9, 1., 'none'), steps=4)

def test_alone_without_a_process_group(net, tmp_path):
    with pytest.raises(CheckError, match='sharded: process group: expected one of torch.distributed .*, found none'): sharded(net, 10)
    with pytest.raises(CheckError, match='save_shards: process group'): save_shards(tmp_path, net)
    assert not published(tmp_path/'none')

def test_one_process_loads_another_network_by_name(net, done):
    folder = done[0]/'four'
    with pytest.raises(CheckError, match=r'000001: tensors: expected the \d+ of the network, found missing'): load_shards(folder, net)
    assert read_index(folder/'000001')['facts'].keys()=={'print'}
    with pytest.raises(CheckError, match='none: checkpoints: expected one that is whole, found none'): load_shards(folder/'none', net)
