"""Token samples, and a batch of them as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.common.choices import LossOn


class TokenSample(Protocol):
    """One sample as a causal language model reads it: N positions, each predicting the token after it."""

    @property
    def row(self) -> int: ...

    @property
    def input_ids(self) -> NDArray[np.integer]:
        """(N,): begin token if there is one, prompt, response; without the end token."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """(N,): the token after each; the last is the end token, or the true next one if the text was cut."""

    @property
    def response(self) -> NDArray[np.bool_]:
        """(N,): whether the label of a position belongs to a response; a conversation has several."""


@dataclass(frozen=True)
class Batch:
    """B samples padded on the right to L tokens. Causal attention never looks back at padding from a real position."""

    input_ids: Tensor  # (B, L) int64
    counted: Tensor  # (B, L) bool: positions whose label counts, padding never
    labels: Tensor  # (number of counted positions,) int64, in row-major order of `counted`
    lengths: list[int]  # (B,) real tokens of each sample

    @property
    def tokens(self) -> int:
        """Real tokens in the batch."""
        return sum(self.lengths)

    def part(self, rows: list[int]) -> Batch:
        """The samples at `rows` alone, padded as they are."""
        labels = self.labels.split(self.counted.sum(1).tolist())
        return Batch(
            self.input_ids[rows],
            self.counted[rows],
            torch.cat([labels[row] for row in rows]),
            [self.lengths[row] for row in rows],
        )


def collate(samples: Sequence[TokenSample], device: torch.device, loss_on: LossOn = "all") -> Batch:
    """Pad samples on the right. `loss_on` is "response" (prompt positions do not count) or "all".

    Padding repeats a sample's own last token, so that no sample meets a token that is not in it.
    """
    lengths = [len(sample.input_ids) for sample in samples]
    input_ids = np.zeros((len(samples), max(lengths)), dtype=np.int64)
    counted = np.zeros(input_ids.shape, dtype=np.bool_)
    labels = []
    for i, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
        counts = sample.response if loss_on == "response" else np.ones(length, dtype=np.bool_)
        input_ids[i, :length] = sample.input_ids
        input_ids[i, length:] = sample.input_ids[-1]
        counted[i, :length] = counts
        labels.append(sample.labels[counts])
    return Batch(
        torch.from_numpy(input_ids).to(device),
        torch.from_numpy(counted).to(device),
        torch.from_numpy(np.concatenate(labels).astype(np.int64)).to(device),
        lengths,
    )
