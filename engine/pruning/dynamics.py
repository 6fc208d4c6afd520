"""Training dynamics of proxy runs: a few numbers per sample and epoch, from which scores follow.

`TrainingDynamics` knows neither the network, the loop nor the data set. After each epoch every sample is passed through
the networks as it is (no augmentation, eval mode), and `update` gets the outputs:

    dynamics = TrainingDynamics(runs=5, epochs=30, samples=len(data), classes=10, keep_epochs=(5, 30))
    dynamics.update(epoch, index, outputs, labels)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class TrainingDynamics:
    """R runs of T epochs on n samples of C classes; `classes` = 0 if numbers are to be predicted.

    Arrays (R, T, n), float32 on the CPU, NaN until recorded; row 0 of the second axis is epoch 1:

    - `loss`: cross-entropy in nats, or the squared error of a number;
    - `error_norm`: norm2(softmax(z) - onehot(y)) in [0, sqrt 2] (Paul, Ganguli, Dziugaite 2021), or |error|;
    - `label_prob`: softmax(z)_y;
    - `margin`: z_y - max of the other logits (Pleiss et al. 2020), in logits;
    - `correct`: booleans, whether the largest logit is the label's.

    Numbers have no label_prob, margin and correct: there these have a last axis of length 0.

    `outputs` holds the logits (R, n, C) of each epoch in `keep_epochs`, (R, n, 1) of numbers. `recorded` (T, n) is true
    for the samples that `update` has got at an epoch.

    Raises ValueError if there is one class, or an epoch of `keep_epochs` is not among the T.
    """

    def __init__(self, runs: int, epochs: int, samples: int, classes: int, keep_epochs: Iterable[int] = ()) -> None:
        if classes == 1:
            raise ValueError("there must be at least two classes; numbers to be predicted have classes = 0")
        self.runs, self.epochs, self.samples, self.classes = runs, epochs, samples, classes
        shape = (runs, epochs, samples)
        self.loss = np.full(shape, np.nan, np.float32)
        self.error_norm = np.full(shape, np.nan, np.float32)
        shape = (runs, epochs, samples if classes else 0)
        self.label_prob = np.full(shape, np.nan, np.float32)
        self.margin = np.full(shape, np.nan, np.float32)
        self.correct = np.zeros(shape, np.bool_)
        self.recorded = np.zeros((epochs, samples), np.bool_)
        self.outputs: dict[int, NDArray[np.float32]] = {}
        for epoch in keep_epochs:
            self.row(epoch)  # raises if there is no such epoch
            self.outputs[epoch] = np.full((runs, samples, classes or 1), np.nan, np.float32)

    def row(self, epoch: int) -> int:
        """The row of an epoch (1 to T) in the arrays. Raises ValueError if it is not one of them."""
        if not 1 <= epoch <= self.epochs:
            raise ValueError(f"epoch {epoch} is not among the {self.epochs} of these runs")
        return epoch - 1

    def require(self, epoch: int | None = None) -> None:
        """Raises ValueError unless every sample is recorded at this epoch; without one, at every epoch."""
        recorded = self.recorded if epoch is None else self.recorded[self.row(epoch)]
        if not recorded.all():
            at = "some epoch" if epoch is None else f"epoch {epoch}"
            raise ValueError(f"the dynamics lack samples at {at}")

    @torch.no_grad()
    def update(self, epoch: int, index: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Record one batch of one epoch. The same batch again changes nothing.

        `index` (b,) rows of the samples; `outputs` (R, b, C) logits of every run, or (R, b, 1) numbers; `labels` (b,)
        class numbers, or floats. Any device and float type; the sums are done in float32.

        Raises ValueError if the epoch is not one of the T, or `outputs` has another shape.
        """
        row, rows = self.row(epoch), index.cpu().numpy()
        expected = (self.runs, len(index), self.classes or 1)
        if tuple(outputs.shape) != expected:
            raise ValueError(f"outputs have the shape {tuple(outputs.shape)}, not {expected}")
        outputs, labels = outputs.detach().float(), labels.to(outputs.device)
        if self.classes:
            measures = torch.stack(_class_measures(outputs, labels.long())).cpu().numpy()
            loss, error_norm, label_prob, margin, correct = measures
            self.label_prob[:, row, rows] = label_prob
            self.margin[:, row, rows] = margin
            self.correct[:, row, rows] = correct > 0
        else:
            error = outputs[..., 0] - labels.float()
            loss, error_norm = torch.stack((error.square(), error.abs())).cpu().numpy()
        self.loss[:, row, rows] = loss
        self.error_norm[:, row, rows] = error_norm
        self.recorded[row, rows] = True
        if epoch in self.outputs:
            self.outputs[epoch][:, rows] = outputs.cpu().numpy()


def _class_measures(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(R, b) each: loss, error norm, probability of the label, margin, and 1.0 if the prediction is right, else 0.0."""
    index = labels.expand(outputs.shape[:2])[..., None]
    log_probs = torch.log_softmax(outputs, -1)
    label_log_prob = log_probs.gather(-1, index)[..., 0]
    onehot = F.one_hot(labels, outputs.shape[-1])
    error_norm = torch.linalg.vector_norm(log_probs.exp() - onehot, dim=-1)
    others = outputs.scatter(-1, index, -torch.inf).amax(-1)
    margin = outputs.gather(-1, index)[..., 0] - others
    correct = (outputs.argmax(-1) == labels).float()
    return -label_log_prob, error_norm, label_log_prob.exp(), margin, correct
