"""The ledger: what was asked for, how far it is, which parts are finished, and what people typed.

One SQLite file in WAL mode that the app, the engine and the command line may all write at once. A run belongs to
whoever holds its lock file; the operating system lets go of the lock when a process dies, however it dies, so no
run is ever done twice and none waits for a time-out.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engine.common.errors import WinnowError
from engine.config.kinds import Recipe
from engine.config.load import to_dict
from engine.storage.ledger_rows import ALIVE_SECONDS, SCHEMA, Attempt, Override, Request, Run, to_request, to_run
from engine.storage.parts import Part
from engine.storage.workspace import Workspace

__all__ = ["ALIVE_SECONDS", "BEAT_SECONDS", "STATES", "Attempt", "Ledger", "Override", "Request", "Run"]

STATES = ("queued", "running", "done", "failed", "cancelled")
BEAT_SECONDS = 2.0  # how often a living engine says so


class Ledger:
    def __init__(self, workspace: Workspace) -> None:
        """Open (or make) the ledger of a workspace. Raises WinnowError where the file is damaged."""
        self.workspace = workspace
        with self._connect() as db:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode=WAL")
            db.executescript(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        path = self.workspace.ledger
        try:
            db = sqlite3.connect(path, timeout=30, isolation_level=None)
            db.row_factory = sqlite3.Row
            try:
                yield db
            finally:
                db.close()
        except sqlite3.OperationalError as error:
            raise WinnowError(
                f"The ledger {path} could not be used ({error}); free some disk space or check its permissions."
            ) from error
        except sqlite3.DatabaseError as error:
            raise WinnowError(
                f"The ledger {path} is damaged ({error}); move it away and restore it from a backup: "
                "the parts beside it are untouched."
            ) from error

    @contextmanager
    def _write(self, action: str) -> Iterator[sqlite3.Connection]:
        """One transaction that takes the write lock first, so that reading and then changing is safe."""
        self.workspace.require_writable(action)
        with self._connect() as db:
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # on a full disk SQLite has rolled back by itself
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    # -- runs ---------------------------------------------------------------------------------------------------

    def submit(self, recipe: Recipe) -> str:
        """Queue a run and return its id."""
        return self._insert(f"{recipe.name}-{secrets.token_hex(3)}", recipe)

    def start(self, recipe: Recipe) -> tuple[Run, FileLock]:
        """A new run that this process does at once: claimed before any other worker can see it."""
        self.workspace.require_writable("start a run")
        run = f"{recipe.name}-{secrets.token_hex(3)}"
        lock = self.lock(run)
        lock.acquire()
        self._insert(run, recipe)
        return self._take(run), lock

    def _insert(self, run: str, recipe: Recipe) -> str:
        with self._write("start a run") as db:
            db.execute(
                "INSERT INTO runs (id, kind, name, recipe, state, created) VALUES (?, ?, ?, ?, 'queued', ?)",
                (run, recipe.kind, recipe.name, json.dumps(to_dict(recipe)), time.time()),
            )
        return run

    def runs(self, limit: int = -1) -> list[Run]:
        """Newest first; all of them where `limit` is negative."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,)).fetchall()
        return [to_run(row) for row in rows]

    def run(self, run: str) -> Run:
        """One run by its id, or by the beginning of its id where that is unambiguous."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT * FROM runs WHERE id = ? OR substr(id, 1, ?) = ? ORDER BY id = ? DESC, created DESC",
                (run, len(run), run, run),
            ).fetchall()
        if not rows or not run:
            raise WinnowError(f"There is no run called {run!r} in {self.workspace.root}; list them with `runs`.")
        if rows[0]["id"] != run and len(rows) > 1:
            raise WinnowError(f"{run} could be {rows[0]['id']} or {rows[1]['id']}; write more of the id.")
        return to_run(rows[0])

    def lock(self, run: str) -> FileLock:
        """The lock of a run; whoever holds it may work on the run."""
        return FileLock(self.workspace.locks / f"{run}.lock", is_singleton=False)

    def claim(self, run: str | None = None) -> tuple[Run, FileLock] | None:
        """Take the oldest run that is queued or left behind by a dead worker (or `run` alone), with its lock held."""
        self.workspace.require_writable("work on a run")
        with self._connect() as db:
            waiting = db.execute(
                "SELECT id FROM runs WHERE state IN ('queued', 'running') AND (? IS NULL OR id = ?) ORDER BY created",
                (run, run),
            ).fetchall()
        for (candidate,) in waiting:
            lock = self.lock(candidate)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue  # somebody alive is working on it
            if self.run(candidate).state in ("queued", "running"):
                return self._take(candidate), lock
            lock.release()
        return None

    def _take(self, run: str) -> Run:
        """Mark a run as worked on by this process, which holds its lock."""
        now = time.time()
        with self._write("work on a run") as db:
            db.execute(
                "UPDATE runs SET state = 'running', started = ?, heartbeat = ?, pid = ?, finished = NULL, error = '' "
                "WHERE id = ?",
                (now, now, os.getpid(), run),
            )
        return self.run(run)

    def beat(self, run: str) -> None:
        """Say that the worker of a run is alive."""
        with self._write("work on a run") as db:
            db.execute("UPDATE runs SET heartbeat = ? WHERE id = ?", (time.time(), run))

    def progress(self, run: str, phase: str, fraction: float, eta: float | None) -> bool:
        """Record how far a run is; the answer is whether somebody asked to cancel it."""
        with self._write("work on a run") as db:
            db.execute(
                "UPDATE runs SET phase = ?, fraction = ?, eta = ?, heartbeat = ? WHERE id = ?",
                (phase, fraction, eta, time.time(), run),
            )
            row = db.execute("SELECT cancel FROM runs WHERE id = ?", (run,)).fetchone()
        return bool(row and row["cancel"])

    def finish(self, run: str, state: str, error: str = "") -> None:
        """End a run as done, failed or cancelled."""
        with self._write("work on a run") as db:
            db.execute(
                "UPDATE runs SET state = ?, finished = ?, error = ?, eta = NULL, cancel = 0, "
                "fraction = CASE WHEN ? = 'done' THEN 1 ELSE fraction END WHERE id = ?",
                (state, time.time(), error, state, run),
            )

    def cancel(self, run: str) -> None:
        """Ask a run to stop; a queued one stops at once, a running one at its next batch."""
        found = self.run(run)
        if found.state not in ("queued", "running"):
            raise WinnowError(f"Run {found.id} is already {found.state}, so there is nothing to cancel.")
        with self._write("cancel a run") as db:
            db.execute(
                "UPDATE runs SET cancel = 1, finished = CASE WHEN state = 'queued' THEN ? END, "
                "state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END WHERE id = ?",
                (time.time(), found.id),
            )

    def resume(self, run: str) -> None:
        """Queue a failed or cancelled run again; what it has finished is kept."""
        found = self.run(run)
        if found.state not in ("failed", "cancelled"):
            raise WinnowError(f"Run {found.id} is {found.state}; only a failed or cancelled run can be resumed.")
        with self._write("resume a run") as db:
            db.execute(
                "UPDATE runs SET state = 'queued', cancel = 0, error = '', finished = NULL WHERE id = ?", (found.id,)
            )

    def reopen(self, run: str) -> None:
        """Queue a run again whatever its state, because parts of it were lost."""
        with self._write("repair the workspace") as db:
            db.execute(
                "UPDATE runs SET state = 'queued', finished = NULL, cancel = 0 WHERE id = ? AND state != 'running'",
                (run,),
            )

    def set_provenance(self, run: str, **facts: Any) -> None:
        """Add facts to the provenance of a run: hashes, versions, device, resolved thresholds, counted drops."""
        with self._write("work on a run") as db:
            row = db.execute("SELECT provenance FROM runs WHERE id = ?", (run,)).fetchone()
            merged = json.loads(row["provenance"]) | facts
            db.execute("UPDATE runs SET provenance = ? WHERE id = ?", (json.dumps(merged), run))

    def extend_provenance(self, run: str, **facts: Any) -> None:
        """Add to facts that are lists or tables of their own, in one transaction: several workers may do so at once."""
        with self._write("work on a run") as db:
            row = db.execute("SELECT provenance FROM runs WHERE id = ?", (run,)).fetchone()
            known = json.loads(row["provenance"])
            for key, fact in facts.items():
                known[key] = (
                    known.get(key, type(fact)()) | fact if isinstance(fact, dict) else known.get(key, []) + fact
                )
            db.execute("UPDATE runs SET provenance = ? WHERE id = ?", (json.dumps(known), run))

    # -- shards of a run on a cluster ---------------------------------------------------------------------------

    def begin_unit(self, run: str, name: str, node: str) -> int:
        """Note that a node has begun a shard; the answer is the number of this attempt."""
        with self._write("work on a run") as db:
            cursor = db.execute(
                "INSERT INTO shards (run, name, node, began) VALUES (?, ?, ?, ?)", (run, name, node, time.time())
            )
            return int(cursor.lastrowid or 0)

    def end_units(self, run: str, outcome: str, why: str = "", attempts: Iterable[int] | None = None) -> None:
        """Note how attempts came out; without `attempts` every one of the run that is still open."""
        with self._write("work on a run") as db:
            if attempts is None:
                found = db.execute("SELECT id FROM shards WHERE run = ? AND outcome = ''", (run,)).fetchall()
                attempts = [row["id"] for row in found]
            db.executemany(
                "UPDATE shards SET ended = ?, outcome = ?, why = ? WHERE id = ?",
                [(time.time(), outcome, why, attempt) for attempt in attempts],
            )

    def attempts(self, run: str) -> list[Attempt]:
        """Everything nodes of a cluster have tried for a run, oldest first; nothing where no cluster was asked."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM shards WHERE run = ? ORDER BY id", (run,)).fetchall()
        return [Attempt(*row) for row in rows]

    # -- parts --------------------------------------------------------------------------------------------------

    def record_parts(self, parts: Iterable[Part]) -> None:
        """Record finished parts, all of them or none."""
        with self._write("work on a run") as db:
            db.executemany(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(p.run, p.table, p.name, p.rows, p.size, p.sha256, time.time()) for p in parts],
            )

    def forget_parts(self, parts: Iterable[Part]) -> None:
        """Strike parts that are lost or torn, so that resuming the run makes them again."""
        with self._write("repair the workspace") as db:
            db.executemany(
                "DELETE FROM parts WHERE run = ? AND tbl = ? AND name = ?", [(p.run, p.table, p.name) for p in parts]
            )

    def parts(self, run: str | None = None, table: str | None = None) -> list[Part]:
        """Finished parts in the order they were recorded."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT run, tbl, name, rows, size, sha256 FROM parts "
                "WHERE (? IS NULL OR run = ?) AND (? IS NULL OR tbl = ?) ORDER BY rowid",
                (run, run, table, table),
            ).fetchall()
        return [Part(*row) for row in rows]

    def parts_mark(self) -> tuple[int, float]:
        """A cheap mark that changes whenever a part is recorded or struck."""
        with self._connect() as db:
            return tuple(db.execute("SELECT count(*), coalesce(max(recorded), 0) FROM parts").fetchone())

    # -- what people typed --------------------------------------------------------------------------------------

    def override(self, content_ids: Iterable[str], decision: str, note: str = "") -> None:
        """Keep or prune samples by hand ("keep", "prune", or "" to take it back); every change stays in the history."""
        if decision not in ("keep", "prune", ""):
            raise WinnowError(f"A decision by hand is keep, prune or nothing, not {decision!r}.")
        with self._write("keep or prune by hand") as db:
            db.executemany(
                "INSERT INTO overrides (content_id, decision, note, made) VALUES (?, ?, ?, ?)",
                [(content_id, decision, note, time.time()) for content_id in content_ids],
            )

    def overrides(self) -> dict[str, Override]:
        """The latest word on every sample somebody spoke of, by content id."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT content_id, decision, note, made FROM overrides WHERE id IN "
                "(SELECT max(id) FROM overrides GROUP BY content_id) AND (decision != '' OR note != '')"
            ).fetchall()
        return {row["content_id"]: Override(*row) for row in rows}

    def override_history(self, content_id: str) -> list[Override]:
        """Everything decided about one sample, newest first."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT content_id, decision, note, made FROM overrides WHERE content_id = ? ORDER BY id DESC",
                (content_id,),
            ).fetchall()
        return [Override(*row) for row in rows]

    def add_dataset(self, name: str, settings: dict[str, Any], info: dict[str, Any]) -> None:
        """Remember data a person added: how to load it (DataSettings as a dict) and what the preview found."""
        with self._write("add data") as db:
            db.execute(
                "INSERT OR REPLACE INTO datasets VALUES (?, ?, ?, ?)",
                (name, json.dumps(settings), json.dumps(info), time.time()),
            )

    def remove_dataset(self, name: str) -> None:
        with self._write("remove data") as db:
            db.execute("DELETE FROM datasets WHERE name = ?", (name,))

    def datasets(self) -> list[dict[str, Any]]:
        """Data people added, newest first: name, settings, info, added."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM datasets ORDER BY added DESC").fetchall()
        return [
            {"name": row["name"], "settings": json.loads(row["settings"]), "info": json.loads(row["info"])}
            | {"added": row["added"]}
            for row in rows
        ]

    # -- questions to the warm worker ---------------------------------------------------------------------------

    def submit_request(self, kind: str, payload: dict[str, Any]) -> int:
        """Put a question to the engine: "check" a recipe, "preview" data, "trace" a prompt and a response."""
        with self._write("ask the engine anything") as db:
            db.execute("DELETE FROM asks WHERE asked < ?", (time.time() - 3600,))
            cursor = db.execute(
                "INSERT INTO asks (kind, payload, state, asked) VALUES (?, ?, 'waiting', ?)",
                (kind, json.dumps(payload), time.time()),
            )
            return int(cursor.lastrowid or 0)

    def next_request(self) -> Request | None:
        """The next waiting question; a question taken by a worker that died is not asked again."""
        with self._connect() as db:
            if db.execute("SELECT 1 FROM asks WHERE state = 'waiting' LIMIT 1").fetchone() is None:
                return None
        with self._write("answer a question") as db:
            row = db.execute(
                "UPDATE asks SET state = 'taken' WHERE id = "
                "(SELECT min(id) FROM asks WHERE state = 'waiting') RETURNING *"
            ).fetchall()
        return to_request(row[0]) if row else None

    def answer(self, ask: int, answer: dict[str, Any], refused: bool = False) -> None:
        with self._write("answer a question") as db:
            db.execute(
                "UPDATE asks SET state = ?, answer = ? WHERE id = ?",
                ("refused" if refused else "answered", json.dumps(answer), ask),
            )

    def request(self, ask: int) -> Request | None:
        """A question and, once there is one, its answer; None where it has been forgotten."""
        with self._connect() as db:
            row = db.execute("SELECT * FROM asks WHERE id = ?", (ask,)).fetchone()
        return to_request(row) if row else None

    # -- engines ------------------------------------------------------------------------------------------------

    def beat_engine(self, started: float) -> None:
        """Say that the engine of this process is alive."""
        with self._write("run an engine") as db:
            db.execute("DELETE FROM engines WHERE heartbeat < ?", (time.time() - ALIVE_SECONDS,))
            db.execute("INSERT OR REPLACE INTO engines VALUES (?, ?, ?)", (os.getpid(), started, time.time()))

    def forget_engine(self) -> None:
        with self._write("run an engine") as db:
            db.execute("DELETE FROM engines WHERE pid = ?", (os.getpid(),))

    def engine_alive(self) -> bool:
        with self._connect() as db:
            row = db.execute("SELECT max(heartbeat) AS last FROM engines").fetchone()
        return row["last"] is not None and time.time() - row["last"] < ALIVE_SECONDS

    def log_path(self, run: str) -> Path:
        return self.workspace.logs / f"{run}.log"
