"""Scores of samples from the hidden states of the pass that trains on them, so that no second pass is needed.

The training pass makes the states of every position and runs the LM head at those that it trains on. Here the head is
run at all of them, without a gradient, beside the teacher's, whose states are cached.

Exact are the formula and its positions: they are those of `score_samples`. Approximate is the student:
- it is the one before the step that trains on the sample, so scores of one epoch belong to students that differ, and
  are up to an epoch older than those that are made after it;
- it is in training mode, so its LoRA has dropout.
With a learning rate and a dropout of zero the scores are therefore those of `score_samples`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.batching.batch import Batch, TokenSample, collate
from engine.common.errors import WinnowError
from engine.scoring.hidden import name_of
from engine.scoring.kl import token_scores
from engine.scoring.score import SampleScores, as_arrays
from engine.scoring.scored_model import ScoredModel
from engine.scoring.teacher_logits import states_of


class TrainingPassScores:
    """Called after each step with what the step has read; collects scores while it watches the student.

    `samples` are those that batches are made of, `cached` has for each the teacher's (N, d) states, or None if the
    teacher's body has to run for it. `seconds` is what scoring has taken of the time of the training.
    """

    def __init__(
        self,
        student: ScoredModel,
        teacher: ScoredModel,
        samples: Sequence[TokenSample],
        cached: Sequence[Tensor | None],
        *,
        vocab_size: int,
        tile: int,
    ) -> None:
        check_head(student)
        self.student = student
        self.teacher = teacher
        self.samples = samples
        self.cached = cached
        self.vocab_size = vocab_size
        self.tile = tile
        self.scores: dict[int, SampleScores] = {}  # by place among the samples
        self.seconds = 0.0
        self._hidden: Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the final hidden states of every pass of the student inside."""
        decoder = cast(PreTrainedModel, self.student.model).get_decoder()
        hook = decoder.register_forward_hook(self._keep)
        try:
            yield
        finally:
            hook.remove()

    def _keep(self, _decoder: nn.Module, _inputs: Any, output: Any) -> None:
        self._hidden = output.last_hidden_state.detach()

    def __call__(self, indices: Sequence[int], batch: Batch) -> None:
        """Score the batch of the last pass, made of the samples at `indices`.

        Raises WinnowError if that pass has not gone through the decoder of the student.
        """
        started = time.perf_counter()
        hidden, self._hidden = self._hidden, None
        if hidden is None:
            raise WinnowError(
                f"{name_of(self.student.model)} does not run its decoder as one module, so its hidden states cannot be "
                'seen while it trains; set scoring.refresh = "exact".'
            )
        own = [self.samples[i] for i in indices]
        whole = collate(own, batch.input_ids.device)
        with torch.inference_mode():
            found = token_scores(
                states_of(self.teacher, self.cached, indices, whole),
                hidden[whole.counted],
                self.teacher.head,
                self.student.head,
                whole.labels,
                vocab_size=self.vocab_size,
                tile=self.tile,
            )
        columns = as_arrays(found)
        stop = 0
        for index, sample, length in zip(indices, own, whole.lengths, strict=True):
            start, stop = stop, stop + length
            self.scores[index] = SampleScores(sample.row, sample.response, *(column[start:stop] for column in columns))
        self.seconds += time.perf_counter() - started


def check_head(student: ScoredModel) -> None:
    """Raises WinnowError if the logits of a model are not those of its LM head on its hidden states."""
    if student.why:
        raise WinnowError(
            f'scoring.refresh = "while_training" needs a student whose hidden states and LM head give its own logits, '
            f'and those of {name_of(student.model)} do not: {student.why}; set scoring.refresh = "exact".'
        )
