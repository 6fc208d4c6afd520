"""How much of the teacher: a heat map of weight and fraction, one cell of it, and a suggested weight."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.analysis import kd
from engine.analysis.kd_cells import extended
from engine.config.grid import Point
from engine.config.kinds import KD
from pages.kd import heatmap
from pages.kd.controls import View
from pages.shared import run_select, session
from pages.shared.escape import escape_markdown


def draw(view: View) -> None:
    """The heat map of weight and fraction, a slider of the weight, the cell it stands on, and the suggestion."""
    cells = view.cells
    left, right = st.columns([11, 9], gap="large")
    with right:
        run_select.forget_unless("kd_alpha", cells.weights)
        best = cells.best(view.score, view.fraction, view.teacher, view.noise, with_teacher=False)
        weight = st.select_slider(
            "Weight of the teacher (α)", cells.weights, cells.weights[-1] if best is None else best,
            format_func="{:g}".format, key="kd_alpha", bind="query-params",
        )  # fmt: skip
        _cell(view, view.at(weight))
        _suggestion(view)

    def move() -> None:
        if tile := heatmap.clicked(cells):
            st.session_state["f"], st.session_state["kd_alpha"] = tile

    with left:
        st.markdown(f"**{cells.measure.title.capitalize()}** :gray[★ best weight on held-out samples · click a tile]")
        drawn = heatmap.draw(cells, view.score, view.teacher, view.noise, view.at(weight))
        st.plotly_chart(
            drawn, key=heatmap.KEY, on_select=move, selection_mode="points",
            alt="Accuracy for every share of data kept and every weight of the teacher; hatched if there is none",
            config={"displayModeBar": False, "responsive": True},
        )  # fmt: skip
        if sentence := kd.rise(cells, view.score, view.teacher, view.noise):
            st.markdown(sentence)
        session.explain(
            "Each tile is a group of students, lighter is better. A star marks the best weight in its column; if the "
            "stars climb to the left, less data calls for more teacher. Hatched tiles have not been trained."
        )


def _cell(view: View, point: Point) -> None:
    """The cell on the screen: its seeds if they are done, a button that trains it if they are not."""
    cells, measure = view.cells, view.cells.measure
    found, state = cells.of(point), cells.state(point)
    st.markdown(f"**{kd.at_cell(cells, point)}**")
    if len(found):
        scale = 1 if measure.numbers else 100
        shape = "%.3f" if measure.numbers else "%.1f %%"
        st.dataframe(
            pd.DataFrame(
                {
                    "seed": found.index,
                    "test": scale * found["accuracy"],
                    "held out": scale * found["valid"],
                    "steps": found["steps"],
                    "seconds": found["seconds"],
                }
            ),
            hide_index=True, width="stretch", alt="Every seed of this cell",
            column_config={
                "test": st.column_config.NumberColumn(format=shape),
                "held out": st.column_config.NumberColumn(format=shape),
                "seconds": st.column_config.NumberColumn(format="%.2f"),
            },
        )  # fmt: skip
    if state == "failed":
        st.error(escape_markdown(cells.failure(point)), icon=":material/error:")
    elif state == "coming":
        st.caption("Still to come: it appears here as soon as it is done.")
    elif state == "missing":
        st.caption(
            "The recipe does not name this cell." if not cells.names(point) else "The run ended before this cell."
        )
    if state in ("failed", "missing") and not session.read_only():
        st.button(
            f"Train {'it' if len(cells.seeds) == 1 else f'these {len(cells.seeds)} students'}",
            icon=":material/play_arrow:", type="primary", key="kd_train", on_click=_train, args=(view, point),
            help="Starts this run's recipe again with this cell in it; what is finished is not done again.",
        )  # fmt: skip


def _train(view: View, point: Point) -> None:
    """Queue the recipe of the grid with this cell; the same recipe if it names the cell already."""
    with session.show_errors():
        cells = view.cells
        recipe = cells.recipe if cells.names(point) else extended(cells.recipe, point)
        st.session_state[KD.query] = session.ledger().submit(recipe)


def _suggestion(view: View) -> None:
    """A weight for any fraction, fitted to the finished cells; nothing if there are too few to fit a line to."""
    found = kd.fit(view.cells.ridge(view.score, view.teacher, view.noise))
    if found is None:
        return
    with st.container(border=True):
        share = st.slider(
            "Suggest a weight for", 1, 100, round(100 * view.fraction) or 1, format="%d %% of the data", key="kd_ask"
        )
        st.markdown(f"**{found.at(share / 100):.2f}** :gray[suggested by a fit, not measured]")
        st.caption(kd.suggested(found, share / 100))
