"""A recipe for reading: as TOML, as flat keys, and where two of them differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_toml(raw: Mapping[str, Any]) -> str:
    """Nested tables of plain JSON types as TOML; keys without a value (None) are left out, as TOML has no null."""
    return "\n".join(_table(raw, ())).strip() + "\n"


def _table(raw: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    values = {key: value for key, value in raw.items() if value is not None and not isinstance(value, Mapping)}
    tables = {key: value for key, value in raw.items() if isinstance(value, Mapping)}
    lines = []
    if path and (values or not tables):
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in values.items()]
    for key, value in tables.items():
        lines += _table(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else toml_value(key)


def toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        present = [f"{_key(key)} = {toml_value(inner)}" for key, inner in value.items() if inner is not None]
        return "{" + ", ".join(present) + "}"
    # JSON's strings, numbers and booleans are TOML's, but for DEL (a control character there) and NaN and infinity.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text, text)


def flat(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as `a.b.c` keys."""
    result: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def recipe_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> pd.DataFrame:
    """The keys in which two recipes differ, as text: columns key, left, right."""
    one, two = flat(left), flat(right)
    rows = [
        (key, _shown(one.get(key)), _shown(two.get(key)))
        for key in dict.fromkeys([*one, *two])
        if one.get(key) != two.get(key)
    ]
    return pd.DataFrame(rows, columns=["key", "left", "right"])


def _shown(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else toml_value(value)
