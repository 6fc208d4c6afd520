"use strict"
// Draws the figures in the colours of the page, again whenever those change, and in those of paper for printing.
const figures = JSON.parse(document.getElementById("figures").textContent)
const places = [...document.querySelectorAll(".chart")]
const axes = (layout) => Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))

function colours(layout) {
  const style = getComputedStyle(document.documentElement)
  const text = style.getPropertyValue("--text").trim()
  const line = style.getPropertyValue("--line").trim()
  const change = {
    "font.color": text,
    "font.family": getComputedStyle(document.body).fontFamily,
    "font.size": 13,
    "hoverlabel.bgcolor": style.getPropertyValue("--soft").trim(),
    "hoverlabel.font.color": text,
    "hoverlabel.bordercolor": line,
  }
  for (const axis of axes(layout)) {
    change[`${axis}.gridcolor`] = line
    change[`${axis}.zerolinecolor`] = line
    change[`${axis}.linecolor`] = line
    change[`${axis}.automargin`] = true
    change[`${axis}.title.font.size`] = 13
    if (axis.startsWith("x") && layout[axis].showgrid === undefined) change[`${axis}.showgrid`] = false
  }
  return change
}

const recolour = () => places.forEach((place, at) => Plotly.relayout(place, colours(figures[at].layout)))

async function draw() {
  for (const [at, place] of places.entries()) {
    const { data, layout } = figures[at]
    await Plotly.newPlot(place, data, layout, { displayModeBar: false, responsive: true })
    await Plotly.relayout(place, colours(layout))
  }
  document.documentElement.dataset.drawn = "yes"
}

draw()
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour)
matchMedia("print").addEventListener("change", () => {
  recolour()
  places.forEach((place) => Plotly.Plots.resize(place))
})
