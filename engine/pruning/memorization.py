"""Memorization: how much better a sample is known by networks that trained on it than by those that did not.

Feldman, Zhang 2020, "What Neural Networks Memorize and Why": networks are trained on random
subsets, and every sample compares those that contain it with those that do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng


def subsets(n: int, count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """(count, n) memberships; each row is a random subset of exactly round(share n) of the n samples.

    Every sample is at least once inside and at least once outside. The samples to be left out are dealt from a
    shuffled deck that holds each sample once, and a new deck is opened only where the old one is used up, so two
    samples differ by at most one in how often they are left out. Enough are dealt where the inside and the outside of
    all subsets have n places each: for count >= 4 at every share from 0.3 to 0.69. Each subset alone is uniformly
    random; together they are more even than the independent ones of the paper, which at 20 subsets of 70 % leave
    0.08 % of the samples without a comparison.

    Raises WinnowError where the sizes make it impossible.
    """
    inside = round(share * n)
    outside = n - inside
    if count * inside < n or count * outside < n:
        raise WinnowError(
            f"{count} subsets of {inside} out of {n} samples cannot have each sample once inside and once outside; "
            "take more subsets, or a share nearer to a half."
        )
    random = stream_rng(Stream.MEMORIZATION_SUBSETS, seed)
    member = np.ones((count, n), np.bool_)
    deck = np.empty(0, np.int64)
    for row in member:
        if len(deck) < outside:
            opened = random.permutation(n)
            # No sample twice in one subset: those still in the old deck wait until the end of the new one.
            waits = np.isin(opened, deck)
            deck = np.concatenate([deck, opened[~waits], opened[waits]])
        row[deck[:outside]] = False
        deck = deck[outside:]
    return member


def memorization(label_prob: NDArray[np.floating], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean probability of the label under networks trained with the sample, minus that without it; high = keep.

    `label_prob` and `member` (M, n), of M networks after training; the answer (n,) in [-1, 1]. The paper counts right
    answers; probabilities are their smooth form and need fewer networks. For numbers give minus the error instead.
    Raises ValueError where a sample is in every subset or in none.
    """
    inside = member.sum(0)
    outside = len(member) - inside
    if not (inside.all() and outside.all()):
        raise ValueError("some sample is in every subset or in none, so there is nothing to compare")
    values = np.asarray(label_prob, np.float64)
    with_it = np.where(member, values, 0).sum(0) / inside
    without_it = np.where(member, 0, values).sum(0) / outside
    return with_it - without_it
