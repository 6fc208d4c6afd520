"""The cells of a grid of distilled students, looked up by what they are; and which of them is best, honestly chosen.

A weight is chosen by accuracy on the held-out part of the training data and then judged on the test set, which the
choice has never seen. Two weights are compared over the seeds that both have finished.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import pandas as pd

from engine.analysis.intervals import Interval, interval
from engine.config.kd import PrunedKdRecipe

State = Literal["done", "failed", "coming", "missing"]
MEASURED = ["valid", "accuracy", "samples", "flipped", "steps", "seconds"]


class Point(NamedTuple):
    """A cell for all of its seeds."""

    score: str
    fraction: float
    kd_weight: float
    teacher: str
    noise: float

    def key(self) -> Point:
        """One key for what is one training: where all is kept no score matters, without a teacher none does."""
        return self._replace(
            score="" if self.fraction == 1 else self.score, teacher="" if self.kd_weight == 0 else self.teacher
        )


class Cells:
    """What a grid has finished so far, and what its recipe names."""

    def __init__(self, recipe: PrunedKdRecipe, grid: pd.DataFrame, active: bool) -> None:
        """`grid` is `Store.grid`; `active` says whether more is coming."""
        self.recipe, self.grid, self.active = recipe, grid, active
        named = recipe.cells()
        self.seeds = list(recipe.seeds)
        self.scores = recipe.used_scores()
        self.teachers = recipe.used_teachers()
        self.noises = recipe.used_noise()
        self.fractions = sorted({cell.fraction for cell in named})
        self.weights = sorted({cell.kd_weight for cell in named})
        self._named = {Point(*cell[:5]).key() for cell in named}
        self._done: dict[Point, dict[int, tuple[float, ...]]] = {}
        self._failed: dict[Point, dict[int, str]] = {}
        keys = grid[[*Point._fields, "seed", "failed", *MEASURED]].itertuples(index=False, name=None)
        for score, fraction, weight, teacher, noise, seed, failed, *measured in keys:
            point = Point(score, fraction, weight, teacher, noise).key()
            if failed or not math.isfinite(measured[1]):
                self._failed.setdefault(point, {})[seed] = failed or "This student gave no finite number."
            else:
                self._done.setdefault(point, {})[seed] = tuple(measured)

    @property
    def finished(self) -> int:
        """Students that are done, equal ones counted once."""
        return sum(len(seeds) for seeds in self._done.values())

    @property
    def failures(self) -> int:
        return sum(len(seeds) for seeds in self._failed.values())

    @property
    def wanted(self) -> int:
        """Students that the recipe names, equal ones counted once."""
        return len(self._named) * len(self.seeds)

    def of(self, point: Point) -> pd.DataFrame:
        """The finished seeds of a point: an index of seeds and the columns MEASURED."""
        found = self._done.get(point.key(), {})
        return pd.DataFrame.from_dict(found, orient="index", columns=MEASURED).sort_index()

    def accuracy(self, point: Point) -> Interval:
        """On the test set, over seeds."""
        return interval(measured[1] for measured in self._done.get(point.key(), {}).values())

    def failure(self, point: Point) -> str:
        """Why a seed of the point failed, in its own sentence; "" where none did."""
        return next(iter(self._failed.get(point.key(), {}).values()), "")

    def state(self, point: Point) -> State:
        """Whether every seed is done, one has failed, more is coming, or somebody would have to ask for it."""
        key = point.key()
        if len(self._done.get(key, {})) >= len(self.seeds):
            return "done"
        if key in self._failed:
            return "failed"
        return "coming" if self.active and key in self._named else "missing"

    def names(self, point: Point) -> bool:
        """Whether the recipe has the point already."""
        return point.key() in self._named

    def best(self, score: str, fraction: float, teacher: str, noise: float, *, with_teacher: bool) -> float | None:
        """The weight with the highest mean accuracy on the validation samples; the smaller one of equal ones.

        `with_teacher` leaves the weight 0 out. None where nothing can be compared: one weight of several that the
        recipe names is no choice, unless the others failed.
        """
        offered, valid = 0, dict[float, dict[int, float]]()
        for weight in self.weights:
            key = Point(score, fraction, weight, teacher, noise).key()
            done = self._done.get(key, {})
            if (with_teacher and weight == 0) or (not done and key in self._failed):
                continue
            offered += 1
            if done:
                valid[weight] = {seed: measured[0] for seed, measured in done.items()}
        shared = set.intersection(*(set(seeds) for seeds in valid.values())) if valid else set()
        if not shared or len(valid) < min(2, offered):
            return None
        # Rounded, or the order of the seeds in a sum would decide between equal weights.
        return max(valid, key=lambda weight: (round(sum(valid[weight][seed] for seed in shared), 9), -weight))

    def gain(self, point: Point) -> Interval:
        """Accuracy on the test set minus that of no teacher at the same score, fraction and noise, seed by seed."""
        with_, without = self.of(point)["accuracy"], self.of(point._replace(kd_weight=0.0))["accuracy"]
        return interval((with_ - without).dropna())

    def ridge(self, score: str, teacher: str, noise: float) -> dict[float, float]:
        """The best weight, 0 included, at each fraction where weights can be compared."""
        found = {}
        for fraction in self.fractions:
            best = self.best(score, fraction, teacher, noise, with_teacher=False)
            if best is not None:
                found[fraction] = best
        return found
