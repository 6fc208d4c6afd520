"""Random numbers by what they are for: one named stream for each purpose, so that no two purposes share numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_subset(size: int, of: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """A fresh random subset for every (seed, epoch): `of` booleans of which exactly `size` are true."""
    if not 0 <= size <= of:
        raise ValueError(f"cannot draw {size} of {of}")
    chosen = np.zeros(of, dtype=bool)
    chosen[np.random.default_rng([seed, epoch, 1]).permutation(of)[:size]] = True
    return chosen
