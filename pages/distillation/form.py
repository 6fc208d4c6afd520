"""Starting a dataset distillation: begin with a recipe, change what people change often, start it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import streamlit as st

from engine.analysis.distilled_sets import inner_steps
from engine.common import formats
from engine.config.distillation import DistillationRecipe, InnerSettings, SyntheticSettings
from engine.config.kinds import DISTILLATION
from engine.storage.ledger import Run
from pages.shared import form

DEMOS = ("demo-text-distill", "demo-digits-distill")
LABELS = {"hard": "fixed, one class each", "soft": "learned probabilities", "unrestricted": "learned numbers"}
STARTS = {"samples": "real samples", "noise": "noise"}
OPTIMIZERS = {name: name for name in get_args(InnerSettings.model_fields["optimizer"].annotation)}
assert list(LABELS) == list(get_args(SyntheticSettings.model_fields["labels"].annotation))


def draw(runs: Sequence[Run], shown: Run | None) -> None:
    """The whole form; `runs` are the distillations of this workspace, which one may start from, first from `shown`."""
    base = form.begin_with_run(DISTILLATION, DEMOS, runs, shown, prefix="distilled")
    if base is None:
        return
    raw = _fields(base)
    recipe = form.checked(raw, DISTILLATION)
    if recipe is not None:
        what = f"{formats.count(len(recipe.sets()), 'set')} to learn, {recipe.outer.steps:,} outer steps each"
        st.caption(form.estimate(what, recipe, runs, DISTILLATION, recipe.name, _cost))
    form.show_toml(raw)
    form.start_button("Start the distillation", recipe, DISTILLATION, key="distilled_start_run")


def _cost(recipe: DistillationRecipe) -> tuple[float, int]:
    return inner_steps(recipe), len(recipe.sets())


def _fields(base: dict[str, Any]) -> dict[str, Any]:
    """Every setting people change often; the answer is the recipe with those changes."""
    fields = form.Fields("distilled", base)
    raw, text = copy.deepcopy(base), base["data"]["task"] == "text"
    synthetic, inner, outer = raw["synthetic"], raw["inner"], raw["outer"]
    with st.container(border=True):
        left, middle, right = st.columns([2, 1, 1])
        raw["data"] = fields.data(left, middle, "A Hub id, a path on this machine, or data that Winnow brings along.")
        raw["name"] = right.text_input("Name", base["name"], key=fields.key("name"))
        left, right = st.columns([2, 1])
        model = left.text_input(
            "Student", base["students"][0]["model"], key=fields.key("model"),
            help="The model the inputs are learned for: a Hub id, a folder, or scratch:NAME."
            if text
            else "The network the pictures are learned for: mlp or cnn.",
        )  # fmt: skip
        raw["students"] = _others(base["students"], model)
        raw["seeds"] = fields.seeds(right, "Every set is learned once with each.")
        columns = st.columns(4)
        synthetic["per_class"] = fields.numbers(
            columns[0], "Inputs per class", synthetic["per_class"], "sizes",
            "Each number is a set of its own; the first is shown first.",
        )  # fmt: skip
        inner["steps"] = fields.numbers(
            columns[1], "Inner steps", inner["steps"], "inner",
            "Steps of the student on the learned inputs. More teach more, and take longer to learn from.",
        )  # fmt: skip
        outer["steps"] = columns[2].number_input(
            "Outer steps", min_value=1, value=outer["steps"], step=50, key=fields.key("outer"),
            help="How often the inputs are changed.",
        )  # fmt: skip
        inner["optimizer"] = fields.choice(columns[3], "Inner optimizer", OPTIMIZERS, inner["optimizer"], "optimizer")
        columns = st.columns(4)
        synthetic["labels"] = fields.choice(columns[0], "Labels", LABELS, synthetic["labels"], "labels")
        synthetic["initialization"] = fields.choice(
            columns[1], "Begin with", STARTS, synthetic["initialization"], "begin"
        )
        if text:
            synthetic["length"] = columns[2].number_input(
                "Length", min_value=1, value=synthetic["length"], step=8, key=fields.key("length"),
                help="Vectors of one input, each read as one token.",
            )  # fmt: skip
            synthetic["embedding_penalty"] = columns[3].number_input(
                "Embedding penalty", min_value=0.0, value=float(synthetic["embedding_penalty"]), step=0.1,
                format="%.2f", key=fields.key("pull"),
                help="How strongly vectors are drawn to real tokens. More reads better, and teaches less as vectors.",
            )  # fmt: skip
    raw["cluster"] = fields.cluster()
    return raw


def _others(students: Sequence[Mapping[str, Any]], model: str) -> list[dict[str, Any]]:
    """The students with another model in the first place, named once if it stood further back already."""
    first = {**students[0], "model": model}
    return [first, *({**other} for other in students[1:] if other["model"] != model)]
