"Encoders, losses and ways to learn on a GPU, beside the CPU"
import json
import pytest, torch
from torch import nn

from quarantion.data.digits import load_digits
from quarantion.quant.network import prepare
from quarantion.quant.policy import preset
from quarantion.spikes.encoders import ENCODERS, encode
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.losses import TERMS, loss_of
from quarantion.train.recipes import RECIPES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
NUMBERS = dict(ce_count='(4)', rate_ceiling='(0.1)', rate_target='(0.1)')
ALONE = 'rate_ceiling','rate_target','consistency','membrane_energy','code_l1' # these know no labels


@pytest.mark.parametrize('name', ENCODERS)
def test_codes_are_the_same_on_every_device(name):
    x = torch.rand(33, 64, generator=torch.Generator().manual_seed(0))
    here,there = encode(x, name, 10, 5),encode(x.cuda(), name, 10, 5)
    assert there.is_cuda and torch.equal(here, there.cpu())

def test_series():
    x = (torch.rand(5, 10, 2, 8, 8)<.1).byte()
    assert torch.equal(encode(x.cuda(), 'series', 10).cpu(), encode(x, 'series', 10))


def networks(policy):
    torch.manual_seed(0)
    d = load_digits()
    net = Network(nn.Linear(64, 32), LIF(), nn.Linear(32, 10), LIF(reset='none'), in_shape=(64,), steps=10)
    net = net if policy=='float' else prepare(net, preset(policy), d.x_train[:64])
    return net,d

@pytest.mark.parametrize('policy', ['float','int8'])
@pytest.mark.parametrize('term', TERMS)
def test_losses_and_their_gradients(term, policy):
    if term=='code_l1' and policy=='float': return
    said = []
    for device in 'cpu','cuda':
        net,d = networks(policy)
        net = net.to(device).train()
        terms,scores,rate = loss_of(('ce',)*(term in ALONE)+(term+NUMBERS.get(term, ''),))(net, d.x_train[:40].to(device), d.y_train[:40].to(device))
        grads = torch.autograd.grad(terms.sum(), [p for p in net.parameters() if p.requires_grad], allow_unused=True)
        said.append((terms.detach().cpu().double(), [g.detach().cpu().double() for g in grads if g is not None]))
    (a,ga),(b,gb) = said
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert len(ga)==len(gb)
    for u,v in zip(ga, gb): torch.testing.assert_close(u, v, rtol=5e-3, atol=1e-4*float(u.abs().max()+1e-3))


WAYS = [*({'--recipe':r} for r in RECIPES), {'--sam':'0.05','--clip':'1'}, {'--ema':'0.9'}, {'--accumulate':'3'}, {'--autocast':'bf16'}, {'--optimizer':'Adagrad'}, {'--loss':'ce_count(4),code_l1:0.1'}, {'--encode':'rate'}, {'--encode':'population'}]

@pytest.mark.parametrize('way', WAYS, ids=lambda w: ' '.join(w.values()))
def test_runs_learn_and_are_proved(way, tmp_path, capsys):
    from quarantion.cli import main
    words = [w for pair in way.items() for w in pair]
    args = ['run', '--device', 'cuda', '--epochs', '3', '--qat-epochs', '2', '--hidden', '32', '--steps', '10', '--batch', '24', *words, '--json', '--out', str(tmp_path)]
    with pytest.raises(SystemExit) as e: main(args)
    said = capsys.readouterr()
    assert e.value.code in (0,None), said.err
    got = json.loads(said.out)
    assert got['mismatches']==0 and got['test_accuracy']>.3
