"""Every sample in exactly one batch, within the budget, with as little padding as can be."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.batching.rounds import collate, plan_rounds
from tests.fixtures.models import random_samples

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


def test_padding_stands_on_the_right_and_labels_are_whole() -> None:
    """A batch holds each sample's own tokens first, marks what is real, and joins the labels sample after sample."""
    samples = random_samples([5, 3, 5])
    batch = collate(samples, torch.device("cpu"))
    assert batch.lengths == [5, 3, 5]
    assert batch.input_ids[batch.real].tolist() == np.concatenate([sample.input_ids for sample in samples]).tolist()
    assert batch.input_ids[1].tolist() == [*samples[1].input_ids.tolist(), *[samples[1].input_ids[-1]] * 2]
    assert batch.labels.tolist() == np.concatenate([sample.labels for sample in samples]).tolist()


def test_equal_lengths_need_no_mask() -> None:
    """Where nothing is padded nothing is selected either."""
    assert collate(random_samples([4, 4]), torch.device("cpu")).real is None
