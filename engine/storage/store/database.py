"""The DuckDB file: opened once, locked down, one cursor for each question, one sentence when something is wrong."""

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
from engine.storage.workspace import Workspace

FILE = "winnow-5.duckdb"
"""The number changes with the tables below: a file of another version is left alone and made anew."""

TABLES = """
CREATE SEQUENCE ids;
CREATE TABLE parts (run VARCHAR, tbl VARCHAR, name VARCHAR, sha256 VARCHAR);
CREATE TABLE datasets (id INTEGER, name VARCHAR);
CREATE TABLE run_datasets (run VARCHAR, dataset INTEGER);
CREATE TABLE samples (
    dataset INTEGER, "row" INTEGER, content_id VARCHAR USING COMPRESSION uncompressed, split VARCHAR,
    instruction VARCHAR USING COMPRESSION uncompressed, "input" VARCHAR USING COMPRESSION uncompressed,
    response VARCHAR USING COMPRESSION uncompressed, fields MAP(VARCHAR, VARCHAR),
    length INTEGER, response_length INTEGER, truncated BOOLEAN,
    image BLOB USING COMPRESSION uncompressed, label VARCHAR);
CREATE INDEX samples_row ON samples ("row");
CREATE TABLE facets (dataset INTEGER, field VARCHAR, "value" VARCHAR, "row" INTEGER);
CREATE TABLE facet_values (dataset INTEGER, field VARCHAR, "value" VARCHAR);
CREATE TABLE scorings (
    id INTEGER, run VARCHAR, arm VARCHAR, seed INTEGER, epoch INTEGER, metric VARCHAR, samples INTEGER, goes INTEGER);
CREATE TABLE scores (scoring INTEGER, "row" INTEGER, "value" FLOAT);
CREATE TABLE choices (id INTEGER, run VARCHAR, arm VARCHAR, seed INTEGER, epoch INTEGER, tau DOUBLE);
CREATE TABLE selections (choice INTEGER, "row" INTEGER, kept BOOLEAN);
CREATE TABLE metrics (
    run VARCHAR, arm VARCHAR, seed INTEGER, epoch INTEGER, step INTEGER, split VARCHAR, name VARCHAR, "value" DOUBLE);
CREATE TABLE grid (
    part INTEGER, run VARCHAR, cell VARCHAR, score VARCHAR, fraction DOUBLE, kd_weight DOUBLE, teacher VARCHAR,
    noise DOUBLE, seed INTEGER, samples INTEGER, flipped INTEGER, "valid" DOUBLE, accuracy DOUBLE, loss DOUBLE,
    epochs DOUBLE, steps INTEGER, seconds DOUBLE, failed VARCHAR);
CREATE TABLE distilled (
    part INTEGER, run VARCHAR, task VARCHAR, student VARCHAR, per_class INTEGER, inner_steps INTEGER, seed INTEGER,
    step INTEGER, best BOOLEAN, "input" INTEGER, label VARCHAR, labels FLOAT[], "text" VARCHAR, changed INTEGER,
    length INTEGER, image BLOB, near_rows INTEGER[], near_values FLOAT[]);
CREATE TABLE distilled_tokens (
    part INTEGER, run VARCHAR, task VARCHAR, student VARCHAR, per_class INTEGER, inner_steps INTEGER, seed INTEGER,
    step INTEGER, "input" INTEGER, "position" INTEGER, "start" VARCHAR, nearest VARCHAR[], similarity FLOAT[]);
CREATE TABLE evaluation (
    part INTEGER, run VARCHAR, task VARCHAR, student VARCHAR, per_class INTEGER, inner_steps INTEGER, seed INTEGER,
    "method" VARCHAR, trained VARCHAR, eval_seed INTEGER, samples INTEGER, learning_rate DOUBLE, steps INTEGER,
    "valid" DOUBLE, accuracy DOUBLE, loss DOUBLE, seconds DOUBLE, flops DOUBLE);
CREATE TABLE token_parts (id INTEGER, run VARCHAR, name VARCHAR);
CREATE TABLE token_rows (part INTEGER, epoch INTEGER, "row" INTEGER, row_group INTEGER);
"""
# Text is stored as it is, as are pictures (a PNG is compressed already), and rows have an index: three times the disk,
# but a search is three times as fast and the texts of a page are read without looking at a million rows.

REMEMBERED_BYTES = min(2**30, psutil.virtual_memory().total // 16)
"""Of rankings and filters; a million samples take 24 MB and 5 MB, and every value of τ has a filter."""
REMEMBERED_ANSWERS = 500
LOCKED = "Could not set lock"  # how DuckDB says that another process has the file open
T = TypeVar("T")


class Database:
    """A DuckDB database that any thread may question; answers that many questions share are remembered."""

    def __init__(self, workspace: Workspace, file: Path | None) -> None:
        """Open (or make) `file`; None stands for memory. Raises WinnowError where that is impossible."""
        self.workspace = workspace
        self._name = str(file) if file else "in memory"
        self._versions: Counter[tuple[str, str]] = Counter()  # of a run's table, and as "" of all it has
        self._remembered: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
        self._remembered_lock = threading.Lock()
        with sentences(self._name):
            if file and not file.exists():
                make(file)
            self._connection = duckdb.connect(str(file) if file else ":memory:")
            if file is None:
                self._connection.execute(TABLES)
            self._lock_down()

    def _lock_down(self) -> None:
        """Leave most of the machine to training, and the outside world alone."""
        locked = self._connection.execute("SELECT current_setting('lock_configuration')").fetchall()
        if locked[0][0]:
            return  # this process has the file open already, and its handles share their settings
        for setting in (
            *(f"SET {name} = '{value}'" for name, value in share_of_the_machine().items()),
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
        """A cursor that sees one state of the database from the first to the last question asked of it."""
        with sentences(self._name):
            cursor = self._connection.cursor()
            try:
                cursor.begin()
                yield cursor
            finally:
                cursor.close()

    def _remember(self, run: str, key: tuple[Any, ...], make: Callable[[], T], table: str = "") -> T:
        """`make()`, or what it answered before where nothing of the run has been taken in since.

        With `table` the answer is made of that table alone: it outlives what comes to the others, as the lengths of
        samples outlive every shard of scores.
        """
        full = (self._versions[run, table], run, *key)
        with self._remembered_lock:
            if full in self._remembered:
                self._remembered.move_to_end(full)
                answer: T = self._remembered[full][1]
                return answer
        made = make()
        with self._remembered_lock:
            self._remembered[full] = (_size(made), made)
            total = sum(size for size, _ in self._remembered.values())
            while len(self._remembered) > (REMEMBERED_ANSWERS if total <= REMEMBERED_BYTES else 1):
                total -= self._remembered.popitem(last=False)[1][0]
        return made

    def _rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """The answer to one question as a list of plain rows."""
        with self._cursor() as cursor:
            found = cursor.execute(sql, values).fetchall()
            names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in found]

    def _columns(self, sql: str, **values: Any) -> list[NDArray[Any]]:
        """The answer to one question as one array for each column; made for millions of numbers without null."""
        with self._cursor() as cursor:
            return [column.to_numpy() for column in cursor.sql(sql, params=values).to_arrow_table().columns]

    def _dataset(self, run: str) -> int:
        """The number of the dataset a run uses; -1, which none has, before its samples have been taken in."""

        def find() -> int:
            found = self._rows("SELECT dataset FROM run_datasets WHERE run = $run", run=run)
            return int(found[0]["dataset"]) if found else -1

        return self._remember(run, ("dataset",), find, "samples")

    def _frame(self, sql: str, **values: Any) -> pd.DataFrame:
        """The answer to one question as a frame."""
        with self._cursor() as cursor:
            return cursor.execute(sql, values).df()


def share_of_the_machine() -> dict[str, str]:
    """DuckDB's settings for how many threads and how much memory the store may use."""
    threads = max(2, (os.cpu_count() or 2) // 2)
    megabytes = min(4096, psutil.virtual_memory().total // 2**20 // 4)
    return {"threads": str(threads), "memory_limit": f"{megabytes}MiB"}


def _size(made: object) -> int:
    """Bytes of an array or a ranking; a fair guess for anything else, where a list holds the texts of samples."""
    guess = 4096 * len(made) if isinstance(made, list) else 4096
    return getattr(made, "nbytes", guess)


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn what can go wrong with a file, a disk or memory into one sentence for a person."""
    try:
        yield
    except OSError as error:
        raise WinnowError(_cannot_write(name, error.strerror or str(error))) from error
    except duckdb.Error as error:
        raise _explain(error, name) from error


def remove(folder: Path) -> None:
    """Delete every store file, whole or damaged. Raises WinnowError where another process has one open."""
    for file in folder.glob("winnow-*.duckdb"):
        with sentences(str(file)):
            try:
                duckdb.connect(str(file)).close()
            except duckdb.Error as error:
                if LOCKED in str(error):
                    raise
            file.unlink()
            file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
    for leftover in folder.glob(".winnow-*"):  # of a process killed while it made one
        leftover.unlink()


def make(file: Path) -> None:
    """Make an empty store beside its place and move it there, so that a killed app leaves none or a whole one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(temporary)) as connection:
            connection.execute(TABLES)
        with contextlib.suppress(FileExistsError):  # another process was faster, and has it open by now
            os.link(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(name: str, reason: str) -> str:
    return (
        f"The store {name} cannot be written ({reason}); free some disk space, check the permissions of its folder, "
        "or choose another --workspace."
    )


def _explain(error: duckdb.Error, name: str) -> Exception:
    """The sentence for an error of the file, the disk or memory; any other error is a mistake of ours and stays."""
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
