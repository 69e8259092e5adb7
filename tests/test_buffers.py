"Outputs take memory that nobody holds, and none that somebody does."
import gc
import threading

import pytest
import torch

from quarantion.spikes import buffers
from quarantion.spikes.neuron import lif_spikes

MB = 2**20


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    "Buffers of these tests alone: others may hold theirs"
    monkeypatch.setattr(buffers, '_buffers', [])
    yield
    gc.collect(); buffers.release()
    assert not buffers._buffers


def test_training_makes_its_outputs_once():
    "The same shapes again and again need as many buffers as are alive at once, whoever holds them"
    x = torch.randn(25, 40, 500).requires_grad_()
    want = None
    for _ in range(6):
        x.grad = None
        spk = lif_spikes(x)
        (spk**2).sum().backward()
        if want is None: want = spk.clone(),x.grad.clone()
        assert torch.equal(spk, want[0]) and torch.equal(x.grad, want[1])
        assert len(buffers._buffers)<=4
    kept = [lif_spikes(x.detach()) for _ in range(5)] # who keeps them, keeps them apart
    assert len({k.data_ptr() for k in kept})==5 and all(torch.equal(k, want[0]) for k in kept)


@pytest.mark.parametrize('hold', (lambda t: t[3:], lambda t: t.detach(), lambda t: t.numpy(), lambda t: t.numpy()[3:], lambda t: memoryview(t.numpy()), lambda t: torch.from_numpy(t.numpy()), lambda t: t.view(-1), lambda t: t.untyped_storage()))
def test_held_in_any_way(hold):
    t = buffers.empty((1024,1024))
    at = t.data_ptr()
    held = hold(t)
    del t
    others = [buffers.empty((1024,1024)) for _ in range(3)]
    assert at not in [o.data_ptr() for o in others]
    del held,others
    assert at in [o.data_ptr() for o in [buffers.empty((1024,1024)) for _ in range(4)]]


def test_sizes_and_limits():
    a = buffers.empty((4*MB,), torch.uint8)
    at = a.data_ptr()
    del a
    assert buffers.empty((MB,), torch.uint8).data_ptr()!=at # not a quarter of it
    assert buffers.empty((3*MB,), torch.uint8).data_ptr()==at
    held = [buffers.empty((64*MB,)) for _ in range(4)] # 1 GB
    assert sum(b.nbytes for b in buffers._buffers)<=buffers._MOST
    del held
    buffers.release()
    for shape in (0,5),(),(3,): assert buffers.empty(shape, torch.float64).shape==shape
    assert not buffers._buffers


def test_threads_share_no_buffer():
    wrong = []
    def work(i):
        for k in range(60):
            a = buffers.empty((300_000+k*1000,)).fill_(i)
            b = buffers.empty((300_000,), torch.int32).fill_(-i)
            if not (bool((a==i).all()) and bool((b==-i).all())): wrong.append((i,k))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not wrong
