"""What stands in the place of results while there are none: an empty workspace, or a run with nothing to show yet."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from engine.analysis import run_labels
from engine.config.load import load_recipe, ready_made
from engine.storage.ledger import Run
from pages.shared import session

WIDTH = 760  # pixels of a paragraph


def nothing(heading: str, explanation: str) -> None:
    """No run of this kind is in the workspace: what the page would show, in Markdown."""
    st.subheader(heading, anchor=False)
    st.markdown(explanation, width=WIDTH)


def demo(recipes: Sequence[str], *, key: str, help: str, label: str = "Run the demo", opens: str = "") -> None:
    """The button that queues ready-made recipes, as far as they are in this checkout.

    `opens` is the key in the address that names the run on the page; the first of them is shown next.
    """
    known = [name for name in recipes if name in ready_made()]
    if not known:
        return
    if session.read_only():
        st.caption("This workspace is open read-only; open it without `--read-only` to start the demo.")
        return
    st.button(
        label, type="primary", icon=":material/play_arrow:", key=key, on_click=_submit, args=(known, opens), help=help
    )


def _submit(recipes: Sequence[str], opens: str) -> None:
    with session.show_errors():
        queued = [session.ledger().submit(load_recipe(name)) for name in recipes]
        if opens:
            st.session_state[opens] = queued[0]


def heading(run: Run, ahead: str, event: str) -> None:
    """Whether the first result of a run is still ahead, or why it will not come: `failed before its first epoch ended`.

    `ahead` is the sentence of an active run, `event` what had not happened when another one ended.
    """
    how = {"failed": "failed", "cancelled": "was cancelled"}.get(run.state, "ended")
    st.subheader(ahead if run_labels.active(run) else f"This run {how} before {event}.", anchor=False)


def ahead(run: Run, sentence: str, event: str, explanation: str) -> None:
    """A run without results: `heading`, and in Markdown what will stand here."""
    heading(run, sentence, event)
    st.markdown(explanation, width=WIDTH)
