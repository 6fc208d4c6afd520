"""The ledger's rows as objects: a run, an override, a request, an attempt."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from engine.common.errors import WinnowError
from engine.config.former import current_names
from engine.config.kinds import Kind, R, Recipe
from engine.config.load import parse_recipe

ALIVE_SECONDS = 10.0  # an engine or a worker with an older heartbeat counts as dead
BEAT_SECONDS = 2.0  # how often a living engine sends a heartbeat
STATES = ("queued", "running", "done", "failed", "cancelled")


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it. Times are seconds since the epoch; `fraction` is 0 to 1; `eta` is seconds."""

    id: str
    kind: str
    name: str
    recipe: dict[str, Any]
    state: str
    created: float
    started: float | None
    finished: float | None
    heartbeat: float | None
    cancel: bool
    phase: str
    fraction: float
    eta: float | None
    error: str
    provenance: dict[str, Any]

    def parsed(self) -> Recipe:
        return parse_recipe(self.recipe, f"the recipe of run {self.id}")

    def recipe_as(self, kind: Kind[R]) -> R:
        """The recipe of a run of this kind. Raises WinnowError if it is of another kind."""
        recipe = self.parsed()
        if not isinstance(recipe, kind.recipe):
            raise WinnowError(f"Run {self.id} is of kind {self.kind}, not {kind.name}; choose another run.")
        return recipe

    @property
    def seconds(self) -> float | None:
        """Wall time from the (last) start to the end, or to now while it runs."""
        return None if self.started is None else (self.finished or time.time()) - self.started

    @property
    def interrupted(self) -> bool:
        """It was running, but its heartbeat is too old; the next engine resumes it."""
        return self.state == "running" and time.time() - (self.heartbeat or 0) > ALIVE_SECONDS


@dataclass(frozen=True)
class Override:
    """What a person decided about one sample. `decision` is "keep", "prune" or "" (none, perhaps with a note)."""

    content_id: str
    decision: str
    note: str
    made: float


@dataclass(frozen=True)
class Request:
    """A small request to the query worker, and its answer once there is one."""

    id: int
    kind: str
    payload: dict[str, Any]
    state: str  # "waiting", "taken", "answered", "refused"
    answer: dict[str, Any] | None  # for "refused": {"error": one sentence}


@dataclass(frozen=True)
class Attempt:
    """One attempt of one node of a cluster at a work unit; a unit that was lost is attempted again, in its own row.

    Times are seconds since the epoch; `ended` is None while it is running.
    """

    id: int
    run: str
    name: str
    node: str  # its name and, if it has one, its address
    began: float
    ended: float | None
    outcome: str  # "" while it is running, "done", "lost" (with its node or its worker), "failed", "cancelled"
    why: str  # the reason, if it was lost or failed


def to_run(row: sqlite3.Row) -> Run:
    values = {key: row[key] for key in Run.__dataclass_fields__}
    values |= {"recipe": current_names(json.loads(row["recipe"])), "provenance": json.loads(row["provenance"])}
    return Run(**(values | {"cancel": bool(values["cancel"])}))


def to_request(row: sqlite3.Row) -> Request:
    answer = json.loads(row["answer"]) if row["answer"] else None
    return Request(row["id"], row["kind"], json.loads(row["payload"]), row["state"], answer)
