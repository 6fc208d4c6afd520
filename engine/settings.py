"""What every part of a recipe is made of: strict settings, and the kinds of number and name they hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,59}\z")]
"""Becomes part of file names: at most 60 letters, digits, dots, dashes and underscores, a letter or digit first."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
