"""Memorization: how much better networks that trained on a sample predict its label than those that did not.

Feldman, Zhang 2020, "What Neural Networks Memorize and Why": networks are trained on random subsets, and for every
sample those that contain it are compared with those that do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng


def subsets(n: int, count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """(count, n) memberships; each row is a random subset of exactly round(share n) of the n samples.

    Every sample is at least once inside and at least once outside. The samples to be left out are taken from a
    random permutation of all, and another permutation is drawn only when it is used up, so two samples differ by at
    most one in how often they are left out. The subsets suffice if the inside and the outside of all of them have n
    members each: for count >= 4 at every share from 0.3 to 0.69. Each subset alone is uniformly random; together they
    are more even than the independent ones of the paper, which at 20 subsets of 70 % leave 0.08 % of the samples
    without a comparison.

    Raises WinnowError if the sizes make it impossible.
    """
    inside = round(share * n)
    outside = n - inside
    if count * inside < n or count * outside < n:
        raise WinnowError(
            f"{count} subsets of {inside} out of {n} samples cannot have each sample once inside and once outside; "
            "take more subsets, or a share nearer to a half."
        )
    rng = stream_rng(Stream.MEMORIZATION_SUBSETS, seed)
    member = np.ones((count, n), np.bool_)
    queue = np.empty(0, np.int64)  # of samples to be left out
    for row in member:
        if len(queue) < outside:
            permutation = rng.permutation(n)
            # No sample twice in one subset: those still in the queue come last of the new permutation.
            queued = np.isin(permutation, queue)
            queue = np.concatenate([queue, permutation[~queued], permutation[queued]])
        row[queue[:outside]] = False
        queue = queue[outside:]
    return member


def memorization(label_prob: NDArray[np.floating], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean probability of the label under networks trained with the sample, minus that without it; high = keep.

    `label_prob` and `member` (M, n), of M networks after training; returns (n,) in [-1, 1]. The paper counts right
    predictions; probabilities are their smooth form and need fewer networks. For numbers pass minus the error instead.
    Raises ValueError if a sample is in every subset or in none.
    """
    inside = member.sum(0)
    outside = len(member) - inside
    if not (inside.all() and outside.all()):
        raise ValueError("some sample is in every subset or in none, so there is nothing to compare")
    values = np.asarray(label_prob, np.float64)
    with_it = np.where(member, values, 0).sum(0) / inside
    without_it = np.where(member, 0, values).sum(0) / outside
    difference: NDArray[np.float64] = with_it - without_it
    return difference
