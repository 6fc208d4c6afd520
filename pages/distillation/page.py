"""Distilled data: what would a handful of samples have to say?"""

from __future__ import annotations

import streamlit as st

st.title("What would a handful of samples have to say?", anchor=False)

from engine.analysis.distilled_sets import distilled_set, sets_of
from engine.config.kinds import DISTILLATION
from pages.distillation import (
    comparisons,
    controls,
    download,
    evaluation,
    findings,
    form,
    inputs,
    status,
    tasks,
    trajectory,
)
from pages.shared import run_select, session

runs = run_select.of_kind(DISTILLATION)
run = run_select.header(runs, DISTILLATION)
if run is None:
    status.nothing()
else:
    findings.notes(run)
    store = session.store()
    sets = sets_of(store, run)
    if sets:
        # 1. The sentence stands first; the controls it depends on are drawn into their place below it.
        answer, handles = st.container(), st.container()
        with handles:
            shown = distilled_set(store, run, sets, controls.pick(list(sets)))
        with answer:
            findings.headline(shown)

        # 2. What was learned, to be looked at.
        inputs.draw(shown)
        download.draw(shown)

        # 3. How well it teaches beside real samples.
        st.header("How well does it teach?", anchor=False)
        evaluation.draw(shown)

        # 4. How it was learned.
        st.header("How was it learned?", anchor=False)
        trajectory.draw(shown)

        # 5. More of it, and what it saves.
        st.header("Does more help?", anchor=False)
        comparisons.sizes(shown)
        st.header("What it saves", anchor=False)
        comparisons.cost(shown)

        # 6. Other uses.
        tasks.draw(shown)
    else:
        status.to_come(run)

# 7. The next one.
if not session.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(runs, run)
