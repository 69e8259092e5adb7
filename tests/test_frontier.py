"Measurements that pages store, in small: nbs/bench/frontier, trained on one machine and proved on another, and nbs/claims"
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quarantion.data.digits import load_digits
from quarantion.data.idx import write_idx

pytest.importorskip('constriction')
MEASURE = Path(__file__).parent.parent/'tools'/'measure.py'


def measure(*args): return subprocess.run([sys.executable, str(MEASURE), 'frontier', *map(str, args)], check=True, capture_output=True, text=True, cwd=MEASURE.parent.parent)


def test_save_then_from(tmp_path):
    "Two steps: codes that a folder holds, then files that are written, loaded and compared"
    split,data,codes,out = load_digits(),tmp_path/'data',tmp_path/'codes',tmp_path/'out.json'
    data.mkdir()
    for part,x,y,n in ('train',split.x_train,split.y_train,300),('t10k',split.x_test,split.y_test,60):
        big = np.kron(x[:n].reshape(-1, 8, 8).numpy(), np.ones((1,3,3)))
        write_idx(data/f'{part}-images-idx3-ubyte.gz', (255*big).round().astype(np.uint8))
        write_idx(data/f'{part}-labels-idx1-ubyte.gz', y[:n].numpy().astype(np.uint8))
    more = ['--data-dir',data,'--seeds',1,'--epochs',1,'--settings','nonary:.2:.1:1','current8:0:.1:1']
    measure(*more, '--save', codes)
    assert len(list(codes.glob('*.safetensors')))==2 and not out.exists()
    measure('--data-dir', data, '--from', codes, '--out', out)
    rows = json.loads(out.read_text())['rows']
    assert [(r['policy'],r['l1'],r['max_rate'],r['qat_epochs']) for r in rows]==[('current8',0,.1,1),('nonary',.2,.1,1)]
    for r in rows:
        assert r['mismatches']==0 and r['spikes']==25*1010*60 and r['bytes']<r['float_bytes']
        assert all(r[k]==r['trained'][k] for k in ('accuracy','fired','spike_rate','spikes'))


def test_choices_of_the_page_of_claims(monkeypatch):
    "Each name that the page shows is a run of the script; one of them, in small"
    monkeypatch.syspath_prepend(MEASURE.parent)
    import choices
    stored = json.loads(choices.PATH.read_text())['accuracy']
    net = choices.warm(0, epochs=1)
    found = choices.runs(net, 0)
    assert found.keys()==stored.keys() and {len(v) for v in stored.values()}=={3}
    assert .5<found['float']()<=1 and .5<found['int4 at once']()<=1
