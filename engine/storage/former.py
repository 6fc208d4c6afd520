"""Names that earlier versions wrote to disk, and what they are called now.

Parts and their rows in the ledger are never rewritten: a part of an earlier version stays in the folder named after its
table as it was called then, with its columns as they were called then, and is read under today's names. The ledger's
own tables are renamed when it is opened, unless the workspace is read-only.
"""

from __future__ import annotations

TABLES = {"worth": "evaluation"}
"""Tables of parts: former name to name."""

COLUMNS = {
    "distilled": {"chosen": "best"},
    "evaluation": {"head": "eval_seed", "operations": "flops"},
}
"""Columns of parts, by the table's name: former name to name."""

LEDGER_TABLES = {"shards": "work_units", "asks": "requests"}
"""Tables of the ledger: former name to name."""


def current(table: str) -> str:
    """Today's name of a table of parts."""
    return TABLES.get(table, table)


def names(table: str) -> list[str]:
    """Every name that a table of parts ever had, today's first."""
    return [table, *(former for former, now in TABLES.items() if now == table)]
