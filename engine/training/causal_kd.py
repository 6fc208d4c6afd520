"""Knowledge distillation of a causal language model from a frozen teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.batching.batch import Batch
from engine.training.students import kd_loss


class Teacher(Protocol):
    """What gives the logits of the teacher."""

    def of(self, indices: Sequence[int], batch: Batch) -> Tensor:
        """(counted, V) float32 logits without a gradient, of a batch made of the samples at `indices`."""


@dataclass(frozen=True)
class KnowledgeDistillation:
    """Which teacher a student listens to, and how much: `weight` in (0, 1]."""

    weight: float
    teacher: Teacher


def kd_term(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean over T positions of KL(teacher || student) in nats, exact over the vocabulary of V tokens.

    `teacher` (T, V) and `student` (T, at least V) are float32 logits. The student's are cut to the teacher's V first,
    so rows that only pad its head take no part, as in scoring. Its gradient with respect to them is
    (softmax(student) - softmax(teacher)) / T, that of cross-entropy with the teacher's probabilities as soft labels.
    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2, at temperature 1 and for
    each token; beside (1 - w) times cross-entropy as in "Distilling the Knowledge in Data Pruning", arXiv 2403.07854.
    """
    return kd_loss(teacher.detach(), student[:, : teacher.shape[-1]], 1.0).mean()
