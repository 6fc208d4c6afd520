"""Charts of the arms of a dynamic-pruning run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from engine.analysis import pruning
from engine.analysis.intervals import interval
from engine.analysis.pruning_results import Results
from engine.analysis.tournament import BETTER, WORSE
from engine.analysis.wording import took
from engine.common import formats
from pages.shared import charts
from pages.shared.arm_styles import LONGEST, Styles, name_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 290
CHARACTER = 7.2  # pixels


TITLES = {
    "perplexity": "Perplexity",
    "loss": "Validation loss",
    "accuracy": "Token accuracy",
    "gap": "Train minus validation loss",
}


def curves(table: pd.DataFrame, arms: Styles, column: str, against: str = "epoch", height: int = HEIGHT) -> go.Figure:
    """Each arm's mean over seeds, those in front with their 95 % band, against epochs, tokens read or seconds."""
    shape = {"perplexity": ".2f", "accuracy": ".1%"}.get(column, ".3f")
    means = pruning.bands(table, column, against)
    front = {arm: style for arm, style in arms.items() if style.front}
    figure = charts.figure(height, margin={"l": 8, "r": _margin(front), "t": 12, "b": 8})
    for arm, style in arms.items():
        of_arm = means[means["arm"] == arm]
        if of_arm.empty:
            continue
        if style.front:
            banded = of_arm.dropna(subset=["low", "high"])
            figure.add_scatter(
                x=[*banded["x"], *banded["x"][::-1]], y=[*banded["high"], *banded["low"][::-1]], mode="lines",
                fill="toself", fillcolor=_faint(style.colour), line={"width": 0}, hoverinfo="skip",
            )  # fmt: skip
        sizes = [0] * (len(of_arm) - 1) + [9 if style.front else 0]
        figure.add_scatter(
            x=of_arm["x"], y=of_arm["mean"], mode="lines+markers", name=style.name,
            line={"color": style.colour, "dash": style.dash, "width": style.width},
            opacity=1 if style.front else 0.55,
            marker={"symbol": style.marker, "size": sizes, "color": style.colour, "opacity": 1},
            customdata=of_arm[["epoch", "seeds"]],
            hovertemplate=f"{style.name}: %{{y:{shape}}}<br>epoch %{{customdata[0]}}, %{{customdata[1]}} seeds"
            "<extra></extra>",
        )  # fmt: skip
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
    return _label_ends(figure, front, means, (low, high), height)


def _label_ends(
    figure: go.Figure, arms: Styles, means: pd.DataFrame, span: tuple[float, float], height: int
) -> go.Figure:
    """Name arms in the right margin at the height where each ends, moved apart where names would overlap."""
    low, high = span
    last = means.loc[means.groupby("arm")["epoch"].idxmax()].set_index("arm")["mean"]
    names = sorted((arm for arm in arms if arm in last), key=lambda arm: last[arm])
    gap = (high - low) * 17 / (height - 64)
    for arm, place in zip(names, spread([last[arm] for arm in names], gap, low, high), strict=True):
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=place, yanchor="middle", showarrow=False, align="left",
            text=name_html(arms[arm]),
        )  # fmt: skip
    return figure


def _margin(arms: Styles) -> int:
    """Pixels beside a picture for the names of arms."""
    longest = max((min(len(style.name), LONGEST) for style in arms.values()), default=0)
    return round(30 + CHARACTER * longest)


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


def forest(found: Results, table: pd.DataFrame, arms: Styles) -> go.Figure:
    """The final loss of each arm that chooses minus random's: every seed as a ring, the mean with its 95 % interval.

    `table` is that of `tournament`, whose order is kept, the best on top. What is not settled is hollow.
    """
    rows = compared(table)
    figure, names, reach = charts.figure(84 + (56 if len(rows) < 5 else 37) * len(rows)), [], 0.0
    for place, row in enumerate(reversed(rows.to_dict("records"))):
        style, values = arms[row["arm"]], found.differences(row["arm"])
        over = interval(values)
        reach = max(reach, values.abs().max(), *(abs(edge) for edge in (over.low, over.high) if edge == edge))
        figure.add_scatter(
            x=values, y=[place] * len(values), mode="markers", customdata=values.index,
            marker={"symbol": "circle-open", "size": 6, "color": style.colour, "opacity": 0.7},
            hovertemplate="seed %{customdata}: %{x:+.3f}<extra></extra>",
        )  # fmt: skip
        if over.known:
            figure.add_scatter(
                x=[over.low, over.high], y=[place, place], mode="lines", hoverinfo="skip",
                line={"color": style.colour, "width": 3},
            )  # fmt: skip
        if over.seeds > 1:
            hollow = "" if row["verdict"] in (BETTER, WORSE) else "-open"
            figure.add_scatter(
                x=[over.mean], y=[place], mode="markers",
                hovertemplate=f"{style.name}: mean %{{x:+.3f}}<extra></extra>",
                marker={
                    "symbol": style.marker.removesuffix("-open") + hollow, "size": 11, "color": style.colour,
                    "line": {"width": 2, "color": style.colour},
                },
            )  # fmt: skip
        names.append(f'{name_html(style)}  <br><span style="opacity:0.7;font-size:11px">{row["verdict"]}</span>  ')
    figure.add_vline(x=0, line_width=1, line_dash="dot", line_color=charts.QUIET)
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[-0.6, len(rows) - 0.4], showgrid=False,
        zeroline=False,
        fixedrange=True,
    )  # fmt: skip
    # Zero stands in the middle, so that each word of the title is on its own side of it.
    span = [-1.08 * reach, 1.08 * reach]
    figure.update_xaxes(title="← better than random · worse →", range=span, zeroline=False, nticks=7, fixedrange=True)
    return figure


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `tournament` that can be compared with random choice."""
    return table[(table["kind"] == "choice") & np.isfinite(table["difference"])]


def tokens(table: pd.DataFrame, arms: Styles) -> go.Figure:
    """What each arm of `tournament` read, as bars."""
    pairs = zip(table["tokens"].tolist(), table["share"].tolist(), strict=True)
    ends = [f"{formats.value(read)}{_share(share)}" for read, share in pairs]
    return _bars(table, arms, {"tokens": ("tokens read", "")}, ends)


def seconds(table: pd.DataFrame, arms: Styles) -> go.Figure:
    """What each arm of `tournament` took, as bars of choosing and training."""
    parts = {"seconds_training": ("training", ""), "seconds_scoring": ("choosing", "/")}
    return _bars(table, arms, parts, [took(total) for total in table[list(parts)].sum(axis=1).tolist()])


def _share(share: float) -> str:
    return f" · {100 * share:.0f} %" if math.isfinite(share) else ""


def _bars(table: pd.DataFrame, arms: Styles, parts: dict[str, tuple[str, str]], ends: list[str]) -> go.Figure:
    """Stacked bars, the first arm on top, with a text at the end of each."""
    names = [name_html(arms[arm]) + "  " for arm in table["arm"]]
    height = 40 + 25 * len(table) + 26 * (len(parts) > 1)
    figure = charts.figure(height, barmode="stack", bargap=0.35, showlegend=len(parts) > 1)
    for column, (title, hatch) in parts.items():
        figure.add_bar(
            x=table[column], y=names, orientation="h", name=title,
            marker={"color": charts.QUIET, "pattern": {**charts.HATCH, "shape": hatch}},
            customdata=table["called"], hovertemplate=f"%{{customdata}}: %{{x:,.4~g}} {title}<extra></extra>",
        )  # fmt: skip
    totals = table[list(parts)].sum(axis=1)
    for name, total, end in zip(names, totals, ends, strict=True):
        figure.add_annotation(x=total, y=name, text=end, showarrow=False, xanchor="left", xshift=4, font={"size": 11})
    figure.update_xaxes(range=[0, 1.5 * float(totals.max() or 1)], visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", type="category", fixedrange=True)
    figure.update_layout(legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"})
    return figure


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


def usage(times: pd.DataFrame, arms: Styles) -> go.Figure:
    """A small histogram for each arm in front: how many samples were trained on how often."""
    used = set(times["arm"])
    drawn = [(arm, style) for arm, style in reversed(list(arms.items())) if style.front and arm in used]
    margin = {"l": 8, "r": _margin(dict(drawn)), "t": 12, "b": 8}
    figure = charts.figure(HEIGHT, margin=margin, bargap=0.3).set_subplots(
        rows=max(1, len(drawn)), shared_xaxes=True, shared_yaxes="all", vertical_spacing=0.06
    )
    for row, (arm, style) in enumerate(drawn, start=1):
        of_arm = times[times["arm"] == arm]
        figure.add_bar(
            x=of_arm["times"], y=of_arm["samples"], marker_color=style.colour, width=0.7, row=row, col=1,
            hovertemplate="used %{x} times: %{y:,.0f} samples<extra></extra>",
        )  # fmt: skip
        figure.update_yaxes(
            nticks=3 if len(drawn) < 6 else 2, range=[0, 1.05 * times["samples"].max()], fixedrange=True, row=row, col=1
        )
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=0.5, yref="y domain" if row == 1 else f"y{row} domain",
            showarrow=False, text=name_html(style),
        )  # fmt: skip
    most = int(times["times"].max())
    figure.update_xaxes(dtick=max(1, most // 8), range=[-0.6, most + 0.6], showgrid=False, fixedrange=True)
    figure.update_xaxes(title="times used", row=len(drawn), col=1)
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
