"""Where teacher and student part on a sample somebody typed: in a sentence, and among the samples of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from engine.common import formats
from engine.config.pruning import METRICS, DynamicPruningRecipe
from engine.storage.ledger import Run
from engine.storage.store import Histogram, SampleQuery, Scoring, Store
from pages.shared import charts, session, token_heatmap
from pages.shared.escape import escape_markdown, escape_plotly

if TYPE_CHECKING:
    import plotly.graph_objects as go

EPOCH_WORDS = {"base": "before any training", "dynamic": "in its last epoch"}


@dataclass(frozen=True)
class Place:
    """Where a value stands among the samples of one ranking."""

    rank: int  # from 1; the typed sample itself is one more than `of`
    of: int
    tau: float | None  # the run's own threshold there, where it has one for this metric


def metric_of(run: Run) -> str:
    """What the run ranks by."""
    recipe = run.parsed()
    return recipe.pruning.metric if isinstance(recipe, DynamicPruningRecipe) else "kl"


def scoring_of(store: Store, run: Run, student: str, metric: str) -> Scoring | None:
    """The scores to compare with: before training, or the last the run's first seed gave; None where there are none."""
    scored = store.scored(run.id)
    mine = scored[scored["metric"] == metric]
    if student == "base":
        mine = mine[mine["arm"] == "base"]
        return store.scoring(run.id, -1, 1, metric) if len(mine) else None
    seed = run.recipe.get("seeds", [0])[0]
    epochs = mine.loc[(mine["arm"] == "dynamic") & (mine["seed"] == seed), "epoch"]
    return store.scoring(run.id, seed, int(epochs.max()), metric) if len(epochs) else None


def place(store: Store, run: Run, scoring: Scoring, value: float) -> Place:
    """The rank of a value from high, and the threshold the run used on those scores."""
    above = store.kept_counts(scoring, [value])[0].samples
    histogram = store.histogram(scoring, bins=1)
    of = int(histogram.counts.sum()) + histogram.below + histogram.above
    tau = None
    if metric_of(run) == scoring.metric:
        steps = store.thresholds(run.id)
        mine = steps[(steps["epoch"] == scoring.epoch) & ((steps["seed"] == scoring.seed) | (scoring.seed < 0))]
        tau = float(mine["tau"].iloc[0]) if len(mine) else None
    return Place(above + 1, of, tau)


def parting(trace: Mapping[str, Any]) -> str:
    """The token of the response where the two part most and what each expected there. Plain text."""
    kl, tokens, start = trace["kl"], trace["tokens"], int(trace["response_start"])
    numbers = [
        position for position in range(start, len(kl)) if kl[position] is not None and math.isfinite(kl[position])
    ]
    if not numbers:
        return "The models gave no number for this response."
    most = max(numbers, key=lambda position: kl[position])
    end = "where it was cut" if trace["truncated"] else "at its end"
    where = f"at {_quoted(tokens[most + 1])}" if most + 1 < len(tokens) else end
    teacher, student = _expected(trace, "teacher", most), _expected(trace, "student", most)
    same = trace["teacher_tokens"][most][0] == trace["student_tokens"][most][0]
    but = (
        f"the teacher expects {teacher}, the student {student}"
        if not same
        else (
            f"both expect {teacher.rsplit(' (', 1)[0]}, the teacher with {_percent(trace, 'teacher', most)}, "
            f"the student with {_percent(trace, 'student', most)}"
        )
    )
    return f"In the response, teacher and student part most {where}: {but}."


def _expected(trace: Mapping[str, Any], model: str, position: int) -> str:
    return f"{_quoted(trace[f'{model}_tokens'][position][0])} ({_percent(trace, model, position)})"


def _quoted(token: str) -> str:
    """A token inside a sentence; the space most tokens begin with says nothing there."""
    return f"“{token_heatmap.visible(token.strip(' ') or token)}”"


def _percent(trace: Mapping[str, Any], model: str, position: int) -> str:
    return formats.share(trace[f"{model}_probs"][position][0], 1)


def standing(found: Place, value: float, metric: str, student: str) -> str:
    """`Its KL of 1.32 would rank 41st of 1,800 in this run before any training, and the run would keep it.` Plain."""
    name = METRICS[metric] if metric != "kl" else "KL"
    sentence = (
        f"Its {name} of {formats.value(value)} would rank {ordinal(found.rank)} among the {found.of:,} samples of this "
        f"run {EPOCH_WORDS[student]}"
    )
    if found.tau is None:
        return f"{sentence}."
    verdict = "above" if value > found.tau else "not above"
    kept = "keep it" if value > found.tau else "prune it"
    return f"{sentence}; {verdict} the threshold of {formats.value(found.tau)}, so the run would {kept}."


def ordinal(number: int) -> str:
    """`1st`, `22nd`, `113th`, `1,041st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def draw(store: Store, run: Run, asked: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
    """The answer: the sentence, the text with every token shaded, and its place among the samples of the run."""
    metric, student = metric_of(run), str(asked["student"])
    value = trace["metrics"].get(metric)
    scoring = scoring_of(store, run, student, metric)
    st.markdown(f"### {escape_markdown(parting(trace))}")
    found = None
    if scoring is not None and value is not None and math.isfinite(value):
        found = place(store, run, scoring, value)
        st.markdown(escape_markdown(standing(found, value, metric, student)))
    token_heatmap.show(trace, key="try_heat", ends=not trace["truncated"])
    if trace["truncated"]:
        st.caption("The text is longer than these models read; what is not shown was cut.")
    session.explain(
        "Each word is shaded by how differently the two models guessed it from everything before it. Point at a word "
        "to see what each had expected there."
    )
    if scoring is not None and found is not None and value is not None:
        histogram = store.histogram(scoring, bins=60, query=SampleQuery(scoring, tau=found.tau, show="kept"))
        st.subheader("Among the samples of the run", anchor=False)
        charts.show(
            placed(histogram, found.tau, f"{METRICS[metric]}, {EPOCH_WORDS[student]}", ("this one", value)),
            key="try_place", alt=standing(found, value, metric, student),
        )  # fmt: skip
        session.explain(
            "Every bar is a group of samples of the run, further right the more the models disagree about them. The "
            "line marks what was typed above."
        )
    with st.expander("All of its scores", icon=":material/format_list_numbered:"):
        st.dataframe(_scores(store, run, student, trace["metrics"]), hide_index=True, alt="Every score of this sample")
    st.caption(
        f"Answered in {trace['seconds']:.1f} s by {escape_markdown(trace['teacher'])} and {escape_markdown(trace['student'])}."
    )


def _scores(store: Store, run: Run, student: str, metrics: Mapping[str, float | None]) -> pd.DataFrame:
    rows = []
    for metric, label in METRICS.items():
        value, scoring = metrics.get(metric), scoring_of(store, run, student, metric)
        if value is None or not math.isfinite(value):
            rows.append((label, "no number", ""))
        elif scoring is None:
            rows.append((label, formats.value(value), ""))
        else:
            found = place(store, run, scoring, value)
            rows.append((label, formats.value(value), f"{ordinal(found.rank)} among {found.of:,}"))
    return pd.DataFrame(rows, columns=["score", "value", "rank in the run"])


def placed(found: Histogram, tau: float | None, axis: str, mark: tuple[str, float] | None = None) -> go.Figure:
    """The samples of a ranking by value: kept and pruned by `tau`, outliers in end bars, `mark` as a labelled line.

    `found.filtered_counts` are the kept of each bin; they are not read where there is no `tau`.
    """
    figure = charts.figure(250, barmode="stack", bargap=0.06, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    edges, counts = found.edges, found.counts
    width = float(edges[1] - edges[0])
    middle = (edges[:-1] + edges[1:]) / 2
    kept = found.filtered_counts if tau is not None else counts * 0
    shown = [f"{formats.value(left)} to {formats.value(right)}" for left, right in pairwise(edges)]
    x, heights, over = list(middle), list(counts), list(kept)
    # Outliers stand a little apart, so that they do not read as two more bins.
    for at, count, said in (
        (edges[0] - 2 * width, found.below, f"below {formats.value(found.low)}"),
        (edges[-1] + 2 * width, found.above, f"above {formats.value(found.high)}"),
    ):
        if count:
            x.append(at)
            heights.append(count)
            over.append(count if tau is not None and at > tau else 0)
            shown.append(said)
    under = [total - part for total, part in zip(heights, over, strict=True)]
    groups: list[tuple[str, list[int], dict[str, Any]]] = [("samples", heights, {"color": charts.QUIET})]
    if tau is not None:
        groups = [
            ("kept", over, {"color": charts.KEPT}),
            ("pruned", under, {"color": charts.PRUNED, "pattern": charts.HATCH}),
        ]
        figure.add_vline(x=tau, line={"color": charts.QUIET, "width": 2, "dash": "dash"})
        figure.add_annotation(
            x=tau, y=1, yref="paper", yshift=12, text=f"τ {formats.value(tau)}", showarrow=False, xanchor="right",
            xshift=-2,
        )  # fmt: skip
    for name, tall, marker in groups:
        figure.add_bar(
            x=x, y=tall, name=name, marker=marker, width=0.94 * width, customdata=shown,
            hovertemplate=f"%{{customdata}}: %{{y:,}} {name}<extra></extra>",
        )  # fmt: skip
    if found.above:
        figure.add_annotation(
            x=x[-1], y=found.above, text="higher", showarrow=False, yanchor="bottom", xanchor="right", xshift=5,
            font={"size": 11},
        )  # fmt: skip
    low, high = min(x) - width, max(x) + width
    if mark is not None:
        name, value = mark
        at = min(max(value, low), high)
        figure.add_vline(x=at, line={"color": charts.QUIET, "width": 3})
        arrow = " →" if value > high else "← " if value < low else ""
        figure.add_annotation(
            x=at, y=1, yref="paper", yshift=26 if tau is not None and abs(at - tau) < 12 * width else 12,
            text=f"<b>{escape_plotly(name)} {formats.value(value)}{arrow}</b>", showarrow=False,
            xanchor="right" if at > (low + high) / 2 else "left",
        )  # fmt: skip
    figure.update_xaxes(title=escape_plotly(axis), range=[low, high], fixedrange=True)
    figure.update_yaxes(title="samples", fixedrange=True)
    return figure
