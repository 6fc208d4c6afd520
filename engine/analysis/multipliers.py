"""Compute multipliers: how much more compute random choice needs to reach the loss that a selection has reached.

Compute is whatever was counted from the start of training: tokens trained on, floating-point operations, seconds. The
curve is measured, one point a budget, and read between its points only: what lies beyond them is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.analysis.intervals import interval

Bound = Literal["", "more", "less", "either"]
"""Whether the truth is the value itself (""), more, less, or unknown since some seeds say more and others less."""

LEAST_POINTS = 3
MOST_SHOWN, LEAST_SHOWN = 1000, 0.001  # beyond these a multiplier is not worth digits


@dataclass(frozen=True)
class Reading:
    """A compute read off a curve. `bound`: "more" or "less" if the curve ends before it; NaN if nothing can be read."""

    value: float
    bound: Bound


@dataclass(frozen=True)
class Multiplier:
    """A geometric mean over `seeds` paired ratios, and its 95 % interval over them.

    With a bound, `value` is that bound ("more": at least this), the interval is open to that side and its other end is
    unknown (NaN): ratios held at their bounds spread too little for Student's t. With bounds to both sides, "either",
    nothing is known: value NaN, interval (0, inf). One seed, or seeds that do not differ, have no interval (NaN).
    """

    value: float
    low: float
    high: float
    bound: Bound
    seeds: int


def compute_at(compute: Sequence[float], losses: Sequence[float], loss: float) -> Reading:
    """The smallest compute at which a measured curve reaches `loss`.

    `compute` and `losses` (nats) are the points of the curve in any order; points without a finite loss or with no
    compute (before training) are left out. Between points the loss is linear in log compute; if the curve rises again,
    the first crossing counts. A loss below every point needs "more" than the last compute, one above the first point
    "less" than the first. NaN with fewer than three points, or if `loss` is NaN.
    """
    x, y = _measured(compute, losses)
    if len(x) < LEAST_POINTS or math.isnan(loss):
        return Reading(math.nan, "")
    below = np.flatnonzero(y <= loss)
    if not len(below):
        return Reading(math.exp(x[-1]), "more")
    first = int(below[0])
    if first == 0:
        return Reading(math.exp(x[0]), "less" if y[0] < loss else "")
    share = (y[first - 1] - loss) / (y[first - 1] - y[first])
    return Reading(math.exp(x[first - 1] + share * (x[first] - x[first - 1])), "")


def loss_at(compute: Sequence[float], losses: Sequence[float], at: float) -> float:
    """The loss (nats) of the same curve at the compute `at`; NaN outside of its points, or with fewer than three."""
    x, y = _measured(compute, losses)
    if len(x) < LEAST_POINTS or not at > 0:
        return math.nan
    return float(np.interp(math.log(at), x, y, left=math.nan, right=math.nan))


def _measured(compute: Sequence[float], losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Log compute, rising, and the losses there."""
    points = np.array([compute, losses], dtype=np.float64)
    points = points[:, np.isfinite(points).all(axis=0) & (points[0] > 0)]
    x, y = points[:, np.argsort(points[0], kind="stable")]
    return np.log(x), y


def multiplier(readings: Sequence[Reading], compute: Sequence[float]) -> Multiplier:
    """How many times the compute of an arm the readings are, one reading and one compute a seed, paired.

    Geometric mean of the ratios, Student's interval of their logarithms. Seeds whose reading is NaN are left out.
    """
    pairs = [(of, spent) for of, spent in zip(readings, compute, strict=True) if of.value > 0 and spent > 0]
    ratios = [of.value / spent for of, spent in pairs]
    logs = interval(map(math.log, ratios))
    bounds = {of.bound for of, _ in pairs} - {""}
    value, low, high = math.exp(logs.mean), math.nan, math.nan
    if len(bounds) == 2:
        return Multiplier(math.nan, 0.0, math.inf, "either", len(pairs))
    if "more" in bounds:
        return Multiplier(value, low, math.inf, "more", len(pairs))
    if "less" in bounds:
        return Multiplier(value, 0.0, high, "less", len(pairs))
    if interval(ratios).known:  # the logarithms of ratios near 1 differ by rounding even if the ratios do not
        low, high = _exp(logs.low), _exp(logs.high)
    return Multiplier(value, low, high, "", len(pairs))


def _exp(value: float) -> float:
    """Two seeds can make an end of an interval that no float holds."""
    return math.exp(value) if value < 700 else math.inf


def multiplier_text(found: Multiplier) -> str:
    """`1.4 times (1.2 to 1.7)`, `more than 1.9 times`, `1.2 times (one seed)`; a bound is never rounded to say more."""
    if found.bound == "either":
        return "beyond what was measured, to either side"
    if math.isnan(found.value):
        return "not measured"
    one = " (one seed)" if found.seeds == 1 else ""
    if found.bound:
        return f"{found.bound} than {_bound(found.value, found.bound)} times{one}"
    if math.isnan(found.low):
        return f"{_number(found.value, _places(found.value))} times{one or f' (in each of {found.seeds} seeds)'}"
    places = _places(found.value, found.low, found.high)
    value, low, high = (_number(number, places) for number in (found.value, found.low, found.high))
    return f"{value} times ({low} to {high})"


def short_text(found: Multiplier) -> str:
    """`0.9`, `more than 1.9`, `not measured`: the multiplier without its interval."""
    if math.isnan(found.value):
        return multiplier_text(found)
    if found.bound:
        return f"{found.bound} than {_bound(found.value, found.bound)}"
    return _number(found.value, _places(found.value))


def _places(*numbers: float) -> int:
    """The fewest decimals, 1 to 3, with which the numbers read apart from each other, from 0 and from 1."""
    apart = {0.0, 1.0, *numbers}
    return next((places for places in (1, 2) if len({f"{number:.{places}f}" for number in apart}) == len(apart)), 3)


def _number(value: float, places: int) -> str:
    if value > MOST_SHOWN:
        return f"over {MOST_SHOWN}"
    return f"{value:.{places}f}" if value >= LEAST_SHOWN else f"under {LEAST_SHOWN}"


def _bound(value: float, bound: Bound) -> str:
    """A bound at the decimals of `_places`, rounded to the side on which it stays true."""
    scale = 10 ** _places(value)
    rounded = math.floor(round(value * scale, 6)) if bound == "more" else math.ceil(round(value * scale, 6))
    return f"{rounded / scale:.{_places(value)}f}"
