"""The inspectors in a real JupyterLab and headless Chromium: every control moves picture and words, by mouse or keyboard; no errors,
nothing asked from elsewhere, memory bounded. Screenshots are left in build/screens."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
CHROMIUM = Path('/usr/bin/chromium')
SCREENS = ROOT/'build/screens'
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--js-flags=--expose-gc']
SETTINGS = {'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False, doNotDisturbMode=True),
            'notebook-extension/tracker': dict(windowingMode='none'), # keep cells in the page that are out of sight
            'docmanager-extension/plugin': dict(autosave=False)}

PAGE = ['''import os, tempfile, psutil, torch
torch.set_num_threads(1)
from quarantion.data import load_digits
from quarantion.inspect import NonaryExplorer, RunCompare, SizeTree, SpikeExplorer, SurrogateExplorer
from quarantion.train.job import Config, finish, load_data, start, train
d = load_digits()
def make(policy):
    cfg = Config(policy=policy, hidden=16, steps=5, epochs=1, qat_epochs=0 if policy=='float' else 1)
    run,split = start(cfg, 'runs'),load_data(cfg)
    finish(run, split, *train(run, split))
    return run
runs = [make(p) for p in ('float','int8','nonary')]''',
    'spikes = SpikeExplorer(d.x_test[:20], d.y_test[:20])\nspikes', 'nonary = NonaryExplorer()\nnonary', 'surrogates = SurrogateExplorer()\nsurrogates',
    'compare = RunCompare(runs)\ncompare', "tree = SizeTree(runs[2]/'integer.safetensors')\ntree",
    '''from torch import nn
from quarantion.inspect import MembraneInspector, ObserverInspector
from quarantion.quant import Policy, prepare
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.fit import batches, train_epoch
torch.manual_seed(0)
net = Network(nn.Linear(64,1000), LIF(), nn.Linear(1000,10), LIF(reset='none'), steps=200)
q = prepare(net, Policy('int4', membrane='levels(16)', layers={'last': dict(membrane='exact')}), d.x_train[:50])
membranes = MembraneInspector(net, d.x_test[:3], q)
membranes''', 'observer = ObserverInspector(q, batches(d.x_test, d.y_test, 20), batches=2)\nobserver', '''import numpy as np
from quarantion.inspect import SearchExplorer
from quarantion.memory import Index, fit_lsa
texts = [t for t in dict.fromkeys(getattr(np, n).__doc__ for n in dir(np)) if t]
lsa = fit_lsa(texts, dims=64)
search = SearchExplorer(Index(lsa(texts)), texts, lsa)
search''', '''from pathlib import Path
from quarantion.inspect import AskExplorer
from quarantion.memory import open_retriever
Path('pages').mkdir()
for n in 'array','ndarray','linspace','dot','sort','random','mean','where': Path(f'pages/{n}.txt').write_text(getattr(np, n).__doc__ or n)
Path('pages/more.md').write_text('# Rows\\n\\nTo sort rows see `lexsort` and `argsort`.\\n\\n# Columns\\n\\nWhat `lexsort` does with columns, and `argsort` too.\\n')
asks = AskExplorer(open_retriever('pages', 'kept'), 'how do I sort rows')
asks''', '''from quarantion.files import append_jsonl
from quarantion.inspect import HealthInspector
def epoch(k): # of a run in which a layer falls silent
    layers = [dict(name=f'fc{i}', rate=.2 if i!=1 else .2/(1+k), dead=.02 if i!=1 else min(.9, .1*k), grad=10.**(i-4)) for i in range(4)]
    alarm = dict(cause='silent', where='layer fc1', since=4, level='error', said=f'{10*k} % of neurons have not fired', remedy='lower θ', price='nothing', signal='dead')
    return dict(phase='float', epoch=k, loss=1., accuracy=.5, health=dict(layers=layers, in_max=1., alarms=[alarm] if 4<=k<9 else []))
for k in range(8): append_jsonl('health/metrics.jsonl', epoch(k))
health = HealthInspector('health')
health.epoch.value = 3
health''', '''from quarantion.inspect import TokenInspector
from quarantion.language import train_tokenizer
token_inspector = TokenInspector({f'NPMI, α = {a}':train_tokenizer(texts, 1024, alpha=float(a)) for a in (2,1)}|{'counts':train_tokenizer(texts, 1024)}, 'Return the sorted values of an array.')
token_inspector.vocab.value = token_inspector.vocab.options[6][1]
token_inspector''']
SLIDERS = [('SpikeExplorer','sample'), ('SpikeExplorer','steps'), ('SpikeExplorer','gain'), ('SpikeExplorer','beta'), ('SpikeExplorer','seed'), ('SpikeExplorer','pixel'),
           ('NonaryExplorer','a'), ('NonaryExplorer','b'), ('NonaryExplorer','v'), ('SurrogateExplorer','slope'), ('SurrogateExplorer','current'), ('SurrogateExplorer','beta'),
           ('MembraneInspector','step'), ('ObserverInspector','grid'), ('ObserverInspector','constant'), ('SearchExplorer','k'), ('SearchExplorer','noise'), ('AskExplorer','alpha'), ('AskExplorer','mix'), ('AskExplorer','k'), ('HealthInspector','epoch'),
           ('TokenInspector','above'), ('TokenInspector','vocab')]
CHOICES = [('SurrogateExplorer','surrogate','atan'), ('RunCompare','curve','accuracy'), ('RunCompare','shown',None), ('SizeTree','stage','packed'), ('SizeTree','layer','layer 1'),
           ('ObserverInspector','tensor','membrane'), ('ObserverInspector','layer','3'), ('MembraneInspector','layer','3 (10 neurons)'),
           ('SearchExplorer','bits','first digits'), ('SearchExplorer','bits','both digits'), ('SearchExplorer','bits','numbers'),
           ('HealthInspector','signal','dead'), ('HealthInspector','layer','fc2'), ('TokenInspector','below','NPMI, α = 2')]
ALL = 'SpikeExplorer', 'NonaryExplorer', 'SurrogateExplorer', 'RunCompare', 'SizeTree', 'MembraneInspector', 'ObserverInspector', 'SearchExplorer', 'AskExplorer', 'HealthInspector', 'TokenInspector'


@contextmanager
def jupyterlab(root, cells):
    "Address of a JupyterLab of its own, that knows nothing of the user's; all.ipynb has these cells"
    work = root/'work'
    work.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells],
        metadata=dict(kernelspec=dict(display_name='python3', language='python', name='python3'))), work/'all.ipynb')
    for f in (ROOT/'nbs/tutorials').glob('0[15]_*.ipynb'): shutil.copy(f, work)
    for k, v in SETTINGS.items():
        package,name = k.split('/')
        folder = root/'set/@jupyterlab'/package
        folder.mkdir(parents=True, exist_ok=True)
        (folder/f'{name}.jupyterlab-settings').write_text(json.dumps(v))
    env = {k: v for k, v in os.environ.items() if not k.startswith(('JUPYTER', 'IPYTHON')) and k!='MPLBACKEND'} | dict(
        HOME=str(root), JUPYTER_CONFIG_DIR=str(root/'cfg'), JUPYTER_DATA_DIR=str(root/'data'), JUPYTER_RUNTIME_DIR=str(root/'rt'),
        JUPYTERLAB_SETTINGS_DIR=str(root/'set'), JUPYTERLAB_WORKSPACES_DIR=str(root/'ws'), IPYTHONDIR=str(root/'ipy'), MPLCONFIGDIR=str(root/'mpl'),
        JUPYTER_PREFER_ENV_PATH='1', NO_PROXY='127.0.0.1,localhost', OMP_NUM_THREADS='1')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    base,start = f'http://127.0.0.1:{port}',time.perf_counter()
    with open(root/'lab.log', 'wb') as log:
        p = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ip=127.0.0.1', f'--port={port}', '--ServerApp.port_retries=0',
            f'--ServerApp.root_dir={work}', '--IdentityProvider.token=', '--ServerApp.password=', '--LabApp.expose_app_in_browser=True', '--LabApp.news_url=',
            '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', '--LabApp.extension_manager=readonly'],
            env=env, stdout=log, stderr=subprocess.STDOUT, cwd=work, start_new_session=True)
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            while True:
                if p.poll() is not None: pytest.fail((root/'lab.log').read_text()[-3000:])
                try:
                    ask.open(f'{base}/api/status', timeout=2)
                    break
                except OSError:
                    if time.perf_counter()-start>180: pytest.fail("JupyterLab did not answer within three minutes")
                    time.sleep(.1)
            yield base
        finally:
            p.send_signal(signal.SIGTERM) # ends its kernels, too
            try: p.wait(20)
            except subprocess.TimeoutExpired: p.kill(); p.wait()


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright
    assert CHROMIUM.exists(), 'the tests of the inspectors need Chromium; on Debian: apt install chromium'
    with sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield b
        b.close()


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp('lab'), PAGE) as base: yield base


@pytest.fixture(scope='module')
def browser():
    with chromium() as b: yield b


def opened(browser, base, name, wrong):
    "A page with notebook `name`, all cells run"
    context = browser.new_context(viewport=dict(width=1280, height=900))
    def route(r):
        if r.request.url.startswith((base, 'data:', 'blob:')): r.continue_()
        else:
            wrong.append(f'asked {r.request.url}')
            r.abort()
    context.route('**/*', route)
    page = context.new_page()
    page.set_default_timeout(60_000) # far more than any step takes: a busy machine is no failure
    page.on('console', lambda m: m.type=='error' and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(f'{base}/lab/tree/{name}?reset')
    page.wait_for_selector('.jp-NotebookPanel .jp-Cell')
    idle(page)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }") # no promise: it may never settle
    page.wait_for_function(r"() => [...document.querySelectorAll('.jp-CodeCell')].every(c => !c.querySelector('.cm-content')?.textContent.trim() || "
                           r"/\[\d+\]/.test(c.querySelector('.jp-InputArea-prompt').textContent))", timeout=300_000)
    idle(page)
    assert not page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
    return page


def idle(page):
    page.wait_for_function('''() => { const c = window.jupyterapp?.shell.currentWidget?.sessionContext, k = c?.session?.kernel;
        return c?.isReady && k && k.connectionStatus === 'connected' && k.status === 'idle' }''')


def kernel(page, expression):
    "The repr of an expression in the kernel"
    r = page.evaluate('''async e => { const k = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        return (await k.requestExecute({code: '', silent: true, user_expressions: {v: e}}).done).content.user_expressions.v }''', expression)
    assert r['status']=='ok', r
    return r['data']['text/plain']


def settled(page):
    "Everything that was done is heard of, in kernel and page: questions and answers keep their order, so it is when nothing changed between two answers"
    page.evaluate('''async () => { const k = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        const seen = () => [...document.querySelectorAll('img, canvas, .widget-readout, [class*=-message]')].map(e => [e.src, e.alt, e.dataset.seq, e.ariaLabel, e.innerText].join()).join();
        for (let old, now; old === undefined || old !== now;) { old = now; await k.requestExecute({code: '', silent: true}).done; now = seen() } }''')
    page.wait_for_function('() => [...document.querySelectorAll("img")].every(i => i.complete)')


def becomes(page, expression, value):
    "Ask the kernel until an expression has a value"
    page.evaluate('''async ([e, value]) => { const k = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel, start = performance.now();
        for (let v; v !== value;) { if (performance.now()-start>60000) throw Error(`${e} stays ${v}`);
            v = (await k.requestExecute({code: '', silent: true, user_expressions: {v: e}}).done).content.user_expressions.v.data?.['text/plain'] } }''', [expression, value])


def picture(page, name): return page.locator(f'img.{name}-image').get_attribute('src')


def changes(page, name, act):
    "Do `act`; another picture is drawn, and no error is shown. What the picture is said to show, before and after"
    settled(page) # what an earlier act drew late is not taken for what this one draws
    img = page.locator(f'img.{name}-image')
    src,said = picture(page, name),img.get_attribute('alt')
    act()
    page.wait_for_function('([c,s]) => { const i = document.querySelector(c); return i.src !== s && i.complete && i.naturalWidth>500 }', arg=[f'img.{name}-image', src])
    settled(page)
    assert page.locator(f'.{name}-message').inner_text().strip()==''
    return said,img.get_attribute('alt')


@pytest.fixture(scope='module')
def page(browser, lab):
    wrong = []
    page = opened(browser, lab, 'all.ipynb', wrong)
    yield page
    page.context.close()
    assert not wrong


def shot(page, name, more='light'):
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator(f'.{name}').first.screenshot(path=SCREENS/f'{name}-{page.viewport_size["width"]}-{more}.png')


@pytest.mark.parametrize('name,control', SLIDERS)
def test_slider_by_keyboard(page, name, control):
    "An arrow key moves it; its number and what the inspector says follow, except where only the picture does"
    if control=='constant': changes(page, name, lambda: page.locator(f'.{name}-tensor select').select_option('current')) # weights have no average
    handle = page.locator(f'.{name}-{control} .noUi-handle')
    handle.scroll_into_view_if_needed()
    readout = page.locator(f'.{name}-{control} .widget-readout')
    before = readout.inner_text()
    def act():
        handle.focus()
        page.keyboard.press('ArrowRight')
    said = changes(page, name, act)
    assert readout.inner_text()!=before
    if control not in ('pixel','v') and (name,control)!=('SurrogateExplorer','beta') and control not in ('current','constant'): assert said[0]!=said[1], said


@pytest.mark.parametrize('name,control,value', CHOICES)
def test_choice(page, name, control, value):
    "A choice of one, or of several runs"
    select = page.locator(f'.{name}-{control} select')
    a,b = changes(page, name, lambda: select.select_option(value) if value else select.select_option(index=[0,2]))
    assert a!=b or (name,control)==('SurrogateExplorer','surrogate')


def test_drag(page):
    "With the mouse, drawn once, when let go"
    track = page.locator('.SpikeExplorer-steps .noUi-target')
    track.scroll_into_view_if_needed()
    box,h = track.bounding_box(),page.locator('.SpikeExplorer-steps .noUi-handle').bounding_box()
    def act():
        page.mouse.move(h['x']+h['width']/2, h['y']+h['height']/2)
        page.mouse.down()
        page.mouse.move(box['x']+.5*box['width'], box['y']+box['height']/2, steps=5)
        page.mouse.up()
    changes(page, 'SpikeExplorer', act)
    steps = int(kernel(page, 'spikes.steps.value'))
    assert 40<steps<60
    assert f'over {steps} steps' in page.locator('img.SpikeExplorer-image').get_attribute('alt')


@pytest.mark.parametrize('name', ALL)
def test_dark_and_words(page, name):
    "Both buttons, and screenshots at both widths"
    words = page.locator(f'.{name}-words')
    assert words.inner_text().strip()==''
    page.locator(f'button.{name}-explain').click()
    page.wait_for_function('c => document.querySelector(c).innerText.trim().length>40', arg=f'.{name}-words')
    assert words.inner_text().strip()==page.locator(f'img.{name}-image').get_attribute('alt')
    page.set_viewport_size(dict(width=1280, height=1300)) # the whole of it in one picture
    shot(page, name)
    changes(page, name, page.locator(f'button.{name}-dark').click)
    shot(page, name, 'dark')
    page.set_viewport_size(dict(width=700, height=1300))
    page.wait_for_function('c => { const i = document.querySelector(c); return i.getBoundingClientRect().width <= 700 }', arg=f'img.{name}-image')
    shot(page, name, 'dark')
    page.set_viewport_size(dict(width=1280, height=900))
    changes(page, name, page.locator(f'button.{name}-dark').click)
    page.locator(f'button.{name}-explain').click()


def test_paper_follows_the_theme(page):
    "Of JupyterLab itself, there and back"
    theme = lambda name: page.evaluate("n => { window.jupyterapp.commands.execute('apputils:change-theme', {theme: n}) }", name)
    for name,dark in ('JupyterLab Dark',True),('JupyterLab Light',False):
        changes(page, 'SurrogateExplorer', lambda: theme(name))
        becomes(page, '[i.dark.value for i in (surrogates,spikes,membranes)]', str([dark]*3)) # each hears of it by itself


def said(page, name): return page.locator(f'img.{name}-image').get_attribute('alt')


def drawn(page, kind='both'):
    "Pixels of the raster: those of one colour, or all that are not paper"
    return page.evaluate("""k => { const c = document.querySelector('.MembraneInspector-raster canvas'), g = c.getContext('2d'), W = c.clientWidth;
        const a = new Uint32Array(g.getImageData(Math.ceil(.6/9.6*W)+1, 0, Math.floor(7.5/9.6*W)-2, c.height-20).data.buffer);
        const rgb = x => [x&255, x>>8&255, x>>16&255].join(), ink = {paper: '255,255,255', both: '0,0,0', float: '0,114,178', quantized: '230,159,0', dark: '22,22,22'}[k];
        return a.reduce((n, x) => n+(rgb(x) === ink), 0) }""", kind)


def eventually(page, holds):
    "Wait for what comes in a message of its own, perhaps behind the picture"
    for _ in range(200):
        if holds(): return
        page.wait_for_timeout(50)
    assert holds()


def test_raster(page):
    "A click chooses neuron and step, arrow keys move them; all controls are linked, and one neuron follows the other"
    name,canvas = 'MembraneInspector',page.locator('.MembraneInspector-raster canvas')
    settled(page)
    changes(page, name, lambda: page.locator(f'.{name}-layer select').select_option(index=0))
    becomes(page, 'membranes.layer.value, membranes.raster.shape[0]', '(0, 1000)') # another picture may have come late
    eventually(page, lambda: drawn(page)>100 and drawn(page, 'float')==drawn(page, 'quantized')==0) # the proof is black
    page.locator(f'.{name}-raster_of select').select_option(index=1)
    eventually(page, lambda: drawn(page)>100 and drawn(page, 'float')>10 and drawn(page, 'quantized')>10) # spikes of both, and of each alone
    canvas.scroll_into_view_if_needed()
    b = canvas.bounding_box()
    changes(page, name, lambda: page.mouse.click(b['x']+.45*b['width'], b['y']+.3*b['height']))
    n,t = eval(kernel(page, 'membranes.chosen()[2:]'))
    assert 600<n<750 and 90<t<110 and f'neuron {n}, step {t}' in canvas.get_attribute('aria-label')
    assert page.locator(f'.{name}-neuron input').input_value()==str(n) and page.locator(f'.{name}-step .widget-readout').inner_text()==str(t)
    for key,(dn,dt) in dict(ArrowUp=(1,0), ArrowRight=(0,1), ArrowDown=(-1,0), ArrowLeft=(0,-1)).items():
        changes(page, name, lambda: page.keyboard.press(key))
        n,t = n+dn,t+dt
        assert f'neuron {n} fires' in said(page, name) and f'step {t},' in said(page, name), key
    field = page.locator(f'.{name}-neuron input')
    def typed():
        field.fill('5')
        field.press('Enter')
    changes(page, name, typed)
    assert 'neuron 5 fires' in said(page, name) and 'neuron 5,' in canvas.get_attribute('aria-label')
    changes(page, name, page.locator(f'button.{name}-next').click)
    assert ' 0 of its spikes differ' not in said(page, name) and 'kept on 16 levels' in said(page, name)
    before = drawn(page)
    sample = page.locator(f'.{name}-sample input')
    def typed():
        sample.fill('2')
        sample.press('Enter')
    changes(page, name, typed)
    eventually(page, lambda: drawn(page)!=before and 'sample 2' in said(page, name))


def test_play(page):
    "The cursor runs, in raster and picture, until it is stopped"
    name,buttons = 'MembraneInspector',page.locator('.MembraneInspector-play button')
    at = int(kernel(page, 'membranes.step.value'))
    buttons.first.click()
    page.wait_for_function("t => +document.querySelector('.MembraneInspector-step .widget-readout').innerText>t+2", arg=at)
    buttons.first.click()
    becomes(page, 'membranes.play.playing', 'False')
    for _ in range(100): # a step that was on its way is drawn, too
        settled(page)
        t = int(kernel(page, 'membranes.step.value'))
        if f'step {t},' in said(page, name): break
        page.wait_for_timeout(100)
    assert at+2<t and f'step {t},' in said(page, name) and f'step {t}.' in page.locator(f'.{name}-raster canvas').get_attribute('aria-label')


def test_redraw(page):
    "1,000 neurons over 200 steps: how long a new raster, and a move to another neuron, take from the key to the screen"
    canvas = page.locator('.MembraneInspector-raster canvas')
    kernel(page, "[setattr(membranes, 'spare', [__import__('quarantion.inspect.raster_canvas', fromlist=['x']).raster_kinds(s.spk[:,b]) for s in (membranes._a[0],membranes._b[0]) for b in range(3)])]")
    raster = []
    for i in range(9):
        seq,start = canvas.get_attribute('data-seq'),time.perf_counter()
        kernel(page, f'membranes.raster.show(membranes.spare[{i%6}])')
        page.wait_for_function("s => document.querySelector('.MembraneInspector-raster canvas').dataset.seq !== s", arg=seq)
        raster.append(1e3*(time.perf_counter()-start))
    move = page.evaluate("""async () => { const out = [], c = document.querySelector('.MembraneInspector-raster canvas'), frame = () => new Promise(requestAnimationFrame);
        const img = () => document.querySelector('img.MembraneInspector-image');
        for (let i = 0; i<15; i++) { const old = img().src, start = performance.now();
            c.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp', bubbles: true}));
            while (img().src === old) { if (performance.now()-start>10000) throw Error('no new picture'); await new Promise(r => setTimeout(r, 2)) }
            await img().decode(); await frame(); out.push(performance.now()-start); await new Promise(r => setTimeout(r, 30)) }
        return out }""")
    inside = 200*float(kernel(page, "__import__('timeit').timeit(membranes.draw, number=5)"))
    print(f'raster: median {sorted(raster)[4]:.0f} ms, longest {max(raster):.0f} ms; another neuron: median {sorted(move)[7]:.0f} ms, longest {max(move):.0f} ms; '
          f'of which in the kernel {inside:.0f} ms')
    assert sorted(raster)[4]<400+4*inside and sorted(move)[7]<800+4*inside # loosely: where others use the machine, the kernel's own share grows too


def test_what_if(page):
    "Tried on a copy, with numbers; then put into the policy; the network as it was"
    name = 'ObserverInspector'
    pick = lambda control,value: changes(page, name, lambda: page.locator(f'.{name}-{control} select').select_option(value))
    pick('layer', '1'); pick('tensor', 'weight')
    assert ' dB of signal' in said(page, name) and '(int4)' in said(page, name) and 'levels are unused' in said(page, name)
    state = 'hash(tuple(p.double().sum().item() for p in q.state_dict().values()))'
    before,slider = kernel(page, state),page.locator(f'.{name}-grid .noUi-handle')
    def left():
        slider.focus()
        page.keyboard.press('ArrowLeft')
    a,b = changes(page, name, left) # int4 → nonary
    db = lambda s: float(s.split('Rounding leaves ')[1].split()[0])
    assert db(a)>db(b) and '(nonary)' in b
    assert page.locator(f'.{name}-percentile .noUi-target').get_attribute('disabled') is not None
    pick('rule', 'percentile')
    handle = page.locator(f'.{name}-percentile .noUi-handle')
    def clip():
        handle.focus()
        for _ in range(5): page.keyboard.press('PageDown')
    a,b = changes(page, name, clip)
    clipped = lambda s: float(s.split(' % are clipped')[0].split()[-1])
    assert clipped(said(page, name))>clipped(a)
    changes(page, name, page.locator(f'button.{name}-whatif').click)
    assert 'On a copy with this grid the accuracy of the first batch goes from' in said(page, name) and kernel(page, state)==before
    status = page.locator(f'.{name}-status')
    assert 'nonary' not in status.inner_text()
    page.locator(f'button.{name}-apply').click()
    page.wait_for_function("() => document.querySelector('.ObserverInspector-status').innerText.includes('layer 1: weight nonary, scale percentile')")
    assert kernel(page, "observer.policy.at('1').weight")=="'nonary'" and kernel(page, state)==before


def test_while_training(page):
    "A callback of training feeds it"
    name = 'ObserverInspector'
    changes(page, name, lambda: kernel(page, "train_epoch(q, torch.optim.Adam(q.param_groups(1e-3)), batches(d.x_train[:12], d.y_train[:12], 6), each=observer.update) and None"))
    assert 'value of 4 batches' in said(page, name)


def test_errors_of_inspectors(page):
    "What cannot be tried is said in the widget, in words"
    changes(page, 'ObserverInspector', lambda: page.locator('.ObserverInspector-tensor select').select_option('input'))
    page.locator('button.ObserverInspector-whatif').click()
    page.wait_for_function("() => document.querySelector('.ObserverInspector-message').innerText.includes('`tensor`')")
    changes(page, 'ObserverInspector', lambda: page.locator('.ObserverInspector-tensor select').select_option('current'))
    changes(page, 'MembraneInspector', lambda: page.locator('.MembraneInspector-layer select').select_option(index=1))
    kernel(page, "setattr(membranes, 'labels', None)")
    page.locator('.MembraneInspector-layer select').select_option(index=0)
    page.wait_for_function("() => document.querySelector('.MembraneInspector-message').innerText.includes('TypeError')")
    kernel(page, "setattr(membranes, 'labels', ('float','quantized'))")
    page.locator('.MembraneInspector-layer select').select_option(index=1)
    page.wait_for_function("() => document.querySelector('.MembraneInspector-message').innerText.trim()===''")


@pytest.mark.parametrize('name', ALL)
def test_static_figure(page, name):
    "What a page without widgets shows of it: beside the live view there are the picture and words"
    w = f"next(v for v in list(globals().values()) if type(v).__name__=='{name}')"
    assert {'text/plain', 'image/png', 'application/vnd.jupyter.widget-view+json'}==eval(kernel(page, f'set({w}._repr_mimebundle_())'))
    assert kernel(page, f"__import__('base64').b64decode({w}._repr_mimebundle_()['image/png'])[:4]")==r"b'\x89PNG'"
    assert name in kernel(page, f"{w}._repr_mimebundle_()['text/plain']")


def test_tab_order(page):
    "The Tab key goes through the controls in their order"
    page.locator('.NonaryExplorer-a .noUi-handle').focus()
    seen = []
    for _ in range(8):
        page.keyboard.press('Tab')
        seen.append(page.evaluate("document.activeElement.closest('[class*=NonaryExplorer-]')?.className.match(/NonaryExplorer-(\\w+)/)[1]"))
    order = list(dict.fromkeys(s for s in seen if s))
    assert order[order.index('b'):order.index('b')+4]==['b','v','explain','dark'], seen


def test_error_shows(page):
    "What goes wrong in a callback is read in the widget, and gone when it is right again"
    message = page.locator('.RunCompare-message')
    select = page.locator('.RunCompare-shown select')
    select.select_option([])
    page.wait_for_function("() => document.querySelector('.RunCompare-message').innerText.includes('at least one run')")
    assert 'CheckError' in message.inner_text()
    select.select_option(index=[0,1,2])
    page.wait_for_function("() => document.querySelector('.RunCompare-message').innerText.trim()===''")


def test_search(page):
    "A question is typed: what was found is a table of words, and what the picture says; a question without a known word is refused, and gone when there is another"
    name,hits = 'SearchExplorer',page.locator('.SearchExplorer-hits')
    asks = page.locator(f'.{name}-question input')
    asks.scroll_into_view_if_needed()
    def ask(words):
        asks.fill(words)
        asks.press('Enter')
    kernel(page, "[setattr(search.noise, 'value', 0), setattr(search.k, 'value', 5)]")
    _,now = changes(page, name, lambda: ask('random numbers from a normal distribution'))
    settled(page)
    assert '“random numbers from a normal distribution”' in now and hits.locator('tr').count()==5
    assert hits.inner_text().startswith('These are the 5 nearest.')
    assert eval(kernel(page, "[search.hits.value.count(f'{v:.3f}') for v in search._source.ix.search(lsa([search.question.value]), 5).scores[0]]")).count(0)==0
    old = picture(page, name)
    ask('zzzz')
    page.wait_for_function("() => document.querySelector('.SearchExplorer-message').innerText.includes('words that the embedder knows')")
    assert picture(page, name)==old
    changes(page, name, lambda: ask('sort an array'))


def test_how_long_a_search_takes(page):
    "From a key to a new picture that is there, printed; a bound only for what is broken, as machines are busy"
    took = page.evaluate("""async () => { const h = document.querySelector('.SearchExplorer-noise .noUi-handle'), all = [], i = () => document.querySelector('img.SearchExplorer-image');
        for (let n = 0; n<20; n++) { const old = i().src, start = performance.now();
            h.dispatchEvent(new KeyboardEvent('keydown', {key: n<10 ? 'ArrowRight' : 'ArrowLeft', bubbles: true}));
            while (i().src === old) { if (performance.now()-start>10000) throw Error('nothing new'); await new Promise(r => setTimeout(r, 5)) }
            await i().decode(); all.push(performance.now()-start) }
        return all.sort((a, b) => a-b) }""")
    print(f'a change: median {took[10]:.0f} ms, {took[1]:.0f} to {took[-2]:.0f}')
    assert took[10]<2000


def test_ask(page):
    "A question is typed; a click on a name takes it away, ranks move, and another click puts it back"
    name,hits = 'AskExplorer',page.locator('.AskExplorer-hits')
    asks = page.locator(f'.{name}-question input')
    asks.scroll_into_view_if_needed()
    kernel(page, "setattr(asks.k, 'value', 5)")
    asks.fill('what does it do with columns')
    _,now = changes(page, name, lambda: asks.press('Enter'))
    assert now.startswith('Asked “what does it do with columns”, alpha') and 'by words alone' in now and hits.locator('b').count()>=5
    chip = page.locator(f'.{name}-chips button').filter(has_text='lexsort')
    _,now = changes(page, name, chip.first.click)
    assert 'without lexsort' in now and 'with all names' in now and eval(kernel(page, 'asks.without'))==('v:lexsort',)
    assert chip.first.inner_text().strip()=='+ lexsort' and page.locator(f'.{name}-chips button').first.inner_text().strip()=='+ lexsort'
    assert eval(kernel(page, "[asks.hits.value.count(f'{p.share:.1%}') for p in asks.answer().now.passages]")).count(0)==0
    shot(page, name, 'taken')
    _,now = changes(page, name, chip.first.click)
    assert 'without' not in now and kernel(page, 'asks.without')=='()'
    old = picture(page, name)
    asks.fill(' ')
    asks.press('Enter')
    page.wait_for_function("() => document.querySelector('.AskExplorer-message').innerText.includes('expected words')")
    assert picture(page, name)==old
    asks.fill('sort an array')
    changes(page, name, lambda: asks.press('Enter'))


def test_how_long_a_change_of_a_question_takes(page):
    "From a key to a new picture that is there, printed; a bound only for what is broken, as machines are busy"
    took = page.evaluate("""async () => { const h = document.querySelector('.AskExplorer-alpha .noUi-handle'), all = [], i = () => document.querySelector('img.AskExplorer-image');
        for (let n = 0; n<10; n++) { const old = i().src, start = performance.now();
            h.dispatchEvent(new KeyboardEvent('keydown', {key: n<5 ? 'ArrowLeft' : 'ArrowRight', bubbles: true}));
            while (i().src === old) { if (performance.now()-start>10000) throw Error('nothing new'); await new Promise(r => setTimeout(r, 5)) }
            await i().decode(); all.push(performance.now()-start) }
        return all.sort((a, b) => a-b) }""")
    print(f'a change: median {took[5]:.0f} ms, {took[1]:.0f} to {took[-2]:.0f}')
    assert took[5]<2000


def test_tokens(page):
    "A sentence is typed: it is cut anew; none is refused and the picture stays, and there is no word of it when there is another"
    name = 'TokenInspector'
    asks = page.locator(f'.{name}-text input')
    asks.scroll_into_view_if_needed()
    _,now = changes(page, name, lambda: asks.fill('naïve 東京 arrays'))
    assert now.startswith('“naïve 東京 arrays”. NPMI') and 'counts' not in now and kernel(page, 'token_inspector.text.value')=="'naïve 東京 arrays'"
    _,now = changes(page, name, lambda: page.locator(f'.{name}-below select').select_option('counts'))
    cut = lambda i: eval(kernel(page, f"(lambda t: [t.vocab[i] for i in t.encode(token_inspector.text.value)])(token_inspector._named[token_inspector.below.value].part(token_inspector.vocab.value))[{i}]"))
    assert now.split('counts,')[1].split(': ')[1].startswith(cut(0).decode()+'|'+cut(1).decode('utf-8', 'replace'))
    old = picture(page, name)
    asks.fill('')
    page.wait_for_function("() => document.querySelector('.TokenInspector-message').innerText.includes('1 to 224 letters')")
    assert picture(page, name)==old
    changes(page, name, lambda: asks.fill('sort'))


def test_health(page):
    "A click on an alarm says it and shows its curve; keys move; a run that goes on is followed without being asked, and half a line is waited for"
    name,canvas = 'HealthInspector',page.locator('.HealthInspector-map canvas')
    told = page.locator(f'.{name}-told')
    canvas.scroll_into_view_if_needed()
    b = canvas.bounding_box()
    at = lambda row,epoch,of: dict(x=.1*b['width']+(epoch-.5)/of*.79*b['width'], y=16+(row+.5)/5*(b['height']-36))
    now = changes(page, name, lambda: canvas.click(position=at(1, 6, 8)))[1]
    assert 'layer fc1: 50 % of neurons have not fired. Try: lower θ' in now and 'costs nothing' in told.inner_text()
    assert page.locator(f'.{name}-epoch .widget-readout').inner_text()=='6' and 'fc1, epoch 6' in canvas.get_attribute('aria-label')
    changes(page, name, lambda: page.keyboard.press('ArrowDown'))
    assert 'fc2, epoch 6' in told.inner_text() and 'Try' not in told.inner_text()
    changes(page, name, page.locator(f'button.{name}-next').click)
    assert 'fc1, epoch 5' in told.inner_text()
    seq = canvas.get_attribute('data-seq')
    kernel(page, "[append_jsonl('health/metrics.jsonl', epoch(k)) for k in (8,9)] and open('health/metrics.jsonl', 'a').write('{\"phase\":\"flo') and None")
    becomes(page, '(health.map.shape[1], health.epoch.max, health.epoch.value)', '(10, 10, 5)') # it asked by itself
    page.wait_for_function('s => document.querySelector(".HealthInspector-map canvas").dataset.seq !== s', arg=seq)
    settled(page)
    assert page.locator(f'.{name}-message').inner_text().strip()==''
    changes(page, name, lambda: canvas.click(position=at(1, 10, 10)))
    assert 'fc1, epoch 10' in told.inner_text()


def memory(page):
    "Bytes: of the kernel, and of the page's scripts after their garbage is collected"
    cdp = page.context.new_cdp_session(page)
    cdp.send('HeapProfiler.collectGarbage')
    heap = cdp.send('Runtime.getHeapUsage')['usedSize']
    cdp.detach()
    return int(kernel(page, '(__import__("gc").collect(), psutil.Process().memory_info().rss)[1]')),heap


def test_memory(page):
    "200 more interactions cost next to nothing"
    def move(n): # one after the other, each when the picture of the last is there
        page.evaluate("""async n => { const M = 'MembraneInspector', O = 'ObserverInspector', raster = k => [M, 'raster canvas', k], words = w => [w, 'explain'];
            for (let i = 0; i<n; i++) { const [name, part, key] = [raster('ArrowRight'), words(O), raster('ArrowLeft'), words(M), raster('ArrowUp'), words(O), raster('ArrowDown'),
                    ['NonaryExplorer', 'v .noUi-handle', i>>3&1 ? 'ArrowLeft' : 'ArrowRight']][i%8], c = document.querySelector(`.${name}-${part}`),
                seen = () => key ? document.querySelector(`img.${name}-image`).src : document.querySelector(`.${name}-words`).innerText, old = seen(), start = performance.now();
                if (key) c.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true})); else c.click();
                while (seen() === old) { if (performance.now()-start>10000) throw Error(`nothing new in ${name}`); await new Promise(r => setTimeout(r, 5)) } } }""", n)
    kernel(page, "[setattr(membranes.neuron, 'value', 5), setattr(membranes.step, 'value', 50)]")
    settled(page)
    move(24)
    before = memory(page)
    move(200)
    after = memory(page)
    print(f'kernel {before[0]/1e6:.1f} -> {after[0]/1e6:.1f} MB, page {before[1]/1e6:.2f} -> {after[1]/1e6:.2f} MB')
    assert after[0]-before[0]<16e6 and after[1]-before[1]<4e6


def test_close(page):
    "Nothing is left in the page; the last test of it"
    for x in ('spikes','nonary','surrogates','compare','tree','membranes','observer','search','asks','health','token_inspector'): kernel(page, f'{x}.close()')
    page.wait_for_function("() => !document.querySelector('img.SpikeExplorer-image, img.SizeTree-image')")
    assert int(kernel(page, "len(__import__('ipywidgets').widgets.widget._instances)"))==0


@pytest.mark.parametrize('number', ['01', '05'])
def test_tutorial(browser, lab, number):
    "Opened by a newcomer, run from top to bottom"
    name, = (ROOT/'nbs/tutorials').glob(f'{number}_*.ipynb')
    wrong = []
    page = opened(browser, lab, name.name, wrong)
    assert page.locator('.jp-OutputArea-output img').count()>0
    page.context.close()
    assert not wrong
