"""A finished grid of students on the overview: its finding, its curves, and the way to its page."""

from __future__ import annotations

import streamlit as st

from engine.analysis import kd
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.kd import figures
from pages.kd.controls import cells_of
from pages.shared import charts, links, session
from pages.shared.escape import escape_markdown

HEIGHT = 280


def draw(run: Run, store: Store) -> None:
    """The card, for the score, the fraction, the teacher and the labels that its page begins with."""
    cells = cells_of(store, run)
    score, teacher, noise = cells.scores[0], cells.teachers[0], cells.noises[0]
    finding = kd.headline(cells, score, cells.first_fraction(), teacher, noise)
    st.subheader(finding or "No student was trained to its end.", anchor=False)
    reached = kd.figures(cells, score, cells.first_fraction(), teacher, noise)
    st.caption(
        f"{f'{reached}. ' if reached else ''}Students trained on what a score keeps, in {escape_markdown(run.id)}."
    )
    what = "R²" if cells.measure.numbers else "Accuracy"
    st.markdown(
        f"**{what} against the share kept** :gray[solid with a teacher, dashed without · bars: 95 % over seeds]"
    )
    drawn = figures.curves(cells, [score], score, teacher, noise)
    charts.show(
        drawn.update_layout(height=HEIGHT, legend_y=-0.35, yaxis_title=None),
        key="kd_card",
        alt=f"{what} against the share of data kept, two curves",
    )
    session.explain(
        "Further left is trained on fewer samples. The gap between the lines is what the teacher makes up for."
    )
    st.space("stretch")
    links.results(run, "See how", onward=True)
