"""A request to the query worker of the engine: send it, wait for its answer without blocking the page, or drop it."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from engine.storage.ledger import Request
from pages.shared import session
from pages.shared.escape import escape_markdown

EVERY = 0.2  # seconds between looks while an answer is awaited


def put(key: str, kind: str, payload: dict[str, Any]) -> None:
    """Send a request; it is remembered under `key` for as long as this browser tab is open."""
    st.session_state[key] = {"id": session.ledger().submit_request(kind, payload), "since": time.time()}


def drop(key: str) -> None:
    """Forget a request; an answer that comes later is not shown."""
    st.session_state.pop(key, None)


def sent(key: str) -> Request | None:
    """The request under `key` as it stands now; None if none was sent, or if it is too old to be remembered."""
    sent = st.session_state.get(key)
    return None if sent is None else session.ledger().request(sent["id"])


def answered(key: str, doing: str, height: int) -> Request | None:
    """The request under `key` once it is answered; until then its progress stands here, or why it was refused."""
    request = sent(key)
    if request is None:
        return None
    if request.answer is None:
        wait(key, doing, height)
        return None
    if request.state == "refused":
        st.error(escape_markdown(str(request.answer.get("error"))), icon=":material/error:")
        return None
    return request


@st.fragment(run_every=EVERY)
def wait(key: str, doing: str, height: int) -> None:
    """Hold the place of an answer of about `height` pixels; once it is there, the whole page is drawn again."""
    request = sent(key)
    if request is None or request.answer is not None:
        st.rerun()
    alive = session.ledger().engine_alive()
    if not alive:
        st.warning(
            "No engine is running on this workspace. The request is answered as soon as one is started, with the "
            "button at the top or with `python -m engine serve`.",
            icon=":material/power_off:",
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if alive:
            seconds = int(time.time() - st.session_state[key]["since"])
            patience = f" {seconds} s. The first request after a start takes longest." if seconds >= 3 else ""
            st.caption(f":material/hourglass_top: {doing} …{patience}", width="content")
        st.button("Stop waiting", key=f"{key}_stop", on_click=drop, args=(key,), type="tertiary")
    if alive:
        st.skeleton(height=height)
