"What is left of a phase: told once, of work, and not of the night that a machine slept through"
import re
import pytest, torch
from torch import nn
from quarantion.train import fit
from quarantion.train.config import Config
from quarantion.train.fit import Adam, Pace, watching
from quarantion.train.job import load_data, start, train

class Clock:
    "A clock that stands until it is told to go on"
    def __init__(self): self.now = 1e6
    def __call__(self): return self.now

def told(batches=20, a_batch=.5, between=2., first=0, epochs=10, phase='qat', sleeps={}, pace=None, clock=None):
    "What is said while a phase trains from epoch `first` on; `sleeps` are seconds before a batch of an epoch"
    clock = clock or Clock()
    pace,said = pace or Pace(clock),[]
    for e in range(first, epochs):
        for b in range(batches):
            clock.now += a_batch+sleeps.get((e,b), 0)
            if (line := pace(phase, e, epochs)): said.append((e,b,line))
        clock.now += between
    return said

def seconds(line):
    each,rest = re.fullmatch(r'\w+: (.*) an epoch, about (.*) of work to the end of epoch \d+', line).groups()
    return [float(v)*dict(s=1, min=60, h=3600)[u] for v,u in (t.split() for t in (each, rest))]

def test_once_after_the_first_epoch_with_what_lies_between_epochs():
    assert told()==[(1,0,'qat: 12 s an epoch, about 2 min of work to the end of epoch 10')]

@pytest.mark.parametrize('first', [0, 3, 8])
def test_a_resumed_run_counts_from_where_it_goes_on(first):
    (e,b,line), = told(first=first, a_batch=5)
    assert (e,b)==(first+1,0) and seconds(line)[0]==pytest.approx(102, abs=30) and seconds(line)[1]==pytest.approx(102*(9-first), abs=30)

def test_each_phase_has_its_own():
    clock = Clock()
    pace = Pace(clock)
    a,b = (told(phase=p, a_batch=s, pace=pace, clock=clock) for p,s in (('float',.5),('qat',2)))
    assert [l[:2] for l in a+b]==[(1,0)]*2 and a[0][2].startswith('float: 12 s') and b[0][2].startswith('qat: 42 s')

@pytest.mark.parametrize('what', [dict(epochs=1), dict(first=9), dict(a_batch=.01, between=0), dict(epochs=2, a_batch=.4, between=0)])
def test_nothing_where_nothing_or_little_is_left(what): assert not told(**what)

@pytest.mark.parametrize('sleeps', [{(0,7):9*3600}, {(0,7):9*3600, (0,12):40*86400}, {(1,0):9*3600}, {(0,0):9*3600}, {(5,3):9*3600}])
def test_a_night_of_sleep_changes_nothing(sleeps):
    "Whether the clock counted it, as that of Windows does, or stood: in an epoch, between two, before it and after it"
    (_,_,line), = told(sleeps=sleeps)
    assert seconds(line)[0]==pytest.approx(12, abs=2.5) and seconds(line)[1]==pytest.approx(108, abs=24)

@pytest.mark.parametrize('batches,at', [(1,3), (2,2), (3,1)])
@pytest.mark.parametrize('sleeps', [{}, {(1,0):9*3600}])
def test_few_batches_an_epoch(batches, at, sleeps):
    "It takes three gaps to know which is one of a sleep"
    (e,_,line), = told(batches=batches, a_batch=30, sleeps=sleeps)
    want = 30*batches+2
    assert e==at and seconds(line)==pytest.approx([want, want*(10-at)], abs=30)

@pytest.mark.parametrize('batches', [3, 20, 500])
@pytest.mark.parametrize('nap', [30, 300, 3000])
def test_a_nap_is_counted_at_most_twice(batches, nap):
    (_,_,line), = told(batches=batches, a_batch=2, between=0, sleeps={(0,2):nap})
    assert seconds(line)[0]<=max(2*2*batches, 2*batches+60)+30

def test_a_slow_test_is_no_sleep():
    "What comes between epochs may take as long as an epoch"
    (_,_,line), = told(batches=100, a_batch=1, between=50)
    assert seconds(line)[0]==pytest.approx(150, abs=30)

def test_shown_on_stderr_and_right_when_resumed(tmp_path, capsys, monkeypatch):
    "Through `train`, with a clock that goes on by two seconds a batch; the run is interrupted, and goes on with other epochs left"
    clock = Clock()
    def ticking():
        clock.now += 2
        return clock.now
    monkeypatch.setattr(fit, 'Pace', lambda: Pace(ticking))
    cfg = Config(epochs=4, qat_epochs=3, hidden=8, steps=4, batch=500)
    run,split = start(cfg, tmp_path),load_data(cfg)
    class Stop(Exception): pass
    with pytest.raises(Stop), watching() as move:
        def stopping(phase, epoch, *more):
            move(phase, epoch, *more)
            if (phase,epoch)==('float',2): raise Stop
        train(run, split, stopping)
    assert capsys.readouterr().err=='float: 6.0 s an epoch, about 18 s of work to the end of epoch 4\n'
    with watching() as move: train(run, split, move)
    assert capsys.readouterr().err=='qat: 6.0 s an epoch, about 12 s of work to the end of epoch 3\n' # float: 6 s, not worth a line

def test_adam_is_that_of_torch_to_the_last_bit():
    "State and groups too, and hooks are called"
    torch.manual_seed(0)
    nets = [nn.Linear(7, 5) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    opts,called = [kind(n.parameters(), .01) for kind,n in zip((torch.optim.Adam,Adam), nets)],[]
    opts[1].register_step_post_hook(lambda *a: called.append(1))
    for _ in range(5):
        x = torch.randn(3, 7)
        for n,o in zip(nets, opts):
            o.zero_grad()
            n(x).square().sum().backward()
            o.step()
    assert len(called)==5 and opts[1].state_dict().keys()==opts[0].state_dict().keys() and opts[0].param_groups[0].keys()==opts[1].param_groups[0].keys()
    for a,b in zip(*(n.parameters() for n in nets)): assert torch.equal(a, b) and b.requires_grad
    for a,b in zip(*(o.state_dict()['state'].values() for o in opts)): assert all(torch.equal(a[k], b[k]) for k in a)
