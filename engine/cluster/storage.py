"""What the nodes of a cluster share: the workspace itself, or an address where files are left and fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fsspec

from engine.workspace import WinnowError, put_in_place, write_atomically

UNFINISHED = ".training.safetensors"  # checkpoints, which change until what they are of is finished, and then go


class Storage:
    """Files under `root` of one machine, mirrored at an fsspec address. Without an address every node sees `root`.

    A file is named by its path below `root`. Every failure to reach the address is a WinnowError that names it.
    """

    def __init__(self, address: str, root: Path) -> None:
        self.address = address.rstrip("/")
        self.root = root
        if address:
            try:
                self._files, self._base = fsspec.core.url_to_fs(self.address)
            except (ImportError, ValueError) as error:
                raise WinnowError(f"cluster.storage is {address}, which cannot be used here ({error}).") from error

    def push(self, names: Iterable[str], by_way_of: str = "") -> None:
        """Leave files of this machine where the others find them: by way of a folder of the address that is swept
        sooner or later, if it is named, so that each of them is there whole or not at all.
        """
        for name in names if self.address else ():
            first = f"{by_way_of}/{name}" if by_way_of else name
            try:
                self._put(name, first)
                if by_way_of:
                    self._move(first, name)
            except OSError as error:
                raise self._failed("written", name, error) from error

    def pull(self, name: str) -> bool:
        """Fetch a file unless it is here; the answer is whether it is here now."""
        here = self.root / name
        if here.exists() or not self.address:
            return here.exists()
        try:
            if not self._files.exists(self._there(name)):
                return False
            write_atomically(here, lambda temporary: self._files.get_file(self._there(name), str(temporary)))
        except OSError as error:
            raise self._failed("read", name, error) from error
        return True

    def here(self, folder: str) -> list[str]:
        """The names of the finished files of a folder of this machine."""
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
        )

    def there(self, folder: str) -> list[str]:
        """The names of the files of a folder at the address; a missing folder has none."""
        if not self.address:
            return []
        try:
            found = self._files.find(self._there(folder)) if self._files.exists(self._there(folder)) else []
        except OSError as error:
            raise self._failed("read", folder, error) from error
        return sorted(name[name.index(self._base) + len(self._base) :].lstrip("/") for name in found)

    def take(self, staged: str, name: str) -> None:
        """Put a staged file in its place, there and here: it was somebody's, now it is everybody's."""
        here = self.root / name
        try:
            if self.address:
                self._move(staged, name)
                here.unlink(missing_ok=True)  # struck from the ledger earlier, and not to be trusted
                self.pull(name)
            else:
                here.parent.mkdir(parents=True, exist_ok=True)
                put_in_place(self.root / staged, here)
        except OSError as error:
            raise self._failed("moved", staged, error) from error

    def drop(self, folder: str) -> None:
        """Forget a folder at the address; a missing one is forgotten already."""
        if self.address and self._files.exists(self._there(folder)):
            self._files.rm(self._there(folder), recursive=True)

    def _put(self, name: str, there: str) -> None:
        self._files.makedirs(self._there(there).rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(self.root / name), self._there(there))

    def _move(self, there: str, name: str) -> None:
        self._files.makedirs(self._there(name).rpartition("/")[0], exist_ok=True)
        self._files.mv(self._there(there), self._there(name))

    def _there(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _failed(self, verb: str, name: str, error: OSError) -> WinnowError:
        place = f"{self.address}/{name}" if self.address else str(self.root / name)
        return WinnowError(f"{place} could not be {verb} ({error.strerror or error}); check cluster.storage.")
