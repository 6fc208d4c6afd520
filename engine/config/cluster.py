"""Where the work units of a run are done."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from engine.config.base import Count, Positive, Settings


class ClusterSettings(Settings):
    """Where the work units of a run are done. In a recipe `cluster = "auto"` is short for `address` alone."""

    address: Annotated[str, Field(min_length=1)] = "none"
    """`none`: in this process. `auto`: on the Ray cluster this machine is part of, else on one started here. `local`:
    on one started here. Or HOST:PORT of a cluster that this machine is part of."""
    storage: str = ""
    """Where nodes leave what they finish: a mounted folder, or any fsspec address such as s3://bucket/folder. Empty:
    every node sees the workspace itself, under the same path."""
    workers: Count | None = None
    """Most workers at once; by default as many as the cluster has room for."""
    cpus: Positive = 1.0
    """CPUs of each worker, which computes with as many threads."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs of each worker, also a fraction of one; by default one if the cluster has any."""
    object_store_gb: Positive = 0.5
    """Memory of Ray's object store on a cluster that is started here; Ray's own choice is 30 % of the memory."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | ClusterSettings):
            raise ValueError("it is none, auto, HOST:PORT, or a table of its own")
        return {"address": value} if isinstance(value, str) else value

    @property
    def used(self) -> bool:
        return self.address != "none"
