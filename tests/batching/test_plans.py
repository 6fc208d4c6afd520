"""Every sample in exactly one batch: within the budget, of similar length, in an order of seed and epoch alone."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.batching.plans import epoch_batches, plan_rounds, similar_batches

LENGTHS = st.lists(st.integers(1, 60), min_size=0, max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 200), batch_cost=st.integers(0, 100))
def test_every_row_once_and_the_budget_holds(lengths: list[int], budget: int, batch_cost: int) -> None:
    """No row is lost or doubled; only a row longer than the budget exceeds it, and then alone."""
    rounds = plan_rounds(lengths, budget, batch_cost)
    assert sorted(i for batches in rounds for batch in batches for i in batch) == list(range(len(lengths)))
    for batches in rounds:
        for batch in batches:
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
        assert len(batches) == 1 or sum(lengths[i] for batch in batches for i in batch) <= budget


@given(lengths=LENGTHS.filter(bool), budget=st.integers(60, 300))
def test_longest_first(lengths: list[int], budget: int) -> None:
    """Lengths never grow from one batch to the next, so memory runs out at once or never."""
    order = [lengths[i] for batches in plan_rounds(lengths, budget, 8) for batch in batches for i in batch]
    assert order == sorted(lengths, reverse=True)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=7),
    budget=st.integers(30, 120),
    batch_cost=st.integers(0, 40),
)
def test_no_other_cut_is_cheaper(lengths: list[int], budget: int, batch_cost: int) -> None:
    """Padded tokens plus the price of the batches is the least over every way of cutting the sorted samples."""
    ordered = sorted(lengths, reverse=True)

    def price(batches: list[list[int]]) -> float:
        sizes = [len(batch) * max(batch) for batch in batches]
        return sum(sizes) + batch_cost * len(batches) if max(sizes) <= budget else float("inf")

    n = len(ordered)
    cuts = [(0, *inner, n) for size in range(n) for inner in combinations(range(1, n), size)]
    best = min(price([ordered[a:b] for a, b in pairwise(cut)]) for cut in cuts)
    rounds = plan_rounds(lengths, budget, batch_cost)
    assert price([[lengths[i] for i in batch] for batches in rounds for batch in batches]) == best


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=120),
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(1, 5),
)
def test_an_epoch_reads_every_kept_sample_once(
    rows: list[tuple[int, bool]], batch_size: int, seed: int, epoch: int
) -> None:
    """No sample is lost in a short last batch and none is read twice."""
    lengths, kept = np.array([n for n, _ in rows]), np.array([k for _, k in rows])
    batches = epoch_batches(lengths, kept, batch_size, seed, epoch)
    read = sorted(int(i) for batch in batches for i in batch)
    assert read == np.flatnonzero(kept).tolist()
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert len(batches) == math.ceil(kept.sum() / batch_size)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """An epoch done again after a kill is the same; another seed or epoch is another order."""
    lengths, kept = np.full(64, 5), np.ones(64, dtype=bool)

    def order(seed: int, epoch: int) -> list[int]:
        return [int(i) for batch in epoch_batches(lengths, kept, 8, seed, epoch) for i in batch]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


lengths_of = st.lists(st.integers(1, 60), min_size=1, max_size=80).map(np.array)


@given(lengths=lengths_of, size=st.integers(1, 20), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_batches_hold_every_sample_once(lengths: np.ndarray, size: int, seed: int, epoch: int) -> None:
    """All but one are full, the same again for the same seed and epoch; two overlap in length by the blur."""
    batches = similar_batches(lengths, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)
    assert len(batches) == -(-len(lengths) // size)
    again = similar_batches(lengths, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    for one, other in combinations(batches, 2):
        short, long = sorted((lengths[one], lengths[other]), key=lambda part: (part.mean(), part.max()))
        assert short.max() <= long.min() + 4 or long.max() <= short.min() + 4


def test_batches_are_of_one_length_and_change_with_the_epoch() -> None:
    """Little is padded, and no sample has the same company for ever."""
    lengths = np.random.default_rng(0).integers(4, 60, 400)
    first, second, other = (similar_batches(lengths, 20, *place) for place in ((0, 0), (0, 1), (1, 0)))
    assert max(np.ptp(lengths[part]) for part in first) <= 12
    company = [{frozenset(part.tolist()) for part in batches} for batches in (first, second, other)]
    assert company[0] != company[1]
    assert company[0] != company[2]
    means = [lengths[part].mean() for part in first]
    assert means != sorted(means)
