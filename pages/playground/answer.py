"""Where teacher and student differ on a sample that was typed in: in a sentence, and among the samples of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis.rankings import metric_of, place, scoring_of
from engine.analysis.traces import STUDENTS, largest_difference, ordinal, standing
from engine.common import formats
from engine.config.rankings import METRICS
from engine.storage.ledger import Run
from engine.storage.store import SampleQuery, Store
from pages.shared import charts, session, token_heatmap
from pages.shared.escape import escape_markdown


def draw(store: Store, run: Run, request: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
    """The answer: the sentence, the text with every token shaded, and its place among the samples of the run."""
    metric, student = metric_of(run), str(request["student"])
    value = trace["metrics"].get(metric)
    scoring = scoring_of(store, run, student, metric)
    st.markdown(f"### {escape_markdown(largest_difference(trace))}")
    found = None
    if scoring is not None and value is not None and math.isfinite(value):
        found = place(store, run, scoring, value)
        st.markdown(escape_markdown(standing(found, value, metric, student)))
    token_heatmap.show(trace, key="try_heat", ends=not trace["truncated"])
    if trace["truncated"]:
        st.caption("The text is longer than the context of these models; what is not shown was truncated.")
    session.explain(
        "Each word is shaded by how differently the two models guessed it from everything before it. Point at a word "
        "to see what each of them expected there."
    )
    if scoring is not None and found is not None and value is not None:
        histogram = store.histogram(scoring, bins=60, query=SampleQuery(scoring, tau=found.tau, show="kept"))
        st.subheader("Among the samples of the run", anchor=False)
        axis = f"{METRICS[metric]}, {STUDENTS[student]}"
        charts.show(
            charts.ranking(histogram, found.tau, axis, ("this one", value)), key="try_place",
            alt=standing(found, value, metric, student),
        )  # fmt: skip
        session.explain(
            "Every bar is a group of samples of the run, further right the more the models disagree about them. The "
            "line marks the sample that was typed above."
        )
    with st.expander("All of its scores", icon=":material/format_list_numbered:"):
        st.dataframe(_scores(store, run, student, trace["metrics"]), hide_index=True, alt="Every score of this sample")
    teacher, student_name = escape_markdown(trace["teacher"]), escape_markdown(trace["student"])
    st.caption(f"Answered in {trace['seconds']:.1f} s by {teacher} and {student_name}.")


def _scores(store: Store, run: Run, student: str, metrics: Mapping[str, float | None]) -> pd.DataFrame:
    rows = []
    for metric, label in METRICS.items():
        value, scoring = metrics.get(metric), scoring_of(store, run, student, metric)
        rank = ""
        if scoring is not None and value is not None and math.isfinite(value):
            found = place(store, run, scoring, value)
            rank = f"{ordinal(found.rank)} among {found.of:,}"
        rows.append((label, formats.value(math.nan if value is None else value), rank))
    return pd.DataFrame(rows, columns=["score", "value", "rank in the run"])
