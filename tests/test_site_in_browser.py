"The site in headless Chromium, from loopback and nowhere else: a front page, API pages and mathematics with real content; on every page, at desktop and phone width, in light and dark, no errors, nothing that scrolls sideways, names for pictures, colours that can be read, links that lead somewhere."
import functools
import http.server
import io
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import quarantion

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
CHROMIUM = Path('/usr/bin/chromium')
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']


VIEWS = dict(desktop=dict(viewport=dict(width=1280, height=900), color_scheme='light'), phone=dict(viewport=dict(width=390, height=844), color_scheme='dark', is_mobile=True, has_touch=True))
LOOK = (Path(__file__).parent/'look.js').read_text()


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
def page(browser, site, request):
    "A page that may ask `site` only, and must not complain; a test's parameter `view` says how it is shown"
    context = browser.new_context(**VIEWS[request.node.callspec.params['view'] if hasattr(request.node, 'callspec') else 'desktop'])
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
    assert any('quant/level_sets.html' in x for x in links) and any('tutorials/' in x for x in links)
    sizes = page.locator('main img').evaluate_all('all => all.map(i => i.naturalWidth)')
    assert all(sizes)


def test_front_page_runs_a_network(page, site):
    "It answers in its frame, which is as high as its page, in the theme of the site"
    page.goto(f'{site}/index.html')
    frame = page.frame_locator('iframe.live')
    frame.locator('#proof', has_text='spikes and membranes are those of Python').wait_for()
    frame.locator('#samples button').nth(4).click()
    frame.locator('#what', has_text='a 4').wait_for()
    page.evaluate("document.querySelector('.quarto-color-scheme-toggle').click()")
    ground = "e => getComputedStyle(e.ownerDocument.body).backgroundColor"
    page.wait_for_timeout(200)
    assert frame.locator('main').evaluate(ground)==page.locator('body').evaluate(ground)
    assert page.locator('iframe.live').evaluate('e => e.clientHeight-e.contentDocument.documentElement.scrollHeight')>=0


def test_api_page(page, site):
    "Signature, table of parameters, a link to a symbol of another page, and stored outputs"
    page.goto(f'{site}/quant/level_sets.html')
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
    hit = page.locator('a[href*="quant/level_sets.html"]:visible', has_text=re.compile('scale', re.I)).first
    hit.wait_for()


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('view', VIEWS)
def test_search_results_can_be_read(browser, site, view, theme):
    context = browser.new_context(**VIEWS[view] | dict(color_scheme=theme))
    page = context.new_page()
    page.goto(f'{site}/index.html')
    box = page.locator('.smalldocs-search input').first
    if not box.is_visible(): page.locator('.navbar-toggler').first.click()
    box.fill('mse_scale')
    results = page.locator('.smalldocs-search-results')
    results.locator('a:visible', has_text=re.compile('mse_scale')).first.wait_for()
    page.mouse.move(5, 5)
    page.wait_for_timeout(400) # until colours have faded in
    paper = results.evaluate('e => getComputedStyle(e).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', paper)[:3]))>382)==(theme=='light'), paper
    seen = page.evaluate(LOOK)
    assert not seen['faint'] and seen['width']<=seen['inner'], seen['faint']
    assert results.locator('mark').count()
    context.close()


def documents(): return sorted(p.relative_to(ROOT/'_docs').as_posix() for p in (ROOT/'_docs').rglob('*.html'))


@pytest.mark.parametrize('view', VIEWS)
def test_every_page(page, site, view):
    "What can be seen of all pages, by tests/look.js"
    wrong,names,links = [],{},{}
    for path in documents():
        page.goto(f'{site}/{path}')
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)") # folded parts, too
        seen = page.evaluate(LOOK)
        names[path],links[path] = set(seen['names']),seen['links']
        must = dict(title=seen['title'], language=seen['lang']=='en', viewport=seen['viewport'], description=seen['description'], heading=seen['headings']==1, wide=seen['width']<=seen['inner'])
        wrong += [f'{path}: {k}' for k,v in must.items() if not v]
        wrong += [f'{path}: {x}' for k in ('outside','unnamed','faint','mathematics') for x in seen[k]]
    assert not wrong, '\n'.join(wrong[:40])
    for path,targets in links.items():
        for t in targets:
            where,_,name = t.partition('#')
            if where not in names: wrong.append(f'{path}: no page {where}')
            elif name and name not in names[where]: wrong.append(f'{path}: no place {t}')
    assert not wrong, '\n'.join(wrong[:40])
    assert len(names)>80 and sum(map(len, links.values()))>1000


def test_moving_picture(page, site):
    "It moves, over and over, and does not for readers who want no motion"
    from PIL import Image
    page.goto(f'{site}/start.html')
    shown = lambda: page.locator('main picture img').first.evaluate('i => [i.currentSrc.split("/").pop(), i.naturalWidth, i.alt]')
    assert shown()[0]=='inspector.gif' and shown()[1]>500 and len(shown()[2])>50
    page.emulate_media(reduced_motion='reduce')
    page.wait_for_function('document.querySelector("main picture img").currentSrc.endsWith("inspector.png")')
    for name,frames in ('film',90), ('inspector',15):
        path = ROOT/f'nbs/images/{name}.gif'
        with Image.open(path) as film: assert film.n_frames>frames and film.info['loop']==0 and path.stat().st_size<400_000


WIDE = '''() => [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth+1 && ['auto','scroll'].includes(getComputedStyle(e).overflowX))
    .map(e => ({what: e.innerText.slice(0, 60), table: e.matches('.sd-table') && !e.closest('details'), sh: e.matches('pre.sh'), shade: getComputedStyle(e).backgroundImage,
                bar: getComputedStyle(e, '::-webkit-scrollbar').height}))'''

@pytest.mark.parametrize('view', ['phone'])
def test_a_phone_sees_what_matters(page, site, view):
    "The front page is short, its tables are whole; what is wider than its column says so: by a bar, and by a shade where a browser shows no bars"
    page.goto(f'{site}/index.html')
    assert page.evaluate('document.documentElement.scrollHeight-document.querySelector("iframe.live").clientHeight')<6500 # beside the network that runs in it
    wide = page.evaluate(WIDE)
    assert wide and not [w['what'] for w in wide if w['table']], wide
    for path in 'index', 'bench/accuracy', 'tutorials/05_your_snntorch_model':
        page.goto(f'{site}/{path}.html')
        for w in page.evaluate(WIDE): assert w['bar']=='9px' and w['shade'].count('linear-gradient')==2, (path,w)


def test_a_recording_to_click_on(page, site):
    "Pointer and keys choose neuron and step, and colours follow the theme; no kernel"
    from PIL import Image
    page.goto(f'{site}/inspect/clickable.html')
    box = page.locator('.quarantion-clickable').first
    raster,trace = box.locator('canvas').all()
    said = lambda: box.locator('p').inner_text()
    assert re.fullmatch(r'Neuron \d+ fires in 40 steps: float \d+, quantized \d+. Its membrane after step 20: float -?[\d.]+, quantized -?[\d.]+.', said())
    b = raster.bounding_box()
    raster.click(position=dict(x=46+(b['width']-60)*10.5/40, y=(b['height']-20)*(1-30.5/96)))
    assert said().startswith('Neuron 30 fires') and 'after step 10:' in said()
    page.keyboard.press('ArrowUp')
    page.keyboard.press('ArrowRight')
    assert said().startswith('Neuron 31 fires') and 'after step 11:' in said()
    b = trace.bounding_box()
    trace.click(position=dict(x=46+(b['width']-60)*35.5/40, y=50))
    assert said().startswith('Neuron 31 fires') and 'after step 35:' in said() and trace.get_attribute('aria-label')==said()
    def corner(c):
        with Image.open(io.BytesIO(c.screenshot())) as im: return sum(im.convert('RGB').getpixel((3, 3)))
    assert corner(raster)==corner(trace)==765
    def colours(c):
        with Image.open(io.BytesIO(c.screenshot())) as im: return len(im.convert('RGB').getcolors(10**6))
    light = colours(raster)
    page.evaluate('e => { e.style.display = "none"; document.body.style.background = "#222"; e.clientWidth; e.style.display = "" }', box.element_handle())
    page.wait_for_timeout(300) # hidden for a moment, as while styles load
    assert corner(raster)<150 and corner(trace)<150 and min(colours(raster), colours(trace))>5 and light>5


def test_map_of_rooms():
    "The lines of the map are the imports of the modules, they go down, and the plan is that of the package"
    sys.path.insert(0, str(ROOT/'tools'))
    try: import docs
    finally: sys.path.pop(0)
    drawn = set(re.findall(r'<title>(\w+) imports (\w+)</title>', (ROOT/'nbs/images/rooms.svg').read_text()))
    assert drawn=={(a,b) for a,below in docs.imports(ROOT/'quarantion').items() for b in below}
    assert all(docs.ROOMS.index(b)<docs.ROOMS.index(a) for a,b in drawn) and len(drawn)>20
    assert docs.ROOMS==list(quarantion.ROOMS)
    map_ = (ROOT/'nbs/images/rooms.svg').read_text()
    assert all(f'>{r}</text>' in map_ for r in docs.ROOMS) and all(f'>{s}</text>' in map_ for s in quarantion.STOREYS)


def test_pictures_lie_on_the_page(browser, site):
    "Ink on white paper loses its paper: around a figure the screen shows the page, light or dark; a picture that is drawn on dark paper stays as it is"
    import io
    from PIL import Image
    for scheme in 'light','dark':
        context = browser.new_context(viewport=dict(width=1280, height=900), color_scheme=scheme)
        p = context.new_page()
        p.goto(f'{site}/inspect/figures.html')
        image = p.locator('.cell-output img.ink').first
        image.scroll_into_view_if_needed()
        b = image.bounding_box()
        screen = Image.open(io.BytesIO(p.screenshot())).convert('RGB')
        inside,outside = (screen.getpixel((int(b['x']+dx), int(b['y']+3))) for dx in (3,-12))
        assert max(abs(m-n) for m,n in zip(inside, outside))<=2, scheme
        p.goto(f'{site}/inspect/membrane_inspector.html')
        assert p.locator('.cell-output img').count()>p.locator('.cell-output img.ink').count()>0
        context.close()
