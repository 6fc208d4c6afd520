"""Charts that several pages draw alike, and the two colours that carry meaning everywhere.

Figures have no background of their own and take their text and lines from the theme, so one figure is right in light
and dark. What is pruned is hatched as well as vermilion: colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import streamlit as st

from engine.analysis.intervals import Interval
from engine.common import formats
from engine.common.formats import share
from engine.common.text import one_line
from pages.shared.escape import escape_plotly

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from engine.storage.store import Histogram

KEPT = "#2A7FBF"  # after Okabe and Ito: blue and vermilion, in shades with 3:1 contrast on both backgrounds
PRUNED = "#D5621E"
QUIET = "#8A8F96"
HATCH = {"shape": "/", "size": 6, "solidity": 0.35}


def figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure with the margins of all charts: no title, no toolbar, no zoom by accident."""
    import plotly.graph_objects as go  # here, because a page without a chart should not wait for it

    base = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
        "showlegend": False,
        "hoverlabel": {"namelength": -1},
    }
    return go.Figure(layout={**base, **layout})


def show(drawn: go.Figure, *, alt: str, key: str) -> None:
    """Put a figure on the page; `alt` describes it to people who cannot see it."""
    st.plotly_chart(drawn, key=key, alt=alt, config={"displayModeBar": False, "responsive": True})


def error_bars(found: Sequence[Interval], colour: str, thickness: float = 1, width: float = 3) -> dict[str, Any]:
    """Half the 95 % interval at each point; none if there is no interval."""
    half = [over.half if over.known else 0.0 for over in found]
    return {"type": "data", "array": half, "thickness": thickness, "width": width, "color": colour}


def ranking(histogram: Histogram, tau: float | None, axis: str, mark: tuple[str, float] | None = None) -> go.Figure:
    """The samples of a ranking by value: kept and pruned by `tau`, outliers in end bars, `mark` as a labelled line.

    `histogram.filtered_counts` are the kept samples of each bin; they are not read if there is no `tau`.
    """
    drawn = figure(250, barmode="stack", bargap=0.06, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    edges, counts = histogram.edges, histogram.counts
    width = float(edges[1] - edges[0])
    middle = (edges[:-1] + edges[1:]) / 2
    kept = histogram.filtered_counts if tau is not None else counts * 0
    shown = [f"{formats.value(left)} to {formats.value(right)}" for left, right in pairwise(edges)]
    x, heights, over = list(middle), list(counts), list(kept)
    # Outliers stand a little apart, so that they do not read as two more bins.
    for at, count, label in (
        (edges[0] - 2 * width, histogram.below, f"below {formats.value(histogram.low)}"),
        (edges[-1] + 2 * width, histogram.above, f"above {formats.value(histogram.high)}"),
    ):
        if count:
            x.append(at)
            heights.append(count)
            over.append(count if tau is not None and at > tau else 0)
            shown.append(label)
    under = [total - part for total, part in zip(heights, over, strict=True)]
    groups: list[tuple[str, list[int], dict[str, Any]]] = [("samples", heights, {"color": QUIET})]
    if tau is not None:
        groups = [
            ("kept", over, {"color": KEPT}),
            ("pruned", under, {"color": PRUNED, "pattern": HATCH}),
        ]
        drawn.add_vline(x=tau, line={"color": QUIET, "width": 2, "dash": "dash"})
        drawn.add_annotation(
            x=tau, y=1, yref="paper", yshift=12, text=f"τ {formats.value(tau)}", showarrow=False, xanchor="right",
            xshift=-2,
        )  # fmt: skip
    for name, tall, marker in groups:
        drawn.add_bar(
            x=x, y=tall, name=name, marker=marker, width=0.94 * width, customdata=shown,
            hovertemplate=f"%{{customdata}}: %{{y:,}} {name}<extra></extra>",
        )  # fmt: skip
    if histogram.above:
        drawn.add_annotation(
            x=x[-1], y=histogram.above, text="higher", showarrow=False, yanchor="bottom", xanchor="right", xshift=5,
            font={"size": 11},
        )  # fmt: skip
    low, high = min(x) - width, max(x) + width
    if mark is not None:
        name, value = mark
        at = min(max(value, low), high)
        drawn.add_vline(x=at, line={"color": QUIET, "width": 3})
        arrow = " →" if value > high else "← " if value < low else ""
        drawn.add_annotation(
            x=at, y=1, yref="paper", yshift=26 if tau is not None and abs(at - tau) < 12 * width else 12,
            text=f"<b>{escape_plotly(name)} {formats.value(value)}{arrow}</b>", showarrow=False,
            xanchor="right" if at > (low + high) / 2 else "left",
        )  # fmt: skip
    drawn.update_xaxes(title=escape_plotly(axis), range=[low, high], fixedrange=True)
    drawn.update_yaxes(title="samples", fixedrange=True)
    return drawn


def concentration(curve: pd.DataFrame, half: tuple[int, int], score: str) -> go.Figure:
    """Share of samples against share of the total score, ranked from high, with the half marked.

    `curve` has columns share_samples and share_score (0 to 1); `half` is (samples carrying half, all samples).
    """
    drawn = figure(260)
    part = half[0] / half[1] if half[1] else 0.0
    drawn.add_scatter(
        x=curve["share_samples"],
        y=curve["share_score"],
        mode="lines",
        line={"color": KEPT, "width": 3},
        fill="tozeroy",
        fillcolor="rgba(42,127,191,0.12)",
        hovertemplate="the highest %{x:.0%} of samples<br>carry %{y:.0%}<extra></extra>",
    )
    drawn.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": QUIET, "width": 1, "dash": "dot"}, hoverinfo="skip"
    )
    drawn.add_scatter(
        x=[part], y=[0.5], mode="markers", marker={"color": KEPT, "size": 11, "symbol": "diamond"}, hoverinfo="skip"
    )
    drawn.add_annotation(
        x=part, y=0.5, text=f"half in {formats.count(half[0], 'sample')} ({share(*half)})", showarrow=False,
        xanchor="left", xshift=12, yshift=-4,
    )  # fmt: skip
    drawn.update_xaxes(title="share of samples, highest first", tickformat=".0%", range=[0, 1.01], fixedrange=True)
    drawn.update_yaxes(title=f"share of all {escape_plotly(score)}", tickformat=".0%", range=[0, 1.03], fixedrange=True)
    return drawn


def over_epochs(history: pd.DataFrame, thresholds: pd.DataFrame, seed: int, unit: str) -> go.Figure:
    """One sample's value in every epoch, a line for each seed, with the threshold as dashed steps.

    `history` has columns seed, epoch, value (seed -1 in epoch 1 stands for all); `thresholds` seed, epoch, tau.
    """
    drawn = figure(220)
    shared = history[history["seed"] == -1]
    seeds = sorted(int(other) for other in history["seed"].unique() if other >= 0) or [-1]
    selected = seed if seed in seeds else seeds[0]
    for other in [*(name for name in seeds if name != selected), selected]:
        mine = history[history["seed"] == other]
        x = [*shared["epoch"], *mine["epoch"]] if other >= 0 else list(shared["epoch"])
        y = [*shared["value"], *mine["value"]] if other >= 0 else list(shared["value"])
        front = other == selected
        drawn.add_scatter(
            x=x, y=y, mode="lines+markers", name=f"seed {other}" if other >= 0 else "before training",
            line={"color": KEPT if front else QUIET, "width": 3 if front else 1}, opacity=1 if front else 0.6,
            marker={"size": 8 if front else 4},
            hovertemplate="epoch %{x}: %{y:.3g}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    steps = thresholds[thresholds["seed"] == selected]
    if len(steps):
        drawn.add_scatter(
            x=steps["epoch"], y=steps["tau"], mode="lines+markers", name="τ",
            marker={"symbol": "line-ew-open", "size": 12},
            line={"color": PRUNED, "width": 2, "dash": "dash"}, hovertemplate="epoch %{x}: τ %{y:.3g}<extra></extra>",
        )  # fmt: skip
        drawn.add_annotation(
            x=steps["epoch"].iloc[-1],
            y=steps["tau"].iloc[-1],
            text="τ",
            showarrow=False,
            xshift=14,
            font={"color": PRUNED},
        )
    drawn.update_xaxes(title="epoch", dtick=1, fixedrange=True)
    drawn.update_yaxes(title=escape_plotly(unit), rangemode="tozero", fixedrange=True)
    return drawn


def shares(values: Sequence[str], kept: Sequence[int], samples: Sequence[int]) -> go.Figure:
    """For each value of a field, the share of its samples that is kept and pruned."""
    drawn = figure(24 + 36 * len(values), barmode="stack", bargap=0.35)
    names = [escape_plotly(one_line(value, 40)) or "(empty)" for value in values]
    parts = [k / n if n else 0.0 for k, n in zip(kept, samples, strict=True)]
    text = [f"kept {k:,} of {n:,} ({share(k, n)})" for k, n in zip(kept, samples, strict=True)]
    for name, widths, marker in (
        ("kept", parts, {"color": KEPT}),
        ("pruned", [1 - part for part in parts], {"color": PRUNED, "pattern": HATCH}),
    ):
        drawn.add_bar(
            y=names, x=widths, orientation="h", name=name, marker=marker, customdata=text,
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )  # fmt: skip
    for name, label in zip(names, text, strict=True):
        drawn.add_annotation(x=1, y=name, text=label, showarrow=False, xanchor="left", xshift=8)
    drawn.update_layout(margin={"l": 8, "r": 190, "t": 12, "b": 8})
    drawn.update_xaxes(range=[0, 1], fixedrange=True, visible=False)
    drawn.update_yaxes(autorange="reversed", fixedrange=True, type="category")
    return drawn
