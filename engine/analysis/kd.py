"""What a grid of distilled students found, in sentences, and the fit that suggests a weight. Pure functions.

Plain text, to be escaped where it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.analysis.intervals import Interval, interval
from engine.analysis.kd_cells import Cells, Point
from engine.common.formats import count, share
from engine.config.kd import PRUNING_SCORES

Colour = Literal["gray", "green", "red"]
ROUGH = 0.2  # of a weight: a fit that misses by more says little
FEWEST = 3  # fractions, for a line with two coefficients and something left over


@dataclass(frozen=True)
class Measure:
    """How to speak of accuracy: a share of right answers, or R² where numbers are predicted."""

    numbers: bool = False

    @property
    def title(self) -> str:
        return "R² on the test set" if self.numbers else "right on the test set"

    @property
    def tick(self) -> str:
        return ".2f" if self.numbers else ".0%"

    def said(self, value: float) -> str:
        """`83.1 %`, or `0.831`."""
        return f"{value:.3f}" if self.numbers else f"{100 * value:.1f} %"

    def right(self, value: float) -> str:
        """`83.1 % right`, or `R² 0.831`."""
        return f"R² {value:.3f}" if self.numbers else f"{100 * value:.1f} % right"

    def apart(self, change: float) -> str:
        """A difference with its sign: `+6.1 points`, or `+0.061 of R²`."""
        return f"{change:+.3f} of R²" if self.numbers else f"{100 * change:+.1f} points"

    def width(self, half: float) -> str:
        return f"{half:.3f}" if self.numbers else f"{100 * half:.1f}"


def percent(fraction: float) -> str:
    """`10 %`, `2.5 %`."""
    return f"{100 * fraction:.3g} %"


def kept_by(score: str) -> str:
    """How a score chooses, to be said after the share of the data that is kept."""
    if score == "random":
        return "kept at random"
    return "drawn anew each epoch" if score == "random_fresh" else f"kept by {PRUNING_SCORES[score]}"


def of_data(fraction: float, score: str) -> str:
    """`10 % of the data, kept at random`; `all of the data`."""
    return "all of the data" if fraction == 1 else f"{percent(fraction)} of the data, {kept_by(score)}"


def headline(cells: Cells, score: str, fraction: float, teacher: str, noise: float, measure: Measure) -> str:
    """The best weight of the teacher at a fraction and what it gains; honest about chance. "" with nothing to say."""
    weight = cells.best(score, fraction, teacher, noise, with_teacher=True)
    if weight is None:
        return ""
    point = Point(score, fraction, weight, teacher, noise)
    gain, at = cells.gain(point), f"At {of_data(fraction, score)}"
    if not gain.seeds:
        right = measure.right(cells.accuracy(point).mean)
        return f"{at}, the best teacher weight is {weight:g}: {right}; what no teacher reaches is not known yet."
    said = f"{measure.apart(gain.mean)} {'over' if gain.mean >= 0 else 'against'} no teacher"
    if cells.best(score, fraction, teacher, noise, with_teacher=False) == 0:
        # Chosen and judged on different samples: where they disagree, both are said.
        opening = (
            f"{at}, the held-back samples prefer no teacher; on the test set weight {weight:g}, the next best, gives"
        )
        return f"{opening} {said} ({spread(gain, measure)}){'' if gain.settled else ', not settled'}."
    opening = f"{at}, the best teacher weight is {weight:g}"
    return f"{opening}: {said} ({spread(gain, measure)}){'' if gain.settled else ', not settled'}."


def spread(found: Interval, measure: Measure) -> str:
    """`5 seeds, ±1.2`; `one seed` where there is no interval."""
    if found.seeds < 2:
        return "one seed"
    return f"{found.seeds} seeds, ±{measure.width((found.high - found.low) / 2)}"


def verdict(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> tuple[str, Colour]:
    """A word for a badge and its colour: whether the teacher helped by more than chance; no word while unknown."""
    weight = cells.best(score, fraction, teacher, noise, with_teacher=True)
    gain = cells.gain(Point(score, fraction, weight, teacher, noise)) if weight is not None else None
    if gain is None or not gain.seeds:
        return "", "gray"
    if not gain.settled:
        return "not settled", "gray"
    return ("the teacher helps", "green") if gain.mean > 0 else ("the teacher hurts", "red")


def against_random(cells: Cells, fraction: float, teacher: str, noise: float, measure: Measure) -> str:
    """Whether keeping samples at random is as good as the scores where both have a teacher; "" without both."""
    others = [score for score in cells.scores if not score.startswith("random")]
    if fraction == 1 or "random" not in cells.scores:
        return ""
    random = _with_teacher(cells, "random", fraction, teacher, noise)
    found: dict[str, Interval] = {}
    for score in others:
        mine = _with_teacher(cells, score, fraction, teacher, noise)
        if random is not None and mine is not None:
            apart = (cells.of(mine)["accuracy"] - cells.of(random)["accuracy"]).dropna()
            if len(apart) > 1:
                found[score] = interval(apart)
    if not found:
        return ""
    better = [PRUNING_SCORES[s] for s, apart in found.items() if apart.settled and apart.mean > 0]
    worse = [s for s, apart in found.items() if apart.settled and apart.mean < 0]
    unsettled = len(found) - len(better) - len(worse)
    opening = f"With a teacher at {percent(fraction)}"
    if better:
        return f"{opening}, {_listed(better)} {'beats' if len(better) == 1 else 'beat'} keeping at random."
    told = f"{opening}, no score beats keeping at random: {len(worse)} of {len(found)} end lower"
    return f"{told}, {unsettled} cannot be told apart from it." if unsettled else f"{told}."


def _with_teacher(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> Point | None:
    weight = cells.best(score, fraction, teacher, noise, with_teacher=True)
    return None if weight is None else Point(score, fraction, weight, teacher, noise)


def walked(point: Point, accuracy: Interval, measure: Measure) -> str:
    """`At 10 % of the data, listen to the teacher 90 %: 83.1 % right.`"""
    data = "all of the data" if point.fraction == 1 else f"{percent(point.fraction)} of the data"
    listen = f"listen to the teacher {percent(point.kd_weight)}" if point.kd_weight else "listen to no teacher"
    if not accuracy.seeds:
        return f"At {data}, {listen}: no student has finished here."
    return f"At {data}, {listen}: {measure.right(accuracy.mean)} ({spread(accuracy, measure)})."


@dataclass(frozen=True)
class Fit:
    """weight ≈ intercept + slope · ln f by least squares; `residual` is the root of the mean squared miss."""

    intercept: float
    slope: float
    residual: float
    fractions: tuple[float, ...]  # it was fitted to, ascending

    def at(self, fraction: float) -> float:
        """The suggested weight for a fraction in (0, 1], no less than 0 and no more than 1."""
        return min(1.0, max(0.0, self.intercept + self.slope * math.log(fraction)))


def fit(ridge: Mapping[float, float]) -> Fit | None:
    """A line through the best weights of the fractions, against the logarithm of f; None with fewer than FEWEST."""
    if len(ridge) < FEWEST:
        return None
    fractions = sorted(ridge)
    logs, weights = np.log(fractions), np.array([ridge[fraction] for fraction in fractions])
    slope, intercept = np.polyfit(logs, weights, 1)
    missed = weights - (intercept + slope * logs)
    return Fit(float(intercept), float(slope), float(np.sqrt(np.mean(missed**2))), tuple(fractions))


def suggested(found: Fit, fraction: float) -> str:
    """The suggestion, what it rests on and how far that misses, in words."""
    rough = " That is a rough hint at most." if found.residual > ROUGH else ""
    inside = found.fractions[0] <= fraction <= found.fractions[-1]
    outside = "" if inside else f" Nothing below {percent(found.fractions[0])} was tried, so here it is a guess."
    return (
        f"A straight line in log f through the best weights of {count(len(found.fractions), 'fraction')}; it misses "
        f"them by {found.residual:.2g} (root mean square).{rough}{outside}"
    )


def overlap(names: tuple[str, str], both: int, only_a: int, only_b: int, of: int) -> str:
    """How much of what two scores keep is the same, beside what chance would make the same."""
    a, b = both + only_a, both + only_b
    if not (a and b and of):
        return ""
    chance = a * b / of
    told = f"Of {count(a, 'sample')} that {names[0]} keeps, {names[1]} keeps {both:,} too ({share(both, a)})"
    return f"{told}; two choices made at random would share {chance:,.0f}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
