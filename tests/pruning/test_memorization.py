"""Memorization: subsets in which every sample is in and out, and the difference they make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.pruning.memorization import memorization, subsets


@given(st.integers(4, 80), st.integers(4, 30), st.floats(0.3, 0.69), st.integers(0, 99))
def test_subsets_have_their_size_and_every_sample_is_in_and_out(n: int, count: int, share: float, seed: int) -> None:
    """Without both sides a sample has no score, whatever n and count are."""
    member = subsets(n, count, share, seed)
    assert member.shape == (count, n)
    assert (member.sum(1) == round(share * n)).all()
    assert 0 < member.sum(0).min() <= member.sum(0).max() < count
    assert member.sum(0).max() - member.sum(0).min() <= 1
    assert (member == subsets(n, count, share, seed)).all()


def test_subsets_are_drawn_anew_by_seed_and_favour_no_sample() -> None:
    """Over many seeds each pair of samples is together as often as chance has it: 0.7 * 6 / 9 of the subsets."""
    together = np.zeros((10, 10))
    for seed in range(400):
        for row in subsets(10, 5, 0.7, seed):
            together += np.outer(row, row)
    pairs = together[~np.eye(10, dtype=bool)] / 2000
    np.testing.assert_allclose(pairs, 0.7 * 6 / 9, atol=0.06)
    np.testing.assert_allclose(np.diag(together) / 2000, 0.7, atol=0.03)


@pytest.mark.parametrize(("n", "count", "share"), [(1, 10, 0.5), (10, 4, 0.99), (10, 2, 0.7), (10, 4, 0.1)])
def test_subsets_that_cannot_be_had_are_refused(n: int, count: int, share: float) -> None:
    """One sentence, with what to change."""
    with pytest.raises(WinnowError, match="once inside and once outside; take more subsets"):
        subsets(n, count, share, 0)


def test_the_score_is_the_difference_of_two_means() -> None:
    """By hand: known only where trained on, known anyway, never known."""
    member = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    label_prob = np.array([[1.0, 0.8, 0.1], [0.5, 0.8, 0.1], [0.25, 0.8, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(memorization(label_prob, member), [0.5, 0, 0], atol=1e-7)


def test_a_rare_sample_scores_high() -> None:
    """High = keep: what is known only by heart is on top, in a simulation of memory."""
    member = subsets(30, 12, 0.7, 0)
    by_heart = np.arange(30) < 5
    label_prob = np.where(by_heart, member * 0.9, 0.9)
    assert set(np.argsort(-memorization(label_prob, member))[:5]) == set(range(5))


def test_a_sample_without_a_comparison_is_refused() -> None:
    """A division by nothing would be NaN, and NaN would rank last as if it were easy."""
    with pytest.raises(ValueError, match="nothing to compare"):
        memorization(np.ones((2, 2)), np.array([[True, True], [True, False]]))
