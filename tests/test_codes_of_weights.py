"Codes of weights in one pass on a CPU are those of torch, and so are gradients of weights; those of scales to what float32 rounds"
import pytest
import torch
from test_cuda_codes import by_torch, gradients, layer, moved

from quarantion.quant import weights
from quarantion.quant.layer import _weight_codes


@pytest.mark.parametrize('seed', range(60))
def test_one_pass_is_what_torch_does(seed, monkeypatch):
    l,_ = layer(seed)
    if l.latent.dtype!=torch.float32: assert not weights.in_one_pass(l.coder, l.latent)
    plain,fused,again = (moved(l, 'cpu') for _ in range(3))
    want,got = by_torch(plain, monkeypatch),_weight_codes(fused)
    for a,b in zip((*got[0].values(),*got[1].values(),*got[2:]), (*want[0].values(),*want[1].values(),*want[2:])):
        assert a.dtype==b.dtype and a.shape==b.shape and a.requires_grad==b.requires_grad and torch.equal(a, b)
        assert torch.equal(a.double().signbit(), b.double().signbit())
    (w,r,s),(ww,wr,ws) = gradients(fused, got, seed),gradients(plain, want, seed)
    for a,b in ((w,ww),(r,wr)): assert (a is None or not a.any()) if b is None else torch.equal(a, b)
    assert (s is None)==(ws is None)
    if s is not None: torch.testing.assert_close(s, ws, rtol=1e-4, atol=1e-6*float(ws.abs().max()))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(weights, '_threads', lambda w: 2)
        for a,b in zip((w,r,s), gradients(again, _weight_codes(again), seed)): assert a is None and b is None or torch.equal(a, b)
    finally: torch.set_num_threads(threads)
