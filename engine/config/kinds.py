"""The kinds of run, each named once: its recipe, the module of its study, and how people find it.

A new kind is a recipe model, a module with `run` and `open_run` under `engine.studies`, and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engine.config.base import Settings
from engine.config.distillation import DistillationRecipe
from engine.config.kd import PrunedKdRecipe
from engine.config.pruning import DynamicPruningRecipe, PretrainRecipe, ScoreRecipe

Recipe = DynamicPruningRecipe | ScoreRecipe | PretrainRecipe | PrunedKdRecipe | DistillationRecipe
R = TypeVar("R", bound=Settings)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """One kind of run."""

    name: str  # `kind` of its recipes
    recipe: type[R]
    study: str  # the module that does it: `run(job, recipe)`, and `open_run(job, recipe)` for workers of a cluster
    label: str  # what people call it
    page: str = ""  # the folder in pages/ that shows what came of it
    query: str = ""  # the parameter in that page's address that names a run
    scores_text: bool = False  # it scores an instruction set, so the page Samples shows it


SCORE = Kind("score", ScoreRecipe, "engine.studies.pruning.pair", "scoring", "samples", "run", scores_text=True)
PRUNING = Kind(
    "dynamic-pruning",
    DynamicPruningRecipe,
    "engine.studies.pruning.study",
    "dynamic pruning",
    "pruning",
    "pruning_run",
    scores_text=True,
)
PRETRAIN = Kind("pretrain", PretrainRecipe, "engine.studies.pruning.pretrain", "training models from scratch")
KD = Kind("pruned-kd", PrunedKdRecipe, "engine.studies.kd.study", "knowledge distillation", "kd", "kd_run")
DISTILLATION = Kind(
    "distillation",
    DistillationRecipe,
    "engine.studies.distillation.study",
    "dataset distillation",
    "distillation",
    "distilled_run",
)
KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in (SCORE, PRUNING, PRETRAIN, KD, DISTILLATION)}
