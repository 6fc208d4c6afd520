"""Training a group of students at once, each on its own samples, with or without its own teacher.

One step of the group (engine.training.group) is one step of each of its students. The loss of a student is

    (1 - w) CE(student, label) + w T^2 KL(teacher_T || student_T)        w = kd_weight, T = temperature

summed over the group, so that every student's gradient is its own. Numbers are predicted under squared errors:
(1 - w) (label - student)^2 + w (teacher - student)^2.

The T^2 keeps the gradient of the second term of one size whatever T is (Hinton, Vinyals, Dean 2015, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.common.random_streams import Stream, random_subset, stream_rng
from engine.common.schedules import warmup_decay
from engine.training.group import Group
from engine.training.views import Samples

WARM_UP = 0.1  # of the steps; then the learning rate falls to zero in a line

Tick = Callable[[int, int], None]
OnEpochEnd = Callable[[int, Group], None]


@dataclass(frozen=True)
class Student:
    """One student: what it trains on, and the outputs of its teacher.

    `kept` (m,) are indices of the training samples. With `fresh`, every epoch draws m of them anew instead.
    `teacher` (views, n, C) are the cached outputs of its teacher for all n training samples; None for no teacher.
    """

    kept: NDArray[np.int64]
    seed: int
    kd_weight: float = 0.0
    fresh: bool = False
    teacher: Tensor | None = None


@dataclass(frozen=True)
class Schedule:
    """How a group is trained: for `steps` steps if that is set, else for `epochs` over each student's own samples."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    temperature: float
    steps: int | None = None
    stop_after: int | None = None  # epochs; the learning rate still falls as if all were done
    dtype: torch.dtype = torch.float32

    def steps_of(self, samples: int) -> int:
        return self.steps or self.epochs * math.ceil(samples / self.batch_size)


def train_group(
    group: Group,
    students: Sequence[Student],
    samples: Samples,
    labels: Tensor,
    schedule: Schedule,
    *,
    online_teachers: Group | None = None,
    tick: Tick | None = None,
    on_epoch_end: OnEpochEnd | None = None,
) -> int:
    """Train `group` in place, one student for each of its members; returns the steps each has taken.

    `labels` (n,) are class numbers, or floats to be predicted. All students keep equally many samples.
    `online_teachers` is an untrained group of the same size: member i teaches student i while it learns the labels on
    the same batches. `on_epoch_end(epoch, group)` is called after every epoch, from 1; `tick(done, total)` after every
    step, and may raise to stop.

    Raises ValueError if the students keep different numbers of samples.
    """
    count = len(students[0].kept)
    if any(len(student.kept) != count for student in students):
        raise ValueError("the students of a group must keep equally many samples")
    device = group.device
    batch_size = min(schedule.batch_size, count)
    per_epoch = math.ceil(count / batch_size)
    total = schedule.steps_of(count)
    last = total if schedule.stop_after is None else min(total, schedule.stop_after * per_epoch)
    trained = [*group.weights.values(), *(online_teachers.weights.values() if online_teachers else ())]
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, total))
    kd_weight = torch.tensor([student.kd_weight for student in students], device=device)
    teachers = _stacked_teachers(students)
    group.base.train()
    done, epoch = 0, 0
    torch.manual_seed(students[0].seed)  # of dropout, if the networks have it
    while done < last:
        view = epoch % samples.views
        order = _order(students, len(samples), epoch, device)
        for start in range(0, count, batch_size):
            if done == last:
                break
            index = order[:, start : start + batch_size]
            inputs = samples.take(index, view)
            outputs = group(inputs)
            teacher_logits = online_teachers(inputs) if online_teachers else _teacher_logits(teachers, view, index)
            loss = _loss(outputs, labels[index], teacher_logits, kd_weight, schedule.temperature)
            if online_teachers:
                assert teacher_logits is not None
                loss = loss + _task_loss(teacher_logits, labels[index]).mean(1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
            done += 1
            if tick is not None:
                tick(done, last)
        epoch += 1
        if on_epoch_end is not None:
            group.base.eval()
            on_epoch_end(epoch, group)
            group.base.train()
    group.base.eval()
    return done


def lr_factor(step: int, total: int) -> float:
    """Share of the peak rate: up over WARM_UP of the steps, then down to zero in a line."""
    return warmup_decay(step, total, int(WARM_UP * total))


def _order(students: Sequence[Student], count: int, epoch: int, device: torch.device) -> Tensor:
    """(S, m) indices in the order each student trains on them in this epoch; of its seed and the epoch alone."""
    rows = []
    for student in students:
        kept = student.kept
        if student.fresh:
            kept = random_subset(len(kept), count, student.seed, epoch).nonzero()[0]
        rows.append(stream_rng(Stream.BATCH_ORDER, student.seed, epoch).permutation(kept))
    return torch.from_numpy(np.stack(rows)).to(device)


def _stacked_teachers(students: Sequence[Student]) -> tuple[Tensor, Tensor] | None:
    """Outputs of the different teachers (teachers, views, n, C), and the index of each student's teacher (S, 1)."""
    known: dict[int, Tensor] = {}
    for student in students:
        if student.teacher is not None:
            known[id(student.teacher)] = student.teacher
    if not known:
        return None
    index_of = {key: index for index, key in enumerate(known)}
    # A student without a teacher has weight 0, so it may have the outputs of any.
    which = [index_of.get(id(student.teacher), 0) for student in students]
    stacked = next(iter(known.values()))[None] if len(known) == 1 else torch.stack(list(known.values()))
    return stacked, torch.tensor(which, device=stacked.device)[:, None]


def _teacher_logits(teachers: tuple[Tensor, Tensor] | None, view: int, index: Tensor) -> Tensor | None:
    """(S, B, C) for the samples at index (S, B) under one view."""
    return None if teachers is None else teachers[0][teachers[1], view, index].float()


def _loss(
    outputs: Tensor, labels: Tensor, teacher_logits: Tensor | None, kd_weight: Tensor, temperature: float
) -> Tensor:
    """Sum over the students of the loss of the module docstring; outputs and teacher_logits (S, B, C)."""
    task = _task_loss(outputs, labels)
    if teacher_logits is None:
        return task.mean(1).sum()
    kd = kd_loss(teacher_logits.detach(), outputs, temperature)
    return ((1 - kd_weight) * task.mean(1) + kd_weight * kd.mean(1)).sum()


def _task_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """(S, B) cross-entropy, or squared error of labels that are numbers."""
    if labels.is_floating_point():
        return (outputs[..., 0] - labels) ** 2
    return F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def kd_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher_T || student_T) of logits (..., C), one value (...) each; for C = 1 the squared difference."""
    if student.shape[-1] == 1:
        return (teacher[..., 0] - student[..., 0]) ** 2
    log_t = torch.log_softmax(teacher / temperature, -1)
    log_s = torch.log_softmax(student / temperature, -1)
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(-1)


@dataclass(frozen=True)
class Performance:
    """One student after its last epoch: accuracy (or R² of numbers) and loss, in the units of the labels."""

    accuracy: float
    loss: float


def measure(outputs: Tensor, labels: Tensor) -> list[Performance]:
    """Each of S students from its outputs (S, n, C) and the labels (n,)."""
    found = []
    for each in outputs:
        loss = float(_task_loss(each[None], labels[None]).mean(dtype=torch.float64))
        if labels.is_floating_point():
            spread = float(((labels - labels.mean()) ** 2).mean(dtype=torch.float64))
            found.append(Performance(1 - loss / spread, loss))
        else:
            found.append(Performance(float((each.argmax(-1) == labels).double().mean()), loss))
    return found
