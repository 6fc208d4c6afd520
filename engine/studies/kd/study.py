"""Knowledge distillation on pruned data: a grid of students, each trained on what a score keeps.

The story: read the labelled samples; for each share of flipped labels, train the teachers on everything and keep what
they say, watch a few short trainings and score every sample, choose what each score keeps at each fraction, and then
train the students, many at once, group by group. Every group ends in a recorded `grid` part.

A cell is known by what its training depends on. A cell that any run of this workspace has finished is not done again:
a grid that grows trains only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.common.hashing import digest
from engine.config.kd import Cell, PrunedKdRecipe, arm
from engine.studies.job import Job, run_units
from engine.studies.kd.grid import Grid, finished_cells
from engine.studies.kd.scores import make_scores, missing_scores, read_scores, scoring_flops
from engine.studies.kd.selections import Selections
from engine.studies.kd.setup import KdStudy, flip_labels, open_study, write_down
from engine.studies.kd.teachers import (
    first_teacher_logits,
    missing_teachers,
    teacher_flops,
    teacher_logits,
    train_teacher,
)
from engine.studies.work_units import WorkUnit


class Teach(NamedTuple):
    """Key of a work unit: train a teacher with these seeds, on everything."""

    noise: float
    name: str
    seeds: list[int]


class Watch(NamedTuple):
    """Key of a work unit: make the scores of every sample."""

    noise: float


class Cells(NamedTuple):
    """Key of a work unit: train students as one group."""

    noise: float
    cells: list[Cell]


@dataclass
class Ready:
    """What students need that is made for one share of flipped labels."""

    said: dict[tuple[str, int], Tensor]
    chosen: Selections


class GridRun:
    """Does the work units of a grid on one machine."""

    def __init__(self, study: KdStudy, known: dict[str, dict[str, Any]]) -> None:
        self.study = study
        self.grid = Grid(study, known)
        self._ready: dict[float, Ready] = {}

    def do(self, key: object) -> None:
        if isinstance(key, Teach):
            train_teacher(self.study, key.name, key.noise, self.labels(key.noise)[0], key.seeds)
        elif isinstance(key, Watch):
            self._watch(key.noise)
        else:
            assert isinstance(key, Cells)
            ready = self.ready(key.noise)
            self.grid.train(key.cells, ready.chosen, self.labels(key.noise)[0], ready.said)

    def labels(self, noise: float) -> tuple[Tensor, NDArray[np.bool_]]:
        """The labels that are trained on, and which of them are flipped."""
        study = self.study
        return flip_labels(study.labels["train"], noise, study.outputs, study.recipe.data.split_seed)

    def ready(self, noise: float) -> Ready:
        """What teachers say and what scores keep, read from what is kept of them."""
        if noise not in self._ready:
            labels, flipped = self.labels(noise)
            said = teacher_logits(self.study, noise)
            chosen = Selections(self.study, noise, labels.cpu().numpy(), read_scores(self.study, noise), flipped)
            self._ready[noise] = Ready(said, chosen)
        return self._ready[noise]

    def _watch(self, noise: float) -> None:
        recipe = self.study.recipe
        asked = recipe.kl_teacher if "kl" in recipe.used_scores() else None
        teacher = first_teacher_logits(teacher_logits(self.study, noise), recipe.seeds, asked) if asked else None
        make_scores(self.study, noise, self.labels(noise)[0], teacher)

    # -- what there is to do ------------------------------------------------------------------------------------

    def preparing(self, noise: float) -> list[WorkUnit]:
        """Teachers that are missing, and after them the scores that are."""
        study = self.study
        units = [
            WorkUnit(arm(f"teacher {name}", noise), Teach(noise, name, seeds), teacher_flops(study, name, len(seeds)))
            for name, seeds in missing_teachers(study, noise).items()
        ]
        if missing_scores(study, noise):
            units.append(WorkUnit(arm("scores", noise), Watch(noise), scoring_flops(study, noise), stage=1))
        return units

    def training(self, noise: float) -> list[WorkUnit]:
        """The groups of students that nobody has trained yet."""
        return [
            WorkUnit(
                f"{len(group)} students on {arm(f'{group[0].fraction:.0%}', noise)} ({digest(group)[:6]})",
                Cells(noise, group),
                self.grid.flops(group),
            )
            for group in self.grid.groups(noise)
        ]


def run(job: Job, recipe: PrunedKdRecipe) -> None:
    study = open_study(job, recipe)
    write_down(study)
    opened = GridRun(study, finished_cells(job))
    opened.grid.record_known()
    noises = recipe.used_noise()
    job.plan(sum(unit.flops for noise in noises for unit in [*opened.preparing(noise), *opened.training(noise)]))
    emptied: list[dict[str, Any]] = []
    # Here one after the other, so that the first students are seen early; on a cluster all at once.
    for together in [noises] if job.cluster else [[noise] for noise in noises]:
        preparing = [unit for noise in together for unit in opened.preparing(noise)]
        run_units(job, opened, preparing, "training teachers and scoring samples")
        for noise in together:
            emptied += opened.ready(noise).chosen.record()
        job.ledger.set_provenance(job.run.id, emptied=emptied)
        training = [unit for noise in together for unit in opened.training(noise)]
        run_units(job, opened, training, "training students")


def open_run(job: Job, recipe: PrunedKdRecipe) -> GridRun:
    """The run as a worker of a cluster opens it: it takes the cells it is given."""
    return GridRun(open_study(job, recipe), {})
