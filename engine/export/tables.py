"""The rows of a table of a run as Parquet, CSV or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.common.errors import WinnowError


def write_table(data: pa.Table, out: Path) -> None:
    """Write a .parquet, .csv or .json file. Raises WinnowError for another ending, or if it cannot be written."""
    writers: dict[str, Callable[[], object]] = {
        ".parquet": lambda: pq.write_table(data, out),
        ".csv": lambda: data.to_pandas().to_csv(out, index=False),
        ".json": lambda: out.write_text(json.dumps(json_rows(data)), encoding="utf-8"),
    }
    if out.suffix not in writers:
        raise WinnowError(f"{out} must end in .parquet, .csv or .json.")
    try:
        writers[out.suffix]()
    except OSError as error:
        raise WinnowError(f"{out} cannot be written ({error.strerror or error}).") from error


def json_rows(data: pa.Table) -> list[dict[str, Any]]:
    """Rows as plain values. A missing score is None: JSON has no NaN, and other readers refuse a file with one."""
    return [{key: _plain(value) for key, value in row.items()} for row in data.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
