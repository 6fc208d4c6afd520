"""Recipes for knowledge distillation on pruned data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.common.choices import NumberFormat, SelectionRule
from engine.config.base import Count, Fraction, Name, Positive, Settings, check_unique
from engine.config.cluster import ClusterSettings
from engine.config.data import LabelledSettings
from engine.config.grid import NEEDS_CLASSES, PRUNING_SCORES, Cell, GridSettings
from engine.config.models import NetworkSettings


class TeacherSettings(Settings):
    """A teacher. What is not given is as for the student, so an empty table is self-distillation."""

    model: str | None = None
    """As `network.model`."""
    width: Count | None = None
    """As `network.width`."""
    depth: Count | None = None
    """As `network.depth`."""
    pretrained: bool | None = None
    """As `network.pretrained`."""
    epochs: Count | None = None
    """As `training.epochs`."""
    fraction: Fraction = 1.0
    """The share of the data, drawn at random, that it is trained on."""
    at_epoch: Count | None = None
    """The epoch of its training that it is taken from; by default the last."""
    online: bool = False
    """Whether it learns together with the student, on the samples of the student."""

    @model_validator(mode="after")
    def _offline_settings(self) -> TeacherSettings:
        if self.online and (self.fraction < 1 or self.at_epoch is not None or self.epochs is not None):
            raise ValueError(
                "an online teacher learns beside the student, so it has no fraction, epochs or at_epoch of its own"
            )
        return self


class ScoresSettings(Settings):
    """How the scores are made: from short proxy runs on everything."""

    runs: Count = 5
    """Proxy runs; scores are means over them."""
    epochs: Count | None = None
    """Epochs of the proxy runs; by default those of the student."""
    early_epoch: Count = 5
    """The epoch of the proxy runs that `el2n`, `grand` and `kl` are read from."""
    subsets: Annotated[int, Field(ge=4)] = 20
    """Trainings on random 70 % of the samples, for `memorization`."""
    prototypes: Count | None = None
    """Cluster centres of `prototypes_far` and `prototypes_near`; by default ten for each class."""


class SelectionSettings(Settings):
    """How the kept samples are selected by a score."""

    rule: SelectionRule = "top"
    """`top`: the highest scores. `window`: the highest without those at the very top. `strata`: as many from each of 50
    ranges of the score. `quota`: the highest of every class, in proportion to its size."""
    skip_hardest: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share at the very top that `window` and `strata` leave out."""

    @model_validator(mode="after")
    def _rules_that_skip(self) -> SelectionSettings:
        if self.skip_hardest and self.rule in ("top", "quota"):
            raise ValueError(f'selection.skip_hardest belongs to "window" and "strata", not to "{self.rule}"')
        return self


class StudentTraining(Settings):
    """How students (and teachers) learn: AdamW, with a learning rate that warms up and falls to zero in a line."""

    epochs: Count = 30
    """Passes over the samples."""
    equal: Literal["epochs", "steps"] = "epochs"
    """Whether students of different fractions see their samples equally often, or take equally many steps."""
    batch_size: Count = 64
    """Samples in one step."""
    learning_rate: Positive = 1e-3
    """Peak of the learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of AdamW."""
    temperature: Positive = 4.0
    """The T by which the logits of teacher and student are divided."""
    views: Count = 1
    """Fixed random views of each image, shifted by up to an eighth of its side; epochs take turns. 1: as it is."""
    mirror: bool = False
    """Whether half of the views are mirrored."""
    dtype: NumberFormat = "auto"
    """What networks compute in; `auto`: bfloat16 on GPUs that have it, else float32."""


class PrunedKdRecipe(Settings):
    """Students trained on what a score keeps, with and without a teacher trained on everything."""

    kind: Literal["pruned-kd"]
    """What the run does."""
    name: Name = "pruned-kd"
    """What the run is called; its id begins with it."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    """Every cell is trained once with each."""
    data: LabelledSettings
    network: NetworkSettings = NetworkSettings()
    teachers: dict[Name, TeacherSettings] = {"self": TeacherSettings()}
    scores: ScoresSettings = ScoresSettings()
    selection: SelectionSettings = SelectionSettings()
    training: StudentTraining = StudentTraining()
    grid: GridSettings
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> PrunedKdRecipe:
        check_unique({"seeds": self.seeds})
        for teacher in [*self.grid.teachers, *(cell.teacher for cell in self.grid.extra)]:
            if teacher not in self.teachers:
                raise ValueError(f"the grid names the teacher {teacher}, but there is no [teachers.{teacher}]")
        for name, settings in self.teachers.items():
            epochs = settings.epochs or self.training.epochs
            if settings.at_epoch is not None and settings.at_epoch > epochs:
                raise ValueError(f"teachers.{name}.at_epoch is {settings.at_epoch}, but it trains for {epochs} epochs")
        if self.scores.early_epoch > self.proxy_epochs:
            raise ValueError(
                f"scores.early_epoch is {self.scores.early_epoch}, but the proxy runs have {self.proxy_epochs} epochs"
            )
        if self.data.task == "text" and self.network.model in ("mlp", "cnn"):
            raise ValueError(
                f"network.model {self.network.model} reads no text; name a text classifier of the Hub, or its folder"
            )
        if self.data.task == "numbers":
            wrong = [score for score in self.used_scores() if score in NEEDS_CLASSES]
            if wrong:
                raise ValueError(f"the score {wrong[0]} needs classes, and this data has numbers to predict")
            if self.selection.rule == "quota" or self.grid.noise != [0.0]:
                raise ValueError("a quota per class and flipped labels need classes, and this data has numbers")
        if "kl" in self.used_scores() and self.kl_teacher is None:
            raise ValueError(
                "the score kl compares with a teacher that has learned before: name one that is not online"
            )
        size = len(self.cells())
        if size > self.grid.most_cells:
            raise ValueError(
                f"the grid has {size:,} cells, more than grid.most_cells = {self.grid.most_cells:,}; "
                "shorten a list, or raise the limit"
            )
        return self

    @property
    def proxy_epochs(self) -> int:
        """Epochs of the proxy runs."""
        return self.scores.epochs or self.training.epochs

    @property
    def kl_teacher(self) -> str | None:
        """The teacher of the score `kl`: the first one of the grid that is not online; None if all are."""
        return next((name for name in self.used_teachers() if not self.teachers[name].online), None)

    def used_scores(self) -> list[str]:
        """The scores that some cell needs, in the order of PRUNING_SCORES."""
        named = {*self.grid.scores, *(cell.score for cell in self.grid.extra)}
        return [score for score in PRUNING_SCORES if score in named]

    def used_noise(self) -> list[float]:
        """The shares of flipped labels of all cells, ascending."""
        return sorted({*self.grid.noise, *(cell.noise for cell in self.grid.extra)})

    def used_teachers(self) -> list[str]:
        """The teachers that some cell names, in the order of the recipe."""
        named = {*self.grid.teachers, *(cell.teacher for cell in self.grid.extra)}
        return [teacher for teacher in self.teachers if teacher in named]

    def cells(self) -> list[Cell]:
        """Every cell of the grid, each once, noise-free and large fractions first."""
        cells = {Cell(*point, seed): None for point in self.grid.points() for seed in self.seeds}
        return sorted(cells, key=lambda cell: (cell.noise, -cell.fraction))
