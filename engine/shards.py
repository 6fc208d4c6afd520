"""Doing a list of shards, each a range of samples whose results end in parts of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Samples `start` to `stop` (exclusive) of a list."""

    index: int
    start: int
    stop: int


def split(count: int, size: int) -> list[Shard]:
    """Cut `count` samples into shards of at most `size`; every sample is in exactly one."""
    return [Shard(i, start, min(start + size, count)) for i, start in enumerate(range(0, count, size))]


def do(shards: Sequence[Shard], finished: Callable[[Shard], bool], work: Callable[[Shard], None]) -> None:
    """Do in this process, in order, what an earlier life of the run has not finished."""
    for shard in shards:
        if not finished(shard):
            work(shard)
