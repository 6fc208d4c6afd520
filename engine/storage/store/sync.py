"""Taking parts in: every recorded part exactly once, together with the note that it has been taken.

The unit that is thrown away and taken again is one table of one run. That happens when one of its parts was struck or
recorded with other content. When a run ends whose scores came in several goes, the store lays them down again in the
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
from engine.storage.parts import Part, part_schema
from engine.storage.store.database import Database, sentences
from engine.storage.store.ingest import ORDER, compact, drop, ingest
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace

Key = tuple[str, str, str]  # run, table, name
Unit = tuple[str, str]  # run, table
HASHING_THREADS = 2  # as DuckDB has on four cores: the rest of the machine is for training

_locks: dict[Path, threading.Lock] = {}
_locks_lock = threading.Lock()


class Sync(Database):
    def __init__(self, workspace: Workspace, file: Path | None, only: str | None) -> None:
        super().__init__(workspace, file)
        self._only = only  # the one run whose parts are wanted, or None for all
        with _locks_lock:  # two handles on one file take turns
            self._sync_lock = _locks.setdefault(file, threading.Lock()) if file else threading.Lock()
        self._mark: tuple[int, float] | None = None
        self._held: dict[Key, str] = {}  # what this handle knows to be in the store, with the hash of each part
        self._problems: dict[Key, tuple[str, tuple[int, int] | None, str]] = {}  # hash wanted, file seen, sentence
        with self._cursor() as cursor:
            self._unsettled = _unsettled(cursor)

    def sync(self, ledger: Ledger) -> int:
        """Take in what the ledger has recorded since the last time and drop what it has struck; how many were taken.

        One transaction: a process killed at any moment leaves the store as it was or as it should be. Takes a
        millisecond where nothing is new. A part that is missing or torn is left out whole and listed in `problems`.
        Raises WinnowError where the store is damaged or cannot be written.
        """
        with self._sync_lock:
            mark = ledger.parts_version()
            ended = self._ended(ledger)
            if mark == self._mark and not ended and not self._problems:
                return 0
            recorded = {(part.run, part.table, part.name): part for part in ledger.parts(self._only)}
            with sentences(self._name):
                cursor = self._connection.cursor()
                try:
                    cursor.begin()
                    held, taken = self._bring_up_to_date(cursor, recorded, ended)
                    # Another handle on the file may have taken in some of it.
                    changed: set[Unit] = {key[:2] for key, _ in held.items() ^ self._held.items()}
                    changed |= _sharing_samples(cursor, changed)
                    unsettled = _unsettled(cursor)
                    cursor.commit()
                finally:
                    cursor.close()
            # Only now: an answer found before the commit must not be remembered as one of after it.
            self._versions.update({*changed, *((run, "") for run, _ in changed)})
            self._mark, self._held, self._unsettled = mark, held, unsettled
            return taken

    def problems(self) -> list[str]:
        """One sentence for every recorded part that could not be taken in at the last `sync`."""
        return [sentence for _, _, sentence in self._problems.values()]

    def _ended(self, ledger: Ledger) -> set[str]:
        """Runs whose scores can now be laid down in order, because no more will come."""
        if not self._unsettled:
            return set()
        states = {run.id: run.state for run in ledger.runs()}
        return {run for run in self._unsettled if states.get(run) not in ("queued", "running")}

    def _bring_up_to_date(
        self, cursor: duckdb.DuckDBPyConnection, recorded: dict[Key, Part], ended: set[str]
    ) -> tuple[dict[Key, str], int]:
        """Make the tables hold exactly what is recorded and whole: (every part with its hash, how many were taken)."""
        taken: dict[Key, str] = {
            (run, table, name): sha256
            for run, table, name, sha256 in cursor.execute("SELECT run, tbl, name, sha256 FROM parts").fetchall()
        }
        stale: set[Unit] = {
            key[:2] for key, sha256 in taken.items() if key not in recorded or recorded[key].sha256 != sha256
        }
        stale |= _sharing_samples(cursor, stale)
        fresh = [part for key, part in recorded.items() if key not in taken or key[:2] in stale]
        whole = self._whole(fresh)
        for run, table in sorted(stale):
            drop(cursor, run, table)
        whole.sort(key=lambda part: (ORDER.index(part.table), part.run))  # within those in the order of the ledger
        for (table, run), group in groupby(whole, key=attrgetter("table", "run")):
            ingest(self.workspace, cursor, run, table, list(group))
        for run in sorted(ended):
            compact(cursor, run)
        held = {key: sha256 for key, sha256 in taken.items() if key[:2] not in stale}
        return held | {(part.run, part.table, part.name): part.sha256 for part in whole}, len(whole)

    def _whole(self, parts: Iterable[Part]) -> list[Part]:
        """The parts whose files are what was recorded; the others become problems."""
        before, self._problems = self._problems, {}
        whole, unknown = [], []
        for part in parts:
            key, path = (part.run, part.table, part.name), part.path(self.workspace)
            seen = _seen(path)
            known = before.get(key)
            if known and known[:2] == (part.sha256, seen):
                self._problems[key] = known
            else:
                unknown.append((part, path, seen))
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            found = list(threads.map(lambda each: _what_is_wrong(each[0], each[1]), unknown))
        for (part, _, seen), wrong in zip(unknown, found, strict=True):
            if wrong is None:
                whole.append(part)
                continue
            sentence = (
                f"The part {part.folder}/{part.name} of run {part.run} {wrong}, so its rows are left out; "
                "`python -m engine doctor --rebuild` has the run make it again."
            )
            self._problems[part.run, part.table, part.name] = (part.sha256, seen, sentence)
        return whole


def _unsettled(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    """Runs whose scores did not come in one go and therefore do not lie in order."""
    return {run for (run,) in cursor.execute("SELECT DISTINCT run FROM scorings WHERE goes > 1").fetchall()}


def _seen(path: Path) -> tuple[int, int] | None:
    """What tells one state of a file from another; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _what_is_wrong(part: Part, path: Path) -> str | None:
    try:
        if path.stat().st_size != part.size or file_sha256(path) != part.sha256:
            return "is not what was written"
        if not part_schema(path, part.table).equals(SCHEMAS[part.table]):
            return "has columns of another version"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except pa.ArrowInvalid:
        return "is no Parquet file"
    return None


def _sharing_samples(cursor: duckdb.DuckDBPyConnection, stale: set[Unit]) -> set[Unit]:
    """Runs that share a dataset with a run whose samples are stale: they may know the same rows."""
    runs = [run for run, table in stale if table == "samples"]
    found = cursor.execute(
        "SELECT DISTINCT o.run FROM run_datasets s JOIN run_datasets o ON o.dataset = s.dataset "
        "WHERE s.run IN (SELECT unnest($runs::VARCHAR[]))",
        {"runs": runs},
    ).fetchall()
    return {(run, "samples") for (run,) in found}
