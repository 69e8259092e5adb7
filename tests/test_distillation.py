"Distillation: gradients against finite differences, a teacher that is left alone, and a student that follows"
import copy
import pytest, torch
from torch import nn
from quarantion.checks import CheckError
from quarantion.quant.lowering import lower
from quarantion.quant.policy import preset
from quarantion.quant.network import prepare
from quarantion.quant.proof import verify
from quarantion.spikes.network import Network
from quarantion.spikes.neuron import LIF
from quarantion.train.distillation import distill_membranes, distill_rates, distill_scores

def rand(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

@pytest.mark.parametrize('temperature', [.5,1.,4.])
def test_scores_are_the_divergence_of_the_softened_answers(temperature):
    s,t = rand(5, 7).requires_grad_(),rand(5, 7, seed=1)
    p,q = (torch.softmax(v/temperature, -1) for v in (t,s))
    assert distill_scores(s, t, temperature).item()==pytest.approx((temperature**2*(p*(p.log()-q.log())).sum(-1).mean()).item(), rel=1e-12)
    distill_scores(s, t, temperature).backward()
    assert torch.allclose(s.grad, (temperature*(q-p)/5).detach(), atol=1e-14)

@pytest.mark.parametrize('loss,shape', [(distill_scores,(4,3)), (distill_rates,(6,4,3)), (distill_rates,(6,2,3,4,4)), (distill_membranes,(6,4,3)), (distill_membranes,(6,2,3,4,4))])
def test_gradients_and_the_teacher_left_alone(loss, shape):
    s,t = rand(*shape).requires_grad_(),rand(*shape, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, t.detach()), (s,))
    assert loss(s, t).item()>0 and loss(t, t).item()==pytest.approx(0, abs=1e-15)
    loss(s, t).backward()
    assert s.grad.any() and t.grad is None

def test_extreme_scores_stay_finite():
    s = torch.tensor([[1e4,-1e4]], requires_grad=True)
    loss = distill_scores(s, torch.tensor([[-1e4,1e4]]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(s.grad).all()

def test_rates_do_not_ask_for_equal_steps():
    a = (rand(4, 3, 5)>0).double()
    assert distill_rates(a, a.repeat(3, 1, 1)).item()==pytest.approx(0, abs=1e-30)

def test_refusals():
    with pytest.raises(CheckError, match='temperature'): distill_scores(rand(2, 3), rand(2, 3), 0)
    with pytest.raises(CheckError, match='axes `b c`'): distill_scores(rand(2, 3, 4), rand(2, 3, 4))
    with pytest.raises(CheckError, match='scores'): distill_scores(rand(2, 3), rand(2, 4))
    with pytest.raises(CheckError, match='rates'): distill_rates(rand(5, 2, 3), rand(5, 2, 4))
    with pytest.raises(CheckError, match='at least one step'): distill_rates(rand(0, 2, 3), rand(0, 2, 3))
    with pytest.raises(CheckError, match='membranes'): distill_membranes(rand(5, 2, 3), rand(6, 2, 3))

@pytest.mark.parametrize('term', ['scores','rates','membranes'])
def test_a_quantized_student_follows_its_teacher(term):
    torch.manual_seed(0)
    teacher = Network(nn.Linear(12, 20), LIF(), nn.Linear(20, 4), LIF(reset='none'), steps=8).requires_grad_(False)
    with torch.no_grad(): teacher.layers[0].weight *= 3
    kept,x = copy.deepcopy(teacher.state_dict()),torch.rand(64, 12)
    q = prepare(teacher, preset('ternary'), x).train()
    hidden,out = teacher.record(x)
    def far():
        h,o = q.record(x)
        return distill_scores(o.mem.mean(0), out.mem.mean(0)) if term=='scores' else distill_rates(h.spk, hidden.spk) if term=='rates' else distill_membranes(h.mem, hidden.mem)
    opt,first = torch.optim.Adam(q.param_groups(3e-3)),far().item()
    for _ in range(60):
        opt.zero_grad(); far().backward(); opt.step()
    q.eval()
    assert far().item()<.8*first
    assert all(torch.equal(v, kept[k]) for k,v in teacher.state_dict().items())
    assert verify(q, lower(q), [(x,torch.arange(64)%4)]).mismatches==0
