"What a training step keeps with `save='bits'`, and that it changes no number"
import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from quarantion.checks import CheckError
from quarantion.spikes import LIF, Network, RecurrentLIF
from quarantion.spikes.bits import pack, unpack
from quarantion.spikes.neuron import RESETS, Diagonal
from quarantion.spikes.parameters import learnable
from quarantion.spikes.synaptic import RecurrentSynaptic, Synaptic

GPU = torch.cuda.is_available()
DEVICES = ['cpu',pytest.param('cuda', marks=pytest.mark.skipif(not GPU, reason='no GPU'))]
NETS = dict(
    linear=lambda: Network(nn.Linear(12,20), LIF(.9, learn_beta=True), nn.Linear(20,5), LIF(reset='none', learn_threshold=True)),
    conv=lambda: Network(nn.Conv2d(1,4,3), nn.MaxPool2d(2), LIF(torch.full((4,), .8)), nn.Conv2d(4,6,3, bias=False), LIF(reset='zero'), nn.Flatten(),
                         nn.Linear(6,5), LIF(reset='none'), in_shape=(1,8,8)),
    recurrent=lambda: Network(nn.Linear(12,9), RecurrentLIF(nn.Linear(9,9), beta=.9), nn.Linear(9,5), RecurrentLIF(Diagonal(.3))),
    synaptic=lambda: Network(nn.Linear(12,9), Synaptic(.7, learn_alpha=True, reset='subtract_delayed'), nn.Linear(9,6), RecurrentSynaptic(nn.Linear(6,6), .5),
                             nn.Linear(6,5), LIF(reset='none', detach_reset=False)),
    dropout=lambda: Network(nn.Linear(12,30), nn.Dropout(.4), LIF(), nn.Dropout(.3), nn.Linear(30,5), LIF(reset='none')),
    norm=lambda: Network(nn.Conv2d(1,4,3), nn.BatchNorm2d(4), nn.AvgPool2d(2), LIF(), nn.Flatten(), nn.Linear(36,7), nn.BatchNorm1d(7, momentum=None), LIF(),
                         nn.Linear(7,5), LIF(reset='none'), in_shape=(1,8,8)),
    nested=lambda: Network(nn.Sequential(nn.Linear(12,16), nn.Sequential(nn.ReLU(), nn.Linear(16,9))), LIF(), nn.Linear(9,5), LIF(reset='none'), in_shape=(12,)),
    spectral=lambda: Network(nn.utils.spectral_norm(nn.Linear(12,9)), LIF(), nn.utils.parametrizations.weight_norm(nn.Linear(9,5)), LIF(reset='none'), in_shape=(12,)),
    slope=lambda: Network(nn.Linear(12,9), learnable(LIF(), 'slope'), nn.Linear(9,5), LIF(reset='none')),
    shared=lambda: (lambda l: Network(l, LIF(), l, LIF(), nn.Linear(12,5), LIF(reset='none')))(nn.Linear(12,12)),
    in_a_row=lambda: Network(LIF(.5), LIF(.7, threshold=.4), nn.Linear(12,5), LIF(.9, threshold=.3), LIF(reset='none'), in_shape=(12,)),
    frozen=lambda: Network(nn.Linear(12,9).requires_grad_(False), LIF(), nn.Linear(9,5), LIF(reset='none')))


def made(name, save, device='cpu', dtype=torch.float32):
    torch.manual_seed(1)
    net = NETS[name]().to(device, dtype)
    return saves(net, save)


def saves(net, save):
    for l in net.layers: l.save = save
    return net


def data(net, constant=False, t=6, b=5):
    x = torch.rand(b, *net.in_shape) if constant else (torch.rand(t, b, *net.in_shape)<.5).float()
    return x.to(next(net.parameters()))


def step(net, x, times=1, run=lambda net,x: net(x)):
    "Spikes, states, gradients of input and parameters, and buffers afterwards"
    x = x.clone().requires_grad_()
    torch.manual_seed(2)
    for _ in range(times): # batch norms see each of them before any goes back
        spk,mem = run(net, x)
        loss = (spk*torch.linspace(0, 1, len(spk), device=x.device, dtype=spk.dtype).reshape(-1,1,1)).sum()+mem.square().mean()
        (mem.sum()*.1).backward(retain_graph=True)
        loss.backward()
    return spk.detach(),mem.detach(),x.grad,*(p.grad for p in net.parameters()),*net.buffers(),torch.rand(1)


def same(a, b):
    for u,v in zip(a, b, strict=True): assert u is v is None or torch.equal(u, v)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('constant', [False, True])
@pytest.mark.parametrize('name', NETS)
def test_the_same_to_the_bit(name, constant, device):
    "Spikes, states, all gradients, buffers, and the random numbers that are drawn next"
    x = data(made(name, 'bits', device), constant, 4, 3)
    if device=='cuda': # cuDNN adds gradients in an order of its own unless it is told not to
        torch.backends.cudnn.deterministic = True
    try: same(step(made(name, 'bits', device), x, 2), step(made(name, 'recompute', device), x, 2))
    finally: torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize('name', ['dropout', 'norm'])
def test_modes_are_those_of_the_way_forward(name):
    got = []
    for save in 'recompute','bits':
        net = made(name, save)
        torch.manual_seed(3)
        loss = net(data(net))[1].square().mean()
        net.eval()
        loss.backward()
        assert not any(m.training for m in net.modules())
        got.append([p.grad for p in net.parameters()]+[*net.buffers()])
    same(*got)


def test_batch_norms_count_a_step_once():
    net = made('norm', 'bits')
    net(data(net))[1].sum().backward()
    assert [m.num_batches_tracked.item() for m in net.modules() if hasattr(m, 'num_batches_tracked')]==[1,1]


@pytest.mark.parametrize('reset', RESETS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_other_numbers_and_resets(reset, dtype):
    def net(save):
        torch.manual_seed(0)
        return saves(Network(nn.Linear(12,9), LIF(reset=reset, detach_reset=False), nn.Linear(9,5), LIF(reset=reset)), save).to(dtype)
    x = (torch.rand(6,5,12)<.5).to(dtype)
    same(step(net('bits'), x), step(net('trace'), x))


@pytest.mark.parametrize('name', ['linear', 'synaptic', 'recurrent'])
def test_records_and_states(name):
    "Every layer's record, and gradients over the border of two pieces; weights that are used in both add in another order"
    def run(net, x):
        first = net.record(x[:3])
        second = net.record(x[3:], [r.state for r in first])
        assert [r.state.steps for r in second]==[6]*len(second)
        of = first+second
        return torch.cat([r.spk.flatten(2) for r in of], 2),torch.cat([r.mem.flatten(2)*(i+1) for i,r in enumerate(of)], 2)
    x = data(made(name, 'bits', dtype=torch.float64))
    for a,b in zip(*(step(made(name, save, dtype=torch.float64), x, run=run) for save in ('bits','recompute'))): torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    def every(net, x): return [torch.cat([getattr(r, k).flatten(2) for r in net.record(x)], 2) for k in ('spk','mem')]
    got,want = (step(made(name, save, dtype=torch.float64), x, run=every) for save in ('bits','recompute'))
    if name=='linear': same(got, want)
    for a,b in zip(got, want): torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_answers_with_their_rate():
    def run(save, at_once=None):
        net = made('conv', save)
        net.at_once = at_once
        torch.manual_seed(0)
        scores,rate = net.answer(data(net))
        (scores.square().sum()+rate).backward()
        return scores.detach(),rate.detach(),*(p.grad for p in net.parameters())
    same(run('bits'), run('recompute'))
    for a,b in zip(run('bits', 2), run('recompute')): torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('back_inside', [False, True])
@pytest.mark.parametrize('name', ['conv', 'shared', 'half'])
def test_autocast(name, back_inside, dtype):
    "Whether the way back is inside of it or not; a weight that is used twice gets the sum of its gradients in float32"
    def grads(save):
        net = made('conv' if name=='conv' else 'shared', save)
        if name=='half': net.layers[3].save = 'recompute' # finds no weight that was cast without gradients
        with torch.autocast('cpu', dtype):
            loss = net(data(net))[1].float().square().mean()
            if back_inside: loss.backward()
        if not back_inside: loss.backward()
        return [p.grad for p in net.parameters()]
    got,want = grads('bits'),grads('recompute')
    if name=='conv': same(got, want)
    for a,b in zip(got, want): torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2*b.abs().max().item())


@pytest.mark.parametrize('reentrant', [False, True])
def test_inside_of_another_checkpoint(reentrant):
    x = data(made('dropout', 'bits'))
    same(step(made('dropout', 'bits'), x, run=lambda net,x: checkpoint(net, x, use_reentrant=reentrant)), step(made('dropout', 'recompute'), x))


def test_copies_keep_what_they_were_told():
    net = made('norm', 'bits')
    net.at_once = 2
    other = copy.deepcopy(net)
    assert other.at_once==2 and [l.save for l in other.layers]==[l.save for l in net.layers] and not any('at_once' in k for k in net.state_dict())
    net.at_once = other.at_once = None
    x = data(net)
    same(step(net, x), step(other, x))


def test_some_blocks_alone():
    x = data(made('conv', 'bits'))
    net = made('conv', 'recompute')
    net.layers[4].save = 'bits'
    same(step(net, x), step(made('conv', 'recompute'), x))


def test_parameters_that_are_swapped():
    "`functional_call` gives others for the way forward; the way back is through these"
    got = []
    for save in 'recompute','bits':
        net = made('linear', save)
        own = {n:(p.detach()*.9).requires_grad_() for n,p in net.named_parameters()}
        torch.func.functional_call(net, own, (data(net, True),))[1].sum().backward()
        assert all(p.grad is None for p in net.parameters())
        got.append([p.grad for p in own.values()])
    same(*got)


def test_what_is_written_in_between_is_found():
    net = made('linear', 'bits')
    for v in lambda x: net.layers[0].weight, lambda x: x:
        x = data(net)
        loss = net(x)[1].sum()
        with torch.no_grad(): v(x).mul_(.5)
        with pytest.raises(RuntimeError, match='modified by an inplace operation'): loss.backward()


def test_compiled():
    "A compiler chooses by itself what it makes again; it takes the network as one graph"
    net = made('linear', 'bits')
    x = data(net)
    same(step(torch.compile(net, backend='eager', fullgraph=True), x)[:2], step(made('linear', 'bits'), x)[:2])


def test_a_second_gradient_is_refused():
    net = made('linear', 'bits')
    with pytest.raises(CheckError, match='one pass back'): torch.autograd.grad(net(data(net))[1].sum(), net.layers[0].weight, create_graph=True)


def kept(run, own=()):
    "Bytes that autograd keeps, besides those that somebody holds anyway"
    held,own = {},{t.untyped_storage().data_ptr() for t in own}
    def look(t):
        s = t.untyped_storage()
        if s.data_ptr() not in own: held[s.data_ptr()] = s.nbytes(),t # held, so that no other takes its place
        return t
    with saved_tensors_hooks(look, lambda t: t): out = run()
    return sum(n for n,_ in held.values()),out


@pytest.mark.parametrize('constant', [False, True])
def test_bytes_of_a_step(constant):
    "An eighth of a byte for a spike that goes from block to block, and what is as small as a layer"
    def net(save):
        torch.manual_seed(0)
        return saves(Network(nn.Conv2d(1,12,5), nn.MaxPool2d(2), LIF(), nn.Conv2d(12,64,5), nn.MaxPool2d(2), LIF(), nn.Flatten(), nn.Linear(1024,10),
                             LIF(reset='none'), in_shape=(1,28,28)), save)
    x,bytes_ = torch.rand(2,1,28,28) if constant else (torch.rand(25,2,1,28,28)<.5).float(),{}
    for save in 'recompute','bits':
        n = net(save)
        bytes_[save],_ = kept(lambda: n(x)[1].sum(), [x,*n.parameters(),*n.buffers()])
    spikes = 25*2*(12*12*12+1024)
    assert spikes/8<=bytes_['bits']<=spikes/8+25*2*10*4*3+4096 # and the states that come out
    assert bytes_['bits']<bytes_['recompute']/50


class Spy(nn.Module):
    "Remembers, weakly, the memory of what came by"
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(StorageWeakRef(x.untyped_storage()))
        return x


@pytest.mark.parametrize('more', [nn.Identity, nn.Dropout])
@pytest.mark.parametrize('save', ['bits', 'recompute'])
def test_nobody_holds_the_floats(save, more):
    "Neither autograd nor anybody else: after the way forward, spikes and currents are gone; with `recompute` they are there"
    spies = [Spy(), Spy()]
    net = saves(Network(nn.Linear(12,20), spies[0], LIF(), more(), spies[1], nn.Linear(20,5), LIF(reset='none')), save)
    spk,mem = net(data(net, t=20))
    assert [all(r.expired() for r in s.seen) for s in spies]==[save=='bits']*2


def test_nothing_is_kept_without_gradients():
    net = made('conv', 'bits')
    with torch.no_grad(): assert kept(lambda: net(data(net)))[0]==0
    net.requires_grad_(False)
    n,(spk,_) = kept(lambda: net(data(net)))
    assert n==0 and not spk.requires_grad


@pytest.mark.parametrize('save,constant,first', [('bits',False,False), ('bits',True,False), ('bits',False,True), ('recompute',False,False)])
@pytest.mark.parametrize('name', ['conv', 'synaptic', 'recurrent'])
@pytest.mark.parametrize('device', DEVICES)
def test_so_many_at_once(device, name, save, constant, first):
    "In pieces of two, of four: as all together, up to the last digits of a sum"
    x = data(made(name, save, device, torch.float64), constant, 3, 4)
    def run(net, x):
        net.batch_first = first
        got = net.record(x.transpose(0, 1) if first and not constant else x)
        again = net.record(x.transpose(0, 1) if first and not constant else x, [r.state for r in got])
        assert [r.state.steps for r in again]==[2*len(got[0].spk)]*len(again)
        return torch.cat([r.spk.flatten(2) for r in got+again], 2),torch.cat([r.mem.flatten(2) for r in got+again], 2)
    net = made(name, save, device, torch.float64)
    net.at_once = 2
    for a,b in zip(step(net, x, run=run), step(made(name, save, device, torch.float64), x, run=run)): torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_at_once_is_checked():
    net = made('conv', 'bits')
    for n in 0, 1.5, True, 'all':
        net.at_once = n
        with pytest.raises(CheckError, match='`at_once`: expected a whole number >= 1, or None'): net(data(net))
    net.at_once = 2
    with pytest.raises(CheckError, match='`x`'): net(torch.rand(3))
    x = data(net)
    state = [r.state for r in net.record(x[:,:4])]
    with pytest.raises(CheckError, match='state.mem'): net(x, state)
    with pytest.raises(CheckError, match='state.mem'): net(x[:,:2], state)
    norm = made('norm', 'bits')
    norm.at_once = 2
    with pytest.raises(CheckError, match='layers.1: `at_once`: expected a layer that sees each sample alone, found BatchNorm2d in training'): norm(data(norm))
    assert norm.eval()(data(norm))[1].shape==(6,5,5)


@pytest.mark.parametrize('n', [0, 1, 7, 8, 9, 4096, 5001])
@pytest.mark.parametrize('device', DEVICES)
def test_bits_and_back(n, device):
    x = (torch.rand(n)<.3).float().to(device)
    bits = pack(x)
    assert np.array_equal(bits.cpu().numpy(), np.packbits(x.cpu().numpy()!=0, bitorder='little'))
    for dtype in torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8:
        assert torch.equal(pack(x.to(dtype)), bits) and torch.equal(unpack(bits, (n,1), dtype), x.to(dtype)[:,None])


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.filterwarnings('ignore:Synchronization debug mode')
def test_a_step_does_not_wait_and_is_captured():
    "Neither forward nor back; and replayed as a CUDA graph it gives the same gradients"
    net = made('conv', 'bits', 'cuda')
    x = data(net)
    def run():
        for p in net.parameters(): p.grad = None
        net(x)[1].square().mean().backward()
        return [p.grad for p in net.parameters()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3): want = run()
        torch.cuda.synchronize()
        try:
            torch.cuda.set_sync_debug_mode('error')
            run()
        finally: torch.cuda.set_sync_debug_mode('default')
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): got = run()
    graph.replay()
    for a,b in zip(got, want): torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_peak_on_a_gpu():
    "Fewer bytes at the peak of a step; and fewer still in pieces"
    peaks = []
    for save,at_once in ('recompute',None),('bits',None),('bits',4):
        net = saves(Network(nn.Conv2d(2,12,5), nn.MaxPool2d(2), LIF(), nn.Conv2d(12,32,5), nn.MaxPool2d(2), LIF(), nn.Flatten(), nn.Linear(32*29*29,10),
                            LIF(reset='none'), in_shape=(2,128,128)), save).cuda()
        net.at_once = at_once
        x = (torch.rand(20,16,2,128,128, device='cuda')<.1).float()
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            net(x)[1].square().mean().backward()
        peaks.append(torch.cuda.max_memory_allocated()-x.nbytes)
        del net, x
    assert peaks[1]<peaks[0] and peaks[2]<.4*peaks[0], peaks # the first convolution's output is most of both
