"""Recipes that were written before keys got their present names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config.distillation import DistillationRecipe
from engine.config.former import FORMER, current_key, current_names, former_names
from engine.config.load import RecipeError, load_recipe, parse_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace

BEFORE: dict[str, Any] = {
    "kind": "distillation",
    "data": {"source": "a.csv", "task": "text"},
    "students": [{"model": "a/model"}],
    "synthetic": {"start": "noise", "pull": 0.5},
    "outer": {"snapshot_heads": 7},
    "worth": {"heads": 4, "transfer": [{"model": "another/model"}]},
    "scratch": {"start": {"layers": 1, "width": 8, "heads": 2}},
}


def check(recipe: object) -> None:
    assert isinstance(recipe, DistillationRecipe)
    assert (recipe.synthetic.initialization, recipe.synthetic.embedding_penalty) == ("noise", 0.5)
    assert (recipe.outer.snapshot_seeds, recipe.evaluation.eval_seeds) == (7, 4)
    assert recipe.evaluation.transfer[0].model == "another/model"
    assert recipe.scratch["start"].heads == 2  # the same words elsewhere are what they were


def test_a_recipe_with_former_names_is_the_same_recipe() -> None:
    check(parse_recipe(BEFORE))
    assert to_dict(parse_recipe(to_dict(parse_recipe(BEFORE)))) == to_dict(parse_recipe(BEFORE))


def test_a_stored_run_is_read_under_the_present_names(tmp_path: Path) -> None:
    """Also where pages read the tables themselves."""
    ledger = Ledger(Workspace(tmp_path).create())
    run = ledger.submit(parse_recipe(BEFORE))
    with ledger._write("age a run") as db:
        db.execute("UPDATE runs SET recipe = ?", (json.dumps(BEFORE),))
    found = ledger.run(run)
    check(found.parsed())
    assert found.recipe["evaluation"]["eval_seeds"] == 4


def test_set_takes_both_names_over_both_names() -> None:
    """Protects commands that people have written down, over recipes that were brought up to date."""
    for key in ("worth.heads", "worth.eval_seeds", "evaluation.heads", "evaluation.eval_seeds"):
        recipe = load_recipe("mnist-distill", [f"{key}=3"])
        assert isinstance(recipe, DistillationRecipe)
        assert recipe.evaluation.eval_seeds == 3
    recipe = load_recipe("mnist-distill", ["worth={heads=3}", "synthetic.start=noise"])
    assert isinstance(recipe, DistillationRecipe)
    assert (recipe.evaluation.eval_seeds, recipe.synthetic.initialization) == (3, "noise")


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"there is no key synthetic\.start"):
        parse_recipe(BEFORE | {"synthetic": {"start": "noise", "initialization": "samples"}})


def test_former_names_are_the_inverse() -> None:
    """Protects the files of finished sets, which lie under a hash of the former names."""
    assert former_names(current_names(BEFORE)) == BEFORE
    assert current_names(BEFORE) == current_names(current_names(BEFORE))
    for former, now in FORMER.items():
        assert current_key(former) == former.rpartition(".")[0] + "." * ("." in former) + now
