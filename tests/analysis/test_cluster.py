"""What nodes of a cluster did for a run, held against counting by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import cluster
from engine.storage.ledger import Attempt
from tests.fixtures import sentences

UNTIL = 1000.0
IDS = itertools.count()
LOST = cluster.NODE_LOST
WORKER = "its worker was killed: out of memory"


def tried(name: str, node: str, began: float, ended: float | None, outcome: str, why: str = "") -> Attempt:
    return Attempt(next(IDS), "run", name, node, began, ended, outcome, why)


def done(names: Iterable[int], node: str) -> list[Attempt]:
    return [tried(f"unit {each}", node, each, each + 1.0, "done") for each in names]


@st.composite
def histories(draw: st.DrawFn) -> list[Attempt]:
    """Attempts with whole seconds, so that sums are exact; only those without an outcome have no end."""
    found = []
    for number in range(draw(st.integers(0, 14))):
        outcome = draw(st.sampled_from(["", "done", "lost", "failed", "cancelled"]))
        began = float(draw(st.integers(0, 400)))
        ended = None if not outcome else began + draw(st.integers(1, 40))
        why = draw(st.sampled_from([LOST, WORKER])) if outcome == "lost" else ""
        node = f"node-{draw(st.integers(1, 3))}"
        unit = f"unit {draw(st.integers(1, 6))}"
        found.append(Attempt(number, "run", unit, node, began, ended, outcome, why))
    return found


def in_progress(attempts: Iterable[Attempt], second: int) -> int:
    """How many attempts are in progress in the second that begins at `second`."""
    return sum(each.began <= second < cluster.end(each, 500.0) for each in attempts)


@given(histories())
def test_busy_seconds(attempts: list[Attempt]) -> None:
    """A node is busy in exactly those seconds in which it has at least one attempt in progress."""
    for node in cluster.nodes(attempts, 500.0, True):
        mine = [each for each in attempts if each.node == node.name]
        assert node.seconds == sum(in_progress(mine, second) > 0 for second in range(500))


@given(histories(), st.booleans())
def test_every_attempt_is_counted_once(attempts: list[Attempt], live: bool) -> None:
    """What is lost, done and in progress adds up over nodes; a node is gone only if one of its attempts says so."""
    did = cluster.nodes(attempts, 500.0, live, ["node-1", "idle"])
    assert [node.name for node in did][:2] == ["node-1", "idle"]
    assert len({node.name for node in did}) == len(did)
    assert sum(node.lost for node in did) == sum(each.outcome == "lost" for each in attempts)
    assert sum(len(node.now) for node in did) == sum(not each.outcome for each in attempts) * live
    assert sum(node.done for node in did) == len({(e.node, e.name) for e in attempts if e.outcome == "done"})
    assert {node.name for node in did if node.gone} == {each.node for each in attempts if each.why == LOST}
    units = cluster.units(attempts)
    assert sorted(each.id for unit in units for each in unit.attempts) == [each.id for each in attempts]
    assert {unit.name for unit in units if unit.outcome == "done"} == {
        each.name for each in attempts if each.outcome == "done"
    }


@given(histories())
def test_lanes(attempts: list[Attempt]) -> None:
    """No two attempts overlap in a lane, and a node has as many lanes as it ever had attempts in progress at once."""
    lanes = cluster.lanes(attempts, 500.0)
    assert set(lanes) == {each.id for each in attempts}
    for node in {each.node for each in attempts}:
        mine = [each for each in attempts if each.node == node]
        wide = max(lanes[each.id] for each in mine) + 1
        assert wide == max(1, *(in_progress(mine, second) for second in range(500)))
        for lane in range(wide):
            inside = [each for each in mine if lanes[each.id] == lane]
            assert all(in_progress(inside, second) <= 1 for second in range(500))


@given(histories())
def test_pauses_are_left_out_and_nothing_else(attempts: list[Attempt]) -> None:
    """Without its pauses time still runs forward, and every attempt is as long as it was."""
    left_out = cluster.pauses(attempts, 500.0)
    assert all(not in_progress(attempts, second) for a, b in left_out for second in range(int(a), int(b)))
    assert all(b - a > cluster.PAUSE for a, b in left_out)
    first = min((each.began for each in attempts), default=0.0)
    moments = [cluster.elapsed(first + second, first, left_out) for second in range(500)]
    assert moments == sorted(moments)
    for each in attempts:
        last = cluster.end(each, 500.0)
        shown = cluster.elapsed(last, first, left_out) - cluster.elapsed(each.began, first, left_out)
        assert shown == last - each.began


@given(histories(), st.booleans())
def test_the_sentence_is_a_sentence(attempts: list[Attempt], live: bool) -> None:
    """Whatever happened it is one sentence with the number of units done and of lost nodes."""
    did, units = cluster.nodes(attempts, 500.0, live), cluster.units(attempts)
    said = cluster.sentence(did, units, live)
    assert said.endswith(".")
    assert said.count(".") == 1
    assert "  " not in said
    finished = sum(unit.outcome == "done" for unit in units)
    assert (f"{finished} work unit" in said) or not finished
    gone = sum(node.gone for node in did)
    assert (f"{gone} node{'s were' if gone > 1 else ' was'} lost" in said) == (gone > 0)
    assert "nothing was lost" not in said or not any(each.outcome == "lost" for each in attempts)


RETRIED = [tried("unit 90", "c", 90, 95, "lost", LOST), tried("unit 90", "a", 95, 99, "done")]


@pytest.mark.parametrize(
    ("attempts", "known", "live", "sentence"),
    [
        ([], [], True, sentences.NO_UNIT),
        ([], ["a"], False, "No node has begun a work unit."),
        (done(range(3), "a"), [], False, "1 node did 3 work units; nothing was lost."),
        (done([1], "a"), ["a", "b"], True, "1 of 2 nodes has done 1 work unit so far; nothing was lost."),
        (
            [*done(range(20), "a"), *done(range(20, 40), "b"), *done([40], "c"), *RETRIED],
            [],
            False,
            "3 nodes did 42 work units; 1 node was lost, and 1 work unit was done again.",
        ),
        (
            [*done([1], "a"), tried("x", "b", 5, 6, "lost", WORKER), tried("x", "a", 7, None, "")],
            [],
            True,
            "1 of 2 nodes has done 1 work unit so far; 1 work unit is being done again.",
        ),
        (
            [*done([1, 2], "a"), tried("x", "b", 5, 6, "lost", LOST), tried("y", "b", 5, 6, "lost", LOST)],
            [],
            False,
            "1 of 2 nodes did 2 work units; 1 node was lost, and 2 work units were lost and not done again.",
        ),
        (
            [*done([1], "a"), tried("x", "a", 5, 6, "failed", "no"), tried("y", "a", 5, 6, "cancelled")],
            [],
            False,
            "1 node did 1 work unit; 1 work unit failed, and 1 work unit was cancelled.",
        ),
        (
            [tried("x", "a", 5, None, ""), tried("y", "b", 5, None, "")],
            [],
            True,
            "2 nodes are working on 2 work units, none done yet; nothing was lost.",
        ),
        (
            [*done([1], "a"), tried("x", "a", 5, None, "")],
            [],
            False,
            "1 node did 1 work unit; 1 work unit was in progress when the run was last heard of.",
        ),
        ([tried("x", "a", 5, 6, "failed", "no")], [], False, "No work unit was done on 1 node; 1 work unit failed."),
    ],
)
def test_sentences(attempts: list[Attempt], known: list[str], live: bool, sentence: str) -> None:
    """The answer in words, for runs that went well, badly, and not yet."""
    did = cluster.nodes(attempts, UNTIL, live, known)
    assert cluster.sentence(did, cluster.units(attempts), live) == sentence


def test_nothing_ends_before_it_began() -> None:
    """An attempt begun after the last that was heard of its run took no time, not a negative one."""
    (node,) = cluster.nodes([tried("x", "a", UNTIL + 5, None, "")], UNTIL, False)
    assert node.seconds == 0


def test_a_lost_worker_is_no_lost_node() -> None:
    """A worker that was killed loses its unit; the node it ran on goes on."""
    (node,) = cluster.nodes([tried("x", "a", 0, 1, "lost", WORKER)], UNTIL, True)
    assert (node.lost, node.gone) == (1, False)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "a", "cpus": 8.0, "gpus": 1.0, "memory_gb": 62.71}, "8 CPUs, 1 GPU, 62.7 GB"),
        ({"name": "a", "cpus": 1.0, "gpus": 0.0, "memory_gb": 4.0}, "1 CPU, 4 GB"),
        ({"name": "a", "cpus": 0.5, "gpus": 2.0}, "0.5 CPUs, 2 GPUs"),
        ({}, ""),
    ],
)
def test_machine(node: dict[str, Any], words: str) -> None:
    """A machine by what it has."""
    assert cluster.machine(node) == words
