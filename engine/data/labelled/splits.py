"""Holding out rows for validation and testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hold_out(groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """Which `count` of n rows (n,) are held out, drawn at random by `seed`.

    `groups` (n,) is the class of each row, or all the same. Each group gives its share of `count` to within one row,
    but never its last row: if that leaves too few, fewer are held out.
    """
    rng = np.random.default_rng(seed % 2**64)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    most = sizes - 1
    share = count * sizes / max(len(groups), 1)
    counts = np.minimum(np.floor(share).astype(np.int64), most)
    order = np.lexsort((rng.permutation(len(sizes)), counts - share))  # the largest remainders first, ties at random
    while (left := min(count, int(most.sum())) - int(counts.sum())) > 0:
        counts[order[counts[order] < most[order]][:left]] += 1
    shuffled = rng.permutation(len(groups))
    shuffled = shuffled[np.argsort(group[shuffled], kind="stable")]  # by group, at random within each
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held = np.zeros(len(groups), dtype=np.bool_)
    held[shuffled] = rank < np.repeat(counts, sizes)
    return held
