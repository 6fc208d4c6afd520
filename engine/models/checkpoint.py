"""The state of a training as one safetensors file: weights, optimizer moments, counters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.common.atomic import write_atomically
from engine.common.errors import WinnowError


def save_checkpoint(
    path: Path, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, **counters: int
) -> None:
    """Write a training state atomically."""
    tensors = {f"weights.{name}": value.detach().contiguous().cpu() for name, value in weights.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value).cpu() for key, value in state.items()}
    metadata = {key: str(value) for key, value in counters.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_checkpoint(
    path: Path, optimizer: torch.optim.Optimizer | None = None
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The weights and counters that `save_checkpoint` wrote; the moments go into `optimizer`, which keeps its rate.

    Raises WinnowError if the file is damaged or missing.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            counters = {key: int(value) for key, value in (handle.metadata() or {}).items() if key != "format"}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise WinnowError(f"The checkpoint {path} is damaged ({error}); delete it and resume the run.") from error
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split(".", 1)
        if kind == "weights":
            weights[name] = value
        else:
            index, moment = name.split(".", 1)
            moments.setdefault(int(index), {})[moment] = value
    if optimizer is not None:
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return weights, counters
