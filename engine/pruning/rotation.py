"""Which samples that an epoch left out are scored again after it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TURNS = 4  # epochs in which every sample has its turn once


def in_turn(kept: NDArray[np.bool_], epoch: int) -> NDArray[np.bool_]:
    """(n,) booleans: of the samples that `epoch` has not kept, those whose turn it is: every TURNS-th by place.

    A sample that is left out TURNS epochs in a row is in exactly one of them, so no score is older than TURNS epochs.
    """
    turn: NDArray[np.bool_] = np.arange(len(kept)) % TURNS == epoch % TURNS
    return turn & ~kept
