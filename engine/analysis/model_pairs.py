"""The pairs of models that runs have used: where each comes from, how large it is. All text is plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.analysis import run_labels
from engine.common import formats
from engine.config.models import exit_layer, scratch_name
from engine.storage.ledger import Run
from engine.storage.workspace import Workspace

BYTES = {"float32": 4, "bfloat16": 2}
HASH = 12  # digits of a hash that are shown


@dataclass(frozen=True)
class Model:
    name: str  # as the recipe writes it
    source: str  # where it was read from; "" if no run has loaded it yet
    origin: str  # in words
    parameters: int | None
    hash: str


@dataclass(frozen=True)
class Pair:
    teacher: Model
    student: Model
    dtype: str
    tokenizer: str  # hash
    max_length: int
    runs: list[Run]  # newest first


def pairs(runs: Iterable[Run]) -> list[Pair]:
    """Every pair, last used first. Pairs of the same names count as two if they were read from different places."""
    found: dict[tuple[str, str, str | None], list[Run]] = {}
    for run in runs:
        if "models" in run.recipe:
            found.setdefault((_source(run, "teacher"), _source(run, "student"), _exit(run)), []).append(run)
    return [_pair(same) for same in found.values()]


def _source(run: Run, role: str) -> str:
    return str(run.provenance.get(f"{role}_source") or run.recipe["models"][role])


def _exit(run: Run) -> str | None:
    return exit_layer(str(run.recipe["models"]["student"]))


def _pair(runs: list[Run]) -> Pair:
    known = next((run for run in runs if "teacher_hash" in run.provenance), runs[0])
    facts = known.provenance
    return Pair(
        teacher=_model(known, "teacher"),
        student=_model(known, "student"),
        dtype=str(facts.get("dtype", "")),
        tokenizer=str(facts.get("tokenizer_hash", "")),
        max_length=int(facts.get("max_length", known.recipe["models"]["max_length"])),
        runs=runs,
    )


def _model(run: Run, role: str) -> Model:
    name = str(run.recipe["models"][role])
    source = str(run.provenance.get(f"{role}_source", ""))
    parameters = run.provenance.get(f"{role}_parameters")
    return Model(name, source, _origin(run, name), parameters, str(run.provenance.get(f"{role}_hash", "")))


def _origin(run: Run, name: str) -> str:
    if (layer := exit_layer(name)) is not None:
        return f"The teacher cut after layer {layer}, with its own last norm and head"
    scratch = scratch_name(name)
    if scratch is not None:
        made = ((run.recipe.get("scratch") or {}).get("models") or {}).get(scratch)
        return f"Made by Winnow: {made['layers']} layers of width {made['width']}" if made else "Made by Winnow"
    return "A folder on this machine" if Path(name).is_absolute() or name.startswith((".", "~")) else "Hugging Face Hub"


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def sentence(known: list[Pair], workspace: Workspace) -> str:
    """How many pairs there are and what the trained ones take on disk."""
    if not known:
        return "No pair of models has been used here yet."
    disk = folder_size(workspace.models)
    made = f" The models that Winnow trained take {formats.size(disk)} in its folder “models”." if disk else ""
    used = "One pair of models has" if len(known) == 1 else f"{len(known)} pairs of models have"
    return f"{used} read samples here.{made}"


def model_size(model: Model, dtype: str) -> str:
    """`840 k parameters · 3.4 MB in memory as float32 · weights 0f3a…`, as far as it is known."""
    parts, shares = [], exit_layer(model.name) is not None
    if model.parameters:
        parts.append(formats.parameters(model.parameters))
        if dtype in BYTES and not shares:
            parts.append(f"{formats.size(model.parameters * BYTES[dtype])} in memory as {dtype}")
    if disk := folder_size(Path(model.source)) if model.source and not shares else 0:
        parts.append(f"{formats.size(disk)} on disk")
    if model.hash and shares:
        parts.append("all of them the teacher's")
    elif model.hash:
        # The hash of a Hub model is its revision, which keeps its prefix.
        prefix, _, digits = model.hash.rpartition(":")
        parts.append(f"{'revision' if prefix else 'weights'} {digits[:HASH]}")
    return " · ".join(parts) or "Not loaded yet; its size is known once a run has read it."


def shared(pair: Pair) -> str:
    """What the two have in common, and the runs that used them."""
    teacher, student = pair.teacher.parameters, pair.student.parameters
    parts = [f"The teacher is {teacher / student:.1f} times the student"] if teacher and student else []
    parts.append(f"both read up to {pair.max_length:,} tokens")
    if pair.tokenizer:
        parts.append(f"tokenizer {pair.tokenizer[:HASH]}")
    last = run_labels.ago(pair.runs[0].created)
    parts.append(f"{formats.count(len(pair.runs), 'run')}, the last {last}")
    text = " · ".join(parts)
    return text[0].upper() + text[1:]


def own_logits(provenance: Mapping[str, Any]) -> str:
    """Which models are scored through their own logits, and why; "" if none is."""
    found = [(role, provenance.get(f"{role}_own_logits")) for role in ("teacher", "student")]
    return " ".join(f"The {role} is scored through its own logits: {why}." for role, why in found if why)
