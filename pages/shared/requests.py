"""A question to the engine's warm worker: put it, wait for its answer without holding the page up, or let it go."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from engine.storage.ledger import Request
from pages.shared import session

EVERY = 0.2  # seconds between looks while an answer is awaited


def put(key: str, kind: str, payload: dict[str, Any]) -> None:
    """Ask the engine; the question is remembered under `key` for as long as this browser tab is open."""
    st.session_state[key] = {"ask": session.ledger().submit_request(kind, payload), "since": time.time()}


def drop(key: str) -> None:
    """Forget a question; the engine may still answer it, but nobody listens."""
    st.session_state.pop(key, None)


def asked(key: str) -> Request | None:
    """The question under `key` as it stands now; None where none was put, or where it is too old to be remembered."""
    question = st.session_state.get(key)
    return None if question is None else session.ledger().request(question["ask"])


@st.fragment(run_every=EVERY)
def wait(key: str, doing: str, height: int) -> None:
    """Hold the place of an answer of about `height` pixels; once it is there, the whole page is drawn again."""
    question = asked(key)
    if question is None or question.answer is not None:
        st.rerun()
    alive = session.ledger().engine_alive()
    if not alive:
        no_engine("The question is kept, and answered as soon as one is started.")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if alive:
            seconds = int(time.time() - st.session_state[key]["since"])
            patience = f" {seconds} s. The first question after a start takes longest." if seconds >= 3 else ""
            st.caption(f":material/hourglass_top: {doing} …{patience}", width="content")
        st.button("Stop waiting", key=f"{key}_stop", on_click=drop, args=(key,), type="tertiary")
    if alive:
        st.skeleton(height=height)


def no_engine(consequence: str) -> None:
    """Say that nobody is there to answer, what that means here, and how to start an engine."""
    st.warning(
        f"No engine is running on this workspace. {consequence} Start one with the button at the top, or with "
        "`python -m engine serve`.",
        icon=":material/power_off:",
    )
