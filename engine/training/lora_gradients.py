"""The gradient of one sample's loss for the LoRA weights: its norm, and a projection whose inner products survive.

A batch takes one backward pass. A linear layer that reads x (L, i) of a sample and gets the gradient g (L, o) of its
output has the weight gradient g^T x, so hooks on the layers give those of every sample. They are used up layer by
layer: the gradients of all layers never exist at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.batching.batch import Batch, TokenSample, collate
from engine.common.choices import LossOn
from engine.common.random_streams import Stream, stream_rng
from engine.training.finetune import Tick, sample_losses

DEVIATION = 0.05  # of the summed norms: far above what rounding does, far below what a layer read otherwise does


@dataclass(frozen=True)
class LoraGradients:
    """Of n samples, each in the units of a loss in nats. NaN for a sample of which no token counts."""

    norms: NDArray[np.float64]  # (n,): norm2, at least 0
    projected: NDArray[np.float32]  # (n, width)


def lora_gradients(
    model: nn.Module,
    samples: Sequence[TokenSample],
    *,
    batch_size: int,
    loss_on: LossOn,
    width: int = 512,
    seed: int,
    tick: Tick,
) -> LoraGradients:
    """Gradients of each sample's own loss (mean over its counted tokens) with respect to all trainable weights.

    `norms` is GraNd (Paul, Ganguli, Dziugaite 2021, "Deep Learning on a Data Diet") restricted to the adapters; high =
    keep. `projected` are the low-dimensional gradient features of LESS (Xia et al. 2024), by `Projection`, of the
    plain gradient: LESS takes Adam's step for training samples, and several checkpoints of a warm-up. The projection
    is of `seed`, `width` and the shapes of the weights alone, so that two calls can be compared. Dropout is off.
    Up to rounding neither result depends on the batch size or the order: no mean is taken over a batch.

    Fresh LoRA has B = 0, so the gradient of every A is zero and half of the weights say nothing: train the adapters for
    a moment first (`tune_on_target` for one epoch on a random 5 % of the samples, as LESS does).

    If a weight is used otherwise than by a plain linear layer that reads (samples, positions, features), as in
    mixtures of experts, samples are read one by one: slower, and the same numbers. Raises ValueError if no weight is
    trainable.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("no weight of the model is trainable; attach LoRA first")
    device = weights[0].device
    places = {id(weight): place for place, weight in enumerate(weights)}
    layers = {layer: places[id(layer.weight)] for layer in model.modules() if _is_trained_linear(layer)}
    projections = [Projection(weight.numel(), width, seed, place, device) for place, weight in enumerate(weights)]

    norms = np.full(len(samples), np.nan)
    projected = np.full((len(samples), width), np.nan, dtype=np.float32)
    lengths = np.array([len(sample.input_ids) for sample in samples], dtype=np.int64)
    counts = lengths if loss_on == "all" else np.array([sample.response.sum() for sample in samples], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")  # longest first: memory runs out at once or never
    order = order[counts[order] > 0]
    total, tokens, start = int(lengths[order].sum()), 0, 0
    was_training = model.training
    model.eval()
    try:
        while start < len(order):
            chosen = order[start : start + batch_size]
            batch = collate([samples[i] for i in chosen], device, loss_on)
            sums = _Sums(projections, len(chosen), width, device)
            if len(chosen) == 1:
                _add_one(model, batch, weights, sums)
            elif not _add_batch(model, batch, weights, layers, sums):
                batch_size = 1
                continue
            norms[chosen] = sums.squares.sqrt().cpu().numpy()
            projected[chosen] = sums.projected.cpu().numpy()
            start += len(chosen)
            tokens += batch.tokens
            tick(tokens, total)
    finally:
        model.train(was_training)
    return LoraGradients(norms, projected)


class Projection:
    """A fixed random linear map of a gradient of `size` numbers to `width`: a count sketch with evenly filled places.

    Every number is added, with a random sign, to one of `width` places (Charikar, Chen, Farach-Colton 2002; feature
    hashing, Weinberger et al. 2009). Inner products are kept on average, with a variance of at most
    (norm2(g)^2 norm2(h)^2 + <g, h>^2) / width, as by a dense matrix of random signs, at the cost of reading the
    gradient once. Different weights have independent maps, so their projections may be summed.
    """

    def __init__(self, size: int, width: int, seed: int, place: int, device: torch.device) -> None:
        rng = stream_rng(Stream.GRADIENT_PROJECTION, seed, place)
        slots = -(-size // width) * width
        order = rng.permutation(slots)
        signs = np.where(order < size, rng.choice([-1, 1], slots), 0)  # a slot without a number adds nothing
        self.width = width
        self.order = torch.from_numpy(np.where(order < size, order, 0).astype(np.int32)).to(device)
        self.signs = torch.from_numpy(signs.astype(np.int8)).to(device)

    def __call__(self, gradients: Tensor) -> Tensor:
        """(B, size) -> (B, width), in the same dtype."""
        signed = gradients.index_select(1, self.order) * self.signs
        return signed.view(len(gradients), -1, self.width).sum(1)


class _Sums:
    """What the weights of a model add to the samples of one batch."""

    def __init__(self, projections: list[Projection], samples: int, width: int, device: torch.device) -> None:
        self.projections = projections
        self.squares = torch.zeros(samples, dtype=torch.float64, device=device)
        self.projected = torch.zeros(samples, width, dtype=torch.float64, device=device)

    def add(self, place: int, gradients: Tensor) -> Tensor:
        """Add the gradients (B, size) of one weight. Returns their norms, (B,)."""
        norms: Tensor = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64)
        self.squares += norms.square()
        self.projected += self.projections[place](gradients)
        return norms


def _is_trained_linear(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear and layer.weight.requires_grad


def _add_one(model: nn.Module, batch: Batch, weights: list[nn.Parameter], sums: _Sums) -> None:
    """The gradient of a single sample, whatever its weights are used for."""
    gradients = torch.autograd.grad(sample_losses(model, batch).sum(), weights, allow_unused=True)
    for place, gradient in enumerate(gradients):
        if gradient is not None:
            sums.add(place, gradient.reshape(1, -1))


class _NotBySample(Exception):
    """A layer reads something else than (samples, positions, features)."""


def _add_batch(
    model: nn.Module, batch: Batch, weights: list[nn.Parameter], layers: dict[nn.Module, int], sums: _Sums
) -> bool:
    """The gradients of all samples of a batch. Returns whether they can be told apart and none is missing.

    They must add up to the gradient that autograd finds for the whole batch: that of a weight that is not, or not
    only, used by its own layer does not.
    """
    calls: Counter[int] = Counter()
    waiting: dict[int, Tensor] = {}  # gradients of layers that were called more often than gone back through
    checks: dict[int, tuple[Tensor, Tensor]] = {}  # of each weight: the sum over the samples, and of their norms

    def use(place: int) -> None:
        gradients = waiting.pop(place)
        checks[place] = gradients.sum(0), sums.add(place, gradients).sum()

    def read(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        place, x = layers[layer], inputs[0].detach()
        if x.shape[:-1] != batch.input_ids.shape:
            raise _NotBySample
        calls[place] += 1

        def went_back(gradient: Tensor) -> None:
            own = (gradient.transpose(1, 2) @ x).flatten(1)
            waiting[place] = waiting[place] + own if place in waiting else own
            calls[place] -= 1
            if not calls[place]:
                use(place)

        output.register_hook(went_back)

    hooks = [layer.register_forward_hook(read) for layer in layers]
    try:
        totals = torch.autograd.grad(sample_losses(model, batch).sum(), weights, allow_unused=True)
    except _NotBySample:
        return False
    finally:
        for hook in hooks:
            hook.remove()
    for place in list(waiting):
        use(place)
    wrong = torch.zeros((), dtype=torch.bool, device=batch.input_ids.device)
    for place, total in enumerate(totals):
        if total is not None:
            found, scale = checks.get(place, (torch.zeros_like(total).flatten(), 0.0))
            wrong |= torch.linalg.vector_norm(found - total.flatten()) > DEVIATION * scale
    return not wrong.item()
