"""Rows as a source holds them, before anything is known about their columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.common.errors import WinnowError
from engine.common.text import printable, reason

UNREADABLE = (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError)
"""What Arrow raises on bytes that are no such value, wrong texts and dates outside of the calendar among them."""


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
    folder: Path | None = None  # of a local file: where the relative paths in it begin
    files: list[tuple[int, str]] = field(default_factory=list)  # of several: position of the first row, and the name

    def source_of(self, position: int) -> tuple[int, str]:
        """The position of a row of the source in its own file, and the name of that file."""
        if not self.files:
            return position, self.name
        first, name = self.files[bisect_right(self.files, position, key=lambda file: file[0]) - 1]
        return position - first, name


def joined(parts: Sequence[Records], skip: int) -> Records:
    """The slices of several files as that of one source, which begins with row `skip` of all."""
    if len(parts) == 1:
        return parts[0]
    totals = [part.total for part in parts]
    starts = accumulate((total or 0 for total in totals), initial=0)
    return Records(
        f"{parts[0].name} and {len(parts) - 1:,} more",
        list(dict.fromkeys(column for part in parts for column in part.columns)),
        [row for part in parts for row in part.rows],
        skip,
        None if None in totals else sum(total or 0 for total in totals),
        files=[(start, part.name) for start, part in zip(starts, parts, strict=False) if part.rows],
    )


def plain_rows(batch: pa.RecordBatch | pa.Table, name: str, first: int) -> list[dict[str, Any]]:
    """Arrow rows as Python objects; `first` is the position of the first one in the source.

    Raises WinnowError naming row and column if a text is not UTF-8, or if Python has no such value.
    """
    try:
        return batch.to_pylist()
    except UNREADABLE:
        raise _unreadable(batch, name, first) from None


def _unreadable(batch: pa.RecordBatch | pa.Table, name: str, first: int) -> WinnowError:
    for row in range(batch.num_rows):
        for number, column in enumerate(batch.schema.names):
            try:
                batch.column(number)[row].as_py()
            except UnicodeDecodeError:
                return WinnowError(
                    f"Row {first + row:,} of {name} has a text in column {printable(column)} that is not UTF-8; "
                    "write the file again with texts in UTF-8."
                )
            except UNREADABLE as error:
                return WinnowError(
                    f"Row {first + row:,} of {name} has a value in column {printable(column)} that cannot be read "
                    f"({reason(error)}); leave the row or the column out."
                )
    raise AssertionError("called for a batch in which every value can be read")
