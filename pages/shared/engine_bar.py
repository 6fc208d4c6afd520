"""The bar of the frame: what the engine is doing, whether the workspace is read-only, the switch for captions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import streamlit as st

from engine.common import formats
from engine.storage.ledger import ALIVE_SECONDS, Run
from pages.shared import session

POLL_SECONDS = 2.0
# On a wide window the bar stands beside the navigation, so that every page begins with its own question.
_STYLE = """<style>
@media (min-width: 641px) {
  .st-key-frame { position: fixed; top: 0.5rem; right: 3.75rem; width: auto; height: 2.5rem; z-index: 999991; }
  .st-key-frame, .st-key-frame * { flex-wrap: nowrap; white-space: nowrap; }
}
@media print { .st-key-frame { display: none; } }
</style>"""


def draw(start: Callable[[], None]) -> None:
    """Draw the bar; `start` starts an engine."""
    st.html(_STYLE)
    with st.container(key="frame", horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        if session.read_only():
            st.badge("read-only", icon=":material/visibility:", color="gray")
        else:
            if os.environ.get("WINNOW_ENGINE") != "off":
                st.session_state.setdefault("engine_started", _start_once(str(session.workspace().root), start))
            busy = _busy(session.ledger().runs())
            st.fragment(_chip, run_every=POLL_SECONDS if busy else None)(start, busy)
        st.toggle("Plain words", key="plain", bind="query-params")


@st.cache_resource(show_spinner=False)
def _start_once(root: str, _start: Callable[[], None]) -> float:
    """Start an engine if none is alive, once in the life of this server. Returns when; 0 if it was not started.

    If the engine is stopped afterwards, that was on purpose: then the button is shown. WINNOW_ENGINE=off never starts
    one.
    """
    if session.ledger().engine_alive():
        return 0.0
    _start()
    return time.time()


def _chip(start: Callable[[], None], was_busy: bool) -> None:
    runs, alive = session.ledger().runs(), session.ledger().engine_alive()
    if alive:
        st.session_state.pop("engine_started", None)
    if was_busy and not _busy(runs):
        st.rerun()  # what was awaited is there: every page shows it, and the polling ends
    label = engine_label(runs, alive)
    if label != "not running":
        idle = label == "idle"
        icon = ":material/check:" if idle else ":material/progress_activity:"
        st.badge(label, icon=icon, color="gray" if idle else "green")
    elif st.session_state.get("engine_started", 0.0) > time.time() - ALIVE_SECONDS:
        st.badge("starting", icon=":material/hourglass_top:", color="gray")
    else:
        st.button(
            "Start the engine",
            icon=":material/play_arrow:",
            key="engine_start",
            help="The engine scores and trains. It is not running; without it nothing new is computed.",
            on_click=_start,
            args=(start,),
        )


def _start(start: Callable[[], None]) -> None:
    with session.show_errors():
        start()
        st.session_state["engine_started"] = time.time()


def _busy(runs: Sequence[Run]) -> bool:
    """Whether there is something to watch: an active run, or an engine that is starting."""
    started = st.session_state.get("engine_started", 0.0) > time.time() - ALIVE_SECONDS
    return started or any(run.state in ("queued", "running") for run in runs)


def engine_label(runs: Sequence[Run], alive: bool) -> str:
    """`working: 1 of 3, 34 %, 40 s left`, `starting on 2 runs`, `idle` or `not running`."""
    active = [run for run in runs if run.state in ("queued", "running")]
    working = [run for run in active if run.state == "running" and not run.interrupted]
    if working:
        left = f", {formats.duration(working[0].eta)} left" if working[0].eta is not None else ""
        return f"working: {len(working)} of {len(active)}, {100 * working[0].fraction:.0f} %{left}"
    if not alive:
        return "not running"
    return f"starting on {len(active)} run{'s' if len(active) > 1 else ''}" if active else "idle"
