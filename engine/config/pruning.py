"""Recipes on a pair of language models: scoring, dynamic pruning, and training the models from scratch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from engine.common.choices import LossOn
from engine.common.text import printable
from engine.config.arms import ARM_NAME, ARM_TABLE, ARMS, BUILT_IN, ArmName, ArmSettings, BudgetSettings, TargetSettings
from engine.config.base import Count, Name, Positive, Settings, check_unique
from engine.config.cluster import ClusterSettings
from engine.config.data import DataSettings
from engine.config.models import PairSettings, ScratchSettings, scratch_name
from engine.config.rankings import Metric


class ScoringSettings(Settings):
    """How samples are scored: how much at once, and what is kept for later epochs."""

    token_budget: Annotated[int, Field(ge=64)] = 8192
    """Most tokens of a batch, padding included; a longer sample is a batch alone."""
    tile: Annotated[int, Field(ge=64)] = 1024
    """Entries of the vocabulary whose logits are in memory at once."""
    hidden_cache_gb: Annotated[float, Field(ge=0)] = 4.0
    """Most disk space for hidden states of the teacher, which spare its forward pass in later epochs."""
    shard_rows: Count = 512
    """Samples of one work unit."""
    refresh: Literal["exact", "while_training"] = "exact"
    """How arms that choose by new scores get them. `exact`: before every epoch but the first all samples are scored by
    the student as it is then (Algorithm 1). `while_training`: samples that are trained on are scored from the hidden
    states of that very step, with dropout; a quarter of the others is scored in turn after each epoch, and the rest
    keep their latest score. That is cheaper and approximate, and stores scores of single tokens before training only.
    """
    clusters: Annotated[int, Field(ge=2)] = 32
    """Clusters of the teacher's mean states, for the rankings and the spread that use them."""


class PruningSettings(Settings):
    """The threshold: an epoch keeps the samples above tau, then tau ← min(tau · (1 + tau_growth), tau_max)."""

    metric: Metric = "kl"
    """What samples are ranked by; high = keep."""
    tau: Annotated[float, Field(ge=0)] | None = None
    """The first threshold. Give this or `tau_quantile`."""
    tau_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The first threshold as the share of samples below it."""
    tau_growth: Annotated[float, Field(ge=0)] = 0.1
    """Growth of the threshold after each epoch: the α of the method."""
    tau_max: Annotated[float, Field(ge=0)] | None = None
    """Most the threshold grows to; by default, as `tau_max_quantile`, without limit."""
    tau_max_quantile: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The same as the share of samples below it."""
    min_samples: Count = 100
    """Training ends if an epoch would keep fewer."""

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
    """Adapters on every linear layer of the student but its LM head."""

    r: Count = 8
    """Rank of the adapters."""
    alpha: Count = 16
    """Their output is scaled by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on their input while training."""


class TrainingSettings(Settings):
    """How the student is fine-tuned, the same in every arm."""

    epochs: Count = 5
    """Passes over what an arm keeps."""
    batch_size: Count = 16
    """Samples in one step."""
    learning_rate: Positive = 1e-4
    """Constant learning rate of AdamW."""
    loss_on: LossOn = "response"
    """The tokens that are trained on: those of the response, or all."""
    kd_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight w of knowledge distillation: the loss is (1 - w) cross-entropy + w KL(teacher ‖ student), at each token
    that is trained on. The teacher stays as it is."""
    lora: LoraSettings = LoraSettings()


def _named(value: Any) -> str:
    return ARM_TABLE if isinstance(value, dict | ArmSettings) else ARM_NAME


Arm = Annotated[Annotated[ArmName, Tag(ARM_NAME)] | Annotated[ArmSettings, Tag(ARM_TABLE)], Discriminator(_named)]


class DynamicPruningRecipe(Settings):
    """Train the student's LoRA on what each of several arms chooses, and compare where they end."""

    kind: Literal["dynamic-pruning"]
    """What the run does."""
    name: Name = "dynamic-pruning"
    """What the run is called; its id begins with it."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    """Every arm is trained once with each."""
    arms: Annotated[list[Arm], Field(min_length=1)] = list(ARMS)
    """Tables, or four names that stand for one, by default all four: `dynamic` (scored anew in every epoch, with a
    growing threshold), `static` (chosen once, by the first scores), `random` (drawn anew in every epoch), `full`
    (everything)."""
    budget: BudgetSettings | None = None
    """What every arm keeps in an epoch, but for `dynamic` and `full`; without it, as many samples as `dynamic`."""
    target: TargetSettings = TargetSettings()
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
        check_unique({"arms": self.arm_names, "seeds": self.seeds})
        for arm in self.entries:
            if arm.schedule != "threshold" and not self.budget_of(arm) and "dynamic" not in self.arm_names:
                raise ValueError(
                    f'{arm.name} has no budget, so it would keep as many samples as "dynamic": '
                    "add that arm, or a budget"
                )
            if arm.name == "dynamic" and arm.schedule != "threshold":
                raise ValueError('"dynamic" is the arm with schedule = "threshold"; give this one another name')
            if arm.schedule == "threshold" and arm.name != "dynamic":
                raise ValueError('the arm with schedule = "threshold" must be called "dynamic"')
        return self

    @property
    def entries(self) -> list[ArmSettings]:
        """Every arm as a table."""
        return [BUILT_IN[arm] if isinstance(arm, str) else arm for arm in self.arms]

    @property
    def arm_names(self) -> list[str]:
        return [arm.name for arm in self.entries]

    @property
    def rankings(self) -> list[str]:
        """What the arms rank by, each once."""
        return list(dict.fromkeys(name for arm in self.entries for name in arm.selection.weights(self.pruning.metric)))

    def budget_of(self, arm: ArmSettings) -> BudgetSettings | None:
        """What an arm keeps in an epoch; None if that follows from the threshold."""
        return None if arm.schedule == "threshold" else arm.budget or self.budget


class ScoreRecipe(Settings):
    """Score every sample once; no training."""

    kind: Literal["score"]
    """What the run does."""
    name: Name = "score"
    """What the run is called; its id begins with it."""
    data: DataSettings
    models: PairSettings
    scratch: ScratchSettings | None = None
    scoring: ScoringSettings = ScoringSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ScoreRecipe:
        _check_scratch(self.models, self.scratch)
        return self


PairRecipe = DynamicPruningRecipe | ScoreRecipe  # the kinds that score samples with a teacher and a student


class PretrainRecipe(Settings):
    """Train the `scratch:` models of a workspace and nothing else."""

    kind: Literal["pretrain"]
    """What the run does."""
    name: Name = "pretrain"
    """What the run is called; its id begins with it."""
    data: DataSettings
    scratch: ScratchSettings
    max_length: Annotated[int, Field(ge=8)] = 512
    """Most tokens of a sample; what is longer is cut."""


def _check_scratch(pair: PairSettings, scratch: ScratchSettings | None) -> None:
    for role, model in (("teacher", pair.teacher), ("student", pair.student)):
        name = scratch_name(model)
        if name is not None and (scratch is None or name not in scratch.models):
            raise ValueError(
                f"models.{role} is {printable(model)}, but there is no [scratch.models.{printable(name)}] "
                "that says how to make it"
            )
