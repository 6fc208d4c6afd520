"""The initialization of synthetic inputs: real samples of their class, or noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng
from engine.config.distillation import SetKey
from engine.models.functional import FunctionalModel, TextModel
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.tasks import Task


def initial_inputs(study: DistillationStudy, task: Task, model: FunctionalModel, key: SetKey) -> Tensor:
    """The first inputs (N, …): real samples of each class, or noise of the size of real ones; of the seed alone.

    A text of `length` tokens is as many random real ones, one after the other, as it takes. Raises WinnowError if a
    class has too few samples.
    """
    settings, rng = study.recipe.synthetic, stream_rng(Stream.INITIALIZATION, key.seed)
    labels = task.labels["train"].cpu().numpy()
    counts = np.bincount(labels, minlength=task.classes)
    if settings.initialization == "samples" and counts.min() < key.per_class:
        raise WinnowError(
            f"synthetic.per_class asks for {key.per_class} inputs of each class, and the class "
            f"{task.data.class_names[int(counts.argmin())]} has {counts.min()} training samples; ask for fewer."
        )
    count = task.classes * key.per_class
    if not isinstance(model, TextModel):
        if settings.initialization == "noise":
            generator = torch.Generator().manual_seed(key.seed)
            return torch.randn(count, *task.data.inputs.shape[1:], generator=generator).to(model.device)
        chosen = [rng.choice(np.flatnonzero(labels == label), key.per_class, False) for label in range(task.classes)]
        return task.inputs("train", np.concatenate(chosen))[0].clone()
    if settings.initialization == "noise":
        generator = torch.Generator().manual_seed(key.seed)
        std = float(model.table.std())
        noise = torch.randn(count, settings.length, model.table.shape[1], generator=generator)
        return (std * noise).to(model.device)
    rows = []
    for label in range(task.classes):
        order = rng.permutation(np.flatnonzero(labels == label))
        for place in range(key.per_class):
            # Each input begins with another sample, and goes on with those that come after it.
            ids: list[int] = []
            for sample in np.roll(order, -place * max(1, len(order) // key.per_class)):
                ids += _text_ids(task, int(sample))
                if len(ids) >= settings.length:
                    break
            if not ids:
                raise WinnowError(
                    f"{key.student} knows no word of any training text of the class {task.data.class_names[label]}, so "
                    'nothing can start from them; set synthetic.initialization = "noise", or choose another student.'
                )
            rows.append((ids * (settings.length // len(ids) + 1))[: settings.length])
    return model.table[torch.tensor(rows, device=model.device)].clone()


def _text_ids(task: Task, sample: int) -> list[int]:
    """The token ids of one training sample without special ones."""
    assert task.tokenizer is not None
    special = set(task.tokenizer.all_special_ids)
    ids = task.inputs("train", np.array([sample]))[0][0].tolist()
    return [token for token in ids if token not in special]
