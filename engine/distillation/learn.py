"""The outer loop: synthetic inputs, their labels and the learning rates, improved step by step on real batches.

One outer step draws a fresh head, trains the student for T steps on the synthetic inputs, and moves what is learned
down the gradient of the trained student's loss on a real batch (Wang, Zhu, Torralba, Efros 2018; soft labels:
Sucholutsky, Schonlau 2021; labels of attention: Maekawa, Kobayashi, Funakoshi, Okumura 2023).
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

WARM_UP, LAST = 0.05, 0.1  # of the outer steps; the rate at the end as a share of the first
GOOD_EVERY = 10  # steps between the states one can step back to
MAX_ROLLBACKS = 8
EXPLODED = 10.0  # times the loss of guessing


class FunctionalStudent(Protocol):
    """What the outer loop needs of a student."""

    def init(self, seed: int) -> list[Tensor]: ...
    def forward(self, weights: list[Tensor], *inputs: Tensor) -> Tensor: ...
    def forward_embeds(
        self, weights: list[Tensor], inputs: Tensor, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]: ...


@dataclass(frozen=True)
class SyntheticSet:
    """What is learned, as it is stored: N synthetic inputs for C classes and T inner steps.

    `inputs` (N, …); `labels` (N, C) are scores before the softmax where labels are soft; `rates` (T,) before softplus;
    `attention` (N, layers, heads, tokens) before the softmax, None where attention has no labels.
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
        """What `inner_loss` depends on."""
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
    """The loss of the inner steps as `Unroll` wants it; learned = inputs, labels, and attention where there is any."""

    def loss(weights: list[Tensor], learned: list[Tensor], _step: int) -> Tensor:
        logits, attention = student.forward_embeds(weights, learned[0], len(learned) > 2)
        found = weighted_loss(logits, targets_of(learned[1], kind))
        return found if attention is None else found + attention_loss(attention, learned[2])

    return loss


@dataclass
class Backoff:
    """What gives way where memory is short or a step goes wrong; part of the state that is saved."""

    batch_size: int
    window: int
    rollbacks: int = 0  # each halves the rates of the outer loop


class OuterLoop:
    """A distillation under way. The same student, settings, seed and samples take the same steps, also after a kill;
    only a retreat soon after one may go back less far.

    `pull(inputs)` is a penalty whose gradient is added. `rates` are the outer learning rates of inputs, labels (and
    attention) and inner rates.
    """

    def __init__(
        self,
        student: FunctionalStudent,
        learned: SyntheticSet,
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
        self.student, self.learned, self.backoff = student, learned, backoff
        self.steps, self.seed, self.dtype, self.penalty = steps, seed, dtype, penalty
        self._unroll = Unroll(inner_loss(student, learned.kind), optimizer, on_host)
        tensors = learned.tensors()
        for tensor in tensors.values():
            tensor.requires_grad_()
        by_name = {"inputs": rates[0], "labels": rates[1], "attention": rates[1], "rates": rates[2]}
        self.adam = torch.optim.Adam([{"params": [tensor], "lr": by_name[name]} for name, tensor in tensors.items()])
        self._peaks = [group["lr"] for group in self.adam.param_groups]
        self._usual: list[float] = [0.0] * len(tensors)  # running mean of each gradient's norm
        self._good: tuple[dict[str, Tensor], dict[str, object]] | None = None

    def step(self, number: int, inputs: tuple[Tensor, ...], classes: Tensor) -> float:
        """Outer step `number` (from 0) on a real batch; the loss of the trained student on it, before the step.

        Where loss or gradient are not finite, or the loss explodes, nothing is learned: the state goes back to the
        last good one, the rates are halved, and the answer is NaN. Raises WinnowError where that does not help.
        """
        if self._good is None:
            self._remember()
        learned = self.learned
        loss, gradients, slopes = self._unroll.hypergradient(
            self.student.init(outer_seed(self.seed, number)),
            learned.params,
            learned.learning_rates,
            lambda weights: self._outer_loss(weights, inputs, classes),
            self._window(number),
        )
        found = {"inputs": gradients[0], "labels": gradients[1]}
        found["rates"] = slopes * torch.sigmoid(learned.rates.detach())
        if learned.attention is not None:
            found["attention"] = gradients[2]
        if self.penalty is not None:
            with torch.enable_grad():
                found["inputs"] = found["inputs"] + torch.autograd.grad(self.penalty(learned.inputs), learned.inputs)[0]
        sound = all(bool(gradient.norm().isfinite()) for gradient in found.values())
        if not sound or not float(loss) < EXPLODED * math.log(learned.labels.shape[-1] + 1):
            self._roll_back()
            return math.nan
        if number % GOOD_EVERY == 0:  # only now it is known that this state is a good one
            self._remember()
        for place, (name, tensor) in enumerate(learned.tensors().items()):
            tensor.grad = self._clipped(place, found[name])
        for group, peak in zip(self.adam.param_groups, self._peaks, strict=True):
            group["lr"] = peak * schedule(number, self.steps) / 2**self.backoff.rollbacks
        self.adam.step()
        return float(loss)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs beside the moments of Adam and the limits."""
        usual = torch.tensor(self._usual, dtype=torch.float64)
        return {name: tensor.detach() for name, tensor in self.learned.tensors().items()} | {"usual": usual}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` has said."""
        self._usual = state["usual"].tolist()
        with torch.no_grad():
            for name, tensor in self.learned.tensors().items():
                tensor.copy_(state[name])

    def _outer_loss(self, weights: list[Tensor], inputs: tuple[Tensor, ...], classes: Tensor) -> Tensor:
        with torch.autocast(classes.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.student.forward(weights, *inputs)
        return F.cross_entropy(logits.float() if self.dtype != torch.float32 else logits, classes)

    def _window(self, number: int) -> tuple[int, int]:
        """The steps the gradient goes back through: all, or a window that ends at a random step."""
        steps, window = len(self.learned.rates), min(self.backoff.window, len(self.learned.rates))
        stop = steps
        if window < steps:
            stop = int(stream_rng(Stream.TRUNCATED_WINDOW, self.seed, number).integers(window, steps + 1))
        return stop - window, stop

    def _clipped(self, place: int, gradient: Tensor) -> Tensor:
        """At most twice the running mean of its norm (Feng et al. 2024): one bad batch moves nothing far."""
        norm = float(gradient.norm())
        usual = self._usual[place] or norm
        self._usual[place] = 0.9 * usual + 0.1 * min(norm, 2 * usual)
        return gradient * min(1.0, 2 * usual / norm) if norm > 0 else gradient

    def _remember(self) -> None:
        tensors = {name: tensor.detach().clone() for name, tensor in self.learned.tensors().items()}
        state = self.adam.state_dict()["state"]
        self._good = (
            tensors,
            {key: {k: torch.as_tensor(v).clone() for k, v in each.items()} for key, each in state.items()},
        )

    def _roll_back(self) -> None:
        self.backoff.rollbacks += 1
        if self.backoff.rollbacks > MAX_ROLLBACKS:
            raise WinnowError(
                f"The distillation diverged {self.backoff.rollbacks} times, also at 1/{2**MAX_ROLLBACKS} of its rates; "
                "lower inner.learning_rate or outer.learning_rate."
            )
        assert self._good is not None
        tensors, moments = self._good
        with torch.no_grad():
            for name, tensor in self.learned.tensors().items():
                tensor.copy_(tensors[name])
        self.adam.load_state_dict({"state": moments, "param_groups": self.adam.state_dict()["param_groups"]})


def schedule(step: int, steps: int) -> float:
    """Share of the peak rate: up over WARM_UP of the steps, then down in a line to LAST."""
    return warmup_decay(step, steps, int(WARM_UP * steps), LAST)
