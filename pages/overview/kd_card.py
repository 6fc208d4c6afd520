"""A finished grid of distilled students on the overview: its finding, its curves, and the way to its page."""

from __future__ import annotations

import streamlit as st

from engine.analysis import kd
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.kd import charts as kd_charts
from pages.kd import view
from pages.shared import charts, session
from pages.shared.escape import escape_markdown

HEIGHT = 280


def draw(run: Run, store: Store) -> None:
    """The card, for the score, the fraction, the teacher and the labels that its page begins with."""
    cells = view.cells_of(store, run)
    fraction, measure = view.usual(cells), view.measure_of(cells)
    at = (cells.scores[0], fraction, cells.teachers[0], cells.noises[0])
    said = kd.headline(cells, *at, measure)
    st.subheader(said or "No student was distilled to its end.", anchor=False)
    st.caption(f"Students trained on what a score keeps, in {escape_markdown(run.id)}.")
    what = "R²" if measure.numbers else "Accuracy"
    st.markdown(f"**{what} against the share kept** :gray[solid with a teacher, dashed without]")
    drawn = kd_charts.curves(cells, [cells.scores[0]], cells.scores[0], cells.teachers[0], cells.noises[0], measure)
    charts.show(
        drawn.update_layout(height=HEIGHT, legend_y=-0.35),
        key="kd_card",
        alt=f"{what} against the share of data kept, two curves",
    )
    session.explain(
        "Further left is trained on fewer samples. The gap between the lines is what the teacher makes up for."
    )
    st.space("stretch")
    st.page_link(
        "pages/kd/page.py", label="See how", icon=":material/arrow_forward:", icon_position="right",
        query_params={"kd_run": run.id},
    )  # fmt: skip
