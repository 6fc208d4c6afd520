"""Parts: append-only Parquet files of one table of one run, written atomically and then recorded in the ledger.

Parts are the truth; the store is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.common.atomic import write_atomically
from engine.common.errors import WinnowError
from engine.common.hashing import file_sha256
from engine.storage import former
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace

ROW_GROUP = 8192
TOKEN_ROW_GROUP = 64  # one sample is looked up at a time, so a lookup reads few neighbours


@dataclass(frozen=True)
class Part:
    """A finished file of one table of one run."""

    run: str
    table: str
    name: str
    rows: int
    size: int  # bytes
    sha256: str
    former_table: str = ""  # what an earlier version called the table when it wrote this part

    @property
    def folder(self) -> str:
        """The name of the table on disk and in the ledger."""
        return self.former_table or self.table

    def path(self, workspace: Workspace) -> Path:
        return part_path(workspace, self.run, self.folder, self.name)


def part_path(workspace: Workspace, run: str, table: str, name: str) -> Path:
    return workspace.parts / run / table / f"{name}.parquet"


def write_part(
    workspace: Workspace,
    run: str,
    table: str,
    name: str,
    columns: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    seconds: float = 0.0,
) -> Part:
    """Write one part atomically, and return what the ledger records of it.

    `columns` is a mapping of column to values, or a list of row objects. The `run` column is filled in here.
    `seconds` is what the part took to compute; it is stored in the file, so that a resumed run still knows it.
    Raises WinnowError if the disk is full, pyarrow.ArrowInvalid if the values do not fit the schema.
    """
    schema = SCHEMAS[table]
    if isinstance(columns, Mapping):
        values = dict(columns)
        if "run" in schema.names and "run" not in values:
            values["run"] = pa.repeat(run, len(next(iter(values.values()))))
        data = pa.table({field: values[field] for field in schema.names}, schema=schema)
    else:
        rows = [{"run": run, **row} for row in columns] if "run" in schema.names else list(columns)
        data = pa.Table.from_pylist(rows, schema=schema)
    data = data.replace_schema_metadata({"seconds": repr(seconds)})
    group = TOKEN_ROW_GROUP if table == "token_scores" else ROW_GROUP
    path = write_atomically(
        part_path(workspace, run, table, name),
        lambda temporary: pq.write_table(data, temporary, compression="zstd", row_group_size=group),
    )
    return Part(run, table, name, data.num_rows, path.stat().st_size, file_sha256(path))


def read_seconds(path: Path) -> float:
    """The seconds that a part took to compute."""
    return float(pq.read_schema(path).metadata[b"seconds"])


def read_column(path: Path, column: str) -> NDArray[Any]:
    """One column of a part, in the order it was written, as `as_array` gives it."""
    return as_array(pq.read_table(path, columns=[column]).column(column))


def as_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of n numbers or names without null as (n,), one of lists of one fixed length k as (n, k)."""
    if pa.types.is_fixed_size_list(column.type):
        rows: NDArray[Any] = pc.list_flatten(column).to_numpy().reshape(-1, column.type.list_size)
        return rows
    values: NDArray[Any] = column.to_numpy()
    return values


def read_part(path: Path, table: str) -> pa.Table:
    """Every row of one part, also of one that an earlier version wrote with other names of its columns.

    Raises OSError if the file cannot be read, pyarrow.ArrowInvalid if it does not fit the schema of the table.
    """
    stored = pq.read_schema(path).names
    if former.REMOVED.get(table, set()) & set(stored):
        return former.with_response(pq.read_table(path)).select(SCHEMAS[table].names).cast(SCHEMAS[table])
    names = {now: before for before, now in former.COLUMNS.get(table, {}).items() if before in stored}
    return pq.read_table(path, schema=_renamed(SCHEMAS[table], names)).rename_columns(SCHEMAS[table].names)


def has_schema(path: Path, table: str) -> bool:
    """Whether a part's file has the columns of its table, as this or an earlier version wrote them."""
    stored = _renamed(pq.read_schema(path), former.COLUMNS.get(table, {}))
    added, removed = former.ADDED.get(table, set()), former.REMOVED.get(table, set())
    expected = [field for field in SCHEMAS[table] if field.name in stored.names or field.name not in added]
    return bool(pa.schema([field for field in stored if field.name not in removed]).equals(pa.schema(expected)))


def _renamed(schema: pa.Schema, names: Mapping[str, str]) -> pa.Schema:
    return pa.schema([field.with_name(names.get(field.name, field.name)) for field in schema])


def read_table(workspace: Workspace, parts: Sequence[Part], table: str) -> pa.Table:
    """Every row of the given parts of one table, in the order the parts were recorded.

    Raises WinnowError if a part is missing or damaged.
    """
    found = []
    for part in parts:
        try:
            found.append(read_part(part.path(workspace), table))
        except (OSError, pa.ArrowInvalid) as error:
            raise WinnowError(
                f"The part {part.path(workspace)} is missing or damaged; run `python -m engine doctor`."
            ) from error
    return pa.concat_tables(found) if found else SCHEMAS[table].empty_table()
