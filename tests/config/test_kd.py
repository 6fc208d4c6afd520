"""Recipes of grids: every cell once, and one sentence for what cannot be run."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.grid import PRUNING_SCORES
from engine.config.kd import PrunedKdRecipe
from engine.config.load import RecipeError, load_recipe, parse_recipe, read_toml, ready_made

FRACTIONS = st.lists(st.sampled_from([0.05, 0.1, 0.3, 0.5, 1.0]), min_size=1, unique=True)
WEIGHTS = st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=1, unique=True)
SCORES = st.lists(st.sampled_from(sorted(PRUNING_SCORES)), min_size=1, max_size=4, unique=True)


def raw(**changes: Any) -> dict[str, Any]:
    """A recipe with `changes` to its tables; `grid={"fractions": [2]}` replaces that list alone."""
    tables: dict[str, Any] = {
        "kind": "pruned-kd",
        "data": {"source": "digits"},
        "grid": {"scores": ["random", "el2n"], "fractions": [0.1, 1.0], "kd_weights": [0.0, 0.5]},
    }
    for key, value in changes.items():
        tables[key] = tables.get(key, {}) | value if isinstance(value, dict) else value
    return tables


def recipe(**changes: Any) -> PrunedKdRecipe:
    parsed = parse_recipe(raw(**changes))
    assert isinstance(parsed, PrunedKdRecipe)
    return parsed


@given(SCORES, FRACTIONS, WEIGHTS, st.lists(st.integers(0, 9), min_size=1, unique=True))
def test_every_combination_is_a_cell_once(
    scores: list[str], fractions: list[float], weights: list[float], seeds: list[int]
) -> None:
    """The grid is the product of its lists: nothing is lost, nothing is twice."""
    grid = {"scores": scores, "fractions": fractions, "kd_weights": weights}
    cells = recipe(grid=grid, seeds=seeds).cells()
    found = [(cell.score, cell.fraction, cell.kd_weight, cell.seed) for cell in cells]
    assert sorted(found) == sorted(product(scores, fractions, weights, seeds))
    assert [cell.fraction for cell in cells] == sorted((cell.fraction for cell in cells), reverse=True)


def test_single_cells_can_be_added() -> None:
    """One click on the page adds one cell, for every seed, and not a row of them; a cell that is there stays one."""
    extra = {"score": "grand", "fraction": 0.3, "kd_weight": 0.9, "teacher": "self"}
    there = extra | {"score": "random", "fraction": 0.1, "kd_weight": 0.5}
    grown = recipe(grid={"extra": [extra, there]})
    assert len(grown.cells()) == len(recipe().cells()) + 3
    assert grown.used_scores() == ["random", "el2n", "grand"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grid": {"fractions": [0.0]}}, "grid.fractions.0 is 0.0"),
        ({"grid": {"fractions": [1.2]}}, "grid.fractions.0 is 1.2"),
        ({"grid": {"kd_weights": [-0.1]}}, "grid.kd_weights.0 is -0.1"),
        ({"grid": {"kd_weights": [1.1]}}, "grid.kd_weights.0 is 1.1"),
        ({"grid": {"scores": ["el3n"]}}, "grid.scores.0 is 'el3n'"),
        ({"grid": {"scores": ["random", "random"]}}, "grid.scores names something twice"),
        ({"grid": {"teachers": ["large"]}}, "there is no [teachers.large]"),
        ({"grid": {"noise": [1.0]}}, "grid.noise.0 is 1.0"),
        ({"grid": {"most_cells": 5}}, "the grid has 24 cells, more than grid.most_cells = 5"),
        ({"grid": {"fraction": [0.5]}}, "there is no key grid.fraction; did you mean fractions?"),
        ({"seeds": [1, 1]}, "seeds names something twice"),
        ({"teachers": {"self": {"online": True, "fraction": 0.5}}}, "an online teacher learns beside the student"),
        ({"teachers": {"self": {"at_epoch": 31}}}, "teachers.self.at_epoch is 31, but it trains for 30 epochs"),
        ({"scores": {"early_epoch": 31}}, "scores.early_epoch is 31"),
        ({"selection": {"skip_hardest": 0.1}}, "selection.skip_hardest belongs to"),
        ({"data": {"task": "text"}}, "network.model mlp reads no text"),
        (
            {"teachers": {"self": {"online": True}}, "grid": {"scores": ["kl"]}},
            "the score kl compares with a teacher that has learned before",
        ),
        ({"data": {"streaming": True}}, "data.streaming needs data.limit"),
        ({"data": {"task": "numbers"}, "grid": {"scores": ["forgetting"]}}, "the score forgetting needs classes"),
        ({"data": {"task": "numbers"}, "grid": {"noise": [0.2]}}, "flipped labels need classes"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    """The key and the value are named before anything starts."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw(**changes))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in ready_made() if read_toml(name)["kind"] == "pruned-kd"])
def test_ready_made_grids_can_be_run(name: str) -> None:
    """Every grid that comes with Winnow passes its own checks and compares with no teacher and with all of the data."""
    found = load_recipe(name)
    assert isinstance(found, PrunedKdRecipe)
    assert 0.0 in found.grid.kd_weights
    assert 1.0 in found.grid.fractions
    assert "random" in found.grid.scores
    assert len(found.seeds) >= 3
