"""Logits of a frozen teacher at the positions that a student is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.batching.batch import Batch, TokenSample
from engine.common.errors import WinnowError
from engine.scoring.hidden import HiddenCache, stamp_of
from engine.scoring.lm_head import LmHead
from engine.scoring.scored_model import ScoredModel


class TeacherLogits:
    """Of the samples that `rows` names, in their order: from cached hidden states, else by a pass of the teacher.

    `states` has for each sample its (N, d) final hidden states, or None if they are not cached. The teacher is in eval
    mode and takes no gradient; its head is run for the counted positions alone, cut to `vocab_size` tokens.
    """

    def __init__(
        self, teacher: ScoredModel, vocab_size: int, rows: Sequence[int], states: Sequence[Tensor | None]
    ) -> None:
        self.teacher = teacher
        self.vocab_size = vocab_size
        self.rows = rows
        self.states = states

    def of(self, indices: Sequence[int], batch: Batch) -> Tensor:
        """(counted, vocab_size) float32 logits of a batch made of the samples at `indices`, sample after sample.

        Raises WinnowError naming a row at which the teacher gives NaN or infinity: nothing can be learned from that.
        """
        counts = batch.counted.sum(1).tolist()
        head, states = self.teacher.head, states_of(self.teacher, self.states, indices, batch)
        with torch.no_grad():  # no inference mode: what it makes cannot be part of a loss
            operand = head.operand(states)
            logits = operand.new_empty(len(operand), self.vocab_size, dtype=torch.float32)
            head.logits(operand, 0, self.vocab_size, logits)
        broken = (~logits.isfinite()).any(-1).nonzero()
        if len(broken):
            place = int(np.searchsorted(np.cumsum(counts), int(broken[0]), side="right"))
            raise WinnowError(
                f"The teacher gives NaN or infinity for row {self.rows[indices[place]]}, so no student can learn from "
                "it there; leave that row out of the data, or set training.kd_weight = 0."
            )
        return logits


def states_of(teacher: ScoredModel, cached: Sequence[Tensor | None], indices: Sequence[int], batch: Batch) -> Tensor:
    """(T, d): what the teacher's head reads at the T counted positions of a batch made of the samples at `indices`.

    `cached` has for each sample its (N, d) states, or None if the teacher's body has to run for it.
    """
    counts = batch.counted.sum(1).tolist()
    found = {
        place: states[batch.counted[place, : batch.lengths[place]].cpu()].to(batch.input_ids.device)
        for place, index in enumerate(indices)
        if (states := cached[index]) is not None
    }
    missing = [place for place in range(len(indices)) if place not in found]
    if missing:
        computed = teacher.states(batch.part(missing)).split([counts[place] for place in missing])
        found |= dict(zip(missing, computed, strict=True))
    return torch.cat([found[place] for place in range(len(indices))])


def cached_states(
    cache: HiddenCache, key: str, samples: Sequence[TokenSample], teacher: ScoredModel
) -> list[Tensor | None]:
    """The (N, d) states of each sample of what is cached under `key`, mapped from disk; None for each if nothing is."""
    head = teacher.head
    states = cache.get(key, stamp_of(samples, head)) if isinstance(head, LmHead) else None
    if states is None:
        return [None] * len(samples)
    return list(states.split([len(sample.input_ids) for sample in samples]))
