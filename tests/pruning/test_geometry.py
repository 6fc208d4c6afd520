"""Scores from embeddings: greedy references, directions, and memory that does not grow with the selection."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from engine.common.errors import WinnowError
from engine.pruning import geometry


def cloud(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def best_first(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def test_k_center_is_farthest_first() -> None:
    """Against all pairwise distances in float64; those not selected follow by distance to the selected."""
    x = cloud(60, 5)
    found = best_first(geometry.k_center(x, 20, 3))
    pairs = np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=-1)
    for i in range(1, 20):
        left = sorted(set(range(60)) - set(found[:i]))
        assert found[i] == max(left, key=lambda j, i=i: pairs[j, found[:i]].min())
    rest = [pairs[j, found[:20]].min() for j in found[20:]]
    assert rest == sorted(rest, reverse=True)


def test_larger_selections_begin_with_the_same() -> None:
    """One score serves every fraction."""
    x = cloud(50, 4)
    for order in (lambda k: geometry.k_center(x, k, 0), lambda k: geometry.herding(x, k)):
        assert best_first(order(30))[:10] == best_first(order(10))[:10]


def test_k_center_does_not_need_all_pairs() -> None:
    """All distances to the selected samples would be 2,000 x 4,000 numbers; a few arrays of 4,000 do."""
    x = cloud(4000, 3)
    tracemalloc.start()
    geometry.k_center(x, 2000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 4000 * 4 / 10


def test_k_center_of_equal_samples_selects_each_once() -> None:
    """Distances of 0 everywhere leave nothing to prefer, but nothing may be selected twice."""
    found = geometry.k_center(np.ones((6, 2), dtype=np.float32), 4, 0)
    assert sorted(found.tolist()) == [0, 0, 2, 3, 4, 5]
    assert np.sort(geometry.k_center(cloud(6, 2), 99, 0)).tolist() == [2, 3, 4, 5, 6, 7]


def test_k_center_starts_by_seed() -> None:
    starts = {best_first(geometry.k_center(cloud(40, 2), 5, seed))[0] for seed in range(10)}
    assert len(starts) > 3


def test_herding_follows_the_mean_far_closer_than_chance() -> None:
    """The next sample is the one nearest to where the mean should be, not the farthest."""
    x = cloud(500, 16) + 3
    selected = best_first(geometry.herding(x, 50))[:50]
    distance = np.linalg.norm(x[selected].mean(0) - x.mean(0))
    rng = np.random.default_rng(0)
    chance = np.mean([np.linalg.norm(x[rng.permutation(500)[:50]].mean(0) - x.mean(0)) for _ in range(50)])
    assert distance < chance / 4


def test_herding_is_greedy() -> None:
    """Against every candidate tried in float64."""
    x = cloud(30, 3)
    found = best_first(geometry.herding(x, 12))
    mean = x.mean(0, dtype=np.float64)
    for i in range(13):  # the first one not selected is the next that would be
        left = sorted(set(range(30)) - set(found[:i]))
        tried = {j: np.linalg.norm(x[[*found[:i], j]].mean(0, dtype=np.float64) - mean) for j in left}
        assert found[i] == min(tried, key=lambda j: tried[j])


def test_herding_by_class_holds_the_classes_in_proportion_at_every_size() -> None:
    """Unequal classes keep their own share of any prefix, each in the order of its own herding."""
    x, labels = cloud(100, 4), np.repeat([0, 1, 2], [60, 30, 10])
    order = np.array(best_first(geometry.herding(x, 40, labels)))
    for size in range(1, 101):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert (np.abs(counts - size * np.array([0.6, 0.3, 0.1])) <= 1.5).all()
    own = np.flatnonzero(labels == 1)
    assert order[labels[order] == 1][:12].tolist() == own[best_first(geometry.herding(x[own], 12))[:12]].tolist()


def test_prototypes_put_the_far_sample_on_top() -> None:
    """High = far: two tight clouds and one sample beside."""
    x = np.concatenate([cloud(40, 2) * 0.1, cloud(40, 2, 1) * 0.1 + 10, [[13.0, 10.0]]]).astype(np.float32)
    found = geometry.prototypes(x, 2, 0)
    assert found.argmax() == 80
    assert found.dtype == np.float64
    centres = np.stack([x[:40].mean(0), x[40:].mean(0)])
    np.testing.assert_allclose(found, np.linalg.norm(x[:, None] - centres, axis=-1).min(1), rtol=1e-4)


def test_as_many_prototypes_as_samples_and_no_more() -> None:
    """More is refused in one sentence with both numbers."""
    np.testing.assert_allclose(geometry.prototypes(cloud(5, 3), 5, 0), 0, atol=1e-5)
    with pytest.raises(WinnowError, match="6 prototypes cannot be found among 5 samples"):
        geometry.prototypes(cloud(5, 3), 6, 0)


def test_an_outlier_is_pruned_first() -> None:
    """High = inlier = keep."""
    x = np.concatenate([cloud(100, 3), np.full((1, 3), 20, dtype=np.float32)])
    found = geometry.inliers(x, 0)
    assert found.argmin() == 100
    assert (found == geometry.inliers(x, 0)).all()
    assert ((found >= -1) & (found <= 0)).all()


def test_embeddings_of_a_diverged_training_are_refused() -> None:
    """NaN would be selected first, and again and again."""
    x = cloud(10, 2)
    x[3, 1] = np.nan
    calls = (
        lambda: geometry.k_center(x, 3, 0),
        lambda: geometry.herding(x, 3),
        lambda: geometry.prototypes(x, 2, 0),
        lambda: geometry.inliers(x, 0),
    )
    for call in calls:
        with pytest.raises(WinnowError, match="not finite"):
            call()
