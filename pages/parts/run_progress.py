"""A run while it is being done: a bar that moves by itself, and a page drawn again once there is more to see."""

from __future__ import annotations

import streamlit as st

from engine.ledger import Run
from pages.parts import context
from pages.parts.run_words import active, progress, state, subject
from pages.parts.words import literal

EVERY = 1.5  # seconds between looks, only while something is waiting or running


def card(run: Run) -> None:
    """A run on the overview: what it is, how far, and what will be there to see, in the order it comes."""
    with st.container(border=True):
        st.markdown(f"**{literal(run.id)}** :gray[{literal(subject(run))}]")
        follow(run)
        if run.kind == "dynamic-pruning":
            st.caption(
                "First the models are made or loaded, then every sample is scored: from there on **Samples** has "
                "something to rank. Then the arms are trained, seed by seed, and the curves on **Dynamic pruning** "
                "grow with every epoch."
            )


def follow(run: Run) -> None:
    """Show how far a run is. While it is active this looks again by itself and redraws the page when parts arrive."""
    if not active(run):
        return
    run_id = run.id
    seen = state(run), context.ledger().parts_mark()

    @st.fragment(run_every=EVERY)
    def bar() -> None:
        with context.told():
            now = context.ledger().run(run_id)
            if (state(now), context.ledger().parts_mark()) != seen:
                st.rerun()
            st.progress(now.fraction, literal(progress(now)))
            if not context.ledger().engine_alive():
                st.caption(":material/power_off: No engine is at work; the run goes on as soon as one is started.")

    bar()
