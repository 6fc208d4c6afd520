"""Means over seeds, and the 95 % intervals that belong to them: Student's, wide for few values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.95
SAME = 1e-9  # of the largest value: values that differ by less differ by rounding alone


@dataclass(frozen=True)
class Interval:
    """A mean over `seeds` values and its 95 % interval.

    With one value, or if all are equal, the interval is NaN; with none the mean too. Values that do not differ show no
    spread that a mean could be held against, so they settle nothing.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def known(self) -> bool:
        """Whether there is an interval: two values or more that are not all equal."""
        return math.isfinite(self.low)

    @property
    def half(self) -> float:
        """From the mean to either end."""
        return (self.high - self.low) / 2

    @property
    def settled(self) -> bool:
        """Whether the interval exists and leaves zero out."""
        return self.low > 0 or self.high < 0


@cache
def student_t(level: float, degrees: int) -> float:
    """The t with P(|T| <= t) = `level` for Student's T with `degrees` >= 1 degrees of freedom.

    Solves the finite series for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4) by bisection
    in theta = arctan(t / sqrt(degrees)), where it rises from 0 to 1.
    """
    if degrees < 1 or not 0 < level < 1:
        raise ValueError(f"no t for level {level} and {degrees} degrees of freedom")
    low, high = 0.0, math.pi / 2
    while (theta := (low + high) / 2) not in (low, high):
        low, high = (theta, high) if _within(theta, degrees) < level else (low, theta)
    return math.sqrt(degrees) * math.tan(theta)


def _within(theta: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan theta)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def interval(values: Iterable[float]) -> Interval:
    """Mean and 95 % interval of independent values, one a seed; NaN and infinities are left out.

    Values that are equal up to the rounding of their last digits have no interval.
    """
    numbers = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if len(numbers) < 2:
        return Interval(float(numbers[0]) if len(numbers) else math.nan, math.nan, math.nan, len(numbers))
    mean = float(numbers.mean())
    if np.ptp(numbers) <= SAME * np.abs(numbers).max():
        return Interval(mean, math.nan, math.nan, len(numbers))
    half = student_t(LEVEL, len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return Interval(mean, mean - half, mean + half, len(numbers))
