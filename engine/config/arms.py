"""The arms of a study of dynamic pruning: what each leaves out, ranks by and keeps."""

from __future__ import annotations

import math
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from engine.common.choices import Spread
from engine.common.text import printable
from engine.config.base import Count, Fraction, Name, Settings
from engine.config.rankings import FIELD, METRICS, RANKINGS, TARGET_RANKINGS

Schedule = Literal["threshold", "once", "every_epoch"]
Share = Annotated[float, Field(gt=0, lt=1)]
Likeness = Annotated[float, Field(gt=0, le=1)]


class BudgetSettings(Settings):
    """How much an arm trains on in each epoch."""

    fraction: Fraction
    """This share of all training samples or tokens; 1 keeps everything."""
    of: Literal["tokens", "samples"] = "tokens"
    """What is counted. Equal tokens are equal training cost."""


class FilterSettings(Settings):
    """What is left out before anything is ranked. A filter without a value is not used."""

    near_duplicates: Likeness | None = None
    """All but one of the texts whose Jaccard similarity is at least this."""
    similar_states: Likeness | None = None
    """All but one of the samples whose mean states in the teacher have at least this cosine."""
    unknown_to_teacher: Share | None = None
    """This share of the samples: those with the highest loss of the teacher on the response."""
    outliers: Share | None = None
    """This share of the samples: those that an isolation forest on the teacher's mean states isolates first."""

    @property
    def used(self) -> dict[str, float]:
        """The filters that are used, each with its value."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class SelectionSettings(Settings):
    """How an arm selects: what is left out first, what the rest is ranked by, how the budget is spread over it."""

    rank_by: str | dict[str, float] | None = None
    """One ranking, or a weight for each of several, whose ranks are summed; by default `pruning.metric`. `field:NAME`
    is the number in a column of the source, high = keep."""
    leave_out: FilterSettings = FilterSettings()
    spread: Spread = "top"
    """`top`: the highest. `window`: the highest but for `skip_top`. `strata`: equally many from 50 strata of the score.
    `clusters`: equally many from each cluster of the teacher's mean states, the highest of each."""
    skip_top: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the samples at the very top that `window` and `strata` leave out."""

    @field_validator("rank_by")
    @classmethod
    def _known(cls, value: str | dict[str, float] | None) -> str | dict[str, float] | None:
        weights = {value: 1.0} if isinstance(value, str) else value or {}
        for name, weight in weights.items():
            if name not in RANKINGS and not (name.startswith(FIELD) and len(name) > len(FIELD)):
                raise ValueError(f"there is no ranking {printable(name)}; there are {', '.join(RANKINGS)}, field:NAME")
            if not weight or not math.isfinite(weight):
                raise ValueError(f"the weight of {printable(name)} must be a number other than zero")
        if value is not None and not weights:
            raise ValueError("name a ranking")
        if "random" in weights and len(weights) > 1:
            raise ValueError("random cannot be summed with other rankings")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SelectionSettings:
        if self.skip_top and self.spread not in ("window", "strata"):
            raise ValueError('skip_top belongs to spread = "window" or "strata"')
        return self

    def weights(self, metric: str) -> dict[str, float]:
        """What it ranks by, each with its weight; `metric` if the recipe names nothing."""
        if isinstance(self.rank_by, dict):
            return self.rank_by
        return {self.rank_by or metric: 1.0}


class ArmSettings(Settings):
    """One arm: a way to choose what the student trains on."""

    name: Name
    """What the arm is called."""
    selection: SelectionSettings = SelectionSettings()
    schedule: Schedule = "once"
    """`threshold`: scored anew in every epoch by `pruning`, whose threshold grows. `once`: chosen before training.
    `every_epoch`: chosen anew before every epoch, by new scores or new random numbers."""
    budget: BudgetSettings | None = None
    """Another budget than that of the recipe. Without either, as many samples as `dynamic` keeps."""

    @model_validator(mode="after")
    def _consistent(self) -> ArmSettings:
        if self.name == "base":
            raise ValueError("base is the student before training; give the arm another name")
        names = self.selection.weights("kl")
        if self.schedule == "every_epoch":
            fixed = [name for name in names if name not in METRICS and name != "random"]
            if fixed:
                raise ValueError(f'{printable(fixed[0])} is scored once, before training; use schedule = "once"')
        if self.schedule == "threshold" and (self.selection != SelectionSettings() or self.budget is not None):
            raise ValueError(
                'schedule = "threshold" keeps what lies above the threshold; leave selection and budget out'
            )
        return self

    @property
    def kind(self) -> Literal["choice", "random", "everything", "oracle"]:
        """What the arm is in a comparison: `oracle` reads a column that no score reads."""
        if self.budget is not None and self.budget.fraction == 1:
            return "everything"
        names = self.selection.weights("kl")
        if any(name.startswith(FIELD) for name in names):
            return "oracle"
        return "random" if self.is_random and not self.selection.leave_out.used else "choice"

    @property
    def is_random(self) -> bool:
        """Whether samples are drawn at random, perhaps among those that filters leave."""
        return "random" in self.selection.weights("kl")

    @property
    def scored_anew(self) -> bool:
        """Whether the student scores all samples again before every epoch but the first."""
        return self.schedule == "threshold" or (self.schedule == "every_epoch" and not self.is_random)

    @property
    def uses_target(self) -> bool:
        """Whether it looks at a part of the validation samples."""
        return any(name in TARGET_RANKINGS for name in self.selection.weights("kl"))


ARM_NAME, ARM_TABLE = "arm by name", "arm as a table"  # how pydantic calls the two forms of an entry

ArmName = Literal["dynamic", "full", "random", "static"]
ARMS: tuple[ArmName, ...] = get_args(ArmName)

RANDOM = SelectionSettings(rank_by="random")
BUILT_IN: dict[str, ArmSettings] = {
    "dynamic": ArmSettings(name="dynamic", schedule="threshold"),
    "static": ArmSettings(name="static", schedule="once"),
    "random": ArmSettings(name="random", selection=RANDOM, schedule="every_epoch"),
    "full": ArmSettings(name="full", selection=RANDOM, schedule="once", budget=BudgetSettings(fraction=1)),
}
"""What the names of arms stand for."""


class TargetSettings(Settings):
    """How the student is tuned for `target_gain`, and warmed up for `gradient_norm` and `target_likeness`."""

    epochs: Count = 2
    """Passes over the target."""
    warm_up: Fraction = 0.05
    """Share of the training samples, drawn at random, on which the LoRA is trained before gradients are taken."""
