"""Overrides: decisions by hand about everything that is listed, and how to undo them."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from engine.common import formats
from engine.storage.ledger import Override
from engine.storage.store import SampleQuery, Store
from pages.shared import session

MOST = 10_000  # decisions by hand are sent with every query to the store
ACTIONS = {"Keep": "keep", "Prune": "prune", "Take decisions back": ""}


def draw(store: Store, query: SampleQuery, matching: int, decided: Mapping[str, Override]) -> None:
    """One action for all samples that match: counted, confirmed, and undone with one click."""
    if matching:
        with st.popover(f"Decide about {formats.count(matching, 'sample')}", icon=":material/back_hand:"):
            _form(store, query, matching, decided)
    undo = st.session_state.get("override_undo")
    if undo:
        st.button(f"Undo: {undo['label']}", icon=":material/undo:", key="override_undo_button", on_click=_undo)


def _form(store: Store, query: SampleQuery, matching: int, decided: Mapping[str, Override]) -> None:
    if matching > MOST:
        st.text(f"{formats.count(matching, 'sample')} match. Narrow them to {MOST:,} or fewer to decide by hand.")
        return
    action = st.segmented_control("By hand", list(ACTIONS), default="Prune", required=True, key="override_action")
    note = st.text_input("Note", key="override_note", placeholder="why")
    st.caption("A decision belongs to the text and applies in every run. Scores stay as they are.")
    verb = {"Keep": "Keep", "Prune": "Prune", "Take decisions back": "Take back the decisions about"}[action]
    st.button(
        f"{verb} {'these ' if matching > 1 else 'this '}{formats.count(matching, 'sample')}",
        type="primary", key="override_confirm", on_click=_apply, args=(store, query, matching, decided, action, note),
    )  # fmt: skip


def _apply(
    store: Store, query: SampleQuery, matching: int, decided: Mapping[str, Override], action: str, note: str
) -> None:
    matched = dict.fromkeys(store.page(query, 0, matching)["content_id"])
    content_ids = [content_id for content_id in matched if content_id]
    with session.show_errors():
        session.ledger().override(content_ids, ACTIONS[action], note)
        done = {"Keep": "kept", "Prune": "pruned", "Take decisions back": "took back the decisions about"}[action]
        before = [decided.get(content_id, Override(content_id, "", "", 0.0)) for content_id in content_ids]
        label = f"{done} {formats.count(len(content_ids), 'sample')}"
        st.session_state["override_undo"] = {"label": label, "before": before}


def _undo() -> None:
    before: list[Override] = st.session_state.pop("override_undo")["before"]
    groups: dict[tuple[str, str], list[str]] = {}
    for override in before:
        groups.setdefault((override.decision, override.note), []).append(override.content_id)
    with session.show_errors():
        for (decision, note), content_ids in groups.items():
            session.ledger().override(content_ids, decision, note)
