"""What every run writes down before it begins: its samples, and what another person needs to repeat it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import torch

from engine.config.kinds import Recipe
from engine.config.load import to_dict
from engine.studies.job import Job


class SampleSet(Protocol):
    """The samples of a run."""

    @property
    def dataset(self) -> str: ...

    def sample_columns(self) -> dict[str, Any]: ...


def record_inputs(
    job: Job,
    recipe: Recipe,
    data: SampleSet,
    *,
    origin: str,
    dtype: torch.dtype,
    packages: Sequence[str] = (),
    **facts: Any,
) -> None:
    """Record the samples of `data` as a part, and the provenance of the run with `facts`.

    `origin` describes the source; `packages` are those that the result depends on beside torch and transformers.
    """
    if not job.has("samples", "samples"):
        job.record([job.write("samples", "samples", data.sample_columns())])
    versions = {name: version(name) for name in ("torch", "transformers", *packages)}
    job.ledger.set_provenance(
        job.run.id,
        recipe=to_dict(recipe),
        dataset=data.dataset,
        data_origin=origin,
        dtype=str(dtype).removeprefix("torch."),
        device=job.device_name,
        versions={"python": platform.python_version(), **versions},
        **facts,
    )
