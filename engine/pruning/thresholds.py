"""Dynamic pruning by a growing threshold (Casey, Lu, Zuo 2024, "Knowledge Distillation for Data Pruning").

Each epoch keeps S = { x : score(x) > τ }, stops if |S| < N_min, and then raises τ ← min(τ · (1 + growth), τ_max).
The source calls the growth α; here it is `tau_growth`, because α also names the weight of distillation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def keep(scores: NDArray[np.floating], tau: float) -> NDArray[np.bool_]:
    """Which samples stay: score strictly above τ. (n,) scores in, (n,) booleans out; NaN is never kept."""
    return scores > tau


def next_tau(tau: float, tau_growth: float, tau_max: float = math.inf) -> float:
    """The threshold of the following epoch: min(τ · (1 + growth), τ_max)."""
    return min(tau * (1 + tau_growth), tau_max)


def quantile(scores: NDArray[np.floating], q: float) -> float:
    """The score below which a share `q` of the samples lies; samples without a score (NaN) are left out.

    Raises ValueError if no sample has a score.
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        raise ValueError("no sample has a finite score")
    return float(np.quantile(finite, q))
