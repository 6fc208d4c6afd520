"""A run in progress: a bar that moves by itself, and a page drawn again once there is more to see."""

from __future__ import annotations

import streamlit as st

from engine.analysis.run_labels import active, progress, state, subject
from engine.config.kinds import PRUNING
from engine.storage.ledger import Run
from pages.shared import session
from pages.shared.escape import escape_markdown

EVERY = 1.5  # seconds between looks, only while something is waiting or running


def card(run: Run) -> None:
    """A run on the overview: what it is, how far, and what will be there to see, in the order it comes."""
    with st.container(border=True):
        st.markdown(f"**{escape_markdown(run.id)}** :gray[{escape_markdown(subject(run))}]")
        follow(run)
        if run.kind == PRUNING.name:
            with st.container(horizontal=True, gap="medium"):
                for icon, label in steps(run, {part.table for part in session.ledger().parts(run.id)}):
                    st.markdown(f":material/{icon}: :gray[{label}]", width="content")


def steps(run: Run, tables: set[str]) -> list[tuple[str, str]]:
    """The stages of dynamic pruning, each with the icon of done, in progress or ahead. `tables` have parts already."""
    reached = 2 if "metrics" in tables else 1 if "scores" in tables or "teacher_hash" in run.provenance else 0
    labels = (
        "both models trained or loaded",
        "every sample scored: then **Samples** has something to rank",
        "all arms trained, seed by seed: the curves on **Dynamic pruning** grow",
    )
    icons = ["check_circle"] * reached + ["pending"] + ["radio_button_unchecked"] * (2 - reached)
    return list(zip(icons, labels, strict=True))


def follow(run: Run) -> None:
    """Show how far a run is. While it is active this refreshes itself and redraws the page when parts arrive."""
    if not active(run):
        return
    run_id = run.id
    seen = state(run), session.ledger().parts_version()

    @st.fragment(run_every=EVERY)
    def bar() -> None:
        with session.show_errors():
            now = session.ledger().run(run_id)
            if (state(now), session.ledger().parts_version()) != seen:
                st.rerun()
            st.progress(now.fraction, escape_markdown(progress(now)))
            if not session.ledger().engine_alive():
                st.caption(":material/power_off: No engine is running; the run goes on as soon as one is started.")

    bar()
