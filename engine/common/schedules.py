"""Learning-rate schedules, as shares of the peak rate."""

from __future__ import annotations

import math


def warmup_decay(step: int, steps: int, warmup: int, floor: float = 0.0, *, cosine: bool = False) -> float:
    """Linear warm-up over `warmup` steps (at least one), then a line, or half a cosine, down to `floor` at `steps`.

    The first step, number 0, is taken at 1 / warmup; the last but for `floor` would be step number `steps`.
    """
    warmup = max(1, warmup)
    if step < warmup:
        return (step + 1) / warmup
    left = max(0, steps - step) / max(1, steps - warmup)
    if cosine:
        left = 0.5 * (1 - math.cos(math.pi * left))
    return floor + (1 - floor) * left
