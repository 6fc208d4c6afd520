"""A whole study on two tiny models: what it writes, what the arms are, and that a stopped one can be taken up."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import METRICS
from engine.models.loading import load_model, load_tokenizer
from engine.pruning.thresholds import next_tau
from engine.runtime.worker import execute
from engine.scoring.hidden import HiddenCache
from engine.scoring.response_states import PROJECTION, projection
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace, open_workspace
from engine.studies.job import Job
from engine.studies.pruning import scoring
from tests.fixtures.studies import Stop, comparable, do, failure, table, take_up_until_done
from tests.fixtures.tiny import tiny_recipe, write_rows


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str, DynamicPruningRecipe]:
    """One finished study that the tests of this file look at."""
    folder = tmp_path_factory.mktemp("study")
    workspace = open_workspace(folder / "workspace", read_only=False)
    recipe = tiny_recipe(write_rows(folder / "rows.jsonl"))
    run = do(workspace, recipe)
    assert Ledger(workspace).run(run).state == "done", Ledger(workspace).run(run).error
    return workspace, run, recipe


Study = tuple[Workspace, str, DynamicPruningRecipe]


def test_every_training_row_is_scored_once_per_epoch_and_metric(study: Study) -> None:
    """Nothing is lost and nothing is counted twice."""
    workspace, run, _ = study
    samples, scores = table(workspace, run, "samples"), table(workspace, run, "scores")
    assert len(samples) == 80
    train = set(samples[samples.split == "train"].row)
    assert len(train) == 72
    for _, group in scores.groupby(["arm", "seed", "epoch", "metric"]):
        assert sorted(group.row) == sorted(train)
    assert set(scores.metric) == set(METRICS)
    assert scores.groupby(["arm", "seed", "epoch"]).ngroups == 1 + 2 * 2  # shared first epoch; two seeds, epochs 2, 3


def test_scores_are_those_of_the_plain_formula(study: Study) -> None:
    """The parts hold (1/N) Σ_i KL_i of the models in the workspace, computed here from whole float64 logits."""
    workspace, run, _ = study
    provenance = Ledger(workspace).run(run).provenance
    models = [
        load_model(role, provenance[f"{role}_source"], torch.float32, torch.device("cpu")).model
        for role in ("teacher", "student")
    ]
    tokenizer = load_tokenizer(provenance["student_source"])
    samples, scores = table(workspace, run, "samples"), table(workspace, run, "scores")
    first = scores[(scores.arm == "base") & (scores.metric == "kl")].set_index("row").value
    for sample in samples[samples.split == "train"].head(8).itertuples():
        prompt = f"{sample.instruction}\n{sample.input}\n" if sample.input else f"{sample.instruction}\n"
        ids = tokenizer(prompt)["input_ids"] + tokenizer(sample.response)["input_ids"]
        assert len(ids) == sample.length
        with torch.inference_mode():
            teacher, student = (model(torch.tensor([ids])).logits[0].double().log_softmax(-1) for model in models)
        expected = float((teacher.exp() * (teacher - student)).sum(-1).mean())
        assert first[sample.row] == pytest.approx(expected, rel=1e-4)


def test_states_are_those_of_the_teacher_once(study: Study) -> None:
    """Each training row has one state: the mean of the teacher's last hidden states over the response, projected."""
    workspace, run, _ = study
    provenance = Ledger(workspace).run(run).provenance
    assert provenance["states"] == PROJECTION
    teacher = load_model("teacher", provenance["teacher_source"], torch.float32, torch.device("cpu")).model
    tokenizer = load_tokenizer(provenance["teacher_source"])
    samples, states = table(workspace, run, "samples"), table(workspace, run, "states").set_index("row").state
    train = samples[samples.split == "train"]
    assert sorted(states.index) == sorted(train.row)
    for sample in train.head(8).itertuples():
        prompt = f"{sample.instruction}\n{sample.input}\n" if sample.input else f"{sample.instruction}\n"
        asked = tokenizer(prompt)["input_ids"]
        ids = torch.tensor([asked + tokenizer(sample.response)["input_ids"]])
        with torch.inference_mode():  # the last position of the prompt predicts the first token of the response
            hidden = teacher.get_decoder()(input_ids=ids).last_hidden_state[0, len(asked) - 1 :]
        expected = hidden.double().mean(0) @ projection(hidden.shape[1]).double()
        np.testing.assert_allclose(states[sample.row], expected.numpy(), rtol=1e-3, atol=1e-5)


def test_kept_sets_follow_the_scores_and_the_growing_threshold(study: Study) -> None:
    """S = { x : KL > τ }, with the scores of that very epoch, and τ grown once an epoch."""
    workspace, run, recipe = study
    selections, scores = table(workspace, run, "selections"), table(workspace, run, "scores")
    tau = Ledger(workspace).run(run).provenance["tau"]
    for epoch in range(1, 4):
        for seed in recipe.seeds:
            arm, at = ("base", -1) if epoch == 1 else ("dynamic", seed)
            chosen = scores[(scores.arm == arm) & (scores.seed == at) & (scores.epoch == epoch)]
            kl = chosen[chosen.metric == "kl"].set_index("row").value.sort_index()
            kept = (
                selections[(selections.arm == "dynamic") & (selections.seed == seed) & (selections.epoch == epoch)]
                .set_index("row")
                .sort_index()
            )
            assert (kept.kept == (kl.astype(np.float64) > tau)).all()
            assert np.allclose(kept.tau, tau)
        tau = next_tau(tau, recipe.pruning.tau_growth)


def test_the_other_arms_are_what_they_are_called(study: Study) -> None:
    """full keeps all, static keeps its first set, random has the size of dynamic and is fresh each epoch."""
    workspace, run, _ = study
    kept = {
        key: frozenset(group.row[group.kept])
        for key, group in table(workspace, run, "selections").groupby(["arm", "seed", "epoch"])
    }
    for (arm, seed, epoch), rows in kept.items():
        if arm == "full":
            assert len(rows) == 72
        if arm == "static":
            assert rows == kept["dynamic", seed, 1]
        if arm == "random":
            assert len(rows) == len(kept["dynamic", seed, epoch])
    assert kept["random", 0, 1] != kept["random", 0, 2]


def test_metrics_hold_what_the_curves_and_the_cost_need(study: Study) -> None:
    """Per arm, seed and epoch: losses, perplexity, accuracy, samples, tokens, steps and seconds."""
    workspace, run, _ = study
    metrics, samples = table(workspace, run, "metrics"), table(workspace, run, "samples").set_index("row")
    selections = table(workspace, run, "selections")
    for (arm, seed, epoch), group in metrics[metrics.epoch > 0].groupby(["arm", "seed", "epoch"]):
        value = group.set_index(["split", "name"]).value
        kept = selections[
            (selections.arm == arm) & (selections.seed == seed) & (selections.epoch == epoch) & selections.kept
        ]
        assert value["", "samples"] == len(kept)
        assert value["", "tokens"] == samples.loc[kept.row, "length"].sum()
        assert value["", "steps"] == -(-len(kept) // 8)
        assert value["valid", "perplexity"] == pytest.approx(np.exp(value["valid", "loss"]))
        assert 0 <= value["valid", "accuracy"] <= 1
        assert value["", "seconds_training"] > 0
        assert (value["", "seconds_scoring"] > 0) == (arm == "dynamic" or (arm == "static" and epoch == 1))
        parts = [value["pick", "loss"], value["report", "loss"]]
        assert min(parts) <= value["valid", "loss"] <= max(parts)
        assert value["", "flops_training"] > 0
        assert (value["", "flops_scoring"] > 0) == (value["", "seconds_scoring"] > 0)
    before = metrics[(metrics.epoch == 0) & (metrics.name == "loss") & (metrics.split == "valid")]
    assert len(before) == 8
    assert before.value.nunique() == 1


def test_training_teaches_the_student_something(study: Study) -> None:
    """The loss on held-out rows falls in every arm: the adapter is trained, and evaluated with itself attached."""
    workspace, run, _ = study
    metrics = table(workspace, run, "metrics")
    loss = metrics[(metrics.split == "valid") & (metrics.name == "loss")].pivot_table(
        index=["arm", "seed"], columns="epoch", values="value"
    )
    assert (loss[3] < loss[0] - 0.05).all()


def test_the_teacher_runs_once(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its hidden states are cached, and a second study on the same rows and pair reads them."""
    workspace, _, recipe = study
    stored: list[str] = []
    put = HiddenCache.put
    monkeypatch.setattr(HiddenCache, "put", lambda self, key, *rest: stored.append(key) or put(self, key, *rest))
    run = do(workspace, recipe.model_copy(update={"seeds": [5], "arms": ["dynamic"]}))
    assert Ledger(workspace).run(run).state == "done"
    assert stored == []


def test_a_stopped_study_ends_with_the_same_parts(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after every single record of parts and taken up again, it ends as the one left alone did."""
    workspace, finished, recipe = study
    ledger = Ledger(workspace)
    run = ledger.submit(recipe)
    record = Job.record

    def record_and_stop(self: Job, parts: Any) -> None:
        record(self, parts)
        raise Stop

    monkeypatch.setattr(Job, "record", record_and_stop)
    take_up_until_done(workspace, run, times=200)
    for name in ("scores", "states", "selections", "metrics"):
        one, other = (comparable(table(workspace, which, name)) for which in (finished, run))
        pd.testing.assert_frame_equal(one, other)


def test_a_lost_part_is_made_again(study: Study) -> None:
    """Also one from the middle of a finished study, whose checkpoint is gone."""
    workspace, run, _ = study
    ledger = Ledger(workspace)
    before = comparable(table(workspace, run, "scores"))
    lost = next(p for p in ledger.parts(run, "scores") if p.name.startswith("dynamic-s1-e002"))
    lost.path(workspace).unlink()
    ledger.forget_parts([lost])
    ledger.reopen(run)
    claimed = ledger.claim(run)
    assert claimed is not None
    assert execute(workspace, ledger, *claimed, device="cpu") == "done"
    pd.testing.assert_frame_equal(before, comparable(table(workspace, run, "scores")))


def test_a_run_without_states_makes_them_when_it_goes_on(study: Study) -> None:
    """Runs of an earlier version have none: taken up again they score once more, and change nothing else."""
    workspace, run, _ = study
    ledger = Ledger(workspace)
    before = {name: comparable(table(workspace, run, name)) for name in ("states", "scores", "selections")}
    former = ledger.parts(run, "states")
    for part in former:
        part.path(workspace).unlink()
    ledger.forget_parts(former)
    ledger.reopen(run)
    claimed = ledger.claim(run)
    assert claimed is not None
    assert execute(workspace, ledger, *claimed, device="cpu") == "done"
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, comparable(table(workspace, run, name)))


def test_dynamic_ends_where_too_few_samples_are_left(tmp_path: Path) -> None:
    """|S| < N_min stops the arm, and the random arm with it; the others go on."""
    workspace = open_workspace(tmp_path / "workspace", read_only=False)
    recipe = tiny_recipe(
        write_rows(tmp_path / "rows.jsonl"), seeds=[0], pruning__tau_growth=50.0, pruning__min_samples=20
    )
    run = do(workspace, recipe)
    assert Ledger(workspace).run(run).state == "done"
    last = table(workspace, run, "selections").groupby("arm").epoch.max()
    assert last.to_dict() == {"dynamic": 1, "random": 1, "static": 3, "full": 3}


def test_a_threshold_above_every_score_is_said(tmp_path: Path) -> None:
    error = failure(tmp_path, pruning__tau_quantile=None, pruning__tau=1000.0)
    assert "keeps 0 of 72 samples" in error
    assert "lower tau" in error


@pytest.mark.parametrize(
    ("changes", "first", "most"),
    [
        ({"pruning__tau_max": 1e-6}, "tau_quantile = 0.2", "tau_max = 1e-06"),
        (
            {"pruning__tau_quantile": None, "pruning__tau": 50.0, "pruning__tau_max_quantile": 0.5},
            "tau = 50",
            "tau_max_quantile = 0.5",
        ),
    ],
    ids=str,
)
def test_a_threshold_that_could_only_fall_is_said(
    tmp_path: Path, changes: dict[str, Any], first: str, most: str
) -> None:
    """A highest threshold below the first is refused before any training, and what was scored by then is kept."""
    error = failure(tmp_path, **changes)
    assert re.match(rf"pruning\.{first} is a first threshold of .*, and pruning\.{most} a highest one of ", error)
    ledger = Ledger(open_workspace(tmp_path / "workspace"))
    tables = {part.table for part in ledger.parts(ledger.runs(1)[0].id)}
    assert tables == {"samples", "scores", "token_scores", "states"}


def test_rows_that_are_left_out_are_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log alone learns how much of the set is used, and why not all of it."""
    rows = write_rows(tmp_path / "some.jsonl")
    rows.write_text('{"instruction": "Say it.", "input": "", "output": " "}\n' + rows.read_text())
    with caplog.at_level(logging.INFO):
        failure(tmp_path, data__source=str(rows), pruning__tau_quantile=None, pruning__tau=1000.0)
    said = next(message for message in caplog.messages if message.startswith("samples: "))
    assert re.fullmatch(r"samples: 79 of 80 rows, 1 dropped \(no response\), \d+ cut to \d+ tokens", said)


def test_teacher_and_student_the_same_is_said(tmp_path: Path) -> None:
    error = failure(tmp_path, models__teacher="scratch:student")
    assert "the same model, so every KL would be zero" in error


def test_a_source_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "There is no file" in failure(tmp_path, data__source=str(tmp_path / "no.jsonl"))


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert str(tmp_path / "no-model") in failure(tmp_path, models__teacher=str(tmp_path / "no-model"))


def test_a_negative_threshold_cannot_grow(tmp_path: Path) -> None:
    """Excess loss may be below zero, where growing by a share of itself would lower the threshold without a word."""
    error = failure(tmp_path, pruning__metric="excess_loss", pruning__tau_quantile=0.0)
    assert "a threshold below zero falls when it grows" in error


def test_a_run_of_an_earlier_version_goes_on(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts with fewer metrics than there are now are read by their names: an old study ends as it would have."""
    workspace, finished, recipe = study
    ledger = Ledger(workspace)
    run = ledger.submit(recipe)
    former = {metric: label for metric, label in METRICS.items() if metric not in ("excess_loss", "trusted_kl")}
    record = Job.record

    def record_and_stop(self: Job, parts: Any) -> None:
        record(self, parts)
        if any(part.table == "scores" for part in parts):
            raise Stop

    with monkeypatch.context() as before:
        before.setattr(scoring, "METRICS", former)
        before.setattr(Job, "record", record_and_stop)
        claimed = ledger.claim(run)
        assert claimed is not None
        execute(workspace, ledger, *claimed, device="cpu")
    assert set(table(workspace, run, "scores").metric) == set(former)
    ledger.resume(run)
    claimed = ledger.claim(run)
    assert claimed is not None
    execute(workspace, ledger, *claimed, device="cpu")
    assert ledger.run(run).state == "done", ledger.run(run).error
    one, other = (comparable(table(workspace, which, "selections")) for which in (finished, run))
    pd.testing.assert_frame_equal(one, other)
