"What the tests of inspectors look at: small networks of several policies, and made-up recordings"
import json
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from quarantion.inspect.observer_inspector import ObserverInspector
from quarantion.quant import prepare
from quarantion.quant.policy import Policy
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF


POLICIES = dict(exact=Policy('int4'), levels=Policy('int4', membrane='levels(8)', layers={'last': dict(membrane='exact')}),
                clipped=Policy('int4', membrane='clipped(4)', layers={'last': dict(membrane='exact')}), current=Policy('int8', current='int8', layers={'last': dict(current='exact')}))


def networks(policy, conv=False):
    torch.manual_seed(0)
    first = [nn.Conv2d(1,3,3), LIF(), nn.Flatten(), nn.Linear(3*36,10)] if conv else [nn.Linear(64,24), LIF(), nn.Linear(24,10)]
    net = Network(*first, LIF(reset='none'), in_shape=(1,8,8) if conv else (64,), steps=9)
    x = torch.rand(12, *net.in_shape)
    return net,prepare(net, policy, x),x


def observer():
    _,q,x = networks(POLICIES['current'])
    return ObserverInspector(q, [(x,torch.arange(12)%10)])


def records(seed, N=1000, T=200):
    r = np.random.default_rng(seed)
    return [SimpleNamespace(name='0', spk=(r.random((T,1,N))<.05).astype(np.uint8), mem=r.standard_normal((T,1,N)).astype(np.float32)/2, theta=np.ones(N))]


def served(esm, state, html):
    "A page on which a view of an anywidget runs without a kernel; `window.model` is its model"
    view = esm.rsplit('export default', 1)[0]
    return f'''<!doctype html><body>{html}<script type="module">{view}
const state = {json.dumps(state)};
window.model = {{get: k => state[k], set: (k, v) => {{ state[k] = v }}, save_changes: () => {{ window.saved = (window.saved||0)+1 }}, on: () => 0, off: () => 0}};
window.gone = render({{model: window.model, el: document.getElementById('el')}}); window.ready = true;</script>'''
