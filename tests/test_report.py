"The report: what it shows, and which files it refuses"
import base64
import json
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from quarantion.checks import CheckError
from quarantion.files import append_jsonl, load_tensors, save_tensors, write_atomic
from quarantion.inspect.report import write_report
from quarantion.paper import draw_png, on_dark
from quarantion.train.rundir import dump_toml


def sample(hidden=(12,), quantized=True, T=9, C=4, q=4, seed=0):
    r,t = np.random.default_rng(seed),{}
    t['confusion'] = np.eye(C, dtype=np.int64)*5
    t['confusion'][0,0],t['confusion'][0,1] = 4,1
    t['label'],t['image'] = np.array([2]),r.random((8,8))
    for i,(j,n) in enumerate(zip((64,*hidden), (*hidden,C))):
        t[f'weight.{i}'],t[f'theta.{i}'] = r.standard_normal((n,j)).astype(np.float32),np.ones(n, np.float32)
        for net in ('float','quant')[:1+quantized]:
            t[f'{net}.spk.{i}'],t[f'{net}.mem.{i}'] = (r.random((T,n))<.2).astype(np.uint8),r.random((T,n)).astype(np.float32)
        if quantized: t[f'scale.{i}'],t[f'codes.{i}'] = np.full(n, .5, np.float32),np.round(t[f'weight.{i}']/.5).clip(-q, q).astype(np.int8)
    return t


def kept(t, K=3):
    "What runs keep since the report opens with the proof"
    r = np.random.default_rng(1)
    L = sum(k.startswith('quant.spk.') for k in t)
    more = {f'integer.spk.{i}':t[f'quant.spk.{i}'] for i in range(L)} | {f'{n}.fired.{i}':t[f'{n}.spk.{i}'].sum(0, dtype=np.int64)*9 for n in ('float','quant') for i in range(L)}
    return more|{'counted':np.int64(100), 'wrong.image':r.random((K,8,8)).astype(np.float32), 'wrong.label':np.arange(K), 'wrong.votes':np.roll(np.eye(K, 4, dtype=np.float32), 1, 1)}


def make(run, policy='nonary', result=None, more=None, **kw):
    quantized = policy!='float'
    t = sample(quantized=quantized, **kw)
    save_tensors(run/'sample.safetensors', t|(kept(t)|more if more is not None else {}), dict(format='quarantion.sample', version=2, **(dict(quant_max=4) if quantized else {})))
    write_atomic(run/'config.toml', dump_toml(dict(policy=policy, steps=9, note='<script>alert(1)</script>')).encode())
    for i in range(4): append_jsonl(run/'metrics.jsonl', dict(phase='float' if i<2 else 'qat', epoch=i%2, loss=1/(i+1), accuracy=.9, spike_rate=.1, lr=.1, time_s=1.))
    r = dict(run='r<1>', data='digits', policy=policy, seed=0, float_accuracy=.95, test_accuracy=.95 if quantized else None, samples=20, spikes=2880 if quantized else None,
             mismatches=0 if quantized else None, spike_rate=.1, bytes=500 if quantized else None, seconds=1.5)
    write_atomic(run/'result.json', json.dumps(r|(result or {})).encode())
    return run


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    "A run with everything that a run keeps, and its report; nobody changes them"
    layers = [dict(name='<one>', rate=.1, compared=1_000_000_000, mismatches=0, levels=9, weights=768, bytes=308), dict(name='3')]
    run = make(tmp_path_factory.mktemp('finished')/'run', more={}, result=dict(spikes=2_394_000, float_bytes=4000, layers=layers))
    return run,write_report(run)


@pytest.fixture
def undrawn(monkeypatch):
    "For what is said and refused, one empty picture does for all"
    empty = draw_png(lambda fig: None, (.1,.1))
    monkeypatch.setattr('quarantion.inspect.report.draw_png', lambda *args, **kw: empty)


@pytest.mark.parametrize('policy, kw', [('float',{}), ('nonary',dict(hidden=())), ('nonary',dict(hidden=(7,5), T=1))])
def test_report_of_any_shape(tmp_path, policy, kw):
    run = make(tmp_path/'run', policy, **kw)
    page = write_report(run)
    text = page.read_text()
    assert page==run/'report.html' and len(list((run/'figures').glob('*.png')))==text.count('<img')>=8
    assert text.count('<figure>')==text.count('<figcaption>') and not re.search(r'https?:|<script|<link|@import|url\(', text)
    assert ('were skipped' in text)==(policy=='float') and '&lt;script&gt;' in text and 'r&lt;1&gt;' in text


def test_report_reads_the_extras(finished, undrawn, tmp_path):
    run,page = finished
    shutil.copytree(run, tmp_path/'run')
    (tmp_path/'run'/'report.html').unlink()
    (tmp_path/'run'/'integer.safetensors').write_bytes(bytes(1234))
    text = write_report(tmp_path/'run', tmp_path/'page.html').read_text()
    assert '8.00 ×' in text and '&lt;one&gt;' in text and '1,234 bytes' in text and '0.1000' in text
    assert not (tmp_path/'run'/'report.html').exists()


def place(text, *words):
    at = [text.index(w) for w in words]
    assert at==sorted(at), dict(zip(words, at))


def test_report_opens_with_the_proof(finished, undrawn, tmp_path):
    "Then counts a neuron, then single spikes; the command that opens the run is on the first screen"
    run,page = finished
    text = page.read_text()
    place(text, '<b class=good>0</b> of 2,394,000 spikes differ', 'alt="Spikes of the first layer in the quantized network and in the integer program: 0 of 108 differ"',
          'class=cards', "<code>quarantion look &#x27;r&lt;1&gt;&#x27;</code>", 'Float against quantized', 'the first 100 test samples', 'drift apart because', 'One over the other')
    t,_ = load_tensors(run/'sample.safetensors', 'quarantion.sample', 2)
    assert f'Layer &lt;one&gt;: {t["float.fired.0"].sum():,} and {t["quant.fired.0"].sum():,} spikes' in text
    off = t['quant.spk.0'].copy()
    off[0,0] ^= 1
    assert 'program: 1 of 108 differ' in write_report(make(tmp_path/'other', more={'integer.spk.0':off})).read_text(), 'what differs is counted, not taken from the result'


def test_wrong_answers_are_shown(finished, undrawn, tmp_path):
    text = finished[1].read_text()
    place(text, 'Mistakes', 'A 0, answered 1', 'A 2, answered 3', '3 of the 1 test samples', 'Confusion matrix')
    for change,say in (({'wrong.label':np.array([0,1,4])}, '`wrong.label`: expected in [0, 3], found 4'), ({'wrong.votes':np.zeros((3,5))}, '`wrong.votes`: expected axes `k c` with k=3, c=4'),
                       ({'quant.fired.0':np.zeros(3)}, '`quant.fired.0`: expected axes `n` with n=12'), ({'integer.spk.0':np.full((9,12), 2)}, '`integer.spk.0`: expected in [0, 1], found 2')):
        with pytest.raises(CheckError, match=re.escape(say)): write_report(make(tmp_path/say[1:8]/say[-3:].strip('.,'), more=change))


def test_changed_settings_first(undrawn, tmp_path):
    run = make(tmp_path/'run')
    text = write_report(run).read_text()
    place(text, 'Settings</h2>', 'note', '&lt;script&gt;', '<details><summary>1 settings as usual</summary>', '>policy<')
    assert '<tr><td>steps</td><td>9</td><td>25</td></tr>' in text
    write_atomic(run/'config.toml', dump_toml(dict(policy='nonary', learn=[])).encode())
    assert 'All settings are the usual ones.' in write_report(run).read_text()


def test_accuracy_on_test_samples(undrawn, tmp_path):
    run = make(tmp_path/'run')
    assert 'Hollow marks' not in write_report(run).read_text()
    append_jsonl(run/'metrics.jsonl', dict(phase='qat', epoch=3, loss=1., accuracy=.9, spike_rate=.1, test_accuracy=.8))
    assert 'Hollow marks are the accuracy on the test samples' in write_report(run).read_text()
    append_jsonl(run/'metrics.jsonl', dict(phase='qat', epoch=3, loss=1., accuracy=.9, spike_rate=.1, test_accuracy=2))
    with pytest.raises(CheckError, match=re.escape('`test_accuracy`: expected in [0, 1], found 2')): write_report(run)


def test_each_picture_is_drawn_once(finished, monkeypatch, tmp_path):
    "What the dark page shows is made of the light picture: to draw is what a report costs"
    drawn = []
    def draw(paint, *args, **kw):
        drawn.append(draw_png(paint, *args, **kw))
        return drawn[-1]
    monkeypatch.setattr('quarantion.inspect.report.draw_png', draw)
    start = time.process_time()
    text = write_report(finished[0], tmp_path/'page.html').read_text()
    print(f'{len(drawn)} pictures, {time.process_time()-start:.1f} s of the processor')
    pictures = [base64.b64decode(p) for p in re.findall(r'data:image/png;base64,([^"]+)"', text)]
    assert len(drawn)==text.count('<img') and set(pictures)=={*drawn, *map(on_dark, drawn)}


def test_a_failed_proof_is_not_hidden(undrawn, tmp_path):
    text = write_report(make(tmp_path/'run', result=dict(mismatches=3))).read_text()
    assert 'The proof failed' in text and '<b class="bad">3</b>' in text and 'fired exactly' not in text


def test_report_is_the_same_in_another_process(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path/'run')
    run = tmp_path/'run'
    here = finished[1].read_bytes(),{p.name:p.read_bytes() for p in (finished[0]/'figures').iterdir()}
    code = 'import sys, matplotlib; matplotlib.rcParams["font.size"] = 20; from quarantion.inspect.report import write_report; write_report(sys.argv[1])'
    subprocess.run([sys.executable, '-c', code, str(run)], check=True)
    assert ((run/'report.html').read_bytes(),{p.name:p.read_bytes() for p in (run/'figures').iterdir()})==here


@pytest.mark.parametrize('name', ['config.toml','metrics.jsonl','result.json','sample.safetensors'])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    run = make(tmp_path/'run')
    data = (run/name).read_bytes()
    for bad in (None, b'{"a\xff', data[:len(data)//2] if name=='sample.safetensors' else b'[1, 2\n'):
        (run/name).unlink() if bad is None else (run/name).write_bytes(bad)
        with pytest.warns(UserWarning) if name=='metrics.jsonl' and bad==b'{"a\xff' else nothing(), pytest.raises(CheckError, match=f'{re.escape(str(run/name))}.*expected .*found '): write_report(run)
    assert not (run/'report.html').exists()


class nothing:
    def __enter__(self): pass
    def __exit__(self, *args): pass


@pytest.mark.parametrize('change, say', [
    (dict(run=None), "`run`: expected a string, found None"), (dict(seed=1.5), '`seed`: expected a whole number, found 1.5'), (dict(seed=True), '`seed`'),
    (dict(test_accuracy=None), '`test_accuracy`: expected a number'), (dict(float_accuracy=95.), '`float_accuracy`: expected in [0, 1], found 95'), (dict(mismatches=-1), '`mismatches`: expected no less than 0'),
    (dict(float_bytes='4'), '`float_bytes`'), (dict(layers={}), None), (dict(layers=5), '`layers`: expected a list'), (dict(layers=[5]), '`layers[0]`: expected an object'),
    (dict(layers=[dict(name=3)]), '`name`: expected a string, found 3'), (dict(samples=21), '`confusion`: expected 21 samples, as in result.json, found 20'),
    (dict(test_accuracy=.9), '`confusion`: expected 90.00 % right answers, as in result.json, found 95.00 %')])
def test_bad_results(undrawn, tmp_path, change, say):
    run = make(tmp_path/'run', result=change)
    if say is None: write_report(run)
    else:
        with pytest.raises(CheckError, match=re.escape(say)): write_report(run)


@pytest.mark.parametrize('key, value, say', [
    ('loss', None, '`loss`: expected a number, found None'), ('accuracy', 2, '`accuracy`: expected in [0, 1]'), ('spike_rate', 'x', '`spike_rate`: expected a number'), ('phase', 'test', "`phase`: expected float or qat, or a `kind` that is, found 'test'")])
def test_bad_metrics(tmp_path, key, value, say):
    run = make(tmp_path/'run')
    append_jsonl(run/'metrics.jsonl', dict(phase='qat', epoch=3, loss=1., accuracy=.9, spike_rate=.1)|{key:value})
    with pytest.raises(CheckError, match='metrics.jsonl, line 5: '+re.escape(say)): write_report(run)


@pytest.mark.parametrize('change, head, say', [
    (dict(confusion=None), {}, '`confusion`: expected a tensor, found none'), (dict(confusion=np.eye(4)*5), {}, '`confusion`: expected whole numbers'), (dict(label=None), {}, '`label`: expected one number, found none'),
    (dict(label=np.array(4)), {}, '`label`: expected in [0, 3], found 4'), (dict(image=np.zeros(64)), {}, '`image`: expected axes `h w`'), ({'theta.0': np.ones(3)}, {}, '`theta.0`: expected axes `n` with n=12'),
    ({'quant.spk.1': None}, {}, '`quant.spk.1`: expected a tensor, found none'), ({'float.spk.0': np.full((9,12), 2, np.uint8)}, {}, '`float.spk.0`: expected in [0, 1], found 2'),
    ({'quant.mem.0': np.zeros((8,12), np.float32)}, {}, '`quant.mem.0`: expected axes `t n` with t=9, n=12'), ({'scale.0': np.ones(3, np.float32)}, {}, '`scale.0`: expected 1 or 12 scales, found 3'),
    ({'scale.1': np.zeros(4, np.float32)}, {}, '`scale.1`: expected scales > 0'), ({'codes.0': np.full((12,64), 5, np.int8)}, {}, '`codes.0`: expected in [-4, 4], found 5'), ({}, dict(quant_max=None), '`quant_max` of the header'),
    ({}, dict(version=3), 'version: expected 2, found 3'), ({}, dict(format='other'), 'format: expected quarantion.sample, found other')])
def test_bad_samples(tmp_path, change, head, say):
    run = make(tmp_path/'run')
    t,h = load_tensors(run/'sample.safetensors', 'quarantion.sample', 2)
    save_tensors(run/'sample.safetensors', {k:v for k,v in (t|change).items() if v is not None}, h|head)
    with pytest.raises(CheckError, match='sample.safetensors: '+re.escape(say)): write_report(run)


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_report_in_a_browser(finished):
    sync = pytest.importorskip('playwright.sync_api')
    page = finished[1]
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu','--disable-background-networking'])
        for width,scheme in ((1200,'light'), (390,'dark'), (320,'light')):
            p,said = b.new_page(viewport=dict(width=width, height=800), color_scheme=scheme),[]
            p.on('console', lambda m: said.append(m.text))
            p.on('request', lambda r: said.append(r.url) if not r.url.startswith(('data:','file:')) else None)
            p.goto(page.as_uri())
            assert p.evaluate('document.documentElement.scrollWidth')<=width and not said
            assert p.evaluate('[...document.images].every(i => i.complete && i.naturalWidth>0)')
            dark = p.evaluate('getComputedStyle(document.body).backgroundColor')!='rgb(255, 255, 255)'
            assert dark==(scheme=='dark')
            paper = p.evaluate("""async () => { const out = [];
                for (const i of document.images) { const c = document.createElement('canvas'), b = await createImageBitmap(i);
                    c.width = c.height = 1; const g = c.getContext('2d'); g.drawImage(b, 0, 0, 1, 1, 0, 0, 1, 1);
                    out.push([...g.getImageData(0, 0, 1, 1).data].slice(0, 3).join()) }
                const page = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).join();
                return [...new Set(out)].concat(page) }""")
            assert len(paper)==2 and paper[0]==paper[1], 'pictures stand on the paper of the page'
        b.close()
