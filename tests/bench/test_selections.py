"""The bench of selections: its measures of agreement, and Winnow's side of it without any other package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.selections import in_both, in_strata, race, rank_correlation
from bench.selections_peers import missing, status
from bench.selections_setup import digits_proxy, dynamics_of, load_student, scratch_student, student_ifd, student_states
from engine.common.errors import WinnowError
from engine.data.loading import DEMO
from engine.data.sources import read_rows
from engine.pruning import scores
from engine.pruning.select import STRATA


def test_rank_correlation_is_of_ranks_and_of_what_both_know() -> None:
    ours = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    assert rank_correlation(ours, np.exp(ours)) == pytest.approx(1)
    assert rank_correlation(ours, np.array([5.0, 3.0, 2.0, np.nan, 9.0])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(ours, np.zeros(5)))


def test_in_both_counts_what_each_would_keep() -> None:
    """Of ten samples three are kept; NaN is never among them if it can be helped."""
    ours = np.arange(10.0)
    theirs = ours.copy()
    theirs[[9, 0]] = [np.nan, 20]
    assert in_both(ours, ours) == 1
    assert in_both(ours, theirs) == pytest.approx(2 / 3)
    assert in_both(ours, -ours) == 0


def test_in_strata_asks_for_numbers_not_for_samples() -> None:
    """Another sample of the same stratum is as good; one of another stratum is not."""
    values = np.repeat(np.arange(STRATA, dtype=np.float64), 2)
    first, second = np.zeros(2 * STRATA, np.bool_), np.zeros(2 * STRATA, np.bool_)
    first[::2], second[1::2] = True, True
    everything = np.arange(2 * STRATA)
    assert in_strata(values, everything, first, second) == 1
    second[1], second[2] = False, True
    assert in_strata(values, everything, first, second) == pytest.approx(1 - 1 / STRATA)


def test_ways_take_turns() -> None:
    turns: list[str] = []

    def way(name: str) -> np.ndarray:
        turns.append(name)
        return np.zeros(1)

    _, seconds = race({name: lambda name=name: way(name) for name in "ab"}, repeats=2)
    assert "".join(turns) == "abab"
    assert list(seconds) == ["a", "b"]


def test_a_package_that_is_missing_is_said_to_be() -> None:
    assert missing("no_such_package") == "no_such_package"
    assert status("no_such_package") == "no_such_package: not installed"
    assert missing("numpy") is None


def test_winnows_side_needs_no_other_package(tmp_path: Path) -> None:
    """A student from scratch, with a chat template of its own, scores the demo in both forms."""
    student = load_student(scratch_student(tmp_path, corpus_rows=40))
    rows = read_rows(DEMO, limit=12).rows
    alpaca, chat = (student_ifd(student, rows, template=each, ends=False) for each in ("alpaca", "chat"))
    assert np.isfinite(alpaca).all()
    assert np.isfinite(chat).all()
    assert not np.allclose(alpaca, chat)
    assert np.isfinite(student_states(student, rows)).all()
    bare = tmp_path / "bare"
    student.tokenizer.chat_template = None
    student.tokenizer.save_pretrained(bare)
    with pytest.raises(WinnowError, match=r"bare has no chat template"):
        load_student(str(bare))


def test_a_proxy_run_on_digits_gives_every_epoch() -> None:
    proxy = digits_proxy(epochs=2, flipped=0.1, seed=0)
    assert proxy.logits.shape == (2, len(proxy.labels), 10)
    last = torch.nn.functional.cross_entropy(proxy.logits[-1], proxy.labels, reduction="none")
    np.testing.assert_allclose(scores.loss(dynamics_of(*proxy), 2), last.numpy(), rtol=1e-5)
