"""A run while it is being done: how far it is, how long it will still take, whether somebody asked to stop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from engine.models.loading import resolve_dtype
from engine.storage.ledger import Ledger, Run
from engine.storage.parts import Part, part_path, write_part
from engine.storage.workspace import Workspace
from engine.studies.work_units import OpenRun, WorkUnit

REPORT_SECONDS = 0.5  # the ledger is told no more often than this

Report = Callable[[str, float, float | None], None]  # (phase, fraction, seconds left)
Tick = Callable[..., None]  # tick(done, total) or tick(done, total, words); raises Cancelled


class Cancelled(Exception):
    """Somebody asked to stop this run."""


class Executor(Protocol):
    """A cluster that does the shards of a run."""

    gpus: bool  # whether its workers compute on GPUs
    room: int  # workers at once

    def each(self, shards: Sequence[WorkUnit], words: str) -> None: ...

    def broadcast(self, name: str, value: Any) -> None: ...


class Job:
    """What a run's story needs of the world: settings, device, parts, progress.

    Work is planned in floating-point operations, so that the fraction grows evenly whatever the phase.
    """

    def __init__(
        self, workspace: Workspace, ledger: Ledger, run: Run, device: torch.device, report: Report | None = None
    ) -> None:
        self.workspace = workspace
        self.ledger = ledger
        self.run = run
        self.device = device
        self.cluster: Executor | None = None
        self.log = logging.getLogger(f"engine.run.{run.id}")
        self._report = report
        self._planned = 0.0
        self._done = 0.0
        self._skipped = 0.0  # work that an earlier life of this run had done
        self._started = time.monotonic()
        self._told = 0.0
        self._words = ""
        self._finished = {(part.table, part.name) for part in ledger.parts(run.id)}

    # -- where shards are done ----------------------------------------------------------------------------------

    @property
    def workers_on_gpus(self) -> bool | None:
        """Whether workers of a cluster do the shards on GPUs; None where this process does them."""
        return self.cluster.gpus if self.cluster else None

    @property
    def computes_on(self) -> str:
        """`cpu` or `cuda`: where shards are done, which need not be this machine."""
        if self.workers_on_gpus is None:
            return self.device.type
        return "cuda" if self.workers_on_gpus else "cpu"

    @property
    def device_name(self) -> str:
        """What the provenance says of it."""
        if self.cluster:
            return f"workers of a Ray cluster ({self.computes_on})"
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def dtype(self, name: str) -> torch.dtype:
        """The number format of a recipe as those who do its shards understand it, be they older GPUs than this one."""
        if name == "auto" and self.workers_on_gpus is not None:
            return torch.bfloat16 if self.workers_on_gpus else torch.float32
        return resolve_dtype(name, self.device)

    def broadcast(self, name: str, make: Callable[[], Any]) -> Any:
        """What the engine makes once for itself and for every worker of a cluster."""
        value = make()
        if self.cluster:
            self.cluster.broadcast(name, value)
        return value

    def broadcasted(self, name: str) -> Any:
        """What the engine has made for its workers. Raises LookupError where this is no worker of a cluster."""
        raise LookupError(f"{name} was handed to nobody")

    def local_path(self, source: str) -> str:
        """A model's folder or Hub id as this machine finds it."""
        return source

    # -- parts --------------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        """Whether that part is finished, by an earlier life of this run or by this one."""
        return (table, name) in self._finished

    def part_path(self, table: str, name: str) -> Path:
        """Where a finished part can be read."""
        return part_path(self.workspace, self.run.id, table, name)

    def write(self, table: str, name: str, columns: Any, seconds: float = 0.0) -> Part:
        """Put a part on disk; it counts only once it is recorded."""
        return write_part(self.workspace, self.run.id, table, name, columns, seconds)

    def record(self, parts: Iterable[Part]) -> None:
        """Record parts together: after a kill either all of them are there or none."""
        parts = list(parts)
        self.ledger.record_parts(parts)
        self.recorded((part.table, part.name) for part in parts)

    def recorded(self, parts: Iterable[tuple[str, str]]) -> None:
        """Take note of parts, by table and name, that have been recorded."""
        self._finished |= set(parts)

    # -- progress -----------------------------------------------------------------------------------------------

    def plan(self, work: float) -> None:
        """Add work to be done, in floating-point operations."""
        self._planned += work

    @property
    def speed(self) -> float:
        """Floating-point operations a second that this life of the run has come to."""
        return (self._done - self._skipped) / (time.monotonic() - self._started)

    def skip(self, work: float) -> None:
        """Count planned work as done without doing it."""
        self._done += work
        self._skipped += work

    @contextmanager
    def phase(self, words: str, work: float) -> Iterator[Tick]:
        """A phase of the run; yields `tick(done, total)`, which raises Cancelled where somebody asked to stop."""
        if words != self._words:
            self.log.info("%s", words)
        self._words = words
        start = self._done
        self._tell(words)

        def tick(done: float, total: float, now: str = words) -> None:
            self._done = start + work * done / max(total, 1)
            if time.monotonic() - self._told >= REPORT_SECONDS:
                self._tell(now)

        yield tick
        self._done = start + work

    def _tell(self, words: str) -> None:
        self._told = time.monotonic()
        fraction = min(self._done / self._planned, 1.0) if self._planned else 0.0
        worked, left = self._done - self._skipped, self._planned - self._done
        seconds = time.monotonic() - self._started
        # The first moments say little about the speed: models are still being loaded.
        eta = max(left, 0.0) * seconds / worked if worked > 0 and seconds > 3 else None
        cancelled = self.ledger.progress(self.run.id, words, fraction, eta)
        if self._report:
            self._report(words, fraction, eta)
        if cancelled:
            raise Cancelled


def run_units(job: Job, opened: OpenRun, shards: Sequence[WorkUnit], words: str) -> None:
    """Do every shard: in order in this process, or wave by wave on the cluster of the job; `words` say what is done."""
    if job.cluster is None:
        for shard in shards:
            opened.do(shard.key)
        return
    for wave in sorted({shard.wave for shard in shards}):
        job.cluster.each([shard for shard in shards if shard.wave == wave], words)
