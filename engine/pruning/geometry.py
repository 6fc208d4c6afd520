"""Scores from embeddings: samples that cover the others, represent them, or are far from them.

Every function takes embeddings (n, d) and returns (n,) float64, high = keep. Greedy selections are scores as well: the
samples they select are on top in the order of selection, so that one call serves every fraction up to n_selected / n.
All raise WinnowError if an embedding is not finite.
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


def k_center(embeddings: Embeddings, n_selected: int, seed: int) -> Scores:
    """Farthest first: each selected sample is the one farthest from all before it, and the first one is random.

    Gonzalez 1985, whose radius is at most twice the best; Sener, Savarese 2018, "Active Learning for Convolutional
    Neural Networks: A Core-Set Approach", algorithm 1. Samples not selected follow, those far from the selected first.
    Beside the embeddings the memory is a few arrays of n: only the distance to the nearest selected sample is kept.
    """
    x = _centred(embeddings)
    lengths = np.einsum("nd,nd->n", x, x)
    nearest = np.full(len(x), np.inf, x.dtype)  # squared distance to the nearest selected sample
    selected: list[int] = []
    index = int(stream_rng(Stream.K_CENTER, seed).integers(len(x)))
    while len(selected) < min(n_selected, len(x)):
        selected.append(index)
        np.minimum(nearest, lengths + lengths[index] - 2 * (x @ x[index]), out=nearest)
        nearest[index] = -np.inf  # once selected, never the farthest
        index = int(nearest.argmax())
    return _ranked(selected, nearest)


def herding(embeddings: Embeddings, n_selected: int, labels: NDArray[np.integer] | None = None) -> Scores:
    """Greedy mean tracking: the next sample brings the mean of the selected nearest to the mean of all samples.

    Welling 2009, "Herding Dynamical Weights to Learn"; Chen, Welling, Smola 2010, "Super-Samples from Kernel Herding".
    Samples not selected follow, those that would be selected next first. With `labels` (n,), every class follows its
    own mean, and the classes take turns so that any number of samples from the top holds them in proportion.
    """
    if labels is None:
        return _herding(embeddings, n_selected)
    score = np.empty(len(embeddings))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        quota = -(-n_selected * len(rows) // len(embeddings))  # rounded up
        order = np.argsort(-_herding(embeddings[rows], min(quota + 1, len(rows))), kind="stable")
        # The i-th of m comes when (i - 1/2) / m of all samples are selected.
        score[rows[order]] = -(np.arange(len(rows)) + 0.5) / len(rows)
    return score


def prototypes(embeddings: Embeddings, clusters: int, seed: int) -> Scores:
    """Euclidean distance to the nearest of `clusters` k-means centres: far = high = keep. Needs no labels.

    Sorscher et al. 2022, "Beyond Neural Scaling Laws"; the negative keeps the typical samples, which they
    recommend if data is scarce. At least 0. Raises WinnowError if there are more clusters than samples.
    """
    if clusters > len(embeddings):
        raise WinnowError(f"{clusters} prototypes cannot be found among {len(embeddings)} samples; ask for fewer.")
    _require_finite(embeddings)
    distances: Scores = KMeans(clusters, random_state=seed).fit_transform(embeddings).min(1).astype(np.float64)
    return distances


def inliers(embeddings: Embeddings, seed: int) -> Scores:
    """Minus the anomaly score of an isolation forest, in [-1, 0]: outliers are the first to be pruned.

    Liu, Ting, Zhou 2008, "Isolation Forest".
    """
    _require_finite(embeddings)
    scores: Scores = IsolationForest(random_state=seed).fit(embeddings).score_samples(embeddings).astype(np.float64)
    return scores


def _herding(embeddings: Embeddings, n_selected: int) -> Scores:
    # With the mean at the origin, the mean of t selected with sum S and a next one x has the squared length
    # |S + x|^2 / (t + 1)^2, which is smallest if |x|^2 + 2 x S is.
    x = _centred(embeddings)
    lengths = np.einsum("nd,nd->n", x, x)
    used = np.zeros(len(x), np.bool_)
    total = np.zeros(x.shape[1])
    selected: list[int] = []

    def distances() -> NDArray[np.floating]:
        values: NDArray[np.floating] = lengths + 2 * (x @ total.astype(x.dtype))
        return values

    while len(selected) < min(n_selected, len(x)):
        index = int(np.where(used, np.inf, distances()).argmin())
        selected.append(index)
        used[index] = True
        total += x[index]
    return _ranked(selected, -distances())


def _centred(embeddings: Embeddings) -> NDArray[np.floating]:
    """Shifted to mean 0: squared lengths are small there, and their differences keep their digits."""
    _require_finite(embeddings)
    centred: NDArray[np.floating] = embeddings - embeddings.mean(0, dtype=np.float64).astype(embeddings.dtype)
    return centred


def _require_finite(embeddings: Embeddings) -> None:
    if not np.isfinite(embeddings).all():
        raise WinnowError(
            "Some embeddings are not finite, so the training they come from has diverged; lower training.learning_rate."
        )


def _ranked(selected: list[int], rest: NDArray[np.floating]) -> Scores:
    """The selected on top in their order, from k + 1 down to 2; then the others by `rest`, scaled to [0, 1]."""
    score = np.zeros(len(rest))
    left = np.ones(len(rest), np.bool_)
    left[selected] = False
    if left.any():
        values = rest[left].astype(np.float64)
        low, high = values.min(), values.max()
        score[left] = (values - low) / (high - low) if high > low else 0.0
    score[selected] = 1.0 + np.arange(len(selected), 0, -1)
    return score
