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
from pages.shared.arm_styles import BEST, RANDOM


def _metrics(perplexity: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    rows = []
    for (arm, seed), values in perplexity.items():
        for epoch, value in enumerate(values):
            at = {"arm": arm, "seed": seed, "epoch": epoch, "step": 10 * epoch}
            rows += [at | {"split": "valid", "name": "perplexity", "value": value}]
            rows += [at | {"split": "valid", "name": "loss", "value": math.log(value)}]
            if epoch:
                rows += [at | {"split": "train", "name": "loss", "value": math.log(value) - 0.5}]
                cost: dict[str, float] = {"tokens": 100, "steps": 10, "samples": 40}
                cost |= {"seconds_scoring": 2.0, "seconds_training": 3.0}
                rows += [at | {"split": "", "name": name, "value": float(v)} for name, v in cost.items()]
    return pd.DataFrame(rows)


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


def test_training_that_diverged() -> None:
    """An infinite perplexity is drawn nowhere, and left out of every mean."""
    apart = {key: [9, math.inf, math.inf] if key[0] == "dynamic" else values for key, values in TWO_ARMS.items()}
    table = pruning.per_epoch(_metrics(apart))
    assert set(pruning.bands(table[table["epoch"] > 0], "perplexity")["arm"]) == {"random"}
    figure = arm_charts.curves(table, {"dynamic": BEST, "random": RANDOM}, "perplexity")
    assert all(math.isfinite(edge) for edge in figure.layout.yaxis.range)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.0, 0.15))
def test_labels_are_moved_apart(places: list[float], gap: float) -> None:
    """Labels keep their order and their distance, and stay in the picture if there is room for all of them."""
    moved = arm_charts.spread(sorted(places), gap, 0.0, 1.0)
    assert all(later - earlier >= gap - 1e-9 for earlier, later in pairwise(moved))
    assert moved[0] >= -1e-9
    assert moved[-1] <= 1 + 1e-9


def test_partial_run_counts_finished_seeds_only() -> None:
    """While a run goes on, a seed that has not reached the last epoch is in no sentence; once done, it is."""
    partial = TWO_ARMS | {("dynamic", 2): [9, 6]}
    table = pruning.per_epoch(_metrics(partial))
    last = pruning.ends(table, 2, [0, 1, 2], done=False)
    assert pruning.finished_seeds(last, [0, 1, 2], ["dynamic", "random"]) == [0, 1]
    assert sorted(last["seed"]) == [0, 0, 1, 1, 2]
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
