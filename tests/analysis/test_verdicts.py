"""The verdict on every way to choose, held against frames whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from engine.analysis import verdicts
from engine.analysis.intervals import holm, interval, p_value
from engine.analysis.verdicts import ArmFacts

ARMS = [ArmFacts("random", "random"), ArmFacts("full", "everything"), ArmFacts("oracle", "oracle")]
NOISE = [0.01, -0.02, 0.03, 0.0, -0.01]
BUDGETS = 6  # epochs of random's curve; the recipe's epochs are 3


def _rows(arm: str, seed: int, tokens: Sequence[float], losses: Sequence[float], rate: float = 1.0) -> list[dict]:
    """Epochs of an arm; a token takes `rate` seconds and 6 times as many floating-point operations."""
    return [
        {"arm": arm, "seed": seed, "epoch": epoch + 1, "tokens_read": of, "seconds": rate * of, "flops": 6 * rate * of}
        | {"loss_report": loss, "loss_pick": loss}
        for epoch, (of, loss) in enumerate(zip(tokens, losses, strict=True))
    ]


def _random(seed: int) -> list[dict]:
    """100 tokens an epoch; the loss falls by 1 whenever the tokens double."""
    tokens = [100.0 * (epoch + 1) for epoch in range(BUDGETS)]
    return _rows("random", seed, tokens, [4 - math.log2(of / 100) + NOISE[seed] for of in tokens])


def _study(
    shifts: Mapping[str, Sequence[float]], tokens: float = 300.0, rate: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Final rows and random's curve; `shifts`: loss of each arm minus random's at `tokens`, by seed."""
    curve = pd.DataFrame([row for seed in range(5) for row in _random(seed)])
    rows = curve[curve["epoch"] == 3].to_dict("records")
    for arm, by_seed in shifts.items():
        for seed, shift in enumerate(by_seed):
            rows += _rows(arm, seed, [tokens], [4 - math.log2(tokens / 100) + NOISE[seed] + shift], rate)
    return pd.DataFrame(rows), curve


def _table(shifts: Mapping[str, Sequence[float]], tokens: float = 300.0, rate: float = 1.0) -> pd.DataFrame:
    choices = [ArmFacts(name, "choice") for name in shifts if name not in ("full", "oracle")]
    return verdicts.verdicts(*_study(shifts, tokens, rate), [*ARMS, *choices]).set_index("arm")


BETTER = [-0.10, -0.12, -0.11, -0.10, -0.12]
MIXED = [-0.2, 0.2, 0.1, -0.15, -0.01]
WORSE = [0.3, 0.31, 0.32, 0.3, 0.29]


def test_differences_and_holm() -> None:
    """Differences are paired within seeds, and p-values are corrected over the arms that choose alone."""
    table = _table({"good": BETTER, "odd": MIXED, "bad": WORSE, "full": WORSE, "oracle": BETTER})
    assert list(table.index) == ["good", "odd", "bad"]
    assert list(table["difference"]) == pytest.approx([np.mean(BETTER), np.mean(MIXED), np.mean(WORSE)])
    p = {"good": p_value(BETTER), "odd": p_value(MIXED), "bad": p_value(WORSE)}
    assert dict(table["p"]) == pytest.approx(p)
    assert dict(table["p_holm"]) == pytest.approx(holm(p))
    assert list(table["settled"]) == [True, False, True]
    assert list(table["seeds"]) == [5, 5, 5]


def test_multiplier_of_tokens_and_net() -> None:
    """Random's curve doubles its tokens for each nat, read in straight lines; slower tokens count against the net."""
    shift = [-(math.log2(4) - math.log2(3))] * 5  # what random reaches at 400 tokens
    row = _table({"good": shift}, rate=2.0).loc["good"]
    assert row["multiplier"] == pytest.approx(4 / 3)
    assert row["net"] == pytest.approx(2 / 3)
    assert row["net_flops"] == pytest.approx(2 / 3)
    assert (row["bound"], row["net_bound"], row["net_flops_bound"]) == ("", "", "")
    assert pd.isna(row["low"])  # the same in each seed
    assert pd.isna(row["p"])
    assert not row["settled"]


def test_multiplier_interval_is_of_paired_logarithms() -> None:
    """Each seed's arm is read off that seed's own curve."""
    tokens = [400.0, 500.0, 400.0, 600.0, 500.0]
    row = _table({"good": [math.log2(3 / (of / 100)) for of in tokens]}).loc["good"]
    found = interval([math.log(of / 300) for of in tokens])
    assert [row["multiplier"], row["low"], row["high"]] == pytest.approx(
        [math.exp(found.mean), math.exp(found.low), math.exp(found.high)]
    )


def test_beyond_the_curve_is_a_bound() -> None:
    """An arm better than all of random's curve is worth more than its end, one worse than its start less than that."""
    table = _table({"good": [-2.0, -2.1, -2.2, -2.0, -2.1], "bad": [3.0, 3.1, 3.2, 3.0, 3.1]})
    assert (table.loc["good", "multiplier"], table.loc["good", "bound"]) == (pytest.approx(2), "more")
    assert (table.loc["bad", "multiplier"], table.loc["bad", "bound"]) == (pytest.approx(1 / 3), "less")


def test_other_tokens_are_compared_on_the_curve() -> None:
    """An arm that read other tokens than random is held against random's curve at its own tokens."""
    last, curve = _study({"long": BETTER}, tokens=400.0)
    found = verdicts.against_random(last, curve, "long", "random", "loss_report")
    assert list(found) == pytest.approx(BETTER)


def test_tokens_within_a_hundredth_are_the_same() -> None:
    """Batches end where samples end: random's own final loss is used, and no curve is needed."""
    last, curve = _study({"near": [0.0] * 5}, tokens=302.0)
    found = verdicts.against_random(last, curve.iloc[:0], "near", "random", "loss_report")
    assert list(found) == pytest.approx([-math.log2(3.02 / 3)] * 5)


def test_tokens_beyond_the_curve_are_not_compared() -> None:
    """An arm that read more than random's curve covers has no difference, no p, and is never settled."""
    row = _table({"long": BETTER}, tokens=700.0).loc["long"]
    assert pd.isna(row["difference"])
    assert pd.isna(row["p_holm"])
    assert not row["settled"]
    assert row["rival"] == ""


def test_a_training_that_diverged_is_not_left_out() -> None:
    """One seed without a finite loss: the difference is not tested on the others alone, the multiplier is a bound."""
    for broken in (math.nan, math.inf):
        row = _table({"good": [*BETTER[:4], broken]}).loc["good"]
        assert pd.isna(row["p"])
        assert not row["settled"]
        assert row["bound"] == "less"
        assert row["seeds"] == 5


def test_rival_is_the_strongest_other_within_the_tokens() -> None:
    """Oracle and everything are no rivals; an arm that read more is none either; random is, if nothing is stronger."""
    table = _table({"good": BETTER, "odd": MIXED, "bad": WORSE, "full": [-1.0] * 5, "oracle": [-2.0] * 5})
    assert dict(table["rival"]) == {"good": "odd", "odd": "good", "bad": "good"}
    assert table.loc["good", "rival_loss"] == pytest.approx(table.loc["odd", "loss"])
    last, curve = _study({"good": BETTER})
    more, _ = _study({"more": [-1.0] * 5}, tokens=400.0)
    arms = [*ARMS, ArmFacts("good", "choice"), ArmFacts("more", "choice")]
    both = pd.concat([last, more[more["arm"] == "more"]])
    found = verdicts.verdicts(both, curve, arms).set_index("arm")
    assert dict(found["rival"]) == {"good": "random", "more": "random"}


def test_a_second_random_arm_can_be_the_rival() -> None:
    """Random arms other than the one with the curve have no row of their own and may be the strongest rival."""
    last, curve = _study({"good": BETTER, "random_samples": [-0.05] * 5})
    arms = [*ARMS, ArmFacts("random_samples", "random"), ArmFacts("good", "choice")]
    table = verdicts.verdicts(last, curve, arms)
    assert list(table["arm"]) == ["good"]
    assert table.loc[0, "rival"] == "random_samples"


def test_an_arm_without_rows_yet() -> None:
    """An arm that has not ended has a row that claims nothing and makes nothing harder for the others."""
    last, curve = _study({"good": BETTER})
    arms = [*ARMS, ArmFacts("good", "choice"), ArmFacts("later", "choice")]
    table = verdicts.verdicts(last, curve, arms).set_index("arm")
    assert table.loc["later", "seeds"] == 0
    assert table["multiplier"].isna().to_dict() == {"good": False, "later": True}
    assert not table.loc["later", "settled"]
    assert table.loc["good", "p_holm"] == table.loc["good", "p"]


def test_no_arm_that_chooses() -> None:
    """Without arms that choose, or without a random one, there is a table of the same columns and no sentence."""
    last, curve = _study({"good": BETTER})
    none = verdicts.verdicts(last, curve, ARMS)
    alone = verdicts.verdicts(last, curve, [ArmFacts("good", "choice")])
    assert list(none) == list(alone) == verdicts.COLUMNS
    assert verdicts.headline(none) == verdicts.headline(alone) == ""


def _headline(shifts: Mapping[str, Sequence[float]]) -> str:
    return verdicts.headline(_table(shifts).reset_index())


def test_headline_of_a_win_names_the_rival_and_counts_all() -> None:
    """One sentence has the win, its rival, gross and net and what the interval covers; the next counts the others."""
    assert _headline({"good": BETTER, "odd": MIXED, "bad": WORSE}) == (
        "good ended 0.11 lower in loss than random, and its strongest rival, odd, 0.012 lower; compute multiplier 1.08 "
        "times (1.07 to 1.09); 1.1 net of choosing (95 % over 5 paired seeds). 1 of 3 selections is better than random "
        "after Holm's correction, 1 is worse, 1 is not settled."
    )


def test_headline_if_nothing_wins() -> None:
    """Nothing settled, or all worse: random is as good, and it says how far that is known."""
    said = _headline({"odd": MIXED, "bad": WORSE})
    assert said.startswith(
        "As far as 5 paired seeds can tell, random is as good: odd ended 0.012 lower in loss than random, its "
        "strongest rival (p 0.88). "
    )
    assert said.endswith(
        "None of 2 selections is better than random after Holm's correction, 1 is worse, 1 is not settled."
    )
    assert "random is as good: bad ended 0.30 higher in loss" in _headline({"bad": WORSE})
    assert "only selection compared, and worse than random." in _headline({"bad": WORSE})


def test_headline_of_one_seed() -> None:
    """One seed settles nothing, however large the difference."""
    said = _headline({"good": [-0.5], "odd": [-0.1]})
    assert said == (
        "One seed settles nothing: good ended 0.50 lower in loss than random, and its strongest rival, odd, 0.10 "
        "lower. None of 2 selections is better than random after Holm's correction, none is worse, 2 are not settled."
    )


def test_headline_of_seeds_that_do_not_differ() -> None:
    """A spread of zero settles nothing."""
    last, curve = _study({"good": [0.0] * 5})
    last["loss_report"] = np.where(last["arm"] == "good", 2.0, 2.25)
    table = verdicts.verdicts(last, curve, [*ARMS, ArmFacts("good", "choice")])
    assert "random is as good: good ended 0.25 lower in loss than random, its strongest rival (not testable)" in (
        verdicts.headline(table)
    )


def test_headline_of_a_short_curve() -> None:
    """A win without three budgets of random says that its multiplier was not measured."""
    last, curve = _study({"good": BETTER})
    table = verdicts.verdicts(last, curve[curve["epoch"] > 4], [*ARMS, ArmFacts("good", "choice")])
    assert "compute multiplier not measured; not measured net of choosing" in verdicts.headline(table)


def test_place_between_random_and_oracle() -> None:
    """Random is 0 and the oracle 1; an oracle that is not settled to be better gives no place."""
    table = _table({"good": BETTER, "bad": WORSE}).reset_index()
    oracle = interval([-0.4, -0.45, -0.44, -0.42, -0.49])
    assert dict(verdicts.place(table, oracle)) == pytest.approx({"good": 0.11 / 0.44, "bad": -np.mean(WORSE) / 0.44})
    for useless in (interval(MIXED), interval(WORSE), interval([-1.0])):
        assert verdicts.place(table, useless).isna().all()
