"""Ways compared side by side: Holm decides what is settled, everything is counted, and the strongest rival is named."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import intervals, wording
from engine.analysis.contests import behind, family, standing, strongest
from engine.analysis.wording import Measure

SHARE = Measure()
NAMES = {name: name for name in "abcd"} | {"random": "random"}
shares = st.integers(-500, 500).map(lambda right: right / 500)  # differences of shares of 500 samples
differences = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.lists(shares, max_size=6).map(lambda values: pd.Series(values, dtype=float)),
    max_size=8,
)


def by_seed(*values: float) -> pd.Series:
    return pd.Series(values, dtype=float)


@given(differences)
def test_holm_decides_and_nothing_is_lost(found: dict[str, pd.Series]) -> None:
    """Every difference with a value is better, worse or unsettled; what Holm settles its own interval would, too."""
    told = family(found)
    assert set(told.over) == {name for name, values in found.items() if len(values)}
    assert sorted([*told.better, *told.worse]) == sorted(told.settled)
    adjusted = intervals.holm({name: intervals.p_value(values) for name, values in found.items() if len(values)})
    assert told.settled == {name for name, p in adjusted.items() if p <= 0.05}
    assert all(told.over[name].known for name in told.settled)  # neither one seed nor a spread of zero settles
    assert all(told.over[name].settled or adjusted[name] == pytest.approx(0.05) for name in told.settled)


@given(differences, st.lists(shares, min_size=2, max_size=6))
def test_company_never_settles_a_difference(found: dict[str, pd.Series], one: list[float]) -> None:
    """A difference that is not settled alone is not settled among others."""
    alone = family({"one": by_seed(*one)})
    together = family(found | {"one": by_seed(*one)})
    assert "one" in alone.settled or "one" not in together.settled


def test_many_equal_ways_rarely_beat_the_baseline() -> None:
    """Protects against fishing: with ten scores no better than random, at most about 5 % of studies settle any."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        values = rng.normal(0, 1, (11, 4))
        wrong += bool(family({str(k): by_seed(*(values[k] - values[10])) for k in range(10)}).settled)
    assert wrong / 600 < 0.075


def test_the_best_of_equal_ways_is_rarely_ahead_of_its_rival() -> None:
    """The best of several equal ways and the next are told apart by their own interval in at most 5 % of studies."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(1000):
        first, second = sorted(rng.normal(0, 1, (6, 4)), key=lambda values: -values.mean())[:2]
        wrong += intervals.interval(first - second).settled
    assert wrong / 1000 < 0.06


def test_a_winner_is_named_with_its_strongest_rival() -> None:
    """The sentence of a win has the rival that is nearest, and counts winners, losers and the unsettled."""
    random = by_seed(0.70, 0.71, 0.72, 0.71)
    values = {
        "random": random,
        "a": random + by_seed(0.10, 0.11, 0.10, 0.11),
        "b": random + by_seed(0.08, 0.13, 0.07, 0.12),
        "c": random - by_seed(0.10, 0.11, 0.10, 0.11),
        "d": random + by_seed(0.05, -0.05, 0.04, -0.05),
    }
    assert standing(values, "random", SHARE, "score", NAMES) == (
        "a beats random by 10.5 points (±0.9, 95 % over 4 seeds); its strongest rival, b, is 0.5 points behind "
        "(±3.8, not settled). Of 4 scores, 2 end above random, 1 ends below, 1 is not settled."
    )
    assert strongest(values, "a") == "b"


def test_no_winner_is_said_with_the_nearest() -> None:
    """With nothing settled above the baseline the nearest is named with what it reached, and all are counted."""
    random = by_seed(0.70, 0.71, 0.72)
    values = {"random": random, "a": random - 0.1, "b": random + by_seed(0.05, -0.04, 0.02)}
    assert standing(values, "random", SHARE, "score", NAMES) == (
        "no score beats random; the nearest is b, +1.0 points (±11.4, 95 % over 3 seeds). "
        "Of 2 scores, 0 end above random, 0 end below, 2 are not settled."
    )


def test_one_way_alone_needs_no_count() -> None:
    """A single comparison is one sentence; a spread of zero and one seed are not settled in it."""
    random = by_seed(0.70, 0.71, 0.72)
    assert standing({"random": random, "a": random + 0.1}, "random", SHARE, "score", NAMES) == (
        "a ends 10.0 points above random (3 seeds, all equal, not settled)."
    )
    one = {"random": by_seed(0.7), "a": by_seed(0.6)}
    assert standing(one, "random", SHARE, "score", NAMES) == "a ends 10.0 points below random (one seed, not settled)."
    assert standing({"a": random}, "random", SHARE, "score", NAMES) == ""
    assert standing({"random": random}, "random", SHARE, "score", NAMES) == ""


def test_a_rival_may_be_ahead() -> None:
    """The strongest rival of a winner over the baseline may be better than it, and then that is said."""
    assert behind(by_seed(-0.10, -0.11, -0.10), SHARE) == "10.3 points ahead (±1.4)"
    assert behind(by_seed(0.1), SHARE) == "10.0 points behind (one seed, not settled)"


def test_the_rule_is_said() -> None:
    """What settles, over how many tests: those that could not be tested are no part of the correction."""
    told = family({"a": by_seed(0.1, 0.2), "b": by_seed(0.1, 0.3), "c": by_seed(0.1, 0.1)})
    assert "Holm's correction over 2 scores." in told.rule("score")
    assert "Holm" not in family({"a": by_seed(0.1, 0.2)}).rule("score")


def test_chance_is_the_largest_class_or_one_of_them() -> None:
    """Counted labels give the largest class; without them every class is as likely; without classes nothing is said."""
    counted = wording.chance({"a": 30, "b": 10}, 2)
    assert counted is not None
    assert (counted.share, counted.phrase()) == (0.75, "75 %, naming the largest class")
    guessed = wording.chance({}, 4)
    assert guessed is not None
    assert guessed.phrase() == "25 %, one of 4 classes"
    assert wording.chance({}) is None
    measure = Measure(chance=counted)
    assert (measure.above(0.8), measure.above(0.7)) == ("5.0 points above chance", "5.0 points below chance")
    assert measure.title == "right on the test set (chance 75 %)"
    assert (Measure(numbers=True, chance=counted).above(0.8), Measure().above(0.8)) == ("", "")


def test_what_an_interval_covers_is_said() -> None:
    """Seeds, or fresh starts; one, or equal ones, have no interval."""
    found = intervals.interval([0.1, 0.2, 0.3])
    assert SHARE.spread(found) == "±24.8, 95 % over 3 seeds"
    assert Measure(unit="fresh start").spread(found) == "±24.8, 95 % over 3 fresh starts"
    assert SHARE.spread(found, brief=True) == "±24.8"
    assert SHARE.spread(intervals.interval([0.1])) == "one seed"
    assert SHARE.spread(intervals.interval([0.1, 0.1])) == "2 seeds, all equal"
    assert math.isnan(intervals.p_value([0.1, 0.1]))
