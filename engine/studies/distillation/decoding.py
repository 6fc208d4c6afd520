"""What was learned, as people can see it: vectors as tokens and text, pixels as pictures, and real samples nearby."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.common.choices import Similarity
from engine.config.distillation import SetKey
from engine.data.images import pngs
from engine.distillation.decode import allowed_tokens, nearest_tokens
from engine.models.functional import FunctionalModel, TextModel
from engine.studies.distillation.setup import BATCH_TOKENS, Task

NEAREST_SAMPLES = 3
NEAREST_TOKENS = 5


@dataclass(frozen=True)
class Reading:
    """Synthetic texts: `ids` (N, L, 5) of the nearest tokens, `similarity` of the same shape, and the decoded texts."""

    ids: Tensor
    similarity: Tensor
    texts: list[str]


class Decoder:
    """Reads vectors with the word table of a student and the tokenizer that belongs to it."""

    def __init__(self, learner: TextModel, task: Task, similarity: Similarity) -> None:
        assert task.tokenizer is not None
        self.table, self.similarity, self.tokenizer = learner.table, similarity, task.tokenizer
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        self.words = [self.tokenizer.convert_tokens_to_string([token]) for token in tokens]
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        self.allowed = allowed_tokens(self.words, special, len(self.table)).to(learner.device)

    def read(self, vectors: Tensor) -> Reading:
        """Vectors (N, L, d) as text."""
        ids, similarity = nearest_tokens(vectors.detach(), self.table, self.allowed, self.similarity, NEAREST_TOKENS)
        texts = [str(self.tokenizer.decode(row)) for row in ids[..., 0].tolist()]
        return Reading(ids.cpu(), similarity.cpu(), texts)


def token_rows(key: SetKey, step: int, found: Reading, start: Reading, words: list[str]) -> list[dict[str, Any]]:
    """The rows of `distilled_tokens` of one snapshot."""
    rows = []
    for place, (ids, values, before) in enumerate(
        zip(found.ids.tolist(), found.similarity.tolist(), start.ids[..., 0].tolist(), strict=True)
    ):
        for position, (near, close, first) in enumerate(zip(ids, values, before, strict=True)):
            rows.append(
                {
                    **key._asdict(),
                    "step": step,
                    "input": place,
                    "position": position,
                    "start": words[first],
                    "nearest": [words[token] for token in near],
                    "similarity": close,
                }
            )
    return rows


def input_rows(
    key: SetKey,
    step: int,
    labels: list[str],
    targets: Tensor,
    *,
    read: tuple[Reading, Reading] | None,
    images: list[bytes] | None,
    near: tuple[NDArray[np.int32], NDArray[np.float32]] | None,
) -> list[dict[str, Any]]:
    """The rows of `distilled` of one snapshot; `read` is how it reads now and how it read at the start.

    `near` are rows and similarities (N, NEAREST_SAMPLES) of real samples, for the chosen snapshot.
    """
    rows = []
    for place, label in enumerate(labels):
        text, changed, length = None, 0, 0
        if read is not None:
            now, before = (reading.ids[place, :, 0] for reading in read)
            text, changed, length = read[0].texts[place], int((now != before).sum()), len(now)
        rows.append(
            {
                **key._asdict(),
                "step": step,
                "best": near is not None,
                "input": place,
                "label": label,
                "labels": targets[place].tolist(),
                "text": text,
                "changed": changed,
                "length": length,
                "image": None if images is None else images[place],
                "near_rows": [] if near is None else near[0][place].tolist(),
                "near_values": [] if near is None else near[1][place].tolist(),
            }
        )
    return rows


def as_pictures(task: Task, pixels: Tensor) -> list[bytes]:
    """PNGs of standardised pixels (N, C, H, W), at the brightness of the data."""
    samples = task.samples["train"]
    assert samples.mean is not None
    assert samples.std is not None
    values = (pixels.detach() * samples.std + samples.mean).round().clamp(0, 255)
    return pngs(values.to(torch.uint8).cpu().numpy())


def embeddings_of(learner: FunctionalModel, task: Task, split: str) -> Tensor:
    """Samples as vectors (n, d) of length 1, to see which are alike.

    A text is the mean over its tokens of the embeddings that the student's body reads (its word table, where nothing
    has been learned yet); a picture is its pixels.
    """
    count = len(task.samples[split])
    step = max(1, BATCH_TOKENS[learner.device.type] // max(1, int(task.lengths[split].max())))
    parts = []
    for start in range(0, count, step):
        inputs = task.inputs(split, np.arange(start, min(start + step, count)))
        if isinstance(learner, TextModel):
            mask = inputs[1][..., None].to(learner.table.dtype)
            parts.append((learner.table[inputs[0]] * mask).sum(1) / mask.sum(1))
        else:
            parts.append(inputs[0].flatten(1))
    return torch.nn.functional.normalize(torch.cat(parts), dim=-1)


def nearest_samples(
    learner: FunctionalModel, task: Task, inputs: Tensor, classes: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows and cosine similarities (N, at most NEAREST_SAMPLES) of the nearest training samples of each one's class."""
    known = embeddings_of(learner, task, "train")
    # With the special tokens around it, as the samples have them: a sample that has learned nothing finds itself.
    mine = (
        learner.add_special_tokens(inputs.detach()).mean(1)
        if isinstance(learner, TextModel)
        else inputs.detach().flatten(1)
    )
    close = torch.nn.functional.normalize(mine, dim=-1) @ known.T
    other = torch.tensor(classes, device=close.device)[:, None] != task.labels["train"][None]
    count = min(NEAREST_SAMPLES, int((~other).sum(1).min()))
    values, places = close.masked_fill(other, -2.0).topk(count)
    return task.rows[places.cpu().numpy()], values.cpu().numpy()
