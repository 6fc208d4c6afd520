"""Dynamic pruning by KL, beside three arms to compare it with.

The story: open the pair and the data; score every training sample before any training, once for all seeds; then, for
each seed, train four copies of the student's LoRA, epoch by epoch:

    dynamic   on what still has a score above τ, scored anew each epoch while τ grows
    static    on what was above τ in the first epoch
    random    on a fresh random subset of the size that `dynamic` kept in that epoch
    full      on everything

An (arm, seed, epoch) that is finished has a recorded `metrics` part and a checkpoint from which the next one starts.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from engine.data.samples import TokenSample
from engine.models.loading import LoadedModel
from engine.models.lora import adapter_state, attach_lora, detach_lora, load_adapter
from engine.models.states import load_state, save_state
from engine.pruning.thresholds import keep, next_tau, quantile, random_subset
from engine.recipes import ArmName, DynamicPruningRecipe, PruningSettings
from engine.runs import work
from engine.runs.job import Job
from engine.runs.prepare import Models, model_facts, of_split, open_pair
from engine.runs.scoring import BASE, Scored, Scorer, unscored_rows
from engine.tables import part_path, read_column
from engine.training.finetune import Evaluation, evaluate, train_epoch
from engine.workspace import WinnowError

ORDER: tuple[ArmName, ...] = ("dynamic", "static", "random", "full")  # `random` needs the sizes of `dynamic`


@dataclass
class Study:
    """What every arm of every seed shares."""

    job: Job
    recipe: DynamicPruningRecipe
    student: LoadedModel
    scorer: Scorer
    train: list[TokenSample]
    valid: list[TokenSample]
    first: Scored
    before: Evaluation  # of the student before any training
    tau: float
    tau_max: float


def run(job: Job) -> None:
    recipe = job.run.parsed()
    assert isinstance(recipe, DynamicPruningRecipe)
    models, prepared = open_pair(job, recipe)
    train, valid = of_split(prepared, "train"), of_split(prepared, "valid")
    scorer = Scorer(job, models, train, recipe.scoring, prepared.dataset)
    teacher, student = load_two(job, models)
    first_work = work.scoring(scorer.tokens, teacher.parameters + student.parameters)
    first = scorer.score(
        student.model, "scoring every sample before training", first_work, arm=BASE, seed=-1, epoch=1, detail=True
    )
    tau, tau_max = resolve_tau(recipe.pruning, first.values[recipe.pruning.metric])
    check_tau(recipe.pruning, first.values[recipe.pruning.metric], tau)
    job.ledger.set_provenance(
        job.run.id,
        tau=tau,
        tau_max=tau_max if math.isfinite(tau_max) else None,
        not_a_number=unscored_rows(train, first),
        hidden_cache_bytes=scorer.cache_bytes,
    )
    with job.phase("measuring the student before training", 0) as tick:
        before = evaluate(
            student.model, valid, batch_size=recipe.training.batch_size, loss_on=recipe.training.loss_on, tick=tick
        )
    study = Study(job, recipe, student, scorer, train, valid, first, before, tau, tau_max)
    for seed in recipe.seeds:
        sizes: dict[int, int] = {}
        for arm in ORDER:
            if arm in recipe.arms:
                train_arm(study, arm, seed, sizes)


def load_two(job: Job, models: Models) -> tuple[LoadedModel, LoadedModel]:
    """Teacher and student in memory, written into the provenance. Raises WinnowError where they are one model."""
    with job.phase("loading the models", 0):
        teacher, student = models.teacher(), models.student()
    job.ledger.set_provenance(job.run.id, **model_facts("teacher", teacher), **model_facts("student", student))
    if student.hash == teacher.hash:
        raise WinnowError(
            f"{teacher.name} and {student.name} are the same model, so every KL would be zero; choose another teacher."
        )
    return teacher, student


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


def train_arm(study: Study, arm: ArmName, seed: int, sizes: dict[int, int]) -> None:
    """Every epoch of one arm. `sizes` takes how many samples `dynamic` kept in each epoch, for `random` to follow."""
    job, settings = study.job, study.recipe.training
    peft = attach_lora(study.student.model, settings.lora, seed)
    try:
        trainable = [parameter for parameter in peft.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate)
        done, steps = _resume(study, arm, seed, peft, optimizer)
        tau = study.tau
        for epoch in range(1, settings.epochs + 1):
            if epoch > 1:
                tau = next_tau(tau, study.recipe.pruning.tau_growth, study.tau_max)
            unit = f"{arm}-s{seed}-e{epoch:03d}"
            if epoch <= done:
                job.skip(_unit_work(study, arm, epoch))
                if arm == "dynamic":
                    kept_before = read_column(part_path(job.workspace, job.run.id, "selections", unit), "kept")
                    sizes[epoch] = int(kept_before.sum())
                continue
            scored = _scores(study, arm, seed, epoch, peft)
            kept = _kept(study, arm, seed, epoch, scored, tau, sizes)
            if kept is None:
                for left in range(epoch, settings.epochs + 1):
                    job.skip(_unit_work(study, arm, left))
                break
            steps = _epoch(study, arm, seed, epoch, kept, scored, tau, peft, optimizer, steps)
    finally:
        detach_lora(peft)


def _scores(study: Study, arm: ArmName, seed: int, epoch: int, peft: PeftModel) -> Scored | None:
    """The scores an arm looks at in this epoch: `dynamic` scores anew, `static` uses the first ones once."""
    if arm in ("dynamic", "static") and epoch == 1:
        return study.first
    if arm != "dynamic":
        return None
    return study.scorer.score(
        cast(PreTrainedModel, peft),  # it answers like one
        f"seed {seed}, dynamic, epoch {epoch}: scoring",
        work.scoring(study.scorer.tokens, study.student.parameters),
        arm=arm,
        seed=seed,
        epoch=epoch,
        detail=_detail(study, seed),
    )


def _detail(study: Study, seed: int) -> bool:
    """Scores of single tokens are kept for the first seed alone: they are what takes the space."""
    return seed == study.recipe.seeds[0]


def _kept(
    study: Study, arm: ArmName, seed: int, epoch: int, scored: Scored | None, tau: float, sizes: dict[int, int]
) -> NDArray[np.bool_] | None:
    """Which samples this epoch trains on; None where the arm ends because too few are left."""
    count, metric = len(study.train), study.recipe.pruning.metric
    if arm == "full":
        return np.ones(count, dtype=bool)
    if arm == "static":
        return keep(study.first.values[metric], study.tau)
    if arm == "random":
        return random_subset(sizes[epoch], count, seed, epoch) if epoch in sizes else None
    assert scored is not None
    kept = keep(scored.values[metric], tau)
    if kept.sum() < study.recipe.pruning.min_samples:
        study.job.log.info("seed %d: %d samples are left in epoch %d, too few: it ends", seed, kept.sum(), epoch)
        return None
    sizes[epoch] = int(kept.sum())
    return kept


def _epoch(
    study: Study,
    arm: ArmName,
    seed: int,
    epoch: int,
    kept: NDArray[np.bool_],
    scored: Scored | None,
    tau: float,
    peft: PeftModel,
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> int:
    """Train and evaluate one epoch, save its checkpoint, record its parts; the answer is the steps taken so far."""
    job, settings = study.job, study.recipe.training
    words = f"seed {seed}, {arm}, epoch {epoch}: training on {int(kept.sum())} of {len(kept)} samples"
    started = time.perf_counter()
    with job.phase(words, work.epoch(study.student.parameters, study.scorer.tokens, 0)) as tick:
        trained = train_epoch(
            peft,
            optimizer,
            study.train,
            kept,
            batch_size=settings.batch_size,
            loss_on=settings.loss_on,
            seed=seed,
            epoch=epoch,
            tick=tick,
        )
    seconds = time.perf_counter() - started
    valid_tokens = sum(len(sample.input_ids) for sample in study.valid)
    words = f"seed {seed}, {arm}, epoch {epoch}: validation"
    with job.phase(words, work.epoch(study.student.parameters, 0, valid_tokens)) as tick:
        after = evaluate(peft, study.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick)
    steps += trained.steps
    at = {"arm": arm, "seed": seed, "epoch": epoch, "step": steps}
    rows = [*_valid_rows(at, after), at | {"split": "train", "name": "loss", "value": trained.loss}]
    cost = {
        "samples": trained.samples,
        "tokens": trained.tokens,
        "steps": trained.steps,
        "seconds_scoring": scored.seconds if scored else 0.0,
        "seconds_training": seconds,
    }
    threshold = {"dynamic": tau, "static": study.tau}.get(arm)
    if threshold is not None:
        cost["tau"] = threshold
    rows += [at | {"split": "", "name": name, "value": float(value)} for name, value in cost.items()]
    if epoch == 1:
        rows += _valid_rows({"arm": arm, "seed": seed, "epoch": 0, "step": 0}, study.before)
    selection = {
        "arm": [arm] * len(kept),
        "seed": [seed] * len(kept),
        "epoch": [epoch] * len(kept),
        "row": np.array([sample.row for sample in study.train], dtype=np.int32),
        "kept": kept,
        "tau": [threshold] * len(kept),
    }
    unit = f"{arm}-s{seed}-e{epoch:03d}"
    # The checkpoint first: recorded parts promise that the next epoch can start from it.
    save_state(_checkpoint(study, arm, seed, epoch), adapter_state(peft), optimizer, epoch=epoch, steps=steps)
    job.record([job.write("selections", unit, selection), job.write("metrics", unit, rows)])
    _checkpoint(study, arm, seed, epoch - 1).unlink(missing_ok=True)
    return steps


def _resume(
    study: Study, arm: ArmName, seed: int, peft: PeftModel, optimizer: torch.optim.Optimizer
) -> tuple[int, int]:
    """Restore the last finished epoch of an arm; the answer is (epochs done, steps done).

    Only the last checkpoint is kept. Where an earlier epoch lost a part, the arm starts again: its random numbers
    depend on seed and epoch alone, so it makes the same parts once more.
    """
    done = 0
    while _finished(study, arm, seed, done + 1):
        done += 1
    checkpoint = _checkpoint(study, arm, seed, done)
    if done == 0 or not checkpoint.exists():
        return 0, 0
    weights, counters = load_state(checkpoint, optimizer)
    load_adapter(peft, weights)
    return done, counters["steps"]


def _finished(study: Study, arm: ArmName, seed: int, epoch: int) -> bool:
    """Whether every part of an epoch is there."""
    unit = f"{arm}-s{seed}-e{epoch:03d}"
    tables = ("metrics", "selections")
    scored = arm != "dynamic" or epoch == 1 or study.scorer.finished(arm, seed, epoch, _detail(study, seed))
    return scored and all(study.job.has(table, unit) for table in tables)


def _checkpoint(study: Study, arm: str, seed: int, epoch: int) -> Path:
    return study.job.workspace.checkpoints / study.job.run.id / f"{arm}-s{seed}-e{epoch:03d}.safetensors"


def _valid_rows(at: dict[str, Any], result: Evaluation) -> list[dict[str, Any]]:
    values = {"loss": result.loss, "perplexity": math.exp(min(result.loss, 700)), "accuracy": result.accuracy}
    return [at | {"split": "valid", "name": name, "value": value} for name, value in values.items()]


def _unit_work(study: Study, arm: ArmName, epoch: int) -> float:
    """Planned work of one epoch of one arm."""
    valid_tokens = sum(len(sample.input_ids) for sample in study.valid)
    student, tokens = study.student.parameters, study.scorer.tokens
    scoring = work.scoring(tokens, student) if arm == "dynamic" and epoch > 1 else 0.0
    return work.epoch(student, tokens, valid_tokens) + scoring
