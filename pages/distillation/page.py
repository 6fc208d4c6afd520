"""Distilled data: what would a handful of samples have to say?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session
from pages.shared.escape import escape_markdown

st.title("What would a handful of samples have to say?", anchor=False)

from pages.distillation import download, evaluation, form, more, state
from pages.distillation import view as distilled_view
from pages.shared import copy_link, run_list, run_progress, run_select

runs = [run for run in session.ledger().runs() if run.kind == form.KIND]
shown = None
if runs:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = shown = run_select.choose(runs, "distilled_run")
        run_list.badge(run)
        copy_link.draw(key="distilled_link", also={"distilled_run": run.id})
    run_progress.follow(run)
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    distilled_view.notes(run)
    store = session.store()
    sets = state.sets_of(store, run)
    if sets:
        # 1. The sentence stands first; the controls it depends on are drawn into their place below it.
        answer, handles = st.container(), st.container()
        with handles:
            view = state.view_of(store, run, sets, state.pick(list(sets)))
        with answer:
            distilled_view.headline(view)

        # 2. What was learned, to be looked at.
        distilled_view.cards(view)
        download.draw(view)

        # 3. What it is worth beside real samples.
        st.header("What is it worth?", anchor=False)
        evaluation.draw(view)

        # 4. How it came to be.
        st.header("How it came to be", anchor=False)
        distilled_view.film(view)

        # 5. More of it, and what it saves.
        st.header("Does more help?", anchor=False)
        more.against(view)
        st.header("What it saves", anchor=False)
        more.cost(view)

        # 6. Other uses.
        more.tasks(view)
    else:
        state.to_come(run)
else:
    state.nothing()

# 7. The next one.
if not session.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(runs, shown)
