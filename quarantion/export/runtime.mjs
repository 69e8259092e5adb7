// Any integer network of quarantion, from its file; of C with SHA-256 2351979af8e6778200d920812dba72af2c0332fa033be3f8c6f5c36f1f1e18ce
const TOP = 2 ** 31 - 1, ONE = 2 ** 16, LARGEST = 2 ** 28, WORTH = [2 ** -100, 2 ** 100]

const say = v => {
    const s = v === undefined ? 'nothing' : JSON.stringify(v) ?? String(v)
    return s.length > 60 ? s.slice(0, 57) + '…' : s
}
const fail = (where, what, expected, found, Kind = RangeError) => {
    throw new Kind(`${where}: ${what}: expected ${expected}, found ${found}`)
}
const whole = (v, lo, hi = TOP) => Number.isInteger(v) && lo <= v && v <= hi
const product = s => s.reduce((a, b) => a * b, 1)
const object = v => typeof v === 'object' && v !== null && !Array.isArray(v)
const wrong = (d, key, where, expected) => fail(where, `header field \`${key}\``, expected, say(d[key]))
const number = (d, key, where, lo, hi) =>
    whole(d[key], lo, hi) ? d[key] : wrong(d, key, where, `a whole number from ${lo} to ${hi}`)
const flag = (d, key, where) => typeof d[key] === 'boolean' ? d[key] : wrong(d, key, where, 'true or false')

const known = (d, usual, where, must) => {
    if (!object(d)) fail(where, 'header', 'an object', say(d))
    const names = [...must, ...Object.keys(usual)], more = Object.keys(d).filter(k => !names.includes(k))
    if (more.length) fail(where, 'header', `the fields ${names.join(', ')}`, `also ${say(more.join(', '))}`)
    return {...usual, ...d}
}
const sizes = (d, key, where, axes) => {
    const s = d[key]
    if (!Array.isArray(s) || !axes.includes(s.length) || !s.every(n => whole(n, 1)))
        wrong(d, key, where, `${axes.join(' or ')} whole numbers above 0`)
    return product(s) < 2 ** 31 ? s : wrong(d, key, where, 'less than 2^31 codes')
}
const parsed = (bytes, what) => {
    try { return JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes)) }
    catch (e) { fail('file', what, 'JSON', say(e.message)) }
}

const tensorsOf = (said, data) => {
    const out = new Map(), named = Object.entries(said).filter(([k]) => k !== '__metadata__')
    const spans = named.map(([name, t]) => [name, t, ...(Array.isArray(t?.data_offsets) ? t.data_offsets : [])])
    let end = 0
    for (const [name, t, from, to, more] of spans.sort((a, b) => a[2] - b[2] || a[3] - b[3])) {
        const size = {U8: 1, F32: 4}[t?.dtype], two = more === undefined && whole(to, from, data.length)
        const row = Array.isArray(t?.shape) && t.shape.length === 1 && t.shape[0] * size === to - from
        if (from !== end || !two || !row)
            fail('file', `tensor ${say(name)}`, 'bytes or float32 in one row, without a gap', say(t))
        out.set(name, {dtype: t.dtype, bytes: data.subarray(from, to)})
        end = to
    }
    return end === data.length ? out : fail('file', 'tensors', `${data.length} bytes`, end)
}
const opened = data => {
    const size = data.length < 8 ? NaN : Number(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true))
    if (!(size <= data.length - 8)) fail('file', 'contents', 'a whole safetensors file', `${data.length} bytes`)
    const said = parsed(data.subarray(8, 8 + size), 'contents'), text = said?.__metadata__?.quarantion
    if (!object(said) || typeof text !== 'string') fail('file', 'header', 'one that quarantion wrote', 'none')
    const head = parsed(new TextEncoder().encode(text), 'header')
    if (head?.format === 'quarantion.integer')
        fail('file', 'version', '3', `${say(head.version)} of ${head.format}: load it in Python, and save it`)
    if (head?.format !== 'quarantion.program') fail('file', 'format', 'quarantion.program', say(head?.format))
    if (head.version !== 3) fail('file', 'version', '3', say(head.version))
    return [head, tensorsOf(said, data.subarray(8 + size))]
}
const RESETS = ['subtract', 'subtract_delayed', 'zero', 'none'], NONE = 3
const USUAL = {guard: 8, reset: 'subtract', quant_max: 4, before: [], after: [], conv: [], current_max: 0,
    current_leak: false, recurrent: [], recurrent_conv: [], gain: 1, clip: 0, levels: 0, before_fire: false}
const WHOLE = {guard: [0, 30], quant_max: [1, 127], current_max: [0, TOP], gain: [1, 2 ** 20], clip: [0, TOP],
    levels: [0, ONE]}
const INTS = {bias: [-(2 ** 31), TOP], theta: [1, TOP], leak: [0, ONE], m0: [2 ** 30, TOP], shift: [1, 62],
    current_leak: [0, ONE], levels: [-(2 ** 31), TOP]}

const pair = (p, lo) => Array.isArray(p) && p.length === 2 && p.every(n => whole(n, lo, 2 ** 20))
const paired = c => pair(c[0], 1) && pair(c[1], 0) && pair(c[2], 1) && whole(c[3], 1)
const isConv = c => Array.isArray(c) && (c.length === 0 || c.length === 4 && paired(c))

const op = (o, where, key) => {
    const p = {kernel: [1, 1], stride: [1, 1], padding: [0, 0], ...o}
    const ok = object(o) && Object.keys(p).length === 4 && ['max', 'sum', 'flatten'].includes(p.kind)
    if (ok && pair(p.kernel, 1) && pair(p.stride, 1) && pair(p.padding, 0)) return p
    fail(where, `header field \`${key}\``, 'max, sum or flatten, with pairs for kernel, stride and padding', say(o))
}
const layerOf = (said, where) => {
    const l = known(said, USUAL, where, ['shape'])
    for (const k in WHOLE) number(l, k, where, ...WHOLE[k])
    for (const k of ['current_leak', 'before_fire']) flag(l, k, where)
    for (const k of ['conv', 'recurrent_conv'])
        if (!isConv(l[k])) wrong(l, k, where, 'stride, padding, dilation (pairs) and groups')
    for (const k of ['before', 'after']) {
        if (!Array.isArray(l[k])) wrong(l, k, where, 'a list')
        l[k] = l[k].map(o => op(o, where, k))
    }
    const rule = RESETS.indexOf(l.reset)
    if (rule < 0) wrong(l, 'reset', where, `one of ${RESETS.join(', ')}`)
    const [channels] = sizes(l, 'shape', where, l.conv.length ? [4] : [2])
    sizes(l, 'recurrent', where, l.recurrent_conv.length ? [4] : [0, 1, 2])
    return {...l, where, rule, channels, inputs: product(l.shape) / channels}
}
const WORDS = 'sum, first_spike, max_membrane, values, population(c) with 2 classes or more, or labels(b) with a bound'

const decisionOf = word => {
    const plain = ['sum', 'first_spike', 'max_membrane', 'values'].includes(word)
    const m = plain || typeof word !== 'string' ? null : word.match(/^(population|labels)\( *([-+.0-9eE]{1,20}) *\)$/)
    const value = m ? Number(m[2]) : 0, classes = m?.[1] === 'population'
    const ok = classes ? whole(value, 2) && /^[-+]?[0-9]+$/.test(m[2]) : plain || m && Number.isFinite(value)
    if (!ok) fail('file', 'header field `decision`', WORDS, say(word))
    return {kind: m ? m[1] : word, value}
}
const headerOf = said => {
    const usual = {in_scale: 1, in_min: 0, in_max: 1, batch_first: false, decision: 'sum'}
    const h = known(said, usual, 'file', ['digest', 'format', 'version', 'in_shape', 'steps', 'layers'])
    sizes(h, 'in_shape', 'file', [1, 2, 3, 4])
    number(h, 'steps', 'file', 1, 2 ** 20)
    number(h, 'in_min', 'file', -127, 0)
    number(h, 'in_max', 'file', 1, 255)
    flag(h, 'batch_first', 'file')
    if (typeof h.in_scale !== 'number' || !(h.in_scale >= WORTH[0] && h.in_scale <= WORTH[1]))
        wrong(h, 'in_scale', 'file', 'a number from 2^-100 to 2^100')
    if (!Array.isArray(h.layers) || !h.layers.length) wrong(h, 'layers', 'file', 'a list of at least one layer')
    return {...h, how: decisionOf(h.decision), layers: h.layers.map((l, i) => layerOf(l, `layer ${i}`))}
}
const places = (shape, kernel, stride, padding, dilation, where) => {
    if (![2, 3].includes(shape.length)) fail(where, 'shapes', 'pictures [c, h, w] or lines [c, l]', say(shape))
    const [c, h, v] = shape.length === 2 ? [shape[0], 1, shape[1]] : shape
    const fit = (n, k) => Math.floor((n + 2 * padding[k] - (kernel[k] - 1) * dilation[k] - 1) / stride[k]) + 1
    const oh = fit(h, 0), ov = fit(v, 1)
    if (!(oh >= 1 && ov >= 1)) fail(where, 'shapes', 'windows that fit into pictures with their borders', say(shape))
    if (shape.length === 2 && oh !== 1) fail(where, 'shapes', 'windows that leave one row of a line', oh)
    const most = c * Math.max((h + 2 * padding[0]) * (v + 2 * padding[1]), product(kernel) * oh * ov)
    if (most > LARGEST) fail(where, 'shapes', `at most ${LARGEST} codes with borders and windows`, most)
    const [kh, kw] = kernel, [sh, sw] = stride, [ph, pw] = padding, [dh, dw] = dilation
    return {c, h, v, oh, ov, kh, kw, sh, sw, ph, pw, dh, dw}
}
const made = (shape, s) => shape.length === 2 ? [s.c, s.ov] : [s.c, s.oh, s.ov]
const pooling = (shape, o, where) => {
    if (product(o.kernel) > 2 ** 20) fail(where, 'shapes', 'windows of at most 2^20 codes', say(o.kernel))
    if (o.kind === 'max' && o.padding.some((p, k) => p >= o.kernel[k]))
        fail(where, 'padding', 'less than the window: the largest of no codes is no number', say(o.padding))
    const s = places(shape, o.kernel, o.stride, o.padding, [1, 1], where)
    return [{...s, kind: o.kind === 'max' ? 2 : 3}, made(shape, s)]
}
const weighted = (shape, w, conv, where) => {
    const [c, inputs] = w
    if (!conv.length) {
        if (String(shape) !== String(inputs)) fail(where, 'shapes', `samples of ${inputs}`, say(shape))
        return [{kind: 0, c, inputs, oh: 1, ov: 1}, [c]]
    }
    const [stride, padding, dilation, groups] = conv
    const s = {...places(shape, w.slice(2), stride, padding, dilation, where), kind: 1, c, inputs, groups}
    if (shape[0] !== inputs * groups || c % groups)
        fail(where, 'shapes', `${inputs * groups} channels in ${groups} groups`, say(shape))
    return [s, made(shape, s)]
}
const backOf = (l, shape, where) => {
    const r = l.recurrent, n = product(shape), size = [n, l.channels]
    const fits = [true, size.includes(r[0]), r[0] === n && r[1] === n, false, r[0] === l.channels][r.length]
    if (!fits) fail(where, '`recurrent`', `weights of ${n} neurons or ${l.channels} channels`, say(r))
    if (r.length < 2) return null
    const [back, again] = weighted(r.length === 4 ? shape : [n], r, l.recurrent_conv, where), same = [shape, [n]]
    if (!same.some(s => String(s) === String(again)))
        fail(where, '`recurrent`', `a convolution that keeps the shape ${say(shape)}`, say(again))
    return back
}

const chained = (l, shape, where) => {
    const stages = []
    for (const o of [...l.before, null, ...l.after]) {
        if (o?.kind === 'flatten') { shape = [product(shape)]; continue }
        const [s, next] = o ? pooling(shape, o, where) : weighted(shape, l.shape, l.conv, where)
        stages.push({...s, weights: o === null})
        shape = next
    }
    return {...l, stages, back: backOf(l, shape, where), dims: shape, n: product(shape)}
}
const followed = h => {
    let shape = h.in_shape
    if (product(shape) > LARGEST) fail('file', 'header field `in_shape`', `at most ${LARGEST} codes`, say(shape))
    const layers = h.layers.map(l => {
        const c = chained(l, shape, l.where)
        shape = c.dims
        return c
    })
    const {n} = layers.at(-1), {kind, value} = h.how
    if (kind === 'population' && n % value)
        fail('file', 'header field `decision`', `a number of classes that divides ${n} outputs`, say(h.decision))
    return layers
}
const STAGE = 'kind wide c h v oh ov kh kw sh sw ph pw dh dw groups inputs x a w room'.split(' ')
const LAYER = 'n channels per rule guard current clip levels before gain back each chain stages sums backs bias theta leak m0 shift lasting level_at list v j s'.split(' ')

const filled = (room, at, fields, said) => {
    room.view(Int32Array, at, fields.length).set(fields.map(f => Number(said[f] ?? 0)))
}

// stage k of a layer, which reads x; where its sums are
const placed = (room, l, s, k, w, x, wide) => {
    const size = s.c * s.oh * s.ov, a = room.take(4 * (size + 16))
    const temporary = room.take(4 * [s.inputs + 1, size, 0, 0][s.kind])
    filled(room, l.chain + 4 * STAGE.length * k, STAGE, {...s, x, a, w, room: temporary, wide})
    return a
}
// what C has to know of a layer whose codes are at x
const laid = (room, l, x, wide) => {
    const {n, at, channels, rule, guard, clip, levels, gain} = l, r = l.recurrent.length, stages = l.stages.length
    l.chain = room.take(4 * STAGE.length * (stages + 1))
    l.v = room.take(4 * n)
    l.s = room.take(n + 8)
    l.j = l.current_leak ? room.take(4 * n) : 0
    for (const [k, s] of l.stages.entries()) {
        x = placed(room, l, s, k, s.weights ? at.weight : 0, x, wide)
        wide = true
    }
    const backs = l.back ? placed(room, l, l.back, stages, at.recurrent, l.s, false) : 0
    const one = r === 1 ? {back: 1, each: n / l.recurrent[0], list: at.recurrent} : {back: r ? 2 : 0}
    return {...at, ...one, n, channels, per: n / channels, rule, guard, clip, levels, gain, stages, sums: x, backs,
        current: l.current_max, before: l.before_fire, chain: l.chain, lasting: at.current_leak, level_at: at.levels,
        v: l.v, j: l.j, s: l.s}
}
const PAGE = 2 ** 16

class Room {
    constructor(vm, most) { Object.assign(this, {vm, most, end: vm.__heap_base.value}) }
    take(bytes) { // whose address is a multiple of 16, with 32 bytes behind it
        const at = Math.ceil(this.end / 16) * 16, {memory} = this.vm
        this.end = at + bytes + 32
        if (!(this.end <= this.most)) fail('network', 'memory', `at most ${this.most} bytes`, `${this.end} or more`)
        const more = Math.ceil((this.end - memory.buffer.byteLength) / PAGE)
        try { if (more > 0) memory.grow(more) }
        catch { fail('network', 'memory', `${this.end} bytes`, 'less than that') }
        return at
    }
    view(Kind, at, n) { return new Kind(this.vm.memory.buffer, at, n) }
}
const START = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]
const hex = words => [...words].map(w => w.toString(16).padStart(8, '0')).join('')

const sealed = (room, data, digest) => {
    if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest))
        fail('file', 'header field `digest`', 'the SHA-256 of the file', say(digest))
    const blocks = Math.ceil((data.length + 9) / 64), at = room.take(64 * blocks), state = room.take(32)
    const bytes = room.view(Uint8Array, at, 64 * blocks), h = room.view(Uint32Array, state, 8)
    const words = `\\"digest\\":\\"${digest}`, seal = new TextDecoder('latin1').decode(data).indexOf(words)
    bytes.set(data)
    if (seal >= 0) bytes.fill(48, seal + words.length - 64, seal + words.length)
    bytes[data.length] = 128
    new DataView(bytes.buffer).setBigUint64(at + 64 * blocks - 8, BigInt(8 * data.length))
    h.set(START)
    room.vm.sha256(at, blocks, state)
    if (hex(h) !== digest) fail('file', 'header field `digest`', `that of the file, ${hex(h)}`, digest)
}
const FREE = 2 ** 20, DENSE = 2 ** 12, TABLES = (28 * 256 + 255) * 8 + 1120 * 255 * 4
const WHY = [, ['the words of a range coder', 'others'], ['values and bytes with its checksum', 'others']]

class Tensors {
    constructor(room, all) { Object.assign(this, {room, all, seen: new Set()}) }
    of(key, dtype, right, want) {
        const t = this.all.get(key), fits = t?.dtype === dtype && right(t.bytes.length)
        if (!fits) fail('file', `tensor \`${key}\``, want, t ? `${t.bytes.length} bytes of ${t.dtype}` : 'nothing')
        this.seen.add(key)
        return t.bytes
    }
    decoded(key, n, head, bytes, decode) { // to `bytes` bytes
        const least = n > FREE ? Math.ceil(n / DENSE) : 0
        const want = `words behind ${4 + head} bytes, ${least} bytes or more`
        const b = this.of(key, 'U8', size => size >= Math.max(4 + head, least) && (size - head) % 4 === 0, want)
        const out = this.room.take(bytes), {end} = this.room, at = this.room.take(b.length)
        this.room.view(Uint8Array, at, b.length).set(b)
        const why = WHY[decode(at, b.length, out)]
        if (why) fail('file', `tensor \`${key}\``, why[0], `${why[1]}; the data are damaged`)
        this.room.end = end
        return out
    }
    codes(key, channels, inputs, top) { // [inputs][channels]
        const n = channels * inputs, {room} = this, need = TABLES + 8 * (channels + inputs)
        return this.decoded(key, n, 2, n, (at, bytes, out) =>
            room.vm.codes(at, bytes, out, channels, inputs, top, room.take(need)))
    }
    ints(key, n, [lo, hi]) {
        const {room} = this
        const x = this.decoded(key, n, 4, 4 * n, (at, bytes, out) =>
            room.vm.ints(at, bytes, out, n, room.take(TABLES + 17 * n + 32)))
        const bad = room.view(Int32Array, x, n).find(v => v < lo || v > hi)
        return bad === undefined ? x : fail('file', `tensor \`${key}\``, `numbers from ${lo} to ${hi}`, bad)
    }
    worth(key, theta) { // of one unit of the membrane
        const c = theta.length, b = this.of(key, 'F32', n => n === 4 || n === 4 * c, `1 or ${c} of float32`)
        const f = new Float32Array(b.slice().buffer), unit = Float64Array.from(theta, (v, k) => f[k % f.length] / v)
        const right = v => v >= WORTH[0] && v <= WORTH[1]
        if (f.every(right) && theta.every((v, k) => right(unit[k] * v))) return unit
        fail('file', `tensor \`${key}\``, 'thresholds worth 2^-100 to 2^100', say([...f.slice(0, 9)]))
    }
}
const arraysOf = (l, i, tensors) => {
    const at = {}, a = {}, c = l.channels, r = l.recurrent, [rows, ...rest] = r.length === 1 ? [1, r[0]] : r
    const size = {weight: c * l.inputs, levels: l.levels, recurrent: product(r)}
    const names = ['bias', 'theta', 'leak']
    if (l.current_max) names.push('m0', 'shift')
    if (l.current_leak) names.push('current_leak')
    if (l.levels) names.push('levels')
    at.weight = tensors.codes(`${i}.weight`, c, l.inputs, l.quant_max)
    if (r.length) at.recurrent = tensors.codes(`${i}.recurrent`, rows, product(rest), l.quant_max)
    for (const k of names) at[k] = tensors.ints(`${i}.${k}`, size[k] ?? c, INTS[k])
    l.views = () => { // once more where memory has grown
        for (const k in at) a[k] = tensors.room.view(INTS[k] ? Int32Array : Int8Array, at[k], size[k] ?? c)
        return a
    }
    const unit = tensors.worth(`${i}.worth`, l.views().theta)
    return Object.assign(l, {at, unit, arrays: a})
}
const limits = l => {
    const {levels: t, theta} = l.views()
    if (t && l.clip) fail(l.where, '`clip`', '0 beside levels', l.clip)
    if (t && (!t.includes(0) || t.some((v, k) => k && v <= t[k - 1])))
        fail(l.where, '`levels`', 'rising, and 0 among them', say([...t.slice(0, 9)]))
    if (!l.before_fire || l.rule === NONE || !t && !l.clip) return
    const top = v => t ? Math.floor((v * t.at(-1) + ONE / 2) / ONE) : l.clip, bad = theta.find(v => v >= top(v))
    if (bad !== undefined) fail(l.where, 'threshold', 'less than the largest membrane, limited before it fires', bad)
}
const rowSums = (w, c) => {
    const out = new Float64Array(c)
    w.forEach((v, k) => { out[k % c] += Math.abs(v) })
    return out
}
const area = ops => ops.reduce((a, o) => o.kind === 'sum' ? a * product(o.kernel) : a, 1)

// the largest |sum| of each channel
const largest = (l, a, max) => {
    const size = max * Math.min(area(l.before) * area(l.after), 2 ** 62), r = a.recurrent, c = l.channels
    const back = new Float64Array(c), own = r ? rowSums(r, l.recurrent[0]) : back, per = own.length / c
    own.forEach((v, k) => { back[Math.floor(k / per)] = Math.max(back[Math.floor(k / per)], v) })
    return rowSums(a.weight, c).map((v, k) => v * size + l.gain * back[k])
}
const pile = (m, steps) => 1 / Math.max(1 - m / ONE, 1 / Math.min(steps, 2 ** 60)) // what a leak lets pile up

// does the membrane of channel c stay, with sums of at most `sum`?
const stays = (l, a, c, sum, steps) => {
    let i = (l.current_max || sum) * 2 ** l.guard + Math.abs(a.bias[c])
    if (a.current_leak) i = (i + 0.5) * pile(a.current_leak[c], steps)
    const t = a.levels, theta = a.theta[c], far = theta + i
    const top = t ? Math.max(-t[0], t.at(-1)) / ONE * theta + 0.5 : l.clip
    if (top) return Math.max(top, top * (a.leak[c] / ONE) + 0.5 + far) < 2 ** 31
    return Math.max((i + 0.5) * pile(a.leak[c], steps), far) < 2 ** 31
}

const mostSteps = (layers, least, max) => {
    const sums = layers.map((l, i) => largest(l, l.arrays, i ? 1 : max))
    const proved = (l, i, steps) => sums[i].every((sum, c) => stays(l, l.arrays, c, sum, steps))
    layers.forEach((l, i) => {
        if (!sums[i].every(s => s < 2 ** 31)) fail(l.where, 'products', '|A| < 2^31', 'more')
        if (!proved(l, i, least)) fail(l.where, 'membranes', `|v| < 2^31 in ${least} steps`, 'more')
    })
    let lo = least, hi = TOP
    while (hi - lo > 1) {
        const t = Math.floor((lo + hi) / 2)
        if (layers.every((l, i) => proved(l, i, t))) lo = t
        else hi = t
    }
    return lo
}
const KEPT = {count: 1, total: 2, first_spike: 3, max_membrane: 4, values: 0}

const told = l => ({neurons: l.n, channels: l.channels, shape: l.dims, reset: l.reset, inputs: l.inputs,
    synapses: l.channels * l.inputs + (l.recurrent.length ? product(l.recurrent) : 0)})

class Network {
    #room; #layers; #how; #x; #sums; #at; #kept; #what; #done = 0; #given = false
    constructor(room, h, layers, mostSteps) {
        const {in_shape: inShape, in_min: lo, in_max: hi, in_scale: worth, steps, decision, how} = h
        const last = layers.at(-1), answers = ['labels', 'values'].includes(how.kind) ? last.n : 1
        Object.assign(this, {inputs: product(inShape), inShape, lo, hi, worth, steps, mostSteps, decision, answers})
        this.layers = layers.map(told)
        this.#room = room
        this.#layers = layers
        this.#how = how
        this.#what = KEPT[how.kind] ?? KEPT[last.rule === NONE ? 'total' : 'count']
        this.#lay()
        this.start()
    }
    #lay() {
        const room = this.#room, layers = this.#layers, x = room.take(4 * this.inputs), {n} = layers.at(-1)
        this.#at = room.take(4 * LAYER.length * layers.length)
        layers.forEach((l, i) => {
            const said = laid(room, l, i ? layers[i - 1].s : x, !i)
            filled(room, this.#at + 4 * LAYER.length * i, LAYER, said)
        })
        this.#kept = room.take(8 * n)
        this.#x = room.view(Int32Array, x, this.inputs)
        this.#sums = room.view(Float64Array, this.#kept, n)
        for (const l of layers) {
            l.views()
            l.spikes = room.view(Uint8Array, l.s, l.n)
            l.membranes = room.view(Int32Array, l.v, l.n)
            l.currents = room.view(Int32Array, l.j, l.j ? l.n : 0)
        }
    }
    start() {
        for (const l of this.#layers) for (const a of [l.spikes, l.membranes, l.currents]) a.fill(0)
        this.#sums.fill(this.#how.kind === 'first_spike' ? -1 : 0)
        this.#done = 0
        this.#given = false
    }
    step(codes = null) {
        if (this.#done >= this.mostSteps) fail('step', 'steps', `at most ${this.mostSteps}, by proof`, 'one more')
        if (codes !== null) this.#take(codes)
        else if (!this.#given) fail('step', '`codes`', `${this.inputs} codes in the first step`, 'none', TypeError)
        const fresh = Number(codes !== null), {length} = this.#layers
        this.#room.vm.step(this.#at, length, fresh, this.#kept, this.#what, this.#done++)
    }
    #take(codes) {
        const want = `${this.inputs} whole numbers from ${this.lo} to ${this.hi}`
        const refuse = (found, Kind) => fail('step', '`codes`', want, found, Kind)
        const list = Array.isArray(codes) || ArrayBuffer.isView(codes) && !(codes instanceof DataView)
        if (!list) refuse(say(codes), TypeError)
        if (codes.length !== this.inputs) refuse(`${codes.length}`)
        for (let k = 0; k < codes.length; k++) {
            if (typeof codes[k] !== 'number') refuse(`${typeof codes[k]} at ${k}`, TypeError)
            if (!whole(codes[k], this.lo, this.hi)) refuse(`${codes[k]} at ${k}`)
        }
        this.#x.set(codes)
        this.#given = true
    }
    #layer(l) { return this.#layers[l] ?? fail('network', 'layer', `0 to ${this.#layers.length - 1}`, say(l)) }
    spikes(l) { return this.#layer(l).spikes }
    membranes(l) { return this.#layer(l).membranes }
    theta(l) { return this.#layer(l).arrays.theta }
    bias(l) { return this.#layer(l).arrays.bias }
    leak(l) { return this.#layer(l).arrays.leak }
    weights(l) { return this.#layer(l).arrays.weight }
    recurrent(l) { return this.#layer(l).arrays.recurrent ?? null }
    decide() {
        const t = this.#done, {kind, value} = this.#how, last = this.#layers.at(-1), sums = this.#sums
        if (!t) return null
        if (kind === 'values') return last.membranes.slice()
        if (kind === 'labels') {
            const unit = n => last.rule === NONE ? last.unit[Math.floor(n * last.channels / last.n)] : 1
            return Int32Array.from(sums, (v, n) => Number(v * (unit(n) / t) > value))
        }
        const score = kind === 'first_spike' ? v => v < 0 ? 1 - t : -v : v => v
        const each = kind === 'population' ? last.n / value : 1, scores = new Float64Array(last.n / each)
        sums.forEach((v, n) => { scores[Math.floor(n / each)] += score(v) })
        return Int32Array.of(scores.reduce((best, v, k) => v > scores[best] ? k : best, 0))
    }
    classify(codes, steps = this.steps) {
        const most = this.mostSteps, n = this.inputs
        if (!whole(steps, 1, most)) fail('classify', '`steps`', `a whole number from 1 to ${most}`, say(steps))
        const over = steps > 1 && codes?.length === steps * n // codes of all steps, one after the other
        this.start()
        for (let t = 0; t < steps; t++) this.step(over ? codes.slice(t * n, t * n + n) : t ? null : codes)
        return this.decide()
    }
}
const WASM = 'AGFzbQEAAAABMAZgAX8AYAN/f38AYAd/f39/f39/AX9gBH9/f38Bf2AFf39/f38Bf2AGf39/f39/AAMJCAECAwQFAAAABAUBcAEEBAUDAQACBg8CfwFBgIoEC38AQYCKBAsHNwYGbWVtb3J5AgAGc2hhMjU2AAAFY29kZXMAAQRpbnRzAAMEc3RlcAAEC19faGVhcF9iYXNlAwEJCQEAQQELAwUGBwqqZAjrBAEcfyOAgICAAEGAAmsiAySAgICAAAJAIAFBAUgNACADQQRyIQQgAkEcaiEFIAJBFGohBiACQRBqIQcgAkEMaiEIA0BBACEJA0AgAyAJaiAAIAlqKAAAIgpBGHQgCkEIdEGAgPwHcXIgCkEIdkGA/gNxIApBGHZycjYCACAJQQRqIglBwABHDQALQQAhCyADKAIAIgwhDQNAIAMgC2oiCUHAAGogCUEEaigCACIKQRl3IApBDndzIApBA3ZzIA1qIAlBJGooAgBqIAlBOGooAgAiCUEPdyAJQQ13cyAJQQp2c2o2AgAgCiENIAtBBGoiC0HAAUcNAAtBACELIAUoAgAiDiEPIAJBGGoiECgCACIRIRIgBigCACITIRQgBygCACIVIQkgCCgCACIWIRcgAkEIaiIYKAIAIhkhDSACQQRqIhooAgAiGyEcIAIoAgAiHSEKAkADQCAJQRp3IAlBFXdzIAlBB3dzIA9qIBQgCXFqIBIgCUF/c3FqIAtBgIiAgABqKAIAaiAMaiIMIApBHncgCkETd3MgCkEKd3NqIA0gHHMgCnEgDSAccXNqIR4gFyAMaiEXIAtB/AFGDQEgBCALaigCACEMIAtBBGohCyASIQ8gFCESIAkhFCAXIQkgDSEXIBwhDSAKIRwgHiEKDAALCyAFIA4gEmo2AgAgECARIBRqNgIAIAYgEyAJajYCACAHIBUgF2o2AgAgCCAWIA1qNgIAIBggGSAcajYCACAaIBsgCmo2AgAgAiAdIB5qNgIAIABBwABqIQAgAUEBSiEJIAFBf2ohASAJDQALCyADQYACaiSAgICAAAvpBgUEfwF+An8BfgF/I4CAgIAAQdAAayIHJICAgIAAIABBBGoiCC0AACEJIABBBWotAAAhCkIAIQsgB0IANwNIIAdCfzcDOCAHQgA3AzAgByAAIAFqIgw2AiwgByAAQQZqIg02AiggCkEIdCEKQgAhDgJAIA0gDE8NACAHIABBCmoiDTYCKCAAQQdqMQAAQiiGIABBBmoxAABCIIaEIABBCGoxAABCMIaEIABBCWoxAABCOIaEIQ4LIAogCXIhCiAJQQFxIQ8CQCANIAxPDQAgByANQQRqNgIoIA01AAAhCwsgByALIA6ENwNAIAdBADYCJCAHIAU2AhQgByADNgIQIAcgBDYCCCAHIAM2AgQgByACNgIAQQEhDSAHQQE2AgwgByAKQQF2NgIYIAQhCSADIQwCQCAPRQ0AIAdBATYCECAHIAM2AgwgByADNgIIIAcgBDYCBCADIQkgBCEMCyAHIAZB+KzJAGoiBTYCHCAHIAUgDEECdGoiDDYCIAJAIAdBKGogByAGIAwgCUECdGoQgoCAgABFDQACQAJAIAFBfGpBAU4NAEF/IQ0MAQsgAUF9aiEGQX8hDQNAIA0gCC0AAHMiDUEcdEEfdUGykO72AHEgDUEddEEfdUGZiLc7cXMgDUEbdEEfdUHkoNztAXFzIA1BGnRBH3VByMG42wNxc0EAIA1BAXFrQaCG4u1+cSANQQF2cyIBQQF2IA1BHnRBH3VBoIbi7X5xcyINQQZ2cyABQRp0QR91QZCD8bYHcXMgDUEadEEfdUGghuLtfnFzIQ0gCEEBaiEIIAZBf2oiBkEBSw0ACwsCQCADQQFIDQAgBEEBSA0AIARBAWohCUEAIQQDQCACIARqIQggCSEGA0AgDSAILQAAcyINQRx0QR91QbKQ7vYAcSANQR10QR91QZmItztxcyANQRt0QR91QeSg3O0BcXMgDUEadEEfdUHIwbjbA3FzQQAgDUEBcWtBoIbi7X5xIA1BAXZzIgFBAXYgDUEedEEfdUGghuLtfnFzIg1BBnZzIAFBGnRBH3VBkIPxtgdxcyANQRp0QR91QaCG4u1+cXMhDSAIIANqIQggBkF/aiIGQQFLDQALIARBAWoiBCADRw0ACwsgACgAACANQX9zR0EBdCENCyAHQdAAaiSAgICAACANC9UWCgR/AX4BewV/AXwDfwF+E38CfgN8IAEoAhRBAXQhBEEAIQUDQCACIAVqIgZCATcDACAGQTBqQgE3AwAgBkEoakIBNwMAIAZBIGpCATcDACAGQRhqQgE3AwAgBkEQakIBNwMAIAZBCGpCATcDACAFQThqIgVBoL4DRw0ACyACQfi/A2ogBEEBciIHrCIINwMAIAJB8L8DaiAINwMAIAJB6L8DaiAINwMAIAJB4L8DaiAINwMAIAJB2L8DaiAINwMAIAJB0L8DaiAINwMAIAJByL8DaiAINwMAIAJBwL8DaiAINwMAIAJBuL8DaiAINwMAIAJBsL8DaiAINwMAIAJBqL8DaiAINwMAIAJBoL8DaiAINwMAIAJBmL8DaiAINwMAIAJBkL8DaiAINwMAIAJBiL8DaiAINwMAIAJBgL8DaiAINwMAIAJB+L4DaiAINwMAIAJB8L4DaiAINwMAIAJB6L4DaiAINwMAIAJB4L4DaiAINwMAIAJB2L4DaiAINwMAIAJB0L4DaiAINwMAIAJByL4DaiAINwMAIAJBwL4DaiAINwMAIAJBuL4DaiAINwMAIAJBsL4DaiAINwMAIAJBqL4DaiAINwMAIAJBoL4DaiAINwMAQQAhBgNAIAIgBmoiBUGQwANq/QwAAAAAAAAAAAAAAAAAAAAAIgn9CwIAIAVBgMADaiAJ/QsCACAGQSBqIgZBgN3FAEcNAAsgAUEANgIkQQEhCgJAIAEoAgRBAUgNACABKAIcIQZBACEFA0AgBkEANgIAIAZBBGohBiAFQQFqIgUgASgCBEgNAAsLAkAgASgCCEEBSA0AIAJBgJ3JAGohCyACQZidyQBqIQwgBEF8cSENIAdBA3EhDkGAgIAIIAdrtyEPQQAhEEEAIREDQCABKAIYIgZBf2ohCgJAAkAgEQ0AQgAhCEEAIQUMAQsgEUECdCABKAIgakF8ajUCACEIQQEhBQsCQAJAAkACQAJAAkAgCkEBRg0AAkACQCAKQQFIDQAgESAKSA0AIAVBAWohBSAIIAEoAiAgESAKa0ECdGo1AgB8IQgMAQsgBkEBRg0DCwJAIAZBAUgNACARIAZODQILIAYNAgwDCyARIAZIDQELIAVBAWohBSAIIAEoAiAgESAGa0ECdGo1AgB8IQgLIAZB/v///wdLDQAgESAGQQFqIgZIDQAgBUEBaiEFIAggASgCICARIAZrQQJ0ajUCAHwhCAwBCyAFDQAgASgCBCEGQQchEgwBC0EAIRIgASgCBCIGrCAFrX4iE0IBhiAIQuQAfiIIVQ0AQQEhEiATQgV+IAhVDQBBAiESIBNCCn4gCFUNAEEDIRIgE0IPfiAIVQ0AQQQhEiATQhR+IAhVDQBBBSESIBNCHn4gCFUNAEEGQQcgE0IyfiAIVRshEgsCQAJAIAZBAU4NAEEAIQoMAQsgEUF/aiEUQQAhFQNAAkAgFSIWIBYgEEEIbUEQIBBBhwFKGyIXaiAGIAYgFmsiGCAXShsiFU4iGQ0AQQEhGiAWIRsCQANAQQAhHEEAIQoCQCARRQ0AIAEoAgAgASgCECAUbCABKAIMIBtsamosAAAhCgsCQCABKAIYIgVBAUgNACARIAVIDQAgASgCACABKAIQIBEgBWtsIAEoAgwgG2xqaiwAACEcC0EAIR1BACEGAkAgBUH+////B0sNAEEAIQYgESAFQQFqIh5IDQAgASgCACABKAIQIBEgHmtsIAEoAgwgG2xqaiwAACEGCwJAIAVBf2oiBUEBSA0AIBEgBUgNACABKAIAIAEoAhAgESAFa2wgASgCDCAbbGpqLAAAIR0LIAYgHCAKakEBdGogHWohBSABKAIUIh9BBCAfQQRKGyIgrSEIQQAhIUEAIR4CQCAgIAYgBkEfdSIiaiAicyAcIBxBH3UiBmogBnMgCiAKQR91IgZqIAZzakEBdGogHSAdQR91IgZqIAZzakECdCIGSw0AQQQhHiAIQgGGIAatIhNWDQBBCCEeIAhCA34gE1YNAEEMIR4gCEIFfiATVg0AQRAhHiAIQgOGIBNWDQBBFEEYIAhCDX4gE1YbIR4LAkAgCCAFIAVBH3UiBmogBnNBAnSsIhNVDQBBASEhIAhCA34gE1UNAEECQQMgCEIGfiATVRshIQtBACEFAkAgASgCJCIKQQEgChutIghCI34gATQCBCABKAIcIBtBAnQiI2o1AgB+QuQAfiITVQ0AQQghBSAIQsEAfiATVQ0AQRAhBSAIQuQAfiATVQ0AQRhBICAIQpYBfiATVRshBQsgISAeckEobCASciAFaiAGcyIgQR91ICBzIiJBKG0hCgJAIAdBAUgiJA0AIAIgIkH8B2wiBmpBgMADaiElIAIgCkH4D2wiBWohJiACIApBA3RqQaC+A2opAwAhCAJAAkAgBA0AQQAhHAwBC0EAIQpBACEcA0AgAiAKaiIdQYCdyQBqIAggAiAGaiIeQYDAA2o1AgB+IAIgBWoiISkDAEIEhny6OQMAIB1BiJ3JAGogCCAeQYTAA2o1AgB+ICFBCGopAwBCBIZ8ujkDACAKQRBqIQogBUEQaiEFIAZBCGohBiAEIBxBAmoiHEcNAAsLIAIgHEEDdCIGakGAnckAaiAIICUgHEECdGo1AgB+ICYgBmopAwBCBIZ8ujkDAAsgACAAKQMQQhiIIhM3AyAgACkDGCInIAApAwgiKH0gE4AhCEQAAAAAAAAAACEpAkAgJA0AQQAhBQJAIARBA0kNACAMIQYDQCApIAZBaGorAwCgIAZBcGorAwCgIAZBeGorAwCgIAYrAwCgISkgBkEgaiEGIA0gBUEEaiIFRw0ACwsgCyAFQQN0aiEGIA4hBQNAICkgBisDAKAhKSAGQQhqIQYgBUF/aiIFDQALCwJAIAhC////B1YNACAPICmjISpBACEKIAshBUQAAAAAAAAAACErQQAhBgNAIAohHSAEIAZGIQoCQAJAICogKyAFKwMAoCIroiIpRAAAAAAAAPBBYyApRAAAAAAAAAAAZnFFDQAgKashHAwBC0EAIRwLIAYgHGohHCAFQQhqIQUgBkEBaiEGIAhBgICACCAcQQFqIAobIgqtWg0ACyAAIBMgCiAda61+Igg3AxAgACATIB2tfiAofCITNwMIIAZBf2ohBQJAIAhC/////w9WDQAgACAIQiCGNwMQIAAgE0IghjcDCCAnQiCGIRNCACEIAkAgACgCACIKIAAoAgRPDQAgACAKQQRqNgIAIAo1AAAhCAsgACAIIBOENwMYCyAFQQBIDQAgASgCACABKAIQIBFsIAEoAgwgG2xqaiAfIAZrQQFqIB9Bf3MgBmogIEEASBs6AAAgAyAjaiAFICJBCHRyNgIAIBtBAWoiGyAVSCEaIBsgFUcNAQwCCwsgGkEBcUUNAEEADwsgGQ0AIBcgGCAXIBhIGyEFIAMgFkECdGohBgNAIAIgBigCACIKQQh1IhxBKG0iHUH/AWwgCkH/AXEiCmpBA3RqIh4gHikDAEIgfDcDACACIBxB/wFsIApqQQJ0akGAwANqIgogCigCAEEBajYCACACIB1BA3RqQaC+A2oiCiAKKQMAQiB8NwMAIAZBBGohBiAFQX9qIgUNAAsLIBAgFmsgFWohECABKAIEIgYgFUoNAAsCQCAGQQFODQBBACEKDAELIAEoAhwhBiABKAIAIR1BACEKQQAhBQNAIAYgBigCACAdIAEoAhAgEWwgASgCDCAFbGpqLQAAQQBHIhxqNgIAIAogHGohCiAGQQRqIQYgBUEBaiIFIAEoAgRIDQALCyABKAIgIBFBAnRqIAo2AgAgASABKAIkIApqNgIkQQEhCiARQQFqIhEgASgCCEgNAAsLIAoL6A4GAX8BfgJ/AX4GfwN+I4CAgIAAQdAAayIFJICAgIAAQgAhBiAFQgA3A0ggBUJ/NwM4IAVCADcDMCAFIAAgAWoiBzYCLCAFIABBCGoiCDYCKEIAIQkCQCAIIAdPDQAgBSAAQQxqIgg2AiggAEEJajEAAEIohiAAQQhqMQAAQiCGhCAAQQpqMQAAQjCGhCAAQQtqMQAAQjiGhCEJCwJAIAggB08NACAFIAhBBGo2AiggCDUAACEGCyAFIAYgCYQ3A0AgBUEANgIkIAVCkYCAgBA3AhQgBSADNgIQIAVCgYCAgBA3AwggBSADNgIEIAUgBEH4rMkAaiIINgIcIAUgCCADQQN0IgdqQQtqQXhxIgogB2oiCzYCACAFIAggA0ECdGoiCDYCIAJAAkAgBUEoaiAFIAQgCEEEahCCgICAAA0AQQEhCAwBCwJAIANBAUgNACADQQFxIQxBACEEAkAgA0EBRg0AIANBfnEhDSAKIQhBACEEA0AgCyAEaiIHIActAABBEWoiDjoAACAIQgEgDq1COIZCOIdCf3xC/////w+DhkIAIA5BGHRBGHVBAEobNwMAIAdBAWoiByAHLQAAQRFqIgc6AAAgCEEIakIBIAetQjiGQjiHQn98Qv////8Pg4ZCACAHQRh0QRh1QQBKGzcDACAIQRBqIQggDSAEQQJqIgRHDQALCwJAIAxFDQAgCyAEaiIIIAgtAABBEWoiCDoAACAKIARBA3RqQgEgCK1COIZCOIdCf3xC/////w+DhkIAIAhBGHRBGHVBAEobNwMACyADQQFIDQAgBSgCLCEPIAUoAighDSAFKQMwIQYgBSkDQCEQIAUpA0ghESAFKQM4IQkgCyEIIAohBCADIQcDQAJAIAgsAAAiDkECSA0AAkAgECAGfSAJQhiIIhGAIglC////B1gNAEEBIQgMBAsgESAJp0EYIA5Bf2oiDkEQIA5BEEkbayIOdiIMIA50rX4gBnwhBgJAIBFBASAOdK1+IglC/////w9WDQAgEEIghiESQgAhEAJAIA0gD08NACANNQAAIRAgDUEEaiENCyAJQiCGIQkgBkIghiEGIBAgEoQhEAsgBCAEKQMAIAythDcDAAsgCEEBaiEIIARBCGohBCAHQX9qIgcNAAsgBSARNwNIIAUgCTcDOCAFIBA3A0AgBSAGNwMwIAUgDTYCKCALIQggCiEEIAMhBwNAAkAgCCwAACIOQRJIDQACQCAQIAZ9IAlCGIgiEYAiCUL///8HWA0AQQEhCAwECyARIAmnQRggDkFvaiIOQRAgDkEQSRtrIg52IgwgDnStfiAGfCEGAkAgEUEBIA50rX4iCUL/////D1YNACAQQiCGIRJCACEQAkAgDSAPTw0AIA01AAAhECANQQRqIQ0LIAlCIIYhCSAGQiCGIQYgECAShCEQCyAEIAQpAwAgDK1CEIaENwMACyAIQQFqIQggBEEIaiEEIAdBf2oiBw0ACyAFIBE3A0ggBSAJNwM4IAUgEDcDQCAFIAY3AzAgBSANNgIoIAohCCADIQQDQAJAIAssAAAiB0EiSA0AAkAgECAGfSAJQhiIIgmAIhFC////B1gNAEEBIQgMBAsgCSARp0EYIAdBX2oiB0EQIAdBEEkbayIHdiIOIAd0rX4gBnwhBgJAIAlBASAHdK1+IglC/////w9WDQAgEEIghiEQQgAhEQJAIA0gD08NACANNQAAIREgDUEEaiENCyAJQiCGIQkgBkIghiEGIBEgEIQhEAsgCCAIKQMAIA6tQiCGhDcDAAsgC0EBaiELIAhBCGohCCAEQX9qIgQNAAsgBSAJNwM4IANBAUgNACACIQggAyEEA0AgCCAAQQRqKAAAIAopAwAiBkIBiEIAIAZCAXxCAYh9IAZCAYNQG6dqNgIAIApBCGohCiAIQQRqIQggBEF/aiIEDQALCwJAAkAgAUF8akEBTg0AQX8hCAwBCyABQX1qIQcgAEEEaiEEQX8hCANAIAggBC0AAHMiCEEcdEEfdUGykO72AHEgCEEddEEfdUGZiLc7cXMgCEEbdEEfdUHkoNztAXFzIAhBGnRBH3VByMG42wNxc0EAIAhBAXFrQaCG4u1+cSAIQQF2cyIOQQF2IAhBHnRBH3VBoIbi7X5xcyIIQQZ2cyAOQRp0QR91QZCD8bYHcXMgCEEadEEfdUGghuLtfnFzIQggBEEBaiEEIAdBf2oiB0EBSw0ACwsCQCADQQJ0IgRBAUgNACAEQQFqIQQDQCAIIAItAABzIghBHHRBH3VBspDu9gBxIAhBHXRBH3VBmYi3O3FzIAhBG3RBH3VB5KDc7QFxcyAIQRp0QR91QcjBuNsDcXNBACAIQQFxa0GghuLtfnEgCEEBdnMiB0EBdiAIQR50QR91QaCG4u1+cXMiCEEGdnMgB0EadEEfdUGQg/G2B3FzIAhBGnRBH3VBoIbi7X5xcyEIIAJBAWohAiAEQX9qIgRBAUsNAAsLIAAoAAAgCEF/c0dBAXQhCAsgBUHQAGokgICAgAAgCAuaFgUKfwF+An8BfgF8AkAgAUEBSA0AQQAhBgNAIAAoAjAhBwJAIAYgAnJFDQAgACgCNEEBSA0AQQAhCCAHIQkDQCAJQYGAgIAAQYKAgIAAIAkoAgAiCkEBRhtBg4CAgAAgChsRgICAgAAAIAlB1ABqIQkgCEEBaiIIIAAoAjRIDQALCwJAIAAoAihBAkcNACAHIAAoAjRB1ABsaiIJQYGAgIAAQYKAgIAAIAkoAgAiCUEBRhtBg4CAgAAgCRsRgICAgAAACwJAAkACQCAAKAIIIglBAUoNACAAKAIUDQAgACgCVA0AIAAoAigNACAAKAIYDQAgACgCHEUNAQsgACgCBCIIQQFIDQEgCUEBSA0BIAAoAjghC0EAIQxBACENA0ACQCAJQQFIDQBBACEOA0AgCyAMQQJ0IgpqKAIAIQgCQAJAAkAgACgCKCIJDgICAAELIAAoAiQgACgCXCAMIAAoAixtaiwAAGwgACgCaCAMai0AAGwhCQwBCyAAKAIkIAAoAjwgCmooAgBsIQkLIAkgCGohCAJAIAAoAhQiCUUNACAJQQAgCWsiByAAKAJMIA1BAnQiD2o0AgAgCKx+QgEgACgCUCAPaigCACIIQX9qrYZ8IAithyIQpyAQIAesUxsgECAJrFUbIQgLIAAoAkAgDUECdCIJaigCACAIIAAoAhB0aiEIAkAgACgCVCIHRQ0AIAAoAmQgCmoiDyAPKAIAIg9BEHUgByAJaigCACIHbCAIaiAPQf//A3EgB2xBgIACakEQdmoiCDYCAAsgACgCSCAJaigCACIHIAAoAmAgCmoiESgCACIKQRB1bCAIaiAHIApB//8DcWxBgIACakEQdmogACgCRCAJaigCACISQQAgCiASShtBACAAKAIMQQFGG2shCQJAIAAoAiBFDQACQCAAKAIYIghFDQAgCEEAIAhrIgogCSAJIApIGyAIIAlIGyEJDAELIABBHGooAgAiCEUNACAAQdgAaigCACEHAkACQCAIQX9qIghBAEoNACASrCEQQQAhCQwBCyAJrEIBhiETIBKsIRBBACEJA0AgCCAJakECbSIKQQFqIg8gCSATIAcgD0ECdGo0AgAgEH5CgIACfEIQhyAHIApBAnRqNAIAIBB+QoCAAnxCEId8VSIPGyIJIAggCiAPGyIISA0ACwsgECAHIAlBAnRqNAIAfkKAgAJ8QhCIpyEJCyAAKAJoIAxqIAkgEko6AAACQCAJIBJMDQAgCUEAIBIgACgCDBtrIQkLAkAgCSASTA0AQQAgCSAAKAIMQQJGGyEJCwJAIAAoAiANAAJAIAAoAhgiCEUNACAIQQAgCGsiCiAJIAkgCkgbIAggCUgbIQkMAQsgAEEcaigCACIIRQ0AIABB2ABqKAIAIQcCQAJAIAhBf2oiCEEASg0AIBKsIRBBACEJDAELIAmsQgGGIRMgEqwhEEEAIQkDQCAIIAlqQQJtIgpBAWoiDyAJIBMgByAPQQJ0ajQCACAQfkKAgAJ8QhCHIAcgCkECdGo0AgAgEH5CgIACfEIQh3xVIg8bIgkgCCAKIA8bIghIDQALCyAQIAcgCUECdGo0AgB+QoCAAnxCEIinIQkLIBEgCTYCACAMQQFqIQwgDkEBaiIOIAAoAggiCUgNAAsgACgCBCEICyANQQFqIg0gCEgNAAwCCwsCQAJAAkAgACgCDCIRDgIAAQILIAAoAgBBAUgNAiAAKAJoIQ0gACgCYCEJIAAoAkQhCCAAKAJIIQogACgCQCEHIAAoAjghD0EAIRIDQCANIBJqIA8oAgAgACgCEHQgBygCAGogCSgCACIMQRB1IAooAgAiDmxqIAxB//8DcSAObEGAgAJqQRB2aiIMIAgoAgAiDkoiEToAACAJIAwgDkEAIBEbazYCACAPQQRqIQ8gB0EEaiEHIAlBBGohCSAKQQRqIQogCEEEaiEIIBJBAWoiEiAAKAIASA0ADAMLCyAAKAIAQQFIDQEgACgCaCERIAAoAmAhCSAAKAJEIQggACgCSCEKIAAoAkAhByAAKAI4IQ9BACESA0AgESASaiAPKAIAIAAoAhB0IAcoAgBqIAkoAgAiDEEQdSAKKAIAIg5saiAMQf//A3EgDmxBgIACakEQdmogCCgCACIOQQAgDCAOShtrIgwgDko6AAAgCSAMNgIAIA9BBGohDyAHQQRqIQcgCUEEaiEJIApBBGohCiAIQQRqIQggEkEBaiISIAAoAgBIDQAMAgsLIAAoAgBBAUgNACAAKAJoIQ0gACgCYCEJIAAoAkQhCCAAKAJIIQogACgCQCEHIAAoAjghD0EAIRIDQCANIBJqIA8oAgAgACgCEHQgBygCAGogCSgCACIMQRB1IAooAgAiDmxqIAxB//8DcSAObEGAgAJqQRB2aiIMIAgoAgBKIg46AAAgCSAMQQAgDCAOGyARQQJHGzYCACAPQQRqIQ8gB0EEaiEHIAlBBGohCSAKQQRqIQogCEEEaiEIIBJBAWoiEiAAKAIASA0ACwsgAEHsAGohACAGQQFqIgYgAUcNAAsLAkAgAEGUf2oiACgCACIKQQFIDQAgAEHoAGooAgAhCCAAQeAAaigCACEPAkACQAJAAkAgBEF/ag4EAgEAAwQLIAW3IRQgCkEBcSEPQQAhCQJAIApBAUYNACAKQX5xIQdBACEJIAMhAANAAkAgCCAJaiIKLQAARQ0AIAArAwBEAAAAAAAAAABjRQ0AIAAgFDkDAAsCQCAKQQFqLQAARQ0AIABBCGoiCisDAEQAAAAAAAAAAGNFDQAgCiAUOQMACyAAQRBqIQAgByAJQQJqIglHDQALCyAPRQ0DIAggCWotAABFDQMgAyAJQQN0aiIAKwMARAAAAAAAAAAAY0UNAyAAIBQ5AwAPCyAKQQFxIRJBACEIAkAgCkEBRg0AIApBfnEhB0EAIQggAyEAIA8hCQNAIAAgACsDACAJKAIAt6A5AwAgAEEIaiIKIAorAwAgCUEEaigCALegOQMAIABBEGohACAJQQhqIQkgByAIQQJqIghHDQALCyASRQ0CIAMgCEEDdGoiACAAKwMAIA8gCEECdGooAgC3oDkDAA8LIApBAXEhEkEAIQkCQCAKQQFGDQAgCkF+cSEPQQAhCSADIQADQCAAIAArAwAgCCAJaiIKLQAAuKA5AwAgAEEIaiIHIAcrAwAgCkEBai0AALigOQMAIABBEGohACAPIAlBAmoiCUcNAAsLIBJFDQEgAyAJQQN0aiIAIAArAwAgCCAJai0AALigOQMADwsCQCAFRQ0AIApBAXEhEkEAIQgCQCAKQQFGDQAgCkF+cSEHQQAhCCADIQAgDyEJA0ACQCAAKwMAIAkoAgC3IhRjRQ0AIAAgFDkDAAsCQCAAQQhqIgorAwAgCUEEaigCALciFGNFDQAgCiAUOQMACyAAQRBqIQAgCUEIaiEJIAcgCEECaiIIRw0ACwsgEkUNASADIAhBA3RqIgArAwAgDyAIQQJ0aigCALciFGNFDQEgACAUOQMADwsgCkEDcSEIQQAhBwJAIApBf2pBA0kNACAPQQhqIQAgCkF8cSEKQQAhByADIQkDQCAJQRBqIAAoAgC3OQMAIAkgAEF4aigCALc5AwAgCUEIaiAAQXxqKAIAtzkDACAJQRhqIABBBGooAgC3OQMAIAlBIGohCSAAQRBqIQAgCiAHQQRqIgdHDQALCyAIRQ0AIA8gB0ECdGohACADIAdBA3RqIQkDQCAJIAAoAgC3OQMAIABBBGohACAJQQhqIQkgCEF/aiIIDQALCwvhCgkKfwF7BX8Cfgd/CX4JfwJ+A38gACgCUCEBIAAoAkghAgJAIAAoAggiAyAAKAIYIgQgACgCFCIFbCIGbCIHQQFIDQAgB0F/aiEIAkACQCAHQQdxIgkNACABIQoMAQsgASEKA0AgCkEANgIAIApBBGohCiAHQX9qIQcgCUF/aiIJDQALCyAIQQdJDQAgB0F/aiEHA0AgCv0MAAAAAAAAAAAAAAAAAAAAACIL/QsCACAKQRBqIAv9CwIAIApBIGohCiAHQXhqIgdBfkkNAAsLAkAgACgCPCIMIAAoAkAiDWwiDkEBSA0AIAAoAgwiD0EBSA0AIAAoAhAiEEEBSA0AIASsIREgBawhEiAAKAJEIRMgACgCBCEUQQAhFUEAIRYDQEEAIRcDQEEAIRgDQAJAAkAgFEUNACATIBVBAnRqKAIAIQkMAQsgEyAVai0AACEJCwJAIAlFDQAgAyAMbSEZIBYgDW0hByAAKAIcIgpBAUgNACAAKAIsIBdqrCEaIAqtIRsgADQCNCEcAkAgGUEASg0AQgAhHQNAAkAgGiAdIBx+fSIeQgBTDQAgHiAeIAA0AiQiH38iICAffn1CAFINACAgIBJZDQAgIEKAgICACINCAFINACAAKAIgIgpBAUgNACAYIAAoAjBqrCEeIAqtIR8gADQCOCEhA0ACQCAeQgBTDQAgHiAeIAA0AigiIH8iIiAgfn1CAFINACAiIBFZDQAgIkKAgICACINCAFIaCyAeICF9IR4gH0J/fCIfQgBSDQALCyAdQgF8Ih0gG1INAAwCCwsgFiAHIA1sayIFIApsISMgGUF+cSEkIBlBAXEhJSADIApsIAVsISYgASAHIBlsIidBAnRqIShCACEdA0ACQCAaIB0gHH59Ih5CAFMNACAeIB4gADQCJCIffyIgIB9+fUIAUg0AICAgElkNACAgpyIHQQBIDQAgACgCICIKQQFIDQAgBCAHbCEpICcgCiAmbGohKiAKICMgHadqbCErIAAoAjAgGGqsISEgCq0hLCAANAI4IS1CACEeA0ACQCAhIB4gLX59Ih9CAFMNACAfIB8gADQCKCIgfyIiICB+fUIAUg0AICIgEVkNACAipyIKQQBIDQAgACgCTCEuICggKSAKaiADbEECdGohL0EAIQcCQCAZQQFGDQAgLiAqaiEwQQAhByAvIQoDQCAKIAkgMCAHaiIFLAAAbCAKKAIAajYCACAKQQRqIgggCSAFQQFqLAAAbCAIKAIAajYCACAKQQhqIQogJCAHQQJqIgdHDQALCyAlRQ0AIC8gB0ECdGoiCiAJIC4gJ2ogKyAep2ogA2xqIAdqLAAAbCAKKAIAajYCAAsgKiADaiEqIB5CAXwiHiAsUg0ACwsgJiADaiEmIB1CAXwiHSAbUg0ACwsgFUEBaiEVIBhBAWoiGCAQRw0ACyAXQQFqIhcgD0cNAAsgFkEBaiIWIA5HDQALCwJAIANBAUgNACAGQQFIDQAgA0EMbCEFIANBAnQhCSADQQR0IQggA0EDdCEqIAZBfHEhMCAGQQNxISZBACEkIAZBf2pBA0khLiABIQADQAJAAkAgLkUNAEEAIQcMAQtBACEHIAAhCgNAIAIgCigCADYCACACQQRqIAogCWooAgA2AgAgAkEIaiAKICpqKAIANgIAIAJBDGogCiAFaigCADYCACACQRBqIQIgCiAIaiEKIDAgB0EEaiIHRw0ACwsCQCAmRQ0AIAEgJCADIAdsakECdGohCiAmIQcDQCACIAooAgA2AgAgCiAJaiEKIAJBBGohAiAHQX9qIgcNAAsLIABBBGohACAkQQFqIiQgA0cNAAsLC9oGARt/AkAgACgCCCIBQQFIDQAgACgCFCICQQFIDQAgACgCGCIDQQFIDQAgACgCSCEEIAAoAgAiBUECRkEfdCEGQQAhBwJAIAAoAhwiCEEASg0AIANBeHEhCSADQQdxIQAgA0F/akEHSSEKA0BBACELA0ACQCAKDQAgCSEFA0AgBCAGNgIAIARBHGogBjYCACAEQRhqIAY2AgAgBEEUaiAGNgIAIARBEGogBjYCACAEQQxqIAY2AgAgBEEIaiAGNgIAIARBBGogBjYCACAEQSBqIQQgBUF4aiIFDQALCwJAIABFDQAgACEFA0AgBCAGNgIAIARBBGohBCAFQX9qIgUNAAsLIAtBAWoiCyACRw0ACyAHQQFqIgcgAUcNAAwCCwtBACEHAkAgACgCICIMQQBKDQAgA0F4cSEJIANBB3EhACADQX9qQQdJIQoDQEEAIQsDQAJAIAoNACAJIQUDQCAEIAY2AgAgBEEcaiAGNgIAIARBGGogBjYCACAEQRRqIAY2AgAgBEEQaiAGNgIAIARBDGogBjYCACAEQQhqIAY2AgAgBEEEaiAGNgIAIARBIGohBCAFQXhqIgUNAAsLAkAgAEUNACAAIQUDQCAEIAY2AgAgBEEEaiEEIAVBf2oiBQ0ACwsgC0EBaiILIAJHDQALIAdBAWoiByABRw0ADAILC0EAIAAoAjBrIQ1BACAAKAIsIg5rIQ8gACgCKCEQIAAoAiQhESAFQQNGIRJBACETA0AgDyEUQQAhFQNAIBEgFWwgDmshFkEAIRcgDSEYA0AgFCEZIAYhCkEAIRoDQAJAIBYgGmoiBUEASA0AIAUgACgCDCILTg0AIBkgEyALbGohGyAYIQUgDCELA0ACQCAFQQBIDQAgBSAAKAIQIglODQAgGyAJbCEJIAAoAkQhBwJAAkAgACgCBEUNACAHIAUgCWpBAnRqKAIAIQkMAQsgByAJaiAFai0AACEJCyAJIApqIAkgCiAJIApKGyASGyEKCyAFQQFqIQUgC0F/aiILDQALCyAZQQFqIRkgGkEBaiIaIAhHDQALIAQgCjYCACAYIBBqIRggBEEEaiEEIBdBAWoiFyADRw0ACyAUIBFqIRQgFUEBaiIVIAJHDQALIBNBAWoiEyABRw0ACwsLswsEDX8GewF/AnsgACgCUCEBAkACQCAAKAJAIgJBAU4NAEEAIQMMAQsgACgCRCEEAkAgACgCBA0AQQAhBUEAIQMDQAJAAkAgBUEHcQ0AIAQgBUF4cWopAwBCAFINACAFQQdqIQUMAQsgASADQQJ0aiAFNgIAIAMgBCAFai0AAEEAR2ohAwsgBUEBaiIFIAJIDQAMAgsLIAJBAXEhBgJAAkAgAkEBRw0AQQAhBUEAIQMMAQsgAkF+cSEHIAQhAkEAIQVBACEDA0AgASADQQJ0aiAFNgIAIAEgAyACKAIAQQBHaiIIQQJ0aiAFQQFqNgIAIAggAkEEaigCAEEAR2ohAyACQQhqIQIgBUECaiIFIAdHDQALCyAGRQ0AIAEgA0ECdGogBTYCACADIAQgBUECdGooAgBBAEdqIQMLAkAgACgCCCICQQFIDQBBACEJIANBAUghCgNAIAAoAkwgCWohCAJAAkACQAJAIAAoAgRFDQAgCkUNAQwCCyAKDQFBACELIAMhDCABIQ1BACEG/QwAAAAAAAAAAAAAAAAAAAAAIg4hDyAOIRAgDiERA0ACQAJAIAMgBmtBAU4NAP0MAAAAAAAAAAAAAAAAAAAAACISIRMMAQsgAyALQQh0ayIFQYACIAVBgAJIGyIFQQFxIRQCQAJAIAVBAUcNAEEAIQT9DAAAAAAAAAAAAAAAAAAAAAAiEiETDAELIAxBgAIgDEGAAkgbQX5xIQdBACEEIA0hBf0MAAAAAAAAAAAAAAAAAAAAACISIRMDQCATIAggBSgCACACbGr9AAAAIhUgEv0NCAAJAAoACwAMAA0ADgAPAEEI/YsBQQj9jAH9jgEgCCAFQQRqKAIAIAJsav0AAAAiFiAS/Q0IAAkACgALAAwADQAOAA8AQQj9iwFBCP2MAf2OASETIBIgFSAS/Q0AAAEAAgADAAQABQAGAAcAQQj9iwFBCP2MAf2OASAWIBL9DQAAAQACAAMABAAFAAYABwBBCP2LAUEI/YwB/Y4BIRIgBUEIaiEFIAcgBEECaiIERw0ACwsgFEUNACATIAggASAGQQJ0aiAEQQJ0aigCACACbGr9AAAAIhUgEv0NCAAJAAoACwAMAA0ADgAPAEEI/YsBQQj9jAH9jgEhEyASIBUgEv0NAAABAAIAAwAEAAUABgAHAEEI/YsBQQj9jAH9jgEhEgsgDEGAfmohDCANQYAIaiENIAtBAWohCyAPIBIgEv0NCAkAAAoLAAAMDQAADg8AAEEQ/asBQRD9rAH9rgEhDyAOIBIgEv0NAAEAAAIDAAAEBQAABgcAAEEQ/asBQRD9rAH9rgEhDiARIBMgEv0NCAkAAAoLAAAMDQAADg8AAEEQ/asBQRD9rAH9rgEhESAQIBMgEv0NAAEAAAIDAAAEBQAABgcAAEEQ/asBQRD9rAH9rgEhECADIAZBgAJqIgZKDQAMAwsLIAAoAkQhBiABIQUgAyEE/QwAAAAAAAAAAAAAAAAAAAAAIg4hDyAOIRAgDiERA0AgBiAFKAIAIgdBAnRq/QkCACISIAggByACbGr9AAAAIhMgEv0NDAAAAA0AAAAOAAAADwAAAEEY/asBQRj9rAH9tQEgEf2uASERIBIgEyAS/Q0IAAAACQAAAAoAAAALAAAAQRj9qwFBGP2sAf21ASAQ/a4BIRAgEiATIBL9DQQAAAAFAAAABgAAAAcAAABBGP2rAUEY/awB/bUBIA/9rgEhDyASIBMgEv0NAAAAAAEAAAACAAAAAwAAAEEY/asBQRj9rAH9tQEgDv2uASEOIAVBBGohBSAEQX9qIgQNAAwCCwv9DAAAAAAAAAAAAAAAAAAAAAAiDiEPIA4hECAOIRELIAAoAkggCUECdGoiBSAQ/QsCICAFIA/9CwIQIAUgDv0LAgAgBUEwaiAR/QsCACAJQRBqIgkgACgCCCICSA0ACwsLC4gCAQBBgAgLgAKYL4pCkUQ3cc/7wLWl27XpW8JWOfER8Vmkgj+S1V4cq5iqB9gBW4MSvoUxJMN9DFV0Xb5y/rHegKcG3Jt08ZvBwWmb5IZHvu/GncEPzKEMJG8s6S2qhHRK3KmwXNqI+XZSUT6YbcYxqMgnA7DHf1m/8wvgxkeRp9VRY8oGZykpFIUKtyc4IRsu/G0sTRMNOFNUcwpluwpqdi7JwoGFLHKSoei/oktmGqhwi0vCo1FsxxnoktEkBpnWhTUO9HCgahAWwaQZCGw3Hkx3SCe1vLA0swwcOUqq2E5Pypxb828uaO6Cj3RvY6V4FHjIhAgCx4z6/76Q62xQpPej+b7yeHHG'
let built

export async function load(bytes, most = 2 ** 26) {
    if (!(bytes instanceof ArrayBuffer) && !(bytes instanceof Uint8Array))
        fail('load', '`bytes`', 'a Uint8Array or an ArrayBuffer', say(bytes), TypeError)
    const data = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength)
    const [head, all] = opened(data)
    built ??= WebAssembly.compile(Uint8Array.from(atob(WASM), c => c.charCodeAt(0)))
    const vm = (await WebAssembly.instantiate(await built, {})).exports, room = new Room(vm, most)
    sealed(room, data, head.digest)
    const h = headerOf(head), layers = followed(h), tensors = new Tensors(room, all)
    layers.forEach((l, i) => arraysOf(l, i, tensors))
    const more = [...all.keys()].find(k => !tensors.seen.has(k))
    if (more !== undefined) fail('file', 'tensors', `those of ${layers.length} layers`, `also ${say(more)}`)
    layers.forEach(limits)
    return new Network(room, h, layers, mostSteps(layers, h.steps, Math.max(-h.in_min, h.in_max)))
}
