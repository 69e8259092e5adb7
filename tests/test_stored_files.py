"Files that were written before layers had one record still load: programs, run directories, a checkpoint that training goes on from."
import hashlib
import json
import shutil
from pathlib import Path
import numpy as np
import pytest
from quarantion import load

from quarantion.train.job import finish, load_data, prove, restored, settings, train
from quarantion.files import Lock, check_audit
from quarantion.train.rundir import check_manifest, dump_toml, read_run, read_toml

STORED = Path(__file__).parent/'stored'
SAID = json.loads((STORED/'said.json').read_text())
RUNS = sorted(p.name for p in STORED.glob('run-*'))
pytestmark = pytest.mark.filterwarnings('ignore:the state does not say its policy')


@pytest.mark.parametrize('name', SAID)
def test_program(name):
    said,h = SAID[name],hashlib.sha256()
    with pytest.warns(UserWarning, match='has no seal') as warned: net = load(STORED/f'{name}.safetensors')
    assert len(warned)==1
    x = (np.arange(np.prod(said['shape']))*7919%256/255.).astype(np.float32).reshape(said['shape'])
    record = net.record(x)
    for r in record: h.update(r.spk.astype(np.uint8).tobytes()); h.update(r.mem.astype('<i4').tobytes())
    assert [int(r.spk.sum()) for r in record]==said['fired']
    assert h.hexdigest()==said['sha256']


@pytest.fixture
def run(request, tmp_path): return Path(shutil.copytree(STORED/request.param, tmp_path/request.param))


@pytest.mark.parametrize('run', RUNS, indirect=True)
def test_run(run):
    assert not any(check_manifest(run).values())
    check_audit(run/'audit.jsonl')
    with pytest.warns(UserWarning, match='has no seal'): proof = prove(run, load_data(settings(run)))
    assert proof.mismatches==0 and not proof.parameters and proof.spikes==json.loads((run/'result.json').read_text())['spikes']
    assert read_run(run).result['policy']==settings(run).policy


@pytest.mark.parametrize('run', RUNS, indirect=True)
def test_model_gives_its_program(run, tmp_path):
    _,q = restored(run, load_data(settings(run)))
    from quarantion import lower
    lower(q).save(tmp_path/'again')
    with pytest.warns(UserWarning, match='version 2 has no seal'): old = load(run/'integer.safetensors')
    old.save(tmp_path/'sealed')
    assert (tmp_path/'again').read_bytes()==(tmp_path/'sealed').read_bytes()


@pytest.mark.parametrize('run', RUNS, indirect=True)
def test_checkpoint_goes_on(run):
    for f in 'manifest.json','model.safetensors','integer.safetensors','result.json','report.html': (run/f).unlink()
    longer = read_toml(run/'config.toml')
    longer['qat_epochs'] += 1
    (run/'config.toml').write_text(dump_toml(longer))
    split = load_data(settings(run))
    with Lock(run): result = finish(run, split, *train(run, split))
    assert result['mismatches']==0 and len((run/'metrics.jsonl').read_text().splitlines())==7
