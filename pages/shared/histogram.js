// A histogram with a threshold: drag it and see at once what it keeps; drag beside it to filter a range.
// Every number shown while dragging was counted by the store beforehand, so it is the number after the release.

const SVG = "http://www.w3.org/2000/svg"
const views = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".histogram")
  if (!root || !data) return
  let view = views.get(root)
  if (!view) {
    view = new View(root)
    views.set(root, view)
  }
  view.commit = setTriggerValue
  view.update(data)
  return () => view.observer.disconnect()
}

const whole = (number) => Math.round(number).toLocaleString("en")
const percent = (part, all) => {
  const share = all ? (100 * part) / all : 0
  const near = (share > 0 && share < 1) || (share > 99 && share < 100)
  return `${share.toFixed(near ? 1 : 0)} %`
}
const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 })

class View {
  constructor(root) {
    this.root = root
    this.svg = root.querySelector("svg")
    this.tip = root.querySelector(".tip")
    this.held = null // "tau", "range", or null
    this.observer = new ResizeObserver(() => this.draw())
    this.observer.observe(root)
    this.svg.onpointerdown = (event) => this.press(event)
    this.svg.onpointermove = (event) => this.move(event)
    this.svg.onpointerup = (event) => this.release(event)
    this.svg.onpointercancel = () => this.letGo()
    this.svg.onpointerleave = () => this.tip.classList.remove("on")
  }

  update(data) {
    this.data = data
    if (this.held) return
    this.tau = data.tau
    this.range = [data.low, data.high]
    this.draw()
  }

  // -- geometry ---------------------------------------------------------------------------------------------------

  layout() {
    const { below, above, edges } = this.data
    this.width = Math.max(240, this.root.clientWidth)
    this.height = this.width < 560 ? 220 : 264
    this.top = 58
    this.bottom = this.height - 42
    this.left = 10 + (below ? 24 : 0)
    this.right = this.width - 10 - (above ? 24 : 0)
    this.low = edges[0]
    this.high = edges[edges.length - 1]
  }

  x(value) {
    if (value < this.low) return this.data.below && value >= this.data.minimum ? this.left - 16 : this.left - 4
    if (value > this.high) return this.data.above && value < this.data.maximum ? this.right + 16 : this.right + 4
    return this.left + ((value - this.low) / (this.high - this.low)) * (this.right - this.left)
  }

  value(x) {
    return this.low + ((x - this.left) / (this.right - this.left)) * (this.high - this.low)
  }

  // -- drawing ----------------------------------------------------------------------------------------------------

  draw() {
    if (!this.data) return
    this.layout()
    const { svg, data } = this
    const focused = this.handle && this.handle.matches(":focus")
    svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`)
    svg.setAttribute("height", this.height)
    svg.replaceChildren()
    this.defs()
    const most = Math.max(1, ...data.counts)
    const y = (count) => this.bottom - Math.min(1.06, count / most) * (this.bottom - this.top - 20)
    this.brush = this.add("rect", { class: "brush", y: this.top - 4, height: this.bottom - this.top + 4 })
    const bars = [...data.counts.keys()].map((i) => [this.x(data.edges[i]), this.x(data.edges[i + 1]), data.counts[i]])
    if (data.below) bars.push([this.left - 22, this.left - 10, data.below])
    if (data.above) bars.push([this.right + 10, this.right + 22, data.above])
    for (const side of ["kept", "pruned"]) {
      const group = this.add("g", { class: `bars ${side}`, "clip-path": `url(#clip-${side})` })
      for (const [index, [from, to, count]] of bars.entries()) {
        const gap = to - from > 4 ? 1 : 0
        const shown = data.filtered && index < data.counts.length ? data.filtered[index] : data.filtered ? 0 : count
        const box = (height, name) =>
          height > 0 &&
          this.add("rect", { class: name, x: from, width: Math.max(1, to - from - gap), y: y(height), height: this.bottom - y(height) }, group)
        if (data.filtered) box(count, "rest")
        box(shown, "bar")
      }
    }
    this.axis()
    this.coming()
    this.drawHandle(focused)
    this.place()
  }

  defs() {
    const defs = this.add("defs")
    const hatch = this.add("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs)
    this.add("rect", { class: "hatch-ground", width: 5, height: 5 }, hatch)
    this.add("rect", { class: "hatch-line", width: 1.6, height: 5 }, hatch)
    for (const side of ["kept", "pruned"]) {
      const clip = this.add("clipPath", { id: `clip-${side}` }, defs)
      this[side] = this.add("rect", { y: 0, height: this.height }, clip)
    }
  }

  axis() {
    this.add("line", { class: "axis", x1: this.left, x2: this.right, y1: this.bottom, y2: this.bottom })
    const span = this.high - this.low
    const rough = span / Math.max(2, (this.right - this.left) / 90)
    const power = 10 ** Math.floor(Math.log10(rough))
    const step = [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= rough)
    for (let tick = Math.ceil(this.low / step) * step; tick <= this.high + step * 1e-6; tick += step) {
      this.add("line", { class: "axis", x1: this.x(tick), x2: this.x(tick), y1: this.bottom, y2: this.bottom + 4 })
      const near = (this.data.below && this.x(tick) < this.left + 34) || (this.data.above && this.x(tick) > this.right - 34)
      if (!near) this.text(short(Number(tick.toFixed(10))), { class: "tick", x: this.x(tick), y: this.bottom + 17, "text-anchor": "middle" })
    }
    this.text(this.data.axis, { class: "title", x: (this.left + this.right) / 2, y: this.height - 6, "text-anchor": "middle" })
    const ends = [[this.data.below, this.left - 16, "lower"], [this.data.above, this.right + 16, "higher"]]
    for (const [count, x, words] of ends) {
      if (count) this.text(words, { class: "tick", x, y: this.bottom + 17, "text-anchor": x < this.left ? "start" : "end", dx: x < this.left ? -6 : 6 })
    }
  }

  coming() {
    let labelled = this.x(this.data.tau)
    for (const [epoch, tau] of this.data.coming) {
      const x = this.x(tau)
      if (tau <= this.low || tau >= this.high || x - labelled < 10) continue
      labelled = x
      this.add("line", { class: "coming", x1: x, x2: x, y1: this.top + 14, y2: this.bottom })
      this.text(String(epoch), { class: "coming-label", x, y: this.top + 10, "text-anchor": "middle" })
    }
  }

  drawHandle(focused) {
    this.handle = this.add("g", { class: "handle", tabindex: 0, role: "slider", "aria-label": "Threshold tau", "aria-orientation": "horizontal" })
    this.add("rect", { class: "reach", x: -16, y: 22, width: 32, height: this.bottom - 22 }, this.handle)
    this.add("line", { class: "tau", y1: 44, y2: this.bottom }, this.handle)
    this.pill = this.add("rect", { class: "pill", y: 24, height: 22, rx: 11 }, this.handle)
    this.label = this.text("", { class: "pill-text", y: 39, "text-anchor": "middle" }, this.handle)
    this.handle.onkeydown = (event) => this.key(event)
    this.below = this.text("", { class: "side pruned-text", x: 2, y: 15 })
    this.above = this.text("", { class: "side kept-text", x: this.width - 2, y: 15, "text-anchor": "end" })
    if (focused) this.handle.focus()
  }

  // Put everything that moves while dragging where it belongs.
  place() {
    const x = this.x(this.tau)
    this.pruned.setAttribute("x", 0)
    this.pruned.setAttribute("width", Math.max(0, x))
    this.kept.setAttribute("x", x)
    this.kept.setAttribute("width", Math.max(0, this.width - x))
    this.handle.setAttribute("transform", `translate(${x} 0)`)
    this.label.textContent = `τ ${short(this.tau)}`
    const half = this.label.textContent.length * 3.7 + 10
    const shift = Math.min(Math.max(0, half - x + 2), 60) - Math.min(Math.max(0, x + half - this.width + 2), 60)
    this.pill.setAttribute("x", shift - half)
    this.pill.setAttribute("width", 2 * half)
    this.label.setAttribute("x", shift)
    const kept = this.count(this.tau)
    const narrow = this.width < 480
    const share = (part) => (narrow ? "" : ` (${percent(part, this.data.total)})`)
    this.below.textContent = `◂ pruned ${whole(this.data.total - kept)}${share(this.data.total - kept)}`
    this.above.textContent = `kept ${whole(kept)}${share(kept)} ▸`
    const slider = { valuemin: this.data.taus[0], valuemax: this.data.taus[this.data.taus.length - 1], valuenow: this.tau }
    for (const [name, value] of Object.entries(slider)) this.handle.setAttribute(`aria-${name}`, value)
    const words = `${short(this.tau)}: keeps ${whole(kept)} of ${whole(this.data.total)} samples`
    this.handle.setAttribute("aria-valuetext", words)
    const [low, high] = this.range
    const on = low !== null || high !== null
    const from = low === null ? this.left - 24 : this.x(low)
    const to = high === null ? this.right + 24 : this.x(high)
    this.brush.setAttribute("x", from)
    this.brush.setAttribute("width", on ? Math.max(1, to - from) : 0)
  }

  count(tau) {
    return tau === this.data.tau ? this.data.now : this.data.kept[this.nearest(tau)]
  }

  nearest(tau) {
    const { taus } = this.data
    const step = (taus[taus.length - 1] - taus[0]) / (taus.length - 1) || 1
    return Math.min(taus.length - 1, Math.max(0, Math.round((tau - taus[0]) / step)))
  }

  // -- hands ------------------------------------------------------------------------------------------------------

  at(event) {
    const box = this.svg.getBoundingClientRect()
    return ((event.clientX - box.left) / box.width) * this.width
  }

  press(event) {
    if (event.button) return
    const x = this.at(event)
    const near = event.pointerType === "touch" ? 24 : 10
    this.held = Math.abs(x - this.x(this.tau)) <= near ? "tau" : "range"
    this.from = x
    this.before = this.range
    this.svg.setPointerCapture(event.pointerId)
    this.tip.classList.remove("on")
    this.root.classList.toggle("dragging", this.held === "tau")
    if (this.held === "tau") this.handle.focus()
  }

  move(event) {
    const x = this.at(event)
    if (this.held === "tau") {
      this.tau = this.data.taus[this.nearest(this.value(x))]
      this.place()
    } else if (this.held === "range" && Math.abs(x - this.from) > 3) {
      const [from, to] = [Math.min(x, this.from), Math.max(x, this.from)]
      this.range = [from < this.left - 4 ? null : this.value(Math.max(from, this.left)), to > this.right + 4 ? null : this.value(Math.min(to, this.right))]
      this.place()
    } else {
      this.root.classList.toggle("near", Math.abs(x - this.x(this.tau)) <= 10)
      this.point(x, event)
    }
  }

  release(event) {
    const held = this.held
    this.held = null
    this.root.classList.remove("dragging")
    if (held === "tau" && this.tau !== this.data.tau) this.commit("tau", this.tau)
    if (held !== "range") return
    if (Math.abs(this.at(event) - this.from) <= 3) this.range = [null, null]
    const [low, high] = this.range.map((value) => value === null ? null : Number(value.toPrecision(4)))
    if (low !== this.before[0] || high !== this.before[1]) this.commit("range", { low, high })
    this.place()
  }

  letGo() {
    this.held = null
    this.root.classList.remove("dragging")
    this.tau = this.data.tau
    this.range = [this.data.low, this.data.high]
    this.place()
  }

  key(event) {
    const { taus } = this.data
    const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -taus.length, End: taus.length }
    const move = moves[event.key]
    if (!move) return
    event.preventDefault()
    event.stopPropagation()
    const at = this.nearest(this.tau)
    // From between two steps, the first press goes to the next step on that side.
    const next = taus[at] !== this.tau && Math.abs(move) === 1 && Math.sign(taus[at] - this.tau) === move ? at : at + move
    this.tau = taus[Math.min(taus.length - 1, Math.max(0, next))]
    this.place()
    clearTimeout(this.wait)
    this.wait = setTimeout(() => this.commit("tau", this.tau), 350)
  }

  point(x, event) {
    const { edges, counts, filtered, below, above, minimum, maximum } = this.data
    let words = ""
    if (x < this.left - 6 && below) words = `${short(minimum)} to ${short(this.low)}: ${whole(below)}`
    else if (x > this.right + 6 && above) words = `${short(this.high)} to ${short(maximum)}: ${whole(above)}`
    else {
      const bin = Math.floor(((x - this.left) / (this.right - this.left)) * counts.length)
      if (bin >= 0 && bin < counts.length) {
        const part = filtered ? `${whole(filtered[bin])} of ${whole(counts[bin])}` : whole(counts[bin])
        words = `${short(edges[bin])} to ${short(edges[bin + 1])}: ${part}`
      }
    }
    this.tip.textContent = words && `${words} samples`
    this.tip.classList.toggle("on", Boolean(words))
    const half = this.tip.offsetWidth / 2
    this.tip.style.left = `${Math.min(this.root.clientWidth - half, Math.max(half, x))}px`
    this.tip.style.top = `${event.clientY - this.svg.getBoundingClientRect().top}px`
  }

  add(name, attributes = {}, parent = this.svg) {
    const element = document.createElementNS(SVG, name)
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
    parent.append(element)
    return element
  }

  text(words, attributes, parent) {
    const element = this.add("text", attributes, parent)
    element.textContent = words
    return element
  }
}
