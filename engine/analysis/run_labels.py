"""A run in words: what it does, on what data, how far it is. Plain text, to be escaped where it is drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence

from engine.analysis.wording import listed
from engine.common.formats import count, duration
from engine.config.kinds import KINDS
from engine.storage.ledger import Run

TALLY = {
    "running": ("is running", "are running"),
    "stopping": ("is stopping", "are stopping"),
    "interrupted": ("was interrupted", "were interrupted"),
    "waiting": ("is waiting", "are waiting"),
    "done": ("is done", "are done"),
    "failed": ("failed", "failed"),
    "cancelled": ("was cancelled", "were cancelled"),
}
"""The states of a run in the order of a tally, with the verb of one run and of several."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def state(run: Run) -> str:
    """One of TALLY; a run whose worker died is interrupted, not running."""
    if run.interrupted:
        return "interrupted"
    if run.cancel and run.state == "running":
        return "stopping"
    return "waiting" if run.state == "queued" else run.state


def active(run: Run) -> bool:
    """Whether it is waiting, working, or waiting to be resumed."""
    return run.state in ("queued", "running")


def subject(run: Run) -> str:
    """`dynamic pruning on demo, scratch:student learning from scratch:teacher`."""
    source = str(run.recipe.get("data", {}).get("source", "data")).rsplit("/", 1)[-1]
    models = run.recipe.get("models")
    pair = f", {models['student']} learning from {models['teacher']}" if models else ""
    return f"{KINDS[run.kind].label} on {source}{pair}"


def on_cluster(run: Run) -> bool:
    """Whether its work units are done on a cluster; older recipes do not mention one."""
    return bool(run.recipe.get("cluster", {}).get("address", "none") != "none")


def where(run: Run) -> str:
    """`on 3 nodes`, or `on a Ray cluster` before its nodes are known; "" for a run on this machine."""
    if nodes := run.provenance.get("cluster", {}).get("nodes"):
        return f"on {count(len(nodes), 'node')}"
    return "on a Ray cluster" if on_cluster(run) else ""


def progress(run: Run) -> str:
    """How far an active run is: `scoring epoch 2 · 34 % · 40 s left`."""
    if run.state == "queued":
        return "waiting for its turn"
    parts = [run.phase or "starting", f"{run.fraction:.0%}".replace("%", " %")]
    if run.interrupted:
        parts.append("interrupted: it is resumed as soon as an engine is started")
    elif run.cancel:
        parts.append("stopping at the next batch")
    elif run.eta is not None:
        parts.append(f"{duration(run.eta)} left")
    return " · ".join(parts)


def tally(runs: Sequence[Run]) -> str:
    """`One run is running, two are waiting, five are done and one failed.`"""
    states = [state(run) for run in runs]
    parts: list[str] = []
    for name, (one, many) in TALLY.items():
        if number := states.count(name):
            word = NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"
            noun = "" if parts else " run" if number == 1 else " runs"
            parts.append(f"{word}{noun} {one if number == 1 else many}")
    sentence = listed(parts) or "nothing has run here yet"
    return f"{sentence[0].upper()}{sentence[1:]}."


def took(run: Run) -> str:
    """How long it ran, or has been running; "" for a run that never started."""
    return "" if run.state == "queued" else duration(run.seconds)


def ago(moment: float) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `2 days ago`."""
    seconds = max(0, round(time.time() - moment))
    for size, one, many in ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min")):
        if seconds >= size:
            return f"{count(seconds // size, one, many)} ago"
    return "just now"
