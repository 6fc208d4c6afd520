// Distilled inputs: texts token by token, or pictures. Everything that comes from data is set with textContent, so no
// text can become markup; a picture is a PNG in a data address.

const views = new WeakMap()
const signed = (value) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(2)
const FIRST = 3 // inputs of a class that are open from the start
const MANY = 6 // classes: more of them are drawn as columns instead of rows

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".distilled")
  if (!root || !data) return
  const same = JSON.stringify(data)
  if (views.get(root) === same) return // a redraw of the page must not take away the token one is looking at
  views.set(root, same)
  const tip = make("div", "tip")
  tip.popover = "manual"
  tip.setAttribute("role", "status")
  root.className = `distilled ${data.style}`
  root.replaceChildren(...data.classes.map((group) => section(group, data, tip)), tip)
}

function make(name, className, words) {
  const element = document.createElement(name)
  if (className) element.className = className
  if (words !== undefined) element.textContent = words
  return element
}

function section(group, data, tip) {
  const part = make("section")
  const head = make("h4")
  head.append(make("span", "name", group.name))
  if (data.badge) head.append(make("span", "badge", data.badge))
  const cards = make("div", "cards")
  const [first, rest] = [group.cards.slice(0, FIRST), group.cards.slice(FIRST)]
  cards.append(...first.map((card) => drawn(card, data, tip)))
  part.append(head, cards)
  if (rest.length) {
    const more = make("details")
    const inside = make("div", "cards")
    inside.append(...rest.map((card) => drawn(card, data, tip)))
    more.append(make("summary", "", `${rest.length} more of this class`), inside)
    part.append(more)
  }
  return part
}

function drawn(card, data, tip) {
  const element = make("article", card.near.length || card.started ? "card wide" : "card")
  const own = make("div", "own")
  if (card.image) own.append(picture(card.image, "large", `Learned picture of ${card.name}`))
  if (card.tokens.length) own.append(text(card.tokens, tip))
  else if (card.text) own.append(make("div", "tokens", card.text))
  if (card.changed) own.append(make("div", card.unchanged ? "changed warn" : "changed", card.changed))
  if (card.labels.length) own.append(label(card.labels, data))
  element.append(own)
  if (card.near.length || card.started) element.append(beside(card))
  return element
}

function picture(png, className, words) {
  const image = make("img", className)
  image.alt = words
  image.src = `data:image/png;base64,${png}`
  return image
}

function text(tokens, tip) {
  const body = make("div", "tokens")
  body.setAttribute("role", "group")
  body.setAttribute("aria-label", "Decoded text, token by token; arrow keys move")
  const spans = []
  for (const token of tokens) {
    if (token.space) body.append(" ")
    const span = make("span", "token", token.text)
    span.style.setProperty("--near", token.strength)
    span.tabIndex = spans.length ? -1 : 0
    const show = () => tell(tip, span, token)
    const hide = () => tip.matches(":popover-open") && tip.hidePopover()
    span.onpointerenter = show
    span.onfocus = show
    span.onclick = show
    span.onpointerleave = hide
    span.onblur = hide
    span.onkeydown = (event) => {
      if (event.key === "Escape") return hide()
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
      const next = step && spans[spans.indexOf(span) + step]
      if (!next) return
      event.preventDefault()
      span.tabIndex = -1
      next.tabIndex = 0
      next.focus()
    }
    spans.push(span)
    body.append(span)
  }
  return body
}

function tell(tip, span, token) {
  const list = make("div", "list")
  token.near.forEach(([name, value, width], place) => {
    const row = make("div", place ? "row" : "row read")
    const bar = make("i")
    bar.style.width = `${width}%`
    row.append(bar, make("span", "name", name), make("span", "value", signed(value)))
    list.append(row)
  })
  const began = make("div", "began")
  if (token.same) began.textContent = "the token it started from"
  else began.append("started from ", make("b", "", token.start))
  tip.replaceChildren(make("h5", "", "nearest tokens"), list, began)
  if (!tip.matches(":popover-open")) tip.showPopover()
  const at = span.getBoundingClientRect()
  const size = tip.getBoundingClientRect()
  const below = at.bottom + 6 + size.height < innerHeight
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`
  tip.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)}px`
}

function label(labels, data) {
  const part = make("div", "label")
  part.append(make("h5", "", data.labels))
  const most = data.most || 1
  const negative = data.negative
  if (labels.length > MANY) {
    const columns = make("div", negative ? "columns signed" : "columns")
    for (const [name, value] of labels) {
      const column = make("div", "column")
      column.title = `${name}: ${signed(value)}`
      const bar = make("i", value < 0 ? "minus" : "")
      bar.style.setProperty("--size", `${(100 * Math.abs(value)) / most}%`)
      const room = make("div", "room")
      room.append(bar)
      column.append(room, make("span", "", name))
      columns.append(column)
    }
    part.append(columns)
    return part
  }
  for (const [name, value] of labels) {
    const row = make("div", negative ? "bar signed" : "bar")
    const room = make("div", "room")
    const bar = make("i", value < 0 ? "minus" : "")
    bar.style.setProperty("--size", `${(100 * Math.abs(value)) / most}%`)
    room.append(bar)
    row.append(make("span", "name", name), room, make("span", "value", signed(value)))
    part.append(row)
  }
  return part
}

function beside(card) {
  const part = make("div", "beside")
  if (card.started) {
    const figure = make("figure")
    figure.append(picture(card.started, "small", "What it started from"), make("figcaption", "", "start"))
    part.append(figure)
  }
  if (card.near.length && !card.image) part.append(make("h5", "", "nearest real samples"))
  for (const near of card.near) {
    if (near.image) {
      const figure = make("figure")
      figure.append(picture(near.image, "small", `Real sample ${near.row}`))
      figure.append(make("figcaption", "", `real ${signed(near.value)}`))
      part.append(figure)
    } else {
      const row = make("div", "real")
      row.append(make("span", "value", signed(near.value)), make("span", "words", near.words))
      part.append(row)
    }
  }
  return part
}
