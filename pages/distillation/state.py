"""Which distillation is on the screen, and what stands in its place while nothing of it has been learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis import distillation
from engine.analysis.distillation import Evaluations, Inputs
from engine.common import formats
from engine.common.text import one_line
from engine.config.distillation import DistillationRecipe, SetKey
from engine.storage.ledger import Run
from engine.storage.store import Store
from pages.distillation import form
from pages.distillation.cards import class_names
from pages.shared import run_labels

MEASURE = 760  # pixels: width of a paragraph


@dataclass(frozen=True)
class View:
    """What is on the screen: one set of a run, and everything that was measured in the run."""

    run: Run
    recipe: DistillationRecipe
    store: Store
    key: SetKey
    step: int | None  # the chosen snapshot; None while the set is still being learned
    sets: list[SetKey]  # with something to look at, in the order of the recipe
    still: frozenset[SetKey]  # sets of texts in which no token has changed: they are not distilled text
    worth: Evaluations

    @cached_property
    def snapshots(self) -> list[int]:
        return self.store.snapshots(self.run.id, self.key)

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """Of the chosen snapshot, or of the last one while none is chosen."""
        latest = self.snapshots[-1] if self.step is None and self.snapshots else None
        return self.store.distilled(self.run.id, self.key, latest)

    @cached_property
    def made(self) -> Inputs:
        return distillation.inputs_of(self.inputs)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What was measured of the set on the screen while it was learned."""
        table = self.store.metrics(self.run.id)
        return table[table["arm"] == self.key.name]

    @property
    def pictures(self) -> bool:
        return self.recipe.data.task == "images"

    @property
    def classes(self) -> int:
        return max(1, len(class_names(self.inputs)))


def recipe_of(run: Run) -> DistillationRecipe:
    recipe = run.parsed()
    assert isinstance(recipe, DistillationRecipe)
    return recipe


def sets_of(store: Store, run: Run) -> dict[SetKey, int | None]:
    """Every set with something to look at and its chosen step (None while it is learned), in the recipe's order."""
    done = {
        SetKey(*values[:-1]): int(values[-1])
        for values in store.distilled_sets(run.id)[[*SetKey._fields, "step"]].itertuples(index=False, name=None)
    }
    begun = set(store.metrics(run.id)["arm"])
    named = recipe_of(run).sets()
    return {key: done.get(key) for key in named if key in done or (key.name in begun and store.snapshots(run.id, key))}


def view_of(store: Store, run: Run, sets: dict[SetKey, int | None], key: SetKey) -> View:
    recipe = recipe_of(run)
    worth = Evaluations(store.worth(run.id), recipe.data.task == "images")
    table = store.distilled_sets(run.id)
    same = table[(table["length"] > 0) & (table["changed"] == 0)][[*SetKey._fields]]
    still = frozenset(SetKey(*values) for values in same.itertuples(index=False, name=None))
    return View(run, recipe, store, key, sets[key], list(sets), still, worth)


def pick(sets: Sequence[SetKey]) -> SetKey:
    """The set looked at, by a control for each thing in which those that are left differ; all in the address."""
    left = list(sets)
    wide = {"task": 220, "student": 300, "per_class": 170, "inner_steps": 170, "seed": 120}
    labels = {
        "task": "Task",
        "student": "Learned for",
        "per_class": "Inputs per class",
        "inner_steps": "Inner steps",
        "seed": "Seed",
    }
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        for field, label in labels.items():
            options = list(dict.fromkeys(getattr(key, field) for key in left))
            name = f"distilled_{field}"
            if name in st.session_state and st.session_state[name] not in options:
                del st.session_state[name]  # another run, or another choice before this one, had it
            value: Any = options[0]
            if len(options) > 1:
                value = st.selectbox(
                    label, options, key=name, bind="query-params", width=wide[field],
                    format_func=_named if field in ("task", "student") else "{:,}".format,
                )  # fmt: skip
            left = [key for key in left if getattr(key, field) == value]
    return left[0]


def _named(value: str) -> str:
    return distillation.TASKS.get(value, one_line(value, 60))


def nothing() -> None:
    """An empty workspace: what this page is about, and a button that fills it."""
    st.subheader("Nothing has been distilled in this workspace yet.", anchor=False)
    st.markdown(
        "Instead of choosing samples, a machine can make them. A few inputs per class are learned: numbers that are "
        "changed, step by step, until a model trained on nothing else answers real questions as well as possible. For "
        "pictures they can be looked at. For text every learned vector is read as the nearest word. This page shows "
        "what they look like, how they came to be, and what they are worth beside real samples.",
        width=MEASURE,
    )
    form.demo()


def to_come(run: Run) -> None:
    """What will stand on the page, while nothing is learned."""
    if run_labels.active(run):
        st.subheader("The first learned inputs are still ahead.", anchor=False)
    elif run.state == "failed":
        st.subheader("This run failed before its first inputs were learned.", anchor=False)
    elif run.state == "cancelled":
        st.subheader("This run was cancelled before its first inputs were learned.", anchor=False)
    else:
        st.subheader("This run ended without learned inputs.", anchor=False)
    recipe = recipe_of(run)
    st.markdown(
        f"It learns {formats.count(len(recipe.sets()), 'set')} of inputs, {recipe.outer.steps:,} outer steps each, keeps "
        f"{formats.count(recipe.outer.snapshots, 'moment')} of the way, and then measures each set with "
        f"{formats.count(recipe.worth.heads, 'fresh head')} beside real samples. The inputs, the film of how they "
        "came to be, and what they are worth will stand here, one after the other.",
        width=MEASURE,
    )
