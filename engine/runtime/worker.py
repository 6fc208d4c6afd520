"""A worker does runs: one at a time, on one device, each with its log, its heartbeat, and one sentence if it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec

from filelock import FileLock

from engine.common.atomic import sweep
from engine.common.errors import WinnowError
from engine.config.cluster import ClusterSettings
from engine.config.kinds import Recipe
from engine.models.loading import resolve_device
from engine.storage.ledger import BEAT_SECONDS, Ledger, Run
from engine.storage.workspace import Workspace
from engine.studies.job import Cancelled, Job, Report
from engine.studies.registry import study_of

IDLE_SECONDS = 0.3
LEFTOVER_SECONDS = 3600.0  # no file takes as long to write


def work(workspace: Workspace, device: str) -> None:
    """Do every run of the queue, oldest first, until this process is ended."""
    ledger = Ledger(workspace)
    while True:
        claimed = ledger.claim()
        if claimed is None:
            time.sleep(IDLE_SECONDS)
        else:
            execute(workspace, ledger, *claimed, device=device)


def execute(
    workspace: Workspace,
    ledger: Ledger,
    run: Run,
    lock: FileLock,
    *,
    device: str = "auto",
    report: Report | None = None,
) -> str:
    """Do one claimed run to its end, release its lock, and return its final state."""
    state, sentence = "done", ""
    with _log_file(ledger, run), _heartbeat(ledger, run):
        log = logging.getLogger(f"engine.run.{run.id}")
        try:
            log.info("run %s starts on %s", run.id, resolve_device(device))
            _sweep(workspace, run)
            job, recipe = Job(workspace, ledger, run, resolve_device(device), report), run.parsed()
            with _executor(job, recipe):
                study_of(recipe).run(job, recipe)
            ledger.set_provenance(run.id, operations_per_second=job.speed)
            log.info("run %s is done", run.id)
        except Cancelled:
            state = "cancelled"
            log.info("run %s was cancelled; finished parts are kept", run.id)
        except WinnowError as error:
            state, sentence = "failed", str(error)
            log.error("%s", sentence)
        except Exception as error:
            # A run that fails must not stop the other runs of the queue; the log has the traceback.
            state, sentence = "failed", f"{type(error).__name__}: {error} (see `python -m engine log {run.id}`)"
            log.exception("run %s failed", run.id)
    try:
        ledger.finish(run.id, state, sentence)
    finally:
        lock.release()
    return state


def _sweep(workspace: Workspace, run: Run) -> None:
    """Remove what killed processes have left half-written: at once if only this run's lock holder writes there."""
    for own in (workspace.parts / run.id, workspace.checkpoints / run.id):
        sweep(own)
    for shared in (workspace.outputs, workspace.hidden):
        sweep(shared, LEFTOVER_SECONDS)


def _executor(job: Job, recipe: Recipe) -> AbstractContextManager[None]:
    """The cluster that the recipe names, or this process. Raises WinnowError if Ray is needed and not installed."""
    settings: ClusterSettings | None = getattr(recipe, "cluster", None)  # not every kind has work units
    if settings is None or not settings.used:
        return nullcontext()
    if find_spec("ray") is None:
        raise WinnowError(
            f"cluster is {settings.address}, but Ray is not installed; install it here and on every node with "
            "`pip install -r requirements-ray.txt`, or set cluster to none."
        )
    from engine.runtime.cluster.driver import on_cluster

    return on_cluster(job, settings)


@contextmanager
def _log_file(ledger: Ledger, run: Run) -> Iterator[None]:
    """Everything logged while the run is done also goes to its own file."""
    handler = logging.FileHandler(ledger.log_path(run.id), encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _heartbeat(ledger: Ledger, run: Run) -> Iterator[None]:
    """Send heartbeats, also during one long operation."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            ledger.beat(run.id)

    thread = threading.Thread(target=beat, daemon=True, name=f"beat-{run.id}")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
