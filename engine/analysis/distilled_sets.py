"""The sets of a dataset distillation, and everything known of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import pandas as pd

from engine.analysis.evaluations import Evaluations, Result
from engine.analysis.wording import Chance, chance
from engine.common.formats import count
from engine.config.distillation import MAIN, DistillationRecipe, SetKey
from engine.config.kinds import DISTILLATION
from engine.storage.ledger import Run

if TYPE_CHECKING:
    from engine.storage.store import Store

Axis = Literal["per_class", "inner_steps"]


@dataclass(frozen=True)
class Inputs:
    """What a distilled set consists of: how many inputs, whether pictures, and how many still are what they were."""

    number: int
    pictures: bool
    unchanged: int = 0

    def phrase(self) -> str:
        """`2 synthetic sentences`, `10 learned pictures`."""
        return count(self.number, "learned picture") if self.pictures else count(self.number, "synthetic sentence")

    @property
    def text_counts(self) -> bool:
        """Whether any text differs from its initialization: one that does not was not distilled."""
        return not self.pictures and self.unchanged < self.number

    def some_unchanged(self) -> str:
        """`1 of 2 unchanged`; "" if all have changed, or none has."""
        return f"{self.unchanged:,} of {self.number:,} unchanged" if 0 < self.unchanged < self.number else ""


def inputs_of(table: pd.DataFrame) -> Inputs:
    """Of the inputs of one snapshot, as `Store.distilled` gives them."""
    pictures = bool(table["image"].notna().any())
    unchanged = 0 if pictures else int((table["changed"] == 0).sum())
    return Inputs(len(table), pictures, unchanged)


def class_names(inputs: pd.DataFrame) -> list[str]:
    """The classes in the order of the learned labels: every class has an input, and inputs stand in their order."""
    return list(dict.fromkeys(str(label) for label in inputs.sort_values("input")["label"]))


@dataclass(frozen=True)
class DistilledSet:
    """One set of a run, and everything that was measured in the run."""

    run: Run
    recipe: DistillationRecipe
    store: Store
    key: SetKey
    step: int | None  # of the best snapshot; None while the set is still being learned
    sets: list[SetKey]  # with at least a snapshot, in the order of the recipe
    unchanged_sets: frozenset[SetKey]  # sets of texts in which no token has changed: they are not distilled text
    evaluations: Evaluations

    @cached_property
    def snapshots(self) -> list[int]:
        return self.store.snapshots(self.run.id, self.key)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The inputs of the best snapshot, or of the last one while none is chosen."""
        latest = self.snapshots[-1] if self.step is None and self.snapshots else None
        return self.store.distilled(self.run.id, self.key, latest)

    @cached_property
    def inputs(self) -> Inputs:
        return inputs_of(self.table)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What was measured of the set while it was learned."""
        table = self.store.metrics(self.run.id)
        return table[table["arm"] == self.key.name]

    def curve(self, name: str, split: str) -> pd.DataFrame:
        """A metric by outer step, ascending."""
        table = self.metrics
        return table[(table["name"] == name) & (table["split"] == split)].sort_values("step")

    @property
    def pictures(self) -> bool:
        return self.recipe.data.task == "images"

    @property
    def unchanged(self) -> bool:
        return self.key in self.unchanged_sets

    @property
    def classes(self) -> int:
        return max(1, len(class_names(self.table)))

    @property
    def distilling(self) -> float:
        """Seconds that learning this set took so far; NaN if they are not known."""
        return float(self.metrics.loc[self.metrics["name"] == "seconds_distilling", "value"].max())

    def chance(self, task: str) -> Chance | None:
        """What guessing reaches on a task; None if no set of it was learned, which would name its classes.

        The store has the samples of the first task alone, so of the other one only the classes are known.
        """
        counts = self.store.test_classes(self.run.id) if task == MAIN else {}
        if task == self.key.task:
            return chance(counts, self.classes)
        key = next((each for each in self.sets if each.task == task), None)
        names = class_names(self.store.distilled(self.run.id, key)) if key else []
        return chance(counts, len(names))

    @property
    def guessing(self) -> Chance:
        """What guessing reaches on the task of this set."""
        found = self.chance(self.key.task)
        assert found is not None  # its inputs name its classes
        return found

    def alone(self, task: str) -> list[Result]:
        """What the distilled inputs of a task reach on that task alone, to compare two tasks at once with."""
        key = next((each for each in self.sets if each.task == task and each.student == self.key.student), None)
        results = self.evaluations.results(key, unchanged=key in self.unchanged_sets) if key else []
        named = [result._replace(name=f"{result.name}, alone") for result in results]
        return [result for result in named if result.method in ("embeddings", "text")]

    def measured_along(self, axis: Axis) -> list[SetKey]:
        """The sets that differ from this one in `axis` alone and were measured, ascending."""
        return [key for key in along(self.sets, self.key, axis) if self.evaluations.has_distilled(key)]

    def curves_along(self, axis: Axis, methods: Sequence[str]) -> dict[str, list[tuple[int, Result]]]:
        """For each method that was measured, its result at each value of `axis`; text only if it has changed."""
        found: dict[str, list[tuple[int, Result]]] = {}
        for key in self.measured_along(axis):
            for result in self.evaluations.results(key):
                if result.method.startswith("text") and key in self.unchanged_sets:
                    continue
                found.setdefault(result.method, []).append((int(getattr(key, axis)), result))
        return {method: found[method] for method in methods if method in found}


def sets_of(store: Store, run: Run) -> dict[SetKey, int | None]:
    """Every set with a snapshot and the step of its best one (None while it is learned), in the recipe's order."""
    done = {
        SetKey(*values[:-1]): int(values[-1])
        for values in store.distilled_sets(run.id)[[*SetKey._fields, "step"]].itertuples(index=False, name=None)
    }
    begun = set(store.metrics(run.id)["arm"])
    named = run.recipe_as(DISTILLATION).sets()
    return {key: done.get(key) for key in named if key in done or (key.name in begun and store.snapshots(run.id, key))}


def distilled_set(store: Store, run: Run, sets: dict[SetKey, int | None], key: SetKey) -> DistilledSet:
    """One of `sets_of`."""
    recipe = run.recipe_as(DISTILLATION)
    table = store.distilled_sets(run.id)
    same = table[(table["length"] > 0) & (table["changed"] == 0)][[*SetKey._fields]]
    unchanged = frozenset(SetKey(*values) for values in same.itertuples(index=False, name=None))
    evaluations = Evaluations(store.evaluations(run.id), recipe.data.task == "images")
    return DistilledSet(run, recipe, store, key, sets[key], list(sets), unchanged, evaluations)


def along(sets: Sequence[SetKey], key: SetKey, axis: Axis) -> list[SetKey]:
    """The sets that differ in `axis` alone, ascending.

    The recipe varies one thing at a time around its first set, so if `key` varies the other thing that one is put
    back to the first.
    """

    def line(middle: SetKey) -> list[SetKey]:
        same = [each for each in sets if _without(each, axis) == _without(middle, axis)]
        return sorted(same, key=lambda each: int(getattr(each, axis)))

    mine, first = line(key), sets[0]
    if len(mine) > 1:
        return mine
    if axis == "per_class":
        return line(key._replace(inner_steps=first.inner_steps))
    return line(key._replace(per_class=first.per_class))


def _without(key: SetKey, axis: Axis) -> dict[str, object]:
    return {name: value for name, value in key._asdict().items() if name != axis}


def inner_steps(recipe: DistillationRecipe) -> int:
    """Inner steps to differentiate through, which take most of the time: those of every outer step of every set."""
    return sum(recipe.outer.steps * key.inner_steps for key in recipe.sets())
