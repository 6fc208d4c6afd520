"""From scores to an order of all samples, and from an order to a selection of a budget in samples or tokens.

An order is best first, and each of its prefixes is a selection, so one order serves every budget. Samples that were
left out before are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from engine.common.choices import Spread
from engine.common.random_streams import Stream, stream_rng
from engine.pruning.select import share_count, stratum_of

Order = NDArray[np.int64]
Kept = NDArray[np.bool_]


def weighted_ranks(scores: Mapping[str, NDArray[np.floating]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """(n,) float64, high = keep: the weighted sum of the ranks of the scores (n,) that `weights` names.

    A rank is scaled to [0, 1]: 0 the lowest, 1 the highest, equal scores their average. Ranks and not values are summed
    because scores have different units. A negative weight prefers low scores. A sample that lacks one of the scores
    (NaN) has none; the others are ranked without it.

    Raises ValueError if nothing is weighted, a score is missing, or a weight is zero or not finite.
    """
    if not weights:
        raise ValueError("there is no score to rank by")
    for name, weight in weights.items():
        if name not in scores:
            raise ValueError(f"there is no score {name!r}")
        if not weight or not math.isfinite(weight):
            raise ValueError(f"the weight of {name!r} must be a number other than zero")
    total: NDArray[np.float64] = np.sum([weight * _scaled_ranks(scores[name]) for name, weight in weights.items()], 0)
    return total


def spread_order(
    scores: NDArray[np.floating],
    spread: Spread,
    *,
    groups: NDArray[np.integer] | None = None,
    skip_top: float = 0.0,
    seed: int = 0,
) -> Order:
    """(n,) the rows of all samples, best first, from scores (n,), high = keep.

    - "top": the highest scores first.
    - "window": the same, but the share `skip_top` of all samples at the very top comes last, its highest at the end.
    - "strata": after the same share is skipped, the range of the other scores is cut into 50 strata of equal width,
      which take turns, those with fewest samples first, each at random. A prefix holds equally many of every stratum
      that has them, as in Zheng et al. 2023, "Coverage-centric Coreset Selection for High Pruning Rates", algorithm 1.
      Infinite scores are in the outermost strata.
    - "clusters": the `groups` (n,) take turns in random order, each with its highest scores first.

    Equal scores are ordered at random by `seed`, never by row. NaN comes last, after what was skipped.

    Raises ValueError if there is no such spread, `groups` is missing, or `skip_top` is not in [0, 1) or would be
    ignored.
    """
    if spread not in get_args(Spread):
        raise ValueError(f"there is no spread {spread!r}")
    if spread == "clusters" and groups is None:
        raise ValueError("the spread clusters needs groups")
    if skip_top and spread not in ("window", "strata"):
        raise ValueError(f"skip_top belongs to window and strata, not to {spread}")
    if not 0 <= skip_top < 1:
        raise ValueError(f"skip_top is {skip_top}, not in [0, 1)")
    n = len(scores)
    rng = stream_rng(Stream.SPREAD_ORDER, seed)
    order = np.lexsort((rng.permutation(n), -scores))  # best first; NaN sorts last
    ranked, missing = np.split(order, [n - np.isnan(scores).sum()])
    skipped, ranked = np.split(ranked, [share_count(n, skip_top)])
    if spread == "strata":
        ranked = rng.permutation(ranked)
        ranked = _in_turns(ranked, stratum_of(scores[ranked]), rng, smallest_first=True)
    elif groups is not None and spread == "clusters":
        ranked = _in_turns(ranked, groups[ranked], rng, smallest_first=False)
    return np.concatenate([ranked, skipped[::-1], missing])


def fill_samples(order: Order, count: int, *, n: int) -> Kept:
    """(n,) booleans, exactly `count` of them true: the first of `order`, whose rows are some of `n`.

    Raises ValueError if the order has fewer.
    """
    if not 0 <= count <= len(order):
        raise ValueError(f"cannot keep {count} of {len(order)} samples")
    kept = np.zeros(n, np.bool_)
    kept[order[:count]] = True
    return kept


def fill_tokens(order: Order, lengths: NDArray[np.integer], budget: int) -> Kept:
    """(n,) booleans: down the `order`, every sample that still fits is kept. `budget` and `lengths` (n,) in tokens.

    The kept have at most `budget` tokens together, and no other sample of the order would still fit. The order may have
    some of the n samples only.

    Raises ValueError if no sample fits.
    """
    kept = np.zeros(len(lengths), np.bool_)
    left = budget
    for row, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        if length <= left:
            kept[row] = True
            left -= length
    if not kept.any():
        raise ValueError(f"no sample fits into {budget} tokens")
    return kept


def _scaled_ranks(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) average ranks in [0, 1]; NaN stays, and the others are ranked among themselves."""
    known = ~np.isnan(scores)
    _, place, counts = np.unique(scores[known], return_inverse=True, return_counts=True)
    ranks = np.full(len(scores), np.nan)
    # Ranks from 0; the average of `counts` equal ones that end at the cumulated count.
    ranks[known] = (counts.cumsum() - (counts + 1) / 2)[place] / max(known.sum() - 1, 1)
    return ranks


def _in_turns(rows: Order, labels: NDArray[np.integer], rng: np.random.Generator, *, smallest_first: bool) -> Order:
    """`rows` reordered so that groups of equal `labels` give one row each in every round, as long as they have any."""
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_group = np.argsort(group, kind="stable")
    turn = np.empty(len(rows), np.int64)
    turn[by_group] = np.arange(len(rows)) - np.repeat(sizes.cumsum() - sizes, sizes)
    chance = rng.permutation(len(sizes))
    return rows[np.lexsort((chance[group], sizes[group], turn) if smallest_first else (chance[group], turn))]
