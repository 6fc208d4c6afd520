"""Filters: an exact share is left out, the right end of it, and what cannot be ranked before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.pruning import geometry
from engine.pruning.filters import outliers, unknown_to_teacher
from engine.pruning.select import share_count


@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 100, width=32)), st.floats(0.01, 0.99))
def test_the_share_is_exact_and_has_the_highest_losses(losses: np.ndarray, share: float) -> None:
    left_out = unknown_to_teacher(losses, share)
    assert left_out.sum() == share_count(len(losses), share)
    assert not left_out.any() or left_out.all() or losses[left_out].min() >= losses[~left_out].max()
    assert (left_out == unknown_to_teacher(losses, share)).all()


def test_samples_without_a_loss_are_unknown_first() -> None:
    losses = np.array([1.0, np.nan, 3.0, 2.0, np.inf])
    expected = [[1], [1, 4], [1, 2, 4]]
    for share, rows in zip((0.2, 0.4, 0.6), expected, strict=True):
        assert np.flatnonzero(unknown_to_teacher(losses, share)).tolist() == rows


def test_equal_losses_are_not_left_out_by_row() -> None:
    """A sorted data set would lose its last task."""
    left_out = unknown_to_teacher(np.ones(400), 0.5)
    assert 60 < left_out[:200].sum() < 140


def test_what_lies_apart_is_left_out_and_missing_states_before() -> None:
    """Two of a hundred far from the rest, and one that is not finite."""
    states = np.random.default_rng(0).normal(size=(100, 4))
    states[7], states[50], states[3, 1] = 30.0, -30.0, np.nan
    assert np.flatnonzero(outliers(states, 0.01, 0)).tolist() == [3]
    assert np.flatnonzero(outliers(states, 0.03, 0)).tolist() == [3, 7, 50]


@pytest.mark.parametrize(("seed", "share"), [(0, 0.05), (1, 0.3)])
def test_outliers_are_those_the_forest_ranks_lowest(seed: int, share: float) -> None:
    states = np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32)
    left_out = outliers(states, share, seed)
    scores = geometry.inliers(states, seed)
    assert left_out.sum() == share_count(40, share)
    assert scores[left_out].max() <= scores[~left_out].min()


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_states_are_left_out_by_seed(seed: int) -> None:
    left_out = outliers(np.ones((60, 2)), 0.5, seed)
    assert left_out.sum() == 30
    assert (left_out == outliers(np.ones((60, 2)), 0.5, seed)).all()
    assert (left_out != outliers(np.ones((60, 2)), 0.5, seed + 1)).any()
