"""A finished distillation on the overview: its finding, the inputs themselves, and the way to its page."""

from __future__ import annotations

import streamlit as st

from engine.analysis import distillation
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.distillation import cards, state
from pages.distillation.view import NO_TOKENS
from pages.shared import session
from pages.shared.escape import escape_markdown

MOST_TEXTS = 4


def draw(run: Run, store: Store) -> None:
    """The card, for the set its page begins with."""
    sets = state.sets_of(store, run)
    key = next((key for key, step in sets.items() if step is not None), None)
    if key is None:
        st.subheader("No input was learned to its end.", anchor=False)
    else:
        view = state.view_of(store, run, sets, key)
        said = distillation.headline(view.worth, key, view.made, view.classes)
        st.subheader(said or f"{view.made.said()}, not measured yet.", anchor=False)
    st.caption(f"Learned, not chosen, in {escape_markdown(run.id)}.")
    if key is not None:
        look: cards.Look = "film stills" if view.made.pictures else "film"
        inputs = view.inputs if view.made.pictures else view.inputs.head(MOST_TEXTS)
        tokens = NO_TOKENS if view.made.pictures else store.distilled_tokens(run.id, key)
        cards.show(
            cards.prepared(
                inputs, tokens, look, similarity=view.recipe.synthetic.similarity, start=view.recipe.synthetic.start
            ),
            key="distilled_card",
        )
        session.explain(
            "Nobody wrote these: a machine changed them step by step until a model trained on nothing else did well."
        )
    st.space("stretch")
    st.page_link(
        "pages/distillation/page.py", label="See how", icon=":material/arrow_forward:", icon_position="right",
        query_params={"distilled_run": run.id},
    )  # fmt: skip
