"""The DuckDB file: opened once, locked down, one cursor for each query, one sentence if something is wrong."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd
import psutil
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.storage.parts import as_array
from engine.storage.store.schema import make_tables
from engine.storage.workspace import Workspace

CACHE_BYTES = min(2**30, psutil.virtual_memory().total // 16)
"""Of rankings and filters; a million samples take 24 MB and 5 MB, and every value of τ has a filter."""
CACHE_ENTRIES = 500
LOCKED = "Could not set lock"  # how DuckDB says that another process has the file open
T = TypeVar("T")


class Database:
    """A DuckDB database that any thread may query; results that many queries share are cached."""

    def __init__(self, workspace: Workspace, file: Path | None) -> None:
        """Open (or make) `file`; None stands for memory. Raises WinnowError if that is impossible."""
        self.workspace = workspace
        self._name = str(file) if file else "in memory"
        self._versions: Counter[tuple[str, str]] = Counter()  # of each table of a run; "" for any of its tables
        self._cache: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
        self._cache_lock = threading.Lock()
        with explain_errors(self._name):
            if file and not file.exists():
                make_file(file)
            self._connection = duckdb.connect(str(file) if file else ":memory:")
            if file is None:
                make_tables(self._connection)
            self._lock_down()

    def _lock_down(self) -> None:
        """Leave most of the machine to training, and allow no access to files or the network."""
        locked = self._connection.execute("SELECT current_setting('lock_configuration')").fetchall()
        if locked[0][0]:
            return  # this process has the file open already, and its connections share their settings
        for setting in (
            *(f"SET {name} = '{value}'" for name, value in resource_limits().items()),
            "SET python_enable_replacements = false",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
        ):
            self._connection.execute(setting)
        self._connection.execute("SET temp_directory = ?", [str(self.workspace.store / "spill")])
        # Parts reach DuckDB as Arrow data, so it needs no folder of its own.
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor that sees one state of the database from its first to its last query."""
        with explain_errors(self._name):
            cursor = self._connection.cursor()
            try:
                cursor.begin()
                yield cursor
            finally:
                cursor.close()

    def _cached(self, run: str, key: tuple[Any, ...], compute: Callable[[], T], table: str = "") -> T:
        """`compute()`, or its last result if nothing of the run has been ingested since.

        With `table` the result depends on that table alone and stays valid while others grow, as the lengths of samples
        do with every part of scores.
        """
        full = (self._versions[run, table], run, *key)
        with self._cache_lock:
            if full in self._cache:
                self._cache.move_to_end(full)
                hit: T = self._cache[full][1]
                return hit
        result = compute()
        with self._cache_lock:
            self._cache[full] = (_size(result), result)
            total = sum(size for size, _ in self._cache.values())
            while len(self._cache) > (CACHE_ENTRIES if total <= CACHE_BYTES else 1):
                total -= self._cache.popitem(last=False)[1][0]
        return result

    def _rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """The result of one query as a list of plain rows."""
        with self._cursor() as cursor:
            found = cursor.execute(sql, values).fetchall()
            names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in found]

    def _columns(self, sql: str, **values: Any) -> list[NDArray[Any]]:
        """The result of one query as one array for each column, (n, k) if it holds lists; for millions of numbers
        without null."""
        with self._cursor() as cursor:
            return [as_array(column) for column in cursor.sql(sql, params=values).to_arrow_table().columns]

    def _dataset(self, run: str) -> int:
        """The number of the dataset a run uses; -1, which none has, before its samples have been ingested."""

        def find() -> int:
            found = self._rows("SELECT dataset FROM run_datasets WHERE run = $run", run=run)
            return int(found[0]["dataset"]) if found else -1

        return self._cached(run, ("dataset",), find, "samples")

    def _frame(self, sql: str, **values: Any) -> pd.DataFrame:
        """The result of one query as a frame."""
        with self._cursor() as cursor:
            return cursor.execute(sql, values).df()


def resource_limits() -> dict[str, str]:
    """DuckDB's settings for how many threads and how much memory the store may use."""
    threads = max(2, (os.cpu_count() or 2) // 2)
    megabytes = min(4096, psutil.virtual_memory().total // 2**20 // 4)
    return {"threads": str(threads), "memory_limit": f"{megabytes}MiB"}


def _size(result: object) -> int:
    """Bytes of an array or a ranking; an estimate for anything else: a list holds the texts of samples."""
    guess = 4096 * len(result) if isinstance(result, list) else 4096
    return getattr(result, "nbytes", guess)


@contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Turn errors of the file, the disk or memory into a WinnowError with one sentence for people."""
    try:
        yield
    except OSError as error:
        raise WinnowError(_cannot_write(name, error.strerror or str(error))) from error
    except duckdb.Error as error:
        raise _explain(error, name) from error


def remove_files(folder: Path) -> None:
    """Delete every store file, whole or damaged. Raises WinnowError if another process has one open."""
    for file in folder.glob("winnow-*.duckdb"):
        with explain_errors(str(file)):
            try:
                duckdb.connect(str(file)).close()
            except duckdb.Error as error:
                if LOCKED in str(error):
                    raise
            file.unlink()
            file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
    for leftover in folder.glob(".winnow-*"):  # of a process killed while it made one
        leftover.unlink()


def make_file(file: Path) -> None:
    """Make an empty store atomically: a killed app leaves none, or a whole one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(temporary)) as connection:
            make_tables(connection)
        with contextlib.suppress(FileExistsError):  # another process was faster, and may have it open
            os.link(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(name: str, reason: str) -> str:
    return (
        f"The store {name} cannot be written ({reason}); free some disk space, check the permissions of its folder, "
        "or choose another --workspace."
    )


def _explain(error: duckdb.Error, name: str) -> Exception:
    """The sentence for an error of the file, the disk or memory; any other error is a bug and stays as it is."""
    text = str(error).split("\n")[0]
    if LOCKED in text:
        return WinnowError(
            f"The store {name} is open in another Winnow app; close that one first, or choose another --workspace."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return WinnowError(f"The store {name} ran out of memory ({text}); close other programs and try again.")
    if "Could not write" in text or "Cannot open" in text:
        return WinnowError(_cannot_write(name, text.split("Error: ", 1)[-1]))
    damage = (duckdb.IOException, duckdb.SerializationException, duckdb.FatalException, duckdb.InternalException)
    if isinstance(error, damage) or "Corrupt" in text:
        return WinnowError(
            f"The store {name} is damaged ({text}); run `python -m engine doctor --rebuild` to make it again "
            "from the parts."
        )
    return error
