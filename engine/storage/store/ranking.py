"""One ranking in memory: every sample of a scoring in order of its value, so that any threshold is a binary search.

A million samples take 24 MB. The store reads a ranking once, in the order in which it lies on disk, and gets from
it what a slider needs many times a second: how many are above τ, what lies in each bin, which samples a page shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import neg

import numpy as np
from numpy.typing import NDArray

LOW_QUANTILE, HIGH_QUANTILE = 0.005, 0.995


@dataclass(frozen=True, eq=False)
class Ranking:
    """n samples with a value, from the highest to the lowest, ties by row; then m samples whose score is NaN."""

    values: NDArray[np.float64]  # (n,), descending
    rows: NDArray[np.int32]  # (n + m,)
    lengths: NDArray[np.int32]  # (n + m,), tokens
    tokens: NDArray[np.int64]  # (n + m + 1,): tokens of the first k samples

    @classmethod
    def of(cls, rows: NDArray[np.int32], values: NDArray[np.float32], lengths: NDArray[np.int32]) -> Ranking:
        """Rank scores, which may be NaN. All of shape (n + m,), in any order."""
        count = len(values) - int(np.count_nonzero(np.isnan(values)))
        if not _in_order(values, rows, count):
            order = np.argsort(_sort_keys(values, rows), kind="stable")  # merges sorted runs
            rows, values, lengths = rows[order], values[order], lengths[order]
        tokens = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=tokens[1:])
        return cls(values[:count].astype(np.float64), rows, lengths, tokens)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.rows.nbytes + self.lengths.nbytes + self.tokens.nbytes

    def values_at(self, positions: NDArray[np.int32]) -> NDArray[np.float64]:
        """The values at some positions, NaN included."""
        known = positions < len(self.values)
        values = np.full(len(positions), np.nan)
        values[known] = self.values[positions[known]]
        return values

    def count_above(self, tau: float) -> int:
        """How many samples have a value above `tau`; they are the first ones."""
        return bisect_left(self.values, -tau, key=neg)

    def count_from(self, value: float) -> int:
        """How many samples have `value` or more."""
        return bisect_right(self.values, -value, key=neg)

    def count_of(self, fraction: float) -> int:
        """How many samples the highest `fraction` of the values is: round(fraction · n)."""
        return round(fraction * len(self.values))

    def quantiles(self, qs: Sequence[float]) -> list[float]:
        """The values below which a share q of the numbers lies, interpolated linearly; NaN if there is none."""
        if not len(self.values):
            return [float("nan")] * len(qs)
        found = []
        for q in qs:
            place = (len(self.values) - 1) * (1 - q)
            before = int(place)
            after = min(before + 1, len(self.values) - 1)
            upper, lower = float(self.values[before]), float(self.values[after])
            found.append(upper + (lower - upper) * (place - before))
        return found

    def edges(self, bins: int) -> NDArray[np.float64]:
        """Borders of equal bins between the two outer percentiles, so that outliers do not flatten the histogram."""
        if not len(self.values):
            return np.linspace(0.0, 1.0, bins + 1)
        low, high = self.quantiles([LOW_QUANTILE, HIGH_QUANTILE])
        if low == high:
            low, high = low - 0.5, high + 0.5
        return np.linspace(low, high, bins + 1)

    def bin_counts(self, edges: NDArray[np.float64], positions: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
        """How many values (of the samples at `positions`, ascending) lie in each bin; the last bin is closed."""
        if positions is None:
            reached = [self.count_from(edge) for edge in edges[:-1]] + [self.count_above(edges[-1])]
        else:
            # The samples at positions below p number as many as positions that sort before p.
            reached = [bisect_left(positions, self.count_from(edge)) for edge in edges[:-1]]
            reached += [bisect_left(positions, self.count_above(edges[-1]))]
        return np.array(reached[:-1], dtype=np.int64) - np.array(reached[1:], dtype=np.int64)

    def position(self, row: int) -> int | None:
        """The position of a sample, from 0; None if it is not in this ranking."""
        found = np.flatnonzero(self.rows == row)
        return int(found[0]) if len(found) else None

    def cumulative_shares(self) -> NDArray[np.float64]:
        """(n + 1,) share of the total that the first k samples carry; zeros if the total is zero."""
        carried = np.concatenate([[0.0], np.cumsum(np.maximum(self.values, 0.0))])
        return carried / carried[-1] if carried[-1] > 0 else carried


def _sort_keys(values: NDArray[np.float32], rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """One integer for each score that is smaller the earlier its rank: by value descending, NaN last, by row.

    As integers, the bits of floats ascend with the positive ones and descend with the negative ones (IEEE 754).
    """
    bits = (values + np.float32(0)).view(np.int32)  # makes -0 a 0, which it equals
    ascending = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    descending = np.where(np.isnan(values), np.iinfo(np.int32).max, ~ascending)
    return (descending.astype(np.int64) << 32) | rows


def _in_order(values: NDArray[np.float32], rows: NDArray[np.int32], count: int) -> bool:
    """Whether the first `count` values are no NaN and descend, and ties and NaNs ascend by row."""
    known, known_rows, nan_rows = values[:count], rows[:count], rows[count:]
    tie = known[:-1] == known[1:]
    return bool(
        np.all(known[:-1] >= known[1:])  # false beside a NaN
        and np.all(known_rows[:-1][tie] < known_rows[1:][tie])
        and not np.isnan(known).any()
        and np.all(nan_rows[:-1] < nan_rows[1:])
    )
