"""Rows from a JSON file: one object per line, one list of objects, or one object of another shape that is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from engine.common.errors import WinnowError
from engine.common.text import reason
from engine.data.json_shapes import kind_of, rows_of
from engine.data.lines import read_lines
from engine.data.records import Records

_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(path: Path, skip: int, limit: int | None) -> Records:
    """Rows `skip` to `skip + limit`; what has one object per line is read no further than that.

    Raises WinnowError naming the line that is malformed, or the shape that is no set of rows.
    """
    name = f"the JSON file {path}"
    if limit == 0:
        return Records(name, [], [], skip, None)
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    first = list(islice(lines, 2))
    if len(first) == 2 and _is_object(first[0][1]):
        rows, total = _read_objects(path, chain(first, lines), skip, limit)
    else:
        found = _rows_of_document(path)
        rows, total = found[skip : None if limit is None else skip + limit], len(found)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Records(name, columns, rows, skip, total)


def _is_object(line: str) -> bool:
    """Whether the line is JSON by itself; one that only looks so is read with all others, and then named."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_objects(
    path: Path, lines: Iterator[tuple[int, str]], skip: int, limit: int | None
) -> tuple[list[dict[str, Any]], int | None]:
    rows: list[dict[str, Any]] = []
    position = 0
    for number, line in lines:
        if limit is not None and len(rows) == limit:
            return rows, None
        if position >= skip:
            values = [value for _, value in _values(path, line, number)]
            if len(values) > 1 or not isinstance(values[0], dict):
                found = f"{len(values):,} values" if len(values) > 1 else kind_of(values[0])
                raise WinnowError(
                    f"{path}, line {number:,}: this is {found}; each line must be an object with named values."
                )
            rows += values
        position += 1
    return rows, position


def _rows_of_document(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is one JSON value, or several objects of more than one line each."""
    values = list(_values(path, "".join(line for _, line in read_lines(path)), 1))
    if len(values) == 1:
        return rows_of(path, values[0][1])
    for line, value in values:
        if not isinstance(value, dict):
            raise WinnowError(
                f"{path}, line {line:,}: this is {kind_of(value)} beside others; write one list of objects, or one "
                "object per line."
            )
    return [value for _, value in values]


def _values(path: Path, text: str, first_line: int) -> Iterator[tuple[int, Any]]:
    """Every JSON value of the text, one behind the other, each with its line."""
    decoder = json.JSONDecoder()
    start, end, line = 0, _after_space(text, 0), first_line
    while end < len(text):
        line += text.count("\n", start, end)
        start = end
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            line = first_line + error.lineno - 1
            why = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno:,}"
        except (ValueError, RecursionError) as error:
            why = reason(error)
        else:
            yield line, value
            end = _after_space(text, end)
            continue
        raise WinnowError(
            f"{path}, line {line:,}: this is not valid JSON ({why}); mend it, "
            "and write either one object per line or one list of objects."
        )


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start
