"""Who is scored again after an epoch that has left it out: everybody in a while, nobody twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.pruning.rotation import TURNS, in_turn


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 1000))
def test_whoever_is_left_out_has_one_turn_in_every_round(n: int, first: int, seed: int) -> None:
    """Of any TURNS epochs in a row, whatever else they keep; those that are trained on need no turn."""
    rng = np.random.default_rng(seed)
    kept = rng.random((TURNS, n)) < 0.5
    turns = np.array([in_turn(kept[i], first + i) for i in range(TURNS)])
    assert not (turns & kept).any()
    assert (turns.sum(0) <= 1).all()
    assert (turns.sum(0)[~kept.any(0)] == 1).all()


def test_a_turn_is_a_fixed_share() -> None:
    assert [in_turn(np.zeros(20, dtype=np.bool_), epoch).sum() for epoch in range(1, 6)] == [5] * 5
