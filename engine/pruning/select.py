"""From a score to a selection: which samples a fraction keeps. High scores are kept, and the size is always exact.

The rules use nothing but the score, so every score goes with every rule.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from engine.common.choices import SelectionRule
from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng

Labels = NDArray[np.integer]
Kept = NDArray[np.bool_]

STRATA = 50  # Zheng et al. 2023


def kept_count(n: int, fraction: float) -> int:
    """How many of `n` samples a fraction keeps: f n rounded half up, and at least one."""
    return max(1, share_count(n, fraction))


def share_count(n: int, share: float) -> int:
    """How many of `n` samples a share is, rounded half up."""
    # In decimals, as a person wrote it: 0.145 of 100 is 14.5, and the product of floats is a little less.
    return int((Decimal(str(float(share))) * n).quantize(Decimal(1), ROUND_HALF_UP))


def stratum_of(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(n,) the stratum of each score, 0 to 49: the range of the finite ones is cut into 50 of equal width.

    Infinite scores are in the outermost; there must be no NaN.
    """
    values = scores.astype(np.float64)
    finite = values[np.isfinite(values)]
    # Edges 0 to 1 if there is no range to cut.
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    return np.searchsorted(np.linspace(low, high, STRATA + 1)[1:-1], values, side="right")


def select(
    scores: NDArray[np.floating],
    fraction: float,
    rule: SelectionRule = "top",
    labels: Labels | None = None,
    skip_hardest: float = 0.0,
    seed: int = 0,
) -> Kept:
    """(n,) booleans, exactly kept_count(n, fraction) of them true, from scores (n,). NaN ranks last.

    - "top": the highest scores.
    - "window": the highest but for a share `skip_hardest` of all samples at the very top, which is left out.
    - "strata": the same share is left out, the range of the remaining scores is cut into 50 strata of equal width,
      and equally many random samples are kept of each; what a stratum lacks is taken from the larger ones (Zheng et
      al. 2023, "Coverage-centric Coreset Selection for High Pruning Rates", algorithm 1).
    - "quota": the highest of each class of `labels` (n,), in proportion to the class sizes.

    Equal scores are ordered at random by `seed`, never by row: data sets are often sorted by class. Raises WinnowError
    if too few samples are left after the hardest are skipped.
    """
    if rule not in get_args(SelectionRule):
        raise ValueError(f"there is no rule {rule!r}")
    if skip_hardest and rule not in ("window", "strata"):
        raise ValueError(f"skip_hardest belongs to window and strata, not to {rule}")
    n = len(scores)
    count = kept_count(n, fraction)
    rng = stream_rng(Stream.SELECTION_TIES, seed)
    order = np.lexsort((rng.permutation(n), -scores))  # best first; NaN sorts last
    kept = np.zeros(n, np.bool_)
    if rule == "quota":
        if labels is None:
            raise ValueError("a quota per class needs labels")
        kept[_by_quota(order, labels, count)] = True
        return kept
    left = order[share_count(n, skip_hardest) :]
    if len(left) < count:
        raise WinnowError(
            f"A fraction of {fraction:g} keeps {count:,} of {n:,} samples, but skip_hardest = {skip_hardest:g} leaves "
            f"only {len(left):,}; lower one of them."
        )
    kept[_by_strata(left, scores, count, rng) if rule == "strata" else left[:count]] = True
    return kept


def emptied_classes(kept: Kept, labels: Labels, classes: int) -> list[int]:
    """Classes among 0 to `classes` - 1 that have samples, none of which is kept."""
    before, after = np.bincount(labels, minlength=classes), np.bincount(labels[kept], minlength=classes)
    return np.flatnonzero((before > 0) & (after == 0)).tolist()


def _by_strata(
    left: NDArray[np.int64], scores: NDArray[np.floating], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows selected from `left` (best first), the smallest strata first."""
    finite = left[np.isfinite(scores[left])]
    # NaN is in no stratum; such samples are kept only if the others are too few.
    selected = [left[~np.isfinite(scores[left])][: max(0, count - len(finite))]]
    budget = count - len(selected[0])
    stratum = stratum_of(scores[finite])
    strata = sorted((finite[stratum == i] for i in np.unique(stratum)), key=len)
    for i, rows in enumerate(strata):
        share = min(len(rows), budget // (len(strata) - i))
        selected.append(rng.permutation(rows)[:share])
        budget -= share
    return np.concatenate(selected)


def _by_quota(order: NDArray[np.int64], labels: Labels, count: int) -> NDArray[np.int64]:
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = _quotas(sizes, count)
    in_order = labels[order]
    return np.concatenate([order[in_order == label][:quota] for label, quota in zip(classes, quotas, strict=True)])


def _quotas(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` shared out in proportion to `sizes` by largest remainders; if it suffices, at least one for each."""
    quotas, remainders = np.divmod(count * sizes, sizes.sum())
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    if count >= len(sizes):
        for empty in np.flatnonzero(quotas == 0):
            # The class with most beyond its exact share gives one away; in units of 1 / n, so nothing is rounded.
            beyond = np.where(quotas > 1, quotas * sizes.sum() - count * sizes, np.iinfo(np.int64).min)
            quotas[beyond.argmax()] -= 1
            quotas[empty] = 1
    return quotas
