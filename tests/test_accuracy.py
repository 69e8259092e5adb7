"What the table of accuracies is made of, and that peers in it are what they say."
import json
from pathlib import Path

import pytest
import snntorch as snn
import torch
from snntorch.functional.quant import state_quant

from quarantion.bench.accuracy import (SETTINGS, SnnTorchNet, accuracy_table, bench_accuracy, contenders, nearest_state,
    plot_accuracy)
from quarantion.paper import new_axes
from quarantion.train.config import Config

STORED = json.loads((Path(__file__).parent.parent/'nbs'/'measured'/'accuracy.json').read_text())
KEYS = 'who','weight','membrane','note'


def test_every_contender_and_seed_is_stored():
    "None is left out, whatever came out"
    seeds = {r['seed'] for r in STORED['rows']}
    assert len(seeds)>=3 and STORED['settings']==SETTINGS
    assert sorted((*(r[k] for k in KEYS), r['seed']) for r in STORED['rows'])==sorted((*c[:4], s) for c in contenders() for s in seeds)


def test_stored_programs_are_proved():
    rows = [r for r in STORED['rows'] if r['who']=='quarantion' and r['weight']!='float']
    assert rows and all(r['mismatches']==0 and r['compared']>0 and not r['problems'] and r['bytes']<r['float_bytes'] for r in rows)
    table = accuracy_table(STORED['rows'])
    assert table.count('\n')==1+len(contenders()) and ' 0 of ' in table


@pytest.mark.parametrize('bits', [1, 2, 3, 4, 8])
@pytest.mark.parametrize('uniform', [True, False])
def test_states_are_those_of_snntorch(bits, uniform):
    "Values and gradients, also through time"
    torch.manual_seed(bits)
    x = (3*torch.randn(500)).requires_grad_()
    ours,theirs = nearest_state(bits, uniform),state_quant(bits, uniform=uniform)
    w = torch.randn(500)
    grads = []
    for f in ours,theirs:
        neuron,mem,out = snn.Leaky(.9, state_quant=f, spike_grad=snn.surrogate.fast_sigmoid(25)),torch.zeros(500),0
        for _ in range(6):
            spk,mem = neuron(x, mem)
            out = out+(spk*w).sum()+(mem*w).sum()
        grads.append((f(x).detach(), out.detach(), torch.autograd.grad(out, x)[0]))
    for a,b in zip(*grads): assert torch.equal(a, b)


def test_runs_repeat_and_start_alike():
    "The same seed gives the same row; both float networks begin with the same weights"
    pick = lambda c: c[:3] in (('quarantion','nonary','exact'),('snnTorch','float','float'))
    a,b = (bench_accuracy(1, pick=pick, hidden=16, epochs=1, qat_epochs=1) for _ in range(2))
    for r in a+b: r.pop('seconds')
    assert a==b and len(a)==2
    cfg = Config(**SETTINGS)
    first,second = torch.nn.Linear(64, 8),torch.nn.Linear(8, 10)
    net = SnnTorchNet(first, second, cfg)
    assert {k:v for k,v in net.named_parameters()}.keys()=={'first.weight','first.bias','second.weight','second.bias'}


def test_the_picture_has_the_best_first_and_the_mean_at_the_end():
    "A row for each contender, sorted by error"
    pick = [r for r in STORED['rows'] if r['weight'] in ('nonary','ternary','int2')]
    ax = plot_accuracy(pick, new_axes((7,4)))
    ends = [float(t.get_text()[:-2]) for t in ax.texts if t.get_text().endswith('%')]
    groups = {}
    for r in pick: groups.setdefault(tuple(r[k] for k in KEYS), []).append(100*(1-r['test_accuracy']))
    assert ends==sorted(ends) and ends==[round(e, 1) for e in sorted(sum(v)/len(v) for v in groups.values())]
    assert len(ax.get_yticklabels())==len(groups) and ax.get_yticklabels()[-1].get_text()=='quarantion: int2, clipped(2), mint2'
    assert sum(t.get_text().endswith(' kB') for t in ax.texts)==len(groups)
    assert not ax.spines['top'].get_visible() and ax.get_legend() is None
