"""What every page starts from: the workspace, its ledger, the store with every finished part, errors and captions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from engine.common.errors import WinnowError
from engine.config.kinds import KINDS
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace, open_workspace
from pages.shared.escape import escape_markdown

if TYPE_CHECKING:
    from engine.storage.store import Store


@st.cache_resource(show_spinner=False)
def _open(root: str | None, read_only: str | None) -> tuple[Workspace, Ledger]:
    workspace = open_workspace(root)
    return workspace, Ledger(workspace)


@st.cache_resource(show_spinner="Opening the store …")
def _store(root: str) -> Store:
    # Imported here, so that the frame is on the screen before the database library is loaded.
    from engine.storage.store import Store

    return Store(open_workspace(root))


def workspace() -> Workspace:
    # The environment is part of the key, so that a test or a second server never sees another's workspace.
    return _open(os.environ.get("WINNOW_WORKSPACE"), os.environ.get("WINNOW_READ_ONLY"))[0]


def ledger() -> Ledger:
    return _open(os.environ.get("WINNOW_WORKSPACE"), os.environ.get("WINNOW_READ_ONLY"))[1]


def store() -> Store:
    """The store, with every finished part."""
    opened = _store(str(workspace().root))
    opened.sync(ledger())
    return opened


def read_only() -> bool:
    return workspace().read_only


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a WinnowError as its sentence; for callbacks and fragments, which the frame does not guard."""
    try:
        yield
    except WinnowError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")


def explain(caption: str) -> None:
    """A short caption under a chart for people who have never trained a model; drawn if the switch is on."""
    if st.session_state.get("plain"):
        st.caption(caption)


def scored_runs() -> list[Run]:
    """Runs that score samples, newest first, in any state: their pages show how far they are."""
    return [run for run in ledger().runs() if KINDS[run.kind].scores_text]
