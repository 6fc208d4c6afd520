"""A real Ray cluster of three nodes, made of processes of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from engine.config.kinds import Recipe
from engine.config.pruning import DynamicPruningRecipe
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace, open_workspace
from tests.fixtures.tiny import tiny_recipe, write_rows

OBJECTS = 80 * 2**20  # bytes each node may keep in shared memory
NODES = 3  # with the one of the engine, which does no units
# Ray asks nodes how they are every few seconds and gives them many chances; tests have no time for that.
IMPATIENT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
TOO_LONG = 900.0  # seconds; what has not come so far by then hangs, however busy the machine is


class Machines:
    """The nodes of the cluster: that of the engine, and the others with room for one worker each."""

    def __init__(self) -> None:
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": OBJECTS,
                "include_dashboard": False,
                "_system_config": IMPATIENT,
            },
        )
        self.settings = {"address": self.cluster.address}
        self.complete()

    def complete(self) -> None:
        """Put new nodes in the place of those that were killed."""
        while len(self.cluster.worker_nodes) < NODES - 1:
            self.cluster.add_node(num_cpus=1, object_store_memory=OBJECTS)

    def kill_one_at_work(self, ledger: Ledger, run: str) -> str:
        """Kill every process of a node that is doing a unit, as when its power fails. Returns its name."""
        nodes = {node.node_id[:6]: node for node in self.cluster.worker_nodes}
        found: list[str] = []

        def busy() -> list[str]:
            found[:] = [a.node for a in ledger.attempts(run) if not a.outcome and a.node.split()[1] in nodes]
            return found

        until(busy, (ledger, run))
        self.cluster.remove_node(nodes[found[0].split()[1]], allow_graceful=False)
        return found[0]


@pytest.fixture(scope="package")
def all_machines() -> Iterator[Machines]:
    machines = Machines()
    yield machines
    machines.cluster.shutdown()


@pytest.fixture
def machines(all_machines: Machines) -> Machines:
    """The cluster with all of its nodes."""
    all_machines.complete()
    return all_machines


def study(folder: Path, **changes: Any) -> DynamicPruningRecipe:
    """The tiny study of dynamic pruning, with more units and fewer epochs."""
    smaller = {"scoring__shard_rows": 8, "training__epochs": 2}
    return tiny_recipe(write_rows(folder / "rows.jsonl"), **smaller | changes)


@pytest.fixture(scope="package")
def local_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """The same study in this process."""
    folder = tmp_path_factory.mktemp("local")
    workspace = open_workspace(folder / "workspace", read_only=False)
    return workspace, do(workspace, study(folder))


def do(workspace: Workspace, recipe: Recipe, meanwhile: Callable[[Ledger, str], None] | None = None) -> str:
    """Do a run in this process and return its id; `meanwhile(ledger, run)` goes on beside it."""
    ledger = Ledger(workspace)
    run, lock = ledger.start(recipe)
    wrong: list[BaseException] = []

    def beside() -> None:
        try:
            assert meanwhile is not None
            meanwhile(ledger, run.id)
        except BaseException as error:  # noqa: BLE001 - said again by the test itself
            wrong.append(error)

    thread = threading.Thread(target=beside) if meanwhile else None
    if thread:
        thread.start()
    execute(workspace, ledger, run, lock, device="cpu")
    if thread:
        thread.join()
    if wrong:
        raise wrong[0]
    return run.id


def until(met: Callable[[], object], going_on: tuple[Ledger, str] | None = None) -> None:
    """Wait for something to happen, at most for as long as a run goes on."""
    started = time.monotonic()
    while not met():
        assert time.monotonic() - started < TOO_LONG, "it never happened"
        if going_on:
            assert going_on[0].run(going_on[1]).state == "running", "the run ended first; give it more to do"
        time.sleep(0.02)
