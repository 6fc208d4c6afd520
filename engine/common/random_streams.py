"""Random numbers by what they are for: a stream or a range of seeds for each purpose, so that no two share numbers."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Stream(IntEnum):
    """What random numbers are drawn for. Stored results depend on these values."""

    RANDOM_SUBSET = 1
    BATCH_ORDER = 2
    RANDOM_SCORE = 3
    MEMORIZATION_SUBSETS = 4
    K_CENTER = 5
    SELECTION_TIES = 6
    TRUNCATED_WINDOW = 7
    FLIPPED_LABELS = 8
    MASKED_WORDS = 9
    THEORY = 10
    SIMILAR_BATCHES = 11
    INITIALIZATION = 13
    REAL_SAMPLES = 17
    SMALL_SET_ORDER = 19
    SPREAD_ORDER = 29
    FILTER_TIES = 31
    MINHASH = 37
    GRADIENT_PROJECTION = 23
    VALIDATION_PARTS = 41


# First seeds of networks by their role; the students of a grid have the seeds of the recipe.
FIRST_TEACHER_SEED = 10_000  # a student must not start from the very weights of its teacher
FIRST_PROXY_SEED = 20_000
FIRST_SUBSET_SEED = 30_000  # of trainings on random subsets, for memorization
FIRST_ONLINE_TEACHER_SEED = 40_000

# Of students of synthetic sets: those that measure a set are never met while it is distilled.
FIRST_EVAL_SEED = 10_000
FIRST_SNAPSHOT_SEED = 20_000
FIRST_OUTER_SEED = 1_000_003


def stream_rng(stream: Stream, seed: int, *more: int) -> np.random.Generator:
    """The generator of one purpose, of its seed, and of what else tells draws apart, such as the epoch."""
    return np.random.default_rng([seed, *more, stream])


def random_subset(size: int, of: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """A fresh random subset for every (seed, epoch): `of` booleans of which exactly `size` are true."""
    if not 0 <= size <= of:
        raise ValueError(f"cannot draw {size} of {of}")
    kept = np.zeros(of, dtype=bool)
    kept[stream_rng(Stream.RANDOM_SUBSET, seed, epoch).permutation(of)[:size]] = True
    return kept


def outer_seed(seed: int, step: int) -> int:
    """The seed of the student that outer step `step` trains: far from those that measure sets, for any seed."""
    return FIRST_OUTER_SEED * (seed + 1) + step
