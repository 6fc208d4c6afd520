"""Data & models: what is there to score, and who has read it?"""

from __future__ import annotations

import streamlit as st

from pages.shared import links, session
from pages.shared.escape import escape_markdown

st.title("What is there to score, and who has read it?", anchor=False)

from pages.data import add, cards, models
from pages.data import known as data_known

if st.session_state.pop("data_start", False):
    links.switch("pruning")
ledger, store = session.ledger(), session.store()
known = data_known.known(ledger)
pairs = models.pairs(ledger.runs())

# 1. What this workspace knows, in a sentence, and each set of data.
if known:
    st.markdown(f"### {data_known.sentence(known)}")
else:
    st.subheader("No data yet.", anchor=False)
    st.markdown(
        "A set of data is a table of instructions and responses, with an input between them or without. Winnow reads "
        "it from the Hugging Face Hub, from this machine, or from a file you upload, and shows it to you before "
        "anything runs.",
        width=760,
    )
if name := st.session_state.pop("data_kept", None):
    st.success(f"{escape_markdown(name)} is kept. Start a run on it whenever you like.", icon=":material/check:")
for position, data in enumerate(known):
    cards.draw(data, position, store)

# 2. Another one.
if session.read_only():
    if not known:
        st.caption("This workspace is open read-only; open it without `--read-only` to add data.")
else:
    st.header("Add data", anchor=False)
    add.draw(pairs)

# 3. Who reads it.
st.header("Models", anchor=False)
st.markdown(models.sentence(pairs, session.workspace()))
for pair in pairs:
    models.draw(pair)
session.explain(
    "The teacher is the larger model, the student the smaller one. Both must cut text into the same pieces, which the "
    "tokenizer does; only then can their guesses be compared."
)
