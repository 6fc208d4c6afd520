"""Phrases that results of every kind share: shares, differences, lists, times, verdicts. Plain text, to be escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    difference: Interval, better: str, worse: str, *, unsettled: str = "not settled", lower_is_better: bool = False
) -> Verdict:
    """`better` or `worse` if the interval of a difference leaves zero out, `unsettled` if it does not or is unknown."""
    if not difference.seeds:
        return "", "gray"
    if not difference.settled:
        return unsettled, "gray"
    return (better, "green") if (difference.mean < 0) == lower_is_better else (worse, "red")


@dataclass(frozen=True)
class Measure:
    """How to speak of accuracy: a share of right answers, or R² if numbers are predicted."""

    numbers: bool = False

    @property
    def title(self) -> str:
        return "R² on the test set" if self.numbers else "right on the test set"

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

    def spread(self, found: Interval) -> str:
        """`5 seeds, ±1.2`; `one seed` or `5 seeds, all equal` if there is no interval."""
        if found.seeds < 2:
            return "one seed"
        if not found.known:
            return f"{found.seeds} seeds, all equal"
        return f"{found.seeds} seeds, ±{f'{found.half:.3f}' if self.numbers else f'{100 * found.half:.1f}'}"
