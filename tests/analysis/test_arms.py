"""Every part of an arm's settings is in the words that describe it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.analysis.arms import called, described
from engine.config.rankings import RANKINGS
from tests.fixtures.pruning_workspace import synthetic_recipe

TOKENS = {"fraction": 0.3, "of": "tokens"}


def _described(selection: dict[str, Any], **more: Any) -> str:
    arm = {"name": "mine", "selection": selection, "budget": TOKENS} | more
    recipe = synthetic_recipe("r", 50, 1, [0], ["dynamic", arm])
    return described(recipe.entries[1], recipe)


def test_the_four_arms_with_a_name() -> None:
    """What each of the names stands for, in the order of the recipe."""
    recipe = synthetic_recipe("r", 50, 1, [0], ["dynamic", "static", "random", "full"])
    assert [described(arm, recipe) for arm in recipe.entries] == [
        "ranks by KL over all positions anew in every epoch, keeps what is above a rising threshold",
        "ranks by KL over all positions, as many samples as dynamic keeps at first",
        "draws at random anew in every epoch, as many samples as dynamic keeps",
        "trains on everything",
    ]
    assert [called(arm) for arm in recipe.arm_names] == ["dynamic", "static", "random", "everything"]


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (
            {"rank_by": "excess_loss", "leave_out": {"near_duplicates": 0.8}},
            "ranks by loss of the student beyond the teacher's, leaves out near-duplicates, 30 % of the tokens",
        ),
        (
            {"rank_by": {"length": 0.5, "kl": -1}, "spread": "clusters"},
            "ranks by the summed ranks of tokens of the response (× 0.5) and KL over all positions (× -1), takes "
            "equally many from each cluster, 30 % of the tokens",
        ),
        (
            {"rank_by": {"length": -2}, "spread": "window", "skip_top": 0.05},
            "ranks by tokens of the response, lowest first, skips the highest 5 %, 30 % of the tokens",
        ),
        (
            {"rank_by": "kl", "spread": "strata", "skip_top": 0.1},
            "ranks by KL over all positions, takes equally many from each stratum but for the highest 10 %, "
            "30 % of the tokens",
        ),
        ({"rank_by": "field:quality"}, "ranks by the column quality, 30 % of the tokens"),
        (
            {"rank_by": "random", "leave_out": {"unknown_to_teacher": 0.1, "outliers": 0.05, "similar_states": 0.9}},
            "draws at random, leaves out samples that are alike to the teacher, what the teacher knows least and "
            "outliers, 30 % of the tokens",
        ),
    ],
)
def test_tables(selection: dict[str, Any], words: str) -> None:
    """What is ranked by, left out, how the budget is spread, and the budget."""
    assert _described(selection) == words


def test_schedule_and_budget() -> None:
    """A choice made anew says so; a budget of the arm itself is the one that counts."""
    assert _described({"rank_by": "kl"}, schedule="every_epoch", budget={"fraction": 0.5, "of": "samples"}) == (
        "ranks by KL over all positions anew in every epoch, 50 % of the samples"
    )


@pytest.mark.parametrize("name", RANKINGS)
def test_every_ranking_has_words(name: str) -> None:
    """No ranking is left without a description."""
    assert _described({"rank_by": name})
