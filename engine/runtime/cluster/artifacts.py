"""Files beside parts that one node makes and others need: models trained from scratch, and cached tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray

from engine.runtime.cluster.storage import Storage
from engine.storage.parts import Part
from engine.storage.workspace import Workspace

FOLDERS = ("models", "outputs")


class ArtifactSync:
    """Keeps one node's copies of these files up to date. The coordinator holds the list of published files, so that no
    node lists the address, where listing a folder costs more the longer a run goes on.
    """

    def __init__(self, storage: Storage, coordinator: Any, staging: str) -> None:
        self.storage, self.coordinator = storage, coordinator
        self.staging = staging  # of this node, at the address
        self._read = 0  # entries of the coordinator's list that have been read
        self._synced: set[str] = set()  # both here and at the address

    def restore(self, parts: Iterable[Part]) -> None:
        """Announce what earlier runs left at the address, and upload recorded `parts` that it has lost. Called once,
        by the engine.
        """
        found = [name for folder in FOLDERS for name in self.storage.remote_files(folder)]
        ray.get(self.coordinator.announce.remote(found))
        root = Workspace(self.storage.root)
        # No worker reads the samples: what it needs of them comes with its unit.
        names = [self.storage.name_of(part.path(root)) for part in parts if part.table != "samples"]
        folders = {name.rpartition("/")[0] for name in names}
        present = {name for folder in folders for name in self.storage.remote_files(folder)}
        self.storage.push([name for name in names if name not in present], self.staging)

    def fetch(self) -> None:
        """Download what others have published since the last call."""
        if not self.storage.address:
            return
        names: list[str] = ray.get(self.coordinator.announced.remote(self._read))
        self._read += len(names)
        for name in names:
            self.storage.pull(name)
        self._synced |= set(names)

    def publish(self) -> None:
        """Upload what has been finished here since the last call."""
        if not self.storage.address:
            return
        new = [name for folder in FOLDERS for name in self.storage.local_files(folder) if name not in self._synced]
        if new:
            self.storage.push(new, self.staging)
            ray.get(self.coordinator.announce.remote(new))
            self._synced |= set(new)
