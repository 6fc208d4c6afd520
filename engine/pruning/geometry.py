"""Scores from embeddings: samples that cover the others, stand for them, or lie apart.

Every function takes embeddings (n, d) and answers (n,) float64, high = keep. Greedy choices are scores as well: their
picks stand on top in the order they were picked, so that one call serves every fraction up to `picks` / n.
All raise WinnowError where an embedding is not finite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest

from engine.common.errors import WinnowError
from engine.common.random_streams import Stream, stream_rng

Scores = NDArray[np.float64]
Embeddings = NDArray[np.floating]


def k_center(embeddings: Embeddings, picks: int, seed: int) -> Scores:
    """Farthest first: each pick is the sample farthest from all before it, and the first one is random.

    Gonzalez 1985, whose radius is at most twice the best; Sener, Savarese 2018, "Active Learning for Convolutional
    Neural Networks: A Core-Set Approach", algorithm 1. Samples not picked follow, those far from the picked ones
    first. Beside the embeddings the memory is a few arrays of n: only the distance to the nearest pick is kept.
    """
    x = _centred(embeddings)
    lengths = np.einsum("nd,nd->n", x, x)
    nearest = np.full(len(x), np.inf, x.dtype)  # squared distance to the nearest pick
    order: list[int] = []
    pick = int(stream_rng(Stream.K_CENTER, seed).integers(len(x)))
    while len(order) < min(picks, len(x)):
        order.append(pick)
        np.minimum(nearest, lengths + lengths[pick] - 2 * (x @ x[pick]), out=nearest)
        nearest[pick] = -np.inf  # once taken, never the farthest
        pick = int(nearest.argmax())
    return _ranked(order, nearest)


def herding(embeddings: Embeddings, picks: int, labels: NDArray[np.integer] | None = None) -> Scores:
    """Greedy mean tracking: the next pick brings the mean of all picks nearest to the mean of all samples.

    Welling 2009, "Herding Dynamical Weights to Learn"; Chen, Welling, Smola 2010, "Super-Samples from Kernel Herding".
    Samples not picked follow, those that would be picked next first. With `labels` (n,), every class follows its own
    mean, and the classes take turns so that any number of samples from the top holds them in proportion.
    """
    if labels is None:
        return _herding(embeddings, picks)
    score = np.empty(len(embeddings))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        share = -(-picks * len(rows) // len(embeddings))  # rounded up
        order = np.argsort(-_herding(embeddings[rows], min(share + 1, len(rows))), kind="stable")
        # The i-th of m is due when (i - 1/2) / m of everything is taken.
        score[rows[order]] = -(np.arange(len(rows)) + 0.5) / len(rows)
    return score


def prototypes(embeddings: Embeddings, clusters: int, seed: int) -> Scores:
    """Euclidean distance to the nearest of `clusters` k-means centres: far = high = keep. Needs no labels.

    Sorscher et al. 2022, "Beyond Neural Scaling Laws"; the negative keeps the typical samples, which they
    recommend where data is scarce. Raises WinnowError where there are more clusters than samples.
    """
    if clusters > len(embeddings):
        raise WinnowError(f"{clusters} prototypes cannot be found among {len(embeddings)} samples; ask for fewer.")
    _require_finite(embeddings)
    return KMeans(clusters, random_state=seed).fit_transform(embeddings).min(1).astype(np.float64)


def inliers(embeddings: Embeddings, seed: int) -> Scores:
    """Minus the anomaly score of an isolation forest, in [-1, 0]: outliers are the first to go.

    Liu, Ting, Zhou 2008, "Isolation Forest".
    """
    _require_finite(embeddings)
    return IsolationForest(random_state=seed).fit(embeddings).score_samples(embeddings).astype(np.float64)


def _herding(embeddings: Embeddings, picks: int) -> Scores:
    # With the mean at the origin, the mean of t picks with sum S and a next one x has the squared length
    # |S + x|^2 / (t + 1)^2, which is smallest where |x|^2 + 2 x S is.
    x = _centred(embeddings)
    lengths = np.einsum("nd,nd->n", x, x)
    taken = np.zeros(len(x), np.bool_)
    total = np.zeros(x.shape[1])
    order: list[int] = []

    def miss() -> NDArray[np.floating]:
        return lengths + 2 * (x @ total.astype(x.dtype))

    while len(order) < min(picks, len(x)):
        pick = int(np.where(taken, np.inf, miss()).argmin())
        order.append(pick)
        taken[pick] = True
        total += x[pick]
    return _ranked(order, -miss())


def _centred(embeddings: Embeddings) -> NDArray[np.floating]:
    """The mean at the origin, where squared lengths are small and their differences keep their digits."""
    _require_finite(embeddings)
    return embeddings - embeddings.mean(0, dtype=np.float64).astype(embeddings.dtype)


def _require_finite(embeddings: Embeddings) -> None:
    if not np.isfinite(embeddings).all():
        raise WinnowError(
            "Some embeddings are not finite, so the training they come from has diverged; lower training.learning_rate."
        )


def _ranked(order: list[int], rest: NDArray[np.floating]) -> Scores:
    """Picks in their order on top, n downwards; then the others by `rest`, high first, squeezed below 1."""
    score = np.zeros(len(rest))
    left = np.ones(len(rest), np.bool_)
    left[order] = False
    if left.any():
        values = rest[left].astype(np.float64)
        low, high = values.min(), values.max()
        score[left] = (values - low) / (high - low) if high > low else 0.0
    score[order] = 1.0 + np.arange(len(order), 0, -1)
    return score
