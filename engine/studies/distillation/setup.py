"""What every part of a distillation run needs: its tasks as tensors, and its students as functions of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.common.text import reason
from engine.config.distillation import MAIN, DistillationRecipe
from engine.config.models import NetworkSettings, scratch_name
from engine.data.labelled.samples import training_texts
from engine.models.functional import FunctionalModel, ImageModel, TextModel
from engine.models.loading import load_tokenizer
from engine.models.networks import require_known_tokens
from engine.models.scratch import encoder
from engine.studies import flops
from engine.studies.distillation.tasks import Task, open_task
from engine.studies.job import Job
from engine.studies.labelled import record_labelled

BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}  # in one batch without gradients
MAX_WORDS = 8192  # in the vocabulary of an encoder from scratch


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
    estimated: list[str]  # models whose operations could not be counted

    @property
    def images(self) -> bool:
        return self.recipe.data.task == "images"


def open_study(job: Job, recipe: DistillationRecipe) -> DistillationStudy:
    """Read every task with every tokenizer that the run needs, and load every student and transfer model.

    A worker of a cluster opens all of them as well: it may be given any unit, and would hold them after some units
    anyway. The engine broadcasts the samples and the folders of encoders from scratch.
    """
    sources: dict[str, str] = job.broadcast("sources", lambda: _model_sources(job, recipe))
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
        opened[name, model] = task, _load(job, recipe, networks[model], source, task)
    per_token: dict[tuple[str, str], float] = {}
    estimated: list[str] = []
    for (name, model), each in opened.items():
        per_token[name, model], guessed = _flops_per_token(*each)
        estimated += [model] * (guessed and model not in estimated)
    return DistillationStudy(job, recipe, sources, job.dtype(recipe.outer.dtype), opened, per_token, estimated)


def _model_sources(job: Job, recipe: DistillationRecipe) -> dict[str, str]:
    """By model as the recipe names it: the folder or Hub id to load; encoders of the recipe are trained before."""
    models = [network.model for network in [*recipe.students, *recipe.evaluation.transfer]]
    sources = {model: model for model in models}
    if recipe.data.task == "text":
        sources |= _train_encoders(job, recipe, [model for model in models if scratch_name(model)])
    return sources


def _train_encoders(job: Job, recipe: DistillationRecipe, models: list[str]) -> dict[str, str]:
    """The folders of `scratch:` encoders, trained on the training texts of both tasks unless the workspace has them."""
    if not models:
        return {}
    tasks = [settings for settings in (recipe.data, recipe.other) if settings]
    with job.phase("reading the text the encoder is trained on", 0):
        texts = [text for settings in tasks for text in training_texts(settings)]
    fingerprint = digest(texts)
    folder = encoder.word_tokenizer_folder(job.workspace, lambda: texts, fingerprint, MAX_WORDS)
    tokenizer = load_tokenizer(str(folder), ends=False)
    longest = max(*(settings.max_length for settings in tasks), recipe.synthetic.length + 2)
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    folders = {}
    for model in dict.fromkeys(models):
        name = scratch_name(model)
        assert name is not None
        settings = recipe.scratch[name]
        made = encoder.encoder_folder(job.workspace, name, settings, folder, longest, fingerprint)
        if not made.exists():
            planned = flops.pretraining(settings, len(tokenizer), sum(map(len, ids)))
            job.plan(planned)
            with job.phase(f"training {name} from scratch", planned) as tick:
                encoder.make_encoder(job.workspace, made, settings, tokenizer, ids, longest, job.device, tick)
        folders[model] = str(made)
    return folders


def _load(job: Job, recipe: DistillationRecipe, network: NetworkSettings, source: str, task: Task) -> FunctionalModel:
    if task.tokenizer is None:
        return ImageModel(network, tuple(task.data.inputs.shape[1:]), task.classes, job.device)
    model = TextModel(network, job.local_path(source), task.tokenizer, task.classes, job.device)
    require_known_tokens(network.model, model.network, task.data.inputs)
    special, length = len(model.prefix) + len(model.suffix), recipe.synthetic.length
    if model.context is not None and length + special > model.context:
        raise WinnowError(
            f"synthetic.length is {length}, and with {special} special tokens that is more than the {model.context} "
            f"tokens {network.model} can read; lower it."
        )
    return model


def write_down(study: DistillationStudy) -> None:
    """Record the samples of the main task, and the provenance of the run."""
    task, _ = study.opened[MAIN, study.recipe.students[0].model]
    record_labelled(
        study.job,
        study.recipe,
        task.data,
        study.dtype,
        sources=study.sources,
        operations_estimated=study.estimated,
        attention=None if study.images else "eager",
    )


def forward_flops(model: FunctionalModel, inputs: tuple[Tensor, ...]) -> float:
    """Floating-point operations of a forward pass over real inputs."""
    return _counted(model, lambda: model.forward(model.init(0), *inputs), inputs[0])[0]


def synthetic_flops(model: FunctionalModel, inputs: Tensor) -> float:
    """Floating-point operations of a forward pass over synthetic inputs."""
    return _counted(model, lambda: model.forward_embeds(model.init(0), inputs), inputs[..., 0])[0]


def _flops_per_token(task: Task, model: FunctionalModel) -> tuple[float, bool]:
    """Of a forward pass, or per image; and whether they are an estimate.

    Raises WinnowError naming the model if it cannot read the samples.
    """
    inputs = task.inputs("train", np.arange(1))
    try:
        counted, estimated = _counted(model, lambda: model.forward(model.init(0), *inputs), inputs[0])
    except Exception as error:
        raise WinnowError(
            f"{model.name} cannot read the samples of {task.settings.source} ({type(error).__name__}: {reason(error)})"
            "; choose another student, or another size of the samples."
        ) from error
    return counted / (inputs[0].shape[1] if isinstance(model, TextModel) else 1), estimated


def _counted(model: FunctionalModel, forward: Callable[[], object], tokens: Tensor) -> tuple[float, bool]:
    """`flops.of_forward`; `tokens` has one element for each token, or more if the model reads images."""
    count = tokens.numel() if isinstance(model, TextModel) else len(tokens)
    return flops.of_forward(forward, model.name, model.parameters, count)
