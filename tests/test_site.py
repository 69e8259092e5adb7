"The site in headless Chromium, from loopback and nowhere else: a front page, API pages and mathematics with real content, no errors."
import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
CHROMIUM = Path('/usr/bin/chromium')
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def site():
    "Address of the built site"
    if not (ROOT/'_docs/index.html').exists(): subprocess.run([sys.executable, 'tools/docs.py'], cwd=ROOT, check=True)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=ROOT/'_docs')) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    assert CHROMIUM.exists(), 'the tests of the site need Chromium; on Debian: apt install chromium'
    with sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        yield b
        b.close()


@pytest.fixture
def page(browser, site):
    "A page that may ask `site` only, and must not complain"
    context = browser.new_context()
    wrong = []
    def route(r):
        if r.request.url.startswith((site, 'data:', 'blob:')): r.continue_()
        else:
            wrong.append(f'asked {r.request.url}')
            r.abort()
    context.route('**/*', route)
    page = context.new_page()
    page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(f'{m.type}: {m.text}'))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.on('response', lambda r: r.status>=400 and wrong.append(f'{r.status} {r.url}'))
    yield page
    context.close()
    assert not wrong


def test_front_page(page, site):
    page.goto(f'{site}/index.html')
    assert page.locator('h1').first.inner_text().strip()=='quarantion'
    text = page.locator('main').inner_text()
    assert 'make run' in text and 'make test' in text and len(text)>500
    links = page.locator('#quarto-sidebar a').evaluate_all('all => all.map(a => a.href)')
    assert any('quant/levels.html' in x for x in links) and any('tutorials/' in x for x in links)
    sizes = page.locator('main img').evaluate_all('all => all.map(i => i.naturalWidth)')
    assert all(sizes)


def test_api_page(page, site):
    "Signature, table of parameters, a link to a symbol of another page, and stored outputs"
    page.goto(f'{site}/quant/levels.html')
    text = page.locator('main').inner_text()
    assert re.search(r'mse_scale\s*\(', text)
    tables = page.locator('main table').all_inner_texts()
    assert any('Type' in t and 'Details' in t for t in tables)
    assert page.locator('main a[href*="#"]').count()>3
    assert page.locator('main .cell-output').count()>0


def test_follow_the_sidebar(page, site):
    page.goto(f'{site}/index.html')
    page.locator('#quarto-sidebar a[href*="spikes/neuron.html"]').first.click()
    page.wait_for_url('**/spikes/neuron.html')
    assert 'integrate-and-fire' in page.locator('h1').first.inner_text()


def test_mathematics_shows_offline(page, site):
    page.goto(f'{site}/spikes/neuron.html')
    page.wait_for_selector('main .katex-html', state='attached')
    assert page.locator('main .katex').count()>10 and not page.locator('main .katex-error').count()
    assert page.evaluate('document.fonts.ready.then(() => [...document.fonts].some(f => f.family.startsWith("KaTeX") && f.status=="loaded"))')
    assert not re.search(r'\\\(|\$\\', page.locator('main p').all_inner_texts()[0])


def test_search(page, site):
    page.goto(f'{site}/index.html')
    page.locator('input[type=search], #quarto-search input').first.fill('mse_scale')
    hit = page.locator('a[href*="quant/levels.html"]:visible', has_text=re.compile('scale', re.I)).first
    hit.wait_for()
