"""Rows of numbers: which columns are features, and the number to be predicted."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.columns import ColumnError, listed, require_column
from engine.data.labelled.numbers import Style, chosen_style, is_missing, is_whole, number, style_of_file, styles_of
from engine.data.labelled.sources import Pool

log = logging.getLogger(__name__)

NUMBERING = "only numbers the rows"
_PANDAS_INDEX = re.compile(r"unnamed: 0(\.\d+)*|column 1|__index_level_0__|level_0", re.IGNORECASE)
"""An index that pandas has written; a column without a name is called by its place."""
_INDEX = re.compile(
    r"index|idx|#|_?id|nr|no\.?|(row|record|sample)s?[ _-]?(id|index|idx|number|num|nr|no)?", re.IGNORECASE
)
_LEAST_ROWS = 3  # two numbers always change by a constant step


class Regression(NamedTuple):
    """Rows of numbers, the number to be predicted for each, and what was left out."""

    inputs: NDArray[np.float32]  # (n, d)
    targets: NDArray[np.float32]  # (n,)
    names: list[str]  # of the d columns
    unused: list[dict[str, str]]  # the other columns: {"column", "why"}


def read_regression(pool: Pool, label: str, named: Sequence[str]) -> Regression:
    """The columns `named`, or if there are none every column of numbers that is not the label, as they are.

    A column that only numbers the rows is left out unless it is named: an index that pandas has written, whole numbers
    that never repeat under a name such as "id", or whole numbers that change by the same step from row to row.

    A column holds numbers if its first value that is not missing is one, or if all are in one style of writing them.
    Raises WinnowError naming row and column if any other value is missing, infinite or not a number, or if its style is
    mixed or has two readings, and if there is no such column.
    """
    name, columns = pool.slices[0].name, pool.slices[0].columns
    for column in named:
        require_column("feature", column, columns, name, "data.features")
    if label in named:
        raise ColumnError(f"Column {printable(label)} is the label, and cannot be among data.features as well.")
    why = {column: _why_not(pool, column, named) for column in columns if column != label}
    names = [column for column, reason in why.items() if not reason]
    if not names:
        numbering = next((column for column, reason in why.items() if reason == NUMBERING), None)
        hint = f" Column {printable(numbering)} {NUMBERING}; if not, name it in data.features." if numbering else ""
        raise ColumnError(
            f"No column of {name} other than {printable(label)} holds numbers to learn from. It has "
            f"{listed(columns)}.{hint}"
        )
    read = _read(pool, [*names, label]).astype(np.float32)
    unused = [{"column": column, "why": reason} for column, reason in why.items() if reason]
    return Regression(read[:, :-1], read[:, -1], names, unused)


def _why_not(pool: Pool, column: str, named: Sequence[str]) -> str:
    """Why a column is no feature; "" if it is one."""
    if named:
        return "" if column in named else "not among data.features"
    values = [value for row in pool.rows if not is_missing(value := row.get(column))]
    if not values:
        return "empty"
    if number(values[0]) is None and not all(styles_of([value]) for value in values):
        return "text" if isinstance(values[0], str) else "no numbers"
    return NUMBERING if _numbers_the_rows(pool, column) else ""


def _numbers_the_rows(pool: Pool, column: str) -> bool:
    """Judged by the training rows, each file for itself, as files of one set may all begin at 0."""
    ends = [*pool.starts[1:], len(pool.rows)]
    parts = [
        [row.get(column) for row in pool.rows[start : min(end, pool.train)]]
        for start, end in zip(pool.starts, ends, strict=True)
        if start < pool.train
    ]
    read = [[number(value) for value in part] for part in parts]
    values = [[int(value) for value in part if value is not None and value.is_integer()] for part in read]
    if list(map(len, values)) != list(map(len, parts)):
        return False
    if _PANDAS_INDEX.fullmatch(column.strip()):
        return True
    if any(len(set(part)) < len(part) for part in values):
        return False
    if _INDEX.fullmatch(column.strip()):
        return True
    steps = {after - before for part in values for before, after in pairwise(part)}
    steady = len(steps) == 1 and 0 not in steps and max(map(len, values)) >= _LEAST_ROWS
    return steady and all(is_whole(value) for part in parts for value in part)


def _read(pool: Pool, columns: Sequence[str]) -> NDArray[np.float64]:
    """The numbers of some columns (n, d)."""
    styles = {column: styles_of(row.get(column) for row in pool.rows) for column in columns}
    file = style_of_file(styles.values())
    read = []
    for column in columns:
        if not styles[column]:
            _refuse_mixed(pool, column)
        style = chosen_style(styles[column], file) if styles[column] else "point"
        if style is None:
            _refuse_two_readings(pool, column)
        if style == "comma" and styles[column] != {"point", "comma", "grouped"}:
            log.info("column %s is read with decimal commas", printable(column))
        read.append([_require_number(pool, row, column, style) for row in range(len(pool.rows))])
    return np.array(read, dtype=np.float64).T


def _require_number(pool: Pool, row: int, column: str, style: Style) -> float:
    value = pool.rows[row].get(column)
    found = None if is_missing(value) else number(value, style)
    if found is not None and math.isfinite(found):
        return found
    shown = "no number" if is_missing(value) else printable(str(value))
    raise WinnowError(
        f"{pool.place(row)} has {shown} in column {printable(column)}, where every row needs one; fill it in, or leave "
        "the row or the column out."
    )


def _refuse_mixed(pool: Pool, column: str) -> None:
    """Raises WinnowError if all values are numbers, but some with a decimal comma and others with a point."""
    values = [(row, value) for row, record in enumerate(pool.rows) if not is_missing(value := record.get(column))]
    styles = [styles_of([value]) for _, value in values]
    if not all(styles):
        return  # one is no number in any style, and the sentence about that names it
    left: list[set[Style]] = list(accumulate(styles, set.__and__))
    odd = next(place for place, common in enumerate(left) if not common)
    before = next(place for place in range(odd) if not styles[place] & styles[odd])
    (first, other), (row, value) = values[before], values[odd]
    position, name = pool.source_of(first)
    raise WinnowError(
        f"{pool.place(row)} has {printable(str(value))} in column {printable(column)}, and row {position:,} of {name} "
        f"has {printable(str(other))}: decimal commas and decimal points in one column; write all its numbers in one "
        "way."
    )


def _refuse_two_readings(pool: Pool, column: str) -> NoReturn:
    row = next(row for row, record in enumerate(pool.rows) if "point" not in styles_of([record.get(column)]))
    raise WinnowError(
        f"{pool.place(row)} has {printable(str(pool.rows[row][column]))} in column {printable(column)}, whose comma "
        "may be that of decimals or of thousands; write these numbers with a decimal point, or without a comma."
    )
