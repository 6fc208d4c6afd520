"""The preview of a set of data as the engine made it: how long samples are, and the first rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from engine.analysis.datasets import length_summary, unused_columns
from engine.common.text import escape_text, one_line
from pages.shared import charts, session
from pages.shared.escape import escape_markdown

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROLES = ("instruction", "input", "response", "system")
KEPT_ROWS = 10  # of the first rows, stored with the data
KEPT_CHARACTERS = 2000  # of each of their texts


def stored(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a preview that is stored with the data."""
    rows = [
        {column: text if text is None else text[:KEPT_CHARACTERS] for column, text in row.items()}
        for row in found["rows"][:KEPT_ROWS]
    ]
    return {**found, "rows": rows}


def draw(found: Mapping[str, Any], key: str) -> None:
    """How long the samples are, the columns that are not read, and the first rows."""
    if found["lengths"]:
        with st.container(gap="xsmall"):
            st.text(length_summary(found["lengths"]))
            charts.show(strip(found["lengths"]), key=f"{key}_lengths", alt=length_summary(found["lengths"]))
            session.explain(
                "Models read pieces of words, called tokens. Longer samples take more time and memory; what is longer "
                "than the context of a model is truncated."
            )
    if unused := unused_columns(found.get("unused") or ()):
        st.text(escape_text(unused))
    first_rows(found, key)


def strip(lengths: Mapping[str, Any]) -> go.Figure:
    """One bar from zero to the longest sample, darker where more of the samples end."""
    figure = charts.figure(96, barmode="stack", margin={"l": 8, "r": 8, "t": 26, "b": 26})
    # One very long sample must not squeeze the others together, so the bar ends while they are still distinct.
    end = min(lengths["max"], 3 * lengths["p95"]) or 1
    start = 0
    for name, at, opacity, below in (
        ("half", lengths["median"], 0.85, False),
        ("95 %", lengths["p95"], 0.5, True),
        ("longest", lengths["max"], 0.22, False),
    ):
        stop = min(at, end)
        figure.add_bar(
            x=[stop - start], y=[""], orientation="h", marker={"color": charts.QUIET, "opacity": opacity},
            hovertemplate=f"{name}: {at:,} {lengths['unit']}<extra></extra>",
        )  # fmt: skip
        if name != "longest" or lengths["median"] < 0.7 * end:  # the two labels above the bar need room
            figure.add_annotation(
                x=stop, y=0 if below else 1, yref="paper", yshift=-12 if below else 12, showarrow=False,
                text=f"{name} {at:,}{' →' if at > end else ''}", xanchor="right" if stop > 0.85 * end else "center",
            )  # fmt: skip
        start = stop
    figure.update_xaxes(visible=False, range=[0, end], fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    return figure


def first_rows(found: Mapping[str, Any], key: str) -> None:
    """The first rows as plain text: the columns that the models read first, the others after."""
    mapping = {role: column for role, column in (found["mapping"] or {}).items() if column}
    roles = {column: role for role, column in mapping.items()}
    order = [*mapping.values(), *(column for column in found["columns"] if column not in roles)]
    frame = pd.DataFrame(
        [[one_line(row.get(column) or "", 200) for column in order] for row in found["rows"]],
        columns=[str(position) for position in range(len(order))],
    )
    st.dataframe(
        frame,
        hide_index=True,
        row_height=72,
        height=min(72 * len(frame) + 38, 72 * 5 + 38),
        column_config={
            str(position): st.column_config.TextColumn(
                _heading(column, roles.get(column)), width="large" if column in roles else "medium"
            )
            for position, column in enumerate(order)
        },
        alt=f"The first {len(frame)} rows",
        key=f"{key}_rows",
    )


def _heading(column: str, role: str | None) -> str:
    shown = one_line(column, 40)
    return shown if role is None or role == column else f"{role} ← {shown}"


def problem(found: Mapping[str, Any]) -> None:
    """Why the columns could not be mapped, if they could not."""
    if found["problem"]:
        st.error(escape_markdown(found["problem"]), icon=":material/view_column:")
        st.markdown("Choose below which column is which.")


def origin(found: Mapping[str, Any]) -> str:
    """Where the rows come from, as the engine names it. Plain text."""
    return escape_text(str(found["origin"] or ""))
