"Killed at any moment and resumed, a run ends with the same bytes as one that was left alone"
import json, os, subprocess, sys
from pathlib import Path
import pytest


@pytest.fixture(scope='module', params=['short', pytest.param('full', marks=pytest.mark.soak)])
def kills(request, tmp_path_factory):
    "A few moments, or, asked for by `make soak`, many of them"
    r = subprocess.run([sys.executable, Path(__file__).with_name('kill_driver.py'), tmp_path_factory.mktemp('kills'), request.param], capture_output=True, text=True,
        env=os.environ|dict(OMP_NUM_THREADS='1'), timeout=500)
    assert r.returncode==0, r.stderr[-2000:]
    return request.param=='full',json.loads(r.stdout)['results']


@pytest.mark.parametrize('form,many', [('recipes',13), pytest.param('learning', 18, marks=pytest.mark.soak)])
def test_each_way_to_learn_ends_the_same(tmp_path, form, many):
    "Every recipe killed in the float or in the quantized phase, or, by `make soak`, in both; and what goes between gradients and a step"
    r = subprocess.run([sys.executable, Path(__file__).with_name('kill_driver.py'), tmp_path, form], capture_output=True, text=True,
        env=os.environ|dict(OMP_NUM_THREADS='1'), timeout=500)
    assert r.returncode==0, r.stderr[-2000:]
    runs = json.loads(r.stdout)['results']
    for k in runs: assert (k['first'],k['checkpoint'],k['resumed'],k['verified'],k['same'])==(-9,True,0,0,True), k
    assert {k['metrics'] for k in runs}=={2,5} and len(runs)==many


def killed(kills): return [k for k in kills[1] if k['first']==-9 and k['resumed'] is not None]


def test_each_run_was_killed_and_ends_the_same(kills):
    full,runs = kills
    assert len(killed(kills))>=(10 if full else 4)
    assert all(k['first']==-9 for k in runs if k['kind']!='time') # a clock may strike after the end
    for k in runs:
        if k['resumed'] is not None: assert (k['resumed'],k['verified'],k['same'])==(0,0,True), k

def test_killed_inside_saves(kills):
    left = [f for k in killed(kills) for f in k['left']] # half a file, beside the one before it
    assert len(left)>=(6 if kills[0] else 2) and sum('.last.safetensors.' in f for f in left)>=(4 if kills[0] else 1)

def test_lines_were_torn(kills): assert sum(k['torn'] for k in killed(kills))>=(2 if kills[0] else 1)

def test_killed_before_the_first_checkpoint_and_in_both_phases(kills):
    done = killed(kills)
    assert any(not k['checkpoint'] for k in done)
    assert any(k['checkpoint'] and k['metrics']<3 for k in done) and any(k['metrics'] in (4,5) for k in done)
