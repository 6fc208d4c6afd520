"""The units a run splits into, and doing a list of them: in this process, or on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class WorkUnit:
    """One unit of a run that can be done on its own, anywhere; its results end in recorded parts."""

    name: str  # no other of its run has it; people read it
    key: Any  # what `Opened.do` is given; it travels to the node that does the shard
    work: float = 0.0  # planned floating-point operations
    wave: int = 0  # needs what shards of earlier waves have made


class OpenRun(Protocol):
    """A run opened on one machine, with models and data in memory as its shards need them."""

    def do(self, key: Any) -> None:
        """Do one shard. What an earlier life of the run has finished is not done again."""


@dataclass(frozen=True)
class Range:
    """Samples `start` to `stop` (exclusive) of a list."""

    index: int
    start: int
    stop: int


def split(count: int, size: int) -> list[Range]:
    """Cut `count` samples into ranges of at most `size`; every sample is in exactly one."""
    return [Range(i, start, min(start + size, count)) for i, start in enumerate(range(0, count, size))]
