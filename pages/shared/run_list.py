"""Runs in a list: those that are waiting or running with their progress, and those that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from engine.analysis import run_labels
from engine.storage.ledger import Run
from pages.shared import links, session
from pages.shared.escape import escape_markdown

EVERY = 1.5  # seconds between looks, only while something is waiting or running
PER_PAGE = 8
STATES: dict[str, tuple[str, Literal["gray", "blue", "green", "red", "orange"]]] = {
    "waiting": ("schedule", "gray"),
    "running": ("autorenew", "blue"),
    "stopping": ("hourglass_bottom", "orange"),
    "interrupted": ("pause_circle", "orange"),
    "done": ("check", "green"),
    "failed": ("error", "red"),
    "cancelled": ("block", "orange"),
}
"""Icon and colour of each state of a run."""


def row(run: Run, here: bool = False) -> None:
    """One run on one line if there is room: name, what it does, state and time, and a way to open it.

    `here` is for the page of the runs itself: it opens below, and can be cancelled or resumed.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.container(gap=None, width="stretch"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{escape_markdown(run.id)}**", width="content")
                badge(run)
            parts = (run_labels.subject(run), run_labels.where(run), run_labels.took(run), run_labels.ago(run.created))
            st.caption(escape_markdown(" · ".join(part for part in parts if part)))
        if not here:
            links.show("runs", "Open", run_open=run.id)
            return
        actions(run, "row")
        st.button("Open", key=f"open_{run.id}", type="tertiary", on_click=_open, args=(run.id,))


def _open(run: str) -> None:
    st.session_state["run_open"] = run
    st.rerun()  # of the whole page: the list may be redrawn by itself, what is opened stands below it


def badge(run: Run) -> None:
    state = run_labels.state(run)
    icon, colour = STATES[state]
    st.badge(state, icon=f":material/{icon}:", color=colour)


def working() -> None:
    """Everything waiting or running, refreshed by itself; the page is drawn again when a state changes."""
    ledger = session.ledger()
    seen = [(run.id, run_labels.state(run)) for run in ledger.runs() if run_labels.active(run)]
    if not seen:
        return

    @st.fragment(run_every=EVERY)
    def watch() -> None:
        with session.show_errors():
            runs = [run for run in ledger.runs() if run_labels.active(run)]
            if [(run.id, run_labels.state(run)) for run in runs] != seen:
                st.rerun()
            for run in reversed(runs):  # the queue is worked through from its oldest run
                with st.container(border=True):
                    row(run, here=True)
                    st.progress(run.fraction, escape_markdown(run_labels.progress(run)))
            if not ledger.engine_alive():
                st.caption(":material/power_off: No engine is running; runs go on as soon as one is started.")

    watch()


def finished() -> None:
    """Everything that has ended, newest first, a page at a time."""
    runs = [run for run in session.ledger().runs() if not run_labels.active(run)]
    if not runs:
        return
    pages = -(-len(runs) // PER_PAGE)
    place = st.container()
    page = st.pagination(pages, key="runs_page", bind="query-params") if pages > 1 else 1
    with place:
        for run in runs[(min(page, pages) - 1) * PER_PAGE :][:PER_PAGE]:
            row(run, here=True)


def actions(run: Run, where: str) -> None:
    """Cancel or resume, if that is possible and the workspace may be changed."""
    if session.read_only():
        return
    ledger = session.ledger()
    if run_labels.active(run) and not run.cancel:
        act, label, icon = ledger.cancel, "Cancel", ":material/stop_circle:"
    elif run.state in ("failed", "cancelled"):
        act, label, icon = ledger.resume, "Resume", ":material/resume:"
    else:
        return
    st.button(label, icon=icon, key=f"{label}_{where}_{run.id}", type="tertiary", on_click=_act, args=(act, run.id))


def _act(act: Callable[[str], None], run: str) -> None:
    with session.show_errors():  # it may have ended, or been started, in the meantime
        act(run)
