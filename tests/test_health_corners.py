"Corners where parts of the health of a run meet: gates without signals, the last epoch, several optimizers"
import pytest, snntorch as snn, torch
from torch import nn
from quarantion.checks import CheckError
from quarantion.files import read_jsonl
from quarantion.train.config import Config
from quarantion.train.listening import watch

@pytest.mark.parametrize('word', ['dead<=0.5@each epoch','rate>=0.01','in_max<=1@end of float'])
def test_a_gate_on_a_signal_is_refused_where_none_is_taken(word):
    with pytest.raises(CheckError, match='health.*watch or act.*off'): Config(gates=(word,), health='off')
    Config(gates=(word,)) # watched by default

def test_no_gate_on_a_signal_that_no_run_takes():
    with pytest.raises(CheckError, match='curvature'): Config(gates=('curvature<=9',))

def test_a_phase_does_not_wait_for_a_signal_that_is_not_taken(tmp_path):
    file = tmp_path/'p.toml'
    file.write_text('[[phase]]\nname="float"\nuntil="dead < 0.1, at most 3 epochs"\npolicy="float"\n')
    Config(phases=str(file), policy='float')
    with pytest.raises(CheckError, match='watch or act'): Config(phases=str(file), policy='float', health='off')

def test_nothing_is_done_after_the_last_epoch_of_a_phase(tmp_path):
    from quarantion.cli import main
    said = 'run --hidden 8 --steps 3 --epochs 2 --policy float --batch 256 --health act --lr 3 --json --out'.split()
    with pytest.raises(SystemExit) as e: main([*said,str(tmp_path)])
    assert not e.value.code
    run, = tmp_path.iterdir()
    done = [l['facts'] for l in read_jsonl(run/'audit.jsonl') if l['event']=='intervened']
    assert read_jsonl(run/'metrics.jsonl')[-1]['health']['alarms'] # there was something to be done
    assert all(f['epoch']<1 for f in done)

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a,self.hidden,self.b,self.out = nn.Linear(6, 8),snn.Leaky(beta=.9),nn.Linear(8, 3),snn.Leaky(beta=.9)
    def forward(self, x):
        v,u,seen = self.hidden.init_leaky(),self.out.init_leaky(),[]
        for _ in range(4):
            s,v = self.hidden(self.a(x), v)
            s,u = self.out(self.b(s), u)
            seen.append(u)
        return torch.stack(seen).sum(0)

@pytest.mark.parametrize('every', [1,2,3])
def test_no_record_is_empty_where_a_model_has_two_optimizers(every):
    torch.manual_seed(0)
    net,x,y = Two(),torch.rand(16, 6),torch.randint(0, 3, (16,))
    opts,w = [torch.optim.Adam(net.a.parameters()),torch.optim.SGD(net.b.parameters(), .1)],watch(net, every=every)
    for _ in range(6):
        for o in opts: o.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        for o in opts: o.step()
    assert w.steps==6 and len(w.records)==6//every
    assert all(len(r.layers)==2 and r.layers[0].update for r in w.records)
    assert all(r.layers[1].update is None and r.layers[1].grad is not None for r in w.records) # the other's, not seen
