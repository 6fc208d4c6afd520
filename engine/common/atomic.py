"""Files and folders that appear atomically: after a kill at any moment they are the old ones or the new ones."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from engine.common.errors import WinnowError


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write(temporary)` fill a temporary file beside `path`, flush it to disk, and rename it into place.

    A process killed at any moment leaves either the old file or the new one, never a torn one.
    Raises WinnowError if the disk is full or cannot be written.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush(temporary)
        put_in_place(temporary, path)
    except OSError as error:
        raise WinnowError(
            f"{path} could not be written ({error.strerror or error}); "
            "free some disk space or choose another --workspace, then resume the run."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)  # exists only after an error
    return path


def write_folder_atomically(folder: Path, fill: Callable[[Path], object]) -> Path:
    """The same for a folder that does not exist yet or is empty: `fill(temporary)` writes its files. Raises OSError."""
    temporary = _beside(folder)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # exists only after an error
    return folder


def remove_leftovers(path: Path) -> None:
    """Remove what processes killed while writing `path` have left beside it. Only the holder of its lock may."""
    _remove(path.parent.glob(f".{path.name}.*.tmp"))


def sweep(folder: Path, seconds: float = 0.0) -> None:
    """Remove what killed processes have left half-written below `folder`, if it was not touched for `seconds`.

    0 is for folders in which no other process writes; in a shared one a writer that is at work must have touched its
    file since.
    """
    cutoff = time.time() - seconds
    _remove(path for path in folder.rglob(".*.tmp") if not seconds or _modified(path) < cutoff)


def _remove(leftovers: Iterable[Path]) -> None:
    for leftover in list(leftovers):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # put in place in the meantime
        return math.inf


def put_in_place(file: Path, path: Path) -> None:
    """Rename a file that is flushed already, and flush the renaming. Raises OSError."""
    file.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _beside(path: Path) -> Path:
    # Not the process id: two machines that share the folder may have the same one.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
