"""What a selection leaves out before anything is ranked: an exact share of the samples. Duplicates: `duplicates.py`.

Every function returns (n,) booleans, true for what is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.common.random_streams import Stream, stream_rng
from engine.pruning import geometry
from engine.pruning.instruction_scores import by_states
from engine.pruning.select import share_count

LeftOut = NDArray[np.bool_]


def unknown_to_teacher(nll_teacher: NDArray[np.floating], share: float) -> LeftOut:
    """The share of samples (n,) with the highest loss of the teacher on the response; those without a loss first.

    What a good model finds unlikely is often wrong: Mindermann et al. 2022, "Prioritized Training on Points that are
    Learnable, Worth Learning, and Not Yet Learnt". Equal losses are left out at random.
    """
    return _lowest(-nll_teacher, share, 0)


def outliers(states: NDArray[np.floating], share: float, seed: int) -> LeftOut:
    """The share of states (n, d) that an isolation forest isolates first (`geometry.inliers`); missing states before.

    Liu, Ting, Zhou 2008, "Isolation Forest". Equal states are left out at random, by `seed`.
    """
    return _lowest(by_states(lambda known: geometry.inliers(known, seed), states), share, seed)


def _lowest(scores: NDArray[np.floating], share: float, seed: int) -> LeftOut:
    """The lowest `share` of the scores, rounded half up; NaN is below all."""
    n = len(scores)
    ties = stream_rng(Stream.FILTER_TIES, seed).permutation(n)
    left_out = np.zeros(n, np.bool_)
    left_out[np.lexsort((ties, scores, ~np.isnan(scores)))[: share_count(n, share)]] = True
    return left_out
