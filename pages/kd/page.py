"""KD on pruned data: how little data, how much teacher?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session
from pages.shared.escape import escape_markdown

st.title("How little data, how much teacher?", anchor=False)

from pages.kd import costs, form, gallery, status, theory
from pages.kd import view as kd_view
from pages.shared import copy_link, run_list, run_progress, run_select

runs = [run for run in session.ledger().runs() if run.kind == form.KIND]
shown = None
if runs:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = shown = run_select.choose(runs, "kd_run")
        run_list.badge(run)
        copy_link.draw(key="kd_link", also={"kd_run": run.id})
    run_progress.follow(run)
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    store = session.store()
    cells = kd_view.cells_of(store, run)
    if cells.finished or cells.failures:
        # 1. The sentence stands first; the controls it depends on are drawn into their place below it.
        answer, handles = st.container(), st.container()
        with handles:
            view = kd_view.choose(run, cells)
        with answer:
            kd_view.headline(view)
        kd_view.curves(view)

        # 2. How much to listen.
        st.header("How much teacher?", anchor=False)
        kd_view.weights(view)

        # 3. Who stays.
        st.header(f"What is kept at {status.share(view)}?", anchor=False)
        gallery.draw(view, store)

        # 4. Whom one learns from, and from which labels.
        known = costs.facts(store, run.id)
        st.header("The teachers" if len(cells.teachers) > 1 else "The teacher", anchor=False)
        costs.teachers(view, known)
        if max(cells.noises) > 0:
            st.header("Wrong labels", anchor=False)
            costs.noise(view)

        # 5. What it cost.
        st.header("What it cost", anchor=False)
        costs.cost(view, known)
    else:
        status.to_come(run)
else:
    status.nothing()

# 6. The argument, to be played with.
st.header("Why it works", anchor=False)
theory.draw()

# 7. The next one.
if not session.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(runs, shown)
