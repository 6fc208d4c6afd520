"""A finished distillation on the overview: its finding, the inputs themselves, and the way to its page."""

from __future__ import annotations

import streamlit as st

from engine.analysis import distillation
from engine.analysis.distilled_sets import distilled_set, sets_of
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.distillation import cards
from pages.shared import links, session
from pages.shared.escape import escape_markdown

MOST_TEXTS = 4


def draw(run: Run, store: Store) -> None:
    """The card, for the set its page begins with."""
    sets = sets_of(store, run)
    key = next((key for key, step in sets.items() if step is not None), None)
    if key is None:
        st.subheader("No input was learned to its end.", anchor=False)
    else:
        shown = distilled_set(store, run, sets, key)
        finding = distillation.headline(shown.evaluations, key, shown.inputs, shown.guessing.share)
        st.subheader(finding or f"{shown.inputs.phrase()}, not measured yet.", anchor=False)
    guessing = f" Guessing gives {shown.guessing.phrase()}." if key is not None else ""
    st.caption(f"Learned, not selected, in {escape_markdown(run.id)}.{guessing}")
    if key is not None:
        style: cards.Style = "trajectory stills" if shown.pictures else "trajectory"
        tokens = cards.NO_TOKENS if shown.pictures else store.distilled_tokens(run.id, key)
        synthetic = shown.recipe.synthetic
        cards.show(
            cards.prepared(
                shown.table if shown.pictures else shown.table.head(MOST_TEXTS), tokens, style,
                similarity=synthetic.similarity, initialization=synthetic.initialization,
            ),
            key="distilled_card",
        )  # fmt: skip
        session.explain(
            "Nobody wrote these: a machine changed them step by step until a model trained on nothing else did well."
        )
    st.space("stretch")
    links.results(run, "See how", onward=True)
