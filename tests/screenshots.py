"""Pictures of what people see, to be looked at: `.venv/bin/python tests/screenshots.py [site] [report] [widgets] [film]`.

The front page, a page of benchmarks, a tutorial, a report and each inspector, light and dark, on a desktop and a phone, go to
build/screens. `film` makes nbs/images/inspector.gif, the membrane inspector in use. The site is built first: `make docs`."""
import functools
import http.server
import io
import json
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image
from test_jupyterlab import ALL, PAGE, ROOT, SCREENS, chromium, idle, jupyterlab, kernel, opened, settled

VIEWS = dict(desktop=dict(viewport=dict(width=1280, height=900)),
             phone=dict(viewport=dict(width=390, height=844), is_mobile=True, has_touch=True, device_scale_factor=2))
PAGES = ('index', 'start', 'bench/lif', 'bench/accuracy', 'tutorials/05_your_snntorch_model', 'inspect/clickable')
FILM = ['''import torch
import torch.nn.functional as F
from torch import nn
from quarantion import prepare, preset
from quarantion.data import load_digits
from quarantion.inspect import MembraneInspector
from quarantion.spikes import LIF, Network
torch.manual_seed(0); torch.set_num_threads(1)
d = load_digits()
net = Network(nn.Linear(64,96), LIF(beta=.9), nn.Linear(96,10), LIF(beta=.9, reset='none'), steps=40)
def train(net, opt, epochs):
    for _ in range(epochs):
        for i in torch.randperm(len(d.x_train)).split(64):
            loss = F.cross_entropy(net(d.x_train[i])[1].mean(0), d.y_train[i])
            opt.zero_grad(); loss.backward(); opt.step()
train(net, torch.optim.Adam(net.parameters(), lr=5e-3), 4)
q = prepare(net, preset('nonary'), d.x_train[:256])
busy = q.record(d.x_test[:1])[0].spk[:,0].sum(0).argsort(descending=True)[3::5][:5].tolist()''', 'membranes = MembraneInspector(net, d.x_test[:8], q)\nmembranes']
STEPS = .2, .3, .42, .5, .7 # where the pointer clicks, as shares of the raster


def every(browser, address, name):
    "An address in both themes and both widths, whole"
    for view, how in VIEWS.items():
        for theme in 'light', 'dark':
            context = browser.new_context(color_scheme=theme, **how)
            page = context.new_page()
            page.goto(address)
            page.wait_for_timeout(800)
            page.screenshot(path=SCREENS/f'{name}-{view}-{theme}.png', full_page=True)
            high = page.evaluate('document.documentElement.scrollHeight')
            print(f'{name}-{view}-{theme}.png: {high} px high')
            context.close()


def site(browser):
    root = ROOT/'_docs'
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *a): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for p in PAGES: every(browser, f'http://127.0.0.1:{server.server_port}/{p}.html', p.replace('/', '-'))
    server.shutdown()


def report(browser):
    from quarantion.cli import main
    with tempfile.TemporaryDirectory() as d:
        try: main(['run', '--out', d])
        except SystemExit as e: assert not e.code
        every(browser, next(Path(d).glob('*/report.html')).as_uri(), 'report')


def widgets(browser):
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d), PAGE) as base:
        page = opened(browser, base, 'all.ipynb', [])
        for theme in 'Light', 'Dark':
            page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${t}`})", theme)
            page.wait_for_timeout(1500)
            for name in ALL:
                dark = page.locator(f'.{name} input[type=checkbox]').last
                if dark.is_checked()!=(theme=='Dark'): dark.click()
                settled(page)
                page.locator(f'.{name}').first.screenshot(path=SCREENS/f'{name}-{theme.lower()}.png')
                print(f'{name}-{theme.lower()}.png')


POINTER = '''() => { const p = document.createElement('div'); p.id = 'pointer';
p.innerHTML = '<svg width="22" height="28" viewBox="0 0 22 28"><path d="M2 2v20l5-5 3.5 8 3.5-1.5-3.5-8h7z" fill="#111" stroke="#fff" stroke-width="1.6"/></svg>';
p.style.cssText = 'position:fixed;z-index:99999;pointer-events:none;left:0;top:0'; document.body.append(p); }'''


def film(browser):
    "Each click, and the way to it"
    frames,waits = [],[]
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d), FILM) as base:
        page = opened(browser, base, 'all.ipynb', [])
        box,canvas = page.locator('.MembraneInspector').first,page.locator('.MembraneInspector canvas').first
        page.set_viewport_size(dict(width=1280, height=1900))
        page.wait_for_timeout(500)
        box.scroll_into_view_if_needed()
        page.evaluate(POINTER)
        def frame(x, y, wait):
            page.evaluate("([x,y]) => { const p = document.getElementById('pointer'); p.style.left = x+'px'; p.style.top = y+'px' }", [x,y])
            frames.append(Image.open(io.BytesIO(box.screenshot())).convert('RGB'))
            waits.append(wait)
        b = canvas.bounding_box()
        busy = json.loads(kernel(page, 'busy'))
        spots = [(b['x']+b['width']*x, b['y']+(b['height']-20)*(1-(n+.5)/96)) for x, n in zip(STEPS, busy)]
        (x0,y0),*_ = spots
        for x, y in spots:
            for k in 1,2,3: frame(x0+(x-x0)*k/4, y0+(y-y0)*k/4, 70)
            page.mouse.click(x, y)
            idle(page); settled(page); page.wait_for_timeout(400)
            frame(x, y, 1100)
            x0,y0 = x,y
        for _ in range(6):
            page.keyboard.press('ArrowRight')
            idle(page); settled(page); page.wait_for_timeout(400)
            frame(x0+60, y0+40, 350)
    small = [f.resize((760, round(760*f.height/f.width)), Image.LANCZOS) for f in frames]
    small[4].save(ROOT/'nbs/images/inspector.png', optimize=True)
    palette = small[7].quantize(64)
    small = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in small]
    small[0].save(ROOT/'nbs/images/inspector.gif', save_all=True, append_images=small[1:], duration=waits, loop=0, optimize=True)
    print(f'inspector.gif: {len(small)} frames, {(ROOT/"nbs/images/inspector.gif").stat().st_size/1000:.0f} kB')


if __name__=='__main__':
    SCREENS.mkdir(parents=True, exist_ok=True)
    jobs = dict(site=site, report=report, widgets=widgets, film=film)
    with chromium() as browser:
        for name in sys.argv[1:] or ('site','report','widgets'): jobs[name](browser)
