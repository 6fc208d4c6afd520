"""Thresholds: strictly above τ stays, τ never falls, and random subsets have the asked size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.common.random_streams import random_subset
from engine.pruning.thresholds import keep, next_tau, quantile

scores = arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 100, width=32))


def test_high_scores_are_kept_and_the_border_is_pruned() -> None:
    """High = keep, S = { x : score > τ }."""
    assert keep(np.array([0.1, 0.5, 0.9]), 0.5).tolist() == [False, False, True]


def test_a_sample_without_a_score_is_not_kept() -> None:
    assert keep(np.array([np.nan, 1.0]), -1.0).tolist() == [False, True]


@given(scores, st.floats(0, 100), st.floats(0, 2), st.floats(0, 200))
def test_raising_tau_never_brings_a_sample_back(values: np.ndarray, tau: float, growth: float, highest: float) -> None:
    """For scores that do not change, the kept sets shrink."""
    highest = max(highest, tau)
    raised = next_tau(tau, growth, highest)
    assert tau <= raised <= highest
    assert not (keep(values, raised) & ~keep(values, tau)).any()


def test_the_schedule_is_the_one_of_the_method() -> None:
    """τ ← min(τ · (1 + growth), τ_max)."""
    tau, seen = 1.0, []
    for _ in range(4):
        seen.append(tau)
        tau = next_tau(tau, 0.5, 3.0)
    assert seen == [1.0, 1.5, 2.25, 3.0]


@given(scores, st.floats(0, 0.99))
def test_a_quantile_keeps_the_rest(values: np.ndarray, q: float) -> None:
    """At most a share 1 − q lies above it, whatever ties there are."""
    kept = keep(values.astype(np.float64), quantile(values.astype(np.float64), q)).sum()
    assert kept <= math.ceil((1 - q) * len(values))


def test_a_quantile_leaves_out_missing_scores_and_needs_one() -> None:
    assert quantile(np.array([np.nan, 1.0, 3.0]), 0.5) == 2.0
    with pytest.raises(ValueError, match="finite"):
        quantile(np.array([np.nan]), 0.5)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 9), st.integers(1, 9))
def test_a_random_subset_has_exactly_the_size_asked_for(size: int, extra: int, seed: int, epoch: int) -> None:
    """The random arm must be as large as the dynamic one, and the same again after a kill."""
    drawn = random_subset(size, size + extra, seed, epoch)
    assert drawn.sum() == size
    assert (drawn == random_subset(size, size + extra, seed, epoch)).all()


def test_random_subsets_are_fresh_each_epoch() -> None:
    assert (random_subset(50, 100, 0, 1) != random_subset(50, 100, 0, 2)).any()
