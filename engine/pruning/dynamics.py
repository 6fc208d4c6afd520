"""What is remembered of trainings that are watched: a few numbers per sample and epoch, from which scores follow.

The log knows neither the network, the loop nor the data set. After each epoch every sample is passed through the
networks as it is (no augmentation, eval mode), and `update` is told what came out:

    log = TrainingLog(runs=5, epochs=30, samples=len(data), classes=10, keep_epochs=(5, 30))
    log.update(epoch, index, outputs, labels)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class TrainingDynamics:
    """R runs watched for T epochs on n samples of C classes; `classes` = 0 where a number is to be predicted.

    Arrays (R, T, n), float32 on the CPU, NaN where nothing was seen yet; row 0 of the second axis is epoch 1:

    - `loss`: cross-entropy in nats, or the squared error of a number;
    - `error_norm`: norm2(softmax(z) - onehot(y)) in [0, sqrt 2] (Paul, Ganguli, Dziugaite 2021), or |error|;
    - `label_prob`: softmax(z)_y;
    - `margin`: z_y - max of the other logits (Pleiss et al. 2020), in logits;
    - `correct`: booleans, whether the largest logit is the label's.

    Numbers have no label_prob, margin and correct: there these have a last axis of length 0.

    `outputs` holds the logits (R, n, C) of each epoch in `keep_epochs`, (R, n, 1) of numbers. `seen` (T, n) says which
    samples an epoch has been told of.
    """

    def __init__(self, runs: int, epochs: int, samples: int, classes: int, keep_epochs: Iterable[int] = ()) -> None:
        if classes == 1:
            raise ValueError("one class leaves nothing to tell apart; numbers to be predicted have classes = 0")
        self.runs, self.epochs, self.samples, self.classes = runs, epochs, samples, classes
        shape = (runs, epochs, samples)
        self.loss = np.full(shape, np.nan, np.float32)
        self.error_norm = np.full(shape, np.nan, np.float32)
        shape = (runs, epochs, samples if classes else 0)
        self.label_prob = np.full(shape, np.nan, np.float32)
        self.margin = np.full(shape, np.nan, np.float32)
        self.correct = np.zeros(shape, np.bool_)
        self.seen = np.zeros((epochs, samples), np.bool_)
        self.outputs: dict[int, NDArray[np.float32]] = {}
        for epoch in keep_epochs:
            self.row(epoch)  # raises where there is no such epoch
            self.outputs[epoch] = np.full((runs, samples, classes or 1), np.nan, np.float32)

    def row(self, epoch: int) -> int:
        """Where an epoch (1 to T) stands in the arrays. Raises ValueError where it was never to be watched."""
        if not 1 <= epoch <= self.epochs:
            raise ValueError(f"epoch {epoch} is not among the {self.epochs} that are watched")
        return epoch - 1

    def require(self, epoch: int | None = None) -> None:
        """Raise ValueError where some sample was not seen at this epoch; without one, at any epoch."""
        seen = self.seen if epoch is None else self.seen[self.row(epoch)]
        if not seen.all():
            where = "some epoch" if epoch is None else f"epoch {epoch}"
            raise ValueError(f"the log has not seen every sample at {where}")

    @torch.no_grad()
    def update(self, epoch: int, index: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Take in one batch of one epoch. The same again changes nothing, so a repeated batch does no harm.

        `index` (b,) rows of the samples; `outputs` (R, b, C) logits of every run, or (R, b, 1) numbers; `labels` (b,)
        class numbers, or floats. Any device and float type; the sums are done in float32.
        """
        row, rows = self.row(epoch), index.cpu().numpy()
        wanted = (self.runs, len(index), self.classes or 1)
        if tuple(outputs.shape) != wanted:
            raise ValueError(f"outputs have the shape {tuple(outputs.shape)}, not {wanted}")
        outputs, labels = outputs.detach().float(), labels.to(outputs.device)
        if self.classes:
            told = torch.stack(_of_classes(outputs, labels.long())).cpu().numpy()
            loss, error_norm, label_prob, margin, correct = told
            self.label_prob[:, row, rows] = label_prob
            self.margin[:, row, rows] = margin
            self.correct[:, row, rows] = correct > 0
        else:
            error = outputs[..., 0] - labels.float()
            loss, error_norm = torch.stack((error.square(), error.abs())).cpu().numpy()
        self.loss[:, row, rows] = loss
        self.error_norm[:, row, rows] = error_norm
        self.seen[row, rows] = True
        if epoch in self.outputs:
            self.outputs[epoch][:, rows] = outputs.cpu().numpy()


def _of_classes(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(R, b) each: loss, error norm, probability of the label, margin, and 1.0 where the prediction is right."""
    place = labels.expand(outputs.shape[:2])[..., None]
    log_probs = torch.log_softmax(outputs, -1)
    label_log_prob = log_probs.gather(-1, place)[..., 0]
    onehot = F.one_hot(labels, outputs.shape[-1])
    error_norm = torch.linalg.vector_norm(log_probs.exp() - onehot, dim=-1)
    others = outputs.scatter(-1, place, -torch.inf).amax(-1)
    margin = outputs.gather(-1, place)[..., 0] - others
    correct = (outputs.argmax(-1) == labels).float()
    return -label_log_prob, error_norm, label_log_prob.exp(), margin, correct
