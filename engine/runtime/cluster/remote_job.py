"""The job of a worker: like that of the engine, but its parts, progress and log go through the clerk."""

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

TELL_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is told when it is hired."""

    run: Run
    root: Path  # of the engine's workspace
    settings: ClusterSettings
    gpus: bool
    clerk: Any  # the actor


def workspace_at(seat: WorkerSpec) -> Workspace:
    """The workspace as this node has it: the shared folder, or a mirror of what it needs of it."""
    own = Path(tempfile.gettempdir()) / "winnow" / digest([str(seat.root), seat.settings.storage])
    return Workspace(own if seat.settings.storage else seat.root, own=own).create()


class LedgerProxy:
    """The ledger as far as a worker may use it: every call goes to the clerk and comes back before the next."""

    def __init__(self, clerk: Any) -> None:
        self.clerk = clerk

    def parts(self, run: str) -> list[Part]:
        return []  # the whole list would travel; `SeatJob.has` asks for single ones

    def set_provenance(self, run: str, **facts: Any) -> None:
        ray.get(self.clerk.set_provenance.remote(facts))

    def extend_provenance(self, run: str, **facts: Any) -> None:
        ray.get(self.clerk.extend_provenance.remote(facts))


class RemoteJob(Job):
    def __init__(self, seat: WorkerSpec, worker: str) -> None:
        self.seat, self.worker = seat, worker
        device = resolve_device("auto" if seat.gpus else "cpu")
        # A book answers like a ledger to everything a shard asks of one.
        super().__init__(workspace_at(seat), cast(Ledger, LedgerProxy(seat.clerk)), seat.run, device)
        self.storage = Storage(seat.settings.storage, self.workspace.root)
        self._staging = Workspace(self.workspace.staging / seat.run.id / worker)
        self._shelf = ArtifactSync(self.storage, seat.clerk, self.storage.name_of(self._staging.root))
        self._shard, self._before = "", 0.0
        self.made: list[tuple[str, str]] = []  # parts of the present shard

    @property
    def workers_on_gpus(self) -> bool:
        return self.seat.gpus

    def broadcast(self, name: str, make: Callable[[], Any]) -> Any:
        return self.broadcasted(name)

    def broadcasted(self, name: str) -> Any:
        return ray.get(ray.get(self.seat.clerk.broadcasted.remote(name))[0])

    def local_path(self, source: str) -> str:
        path = Path(source)
        return (
            str(self.workspace.root / path.relative_to(self.seat.root))
            if path.is_relative_to(self.seat.root)
            else source
        )

    # -- shards -------------------------------------------------------------------------------------------------

    def begin(self, shard: str) -> None:
        """Fetch what other nodes have made by now."""
        self._shard, self._before, self.made = shard, self._done, []
        self._shelf.fetch()

    def end(self) -> None:
        """Leave what this shard has made where the others find it."""
        self._shelf.leave()

    # -- parts --------------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        return super().has(table, name) or bool(ray.get(self.seat.clerk.has.remote(table, name)))

    def part_path(self, table: str, name: str) -> Path:
        path = super().part_path(table, name)
        if not self.storage.pull(self.storage.name_of(path)):
            raise WinnowError(f"The storage has lost the part {name} of {table}; resume the run, which puts it there.")
        return path

    def write(self, table: str, name: str, columns: Any, seconds: float = 0.0) -> Part:
        return write_part(self._staging, self.run.id, table, name, columns, seconds)

    def record(self, parts: Iterable[Part]) -> None:
        """Parts first go where all nodes see them, and count once the clerk has put them in their place."""
        parts = list(parts)
        self.end()  # parts promise that what they go with can be found
        self.storage.push(self.storage.name_of(part.path(self._staging)) for part in parts)
        ray.get(self.seat.clerk.accept.remote(self.worker, parts))
        for part in parts:
            part.path(self._staging).unlink(missing_ok=True)
        made = [(part.table, part.name) for part in parts]
        self.recorded(made)
        self.made += made

    # -- progress -----------------------------------------------------------------------------------------------

    def _report(self, message: str) -> None:
        now = time.monotonic()
        if now - self._reported >= TELL_SECONDS:
            self._reported = now
            self.seat.clerk.tell.remote(self._shard, self._done - self._before)


class CoordinatorHandler(logging.Handler):
    """Sends what a worker logs to the log of the run, with the name of its node."""

    def __init__(self, clerk: Any, node: str) -> None:
        super().__init__(logging.INFO)
        self.clerk, self.node = clerk, node
        self.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s [{node}] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.clerk.write_log.remote(self.format(record))
