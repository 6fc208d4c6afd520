"""KD on pruned data: how little data, how much teacher?"""

from __future__ import annotations

import streamlit as st

from pages.parts import context

context.framed()
st.title("How little data, how much teacher?", anchor=False)

from pages.parts import (  # noqa: E402
    copy_link,
    kd_costs,
    kd_form,
    kd_gallery,
    kd_run,
    kd_theory,
    kd_view,
    run_choice,
    run_list,
    run_progress,
    words,
)

runs = [run for run in context.ledger().runs() if run.kind == kd_form.KIND]
shown = None
if runs:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = shown = run_choice.choose(runs, "kd_run")
        run_list.badge(run)
        copy_link.draw(key="kd_link", also={"kd_run": run.id})
    run_progress.follow(run)
    if run.error:
        st.error(words.literal(run.error), icon=":material/error:")
    store = context.store()
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
        st.header(f"What is kept at {kd_run.share(view)}?", anchor=False)
        kd_gallery.draw(view, store)

        # 4. Whom one learns from, and from which labels.
        known = kd_costs.facts(store, run.id)
        st.header("The teachers" if len(cells.teachers) > 1 else "The teacher", anchor=False)
        kd_costs.teachers(view, known)
        if max(cells.noises) > 0:
            st.header("Wrong labels", anchor=False)
            kd_costs.noise(view)

        # 5. What it cost.
        st.header("What it cost", anchor=False)
        kd_costs.cost(view, known)
    else:
        kd_run.to_come(run)
else:
    kd_run.nothing()

# 6. The argument, to be played with.
st.header("Why it works", anchor=False)
kd_theory.draw()

# 7. The next one.
if not context.read_only():
    st.header("Start another" if runs else "Start one", anchor=False)
    kd_form.draw(runs, shown)
