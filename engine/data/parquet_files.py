"""Rows from a Parquet file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.data.records import UNREADABLE, Records, plain_rows

BATCH_ROWS = 4096


def read_parquet(path: Path, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit`, and the names of classes that the file notes.

    Raises WinnowError if the file is not whole, or naming the row and column that cannot be read.
    """
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
            class_names = _class_names(schema.metadata or {})
            names = schema.names
    except (*UNREADABLE, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise WinnowError(
            f"{path} is not a whole Parquet file ({reason(error)}); download it or write it again."
        ) from error
    return Records(name, names, rows, skip, total, class_names)


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
