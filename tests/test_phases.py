"Phases of a run: what they may be, what they do to a network, and that a border is a place like any other to be killed at"
import json, math, os, subprocess, sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
import pytest
import torch
from hypothesis import given, settings as tries, strategies as st
from quarantion.checks import CheckError
from quarantion.files import parse_toml
from quarantion.quant.observers import Watcher
from quarantion.quant.policy import PRESETS, preset
from quarantion.train import job
from quarantion.train.checkpoints import restore
from quarantion.train.config import Config, config_of
from quarantion.train.job import finish, load_data, prove, rehearse, settings, start, train
from quarantion.train.phases import PHASES, Phase, check_phases, dump_phases, ended, phases_named, phases_of, planned, represented, until_of
from quarantion.train.signals import LayerSignals, Signals, as_json

pytestmark = pytest.mark.filterwarnings('ignore:.*(codes are 0|cannot reach their threshold|rounded with an error)') # they learn for a moment
SMALL,PER = dict(epochs=3, qat_epochs=4, hidden=8, steps=5, batch=256),6 # and steps of an epoch of the digits
FIRST,LAST = Phase('float', 'epochs', 'float'),Phase('qat', 'qat_epochs', lr=.25)
DRIVER = Path(__file__).with_name('kill_driver.py')


@pytest.fixture(scope='module')
def split(): return load_data(Config())


def trained(folder, split, **how):
    cfg = Config(**SMALL|how)
    rehearse(cfg, split)
    run = start(cfg, folder)
    return run,train(run, split),[json.loads(l) for l in (run/'metrics.jsonl').read_text().splitlines()]


@pytest.mark.parametrize('word,found', [('8 epochs', 'None'), ('1 epoch','None'), ('15%','None'), ('12.5 % of epochs','None'), ('loss<0.1, at most 20 epochs','loss<0.1@each epoch'),
    ('spike_rate >= 0.2 , at most qat_epochs', 'spike_rate>=0.2@each epoch'), ('dead<=0.01, at most 30 %', 'dead<=0.01@each epoch')])
def test_ends_that_can_be(word, found): assert str(until_of(word).gate)==found


@pytest.mark.parametrize('word', ['', '8', 'epoch', '0 epochs', '0 %', '101 %', '-1 epochs', '1.5 epochs', 'nan %', 'loss < 0.1', 'loss < 0.1, at most', 'loss, at most 3 epochs',
    'loss < nan, at most 3 epochs', 'fun < 1, at most 3 epochs', 'test_accuracy > 0.9, at most 3 epochs', 'lr < 1, at most 3 epochs', 'loss == 1, at most 3 epochs', '3 epochs, at most loss < 1'])
def test_ends_that_cannot_be_are_refused(word):
    with pytest.raises(CheckError, match='until'): until_of(word)


@pytest.mark.parametrize('phases,said', [
    ((), 'expected a float one first, found none'),
    ((LAST,), 'expected a float one first'),
    ((FIRST,FIRST), 'expected each name once, found float 2 times'),
    ((FIRST,Phase('a', '60 % of qat_epochs'),Phase('b', '60 % of qat_epochs')), 'found 120 %: they overlap'),
    ((FIRST,Phase('a', '50 % of qat_epochs')), 'expected shares of `qat_epochs` of 100 % together, found 50 %'),
    ((Phase('float', '15 %', 'float'),Phase('qat', '80 %')), 'shares of `run` of 100 % together, found 95 %'),
    ((Phase('float', '15 %', 'float'),Phase('qat', '3 epochs')), 'expected shares of the run in each phase, or in none'),
    ((FIRST,LAST,Phase('back', '3 epochs', 'float')), 'phase back: `policy`: expected a level set, as there is no way back'),
    ((FIRST,Phase('a', '3 epochs', observers='frozen'),Phase('b', '3 epochs')), 'phase b: `observers`: expected frozen'),
    ((Phase('a', '3 epochs', 'float', lr='on'),), 'phase a: `lr`: expected a share'),
    ((FIRST,Phase('a', '3 epochs', 'weight>=int8')), 'phase a: `policy`: expected target, as it is the last')])
def test_phases_that_cannot_be_together(phases, said):
    with pytest.raises(CheckError) as e: check_phases(phases)
    assert said in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('how,said', [(dict(name='A b'), '`name`'), (dict(name='result'), '`name`'), (dict(name='float'), '`name`: expected another name'), (dict(policy='weight=int9'), 'level set'),
    (dict(policy='weight=float'), '`policy`'), (dict(policy='leak=8'), '`policy`'), (dict(policy='membrane>=exact'), '`policy`'), (dict(policy='membrane=soft'), '`membrane`'), (dict(observers='off'), '`observers`'),
    (dict(lr=0.), '`lr`'), (dict(lr='fast'), '`lr`'), (dict(lr=math.nan), '`lr`'), (dict(lr=True), '`lr`'), (dict(losses='ce'), '`losses`'), (dict(losses=('fun',)), 'fun'), (dict(until=3), '`until`')])
def test_a_phase_that_cannot_be(how, said):
    with pytest.raises(CheckError, match='phase') as e: Phase(**dict(name='a', until='3 epochs')|how)
    assert said in str(e.value)


@pytest.mark.parametrize('text,said', [(b'', 'key `phase`'), (b'phase = 3', 'key `phase`'), (b'[[phase]]\nname = "a"', 'key `until`'), (b'[[phase]]\nname = "a"\nuntil = "3 epochs"\nrate = 1', 'key `rate`'),
    (b'x = 1\n[[phase]]\nname = "a"', 'key `x`'), (b'[[phase]\n', 'TOML')])
def test_a_file_that_is_wrong_is_named(tmp_path, text, said):
    (tmp_path/'p.toml').write_bytes(text)
    with pytest.raises(CheckError, match='p.toml') as e: Config(phases=str(tmp_path/'p.toml'))
    assert said in str(e.value)


@pytest.mark.parametrize('how,said', [(dict(policy='float', phases='delayed'), 'expected a quantized one, as phase qat is'), (dict(phases='fast'), '`phases`: expected one of default, delayed')])
def test_settings_with_which_phases_do_not_go(how, said):
    with pytest.raises(CheckError, match=said): config_of(how)


def test_losses_of_a_phase_are_paid_once(tmp_path):
    (tmp_path/'p.toml').write_text(dump_phases((FIRST,Phase('last', 'qat_epochs', losses=('ce',)))))
    assert Config(phases=str(tmp_path/'p.toml')).phases.endswith('p.toml')
    with pytest.raises(CheckError, match='phase last: `losses`: expected none beside .* found `l1`'): Config(phases=str(tmp_path/'p.toml'), l1=.1)


@pytest.mark.parametrize('name', PHASES)
def test_a_file_says_what_was_written(name): assert phases_of(parse_toml(dump_phases(phases_named(name)).encode()))==phases_named(name)


@tries(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 40), st.integers(1, 50), st.integers(0, 50))
def test_shares_are_the_whole_to_the_step(parts, per, epochs, qat):
    "However a run is shared out, no step is lost or done twice, and an epoch is short only where a phase ends"
    total = 1000*sum(parts)
    shares = [Fraction(1000*p, total) for p in parts]
    words = [f'{float(100*s):.6f} %' for s in shares]
    words[-1] = f'{float(100-sum(Fraction(w[:-2]) for w in words[:-1])):.6f} %'
    phases = [Phase(f'p{i}', w, 'float', lr='on' if i else 1.) for i,w in enumerate(words)]
    cfg = SimpleNamespace(phases='x', policy='nonary', epochs=epochs, qat_epochs=qat)
    with pytest.MonkeyPatch.context() as m:
        m.setattr('quarantion.train.phases.phases_named', lambda name: check_phases(tuple(phases)))
        try: stages = planned(cfg, per)
        except CheckError as e: assert 'at least one step' in str(e) or 'of 100 % together' in str(e); return
    assert sum(s.steps for s in stages)==(epochs+qat)*per
    assert all((s.epochs-1)*per<s.steps<=s.epochs*per for s in stages)
    assert [s.before for s in stages]==[sum(t.epochs for t in stages[:i]) for i in range(len(stages))] and {s.whole for s in stages}=={sum(s.epochs for s in stages)}


@pytest.mark.parametrize('name', PRESETS)
def test_what_a_phase_changes_of_a_policy(name):
    p = preset(name)
    assert represented('target', p)==represented('weight>=int2', p)==p
    wide,real = represented('weight>=int8', p),represented('current=exact, membrane=float', p)
    assert all(q.weight=='int8' for q in (wide, wide.at('first'), wide.at('last'))) and wide.current==p.current and wide.membrane==p.membrane
    assert all((q.current,q.membrane)==('exact','float') for q in (real, real.at('first'), real.at('last'))) and real.at('last').weight==p.at('last').weight


def test_a_condition_ends_a_phase_and_nothing_that_is_no_number_does():
    stage = planned(Config(**SMALL), PER)[0]
    early = stage._replace(phase=Phase('float', 'loss < 0.5, at most 3 epochs', 'float'))
    line = lambda loss: [dict(phase='float', epoch=0, loss=loss)]
    assert [ended(early, n, line(l)) for n,l in ((0,.1),(1,.6),(1,.4),(1,math.nan),(3,.6))]==[False,False,True,False,True]
    dead = stage._replace(phase=Phase('float', 'dead < 0.1, at most 3 epochs', 'float'))
    told = lambda *shares: [line(1.)[0]|dict(health=as_json(Signals(tuple(LayerSignals(str(i), 8, True, dead=s) for i,s in enumerate(shares)))))]
    assert [ended(dead, 1, l) for l in (line(1.), told(.05,.2), told(.05,.02), told(None), told(math.nan))]==[False,False,True,False,False]


def test_each_phase_is_what_it_says(tmp_path, split):
    "Levels, membranes and observers of a run, phase by phase, and how many steps each has"
    seen,real = {},job._begin
    def begin(run, cfg, split, stage, at):
        at = real(run, cfg, split, stage, at)
        if at.q is not None: seen[at.phase] = [l.lv.name for l in at.q.layers],[str(l.policy.membrane) for l in at.q.layers],{m.frozen for m in at.q.modules() if isinstance(m, Watcher)},len(at.opt)>0
        return at
    with pytest.MonkeyPatch.context() as m:
        m.setattr(job, '_begin', begin)
        run,out,lines = trained(tmp_path, split, phases='progressive', policy='ternary')
        assert Counter(l['phase'] for l in lines)==dict(float=3, int8=1, int4=1, last=2) and [l.get('kind') for l in lines]==[None]*3+['qat']*4
        assert [seen[p][0] for p in ('int8','int4','last')]==[['int8']*2,['int4']*2,['ternary']*2] and [seen[p][3] for p in ('int8','int4','last')]==[False,True,True]
        rates = [l['lr'] for l in lines]
        assert rates[3]==lines[0]['lr']/4 and rates[3]>rates[4]>rates[5]>rates[6]>0 # one schedule over three phases
        result = finish(run, split, *out)
        assert result['mismatches']==prove(run, split).mismatches==0
        trained(tmp_path, split, phases='layerwise', policy='mint4')
        assert [seen[p][1] for p in ('weights','currents','membranes')]==[['float']*2,['float']*2,['clipped(4)','exact']]
        trained(tmp_path, split, phases='freeze', policy='current8')
        assert [seen[p][2] for p in ('observed','frozen')]==[{False},{True}]


def test_a_share_ends_within_an_epoch(tmp_path, split):
    "15 % of seven epochs of 23 steps are 24: a whole epoch, and one step"
    sizes = []
    with pytest.MonkeyPatch.context() as m:
        m.setattr(job, 'train_epoch', lambda net, opt, data, *more, real=job.train_epoch: real(net, opt, (sizes.append(len(y)) or (x,y) for x,y in data), *more))
        *_,lines = trained(tmp_path, split, phases='delayed', batch=64)
    assert [(l['phase'],l['epoch']) for l in lines][:3]==[('float',0),('float',1),('qat',0)]
    assert len(sizes)==7*23 and sizes[23]==64 and lines[-1]['phase']=='qat'


def test_phases_of_a_file_go_with_the_run(tmp_path, split):
    (tmp_path/'mine.toml').write_text(dump_phases((Phase('warm', 'accuracy > 0, at most 3 epochs', 'float'),Phase('last', '1 epoch', losses=('ce_rate',)))))
    run,(net,q,acc),lines = trained(tmp_path/'runs', split, phases=str(tmp_path/'mine.toml'))
    (tmp_path/'mine.toml').unlink()
    assert [(l['phase'],l['kind'],l['epoch']) for l in lines]==[('warm','float',0),('last','qat',0)] and acc==lines[0]['test_accuracy']
    assert 'loss.ce_rate' in lines[1] and 'loss.ce_rate' not in lines[0]
    assert phases_named(settings(run).phases)[0].name=='warm' and finish(run, split, net, q, acc)['mismatches']==0
    at = restore(run, cfg := settings(run), split, planned(cfg, PER))
    assert (at.phase,at.epoch,at.kind)==('last',1,'qat')
    assert all(torch.equal(a, b) for a,b in zip(at.q.parameters(), q.parameters()))
    (run/'phases.toml').write_text(dump_phases((FIRST,LAST)))
    with pytest.raises(CheckError, match="header field `phase`: expected one of float, qat, found 'last'"): restore(run, cfg := settings(run), split, planned(cfg, PER))


@pytest.fixture(params=['borders', pytest.param('phases', marks=pytest.mark.soak)])
def kills(request, tmp_path):
    r = subprocess.run([sys.executable, DRIVER, tmp_path, request.param], capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'), timeout=590)
    assert r.returncode==0, r.stderr[-2000:]
    return request.param=='phases',json.loads(r.stdout)['results']


def test_a_run_of_phases_that_was_killed_ends_the_same(kills):
    "Most moments stand on a border: what is saved is the end of one phase, and the next had begun"
    full,runs = kills
    for k in runs: assert (k['first'],k['checkpoint'],k['resumed'],k['verified'],k['same'])==(-9,True,0,0,True), k
    assert len(runs)>=(20 if full else 3) and sum('before fsync' in k['moment'] for k in runs)>=(10 if full else 3)
