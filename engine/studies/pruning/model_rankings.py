"""Rankings that need passes of the student of their own: each is a work unit, and becomes a part of the scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from engine.common.random_streams import random_subset
from engine.config.pruning import DynamicPruningRecipe
from engine.config.rankings import MODEL_RANKINGS
from engine.data.samples import EncodedSample
from engine.data.tokenizers import context_token
from engine.models.lora import attach_lora, detach_lora
from engine.pruning.gradients import target_likeness
from engine.pruning.instruction_scores import ifd, target_gain
from engine.pruning.select import kept_count
from engine.storage.parts import read_column, read_seconds
from engine.studies import flops
from engine.studies.job import Job, Tick
from engine.studies.pruning.candidates import Cost
from engine.studies.pruning.pair import PairRun
from engine.studies.pruning.scoring import BASE, FIRST, score_columns, tokens_of
from engine.studies.work_units import WorkUnit
from engine.training.lora_gradients import lora_gradients
from engine.training.target_tuning import bare_response, losses, tune_on_target

GRADIENTS = ("gradient_norm", "target_likeness")  # which one pass yields
PROJECTED = 512  # numbers a LoRA gradient is projected to


@dataclass(frozen=True)
class RankSamples:
    """Key of a work unit: make these rankings, together, of all training samples."""

    names: tuple[str, ...]
    samples: Sequence[EncodedSample]
    target: Sequence[EncodedSample]
    nll_student: NDArray[np.float32]  # (n,) loss on each response before any training


def ranking_units(
    job: Job,
    recipe: DynamicPruningRecipe,
    student: int,
    samples: Sequence[EncodedSample],
    target: Sequence[EncodedSample],
    nll_student: NDArray[np.float32],
) -> list[WorkUnit]:
    """The units of every ranking that the arms name and that is not made yet; `student` is its parameters."""
    named = [name for name in recipe.rankings if name in MODEL_RANKINGS]
    together = tuple(name for name in GRADIENTS if name in named)
    units = []
    for names in [together, *((name,) for name in named if name not in GRADIENTS)]:
        if not names:
            continue
        work = flops.ranking(recipe, names[-1], student, tokens_of(samples), tokens_of(target))
        if all(job.has("scores", _part(name)) for name in names):
            job.skip(work)
        else:
            units.append(
                WorkUnit(f"ranking by {' and '.join(names)}", RankSamples(names, samples, target, nll_student), work)
            )
    return units


def make_ranking(run: PairRun, recipe: DynamicPruningRecipe, key: RankSamples) -> None:
    """Do one unit and record its parts."""
    job, started = run.job, time.perf_counter()
    names = " and ".join(key.names)
    work = flops.ranking(recipe, key.names[-1], run.models.size.student, tokens_of(key.samples), tokens_of(key.target))
    with job.phase(f"ranking the samples by {names}", work) as tick:
        values = _VALUES[key.names[0]](run, recipe, key, tick)
    seconds = time.perf_counter() - started
    rows = [sample.row for sample in key.samples]
    parts = [
        job.write("scores", _part(name), score_columns(rows, {name: found.astype(np.float32)}, FIRST), seconds=seconds)
        for name, found in zip(key.names, values, strict=True)
    ]
    job.record(parts)


def read_rankings(
    job: Job,
    recipe: DynamicPruningRecipe,
    student: int,
    samples: Sequence[EncodedSample],
    target: Sequence[EncodedSample],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Cost]]:
    """The rankings that models made, in the order of the samples, and what each has cost."""
    values, costs = {}, {}
    for name in recipe.rankings:
        if name in MODEL_RANKINGS:
            path = job.part_path("scores", _part(name))
            values[name] = read_column(path, "value")
            work = flops.ranking(recipe, name, student, tokens_of(samples), tokens_of(target))
            costs[name] = Cost(read_seconds(path), work)
    return values, costs


def _part(name: str) -> str:
    return f"{BASE}-{name}"


def _ifd(run: PairRun, recipe: DynamicPruningRecipe, key: RankSamples, tick: Tick) -> list[NDArray[np.float64]]:
    context = context_token(run.models.tokenizer)
    bare = [bare_response(sample, context) for sample in key.samples]
    without = losses(run.student.model, bare, batch_size=recipe.training.batch_size, tick=tick)
    return [ifd(key.nll_student.astype(np.float64), without)]


def _target_gain(run: PairRun, recipe: DynamicPruningRecipe, key: RankSamples, tick: Tick) -> list[NDArray[np.float64]]:
    settings = recipe.training

    def measured(model: nn.Module, third: int) -> NDArray[np.float64]:
        return losses(model, key.samples, batch_size=settings.batch_size, tick=_third(tick, third))

    # Not the loss of the scoring pass: in bfloat16 the two ways round by as much as a little tuning changes.
    before = measured(run.student.model, 0)
    peft = attach_lora(run.student.model, settings.lora, recipe.seeds[0])
    try:
        tune_on_target(
            peft,
            key.target,
            epochs=recipe.target.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            loss_on=settings.loss_on,
            seed=recipe.seeds[0],
            tick=_third(tick, 1),
        )
        after = measured(peft, 2)
    finally:
        detach_lora(peft)
    return [target_gain(before, after)]


def _third(tick: Tick, before: int) -> Tick:
    """Reports one of three steps as a third of the whole."""
    return lambda done, total: tick(before * total + done, 3 * total)


def _gradients(run: PairRun, recipe: DynamicPruningRecipe, key: RankSamples, tick: Tick) -> list[NDArray[np.float64]]:
    settings, seed = recipe.training, recipe.seeds[0]
    peft = attach_lora(run.student.model, settings.lora, seed)
    try:
        count = len(key.samples)
        few = np.flatnonzero(random_subset(kept_count(count, recipe.target.warm_up), count, seed, 0))
        # At first B is zero, and with it every gradient of A.
        tune_on_target(
            peft,
            [key.samples[i] for i in few.tolist()],
            epochs=1,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            loss_on=settings.loss_on,
            seed=seed,
            tick=lambda done, total: tick(0, 1),
        )
        found = [
            lora_gradients(
                peft, samples, batch_size=settings.batch_size, loss_on=settings.loss_on, width=PROJECTED, seed=seed,
                tick=tick,
            )
            for samples in (key.samples, key.target)
            if samples
        ]  # fmt: skip
    finally:
        detach_lora(peft)
    values = {"gradient_norm": found[0].norms}
    if "target_likeness" in key.names:
        values["target_likeness"] = target_likeness(found[0].projected, found[1].projected)
    return [values[name] for name in key.names]


_VALUES = {"ifd": _ifd, "target_gain": _target_gain, "gradient_norm": _gradients, "target_likeness": _gradients}
