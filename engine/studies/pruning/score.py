"""Scoring every training sample once, and nothing else."""

from __future__ import annotations

from engine.config.pruning import ScoreRecipe
from engine.studies.job import Job
from engine.studies.pruning.pair import PairRun
from engine.studies.pruning.prepare import of_split, open_pair
from engine.studies.pruning.scoring import unscored_rows


def run(job: Job, recipe: ScoreRecipe) -> None:
    models, prepared = open_pair(job, recipe)
    job.broadcast("pair", lambda: (models, prepared.dataset))
    pair, train = PairRun(job, models, recipe.scoring, prepared.dataset), of_split(prepared, "train")
    scored = pair.score_all(train)
    job.ledger.set_provenance(job.run.id, not_a_number=unscored_rows(train, scored), **pair.cache_facts())


def open_run(job: Job, recipe: ScoreRecipe) -> PairRun:
    """The run as a worker of a cluster opens it."""
    models, dataset = job.broadcasted("pair")
    return PairRun(job, models, recipe.scoring, dataset)
