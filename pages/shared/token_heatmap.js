// Tokens shaded by KL. Everything that comes from a text is set with textContent, so no text can become markup.

const views = new WeakMap()
const percent = (prob) => (prob < 0.005 ? "< 1 %" : `${Math.round(100 * prob)} %`)
const nats = (kl) => (kl < 0.01 ? kl.toExponential(0) : kl.toPrecision(3).replace(/\.?0+$/, ""))

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".heat")
  if (!root || !data) return
  const same = JSON.stringify(data.cells)
  if (views.get(root) === same) return // a redraw of the page must not take away the token one is looking at
  views.set(root, same)
  draw(root, data.cells)
}

function make(name, className, words) {
  const element = document.createElement(name)
  if (className) element.className = className
  if (words !== undefined) element.textContent = words
  return element
}

function draw(root, cells) {
  const text = root.querySelector(".text")
  const panel = root.querySelector(".panel")
  const scored = cells.filter((cell) => typeof cell.kl === "number")
  const most = Math.max(1, ...scored.map((cell) => cell.kl))
  const sum = scored.reduce((total, cell) => total + cell.kl * cell.tokens, 0)
  root.querySelector(".most").textContent = `differ most: ${nats(most)} ${nats(most) === "1" ? "nat" : "nats"}`
  text.replaceChildren()
  const spans = []
  const conversation = cells.some((cell) => cell.turn)
  let chosen = null
  let body = null
  let title = ""

  const choose = (span, focus, asked = true) => {
    panel.classList.toggle("asked", asked)
    if (chosen) {
      chosen.classList.remove("chosen")
      chosen.tabIndex = -1
    }
    chosen = span
    span.classList.add("chosen")
    span.tabIndex = 0
    if (focus) span.focus({ preventScroll: false })
    describe(panel, span.cell, sum)
  }

  for (const cell of cells) {
    const span = make("span", "token", cell.text)
    span.cell = cell
    if (cell.mark) span.classList.add("mark")
    if (typeof cell.kl === "number") {
      const heat = Math.max(0, cell.kl) / most
      span.style.setProperty("--heat", `${Math.round(70 * heat)}%`)
      span.style.setProperty("--line", `${Math.round(4 * heat)}px`)
    }
    if (cell.teacher) {
      span.tabIndex = -1
      span.onpointerenter = () => choose(span, false)
      span.onclick = () => choose(span, true)
      span.onfocus = () => span !== chosen && choose(span, false)
      span.onkeydown = (event) => step(event)
      spans.push(span)
    }
    const begins = conversation ? cell.turn : title !== ["Prompt", "Response"][cell.part]
    if (begins || !body) {
      title = conversation ? cell.turn : ["Prompt", "Response"][cell.part]
      body = section(text, title)
    }
    body.append(span)
  }

  const step = (event) => {
    const at = spans.indexOf(chosen)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + 10, ArrowUp: at - 10, Home: 0, End: spans.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    event.stopPropagation() // the arrow keys of the drawer turn to the next sample
    choose(spans[Math.min(spans.length - 1, Math.max(0, to))], true)
  }

  const hottest = spans.reduce((best, span) => ((span.cell.kl ?? -1) > (best?.cell.kl ?? -1) ? span : best), null)
  if (hottest) choose(hottest, false, false)
}

function section(text, title) {
  const part = make("section")
  const body = make("div", "tokens")
  body.setAttribute("role", "group")
  body.setAttribute("aria-label", `${title}, token by token; arrow keys move`)
  part.append(make("h4", "", title), body)
  text.append(part)
  return body
}

function describe(panel, cell, sum) {
  const head = make("div", "head")
  head.append(make("b", "", cell.name))
  const share = sum > 0 && typeof cell.kl === "number" ? Math.round((100 * cell.kl * cell.tokens) / sum) : 0
  const part = share >= 1 ? `, ${share} % of the whole text's` : ""
  const over = cell.tokens > 1 ? ` on average over its ${cell.tokens} tokens` : ""
  head.append(make("span", "", typeof cell.kl === "number" ? `KL ${nats(cell.kl)} nats${over}${part}` : "NaN here"))
  const lists = make("div", "lists")
  for (const [title, tops] of [["Teacher expects", cell.teacher], ["Student expects", cell.student]]) {
    const list = make("div", "list")
    list.append(make("h5", "", title + cell.which))
    for (const [name, prob, actual] of tops) {
      const row = make("div", actual ? "row actual" : "row")
      const bar = make("i")
      bar.style.width = `${Math.max(1, 100 * prob)}%`
      row.append(bar, make("span", "name", name), make("span", "prob", percent(prob)))
      if (actual) row.title = "the token of the text"
      list.append(row)
    }
    if (cell.known && !tops.some(([, , actual]) => actual)) list.append(make("div", "none", "the token of the text is not among these"))
    lists.append(list)
  }
  panel.replaceChildren(head, lists)
}
