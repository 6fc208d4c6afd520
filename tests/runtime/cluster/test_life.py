"""What becomes of a run on a cluster if it is cancelled, memory runs out, or the engine dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.common.errors import WinnowError
from engine.common.paths import CHECKOUT
from engine.runtime import worker as engine_worker
from engine.runtime.cluster.driver import ENGINE_ENDED
from engine.runtime.cluster.storage import Storage
from engine.runtime.cluster.workers import OUT_OF_MEMORY
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.runtime.cluster.conftest import OBJECTS, Machines, do, study, until
from tests.runtime.cluster.test_pruning import assert_same

pytestmark = pytest.mark.cluster


def workers() -> list[str]:
    """The processes of this cluster's workers and coordinators, which Ray names after the class."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += [name for name in process.cmdline()[:1] if name.startswith(("ray::Worker", "ray::Coordinator"))]
    return found


def at_work(ledger: Ledger, run: str) -> list[str]:
    return [attempt.node for attempt in ledger.attempts(run) if not attempt.outcome]


def test_cancelling_frees_the_workers(machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Cancelling a run frees the machines, and what is finished stays."""

    def cancel(ledger: Ledger, run: str) -> None:
        until(lambda: at_work(ledger, run), (ledger, run))
        ledger.cancel(run)

    run = do(workspace, study(tmp_path, cluster=machines.settings, training__epochs=500), cancel)
    assert ledger.run(run).state == "cancelled"
    assert {attempt.outcome for attempt in ledger.attempts(run)} <= {"done", "cancelled"}
    until(lambda: not workers())


@pytest.mark.alone
def test_a_worker_is_killed_by_memory(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, local_study: tuple[Workspace, str]
) -> None:
    """What Ray kills because a node runs out of memory is done again, and the page can say so."""
    memory = psutil.virtual_memory()
    enough = 2**30  # bytes that are allocated to get there: little, as the run does not wait for it
    machines.cluster.remove_node(machines.cluster.worker_nodes.copy().pop())
    narrow = machines.cluster.add_node(
        num_cpus=1,
        object_store_memory=OBJECTS,
        env_vars={
            "RAY_memory_usage_threshold": str((memory.total - memory.available + enough) / memory.total),
            "RAY_memory_monitor_refresh_ms": "50",
        },
    )
    hog: list[np.ndarray] = []

    def fill(ledger: Ledger, run: str) -> None:
        until(lambda: any(node.endswith(narrow.node_id[:6]) for node in at_work(ledger, run)), (ledger, run))
        while not any(attempt.outcome == "lost" for attempt in ledger.attempts(run)):
            assert ledger.run(run).state == "running", "the run ended first; give it more to do"
            if len(hog) < 24:
                hog.append(np.ones(enough // 8 // 8))
        hog.clear()

    try:
        run = do(workspace, study(tmp_path, cluster=machines.settings), fill)
    finally:
        machines.cluster.remove_node(narrow)
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert_same(workspace, run, local_study)
    lost = {attempt.why for attempt in ledger.attempts(run) if attempt.outcome == "lost"}
    assert lost == {OUT_OF_MEMORY}


def test_the_engine_dies_and_the_next_one_goes_on(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, local_study: tuple[Workspace, str]
) -> None:
    """The head's process is killed in the middle: its actors go, and the run is taken up where it was, also where the
    storage has lost everything by then.
    """
    storage = tmp_path / "storage"
    run = ledger.submit(study(tmp_path, cluster={**machines.settings, "storage": f"file://{storage}"}))
    command = [sys.executable, "-m", "engine", "work", "--parent", str(os.getpid()), "--workspace", str(workspace.root)]
    first = subprocess.Popen(command, cwd=CHECKOUT)
    until(lambda: sum(attempt.outcome == "done" for attempt in ledger.attempts(run)) >= 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    until(lambda: not workers())
    shutil.rmtree(storage)
    kept = {(part.table, part.name): part.sha256 for part in ledger.parts(run)}
    second = subprocess.Popen(command, cwd=CHECKOUT)
    try:
        until(lambda: ledger.run(run).state not in ("queued", "running"))
    finally:
        second.terminate()
        second.wait(timeout=20)
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert_same(workspace, run, local_study)
    now = {(part.table, part.name): part.sha256 for part in ledger.parts(run)}
    assert {key: now[key] for key in kept} == kept  # nothing that was recorded has been made again
    attempts = ledger.attempts(run)
    assert {attempt.why for attempt in attempts if attempt.outcome == "lost"} <= {ENGINE_ENDED}
    until(lambda: not workers())


def test_the_storage_refuses(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while the coordinator moves parts to their place ends the run with one sentence, and it is still that
    sentence if the staged files cannot be removed, either.
    """
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "parts").write_text("a file where a folder should be")
    cleared: list[str] = []

    def remove(_: Storage, folder: str) -> None:
        cleared.append(folder)
        if len(cleared) == 2:
            raise WinnowError("it could not be cleared")

    monkeypatch.setattr(Storage, "remove", remove)
    cluster = {**machines.settings, "storage": f"file://{tmp_path / 'storage'}"}
    run = do(workspace, study(tmp_path, cluster=cluster))
    assert cleared == [f"staging/{run}"] * 2
    assert "it could not be cleared" in ledger.log_path(run).read_text(encoding="utf-8")
    error = ledger.run(run).error
    assert "could not be moved" in error
    assert "check cluster.storage" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", "nothing answers there"),
        ("ray://127.0.0.1:10001", "Winnow's engine must run on a machine of the cluster"),
    ],
)
def test_a_cluster_that_is_not_there(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, address: str, sentence: str
) -> None:
    """A wrong address ends in one sentence, not in a trace."""
    run = do(workspace, study(tmp_path, cluster=address))
    assert ledger.run(run).state == "failed"
    assert sentence in ledger.run(run).error


def test_ray_is_needed_and_absent(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that needs a cluster on a machine without Ray fails with the command that installs it."""
    monkeypatch.setattr(engine_worker, "find_spec", lambda name: None if name == "ray" else name)
    run = do(workspace, study(tmp_path, cluster="auto"))
    assert "pip install -r requirements-ray.txt" in ledger.run(run).error


def test_ray_is_imported_only_if_a_run_needs_it() -> None:
    """A machine without Ray does everything else, and starts as fast as before."""
    code = "import engine.runtime.worker, sys; print('ray' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
