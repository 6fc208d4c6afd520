"""Dynamic pruning: what did raising the bar do?"""

from __future__ import annotations

import streamlit as st

from engine.analysis import pruning
from pages.pruning import crossings, form, results
from pages.shared import copy_link, run_list, run_progress, session
from pages.shared.escape import escape_markdown

st.title("What did raising the bar do?", anchor=False)

runs = [run for run in session.ledger().runs() if run.kind == "dynamic-pruning"]
run = found = None


def start_another() -> None:
    st.header("Start another" if runs else "Start one", anchor=False)
    form.draw(session.ledger(), run.recipe if run else None)


first = not session.read_only() and form.comes_first()
if first:
    start_another()
elif runs:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        ids = [run.id for run in runs]
        newest = next((place for place, each in enumerate(runs) if each.state != "queued"), 0)
        chosen = st.selectbox("Run", ids, index=newest, key="pruning_run", bind="query-params", width=340)
        run = runs[ids.index(chosen)] if chosen in ids else runs[newest]
        run_list.badge(run)
        copy_link.draw(key="pruning_link", also={"pruning_run": run.id})
    run_progress.follow(run)
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    store = session.store()
    found = results.of(store, run)
if not runs and not first:
    st.subheader("Nothing has been pruned in this workspace yet.", anchor=False)
    st.markdown(
        "A run of dynamic pruning trains a small model only on the samples a larger one still disagrees about, and "
        "raises the bar after every epoch. Beside it three other ways of choosing samples are trained on the same "
        "seeds, so that this page can say whether the choice was worth it.",
        width=760,
    )

if run is not None and found is not None:
    # 1. The sentence, and the picture that carries it.
    left, right = st.columns([11, 9], gap="large")
    with left:
        results.sentence(found)
        results.badges(found)
    with right:
        results.difference(found)

    # 2. How it came to that.
    st.header("On the way there", anchor=False)
    against = st.segmented_control(
        "Against", list(pruning.AXES.values()), default="epochs", required=True, key="against", bind="query-params"
    )
    results.curves(found, next((column for column, name in pruning.AXES.items() if name == against), "epoch"))

    # 3. Who was read, and who no longer.
    st.header("Who crossed the bar?", anchor=False)
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
