"""Whole studies whose students listen to the teacher: what they learn from, what it costs, and that a cache is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.runtime.recipe_check import check_recipe
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace, open_workspace
from engine.studies import flops
from engine.studies.pruning import scoring
from tests.fixtures.studies import do, table
from tests.fixtures.tiny import tiny_recipe, write_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A workspace whose models are made once."""
    folder = tmp_path_factory.mktemp("kd")
    return open_workspace(folder / "workspace", read_only=False), write_rows(folder / "rows.jsonl")


def ended(place: tuple[Workspace, Path], **changes: Any) -> Run:
    asked = tiny_recipe(place[1], **({"seeds": [0], "arms": ["dynamic", "full"], "training__epochs": 2} | changes))
    run = Ledger(place[0]).run(do(place[0], asked))
    assert run.state == "done", run.error
    return run


def values(place: tuple[Workspace, Path], run: Run, split: str, name: str) -> pd.Series:
    metrics = table(place[0], run.id, "metrics")
    chosen = metrics[(metrics.split == split) & (metrics.name == name) & (metrics.epoch > 0)]
    return chosen.set_index(["arm", "epoch"]).value.sort_index()


def test_a_student_learns_from_cached_states_what_it_learns_from_a_pass(
    place: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sample's states come from the cache if it has room, and from the teacher if it has none."""
    cached: list[int] = []

    class Counted(scoring.TeacherLogits):
        def __init__(self, *settings: Any) -> None:
            super().__init__(*settings)
            cached.append(sum(states is not None for states in self.states))

    monkeypatch.setattr(scoring, "TeacherLogits", Counted)
    forwarded = ended(place, training__kd_weight=0.5, scoring__hidden_cache_gb=0)
    alone = ended(place)
    beside = ended(place, training__kd_weight=0.5)
    assert cached == [0, 72]  # and none was made for the run without a weight
    losses = [values(place, run, "valid", "loss") for run in (alone, beside, forwarded)]
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-3)
    assert (losses[1] - losses[0]).abs().min() > 1e-3
    assert beside.provenance["recipe"]["training"]["kd_weight"] == 0.5
    # What is reported is cross-entropy in all of them, of the same samples in the first epoch.
    trained = [values(place, run, "train", "loss")["full", 1] for run in (alone, beside)]
    assert trained[1] == pytest.approx(trained[0], rel=0.2)


def test_the_teacher_s_reading_is_charged_to_every_arm(place: tuple[Workspace, Path]) -> None:
    run = ended(place, training__kd_weight=1.0)
    facts, tokens = run.provenance, values(place, run, "", "tokens")
    recipe = run.parsed()
    assert recipe.kind == "dynamic-pruning"
    student = flops.parameters_of(recipe.scratch.models["student"], 300)
    teacher = flops.parameters_of(recipe.scratch.models["teacher"], 300)
    assert student < facts["student_parameters"] < teacher < facts["teacher_parameters"]  # norms are left out
    found = values(place, run, "", "flops_training")
    pd.testing.assert_series_equal(found, (5 * student + 2 * teacher) * tokens, check_names=False)
    assert found["full", 1] > found["dynamic", 1]


def test_the_check_plans_it(place: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Listening costs two operations for each parameter of the teacher and token of every arm and epoch."""
    planned: list[float] = []
    monkeypatch.setattr("engine.runtime.recipe_check._seconds", lambda _ledger, work: planned.append(work))
    for weight in (0.0, 0.3):
        asked = tiny_recipe(place[1], training__kd_weight=weight, arms=["dynamic", "full"], seeds=[0])
        found = check_recipe(place[0], Ledger(place[0]), {"recipe": asked.model_dump()})
        assert found["ok"]
    tokens = found["tokens"] - round(found["tokens"] * asked.data.valid_fraction)
    assert planned[1] - planned[0] == pytest.approx(2 * found["teacher"]["parameters"] * tokens * 2 * 3)


def test_an_exit_that_listens_to_the_whole_model_comes_closer_to_it(place: tuple[Workspace, Path]) -> None:
    """Self-distillation: with w = 1 the KL of the samples that are trained on falls from epoch to epoch."""
    run = ended(place, models__student="exit:1", training__kd_weight=1.0, training__epochs=3)
    scores = table(place[0], run.id, "scores")
    kl = scores[scores.metric == "kl_response"].groupby(["arm", "epoch"]).value.mean()
    assert kl["dynamic", 3] < kl["dynamic", 2] < kl["base", 1]


@pytest.mark.parametrize("weight", [-0.1, 1.1, "much"])
def test_a_weight_outside_zero_and_one_is_refused(place: tuple[Workspace, Path], weight: Any) -> None:
    with pytest.raises(Exception, match=r"training\.kd_weight"):
        tiny_recipe(place[1], training__kd_weight=weight)
