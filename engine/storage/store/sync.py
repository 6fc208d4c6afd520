"""Syncing the store with the ledger: every recorded part is ingested exactly once.

What is dropped and ingested again is always one table of one run, as soon as one of its parts was removed or recorded
with other content. If the scores of a run came in several ingests they are compacted when the run ends: sorted into the
order in which they are read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import duckdb
import pyarrow as pa

from engine.common.hashing import file_sha256
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, has_schema
from engine.storage.store.database import Database, explain_errors
from engine.storage.store.ingest import ORDER, compact, drop, ingest
from engine.storage.workspace import Workspace

Key = tuple[str, str, str]  # run, table, name
Unit = tuple[str, str]  # run, table
HASHING_THREADS = 2  # as DuckDB has on four cores: the rest of the machine is for training

_locks: dict[Path, threading.Lock] = {}
_locks_lock = threading.Lock()


class Sync(Database):
    def __init__(self, workspace: Workspace, file: Path | None, only: str | None) -> None:
        super().__init__(workspace, file)
        self._only = only  # the one run to ingest, or None for all
        with _locks_lock:  # two stores of one file take turns
            self._sync_lock = _locks.setdefault(file, threading.Lock()) if file else threading.Lock()
        self._synced_version: tuple[int, float] | None = None
        self._known: dict[Key, str] = {}  # the parts this object knows to be in the store, with their hashes
        self._problems: dict[Key, tuple[str, tuple[int, int] | None, str]] = {}  # expected hash, file status, sentence
        with self._cursor() as cursor:
            self._uncompacted = _uncompacted(cursor)

    def sync(self, ledger: Ledger) -> int:
        """Ingest the parts recorded since the last time, drop those removed; returns how many were ingested.

        One transaction: a process killed at any moment leaves the store as it was or as it should be. Takes a
        millisecond if nothing is new. A part that is missing or damaged is left out and listed in `problems`.
        Raises WinnowError if the store is damaged or cannot be written.
        """
        with self._sync_lock:
            version = ledger.parts_version()
            ended = self._ended(ledger)
            if version == self._synced_version and not ended and not self._problems:
                return 0
            recorded = {(part.run, part.table, part.name): part for part in ledger.parts(self._only)}
            with explain_errors(self._name):
                cursor = self._connection.cursor()
                try:
                    cursor.begin()
                    known, count = self._update(cursor, recorded, ended)
                    # Another store of the same file may have ingested some of it.
                    changed: set[Unit] = {key[:2] for key, _ in known.items() ^ self._known.items()}
                    changed |= _sharing_samples(cursor, changed)
                    uncompacted = _uncompacted(cursor)
                    cursor.commit()
                finally:
                    cursor.close()
            # Only now: a result from before the commit must not be cached as one from after it.
            self._versions.update({*changed, *((run, "") for run, _ in changed)})
            self._synced_version, self._known, self._uncompacted = version, known, uncompacted
            return count

    def problems(self) -> list[str]:
        """One sentence for every recorded part that could not be ingested at the last `sync`."""
        return [sentence for _, _, sentence in self._problems.values()]

    def _ended(self, ledger: Ledger) -> set[str]:
        """Runs whose scores can now be compacted, because no more will come."""
        if not self._uncompacted:
            return set()
        states = {run.id: run.state for run in ledger.runs()}
        return {run for run in self._uncompacted if states.get(run) not in ("queued", "running")}

    def _update(
        self, cursor: duckdb.DuckDBPyConnection, recorded: dict[Key, Part], ended: set[str]
    ) -> tuple[dict[Key, str], int]:
        """Make the tables hold exactly the recorded whole parts: (every part with its hash, how many were ingested)."""
        ingested: dict[Key, str] = {
            (run, table, name): sha256
            for run, table, name, sha256 in cursor.execute("SELECT run, tbl, name, sha256 FROM parts").fetchall()
        }
        stale: set[Unit] = {
            key[:2] for key, sha256 in ingested.items() if key not in recorded or recorded[key].sha256 != sha256
        }
        stale |= _sharing_samples(cursor, stale)
        fresh = [part for key, part in recorded.items() if key not in ingested or key[:2] in stale]
        whole = self._whole(fresh)
        for run, table in sorted(stale):
            drop(cursor, run, table)
        whole.sort(key=lambda part: (ORDER.index(part.table), part.run))  # within those in the order of the ledger
        for (table, run), group in groupby(whole, key=attrgetter("table", "run")):
            ingest(self.workspace, cursor, run, table, list(group))
        for run in sorted(ended):
            compact(cursor, run)
        known = {key: sha256 for key, sha256 in ingested.items() if key[:2] not in stale}
        return known | {(part.run, part.table, part.name): part.sha256 for part in whole}, len(whole)

    def _whole(self, parts: Iterable[Part]) -> list[Part]:
        """The parts whose files are what was recorded; the others become problems."""
        before, self._problems = self._problems, {}
        whole, unchecked = [], []
        for part in parts:
            key, path = (part.run, part.table, part.name), part.path(self.workspace)
            status = _status(path)
            problem = before.get(key)
            if problem and problem[:2] == (part.sha256, status):
                self._problems[key] = problem
            else:
                unchecked.append((part, path, status))
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            found = list(threads.map(lambda each: _defect(each[0], each[1]), unchecked))
        for (part, _, status), defect in zip(unchecked, found, strict=True):
            if defect is None:
                whole.append(part)
                continue
            sentence = (
                f"The part {part.folder}/{part.name} of run {part.run} {defect}, so its rows are left out; "
                "`python -m engine doctor --rebuild` has the run make it again."
            )
            self._problems[part.run, part.table, part.name] = (part.sha256, status, sentence)
        return whole


def _uncompacted(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    """Runs whose scores came in several ingests and are therefore not in order."""
    return {run for (run,) in cursor.execute("SELECT DISTINCT run FROM scorings WHERE ingests > 1").fetchall()}


def _status(path: Path) -> tuple[int, int] | None:
    """What tells one state of a file from another; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _defect(part: Part, path: Path) -> str | None:
    """What is wrong with a part's file, or None."""
    try:
        if path.stat().st_size != part.size or file_sha256(path) != part.sha256:
            return "is not what was written"
        if not has_schema(path, part.table):
            return "has columns of another version"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except pa.ArrowInvalid:
        return "is no Parquet file"
    return None


def _sharing_samples(cursor: duckdb.DuckDBPyConnection, stale: set[Unit]) -> set[Unit]:
    """Runs that share a dataset with a run whose samples are stale: they may have the same rows."""
    runs = [run for run, table in stale if table == "samples"]
    found = cursor.execute(
        "SELECT DISTINCT o.run FROM run_datasets s JOIN run_datasets o ON o.dataset = s.dataset "
        "WHERE s.run IN (SELECT unnest($runs::VARCHAR[]))",
        {"runs": runs},
    ).fetchall()
    return {(run, "samples") for (run,) in found}
