"""Overview: what does this workspace know?"""

from __future__ import annotations

import streamlit as st

from pages.parts import context

context.framed()
st.title("What does this workspace know?", anchor=False)

from pages.parts import run_cards, run_list, run_progress, run_words  # noqa: E402

runs = context.ledger().runs()
if not runs:
    run_cards.welcome()
else:
    # 1. What it holds, in plain words.
    store = context.store()
    st.markdown(run_cards.holds(runs, store))

    # 2. What is being made, while it is made.
    ahead = [run for run in reversed(runs) if run_words.active(run)]
    if ahead:
        run_progress.card(next((run for run in ahead if run.state == "running"), ahead[0]))

    # 3. The finding worth showing, and what pruning made of it.
    run_cards.findings_row(runs, store)

    # 4. The last runs.
    st.header("Last runs", anchor=False)
    for run in runs[:5]:
        run_list.row(run)

# 5. Where to go next.
run_cards.next_steps(runs)
