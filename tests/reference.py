"The integer contract once more, in plain Python: loops over ints, no arrays, no code shared with the library."


def leak(v, m): return (v*m+32768)>>16


def pool(x, op):
    "`x[c][h][w]` under a window"
    (kh,kw),(sh,sw),(ph,pw) = op.kernel,op.stride,op.padding
    h,w = len(x[0]),len(x[0][0])
    out = []
    for ch in x:
        rows = []
        for i in range(-ph, h+ph-kh+1, sh):
            row = []
            for j in range(-pw, w+pw-kw+1, sw):
                inside = [ch[a][b] for a in range(i, i+kh) for b in range(j, j+kw) if 0<=a<h and 0<=b<w]
                row.append(max(inside) if op.kind=='max' else sum(inside))
            rows.append(row)
        out.append(rows)
    return out


def flat(x): return [v for part in x for v in flat(part)] if isinstance(x, list) else [x]


def apply(x, ops):
    for op in ops: x = flat(x) if op.kind=='flatten' else pool(x, op)
    return x


def linear(x, w): return [sum(int(a)*b for a,b in zip(row, x)) for row in w]


def conv(x, w, spec):
    (sh,sw),(ph,pw),(dh,dw),groups = spec
    h,wd = len(x[0]),len(x[0][0])
    cout,cin,kh,kw = len(w),len(w[0]),len(w[0][0]),len(w[0][0][0])
    out = []
    for c in range(cout):
        first = c//(cout//groups)*cin
        rows = []
        for i in range(-ph, h+ph-(kh-1)*dh, sh):
            row = []
            for j in range(-pw, wd+pw-(kw-1)*dw, sw):
                s = 0
                for k in range(cin):
                    for a in range(kh):
                        for b in range(kw):
                            y,z = i+a*dh,j+b*dw
                            if 0<=y<h and 0<=z<wd: s += int(w[c][k][a][b])*x[first+k][y][z]
                row.append(s)
            rows.append(row)
        out.append(rows)
    return out


def current(a, l, c):
    "What goes into the neuron of channel `c`, from its sum of products"
    if l.current_max:
        m0,n,top = int(l.m0[c]),int(l.shift[c]),l.current_max
        a = min(top, max(-top, (2*a*m0+2**n)//2**(n+1)))
    return a*2**l.guard+int(l.bias[c])


def kept(v, l, theta):
    "The value that a membrane may have: within the limit, or the nearest level, the lower of two"
    if l.clip: return min(l.clip, max(-l.clip, v))
    if len(l.levels): return min(((theta*t+32768)//65536 for t in l.levels.tolist()), key=lambda k: (abs(v-k), k))
    return v


def step(v, j, a, l, c):
    "One neuron of channel `c`, one step, from state and sum of products: the spike, the membrane before all, and the new state"
    theta,i = int(l.theta[c]),current(a, l, c)
    j = i+leak(j, int(l.current_leak[c])) if len(l.current_leak) else i
    p = leak(v, int(l.leak[c]))+j
    if l.reset=='subtract_delayed' and v>theta: p -= theta
    new = kept(p, l, theta) if l.before_fire else p
    s = int(new>theta)
    if s and l.reset=='subtract': new -= theta
    if s and l.reset=='zero': new = 0
    return s,p,new if l.before_fire else kept(new, l, theta),j


def returned(l, s):
    "What the spikes of the step before, shaped as the layer, add to each neuron's sum"
    r,f = l.recurrent.tolist(),flat(s)
    if l.recurrent.ndim==4: back = flat(conv(s, r, l.recurrent_conv))
    elif l.recurrent.ndim==2: back = linear(f, r)
    else: back = [r[n*len(r)//len(f)]*f[n] for n in range(len(f))]
    return [l.gain*b for b in back]


def run(net, x):
    "One sample, codes `[T][…]`; for each layer the flat spikes and states of each step"
    return [(spikes,states) for spikes,states,_ in trace(net, x)]


def trace(net, x):
    "As `run`, with the membranes before they are limited and reset"
    out = []
    for l in net.layers:
        w = l.weight.tolist()
        v,spikes,states,raw,shaped = None,[],[],[],[]
        for xt in x:
            a = apply(xt, l.before)
            a = conv(a, w, l.conv) if l.conv else linear(a, w)
            a = apply(a, l.after)
            f = flat(a)
            per = len(f)//len(w)
            if v is None: v,j = [0]*len(f),[0]*len(f)
            elif l.recurrent.size: f = [n+b for n,b in zip(f, returned(l, shaped[-1]))]
            new = [step(v[n], j[n], f[n], l, n//per) for n in range(len(f))]
            s,p,v,j = (list(k) for k in zip(*new))
            for k,to in (s,spikes),(v,states),(p,raw): to.append(k)
            shaped.append(like(a, iter(s)))
        x = shaped
        out.append((spikes, states, raw))
    return out


def like(a, it): return [like(p, it) for p in a] if isinstance(a, list) else next(it)
