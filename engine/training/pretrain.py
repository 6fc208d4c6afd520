"""Training a small model from scratch: AdamW, a schedule, clipped gradients. Resumable at any step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.batching.plans import epoch_batches
from engine.training.finetune import Tick

Loss = Callable[[NDArray[np.int64], int], Tensor]  # of the samples at these indices, at this step
Schedule = Callable[[int, int, float], float]  # step, steps in all, peak: the learning rate


def optimizer_for(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with β = (0.9, 0.95) and weight decay 0.1 on matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))


def pretrain(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    lengths: NDArray[np.integer],
    loss: Loss,
    schedule: Schedule,
    *,
    epochs: float,
    batch_size: int,
    peak: float,
    seed: int,
    first_step: int,
    tick: Tick,
    checkpoint: Callable[[int], object],
) -> float:
    """Train on samples of `lengths` (N,) for `epochs` passes (a fraction is allowed), from `first_step` on.

    `checkpoint(step)` is called after every step with the number of steps done and decides itself when to save. If
    `loss` draws its random numbers from the step alone, a step after a restart is the step it would have been.
    Returns the mean loss of the last tenth of the steps; NaN if none was left to do.
    """
    everything = np.ones(len(lengths), dtype=np.bool_)
    steps = max(1, round(epochs * math.ceil(len(lengths) / batch_size)))
    recent: list[float] = []
    model.train()
    step = 0
    for epoch in range(math.ceil(epochs)):
        for indices in epoch_batches(lengths, everything, batch_size, seed, epoch)[: steps - step]:
            if step >= first_step:
                for group in optimizer.param_groups:
                    group["lr"] = schedule(step, steps, peak)
                value = loss(indices, step)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                if step >= math.floor(0.9 * steps):
                    recent.append(value.item())
                tick(step + 1, steps)
                checkpoint(step + 1)
            step += 1
    model.eval()
    return float(np.mean(recent)) if recent else math.nan
