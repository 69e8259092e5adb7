"""Input codes on a GPU beside those of a CPU. On a GPU, or in Triton's interpreter"""
import importlib.util
import os

import pytest
import torch

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
pytestmark = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'


def plain(x, scale, low, high):
    whole = torch.round(x.double()/scale)
    return whole.clamp(low, high),[bool((~x.isfinite()).any()), bool(((x!=0)&(x!=1)).any()), bool(((whole<low)|(whole>high)).any())]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('scale,low,high', [(1.,0,1), (1/255,0,255), (.0373,-127,127), (3.7e-5,-127,127), (1.,0,255)])
def test_codes_are_those_of_a_cpu(scale, low, high, dtype):
    from quarantion.kernels.cuda.inputs import input_codes
    torch.manual_seed(0)
    halves = (torch.arange(low-2, high+3, dtype=torch.float64)+.5)*scale # where the last bit decides
    some = dict(halves=halves, spikes=(torch.rand(5,7,300)<.3).double(), noise=torch.randn(3000)*scale*high, inside=torch.rand(2100)*scale*high,
                ends=torch.tensor([1e30,-1e30,low*scale,high*scale]), none=torch.zeros(0,4))
    for name,x in some.items():
        x = x.to(dtype)
        want,notes = plain(x, scale, low, high)
        got,own = input_codes(x.to(DEVICE), scale, low, high, torch.float64)
        assert torch.equal(got.cpu(), want) and own.tolist()==notes, name
    x = torch.rand(3000, dtype=dtype)*scale
    for bad in torch.nan,torch.inf,-torch.inf:
        x[-1] = bad
        got,own = input_codes(x.to(DEVICE), scale, low, high, torch.float64)
        assert got.isnan().nonzero().tolist()==[[2999]] and own.tolist()[0]
    y = torch.rand(40, 30, dtype=dtype)*scale*high
    assert torch.equal(input_codes(y.to(DEVICE).T, scale, low, high, torch.float64)[0].cpu(), plain(y.T, scale, low, high)[0])
