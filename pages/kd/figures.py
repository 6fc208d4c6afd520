"""Charts of a grid of students. A score has a colour, a symbol and its name; a teacher a line and a size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from engine.analysis.intervals import Interval
from engine.analysis.kd_cells import Cells
from engine.analysis.wording import Measure, percent
from engine.config.grid import PRUNING_SCORES, Point
from pages.shared import charts
from pages.shared.escape import escape_plotly

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Clear of the blue and the vermilion that mean kept and pruned. Seventeen scores need symbols more than colours.
COLOURS = ("#00936B", "#B5558B", "#AD7B00", "#7A68C8", "#2E9FB0", "#A0624A")
SYMBOLS = (
    "circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x", "pentagon", "star", "hexagon",
    "hourglass", "bowtie", "triangle-left", "triangle-right", "star-square", "diamond-tall", "hexagram",
)  # fmt: skip
HEIGHT = 420


def style(cells: Cells, score: str) -> tuple[str, str]:
    """Colour and symbol of a score, the same on every chart of a run; six scores have six colours."""
    return COLOURS[cells.scores.index(score) % len(COLOURS)], SYMBOLS[list(PRUNING_SCORES).index(score)]


def curves(cells: Cells, scores: Sequence[str], front: str, teacher: str, noise: float) -> go.Figure:
    """Accuracy against the fraction kept: solid with the teacher at the weight chosen on valid, dashed without."""
    figure = charts.figure(HEIGHT, showlegend=True, legend={"orientation": "h", "y": -0.2, "x": 0})
    shown: list[float] = []
    ends: list[float] = []
    for place, score in enumerate(sorted(scores, key=lambda score: score == front)):
        colour, symbol = style(cells, score)
        width = 3.5 if score == front else 1.8
        for dash, opacity, points in (
            ("dash", 0.75, cells.curve(score, "", noise)),
            ("solid", 1.0, cells.curve(score, teacher, noise)),
        ):
            solid = dash == "solid"
            found = [(point, cells.accuracy(point)) for point in points]
            x, y = [point.fraction for point, _ in found], [over.mean for _, over in found]
            shown += y
            ends += [end for _, over in found for end in (over.low, over.high)]
            figure.add_scatter(
                x=[value * 1.018 ** (place - (len(scores) - 1) / 2) for value in x],  # side by side, bars readable
                y=y, name=PRUNING_SCORES[score], legendgroup=score, showlegend=solid, opacity=opacity,
                mode="lines+markers", line={"color": colour, "dash": dash, "width": width},
                marker={"symbol": symbol if solid else f"{symbol}-open", "size": 9 if solid else 7, "color": colour},
                error_y=charts.error_bars([over for _, over in found], colour),
                customdata=[[percent(point.fraction), point.kd_weight, over.seeds] for point, over in found],
                hovertemplate=f"{PRUNING_SCORES[score]}, %{{customdata[0]}} kept: %{{y:{cells.measure.fine}}}<br>"
                + ("teacher weight %{customdata[1]}" if solid else "no teacher")
                + ", %{customdata[2]} seeds<extra></extra>",
            )  # fmt: skip
    full = cells.accuracy(Point("", 1.0, 0.0, "", noise))
    if full.seeds:
        shown.append(full.mean)
        figure.add_scatter(
            x=[0.97 * cells.fractions[0], 1.03], y=[full.mean] * 2, mode="lines", hoverinfo="skip",
            name=f"all of the data, no teacher: {cells.measure.value(full.mean)}",
            line={"color": charts.QUIET, "dash": "dot", "width": 1.5},
        )  # fmt: skip
    _fractions(figure, cells.fractions)
    return _values(figure, shown, cells.measure, ends)


def teachers(cells: Cells, score: str, noise: float, sizes: dict[str, float]) -> go.Figure:
    """Accuracy against the fraction for each teacher; a marker is the larger, the more parameters its teacher has."""
    figure = charts.figure(340, showlegend=True, legend={"orientation": "h", "y": -0.25, "x": 0})
    shown: list[float] = []
    lines = [(name, cells.curve(score, name, noise)) for name in cells.teachers]
    lines.append(("no teacher", cells.curve(score, "", noise)))
    for place, (name, points) in enumerate(lines):
        found = [cells.accuracy(point) for point in points]
        without = place == len(cells.teachers)
        colour = charts.QUIET if without else COLOURS[place % len(COLOURS)]
        shown += [over.mean for over in found]
        figure.add_scatter(
            x=[point.fraction for point in points], y=[over.mean for over in found], name=escape_plotly(name),
            mode="lines+markers", line={"color": colour, "dash": "dash" if without else "solid", "width": 2.5},
            marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "color": colour, "size": _size(sizes, name)},
            error_y=charts.error_bars(found, colour), customdata=[[percent(p.fraction), p.kd_weight] for p in points],
            hovertemplate=f"{escape_plotly(name)}, %{{customdata[0]}} kept: %{{y:{cells.measure.fine}}}"
            "<br>weight %{customdata[1]}<extra></extra>",
        )  # fmt: skip
    _fractions(figure, cells.fractions)
    return _values(figure, shown, cells.measure)


def _size(sizes: dict[str, float], name: str) -> float:
    """Pixels: 8 for the smallest teacher, 20 for the largest, by the logarithm of their parameters."""
    known = [math.log(value) for value in sizes.values() if value > 0]
    if name not in sizes or sizes[name] <= 0:
        return 7
    low, high = min(known), max(known)
    return 8 + 12 * ((math.log(sizes[name]) - low) / (high - low) if high > low else 0.5)


def noisy(cells: Cells, score: str, fraction: float, teacher: str) -> go.Figure:
    """Accuracy against the share of flipped labels, with and without the teacher."""
    figure = charts.figure(320, showlegend=True, legend={"orientation": "h", "y": -0.25, "x": 0})
    shown: list[float] = []
    for name, dash, colour, symbol in (
        ("with the teacher", "solid", COLOURS[0], "circle"),
        ("no teacher", "dash", charts.QUIET, "square-open"),
    ):
        found: list[tuple[float, Interval]] = []
        for noise in cells.noises:
            weight = 0.0 if dash == "dash" else cells.best(score, fraction, teacher, noise, with_teacher=True)
            over = None if weight is None else cells.accuracy(Point(score, fraction, weight, teacher, noise))
            if over is not None and over.seeds:
                found.append((noise, over))
        shown += [over.mean for _, over in found]
        figure.add_scatter(
            x=[noise for noise, _ in found], y=[over.mean for _, over in found], name=name, mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 10, "color": colour},
            error_y=charts.error_bars([over for _, over in found], colour),
            hovertemplate=f"{name}, %{{x:.0%}} flipped: %{{y:{cells.measure.fine}}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(
        title="share of labels flipped", tickformat=".0%", tickvals=cells.noises, showgrid=False, fixedrange=True
    )
    return _values(figure, shown, cells.measure)


def flipped(shares: dict[str, float], everywhere: float) -> go.Figure:
    """For each score, the share of what it keeps that carries a flipped label; `everywhere` is that of all the data."""
    names = sorted(shares, key=lambda score: shares[score])
    figure = charts.figure(70 + 30 * len(names), bargap=0.4, margin={"l": 8, "r": 56, "t": 26, "b": 8})
    figure.add_bar(
        y=[PRUNING_SCORES[score] for score in names], x=[shares[score] for score in names], orientation="h",
        marker={"color": charts.PRUNED, "pattern": charts.HATCH}, texttemplate="%{x:.0%}", textposition="outside",
        cliponaxis=False, hovertemplate="%{y}: %{x:.1%} of what it keeps has a wrong label<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=everywhere, line_width=1.5, line_dash="dot", line_color=charts.QUIET)
    figure.add_annotation(
        x=everywhere, y=1, yref="paper", yanchor="bottom", showarrow=False, text=f"in all the data {everywhere:.0%}"
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", fixedrange=True, showgrid=False)
    figure.update_yaxes(fixedrange=True)
    return figure


def _fractions(figure: go.Figure, fractions: Sequence[float]) -> None:
    figure.update_xaxes(
        type="log", tickvals=list(fractions), ticktext=[percent(fraction) for fraction in fractions], showgrid=False,
        title="share of the data kept", fixedrange=True,
    )  # fmt: skip


def _values(figure: go.Figure, shown: Iterable[float], measure: Measure, ends: Iterable[float] = ()) -> go.Figure:
    """Room for every curve, and for the `ends` of intervals as far as they do not make the curves flat.

    An interval over two or three seeds can be far wider than the curves; it may leave the picture, they may not.
    """
    finite = [value for value in shown if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    spread = high - low
    reached = [min(max(end, low - spread), high + spread) for end in ends if math.isfinite(end)]
    low, high = min([low, *reached]), max([high, *reached])
    room = max(0.1 * (high - low), 0.01)
    figure.update_yaxes(
        title=measure.title, tickformat=measure.tick, range=[low - room, high + room], nticks=7, fixedrange=True
    )
    return figure
