"""The data sets of a workspace: those that people added, and those that its runs have read. All text is plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.common import formats
from engine.config.kinds import DISTILLATION, KD
from engine.storage import uploads
from engine.storage.ledger import Ledger, Run
from engine.storage.store import Store
from engine.storage.workspace import Workspace

NOT_READ = "kept as fields to filter by"


@dataclass(frozen=True)
class DataSet:
    """One set of data. `added` is None if nobody added it and only runs have read it; `info` is then empty."""

    name: str
    settings: dict[str, Any]
    info: dict[str, Any]  # the preview of it that was stored when it was added
    added: float | None
    runs: list[Run]  # newest first

    @property
    def source(self) -> str:
        return str(self.settings["source"])


def datasets(ledger: Ledger) -> list[DataSet]:
    """Those that people added, newest first, then those that only runs have read, last used first."""
    runs = ledger.runs()
    added = [
        DataSet(each["name"], each["settings"], each["info"], each["added"], used_by(each["settings"], runs))
        for each in ledger.datasets()
    ]
    taken = {_same(each.settings) for each in added}
    read = {_same(run.recipe["data"]): run.recipe["data"] for run in reversed(runs) if _instructions(run)}
    others = [
        DataSet(name_of(settings["source"]), settings, {}, None, used_by(settings, runs))
        for same, settings in read.items()
        if same not in taken
    ]
    return added + sorted(others, key=lambda each: -each.runs[0].created)


def sentence(known: Sequence[DataSet]) -> str:
    """`One set of data, read by 2 runs.`, `3 sets of data, 2 of them read by a run.`"""
    if len(known) == 1:
        runs = len(known[0].runs)
        return f"One set of data, read by {formats.count(runs, 'run') if runs else 'no run yet'}."
    read = sum(bool(data.runs) for data in known)
    which = {0: "none", len(known): "all"}.get(read, f"{read}")
    return f"{len(known)} sets of data, {which} of them read by a run."


def amount(data: DataSet, store: Store) -> str:
    """How much there is, from its preview if there is one, else from the newest run that read it."""
    if data.info:
        return row_counts(data.info)
    for run in data.runs:
        splits = store.splits(run.id).set_index("split")
        if len(splits):
            samples, tokens, truncated = (int(splits[name].sum()) for name in ("samples", "tokens", "truncated"))
            held = int(splits["samples"].get("valid", 0))
            cut = f"; {truncated:,} were truncated to the context of the models" if truncated else ""
            return (
                f"{formats.count(samples, 'sample')}, {held:,} of them held out for validation, "
                f"{formats.count(tokens, 'token')}{cut}."
            )
    return "Not read yet; how much it holds is known once a run has started."


def row_counts(preview: Mapping[str, Any]) -> str:
    """`52,002 rows. Of the first 2,000, 1,972 can be used: 28 have no response.`"""
    total, read, dropped = preview["total"], preview["read"], preview["dropped"]
    whole = f"{formats.count(total, 'row')}." if total is not None else f"At least {formats.count(read, 'row')}."
    first = "" if total == read else f"Of the first {read:,}, "
    if not dropped:
        return f"{whole} {f'{first}all' if first else 'All of them'} can be used."
    usable = read - sum(dropped.values())
    why = " and ".join(f"{count:,} {'has' if count == 1 else 'have'} {reason}" for reason, count in dropped.items())
    return f"{whole} {first}{usable:,} can be used: {why}."


def length_summary(lengths: Mapping[str, Any]) -> str:
    """`Half of the samples have at most 61 tokens, 95 % at most 142; the longest has 512.`"""
    unit = lengths["unit"]
    return (
        f"Half of the samples have at most {lengths['median']:,} {unit}, 95 % at most {lengths['p95']:,}; "
        f"the longest has {lengths['max']:,}, prompt and response together."
    )


def unused_columns(unused: Iterable[Mapping[str, str]]) -> str:
    """`Not read by the models: id, choices (no part of prompt or response; …).`; "" if every column is read."""
    by_reason: dict[str, list[str]] = {}
    for each in unused:
        by_reason.setdefault(each["why"], []).append(each["column"])
    parts = [f"{', '.join(columns)} ({why})" for why, columns in by_reason.items()]
    return f"Not read by the models: {'; '.join(parts)}." if parts else ""


def used_by(settings: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    """The runs that read the same source and split, whatever they took of it."""
    return [run for run in runs if _instructions(run) and _same(run.recipe["data"]) == _same(settings)]


def _instructions(run: Run) -> bool:
    """Whether the run reads instructions and responses, and not labelled samples."""
    return "data" in run.recipe and run.kind not in (KD.name, DISTILLATION.name)


def _same(settings: dict[str, Any]) -> tuple[str, str]:
    return settings["source"], settings.get("split", "train")


def name_of(source: str, taken: Iterable[str] = ()) -> str:
    """A short name for a source that is not `taken`: `alpaca` for `tatsu-lab/alpaca`, `rows` for `/data/rows.jsonl`."""
    stem = uploads.stem_of(Path(source).name or source)
    taken, name, count = set(taken), stem, 2
    while name in taken:
        name, count = f"{stem}-{count}", count + 1
    return name


def place(workspace: Workspace, source: str) -> str:
    """Where a source comes from, in words."""
    if source == "demo":
        return "Written by Winnow itself"
    if uploads.is_upload(workspace, source):
        return "Uploaded into this workspace"
    if source.startswith(("/", "~", ".")) or uploads.suffix_of(source):
        return "On this machine"
    return "From the Hugging Face Hub"


def remove(ledger: Ledger, data: DataSet) -> None:
    """Forget added data, and delete its file if it was uploaded and neither a run nor other data reads it."""
    ledger.remove_dataset(data.name)
    others = [each for each in ledger.datasets() if each["settings"]["source"] == data.source]
    if not others and not any(run.recipe.get("data", {}).get("source") == data.source for run in ledger.runs()):
        uploads.discard_upload(ledger.workspace, data.source)
