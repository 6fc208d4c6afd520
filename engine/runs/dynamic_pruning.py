"""Dynamic pruning by KL, beside three arms to compare it with.

The story: open the pair and the data; score every training sample before any training, once for all seeds; then, for
each seed, train four copies of the student's LoRA, epoch by epoch:

    dynamic   on what still has a score above τ, scored anew each epoch while τ grows
    static    on what was above τ in the first epoch
    random    on a fresh random subset of the size that `dynamic` kept in that epoch
    full      on everything
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.pruning.thresholds import keep, quantile
from engine.recipes import DynamicPruningRecipe, PruningSettings
from engine.runs.arms import Basis, Before, Study, arm_shards
from engine.runs.job import Job
from engine.runs.prepare import of_split, open_pair
from engine.runs.scoring import unscored_rows
from engine.shards import Shard, each
from engine.training.finetune import Evaluation
from engine.workspace import WinnowError


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, DynamicPruningRecipe)
    models, prepared = open_pair(job, recipe)
    job.once("pair", lambda: (models, prepared.dataset))
    study = Study(job, recipe, models, prepared.dataset)
    train, valid = of_split(prepared, "train"), of_split(prepared, "valid")
    first = study.first(train)
    tau, tau_max = resolve_tau(recipe.pruning, first.values[recipe.pruning.metric])
    check_tau(recipe.pruning, first.values[recipe.pruning.metric], tau)
    job.ledger.set_provenance(
        job.run.id,
        tau=tau,
        tau_max=tau_max if math.isfinite(tau_max) else None,
        not_a_number=unscored_rows(train, first),
        **study.cache_facts(),
    )
    each(job, study, [Shard("the student before training", Before(valid))], "measuring the student before training")
    before = Evaluation(**job.ledger.run(job.run.id).provenance["before_training"])
    study.basis = job.once("basis", lambda: Basis(train, valid, first, before, tau, tau_max))
    each(job, study, arm_shards(study), "training every arm")


def opened(job: Job) -> Study:
    """The run as a worker of a cluster opens it."""
    recipe = job.run.parsed()
    assert isinstance(recipe, DynamicPruningRecipe)
    models, dataset = job.handed("pair")
    return Study(job, recipe, models, dataset)


def resolve_tau(settings: PruningSettings, scores: NDArray[np.float32]) -> tuple[float, float]:
    """The first threshold and the highest one, as numbers; quantiles are those of the first epoch's scores."""
    try:
        tau = quantile(scores, settings.tau_quantile) if settings.tau_quantile is not None else settings.tau
        if settings.tau_max_quantile is not None:
            return float(tau or 0.0), quantile(scores, settings.tau_max_quantile)
    except ValueError as error:
        raise WinnowError("Every sample's score is NaN, so there is nothing to rank; check the models.") from error
    return float(tau or 0.0), math.inf if settings.tau_max is None else settings.tau_max


def check_tau(settings: PruningSettings, scores: NDArray[np.float32], tau: float) -> None:
    """Raise WinnowError where the first epoch would already keep too few."""
    kept, highest = int(keep(scores, tau).sum()), float(np.nanmax(scores))
    if kept < settings.min_samples:
        raise WinnowError(
            f"A threshold of {tau:.4g} keeps {kept} of {len(scores)} samples in the first epoch, fewer than "
            f"pruning.min_samples = {settings.min_samples}; the highest {settings.metric} is {highest:.4g}: lower tau."
        )
