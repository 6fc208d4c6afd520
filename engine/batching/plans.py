"""Which samples are read together: rounds for scoring, batches of an epoch for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.common.random_streams import Stream, stream_rng

SORT_POOL = 16  # batches whose samples are sorted by length together: less padding, and still a random order


def plan_rounds(lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[list[list[int]]]:
    """Every index of `lengths` once, as rounds of batches, longest samples first.

    A batch is run through the models together: samples x longest <= token_budget, or one longer sample alone. A round
    is run through the LM heads together: consecutive batches of at most token_budget real tokens, or one batch. Batches
    are cut so that padding costs least, if a batch costs as much as `batch_cost` tokens before its first one.
    Longest first, so that memory runs out at once or never.
    """
    rounds: list[list[list[int]]] = []
    room = 0
    for batch in _cheapest_batches(lengths, token_budget, batch_cost):
        tokens = sum(lengths[i] for i in batch)
        if tokens > room:
            rounds.append([])
            room = token_budget
        rounds[-1].append(batch)
        room -= tokens
    return rounds


def _cheapest_batches(lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[list[int]]:
    """The cut of the samples, sorted by length, with the least padded tokens + batch_cost x batches (exact)."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cost = np.full(len(order) + 1, np.inf)  # cost[j]: of the first j samples
    cost[0] = 0
    start_of = np.zeros(len(order) + 1, dtype=np.int64)  # where the last batch of the first j samples starts
    for start, index in enumerate(order):
        most = max(1, token_budget // lengths[index])
        ends = slice(start + 1, start + 1 + most)
        through = cost[start] + batch_cost + lengths[index] * np.arange(1, len(cost[ends]) + 1)
        start_of[ends] = np.where(through < cost[ends], start, start_of[ends])
        cost[ends] = np.minimum(through, cost[ends])
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[start_of[end] : end])
        end = int(start_of[end])
    return batches[::-1]


def epoch_batches(
    lengths: NDArray[np.integer], kept: NDArray[np.bool_], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Random batches over the kept samples: the order is drawn over all samples first and then thinned.

    So two arms with one (seed, epoch) read what both keep in the same order. Within a pool of SORT_POOL batches the
    samples are sorted by length to save padding, and the batches are shuffled again.
    """
    rng = stream_rng(Stream.BATCH_ORDER, seed, epoch)
    order = rng.permutation(len(lengths))
    order = order[kept[order]]
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * SORT_POOL):
        pool = order[start : start + batch_size * SORT_POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def similar_batches(lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """All n indices in batches of samples of similar length, in random order; of seed and epoch alone.

    Lengths are blurred a little, so that batches differ between epochs. The last batch may be smaller.
    """
    rng = stream_rng(Stream.SIMILAR_BATCHES, seed, epoch)
    order = np.argsort(lengths + rng.uniform(0, 4, len(lengths)), kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))]
