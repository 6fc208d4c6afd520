"""KD on pruned data: how little data, how much teacher?"""

from __future__ import annotations

import streamlit as st

st.title("How little data, how much teacher?", anchor=False)

from engine.analysis.kd_costs import arm_facts
from engine.analysis.wording import percent
from engine.config.kinds import KD
from pages.kd import controls, costs, findings, form, gallery, status, theory, weights
from pages.shared import run_select, session

runs = run_select.of_kind(KD)
run = run_select.header(runs, KD)
if run is None:
    status.nothing()
else:
    store = session.store()
    cells = controls.cells_of(store, run)
    if cells.finished or cells.failures:
        facts = arm_facts(store.metrics(run.id))
        # 1. The sentence stands first; the controls it depends on are drawn into their place below it.
        answer, handles = st.container(), st.container()
        with handles:
            view = controls.choose(run, cells)
        with answer:
            findings.headline(view, facts)
        findings.curves(view)

        # 2. How much to listen.
        st.header("How much teacher?", anchor=False)
        weights.draw(view)

        # 3. Which samples stay.
        st.header(f"What is kept at {percent(view.fraction)}?", anchor=False)
        gallery.draw(view, store)

        # 4. Whom one learns from, and from which labels.
        st.header("The teachers" if len(cells.teachers) > 1 else "The teacher", anchor=False)
        costs.teachers(view, facts)
        if max(cells.noises) > 0:
            st.header("Wrong labels", anchor=False)
            costs.noise(view)

        # 5. What it cost.
        st.header("What it cost", anchor=False)
        costs.cost(view, facts)
    else:
        status.to_come(run)

# 6. The argument, with sliders.
st.header("Why it works", anchor=False)
theory.draw()

# 7. The next one.
if not session.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(runs, run)
