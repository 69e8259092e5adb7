"""Products of codes on tensor cores beside int64. They run on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1); elsewhere kernels are skipped by name"""
import importlib.util
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quarantion.quant import products as module
from quarantion.quant.products import _arithmetic, convolve, products

GPU,INTERPRETED = torch.cuda.is_available(),os.environ.get('TRITON_INTERPRET')=='1' and importlib.util.find_spec('triton') is not None
KERNELS = pytest.mark.skipif(not (GPU or INTERPRETED), reason='no GPU (or TRITON_INTERPRET=1, and triton)')
DEVICE = 'cuda' if GPU else 'cpu'
pytestmark = [pytest.mark.filterwarnings(f'ignore:{w}') for w in ('Synchronization debug mode', 'Attempting to run cuBLAS', 'The AccumulateGrad node')]
KINDS = dict(float16=(-127,127,False,0), spikes=(0,1,False,0), int8=(-127,127,True,0), offset=(0,255,True,128))


def one(seed):
    "Codes of a layer, with any geometry and any strides"
    g = torch.Generator().manual_seed(seed)
    pick = lambda *v: v[int(torch.randint(len(v), (), generator=g))]
    low,high,byte,zero = KINDS[kind := pick(*KINDS)]
    whole = lambda lo,hi,*s: torch.randint(lo, hi+1, s, generator=g)
    n,conv = pick(0, 1, 2, 5),()
    if pick(True, False): x,w = whole(low, high, n, (j := pick(1, 7, 16, 50, 100))),whole(-127, 127, pick(1, 5, 16, 40), j)
    else:
        groups,c = pick(1, 1, 2, 3),pick(1, 2, 5)
        x,w = whole(low, high, n, groups*c, pick(6, 7), pick(9, 11)),whole(-127, 127, groups*pick(1, 3, 9), c, pick(1, 2, 3), pick(1, 3, 5))
        conv = pick((1,1), (2,1), (3,2)),pick((0,0), (1,0), (2,2)),pick((1,1), (1,2), (2,2)),groups
    dtype = pick(torch.float32, torch.float64)
    x = x.to(torch.uint8 if kind in ('offset','spikes') and pick(True, False) else dtype)
    if pick(True, False): x = x.to(memory_format=torch.channels_last) if conv else x.T.contiguous().T
    elif pick(True, False): x = torch.stack([x, x], -1)[...,0]
    return x,w.to(dtype),conv,byte,zero


def exactly(x, w, conv=()):
    "In int64"
    return (F.conv2d(x.long(), w.long(), None, *conv) if conv else x.long()@w.long().T).to(w.dtype)


def there(t): return torch.empty_strided(t.shape, t.stride(), device=DEVICE, dtype=t.dtype).copy_(t)


@KERNELS
@pytest.mark.parametrize('seed', range(80))
def test_kernels_equal_int64(seed):
    from quarantion.kernels.cuda.products import code_products
    x,w,conv,byte,zero = one(seed)
    got = code_products(there(x), there(w), conv, byte, zero)
    assert got.dtype==w.dtype and torch.equal(got.cpu(), exactly(x, w, conv))


@KERNELS
@pytest.mark.parametrize('x,w,zero', [(255,127,128), (255,-127,128), (0,-127,128), (127,127,0), (-127,127,0)])
@pytest.mark.parametrize('conv', [(), ((1,1),(1,1),(1,1),1)])
def test_the_largest_codes_that_there_are(x, w, zero, conv):
    "Sums of up to 2^25, which float32 does not hold"
    from quarantion.kernels.cuda.products import code_products
    shapes = ((1,124,3,3),(2,124,3,3)) if conv else ((3,1037),(2,1037))
    x,w = (torch.full(s, float(v), dtype=torch.float64) for s,v in zip(shapes, (x,w)))
    assert torch.equal(code_products(there(x), there(w), conv, True, zero).cpu(), exactly(x, w, conv))


@KERNELS
def test_the_largest_sums_of_float16():
    "Odd ones, next to 2^24, in a row that alternates and in one that does not"
    from quarantion.kernels.cuda.products import code_products
    fan = 64
    assert _arithmetic(fan, (-2048,2048,127))=='float16' and _arithmetic(fan+1, (-2048,2048,127))==''
    assert _arithmetic(132104, (0,1,127))=='float16' and _arithmetic(132105, (0,1,127))!='float16'
    x = torch.full((2,fan), 2047.); x[1,::2] *= -1; x[:,-1] = 1
    w = torch.full((1,fan), 127.); w[0,-1] = 1
    assert torch.equal(code_products(there(x), there(w)).cpu(), exactly(x, w))


@KERNELS
@pytest.mark.parametrize('cut', [(32,16,32,4,2), (64,64,64,4,3), (128,64,32,8,2)])
def test_cuts_make_no_difference(cut):
    from quarantion.kernels.cuda.products import code_products
    x,w = torch.randint(-127, 128, (3,70)).float(),torch.randint(-127, 128, (33,70)).float()
    for byte in False,True: assert torch.equal(code_products(there(x), there(w), (), byte, cut=cut).cpu(), exactly(x, w))


def test_what_is_exact_in_what():
    assert _arithmetic(518, (0,255,127))=='float16' and _arithmetic(519, (0,255,127))=='int8'
    assert _arithmetic(519, (0,256,127))=='' and _arithmetic(519, (-1,255,127))=='' and _arithmetic(519, (0,255,128))==''
    assert _arithmetic(60000, (0,255,127))=='int8' and _arithmetic(2**17, (0,255,127))==''
    assert _arithmetic(9, (-128,127,127))=='float16' and _arithmetic(9, (0,2049,1))=='' and _arithmetic(9, (0,1,2049))==''


CONVS = [(), ((1,1),(0,0),(1,1),1), ((2,1),(1,2),(1,2),2)]

def layer(conv, n=3, dtype=torch.float32, device='cpu'):
    torch.manual_seed(0)
    x = torch.randint(0, 2, (n,4,8,9) if conv else (n,20)).to(device, dtype).requires_grad_()
    w = torch.randint(-127, 128, (6,4//conv[3],3,3) if conv else (6,20)).to(device, dtype).requires_grad_()
    return x,w


@pytest.mark.parametrize('conv', CONVS)
@pytest.mark.parametrize('n', [0, 3])
@pytest.mark.parametrize('learn', [(True,True), (True,False), (False,True)])
def test_gradients_are_those_of_torch(conv, n, learn):
    x,w = (t.requires_grad_(l) for t,l in zip(layer(conv, n, torch.float64), learn))
    ours,theirs = module._of_codes(x, w, conv, (0,1,127)),module._plain(x, w, conv)
    assert torch.equal(ours, theirs)
    g = torch.randn(theirs.shape, dtype=torch.float64)
    of = [t for t,l in zip((x,w), learn) if l]
    for a,b in zip(torch.autograd.grad(ours, of, g), torch.autograd.grad(theirs, of, g)): torch.testing.assert_close(a, b)


@pytest.mark.parametrize('conv', CONVS)
def test_the_operator_is_one(conv):
    "Shapes and strides that a compiler is told, and gradients"
    x,w = layer(conv)
    torch.library.opcheck(module._sums_op, (x,w,module._listed(conv),[0,1,127]), test_utils=('test_schema','test_faketensor','test_autograd_registration'))
    g = torch.randn_like(module._plain(x, w, conv).detach())
    torch.library.opcheck(module._gradients_op, (g,x.detach(),w.detach(),module._listed(conv),True,True), test_utils=('test_schema','test_faketensor'))
    one = module._of_codes(x, w, conv, (0,1,127))
    two = module._sums_op(x, w, module._listed(conv), [0,1,127])
    assert all(torch.equal(a, b) for a,b in zip(torch.autograd.grad(one, (x,w), g), torch.autograd.grad(two, (x,w), g)))


@pytest.mark.parametrize('conv', CONVS)
def test_a_compiler_takes_the_operator_in_one_graph(conv):
    x,w = layer(conv)
    run = torch.compile(lambda x, w: module._of_codes(x, w, conv, (0,1,127)), fullgraph=True, backend='aot_eager')
    one,two = module._of_codes(x, w, conv, (0,1,127)),run(x, w)
    g = torch.randn_like(one)
    assert torch.equal(one, two) and all(torch.equal(a, b) for a,b in zip(*(torch.autograd.grad(y, (x,w), g) for y in (one,two))))


@pytest.mark.parametrize('low,codes', [(0,True), (-.5,True), (0,False)])
def test_layers_say_how_large_their_codes_are(low, codes, monkeypatch):
    "What comes in is within the bounds, poolings counted; and nothing is said where training leaves weights real"
    from quarantion import Policy, prepare
    from quarantion.quant import layer
    from quarantion.spikes import LIF, Network
    torch.manual_seed(0)
    x = torch.rand(4, 2, 8, 8)+low
    net = Network(nn.AvgPool2d(2), nn.Conv2d(2, 3, 3), LIF(beta=.9), nn.Flatten(), nn.Linear(12, 5), LIF(beta=.8, reset='none'), steps=3, in_shape=(2,8,8))
    q,seen = prepare(net, Policy('int4', noise=0. if codes else .5), x).train(),[]
    monkeypatch.setattr(layer, 'products', lambda x, w, conv, most: seen.append((x,w,most)) or products(x, w, conv))
    q(x)
    assert [most for *_,most in seen]==([(-508 if low else 0,508 if low else 1020,7),(-1,1,7)] if codes else [(),()])
    for y,w,most in seen*codes: assert most[0]<=y.min() and y.max()<=most[1] and w.abs().max()<=most[2] and torch.equal(y, y.round())


@pytest.mark.skipif(not INTERPRETED or GPU, reason='no interpreter (TRITON_INTERPRET=1, and triton), or a GPU')
@pytest.mark.parametrize('conv', CONVS)
def test_the_operator_calls_the_kernel(conv, monkeypatch):
    monkeypatch.setattr(module, 'on_gpu', lambda x: True)
    monkeypatch.setattr(module, '_plain', None)
    x,w = layer(conv)
    for most in (0,1,127),(0,255,127),(-127,127,127):
        assert torch.equal(module._of_codes(x, w, conv, most).detach(), exactly(x, w, conv))


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('conv', CONVS)
def test_on_a_gpu_nothing_waits_and_a_graph_takes_it(conv, monkeypatch):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8') # what torch wants of deterministic products
    x,w = layer(conv, 16, device='cuda')
    g = torch.randn(exactly(x.cpu(), w.cpu(), conv).shape, device='cuda')
    def step(): return products(x, w, conv, (0,1,127)),*torch.autograd.grad(products(x, w, conv, (0,1,127)), (x,w), g)
    torch.use_deterministic_algorithms(True)
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside): [step() for _ in range(3)]
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.set_sync_debug_mode('error')
        first,again = ([t.detach() for t in step()] for _ in range(2)) # a graph that is held would keep its stream
        torch.cuda.set_sync_debug_mode('default')
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): held = step()
        graph.replay()
        assert all(torch.equal(a, b) and torch.equal(a, c) for a,b,c in zip(first, again, held))
    finally:
        torch.cuda.set_sync_debug_mode('default')
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0].cpu(), exactly(x.cpu(), w.cpu(), conv))
    for a,b in zip(first[1:], torch.autograd.grad(module._plain(x.double(), w.double(), conv), (x,w), g.double())):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(not GPU, reason='no GPU')
def test_tf32_makes_no_difference_to_sums():
    x,w = torch.randint(0, 256, (300,500), device='cuda').float(),torch.randint(-127, 128, (200,500), device='cuda').float()
    torch.set_float32_matmul_precision('high')
    try: assert torch.equal(products(x, w, (), (0,255,127)).cpu(), exactly(x.cpu(), w.cpu()))
    finally: torch.set_float32_matmul_precision('highest')


@pytest.mark.skipif(not GPU, reason='no GPU')
@pytest.mark.parametrize('policy', ['int8', 'nonary', 'ternary'])
@pytest.mark.parametrize('whole', [True, False])
def test_a_convolutional_network_is_the_same_on_a_gpu(policy, whole):
    import copy

    from quarantion import prepare, preset
    from quarantion.spikes import LIF, Network
    torch.manual_seed(0)
    x = torch.rand(8, 2, 12, 12)-(0 if whole else .5)
    net = Network(nn.Conv2d(2, 6, 3, padding=1), LIF(beta=.9), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, groups=2), LIF(beta=.9), nn.Flatten(),
                  nn.Linear(8*16, 5), LIF(beta=.8, reset='none'), in_shape=(2, 12, 12), steps=5)
    q = prepare(net, preset(policy), x)
    there = copy.deepcopy(q).cuda()
    for mode in (True, False):
        q.train(mode); there.train(mode)
        for a,b in zip(q.record(x), there.record(x.cuda())): assert torch.equal(a.spk, b.spk.cpu()) and torch.equal(a.mem, b.mem.cpu()), a.name


def test_without_bounds_it_is_what_it_was():
    x,w = layer(CONVS[2])
    assert torch.equal(convolve(x, w, *CONVS[2]), F.conv2d(x, w, None, *CONVS[2]))
    assert torch.equal(convolve(x[:,:,0], w[:,:,:1], (1,1), (0,1), (1,1), 2), F.conv1d(x[:,:,0], w[:,:,0], None, 1, 1, 1, 2))
