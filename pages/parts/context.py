"""What every page starts from: the workspace, its ledger, the store with everything finished taken in, and words.

A page begins with `context.framed()`, before it draws anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from engine.ledger import Ledger, Run
from engine.workspace import WinnowError, Workspace, open_workspace
from pages.parts import words
from pages.parts.frame import framed as framed

if TYPE_CHECKING:
    from engine.store import Store


@st.cache_resource(show_spinner=False)
def _open(root: str | None, read_only: str | None) -> tuple[Workspace, Ledger]:
    workspace = open_workspace(root)
    return workspace, Ledger(workspace)


@st.cache_resource(show_spinner="Opening the store …")
def _store(root: str) -> Store:
    # Read here, so that the frame is on the screen before the database library is loaded.
    from engine.store import Store

    return Store(open_workspace(root))


def workspace() -> Workspace:
    # The environment is part of the key, so that a test or a second server never sees another's workspace.
    return _open(os.environ.get("WINNOW_WORKSPACE"), os.environ.get("WINNOW_READ_ONLY"))[0]


def ledger() -> Ledger:
    return _open(os.environ.get("WINNOW_WORKSPACE"), os.environ.get("WINNOW_READ_ONLY"))[1]


def store() -> Store:
    """The store, with every finished part taken in."""
    opened = _store(str(workspace().root))
    opened.sync(ledger())
    return opened


def read_only() -> bool:
    return workspace().read_only


@contextmanager
def told() -> Iterator[None]:
    """Say a WinnowError in its own sentence; for callbacks and fragments, which run outside the frame's own net."""
    try:
        yield
    except WinnowError as error:
        st.error(words.literal(str(error)), icon=":material/error:")


def plain(caption: str) -> None:
    """A short caption under a chart for people who have never trained a model; drawn when they asked for it."""
    if st.session_state.get("plain"):
        st.caption(caption)


def scored_runs() -> list[Run]:
    """Runs that score samples, newest first, whatever their state: their pages say how far they are."""
    return [run for run in ledger().runs() if run.kind in ("dynamic-pruning", "score")]


def duration(seconds: float | None) -> str:
    """`40 s`, `3 min 20 s`, `2 h 05 min`; "" for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def share(part: float, whole: float) -> str:
    """`41 %`, `0.4 %` where that says more, `0 %` of nothing."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"
