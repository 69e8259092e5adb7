"The live network in headless Chromium: 360 digits to the bit as in Python, the bytes that were proved, one file that asks for nothing, by pointer, keys and phone, light and dark."
import functools
import hashlib
import http.server
import re
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quarantion.data import load_digits
from quarantion.export.cost import cost_of
from quarantion.export.energy import dense_energy, energy_of
from quarantion.export.proof import fnv_of, fnv_of_lines
from quarantion.inspect.live import live_page
from quarantion.runtime.layer import IntLayer
from quarantion.runtime.network import IntegerNetwork, load
from test_site_in_browser import LOOK, VIEWS, Quiet, browser # noqa: F401, F811

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
PROG,DIGITS = load(ROOT/'nbs/measured/digits.safetensors'),load_digits()


def until(page, js, arg=None):
    "Wait; Playwright's own way evaluates text in the page, which the policy refuses"
    end = time.monotonic()+120
    while time.monotonic()<end:
        if page.evaluate(js, arg): return
        time.sleep(.025)
    raise AssertionError(f'never: {js}, {arg}')


ANSWERED = "performance.getEntriesByName('answer').length>0"
PROVED = "document.getElementById('proof').dataset.fnv"

@pytest.fixture(scope='module')
def address(tmp_path_factory):
    "Where the page is served, made anew"
    folder = tmp_path_factory.mktemp('live')
    (folder/'live.html').write_text(live_page(PROG, DIGITS.x_test, DIGITS.y_test, first=9))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/live.html'
        server.shutdown()


WORK = """window.work = []; { let hands = 0, drew = false
    const raf = requestAnimationFrame, add = EventTarget.prototype.addEventListener, clear = CanvasRenderingContext2D.prototype.clearRect
    const timed = (f, x) => { const began = performance.now(); f(x); return performance.now()-began }
    CanvasRenderingContext2D.prototype.clearRect = function (...a) { drew = true; return clear.apply(this, a) }
    window.requestAnimationFrame = f => raf(now => { const ms = timed(f, now)+hands; if (drew) work.push(ms); hands = 0; drew = false })
    EventTarget.prototype.addEventListener = function (k, f, o) {
        return add.call(this, k, k.startsWith('pointer') ? e => { hands += timed(f, e) } : f, o) } }""" # of frames that drew, and of hands before them

REST = "(b => b.ariaLabel==='Pause' && b.click())(document.getElementById('play'))" # no work while others are tested


@pytest.fixture(scope='module')
def pages(browser, address): # noqa: F811
    "Pages by how they are shown, and what each asked for besides itself or complained of"
    known = {}
    def get(how, fresh):
        key = repr(sorted(how.items()))
        if fresh and key in known: known.pop(key)[0].context.close()
        if key not in known:
            page,wrong = browser.new_context(**how).new_page(),[]
            page.on('request', lambda r: r.url!=address and wrong.append(f'asked {r.url}'))
            page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(f'{m.type}: {m.text}'))
            page.on('pageerror', lambda e: wrong.append(str(e)))
            page.add_init_script(WORK)
            page.goto(address)
            until(page, ANSWERED)
            known[key] = page,wrong
        return known[key]
    yield get
    for page,_ in known.values(): page.context.close()


@pytest.fixture
def opened(pages):
    "The page as `how` says, as trained, shared between tests unless it has to be fresh; whatever is wrong is wrong"
    used = []
    def open_(fresh=False, **how):
        page,wrong = pages(VIEWS['desktop'] | how, fresh)
        used.append((page,wrong))
        if page.locator('#reset').is_enabled(): page.locator('#reset').click()
        return page
    yield open_
    for page,_ in used: page.evaluate(REST)
    assert not [w for _,wrong in used for w in wrong if 'favicon' not in w]


def accuracy(page, right):
    until(page, 'k => document.getElementById("accuracy").dataset.right==k', str(right))


def test_all_digits_as_in_python(opened):
    "Every spike, membrane and answer of 360 digits"
    records = PROG.record(DIGITS.x_test)
    said = PROG.decide(records[-1].spk, records[-1].mem)
    lines = [f'{a} {h:016x}' for a,h in zip(said, fnv_of(records))]
    assert len(lines)==360
    page = opened()
    until(page, PROVED)
    assert page.locator('#proof').get_attribute('data-fnv')==fnv_of_lines(lines)
    assert 'all 2,484,000 spikes and membranes are those of Python' in page.locator('#proof').inner_text()
    accuracy(page, int((said==DIGITS.y_test.numpy()).sum()))


def test_size_and_speed(opened, address):
    "What is served is what is in the repository and what `live_page` makes; times are told, and the bound is wide, for machines that have other work"
    made = live_page(PROG, DIGITS.x_test, DIGITS.y_test, first=9).encode()
    page = opened()
    served = page.request.get(address).body()
    assert hashlib.sha256(served).digest()==hashlib.sha256(made).digest() and len(served)<=400_000
    stored = (ROOT/'nbs/images/live.html').read_bytes()
    assert hashlib.sha256(stored).digest()==hashlib.sha256(made).digest(), 'nbs/images/live.html is old: python tools/docs.py'
    first = page.evaluate("performance.getEntriesByName('answer')[0].startTime")
    if page.locator('#play').get_attribute('aria-label')=='Play': page.locator('#play').click()
    until(page, 'work.length>20')
    playing = statistics.median(page.evaluate('work.splice(0)'))
    box = page.locator('#pad').bounding_box()
    page.mouse.move(box['x']+60, box['y']+40)
    page.mouse.down()
    for k in range(30): page.mouse.move(box['x']+60+k%25*4, box['y']+40+k*6)
    until(page, 'work.length>4')
    drawing = statistics.median(page.evaluate('work.splice(0)'))
    page.mouse.up()
    print(f'{len(served)/1000:.0f} kB, first answer after {first:.0f} ms, a frame works {playing:.1f} ms, {drawing:.1f} ms while drawing')
    assert 0<=playing<1000 and 0<=drawing<1000


def test_policy(browser, address): # noqa: F811
    "Nothing else runs, and nothing is fetched"
    page = browser.new_context().new_page()
    page.goto(address)
    until(page, ANSWERED)
    assert page.evaluate("(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s); return window.bad })()") is None
    assert page.evaluate("fetch(location.href).then(() => 'fetched', () => 'refused')")=='refused'
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p id=odd style=\"color:red\">x</p>')")
    assert page.locator('#odd').evaluate('e => getComputedStyle(e).color')!='rgb(255, 0, 0)'
    text = page.content()
    assert 'unsafe-inline' not in text and "'unsafe-eval'" not in text and 'innerHTML' not in text
    page.context.close()


def stroke(page, points):
    box = page.locator('#pad').bounding_box()
    at = [(box['x']+x*box['width'],box['y']+y*box['height']) for x,y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for p in at[1:]: page.mouse.move(*p)
    page.mouse.up()


def ring(x, y, a, b, start=0): return [(x+a*np.sin(t+start),y-b*np.cos(t+start)) for t in np.linspace(0, 2*np.pi, 12)]


def test_keys_alone(opened):
    "A line is drawn, then steps and neurons are chosen, without a pointer"
    page = opened(fresh=True, reduced_motion='reduce')
    for _ in range(20):
        page.keyboard.press('Tab')
        if page.evaluate('document.activeElement.id')=='pad': break
    assert page.evaluate('document.activeElement.id')=='pad'
    for k in ['Delete', *['ArrowUp']*6, 'Space', *['ArrowDown']*12, 'Space']: page.keyboard.press(k)
    until(page, 'document.getElementById("said").textContent.startsWith("It reads 1")')
    page.locator('#raster').focus()
    before = page.locator('#which').inner_text()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('ArrowLeft')
    until(page, 'was => document.getElementById("which").textContent!=was', before)
    until(page, 'document.getElementById("step").textContent=="step 24 of 25"') # the next picture
    page.keyboard.press('7')
    until(page, '/a 7$/.test(document.getElementById("what").textContent)')
    unnamed = page.locator('button, input, canvas, select').evaluate_all("all => all.filter(e => !e.ariaLabel && !e.textContent && !e.labels?.length && !e.getAttribute('aria-labelledby')).map(e => e.id)")
    assert not unnamed


DRAWN = {'0': [ring(.5, .5, .25, .35)], '1': [[(.5,.15),(.5,.85)]], '4': [[(.55,.15),(.27,.6),(.75,.6)], [(.6,.38),(.6,.87)]],
         '7': [[(.28,.17),(.72,.17),(.45,.86)], [(.38,.5),(.66,.5)]], '8': [ring(.5, .31, .16, .16), ring(.5, .67, .19, .19)]}

def test_drawings_are_read(opened):
    "Five plain drawings that it reads; how many it does not is measured on the page of `live_page`"
    page = opened(reduced_motion='reduce')
    for digit,strokes in DRAWN.items():
        page.locator('#clear').click()
        for s in strokes: stroke(page, s)
        until(page, 'document.getElementById("said").textContent.startsWith("It reads")')
        assert (digit,page.locator('#digit').inner_text())==(digit,digit)
    assert page.locator('#what').inner_text()=='Your drawing'


def set_to(page, id_, value): page.locator(id_).evaluate('(e, v) => { e.value = v; e.dispatchEvent(new Event("input")) }', value)


def test_thresholds_are_dragged_as_in_python(opened):
    page = opened()
    for power in (1,-.5):
        set_to(page, '#theta', power)
        first = PROG.layers[0]
        theta = np.floor(first.theta*2.**power+.5).astype(first.theta.dtype)
        other = replace(PROG, layers=(replace(first, theta=theta), *PROG.layers[1:]))
        accuracy(page, int((other.classify(DIGITS.x_test)==DIGITS.y_test.numpy()).sum()))
    page.locator('#reset').click()
    accuracy(page, 352)


def on_levels(side):
    "The program with weights on −side … side, times the step that loses least"
    def fewer(w):
        on = [np.sign(w)*np.minimum(side, np.floor(np.abs(w)/step+.5))*step for step in range(1, 8//side)]
        return min(on, key=lambda v: ((v-w)**2).sum()).astype(np.int8)
    return replace(PROG, layers=tuple(replace(l, weight=fewer(l.weight.astype(float))) for l in PROG.layers))


def test_fewer_levels_are_dragged_as_in_python(opened):
    "On five levels, and on three"
    page = opened()
    for place,side in enumerate((4,2,1)):
        set_to(page, '#bits', place)
        assert f'{2*side+1} levels' in page.locator('#levels').inner_text()
        other = PROG if side==4 else on_levels(side)
        accuracy(page, int((other.classify(DIGITS.x_test)==DIGITS.y_test.numpy()).sum()))


@pytest.mark.parametrize('place,net', [(0,PROG), (2,on_levels(1))], ids=['as trained', 'three levels'])
def test_energy_is_that_of_python(opened, place, net):
    "At the end of a sample: all that `cost_of` counts, at the prices of `energy_of`"
    page = opened(reduced_motion='reduce')
    set_to(page, '#bits', place)
    for k in range(10):
        page.locator('#samples button').nth(k).click()
        until(page, 'k => document.getElementById("what").textContent.endsWith(`a ${k}`)', k)
        sample = int(page.locator('#what').inner_text().split()[2].strip(','))
        cost = cost_of(net, DIGITS.x_test[sample:sample+1])
        want = energy_of(cost).total
        assert float(page.locator('#energy').get_attribute('data-pj'))==pytest.approx(want, rel=1e-12)
        assert page.locator('#energy').inner_text()==f'{want/1e3:.1f} nJ'
        assert int(page.locator('#ops').inner_text().replace(',', ''))==cost.mean('effective')
        assert page.locator('#every').inner_text().replace(',', '')==f'of {cost.mean("dense"):.0f} synaptic operations'
    dense = dense_energy((64,*(len(l.weight) for l in PROG.layers)), 8).total
    assert page.locator('#dense').inner_text().endswith(f'dense int8 network of this shape: {dense/1e3:.1f} nJ')


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('view', VIEWS)
def test_looks(opened, view, theme):
    page = opened(**VIEWS[view] | dict(color_scheme=theme))
    until(page, PROVED)
    look = page.evaluate(LOOK)
    assert look['width']<=look['inner'] and look['headings']==1 and look['lang'] and look['viewport']
    assert not look['outside']+look['faint']+look['unnamed']
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor').startswith('rgb(34')
    assert dark==(theme=='dark')


def test_first_screen_of_a_phone(opened):
    "Title, frame and answer; the answer is not under the finger"
    page = opened(**VIEWS['phone'])
    page.evaluate('scrollTo(0, 0)')
    title,pad,digit,clear = (page.locator(k).bounding_box() for k in ('h1','#pad','#digit','#clear'))
    assert title['y']<pad['y'] and clear['y']+clear['height']<=844 and pad['width']>=200
    assert pad['x']+pad['width']<=digit['x'] and pad['y']-1<=digit['y']<pad['y']+pad['height']


def test_finger(opened):
    "A finger draws, and the page stays where it is"
    page = opened(**VIEWS['phone'])
    box = page.locator('#pad').bounding_box()
    page.locator('#clear').tap()
    cdp = page.context.new_cdp_session(page)
    for k,kind in enumerate(['touchStart', *['touchMove']*6, 'touchEnd']):
        points = [] if kind=='touchEnd' else [dict(x=box['x']+box['width']/2, y=box['y']+20+k*box['height']/8)]
        cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=points))
    until(page, 'document.getElementById("said").textContent.startsWith("It reads 1")')
    assert page.evaluate('scrollY')==0


def test_motion_is_reduced(opened):
    page = opened(reduced_motion='reduce')
    page.locator('#samples button').first.click()
    page.wait_for_timeout(200)
    assert page.locator('#step').inner_text()=='step 25 of 25'
    assert page.locator('#play').get_attribute('aria-label')=='Play'


def test_wrong_files_are_refused_in_one_line(opened, tmp_path):
    page = opened()
    bad = (tmp_path/'bad.safetensors')
    bad.write_bytes(b'no network')
    damaged = bytearray((ROOT/'nbs/measured/digits.safetensors').read_bytes())
    damaged[-9] ^= 1
    (tmp_path/'damaged.safetensors').write_bytes(damaged)
    replace(PROG, in_scale=1/16, in_max=16).save(tmp_path/'other.safetensors')
    for name,said in (('bad','expected a whole safetensors file'), ('damaged','expected that of the file'), ('other','expected 64 codes from 0 to 255')):
        page.locator('#file').set_input_files(tmp_path/f'{name}.safetensors')
        until(page, 'n => document.getElementById("wrong").textContent.startsWith(n)', f'{name}.safetensors')
        text = page.locator('#wrong').text_content()
        assert said in text and '\n' not in text and len(text)<300
    PROG.save(tmp_path/'good.safetensors')
    page.locator('#file').set_input_files(tmp_path/'good.safetensors')
    until(page, 'document.getElementById("proof").textContent.startsWith("good.safetensors")')
    assert not page.locator('#wrong').text_content()
    until(page, 'document.getElementById("energy").textContent==="–"') # its prices are not known


def deeper():
    "64-20-16-10, drawn"
    rng,full = np.random.default_rng(0),lambda n, v: np.full(n, v, np.int32)
    made = lambda j, n, **k: IntLayer(rng.integers(-7, 8, (n,j)).astype(np.int8), full(n, 0), full(n, 900 if j==64 else 12), full(n, 60000), np.ones(n), quant_max=7, **k)
    return IntegerNetwork((made(64, 20), made(20, 16), made(16, 10, reset='none')), (64,), 25, PROG.in_scale, PROG.in_min, PROG.in_max)


def test_each_hidden_layer_is_shown(opened, tmp_path):
    "By a list that keys reach, where there is more than one; neurons and membranes are those of the layer"
    page = opened(fresh=True, reduced_motion='reduce')
    page.evaluate(REST)
    assert page.locator('#layer').is_hidden() and '128 neurons, by what they vote for' in page.locator('#inside h2').first.inner_text()
    net = deeper()
    net.save(tmp_path/'deeper.safetensors')
    page.locator('#file').set_input_files(tmp_path/'deeper.safetensors')
    until(page, '!document.getElementById("layer").hidden')
    heading = lambda: page.locator('#inside h2').first.inner_text()
    assert page.locator('#layer option').all_inner_texts()==['hidden layer 1','hidden layer 2'] and heading()=='16 neurons, by what they vote for'
    records = net.record(DIGITS.x_test[9:10])
    def unit(): return re.sub(r'(?<=\d),(?=\d)', '', page.locator('#which').inner_text()).replace('−', '-')
    for l,keys in ((1,()),(0,('ArrowUp',)),(1,('ArrowDown',))):
        page.locator('#layer').focus()
        for k in keys: page.keyboard.press(k)
        until(page, 'n => document.getElementById("raster").ariaLabel.startsWith(`Spikes of ${n} neurons`)', int((20,16)[l]))
        page.locator('#time').evaluate('e => { e.value = 24; e.dispatchEvent(new Event("input")) }')
        until(page, 'document.getElementById("step").textContent==="step 25 of 25"')
        found = re.fullmatch(r'Neuron (\d+): membrane (-?\d+), θ (\d+)', unit())
        k = int(found[1])
        assert int(found[2])==int(records[l].mem[-1,0,k]) and int(found[3])==int(net.layers[l].theta[k]), (l, unit())
    assert heading()=='16 neurons, by what they vote for'
    page.locator('#layer').select_option('0')
    until(page, 'document.querySelector("#inside h2").textContent==="20 neurons"')
