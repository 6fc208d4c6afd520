"""The training of one arm with one seed, epoch by epoch, and the scores it uses.

An (arm, seed, epoch) that is finished has a recorded `metrics` part and a checkpoint from which the next one starts.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from engine.config.arms import ArmSettings, SelectionSettings
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.models.lora import adapter_state, attach_lora, detach_lora, load_adapter
from engine.pruning.orders import fill_samples
from engine.pruning.thresholds import keep, next_tau
from engine.storage.parts import read_column
from engine.studies import flops
from engine.studies.pruning import refresh
from engine.studies.pruning.arms_run import ArmsRun
from engine.studies.pruning.candidates import Cost
from engine.studies.pruning.scoring import Epoch, Scored
from engine.studies.pruning.selections import fill, order_of
from engine.studies.pruning.validation import validate
from engine.training.finetune import train_epoch


def train_arm(run: ArmsRun, arm: ArmSettings, seed: int, sizes: dict[int, int]) -> None:
    """Every epoch of one arm. `sizes` takes how many samples `dynamic` kept in each epoch, for others to follow."""
    job, settings = run.job, run.recipe.training
    peft = attach_lora(run.student.model, settings.lora, seed)
    try:
        trainable = [parameter for parameter in peft.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate)
        done, steps = _resume(run, arm, seed, peft, optimizer)
        tau = run.baseline.tau
        for epoch in range(1, settings.epochs + 1):
            if epoch > 1:
                tau = next_tau(tau, run.recipe.pruning.tau_growth, run.baseline.tau_max)
            if epoch <= done:
                job.skip(epoch_flops(run, arm, epoch))
                if arm.schedule == "threshold":
                    sizes[epoch] = int(read_column(job.part_path("selections", _part(arm, seed, epoch)), "kept").sum())
                continue
            scored, cost = _scores(run, arm, seed, epoch, peft)
            kept = _kept(run, arm, seed, epoch, scored, tau, sizes)
            if kept is None:
                for left in range(epoch, settings.epochs + 1):
                    job.skip(epoch_flops(run, arm, left))
                break
            steps = _epoch(run, arm, seed, epoch, kept, scored, cost, tau, peft, optimizer, steps)
    finally:
        detach_lora(peft)


def _part(arm: ArmSettings, seed: int, epoch: int) -> str:
    return f"{arm.name}-s{seed}-e{epoch:03d}"


def _scores(run: ArmsRun, arm: ArmSettings, seed: int, epoch: int, peft: PeftModel) -> tuple[Scored | None, Cost]:
    """The scores that an arm uses in this epoch if they are not those before training, and what choosing has cost."""
    if epoch == 1:
        return None, run.baseline.candidates.cost_of(arm, run.recipe.pruning.metric)
    if not arm.scored_anew:
        return None, Cost()
    samples, at = run.baseline.train, _epoch_of(run, arm, seed, epoch)
    if run.refreshes(arm):  # the epoch before has recorded them
        scored = run.scorer.read(samples, at)
        before = read_column(run.job.part_path("selections", _part(arm, seed, epoch - 1)), "kept")
        return scored, Cost(
            scored.seconds, refresh.flops_of(run.baseline.candidates.lengths, before, epoch - 1, run.models.size)
        )
    work = flops.rescoring(run.tokens["train"], run.models.size)
    scored = run.scorer.score(
        cast(PreTrainedModel, peft),
        samples,
        f"seed {seed}, {arm.name}, epoch {epoch}: scoring",
        work,
        at,
    )
    return scored, Cost(scored.seconds, work)


def _epoch_of(run: ArmsRun, arm: ArmSettings, seed: int, epoch: int) -> Epoch:
    """Scores of single tokens are recorded for one arm and its first seed alone, as they take most of the space, and
    only if all samples are scored by one student."""
    detail = arm.schedule == "threshold" and seed == run.recipe.seeds[0] and not run.refreshes(arm)
    return Epoch(arm.name, seed, epoch, detail)


def _kept(
    run: ArmsRun,
    arm: ArmSettings,
    seed: int,
    epoch: int,
    scored: Scored | None,
    tau: float,
    sizes: dict[int, int],
) -> NDArray[np.bool_] | None:
    """Which samples this epoch trains on; None if the arm ends because too few are left."""
    baseline, recipe = run.baseline, run.recipe
    if arm.schedule == "threshold":
        kept = keep((scored or baseline.first).values[recipe.pruning.metric], tau)
        if kept.sum() < recipe.pruning.min_samples:
            run.job.log.info("seed %d: %d samples are left in epoch %d, too few: it ends", seed, kept.sum(), epoch)
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
    run: ArmsRun,
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
    job, settings = run.job, run.recipe.training
    message = f"seed {seed}, {arm.name}, epoch {epoch}: training on {int(kept.sum())} of {len(kept)} samples"
    teacher = flops.listened_to(run.recipe, run.models.size)
    planned = flops.epoch(run.parameters, flops.arm_tokens(run.recipe, arm, run.tokens["train"]), 0, teacher)
    student = cast(PreTrainedModel, peft)  # it has the same interface
    train, started = run.baseline.train, time.perf_counter()
    refreshed = run.refreshes(arm) and epoch < settings.epochs
    watched = run.scorer.training_pass(student, train) if refreshed else None
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
            kd=run.kd,
            watch=watched,
        )
    seconds = time.perf_counter() - started
    parts = []
    if watched:
        seconds -= watched.seconds
        message = f"seed {seed}, {arm.name}, epoch {epoch}: scoring in turn"
        lengths = run.baseline.candidates.lengths
        with job.phase(message, refresh.flops_of(lengths, kept, epoch, run.models.size)) as tick:
            latest = (scored or run.baseline.first).values
            new = refresh.next_scores(run.scorer, student, train, latest, kept, epoch, watched, tick)
        parts = run.scorer.write(train, new, _epoch_of(run, arm, seed, epoch + 1))
    message = f"seed {seed}, {arm.name}, epoch {epoch}: validation"
    with job.phase(message, flops.epoch(run.parameters, 0, run.tokens["valid"])) as tick:
        after = validate(peft, run.baseline.valid, batch_size=settings.batch_size, loss_on=settings.loss_on, tick=tick)
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
        "flops_training": flops.epoch(run.parameters, trained.tokens, 0, teacher),
    }
    threshold = _threshold(run, arm, tau)
    if threshold is not None:
        cost["tau"] = threshold
    rows += [at | {"split": "", "name": name, "value": float(value)} for name, value in cost.items()]
    if epoch == 1:
        rows += run.baseline.before.rows({"arm": arm.name, "seed": seed, "epoch": 0, "step": 0})
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
    save_checkpoint(_checkpoint(run, arm, seed, epoch), adapter_state(peft), optimizer, epoch=epoch, steps=steps)
    job.record([job.write("selections", part, selection), job.write("metrics", part, rows), *parts])
    _checkpoint(run, arm, seed, epoch - 1).unlink(missing_ok=True)
    return steps


def _threshold(run: ArmsRun, arm: ArmSettings, tau: float) -> float | None:
    """The threshold of an arm that has one: this epoch's, or the first."""
    if arm.schedule == "threshold":
        return tau
    first = arm.schedule == "once" and arm.selection == SelectionSettings() and not run.recipe.budget_of(arm)
    return run.baseline.tau if first else None


def _resume(
    run: ArmsRun, arm: ArmSettings, seed: int, peft: PeftModel, optimizer: torch.optim.Optimizer
) -> tuple[int, int]:
    """Restore the last finished epoch of an arm. Returns (epochs done, steps done).

    Only the last checkpoint is kept. If an earlier epoch has lost a part, the arm starts again: its random numbers
    depend on seed and epoch alone, so it makes the same parts once more.
    """
    done = 0
    while _finished(run, arm, seed, done + 1):
        done += 1
    checkpoint = _checkpoint(run, arm, seed, done)
    if done == 0 or not checkpoint.exists():
        return 0, 0
    weights, counters = load_checkpoint(checkpoint, optimizer)
    load_adapter(peft, weights)
    return done, counters["steps"]


def _finished(run: ArmsRun, arm: ArmSettings, seed: int, epoch: int) -> bool:
    """Whether every part of an epoch is there, with the scores that it makes: its own, or those of the next."""
    part = _part(arm, seed, epoch)
    made = epoch + 1 if run.refreshes(arm) else epoch
    scored = (
        not arm.scored_anew
        or not 1 < made <= run.recipe.training.epochs
        or run.scorer.finished(run.baseline.train, _epoch_of(run, arm, seed, made))
    )
    return scored and all(run.job.has(table, part) for table in ("metrics", "selections"))


def _checkpoint(run: ArmsRun, arm: ArmSettings, seed: int, epoch: int) -> Path:
    return run.job.workspace.checkpoints / run.job.run.id / f"{_part(arm, seed, epoch)}.safetensors"


def epoch_flops(run: ArmsRun, arm: ArmSettings, epoch: int) -> float:
    """Planned operations of one epoch of one arm."""
    tokens = run.tokens
    return flops.arm_epoch(run.recipe, arm, run.models.size, tokens["train"], tokens["valid"], epoch == 1)
