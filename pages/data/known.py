"""The data a workspace knows: what people added, and what its runs have read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.common import formats
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace
from pages.data import upload


@dataclass(frozen=True)
class Known:
    """One set of data. `added` is None where nobody added it and only runs know it; `info` is then empty."""

    name: str
    settings: dict[str, Any]
    info: dict[str, Any]
    added: float | None
    runs: list[Run]  # newest first

    @property
    def source(self) -> str:
        return str(self.settings["source"])


def known(ledger: Ledger) -> list[Known]:
    """What people added, newest first, then what only runs know, last used first."""
    runs = ledger.runs()
    added = [
        Known(each["name"], each["settings"], each["info"], each["added"], used_by(each["settings"], runs))
        for each in ledger.datasets()
    ]
    taken = {_same(each.settings) for each in added}
    read = {_same(run.recipe["data"]): run.recipe["data"] for run in reversed(runs) if _instructions(run)}
    others = [
        Known(name_of(settings["source"]), settings, {}, None, used_by(settings, runs))
        for same, settings in read.items()
        if same not in taken
    ]
    return added + sorted(others, key=lambda each: -each.runs[0].created)


def sentence(known: list[Known]) -> str:
    """`One set of data, read by 2 runs.`, `3 sets of data, 2 of them read by a run.`"""
    if len(known) == 1:
        runs = len(known[0].runs)
        return f"One set of data, read by {formats.count(runs, 'run') if runs else 'no run yet'}."
    read = sum(bool(data.runs) for data in known)
    which = {0: "none", len(known): "all"}.get(read, f"{read}")
    return f"{len(known)} sets of data, {which} of them read by a run."


def used_by(settings: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    """The runs that read the same source and split, whatever they took of it."""
    return [run for run in runs if _instructions(run) and _same(run.recipe["data"]) == _same(settings)]


def _instructions(run: Run) -> bool:
    """Whether the run reads instructions and responses; grids and distillations read labelled samples."""
    return "data" in run.recipe and run.kind not in ("pruned-kd", "distillation")


def _same(settings: dict[str, Any]) -> tuple[str, str]:
    return settings["source"], settings.get("split", "train")


def name_of(source: str, taken: Iterable[str] = ()) -> str:
    """A short name for a source that is not `taken`: `alpaca` for `tatsu-lab/alpaca`, `rows` for `/data/rows.jsonl`."""
    stem = Path(source).name or source
    stem = re.sub(r"\.(jsonl|json|csv|parquet)$", "", stem, flags=re.IGNORECASE)
    taken, name, count = set(taken), stem, 2
    while name in taken:
        name, count = f"{stem}-{count}", count + 1
    return name


def place(workspace: Workspace, source: str) -> str:
    """Where a source lies, in words."""
    if source == "demo":
        return "Written by Winnow itself"
    if upload.is_upload(workspace, source):
        return "Uploaded into this workspace"
    if source.startswith(("/", "~", ".")) or Path(source).suffix.lower() in upload.SUFFIXES:
        return "On this machine"
    return "From the Hugging Face Hub"


def remove(ledger: Ledger, data: Known) -> None:
    """Forget added data, and delete its file where it was uploaded and neither a run nor other data reads it."""
    ledger.remove_dataset(data.name)
    others = [each for each in ledger.datasets() if each["settings"]["source"] == data.source]
    if not others and not any(run.recipe.get("data", {}).get("source") == data.source for run in ledger.runs()):
        upload.discard_upload(ledger.workspace, data.source)
