"""docs/recipes.md: every key of every kind of recipe, from the models: `python -m engine.config.reference`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from engine.config.base import Settings
from engine.config.former import FORMER, current_key
from engine.config.grid import PRUNING_SCORES
from engine.config.kinds import KINDS
from engine.config.rankings import METRICS, RANKINGS
from engine.config.toml import toml_value

INTRODUCTION = """# Recipes

Made by `python -m engine.config.reference > docs/recipes.md`; do not edit it.

A recipe is one TOML file; `kind` says what a run of it does. `--set table.key=value` changes one key on the command
line. A key without a default is required. A key that no table has is refused, with the nearest one that exists.
"""

Tables = dict[type[Settings], dict[str, list[str]]]
"""The tables that recipes are made of: where each stands in a recipe, and in the recipes of which kinds."""

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def reference() -> str:
    """The whole document, as Markdown."""
    tables: Tables = {}
    parts = [INTRODUCTION]
    for kind in KINDS.values():
        _collect(kind.recipe, kind.name, "", tables)
        parts.append(f"## {kind.name}\n\n{_document(kind.recipe)}")
    parts.append("## Tables\n")
    parts += [f"### {_places(places)}\n\n{_document(table)}" for table, places in tables.items()]
    parts.append(_labels("Metrics", "pruning.metric", METRICS))
    more = {name: label for name, label in RANKINGS.items() if name not in METRICS}
    parts.append(_labels("Rankings", "arms.selection.rank_by, beside the metrics", more))
    parts.append(_labels("Scores", "grid.scores", PRUNING_SCORES))
    rows = [f"| `{former}` | `{current_key(former)}` |" for former in FORMER]
    parts.append(
        "\n".join(["## Former keys\n", "They keep working.\n", "| former | now |", "| --- | --- |", *rows, ""])
    )
    return "\n".join(parts)


def _collect(model: type[Settings], kind: str, prefix: str, tables: Tables) -> None:
    for name, field in model.model_fields.items():
        table = _table_in(field.annotation)
        if table is None:
            continue
        origins = list(_origins(field.annotation))
        path = f"{prefix}{name}" + (".NAME" if dict in origins else "")
        place = f"[[{path}]]" if list in origins else f"[{path}]"
        tables.setdefault(table, {}).setdefault(place, []).append(kind)
        _collect(table, kind, f"{path}.", tables)


def _table_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)


def _origins(annotation: Any) -> Iterator[Any]:
    yield get_origin(annotation)
    for inner in get_args(annotation):
        yield from _origins(inner)


def _places(places: Mapping[str, list[str]]) -> str:
    """`[data]` of score, pretrain; …"""
    by_kinds: dict[str, list[str]] = {}
    for place, kinds in places.items():
        by_kinds.setdefault(", ".join(kinds), []).append(f"`{place}`")
    return "; ".join(f"{', '.join(found)} of {kinds}" for kinds, found in by_kinds.items())


def _document(model: type[Settings]) -> str:
    """What a table is for, and its keys."""
    schema = model.model_json_schema()
    lines = [schema["description"], "", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, key in schema["properties"].items():
        table = _table_in(model.model_fields[name].annotation)
        required = name in schema.get("required", ())
        default = "" if required or table or key.get("default") is None else f"`{toml_value(key['default'])}`"
        meaning = key.get("description") or (table.__doc__ or "" if table else "").split("\n")[0]
        if not meaning:
            raise ValueError(f"{model.__name__}.{name} has no docstring")
        name = f"**{name}**" if required else name
        lines.append(f"| {name} | {_type(key, schema)} | {default} | {' '.join(meaning.split())} |")
    return "\n".join([*lines, ""])


def _type(key: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `integer ≥ 1`, `list of numbers`, `table`."""
    if choices := key.get("anyOf") or key.get("oneOf"):
        return " or ".join(_type(each, schema) for each in choices if each.get("type") != "null")
    if "$ref" in key:
        return "table"
    if "const" in key:
        return f"`{key['const']}`"
    if "enum" in key:
        return ", ".join(f"`{choice}`" for choice in key["enum"])
    if key["type"] == "array":
        return "list of " + re.sub(r"^(integer|number|string|table)", r"\1s", _type(key["items"], schema))
    if key["type"] == "object":
        inner = key.get("additionalProperties")
        return f"a {_type(inner, schema)} for each name" if isinstance(inner, dict) else "a table for each name"
    bounds = [f"{sign} {key[bound]:g}" for bound, sign in _BOUNDS.items() if bound in key]
    return " ".join([key["type"], ", ".join(bounds)]).strip()


def _labels(title: str, key: str, labels: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {label} |" for name, label in labels.items()]
    return "\n".join(
        [f"## {title}\n", f"For `{key}`; high = keep.\n", "| name | meaning |", "| --- | --- |", *rows, ""]
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
