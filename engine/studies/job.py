"""A run in progress: how far it is, how long it will still take, whether its user has asked to stop it."""

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

REPORT_SECONDS = 0.5  # at least so long between two reports to the ledger

Report = Callable[[str, float, float | None], None]  # (message, fraction, seconds left)
Tick = Callable[..., None]  # tick(done, total) or tick(done, total, message); raises Cancelled


class Cancelled(Exception):
    """The user has asked to stop this run."""


class Executor(Protocol):
    """A cluster that does the work units of a run."""

    gpus: bool  # whether its workers compute on GPUs
    capacity: int  # workers at once

    def each(self, units: Sequence[WorkUnit], message: str) -> None: ...

    def broadcast(self, name: str, value: Any) -> None: ...


class Job:
    """What a study needs to do a run: workspace, ledger, device, parts, progress.

    Progress is planned in floating-point operations, so that the fraction grows evenly whatever the phase.
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
        self._on_report = report
        self._planned = 0.0
        self._done = 0.0
        self._skipped = 0.0  # done before this run was resumed
        self._started = time.monotonic()
        self._reported = 0.0
        self._message = ""
        self._finished = {(part.table, part.name) for part in ledger.parts(run.id)}

    # -- where units are done -----------------------------------------------------------------------------------

    @property
    def workers_on_gpus(self) -> bool | None:
        """Whether workers of a cluster do the units on GPUs; None if this process does them."""
        return self.cluster.gpus if self.cluster else None

    @property
    def computes_on(self) -> str:
        """`cpu` or `cuda`: where units are done, which need not be this machine."""
        if self.workers_on_gpus is None:
            return self.device.type
        return "cuda" if self.workers_on_gpus else "cpu"

    @property
    def device_name(self) -> str:
        """The device as the provenance names it."""
        if self.cluster:
            return f"workers of a Ray cluster ({self.computes_on})"
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def dtype(self, name: str) -> torch.dtype:
        """The number format of a recipe on the devices that do its units, which may be older GPUs than this one."""
        if name == "auto" and self.workers_on_gpus is not None:
            return torch.bfloat16 if self.workers_on_gpus else torch.float32
        return resolve_dtype(name, self.device)

    def broadcast(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` returns on the engine, where it is called once, also to every worker of a cluster."""
        value = make()
        if self.cluster:
            self.cluster.broadcast(name, value)
        return value

    def broadcasted(self, name: str) -> Any:
        """What the engine has broadcast. Raises LookupError if this is no worker of a cluster."""
        raise LookupError(f"{name} was not broadcast")

    def local_path(self, source: str) -> str:
        """A model's folder or Hub id as this machine finds it."""
        return source

    # -- parts --------------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        """Whether that part is finished, in this process or before the run was resumed."""
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

    def plan(self, flops: float) -> None:
        """Add floating-point operations to be done."""
        self._planned += flops

    @property
    def speed(self) -> float:
        """Floating-point operations per second since the run was started or resumed."""
        return (self._done - self._skipped) / (time.monotonic() - self._started)

    def skip(self, flops: float) -> None:
        """Count planned operations as done without doing them."""
        self._done += flops
        self._skipped += flops

    @contextmanager
    def phase(self, message: str, flops: float) -> Iterator[Tick]:
        """A phase of the run; yields `tick(done, total)`, which raises Cancelled if the user has asked to stop."""
        if message != self._message:
            self.log.info("%s", message)
        self._message = message
        start = self._done
        self._report(message)

        def tick(done: float, total: float, now: str = message) -> None:
            self._done = start + flops * done / max(total, 1)
            if time.monotonic() - self._reported >= REPORT_SECONDS:
                self._report(now)

        yield tick
        self._done = start + flops

    def _report(self, message: str) -> None:
        self._reported = time.monotonic()
        fraction = min(self._done / self._planned, 1.0) if self._planned else 0.0
        done, left = self._done - self._skipped, self._planned - self._done
        seconds = time.monotonic() - self._started
        # The first seconds are no measure of the speed: models are still being loaded.
        eta = max(left, 0.0) * seconds / done if done > 0 and seconds > 3 else None
        cancelled = self.ledger.progress(self.run.id, message, fraction, eta)
        if self._on_report:
            self._on_report(message, fraction, eta)
        if cancelled:
            raise Cancelled


def run_units(job: Job, open_run: OpenRun, units: Sequence[WorkUnit], message: str) -> None:
    """Do every unit: in order in this process, or stage by stage on the cluster of the job, shown as `message`."""
    if job.cluster is None:
        for unit in units:
            open_run.do(unit.key)
        return
    for stage in sorted({unit.stage for unit in units}):
        job.cluster.each([unit for unit in units if unit.stage == stage], message)
