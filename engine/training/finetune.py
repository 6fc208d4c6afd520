"""One epoch of fine-tuning, and the loss on held-out samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.batching.batch import Batch, TokenSample, collate
from engine.batching.logits import counted_logits
from engine.batching.plans import epoch_batches
from engine.common.choices import LossOn
from engine.training.causal_kd import KnowledgeDistillation, kd_term

Tick = Callable[[int, int], object]  # (tokens done, tokens in all); raises to stop
Watch = Callable[[list[int], Batch], object]


@dataclass(frozen=True)
class EpochResult:
    """Mean cross-entropy over the counted tokens as they were trained on (nats), and what it took."""

    loss: float
    samples: int
    tokens: int
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """Mean over counted tokens, not over batches: loss in nats, share of tokens whose top prediction is right."""

    loss: float
    accuracy: float
    tokens: int


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """(counted positions, V) logits, at least float32; nothing is computed for positions that do not count."""
    logits = counted_logits(model, batch)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def sample_losses(model: nn.Module, batch: Batch) -> Tensor:
    """(B,) float64: each sample's mean cross-entropy over its counted tokens, of which it needs one, in nats."""
    each = F.cross_entropy(logits_of(model, batch), batch.labels, reduction="none").double()
    return torch.stack([own.mean() for own in each.split(batch.counted.sum(1).tolist())])


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: Sequence[TokenSample],
    kept: NDArray[np.bool_],
    *,
    batch_size: int,
    loss_on: LossOn,
    seed: int,
    epoch: int,
    tick: Tick,
    kd: KnowledgeDistillation | None = None,
    watch: Watch | None = None,
    max_norm: float = 1.0,
) -> EpochResult:
    """Train on the kept samples once with causal cross-entropy, in an order that depends on (seed, epoch) alone.

    Random numbers (dropout) are seeded per (seed, epoch), so an epoch repeated from its checkpoint is the same.
    The loss of a batch is the mean over its counted tokens; with `kd` it is (1 - w) cross-entropy + w KL from the
    teacher, while the result still holds the cross-entropy. Gradients are clipped to `max_norm`. After each step
    `watch` is called with the places of its samples and their batch.
    """
    device = next(model.parameters()).device
    lengths = np.array([len(sample.input_ids) for sample in samples])
    batches = epoch_batches(lengths, kept, batch_size, seed, epoch)
    total = int(lengths[kept].sum())
    torch.manual_seed(seed * 100_003 + epoch)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss_sum, counted, tokens = 0.0, 0, 0
    model.train()
    for indices in batches:
        batch = collate([samples[i] for i in indices], device, loss_on)
        logits = logits_of(model, batch)
        loss = F.cross_entropy(logits, batch.labels)
        trained = loss
        if kd is not None:
            trained = (1 - kd.weight) * loss + kd.weight * kd_term(kd.teacher.of(indices.tolist(), batch), logits)
        optimizer.zero_grad(set_to_none=True)
        trained.backward()
        nn.utils.clip_grad_norm_(trainable, max_norm)
        optimizer.step()
        loss_sum += loss.item() * len(batch.labels)
        counted += len(batch.labels)
        tokens += batch.tokens
        if watch is not None:
            watch(indices.tolist(), batch)
        tick(tokens, total)
    model.eval()
    return EpochResult(loss_sum / max(counted, 1), int(kept.sum()), tokens, len(batches))


@torch.inference_mode()
def evaluate(
    model: nn.Module, samples: Sequence[TokenSample], *, batch_size: int, loss_on: LossOn, tick: Tick
) -> Evaluation:
    """Loss and token accuracy of a model in eval mode, summed in float64 over every counted token."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        order = np.argsort([len(sample.input_ids) for sample in samples], kind="stable")
        total = sum(len(sample.input_ids) for sample in samples)
        loss_sum, right, counted, tokens = 0.0, 0, 0, 0
        for start in range(0, len(order), batch_size):
            batch = collate([samples[i] for i in order[start : start + batch_size]], device, loss_on)
            logits = logits_of(model, batch)
            loss_sum += F.cross_entropy(logits, batch.labels, reduction="none").double().sum().item()
            right += int((logits.argmax(-1) == batch.labels).sum())
            counted += len(batch.labels)
            tokens += batch.tokens
            tick(tokens, total)
    finally:
        model.train(was_training)
    return Evaluation(loss_sum / counted, right / counted, counted)
