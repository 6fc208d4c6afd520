"""Tensors that are computed once and used by many runs: outputs of teachers and scores of samples, each by its key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.common.atomic import write_atomically
from engine.storage.workspace import Workspace


@dataclass(frozen=True)
class CachedTensors:
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    size: int  # bytes on disk


def has_tensors(workspace: Workspace, key: str) -> bool:
    """Whether undamaged tensors are cached under `key`; only the header is read, which has the size of the file."""
    try:
        with safe_open(workspace.outputs / f"{key}.safetensors", framework="pt") as handle:
            return "facts" in (handle.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_tensors(workspace: Workspace, key: str) -> CachedTensors | None:
    """What is cached under `key`; None if nothing is, or if the file is damaged and has to be made again."""
    path = workspace.outputs / f"{key}.safetensors"
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
            facts = json.loads((handle.metadata() or {})["facts"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    return CachedTensors(tensors, facts, path.stat().st_size)


def save_tensors(
    workspace: Workspace, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> CachedTensors:
    """Cache tensors and facts under `key`; the file appears atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path = write_atomically(
        workspace.outputs / f"{key}.safetensors",
        lambda temporary: save_file(plain, temporary, metadata={"facts": json.dumps(facts)}),
    )
    return CachedTensors(plain, dict(facts), path.stat().st_size)
