"""Making the `scratch:` models of a workspace ahead of the runs that use them."""

from __future__ import annotations

from engine.config.pruning import PretrainRecipe
from engine.studies.job import Job
from engine.studies.pruning.prepare import make_scratch, plan_scratch, read_corpus


def run(job: Job, recipe: PretrainRecipe) -> None:
    corpus = read_corpus(job, recipe.data, recipe.scratch, recipe.max_length)
    for name, settings in recipe.scratch.models.items():
        plan_scratch(job, name, settings, corpus, recipe.max_length)
    folders = {
        name: str(make_scratch(job, name, settings, corpus, recipe.max_length))
        for name, settings in recipe.scratch.models.items()
    }
    job.ledger.set_provenance(job.run.id, models=folders, corpus_origin=corpus.rows.origin)
