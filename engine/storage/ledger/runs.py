"""Runs as a queue: submit one, list them, claim the next."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path

from filelock import FileLock, Timeout

from engine.common.errors import WinnowError
from engine.config.kinds import Recipe
from engine.config.load import to_dict
from engine.storage.ledger.database import LedgerDatabase
from engine.storage.ledger.rows import Run, to_run


class Runs(LedgerDatabase):
    def submit(self, recipe: Recipe) -> str:
        """Queue a run and return its id."""
        return self._insert(f"{recipe.name}-{secrets.token_hex(3)}", recipe)

    def start(self, recipe: Recipe) -> tuple[Run, FileLock]:
        """A new run for this process: claimed before any other worker can see it."""
        self.workspace.require_writable("start a run")
        run = f"{recipe.name}-{secrets.token_hex(3)}"
        lock = self.lock(run)
        lock.acquire()
        self._insert(run, recipe)
        return self._mark_running(run), lock

    def _insert(self, run: str, recipe: Recipe) -> str:
        with self._write("start a run") as db:
            db.execute(
                "INSERT INTO runs (id, kind, name, recipe, state, created) VALUES (?, ?, ?, ?, 'queued', ?)",
                (run, recipe.kind, recipe.name, json.dumps(to_dict(recipe)), time.time()),
            )
        return run

    def runs(self, limit: int = -1) -> list[Run]:
        """Newest first; all of them if `limit` is negative."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,)).fetchall()
        return [to_run(row) for row in rows]

    def run(self, run: str) -> Run:
        """One run by its id, or by the beginning of its id if that is unambiguous."""
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
        """The lock of a run; only the process that holds it may work on the run."""
        return FileLock(self.workspace.locks / f"{run}.lock", is_singleton=False)

    def log_path(self, run: str) -> Path:
        return self.workspace.logs / f"{run}.log"

    def claim(self, run: str | None = None) -> tuple[Run, FileLock] | None:
        """Claim the oldest run that is queued or left by a dead worker (or `run` alone), with its lock held."""
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
                continue  # another process is working on it
            if self.run(candidate).state in ("queued", "running"):
                return self._mark_running(candidate), lock
            lock.release()
        return None

    def _mark_running(self, run: str) -> Run:
        """Mark a run as running in this process, which holds its lock."""
        now = time.time()
        with self._write("work on a run") as db:
            db.execute(
                "UPDATE runs SET state = 'running', started = ?, heartbeat = ?, pid = ?, finished = NULL, error = '' "
                "WHERE id = ?",
                (now, now, os.getpid(), run),
            )
        return self.run(run)
