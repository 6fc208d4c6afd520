"""Scoring samples: batches through both models, all metrics of every position, and their means per sample."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.batching.batch import Batch, TokenSample, collate
from engine.batching.plans import plan_rounds
from engine.common.errors import WinnowError
from engine.common.memory import is_out_of_memory
from engine.scoring.hidden import HiddenCache, device_of, stamp_of
from engine.scoring.kl import TokenScores, token_scores
from engine.scoring.lm_head import LmHead, OwnLogits
from engine.scoring.response_states import projection, response_states
from engine.scoring.scored_model import ScoredModel, scored_model

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Columns = list[NDArray[Any]]

Item = TypeVar("Item")

# What a batch costs before its first token, in tokens: launching some thirty operations per layer, twice.
BATCH_COST = {"cpu": 64, "cuda": 4096}

LOGITS_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}  # of the logits of one model that is scored through them, per round


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Every score of one sample of N positions: arrays (N,), nats; ids and probabilities (N, k), most probable first.

    Positions with NaN or infinity in a model's logits are NaN in every float array.
    """

    row: int
    response: NDArray[np.bool_]  # (N,): whether the label belongs to a response
    kl: Floats  # forward KL(teacher || student)
    reverse_kl: Floats
    nll_teacher: Floats  # of the label
    nll_student: Floats
    entropy_teacher: Floats
    disagree: Floats  # 1 if the top tokens differ, else 0
    teacher_ids: Ids
    teacher_probs: Floats
    student_ids: Ids
    student_probs: Floats
    state: Floats | None = field(default=None, kw_only=True)  # (64,): the teacher's over the response, if asked for

    def metrics(self) -> dict[str, float]:
        """One number per metric, high = keep: nats per token, or a share; NaN if one position that it counts is NaN.

        `kl` is (1/N) sum_i KL_i over all positions, prompt included, as in Casey, Lu and Zuo (2024); `kl_response` is
        the mean over the response alone. `excess_loss` is the student's loss on the response minus the teacher's
        (reducible loss, Mindermann et al. 2022; it may be negative). `trusted_kl` is the mean over the response of
        p_t(label) · KL_i: noise that the teacher does not believe counts for little.
        """
        response = self.response
        return {
            "kl": _mean(self.kl),
            "kl_response": _mean(self.kl[response]),
            "reverse_kl": _mean(self.reverse_kl),
            "nll_teacher": _mean(self.nll_teacher[response]),
            "nll_student": _mean(self.nll_student[response]),
            "entropy_teacher": _mean(self.entropy_teacher),
            "disagreement": _mean(self.disagree),
            "excess_loss": _mean(self.nll_student[response]) - _mean(self.nll_teacher[response]),
            "trusted_kl": _mean((np.exp(-self.nll_teacher) * self.kl)[response]),
        }


def _mean(values: Floats) -> float:
    return float(values.mean(dtype=np.float64))


def score_samples(
    teacher: nn.Module | LmHead,
    student: nn.Module,
    samples: Sequence[TokenSample],
    *,
    vocab_size: int,
    token_budget: int,
    tile: int,
    top_k: int = 0,
    with_states: bool = False,
    only: Sequence[int] | None = None,
    cache: HiddenCache | None = None,
    cache_key: str = "",
    tick: Callable[[int, int], None] | None = None,
) -> list[SampleScores]:
    """Score every sample; returns the scores in the order of `samples`. With `only`, which places there, those alone
    are scored, in that order; then nothing is stored in the cache.

    A model is scored through its final hidden states and LM head if they give its own logits, else through those
    (`scored_model`), in batches whose logits stay below LOGITS_BYTES. `vocab_size` is the largest id of the tokenizer
    plus one: both heads are cut to it. At most `token_budget` tokens, padding counted, are in one batch; out of memory
    halves the budget. With a `cache`, the teacher's hidden states are read from `cache_key`, or stored there while the
    limit allows; `cache_key` must change with the teacher. If they are cached the teacher's body is not run, and its
    LmHead alone suffices as `teacher`. `tick(done, total)` is called with the scored tokens after every round and may
    raise to stop.

    `with_states` fills `SampleScores.state` with the mean of the teacher's hidden states (its logits, if it is scored
    through them) over the positions that predict the response, times `projection`; 64 times NaN if it is not finite.

    Raises WinnowError if a sample cannot be scored (naming its row), if one row alone does not fit into memory, if a
    model cannot be run or is not causal, if a head is smaller than `vocab_size`, and if `teacher` is an LmHead without
    cached states.
    """
    _check(samples, vocab_size)
    device = device_of(student)
    read_s = scored_model(student, samples, vocab_size)
    read_t = teacher if isinstance(teacher, LmHead) else scored_model(teacher, samples, vocab_size)
    head_t, head_s = read_t if isinstance(read_t, LmHead) else read_t.head, read_s.head
    for name, head in (("teacher", head_t), ("student", head_s)):
        if vocab_size > head.rows:
            raise WinnowError(
                f"The tokenizer has tokens up to id {vocab_size - 1:,} and the {name} predicts only {head.rows:,}; "
                "choose a tokenizer and models that belong together."
            )
        if isinstance(head, OwnLogits):
            token_budget = min(token_budget, max(LOGITS_BYTES[device.type] // (4 * head.rows), 1))
    states = _TeacherStates(read_t, samples, cache, cache_key, collect=only is None)
    width = head_t.weight.shape[1] if isinstance(head_t, LmHead) else vocab_size
    matrix = projection(width).to(device) if with_states else None

    def score_round(batches: list[list[int]]) -> tuple[Columns, Floats | None]:
        with torch.inference_mode():
            hidden_t, hidden_s, labels = [], [], []
            for members in batches:
                batch = collate([samples[i] for i in members], device)
                hidden_t.append(states.of(members, batch))
                hidden_s.append(read_s.states(batch))
                labels.append(batch.labels)
            read = torch.cat(hidden_t)
            means = None
            if matrix is not None:
                means = response_states(read[:, :width], [samples[i].response for i in _flat(batches)], matrix)
            columns = token_scores(
                read,
                torch.cat(hidden_s),
                head_t,
                head_s,
                torch.cat(labels),
                vocab_size=vocab_size,
                tile=tile,
                top_k=top_k,
            )
            return as_arrays(columns), None if means is None else _numpy(means)

    lengths = [len(sample.input_ids) for sample in samples]
    results: dict[int, SampleScores] = {}
    chosen = range(len(samples)) if only is None else only
    done, total = 0, sum(lengths[i] for i in chosen)
    pending = _rounds(chosen, lengths, token_budget, BATCH_COST[device.type])
    while pending:
        scored = _unless_out_of_memory(score_round, pending[0])
        if scored is None:
            pending = _smaller(pending, samples, lengths, BATCH_COST[device.type])
            continue
        columns, means = scored
        stop = 0
        for place, i in enumerate(_flat(pending.pop(0))):
            start, stop = stop, stop + lengths[i]
            rows = (column[start:stop] for column in columns)
            state = None if means is None else means[place]
            results[i] = SampleScores(samples[i].row, samples[i].response, *rows, state=state)
        done += stop
        if tick is not None:
            tick(done, total)
    states.store()
    return [results[i] for i in chosen]


def _rounds(chosen: Sequence[int], lengths: list[int], token_budget: int, batch_cost: int) -> list[list[list[int]]]:
    """`plan_rounds` of the samples at these places."""
    rounds = plan_rounds([lengths[i] for i in chosen], token_budget, batch_cost)
    return [[[chosen[j] for j in batch] for batch in batches] for batches in rounds]


def _check(samples: Sequence[TokenSample], vocab_size: int) -> None:
    for sample in samples:
        length = len(sample.input_ids)
        if length == 0 or len(sample.labels) != length or len(sample.response) != length or not sample.response.any():
            raise WinnowError(
                f"Row {sample.row} has {length} tokens and {len(sample.labels)} labels, "
                f"{int(sample.response.sum())} of them of a response, so it has nothing to score; drop it."
            )
        largest = max(int(sample.input_ids.max()), int(sample.labels.max()))
        if largest >= vocab_size or min(int(sample.input_ids.min()), int(sample.labels.min())) < 0:
            raise WinnowError(
                f"Row {sample.row} holds a token outside the vocabulary of {vocab_size:,} (largest id {largest:,}); "
                "tokenise it with the tokenizer of these models."
            )


def as_arrays(scores: TokenScores) -> Columns:
    """The columns on the CPU, numbers as float32 and ids as int32."""
    return [_numpy(column) for column in scores]


def _numpy(column: Tensor) -> NDArray[Any]:
    kind = torch.float32 if column.is_floating_point() else torch.int32
    return column.to("cpu", kind).numpy()


def _unless_out_of_memory(function: Callable[[list[list[int]]], Item], batches: list[list[int]]) -> Item | None:
    """`function(batches)`, or None if it ran out of memory; all that it had allocated is free again on return."""
    try:
        return function(batches)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _smaller(
    pending: list[list[list[int]]], samples: Sequence[TokenSample], lengths: list[int], batch_cost: int
) -> list[list[list[int]]]:
    """Rounds of half the tokens of the one that did not fit. Raises WinnowError if that was a single row."""
    failed = _flat(pending[0])
    if len(failed) == 1:
        raise WinnowError(
            f"Row {samples[failed[0]].row} ({lengths[failed[0]]:,} tokens) does not fit into memory even alone; "
            "lower models.max_length, or choose smaller models."
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    budget = sum(lengths[i] for i in failed) // 2
    log.warning("out of memory with %d tokens at once; going on with %d", sum(lengths[i] for i in failed), budget)
    return _rounds(_flat(_flat(pending)), lengths, budget, batch_cost)


def _flat(lists: Sequence[list[Item]]) -> list[Item]:
    return list(chain.from_iterable(lists))


class _TeacherStates:
    """What the teacher's head reads: from the cache, or from its body and then collected for the cache."""

    def __init__(
        self,
        teacher: ScoredModel | LmHead,
        samples: Sequence[TokenSample],
        cache: HiddenCache | None,
        key: str,
        *,
        collect: bool,
    ) -> None:
        self.key = key
        self.starts = np.cumsum([0, *(len(sample.input_ids) for sample in samples)]).tolist()
        self.body = None if isinstance(teacher, LmHead) else teacher
        self.cache: HiddenCache | None = None
        self.cached: Tensor | None = None
        self.collected: Tensor | None = None
        head = teacher if isinstance(teacher, LmHead) else teacher.head
        if cache is not None and isinstance(head, LmHead):  # logits are too large to be kept
            self.cache = cache
            self.stamp = stamp_of(samples, head)
            self.cached = cache.get(key, self.stamp)
            shape, dtype = (self.starts[-1], head.weight.shape[1]), head.weight.dtype
            if collect and self.cached is None and cache.fits(key, cache.estimate(*shape, dtype)):
                self.collected = torch.empty(shape, dtype=dtype)
        if self.cached is None and self.body is None:
            raise WinnowError(
                f"The hidden states of the teacher are not cached under {key!r}; load the teacher and score again."
            )

    def of(self, members: list[int], batch: Batch) -> Tensor:
        """States of a batch made of the samples at `members`: (T, d), or (T, V) logits."""
        slices = [slice(self.starts[i], self.starts[i + 1]) for i in members]
        if self.cached is not None:
            return torch.cat([self.cached[part] for part in slices]).to(batch.labels.device)
        assert self.body is not None
        hidden = self.body.states(batch)
        if self.collected is not None:
            for part, rows in zip(slices, hidden.cpu().split(batch.lengths), strict=True):
                self.collected[part] = rows
        return hidden

    def store(self) -> None:
        if self.cache is None or self.collected is None:
            return
        if not self.cache.put(self.key, self.collected, self.stamp):
            log.warning("the cache of hidden states is full; %s is computed again in the next epoch", self.key)
