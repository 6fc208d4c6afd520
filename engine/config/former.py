"""Keys of recipes that were renamed: recipes, `--set` and stored runs with the former ones keep working."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER = {
    "worth": "evaluation",
    "evaluation.heads": "eval_seeds",
    "outer.snapshot_heads": "snapshot_seeds",
    "synthetic.pull": "embedding_penalty",
    "synthetic.start": "initialization",
}
"""Former key, in its table as that is called now: present key."""


def current_names(raw: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """The tables of a recipe under their present keys. If both names of a key are there, the former one stays."""
    result = {}
    for key, value in raw.items():
        now = FORMER.get(table + key, key)
        name = key if now in raw else now
        result[name] = current_names(value, f"{table}{name}.") if isinstance(value, Mapping) else value
    return result


def current_key(path: str) -> str:
    """`evaluation.eval_seeds` for `worth.heads`."""
    table = ""
    for key in path.split("."):
        table += FORMER.get(table + key, key) + "."
    return table.removesuffix(".")


def former_names(raw: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """The inverse of `current_names`, for hashes that must stay what they were."""
    former = {f"{key.rpartition('.')[0]}.{now}".lstrip("."): key.rpartition(".")[2] for key, now in FORMER.items()}
    return {
        former.get(table + key, key): former_names(value, f"{table}{key}.") if isinstance(value, Mapping) else value
        for key, value in raw.items()
    }
