"""Scoring every training sample once, and nothing else."""

from __future__ import annotations

from engine.recipes import ScoreRecipe
from engine.runs import work
from engine.runs.dynamic_pruning import load_two
from engine.runs.job import Job
from engine.runs.prepare import of_split, open_pair
from engine.runs.scoring import BASE, Scorer, unscored_rows


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, ScoreRecipe)
    models, prepared = open_pair(job, recipe)
    train = of_split(prepared, "train")
    scorer = Scorer(job, models, train, recipe.scoring, prepared.dataset)
    teacher, student = load_two(job, models)
    first = work.scoring(scorer.tokens, teacher.parameters + student.parameters)
    scored = scorer.score(student.model, "scoring every sample", first, arm=BASE, seed=-1, epoch=1, detail=True)
    job.ledger.set_provenance(
        job.run.id, not_a_number=unscored_rows(train, scored), hidden_cache_bytes=scorer.cache_bytes
    )
