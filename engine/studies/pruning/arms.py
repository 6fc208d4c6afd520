"""The arms of a dynamic-pruning study: the training of one seed, epoch by epoch, and the scores it uses.

An (arm, seed, epoch) that is finished has a recorded `metrics` part and a checkpoint from which the next one starts.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from engine.config.arms import ArmSettings
from engine.config.pruning import DynamicPruningRecipe
from engine.data.samples import EncodedSample
from engine.data.tokenizers import vocabulary_size
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.lora import adapter_state, attach_lora, detach_lora, load_adapter
from engine.pruning.orders import fill_samples
from engine.pruning.thresholds import keep, next_tau
from engine.scoring.scored_model import scored_model
from engine.scoring.training_pass import check_head
from engine.storage.parts import read_column
from engine.studies import flops
from engine.studies.job import Job
from engine.studies.pruning import refresh
from engine.studies.pruning.candidates import Candidates, Cost
from engine.studies.pruning.model_rankings import RankSamples, make_ranking
from engine.studies.pruning.pair import CheckModels, PairRun
from engine.studies.pruning.prepare import Models
from engine.studies.pruning.scoring import Epoch, Scored, tokens_of
from engine.studies.pruning.selections import fill, order_of
from engine.studies.pruning.validation import Validation, ValidationParts, validate
from engine.studies.work_units import WorkUnit
from engine.training.causal_kd import KnowledgeDistillation
from engine.training.finetune import train_epoch


@dataclass(frozen=True)
class Baseline:
    """What every arm of every seed starts from."""

    train: list[EncodedSample]
    valid: ValidationParts
    first: Scored
    candidates: Candidates
    before: Validation  # of the student before any training
    tau: float
    tau_max: float


@dataclass(frozen=True)
class EvaluateBefore:
    """Key of a work unit: evaluate the student before any training."""

    valid: ValidationParts


class TrainArms(NamedTuple):
    """Key of a work unit: arms of one seed, trained one after the other because each needs the one before it."""

    seed: int
    arms: tuple[str, ...]


class PruningStudy(PairRun):
    """Does the work units of the study on one machine."""

    def __init__(self, job: Job, recipe: DynamicPruningRecipe, models: Models, dataset: str) -> None:
        super().__init__(job, models, recipe.scoring, dataset)
        self.recipe = recipe
        self.arms = {arm.name: arm for arm in recipe.entries}

    @cached_property
    def baseline(self) -> Baseline:
        baseline: Baseline = self.job.broadcasted("baseline")
        return baseline

    @property
    def parameters(self) -> int:
        """Of the student, as the run is planned."""
        return self.models.size.student

    @cached_property
    def kd(self) -> KnowledgeDistillation | None:
        """What the student of every arm learns from beside the labels."""
        weight = self.recipe.training.kd_weight
        return KnowledgeDistillation(weight, self.scorer.teacher_logits(self.baseline.train)) if weight else None

    @cached_property
    def tokens(self) -> dict[str, int]:
        valid = self.baseline.valid
        return {
            "train": tokens_of(self.baseline.train),
            "valid": tokens_of([*valid.target, *valid.pick, *valid.report]),
        }

    def refreshes(self, arm: ArmSettings) -> bool:
        """Whether every epoch of an arm but the last makes the scores of the next while it trains."""
        return arm.scored_anew and self.recipe.scoring.refresh == "while_training"

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

    def _check_models(self, key: CheckModels) -> None:
        super()._check_models(key)
        if any(map(self.refreshes, self.arms.values())):
            check_head(scored_model(self.student.model, key.samples, vocabulary_size(self.models.tokenizer)))

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
            planned = sum(_epoch_flops(study, study.arms[arm], epoch) for arm in arms for epoch in epochs)
            units.append(WorkUnit(f"seed {seed}: {', '.join(arms)}", TrainArms(seed, tuple(arms)), planned))
    return units


def train_arm(study: PruningStudy, arm: ArmSettings, seed: int, sizes: dict[int, int]) -> None:
    """Every epoch of one arm. `sizes` takes how many samples `dynamic` kept in each epoch, for others to follow."""
    job, settings = study.job, study.recipe.training
    peft = attach_lora(study.student.model, settings.lora, seed)
    try:
        trainable = [parameter for parameter in peft.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate)
        done, steps = _resume(study, arm, seed, peft, optimizer)
        tau = study.baseline.tau
        for epoch in range(1, settings.epochs + 1):
            if epoch > 1:
                tau = next_tau(tau, study.recipe.pruning.tau_growth, study.baseline.tau_max)
            if epoch <= done:
                job.skip(_epoch_flops(study, arm, epoch))
                if arm.schedule == "threshold":
                    sizes[epoch] = int(read_column(job.part_path("selections", _part(arm, seed, epoch)), "kept").sum())
                continue
            scored, cost = _scores(study, arm, seed, epoch, peft)
            kept = _kept(study, arm, seed, epoch, scored, tau, sizes)
            if kept is None:
                for left in range(epoch, settings.epochs + 1):
                    job.skip(_epoch_flops(study, arm, left))
                break
            steps = _epoch(study, arm, seed, epoch, kept, scored, cost, tau, peft, optimizer, steps)
    finally:
        detach_lora(peft)


def _part(arm: ArmSettings, seed: int, epoch: int) -> str:
    return f"{arm.name}-s{seed}-e{epoch:03d}"


def _scores(
    study: PruningStudy, arm: ArmSettings, seed: int, epoch: int, peft: PeftModel
) -> tuple[Scored | None, Cost]:
    """The scores that an arm uses in this epoch if they are not those before training, and what choosing has cost."""
    if epoch == 1:
        return None, study.baseline.candidates.cost_of(arm, study.recipe.pruning.metric)
    if not arm.scored_anew:
        return None, Cost()
    samples, at = study.baseline.train, _epoch_of(study, arm, seed, epoch)
    if study.refreshes(arm):  # the epoch before has recorded them
        scored = study.scorer.read(samples, at)
        before = read_column(study.job.part_path("selections", _part(arm, seed, epoch - 1)), "kept")
        return scored, Cost(scored.seconds, refresh.flops_of(samples, before, epoch - 1, study.models.size))
    work = flops.rescoring(study.tokens["train"], study.models.size)
    scored = study.scorer.score(
        cast(PreTrainedModel, peft),
        samples,
        f"seed {seed}, {arm.name}, epoch {epoch}: scoring",
        work,
        at,
    )
    return scored, Cost(scored.seconds, work)


def _epoch_of(study: PruningStudy, arm: ArmSettings, seed: int, epoch: int) -> Epoch:
    """Scores of single tokens are recorded for one arm and its first seed alone, as they take most of the space, and
    only if all samples are scored by one student."""
    detail = arm.schedule == "threshold" and seed == study.recipe.seeds[0] and not study.refreshes(arm)
    return Epoch(arm.name, seed, epoch, detail)


def _kept(
    study: PruningStudy,
    arm: ArmSettings,
    seed: int,
    epoch: int,
    scored: Scored | None,
    tau: float,
    sizes: dict[int, int],
) -> NDArray[np.bool_] | None:
    """Which samples this epoch trains on; None if the arm ends because too few are left."""
    baseline, recipe = study.baseline, study.recipe
    if arm.schedule == "threshold":
        kept = keep((scored or baseline.first).values[recipe.pruning.metric], tau)
        if kept.sum() < recipe.pruning.min_samples:
            study.job.log.info("seed %d: %d samples are left in epoch %d, too few: it ends", seed, kept.sum(), epoch)
            return None
        sizes[epoch] = int(kept.sum())
        return kept
    at = 1 if arm.schedule == "once" else epoch
    order = order_of(arm, recipe.pruning.metric, baseline.candidates, seed, at, scored.values if scored else None)
    if budget := recipe.budget_of(arm):
        return fill(arm, order, baseline.candidates, budget)
    if arm.schedule == "once":  # as many as the first threshold keeps
        sizes = {epoch: int(keep(baseline.first.values[recipe.pruning.metric], baseline.tau).sum())}
    return fill_samples(order, min(sizes[epoch], len(order)), n=len(baseline.train)) if epoch in sizes else None


def _epoch(
    study: PruningStudy,
    arm: ArmSettings,
    seed: int,
    epoch: int,
    kept: NDArray[np.bool_],
    scored: Scored | None,
    choosing: Cost,
    tau: float,
    peft: PeftModel,
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> int:
    """Train and evaluate one epoch, save its checkpoint, record its parts. Returns the optimizer steps so far.

    `scored` are the scores that it has chosen by, None if those are the ones before training.
    """
    job, settings = study.job, study.recipe.training
    message = f"seed {seed}, {arm.name}, epoch {epoch}: training on {int(kept.sum())} of {len(kept)} samples"
    teacher = flops.listened_to(study.recipe, study.models.size)
    planned = flops.epoch(study.parameters, flops.arm_tokens(study.recipe, arm, study.tokens["train"]), 0, teacher)
    student = cast(PreTrainedModel, peft)  # it has the same interface
    train, started = study.baseline.train, time.perf_counter()
    refreshed = study.refreshes(arm) and epoch < settings.epochs
    watched = study.scorer.training_pass(student, train) if refreshed else None
    with job.phase(message, planned) as tick, watched.watching() if watched else nullcontext():
        trained = train_epoch(
            peft,
            optimizer,
            train,
            kept,
            batch_size=settings.batch_size,
            loss_on=settings.loss_on,
            seed=seed,
            epoch=epoch,
            tick=tick,
            kd=study.kd,
            watch=watched,
        )
    seconds = time.perf_counter() - started
    parts = []
    if watched:
        seconds -= watched.seconds
        message = f"seed {seed}, {arm.name}, epoch {epoch}: scoring in turn"
        with job.phase(message, refresh.flops_of(train, kept, epoch, study.models.size)) as tick:
            latest = (scored or study.baseline.first).values
            new = refresh.next_scores(study.scorer, student, train, latest, kept, epoch, watched, tick)
        parts = study.scorer.write(train, new, _epoch_of(study, arm, seed, epoch + 1))
    message = f"seed {seed}, {arm.name}, epoch {epoch}: validation"
    with job.phase(message, flops.epoch(study.parameters, 0, study.tokens["valid"])) as tick:
        after = validate(
            peft, study.baseline.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick
        )
    steps += trained.steps
    at = {"arm": arm.name, "seed": seed, "epoch": epoch, "step": steps}
    rows = [*after.rows(at), at | {"split": "train", "name": "loss", "value": trained.loss}]
    cost = {
        "samples": trained.samples,
        "tokens": trained.tokens,
        "steps": trained.steps,
        "seconds_scoring": choosing.seconds,
        "seconds_training": seconds,
        "flops_scoring": choosing.flops,
        "flops_training": flops.epoch(study.parameters, trained.tokens, 0, teacher),
    }
    threshold = _threshold(study, arm, tau)
    if threshold is not None:
        cost["tau"] = threshold
    rows += [at | {"split": "", "name": name, "value": float(value)} for name, value in cost.items()]
    if epoch == 1:
        rows += study.baseline.before.rows({"arm": arm.name, "seed": seed, "epoch": 0, "step": 0})
    selection = {
        "arm": [arm.name] * len(kept),
        "seed": [seed] * len(kept),
        "epoch": [epoch] * len(kept),
        "row": np.array([sample.row for sample in train], dtype=np.int32),
        "kept": kept,
        "tau": [threshold] * len(kept),
    }
    part = _part(arm, seed, epoch)
    # The checkpoint first: recorded parts promise that the next epoch can start from it.
    save_checkpoint(_checkpoint(study, arm, seed, epoch), adapter_state(peft), optimizer, epoch=epoch, steps=steps)
    job.record([job.write("selections", part, selection), job.write("metrics", part, rows), *parts])
    _checkpoint(study, arm, seed, epoch - 1).unlink(missing_ok=True)
    return steps


def _threshold(study: PruningStudy, arm: ArmSettings, tau: float) -> float | None:
    """The threshold of an arm that has one: this epoch's, or the first."""
    if arm.schedule == "threshold":
        return tau
    return study.baseline.tau if arm.name == "static" and not study.recipe.budget_of(arm) else None


def _resume(
    study: PruningStudy, arm: ArmSettings, seed: int, peft: PeftModel, optimizer: torch.optim.Optimizer
) -> tuple[int, int]:
    """Restore the last finished epoch of an arm. Returns (epochs done, steps done).

    Only the last checkpoint is kept. If an earlier epoch has lost a part, the arm starts again: its random numbers
    depend on seed and epoch alone, so it makes the same parts once more.
    """
    done = 0
    while _finished(study, arm, seed, done + 1):
        done += 1
    checkpoint = _checkpoint(study, arm, seed, done)
    if done == 0 or not checkpoint.exists():
        return 0, 0
    weights, counters = load_checkpoint(checkpoint, optimizer)
    load_adapter(peft, weights)
    return done, counters["steps"]


def _finished(study: PruningStudy, arm: ArmSettings, seed: int, epoch: int) -> bool:
    """Whether every part of an epoch is there, with the scores that it makes: its own, or those of the next."""
    part = _part(arm, seed, epoch)
    made = epoch + 1 if study.refreshes(arm) else epoch
    scored = (
        not arm.scored_anew
        or not 1 < made <= study.recipe.training.epochs
        or study.scorer.finished(study.baseline.train, _epoch_of(study, arm, seed, made))
    )
    return scored and all(study.job.has(table, part) for table in ("metrics", "selections"))


def _checkpoint(study: PruningStudy, arm: ArmSettings, seed: int, epoch: int) -> Path:
    return study.job.workspace.checkpoints / study.job.run.id / f"{_part(arm, seed, epoch)}.safetensors"


def _epoch_flops(study: PruningStudy, arm: ArmSettings, epoch: int) -> float:
    """Planned operations of one epoch of one arm."""
    tokens = study.tokens
    return flops.arm_epoch(study.recipe, arm, study.models.size, tokens["train"], tokens["valid"], epoch == 1)
