"""Breakdown of what is kept by the values of a field that the scoring does not read."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.analysis import samples
from engine.common.text import escape_text, one_line
from engine.storage.store import Store
from pages.samples import view
from pages.samples.view import Choice
from pages.shared import charts, session

ENDS = 6  # bars at each end, if a field has many values


def draw(store: Store, choice: Choice, tau: float) -> None:
    facets = view.facets(store, choice.run.id)
    sizes = facets.groupby("field").size()
    fields = [str(field) for field in sizes[sizes > 1].index]
    if not fields:
        return
    st.subheader("What is kept of each kind", anchor=False)
    field = st.selectbox(
        "Compare the values of", fields, format_func=lambda name: one_line(name, 60), key="finds",
        bind="query-params", width=260,
    )  # fmt: skip
    counted = store.by_field(choice.scoring, field, tau)
    name = one_line(field, 60)
    st.text(f"{samples.breakdown(name, counted, choice.label)} {samples.compared(name, counted)}")
    st.caption(
        "The score does not read these fields. It measures how far two models disagree about a text; it cannot say "
        "whether the text is hard, rare or wrong."
    )
    if len(counted) > 2 * ENDS:
        ranked = counted.sort_values("kept", key=lambda kept: kept / counted["samples"], ascending=False)
        st.caption(f"The {ENDS} values of {len(counted)} that are kept most, and the {ENDS} kept least.")
        counted = pd.concat([ranked.head(ENDS), ranked.tail(ENDS)])
    drawn = charts.shares(list(counted["value"]), list(counted["kept"]), list(counted["samples"]))
    charts.show(drawn, alt=f"Share kept for each value of {escape_text(field)}", key="finds_chart")
    session.explain("Blue is the part that stays in the training set, hatched orange the part that is left out.")
