"Figures, films and the inspector of waves: what they show, what they measure, what they write and refuse; the command `waves`"
import io
import json
import math
import os
import re
import shutil
import stat

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from quarantion.checks import CheckError
from quarantion.export.parts.header import js
from quarantion.inspect import wave_film
from quarantion.inspect.parts.wave_law import WAVE_LAW, disc, on_levels, pulse, run_on_levels
from quarantion.inspect.wave_film import emitter_tones, film_of, gif_of, hear, mp4_of, run_emitters, spectrum_of, waves_told, write_waves
from quarantion.inspect.wave_inspector import WaveInspector
from quarantion.inspect.waves import measure_omega, plot_dispersion, plot_energy, plot_field, plot_locality
from quarantion.paper import new_axes, png
from quarantion.waves.energy import field_energy
from quarantion.waves.levels import Levels, propagate_levels, to_levels
from quarantion.waves.law import Medium, grid_omega, wave_loop
from quarantion.waves.propagate import watch
from quarantion.waves.torus import Torus, load_field, new_field
from commands import refused
from test_cli import command

NODE = pytest.mark.skipif(shutil.which('node') is None, reason='no node (apt-get install nodejs)')


def noise(shape, seed=0, kind='complex128'):
    rng = np.random.default_rng(seed)
    return new_field(Torus(shape), kind)._replace(psi=(rng.normal(size=shape)+1j*rng.normal(size=shape)).astype(kind))


# figures

@pytest.mark.parametrize('shape,along,dt,speed', [((64,),'axis',.5,1.), ((32,32),'axis',.3,1.), ((32,32),'diagonal',.3,1.), ((8,24),'axis',.2,1.5), ((12,12,12),'diagonal',.2,1.)])
def test_peaks_lie_on_the_curve(shape, along, dt, speed):
    "Of a run that began as noise, every wave number is within a quarter of what the run can tell apart"
    got = watch(noise(shape), 500, 1, Medium(speed, 0.), dt=dt)
    p = measure_omega(got.psi, dt, along)
    exact = grid_omega(np.repeat(p.k[:,None], len(shape) if along=='diagonal' else 1, 1), dt, speed)
    assert len(p.k)==shape[-1]//2 and p.resolution==pytest.approx(2*np.pi/500/dt)
    assert np.abs(p.omega-exact).max()<p.resolution/4
    ax = plot_dispersion(got.psi, dt, 1, speed, along, new_axes())
    line,rings = ax.lines[0].get_xydata(),ax.lines[2].get_xydata()
    assert np.abs(np.interp(rings[:,0], *line.T)-rings[:,1]).max()<p.resolution/4 # as it is drawn


def test_another_law_is_off_the_curve():
    "What is drawn is measured: a run at another speed misses the line"
    got = watch(noise((64,)), 400, 1, Medium(.9, 0.), dt=.5)
    p = measure_omega(got.psi, .5)
    assert (np.abs(p.omega-grid_omega(p.k[:,None], .5))>p.resolution).mean()>.8


def test_figures_leave_pyplot_alone_and_are_equal():
    plt.close('all')
    f,t = noise((9,12)).psi,np.arange(5.)
    many = watch(noise((8,)), 40, 1, Medium(damping=0.), dt=.3).psi
    draw = [lambda a: plot_field(f, 'real', s=np.eye(9, 12), ax=a), lambda a: plot_field(f, 'phase', ax=a), lambda a: plot_field(f[0], 'amplitude', ax=a),
            lambda a: plot_energy(t, np.outer(1+t, [1,2]), ['a','b'], True, a), lambda a: plot_dispersion(many, .3, ax=a), lambda a: plot_locality(dict(a=[1,2,9]), a)]
    for d in draw:
        a,b = new_axes(),new_axes()
        assert d(a) is a
        d(b)
        assert png(a.figure)==png(b.figure)
    assert not plt.get_fignums()


def test_a_slice_holds_the_largest_amplitude():
    psi = np.zeros((3,4,5,6)); psi[2,3,1,1] = 7
    a = plot_field(psi, 'amplitude', ax=new_axes())
    assert a.get_xlabel()=='cells [2, 3]' and a.images[0].get_array().max()==7
    assert plot_field(psi, 'real', at=(0,0), ax=new_axes()).images[0].get_array().max()==0


def test_phases_fade_where_there_is_no_amplitude():
    psi = np.array([[1,1j],[1e-3,0]])
    alpha = np.asarray(plot_field(psi, 'phase', ax=new_axes()).images[0].get_array())[...,3]
    assert alpha.tolist()==[[1,1],[pytest.approx(.01),0]]


# the law in JavaScript

@NODE
@pytest.mark.parametrize('seed', range(4))
def test_javascript_is_the_law(seed):
    "Random shapes and media, real and complex, also with levels: equal to the last bit (float32 would allow rounding), after 30 steps"
    rng = np.random.default_rng(seed)
    shape,levels = tuple(map(int, rng.integers(2, 40, 2))),int(rng.choice([0,0,3,9,255]))
    kerr = float(rng.choice([0,-.3,.3]))
    medium = Medium(float(rng.uniform(.5, 1.5)), float(rng.choice([0,.1])), kerr, float(kerr>0)*.7)
    f = noise(shape, seed, 'complex64')._replace(s=(2*rng.random(shape)).astype('f4'), r=rng.random(shape).astype('f4'))
    f = f._replace(velocity=noise(shape, seed+9, 'complex64').psi)
    law = dict(speed=medium.speed, dt=.3, kerr=medium.kerr, saturation=medium.saturation)
    lists = {k: np.asarray(v).view('f4').ravel().tolist() for k,v in dict(u=f.psi, v=f.velocity, s=f.s, r=f.r).items()}
    got = js(WAVE_LAW, f'const w = newWave({list(shape)}, {json.dumps(law)}), d = {json.dumps(lists)}; for (const k in d) w[k].set(d[k])',
             f'setMedium(w, {medium.damping}); run(w, 30, {levels}, 1.5)', '[[...w.u], [...w.v], energyOf(w)]')
    want = run_on_levels(f, 30, medium, None, .3, levels, 1.5)
    assert np.array_equal(np.float32(got[0]), want.psi.view('f4').ravel()) and np.array_equal(np.float32(got[1]), want.velocity.view('f4').ravel())
    assert got[2]==pytest.approx(field_energy(want, medium), rel=1e-6)
    if not levels: assert np.array_equal(want.psi, wave_loop(f, 30, medium, dt=.3).psi)


@given(st.integers(1, 20), st.integers(2, 30), st.integers(2, 30), st.floats(0, 12), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_disc_is_what_is_near(seed, h, w, radius, k):
    "Against all distances on the torus, at most half of it each way"
    at = k%h,(k*7)%w
    d = [np.minimum(np.abs(np.arange(n)-c), n-np.abs(np.arange(n)-c)) for n,c in zip((h,w), at)]
    near = (d[0]<=(h-1)//2)[:,None]&(d[1]<=(w-1)//2)&(d[0][:,None]**2+d[1]**2<=radius**2)
    assert np.array_equal(np.isfinite(disc((h,w), at, radius)), near)


@pytest.mark.parametrize('levels', [3,5,9,33,255])
def test_on_levels_is_the_nearest(levels):
    x = np.linspace(-1.5, 1.5, 999)+1j*np.linspace(1.5, -1.5, 999)
    table = np.linspace(-1, 1, levels)
    got = on_levels(x, levels)
    assert np.abs(got.real-x.real.clip(-1, 1)).max()<=1/(levels-1)+1e-12 and np.isin(got.real.round(12), table.round(12)).all()
    assert (on_levels(got, levels)==got).all() and (on_levels(-x, levels)==-got).all()


@pytest.mark.parametrize('digits', [1,2])
def test_levels_are_those_of_a_nonary_field(digits):
    "9 and 81 levels, as `waves.levels` rounds to them"
    side = (9**digits-1)//2
    scale = 2.**-math.ceil(math.log2(side)) # exact in float32
    f = to_levels(noise((12,17), kind='complex64'), Levels(scale, digits))
    want = propagate_levels(f, 20, Levels(scale, digits), Medium(), None, .3)
    got = run_on_levels(f, 20, Medium(), None, .3, 9**digits, side*scale)
    assert np.array_equal(got.psi, want.psi) and np.array_equal(got.velocity, want.velocity)


# the inspector, without a browser

def test_inspector_keeps_a_field():
    f = noise((12,20), kind='complex64')._replace(s=np.float32(.5), r=np.full((12,20), .25, np.float32))
    w = WaveInspector(f, medium=Medium(1.2, .07, -.1))
    g = w.field
    assert np.array_equal(g.psi, f.psi) and (g.s==.5).all() and (g.r==.25).all() and w.medium==Medium(1.2, .07, -.1)
    w.run(7)
    assert np.array_equal(w.field.psi, wave_loop(f, 7, w.medium, dt=w.dt).psi) and w.step==7
    w.field = g
    assert np.array_equal(w.field.psi, f.psi)
    w.drop((3,4), 2., .5)
    assert np.allclose(w.field.psi, f.psi+pulse((12,20), (3,4), 2., .5))
    w.slow_down((3,4), 2., 3.)
    assert (w.field.s==3).sum()==13
    w.close(); w.close()


def test_inspector_leaves_nothing():
    widget = pytest.importorskip('ipywidgets').widgets.widget
    before = set(widget._instances)
    w = WaveInspector(shape=(16,16))
    d = w._repr_mimebundle_()
    assert set(d)=={'text/plain','image/png'} and 'http' not in re.sub(r'http://www.w3.org\S*', '', w.to_html())
    w.close()
    assert set(widget._instances)==before and repr(w)=='WaveInspector (closed)' and w._repr_mimebundle_ is None
    for f in (lambda: w.field, lambda: w.run(1), w.to_html, w.say, lambda: setattr(w, 'field', None)):
        with pytest.raises(CheckError): f()


@pytest.mark.parametrize('state', [b'', b'12', bytes(16*9)])
def test_inspector_of_bytes_that_do_not_fit(state):
    "What a browser sends is looked at"
    w = WaveInspector(shape=(4,4))
    w.drop((1,1))
    w.state = state
    if state==b'': assert not w.field.psi.any()
    else:
        with pytest.raises(CheckError): _ = w.field
    w.close()


# films

@pytest.fixture(scope='module')
def run(): return run_emitters((64,64), 600, 5, seed=3)

def test_what_is_sung_is_heard(run):
    heard,power = hear(run)
    assert np.abs(heard-run.omega).max()<spectrum_of(run)[2]/2 and (power>0).all() and (np.diff(run.omega)>0).all()
    assert (run.times[-1],len(run.times))==(pytest.approx(600*run.dt),len(run.energy)) and (run.energy>0).all()
    told = json.loads(json.dumps(waves_told(run)))
    assert [e['omega'] for e in told['emitters']]==run.omega.tolist()
    wave = 2*np.pi/told['emitters'][0]['wavelength']
    assert grid_omega([wave], run.dt)==pytest.approx(run.omega[0], rel=1e-4)

def test_a_tone_that_nobody_sings_is_not_heard(run):
    other = run._replace(omega=np.array([run.omega[0],1.19]))
    assert np.isfinite(hear(other)[0]).tolist()==[True,False]

def test_equal_seeds_are_equal(run):
    again,other = run_emitters((64,64), 600, 5, seed=3),run_emitters((64,64), 32, 5, seed=4)
    assert np.array_equal(again.field.psi, run.field.psi) and film_of(again)==film_of(run)
    assert not np.array_equal(other.cells, run.cells)

@pytest.mark.parametrize('shape', [(64,), (3,), (5,6,7), (2,)*9, (1,16), (600,20)])
def test_any_shape_is_filmed(shape, tmp_path):
    r = run_emitters(shape, 20, 2)
    names = write_waves(r, tmp_path/'a')
    assert sorted(p.name for p in (tmp_path/'a').iterdir())==sorted(names)
    assert np.array_equal(load_field(tmp_path/'a/field.safetensors').psi, r.field.psi)
    if names[0]=='film.gif':
        with Image.open(tmp_path/'a/film.gif') as im: assert im.n_frames>=2 and 2<=max(im.size)<=600

def test_long_runs_keep_few_pictures():
    r = run_emitters((8,8), 5000, 1)
    assert len(r.frames)<=101 and len(r.times)==1250

def test_levels_of_a_run():
    r = run_emitters((16,16), 40, 2, levels=9)
    assert np.isin(4*r.field.psi.real, range(-4, 5)).all()

def test_a_film_has_its_pictures():
    k = np.stack([np.full((8,12), i, np.uint8) for i in (0,31,62,31)])
    with Image.open(io.BytesIO(gif_of(k, 50))) as im:
        assert (im.n_frames,im.info['loop'],im.info['duration'],im.size)==(4,0,50,(12,8))
        seen = []
        for i in range(4):
            im.seek(i); seen.append(im.convert('RGB').getpixel((3, 3)))
    assert seen[1]==seen[3] and min(seen[1])>240 and seen[0][2]>seen[0][0] and seen[2][0]>seen[2][2]


def stub(folder, text):
    path = folder/'ffmpeg'
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(path.stat().st_mode|stat.S_IXUSR)

def test_ffmpeg_gets_whole_pictures(tmp_path, monkeypatch, run):
    "A stand-in that keeps what it is given: size, rate, and every pixel"
    stub(tmp_path, 'for last; do :; done; echo "$@" > "$KEPT.words"; cat > "$KEPT.raw"; printf film > "$last"')
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.setenv('KEPT', str(tmp_path/'kept'))
    assert film_of(run)==('film.mp4',b'film')
    words,n = (tmp_path/'kept.words').read_text(),len(run.frames)
    assert '-s 256x256' in words and '-r 25' in words and (tmp_path/'kept.raw').stat().st_size==n*256*256*3

def test_ffmpeg_that_fails_is_one_line_and_no_file(tmp_path, monkeypatch, run):
    stub(tmp_path, 'cat > /dev/null; echo "no such codec" >&2; exit 3')
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    with pytest.raises(CheckError, match='expected a film, found no such codec'): write_waves(run, tmp_path/'out')
    assert not (tmp_path/'out').exists()
    monkeypatch.setattr(wave_film.shutil, 'which', lambda name: None)
    with pytest.raises(CheckError, match='on the path'): mp4_of(np.zeros((1,2,2), np.uint8))

@pytest.mark.skipif(shutil.which('ffmpeg') is None, reason='no ffmpeg (apt-get install ffmpeg)')
def test_an_mp4(run):
    name,data = film_of(run)
    assert name=='film.mp4' and data[4:8]==b'ftyp' and len(data)>1000

def test_tones_are_apart():
    for n in (1,2,8,64):
        w = emitter_tones(n)
        assert len(w)==n and .3<=w[0] and w[-1]<=1.2 and (n==1 or np.diff(w).min()>.9/n/8)


# the command

SMALL = 'waves','--shape','48x40','--steps','400','--emitters','3'

def test_command(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code,out,err = here(*SMALL)
    assert code==0 and err=='' and '48 × 40 cells, 400 steps of' in out and re.search(r'[0-3] of 3 tones heard', out) and 'waves: film.' in out
    assert {p.name for p in (tmp_path/'waves').iterdir()}>={'waves.png','field.safetensors'}

def test_command_as_json_is_one_object_alone(here, tmp_path):
    code,out,err = command(*SMALL, '--json', '--seed', 5, '--levels', 17, '--out', tmp_path/'a')
    said = json.loads(out)
    assert (code,err,out.count('\n'))==(0,'',1) and said['shape']==[48,40] and (said['steps'],said['levels'],said['seed'])==(400,17,5)
    assert [len(said['emitters']),said['folder']]==[3,str(tmp_path/'a')] and said['files'][1:]==['waves.png','field.safetensors']
    assert {'cell','omega','wavelength','heard','power'}==set(said['emitters'][0]) and said['seconds']>0
    again = json.loads(here(*SMALL, '--json', '--seed', 5, '--levels', 17, '--out', tmp_path/'a')[1])
    assert again|dict(seconds=0)==said|dict(seconds=0) # over what is there

@pytest.mark.parametrize('words,said', [('--shape 4xx', 'such as 256x256'), ('--shape 1', 'two cells or more'), ('--shape 0x4', 'from 1'), ('--shape 2x2x2x2x2x2x2x2x2x2', 'nine axes'),
    ('--shape 99999x99999', 'bytes'), ('--steps 3', '`steps`'), ('--steps x', '--steps'), ('--emitters 0', '`emitters`'), ('--emitters 99', '`emitters`'), ('--damping -1', '`damping`'),
    ('--damping nan', '`damping`'), ('--levels 4', '`levels`'), ('--seed -1', '`seed`'), ('--flavour 1', '--flavour'), ('--shape 2x2 --emitters 5', 'as there are cells')])
def test_wrong_values_are_one_line(here, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    refused(here('waves', *words.split()), said)
    assert not [*tmp_path.iterdir()]

def test_a_folder_that_cannot_be_written(here, tmp_path):
    (tmp_path/'file').write_text('')
    refused(here(*SMALL, '--out', tmp_path/'file'), 'file')
    assert (tmp_path/'file').read_text()==''

def test_a_sealed_run_stays_as_it_was(here, tmp_path):
    for name in 'manifest.json','config.toml': (tmp_path/name).write_text('{}')
    refused(here(*SMALL, '--out', tmp_path/'waves'), 'outside of runs')


def test_a_peak_is_one_tones():
    "In a few steps eight tones are one peak: one of them is heard, not eight"
    from quarantion.inspect.wave_film import hear, run_emitters
    heard,power = hear(run_emitters(shape=(32,32), steps=16))
    assert np.isfinite(heard).sum()<=1 and (power>0).sum()<=1
