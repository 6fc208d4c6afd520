"""Synthetic inputs for people: vectors as tokens and text, pixels as images, and the nearest real samples."""

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
from engine.data.tokenizers import vocabulary_size
from engine.distillation.decode import allowed_tokens, nearest_tokens
from engine.models.functional import FunctionalModel, TextModel
from engine.studies.distillation.setup import BATCH_TOKENS
from engine.studies.distillation.tasks import Task

NEAREST_SAMPLES = 3
NEAREST_TOKENS = 5


@dataclass(frozen=True)
class Decoded:
    """Synthetic texts: `ids` (N, L, 5) of the nearest tokens, `similarity` of the same shape, and the texts."""

    ids: Tensor
    similarity: Tensor
    texts: list[str]


class Decoder:
    """Decodes vectors with the embedding table of a student and its tokenizer."""

    def __init__(self, task: Task, model: TextModel, similarity: Similarity) -> None:
        assert task.tokenizer is not None
        self.table, self.similarity, self.tokenizer = model.table, similarity, task.tokenizer
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(vocabulary_size(self.tokenizer))))
        self.words = [self.tokenizer.convert_tokens_to_string([token]) if token else "" for token in tokens]
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        self.allowed = allowed_tokens(self.words, special, len(self.table)).to(model.device)

    def decode(self, vectors: Tensor) -> Decoded:
        """Vectors (N, L, d) as text."""
        ids, similarity = nearest_tokens(vectors.detach(), self.table, self.allowed, self.similarity, NEAREST_TOKENS)
        texts = [str(self.tokenizer.decode(row)) for row in ids[..., 0].tolist()]
        return Decoded(ids.cpu(), similarity.cpu(), texts)


def token_rows(key: SetKey, step: int, now: Decoded, initial: Decoded, words: list[str]) -> list[dict[str, Any]]:
    """The rows of `distilled_tokens` of one snapshot."""
    rows = []
    for place, (ids, values, before) in enumerate(
        zip(now.ids.tolist(), now.similarity.tolist(), initial.ids[..., 0].tolist(), strict=True)
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
    decoded: tuple[Decoded, Decoded] | None,
    images: list[bytes] | None,
    near: tuple[NDArray[np.int32], NDArray[np.float32]] | None,
) -> list[dict[str, Any]]:
    """The rows of `distilled` of one snapshot; `decoded` are its texts now and at the initialization.

    `near` are rows and similarities (N, NEAREST_SAMPLES) of real samples, for the best snapshot.
    """
    rows = []
    for place, label in enumerate(labels):
        text, changed, length = None, 0, 0
        if decoded is not None:
            now, before = (texts.ids[place, :, 0] for texts in decoded)
            text, changed, length = decoded[0].texts[place], int((now != before).sum()), len(now)
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


def as_pngs(task: Task, pixels: Tensor) -> list[bytes]:
    """PNGs of standardised pixels (N, C, H, W), at the brightness of the data."""
    samples = task.samples["train"]
    assert samples.mean is not None
    assert samples.std is not None
    values = (pixels.detach() * samples.std + samples.mean).round().clamp(0, 255)
    return pngs(values.to(torch.uint8).cpu().numpy())


def embeddings_of(task: Task, model: FunctionalModel, split: str) -> Tensor:
    """Samples as vectors (n, d) of length 1, whose product is their similarity.

    A text is the mean over its tokens of their rows in the embedding table of the student; an image is its pixels.
    """
    count = len(task.samples[split])
    step = max(1, BATCH_TOKENS[model.device.type] // max(1, int(task.lengths[split].max())))
    parts = []
    for start in range(0, count, step):
        inputs = task.inputs(split, np.arange(start, min(start + step, count)))
        if isinstance(model, TextModel):
            mask = inputs[1][..., None].to(model.table.dtype)
            parts.append((model.table[inputs[0]] * mask).sum(1) / mask.sum(1))
        else:
            parts.append(inputs[0].flatten(1))
    return torch.nn.functional.normalize(torch.cat(parts), dim=-1)


def nearest_samples(
    task: Task, model: FunctionalModel, inputs: Tensor, classes: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows and cosine similarities (N, at most NEAREST_SAMPLES) of the nearest training samples of the same class."""
    known = embeddings_of(task, model, "train")
    # With special tokens, as samples have them: an input that is still its initial sample is nearest to that one.
    vectors = (
        model.add_special_tokens(inputs.detach()).mean(1)
        if isinstance(model, TextModel)
        else inputs.detach().flatten(1)
    )
    close = torch.nn.functional.normalize(vectors, dim=-1) @ known.T
    other = torch.tensor(classes, device=close.device)[:, None] != task.labels["train"][None]
    count = min(NEAREST_SAMPLES, int((~other).sum(1).min()))
    values, places = close.masked_fill(other, -2.0).topk(count)
    return task.rows[places.cpu().numpy()], values.cpu().numpy()
