"""Overview: what does this workspace know?"""

from __future__ import annotations

import streamlit as st

from pages.shared import session

st.title("What does this workspace know?", anchor=False)

from engine.analysis import run_labels
from pages.overview import cards
from pages.shared import run_list, run_progress

runs = session.ledger().runs()
if not runs:
    cards.welcome()
else:
    # 1. What it holds.
    store = session.store()
    st.markdown(cards.holds(runs, store))

    # 2. What is running.
    ahead = [run for run in reversed(runs) if run_labels.active(run)]
    if ahead:
        run_progress.card(next((run for run in ahead if run.state == "running"), ahead[0]))

    # 3. The findings of the newest runs.
    cards.findings_row(runs, store)

    # 4. The last runs.
    st.header("Last runs", anchor=False)
    for run in runs[:5]:
        run_list.row(run)

# 5. Where to go next.
cards.next_steps(runs)
