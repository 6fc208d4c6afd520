"""Means over seeds, with Student's 95 % intervals, p-values, and their correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
    numbers = _finite(values)
    mean = float(numbers.mean()) if len(numbers) else math.nan
    error = _standard_error(numbers)
    half = student_t(LEVEL, len(numbers) - 1) * error if math.isfinite(error) else math.nan
    return Interval(mean, mean - half, mean + half, len(numbers))


def p_value(values: Iterable[float]) -> float:
    """The two-sided p of Student's test that the mean of independent values, one a seed, is 0; of differences, paired.

    In [0, 1], to about 1e-15; below 0.05 if the 95 % `interval` leaves zero out. NaN and infinities are left out, NaN
    if fewer than two values are left, or if they do not differ (Student 1908, The Probable Error of a Mean).
    """
    numbers = _finite(values)
    error, degrees = _standard_error(numbers), len(numbers) - 1
    if math.isnan(error):
        return math.nan
    theta = math.atan(abs(float(numbers.mean())) / error / math.sqrt(degrees))
    return min(max(0.0, 1 - _within(theta, degrees)), 1.0)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of several hypotheses, adjusted so that a false one among them is settled in at most 5 % of studies.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure: of m p-values the i-th smallest is multiplied by
    m - i + 1, is at least as large as those before it, and at most 1. A hypothesis is settled if its adjusted p is at
    most 0.05; that holds however the hypotheses depend on each other. NaN, a hypothesis that could not be tested, stays
    NaN and is not among the m.
    """
    adjusted = dict(p_values)
    tested = sorted((name for name, p in p_values.items() if not math.isnan(p)), key=lambda name: p_values[name])
    largest = 0.0
    for before, name in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - before) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def _finite(values: Iterable[float]) -> np.ndarray:
    return np.array([value for value in values if math.isfinite(value)], dtype=np.float64)


def _standard_error(numbers: np.ndarray) -> float:
    """Of the mean of finite numbers; NaN for fewer than 2, and if they differ by rounding alone."""
    if len(numbers) < 2 or np.ptp(numbers) <= SAME * np.abs(numbers).max():
        return math.nan
    return float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
