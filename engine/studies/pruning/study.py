"""Dynamic pruning by KL, beside three arms to compare it with.

In this order: open the pair and the data; score every training sample before any training, once for all seeds; then,
for each seed, train four copies of the student's LoRA, epoch by epoch:

    dynamic   on samples with a score above τ, scored again in each epoch while τ grows
    static    on samples that were above τ in the first epoch
    random    on a fresh random subset of the size that `dynamic` kept in that epoch
    full      on everything
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.config.pruning import DynamicPruningRecipe, PruningSettings
from engine.config.rankings import FIELD
from engine.data.samples import Prepared
from engine.pruning.thresholds import keep, quantile
from engine.studies import flops
from engine.studies.job import Job, run_units
from engine.studies.pruning.arms import epoch_flops, train_arm
from engine.studies.pruning.arms_run import ArmsRun, Baseline
from engine.studies.pruning.candidates import PASS, CandidateMaker, Candidates, Cost, field_values, needs_states
from engine.studies.pruning.model_rankings import RankSamples, make_ranking, ranking_units, read_rankings
from engine.studies.pruning.prepare import of_split, open_pair
from engine.studies.pruning.scoring import Scored, tokens_of, unscored_rows
from engine.studies.pruning.validation import Validation, ValidationParts, validate, validation_parts
from engine.studies.work_units import WorkUnit


def run(job: Job, recipe: DynamicPruningRecipe) -> None:
    models, prepared = open_pair(job, recipe)
    job.broadcast("pair", lambda: (models, prepared.dataset))
    study = PruningStudy(job, recipe, models, prepared.dataset)
    train = of_split(prepared, "train")
    valid = validation_parts(
        of_split(prepared, "valid"), recipe.data.split_seed, any(arm.uses_target for arm in recipe.entries)
    )
    check_arms(recipe, prepared, valid)
    first = study.score_all(train)
    tau, tau_max = resolve_tau(recipe.pruning, first.values[recipe.pruning.metric])
    if "dynamic" in study.arms:
        check_tau(recipe.pruning, first.values[recipe.pruning.metric], tau, tau_max)
    job.ledger.set_provenance(
        job.run.id,
        tau=tau,
        tau_max=tau_max if math.isfinite(tau_max) else None,
        not_a_number=unscored_rows(train, first),
        validation={"target": len(valid.target), "pick": len(valid.pick), "report": len(valid.report)},
        **study.cache_facts(),
    )
    unit = WorkUnit("the student before training", EvaluateBefore(valid))
    run_units(job, study, [unit], "measuring the student before training")
    before = Validation(**job.ledger.run(job.run.id).provenance["before_training"])
    student = study.parameters
    units = ranking_units(job, recipe, student, train, valid.target, first.values["nll_student"])
    run_units(job, study, units, "ranking the samples")
    candidates = _candidates(study, prepared, first, valid)
    study.baseline = job.broadcast("baseline", lambda: Baseline(train, valid, first, candidates, before, tau, tau_max))
    run_units(job, study, arm_units(study), "training every arm")


def _candidates(study: PruningStudy, prepared: Prepared, first: Scored, valid: ValidationParts) -> Candidates:
    """Every ranking, filter and grouping that the arms name, and what each has cost."""
    job, recipe, train = study.job, study.recipe, of_split(prepared, "train")
    values, costs = read_rankings(job, recipe, study.parameters, train, valid.target)
    costs[PASS] = Cost(first.seconds, flops.scoring(tokens_of(train), study.models.size.both))
    wanted = any(needs_states(arm, recipe.pruning.metric) for arm in recipe.entries)
    states = study.scorer.read_states(train) if wanted else np.empty((len(train), 0), np.float32)
    texts = [text for text, sample in zip(prepared.texts, prepared.samples, strict=True) if sample.split == "train"]
    with job.phase("choosing samples for every arm", 0):
        return CandidateMaker(recipe, train, texts, states).make(first.values | values, costs)


def check_arms(recipe: DynamicPruningRecipe, prepared: Prepared, valid: ValidationParts) -> None:
    """Raises WinnowError before anything is computed if an arm asks for a column or a target that is not there."""
    for name in recipe.rankings:
        if name.startswith(FIELD):
            field_values(name.removeprefix(FIELD), prepared.texts)
    if any(arm.uses_target for arm in recipe.entries) and not (valid.target and valid.pick):
        raise WinnowError(
            "An arm looks at a target, which is a quarter of the validation samples, and there are too few; raise "
            "data.valid_fraction."
        )


@dataclass(frozen=True)
class EvaluateBefore:
    """Key of a work unit: evaluate the student before any training."""

    valid: ValidationParts


class TrainArms(NamedTuple):
    """Key of a work unit: arms of one seed, trained one after the other because each needs the one before it."""

    seed: int
    arms: tuple[str, ...]


class PruningStudy(ArmsRun):
    """Does the work units of the study on one machine."""

    def do(self, key: Any) -> None:
        match key:
            case EvaluateBefore():
                self._evaluate_before(key)
            case RankSamples():
                make_ranking(self, self.recipe, key)
            case TrainArms(seed, arms):
                sizes: dict[int, int] = {}
                for arm in arms:
                    train_arm(self, self.arms[arm], seed, sizes)
            case _:
                super().do(key)

    def _evaluate_before(self, key: EvaluateBefore) -> None:
        settings = self.recipe.training
        with self.job.phase("measuring the student before training", 0) as tick:
            before = validate(
                self.student.model, key.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick
            )
        self.job.ledger.set_provenance(self.job.run.id, before_training=asdict(before))


def arm_units(study: PruningStudy) -> list[WorkUnit]:
    """The arms of every seed; those that keep in each epoch as many samples as `dynamic` follow it."""
    recipe = study.recipe
    follow = [arm.name for arm in recipe.entries if arm.schedule == "every_epoch" and not recipe.budget_of(arm)]
    chained = ["dynamic", *follow] if "dynamic" in study.arms else []
    chains = [chained, *([name] for name in study.arms if name not in chained)]
    units = []
    for seed in recipe.seeds:
        for arms in filter(None, chains):
            epochs = range(1, recipe.training.epochs + 1)
            planned = sum(epoch_flops(study, study.arms[arm], epoch) for arm in arms for epoch in epochs)
            units.append(WorkUnit(f"seed {seed}: {', '.join(arms)}", TrainArms(seed, tuple(arms)), planned))
    return units


def open_run(job: Job, recipe: DynamicPruningRecipe) -> PruningStudy:
    """The run as a worker of a cluster opens it."""
    models, dataset = job.broadcasted("pair")
    return PruningStudy(job, recipe, models, dataset)


def resolve_tau(settings: PruningSettings, scores: NDArray[np.float32]) -> tuple[float, float]:
    """The first threshold and the highest one, as numbers; quantiles are those of the first epoch's scores."""
    try:
        tau = quantile(scores, settings.tau_quantile) if settings.tau_quantile is not None else settings.tau
        if settings.tau_max_quantile is not None:
            return float(tau or 0.0), quantile(scores, settings.tau_max_quantile)
    except ValueError as error:
        raise WinnowError("Every sample's score is NaN, so there is nothing to rank; check the models.") from error
    return float(tau or 0.0), math.inf if settings.tau_max is None else settings.tau_max


def check_tau(settings: PruningSettings, scores: NDArray[np.float32], tau: float, tau_max: float) -> None:
    """Raises WinnowError if the threshold could only fall, or if the first epoch would already keep too few samples."""
    if tau_max < tau:
        first = "tau" if settings.tau_quantile is None else "tau_quantile"
        most = "tau_max" if settings.tau_max_quantile is None else "tau_max_quantile"
        raise WinnowError(
            f"pruning.{first} = {getattr(settings, first):g} is a first threshold of {tau:.4g}, and pruning.{most} = "
            f"{getattr(settings, most):g} a highest one of {tau_max:.4g}, which is below it, so the threshold would "
            f"fall; raise {most} or lower {first}."
        )
    if tau < 0 < settings.tau_growth:
        raise WinnowError(
            f"The first threshold is {tau:.4g}, and a threshold below zero falls when it grows by a share of itself; "
            "raise pruning.tau_quantile, or set pruning.tau_growth = 0."
        )
    kept, highest = int(keep(scores, tau).sum()), float(np.nanmax(scores))
    if kept < settings.min_samples:
        raise WinnowError(
            f"A threshold of {tau:.4g} keeps {kept} of {len(scores)} samples in the first epoch, fewer than "
            f"pruning.min_samples = {settings.min_samples}; the highest {settings.metric} is {highest:.4g}: lower tau."
        )
