"""What a grid of students found, in sentences, and the fit that suggests a weight. Plain text, to be escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.analysis import wording
from engine.analysis.contests import behind, standing, strongest
from engine.analysis.intervals import interval
from engine.analysis.kd_cells import Cells
from engine.analysis.wording import Measure, Verdict, percent
from engine.common.formats import count, share
from engine.config.grid import PRUNING_SCORES, Point

ROUGH = 0.2  # of a weight: a fit that misses by more says little
FEWEST = 3  # fractions, for a line with two coefficients and a residual
SCORE_NAMES = PRUNING_SCORES | {"random_fresh": "random drawn anew"}  # in the middle of a sentence


def kept_by(score: str) -> str:
    """How a score chooses, as it follows the share of the data that is kept."""
    if score == "random":
        return "kept at random"
    return "drawn anew each epoch" if score == "random_fresh" else f"kept by {PRUNING_SCORES[score]}"


def of_data(fraction: float, score: str) -> str:
    """`10 % of the data, kept at random`; `all of the data`."""
    return "all of the data" if fraction == 1 else f"{percent(fraction)} of the data, {kept_by(score)}"


def headline(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> str:
    """The best weight of the teacher at a fraction, and what it gains; if that is settled, with its strongest rival.

    "" if there is no weight to speak of.
    """
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
    settled = str(fraction) in cells.all_gains(score, teacher, noise).settled
    gained = f"{measure.difference(gain.mean)} {'over' if gain.mean >= 0 else 'against'} no teacher"
    gained = f"{gained} ({measure.spread(gain)}){'' if settled else ', not settled'}"
    rival = _rival(cells, point) if settled and gain.mean > 0 else ""
    return f"{opening} {gained}{rival}."


def _rival(cells: Cells, point: Point) -> str:
    """The strongest of what else was tried at the fraction: other scores with and without a teacher, other teachers."""
    others: dict[str, Point | None] = {}
    for name in cells.scores if point.fraction < 1 else []:
        if name != point.score:
            others[SCORE_NAMES[name]] = cells.with_teacher(name, point.fraction, point.teacher, point.noise)
            others[f"{SCORE_NAMES[name]} without a teacher"] = point._replace(score=name, kd_weight=0.0)
    for name in cells.teachers:
        if name != point.teacher:
            others[f"the teacher {name}"] = cells.with_teacher(point.score, point.fraction, name, point.noise)
    values = {name: cells.measured(other) for name, other in others.items() if other is not None}
    rival = strongest(values)
    if rival is None or not len(gaps := (cells.measured(point) - values[rival]).dropna()):
        return ""
    return f"; its strongest rival, {rival}, is {behind(gaps, cells.measure)}"


def figures(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> str:
    """How right the students of the headline are, also above chance; "" without any."""
    point = cells.with_teacher(score, fraction, teacher, noise)
    over = cells.accuracy(point) if point else interval([])
    if not over.seeds:
        return ""
    above, by = cells.measure.above(over.mean), cells.measure.chance
    right = f"{cells.measure.right(over.mean)} ({cells.measure.spread(over)})"
    return f"{right}, {above} ({by.phrase()})" if above and by else right


def verdict(cells: Cells, score: str, fraction: float, teacher: str, noise: float) -> Verdict:
    """Whether the teacher helped by more than chance, among its gains at all fractions."""
    point = cells.with_teacher(score, fraction, teacher, noise)
    if point is None:
        return "", "gray"
    settled = str(fraction) in cells.all_gains(score, teacher, noise).settled
    return wording.verdict(cells.gain(point), "the teacher helps", "the teacher hurts", settled=settled)


def against_random(cells: Cells, fraction: float, teacher: str, noise: float) -> str:
    """Whether keeping samples at random is as good as the scores if all have a teacher; "" without both."""
    if fraction == 1:
        return ""
    taught = {score: cells.with_teacher(score, fraction, teacher, noise) for score in cells.scores}
    values = {score: cells.measured(point) for score, point in taught.items() if point is not None}
    found = standing(values, "random", cells.measure, "score", SCORE_NAMES)
    return f"With a teacher at {percent(fraction)}, {found}" if found else ""


def teachers_compared(cells: Cells, score: str, fraction: float, noise: float) -> str:
    """Which of several teachers is best at a fraction, beside no teacher; "" without both."""
    taught = {name: cells.with_teacher(score, fraction, name, noise) for name in cells.teachers}
    values = {name: cells.measured(point) for name, point in taught.items() if point is not None}
    values[""] = cells.measured(Point(score, fraction, 0.0, "", noise))
    found = standing(values, "", cells.measure, "teacher", {name: name or "no teacher" for name in values})
    return f"At {of_data(fraction, score)}, {found}" if found else ""


def rise(cells: Cells, score: str, teacher: str, noise: float) -> str:
    """Whether less data calls for more teacher: the best weight of each seed at both ends; "" without both."""
    fractions = list(cells.ridge(score, teacher, noise))
    if len(fractions) < 2:
        return ""
    least, most = fractions[0], fractions[-1]
    ends = [cells.best_weights(score, fraction, teacher, noise) for fraction in (least, most)]
    over = interval((ends[0] - ends[1]).dropna())
    if not over.seeds:
        return ""
    change = f"{over.mean:+.2f}".replace("-", "−")
    spread = f"±{over.half:.2f}, 95 % over {over.seeds} seeds" if over.known else Measure().spread(over)
    settled = "" if over.settled else ", not settled"
    return f"From {percent(most)} to {percent(least)} kept, the best weight changes by {change} ({spread}{settled})."


def at_cell(cells: Cells, point: Point) -> str:
    """`At 10 % of the data, listen to the teacher 90 %: 83.1 % right (±1.2, 95 % over 3 seeds).`"""
    data = "all of the data" if point.fraction == 1 else f"{percent(point.fraction)} of the data"
    listen = f"listen to the teacher {percent(point.kd_weight)}" if point.kd_weight else "listen to no teacher"
    accuracy = cells.accuracy(point)
    if not accuracy.seeds:
        return f"At {data}, {listen}: no student has finished here."
    above = f", {above}" if (above := cells.measure.above(accuracy.mean)) else ""
    return f"At {data}, {listen}: {cells.measure.right(accuracy.mean)} ({cells.measure.spread(accuracy)}){above}."


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
