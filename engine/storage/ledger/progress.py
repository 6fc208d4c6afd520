"""A run while it is being done: heartbeat, progress, how it ended, and its provenance."""

from __future__ import annotations

import json
import time
from typing import Any

from engine.common.errors import WinnowError
from engine.storage.ledger.runs import Runs


class Progress(Runs):
    def beat(self, run: str) -> None:
        """Record a heartbeat of the worker of a run."""
        with self._write("work on a run") as db:
            db.execute("UPDATE runs SET heartbeat = ? WHERE id = ?", (time.time(), run))

    def progress(self, run: str, phase: str, fraction: float, eta: float | None) -> bool:
        """Record how far a run is, and return whether it is to be cancelled."""
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
        """Queue a run again in any state but running, because parts of it were lost."""
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
        """Extend facts that are lists or dicts, in one transaction: several workers may do so at once."""
        with self._write("work on a run") as db:
            row = db.execute("SELECT provenance FROM runs WHERE id = ?", (run,)).fetchone()
            known = json.loads(row["provenance"])
            for key, fact in facts.items():
                known[key] = (
                    known.get(key, type(fact)()) | fact if isinstance(fact, dict) else known.get(key, []) + fact
                )
            db.execute("UPDATE runs SET provenance = ? WHERE id = ?", (json.dumps(known), run))
