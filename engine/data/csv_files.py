"""Rows from a CSV file, whatever separates its values: commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.data.csv_quotes import quoted_records
from engine.data.lines import read_lines
from engine.data.records import Records

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
HEAD_LINES = 1000  # as many lines tell what separates the values
_LONGEST_VALUE = 2**31 - 1  # bytes of one CSV value; the csv module stops at 128 KiB by default
_SAID = re.compile(r"sep=([,;\t|])\r?\n?")  # the first line by which spreadsheets say what separates the values


class MalformedError(WinnowError):
    """A line is not what the first line and the rules of quotes ask for."""


def read_csv(path: Path, skip: int, limit: int | None, separator: str = "") -> Records:
    """Rows `skip` to `skip + limit`, every value as it is written; without a separator it is found from the file.

    A file whose values are all quoted may hold quotes that are not doubled, if they can be read in one way only.
    Raises WinnowError naming the line that is malformed, or if nothing tells what separates the values.
    """
    csv.field_size_limit(_LONGEST_VALUE)
    head = [line for _, line in islice(read_lines(path), HEAD_LINES)]
    said = _SAID.fullmatch(head[0]) if head else None
    first = 1 if said else 0
    separator = said[1] if said else separator or _find_separator(path, head)
    try:
        return _read(path, _records(path, separator, first), skip, limit, separator)
    except MalformedError:
        records = quoted_records(read_lines(path), separator, first)
        if not records:
            raise
        return _read(path, iter(records), skip, limit, separator)


def _read(
    path: Path, records: Iterator[tuple[int, list[str]]], skip: int, limit: int | None, separator: str
) -> Records:
    name = f"the CSV file {path}"
    _, names = next(records, (1, []))
    columns = [column.strip() or f"column {number}" for number, column in enumerate(names, 1)]
    rows: list[dict[str, Any]] = []
    position = 0
    for line, values in records:
        if limit is not None and len(rows) == limit:
            return Records(name, columns, rows, skip, None)
        if len(values) != len(columns):
            raise MalformedError(
                f"{path}, line {line:,}: {len(values):,} values, but the first line names {len(columns):,} columns, "
                f"separated by {SEPARATORS[separator]}; put values that hold {SEPARATORS[separator]}, quotes or line "
                'breaks into "double quotes".'
            )
        if position >= skip:
            rows.append(dict(zip(columns, values, strict=True)))
        position += 1
    return Records(name, columns, rows, skip, position)


def _find_separator(path: Path, head: Sequence[str]) -> str:
    """What the first line is separated by; if that is true of two, the one that gives every row as many values."""
    widths = {mark: _widths(head, mark) for mark in SEPARATORS}
    named = [mark for mark in SEPARATORS if widths[mark] and widths[mark][0] > 1]
    if len(named) < 2:
        return named[0] if named else ","
    even = [mark for mark in named if len(set(widths[mark])) == 1]
    if len(even) > 1:
        raise WinnowError(
            f"{path}: {' or '.join(SEPARATORS[mark] for mark in even)} could separate the values, for each gives every "
            'row as many values as the first line; put values and names that hold one of them into "double quotes".'
        )
    return even[0] if even else max(named, key=lambda mark: widths[mark][0])


def _widths(head: Sequence[str], separator: str) -> list[int]:
    """How many values each record has; the last is -1 if it is malformed."""
    widths: list[int] = []
    reader = csv.reader(head, delimiter=separator, strict=True)
    try:
        for values in reader:
            widths += [len(values)] if values else []
    except csv.Error:
        # The last record may go on behind the head; another that is malformed ends before.
        if reader.line_num < HEAD_LINES:
            widths.append(-1)
    return widths


def _records(path: Path, separator: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """The records behind the `first` lines that are not blank, each with its last line.

    Raises WinnowError naming the line that is malformed.
    """
    reader = csv.reader((line for _, line in islice(read_lines(path), first, None)), delimiter=separator, strict=True)
    try:
        for values in reader:
            if values:
                yield first + reader.line_num, values
    except csv.Error as error:
        raise MalformedError(
            f"{path}, line {first + reader.line_num:,}: this is not valid CSV ({reason(error)}); "
            'write a quote inside a quoted value as "" and close every quote.'
        ) from error
