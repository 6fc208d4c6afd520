"""Training a group of students at once, each on its own samples, with or without its own teacher.

Small networks leave a processor idle, so a group is trained as one network with stacked weights (torch.func.vmap): one
step of the group is one step of each of its students. The loss of a student is

    (1 - w) CE(student, label) + w T^2 KL(teacher_T || student_T)        w = kd_weight, T = temperature

summed over the group, so that every student's gradient is its own. Numbers are predicted under squared errors:
(1 - w) (label - student)^2 + w (teacher - student)^2.

The T^2 keeps the gradient of the second term of one size whatever T is (Hinton, Vinyals, Dean 2015, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from engine.common.random_streams import Stream, random_subset, stream_rng
from engine.common.schedules import warmup_decay
from engine.training.views import Samples

WARM_UP = 0.1  # of the steps; then the learning rate falls to zero in a line
EVALUATED = {"cpu": 2048, "cuda": 16_384}  # outputs computed at once, over the whole group

Tick = Callable[[int, int], None]
Watch = Callable[[int, "Group"], None]


@dataclass(frozen=True)
class Student:
    """One student: what it trains on, and what its teacher says.

    `kept` (m,) are positions in the training samples. With `fresh`, every epoch draws m of them anew instead.
    `teacher` (views, n, C) are the cached outputs of its teacher for all n training samples; None for no teacher.
    """

    kept: NDArray[np.int64]
    seed: int
    kd_weight: float = 0.0
    fresh: bool = False
    teacher: Tensor | None = None


@dataclass(frozen=True)
class Schedule:
    """How a group learns. `steps` where every student takes that many; else `epochs` over its own samples."""

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


class Group:
    """Networks of one architecture whose weights are stacked: every weight has a first dimension of S students.

    Networks whose `stacks` is false are run one after the other; the rest of a step is still done for all at once.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.base = networks[0].to(device)
        self.size = len(networks)
        self.device, self.dtype = device, dtype
        weights, buffers = stack_module_state([network.to(device) for network in networks])
        self.weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        self.buffers = buffers

    def __call__(self, inputs: tuple[Tensor, ...], *, shared: bool = False) -> Tensor:
        """Outputs (S, B, C) of inputs (S, B, ...), or of the same inputs (B, ...) for all where `shared`."""
        return self._run(inputs, shared, "forward")

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Embeddings (S, B, d) of shared inputs (B, ...)."""
        return self._run(inputs, True, "features")

    def _run(self, inputs: tuple[Tensor, ...], shared: bool, method: str) -> Tensor:
        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], *x: Tensor) -> Tensor:
            return functional_call(_Method(self.base, method), (_inside(weights), _inside(buffers)), x)

        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.size == 1 or not self.base.stacks:
                each = [
                    one(_of(self.weights, i), _of(self.buffers, i), *(x if shared else x[i] for x in inputs))
                    for i in range(self.size)
                ]
                outputs = torch.stack(each)
            else:
                dims = (0, 0, *([None if shared else 0] * len(inputs)))
                outputs = vmap(one, in_dims=dims, randomness="different")(self.weights, self.buffers, *inputs)
        return outputs.float()

    def network(self, member: int) -> nn.Module:
        """The architecture with the weights of one student."""
        state = {name: weight[member].detach() for name, weight in (self.weights | self.buffers).items()}
        self.base.load_state_dict(state, strict=False)
        return self.base


class _Method(nn.Module):
    """Lets functional_call reach another method than forward."""

    def __init__(self, inner: nn.Module, method: str) -> None:
        super().__init__()
        self.inner, self.method = inner, method

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.inner, self.method)(*inputs)


def _inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"inner.{name}": value for name, value in state.items()}


def _of(state: dict[str, Tensor], member: int) -> dict[str, Tensor]:
    return {name: value[member] for name, value in state.items()}


def train_group(
    group: Group,
    students: Sequence[Student],
    samples: Samples,
    labels: Tensor,
    schedule: Schedule,
    *,
    peers: Group | None = None,
    tick: Tick | None = None,
    watch: Watch | None = None,
) -> int:
    """Train `group` in place, one student for each of its members; the answer is the steps each has taken.

    `labels` (n,) are class numbers, or floats to be predicted. All students keep equally many samples. With `peers`,
    an untrained group of the same size, each student's teacher is its peer, which learns the labels on the same
    batches. `watch(epoch, group)` is called after every epoch, from 1; `tick(done, total)` after every step, and may
    raise to stop.
    """
    count = len(students[0].kept)
    if any(len(student.kept) != count for student in students):
        raise ValueError("the students of a group must keep equally many samples")
    device = group.device
    batch_size = min(schedule.batch_size, count)
    per_epoch = math.ceil(count / batch_size)
    total = schedule.steps_of(count)
    last = total if schedule.stop_after is None else min(total, schedule.stop_after * per_epoch)
    trained = [*group.weights.values(), *(peers.weights.values() if peers else ())]
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, total))
    kd_weight = torch.tensor([student.kd_weight for student in students], device=device)
    teachers = _stacked(students, group.size)
    group.base.train()
    done, epoch = 0, 0
    torch.manual_seed(students[0].seed)  # dropout, where a network has it
    while done < last:
        view = epoch % samples.views
        order = _order(students, len(samples), epoch, device)
        for start in range(0, count, batch_size):
            if done == last:
                break
            index = order[:, start : start + batch_size]
            inputs = samples.take(index, view)
            outputs = group(inputs)
            said = peers(inputs) if peers else _said(teachers, view, index)
            loss = _loss(outputs, labels[index], said, kd_weight, schedule.temperature)
            if peers:
                assert said is not None
                loss = loss + _task_loss(said, labels[index]).mean(1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
            done += 1
            if tick is not None:
                tick(done, last)
        epoch += 1
        if watch is not None:
            group.base.eval()
            watch(epoch, group)
            group.base.train()
    group.base.eval()
    return done


def rate_at(step: int, total: int) -> float:
    """Share of the peak rate: up over WARM_UP of the steps, then down to zero in a line."""
    return warmup_decay(step, total, int(WARM_UP * total))


def _order(students: Sequence[Student], count: int, epoch: int, device: torch.device) -> Tensor:
    """(S, m) positions in the order each student meets them in this epoch; of its seed and the epoch alone."""
    rows = []
    for student in students:
        kept = student.kept
        if student.fresh:
            kept = random_subset(len(kept), count, student.seed, epoch).nonzero()[0]
        rows.append(stream_rng(Stream.BATCH_ORDER, student.seed, epoch).permutation(kept))
    return torch.from_numpy(np.stack(rows)).to(device)


def _stacked(students: Sequence[Student], size: int) -> tuple[Tensor, Tensor] | None:
    """Different teachers' outputs (teachers, views, n, C), and which of them each student listens to (S,)."""
    known: dict[int, Tensor] = {}
    for student in students:
        if student.teacher is not None:
            known[id(student.teacher)] = student.teacher
    if not known:
        return None
    places = {key: place for place, key in enumerate(known)}
    # A student without a teacher has weight 0, so whose outputs it is given does not matter.
    which = [places.get(id(student.teacher), 0) for student in students]
    stacked = next(iter(known.values()))[None] if len(known) == 1 else torch.stack(list(known.values()))
    return stacked, torch.tensor(which, device=stacked.device)[:, None]


def _said(teachers: tuple[Tensor, Tensor] | None, view: int, index: Tensor) -> Tensor | None:
    return None if teachers is None else teachers[0][teachers[1], view, index].float()


def _loss(outputs: Tensor, labels: Tensor, said: Tensor | None, kd_weight: Tensor, temperature: float) -> Tensor:
    task = _task_loss(outputs, labels)
    if said is None:
        return task.mean(1).sum()
    far = distance(said.detach(), outputs, temperature)
    return ((1 - kd_weight) * task.mean(1) + kd_weight * far.mean(1)).sum()


def _task_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """(S, B) cross-entropy, or squared error where the labels are numbers."""
    if labels.is_floating_point():
        return (outputs[..., 0] - labels) ** 2
    return F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def distance(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher_T || student_T) of logits (..., C), one value (...) each; for C = 1 the squared difference."""
    if student.shape[-1] == 1:
        return (teacher[..., 0] - student[..., 0]) ** 2
    log_t = torch.log_softmax(teacher / temperature, -1)
    log_s = torch.log_softmax(student / temperature, -1)
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(-1)


def outputs_of(group: Group, samples: Samples, view: int = 0, *, features: bool = False) -> Tensor:
    """Outputs (S, n, C), or embeddings (S, n, d), of every sample under one view, on the CPU."""
    return torch.cat([part for _, part in batches_of(group, samples, view, features=features)], 1)


def batches_of(group: Group, samples: Samples, view: int = 0, *, features: bool = False) -> Any:
    """The same in batches: pairs of the positions (B,) and their outputs (S, B, C) on the CPU."""
    size = max(1, EVALUATED[group.device.type] // group.size)
    was_training = group.base.training
    group.base.eval()
    with torch.no_grad():
        for start in range(0, len(samples), size):
            index = torch.arange(start, min(start + size, len(samples)), device=group.device)
            inputs = samples.take(index, view)
            yield index.cpu(), (group.features(inputs) if features else group(inputs, shared=True)).cpu()
    group.base.train(was_training)


@dataclass(frozen=True)
class Measured:
    """One student after its last epoch: accuracy (or R² of numbers) and loss, in the units of the labels."""

    accuracy: float
    loss: float


def measure(outputs: Tensor, labels: Tensor) -> list[Measured]:
    """Each of S students from its outputs (S, n, C) and the labels (n,)."""
    found = []
    for each in outputs:
        loss = float(_task_loss(each[None], labels[None]).mean(dtype=torch.float64))
        if labels.is_floating_point():
            spread = float(((labels - labels.mean()) ** 2).mean(dtype=torch.float64))
            found.append(Measured(1 - loss / spread, loss))
        else:
            found.append(Measured(float((each.argmax(-1) == labels).double().mean()), loss))
    return found
