"""Scoring every training sample once, and nothing else."""

from __future__ import annotations

from engine.recipes import ScoreRecipe
from engine.runs.job import Job
from engine.runs.pair import PairRun
from engine.runs.prepare import of_split, open_pair
from engine.runs.scoring import unscored_rows


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, ScoreRecipe)
    models, prepared = open_pair(job, recipe)
    job.once("pair", lambda: (models, prepared.dataset))
    opened, train = PairRun(job, models, recipe.scoring, prepared.dataset), of_split(prepared, "train")
    scored = opened.first(train)
    job.ledger.set_provenance(job.run.id, not_a_number=unscored_rows(train, scored), **opened.cache_facts())


def opened(job: Job) -> PairRun:
    """The run as a worker of a cluster opens it."""
    recipe = job.run.parsed()
    assert isinstance(recipe, ScoreRecipe)
    models, dataset = job.handed("pair")
    return PairRun(job, models, recipe.scoring, dataset)
