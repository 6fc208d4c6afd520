"""What every step of a grid of students shares: the samples as tensors, the networks, the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng
from engine.common.text import reason
from engine.config.kd import PrunedKdRecipe, TeacherSettings
from engine.config.models import NetworkSettings
from engine.data.labelled.samples import Labelled
from engine.data.tokenizers import same_tokenizer
from engine.models.loading import load_tokenizer
from engine.models.networks import longest_text, make_network, parameters_of, require_known_tokens
from engine.studies import flops
from engine.studies.job import Job
from engine.studies.labelled import read_samples, record_labelled, split_indices, split_samples
from engine.training.group import Group, outputs_of
from engine.training.students import Performance, Schedule, measure
from engine.training.views import Samples

STEP_OVERHEAD = 1e8  # floating-point operations that take as long as starting a training step
FORWARD_AND_BACK = 3.0  # a training step in forward passes


@dataclass
class KdStudy:
    """The samples, labels and networks of a grid, opened on one machine."""

    job: Job
    recipe: PrunedKdRecipe
    data: Labelled
    samples: dict[str, Samples]  # by split
    labels: dict[str, Tensor]  # class numbers; numbers to be predicted are standardised
    rows: NDArray[np.int32]  # of the training samples, in order
    shape: tuple[int, ...]
    outputs: int  # of a network: classes, or 1 if numbers are predicted
    forward_flops: dict[NetworkSettings, float]  # of one sample
    parameters: dict[NetworkSettings, int]
    estimated: list[str]  # models whose operations could not be counted

    @property
    def count(self) -> int:
        """Training samples."""
        return len(self.rows)

    @property
    def numbers(self) -> bool:
        return self.recipe.data.task == "numbers"

    def network(self, settings: NetworkSettings, seed: int) -> nn.Module:
        return make_network(settings, self.recipe.data.task, self.shape, self.outputs, seed)

    def group(self, settings: NetworkSettings, seeds: Sequence[int]) -> Group:
        return Group([self.network(settings, seed) for seed in seeds], self.job.device, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self.job.dtype(self.recipe.training.dtype)

    def schedule(self, epochs: int | None = None, **more: Any) -> Schedule:
        """How the recipe trains: students, or for so many `epochs`. Equal steps are those on all of the data."""
        training = self.recipe.training
        steps = None
        if training.equal == "steps" and epochs is None:
            steps = training.epochs * -(-self.count // training.batch_size)
        return Schedule(
            epochs=epochs or training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            temperature=training.temperature,
            steps=steps,
            dtype=self.dtype,
            **more,
        )

    def measured(self, group: Group) -> dict[str, list[Performance]]:
        """Every member of a trained group, on the samples held out of training and on the test set."""
        return {
            split: measure(outputs_of(group, self.samples[split]), self.labels[split].cpu())
            for split in ("valid", "test")
        }

    def training_flops(self, settings: NetworkSettings, schedule: Schedule, samples: int, students: int) -> float:
        """Planned operations of training `students` together."""
        steps = schedule.steps_of(samples)
        each = FORWARD_AND_BACK * self.forward_flops[settings] * min(schedule.batch_size, samples)
        return steps * (STEP_OVERHEAD + students * each)


def open_study(job: Job, recipe: PrunedKdRecipe) -> KdStudy:
    """Read the data, and put the samples on the device."""
    teachers = (network_of(recipe, recipe.teachers[name]) for name in recipe.used_teachers())
    networks = list(dict.fromkeys([recipe.network, *teachers]))
    data: Labelled = job.broadcast("data", lambda: _read(job, recipe, networks))
    training = recipe.training
    samples = split_samples(data, job.device, views=training.views, mirror=training.mirror, seed=recipe.data.split_seed)
    indices, values = split_indices(data), data.labels
    if recipe.data.task == "numbers":  # predicted in units of their own spread, or networks would only learn the mean
        known = values[indices["train"]]
        values = ((values - known.mean()) / max(float(known.std()), 1e-12)).astype(np.float32)
    labels = {split: torch.from_numpy(values[index]).to(job.device) for split, index in indices.items()}
    study = KdStudy(
        job,
        recipe,
        data,
        samples,
        labels,
        data.row[indices["train"]],
        tuple(data.inputs.shape[1:]),
        max(len(data.class_names), 1),
        {},
        {},
        [],
    )
    for settings in networks:
        _try(study, settings)
    return study


def _read(job: Job, recipe: PrunedKdRecipe, networks: Sequence[NetworkSettings]) -> Labelled:
    """The samples; texts are read by the tokenizer that all networks share, and are as long as all of them can read."""
    if recipe.data.task != "text":
        return read_samples(job, recipe.data, None, None)
    tokenizer = shared_tokenizer(recipe)
    limits = [limit for settings in networks if (limit := longest_text(settings.model)) is not None]
    return read_samples(job, recipe.data, tokenizer, min(limits, default=None))


def _try(study: KdStudy, settings: NetworkSettings) -> None:
    """Run a network on one sample: its size and operations are noted, and what it cannot do is known before any work.

    Raises WinnowError naming the model if it cannot read the sample.
    """
    network: Any = study.network(settings, 0)
    if study.recipe.data.task == "text":
        require_known_tokens(settings.model, network.model, study.data.inputs)
    train = study.samples["train"]
    size = study.parameters[settings] = parameters_of(network)
    inputs = train.take(torch.zeros(1, dtype=torch.long, device=train.values.device))
    network.to(train.values.device).eval()
    tokens = inputs[0].numel() if len(inputs) > 1 else 1
    try:
        with torch.no_grad():
            network.features(*inputs)
        counted, estimated = flops.of_forward(lambda: network(*inputs), settings.model, size, tokens)
    except Exception as error:
        raise WinnowError(
            f"{settings.model} cannot read these samples ({type(error).__name__}: {reason(error)}); choose another "
            "network, or another size of the samples."
        ) from error
    study.forward_flops[settings] = counted
    study.estimated += [settings.model] * estimated


def write_down(study: KdStudy) -> None:
    """Record the samples, and what the run as a whole is made of."""
    job, recipe = study.job, study.recipe
    size = study.parameters[recipe.network]
    record_labelled(
        job,
        recipe,
        study.data,
        study.dtype,
        packages=["scikit-learn"],
        student_parameters=size,
        operations_estimated=study.estimated,
    )
    if not job.has("metrics", "student"):
        row = {"arm": "student", "seed": -1, "epoch": recipe.training.epochs, "step": 0, "split": ""}
        job.record([job.write("metrics", "student", [row | {"name": "parameters", "value": float(size)}])])


def shared_tokenizer(recipe: PrunedKdRecipe) -> PreTrainedTokenizerBase:
    """The tokenizer of the student. Raises WinnowError if a teacher of the grid has another one."""
    tokenizer = load_tokenizer(recipe.network.model, ends=False)
    for name in recipe.used_teachers():
        model = network_of(recipe, recipe.teachers[name]).model
        if model != recipe.network.model:
            difference = same_tokenizer(load_tokenizer(model, ends=False), tokenizer, ends=False)
            if difference:
                raise WinnowError(
                    f"The teacher {name} ({model}) and {recipe.network.model} do not share a tokenizer: "
                    f"{difference}; choose a teacher of the student's family."
                )
    return tokenizer


def network_of(recipe: PrunedKdRecipe, teacher: TeacherSettings) -> NetworkSettings:
    """The network of a teacher: the student's, with what the settings of the teacher change."""
    named = {
        key: value for key in ("model", "width", "depth", "pretrained") if (value := getattr(teacher, key)) is not None
    }
    return recipe.network.model_copy(update=named)


def noise_key(noise: float) -> Any:
    """What cache keys hold of a share of flipped labels: which labels are flipped depends on the stream as well."""
    return [noise, Stream.FLIPPED_LABELS] if noise else noise


def flip_labels(labels: Tensor, share: float, classes: int, seed: int) -> tuple[Tensor, NDArray[np.bool_]]:
    """Give `share` of the labels (n,) another class, drawn evenly; which ones are flipped depends on `seed` alone.

    A larger share flips what a smaller one does, and more.
    """
    flipped = np.zeros(len(labels), dtype=bool)
    if not share:
        return labels, flipped
    rng = stream_rng(Stream.FLIPPED_LABELS, seed)
    order, away = rng.permutation(len(labels)), rng.integers(1, classes, len(labels))
    flipped[order[: round(share * len(labels))]] = True
    moved = (labels.cpu().numpy() + away) % classes
    noisy = np.where(flipped, moved, labels.cpu().numpy())
    return torch.from_numpy(noisy).to(labels.device), flipped
