"""Dataset distillation: a few synthetic inputs per class, learned, decoded, and evaluated.

In this order: open tasks and students, with encoders trained from scratch; learn each set and evaluate it, beside the
student trained on everything; then two tasks together, one task after the other, and prompts. Every snapshot, set and
measurement ends in recorded parts.

A set is a work unit, and so is each measurement. What is trained on real samples alone needs no set, so on a cluster it
is done while sets are learned; the rest follows once all of them are.
"""

from __future__ import annotations

from functools import cached_property

from engine.config.distillation import DistillationRecipe, SetKey
from engine.studies.distillation.evaluation import Evaluation, Measurement
from engine.studies.distillation.learned_sets import is_learned
from engine.studies.distillation.learning import Distilling, distilling_flops
from engine.studies.distillation.prompting import PromptMeasurement, measure_prompts, prompt_measurement
from engine.studies.distillation.setup import DistillationStudy, open_study, write_down
from engine.studies.distillation.training_sets import TrainingSets
from engine.studies.distillation.two_tasks import TwoTaskMeasurement, TwoTasks, two_sets, two_task_units
from engine.studies.job import Job, run_units
from engine.studies.work_units import WorkUnit

Key = SetKey | Measurement | TwoTaskMeasurement | PromptMeasurement


class Distillation:
    """Does the work units of a run on one machine."""

    def __init__(self, study: DistillationStudy) -> None:
        self.study, self.job, self.recipe = study, study.job, study.recipe
        self.sets = TrainingSets(study)
        self.evaluation = Evaluation(study, self.sets)

    @cached_property
    def two_tasks(self) -> TwoTasks:
        """Needs both sets."""
        return TwoTasks(self.study, self.sets, *two_sets(self.study))

    def units(self) -> list[WorkUnit]:
        """Everything there is to do, in the order of a run on one machine."""
        units: dict[Key, WorkUnit] = {}
        for key in self.recipe.sets():
            task, _ = self.study.opened[key.task, key.student]
            units[key] = WorkUnit(f"learning {key.name}", key, distilling_flops(self.study, task, key))
            for each in self.evaluation.measurements(key):
                if each not in units:  # several sets may share it
                    flops = self.evaluation.flops(each)
                    units[each] = WorkUnit(each.name, each, flops, stage=int(each.needs_set))
        found = [*units.values()]
        if self.recipe.other:
            found += two_task_units(self.study, self.evaluation)
        if self.recipe.prompting:
            prompts = prompt_measurement(self.study, self.recipe.prompting)
            found.append(WorkUnit(f"prompting {self.recipe.prompting.model}", prompts, prompts.flops, stage=1))
        return found

    def has(self, key: Key) -> bool:
        """Whether every part of a unit is recorded."""
        match key:
            case SetKey():
                return is_learned(self.job, key)
            case Measurement():
                return self.evaluation.has(key)
            case _:
                return self.job.has("evaluation", key.part)

    def do(self, key: Key) -> None:
        if self.has(key):
            return
        match key:
            case SetKey(task=name, student=student):
                Distilling(self.study, *self.study.opened[name, student], key).run()
            case Measurement():
                self.evaluation.measure(key)
            case TwoTaskMeasurement():
                self.two_tasks.measure(key)
            case PromptMeasurement():
                measure_prompts(self.study, self.sets, key)


def run(job: Job, recipe: DistillationRecipe) -> None:
    distillation = open_run(job, recipe)
    write_down(distillation.study)
    left = []
    for unit in distillation.units():
        job.plan(unit.flops)
        if distillation.has(unit.key):
            job.skip(unit.flops)
        else:
            left.append(unit)
    run_units(job, distillation, left, "learning and measuring every set")


def open_run(job: Job, recipe: DistillationRecipe) -> Distillation:
    """The run as the engine opens it, and every worker of a cluster."""
    return Distillation(open_study(job, recipe))
