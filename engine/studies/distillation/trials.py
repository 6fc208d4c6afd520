"""One trial: a student with a random head is trained on a set, and evaluated on real samples."""

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
from engine.studies.distillation.setup import BATCH_TOKENS, DistillationStudy, forward_flops, synthetic_flops
from engine.studies.distillation.tasks import Task
from engine.training.students import lr_factor

WEIGHT_DECAY = 0.01
EVAL_POINTS = 5  # steps of a training on a small set at which it may stop
PASSES = 3.0  # a training step in forward passes


@dataclass(frozen=True)
class Trial:
    """A trained student, evaluated; `seconds` and `flops` are those of its training alone."""

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
    study: DistillationStudy, task: Task, model: FunctionalModel, weights: list[Tensor], split: str
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy (nats) on a split, in batches of similar length."""
    right, loss, labels = 0, 0.0, task.labels[split]
    lengths = task.lengths[split]
    order = np.argsort(lengths, kind="stable")
    with torch.no_grad():
        for index in _within(order, lengths, BATCH_TOKENS[model.device.type]):
            logits = logits_of(study, model, weights, task.inputs(split, index))
            truth = labels[torch.from_numpy(index).to(labels.device)]
            right += int((logits.argmax(-1) == truth).sum())
            loss += float(F.cross_entropy(logits, truth, reduction="sum"))
    return right / len(order), loss / len(order)


def _within(order: np.ndarray, lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Batches of positions in ascending length, each of at most so many tokens with its padding."""
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - start) * int(lengths[order[stop]]) > tokens:
            yield order[start:stop]
            start = stop


def run_inner_steps(
    study: DistillationStudy, model: FunctionalModel, synthetic: SyntheticSet, seed: int
) -> list[Tensor]:
    """The weights of a student with the random head of `seed` after the inner steps on a synthetic set."""
    unroll = Unroll(inner_loss(model, synthetic.kind), Optimizer(study.recipe.inner.optimizer))
    return unroll.train(model.init(seed), synthetic.params, synthetic.learning_rates)


def inner_trial(
    study: DistillationStudy, task: Task, model: FunctionalModel, synthetic: SyntheticSet, seed: int
) -> Trial:
    """The student trained as the set was learned: by the inner steps, at the learned rates."""
    begun = time.perf_counter()
    weights = run_inner_steps(study, model, synthetic, seed)
    seconds = time.perf_counter() - begun
    valid, _ = accuracy(study, task, model, weights, "valid")
    right, loss = accuracy(study, task, model, weights, "test")
    steps = len(synthetic.rates)
    flops = steps * PASSES * synthetic_flops(model, synthetic.inputs.detach())
    return Trial(len(synthetic.inputs), math.nan, steps, valid, right, loss, seconds, flops)


def fitted_trial(
    study: DistillationStudy,
    task: Task,
    model: FunctionalModel,
    seed: int,
    batches: Callable[[int], Iterable[LabelledBatch]],
    *,
    rates: Sequence[float],
    steps: int,
    eval_steps: Sequence[int],
    samples: int,
    check: Callable[[], None],
) -> Trial:
    """The student trained with AdamW on the batches of epoch 0, 1, …, for at most `steps` steps at each of `rates`.

    At which of `eval_steps` to stop, and which rate, is chosen on the held-out samples. `check` is called after every
    step and may raise to stop.
    """
    best: tuple[float, float, int, float, list[Tensor]] | None = None
    for rate in rates:
        seconds = 0.0
        for step, weights, took in _train(study, model, seed, batches, rate, steps, eval_steps, check):
            seconds = took
            valid, _ = accuracy(study, task, model, weights, "valid")
            if best is None or valid > best[0]:
                best = valid, rate, step, seconds, [weight.detach().clone() for weight in weights]
    assert best is not None
    valid, rate, step, seconds, weights = best
    right, loss = accuracy(study, task, model, weights, "test")
    first = next(iter(batches(0))).inputs
    flops = step * PASSES * forward_flops(model, first)
    return Trial(samples, rate, step, valid, right, loss, seconds, flops)


def _train(
    study: DistillationStudy,
    model: FunctionalModel,
    seed: int,
    batches: Callable[[int], Iterable[LabelledBatch]],
    rate: float,
    steps: int,
    eval_steps: Sequence[int],
    check: Callable[[], None],
) -> Iterator[tuple[int, list[Tensor], float]]:
    """Train from a random head; at each of `eval_steps` the step, the weights, and the seconds so far."""
    weights = [weight.detach().clone().requires_grad_() for weight in model.init(seed)]
    every = itertools.chain.from_iterable(map(batches, itertools.count()))

    def loss(_step: int) -> Tensor:
        batch = next(every)
        return weighted_loss(logits_of(study, model, weights, batch.inputs), batch.targets)

    for step, seconds in run_adamw(weights, loss, rate, steps, check):
        if step in eval_steps:
            yield step, weights, seconds


def run_adamw(
    weights: Sequence[Tensor],
    loss: Callable[[int], Tensor],
    rate: float,
    steps: int,
    check: Callable[[], None],
) -> Iterator[tuple[int, float]]:
    """AdamW on `weights` in place: warm-up to `rate`, linear decay to zero. After each step (its number, seconds)."""
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
    study: DistillationStudy, model: FunctionalModel, weights: list[Tensor], inputs: tuple[Tensor, ...]
) -> Tensor:
    """Logits (n, C) of real samples in float32, computed in the number format of the run."""
    with torch.autocast(model.device.type, study.dtype, enabled=study.dtype != torch.float32):
        return model.forward(weights, *inputs).float()


def eval_steps_of(steps: int) -> list[int]:
    """Steps to stop at, each about twice the one before; the last is `steps`."""
    return sorted({max(1, round(steps / 2**place)) for place in range(EVAL_POINTS)})
