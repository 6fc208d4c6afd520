"""Recipes on a pair of language models: scoring, dynamic pruning, and training the models from scratch."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from engine.common.choices import LossOn
from engine.config.base import Count, Name, OneOf, Positive, Settings
from engine.config.cluster import ClusterSettings
from engine.config.data import DataSettings
from engine.config.models import PairSettings, ScratchSettings, scratch_name

METRICS = {
    "kl": "KL over all positions",
    "kl_response": "KL over the response",
    "reverse_kl": "reverse KL",
    "nll_teacher": "loss of the teacher on the response",
    "nll_student": "loss of the student on the response",
    "entropy_teacher": "entropy of the teacher",
    "disagreement": "share of positions where the top tokens differ",
}
"""Every metric a sample can be ranked by; each is stored so that high = keep."""

Metric = Annotated[str, OneOf(METRICS)]

ArmName = Literal["dynamic", "full", "random", "static"]
ARMS: tuple[ArmName, ...] = get_args(ArmName)


class ScoringSettings(Settings):
    token_budget: Annotated[int, Field(ge=64)] = 8192
    tile: Annotated[int, Field(ge=64)] = 1024
    hidden_cache_gb: Annotated[float, Field(ge=0)] = 4.0
    shard_rows: Count = 512


class PruningSettings(Settings):
    """The threshold and how it grows. `tau_growth` is the α of the method: tau ← min(tau · (1 + α), tau_max)."""

    metric: Metric = "kl"
    tau: Annotated[float, Field(ge=0)] | None = None
    tau_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    tau_growth: Annotated[float, Field(ge=0)] = 0.1
    tau_max: Annotated[float, Field(ge=0)] | None = None
    tau_max_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    min_samples: Count = 100

    @model_validator(mode="after")
    def _one_of_each(self) -> PruningSettings:
        if (self.tau is None) == (self.tau_quantile is None):
            raise ValueError("give either tau or tau_quantile, one of the two")
        if self.tau_max is not None and self.tau_max_quantile is not None:
            raise ValueError("give either tau_max or tau_max_quantile, not both")
        if self.tau is not None and self.tau_max is not None and self.tau_max < self.tau:
            raise ValueError(f"tau_max {self.tau_max} is below tau {self.tau}")
        if (
            self.tau_quantile is not None
            and self.tau_max_quantile is not None
            and self.tau_max_quantile < self.tau_quantile
        ):
            raise ValueError(f"tau_max_quantile {self.tau_max_quantile} is below tau_quantile {self.tau_quantile}")
        return self


class LoraSettings(Settings):
    r: Count = 8
    alpha: Count = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class TrainingSettings(Settings):
    epochs: Count = 5
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    loss_on: LossOn = "response"
    lora: LoraSettings = LoraSettings()


class DynamicPruningRecipe(Settings):
    """Train the student's LoRA only on samples the teacher still disagrees about, beside three arms to compare with."""

    kind: Literal["dynamic-pruning"]
    name: Name = "dynamic-pruning"
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    arms: Annotated[list[ArmName], Field(min_length=1)] = list(ARMS)
    data: DataSettings
    models: PairSettings
    scratch: ScratchSettings | None = None
    scoring: ScoringSettings = ScoringSettings()
    pruning: PruningSettings
    training: TrainingSettings = TrainingSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> DynamicPruningRecipe:
        _check_scratch(self.models, self.scratch)
        if "dynamic" not in self.arms:
            raise ValueError('arms must contain "dynamic": the others are measured against it')
        for name, values in (("arms", self.arms), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names something twice")
        return self


class ScoreRecipe(Settings):
    """Score every sample once; no training."""

    kind: Literal["score"]
    name: Name = "score"
    data: DataSettings
    models: PairSettings
    scratch: ScratchSettings | None = None
    scoring: ScoringSettings = ScoringSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ScoreRecipe:
        _check_scratch(self.models, self.scratch)
        return self


class PretrainRecipe(Settings):
    """Make the `scratch:` models of a workspace and nothing else."""

    kind: Literal["pretrain"]
    name: Name = "pretrain"
    data: DataSettings
    scratch: ScratchSettings
    max_length: Annotated[int, Field(ge=8)] = 512


def _check_scratch(pair: PairSettings, scratch: ScratchSettings | None) -> None:
    for role, model in (("teacher", pair.teacher), ("student", pair.student)):
        name = scratch_name(model)
        if name is not None and (scratch is None or name not in scratch.models):
            raise ValueError(
                f"models.{role} is {model}, but there is no [scratch.models.{name}] that says how to make it"
            )
