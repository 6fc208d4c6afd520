"""Winnow shows which training samples matter, and proves it.

    from engine import choose, rank, score
    scores = score("alpaca.parquet", teacher="/models/big", student="/models/small", limit=2000)
    kept = scores[choose(scores, fraction=0.4)]

The names below are the public interface; everything else may change. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "RunResults",
    "WinnowError",
    "choose",
    "interval",
    "load_recipe",
    "open_workspace",
    "rank",
    "read_run",
    "run_recipe",
    "score",
    "token_kl",
]

if TYPE_CHECKING:
    from engine.analysis.intervals import interval
    from engine.api import RunResults, choose, rank, read_run, run_recipe, score, token_kl
    from engine.common.errors import WinnowError
    from engine.config.load import load_recipe
    from engine.storage.workspace import open_workspace

_HOMES = {
    "WinnowError": "engine.common.errors",
    "interval": "engine.analysis.intervals",
    "load_recipe": "engine.config.load",
    "open_workspace": "engine.storage.workspace",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module engine has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "engine.api")), name)
