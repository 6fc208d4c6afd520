"""Labelled samples as a study has them: tensors on its device, split by split, and what is written down of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from engine.config.data import LabelledSettings
from engine.config.kinds import Recipe
from engine.data.labelled.samples import Labelled, read_labelled
from engine.studies.job import Job
from engine.studies.provenance import record_inputs
from engine.training.views import Samples, make_samples

SPLITS = ("train", "valid", "test")


def read_samples(
    job: Job, settings: LabelledSettings, tokenizer: PreTrainedTokenizerBase | None, longest: int | None
) -> Labelled:
    """Read, check and split the samples, as a phase of the run; see `read_labelled`."""
    with job.phase(f"reading {settings.source}", 0):
        return read_labelled(settings, tokenizer, longest)


def split_indices(data: Labelled) -> dict[str, NDArray[np.int64]]:
    """The positions of each split's samples, in order."""
    return {split: np.flatnonzero(data.split == split) for split in SPLITS}


def split_samples(
    data: Labelled, device: torch.device, *, views: int = 1, mirror: bool = False, seed: int = 0
) -> dict[str, Samples]:
    """What networks read of each split, on `device`; of training images so many random `views`, drawn by `seed`."""
    # Copies by indexing, as arrays that were broadcast to a worker must not be written to.
    indices = split_indices(data)
    values = {split: torch.from_numpy(data.inputs[index]) for split, index in indices.items()}
    masks = {
        split: None if data.mask is None else torch.from_numpy(data.mask[index]) for split, index in indices.items()
    }
    return {
        split: make_samples(
            values[split],
            masks[split],
            values["train"],
            views=views if split == "train" else 1,
            mirror=mirror,
            seed=seed,
            device=device,
        )
        for split in SPLITS
    }


def record_labelled(
    job: Job, recipe: Recipe, data: Labelled, dtype: torch.dtype, *, packages: Sequence[str] = (), **facts: Any
) -> None:
    """Record the samples and the provenance of a run on labelled samples; see `record_inputs`."""
    record_inputs(
        job,
        recipe,
        data,
        origin=data.origin,
        dtype=dtype,
        packages=packages,
        samples={split: len(index) for split, index in split_indices(data).items()},
        class_names=data.class_names,
        columns_used=data.used,
        columns_not_used=[f"{each['column']} ({each['why']})" for each in data.unused],
        measure="R²" if data.task == "numbers" else "accuracy",
        **facts,
    )
