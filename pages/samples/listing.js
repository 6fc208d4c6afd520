// The ranked list. Texts come as pieces and are set with textContent; a piece that was searched for is marked.

const SVG = "http://www.w3.org/2000/svg"
const COLUMNS = ["#", "", "Kept", "", "Prompt", "Response", "Tokens", "Over epochs"]

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".list")
  if (!root || !data) return
  const head = root.querySelector("thead")
  const body = root.querySelector("tbody")
  const focused = body.querySelector("tr:focus-within")?.dataset.row
  const key = data.rows.map((line) => line.row).join()
  const sparks = data.rows.some((line) => line.spark.length > 1)
  const titles = COLUMNS.map((title, index) => (index === 1 ? data.label : index === 3 ? data.field : title))
  const shown = titles.map((_, index) => (index === 3 ? Boolean(data.field) : index === 7 ? sparks : true))
  const row = make("tr")
  titles.forEach((title, index) => shown[index] && row.append(make("th", `c${index}`, title)))
  head.replaceChildren(row)
  body.replaceChildren(...data.rows.map((line) => draw(line, shown, line.row === data.opened)))
  const border = body.children[data.rows.findIndex((line, i) => i > 0 && line.above !== data.rows[i - 1].above)]
  if (border) {
    border.classList.add("border")
    border.cells[0].append(make("span", "pill", `τ ${data.tau}`))
  }
  if (root.dataset.key !== key) root.scrollTop = border ? border.offsetTop - root.clientHeight / 2 : 0
  root.dataset.key = key // another page begins at its top, or where the threshold is
  const stop = body.querySelector(`tr[data-row="${focused ?? data.opened ?? ""}"]`) ?? body.querySelector("tr")
  if (stop) stop.tabIndex = 0
  if (focused !== undefined && stop?.dataset.row === focused) stop.focus({ preventScroll: true })

  body.onclick = (event) => {
    const line = event.target.closest("tr")
    if (line) setTriggerValue("open", Number(line.dataset.row))
  }
  body.onkeydown = (event) => {
    const line = event.target.closest("tr")
    if (!line) return
    const to = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key]
    if (to) {
      line.tabIndex = -1
      to.tabIndex = 0
      to.focus()
    } else if (event.key === "Enter" || event.key === " ") {
      setTriggerValue("open", Number(line.dataset.row))
    } else return
    event.preventDefault()
    event.stopPropagation()
  }
}

function make(name, className, words) {
  const element = document.createElement(name)
  if (className) element.className = className
  if (words !== undefined) element.textContent = words
  return element
}

function draw(line, shown, opened) {
  const row = make("tr", line.kept ? "kept" : "pruned")
  row.dataset.row = line.row
  row.tabIndex = -1
  row.setAttribute("aria-label", `Open number ${line.rank}, ${line.verdict}`)
  if (opened) row.setAttribute("aria-current", "true")
  const bar = make("div", "bar")
  const fill = make("i")
  fill.style.width = `${100 * line.part}%`
  bar.append(fill)
  const value = make("td", "c1")
  const both = make("div", "both")
  both.append(bar, make("span", "", line.value))
  value.append(both)
  const badge = make("td", "c2")
  badge.append(make("span", "badge", line.verdict))
  const spark = make("td", "c7")
  if (line.spark.length > 1) spark.append(curve(line.spark))
  const cells = [
    make("td", "c0", line.rank.toLocaleString("en")),
    value,
    badge,
    make("td", "c3", line.field),
    text("c4", line.prompt),
    text("c5", line.response),
    make("td", "c6", line.tokens.toLocaleString("en")),
    spark,
  ]
  row.append(...cells.filter((_, index) => shown[index]))
  return row
}

function text(className, pieces) {
  const cell = make("td", className)
  const lines = make("div", "lines")
  for (const [words, hit] of pieces) lines.append(hit ? make("mark", "", words) : words)
  cell.append(lines)
  return cell
}

function curve(values) {
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("viewBox", "0 0 90 26")
  svg.setAttribute("aria-hidden", "true")
  const most = Math.max(1e-12, ...values.filter((value) => value !== null))
  const points = values.map((value, i) => [3 + (84 * i) / (values.length - 1), value === null ? null : 23 - (20 * value) / most])
  const line = document.createElementNS(SVG, "polyline")
  line.setAttribute("points", points.filter(([, y]) => y !== null).map((point) => point.join()).join(" "))
  svg.append(line)
  const [x, y] = points[points.length - 1]
  if (y !== null) {
    const end = document.createElementNS(SVG, "circle")
    for (const [name, value] of Object.entries({ cx: x, cy: y, r: 2.5 })) end.setAttribute(name, value)
    svg.append(end)
  }
  return svg
}
