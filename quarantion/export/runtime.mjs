// Any integer network of quarantion: its file is read, decoded and run. Made by export/wasm.ipynb
const TOP = 2 ** 31 - 1, ONE = 65536, LARGEST = 2 ** 28, WORTH = [2 ** -100, 2 ** 100]

const say = v => {
    const s = v === undefined ? 'nothing' : typeof v === 'string' ? JSON.stringify(v) : String(JSON.stringify(v) ?? v)
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
const parsed = (bytes, where) => {
    try { return JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes)) }
    catch (e) { fail('file', where, 'JSON', say(e.message)) }
}

const tensorsOf = (said, data) => {
    const out = new Map()
    let end = 0
    const spans = Object.entries(said).filter(([k]) => k !== '__metadata__')
    for (const [name, t] of spans) if (!object(t) || !Array.isArray(t.data_offsets)) fail('file', 'tensor', 'offsets', say(name))
    for (const [name, t] of spans.sort((a, b) => a[1].data_offsets[0] - b[1].data_offsets[0] || a[1].data_offsets[1] - b[1].data_offsets[1])) {
        const [from, to] = t.data_offsets, size = {U8: 1, F32: 4}[t.dtype]
        const fits = whole(from, end, end) && whole(to, from, data.length) && Array.isArray(t.shape) && t.shape.length === 1
        if (!fits || !size || t.shape[0] * size !== to - from)
            fail('file', `tensor \`${name}\``, 'bytes or float32 in one row, without a gap', say(t))
        out.set(name, {dtype: t.dtype, bytes: data.subarray(from, to)})
        end = to
    }
    if (end !== data.length) fail('file', 'tensors', `${data.length} bytes`, end)
    return out
}

const opened = data => {
    const n = data.length < 8 ? NaN : Number(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true))
    if (!(n <= data.length - 8)) fail('file', 'contents', 'a whole safetensors file', `${data.length} bytes`)
    const said = parsed(data.subarray(8, 8 + n), 'contents'), text = said?.__metadata__?.quarantion
    if (!object(said) || typeof text !== 'string') fail('file', 'header', 'one that quarantion wrote', 'none')
    const head = parsed(new TextEncoder().encode(text), 'header')
    if (head?.format === 'quarantion.integer')
        fail('file', 'version', 'quarantion.program 3', `${head.format} ${say(head.version)}: load and save it in Python`)
    if (head?.format !== 'quarantion.program' || head.version !== 3)
        fail('file', 'format', 'quarantion.program 3', `${say(head?.format)} ${say(head?.version)}`)
    return [head, tensorsOf(said, data.subarray(8 + n))]
}
const RESETS = ['subtract', 'subtract_delayed', 'zero', 'none']
const USUAL = {guard: 8, reset: 'subtract', quant_max: 4, before: [], after: [], conv: [], current_max: 0,
    current_leak: false, recurrent: [], recurrent_conv: [], gain: 1, clip: 0, levels: 0, before_fire: false}
const WHOLE = {guard: [0, 30], quant_max: [1, 127], current_max: [0, TOP], gain: [1, 2 ** 20], clip: [0, TOP], levels: [0, ONE]}
const INTS = {bias: [-(2 ** 31), TOP], theta: [1, TOP], leak: [0, ONE], m0: [2 ** 30, TOP], shift: [1, 62],
    current_leak: [0, ONE], levels: [-(2 ** 31), TOP]}

const pair = (p, lo) => Array.isArray(p) && p.length === 2 && p.every(n => whole(n, lo, 2 ** 20))
const convs = c => c.length === 0 || c.length === 4 && pair(c[0], 1) && pair(c[1], 0) && pair(c[2], 1) && whole(c[3], 1)

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
    for (const k of ['conv', 'recurrent_conv']) if (!Array.isArray(l[k]) || !convs(l[k])) wrong(l, k, where, 'stride, padding, dilation (pairs) and groups')
    for (const k of ['before', 'after']) l[k] = (Array.isArray(l[k]) ? l[k] : wrong(l, k, where, 'a list')).map(o => op(o, where, k))
    if (!RESETS.includes(l.reset)) wrong(l, 'reset', where, `one of ${RESETS.join(', ')}`)
    sizes(l, 'shape', where, l.conv.length ? [4] : [2])
    sizes(l, 'recurrent', where, l.recurrent_conv.length ? [4] : [0, 1, 2])
    l.channels = l.shape[0]
    l.inputs = product(l.shape) / l.channels
    return l
}
const decisionOf = (word, where) => {
    const m = typeof word === 'string' && word.match(/^(population|labels)\( *([-+.0-9eE]{1,20}) *\)$/)
    const kind = m ? m[1] : word, value = m ? Number(m[2]) : 0
    const words = ['sum', 'first_spike', 'max_membrane', 'values'].includes(word)
    const ok = words || m && Number.isFinite(value) && (kind === 'labels' || whole(value, 2) && /^[-+]?[0-9]+$/.test(m[2]))
    if (!ok) fail(where, 'header field `decision`', 'sum, population(c), first_spike, max_membrane, labels(b) or values', say(word))
    return {kind, value}
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
    return {...h, how: decisionOf(h.decision, 'file'), layers: h.layers.map((l, i) => layerOf(l, `layer ${i}`))}
}
const places = (shape, kernel, stride, padding, dilation, where) => {
    if (shape.length !== 2 && shape.length !== 3) fail(where, 'shapes', 'pictures [c, h, w] or lines [c, l]', say(shape))
    const [c, h, v] = shape.length === 2 ? [shape[0], 1, shape[1]] : shape
    const [oh, ov] = [h, v].map((n, k) => Math.floor((n + 2 * padding[k] - (kernel[k] - 1) * dilation[k] - 1) / stride[k]) + 1)
    if (!(oh >= 1 && ov >= 1)) fail(where, 'shapes', 'windows that fit into pictures with their borders', say(shape))
    if (shape.length === 2 && oh !== 1) fail(where, 'shapes', 'windows that leave one row of a line', oh)
    const most = c * Math.max((h + 2 * padding[0]) * (v + 2 * padding[1]), product(kernel) * oh * ov)
    if (most > LARGEST) fail(where, 'shapes', `at most ${LARGEST} codes with borders and windows`, most)
    const [kh, kw] = kernel, [sh, sw] = stride, [ph, pw] = padding, [dh, dw] = dilation
    return {c, h, v, oh, ov, kh, kw, sh, sw, ph, pw, dh, dw}
}
const out = (shape, s) => shape.length === 2 ? [s.c, s.ov] : [s.c, s.oh, s.ov]

const pooling = (shape, o, where) => {
    if (product(o.kernel) > 2 ** 20) fail(where, 'shapes', 'windows of at most 2^20 codes', say(o.kernel))
    if (o.kind === 'max' && o.padding.some((p, k) => p >= o.kernel[k]))
        fail(where, 'padding', 'less than the window: the largest of no codes is no number', say(o.padding))
    const s = places(shape, o.kernel, o.stride, o.padding, [1, 1], where)
    return [{...s, kind: o.kind === 'max' ? 2 : 3}, out(shape, s)]
}
const weighted = (shape, w, conv, where) => {
    if (!conv.length) {
        if (shape.length !== 1 || shape[0] !== w[1]) fail(where, 'shapes', `samples of ${w[1]}`, say(shape))
        return [{kind: 0, c: w[0], inputs: w[1], oh: 1, ov: 1}, [w[0]]]
    }
    const [stride, padding, dilation, groups] = conv, s = places(shape, w.slice(2), stride, padding, dilation, where)
    if (shape[0] !== w[1] * groups || w[0] % groups) fail(where, 'shapes', `${w[1] * groups} channels in ${groups} groups`, say(shape))
    s.c = w[0]
    return [{...s, kind: 1, inputs: w[1], groups}, out(shape, s)]
}
// the stages of a layer, the one that comes back last, and the shape of its neurons
const chained = (l, shape, where) => {
    const stages = []
    for (const o of [...l.before, null, ...l.after]) {
        let s
        if (o?.kind === 'flatten') { shape = [product(shape)]; continue }
        [s, shape] = o ? pooling(shape, o, where) : weighted(shape, l.shape, l.conv, where)
        stages.push({...s, weights: o === null})
    }
    const n = product(shape), r = l.recurrent
    if (r.length === 4 ? r[0] !== l.channels : r.length && r[0] !== n && (r.length === 2 || r[0] !== l.channels) || r.length === 2 && r[1] !== r[0])
        fail(where, '`recurrent`', `weights of ${n} neurons`, say(r))
    const [back, again] = r.length > 1 ? weighted(r.length === 4 ? shape : [n], r, l.recurrent_conv, where) : [null, []]
    if (r.length === 4 && String(again) !== String(shape)) fail(where, '`recurrent`', `a convolution that keeps the shape ${say(shape)}`, say(again))
    return {...l, where, stages, back, dims: shape, n}
}
const followed = h => {
    let shape = h.in_shape
    if (product(shape) > LARGEST) fail('file', 'header field `in_shape`', `at most ${LARGEST} codes`, say(shape))
    const layers = h.layers.map((l, i) => { const c = chained(l, shape, `layer ${i}`); shape = c.dims; return c })
    const last = layers.at(-1)
    if (h.how.kind === 'population' && last.n % h.how.value)
        fail('file', 'header field `decision`', `a number of classes that divides ${last.n} outputs`, say(h.decision))
    return layers
}
class Room {
    constructor(vm, most) { Object.assign(this, {vm, most, end: vm.__heap_base.value}) }
    take(bytes) { // whose address is a multiple of 16
        const at = Math.ceil(this.end / 16) * 16, memory = this.vm.memory
        this.end = at + bytes + 32
        if (!(this.end <= this.most)) fail('network', 'memory', `at most ${this.most} bytes`, `${this.end} or more`)
        const more = Math.ceil((this.end - memory.buffer.byteLength) / 65536)
        try { if (more > 0) memory.grow(more) }
        catch { fail('network', 'memory', `${this.end} bytes`, 'less than that') }
        return at
    }
    view(Kind, at, n) { return new Kind(this.vm.memory.buffer, at, n) }
}

const hex = words => [...words].map(w => w.toString(16).padStart(8, '0')).join('')
const START = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]

// the file in memory, if its digest is that of the file with zeros in its place
const sealed = (room, data, digest) => {
    if (!/^[0-9a-f]{64}$/.test(digest)) fail('file', 'header field `digest`', 'the SHA-256 of the file', say(digest))
    const blocks = Math.ceil((data.length + 9) / 64), at = room.take(64 * blocks), state = room.take(32)
    const bytes = room.view(Uint8Array, at, 64 * blocks), h = room.view(Uint32Array, state, 8)
    bytes.set(data)
    const text = new TextDecoder('latin1').decode(data), seal = text.indexOf(`\\"digest\\":\\"${digest}`)
    if (seal >= 0) bytes.fill(48, seal + 13, seal + 13 + 64)
    bytes[data.length] = 128
    new DataView(bytes.buffer).setBigUint64(at + 64 * blocks - 8, BigInt(8 * data.length))
    h.set(START)
    room.vm.sha256(at, blocks, state)
    if (hex(h) !== digest) fail('file', 'header field `digest`', `that of the file, ${hex(h)}`, digest)
}
const FREE = 2 ** 20, DENSE = 2 ** 12, TABLES = (28 * 256 + 255) * 8 + 1120 * 255 * 4

class Tensors {
    constructor(room, all) { Object.assign(this, {room, all, seen: new Set()}) }
    blob(key, n, head) {
        const t = this.all.get(key), b = t?.bytes
        if (t?.dtype !== 'U8') fail('file', `tensor \`${key}\``, 'uint8, bytes of the coder', say(t?.dtype))
        this.seen.add(key)
        const least = n > FREE ? Math.ceil(n / DENSE) : 0
        if (b.length < 4 + head || (b.length - head) % 4 || b.length < least)
            fail('file', `tensor \`${key}\``, `whole words behind ${4 + head} bytes, and ${least} bytes for ${n} numbers`, b.length)
        const at = this.room.take(b.length)
        this.room.view(Uint8Array, at, b.length).set(b)
        return [at, b.length]
    }
    check(key, code) {
        if (code) fail('file', `tensor \`${key}\``, code === 1 ? 'the words of a range coder' : 'values with its checksum', 'others; the data are damaged')
    }
    codes(key, channels, inputs, top) { // [inputs][channels]
        const n = channels * inputs, start = this.room, w = start.take(n), end = start.end
        const [at, bytes] = this.blob(key, n, 2)
        this.check(key, start.vm.codes(at, bytes, w, channels, inputs, top, start.take(TABLES + 8 * (channels + inputs))))
        start.end = end
        return w
    }
    ints(key, n, [lo, hi]) {
        const start = this.room, x = start.take(4 * n), end = start.end, [at, bytes] = this.blob(key, n, 4)
        this.check(key, start.vm.ints(at, bytes, x, n, start.take(TABLES + 17 * n + 32)))
        start.end = end
        const bad = start.view(Int32Array, x, n).find(v => v < lo || v > hi)
        if (bad !== undefined) fail('file', `tensor \`${key}\``, `numbers from ${lo} to ${hi}`, bad)
        return x
    }
    worth(key, theta) {
        const t = this.all.get(key), b = t?.bytes, n = t?.dtype === 'F32' ? b.length / 4 : 0
        if (n !== 1 && n !== theta.length || !n) fail('file', `tensor \`${key}\``, `1 or ${theta.length} of float32`, say(t?.dtype))
        this.seen.add(key)
        const f = new Float32Array(b.slice().buffer), unit = Float64Array.from(theta, (v, c) => f[n === 1 ? 0 : c] / v)
        if (![f, unit.map((u, c) => u * theta[c])].every(a => a.every(v => v >= WORTH[0] && v <= WORTH[1])))
            fail('file', `tensor \`${key}\``, 'thresholds worth 2^-100 to 2^100', say([...f]))
        return unit
    }
}
const rowSums = (w, c) => { const out = new Float64Array(c); for (let k = 0; k < w.length; k++) out[k % c] += Math.abs(w[k]); return out }
const area = ops => ops.reduce((a, o) => o.kind === 'sum' ? a * product(o.kernel) : a, 1)

// largest |sum| of each channel
const largest = (l, a, max) => {
    const size = max * Math.min(area(l.before) * area(l.after), 2 ** 62), r = a.recurrent, c = l.channels
    const back = new Float64Array(c), own = r && rowSums(r, l.recurrent.length === 4 ? c : l.recurrent[0])
    if (r) for (let k = 0, per = own.length / c; k < own.length; k++) back[Math.floor(k / per)] = Math.max(back[Math.floor(k / per)], own[k])
    return rowSums(a.weight, c).map((v, k) => v * size + l.gain * back[k])
}
const pile = (m, steps) => { const d = 1 - m / ONE; return 1 / Math.max(d, 1 / Math.min(steps, 2 ** 60)) }

// is |v| < 2^31 in all channels for so many steps?
const stays = (l, a, sums, steps) => sums.every((sum, c) => {
    let i = (l.current_max || sum) * 2 ** l.guard + Math.abs(a.bias[c])
    if (a.current_leak) i = (i + 0.5) * pile(a.current_leak[c], steps)
    const far = a.theta[c] + i
    const top = l.clip || (a.levels ? Math.max(...[0, a.levels.length - 1].map(k => Math.abs(a.levels[k]))) / ONE * a.theta[c] + 0.5 : 0)
    if (top) return Math.max(top, top * (a.leak[c] / ONE) + 0.5 + far) < 2 ** 31
    return Math.max((i + 0.5) * pile(a.leak[c], steps), far) < 2 ** 31
})

const mostSteps = (layers, least, max) => {
    const sums = layers.map((l, i) => largest(l, l.arrays, i ? 1 : max))
    const proved = t => layers.every((l, i) => stays(l, l.arrays, sums[i], t))
    layers.forEach((l, i) => {
        if (!sums[i].every(s => s < 2 ** 31)) fail(l.where, 'products', '|A| < 2^31', Math.max(...sums[i]))
        if (!stays(l, l.arrays, sums[i], least)) fail(l.where, 'membranes', `|v| < 2^31 in ${least} steps`, 'more')
    })
    let lo = least, hi = TOP
    while (hi - lo > 1) { const t = Math.floor((lo + hi) / 2); if (proved(t)) lo = t; else hi = t }
    return lo
}
// where the arrays of a layer are, and what they hold
const arraysOf = (l, i, tensors) => {
    const at = {}, a = {}, c = l.channels, {room} = tensors
    const ints = (k, n) => { at[k] = tensors.ints(`${i}.${k}`, n, INTS[k]) }
    at.weight = tensors.codes(`${i}.weight`, c, l.inputs, l.quant_max)
    for (const k of ['bias', 'theta', 'leak', ...l.current_max ? ['m0', 'shift'] : [], ...l.current_leak ? ['current_leak'] : []]) ints(k, c)
    if (l.levels) ints('levels', l.levels)
    const r = l.recurrent, flat = r.length > 1 ? [r[0], product(r) / r[0]] : [1, r[0]]
    if (r.length) at.recurrent = tensors.codes(`${i}.recurrent`, ...flat, l.quant_max)
    const sizes = {weight: c * l.inputs, levels: l.levels, recurrent: product(r)}
    l.views = () => { // memory may have grown
        for (const k in at) a[k] = room.view(k in INTS ? Int32Array : Int8Array, at[k], sizes[k] ?? c)
        return a
    }
    l.views()
    l.unit = tensors.worth(`${i}.worth`, a.theta)
    return Object.assign(l, {at, arrays: a})
}

const limits = l => {
    const t = l.arrays.levels, theta = l.arrays.theta
    if (t && l.clip) fail(l.where, '`clip`', '0 beside levels', l.clip)
    if (t && (t.some((v, k) => k && v <= t[k - 1]) || !t.includes(0))) fail(l.where, '`levels`', 'rising, and 0 among them', say([...t]))
    if (!l.before_fire || l.reset === 'none' || !(t || l.clip)) return
    const top = v => t ? Math.floor((v * t.at(-1) + 32768) / ONE) : l.clip
    const bad = theta.find(v => v >= top(v))
    if (bad !== undefined) fail(l.where, 'threshold', 'less than the largest membrane, which is limited before it fires', bad)
}
const STAGE = 'kind wide c h v oh ov kh kw sh sw ph pw dh dw groups inputs x a w room'.split(' ')
const LAYER = 'n channels per reset guard current clip levels before gain back each chain stages sums backs bias theta leak m0 shift lasting level_at list v j s'.split(' ')

const written = (room, at, fields, said) => room.view(Int32Array, at, fields.length).set(fields.map(f => Number(said[f] ?? 0)))

const laid = (room, l, x, wide) => { // x: where its input is
    const chain = room.take(4 * STAGE.length * (l.stages.length + 1)), n = l.n, at = l.at
    l.v = room.take(4 * n)
    l.s = room.take(n + 8)
    l.j = l.current_leak ? room.take(4 * n) : 0
    const put = (s, k, w, x, wide) => {
        const size = s.c * s.oh * s.ov, a = room.take(4 * (size + 16)), temp = room.take(4 * (s.kind === 0 ? s.inputs + 1 : s.kind === 1 ? size : 0))
        written(room, chain + 4 * STAGE.length * k, STAGE, {...s, x, a, w, room: temp, wide})
        return a
    }
    for (const [k, s] of l.stages.entries()) [x, wide] = [put(s, k, s.weights ? at.weight : 0, x, wide), true]
    const backs = l.back ? put(l.back, l.stages.length, at.recurrent, l.s, false) : 0
    const r = l.recurrent.length, per = n / l.channels
    return {n, channels: l.channels, per, reset: RESETS.indexOf(l.reset), guard: l.guard, current: l.current_max, clip: l.clip,
        levels: l.levels, before: l.before_fire, gain: l.gain, back: r > 1 ? 2 : r, each: r === 1 ? n / l.recurrent[0] : 0,
        chain, stages: l.stages.length, sums: x, backs, bias: at.bias, theta: at.theta, leak: at.leak, m0: at.m0,
        shift: at.shift, lasting: at.current_leak, level_at: at.levels, list: r === 1 ? at.recurrent : 0, v: l.v, j: l.j, s: l.s}
}
const KEPT = {count: 1, total: 2, first_spike: 3, max_membrane: 4, values: 0}

class Network {
    #room; #layers; #how; #x; #sums; #in; #at; #kept; #what; #done = 0; #given = false
    constructor(room, h, layers, most) {
        const last = layers.at(-1)
        this.#room = room
        this.#layers = layers
        this.#how = h.how
        Object.assign(this, {inputs: product(h.in_shape), inShape: h.in_shape, steps: h.steps, mostSteps: most, lo: h.in_min,
            hi: h.in_max, worth: h.in_scale, decision: h.decision})
        this.answers = ['labels', 'values'].includes(h.how.kind) ? last.n : 1
        this.layers = layers.map(l => ({neurons: l.n, channels: l.channels, shape: l.dims, reset: l.reset, inputs: l.inputs,
            synapses: product(l.shape) + (l.recurrent.length ? product(l.recurrent) : 0)}))
        this.#what = KEPT[h.how.kind] ?? KEPT[last.reset === 'none' ? 'total' : 'count']
        this.#in = room.take(4 * this.inputs)
        this.#at = room.take(4 * LAYER.length * layers.length)
        layers.forEach((l, i) => {
            const said = laid(room, l, i ? layers[i - 1].s : this.#in, !i)
            written(room, this.#at + 4 * LAYER.length * i, LAYER, said)
        })
        this.#kept = room.take(8 * last.n)
        this.#x = room.view(Int32Array, this.#in, this.inputs)
        this.#sums = room.view(Float64Array, this.#kept, last.n)
        for (const l of layers) {
            l.views()
            l.spikes = room.view(Uint8Array, l.s, l.n)
            l.membranes = room.view(Int32Array, l.v, l.n)
            l.currents = room.view(Int32Array, l.j, l.j ? l.n : 0)
        }
        this.start()
    }
    start() {
        for (const l of this.#layers) for (const a of [l.membranes, l.spikes, l.currents]) a.fill(0)
        this.#sums.fill(this.#how.kind === 'first_spike' ? -1 : 0)
        this.#done = 0
        this.#given = false
    }
    step(codes = null) {
        if (this.#done >= this.mostSteps) fail('step', 'steps', `at most ${this.mostSteps}, which are proved to stay within 32 bits`, 'one more')
        if (codes !== null) this.#take(codes)
        else if (!this.#given) fail('step', '`codes`', `${this.inputs} codes in the first step`, 'none', TypeError)
        this.#room.vm.step(this.#at, this.#layers.length, Number(codes !== null), this.#kept, this.#what, this.#done++)
    }
    #take(codes) {
        const want = `${this.inputs} whole numbers from ${this.lo} to ${this.hi}`
        if (!Array.isArray(codes) && (!ArrayBuffer.isView(codes) || codes instanceof DataView)) fail('step', '`codes`', want, say(codes), TypeError)
        if (codes.length !== this.inputs) fail('step', '`codes`', want, codes.length)
        for (let k = 0; k < codes.length; k++) {
            const v = codes[k]
            if (typeof v !== 'number') fail('step', '`codes`', want, `${typeof v} at ${k}`, TypeError)
            if (!whole(v, this.lo, this.hi)) fail('step', '`codes`', want, `${v} at ${k}`)
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
            const unit = c => this.#what === KEPT.total ? last.unit[c] : 1, per = last.n / last.channels
            return Int32Array.from(sums, (v, n) => Number(v * (unit(Math.floor(n / per)) / t) > value))
        }
        const score = kind === 'first_spike' ? v => v < 0 ? 1 - t : -v : v => v
        const each = kind === 'population' ? last.n / value : 1, scores = new Float64Array(last.n / each)
        sums.forEach((v, n) => { scores[Math.floor(n / each)] += score(v) })
        return Int32Array.of(scores.indexOf(Math.max(...scores)))
    }
    classify(codes, steps = this.steps) {
        if (!whole(steps, 1, this.mostSteps)) fail('classify', '`steps`', `a whole number from 1 to ${this.mostSteps}`, say(steps))
        const over = codes?.length === steps * this.inputs && steps > 1 // codes of all steps, one after the other
        this.start()
        for (let t = 0; t < steps; t++)
            this.step(over ? codes.slice(t * this.inputs, (t + 1) * this.inputs) : t ? null : codes)
        return this.decide()
    }
}
const TEXT = '8ff55fe0b9a85959b0f7e3108622aa6bb927fe3e8492e0058a7e38fc35cd7529' // SHA-256 of the C text that this was made of
const WASM = 'AGFzbQEAAAABMAZgAX8AYAN/f38AYAd/f39/f39/AX9gBH9/f38Bf2AFf39/f38Bf2AGf39/f39/AAMJCAECAwQFAAAABAUBcAEEBAUDAQACBg8CfwFBgIoEC38AQYCKBAsHNwYGbWVtb3J5AgAGc2hhMjU2AAAFY29kZXMAAQRpbnRzAAMEc3RlcAAEC19faGVhcF9iYXNlAwEJCQEAQQELAwUGBwqLdgjWCwUCfwF7CX8BewN/I4CAgIAAQYACayIDJICAgIAAAkAgAUEBSA0AIANBBHIhBANAIAP9DAAAAAAAAAAAAAAAAAAAAAAiBSAAQQ1qIABBCWogAEEFaiAAQQFq/QcAAP1UAAAB/VQAAAL9VAAAA/0NEAECAxEFBgcSCQoLEw0OD0EQ/asBIABBDGogAEEIaiAAQQRqIAAgBf1UAAAA/VQAAAT9VAAACP1UAAAMQRj9qwH9UCAFIABBDmogAEEKaiAAQQZqIABBAmr9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4PQQj9qwH9UCAFIABBD2ogAEELaiAAQQdqIABBA2r9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4P/VD9CwQAIAMgBSAAQR1qIABBGWogAEEVaiAAQRFq/QcAAP1UAAAB/VQAAAL9VAAAA/0NEAECAxEFBgcSCQoLEw0OD0EQ/asBIABBHGogAEEYaiAAQRRqIABBEGogBf1UAAAA/VQAAAT9VAAACP1UAAAMQRj9qwH9UCAFIABBHmogAEEaaiAAQRZqIABBEmr9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4PQQj9qwH9UCAFIABBH2ogAEEbaiAAQRdqIABBE2r9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4P/VD9CwQQIAMgBSAAQS1qIABBKWogAEElaiAAQSFq/QcAAP1UAAAB/VQAAAL9VAAAA/0NEAECAxEFBgcSCQoLEw0OD0EQ/asBIABBLGogAEEoaiAAQSRqIABBIGogBf1UAAAA/VQAAAT9VAAACP1UAAAMQRj9qwH9UCAFIABBLmogAEEqaiAAQSZqIABBImr9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4PQQj9qwH9UCAFIABBL2ogAEEraiAAQSdqIABBI2r9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4P/VD9CwQgIAMgBSAAQT1qIABBOWogAEE1aiAAQTFq/QcAAP1UAAAB/VQAAAL9VAAAA/0NEAECAxEFBgcSCQoLEw0OD0EQ/asBIABBPGogAEE4aiAAQTRqIABBMGogBf1UAAAA/VQAAAT9VAAACP1UAAAMQRj9qwH9UCAFIABBPmogAEE6aiAAQTZqIABBMmr9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4PQQj9qwH9UCAFIABBP2ogAEE7aiAAQTdqIABBM2r9BwAA/VQAAAH9VAAAAv1UAAAD/Q0QAQIDEQUGBxIJCgsTDQ4P/VD9CwQwQQAhBiADKAIAIgchCANAIAMgBmoiCUHAAGogCUEEaigCACIKQRl3IApBDndzIApBA3ZzIAhqIAlBJGooAgBqIAlBOGooAgAiCUEPdyAJQQ13cyAJQQp2c2o2AgAgCiEIIAZBBGoiBkHAAUcNAAsgAkEQaiIL/QACACIF/RsDIQwgBf0bAiENIAX9GwEhDiAF/RsAIQkgAv0AAgAiD/0bAyEQIA/9GwIhCCAP/RsBIREgD/0bACEKQQAhBgJAA0AgCUEadyAJQRV3cyAJQQd3cyAMaiAOIAlxaiANIAlBf3NxaiAGQYCIgIAAaigCAGogB2oiByAKQR53IApBE3dzIApBCndzaiAIIBFzIApxIAggEXFzaiESIBAgB2ohECAGQfwBRg0BIAQgBmooAgAhByAGQQRqIQYgDSEMIA4hDSAJIQ4gECEJIAghECARIQggCiERIBIhCgwACwsgCyAFIBD9ESAJ/RwBIA79HAIgDf0cA/2uAf0LAgAgAiAPIBL9ESAK/RwBIBH9HAIgCP0cA/2uAf0LAgAgAEHAAGohACABQQFKIQkgAUF/aiEBIAkNAAsLIANBgAJqJICAgIAAC/MGBQR/AX4CfwF+AX8jgICAgABB0ABrIgckgICAgAAgAEEEaiIILQAAIQkgAEEFai0AACEKQgAhCyAHQgA3A0ggB/0MAAAAAAAAAAD///////////0LAzAgByAAIAFqIgw2AiwgByAAQQZqIg02AiggCkEIdCEKQgAhDgJAIA0gDE8NACAHIABBCmoiDTYCKCAAQQdqMQAAQiiGIABBBmoxAABCIIaEIABBCGoxAABCMIaEIABBCWoxAABCOIaEIQ4LIAogCXIhCiAJQQFxIQ8CQCANIAxPDQAgByANQQRqNgIoIA01AAAhCwsgByALIA6ENwNAIAdBADYCJCAHIAU2AhQgByADNgIQIAcgBDYCCCAHIAM2AgQgByACNgIAQQEhDSAHQQE2AgwgByAKQQF2NgIYIAQhCSADIQwCQCAPRQ0AIAdBATYCECAHIAM2AgwgByADNgIIIAcgBDYCBCADIQkgBCEMCyAHIAZB+KzJAGoiBTYCHCAHIAUgDEECdGoiDDYCIAJAIAdBKGogByAGIAwgCUECdGoQgoCAgABFDQACQAJAIAFBfGpBAU4NAEF/IQ0MAQsgAUF9aiEGQX8hDQNAIA0gCC0AAHMiDUEcdEEfdUGykO72AHEgDUEddEEfdUGZiLc7cXMgDUEbdEEfdUHkoNztAXFzIA1BGnRBH3VByMG42wNxc0EAIA1BAXFrQaCG4u1+cSANQQF2cyIBQQF2IA1BHnRBH3VBoIbi7X5xcyINQQZ2cyABQRp0QR91QZCD8bYHcXMgDUEadEEfdUGghuLtfnFzIQ0gCEEBaiEIIAZBf2oiBkEBSw0ACwsCQCADQQFIDQAgBEEBSA0AIARBAWohCUEAIQQDQCACIARqIQggCSEGA0AgDSAILQAAcyINQRx0QR91QbKQ7vYAcSANQR10QR91QZmItztxcyANQRt0QR91QeSg3O0BcXMgDUEadEEfdUHIwbjbA3FzQQAgDUEBcWtBoIbi7X5xIA1BAXZzIgFBAXYgDUEedEEfdUGghuLtfnFzIg1BBnZzIAFBGnRBH3VBkIPxtgdxcyANQRp0QR91QaCG4u1+cXMhDSAIIANqIQggBkF/aiIGQQFLDQALIARBAWoiBCADRw0ACwsgACgAACANQX9zR0EBdCENCyAHQdAAaiSAgICAACANC6MYCgN/AXsBfwF+CH8BfBN/AXsDfgN8IAEoAhRBAXQhBEEAIQUDQCACIAVqIgb9DAEAAAAAAAAAAQAAAAAAAAAiB/0LAwAgBkHgAGogB/0LAwAgBkHQAGogB/0LAwAgBkHAAGogB/0LAwAgBkEwaiAH/QsDACAGQSBqIAf9CwMAIAZBEGogB/0LAwAgBUHwAGoiBUGgvgNHDQALIAJB+L8DaiAEQQFyIgisIgk3AwAgAkHwvwNqIAk3AwAgAkHovwNqIAk3AwAgAkHgvwNqIAk3AwAgAkHYvwNqIAk3AwAgAkHQvwNqIAk3AwAgAkHIvwNqIAk3AwAgAkHAvwNqIAk3AwAgAkG4vwNqIAk3AwAgAkGwvwNqIAk3AwAgAkGovwNqIAk3AwAgAkGgvwNqIAk3AwAgAkGYvwNqIAk3AwAgAkGQvwNqIAk3AwAgAkGIvwNqIAk3AwAgAkGAvwNqIAk3AwAgAkH4vgNqIAk3AwAgAkHwvgNqIAk3AwAgAkHovgNqIAk3AwAgAkHgvgNqIAk3AwAgAkHYvgNqIAk3AwAgAkHQvgNqIAk3AwAgAkHIvgNqIAk3AwAgAkHAvgNqIAk3AwAgAkG4vgNqIAk3AwAgAkGwvgNqIAk3AwAgAkGovgNqIAk3AwAgAkGgvgNqIAk3AwBBACEFA0AgAiAFaiIGQfDAA2r9DAAAAAAAAAAAAAAAAAAAAAAiB/0LAgAgBkHgwANqIAf9CwIAIAZB0MADaiAH/QsCACAGQcDAA2ogB/0LAgAgBkGwwANqIAf9CwIAIAZBoMADaiAH/QsCACAGQZDAA2ogB/0LAgAgBkGAwANqIAf9CwIAIAVBgAFqIgVBgN3FAEcNAAsgAUEANgIkQQEhCgJAIAEoAgQiBkEBSA0AIAEoAhwhBUEAIQsDQCAFQQA2AgAgBUEEaiEFIAtBAWoiCyABKAIEIgZIDQALCwJAIAEoAghBAUgNACACQYCdyQBqIQwgAkGYnckAaiENIAJBgMADaiEOIARBf3MhDyAEQXxxIRAgCEEDcSERQYCAgAggCGu3IRJBACETQQAhFANAIAEoAhgiBUF/aiEKAkACQCAUDQBCACEJQQAhCwwBCyAUQQJ0IAEoAiBqQXxqNQIAIQlBASELCwJAAkACQAJAAkACQAJAIApBAUYNAAJAAkAgCkEBSA0AIBQgCkgNACALQQFqIQsgCSABKAIgIBQgCmtBAnRqNQIAfCEJDAELIAVBAUYNAwsCQCAFQQFIDQAgFCAFTg0CCyAFDQIMAwsgFCAFSA0BCyALQQFqIQsgCSABKAIgIBQgBWtBAnRqNQIAfCEJCyAFQf7///8HSw0AIBQgBUEBaiIFSA0AIAtBAWohCyAJIAEoAiAgFCAFa0ECdGo1AgB8IQkMAQsgC0UNAQtBACEVIAlC5AB+IAasIAutfn8iCUICUw0BQQEhFSAJQgVUDQFBAiEVIAlCClQNAUEDIRUgCUIPVA0BQQQhFSAJQhRUDQFBBSEVIAlCHlQNAUEGIRUgCUIyVA0BC0EHIRULAkAgBkEBSA0AIBRBf2ohFkEAIRcDQAJAIBciGCAYIBNBCG1BECATQYcBShsiGWogBiAGIBhrIhogGUobIhdOIhsNAEEBIRwgGCEdAkADQEEAIQpBACELAkAgFEUNACABKAIAIAEoAhAgFmwgASgCDCAdbGpqLAAAIQsLAkAgASgCGCIFQQFIDQAgFCAFSA0AIAEoAgAgASgCECAUIAVrbCABKAIMIB1samosAAAhCgtBACEeQQAhBgJAIAVB/v///wdLDQBBACEGIBQgBUEBaiIfSA0AIAEoAgAgASgCECAUIB9rbCABKAIMIB1samosAAAhBgsCQCAFQX9qIgVBAUgNACAUIAVIDQAgASgCACABKAIQIBQgBWtsIAEoAgwgHWxqaiwAACEeCyAGIAZBH3UiBWogBXMgCiAKQR91IgVqIAVzIAsgC0EfdSIFaiAFc2pBAXRqIB4gHkEfdSIFaiAFc2pBAnQiHyABKAIUIiBBBCAgQQRKGyIFbiEhIAYgCiALakEBdGogHmohBkEAIR5BACEKAkAgBSAfSw0AQQQhCiAhQQJJDQBBCCEKICFBAkYNAEEMIQogIUEFSQ0AQRAhCiAhQQhJDQBBFEEYICFBDUkbIQoLAkAgBiAGQR91IgtqIAtzQQJ0IAVtIgZBAUgNAEEBIR4gBkEDSQ0AQQJBAyAGQQZJGyEeC0EAIQYCQCABNAIEIAEoAhwgHUECdCIiajUCAH5C5AB+IAEoAiQiBUEBIAUbrX8iCUIjUw0AQQghBiAJQsEAVA0AQRAhBiAJQuQAVA0AQRhBICAJQpYBVBshBgsgHiAKckEobCAVciAGaiALcyIhQR91ICFzIiNBKG0hHgJAIAhBAUgiJA0AICNB/wFsISUgAiAeQQN0akGgvgNqKQMAIQkCQAJAIAQNAEEAIQsMAQsgHkH4D2whCiAOICVBAnRqIQUgCf0SISYgBCELIAIhBgNAIAZBgJ3JAGogJiAF/QYCAP3VASAGIApq/QADAEEE/csB/c4BIgf9DP////8AAAAA/////wAAAAD9Tv0MAAAAAAAAMEMAAAAAAAAwQ/1QIAdBIP3NAf0MAAAAAAAAMEUAAAAAAAAwRf1Q/QwAABAAAAAwRQAAEAAAADBF/fEB/fAB/QsDACAGQRBqIQYgBUEIaiEFIAtBfmoiCw0ACyAEIQsLIB5B+A9sIR8gDyALaiEFIAIgC0EDdGohBiAOIAsgJWpBAnRqIQsDQCAGQYCdyQBqIAkgCzUCAH4gBiAfaikDAEIEhny6OQMAIAtBBGohCyAGQQhqIQYgBUEBaiIKIAVJIR4gCiEFIB5FDQALCyAAIAApAxBCGIgiJzcDICAAKQMYIiggACkDCCIpfSAngCEJAkACQCAkRQ0ARAAAAAAAAAAAISoMAQtEAAAAAAAAAAAhKkEAIQUCQCAEQQNJDQAgDSEGA0AgKiAGQWhqKwMAoCAGQXBqKwMAoCAGQXhqKwMAoCAGKwMAoCEqIAZBIGohBiAQIAVBBGoiBUcNAAsLIAwgBUEDdGohBiARIQUDQCAqIAYrAwCgISogBkEIaiEGIAVBf2oiBQ0ACwsCQCAJQv///wdWDQAgEiAqoyErQQAhCyAMIQVEAAAAAAAAAAAhLEEAIQYDQCALIR4gBCAGRiELAkACQCArICwgBSsDAKAiLKIiKkQAAAAAAADwQWMgKkQAAAAAAAAAAGZxRQ0AICqrIQoMAQtBACEKCyAGIApqIQogBUEIaiEFIAZBAWohBiAJQYCAgAggCkEBaiALGyILrVoNAAsgACAnIAsgHmutfiIJNwMQIAAgJyAerX4gKXwiJzcDCCAGQX9qIQUCQCAJQv////8PVg0AIAAgCUIghjcDECAAICdCIIY3AwggKEIghiEnQgAhCQJAIAAoAgAiCyAAKAIETw0AIAAgC0EEajYCACALNQAAIQkLIAAgCSAnhDcDGAsgBUEASA0AIAEoAgAgASgCECAUbCABKAIMIB1samogICAGa0EBaiAgQX9zIAZqICFBAEgbOgAAIAMgImogBSAjQQh0cjYCACAdQQFqIh0gF0ghHCAdIBdHDQEMAgsLIBxBAXFFDQBBACEKDAULIBsNACAZIBogGSAaSBshBSADIBhBAnRqIQYDQCACIAYoAgAiC0EIdSIKQShtIh5B/wFsIAtB/wFxIgtqQQN0aiIfIB8pAwBCIHw3AwAgAiAKQf8BbCALakECdGpBgMADaiILIAsoAgBBAWo2AgAgAiAeQQN0akGgvgNqIgsgCykDAEIgfDcDACAGQQRqIQYgBUF/aiIFDQALCyATIBhrIBdqIRMgASgCBCIGIBdKDQALC0EAIR8gASgCICAUQQJ0aiIKQQA2AgACQCABKAIEIgZBAUgNACABKAIAIR5BACELQQAhH0EAIQUDQAJAIB4gASgCECAUbCABKAIMIAVsamotAABFDQAgASgCHCALaiIGIAYoAgBBAWo2AgAgCiAKKAIAQQFqIh82AgAgASgCBCEGCyALQQRqIQsgBUEBaiIFIAZIDQALCyABIAEoAiQgH2o2AiRBASEKIBRBAWoiFCABKAIISA0ACwsgCguYFAkBfwF+An8BfgN/AnsCfwN+AXsjgICAgABB0ABrIgUkgICAgABCACEGIAVCADcDSCAF/QwAAAAAAAAAAP///////////QsDMCAFIAAgAWoiBzYCLCAFIABBCGoiCDYCKEIAIQkCQCAIIAdPDQAgBSAAQQxqIgg2AiggAEEJajEAAEIohiAAQQhqMQAAQiCGhCAAQQpqMQAAQjCGhCAAQQtqMQAAQjiGhCEJCwJAIAggB08NACAFIAhBBGo2AiggCDUAACEGCyAFIAYgCYQ3A0AgBUEANgIkIAVCkYCAgBA3AhQgBSADNgIQIAVCgYCAgBA3AwggBSADNgIEIAUgBEH4rMkAaiIINgIcIAUgCCADQQN0IgdqQQtqQXhxIgogB2oiCzYCACAFIAggA0ECdGoiCDYCIAJAAkAgBUEoaiAFIAQgCEEEahCCgICAAA0AQQEhCAwBCwJAIANBAUgNAEEAIQwCQAJAIANBAUYNACADQX5xIgwhByAKIQQgCyEIA0AgCCAILwEA/RD9DBERAAAAAAAAAAAAAAAAAAD9biIN/VkBAAAgBEIBIA0gDf0NAAAAAAAAAAABAAAAAAAAAEE4/csBQTj9zAH9DP/////////////////////9zgH9DP////8AAAAA/////wAAAAD9TiIO/R0Ahv0SQgEgDv0dAYb9HgH9DAAAAAAAAAAAAAAAAAAAAAAgDf0MAAAAAAAAAAAAAAAAAAAAAP0nIA39DQAAAAAAAAAAAQAAAAAAAABBOP3LAUE4/cwB/VL9CwMAIARBEGohBCAIQQJqIQggB0F+aiIHDQALIAwgA0YNAQsgDEF/cyEIAkAgA0EBcUUNACALIAxqIgQgBC0AAEERaiIEOgAAIAogDEEDdGpCASAErUI4hkI4h0J/fEL/////D4OGQgAgBEEYdEEYdUEAShs3AwAgDEEBciEMCyAIQQAgA2tGDQAgAyAMayEPIAogDEEDdGohBCAKIANBA3RqIAxqIQgDQCAIIAgtAABBEWoiBzoAACAEQgEgB61COIZCOIdCf3xC/////w+DhkIAIAdBGHRBGHVBAEobNwMAIAhBAWoiByAHLQAAQRFqIgc6AAAgBEEIakIBIAetQjiGQjiHQn98Qv////8Pg4ZCACAHQRh0QRh1QQBKGzcDACAIQQJqIQggBEEQaiEEIA9BfmoiDw0ACwsgA0EBSA0AIAUoAiwhEEEAIQggBSgCKCEPIAUpAzAhBiAFKQNAIREgBSkDSCESIAUpAzghCSAKIQQDQAJAIAsgCGosAAAiB0ECSA0AAkAgESAGfSAJQhiIIhKAIglC////B1gNAEEBIQgMBAsgEiAJp0EYIAdBf2oiB0EQIAdBEEkbayIHdiIMIAd0rX4gBnwhBgJAIBJBASAHdK1+IglC/////w9WDQAgEUIghiETQgAhEQJAIA8gEE8NACAPNQAAIREgD0EEaiEPCyAJQiCGIQkgBkIghiEGIBEgE4QhEQsgBCAEKQMAIAythDcDAAsgBEEIaiEEIAMgCEEBaiIIRw0ACyAFIBI3A0ggBSAJNwM4IAUgETcDQCAFIAY3AzAgBSAPNgIoQQAhCCAKIQQDQAJAIAsgCGosAAAiB0ESSA0AAkAgESAGfSAJQhiIIhKAIglC////B1gNAEEBIQgMBAsgEiAJp0EYIAdBb2oiB0EQIAdBEEkbayIHdiIMIAd0rX4gBnwhBgJAIBJBASAHdK1+IglC/////w9WDQAgEUIghiETQgAhEQJAIA8gEE8NACAPNQAAIREgD0EEaiEPCyAJQiCGIQkgBkIghiEGIBEgE4QhEQsgBCAEKQMAIAytQhCGhDcDAAsgBEEIaiEEIAMgCEEBaiIIRw0ACyAFIBI3A0ggBSAJNwM4IAUgETcDQCAFIAY3AzAgBSAPNgIoQQAhCCAKIQQDQAJAIAsgCGosAAAiB0EiSA0AAkAgESAGfSAJQhiIIgmAIhJC////B1gNAEEBIQgMBAsgCSASp0EYIAdBX2oiB0EQIAdBEEkbayIHdiIMIAd0rX4gBnwhBgJAIAlBASAHdK1+IglC/////w9WDQAgEUIghiERQgAhEgJAIA8gEE8NACAPNQAAIRIgD0EEaiEPCyAJQiCGIQkgBkIghiEGIBIgEYQhEQsgBCAEKQMAIAytQiCGhDcDAAsgBEEIaiEEIAMgCEEBaiIIRw0ACyAFIAk3AzggA0EBSA0AIABBBGohD0EAIQwCQCADQQFGDQAgCyACSyAKIAIgA0ECdGoiCElxDQAgAEEIaiACSyAPIAhJcQ0A/QwAAAAAAAAAAAAAAAAAAAAAIg0gAEEFav0HAAD9DRABAgMRBQYHEgkKCxMNDg9BCP2rASANIABBBGr9BwAA/Q0QAQIDEQUGBxIJCgsTDQ4P/VAgDSAAQQZq/QcAAP0NEAECAxEFBgcSCQoLEw0OD0EQ/asB/VAgAEEHav0HAAAgDf0NAAAAAAEAAAACAAAAAwAAAEEY/asB/VAhFCADQX5xIgwhByACIQggCiEEA0AgCCAUIAT9AAMAIg1BAf3NASAN/QwBAAAAAAAAAAEAAAAAAAAAIg79zgFBAf3NAf3BASANIA79Tv0MAAAAAAAAAAAAAAAAAAAAAP3WAf1SIA39DQABAgMICQoLAAAAAAAAAAD9rgH9WwIAACAIQQhqIQggBEEQaiEEIAdBfmoiBw0ACyAMIANGDQELIAMgDGshByAKIAxBA3RqIQggAiAMQQJ0aiEEA0AgBCAPKAAAIAgpAwAiBkIBiEIAIAZCAXxCAYh9IAZCAYNQG6dqNgIAIAhBCGohCCAEQQRqIQQgB0F/aiIHDQALCwJAAkAgAUF8akEBTg0AQX8hCAwBCyABQX1qIQcgAEEEaiEEQX8hCANAIAggBC0AAHMiCEEcdEEfdUGykO72AHEgCEEddEEfdUGZiLc7cXMgCEEbdEEfdUHkoNztAXFzIAhBGnRBH3VByMG42wNxc0EAIAhBAXFrQaCG4u1+cSAIQQF2cyILQQF2IAhBHnRBH3VBoIbi7X5xcyIIQQZ2cyALQRp0QR91QZCD8bYHcXMgCEEadEEfdUGghuLtfnFzIQggBEEBaiEEIAdBf2oiB0EBSw0ACwsCQCADQQJ0IgRBAUgNACAEQQFqIQQDQCAIIAItAABzIghBHHRBH3VBspDu9gBxIAhBHXRBH3VBmYi3O3FzIAhBG3RBH3VB5KDc7QFxcyAIQRp0QR91QcjBuNsDcXNBACAIQQFxa0GghuLtfnEgCEEBdnMiA0EBdiAIQR50QR91QaCG4u1+cXMiCEEGdnMgA0EadEEfdUGQg/G2B3FzIAhBGnRBH3VBoIbi7X5xcyEIIAJBAWohAiAEQX9qIgRBAUsNAAsLIAAoAAAgCEF/c0dBAXQhCAsgBUHQAGokgICAgAAgCAvKGQYKfwF+An8BfgF8AXsCQCABQQFIDQBBACEGA0AgACgCMCEHAkAgBiACckUNACAAKAI0QQFIDQBBACEIIAchCQNAIAlBgYCAgABBgoCAgAAgCSgCACIKQQFGG0GDgICAACAKGxGAgICAAAAgCUHUAGohCSAIQQFqIgggACgCNEgNAAsLAkAgACgCKEECRw0AIAcgACgCNEHUAGxqIglBgYCAgABBgoCAgAAgCSgCACIJQQFGG0GDgICAACAJGxGAgICAAAALAkACQAJAIAAoAggiCUEBSg0AIAAoAhQNACAAKAJUDQAgACgCKA0AIAAoAhgNACAAKAIcRQ0BCyAAKAIEIghBAUgNASAJQQFIDQEgACgCOCELQQAhDEEAIQ0DQAJAIAlBAUgNAEEAIQ4DQCALIAxBAnQiCmooAgAhCAJAAkACQCAAKAIoIgkOAgIAAQsgACgCJCAAKAJcIAwgACgCLG1qLAAAbCAAKAJoIAxqLQAAbCEJDAELIAAoAiQgACgCPCAKaigCAGwhCQsgCSAIaiEIAkAgACgCFCIJRQ0AIAlBACAJayIHIAAoAkwgDUECdCIPajQCACAIrH5CASAAKAJQIA9qKAIAIghBf2qthnwgCK2HIhCnIBAgB6xTGyAQIAmsVRshCAsgACgCQCANQQJ0IglqKAIAIAggACgCEHRqIQgCQCAAKAJUIgdFDQAgACgCZCAKaiIPIA8oAgAiD0EQdSAHIAlqKAIAIgdsIAhqIA9B//8DcSAHbEGAgAJqQRB2aiIINgIACyAAKAJIIAlqKAIAIgcgACgCYCAKaiIRKAIAIgpBEHVsIAhqIAcgCkH//wNxbEGAgAJqQRB2aiAAKAJEIAlqKAIAIhJBACAKIBJKG0EAIAAoAgxBAUYbayEJAkAgACgCIEUNAAJAIAAoAhgiCEUNACAIQQAgCGsiCiAJIAkgCkgbIAggCUgbIQkMAQsgAEEcaigCACIIRQ0AIABB2ABqKAIAIQcCQAJAIAhBf2oiCEEASg0AIBKsIRBBACEJDAELIAmsQgGGIRMgEqwhEEEAIQkDQCAIIAlqQQJtIgpBAWoiDyAJIBMgByAPQQJ0ajQCACAQfkKAgAJ8QhCHIAcgCkECdGo0AgAgEH5CgIACfEIQh3xVIg8bIgkgCCAKIA8bIghIDQALCyAQIAcgCUECdGo0AgB+QoCAAnxCEIinIQkLIAAoAmggDGogCSASSjoAAAJAIAkgEkwNACAJQQAgEiAAKAIMG2shCQsCQCAJIBJMDQBBACAJIAAoAgxBAkYbIQkLAkAgACgCIA0AAkAgACgCGCIIRQ0AIAhBACAIayIKIAkgCSAKSBsgCCAJSBshCQwBCyAAQRxqKAIAIghFDQAgAEHYAGooAgAhBwJAAkAgCEF/aiIIQQBKDQAgEqwhEEEAIQkMAQsgCaxCAYYhEyASrCEQQQAhCQNAIAggCWpBAm0iCkEBaiIPIAkgEyAHIA9BAnRqNAIAIBB+QoCAAnxCEIcgByAKQQJ0ajQCACAQfkKAgAJ8QhCHfFUiDxsiCSAIIAogDxsiCEgNAAsLIBAgByAJQQJ0ajQCAH5CgIACfEIQiKchCQsgESAJNgIAIAxBAWohDCAOQQFqIg4gACgCCCIJSA0ACyAAKAIEIQgLIA1BAWoiDSAISA0ADAILCwJAAkACQCAAKAIMIhEOAgABAgsgACgCAEEBSA0CIAAoAmghDSAAKAJgIQkgACgCRCEIIAAoAkghCiAAKAJAIQcgACgCOCEPQQAhEgNAIA0gEmogDygCACAAKAIQdCAHKAIAaiAJKAIAIgxBEHUgCigCACIObGogDEH//wNxIA5sQYCAAmpBEHZqIgwgCCgCACIOSiIROgAAIAkgDCAOQQAgERtrNgIAIA9BBGohDyAHQQRqIQcgCUEEaiEJIApBBGohCiAIQQRqIQggEkEBaiISIAAoAgBIDQAMAwsLIAAoAgBBAUgNASAAKAJoIREgACgCYCEJIAAoAkQhCCAAKAJIIQogACgCQCEHIAAoAjghD0EAIRIDQCARIBJqIA8oAgAgACgCEHQgBygCAGogCSgCACIMQRB1IAooAgAiDmxqIAxB//8DcSAObEGAgAJqQRB2aiAIKAIAIg5BACAMIA5KG2siDCAOSjoAACAJIAw2AgAgD0EEaiEPIAdBBGohByAJQQRqIQkgCkEEaiEKIAhBBGohCCASQQFqIhIgACgCAEgNAAwCCwsgACgCAEEBSA0AIAAoAmghDSAAKAJgIQkgACgCRCEIIAAoAkghCiAAKAJAIQcgACgCOCEPQQAhEgNAIA0gEmogDygCACAAKAIQdCAHKAIAaiAJKAIAIgxBEHUgCigCACIObGogDEH//wNxIA5sQYCAAmpBEHZqIgwgCCgCAEoiDjoAACAJIAxBACAMIA4bIBFBAkcbNgIAIA9BBGohDyAHQQRqIQcgCUEEaiEJIApBBGohCiAIQQRqIQggEkEBaiISIAAoAgBIDQALCyAAQewAaiEAIAZBAWoiBiABRw0ACwsCQCAAQZR/aiIAKAIAIg9BAUgNACAAQegAaigCACEKIABB4ABqKAIAIRICQAJAAkACQCAEQX9qDgQCAQADBAsgBbchFCAPQQFxIRJBACEJAkAgD0EBRg0AIA9BfnEhB0EAIQkgAyEAA0ACQCAKIAlqIggtAABFDQAgACsDAEQAAAAAAAAAAGNFDQAgACAUOQMACwJAIAhBAWotAABFDQAgAEEIaiIIKwMARAAAAAAAAAAAY0UNACAIIBQ5AwALIABBEGohACAHIAlBAmoiCUcNAAsLIBJFDQMgCiAJai0AAEUNAyADIAlBA3RqIgArAwBEAAAAAAAAAABjRQ0DIAAgFDkDAA8LQQAhDAJAIA9BAkkNACAPQX5xIgxBfmoiAEEBdkEBaiIJQQFxIQ4CQAJAIAANAEEAIQgMAQsgCUF+cSEKQQAhCCADIQAgEiEJA0AgACAA/QADACAJ/V0CAP3+Af3wAf0LAwAgAEEQaiIHIAf9AAMAIAlBCGr9XQIA/f4B/fAB/QsDACAAQSBqIQAgCUEQaiEJIAhBBGohCCAKQX5qIgoNAAsLAkAgDkUNACADIAhBA3RqIgAgAP0AAwAgEiAIQQJ0av1dAgD9/gH98AH9CwMACyAPIAxGDQMLIA8gDGshCCASIAxBAnRqIQkgAyAMQQN0aiEAA0AgACAAKwMAIAkoAgC3oDkDACAJQQRqIQkgAEEIaiEAIAhBf2oiCA0ADAMLC0EAIQwCQCAPQQJJDQACQCAKIA9qIANNDQAgCiADIA9BA3RqSQ0BCyAPQX5xIgxBfmoiAEEBdkEBaiIJQQFxIQ4CQAJAIAANAEEAIQkMAQsgCUF+cSEIQQAhCSADIQADQCAAIAD9AAMAIAogCWoiBy8AAP0QIhX9FgC4/RQgFf0WAbj9IgH98AH9CwMAIABBEGoiEiAS/QADACAHQQJqLwAA/RAiFf0WALj9FCAV/RYBuP0iAf3wAf0LAwAgAEEgaiEAIAlBBGohCSAIQX5qIggNAAsLAkAgDkUNACADIAlBA3RqIgAgAP0AAwAgCiAJai8AAP0QIhX9FgC4/RQgFf0WAbj9IgH98AH9CwMACyAPIAxGDQILIAxBAXIhAAJAIA9BAXFFDQAgAyAMQQN0aiIJIAkrAwAgCiAMai0AALigOQMAIAAhDAsgDyAARg0BIAogDGohCSAPIAxrIQggAyAMQQN0aiEAA0AgACAAKwMAIAktAAC4oDkDACAAQQhqIgogCisDACAJQQFqLQAAuKA5AwAgCUECaiEJIABBEGohACAIQX5qIggNAAwCCwsCQCAFRQ0AIA9BAXEhDEEAIQgCQCAPQQFGDQAgD0F+cSEHQQAhCCADIQAgEiEJA0ACQCAAKwMAIAkoAgC3IhRjRQ0AIAAgFDkDAAsCQCAAQQhqIgorAwAgCUEEaigCALciFGNFDQAgCiAUOQMACyAAQRBqIQAgCUEIaiEJIAcgCEECaiIIRw0ACwsgDEUNASADIAhBA3RqIgArAwAgEiAIQQJ0aigCALciFGNFDQEgACAUOQMADwsgD0EDcSEIQQAhCgJAIA9Bf2pBA0kNACASQQhqIQAgD0F8cSEHQQAhCiADIQkDQCAJQRBqIAAoAgC3OQMAIAkgAEF4aigCALc5AwAgCUEIaiAAQXxqKAIAtzkDACAJQRhqIABBBGooAgC3OQMAIAlBIGohCSAAQRBqIQAgByAKQQRqIgpHDQALCyAIRQ0AIBIgCkECdGohACADIApBA3RqIQkDQCAJIAAoAgC3OQMAIABBBGohACAJQQhqIQkgCEF/aiIIDQALCwvADwoJfwF7DH8BfgF/A34DfwF+B38GfiAAKAJQIQEgACgCSCECAkAgACgCCCAAKAIYIAAoAhRsIgNsIgRBAUgNAAJAAkAgBEEETw0AIAEhBQwBCyAEQXxxIgZBfGoiBUECdkEBaiIHQQdxIQhBACEJAkAgBUEcSQ0AIAFBwABqIQUgB0H4////B3EhB0EAIQkDQCAF/QwAAAAAAAAAAAAAAAAAAAAAIgr9CwIAIAVBMGogCv0LAgAgBUEgaiAK/QsCACAFQRBqIAr9CwIAIAVBcGogCv0LAgAgBUFgaiAK/QsCACAFQVBqIAr9CwIAIAVBQGogCv0LAgAgBUGAAWohBSAJQSBqIQkgB0F4aiIHDQALCwJAIAhFDQAgASAJQQJ0aiEFA0AgBf0MAAAAAAAAAAAAAAAAAAAAAP0LAgAgBUEQaiEFIAhBf2oiCA0ACwsgBCAGRg0BIARBA3EhBCABIAZBAnRqIQULIARBAWohCANAIAVBADYCACAFQQRqIQUgCEF/aiIIQQFLDQALCwJAIAAoAjwiCSAAKAJAIgdsQQFIDQAgACgCDCIFQQFIDQBBACELQQAhDANAAkAgBUEBSA0AIAAoAhAiCEEBSA0AQQAhDQNAAkAgCEEBSA0AQQAhDgNAIAAoAkQhBQJAAkAgACgCBEUNACAFIAtBAnRqKAIAIQcMAQsgBSALai0AACEHCwJAIAdFDQAgACgCCCAAKAI8bSEPIAwgACgCQCIEbSEJIAAoAhwiBUEBSA0AAkAgD0EBSA0AIAwgCSAEbGshECAPQXxxIREgASAJIA9sIhJBAnRqIRMgD0F8aiIUQQJ2QQFqIghB/v///wdxIRUgCEEBcSEWIAf9ESEKQgAhF0EAIRgDQAJAIAAoAiwgDWqsIBcgADQCNH59IhlCAFMNACAZIBkgADQCJCIafyIbIBp+fUIAUg0AIBsgADQCFFkNACAbpyIcQQBIDQAgACgCICIdQQFIDQAgF6chHkIAIRlBACEEA0ACQCAAKAIwIA5qrCAZIAA0Ajh+fSIaQgBTDQAgGiAaIAA0AigiG38iHyAbfn1CAFINACAfIAAoAhgiBaxZDQAgH6ciCEEASA0AIAAoAkwgEmohICAAKAIcIBBsISEgACgCCCIiIAUgHGwgCGpsISNBACEFAkACQCAPQQRJDQAgEyAjQQJ0aiEkQQAhCAJAIBRBBEkNACAgICIgBCAdIBggIWpsamxqISVBACEIICQhBSAVIQkDQCAFIAogJSAIaiIGKAAA/REgCv0NAAAAAAEAAAACAAAAAwAAAEEY/asBQRj9rAH9tQEgBf0AAgD9rgH9CwIAIAVBEGoiJiAKIAZBBGooAAD9ESAK/Q0AAAAAAQAAAAIAAAADAAAAQRj9qwFBGP2sAf21ASAm/QACAP2uAf0LAgAgBUEgaiEFIAhBCGohCCAJQX5qIgkNAAsLAkAgFkUNACAkIAhBAnRqIgUgCiAgICEgHmogHWwgGadqICJsaiAIaigAAP0RIAr9DQAAAAABAAAAAgAAAAMAAABBGP2rAUEY/awB/bUBIAX9AAIA/a4B/QsCAAsgESEFIA8gEUYNAQsgICAFICIgBCAdIBggIWpsamxqaiEIIA8gBWshCSATIAUgI2pBAnRqIQUDQCAFIAcgCCwAAGwgBSgCAGo2AgAgCEEBaiEIIAVBBGohBSAJQX9qIgkNAAsLIAAoAiAhHQsgBEEBaiEEIBlCAXwiGSAdrFMNAAsgACgCHCEFCyAYQQFqIRggF0IBfCIXIAWsUw0ACyAAKAIQIQgMAQsgACgCLCANaqwhJyAFrSEoIAA0AhQhKSAANAI0ISpCACEXA0ACQCAnIBcgKn59IhlCAFMNACAZIBkgADQCJCIafyIbIBp+fUIAUg0AIBsgKVkNACAbQoCAgIAIg0IAUg0AIAAoAiAiBUEBSA0AIA4gACgCMGqsIRkgBa0hGiAANAIYISsgADQCOCEsA0ACQCAZQgBTDQAgGSAZIAA0AigiG38iHyAbfn1CAFINACAfICtZDQAgH0KAgICACINCAFIaCyAZICx9IRkgGkJ/fCIaQgBSDQALCyAXQgF8IhcgKFINAAsLIAtBAWohCyAOQQFqIg4gCEgNAAsgACgCDCEFCyANQQFqIg0gBUgNAAsgACgCPCEJIAAoAkAhBwsgDEEBaiIMIAkgB2xIDQALCwJAIAAoAghBAUgNACADQQFIDQAgA0F/aiIFQXxxIQcgBUEDcSEGQQAhCCADQQFGIQQgA0F+akEDSSEmA0AgAiABIAhBAnRqKAIANgIAIAJBBGohAgJAIAQNAEEBIQUCQCAmDQBBACEFA0AgAiABIAAoAgggBUEBamwgCGpBAnRqKAIANgIAIAJBBGogASAAKAIIIAVBAmpsIAhqQQJ0aigCADYCACACQQhqIAEgACgCCCAFQQNqbCAIakECdGooAgA2AgAgAkEMaiABIAAoAgggBUEEaiIFbCAIakECdGooAgA2AgAgAkEQaiECIAcgBUcNAAsgBUEBaiEFCyAGRQ0AIAYhCQNAIAIgASAAKAIIIAVsIAhqQQJ0aigCADYCACAFQQFqIQUgAkEEaiECIAlBf2oiCQ0ACwsgCEEBaiIIIAAoAghIDQALCwuuAwERfwJAIAAoAggiAUEBSA0AIAAoAhQiAkEBSA0AIAAoAkghA0EAIQQDQAJAIAJBAUgNACAAKAIYIgVBAUgNAEEAIQYDQAJAIAVBAUgNAEEAIQcDQCAAKAIAIghBAkZBH3QhAQJAIAAoAhwiCUEBSA0AIAAoAiAiCkEBSA0AIAAoAiggB2wgACgCMGshC0EAIQwgACgCJCAGbCAAKAIsayINIQ4DQAJAIA0gDGoiBUEASA0AIAUgACgCDCICTg0AIA4gBCACbGohDyAKIQIgCyEFA0ACQCAFQQBIDQAgBSAAKAIQIhBODQAgDyAQbCEQIAAoAkQhEQJAAkAgACgCBEUNACARIAUgEGpBAnRqKAIAIRAMAQsgESAQaiAFai0AACEQCyAQIAFqIBAgASAQIAFKGyAIQQNGGyEBCyAFQQFqIQUgAkF/aiICDQALCyAOQQFqIQ4gDEEBaiIMIAlHDQALCyADIAE2AgAgA0EEaiEDIAdBAWoiByAAKAIYIgVIDQALIAAoAhQhAgsgBkEBaiIGIAJIDQALIAAoAgghAQsgBEEBaiIEIAFIDQALCwu+CgQLfwZ7A38CeyAAKAJQIQECQAJAIAAoAkAiAkEBTg0AQQAhAwwBCyAAKAIEIQRBACEFQQAhAwNAAkACQCAEIAVBB3FyDQAgACgCRCAFQXhxaikDAEIAUg0AIAVBB2ohBUEAIQQMAQsgASADQQJ0aiAFNgIAIAAoAkQhAgJAAkAgACgCBCIERQ0AIAIgBUECdGooAgAhAgwBCyACIAVqLQAAIQILIAMgAkEAR2ohAyAAKAJAIQILIAVBAWoiBSACSA0ACwsCQCAAKAIIIgRBAUgNAEEAIQYgA0EBSCEHA0AgACgCTCAGaiECAkACQAJAAkAgACgCBEUNACAHRQ0BDAILIAcNAUEAIQggAyEJIAEhCkEAIQv9DAAAAAAAAAAAAAAAAAAAAAAiDCENIAwhDiAMIQ8DQAJAAkAgAyALa0EBTg0A/QwAAAAAAAAAAAAAAAAAAAAAIhAhEQwBCyADIAhBCHRrIgVBgAIgBUGAAkgbIgVBAXEhEgJAAkAgBUEBRw0AQQAhE/0MAAAAAAAAAAAAAAAAAAAAACIQIREMAQsgCUGAAiAJQYACSBtBfnEhFEEAIRMgCiEF/QwAAAAAAAAAAAAAAAAAAAAAIhAhEQNAIBEgAiAFKAIAIARsav0AAAAiFSAQ/Q0IAAkACgALAAwADQAOAA8AQQj9iwFBCP2MAf2OASACIAVBBGooAgAgBGxq/QAAACIWIBD9DQgACQAKAAsADAANAA4ADwBBCP2LAUEI/YwB/Y4BIREgECAVIBD9DQAAAQACAAMABAAFAAYABwBBCP2LAUEI/YwB/Y4BIBYgEP0NAAABAAIAAwAEAAUABgAHAEEI/YsBQQj9jAH9jgEhECAFQQhqIQUgFCATQQJqIhNHDQALCyASRQ0AIBEgAiABIAtBAnRqIBNBAnRqKAIAIARsav0AAAAiFSAQ/Q0IAAkACgALAAwADQAOAA8AQQj9iwFBCP2MAf2OASERIBAgFSAQ/Q0AAAEAAgADAAQABQAGAAcAQQj9iwFBCP2MAf2OASEQCyAJQYB+aiEJIApBgAhqIQogCEEBaiEIIA0gECAQ/Q0ICQAACgsAAAwNAAAODwAAQRD9qwFBEP2sAf2uASENIAwgECAQ/Q0AAQAAAgMAAAQFAAAGBwAAQRD9qwFBEP2sAf2uASEMIA8gESAQ/Q0ICQAACgsAAAwNAAAODwAAQRD9qwFBEP2sAf2uASEPIA4gESAQ/Q0AAQAAAgMAAAQFAAAGBwAAQRD9qwFBEP2sAf2uASEOIAMgC0GAAmoiC0oNAAwDCwsgACgCRCELIAEhBSADIRP9DAAAAAAAAAAAAAAAAAAAAAAiDCENIAwhDiAMIQ8DQCALIAUoAgAiFEECdGr9CQIAIhAgAiAUIARsav0AAAAiESAQ/Q0MAAAADQAAAA4AAAAPAAAAQRj9qwFBGP2sAf21ASAP/a4BIQ8gECARIBD9DQgAAAAJAAAACgAAAAsAAABBGP2rAUEY/awB/bUBIA79rgEhDiAQIBEgEP0NBAAAAAUAAAAGAAAABwAAAEEY/asBQRj9rAH9tQEgDf2uASENIBAgESAQ/Q0AAAAAAQAAAAIAAAADAAAAQRj9qwFBGP2sAf21ASAM/a4BIQwgBUEEaiEFIBNBf2oiEw0ADAILC/0MAAAAAAAAAAAAAAAAAAAAACIMIQ0gDCEOIAwhDwsgACgCSCAGQQJ0aiIFIA79CwIgIAUgDf0LAhAgBSAM/QsCACAFQTBqIA/9CwIAIAZBEGoiBiAAKAIIIgRIDQALCwsLiAIBAEGACAuAApgvikKRRDdxz/vAtaXbtelbwlY58RHxWaSCP5LVXhyrmKoH2AFbgxK+hTEkw30MVXRdvnL+sd6Apwbcm3Txm8HBaZvkhke+78adwQ/MoQwkbyzpLaqEdErcqbBc2oj5dlJRPphtxjGoyCcDsMd/Wb/zC+DGR5Gn1VFjygZnKSkUhQq3JzghGy78bSxNEw04U1RzCmW7Cmp2LsnCgYUscpKh6L+iS2YaqHCLS8KjUWzHGeiS0SQGmdaFNQ70cKBqEBbBpBkIbDceTHdIJ7W8sDSzDBw5SqrYTk/KnFvzby5o7oKPdG9jpXgUeMiECALHjPr/vpDrbFCk96P5vvJ4ccY='
let built

export async function load(bytes, most = 2 ** 28) {
    if (!(bytes instanceof ArrayBuffer) && !(bytes instanceof Uint8Array))
        fail('load', '`bytes`', 'a Uint8Array or an ArrayBuffer', say(bytes), TypeError)
    const data = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    built ??= WebAssembly.compile(Uint8Array.from(atob(WASM), c => c.charCodeAt(0)))
    const [head, all] = opened(data), vm = (await WebAssembly.instantiate(await built, {})).exports
    const room = new Room(vm, most)
    sealed(room, data, head.digest)
    const h = headerOf(head), layers = followed(h), tensors = new Tensors(room, all)
    layers.forEach((l, i) => arraysOf(l, i, tensors))
    for (const k of all.keys()) if (!tensors.seen.has(k)) fail('file', 'tensors', `those of ${layers.length} layers`, `also ${say(k)}`)
    for (const l of layers) { l.views(); limits(l) }
    return new Network(room, h, layers, mostSteps(layers, h.steps, Math.max(-h.in_min, h.in_max)))
}
