"""The SQLite file: its schema, one connection for each use, transactions, and one sentence if something is wrong.

An earlier version's tables are renamed when the ledger is opened. A read-only workspace is not changed: there a
connection sees the former tables under today's names, and empty ones for those that are missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from engine.common.errors import WinnowError
from engine.storage.former import LEDGER_TABLES
from engine.storage.workspace import Workspace

TABLES = {
    "runs": """
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL,
        created REAL NOT NULL, started REAL, finished REAL, heartbeat REAL, cancel INTEGER NOT NULL DEFAULT 0,
        phase TEXT NOT NULL DEFAULT '', fraction REAL NOT NULL DEFAULT 0, eta REAL, error TEXT NOT NULL DEFAULT '',
        provenance TEXT NOT NULL DEFAULT '{}', pid INTEGER""",
    "parts": """
        run TEXT NOT NULL, tbl TEXT NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL, size INTEGER NOT NULL,
        sha256 TEXT NOT NULL, recorded REAL NOT NULL, PRIMARY KEY (run, tbl, name)""",
    "overrides": """
        id INTEGER PRIMARY KEY, content_id TEXT NOT NULL, decision TEXT NOT NULL, note TEXT NOT NULL,
        made REAL NOT NULL""",
    "datasets": "name TEXT PRIMARY KEY, settings TEXT NOT NULL, info TEXT NOT NULL, added REAL NOT NULL",
    "requests": """
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, answer TEXT,
        asked REAL NOT NULL""",
    "work_units": """
        id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, began REAL NOT NULL,
        ended REAL, outcome TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT ''""",
    "engines": "pid INTEGER PRIMARY KEY, started REAL NOT NULL, heartbeat REAL NOT NULL",
}
INDEXES = (
    "CREATE INDEX IF NOT EXISTS overrides_content ON overrides (content_id)",
    "CREATE INDEX IF NOT EXISTS work_units_run ON work_units (run)",
)


class LedgerDatabase:
    def __init__(self, workspace: Workspace) -> None:
        """Open (or make) the ledger of a workspace. Raises WinnowError if the file is damaged."""
        self.workspace = workspace
        with self._connect() as db:
            if workspace.read_only:
                return
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode=WAL")
            if not _tables(db) >= TABLES.keys():
                with _transaction(db):
                    _make_tables(db)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        path = self.workspace.ledger
        try:
            db = sqlite3.connect(path, timeout=30, isolation_level=None)
            db.row_factory = sqlite3.Row
            try:
                if self.workspace.read_only:
                    _stand_in(db)
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
        """One transaction; `action` completes "cannot …" in the error of a read-only workspace."""
        self.workspace.require_writable(action)
        with self._connect() as db:
            db.execute("PRAGMA synchronous=FULL")
            with _transaction(db):
                yield db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock first, so that reading and then changing is safe."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # on a full disk SQLite has rolled back by itself
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _make_tables(db: sqlite3.Connection) -> None:
    """Make the tables that are missing, out of those of an earlier version if it has them; inside a transaction."""
    known = _tables(db)  # another process may have been first
    for former, name in LEDGER_TABLES.items():
        if former in known and name not in known:
            db.execute(f"ALTER TABLE {former} RENAME TO {name}")
            db.execute(f"DROP INDEX IF EXISTS {former}_run")
    for name, columns in TABLES.items():
        db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
    for index in INDEXES:
        db.execute(index)


def _stand_in(db: sqlite3.Connection) -> None:
    """Give this connection alone the tables that the file lacks."""
    known = _tables(db)
    formers = {name: former for former, name in LEDGER_TABLES.items() if former in known}
    for name in TABLES.keys() - known:
        if name in formers:
            db.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {formers[name]}")
        else:
            db.execute(f"CREATE TEMP TABLE {name} ({TABLES[name]})")
