"""Recipes: everything a run needs to know, typed and checked in this one place.

A recipe is one TOML file, or a form on a page, or `--set key=value` on the command line; all three end in the
same model and the same sentence when something is wrong. `load_recipe` reads, `parse_recipe` checks.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from engine.common.errors import WinnowError
from engine.common.paths import CHECKOUT
from engine.common.text import printable, reason
from engine.config.arms import ARM_NAME, ARM_TABLE
from engine.config.base import Settings
from engine.config.former import current_key, current_names
from engine.config.kinds import KINDS, Recipe

READY_MADE = CHECKOUT / "recipes"


class RecipeError(WinnowError):
    """A recipe that cannot be run, and why."""


_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="kind")])


def ready_made() -> list[str]:
    """Names of the recipes that come with Winnow."""
    return sorted(path.stem for path in READY_MADE.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a TOML file or a ready-made recipe, apply `key.path=value` overrides, and check the result.

    Raises RecipeError with one sentence naming the file and the key.
    """
    raw = read_toml(name_or_path)
    for override in overrides or []:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"--set {printable(override)}: write it as key.path=value, for example data.limit=2000.")
        set_value(raw, current_key(key.strip()), parse_value(value.strip()))
    return parse_recipe(raw, name_or_path)


def read_toml(name_or_path: str) -> dict[str, Any]:
    """The raw tables of a recipe file or of a ready-made recipe."""
    path = Path(name_or_path)
    if not _is_file(path) and not path.suffix:
        path = READY_MADE / f"{name_or_path}.toml"
    if not _is_file(path):
        close = difflib.get_close_matches(name_or_path, ready_made(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"the ready-made ones are {', '.join(ready_made())}."
        raise RecipeError(f"There is no recipe file and no ready-made recipe called {printable(name_or_path)}; {hint}")
    try:
        return current_names(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not valid TOML ({reason(error)}); correct that line and try again.") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}).") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have that name
        return False


def set_value(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b.c` in nested tables, making tables on the way."""
    *parents, last = key.split(".")
    table = raw
    for parent in parents:
        if parent == "cluster" and isinstance(table.get(parent), str):
            table[parent] = {"address": table[parent]}  # as a recipe may write it for short
        child = table.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(
                f"{printable(key)}: {printable(parent)} is a value, not a table, so nothing can be set inside it."
            )
        table = child
    table[last] = value


def parse_value(text: str) -> Any:
    """A TOML value if it reads as one (`3`, `0.5`, `true`, `[1, 2]`, `"x"`), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def parse_recipe(raw: dict[str, Any], where: str = "the recipe") -> Recipe:
    """Check raw tables. Raises RecipeError naming the first wrong key or value in `where`."""
    if raw.get("kind") not in list(KINDS):  # which may be a list or a table as well
        raise RecipeError(f"{where}: kind is {_shown(raw.get('kind'))}; it must be one of {', '.join(KINDS)}.")
    try:
        return _ADAPTER.validate_python(current_names(raw))
    except ValidationError as error:
        raise RecipeError(f"{where}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in (*KINDS, ARM_NAME, ARM_TABLE)]
    key = printable(".".join(path))
    value = _shown(first["input"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        # The key itself may be known elsewhere: it is no help to name it.
        close = difflib.get_close_matches(path[-1], _all_keys() - {path[-1]}, n=1, cutoff=0.6)
        return f"there is no key {key}" + (f"; did you mean {close[0]}?" if close else ".")
    if kind == "missing":
        return f"the key {key} is missing."
    if kind == "value_error":
        return f"{context['error']}." if not key else f"{key}: {context['error']}."
    if kind == "string_pattern_mismatch":
        key = key.removesuffix(".[key]")
        return (
            f"{key} is {value}, but a name has at most 60 letters, digits, dots, dashes and underscores, "
            "and begins with a letter or a digit."
        )
    message = first["msg"][:1].lower() + first["msg"][1:]
    message = message.removeprefix("input ")
    return f"{key} is {value}, but it {message}."


def _shown(value: Any) -> str:
    try:
        return printable(repr(value))
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"


def _all_keys(settings: type[Settings] = Settings) -> set[str]:
    """Every key that any table of any recipe has."""
    return set(settings.model_fields).union(*map(_all_keys, settings.__subclasses__()))


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe with every default written out, as plain JSON types."""
    return recipe.model_dump(mode="json")
