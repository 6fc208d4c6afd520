"""The class of each row, from labels as people write them: names, numbers that may begin anywhere, codes."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.text import printable
from engine.data.labelled.numbers import is_whole, number
from engine.data.labelled.sources import Pool
from engine.data.sources import clean_text

log = logging.getLogger(__name__)

FEW_CLASSES = 20  # so many different numbers may always be classes
ROWS_OF_A_CLASS = 10  # on average, if there are more: numbers that hardly repeat are measurements
_CODE = re.compile(r"0[0-9]+")  # a number whose zeros at the front are part of its name
_NAMED = 20  # classes that a line of the log names

Label = int | str


def class_labels(pool: Pool, column: str, kept: Sequence[int]) -> tuple[NDArray[np.int64], list[str]]:
    """Class of each kept row (n,), from 0, and the names of the classes.

    If the metadata of the source names the classes, whole numbers are positions among these names. Else each different
    label of the training rows is a class with that name: numbers in ascending order, wherever they begin and whatever
    they leave out, texts in alphabetical order. Texts that are all whole numbers are numbers, unless one begins with
    zeros: such codes ("007") are names, but in the order of their numbers.

    Raises WinnowError naming the row if a label is missing or none of these, if a test row has a label that no training
    row has, if the training rows have fewer than two classes, leave out one that is named, or hold as many different
    numbers as only measurements have.
    """
    labels = _of_one_kind(pool, kept, [_label(pool, row, pool.rows[row].get(column)) for row in kept])
    train = {label for row, label in zip(kept, labels, strict=True) if row < pool.train}
    if not train:
        raise WinnowError(f"No row of {pool.name} can be used; choose another source or another column.")
    known = [] if isinstance(labels[0], str) else _known_names(pool, column)
    if known:
        _require_named(pool, kept, labels, known)
    _require_two_classes(pool, train, known)
    if known:
        _require_every_class(pool, train, known)
        classes: Sequence[Label] = range(len(known))
    else:
        classes = _in_order(train)
        _require_few(pool, column, classes, sum(row < pool.train for row in kept))
    place = {label: position for position, label in enumerate(classes)}
    for row, label in zip(kept, labels, strict=True):
        if label not in place:
            hint = " Sets whose labels are not public write -1: choose another split." if label == -1 else ""
            raise WinnowError(
                f"{pool.place(row)} has the label {_shown(label, known)}, which no training row has; "
                f"leave it out of the test set, or add such rows to the training set.{hint}"
            )
    names = known or [str(label) for label in classes]
    _report(column, classes, names)
    return np.array([place[label] for label in labels], dtype=np.int64), names


def _label(pool: Pool, row: int, value: Any) -> Label:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN is not itself
        raise WinnowError(f"{pool.place(row)} has no label; fill it in, or leave the row out.")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return clean_text(value).strip()
    if isinstance(value, float | Decimal) and value % 1 == 0:
        return int(value)
    raise WinnowError(
        f"{pool.place(row)} has the label {printable(str(value))}, which is neither a whole number nor the name of a "
        'class; correct it, or set data.task to "numbers" if numbers are to be predicted.'
    )


def _of_one_kind(pool: Pool, kept: Sequence[int], labels: list[Label]) -> list[Label]:
    """Labels that are all numbers or all names. Texts that all read as numbers, as every CSV file has them, are."""
    odd = next((i for i, label in enumerate(labels) if isinstance(label, str) != isinstance(labels[0], str)), None)
    if odd is not None:
        position, name = pool.source_of(kept[0])
        raise WinnowError(
            f"{pool.place(kept[odd])} has the label {printable(str(labels[odd]))}, and row {position:,} of {name} has "
            f"{printable(str(labels[0]))}; write all labels as whole numbers, or all as names."
        )
    texts = [label for label in labels if isinstance(label, str)]
    values = [int(text) if is_whole(text) else number(text) for text in texts]  # exact, however long
    if not texts or any(value is None for value in values) or any(_CODE.fullmatch(text) for text in texts):
        return labels
    return [_label(pool, row, value) for row, value in zip(kept, values, strict=True)]


def _in_order(labels: Collection[Label]) -> list[Label]:
    """Numbers and codes by their value, names by the alphabet."""
    if all(not isinstance(label, str) or _CODE.fullmatch(label) or label.isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), str(label)))
    return sorted(labels, key=str)


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


def _require_named(pool: Pool, kept: Sequence[int], labels: list[Label], known: list[str]) -> None:
    for row, label in zip(kept, labels, strict=True):
        if isinstance(label, int) and not 0 <= label < len(known):
            hint = "; sets whose labels are not public write -1: choose another split" if label == -1 else ""
            raise WinnowError(
                f"{pool.place(row)} has the label {label}, but the set names {len(known):,} classes, 0 to "
                f"{len(known) - 1:,}; correct the label or the names{hint}."
            )


def _require_every_class(pool: Pool, seen: Collection[Label], known: list[str]) -> None:
    missing = next((label for label in range(len(known)) if label not in seen), None)
    if missing is not None:
        raise WinnowError(
            f"No row read from {pool.name} has the label {_shown(missing, known)}, which the set names; leave its name "
            "out, or, if the rows are sorted by class, shuffle the file first or raise data.limit."
        )


def _require_two_classes(pool: Pool, seen: Collection[Label], known: list[str]) -> None:
    if len(seen) < 2:
        only = next(iter(seen))
        name = known[only] if isinstance(only, int) and known else str(only)
        unlabelled = " Sets whose labels are not public have -1 everywhere: choose another split." if only == -1 else ""
        raise WinnowError(
            f"Every row read from {pool.name} has the label {printable(name)}, and two classes are needed; if "
            f"the rows are sorted by class, shuffle the file first or raise data.limit.{unlabelled}"
        )


def _require_few(pool: Pool, column: str, classes: Sequence[Label], rows: int) -> None:
    """Numbers from 0 without a gap were numbered to be classes, however many there are."""
    if isinstance(classes[0], str) or list(classes) == list(range(len(classes))):
        return
    if len(classes) > FEW_CLASSES and rows < ROWS_OF_A_CLASS * len(classes):
        raise WinnowError(
            f"Column {printable(column)} has {len(classes):,} different numbers in {rows:,} rows of {pool.name}, too "
            'many to be classes. If numbers are to be predicted from numbers, set data.task to "numbers"; if they are '
            "classes, give more rows of each, or choose another column with data.label."
        )


def _report(column: str, classes: Sequence[Label], names: list[str]) -> None:
    """Say what the classes are, if the labels are not simply their numbers."""
    if list(classes) != list(range(len(classes))):
        shown = ", ".join(printable(name) for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        log.info("column %s has %d classes: %s%s", printable(column), len(names), shown, more)
    if 0 in classes and -1 in classes and len(classes) > 3:
        log.warning(
            "the label -1 of column %s is read as a class like any other; if it marks rows without a label, leave them "
            "out",
            printable(column),
        )


def _shown(label: Label, known: list[str]) -> str:
    if isinstance(label, int) and 0 <= label < len(known):
        return f"{label} ({printable(known[label])})"
    return printable(str(label))
