"""Teachers of a grid: trained on everything (or as their settings have it); their logits are cached once."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from engine.common.hashing import digest
from engine.common.random_streams import FIRST_TEACHER_SEED, random_subset
from engine.config.grid import noise_label
from engine.config.kd import TeacherSettings
from engine.models.tensor_cache import CachedTensors, has_tensors, load_tensors, save_tensors
from engine.studies.kd.setup import KdStudy, network_of, noise_key
from engine.training.group import outputs_of
from engine.training.students import Schedule, Student, train_group


def teacher_key(study: KdStudy, name: str, noise: float, seed: int) -> str:
    """What the outputs of a teacher depend on."""
    settings, recipe = study.recipe.teachers[name], study.recipe
    return "teacher-" + digest(
        [
            study.data.dataset,
            settings.model_dump(mode="json") | network_of(recipe, settings).model_dump(mode="json"),
            recipe.training.model_dump(mode="json", exclude={"temperature", "equal"}),
            str(study.dtype),
            noise_key(noise),
            seed,
        ]
    )


def missing_teachers(study: KdStudy, noise: float) -> dict[str, list[int]]:
    """The seeds of every teacher whose outputs the workspace does not have yet."""
    found = {name: _missing(study, name, noise) for name in _offline(study)}
    return {name: seeds for name, seeds in found.items() if seeds}


def teacher_logits(study: KdStudy, noise: float) -> dict[tuple[str, int], Tensor]:
    """The outputs (views, n, C) of every teacher and seed for the training samples, on the device of the run."""
    logits: dict[tuple[str, int], Tensor] = {}
    for name in _offline(study):
        found = {
            seed: load_tensors(study.job.workspace, teacher_key(study, name, noise, seed))
            for seed in study.recipe.seeds
        }
        for seed, output in found.items():
            assert output is not None  # they are made first
            logits[name, seed] = output.tensors["outputs"].to(study.job.device)
        _record(study, name, noise, found)
    return logits


def _offline(study: KdStudy) -> list[str]:
    return [name for name in study.recipe.used_teachers() if not study.recipe.teachers[name].online]


def _missing(study: KdStudy, name: str, noise: float) -> list[int]:
    workspace = study.job.workspace
    return [s for s in study.recipe.seeds if not has_tensors(workspace, teacher_key(study, name, noise, s))]


def _schedule(study: KdStudy, settings: TeacherSettings) -> Schedule:
    return study.schedule(settings.epochs or study.recipe.training.epochs, stop_after=settings.at_epoch)


def teacher_flops(study: KdStudy, name: str, teachers: int) -> float:
    """Planned operations of training so many teachers together."""
    settings = study.recipe.teachers[name]
    kept = max(1, round(settings.fraction * study.count))
    return study.training_flops(network_of(study.recipe, settings), _schedule(study, settings), kept, teachers)


def train_teacher(study: KdStudy, name: str, noise: float, labels: Tensor, seeds: list[int]) -> None:
    """Train a teacher with each seed, all of them together, and cache their logits."""
    settings = study.recipe.teachers[name]
    network = network_of(study.recipe, settings)
    kept = max(1, round(settings.fraction * study.count))
    group = study.group(network, [FIRST_TEACHER_SEED + seed for seed in seeds])
    members = [
        Student(random_subset(kept, study.count, seed, 0).nonzero()[0], FIRST_TEACHER_SEED + seed) for seed in seeds
    ]
    started = time.perf_counter()
    message = f"training the teacher {noise_label(name, noise)} on {kept:,} samples"
    with study.job.phase(message, teacher_flops(study, name, len(seeds))) as tick:
        steps = train_group(group, members, study.samples["train"], labels, _schedule(study, settings), tick=tick)
    train = study.samples["train"]
    logits = torch.stack([outputs_of(group, train, view) for view in range(train.views)], 1)  # (S, views, n, C)
    seconds = (time.perf_counter() - started) / len(seeds)
    results = study.measured(group)
    for place, seed in enumerate(seeds):
        facts: dict[str, Any] = {
            "valid": results["valid"][place].accuracy,
            "test": results["test"][place].accuracy,
            "seconds": seconds,
            "steps": steps,
            "parameters": study.parameters[network],
        }
        save_tensors(study.job.workspace, teacher_key(study, name, noise, seed), {"outputs": logits[place]}, facts)


def _record(study: KdStudy, name: str, noise: float, found: dict[int, CachedTensors | None]) -> None:
    """Record how accurate each teacher is and what it costs, once."""
    unit = f"teacher-{name}-noise-{noise:g}"
    if study.job.has("metrics", unit):
        return
    rows: list[dict[str, Any]] = []
    settings = study.recipe.teachers[name]
    epoch = settings.at_epoch or settings.epochs or study.recipe.training.epochs
    for seed, output in found.items():
        assert output is not None
        facts = output.facts
        at = {"arm": noise_label(f"teacher {name}", noise), "seed": seed, "epoch": epoch, "step": facts["steps"]}
        rows += [at | {"split": split, "name": "accuracy", "value": facts[split]} for split in ("valid", "test")]
        cost = {
            "seconds_training": facts["seconds"],
            "parameters": facts["parameters"],
            "cache_bytes": output.size,
        }
        rows += [at | {"split": "", "name": key, "value": float(value)} for key, value in cost.items()]
    study.job.record([study.job.write("metrics", unit, rows)])
