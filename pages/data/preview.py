"""What the engine saw when it looked at a set of data: the sentence, how long samples are, and the first rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from engine.common import formats
from engine.common.text import escape_text, one_line
from pages.shared import charts, session
from pages.shared.escape import escape_markdown

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROLES = ("instruction", "input", "response")
KEPT_ROWS = 10  # of the first rows, remembered with data that is kept
KEPT_CHARACTERS = 2000  # of each of their texts


def counted(look: Mapping[str, Any]) -> str:
    """`52,002 rows. Of the first 2,000, 1,972 can be used: 28 have no response.` Plain text."""
    total, read, dropped = look["total"], look["read"], look["dropped"]
    whole = f"{formats.count(total, 'row')}." if total is not None else f"At least {formats.count(read, 'row')}."
    first = "" if total == read else f"Of the first {read:,}, "
    if not dropped:
        return f"{whole} {f'{first}all' if first else 'All of them'} can be used."
    usable = read - sum(dropped.values())
    why = " and ".join(f"{count:,} {'has' if count == 1 else 'have'} {reason}" for reason, count in dropped.items())
    return f"{whole} {first}{usable:,} can be used: {why}."


def long(lengths: Mapping[str, Any]) -> str:
    """`Half of the samples have at most 61 tokens, 95 % at most 142; the longest has 512.` Plain text."""
    unit = lengths["unit"]
    return (
        f"Half of the samples have at most {lengths['median']:,} {unit}, 95 % at most {lengths['p95']:,}; "
        f"the longest has {lengths['max']:,}, prompt and response together."
    )


def remembered(look: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an answer that is kept beside saved data."""
    rows = [
        {column: text if text is None else text[:KEPT_CHARACTERS] for column, text in row.items()}
        for row in look["rows"][:KEPT_ROWS]
    ]
    return {**look, "rows": rows}


def draw(look: Mapping[str, Any], key: str) -> None:
    """How long the samples are and the first rows."""
    if look["lengths"]:
        with st.container(gap="xsmall"):
            st.text(long(look["lengths"]))
            charts.show(strip(look["lengths"]), key=f"{key}_lengths", alt=long(look["lengths"]))
            session.explain(
                "Models read pieces of words, called tokens. Longer samples take more time and memory; what is longer "
                "than a model can read is cut."
            )
    first_rows(look, key)


def strip(lengths: Mapping[str, Any]) -> go.Figure:
    """One bar from nothing to the longest sample, darker where more of the samples end."""
    figure = charts.figure(96, barmode="stack", margin={"l": 8, "r": 8, "t": 26, "b": 26})
    # One very long sample must not squeeze the others together, so the bar ends where they are still told apart.
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


def first_rows(look: Mapping[str, Any], key: str) -> None:
    """The first rows as plain text: what is read as instruction, input and response first, the other columns after."""
    mapping = {role: column for role, column in (look["mapping"] or {}).items() if column}
    roles = {column: role for role, column in mapping.items()}
    order = [*mapping.values(), *(column for column in look["columns"] if column not in roles)]
    frame = pd.DataFrame(
        [[one_line(row.get(column) or "", 200) for column in order] for row in look["rows"]],
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


def problem(look: Mapping[str, Any]) -> None:
    """Why the columns could not be understood, where they could not."""
    if look["problem"]:
        st.error(escape_markdown(look["problem"]), icon=":material/view_column:")
        st.markdown("Choose below which column is which.")


def origin(look: Mapping[str, Any]) -> str:
    """Where the rows come from, in the engine's words. Plain text."""
    return escape_text(str(look["origin"] or ""))
