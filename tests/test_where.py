"Where a program can run: the table of the page is whole, and a part of it is measured again"
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'tools'))
import where

pytestmark = pytest.mark.filterwarnings('ignore:layer')
NIR = 'NIR, by three simulators'
FEW = ('int8','zero'), ('nonary','subtract'), ('tcq4','subtract_delayed')


def proved(way, policy, reset, n=20):
    r = where.cell(way, policy, reset, n)
    if 'this program' in r.get('why', '') or 'this package' in r.get('why', ''): pytest.skip(r['why'])
    assert r['proved'] and r['mismatches']==0 and 0<r['fired']<r['spikes'], r


def test_the_stored_table_is_whole():
    d = json.loads((ROOT/'nbs/measured/where.json').read_text())
    assert {(r['way'],r['policy'],r['reset']) for r in d['rows']}=={(w,p,r) for w in where.WAYS for p in where.POLICIES for r in where.RESETS}
    for r in d['rows']: assert r['proved'] and r['mismatches']==0 and r['fired'] or r['why'], r
    refused = {(r['policy'],r['reset']) for r in d['rows'] if not r['proved'] and r['way']!=NIR}
    assert refused=={('mint2','subtract_delayed')}
    taken = {(r['policy'],r['reset']) for r in d['rows'] if r['proved'] and r['way']==NIR} # plain membranes, and a reset to zero
    assert taken=={(p,'zero') for p in ('int8','int4','nonary','ternary')}


@pytest.mark.parametrize('way', where.WAYS)
def test_a_part_of_it(way):
    for policy,reset in FEW[:1] if way==NIR else FEW: proved(way, policy, reset)


@pytest.mark.soak
@pytest.mark.parametrize('way', where.WAYS)
def test_all_of_it(way):
    for p in where.POLICIES:
        for r in where.RESETS:
            plain = r=='zero' and p in ('int8','int4','nonary','ternary')
            if plain if way==NIR else (p,r)!=('mint2','subtract_delayed'): proved(way, p, r, where.SAMPLES)
