"""The heat map of a grid: accuracy by fraction kept and weight of the teacher, best weights joined, tiles to click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from engine.analysis.intervals import Interval
from engine.analysis.kd_cells import Cells
from engine.analysis.wording import percent
from engine.common import formats
from engine.config.grid import Point
from pages.shared import charts

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEAT = [[0.0, "#2F3B4C"], [0.35, "#4A6A80"], [0.7, "#6FA79C"], [1.0, "#E9E3A6"]]
"""From dark to light, distinguishable by lightness alone."""
HATCH = {"size": 9, "solidity": 0.12, "fillmode": "replace"}
CLEAR, FAINT = "rgba(0,0,0,0)", "rgba(138,143,150,0.14)"
HERE = "#B5558B"
KEY = "kd_map"


def draw(cells: Cells, score: str, teacher: str, noise: float, here: Point) -> go.Figure:
    """Accuracy on the test set by fraction and weight, the best weight on valid joined, missing cells hatched.

    Every tile is a bar, so that one can be chosen by a click; its customdata begins with fraction and weight.
    """
    points = [Point(score, f, w, teacher, noise) for f in cells.fractions for w in cells.weights]
    found = {point: cells.accuracy(point) for point in points}
    numbers = [over.mean for over in found.values() if over.seeds]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    figure = charts.figure(96 + 44 * len(cells.weights), barmode="overlay", clickmode="event+select")
    x, y = cells.fractions.index, cells.weights.index
    for kind in ("done", "ahead", "missing"):
        tiles = [point for point in points if _kind(cells, point, found[point]) == kind]
        marker: dict[str, Any] = {"color": FAINT, "line": {"width": 1, "color": charts.QUIET}}
        if done := kind == "done":
            marker = {"color": [found[p].mean for p in tiles], "colorscale": HEAT, "cmin": low, "cmax": high}
        elif kind == "missing":
            marker |= {"color": CLEAR, "pattern": {"shape": "/", "fgcolor": charts.QUIET, **HATCH}}
        figure.add_bar(
            x=[x(point.fraction) for point in tiles], base=[y(point.kd_weight) - 0.46 for point in tiles],
            y=[0.92] * len(tiles), width=0.94, marker=marker, cliponaxis=False,
            customdata=[[p.fraction, p.kd_weight, _hover(cells, p, found[p])] for p in tiles],
            hovertemplate="%{customdata[2]}<extra></extra>",
            selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
        )  # fmt: skip
        figure.layout.annotations += tuple(
            {
                "x": x(point.fraction), "y": y(point.kd_weight), "showarrow": False, "captureevents": False,
                "text": _tile(cells, point, found[point]),
                "font": {"color": _ink((found[point].mean - low) / ((high - low) or 1.0))} if done else {},
            }
            for point in tiles
        )  # fmt: skip
    ridge = cells.ridge(score, teacher, noise)
    # Beside the number, not on it: the ridge goes along the upper left corners of the tiles.
    figure.add_scatter(
        x=[x(f) - 0.33 for f in ridge], y=[y(weight) + 0.27 for weight in ridge.values()], mode="lines+markers",
        line={"color": "#FFFFFF", "width": 2}, hoverinfo="skip",
        marker={"symbol": "star", "size": 13, "color": "#FFFFFF", "line": {"width": 1, "color": "#22282E"}},
    )  # fmt: skip
    figure.add_shape(
        type="rect", x0=x(here.fraction) - 0.48, x1=x(here.fraction) + 0.48, y0=y(here.kd_weight) - 0.48,
        y1=y(here.kd_weight) + 0.48, line={"width": 4, "color": HERE},
    )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(cells.fractions))), ticktext=[percent(f) for f in cells.fractions], showgrid=False,
        title="share of the data kept", range=[-0.52, len(cells.fractions) - 0.48], zeroline=False, fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(cells.weights))), ticktext=[f"{weight:g}" for weight in cells.weights], showgrid=False,
        title="weight of the teacher", range=[-0.52, len(cells.weights) - 0.48], zeroline=False, fixedrange=True,
    )  # fmt: skip
    return figure


def _kind(cells: Cells, point: Point, found: Interval) -> str:
    """How a tile is drawn: with a number, faintly with a word, or hatched."""
    return "done" if found.seeds else "missing" if cells.state(point) == "missing" else "ahead"


def _tile(cells: Cells, point: Point, found: Interval) -> str:
    if found.seeds:
        return cells.measure.value(found.mean).removesuffix(" %") + ("" if found.seeds == len(cells.seeds) else " …")
    return {"failed": "failed", "coming": "…"}.get(cells.state(point), "")


def _hover(cells: Cells, point: Point, found: Interval) -> str:
    at = f"{percent(point.fraction)} kept, teacher weight {point.kd_weight:g}"
    if found.seeds:
        return f"{at}: {cells.measure.right(found.mean)}<br>{formats.count(found.seeds, 'seed')} of {len(cells.seeds)}"
    return f"{at}: {'still to come' if cells.state(point) == 'coming' else cells.state(point)}"


def _ink(part: float) -> str:
    return "#15191D" if part > 0.6 else "#FFFFFF"


def clicked(cells: Cells) -> tuple[float, float] | None:
    """Fraction and weight of the tile that was just chosen; None if none was, or it is not on this map."""
    points = st.session_state[KEY].selection.points
    if not points:
        return None
    fraction, weight = points[0]["customdata"][:2]
    return (fraction, weight) if fraction in cells.fractions and weight in cells.weights else None
