"""Knowledge distillation on pruned data: a grid of students, each trained on what a score keeps.

In this order: read the labelled samples; for each share of flipped labels, train the teachers on everything and cache
their logits, score every sample by a few short proxy runs, select what each score keeps at each fraction, and then
train the students, many at once, group by group. Every group ends in a recorded `grid` part.

The key of a cell is what its training depends on. A cell that any run of this workspace has finished is not trained
again: a grid that grows trains only what is new.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.common.hashing import digest
from engine.config.grid import Cell, noise_label
from engine.config.kd import PrunedKdRecipe
from engine.studies.job import Job, run_units
from engine.studies.kd.grid import Grid, StudentInputs, finished_cells
from engine.studies.kd.scores import make_scores, missing_scores, read_scores, require_gradients, scoring_flops
from engine.studies.kd.selections import Selections
from engine.studies.kd.setup import KdStudy, flip_labels, open_study, write_down
from engine.studies.kd.teachers import missing_teachers, teacher_flops, teacher_logits, train_teacher
from engine.studies.work_units import WorkUnit


class TrainTeacher(NamedTuple):
    """Key of a work unit: train a teacher with these seeds, on everything."""

    noise: float
    name: str
    seeds: list[int]


class MakeScores(NamedTuple):
    """Key of a work unit: make the scores of every sample."""

    noise: float


class TrainStudents(NamedTuple):
    """Key of a work unit: train students as one group."""

    noise: float
    cells: list[Cell]


class GridRun:
    """Does the work units of a grid on one machine."""

    def __init__(self, study: KdStudy, known: dict[str, dict[str, Any]]) -> None:
        self.study = study
        self.grid = Grid(study, known)
        self._inputs: dict[float, StudentInputs] = {}

    def do(self, key: TrainTeacher | MakeScores | TrainStudents) -> None:
        match key:
            case TrainTeacher(noise, name, seeds):
                train_teacher(self.study, name, noise, self._labels(noise)[0], seeds)
            case MakeScores(noise):
                make_scores(self.study, noise, self._labels(noise)[0])
            case TrainStudents(noise, cells):
                self.grid.train(cells, self.inputs(noise))

    def _labels(self, noise: float) -> tuple[Tensor, NDArray[np.bool_]]:
        """The labels (n,) that are trained on, and which of them are flipped."""
        study = self.study
        return flip_labels(study.labels["train"], noise, study.outputs, study.recipe.data.split_seed)

    def inputs(self, noise: float) -> StudentInputs:
        """Labels, cached teacher logits and what the cached scores select."""
        if noise not in self._inputs:
            labels, flipped = self._labels(noise)
            logits = teacher_logits(self.study, noise)
            selections = Selections(self.study, noise, labels.cpu().numpy(), read_scores(self.study, noise), flipped)
            self._inputs[noise] = StudentInputs(labels, logits, selections)
        return self._inputs[noise]

    # -- work units ---------------------------------------------------------------------------------------------

    def preparation(self, noise: float) -> list[WorkUnit]:
        """Teachers that are missing, and then missing scores."""
        study = self.study
        units = [
            WorkUnit(
                noise_label(f"teacher {name}", noise),
                TrainTeacher(noise, name, seeds),
                teacher_flops(study, name, len(seeds)),
            )
            for name, seeds in missing_teachers(study, noise).items()
        ]
        if missing_scores(study, noise):
            units.append(
                WorkUnit(noise_label("scores", noise), MakeScores(noise), scoring_flops(study, noise), stage=1)
            )
        return units

    def training(self, noise: float) -> list[WorkUnit]:
        """The groups of students that are not trained yet."""
        return [
            WorkUnit(
                f"{len(group)} students on {noise_label(f'{group[0].fraction:.0%}', noise)} ({digest(group)[:6]})",
                TrainStudents(noise, group),
                self.grid.flops(group),
            )
            for group in self.grid.groups(noise)
        ]


def run(job: Job, recipe: PrunedKdRecipe) -> None:
    study = open_study(job, recipe)
    require_gradients(study)
    write_down(study)
    grid_run = GridRun(study, finished_cells(job))
    grid_run.grid.record_known()
    noises = recipe.used_noise()
    job.plan(sum(unit.flops for noise in noises for unit in [*grid_run.preparation(noise), *grid_run.training(noise)]))
    emptied: list[dict[str, Any]] = []
    # In this process one share after the other, so that the first students are seen early; on a cluster all at once.
    for together in [noises] if job.cluster else [[noise] for noise in noises]:
        preparation = [unit for noise in together for unit in grid_run.preparation(noise)]
        run_units(job, grid_run, preparation, "training teachers and scoring samples")
        for noise in together:
            emptied += grid_run.inputs(noise).selections.record()
        job.ledger.set_provenance(job.run.id, emptied=emptied)
        training = [unit for noise in together for unit in grid_run.training(noise)]
        run_units(job, grid_run, training, "training students")


def open_run(job: Job, recipe: PrunedKdRecipe) -> GridRun:
    """The run as a worker of a cluster opens it: it trains the cells it is given, finished or not."""
    return GridRun(open_study(job, recipe), {})
