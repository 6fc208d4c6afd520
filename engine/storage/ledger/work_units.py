"""The work units of a run on a cluster, and which node attempted which."""

from __future__ import annotations

import time
from collections.abc import Iterable

from engine.storage.ledger.database import LedgerDatabase
from engine.storage.ledger.rows import Attempt


class WorkUnits(LedgerDatabase):
    def begin_unit(self, run: str, name: str, node: str) -> int:
        """Record that a node has begun a work unit, and return the id of this attempt."""
        with self._write("work on a run") as db:
            cursor = db.execute(
                "INSERT INTO work_units (run, name, node, began) VALUES (?, ?, ?, ?)", (run, name, node, time.time())
            )
            return int(cursor.lastrowid or 0)

    def end_units(self, run: str, outcome: str, why: str = "", attempts: Iterable[int] | None = None) -> None:
        """Record how attempts ended; without `attempts` every one of the run that is still open."""
        with self._write("work on a run") as db:
            if attempts is None:
                found = db.execute("SELECT id FROM work_units WHERE run = ? AND outcome = ''", (run,)).fetchall()
                attempts = [row["id"] for row in found]
            db.executemany(
                "UPDATE work_units SET ended = ?, outcome = ?, why = ? WHERE id = ?",
                [(time.time(), outcome, why, attempt) for attempt in attempts],
            )

    def attempts(self, run: str) -> list[Attempt]:
        """Every attempt of the nodes of a cluster at a run, oldest first; empty for a run without a cluster."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM work_units WHERE run = ? ORDER BY id", (run,)).fetchall()
        return [Attempt(*row) for row in rows]
