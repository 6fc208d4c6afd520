"""A run in words: what it does, on what, how far it is. Pure functions; the words still need escaping where drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.common.formats import count, duration
from engine.config.kinds import KINDS
from engine.storage.ledger import Run


@dataclass(frozen=True)
class State:
    word: str
    icon: str
    colour: Literal["gray", "blue", "green", "red", "orange"]


_STATES = {
    "queued": State("waiting", ":material/schedule:", "gray"),
    "running": State("running", ":material/autorenew:", "blue"),
    "done": State("done", ":material/check:", "green"),
    "failed": State("failed", ":material/error:", "red"),
    "cancelled": State("cancelled", ":material/block:", "orange"),
}


def state(run: Run) -> State:
    """What to call the state of a run; a run whose worker died is interrupted, not running."""
    if run.interrupted:
        return State("interrupted", ":material/pause_circle:", "orange")
    if run.cancel and run.state == "running":
        return State("stopping", ":material/hourglass_bottom:", "orange")
    return _STATES[run.state]


def active(run: Run) -> bool:
    """Whether it is waiting, working, or waiting to be taken up again."""
    return run.state in ("queued", "running")


def subject(run: Run) -> str:
    """`dynamic pruning on demo, scratch:student learning from scratch:teacher`."""
    source = str(run.recipe.get("data", {}).get("source", "data")).rsplit("/", 1)[-1]
    models = run.recipe.get("models")
    pair = f", {models['student']} learning from {models['teacher']}" if models else ""
    return f"{KINDS[run.kind].label} on {source}{pair}"


def on_cluster(run: Run) -> bool:
    """Whether it was told to do its shards on a cluster; older recipes know of none."""
    return bool(run.recipe.get("cluster", {}).get("address", "none") != "none")


def where(run: Run) -> str:
    """`on 3 nodes`, or `on a Ray cluster` before it has found its nodes; "" for a run on this machine."""
    if found := run.provenance.get("cluster", {}).get("nodes"):
        return f"on {count(len(found), 'node')}"
    return "on a Ray cluster" if on_cluster(run) else ""


def progress(run: Run) -> str:
    """How far an active run is: `scoring epoch 2 · 34 % · 40 s left`."""
    if run.state == "queued":
        return "waiting for its turn"
    words = [run.phase or "starting", f"{run.fraction:.0%}".replace("%", " %")]
    if run.interrupted:
        words.append("interrupted: the next engine takes it up where it stopped")
    elif run.cancel:
        words.append("stopping at the next batch")
    elif run.eta is not None:
        words.append(f"{duration(run.eta)} left")
    return " · ".join(words)


def tally(runs: Sequence[Run]) -> str:
    """`One run is at work, two are waiting, five are done and one failed.`"""
    if not runs:
        return "Nothing has run here yet."
    said: list[str] = []
    words = [state(run).word for run in runs]
    for name, one, many in (
        ("running", "is at work", "are at work"),
        ("stopping", "is stopping", "are stopping"),
        ("interrupted", "was interrupted", "were interrupted"),
        ("waiting", "is waiting", "are waiting"),
        ("done", "is done", "are done"),
        ("failed", "failed", "failed"),
        ("cancelled", "was cancelled", "were cancelled"),
    ):
        if count := words.count(name):
            number = _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"
            said.append(f"{number}{' run' * (not said)}{'s' * (not said and count > 1)} {one if count == 1 else many}")
    sentence = " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    return sentence[0].upper() + sentence[1:] + "."


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def took(run: Run) -> str:
    """How long it ran, or has been running; "" for a run that never started."""
    if run.state == "queued" or run.seconds is None:
        return ""
    return duration(run.seconds)


def ago(moment: float) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `2 days ago`."""
    seconds = max(0, round(time.time() - moment))
    if seconds < 60:
        return "just now"
    for size, word in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {'day' if word == 'days' and count == 1 else word} ago"
    raise AssertionError(seconds)
