"""Compute multipliers, held against curves whose crossings are known."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.multipliers import (
    Bound,
    Multiplier,
    Reading,
    compute_at,
    loss_at,
    multiplier,
    multiplier_text,
    short_text,
)

COMPUTE = [100.0, 200.0, 400.0, 800.0]
LOSSES = [4.0, 3.0, 2.0, 1.0]  # 1 less for each doubling: linear in log compute


@pytest.mark.parametrize("loss", [1.0, 1.25, 2.0, 2.5, 3.3, 4.0])
def test_between_points_the_crossing_is_exact(loss: float) -> None:
    """A loss that falls linearly in log compute is inverted exactly, and back."""
    found = compute_at(COMPUTE, LOSSES, loss)
    assert found.value == pytest.approx(100 * 2 ** (4 - loss))
    assert found.bound == ""
    assert loss_at(COMPUTE, LOSSES, found.value) == pytest.approx(loss)


def test_never_extrapolated() -> None:
    """Below every point random needs more than the last budget, above the first less than the first; no number else."""
    assert astuple(compute_at(COMPUTE, LOSSES, 0.99)) == (pytest.approx(800), "more")
    assert astuple(compute_at(COMPUTE, LOSSES, 4.01)) == (pytest.approx(100), "less")
    assert astuple(compute_at(COMPUTE, LOSSES, math.inf)) == (pytest.approx(100), "less")
    assert math.isnan(loss_at(COMPUTE, LOSSES, 99))
    assert math.isnan(loss_at(COMPUTE, LOSSES, 801))


def test_a_curve_that_rises_again_counts_once() -> None:
    """The first crossing is the one read; a loss that only the lowest point reaches is not looked for at the end."""
    rising = [4.0, 2.0, 3.0, 2.5]
    assert compute_at(COMPUTE, rising, 3.0).value == pytest.approx(100 * math.sqrt(2))
    assert astuple(compute_at(COMPUTE, rising, 2.0)) == (pytest.approx(200), "")
    assert compute_at(COMPUTE, rising, 1.9).bound == "more"


def test_three_budgets_at_least() -> None:
    """Two points, or three of which one is before training or without a loss, are no curve."""
    for compute, losses in (
        (COMPUTE[:2], LOSSES[:2]),
        ([0.0, 100.0, 200.0], [5.0, 4.0, 3.0]),
        (COMPUTE[:3], [4.0, math.nan, 2.0]),
        ([], []),
    ):
        assert math.isnan(compute_at(compute, losses, 3.5).value)
        assert math.isnan(loss_at(compute, losses, 150))
    assert math.isnan(compute_at(COMPUTE, LOSSES, math.nan).value)


def test_order_and_untrained_points_do_not_matter() -> None:
    """Points may come in any order, with the student before training and epochs without a loss among them."""
    found = compute_at([400, 0, 100, 300, 800, 200], [2, 9, 4, math.nan, 1, 3], 2.5)
    assert found == compute_at(COMPUTE, LOSSES, 2.5)


@given(
    st.lists(
        st.tuples(st.floats(1, 1e12), st.floats(0.1, 10)), min_size=3, max_size=9, unique_by=lambda point: point[0]
    ),
    st.floats(0.05, 12),
)
def test_a_reading_lies_on_the_curve(points: list[tuple[float, float]], loss: float) -> None:
    """Whatever the curve, a reading is within its budgets, and no measured point below it has reached the loss."""
    points.sort()
    compute, losses = zip(*points, strict=True)
    found = compute_at(compute, losses, loss)
    assert compute[0] * (1 - 1e-9) <= found.value <= compute[-1] * (1 + 1e-9)
    assert all(at > loss for of, at in points if of < found.value * (1 - 1e-9))
    assert (found.bound == "more") == (min(losses) > loss)
    assert (found.bound == "less") == (losses[0] < loss)


def test_multiplier_by_hand() -> None:
    """Ratios 1, 2 and 4: geometric mean 2, log standard deviation ln 2, t 4.3027 over the root of 3."""
    found = multiplier([Reading(100, ""), Reading(200, ""), Reading(400, "")], [100, 100, 100])
    factor = 2 ** (4.302653 / math.sqrt(3))
    assert (found.value, found.bound, found.seeds) == (pytest.approx(2), "", 3)
    assert (found.low, found.high) == (pytest.approx(2 / factor), pytest.approx(2 * factor))


def test_a_bound_in_one_seed_bounds_the_mean() -> None:
    """A seed beyond the curve makes the mean a bound and opens the interval to that side; the other end is unknown."""
    beyond, within, before = Reading(400, "more"), Reading(100, ""), Reading(25, "less")
    more, less = multiplier([beyond, within], [100, 100]), multiplier([before, within], [100, 100])
    assert (more.value, more.high, more.bound) == (pytest.approx(2), math.inf, "more")
    assert (less.value, less.low, less.bound) == (pytest.approx(0.5), 0.0, "less")
    assert math.isnan(more.low)
    assert math.isnan(less.high)
    either = multiplier([beyond, within, before], [100] * 3)
    assert math.isnan(either.value)
    assert (either.low, either.high, either.bound, either.seeds) == (0.0, math.inf, "either", 3)


def test_held_at_bounds_students_interval_would_be_too_short() -> None:
    """Why a bound has no near end: of three seeds held at a bound, Student's lower end misses three times too often."""
    rng = np.random.default_rng(0)
    held = np.minimum(rng.normal(0, 1, (20_000, 3)), 0.2)
    low = held.mean(1) - 4.302653 * held.std(1, ddof=1) / math.sqrt(3)
    assert (low > 0).mean() > 3 * 0.025


def test_no_interval_without_a_spread() -> None:
    """One seed, and seeds that differ by rounding alone, have a multiplier and no interval; none has neither."""
    one = multiplier([Reading(120, "")], [100])
    same = multiplier([Reading(math.exp(math.log(300)), ""), Reading(500, "")], [300, 500])
    none = multiplier([Reading(math.nan, "")], [100])
    assert (one.value, one.seeds, same.seeds, none.seeds) == (1.2, 1, 2, 0)
    assert same.value == pytest.approx(1)
    assert all(math.isnan(end) for found in (one, same, none) for end in (found.low, found.high))
    assert math.isnan(none.value)


def test_two_seeds_far_apart_do_not_overflow() -> None:
    """An interval over two seeds can be wider than floats: its end is infinite, not an error."""
    found = multiplier([Reading(1e-20, ""), Reading(1e140, "")], [1, 1])
    assert (found.low, found.high) == (0.0, math.inf)
    assert multiplier_text(found) == "over 1000 times (under 0.001 to over 1000)"


@pytest.mark.parametrize(
    ("found", "text", "short"),
    [
        (Multiplier(1.42, 1.21, 1.66, "", 5), "1.4 times (1.2 to 1.7)", "1.4"),
        (Multiplier(1.96, math.nan, math.inf, "more", 5), "more than 1.9 times", "more than 1.9"),
        (Multiplier(0.51, 0.0, math.nan, "less", 5), "less than 0.6 times", "less than 0.6"),
        (Multiplier(2.0, math.nan, math.nan, "more", 1), "more than 2.0 times (one seed)", "more than 2.0"),
        (Multiplier(1.2, math.nan, math.nan, "", 1), "1.2 times (one seed)", "1.2"),
        (Multiplier(1.2, math.nan, math.nan, "", 3), "1.2 times (in each of 3 seeds)", "1.2"),
        (Multiplier(1.21, 0.96, 1.53, "", 3), "1.21 times (0.96 to 1.53)", "1.2"),
        (Multiplier(1.223, 1.221, 1.225, "", 3), "1.223 times (1.221 to 1.225)", "1.2"),
        (Multiplier(0.031, 0.012, 0.08, "", 3), "0.03 times (0.01 to 0.08)", "0.03"),
        (Multiplier(math.nan, math.nan, math.nan, "", 0), "not measured", "not measured"),
        (
            Multiplier(math.nan, 0.0, math.inf, "either", 2),
            "beyond what was measured, to either side",
            "beyond what was measured, to either side",
        ),
    ],
)
def test_text(found: Multiplier, text: str, short: str) -> None:
    """Few digits, but never 1 for what is not 1, never equal ends, and no bound rounded to the side that says more."""
    assert multiplier_text(found) == text
    assert short_text(found) == short


@given(st.floats(0.001, 900), st.sampled_from(["more", "less"]))
def test_a_bound_in_words_is_true(value: float, bound: Bound) -> None:
    """What "more than X" says follows from the bound, to the last digit shown."""
    said = float(short_text(Multiplier(value, 0, math.inf, bound, 2)).split()[-1])
    assert said <= value + 1e-5 if bound == "more" else said >= value - 1e-5
