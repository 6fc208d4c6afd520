"""The teacher's mean state over the response of a sample, projected to 64 numbers.

What the teacher's head reads is computed for the scores anyway. A fixed random projection of its mean keeps the
distances between samples (Johnson and Lindenstrauss 1984): the squared distance of two of them has the right
expectation and a relative standard deviation of sqrt(2/64) = 18 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STATE_WIDTH = 64
PROJECTION = "gaussian-64-v1"
"""The name of the projection, for provenance: only states of one teacher and one projection can be compared."""
SEED = 0


@lru_cache(maxsize=4)
def projection(width: int) -> Tensor:
    """The Gaussian matrix of PROJECTION: (width, 64) float32 on the CPU, entries N(0, 1/64).

    It depends on `width` alone and is the same on every machine: numpy's counter-based Philox generator with the key
    (SEED, width), normals drawn in float64 and rounded.
    """
    normals = np.random.Generator(np.random.Philox(key=[SEED, width])).standard_normal((width, STATE_WIDTH))
    return torch.from_numpy((normals / np.sqrt(STATE_WIDTH)).astype(np.float32))


def mean_state(states: Tensor, response: NDArray[np.bool_]) -> Tensor:
    """The mean of one sample's states (N, d) over the positions whose label belongs to a response: (d,) float32.

    Half precision is summed in float32, on the device of the states.
    """
    places = torch.from_numpy(np.flatnonzero(response)).to(states.device)
    return states.index_select(0, places).mean(0, dtype=torch.float32)


def response_states(states: Tensor, responses: Sequence[NDArray[np.bool_]], matrix: Tensor) -> Tensor:
    """The projected mean states of n samples: (n, 64) float32; 64 times NaN if a mean is not finite.

    `states` (T, d) are those of all samples, one after the other, `responses` which positions of each count, and
    `matrix` (d, 64) is `projection(d)` on their device. Each sample is reduced alone, so that NaN stays in it.
    """
    parts = states.split([len(response) for response in responses])
    means = [mean_state(part, response) for part, response in zip(parts, responses, strict=True)]
    projected = torch.stack(means) @ matrix
    return projected.where(projected.isfinite().all(1, keepdim=True), torch.nan)
