"""What the nodes of a cluster did for a run, computed from its attempts. Names still need escaping where drawn.

An attempt that has not ended counts up to `until`: now while the run is alive, else the last that was heard of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from engine.common.formats import count
from engine.storage.ledger import Attempt

NODE_LOST = "the node was lost"
"""What the engine gives as the reason where a whole node was lost, not only a worker on it."""
PAUSE, PAUSE_SHARE = 60.0, 0.05  # a pause is this many seconds, and this share of the time at work, or it is none


@dataclass(frozen=True)
class Node:
    name: str
    done: int  # shards it finished
    seconds: float  # with at least one shard in hand
    now: tuple[str, ...]  # shards in hand now
    lost: int  # attempts that were lost on it
    gone: bool  # it was lost itself


@dataclass(frozen=True)
class Shard:
    """Every attempt at one shard, oldest first."""

    name: str
    attempts: tuple[Attempt, ...]

    @property
    def outcome(self) -> str:
        """`done` once any attempt was, "" while one is at work, else how the last one came out."""
        found = [attempt.outcome for attempt in self.attempts]
        return "done" if "done" in found else "" if "" in found else found[-1]

    @property
    def again(self) -> bool:
        return len(self.attempts) > 1


def end(attempt: Attempt, until: float) -> float:
    return max(attempt.began, until if attempt.ended is None else attempt.ended)


def busy(attempts: Iterable[Attempt], until: float) -> list[tuple[float, float]]:
    """From when to when at least one attempt was at work; earliest first, no two of them touch."""
    spans: list[tuple[float, float]] = []
    for began, ended in sorted((attempt.began, end(attempt, until)) for attempt in attempts):
        if spans and began <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], ended))
        else:
            spans.append((began, ended))
    return spans


def nodes(attempts: Iterable[Attempt], until: float, live: bool, known: Iterable[str] = ()) -> list[Node]:
    """What each node did: those `known` to be in the cluster first, then others in the order they began."""
    of: dict[str, list[Attempt]] = {name: [] for name in known}
    for attempt in attempts:
        of.setdefault(attempt.node, []).append(attempt)
    found = []
    for name, mine in of.items():
        lost = [attempt for attempt in mine if attempt.outcome == "lost"]
        found.append(
            Node(
                name=name,
                done=len({attempt.name for attempt in mine if attempt.outcome == "done"}),
                seconds=sum(last - first for first, last in busy(mine, until)),
                now=tuple(attempt.name for attempt in mine if live and not attempt.outcome),
                lost=len(lost),
                gone=any(NODE_LOST in attempt.why for attempt in lost),
            )
        )
    return found


def shards(attempts: Iterable[Attempt]) -> list[Shard]:
    """The attempts at each shard, in the order in which shards were first begun."""
    of: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        of[attempt.name].append(attempt)
    return [Shard(name, tuple(tried)) for name, tried in of.items()]


def sentence(did: Sequence[Node], tried: Sequence[Shard], live: bool) -> str:
    """`3 nodes did 40 shards; 1 node was lost, and 2 shards were done again.` of what `nodes` and `shards` gave."""
    if not tried:
        return "No node has begun a shard yet." if live else "No node has begun a shard."
    told = _setbacks(did, tried, live)
    more = " and ".join([", ".join(told[:-1]) + ",", told[-1]] if len(told) > 1 else told)
    if not more and not any(node.lost for node in did):
        more = "nothing was lost"
    return f"{_did(did, tried, live)}{'; ' * bool(more)}{more}."


def _did(did: Sequence[Node], tried: Sequence[Shard], live: bool) -> str:
    done = sum(shard.outcome == "done" for shard in tried)
    able = sum(node.done > 0 for node in did)
    if done:
        who = count(able, "node") if able == len(did) else f"{able:,} of {count(len(did), 'node')}"
        verb = ("has done" if able == 1 else "have done") if live else "did"
        return f"{who} {verb} {count(done, 'shard')}{' so far' * live}"
    working = sum(bool(node.now) for node in did)
    if working:
        first = sum(len(node.now) for node in did)
        return f"{count(working, 'node')} {_be(working, 'is', 'are')} at work on {count(first, 'shard')}, none done yet"
    return f"No shard {'is done yet' if live else 'was done'} on {count(len(did), 'node')}"


def _setbacks(did: Sequence[Node], tried: Sequence[Shard], live: bool) -> list[str]:
    """What went wrong, and what became of it; empty where all went well."""
    gone = sum(node.gone for node in did)
    again = sum(shard.again and shard.outcome == "done" for shard in tried)
    anew = sum(shard.again and not shard.outcome for shard in tried)
    left = {name: sum(shard.outcome == name for shard in tried) for name in ("", "lost", "failed", "cancelled")}
    told = []
    if gone:
        told.append(f"{count(gone, 'node')} {_be(gone)} lost")
    if again:
        told.append(f"{count(again, 'shard')} {_be(again)} done again")
    if anew and live:
        told.append(f"{count(anew, 'shard')} {_be(anew, 'is', 'are')} being done again")
    if lost := left["lost"]:
        told.append(
            f"{count(lost, 'shard')} {_be(lost, 'is', 'are')} still to be done again"
            if live
            else f"{count(lost, 'shard')} {_be(lost)} lost and not done again"
        )
    if failed := left["failed"]:
        told.append(f"{count(failed, 'shard')} failed")
    if cancelled := left["cancelled"]:
        told.append(f"{count(cancelled, 'shard')} {_be(cancelled)} cancelled")
    if (unheard := left[""]) and not live:
        told.append(f"{count(unheard, 'shard')} {_be(unheard)} in hand when the run was last heard of")
    return told


def _be(number: int, one: str = "was", many: str = "were") -> str:
    return one if number == 1 else many


def lanes(attempts: Iterable[Attempt], until: float) -> dict[int, int]:
    """The lane of each attempt by its id: a node has as few as it needs for no two attempts to overlap in one."""
    free: dict[str, list[float]] = defaultdict(list)  # of each node, when each of its lanes ends
    lane = {}
    for attempt in sorted(attempts, key=lambda attempt: (attempt.began, attempt.id)):
        ends = free[attempt.node]
        place = next((place for place, ended in enumerate(ends) if ended <= attempt.began), len(ends))
        ends[place : place + 1] = [end(attempt, until)]
        lane[attempt.id] = place
    return lane


def pauses(attempts: Iterable[Attempt], until: float) -> list[tuple[float, float]]:
    """From when to when nobody was at work for long, as between a run that was cancelled and the same one resumed."""
    spans = busy(attempts, until)
    least = max(PAUSE, PAUSE_SHARE * sum(ended - began for began, ended in spans))
    gaps = [(earlier[1], later[0]) for earlier, later in pairwise(spans)]
    return [(began, ended) for began, ended in gaps if ended - began > least]


def elapsed(moment: float, first: float, left_out: Iterable[tuple[float, float]]) -> float:
    """Seconds from `first` to a moment, without the pauses before it."""
    return moment - first - sum(min(moment, ended) - began for began, ended in left_out if began < moment)


def machine(node: Mapping[str, Any]) -> str:
    """`8 CPUs, 1 GPU, 64 GB` of a node as the provenance of a run describes it."""
    gpus = node.get("gpus") or 0
    parts = [f"{node['cpus']:g} CPU{'s' * (node['cpus'] != 1)}"] if "cpus" in node else []
    parts += [f"{gpus:g} GPU{'s' * (gpus != 1)}"] if gpus else []
    parts += [f"{node['memory_gb']:.3g} GB"] if "memory_gb" in node else []
    return ", ".join(parts)
