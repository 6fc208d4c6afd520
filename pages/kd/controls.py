"""What of a grid is on the screen: its run, and a place in the grid that stands in the address."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from engine.analysis import run_labels
from engine.analysis.kd_cells import Cells
from engine.analysis.wording import percent
from engine.config.grid import PRUNING_SCORES, Point
from engine.config.kinds import KD
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.shared import run_select


@dataclass(frozen=True)
class View:
    """The cells of a run, and the place in its grid that is looked at."""

    run: Run
    cells: Cells
    score: str
    fraction: float
    teacher: str
    noise: float

    @property
    def place(self) -> tuple[str, float, str, float]:
        """Score, fraction, teacher, noise: a cell for every weight of the teacher."""
        return self.score, self.fraction, self.teacher, self.noise

    def at(self, weight: float) -> Point:
        return Point(self.score, self.fraction, weight, self.teacher, self.noise)


def cells_of(store: Store, run: Run) -> Cells:
    """The cells of a run of kind KD."""
    return Cells(run.recipe_as(KD), store.grid(run.id), run_labels.active(run), store.test_classes(run.id))


def choose(run: Run, cells: Cells) -> View:
    """Which score and fraction, and which teacher and share of noise if there are several; all in the address."""

    def move_weight() -> None:
        """Let the weight begin at the best one of the fraction that was chosen."""
        state = st.session_state
        at = (state.get("kd_teacher", cells.teachers[0]), state.get("kd_noise", cells.noises[0]))
        best = cells.best(state.get("kd_score", score), state.get("f", fraction), *at, with_teacher=False)
        if best is not None:
            state["kd_alpha"] = best

    several = [name for name, values in (("teacher", cells.teachers), ("noise", cells.noises)) if len(values) > 1]
    slots = iter(st.columns([3, 5, *[2 for _ in several]], gap="medium", vertical_alignment="bottom"))
    with next(slots):
        run_select.forget_unless("kd_score", cells.scores)
        score = st.selectbox(
            "Samples are kept by", cells.scores, format_func=PRUNING_SCORES.__getitem__, key="kd_score",
            bind="query-params", on_change=move_weight, help="How the samples that stay were chosen.",
        )  # fmt: skip
    with next(slots):
        run_select.forget_unless("f", cells.fractions)
        fraction = st.select_slider(
            "Share of the data kept (f)", cells.fractions, cells.first_fraction(), format_func=percent, key="f",
            bind="query-params", on_change=move_weight,
        )  # fmt: skip
    teacher, noise = cells.teachers[0], cells.noises[0]
    if "teacher" in several:
        with next(slots):
            run_select.forget_unless("kd_teacher", cells.teachers)
            teacher = st.selectbox(
                "Teacher", cells.teachers, key="kd_teacher", bind="query-params", on_change=move_weight
            )
    if "noise" in several:
        with next(slots):
            run_select.forget_unless("kd_noise", cells.noises)
            noise = st.selectbox(
                "Wrong labels", cells.noises, format_func=percent, key="kd_noise", bind="query-params",
                on_change=move_weight, help="The share of training labels that were flipped on purpose.",
            )  # fmt: skip
    return View(run, cells, score, fraction, teacher, noise)
