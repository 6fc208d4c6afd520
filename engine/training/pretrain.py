"""Training a small model from nothing on a corpus: AdamW, short warm-up, cosine decay. Resumable at any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from engine.batching.batch import TokenSample, collate
from engine.batching.plans import epoch_batches
from engine.common.schedules import warmup_decay
from engine.training.finetune import Tick, logits_of

WARMUP = 0.05  # share of all steps
FLOOR = 0.05  # the last learning rate as a share of the peak


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first WARMUP of the steps, then half a cosine down to FLOOR · peak."""
    return peak * warmup_decay(step, steps, round(WARMUP * steps), FLOOR, cosine=True)


def optimizer_for(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with β = (0.9, 0.95) and weight decay 0.1 on matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))


def pretrain(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: Sequence[TokenSample],
    *,
    epochs: float,
    batch_size: int,
    peak: float,
    seed: int,
    first_step: int,
    tick: Tick,
    checkpoint: Callable[[int], object],
) -> float:
    """Train on every position of every sample for `epochs` passes (a fraction is allowed), from `first_step` on.

    `checkpoint(step)` is called after every step with the number of steps done and decides itself when to save.
    Returns the mean loss of the last tenth of the steps, in nats per token; NaN where none was left to do.
    """
    device = next(model.parameters()).device
    lengths = np.array([len(sample.input_ids) for sample in samples])
    everything = np.ones(len(samples), dtype=bool)
    per_epoch = math.ceil(len(samples) / batch_size)
    steps = max(1, round(epochs * per_epoch))
    recent: list[float] = []
    model.train()
    step = 0
    for epoch in range(math.ceil(epochs)):
        for indices in epoch_batches(lengths, everything, batch_size, seed, epoch):
            if step >= steps:
                break
            if step >= first_step:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, steps, peak)
                batch = collate([samples[i] for i in indices], device, "all")
                with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                    logits = logits_of(model, batch)
                loss = F.cross_entropy(logits, batch.labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                if step >= 0.9 * steps:
                    recent.append(loss.item())
                tick(step + 1, steps)
                checkpoint(step + 1)
            step += 1
    model.eval()
    return float(np.mean(recent)) if recent else math.nan
