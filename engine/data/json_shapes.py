"""A JSON document that is no list of rows: the shapes in which programs write a table as one object."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.turns import SPEAKERS, turns_of

WRAPPERS = ("data", "rows", "records", "examples", "samples", "instances", "items")
"""Keys under which an object holds the list of its rows."""

_INDEX = re.compile(r"-?[0-9]+")
_NAMED_KEYS = 5  # as many keys as a sentence lists
_ADVICE = 'write one object per row, as pandas does with to_json(orient="records", lines=True)'


def rows_of(path: Path, document: Any) -> list[dict[str, Any]]:
    """The rows of a list of objects, of a table written as one object, or of the one row that an object is.

    A table is known by its shape: pandas' `to_json` of every orient, lists by column, or a list of rows under one of
    WRAPPERS. Raises WinnowError saying what shape was found if it is none of these.
    """
    if isinstance(document, dict):
        return _rows_of_object(path, document)
    if not isinstance(document, list):
        raise WinnowError(f"{path} holds {kind_of(document)} and no rows; {_ADVICE}.")
    for position, row in enumerate(document):
        if not isinstance(row, dict):
            raise WinnowError(
                f"{path}: item {position:,} of the list is {kind_of(row)}; each must be an object with named values."
            )
    return document


def _rows_of_object(path: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    values = list(document.values())
    if isinstance(document.get("columns"), list) and set(document) - {"index"} == {"columns", "data"}:
        return _split(path, document["columns"], document["data"])
    wrapped = [key for key in WRAPPERS if _is_objects(document.get(key))]
    if len(wrapped) == 1:
        rows: list[dict[str, Any]] = document[wrapped[0]]
        return rows
    if values and all(isinstance(value, dict) for value in values):
        return _indexed(path, document)
    if values and all(isinstance(value, list) and not any(map(_is_nested, value)) for value in values):
        _require_alike(path, {key: range(len(value)) for key, value in document.items()})
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    if any(map(_is_objects, values)) or not any(not _is_nested(value) or turns_of(value) for value in values):
        raise _unknown(path, document)
    return [document]


def _split(path: Path, columns: list[Any], data: Any) -> list[dict[str, Any]]:
    """pandas' orient "split": the names of the columns, and a list of values for each row."""
    if not isinstance(data, list) or any(map(_is_nested, columns)):
        raise _unknown(path, {"columns": columns, "data": data})
    for position, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            found = f"{len(row):,} values" if isinstance(row, list) else kind_of(row)
            raise WinnowError(
                f"{path}: item {position:,} of data is {found}, but columns names {len(columns):,}; {_ADVICE}."
            )
    names = [str(column) for column in columns]
    if len(set(names)) < len(names):
        raise WinnowError(f"{path} names a column twice in columns; rename one of them.")
    return [dict(zip(names, row, strict=True)) for row in data]


def _indexed(path: Path, document: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """pandas' orients "columns" and "index": an object of objects, one of the two keys numbers the rows."""
    inner = list(next(iter(document.values())))
    if all(map(_INDEX.fullmatch, inner)):
        _require_alike(path, document)
        return [{name: values[key] for name, values in document.items()} for key in inner]
    if all(map(_INDEX.fullmatch, document)):
        return list(document.values())
    raise _unknown(path, document)


def _require_alike(path: Path, columns: dict[str, Any]) -> None:
    first, *others = columns
    for other in others:
        if columns[other] != columns[first] and set(columns[other]) != set(columns[first]):
            raise WinnowError(
                f"{path}: column {printable(other)} has {len(columns[other]):,} rows that are not those of column "
                f"{printable(first)}, which has {len(columns[first]):,}; {_ADVICE}."
            )


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _is_objects(value: Any) -> bool:
    """Whether it is a list of objects other than the turns of a conversation, one each."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    speakers = [turn.speaker for turn in turns_of(value) or ()]
    return len(speakers) != len(value) or not set(speakers) <= set(SPEAKERS.values())


def _unknown(path: Path, document: dict[str, Any]) -> WinnowError:
    found = [
        f"{printable(key)} ({kind_of(value)}{f' of {len(value):,}' if _is_nested(value) else ''})"
        for key, value in document.items()
    ]
    more = f" and {len(found) - _NAMED_KEYS:,} more" if len(found) > _NAMED_KEYS else ""
    return WinnowError(
        f"{path} is one object and no set of rows: it holds {', '.join(found[:_NAMED_KEYS]) or 'nothing'}{more}; "
        f"{_ADVICE}."
    )


def kind_of(value: Any) -> str:
    """What a JSON value is, in a sentence."""
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")
