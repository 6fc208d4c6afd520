"""What a grid of students says: chosen on valid and judged on test, honest about chance, fits that own their miss."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import kd, kd_costs
from engine.analysis.kd import fit, headline, suggested
from engine.analysis.kd_cells import Cells, extended, students
from engine.analysis.wording import Measure, percent
from engine.config.grid import Point
from engine.storage.tables import GRID
from tests.fixtures import sentences
from tests.fixtures.kd_workspace import grid_recipe

SHARE = Measure()
METRICS = pd.DataFrame(
    [("teacher self", "seconds_training", 2.0), ("score el2n", "seconds_scoring", 3.5)],
    columns=["arm", "name", "value"],
).assign(split="")


def cell(weight: float, seed: int, valid: float, accuracy: float, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = point(weight)._asdict() | {
        "run": "r", "cell": "key", "seed": seed, "samples": 10, "flipped": 1, "valid": valid, "accuracy": accuracy,
        "loss": 1.0, "epochs": 1.0, "steps": 5, "seconds": 0.5, "failed": "",
    }  # fmt: skip
    return found | changes


def cells(rows: list[dict[str, Any]], active: bool = False, **recipe: Any) -> Cells:
    asked = {"scores": ("random",), "fractions": (1.0, 0.1), "kd_weights": (0.0, 0.5, 0.9), "seeds": (0, 1)} | recipe
    return Cells(grid_recipe(**asked), pd.DataFrame(rows, columns=GRID.names), active)


AT = ("random", 0.1, "self", 0.0)


def point(weight: float, **changes: Any) -> Point:
    return Point("random", 0.1, weight, "self", 0.0)._replace(**changes)


def test_the_weight_is_chosen_on_valid_and_not_on_test() -> None:
    """Protects honesty: the weight that shines on the test set alone is not the one that is spoken of."""
    rows = [
        cell(w, s, valid, test)
        for w, valid, test in ((0.0, 0.6, 0.60), (0.5, 0.9, 0.70), (0.9, 0.7, 0.99))
        for s in (0, 1)
    ]
    found = cells(rows)
    assert found.best(*AT, with_teacher=True) == 0.5
    assert found.ridge("random", "self", 0.0) == {0.1: 0.5}
    assert "weight is 0.5: +10.0 points" in headline(found, *AT)


def test_weights_are_compared_over_the_seeds_they_share() -> None:
    """Protects a half-finished grid: an easy seed that only one weight has finished does not make it the best."""
    rows = [cell(0.5, 0, 0.80, 0.8), cell(0.9, 0, 0.81, 0.8), cell(0.5, 1, 0.99, 0.8)]
    assert cells(rows, active=True).best(*AT, with_teacher=True) == 0.9


def test_one_weight_of_several_is_no_choice() -> None:
    """Protects a single extra cell from being called the best of its fraction."""
    rows = [cell(0.0, s, 0.8, 0.8) for s in (0, 1)] + [cell(0.5, s, 0.9, 0.9) for s in (0, 1)]
    found = cells(rows)
    assert found.best(*AT, with_teacher=True) is None
    assert found.best(*AT, with_teacher=False) == 0.5
    assert cells(rows, kd_weights=(0.0, 0.5)).best(*AT, with_teacher=True) == 0.5


def test_equal_weights_go_to_the_smaller() -> None:
    """Protects against a teacher that is praised for nothing."""
    rows = [cell(w, s, 0.8, 0.8) for w in (0.0, 0.5, 0.9) for s in (0, 1)]
    found = cells(rows)
    assert found.best(*AT, with_teacher=False) == 0.0
    assert "the held-out samples prefer no teacher; on the test set weight 0.5, the next best, gives" in headline(
        found, *AT
    )


def test_a_gain_within_chance_is_not_settled() -> None:
    """Protects the headline: the paired interval over seeds decides whether it is one."""
    tests = {0.0: (0.80, 0.80), 0.5: (0.70, 0.80), 0.9: (0.79, 0.83)}
    noisy = [cell(w, s, 0.5 + w / 10, right) for w, rights in tests.items() for s, right in enumerate(rights)]
    found = cells(noisy)
    assert headline(found, *AT).endswith(", not settled.")
    assert kd.verdict(found, *AT) == (sentences.NOT_SETTLED, "gray")
    gain = found.gain(point(0.9))
    assert gain.mean == pytest.approx(0.01)
    assert gain.seeds == 2
    assert gain.low < 0 < gain.high
    steady = cells([cell(w, s, 0.5 + w / 10, 0.8 + (1 + s / 50) * w / 10) for w in (0.0, 0.5, 0.9) for s in (0, 1)])
    assert "settled" not in headline(steady, *AT)
    assert kd.verdict(steady, *AT) == ("the teacher helps", "green")


def test_equal_gains_settle_nothing() -> None:
    """Two seeds with the very same gain show no spread to hold it against: no badge, and the headline says why."""
    found = cells([cell(w, s, 0.5 + w / 10, 0.8 + w / 10 + s / 50) for w in (0.0, 0.5, 0.9) for s in (0, 1)])
    assert headline(found, *AT).endswith("+9.0 points over no teacher (2 seeds, all equal), not settled.")
    assert kd.verdict(found, *AT) == (sentences.NOT_SETTLED, "gray")


def test_one_seed_settles_nothing() -> None:
    """Protects against an interval that does not exist."""
    found = cells([cell(w, 0, 0.5 + w / 10, 0.8 + w / 10) for w in (0.0, 0.5, 0.9)], seeds=(0,))
    assert headline(found, *AT).endswith("+9.0 points over no teacher (one seed), not settled.")


def test_without_what_no_teacher_reaches() -> None:
    """Protects a grid whose weight 0 has not come yet: no gain is made up."""
    found = cells([cell(w, s, 0.5 + w, 0.8) for w in (0.5, 0.9) for s in (0, 1)], active=True)
    assert "what no teacher reaches is not known yet" in headline(found, *AT)
    assert headline(cells([]), *AT) == ""


def test_equal_trainings_are_one() -> None:
    """Protects the full-data reference: every score has it where all is kept, and so has every teacher."""
    found = cells(
        [cell(0.0, 0, 0.9, 0.91, fraction=1.0), cell(0.0, 0, 0.9, 0.91, fraction=1.0, score="el2n", teacher="small")],
        scores=("random", "el2n"), teachers=("self", "small"),
    )  # fmt: skip
    assert found.finished == 1
    for score, teacher in (("el2n", "self"), ("random", "small")):
        assert found.accuracy(point(0.0, score=score, fraction=1.0, teacher=teacher)).mean == pytest.approx(0.91)
    assert found.wanted == students(found.recipe)


def test_states_of_a_cell() -> None:
    """Protects the button: what is done, has failed, is coming, or is in no recipe."""
    failed = cell(0.5, 0, math.nan, math.nan, failed="The class 3 is empty.")
    rows = [cell(0.0, 0, 0.8, 0.8), cell(0.0, 1, 0.8, 0.8), failed, cell(0.9, 0, math.nan, math.nan)]
    found = cells(rows, active=True)
    assert [found.state(point(weight)) for weight in (0.0, 0.5, 0.9)] == ["done", "failed", "failed"]
    assert found.failure(point(0.5)) == "The class 3 is empty."
    assert found.failure(point(0.9)) == "This student gave no finite number."
    assert found.failures == 2
    assert found.state(point(0.5, fraction=1.0)) == "coming"
    assert found.state(point(0.5, fraction=0.7)) == "missing"
    assert cells(rows).state(point(0.5, fraction=1.0)) == "missing"


def test_a_recipe_grows_by_one_cell() -> None:
    """Protects the launch: the cell is added as an extra one, and a cell the recipe has is known to be in it."""
    found = cells([])
    new = extended(found.recipe, point(0.5, fraction=0.7))
    assert [extra.model_dump() for extra in new.grid.extra] == [point(0.5, fraction=0.7)._asdict()]
    assert students(new) == students(found.recipe) + len(found.seeds)
    assert found.names(point(0.5))
    assert not found.names(point(0.5, fraction=0.7))


@given(intercept=st.floats(0.0, 1.0), slope=st.floats(-0.3, 0.0), f=st.floats(0.001, 1.0))
def test_a_fit_finds_the_line_it_was_given(intercept: float, slope: float, f: float) -> None:
    """Protects the suggestion: a line in log f comes back as it is, and what is suggested is a weight."""
    fractions = (0.05, 0.1, 0.3, 1.0)
    found = fit({x: intercept + slope * math.log(x) for x in fractions})
    assert found is not None
    assert found.intercept == pytest.approx(intercept, abs=1e-9)
    assert found.slope == pytest.approx(slope, abs=1e-9)
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert 0 <= found.at(f) <= 1
    assert found.at(f) == pytest.approx(min(1.0, max(0.0, intercept + slope * math.log(f))), abs=1e-8)


def test_a_fit_owns_what_it_misses() -> None:
    """Protects the label of the suggestion: its residual by hand, a word beyond what was tried."""
    found = fit({0.1: 0.9, 0.3: 0.5, 1.0: 0.5})
    assert found is not None
    missed = [
        weight - (found.intercept + found.slope * math.log(x)) for x, weight in ((0.1, 0.9), (0.3, 0.5), (1.0, 0.5))
    ]
    assert sum(missed) == pytest.approx(0)
    assert found.residual == pytest.approx(math.sqrt(sum(miss**2 for miss in missed) / 3))
    assert f"{found.residual:.2g}" in suggested(found, 0.2)
    assert "a guess" not in suggested(found, 0.2)
    assert "Nothing below 10 % was tried" in suggested(found, 0.05)
    assert fit({0.1: 0.9, 1.0: 0.3}) is None


def test_random_beside_the_scores() -> None:
    """Protects the second sentence: a score beats random, ends lower, or cannot be told apart, each with a teacher."""

    def grid(el2n: float, spread: float) -> Cells:
        rows = [cell(0.9, s, 0.9, 0.8 + s / 1000) for s in range(3)]
        rows += [cell(0.9, s, 0.9, el2n + spread * (s - 1), score="el2n") for s in range(3)]
        return cells(rows, scores=("random", "el2n"), kd_weights=(0.9,), seeds=(0, 1, 2))

    at = (0.1, "self", 0.0)
    assert "EL2N ends 9.9 points above random (±0.2, 95 % over 3 seeds)." in kd.against_random(grid(0.9, 0.0), *at)
    assert "EL2N ends 10.1 points below random (±0.2" in kd.against_random(grid(0.7, 0.0), *at)
    assert kd.against_random(grid(0.81, 0.2), *at).endswith("95 % over 3 seeds, not settled).")
    assert kd.against_random(grid(0.9, 0.0), 1.0, "self", 0.0) == ""


def test_holm_takes_back_what_fractions_settle_alone() -> None:
    """A gain that is settled alone is not if it is one of four: the badge, the headline and the table agree."""
    gains = {1.0: (0.0, 0.01, -0.01), 0.5: (0.01, -0.01, 0.0), 0.25: (0.0, -0.01, 0.01), 0.1: (0.04, 0.06, 0.05)}
    rows = [cell(0.0, s, 0.5, 0.8 + s / 100, fraction=f) for f in gains for s in range(3)]
    rows += [cell(0.9, s, 0.9, 0.8 + s / 100 + gain, fraction=f) for f in gains for s, gain in enumerate(gains[f])]
    found = cells(rows, fractions=tuple(gains), kd_weights=(0.0, 0.9), seeds=(0, 1, 2))
    alone = cells(rows[9:12] + rows[21:], fractions=(0.1,), kd_weights=(0.0, 0.9), seeds=(0, 1, 2))
    assert found.gain(point(0.9)).settled
    assert kd.verdict(alone, *AT) == ("the teacher helps", "green")
    assert kd.verdict(found, *AT) == (sentences.NOT_SETTLED, "gray")
    assert headline(found, *AT).endswith("+5.0 points over no teacher (±2.5, 95 % over 3 seeds), not settled.")
    table = kd_costs.cost_table(found, kd_costs.arm_facts(METRICS), *AT[:1], "self", 0.0)
    assert table["settled"].tolist() == [False] * 4
    assert "teacher seconds a point" not in table


def test_a_gain_is_said_with_its_strongest_rival() -> None:
    """What was tried beside it at the fraction: other scores with and without a teacher, and other teachers."""
    rows = [cell(w, s, 0.5 + w / 10, 0.7 + w / 10 + s / 200 * w) for w in (0.0, 0.9) for s in range(3)]
    rows += [cell(0.0, s, 0.5, 0.85 + s / 300, score="el2n") for s in range(3)]
    at: dict[str, Any] = {"scores": ("random", "el2n"), "kd_weights": (0.0, 0.9), "seeds": (0, 1, 2)}
    assert "; its strongest rival, EL2N without a teacher, is 5.9 points ahead (±0.3)." in headline(
        cells(rows, **at), *AT
    )
    rows += [cell(0.9, s, 0.5, 0.9, teacher="small") for s in range(3)]
    found = cells(rows, teachers=("self", "small"), **at)
    assert "; its strongest rival, the teacher small, is " in headline(found, *AT)
    assert "rival" not in headline(cells(rows[:6], **at), *AT)


def test_chance_and_time_stand_beside_the_headline() -> None:
    """Above chance, and the seconds of teacher, scoring and student; what is not known is left out."""
    rows = [cell(w, s, 0.5 + w / 10, 0.7 + w / 10 + s / 200, score="el2n") for w in (0.0, 0.9) for s in range(2)]
    rows += [cell(0.0, s, 0.5, 0.9, fraction=1.0, seconds=4.0, samples=100) for s in range(2)]
    at = ("el2n", 0.1, "self", 0.0)
    recipe = grid_recipe(scores=("random", "el2n"), fractions=(1.0, 0.1), kd_weights=(0.0, 0.9), seeds=(0, 1))
    found = Cells(recipe, pd.DataFrame(rows, columns=GRID.names), False, {"a": 3, "b": 1})
    assert kd.figures(found, *at) == (
        "79.2 % right (±3.2, 95 % over 2 seeds), 4.2 points above chance (75 %, naming the largest class)"
    )
    facts = kd_costs.arm_facts(METRICS)
    assert kd_costs.all_told(found, facts, *at) == (
        "10 samples, 6 s in all (teacher 2 s, scoring 3.5 s, student 0.5 s) · "
        "all of the data without a teacher: 90 % right, 100 samples, 4 s"
    )
    assert kd_costs.all_told(found, kd_costs.arm_facts(METRICS[METRICS["arm"] != "score el2n"]), *at) == ""
    assert kd.figures(found, "random", 0.1, "self", 0.0) == ""


def test_the_best_weight_rises_by_seed() -> None:
    """The best weight of each seed at both ends, equal ones of a seed averaged; nothing without two fractions."""
    best = {1.0: (0.0, 0.0, 0.5), 0.1: (0.9, 0.5, 0.9)}
    rows = [
        cell(w, s, 0.9 if w == best[f][s] else 0.5, 0.8, fraction=f)
        for f in best
        for w in (0.0, 0.5, 0.9)
        for s in range(3)
    ]
    found = cells(rows, seeds=(0, 1, 2))
    assert kd.rise(found, "random", "self", 0.0) == (
        "From 100 % to 10 % kept, the best weight changes by +0.60 (±0.66, 95 % over 3 seeds, not settled)."
    )
    assert kd.rise(cells(rows[9:], seeds=(0, 1, 2)), "random", "self", 0.0) == ""
    equal = cells([cell(w, 0, 0.8, 0.8) for w in (0.0, 0.5, 0.9)], seeds=(0,))
    assert equal.best_weights(*AT).tolist() == pytest.approx([1.4 / 3])


def test_words_for_numbers() -> None:
    """Protects the units: shares in percent and points, a regression in R²."""
    numbers = Measure(numbers=True)
    assert (SHARE.right(0.8314), numbers.right(0.8314)) == ("83.1 % right", "R² 0.831")
    assert (SHARE.difference(-0.061), numbers.difference(0.061)) == ("−6.1 points", "+0.061 of R²")
    assert percent(0.025) == "2.5 %"
    found = cells([cell(0.9, s, 0.8, 0.83 + s / 100) for s in (0, 1)])
    assert kd.at_cell(found, point(0.9)).startswith(
        "At 10 % of the data, listen to the teacher 90 %: 83.5 % right (±6.4, 95 % over 2 seeds)"
    )
    assert "chance" not in kd.overlap(("a", "b"), 0, 0, 5, 10)
    assert "keeps 5 too (50 %); two choices made at random would share 1." in kd.overlap(("a", "b"), 5, 5, 5, 100)
    assert kd_costs.relative(100, 100) == ", as large as the student"
    assert kd_costs.relative(370, 100) == ", 3.7 times the student"


def test_the_first_fraction_has_something_to_show() -> None:
    """Protects a page opened early: it begins where weights can be compared."""
    assert cells([], active=True).first_fraction() == 0.1
    rows = [cell(w, 0, 0.9, 0.9, fraction=1.0) for w in (0.0, 0.5, 0.9)]
    assert cells(rows, active=True).first_fraction() == 1.0
