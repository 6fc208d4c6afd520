"""Holding out rows for validation and testing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.data.labelled.samples import read_labelled
from engine.data.labelled.splits import hold_out
from tests.fixtures.labelled_files import settings

GROUPS = st.lists(st.integers(0, 5), max_size=60).map(lambda groups: np.array(groups, dtype=np.int64))


@given(groups=GROUPS, share=st.floats(0, 1), seed=st.integers(-5, 5))
def test_every_class_gives_its_share(groups: np.ndarray, share: float, seed: int) -> None:
    """As many rows as asked for are held out, each class within one row of its share, none its last row."""
    count = round(share * len(groups))
    held = hold_out(groups, count, seed)
    values, sizes = np.unique(groups, return_counts=True)
    counts = np.array([held[groups == value].sum() for value in values], dtype=np.int64)
    assert held.sum() == min(count, len(groups) - len(values))
    assert (counts <= sizes - 1).all()
    shares = count * sizes / max(len(groups), 1)
    if (shares <= sizes - 1).all():
        assert (np.abs(counts - shares) < 1).all()
    assert (hold_out(groups, count, seed) == held).all()


def test_rows_are_drawn_at_random() -> None:
    """Another seed draws other rows, and every row is drawn about as often as any other, whatever its class."""
    groups = np.array([0] * 6 + [1] * 3 + [2] * 3)
    often = sum(hold_out(groups, 4, seed).astype(int) for seed in range(600)) / 600
    assert np.abs(often - 1 / 3).max() < 0.1
    assert len({hold_out(groups, 4, seed).tobytes() for seed in range(50)}) > 20


def test_no_class_is_always_first() -> None:
    """If classes have the same claim to the last row that is held out, chance decides."""
    groups = np.repeat(np.arange(4), 5)
    assert {int(groups[hold_out(groups, 1, seed)][0]) for seed in range(60)} == {0, 1, 2, 3}


@given(
    limit=st.integers(60, 200),
    fraction=st.floats(0.01, 0.9),
    test_limit=st.none() | st.integers(1, 50),
    seed=st.integers(-3, 1000),
)
def test_the_splits_are_a_partition(limit: int, fraction: float, test_limit: int | None, seed: int) -> None:
    """Every row is in one split; the test rows do not depend on how many are for validation."""
    found = {"task": "numbers", "limit": limit, "split_seed": seed, "test_limit": test_limit}
    labelled = read_labelled(settings("diabetes", valid_fraction=fraction, **found))
    test = round(0.2 * limit) if test_limit is None else min(round(0.2 * limit), test_limit)
    valid = max(round(fraction * (limit - test)), 1)
    counts = {name: int((labelled.split == name).sum()) for name in ("train", "valid", "test")}
    assert counts == {"train": limit - test - valid, "valid": valid, "test": test}
    other = read_labelled(settings("diabetes", **found))
    assert ((other.split == "test") == (labelled.split == "test")).all()
