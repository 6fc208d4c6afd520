"""Scoring samples: batches through both models, all metrics of every position, and their means per sample."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from engine.scoring.batches import Batch, TokenSample, collate, plan_batches
from engine.scoring.heads import Head
from engine.scoring.hidden import HiddenCache, device_of, final_hidden, head_of
from engine.scoring.kl import token_scores
from engine.workspace import WinnowError

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Columns = list[NDArray[Any]]

OUT_OF_MEMORY = ("allocate memory", "out of memory", "not enough memory", "ALLOC_FAILED")


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Every score of one sample of N positions: arrays (N,), nats; the last four (N, k), most probable first.

    Positions where a model gave NaN or infinity are NaN in every float array.
    """

    row: int
    response_start: int
    kl: Floats  # forward KL(teacher || student)
    reverse_kl: Floats
    nll_teacher: Floats  # of the label
    nll_student: Floats
    entropy_teacher: Floats
    disagree: Floats  # 1 where the top tokens differ
    teacher_ids: Ids
    teacher_probs: Floats
    student_ids: Ids
    student_probs: Floats

    def metrics(self) -> dict[str, float]:
        """One number per metric, high = keep: nats per token, or a share; NaN where one position it counts is NaN.

        `kl` is (1/N) sum_i KL_i over all positions, prompt included, as in Casey, Lu and Zuo (2024); `kl_response` is
        the mean over the response alone.
        """
        response = slice(self.response_start, None)
        return {
            "kl": _mean(self.kl),
            "kl_response": _mean(self.kl[response]),
            "reverse_kl": _mean(self.reverse_kl),
            "nll_teacher": _mean(self.nll_teacher[response]),
            "nll_student": _mean(self.nll_student[response]),
            "entropy_teacher": _mean(self.entropy_teacher),
            "disagreement": _mean(self.disagree),
        }


def _mean(values: Floats) -> float:
    return float(values.mean(dtype=np.float64))


def score_samples(
    teacher: PreTrainedModel | Head,
    student: PreTrainedModel,
    samples: Sequence[TokenSample],
    *,
    vocab_size: int,
    token_budget: int,
    tile: int,
    top_k: int = 0,
    cache: HiddenCache | None = None,
    cache_key: str = "",
    tick: Callable[[int, int], None] | None = None,
) -> list[SampleScores]:
    """Score every sample; the results stand in the order of `samples`.

    `vocab_size` is the tokenizer's length: both heads are cut to it. A batch holds at most `token_budget` padded
    tokens; out of memory halves the budget and goes on. With a `cache`, the teacher's hidden states are taken from
    under `cache_key`, or stored there while the limit allows; `cache_key` must change with the teacher. Where they are
    cached the teacher's body is not run, and its `Head` alone may be given. `tick(done, total)` is told the scored
    tokens after every batch and may raise to stop.

    Raises WinnowError where a sample cannot be scored (naming its row), where one row alone does not fit into memory,
    and where a `Head` is given without cached states.
    """
    _check(samples, vocab_size)
    head_s = head_of(student)
    head_t = teacher if isinstance(teacher, Head) else head_of(teacher)
    for name, head in (("teacher", head_t), ("student", head_s)):
        if vocab_size > len(head.weight):
            raise WinnowError(
                f"The tokenizer has {vocab_size:,} tokens and the {name} predicts only {len(head.weight):,}; "
                "choose a tokenizer and models that belong together."
            )
    states = _TeacherStates(teacher, head_t, samples, cache, cache_key)
    device = device_of(student)

    def score_batch(members: list[int]) -> Columns:
        batch = collate([samples[i] for i in members], device)
        with torch.inference_mode():
            hidden_t, hidden_s = states.of(members, batch), final_hidden(student, batch)
            columns = token_scores(
                hidden_t, hidden_s, head_t, head_s, batch.labels, vocab_size=vocab_size, tile=tile, top_k=top_k
            )
            return [_numpy(column) for column in columns]

    lengths = [len(sample.input_ids) for sample in samples]
    results: dict[int, SampleScores] = {}
    done, total = 0, sum(lengths)
    waiting = plan_batches(lengths, token_budget)
    while waiting:
        members = waiting[0]
        columns = _unless_out_of_memory(score_batch, members)
        if columns is None:
            waiting = _smaller(waiting, samples, lengths)
            continue
        stop = 0
        for i in members:
            start, stop = stop, stop + lengths[i]
            rows = (column[start:stop] for column in columns)
            results[i] = SampleScores(samples[i].row, samples[i].response_start, *rows)
        del waiting[0]
        done += stop
        if tick is not None:
            tick(done, total)
    states.store()
    return [results[i] for i in range(len(samples))]


def _check(samples: Sequence[TokenSample], vocab_size: int) -> None:
    for sample in samples:
        length = len(sample.input_ids)
        if length == 0 or len(sample.labels) != length or not 0 <= sample.response_start < length:
            raise WinnowError(
                f"Row {sample.row} has {length} tokens, {len(sample.labels)} labels and its response starts at "
                f"{sample.response_start}, so it has nothing to score; drop it."
            )
        largest = max(int(sample.input_ids.max()), int(sample.labels.max()))
        if largest >= vocab_size or min(int(sample.input_ids.min()), int(sample.labels.min())) < 0:
            raise WinnowError(
                f"Row {sample.row} holds a token outside the vocabulary of {vocab_size:,} (largest id {largest:,}); "
                "tokenise it with the tokenizer of these models."
            )


def _numpy(column: Tensor) -> NDArray[Any]:
    kind = torch.float32 if column.is_floating_point() else torch.int32
    return column.to("cpu", kind).numpy()


def _unless_out_of_memory(work: Callable[[list[int]], Columns], members: list[int]) -> Columns | None:
    """`work(members)`, or None where it ran out of memory; all it had made is free again on return."""
    try:
        return work(members)
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError, as is the CPU allocator's
        typed = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not typed and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return None


def _smaller(waiting: list[list[int]], samples: Sequence[TokenSample], lengths: list[int]) -> list[list[int]]:
    """Batches of half the tokens of the one that did not fit. Raises WinnowError where that was a single row."""
    members = waiting[0]
    longest = max(lengths[i] for i in members)
    if len(members) == 1:
        raise WinnowError(
            f"Row {samples[members[0]].row} ({longest:,} tokens) does not fit into memory even alone; "
            "lower models.max_length, or choose smaller models."
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    budget = longest * len(members) // 2
    log.warning(
        "out of memory with %d samples of up to %d tokens; going on with %d tokens", len(members), longest, budget
    )
    left = [i for batch in waiting for i in batch]
    return [[left[j] for j in batch] for batch in plan_batches([lengths[i] for i in left], budget)]


class _TeacherStates:
    """The teacher's final hidden states: from the cache, or from its body, then kept for the cache."""

    def __init__(
        self,
        teacher: PreTrainedModel | Head,
        head: Head,
        samples: Sequence[TokenSample],
        cache: HiddenCache | None,
        key: str,
    ) -> None:
        self.cache, self.key = cache, key
        self.starts = np.cumsum([0, *(len(sample.input_ids) for sample in samples)]).tolist()
        self.stamp = _stamp(samples, head)
        self.known = cache.get(key, self.stamp) if cache else None
        self.body = None if isinstance(teacher, Head) else teacher
        if self.known is None and self.body is None:
            raise WinnowError(
                f"The hidden states of the teacher are not cached under {key!r}; load the teacher and score again."
            )
        self.kept: Tensor | None = None
        shape = (self.starts[-1], head.weight.shape[1])
        if cache and self.known is None and cache.room_for(key, cache.estimate(*shape, head.weight.dtype)):
            self.kept = torch.empty(shape, dtype=head.weight.dtype)

    def of(self, members: list[int], batch: Batch) -> Tensor:
        """(T, width) states of a batch made of the samples at `members`."""
        places = [slice(self.starts[i], self.starts[i + 1]) for i in members]
        if self.known is not None:
            return torch.cat([self.known[place] for place in places]).to(batch.labels.device)
        assert self.body is not None
        hidden = final_hidden(self.body, batch)
        if self.kept is not None:
            for place, rows in zip(places, hidden.cpu().split(batch.lengths), strict=True):
                self.kept[place] = rows
        return hidden

    def store(self) -> None:
        if self.cache and self.kept is not None and not self.cache.put(self.key, self.kept, self.stamp):
            log.warning("the cache of hidden states is full; %s is made again in the next epoch", self.key)


def _stamp(samples: Sequence[TokenSample], head: Head) -> str:
    """What cached states were made from: every token, in order, and the width and dtype of the teacher."""
    total = hashlib.sha256(f"{tuple(head.weight.shape)} {head.weight.dtype}".encode())
    for sample in samples:
        ids = np.asarray(sample.input_ids, dtype=np.int64)
        total.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return total.hexdigest()
