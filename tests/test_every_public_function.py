"""Every public function, with every wrong kind of argument: a `CheckError`, or a right answer.

A row of `CALLS` is a valid call; a public function without one fails, unless `OPEN` names it, which may only get shorter."""
import copy
import importlib
import inspect
import pkgutil
import re
import shutil
import tempfile
from collections import namedtuple
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import snntorch as snn
import torch
from spikingjelly.activation_based.neuron import IFNode
from torch import nn

import quarantion
from quarantion.checks import CheckError
from quarantion.train.hooks import Wire
from quarantion.train.payloads import Frame, code_of
from quarantion.data.digits import load_digits
from quarantion.data.addresses import Cores
from quarantion.data.event_writers import npz_bytes
from quarantion.data.events import Recordings, by_steps, make_events
from quarantion.data.leakage import Near
from quarantion.data.moving import Camera
from quarantion.data.quality import Limits, check, part_of, raw_of, survey
from quarantion.data.samples import Samples, Split
from quarantion.export.events import EventsHead, to_events
from quarantion.export.nir_events import NodeEvents
from quarantion.export.onnx import to_onnx
from quarantion.export import ExportProof, to_c, to_js
from quarantion.export.cortex_m import BOARDS, Footprint
from quarantion.export.cost import cost_of
from quarantion.export.energy import HOROWITZ
from quarantion.export.graphs import NirRun
from quarantion.export.nir import to_nir
from quarantion.export.parts.rules import Rules
from quarantion.export.hub import to_hub
from quarantion.export.targets import TARGETS, targets_of
from quarantion.export.wasm import SHIPPED, to_wasm
from quarantion.files import save_tensors
from quarantion.graphs import hypergraph, to_hypernetx, to_networkx, to_pyg, to_xgi
from quarantion.graphs.curvature import ollivier
from quarantion.graphs.generate import Generator
from quarantion.graphs.likeness import shape_of
from quarantion.graphs.ricci import ricci_flow
from quarantion.geometry.ball import BallLinear
from quarantion.graphs.layers import HypergraphAttention, HypergraphConv, Incidence
from quarantion.inspect.clickable import Clickable
from quarantion.language.lessons import TextConfig
from quarantion.language.lowered import QuantLM, lower_lm
from quarantion.language.model import KernelLM
from quarantion.inspect.event_film import EventStage
from quarantion.inspect.growing import Grown
from quarantion.inspect.health import Marks, Scale, traced
from quarantion.inspect.health_canvas import HealthCanvas
from quarantion.inspect.health_inspector import HealthInspector
from quarantion.train.diagnosis import causes_of
from quarantion.inspect.recordings import record_layers
from quarantion.quant.lattice import Lattice, encode_lattice, lattice_codes
from quarantion.language.pieces import BYTES
from quarantion.language.route import Experts, KeyGate, LearnedGate, root_keys
from quarantion.language.sample import Sampler
from quarantion.language.tokenizer import Tokenizer
from quarantion.memory.answer import answer_from
from quarantion.memory.blocks import open_store
from quarantion.memory.bm25 import fit_bm25
from quarantion.memory.corpus import Corpus
from quarantion.memory.embed import fit_lsa
from quarantion.memory.entities import entities_of
from quarantion.memory.library import Library, Parts
from quarantion.memory.loop import Gate, Loop
from quarantion.memory.minilm import MiniLM
from quarantion.memory.rules import Flag
from quarantion.memory.remembered import Remembered
from quarantion.memory.sections import sections_of
from quarantion.memory.retrieve import How, retriever_of
from quarantion.memory.shells import Shells
from quarantion.memory.signed import Key, sign, verify_signed
from quarantion.memory.trust import Trust
from quarantion.memory.waves import WaveMemory
from quarantion.memory.words import Postings, fit_words
from quarantion.inspect.wave_film import run_emitters
from quarantion.inspect.nearest import see_bounds
from quarantion.inspect.ask_explorer import AskExplorer, see_moves
from quarantion.inspect.token_inspector import TokenInspector
from quarantion.inspect.search_explorer import SearchExplorer, see_answer
from quarantion.inspect.wave_inspector import WaveInspector
from quarantion.paper import draw_png
from quarantion.quant.elsewhere import Codes
from quarantion.quant.level_sets import LevelTable, levels
from quarantion.quant.lowering import lower
from quarantion.quant.membranes import uniform_levels
from quarantion.quant.network import prepare
from quarantion.quant.observers import MinMax
from quarantion.quant.policy import preset
from quarantion.runtime.calibration import sketch
from quarantion.runtime.infer import Inferred
from quarantion.runtime.monitor import DriftMonitor
from quarantion.runtime.layer import IntLayer, Op, Record
from quarantion.runtime.network import IntegerNetwork, load
from quarantion.runtime.stream import events_of
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF, Gradient
from quarantion.spikes.own import neuron
from quarantion.spikes.states import Part
from quarantion.spikes.surrogate import spike
from quarantion.spikes.synaptic import Synaptic
from quarantion.tables import measured, one_a_subject
from quarantion.train.canon import Canon
from quarantion.train.checkpoints import Checkpoint
from quarantion.train.config import Config
from quarantion.train.course import Course, Held
from quarantion.train.heal import Plan, Saved, Told
from quarantion.train.meetings import Met, Outer
from quarantion.train.natural import NaturalSGD
from quarantion.train.phases import phases_named
from quarantion.train.reproduce import Tolerance
from quarantion.train.runs import Brief, Difference
from quarantion.train.seen import LastStep
from quarantion.train.signals import LayerSignals, Signals
from quarantion.train.space import Outcome
from quarantion.train.trackers import Tracking
from quarantion.train.tune import Trial, summed_up
from quarantion.memory.index import Index
from quarantion.waves.network import Waves
from quarantion.waves.echo import Echoing, new_echo, remember
from quarantion.waves.law import Medium, Sources
from quarantion.waves.levels import Levels
from quarantion.waves.sparse import activate, add_cells, new_sparse, save_sparse
from quarantion.waves.torus import Field, Torus, new_field, save_field
from quarantion.waves.traps import Trapping, add_traps
from quarantion.waves.whole import to_whole

pytestmark = [pytest.mark.filterwarnings('ignore'), pytest.mark.filterwarnings('ignore::pytest.PytestWarning')]
matplotlib.use('Agg')
BENCH = Path(__file__).parents[1]/'nbs'/'measured'/'bench.json'


def seeded(): return torch.Generator().manual_seed(0)
def LATTICE(): return lattice_codes(x(4,4), Lattice(1.))
def x(*shape): return torch.rand(shape or (5,6), generator=seeded())
def a(*shape): return x(*shape).numpy()
def s(*shape): return (x(*shape or (4,2,3))>.5).float()
def probs(*shape): return x(*shape).softmax(-1)
def i32(*shape): return np.arange(np.prod(shape or (10,))).reshape(shape or (10,)).astype(np.int32)
def i8(*shape): return (i32(*shape)%9-4).astype(np.int8)
def leaky(state, x, beta=.9): return (beta*state.v+x,), spike(beta*state.v+x-1)
def leaky_net(): return nn.Sequential(nn.Linear(6,4), snn.Leaky(.9, init_hidden=True))
def words(): return np.array([7, 9], np.uint16)
def relus(): return nn.Sequential(nn.Linear(6,5), nn.ReLU(), nn.Linear(5,4), nn.ReLU(), nn.Linear(4,3))
def mlp(**kw): return Network(nn.Linear(6,8), LIF(.9, **kw), nn.Linear(8,4), LIF(.9, reset='none'), steps=4)


@cache
def stored():
    torch.manual_seed(0)
    net = mlp()
    q = prepare(net, preset('nonary'), x()).eval()
    return net, q, lower(q)


def net(): return stored()[0]
def good():
    saved = Saved()
    saved.put('good', Held(net(), {}))
    return saved
def q(): return copy.deepcopy(stored()[1])
def program(): return stored()[2]
def sketched(): return sketch(program(), a(100,6))
def layer(): return program().layers[0]
def a_canon(): return Canon('r', 'digits', 'int8', 0, 'c'*64, 'a'*64, 'b'*64, .9, .9, 360, {}, {})
def digits_program(): return load(BENCH.parent/'digits.safetensors')
def few_digits():
    d = raw_of(load_digits())
    return d._replace(x_train=d.x_train[:60], y_train=d.y_train[:60], x_test=d.x_test[:30], y_test=d.y_test[:30])
def sample_file():
    kept = {'confusion':np.eye(2, dtype=np.int32), 'label':i32(1), 'image':a(8,8), 'weight.0':a(2,3), 'theta.0':a(2), 'float.mem.0':a(4,2), 'float.spk.0':s(4,2).numpy()}
    path = Path(tempfile.mkdtemp())/'sample.safetensors'
    save_tensors(path, kept, dict(format='quarantion.sample', version=2))
    return path
def seen(o=None):
    o = o or MinMax()
    o(x())
    return o


CALLS = { # name of a function -> its arguments; those of a method begin with `self`, and `*name` are any number
    'runtime.decision.decision_of': lambda: dict(word='population(10)'),
    'runtime.decision.check_decision': lambda: dict(word='population(2)', outputs=6),
    'runtime.decision.classes_of': lambda: dict(decision='sum', outputs=6),
    'runtime.decision.kept_for': lambda: dict(decision='sum', reset='none'),
    'runtime.decision.scores': lambda: dict(decision='population(2)', kept=i32(5,6), steps=4, worth=1.),
    'runtime.decision.answers': lambda: dict(decision='sum', scores=a(5,6)),
    'runtime.decision.check_labels': lambda: dict(decision='sum', y=np.arange(5), said=np.arange(5), classes=6),
    'runtime.decision.warn_few': lambda: dict(decision='sum', used=3, outputs=6, samples=9),
    'runtime.calibration.Sketch': lambda: sketched()._asdict(),
    'runtime.calibration.looked': lambda: dict(net=program(), record=program().record(a()), x=a()),
    'runtime.calibration.sketch': lambda: dict(net=program(), x=a(100,6)),
    'runtime.calibration.save_sketch': lambda: dict(s=sketched(), path='sketch.safetensors'),
    'runtime.calibration.load_sketch': lambda: dict(path='no such file'),
    'runtime.monitor.Verdict': lambda: DriftMonitor(program(), sketched()).verdict._asdict(),
    'runtime.monitor.Verdict.findings': lambda: dict(self=DriftMonitor(program(), sketched()).verdict),
    'runtime.monitor.DriftMonitor': lambda: dict(net=program(), sketch=sketched()),
    'runtime.monitor.DriftMonitor.update': lambda: dict(self=DriftMonitor(program(), sketched()), record=program().record(a()), x=a()),
    'runtime.monitor.DriftMonitor.classify': lambda: dict(self=DriftMonitor(program(), sketched()), x=a()),
    'runtime.monitor.plot_stream': lambda: dict(psi=dict(input=a(3)), limits=(.1,.2)),
    'runtime.infer.samples_of': lambda: dict(path='no such file', net=program()),
    'runtime.infer.infer': lambda: dict(net=program(), x=a(5,6)),
    'runtime.infer.Inferred': lambda: dict(answers=[1], steps=[2], seconds=[.1]),
    'runtime.infer.Inferred.percentiles': lambda: dict(self=Inferred([1], [2], [.1])),
    'runtime.infer.traced': lambda: dict(net=program(), x=a(5,6), steps=[1]*5),
    'data.leakage.as_rows': lambda: dict(x=a(5,2,3), scale=.5),
    'data.leakage.same_rows': lambda: dict(x=a(), earlier=a()),
    'data.leakage.spread_over': lambda: dict(n=9, most=3),
    'data.leakage.main_axes': lambda: dict(x=a(), axes=4),
    'data.leakage.on_axes': lambda: dict(x=a(), q=np.eye(6)),
    'data.leakage.Near': lambda: dict(row=np.arange(2), distance=a(2)),
    'data.leakage.near_rows': lambda: dict(x=a(), eps=.1, earlier=a(), axes=4),
    'data.leakage.typical_distance': lambda: dict(x=a()),
    'data.leakage.picture_hash': lambda: dict(x=a(3,64), in_shape=(1,8,8)),
    'data.leakage.Alike': lambda: dict(row=np.arange(2), correlation=a(2)),
    'data.leakage.look_alikes': lambda: dict(x=a(3,64), in_shape=(1,8,8), earlier=a(3,64), least=.9, bits=4),
    'data.leakage.plot_pairs': lambda: dict(above=a(3,8,8), below=a(3,8,8), words=['1'], labels=('a','b'), most=2),
    'data.shift.Drift': lambda: dict(psi=a(6), ks=a(6), p=a(6)),
    'data.shift.stability_index': lambda: dict(p=np.arange(4), q=np.arange(4)),
    'data.shift.ks_distance': lambda: dict(a=a(), b=a()),
    'data.shift.drift': lambda: dict(a=a(), b=a(), most=4),
    'data.shift.plot_drift': lambda: dict(psi=a(64), in_shape=(1,8,8), limit=.2),
    'data.doubts.Neighbours': lambda: dict(rows=np.arange(2), label=np.arange(2), distance=a(2)),
    'data.doubts.neighbours': lambda: dict(x=a(), labels=np.arange(5), others=a(), k=2, most=4),
    'data.doubts.remoteness': lambda: dict(distance=a(5)),
    'data.quality.Limits': lambda: dict(near=.1),
    'data.quality.Raw': lambda: few_digits()._asdict(),
    'data.quality.raw_of': lambda: dict(split=few_digits()),
    'data.quality.Part': lambda: dict(where='test', x=a(), y=np.arange(5), at=np.arange(5)),
    'data.quality.part_of': lambda: dict(split=few_digits(), name='test'),
    'data.quality.Copies': lambda: dict(same=np.arange(2), near=Near(np.arange(2), a(2)), alike=None),
    'data.quality.copies_of': lambda: dict(part=part_of(few_digits(), 'test')[0], base=part_of(few_digits(), 'train')[0], in_shape=(1,8,8), limits=Limits()),
    'data.quality.Survey': lambda: survey(few_digits())._asdict(),
    'data.quality.survey': lambda: dict(split=few_digits(), limits=Limits()),
    'data.quality.check': lambda: dict(split=few_digits(), limits=Limits()),
    'data.quality.worst': lambda: dict(findings=check(few_digits())),
    'data.quality.plot_classes': lambda: dict(train=np.arange(3), test=np.arange(3)),
    'inspect.found.plot_doubts': lambda: dict(images=a(2,8,8), labels=np.arange(2), neighbours=np.arange(2), most=2),
    'inspect.found.figures_of': lambda: dict(v=survey(few_digits()), in_shape=(1,8,8)),
    'inspect.found.write_found': lambda: dict(v=survey(few_digits()), in_shape=(1,8,8), folder=tempfile.mkdtemp(), name='few'),
    'train.job.refused': lambda: dict(run=tempfile.mkdtemp()),
    'train.ranks.heard': lambda: dict(facts=dict),
    'train.wide.sharded': lambda: dict(net=net(), least=4),
    'train.wide.gathered': lambda: dict(net=net()),
    'train.shards.published': lambda: dict(folder=tempfile.mkdtemp()),
    'train.shards.read_index': lambda: dict(path='no such folder'),
    'train.shards.save_shards': lambda: dict(folder=tempfile.mkdtemp(), net=net(), opt=None, facts={}, keep=2),
    'train.shards.load_shards': lambda: dict(folder='no such folder', net=net(), opt=None),
    'data.arrays.stored_turned': lambda: dict(name='mnist'),
    'spikes.readable.unwrapped': lambda: dict(net=net()),
    'spikes.readable.hooks_left': lambda: dict(net=net()),
    'spikes.readable.is_patched': lambda: dict(m=net()),
    'spikes.readable.kind_name': lambda: dict(m=net()),
    'spikes.readable.fold_norm': lambda: dict(synapse=nn.Linear(6,4), bn=nn.BatchNorm1d(4), name='layer 1'),
    'spikes.convert.staircase': lambda: dict(a=x(), threshold=2., steps=4, shift=.5),
    'spikes.convert.threshold_of': lambda: dict(a=x(), how='shift', steps=4, percentile=99., where='ReLU'),
    'spikes.convert.from_ann': lambda: dict(net=relus(), sample=x(), steps=4, how='shift', percentile=99.),
    'spikes.convert.hybrid_from_ann': lambda: dict(net=relus(), sample=x(), front=1, steps=4, how='shift', percentile=99.),
    'quant.folding.folded': lambda: dict(net=net()),
    'spikes.spikingjelly.from_spikingjelly': lambda: dict(net=nn.Sequential(nn.Linear(6,4), IFNode()), in_shape=(6,), steps=4, surrogate='atan', slope=2., decision='sum'),
    'checks.check_shape': lambda: dict(x=x(), axes='b n', n=6),
    'checks.check_broadcast': lambda: dict(x=x(), y=x(6)),
    'checks.check_dtype': lambda: dict(x=x(), dtypes='float32'),
    'checks.as_array': lambda: dict(x=x()),
    'checks.check_range': lambda: dict(x=x(), lo=0., hi=1.),
    'checks.check_in': lambda: dict(x=1, choices=(1,2)),
    'checks.check_finite': lambda: dict(x=x()),
    'checks.check_array': lambda: dict(x=x(), axes='b n', n=6),
    'checks.Finding': lambda: dict(level='note', what='rows', where='test', expected='none', found='2', fix='look'),
    'checks.check_time': lambda: dict(x=x(), in_shape=(6,), steps=4),
    'spikes.buffers.empty': lambda: dict(shape=(2,3), dtype=torch.float32),
    'spikes.buffers.keep_at_most': lambda: dict(size=2**29),
    'spikes.encoders.direct': lambda: dict(x=x()),
    'spikes.encoders.rate': lambda: dict(x=x(), steps=3, seed=0, dtype=None),
    'spikes.encoders.decode_rate': lambda: dict(spk=s()),
    'spikes.encoders.latency': lambda: dict(x=x(), steps=3, tau=2., threshold=.01, dtype=None),
    'spikes.encoders.decode_latency': lambda: dict(spk=s(), tau=2., threshold=.01),
    'spikes.encoders.delta': lambda: dict(x=x(3,2,4), threshold=.1, follow=True, dtype=None),
    'spikes.encoders.decode_delta': lambda: dict(spk=s(4,3,2,5), threshold=.1),
    'spikes.encoders.population': lambda: dict(x=x(), steps=3, neurons=4, width=.1, dtype=None),
    'spikes.encoders.decode_population': lambda: dict(spk=s()),
    'spikes.encoders.thermometer': lambda: dict(x=x(), steps=3, neurons=4, dtype=None),
    'spikes.encoders.decode_thermometer': lambda: dict(spk=s()),
    'spikes.encoders.phase': lambda: dict(x=x(), steps=3, bits=8, dtype=None),
    'spikes.encoders.decode_phase': lambda: dict(spk=s(), bits=8),
    'spikes.encoders.burst': lambda: dict(x=x(), steps=6, most=5, dtype=None),
    'spikes.encoders.decode_burst': lambda: dict(spk=s(), most=5),
    'spikes.encoders.decode': lambda: dict(spk=s(), encoder='phase'),
    'spikes.codes.CodeStats': lambda: dict(density=.1, spikes=1., spread=1., bits=1., error=.1),
    'spikes.codes.code_stats': lambda: dict(x=x(), spk=(x(4,5,6)>.5).float(), back=x()),
    'spikes.encoders.encode': lambda: dict(x=x(), encoder='rate', steps=3, seed=0),
    'spikes.network.Network': lambda: {'*layers':(nn.Linear(6,8),LIF()), 'in_shape':(6,), 'steps':4},
    'spikes.network.OverTime.forward': lambda: dict(self=net(), x=x()),
    'spikes.network.OverTime.record': lambda: dict(self=net(), x=x()),
    'spikes.network.OverTime.answer': lambda: dict(self=net(), x=x()),
    'spikes.network.readout': lambda: dict(spk=s(), mem=x(4,2,3), reset='none'),
    'spikes.network.check_classes': lambda: dict(x=x(5,4), y=torch.tensor([0,1,2,3,0])),
    'spikes.network.evaluating': lambda: dict(net=net()),
    'spikes.neuron.Gradient': lambda: dict(surrogate='atan', slope=2., detach_reset=True, save='trace'),
    'spikes.neuron.per_neuron': lambda: dict(p=x(3), shape=(3,)),
    'spikes.neuron.lif_arguments': lambda: dict(x=x(4,2,3), beta=.9, threshold=1., mem=x(2,3), reset='zero', steps=4, gradient=Gradient()),
    'spikes.neuron.lif_pre': lambda: dict(x=x(4,2,3), beta=.9, threshold=1., mem=x(2,3), reset='zero', steps=4, gradient=Gradient(), keep=True),
    'spikes.neuron.lif': lambda: dict(x=x(1,2,3), beta=.9, threshold=1., mem=x(2,3), reset='zero', steps=4),
    'spikes.neuron.lif_spikes': lambda: dict(x=x(1,2,3), beta=x(3), threshold=x(3)+.1, mem=x(2,3), reset='zero', steps=4),
    'spikes.neuron.lif_counts': lambda: dict(x=x(1,2,3), beta=.9, threshold=1., mem=x(2,3), reset='zero', steps=4, gradient=Gradient()),
    'spikes.neuron.state_after': lambda: dict(spk=s(), pre=x(4,2,3), theta=x(3), reset='subtract'),
    'spikes.neuron.LIF': lambda: dict(beta=.9, threshold=1., reset='zero', surrogate='atan', slope=2.),
    'spikes.neuron.LIF.pre': lambda: dict(self=LIF(), x=x(1,2,3), mem=x(2,3), steps=4),
    'spikes.neuron.LIF.spikes': lambda: dict(self=LIF(), x=x(1,2,3), mem=x(2,3), steps=4),
    'spikes.neuron.LIF.states': lambda: dict(self=LIF(), spk=s(), pre=x(4,2,3), theta=x(3)),
    'spikes.neuron.LIF.forward': lambda: dict(self=LIF(), x=x(1,2,3), mem=x(2,3), steps=4),
    'spikes.neuron.Diagonal': lambda: dict(weight=x(3)),
    'spikes.neuron.Diagonal.forward': lambda: dict(self=importlib.import_module('quarantion.spikes.neuron').Diagonal(x(3)), x=x(2,3)),
    'spikes.neuron.RecurrentLIF': lambda: dict(recurrent=nn.Linear(3,3), beta=.9, threshold=1.),
    'spikes.parameters.learnable': lambda: {'layer':LIF(), '*names':('beta','slope')},
    'spikes.parameters.settle': lambda: dict(net=LIF()),
    'spikes.snntorch.from_snntorch': lambda: dict(net=nn.Sequential(nn.Linear(6,8)), in_shape=(6,), steps=4, surrogate='atan', slope=2., reset='zero'),
    'spikes.snntorch.to_snntorch': lambda: dict(net=net()),
    'spikes.stage.stages': lambda: dict(net=net()),
    'spikes.stats.spike_rate': lambda: dict(spk=s()),
    'spikes.stats.silent': lambda: dict(spk=s()),
    'spikes.stats.agreement': lambda: dict(a=s(), b=s()),
    'spikes.surrogate.surrogate_grad': lambda: dict(x=x()-.5, surrogate='atan', slope=2.),
    'spikes.surrogate.soft_spike': lambda: dict(x=x()-.5, surrogate='triangular', slope=2.),
    'spikes.surrogate.slope_grad': lambda: dict(x=x()-.5, surrogate='triangular', slope=2.),
    'spikes.surrogate.spike': lambda: dict(x=x()-.5, surrogate='atan', slope=2.),
    'spikes.neuron.Neurons': lambda: dict(),
    'spikes.neuron.Neurons.as_lif': lambda: dict(self=LIF()),
    'spikes.own.neuron': lambda: dict(v=0., a=1.),
    'spikes.contract.as_lif': lambda: dict(layer=neuron(v=0.)(leaky)()),
    'spikes.synaptic.Synaptic': lambda: dict(alpha=.9, beta=.9, threshold=1.),
    'spikes.synaptic.Synaptic.current': lambda: dict(self=Synaptic(), x=x(1,2,3), syn=x(2,3), steps=4),
    'spikes.synaptic.RecurrentSynaptic': lambda: dict(recurrent=nn.Linear(3,3), alpha=.9, beta=.9),
    'spikes.synaptic.neurons_with': lambda: dict(alpha=.9, recurrent=nn.Linear(3,3), beta=.9),
    'quant.advice.recommend': lambda: dict(model=net(), weight='nonary', ends='int8'),
    'quant.advice.lint': lambda: dict(model=net(), policy=preset('nonary'), sample=x(), epochs=3, qat_epochs=3, calibration=9),
    'quant.calibration.equalize': lambda: dict(net=net(), names=('1',)),
    'quant.calibration.correct_bias': lambda: dict(q=q(), net=net(), x=x()),
    'quant.calibration.round_codes': lambda: dict(w=x(2,3), gram=torch.eye(3).double(), quant_max=4, sweeps=2),
    'quant.calibration.adaround': lambda: dict(q=q(), x=x()),
    'quant.calibration.calibrate': lambda: dict(net=net(), policy=preset('nonary'), x=x(), rounding='adaround'),
    'quant.drift.spike_correlation': lambda: dict(n=9, a=np.arange(3), b=np.arange(3), both=np.arange(3)),
    'quant.fake.round_ste': lambda: dict(x=x()),
    'quant.fake.fake_quantize': lambda: dict(x=x(), scale=x(6)+.1, quant_min=-4, quant_max=4, ch_axis=1),
    'quant.fake.fake_quantize_observed': lambda: dict(x=x(), scale=x(6)+.1, quant_min=-4, quant_max=4, ch_axis=1, bins=4, low=-1., high=1.),
    'quant.level_sets.levels': lambda: dict(name='nonary'),
    'quant.level_sets.quantize': lambda: dict(x=x(), scale=x(1)+.1, lv=levels('nonary')),
    'quant.level_sets.max_scale': lambda: dict(w=x(), lv=levels('nonary'), ch_axis=0),
    'quant.level_sets.percentile_scale': lambda: dict(w=x(), lv=levels('nonary'), ch_axis=0, percentile=99.),
    'quant.level_sets.mse_scale': lambda: dict(w=x(), lv=levels('nonary'), ch_axis=0, candidates=4),
    'quant.level_sets.LevelTable': lambda: dict(levels=torch.arange(5.)),
    'quant.level_sets.LevelTable.observed': lambda: dict(self=LevelTable(torch.arange(5.)), x=x()),
    'quant.level_sets.LevelTable.codes': lambda: dict(self=LevelTable(torch.arange(5.)), x=x()),
    'quant.lowering.lower': lambda: dict(q=q()),
    'quant.lowering.lower_layer': lambda: dict(l=q().layers[0]),
    'quant.membranes.uniform_levels': lambda: dict(n=5, low=1., high=1.),
    'quant.membranes.centred_levels': lambda: dict(n=5, low=1., high=1., growth=2.),
    'quant.membranes.clipped_levels': lambda: dict(bits=4),
    'quant.membranes.fitted_levels': lambda: dict(mem=x(4,2,3), n=5, threshold=1., steps=3),
    'quant.membranes.lif_levels': lambda: dict(x=x(1,2,3), beta=.9, threshold=1., table=uniform_levels(9), mem=x(2,3), reset='zero', steps=4),
    'quant.network.policies_of': lambda: dict(policy=preset('mixed'), names=['a','b']),
    'quant.network.QuantNetwork.encode': lambda: dict(self=q(), x=x(), codes=False),
    **{f'quant.network.QuantNetwork.{n}': lambda: dict(self=q(), x=x()) for n in ('forward','record','answer')},
    'quant.network.prepare': lambda: dict(net=net(), policy=preset('nonary'), sample=x()),
    'quant.observers.rows_of': lambda: dict(x=x(), ch_axis=0),
    'quant.observers.extremes_of': lambda: dict(v=x(), spike_aware=True),
    'quant.observers.MinMax': lambda: dict(quant_max=127, ch_axis=0, spike_aware=False, history=4),
    'quant.observers.MinMax.forward': lambda: dict(self=MinMax(), x=x()),
    'quant.observers.MinMax.merge': lambda: dict(self=seen(), other=seen()),
    'quant.observers.MovingAverage': lambda: dict(averaging_constant=.1, quant_max=127, ch_axis=0, history=4),
    'quant.observers.PerStep': lambda: dict(quant_max=127, history=4),
    'quant.observers.find_observers': lambda: dict(net=q()),
    'quant.policy.membrane_of': lambda: dict(word='exact'),
    'quant.policy.Policy': lambda: dict(weight='nonary', leak=16, noise=.5, layers={'last':dict(weight='int8')}),
    'quant.policy.Policy.at': lambda: {'self':preset('mixed'), '*names':('last',)},
    'quant.policy.policy_of': lambda: dict(values=dict(weight='nonary')),
    'quant.policy.dump_policy': lambda: dict(policy=preset('mixed')),
    'quant.policy.read_policy': lambda: dict(path='no such file'),
    'quant.policy.preset': lambda: dict(name='nonary'),
    'quant.proof.verify': lambda: dict(q=q(), program=program(), loader=[(x(),torch.zeros(5, dtype=torch.long))], net=net()),
    'quant.proof.Gates': lambda: dict(max_drop=.1, min_sqnr=3.),
    'quant.pruning.spike_patterns': lambda: dict(spk=s()),
    'quant.pruning.activity_scores': lambda: dict(net=net(), x=x()),
    'quant.pruning.magnitude_scores': lambda: dict(net=net()),
    'quant.pruning.keep_top': lambda: dict(scores={'1':x(8)}, fraction=.5),
    'quant.pruning.remove_neurons': lambda: dict(net=net(), keep={'1':torch.arange(8)<4}),
    'quant.pruning.zero_smallest': lambda: dict(net=copy.deepcopy(net()), fraction=.5),
    'quant.pruning.risen': lambda: dict(done=1, rise=4, fraction=.5),
    'quant.pruning.hold_zeros': lambda: dict(net=copy.deepcopy(net())),
    'quant.pruning.free_zeros': lambda: dict(net=copy.deepcopy(net())),
    'quant.sensitivity.hessian_traces': lambda: dict(net=net(), x=x(), y=torch.tensor([0,1,2,3,0]), probes=2, seed=0, surrogate='atan', slope=2.),
    'quant.sensitivity.hawq_sensitivity': lambda: dict(net=net(), x=x(), y=torch.tensor([0,1,2,3,0]), choices=('nonary','int8'), probes=2, seed=0),
    'quant.sensitivity.sqnr_sensitivity': lambda: dict(net=net(), x=x(), choices=('nonary','int8')),
    'quant.sensitivity.agreement_sensitivity': lambda: dict(net=net(), x=x(), choices=('nonary','int8')),
    'quant.sensitivity.knapsack': lambda: dict(score=a(2,3), cost=i32(2,3)+1, budget=9),
    'quant.weights.first_scale': lambda: dict(w=x(), lv=levels('nonary'), rule='lsq', per_channel=True),
    'quant.weights.quantize_weights': lambda: dict(net=nn.Linear(3,3), policy=preset('nonary')),
    'quant.weights.materialize': lambda: dict(net=nn.Linear(3,3)),
    'runtime.coding.entropy_bytes': lambda: dict(codes=i8()),
    'runtime.coding.encode_codes': lambda: dict(codes=i8(2,5), quant_max=4),
    'runtime.coding.decode_codes': lambda: dict(blob=resolve('runtime.coding.encode_codes')(i8(2,5), 4), shape=(2,5), quant_max=4),
    'runtime.coding.encode_ints': lambda: dict(x=i32()),
    'runtime.coding.decode_ints': lambda: dict(blob=resolve('runtime.coding.encode_ints')(i32()), n=10),
    'runtime.coding.encode_units': lambda: dict(unit=a(3)+.1, theta=i32(3)+1),
    'runtime.coding.decode_units': lambda: dict(worth=a(3)+.1, theta=i32(3)+1),
    'runtime.layer.leak': lambda: dict(v=np.arange(3), m=np.arange(3)),
    'runtime.layer.is_whole': lambda: dict(v=3, lo=0, hi=9),
    'runtime.layer.is_op': lambda: dict(o=Op('max')),
    'runtime.layer.is_conv': lambda: dict(c=()),
    'runtime.layer.check_layer': lambda: dict(l=layer()),
    'runtime.layer.pool_area': lambda: dict(ops=(Op('sum', (2,2)),)),
    'runtime.layer.row_sums': lambda: dict(w=i8(2,5)),
    'runtime.layer.prove_range': lambda: dict(layer=layer(), max_in=9, steps=4),
    'runtime.layer.arrays': lambda: {'layer':layer(), '*stored':('codes',)},
    'runtime.layer.on_cpu': lambda: dict(layer=layer()),
    'runtime.layer.differing': lambda: dict(a=layer(), b=layer()),
    'runtime.products.break_even': lambda: dict(rows=9, channels=32),
    'runtime.shapes.shapes': lambda: dict(layers=program().layers, in_shape=(6,)),
    'runtime.input.are_codes': lambda: dict(kind='f', in_scale=.5, codes=False),
    'runtime.input.warn_clipped': lambda: dict(in_scale=.5, in_min=0, in_max=255),
    'runtime.input.input_codes': lambda: dict(x=x(), in_scale=.5, in_min=0, in_max=255, codes=False),
    'runtime.network.IntegerNetwork': lambda: dict(layers=program().layers, in_shape=(6,), steps=4, in_scale=.5, in_min=0, in_max=255, threads=1, batch_first=False),
    'runtime.network.IntegerNetwork.__call__': lambda: dict(self=program(), x=x()),
    'runtime.network.IntegerNetwork.record': lambda: dict(self=program(), x=x()),
    'runtime.network.IntegerNetwork.classify': lambda: dict(self=program(), x=x()),
    'runtime.network.IntegerNetwork.decide': lambda: dict(self=program(), spk=np.ones((4,2,3), np.uint8), mem=i32(4,2,3)),
    'runtime.network.IntegerNetwork.stream': lambda: dict(self=program(), batch=2),
    'runtime.stream.Stream': lambda: dict(net=program(), batch=2),
    'runtime.stream.Stream.step': lambda: dict(self=program().stream(5), x=x()),
    'runtime.stream.events_of': lambda: dict(spk=s().numpy()[0]),
    'runtime.stream.spikes_of': lambda: dict(e=events_of(s().numpy()[0])),
    'runtime.until.Margin': lambda: dict(bound=.5),
    'runtime.until.early': lambda: dict(net=program(), x=a(), until='proved'),
    'runtime.until.margin_for': lambda: dict(net=program(), x=a(100,6), agreement=.9),
    'runtime.network.IntegerNetwork.prove': lambda: dict(self=program(), steps=9),
    'runtime.network.IntegerNetwork.codes': lambda: dict(self=program(), x=x()),
    'runtime.network.IntegerNetwork.save': lambda: dict(self=program(), path='no such folder/\0'),
    'runtime.network.load': lambda: dict(path='no such file'),
    'runtime.network.save': lambda: dict(net=program(), path='no such folder/\0'),
    'runtime.network.sizes': lambda: dict(net=program()),
    'train.config.Config': lambda: dict(steps=9, beta=.9, hidden=8, learn=('beta',), seed=0, policy='nonary'),
    'train.config.NetworkSettings': lambda: dict(steps=9, beta=.9, hidden=8, learn=('beta',)),
    'train.config.words': lambda: dict(v='a,b'),
    'train.config.in_interval': lambda: dict(v=.5, inside='[0, 1]'),
    'train.diagnosis.measured_of': lambda: dict(name='silent', facts=dict(dead=.9)),
    'train.diagnosis.causes_of': lambda: dict(path=None),
    'train.diagnosis.diagnosed': lambda: dict(s=Signals(()), before=None, causes=None),
    'train.diagnosis.diagnose': lambda: dict(model=net(), batch=x(), causes=None),
    'train.course.eased': lambda: dict(x=x(), course=Course()),
    'train.interventions.rebuilt': lambda: dict(net=net(), course=Course()),
    'train.heal.treated': lambda: dict(held=Held(net(), {}), saved=good(), plan=Plan(), told=Told([], {}), x=x()),
    'train.gates.gates_of': lambda: dict(words=('max_drop=0.1',)),
    'train.gates.run_gates': lambda: dict(words=('loss<=2@each epoch',)),
    'train.config.policy_named': lambda: dict(name='nonary'),
    'train.config.config_of': lambda: dict(values=dict(steps=9)),
    'train.config.values_of': lambda: dict(c=Config()),
    'train.config.config_from': lambda: dict(path=None, given=dict(steps=9)),
    'train.distillation.distill_scores': lambda: dict(student=x(2,3), teacher=x(2,3), temperature=2.),
    'train.distillation.distill_rates': lambda: dict(student=s(), teacher=s()),
    'train.distillation.distill_membranes': lambda: dict(student=x(4,2,3), teacher=x(4,2,3)),
    'train.distillation.taught': lambda: dict(teacher=net(), share=.5, net=net(), x=x(), y=torch.tensor([0,1,2,3,0])),
    'train.fit.seed_of': lambda: {'*parts':(1,2)},
    'train.fit.cosine': lambda: dict(lr=.1, epoch=1, epochs=3),
    'train.fit.batches': lambda: dict(x=x(), y=torch.tensor([0,1,2,3,0]), size=2, encoder='rate', steps=3, seed=0),
    'train.fit.answered': lambda: dict(net=net(), x=x(), y=torch.tensor([0,1,2,3,0])),
    'train.fit.train_epoch': lambda: (lambda n: dict(net=n, opt=torch.optim.SGD(n.parameters(), 0.), data=[(x(),torch.tensor([0,1,2,3,0]))]))(copy.deepcopy(net())),
    'train.fit.evaluate': lambda: dict(net=net(), data=[(x(),torch.tensor([0,1,2,3,0]))]),
    'train.space.validated': lambda: dict(split=little_split(), share=.4, seed=0),
    'train.space.space_of': lambda: dict(values=dict(beta=dict(low=.8, high=.9)), where='space'),
    'train.space.at_point': lambda: dict(given=dict(steps=9), point=dict(beta=.9)),
    'train.space.hopeless': lambda: dict(stats=dict(spike_rate=.1, accuracy=.5), n=100, chance=.1, epoch=1),
    'train.space.front_of': lambda: dict(outcomes=[Outcome(20, 9., .9), Outcome(10, 9., .8)]),
    'train.space.choice_of': lambda: dict(outcomes=[Outcome(20, 9., .9), Outcome(10, 9., .8)], within=.01),
    'inspect.tries.plot_tries': lambda: dict(found=summed_up([Trial(0, {}, Outcome(20, 9., .9), 1., '')])),
    'train.tune.summed_up': lambda: dict(trials=[Trial(0, {}, Outcome(20, 9., .9), 1., '')], within=.01),
    'train.meetings.groups_of': lambda: dict(ranks=8, size=3),
    'train.meetings.check_groups': lambda: dict(groups=((0,2),(1,)), ranks=3),
    'train.meetings.two_level': lambda: dict(values=[x(6),x(6),x(6)], groups=((0,2),(1,)), left=()),
    'train.meetings.outer_step': lambda: dict(state=Met(x(6), x(6)), mean_delta=x(6), how=Outer()),
    'train.meetings.drift': lambda: dict(weights=x(6), last=x(6)),
    'train.meetings.adam_stride': lambda: dict(step=3, betas=(.9,.999)),
    'train.losses.rate_ceiling': lambda: dict(rates=x(), ceiling=.1),
    'train.losses.ste_codes': lambda: dict(weight=x(), scale=x(5,1)+.1, quant_min=-4, quant_max=4),
    'train.losses.code_l1': lambda: dict(codes=[x()]),
    **{f'train.losses.{n}': lambda: dict(spk=x(4,5,3).round(), y=torch.tensor([0,1,2,0,1])) for n in ('ce_count','ce_rate','ce_temporal','mse_count','first_spike')},
    **{f'train.losses.{n}': lambda: dict(mem=x(4,5,3), y=torch.tensor([0,1,2,0,1])) for n in ('ce_sum_membrane','ce_membrane','ce_max_membrane','mse_membrane')},
    'train.losses.latency': lambda: dict(spk=x(4,5,3)),
    'train.losses.consistency': lambda: dict(mem=x(4,5,3)),
    'train.losses.rate_target': lambda: dict(rates=x(), target=.1),
    'train.losses.membrane_energy': lambda: dict(mems=[x()]),
    'train.losses.ce': lambda: dict(scores=x(5,3), y=torch.tensor([0,1,2,0,1])),
    'train.recipes.arguments': lambda: dict(name='SGD', words=('momentum=0.9',)),
    'train.recipes.recipe_of': lambda: dict(name='sgd_step', optimizer='', words=()),
    'train.hooks.Wire': lambda: dict(name='topk(0.1)'),
    'train.hooks.Wire.join': lambda: dict(self=Wire('int8'), ddp=nn.Linear(2,3)),
    'train.hooks.Wire.left': lambda: dict(self=Wire('int8')),
    'train.hooks.Wire.put': lambda: dict(self=Wire('int8'), tensors={}),
    'train.payloads.code_of': lambda: dict(name='nonary(640)'),
    'train.payloads.Frame': lambda: dict(code=code_of('nonary'), sizes=(4,2)),
    'train.payloads.encode': lambda: dict(frame=Frame(code_of('nonary'), (4,2)), g=torch.ones(6), left=torch.zeros(6)),
    'train.payloads.decode_into': lambda: dict(total=torch.zeros(6), frame=Frame(code_of('none'), (4,2)), payload=torch.zeros(24, dtype=torch.uint8)),
    'train.losses.loss_of': lambda: dict(words=('ce','rate_ceiling(0.1):2')),
    'train.rundir.check_manifest': lambda: dict(run='no such folder'),
    'train.seen.Seen': lambda: dict(name='1', spk=s(), pre=x(4,2,3)),
    'train.seen.LastStep': lambda: dict(grads={}, weights={}),
    'train.seen.last_step': lambda: (lambda n: dict(net=n, opt=torch.optim.SGD(n.parameters(), 0.), steps=1))(copy.deepcopy(net())),
    'train.listening.probe': lambda: dict(model=leaky_net(), x=x(), y=torch.tensor([0,1,2,3,0]), steps=3),
    'train.listening.watch': lambda: dict(model=leaky_net(), loader=[(x(),torch.tensor([0,1,2,3,0]))], every=2),
    'train.hessian.curvature': lambda: dict(net=net(), x=x(), y=torch.tensor([0,1,2,3,0]), iterations=3, seed=0),
    'train.signals.LayerSignals': lambda: dict(name='1', neurons=3, fires=True),
    'train.signals.Signals': lambda: dict(layers=(LayerSignals('1', 3, True),)),
    'train.signals.signals': lambda: dict(net=q(), x=x(), y=torch.tensor([0,1,2,3,0]), step=LastStep({}, {}), before=Signals(()), twin=net()),
    'train.signals.as_json': lambda: dict(s=Signals((LayerSignals('1', 3, True),))),
    'train.signals.of_json': lambda: dict(d=dict(layers=[dict(name='1', neurons=3, fires=True)])),
    'train.trackers.Tracking': lambda: dict(to=()),
    'train.trackers.Tracking.follow': lambda: dict(self=Tracking(()), run='no such folder'),
    'train.trackers.points_of': lambda: dict(run='no such folder'),
    'train.trackers.check_trackers': lambda: dict(names=()),
    'train.trackers.mirror': lambda: dict(run='no such folder', to='tensorboard'),
    'train.rundir.read_manifest': lambda: dict(run='no such folder'),
    'train.rundir.read_run': lambda: dict(run='no such folder'),
    'train.rundir.is_finished': lambda: dict(run='no such folder'),
    'train.rundir.unsealed': lambda: dict(run='no such folder'),
    'train.rundir.dump_toml': lambda: dict(config=dict(a=1)),
    'train.rundir.read_toml': lambda: dict(path='no such file'),
    'train.rundir.result_of': lambda: dict(run='no such folder', keys=('a',)),
    'train.rundir.runs_in': lambda: dict(folder='no such folder'),
    'train.rundir.differing': lambda: dict(runs=[]),
    'train.seen.step_ahead': lambda: dict(net=net()),
    'train.runs.brief': lambda: dict(run='no such folder', canon=[]),
    'train.runs.values': lambda: dict(run=Brief(Path('r'), {}, {}, False)),
    'train.runs.Condition': lambda: dict(name='seed', sign='<', value='3'),
    'train.runs.conditions': lambda: dict(words='seed<3'),
    'train.runs.selected': lambda: dict(runs=[Brief(Path('r'), {}, {}, False)], conditions=[]),
    'train.runs.ordered': lambda: dict(runs=[Brief(Path('r'), {}, {}, False)], by='name'),
    'train.runs.began': lambda: dict(run='no such folder'),
    'train.runs.difference': lambda: dict(a='no such folder', b='nor such'),
    'train.runs.told_difference': lambda: dict(d=Difference((Path('a'),Path('b')), {}, {}, {}, {}, {})),
    'train.runs.found_run': lambda: dict(folder='no such folder', word='a'),
    'train.canon.uncited': lambda: dict(rows=[], canon=[a_canon()]),
    'train.canon.canon_of': lambda: dict(folder='no such folder'),
    'train.canon.standing': lambda: dict(run='no such folder', canon=[a_canon()]),
    'train.machines.machine_class': lambda: dict(device='cpu'),
    'train.ranks.ranks_now': lambda: dict(),
    'train.ranks.world': lambda: dict(),
    'train.ranks.agreed': lambda: dict(facts=dict),
    'train.many.slow_ranks': lambda: dict(seconds=[1.,2.]),
    'train.machines.unlike': lambda: dict(then={}, now=dict(torch='1.0')),
    'train.reproduce.Tolerance': lambda: dict(accuracy=.01, spike_rate=.1, bytes=.02),
    'train.reproduce.Tolerance.of': lambda: dict(self=Tolerance(), name='bytes', then=100),
    'train.reproduce.reproduced': lambda: dict(run='no such folder', split=little_split(), within=Tolerance()),
    'train.reproduce.promote': lambda: dict(run='no such folder', folder='no such folder'),
    'data.samples.Samples': lambda: dict(x=x(), y=torch.tensor([0,1,2,3,0]), in_shape=(1,2,3), classes=4, scale=1., name='a'),
    'data.samples.Split': lambda: dict(train=little_samples(8), test=little_samples(4), name='a'),
    'data.samples.pictures': lambda: dict(s=little_samples(8)),
    'data.samples.digest': lambda: dict(split=little_split()),
    'data.folders.load_npy': lambda: dict(folder='no such folder', series=False, size=.2, seed=0),
    'data.folders.load_events': lambda: dict(folder='no such folder', steps=4, step_us=0, sensor=(2,3,3), size=.2, seed=0),
    'spikes.encoders.series': lambda: dict(x=x(3,4,2), steps=4),
    'data.sets.usual_of': lambda: dict(data='digits'),
    'data.idx.load_idx': lambda: dict(folder='no such folder', size=.2, seed=0, transpose=None, classes=None, name='a'),
    'train.checkpoints.Checkpoint.said': lambda: dict(self=Checkpoint(net(), None, {}, 'warm', 0, None)),
    'train.phases.until_of': lambda: dict(word='loss < 0.1, at most 20 epochs'),
    'train.phases.represented': lambda: dict(word='weight>=int8, membrane=float', target=preset('mint2')),
    'train.phases.Phase': lambda: dict(name='warm', until='15 %', policy='float', observers='on', lr=.5, losses=('ce',)),
    'train.phases.check_phases': lambda: dict(phases=phases_named('delayed')),
    'train.phases.phases_of': lambda: dict(values=dict(phase=[dict(name='float', until='epochs', policy='float')])),
    'train.phases.dump_phases': lambda: dict(phases=phases_named('delayed')),
    'train.phases.phases_named': lambda: dict(name='freeze'),
    'train.setup.fitted': lambda: dict(cfg=Config(hidden=2), split=little_split(), asked=False),
    'data.samples.hold_out': lambda: dict(y=torch.arange(20)%2, size=4, seed=0),
    'data.arrays.write_idx': lambda: dict(path='no such folder/\0', x=i32()),
    'data.arrays.read_idx': lambda: dict(path='no such file'),
    'data.arrays.read_npy': lambda: dict(path='no such file'),
    'data.event_files.read_events': lambda: dict(path='no such file', shape=(2,3,3), steps=4),
    'data.arrays.npy_of': lambda: dict(data=b'no such file'),
    'data.events.make_events': lambda: dict(t=i32(), x=i32(), y=0, p=0),
    'data.events.check_sensor': lambda: dict(shape=(2,3,3)),
    'data.events.check_record': lambda: dict(e=make_events([1,2], 0)),
    'data.events.as_words': lambda: dict(e=make_events([1,2], 0)),
    'data.events.check_events': lambda: dict(e=make_events([1,2], 0), shape=(2,3,3)),
    'data.events.in_order': lambda: dict(e=make_events([2,1], 0)),
    'data.events.by_window': lambda: dict(window=1000, t0=0, steps=0),
    'data.events.by_steps': lambda: dict(steps=4, t0=0),
    'data.events.by_count': lambda: dict(count=3),
    'data.events.by_equal': lambda: dict(steps=4),
    'data.events.to_frames': lambda: dict(recordings=[make_events([1,2], 0)], shape=(2,3,3), cut=by_steps(2), num_threads=1),
    'data.events.Recordings': lambda: dict(read=lambda i: (make_events([i], 0),0), n=2, shape=(2,3,3)),
    'data.augment.drop_events': lambda: dict(e=make_events([1,2], 0), shape=(2,3,3), share=.5, seed=0),
    'data.augment.jitter_events': lambda: dict(e=make_events([1,2], 0), shape=(2,3,3), us=3, pixels=1, seed=0),
    'data.augment.crop_time': lambda: dict(e=make_events([1,2], 0), start=0, stop=2),
    'data.augment.crop_place': lambda: dict(e=make_events([1,2], 0), top=0, left=0, shape=(2,2,2)),
    'data.augment.flip_events': lambda: dict(e=make_events([1,2], 0), shape=(2,3,3), polarity=True),
    'data.augment.shift_pictures': lambda: dict(x=x(2,6), size=(2,3), pixels=1, seed=0),
    'data.event_files.read_bin': lambda: dict(path='no such file', shape=(2,3,3)),
    'data.event_files.read_aedat': lambda: dict(path='no such file', shape=(2,3,3)),
    'data.event_files.read_npz': lambda: dict(path='no such file', shape=(2,3,3)),
    'data.event_files.read_csv': lambda: dict(path='no such file', shape=(2,3,3)),
    'data.event_files.npz_arrays': lambda: dict(data=npz_bytes(t=i32()), where='e.npz', names=('t',)),
    'data.event_writers.events_npz': lambda: dict(e=make_events([1,2], 0)),
    'data.event_writers.events_csv': lambda: dict(e=make_events([1,2], 0)),
    'data.event_writers.write_events': lambda: dict(path='x.csv', e=make_events([1,2], 0)),
    'data.addresses.Cores': lambda: dict(sizes=(3,2), core=256, cores=128),
    'data.addresses.spikes_to_events': lambda: dict(spk=[np.ones((2,1,3))], cores=Cores((3,)), step_us=1000),
    'data.addresses.events_to_spikes': lambda: dict(e=make_events([1], 0), cores=Cores((3,)), steps=2, batch=1, step_us=1000),
    'export.nir_events.need_nir': lambda: dict(),
    'export.nir_events.to_nir_events': lambda: dict(spk=dict(a=np.ones((2,1,3))), dt=1e-3),
    'export.nir_events.NodeEvents': lambda: dict(idx=np.zeros((1,1), int), time=np.zeros((1,1)), neurons=1, t_max=1.),
    'export.nir_events.read_nir_events': lambda: dict(path='no such file'),
    'export.nir_events.steps_of': lambda: dict(e=NodeEvents(np.zeros((1,1), int), np.zeros((1,1)), 1, 1.), dt=.1),
    'export.events.EventsHead': lambda: dict(shapes=((3,),), samples=1, steps=2),
    'export.events.EventFiles': lambda: dict(name='net', head=EventsHead(((3,),), 1, 2), data={}),
    'export.events.EventFiles.save': lambda: dict(self=to_events(small_program(), np.ones((1,3)), formats=('csv',)), folder='x'),
    'export.events.formats_here': lambda: dict(),
    'export.events.to_events': lambda: dict(net=small_program(), x=np.ones((1,3)), name='net', title='', step_us=1000, core=256, cores=128, formats=('csv',)),
    'export.events.read_raster': lambda: dict(path='no such file'),
    'export.events.from_events': lambda: dict(path='no such file', format='csv'),
    'export.events.EventsProof': lambda: dict(target='events', tools={}, samples=1, steps=1, spikes=1, fired=0, fnv='', mismatches={}, first={}),
    'export.events.prove_events': lambda: dict(net=small_program(), file=to_events(small_program(), np.ones((1,3)), formats=('csv',)), x=np.ones((1,3))),
    'spikes.pickles.read_state': lambda: dict(state=dict(a=torch.ones(2))),
    'spikes.states.parts_of': lambda: dict(state=dict(a=torch.ones(2))),
    'spikes.states.filled': lambda: dict(net=Network(nn.Linear(2,2,bias=False), LIF()), parts=[Part('a', 'weights', dict(weight=torch.ones(2,2)))]),
    'spikes.states.from_snntorch_state': lambda: dict(state={'a.weight':torch.ones(2,2)}, net=Network(nn.Linear(2,2,bias=False), LIF()), steps=4, decision='sum'),
    'quant.elsewhere.Codes': lambda: dict(name='a', codes=torch.ones(2,2), scale=torch.ones(1), bits=4),
    'quant.elsewhere.with_codes': lambda: dict(net=Network(nn.Linear(2,2,bias=False), LIF()), weights=[Codes('a', torch.ones(2,2), torch.ones(1), 4)], sample=torch.rand(3,2), exact=True),
    'quant.brevitas.from_brevitas': lambda: dict(state={'a.weight':torch.ones(2,2)}, net=Network(nn.Linear(2,2,bias=False), LIF()), sample=torch.rand(3,2), bits=4, scales='max', exact=True),
    'quant.qat.from_qat': lambda: dict(state={'a.weight':torch.ones(2,2)}, net=Network(nn.Linear(2,2,bias=False), LIF()), sample=torch.rand(3,2), bits=8, scales=dict(a=.01), exact=True),
    'data.event_files.read_recording': lambda: dict(path='no such file.bin', shape=(2,3,3)),
    'data.event_files.load_recordings': lambda: dict(folder='no such folder', shape=(2,3,3)),
    'data.event_files.load_gestures': lambda: dict(folder='no such folder', shape=(2,3,3)),
    'data.shd.load_shd': lambda: dict(path='no such file', shape=(2,3,3)),
    'data.hdf5.read_hdf5': lambda: dict(path='no such file', names=('labels',)),
    'data.apart.read_apart': lambda: dict(read='os:walk', path='no such file'),
    'data.event_files.from_tonic': lambda: dict(dataset=[(make_events([1], 0),0)], shape=(2,3,3)),
    'data.moving.Camera': lambda: dict(threshold=40, refractory=500, noise=1),
    'data.moving.watch': lambda: dict(film=np.zeros((2,1,3,3), int), us=1000, camera=Camera(), seed=0),
    'data.moving.moving_digits': lambda: dict(seed=0, n=3, part='train'),
    'data.moving.sha256_of': lambda: dict(recordings=Recordings(lambda i: (make_events([i], 0),0), 2, (2,3,3))),
    'inspect.event_film.EventStage': lambda: dict(frames=i32(3,1,2,2,2), columns=4),
    'inspect.event_film.EventStage.moment': lambda: dict(self=EventStage(i32(3,1,2,2,2)), t=1),
    'data.idx.find_mnist': lambda: dict(folder='no such folder'),
    'data.idx.load_mnist': lambda: dict(data_dir='no such folder'),
    'data.sets.check_data': lambda: dict(name='digits'),
    'data.sets.load_split': lambda: dict(name='digits'),
    'data.digits.load_digits': lambda: dict(test_size=.2, seed=0),
    'files.as_path': lambda: dict(path='a'),
    'files.is_there': lambda: dict(path='no such file'),
    'files.kind_of': lambda: dict(path='no such file'),
    'files.read_bytes': lambda: dict(path='no such file'),
    'files.sha256': lambda: dict(path='no such file'),
    'files.hash_json': lambda: dict(x=1),
    'files.read_record': lambda: dict(path='no such file'),
    'files.write_atomic': lambda: dict(path='no such folder/\0', data=b''),
    'files.save_tensors': lambda: dict(path='no such folder/\0', tensors=dict(a=x()), header=dict(format='a', version=1)),
    'files.load_tensors': lambda: dict(path='no such file', format='a', version=1),
    'files.append_jsonl': lambda: dict(path='no such folder/\0', record=dict(a=1)),
    'files.read_jsonl': lambda: dict(path='no such file'),
    'files.cut_jsonl': lambda: dict(path='no such file', keep=0),
    'files.audit': lambda: dict(path='no such folder/\0', event='a'),
    'files.check_audit': lambda: dict(path='no such file'),
    'inspect.figures.plot_raster': lambda: dict(spk=s(4,3), other=s(4,3), neuron=1),
    'inspect.figures.plot_membrane': lambda: dict(mem=x(4), threshold=1., spk=s(4), other=x(4), other_spk=s(4)),
    'inspect.figures.plot_readout': lambda: dict(mem=x(4,3), label=1),
    'inspect.figures.plot_observer': lambda: dict(x=x(), scale=.1, quant_min=-4, quant_max=4, min_val=0., max_val=1.),
    'inspect.figures.plot_codes': lambda: dict(codes=i8(), levels=np.arange(-4, 5)),
    'inspect.figures.plot_confusion': lambda: dict(matrix=i32(3,3)),
    'inspect.grid_fit.fit_grid': lambda: dict(x=x(), levels=np.linspace(0, 1, 5)),
    'inspect.grid_fit.plot_grid': lambda: dict(x=x(), levels=np.linspace(0, 1, 5)),
    'inspect.grid_fit.average_range': lambda: dict(low=a(3), high=a(3)+1, averaging_constant=.1),
    'inspect.grid_fit.plot_history': lambda: dict(low=a(3), high=a(3)+1, averaging_constant=.1, scale=a(3), first=1),
    'inspect.membrane_traces.plot_occupancy': lambda: dict(mem=x(4,3), levels=np.linspace(0, 1, 5), at=.5),
    'inspect.membrane_traces.plot_spread': lambda: dict(mem=x(4,3), theta=a(3), neuron=1, step=1),
    'inspect.nonary_explorer.digit_carries': lambda: dict(a=3, b=4, D=5),
    'inspect.nonary_explorer.plot_addition': lambda: dict(a=3, b=4, D=5),
    'inspect.nonary_explorer.plot_word': lambda: dict(nits=i8(5)),
    'inspect.nonary_explorer.plot_companding': lambda: dict(v=.5),
    'inspect.clickable.clickable': lambda: dict(net=net(), x=x()),
    'inspect.live.live_page': lambda: dict(net=digits_program(), x=a(1,64), y=np.zeros(1, int), title='a', first=0, brush=.8, fill=(.9,1.)),
    'inspect.clickable.Clickable.to_html': lambda: dict(self=Clickable('a', {})),
    'inspect.clickable.Clickable': lambda: dict(name='a', data={}),
    'inspect.figures.plot_counts': lambda: dict(counts=i32(), other=i32()),
    'inspect.figures.plot_votes': lambda: dict(image=a(8,8), votes=a(4), label=2),
    'inspect.widget.code_line': lambda: dict(),
    'inspect.run_compare.short_names': lambda: dict(names=['a-b','a-c']),
    'inspect.sample_file.read_sample': lambda: dict(path=sample_file(), samples=2, accuracy=1., quantized=False),
    'inspect.pages.page_table': lambda: dict(rows=[('a',1)], head=('b','c'), right=(1,)),
    'inspect.pages.page_card': lambda: dict(number='1', text='words', kind='good'),
    'inspect.pages.page_panel': lambda: dict(title='a', said='words', png=draw_png(lambda fig: None)),
    'inspect.pages.page_figure': lambda: dict(panels=[], text='words', kind='row'),
    'inspect.pages.page_settings': lambda: dict(config=dict(a=1), usual=dict(a=2)),
    'inspect.text_page.plot_surprise': lambda: dict(bits=dict(a=np.ones(3))),
    'inspect.text_page.text_parts': lambda: dict(run=Path('no such run'), config=dict(tokens='bytes'), panel=lambda *a: ''),
    'inspect.pages.whole_page': lambda: dict(title='a', body=['<p>b</p>']),
    'inspect.widget.html_image': lambda: dict(png=b'', said='words', more=''),
    'inspect.raster_canvas.StepPointer': lambda: dict(),
    'inspect.raster_canvas.StepPointer.show': lambda: dict(self=resolve('inspect.raster_canvas.StepPointer')(), says=['a'], axes=[plt.figure().add_subplot()], step=0),
    'inspect.run_notebook.run_notebook': lambda: dict(run='runs/x'),
    'inspect.raster_canvas.raster_kinds': lambda: dict(spk=s(4,3), other=s(4,3)),
    'inspect.recordings.Recording.showing': lambda: dict(self=record_layers(net(), x())[0], name='a'),
    'inspect.recordings.record_layers': lambda: dict(net=net(), x=x(), name='net'),
    'inspect.recordings.record_programs': lambda: dict(net=q(), x=x()),
    'inspect.spike_explorer.pixel_spikes': lambda: dict(x=a(4), encoder='rate', steps=3, gain=1., beta=.9, seed=0),
    'inspect.spike_explorer.read_spikes': lambda: dict(spk=s(4,3).numpy(), encoder='rate'),
    'inspect.spike_explorer.plot_image': lambda: dict(image=a(8,8), pixel=3),
    'inspect.spike_explorer.plot_trains': lambda: dict(trains=dict(rate=s(4).numpy())),
    'inspect.spike_explorer.plot_surrogates': lambda: dict(surrogate='atan', slope=2., width=.5),
    'inspect.spike_explorer.spike_gradient': lambda: dict(current=a(4), surrogate='atan', slope=2., beta=.9, threshold=1.),
    'inspect.spike_explorer.plot_spike_gradient': lambda: dict(mem=a(4), spk=s(4).numpy(), grad=a(4), threshold=1.),
    'nonary.arithmetic.span': lambda: dict(D=5),
    'nonary.arithmetic.to_digits': lambda: dict(x=i32(), D=5, num_threads=1),
    'nonary.arithmetic.from_digits': lambda: dict(digits=i8(2,5), num_threads=1),
    'nonary.arithmetic.split': lambda: dict(x=i32(), D=5),
    'nonary.arithmetic.fit': lambda: dict(x=i32(), D=5, overflow='wrap'),
    'nonary.arithmetic.add': lambda: dict(a=i32(), b=i32(), D=5, overflow='wrap', num_threads=1),
    'nonary.arithmetic.add_carry': lambda: dict(a=i32(), b=i32(), D=5, num_threads=1),
    'nonary.arithmetic.subtract': lambda: dict(a=i32(), b=i32(), D=5, overflow='wrap', num_threads=1),
    'nonary.arithmetic.subtract_carry': lambda: dict(a=i32(), b=i32(), D=5, num_threads=1),
    'nonary.arithmetic.multiply_carry': lambda: dict(a=i32(), b=i32(), D=5, num_threads=1),
    'nonary.arithmetic.multiply': lambda: dict(a=i32(), b=i32(), D=5, overflow='wrap', num_threads=1),
    'nonary.arithmetic.negate': lambda: dict(x=i32(), D=5),
    'nonary.arithmetic.compare': lambda: dict(a=i32(), b=i32(), D=5),
    'nonary.arithmetic.shift': lambda: dict(x=i32(), k=1, D=5, overflow='wrap'),
    'nonary.arithmetic.min_gate': lambda: dict(a=i8(), b=i8()),
    'nonary.arithmetic.max_gate': lambda: dict(a=i8(), b=i8()),
    'nonary.arithmetic.negate_gate': lambda: dict(a=i8()),
    'nonary.arithmetic.sum_gate': lambda: dict(a=i8(), b=i8()),
    'nonary.arithmetic.product_gate': lambda: dict(a=i8(), b=i8()),
    'nonary.arithmetic.dot': lambda: dict(words=words(), x=i32(10), num_threads=1),
    'nonary.companding.compand': lambda: dict(v=a(), num_threads=1),
    'nonary.companding.expand': lambda: dict(nits=i8()),
    'nonary.companding.encode_complex': lambda: dict(z=a(5)+0j, scale=1., num_threads=1),
    'nonary.companding.overflows': lambda: dict(z=a(5)+0j, scale=1.),
    'nonary.nits.nit_edges': lambda: dict(scale=1., rounding='half_even', dtype='float32'),
    'nonary.nits.room_for': lambda: dict(shape=(3,), dtype='int8'),
    'nonary.nits.digits_at': lambda: dict(x=a(5), edges=resolve('nonary.nits.nit_edges')(), num_threads=1),
    'nonary.nits.quantize_nits': lambda: dict(x=a(5), scale=1., rounding='half_even', num_threads=1),
    'nonary.nits.check_nits': lambda: dict(x=i8(), top=4),
    'nonary.nits.pack': lambda: dict(nits=i8(), num_threads=1),
    'nonary.nits.unpack': lambda: dict(words=words(), shape=(10,), num_threads=1),
    'nonary.nits.pack_planar': lambda: dict(nits=i8(5,2), num_threads=1),
    'nonary.nits.unpack_planar': lambda: dict(words=words(), num_threads=1),
    'nonary.nits.pack_trits': lambda: dict(trits=np.sign(i8()), num_threads=1),
    'nonary.nits.unpack_trits': lambda: dict(words=resolve('nonary.nits.pack_trits')(np.sign(i8())), shape=(10,), num_threads=1),
    'train.outcome.wrong_outcome': lambda: dict(net=net(), data=[(x(),torch.arange(5)%4)], images=x(5,2,3), most=3),
    'tables.measurement': lambda: dict(name='accuracy', folder=BENCH.parent),
    'tables.measured': lambda: dict(name='levels'),
    'tables.measured_parts': lambda: dict(name='levels'),
    'tables.one_a_subject': lambda: dict(path=BENCH),
    'tables.without_goals': lambda: dict(rows=measured('lif', BENCH)),
    'tables.plot_ratios': lambda: dict(rows=measured('lif', BENCH)),
    'tables.plot_subjects': lambda: dict(rows=one_a_subject(BENCH)),
    'paper.on_dark': lambda: dict(png=draw_png(lambda fig: None)),
    'paper.rgb': lambda: dict(colour='#ff0000'),
    'paper.nit_inks': lambda: dict(n=-4),
}


EXPORTED = ('c', dict(gcc='12'), 1, 1, 1, 1, '0', dict(gcc=0), {})


def zero_program(): return replace(small_program(), layers=tuple(replace(l, reset='zero') for l in small_program().layers))
def nir_graph(): return to_nir(zero_program()).graph


@cache
def nir_path():
    path = Path(tempfile.mkdtemp())/'net.nir'
    nir_graph().save(path)
    return str(path)


def health(): return [dict(phase='float', epoch=0, health=dict(layers=[dict(name='a', rate=.1)]))]


def small_program(): return IntegerNetwork((IntLayer(np.ones((2,3), np.int8), *np.ones((3,2), np.int32), np.ones(2)),), (3,), 2, 1., 0, 3)


@cache
def in_javascript(): return to_js(small_program())


def one_record(): return [Record('0', np.zeros((1,1,1), np.uint8), np.zeros((1,1,1), np.int32))]


CALLS |= { # what leaves the house
    'export.proof.fnv_of': lambda: dict(records=one_record()),
    'export.proof.fnv_of_lines': lambda: dict(lines=['0']),
    'export.proof.first_difference': lambda: dict(said='0 0 0 0 0', records=one_record(), sample=0),
    'export.proof.tool': lambda: dict(name='cat', package='coreutils'),
    'export.proof.run_tool': lambda: dict(command=['cat'], data=b'', timeout=9., folder='.'),
    'export.proof.ExportProof': lambda: dict(zip('target tools samples steps spikes fired fnv mismatches first'.split(), EXPORTED)),
    'export.proof.write_proof': lambda: dict(folder='x', target='c', files=[], proof=ExportProof(*EXPORTED), why='so'),
    'export.proof.check_free': lambda: dict(folder='x', names=['net.c']),
    'export.wasm.to_wasm': lambda: dict(net=small_program(), name='net'),
    'export.wasm.WasmFiles': lambda: dict(name='net', net=small_program()),
    'export.wasm.WasmFiles.save': lambda: dict(self=to_wasm(small_program()), folder='x'),
    'export.proof.in_comment': lambda: dict(text='x'),
    'export.packing.pack_rows': lambda: dict(w=np.ones((2,3), np.int8)),
    'export.packing.pack_positions': lambda: dict(w=np.ones((2,3), np.int8)),
    'export.harness.compare_c': lambda: dict(net=small_program(), x=np.ones((1,3)), runs={}, target='c', tools={}),
    'export.cortex_m.Board': lambda: dict(cpu='cortex-m3', machine='mps2-an385', flash=2**20, ram=2**20, ram_at=2**29),
    'export.cortex_m.board_files': lambda: dict(board=BOARDS[0], name='net'),
    'export.cortex_m.Footprint': lambda: dict(cpu='cortex-m3', flash=1, ram=1, stack=1),
    'export.cortex_m.footprint_of': lambda: dict(text=to_c(small_program()), cpu='cortex-m3'),
    'export.cortex_m.BoardProof': lambda: dict(proof=ExportProof(*EXPORTED), bytes=Footprint('cortex-m3', 1, 1, 1), instructions=1),
    'export.cortex_m.prove_board': lambda: dict(net=small_program(), text=to_c(small_program()), x=np.ones((1,3)), board=BOARDS[0]),
    'export.c.CText': lambda: dict(name='net', header='', source='', main=''),
    'export.c.CText.save': lambda: dict(self=to_c(small_program()), folder='x'),
    'export.c.to_c': lambda: dict(net=small_program(), name='net', title='', sparse=False, crc=False),
    'export.c.prove_c': lambda: dict(net=small_program(), text=to_c(small_program()), x=np.ones((1,3)), flags=('-O0',)),
    'export.onnx.OnnxFile': lambda: dict(name='net', data=b'', form='scan'),
    'export.onnx.OnnxFile.save': lambda: dict(self=to_onnx(small_program()), folder='x'),
    'export.onnx.to_onnx': lambda: dict(net=small_program(), name='net', title='', form='scan'),
    'export.onnx.run_onnx': lambda: dict(data=to_onnx(small_program()).data, codes=np.ones((1,1,3), int)),
    'export.onnx.prove_onnx': lambda: dict(net=small_program(), file=to_onnx(small_program()), x=np.ones((1,3))),
    'export.onnx.from_onnx': lambda: dict(path='no such file'),
    'geometry.ball.to_ball': lambda: dict(x=x(3,2), c=1.),
    'geometry.ball.exp0': lambda: dict(v=x(3,2), c=1.),
    'geometry.ball.log0': lambda: dict(x=x(3,2)/2, c=1.),
    'geometry.ball.mobius_add': lambda: dict(x=x(3,2)/2, y=x(3,2)/2, c=1.),
    'geometry.ball.ball_distance': lambda: dict(x=x(3,2)/2, y=x(3,2)/2, c=1.),
    'geometry.ball.BallLinear': lambda: dict(n_in=2, n_out=3, c=1.),
    'geometry.ball.BallLinear.forward': lambda: dict(self=BallLinear(2, 3), x=x(3,2)/2),
    'geometry.ball.distortion': lambda: dict(found=a(3,3)+1, wanted=a(3,3)+1),
    'geometry.ball.Embedded': lambda: dict(points=a(3,2), distortion=.1, losses=[1.]),
    'geometry.ball.embed_distances': lambda: dict(wanted=a(3,3)+1, measure=lambda v: torch.cdist(v, v), dim=2, steps=2, rate=.05, seed=0),
    'geometry.simplex.distance': lambda: dict(p=probs(3,4), q=probs(4)),
    'geometry.simplex.log_map': lambda: dict(p=probs(3,4), q=probs(4)),
    'geometry.simplex.exp_map': lambda: dict(p=probs(3,4), v=torch.zeros(3,4)),
    'geometry.simplex.geodesic': lambda: dict(p=probs(3,4), q=probs(4), t=.5),
    'geometry.simplex.mean': lambda: dict(points=probs(3,4), weights=x(3)),
    'geometry.warp.warped': lambda: dict(d=1-np.eye(4), r=np.ones((4,4)), strength=1., closure=False),
    'geometry.warp.triangle_failures': lambda: dict(d=1-np.eye(4)),
    'train.natural.NaturalSGD': lambda: dict(params=[torch.nn.Parameter(x(3))], lr=.1, damping=.1, decay=.9),
    'train.natural.NaturalSGD.step': lambda: dict(self=NaturalSGD([torch.nn.Parameter(x(3))]), closure=None),
    'language.basins.ppmi_vectors': lambda: dict(ids=[np.arange(6)], vocab=6, dim=2, window=2, shift=1.),
    'language.basins.basins_of': lambda: dict(ids=[np.arange(6)], vocab=6, dim=2, window=2, shift=1.),
    'language.basins.merged_basin': lambda: dict(parts=probs(3,4).numpy(), counts=np.ones(3)),
    'language.sample.bigram_table': lambda: dict(ids=[np.arange(6)], vocab=6, smooth=1.),
    'language.sample.Sampler': lambda: dict(temperature=1., top=2, basins=probs(3,4).numpy(), basin_weight=.5, window=2, table=-a(3,3), bigram_weight=.5),
    'language.sample.Sampler.scores': lambda: dict(self=Sampler(top=2), logits=a(5), context=np.arange(3)),
    'language.sample.sample_next': lambda: dict(logits=a(5), context=np.arange(3), sampler=Sampler(), rng=np.random.default_rng(0)),
    'language.sample.continued': lambda: dict(ask=lambda ids: np.arange(3.), start=np.arange(3), n=2, sampler=Sampler(), seed=0),
    'language.coherence.perplexity_per_byte': lambda: dict(losses=a(5), size=5),
    'language.coherence.distinct': lambda: dict(tokens=['a','b','a'], n=2),
    'language.coherence.repetition': lambda: dict(tokens=['a','b','a'], window=2),
    'language.coherence.adjacent_similarity': lambda: dict(sentences=['a','b'], encode=lambda s: np.ones((len(s),2))),
    'inspect.lattice.plot_roots': lambda: dict(x=np.eye(8)*2**.5),
    'inspect.lattice.plot_rate_distortion': lambda: dict(curves=dict(a=([1.,2.],[5.,11.])), bound=([1.,2.],[6.,12.])),
    'quant.lattice.Lattice': lambda: dict(step=1., per_channel=False, centres=True),
    'quant.lattice.lattice_centres': lambda: dict(x=a(3,8), points=np.ones((3,8), np.int8)),
    'quant.lattice.from_points': lambda: dict(points=np.ones((3,8), np.int8), centres=np.full(15, 128, np.uint8)),
    'quant.lattice.LatticeCodes': lambda: dict(points=np.ones((1,2,8), np.int8), scale=np.ones(1, np.float32), centres=np.full(15, 128, np.uint8), shape=(4,4)),
    'quant.lattice.LatticeCodes.weights': lambda: dict(self=LATTICE()),
    'quant.lattice.lattice_codes': lambda: dict(w=x(4,4), lattice=Lattice(1.)),
    'quant.lattice.point_lists': lambda: dict(points=np.ones((1,2,8), np.int8)),
    'quant.lattice.encode_lattice': lambda: dict(codes=LATTICE()),
    'quant.lattice.lattice_bytes': lambda: dict(codes=LATTICE()),
    'quant.lattice.decode_lattice': lambda: dict(zip(('tensors','head'), encode_lattice(LATTICE())), where='w'),
    'quant.lattice.save_lattice': lambda: dict(path='no such folder/\0', layers=dict(a=LATTICE())),
    'quant.lattice.load_lattice': lambda: dict(path='no such file'),
    'geometry.e8.e8_shell': lambda: dict(norm=2),
    'geometry.e8.reflect': lambda: dict(x=a(3,8), root=np.array([1.,1,0,0,0,0,0,0])),
    'geometry.e8.coxeter_plane': lambda: dict(x=a(3,8)),
    'geometry.e8.nearest_e8': lambda: dict(x=a(3,8)),
    'geometry.e8.second_moment': lambda: dict(samples=100, seed=0),
    'geometry.order.to_curve': lambda: dict(x=np.ones((4,3), int), bits=2, curve='hilbert', threads=1),
    'geometry.order.from_curve': lambda: dict(h=np.arange(4), axes=3, bits=2, curve='hilbert', threads=1),
    'geometry.order.neighbour_gaps': lambda: dict(axes=2, bits=2, curve='hilbert', cells=16, seed=0),
    'geometry.order.causal_order': lambda: dict(t=np.arange(4), x=np.ones((4,3), int), bits=2, curve='hilbert', period=8, now=0),
    'export.js.JsText': lambda: dict(name='net', module='', types='', made={}),
    'export.js.JsText.save': lambda: dict(self=in_javascript(), folder='x'),
    'export.js.to_js': lambda: dict(net=small_program(), name='net', title=''),
    'export.js.prove_js': lambda: dict(net=small_program(), text=in_javascript(), x=np.ones((1,3))),
}

SAID = ['open a file','close a file','read lines','a picture of lines']

@cache
def lsa(): return fit_lsa(SAID, 2)
def few_texts(): return Corpus('x', ['a','b'], ['A file is opened. It has to be closed again, in the end, by hand.','b'], ['f'], np.zeros((2,3), int), {})
def postings(): return Postings(lsa().words.rows(SAID))
def experts(): return Experts(KeyGate(root_keys(8), 9), 9, 2)
def tokens(): return Tokenizer((*BYTES,b'ab'), ((64,65),))
def two_shells(): return Shells(a(6,4), np.arange(6.), 2)
def tiny_library(): return Library(few_texts(), 'tfidf', Parts(fit_words(few_texts().texts), Postings(fit_words(few_texts().texts).rows(few_texts().texts)), None, None))
@cache
def tiny_bm25(): return fit_bm25(SAID)
@cache
def tiny_retriever(): return retriever_of(tiny_library())
@cache
def tiny_bert():
    from test_memory_corpus import write_bert
    with tempfile.TemporaryDirectory() as d:
        write_bert(Path(d))
        return MiniLM(Path(d)/'model')

CALLS |= { # texts and what is nearest
    'language.pieces.letters_of': lambda: dict(token=b'a'),
    'language.pieces.bytes_of': lambda: dict(letters='a'),
    'language.pieces.cut_text': lambda: dict(text='a b'),
    'language.pieces.check_texts': lambda: dict(texts=['a']),
    'language.pieces.count_pieces': lambda: dict(texts=['a b']),
    'language.route.root_keys': lambda: dict(n=8),
    'language.route.random_keys': lambda: dict(n=8, seed=0),
    'language.route.KeyGate': lambda: dict(keys=root_keys(8), hidden=9, k=2, tau=1., seed=0),
    'language.route.KeyGate.scores': lambda: dict(self=KeyGate(root_keys(8), 9), x=x(3,9)),
    'language.route.LearnedGate': lambda: dict(hidden=9, experts=3, k=2),
    'language.route.LearnedGate.scores': lambda: dict(self=LearnedGate(9, 3), x=x(3,9)),
    'language.route.Load': lambda: dict(even=1., busiest=1., idle=0),
    'language.route.load_of': lambda: dict(at=torch.tensor([[0,1]]), experts=2),
    'language.route.balance_loss': lambda: dict(gate=LearnedGate(9, 3), x=x(3,9)),
    'language.route.Experts': lambda: dict(gate=KeyGate(root_keys(8), 9), hidden=9, width=2),
    'language.route.Experts.forward': lambda: dict(self=experts(), x=x(2,9)),
    'language.route.with_experts': lambda: dict(net=KernelLM(9, 1, 3, 9, 3), make=lambda i: experts()),
    'language.foreign.any_tokenizer': lambda: dict(path='no such file'),
    'language.columns.is_table': lambda: dict(path='a.parquet'),
    'language.columns.column_of': lambda: dict(path='no such.parquet', name=''),
    'language.texts.paragraphs_of': lambda: dict(data=b'a'),
    'language.texts.read_texts': lambda: dict(source='no such file'),
    'language.texts.held_out': lambda: dict(texts=[f'text {i}' for i in range(40)], seed=0, share=.5),
    'language.tokenizer.Tokenizer': lambda: dict(vocab=BYTES, merges=()),
    'language.tokenizer.Tokenizer.encode': lambda: dict(self=tokens(), text='a b'),
    'language.tokenizer.Tokenizer.decode': lambda: dict(self=tokens(), ids=np.array([0,256])),
    'language.tokenizer.Tokenizer.part': lambda: dict(self=tokens(), vocab=256),
    'language.tokenizer.json_of': lambda: dict(tok=tokens()),
    'language.tokenizer.save_tokenizer': lambda: dict(path='t.json', tok=tokens()),
    'language.tokenizer.load_tokenizer': lambda: dict(path='no such file'),
    'language.tokenizer.in_tokenizers': lambda: dict(tok=tokens()),
    'language.tokenizer.unigram_bits': lambda: dict(ids=np.array([0,1])),
    'language.tokenizer.worth': lambda: dict(encode=tokens().encode, decode=tokens().decode, texts=[b'a']),
    'language.merge.check_vocab': lambda: dict(vocab=300),
    'language.merge.train_tokenizer': lambda: dict(texts=['a b'], vocab=257, alpha=1., tau=.5, entropy=True, attention=lambda a, b: 1., basins=np.full((256,2), .5)),
    'inspect.token_inspector.plot_tokens': lambda: dict(text='ab', ours=tokens(), other=tokens(), vocab=257, names=('a','b')),
    'inspect.token_inspector.TokenInspector': lambda: dict(tokenizers=dict(a=tokens(), b=tokens()), text='ab'),
    'inspect.token_inspector.TokenInspector.say': lambda: dict(self=TokenInspector(dict(a=tokens()), 'ab')),
    'inspect.token_inspector.TokenInspector.paint': lambda: dict(self=TokenInspector(dict(a=tokens()), 'ab'), fig=quarantion.paper.new_axes().figure),
    'inspect.merges.cuts_of': lambda: dict(word='ab', tok=tokens(), vocab=257),
    'inspect.merges.plot_merges': lambda: dict(word='ab', ours=tokens(), other=tokens(), vocabs=[256,257], names=('a','b')),
    'memory.corpus.Corpus': lambda: dict(source='x', titles=['a'], texts=['b'], files=['f'], where=np.zeros((1,3), int), out={}, read=0),
    'memory.corpus.Corpus.first_line': lambda: dict(self=few_texts(), i=0),
    'memory.corpus.Corpus.place': lambda: dict(self=few_texts(), i=0),
    'memory.corpus.Corpus.part': lambda: dict(self=few_texts(), ids=np.array([0])),
    'memory.corpus.without_topics': lambda: dict(corpus=few_texts()),
    'memory.corpus.read_corpus': lambda: dict(source='no such file', keep='kept', extract=None),
    'memory.entities.Entities': lambda: dict(names=['a'], kinds=['name'], defined=[(0,)], referred=[()], files=[0]),
    'memory.entities.Entities.homes': lambda: dict(self=entities_of(few_texts())),
    'memory.entities.entities_of': lambda: dict(corpus=few_texts(), least=2),
    'memory.entities.graph_of': lambda: dict(corpus=few_texts(), least=2, weights=np.ones(2)),
    'memory.parts.names.Section': lambda: dict(title='a', first=1, last=1, text='b', defines=(), refers=()),
    'memory.parts.names.name_of': lambda: dict(text='dict.get()'),
    'memory.parts.names.label_of': lambda: dict(text='file object'),
    'memory.parts.rst.plain': lambda: dict(text='a `file`'),
    'memory.sections.docstrings': lambda: dict(source=b'"a"', name='m'),
    'memory.sections.topics': lambda: dict(source=b'topics = {"a": "b"}'),
    'memory.sections.paragraphs': lambda: dict(text='a', name='m'),
    'memory.sections.sections_of': lambda: dict(data=b'a', path='a.md', name=''),
    'memory.words.texts_of': lambda: dict(x=['a']),
    'memory.words.words_of': lambda: dict(text='a file'),
    'memory.words.fit_words': lambda: dict(texts=SAID, least=1),
    'memory.words.Words': lambda: dict(terms=['a','b'], idf=np.ones(2)),
    'memory.words.Words.rows': lambda: dict(self=lsa().words, texts=SAID),
    'memory.words.Words.__call__': lambda: dict(self=lsa().words, texts=SAID),
    'memory.words.Rows': lambda: dict(starts=np.arange(2), at=np.zeros(1, int), values=np.ones(1), width=1),
    'memory.words.Rows.dense': lambda: dict(self=lsa().words.rows(SAID)),
    'memory.words.Near': lambda: dict(ids=np.zeros(1, int), scores=np.ones(1), read=1),
    'memory.words.Postings': lambda: dict(rows=lsa().words.rows(SAID)),
    'memory.words.Postings.search': lambda: dict(self=postings(), q=lsa().words.rows(['file']), k=2),
    'memory.embed.fit_lsa': lambda: dict(texts=SAID, dims=2, seed=0, words=None),
    'memory.embed.LSA': lambda: dict(words=lsa().words, axes=lsa().axes),
    'memory.embed.LSA.__call__': lambda: dict(self=lsa(), texts=SAID),
    'memory.embed.LSA.of_rows': lambda: dict(self=lsa(), r=lsa().words.rows(SAID)),
    'memory.embed.fuse': lambda: dict(lists=[[1,2],[2]], weights=[1,2], c=5.),
    'memory.embed.save_embedder': lambda: dict(path='x', embedder=lsa(), postings=postings()),
    'memory.embed.load_embedder': lambda: dict(path='no such file'),
    'memory.minilm.Pieces': lambda: dict(vocabulary=['[UNK]','[CLS]','[SEP]']),
    'memory.minilm.Pieces.__call__': lambda: dict(self=tiny_bert().pieces, text='a file', most=9),
    'memory.minilm.MiniLM': lambda: dict(folder='no such folder', most=9),
    'memory.minilm.MiniLM.__call__': lambda: dict(self=tiny_bert(), texts=SAID),
    'memory.shells.shell_radii': lambda: dict(shells=4, outer=9., kind='sqrt'),
    'memory.shells.shell_capacities': lambda: dict(radii=np.array([1.,2.]), n=9, exponent=1.),
    'memory.shells.assign_shells': lambda: dict(score=np.arange(3.), capacities=np.array([1,2]), ids=np.arange(3)),
    'memory.shells.local_density': lambda: dict(ix=Index(a(6,4)), x=a(2,4), k=2, ids=np.arange(2)),
    'memory.shells.Covered': lambda: dict(shells=(0,), vectors=1, of=2, each=()),
    'memory.shells.Covered.said': lambda: dict(self=two_shells().search(a(1,4), 1, 0).proof, i=0),
    'memory.shells.Shells': lambda: dict(x=a(6,4), score=np.arange(6.), shells=2, ids=np.arange(6), exponent=1., inside='low'),
    'memory.shells.Shells.add': lambda: dict(self=two_shells(), x=a(2,4), score=np.arange(2.), ids=np.arange(7, 9)),
    'memory.shells.Shells.save': lambda: dict(self=two_shells(), folder='of shells'),
    'memory.shells.Shells.search': lambda: dict(self=two_shells(), q=a(1,4), k=2, shells=1, threads=1),
    'memory.shells.Shells.remove': lambda: dict(self=two_shells(), ids=np.arange(2)),
    'memory.shells.Shells.rescore': lambda: dict(self=two_shells(), score=np.arange(6.)[::-1].copy()),
    'memory.shells.load_shells': lambda: dict(folder='no such folder'),
    'inspect.shells.plot_shells': lambda: dict(radii=np.array([1.,2.]), shell=np.array([0,1]), score=np.arange(2.), x=a(2,3), lit=[0], ax=None),
    'memory.library.Parts': lambda: dict(words=None, postings=None, embedder=None, index=None),
    'memory.library.Answer': lambda: dict(title='a', score=1., line='a', file='f', lines=[1,2], ranks={}),
    'memory.library.Answers': lambda: dict(question='a', lists=('LSA',), found=[], proof={}),
    'memory.library.Answers.said': lambda: dict(self=tiny_library().search('file', 1)),
    'memory.library.check_question': lambda: dict(question='a'),
    'memory.library.Library': lambda: dict(corpus=few_texts(), embed='tfidf', parts=tiny_library().parts),
    'memory.library.Library.search': lambda: dict(self=tiny_library(), question='file', k=1),
    'memory.library.open_library': lambda: dict(source='no such file', folder='kept', embed='tfidf', seed=0),
    'memory.bm25.BM25': lambda: dict(terms=lsa().words.terms, postings=postings()),
    'memory.bm25.BM25.row': lambda: dict(self=tiny_bm25(), question='file'),
    'memory.bm25.BM25.search': lambda: dict(self=tiny_bm25(), question='file', k=2),
    'memory.bm25.fit_bm25': lambda: dict(texts=SAID, k1=1., b=.5),
    'memory.bm25.save_bm25': lambda: dict(path='x', bm=tiny_bm25()),
    'memory.bm25.load_bm25': lambda: dict(path='no such file'),
    'memory.retrieve.How': lambda: dict(alpha=.5, mix=.5, vectors=0., sharp=2, depth=9, without=()),
    'memory.linked.Linked': lambda: tiny_retriever().linked._asdict(),
    'memory.linked.linked_of': lambda: dict(corpus=few_texts()),
    'memory.retrieve.Passage': lambda: dict(id='s1', title='a', file='f', lines=[1,2], text='a', score=1, share=1., ranks={}),
    'memory.retrieve.Why': lambda: dict(seeds=[], edges=[], names=[], rounds=0, left=0., bound=1e-3, said=''),
    'memory.retrieve.Retrieved': lambda: dict(question='a', passages=[], why=tiny_retriever().ask('file', 1).why, digests={}),
    'memory.retrieve.Retriever': lambda: dict(library=tiny_library(), bm25=tiny_retriever().bm25, linked=tiny_retriever().linked, digest=''),
    'memory.retrieve.Retriever.ask': lambda: dict(self=tiny_retriever(), question='file', k=1, how=How()),
    'memory.retrieve.Retriever.listed': lambda: dict(self=tiny_retriever(), question='file', depth=1),
    'memory.retrieve.Retriever.masses': lambda: dict(self=tiny_retriever(), lists=tiny_retriever().listed('file', 1), how=How()),
    'memory.parts.names.target_of': lambda: dict(text='a <b>'),
    'memory.sections.is_module': lambda: dict(path='a.py'),
    'memory.sections.tidy': lambda: dict(s=sections_of(b'# a', 'a.md')[0]),
    'memory.retrieve.retriever_of': lambda: dict(library=tiny_library(), digest=''),
    'memory.trust.Trust': lambda: dict(agreed=1, failed=2),
    'memory.trust.Trust.after': lambda: dict(self=Trust(), agreed=True),
    'memory.trust.half_lives': lambda: dict(ages=[0.,1.], half_life=1.),
    'memory.trust.aged': lambda: dict(found=tiny_retriever().ask('file', 1), ages=dict(f=1.), half_life=1., archive=.1),
    'memory.trust.tiers_of': lambda: dict(scores=[3.,2.,1.], tiers=3),
    'memory.trust.Together': lambda: dict(passages=[], agreed={}, failed={}),
    'memory.trust.ask_all': lambda: dict(sources=dict(a=tiny_retriever()), question='file', k=1, trust={}),
    'memory.trust.ask_again': lambda: dict(r=tiny_retriever(), question='file', rules=['covered'], k=1, how=How()),
    'memory.remembered.Remembered': lambda: dict(folder='kept', agree=2),
    'memory.remembered.Remembered.add': lambda: dict(self=Remembered('kept'), digests=dict(index='a', query='b', settings='c'), source='a', answer='b'),
    'memory.remembered.Remembered.get': lambda: dict(self=Remembered('kept'), digests=dict(index='a', query='b', settings='c')),
    'memory.retrieve.open_retriever': lambda: dict(source='no such file', folder='kept', embed='tfidf', seed=0),
}

Found = namedtuple('Found', 'id title file lines text score share ranks')
Got = namedtuple('Got', 'question passages why digests')


def new_store():
    store = open_store(Path(tempfile.mkdtemp())/'store', 3) # below the TMPDIR of the test
    store.add(['a','b'], [b'x',b''], np.eye(2, 3))
    return store


def passages(n=2): return [Found(f's{i}', 'a key', 'no such file', [1,1], f'The key {i} of a file is kept.', 1., .5, {}) for i in range(1, n+1)]
def got(): return Got('Which key is kept?', passages(), None, {})
def answered(): return answer_from(got(), 1)
def record(): return sign(answered(), Key(bytes(32)), {}, '2024')


CALLS |= { # a language model
    'language.regime.shrunk_correlation': lambda: dict(states=x(9,3)),
    'language.regime.nats_of': lambda: dict(correlation=torch.eye(3)),
    'language.regime.Integration': lambda: dict(phi=.1, nats=1., raw=2., most=9., shrinkage=.1, n=9, dim=3),
    'language.regime.integration': lambda: dict(states=x(9,3)),
    'language.regime.regime_of': lambda: dict(phi=.5, causes=causes_of()),
    'language.regime.regime_signals': lambda: dict(states=x(9,3), before=Signals(()), steps=2, causes=causes_of()),
    'language.regime.last_states': lambda: dict(net=tiny_lm(), ids=torch.tensor([[1,2]])),
    'language.attention.attend': lambda: dict(q=heads(), k=heads(), v=heads(), kind='dot', tau=1.),
    'language.model.KernelLM': lambda: dict(hidden=8, layers=1, heads=2, vocab=9, basin_dim=3, ffn=4, kind='dot', tau=1.),
    'language.model.KernelLM.forward': lambda: dict(self=tiny_lm(), ids=torch.tensor([[1,2]])),
    'language.model.KernelLM.answer': lambda: dict(self=tiny_lm(), ids=torch.tensor([[1,2]])),
    'language.model.small': lambda: dict(vocab=256, kind='dot'),
    'language.model.bits_of': lambda: dict(net=tiny_lm(), x=torch.tensor([[1,2]]), y=torch.tensor([[2,3]])),
    'language.model.bits_per_byte': lambda: dict(net=tiny_lm(), data=[(torch.tensor([[1,2]]),torch.tensor([[2,3]]))], sizes=torch.ones(9)),
    'train.config.Config.check_input': lambda: dict(self=Config()),
    'language.program.IntegerLM': lambda: dict(sizes=tiny_program().sizes, layers=tiny_program().layers, gains=tiny_program().gains),
    'language.program.IntegerLM.logits': lambda: dict(self=tiny_program(), ids=np.array([1,2])),
    'language.program.save_lm': lambda: dict(lm=tiny_program(), path='lm'),
    'language.program.load_lm': lambda: dict(path='no such file'),
    'language.program.lm_sizes': lambda: dict(path='no such file'),
    'language.lowered.QuantLM': lambda: dict(net=tiny_lm(), policy=preset('nonary')),
    'language.lowered.QuantLM.switch': lambda: dict(self=few_lm(), policy=preset('ternary')),
    'language.lowered.QuantLM.freeze': lambda: dict(self=few_lm()),
    'language.lowered.exact_logits': lambda: dict(q=few_lm(), ids=torch.tensor([[1,2]])),
    'language.lowered.lower_lm': lambda: dict(q=few_lm()),
    'language.lowered.TextProof': lambda: dict(places=1, mismatches=0, unequal=0, trained=0),
    'language.lowered.prove_lm': lambda: dict(q=few_lm(), program=tiny_program(), x=torch.tensor([[1,2]]), most=10),
    'language.lessons.Passages': lambda: dict(x=torch.zeros(2, 3, dtype=torch.int32), y=torch.zeros(2, 3, dtype=torch.int32), in_shape=None, classes=None, scale=None, name='a', sizes=torch.ones(9)),
    'language.lessons.passages_of': lambda: dict(ids=np.arange(9), length=2, sizes=torch.ones(9), name='a'),
    'language.lessons.TextConfig': lambda: dict(hidden=8, heads=2, layers=1),
    'language.lessons.TextConfig.check_input': lambda: dict(self=TextConfig()),
    'language.lessons.go_on_learning': lambda: dict(run='no such folder', progress=print),
    'language.lessons.learn_text': lambda: dict(cfg=TextConfig(data='text:no such file'), out='runs', progress=print),
}

CALLS |= { # answers, rules and records
    'memory.answer.asked_words': lambda: dict(question='Which key is kept?'),
    'memory.answer.Claim': lambda: dict(text='a', id='s1', start=0, end=1, file='f', lines=[1,1], span=None),
    'memory.answer.Answered': lambda: dict(question='a', text='', claims=(), retrieved=None),
    'memory.answer.Answered.said': lambda: dict(self=answered()),
    'memory.answer.answer_from': lambda: dict(retrieved=got(), most=1, words=fit_words(SAID)),
    'memory.rules.Flag': lambda: dict(rule='cited', start=0, end=1, found='a', said='b'),
    'memory.rules.Flag.place': lambda: dict(self=Flag('cited', 0, 1, 'a', 'b'), text='a'),
    'memory.rules.token_f1': lambda: dict(a='a key', b='a lock'),
    'memory.rules.question_parts': lambda: dict(question='Which key is kept, and what is a file?'),
    'memory.rules.check_answer': lambda: dict(text='A key might be kept.', question='a', retrieved=got(), again='a', record=record(), signers='signing'),
    'memory.signed.signing_folder': lambda: dict(),
    'memory.signed.Key': lambda: dict(seed=bytes(32)),
    'memory.signed.Key.sign': lambda: dict(self=Key(bytes(32)), data=b'a'),
    'memory.signed.known_signers': lambda: dict(folder='signing'),
    'memory.signed.own_key': lambda: dict(folder='signing'),
    'memory.signed.sign': lambda: dict(answered=answered(), key=Key(bytes(32)), parameters={}, when='2024'),
    'memory.signed.signed_bytes': lambda: dict(record=record()),
    'memory.signed.Verified': lambda: dict(record={}, signer='a', name='', time=''),
    'memory.signed.Verified.said': lambda: dict(self=verify_signed(record(), 'signing')),
    'memory.signed.verify_signed': lambda: dict(record=record(), folder='signing'),
    'memory.signed.log_signed': lambda: dict(record=record(), folder='signing'),
    'memory.signed.check_logged': lambda: dict(record=record(), folder='no such folder'),
}


def new_loop(): return Loop(new_store(), lambda texts: np.ones((len(texts),3)), str.upper)


CALLS |= { # names, bytes and answers
    'memory.blocks.open_store': lambda: dict(path='no such folder/store', dims=3, identity='a'),
    'memory.blocks.Matches': lambda: dict(names=['a'], payloads=[b'x'], scores=np.ones(1), proof=None),
    'memory.blocks.Store': lambda: dict(path=Path('s'), rows=new_store()._rows, how={}),
    'memory.blocks.Store.add': lambda: dict(self=new_store(), names=['c'], payloads=[b'x'], x=np.ones((1,3)), replace=False),
    'memory.blocks.Store.remove': lambda: dict(self=new_store(), names=['a']),
    'memory.blocks.Store.names': lambda: dict(self=new_store(), first='a', end='b'),
    'memory.blocks.Store.search': lambda: dict(self=new_store(), q=np.ones(3), k=1),
    'memory.blocks.Store.keep': lambda: dict(self=new_store()),
    'memory.blocks.Store.pack': lambda: dict(self=new_store()),
    'memory.blocks.Store.close': lambda: dict(self=new_store()),
    'memory.loop.Gate': lambda: dict(base=.6, sensitivity=.3, least=10),
    'memory.loop.Gate.bar': lambda: dict(self=Gate(), arousal=.5),
    'memory.loop.Gate.score': lambda: dict(self=Gate(lead=1.), first=np.ones(2), second=np.zeros(2)),
    'memory.loop.Gate.passes': lambda: dict(self=Gate(), question='what is open?', score=.5, arousal=.5),
    'memory.loop.fit_gate': lambda: dict(scores=np.linspace(0, 1, 20), right=np.arange(20)>9, precision=.6, lead=0.),
    'memory.loop.judge_bar': lambda: dict(bar=.5, scores=np.linspace(0, 1, 4), right=np.arange(4)>2, known=np.arange(4)>1),
    'memory.loop.Judged': lambda: dict(precision=1., recall=1., miss_precision=1., miss_recall=1., questions=1),
    'memory.loop.Reply': lambda: dict(answer=b'x', hit=True, score=1., bar=.6, name='a'),
    'memory.loop.Loop': lambda: dict(store=new_store(), embed=str.upper, tool=str.upper, gate=Gate()),
    'memory.loop.Loop.__call__': lambda: dict(self=new_loop(), question='what is open?', arousal=.5),
}


def wave(): return Field(Torus((4,)), np.ones(4, complex), np.zeros(4, complex), np.float32(0), np.float32(0), np.zeros((0,4)))
def nine(): return Levels(.25)


CALLS |= { # waves in few levels
    'waves.mix.add_waves': lambda: dict(a=np.ones(2), b=np.ones(2), D=1, overflow='wrap'),
    'waves.mix.add_waves_carry': lambda: dict(a=np.ones(2), b=np.ones(2), D=1),
    'waves.mix.heterodyne': lambda: dict(a=np.ones(2), b=np.ones(2), t=0., omega=(1.,2.), chi=.1, gain=1.),
    'waves.mix.chord': lambda: dict(nits=np.ones(2, int), t=np.arange(9.), omega=np.array([1.,2.]), phase=0.),
    'waves.mix.hear_chord': lambda: dict(c=np.ones(9), t=np.arange(9.), omega=np.array([1.,2.]), phase=0., most=100.),
    'waves.planes.digits_for': lambda: dict(x=np.arange(4)),
    'waves.planes.pack_numbers': lambda: dict(x=np.arange(4), D=1),
    'waves.planes.unpack_numbers': lambda: dict(words=np.full(1, 29524, np.uint16), D=1, shape=(4,)),
    'waves.levels.check_levels': lambda: dict(levels=nine(), dtype='complex64'),
    'waves.levels.to_levels': lambda: dict(field=wave(), levels=nine()),
    'waves.levels.digit_planes': lambda: dict(field=wave(), levels=nine()),
    'waves.levels.nit_view': lambda: dict(field=wave(), scale=1.),
    'waves.levels.propagate_levels': lambda: dict(field=wave(), steps=2, levels=nine(), medium=Medium(), sources=None, dt=.1, threads=1),
    'waves.levels.save_levels': lambda: dict(path='x', field=wave(), levels=nine()),
    'waves.levels.load_levels': lambda: dict(path='no such file'),
    'waves.whole.check_whole': lambda: dict(whole=to_whole(wave(), .1)),
    'waves.whole.to_whole': lambda: dict(field=wave(), unit=.1, medium=Medium(), dt=.1, guard=8, top=40, overflow='wrap'),
    'waves.whole.from_whole': lambda: dict(whole=to_whole(wave(), .1), like=wave()),
    'waves.whole.whole_loop': lambda: dict(whole=to_whole(wave(), .1), steps=2, sources=None),
    'waves.whole.whole_bound': lambda: dict(whole=to_whole(wave(), .1), steps=2, sources=None),
    'waves.whole.propagate_whole': lambda: dict(whole=to_whole(wave(), .1), steps=2, sources=None, threads=1),
    'waves.whole.save_whole': lambda: dict(path='x', whole=to_whole(wave(), .1)),
    'waves.whole.load_whole': lambda: dict(path='no such file'),
}

def small_cost(): return cost_of(small_program(), np.ones((1,3)))
def spiking_cost(): return cost_of(replace(small_program(), in_max=1), np.ones((1,3)))
def little_samples(n): return Samples(x(n,3), i64(n)%2, (1,1,3), 2, 1., 'little')
def little_split(): return Split(little_samples(8), little_samples(4), 'little')
def i64(n): return torch.arange(n)


CALLS |= { # what it costs
    'export.parts.graph.NirNode': lambda: dict(kind='Input', values=dict(shape=np.array([2])), metadata={}),
    'export.parts.graph.NirGraph': lambda: dict(nodes=nir_graph().nodes, edges=nir_graph().edges, metadata={}),
    'export.parts.graph.NirGraph.sources': lambda: dict(self=nir_graph(), name='input'),
    'export.parts.graph.NirGraph.only': lambda: dict(self=nir_graph(), kind='Input'),
    'export.parts.graph.NirGraph.save': lambda: dict(self=nir_graph(), path='x.nir'),
    'export.parts.graph.nir_bytes': lambda: dict(graph=nir_graph()),
    'export.parts.graph.read_nir': lambda: dict(path=nir_path()),
    'export.parts.rules.Rules': lambda: vars(Rules()).copy(),
    'export.parts.simulators.simulator_version': lambda: dict(tool='norse'),
    'export.parts.simulators.run_elsewhere': lambda: dict(tool='spikingjelly', path=nir_path(), x=np.ones((2,1,3)), names=['lif0'], dt=1e-4, dtype='float64'),
    'export.graphs.NirState': lambda: dict(own={}, back={}),
    'export.graphs.NirRun': lambda: dict(graph=nir_graph(), rules='nir'),
    'export.graphs.NirRun.record': lambda: dict(self=NirRun(nir_graph()), x=np.ones((2,1,3)), steps=2, state=None),
    'export.graphs.NirRun.__call__': lambda: dict(self=NirRun(nir_graph()), x=np.ones((2,1,3)), steps=2, state=None),
    'export.networks_from_nir.network_from_nir': lambda: dict(graph=nir_graph(), rules='nir', steps=5),
    'export.nir.NirFile': lambda: dict(name='net', graph=nir_graph(), profile='portable', dt=1e-4),
    'export.nir.NirFile.save': lambda: dict(self=to_nir(zero_program()), folder='x'),
    'export.nir.NirProof': lambda: dict(zip('target tools samples steps spikes fired fnv mismatches first'.split(), EXPORTED), rounded=0, near=0, decisions=0, apart={}, ties={}, refused={}),
    'export.nir.to_nir': lambda: dict(net=zero_program(), name='net', title='', profile='portable', dt=1e-4),
    'export.nir.from_nir': lambda: dict(path=nir_path()),
    'export.nir.prove_nir': lambda: dict(net=zero_program(), file=to_nir(zero_program()), x=np.ones((1,3)), tools=()),
    'export.cost.fan_out': lambda: dict(weight=np.ones((2,3), np.int8), conv=(), shape=(3,)),
    'export.cost.synops': lambda: dict(codes=np.ones((4,3), np.int8), fan=np.ones(3, np.int64)),
    'export.cost.LayerCost': lambda: vars(small_cost().layers[0]).copy(),
    'export.cost.Cost': lambda: vars(small_cost()).copy(),
    'export.cost.Cost.mean': lambda: dict(self=small_cost(), what='dense'),
    'export.cost.Cost.table': lambda: dict(self=small_cost()),
    'export.cost.cost_of': lambda: dict(net=small_program(), x=np.ones((1,3)), records=None, codes=False),
    'export.cost.plot_cost': lambda: dict(cost=small_cost()),
    'export.cost.bytes_of': lambda: dict(net=small_program()),
    'export.targets.Need': lambda: dict(found=3, layer=0),
    'export.targets.needs_of': lambda: dict(net=small_program()),
    'export.targets.Source': lambda: dict(title='x', url='https://example.com', says='y'),
    'export.targets.Limit': lambda: dict(item='neurons', most=3, source=0, otherwise=''),
    'export.targets.Target': lambda: {k:getattr(TARGETS[0], k) for k in ('name','sources','limits','unknown','differs')},
    'export.targets.Compared': lambda: vars(targets_of(small_program())[0].compared[0]).copy(),
    'export.targets.Fit': lambda: dict(target=TARGETS[0], compared=()),
    'export.targets.targets_of': lambda: dict(net=small_program(), targets=TARGETS),
    'export.card.in_span': lambda: dict(text='x', most=9),
    'export.card.is_number': lambda: dict(v=1.),
    'export.card.mermaid': lambda: dict(net=small_program(), names=['fc']),
    'export.card.shared_settings': lambda: dict(config=dict(data='digits')),
    'export.card.model_card': lambda: dict(net=small_program(), title='x', result=dict(samples=3), config=dict(data='digits')),
    'export.hub.HubFolder': lambda: dict(name='x', card='', config={}, model=b''),
    'export.hub.HubFolder.save': lambda: dict(self=to_hub(small_program()), folder='x'),
    'export.hub.to_hub': lambda: dict(net=small_program(), title='x', result=dict(samples=3), config=dict(data='digits')),
    'export.hub.from_hub': lambda: dict(folder='no such folder'),
    'export.hub.prove_hub': lambda: dict(net=small_program(), folder=to_hub(small_program()), x=np.ones((1,3))),
    'export.energy.EnergyModel': lambda: vars(HOROWITZ).copy(),
    'export.energy.EnergyModel.bit': lambda: dict(self=HOROWITZ, size=9),
    'export.energy.Energy': lambda: dict(operations=1., memory=1., spikes=1.),
    'export.energy.energy_of': lambda: dict(cost=small_cost(), model=HOROWITZ),
    'export.energy.dense_energy': lambda: dict(widths=(3,2), bits=8, model=HOROWITZ),
    'export.energy.break_even': lambda: dict(cost=spiking_cost(), other=1., model=HOROWITZ),
    'train.counterpart.Counterpart': lambda: dict(widths=(3,2,2), accuracy=.5, float_accuracy=.5, effective=4., wanted=.5, samples=4),
    'train.counterpart.counterpart': lambda: dict(split=little_split(), wanted=.5, cfg=Config(hidden=2, epochs=1, qat_epochs=0)),
}

MOST_OPEN = 346 # may only fall
OPEN = '''
checks.CheckError checks.fail checks.typed cli.main cli.options cli.with_options data.idx.Found data.idx.fetch_mnist data.samples.DataSet
files.Lock files.parse_json files.parse_toml inspect.figures.plot_curve inspect.grid_fit.GridFit inspect.membrane_inspector.MembraneInspector
inspect.membrane_inspector.MembraneInspector.chosen inspect.membrane_inspector.MembraneInspector.close
inspect.membrane_inspector.MembraneInspector.draw inspect.membrane_inspector.MembraneInspector.paint
inspect.membrane_inspector.MembraneInspector.paint_all inspect.membrane_inspector.MembraneInspector.record
inspect.membrane_inspector.MembraneInspector.say
inspect.membrane_inspector.MembraneInspector.traces inspect.membrane_traces.detail_words inspect.membrane_traces.levels_of
inspect.membrane_inspector.membrane_controls inspect.membrane_traces.plot_details inspect.membrane_traces.Trace inspect.membrane_traces.plot_traces
inspect.nonary_explorer.NonaryExplorer inspect.nonary_explorer.NonaryExplorer.paint inspect.nonary_explorer.NonaryExplorer.say
inspect.nonary_explorer.NonaryExplorer.total inspect.observer_inspector.ObserverInspector inspect.observer_inspector.ObserverInspector.close
inspect.observer_inspector.ObserverInspector.draw inspect.observer_inspector.ObserverInspector.history
inspect.observer_inspector.ObserverInspector.paint inspect.observer_inspector.ObserverInspector.say inspect.observer_inspector.ObserverInspector.seen
inspect.observer_inspector.ObserverInspector.update inspect.observer_inspector.ObserverInspector.wanted inspect.observer_inspector.ScaleRule
inspect.observer_inspector.Seen inspect.observer_inspector.look_at inspect.observer_inspector.own_choice inspect.raster_canvas.RasterCanvas
inspect.raster_canvas.RasterCanvas.show inspect.recordings.MembraneLevels inspect.recordings.Recording inspect.recordings.membrane_levels
inspect.report.write_report inspect.run_compare.RunCompare inspect.run_compare.RunCompare.chosen inspect.run_compare.RunCompare.paint
inspect.run_compare.RunCompare.say inspect.run_compare.SizeTree inspect.run_compare.SizeTree.chosen inspect.run_compare.SizeTree.paint
inspect.run_compare.SizeTree.say inspect.run_compare.plot_run_curves inspect.run_compare.plot_runs inspect.run_compare.plot_size_tree
inspect.run_compare.plot_sizes inspect.sections.Section inspect.sections.section inspect.sections.sensitivity_section inspect.sections.size_section
inspect.spike_explorer.SpikeExplorer inspect.spike_explorer.SpikeExplorer.paint inspect.spike_explorer.SpikeExplorer.say
inspect.spike_explorer.SpikeExplorer.spikes inspect.spike_explorer.SurrogateExplorer inspect.spike_explorer.SurrogateExplorer.paint
inspect.spike_explorer.SurrogateExplorer.say inspect.spike_explorer.SurrogateExplorer.trace inspect.spike_film.Stage inspect.spike_film.Stage.moment
inspect.spike_film.film inspect.spike_film.follow inspect.whatif.WhatIf inspect.whatif.changed_policy inspect.whatif.plot_what_if
inspect.whatif.policy_in inspect.whatif.policy_words inspect.whatif.what_if inspect.widget.Inspector inspect.widget.Inspector.close
inspect.widget.Inspector.draw inspect.widget.Inspector.paint inspect.widget.Inspector.say inspect.widget.Inspector.to_html paper.add_legend
paper.bare_axes paper.canvas_png paper.draw_png paper.ink paper.is_dark paper.label_axes paper.new_axes paper.png paper.second_axis paper.style_axes
paper.whole_ticks quant.advice.Reason quant.advice.Recommendation quant.counts.Comparison quant.counts.LayerProof
quant.drift.Change quant.drift.Scales quant.drift.Sums quant.drift.Sums.add quant.drift.scales_of quant.drift.states_at_ends
quant.drift.weight_saturation quant.fake.Observed quant.fake.stand_for quant.folding.fold_linear quant.folding.pooling
quant.histograms.Histogram quant.histograms.Histogram.edges quant.histograms.Histogram.magnitudes quant.histograms.Histogram.merge
quant.histograms.Magnitudes quant.histograms.Percentile quant.histograms.Percentile.edges quant.histograms.entropy_range quant.histograms.mse_range
quant.histograms.percentile_range quant.layer.QuantLayer quant.layer.QuantLayer.codes quant.layer.QuantLayer.forward quant.layer.QuantLayer.freeze
quant.layer.Ran quant.layer.codes quant.layer.final_codes quant.layer.freeze quant.layer.present_codes quant.layer.prove
quant.layer.returning quant.layer.run quant.layer.stored_codes quant.layer.sums quant.layer.warn_if_coarse quant.learned.Into quant.learned.Learned quant.units.multiplier
quant.learned.Learned.extra_repr quant.learned.Learned.set_guard quant.learned.Learned.switch quant.learned.find_gain quant.learned.input_thresholds
quant.learned.place quant.level_sets.LevelTable.__call__ quant.level_sets.Levels quant.membranes.Rounding quant.network.QuantNetwork
quant.network.QuantNetwork.extra_repr quant.network.QuantNetwork.freeze quant.network.QuantNetwork.integers quant.network.QuantNetwork.materialize
quant.network.QuantNetwork.param_groups quant.network.QuantNetwork.switch quant.neurons.Coded quant.neurons.Kept quant.neurons.Real
quant.neurons.Stepped quant.neurons.keep_ints quant.neurons.keep_real quant.neurons.kept quant.neurons.level_values quant.neurons.plain_neurons
quant.neurons.requantize quant.neurons.step_neurons quant.observers.Diary quant.observers.Diary.history quant.observers.Diary.write
quant.observers.History quant.observers.MinMax.calculate_qparams quant.observers.MinMax.extra_repr quant.observers.MovingAverage.calculate_qparams
quant.observers.MovingAverage.extra_repr quant.observers.PerStep.calculate_qparams quant.observers.PerStep.extra_repr
quant.observers.PerStep.statistics quant.observers.RankWatcher quant.observers.RankWatcher.synchronize quant.observers.RowWatcher
quant.observers.RowWatcher.grow quant.observers.RowWatcher.reset quant.observers.Statistics quant.observers.Watcher
quant.observers.Watcher.check_thawed quant.observers.Watcher.disable_observer quant.observers.Watcher.enable_observer quant.observers.Watcher.freeze
quant.policy.Membrane quant.products.convolve quant.products.geometry quant.products.pool quant.products.precise quant.products.products
quant.proof.Gate quant.proof.Proof quant.pruning.Held quant.pruning.Held.forward quant.sensitivity.Sensitivity quant.sensitivity.Trace
quant.sensitivity.allocate quant.sensitivity.check_budget quant.sensitivity.plot_sensitivity quant.state.begin quant.state.check_policy
quant.state.check_state quant.state.ended quant.state.read_policy_tensor quant.state.says quant.state.write_policy quant.weights.WeightCodes
quant.weights.WeightCodes.codes quant.weights.WeightCodes.extra_repr quant.weights.WeightCodes.forward quant.weights.WeightCodes.right_inverse
quant.weights.WeightCodes.shaped quant.weights.WeightCodes.switch quant.weights.coded runtime.decision.Decision runtime.layer.IntLayer
runtime.layer.Op runtime.layer.Record runtime.layer.longest runtime.layer.membrane_bound runtime.plan.Planned runtime.plan.hold runtime.plan.planned
runtime.plan.run_layer runtime.products.are_many runtime.products.exact_dtype runtime.products.products runtime.products.spike_products
runtime.state.State runtime.state.State.detach runtime.state.check_start runtime.state.starts runtime.store.TensorSize runtime.store.check_header
runtime.store.encoded_layers runtime.store.file_header runtime.store.layer_header runtime.store.packed runtime.store.read runtime.store.real_numbers
runtime.store.squeezed runtime.store.tensor_sizes runtime.store.write spikes.buffers.release spikes.network.Network.extra_repr spikes.network.OverTime
spikes.neuron.LIF.extra_repr spikes.neuron.LIF.record spikes.neuron.RecurrentLIF.forward spikes.neuron.RecurrentLIF.pre
spikes.neuron.RecurrentLIF.record spikes.neuron.RecurrentLIF.spikes spikes.neuron.RecurrentLIF.states spikes.neuron.check_meets
spikes.operators.Arguments spikes.operators.backward_loop spikes.operators.counts_over_time spikes.operators.forward_loop spikes.operators.op_name
spikes.operators.over_time spikes.readable.Readable spikes.readable.copied spikes.readable.fixed_pool spikes.readable.kind_of spikes.readable.plain
spikes.readable.plain_weights spikes.readable.role spikes.readable.tensors_in spikes.snntorch_neurons.check_neuron spikes.snntorch_neurons.drive
spikes.snntorch_neurons.first_line spikes.snntorch_neurons.is_neuron spikes.snntorch_neurons.is_theirs spikes.snntorch_neurons.leaks
spikes.snntorch_neurons.learns spikes.snntorch_neurons.read_neuron spikes.snntorch_neurons.read_reset spikes.snntorch_neurons.read_surrogate
spikes.snntorch_neurons.write_neuron spikes.stage.Stage spikes.stage.single spikes.surrogate.no_second spikes.surrogate.plain_tensors
spikes.synaptic.RecurrentSynaptic.extra_repr spikes.synaptic.Synaptic.extra_repr spikes.tracing.Made spikes.tracing.Watch
spikes.tracing.Watch.entering spikes.tracing.Watch.leaving spikes.tracing.Watch.note spikes.tracing.Watch.of spikes.tracing.Watch.write
spikes.tracing.Way spikes.tracing.rows spikes.tracing.watching spikes.tracing.way tables.Row tables.html_table tables.measured_on
tables.table tables.verdict train.config.check_together train.config.checked train.config.setting train.config.settings_of train.config.told
train.fit.load_optimizer train.fit.optimizer_tensors train.fit.watching train.checkpoints.Checkpoint train.setup.build train.setup.choose_policy train.setup.few
train.job.finish train.setup.load_data train.job.prove train.setup.quantized train.setup.rehearse train.job.restored train.setup.settings train.setup.start
train.setup.test_batches train.job.train train.outcome.float_outcome train.outcome.integer_outcome train.outcome.sample_outcome train.rundir.Manifest
train.rundir.Run train.rundir.Seal train.rundir.run_sizes train.rundir.write_manifest
train.diagnosis.Alarm train.diagnosis.Alarm.finding inspect.run_compare.draw_runs
'''.split()


def resolve(name):
    at,path = quarantion,'quarantion'
    for part in name.split('.'):
        path += f'.{part}'
        try: at = importlib.import_module(path)
        except ModuleNotFoundError: at = getattr(at, part)
    return at


def public():
    "Functions and classes of the rooms, and methods of those, by name"
    out = []
    for m in pkgutil.walk_packages(quarantion.__path__, 'quarantion.'):
        room = m.name.split('.')[1]
        if room in ('kernels','bench','_modidx'): continue
        module,short = importlib.import_module(m.name),m.name.removeprefix('quarantion.')
        for n in getattr(module, '__all__', ()):
            o = getattr(module, n)
            if getattr(o, '__module__', None)!=m.name or not callable(o): continue
            out.append(f'{short}.{n}')
            if not inspect.isclass(o): continue
            own = [c for c in o.__mro__ if c.__module__==m.name] # what it inherits from private classes of its page too
            names = {k:None for c in own[:1]+[c for c in own[1:] if c.__name__[0]=='_'] for k,f in vars(c).items() if inspect.isfunction(f)}
            out += [f'{short}.{n}.{k}' for k in names if k=='__call__' or not k.startswith('_')]
    return out


def heads(): return x(2,3,4) # two heads, three places


def tiny_lm(): return KernelLM(8, 1, 2, 9, 3)
def few_lm(): return QuantLM(tiny_lm(), preset('nonary'))
def tiny_program(): return lower_lm(few_lm())


def wave_field(**kw): return new_field(Torus((4,5)), 'complex64')._replace(**kw)
def wave_table():
    t = new_sparse(Torus((4,5)))
    add_cells(t, [[0,0],[1,0]], psi=1)
    return t
def hidden_table():
    t = wave_table()
    activate(t, [[3,3]])
    return t
def wave_file(save, what):
    path = Path(tempfile.mkdtemp())/'field'
    save(path, what)
    return path
def wave_sources(): return Sources(np.array([[0,0]]), np.ones((2,1)))
def wave_traps(): return add_traps(Torus((4,5)), [[1,1]], .5)
def one_echo(): return remember(new_echo(3, 4), np.ones(3), .5)
def cell(): return np.array([[1,2]])


CALLS |= { # waves
    'waves.torus.Torus': lambda: dict(shape=(4,5)),
    'waves.torus.cell_index': lambda: dict(torus=Torus((4,5)), cells=cell()),
    'waves.torus.wrap': lambda: dict(torus=Torus((4,5)), cells=cell()),
    'waves.torus.new_field': lambda: dict(torus=Torus((4,5)), dtype='complex64', metric='full', batch=2, most=2**20),
    'waves.torus.on_diagonal': lambda: dict(axes=3),
    'waves.torus.check_field': lambda: dict(field=wave_field()),
    'waves.torus.save_field': lambda: dict(path='field', field=wave_field()),
    'waves.torus.load_field': lambda: dict(path=wave_file(save_field, wave_field())),
    'waves.law.tones': lambda: dict(torus=Torus((4,5)), cells=cell(), omega=np.array([.5]), steps=3, dt=.1, start=1),
    'waves.law.check_medium': lambda: dict(medium=Medium()),
    'waves.network.Waves': lambda: dict(torus=Torus((4,4)), cells=[[0,0]], medium=Medium(), slow=0., dt=.2, learn=(), mark=4.5),
    'waves.network.Waves.forward': lambda: dict(self=Waves(Torus((4,4)), [[0,0]]), x=torch.ones(2,1,1), state=None, steps=None),
    'waves.network.Waves.record': lambda: dict(self=Waves(Torus((4,4)), [[0,0]]), x=torch.ones(2,1,1), state=None, steps=None),
    'memory.codes.unit_rows': lambda: dict(x=np.ones((3,4)), name='x'),
    'memory.codes.new_axes': lambda: dict(x=np.eye(4), head=2, seed=0),
    'memory.codes.best_code': lambda: dict(y=np.ones(4), top=4),
    'memory.codes.encode_rows': lambda: dict(y=np.ones((3,4))/2, levels='nonary'),
    'memory.index.Index': lambda: dict(x=np.eye(4), ids=None, plan='exact'),
    'memory.index.Index.add': lambda: dict(self=Index(np.eye(4)), x=np.eye(4), ids=[7,8,9,10]),
    'memory.index.Index.search': lambda: dict(self=Index(np.eye(4)), q=np.ones((2,4)), k=2, threads=1),
    'memory.index.Index.remove': lambda: dict(self=Index(np.eye(4)), ids=[1,2]),
    'memory.index.Index.save': lambda: dict(self=Index(np.eye(4)), path='index'),
    'memory.index.load_index': lambda: dict(path='no such file'),
    'memory.resonance.signature': lambda: dict(z=np.ones((2,3)), kind='signed'),
    'memory.resonance.coherence': lambda: dict(q=np.ones(3), z=np.ones((2,3))),
    'memory.waves.Recalled': lambda: dict(payloads=['a'], places=np.zeros(1, int), heights=np.ones(1), texts=np.ones(1, int)),
    'memory.waves.WaveMemory': lambda: dict(x=np.eye(4), side=2, steps=1, seed=0),
    'memory.waves.WaveMemory.store': lambda: dict(self=WaveMemory(np.eye(4), 2), x=np.eye(4), payloads=['a','b','c','d']),
    'memory.waves.WaveMemory.heights': lambda: dict(self=WaveMemory(np.eye(4), 2), x=np.eye(4), inject=True),
    'memory.waves.WaveMemory.nits': lambda: dict(self=WaveMemory(np.eye(4), 2), x=np.eye(4)),
    'memory.waves.WaveMemory.cells': lambda: dict(self=WaveMemory(np.eye(4), 2), x=np.eye(4)),
    'memory.waves.recall': lambda: dict(memory=WaveMemory(np.eye(4), 2), x=np.eye(4), bar=.1, inject=True),
    'waves.law.step_limit': lambda: dict(field=wave_field(), medium=Medium()),
    'waves.law.wave_loop': lambda: dict(field=wave_field(), steps=2, medium=Medium(), sources=wave_sources(), dt=.1),
    'waves.law.grid_omega': lambda: dict(k=np.array([[.1,.2]]), dt=.1, speed=1.),
    'waves.energy.field_energy': lambda: dict(field=wave_field(), medium=Medium()),
    'waves.propagate.propagate_field': lambda: dict(field=wave_field(), steps=2, medium=Medium(), sources=wave_sources(), dt=.1, threads=1),
    'waves.propagate.watch': lambda: dict(field=wave_field(), steps=2, every=1, medium=Medium(), sources=wave_sources(), dt=.1, threads=1),
    'waves.sparse.new_sparse': lambda: dict(torus=Torus((4,5)), dtype='complex64', metric='full', most=2**20),
    'waves.sparse.activate': lambda: dict(table=wave_table(), cells=cell()),
    'waves.sparse.ready': lambda: dict(table=hidden_table()),
    'waves.sparse.add_cells': lambda: dict(table=new_sparse(Torus((4,5)), metric='diagonal'), cells=cell(), psi=1., velocity=np.ones(1), r=.5, s=np.ones(1), metric=np.ones((1,2))),
    'waves.sparse.find_cells': lambda: dict(table=wave_table(), cells=cell()),
    'waves.sparse.remove_cells': lambda: dict(table=wave_table(), cells=np.array([[1,0]])),
    'waves.sparse.neighbours': lambda: dict(table=wave_table(), missing='zero'),
    'waves.sparse.from_field': lambda: dict(field=wave_field(), least=0., most=2**20),
    'waves.sparse.to_field': lambda: dict(table=wave_table(), most=2**20),
    'waves.sparse.save_sparse': lambda: dict(path='table', table=wave_table()),
    'waves.sparse.load_sparse': lambda: dict(path=wave_file(save_sparse, wave_table()), most=2**20),
    'waves.rows.sparse_limit': lambda: dict(table=wave_table(), medium=Medium(), missing='zero'),
    'waves.rows.sparse_energy': lambda: dict(table=wave_table(), medium=Medium(), missing='zero'),
    'waves.rows.propagate_sparse': lambda: dict(table=wave_table(), steps=2, medium=Medium(), sources=wave_sources(), dt=.1, missing='zero', threads=1),
    'waves.traps.add_traps': lambda: dict(traps=wave_traps(), cells=cell(), importance=np.array([.5])),
    'waves.traps.fade': lambda: dict(traps=wave_traps(), trapping=Trapping()),
    'waves.traps.lifetime': lambda: dict(importance=np.array([.5]), floor=1.),
    'waves.traps.release': lambda: dict(traps=wave_traps(), cells=cell(), within=1.),
    'waves.traps.target_of': lambda: dict(traps=wave_traps(), trapping=Trapping(), cells=cell()),
    'waves.traps.toward': lambda: dict(s=np.ones(2), target=np.zeros(2), rate=.5),
    'waves.traps.slow': lambda: dict(field=wave_field(), traps=wave_traps(), trapping=Trapping()),
    'waves.traps.peaks': lambda: dict(field=wave_field(), least=.5),
    'waves.traps.bounded': lambda: dict(field=wave_field(), trapping=Trapping(boundary='clip')),
    'waves.traps.propagate_trapped': lambda: dict(field=wave_field(), traps=wave_traps(), steps=2, medium=Medium(), sources=wave_sources(), dt=.1, trapping=Trapping()),
    'waves.echo.new_echo': lambda: dict(shape=(3,), most=4, dtype='complex64'),
    'waves.echo.remember': lambda: dict(echo=one_echo(), wave=np.ones(3), weight=.5),
    'waves.echo.echo_weights': lambda: dict(echo=one_echo(), focus=.5, how=Echoing()),
    'waves.echo.echo_of': lambda: dict(echo=one_echo(), focus=.5, how=Echoing()),
    'waves.echo.mix_echo': lambda: dict(wave=np.ones(3), echo=one_echo(), focus=.5, share=.5, how=Echoing()),
}


CALLS |= { # any network in a browser
    'export.parts.header.js': lambda: {'*texts':('1+1',)},
    'export.wasm.module_text': lambda: dict(wasm=b'x'),
    'export.wasm.is_present': lambda: dict(text='x'),
    'export.wasm.build': lambda: dict(path='x.mjs'),
    'export.wasm.node_answers': lambda: dict(jobs=[('x',b'')], module=SHIPPED, timeout=9.),
    'export.wasm.prove_files': lambda: dict(paths=[], nets=[], xs=[], module=SHIPPED),
    'export.wasm.prove_wasm': lambda: dict(net=small_program(), x=np.ones((1,3)), module=SHIPPED),
}


def toy_graph(): return hypergraph([['a','b'],['b','c']])
def toy_generator(): return Generator(np.ones((3,1)), np.array([False,True,False]), np.zeros(9), ('a','b','c'))
CALLS |= { # graphs
    'graphs.curvature.pairs_of': lambda: dict(h=toy_graph()),
    'graphs.curvature.ollivier': lambda: dict(h=toy_graph(), alpha=.5, threads=2),
    'graphs.curvature.edge_curvature': lambda: dict(h=toy_graph(), curved=ollivier(toy_graph())),
    'graphs.curvature.forman': lambda: dict(h=toy_graph()),
    'graphs.ricci.ricci_flow': lambda: dict(h=toy_graph(), steps=2, rate=.5, alpha=.5),
    'graphs.ricci.flow_communities': lambda: dict(h=toy_graph(), flow=ricci_flow(toy_graph(), 1)),
    'graphs.generate.core_nodes': lambda: dict(h=toy_graph(), n=2),
    'graphs.generate.structure_attributes': lambda: dict(h=toy_graph(), k=1),
    'graphs.generate.fit_generator': lambda: dict(h=toy_graph(), attributes=np.ones((3,1)), cores=np.array([False,True,False]), ridge=.1, steps=50),
    'graphs.generate.Generator': lambda: dict(attributes=np.ones((3,1)), cores=np.array([False,True,False]), numbers=np.zeros(9), names=('a','b','c')),
    'graphs.generate.Generator.log_likelihood': lambda: dict(self=toy_generator(), h=toy_graph()),
    'graphs.generate.Generator.sample': lambda: dict(self=toy_generator(), n=3, seed=0),
    'graphs.likeness.shape_of': lambda: dict(h=toy_graph(), attributes=np.ones((3,1))),
    'graphs.likeness.shape_gaps': lambda: dict(a=shape_of(toy_graph(), np.ones((3,1))), b=shape_of(toy_graph(), np.ones((3,1)))),
    'graphs.likeness.rewired': lambda: dict(h=toy_graph(), seed=0, times=2),
    'graphs.likeness.chung_lu': lambda: dict(h=toy_graph(), seed=0),
    'inspect.graph_tails.plot_tails': lambda: dict(rows=dict(a=np.arange(3)), x='number'),
    'graphs.spectrum.zhou_factor': lambda: dict(h=toy_graph()),
    'graphs.spectrum.spectra': lambda: dict(h=toy_graph(), k=2),
    'graphs.spectrum.decay': lambda: dict(h=toy_graph(), start=0, steps=9),
    'graphs.store.Hypergraph': lambda: dict(edge_starts=np.array([0,2]), members=np.array([0,1]), weights=np.ones(1), node_names=('a','b'), edge_names=('e',), node_kinds=('',''), edge_kinds=('',)),
    'graphs.store.Hypergraph.find': lambda: dict(self=toy_graph(), name='v:a'),
    'graphs.store.Hypergraph.name': lambda: dict(self=toy_graph(), kind='v', i=0),
    'graphs.store.Hypergraph.without': lambda: dict(self=toy_graph(), nodes=['a'], edges=[0]),
    'graphs.walk.Walk': lambda: dict(p=np.ones(3, np.float32)/3, rounds=np.ones(()), error=np.ones(()), graph=toy_graph()),
    'graphs.walk.Fired': lambda: dict(p=np.ones(3, int), flow=np.ones(2, int), rounds=np.ones(()), left=np.zeros(5, int)),
    'graphs.walk.flow_of': lambda: dict(h=toy_graph(), p=np.ones(3)),
    'graphs.store.components': lambda: dict(h=toy_graph()),
    'graphs.store.save_hypergraph': lambda: dict(path='h', h=toy_graph()),
    'graphs.store.load_hypergraph': lambda: dict(path='no such file'),
    **{f'graphs.exchange.to_{k}': lambda: dict(h=toy_graph()) for k in ('networkx','hypernetx','xgi','pyg')},
    'graphs.exchange.from_networkx': lambda: dict(graph=to_networkx(toy_graph())),
    'graphs.exchange.from_hypernetx': lambda: dict(graph=to_hypernetx(toy_graph())),
    'graphs.exchange.from_xgi': lambda: dict(graph=to_xgi(toy_graph())),
    'graphs.exchange.from_pyg': lambda: dict(data=to_pyg(toy_graph())),
    'graphs.exchange.write_hif': lambda: dict(path='h.json', h=toy_graph()),
    'graphs.exchange.read_hif': lambda: dict(path='no such file'),
    'inspect.graphs.around': lambda: dict(h=toy_graph(), name='v:a', steps=1),
    'inspect.graphs.plot_hull': lambda: dict(h=toy_graph(), seed=0),
    'inspect.graphs.plot_bipartite': lambda: dict(h=toy_graph()),
    'inspect.graphs.plot_incidence': lambda: dict(h=toy_graph()),
    'inspect.graph_flow.plot_flow': lambda: dict(h=toy_graph(), p=np.ones(3), flow=np.ones(2), nodes=3, edges=2, seed=0),
    'inspect.graph_flow.plot_rounds': lambda: dict(h=toy_graph(), start=np.ones(3), rounds=2),
    'inspect.graph_texts.to_mermaid': lambda: dict(h=toy_graph()),
    'inspect.graph_texts.to_tikz': lambda: dict(h=toy_graph(), seed=0),
    'inspect.graph_texts.to_svg': lambda: dict(h=toy_graph(), seed=0),
    'graphs.walk.smoothing': lambda: dict(h=toy_graph()),
    'graphs.walk.dense_walk': lambda: dict(h=toy_graph(), restart=np.ones(3), alpha=.5),
    'graphs.walk.walk': lambda: dict(h=toy_graph(), restart=np.ones(3), alpha=.5, error=1e-3, threads=1, gradients=True),
    'graphs.walk.fire': lambda: dict(h=toy_graph(), restart=np.array([10**6,0,0]), alpha=.5, error=1e-3, threads=1),
    'graphs.walk.raster': lambda: dict(h=toy_graph(), restart=np.array([10**6,0,0]), alpha=.5, error=1e-3, threads=1),
    'graphs.layers.Incidence': lambda: dict(h=toy_graph(), dtype=torch.float32),
    'graphs.layers.Incidence.to_edges': lambda: dict(self=Incidence(toy_graph()), x=x(3,2)),
    'graphs.layers.Incidence.mix': lambda: dict(self=Incidence(toy_graph()), x=x(3,2)),
    'graphs.layers.HypergraphConv': lambda: dict(n_in=2, n_out=3, act=torch.relu, bias=True),
    'graphs.layers.HypergraphConv.forward': lambda: dict(self=HypergraphConv(2, 3), x=x(3,2), on=Incidence(toy_graph())),
    'graphs.layers.HypergraphAttention': lambda: dict(n_in=2, n_out=3, act=torch.relu, bias=True),
    'graphs.layers.HypergraphAttention.forward': lambda: dict(self=HypergraphAttention(2, 3), x=x(3,2), on=Incidence(toy_graph())),
    'graphs.layers.HypergraphAttention.shares': lambda: dict(self=HypergraphAttention(2, 3), x=x(3,2), on=Incidence(toy_graph())),
    'graphs.store.hypergraph': lambda: dict(edges=dict(e=['a','b']), nodes=['a'], weights=dict(e=2.), edge_kinds=['x'], node_kinds=dict(a='y')),
}


def few_waves(): return run_emitters((4,4), 16, 2)


CALLS |= { # waves, looked at
    'paper.map_colours': lambda: dict(name='twilight', n=4),
    'inspect.waves.plot_field': lambda: dict(psi=a(4,4), show='both', s=a(4,4), top=1.),
    'inspect.waves.plot_energy': lambda: dict(times=a(3), energy=a(3)+1, labels=['a'], change=True),
    'inspect.waves.measure_omega': lambda: dict(psi=a(16,4)**2, dt=.1, along='axis'),
    'inspect.waves.plot_dispersion': lambda: dict(psi=a(16,4)**2, dt=.1, every=1, speed=1., along='axis'),
    'inspect.waves.plot_locality': lambda: dict(gaps=dict(a=np.ones(3))),
    'inspect.parts.wave_law.check_levels': lambda: dict(levels=9),
    'inspect.parts.wave_law.on_levels': lambda: dict(psi=np.ones((2,2), np.complex64), levels=9, top=1.),
    'inspect.parts.wave_law.run_on_levels': lambda: dict(field=new_field(Torus((4,4))), steps=2, dt=.1, levels=9, top=1., threads=1),
    'inspect.parts.wave_law.disc': lambda: dict(shape=(4,4), cell=(1,1), radius=2.),
    'inspect.parts.wave_law.pulse': lambda: dict(shape=(4,4), cell=(1,1), width=2., size=1.),
    'inspect.wave_film.emitter_tones': lambda: dict(n=3),
    'inspect.wave_film.run_emitters': lambda: dict(shape=(4,4), steps=16, emitters=2, damping=.1, levels=3, seed=1),
    'inspect.wave_film.spectrum_of': lambda: dict(run=few_waves()),
    'inspect.wave_film.hear': lambda: dict(run=few_waves()),
    'inspect.wave_film.plot_run': lambda: dict(run=few_waves()),
    'inspect.wave_film.gif_of': lambda: dict(pixels=np.zeros((2,4,4), np.uint8), ms=40),
    'inspect.wave_film.mp4_of': lambda: dict(pixels=np.zeros((2,4,4), np.uint8), ms=40),
    'inspect.wave_film.film_of': lambda: dict(run=few_waves()),
    'inspect.wave_film.write_waves': lambda: dict(run=few_waves(), folder='few'),
    'inspect.wave_film.waves_told': lambda: dict(run=few_waves()),
    'inspect.wave_inspector.WaveInspector': lambda: dict(field=new_field(Torus((4,4))), shape=(4,4), dt=.1),
    'inspect.wave_inspector.WaveInspector.run': lambda: dict(self=WaveInspector(shape=(4,4)), steps=2),
    'inspect.wave_inspector.WaveInspector.drop': lambda: dict(self=WaveInspector(shape=(4,4)), cell=(1,1), width=1., size=1.),
    'inspect.wave_inspector.WaveInspector.slow_down': lambda: dict(self=WaveInspector(shape=(4,4)), cell=(1,1), radius=1., s=1.),
    'inspect.wave_inspector.WaveInspector.say': lambda: dict(self=WaveInspector(shape=(4,4))),
    'inspect.wave_inspector.WaveInspector.alone': lambda: dict(self=WaveInspector(shape=(4,4))),
    'inspect.wave_inspector.WaveInspector.to_html': lambda: dict(self=WaveInspector(shape=(4,4))),
    'inspect.wave_inspector.WaveInspector.close': lambda: dict(self=WaveInspector(shape=(4,4))),
    'inspect.nearest.Seen': lambda: see_bounds(Index(np.eye(4)), np.ones(4), 2)._asdict(),
    'inspect.nearest.see_bounds': lambda: dict(ix=Index(np.eye(4)), q=np.ones(4), k=2),
    'inspect.nearest.plot_proof': lambda: dict(ix=Index(np.eye(4)), q=np.ones(4), k=2),
    'inspect.nearest.plot_frontier': lambda: dict(rows=[dict(name='a', recall=.5, qps=10., bytes=8)], k=10),
    'inspect.growing.Grown': lambda: Grown()._asdict(),
    'inspect.growing.read_grown': lambda: dict(path='no such file', last=Grown()),
    'inspect.health.Scale': lambda: dict(said='x', low=0., high=1., log=False),
    'inspect.health.Traced': lambda: traced(health(), 'rate')._asdict(),
    'inspect.health.Marks': lambda: Marks()._asdict(),
    'inspect.health.health_lines': lambda: dict(metrics=health(), where='x'),
    'inspect.health.traced': lambda: dict(lines=health(), name='rate'),
    'inspect.health.marks_of': lambda: dict(lines=health(), done=[], rows=['a']),
    'inspect.health.plot_health': lambda: dict(values=np.ones((1,2)), rows=['a'], known=np.ones((1,2)), scale=Scale('x'), marks=Marks()),
    'inspect.health.plot_signal': lambda: dict(values=np.ones((1,2)), row=0, known=np.ones((1,2)), scale=Scale('x'), marks=Marks(), limits=((.5,'x'),), at=0),
    'inspect.health_words.HealthSaid': lambda: dict(epochs=0, layers=[], alarms=[], done=[], lines=[]),
    'inspect.health_words.health_said': lambda: dict(run='no such folder'),
    'inspect.regimes.plot_regime': lambda: dict(phi=[.1,.5,.9], n=9, dim=4, loss=[1.,2.,3.], done=[(1,'a')], causes=causes_of()),
    'inspect.health_limits.alarm_limits': lambda: dict(causes=causes_of()),
    'inspect.health_canvas.HealthCanvas': dict,
    'inspect.health_canvas.HealthCanvas.show': lambda: dict(self=HealthCanvas(), traced=traced(health(), 'rate'), scale=Scale('x'), marks=Marks(), dark=False),
    'inspect.health_inspector.HealthInspector': lambda: dict(source=health(), limits=dict(rate=[(.5,'x')]), every=0.),
    'inspect.health_inspector.HealthInspector.refresh': lambda: dict(self=HealthInspector(health())),
    'inspect.health_inspector.HealthInspector.chosen': lambda: dict(self=HealthInspector(health())),
    'inspect.health_inspector.HealthInspector.say': lambda: dict(self=HealthInspector(health())),
    'inspect.health_inspector.HealthInspector.paint': lambda: dict(self=HealthInspector(health()), fig=quarantion.paper.new_axes().figure),
    'inspect.health_inspector.HealthInspector.draw': lambda: dict(self=HealthInspector(health())),
    'inspect.health_inspector.HealthInspector.close': lambda: dict(self=HealthInspector(health())),
    'inspect.search_explorer.Shown': lambda: see_answer(Index(np.eye(4)), np.ones(4), 2)._asdict(),
    'inspect.search_explorer.see_answer': lambda: dict(ix=Index(np.eye(4)), q=np.ones(4), k=2, bits='first digits'),
    'inspect.search_explorer.SearchExplorer': lambda: dict(source=Index(np.eye(4)), texts=['a','b','c','d'], embedder=len),
    'inspect.ask_explorer.Moved': lambda: see_moves(tiny_retriever(), 'file', 1)._asdict(),
    'inspect.ask_explorer.see_moves': lambda: dict(r=tiny_retriever(), question='file', k=1, how=How()),
    'inspect.ask_explorer.plot_moves': lambda: dict(moved=see_moves(tiny_retriever(), 'file', 1)),
    'inspect.ask_explorer.AskExplorer': lambda: dict(retriever=tiny_retriever(), question='file', how=How()),
    'inspect.ask_explorer.AskExplorer.remove': lambda: dict(self=AskExplorer(tiny_retriever()), name=tiny_retriever().linked.graph.name('v', 0)),
    'inspect.ask_explorer.AskExplorer.restore': lambda: dict(self=AskExplorer(tiny_retriever())),
    'inspect.ask_explorer.AskExplorer.answer': lambda: dict(self=AskExplorer(tiny_retriever())),
    'inspect.ask_explorer.AskExplorer.say': lambda: dict(self=AskExplorer(tiny_retriever())),
    'inspect.ask_explorer.AskExplorer.draw': lambda: dict(self=AskExplorer(tiny_retriever())),
    'inspect.ask_explorer.AskExplorer.paint': lambda: dict(self=AskExplorer(tiny_retriever()), fig=quarantion.paper.new_axes().figure),
    'inspect.search_explorer.SearchExplorer.asked': lambda: dict(self=SearchExplorer(Index(np.eye(4)))),
    'inspect.search_explorer.SearchExplorer.answer': lambda: dict(self=SearchExplorer(Index(np.eye(4)))),
    'inspect.search_explorer.SearchExplorer.say': lambda: dict(self=SearchExplorer(Index(np.eye(4)))),
    'inspect.search_explorer.SearchExplorer.draw': lambda: dict(self=SearchExplorer(Index(np.eye(4)))),
    'inspect.search_explorer.SearchExplorer.paint': lambda: dict(self=SearchExplorer(Index(np.eye(4))), fig=quarantion.paper.new_axes().figure),
}


def bad(v):
    "Wrong values in the place of a right one, by what is wrong with them"
    if isinstance(v, torch.Tensor): t = v
    elif isinstance(v, np.ndarray) and v.dtype.kind in 'fiub': t = torch.as_tensor(v.astype(np.int64) if v.dtype.kind=='u' else v)
    elif isinstance(v, np.ndarray) and not v.dtype.names: t = torch.as_tensor(v)
    else: t = None
    yield 'None',None
    yield 'text','text'
    if t is None:
        if isinstance(v, bool) or not isinstance(v, (int,float)): return
        yield from dict(complex=1j, nan=float('nan'), large=10**400, negative=-1, empty=torch.zeros(0), meta=torch.zeros((), device='meta'), bool=True, half=torch.tensor(1).half()).items()
        return
    to = (lambda z: z) if isinstance(v, torch.Tensor) else lambda z: z.numpy()
    yield 'rank',to(t.reshape(*[1]*5, *t.shape))
    yield 'scalar',to(t.flatten()[0])
    yield 'bf16',t.bfloat16() if not t.is_complex() else t
    yield 'half',to(t.half() if not t.is_complex() else t)
    yield 'bool',to(t!=0)
    yield 'complex',to(t.to(torch.complex64))
    yield 'nan',to(t.to(torch.complex64 if t.is_complex() else torch.float32)*torch.nan)
    yield 'empty',to(t.new_zeros(0))
    yield 'meta',t.to('meta')


def call(name, kw):
    "What a function returns, a generator and a context to their end"
    f,kw = resolve(name),dict(kw)
    many = [v for k in list(kw) if k.startswith('*') for v in kw.pop(k)]
    first = [kw.pop(k) for k in list(kw) if k=='self' or k=='layer' and many]
    out = f(*first, *many, **kw)
    if inspect.isgenerator(out): return list(out)
    if not hasattr(out, '__enter__') or isinstance(out, torch.Tensor): return out
    with out as got: return got


def numbers(out):
    "All numbers in a result that is made of tensors and arrays alone, in one tensor; none of another result"
    if isinstance(out, torch.Tensor): return [out.detach().double().flatten()] if not out.is_complex() else []
    if isinstance(out, np.ndarray): return [torch.as_tensor(out.astype(float)).flatten()] if out.dtype.kind in 'fiub' else []
    return [t for o in out for t in numbers(o)] if type(out) in (tuple,list) else []


def check_right(name, k, kind, kw, out):
    "Of a short float, what comes out is what its value in float32 gives, within the rounding of the short one"
    if kind not in ('bf16','half') or name in SHORT: return
    long = lambda v: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype==np.float16 else v.float() if isinstance(v, torch.Tensor) else v
    try: want = call(name, kw | {k:long(kw[k])})
    except CheckError: return
    for a,b in zip(numbers(out), numbers(want), strict=True):
        assert a.shape==b.shape and torch.allclose(a, b, rtol=.05, atol=.05, equal_nan=True), f'{name}: {k} in {kind} gives another answer'


SHORT = 'spikes.neuron.LIF.pre','spikes.neuron.LIF.spikes','spikes.neuron.LIF.forward' # whether they fire is decided in the dtype of x

TAKES = ''' # what may be `None`, words or a complex number, beside a default; a record is checked by what uses it
language.route.Load:even language.route.Load:busiest language.route.Load:idle
spikes.neuron.Gradient:surrogate spikes.neuron.Gradient:slope spikes.neuron.Gradient:save
spikes.neuron.lif_arguments:mem spikes.neuron.lif_arguments:steps spikes.neuron.lif_pre:mem spikes.neuron.lif_pre:steps
runtime.layer.is_whole:v runtime.layer.is_op:o runtime.layer.is_conv:c runtime.network.IntegerNetwork.decide:spk
train.config.words:v train.config.config_from:path train.config.NetworkSettings:learn train.config.Config:learn files.hash_json:x tables.measured:name tables.measured_parts:name
nonary.companding.encode_complex:z nonary.companding.overflows:z
language.program.IntegerLM:sizes language.program.IntegerLM:layers language.program.IntegerLM:gains language.lowered.TextProof:places
language.lowered.TextProof:mismatches language.lowered.TextProof:unequal language.lowered.TextProof:trained
language.regime.Integration:phi language.regime.Integration:nats language.regime.Integration:raw language.regime.Integration:most
language.regime.Integration:shrinkage language.regime.Integration:n language.regime.Integration:dim
language.lessons.Passages:in_shape language.lessons.Passages:classes language.lessons.Passages:scale
data.leakage.Near:row data.leakage.Near:distance
runtime.calibration.Sketch:of runtime.calibration.Sketch:places runtime.calibration.Sketch:values
runtime.monitor.Verdict:level runtime.monitor.Verdict:samples runtime.monitor.Verdict:compliance runtime.monitor.Verdict:psi runtime.monitor.Verdict:shift runtime.monitor.Verdict:where
data.leakage.Alike:row data.leakage.Alike:correlation
data.shift.Drift:psi data.shift.Drift:ks data.shift.Drift:p
data.doubts.Neighbours:rows data.doubts.Neighbours:label data.doubts.Neighbours:distance
data.quality.Limits:near data.quality.Limits:alike data.quality.Limits:doubts data.quality.Limits:psi data.quality.Limits:p data.quality.Limits:balance data.quality.Limits:remote
data.quality.Raw:x_train data.quality.Raw:y_train data.quality.Raw:x_test data.quality.Raw:y_test data.quality.Raw:in_shape data.quality.Raw:classes data.quality.Raw:name data.quality.Raw:scale
data.quality.Part:where data.quality.Part:x data.quality.Part:y data.quality.Part:at
data.quality.Copies:same data.quality.Copies:near data.quality.Copies:alike
data.quality.Survey:findings data.quality.Survey:train data.quality.Survey:test data.quality.Survey:copies data.quality.Survey:drift data.quality.Survey:neighbours
inspect.nearest.Seen:ids inspect.nearest.Seen:at inspect.nearest.Seen:about inspect.nearest.Seen:most inspect.nearest.Seen:score inspect.nearest.Seen:found inspect.nearest.Seen:tau inspect.nearest.Seen:twice
inspect.health_words.HealthSaid:epochs inspect.health_words.HealthSaid:layers inspect.health_words.HealthSaid:alarms inspect.health_words.HealthSaid:done inspect.health_words.HealthSaid:lines inspect.growing.Grown:records inspect.growing.Grown:at inspect.growing.Grown:tail inspect.growing.Grown:file inspect.health.Scale:said inspect.health.Scale:low inspect.health.Scale:high inspect.health.Scale:log inspect.health.Traced:name inspect.health.Traced:rows inspect.health.Traced:values inspect.health.Traced:known inspect.health.Marks:alarms inspect.health.Marks:done inspect.health.Marks:borders
inspect.ask_explorer.Moved:now inspect.ask_explorer.Moved:was inspect.ask_explorer.Moved:gone inspect.ask_explorer.Moved:base inspect.search_explorer.Shown:seen inspect.search_explorer.Shown:ids inspect.search_explorer.Shown:scores inspect.search_explorer.Shown:right inspect.search_explorer.Shown:doubt inspect.search_explorer.Shown:proof
memory.words.Rows:starts memory.words.Rows:at memory.words.Rows:values memory.words.Rows:width
memory.words.Near:ids memory.words.Near:scores memory.words.Near:read
memory.shells.Covered:shells memory.shells.Covered:vectors memory.shells.Covered:of memory.shells.Covered:each
memory.parts.names.Section:title memory.parts.names.Section:first memory.parts.names.Section:last memory.parts.names.Section:text memory.parts.names.Section:defines memory.parts.names.Section:refers
geometry.ball.Embedded:points geometry.ball.Embedded:distortion geometry.ball.Embedded:losses
memory.entities.Entities:names memory.entities.Entities:kinds memory.entities.Entities:defined memory.entities.Entities:referred memory.entities.Entities:files
memory.library.Parts:words memory.library.Parts:embedder memory.library.Parts:postings memory.library.Parts:index
memory.library.Answer:score memory.library.Answer:lines memory.library.Answer:ranks
memory.library.Answers:lists memory.library.Answers:found memory.library.Answers:proof
memory.answer.Claim:start memory.answer.Claim:end memory.answer.Claim:lines memory.answer.Claim:span memory.answer.Answered:claims memory.answer.Answered:retrieved
memory.rules.Flag:start memory.rules.Flag:end memory.rules.check_answer:record memory.signed.Verified:record
memory.retrieve.How:alpha memory.retrieve.How:mix memory.retrieve.How:vectors memory.retrieve.How:sharp memory.retrieve.How:depth memory.retrieve.How:without
memory.retrieve.Passage:lines memory.retrieve.Passage:score memory.retrieve.Passage:share memory.retrieve.Passage:ranks
memory.retrieve.Why:seeds memory.retrieve.Why:edges memory.retrieve.Why:names memory.retrieve.Why:rounds memory.retrieve.Why:left memory.retrieve.Why:bound
memory.retrieve.Retrieved:passages memory.retrieve.Retrieved:why memory.retrieve.Retrieved:digests
memory.trust.Trust:agreed memory.trust.Trust:failed memory.trust.Together:passages memory.trust.Together:agreed memory.trust.Together:failed
graphs.walk.Walk:p graphs.walk.Walk:rounds graphs.walk.Walk:error graphs.walk.Fired:p graphs.walk.Fired:flow graphs.walk.Fired:rounds graphs.walk.Fired:left graphs.walk.flow_of:p
memory.linked.Linked:graph memory.linked.Linked:texts memory.linked.Linked:starts memory.linked.Linked:homes
memory.blocks.Matches:names memory.blocks.Matches:payloads memory.blocks.Matches:scores memory.blocks.Matches:proof
memory.loop.Judged:precision memory.loop.Judged:recall memory.loop.Judged:miss_precision memory.loop.Judged:miss_recall
memory.loop.Judged:questions memory.loop.Reply:answer memory.loop.Reply:score memory.loop.Reply:bar
waves.torus.load_field:path waves.sparse.load_sparse:path waves.sparse.add_cells:psi waves.sparse.add_cells:velocity waves.echo.remember:wave waves.echo.mix_echo:wave waves.traps.target_of:cells
inspect.waves.plot_field:psi inspect.waves.measure_omega:psi inspect.waves.plot_dispersion:psi inspect.parts.wave_law.on_levels:psi
export.targets.Need:found export.targets.Need:layer export.targets.Compared:found export.targets.Compared:most export.card.is_number:v
waves.mix.add_waves:a waves.mix.add_waves:b waves.mix.add_waves_carry:a waves.mix.add_waves_carry:b waves.mix.heterodyne:a waves.mix.heterodyne:b waves.mix.hear_chord:c
waves.network.Waves.forward:x waves.network.Waves.record:x
train.seen.Seen:spk train.seen.Seen:pre train.seen.LastStep:grads train.seen.LastStep:weights train.signals.Signals:layers train.signals.LayerSignals:neurons train.signals.of_json:d
memory.resonance.signature:z memory.resonance.coherence:q memory.resonance.coherence:z memory.waves.Recalled:payloads memory.waves.Recalled:places memory.waves.Recalled:heights memory.waves.Recalled:texts
'''


def may(name, k, kind, v):
    "May this argument be this?"
    if name.startswith('checks.') or kind not in ('None','text','complex') or isinstance(v, (str,bool)) or f'{name}:{k}' in TAKES or k.startswith('*'): return True
    ps = inspect.signature(resolve(name)).parameters
    return kind=='None' and k in ps and ps[k].default is None


def outcomes(name):
    "What every wrong argument of a function leads to, where it is neither refused nor answered rightly"
    make = CALLS[name]
    for k,v in make().items():
        if k=='self' or name.startswith('checks.') and k!='x': continue # checks are set by programmers
        for kind,b in bad(v[0] if k.startswith('*') else v):
            kw = make() | {k:(b,) if k.startswith('*') else b}
            try:
                check_right(name, k, kind, kw, call(name, kw))
                if not may(name, k, kind, v): yield f'{name}, {k} = {kind}: is taken'
            except (CheckError,FileNotFoundError): pass
            except Exception as e: yield f'{name}, {k} = {kind}: {type(e).__name__}: {e}'


ROOMS = sorted({n.split('.')[0] for n in CALLS})


@pytest.mark.parametrize('room', ROOMS)
def test_what_is_wrong_is_refused_by_name_or_answered_rightly(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for n in CALLS:
        if n.split('.')[0]!=room: continue
        wrong += outcomes(n)
        plt.close('all')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('room', ROOMS)
def test_valid_calls_are_valid(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n,make in CALLS.items():
        if n.split('.')[0]!=room: continue
        try: call(n, make())
        except CheckError as e: assert n in NEED_MORE or 'no such' in str(make().values()), f'{n}: {e}'
    plt.close('all')


NEED_MORE = ('train.hooks.Wire.join', # several processes; tests/test_hooks.py has them
    'train.wide.sharded','train.shards.save_shards', # a process group; tests/test_shards.py has them
    'spikes.snntorch.from_snntorch','spikes.snntorch.to_snntorch', # a network of snnTorch; tests/test_snntorch.py has them
    *['inspect.wave_film.mp4_of']*(shutil.which('ffmpeg') is None))


def test_every_public_function_has_a_row_or_is_known_to_lack_one():
    names = set(public())
    assert names-set(CALLS)==set(OPEN), 'a public function without a row in `CALLS`, or one in `OPEN` that has one by now'
    assert set(CALLS)<=names
    assert len(OPEN)<=MOST_OPEN


MANY = torch.arange(1200.).view(24, 50)+.125
DUMP = re.compile(r'(tensor|array)\(\[.{80}') # the numbers of an array


@pytest.mark.parametrize('room', ROOMS)
def test_an_error_is_one_line_however_large_what_was_found(room, tmp_path, monkeypatch):
    "Tensors, arrays and lists of them in the place of every argument: none of their numbers, and at most 600 letters a fact"
    monkeypatch.chdir(tmp_path)
    wrong = []
    for name,make in CALLS.items():
        if name.split('.')[0]!=room: continue
        for k in make():
            if k=='self': continue
            for v in MANY,MANY.numpy(),[MANY,MANY]:
                try: call(name, make() | {k:(v,) if k.startswith('*') else v})
                except CheckError as e:
                    said = str(e)
                    if len(said)>900 or '\n' in said or DUMP.search(said): wrong.append(f'{name}, {k}: {said[:200]}')
                except Exception: pass # told apart above
        plt.close('all')
    assert not wrong, '\n'.join(wrong)
