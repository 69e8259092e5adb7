"Every kernel is compiled for every level, and gives the same answer as its own source run as plain Python, to the last bit."
import itertools
import os
import re
import subprocess
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from quarantion import kernels

ROOT = Path(kernels.__file__).parent
NAMES = sorted(p.stem for p in ROOT.glob('[!_]*.py') if p.stem!='isa')
LEVELS = kernels.available()
FOLDERS = {'baseline':ROOT, 'x86-64-v3':ROOT/'_x86_64_v3', 'x86-64-v4':ROOT/'_x86_64_v4', 'x86-64-v4-vnni':ROOT/'_x86_64_v4_vnni'}
VNNI = {n for n in NAMES if re.search(r'from .parts.(asked|dots) import', (ROOT/f'{n}.py').read_text('utf8'))} # kernels that are compiled for that level


def levels_of(name): return [l for l in LEVELS if l!='x86-64-v4-vnni' or name in VNNI]


@cache
def load(name, level='source'):
    "Kernel module `name` as compiled for `level`, or its source as a Python module"
    path = ROOT/f'{name}.py' if level=='source' else next(p for s in EXTENSION_SUFFIXES if (p := FOLDERS[level]/f'{name}{s}').exists())
    spec = spec_from_file_location(f'quarantion.kernels.{name}', path)
    mod = module_from_spec(spec)
    spec.loader.exec_module(mod)
    return mod


def bits(arrays): return [(a.shape, a.dtype.str, a.tobytes()) for a in arrays]


# A case takes a module, a random generator, sizes and a number of threads, and gives the arrays that a kernel wrote

def outputs(T, B, N, spikes, membrane, wanted):
    "Buffers for spikes, their bits, membranes and counts, without steps or rows when their letter is not in `wanted`"
    t = lambda c: T if c in wanted else 0
    return (np.full((t('s'),B,N), 7, spikes), np.full((t('b'),B,-(-N//8)), 7, np.uint8),
            np.full((t('m'),B,N), 7, membrane), np.full((B if 'c' in wanted else 0,N), 7, np.int32))


def run_lif_forward(mod, rng, T, B, N, threads, dtype, spikes, reset, constant, wanted):
    x = rng.normal(.3, 1, (1 if constant else T,B,N)).astype(dtype)
    n = N if 's' in wanted else 1 # per neuron, or one for all
    beta,theta = rng.uniform(.5, 1, n).astype(dtype),rng.uniform(.3, 1.5, n).astype(dtype)
    v,out = rng.normal(0, 1, (B,N)).astype(dtype),outputs(T, B, N, spikes, dtype, wanted)
    mem = np.full((T,B,N), 7, dtype) if 'u' in wanted else None
    mod.lif_forward(x, beta, theta, v, *out, T, reset, threads, mem)
    return v,*out,*([] if mem is None else [mem])


def run_lif_backward(mod, rng, T, B, N, threads, dtype, source, reset, surrogate, detach, constant, given):
    "`source` is x, or the dtype of membranes; `given` names gradients of spikes and of V, and whether β and θ learn"
    gs,gpre = (rng.normal(0, 1, (T if g in given else 0,B,N)).astype(dtype) for g in 'sv')
    unit = rng.uniform(1e-3, 2e-3, N if source=='int32' else 0).astype(dtype)
    x = rng.normal(.3, 1, (1 if constant else T,B,N)).astype(dtype) if source=='x' else np.empty((0,0,0), dtype)
    pre = rng.normal(.5, 1, (0 if source=='x' else T,B,N))
    pre = (pre*1000).astype(source) if source=='int32' else pre.astype(dtype)
    v0,beta,theta = rng.normal(0, 1, (B,N)).astype(dtype),rng.uniform(.5, 1, N).astype(dtype),rng.uniform(.3, 1.5, N).astype(dtype)
    gx = np.full((1 if constant else T,B,N), 7, dtype)
    gv0,*rest = np.full((B,N), 7, dtype),*(np.full((B if g in given else 0,N), 7.) for g in 'bt')
    if not T: x = np.empty((0,B,N), dtype)
    mod.lif_backward(gs, gpre, x, pre, unit, v0, beta, theta, gx, *rest, gv0, T, reset, surrogate, .7, detach, threads)
    return gx,*rest,gv0


def readout_of(rng, T, B, N, kind, constant):
    "A layer of neurons, real or integer, and weights behind it"
    real,shape = kind=='float32',(1 if constant else T,B,N)
    x = rng.normal(.3, 1, shape).astype(kind) if real else rng.integers(-900, 1000, shape, np.int32)
    per = [rng.uniform(.5, 1, N),rng.uniform(.3, 1.5, N),np.zeros(N)] if real else [rng.integers(30000, 65537, N),rng.integers(1, 3000, N),rng.integers(-50, 50, N)]
    return x,np.array(per).astype(kind),rng.normal(0, 1, (7,N)).astype(np.float32)


def run_readout_forward(mod, rng, T, B, N, threads, kind, reset, constant, wanted):
    x,per,weight = readout_of(rng, T, B, N, kind, constant)
    out = np.full((T,B,7), 7, np.float32),np.full(B if 'c' in wanted else 0, 7),np.full((2 if 'e' in wanted else 0,N), 7, kind)
    if T or not constant: mod.readout_forward(x, 0, per, weight, *out, T, reset, threads)
    return out


def lists_of(mod, rng, R, J, density, room=None):
    x = (rng.random((R,J))<density).astype(np.float32)
    start,at = np.full(R+1, 7, np.int32),np.full(R*J+J if room is None else room, 7, np.int32)
    n = mod.list_spikes(x, start, at)
    return (start,at[:n]) if n>=0 else (np.array([n]),)


def run_list_spikes(mod, rng, T, B, N, threads, density, room):
    return lists_of(mod, rng, T*B, N, density, T*B*N//2 if room else None)


def run_turn_lists(mod, rng, T, B, N, threads, density):
    start,at = lists_of(mod, rng, T*B, N, density)
    out = np.full((T*B>0)*N+1, 7, np.int32),np.full(len(at), 7, np.int32)
    mod.turn_lists(start, at, *out)
    return out


def run_listed(mod, rng, T, B, N, threads, kernel, density, biased):
    start,at = lists_of(mod, rng, R := T*B, N, density)
    C = 1300 if N>500 else 70 # columns, enough for threads
    w,b,g = (rng.normal(0, 1, s).astype(np.float32) for s in ((C,N),C if biased else 0,(R,C)))
    out = g.copy() if kernel=='listed_products' else w.copy()
    if kernel=='listed_products': mod.listed_products(start, at, w, b, out, threads)
    else:
        back,rows = np.zeros((R>0)*N+1, np.int32),np.zeros(len(at), np.int32)
        mod.turn_lists(start, at, back, rows)
        mod.listed_gradient(back, rows, g, out, b, threads)
    return out,b


def run_readout_backward(mod, rng, T, B, N, threads, kind, reset, surrogate, detach, constant):
    x,per,weight = readout_of(rng, T, B, N, kind, constant)
    gy,gfired = rng.normal(0, 1, (T,B,7)).astype(np.float32),rng.normal(0, 1, B).astype(np.float32)
    reals = np.array([rng.uniform(.5, 1, N),rng.uniform(.3, 1.5, N),np.full(N, 1e-3)], np.float32)
    out = np.full(x.shape, 7, np.float32),np.full((7,N), 7, np.float32),np.full(N if surrogate%2 else 0, 7.),np.full(N, 7.)
    if T or not constant: mod.readout_backward(gy, gfired, x, 0, per, reals, weight, *out, T, reset, surrogate, .7, detach, threads)
    return out


def run_lif_int_forward(mod, rng, T, B, N, threads, spikes, guard, reset, constant, wanted):
    x = rng.integers(-900, 1000, (1 if constant else T,B,N), np.int32)
    n = N if 's' in wanted else 1
    bias,m,theta = rng.integers(-50, 50, n, np.int32),rng.integers(0, 65537, n, np.int32),rng.integers(1, 2000<<guard, n, np.int32)
    v,out = rng.integers(-3000, 3000, (B,N), np.int32),outputs(T, B, N, spikes, np.int32, wanted)
    mem = np.full((T,B,N), 7, np.int32) if 'u' in wanted else None
    mod.lif_int_forward(x, guard, bias, m, theta, v, *out, T, reset, threads, mem)
    return v,*out,*([] if mem is None else [mem])


def run_lif_states_forward(mod, rng, T, B, N, threads, kept, before, reset, given, constant):
    "`kept` is how membranes are limited; `given` names a rescaled current (q), a second leak (j), and outputs (s, p, m)"
    x = rng.integers(-900, 1000, (1 if constant else T,B,N), np.int32)
    per = lambda lo, hi, c='': rng.integers(lo, hi, N if not c or c in given else 0, np.int32)
    theta,levels = per(1, 3000),{'levels2':[-65536,0], 'levels9':[k*20000 for k in range(-4, 5)], 'levels256':[k*700-30000 for k in range(256)]}.get(kept, [])
    out = [np.full((T if c in given else 0,B,N), 7, d) for c,d in (('s',np.uint8),('p',np.int32),('m',np.int32))]
    v,j = rng.integers(-3000, 3000, (2,B,N), np.int32)
    mod.lif_states_forward(x, 2, per(-50, 50), per(0, 65537), theta, rng.integers(2**30, 2**31, N if 'q' in given else 0, np.int64).astype(np.int32), per(28, 36, 'q'), 127, per(0, 65537, 'j'),
                           np.array(levels, np.int32), 127 if kept=='clip' else 0, before, v, j, *out, T, reset, threads)
    return v,j,*out


def run_quantize_nonary(mod, rng, T, B, N, threads, dtype):
    x = rng.normal(0, 1.5, T*B*N).astype(dtype)
    x[::3] = (2*x[::3]).round()/2
    x[5::97] = np.nan
    out = np.full(x.shape, 7, np.int8)
    bad = mod.quantize_nonary(x, np.array([.5,1.5,2.5,3.5], dtype), out, threads)
    return out,np.array(bad)


def run_pack(mod, rng, T, B, N, threads, name):
    words = np.full(T*B*N, 7, np.uint16)
    getattr(mod, name)(rng.integers(-4, 5, 5*T*B*N, np.int8), words, threads)
    return words,


def run_unpack(mod, rng, T, B, N, threads, name):
    nits = np.full(5*T*B*N, 7, np.int8)
    getattr(mod, name)(rng.integers(0, 9**5, T*B*N, np.uint16), nits, threads)
    return nits,


def run_encode_digits(mod, rng, T, B, N, threads, D):
    h = (9**20-1)//2
    x,digits = rng.integers(-h, h, T*B*N, endpoint=True),np.full((T*B*N,D), 7, np.int8)
    x[:1],x[1:2] = -h,h
    mod.encode_digits(x, digits, threads)
    return digits,


def run_decode_digits(mod, rng, T, B, N, threads, D):
    out = np.full(T*B*N, 7)
    mod.decode_digits(rng.integers(-4, 5, (T*B*N,D), np.int8), out, threads)
    return out,


def two_numbers(rng, n, D):
    h = (9**D-1)//2
    a,b = rng.integers(-h, h, (2,n), endpoint=True)
    a[::5],b[::5] = h*rng.integers(-1, 2, len(a[::5])),rng.integers(-1, 2, len(a[::5])) # long chains of carries
    return h,a,b


def run_add(mod, rng, T, B, N, threads, name, D):
    h,a,b = two_numbers(rng, T*B*N, D)
    out,carry = np.full(T*B*N, 7),[np.full(T*B*N, 7, np.int8)] if name=='add_carries' else []
    f = getattr(mod, name)
    bad = [f(a, b, h, out, *carry, threads),f(out, b, h, out, *[c.copy() for c in carry], threads)] # the second in place
    a[1:2] = h+1
    return out,*carry,np.array([*bad,f(a, b, h, out.copy(), *[c.copy() for c in carry], threads)])


def run_multiply_nonary(mod, rng, T, B, N, threads, D):
    _,a,b = two_numbers(rng, T*B*N, D)
    low,high = np.full((2,T*B*N), 7)
    mod.multiply_nonary(a, b, D, low, high, threads)
    mod.multiply_nonary(low, b, D, low, high.copy(), threads) # in place
    return low,high


def run_dot_nits(mod, rng, T, B, N, threads):
    x = rng.choice((-2**31,2**31-1,-7,12345), (5,N)).astype(np.int32)
    out = np.full(T*B, 7)
    mod.dot_nits(rng.integers(0, 9**5, (T*B,N), np.uint16), x, out, threads)
    return out,


def run_level_bounds(mod, rng, T, B, N, threads, size):
    bounds = np.full(size-1, 7, np.float32)
    mod.level_bounds(np.sort(rng.normal(0, 1, size)).astype(np.float32), bounds)
    return bounds,


def run_uniform_rate(mod, rng, T, B, N, threads, size):
    levels,bounds = np.linspace(-1, 1.2, size, dtype=np.float32),np.full(size-1, 7, np.float32)
    mod.level_bounds(levels, bounds)
    return np.array([mod.uniform_rate(levels, bounds), mod.uniform_rate(levels**3, bounds)]),


def run_level_cells(mod, rng, T, B, N, threads, size):
    levels,bounds,cells = np.linspace(-1, 1.2, size, dtype=np.float32)**3,np.full(size-1, 7, np.float32),np.full(1028, 7, np.int32)
    mod.level_bounds(levels, bounds)
    mod.level_cells(levels, bounds, cells)
    return cells,


def run_nearest_level(mod, rng, T, B, N, threads, size, way, codes, count):
    levels,bounds = np.linspace(-1, 1.2, size, dtype=np.float32)**(3 if way==2 else 1),np.empty(size-1, np.float32)
    mod.level_bounds(levels, bounds)
    table = np.arange(size, dtype=np.uint8) if codes else levels
    x = rng.normal(0, 1, T*B*N).astype(np.float32)
    x[5::97] = np.nan
    out,clipped,cells = np.full(x.shape, 7, table.dtype),np.full(3 if count else 0, 7, np.int64),np.zeros(4100 if way==2 else 0, np.int32)
    if way==2: mod.level_cells(levels, bounds, cells)
    mod.nearest_level(x, levels, bounds, table, out, clipped, mod.uniform_rate(levels, bounds) if way==1 else 0, cells, threads)
    return out,clipped


def run_fake_quantize_rows(mod, rng, T, B, N, threads, look, bins):
    x,scale = rng.normal(0, 1, (B,T,N)).astype(np.float32),rng.uniform(.01, .5, T).astype(np.float32)
    x[:,:,5::97] = np.nan
    out,ends = np.full_like(x, 7),[np.full(T if look else 0, 7, np.float32) for _ in range(2)]
    low,counts = np.full(T if bins else 0, -1, np.float32),np.full((T if bins else 0,bins+2 if bins else 0), 7, np.int64)
    mod.fake_quantize_rows(x, scale, -7, 7, out, *ends, low, -low*2, counts, threads)
    return out,*ends,counts


def run_fake_quantize_back(mod, rng, T, B, N, threads, learn):
    g,x = rng.normal(0, 1, (2,B,T,N)).astype(np.float32)
    gx,gscale = np.full_like(x, 7),np.full(T if learn else 0, 7.)
    mod.fake_quantize_back(g, x, rng.uniform(.01, .5, T).astype(np.float32), -7, 7, gx, gscale, threads)
    return gx,gscale


def run_stream(mod, rng, T, B, N, threads, dtype):
    out = np.full(T*B*N, 7, dtype)
    mod.stream(rng.normal(0, 1, T*B*N).astype(np.float32), out, threads)
    return out,


def run_event_products(mod, rng, T, B, N, threads, name, density):
    spk,weight = (rng.random((T*B,N))<density).astype(np.uint8),rng.integers(-128, 128, (N,37)).astype(np.int8)
    out = np.full((T*B,37), 7, np.int32)
    getattr(mod, name)(spk, weight, out, threads)
    return out,


def run_fused_forward(mod, rng, T, B, N, threads, reset, density, wanted):
    J = 7*T+2
    x,weight = (rng.random((T,B,J))<density).astype(np.uint8),rng.integers(-128, 128, (J,-(-N//32)*32)).astype(np.int8)
    per = np.stack([rng.integers(lo, hi, weight.shape[1]) for lo,hi in ((-50,50),(0,65537),(1,9000))]).astype(np.int32)
    out = np.full((T if 's' in wanted else 0,B,N), 7, np.uint8),np.full((B if 'c' in wanted else 0,N), 7, np.int32),np.full((B if 'm' in wanted else 0,N), 7, np.int64)
    mod.fused_forward(x, weight, 3, per, *out, reset, threads)
    return out


def run_code_rows(mod, rng, T, B, N, threads, one):
    w,scale = rng.normal(0, 1, (T,B*N)).astype(np.float32),rng.uniform(.01, .5, 1 if one else T).astype(np.float32)
    code,worth,zero = np.full((T,B*N), 7, np.float32),np.full(T, 7.),np.full(T, 7, np.uint8)
    mod.code_rows(w, scale, scale/16+np.float32(.1), 7, code, worth, zero, threads)
    return code,worth,zero


def run_code_rows_back(mod, rng, T, B, N, threads, one, pact):
    g,w = (rng.normal(0, 1, (T,B*N)).astype(np.float32) for _ in range(2))
    scale,gw,gscale = rng.uniform(.01, .5, 1 if one else T).astype(np.float32),np.full((T,B*N), 7, np.float32),np.full(T, 7.)
    mod.code_rows_back(g, w, scale, scale/16+np.float32(.1), 7, pact, gw, gscale, threads)
    return gw,gscale


def run_code_residuals(mod, rng, T, B, N, threads, top):
    n = T*B*N
    g,left = (rng.normal(0, 1, n).astype(np.float32) for _ in range(2))
    ends = np.array([*range(7, n, 7), n][:n], np.int64)
    g[n//2:n//2+1],g[-3:-2],g[:1] = np.nan,np.inf,3e38
    left[:7] = 0
    digits,scale,total = np.full(n, 7, np.int8),np.full(len(ends), 7, np.float32),rng.normal(0, 1, n).astype(np.float32)
    mod.code_residuals(g, left, ends, top, digits, scale, threads)
    mod.add_residuals(digits, scale, ends, total, threads)
    return left,digits,scale,total


def run_fused_network(mod, rng, T, B, N, threads, resets, kind, classes, bound):
    sizes = 7*T+2,N,6
    layers = np.array([(j,n,2,r) for j,n,r in zip(sizes, sizes[1:], resets)]) if N else np.zeros((1,4), np.int64)
    P = [-(-n//32)*32 for n in sizes[1:]]
    weight = rng.integers(0, 2**16, sum(j*p//2 for j,p in zip(sizes, P))).astype(np.uint16)
    per = np.stack([rng.integers(lo, hi, sum(P)) for lo,hi in ((-50,50),(0,65537),(1,9000))]).astype(np.int32)
    x,none = (rng.random((T,B,sizes[0]))<.3).astype(np.uint8),np.zeros((0,0,0), np.uint8)
    codes = dict(spk=none.astype(np.int32), over=x*np.int32(3), constant=x[:1]*np.int32(3))[kind]
    kept,took = np.full((B,6), 7, np.int64),np.full(B, 7, np.int64)
    if not N or kind!='spk' and not T: return kept,took
    mod.fused_network(x if kind=='spk' else none, codes, weight, layers, per, np.ones(6), .1, classes, bound, 2, T, kept, took, threads)
    return kept,took


def run_packed_event_products(mod, rng, T, B, N, threads, density):
    spk,words = (rng.random((T*B,N))<density).astype(np.uint8),rng.integers(0, 9**5, (N,8), np.uint16)
    out = np.full((T*B,37), 7, np.int32)
    mod.packed_event_products(spk, words, out, threads)
    return out,


def run_pack_rows(mod, rng, T, B, N, threads):
    words = np.full((B,-(-N//5)), 7, np.uint16)
    mod.pack_rows(rng.integers(-4, 5, (B,N), np.int8), words)
    return words,


def words_of(rng, n):
    "Events in the order of time, on a sensor of 5 by 9"
    x,y,p = (rng.integers(0, k, n) for k in (9,5,2))
    return np.stack([np.sort(rng.integers(0, 1000, n)), x+(y<<16)+(p<<32)], 1)


def run_bin_events(mod, rng, T, B, N, threads, dtype, count, wrong):
    e,out = words_of(rng, N*40),np.zeros((T,B,90), dtype)
    if wrong and N: e[N*20] = [-1,9]
    splits = np.sort(rng.integers(0, N*40+1, T+1))
    splits[0] = 0
    at = [mod.bin_events(e, splits, b, 5, 9, out, count, threads) for b in range(B)]
    return out,np.array(at)


def run_split_events(mod, rng, T, B, N, threads):
    splits = np.full(T*B, 7, np.int64)
    mod.split_events(words_of(rng, N*40), rng.integers(-9, 1009, T*B), splits)
    return splits,


def run_is_recording(mod, rng, T, B, N, threads, where, w):
    e = words_of(rng, N*40)
    if w and N: e[N*20,where] = w
    return np.array([bool(mod.is_recording(e, 2, 5, 9))]),


def run_unpack_events(mod, rng, T, B, N, threads):
    events,state = np.full((T*B*N,2), 7, np.int64),np.array([0,3])
    data = rng.integers(0, 256, 5*T*B*N, np.uint8)
    data[1::35] = 240
    mod.unpack_events(data, events, state)
    return events,state


CURVES = [(n,b,h) for n,b in ((1,31),(2,2),(2,31),(3,21),(9,7),(63,1)) for h in (0,1)]

def run_curve_index(mod, rng, T, B, N, threads, n, bits, hilbert):
    x,h = rng.integers(0, 2**bits, (T*B*N//3,n)).astype(np.int32),np.full(T*B*N//3, 7, np.int64)
    mod.curve_index(x, bits, bool(hilbert), h, threads)
    return h,


def run_curve_cell(mod, rng, T, B, N, threads, n, bits, hilbert):
    h,x = rng.integers(0, 2**(n*bits), T*B*N//3),np.full((T*B*N//3,n), 7, np.int32)
    mod.curve_cell(h, bits, bool(hilbert), x, threads)
    return x,


def run_e8_points(mod, rng, T, B, N, threads, kind):
    x,out = rng.normal(0, 3, (T*B*N,8)).astype(np.float32),np.full((T*B*N,8), 7, np.int8)
    if kind=='ties': x = np.round(x*4)/4
    if kind=='almost': x = np.nextafter(np.round(x*4)/4, np.float32(0))
    mod.e8_points(x, out, threads)
    return out,


def wave_of(rng, T, B, shape, dtype, each, driven):
    "Fields, velocities, coefficients and sources; `each`: one for each cell"
    M = 2*int(np.prod(shape))
    c,e = (rng.uniform(lo, hi, M if each else 1).astype(dtype) for lo,hi in ((.05,.2),(.9,1)))
    cells = np.unique(rng.integers(0, M//2, 3)) if driven and M else np.zeros(0, np.int64)
    return M,*(rng.normal(size=(B,M)).astype(dtype) for _ in 'uv'),c,e,cells,rng.normal(size=(T,B,2*len(cells))).astype(dtype)


WAVES = dict(line=lambda n: (n,), sheet=lambda n: (3,n), wide=lambda n: (n,2,3), twos=lambda n: (2,2,2,2,n), fours=lambda n: (4,4,4))

def run_wave_steps(mod, rng, T, B, N, threads, dtype, grid, faces, each, kerr, driven):
    if not T*N: return rng.random(1),
    shape = WAVES[grid](N)
    M,x,v,c,e,cells,src = wave_of(rng, T, B, shape, dtype, each, driven)
    u,f = np.full((2,B,M), 7, dtype),rng.uniform(.5, 1, len(shape)*M if faces else 0).astype(dtype)
    u[0] = x
    mod.wave_steps(u, v, c, e, f, np.array(shape), cells, src, (.1,kerr,.5*(kerr>0)), T, threads, 48)
    return u,v


def run_wave_sweeps(mod, rng, T, B, N, threads, dtype, turned, each, kerr, driven, depth):
    if not T*N: return rng.random(1),
    shape = (3,N) if turned else (N,3)
    M,x,v,c,e,cells,src = wave_of(rng, T, B, shape, dtype, each, driven)
    u = x[None].copy()
    mod.wave_sweeps(u, v, c, e, np.array(shape), cells, src, (.1,kerr,.5*(kerr>0)), T, threads, depth)
    return u,v


def run_wave_rows(mod, rng, T, B, N, threads, dtype, axes, faces, each, kerr, driven):
    if not T*B: return rng.random(1),
    M,x,v,c,e,cells,src = wave_of(rng, T, 1, (N,), dtype, each, driven)
    u,f = np.full((2,M), 7, dtype),rng.uniform(.5, 1, N*2*axes if faces else 0).astype(dtype)
    u[0] = x[0]
    mod.wave_rows(u, v[0], c, e, rng.integers(0, max(N, 1), (N,2*axes)).astype(np.int32), f, cells, src[:,0].copy(), (.1,kerr,.5*(kerr>0)), T, threads, 48)
    return u,v


def run_wave_int(mod, rng, T, B, N, threads, axes, guard, top, wraps, each):
    "Tori of one to three axes, with and without sources, in blocks that are smaller than a line"
    if not T*N: return ()
    shape = {1:(N+2,), 2:(3,N//3+2), 3:(4,2,N//8+2)}[axes]
    size,most = 2*int(np.prod(shape)),top or 250
    u,v = np.full((T%3+2,B,size), 7, np.int32),rng.integers(-most<<guard, (most<<guard)+1, (B,size), np.int32)
    u[0] = rng.integers(-most, most+1, (B,size))
    per = [rng.integers(lo, hi, size if each else 1, np.int32) for lo,hi in ((0,8000),(60000,65537))]
    cells = np.unique(rng.integers(0, size//2, 5)) if each else np.zeros(0, np.int64)
    src = rng.integers(-99, 99, (T,B,2*len(cells)), np.int32)
    mod.wave_int_steps(u, v, *per, np.array(shape), cells, src, (guard,top,bool(wraps)), T, threads, 512 if each else 4096)
    return u,v


def in_lanes(rows):
    w = rows.view(np.uint16).reshape(len(rows)//32, 32, rows.shape[1]//4, 2)
    return np.ascontiguousarray(w.transpose(0,2,1,3)).reshape(len(w), w.shape[2], 64)


def run_scan(mod, rng, T, B, N, threads, bias, top, kind):
    "Digits of −top to top, stored + bias, against whole numbers of numpy; `kind` of numbers: drawn, or as large as can be"
    wide,d = bias==128,rng.integers(-top, top+1, (32*T,N*(4 if bias==128 else 8)))
    q = rng.integers(-127, 128, (B,d.shape[1])).astype(np.int8)
    if kind: d[:],q[:] = (top,127) if kind>0 else (-top,-127)
    if not wide: d = np.clip(d, -bias, 15-bias) # four bits
    rows,out = (d+bias).astype(np.uint8),np.full((B,32*T), 7, np.int32)
    planes = in_lanes(rows if wide else rows[:,::2]|rows[:,1::2]<<4)
    mod.scan_bytes(planes, q, out, threads) if wide else mod.scan_digits(planes, q, out, bias, threads)
    assert (out==q.astype(np.int64)@d.T).all()
    return out,


def run_scan_bounds(mod, rng, T, B, N, threads):
    f = lambda *s: rng.normal(size=s).astype(np.float32)
    dots,heads = rng.integers(-9999, 9999, 32*T).astype(np.int32),rng.integers(-32767, 32767, (T,B,32)).astype(np.int16)
    out = [np.full(32*T, 7, np.float32) for _ in range(3)]
    mod.scan_bounds(dots, heads, f(B)*1e-4, f(T,3,32), f(6)*1e-4, *out, threads)
    return out


def run_largest(mod, rng, T, B, N, threads):
    est,n = np.round(rng.normal(size=T*B*N), 1).astype(np.float32),T*B*N//2
    mod.largest(est, n, at := np.full(n//3, 7, np.int64))
    return at,


def run_dots_of(mod, rng, T, B, N, threads):
    x = rng.normal(size=(T+1,N)).astype(np.float32)
    mod.dots_of(x, rng.integers(0, T+1, B), rng.normal(size=N), out := np.full(B, 7.))
    return out,


def run_low_digits(mod, rng, T, B, N, threads):
    rows,q = rng.integers(0, 256, (T+1,N)).astype(np.uint8),rng.integers(-127, 128, 2*N).astype(np.int8)
    mod.low_digits(rows, rng.integers(0, T+1, B), q, out := np.full(B, 7, np.int32))
    return out,


def run_turn_rows(mod, rng, T, B, N, threads):
    x = rng.normal(size=(T*B,max(N, 2))).astype(np.float32)
    D = x.shape[1]
    signs,out = rng.choice(np.float32([-1,1]), (4,D)),np.full((T*B,D+3), 7, np.float32)
    mod.turn_rows(x, signs, 2.**(-.5*(D.bit_length()-1)), np.zeros((2,D), np.float32), out)
    return out,


def run_two_digits(mod, rng, T, B, N, threads):
    n = -(-N//16)*16
    y = rng.normal(size=(T*B,n)).astype(np.float32)*rng.integers(0, 3, (T*B,1)).astype(np.float32)
    out = *np.zeros((2,T*B,n//2), np.uint8),np.zeros((T*B,2), np.float32)
    mod.two_digits(y, rng.uniform(.1, 2, T*B).astype(np.float32), np.float32([.42,.5,.6]), *out, np.zeros((4,16), np.float32))
    return out


def vectors_in_cells(rng, M, K):
    "Vectors that are put into cells, and room for them"
    L = K+M//16
    blocks = *np.zeros((2,16*L,64), np.uint8),np.zeros(16*L, np.float32),np.zeros(16*L, np.int64)
    lies = *blocks,np.append(np.arange(1, L), [-1,0]),np.full(K, -1),np.zeros(K, np.int64),np.full(M, -1)
    return rng.integers(0, K, M).astype(np.int32),rng.permutation(M),rng.integers(0, 256, (M,128)).astype(np.uint8),rng.random(M).astype(np.float32),lies


def run_in_cells(mod, rng, T, B, N, threads, take):
    M = T*min(B*N, 30)
    *new,lies = vectors_in_cells(rng, M, B+1)
    mod.put_in_cells(*new, *lies)
    if take: mod.take_from_cells(new[0][::2].copy(), new[1][::2].copy(), *lies)
    return lies


def run_search_cells(mod, rng, T, B, N, threads):
    M,K,f = T*min(N, 9),B+2,np.float32
    k = min(M, 3)
    *new,lies = vectors_in_cells(rng, M, K)
    load('lay').put_in_cells(*new, *lies)
    real = lambda *s: rng.normal(size=s).astype(f)
    out = np.full((B,k), 7),np.full((B,k), 7.),np.full((B,4), 7)
    room = np.zeros((threads,2,20), f),np.zeros((threads,5,20), np.int64),np.zeros((threads,2,128), np.int16)
    mod.search_cells(real(B,256), rng.normal(size=(B,21)), rng.integers(0, 256, (K,128)).astype(np.uint8), real(K), real(K,256), *lies[:-1],
                     new[2], real(M), np.round(real(M,21)), rng.permutation(M), (2,9,5,np.float32(2),np.float32(5)), *room, *out)
    return out


def edges_of(rng, E, V):
    "A hypergraph both ways: where members of edges begin, members, where edges of nodes begin, edges"
    sizes = rng.integers(0, min(V, 7)+1, E)
    members = np.concatenate([np.zeros(0, int),*[np.sort(rng.choice(V, s, False)) for s in sizes]]).astype(np.int32)
    edge = np.repeat(np.arange(E), sizes).astype(np.int32)
    return np.append(0, sizes.cumsum()),members,np.append(0, np.cumsum(np.bincount(members, minlength=V))),edge[np.argsort(members, kind='stable')]


def run_walk_all(mod, rng, T, B, N, threads, alpha, gradients, wide):
    "Nodes are inner ones, but for the last two, a leaf of the first edge and one without edges"
    V,E = max(N-2, 0),2*T
    start,at,*_ = edges_of(rng, E, V)
    size,w = np.diff(start)+(np.arange(E)==0),rng.uniform(.5, 2, E)
    share = alpha*w/np.where(size>0, size-alpha*(np.arange(E)==0), 1)
    rows = max(V if wide else -(-V//32), 1)
    put = lambda a: np.append(a, np.ones(rows*(1 if wide else 32)-V)).reshape(rows, -1)
    edge = np.repeat(np.arange(E), np.diff(start))
    degree = np.bincount(at, w[edge], V)
    keep = degree-np.bincount(at, (share*np.diff(start))[edge], V)
    alone = degree==0
    place = np.append(np.arange(V), [rows*(1 if wide else 32) if E else -1,-1][:N-V]).astype(np.int32)
    r = rng.random((B,N)).astype(np.float32)*(rng.random((B,N))<.7)
    p,bound,rounds = np.full((B,N), 7, np.float32),np.full(B, 7.),np.full(B, 7, np.int32)
    mod.walk_all(start, at, share, (1-alpha)/w, put(np.where(alone, 1, degree)), put(1/np.where(alone, 1, keep)), place, r,
                 1/np.maximum(r.sum(1, dtype=float), 1e-9), alpha, 1e-3, gradients, p, bound, rounds, threads)
    return p,bound,rounds


def run_edge_work(mod, rng, T, B, N, threads, p, q, most):
    "Of all edges of a graph; with little room, of some"
    near = np.triu(rng.random((4*T,4*T))<.4, 1)
    both = near|near.T
    starts,ends = np.r_[0,both.sum(1).cumsum()],np.ascontiguousarray(np.argwhere(near), np.int32)
    work,sizes = np.zeros(len(ends), int),np.zeros((len(ends),2), np.int32)
    mod.edge_work(starts, np.nonzero(both)[1].astype(np.int32), ends, p, q, most, work, sizes)
    return work,sizes


def run_fire_round(mod, rng, T, B, N, threads, alpha, least):
    "So many rounds"
    E = 2*T
    lies,weight = edges_of(rng, E, N),rng.integers(1, 5, E)
    degree = np.bincount(lies[1], weight[np.repeat(np.arange(E), np.diff(lies[0]))], N).astype(int)
    x,(p,sent),(held,flow,each),fired = rng.integers(0, 2**40, N),np.zeros((2,N), int),np.zeros((3,E), int),np.full(N, 7, np.uint8)
    who = []
    for _ in range(3*B):
        mod.fire_round(*lies, weight, degree, alpha, least, x, p, held, flow, sent, each, fired, threads)
        who.append(fired.copy())
    return x,p,held,flow,sent,each,*who


def run_merge_words(mod, rng, T, B, N, threads, how, attended):
    "Pieces of three bytes, many of them alike"
    sizes = rng.integers(0, 9, T*B*min(N, 40))
    words,starts = rng.integers(0, 3, sizes.sum()).astype(np.int32),np.append(0, sizes.cumsum())
    roots = rng.dirichlet(np.ones(3), 3) if how[1] else np.zeros((0,0))
    found = mod.merge_words(words, starts, rng.integers(1, 9, len(sizes)), [b'a',b'b',b'c'], 40, how, roots, (lambda a, b: len(a)/len(b)) if attended else None)
    return np.array(found, np.int64).reshape(-1, 3),


REAL = 'float32','float64'
WAVE = list(itertools.product((0,1), (0.,-.3,.2), (0,1))) # one for each cell, the cubic term, sources
WANTED = 'sbmcu','s','b','m','c','u',''
CASES = dict(
    stream=('stream', run_stream, [('float32',),('uint8',),('int8',)]),
    lif_forward=('lif', run_lif_forward, [(d,s,*o) for d in REAL for s in (d,'uint8') for o in itertools.product(range(4), (0,1), WANTED)]),
    lif_backward=('bptt', run_lif_backward, [(d,m,*o) for d in REAL for m in ('x',d,'int32') for o in itertools.product(range(4), range(5), (0,1), (0,1), ('s','svbt','vt','b'))]),
    lif_int_forward=('lif_int', run_lif_int_forward, list(itertools.product(('uint8','float32'), (0,8), range(4), (0,1), WANTED))),
    lif_states_forward=('lif_states', run_lif_states_forward, list(itertools.product(('all','clip','levels2','levels9','levels256'), (0,1), range(4), ('qjspm','s','jm','qp',''), (0,1)))),
    quantize_nonary=('nonary', run_quantize_nonary, [(d,) for d in REAL]),
    **{k: ('nonary', run_unpack if 'un' in k else run_pack, [(k,)]) for k in ('pack_nits','unpack_nits','pack_planes','unpack_planes')},
    encode_digits=('numerals', run_encode_digits, [(D,) for D in (0,1,5,9,10,11,20)]),
    decode_digits=('numerals', run_decode_digits, [(D,) for D in (0,1,5,9,10,11,20)]),
    **{k: ('numerals', run_add, [(k,D) for D in (1,10,19,20)]) for k in ('add_saturate','add_carries')},
    multiply_nonary=('numerals', run_multiply_nonary, [(D,) for D in (1,9,10,11,19,20)]),
    dot_nits=('numerals', run_dot_nits, [()]),
    level_bounds=('levels', run_level_bounds, [(2,),(9,),(255,)]),
    uniform_rate=('levels', run_uniform_rate, [(2,),(9,),(255,)]),
    level_cells=('levels', run_level_cells, [(2,),(9,),(255,)]),
    nearest_level=('levels', run_nearest_level, [(n,w,c,k) for n in (2,9,16,255) for w in (0,1,2) for c in (0,1) for k in (0,1)]),
    fake_quantize_rows=('fake_rows', run_fake_quantize_rows, [(0,0),(1,0),(0,4),(1,30)]),
    fake_quantize_back=('fake_rows', run_fake_quantize_back, [(0,),(1,)]),
    readout_forward=('readout', run_readout_forward, list(itertools.product(('float32','int32'), range(4), (0,1), ('','ce')))),
    readout_backward=('readout_back', run_readout_backward, list(itertools.product(('float32','int32'), range(4), range(5), (0,1), (0,1)))),
    list_spikes=('listed', run_list_spikes, [(0.,0),(.2,0),(1.,0),(.2,1),(1.,1)]),
    turn_lists=('listed', run_turn_lists, [(0.,),(.2,),(1.,)]),
    **{k: ('listed', run_listed, [(k,d,b) for d in (0.,.3,1.) for b in (0,1)]) for k in ('listed_products','listed_gradient')},
    code_rows=('codes', run_code_rows, [(0,),(1,)]),
    **{k: ('residuals', run_code_residuals, [(1,),(4,),(127,)]) for k in ('code_residuals','add_residuals')},
    code_rows_back=('codes', run_code_rows_back, list(itertools.product((0,1), (0,1)))),
    **{k: (m, run_event_products, [(k,d) for d in (.05,.5,1.)]) for k,m in (('event_products','events'),('dense_products','dense'))},
    fused_forward=('fused', run_fused_forward, list(itertools.product(range(4), (.05,.5,1.), ('scm','s','cm','')))),
    fused_network=('network', run_fused_network, list(itertools.product(((0,3),(1,0),(2,1),(3,2)), ('spk','over','constant'), (0,3,6,1), (np.inf,5.)))),
    packed_event_products=('events', run_packed_event_products, [(.05,),(.5,),(1.,)]),
    pack_rows=('events', run_pack_rows, [()]),
    bin_events=('binning', run_bin_events, list(itertools.product(('uint8','int32'), (0,1), (0,1)))),
    split_events=('binning', run_split_events, [()]),
    is_recording=('binning', run_is_recording, [(0,0),(0,-1),(0,2**53),(0,999),(0,2**63-1),(1,9),(1,5<<16),(1,2<<32)]),
    unpack_events=('binning', run_unpack_events, [()]),
    curve_index=('order', run_curve_index, CURVES),
    scan_digits=('scan', run_scan, [(b,t,k) for b,t in ((1,1),(4,1),(4,4),(8,8),(15,15)) for k in (0,1,-1)]),
    scan_bytes=('scan', run_scan, [(128,127,k) for k in (0,1,-1)]),
    **{k: ('scan', f, [()]) for k,f in dict(scan_bounds=run_scan_bounds, largest=run_largest,
                                            dots_of=run_dots_of, low_digits=run_low_digits).items()},
    turn_rows=('encode', run_turn_rows, [()]), two_digits=('encode', run_two_digits, [()]), search_cells=('cells', run_search_cells, [()]),
    put_in_cells=('lay', run_in_cells, [(0,)]), take_from_cells=('lay', run_in_cells, [(1,)]),
    curve_cell=('order', run_curve_cell, CURVES), e8_points=('e8', run_e8_points, [('any',),('ties',),('almost',)]),
    walk_all=('walk', run_walk_all, list(itertools.product((0.,.5,.9), (0,1), (0,1)))), fire_round=('fire', run_fire_round, [(0,1),(32768,1),(60000,2**20)]),
    edge_work=('curvature', run_edge_work, [(0,1,2**16),(1,2,2**16),(3,10,40)]),
    merge_words=('merge', run_merge_words, [(h,a) for h in ((0,0,False),(1.,0,False),(.5,.3,True),(0,0,True)) for a in (0,1)]),
    wave_steps=('wave', run_wave_steps, [(d,g,f,*o) for d,g,f in itertools.product(REAL, WAVES, (0,1)) for o in WAVE[f::2]]),
    wave_sweeps=('wave', run_wave_sweeps, [(d,t,*o,k) for d,t,k in itertools.product(REAL, (0,1), (1,2,8)) for o in WAVE[k%2::2]]),
    wave_rows=('wave_rows', run_wave_rows, [(d,a,f,*o) for d,a,f in itertools.product(REAL, (1,2,9), (0,1)) for o in WAVE[f::2]]),
    wave_int_steps=('wave_int', run_wave_int, [(a,g,*t,e) for a in (1,2,3) for g in (0,8,16) for t in ((0,0),(200,0),(200,1)) for e in (0,1)]))


def results(kernel, level, sizes, threads=1):
    name,run,options = CASES[kernel]
    mod = load(name, level)
    return [bits(run(mod, np.random.default_rng(i), *sizes, threads, *o)) for i,o in enumerate(options)]


def test_is_compiled():
    assert kernels.level() in LEVELS
    assert kernels.compiled()==dict.fromkeys(NAMES, True)


@pytest.mark.parametrize('name,level', [(n,l) for n in NAMES for l in levels_of(n)])
def test_same_names(name, level): assert load(name, level).__all__==load(name).__all__


def test_what_gains_is_compiled_for_vnni():
    if 'x86-64-v4-vnni' in LEVELS: assert {f.name.split('.')[0] for f in FOLDERS['x86-64-v4-vnni'].iterdir() if f.suffix=='.so'}==VNNI


def test_every_kernel_has_a_case(): assert sorted(CASES)==sorted(k for n in NAMES for k in load(n).__all__)


@pytest.mark.parametrize('kernel,level', [(k,l) for k in CASES for l in levels_of(CASES[k][0])])
def test_compiled_is_the_source(kernel, level): assert results(kernel, level, (4,2,5))==results(kernel, 'source', (4,2,5))


@pytest.mark.parametrize('kernel', CASES)
def test_levels_agree(kernel):
    "Over several tiles, and rows that do not fill a vector"
    first = results(kernel, LEVELS[0], (6,3,1061))
    for level in levels_of(CASES[kernel][0])[1:]: assert results(kernel, level, (6,3,1061))==first, level


@pytest.mark.parametrize('kernel', ('lif_forward','lif_backward','readout_forward','readout_backward','listed_products','listed_gradient','lif_int_forward','lif_states_forward','nearest_level','fake_quantize_rows','fake_quantize_back','code_rows','code_rows_back','code_residuals','add_residuals','event_products','dense_products','packed_event_products','fused_forward','fused_network','quantize_nonary','pack_nits','unpack_nits','pack_planes','unpack_planes',
                                    'encode_digits','decode_digits','add_saturate','add_carries','multiply_nonary','dot_nits','curve_index','curve_cell','e8_points','wave_steps','wave_sweeps','wave_rows','wave_int_steps','search_cells','walk_all','fire_round'))
def test_threads_change_nothing(kernel):
    best = levels_of(CASES[kernel][0])[-1]
    one = results(kernel, best, (3,3,700))
    for threads in 2,5,16: assert results(kernel, best, (3,3,700), threads)==one, threads


@pytest.mark.parametrize('kernel,level', [(k,l) for k in CASES for l in ('source',*levels_of(CASES[k][0]))])
@pytest.mark.parametrize('sizes', [(0,2,3), (3,0,3), (3,2,0), (0,0,0)])
def test_nothing_to_do(kernel, sizes, level): assert results(kernel, level, sizes)==results(kernel, 'source', sizes)


def test_no_steps():
    "Without a step the state stays, and no gradient is left unwritten"
    v = np.array([[1.,2.]])
    load('lif').lif_forward(np.ones((1,1,2)), np.ones(2), np.ones(2), v, *outputs(0, 1, 2, 'uint8', 'float64', 'sbmc'), 0, 0)
    assert v.tolist()==[[1,2]]
    for mod in load('bptt'),load('bptt', levels_of('bptt')[-1]):
        out = run_lif_backward(mod, np.random.default_rng(0), 0, 2, 3, 1, 'float32', 'float32', 0, 0, 1, 1, 'svbt')
        assert not any(a.any() for a in out)


@pytest.mark.parametrize('level', ['source',*levels_of('lif')])
def test_shapes_are_checked(level):
    mod,f,i = load('lif', level),lambda *s: np.zeros(s, np.float32),lambda *s: np.zeros(s, np.int32)
    d,bptt,ints = lambda *s: np.zeros(s),load('bptt', level),load('lif_int', level)
    out = lambda d: dict(zip(('spk','bits','pre','count'), outputs(4, 2, 3, 'float32', d, 'sbmc')))
    bad_out = [dict(spk=f(3,2,3)), dict(spk=f(4,2,4)), dict(bits=np.zeros((4,2,3), np.uint8)), dict(count=i(3,3)), dict(count=i(2,2)), dict(steps=-1), dict(reset=4), dict(reset=-1), dict(num_threads=0)]
    good = dict(x=f(4,2,3), beta=f(3), theta=f(3), v=f(2,3), **out('float32'), steps=4, reset=0, num_threads=1)
    mod.lif_forward(**good)
    for bad in (dict(x=f(2,2,3)), dict(beta=f(4)), dict(theta=f(2)), dict(v=f(3,3)), dict(pre=f(3,2,3)), dict(mem=f(4,2,2)), *bad_out):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): mod.lif_forward(**good|bad)
    good = dict(x=i(4,2,3), guard=0, bias=i(3), m=i(3), theta=i(3), v=i(2,3), **out('int32'), steps=4, reset=0, num_threads=1)
    ints.lif_int_forward(**good)
    for bad in (dict(x=i(2,2,3)), dict(guard=31), dict(guard=-1), dict(bias=i(4)), dict(m=i(2)), dict(theta=i(2)), dict(v=i(2,2)), dict(pre=i(1,2,3)), dict(mem=i(3,2,3)), *bad_out):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): ints.lif_int_forward(**good|bad)
    none,states = np.zeros((0,2,3), np.uint8),load('lif_states', level)
    good = dict(x=i(4,2,3), guard=0, bias=i(3), m=i(3), theta=i(3), m0=i(3)+2**30, shift=i(3)+1, quant_max=7, m2=i(3), levels=i(0), clip=7, before_fire=0, v=i(2,3), j=i(2,3), spk=none, pre=i(4,2,3), mem=i(4,2,3), steps=4, reset=0, num_threads=1)
    states.lif_states_forward(**good)
    for bad in (dict(x=i(2,2,3)), dict(guard=31), dict(guard=-1), dict(bias=i(4)), dict(m=i(1)), dict(theta=i(2)), dict(m0=i(2)), dict(shift=i(0)), dict(quant_max=0), dict(m2=i(2)), dict(clip=-1), dict(clip=7, levels=i(2)),
                dict(before_fire=2), dict(v=i(2,2)), dict(j=i(0,0)), dict(spk=np.zeros((3,2,3), np.uint8)), dict(pre=i(4,1,3)), dict(mem=i(3,2,3)), dict(steps=-1), dict(reset=4), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): states.lif_states_forward(**good|bad)
    good = dict(gs=f(4,2,3), gpre=f(4,2,3), x=f(4,2,3), pre=f(0,2,3), unit=f(3), v0=f(2,3), beta=f(3), theta=f(3), gx=f(4,2,3), gbeta=d(2,3), gtheta=d(2,3), gv0=f(2,3),
                steps=4, reset=0, surrogate=0, slope=25., detach_reset=1, num_threads=1)
    bptt.lif_backward(**good)
    for bad in (dict(gs=f(2,2,3)), dict(gpre=f(4,2,2)), dict(x=f(2,2,3)), dict(x=f(0,2,3)), dict(x=f(4,3,2)), dict(pre=f(3,2,3)), dict(pre=f(4,2,2)), dict(unit=f(2)), dict(beta=f(2)), dict(theta=f(2)),
                dict(gx=f(2,2,3)), dict(gbeta=d(1,3)), dict(gtheta=d(2,2)), dict(gv0=f(1,3)), dict(steps=-1), dict(reset=4), dict(surrogate=5), dict(slope=0.), dict(detach_reset=2), dict(num_threads=0)):
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}`'): bptt.lif_backward(**good|bad)


def apart_of(mod, kernel, levels=(-1,0,1)):
    "Arguments of a kernel, in order, that it takes; and what is written: names, and the first so many inputs that may be the first of them"
    f,i,u,d = (lambda *s, t=t: np.zeros(s, t) for t in (np.float32,np.int32,np.uint8,np.float64))
    o,l = (lambda *s, t=t: np.zeros(s, t) for t in (np.int64,np.int8))
    table = np.float32(levels)
    return dict(
        stream=(dict(x=f(8), out=f(8)), 'out', ''),
        lif_forward=(dict(x=f(4,2,8), beta=f(8), theta=f(8), v=f(2,8), spk=f(4,2,8), bits=u(4,2,1), pre=f(4,2,8), count=i(2,8), steps=4, reset=0, num_threads=1, mem=f(4,2,8)), 'v spk bits pre count mem', ''),
        lif_int_forward=(dict(x=i(4,2,8), guard=0, bias=i(8), m=i(8), theta=i(8), v=i(2,8), spk=u(4,2,8), bits=u(4,2,1), pre=i(4,2,8), count=i(2,8), steps=4, reset=0, num_threads=1, mem=i(4,2,8)), 'v spk bits pre count mem', ''),
        lif_states_forward=(dict(x=i(4,2,8), guard=0, bias=i(8), m=i(8), theta=i(8), m0=i(8)+2**30, shift=i(8)+31, quant_max=7, m2=i(8), levels=np.int32([-9,0,9]), clip=0, before_fire=0, v=i(2,8), j=i(2,8), spk=u(4,2,8), pre=i(4,2,8), mem=i(4,2,8), steps=4, reset=0, num_threads=1), 'v j spk pre mem', ''),
        lif_backward=(dict(gs=f(4,2,8), gpre=f(4,2,8), x=f(4,2,8), pre=f(4,2,8), unit=f(8), v0=f(2,8), beta=f(8), theta=f(8), gx=f(4,2,8), gbeta=d(2,8), gtheta=d(2,8), gv0=f(2,8), steps=4, reset=0, surrogate=0, slope=25., detach_reset=1, num_threads=1), 'gx gbeta gtheta gv0', ''),
        readout_forward=(dict(x=f(4,2,8), guard=0, per=f(3,8), weight=f(3,8), y=f(4,2,3), count=o(2), ends=f(2,8), steps=4, reset=0, num_threads=1), 'y count ends', ''),
        readout_backward=(dict(gy=f(4,2,3), gfired=f(2), x=f(4,2,8), guard=0, per=f(3,8), reals=f(3,8), weight=f(3,8), gx=f(4,2,8), gw=f(3,8), gbeta=d(8), gtheta=d(8), steps=4, reset=0, surrogate=0, slope=25., detach_reset=1, num_threads=1), 'gx gw gbeta gtheta', ''),
        list_spikes=(dict(x=f(2,8), start=i(3), at=i(24)), 'start at', ''),
        turn_lists=(dict(start=i(9), at=i(0), back=i(9), rows=i(0)), 'back', ''),
        listed_products=(dict(start=np.int32([0,1,2,2,2]), at=i(2), weight=f(8,3), bias=f(8), y=f(4,8), num_threads=1), 'y', ''),
        listed_gradient=(dict(back=np.int32([0,1,2,2]), rows=i(2), g=f(4,8), gw=f(8,3), gb=f(8), num_threads=1), 'gw gb', ''),
        fused_forward=(dict(x=u(4,2,8), weight=l(8,32), guard=0, per=i(3,32), spk=u(4,2,32), count=i(2,32), mem=o(2,32), reset=0, num_threads=1), 'spk count mem', ''),
        fused_network=(dict(spk=u(4,2,8), codes=i(0,0,0), weight=np.zeros(8*16+32*16, np.uint16), layers=np.array([[8,32,0,0],[32,32,0,3]]), per=i(3,64), worth=d(32), number=0., classes=32, bound=1., least=1, steps=4, kept=o(2,32), took=o(2), num_threads=1), 'kept took', ''),
        event_products=(dict(spk=u(4,8), weight=l(8,32), out=i(4,32)), 'out', ''),
        dense_products=(dict(spk=u(4,8), weight=l(8,32), out=i(4,32)), 'out', ''),
        bin_events=(dict(events=o(8,2), splits=np.array([0,4,8]), b=0, height=2, width=3, out=i(2,1,12), count=1, num_threads=1), 'out', ''),
        split_events=(dict(events=o(8,2), edges=o(8), splits=o(8)), 'splits', ''),
        unpack_events=(dict(data=u(40), events=o(8,2), state=o(2)), 'events state', ''),
        curve_index=(dict(x=i(8,3), bits=2, hilbert=1, h=o(8), num_threads=1), 'h', ''),
        curve_cell=(dict(h=o(8), bits=2, hilbert=1, x=i(8,3), num_threads=1), 'x', ''),
        walk_all=(dict(start=np.array([0,2]), at=np.int32([0,1]), share=d(1)+.25, into=d(1)+.5, degree=d(1,32)+1, begin=d(1,32)+2, place=i(8), restart=f(2,8), scale=d(2)+1, alpha=.5, error=1e-3, gradients=0, p=f(2,8), bound=d(2), rounds=i(2), num_threads=1), 'p bound rounds', ''),
        merge_words=(dict(words=i(2), starts=np.array([0,2]), times=o(1)+1, spelled=[b'a',b'b'], vocab=3, how=(0,0,False), roots=d(0,0)), '', ''),
        edge_work=(dict(starts=np.array([0,2,4,6]), nodes=np.int32([1,2,0,2,0,1]), ends=np.int32([[0,1],[0,2],[1,2]]), p=0, q=1, most=64, work=o(3), sizes=i(3,2)), 'work sizes', ''),
        fire_round=(dict(edge_starts=np.array([0,2]), members=np.int32([0,1]), node_starts=np.array([0,1,2]), edges_of=i(2), weight=o(1)+1, degree=o(2)+1, alpha=32768, least=1, x=o(2), p=o(2), held=o(1), flow=o(1), sent=o(2), each=o(1), fired=u(2), num_threads=1), 'x p held flow sent each fired', ''),
        wave_steps=(dict(u=f(2,1,8), v=f(1,8), c=f(8), e=f(8), f=f(16), shape=np.array([2,2]), cells=o(1), src=f(3,1,2), law=(.1,0.,0.), steps=3, num_threads=1, top=8), 'u v', ''),
        wave_sweeps=(dict(u=f(1,1,8), v=f(1,8), c=f(8), e=f(8), shape=np.array([2,2]), cells=o(1), src=f(3,1,2), law=(.1,0.,0.), steps=3, num_threads=1, depth=2), 'u v', ''),
        wave_rows=(dict(u=f(2,8), v=f(8), c=f(8), e=f(8), near=i(4,4), f=f(16), cells=o(1), src=f(3,2), law=(.1,0.,0.), steps=3, num_threads=1, top=8), 'u v', ''),
        wave_int_steps=(dict(u=i(2,1,8), v=i(1,8), kick=i(8), decay=i(8), shape=np.array([4]), cells=o(1), src=i(3,1,2), law=(4,0,False), steps=3, num_threads=1), 'v u', ''),
        scan_digits=(dict(planes=np.zeros((1,2,64), np.uint16), q=l(2,16), out=i(2,32), bias=4, num_threads=1), 'out', ''),
        scan_bytes=(dict(planes=np.zeros((1,2,64), np.uint16), q=l(2,8), out=i(2,32), num_threads=1), 'out', ''),
        scan_bounds=(dict(dots=i(32), heads=np.zeros((1,2,32), np.int16), qh=f(2), per=f(1,3,32), law=f(6), est=f(32), bound=f(32), room=f(32), num_threads=1), 'est bound room', ''),
        largest=(dict(est=f(8), n=8, at=o(4)), 'at', ''),
        dots_of=(dict(x=f(4,8), at=o(3), q=d(8), out=d(3)), 'out', ''),
        low_digits=(dict(rows=u(4,8), at=o(3), q=l(16), out=i(3)), 'out', ''),
        turn_rows=(dict(x=f(3,8), signs=f(2,8), scale=1., room=f(2,8), out=f(3,8)), 'room out', ''),
        two_digits=(dict(y=f(3,16), per=f(3)+1, steps=f(2)+1, digits=u(3,8), low=u(3,8), worth=f(3,2), sums=f(4,16)), 'digits low worth sums', ''),
        put_in_cells=(dict(cell=i(2), place=o(2), digits=u(2,128), worth=f(2), codes=u(32,64), rest=u(32,64), per=f(32), row=o(32), after=np.array([1,-1,0]), first=o(2)-1, size=o(2), slot=o(2)), 'codes rest per row after first size slot', ''),
        take_from_cells=(dict(cell=i(1), place=o(1), codes=u(32,64), rest=u(32,64), per=f(32), row=o(32), after=np.array([-1,-1,1]), first=o(2), size=o(2)+5, slot=o(1)), 'codes rest per row after first size slot', ''),
        search_cells=(dict(z=f(1,256), q=d(1,4), hubs=u(2,128), worth=f(2), centre=f(2,256), codes=u(16,64), rest=u(16,64), per=f(16), row=o(16), after=o(2)-1, first=o(2), size=np.array([3,0]), low=u(3,128), both=f(3), x=f(3,4), ids=o(3), how=(1,4,2,2.,5.), f=f(1,2,4), g=o(1,5,4), ints=np.zeros((1,2,128), np.int16), at=o(1,2), score=d(1,2), read=o(1,4)), 'f g ints at score read', ''),
        pack_rows=(dict(weight=l(4,10), words=np.zeros((4,2), np.uint16)), 'words', ''),
        packed_event_products=(dict(spk=u(4,8), words=np.zeros((8,2), np.uint16), out=i(4,10)), 'out', ''),
        nearest_level=(dict(x=f(8), levels=table, bounds=np.float32([-.5,.5]), table=table.copy(), out=f(8), clipped=o(3), rate=1., cells=i(0), num_threads=1), 'out clipped', ''),
        fake_quantize_rows=(dict(x=f(2,3,4), scale=f(3)+1, quant_min=-7, quant_max=7, out=f(2,3,4), min_val=f(3), max_val=f(3), low=f(3)-1, high=f(3)+1, counts=o(3,6), num_threads=1), 'out min_val max_val counts', 'x'),
        fake_quantize_back=(dict(g=f(2,3,4), x=f(2,3,4), scale=f(3)+1, quant_min=-7, quant_max=7, gx=f(2,3,4), gscale=d(3), num_threads=1), 'gx gscale', ''),
        code_rows=(dict(w=f(3,4), scale=f(3)+1, least=f(3)+1, top=7, code=f(3,4), worth=d(3), zero=u(3), num_threads=1), 'code worth zero', ''),
        e8_points=(dict(x=f(3,8), out=l(3,8), num_threads=1), 'out', ''),
        code_residuals=(dict(g=f(8), left=f(8), ends=np.array([4,8]), top=4, digits=l(8), scale=f(2)), 'left digits scale', ''),
        add_residuals=(dict(digits=l(8), scale=f(2), ends=np.array([4,8]), total=f(8)), 'total', ''),
        code_rows_back=(dict(g=f(3,4), w=f(3,4), scale=f(3)+1, least=f(3)+1, top=7, pact=0, gw=f(3,4), gscale=d(3), num_threads=1), 'gw gscale', ''),
        quantize_nonary=(dict(x=f(8), edges=np.float32([.5,1.5,2.5,3.5]), out=l(8)), 'out', ''),
        **{k: (dict(nits=l(40), words=np.zeros(8, np.uint16)), 'words', '') for k in ('pack_nits','pack_planes')},
        **{k: (dict(words=np.zeros(8, np.uint16), nits=l(40)), 'nits', '') for k in ('unpack_nits','unpack_planes')},
        encode_digits=(dict(x=o(8), digits=l(8,5)), 'digits', ''),
        decode_digits=(dict(digits=l(8,5), out=o(8)), 'out', ''),
        add_saturate=(dict(a=o(8), b=o(8), half=364, out=o(8)), 'out', 'a b'),
        add_carries=(dict(a=o(8), b=o(8), half=364, out=o(8), carry=l(8)), 'out carry', 'a b'),
        multiply_nonary=(dict(a=o(8), b=o(8), D=3, low=o(8), high=o(8)), 'low high', 'a b'),
        dot_nits=(dict(words=np.zeros((4,8), np.uint16), x=i(5,8), out=o(4)), 'out', ''))[kernel]


COPIED = dict(lif_forward='beta theta', lif_int_forward='bias m theta', quantize_nonary='edges') # before anything is written
ON_ARRAYS = 'level_bounds','uniform_rate','level_cells','is_recording','merge_words' # of numpy, which makes new arrays, or written nowhere


@pytest.mark.parametrize('kernel,level', [(k,l) for k in sorted(set(CASES)-set(ON_ARRAYS)) for l in ('source',*levels_of(CASES[k][0]))])
def test_what_is_written_is_apart(kernel, level):
    "An output that lies in another argument is refused, wherever it begins there; in place is allowed where it is said"
    mod = load(CASES[kernel][0], level)
    good,written,twins = apart_of(mod, kernel)
    run = getattr(mod, kernel)
    run(*good.values())
    for k in written.split():
        for other,a in good.items():
            if other==k or not isinstance(a, np.ndarray) or other in COPIED.get(kernel, ''): continue
            room = np.zeros(a.nbytes+good[k].nbytes+16, np.uint8)
            for at in (0,8):
                if a.nbytes<=at: continue
                mine = room[at:at+good[k].nbytes].view(good[k].dtype).reshape(good[k].shape)
                theirs = room[:a.nbytes].view(a.dtype).reshape(a.shape)
                theirs[...] = a
                args = good|{k:mine, other:theirs}
                if at==0 and other in twins.split() and k==written.split()[0]: run(*args.values())
                else:
                    with pytest.raises(ValueError, match='`: expected memory of its own, found that of `'): run(*args.values())


OUTSIDE = dict(
    merge_words=[dict(words=[0,2]), dict(words=[-1,0]), dict(starts=[0,3]), dict(starts=[1,2]), dict(starts=[0,1,2]), dict(times=[0]), dict(vocab=1), dict(roots=[[.5,.5]], how=(0,1.,False))],
    walk_all=[dict(at=[0,32]), dict(at=[-1,0]), dict(start=[0,3]), dict(start=[0]), dict(place=[33]*8), dict(place=[-2]*8), dict(into=[1.]*2), dict(scale=[1.]), dict(bound=[1.]), dict(rounds=[1]*3), dict(degree=[[0.]*32]), dict(degree=[[1.]*2]), dict(begin=[[1.]]), dict(restart=[[1.]*7]*2), dict(p=[[1.]*8]), dict(alpha=1.), dict(alpha=-.1), dict(alpha=np.nan), dict(num_threads=0)],
    fire_round=[dict(members=[0,2]), dict(members=[-1,0]), dict(edges_of=[0,1]), dict(edges_of=[0]), dict(edge_starts=[0,3]), dict(node_starts=[0,2,1]), dict(weight=[0]), dict(degree=[1,-1]), dict(degree=[2**62,2**63-1], least=4), dict(alpha=65536), dict(alpha=-1), dict(least=0), dict(x=[0]), dict(held=[0]*2), dict(fired=[0]), dict(num_threads=0)],
    code_residuals=[dict(ends=[4,9]), dict(ends=[4,7]), dict(ends=[9,8]), dict(top=0), dict(top=128), dict(num_threads=0)],
    add_residuals=[dict(ends=[4,9]), dict(ends=[4,7]), dict(ends=[9,8]), dict(scale=[1.]), dict(num_threads=0)],
    bin_events=[dict(splits=[1,4,8]), dict(splits=[0,9,8]), dict(splits=[0,4,9]), dict(splits=[0,8]), dict(b=1), dict(b=-1), dict(height=0), dict(width=0), dict(num_threads=0)],
    curve_index=[dict(bits=0), dict(bits=22), dict(num_threads=0), dict(h=[0]*7)], curve_cell=[dict(bits=0), dict(bits=22), dict(num_threads=0), dict(h=[0]*7)],
    wave_int_steps=[dict(shape=[1]), dict(shape=[4,0]), dict(cells=[4]), dict(cells=[-1]), dict(kick=[65537]*8), dict(kick=[0]*3), dict(decay=[-1]*8), dict(decay=[0]*9), dict(src=[[[0,0]]]), dict(src=[[[0]]]*3), dict(law=(17,0,False)), dict(law=(-1,0,False)), dict(law=(4,2**30,True)), dict(law=(0,-1,False)), dict(steps=0), dict(num_threads=0)],
    scan_digits=[dict(q=[[0]*15]*2), dict(q=[[-128]*16]*2), dict(out=[[0]*31]*2), dict(out=[[0]*32]), dict(planes=[[[0]*32]*2]), dict(bias=0), dict(bias=16), dict(num_threads=0)],
    scan_bytes=[dict(q=[[0]*16]*2), dict(q=[[-128]*8]*2), dict(out=[[0]*31]*2), dict(planes=[[[0]*32]*2]), dict(num_threads=0)], scan_bounds=[dict(qh=[0]*3), dict(law=[0]*4), dict(est=[0]*31), dict(num_threads=0)],
    largest=[dict(n=9), dict(n=-1), dict(at=[0]*9)], dots_of=[dict(at=[0,4,0]), dict(at=[-1,0,0]), dict(q=[0]*7), dict(out=[0]*2)],
    low_digits=[dict(at=[0,4,0]), dict(at=[-1,0,0]), dict(q=[0]*7), dict(out=[0]*2)],
    turn_rows=[dict(signs=[[0]*7]), dict(room=[[0]*8]), dict(out=[[0]*8])], two_digits=[dict(y=[[0]*8]*3), dict(per=[1]), dict(steps=[]), dict(sums=[[0]*16])],
    put_in_cells=[dict(cell=[2,0]), dict(cell=[-1,0]), dict(place=[2,0]), dict(place=[0]), dict(after=[1,-1,-1]), dict(after=[1,-1,2]), dict(codes=[[0]*64]*31), dict(size=[0]), dict(rest=[[0]*64]*16), dict(first=[-1,-1], size=[5,0])],
    take_from_cells=[dict(cell=[2]), dict(place=[1]), dict(slot=[-1]), dict(slot=[32]), dict(size=[0,0]), dict(first=[-1,0]), dict(first=[2,0]), dict(row=[1]*32)],
    search_cells=[dict(how=(0,4,2,2.,5.)), dict(how=(1,4,1,2.,5.)), dict(how=(1,4,5,2.,5.)), dict(how=(1,4,2,2.)), dict(size=[17,0]), dict(size=[-1,0]), dict(first=[1,0]), dict(worth=[0]), dict(ids=[0]), dict(f=[[[0]*3]*2]), dict(g=[[[0]*3]*5]), dict(z=[[0]*64]), dict(read=[[0]*3]), dict(rest=[[0]*63]*16)],
    split_events=[dict(splits=[0]*7)], unpack_events=[dict(state=[9,0]), dict(state=[-1,0]), dict(state=[0]), dict(data=[0]*9)],
    fused_network=[dict(layers=l) for l in ([[8,32,31,0],[32,32,0,3]], [[8,32,0,4],[32,32,0,3]], [[8,32,0,0],[31,32,0,3]], [[7,32,0,0],[32,32,0,3]], [[8,0,0,0],[0,32,0,3]])]+[dict(classes=33), dict(classes=-1), dict(least=0), dict(steps=-1)],
    lif_int_forward=[dict(m=[65537]*8), dict(m=[-1]*8)],
    lif_states_forward=[dict(m=[65537]*8), dict(m2=[0]*7+[65537]), dict(shift=[0]*8), dict(shift=[63]*8), dict(m0=[2**30-1]*8), dict(levels=[0,9,-9]), dict(levels=[0,0,9])],
    lif_backward=[dict(slope=np.inf), dict(slope=np.nan)],
    readout_forward=[dict(guard=31), dict(guard=-1), dict(reset=4), dict(steps=-1), dict(num_threads=0)],
    turn_lists=[dict(start=[0,2,1]+[0]*6), dict(start=[1]*9), dict(rows=[0])],
    listed_products=[dict(at=[0,3]), dict(at=[-1,0]), dict(at=[0,1,2]), dict(start=[0,1,2,2]), dict(bias=[0]*7), dict(num_threads=0)],
    listed_gradient=[dict(rows=[0,4]), dict(rows=[-1,0]), dict(back=[0,2,1,2]), dict(back=[0,1,2]), dict(gb=[0]*7), dict(num_threads=0)],
    readout_backward=[dict(slope=np.inf), dict(surrogate=5), dict(detach_reset=2)],
    nearest_level=[dict(levels=[0,-1,1]), dict(levels=[-1,0,np.nan]), dict(bounds=[.5,-.5]), dict(bounds=[-.5,np.nan]), dict(rate=2.), dict(rate=np.nan), dict(rate=-1.)],
    wave_steps=[dict(shape=[1,4]), dict(shape=[4,1]), dict(cells=[4]), dict(cells=[-1]), dict(c=[0]*3), dict(e=[0]*3), dict(f=[0]*8), dict(steps=0), dict(steps=-1), dict(num_threads=0), dict(top=4)],
    wave_sweeps=[dict(shape=[1,4]), dict(shape=[2,2,1]), dict(cells=[4]), dict(cells=[-1]), dict(c=[0]*3), dict(e=[0]*3), dict(steps=0), dict(num_threads=0), dict(depth=0), dict(depth=65)],
    wave_rows=[dict(near=[[0,0,0,4]]*4), dict(near=[[0,0,0,-1]]*4), dict(near=[[0,0,0]]*4), dict(cells=[4]), dict(cells=[-1]), dict(c=[0]*3), dict(e=[0]*3), dict(f=[0]*8), dict(steps=0), dict(num_threads=0), dict(top=4)],
    quantize_nonary=[dict(edges=[.5,1.5,1,3.5]), dict(edges=[0,1,2,3]), dict(edges=[.5,1.5,2.5,np.nan])],
    **{k: [dict(half=h) for h in (0,-4,-364,1,363,365,2**63-1)] for k in ('add_saturate','add_carries')})


@pytest.mark.parametrize('kernel,level', [(k,l) for k in OUTSIDE for l in ('source',*levels_of(CASES[k][0]))])
def test_what_lies_outside_is_refused(kernel, level):
    "Numbers that a kernel has no answer for, where the check costs nothing per element"
    mod = load(CASES[kernel][0], level)
    good,*_ = apart_of(mod, kernel)
    for bad in OUTSIDE[kernel]:
        args = {k:np.array(v, good[k].dtype) if isinstance(v, list) else v for k,v in bad.items()}
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}.*`: expected'): getattr(mod, kernel)(*(good|args).values())


@pytest.mark.parametrize('level', ['source',*levels_of('fused')])
def test_leaks_of_the_fused_loop(level):
    mod = load('fused', level)
    good,*_ = apart_of(mod, 'fused_forward')
    per = good['per'].copy()
    per[1,31] = 65537
    with pytest.raises(ValueError, match=r'`per\[1\]`: expected 0 to 65536, found 65537'): mod.fused_forward(*(good|dict(per=per)).values())


def child(code, isa): return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, 'QUARANTION_ISA':isa})


@pytest.mark.parametrize('level', levels_of('scan'))
def test_scan_digits_and_scan_bytes_of_any_size(level):
    "Sums that end anywhere in what 16 bits hold, more questions than go together, several blocks of vectors: as numpy has them"
    for i in range(60):
        rng = np.random.default_rng(i)
        option = [(1,1),(4,4),(8,7),(15,15),(128,127)][i%5]
        run_scan(load('scan', level), rng, i%4, [1,3,0,70][i//5%4], int(rng.integers(0, 70)), 1+i%3, *option, (i%7==0)-(i%7==1))
    for option in (4,4,0),(128,127,0): run_scan(load('scan', level), np.random.default_rng(0), 40, 2, 130, 2, *option)


@pytest.mark.parametrize('level', levels_of('cells')[1:])
def test_search_cells_of_full_blocks(level):
    "Blocks of sixteen, cells of several blocks, and centres that end anywhere: the bits of the first level"
    for i,(M,K,k) in enumerate([(700,16,7),(700,37,9),(3000,5,40),(60,64,3)]):
        out = []
        for l in LEVELS[0],level:
            rng,f = np.random.default_rng(i),np.float32
            *new,lies = vectors_in_cells(rng, M, K)
            load('lay').put_in_cells(*new, *lies)
            real,B = lambda *s: rng.normal(size=s).astype(f),5
            out.append((np.full((B,k), 7),np.full((B,k), 7.),np.full((B,4), 7)))
            room = np.zeros((2,2,99), f),np.zeros((2,5,99), np.int64),np.zeros((2,2,128), np.int16)
            load('cells', l).search_cells(real(B,256), rng.normal(size=(B,21)), rng.integers(0, 256, (K,128)).astype(np.uint8), real(K), real(K,256),
                                          *lies[:-1], new[2], real(M), real(M,21), rng.permutation(M), (2+i,80,50,f(2),f(5)), *room, *out[-1])
        for a,b in zip(*out): np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('level', LEVELS)
def test_level_by_environment(level):
    out = child('from quarantion import kernels; import quarantion.kernels.lif as l; print(kernels.level(), l.__name__, l.__file__)', level).stdout.split()
    assert out[:2]==[level,'quarantion.kernels.lif']
    assert Path(out[2]).parent.samefile(FOLDERS[level if level in levels_of('lif') else 'x86-64-v4'])


def test_unknown_level():
    r = child('import quarantion.kernels', 'x86-64-v9')
    assert r.returncode and "`QUARANTION_ISA`: expected baseline" in r.stderr and "found 'x86-64-v9' (not a level)" in r.stderr


def test_light():
    r = child("import sys, quarantion.kernels; print(sorted({'numpy','torch'} & set(sys.modules)))", '')
    assert r.stdout=='[]\n', r.stderr
