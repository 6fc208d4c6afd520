"""Starting a grid of distilled students: begin with a recipe, change its lists, see how large it is, start it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from engine.analysis.kd_cells import Point
from engine.common import formats
from engine.common.hashing import digest
from engine.common.text import escape_text
from engine.config.kd import PRUNING_SCORES, PrunedKdRecipe
from engine.config.load import RecipeError, load_recipe, parse_recipe, read_toml, ready_made, to_dict
from engine.config.toml import as_toml
from engine.storage.ledger import Run
from pages.shared import cluster_choice, run_select, session
from pages.shared.escape import escape_markdown

DEMO = "demo-kd"
KIND = "pruned-kd"
RULES = {
    "top": "the highest scores",
    "quota": "the highest of every class",
    "strata": "some of every level",
    "window": "the highest below the hardest",
}
HARMLESS = 10**9  # a limit no grid reaches, to count cells before they are refused


def demo() -> None:
    """The button that starts the ready-made demo."""
    if session.read_only():
        st.caption("This workspace is open read-only; open it without `--read-only` to start the demo.")
        return
    st.button(
        "Run the demo", type="primary", icon=":material/play_arrow:", key="start_demo_kd", on_click=_start_demo,
        help="Handwritten digits, a small network, nothing to download.",
    )  # fmt: skip


def _start_demo() -> None:
    with session.show_errors():
        st.session_state["kd_run"] = session.ledger().submit(load_recipe(DEMO))


def draw(runs: Sequence[Run], shown: Run | None) -> None:
    """The whole form; `runs` are the grids of this workspace, which one may start from as well, first from `shown`."""
    ready = sorted((n for n in ready_made() if read_toml(n).get("kind") == KIND), key=lambda name: name != DEMO)
    of_runs: dict[str, Mapping[str, Any]] = {f"the run {run.id}": run.recipe for run in runs}
    starts = [*of_runs, *ready]
    if not starts:
        st.caption("There is no ready-made recipe for distilled students here; put one into `recipes/`.")
        return
    first = starts.index(f"the run {shown.id}") if shown else 0
    # A key for each run on the screen: another run brings its own recipe along.
    start = st.selectbox("Start from", starts, first, key=f"kd_start_{shown.id if shown else ''}", width=360)
    base = to_dict(parse_recipe(dict(of_runs[start]) if start in of_runs else read_toml(start), start))
    raw = _fields(base)
    recipe = None
    try:
        unlimited = _parsed({**raw, "grid": {**raw["grid"], "most_cells": HARMLESS}})
        timed = [run for run in runs if cluster_choice.alike(run.recipe, raw)]
        st.caption(sized(students(unlimited), timed, str(raw["name"])))
        cells, most = len(unlimited.cells()), base["grid"]["most_cells"]
        asked = cells > most and st.checkbox(
            f"Yes, all {cells:,} cells; the limit is {most:,}", key=f"kd_limit_{digest([base, cells])}"
        )
        raw["grid"]["most_cells"] = cells if asked else most
        recipe = _parsed(raw)
    except RecipeError as error:
        st.error(escape_markdown(str(error)), icon=":material/edit_note:")
    with st.expander("The recipe as TOML", icon=":material/code:"):
        st.code(escape_text(as_toml(raw)), language="toml")
    st.button(
        "Start the grid", icon=":material/play_arrow:", type="primary", disabled=recipe is None, key="kd_start_run",
        on_click=_start, args=(recipe,),
    )  # fmt: skip


def _start(recipe: PrunedKdRecipe | None) -> None:
    with session.show_errors():
        if recipe is not None:
            st.session_state["kd_run"] = session.ledger().submit(recipe)


def _parsed(raw: Mapping[str, Any]) -> PrunedKdRecipe:
    recipe = parse_recipe(dict(raw), "This recipe")
    assert isinstance(recipe, PrunedKdRecipe)
    return recipe


def students(recipe: PrunedKdRecipe) -> int:
    """Different trainings in a grid: where all is kept no score matters, and without a teacher none does."""
    return len({(Point(*cell[:5]).key(), cell.seed) for cell in recipe.cells()})


def sized(cells: int, runs: Sequence[Run], name: str) -> str:
    """How many students that is, and how long it may take where a run of the same name was timed. Markdown."""
    said = f"{formats.count(cells, 'student')} to train"
    for run in runs:
        recipe = run.parsed() if run.name == name and run.state == "done" and run.seconds else None
        if isinstance(recipe, PrunedKdRecipe) and run.seconds:
            took, before = formats.duration(run.seconds), students(recipe)
            about = formats.duration(run.seconds * cells / before)
            return f"{said}: about {about}, as {escape_markdown(run.id)} took {took} for {before:,}."
    return f"{said}; how long that takes is known once a run of this name has been timed in the same place."


def _fields(base: dict[str, Any]) -> dict[str, Any]:
    """Every list people change often; the answer is the recipe with those changes."""
    key = digest(base)  # new fields for a new base, so that each begins with the value of its base
    raw, grid = copy.deepcopy(base), base["grid"]
    with st.container(border=True):
        left, middle, right = st.columns([2, 1, 1])
        raw["data"]["source"] = left.text_input(
            "Data", base["data"]["source"], key=f"kd_source_{key}",
            help="digits or diabetes need no network; else a Hub id, or a path on this machine.",
        )  # fmt: skip
        limit = middle.number_input(
            "Rows", min_value=0, value=base["data"].get("limit") or 0, step=100, key=f"kd_limit_{key}",
            help="How many rows to read from the start; 0 reads all.",
        )  # fmt: skip
        raw["data"]["limit"] = limit or None
        raw["name"] = right.text_input("Name", base["name"], key=f"kd_name_{key}")
        raw["grid"]["scores"] = st.multiselect(
            "Scores", list(PRUNING_SCORES), grid["scores"], format_func=PRUNING_SCORES.__getitem__,
            key=f"kd_scores_{key}", help="Ways of choosing which samples stay. Keep random: it is the fair rival.",
        )  # fmt: skip
        left, right = st.columns(2)
        raw["grid"]["fractions"] = run_select.numbers(
            left, "Shares of the data kept", grid["fractions"], f"kd_fractions_{key}",
            "Between 0 and 1; 1 is all of the data, to compare with.",
        )  # fmt: skip
        raw["grid"]["kd_weights"] = run_select.numbers(
            right, "Weights of the teacher", grid["kd_weights"], f"kd_weights_{key}",
            "0 learns from labels alone, 1 from the teacher alone. Keep 0: the gain is measured against it.",
        )  # fmt: skip
        columns = st.columns(4)
        raw["grid"]["teachers"] = columns[0].multiselect(
            "Teachers", list(base["teachers"]), grid["teachers"], key=f"kd_teachers_{key}",
            help="self is a network of the student's own size, trained on everything.",
        )  # fmt: skip
        raw["grid"]["noise"] = run_select.numbers(
            columns[1], "Shares of labels flipped", grid["noise"], f"kd_flips_{key}", "0 leaves them as they are."
        )
        raw["seeds"] = run_select.numbers(
            columns[2], "Seeds", base["seeds"], f"kd_seeds_{key}",
            "Every student is trained once with each. One seed cannot tell a difference from chance.",
        )  # fmt: skip
        rule = columns[3].selectbox(
            "What stays", list(RULES), list(RULES).index(base["selection"]["rule"]), format_func=RULES.__getitem__,
            key=f"kd_rule_{key}", help="The highest scores alone may leave a class without samples where little stays.",
        )  # fmt: skip
        skip = base["selection"]["skip_hardest"] if rule in ("strata", "window") else 0.0
        raw["selection"] = {"rule": rule, "skip_hardest": skip}
    raw["cluster"] = cluster_choice.choose(base, "kd")
    return raw
