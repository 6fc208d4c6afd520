"""Rows from one local file: Parquet, JSON (one list, or one object per line), or CSV.

JSON and CSV are read as they are written rather than by a reader that guesses types: such readers turn "007" into
7, "NA" into nothing and "2020-01-01" into a time, and cannot name the line at fault.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.data.records import Records, plain_rows

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
BATCH_ROWS = 4096
_LONGEST_VALUE = 2**31 - 1  # bytes of one CSV value; the csv module stops at 128 KiB by default


def read_file(path: Path, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit` of a file.

    Raises WinnowError if the file is of another kind, is broken (naming the line if there are lines), is not
    UTF-8, or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WinnowError(
            f"{path} is not a kind of file that Winnow reads; save it as one of {', '.join(SUFFIXES)}, "
            "with a name that ends so."
        )
    try:
        if suffix == ".parquet":
            return _read_parquet(path, skip, limit)
        if suffix == ".csv":
            return _read_csv(path, skip, limit)
        return _read_json(path, skip, limit)
    except OSError as error:
        raise WinnowError(
            f"{path} cannot be read ({error.strerror or reason(error)}); check the disk and your rights."
        ) from error


def _read_parquet(path: Path, skip: int, limit: int | None) -> Records:
    name = f"the Parquet file {path}"
    rows: list[dict[str, Any]] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            total = file.metadata.num_rows
            stop = total if limit is None else min(total, skip + limit)
            groups, first = _groups_between(file.metadata, skip, stop)
            for batch in file.iter_batches(BATCH_ROWS, row_groups=groups):
                if first >= stop:
                    break
                start = max(skip - first, 0)
                wanted = batch.slice(start, max(min(stop - first, batch.num_rows) - start, 0))
                rows += plain_rows(wanted, name, first + start)
                first += batch.num_rows
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise WinnowError(
            f"{path} is not a whole Parquet file ({reason(error)}); download it or write it again."
        ) from error
    return Records(name, schema.names, rows, skip, total, _class_names(schema.metadata or {}))


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """What `datasets` wrote about classes, by column, and under "" a JSON list in the key `label_names`.

    Both are notes beside the data, by the program that wrote it: one that cannot be parsed counts as absent.
    """
    features = _metadata_value(metadata, b"huggingface", "info", "features")
    columns = features.items() if isinstance(features, dict) else ()
    found = {column: feature.get("names") for column, feature in columns if isinstance(feature, dict)}
    found[""] = _metadata_value(metadata, b"label_names")
    return {
        column: names
        for column, names in found.items()
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    }


def _metadata_value(metadata: dict[bytes, bytes], key: bytes, *path: str) -> Any:
    try:
        value = json.loads(metadata.get(key, b"null"))
    except (ValueError, RecursionError):
        return None
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _groups_between(metadata: pq.FileMetaData, skip: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows `skip` to `stop`, and the position of the first row of the first of them."""
    groups: list[int] = []
    first = start = 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if end > skip and start < stop:
            first = first if groups else start
            groups.append(group)
        start = end
    return groups, first


def _read_json(path: Path, skip: int, limit: int | None) -> Records:
    first_text = next((text for _, text in _lines(path) if text.strip()), "")
    rows, total = (_read_list if first_text.lstrip().startswith("[") else _read_objects)(path, skip, limit)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Records(f"the JSON file {path}", columns, rows, skip, total)


def _read_list(path: Path, skip: int, limit: int | None) -> tuple[list[dict[str, Any]], int]:
    text = "".join(line for _, line in _lines(path))
    values = _parse(text, path, 1)
    del text
    total = len(values)
    rows = values[skip : None if limit is None else skip + limit]
    for position, row in enumerate(rows, skip):
        if not isinstance(row, dict):
            raise WinnowError(
                f"{path}: item {position:,} of the list is {_kind(row)}; each must be an object with named values."
            )
    return rows, total


def _read_objects(path: Path, skip: int, limit: int | None) -> tuple[list[dict[str, Any]], int | None]:
    rows: list[dict[str, Any]] = []
    position = 0
    for number, line in _lines(path):
        if not line.strip():
            continue
        if limit is not None and len(rows) == limit:
            return rows, None
        if position >= skip:
            row = _parse(line, path, number)
            if not isinstance(row, dict):
                raise WinnowError(
                    f"{path}, line {number:,}: this is {_kind(row)}; each line must be an object with named values."
                )
            rows.append(row)
        position += 1
    return rows, position


def _parse(text: str, path: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        why = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno:,}"
    except (ValueError, RecursionError) as error:
        line, why = first_line, reason(error)
    raise WinnowError(
        f"{path}, line {line:,}: this is not valid JSON ({why}); mend it, "
        "and write either one object per line or one list of objects."
    )


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(value), "a number")


def _read_csv(path: Path, skip: int, limit: int | None) -> Records:
    name = f"the CSV file {path}"
    csv.field_size_limit(_LONGEST_VALUE)
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    records = _csv_records(reader, path)
    columns = [column.strip() or f"column {number}" for number, column in enumerate(next(records, []), 1)]
    rows: list[dict[str, Any]] = []
    position = 0
    for values in records:
        if limit is not None and len(rows) == limit:
            return Records(name, columns, rows, skip, None)
        if len(values) != len(columns):
            raise WinnowError(
                f"{path}, line {reader.line_num:,}: {len(values)} values, but the first line names {len(columns)} "
                'columns; put values that hold commas, quotes or line breaks into "double quotes".'
            )
        if position >= skip:
            rows.append(dict(zip(columns, values, strict=True)))
        position += 1
    return Records(name, columns, rows, skip, position)


def _csv_records(reader: Any, path: Path) -> Iterator[list[str]]:
    """The records of a CSV reader without blank lines. Raises WinnowError naming the line that is malformed."""
    try:
        for values in reader:
            if values:
                yield values
    except csv.Error as error:
        raise WinnowError(
            f"{path}, line {reader.line_num:,}: this is not valid CSV ({reason(error)}); "
            'write a quote inside a quoted value as "" and close every quote.'
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, its line end kept.

    Raises WinnowError naming the line and the byte of the file that is not UTF-8.
    """
    offset = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise WinnowError(
                    f"{path}, line {number:,}: this is not UTF-8 (byte {offset + error.start:,} of the file, "
                    "counted from 0); save the file again as UTF-8."
                ) from None
            yield number, text.removeprefix("\ufeff") if number == 1 else text
            offset += len(line)
