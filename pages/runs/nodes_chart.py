"""The attempts of a run on a cluster over time, a bar each, node by node."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.analysis import cluster
from engine.common.formats import duration
from engine.common.text import one_line
from engine.storage.ledger import Attempt
from pages.shared import charts
from pages.shared.escape import escape_plotly

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST = 2000  # attempts drawn
LABELS = 40  # names of nodes that can stand under each other
TALL = 760  # pixels all lanes may take


@dataclass(frozen=True)
class Style:
    name: str
    colour: str
    hatch: str


# Clear of the blue and the vermilion that mean kept and pruned; what is not done is hatched, each in its own way.
STYLES = {
    "done": Style("done", "#00936B", ""),
    "": Style("in progress", "#2E9FB0", "."),
    "lost": Style("lost", "#B5558B", "x"),
    "failed": Style("failed", "#AD7B00", "\\"),
    "cancelled": Style("cancelled", charts.QUIET, "/"),
}
UNITS = ((3 * 3600, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))


def timeline(attempts: Sequence[Attempt], order: Sequence[str], until: float, live: bool) -> go.Figure:
    """When each node tried what and how it ended; `order` names the nodes from the top.

    A node with several work units in progress at once has a row for each. A pause is left out, and a dotted line drawn.
    """
    lanes = cluster.lanes(attempts, until)
    rows = _rows(attempts, order, lanes)
    bottom = sum(len(row) for row in rows.values())
    first = min((attempt.began for attempt in attempts), default=until)
    left_out = cluster.pauses(attempts, until)
    last = max((cluster.end(attempt, until) for attempt in attempts), default=until)
    width = cluster.elapsed(last, first, left_out)
    _, scale, unit = next(each for each in UNITS if width >= each[0])
    drawn = charts.figure(
        min(TALL, max(26 * bottom, 60)) + 96, showlegend=True, barmode="overlay",
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    for outcome, style in STYLES.items():
        mine = [attempt for attempt in attempts if attempt.outcome == outcome]
        if not mine:
            continue
        name = style.name if outcome or live else "no outcome known"
        spans = [cluster.end(attempt, until) - attempt.began for attempt in mine]
        drawn.add_bar(
            orientation="h", name=name, width=0.76, y=[rows[attempt.node][lanes[attempt.id]] for attempt in mine],
            base=[cluster.elapsed(attempt.began, first, left_out) / scale for attempt in mine],
            # Slightly shorter than the gap to the next one, so that neighbours stay distinct.
            x=[max(0.8 * span, span - 0.003 * width) / scale for span in spans],
            marker={
                "color": style.colour,
                "line": {"width": 1 if style.hatch else 0.5, "color": style.colour},  # seen however short
                "pattern": {**charts.HATCH, "shape": style.hatch},
            },
            customdata=[_hover(attempt, span) for attempt, span in zip(mine, spans, strict=True)],
            hovertemplate=f"%{{customdata}}<extra>{name}</extra>",
        )  # fmt: skip
    for began, _ in left_out:
        at = cluster.elapsed(began, first, left_out) / scale
        drawn.add_vline(x=at, line_width=1.5, line_dash="dot", line_color=charts.QUIET)
    _names(drawn, rows)
    drawn.update_yaxes(range=[bottom - 0.5, -0.5], fixedrange=True, showgrid=False, zeroline=False)
    drawn.update_xaxes(
        title=f"{unit} since the first of these attempts",
        range=[0, max(width, 1e-3) * 1.01 / scale],
        fixedrange=True,
        zeroline=False,
    )
    return drawn


def _rows(attempts: Sequence[Attempt], order: Sequence[str], lanes: Mapping[int, int]) -> dict[str, range]:
    """The rows of each node from the top, one for each of its lanes; one that tried nothing has an empty row."""
    wide = dict.fromkeys(order, 1)
    for attempt in attempts:
        wide[attempt.node] = max(wide.get(attempt.node, 1), lanes[attempt.id] + 1)
    rows, top = {}, 0
    for node, count in wide.items():
        rows[node] = range(top, top + count)
        top += count
    return rows


def _names(drawn: go.Figure, rows: Mapping[str, range]) -> None:
    """The name of a node in the middle of its rows and a line under them; if there are too many, every few nodes."""
    every = -(-len(rows) // LABELS)
    named = list(rows.items())[::every]
    drawn.update_yaxes(
        tickvals=[(row.start + row.stop - 1) / 2 for _, row in named],
        ticktext=[escape_plotly(_short(node)) for node, _ in named],
    )
    for _, row in named[1:]:
        drawn.add_hline(y=row.start - 0.5, line_width=0.5, line_color=charts.QUIET, layer="below")


def _short(node: str) -> str:
    """A name that fits beside the bars; its end stays, as that is what tells two nodes on one machine apart."""
    line = one_line(node)
    return line if len(line) <= 22 else f"{line[:13]}…{line[-8:]}"


def _hover(attempt: Attempt, seconds: float) -> str:
    """What stands beside the pointer at one bar, in lines for plotly."""
    began = time.strftime("%H:%M:%S", time.localtime(attempt.began))
    took = f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
    lines = [one_line(attempt.name, 60), f"on {one_line(attempt.node, 60)}", f"{began}, {took}"]
    lines += [one_line(attempt.why, 90)] * bool(attempt.why)
    return "<br>".join(escape_plotly(line) for line in lines)
