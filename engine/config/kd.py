"""Recipes for knowledge distillation on pruned data: a grid of students, and the cells it is made of.

    score x fraction kept x weight of the teacher x teacher x share of flipped labels x seed

A cell is one student. Cells can be one and the same training (`Point.identity`), which is then done once.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from engine.common.choices import NumberFormat, SelectionRule
from engine.config.base import Count, Fraction, Name, OneOf, Positive, Settings
from engine.config.cluster import ClusterSettings
from engine.config.data import LabelledSettings
from engine.config.models import NetworkSettings

PRUNING_SCORES = {
    "random": "random",
    "random_fresh": "random, drawn anew each epoch",
    "el2n": "EL2N",
    "grand": "GraNd",
    "forgetting": "forgetting",
    "memorization": "memorization",
    "aum": "area under the margin",
    "loss": "loss",
    "least_confidence": "least confidence",
    "entropy": "entropy",
    "margin": "margin",
    "kl": "KL from the teacher",
    "k_center": "k-center",
    "herding": "herding",
    "prototypes_far": "far from its prototype",
    "prototypes_near": "near its prototype",
    "inliers": "outliers removed",
}
"""Every score a labelled sample can be ranked by; each is stored so that high = keep."""

PruningScore = Annotated[str, OneOf(PRUNING_SCORES)]
NEEDS_CLASSES = ("forgetting", "aum", "least_confidence", "entropy", "margin", "kl")
"""Scores that mean nothing where the label is a number to be predicted."""

Weight = Annotated[float, Field(ge=0, le=1)]


def arm(words: str, noise: float) -> str:
    """How a table calls something that depends on the share of flipped labels: `teacher small noise 0.2`."""
    return f"{words} noise {noise:g}" if noise else words


def kept_arm(score: str, fraction: float, noise: float) -> str:
    """The arm of the `selections` table that says what a score keeps at a fraction: `el2n 0.1`."""
    return arm(f"{score} {fraction:g}", noise)


class TeacherSettings(Settings):
    """A teacher. What is not given is as for the student, so an empty table is self-distillation.

    `fraction`: it is trained on a random part of the data. `at_epoch`: it is taken from that epoch of its training.
    `online`: it learns together with the student, on what the student sees.
    """

    model: str | None = None
    width: Count | None = None
    depth: Count | None = None
    pretrained: bool | None = None
    epochs: Count | None = None
    fraction: Fraction = 1.0
    at_epoch: Count | None = None
    online: bool = False

    @model_validator(mode="after")
    def _one_story(self) -> TeacherSettings:
        if self.online and (self.fraction < 1 or self.at_epoch is not None or self.epochs is not None):
            raise ValueError(
                "an online teacher learns beside the student, so it has no fraction, epochs or at_epoch of its own"
            )
        return self


class ScoresSettings(Settings):
    """How the scores are made: from `runs` short proxy runs on everything; early scores from their `early_epoch`."""

    runs: Count = 5
    epochs: Count | None = None  # of the proxy runs; as for the student if it is not given
    early_epoch: Count = 5
    subsets: Annotated[int, Field(ge=4)] = 20  # trainings on random 70 % for memorization
    prototypes: Count | None = None  # cluster centres; ten for each class where it is not given


class SelectionSettings(Settings):
    """How the kept set is chosen from a score. `skip_hardest`: the share dropped from the top before choosing."""

    rule: SelectionRule = "top"
    skip_hardest: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _skip_where_it_is_read(self) -> SelectionSettings:
        if self.skip_hardest and self.rule in ("top", "quota"):
            raise ValueError(f'selection.skip_hardest belongs to "window" and "strata", not to "{self.rule}"')
        return self


class StudentTraining(Settings):
    """How students (and teachers) learn. `equal`: students see the data equally often, or take equally many steps.

    `views`: fixed random views of each image (shifted by up to an eighth, mirrored where `mirror`); 1 = as it is.
    """

    epochs: Count = 30
    equal: Literal["epochs", "steps"] = "epochs"
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    temperature: Positive = 4.0
    views: Count = 1
    mirror: bool = False
    dtype: NumberFormat = "auto"


class Point(NamedTuple):
    """A cell of the grid without its seed."""

    score: str
    fraction: float
    kd_weight: float
    teacher: str
    noise: float

    @property
    def identity(self) -> Point:
        """Equal for points that are one training: a score of no effect (everything is kept) and a teacher of no effect
        (its weight is 0) are empty."""
        return self._replace(
            score="" if self.fraction == 1 else self.score, teacher="" if self.kd_weight == 0 else self.teacher
        )


class Cell(NamedTuple):
    """One student of the grid."""

    score: str
    fraction: float
    kd_weight: float
    teacher: str
    noise: float
    seed: int

    @property
    def point(self) -> Point:
        return Point(*self[:-1])


class CellSettings(Settings):
    """One cell that the lists of the grid do not name, for every seed."""

    score: PruningScore
    fraction: Fraction
    kd_weight: Weight
    teacher: Name
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0


class GridSettings(Settings):
    """Every combination is a cell. `noise`: shares of labels flipped before anything else. `extra`: single cells."""

    scores: Annotated[list[PruningScore], Field(min_length=1)]
    fractions: Annotated[list[Fraction], Field(min_length=1)]
    kd_weights: Annotated[list[Weight], Field(min_length=1)]
    teachers: Annotated[list[Name], Field(min_length=1)] = ["self"]
    noise: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)] = [0.0]
    extra: list[CellSettings] = []
    most_cells: Count = 2000  # a larger grid is refused with its size

    @model_validator(mode="after")
    def _nothing_twice(self) -> GridSettings:
        for name in ("scores", "fractions", "kd_weights", "teachers", "noise"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"grid.{name} names something twice")
        return self


class PrunedKdRecipe(Settings):
    """Students trained on what a score keeps, with and without a teacher trained on everything."""

    kind: Literal["pruned-kd"]
    name: Name = "pruned-kd"
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
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
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds names something twice")
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
        return self.scores.epochs or self.training.epochs

    @property
    def kl_teacher(self) -> str | None:
        """Whom the score `kl` compares with: the first teacher of the grid that does not learn beside its students."""
        return next((name for name in self.used_teachers() if not self.teachers[name].online), None)

    def used_scores(self) -> list[str]:
        """The scores that some cell needs, in the order of PRUNING_SCORES."""
        named = {*self.grid.scores, *(cell.score for cell in self.grid.extra)}
        return [score for score in PRUNING_SCORES if score in named]

    def used_noise(self) -> list[float]:
        return sorted({*self.grid.noise, *(cell.noise for cell in self.grid.extra)})

    def used_teachers(self) -> list[str]:
        named = {*self.grid.teachers, *(cell.teacher for cell in self.grid.extra)}
        return [teacher for teacher in self.teachers if teacher in named]

    def cells(self) -> list[Cell]:
        """Every cell of the grid, each once, noise-free and large fractions first."""
        grid = self.grid
        points = list(product(grid.scores, grid.fractions, grid.kd_weights, grid.teachers, grid.noise))
        points += [(cell.score, cell.fraction, cell.kd_weight, cell.teacher, cell.noise) for cell in grid.extra]
        cells = {Cell(*point, seed): None for point in points for seed in self.seeds}
        return sorted(cells, key=lambda cell: (cell.noise, -cell.fraction))
