"""What students are trained on beside synthetic vectors: decoded texts and real samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from engine.batching.plans import similar_batches
from engine.common.random_streams import Stream, stream_rng
from engine.config.distillation import SetKey
from engine.data.labelled.texts import tokenise
from engine.models.functional import FunctionalModel, TextModel
from engine.pruning.geometry import herding, k_center
from engine.studies.distillation.decoding import Decoder, embeddings_of
from engine.studies.distillation.learned_sets import load_set
from engine.studies.distillation.setup import DistillationStudy
from engine.studies.distillation.tasks import Task
from engine.studies.distillation.trials import LabelledBatch

REAL = ("random", "k_center", "herding")  # how as many real samples as synthetic ones are selected


class TrainingSets:
    """The training sets of a run, as batches for a task; what takes long to compute is cached."""

    def __init__(self, study: DistillationStudy) -> None:
        self.study, self.job = study, study.job
        self._embeddings: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._texts: dict[SetKey, list[str]] = {}

    def texts(self, key: SetKey) -> list[str]:
        """The decoded texts of a finished set."""
        if key not in self._texts:
            task, model = self.study.opened[key.task, key.student]
            assert isinstance(model, TextModel)
            decoder = Decoder(task, model, self.study.recipe.synthetic.similarity)
            inputs = load_set(self.study, key).tensors["inputs"].to(model.device)
            self._texts[key] = decoder.decode(model.strip_special_tokens(inputs)).texts
        return self._texts[key]

    def text_batch(self, task: Task, key: SetKey, *, learned_labels: bool = False) -> LabelledBatch:
        """The decoded texts of a finished set, tokenised for `task` like any other text; labels are hard by default."""
        assert task.tokenizer is not None
        texts, found = self.texts(key), load_set(self.study, key)
        longest = max(task.settings.max_length, self.study.recipe.synthetic.length + 2)
        longest = min(longest, task.context or longest)
        tokens = tokenise(texts, [f"decoded text {place}" for place in range(len(texts))], task.tokenizer, longest)
        hard = F.one_hot(torch.tensor(found.facts["classes"]), task.classes).float()
        device = self.job.device
        inputs = (torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device))
        return LabelledBatch(inputs, (found.tensors["labels"] if learned_labels else hard).to(device))

    def select(self, task: Task, model: FunctionalModel, per_class: int, method: str, seed: int) -> NDArray[np.int64]:
        """Indices of `per_class` real training samples of each class, by a method of REAL."""
        labels = task.labels["train"].cpu().numpy()
        by_class = [np.flatnonzero(labels == label) for label in range(task.classes)]
        if method == "random":
            rng = stream_rng(Stream.REAL_SAMPLES, seed)
            return np.concatenate([rng.choice(own, min(per_class, len(own)), False) for own in by_class])
        at = (task.name, id(model))
        if at not in self._embeddings:  # the same for every seed
            self._embeddings[at] = embeddings_of(task, model, "train").cpu().numpy()
        embeddings = self._embeddings[at]
        selected = []
        for own in by_class:
            size = min(per_class, len(own))
            scores = k_center(embeddings[own], size, seed) if method == "k_center" else herding(embeddings[own], size)
            selected.append(own[np.argsort(-scores, kind="stable")[:size]])
        return np.concatenate(selected)

    def real_batch(self, task: Task, index: NDArray[np.int64]) -> LabelledBatch:
        """The training samples at `index`, with hard labels."""
        hard = F.one_hot(task.labels["train"][torch.from_numpy(index).to(self.job.device)], task.classes).float()
        return LabelledBatch(task.inputs("train", index), hard)

    def all_batches(self, task: Task, batch_size: int, seed: int, epoch: int) -> Iterator[LabelledBatch]:
        """All training samples once, in the batches of one epoch."""
        batches = similar_batches(task.lengths["train"], batch_size, seed, epoch)
        return (self.real_batch(task, index) for index in batches)


def in_batches(batch: LabelledBatch, size: int, seed: int, epoch: int) -> list[LabelledBatch]:
    """A small set in batches of at most `size`, shuffled for every epoch."""
    count = len(batch.targets)
    if count <= size:
        return [batch]
    order = torch.from_numpy(stream_rng(Stream.SMALL_SET_ORDER, seed, epoch).permutation(count))
    return [
        LabelledBatch(tuple(part[index] for part in batch.inputs), batch.targets[index])
        for index in order.to(batch.targets.device).split(size)
    ]
