"""Whole studies with scores from the training pass: what is exact in them, what they cost, that they can be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import METRICS
from engine.pruning import rotation
from engine.runtime.recipe_check import check_recipe
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace, open_workspace
from engine.studies import flops
from engine.studies.job import Job
from engine.studies.pruning import refresh
from tests.fixtures.app import opener, plain_text
from tests.fixtures.studies import Stop, comparable, do, table, take_up_until_done
from tests.fixtures.tiny import tiny_recipe, write_rows
from tests.studies.test_pruning_models import ATTENTION, llama, saved
from tests.studies.test_pruning_models import recipe as of_folders

WHILE_TRAINING = "while_training"
ANEW: dict[str, Any] = {
    "name": "anew",
    "schedule": "every_epoch",
    "selection": {"rank_by": "kl_response"},
    "budget": {"fraction": 0.5},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A workspace whose models are made once."""
    folder = tmp_path_factory.mktemp("refresh")
    return open_workspace(folder / "workspace", read_only=False), write_rows(folder / "rows.jsonl")


def asked(place: tuple[Workspace, Path], refresh: str, **changes: Any) -> DynamicPruningRecipe:
    settings = {
        "seeds": [0],
        "arms": ["dynamic", ANEW],
        "training__epochs": 4,
        "pruning__tau_quantile": 0.4,
        "scoring__refresh": refresh,
    }
    return tiny_recipe(place[1], **(settings | changes))


def finished(place: tuple[Workspace, Path], refresh: str, **changes: Any) -> str:
    run = do(place[0], asked(place, refresh, **changes))
    assert Ledger(place[0]).run(run).state == "done", Ledger(place[0]).run(run).error
    return run


@pytest.fixture(scope="module")
def runs(place: tuple[Workspace, Path]) -> dict[str, str]:
    """The same study twice."""
    return {refresh: finished(place, refresh) for refresh in ("exact", WHILE_TRAINING)}


def kept_sets(workspace: Workspace, run: str) -> pd.DataFrame:
    """Arms, epochs and rows: whether each was kept."""
    return table(workspace, run, "selections").pivot_table(
        index=["arm", "epoch"], columns="row", values="kept", aggfunc="first"
    )


def kept_in(workspace: Workspace, run: str, arm: str, epoch: int) -> NDArray[np.bool_]:
    """The same of one epoch, in the order of the rows."""
    selections = table(workspace, run, "selections")
    chosen = selections[(selections.arm == arm) & (selections.epoch == epoch)]
    return chosen.sort_values("row").kept.to_numpy(dtype=np.bool_)


def scores_of(workspace: Workspace, run: str, arm: str, epoch: int) -> pd.DataFrame:
    scores = table(workspace, run, "scores")
    chosen = scores[(scores.arm == arm) & (scores.epoch == epoch)]
    return chosen.pivot_table(index="row", columns="metric", values="value")


def test_every_epoch_has_scores_of_all_samples(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    """As in an exact study: whatever an epoch chose by is recorded for it, one value for each sample and metric."""
    counts = [table(place[0], run, "scores").groupby(["arm", "epoch", "metric"]).row.nunique() for run in runs.values()]
    pd.testing.assert_series_equal(*counts)
    assert set(counts[0]) == {72}
    assert len(counts[0]) == len(METRICS) * (1 + 2 * 3)


def test_the_second_epoch_says_what_is_exact(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    """Both studies trained the same first epoch, so: who had a turn has the exact score, who was left out without one
    has that before training, and who was trained on has one of the student on its way, with dropout."""
    workspace = place[0]
    base = scores_of(workspace, runs[WHILE_TRAINING], "base", 1)
    for arm in ("dynamic", "anew"):
        exact, found = (scores_of(workspace, runs[refresh], arm, 2) for refresh in ("exact", WHILE_TRAINING))
        kept = kept_in(workspace, runs[WHILE_TRAINING], arm, 1)
        turn = rotation.in_turn(kept, 1)
        assert 0 < turn.sum() < (~kept).sum()
        np.testing.assert_allclose(found[turn], exact[turn], rtol=1e-4, atol=1e-5)
        pd.testing.assert_frame_equal(found[~kept & ~turn], base[~kept & ~turn])
        moved = (found.kl - base.kl).abs()[kept]
        assert (moved > 0).sum() >= kept.sum() - 8  # the first batch meets an adapter that does nothing yet


def test_kept_sets_follow_the_recorded_scores(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    workspace, run = place[0], runs[WHILE_TRAINING]
    selections = table(workspace, run, "selections")
    for epoch in (2, 3, 4):
        chosen = selections[(selections.arm == "dynamic") & (selections.epoch == epoch)].set_index("row").sort_index()
        kl = scores_of(workspace, run, "dynamic", epoch).kl
        assert (chosen.kept == (kl.astype(np.float64) > chosen.tau)).all()


def test_kept_sets_are_the_exact_ones_if_the_student_stands_still(place: tuple[Workspace, Path]) -> None:
    """Without steps and dropout every score is exact, however old; a threshold that grows still changes the sets."""
    still = {"training__learning_rate": 1e-12, "training__lora__dropout": 0.0, "pruning__tau_growth": 0.02}
    one, other = (kept_sets(place[0], finished(place, refresh, **still)) for refresh in ("exact", WHILE_TRAINING))
    pd.testing.assert_frame_equal(one, other)
    assert one.loc["dynamic"].sum(axis=1).nunique() > 2


def test_everything_left_out_is_exact_if_all_have_a_turn(
    place: tuple[Workspace, Path], runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rotation of one epoch only those that are trained on have approximate scores."""
    monkeypatch.setattr(rotation, "TURNS", 1)
    run = finished(place, WHILE_TRAINING)
    exact, found = (scores_of(place[0], each, "dynamic", 2) for each in (runs["exact"], run))
    kept = kept_in(place[0], run, "dynamic", 1)
    np.testing.assert_allclose(found[~kept], exact[~kept], rtol=1e-4, atol=1e-5)


def test_a_stopped_study_ends_with_the_same_parts(
    place: tuple[Workspace, Path], runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every record of parts and in the middle of every other training, bit for bit."""
    workspace, ledger = place[0], Ledger(place[0])
    run = ledger.submit(asked(place, WHILE_TRAINING))
    record, next_scores, calls = Job.record, refresh.next_scores, []

    def record_and_stop(self: Job, parts: Any) -> None:
        record(self, parts)
        raise Stop

    def score_and_stop(*settings: Any) -> Any:
        calls.append(1)
        if len(calls) % 2:
            raise Stop
        return next_scores(*settings)

    monkeypatch.setattr(Job, "record", record_and_stop)
    monkeypatch.setattr(refresh, "next_scores", score_and_stop)
    take_up_until_done(workspace, run, times=100)
    assert len(calls) == 2 * 2 * 3
    for name in ("scores", "selections", "metrics"):
        one, other = (comparable(table(workspace, which, name)) for which in (runs[WHILE_TRAINING], run))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_a_lost_part_is_made_again(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    """Scores come from the epoch before theirs, so the arm is trained again."""
    workspace, run, ledger = place[0], runs[WHILE_TRAINING], Ledger(place[0])
    before = {name: comparable(table(workspace, run, name)) for name in ("scores", "selections", "metrics")}
    lost = next(part for part in ledger.parts(run, "scores") if part.name.startswith("dynamic-s0-e003"))
    lost.path(workspace).unlink()
    ledger.forget_parts([lost])
    ledger.reopen(run)
    claimed = ledger.claim(run)
    assert claimed is not None
    assert execute(workspace, ledger, *claimed, device="cpu") == "done"
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, comparable(table(workspace, run, name)), check_exact=True)


def test_scoring_is_charged_to_scoring(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    """Both heads for what was trained on, a pass of the student and the teacher's head for what had its turn."""
    workspace, run = place[0], runs[WHILE_TRAINING]
    lengths = table(workspace, run, "samples").set_index("row").length
    models = asked(place, WHILE_TRAINING).scratch.models
    student = flops.parameters_of(models["student"], 300)
    heads = [300 * models[name].width for name in ("teacher", "student")]
    rows = scores_of(workspace, run, "base", 1).index
    tokens = lengths[rows].to_numpy()
    for refreshed in ("exact", WHILE_TRAINING):
        metrics = table(workspace, runs[refreshed], "metrics").query("split == '' and arm == 'dynamic'")
        values = metrics.set_index(["name", "epoch"]).value
        assert (values["seconds_scoring"] > 0).all()
        assert (values["seconds_training"] > 0).all()
        for epoch in (2, 3, 4):
            kept = kept_in(workspace, run, "dynamic", epoch - 1)
            turn = tokens[rotation.in_turn(kept, epoch - 1)].sum()
            if refreshed == "exact":
                expected = 2 * tokens.sum() * (student + heads[0])
            else:
                expected = 2 * tokens[kept].sum() * sum(heads) + 2 * turn * (student + heads[0])
            assert values["flops_scoring", epoch] == expected


def test_single_tokens_have_scores_before_training_only(place: tuple[Workspace, Path], runs: dict[str, str]) -> None:
    """What several students have scored is not kept token by token."""
    assert set(table(place[0], runs[WHILE_TRAINING], "token_scores").epoch) == {1}
    assert set(table(place[0], runs["exact"], "token_scores").epoch) == {1, 2, 3, 4}


def test_the_page_says_what_its_scores_are(
    place: tuple[Workspace, Path], runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores that were used are shown, with how they were made, and a sample opens without those of its tokens."""
    show = opener(monkeypatch, "pages/samples/page.py")
    row = str(scores_of(place[0], runs[WHILE_TRAINING], "base", 1).index[0])
    made, none = "These scores were made while training", "There are no token scores for this sample in this epoch."
    for refreshed, epoch, said in (("exact", "2", False), (WHILE_TRAINING, "1", False), (WHILE_TRAINING, "2", True)):
        text = plain_text(show(place[0], run=runs[refreshed], epoch=epoch, sample=row))
        assert (made in text) == said
        assert (none in text) == said


def test_the_check_plans_less_for_it(place: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm with a budget is planned with its share in the pass, and a quarter of the rest in turn."""
    planned: list[float] = []
    monkeypatch.setattr("engine.runtime.recipe_check._seconds", lambda _ledger, work: planned.append(work))
    for refreshed in ("exact", WHILE_TRAINING):
        recipe = asked(place, refreshed, arms=[ANEW])
        found = check_recipe(place[0], Ledger(place[0]), {"recipe": recipe.model_dump()})
        assert found["ok"]
    tokens = found["tokens"] - round(found["tokens"] * recipe.data.valid_fraction)
    student, heads = found["student"]["parameters"], (300 * found["teacher"]["width"], 300 * found["student"]["width"])
    saved_tokens = tokens - tokens * 0.5 / 4
    expected = 2 * 3 * (saved_tokens * (student + heads[0]) - tokens * 0.5 * sum(heads))
    assert planned[0] - planned[1] == pytest.approx(expected)


def test_a_student_without_a_head_of_its_own_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    """Its hidden states do not give its logits; only if an arm would need them."""
    workspace = open_workspace(tmp_path / "workspace", read_only=False)
    torch.manual_seed(1)
    capped: dict[str, Any] = {"final_logits_cap": 1000.0}
    student = saved(tmp_path / "student", LlamaForCausalLM(LlamaConfig(**ATTENTION | capped)))
    teacher = llama(tmp_path / "teacher")
    settings: dict[str, Any] = {"scoring__refresh": WHILE_TRAINING}
    recipe = of_folders(tmp_path, teacher, student, **settings)
    run = Ledger(workspace).run(do(workspace, recipe))
    assert run.state == "failed"
    assert 'scoring.refresh = "while_training" needs a student' in run.error
    assert 'set scoring.refresh = "exact"' in run.error
    assert not Ledger(workspace).parts(run.id, "scores")
    run = Ledger(workspace).run(do(workspace, recipe.model_copy(update={"arms": ["full"]})))
    assert run.state == "done", run.error
