"""What people entered: samples kept or pruned by hand, notes, and data they added."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from engine.common.errors import WinnowError
from engine.storage.ledger.database import LedgerDatabase
from engine.storage.ledger.rows import Override


class People(LedgerDatabase):
    def override(self, content_ids: Iterable[str], decision: str, note: str = "") -> None:
        """Keep or prune samples by hand ("keep", "prune", or "" to undo it); every change stays in the history."""
        if decision not in ("keep", "prune", ""):
            raise WinnowError(f"A decision by hand is keep, prune or nothing, not {decision!r}.")
        with self._write("keep or prune by hand") as db:
            db.executemany(
                "INSERT INTO overrides (content_id, decision, note, made) VALUES (?, ?, ?, ?)",
                [(content_id, decision, note, time.time()) for content_id in content_ids],
            )

    def overrides(self) -> dict[str, Override]:
        """The latest decision on every sample that has one, or a note, by content id."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT content_id, decision, note, made FROM overrides WHERE id IN "
                "(SELECT max(id) FROM overrides GROUP BY content_id) AND (decision != '' OR note != '')"
            ).fetchall()
        return {row["content_id"]: Override(*row) for row in rows}

    def override_history(self, content_id: str) -> list[Override]:
        """Every decision about one sample, newest first."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT content_id, decision, note, made FROM overrides WHERE content_id = ? ORDER BY id DESC",
                (content_id,),
            ).fetchall()
        return [Override(*row) for row in rows]

    def add_dataset(self, name: str, settings: dict[str, Any], info: dict[str, Any]) -> None:
        """Record data a person added: how to load it (DataSettings as a dict) and what the preview found."""
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
