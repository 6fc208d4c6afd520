"""CSV files in which every value is quoted and quotes inside are not doubled, as programs write that join by hand."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from itertools import chain, dropwhile

_OTHER_RULES = re.compile(r'""|\\"|"\r?\n"')
"""Inside a value: quotes that could be meant as doubled or escaped, or as the end of a record."""


def quoted_records(lines: Iterable[tuple[int, str]], separator: str, first: int) -> list[tuple[int, list[str]]]:
    """The records behind the `first` lines, each with its last line; none if they could be read in another way.

    Here a value ends with quote, separator and quote, and a record with quote, line break and quote.
    """
    behind = dropwhile(lambda pair: pair[0] <= first or not pair[1].strip("\r\n"), lines)
    header, line = next(behind)
    try:
        (names,) = csv.reader([line], delimiter=separator, strict=True)
    except csv.Error:
        return []
    records = [(header, names)]
    text, last = "", header
    for number, line in chain(behind, [(0, "")]):
        if text and (not line or line.startswith('"')):
            values = text.rstrip("\r\n")[1:-1].split(f'"{separator}"')
            if len(values) > len(names):
                return []
            if len(values) == len(names) and len(text) > 1 and text.rstrip("\r\n").endswith('"'):
                if any(map(_OTHER_RULES.search, values)):
                    return []
                records.append((last, values))
                text = ""
        if text or line.strip("\r\n"):
            if not text and not line.startswith('"'):
                return []
            text, last = text + line, number
    return [] if text else records
