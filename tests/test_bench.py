"What a benchmark prints; how fast anything is, no test says."
import json

import pytest

from quarantion.cli import main


@pytest.mark.filterwarnings('ignore')
def test_bench_prints_one_object(capsys):
    with pytest.raises(SystemExit) as e: main(['bench', 'lif', '--threads', '1', '--quick', '--json'])
    d = json.loads(capsys.readouterr().out)
    assert e.value.code==0 and set(d)=={'bench','machine','rows'} and len(d['rows'])>=3
    for r in d['rows']:
        assert {'work','threads','ours_s','peer','peer_s','ratio','goal','ok'}<=r.keys()
        if r['peer_s'] is None: assert r['ratio'] is None and r['ok'] is None # a peer that is not installed is named all the same
        else: assert abs(r['ratio']-r['peer_s']/r['ours_s'])<1e-6*r['ratio']


def test_an_unknown_bench_is_named(capsys):
    with pytest.raises(SystemExit) as e: main(['bench', 'speed'])
    assert e.value.code==2 and "`bench`: expected one of lif, bptt, levels, nonary, fakequant, events, infer, gpu, found 'speed'" in capsys.readouterr().err
