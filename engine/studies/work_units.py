"""The units of work that a run splits into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class WorkUnit:
    """One unit of a run that can be done by itself on any machine; its results are recorded as parts."""

    name: str  # unique in its run; shown to people
    key: Any  # the argument of `OpenRun.do`; sent to the node that does the unit
    flops: float = 0.0  # planned floating-point operations
    stage: int = 0  # needs the results of all units of earlier stages


class OpenRun(Protocol):
    """A run opened on one machine, with models and data in memory as its units need them."""

    def do(self, key: Any) -> None:
        """Do one unit. What was finished before the run was resumed is not done again."""


@dataclass(frozen=True)
class Range:
    """Samples `start` to `stop` (exclusive) of a list."""

    index: int
    start: int
    stop: int


def split(count: int, size: int) -> list[Range]:
    """Cut `count` samples into ranges of at most `size`; every sample is in exactly one."""
    return [Range(i, start, min(start + size, count)) for i, start in enumerate(range(0, count, size))]
