"""Which engines are alive."""

from __future__ import annotations

import os
import time

from engine.storage.ledger.database import LedgerDatabase
from engine.storage.ledger.rows import ALIVE_SECONDS


class Engines(LedgerDatabase):
    def beat_engine(self, started: float) -> None:
        """Record a heartbeat of the engine of this process."""
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
