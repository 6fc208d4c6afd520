"""Charts of the arms of a dynamic-pruning run. Arms differ in colour, line, marker and label, never in colour alone.

Their colours stay clear of the blue and the vermillion that mean kept and pruned everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from engine.analysis import pruning
from engine.analysis.intervals import Interval, interval
from pages.shared import charts

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 290
LABELS = 96  # pixels at the right for the names of the arms


@dataclass(frozen=True)
class Style:
    name: str
    colour: str
    dash: str
    marker: str
    sign: str  # the marker as a character, for labels

    @property
    def label(self) -> str:
        return f"{self.sign} {self.name}"


STYLES = {
    "dynamic": Style("dynamic", "#00936B", "solid", "circle", "●"),
    "random": Style("random", "#B5558B", "dot", "diamond", "◆"),
    "full": Style("everything", charts.QUIET, "dash", "square", "■"),
    "static": Style("static", "#AD7B00", "dashdot", "triangle-up", "▲"),
}
TITLES = {
    "perplexity": "Perplexity",
    "loss": "Validation loss",
    "accuracy": "Token accuracy",
    "gap": "Train minus validation loss",
}


def curves(table: pd.DataFrame, column: str, against: str = "epoch", height: int = HEIGHT) -> go.Figure:
    """Each arm's mean over seeds with its 95 % band, against epochs, tokens read or seconds."""
    shape = {"perplexity": ".2f", "accuracy": ".1%"}.get(column, ".3f")
    means = pruning.bands(table, column, against)
    figure = charts.figure(height, margin={"l": 8, "r": LABELS, "t": 12, "b": 8})
    for arm, style in STYLES.items():
        of_arm = means[means["arm"] == arm]
        if of_arm.empty:
            continue
        banded = of_arm.dropna(subset=["low", "high"])
        figure.add_scatter(
            x=[*banded["x"], *banded["x"][::-1]],
            y=[*banded["high"], *banded["low"][::-1]],
            mode="lines",
            fill="toself",
            fillcolor=_faint(style.colour),
            line={"width": 0},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=of_arm["x"],
            y=of_arm["mean"],
            mode="lines+markers",
            name=style.name,
            line={"color": style.colour, "dash": style.dash, "width": 3 if arm == "dynamic" else 2},
            marker={"symbol": style.marker, "size": [0] * (len(of_arm) - 1) + [9], "color": style.colour, "opacity": 1},
            customdata=of_arm[["epoch", "seeds"]],
            hovertemplate=f"{style.name}: %{{y:{shape}}}<br>epoch %{{customdata[0]}}, %{{customdata[1]}} seeds"
            "<extra></extra>",
        )
    # A band over two or three seeds can be far wider than the curves; it may leave the picture, the curves may not.
    low, high = _span(table[column])
    figure.update_yaxes(
        range=[low, high],
        tickformat=(".0%" if high - low > 0.05 else ".1%") if column == "accuracy" else None,
        nticks=6,
        fixedrange=True,
    )
    figure.update_xaxes(title=pruning.AXES[against], rangemode="tozero", showgrid=False, fixedrange=True)
    if against == "epoch":
        figure.update_xaxes(dtick=max(1, math.ceil(table["epoch"].max() / 8)))
    return _label_ends(figure, means, low, high, height)


def _label_ends(figure: go.Figure, means: pd.DataFrame, low: float, high: float, height: int) -> go.Figure:
    """Name every arm in the right margin at the height where it ends, moved apart where names would overlap."""
    last = means.loc[means.groupby("arm")["epoch"].idxmax()].set_index("arm")["mean"]
    names = sorted((arm for arm in STYLES if arm in last), key=lambda arm: last[arm])
    gap = (high - low) * 17 / (height - 64)
    for arm, place in zip(names, spread([last[arm] for arm in names], gap, low, high), strict=True):
        style = STYLES[arm]
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=place, yanchor="middle", showarrow=False, align="left",
            text=_name(style),
        )  # fmt: skip
    return figure


def spread(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places moved as little as a sweep can so that neighbours are `gap` apart and all lie in the range."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + gap if moved else low))
    ceiling = high
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def forest(last: pd.DataFrame, column: str = "perplexity") -> go.Figure:
    """Dynamic pruning minus each other arm at the end: every seed as a ring, the mean with its 95 % interval."""
    others = [arm for arm in ("random", "full", "static") if len(pruning.differences(last, column, "dynamic", arm))]
    figure, names, reach = charts.figure(60 + 62 * len(others)), [], 0.0
    for place, arm in enumerate(reversed(others)):
        style, values = STYLES[arm], pruning.differences(last, column, "dynamic", arm)
        found = interval(values)
        reach = max(reach, values.abs().max(), *(abs(edge) for edge in (found.low, found.high) if edge == edge))
        figure.add_scatter(
            x=values, y=[place] * len(values), mode="markers", customdata=values.index,
            marker={"symbol": "circle-open", "size": 7, "color": style.colour},
            hovertemplate="seed %{customdata}: %{x:+.3f}<extra></extra>",
        )  # fmt: skip
        if found.known:
            figure.add_scatter(
                x=[found.low, found.high], y=[place, place], mode="lines", hoverinfo="skip",
                line={"color": style.colour, "width": 3},
            )  # fmt: skip
        if found.seeds > 1:
            figure.add_scatter(
                x=[found.mean], y=[place], mode="markers", hovertemplate="mean %{x:+.3f}<extra></extra>",
                marker={"symbol": style.marker, "size": 11, "color": style.colour},
            )  # fmt: skip
        names.append(f'<b>{_name(style)}</b>  <br><span style="opacity:0.75">{_finding(found)}</span>  ')
    figure.add_vline(x=0, line_width=1, line_dash="dot", line_color=charts.QUIET)
    figure.update_yaxes(
        tickvals=list(range(len(others))), ticktext=names, range=[-0.6, len(others) - 0.4], showgrid=False,
        zeroline=False,
        fixedrange=True,
    )  # fmt: skip
    # Zero stands in the middle, so that each word of the title is on its own side of it.
    span = [-1.08 * reach, 1.08 * reach]
    figure.update_xaxes(title="← dynamic better · worse →", range=span, zeroline=False, nticks=7, fixedrange=True)
    return figure


def _name(style: Style) -> str:
    return f'<span style="color:{style.colour}">{style.sign}</span> {style.name}'


def _finding(found: Interval) -> str:
    if found.seeds < 2:
        return "one seed cannot settle it"
    if not found.known:
        return "seeds do not differ: not settled"
    if not found.settled:
        return "not settled"
    return "dynamic is better" if found.mean < 0 else "dynamic is worse"


def kept(table: pd.DataFrame, samples: int) -> go.Figure:
    """Samples kept each epoch out of all (mean over seeds), and tau as steps below."""
    of_dynamic = table[(table["arm"] == "dynamic") & (table["epoch"] > 0)]
    means = of_dynamic.groupby("epoch")[["samples", "tau"]].mean()
    epochs = list(means.index)
    figure = charts.figure(HEIGHT, barmode="stack", bargap=0.25).set_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.1
    )
    figure.add_bar(
        x=epochs, y=means["samples"], marker_color=charts.KEPT, row=1, col=1, text=means["samples"].round(),
        texttemplate="%{text:,.0f}", textposition="auto", insidetextanchor="end", cliponaxis=False,
        hovertemplate="kept %{y:,.0f}<extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        x=epochs, y=(samples - means["samples"]).clip(lower=0), row=1, col=1,
        marker={"color": charts.PRUNED, "pattern": charts.HATCH},
        hovertemplate="pruned %{y:,.0f}<extra></extra>",
    )  # fmt: skip
    # A step spans its whole epoch: from half before to half after.
    edges = [edge for epoch in epochs for edge in (epoch - 0.5, epoch + 0.5)]
    figure.add_scatter(
        x=edges, y=means["tau"].repeat(2), mode="lines", line={"width": 2.5, "color": charts.QUIET}, row=2, col=1,
        hovertemplate="τ %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(title="samples", nticks=4, fixedrange=True, row=1, col=1)
    figure.update_yaxes(title="τ", rangemode="tozero", nticks=4, fixedrange=True, row=2, col=1)
    figure.update_xaxes(showgrid=False, fixedrange=True)
    figure.update_xaxes(title="epochs", dtick=max(1, len(epochs) // 8), row=2, col=1)
    return figure


def usage(times: pd.DataFrame) -> go.Figure:
    """A small histogram for each arm: how many samples were trained on how often."""
    arms = [arm for arm in STYLES if arm in set(times["arm"])]
    margin = {"l": 8, "r": LABELS, "t": 12, "b": 8}
    figure = charts.figure(HEIGHT, margin=margin, bargap=0.3).set_subplots(
        rows=len(arms), shared_xaxes=True, shared_yaxes="all", vertical_spacing=0.06
    )
    for row, arm in enumerate(arms, start=1):
        style, of_arm = STYLES[arm], times[times["arm"] == arm]
        figure.add_bar(
            x=of_arm["times"], y=of_arm["samples"], marker_color=style.colour, width=0.7, row=row, col=1,
            hovertemplate="used %{x} times: %{y:,.0f} samples<extra></extra>",
        )  # fmt: skip
        figure.update_yaxes(nticks=3, range=[0, 1.05 * times["samples"].max()], fixedrange=True, row=row, col=1)
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=0.5, yref="y domain" if row == 1 else f"y{row} domain",
            showarrow=False, text=_name(style),
        )  # fmt: skip
    most = int(times["times"].max())
    figure.update_xaxes(dtick=max(1, most // 8), range=[-0.6, most + 0.6], showgrid=False, fixedrange=True)
    figure.update_xaxes(title="times used", row=len(arms), col=1)
    return figure


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.1)"


def _span(values: pd.Series) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.empty:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
