"""Learned sets: their snapshots as parts, for people to see, and the best one cached, to train on and to export.

A snapshot is what the inputs are at a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.common.choices import LabelKind
from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.config.distillation import MAIN, DistillationRecipe, SetKey
from engine.config.former import former_names
from engine.config.load import to_dict
from engine.distillation.learn import SyntheticSet
from engine.models.functional import FunctionalModel, TextModel, softplus_inverse
from engine.models.tensor_cache import CachedTensors, load_tensors, save_tensors
from engine.storage.parts import Part
from engine.studies.distillation.decoding import Decoder, as_pngs, input_rows, nearest_samples, token_rows
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.tasks import Task
from engine.studies.job import Job


def is_learned(job: Job, key: SetKey) -> bool:
    """Whether a set is learned and recorded."""
    return job.has("distilled", best_part(key))


def best_part(key: SetKey) -> str:
    """The name of the parts that hold the best snapshot of a set."""
    return f"{key.name}-chosen"


def cache_key(study: DistillationStudy, key: SetKey) -> str:
    settings = former_names(to_dict(study.recipe))  # finished sets have been stored under this key from the beginning
    parts = [settings[name] for name in ("synthetic", "inner", "outer")]
    task, _ = study.opened[key.task, key.student]
    return digest([study.job.run.id, task.data.dataset, study.sources[key.student], parts, key.name])


def save_set(study: DistillationStudy, key: SetKey, synthetic: SyntheticSet, facts: dict[str, Any]) -> str:
    """Save a set for everything that trains on it. Returns its key in the tensor cache."""
    task, model = study.opened[key.task, key.student]
    inputs = synthetic.inputs.detach()
    tensors = {
        "inputs": model.add_special_tokens(inputs) if isinstance(model, TextModel) else inputs,
        "labels": synthetic.targets,
        "rates": synthetic.learning_rates,
    }
    if synthetic.attention is not None:
        tensors["attention"] = synthetic.attention.detach().softmax(-1)
    samples = task.samples["train"]
    if samples.mean is not None and samples.std is not None:  # how pixels were standardised
        tensors |= {"mean": samples.mean, "std": samples.std}
    save_tensors(study.job.workspace, cache_key(study, key), tensors, facts)
    return cache_key(study, key)


def load_set(study: DistillationStudy, key: SetKey) -> CachedTensors:
    """Inputs with their special tokens, labels and rates of a finished set. Raises WinnowError if they are missing."""
    found = load_tensors(study.job.workspace, cache_key(study, key))
    if found is None:
        raise WinnowError(f"What {key.name} learned is missing from {study.job.workspace.outputs}; start the run anew.")
    return found


def loaded_synthetic(found: CachedTensors, model: FunctionalModel) -> SyntheticSet:
    """A loaded set as `model` can be trained on it again."""
    device = model.device
    inputs = found.tensors["inputs"].to(device)
    if isinstance(model, TextModel):
        inputs = model.strip_special_tokens(inputs)
    attention = found.tensors.get("attention")
    rates = torch.tensor([softplus_inverse(rate) for rate in found.tensors["rates"].tolist()], device=device)
    # The stored labels are what log-probabilities are weighted by, which is what unrestricted labels are.
    return SyntheticSet(
        inputs,
        found.tensors["labels"].to(device),
        rates,
        None if attention is None else attention.clamp(min=1e-12).log().to(device),
        "unrestricted",
    )


def synthetic_of(tensors: dict[str, Tensor], kind: LabelKind) -> SyntheticSet:
    """The inverse of `SyntheticSet.tensors`."""
    return SyntheticSet(tensors["inputs"], tensors["labels"], tensors["rates"], tensors.get("attention"), kind)


class SnapshotWriter:
    """Writes the snapshots of one set; `initial` are the inputs (N, …) that it starts from."""

    def __init__(
        self, job: Job, recipe: DistillationRecipe, task: Task, model: FunctionalModel, key: SetKey, initial: Tensor
    ) -> None:
        self.job, self.task, self.model, self.key = job, task, model, key
        self.kind: LabelKind = recipe.synthetic.labels
        self.classes = [label for label in range(task.classes) for _ in range(key.per_class)]
        self.decoder = Decoder(task, model, recipe.synthetic.similarity) if isinstance(model, TextModel) else None
        self._initial = self.decoder.decode(initial) if self.decoder else None

    def write(self, name: str, step: int, tensors: dict[str, Tensor], *, best: bool = False) -> list[Part]:
        """The parts of one snapshot, not yet recorded. `best` adds the nearest real samples."""
        key, inputs = self.key, tensors["inputs"]
        labels = [self.task.data.class_names[label] for label in self.classes]
        targets = synthetic_of(tensors, self.kind).targets.cpu()
        near = None
        if best:
            near = nearest_samples(self.task, self.model, inputs, self.classes)
            if key.task != MAIN:  # the samples of the other task are not recorded
                near = near[0][:, :0], near[1][:, :0]
        if self.decoder is None or self._initial is None:
            images = as_pngs(self.task, inputs)
            rows = input_rows(key, step, labels, targets, decoded=None, images=images, near=near)
            return [self.job.write("distilled", name, rows)]
        now = self.decoder.decode(inputs)
        rows = input_rows(key, step, labels, targets, decoded=(now, self._initial), images=None, near=near)
        tokens = token_rows(key, step, now, self._initial, self.decoder.words)
        return [self.job.write("distilled", name, rows), self.job.write("distilled_tokens", name, tokens)]
