"""The cells of a grid of students, looked up by what they are, and the best weight of the teacher at each place.

A weight is chosen by accuracy on the held-out part of the training data and then judged on the test set, which the
choice has never used. Two weights are compared over the seeds that both have finished.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import pandas as pd

from engine.analysis.contests import Family, family
from engine.analysis.intervals import Interval, interval
from engine.analysis.wording import Measure, chance
from engine.config.grid import Point
from engine.config.kd import PrunedKdRecipe
from engine.config.load import parse_recipe, to_dict

State = Literal["done", "failed", "coming", "missing"]
MEASURED = ["valid", "accuracy", "samples", "flipped", "steps", "seconds"]
FIRST_FRACTION = 0.1  # looked at first, or the one nearest to it


class Cells:
    """What a grid has finished so far, and what its recipe names."""

    def __init__(
        self, recipe: PrunedKdRecipe, grid: pd.DataFrame, active: bool, classes: Mapping[str, int] | None = None
    ) -> None:
        """`grid` is `Store.grid`; `active` says whether more is coming; `classes` is `Store.test_classes`."""
        self.recipe, self.grid, self.active = recipe, grid, active
        self.measure = Measure(recipe.data.task == "numbers", chance(classes or {}))
        named = recipe.cells()
        self.seeds = list(recipe.seeds)
        self.scores = recipe.used_scores()
        self.teachers = recipe.used_teachers()
        self.noises = recipe.used_noise()
        self.fractions = sorted({cell.fraction for cell in named})
        self.weights = sorted({cell.kd_weight for cell in named})
        self._named = {cell.point.identity for cell in named}
        self._done: dict[Point, dict[int, tuple[float, ...]]] = {}
        self._failed: dict[Point, dict[int, str]] = {}
        keys = grid[[*Point._fields, "seed", "failed", *MEASURED]].itertuples(index=False, name=None)
        for score, fraction, weight, teacher, noise, seed, failed, *measured in keys:
            point = Point(score, fraction, weight, teacher, noise).identity
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
        found = self._done.get(point.identity, {})
        return pd.DataFrame.from_dict(found, orient="index", columns=MEASURED).sort_index()

    def accuracy(self, point: Point) -> Interval:
        """On the test set, over seeds."""
        return interval(measured[1] for measured in self._done.get(point.identity, {}).values())

    def measured(self, point: Point) -> pd.Series:
        """Accuracy on the test set of each finished seed, by seed."""
        return self.of(point)["accuracy"]

    def failure(self, point: Point) -> str:
        """Why a seed of the point failed, in its own sentence; "" if none did."""
        return next(iter(self._failed.get(point.identity, {}).values()), "")

    def state(self, point: Point) -> State:
        """Whether every seed is done, one has failed, more is coming, or the recipe would have to name it."""
        key = point.identity
        if len(self._done.get(key, {})) >= len(self.seeds):
            return "done"
        if key in self._failed:
            return "failed"
        return "coming" if self.active and key in self._named else "missing"

    def names(self, point: Point) -> bool:
        """Whether the recipe has the point already."""
        return point.identity in self._named

    def best(self, score: str, fraction: float, teacher: str, noise: float, *, with_teacher: bool) -> float | None:
        """The weight with the highest mean accuracy on the validation samples; the smaller one of equal ones.

        `with_teacher` leaves the weight 0 out. None if nothing can be compared: one weight of several that the
        recipe names is no choice, unless the others failed.
        """
        offered, valid = 0, dict[float, dict[int, float]]()
        for weight in self.weights:
            key = Point(score, fraction, weight, teacher, noise).identity
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

    def with_teacher(self, score: str, fraction: float, teacher: str, noise: float) -> Point | None:
        """The point with the best weight above 0; None if weights cannot be compared there."""
        weight = self.best(score, fraction, teacher, noise, with_teacher=True)
        return None if weight is None else Point(score, fraction, weight, teacher, noise)

    def gains(self, point: Point) -> pd.Series:
        """Accuracy on the test set minus that of no teacher at the same score, fraction and noise, by seed."""
        return (self.measured(point) - self.measured(point._replace(kd_weight=0.0))).dropna()

    def gain(self, point: Point) -> Interval:
        """Of `gains`, over seeds."""
        return interval(self.gains(point))

    def all_gains(self, score: str, teacher: str, noise: float) -> Family:
        """What the teacher gains at every fraction: they are read side by side. Named by `str(fraction)`."""
        best = {fraction: self.with_teacher(score, fraction, teacher, noise) for fraction in self.fractions}
        return family({str(f): self.gains(point) for f, point in best.items() if point is not None})

    def best_weights(self, score: str, fraction: float, teacher: str, noise: float) -> pd.Series:
        """The weight best on the validation samples, by seed; equal ones are averaged.

        Of the seeds that have finished every weight; weights that failed are left out.
        """
        points = [Point(score, fraction, weight, teacher, noise) for weight in self.weights]
        offered = [point for point in points if self.state(point) != "failed"]
        valid = pd.DataFrame({point.kd_weight: self.of(point)["valid"].round(9) for point in offered}).dropna()
        best = valid.eq(valid.max(axis="columns"), axis="index")
        return best.mul(pd.Series(best.columns, best.columns)).sum(axis="columns") / best.sum(axis="columns")

    def ridge(self, score: str, teacher: str, noise: float) -> dict[float, float]:
        """The best weight, 0 included, at each fraction where weights can be compared."""
        best = {f: self.best(score, f, teacher, noise, with_teacher=False) for f in self.fractions}
        return {fraction: weight for fraction, weight in best.items() if weight is not None}

    def curve(self, score: str, teacher: str, noise: float) -> list[Point]:
        """At each fraction the point with the best weight above 0; for teacher "" those without a teacher."""
        if teacher:
            found = [self.with_teacher(score, fraction, teacher, noise) for fraction in self.fractions]
            return [point for point in found if point is not None]
        points = [Point(score, fraction, 0.0, "", noise) for fraction in self.fractions]
        return [point for point in points if self.accuracy(point).seeds]

    def first_fraction(self) -> float:
        """The fraction looked at first: near FIRST_FRACTION and, while the grid grows, one with weights to compare."""
        comparable = list(self.ridge(self.scores[0], self.teachers[0], self.noises[0])) or self.fractions
        return min(comparable, key=lambda fraction: abs(math.log(fraction / FIRST_FRACTION)))


def students(recipe: PrunedKdRecipe) -> int:
    """Different trainings in a grid, equal ones counted once."""
    return len({(cell.point.identity, cell.seed) for cell in recipe.cells()})


def extended(recipe: PrunedKdRecipe, point: Point) -> PrunedKdRecipe:
    """The recipe of a grid with one more cell. Raises RecipeError if that is one too many."""
    raw = to_dict(recipe)
    raw["grid"]["extra"].append(point._asdict())
    found = parse_recipe(raw, "The grid with this cell")
    assert isinstance(found, PrunedKdRecipe)
    return found
