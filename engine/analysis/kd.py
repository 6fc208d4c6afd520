"""What a grid of students found, in sentences, and the fit that suggests a weight. Plain text, to be escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.analysis import wording
from engine.analysis.intervals import Interval, interval
from engine.analysis.kd_cells import Cells
from engine.analysis.wording import Verdict, listed, percent
from engine.common.formats import count, share
from engine.config.grid import PRUNING_SCORES, Point

ROUGH = 0.2  # of a weight: a fit that misses by more says little
FEWEST = 3  # fractions, for a line with two coefficients and a residual


def kept_by(score: str) -> str:
    """How a score chooses, as it follows the share of the data that is kept."""
    if score == "random":
        return "kept at random"
    return "drawn anew each epoch" if score == "random_fresh" else f"kept by {PRUNING_SCORES[score]}"


def of_data(fraction: float, score: str) -> str:
    """`10 % of the data, kept at random`; `all of the data`."""
    return "all of the data" if fraction == 1 else f"{percent(fraction)} of the data, {kept_by(score)}"


def headline(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> str:
    """The best weight of the teacher at a fraction and what it gains, and whether that is settled; "" without one."""
    point = cells.with_teacher(score, fraction, teacher, noise)
    if point is None:
        return ""
    measure, weight = cells.measure, point.kd_weight
    gain, at = cells.gain(point), f"At {of_data(fraction, score)}"
    if not gain.seeds:
        right = measure.right(cells.accuracy(point).mean)
        return f"{at}, the best teacher weight is {weight:g}: {right}; what no teacher reaches is not known yet."
    opening = f"{at}, the best teacher weight is {weight:g}:"
    if cells.best(score, fraction, teacher, noise, with_teacher=False) == 0:
        # Chosen and judged on different samples: if they disagree, the sentence names both.
        opening = (
            f"{at}, the held-out samples prefer no teacher; on the test set weight {weight:g}, the next best, gives"
        )
    gained = f"{measure.difference(gain.mean)} {'over' if gain.mean >= 0 else 'against'} no teacher"
    return f"{opening} {gained} ({measure.spread(gain)}){'' if gain.settled else ', not settled'}."


def verdict(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> Verdict:
    """Whether the teacher helped by more than chance."""
    point = cells.with_teacher(score, fraction, teacher, noise)
    if point is None:
        return "", "gray"
    return wording.verdict(cells.gain(point), "the teacher helps", "the teacher hurts")


def against_random(cells: Cells, fraction: float, teacher: str, noise: float) -> str:
    """Whether keeping samples at random is as good as the scores if both have a teacher; "" without both."""
    others = [score for score in cells.scores if not score.startswith("random")]
    if fraction == 1 or "random" not in cells.scores:
        return ""
    random = cells.with_teacher("random", fraction, teacher, noise)
    found: dict[str, Interval] = {}
    for score in others:
        mine = cells.with_teacher(score, fraction, teacher, noise)
        if random is not None and mine is not None:
            difference = (cells.of(mine)["accuracy"] - cells.of(random)["accuracy"]).dropna()
            if len(difference) > 1:
                found[score] = interval(difference)
    if not found:
        return ""
    better = [PRUNING_SCORES[score] for score, over in found.items() if over.settled and over.mean > 0]
    worse = sum(over.settled and over.mean < 0 for over in found.values())
    unsettled = len(found) - len(better) - worse
    opening = f"With a teacher at {percent(fraction)}"
    if better:
        return f"{opening}, {listed(better)} {'beats' if len(better) == 1 else 'beat'} keeping at random."
    sentence = f"{opening}, no score beats keeping at random: {worse} of {len(found)} end lower"
    return f"{sentence}, {unsettled} cannot be told apart from it." if unsettled else f"{sentence}."


def at_cell(cells: Cells, point: Point) -> str:
    """`At 10 % of the data, listen to the teacher 90 %: 83.1 % right.`"""
    data = "all of the data" if point.fraction == 1 else f"{percent(point.fraction)} of the data"
    listen = f"listen to the teacher {percent(point.kd_weight)}" if point.kd_weight else "listen to no teacher"
    accuracy = cells.accuracy(point)
    if not accuracy.seeds:
        return f"At {data}, {listen}: no student has finished here."
    return f"At {data}, {listen}: {cells.measure.right(accuracy.mean)} ({cells.measure.spread(accuracy)})."


@dataclass(frozen=True)
class Fit:
    """weight ≈ intercept + slope · ln f by least squares; `residual` is the root mean square of its misses."""

    intercept: float
    slope: float
    residual: float
    fractions: tuple[float, ...]  # it was fitted to, ascending

    def at(self, fraction: float) -> float:
        """The suggested weight for a fraction in (0, 1], clamped to [0, 1]."""
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
    """The suggestion, what it rests on and how far that misses."""
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
    shared = f"Of {count(a, 'sample')} that {names[0]} keeps, {names[1]} keeps {both:,} too ({share(both, a)})"
    return f"{shared}; two choices made at random would share {chance:,.0f}."
