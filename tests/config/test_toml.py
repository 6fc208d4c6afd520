"""A recipe shown as TOML is that recipe."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.config.load import parse_recipe, to_dict
from engine.config.toml import as_toml, flat, recipe_differences
from tests.fixtures.pruning_workspace import synthetic_recipe

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.one_of(TEXT, st.integers(-(2**53), 2**53), st.booleans(), st.floats(allow_nan=False))
VALUES = st.one_of(PLAIN, st.lists(PLAIN, max_size=3))
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=3),
    lambda inner: st.dictionaries(TEXT, st.one_of(VALUES, inner), max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_toml_reads_back(raw: dict[str, Any]) -> None:
    """Whatever keys and values: what is written as TOML reads back as the same tables, hostile text included."""
    assert tomllib.loads(as_toml(raw)) == raw


def test_recipe_reads_back() -> None:
    """A resolved recipe, nulls left out, is the same recipe when its TOML is parsed."""
    recipe = synthetic_recipe("name", 400, 4, [0, 1], ["dynamic", "random"])
    assert parse_recipe(tomllib.loads(as_toml(to_dict(recipe)))) == recipe


def test_differences_name_keys() -> None:
    """Two recipes differ in exactly the keys that were changed, shown by their full names."""
    one = to_dict(synthetic_recipe("one", 400, 4, [0, 1], ["dynamic", "random"]))
    two = to_dict(synthetic_recipe("one", 300, 4, [0], ["dynamic", "random"]))
    found = recipe_differences(one, two)
    assert list(found["key"]) == ["seeds", "data.limit"]
    assert list(found["right"]) == ["[0]", "300"]
    assert recipe_differences(one, one).empty


def test_flat_keeps_lists_whole() -> None:
    """Lists are values, tables are paths."""
    assert flat({"a": {"b": [1, 2], "c": {"d": None}}}) == {"a.b": [1, 2], "a.c.d": None}
