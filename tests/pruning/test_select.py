"""Selection: exact sizes, high scores first, and every rule in the same direction."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.common.choices import SelectionRule
from engine.common.errors import WinnowError
from engine.pruning import geometry, memorization
from engine.pruning.scores import random_score
from engine.pruning.select import emptied_classes, kept_count, select

RULES: tuple[SelectionRule, ...] = get_args(SelectionRule)
numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf]))
scored = arrays(np.float64, st.integers(1, 80), elements=numbers)
distinct = st.lists(st.integers(-1000, 1000), min_size=2, max_size=80, unique=True).map(np.array)
fractions = st.floats(0.01, 1)


@pytest.mark.parametrize(
    ("n", "fraction", "kept"),
    [(10, 0.25, 3), (100, 0.145, 15), (10, 0.04, 1), (7, 1.0, 7), (1, 0.1, 1), (200, 0.1, 20)],
)
def test_a_fraction_is_rounded_half_up_and_never_to_nothing(n: int, fraction: float, kept: int) -> None:
    assert kept_count(n, fraction) == kept


@given(scored, fractions, st.sampled_from(RULES), st.integers(0, 5), st.integers(1, 6))
def test_the_size_is_exact_and_the_seed_decides(
    scores: np.ndarray, fraction: float, rule: SelectionRule, seed: int, classes: int
) -> None:
    """Whatever the scores are: ties, NaN, infinities, one sample."""
    labels = np.arange(len(scores)) % classes
    kept = select(scores, fraction, rule, labels, seed=seed)
    assert kept.dtype == bool
    assert kept.shape == scores.shape
    assert kept.sum() == kept_count(len(scores), fraction)
    assert (kept == select(scores, fraction, rule, labels, seed=seed)).all()


@given(scored, fractions, st.floats(0, 0.9), st.sampled_from(["window", "strata"]), st.integers(0, 5))
def test_skipping_keeps_the_exact_size_or_raises(
    scores: np.ndarray, fraction: float, skip: float, rule: SelectionRule, seed: int
) -> None:
    """What was skipped is never kept."""
    n = len(scores)
    skipped = int(np.floor(skip * n + 0.5))
    if n - skipped < kept_count(n, fraction):
        with pytest.raises(WinnowError, match=r"A fraction of .* skip_hardest = "):
            select(scores, fraction, rule, None, skip, seed)
        return
    kept = select(scores, fraction, rule, None, skip, seed)
    assert kept.sum() == kept_count(n, fraction)
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    assert skipped == 0 or ranked[kept].max() <= np.sort(ranked)[::-1][skipped - 1]


@given(distinct, fractions, st.sampled_from(["top", "window", "quota"]), st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(
    values: np.ndarray, fraction: float, rule: SelectionRule, seed: int
) -> None:
    """Shuffled samples are kept or not as before, if no two scores are equal."""
    labels = values % 3
    turn = np.random.default_rng(seed).permutation(len(values))
    kept = select(values, fraction, rule, labels)
    assert (select(values[turn], fraction, rule, labels[turn], seed=seed) == kept[turn]).all()


@given(distinct, fractions, fractions)
def test_a_larger_fraction_holds_the_smaller(values: np.ndarray, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert not (select(values, small) & ~select(values, large)).any()


@given(scored, fractions)
def test_the_top_is_the_top(scores: np.ndarray, fraction: float) -> None:
    """No sample that is left out is above one that is kept, and NaN is below everything."""
    kept = select(scores, fraction)
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    assert kept.all() or ranked[kept].min() >= ranked[~kept].max()
    assert not np.isnan(scores[kept]).any() or not (~kept & ~np.isnan(scores)).any()


@pytest.mark.parametrize("rule", ["top", "quota"])
def test_with_and_without_balance_the_high_scores_are_kept(rule: SelectionRule) -> None:
    """A rule must not turn the direction of a score."""
    scores, labels = np.array([0.1, 0.9, 0.2, 0.8]), np.array([0, 0, 1, 1])
    assert select(scores, 0.5, rule, labels).tolist() == [False, True, False, True]


def test_equal_scores_are_ordered_by_seed_not_by_row() -> None:
    """A data set sorted by class would lose its last classes."""
    kept_by_seed = np.stack([select(np.zeros(40), 0.5, seed=seed) for seed in range(200)])
    assert (np.abs(kept_by_seed.mean(0) - 0.5) < 0.2).all()


def test_a_window_is_what_lies_below_the_hardest() -> None:
    """Ten scores, the top two left out, three kept."""
    kept = select(np.arange(10.0), 0.3, "window", None, 0.2)
    assert np.flatnonzero(kept).tolist() == [5, 6, 7]


def test_what_cannot_be_kept_after_skipping_is_one_sentence() -> None:
    with pytest.raises(WinnowError, match=r"0\.9 keeps 9 of 10 samples, but skip_hardest = 0\.2 leaves only 8; lower"):
        select(np.arange(10.0), 0.9, "window", None, 0.2)


def test_strata_cover_the_range_where_the_top_does_not() -> None:
    """Two full strata and two thin ones: the thin are kept whole, and the full share what is left."""
    scores = np.concatenate([np.linspace(0, 0.01, 50), np.linspace(0.49, 0.499, 3), np.linspace(0.99, 1, 50), [0.25]])
    kept = select(scores, 20 / 104, "strata")
    assert kept[50:53].all()
    assert kept[103]
    assert kept[:50].sum() == kept[53:103].sum() == 8


def test_strata_are_random_inside_and_begin_below_the_hardest() -> None:
    """After the outlier on top is skipped, the rest is spread over all strata instead of one."""
    scores = np.concatenate([np.linspace(0, 1, 99), [1000.0]])
    kept = select(scores, 0.5, "strata", None, 0.01)
    assert not kept[99]
    assert np.histogram(scores[kept], bins=50, range=(0, 1))[0].tolist() == [1] * 50
    assert (kept != select(scores, 0.5, "strata", None, 0.01, seed=1)).any()


def test_unequal_classes_keep_their_own_quota() -> None:
    """In proportion to each class's own size, not to that of the last one."""
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept = select(random_score(100, 0), 0.3, "quota", labels)
    assert np.bincount(labels[kept]).tolist() == [18, 9, 3]


def test_the_largest_remainders_are_rounded_up() -> None:
    """Exact shares 5.5, 2.7 and 1.8 of ten."""
    labels = np.repeat([0, 1, 2], [55, 27, 18])
    assert np.bincount(labels[select(random_score(100, 0), 0.1, "quota", labels)]).tolist() == [5, 3, 2]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), fractions, st.integers(0, 9))
def test_quotas_are_near_their_share_and_empty_no_class_that_can_be_kept(
    sizes: list[int], fraction: float, seed: int
) -> None:
    """Largest remainders stay within one of the exact share, but for the classes that give one to an empty class."""
    labels = np.repeat(np.arange(len(sizes)) * 5, sizes)
    n, exact = len(labels), np.array(sizes) * kept_count(len(labels), fraction) / len(labels)
    kept = select(random_score(n, seed), fraction, "quota", labels)
    counts = np.array([kept[labels == label].sum() for label in np.unique(labels)])
    assert counts.sum() == kept_count(n, fraction)
    if counts.sum() >= len(sizes):
        assert counts.min() >= 1
        assert (counts - exact < 1).all()
    else:
        assert (np.abs(counts - exact) < 1).all()


def test_a_quota_is_filled_with_the_best_of_each_class() -> None:
    scores, labels = np.array([9.0, 8.0, 7.0, 1.0, 2.0, 3.0]), np.array([4, 4, 4, 7, 7, 7])
    assert np.flatnonzero(select(scores, 0.34, "quota", labels)).tolist() == [0, 5]


def test_classes_that_were_emptied_are_named() -> None:
    """Only those that had a sample before."""
    labels = np.array([0, 0, 1, 3])
    assert emptied_classes(np.array([True, False, False, False]), labels, 5) == [1, 3]
    assert emptied_classes(np.ones(4, dtype=bool), labels, 5) == []


def test_what_makes_no_sense_is_refused() -> None:
    """An option that would be ignored is not accepted."""
    with pytest.raises(ValueError, match="no rule"):
        select(np.arange(3.0), 0.5, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs labels"):
        select(np.arange(3.0), 0.5, "quota")
    with pytest.raises(ValueError, match="belongs to window and strata"):
        select(np.arange(3.0), 0.5, "top", None, 0.1)


def test_the_random_numbers_of_others_are_left_alone() -> None:
    """Scoring and selecting have no effect on a training that runs beside them."""
    before = (np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate())
    x = np.random.default_rng(0).normal(size=(20, 2))
    for rule in RULES:
        select(random_score(20, 0), 0.5, rule, np.arange(20) % 2)
    memorization.subsets(20, 4, 0.5, 0)
    geometry.k_center(x, 3, 0)
    geometry.prototypes(x, 2, 0)
    geometry.inliers(x, 0)
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]
