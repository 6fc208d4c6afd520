"""The arms of a dynamic-pruning study: the training of one seed, epoch by epoch, and the scores it uses.

An (arm, seed, epoch) that is finished has a recorded `metrics` part and a checkpoint from which the next one starts.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from engine.common.random_streams import random_subset
from engine.config.arms import ArmName
from engine.config.pruning import DynamicPruningRecipe
from engine.data.samples import EncodedSample
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.lora import adapter_state, attach_lora, detach_lora, load_adapter
from engine.pruning.thresholds import keep, next_tau
from engine.storage.parts import read_column
from engine.studies import flops
from engine.studies.job import Job
from engine.studies.pruning.pair import PairRun
from engine.studies.pruning.prepare import Models
from engine.studies.pruning.scoring import Epoch, Scored, tokens_of
from engine.studies.work_units import WorkUnit
from engine.training.finetune import Evaluation, evaluate, train_epoch

ORDER: tuple[ArmName, ...] = ("dynamic", "static", "random", "full")  # `random` needs the sizes of `dynamic`


@dataclass(frozen=True)
class Baseline:
    """What every arm of every seed starts from."""

    train: list[EncodedSample]
    valid: list[EncodedSample]
    first: Scored
    before: Evaluation  # of the student before any training
    tau: float
    tau_max: float


@dataclass(frozen=True)
class EvaluateBefore:
    """Key of a work unit: evaluate the student before any training."""

    valid: list[EncodedSample]


class TrainArms(NamedTuple):
    """Key of a work unit: arms of one seed, trained one after the other because each needs the one before it."""

    seed: int
    arms: tuple[ArmName, ...]


class PruningStudy(PairRun):
    """Does the work units of the study on one machine."""

    def __init__(self, job: Job, recipe: DynamicPruningRecipe, models: Models, dataset: str) -> None:
        super().__init__(job, models, recipe.scoring, dataset)
        self.recipe = recipe

    @cached_property
    def baseline(self) -> Baseline:
        baseline: Baseline = self.job.broadcasted("baseline")
        return baseline

    @property
    def parameters(self) -> int:
        """Of the student, as the run is planned."""
        return self.models.parameters["student"]

    @cached_property
    def tokens(self) -> dict[str, int]:
        return {"train": tokens_of(self.baseline.train), "valid": tokens_of(self.baseline.valid)}

    def do(self, key: Any) -> None:
        match key:
            case EvaluateBefore():
                self._evaluate_before(key)
            case TrainArms(seed, arms):
                sizes: dict[int, int] = {}
                for arm in arms:
                    train_arm(self, arm, seed, sizes)
            case _:
                super().do(key)

    def _evaluate_before(self, key: EvaluateBefore) -> None:
        settings = self.recipe.training
        with self.job.phase("measuring the student before training", 0) as tick:
            before = evaluate(
                self.student.model, key.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick
            )
        self.job.ledger.set_provenance(self.job.run.id, before_training=asdict(before))


def arm_units(study: PruningStudy) -> list[WorkUnit]:
    """The arms of every seed; `random` follows `dynamic`, whose sizes it needs."""
    units = []
    for seed in study.recipe.seeds:
        for chain in (("dynamic", "random"), ("static",), ("full",)):
            arms = tuple(arm for arm in ORDER if arm in chain and arm in study.recipe.arms)
            if not arms:
                continue
            epochs = range(1, study.recipe.training.epochs + 1)
            planned = sum(_epoch_flops(study, arm, epoch) for arm in arms for epoch in epochs)
            units.append(WorkUnit(f"seed {seed}: {', '.join(arms)}", TrainArms(seed, arms), planned))
    return units


def train_arm(study: PruningStudy, arm: ArmName, seed: int, sizes: dict[int, int]) -> None:
    """Every epoch of one arm. `sizes` takes how many samples `dynamic` kept in each epoch, for `random` to follow."""
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
            part = f"{arm}-s{seed}-e{epoch:03d}"
            if epoch <= done:
                job.skip(_epoch_flops(study, arm, epoch))
                if arm == "dynamic":
                    kept_before = read_column(job.part_path("selections", part), "kept")
                    sizes[epoch] = int(kept_before.sum())
                continue
            scored = _scores(study, arm, seed, epoch, peft)
            kept = _kept(study, arm, seed, epoch, scored, tau, sizes)
            if kept is None:
                for left in range(epoch, settings.epochs + 1):
                    job.skip(_epoch_flops(study, arm, left))
                break
            steps = _epoch(study, arm, seed, epoch, kept, scored, tau, peft, optimizer, steps)
    finally:
        detach_lora(peft)


def _scores(study: PruningStudy, arm: ArmName, seed: int, epoch: int, peft: PeftModel) -> Scored | None:
    """The scores that an arm uses in this epoch: `dynamic` scores again, `static` uses the first scores."""
    if arm in ("dynamic", "static") and epoch == 1:
        return study.baseline.first
    if arm != "dynamic":
        return None
    return study.scorer.score(
        cast(PreTrainedModel, peft),  # it has the same interface
        study.baseline.train,
        f"seed {seed}, dynamic, epoch {epoch}: scoring",
        flops.scoring(study.tokens["train"], study.parameters),
        _epoch_of(study, arm, seed, epoch),
    )


def _epoch_of(study: PruningStudy, arm: ArmName, seed: int, epoch: int) -> Epoch:
    """Scores of single tokens are recorded for the first seed alone, as they take most of the space."""
    return Epoch(arm, seed, epoch, detail=seed == study.recipe.seeds[0])


def _kept(
    study: PruningStudy, arm: ArmName, seed: int, epoch: int, scored: Scored | None, tau: float, sizes: dict[int, int]
) -> NDArray[np.bool_] | None:
    """Which samples this epoch trains on; None if the arm ends because too few are left."""
    count, metric = len(study.baseline.train), study.recipe.pruning.metric
    if arm == "full":
        return np.ones(count, dtype=bool)
    if arm == "static":
        return keep(study.baseline.first.values[metric], study.baseline.tau)
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
    study: PruningStudy,
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
    """Train and evaluate one epoch, save its checkpoint, record its parts. Returns the optimizer steps so far."""
    job, settings = study.job, study.recipe.training
    message = f"seed {seed}, {arm}, epoch {epoch}: training on {int(kept.sum())} of {len(kept)} samples"
    started = time.perf_counter()
    with job.phase(message, flops.epoch(study.parameters, study.tokens["train"], 0)) as tick:
        trained = train_epoch(
            peft,
            optimizer,
            study.baseline.train,
            kept,
            batch_size=settings.batch_size,
            loss_on=settings.loss_on,
            seed=seed,
            epoch=epoch,
            tick=tick,
        )
    seconds = time.perf_counter() - started
    message = f"seed {seed}, {arm}, epoch {epoch}: validation"
    with job.phase(message, flops.epoch(study.parameters, 0, study.tokens["valid"])) as tick:
        after = evaluate(
            peft, study.baseline.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick
        )
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
    threshold = {"dynamic": tau, "static": study.baseline.tau}.get(arm)
    if threshold is not None:
        cost["tau"] = threshold
    rows += [at | {"split": "", "name": name, "value": float(value)} for name, value in cost.items()]
    if epoch == 1:
        rows += _valid_rows({"arm": arm, "seed": seed, "epoch": 0, "step": 0}, study.baseline.before)
    selection = {
        "arm": [arm] * len(kept),
        "seed": [seed] * len(kept),
        "epoch": [epoch] * len(kept),
        "row": np.array([sample.row for sample in study.baseline.train], dtype=np.int32),
        "kept": kept,
        "tau": [threshold] * len(kept),
    }
    part = f"{arm}-s{seed}-e{epoch:03d}"
    # The checkpoint first: recorded parts promise that the next epoch can start from it.
    save_checkpoint(_checkpoint(study, arm, seed, epoch), adapter_state(peft), optimizer, epoch=epoch, steps=steps)
    job.record([job.write("selections", part, selection), job.write("metrics", part, rows)])
    _checkpoint(study, arm, seed, epoch - 1).unlink(missing_ok=True)
    return steps


def _resume(
    study: PruningStudy, arm: ArmName, seed: int, peft: PeftModel, optimizer: torch.optim.Optimizer
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


def _finished(study: PruningStudy, arm: ArmName, seed: int, epoch: int) -> bool:
    """Whether every part of an epoch is there."""
    part = f"{arm}-s{seed}-e{epoch:03d}"
    tables = ("metrics", "selections")
    scored = (
        arm != "dynamic"
        or epoch == 1
        or study.scorer.finished(study.baseline.train, _epoch_of(study, arm, seed, epoch))
    )
    return scored and all(study.job.has(table, part) for table in tables)


def _checkpoint(study: PruningStudy, arm: str, seed: int, epoch: int) -> Path:
    return study.job.workspace.checkpoints / study.job.run.id / f"{arm}-s{seed}-e{epoch:03d}.safetensors"


def _valid_rows(at: dict[str, Any], result: Evaluation) -> list[dict[str, Any]]:
    values = {"loss": result.loss, "perplexity": math.exp(min(result.loss, 700)), "accuracy": result.accuracy}
    return [at | {"split": "valid", "name": name, "value": value} for name, value in values.items()]


def _epoch_flops(study: PruningStudy, arm: ArmName, epoch: int) -> float:
    """Planned operations of one epoch of one arm."""
    student, tokens = study.parameters, study.tokens
    scoring = flops.scoring(tokens["train"], student) if arm == "dynamic" and epoch > 1 else 0.0
    return flops.epoch(student, tokens["train"], tokens["valid"]) + scoring
