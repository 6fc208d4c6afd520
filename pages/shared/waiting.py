"""What the Samples page says while there is nothing to rank, or more is still to come."""

from __future__ import annotations

import streamlit as st

from engine.common import formats
from engine.storage.ledger import Run
from pages.shared import links, session
from pages.shared.escape import escape_markdown

POLL_SECONDS = 2.0


def no_runs() -> None:
    st.subheader("Nothing has been scored in this workspace yet.", anchor=False)
    st.text(
        "Once a teacher and a student have read a data set, every sample stands here, ranked by how far the two "
        "disagree about it, and you choose where to cut."
    )
    with st.container(horizontal=True):
        links.show("overview", "See what this workspace holds", icon=":material/home:")
        links.show("pruning", "Start a run", icon=":material/play_arrow:")


def not_scored(run: Run) -> None:
    """The place of the ranking while a run has no scores yet."""
    if run.state == "failed":
        st.subheader("This run failed before it had scored anything.", anchor=False)
        st.error(escape_markdown(run.error), icon=":material/error:")
    elif run.state == "cancelled":
        st.subheader("This run was cancelled before it had scored anything.", anchor=False)
    else:
        st.subheader("The ranking will stand here.", anchor=False)
        st.text("As soon as the first samples are scored they appear, and the histogram grows with them.")
        st.fragment(_progress, run_every=POLL_SECONDS)(run.id, 0)
        return
    links.show("runs", "Open the run", icon=":material/list:")


def still_running(run: Run, scored: int) -> None:
    """One quiet line while more is being computed; `scored` counts the scores on the screen."""
    if run.state in ("queued", "running"):
        st.fragment(_progress, run_every=POLL_SECONDS)(run.id, scored)


def _progress(run_id: str, scored: int) -> None:
    with session.show_errors():
        run = session.ledger().run(run_id)
        if rows_scored(run_id) != scored or run.state not in ("queued", "running"):
            st.rerun()
        left = f", {formats.duration(run.eta)} left" if run.eta is not None else ""
        if run.state == "running" and not run.interrupted:
            said = f"{run.phase or 'working'}: {100 * run.fraction:.0f} %{left}"
        elif session.ledger().engine_alive():
            said = "waiting for the engine to take this run"
        else:
            said = "the engine is not running; it takes up this run as soon as it is started"
        st.progress(min(1.0, max(0.0, run.fraction)), text=escape_markdown(said[0].upper() + said[1:]))


def rows_scored(run_id: str) -> int:
    """How many scores of a run the store holds: it changes when there is more to see."""
    return int(session.store().scorings(run_id)["samples"].sum())
