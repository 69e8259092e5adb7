"Random networks of every kind, and samples for them: what exports are proved with"
import re
from dataclasses import replace

import numpy as np

from quarantion.checks import CheckError
from quarantion.export.packing import c_type
from quarantion.runtime.layer import RESETS, IntLayer, Op
from quarantion.runtime.network import IntegerNetwork
from quarantion.runtime.shapes import shapes


def pick(rng, *choices): return choices[rng.integers(len(choices))]


def codes(rng, *shape):
    "Weights that pack as trits, nits, nibbles or bytes"
    top = pick(rng, 1, 4, 7, 127)
    return rng.integers(-top, top+1, shape).astype(np.int8)


def ints(rng, lo, hi, n): # one for all, or each its own
    return np.full(n, rng.integers(lo, hi), np.int32) if rng.random()<.4 else rng.integers(lo, hi, n).astype(np.int32)


def window(rng, line, least=1):
    side = lambda lo,hi: (1 if line else int(rng.integers(lo, hi)), int(rng.integers(lo, hi)))
    kernel = side(least, 4)
    padding = tuple(0 if line and a==0 else int(rng.integers(0, k)) for a,k in enumerate(kernel))
    return kernel,side(1, 3),padding


def pools(rng, shape):
    if len(shape)==1 or rng.random()<.5: return ()
    return (Op(pick(rng, 'max', 'sum'), *window(rng, len(shape)==2)),)


def random_layer(rng, shape, last, largest):
    "A layer, or None where windows do not fit"
    lead = shape[0]
    before,after,conv = pools(rng, shape),(),()
    h = (lead,1,shape[1]) if len(shape)==2 else shape
    for o in before: h = (lead, *[(n+2*p-k)//s+1 for n,k,s,p in zip(h[1:], o.kernel, o.stride, o.padding)])
    if min(h)<1: return None
    if len(shape)>1 and not last and rng.random()<.8:
        groups = pick(rng, 1, 1, lead)
        kernel,stride,padding = window(rng, len(shape)==2)
        conv = stride,padding,(1,int(rng.integers(1, 3))),groups
        w,after = codes(rng, groups*int(rng.integers(1, 4)), lead//groups, *kernel),pools(rng, shape)
        if rng.random()<.2: after = (*after, Op('flatten'))
    else:
        if len(shape)>1: before = (*before, Op('flatten'))
        w = codes(rng, int(rng.integers(2, 13)), int(np.prod(h)))
    c = len(w)
    size = max(1, int(np.abs(w.astype(int)).reshape(c, -1).sum(1).mean()*largest/2))
    guard = int(rng.integers(0, 9))
    l = IntLayer(w, ints(rng, -2, 3, c)*2**guard, ints(rng, 1+size//4, 2+size, c)*2**guard, ints(rng, 30000, 65537, c), np.ones(c), guard=guard,
                 quant_max=127, before=before, after=after, conv=conv, reset=pick(rng, *RESETS[:3]) if not last else pick(rng, *RESETS))
    return limits(rng, returns(rng, rescaled(rng, l, size), shape), size*2**guard)


def rescaled(rng, l, size):
    "Currents of few bits, and currents that last"
    c = len(l.weight)
    if rng.random()<.3:
        m0 = rng.integers(2**30, 2**31, c).astype(np.int32)
        l = replace(l, m0=m0, shift=ints(rng, 30, 33, c), current_max=int(rng.integers(size//2+1, size*2+2)))
    if rng.random()<.3: l = replace(l, current_leak=ints(rng, 0, 60000, c))
    return l


def returns(rng, l, shape):
    "Spikes that come back: each to itself, to all, or by a convolution"
    c,kind = len(l.weight),pick(rng, 'none', 'channel', 'neuron', 'all', 'conv')
    if kind=='none': return l
    try: out = shapes((l,), shape)[0]
    except CheckError: return l
    n,l = int(np.prod(out)),replace(l, gain=int(rng.integers(1, 4)))
    if kind=='channel' or n>300: return replace(l, recurrent=codes(rng, c))
    if kind=='neuron': return replace(l, recurrent=codes(rng, n))
    if kind=='all' or len(out)==1: return replace(l, recurrent=codes(rng, n, n))
    k = (1,3) if len(out)==2 else (3,3)
    groups = pick(rng, 1, c)
    return replace(l, recurrent=codes(rng, c, c//groups, *k), recurrent_conv=((1,1),(k[0]//2,1),(1,1),groups))


def limits(rng, l, top):
    "Membranes that are clipped, or on levels"
    kind = pick(rng, 'none', 'none', 'clip', 'levels')
    if kind=='clip': return replace(l, clip=max(2*top, int(l.theta.max())+1), before_fire=bool(rng.random()<.5))
    if kind=='levels':
        t = np.unique([0, *rng.integers(-4*65536, 4*65536, int(rng.integers(1, 12))), 5*65536]).astype(np.int32)
        return replace(l, levels=t, before_fire=bool(rng.random()<.5))
    return l


RANGES = (0,1),(0,255),(0,9),(-127,127),(-3,200),(-127,255) # of input codes; a header allows -127…0 and 1…255


def network(rng, ranges=RANGES):
    "A network that its runtime takes; others are drawn again"
    while True:
        shape = pick(rng, (int(rng.integers(1, 20)),), (2,9), (1,7,6), (3,8,8))
        lo,hi = pick(rng, *ranges)
        ls,at,depth = [],shape,int(rng.integers(1, 4))
        try:
            for i in range(depth):
                ls.append(random_layer(rng, at, i==depth-1, hi if i==0 else 1))
                if ls[-1] is None: break
                at = shapes(tuple(ls), shape)[-1]
            else:
                n = int(np.prod(at))
                decision = pick(rng, 'sum', 'first_spike', 'max_membrane', 'values', 'labels(0.3)', *([f'population({n//2})'] if n%2==0 and n>3 else []))
                return IntegerNetwork(tuple(ls), shape, int(rng.integers(2, 10)), 1., lo, hi, batch_first=bool(rng.random()<.2), decision=decision)
        except CheckError: pass


def sample(rng, net, n):
    lo,hi,shape = net.in_min,net.in_max,net.in_shape
    time = (n,net.steps) if net.batch_first else (net.steps,n)
    x = rng.integers(lo, hi+1, (*(time if rng.random()<.5 else (n,)), *shape))
    return x*(rng.random(x.shape)<.6)


def kinds(nets):
    "What occurs in networks"
    for net in nets:
        yield from ('decision '+re.sub(r'\W.*', '', net.decision), f'{len(net.in_shape)} axes', f'codes {c_type(net.in_min, net.in_max)}')
        for l in net.layers:
            yield from (l.reset, 'conv' if l.conv else 'linear', f'recurrent {l.recurrent.ndim}' if l.recurrent.size else 'forward', *(o.kind for o in (*l.before, *l.after)))
            for k in 'current_max','clip','before_fire': yield f'{k} {bool(getattr(l, k))}'
            for k in 'current_leak','levels': yield f'{k} {bool(len(getattr(l, k)))}'
