"""The rows of a table of a run as Parquet, CSV or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.analysis.token_groups import token_groups
from engine.common.characters import completed, name_parts
from engine.common.errors import WinnowError
from engine.storage.parts import Part, read_table
from engine.storage.workspace import Workspace

if TYPE_CHECKING:
    from engine.analysis.pruning_results import Results

VERDICT = "verdict"
"""A table that is made from the others."""


def run_table(workspace: Workspace, parts: Sequence[Part], table: str) -> pa.Table:
    """Every row of a table of a run as people take it away: texts of tokens are readable.

    The first token of a character that several spell has all of its text, those after it have "". A likeliest token is
    the character that it completes, or names its bytes. Raises WinnowError if a part is missing or damaged.
    """
    data = read_table(workspace, parts, table)
    if table != "token_scores":
        return data
    rows = data.to_pylist()
    for row in rows:
        groups = token_groups(row)
        begins = {place: group.first for group in groups for place in range(group.first, group.stop)}
        texts = {group.first: group.text or "" for group in groups}
        for model in ("teacher_tokens", "student_tokens"):
            row[model] = [
                [name_parts(completed(row["tokens"][begins[place] : place], token)) for token in likeliest]
                for place, likeliest in enumerate(row[model], 1)
            ]
        row["tokens"] = [texts.get(place, "") for place in range(len(row["tokens"]))]
    return pa.Table.from_pylist(rows, schema=data.schema)


def verdict_table(found: Results) -> pa.Table:
    """One row per arm that chooses: how much more compute random choice needs for the same loss, and whether it is more
    than chance. `net` charges the seconds of choosing, `net_flops` the operations; `bound` and those of the others say
    if a multiplier lies beyond the measured curve."""
    return pa.Table.from_pandas(found.verdicts.drop(columns=["loss", "rival_loss"]), preserve_index=False)


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
