"Gradients in few bytes: nothing is lost, whatever the numbers, and a second reading gives the same bits."
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from test_kernels import LEVELS, load

from quarantion.train import payloads
from quarantion.train.payloads import CODES, TOPS, Code, Frame, Pace, code_of, decode_into, encode, energy, kept_of, least_share, next_pace

OURS = [n for n in CODES if n!='powersgd']


def gradients(rng, n, kind):
    "Zeros, equal numbers, long tails, very small and very large ones"
    g = dict(zeros=np.zeros(n), equal=np.full(n, -.3), normal=rng.normal(0, 1, n), tails=rng.standard_t(2, n),
             sparse=rng.normal(0, 1, n)*(rng.random(n)<.02), small=rng.normal(0, 1e-39, n), smaller=rng.normal(0, 1e-44, n),
             large=rng.uniform(-1, 1, n)*2e37, mixed=rng.normal(0, 1, n)*10.**rng.integers(-40, 37, n))[kind]
    return torch.from_numpy(g.astype(np.float32))


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(OURS), st.lists(st.integers(0, 700), max_size=5), st.integers(1, 400), st.floats(1e-3, 1), st.integers(0, 2**32-1), st.data())
def test_what_is_sent_and_what_is_left_is_all(name, sizes, block, share, seed, data):
    "Σ sent + residual = Σ true to 1e-6 of the largest number, over six steps"
    f,rng = Frame(Code(name, block, share), tuple(sizes)),np.random.default_rng(seed)
    left,sent,true = torch.zeros(f.n),np.zeros(f.n),np.zeros(f.n)
    most = 0.
    for _ in range(6):
        kind = data.draw(st.sampled_from('zeros equal normal tails sparse small smaller large mixed'.split()))
        g,total = gradients(rng, f.n, kind),torch.zeros(f.n)
        most = max(most, *map(float, (g.abs().double()+left.abs().double()).tolist()), 0.)
        payload = encode(f, g, left)
        assert payload.dtype==torch.uint8 and len(payload)==f.bytes
        decode_into(total, f, payload)
        sent += total.double().numpy(); true += g.double().numpy()
    assert np.isfinite(sent).all() and torch.isfinite(left).all()
    assert (abs(sent+left.double().numpy()-true)<=1e-6*most+1e-44).all()


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(OURS), st.lists(st.integers(1, 300), min_size=2, max_size=4), st.sampled_from((math.nan,math.inf,-math.inf)), st.integers(0, 2**32-1))
def test_what_is_not_finite_is_seen_by_all_and_leaves_residuals_alone(name, sizes, odd, seed):
    rng,f = np.random.default_rng(seed),Frame(Code(name, 64, .1), tuple(sizes))
    g,left,total = gradients(rng, f.n, 'normal'),gradients(rng, f.n, 'normal'),torch.zeros(f.n)
    at = int(rng.integers(f.n))
    g[at],was = odd,left.clone()
    decode_into(total, f, encode(f, g, left))
    if name=='none': assert not total[at].isfinite(); return
    b = int(np.searchsorted(f.ends, at, 'right'))
    mine = slice(int(f.ends[b-1]) if b else 0, int(f.ends[b]))
    bad = total.isnan()
    assert torch.equal(left[mine], was[mine]) and torch.isfinite(left).all()
    assert not bad[:mine.start].any() and not bad[mine.stop:].any() and not total.isinf().any()
    assert bad[mine].all() if name!='topk' else int(bad.sum())==f.counts[b]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 400), max_size=4), st.lists(st.floats(1e-6, 1), min_size=1, max_size=8), st.integers(0, 2**32-1), st.data())
def test_nothing_is_lost_while_the_share_moves(sizes, shares, seed, data):
    rng,n = np.random.default_rng(seed),sum(sizes)
    left,sent,true,most = torch.zeros(n),np.zeros(n),np.zeros(n),0.
    for share in shares:
        g,total,f = gradients(rng, n, data.draw(st.sampled_from('zeros equal normal tails sparse mixed'.split()))),torch.zeros(n),Frame(Code('topk', share=share), tuple(sizes))
        most = max(most, *map(float, (g.abs().double()+left.abs().double()).tolist()), 0.)
        decode_into(total, f, encode(f, g, left))
        sent += total.double().numpy(); true += g.double().numpy()
    assert (abs(sent+left.double().numpy()-true)<=1e-6*most+1e-44).all()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from('equal normal tails sparse mixed'.split()), st.integers(1, 2000), st.floats(.001, 1), st.floats(.01, 1), st.integers(0, 2**32-1))
def test_a_share_shrinks_no_further_than_its_floor(kind, n, share, floor, seed):
    g = gradients(np.random.default_rng(seed), n, kind)
    def kept(share):
        f,left = Frame(Code('topk', share=min(1, share)), (n,)),torch.zeros(n)
        b = encode(f, g, left)
        return kept_of(energy(b[:f.bytes//2].view(torch.float32)), energy(left))
    had = kept(share)
    assert had>=min(1, share)-1e-9 # the largest hold at least their share
    least = least_share(share, had, min(floor, had))
    if math.ceil(least*n)/math.ceil(share*n)>=least/1.25/share: assert kept(least)>=min(floor, had)-1e-9 # as far as numbers are whole
    assert least<=1.25*share+1e-12


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-6, 1), st.lists(st.tuples(*[st.floats(0, 1e12)]*2, st.floats(0, 1)), min_size=1, max_size=20), st.integers(1, 10**9), st.integers(1, 1024))
def test_a_share_is_one_whatever_was_measured(share, seen, whole, N):
    pace,code = Pace(share),code_of('topk(auto)')
    for rate,work,least in seen:
        before,pace = pace,next_pace(pace, rate, work, least, whole, code, N)
        assert max(least, 1e-6)<=pace.share<=max(least, 1/N, before.share, 1e-6)
        assert not before.rate or pace.rate<=1.25*before.rate*(1+1e-12)


def test_a_share_follows_given_seconds():
    "Within a twentieth of the part that was asked for, from any share, some steps after the wire changed"
    for begin in 1e-6,.01,.5:
        pace,code,work,n = Pace(begin),code_of('topk(auto)', part=.5),.02,10**6
        for rate in 1e7,1e6,1e8,2e7:
            for _ in range(60):
                seconds = 8*n*pace.share/rate
                pace = next_pace(pace, rate, work, 0., 8*n, code, 2)
            assert pace.share==pytest.approx(min(.5, .5*work*rate/(8*n)), rel=.05) and (pace.share==.5 or seconds==pytest.approx(.5*work, rel=.05))


@pytest.mark.parametrize('name', OURS)
def test_parameters_do_not_depend_on_their_neighbours(name):
    "In whatever order they lie, each gives and leaves the same bits"
    rng,sizes = np.random.default_rng(0),(333,64,1,10)
    parts = [gradients(rng, n, 'tails') for n in sizes]
    def run(order):
        f = Frame(Code(name, 64, .05), tuple(sizes[i] for i in order))
        left,total = torch.zeros(f.n),torch.zeros(f.n)
        for _ in range(3): decode_into(total, f, encode(f, torch.cat([parts[i] for i in order]), left))
        return {i:(t,l) for i,t,l in zip(order, total.split(f.sizes), left.split(f.sizes))}
    a,b = run((0,1,2,3)),run((2,0,3,1))
    assert all(torch.equal(x, y) for i in a for x,y in zip(a[i], b[i]))


@pytest.mark.parametrize('name', OURS)
def test_every_level_of_the_processor_gives_the_same_bytes(name, monkeypatch):
    rng,f = np.random.default_rng(1),Frame(code_of(name), (3000,77))
    g,seen = gradients(rng, f.n, 'mixed'),set()
    for level in LEVELS[:3]:
        for k in 'code_residuals','add_residuals': monkeypatch.setattr(payloads, k, getattr(load('residuals', level), k))
        for k in 'pack_nits','unpack_nits': monkeypatch.setattr(payloads, k, getattr(load('nonary', level), k))
        left,total = torch.zeros(f.n),torch.zeros(f.n)
        b = encode(f, g, left)
        decode_into(total, f, b)
        seen.add((b.numpy().tobytes(),left.numpy().tobytes(),total.numpy().tobytes()))
    assert len(seen)==1


@pytest.mark.parametrize('name', TOPS)
def test_compiled_is_what_torch_does(name):
    "The same digits, scales and residuals from twenty operations of torch, which is how a GPU does it"
    rng,f = np.random.default_rng(2),Frame(code_of(name), (2000,1,77))
    for kind in 'tails','mixed','small','smaller','large','zeros':
        a,b = torch.zeros(f.n),torch.zeros(f.n)
        for _ in range(3):
            g = gradients(rng, f.n, kind)
            g[5] = torch.nan if kind=='mixed' else g[5]
            k,s = payloads._digits(f.code, g, a, f.ends)
            k2,s2 = payloads._coded(f.code, g, b, f.ends)
            assert torch.equal(k[:f.n], k2) and torch.equal(s.nan_to_num(-1), s2.nan_to_num(-1)) and torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', OURS)
def test_a_gpu_gives_the_same_bytes(name):
    rng,f = np.random.default_rng(3),Frame(code_of(name), (3000,77,1))
    for kind in 'tails','mixed','large':
        a,b = torch.zeros(f.n),torch.zeros(f.n, device='cuda')
        for _ in range(3):
            g,x,y = gradients(rng, f.n, kind),torch.zeros(f.n),torch.zeros(f.n, device='cuda')
            p,q = encode(f, g, a),encode(f, g.cuda(), b)
            decode_into(x, f, p); decode_into(y, f, q)
            assert torch.equal(p, q.cpu()) and torch.equal(a, b.cpu()) and torch.equal(x, y.cpu())


def test_residuals_stay_bounded():
    "A gradient that never changes is sent in full over time: nothing starves"
    rng = np.random.default_rng(4)
    g = gradients(rng, 2000, 'tails')
    for name in OURS:
        f,left,sent = Frame(code_of(name), (2000,)),torch.zeros(2000),torch.zeros(2000)
        for _ in range(400): decode_into(sent, f, encode(f, g, left))
        assert (sent/400-g).norm()<.3*g.norm(), name


def test_the_largest_are_the_largest():
    rng = np.random.default_rng(5)
    for _ in range(50):
        a = torch.from_numpy(rng.integers(-4, 5, 40).astype(np.float32))
        k = int(rng.integers(1, 41))
        order = sorted(range(40), key=lambda i: (-abs(float(a[i])), i))
        assert payloads._largest(a, k).tolist()==sorted(order[:k])
