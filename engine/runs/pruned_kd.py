"""Knowledge distillation on pruned data: a grid of students, each trained on what a score keeps.

The story: read the labelled samples; for each share of flipped labels, train the teachers on everything and keep what
they say, watch a few short trainings and score every sample, choose what each score keeps at each fraction, and then
train the students, many at once, group by group. Every group ends in a recorded `grid` part.

A cell is known by what its training depends on. A cell that any run of this workspace has finished is not done again:
a grid that grows trains only what is new.
"""

from __future__ import annotations

from typing import Any

from engine.grids import PrunedKdRecipe
from engine.runs.chosen import Chosen
from engine.runs.grid import Grid, finished_cells
from engine.runs.job import Job
from engine.runs.labelled_study import flip_labels, open_study
from engine.runs.pruning_scores import make_scores, plan_scores
from engine.runs.teachers import make_teachers, plan_teachers, said_to


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, PrunedKdRecipe)
    study = open_study(job, recipe)
    grid = Grid(study, finished_cells(job))
    grid.record_known()
    for noise in recipe.used_noise():
        if grid.missing(noise):
            plan_teachers(study, noise)
            plan_scores(study, noise)
        job.plan(sum(grid.work(group) for group in grid.groups(noise)))
    emptied: list[dict[str, Any]] = []
    for noise in recipe.used_noise():
        labels, flipped = flip_labels(study.labels["train"], noise, study.outputs, recipe.data.split_seed)
        said = make_teachers(study, noise, labels)
        asked = recipe.kl_teacher if "kl" in recipe.used_scores() else None
        scores = make_scores(study, noise, labels, said_to(said, recipe.seeds, asked) if asked else None)
        chosen = Chosen(study, noise, labels.cpu().numpy(), scores, flipped)
        emptied += chosen.record()
        job.ledger.set_provenance(job.run.id, emptied=emptied)
        for group in grid.groups(noise):
            grid.train(group, chosen, labels, said)
