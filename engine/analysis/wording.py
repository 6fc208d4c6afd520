"""Phrases that results of every kind share: shares, differences, lists, times, verdicts. Plain text, to be escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.analysis.intervals import Interval
from engine.common.formats import duration

Colour = Literal["gray", "green", "red"]
Verdict = tuple[str, Colour]
"""The words and the colour of a badge; no words while nothing can be judged."""
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def percent(value: float) -> str:
    """`81.2 %`, `10 %`, `2.5 %`."""
    return f"{100 * value:.3g} %"


def right(accuracy: float) -> str:
    """`81.2 % right`"""
    return f"{percent(accuracy)} right"


def points(change: float) -> str:
    """A difference of two shares in percentage points, with its sign: `+6.1`."""
    return f"{100 * change:+.1f}".replace("-", "−")


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def took(seconds: float) -> str:
    """`0.5 s` if whole seconds would say nothing, else as everywhere."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def flops(number: float) -> str:
    """`3.1 TFLOP`: floating-point operations with the prefix people read; "" if they are not known."""
    if not math.isfinite(number) or number <= 0:
        return ""
    place = min(max(int(math.log10(number) // 3), 0), len(PREFIXES) - 1)
    return f"{number / 1000**place:.3g} {PREFIXES[place]}FLOP"


def verdict(
    difference: Interval,
    better: str,
    worse: str,
    *,
    unsettled: str = "not settled",
    lower_is_better: bool = False,
    settled: bool | None = None,
) -> Verdict:
    """`better` or `worse` if a difference is settled, else `unsettled`.

    `settled` is what the correction of its family says; of a difference that stands alone its interval decides.
    """
    if not difference.seeds:
        return "", "gray"
    if not (difference.settled if settled is None else settled):
        return unsettled, "gray"
    return (better, "green") if (difference.mean < 0) == lower_is_better else (worse, "red")


@dataclass(frozen=True)
class Chance:
    """What is right without having learned anything, and by what rule."""

    share: float
    rule: str

    def phrase(self) -> str:
        """`10.3 %, naming the largest class`"""
        return f"{percent(self.share)}, {self.rule}"


def chance(counts: Mapping[str, int], classes: int = 0) -> Chance | None:
    """Always naming the largest class, if the samples of each class of the test set are counted; else one of `classes`.

    None if neither is known.
    """
    if counts:
        return Chance(max(counts.values()) / sum(counts.values()), "naming the largest class")
    return Chance(1 / classes, f"one of {classes} classes") if classes else None


@dataclass(frozen=True)
class Measure:
    """How to speak of accuracy: a share of right answers, or R² if numbers are predicted.

    An R² is above chance as it stands: naming the mean has 0.
    """

    numbers: bool = False
    chance: Chance | None = None
    unit: str = "seed"  # what is repeated, and so what intervals cover

    @property
    def title(self) -> str:
        """Of an axis: `right on the test set (chance 10 %)`."""
        if self.numbers:
            return "R² on the test set"
        return f"right on the test set{f' (chance {percent(self.chance.share)})' if self.chance else ''}"

    def above(self, value: float) -> str:
        """`73.1 points above chance`, `2.0 points below chance`; "" for R², or if chance is not known."""
        if self.numbers or self.chance is None:
            return ""
        over = value - self.chance.share
        return f"{self.size(over)} {'above' if over >= 0 else 'below'} chance"

    @property
    def tick(self) -> str:
        """The format of an axis."""
        return ".2f" if self.numbers else ".0%"

    @property
    def fine(self) -> str:
        """The format of one value where it is pointed at."""
        return ".3f" if self.numbers else ".1%"

    def value(self, value: float) -> str:
        """`83.1 %`, or `0.831`."""
        return f"{value:.3f}" if self.numbers else f"{100 * value:.1f} %"

    def right(self, value: float) -> str:
        """`83.1 % right`, or `R² 0.831`."""
        return f"R² {value:.3f}" if self.numbers else right(value)

    def difference(self, change: float) -> str:
        """With its sign: `+6.1 points`, or `+0.061 of R²`."""
        return f"{change:+.3f} of R²" if self.numbers else f"{points(change)} points"

    def size(self, change: float) -> str:
        """Without a sign: `6.1 points`, or `0.061 of R²`."""
        return f"{abs(change):.3f} of R²" if self.numbers else f"{100 * abs(change):.1f} points"

    def spread(self, found: Interval, brief: bool = False) -> str:
        """`±1.2, 95 % over 5 seeds`, in brief `±1.2`; `one seed` or `5 seeds, all equal` if there is no interval."""
        if found.seeds < 2:
            return f"one {self.unit}"
        if not found.known:
            return f"{found.seeds} {self.unit}s, all equal"
        half = f"±{f'{found.half:.3f}' if self.numbers else f'{100 * found.half:.1f}'}"
        return half if brief else f"{half}, 95 % over {found.seeds} {self.unit}s"
