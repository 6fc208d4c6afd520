"""Checks the environment, the devices and every part of the workspace."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator

import torch

from engine.common.errors import WinnowError
from engine.common.hashing import file_sha256
from engine.storage.ledger import Ledger
from engine.storage.parts import Part
from engine.storage.store import rebuild
from engine.storage.workspace import Workspace


def broken_parts(workspace: Workspace, ledger: Ledger) -> list[tuple[Part, str]]:
    """Recorded parts whose file is missing or differs from what was recorded, and which of the two."""
    found = []
    for part in ledger.parts():
        path = part.path(workspace)
        if not path.is_file():
            found.append((part, "is missing"))
        elif path.stat().st_size != part.size or file_sha256(path) != part.sha256:
            found.append((part, "is not what was written"))
    return found


def report(workspace: Workspace, rebuild_store: bool) -> Iterator[str]:
    """The findings, line by line. Raises WinnowError at the end if parts are broken and stay so.

    With `rebuild_store` broken parts are removed from the ledger, their runs are queued again to make them, and the
    store is rebuilt from the parts.
    """
    ledger = Ledger(workspace)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; the CPU is used"
    free = shutil.disk_usage(workspace.root).free
    yield f"python {platform.python_version()}, torch {torch.__version__}, GPU: {device}"
    yield f"workspace {workspace.root}: {len(ledger.runs())} runs, {free / 1e9:.1f} GB of disk free"
    parts, broken = ledger.parts(), broken_parts(workspace, ledger)
    yield f"{len(parts) - len(broken):,} of {len(parts):,} parts are intact"
    for part, what in broken:
        yield f"the part {part.folder}/{part.name} of run {part.run} {what}"
    if rebuild_store:
        ledger.forget_parts(part for part, _ in broken)
        for run in sorted({part.run for part, _ in broken}):
            ledger.reopen(run)
            yield f"run {run} is queued again to make its lost parts; `python -m engine serve` works on the queue"
        rebuild(workspace, ledger)
        yield "the store was rebuilt from the parts"
    elif broken:
        raise WinnowError(
            f"{len(broken)} parts are missing or damaged; `python -m engine doctor --rebuild` removes them, "
            "queues their runs again and rebuilds the store."
        )
