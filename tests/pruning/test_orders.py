"""Orders of samples and budgets: every prefix is a selection, budgets are exact, and chance comes from the seed."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.common.choices import Spread
from engine.pruning.orders import fill_samples, fill_tokens, spread_order, weighted_ranks
from engine.pruning.select import STRATA, select, share_count, stratum_of

SPREADS: tuple[Spread, ...] = get_args(Spread)
numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf]))
scored = arrays(np.float64, st.integers(1, 80), elements=numbers)


def test_ranks_are_scaled_and_weighted() -> None:
    """Worked out by hand: ranks 0, 1/2, 1 of one score; 1, 1/4, 1/4 of the other, whose ties share their average."""
    scores = {"loss": np.array([-5.0, 2.0, 900.0]), "length": np.array([30, 10, 10])}
    assert weighted_ranks(scores, {"loss": 1.0, "length": 0.5}).tolist() == [0.5, 0.625, 1.125]
    assert weighted_ranks(scores, {"length": -2.0}).tolist() == [-2.0, -0.5, -0.5]


def test_a_sample_that_lacks_a_score_has_no_rank_and_moves_no_other() -> None:
    scores = {"a": np.array([3.0, np.nan, 1.0, 2.0]), "b": np.array([0.0, 1.0, 2.0, np.nan])}
    ranks = weighted_ranks(scores, {"a": 1, "b": 1})
    np.testing.assert_array_equal(ranks, [1.0, np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(weighted_ranks({"a": np.full(3, np.nan)}, {"a": 1}), np.full(3, np.nan))


@given(scored, st.floats(0.1, 9))
def test_one_score_keeps_its_order_whatever_its_weight(scores: np.ndarray, weight: float) -> None:
    """And a negative weight turns it."""
    known = scores[~np.isnan(scores)]
    ranks = weighted_ranks({"score": scores}, {"score": weight})
    turned = weighted_ranks({"score": scores}, {"score": -weight})
    assert (np.isnan(ranks) == np.isnan(scores)).all()
    ranks, turned = ranks[~np.isnan(ranks)], turned[~np.isnan(turned)]
    assert ((ranks >= 0) & (ranks <= weight)).all()
    assert ((ranks[:, None] < ranks) == (known[:, None] < known)).all()
    assert ((turned[:, None] > turned) == (known[:, None] < known)).all()


@pytest.mark.parametrize("weight", [0.0, np.nan, np.inf])
def test_a_weight_that_says_nothing_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of 'a' must be a number other than zero"):
        weighted_ranks({"a": np.arange(3.0)}, {"a": weight})


def test_nothing_to_rank_by_is_refused() -> None:
    with pytest.raises(ValueError, match="no score to rank by"):
        weighted_ranks({"a": np.arange(3.0)}, {})
    with pytest.raises(ValueError, match="no score 'b'"):
        weighted_ranks({"a": np.arange(3.0)}, {"b": 1})


@given(scored, st.sampled_from(SPREADS), st.floats(0, 0.9), st.integers(0, 5), st.integers(1, 6))
def test_an_order_has_every_sample_once_and_those_without_a_score_last(
    scores: np.ndarray, spread: Spread, skip: float, seed: int, clusters: int
) -> None:
    groups = np.arange(len(scores)) % clusters
    skip = skip if spread in ("window", "strata") else 0.0
    order = spread_order(scores, spread, groups=groups, skip_top=skip, seed=seed)
    assert sorted(order.tolist()) == list(range(len(scores)))
    assert np.isnan(scores[order[len(order) - np.isnan(scores).sum() :]]).all()
    assert (order == spread_order(scores, spread, groups=groups, skip_top=skip, seed=seed)).all()


@given(scored, st.integers(0, 5))
def test_the_top_descends(scores: np.ndarray, seed: int) -> None:
    descending = scores[spread_order(scores, "top", seed=seed)]
    known = descending[~np.isnan(descending)]
    assert (known[:-1] >= known[1:]).all()


def test_a_window_starts_below_the_top_which_comes_last() -> None:
    """The two highest of ten are skipped; should the budget reach that far, the less extreme comes first."""
    order = spread_order(np.append(np.arange(9.0), np.nan), "window", skip_top=0.2)
    assert order.tolist() == [6, 5, 4, 3, 2, 1, 0, 7, 8, 9]


@given(scored, st.floats(0, 0.9), st.integers(0, 5))
def test_every_prefix_of_strata_is_even(scores: np.ndarray, skip: float, seed: int) -> None:
    """At any budget no stratum has more than one sample beyond another one that still has samples to give."""
    order = spread_order(scores, "strata", skip_top=skip, seed=seed)
    known = int((~np.isnan(scores)).sum())
    skipped = min(share_count(len(scores), skip), known)
    rows = order[: known - skipped]
    strata = stratum_of(scores[rows])
    sizes = np.bincount(strata, minlength=STRATA)
    for size in range(len(rows) + 1):
        counts = np.bincount(strata[:size], minlength=STRATA)
        assert counts.max() <= 1 + counts[counts < sizes].min(initial=len(scores))
    top = order[known - skipped : known]
    assert not len(top) or not len(rows) or scores[top].min() >= scores[rows].max()


@given(st.lists(st.integers(0, 300), min_size=2, max_size=60), st.floats(0.05, 1))
def test_strata_hold_what_the_rule_of_labelled_samples_holds(values: list[int], fraction: float) -> None:
    """Zheng's algorithm for one budget and turns for all budgets: stratum by stratum within one sample."""
    scores = np.array(values, dtype=np.float64)
    kept = select(scores, fraction, "strata")
    strata, order = stratum_of(scores), spread_order(scores, "strata")
    ours = np.bincount(strata[order[: kept.sum()]], minlength=STRATA)
    assert np.abs(ours - np.bincount(strata[kept], minlength=STRATA)).max() <= 1


def test_thin_strata_come_first_and_inside_chance_decides() -> None:
    """A hundred low scores and two high ones: the first prefix of two has one of each, the thin stratum before."""
    scores = np.concatenate([np.linspace(0, 0.01, 100), [0.99, 1.0]])
    orders = [spread_order(scores, "strata", seed=seed) for seed in range(40)]
    assert all(order[0] >= 100 > order[1] for order in orders)
    assert len({int(order[1]) for order in orders}) > 20


def test_clusters_take_turns_each_with_its_best_first() -> None:
    scores = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 5.0])
    groups = np.array([7, 7, 7, 2, 2, 2, -1])
    firsts = set()
    for seed in range(30):
        order = spread_order(scores, "clusters", groups=groups, seed=seed)
        assert set(order[:3].tolist()) == {2, 5, 6}
        assert set(order[3:5].tolist()) == {1, 4}
        assert set(order[5:].tolist()) == {0, 3}
        firsts.add(int(order[0]))
    assert firsts == {2, 5, 6}


@pytest.mark.parametrize("spread", SPREADS)
def test_equal_scores_are_ordered_by_seed_not_by_row(spread: Spread) -> None:
    groups = np.zeros(40, dtype=np.int64)
    first = np.stack([spread_order(np.zeros(40), spread, groups=groups, seed=seed)[:20] for seed in range(200)])
    assert (np.abs(np.bincount(first.ravel(), minlength=40) / 200 - 0.5) < 0.2).all()


def test_what_makes_no_sense_is_refused() -> None:
    scores = np.arange(4.0)
    with pytest.raises(ValueError, match="no spread 'even'"):
        spread_order(scores, "even")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs groups"):
        spread_order(scores, "clusters")
    for spread in ("top", "clusters"):
        with pytest.raises(ValueError, match="skip_top belongs to window and strata"):
            spread_order(scores, spread, groups=np.zeros(4, dtype=np.int64), skip_top=0.1)
    with pytest.raises(ValueError, match="not in"):
        spread_order(scores, "window", skip_top=1.0)


@given(st.integers(0, 50), st.integers(0, 20), st.data())
def test_a_budget_of_samples_is_exact(in_order: int, left_out: int, data: st.DataObject) -> None:
    """Samples that are not in the order are never kept."""
    n = in_order + left_out
    order = np.random.default_rng(0).permutation(n)[:in_order]
    count = data.draw(st.integers(0, in_order))
    kept = fill_samples(order, count, n=n)
    assert kept.shape == (n,)
    assert kept.sum() == count
    assert kept[order[:count]].all()


@pytest.mark.parametrize("count", [4, -1])
def test_more_samples_than_there_are_cannot_be_kept(count: int) -> None:
    with pytest.raises(ValueError, match=f"cannot keep {count} of 3 samples"):
        fill_samples(np.arange(3), count, n=10)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 1000), st.integers(0, 9), st.data())
def test_a_budget_of_tokens_is_kept_and_filled(lengths: list[int], budget: int, seed: int, data: st.DataObject) -> None:
    """At most the budget, nothing left out of the order would still fit, and the first that fits is kept."""
    n = len(lengths)
    order = np.random.default_rng(seed).permutation(n)[: data.draw(st.integers(1, n))]
    tokens = np.array(lengths)
    if tokens[order].min() > budget:
        with pytest.raises(ValueError, match=f"no sample fits into {budget} tokens"):
            fill_tokens(order, tokens, budget)
        return
    kept = fill_tokens(order, tokens, budget)
    total = tokens[kept].sum()
    assert total <= budget
    assert set(np.flatnonzero(kept)) <= set(order.tolist())
    assert all(kept[row] or total + tokens[row] > budget for row in order)
    assert kept[next(row for row in order if tokens[row] <= budget)]


def test_a_long_sample_is_passed_over_for_those_that_fit() -> None:
    """Ten tokens: 6 fit, 7 more do not, 4 do."""
    assert fill_tokens(np.array([0, 1, 2]), np.array([6, 7, 4, 1]), 10).tolist() == [True, False, True, False]


def test_an_empty_order_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample fits"):
        fill_tokens(np.array([], dtype=np.int64), np.array([1, 2]), 10)
