"""A task as a student reads it: labelled samples as tensors, checked for what a distillation needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from engine.common.errors import WinnowError
from engine.config.data import LabelledSettings
from engine.data.labelled.samples import Labelled
from engine.models.loading import load_tokenizer
from engine.models.networks import longest_text
from engine.studies.job import Job
from engine.studies.labelled import read_samples, split_indices, split_samples
from engine.training.views import Samples


@dataclass
class Task:
    """The labelled samples of one task as one student reads them."""

    name: str
    settings: LabelledSettings
    data: Labelled
    samples: dict[str, Samples]  # by split
    labels: dict[str, Tensor]
    lengths: dict[str, NDArray[np.int64]]  # tokens, or 1 for an image
    tokenizer: PreTrainedTokenizerBase | None
    context: int | None  # most tokens that its models can read; None if nothing limits them
    rows: NDArray[np.int32]  # of the training samples

    @property
    def classes(self) -> int:
        return len(self.data.class_names)

    def inputs(self, split: str, index: NDArray[Any]) -> tuple[Tensor, ...]:
        """What a student reads of the samples at `index`; texts are padded to the longest of these."""
        samples = self.samples[split]
        taken = samples.take(torch.from_numpy(np.asarray(index)).to(samples.values.device))
        if samples.mask is None:
            return taken
        longest = int(self.lengths[split][index].max())
        return tuple(part[:, :longest] for part in taken)

    def texts(self, split: str) -> list[str]:
        assert self.data.texts is not None
        return [self.data.texts[place] for place in split_indices(self.data)[split]]


def open_task(job: Job, name: str, settings: LabelledSettings, source: str) -> Task:
    """Read a task with the tokenizer of the model at `source`, or images if it is empty.

    Only the engine's machine needs the data. Raises WinnowError if a class has no training sample, or is the only one.
    """
    tokenizer = load_tokenizer(job.local_path(source), ends=False) if source else None
    context = longest_text(job.local_path(source)) if source else None
    data = job.broadcast(f"samples of {name} for {source}", lambda: read_samples(job, settings, tokenizer, context))
    indices = split_indices(data)
    counts = np.bincount(data.labels[indices["train"]], minlength=len(data.class_names))
    if not counts.all():
        raise WinnowError(
            f"The class {data.class_names[int(counts.argmin())]} of {settings.source} has no training sample, so "
            "nothing can be distilled for it; give rows of every class, or leave its name out of the labels."
        )
    if len(counts) < 2:
        raise WinnowError(f"{settings.source} has one class, {data.class_names[0]}; distillation needs at least two.")
    return Task(
        name,
        settings,
        data,
        split_samples(data, job.device),
        {split: torch.from_numpy(data.labels[index]).to(job.device) for split, index in indices.items()},
        {split: np.maximum(data.lengths[index], 1).astype(np.int64) for split, index in indices.items()},
        tokenizer,
        context,
        data.row[indices["train"]],
    )
