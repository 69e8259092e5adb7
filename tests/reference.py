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


def step(v, i, m, theta, reset):
    "One neuron, one step: the spike, and the new state"
    p = leak(v, m)+i
    if reset=='subtract_delayed': p -= theta if v>theta else 0
    s = int(p>theta)
    if reset=='subtract': return s, p-theta*s
    if reset=='zero': return s, 0 if s else p
    return s,p


def run(net, x):
    "One sample, codes `[T][…]`; for each layer the flat spikes and states of each step"
    out = []
    for l in net.layers:
        w,b,th,m = l.weight.tolist(),l.bias.tolist(),l.theta.tolist(),l.leak.tolist()
        v,spikes,states,shaped = None,[],[],[]
        for xt in x:
            a = apply(xt, l.before)
            a = conv(a, w, l.conv) if l.conv else linear(a, w)
            a = apply(a, l.after)
            per = len(flat(a))//len(w)
            f = flat(a)
            if v is None: v = [0]*len(f)
            s = []
            for n in range(len(f)):
                c = n//per
                fired,v[n] = step(v[n], (f[n]<<l.guard)+b[c], m[c], th[c], l.reset)
                s.append(fired)
            spikes.append(s)
            states.append(list(v))
            it = iter(s)
            shaped.append(like(a, it))
        x = shaped
        out.append((spikes, states))
    return out


def like(a, it): return [like(p, it) for p in a] if isinstance(a, list) else next(it)
