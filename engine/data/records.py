"""Rows as a source holds them, before anything is known about their columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from engine.common.errors import WinnowError
from engine.common.text import printable


@dataclass
class Records:
    """A slice of a source.

    `rows[i]` is the row at position `skip + i` of the source (from 0); a key may be missing if it is null.
    """

    name: str  # what to call it in a sentence: "the Parquet file /data/alpaca.parquet"
    columns: list[str]
    rows: list[dict[str, Any]]
    skip: int
    total: int | None  # rows of the whole source, if that is known without reading on
    class_names: dict[str, list[str]] = field(default_factory=dict)  # of integer columns; "": of whichever is the label
    splits: list[str] = field(default_factory=list)  # every split of the source, if it has any


def plain_rows(batch: pa.RecordBatch | pa.Table, name: str, first: int) -> list[dict[str, Any]]:
    """Arrow rows as Python objects; `first` is the position of the first one in the source.

    Raises WinnowError naming row and column if a text is not UTF-8.
    """
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        row, column = _first_unreadable(batch)
        raise WinnowError(
            f"Row {first + row:,} of {name} has a text in column {printable(column)} that is not UTF-8; "
            "write the file again with texts in UTF-8."
        ) from None


def _first_unreadable(batch: pa.RecordBatch | pa.Table) -> tuple[int, str]:
    for row in range(batch.num_rows):
        for column in batch.schema.names:
            try:
                batch.column(column)[row].as_py()
            except UnicodeDecodeError:
                return row, column
    raise AssertionError("called for a batch in which every text can be read")
