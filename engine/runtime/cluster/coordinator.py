"""The coordinator of a run: an actor beside the engine's process, through which workers reach the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.hashing import file_sha256
from engine.runtime.cluster.storage import Storage
from engine.storage.ledger import Ledger
from engine.storage.parts import Part
from engine.storage.workspace import Workspace


class Coordinator:
    """Records the parts of workers, one call after the other. It ends with the engine's process and is not restarted:
    a run that loses its coordinator fails, and gets a new one when it is resumed.
    """

    def __init__(self, root: Path, run: str, address: str) -> None:
        self.workspace = Workspace(root)
        self.ledger = Ledger(self.workspace)
        self.storage = Storage(address, root)
        self.run_id = run
        self._recorded = {(part.table, part.name) for part in self.ledger.parts(run)}
        self._announced: list[str] = []
        self._progress: dict[str, float] = {}
        self._broadcast: dict[str, list[Any]] = {}

    # -- for workers --------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        return (table, name) in self._recorded

    def record_parts(self, worker: str, parts: Sequence[Part]) -> None:
        """Move staged parts to their place and record them together; a part that is recorded already stays as it is.

        Raises WinnowError if a part did not arrive as it was written.
        """
        new = [part for part in parts if not self.has(part.table, part.name)]
        for part in new:
            path = part.path(self.workspace)
            name = self.storage.name_of(path)
            self.storage.commit(f"staging/{self.run_id}/{worker}/{name}", name)
            if path.stat().st_size != part.size or file_sha256(path) != part.sha256:
                raise WinnowError(f"The part {path} did not arrive as it was written; resume the run.")
        self.ledger.record_parts(new)
        self._recorded |= {(part.table, part.name) for part in new}

    def announce(self, names: Sequence[str]) -> None:
        """Add files, beside parts, that a node has published to the list."""
        self._announced += names

    def announced(self, since: int) -> list[str]:
        """The names of these files, without the first `since`."""
        return self._announced[since:]

    def set_provenance(self, facts: dict[str, Any]) -> None:
        self.ledger.set_provenance(self.run_id, **facts)

    def extend_provenance(self, facts: dict[str, Any]) -> None:
        self.ledger.extend_provenance(self.run_id, **facts)

    def report_progress(self, unit: str, flops: float) -> None:
        """How many floating-point operations of a unit are done."""
        self._progress[unit] = flops

    def broadcasted(self, name: str) -> list[Any]:
        """The reference to what the engine made, in a list so that Ray passes it on instead of the value."""
        return self._broadcast[name]

    def write_log(self, line: str) -> None:
        """Append a worker's line to the log of the run."""
        with self.ledger.log_path(self.run_id).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n")

    # -- for the engine -----------------------------------------------------------------------------------------

    def progress(self) -> dict[str, float]:
        """Floating-point operations done, by unit."""
        return self._progress

    def broadcast(self, name: str, reference: list[Any]) -> None:
        self._broadcast[name] = reference
