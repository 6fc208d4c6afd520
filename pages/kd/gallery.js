// What a score keeps and prunes. Labels and texts are set with textContent; a picture is a PNG in a data address.

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery")
  if (!root || !data) return
  const focused = root.querySelector("button:focus-visible")?.dataset.row
  root.replaceChildren(...data.groups.map((group) => draw(group, data.opened)))
  if (focused !== undefined) root.querySelector(`button[data-row="${focused}"]`)?.focus({ preventScroll: true })
  root.onclick = (event) => {
    const card = event.target.closest("button")
    if (card) setTriggerValue("open", Number(card.dataset.row))
  }
}

function make(name, className, words) {
  const element = document.createElement(name)
  if (className) element.className = className
  if (words !== undefined) element.textContent = words
  return element
}

function draw(group, opened) {
  const section = make("section", group.kept ? "kept" : "pruned")
  const title = make("h4")
  title.append(make("i"), group.title)
  const cards = make("div", group.cards.some((card) => card.words) ? "cards text" : "cards")
  cards.append(...group.cards.map((card) => button(card, opened)))
  section.append(title, cards)
  return section
}

function button(card, opened) {
  const element = make("button")
  element.type = "button"
  element.dataset.row = card.row
  element.setAttribute("aria-label", `Open sample ${card.row}, ${card.label}`)
  if (card.row === opened) element.setAttribute("aria-current", "true")
  if (card.image) {
    const image = make("img")
    image.alt = ""
    image.src = `data:image/png;base64,${card.image}`
    element.append(image)
  }
  if (card.words) element.append(make("span", "words", card.words))
  element.append(make("span", "label", card.label))
  return element
}
