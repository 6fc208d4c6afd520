"""What the ledger's rows are: its SQLite schema, and a run, a decision and a question as objects."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from engine.common.errors import WinnowError
from engine.config.kinds import Kind, R, Recipe
from engine.config.load import parse_recipe

ALIVE_SECONDS = 10.0  # a heartbeat older than this is no sign of life

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, started REAL, finished REAL, heartbeat REAL, cancel INTEGER NOT NULL DEFAULT 0,
    phase TEXT NOT NULL DEFAULT '', fraction REAL NOT NULL DEFAULT 0, eta REAL, error TEXT NOT NULL DEFAULT '',
    provenance TEXT NOT NULL DEFAULT '{}', pid INTEGER);
CREATE TABLE IF NOT EXISTS parts (
    run TEXT NOT NULL, tbl TEXT NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT NOT NULL, recorded REAL NOT NULL, PRIMARY KEY (run, tbl, name));
CREATE TABLE IF NOT EXISTS overrides (
    id INTEGER PRIMARY KEY, content_id TEXT NOT NULL, decision TEXT NOT NULL, note TEXT NOT NULL, made REAL NOT NULL);
CREATE INDEX IF NOT EXISTS overrides_content ON overrides (content_id);
CREATE TABLE IF NOT EXISTS datasets (
    name TEXT PRIMARY KEY, settings TEXT NOT NULL, info TEXT NOT NULL, added REAL NOT NULL);
CREATE TABLE IF NOT EXISTS asks (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, answer TEXT,
    asked REAL NOT NULL);
CREATE TABLE IF NOT EXISTS shards (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, began REAL NOT NULL, ended REAL,
    outcome TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS shards_run ON shards (run);
CREATE TABLE IF NOT EXISTS engines (pid INTEGER PRIMARY KEY, started REAL NOT NULL, heartbeat REAL NOT NULL);
"""


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
        """It was running, but nothing has been heard of it; the next engine takes it up again."""
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
    """A small question to the engine's warm worker, and its answer once there is one."""

    id: int
    kind: str
    payload: dict[str, Any]
    state: str  # "waiting", "taken", "answered", "refused"
    answer: dict[str, Any] | None  # for "refused": {"error": one sentence}


@dataclass(frozen=True)
class Attempt:
    """One shard of a run as one node of a cluster tried it; a shard that was lost is tried again, in a row of its own.

    Times are seconds since the epoch; `ended` is None while it is at work.
    """

    id: int
    run: str
    name: str
    node: str  # its name and, where it has one, its address
    began: float
    ended: float | None
    outcome: str  # "" while it is at work, "done", "lost" (with its node or its worker), "failed", "cancelled"
    why: str  # a few words where it was lost or failed


def to_run(row: sqlite3.Row) -> Run:
    values = {key: row[key] for key in Run.__dataclass_fields__}
    values |= {key: json.loads(values[key]) for key in ("recipe", "provenance")}
    return Run(**(values | {"cancel": bool(values["cancel"])}))


def to_request(row: sqlite3.Row) -> Request:
    answer = json.loads(row["answer"]) if row["answer"] else None
    return Request(row["id"], row["kind"], json.loads(row["payload"]), row["state"], answer)
