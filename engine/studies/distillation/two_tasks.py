"""Two tasks and one body: both distilled sets at once, and what is left of the first task after learning the other.

The body of the student is shared, each task has a head of its own. Accuracies are those on the test sets; where to stop
is chosen on the held-out samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.batching.plans import similar_batches
from engine.common.random_streams import FIRST_EVAL_SEED
from engine.config.distillation import MERGED, REPLAYS, SetKey
from engine.distillation.learn import SyntheticSet, inner_loss, weighted_loss
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import Unroll
from engine.models.functional import FunctionalModel
from engine.studies.distillation.evaluation import Evaluation, Measurement, learned_of, whole
from engine.studies.distillation.learning import output_of
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.trials import PASSES, LabelledBatch, accuracy, descend, eval_steps_of, logits_of
from engine.studies.work_units import WorkUnit

Given = list[tuple[int, LabelledBatch | SyntheticSet]]  # what a step is trained on: (task, batch)
REPLAYED = "replays"  # all of REPLAYS, which begin with the same body


@dataclass(frozen=True)
class Both:
    """Key of a work unit: one kind of merging two sets, or what is left of the first task after learning the other."""

    main: SetKey
    other: SetKey
    method: str  # of MERGED, or REPLAYED
    flops: float  # floating-point operations

    @property
    def part(self) -> str:
        return f"{self.main.name}-{self.method}"

    @property
    def words(self) -> str:
        return MERGED.get(self.method, "one task after the other")


class TwoTasks:
    """One body with two heads. Weights are a dictionary per task, in which those of the body are the same tensors."""

    def __init__(self, study: DistillationStudy, worth: Evaluation, main: SetKey, other: SetKey) -> None:
        self.study, self.worth, self.job, self.keys = study, worth, study.job, (main, other)
        self.tasks = [study.task(key.task, key.student) for key in self.keys]
        self.learners = [study.learner(task, key.student) for task, key in zip(self.tasks, self.keys, strict=True)]
        self.outputs = [output_of(study, key) for key in self.keys]
        self.learned = [
            learned_of(output, learner) for output, learner in zip(self.outputs, self.learners, strict=True)
        ]
        self._epochs: dict[int, tuple[tuple[int, int, int] | None, list[np.ndarray]]] = {}  # by task
        first = self.learners[0]
        # The body: the same places in both lists of weights.
        self.shared = [place for place, name in enumerate(first.names) if name not in first.head_names]

    def start(self, head: int) -> list[list[Tensor]]:
        """Fresh heads on a body that both share, as leaves to be trained."""
        found = [
            [weight.detach().clone().requires_grad_() for weight in learner.init(FIRST_EVAL_SEED + 1000 * place + head)]
            for place, learner in enumerate(self.learners)
        ]
        return self.join(found)

    def join(self, weights: list[list[Tensor]]) -> list[list[Tensor]]:
        """The body of the first in the place of the body of the second."""
        for place in self.shared:
            weights[1][place] = weights[0][place]
        return weights

    def accuracy(self, weights: list[list[Tensor]], place: int, split: str) -> tuple[float, float]:
        return accuracy(self.study, self.tasks[place], self.learners[place], weights[place], split)

    # -- both at once -------------------------------------------------------------------------------------------

    def merged_embeddings(self, head: int, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Inner steps of both sets in turn, each at its learned rates."""
        optimizer = Optimizer(self.study.recipe.inner.optimizer)
        weights = self.start(head)
        begun = time.perf_counter()
        states = [optimizer.init(each) for each in weights]
        counts = [len(each) for each in weights]
        for step in range(max(key.inner_steps for key in self.keys)):
            for place, key in enumerate(self.keys):
                if step < key.inner_steps:
                    states[place] = self._inner_step(optimizer, states[place], counts[place], place, step)
                    for shared in self.shared:
                        states[1 - place][shared] = states[place][shared]
            check()
        seconds = time.perf_counter() - begun
        weights = [state[:count] for state, count in zip(states, counts, strict=True)]
        return [self._row(place, weights, self.keys[place].inner_steps, math.nan, seconds) for place in (0, 1)]

    def _inner_step(self, optimizer: Optimizer, state: list[Tensor], count: int, place: int, step: int) -> list[Tensor]:
        learned: SyntheticSet = self.learned[place]
        unroll = Unroll(inner_loss(self.learners[place], learned.kind), optimizer)
        after = unroll.step(state, count, learned.params, learned.learning_rates[step], step, graph=False)
        return [part.detach() for part in after]

    def merged(self, method: str, head: int, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Decoded texts, or random real samples, of both tasks in every step."""
        if method == "merged_embeddings":
            return self.merged_embeddings(head, check)
        given = [self._small(place, method.removeprefix("merged_"), head) for place in (0, 1)]
        steps, best, kept = self.worth.settings.steps, -1.0, None
        for rate in self.worth.settings.learning_rates:
            weights = self.start(head)
            for step, seconds in self._fit(weights, lambda _step: [(0, given[0]), (1, given[1])], steps, rate, check):
                if step in eval_steps_of(steps):
                    valid = sum(self.accuracy(weights, place, "valid")[0] for place in (0, 1))
                    if valid > best:
                        copy = self.join([[weight.detach().clone() for weight in each] for each in weights])
                        best, kept = valid, (step, seconds, copy, rate)
        assert kept is not None
        step, seconds, weights, rate = kept
        return [self._row(place, weights, step, rate, seconds) for place in (0, 1)]

    # -- one after the other ------------------------------------------------------------------------------------

    def replayed(self, head: int, check: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Learn all of the first task, then all of the other with each kind of replay; how much of the first is left.

        Every step on the other task also sees what is repeated of the first.
        """
        settings = self.worth.settings
        learned = self.start(head)
        steps = [settings.full_epochs * -(-len(task.rows) // settings.batch_size) for task in self.tasks]
        rate = settings.full_learning_rate
        for _ in self._fit(learned, lambda step: [(0, self._real(0, head, step))], steps[0], rate, check):
            pass
        found = {}
        for method in REPLAYS:
            weights = self.join([[weight.detach().clone().requires_grad_() for weight in each] for each in learned])
            kind = method.removeprefix("replay_")
            again = [] if kind == "none" else [(0, self._repeated(kind, head))]
            took = 0.0
            batches = partial(self._beside, again, head)
            for _, seconds in self._fit(weights, batches, steps[1], rate, check):
                took = seconds
            row = self._row(0, weights, steps[1], rate, took)
            found[method] = row | {"samples": 0 if kind == "none" else row["samples"]}
        return found

    def _beside(self, again: Given, head: int, step: int) -> Given:
        return [(1, self._real(1, head, step)), *again]

    def _repeated(self, kind: str, head: int) -> LabelledBatch | SyntheticSet:
        return self.learned[0] if kind == "embeddings" else self._small(0, kind, head)

    # -- parts --------------------------------------------------------------------------------------------------

    def measure(self, key: Both) -> None:
        """The rows of one question, which are a part."""
        heads, rows = self.worth.settings.eval_seeds, []
        with self.job.phase(f"measuring {key.words}", key.flops) as tick:
            for head in range(heads):
                check = partial(tick, head, heads)
                found = (
                    list(self.replayed(head, check).items())
                    if key.method == REPLAYED
                    else [(key.method, row) for row in self.merged(key.method, head, check)]
                )
                rows += [{"method": kind, "eval_seed": head, **row} for kind, row in found]
        self.job.record([self.job.write("evaluation", key.part, rows)])

    def _small(self, place: int, kind: str, head: int) -> LabelledBatch:
        key, task, learner = self.keys[place], self.tasks[place], self.learners[place]
        if kind == "random":
            return self.worth.real_batch(task, self.worth.picks(task, learner, key.per_class, "random", head))
        hard = F.one_hot(torch.tensor(self.outputs[place].facts["classes"]), task.classes).float()
        return self.worth.text_batch(task, self.worth.texts(key), hard)

    def _real(self, place: int, seed: int, step: int) -> LabelledBatch:
        task, size = self.tasks[place], self.worth.settings.batch_size
        per_epoch = -(-len(task.rows) // size)
        now = (place, seed, step // per_epoch)
        if self._epochs.get(place, (None, []))[0] != now:  # in order once an epoch, not at every step
            self._epochs[place] = now, similar_batches(task.lengths["train"], size, seed, step // per_epoch)
        return self.worth.real_batch(task, self._epochs[place][1][step % per_epoch])

    def _fit(
        self,
        weights: list[list[Tensor]],
        batches: Callable[[int], Sequence[tuple[int, LabelledBatch | SyntheticSet]]],
        steps: int,
        rate: float,
        check: Callable[[], None],
    ) -> Iterator[tuple[int, float]]:
        """`descend` on the sum of the losses of a step's batches, each of one task."""
        every = {id(weight): weight for each in weights for weight in each}

        def loss(step: int) -> Tensor:
            return torch.stack([self._loss(weights, place, given) for place, given in batches(step)]).sum()

        return descend(list(every.values()), loss, rate, steps, check)

    def _loss(self, weights: list[list[Tensor]], place: int, given: LabelledBatch | SyntheticSet) -> Tensor:
        learner: FunctionalModel = self.learners[place]
        if isinstance(given, LabelledBatch):
            return weighted_loss(logits_of(self.study, learner, weights[place], given.inputs), given.targets)
        return weighted_loss(learner.forward_embeds(weights[place], given.inputs.detach())[0], given.targets)

    def _row(self, place: int, weights: list[list[Tensor]], steps: int, rate: float, seconds: float) -> dict[str, Any]:
        """The columns of `evaluation` that say how one task fared."""
        key, task = self.keys[place], self.tasks[place]
        valid, _ = self.accuracy(weights, place, "valid")
        right, loss = self.accuracy(weights, place, "test")
        each = self.study.cost_of_token(task, self.learners[place])
        tokens = float(np.mean(task.lengths["train"])) * min(self.worth.settings.batch_size, len(task.rows))
        return {
            **key._asdict(),
            "trained": key.student,
            "samples": task.classes * key.per_class,
            "learning_rate": rate,
            "steps": steps,
            "valid": valid,
            "accuracy": right,
            "loss": loss,
            "seconds": seconds,
            "flops": steps * PASSES * each * tokens,
        }


def units_of_both(study: DistillationStudy, worth: Evaluation, main: SetKey, other: SetKey) -> list[WorkUnit]:
    """Each kind of merging, and one task after the other; all need both sets."""
    once = sum(worth.flops(Measurement((key,), "random", key.student)) for key in (main, other))
    wholes = [worth.flops(Measurement((whole(key.task, key.student),), "full", key.student)) for key in (main, other)]
    flops = dict.fromkeys(MERGED, once) | {REPLAYED: wholes[0] + len(REPLAYS) * wholes[1]}
    keys = [Both(main, other, method, flops[method]) for method in flops]
    return [WorkUnit(key.words, key, key.flops, stage=1) for key in keys]
