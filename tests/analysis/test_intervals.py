"""Student's t, intervals, p-values and Holm's correction, held against closed forms, tables, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analysis import intervals


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_student_t_closed_forms(level: float) -> None:
    """The quantile agrees with the closed forms for 1, 2 and 4 degrees of freedom."""
    p = (1 + level) / 2
    a = 4 * p * (1 - p)
    four = 2 * math.sqrt(math.cos(math.acos(math.sqrt(a)) / 3) / math.sqrt(a) - 1)
    assert intervals.student_t(level, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
    assert intervals.student_t(level, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / a), rel=1e-9)
    assert intervals.student_t(level, 4) == pytest.approx(four, rel=1e-9)


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_student_t_table(degrees: int, t: float) -> None:
    """The two-sided 95 % quantiles are those every printed table gives."""
    assert intervals.student_t(0.95, degrees) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize("degrees", [3, 6, 7, 12])
def test_student_t_integrates_its_density(degrees: int) -> None:
    """Integrating the density up to the quantile gives the level back, for odd and even degrees of freedom."""
    t = intervals.student_t(0.95, degrees)
    x, step = np.linspace(0, t, 200_001, retstep=True)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    density = scale * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
    assert 2 * step * (density.sum() - (density[0] + density[-1]) / 2) == pytest.approx(0.95, abs=1e-8)


def test_student_t_tends_to_normal() -> None:
    """With many degrees of freedom the quantile is the normal one."""
    assert intervals.student_t(0.95, 100_001) == pytest.approx(1.95996, abs=1e-4)


def test_no_t_without_degrees() -> None:
    """One value has no spread, so asking for its t is a mistake, not a number."""
    with pytest.raises(ValueError):
        intervals.student_t(0.95, 0)


def test_interval_by_hand() -> None:
    """Three values: mean 2, standard error 1/sqrt(3), t 4.3027."""
    found = intervals.interval([1.0, 2.0, 3.0])
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - found.low == pytest.approx(found.high - 2)
    assert not found.settled


def test_interval_covers_as_often_as_it_says() -> None:
    """Over many draws of three seeds the 95 % interval holds the true mean 95 times in 100."""
    rng = np.random.default_rng(0)
    draws = [intervals.interval(rng.normal(0.3, 2.0, 3)) for _ in range(4000)]
    assert sum(found.low <= 0.3 <= found.high for found in draws) / 4000 == pytest.approx(0.95, abs=0.012)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_interval_holds_its_mean(values: list[float]) -> None:
    """Whatever the values, the mean lies in the interval if there is one, and NaN and infinities are left out."""
    found = intervals.interval([*values, math.nan, math.inf])
    assert found.known == (max(values) - min(values) > intervals.SAME * max(map(abs, values)))
    if found.known:
        assert found.low <= found.mean <= found.high
    assert found.seeds == len(values)


def test_few_values() -> None:
    """One seed has a mean and no interval; none has neither; neither is settled."""
    one, none = intervals.interval([1.5]), intervals.interval([])
    assert (one.mean, one.seeds, one.settled) == (1.5, 1, False)
    assert math.isnan(one.low)
    assert math.isnan(none.mean)
    assert not none.settled


@pytest.mark.parametrize(
    "values", [[0.2, 0.2], [0.8 - 0.6, 0.7 - 0.5, 0.3 - 0.1], [0.0, 0.0, 0.0], [-1e6 - 0.1, -1e6 - 0.1]]
)
def test_equal_values_settle_nothing(values: list[float]) -> None:
    """Seeds that do not differ, but for the rounding of a subtraction, have no spread: no interval, no verdict."""
    found = intervals.interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.seeds == len(values)
    assert math.isnan(found.low)
    assert math.isnan(found.half)
    assert not found.known
    assert not found.settled


def test_a_small_spread_is_a_spread() -> None:
    """One sample of a hundred thousand that one seed gets right and another does not is enough for an interval."""
    assert intervals.interval([0.5, 0.50001]).known


def test_p_value_closed_forms() -> None:
    """Two values: T with 1 degree is Cauchy, p = 1 - 2/pi arctan t. Three: p = 1 - t / sqrt(2 + t^2)."""
    assert intervals.p_value([1.0, 3.0]) == pytest.approx(1 - 2 / math.pi * math.atan(2), rel=1e-12)
    t = 2 * math.sqrt(3)
    assert intervals.p_value([1.0, 2.0, 3.0]) == pytest.approx(1 - t / math.sqrt(2 + t**2), rel=1e-12)
    assert intervals.p_value([-1.0, 1.0]) == 1.0


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 8, 9, 30])
def test_p_value_is_scipys(seeds: int) -> None:
    """The finite series agrees with scipy's incomplete beta function, and the paired test is that of differences."""
    rng = np.random.default_rng(seeds)
    one, other = rng.normal(0.2, 1, seeds), rng.normal(0, 1, seeds)
    assert intervals.p_value(one) == pytest.approx(stats.ttest_1samp(one, 0).pvalue, rel=1e-9)
    assert intervals.p_value(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-9)


@given(st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=2, max_size=10))
def test_p_value_and_interval_agree(values: list[float]) -> None:
    """p lies in [0, 1] and ignores sign; the interval leaves zero out exactly if p is below 0.05."""
    p, found = intervals.p_value(values), intervals.interval(values)
    assert math.isnan(p) == (not found.known)
    if found.known:
        assert 0 <= p <= 1
        assert intervals.p_value([-value for value in values]) == p
        if abs(p - 0.05) > 1e-9:
            assert found.settled == (p < 0.05)


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 1.0], [0.2, 0.2, 0.2], [0.8 - 0.6, 0.7 - 0.5, 0.3 - 0.1]])
def test_no_p_without_a_spread(values: list[float]) -> None:
    """One seed, or seeds that do not differ, cannot be tested: that is NaN, not a p of 0."""
    assert math.isnan(intervals.p_value(values))


def test_holm_by_hand() -> None:
    """0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, and none may be below one before it."""
    found = intervals.holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert list(found) == ["d", "a", "c", "b"]
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})
    assert intervals.holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert intervals.holm({}) == {}


def test_holm_leaves_out_what_could_not_be_tested() -> None:
    """A hypothesis without p stays without, and does not make the others harder to settle."""
    found = intervals.holm({"a": 0.02, "none": math.nan, "b": 0.5})
    assert (found["a"], found["b"]) == (0.04, 0.5)
    assert math.isnan(found["none"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_settles_what_stepping_down_settles(values: list[float]) -> None:
    """Adjusted p are at least p, at most Bonferroni's, in the same order; at most 0.05 exactly if Holm rejects."""
    p = {str(place): value for place, value in enumerate(values)}
    found, m = intervals.holm(p), len(values)
    assert all(p[name] <= found[name] <= min(1.0, m * p[name]) for name in p)
    order = sorted(p, key=lambda name: p[name])
    assert [found[name] for name in order] == sorted(found.values())
    rejected, going = set(), True
    for before, name in enumerate(order):
        going = going and (m - before) * p[name] <= 0.05
        rejected |= {name} if going else set()
    assert {name for name in p if found[name] <= 0.05} == rejected


def test_holm_keeps_its_promise() -> None:
    """Of 2,000 studies with nine true null hypotheses that share a control, at most 5 % settle one or more."""
    rng = np.random.default_rng(0)
    settled = 0
    for _ in range(2000):
        differences = rng.normal(size=(9, 5)) - rng.normal(size=5)
        adjusted = intervals.holm({str(arm): intervals.p_value(row) for arm, row in enumerate(differences)})
        settled += min(adjusted.values()) <= 0.05
    assert 0.01 < settled / 2000 <= 0.05
