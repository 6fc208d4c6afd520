"""A finished distillation on the overview: its finding, the inputs themselves, and the way to its page."""

from __future__ import annotations

import streamlit as st

from engine.ledger import Run
from engine.store import Store
from pages.parts import context, distilled_cards, distilled_findings, distilled_run, words
from pages.parts.distilled_view import NO_TOKENS

MOST_TEXTS = 4


def draw(run: Run, store: Store) -> None:
    """The card, for the set its page begins with."""
    sets = distilled_run.sets_of(store, run)
    key = next((key for key, step in sets.items() if step is not None), None)
    if key is None:
        st.subheader("No input was learned to its end.", anchor=False)
    else:
        view = distilled_run.view_of(store, run, sets, key)
        said = distilled_findings.headline(view.worth, key, view.made, view.classes)
        st.subheader(said or f"{view.made.said()}, not measured yet.", anchor=False)
    st.caption(f"Learned, not chosen, in {words.literal(run.id)}.")
    if key is not None:
        look: distilled_cards.Look = "film stills" if view.made.pictures else "film"
        inputs = view.inputs if view.made.pictures else view.inputs.head(MOST_TEXTS)
        tokens = NO_TOKENS if view.made.pictures else store.distilled_tokens(run.id, key)
        distilled_cards.show(
            distilled_cards.prepared(
                inputs, tokens, look, similarity=view.recipe.synthetic.similarity, start=view.recipe.synthetic.start
            ),
            key="distilled_card",
        )
        context.plain(
            "Nobody wrote these: a machine changed them step by step until a model trained on nothing else did well."
        )
    st.space("stretch")
    st.page_link(
        "pages/distilled_data.py", label="See how", icon=":material/arrow_forward:", icon_position="right",
        query_params={"distilled_run": run.id},
    )  # fmt: skip
