"""Runs: what is running, what is waiting, what is done, and what is behind each."""

from __future__ import annotations

import streamlit as st

from pages.parts import context, run_compare, run_detail, run_list, run_nodes_view, run_words

context.framed()
st.title("What is running, and what has run?", anchor=False)

runs = context.ledger().runs()
ids = [run.id for run in runs]

# 1. The answer in a sentence, then everything there is.
st.subheader(run_words.tally(runs), anchor=False)
if not runs:
    st.markdown("A run is one recipe carried out: samples scored, small models trained, everything written down.")
    st.page_link("pages/overview.py", label="Build the demo, or see where to begin")
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
        run_detail.head(run)
        views = ["recipe", "provenance", *["nodes"] * run_nodes_view.offered(run), "log", "compare"]
        view = st.segmented_control(
            "View", views, default="recipe", required=True, key="run_view", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
        if view == "provenance":
            run_detail.provenance(run)
        elif view == "nodes":
            run_nodes_view.draw(run)
        elif view == "log":
            run_detail.log(run)
        elif view == "compare":
            others = [other for other in ids if other != run.id]
            beside = st.selectbox(
                "Compare with", others, index=None, placeholder="Choose another run", key="compare",
                bind="query-params", width=360,
            )  # fmt: skip
            if beside in others:
                run_compare.draw(context.store(), run, runs[ids.index(beside)])
        else:
            run_detail.recipe(run)
