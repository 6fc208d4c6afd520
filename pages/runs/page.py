"""Runs: what is running, what is waiting, what is done, and the details of each."""

from __future__ import annotations

import streamlit as st

from engine.analysis import run_labels
from pages.runs import compare, detail, nodes
from pages.shared import links, run_list, session

st.title("What is running, and what has run?", anchor=False)

runs = session.ledger().runs()
ids = [run.id for run in runs]

# 1. The answer in a sentence, then everything there is.
st.subheader(run_labels.tally(runs), anchor=False)
if not runs:
    st.markdown("A run carries out one recipe: it scores samples, trains small models, and records everything.")
    links.show("overview", "Build the demo, or see where to begin")
run_list.working()
run_list.finished()

# 2. One of them, opened.
if runs:
    st.divider()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        opened = st.selectbox(
            "Open a run", ids, index=None, placeholder="Choose a run", key="run_open", bind="query-params", width=340
        )
        run = runs[ids.index(opened)] if opened in ids else None
        if run:
            run_list.badge(run)
    if run:
        detail.header(run)
        views = ["recipe", "provenance", *["nodes"] * nodes.offered(run), "log", "compare"]
        view = st.segmented_control(
            "View", views, default="recipe", required=True, key="run_view", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
        if view == "provenance":
            detail.provenance(run)
        elif view == "nodes":
            nodes.draw(run)
        elif view == "log":
            detail.log(run)
        elif view == "compare":
            others = [other for other in ids if other != run.id]
            beside = st.selectbox(
                "Compare with", others, index=None, placeholder="Choose another run", key="compare",
                bind="query-params", width=360,
            )  # fmt: skip
            if beside in others:
                compare.draw(session.store(), run, runs[ids.index(beside)])
        else:
            detail.recipe(run)
