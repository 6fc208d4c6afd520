"""Labels, features and texts of a pool of rows: finding their columns, and checking what is in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.columns import ColumnError, listed, require_column
from engine.data.labelled.sources import Pool
from engine.data.sources import clean_text

USUAL_NAMES = {
    "image": ("image", "img", "picture"),
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "labels", "fine_label", "coarse_label", "target", "class"),
}
"""Names by which a column is found if none is given, the first match first; upper and lower case are one."""

_MISSING = ("", "nan", "na", "n/a", "null", "none")
"""How a missing number is written if all values are texts, as in a CSV file; as names of classes they are names."""


def find_column(pool: Pool, role: str, named: str, setting: str, label: str = "") -> str:
    """The column `named`, else the first with a usual name for the role that is not `label`; every slice has it.

    Raises ColumnError with the columns there are, naming the setting that chooses one.
    """
    columns = pool.slices[0].columns
    has = f"It has {listed(columns)}."
    if named:
        require_column(role, named, columns, pool.slices[0].name, setting)
    if named and named == label:
        raise ColumnError(
            f"Column {printable(named)} of {pool.slices[0].name} cannot be both the label and the {role}; give each "
            f"its own. {has}"
        )
    found = named or _usual(columns, role, label, pool.slices[0].name, setting)
    if not found:
        raise ColumnError(f"No column of {pool.slices[0].name} looks like the {role}; name it with {setting}. {has}")
    for part in pool.slices[1:]:
        if found not in part.columns:
            raise ColumnError(
                f"The {role} is in column {printable(found)} of {pool.slices[0].name}, but {part.name} lacks it; "
                f"it has {listed(part.columns)}."
            )
    return found


def _usual(columns: Sequence[str], role: str, label: str, name: str, setting: str) -> str:
    for known in USUAL_NAMES[role]:
        alike = [column for column in columns if column.lower() == known and column != label]
        if len(alike) > 1:
            raise ColumnError(
                f"Columns {printable(alike[0])} and {printable(alike[1])} of {name} could both be the {role}; choose "
                f"one with {setting}."
            )
        if alike:
            return alike[0]
    return ""


def class_labels(pool: Pool, column: str, kept: Sequence[int]) -> tuple[NDArray[np.int64], list[str]]:
    """Class of each kept row (n,), from 0, and the names of the classes.

    Whole numbers are the classes themselves; their names are those in the metadata of the source, else the numbers.
    Texts are the names of classes, which are numbered in alphabetical order. Raises WinnowError naming the row if a
    label is missing or none of these, and if the training rows have fewer than two classes or leave one out.
    """
    labels = _of_one_kind(pool, kept, [_label(pool, row, pool.rows[row].get(column)) for row in kept])
    train = [label for row, label in zip(kept, labels, strict=True) if row < pool.train]
    if not train:
        raise WinnowError(f"No row of {pool.name} can be used; choose another source or another column.")
    known = _known_names(pool, column)
    if isinstance(train[0], str):
        names = sorted({str(label) for label in train})
        number: dict[int | str, int] = {name: position for position, name in enumerate(names)}
        _require_two_classes(pool, Counter(train), train[0])
    else:
        seen = Counter(int(label) for label in train)
        _require_numbers(pool, kept, [int(label) for label in labels], known)
        _require_two_classes(pool, seen, known[int(train[0])] if known else train[0])
        missing = next((label for label in range(len(known) or max(seen) + 1) if label not in seen), None)
        if missing is not None:
            raise WinnowError(
                f"No row read from {pool.name} has the label {_shown(missing, known)}, and labels must have no gaps; "
                "number the classes from 0 without leaving one out, or, if the rows are sorted by class, shuffle "
                "the file first or raise data.limit."
            )
        names = known or [str(label) for label in range(len(seen))]
        number = {label: label for label in seen}
    for row, label in zip(kept, labels, strict=True):
        if label not in number:
            raise WinnowError(
                f"{pool.place(row)} has the label {_shown(label, known)}, which no training row has; "
                "leave it out of the test set, or add such rows to the training set."
            )
    return np.array([number[label] for label in labels], dtype=np.int64), names


def number_labels(pool: Pool, column: str) -> NDArray[np.float32]:
    """The number to be predicted for each row (n,). Raises WinnowError naming the row if there is none."""
    return np.array([_require_number(pool, row, column) for row in range(len(pool.rows))], dtype=np.float32)


def features(pool: Pool, label: str) -> tuple[NDArray[np.float32], list[str]]:
    """Every column of numbers other than the label (n, d), as it is, and the names of these columns.

    A column holds numbers if the first value that is not missing is one. Raises WinnowError naming row and column
    if any other value is missing, infinite or not a number, and if there is no such column.
    """
    names = [column for column in pool.slices[0].columns if column != label and _starts_as_number(pool, column)]
    if not names:
        raise ColumnError(
            f"No column of {pool.slices[0].name} other than {printable(label)} holds numbers to learn from. It has "
            f"{listed(pool.slices[0].columns)}."
        )
    values = [[_require_number(pool, row, name) for name in names] for row in range(len(pool.rows))]
    return np.array(values, dtype=np.float32), names


def _label(pool: Pool, row: int, value: Any) -> int | str:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN is not itself
        raise WinnowError(f"{pool.place(row)} has no label; fill it in, or leave the row out.")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise WinnowError(
        f"{pool.place(row)} has the label {printable(str(value))}, which is neither a whole number nor the name of a "
        'class; correct it, or set data.task to "numbers" if numbers are to be predicted.'
    )


def _of_one_kind(pool: Pool, kept: Sequence[int], labels: list[int | str]) -> list[int | str]:
    """Labels that are all numbers or all names. Texts that all read as numbers, as every CSV file has them, are."""
    odd = next((i for i, label in enumerate(labels) if isinstance(label, str) != isinstance(labels[0], str)), None)
    if odd is not None:
        position, name = pool.source_of(kept[0])
        raise WinnowError(
            f"{pool.place(kept[odd])} has the label {printable(str(labels[odd]))}, and row {position:,} of {name} has "
            f"{printable(str(labels[0]))}; write all labels as whole numbers, or all as names."
        )
    numbers = [_number(label) if isinstance(label, str) else None for label in labels]
    if any(number is None for number in numbers):
        return labels
    return [_label(pool, row, number) for row, number in zip(kept, numbers, strict=True)]


def _known_names(pool: Pool, column: str) -> list[str]:
    """The names of the classes that the slices come with; empty if none has any."""
    known = [(part, part.class_names.get(column) or part.class_names.get("", [])) for part in pool.slices]
    known = [(part, names) for part, names in known if names]
    for part, names in known[1:]:
        if names != known[0][1]:
            raise WinnowError(
                f"The classes of {part.name} are not those of {known[0][0].name}, or not in the same order; use files "
                "of one set."
            )
    return [clean_text(name) for name in known[0][1]] if known else []


def _require_numbers(pool: Pool, kept: Sequence[int], labels: list[int], known: list[str]) -> None:
    for row, label in zip(kept, labels, strict=True):
        if label < 0:
            raise WinnowError(
                f"{pool.place(row)} has the label {label}, and labels count from 0; correct it, or choose another "
                "split: sets whose labels are not public write -1."
            )
        if known and label >= len(known):
            raise WinnowError(
                f"{pool.place(row)} has the label {label}, but the set names {len(known):,} classes, 0 to "
                f"{len(known) - 1:,}; correct the label or the names."
            )


def _require_two_classes(pool: Pool, seen: Counter[Any], only: int | str) -> None:
    if len(seen) < 2:
        raise WinnowError(
            f"Every row read from {pool.name} has the label {printable(str(only))}, and two classes are needed; if "
            "the rows are sorted by class, shuffle the file first or raise data.limit."
        )


def _shown(label: int | str, known: list[str]) -> str:
    if isinstance(label, int) and label < len(known):
        return f"{label} ({printable(known[label])})"
    return printable(str(label))


def _starts_as_number(pool: Pool, column: str) -> bool:
    first = next((value for row in pool.rows if not _is_missing(value := row.get(column))), None)
    return _number(first) is not None


def _require_number(pool: Pool, row: int, column: str) -> float:
    value = pool.rows[row].get(column)
    number = None if _is_missing(value) else _number(value)
    if number is not None and math.isfinite(number):
        return number
    found = "no number" if _is_missing(value) else printable(str(value))
    raise WinnowError(
        f"{pool.place(row)} has {found} in column {printable(column)}, where every row needs one; fill it in, or leave "
        "the row or the column out."
    )


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    """A number, also one written as text; None if it is none."""
    if not isinstance(value, bool | int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
