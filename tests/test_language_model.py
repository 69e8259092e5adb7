"A language model: causal, counted, trained by the job, killed and gone on with, and the same in whole numbers as in training."
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import fork
from hypothesis import given, settings as how, strategies as st

from quarantion.checks import CheckError
from quarantion.files import check_audit
from quarantion.language.attention import KINDS, _attention, attend
from quarantion.language.lessons import TextConfig, bytes_of, go_on_learning, learn_text, split_of
from quarantion.language.lowered import QuantLM, exact_logits, lower_lm, prove_lm
from quarantion.language.model import KernelLM, per_token
from quarantion.language.program import exponential, load_lm, root, save_lm, token_codes, total
from quarantion.quant.policy import Policy, preset
from quarantion.train.job import restored, settings
from quarantion.train.rundir import check_manifest

TINY = dict(hidden=16, layers=1, heads=2, basin_dim=8, context=32, epochs=2, qat_epochs=2, batch=32)


@pytest.mark.parametrize('kind', KINDS)
@how(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), t=st.integers(1, 9), tau=st.floats(.05, 5))
def test_torch_attends_as_numpy(kind, seed, t, tau):
    rng = np.random.default_rng(seed)
    q,k,v = rng.normal(size=(3,2,3,t,4))
    assert np.allclose(attend(*map(torch.tensor, (q,k,v)), kind, tau), _attention(q, k, v, kind, tau), atol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_comes_from_later(kind):
    torch.manual_seed(0)
    net,ids = KernelLM(16, 2, 2, 50, 8, kind=kind),torch.randint(50, (2,12))
    other = ids.clone()
    other[:,8:] = (other[:,8:]+1)%50
    a,b = net(ids),net(other)
    assert torch.allclose(a[:,:8], b[:,:8], atol=1e-6) and not torch.allclose(a[:,8:], b[:,8:], atol=1e-3)


def test_the_default_has_as_many_parameters_as_is_said():
    net = KernelLM()
    assert sum(p.numel() for p in net.parameters())==23_107_968 and net.sizes['ffn']==864
    assert net.head.weight is dict(net.named_parameters())['head.weight'] and not any('embed' in n for n,_ in net.named_parameters())


@how(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_pieces_of_the_program_are_what_they_say(xs):
    x = np.array(xs)
    assert np.isclose(total(x), x.sum(), atol=1e-9)
    assert np.allclose(exponential(-abs(x)), np.exp(np.maximum(-abs(x), -700)), rtol=1e-14, atol=0)
    assert np.allclose(root(x*x+1e-6), np.sqrt(x*x+1e-6), rtol=1e-14)
    k,s = token_codes(x[None])
    a,b = per_token(torch.tensor(x)[None])
    assert (k==a.numpy()).all() and (s==b.numpy()).all() and abs(k).max()<=127


@pytest.mark.parametrize('levels', ['int8','nonary','ternary'])
def test_ten_thousand_next_tokens_are_the_same(levels, tmp_path):
    "Of the program as loaded from its file; and to the last bit of each logit"
    torch.manual_seed(1)
    q = QuantLM(KernelLM(24, 2, 3, 300, 8), preset(levels)) # widths that are no powers of 2
    save_lm(lower_lm(q), tmp_path/'lm')
    x = torch.randint(300, (209,48))
    proof = prove_lm(q, load_lm(tmp_path/'lm'), x)
    assert (proof.ok, proof.places, proof.mismatches, proof.unequal)==(True, 10_032, 0, 0)
    assert q.training


def test_one_code_changed_is_found(tmp_path):
    "In any layer"
    torch.manual_seed(2)
    q = QuantLM(KernelLM(16, 1, 2, 40, 8), Policy('nonary'))
    program,x = lower_lm(q),torch.randint(40, (10,16))
    assert prove_lm(q, program, x).ok
    for name,l in program.layers.items():
        w = l.weight.copy()
        w[x[0,0] if name=='head' else 0, 3] += 1 if w[0,3]<4 else -1
        save_lm(program._replace(layers=program.layers|{name:l._replace(weight=np.clip(w, -4, 4))}), tmp_path/'lm')
        assert not prove_lm(q, load_lm(tmp_path/'lm'), x).ok, name


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('name', ['blocks.0.q.parametrizations.weight.original', 'last.weight'])
def test_weights_that_are_no_numbers_have_no_program(bad, name):
    q = QuantLM(KernelLM(16, 1, 2, 11, 4), preset('nonary')).eval()
    with torch.no_grad(): q.get_parameter(name).view(-1)[3] = bad
    for f in lower_lm, lambda q: exact_logits(q, torch.zeros(1, 3, dtype=torch.int64)):
        with pytest.raises(CheckError, match=f'{name}.*expected finite numbers, found'): f(q)


def test_products_hold_where_float32_would_not():
    "Rows whose sums of products pass 2^24"
    from quarantion.language.program import IntLinear, linear
    w = np.full((2,2000), 127, np.int8)
    w[1,::2] = 126
    x = np.ones((1,2000))
    x[0,0] = .999 # a code of 127 all the same
    l = IntLinear(w, np.ones(2, np.float32), 127)
    assert (linear(x, l)==np.array([[127*127*2000,127*(127+126)*1000]])*(1/127)).all()


@pytest.mark.parametrize('phase', ['float','qat'])
def test_killed_and_gone_on_with_it_leaves_the_same_bytes(phase, tmp_path):
    "By SIGKILL, in the second epoch of a phase"
    torch.set_num_threads(1)
    (tmp_path/'text').write_bytes(bytes_of('pydoc')[:4*4096])
    cfg = TextConfig(data=f'text:{tmp_path}/text', **TINY)
    result = learn_text(cfg, tmp_path/'a')
    from quarantion.train.setup import start
    run = start(cfg, tmp_path/'b')
    def kill(now, epoch, epochs, done, total, stats):
        if (now,epoch)==(phase,1) and done>40: os.kill(os.getpid(), signal.SIGKILL)
    assert fork(lambda: go_on_learning(run, kill))==-signal.SIGKILL
    again = go_on_learning(run)
    other = Path(result['run'])
    for f in 'model.safetensors','integer.safetensors','policy.toml': assert (run/f).read_bytes()==(other/f).read_bytes(), f
    rows = [[{k:v for k,v in json.loads(l).items() if k!='time_s'} for l in (r/'metrics.jsonl').read_text().splitlines()] for r in (run,other)]
    assert rows[0]==rows[1] and [r['phase'] for r in rows[0]]==['float']*2+['qat']*2 and all(0<r['bits_per_byte']<8.5 for r in rows[0])
    own = 'run','seconds'
    assert {k:v for k,v in again.items() if k not in own}=={k:v for k,v in result.items() if k not in own}
    assert again['mismatches']==0 and not again['problems'] and not any(check_manifest(run).values())
    check_audit(run/'audit.jsonl')
    net,q = restored(run, split_of(bytes_of(cfg.data), cfg), TextConfig)
    x = split_of(bytes_of(cfg.data), cfg).x_test[:2].long()
    assert (exact_logits(q.eval(), x).numpy()[0]==load_lm(run/'integer.safetensors').logits(x[0].numpy())).all()


def test_a_run_of_texts_is_none_of_spikes(tmp_path):
    "And what it cannot have is refused"
    from quarantion.train.config import Config
    from quarantion.train.setup import start
    run = start(TextConfig(**TINY), tmp_path)
    with pytest.raises(CheckError, match='key `layers`: expected one of'): settings(run)
    assert settings(run, TextConfig)==TextConfig(**TINY)
    for bad in (dict(alpha=.1), dict(l1=.1), dict(prune=.5), dict(health='aloud'), dict(policy='mint4'), dict(data='digits'), dict(hidden=30, heads=4), dict(heads=0)):
        with pytest.raises(CheckError): replace(TextConfig(), **bad)
    assert Config().builder is None
