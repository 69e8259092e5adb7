"What `quarantion bench nearest` prints and stores; how fast anything is, no test says."
import json

import numpy as np
import pytest

from quarantion.bench import bits, nearest, neighbours
from quarantion.bench.docstrings import Found, recalls, true_neighbours
from quarantion.cli import main
from quarantion.memory.codes import unit_rows
from quarantion.tables import Row, measurement, table


@pytest.fixture(scope='module')
def found():
    rng = np.random.default_rng(0)
    x = unit_rows((rng.normal(size=(40,1,64))+.5*rng.normal(size=(40,26,64))).reshape(-1, 64))
    x = x[rng.permutation(len(x))]
    return Found(x[:960], x[960:], 'drawn groups')


def test_truth_and_recall(found):
    s = found.q.astype(float)@found.x.T.astype(float)
    want = [np.lexsort((np.arange(len(r)), -r))[:10] for r in s]
    assert np.array_equal(true := true_neighbours(found.x, found.q), want)
    twins = np.repeat(found.x[:20], 3, 0)
    assert np.array_equal(true_neighbours(twins, twins[7:8], 3), [[6,7,8]]) # ties go to the lowest number
    assert recalls(true, true).tolist()==[1]*len(true) and recalls(true[:,:5], true).tolist()==[.5]*len(true)


@pytest.mark.parametrize('way', neighbours.installed()[0], ids=lambda w: w.name)
def test_a_way_finds_more_where_it_looks_harder(way, found):
    "And is the same again out of its files"
    a,true = way(),true_neighbours(found.x, found.q)
    a.build(found.x)
    at = []
    for s in (min(way.settings, key=lambda s: s or 0),max(way.settings, key=lambda s: s or 0)):
        a.set(s)
        at.append(recalls(a.many(found.q), true).mean())
        one = recalls(np.concatenate([np.asarray(a.one(q[None])).reshape(1, -1) for q in found.q]), true).mean()
        assert one==pytest.approx(at[-1], abs=.05)
    assert .6<at[1]<=1 and at[1]>=at[0]-.02, at


def test_a_library_that_is_not_installed_is_left_out_and_named(monkeypatch, found, capsys):
    monkeypatch.setattr(neighbours, 'find_spec', lambda name: None if name in ('hnswlib','faiss') else object())
    ways = [w for w in neighbours.WAYS if w.name in ('exact','faiss FlatIP','hnswlib')]
    there,lost = neighbours.installed(ways)
    assert [w.name for w in there]==['exact'] and lost==['faiss','hnswlib']
    d = nearest.measure_nearest(1, True, found, ways, lambda s: None)
    assert d['missing']==lost and {p['name'] for p in d['frontier']}=={'exact'}
    rows = [Row(**r) for r in d['rows']]
    assert {r.peer for r in rows if r.ratio is None}=={'faiss FlatIP','hnswlib'} and 'peer not installed' in table(rows)
    monkeypatch.setattr(nearest, 'measure_nearest', lambda *a: d)
    with pytest.raises(SystemExit) as e: main(['bench', 'nearest', '--quick', '--json', '--check'])
    out,err = capsys.readouterr()
    assert e.value.code==1 and json.loads(out)['bench']=='nearest' and 'not installed: hnswlib' in err


def test_an_answer_that_differs_is_counted(found):
    a,true = neighbours.Ours(),true_neighbours(found.x, found.q)
    a.build(found.x)
    assert nearest.equal_answers(a, found, true, len(true)+20)['differ']==0
    assert nearest.equal_answers(a, found, true[:,::-1], len(true))['differ']==len(true)


def test_finer_codes_find_more(found):
    rows = bits.recall_by_bits(found, len(found.x), len(found.q), (1,.5))
    at = {(r['kind'],r['numbers']):r for r in rows}
    kinds = [at[k,64]['recall'] for k in ('binary','ternary','nonary','int8')]
    assert kinds==sorted(kinds) and kinds[-1]>.95
    assert [at[k,64]['bytes'] for k in bits.KINDS]==[10,15,26,28,34,54,66]


def test_what_is_stored_has_what_pages_and_pictures_take():
    d = measurement('nearest')
    assert d['equal']['differ']==0 and {'exact','cones'}<={p['name'] for p in d['frontier']}
    for p in d['frontier']: assert 0<=p['recall']<=1 and 0<p['low']<=p['qps']<=p['high'] and (p['bytes'] is None or p['bytes']>0), p
    assert all(isinstance(ok, bool) and goal and what for goal,what,ok in nearest.nearest_goals(d))
    mine,other = bits.at_equal_bytes(d['bits'])
    assert other['bytes']<=mine['bytes'] and ('beats' if other['recall']>mine['recall'] else 'does not') in bits.said_of_equal_bytes(d['bits'])
