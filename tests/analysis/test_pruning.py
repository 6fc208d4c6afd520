"""The statistics behind every sentence about arms, held against closed forms and against data made to be known."""

from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import pruning
from pages.shared import arm_charts
from tests.fixtures import sentences


def _metrics(perplexity: dict[tuple[str, int], list[float]], tokens: dict[str, int] | None = None) -> pd.DataFrame:
    rows = []
    for (arm, seed), values in perplexity.items():
        for epoch, value in enumerate(values):
            at = {"arm": arm, "seed": seed, "epoch": epoch, "step": 10 * epoch}
            rows += [at | {"split": "valid", "name": "perplexity", "value": value}]
            rows += [at | {"split": "valid", "name": "loss", "value": math.log(value)}]
            if epoch:
                rows += [at | {"split": "train", "name": "loss", "value": math.log(value) - 0.5}]
                cost: dict[str, float] = {"tokens": (tokens or {}).get(arm, 100), "steps": 10, "samples": 40}
                cost |= {"seconds_scoring": 2.0, "seconds_training": 3.0}
                rows += [at | {"split": "", "name": name, "value": float(v)} for name, v in cost.items()]
    return pd.DataFrame(rows)


def _last(perplexity: dict[tuple[str, int], list[float]], tokens: dict[str, int] | None = None) -> pd.DataFrame:
    return pruning.ends(pruning.per_epoch(_metrics(perplexity, tokens)), 2, [0, 1, 2], done=True)


TWO_ARMS = {
    ("dynamic", 0): [9, 6, 4.0],
    ("random", 0): [9, 6, 4.3],
    ("dynamic", 1): [9, 6, 4.2],
    ("random", 1): [9, 6, 4.52],
    ("dynamic", 2): [9, 6, 3.9],
    ("random", 2): [9, 6, 4.18],
}


def test_per_epoch_sums_costs() -> None:
    """Tokens, steps and seconds (scoring included) are summed from the start; train and validation loss stay apart."""
    table = pruning.per_epoch(_metrics(TWO_ARMS)).set_index(["arm", "seed", "epoch"])
    assert list(table.loc["dynamic", 0]["tokens_read"]) == [0, 100, 200]
    assert list(table.loc["dynamic", 0]["seconds"]) == [0, 5, 10]
    assert list(table.loc["dynamic", 0]["steps_taken"]) == [0, 10, 20]
    assert table.loc["dynamic", 0, 1]["gap"] == pytest.approx(-0.5)
    assert math.isnan(table.loc["dynamic", 0, 0]["gap"])


def test_paired_difference_is_settled_where_seeds_agree() -> None:
    """Seeds that move together cancel: a steady difference is settled though the arms overlap."""
    found = pruning.difference(_last(TWO_ARMS), "perplexity", "dynamic", "random")
    assert found.mean == pytest.approx(-0.3)
    assert found.settled
    sentence = pruning.verdict(_last(TWO_ARMS))
    assert sentence == (
        "It ended 0.300 better than the random subset (95 % interval 0.250 to 0.350 over 3 paired seeds "
        "on the same validation samples)."
    )


def test_not_settled() -> None:
    """If seeds disagree about the sign it is not settled, and the interval is named."""
    mixed = TWO_ARMS | {("random", 2): [9, 6, 3.5]}
    sentence = pruning.verdict(_last(mixed))
    assert (
        "better than the random subset, but the 95 % interval over 3 paired seeds on the same validation samples runs "
        "from" in sentence
    )
    assert sentence.endswith("worse: not settled.")


def test_worse() -> None:
    """Dynamic pruning that ends above the random subset in every seed is called worse, not different."""
    worse = {(arm, seed): [9, 6, 4.0 + (arm == "dynamic") * (0.3 + seed / 100)] for arm, seed in TWO_ARMS}
    assert "0.310 worse than the random subset (95" in pruning.verdict(_last(worse))


def test_one_seed_settles_nothing() -> None:
    """One seed gives a difference and the admission that it proves nothing."""
    one = {key: values for key, values in TWO_ARMS.items() if key[1] == 0}
    assert sentences.ONE_SEED in pruning.verdict(_last(one))


def test_equal_differences_settle_nothing() -> None:
    """Seeds that all differ by the same have no spread: no interval, no badge, no finding, and the sentence says so."""
    for shift, said in ((0.25, "0.25 better than"), (0.0, "the same as")):
        same = {(arm, seed): [9, 6, 4.0 + seed / 10 + shift * (arm == "random")] for arm, seed in TWO_ARMS if seed < 2}
        last = _last(same)
        assert pruning.verdict(last) == (
            f"It ended {said} the random subset in each of 2 paired seeds: seeds that do not differ give no interval, "
            "so whether it is more than chance is not settled."
        )
        assert pruning.badge(last) == (sentences.NOT_SETTLED, "gray")
        assert "cannot be distinguished yet" in pruning.brief(last)


def test_missing_arm_makes_no_claim() -> None:
    """Without the random arm there is no verdict against it, and no word of it."""
    alone = {key: values for key, values in TWO_ARMS.items() if key[0] == "dynamic"}
    assert pruning.verdict(_last(alone)) == ""
    assert pruning.ending(_last(alone)) == "Dynamic pruning ended at perplexity 4.03."


def test_training_that_diverged() -> None:
    """An infinite perplexity is named in a sentence, drawn nowhere, and left out of every mean."""
    apart = {key: [9, math.inf, math.inf] if key[0] == "dynamic" else values for key, values in TWO_ARMS.items()}
    table = pruning.per_epoch(_metrics(apart))
    assert "no finite perplexity" in pruning.ending(_last(apart))
    assert pruning.verdict(_last(apart)) == ""
    assert set(pruning.bands(table[table["epoch"] > 0], "perplexity")["arm"]) == {"random"}
    figure = arm_charts.curves(table, "perplexity")
    assert all(math.isfinite(edge) for edge in figure.layout.yaxis.range)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.0, 0.15))
def test_labels_are_moved_apart(places: list[float], gap: float) -> None:
    """Labels keep their order and their distance, and stay in the picture if there is room for all of them."""
    moved = arm_charts.spread(sorted(places), gap, 0.0, 1.0)
    assert all(later - earlier >= gap - 1e-9 for earlier, later in pairwise(moved))
    assert moved[0] >= -1e-9
    assert moved[-1] <= 1 + 1e-9


def test_ending_gives_the_share_of_tokens() -> None:
    """The share of tokens is what dynamic pruning read of what training on everything read."""
    arms = TWO_ARMS | {("full", seed): [9, 5, 3.8] for seed in range(3)}
    last = _last(arms, {"dynamic": 38, "random": 38, "full": 100})
    assert pruning.ending(last) == (
        "Dynamic pruning ended at perplexity 4.03 having read 38 % of the tokens; a random subset of the same size "
        "ended at 4.33 and training on everything at 3.80."
    )
    assert pruning.cost(last).loc["dynamic", "share"] == pytest.approx(0.38)


def test_partial_run_counts_finished_seeds_only() -> None:
    """While a run goes on, a seed that has not reached the last epoch is in no sentence; once done, it is."""
    partial = TWO_ARMS | {("dynamic", 2): [9, 6]}
    table = pruning.per_epoch(_metrics(partial))
    last = pruning.ends(table, 2, [0, 1, 2], done=False)
    assert pruning.finished_seeds(last, [0, 1, 2], ["dynamic", "random"]) == [0, 1]
    assert pruning.difference(last, "perplexity", "dynamic", "random").seeds == 2
    assert len(pruning.ends(table, 2, [0, 1, 2], done=True)) == 6


def test_early_stop_is_an_end_once_the_next_seed_has_begun() -> None:
    """An arm that ran out of samples has ended, which a running run shows by going on with the next seed."""
    early = TWO_ARMS | {("dynamic", 0): [9, 6], ("random", 0): [9, 6]}
    last = pruning.ends(pruning.per_epoch(_metrics(early)), 2, [0, 1, 2], done=False)
    assert pruning.finished_seeds(last, [0, 1, 2], ["dynamic", "random"]) == [0, 1, 2]
    assert pruning.stopped_early(last, 2, done=True) == [1]
    assert pruning.stopped_early(last, 2, done=False) == []
    further = pruning.ends(pruning.per_epoch(_metrics(early | {("full", 0): [9, 5, 4]})), 2, [0, 1, 2], done=False)
    assert pruning.stopped_early(further, 2, done=False) == [1]
    reordered = pruning.ends(pruning.per_epoch(_metrics(early)), 2, [2, 1, 0], done=False)
    assert pruning.finished_seeds(reordered, [2, 1, 0], ["dynamic", "random"]) == [2, 1]


def test_bands_average_over_the_seeds_that_are_there() -> None:
    """A mean over seeds has their number, and its x is the mean of theirs."""
    partial = TWO_ARMS | {("dynamic", 2): [9, 6]}
    found = pruning.bands(pruning.per_epoch(_metrics(partial)), "perplexity", "seconds")
    ended = found[(found["arm"] == "dynamic") & (found["epoch"] == 2)].iloc[0]
    assert (ended["mean"], ended["seeds"], ended["x"]) == (pytest.approx(4.1), 2, 10.0)


@pytest.mark.parametrize(
    ("values", "places"), [([4.31, 4.35], 2), ([0.012], 3), ([0.00034], 5), ([120.0], 2), ([], 2), ([0.0], 2)]
)
def test_decimals(values: list[float], places: int) -> None:
    """Small differences keep two figures; nothing is shown with fewer than two decimals."""
    assert pruning.decimals(values) == places
