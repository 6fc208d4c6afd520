"""Which samples are scored together: batches of nearly one length, as many as a token budget holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class TokenSample(Protocol):
    """One sample as the models read it: N positions, each predicting the token after it."""

    @property
    def row(self) -> int: ...

    @property
    def input_ids(self) -> NDArray[np.integer]:
        """(N,): begin token if there is one, prompt, response; without the end token."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """(N,): the token after each; the last is the end token, or the true next one where the text was cut."""

    @property
    def response_start(self) -> int:
        """The first position whose label belongs to the response."""


@dataclass(frozen=True)
class Batch:
    """B samples padded on the right to L tokens, with T real positions in all."""

    input_ids: Tensor  # (B, L) int64
    real: Tensor | None  # (B, L) bool: False at padding; None where nothing is padded
    labels: Tensor  # (T,) int64, sample after sample
    lengths: list[int]  # (B,), adding up to T


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Positions in `lengths` grouped so that count x longest <= token_budget, longest samples first.

    A sample longer than the budget is a batch of its own. Longest first, so that memory runs out at once or never.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def collate(samples: Sequence[TokenSample], device: torch.device) -> Batch:
    """Pad samples on the right, with token 0."""
    lengths = [len(sample.input_ids) for sample in samples]
    input_ids = np.zeros((len(samples), max(lengths)), dtype=np.int64)
    for padded, sample in zip(input_ids, samples, strict=True):
        padded[: len(sample.input_ids)] = sample.input_ids
    labels = np.concatenate([sample.labels for sample in samples]).astype(np.int64)
    real = None
    if min(lengths) < max(lengths):
        real = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
    return Batch(torch.from_numpy(input_ids).to(device), real, torch.from_numpy(labels).to(device), lengths)
