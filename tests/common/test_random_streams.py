from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.common import random_streams
from engine.common.random_streams import Stream, outer_seed, random_subset, stream_rng


def test_no_two_purposes_share_numbers() -> None:
    """Every stream has a value of its own, and draws differ between streams, seeds and epochs."""
    assert len(set(Stream.__members__.values())) == len(Stream.__members__)
    draws = [
        stream_rng(stream, *numbers).random() for stream in Stream for numbers in ((0,), (1,), (0, 0), (0, 1), (1, 0))
    ]
    assert len(set(draws)) == len(draws)


def test_a_stream_is_a_function_of_its_arguments() -> None:
    """Also across versions: stored results stand on these numbers."""
    assert stream_rng(Stream.BATCH_ORDER, 7, 3).random() == np.random.default_rng([7, 3, 2]).random()
    assert stream_rng(Stream.RANDOM_SCORE, 7).random() == np.random.default_rng([7, 3]).random()


@given(st.integers(1, 200), st.data())
def test_a_random_subset_has_its_size_and_is_that_of_its_epoch(of: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, of))
    kept = [random_subset(size, of, 5, epoch) for epoch in range(3)]
    assert all(each.sum() == size and each.shape == (of,) for each in kept)
    assert (kept[0] == random_subset(size, of, 5, 0)).all()
    assert not (random_subset(50, 100, 5, 0) == random_subset(50, 100, 5, 1)).all()


def test_roles_have_seeds_far_apart() -> None:
    """A recipe may have a thousand seeds of each role, and no network of one role starts as one of another."""
    firsts = [value for name, value in vars(random_streams).items() if name.startswith("FIRST_")]
    assert min(firsts) >= 10_000
    grid = (
        random_streams.FIRST_TEACHER_SEED,
        random_streams.FIRST_PROXY_SEED,
        random_streams.FIRST_SUBSET_SEED,
        random_streams.FIRST_ONLINE_TEACHER_SEED,
    )
    assert min(np.diff(grid)) >= 10_000
    outer = {outer_seed(seed, step) for seed in range(5) for step in range(5000)}
    assert len(outer) == 25_000
    assert min(outer) > random_streams.FIRST_SNAPSHOT_SEED + 10_000
