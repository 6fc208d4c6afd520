"""Charts of how well distilled sets teach. Machine-made is green and filled, real is grey and open, on each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.analysis.evaluations import Result
from engine.analysis.wording import percent
from pages.shared import charts
from pages.shared.escape import escape_plotly

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MADE, ALSO_MADE, ALL = "#00936B", "#B5558B", "#7A68C8"
"""Clear of the blue and the vermilion that mean kept and pruned; the third is what everything real reaches."""


class Style(NamedTuple):
    colour: str
    symbol: str
    dash: str = "solid"


STYLES = {
    "full": Style(ALL, "star", "dot"),
    "embeddings": Style(MADE, "circle"),
    "text_labels": Style(ALSO_MADE, "diamond"),
    "text": Style(ALSO_MADE, "square"),
    "random": Style(charts.QUIET, "circle-open", "dash"),
    "k_center": Style(charts.QUIET, "diamond-open", "dash"),
    "herding": Style(charts.QUIET, "square-open", "dash"),
    "none": Style(charts.QUIET, "x-thin-open", "dash"),
}


def style(method: str) -> Style:
    """Of a method; `merged_text`, `replay_text` and `prompt_text` are drawn as `text` is."""
    for prefix in ("merged_", "replay_", "prompt_"):
        method = method.removeprefix(prefix)
    return STYLES[method]


def accuracies(rows: Sequence[Result], chance: float | None, span: tuple[float, float]) -> go.Figure:
    """Points with intervals, a line for each row, a faint dot for each eval seed; `chance` is a line if it is given."""
    figure = charts.figure(56 + 40 * len(rows), margin={"l": 8, "r": 64, "t": 24 if chance is not None else 8, "b": 8})
    names = [_folded(row.name) for row in rows]
    if chance is not None:
        figure.add_vline(x=chance, line_width=1.5, line_dash="dot", line_color=charts.QUIET)
        figure.add_annotation(
            x=chance, y=1, yref="paper", yanchor="bottom", xanchor="left", showarrow=False, xshift=-4,
            text=f"guessing {percent(chance)}", font={"size": 11},
        )  # fmt: skip
    for row, name in zip(rows, names, strict=True):
        colour, symbol, _ = style(row.method)
        figure.add_scatter(
            x=list(row.values), y=[name] * len(row.values), mode="markers", hoverinfo="skip",
            marker={"color": colour, "size": 6, "opacity": 0.28},
        )  # fmt: skip
        figure.add_scatter(
            x=[row.over.mean], y=[name], mode="markers",
            marker={"color": colour, "size": 13, "symbol": symbol, "line": {"color": colour, "width": 2}},
            error_x=charts.error_bars([row.over], colour, thickness=2.5, width=6),
            hovertemplate=f"{escape_plotly(row.name)}: %{{x:.1%}} ({row.over.seeds} fresh starts)<extra></extra>",
        )  # fmt: skip
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=10, y=name, showarrow=False,
            text=f"<b>{percent(row.over.mean)}</b>",
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=span, nticks=7, fixedrange=True, zeroline=False)
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=names[::-1], fixedrange=True, showgrid=True,
        range=[-0.6, len(rows) - 0.4],
    )  # fmt: skip
    return figure


def span(rows: Iterable[Result], chance: float | None) -> tuple[float, float]:
    """From a little below what is lowest, guessing included, to a little above what is highest."""
    ends = [] if chance is None else [chance]
    for row in rows:
        ends += [value for value in (*row.values, row.over.low, row.over.high) if math.isfinite(value)]
    low, high = max(0.0, min(ends)), min(1.0, max(ends))
    room = 0.05 * max(high - low, 0.02)
    return max(0.0, low - room) if low else -room, high + room


def against(
    lines: Mapping[str, Sequence[tuple[int, Result]]],
    names: Mapping[str, str],
    title: str,
    full: float | None,
    chance: float,
) -> go.Figure:
    """Accuracy against a whole number (inputs per class, inner steps), a line for each method."""
    figure = charts.figure(340, showlegend=True, legend={"orientation": "h", "y": -0.28, "x": 0})
    ticks = sorted({value for points in lines.values() for value, _ in points})
    for place, (method, points) in enumerate(lines.items()):
        colour, symbol, dash = style(method)
        shift = 1.02 ** (place - (len(lines) - 1) / 2)  # side by side, bars readable
        figure.add_scatter(
            x=[value * shift for value, _ in points], y=[result.over.mean for _, result in points], name=names[method],
            mode="lines+markers", line={"color": colour, "dash": dash, "width": 2.5},
            marker={"symbol": symbol, "size": 9, "color": colour},
            error_y=charts.error_bars([result.over for _, result in points], colour),
            customdata=[value for value, _ in points],
            hovertemplate=f"{names[method]}, {title} %{{customdata}}: %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    for value, name in ((full, "all real samples"), (chance, "guessing")):
        if value is not None and ticks:
            figure.add_scatter(
                x=[ticks[0] * 0.93, ticks[-1] * 1.07], y=[value] * 2, mode="lines", hoverinfo="skip",
                name=f"{name}: {percent(value)}",
                line={"color": ALL if name != "guessing" else charts.QUIET, "dash": "dot", "width": 1.5},
            )  # fmt: skip
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks], title=title, showgrid=False,
        fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", nticks=7, fixedrange=True, zeroline=False)
    return figure


def trajectory(curve: pd.DataFrame, at: int, best: int | None, shape: str) -> go.Figure:
    """A curve over outer steps (columns step, value), a line at the step on the screen, a star at the best one."""
    figure = charts.figure(170, margin={"l": 8, "r": 14, "t": 12, "b": 8})
    figure.add_scatter(
        x=curve["step"], y=curve["value"], mode="lines+markers", line={"color": MADE, "width": 2.5},
        marker={"size": 5}, hovertemplate=f"outer step %{{x}}: %{{y:{shape}}}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=at, line_width=1.5, line_color=charts.QUIET)
    for step, symbol, size in ((best, "star", 13), (at, "circle-open", 20)):
        here = curve[curve["step"] == step]
        figure.add_scatter(
            x=here["step"], y=here["value"], mode="markers", hoverinfo="skip", cliponaxis=False,
            marker={"color": MADE, "size": size, "symbol": symbol, "line": {"width": 2, "color": MADE}},
        )  # fmt: skip
    figure.update_xaxes(showgrid=False, fixedrange=True, rangemode="tozero", nticks=6)
    figure.update_yaxes(nticks=4, fixedrange=True, zeroline=False, tickformat=".0%" if "%" in shape else None)
    return figure


def _folded(name: str) -> str:
    """A long name on two lines, so that it leaves room for the chart on a narrow screen."""
    if len(name) <= 18:
        return escape_plotly(name)
    middle = min((place for place, letter in enumerate(name) if letter == " "), key=lambda p: abs(p - len(name) / 2))
    return f"{escape_plotly(name[:middle])}<br>{escape_plotly(name[middle + 1 :])}"
