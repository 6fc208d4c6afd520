"""Names that earlier versions wrote to disk, and what they are called now.

Parts and their rows in the ledger are never rewritten: a part of an earlier version stays in the folder named after its
table as it was called then, with its columns as they were called then, and is read under today's names. The ledger's
own tables are renamed when it is opened, unless the workspace is read-only.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from engine.storage.former_tokens import current_likeliest, current_tokens

TABLES = {"worth": "evaluation"}
"""Tables of parts: former name to name."""

COLUMNS = {
    "distilled": {"chosen": "best"},
    "evaluation": {"head": "eval_seed", "operations": "flops"},
}
"""Columns of parts, by the table's name: former name to name."""

ADDED = {"samples": {"system", "turns"}, "token_scores": {"response", "turns"}}
"""Columns that parts of an earlier version lack, by the table's name; they are null."""

REMOVED = {"token_scores": {"response_start"}}
"""Columns that only parts of an earlier version have."""

LEDGER_TABLES = {"shards": "work_units", "asks": "requests"}
"""Tables of the ledger: former name to name."""


def current(table: str) -> str:
    """Today's name of a table of parts."""
    return TABLES.get(table, table)


def names(table: str) -> list[str]:
    """Every name that a table of parts ever had, today's first."""
    return [table, *(former for former, now in TABLES.items() if now == table)]


def with_response(rows: pa.Table) -> pa.Table:
    """Rows of token scores with `response` and `turns`, also if they are of a version that wrote `response_start`.

    That version also wrote parts of characters as pieces of the vocabulary; they are bytes again.
    """
    if "response_start" not in rows.column_names:
        return rows
    starts, lengths = rows.column("response_start").to_pylist(), map(len, rows.column("tokens").to_pylist())
    response = [[place >= start for place in range(length)] for start, length in zip(starts, lengths, strict=True)]
    rows = rows.append_column("response", pa.array(response)).append_column("turns", pa.nulls(rows.num_rows))
    tokens = rows.column("tokens").to_pylist()
    now: dict[str, list[Any]] = {"tokens": [current_tokens(each) for each in tokens]}
    for name in ("teacher_tokens", "student_tokens"):
        likeliest = rows.column(name).to_pylist()
        now[name] = [current_likeliest(each, top) for each, top in zip(tokens, likeliest, strict=True)]
    for name, values in now.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(values, rows.schema.field(name).type))
    return rows
