"""Where everything is in one workspace, and whether it may be changed.

A workspace is one folder (default `cache/` in the checkout, or `WINNOW_WORKSPACE`). Everything in it except the
ledger and the parts can be deleted and is made again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.common.errors import ReadOnlyError, WinnowError
from engine.common.paths import CHECKOUT


@dataclass(frozen=True)
class Workspace:
    root: Path
    read_only: bool = False
    own: Path | None = None  # a folder of this machine alone, if several machines share `root`

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def parts(self) -> Path:
        """`parts/<run>/<table>/<name>.parquet`: the truth."""
        return self.root / "parts"

    @property
    def store(self) -> Path:
        """Folder of the DuckDB file; disposable."""
        return self.root / "store"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def checkpoints(self) -> Path:
        """`checkpoints/<run>/…`: adapter and optimizer states of unfinished runs, adapters of finished ones."""
        return self.root / "checkpoints"

    @property
    def models(self) -> Path:
        """`models/<key>/`: models trained from scratch, shared by every run that names the same settings."""
        return self.root / "models"

    @property
    def hidden(self) -> Path:
        """Cached final hidden states of frozen teachers: large and cheap to make again, so each machine has its own."""
        return (self.own or self.root) / "hidden"

    @property
    def outputs(self) -> Path:
        """`outputs/<key>.safetensors`: logits of teachers and scores, shared by every run that needs the same."""
        return self.root / "outputs"

    @property
    def staging(self) -> Path:
        """`staging/<run>/<worker>/…`: parts that nodes of a cluster have written and that are not recorded yet."""
        return self.root / "staging"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    def require_writable(self, action: str) -> None:
        """Raises ReadOnlyError if this workspace is open read-only; `action` completes "cannot …"."""
        if self.read_only:
            raise ReadOnlyError(
                f"This workspace is open read-only, so Winnow cannot {action}; "
                "start it without --read-only and WINNOW_READ_ONLY to change things."
            )

    def create(self) -> Workspace:
        """Make the folder if it is missing. Raises WinnowError if that is impossible."""
        try:
            for folder in (self.root, self.parts, self.logs, self.locks):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WinnowError(
                f"The workspace {self.root} cannot be made ({error.strerror}); name another with --workspace."
            ) from error
        return self


def open_workspace(folder: str | Path | None = None, read_only: bool | None = None) -> Workspace:
    """The workspace named by `folder`, else by WINNOW_WORKSPACE, else `cache/` of the checkout."""
    root = Path(folder or os.environ.get("WINNOW_WORKSPACE") or CHECKOUT / "cache").expanduser().resolve()
    if read_only is None:
        read_only = os.environ.get("WINNOW_READ_ONLY", "").lower() in {"1", "true", "yes"}
    return Workspace(root, read_only).create()
