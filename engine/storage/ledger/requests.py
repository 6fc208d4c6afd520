"""Small requests to the query worker, and their answers."""

from __future__ import annotations

import json
import time
from typing import Any

from engine.storage.ledger.database import LedgerDatabase
from engine.storage.ledger.rows import Request, to_request


class Requests(LedgerDatabase):
    def submit_request(self, kind: str, payload: dict[str, Any]) -> int:
        """Submit a request and return its id: "check" a recipe, "preview" data, "trace" a prompt and a response."""
        with self._write("ask the engine anything") as db:
            db.execute("DELETE FROM requests WHERE asked < ?", (time.time() - 3600,))
            cursor = db.execute(
                "INSERT INTO requests (kind, payload, state, asked) VALUES (?, ?, 'waiting', ?)",
                (kind, json.dumps(payload), time.time()),
            )
            return int(cursor.lastrowid or 0)

    def next_request(self) -> Request | None:
        """The next waiting request; one that was taken by a worker that died is not served again."""
        with self._connect() as db:
            if db.execute("SELECT 1 FROM requests WHERE state = 'waiting' LIMIT 1").fetchone() is None:
                return None
        with self._write("answer a request") as db:
            row = db.execute(
                "UPDATE requests SET state = 'taken' WHERE id = "
                "(SELECT min(id) FROM requests WHERE state = 'waiting') RETURNING *"
            ).fetchall()
        return to_request(row[0]) if row else None

    def answer(self, request: int, answer: dict[str, Any], refused: bool = False) -> None:
        """Store the answer of a request; if it is refused that is {"error": one sentence}."""
        with self._write("answer a request") as db:
            db.execute(
                "UPDATE requests SET state = ?, answer = ? WHERE id = ?",
                ("refused" if refused else "answered", json.dumps(answer), request),
            )

    def request(self, request: int) -> Request | None:
        """A request and, once there is one, its answer; None if it has been deleted, an hour after it was made."""
        with self._connect() as db:
            row = db.execute("SELECT * FROM requests WHERE id = ?", (request,)).fetchone()
        return to_request(row) if row else None
