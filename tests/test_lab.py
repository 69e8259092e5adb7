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
    'compare = RunCompare(runs)\ncompare', "tree = SizeTree(runs[2]/'integer.safetensors')\ntree"]
SLIDERS = [('SpikeExplorer','sample'), ('SpikeExplorer','steps'), ('SpikeExplorer','gain'), ('SpikeExplorer','beta'), ('SpikeExplorer','seed'), ('SpikeExplorer','pixel'),
           ('NonaryExplorer','a'), ('NonaryExplorer','b'), ('NonaryExplorer','v'), ('SurrogateExplorer','slope'), ('SurrogateExplorer','current'), ('SurrogateExplorer','beta')]
CHOICES = [('SurrogateExplorer','surrogate','atan'), ('RunCompare','curve','accuracy'), ('RunCompare','shown',None), ('SizeTree','stage','packed'), ('SizeTree','layer','layer 1')]
ALL = 'SpikeExplorer', 'NonaryExplorer', 'SurrogateExplorer', 'RunCompare', 'SizeTree'


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "Address of a JupyterLab of its own, that knows nothing of the user's"
    root = tmp_path_factory.mktemp('lab')
    work = root/'work'
    work.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in PAGE],
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
                    if time.perf_counter()-start>60: pytest.fail('JupyterLab did not answer within a minute')
                    time.sleep(.1)
            yield base
        finally:
            p.send_signal(signal.SIGTERM) # ends its kernels, too
            try: p.wait(20)
            except subprocess.TimeoutExpired: p.kill(); p.wait()


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    assert CHROMIUM.exists(), 'the tests of the inspectors need Chromium; on Debian: apt install chromium'
    with sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield b
        b.close()


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
    page.set_default_timeout(20_000)
    page.on('console', lambda m: m.type=='error' and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(f'{base}/lab/tree/{name}?reset')
    page.wait_for_selector('.jp-NotebookPanel .jp-Cell')
    idle(page)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }") # no promise: it may never settle
    page.wait_for_function(r"() => [...document.querySelectorAll('.jp-CodeCell')].every(c => !c.querySelector('.cm-content')?.textContent.trim() || "
                           r"/\[\d+\]/.test(c.querySelector('.jp-InputArea-prompt').textContent))", timeout=60_000)
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


def picture(page, name): return page.locator(f'img.{name}-image').get_attribute('src')


def changes(page, name, act):
    "Do `act`; another picture is drawn, and no error is shown. What the picture is said to show, before and after"
    img = page.locator(f'img.{name}-image')
    src,said = picture(page, name),img.get_attribute('alt')
    act()
    page.wait_for_function('([c,s]) => { const i = document.querySelector(c); return i.src !== s && i.complete && i.naturalWidth>500 }', arg=[f'img.{name}-image', src])
    assert page.locator(f'.{name}-message').inner_text().strip()==''
    return said,img.get_attribute('alt')


@pytest.fixture(scope='module')
def page(browser, lab):
    wrong = []
    page = opened(browser, lab, 'all.ipynb', wrong)
    yield page
    page.context.close()
    assert not wrong


def shot(page, name):
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator(f'.{name}').first.screenshot(path=SCREENS/f'{name}-{page.viewport_size["width"]}.png')


@pytest.mark.parametrize('name,control', SLIDERS)
def test_slider_by_keyboard(page, name, control):
    "An arrow key moves it; its number and what the inspector says follow, except where only the picture does"
    handle = page.locator(f'.{name}-{control} .noUi-handle')
    handle.scroll_into_view_if_needed()
    readout = page.locator(f'.{name}-{control} .widget-readout')
    before = readout.inner_text()
    def act():
        handle.focus()
        page.keyboard.press('ArrowRight')
    said = changes(page, name, act)
    assert readout.inner_text()!=before
    if control not in ('pixel','v') and (name,control)!=('SurrogateExplorer','beta') and control!='current': assert said[0]!=said[1], said


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
    shot(page, name)
    changes(page, name, page.locator(f'button.{name}-dark').click)
    page.set_viewport_size(dict(width=700, height=900))
    page.wait_for_function('c => { const i = document.querySelector(c); return i.getBoundingClientRect().width <= 700 }', arg=f'img.{name}-image')
    shot(page, name)
    page.set_viewport_size(dict(width=1280, height=900))
    changes(page, name, page.locator(f'button.{name}-dark').click)
    page.locator(f'button.{name}-explain').click()


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
        page.evaluate('''async n => { for (let i = 0; i<n; i++) {
            const src = () => document.querySelector('img.NonaryExplorer-image').src, old = src(), start = performance.now()
            document.querySelector('.NonaryExplorer-v .noUi-handle').dispatchEvent(new KeyboardEvent('keydown', {key: i%2 ? 'ArrowLeft' : 'ArrowRight', bubbles: true}))
            while (src() === old) { if (performance.now()-start>10000) throw Error('no new picture'); await new Promise(r => setTimeout(r, 5)) } } }''', n)
    move(20)
    before = memory(page)
    move(200)
    after = memory(page)
    print(f'kernel {before[0]/1e6:.1f} -> {after[0]/1e6:.1f} MB, page {before[1]/1e6:.2f} -> {after[1]/1e6:.2f} MB')
    assert after[0]-before[0]<16e6 and after[1]-before[1]<4e6


def test_close(page):
    "Nothing is left in the page; the last test of it"
    for x in ('spikes','nonary','surrogates','compare','tree'): kernel(page, f'{x}.close()')
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
