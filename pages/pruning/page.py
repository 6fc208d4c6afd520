"""Dynamic pruning: what did raising the threshold do?"""

from __future__ import annotations

import streamlit as st

from engine.analysis import pruning
from engine.analysis.pruning_results import results_of
from engine.config.kinds import PRUNING
from pages.pruning import crossings, form, results
from pages.shared import data_note, empty, run_select, session

st.title("What did raising the threshold do?", anchor=False)

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
            "A run of dynamic pruning trains a small model only on the samples a larger one still disagrees about, and "
            "raises the threshold after every epoch. Beside it three other ways of choosing samples are trained on the "
            "same seeds, so that this page can say whether the choice made a difference.",
        )

if run is not None and found is not None:
    # 1. The sentence, and the picture that carries it.
    left, right = st.columns([11, 9], gap="large")
    with left:
        results.finding(found)
        results.badges(found)
        data_note.draw(run)
    with right:
        results.difference(found)

    # 2. The curves behind it.
    st.header("Epoch by epoch", anchor=False)
    against = st.segmented_control(
        "Against", list(pruning.AXES.values()), default="epochs", required=True, key="against", bind="query-params"
    )
    results.curves(found, next((column for column, name in pruning.AXES.items() if name == against), "epoch"))

    # 3. Which samples are trained on, and which no longer.
    st.header("Which samples crossed the threshold?", anchor=False)
    selections = store.selections(run.id)
    crossings.draw(store, run.id, selections[selections["arm"] == "dynamic"])

    # 4. What it cost.
    st.header("What it cost", anchor=False)
    results.cost(found)
elif run is not None:
    results.to_come(run)

# 5. The next one.
if not session.read_only() and not first:
    start_another()
