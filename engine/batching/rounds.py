"""Which samples are scored together: batches of nearly one length, within a token budget."""

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


def plan_rounds(lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[list[list[int]]]:
    """Every position of `lengths` once, as rounds of batches, longest samples first.

    A batch is run through the models together: samples x longest <= token_budget, or one longer sample alone. A round
    is run through the heads together: consecutive batches of at most token_budget real tokens, or one batch. Batches
    are cut so that padding costs least, where a batch costs as much as `batch_cost` tokens before its first one.
    Longest first, so that memory runs out at once or never.
    """
    rounds: list[list[list[int]]] = []
    room = 0
    for batch in _cheapest_batches(lengths, token_budget, batch_cost):
        tokens = sum(lengths[i] for i in batch)
        if tokens > room:
            rounds.append([])
            room = token_budget
        rounds[-1].append(batch)
        room -= tokens
    return rounds


def _cheapest_batches(lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[list[int]]:
    """The cut of the samples, sorted by length, with the least padded tokens + batch_cost x batches (exact)."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cost = np.full(len(order) + 1, np.inf)  # cost[j]: of the first j samples
    cost[0] = 0
    start_of = np.zeros(len(order) + 1, dtype=np.int64)  # where the last batch of the first j samples starts
    for start, index in enumerate(order):
        most = max(1, token_budget // lengths[index])
        ends = slice(start + 1, start + 1 + most)
        through = cost[start] + batch_cost + lengths[index] * np.arange(1, len(cost[ends]) + 1)
        start_of[ends] = np.where(through < cost[ends], start, start_of[ends])
        cost[ends] = np.minimum(through, cost[ends])
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[start_of[end] : end])
        end = int(start_of[end])
    return batches[::-1]


def collate(samples: Sequence[TokenSample], device: torch.device) -> Batch:
    """Pad samples on the right with their own last token: no sample meets a token that is not in it."""
    lengths = [len(sample.input_ids) for sample in samples]
    input_ids = np.zeros((len(samples), max(lengths)), dtype=np.int64)
    for padded, sample in zip(input_ids, samples, strict=True):
        padded[: len(sample.input_ids)] = sample.input_ids
        padded[len(sample.input_ids) :] = sample.input_ids[-1]
    labels = np.concatenate([sample.labels for sample in samples]).astype(np.int64)
    real = None
    if min(lengths) < max(lengths):
        real = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
    return Batch(torch.from_numpy(input_ids).to(device), real, torch.from_numpy(labels).to(device), lengths)
