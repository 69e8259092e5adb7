"ObserverInspector without a front end: every tensor and grid, and what-if"
import shutil

import numpy as np
import pytest
import torch

from quarantion.inspect.observer_inspector import TENSORS, ObserverInspector, look_at
from quarantion.inspect.whatif import policy_in, policy_words, what_if

from inspected import POLICIES, networks

pytestmark = pytest.mark.filterwarnings('ignore:.*(codes are 0|cannot reach their threshold)') # networks that nobody trained


@pytest.mark.parametrize('conv', [False,True])
@pytest.mark.parametrize('name', POLICIES)
def test_every_tensor_and_grid(name, conv):
    _,q,x = networks(POLICIES[name], conv)
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    for layer in range(2):
        oi.layer.value = layer
        for tensor in TENSORS:
            oi.tensor.value = tensor
            assert oi.message.value=='', (tensor,oi.message.value)
            for g in oi.grid.options[::5]:
                oi.grid.value = g
                assert oi.message.value=='', (tensor,g,oi.message.value)
            if name=='exact':
                for g in oi.grid.options: assert np.isfinite(look_at(q, x, layer, tensor, g).z).all(), (tensor,g)
    oi.close()


def test_what_if_leaves_the_network_alone():
    _,q,x = networks(POLICIES['current'])
    y = torch.arange(12)%10
    state = {k:v.clone() for k,v in q.state_dict().items()}
    oi = ObserverInspector(q, [(x,y)])
    oi.grid.value = 'ternary'
    oi.try_it.click()
    assert oi.message.value=='' and oi._tried[1].spikes[0]>0
    oi.tensor.value,oi.grid.value,oi.rule.value = 'current','int3','percentile'
    oi.try_it.click()
    assert oi.message.value=='' and oi._tried[1].spikes[0]>0
    assert all(torch.equal(v, state[k]) for k,v in q.state_dict().items())
    assert policy_in(q)==policy_in(q) and oi.policy.at('1').current=='int8'
    oi.apply.click()
    assert oi.policy.at('1').current=='int3' and oi.policy.at('1').observer=='percentile' and oi.policy.at('3')==POLICIES['current'].at('3','last') and oi.scale[:2]==(0,'current')
    oi.close()


def test_scales_are_followed():
    "While it trains: scales of weights and thresholds as they were after each batch"
    _,q,x = networks(POLICIES['levels'])
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    was = float(q.layers[0].scale.detach().mean())
    with torch.no_grad(): q.layers[0].scale.mul_(2)
    oi.update()
    assert oi._scales(7).tolist()==pytest.approx([was,2*was])
    oi.grid.value = 'ternary'
    assert oi._scales(1) is None, 'it never had that one'
    oi.grid.value,oi.tensor.value = 'int4','membrane'
    assert oi._scales(1).tolist()==pytest.approx(2*[float(q.layers[0].threshold.detach().mean())])
    assert policy_words(oi.policy)=='weight int4, membrane levels(8); layer 3: membrane exact' and 'levels(8)' in oi.status.value
    oi.close()


def test_same_policy_changes_nothing():
    for p in POLICIES.values():
        _,q,x = networks(p)
        w = what_if(q, policy_in(q), x, torch.arange(12)%10)
        assert w.spikes.max()==0 and w.answers==0 and w.before==w.after


def test_no_panel_where_nothing_moves():
    "Weights stay while nobody trains; currents, and weights in training, have a history"
    from matplotlib.figure import Figure
    _,q,x = networks(POLICIES['current'])
    y = torch.arange(12)%10
    oi = ObserverInspector(q, [(x,y),(x.flip(1)*.5,y)])
    def panels():
        fig = Figure(figsize=oi.size)
        oi.paint(fig)
        return [a.get_xlabel() for a in fig.axes]
    assert 'batch' not in panels() and 'the same in all 2 batches' in oi.say() and oi.constant.disabled
    oi.tensor.value = 'current'
    assert 'batch' in panels() and 'Below, the smallest' in oi.say() and not oi.constant.disabled
    oi.tensor.value = 'weight'
    with torch.no_grad(): q.layers[0].latent.mul_(2)
    oi.update()
    assert 'batch' in panels() and oi.message.value==''
    oi.close()


def test_apply_says_what_to_do_next():
    from quarantion.quant import prepare
    from quarantion.quant.policy import Policy
    net,q,x = networks(POLICIES['exact'])
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    assert oi.code.text==''
    oi.grid.value = 'ternary'
    oi.apply.click()
    assert oi.code.text.splitlines()[1]=='q = prepare(net, policy, sample)'
    said = dict(Policy=Policy, prepare=prepare, net=net, sample=x)
    exec(oi.code.text, said)
    assert said['q'].layers[0].policy.weight=='ternary' and said['q'].layers[1].policy.weight=='int4'
    oi.close()


@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_a_click_copies_the_line():
    sync = pytest.importorskip('playwright.sync_api')
    from quarantion.inspect.widget import code_line
    from inspected import served
    line = 'policy = Policy()\nq = prepare(net, policy, sample)'
    with sync.sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox','--disable-gpu'])
        p = b.new_page()
        p.set_content(served(code_line()._esm, dict(text=line), '<div id="el"></div>'))
        p.wait_for_function('window.ready')
        p.evaluate("() => Object.defineProperty(navigator, 'clipboard', {configurable: true, value: {writeText: async s => { window.copied = s }}})")
        p.locator('button').click()
        assert p.evaluate('copied')==line and p.locator('button').inner_text()=='copied'
        p.evaluate("() => Object.defineProperty(navigator, 'clipboard', {configurable: true, value: undefined})")
        p.locator('button').click()
        assert p.evaluate('getSelection().toString()')==line, 'where the browser refuses, it is selected'
        b.close()


def test_frozen_networks_say_so():
    _,q,x = networks(POLICIES['exact'])
    q.freeze()
    oi = ObserverInspector(q, [(x,torch.arange(12)%10)])
    oi.try_it.click()
    assert 'frozen' in oi.message.value
    oi.close()
