"""What a run on labelled samples has read: how many rows of what, and which columns were left out and why."""

from __future__ import annotations

import streamlit as st

from engine.storage.ledger import Run
from pages.shared.escape import escape_markdown


def draw(run: Run) -> None:
    """The sentence that the engine recorded, once it has read the data."""
    if origin := run.provenance.get("data_origin"):
        st.caption(escape_markdown(str(origin)))
