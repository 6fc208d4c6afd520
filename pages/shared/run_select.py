"""What the pages of grids and of distillations share: which run is looked at, and a field for a list of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.config.load import parse_value
from engine.storage.ledger import Run


def choose(runs: Sequence[Run], key: str) -> Run:
    """The run that the address names under `key`, else one that is going on, else the newest that has begun."""
    ids = [run.id for run in runs]
    going = [place for place, each in enumerate(runs) if each.state == "running"]
    newest = going[0] if going else next((place for place, each in enumerate(runs) if each.state != "queued"), 0)
    if st.session_state.get(key, ids[0]) not in ids:
        del st.session_state[key]
    chosen = st.selectbox("Run", ids, index=newest, key=key, bind="query-params", width=340)
    return runs[ids.index(chosen)] if chosen in ids else runs[newest]


def numbers(column: Any, label: str, values: Sequence[float], key: str, help: str) -> list[Any]:
    """A list of numbers as text, separated by commas; what is no number stays as it is, to be refused by name."""
    text = column.text_input(label, ", ".join(f"{value:g}" for value in values), key=key, help=help)
    return [parse_value(part.strip()) for part in str(text).split(",") if part.strip()]
