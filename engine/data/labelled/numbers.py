"""Numbers as people write them: with a decimal point, or as in most of Europe and South America with a comma."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

Style = Literal["point", "comma", "grouped"]
"""How the texts of a column write numbers: 1234.5; 1234,5 or 1.234,5 or 1 234,5; 1,234.5."""

_GROUP_MARKS = r"[. \u00a0\u202f']"
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_COMMA = re.compile(
    rf"[+-]?(?:[0-9]+|[1-9][0-9]{{0,2}}({_GROUP_MARKS})[0-9]{{3}}(?:\1[0-9]{{3}})*)(?:,[0-9]+)?{_EXPONENT}"
)
_GROUPED = re.compile(rf"[+-]?(?:[0-9]+|[1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+)(?:\.[0-9]+)?{_EXPONENT}")
_MISSING = ("", "nan", "na", "n/a", "null", "none")
"""How a missing number is written if all values are texts, as in a CSV file; as names of classes they are names."""


def is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def number(value: Any, style: Style = "point") -> float | None:
    """A number, also one written as text in that style; None if it is none. It may be infinite or NaN."""
    if isinstance(value, str) and style != "point":
        text = value.strip()
        if not (_COMMA if style == "comma" else _GROUPED).fullmatch(text):
            return None
        value = re.sub(_GROUP_MARKS, "", text).replace(",", ".") if style == "comma" else text.replace(",", "")
    if not isinstance(value, bool | int | float | str | Decimal):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def is_whole(value: Any) -> bool:
    """Whether a value is written as a whole number: 7 or "7", not 7.0."""
    if isinstance(value, str):
        return re.fullmatch(r"[+-]?[0-9]+", value.strip()) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def styles_of(values: Iterable[Any]) -> set[Style]:
    """The styles in which every value of a column that is not missing is a number.

    More than one is possible: whole numbers are the same in each, "1,234" has two values and "1.234" as well.
    """
    found: set[Style] = {"point", "comma", "grouped"}
    for value in values:
        if not is_missing(value):
            found = {style for style in found if number(value, style) is not None}
    return found


def style_of_file(columns: Iterable[set[Style]]) -> Style | None:
    """How a file writes numbers, from the styles that fit each of its columns: None if no column tells.

    A column that fits one style alone tells; so do columns that fit commas between thousands and a decimal point, as
    those with "0.5" do.
    """
    told = {("comma" if "comma" in styles else "grouped") for styles in columns if _tells(styles)}
    return "comma" if told == {"comma"} else "grouped" if told == {"grouped"} else None


def _tells(styles: set[Style]) -> bool:
    return bool(styles) and ("comma" not in styles or styles == {"comma"})


def chosen_style(styles: set[Style], file: Style | None) -> Style | None:
    """The style to read a column in; None if its numbers have two values and the file does not tell which."""
    if file in styles and file is not None:
        return file
    if "point" in styles:
        return "point"
    return next(iter(styles)) if len(styles) == 1 else None
