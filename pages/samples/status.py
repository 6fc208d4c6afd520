"""What stands in the place of the ranking while there is nothing to rank."""

from __future__ import annotations

import streamlit as st

from engine.analysis import run_labels
from engine.storage.ledger import Run
from pages.shared import empty, links, run_progress
from pages.shared.escape import escape_markdown


def nothing() -> None:
    empty.nothing(
        "Nothing has been scored in this workspace yet.",
        "Once a teacher and a student have read a data set, every sample stands here, ranked by how far the two "
        "disagree about it, and you choose the threshold above which samples are kept.",
    )
    with st.container(horizontal=True):
        links.show("overview", "See what this workspace holds", icon=":material/home:")
        links.show("pruning", "Start a run", icon=":material/play_arrow:")


def to_come(run: Run) -> None:
    """A run without scores: they are still ahead, or it ended before."""
    empty.heading(run, "The ranking will stand here.", "it had scored anything")
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    if run_labels.active(run):
        st.text("As soon as the first samples are scored they appear, and the histogram grows with them.")
        run_progress.follow(run)
    else:
        links.show("runs", "Open the run", icon=":material/list:", run_open=run.id)
