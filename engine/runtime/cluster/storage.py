"""What the nodes of a cluster share: the workspace itself, or an address where files are left and fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from engine.common.atomic import put_in_place, write_atomically
from engine.common.errors import WinnowError

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

    def name_of(self, path: Path) -> str:
        """The name of a file or folder of this machine."""
        return path.relative_to(self.root).as_posix()

    def push(self, names: Iterable[str], by_way_of: str = "") -> None:
        """Leave files of this machine where the others find them: by way of a folder of the address that is swept
        sooner or later, if it is named, so that each of them is there whole or not at all.
        """
        for name in names if self.address else ():
            first = f"{by_way_of}/{name}" if by_way_of else name
            with self._named("written", name):
                self._put(name, first)
                if by_way_of:
                    self._move(first, name)

    def pull(self, name: str) -> bool:
        """Fetch a file unless it is here; the answer is whether it is here now."""
        here = self.root / name
        if here.exists() or not self.address:
            return here.exists()
        with self._named("read", name):
            if not self._files.exists(self._there(name)):
                return False
            write_atomically(here, lambda temporary: self._files.get_file(self._there(name), str(temporary)))
        return True

    def here(self, folder: str) -> list[str]:
        """The names of the finished files of a folder of this machine."""
        return sorted(
            self.name_of(path)
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
        )

    def there(self, folder: str) -> list[str]:
        """The names of the files of a folder at the address; a missing folder has none."""
        if not self.address:
            return []
        with self._named("read", folder):
            found = self._files.find(self._there(folder)) if self._files.exists(self._there(folder)) else []
        return sorted(name[name.index(self._base) + len(self._base) :].lstrip("/") for name in found)

    def take(self, staged: str, name: str) -> None:
        """Put a staged file in its place, there and here: it was somebody's, now it is everybody's."""
        here = self.root / name
        with self._named("moved", staged):
            if self.address:
                self._move(staged, name)
                here.unlink(missing_ok=True)  # struck from the ledger earlier, and not to be trusted
                self.pull(name)
            else:
                here.parent.mkdir(parents=True, exist_ok=True)
                put_in_place(self.root / staged, here)

    def drop(self, folder: str) -> None:
        """Forget a folder at the address; a missing one is forgotten already."""
        with self._named("removed", folder):
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

    @contextmanager
    def _named(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except WinnowError:
            raise
        except Exception as error:  # every file system has errors of its own, and not all of them are OSErrors
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            if not self.address:
                raise WinnowError(f"{self.root / name} could not be {verb} ({why}).") from error
            raise WinnowError(
                f"{self.address}/{name} could not be {verb} ({why}); check cluster.storage, and that Ray was started "
                "on every node with what it takes to get there, such as credentials in the environment."
            ) from error
