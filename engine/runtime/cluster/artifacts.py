"""What one node makes and others need, beside parts: models made from nothing, and kept outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray

from engine.runtime.cluster.storage import Storage
from engine.storage.parts import Part
from engine.storage.workspace import Workspace

FOLDERS = ("models", "outputs")


class ArtifactSync:
    """A node's view of these files. The clerk has the list of them, so that no node has to ask the address, where a
    look at a folder costs the more the longer a run goes on.
    """

    def __init__(self, storage: Storage, clerk: Any, staging: str) -> None:
        self.storage, self.clerk = storage, clerk
        self.staging = staging  # of this node, at the address
        self._seen = 0  # of the clerk's list
        self._known: set[str] = set()  # here and there

    def stock(self, parts: Iterable[Part]) -> None:
        """Tell the clerk of what earlier runs have left at the address, and leave those recorded parts again that it
        has lost. The engine does it once.
        """
        found = [name for folder in FOLDERS for name in self.storage.there(folder)]
        ray.get(self.clerk.share.remote(found))
        root = Workspace(self.storage.root)
        # No worker reads the samples: what it needs of them comes with its shard.
        names = [self.storage.name_of(part.path(root)) for part in parts if part.table != "samples"]
        there = {name for folder in {name.rpartition("/")[0] for name in names} for name in self.storage.there(folder)}
        self.storage.push([name for name in names if name not in there], self.staging)

    def fetch(self) -> None:
        """Bring here what others have left since the last time."""
        if not self.storage.address:
            return
        names: list[str] = ray.get(self.clerk.shared.remote(self._seen))
        self._seen += len(names)
        for name in names:
            self.storage.pull(name)
        self._known |= set(names)

    def leave(self) -> None:
        """Leave what has been finished here since the last time."""
        if not self.storage.address:
            return
        fresh = [name for folder in FOLDERS for name in self.storage.here(folder) if name not in self._known]
        if fresh:
            self.storage.push(fresh, self.staging)
            ray.get(self.clerk.share.remote(fresh))
            self._known |= set(fresh)
