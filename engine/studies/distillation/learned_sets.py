"""Learned sets in the tensor cache: the best snapshot of each, to train on and to export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.common.choices import LabelKind
from engine.common.errors import WinnowError
from engine.common.hashing import digest
from engine.config.distillation import SetKey
from engine.config.former import former_names
from engine.config.load import to_dict
from engine.distillation.learn import SyntheticSet
from engine.models.functional import FunctionalModel, TextModel, softplus_inverse
from engine.models.tensor_cache import CachedTensors, load_tensors, save_tensors
from engine.studies.distillation.setup import DistillationStudy
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
