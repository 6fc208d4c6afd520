"""What every part of a distillation run needs: its tasks as tensors, and its students as functions of their weights."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.config.data import LabelledSettings
from engine.config.distillation import MAIN, OTHER, DistillationRecipe
from engine.config.load import to_dict
from engine.config.models import scratch_name
from engine.data.labelled.samples import Labelled, read_labelled, training_texts
from engine.models.functional import FunctionalModel, ImageModel, TextModel
from engine.models.loading import load_tokenizer
from engine.models.scratch import encoder
from engine.studies import flops
from engine.studies.job import Job
from engine.training.views import Samples, make_samples

SPLITS = ("train", "valid", "test")
MOST_WORDS = 8192  # in the vocabulary of an encoder made from nothing
BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}  # read at once where nothing is learned


@dataclass
class Task:
    """The labelled samples of one task as one student reads them."""

    name: str
    data: Labelled
    samples: dict[str, Samples]
    labels: dict[str, Tensor]
    lengths: dict[str, NDArray[np.int64]]  # tokens, or 1 for a picture
    tokenizer: PreTrainedTokenizerBase | None
    rows: NDArray[np.int32]  # of the training samples

    @property
    def classes(self) -> int:
        return len(self.data.class_names)

    def inputs(self, split: str, index: NDArray[Any]) -> tuple[Tensor, ...]:
        """What a student reads of the samples at `index`; texts are padded to the longest of them alone."""
        samples = self.samples[split]
        taken = samples.take(torch.from_numpy(np.asarray(index)).to(samples.values.device))
        if samples.mask is None:
            return taken
        longest = int(self.lengths[split][index].max())
        return tuple(part[:, :longest] for part in taken)

    def texts(self, split: str) -> list[str]:
        assert self.data.texts is not None
        return [self.data.texts[place] for place in np.flatnonzero(self.data.split == split)]


@dataclass
class DistillationStudy:
    """The tasks and students of a run; both are made when they are first asked for."""

    job: Job
    recipe: DistillationRecipe
    sources: dict[str, str]  # by model as the recipe writes it: the folder or Hub id to load
    _tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    _learners: dict[tuple[str, str], FunctionalModel] = field(default_factory=dict)
    _costs: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def pictures(self) -> bool:
        return self.recipe.data.task == "images"

    @cached_property
    def dtype(self) -> torch.dtype:
        return self.job.dtype(self.recipe.outer.dtype)

    def settings(self, task: str) -> LabelledSettings:
        found = self.recipe.data if task == MAIN else self.recipe.other
        assert found is not None
        return found

    def task(self, name: str, model: str) -> Task:
        """The samples of a task, as `model` reads them. Raises WinnowError where a class has none to train on."""
        source = "" if self.pictures else self.sources[model]
        if (name, source) not in self._tasks:
            settings = self.settings(name)
            tokenizer = None if self.pictures else load_tokenizer(self.job.local_path(source), ends=False)
            # Only the engine's machine need have the data.
            data = self.job.broadcast(f"samples of {name} for {source}", lambda: read_labelled(settings, tokenizer))
            self._tasks[name, source] = _open_task(name, settings.source, data, tokenizer, self.job.device)
        return self._tasks[name, source]

    def learner(self, task: Task, model: str) -> FunctionalModel:
        key = (task.name, model)
        if key not in self._learners:
            settings = next(
                network
                for network in [*self.recipe.students, *self.recipe.evaluation.transfer]
                if network.model == model
            )
            if self.pictures:
                shape = tuple(task.data.inputs.shape[1:])
                self._learners[key] = ImageModel(settings, shape, task.classes, self.job.device)
            else:
                assert task.tokenizer is not None
                source = self.job.local_path(self.sources[model])
                self._learners[key] = TextModel(settings, source, task.tokenizer, task.classes, self.job.device)
        return self._learners[key]

    def cost(self, learner: FunctionalModel, inputs: tuple[Tensor, ...]) -> float:
        """Floating-point operations of a forward pass over real inputs."""
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            learner.forward(learner.init(0), *inputs)
        return float(counter.get_total_flops())

    def cost_of_token(self, task: Task, learner: FunctionalModel) -> float:
        """Floating-point operations of a forward pass for one token of a text, or for one picture."""
        key = (task.name, id(learner))
        if key not in self._costs:
            inputs = task.inputs("train", np.arange(1))
            self._costs[key] = self.cost(learner, inputs) / (inputs[0].shape[1] if len(inputs) > 1 else 1)
        return self._costs[key]

    def seen_cost(self, learner: FunctionalModel, inputs: Tensor) -> float:
        """Floating-point operations of a forward pass over synthetic inputs."""
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            learner.forward_embeds(learner.init(0), inputs)
        return float(counter.get_total_flops())


def open_study(job: Job, recipe: DistillationRecipe) -> DistillationStudy:
    """The tasks and students as this machine opens them; the engine makes the encoders that are made from nothing."""
    return DistillationStudy(job, recipe, job.broadcast("sources", lambda: _sources(job, recipe)))


def write_down(study: DistillationStudy) -> None:
    """Read every task and write down the samples of the first one, and what is known of the whole run."""
    job, recipe = study.job, study.recipe
    with job.phase(f"reading {recipe.data.source}", 0):
        task = study.task(MAIN, recipe.students[0].model)
        if recipe.other:
            study.task(OTHER, recipe.students[0].model)
    if not job.has("samples", "samples"):
        job.record([job.write("samples", "samples", task.data.sample_columns())])
    job.ledger.set_provenance(job.run.id, **_provenance(study, task))


def _open_task(
    name: str, source: str, data: Labelled, tokenizer: PreTrainedTokenizerBase | None, device: torch.device
) -> Task:
    places = {split: (data.split == split).nonzero()[0] for split in SPLITS}
    counts = np.bincount(data.labels[places["train"]], minlength=len(data.class_names))
    if not counts.all():
        raise WinnowError(
            f"The class {data.class_names[int(counts.argmin())]} of {source} has no training sample, so "
            "nothing can be distilled for it; give rows of every class, or leave its name out of the labels."
        )
    if len(counts) < 2:
        raise WinnowError(f"{source} has one class, {data.class_names[0]}; distillation needs at least two.")
    # Copies, as what was handed to a worker must not be written to.
    values = {split: torch.from_numpy(data.inputs[place]) for split, place in places.items()}
    masks = {
        split: None if data.mask is None else torch.from_numpy(data.mask[place]) for split, place in places.items()
    }
    return Task(
        name,
        data,
        {split: make_samples(values[split], masks[split], values["train"], device=device) for split in SPLITS},
        {split: torch.from_numpy(data.labels[place]).to(device) for split, place in places.items()},
        {split: np.maximum(data.lengths[place], 1).astype(np.int64) for split, place in places.items()},
        tokenizer,
        data.row[places["train"]],
    )


def _sources(job: Job, recipe: DistillationRecipe) -> dict[str, str]:
    """Where every model of the recipe is to be loaded from, by its name in the recipe."""
    models = [network.model for network in [*recipe.students, *recipe.evaluation.transfer]]
    found = {model: model for model in models}
    if recipe.data.task == "text":
        found |= _make_encoders(job, recipe, [model for model in models if scratch_name(model)])
    return found


def _make_encoders(job: Job, recipe: DistillationRecipe, models: list[str]) -> dict[str, str]:
    """The folders of the encoders made from nothing, trained on the training texts of both tasks."""
    if not models:
        return {}
    read = [settings for settings in (recipe.data, recipe.other) if settings]
    with job.phase("reading the text the encoder is made from", 0):
        texts = [text for settings in read for text in training_texts(settings)]
    fingerprint = digest(texts)
    folder = encoder.word_tokenizer_folder(job.workspace, lambda: texts, fingerprint, MOST_WORDS)
    tokenizer = load_tokenizer(str(folder), ends=False)
    longest = max(*(settings.max_length for settings in read), recipe.synthetic.length + 2)
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    found = {}
    for model in dict.fromkeys(models):
        name = scratch_name(model)
        assert name is not None
        settings = recipe.scratch[name]
        made = encoder.encoder_folder(job.workspace, name, settings, folder, longest, fingerprint)
        if not made.exists():
            tokens = sum(map(len, ids))
            planned = flops.TRAINING_STEP * flops.parameters_of(settings, len(tokenizer)) * settings.epochs * tokens
            job.plan(planned)
            with job.phase(f"training {name} from nothing", planned) as tick:
                encoder.make_encoder(job.workspace, made, settings, tokenizer, ids, longest, job.device, tick)
        found[model] = str(made)
    return found


def _provenance(study: DistillationStudy, task: Task) -> dict[str, Any]:
    return {
        "recipe": to_dict(study.recipe),
        "dataset": task.data.dataset,
        "data_origin": task.data.origin,
        "samples": {split: len(task.samples[split]) for split in SPLITS},
        "class_names": task.data.class_names,
        "measure": "accuracy",
        "sources": study.sources,
        "attention": None if study.pictures else "eager",
        "dtype": str(study.dtype).removeprefix("torch."),
        "device": study.job.device_name,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
