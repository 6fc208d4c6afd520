"""The public interface, used as a notebook uses it: one tiny study, and everything that can be asked of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import engine
from engine.common.paths import CHECKOUT
from engine.config.rankings import METRICS
from engine.storage.workspace import Workspace
from tests.fixtures.tiny import tiny_recipe, write_rows


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> engine.RunResults:
    folder = tmp_path_factory.mktemp("api")
    recipe = tiny_recipe(write_rows(folder / "rows.jsonl"), seeds=[0], arms=["dynamic"], training__epochs=1)
    return engine.run_recipe(recipe, workspace=Workspace(folder / "workspace").create())


def test_every_name_is_there_and_nothing_heavy_is_imported_first() -> None:
    """Protects `import engine`: every promised name can be had, and torch is loaded only by a name that needs it."""
    assert all(callable(getattr(engine, name)) for name in engine.__all__)
    code = "import engine, sys; engine.load_recipe; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="has no attribute scores"):
        _ = engine.scores


def test_scores_are_those_of_the_run(study: engine.RunResults) -> None:
    """Protects `score`: the same samples through the same models get the scores that the run has stored."""
    stored = study.scores()
    known = study.run.provenance
    found = engine.score(
        study.table("samples")[["instruction", "input", "response"]],
        known["teacher_source"],
        known["student_source"],
        template="plain",
        max_length=48,
    )
    train = found[(study.table("samples")["split"] == "train").to_numpy()]
    assert len(train) == len(stored)
    for metric in METRICS:
        np.testing.assert_allclose(train[metric], stored[metric], rtol=1e-4, atol=1e-6)


def test_rank_and_choose(study: engine.RunResults) -> None:
    """Protects the two ways to cut: above a threshold, or an exact share, the highest first."""
    scores = study.scores()
    ranked = engine.rank(scores)
    assert ranked["kl"].is_monotonic_decreasing
    assert ranked["rank"].tolist() == list(range(1, len(scores) + 1))
    kept = engine.choose(scores, fraction=0.25)
    assert kept.sum() == round(0.25 * len(scores))
    assert scores.loc[kept, "kl"].min() >= scores.loc[~kept, "kl"].max()
    tau = float(scores["kl"].median())
    assert engine.choose(scores, tau=tau).equals((scores["kl"].astype(float) > tau).rename("kept"))
    wrongs: list[dict[str, Any]] = [{}, {"tau": 0.1, "fraction": 0.5}]
    for wrong in wrongs:
        with pytest.raises(engine.WinnowError, match="either tau or fraction"):
            engine.choose(scores, **wrong)
    with pytest.raises(engine.WinnowError, match="no column loss"):
        engine.rank(scores, "loss")


def test_token_kl_is_the_plain_sum() -> None:
    """Protects the exact KL of hidden states: equal to the sum over the whole vocabulary in float64."""
    generator = torch.Generator().manual_seed(0)
    h_t, h_s = (torch.randn(7, width, generator=generator) for width in (12, 8))
    w_t, w_s = (torch.randn(101, width, generator=generator) for width in (12, 8))
    log_t, log_s = ((h.double() @ w.double().T).log_softmax(-1) for h, w in ((h_t, w_t), (h_s, w_s)))
    expected = (log_t.exp() * (log_t - log_s)).sum(-1)
    torch.testing.assert_close(engine.token_kl(h_t, h_s, w_t, w_s, tile=64), expected, rtol=1e-5, atol=1e-7)


def test_results_are_read_again(study: engine.RunResults) -> None:
    """Protects `read_run`: a beginning of the id is enough, and tables are frames."""
    again = engine.read_run(study.run.id[:6], study.workspace)
    assert again.run.id == study.run.id
    assert isinstance(again.table("metrics"), pd.DataFrame)
    assert again.recipe == study.recipe
    assert list(again.verdict()["arm"]) == ["dynamic"]
    with pytest.raises(engine.WinnowError, match="no run called"):
        engine.read_run("nothing", study.workspace)


def test_data_that_cannot_be_scored(study: engine.RunResults, tmp_path: Path) -> None:
    """Protects the sentences: columns that say nothing, and a missing file."""
    pair = [study.run.provenance[f"{role}_source"] for role in ("teacher", "student")]
    with pytest.raises(engine.WinnowError, match="the given rows"):
        engine.score([{"question": "a", "reply_to": "b"}], *pair)
    with pytest.raises(engine.WinnowError, match="There is no file"):
        engine.score(str(tmp_path / "none.jsonl"), *pair)
