"""What was measured of distilled sets: accuracies of every method over eval seeds, looked up by set.

Every method is measured with several eval seeds, each a fresh start of the model, and an eval seed has the same number
in every method, so two methods are compared within each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from engine.analysis.contests import Family, family, strongest
from engine.analysis.intervals import Interval, interval
from engine.analysis.wording import flops
from engine.common.formats import count
from engine.config.distillation import METHODS, SetKey

MACHINE_MADE = ("embeddings", "text_labels", "text")
BASELINES = ("random", "k_center", "herding")  # real samples, as many as there are distilled ones
PICTURE_METHODS = {"embeddings": "learned pictures"}


class Result(NamedTuple):
    """A method, what it is called, the accuracy of each of its eval seeds, and their mean and interval."""

    method: str
    name: str
    values: list[float]
    over: Interval


class Evaluations:
    """`Store.evaluations`, asked by what a model was trained on."""

    def __init__(self, table: pd.DataFrame, pictures: bool = False) -> None:
        self.table, self.pictures = table, pictures
        self._measured: dict[tuple[SetKey, str, str], pd.DataFrame] = {}  # a page asks for the same many times

    def measured(self, key: SetKey, method: str, trained: str | None = None) -> pd.DataFrame:
        """One row for each eval seed, by its number; `trained` is another model than the student of the set.

        Real samples depend on their number alone, so they are those of another set of the same size if this set has
        none of its own; all of them together depend on neither.
        """
        asked = key, method, trained or key.student
        if asked not in self._measured:
            self._measured[asked] = _by_eval_seed(self._rows(*asked))
        return self._measured[asked]

    def _rows(self, key: SetKey, method: str, model: str) -> pd.DataFrame:
        table = self.table
        mine = table[(table["task"] == key.task) & (table["method"] == method) & (table["trained"] == model)]
        if method == "full":
            # Recorded for the student of a set, also if another model was trained.
            own = mine[mine["student"] == key.student]
            return own if len(own) else mine
        mine = mine[(mine["student"] == key.student) & (mine["per_class"] == key.per_class)]
        exact = mine[(mine["inner_steps"] == key.inner_steps) & (mine["seed"] == key.seed)]
        return exact if len(exact) or method not in BASELINES else mine

    def accuracy(self, key: SetKey, method: str, trained: str | None = None) -> Interval:
        return interval(self.measured(key, method, trained)["accuracy"])

    def mean(self, key: SetKey, method: str, column: str) -> float:
        """Over eval seeds; NaN if nothing was measured."""
        return float(self.measured(key, method)[column].mean())

    def difference(self, key: SetKey, method: str, other: str, trained: str | None = None) -> Interval:
        """Accuracy of `method` minus that of `other`, within each eval seed."""
        one, two = self.measured(key, method, trained)["accuracy"], self.measured(key, other, trained)["accuracy"]
        return interval((one - two).dropna())

    def strongest_real(self, key: SetKey, trained: str | None = None) -> str | None:
        """Which choice of as many real samples as there are distilled ones reaches most; None if none was measured."""
        return strongest({method: self.measured(key, method, trained)["accuracy"] for method in BASELINES})

    def against_real(self, key: SetKey, methods: Sequence[str], trained: str | None = None) -> Family:
        """Each of `methods` against each way to choose as many real samples, named as `versus` names them."""
        return family(
            {
                versus(method, real): self.measured(key, method, trained)["accuracy"]
                - self.measured(key, real, trained)["accuracy"]
                for method in methods
                for real in BASELINES
            }
        )

    def methods(self, key: SetKey, trained: str | None = None) -> list[str]:
        """What was measured, in the order of METHODS."""
        return [method for method in METHODS if len(self.measured(key, method, trained))]

    def transfers(self, key: SetKey) -> list[str]:
        """Other models that were trained on what was distilled for this student, in the order recorded."""
        table = self.table
        found = table[(table["task"] == key.task) & (table["student"] == key.student)]
        found = found[found["method"].isin(METHODS) & (found["trained"] != key.student)]
        return [model for model in dict.fromkeys(found["trained"]) if self.has_distilled(key, model)]

    def has_distilled(self, key: SetKey, model: str | None = None) -> bool:
        """Whether anything machine-made of this very set was measured."""
        return any(len(self.measured(key, method, model)) for method in MACHINE_MADE)

    def among(self, methods: Mapping[str, str], task: str, key: SetKey) -> list[Result]:
        """MERGED, REPLAYS or PROMPTS as measured on a task, those that were.

        They are measured for the first set of each seed; if the seed of `key` has none, those of another stand here.
        """
        found = {method: self.measured_among(method, task, key) for method in methods}
        return [_result(method, methods[method], table) for method, table in found.items() if len(table)]

    def measured_among(self, method: str, task: str, key: SetKey) -> pd.DataFrame:
        """One row for each eval seed of one of MERGED, REPLAYS or PROMPTS; empty if it was not measured."""
        table = self.table[(self.table["task"] == task) & (self.table["student"] == key.student)]
        rows = table[table["method"] == method]
        mine = rows[rows["seed"] == key.seed]
        return _by_eval_seed(mine if len(mine) else rows[rows["seed"] == rows["seed"].iloc[0]] if len(rows) else rows)

    def results(self, key: SetKey, trained: str | None = None, *, unchanged: bool = False) -> list[Result]:
        """Every method that was measured, in the order of METHODS; `unchanged`: no text of the set has changed."""
        return [
            _result(method, self.label(key, method, trained, unchanged=unchanged), self.measured(key, method, trained))
            for method in self.methods(key, trained)
        ]

    def name(self, method: str) -> str:
        """What a method is called, for pictures or texts."""
        return (PICTURE_METHODS if self.pictures else {}).get(method, METHODS[method])

    def label(self, key: SetKey, method: str, trained: str | None = None, *, unchanged: bool = False) -> str:
        """`2 random real samples`, `all 6,920 real samples`, `decoded text`, `unchanged text`."""
        if method in BASELINES or method == "full":
            number = self.measured(key, method, trained)["samples"].mean()
            name = self.name(method).removeprefix("all ")
            return f"{'all ' if method == 'full' else ''}{count(number, name.removesuffix('s'))}"
        return self.name(method).replace("decoded", "unchanged") if unchanged else self.name(method)

    def summary(
        self, key: SetKey, *, unchanged: bool = False, chance: float = math.nan, distilling: float = math.nan
    ) -> pd.DataFrame:
        """Every method and model: accuracy with its interval (in percent), what the training took, what was chosen.

        `chance` is what guessing reaches, `distilling` the seconds that learning the set took.
        """
        rows = []
        for model in [key.student, *self.transfers(key)]:
            for method in self.methods(key, model):
                table = self.measured(key, method, model)
                over = interval(table["accuracy"])
                rates = sorted({rate for rate in table["learning_rate"] if rate == rate})
                rows.append(
                    {
                        "trained on": self.label(key, method, model, unchanged=unchanged),
                        "model": model,
                        "right": 100 * over.mean,
                        "±": 100 * over.half,
                        "above chance": 100 * (over.mean - chance),
                        "held out": 100 * table["valid"].mean(),
                        "loss": table["loss"].mean(),
                        "seconds": table["seconds"].mean(),
                        "in all": table["seconds"].mean() + (distilling if method in MACHINE_MADE else 0),
                        "steps": table["steps"].mean(),
                        "operations": flops(table["flops"].mean()),
                        "rates": ", ".join(f"{rate:g}" for rate in rates) or "learned",
                        "fresh starts": over.seeds,
                    }
                )
        return pd.DataFrame(rows)


def versus(method: str, real: str) -> str:
    """The name of a comparison."""
    return f"{method} against {real}"


def _result(method: str, name: str, table: pd.DataFrame) -> Result:
    return Result(method, name, list(table["accuracy"]), interval(table["accuracy"]))


def _by_eval_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("eval_seed", keep="last").set_index("eval_seed").sort_index()
