"""Which parts are finished: a part counts once it is recorded here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from engine.storage import former
from engine.storage.ledger.database import LedgerDatabase
from engine.storage.parts import Part


class RecordedParts(LedgerDatabase):
    def record_parts(self, parts: Iterable[Part]) -> None:
        """Record finished parts, in one transaction."""
        with self._write("work on a run") as db:
            db.executemany(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(p.run, p.folder, p.name, p.rows, p.size, p.sha256, time.time()) for p in parts],
            )

    def forget_parts(self, parts: Iterable[Part]) -> None:
        """Remove parts that are lost or damaged, so that resuming the run makes them again."""
        with self._write("repair the workspace") as db:
            db.executemany(
                "DELETE FROM parts WHERE run = ? AND tbl = ? AND name = ?", [(p.run, p.folder, p.name) for p in parts]
            )

    def parts(self, run: str | None = None, table: str | None = None) -> list[Part]:
        """Finished parts in the order they were recorded."""
        names = None if table is None else json.dumps(former.names(table))
        with self._connect() as db:
            found = db.execute(
                "SELECT run, tbl, name, rows, size, sha256 FROM parts WHERE (? IS NULL OR run = ?) "
                "AND (? IS NULL OR tbl IN (SELECT value FROM json_each(?))) ORDER BY rowid",
                (run, run, names, names),
            ).fetchall()
        return [
            Part(run, former.current(tbl), name, rows, size, sha256, tbl if tbl in former.TABLES else "")
            for run, tbl, name, rows, size, sha256 in found
        ]

    def parts_version(self) -> tuple[int, float]:
        """A value, cheap to read, that changes whenever a part is recorded or removed."""
        with self._connect() as db:
            return tuple(db.execute("SELECT count(*), coalesce(max(recorded), 0) FROM parts").fetchone())
