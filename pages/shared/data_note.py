"""What a run has read: how many rows of what, which columns were left out and why, how its models are scored."""

from __future__ import annotations

import streamlit as st

from engine.analysis import datasets, model_pairs
from engine.storage.ledger import Run
from pages.shared.escape import escape_markdown


def draw(run: Run) -> None:
    """The sentences that the engine recorded, once it has read the data."""
    unused = [{"column": column, "why": datasets.NOT_READ} for column in run.provenance.get("unused_columns", [])]
    sentences = [
        str(run.provenance.get("data_origin", "")),
        datasets.unused_columns(unused),
        model_pairs.own_logits(run.provenance),
    ]
    if any(sentences):
        st.caption(escape_markdown(" ".join(sentence for sentence in sentences if sentence)))
