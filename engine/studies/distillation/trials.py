"""One trial: a student with a fresh head is trained on something, and measured on real samples."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.distillation.learn import SyntheticSet, inner_loss, weighted_loss
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import Unroll
from engine.models.functional import FunctionalModel
from engine.studies.distillation.setup import BATCH_TOKENS, DistillationStudy, Task
from engine.training.students import lr_factor

WEIGHT_DECAY = 0.01
EVAL_POINTS = 5  # moments of a training on a small set at which one may stop
PASSES = 3.0  # a training step in forward passes


@dataclass(frozen=True)
class Trial:
    """A trained student, measured; `seconds` and `flops` are those of its training alone."""

    samples: int
    learning_rate: float
    steps: int
    valid: float
    accuracy: float
    loss: float
    seconds: float
    flops: float


@dataclass(frozen=True)
class LabelledBatch:
    """What one step is trained on: real inputs, and what their log-probabilities are weighted by, (n, C)."""

    inputs: tuple[Tensor, ...]
    targets: Tensor


def accuracy(
    study: DistillationStudy, task: Task, learner: FunctionalModel, weights: list[Tensor], split: str
) -> tuple[float, float]:
    """Share of right answers and mean cross-entropy (nats) on a split, read in batches of similar length."""
    right, loss, labels = 0, 0.0, task.labels[split]
    lengths = task.lengths[split]
    order = np.argsort(lengths, kind="stable")
    with torch.no_grad():
        for index in _within(order, lengths, BATCH_TOKENS[learner.device.type]):
            logits = logits_of(study, learner, weights, task.inputs(split, index))
            asked = labels[torch.from_numpy(index).to(labels.device)]
            right += int((logits.argmax(-1) == asked).sum())
            loss += float(F.cross_entropy(logits, asked, reduction="sum"))
    return right / len(order), loss / len(order)


def _within(order: np.ndarray, lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Batches of positions in ascending length, each of at most so many tokens with its padding."""
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - start) * int(lengths[order[stop]]) > tokens:
            yield order[start:stop]
            start = stop


def trained_on(study: DistillationStudy, learner: FunctionalModel, learned: SyntheticSet, head: int) -> list[Tensor]:
    """The weights of a student with a fresh head after the inner steps on what was learned."""
    unroll = Unroll(inner_loss(learner, learned.kind), Optimizer(study.recipe.inner.optimizer))
    return unroll.train(learner.init(head), learned.params, learned.learning_rates)


def learned_trial(
    study: DistillationStudy, task: Task, learner: FunctionalModel, learned: SyntheticSet, head: int
) -> Trial:
    """The student trained as it was distilled for: the inner steps at the learned rates."""
    begun = time.perf_counter()
    weights = trained_on(study, learner, learned, head)
    seconds = time.perf_counter() - begun
    valid, _ = accuracy(study, task, learner, weights, "valid")
    right, loss = accuracy(study, task, learner, weights, "test")
    steps = len(learned.rates)
    operations = steps * PASSES * study.seen_cost(learner, learned.inputs.detach())
    return Trial(len(learned.inputs), math.nan, steps, valid, right, loss, seconds, operations)


def fitted_trial(
    study: DistillationStudy,
    task: Task,
    learner: FunctionalModel,
    head: int,
    batches: Callable[[int], Iterable[LabelledBatch]],
    *,
    rates: Sequence[float],
    steps: int,
    eval_steps: Sequence[int],
    samples: int,
    check: Callable[[], None],
) -> Trial:
    """The student trained with AdamW on the batches of epoch 0, 1, …, for at most `steps` steps at each of `rates`.

    Where to stop (at one of `eval_steps`) and at which rate is what was best on the held-out samples. `check` is called
    after every step and may raise to stop.
    """
    best: tuple[float, float, int, float, list[Tensor]] | None = None
    for rate in rates:
        seconds = 0.0
        for step, weights, took in fitted(study, learner, head, batches, rate, steps, eval_steps, check):
            seconds = took
            valid, _ = accuracy(study, task, learner, weights, "valid")
            if best is None or valid > best[0]:
                best = valid, rate, step, seconds, [weight.detach().clone() for weight in weights]
    assert best is not None
    valid, rate, step, seconds, weights = best
    right, loss = accuracy(study, task, learner, weights, "test")
    first = next(iter(batches(0))).inputs
    operations = step * PASSES * study.cost(learner, first)
    return Trial(samples, rate, step, valid, right, loss, seconds, operations)


def fitted(
    study: DistillationStudy,
    learner: FunctionalModel,
    head: int,
    batches: Callable[[int], Iterable[LabelledBatch]],
    rate: float,
    steps: int,
    eval_steps: Sequence[int],
    check: Callable[[], None],
) -> Iterator[tuple[int, list[Tensor], float]]:
    """Train from a fresh head; at each mark the step, the weights, and the seconds so far."""
    weights = [weight.detach().clone().requires_grad_() for weight in learner.init(head)]
    every = endless(batches)

    def loss(_step: int) -> Tensor:
        batch = next(every)
        return weighted_loss(logits_of(study, learner, weights, batch.inputs), batch.targets)

    for step, seconds in descend(weights, loss, rate, steps, check):
        if step in eval_steps:
            yield step, weights, seconds


def descend(
    weights: Sequence[Tensor],
    loss: Callable[[int], Tensor],
    rate: float,
    steps: int,
    check: Callable[[], None],
) -> Iterator[tuple[int, float]]:
    """AdamW on `weights` in place: up to `rate`, then down to zero in a line; after each step (its number, seconds)."""
    adam = torch.optim.AdamW(weights, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
    seconds = 0.0
    for step in range(steps):
        begun = time.perf_counter()
        for group in adam.param_groups:
            group["lr"] = rate * lr_factor(step, steps)
        adam.zero_grad(set_to_none=True)
        loss(step).backward()
        adam.step()
        seconds += time.perf_counter() - begun
        check()
        yield step + 1, seconds


def logits_of(
    study: DistillationStudy, learner: FunctionalModel, weights: list[Tensor], inputs: tuple[Tensor, ...]
) -> Tensor:
    """Logits of real samples in float32, computed in the type of the run."""
    with torch.autocast(learner.device.type, study.dtype, enabled=study.dtype != torch.float32):
        return learner.forward(weights, *inputs).float()


def endless(batches: Callable[[int], Iterable[LabelledBatch]]) -> Iterator[LabelledBatch]:
    """The batches of epoch 0, then of epoch 1, and so on."""
    for epoch in itertools.count():
        yield from batches(epoch)


def eval_steps_of(steps: int) -> list[int]:
    """Moments to stop at, each about twice the one before; the last is the end."""
    return sorted({max(1, round(steps / 2**place)) for place in range(EVAL_POINTS)})
