"Hooks of several ranks: nothing is lost between them, all have the same bits, and bytes are those that were sent."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quarantion.train.hooks import ring_bytes

N = 3


@pytest.fixture(scope='module')
def told(tmp_path_factory):
    "What three processes found"
    store = tmp_path_factory.mktemp('ranks')/'store'
    how = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'))
    ranks = [subprocess.Popen([sys.executable, Path(__file__).with_name('hooks_driver.py'), str(r), str(N), str(store)], **how) for r in range(N)]
    out = [p.communicate(timeout=120) for p in ranks]
    assert not any(p.returncode for p in ranks), '\n'.join(e for _,e in out)
    return json.loads(out[0][0])


def test_all_ranks_have_the_same_bits(told): assert all(c['equal'] for c in told['cases'])


def test_nothing_is_lost_between_ranks(told):
    for c in told['cases']:
        assert c['lost']<1e-6, c
        assert c['off']<2e-6, c


def test_buckets_change_and_residuals_move(told): assert all(c['buckets']>1 for c in told['cases'] if c['name']!='none')


def test_nan_of_one_rank_is_seen_by_all_and_is_not_kept(told): assert all(c['nan'] and c['kept'] for c in told['cases'])


def test_a_checkpoint_goes_on_with_the_same_bits(told):
    "Not with float32, whose sums of three are in an order that depends on the place in a bucket, nor by the clock"
    assert all(v for k,v in told['resumed'].items() if k not in ('none ','topk(auto) ')), told['resumed']


def test_a_share_follows_the_wire(told):
    "Down where it is throttled, up where it is freed, the same on all ranks, whoever comes late"
    rows = told['paced']
    first,slow,free = (rows[i]['share'] for i in (24,49,74))
    assert slow<first/3 and free>3*first and free<=1/N+1e-6, (first,slow,free)
    assert all(r['equal'] for r in rows)


def test_a_share_goes_on(told): assert told['goes_on']==[True]*3


@pytest.mark.parametrize('floor', ('0.1','0.5','0.9','1.0'))
def test_the_floor_holds_in_each_step(told, floor):
    "Also in the first, with a wire that carries almost nothing and gradients that change at each step"
    rows = told['floors'][floor]
    assert min(r['kept'] for r in rows)>=float(floor)-1e-6, rows
    assert all(r['equal'] for r in rows) and (rows[0]['more']>0 or float(floor)<.5)
    assert rows[-1]['more']-rows[0]['more']<=2*(len(rows)-1), rows # a share is found for which few are needed


def test_none_is_what_torch_does(told): assert told['plain']


def test_bytes_are_counted(told):
    for c in told['cases']:
        steps,n = 6,c['numbers']
        assert c['whole']==pytest.approx(steps*ring_bytes(n, N), rel=.01)
        if c['name']=='none': assert c['sent']==c['whole']
        if c['name']=='nonary': assert c['whole']/c['sent']>(6 if c['hook']=='gathered' else 7), c
