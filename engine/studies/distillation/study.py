"""Dataset distillation: a few synthetic inputs per class, learned, read, and measured.

The story: make the encoders that are made from nothing; learn each set and measure it, beside the student trained on
everything; then two tasks together, one task after the other, and prompts. Every snapshot, set and measurement ends in
recorded parts.

A set is a work unit, and so is each measurement. What is trained on real samples alone needs no set, so on a cluster it
is done while sets are learned; the rest follows once all of them are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.config.distillation import OTHER, DistillationRecipe, PromptSettings, SetKey
from engine.models.loading import model_facts_of
from engine.studies import flops
from engine.studies.distillation.evaluation import Evaluation, Measurement
from engine.studies.distillation.learning import Distilling, distilled, distilling_flops, output_of
from engine.studies.distillation.prompting import prompt_worth
from engine.studies.distillation.setup import DistillationStudy, open_study, write_down
from engine.studies.distillation.two_tasks import Both, TwoTasks, units_of_both
from engine.studies.job import Job, run_units
from engine.studies.work_units import WorkUnit


@dataclass(frozen=True)
class Prompted:
    """Key of a work unit: show decoded texts, real samples and nothing to a causal language model."""

    key: SetKey
    flops: float  # floating-point operations

    @property
    def part(self) -> str:
        return f"{self.key.name}-prompts"


class Distillation:
    """Does the work units of a run on one machine. Tasks and students are opened when a unit needs them."""

    def __init__(self, study: DistillationStudy) -> None:
        self.study, self.job, self.recipe = study, study.job, study.recipe
        self.worth = Evaluation(study)

    @cached_property
    def both(self) -> tuple[SetKey, SetKey]:
        """The sets of the two tasks."""
        sets = self.recipe.sets()
        return sets[0], next(key for key in sets if key.task == OTHER)

    @cached_property
    def two(self) -> TwoTasks:
        return TwoTasks(self.study, self.worth, *self.both)

    def units(self) -> list[WorkUnit]:
        """All that there is to do, in the order of the story."""
        found: dict[Any, WorkUnit] = {}
        for key in self.recipe.sets():
            found[key] = WorkUnit(f"learning {key.name}", key, distilling_flops(self.study, key))
            for wanted in self.worth.wanted(key):
                if wanted not in found:  # several sets may share it
                    found[wanted] = WorkUnit(wanted.name, wanted, self.worth.flops(wanted), stage=int(wanted.of_set))
        units = [*found.values()]
        if self.recipe.other:
            units += units_of_both(self.study, self.worth, *self.both)
        if self.recipe.prompting:
            asked = self._prompted(self.recipe.prompting)
            units.append(WorkUnit(f"asking {self.recipe.prompting.model}", asked, asked.flops, stage=1))
        return units

    def has(self, key: object) -> bool:
        """Whether every part of a unit is recorded."""
        if isinstance(key, SetKey):
            return distilled(self.job, key)
        if isinstance(key, Measurement):
            return self.worth.has(key)
        assert isinstance(key, Both | Prompted)
        return self.job.has("evaluation", key.part)

    def do(self, key: object) -> None:
        if self.has(key):
            return
        if isinstance(key, SetKey):
            Distilling(self.study, key).run()
        elif isinstance(key, Measurement):
            self.worth.measure(key)
        elif isinstance(key, Both):
            self.two.measure(key)
        else:
            assert isinstance(key, Prompted)
            self._ask(key)

    def _prompted(self, settings: PromptSettings) -> Prompted:
        """The language model is looked up here, since it must be there before anything is learned."""
        key = self.recipe.sets()[0]
        task = self.study.task(key.task, key.student)
        asked = min(settings.samples, len(task.samples["test"])) * float(task.lengths["test"].mean())
        parameters = model_facts_of(settings.model)["parameters"]
        return Prompted(key, flops.scoring(round((1 + 2 * settings.draws) * asked), parameters))

    def _ask(self, asked: Prompted) -> None:
        """Decoded texts, real samples and nothing as the examples of a prompt."""
        job, key, settings = self.job, asked.key, self.recipe.prompting
        assert settings is not None
        task = self.study.task(key.task, key.student)
        learner = self.study.learner(task, key.student)
        names = task.data.class_names
        texts = {split: task.texts(split) for split in ("train", "test")}
        labels = {split: task.labels[split].tolist() for split in ("train", "test")}

        def real(draw: int) -> list[tuple[str, str]]:
            places = self.worth.picks(task, learner, key.per_class, "random", draw)
            return [(texts["train"][place], names[labels["train"][place]]) for place in places]

        classes = output_of(self.study, key).facts["classes"]
        rows = prompt_worth(
            job,
            settings,
            key=key,
            class_names=names,
            distilled=[(text, names[label]) for text, label in zip(self.worth.texts(key), classes, strict=True)],
            real=real,
            test=[(text, names[label]) for text, label in zip(texts["test"], labels["test"], strict=True)],
            flops=asked.flops,
        )
        job.record([job.write("evaluation", asked.part, rows)])


def run(job: Job, recipe: DistillationRecipe) -> None:
    opened_here = open_run(job, recipe)
    write_down(opened_here.study)
    left = []
    # To count their operations, every task of the run is read and every student opened: from here on workers have
    # all they need of this machine.
    for unit in opened_here.units():
        job.plan(unit.flops)
        if opened_here.has(unit.key):
            job.skip(unit.flops)
        else:
            left.append(unit)
    run_units(job, opened_here, left, "learning and measuring every set")


def open_run(job: Job, recipe: DistillationRecipe) -> Distillation:
    """The run as the engine opens it, and every worker of a cluster."""
    return Distillation(open_study(job, recipe))
