"""Scores from the gradient of one sample: its norm (GraNd), and its likeness to that of a target (LESS)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

Loss = Callable[[Tensor, Tensor], Tensor]


def grand(
    network: nn.Module, inputs: Tensor | tuple[Tensor, ...], targets: Tensor, loss: Loss, batch_size: int
) -> NDArray[np.float64]:
    """norm2 of the gradient of each sample's loss with respect to ALL parameters; high = keep.

    GraNd of Paul, Ganguli, Dziugaite 2021, "Deep Learning on a Data Diet".

    `inputs` (n, ...), or a tuple of such tensors that the network takes as its arguments; `targets` (n, ...).
    `loss(output, target)` is a scalar for the output (C,) of one sample and its target. Returns (n,) of one run, at
    least 0; the paper takes the mean over runs. Up to rounding it depends neither on the batch size nor on the order,
    as no mean is ever taken over a batch.

    Memory: `batch_size` copies of all parameters. With `batch_size` = 1 torch.func.vmap is not used, for networks
    that it cannot run. Raises ValueError if part of the network is in training mode: dropout would make the
    gradients random, and batch norm would mix the samples.
    """
    if any(module.training for module in network.modules()):
        raise ValueError("the network is in training mode; call network.eval() before scoring")
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    device = next(iter(parameters.values())).device
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)

    def loss_of(weights: dict[str, Tensor], target: Tensor, *sample: Tensor) -> Tensor:
        output = functional_call(network, weights, tuple(argument[None] for argument in sample))
        return loss(output[0], target)

    def gradient_norm(target: Tensor, *sample: Tensor) -> Tensor:
        gradients = grad(loss_of)(parameters, target, *sample).values()
        norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients]))
        return norm

    norms = vmap(gradient_norm) if batch_size > 1 else _one_by_one(gradient_norm)
    found = []
    for start in range(0, len(targets), batch_size):
        batch = [part[start : start + batch_size].to(device) for part in (targets, *arguments)]
        found.append(norms(*batch).cpu())
    return torch.cat(found).double().numpy()


def _one_by_one(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As vmap(function), for a batch of one sample."""
    return lambda *batch: function(*(part[0] for part in batch))[None]


def target_likeness(projected: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of each sample's gradient with the mean gradient of the target samples; high = keep.

    LESS (Xia et al. 2024, "LESS: Selecting Influential Data for Targeted Instruction Tuning") with one target set and
    one warm-up checkpoint, in the form of SGD: the paper sums over several checkpoints, takes Adam's step instead of
    the gradient for training samples, and the best of several target sets.

    `projected` (n, w), `target` (m, w), projected alike. Returns (n,) from -1 to 1; NaN for a gradient of zero, and for
    all if the mean of the target is zero. Raises ValueError if there is no target sample or the widths differ.
    """
    if not len(target) or projected.shape[1:] != target.shape[1:]:
        raise ValueError(f"cannot compare gradients of shape {projected.shape} with a target of {target.shape}")
    direction = target.mean(0, dtype=np.float64)
    gradients = projected.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = gradients @ direction / (np.linalg.norm(gradients, axis=1) * np.linalg.norm(direction))
    bounded: NDArray[np.float64] = np.clip(cosines, -1.0, 1.0)  # rounding
    return bounded
