"""Keeping rows apart for validation and testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hold_out(groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """Which `count` of n rows (n,) are kept apart, drawn at random by `seed`.

    `groups` (n,) is the class of each row, or all the same. Each group gives its share of `count` to within one row,
    but never its last row: where that leaves too few, fewer are kept apart.
    """
    rng = np.random.default_rng(seed % 2**64)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    most = sizes - 1
    share = count * sizes / max(len(groups), 1)
    taken = np.minimum(np.floor(share).astype(np.int64), most)
    turn = np.lexsort((rng.permutation(len(sizes)), taken - share))  # the largest remainders first, ties at random
    while (left := min(count, int(most.sum())) - int(taken.sum())) > 0:
        taken[turn[taken[turn] < most[turn]][:left]] += 1
    shuffled = rng.permutation(len(groups))
    shuffled = shuffled[np.argsort(group[shuffled], kind="stable")]  # by group, at random within each
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held = np.zeros(len(groups), dtype=np.bool_)
    held[shuffled] = rank < np.repeat(taken, sizes)
    return held
