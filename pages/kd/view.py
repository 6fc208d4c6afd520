"""The first half of the page of distilled students: what is looked at, the finding, the curves, the map and a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import kd
from engine.analysis.kd import Measure
from engine.analysis.kd_cells import Cells, Point
from engine.common import formats
from engine.config.kd import PRUNING_SCORES, PrunedKdRecipe
from engine.config.load import parse_recipe, to_dict
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.kd import charts as kd_charts
from pages.kd import heatmap
from pages.shared import charts, run_labels, session
from pages.shared.escape import escape_markdown

MANY = 6  # scores drawn at once, unless somebody asks for more
USUAL = 0.1  # the fraction looked at first, or the one nearest to it


@dataclass(frozen=True)
class View:
    """What is on the screen: the cells of a run, and where in its grid one stands."""

    run: Run
    cells: Cells
    measure: Measure
    score: str
    fraction: float
    teacher: str
    noise: float

    def at(self, weight: float) -> Point:
        return Point(self.score, self.fraction, weight, self.teacher, self.noise)


def cells_of(store: Store, run: Run) -> Cells:
    """The cells of a run of kind pruned-kd."""
    recipe = run.parsed()
    assert isinstance(recipe, PrunedKdRecipe)
    return Cells(recipe, store.grid(run.id), run_labels.active(run))


def measure_of(cells: Cells) -> Measure:
    return Measure(cells.recipe.data.task == "numbers")


def usual(cells: Cells) -> float:
    """The fraction looked at first: near USUAL and, while the grid grows, one where there is something to see."""
    there = list(cells.ridge(cells.scores[0], cells.teachers[0], cells.noises[0])) or cells.fractions
    return min(there, key=lambda fraction: abs(math.log(fraction / USUAL)))


def choose(run: Run, cells: Cells) -> View:
    """Which score, which fraction, and which teacher and share of noise where there are several; all in the address."""

    def follow() -> None:
        """Let the weight begin at the best one of the fraction that was chosen."""
        state = st.session_state
        at = (state.get("kd_teacher", cells.teachers[0]), state.get("kd_noise", cells.noises[0]))
        best = cells.best(state.get("kd_score", score), state.get("f", fraction), *at, with_teacher=False)
        if best is not None:
            state["kd_alpha"] = best

    several = [name for name, values in (("teacher", cells.teachers), ("noise", cells.noises)) if len(values) > 1]
    slots = iter(st.columns([3, 5, *[2 for _ in several]], gap="medium", vertical_alignment="bottom"))
    with next(slots):
        _keep("kd_score", cells.scores)
        score = st.selectbox(
            "Samples are kept by", cells.scores, format_func=PRUNING_SCORES.__getitem__, key="kd_score",
            bind="query-params", on_change=follow, help="How the samples that stay were chosen.",
        )  # fmt: skip
    with next(slots):
        _keep("f", cells.fractions)
        fraction = st.select_slider(
            "Share of the data kept (f)", cells.fractions, usual(cells), format_func=kd.percent, key="f",
            bind="query-params", on_change=follow,
        )  # fmt: skip
    teacher, noise = cells.teachers[0], cells.noises[0]
    if "teacher" in several:
        with next(slots):
            _keep("kd_teacher", cells.teachers)
            teacher = st.selectbox("Teacher", cells.teachers, key="kd_teacher", bind="query-params", on_change=follow)
    if "noise" in several:
        with next(slots):
            _keep("kd_noise", cells.noises)
            noise = st.selectbox(
                "Wrong labels", cells.noises, format_func=kd.percent, key="kd_noise", bind="query-params",
                on_change=follow, help="The share of training labels that were flipped on purpose.",
            )  # fmt: skip
    return View(run, cells, measure_of(cells), score, fraction, teacher, noise)


def _keep(key: str, options: list[Any]) -> None:
    """Forget a value that another run had and this one does not."""
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]


def headline(view: View) -> None:
    """The finding first, whether it is one, and how much of the grid is behind it."""
    cells, at = view.cells, (view.score, view.fraction, view.teacher, view.noise)
    said = kd.headline(cells, *at, view.measure)
    nothing = f"At {kd.of_data(view.fraction, view.score)}, there are no weights of the teacher to compare yet."
    st.subheader(said or nothing, anchor=False)
    if beside := kd.against_random(cells, view.fraction, view.teacher, view.noise, view.measure):
        st.markdown(beside)
    with st.container(horizontal=True, gap="small"):
        word, colour = kd.verdict(cells, *at)
        if word:
            st.badge(word, icon=":material/balance:", color=colour)
        st.badge(
            f"{cells.finished:,} of {formats.count(cells.wanted, 'student')}",
            icon=":material/check:" if cells.finished == cells.wanted else ":material/timelapse:",
            color="gray" if cells.finished == cells.wanted else "blue",
        )
        if cells.failures:
            st.badge(f"{cells.failures:,} failed", icon=":material/error:", color="red")
    session.explain(
        "A teacher is a network that has learned from all of the data. A student learns from the part that was kept: "
        "from its labels, and from what the teacher would have answered. The weight says how much it listens to which. "
        "It is chosen on samples held back from training, and then tested on others that nobody has looked at."
    )


def curves(view: View) -> None:
    """Accuracy against the fraction for every score, with and without the teacher."""
    cells = view.cells
    st.markdown("**How little data is enough?** :gray[solid: with the teacher, at its best weight · dashed: without]")
    drawn = cells.scores
    if len(cells.scores) > MANY:
        _keep_all("kd_drawn", cells.scores)
        usual = list(dict.fromkeys([view.score, *cells.scores]))[:MANY]
        drawn = st.pills(
            "Drawn", cells.scores, selection_mode="multi", default=usual, format_func=PRUNING_SCORES.__getitem__,
            key="kd_drawn", bind="query-params", label_visibility="collapsed",
        ) or [view.score]  # fmt: skip
    charts.show(
        kd_charts.curves(cells, drawn, view.score, view.teacher, view.noise, view.measure), key="kd_curves",
        alt=f"Accuracy on the test set against the share of data kept, for {len(drawn)} scores",
    )  # fmt: skip
    session.explain(
        "Further left means trained on fewer samples. Where the solid line of a colour lies above its dashed one, the "
        "teacher made up for some of what was thrown away. The whiskers are the range the mean lies in 95 times out "
        "of 100."
    )


def _keep_all(key: str, options: list[str]) -> None:
    if not set(st.session_state.get(key) or []) <= set(options):
        del st.session_state[key]


def weights(view: View) -> None:
    """The map of weight and fraction, the walk along the weight, the cell one stands on, and the suggestion."""
    cells = view.cells
    left, right = st.columns([11, 9], gap="large")
    with right:
        _keep("kd_alpha", cells.weights)
        best = cells.best(view.score, view.fraction, view.teacher, view.noise, with_teacher=False)
        weight = st.select_slider(
            "Weight of the teacher (α)", cells.weights, cells.weights[-1] if best is None else best,
            format_func="{:g}".format, key="kd_alpha", bind="query-params",
        )  # fmt: skip
        _cell(view, view.at(weight))
        _suggestion(view)

    def chosen() -> None:
        if tile := heatmap.clicked(cells):
            st.session_state["f"], st.session_state["kd_alpha"] = tile

    with left:
        st.markdown(f"**{view.measure.title.capitalize()}** :gray[★ best weight on held-back samples · click a tile]")
        drawn = heatmap.draw(cells, view.score, view.teacher, view.noise, view.at(weight), view.measure)
        st.plotly_chart(
            drawn, key=heatmap.KEY, on_select=chosen, selection_mode="points",
            alt="Accuracy for every share of data kept and every weight of the teacher; hatched where there is none",
            config={"displayModeBar": False, "responsive": True},
        )  # fmt: skip
        session.explain(
            "Each tile is a group of students, lighter is better. A star marks the best weight in its column; if the "
            "stars climb to the left, less data calls for more teacher. Hatched tiles have not been trained."
        )


def _cell(view: View, point: Point) -> None:
    """The cell one stands on: its seeds where they are done, a button that trains it where they are not."""
    cells, measure = view.cells, view.measure
    found, state = cells.of(point), cells.state(point)
    st.markdown(f"**{kd.walked(point, cells.accuracy(point), measure)}**")
    if len(found):
        scale = 1 if measure.numbers else 100
        form = "%.3f" if measure.numbers else "%.1f %%"
        st.dataframe(
            pd.DataFrame(
                {
                    "seed": found.index,
                    "test": scale * found["accuracy"],
                    "held back": scale * found["valid"],
                    "steps": found["steps"],
                    "seconds": found["seconds"],
                }
            ),
            hide_index=True, width="stretch", alt="Every seed of this cell",
            column_config={
                "test": st.column_config.NumberColumn(format=form),
                "held back": st.column_config.NumberColumn(format=form),
                "seconds": st.column_config.NumberColumn(format="%.2f"),
            },
        )  # fmt: skip
    if state == "failed":
        st.error(escape_markdown(cells.failure(point)), icon=":material/error:")
    elif state == "coming":
        st.caption("Still to come: it appears here as soon as it is done.")
    elif state == "missing":
        st.caption("Nobody has asked for this cell." if not cells.names(point) else "The run ended before this cell.")
    if state in ("failed", "missing") and not session.read_only():
        st.button(
            f"Train {'it' if len(cells.seeds) == 1 else f'these {len(cells.seeds)} students'}",
            icon=":material/play_arrow:", type="primary", key="kd_train", on_click=_train, args=(view, point),
            help="Starts this run's recipe again with this cell in it; what is finished is not done again.",
        )  # fmt: skip


def _train(view: View, point: Point) -> None:
    with session.show_errors():
        st.session_state["kd_run"] = session.ledger().submit(grown(view.cells, point))


def grown(cells: Cells, point: Point) -> PrunedKdRecipe:
    """The recipe of the grid with one more cell; the same recipe where it names the cell already."""
    if cells.names(point):
        return cells.recipe
    raw = to_dict(cells.recipe)
    raw["grid"]["extra"].append(point._asdict())
    recipe = parse_recipe(raw, "The grid with this cell")
    assert isinstance(recipe, PrunedKdRecipe)
    return recipe


def _suggestion(view: View) -> None:
    """A weight for any fraction, fitted to the finished cells; nothing where a line could not be wrong."""
    found = kd.fit(view.cells.ridge(view.score, view.teacher, view.noise))
    if found is None:
        return
    with st.container(border=True):
        asked = st.slider(
            "Suggest a weight for", 1, 100, round(100 * view.fraction) or 1, format="%d %% of the data", key="kd_ask"
        )
        st.markdown(f"**{found.at(asked / 100):.2f}** :gray[suggested by a fit, not measured]")
        st.caption(kd.suggested(found, asked / 100))
