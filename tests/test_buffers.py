"Outputs take memory that nobody holds, and none that somebody does."
import gc
import os
import queue
import random
import sys
import threading

import numpy as np
import pytest
import torch

from quarantion.spikes import buffers
from quarantion.spikes.neuron import Gradient, lif, lif_spikes

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
    assert sum(b.nbytes for b in buffers._buffers)<=buffers._most[0]
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


HOLDS = (lambda t: t, lambda t: t[7:], lambda t: t.detach(), lambda t: t.numpy(), lambda t: t.numpy()[1:].view(np.int32), lambda t: memoryview(t.numpy()), lambda t: torch.from_numpy(t.numpy()),
    lambda t: torch.as_strided(t, (5,), (3,), 11), lambda t: np.asarray(t).base, lambda t: torch.empty(0).set_(t), lambda t: torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(t)),
    lambda t: t.untyped_storage(), lambda t: np.frombuffer(t.numpy(), np.uint8))

def content(held):
    "Any of `HOLDS` as whole numbers of 4 bytes"
    if isinstance(held, torch.UntypedStorage): held = torch.tensor([], dtype=torch.int32).set_(held)
    if isinstance(held, torch.Tensor): return held.contiguous().numpy().view(np.int32)
    return np.ascontiguousarray(np.asarray(held)).view(np.int32)


def test_threads_hand_on_what_they_hold():
    "Whatever holds a buffer, made in one thread and looked at in another, has its numbers until it is dropped"
    wrong,todo,switch = [],queue.Queue(40),sys.getswitchinterval()
    def make(seed):
        rng = random.Random(seed)
        for k in range(120):
            n = seed*1000+k
            t = buffers.empty((270_000+rng.randrange(5)*30_000,), torch.int32).fill_(n).view(torch.float32)
            held = rng.choice(HOLDS)(t)
            del t
            todo.put((n,held))
        todo.put(None)
    def look():
        mine = []
        while (item := todo.get()) is not None:
            mine.append(item)
            if len(mine)>3:
                n,held = mine.pop(random.randrange(4))
                if not (content(held)==n).all(): wrong.append(n)
        wrong.extend(n for n,held in mine if not (content(held)==n).all())
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=make, args=(i,)) for i in range(1, 4)]+[threading.Thread(target=look) for _ in range(3)]
        for t in threads: t.start()
        for t in threads: t.join()
    finally: sys.setswitchinterval(switch)
    assert not wrong


def test_graphs_of_autograd_keep_what_they_saved():
    "Layers on layers, several graphs at a time, in several threads: gradients as with memory of their own"
    torch.manual_seed(0)
    xs = [torch.randn(6, 50, 1000) for _ in range(3)]
    def graph(x, save):
        x = x.clone().requires_grad_()
        spk,mem = lif(x, gradient=Gradient(save=save))
        return x,(lif_spikes(spk*mem+x, gradient=Gradient(save=save))*mem).square().sum()
    def grads(save):
        made = [graph(x, save) for x in xs]
        for x,loss in reversed(made): loss.backward()
        return [x.grad for x,_ in made]
    most = buffers._most[0]
    buffers.keep_at_most(0)
    try: want = {s:grads(s) for s in ('recompute','trace')}
    finally: buffers.keep_at_most(most)
    got = []
    def work(save):
        for _ in range(4): got.append((save,[g.clone() for g in grads(save)]))
    threads = [threading.Thread(target=work, args=(s,)) for s in ('recompute','trace')]
    for t in threads: t.start()
    for t in threads: t.join()
    assert len(got)==8 and all(torch.equal(a, b) for s,gs in got for a,b in zip(gs, want[s]))
    assert buffers._buffers


def test_saved_by_a_graph_alone():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(out := buffers.empty(x.shape).copy_(2*x))
            return out
        @staticmethod
        def backward(ctx, g): return g*2+0*ctx.saved_tensors[0]
    x = torch.ones(1200, 1200, requires_grad=True)
    held = Twice.apply(x).sum()
    others = [buffers.empty(x.shape).fill_(float('nan')) for _ in range(3)]
    held.backward()
    assert torch.equal(x.grad, torch.full_like(x, 2)) and len(others)==3


def test_off_switch():
    most,a = buffers._most[0],buffers.empty((1024,1024))
    assert len(buffers._buffers)==1
    buffers.keep_at_most(0)
    try:
        assert len(buffers._buffers)==1 # it is held
        del a
        buffers.release()
        assert not buffers._buffers
        b = buffers.empty((1024,1024))
        assert not buffers._buffers and b.shape==(1024,1024)
    finally: buffers.keep_at_most(most)


@pytest.mark.parametrize('what,value', [('_COUNTS',False), ('_ALONE',-1)])
def test_where_counts_say_nothing_nothing_is_taken_twice(monkeypatch, what, value):
    "An interpreter without a lock, or one that counts in another way"
    with monkeypatch.context() as own:
        own.setattr(buffers, what, value)
        at = [buffers.empty((1024,1024)) for _ in range(2)]
        assert len({a.data_ptr() for a in at})==2


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_child_born_while_another_thread_chooses():
    "Its lock is free, its memory its own"
    a = buffers.empty((1024,1024)).fill_(1)
    with buffers._lock: child = os.fork()
    if not child:
        ok = buffers._lock.acquire(timeout=1)
        buffers._lock.release()
        b = buffers.empty((1024,1024)).fill_(2)
        buffers.release()
        os._exit(0 if ok and float(a.sum())==2**20 and float(b.sum())==2**21 else 1)
    assert os.waitpid(child, 0)[1]==0 and bool((a==1).all())
