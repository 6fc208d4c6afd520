"""A grid of students, and the cells it is made of.

    score x fraction kept x weight of the teacher x teacher x share of flipped labels x seed

A cell is one student. Cells can be one and the same training (`Point.identity`), which is then done once.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from engine.config.base import Count, Fraction, Name, OneOf, Settings, check_unique

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
Noise = Annotated[float, Field(ge=0, lt=1)]


def noise_label(label: str, noise: float) -> str:
    """How a table calls something that depends on the share of flipped labels: `teacher small noise 0.2`."""
    return f"{label} noise {noise:g}" if noise else label


def selection_arm(score: str, fraction: float, noise: float) -> str:
    """The arm of the `selections` table that says what a score keeps at a fraction: `el2n 0.1`."""
    return noise_label(f"{score} {fraction:g}", noise)


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
    """The score that selects."""
    fraction: Fraction
    """The share that is kept."""
    kd_weight: Weight
    """The weight of the teacher."""
    teacher: Name
    """A name in `teachers`."""
    noise: Noise = 0.0
    """The share of flipped labels."""


class GridSettings(Settings):
    """Every combination of the lists, with every seed, is a cell: one student."""

    scores: Annotated[list[PruningScore], Field(min_length=1)]
    """What samples are ranked by."""
    fractions: Annotated[list[Fraction], Field(min_length=1)]
    """Shares of the training samples that are kept."""
    kd_weights: Annotated[list[Weight], Field(min_length=1)]
    """Weights w of the teacher in (1 - w) CE + w T² KL(teacher ‖ student)."""
    teachers: Annotated[list[Name], Field(min_length=1)] = ["self"]
    """Names in `teachers`."""
    noise: Annotated[list[Noise], Field(min_length=1)] = [0.0]
    """Shares of the training labels that are flipped before anything else."""
    extra: list[CellSettings] = []
    """Single cells beside the combinations."""
    most_cells: Count = 2000
    """A larger grid is refused with its size."""

    @model_validator(mode="after")
    def _nothing_twice(self) -> GridSettings:
        names = ("scores", "fractions", "kd_weights", "teachers", "noise")
        check_unique({f"grid.{name}": getattr(self, name) for name in names})
        return self

    def points(self) -> list[Point]:
        """Every combination, and the single cells; without seeds."""
        lists = (self.scores, self.fractions, self.kd_weights, self.teachers, self.noise)
        single = [Point(cell.score, cell.fraction, cell.kd_weight, cell.teacher, cell.noise) for cell in self.extra]
        return [*map(Point._make, product(*lists)), *single]
