"""What every part of a recipe is made of: strict settings, and the kinds of number and name they hold."""

from __future__ import annotations

from typing import Annotated, Any

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


class ClusterSettings(Settings):
    """Where the shards of a run are done. In a recipe `cluster = "auto"` is short for `address` alone."""

    address: Annotated[str, Field(min_length=1)] = "none"
    """`none`: in this process. `auto`: on the Ray cluster this machine is part of, else on one started here. `local`:
    on one started here. Or HOST:PORT of a cluster that this machine is part of."""
    storage: str = ""
    """Where nodes leave what they finish: a mounted folder, or any fsspec address such as s3://bucket/folder. Empty:
    every node sees the workspace itself, under the same path."""
    workers: Count | None = None  # most at once; None for as many as the cluster has room for
    cpus: Positive = 1.0  # of each worker; it computes with as many threads
    gpus: Annotated[float, Field(ge=0)] | None = None  # of each worker; None: one where the cluster has any, else none
    object_store_gb: Positive = 0.5  # of a cluster that is started here: by itself Ray takes 30 % of the memory

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | ClusterSettings):
            raise ValueError("it is none, auto, HOST:PORT, or a table of its own")
        return {"address": value} if isinstance(value, str) else value

    @property
    def used(self) -> bool:
        return self.address != "none"


def scratch_name(model: str) -> str | None:
    """`teacher` for `scratch:teacher`; None for a model that is loaded from elsewhere."""
    return model.removeprefix("scratch:") if model.startswith("scratch:") else None
