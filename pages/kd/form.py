"""Starting a grid of students: begin with a recipe, change its lists, see how large it is, start it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.analysis.kd_cells import students
from engine.common import formats
from engine.common.hashing import digest
from engine.config.grid import PRUNING_SCORES
from engine.config.kinds import KD
from engine.storage.ledger import Run
from pages.shared import form

DEMOS = ("demo-kd",)
RULES = {
    "top": "the highest scores",
    "quota": "the highest of every class",
    "strata": "some of every level",
    "window": "the highest below the hardest",
}
UNREACHED = 10**9  # a limit no grid reaches, to count cells before they are refused


def draw(runs: Sequence[Run], shown: Run | None) -> None:
    """The whole form; `runs` are the grids of this workspace, which one may start from as well, first from `shown`."""
    base = form.begin_with_run(KD, DEMOS, runs, shown, prefix="kd")
    if base is None:
        return
    raw, recipe = _fields(base), None
    unlimited = form.checked({**raw, "grid": {**raw["grid"], "most_cells": UNREACHED}}, KD)
    if unlimited is not None:
        what = f"{formats.count(students(unlimited), 'student')} to train"
        st.caption(form.estimate(what, unlimited, runs, KD, unlimited.name, lambda of: (students(of), students(of))))
        cells, most = len(unlimited.cells()), base["grid"]["most_cells"]
        agreed = cells > most and st.checkbox(
            f"Yes, all {cells:,} cells; the limit is {most:,}", key=f"kd_limit_{digest([base, cells])}"
        )
        raw["grid"]["most_cells"] = cells if agreed else most
        recipe = form.checked(raw, KD)
    form.show_toml(raw)
    form.start_button("Start the grid", recipe, KD, key="kd_start_run")


def _fields(base: dict[str, Any]) -> dict[str, Any]:
    """Every list people change often; the answer is the recipe with those changes."""
    fields = form.Fields("kd", base)
    raw, grid = copy.deepcopy(base), base["grid"]
    with st.container(border=True):
        left, middle, right = st.columns([2, 1, 1])
        raw["data"] = fields.data(
            left, middle, "digits or diabetes need no network; else a Hub id, or a path on this machine."
        )
        raw["name"] = right.text_input("Name", base["name"], key=fields.key("name"))
        raw["grid"]["scores"] = st.multiselect(
            "Scores", list(PRUNING_SCORES), grid["scores"], format_func=PRUNING_SCORES.__getitem__,
            key=fields.key("scores"),
            help="Ways of choosing which samples stay. Keep random: it is the baseline at the same cost.",
        )  # fmt: skip
        left, right = st.columns(2)
        raw["grid"]["fractions"] = fields.numbers(
            left, "Shares of the data kept", grid["fractions"], "fractions",
            "Between 0 and 1; 1 is all of the data, to compare with.",
        )  # fmt: skip
        raw["grid"]["kd_weights"] = fields.numbers(
            right, "Weights of the teacher", grid["kd_weights"], "weights",
            "0 learns from labels alone, 1 from the teacher alone. Keep 0: the gain is measured against it.",
        )  # fmt: skip
        columns = st.columns(4)
        raw["grid"]["teachers"] = columns[0].multiselect(
            "Teachers", list(base["teachers"]), grid["teachers"], key=fields.key("teachers"),
            help="self is a network of the student's own size, trained on everything.",
        )  # fmt: skip
        raw["grid"]["noise"] = fields.numbers(
            columns[1], "Shares of labels flipped", grid["noise"], "flips", "0 leaves them as they are."
        )
        raw["seeds"] = fields.seeds(
            columns[2], "Every student is trained once with each. One seed cannot tell a difference from chance."
        )
        rule = fields.choice(
            columns[3], "What stays", RULES, base["selection"]["rule"], "rule",
            "The highest scores alone may leave a class without samples where little stays.",
        )  # fmt: skip
        skip = base["selection"]["skip_hardest"] if rule in ("strata", "window") else 0.0
        raw["selection"] = {"rule": rule, "skip_hardest": skip}
    raw["cluster"] = fields.cluster()
    return raw
