"""Data & models: what is there to score, and which models have read it?"""

from __future__ import annotations

import streamlit as st

from pages.shared import links, session
from pages.shared.escape import escape_markdown

st.title("What is there to score, and which models have read it?", anchor=False)

from engine.analysis import datasets, model_pairs
from pages.data import add, cards

if st.session_state.pop("data_start", False):
    links.switch("pruning")
ledger, store = session.ledger(), session.store()
known, pairs = datasets.datasets(ledger), model_pairs.pairs(ledger.runs())

# 1. What this workspace knows, in a sentence, and each set of data.
if known:
    st.markdown(f"### {datasets.sentence(known)}")
else:
    st.subheader("No data yet.", anchor=False)
    st.markdown(
        "A set of data is a table of instructions and responses, with an input between them or without. Winnow reads "
        "it from the Hugging Face Hub, from this machine, or from a file you upload, and shows it to you before "
        "anything runs.",
        width=760,
    )
if name := st.session_state.pop("data_kept", None):
    st.success(f"{escape_markdown(name)} is saved. A run can be started on it at any time.", icon=":material/check:")
for position, data in enumerate(known):
    cards.dataset(data, position, store)

# 2. Another one.
if session.read_only():
    if not known:
        st.caption("This workspace is open read-only; open it without `--read-only` to add data.")
else:
    st.header("Add data", anchor=False)
    add.draw(pairs)

# 3. The models that read it.
st.header("Models", anchor=False)
st.markdown(model_pairs.sentence(pairs, session.workspace()))
for pair in pairs:
    cards.models(pair)
session.explain(
    "The teacher is the larger model, the student the smaller one. Both must cut text into the same pieces, which the "
    "tokenizer does; only then can their guesses be compared."
)
