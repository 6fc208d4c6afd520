"""The outer loop: synthetic inputs, their labels and the learning rates, improved step by step on real batches.

One outer step draws a random head, trains the student for T inner steps on the synthetic inputs, and moves the
synthetic set down the gradient of the trained student's loss on a real batch (Wang, Zhu, Torralba, Efros 2018; soft
labels: Sucholutsky, Schonlau 2021; labels of attention: Maekawa, Kobayashi, Funakoshi, Okumura 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.common.choices import LabelKind
from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, outer_seed, stream_rng
from engine.common.schedules import warmup_decay
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import Unroll

WARM_UP, LAST = 0.05, 0.1  # share of the outer steps; last learning rate as a share of the peak
GOOD_EVERY = 10  # outer steps between the states that a rollback can restore
MAX_ROLLBACKS = 8
EXPLODED = 10.0  # times the loss of a uniform guess


class FunctionalStudent(Protocol):
    """A student as a function of its weights; engine.models.functional has them."""

    def init(self, seed: int) -> list[Tensor]: ...
    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor: ...
    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]: ...


@dataclass(frozen=True)
class SyntheticSet:
    """The parameters of a distillation: N synthetic inputs for C classes and T inner steps.

    `inputs` (N, …); `labels` (N, C), of kind "soft" before the softmax; `rates` (T,) before softplus; `attention`
    (N, layers, heads, tokens) before the softmax, None without attention labels.
    """

    inputs: Tensor
    labels: Tensor
    rates: Tensor
    attention: Tensor | None
    kind: LabelKind

    def tensors(self) -> dict[str, Tensor]:
        found = {"inputs": self.inputs, "labels": self.labels, "rates": self.rates}
        return found if self.attention is None else found | {"attention": self.attention}

    @property
    def params(self) -> list[Tensor]:
        """The tensors that `inner_loss` depends on."""
        return [self.inputs, self.labels, *([] if self.attention is None else [self.attention])]

    @property
    def learning_rates(self) -> Tensor:
        """(T,) positive."""
        return F.softplus(self.rates.detach())

    @property
    def targets(self) -> Tensor:
        """(N, C): what the log-probabilities are weighted by in the student's loss."""
        return targets_of(self.labels.detach(), self.kind)


def targets_of(labels: Tensor, kind: LabelKind) -> Tensor:
    """One-hot for hard labels, probabilities for soft ones, the numbers themselves for unrestricted ones."""
    if kind == "hard":
        return F.one_hot(labels.argmax(-1), labels.shape[-1]).to(labels.dtype)
    return labels.softmax(-1) if kind == "soft" else labels


def weighted_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples of -Σ_c y_c log p_c, of logits (n, C) and targets (n, C) of any size and sign."""
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


def attention_loss(attention: Tensor, labels: Tensor) -> Tensor:
    """KL(label ‖ attention) of the first token, mean over inputs, layers and heads; labels are before the softmax."""
    log_labels = labels.log_softmax(-1)
    return (log_labels.exp() * (log_labels - attention.clamp(min=1e-12).log())).sum(-1).mean()


def inner_loss(student: FunctionalStudent, kind: LabelKind) -> Callable[[list[Tensor], list[Tensor], int], Tensor]:
    """The loss of the inner steps for `Unroll`, whose params are those of a SyntheticSet."""

    def loss(weights: list[Tensor], params: list[Tensor], _step: int) -> Tensor:
        logits, attention = student.forward_embeds(weights, params[0], len(params) > 2)
        task = weighted_loss(logits, targets_of(params[1], kind))
        return task if attention is None else task + attention_loss(attention, params[2])

    return loss


@dataclass
class Backoff:
    """What is lowered if memory runs out (batch size, then window) or a step diverges; part of a checkpoint."""

    batch_size: int
    window: int
    rollbacks: int = 0  # each halves the learning rates of the outer loop


class OuterLoop:
    """A distillation in progress: Adam on a synthetic set. The same student, settings, seed and samples take the same
    steps, also after a kill; only a rollback soon after one may go back less far.

    `penalty(inputs)` is a scalar whose gradient is added. `rates` are the outer learning rates of inputs, labels (and
    attention) and inner learning rates.
    """

    def __init__(
        self,
        student: FunctionalStudent,
        synthetic: SyntheticSet,
        optimizer: Optimizer,
        *,
        steps: int,
        rates: tuple[float, float, float],
        backoff: Backoff,
        seed: int,
        dtype: torch.dtype = torch.float32,
        on_host: bool = False,
        penalty: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.student, self.synthetic, self.backoff = student, synthetic, backoff
        self.steps, self.seed, self.dtype, self.penalty = steps, seed, dtype, penalty
        self._unroll = Unroll(inner_loss(student, synthetic.kind), optimizer, on_host)
        tensors = synthetic.tensors()
        for tensor in tensors.values():
            tensor.requires_grad_()
        by_name = {"inputs": rates[0], "labels": rates[1], "attention": rates[1], "rates": rates[2]}
        self.adam = torch.optim.Adam([{"params": [tensor], "lr": by_name[name]} for name, tensor in tensors.items()])
        self._peaks = [group["lr"] for group in self.adam.param_groups]
        self._norms: list[float] = [0.0] * len(tensors)  # running mean of the norm of each gradient
        self._good: tuple[dict[str, Tensor], dict[str, object]] | None = None

    def step(self, number: int, inputs: tuple[Tensor, ...], classes: Tensor) -> float:
        """Outer step `number` (from 0) on a real batch; returns the loss of the trained student on it, before the step.

        If the loss or a gradient is not finite, or the loss explodes, the step is a rollback instead: the last good
        state is restored, the learning rates are halved, and NaN is returned. Raises WinnowError after MAX_ROLLBACKS.
        """
        if self._good is None:
            self._remember()
        synthetic = self.synthetic
        loss, gradients, slopes = self._unroll.hypergradient(
            self.student.init(outer_seed(self.seed, number)),
            synthetic.params,
            synthetic.learning_rates,
            lambda weights: self._outer_loss(weights, inputs, classes),
            self._window(number),
        )
        by_name = {"inputs": gradients[0], "labels": gradients[1]}
        by_name["rates"] = slopes * torch.sigmoid(synthetic.rates.detach())
        if synthetic.attention is not None:
            by_name["attention"] = gradients[2]
        if self.penalty is not None:
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self.penalty(synthetic.inputs), synthetic.inputs)
            by_name["inputs"] = by_name["inputs"] + slope
        finite = all(bool(gradient.norm().isfinite()) for gradient in by_name.values())
        if not finite or not float(loss) < EXPLODED * math.log(synthetic.labels.shape[-1] + 1):
            self._roll_back()
            return math.nan
        if number % GOOD_EVERY == 0:  # known to be good only now that its gradients are finite
            self._remember()
        for index, (name, tensor) in enumerate(synthetic.tensors().items()):
            tensor.grad = self._clipped(index, by_name[name])
        for group, peak in zip(self.adam.param_groups, self._peaks, strict=True):
            group["lr"] = peak * schedule(number, self.steps) / 2**self.backoff.rollbacks
        self.adam.step()
        return float(loss)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs beside the moments of Adam and the backoff."""
        norms = torch.tensor(self._norms, dtype=torch.float64)
        return {name: tensor.detach() for name, tensor in self.synthetic.tensors().items()} | {"usual": norms}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        self._norms = state["usual"].tolist()
        with torch.no_grad():
            for name, tensor in self.synthetic.tensors().items():
                tensor.copy_(state[name])

    def _outer_loss(self, weights: list[Tensor], inputs: tuple[Tensor, ...], classes: Tensor) -> Tensor:
        with torch.autocast(classes.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.student.forward(weights, *inputs)
        return F.cross_entropy(logits.float() if self.dtype != torch.float32 else logits, classes)

    def _window(self, number: int) -> tuple[int, int]:
        """Inner steps (first, stop) that the gradient goes back through: all, or a window that ends at a random one."""
        steps, window = len(self.synthetic.rates), min(self.backoff.window, len(self.synthetic.rates))
        stop = steps
        if window < steps:
            stop = int(stream_rng(Stream.TRUNCATED_WINDOW, self.seed, number).integers(window, steps + 1))
        return stop - window, stop

    def _clipped(self, index: int, gradient: Tensor) -> Tensor:
        """Clipped to twice the running mean of its norm (Feng et al. 2024), so that one bad batch moves nothing far."""
        norm = float(gradient.norm())
        mean = self._norms[index] or norm
        self._norms[index] = 0.9 * mean + 0.1 * min(norm, 2 * mean)
        return gradient * min(1.0, 2 * mean / norm) if norm > 0 else gradient

    def _remember(self) -> None:
        tensors = {name: tensor.detach().clone() for name, tensor in self.synthetic.tensors().items()}
        state = self.adam.state_dict()["state"]
        self._good = (
            tensors,
            {key: {k: torch.as_tensor(v).clone() for k, v in each.items()} for key, each in state.items()},
        )

    def _roll_back(self) -> None:
        self.backoff.rollbacks += 1
        if self.backoff.rollbacks > MAX_ROLLBACKS:
            raise WinnowError(
                f"The distillation diverged {self.backoff.rollbacks} times, also at 1/{2**MAX_ROLLBACKS} of its "
                "learning rates; lower inner.learning_rate or outer.learning_rate."
            )
        assert self._good is not None
        tensors, moments = self._good
        with torch.no_grad():
            for name, tensor in self.synthetic.tensors().items():
                tensor.copy_(tensors[name])
        self.adam.load_state_dict({"state": moments, "param_groups": self.adam.state_dict()["param_groups"]})


def schedule(step: int, steps: int) -> float:
    """Share of the peak rate: up over WARM_UP of the steps, then down in a line to LAST."""
    return warmup_decay(step, steps, int(WARM_UP * steps), LAST)
