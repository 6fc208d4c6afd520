"""A whole study whose arms are tables: every ranking, filter, spread, schedule and budget, on two tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.common.random_streams import random_subset
from engine.config.arms import BUILT_IN
from engine.config.rankings import MODEL_RANKINGS, RANKINGS
from engine.pruning.duplicates import near_duplicates
from engine.pruning.orders import fill_samples
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace, open_workspace
from engine.studies.pruning.candidates import Candidates
from engine.studies.pruning.selections import order_of
from tests.fixtures.studies import do, failure, table
from tests.fixtures.tiny import tiny_recipe, write_rows

FRACTION = 0.4
LEFT_OUT = {"near_duplicates": 0.9, "similar_states": 0.999, "unknown_to_teacher": 0.1, "outliers": 0.1}


def write_valued_rows(path: Path) -> Path:
    """The rows of the tiny study, each with a number that no score reads: the higher the row, the more it is worth."""
    write_rows(path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(json.dumps(row | {"value": i}) for i, row in enumerate(rows)) + "\n", encoding="utf-8")
    return path


def entry(name: str, **selection: Any) -> dict[str, Any]:
    return {"name": name, "selection": selection}


ENTRIES: list[Any] = [
    "dynamic",
    "full",
    "random",
    *(entry(name, rank_by=name) for name in RANKINGS if name != "random"),
    entry("oracle", rank_by="field:value"),
    entry("low", rank_by={"field:value": -1}),
    entry("sum", rank_by={"excess_loss": 1, "length": 0.5}),
    entry("window", rank_by="kl", spread="window", skip_top=0.1),
    entry("strata", rank_by="kl", spread="strata", skip_top=0.1),
    entry("even", rank_by="kl", spread="clusters"),
    entry("filtered", rank_by="random", leave_out=LEFT_OUT),
    {"name": "anew", "selection": {"rank_by": "excess_loss"}, "schedule": "every_epoch"},
    {"name": "by-samples", "selection": {"rank_by": "random"}, "schedule": "every_epoch",
     "budget": {"of": "samples", "fraction": FRACTION}},
    {"name": "half", "selection": {"rank_by": "kl"}, "budget": {"fraction": 0.5}},
]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """One finished study that the tests of this file look at."""
    folder = tmp_path_factory.mktemp("tournament")
    workspace = open_workspace(folder / "workspace", read_only=False)
    recipe = tiny_recipe(
        write_valued_rows(folder / "rows.jsonl"), seeds=[0], arms=ENTRIES, budget={"fraction": FRACTION},
        data__valid_fraction=0.2, training__epochs=2, scoring__clusters=4,
    )  # fmt: skip
    run = do(workspace, recipe)
    assert Ledger(workspace).run(run).state == "done", Ledger(workspace).run(run).error
    return workspace, run


Study = tuple[Workspace, str]


def kept_rows(study: Study) -> dict[tuple[str, int], set[int]]:
    selections = table(*study, "selections")
    return {key: set(group.row[group.kept]) for key, group in selections.groupby(["arm", "epoch"])}


def test_every_arm_fills_its_budget_of_tokens(study: Study) -> None:
    """No arm reads more than its budget, and none so much less that a sample that was not left out would still fit."""
    samples = table(*study, "samples")
    train = samples[samples.split == "train"].set_index("row")
    total = int(train.length.sum())
    for (arm, _), rows in kept_rows(study).items():
        tokens = int(train.loc[sorted(rows), "length"].sum())
        if arm == "full":
            assert len(rows) == len(train)
        elif arm == "by-samples":
            assert len(rows) == round(FRACTION * len(train))
        elif arm != "dynamic":
            budget = round((0.5 if arm == "half" else FRACTION) * total)
            left = train.drop(sorted(rows)).length.min()
            assert budget - (train.length.max() if arm == "filtered" else left) < tokens <= budget, arm


def test_arms_keep_what_they_rank_highest(study: Study) -> None:
    """The kept set is the front of the ranking that is stored for the Samples page, or of a column of the source."""
    scores, kept = table(*study, "scores"), kept_rows(study)
    base = scores[(scores.arm == "base") & (scores.seed == -1)].pivot_table(
        index="row", columns="metric", values="value"
    )
    for name in ("kl", "excess_loss", *MODEL_RANKINGS):
        mean = base[name].groupby(base.index.isin(kept[name, 1])).mean()
        assert mean[True] > mean[False], name
    rows = np.array(sorted(base.index))
    assert np.mean(list(kept["oracle", 1])) > np.mean(rows) > np.mean(list(kept["low", 1]))
    assert kept["cluster_far", 1] != kept["cluster_near", 1]


def test_what_is_chosen_once_stays_and_what_is_drawn_anew_changes(study: Study) -> None:
    """Schedules are kept to."""
    kept = kept_rows(study)
    for arm in {arm for arm, _ in kept}:
        same = kept[arm, 1] == kept[arm, 2]
        assert same == (arm not in ("random", "by-samples", "dynamic", "anew")) or arm in ("dynamic", "anew"), arm
    scores = table(*study, "scores")
    assert {(arm, epoch) for arm, epoch in zip(scores.arm, scores.epoch, strict=True) if arm != "base"} == {
        ("dynamic", 2), ("anew", 2)
    }  # fmt: skip


def test_filters_leave_out_what_they_name(study: Study) -> None:
    """Nothing that repeats an earlier text is among what the filtered arm keeps."""
    samples = table(*study, "samples").set_index("row")
    kept = samples.loc[sorted(kept_rows(study)["filtered", 1])]
    texts = [
        "\n".join(str(text) for text in row if text)
        for row in zip(kept.instruction, kept.input, kept.response, strict=True)
    ]
    assert not near_duplicates(texts, 0.9, 0).any()
    every = samples[["instruction", "input", "response"]].to_numpy().tolist()
    assert near_duplicates(["\n".join(row) for row in every], 0.9, 0).any()


def test_choosing_is_charged_to_those_who_choose(study: Study) -> None:
    """Seconds and operations of a choice stand in the first epoch of the arm, the passes it shares included."""
    metrics = table(*study, "metrics")
    first = metrics[(metrics.epoch == 1) & (metrics.split == "")]
    spent = {str(arm): dict(zip(group["name"], group["value"], strict=True)) for arm, group in first.groupby("arm")}
    for arm in ("random", "full", "by-samples"):
        assert spent[arm]["seconds_scoring"] == spent[arm]["flops_scoring"] == 0
    assert spent["length"]["flops_scoring"] == 0
    shared = spent["kl"]["flops_scoring"]
    assert shared > 0
    assert spent["ifd"]["flops_scoring"] > shared
    assert spent["gradient_norm"]["flops_scoring"] > 0
    assert spent["herding"]["seconds_scoring"] > spent["kl"]["seconds_scoring"]
    later = metrics[(metrics.epoch == 2) & (metrics.name == "flops_scoring")].set_index("arm").value
    assert set(later[later > 0].index) == {"dynamic", "anew"}


def test_the_target_is_looked_at_and_not_reported_on(study: Study) -> None:
    """The parts of the validation samples are disjoint and whole."""
    provenance = Ledger(study[0]).run(study[1]).provenance
    assert provenance["validation"] == {"target": 4, "pick": 4, "report": 8}
    metrics = table(*study, "metrics")
    losses = metrics[metrics.name == "loss"].pivot_table(index=["arm", "epoch"], columns="split", values="value")
    assert losses[["pick", "report", "valid"]].notna().all().all()


def test_a_budget_that_filters_do_not_leave_is_said(tmp_path: Path) -> None:
    """The sentence names the arm and both numbers."""
    arms = [{"name": "few", "selection": {"leave_out": {"unknown_to_teacher": 0.5}}, "budget": {"fraction": 0.9}}]
    assert "The filters of the arm few leave" in failure(tmp_path, arms=arms)


def test_a_column_that_is_not_there_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    """Nobody waits for scores to learn of a misspelt column."""
    arms = [entry("oracle", rank_by="field:valu") | {"budget": {"fraction": 0.5}}]
    error = failure(tmp_path, arms=arms)
    assert error.startswith("An arm ranks by field:valu, and the source has no such column")


def test_a_target_of_nothing_is_said(tmp_path: Path) -> None:
    """Too few validation samples cannot be divided."""
    arms = [entry("gain", rank_by="target_gain") | {"budget": {"fraction": 0.5}}]
    assert "raise data.valid_fraction" in failure(tmp_path, arms=arms, data__limit=20, data__valid_fraction=0.1)


def test_random_without_a_budget_draws_as_the_built_in_arm_does() -> None:
    """An order of random numbers ends where the size is reached: the subset does not depend on how it is asked for."""
    order = order_of(BUILT_IN["random"], "kl", Candidates(np.ones(50, dtype=np.int64)), seed=3, epoch=2)
    assert (fill_samples(order, 20, n=50) == random_subset(20, 50, 3, 2)).all()
