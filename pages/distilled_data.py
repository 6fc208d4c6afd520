"""Distilled data: what would a handful of samples have to say?"""

from __future__ import annotations

import streamlit as st

from pages.parts import context

context.framed()
st.title("What would a handful of samples have to say?", anchor=False)

from pages.parts import (  # noqa: E402
    copy_link,
    distilled_form,
    distilled_more,
    distilled_run,
    distilled_take,
    distilled_view,
    distilled_worth,
    run_choice,
    run_list,
    run_progress,
    words,
)

runs = [run for run in context.ledger().runs() if run.kind == distilled_form.KIND]
shown = None
if runs:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = shown = run_choice.choose(runs, "distilled_run")
        run_list.badge(run)
        copy_link.draw(key="distilled_link", also={"distilled_run": run.id})
    run_progress.follow(run)
    if run.error:
        st.error(words.literal(run.error), icon=":material/error:")
    distilled_view.notes(run)
    store = context.store()
    sets = distilled_run.sets_of(store, run)
    if sets:
        # 1. The sentence stands first; the controls it depends on are drawn into their place below it.
        answer, handles = st.container(), st.container()
        with handles:
            view = distilled_run.view_of(store, run, sets, distilled_run.pick(list(sets)))
        with answer:
            distilled_view.headline(view)

        # 2. What was learned, to be looked at.
        distilled_view.cards(view)
        distilled_take.draw(view)

        # 3. What it is worth beside real samples.
        st.header("What is it worth?", anchor=False)
        distilled_worth.draw(view)

        # 4. How it came to be.
        st.header("How it came to be", anchor=False)
        distilled_view.film(view)

        # 5. More of it, and what it saves.
        st.header("Does more help?", anchor=False)
        distilled_more.against(view)
        st.header("What it saves", anchor=False)
        distilled_more.cost(view)

        # 6. Other uses.
        distilled_more.tasks(view)
    else:
        distilled_run.to_come(run)
else:
    distilled_run.nothing()

# 7. The next one.
if not context.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    distilled_form.draw(runs, shown)
