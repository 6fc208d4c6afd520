from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.schedules import warmup_decay

shapes = {"steps": st.integers(1, 3000), "share": st.floats(0, 1), "floor": st.floats(0, 0.9)}


@given(**shapes)
def test_the_rate_rises_in_a_line_and_falls_in_a_line(steps: int, share: float, floor: float) -> None:
    """Against the closed forms: up to the peak, which is met, and on a straight way down to the floor."""
    warmup = int(share * (steps - 1))
    rates = np.array([warmup_decay(step, steps, warmup, floor) for step in range(steps + 1)])
    warmup = max(1, warmup)
    assert rates[:warmup] == pytest.approx(np.arange(1, warmup + 1) / warmup)
    assert rates[warmup - 1] == 1.0
    expected = np.linspace(1.0, floor, steps - warmup + 1) if steps > warmup else [floor]
    assert rates[warmup:] == pytest.approx(expected)


@given(**shapes)
def test_the_cosine_starts_and_ends_flat(steps: int, share: float, floor: float) -> None:
    """Against the closed form; halfway it stands between the peak and the floor."""
    warmup = max(1, int(share * (steps - 1)))
    for step in range(warmup, steps):
        done = (step - warmup) / (steps - warmup)
        expected = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
        assert warmup_decay(step, steps, warmup, floor, cosine=True) == pytest.approx(expected)
    assert warmup_decay(steps, steps, warmup, floor, cosine=True) == pytest.approx(floor)


def test_after_the_last_step_the_rate_stays_at_the_floor() -> None:
    assert warmup_decay(12, 10, 1, 0.1) == 0.1
    assert warmup_decay(12, 10, 1, 0.1, cosine=True) == 0.1
