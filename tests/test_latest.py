"The newest simulators beside the pinned ones: said, tried, and never a failure"
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]/'tools'))
import latest

OLD = latest.pinned((latest.ROOT/'requirements-peers.lock').read_text())|latest.pinned((latest.ROOT/'requirements.lock').read_text())


def outcome(monkeypatch, tmp_path, ends, **new):
    "What is said where commands end so, and folders hold these versions"
    calls = []
    monkeypatch.setattr(latest, 'ran', lambda *call, **env: calls.append(call) or ends.pop(0))
    monkeypatch.setattr(latest, 'installed', lambda folder: {t:OLD[t] for t in latest.TOOLS}|new)
    return latest.compared(tmp_path),calls


def test_all_of_them_are_pinned(): assert {*latest.TOOLS}<={*OLD}


def test_the_same_versions_are_not_run_again(monkeypatch, tmp_path):
    said,calls = outcome(monkeypatch, tmp_path, [(0,'',[])])
    assert 'the pinned ones' in said[-1] and len(calls)==1


@pytest.mark.parametrize('code,word', [(0,'with the newest: 9 passed'), (1,'warning: with the newest, 9 passed')])
def test_others_are_run_and_what_fails_is_a_warning(monkeypatch, tmp_path, code, word):
    said,calls = outcome(monkeypatch, tmp_path, [(0,'',[]),(code,'9 passed',['FAILED x']*code)], norse='9.9')
    assert said[-1]==word and any('9.9' in s for s in said) and latest.TESTS[0] in calls[1] and ('FAILED x' in said)==bool(code)


def test_without_an_index_it_is_a_warning(monkeypatch, tmp_path):
    said,_ = outcome(monkeypatch, tmp_path, [(1,'no index',[])])
    assert said==['warning: the newest simulators could not be installed: no index']
