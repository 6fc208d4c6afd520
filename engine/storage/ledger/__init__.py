"""The ledger: which runs were submitted, how far they are, which parts are finished, and what people decided.

One SQLite file in WAL mode that the app, the engine and the command line may all write at once. A run belongs to the
process that holds its lock file; the operating system releases the lock when a process dies, however it dies, so no
run is ever done twice and none waits for a timeout.
"""

from __future__ import annotations

from engine.storage.ledger.engines import Engines
from engine.storage.ledger.parts import RecordedParts
from engine.storage.ledger.people import People
from engine.storage.ledger.progress import Progress
from engine.storage.ledger.requests import Requests
from engine.storage.ledger.rows import ALIVE_SECONDS, BEAT_SECONDS, STATES, Attempt, Override, Request, Run
from engine.storage.ledger.work_units import WorkUnits

__all__ = ["ALIVE_SECONDS", "BEAT_SECONDS", "STATES", "Attempt", "Ledger", "Override", "Request", "Run"]


class Ledger(Progress, WorkUnits, RecordedParts, People, Requests, Engines):
    """Everything recorded about the runs of a workspace. Safe to share between threads and processes."""
