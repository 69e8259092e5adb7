"MembraneInspector without a front end: controls, linked selection, three programs, and what is freed"
import gc
import re
import shutil
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.inspect.membrane_inspector import MembraneInspector
from quarantion.inspect.raster_canvas import raster_kinds
from quarantion.paper import draw_png
from quarantion.quant import lower

from inspected import POLICIES, networks, records, served


class Fake:
    "Records what it is told to"
    def __init__(self, seed, shapes=((9,3,20),(9,3,4)), **kw): self.seed,self.shapes,self.kw = seed,shapes,kw
    def record(self, x):
        r = np.random.default_rng(self.seed)
        return [SimpleNamespace(name=str(i), spk=(r.random(s)<.3).astype(np.float32), mem=r.random(s), **self.kw) for i,s in enumerate(self.shapes)]


def test_inspector_follows_its_controls():
    mi = MembraneInspector(Fake(0), None, Fake(1))
    seen = {mi.image.value}
    for w,v in ((mi.sample,2), (mi.neuron,17), (mi.layer,1)):
        w.value = v
        assert mi.message.value=='' and mi.image.value not in seen
        seen.add(mi.image.value)
    assert mi.neuron.value==3 and mi.neuron.max==3 # a smaller layer
    mi.neuron.value = 0
    mi.differing.click()
    assert mi.neuron.value>0 and mi.message.value==''


def test_inspector_says_what_went_wrong_and_goes_on():
    mi = MembraneInspector(Fake(0), None, Fake(0))
    mi.differing.click() # nothing differs
    assert 'expected a neuron whose spikes differ, found none' in mi.message.value
    mi._a[0][2][0,1,:] = np.nan
    mi.sample.value = 1
    assert 'CheckError: `traces[0].mem`: expected finite numbers' in mi.message.value
    mi._guard(fail_with, '<script>')
    assert '&lt;script&gt;' in mi.message.value and '<script' not in mi.message.value
    mi.sample.value = 2
    assert mi.message.value==''


def fail_with(s): raise RuntimeError(s)


def test_close_frees_callbacks_and_recordings():
    mi = MembraneInspector(Fake(0), None, Fake(1))
    layer,sample,button,image = mi.layer,mi.sample,mi.differing,mi.image
    kept,before = weakref.ref(mi),image.value
    mi.close(); mi.close()
    assert not {'_a','_b','net'} & set(vars(mi)) and repr(mi)=='MembraneInspector (closed)' and list(mi._repr_mimebundle_())==['text/plain']
    sample.value = 1; layer.value = 1; button.click()
    assert image.value==before
    del mi; gc.collect()
    assert kept() is None


def test_view_only_where_someone_looks(monkeypatch):
    import comm
    mi = MembraneInspector(Fake(0), None)
    assert set(mi._repr_mimebundle_())=={'text/plain','image/png'} # as stored by a notebook that ran without a front end
    class Comm(comm.base_comm.BaseComm):
        def publish_msg(self, *args, **kw): pass
    monkeypatch.setattr(comm, 'create_comm', Comm)
    mi = MembraneInspector(Fake(0), None)
    d = mi._repr_mimebundle_()
    assert set(d)=={'text/plain','image/png','application/vnd.jupyter.widget-view+json'} and isinstance(d['image/png'], str)


@pytest.mark.parametrize('net, other, say', [
    ({}, None, '`net`: expected a network with record(x), found dict'), (Fake(0), 3, '`other`: expected a network with record(x), found int'),
    (Fake(0, ()), None, '`net`: expected at least one layer'), (Fake(0, ((3,4),)), None, 'spikes of layer 0: expected axes `t b ...`'),
    (Fake(0), Fake(0, ((9,3,20),)), '`other`: expected 2 layers, found 1'), (Fake(0), Fake(0, ((9,3,20),(9,3,5))), 'layer 1 of `other`: expected spikes of shape (9, 3, 4)')])
def test_inspector_refuses(net, other, say):
    with pytest.raises(CheckError, match=re.escape(say)): MembraneInspector(net, None, other)


def test_inspector_of_networks():
    from torch import nn
    from quarantion.quant.policy import preset
    from quarantion.quant.network import prepare
    from quarantion.spikes.network import Network
    from quarantion.spikes.neuron import LIF
    torch.manual_seed(0)
    net = Network(nn.Conv2d(1,4,3), LIF(threshold=torch.tensor([.5,1.,1.5,2.])), nn.Flatten(), nn.Linear(4*36,10), LIF(reset='none', threshold=3.), in_shape=(1,8,8), steps=6)
    x = torch.rand(3,1,8,8)
    q = prepare(net, preset('nonary'), x)
    net.train(); q.train(); net.layers[1].eval()
    seen = {k:v.clone() for k,v in q.state_dict().items()}
    mi = MembraneInspector(net, x, q)
    assert mi.message.value=='' and net.training and not net.layers[1].training and q.training
    assert all(torch.equal(v, seen[k]) for k,v in q.state_dict().items()), 'looking changed an observer'
    assert mi._a[0][3].tolist()==[t for t in (.5,1.,1.5,2.) for _ in range(36)] and mi._a[1][3].tolist()==[3.]*10
    assert mi._b[0][3].tolist()==mi._a[0][3].tolist()
    mi.record(x[:1])
    assert mi.sample.max==0 and mi.message.value==''


@pytest.mark.filterwarnings('ignore:.*cannot reach their threshold')
@pytest.mark.parametrize('conv', [False,True])
@pytest.mark.parametrize('name', POLICIES)
def test_three_programs(name, conv):
    net,q,x = networks(POLICIES[name], conv)
    mi = MembraneInspector(net, x, q)
    assert mi.message.value=='' and [t.name for t in mi.traces()]==['float','quantized','integer']
    for k in range(2):
        mi.layer.value = k
        _,b,c = mi.traces()
        np.testing.assert_allclose(b.mem, c.mem, atol=1e-5)
        assert (b.spk==c.spk).all() and mi.message.value==''
        levels = mi._levels()
        assert (levels is None)==(k==1 or name in ('exact','current'))
        if levels is not None: assert abs(c.mem[:,None]-levels).min(1).max()<1e-9, 'integers are on their levels'
    p = MembraneInspector(net, x, q, program=lower(q))
    assert p.message.value=='' and (p.traces()[2].spk==mi._c[0].spk[:,0,p.neuron.value]).all()
    mi.close(); p.close()


def test_it_opens_with_the_proof():
    "Over all that was recorded; then counts a neuron; the raster is black, and the other pair is a choice away"
    net,q,x = networks(POLICIES['levels'])
    mi = MembraneInspector(net, x, q)
    many = sum(s.spk.size for s in mi._b)
    assert f'<b style="font-size:3.4em;line-height:1">0</b> of {many:,} spikes differ' in mi.proof.value and 'weights were rounded' in mi.proof.value
    alt = re.search(r'alt="Spikes of each neuron of layer 1: ([\d,]+) float, ([\d,]+) quantized"', mi.proof.value)
    assert [int(a.replace(',', '')) for a in alt.groups()]==[int(s[0].spk.sum()) for s in (mi._a,mi._b)]
    assert mi.say().startswith(f'0 of {many:,} spikes differ') and mi.box.children.index(mi.proof)<mi.box.children.index(mi.raster)
    assert set(mi.raster.data)<={0,1} and mi.raster.names[1:]==['only quantized: 0','only integer: 0']
    before = mi.to_html()
    mi.raster_of.value = 'drift'
    assert set(mi.raster.data)>{0,1} and mi.raster.names[2].startswith('only quantized: ') and mi.to_html()!=before and mi.message.value==''
    first = mi.proof.value
    mi.layer.value = 1
    assert mi.proof.value!=first and 'of layer 3:' in mi.proof.value
    mi.close()


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_the_opening_is_text_beside_a_picture():
    "Number, words and reason in one column, the counts at its right; one above the other on a phone"
    sync = pytest.importorskip('playwright.sync_api')
    net,q,x = networks(POLICIES['levels'])
    mi = MembraneInspector(net, x, q)
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu'])
        for width in 1000,390:
            p = b.new_page(viewport=dict(width=width, height=600))
            p.set_content(f'<body style="font:13px/1.3 sans-serif">{mi.proof.value}')
            number,reason,picture = (p.locator(k).first.bounding_box() for k in ('b','p:last-child','img'))
            right = reason['x']+reason['width']
            assert number['x']==reason['x'] and 0<reason['y']-(number['y']+number['height'])<60
            if width==1000: assert 0<picture['x']-right<60 and picture['y']<reason['y']<picture['y']+picture['height']
            else: assert picture['y']>=reason['y']+reason['height']
            assert p.evaluate('document.documentElement.scrollWidth')<=width
        b.close()
    mi.close()


def test_a_difference_is_not_hidden():
    net,q,x = networks(POLICIES['levels'])
    mi = MembraneInspector(net, x, q)
    mi._c[0].spk[2,0,5] = 1-mi._c[0].spk[2,0,5]
    mi._opened = mi._shown = None
    mi.draw()
    assert '>1</b> of' in mi.proof.value and {2,3}&set(mi.raster.data)
    mi.close()


def test_without_a_program_there_is_nothing_to_prove():
    alone,two = MembraneInspector(Fake(0), None),MembraneInspector(Fake(0), None, Fake(1))
    assert alone.proof.value=='' and 'raster_of' not in two.controls and 'spikes differ' not in two.proof.value and '<img' in two.proof.value
    alone.close(); two.close()


def test_picture_of_a_fine_screen_has_twice_the_pixels():
    import io
    from PIL import Image
    size = lambda b: Image.open(io.BytesIO(b)).size
    mi = MembraneInspector(records(0, 50, 20))
    w,h = size(mi.picture)
    mi.page.pixels = 2.
    assert size(mi.picture)[0]==2*w and abs(size(mi.picture)[1]-2*h)<2 and 'width:960px' in mi.image.value
    mi.close()


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_pointer_over_the_picture():
    "Says what is at a step, chooses it by click and drag, and is silent elsewhere"
    sync = pytest.importorskip('playwright.sync_api')
    mi = MembraneInspector(records(0, 50, 20), other=records(1, 50, 20))
    state = {k:getattr(mi.pointer, k) for k in ('inside','span','rows','says','step')}
    assert state['inside']=='MembraneInspector' and len(state['says'])==20 and state['says'][3].startswith('step 3\nfloat: ')
    page = served(mi.pointer._esm, state, f'<div class="MembraneInspector">{mi.image.value}<div id="el"></div></div>')
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu'])
        p,wrong = b.new_page(viewport=dict(width=1200, height=900)),[]
        p.on('pageerror', lambda e: wrong.append(str(e)))
        p.set_content(page)
        p.wait_for_function('window.ready')
        box,tip = p.locator('img').bounding_box(),p.locator('[role=tooltip]')
        def at(t, y=.3):
            from_,to = state['span']
            return box['x']+box['width']*(from_+(t+.5)/20*(to-from_)),box['y']+box['height']*y
        p.mouse.move(*at(7))
        assert tip.is_visible() and tip.inner_text()==state['says'][7] and p.evaluate('model.get("step")')==0, 'looking chooses nothing'
        p.mouse.click(*at(7))
        assert p.evaluate('model.get("step")')==7
        p.mouse.move(*at(12, .85)); p.mouse.down(); p.mouse.move(*at(15, .85)); p.mouse.up()
        assert p.evaluate('model.get("step")')==15, 'the spread below has the same steps'
        for x,y in (at(-1.5), at(21), at(9, .62)):
            p.mouse.move(x, y)
            assert not tip.is_visible()
        assert not wrong
        b.close()
    mi.pointer.step = 11 # as the browser says it
    assert mi.chosen()[3]==11 and mi.raster.step==11
    mi.close()


BYTES = """() => { const get = model.get, bytes = new Uint8Array(get('data'));
    model.get = k => k === 'data' ? new DataView(bytes.buffer) : get(k) }"""


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
@pytest.mark.parametrize('two', [True,False])
def test_words_under_the_pointer_in_the_raster(two):
    "Neuron, step and whose spike it is, without choosing it; nothing beside the raster, and a drag chooses"
    sync = pytest.importorskip('playwright.sync_api')
    mi = MembraneInspector(records(0, 40, 20), other=records(5, 40, 20) if two else None)
    r = mi.raster
    kinds = np.frombuffer(r.data, np.uint8).reshape(r.shape)
    assert {*kinds.flat}==set(range(4) if two else range(2))
    named = ['no spike','both','only float','only quantized'] if two else ['no spike','spike']
    state = {k:getattr(r, k) for k in ('shape','colours','label','names','margins','neuron','step')}|dict(data=list(r.data))
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu'])
        p,wrong = b.new_page(viewport=dict(width=1000, height=400)),[]
        p.on('pageerror', lambda e: wrong.append(str(e)))
        p.set_content(served(r._esm, state, '<div id="el"></div>'))
        p.wait_for_function('window.ready')
        p.evaluate(BYTES)
        box = p.locator('canvas').bounding_box()
        left,right = (max(m,k*box['width']) for m,k in zip((46,14), r.margins))
        def at(n, t):
            x = box['x']+left+(t+.5)/20*(box['width']-left-right)
            return x,box['y']+(1-(n+.5)/40)*(box['height']-20)
        title = lambda: p.evaluate('document.querySelector("canvas").title')
        for k,name in enumerate(named):
            n,t = map(int, np.argwhere(kinds==k)[-1])
            p.mouse.move(*at(n, t))
            assert title()==f'neuron {n}, step {t}: {name}'
        assert p.evaluate('[model.get("neuron"), model.get("step")]')==[r.neuron,r.step], 'looking chooses nothing'
        for x,y in (at(3, -1), at(3, 20), at(-1, 5)):
            p.mouse.move(x, y)
            assert title()==''
        p.mouse.move(*at(2, 4)); p.mouse.down(); p.mouse.move(*at(5, 9)); p.mouse.up()
        assert p.evaluate('[model.get("neuron"), model.get("step")]')==[5,9] and not wrong
        b.close()
    mi.close()


THEMES = [('body','data-jp-theme-light','false',True), ('body','data-jp-theme-light','true',False), ('body','data-vscode-theme-kind','vscode-dark',True), ('body','data-vscode-theme-kind','vscode-light',False),
          ('body','data-vscode-theme-kind','vscode-high-contrast',True), ('body','data-vscode-theme-kind','vscode-high-contrast-light',False), ('html','theme','dark',True), ('html','theme','light',False), ('html','data-theme','dark',True)]


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_theme_of_every_front_end():
    "JupyterLab, VS Code and Colab say it in their own attributes; a page that says nothing leaves the paper as it is"
    sync = pytest.importorskip('playwright.sync_api')
    from quarantion.inspect.widget import _theme
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu'])
        for fine in 1,2:
            p = b.new_page(device_scale_factor=fine)
            p.set_content(served(_theme()._esm, dict(dark=True, pixels=1), '<div id="el"></div>'))
            p.wait_for_function('window.ready')
            assert p.evaluate('[model.get("dark"), model.get("pixels")]')==[True,fine], 'nobody said'
            for where,name,value,dark in THEMES:
                p.evaluate('([w,n,v]) => { model.set("dark", null); document.querySelector(w).setAttribute(n, v) }', [where,name,value])
                p.wait_for_function('d => model.get("dark") === d', arg=dark)
                p.evaluate('([w,n]) => document.querySelector(w).removeAttribute(n)', [where,name])
        b.close()


def test_selection_is_linked():
    mi = MembraneInspector(records(0, 50, 20), other=records(1, 50, 20))
    mi.raster.neuron,mi.raster.step = 30,7 # a click in the browser
    assert mi.chosen()[2:]==(30,7)
    mi.neuron.value,mi.step.value = 8,3
    assert (mi.raster.neuron,mi.raster.step)==(8,3)
    mi.play.value = 15
    assert mi.step.value==mi.raster.step==15
    mi.dark.value = True
    assert mi.raster.colours[0]!='#ffffff'
    mi.close()


def test_nothing_of_the_last_picture_is_left():
    "The paper is used again; the picture is that of a new one"
    net,q,x = networks(POLICIES['levels'])
    mi = MembraneInspector(net, x, q)
    for layer,neuron,step,dark in (0,3,2,False),(1,4,8,False),(0,20,0,True),(1,0,5,True),(0,7,7,False):
        mi.layer.value,mi.neuron.value,mi.step.value,mi.dark.value = layer,neuron,step,dark
        assert mi.message.value=='' and mi.picture==draw_png(mi.paint, mi.size, dark)
    mi.close()


def test_redraw_is_quick():
    "1,000 neurons, 200 steps; bounded loosely, as others use the machine"
    mi = MembraneInspector(records(0), other=records(1))
    took = []
    for n in range(9):
        start = time.process_time()
        mi.neuron.value = 100*n+1
        took.append(time.process_time()-start)
    start = time.process_time()
    kinds = raster_kinds(mi._a[0].spk[:,0], mi._b[0].spk[:,0])
    mi.raster.show(kinds)
    raster = time.process_time()-start
    print(f'details {1e3*np.median(took):.0f} ms, raster {1e3*raster:.1f} ms of the processor')
    assert np.median(took)<.5 and raster<.1
    mi.close()
