// What can be seen of a page: names, pictures, colours, and what sticks out
() => {
  const parse = c => { const m = c.match(/rgba?\(([^)]+)\)/); if (!m) return null; const v = m[1].split(/[ ,\/]+/).map(Number); return [v[0], v[1], v[2], v.length > 3 ? v[3] : 1] }
  const light = c => { const f = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4); return .2126*f[0] + .7152*f[1] + .0722*f[2] }
  const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1-a[3])).concat([1])
  const paper = e => {
    const layers = []
    for (let p = e; p; p = p.parentElement) { const c = parse(getComputedStyle(p).backgroundColor); if (c && c[3] > 0) { layers.push(c); if (c[3] === 1) break } }
    return layers.reverse().reduce((b, c) => over(c, b), [255, 255, 255, 1])
  }
  const scrolls = e => { for (let p = e.parentElement; p; p = p.parentElement) if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return true; return false }
  const faint = {}, texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) { // WCAG 2.1, 1.4.3: 4.5 to 1, and 3 to 1 for large text
    const text = texts.currentNode.textContent.trim(), e = texts.currentNode.parentElement
    if (!text || e.closest('script, style, noscript, svg, .katex-mathml, [aria-hidden=true]')) continue
    const s = getComputedStyle(e), r = e.getBoundingClientRect()
    let shown = 1
    for (let p = e; p; p = p.parentElement) shown *= +getComputedStyle(p).opacity
    if (s.visibility === 'hidden' || r.width < 2 || r.height < 2 || shown < .1) continue
    const b = paper(e), c = parse(s.color)
    const f = over([c[0], c[1], c[2], c[3]*shown], b), x = light(f), y = light(b), ratio = (Math.max(x, y)+.05)/(Math.min(x, y)+.05)
    const size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && +s.fontWeight >= 700)
    if (ratio < (large ? 3 : 4.5)-.01) faint[`${e.tagName}.${e.className} ${s.color} on ${b.slice(0, 3).map(Math.round)}`] = `${ratio.toFixed(2)} to 1: "${text.slice(0, 30)}"`
  }
  const here = location.pathname.replace(/\/[^/]*$/, '/'), wide = document.documentElement.clientWidth
  return {
    title: document.title, lang: document.documentElement.lang, viewport: !!document.querySelector('meta[name=viewport]'),
    description: (document.querySelector('meta[name=description]') || {}).content || '', headings: document.querySelectorAll('h1').length,
    width: document.scrollingElement.scrollWidth, inner: innerWidth,
    outside: [...document.querySelectorAll('main *')].filter(e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.right > wide+1 && !scrolls(e) }).slice(0, 3).map(e => `outside: ${e.tagName}.${e.className}`),
    unnamed: [...document.querySelectorAll('main img')].filter(i => !i.alt || /^(png|svg|image)$|\.(png|gif|svg)$/.test(i.alt)).map(i => `no name: picture ${i.src.slice(0, 40)}`),
    faint: Object.entries(faint).map(([k, v]) => `faint: ${k} ${v}`),
    mathematics: [...document.querySelectorAll('.katex-error')].map(e => `mathematics: ${e.textContent}`),
    names: [...document.querySelectorAll('[id], a[name]')].map(e => e.id || e.name),
    links: [...document.querySelectorAll('main a[href], #quarto-sidebar a[href], .page-navigation a[href]')].filter(a => a.origin === location.origin && !/\.(ipynb|md|txt|xml)$/.test(a.pathname)).map(a => decodeURIComponent(a.pathname.slice(1) || 'index.html') + decodeURIComponent(a.hash)),
  }
}
