"""Which column of a source holds the instruction, the input, the response and the system text, or a conversation."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.config.data import ColumnMap
from engine.data.records import Records
from engine.data.turns import Turn, is_whole, turns_of

USUAL_NAMES = {
    "instruction": ("instruction", "prompt", "question", "query", "problem", "request", "user", "human"),
    "input": ("input", "context"),
    "response": ("response", "output", "answer", "completion", "target", "reply", "solution", "assistant", "chosen"),
    "system": ("system", "system_prompt", "system_message"),
}
"""Names by which a column is found if none is mapped, the first match first; upper and lower case are one."""

CONVERSATIONS = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog", "data", "chosen")
"""Names by which one of several columns of conversations is found, the first match first; a list of texts under such a
name is what user and assistant say by turns."""

SHAPE_ROWS = 20  # values of a column that tell whether it holds conversations
NAMED_COLUMNS = 20  # as many columns as a sentence lists


class ColumnError(WinnowError):
    """The columns of a source cannot be mapped to their roles."""


def find_columns(records: Records, mapping: ColumnMap) -> ColumnMap:
    """The column of each role: the mapped one, else the first with a usual name, else "".

    A column of whole conversations, recognised by its shape, is the response and needs no instruction. A set that has
    an input and no instruction (columns `input` and `output`) is asked by its input. A set whose response is mapped by
    hand may have neither: then it is bare text.

    Raises ColumnError naming the columns there are.
    """
    columns, name = records.columns, records.name
    has = f"It has {listed(columns)}."
    mapped = {role: column for role, column in mapping.model_dump().items() if column}
    for role, column in mapped.items():
        require_column(role, column, columns, name, f"columns.{role}")
    if len(set(mapped.values())) < len(mapped):
        raise ColumnError(f"One column of {name} is mapped to two roles; give each its own. {has}")

    found = dict(mapped)
    whole = _whole_conversation(records, mapping)
    if whole:
        found |= {"response": whole}
    for role, usual in USUAL_NAMES.items():
        by_name = {column.lower(): column for column in reversed(columns) if column not in found.values()}
        if role not in found:
            asked = not whole or role == "system"  # a whole conversation holds what was asked
            found[role] = next((by_name[known] for known in usual if known in by_name), "") if asked else ""
    if not found["instruction"] and "input" not in mapped:
        found["instruction"], found["input"] = found["input"], ""

    if not found["response"]:
        raise ColumnError(f"No column of {name} looks like the response; name it with columns.response. {has}")
    if not found["instruction"] and not found["input"] and "response" not in mapped and not whole:
        raise ColumnError(f"No column of {name} looks like the instruction; name it with columns.instruction. {has}")
    return ColumnMap(**found)


def conversation(column: str, value: Any, texts: bool = True) -> list[Turn] | None:
    """The turns of the conversation in a column, if `texts` as texts alone; None if the value is something else."""
    return turns_of(value, alternate=texts and column.lower() in CONVERSATIONS)


def conversation_columns(records: Records, columns: Sequence[str], texts: bool = True) -> dict[str, bool]:
    """Those of `columns` of whose first values most are conversations, and whether one holds question and reply."""
    found = {}
    for column in columns:
        values = [value for row in records.rows if column and not is_empty(value := row.get(column))][:SHAPE_ROWS]
        turns = [conversation(column, value, texts) for value in values]
        if 2 * sum(map(bool, turns)) > len(turns):
            found[column] = any(is_whole(each or ()) for each in turns)
    return found


def _whole_conversation(records: Records, mapping: ColumnMap) -> str:
    """The column of whole conversations that is the response; "" if there is none."""
    wanted = [mapping.response] if mapping.response else records.columns
    # Texts alone are a weaker sign than the name of another column.
    named = set(USUAL_NAMES["response"]) - set(CONVERSATIONS)
    texts = not any(column.lower() in named for column in wanted)
    whole = [column for column, each in conversation_columns(records, wanted, texts).items() if each]
    if len(whole) < 2:
        return "".join(whole)
    by_name = {column.lower(): column for column in reversed(whole)}
    usual = next((by_name[known] for known in CONVERSATIONS if known in by_name), "")
    if not usual:
        raise ColumnError(
            f"Several columns of {records.name} hold conversations; choose one with columns.response. They are "
            f"{listed(whole)}."
        )
    return usual


def is_empty(value: Any) -> bool:
    """Whether a value is missing: None, a blank text, an empty list."""
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, list) and not value)


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
