"Total correlation of hidden states: its estimate, regimes in the table of diagnosis, and what is done about a breakdown"
import math
from pydoc_data.topics import topics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from quarantion.checks import CheckError
from quarantion.files import read_jsonl
from quarantion.inspect.health_words import health_said
from quarantion.language.lessons import TextConfig, go_on_learning, learn_text
from quarantion.language.regime import integration, last_states, nats_of, regime_of, regime_signals, shrunk_correlation
from quarantion.train.course import Held
from quarantion.train.diagnosis import causes_of, diagnosed, renewed
from quarantion.train.heal import Plan, Saved, Told, treated
from quarantion.train.interventions import matrices
from quarantion.train.signals import as_json, of_json
from safetensors.torch import load_file


def drawn(n, d, rho, seed):
    g = torch.Generator().manual_seed(seed)
    return math.sqrt(rho)*torch.randn(n, 1, generator=g)+math.sqrt(1-rho)*torch.randn(n, d, generator=g)


def test_shrinking_is_that_of_scikit_learn():
    from sklearn.covariance import ledoit_wolf
    for n,d,rho in (30,5,.5),(12,40,.1),(200,64,0.),(64,64,.95):
        x = drawn(n, d, rho, n).double()
        z = (x-x.mean(0))/x.std(0, correction=0)
        theirs,delta = ledoit_wolf(z.numpy(), assume_centered=True)
        assert torch.allclose(shrunk_correlation(x), torch.from_numpy(theirs), atol=1e-12)
        assert abs(integration(x).shrinkage-delta)<1e-12


@given(st.integers(8, 60), st.integers(2, 40), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_phi_lies_between_0_and_1_and_does_not_see_units_or_order(n, d, rho, seed):
    x = drawn(n, d, rho, seed).double()
    i,g = integration(x),torch.Generator().manual_seed(seed)
    assert 0<=i.phi<=1 and (i.n,i.dim)==(n,d) and i.nats>=0
    other = x[:,torch.randperm(d, generator=g)][torch.randperm(n, generator=g)]*(torch.rand(d, generator=g)+.1)-3
    assert math.isclose(integration(other).nats, i.nats, rel_tol=1e-6, abs_tol=1e-6)


def test_bias_where_the_truth_is_known():
    "None on independent noise, where the raw one has a hundred nats; above the truth on equal correlations of few states"
    noise = [integration(drawn(512, 384, 0., s)) for s in range(3)]
    assert max(i.nats for i in noise)<.1 and all(100<i.raw<107 for i in noise)
    true = -.5*(63*math.log(.5)+math.log(32.5))
    few,many = ([integration(drawn(n, 64, .5, s)).nats for s in range(8)] for n in (128,4096))
    assert 1.15<sum(few)/8/true<1.55 and abs(sum(many)/8/true-1)<.05


def test_bad_input():
    for bad,word in (torch.ones(20, 4),'vary'),(torch.full((20,4), math.nan),'finite'),(torch.rand(4, 4),'at least 8'),(torch.rand(0, 4),'at least 8'), \
                    (torch.rand(20),'states'),(torch.ones(20, 4).long(),'float'):
        with pytest.raises(CheckError, match=word): integration(bad)
    with pytest.raises(CheckError, match='correlation'): nats_of(torch.rand(3, 2))
    for phi in -.1,1.5,math.nan:
        with pytest.raises(CheckError, match='phi'): regime_of(phi)
    with pytest.raises(CheckError, match='KernelLM'): last_states(torch.nn.Linear(2, 2), torch.zeros(1, 2).long())


def test_bounds_are_those_of_the_table_alone(tmp_path):
    (tmp_path/'own.toml').write_text('[geometric]\non = 0.45\noff = 0.4\n[breakdown]\non = 0.6\noff = 0.5\n')
    own,x = causes_of(tmp_path/'own.toml'),drawn(128, 64, .95, 0)
    phi = integration(x).phi
    assert .6<phi<.8 and (regime_of(phi),regime_of(phi, own))==('geometric','breakdown')
    s = regime_signals(x, causes=own)
    assert s.broken==1 and [a.cause for a in diagnosed(s, None, own)[0]]==['breakdown','geometric']
    assert not diagnosed(regime_signals(drawn(128, 64, 0., 0)))[0]
    gone = regime_signals(torch.full((9,3), 2.))
    assert not diagnosed(gone)[0] and math.isnan(of_json(as_json(gone)).phi)


def test_rungs_come_in_their_order_where_nothing_helps():
    "Half the rate, the slow mean, pruning, noise: each after as many steps in breakdown as the table says, and undone"
    net,saved,plan,state,s,done = torch.nn.Linear(8, 8),Saved(),Plan(),None,None,[]
    held = Held(net, {}, mean={n:p.detach()*0 for n,p in net.named_parameters()})
    saved.put('good', held)
    for e in range(12):
        s = regime_signals(drawn(64, 8, .9999, 0), s, steps=15)
        alarms,state = diagnosed(s, state)
        held,plan,events = treated(held, saved, plan, Told(alarms, state['values'], 3., e), torch.zeros(1))
        if events: state = renewed(state)
        if held.mean=={}: held = held._replace(mean=saved.get('good').mean)
        done += [(v['action'],v['event'],s.broken) for v in events]
    assert [d for d in done if d[1]=='intervened']==[('halve_rate','intervened',1.), ('consolidate','intervened',31.),
        ('rest_and_prune','intervened',61.), ('perturb','intervened',106.)]
    assert [d[0] for d in done if d[1]=='undone']==['halve_rate','consolidate','rest_and_prune','perturb']
    assert torch.equal(matrices(held.net)[0], net.weight)


def sick(folder, **more):
    (folder/'text').write_bytes('\n'.join(topics.values()).encode()[:16384])
    return TextConfig(**dict(data=f'text:{folder}/text', hidden=16, layers=1, heads=2, basin_dim=8, context=32, batch=16,
                             policy='float', qat_epochs=0, optimizer='SGD', opt_args=('momentum=0.95',), lr=1., clip=0.,
                             epochs=4, ema=.9)|more)


def test_a_job_that_diverges_is_told_and_healed(tmp_path):
    "A rate that is far too high: Φ is that of a breakdown; watched it ends in an error, and acted on it learns"
    with pytest.raises(CheckError, match='finite number'): learn_text(sick(tmp_path, health='watch'), tmp_path/'watch')
    learn_text(sick(tmp_path, health='act'), tmp_path/'act')
    run = next((tmp_path/'act').iterdir())
    lines,acts = read_jsonl(run/'metrics.jsonl'),[e['facts'] for e in read_jsonl(run/'audit.jsonl') if e['event']=='intervened']
    first = lines[0]['health']
    assert first['phi']>=.8 and (first['phi_n'],first['phi_dim'])==(512,16)
    assert [a['cause'] for a in first['alarms']]==['breakdown','geometric']
    assert (acts[0]['cause'],acts[0]['action'])==('breakdown','halve_rate')
    assert lines[0]['loss']>100 and lines[-1]['loss']<4 and lines[-1]['health']['phi']<.5
    assert 'breakdown' in '\n'.join(str(a) for a in health_said(run).alarms)


def test_a_run_that_acts_goes_on_as_if_nobody_had_stopped_it(tmp_path):
    def stop(phase, epoch, epochs, done, total, stats):
        if epoch==2: raise KeyboardInterrupt
    cfg = sick(tmp_path, health='act', epochs=3, policy='ternary', qat_epochs=1)
    with pytest.raises(KeyboardInterrupt): learn_text(cfg, tmp_path/'a', stop)
    run = next((tmp_path/'a').iterdir())
    go_on_learning(run)
    learn_text(cfg, tmp_path/'b')
    said = lambda f: [{k:v for k,v in l.items() if k!='time_s'} for l in read_jsonl(next((tmp_path/f).iterdir())/'metrics.jsonl')]
    assert said('a')==said('b')


def test_off_and_watch_leave_the_same_weights(tmp_path):
    kept = []
    for h in 'off','watch':
        learn_text(sick(tmp_path, health=h, lr=.1, epochs=2, policy='ternary', qat_epochs=1), tmp_path/h)
        kept.append(load_file(next((tmp_path/h).iterdir())/'model.safetensors'))
    assert kept[0].keys()==kept[1].keys() and all(torch.equal(v, kept[1][k]) for k,v in kept[0].items())
