"""Dynamic pruning: which way of choosing samples pays?"""

from __future__ import annotations

import streamlit as st

from engine.analysis import pruning
from engine.analysis.pruning_results import results_of
from engine.analysis.tournament import tournament
from engine.config.kinds import PRUNING
from pages.pruning import comparison, crossings, form, results, verdict
from pages.shared import data_note, empty, run_select, session
from pages.shared.arm_styles import styles

st.title("Which way of choosing samples pays?", anchor=False)

runs = run_select.of_kind(PRUNING)
run = found = None


def start_another() -> None:
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(session.ledger(), run.recipe if run else None)


first = not session.read_only() and form.comes_first()
if first:
    start_another()
else:
    run = run_select.header(runs, PRUNING)
    if run is not None:
        store = session.store()
        found = results_of(store, run)
    else:
        empty.nothing(
            "Nothing has been pruned in this workspace yet.",
            "A run trains a small model on what each of several ways to choose keeps of the data. One is dynamic "
            "pruning: only the samples that a larger model still disagrees about, above a threshold that rises. Random "
            "choice is trained on the same seeds, so that this page can say which way to choose pays.",
        )

if run is not None and found is not None:
    # Which arms stand in front is asked beside the curves, but the pictures above follow it too.
    above = st.container()
    st.header("Epoch by epoch", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        against = st.segmented_control(
            "Against", list(pruning.AXES.values()), default="epochs", required=True, key="against", bind="query-params"
        )
        arms = styles(found, comparison.asked(found))
    table = tournament(found)

    with above:
        # 1. The verdict, and the picture that carries it.
        left, right = st.columns([11, 9], gap="large")
        with left:
            verdict.finding(found)
            verdict.badges(found)
            verdict.pick(found)
            data_note.draw(run)
        with right:
            verdict.forest(found, table, arms)

        # 2. All arms.
        st.header("Every arm", anchor=False)
        comparison.table(table, arms)

    # 3. The curves behind it.
    results.curves(found, arms, next((column for column, name in pruning.AXES.items() if name == against), "epoch"))

    # 4. What it cost.
    st.header("What it cost", anchor=False)
    comparison.cost(found, table, arms)

    # 5. Which samples are trained on, and which no longer.
    selections = store.selections(run.id)
    if len(of_dynamic := selections[selections["arm"] == "dynamic"]):
        st.header("Which samples crossed the threshold?", anchor=False)
        crossings.draw(store, run.id, of_dynamic)
elif run is not None:
    results.to_come(run)

# 6. The next one.
if not session.read_only() and not first:
    start_another()
