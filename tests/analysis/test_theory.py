"""The linear case: its closed forms against students that are really fitted, and what they say."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from engine.analysis.theory import Regression, best_weight, expected_risk, ols_risk, simulate
from engine.common.errors import WinnowError

WEIGHTS = np.linspace(0, 1, 11)
SETTINGS = [
    Regression(0.3, 1.0, 100, 8, 0.7),
    Regression(0.8, 0.3, 100, 8, 0.7),
    Regression(0.2, 0.8, 100, 8, 0.7, "disjoint"),
    Regression(0.6, 0.3, 100, 8, 0.7, "disjoint"),
]


def fitted_one_by_one(setting: Regression, weight: float, repeats: int) -> np.ndarray:
    """Excess risks of students fitted to mixed targets by lstsq, of a true w that is not 0."""
    random = np.random.default_rng(42)
    m, t, d = setting.student_samples, setting.teacher_samples, setting.dimensions
    risks = []
    for _ in range(repeats):
        w = random.normal(size=d) * 3
        x = random.normal(size=(setting.samples, d))
        y = x @ w + setting.noise * random.normal(size=setting.samples)
        rows = random.permutation(setting.samples)
        of_teacher, of_student = rows[:t], rows[t : t + m] if setting.overlap == "disjoint" else rows[:m]
        teacher = np.linalg.lstsq(x[of_teacher], y[of_teacher])[0]
        targets = (1 - weight) * y[of_student] + weight * x[of_student] @ teacher
        student = np.linalg.lstsq(x[of_student], targets)[0]
        risks.append(((student - w) ** 2).sum())
    return np.array(risks)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_the_closed_form_is_that_of_students_really_fitted(setting: Regression, weight: float) -> None:
    """Four standard errors of 1,500 independent fits; the parts A, B and C each matter at one of the weights."""
    risks = fitted_one_by_one(setting, weight, 1500)
    error = risks.std() / np.sqrt(len(risks))
    assert abs(risks.mean() - expected_risk(setting, [weight])[0]) < 4 * error


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_simulation_agrees_with_the_closed_form(setting: Regression) -> None:
    """At every weight, within twice the half width of the interval it reports."""
    found = simulate(setting, list(WEIGHTS), repeats=1500, seed=1)
    expected = expected_risk(setting, WEIGHTS)
    assert (np.abs(found.mean - expected) < (found.high - found.low)).all()
    assert (found.low < found.mean).all()


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_weight_is_better_than_the_best(setting: Regression) -> None:
    """The optimum in closed form against a fine grid."""
    grid = np.linspace(0, 1, 1001)
    best = best_weight(setting)
    assert expected_risk(setting, best) <= expected_risk(setting, grid).min() + 1e-12
    assert abs(grid[expected_risk(setting, grid).argmin()] - best) <= 1e-3


def test_the_best_weight_rises_as_less_is_kept() -> None:
    """Samples of their own: from one half at equal sizes upwards, and the risk is A B / (A + B)."""
    settings = [Regression(f, 0.5, 400, 20, 1.0, "disjoint") for f in (0.5, 0.4, 0.2, 0.1, 0.06)]
    weights = [best_weight(setting) for setting in settings]
    assert weights == sorted(weights)
    assert weights[0] == 0.5
    assert weights[-1] > 0.95
    a, b = ols_risk(40, 20, 1.0), ols_risk(200, 20, 1.0)
    assert expected_risk(settings[3], weights[3]) == pytest.approx(a * b / (a + b))


def test_a_teacher_that_has_seen_everything_is_followed_completely() -> None:
    """Nested sets: all or nothing, and where both sets are the same no weight matters."""
    assert best_weight(Regression(0.5, 1.0)) == 1.0
    assert best_weight(Regression(1.0, 0.5)) == 0.0
    same = Regression(0.5, 0.5)
    assert np.isnan(best_weight(same))
    np.testing.assert_allclose(expected_risk(same, WEIGHTS), ols_risk(100, 20, 1.0))
    assert expected_risk(Regression(0.2), 1.0) == pytest.approx(ols_risk(200, 20, 1.0))


@pytest.mark.parametrize("overlap", ["nested", "disjoint"])
def test_a_teacher_of_more_data_is_better(overlap: Literal["nested", "disjoint"]) -> None:
    """At the best weight the risk falls as the teacher's fraction grows, and the gain grows as less is kept."""
    risks = [expected_risk(s, best_weight(s)) for s in (Regression(0.2, f, overlap=overlap) for f in (0.3, 0.5, 0.8))]
    assert risks[0] > risks[1] > risks[2]
    fewer = [Regression(f, 0.5, overlap=overlap) for f in (0.45, 0.3, 0.15)]
    gains = [float(expected_risk(s, 0.0) - expected_risk(s, best_weight(s))) for s in fewer]
    assert gains[0] < gains[1] < gains[2]


def test_the_noise_scales_the_risk_and_draws_follow_the_seed() -> None:
    """Twice the noise, four times the risk: in the formula and in every draw."""
    one, two = Regression(noise=1.0), Regression(noise=2.0)
    np.testing.assert_allclose(expected_risk(two, WEIGHTS), 4 * expected_risk(one, WEIGHTS))
    found = simulate(one, list(WEIGHTS), repeats=5)
    np.testing.assert_allclose(simulate(two, list(WEIGHTS), repeats=5).mean, 4 * found.mean)
    assert (simulate(one, list(WEIGHTS), repeats=5, seed=1).mean != found.mean).all()


def test_sets_too_small_have_no_closed_form() -> None:
    """d + 1 samples or fewer: NaN from the formula, a sentence for the setting."""
    assert np.isnan(ols_risk(21, 20, 1.0))
    assert ols_risk(22, 20, 1.0) == 20.0
    with pytest.raises(WinnowError, match="The student has 20 samples for 20 dimensions"):
        Regression(0.1)
    with pytest.raises(WinnowError, match="The teacher has 20 samples"):
        Regression(0.5, 0.1)


def test_disjoint_sets_must_fit() -> None:
    with pytest.raises(WinnowError, match="Disjoint sets of 100 and 120 do not fit into 200 samples"):
        Regression(0.5, 0.6, overlap="disjoint")
