"""Putting an uploaded file into the workspace: checked, under a safe name of its own, written atomically."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from engine.common.atomic import write_atomically
from engine.common.errors import WinnowError
from engine.storage.workspace import Workspace

SUFFIXES = (
    ".parquet",
    *(f".{kind}{compressed}" for kind in ("jsonl", "json", "csv", "tsv") for compressed in ("", ".gz", ".zst")),
)
LIMIT_MB = 200


def suffix_of(name: str) -> str:
    """The one of SUFFIXES that the name of a file ends with; "" if there is none."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")


def stem_of(name: str) -> str:
    """The name of a file without that."""
    return name[: len(name) - len(suffix_of(name))]


def save_upload(workspace: Workspace, name: str, content: bytes) -> Path:
    """The path it is stored under; the same content under the same name is stored once.

    Raises ReadOnlyError if the workspace is read-only, WinnowError naming the file if it is of another kind, empty or
    too large, or if the disk is full.
    """
    workspace.require_writable("take an upload")
    shown = PurePosixPath(name.replace("\\", "/")).name
    suffix = suffix_of(shown)
    if not suffix:
        raise WinnowError(f"{shown} is not a JSONL, JSON, CSV or Parquet file; upload one of those.")
    if not content:
        raise WinnowError(f"{shown} is empty; upload a file with at least one sample.")
    if len(content) > LIMIT_MB * 2**20:
        raise WinnowError(
            f"{shown} has {len(content) / 2**20:,.0f} MB, but an upload may have {LIMIT_MB} MB; "
            "put the file on this machine and give its path instead."
        )
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem_of(shown)).strip("-")[:60] or "upload"
    path = workspace.uploads / f"{stem}-{hashlib.sha256(content).hexdigest()[:10]}{suffix}"
    return path if path.is_file() else write_atomically(path, lambda temporary: temporary.write_bytes(content))


def discard_upload(workspace: Workspace, source: str) -> None:
    """Delete an uploaded file; anything that is not one of this workspace's uploads is left alone."""
    workspace.require_writable("delete an upload")
    path = Path(source)
    if is_upload(workspace, source):
        path.unlink(missing_ok=True)


def is_upload(workspace: Workspace, source: str) -> bool:
    return Path(source).parent == workspace.uploads
