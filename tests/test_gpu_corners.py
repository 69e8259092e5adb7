"What would show on a GPU only, asked for where there is none"
import pytest
import torch

from quarantion.checks import CheckError
from quarantion.spikes import neuron
from quarantion.spikes.doubts import Doubts, collecting, doubt
from quarantion.spikes.neuron import LIF, Gradient, lif
from quarantion.train import repeated


def test_rest_that_inference_asked_for_first_is_for_training_too(monkeypatch):
    neuron._zero.cache_clear()
    monkeypatch.setattr(neuron, '_at_rest', lambda x, shape: neuron._zero(x.device, x.dtype).expand(shape))
    layer,x = LIF(.9),torch.rand(4, 2, 3)
    with torch.inference_mode(): layer.spikes(x)
    layer.spikes(x.requires_grad_()).sum().backward()
    assert x.grad is not None


def test_doubts_of_inference_are_for_training_too():
    d = Doubts()
    def ask():
        with collecting(d): doubt(torch.tensor(False), print)
        d.settle()
    with torch.inference_mode(): ask()
    ask()


def test_a_graph_is_written_anew_for_what_it_reads():
    "Another learning rate, as a number or as a tensor, and other parameters"
    w = torch.nn.Parameter(torch.ones(2))
    opt = torch.optim.Adam([w], torch.tensor(.1), capturable=False)
    said = lambda: repeated._said(opt)[0]
    before = said()
    assert said()==before
    opt.param_groups[0]['lr'].mul_(.5) # in place: it is read there
    assert said()==before
    kept,opt.param_groups[0]['lr'] = opt.param_groups[0]['lr'],torch.tensor(.1)
    assert said()!=before
    opt.param_groups[0]['lr'] = kept
    opt.add_param_group(dict(params=[torch.nn.Parameter(torch.ones(1))]))
    assert said()!=before


@pytest.mark.parametrize('slope', [torch.tensor(5., device='meta'), torch.ones(12)])
def test_a_slope_is_one_value_where_the_current_is(slope):
    with pytest.raises(CheckError, match='`slope`: expected'): lif(torch.rand(3, 2, 12), gradient=Gradient(slope=slope))


def test_triton_that_does_not_load_is_named(monkeypatch):
    from quarantion.spikes import operators
    def broken(name): raise ImportError('libcuda.so')
    monkeypatch.setattr(operators, 'find_spec', lambda n: n)
    monkeypatch.setattr(operators, 'import_module', broken)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda d: (9,0))
    operators._runs_triton.cache_clear()
    with pytest.warns(UserWarning, match='slow loop of torch; .*found one that does not load .libcuda.so'): assert not operators._runs_triton('cuda:7')
    operators._runs_triton.cache_clear()
