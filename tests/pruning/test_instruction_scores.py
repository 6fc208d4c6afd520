"""Scores of instruction samples: values worked out by hand, directions, and NaN for what cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.pruning import geometry
from engine.pruning.instruction_scores import (
    band,
    by_states,
    cluster_distance,
    cluster_labels,
    ifd,
    response_length,
    target_gain,
)


def test_ifd_is_a_ratio_and_misaligned_samples_come_last() -> None:
    """The second sample's prompt hardly helps, the third's helps much; those of the last two make the response less
    likely, the last one's more so."""
    found = ifd(np.array([1.0, 1.8, 0.2, 2.1, 6.0]), np.array([2.0, 2.0, 2.0, 2.0, 2.0]))
    np.testing.assert_allclose(found, [0.5, 0.9, 0.1, -1.05, -3.0])
    assert np.argsort(-found).tolist() == [1, 0, 2, 3, 4]
    assert ifd(np.array([2.0]), np.array([2.0])).tolist() == [1.0]  # the authors drop what is above 1, not 1


def test_ifd_without_a_loss_to_compare_with_is_nan() -> None:
    """Neither infinity, which would be on top, nor zero."""
    found = ifd(
        np.array([1.0, 0.0, np.nan, 1.0], dtype=np.float32), np.array([0.0, 0.0, 1.0, np.nan], dtype=np.float32)
    )
    assert found.dtype == np.float64
    assert np.isnan(found).all()


def test_the_band_keeps_the_median_and_loses_both_ends() -> None:
    found = band(np.array([9.0, 1.0, np.nan, 3.0, 2.0, 0.0]))
    np.testing.assert_array_equal(found, [-7.0, -1.0, np.nan, -1.0, 0.0, -2.0])
    assert np.isnan(band(np.full(2, np.nan))).all()


def test_the_gain_is_what_the_loss_loses() -> None:
    np.testing.assert_array_equal(
        target_gain(np.array([3.0, 1.0, np.nan]), np.array([1.0, 1.5, 1.0])), [2, -0.5, np.nan]
    )


def test_long_responses_are_kept() -> None:
    found = response_length(np.array([3, 200, 0]))
    assert found.dtype == np.float64
    assert found.tolist() == [3.0, 200.0, 0.0]


def two_clouds() -> np.ndarray:
    """Forty states around 0, forty around 10, one beside, and one that is missing."""
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(40, 3)) * 0.1, rng.normal(size=(40, 3)) * 0.1 + 10]
    return np.concatenate([*clouds, [[13.0] * 3], [[np.nan, 0, 0]]])


def test_far_from_every_cluster_is_high() -> None:
    found = cluster_distance(two_clouds(), 2, 0)
    assert np.isnan(found[81])
    assert np.nanargmax(found) == 80
    np.testing.assert_array_equal(found, cluster_distance(two_clouds(), 2, 0))
    np.testing.assert_allclose(found[:81], geometry.prototypes(two_clouds()[:81].astype(np.float32), 2, 0))


def test_clusters_are_those_of_the_distance() -> None:
    """Each state is nearest to the mean of its own cluster, and a missing one is in none."""
    states = two_clouds()
    labels = cluster_labels(states, 2, 0)
    assert labels[81] == -1
    assert len(set(labels[:40])) == len(set(labels[40:81])) == 1
    assert labels[0] != labels[40]
    centres = np.stack([states[labels == label].mean(0) for label in (0, 1)])
    own = np.linalg.norm(states[:81] - centres[labels[:81]], axis=1)
    np.testing.assert_allclose(own, cluster_distance(states, 2, 0)[:81], rtol=1e-4)


def test_sixteen_bit_states_do_not_overflow() -> None:
    """Squared, 300 is beyond the largest 16-bit float."""
    states = (np.random.default_rng(0).normal(size=(30, 4)) * 300).astype(np.float16)
    for score in (lambda x: geometry.k_center(x, 30, 0), lambda x: geometry.herding(x, 30)):
        found = by_states(score, states)
        assert sorted(found.tolist()) == list(range(2, 32))
        assert (found == score(states.astype(np.float32))).all()


def test_states_that_are_all_missing_have_no_score() -> None:
    assert np.isnan(by_states(lambda x: geometry.inliers(x, 0), np.full((3, 2), np.nan))).all()


@pytest.mark.parametrize("name", ["k_center", "herding"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_greedy_selections_order_equal_states_too(name: str, n: int) -> None:
    """Repeated samples, all selected: each has a rank of its own, and the repetitions of a selected one come late."""
    states = np.repeat(np.random.default_rng(0).normal(size=(n, 4)), 3, axis=0).astype(np.float32)
    found = geometry.k_center(states, 3 * n, 0) if name == "k_center" else geometry.herding(states, 3 * n)
    assert sorted(found.tolist()) == list(range(2, 3 * n + 2))
    if name == "k_center":
        first = np.argsort(-found)[:n]
        assert len(np.unique(first // 3)) == n


def test_every_score_of_a_loss_takes_float32_and_returns_float64() -> None:
    """Stored losses are float32; rankings are compared in float64."""
    losses = np.array([0.5, 1.5, 2.5], dtype=np.float32)
    for found in (ifd(losses, losses), band(losses), target_gain(losses, losses)):
        assert found.dtype == np.float64
        assert found.shape == (3,)
