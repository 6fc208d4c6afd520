"""Starting a distillation: begin with a recipe, change what people change often, start it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import streamlit as st

from engine.common import formats
from engine.common.hashing import digest
from engine.common.text import escape_text
from engine.config.distillation import DistillationRecipe, InnerSettings, SyntheticSettings
from engine.config.load import RecipeError, load_recipe, parse_recipe, read_toml, ready_made, to_dict
from engine.config.toml import as_toml
from engine.storage.ledger import Run
from pages.shared import cluster_choice, run_select, session
from pages.shared.escape import escape_markdown

KIND = "distillation"
DEMOS = ("demo-text-distill", "demo-digits-distill")
LABELS = {"hard": "fixed, one class each", "soft": "learned probabilities", "unrestricted": "learned numbers"}
STARTS = {"samples": "real samples", "noise": "noise"}
OPTIMIZERS: tuple[str, ...] = get_args(InnerSettings.model_fields["optimizer"].annotation)
assert list(LABELS) == list(get_args(SyntheticSettings.model_fields["labels"].annotation))


def demo() -> None:
    """The button that queues the ready-made demos, those that are there."""
    there = [name for name in DEMOS if name in ready_made()]
    if not there:
        return
    if session.read_only():
        st.caption("This workspace is open read-only; open it without `--read-only` to start the demo.")
        return
    st.button(
        "Run the demo", type="primary", icon=":material/play_arrow:", key="start_demo_distilled", on_click=_start_demo,
        args=(there,), help="Short texts and handwritten digits, small models, nothing to download.",
    )  # fmt: skip


def _start_demo(names: Sequence[str]) -> None:
    with session.show_errors():
        queued = [session.ledger().submit(load_recipe(name)) for name in names]
        st.session_state["distilled_run"] = queued[0]


def draw(runs: Sequence[Run], shown: Run | None) -> None:
    """The whole form; `runs` are the distillations of this workspace, which one may start from, first from `shown`."""
    of_kind = [name for name in ready_made() if read_toml(name).get("kind") == KIND]
    ready = [*(name for name in DEMOS if name in of_kind), *(name for name in of_kind if name not in DEMOS)]
    of_runs: dict[str, Mapping[str, Any]] = {f"the run {run.id}": run.recipe for run in runs}
    starts = [*of_runs, *ready]
    if not starts:
        st.caption("There is no ready-made recipe for distillation here; put one into `recipes/`.")
        return
    first = starts.index(f"the run {shown.id}") if shown else 0
    # A key for each run on the screen: another run brings its own recipe along.
    start = st.selectbox("Start from", starts, first, key=f"distilled_start_{shown.id if shown else ''}", width=360)
    base = to_dict(parse_recipe(dict(of_runs[start]) if start in of_runs else read_toml(start), start))
    raw = _fields(base)
    recipe = None
    try:
        recipe = parse_recipe(raw, "This recipe")
    except RecipeError as error:
        st.error(escape_markdown(str(error)), icon=":material/edit_note:")
    if isinstance(recipe, DistillationRecipe):
        st.caption(sized(recipe, [run for run in runs if cluster_choice.alike(run.recipe, raw)]))
    with st.expander("The recipe as TOML", icon=":material/code:"):
        st.code(escape_text(as_toml(raw)), language="toml")
    st.button(
        "Start the distillation", icon=":material/play_arrow:", type="primary", disabled=recipe is None,
        key="distilled_start_run", on_click=_start, args=(recipe,),
    )  # fmt: skip


def _start(recipe: DistillationRecipe | None) -> None:
    with session.show_errors():
        if recipe is not None:
            st.session_state["distilled_run"] = session.ledger().submit(recipe)


def work(recipe: DistillationRecipe) -> int:
    """Inner steps to go back through, which is what the time goes into: those of every outer step of every set."""
    return sum(recipe.outer.steps * key.inner_steps for key in recipe.sets())


def sized(recipe: DistillationRecipe, runs: Sequence[Run]) -> str:
    """How many sets that is, and how long it may take where a run of the same name was timed. Markdown."""
    said = f"{formats.count(len(recipe.sets()), 'set')} to learn, {recipe.outer.steps:,} outer steps each"
    for run in runs:
        timed = run.parsed() if run.name == recipe.name and run.state == "done" and run.seconds else None
        if isinstance(timed, DistillationRecipe) and run.seconds:
            about = formats.duration(run.seconds * work(recipe) / work(timed))
            took = formats.duration(run.seconds)
            return f"{said}: about {about}, as {escape_markdown(run.id)} took {took} for {len(timed.sets()):,}."
    return f"{said}; how long that takes is known once a run of this name has been timed in the same place."


def _fields(base: dict[str, Any]) -> dict[str, Any]:
    """Every setting people change often; the answer is the recipe with those changes."""
    key = digest(base)  # new fields for a new base, so that each begins with the value of its base
    raw, text = copy.deepcopy(base), base["data"]["task"] == "text"
    synthetic, inner, outer = raw["synthetic"], raw["inner"], raw["outer"]
    with st.container(border=True):
        left, middle, right = st.columns([2, 1, 1])
        raw["data"]["source"] = left.text_input(
            "Data", base["data"]["source"], key=f"distilled_source_{key}",
            help="A Hub id, a path on this machine, or data that Winnow brings along.",
        )  # fmt: skip
        limit = middle.number_input(
            "Rows", min_value=0, value=base["data"].get("limit") or 0, step=100, key=f"distilled_limit_{key}",
            help="How many rows to read from the start; 0 reads all.",
        )  # fmt: skip
        raw["data"]["limit"] = limit or None
        raw["name"] = right.text_input("Name", base["name"], key=f"distilled_name_{key}")
        left, right = st.columns([2, 1])
        model = left.text_input(
            "Student", base["students"][0]["model"], key=f"distilled_model_{key}",
            help="The model the inputs are learned for: a Hub id, a folder, or scratch:NAME."
            if text
            else "The network the pictures are learned for: mlp or cnn.",
        )  # fmt: skip
        raw["students"] = _others(base["students"], model)
        raw["seeds"] = run_select.numbers(
            right, "Seeds", base["seeds"], f"distilled_seeds_{key}", "Every set is learned once with each."
        )
        columns = st.columns(4)
        synthetic["per_class"] = run_select.numbers(
            columns[0], "Inputs per class", synthetic["per_class"], f"distilled_sizes_{key}",
            "Each number is a set of its own; the first is shown first.",
        )  # fmt: skip
        inner["steps"] = run_select.numbers(
            columns[1], "Inner steps", inner["steps"], f"distilled_inner_{key}",
            "Steps of the student on the learned inputs. More teach more, and take longer to learn from.",
        )  # fmt: skip
        outer["steps"] = columns[2].number_input(
            "Outer steps", min_value=1, value=outer["steps"], step=50, key=f"distilled_outer_{key}",
            help="How often the inputs are changed.",
        )  # fmt: skip
        inner["optimizer"] = columns[3].selectbox(
            "Inner optimizer", OPTIMIZERS, OPTIMIZERS.index(inner["optimizer"]), key=f"distilled_optimizer_{key}"
        )
        columns = st.columns(4)
        synthetic["labels"] = columns[0].selectbox(
            "Labels", list(LABELS), list(LABELS).index(synthetic["labels"]), format_func=LABELS.__getitem__,
            key=f"distilled_labels_{key}",
        )  # fmt: skip
        synthetic["start"] = columns[1].selectbox(
            "Begin with", list(STARTS), list(STARTS).index(synthetic["start"]), format_func=STARTS.__getitem__,
            key=f"distilled_begin_{key}",
        )  # fmt: skip
        if text:
            synthetic["length"] = columns[2].number_input(
                "Length", min_value=1, value=synthetic["length"], step=8, key=f"distilled_length_{key}",
                help="Vectors of one input, each read as one token.",
            )  # fmt: skip
            synthetic["pull"] = columns[3].number_input(
                "Pull towards words", min_value=0.0, value=float(synthetic["pull"]), step=0.1, format="%.2f",
                key=f"distilled_pull_{key}",
                help="How strongly vectors are drawn to real tokens. More reads better, and teaches less as vectors.",
            )  # fmt: skip
    raw["cluster"] = cluster_choice.choose(base, "distilled")
    return raw


def _others(students: Sequence[Mapping[str, Any]], model: str) -> list[dict[str, Any]]:
    """The students with another model in the first place, named once where it stood further back already."""
    first = {**students[0], "model": model}
    return [first, *({**other} for other in students[1:] if other["model"] != model)]
