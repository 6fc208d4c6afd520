"""What the nodes of a cluster share: the workspace itself, or an address to which files are copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from engine.common.atomic import put_in_place, write_atomically
from engine.common.errors import WinnowError

UNFINISHED = ".training.safetensors"  # checkpoints: they change until the training ends, and are removed then


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

    def push(self, names: Iterable[str], staging: str = "") -> None:
        """Upload files of this machine. With `staging`, a folder of the address that is cleared sooner or later, each
        is uploaded there and then moved, so that it appears atomically.
        """
        for name in names if self.address else ():
            first = f"{staging}/{name}" if staging else name
            with self._errors_named("written", name):
                self._upload(name, first)
                if staging:
                    self._move(first, name)

    def pull(self, name: str) -> bool:
        """Download a file unless it is here. Returns whether it is here now."""
        local = self.root / name
        if local.exists() or not self.address:
            return local.exists()
        with self._errors_named("read", name):
            if not self._files.exists(self._remote(name)):
                return False
            write_atomically(local, lambda temporary: self._files.get_file(self._remote(name), str(temporary)))
        return True

    def local_files(self, folder: str) -> list[str]:
        """The names of the finished files of a folder of this machine."""
        return sorted(
            self.name_of(path)
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
        )

    def remote_files(self, folder: str) -> list[str]:
        """The names of the files of a folder at the address; a missing folder has none."""
        if not self.address:
            return []
        with self._errors_named("read", folder):
            found = self._files.find(self._remote(folder)) if self._files.exists(self._remote(folder)) else []
        return sorted(name[name.index(self._base) + len(self._base) :].lstrip("/") for name in found)

    def commit(self, staged: str, name: str) -> None:
        """Move a worker's staged file to its final place, at the address and here."""
        local = self.root / name
        with self._errors_named("moved", staged):
            if self.address:
                self._move(staged, name)
                local.unlink(missing_ok=True)  # of a part that was removed from the ledger earlier; not to be trusted
                self.pull(name)
            else:
                local.parent.mkdir(parents=True, exist_ok=True)
                put_in_place(self.root / staged, local)

    def remove(self, folder: str) -> None:
        """Remove a folder at the address, if it is there."""
        with self._errors_named("removed", folder):
            if self.address and self._files.exists(self._remote(folder)):
                self._files.rm(self._remote(folder), recursive=True)

    def _upload(self, name: str, to: str) -> None:
        self._files.makedirs(self._remote(to).rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(self.root / name), self._remote(to))

    def _move(self, name: str, to: str) -> None:
        self._files.makedirs(self._remote(to).rpartition("/")[0], exist_ok=True)
        self._files.mv(self._remote(name), self._remote(to))

    def _remote(self, name: str) -> str:
        return f"{self._base}/{name}"

    @contextmanager
    def _errors_named(self, verb: str, name: str) -> Iterator[None]:
        """Turn every error into a WinnowError that names the file."""
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
