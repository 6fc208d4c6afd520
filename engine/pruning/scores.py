"""Scores of labelled samples, from the training dynamics of proxy runs or a teacher's logits.

Every function returns (n,) float64, and high = keep: hard or uncertain samples are on top. Random selection is a score
too, so that it passes through the same code as the others. A sample whose outputs are not finite scores NaN.

Functions of dynamics raise ValueError if a sample is not recorded at an epoch that they need, if they need classes and
the runs predict numbers, or if they need outputs that were not kept.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.common.random_streams import Stream, stream_rng
from engine.pruning.dynamics import TrainingDynamics

Scores = NDArray[np.float64]
Array = NDArray[np.floating] | Tensor


def random_score(n: int, seed: int) -> Scores:
    """Uniform in [0, 1): its top is a random subset, and a larger subset contains the smaller one."""
    return stream_rng(Stream.RANDOM_SCORE, seed).random(n)


def el2n(dynamics: TrainingDynamics, epoch: int) -> Scores:
    """Mean over runs of norm2(softmax(z) - onehot(y)) at one early epoch; in [0, sqrt 2].

    Paul, Ganguli, Dziugaite 2021, "Deep Learning on a Data Diet". For numbers: mean |error|.
    """
    return _at(dynamics, epoch, dynamics.error_norm)


def loss(dynamics: TrainingDynamics, epoch: int) -> Scores:
    """Mean over runs of -log softmax(z)_y at one epoch, in nats, at least 0; for numbers, of the squared error."""
    return _at(dynamics, epoch, dynamics.loss)


def forgetting(dynamics: TrainingDynamics) -> Scores:
    """Mean over runs of the number of epochs t with a right answer at t and a wrong one at t + 1.

    Toneva et al. 2019, "An Empirical Study of Example Forgetting". A sample that a run never gets right
    counts T there, above the T - 1 that are possible: it is the hardest, not an unforgettable one; so the range is
    [0, T]. Forgetting is looked for once per epoch, not at every presentation.
    """
    _require_classes(dynamics, "forgetting")
    dynamics.require()
    forgotten = (dynamics.correct[:, :-1] & ~dynamics.correct[:, 1:]).sum(1)
    events = np.where(dynamics.correct.any(1), forgotten, dynamics.epochs)
    mean: Scores = events.mean(0, dtype=np.float64)
    return mean


def aum(dynamics: TrainingDynamics) -> Scores:
    """Minus the mean over runs and all epochs of z_y - max of the other logits.

    Pleiss et al. 2020, "Identifying Mislabeled Data using the Area Under the Margin Ranking", with
    the sign turned: the smallest margins, among them wrong labels, are on top. In logits, of either sign.
    """
    _require_classes(dynamics, "aum")
    dynamics.require()
    mean: Scores = dynamics.margin.mean((0, 1), dtype=np.float64)
    return -mean


def least_confidence(dynamics: TrainingDynamics, epoch: int) -> Scores:
    """1 - max p, with p the mean probabilities of the runs at one epoch whose outputs were kept; in [0, 1 - 1/C].

    Lewis, Gale 1994, "A Sequential Algorithm for Training Text Classifiers".
    """
    largest: Scores = _mean_probs(dynamics, epoch, "least_confidence").max(1)
    return 1 - largest


def entropy(dynamics: TrainingDynamics, epoch: int) -> Scores:
    """-sum p log p in nats, with p the mean probabilities of the runs at one epoch whose outputs were kept.

    Shannon 1948; as a score, Settles 2009, "Active Learning Literature Survey". In [0, log C].
    """
    probs = torch.from_numpy(_mean_probs(dynamics, epoch, "entropy"))
    values: Scores = torch.special.entr(probs).sum(1).numpy()
    return values


def margin(dynamics: TrainingDynamics, epoch: int) -> Scores:
    """1 - (p1 - p2), the two largest of the mean probabilities of the runs at one epoch whose outputs were kept.

    Scheffer, Decomain, Wrobel 2001, "Active Hidden Markov Models for Information Extraction". In [0, 1]. Other than
    `aum`, it does not use the label.
    """
    two = np.partition(_mean_probs(dynamics, epoch, "margin"), -2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def kl_from_teacher(teacher_logits: Array, outputs: Array) -> Scores:
    """Mean over runs of KL(teacher || student) = sum p_t (log p_t - log p_s), in nats, at least 0.

    `teacher_logits` (n, C); `outputs` (R, n, C), the logits of R early students. Casey, Lu, Zuo 2024, "Knowledge
    Distillation for Data Pruning", for the classes of a sample instead of the tokens of a text.
    """
    log_t = _log_probs(teacher_logits)
    total = np.zeros(len(log_t))
    for run in outputs:
        # Values below zero are rounding, if both models are equal.
        total += (log_t.exp() * (log_t - _log_probs(run))).sum(1).clamp(min=0).numpy()
    return total / len(outputs)


def _at(dynamics: TrainingDynamics, epoch: int, values: NDArray[np.float32]) -> Scores:
    dynamics.require(epoch)
    mean: Scores = values[:, dynamics.row(epoch)].mean(0, dtype=np.float64)
    return mean


def _mean_probs(dynamics: TrainingDynamics, epoch: int, score: str) -> NDArray[np.float64]:
    """(n, C), one run at a time."""
    _require_classes(dynamics, score)
    if epoch not in dynamics.outputs:
        raise ValueError(f"{score} needs the outputs of epoch {epoch}; name it in keep_epochs")
    dynamics.require(epoch)
    total = np.zeros((dynamics.samples, dynamics.classes))
    for run in dynamics.outputs[epoch]:
        total += _log_probs(run).exp().numpy()
    return total / dynamics.runs


def _log_probs(logits: Array) -> Tensor:
    return torch.log_softmax(torch.as_tensor(logits).double().cpu(), -1)


def _require_classes(dynamics: TrainingDynamics, score: str) -> None:
    if not dynamics.classes:
        raise ValueError(f"{score} needs classes, and these runs predict numbers")
