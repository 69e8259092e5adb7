"Nonary arithmetic against Python's integers, and encoders against their definitions."
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from quarantion.checks import CheckError
from quarantion.nonary import arithmetic as A
from quarantion.nonary.companding import compand, encode_complex, expand, overflows
from quarantion.nonary.nits import ROUNDINGS, nit_edges, pack, pack_planar, pack_trits, quantize_nits, unpack, unpack_planar, unpack_trits

widths = st.integers(1, 20)
pairs = widths.flatmap(lambda D: st.tuples(st.just(D), *[st.lists(number(D), min_size=1, max_size=8)]*2))


def number(D):
    "Anywhere in the range, and often at its ends or where a chain of carries starts"
    h = (9**D-1)//2
    chain = st.integers(0, D).map(lambda k: (9**k-1)//2)
    near = st.builds(lambda c,d,s: max(-h, min(h, s*(c+d))), chain, st.integers(-1, 1), st.sampled_from((-1,1)))
    return st.one_of(st.integers(-h, h), near, st.sampled_from((-h,h,0)))


def digits(x, D):
    "The D lower digits of a Python integer, and the rest, by the definition"
    out = []
    for _ in range(D):
        d = (x+4)%9-4
        out.append(d)
        x = (x-d)//9
    return out,x


def value(d): return sum(int(k)*9**i for i,k in enumerate(d))


def expected(x, D, overflow):
    h = (9**D-1)//2
    return max(-h, min(h, x)) if overflow=='saturate' else value(digits(x, D)[0])


def same(got, want): assert [int(g) for g in np.ravel(got)]==list(want)


# Golden values of the specification

def test_golden():
    assert [A.span(D) for D in range(1, 10)]==[4,40,364,3280,29524,265720,2391484,21523360,193710244]
    for x,D,d in (100,4,[1,2,1,0]),(-100,4,[-1,-2,-1,0]),(364,3,[4,4,4]): assert A.to_digits(x, D).tolist()==d
    low,carry = A.split(365, 3)
    assert (A.to_digits(low, 3).tolist(),int(carry))==([-4,-4,-4],1)
    assert [int(x) for x in A.add_carry(4, 4, 1)]==[-1,1]
    assert [int(x) for x in A.multiply_carry(4, 4, 1)]==[-2,2]
    rest = np.arange(-A.span(4), A.span(4)+1)
    assert np.abs(rest-81*A.shift(rest, -2, 4)).max()==40


def test_every_digit_product():
    "The tables of one digit: carries of a sum are −1 to 1, of a product −2 to 2"
    a,b = np.meshgrid(range(-4, 5), range(-4, 5))
    for f,exact,top in (A.add_carry,a+b,1),(A.multiply_carry,a*b,2):
        low,carry = f(a, b, 1)
        assert (low+9*carry==exact).all() and np.abs(low).max()==4 and np.abs(carry).max()==top


# Numbers

@given(pairs)
def test_digits(case):
    D,x,_ = case
    d = A.to_digits(x, D)
    assert d.dtype==np.int8 and d.tolist()==[digits(v, D)[0] for v in x]
    same(A.from_digits(d), x)
    assert (A.to_digits(A.negate(x, D), D)==-d).all()


@given(widths, st.lists(st.integers(-2**63, 2**63-1), max_size=8), st.booleans())
def test_split(D, x, single):
    "Any int64, alone or in an array"
    x = x[0] if single and x else np.array(x, np.int64)
    low,carry = A.split(x, D)
    same(low, [value(digits(int(v), D)[0]) for v in np.ravel(x)])
    same(carry, [digits(int(v), D)[1] for v in np.ravel(x)])
    for o in 'saturate','wrap': same(A.fit(x, D, o), [expected(int(v), D, o) for v in np.ravel(x)])


@given(pairs)
def test_sums_and_products(case):
    D,a,b = case
    n = min(len(a), len(b))
    a,b = a[:n],b[:n]
    for exact,carry,f in ((int.__add__,A.add_carry,A.add),(int.__sub__,A.subtract_carry,A.subtract),(int.__mul__,A.multiply_carry,A.multiply)):
        want = [exact(x, y) for x,y in zip(a,b)]
        low,c = carry(a, b, D)
        same(low, [value(digits(w, D)[0]) for w in want])
        same(c, [digits(w, D)[1] for w in want])
        for o in 'saturate','wrap': same(f(a, b, D, o), [expected(w, D, o) for w in want])
        if any(digits(w, D)[1] for w in want):
            with pytest.raises(CheckError, match=f'at most {D} digits, found {sum(digits(w, D)[1]!=0 for w in want)} of {n}'): f(a, b, D, 'raise')
        else: same(f(a, b, D, 'raise'), want)
    same(A.compare(a, b, D), [(x>y)-(x<y) for x,y in zip(a,b)])


@given(pairs, st.integers(-20, 20), st.booleans())
def test_shift(case, k, single):
    D,x,_ = case
    x = x[0] if single else x
    xs = [x] if single else x
    if k<0:
        got = A.shift(x, k, D)
        same(got, [round(Fraction(v, 9**-k)) for v in xs]) # never a tie, so that this is the nearest
        same(got, [value((digits(v, D)[0]+[0])[-k:]) for v in xs]) # and it is what is left of the digits
    else:
        for o in 'saturate','wrap': same(A.shift(x, k, D, o), [expected(v*9**k, D, o) for v in xs])


def test_shift_does_not_alias():
    x = np.array([1,2])
    A.shift(x, 0)[0] = 7
    A.fit(x, 20)[0] = 7
    assert x.tolist()==[1,2]


@pytest.mark.parametrize('D', range(1, 21))
def test_carry_chains(D):
    "A carry through every place and back, and the widest products"
    h = A.span(D)
    a,b = np.array([h,-h,h,-h,h,-h,0]),np.array([1,-1,h,-h,-h,h,0])
    low,carry = A.add_carry(a, b, D)
    assert [int(x)+int(c)*9**D for x,c in zip(low,carry)]==[int(x)+int(y) for x,y in zip(a,b)]
    assert A.add(a, b, D).tolist()==[h,-h,h,-h,0,0,0]
    assert A.subtract(low[:2], b[:2], D, 'wrap').tolist()==[h,-h]
    low,high = A.multiply_carry(a, b, D)
    assert [int(x)+int(c)*9**D for x,c in zip(low,high)]==[int(x)*int(y) for x,y in zip(a,b)]
    assert abs(high).max()<=h


def test_shapes():
    a = np.arange(24).reshape(2,3,4)
    assert A.to_digits(a, 3).shape==(2,3,4,3)
    assert (A.from_digits(A.to_digits(a, 3))==a).all()
    for v in a.T,a[:, ::-1, ::2],a.astype(np.int16),a.astype('>i4'),np.asfortranarray(a):
        assert (A.add(v, v, 4)==2*v).all() and (A.from_digits(A.to_digits(v, 4))==v).all() and (A.multiply(v, v, 4)==v.astype(int)**2).all()
        assert (A.from_digits(A.to_digits(v, 4)[..., ::-1][..., ::-1])==v).all()
    for v in np.arange(40)[::3],np.arange(40)[::-1],np.int64(7): # one axis, with gaps
        assert (A.to_digits(v, 4)==A.to_digits(np.array(v), 4)).all() and (A.from_digits(A.to_digits(v, 4))==v).all()
    assert A.from_digits(A.to_digits(np.arange(7), 4).T.copy().T).tolist()==list(range(7)) and A.from_digits(A.to_digits(np.arange(12), 4)[::3]).tolist()==[0,3,6,9]
    assert A.add(a, a[0,0], 5).shape==(2,3,4) and A.multiply(a[:, :1], a[0], 5).shape==(2,3,4)
    a.flags.writeable = False
    assert (A.add(a, a)==2*a).all()
    for shape in (0,),(2,0,3):
        z = np.zeros(shape, int)
        assert A.to_digits(z, 5).shape==(*shape,5) and A.from_digits(A.to_digits(z, 5)).shape==shape
        for f in A.add,A.subtract,A.multiply,A.compare: assert f(z, z, 5).shape==shape
        assert A.shift(z, 2).shape==A.shift(z, -2).shape==A.fit(z, 3).shape==A.sum_gate(z, z).shape==shape
    assert A.from_digits(np.zeros((3,0), np.int8)).tolist()==[0,0,0]


@pytest.mark.parametrize('call, text', [
    (lambda: A.span(0), '`D`: expected in [1, 20], found 0'),
    (lambda: A.span(2.), '`D`: expected an integer, found 2.0'),
    (lambda: A.to_digits(A.span(20)+1), '`x`: expected in [-6078832729528464400, 6078832729528464400] for D=20, found 6078832729528464401'),
    (lambda: A.to_digits(1.5), '`x`: expected integers within int64, found float64'),
    (lambda: A.to_digits(2**63), '`x`: expected integers within int64, found 9223372036854775808'),
    (lambda: A.to_digits(2**64), '`x`: expected an array of numbers, found 18446744073709551616'),
    (lambda: A.from_digits([1,-5]), '`digits`: expected in [-4, 4], found -5'),
    (lambda: A.from_digits(np.int8(1)), '`digits`: expected axes `... d`, found shape ()'),
    (lambda: A.from_digits(np.zeros((2,21), int)), '`digits.shape[-1]`: expected in [0, 20], found 21'),
    (lambda: A.add(5, 1, 1), '`a`: expected in [-4, 4] for D=1, found 5'),
    (lambda: A.multiply(1, [5], 1), '`b`: expected in [-4, 4] for D=1, found 5'),
    (lambda: A.add([1,2], [1,2,3]), '`a` and `b`: expected shapes that broadcast, found (2,) and (3,)'),
    (lambda: A.sum_gate([1,2], [1,2,3]), '`a` and `b`: expected shapes that broadcast, found (2,) and (3,)'),
    (lambda: A.add(1, 1, overflow='carry'), "`overflow`: expected one of saturate, wrap, raise, found 'carry'"),
    (lambda: A.shift(1, 21), '`k`: expected in [-20, 20], found 21'),
    (lambda: A.shift(1, .5), '`k`: expected a whole number of 64 bits, found 0.5'),
    (lambda: A.product_gate(1, 5), '`b`: expected in [-4, 4], found 5'),
    (lambda: A.dot(np.zeros((2,1), np.int16), [1]), '`words`: expected dtype uint16, found int16'),
    (lambda: A.dot(np.array([59049], np.uint16), [1]), '`words`: expected in [0, 59048], found 59049'),
    (lambda: A.dot(np.zeros((2,1), np.uint16), [2**31]), '`x`: expected integers within int32, found 2147483648'),
    (lambda: expand([.5]), '`nits`: expected integers, found float64'),
    (lambda: expand([5]), '`nits`: expected in [-4, 4], found 5'),
    (lambda: compand(np.array([np.nan])), '`v`: expected finite numbers'),
    (lambda: encode_complex(np.ones(2)), '`z`: expected dtype complex64 or complex128, found float64'),
    (lambda: encode_complex(np.array([1j*np.inf])), '`z`: expected finite numbers'),
    (lambda: overflows(np.ones(2, complex), 0), '`scale`: expected > 0, found 0'),
    (lambda: quantize_nits(np.ones(2), rounding='up'), "`rounding`: expected one of half_even, half_away, half_to_zero, found 'up'")])
def test_errors(call, text):
    with pytest.raises(CheckError) as e: call()
    assert text in str(e.value)


@pytest.mark.parametrize('threads', [2,7])
def test_threads(threads):
    "More threads give the same, over more blocks than one"
    rng = np.random.default_rng(0)
    a,b = rng.integers(-A.span(20)//2, A.span(20)//2, (2,9001))
    t = dict(num_threads=threads)
    for f in A.add,A.subtract,A.multiply: assert (f(a, b, **t)==f(a, b)).all()
    for f in A.add_carry,A.subtract_carry,A.multiply_carry: assert np.array_equal(f(a, b, **t), f(a, b))
    assert (A.to_digits(a, **t)==A.to_digits(a)).all() and (A.from_digits(A.to_digits(a), **t)==a).all()
    a[7777] = A.span(20)+1
    with pytest.raises(CheckError, match=f'`a`: expected in .* for D=20, found {A.span(20)+1}'): A.add(a, b, **t)
    with pytest.raises(CheckError, match=f'`b`: expected in .* for D=20, found {A.span(20)+1}'): A.add_carry(b, a, **t)
    w,x = rng.integers(-4, 5, (9,40)),rng.integers(-9, 9, 40)
    assert (A.dot(np.stack([pack(r) for r in w]), x, **t)==w@x).all()
    x,nits,trits = rng.normal(0, 2, 9001).astype(np.float32),rng.integers(-4, 5, 9001),rng.integers(-1, 2, 9001)
    assert (quantize_nits(x, .3, **t)==quantize_nits(x, .3)).all() and (compand(x, **t)==compand(x)).all() and (encode_complex(x+1j, **t)==encode_complex(x+1j)).all()
    for p,u,d in (pack,unpack,nits),(pack_trits,unpack_trits,trits): assert (p(d, **t)==p(d)).all() and (u(p(d), d.shape, **t)==d).all()
    d = nits[:9000].reshape(5, -1)
    assert (pack_planar(d, **t)==pack_planar(d)).all() and (unpack_planar(pack_planar(d), **t)==d).all()


# Gates

def test_gates():
    a,b = np.meshgrid(range(-4, 5), range(-4, 5))
    for f,want in (A.min_gate,np.minimum(a, b)),(A.max_gate,np.maximum(a, b)),(A.sum_gate,np.clip(a+b, -4, 4)),(A.product_gate,np.clip(a*b, -4, 4)):
        got = f(a, b)
        assert got.dtype==np.int8 and (got==want).all() and (f(b, a)==got).all()
    assert (A.negate_gate(a)==-a).all()
    a,b,c = np.meshgrid(*[range(-4, 5)]*3)
    for f in A.min_gate,A.max_gate: assert (f(f(a, b), c)==f(a, f(b, c))).all()
    for f in A.sum_gate,A.product_gate:
        differ = (f(f(a, b), c)!=f(a, f(b, c))).any()
        assert differ==(f is A.sum_gate) # a product only ever clamps outwards


# Packed weights

@settings(max_examples=40)
@given(st.integers(0, 4), st.integers(0, 40), st.integers(0, 2**32-1))
def test_dot(rows, n, seed):
    rng = np.random.default_rng(seed)
    w = rng.integers(-4, 5, (rows,n))
    words = np.array([pack(r) for r in w], np.uint16).reshape(rows, -(-n//5))
    x = rng.choice((-2**31,2**31-1,*rng.integers(-2**31, 2**31, 6)), n)
    assert A.dot(words, x).tolist()==[sum(int(p)*int(q) for p,q in zip(r,x)) for r in w]
    assert A.dot(np.asfortranarray(words), x).tolist()==A.dot(words, x).tolist()
    if rows: assert int(A.dot(words[0], x))==int(A.dot(words, x)[0])
    assert A.dot(np.repeat(words, 2, axis=1)[:, ::2], np.repeat(x, 2)[::2]).tolist()==A.dot(words, x).tolist()


# Encoders

def nearest(y, rounding):
    "The level nearest to a fraction, by the definition"
    below = y.__floor__()
    up = y-below-Fraction(1, 2)
    tie = {'half_even':below%2, 'half_away':y>0, 'half_to_zero':y<0}[rounding]
    return max(-4, min(4, below+(up>0 or up==0 and bool(tie))))


@given(st.lists(st.one_of(st.floats(-6, 6), st.integers(-13, 13).map(lambda k: k/2), st.integers(-10, 10).flatmap(
    lambda k: st.sampled_from((float(np.nextafter(k/2, -9)),float(np.nextafter(k/2, 9))))), st.floats(allow_nan=False, allow_infinity=False))), st.sampled_from(ROUNDINGS))
def test_uniform(x, rounding):
    got = quantize_nits(np.array(x), rounding=rounding)
    assert got.dtype==np.int8 and got.tolist()==[nearest(Fraction(v), rounding) for v in x]
    assert encode_complex(np.array(x)+1j).tolist()==[nearest(Fraction(v), 'half_to_zero') for v in x]


def test_roundings_differ_at_ties_alone():
    x = np.random.default_rng(0).normal(0, 2, 10_000).astype(np.float32)
    for s in .1,.7,3.: assert all((quantize_nits(x, s, r)==quantize_nits(x, s)).all() for r in ROUNDINGS)
    for r in ROUNDINGS: assert quantize_nits(np.array([1e308,-1e308]), 1e-9, r).tolist()==[4,-4]
    for r in ROUNDINGS: assert (quantize_nits(x[:9990].reshape(30,333).T[::2], .5, r)==quantize_nits(x[:9990], .5, r).reshape(30,333).T[::2]).all()


@settings(max_examples=300)
@given(st.one_of(st.floats(1e-30, 1e30), st.floats(0, 3e38, exclude_min=True), st.sampled_from((1e-45,3e-45,1e-38,3.4e38))), st.sampled_from(ROUNDINGS), st.sampled_from(('float32','float64')))
def test_edges_are_exact(scale, rounding, dtype):
    "An edge is the first number whose quotient, rounded to the type, has the digit; quantizing is then dividing, rounding and clipping"
    t = np.dtype(dtype).type
    if not t(scale)>0: return
    e = nit_edges(scale, rounding, dtype)
    x = np.concatenate([e, np.nextafter(e, t(0)), np.nextafter(e, t(np.inf)), -e, np.nextafter(-e, t(0)), np.zeros(1, dtype)])
    x = x[np.isfinite(x)]
    with np.errstate(all='ignore'): y = x/t(scale)
    assert quantize_nits(x, scale, rounding).tolist()==[nearest(Fraction(float(np.clip(v, -9, 9))), rounding) for v in y]


@pytest.mark.parametrize('dtype', ['float32','float64'])
def test_compand_edges_are_exact(dtype):
    "The digit is that of the exact tangent: exp(2v) against (7+2k)/(9−2k), in 50 places"
    with localcontext() as c:
        c.prec = 50
        for k in range(1, 5):
            near = np.dtype(dtype).type(np.arctanh((k-.5)/4))
            for _ in range(4): near = np.nextafter(near, near.dtype.type(0))
            for _ in range(8):
                up = (2*Decimal(float(near))).exp()>=Decimal(7+2*k)/(9-2*k)
                assert compand(np.array([near,-near])).tolist()==[k-1+up,1-k-up]
                near = np.nextafter(near, near.dtype.type(9))


def test_given_buffer():
    x = np.linspace(-6, 6, 24).reshape(4, 6)
    for f in quantize_nits,compand:
        out = np.full((4,6), 7, np.int8)
        assert f(x, out=out) is out and (out==f(x)).all()
        for bad in np.zeros((4,6)),np.zeros((4,5), np.int8),np.zeros((6,4), np.int8).T,np.zeros(24, np.int8):
            with pytest.raises(CheckError, match='`out`: expected int8, contiguous, writeable, shape'): f(x, out=bad)


def test_sum_into_a_buffer():
    a,b = np.arange(6).reshape(2, 3),np.arange(3)
    out = np.zeros((2,3), np.int64)
    assert A.add(a, b, 4, out=out) is out and out.tolist()==[[0,2,4],[3,5,7]]
    assert A.subtract(out, b, 4, out=out) is out and (out==a).all() # in place
    with pytest.raises(CheckError, match='`out`: expected int64, contiguous, writeable, shape'): A.add(a, b, 4, out=out[0])


def test_golden_ties():
    assert encode_complex(np.array([.5,1.5,-.5,-2.5])+0j).tolist()==[0,1,0,-2]
    edges = np.array([.125657,.394229,.733169,1.354025])
    assert np.allclose(edges, np.arctanh(np.array([1,3,5,7])/8), atol=1e-6)
    assert compand(edges-1e-6).tolist()==[0,1,2,3] and compand(edges+1e-6).tolist()==[1,2,3,4] and compand(-edges-1e-6).tolist()==[-1,-2,-3,-4]
    assert np.allclose(expand(range(5)), [0,.255413,.549306,.972955,1.716994], atol=1e-6)
    assert compand(expand(range(-4, 5))).tolist()==list(range(-4, 5))


@pytest.mark.parametrize('dtype', ['float32','float64'])
def test_compand(dtype):
    v = np.random.default_rng(0).normal(0, 1, (7,33)).astype(dtype)
    y = 4*np.tanh(v)
    want = np.sign(y)*np.floor(np.abs(y)+np.asarray(.5, dtype))
    assert (compand(v)==want).all() and (compand(v.T[::2])==want.T[::2]).all() and compand(v[:0]).shape==(0,33)
    inside = np.abs(v)<=np.arctanh(7/8)
    assert np.abs(np.tanh(v)-np.tanh(expand(compand(v))))[inside].max()<=1/8+1e-6
