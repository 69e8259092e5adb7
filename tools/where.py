"""Where a program can run: each way out of the house, on a small network of each policy and reset, proved.

`python tools/measure.py where` stores all of it for the page; `tests/test_where.py` runs a part of it. A new export is one line in WAYS.
"""
from functools import cache

from quarantion import export
from quarantion.checks import CheckError

POLICIES = 'int8','int4','nonary','ternary','mint4','mint2','tcq4','current8'
RESETS = 'subtract','subtract_delayed','zero'
SAMPLES = 100

WAYS = { # from a program and samples to an `ExportProof`; a `CheckError` says why not
    'C, by gcc': lambda net,x: export.prove_c(net, export.to_c(net), x),
    'C on a Cortex-M0+, by qemu': lambda net,x: export.prove_board(net, export.to_c(net), x[:20], _board()).proof,
    'JavaScript, by node': lambda net,x: export.prove_js(net, export.to_js(net), x),
    'WebAssembly, by node': lambda net,x: export.prove_wasm(net, x),
    'ONNX, by onnxruntime': lambda net,x: export.prove_onnx(net, export.to_onnx(net), x),
    'events, read back': lambda net,x: export.prove_events(net, export.to_events(net, x), x),
    'NIR, by three simulators': lambda net,x: export.prove_nir(net, export.to_nir(net), x),
    'folder for a hub, by from_hub': lambda net,x: export.prove_hub(net, export.to_hub(net), x),
}


def _board():
    from quarantion.export.cortex_m import BOARDS
    return BOARDS[0]


@cache
def samples():
    from quarantion.data.digits import load_digits
    return load_digits().x_test


@cache
def small(policy, reset):
    "A small network with these, not trained, on the scale of the digits"
    import torch
    from torch import nn

    from quarantion.quant import lower, prepare, preset
    from quarantion.spikes.network import Network
    from quarantion.spikes.neuron import LIF
    torch.manual_seed(0)
    first = nn.Linear(64, 24)
    with torch.no_grad(): first.weight.mul_(3)
    net = Network(first, LIF(reset=reset), nn.Linear(24, 10), LIF(reset='none'), in_shape=(64,), steps=6)
    return lower(prepare(net, preset(policy), samples()).freeze())


def cell(way, policy, reset, n=SAMPLES):
    "What came of one: counts, or why there are none"
    said = dict(way=way, policy=policy, reset=reset)
    try: proof = WAYS[way](small(policy, reset), samples()[:n].numpy())
    except CheckError as e: return said|dict(proved=False, why=str(e))
    return said|dict(proved=proof.proved, samples=proof.samples, spikes=proof.spikes, fired=proof.fired, mismatches=max(proof.mismatches.values()))


def cells(ways=WAYS, policies=POLICIES, resets=RESETS): return [cell(w, p, r) for w in ways for p in policies for r in resets]
