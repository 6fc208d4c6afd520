"""Settings of models: pairs to load, networks made here, models trained from scratch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from engine.common.choices import NumberFormat
from engine.config.base import Count, Name, Positive, Settings
from engine.config.data import CorpusSettings


class ScratchModel(Settings):
    """A small transformer built and trained by Winnow."""

    layers: Count
    width: Annotated[int, Field(ge=8)]
    heads: Count
    epochs: Positive = 1.0
    learning_rate: Positive = 2e-3
    batch_size: Count = 32
    seed: int = 0

    @model_validator(mode="after")
    def _even_heads(self) -> ScratchModel:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 × heads ({2 * self.heads})")
        return self


def scratch_name(model: str) -> str | None:
    """`teacher` for `scratch:teacher`; None for a model that is loaded from elsewhere."""
    return model.removeprefix("scratch:") if model.startswith("scratch:") else None


class NetworkSettings(Settings):
    """A network: `mlp` or `cnn` made here, or a Hub id or local folder of a transformers classifier.

    `width` counts units or channels of the first hidden layer; `depth` hidden layers or blocks. Both belong to the
    networks made here. `pretrained = false` draws the weights of a transformers model afresh. Texts are read by the
    tokenizer of `model`, which teachers must share.
    """

    model: str = "mlp"
    width: Count = 64
    depth: Count = 2
    pretrained: bool = True


class ScratchSettings(Settings):
    """How `scratch:NAME` models are made: one tokenizer for all of them, one entry in `models` for each name."""

    vocab_size: Annotated[int, Field(ge=300)] = 4096
    corpus: CorpusSettings = CorpusSettings()
    models: dict[Name, ScratchModel]


class PairSettings(Settings):
    """Teacher and student: Hub ids, local folders, or `scratch:NAME`."""

    teacher: str
    student: str
    dtype: NumberFormat = "auto"
    max_length: Annotated[int, Field(ge=8)] = 512
