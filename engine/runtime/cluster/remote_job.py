"""The job of a worker: like that of the engine, but its parts, progress and log go through the coordinator."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.config.cluster import ClusterSettings
from engine.models.loading import resolve_device
from engine.runtime.cluster.artifacts import ArtifactSync
from engine.runtime.cluster.storage import Storage
from engine.storage.ledger import Ledger, Run
from engine.storage.parts import Part, write_part
from engine.storage.workspace import Workspace
from engine.studies.job import Job

REPORT_SECONDS = 1.0  # at least so long between two progress reports


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is started with."""

    run: Run
    root: Path  # of the engine's workspace
    settings: ClusterSettings
    gpus: bool
    coordinator: Any  # the actor


def workspace_at(spec: WorkerSpec) -> Workspace:
    """The workspace as this node has it: the shared folder, or a mirror of the files it needs."""
    own = Path(tempfile.gettempdir()) / "winnow" / digest([str(spec.root), spec.settings.storage])
    return Workspace(own if spec.settings.storage else spec.root, own=own).create()


class LedgerProxy:
    """The part of the ledger that a worker may use: every call goes to the coordinator and waits for its return."""

    def __init__(self, coordinator: Any) -> None:
        self.coordinator = coordinator

    def parts(self, run: str) -> list[Part]:
        return []  # the whole list would be sent; `RemoteJob.has` looks up single parts

    def set_provenance(self, run: str, **facts: Any) -> None:
        ray.get(self.coordinator.set_provenance.remote(facts))

    def extend_provenance(self, run: str, **facts: Any) -> None:
        ray.get(self.coordinator.extend_provenance.remote(facts))


class RemoteJob(Job):
    def __init__(self, spec: WorkerSpec, worker: str) -> None:
        self.spec, self.worker = spec, worker
        self.coordinator = spec.coordinator
        device = resolve_device("auto" if spec.gpus else "cpu")
        # The proxy has every method of the ledger that doing a unit calls.
        super().__init__(workspace_at(spec), cast(Ledger, LedgerProxy(self.coordinator)), spec.run, device)
        self.storage = Storage(spec.settings.storage, self.workspace.root)
        self._staging = Workspace(self.workspace.staging / spec.run.id / worker)
        self._artifacts = ArtifactSync(self.storage, self.coordinator, self.storage.name_of(self._staging.root))
        self._unit, self._before = "", 0.0
        self.unit_parts: list[tuple[str, str]] = []  # parts of the present unit

    @property
    def workers_on_gpus(self) -> bool:
        return self.spec.gpus

    def broadcast(self, name: str, make: Callable[[], Any]) -> Any:
        return self.broadcasted(name)

    def broadcasted(self, name: str) -> Any:
        return ray.get(ray.get(self.coordinator.broadcasted.remote(name))[0])

    def local_path(self, source: str) -> str:
        path = Path(source)
        if not path.is_relative_to(self.spec.root):
            return source
        return str(self.workspace.root / path.relative_to(self.spec.root))

    # -- work units ---------------------------------------------------------------------------------------------

    def begin_unit(self, name: str) -> None:
        """Fetch what other nodes have made by now."""
        self._unit, self._before, self.unit_parts = name, self._done, []
        self._artifacts.fetch()

    def end_unit(self) -> None:
        """Publish what this unit has made."""
        self._artifacts.publish()

    # -- parts --------------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        return super().has(table, name) or bool(ray.get(self.coordinator.has.remote(table, name)))

    def part_path(self, table: str, name: str) -> Path:
        path = super().part_path(table, name)
        if not self.storage.pull(self.storage.name_of(path)):
            raise WinnowError(f"The storage has lost the part {name} of {table}; resume the run, which puts it there.")
        return path

    def write(self, table: str, name: str, columns: Any, seconds: float = 0.0) -> Part:
        return write_part(self._staging, self.run.id, table, name, columns, seconds)

    def record(self, parts: Iterable[Part]) -> None:
        """Stage parts where all nodes see them; they count once the coordinator has moved them to their place."""
        parts = list(parts)
        self._artifacts.publish()  # a recorded part promises that the files it refers to can be found
        self.storage.push(self.storage.name_of(part.path(self._staging)) for part in parts)
        ray.get(self.coordinator.record_parts.remote(self.worker, parts))
        for part in parts:
            part.path(self._staging).unlink(missing_ok=True)
        names = [(part.table, part.name) for part in parts]
        self.recorded(names)
        self.unit_parts += names

    # -- progress -----------------------------------------------------------------------------------------------

    def _report(self, message: str) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self.coordinator.report_progress.remote(self._unit, self._done - self._before)


class CoordinatorHandler(logging.Handler):
    """Sends what a worker logs to the log of the run, with the name of its node."""

    def __init__(self, coordinator: Any, node: str) -> None:
        super().__init__(logging.INFO)
        self.coordinator, self.node = coordinator, node
        self.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s [{node}] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.coordinator.write_log.remote(self.format(record))
