"""Which run a page shows, its state and its progress: the head of every page of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.config.kinds import Kind
from engine.storage.ledger import Run
from pages.shared import copy_link, run_list, run_progress, session
from pages.shared.escape import escape_markdown


def of_kind(kind: Kind[Any]) -> list[Run]:
    """The runs of a kind in this workspace, newest first."""
    return [run for run in session.ledger().runs() if run.kind == kind.name]


def choose(runs: Sequence[Run], key: str) -> Run:
    """The run that the address names under `key`, else one that is running, else the newest that has started."""
    ids = [run.id for run in runs]
    running = [place for place, each in enumerate(runs) if each.state == "running"]
    newest = running[0] if running else next((place for place, each in enumerate(runs) if each.state != "queued"), 0)
    forget_unless(key, ids)
    chosen = st.selectbox("Run", ids, index=newest, key=key, bind="query-params", width=340)
    return runs[ids.index(chosen)] if chosen in ids else runs[newest]


def forget_unless(key: str, options: Sequence[Any]) -> None:
    """Drop the value of a widget that is not drawn yet, if another run had it and this one does not."""
    if key in st.session_state:
        value = st.session_state[key]
        if not all(each in options for each in (value if isinstance(value, list) else [value])):
            del st.session_state[key]


def header(runs: Sequence[Run], kind: Kind[Any]) -> Run | None:
    """The choice of a run with its state, a link to it, its progress and its error; None if there is no run."""
    if not runs:
        return None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = choose(runs, kind.query)
        run_list.badge(run)
        copy_link.draw(key=f"{kind.query.removesuffix('_run')}_link", also={kind.query: run.id})
    run_progress.follow(run)
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    return run
