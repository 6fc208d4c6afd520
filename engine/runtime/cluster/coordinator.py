"""The clerk of a run: an actor beside the engine's process, through which workers reach the ledger."""

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
    """Records the parts of workers, one call after the other. It dies with the engine's process and is not started
    again by itself: a run without its clerk fails, and is resumed with a new one.
    """

    def __init__(self, root: Path, run: str, address: str) -> None:
        self.workspace = Workspace(root)
        self.ledger = Ledger(self.workspace)
        self.storage = Storage(address, root)
        self.run_id = run
        self._recorded = {(part.table, part.name) for part in self.ledger.parts(run)}
        self._shared: list[str] = []
        self._done: dict[str, float] = {}
        self._handed: dict[str, list[Any]] = {}

    # -- for workers --------------------------------------------------------------------------------------------

    def has(self, table: str, name: str) -> bool:
        return (table, name) in self._recorded

    def accept(self, worker: str, parts: Sequence[Part]) -> None:
        """Put staged parts in their place and record them together; a part that is recorded already stays as it is.

        Raises WinnowError where a part did not arrive as it was written.
        """
        fresh = [part for part in parts if not self.has(part.table, part.name)]
        for part in fresh:
            path = part.path(self.workspace)
            name = self.storage.name_of(path)
            self.storage.take(f"staging/{self.run_id}/{worker}/{name}", name)
            if path.stat().st_size != part.size or file_sha256(path) != part.sha256:
                raise WinnowError(f"The part {path} did not arrive as it was written; resume the run.")
        self.ledger.record_parts(fresh)
        self._recorded |= {(part.table, part.name) for part in fresh}

    def share(self, names: Sequence[str]) -> None:
        """Take note of files, beside parts, that a node has left for the others."""
        self._shared += names

    def shared(self, since: int) -> list[str]:
        """The names of these files, without the first `since`."""
        return self._shared[since:]

    def set_provenance(self, facts: dict[str, Any]) -> None:
        self.ledger.set_provenance(self.run_id, **facts)

    def extend_provenance(self, facts: dict[str, Any]) -> None:
        self.ledger.extend_provenance(self.run_id, **facts)

    def tell(self, shard: str, done: float) -> None:
        """How far a shard is, in floating-point operations."""
        self._done[shard] = done

    def broadcasted(self, name: str) -> list[Any]:
        """The reference to what the engine made, in a list so that Ray passes it on instead of the value."""
        return self._handed[name]

    def write_log(self, line: str) -> None:
        """A line of a worker, in the log of the run."""
        with self.ledger.log_path(self.run_id).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{line}\n")

    # -- for the engine -----------------------------------------------------------------------------------------

    def told(self) -> dict[str, float]:
        return self._done

    def broadcast(self, name: str, reference: list[Any]) -> None:
        self._handed[name] = reference
