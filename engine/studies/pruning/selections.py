"""What one arm keeps in one epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng
from engine.config.arms import ArmSettings, BudgetSettings
from engine.pruning.orders import fill_samples, fill_tokens, spread_order, weighted_ranks
from engine.pruning.select import kept_count
from engine.studies.pruning.candidates import Candidates, Scores, filter_names


def order_of(
    arm: ArmSettings, metric: str, candidates: Candidates, seed: int, epoch: int, scores: Scores | None = None
) -> NDArray[np.int64]:
    """The samples that an arm has not left out, best first. `scores` are newer ones than those of the candidates."""
    n, selection = len(candidates.lengths), arm.selection
    left_out = np.zeros(n, dtype=np.bool_)
    for name in filter_names(arm):
        left_out |= candidates.left_out[name]
    weights = selection.weights(metric)
    if "random" in weights:
        order = stream_rng(Stream.RANDOM_SUBSET, seed, epoch).permutation(n)
        return order[~left_out[order]]
    rows = np.flatnonzero(~left_out)
    values = {name: (scores or candidates.rankings)[name][rows] for name in weights}
    # One score alone is not replaced by its ranks: strata are ranges of its values.
    (name, weight), *more = weights.items()
    ranked = weighted_ranks(values, weights) if more or weight < 0 else values[name].astype(np.float64)
    groups = candidates.clusters[rows] if candidates.clusters is not None and selection.spread == "clusters" else None
    return rows[spread_order(ranked, selection.spread, groups=groups, skip_top=selection.skip_top, seed=seed)]


def fill(
    arm: ArmSettings, order: NDArray[np.int64], candidates: Candidates, budget: BudgetSettings
) -> NDArray[np.bool_]:
    """(n,) booleans: the budget filled from the front of an order.

    Raises WinnowError if the filters of the arm have left less than the budget.
    """
    n = len(candidates.lengths)
    if budget.of == "samples":
        asked, left = kept_count(n, budget.fraction), len(order)
    else:
        asked = round(budget.fraction * int(candidates.lengths.sum()))
        left = int(candidates.lengths[order].sum())
    if left < asked:
        raise WinnowError(
            f"The filters of the arm {arm.name} leave {left:,} {budget.of}, and its budget is {asked:,}; lower its "
            "budget, or leave out less."
        )
    if budget.of == "samples":
        return fill_samples(order, asked, n=n)
    return fill_tokens(order, candidates.lengths, asked)
