"""Scores of instruction samples that follow from a few numbers for each sample: losses, lengths, mean states.

Every function returns (n,) float64, high = keep, and NaN if the score cannot be computed. A loss is the mean negative
log-likelihood of the tokens of the response, in nats. A state is the teacher's mean hidden state over the response.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from engine.pruning import geometry

Scores = NDArray[np.float64]
Losses = NDArray[np.floating]


def ifd(nll_with_prompt: Losses, nll_without: Losses) -> Scores:
    """Instruction-following difficulty: the loss on the response given the prompt, over that on the bare response.

    Li et al. 2024, "From Quantity to Quality: Boosting LLM Performance with Self-Guided Data Selection for Instruction
    Tuning" (Cherry LLM), equation 5. High: the prompt helps little. The authors drop samples with a ratio above 1,
    whose prompt makes the response less likely; here these have minus their ratio, so they rank below all others, the
    highest ratio last. In [0, 1] or below -1; NaN if the loss without the prompt is not above 0.
    """
    with_prompt, without = np.asarray(nll_with_prompt, np.float64), np.asarray(nll_without, np.float64)
    ratio = np.full(len(without), np.nan)
    np.divide(with_prompt, without, out=ratio, where=without > 0)
    return np.where(ratio > 1, -ratio, ratio)


def band(nll_student: Losses) -> Scores:
    """Minus the distance of the student's loss from the median loss, in nats, at most 0: the middle is kept.

    Marion et al. 2023, "When Less is More: Investigating Data Pruning for Pretraining LLMs at Scale", whose best
    subsets are the middle of the perplexities. Perplexity is exp(loss), so the two have the same median sample.
    """
    losses = np.asarray(nll_student, np.float64)
    known = losses[~np.isnan(losses)]
    middle: Scores = -np.abs(losses - (np.median(known) if len(known) else np.nan))
    return middle


def target_gain(nll_before: Losses, nll_after: Losses) -> Scores:
    """How far the loss of a sample falls, in nats, when the student is tuned briefly on target samples. Of either sign.

    Jain, Montanari, Sasoglu 2025, "Train on Validation (ToV): Fast Data Selection with Applications to Fine-Tuning",
    arXiv 2510.00386: to first order the fall equals that of the target's loss when the student is tuned on the sample.
    """
    return np.asarray(nll_before, np.float64) - np.asarray(nll_after, np.float64)


def response_length(lengths: NDArray[np.integer]) -> Scores:
    """Tokens of the response: the longest are kept. Zhao et al. 2024, "Long Is More for Alignment"."""
    return lengths.astype(np.float64)


def cluster_distance(states: NDArray[np.floating], clusters: int, seed: int) -> Scores:
    """Distance of each state (n, d) to the nearest of `clusters` k-means centres, at least 0: far = high = keep.

    `geometry.prototypes` (Sorscher et al. 2022), for states some of which may be missing. Minus it keeps what is near.
    """
    return by_states(lambda known: geometry.prototypes(known, clusters, seed), states)


def cluster_labels(states: NDArray[np.floating], clusters: int, seed: int) -> NDArray[np.int64]:
    """(n,) which of the clusters of `cluster_distance` each state (n, d) is in; -1 if the state is not finite."""
    known = np.isfinite(states).all(1)
    labels = np.full(len(states), -1, np.int64)
    labels[known] = KMeans(clusters, random_state=seed).fit_predict(_float32(states[known]))
    return labels


def by_states(score: Callable[[NDArray[np.float32]], Scores], states: NDArray[np.floating]) -> Scores:
    """A score of `geometry` for states (n, d): NaN for those that are not finite, the others scored without them."""
    known = np.isfinite(states).all(1)
    scores = np.full(len(states), np.nan)
    if known.any():
        scores[known] = score(_float32(states[known]))
    return scores


def _float32(states: NDArray[np.floating]) -> NDArray[np.float32]:
    # Squared distances of stored 16-bit numbers would overflow.
    return states.astype(np.float32)
