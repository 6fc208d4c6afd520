"""The units of a run: every sample in one of them, each done once, in the order its place asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config.load import parse_recipe
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from engine.studies.job import Job, run_units
from engine.studies.work_units import WorkUnit, split

STAGES = st.lists(st.integers(0, 3), max_size=12)


@given(st.integers(0, 300), st.integers(1, 50))
def test_every_sample_is_in_one_piece(count: int, size: int) -> None:
    """No sample is scored twice or not at all."""
    pieces = split(count, size)
    assert [place for piece in pieces for place in range(piece.start, piece.stop)] == list(range(count))
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert all(1 <= piece.stop - piece.start <= size for piece in pieces)


def units_of(stages: list[int]) -> list[WorkUnit]:
    return [WorkUnit(str(place), place, stage=stage) for place, stage in enumerate(stages)]


class Noting:
    """A run whose units only note that they were done; and a cluster that only notes what it was given."""

    gpus, capacity = False, 2

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.sent: list[list[Any]] = []

    def do(self, key: Any) -> None:
        self.done.append(key)

    def each(self, units: Sequence[WorkUnit], message: str) -> None:
        self.sent.append([unit.key for unit in units])

    def broadcast(self, name: str, value: Any) -> None:
        raise AssertionError(f"{name} is broadcast to no worker here")


def a_job(workspace: Workspace, device: str = "cpu") -> Job:
    raw = {"kind": "score", "data": {"source": "x"}, "models": {"teacher": "t", "student": "s"}}
    ledger = Ledger(workspace)
    return Job(workspace, ledger, ledger.run(ledger.submit(parse_recipe(raw))), torch.device(device))


def test_here_units_are_done_in_the_order_they_are_listed(workspace: Workspace) -> None:
    """On one machine the order is that of the study, whatever could be done at once on several."""
    job, noting = a_job(workspace), Noting()
    run_units(job, noting, units_of([1, 0, 2, 0]), "doing")
    assert noting.done == [0, 1, 2, 3]


def test_a_cluster_is_given_one_stage_after_the_other(workspace: Workspace) -> None:
    """What needs the results of others is not sent before they are there, and everything is sent once."""
    job = a_job(workspace)

    @given(STAGES)
    def check(stages: list[int]) -> None:
        noting = Noting()
        job.cluster = noting
        run_units(job, noting, units_of(stages), "doing")
        assert not noting.done
        assert sorted(key for keys in noting.sent for key in keys) == list(range(len(stages)))
        order = [stages[key] for keys in noting.sent for key in keys]
        assert order == sorted(order)
        assert len(noting.sent) == len(set(stages))

    check()


@pytest.mark.parametrize(
    ("engine", "gpus", "computes_on", "dtype"),
    [
        ("cuda", False, "cpu", torch.float32),
        ("cpu", True, "cuda", torch.bfloat16),
        ("cpu", False, "cpu", torch.float32),
    ],
)
def test_what_computes_is_what_counts(
    workspace: Workspace, engine: str, gpus: bool, computes_on: str, dtype: torch.dtype
) -> None:
    """An engine with a GPU does not ask CPUs to compute as its GPU would, nor the other way round."""
    job, noting = a_job(workspace, engine), Noting()
    noting.gpus = gpus
    job.cluster = noting
    assert (job.computes_on, job.dtype("auto")) == (computes_on, dtype)
    assert job.device_name == f"workers of a Ray cluster ({computes_on})"
    assert job.dtype("float32") == torch.float32
