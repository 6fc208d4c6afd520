"""Two tasks and one body: both distilled sets at once, and what is left of the first task after learning the other.

The body of the student is shared, each task has a head of its own. Accuracies are those on the test sets; at which step
to stop is chosen on the held-out samples.
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
from numpy.typing import NDArray
from torch import Tensor

from engine.batching.plans import similar_batches
from engine.common.random_streams import FIRST_EVAL_SEED
from engine.config.distillation import MERGED, OTHER, REPLAYS, SetKey
from engine.distillation.learn import SyntheticSet, inner_loss, weighted_loss
from engine.distillation.optimizers import Optimizer
from engine.distillation.unroll import Unroll
from engine.studies.distillation.evaluation import Evaluation, Measurement, all_data
from engine.studies.distillation.learned_sets import load_set, loaded_synthetic
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.training_sets import TrainingSets
from engine.studies.distillation.trials import PASSES, LabelledBatch, accuracy, eval_steps_of, logits_of, run_adamw
from engine.studies.work_units import WorkUnit

StepBatches = Sequence[tuple[int, LabelledBatch | SyntheticSet]]  # what one step is trained on: (task, batch)
ALL_REPLAYS = "replays"  # one unit for all of REPLAYS, which begin with the same body


@dataclass(frozen=True)
class TwoTaskMeasurement:
    """Key of a work unit: one way to merge two sets, or how much is left of the main task after learning the other."""

    main: SetKey
    other: SetKey
    method: str  # of MERGED, or ALL_REPLAYS
    flops: float  # floating-point operations

    @property
    def part(self) -> str:
        return f"{self.main.name}-{self.method}"

    @property
    def name(self) -> str:
        return MERGED.get(self.method, "one task after the other")


class TwoTasks:
    """One body with two heads. Weights are a list per task, in which those of the body are the same tensors.

    Every `place` is 0 for the main task and 1 for the other.
    """

    def __init__(self, study: DistillationStudy, sets: TrainingSets, main: SetKey, other: SetKey) -> None:
        self.study, self.sets, self.job, self.settings = study, sets, study.job, study.recipe.evaluation
        self.keys = (main, other)
        self.tasks, self.models = zip(*(study.opened[key.task, key.student] for key in self.keys), strict=True)
        self.synthetic = [
            loaded_synthetic(load_set(study, key), model) for key, model in zip(self.keys, self.models, strict=True)
        ]
        self._epochs: dict[int, tuple[tuple[int, int] | None, list[NDArray[np.int64]]]] = {}  # by place
        first = self.models[0]
        self.body = [i for i, name in enumerate(first.names) if name not in first.head_names]  # in both lists

    def init(self, seed: int) -> list[list[Tensor]]:
        """Random heads on a body that both share, as leaves to be trained."""
        weights = [
            [weight.detach().clone().requires_grad_() for weight in model.init(FIRST_EVAL_SEED + 1000 * place + seed)]
            for place, model in enumerate(self.models)
        ]
        return self.share_body(weights)

    def share_body(self, weights: list[list[Tensor]]) -> list[list[Tensor]]:
        """The body of the first in the place of the body of the second."""
        for i in self.body:
            weights[1][i] = weights[0][i]
        return weights

    def accuracy(self, weights: list[list[Tensor]], place: int, split: str) -> tuple[float, float]:
        return accuracy(self.study, self.tasks[place], self.models[place], weights[place], split)

    # -- both at once -------------------------------------------------------------------------------------------

    def merged_embeddings(self, seed: int, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Inner steps of both sets in turn, each at its learned rates."""
        optimizer = Optimizer(self.study.recipe.inner.optimizer)
        weights = self.init(seed)
        begun = time.perf_counter()
        states = [optimizer.init(each) for each in weights]
        counts = [len(each) for each in weights]
        for step in range(max(key.inner_steps for key in self.keys)):
            for place, key in enumerate(self.keys):
                if step < key.inner_steps:
                    states[place] = self._inner_step(optimizer, states[place], counts[place], place, step)
                    for i in self.body:
                        states[1 - place][i] = states[place][i]
            check()
        seconds = time.perf_counter() - begun
        weights = [state[:count] for state, count in zip(states, counts, strict=True)]
        return [self._row(place, weights, self.keys[place].inner_steps, math.nan, seconds) for place in (0, 1)]

    def _inner_step(self, optimizer: Optimizer, state: list[Tensor], count: int, place: int, step: int) -> list[Tensor]:
        synthetic = self.synthetic[place]
        unroll = Unroll(inner_loss(self.models[place], synthetic.kind), optimizer)
        after = unroll.step(state, count, synthetic.params, synthetic.learning_rates[step], step, graph=False)
        return [part.detach() for part in after]

    def merged(self, method: str, seed: int, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Decoded texts, or random real samples, of both tasks in every step."""
        if method == "merged_embeddings":
            return self.merged_embeddings(seed, check)
        batches = [(place, self._small_batch(place, method.removeprefix("merged_"), seed)) for place in (0, 1)]
        steps, best, kept = self.settings.steps, -1.0, None
        for rate in self.settings.learning_rates:
            weights = self.init(seed)
            for step, seconds in self._train(weights, lambda _step: batches, steps, rate, check):
                if step in eval_steps_of(steps):
                    valid = sum(self.accuracy(weights, place, "valid")[0] for place in (0, 1))
                    if valid > best:
                        copy = self.share_body([[weight.detach().clone() for weight in each] for each in weights])
                        best, kept = valid, (step, seconds, copy, rate)
        assert kept is not None
        step, seconds, weights, rate = kept
        return [self._row(place, weights, step, rate, seconds) for place in (0, 1)]

    # -- one after the other ------------------------------------------------------------------------------------

    def replayed(self, seed: int, check: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Learn all of the main task, then all of the other with each kind of replay; how much of the main one is left.

        Every step on the other task is also trained on what is replayed of the main one.
        """
        settings = self.settings
        learned = self.init(seed)
        steps = [settings.full_epochs * -(-len(task.rows) // settings.batch_size) for task in self.tasks]
        rate = settings.full_learning_rate
        for _ in self._train(learned, lambda step: [(0, self._real_batch(0, seed, step))], steps[0], rate, check):
            pass
        rows = {}
        for method in REPLAYS:
            weights = [[weight.detach().clone().requires_grad_() for weight in each] for each in learned]
            weights = self.share_body(weights)
            kind = method.removeprefix("replay_")
            replay: StepBatches = [] if kind == "none" else [(0, self._replay_batch(kind, seed))]
            took = 0.0
            for _, seconds in self._train(weights, partial(self._with_replay, replay, seed), steps[1], rate, check):
                took = seconds
            row = self._row(0, weights, steps[1], rate, took)
            rows[method] = row | {"samples": 0 if kind == "none" else row["samples"]}
        return rows

    def _with_replay(self, replay: StepBatches, seed: int, step: int) -> StepBatches:
        return [(1, self._real_batch(1, seed, step)), *replay]

    def _replay_batch(self, kind: str, seed: int) -> LabelledBatch | SyntheticSet:
        return self.synthetic[0] if kind == "embeddings" else self._small_batch(0, kind, seed)

    # -- parts --------------------------------------------------------------------------------------------------

    def measure(self, key: TwoTaskMeasurement) -> None:
        """Do one unit, whose rows are a part."""
        count, rows = self.settings.eval_seeds, []
        with self.job.phase(f"measuring {key.name}", key.flops) as tick:
            for seed in range(count):
                check = partial(tick, seed, count)
                found = (
                    list(self.replayed(seed, check).items())
                    if key.method == ALL_REPLAYS
                    else [(key.method, row) for row in self.merged(key.method, seed, check)]
                )
                rows += [{"method": method, "eval_seed": seed, **row} for method, row in found]
        self.job.record([self.job.write("evaluation", key.part, rows)])

    def _small_batch(self, place: int, kind: str, seed: int) -> LabelledBatch:
        """As many samples as the set of a task has inputs: random real ones, or its decoded texts."""
        key, task, model = self.keys[place], self.tasks[place], self.models[place]
        if kind == "random":
            return self.sets.real_batch(task, self.sets.select(task, model, key.per_class, "random", seed))
        return self.sets.text_batch(task, key)

    def _real_batch(self, place: int, seed: int, step: int) -> LabelledBatch:
        """The batch of one step on all real samples of a task."""
        task, size = self.tasks[place], self.settings.batch_size
        epoch, index = divmod(step, -(-len(task.rows) // size))
        if self._epochs.get(place, (None, []))[0] != (seed, epoch):  # planned once an epoch, not at every step
            self._epochs[place] = (seed, epoch), similar_batches(task.lengths["train"], size, seed, epoch)
        return self.sets.real_batch(task, self._epochs[place][1][index])

    def _train(
        self,
        weights: list[list[Tensor]],
        batches: Callable[[int], StepBatches],
        steps: int,
        rate: float,
        check: Callable[[], None],
    ) -> Iterator[tuple[int, float]]:
        """`run_adamw` on the sum of the losses of a step's batches, each of one task."""
        distinct = {id(weight): weight for each in weights for weight in each}

        def loss(step: int) -> Tensor:
            return torch.stack([self._loss(weights, place, batch) for place, batch in batches(step)]).sum()

        return run_adamw(list(distinct.values()), loss, rate, steps, check)

    def _loss(self, weights: list[list[Tensor]], place: int, batch: LabelledBatch | SyntheticSet) -> Tensor:
        model = self.models[place]
        if isinstance(batch, LabelledBatch):
            return weighted_loss(logits_of(self.study, model, weights[place], batch.inputs), batch.targets)
        return weighted_loss(model.forward_embeds(weights[place], batch.inputs.detach())[0], batch.targets)

    def _row(self, place: int, weights: list[list[Tensor]], steps: int, rate: float, seconds: float) -> dict[str, Any]:
        """The columns of `evaluation` for one task."""
        key, task = self.keys[place], self.tasks[place]
        valid, _ = self.accuracy(weights, place, "valid")
        right, loss = self.accuracy(weights, place, "test")
        each = self.study.flops_per_token[key.task, key.student]
        tokens = float(np.mean(task.lengths["train"])) * min(self.settings.batch_size, len(task.rows))
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


def two_task_units(study: DistillationStudy, evaluation: Evaluation) -> list[WorkUnit]:
    """Each way to merge the first sets of both tasks, and one task after the other; all need both sets."""
    main, other = two_sets(study)
    once = sum(evaluation.flops(Measurement((key,), "random", key.student)) for key in (main, other))
    first, second = (evaluation.flops(all_data(key.task, key.student)) for key in (main, other))
    flops = dict.fromkeys(MERGED, once) | {ALL_REPLAYS: first + len(REPLAYS) * second}
    keys = [TwoTaskMeasurement(main, other, method, flops[method]) for method in flops]
    return [WorkUnit(key.name, key, key.flops, stage=1) for key in keys]


def two_sets(study: DistillationStudy) -> tuple[SetKey, SetKey]:
    """The first sets of the two tasks."""
    sets = study.recipe.sets()
    return sets[0], next(key for key in sets if key.task == OTHER)
