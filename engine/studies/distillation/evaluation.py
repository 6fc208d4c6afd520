"""The evaluation of distilled sets: one student trained on all data, on each set, and on as many real samples.

Every measurement has `evaluation.eval_seeds` random heads that the distillation has never met. At which step to stop,
and at which learning rate, is chosen on the held-out part of the training set; accuracy is that on the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

from engine.common.random_streams import FIRST_EVAL_SEED
from engine.config.distillation import METHODS, SetKey
from engine.models.functional import FunctionalModel
from engine.studies.distillation.learned_sets import load_set, loaded_synthetic
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.tasks import Task
from engine.studies.distillation.training_sets import REAL, TrainingSets, in_batches
from engine.studies.distillation.trials import PASSES, LabelledBatch, Trial, eval_steps_of, fitted_trial, inner_trial


class Measurement(NamedTuple):
    """Key of a work unit: `model` trained by a `method` of METHODS.

    Of all data the only key is `all_data`; real samples are the same for several sets, and are measured once for them.
    """

    keys: tuple[SetKey, ...]
    method: str
    model: str

    @property
    def key(self) -> SetKey:
        """The first of the sets, on behalf of all."""
        return self.keys[0]

    @property
    def needs_set(self) -> bool:
        """Whether a set has to be learned before."""
        return self.method not in (*REAL, "full")

    @property
    def name(self) -> str:
        """Unique in its run."""
        if self.needs_set:
            of = self.key.name if self.model == self.key.student else f"{self.key.name}, {self.model}"
        else:
            size = "" if self.method == "full" else f", {self.key.per_class} per class"
            of = f"{self.key.task}{size}, {self.model}"
        return f"{METHODS[self.method]}, {of}"


def all_data(task: str, student: str) -> Measurement:
    """The student trained on all data."""
    return Measurement((SetKey(task, student, 0, 0, -1),), "full", student)


class Evaluation:
    """The measurements of a run; each ends in a part for every set that it belongs to."""

    def __init__(self, study: DistillationStudy, sets: TrainingSets) -> None:
        self.study, self.sets, self.job, self.settings = study, sets, study.job, study.recipe.evaluation

    def measurements(self, key: SetKey) -> list[Measurement]:
        """Everything a set is evaluated by, all data last."""
        found = [Measurement(self._sets_of(key, *each), *each) for each in self._methods(key)]
        return [*found, all_data(key.task, key.student)]

    def _methods(self, key: SetKey) -> list[tuple[str, str]]:
        """Methods and models of a set; the sets that are shown first are also evaluated with the transfer models."""
        recipe = self.study.recipe
        methods = ["embeddings"]
        if not self.study.images:
            methods += ["text"] if recipe.synthetic.labels == "hard" else ["text", "text_labels"]
        found = [(method, key.student) for method in [*methods, *REAL]]
        if key in recipe.sets()[: len(recipe.seeds)]:
            models = [network.model for network in recipe.evaluation.transfer]
            found += [(method, model) for model in models for method in ("text", "random")]
        return found

    def _sets_of(self, key: SetKey, method: str, model: str) -> tuple[SetKey, ...]:
        """The sets that share a measurement of `key`: real samples depend on the task and size of a set alone."""
        if method not in REAL:
            return (key,)
        return tuple(
            other
            for other in self.study.recipe.sets()
            if (other.task, other.per_class) == (key.task, key.per_class) and (method, model) in self._methods(other)
        )

    def has(self, measurement: Measurement) -> bool:
        """Whether a measurement is recorded for all of its sets."""
        return not self._missing(measurement)

    def measure(self, measurement: Measurement) -> None:
        """Do one measurement, and record it for the sets that do not have it."""
        rows, parts = self._rows(measurement), []
        for key in self._missing(measurement):
            about = {**key._asdict(), "method": measurement.method, "trained": measurement.model}
            name = self._part(key, measurement)
            parts.append(self.job.write("evaluation", name, [about | row for row in rows]))
        self.job.record(parts)

    def _missing(self, measurement: Measurement) -> list[SetKey]:
        return [key for key in measurement.keys if not self.job.has("evaluation", self._part(key, measurement))]

    def _part(self, key: SetKey, measurement: Measurement) -> str:
        """Models are named by their place in the recipe, as two of them may end in the same word."""
        models = [network.model for network in [*self.study.recipe.students, *self.settings.transfer]]
        return f"{key.name}-{measurement.method}-{models.index(measurement.model)}"

    def _rows(self, measurement: Measurement) -> list[dict[str, Any]]:
        """One trial for each seed."""
        task, model = self.study.opened[measurement.key.task, measurement.model]
        count, rows = self.settings.eval_seeds, []
        with self.job.phase(f"measuring {measurement.name}", self.flops(measurement)) as tick:
            if measurement.method == "embeddings":
                synthetic = loaded_synthetic(load_set(self.study, measurement.key), model)
            else:
                batches = self._batches(measurement, task, model)
            for seed in range(count):
                if measurement.method == "embeddings":
                    trial = inner_trial(self.study, task, model, synthetic, FIRST_EVAL_SEED + seed)
                else:
                    check = partial(tick, seed, count)
                    trial = self._fitted(measurement, task, model, seed, batches(seed), check)
                rows.append({"eval_seed": seed, **asdict(trial)})
                tick(seed + 1, count)
        return rows

    def _fitted(
        self,
        measurement: Measurement,
        task: Task,
        model: FunctionalModel,
        seed: int,
        batches: Callable[[int], Iterable[LabelledBatch]],
        check: Callable[[], None],
    ) -> Trial:
        settings = self.settings
        samples = task.classes * measurement.key.per_class
        steps, eval_steps, rates = settings.steps, eval_steps_of(settings.steps), settings.learning_rates
        if measurement.method == "full":
            samples = len(task.rows)
            per_epoch = -(-samples // settings.batch_size)
            steps, rates = per_epoch * settings.full_epochs, [settings.full_learning_rate]
            eval_steps = list(range(per_epoch, steps + 1, per_epoch))
        return fitted_trial(
            self.study,
            task,
            model,
            FIRST_EVAL_SEED + seed,
            batches,
            rates=rates,
            steps=steps,
            eval_steps=eval_steps,
            samples=samples,
            check=check,
        )

    def _batches(
        self, measurement: Measurement, task: Task, model: FunctionalModel
    ) -> Callable[[int], Callable[[int], Iterable[LabelledBatch]]]:
        """seed -> epoch -> the batches of that epoch."""
        key, method, size = measurement.key, measurement.method, self.settings.batch_size
        if method == "full":
            return lambda seed: partial(self.sets.all_batches, task, size, seed)
        if method in REAL:

            def selected(seed: int) -> LabelledBatch:
                return self.sets.real_batch(task, self.sets.select(task, model, key.per_class, method, seed))

            return lambda seed: partial(in_batches, selected(seed), size, seed)
        texts = self.sets.text_batch(task, key, learned_labels=method == "text_labels")
        return lambda seed: partial(in_batches, texts, size, seed)

    def flops(self, measurement: Measurement) -> float:
        """About the floating-point operations of a measurement."""
        key, settings = measurement.key, self.settings
        task, _ = self.study.opened[key.task, measurement.model]
        tokens = {split: float(task.lengths[split].sum()) for split in ("train", "valid", "test")}
        if measurement.method == "full":
            passed = settings.full_epochs * (PASSES * tokens["train"] + tokens["valid"]) + tokens["test"]
        elif measurement.method == "embeddings":
            passed = tokens["valid"] + tokens["test"]
        else:
            batch = min(settings.batch_size, task.classes * key.per_class) * tokens["train"] / len(task.rows)
            passed = len(settings.learning_rates) * (
                settings.steps * PASSES * batch + len(eval_steps_of(settings.steps)) * tokens["valid"]
            )
            passed += tokens["test"]
        return settings.eval_seeds * self.study.flops_per_token[key.task, measurement.model] * passed
