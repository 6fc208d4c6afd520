"""Why a teacher helps a student with few samples: the one case with a closed form.

Linear regression. Samples y = x.w + e with x ~ N(0, I_d) and e ~ N(0, sigma^2). A teacher is fitted by ordinary least
squares (OLS) to t = f_t n samples, a student to m = f n samples and the targets (1 - a) y + a x.w_t, where a is the
weight of distillation, w_t the teacher, f the fraction kept. OLS is linear in its targets and gives back the teacher
if the targets are the teacher's, so the student is

    w_a = (1 - a) w_m + a w_t          w_m = OLS on the labels of the same m samples

Excess risk is E(x.w_a - x.w)^2 = E|w_a - w|^2, the error beyond sigma^2. The error of OLS is (X'X)^-1 X'e, and
E tr (X'X)^-1 = d / (m - d - 1) (mean of the inverse Wishart distribution, m > d + 1), so

    A = sigma^2 d / (m - d - 1)        risk of w_m alone
    B = sigma^2 d / (t - d - 1)        risk of the teacher
    risk(a) = (1 - a)^2 A + 2 a (1 - a) C + a^2 B

What is left is C, the mean inner product of both errors. It depends on whose samples are whose:

- "disjoint": the teacher learned from other samples. The errors are independent, so C = 0.
- "nested": the smaller set is part of the larger. Let the student's m be among the teacher's t. Then the noise both
  have in common is e_m, and E[(X_m'X_m)^-1 X_m' e_m e_m' X_m (X_t'X_t)^-1] = sigma^2 E (X_t'X_t)^-1, so C = B; the
  other way round C = A. In short C = min(A, B): OLS on all is uncorrelated with what OLS on a part is off it.

At the best weight the derivative vanishes, a = (A - C) / (A + B - 2C):

- "disjoint": A / (A + B) = (t - d - 1) / (t + m - 2d - 2), with risk A B / (A + B). It rises as f falls, from 1/2 at
  f = f_t to nearly 1: the fewer the labels, the noisier their side of the average.
- "nested": exactly 1 if f < f_t, exactly 0 if f > f_t: the larger set contains the smaller
  one. At f = f_t both are the same and no weight matters.

In both cases the best risk falls as f_t grows, and distillation gains more the smaller f is.

Where this departs from networks. A linear student can copy its teacher exactly from d samples, so with nested sets no
labels are needed at all and the risk at a = 1 does not depend on f; a network that sees few inputs copies badly. There
is no gap of capacity, no temperature, no early stopping and no shape of the output to learn from, so nothing here says
how large a teacher should be, nor why a weight between 0 and 1 can be best when a teacher has seen everything.
Pruning is random. With m or t <= d + 1 the expected risk is infinite (or OLS is not unique): there is no closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng

Overlap = Literal["nested", "disjoint"]


@dataclass(frozen=True)
class Regression:
    """One such experiment. Raises WinnowError if a set is too small for OLS, or disjoint sets do not fit."""

    fraction: float = 0.25  # f, kept for the student
    teacher_fraction: float = 1.0  # f_t
    samples: int = 200  # n
    dimensions: int = 20  # d
    noise: float = 1.0  # sigma, standard deviation of e
    overlap: Overlap = "nested"

    def __post_init__(self) -> None:
        least = self.dimensions + 2
        for who, count in (("student", self.student_samples), ("teacher", self.teacher_samples)):
            if count < least:
                raise WinnowError(
                    f"The {who} has {count} samples for {self.dimensions} dimensions, and its expected error is finite "
                    f"from {least} on; give it a larger fraction, or take fewer dimensions."
                )
        if self.overlap == "disjoint" and self.student_samples + self.teacher_samples > self.samples:
            raise WinnowError(
                f"Disjoint sets of {self.student_samples} and {self.teacher_samples} do not fit into {self.samples} "
                "samples; lower one of the fractions, or let them be nested."
            )

    @property
    def student_samples(self) -> int:
        """m"""
        return round(self.fraction * self.samples)

    @property
    def teacher_samples(self) -> int:
        """t"""
        return round(self.teacher_fraction * self.samples)


@dataclass(frozen=True)
class Simulated:
    """Excess risk of simulated students, one value per weight: the mean over the repeats and its 95 % interval.

    The interval is the normal one, 1.96 standard errors to each side. If a set has no more than d + 3 samples the
    risk has no variance, and the interval is too narrow.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def ols_risk(samples: int, dimensions: int, noise: float) -> float:
    """Expected excess risk of OLS, sigma^2 d / (m - d - 1); NaN for m <= d + 1, as there is none."""
    return noise**2 * dimensions / (samples - dimensions - 1) if samples > dimensions + 1 else float("nan")


def expected_risk(setting: Regression, kd_weights: ArrayLike) -> NDArray[np.float64]:
    """Expected excess risk of students at weights of distillation (k,): (1 - a)^2 A + 2 a (1 - a) C + a^2 B."""
    a = np.asarray(kd_weights, np.float64)
    student, teacher, common = _parts(setting)
    return (1 - a) ** 2 * student + 2 * a * (1 - a) * common + a**2 * teacher


def best_weight(setting: Regression) -> float:
    """The weight with the least expected risk, (A - C) / (A + B - 2C), in [0, 1].

    NaN if student and teacher have the same samples, as every weight is as good there.
    """
    student, teacher, common = _parts(setting)
    both = student + teacher - 2 * common
    return (student - common) / both if both > 0 else float("nan")


def simulate(setting: Regression, kd_weights: Sequence[float], repeats: int = 200, seed: int = 0) -> Simulated:
    """Draw data, fit teachers and students, and measure: excess risk at each weight (k,), over `repeats` draws.

    All weights see the same draws, so their differences are less noisy than the intervals look.
    """
    random = stream_rng(Stream.THEORY, seed)
    m, t, d = setting.student_samples, setting.teacher_samples, setting.dimensions
    drawn = m + t if setting.overlap == "disjoint" else max(m, t)
    x = random.standard_normal((repeats, drawn, d))
    # Samples are drawn alike, so the first rows are a random part. OLS follows w wherever it lies; it may be 0.
    y = setting.noise * random.standard_normal((repeats, drawn, 1))
    of_student = slice(drawn - m, drawn) if setting.overlap == "disjoint" else slice(0, m)
    teacher = _fit(x[:, :t], y[:, :t])
    x_m, y_m = x[:, of_student], y[:, of_student]
    # One fit with two targets: every mixed target is a mixture of the two, and so is its student.
    fitted = _fit(x_m, np.concatenate([y_m, x_m @ teacher], -1))
    a = np.asarray(kd_weights, np.float64)
    students = fitted @ np.stack([1 - a, a])  # (repeats, d, k)
    risks = (students**2).sum(1)
    mean, spread = risks.mean(0), 1.96 * risks.std(0, ddof=1) / np.sqrt(repeats)
    return Simulated(mean, mean - spread, mean + spread)


def _parts(setting: Regression) -> tuple[float, float, float]:
    """A, B and C."""
    student = ols_risk(setting.student_samples, setting.dimensions, setting.noise)
    teacher = ols_risk(setting.teacher_samples, setting.dimensions, setting.noise)
    return student, teacher, 0.0 if setting.overlap == "disjoint" else min(student, teacher)


def _fit(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """OLS of repeats at once: (r, m, d) and (r, m, k) in, (r, d, k) out."""
    transposed = x.transpose(0, 2, 1)
    return np.linalg.solve(transposed @ x, transposed @ y)
