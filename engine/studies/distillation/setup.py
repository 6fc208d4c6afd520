"""What every part of a distillation run needs: its tasks as tensors, and its students as functions of their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from engine.config.distillation import MAIN, DistillationRecipe
from engine.config.models import NetworkSettings
from engine.models.functional import FunctionalModel, ImageModel, TextModel
from engine.studies.distillation.encoders import model_sources
from engine.studies.distillation.tasks import Task, open_task
from engine.studies.job import Job
from engine.studies.labelled import record_labelled

BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}  # in one batch without gradients


@dataclass(frozen=True)
class DistillationStudy:
    """The tasks and students of a run, opened on one machine.

    The keys of `opened` and `flops_per_token` are the name of a task and that of a model in the recipe.
    """

    job: Job
    recipe: DistillationRecipe
    sources: dict[str, str]  # by model as the recipe names it: the folder or Hub id to load
    dtype: torch.dtype  # of real batches
    opened: dict[tuple[str, str], tuple[Task, FunctionalModel]]
    flops_per_token: dict[tuple[str, str], float]  # of a forward pass; per image

    @property
    def images(self) -> bool:
        return self.recipe.data.task == "images"


def open_study(job: Job, recipe: DistillationRecipe) -> DistillationStudy:
    """Read every task with every tokenizer that the run needs, and load every student and transfer model.

    A worker of a cluster opens all of them as well: it may be given any unit, and would hold them after some units
    anyway. The engine broadcasts the samples and the folders of encoders from scratch.
    """
    sources: dict[str, str] = job.broadcast("sources", lambda: model_sources(job, recipe))
    networks = {network.model: network for network in [*recipe.evaluation.transfer, *recipe.students]}
    tasks: dict[tuple[str, str], Task] = {}  # models of one source share their samples
    opened: dict[tuple[str, str], tuple[Task, FunctionalModel]] = {}
    pairs = [(key.task, key.student) for key in recipe.sets()]
    pairs += [(MAIN, network.model) for network in recipe.evaluation.transfer]
    for name, model in dict.fromkeys(pairs):
        source = sources[model] if recipe.data.task == "text" else ""
        if (name, source) not in tasks:
            settings = recipe.data if name == MAIN else recipe.other
            assert settings is not None  # the recipe was checked
            tasks[name, source] = open_task(job, name, settings, source)
        task = tasks[name, source]
        opened[name, model] = task, _load(job, networks[model], source, task)
    flops = {pair: _flops_per_token(task, model) for pair, (task, model) in opened.items()}
    return DistillationStudy(job, recipe, sources, job.dtype(recipe.outer.dtype), opened, flops)


def _load(job: Job, network: NetworkSettings, source: str, task: Task) -> FunctionalModel:
    if task.tokenizer is None:
        return ImageModel(network, tuple(task.data.inputs.shape[1:]), task.classes, job.device)
    return TextModel(network, job.local_path(source), task.tokenizer, task.classes, job.device)


def write_down(study: DistillationStudy) -> None:
    """Record the samples of the main task, and the provenance of the run."""
    task, _ = study.opened[MAIN, study.recipe.students[0].model]
    record_labelled(
        study.job,
        study.recipe,
        task.data,
        study.dtype,
        sources=study.sources,
        attention=None if study.images else "eager",
    )


def forward_flops(model: FunctionalModel, inputs: tuple[Tensor, ...]) -> float:
    """Floating-point operations of a forward pass over real inputs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.forward(model.init(0), *inputs)
    return float(counter.get_total_flops())


def synthetic_flops(model: FunctionalModel, inputs: Tensor) -> float:
    """Floating-point operations of a forward pass over synthetic inputs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.forward_embeds(model.init(0), inputs)
    return float(counter.get_total_flops())


def _flops_per_token(task: Task, model: FunctionalModel) -> float:
    inputs = task.inputs("train", np.arange(1))
    return forward_flops(model, inputs) / (inputs[0].shape[1] if len(inputs) > 1 else 1)
