"""What the nodes of a cluster did for a run, computed from its attempts. Names still need escaping where drawn.

An attempt that has not ended counts up to `until`: now while the run is active, else its last heartbeat.
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
"""The reason that the engine records if a whole node was lost, not only a worker on it."""
PAUSE, PAUSE_SHARE = 60.0, 0.05  # the least seconds of a pause, and its least share of the busy time


@dataclass(frozen=True)
class Node:
    name: str
    done: int  # work units it finished
    seconds: float  # in which at least one work unit was in progress on it
    now: tuple[str, ...]  # work units in progress now
    lost: int  # attempts that were lost on it
    gone: bool  # it was lost itself


@dataclass(frozen=True)
class UnitHistory:
    """Every attempt at one work unit, oldest first."""

    name: str
    attempts: tuple[Attempt, ...]

    @property
    def outcome(self) -> str:
        """`done` if any attempt was, "" while one is in progress, else how the last one ended."""
        found = [attempt.outcome for attempt in self.attempts]
        return "done" if "done" in found else "" if "" in found else found[-1]

    @property
    def repeated(self) -> bool:
        return len(self.attempts) > 1


def end(attempt: Attempt, until: float) -> float:
    return max(attempt.began, until if attempt.ended is None else attempt.ended)


def busy(attempts: Iterable[Attempt], until: float) -> list[tuple[float, float]]:
    """The spans of time with at least one attempt in progress; earliest first, no two of them touch."""
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


def units(attempts: Iterable[Attempt]) -> list[UnitHistory]:
    """The attempts at each work unit, in the order in which the units were first begun."""
    of: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        of[attempt.name].append(attempt)
    return [UnitHistory(name, tuple(tried)) for name, tried in of.items()]


def sentence(did: Sequence[Node], tried: Sequence[UnitHistory], live: bool) -> str:
    """`3 nodes did 40 work units; 1 node was lost, and 2 work units were done again.` from `nodes` and `units`."""
    if not tried:
        return "No node has begun a work unit yet." if live else "No node has begun a work unit."
    setbacks = _setbacks(did, tried, live)
    end = " and ".join([", ".join(setbacks[:-1]) + ",", setbacks[-1]] if len(setbacks) > 1 else setbacks)
    if not end and not any(node.lost for node in did):
        end = "nothing was lost"
    return f"{_progress(did, tried, live)}{'; ' * bool(end)}{end}."


def _progress(did: Sequence[Node], tried: Sequence[UnitHistory], live: bool) -> str:
    done = sum(unit.outcome == "done" for unit in tried)
    able = sum(node.done > 0 for node in did)
    if done:
        who = count(able, "node") if able == len(did) else f"{able:,} of {count(len(did), 'node')}"
        verb = ("has done" if able == 1 else "have done") if live else "did"
        return f"{who} {verb} {_units(done)}{' so far' * live}"
    working = sum(bool(node.now) for node in did)
    if working:
        begun = sum(len(node.now) for node in did)
        return f"{count(working, 'node')} {_be(working, 'is', 'are')} working on {_units(begun)}, none done yet"
    return f"No work unit {'is done yet' if live else 'was done'} on {count(len(did), 'node')}"


def _setbacks(did: Sequence[Node], tried: Sequence[UnitHistory], live: bool) -> list[str]:
    """What went wrong, and whether it was made up for; empty if all went well."""
    lost_nodes = sum(node.gone for node in did)
    redone = sum(unit.repeated and unit.outcome == "done" for unit in tried)
    retried = sum(unit.repeated and not unit.outcome for unit in tried)
    left = {name: sum(unit.outcome == name for unit in tried) for name in ("", "lost", "failed", "cancelled")}
    parts = []
    if lost_nodes:
        parts.append(f"{count(lost_nodes, 'node')} {_be(lost_nodes)} lost")
    if redone:
        parts.append(f"{_units(redone)} {_be(redone)} done again")
    if retried and live:
        parts.append(f"{_units(retried)} {_be(retried, 'is', 'are')} being done again")
    if lost := left["lost"]:
        parts.append(
            f"{_units(lost)} {_be(lost, 'is', 'are')} still to be done again"
            if live
            else f"{_units(lost)} {_be(lost)} lost and not done again"
        )
    if failed := left["failed"]:
        parts.append(f"{_units(failed)} failed")
    if cancelled := left["cancelled"]:
        parts.append(f"{_units(cancelled)} {_be(cancelled)} cancelled")
    if (unfinished := left[""]) and not live:
        parts.append(f"{_units(unfinished)} {_be(unfinished)} in progress when the run was last heard of")
    return parts


def _units(number: int) -> str:
    return count(number, "work unit")


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
    """The long spans without an attempt in progress, as between a run that was cancelled and the same one resumed."""
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
