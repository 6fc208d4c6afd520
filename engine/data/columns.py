"""Which column of a source holds the instruction, the input and the response."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.data import ColumnMap

USUAL_NAMES = {
    "instruction": ("instruction", "prompt", "question", "query", "problem", "request", "user", "human"),
    "input": ("input", "context"),
    "response": ("response", "output", "answer", "completion", "target", "reply", "solution", "assistant"),
}
"""Names by which a column is found if none is mapped, the first match first; upper and lower case are one."""

NAMED_COLUMNS = 20  # as many columns as a sentence lists


class ColumnError(WinnowError):
    """The columns of a source cannot be mapped to their roles."""


def find_columns(columns: Sequence[str], mapping: ColumnMap, name: str) -> ColumnMap:
    """The column of each role: the mapped one, else the first with a usual name, else "".

    A set that has an input and no instruction (columns `input` and `output`) is asked by its input. A set whose
    response is mapped by hand may have neither: then it is bare text. `name` is the source as a sentence names it.

    Raises ColumnError naming the columns there are.
    """
    has = f"It has {listed(columns)}."
    mapped = {role: column for role, column in mapping.model_dump().items() if column}
    for role, column in mapped.items():
        require_column(role, column, columns, name, f"columns.{role}")
    if len(set(mapped.values())) < len(mapped):
        raise ColumnError(f"One column of {name} is mapped to two roles; give each its own. {has}")

    found = dict(mapped)
    for role, usual in USUAL_NAMES.items():
        by_name = {column.lower(): column for column in reversed(columns) if column not in found.values()}
        if role not in found:
            found[role] = next((by_name[known] for known in usual if known in by_name), "")
    if not found["instruction"] and "input" not in mapped:
        found["instruction"], found["input"] = found["input"], ""

    if not found["response"]:
        raise ColumnError(f"No column of {name} looks like the response; name it with columns.response. {has}")
    if not found["instruction"] and not found["input"] and "response" not in mapped:
        raise ColumnError(f"No column of {name} looks like the instruction; name it with columns.instruction. {has}")
    return ColumnMap(**found)


def require_column(role: str, column: str, columns: Sequence[str], name: str, setting: str) -> None:
    """Raises ColumnError if the source `name` lacks the column that `setting` says has the role."""
    if column not in columns:
        close = difflib.get_close_matches(column, columns, n=1)
        hint = f"did you mean {printable(close[0])}?" if close else f"set {setting} to one it has."
        raise ColumnError(
            f"The {role} should be in column {printable(column)}, which {name} lacks; {hint} It has {listed(columns)}."
        )


def listed(columns: Sequence[str]) -> str:
    names = ", ".join(printable(column) for column in columns[:NAMED_COLUMNS])
    more = f" and {len(columns) - NAMED_COLUMNS:,} more" if len(columns) > NAMED_COLUMNS else ""
    return f"the columns {names}{more}" if columns else "no columns"
