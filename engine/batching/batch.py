"""Which samples make a batch, and a batch as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SORT_POOL = 16  # batches whose samples are sorted by length together: less padding, and still a random order


class Tokens(Protocol):
    """A sample as the models read it: N positions, each predicting its label."""

    @property
    def input_ids(self) -> NDArray[np.int32]: ...  # (N,)

    @property
    def labels(self) -> NDArray[np.int32]: ...  # (N,)

    @property
    def response_start(self) -> int: ...  # first position whose label belongs to the response


class Batch(NamedTuple):
    """B samples padded on the right to L tokens, where causal attention never looks back from a real position."""

    input_ids: Tensor  # (B, L) int64
    counted: Tensor  # (B, L) bool: positions whose label counts in the loss
    labels: Tensor  # (number of counted positions,) int64, in row-major order of `counted`
    tokens: int  # real tokens in the batch


def epoch_batches(
    lengths: NDArray[np.integer], kept: NDArray[np.bool_], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Random batches over the kept samples: the order is drawn over all samples first and then thinned.

    So two arms with one (seed, epoch) read what both keep in the same order. Within a pool of SORT_POOL batches the
    samples are sorted by length to save padding, and the batches are shuffled again.
    """
    rng = np.random.default_rng([seed, epoch, 2])
    order = rng.permutation(len(lengths))
    order = order[kept[order]]
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * SORT_POOL):
        pool = order[start : start + batch_size * SORT_POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def collate(samples: Sequence[Tokens], device: torch.device, loss_on: str) -> Batch:
    """Pad samples on the right. `loss_on` is "response" (prompt positions do not count) or "all"."""
    longest = max(len(sample.input_ids) for sample in samples)
    input_ids = np.zeros((len(samples), longest), dtype=np.int64)
    counted = np.zeros((len(samples), longest), dtype=bool)
    labels = []
    for i, sample in enumerate(samples):
        n, start = len(sample.input_ids), sample.response_start if loss_on == "response" else 0
        input_ids[i, :n] = sample.input_ids
        counted[i, start:n] = True
        labels.append(np.asarray(sample.labels[start:], dtype=np.int64))
    return Batch(
        torch.from_numpy(input_ids).to(device),
        torch.from_numpy(counted).to(device),
        torch.from_numpy(np.concatenate(labels)).to(device),
        sum(len(sample.input_ids) for sample in samples),
    )
