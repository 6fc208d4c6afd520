"""A run while it is being done: how far it is, how long it will still take, whether somebody asked to stop it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from engine.ledger import Ledger, Run
from engine.tables import Part, write_part
from engine.workspace import Workspace

REPORT_SECONDS = 0.5  # the ledger is told no more often than this

Report = Callable[[str, float, float | None], None]  # (phase, fraction, seconds left)


class Cancelled(Exception):
    """Somebody asked to stop this run."""


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
        self.log = logging.getLogger(f"winnow.{run.id}")
        self._report = report
        self._planned = 0.0
        self._done = 0.0
        self._skipped = 0.0  # work that an earlier life of this run had done
        self._started = time.monotonic()
        self._told = 0.0
        self._finished = {(part.table, part.name) for part in ledger.parts(run.id)}

    # -- parts --------------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        """Whether an earlier life of this run finished that part."""
        return (table, name) in self._finished

    def write(self, table: str, name: str, columns: Any, seconds: float = 0.0) -> Part:
        """Put a part on disk; it counts only once it is recorded."""
        return write_part(self.workspace, self.run.id, table, name, columns, seconds)

    def record(self, parts: Iterable[Part]) -> None:
        """Record parts together: after a kill either all of them are there or none."""
        parts = list(parts)
        self.ledger.record_parts(parts)
        self._finished |= {(part.table, part.name) for part in parts}

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
    def phase(self, words: str, work: float) -> Iterator[Callable[[int, int], None]]:
        """A phase of the run; yields `tick(done, total)`, which raises Cancelled where somebody asked to stop."""
        self.log.info("%s", words)
        start = self._done
        self._tell(words)

        def tick(done: int, total: int) -> None:
            self._done = start + work * done / max(total, 1)
            if time.monotonic() - self._told >= REPORT_SECONDS:
                self._tell(words)

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
