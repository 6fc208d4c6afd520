"""Scoring training samples piece by piece: scores, token scores if the pages show them, the teacher's states once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from engine.common.hashing import digest
from engine.config.pruning import ScoringSettings
from engine.config.rankings import METRICS
from engine.data.samples import EncodedSample
from engine.data.token_text import TokenText
from engine.data.tokenizers import vocabulary_size
from engine.scoring.hidden import HiddenCache
from engine.scoring.score import SampleScores, score_samples
from engine.scoring.scored_model import ScoredModel, scored_model
from engine.scoring.teacher_logits import TeacherLogits, cached_states
from engine.scoring.training_pass import TrainingPassScores
from engine.storage.parts import Part, read_column, read_seconds
from engine.studies.job import Job, Tick
from engine.studies.pruning.prepare import Models
from engine.studies.work_units import Range, split

BASE = "base"  # the arm of the scores before any training, which every arm and seed shares
TOP_TOKENS = 5


@dataclass(frozen=True)
class Scored:
    """The scores of one epoch in the order of the samples, and all seconds they took, before a resume as well."""

    values: dict[str, NDArray[np.float32]]
    seconds: float


class Epoch(NamedTuple):
    """Which scores: of an arm and seed, before an epoch. `detail` also records those of every token, for pages."""

    arm: str
    seed: int
    epoch: int
    detail: bool

    def part(self, piece: Range) -> str:
        """The name of the parts that hold one piece."""
        arm = BASE if self.arm == BASE else f"{self.arm}-s{self.seed}"
        return f"{arm}-e{self.epoch:03d}-{piece.index:05d}"

    @property
    def tables(self) -> list[str]:
        """The tables that these scores are recorded in. The teacher stays as it is, and so do its states."""
        extra = {"token_scores": self.detail, "states": self.arm == BASE}
        return ["scores", *(table for table, recorded in extra.items() if recorded)]


FIRST = Epoch(BASE, -1, 1, detail=True)


class Scorer:
    """Scores samples, epoch after epoch, against one frozen teacher, whose hidden states are cached."""

    def __init__(self, job: Job, models: Models, settings: ScoringSettings, dataset: str) -> None:
        self.job = job
        self.models = models
        self.settings = settings
        self._text = TokenText(models.tokenizer)
        self._vocabulary = vocabulary_size(models.tokenizer)
        self._dataset = dataset
        self._cache: HiddenCache | None = None

    def ranges(self, samples: Sequence[EncodedSample]) -> list[Range]:
        """The samples in pieces, each of which ends in parts of its own."""
        return split(len(samples), self.settings.shard_rows)

    def score(
        self, student: PreTrainedModel, samples: Sequence[EncodedSample], message: str, flops: float, epoch: Epoch
    ) -> Scored:
        """Score all samples with this student; pieces finished before the run was resumed are read back."""
        total = tokens_of(samples)
        with self.job.phase(message, flops) as tick:
            before = 0
            for piece in self.ranges(samples):
                own = samples[piece.start : piece.stop]
                if not self.has(piece, epoch):
                    self.score_piece(student, piece, own, epoch, partial(_tick_after, tick, before, total))
                before += tokens_of(own)
        return self.read(samples, epoch)

    def finished(self, samples: Sequence[EncodedSample], epoch: Epoch) -> bool:
        """Whether every part of an epoch's scores is there."""
        return all(self.has(piece, epoch) for piece in self.ranges(samples))

    def has(self, piece: Range, epoch: Epoch) -> bool:
        """Whether the parts of one piece are there."""
        return all(self.job.has(table, epoch.part(piece)) for table in epoch.tables)

    def score_piece(
        self, student: PreTrainedModel, piece: Range, samples: Sequence[EncodedSample], epoch: Epoch, tick: Tick
    ) -> None:
        """Score the samples of one piece and record its parts."""
        started = time.perf_counter()
        results = score_samples(
            self.models.teacher(self.job).model,
            student,
            samples,
            vocab_size=self._vocabulary,
            token_budget=self.settings.token_budget,
            tile=self.settings.tile,
            top_k=TOP_TOKENS if epoch.detail else 0,
            with_states="states" in epoch.tables,
            cache=self._hidden_cache(),
            cache_key=cache_key(piece),
            tick=tick,
        )
        seconds = time.perf_counter() - started
        name = epoch.part(piece)
        rows = [sample.row for sample in samples]
        parts = [self.job.write("scores", name, score_columns(rows, metrics_of(results), epoch), seconds=seconds)]
        if "token_scores" in epoch.tables:
            parts.append(self.job.write("token_scores", name, self._token_rows(results, samples, epoch.epoch)))
        if "states" in epoch.tables:
            columns = {"row": [result.row for result in results], "state": [result.state for result in results]}
            parts.append(self.job.write("states", name, columns))
        self.job.record(parts)
        self.warn_of_nan(results)

    def score_some(
        self, student: PreTrainedModel, samples: Sequence[EncodedSample], chosen: NDArray[np.bool_], tick: Tick
    ) -> list[SampleScores]:
        """The scores of the chosen samples alone, in their order; nothing is recorded."""
        results: list[SampleScores] = []
        before, total = 0, int(sum(sample.length for sample, one in zip(samples, chosen, strict=True) if one))
        for piece in self.ranges(samples):
            scored = score_samples(
                self.models.teacher(self.job).model,
                student,
                samples[piece.start : piece.stop],
                vocab_size=self._vocabulary,
                token_budget=self.settings.token_budget,
                tile=self.settings.tile,
                only=np.flatnonzero(chosen[piece.start : piece.stop]).tolist(),
                cache=self._hidden_cache(),
                cache_key=cache_key(piece),
                tick=partial(_tick_after, tick, before, total),
            )
            before += sum(len(result.kl) for result in scored)
            results += scored
        return results

    def training_pass(self, student: PreTrainedModel, samples: Sequence[EncodedSample]) -> TrainingPassScores:
        """What scores the samples that a student trains on, from the states of its training pass."""
        started = time.perf_counter()
        teacher, states = self._teacher(samples)
        read = scored_model(student, samples, self._vocabulary)
        scores = TrainingPassScores(
            read, teacher, samples, states, vocab_size=self._vocabulary, tile=self.settings.tile
        )
        scores.seconds = time.perf_counter() - started
        return scores

    def write(self, samples: Sequence[EncodedSample], scored: Scored, epoch: Epoch) -> list[Part]:
        """The `scores` parts of an epoch, to be recorded; each has its share of the seconds."""
        return [
            self.job.write(
                "scores",
                epoch.part(piece),
                score_columns(
                    [sample.row for sample in samples[piece.start : piece.stop]],
                    {metric: values[piece.start : piece.stop] for metric, values in scored.values.items()},
                    epoch,
                ),
                seconds=scored.seconds * (piece.stop - piece.start) / len(samples),
            )
            for piece in self.ranges(samples)
        ]

    def warn_of_nan(self, results: Iterable[SampleScores]) -> None:
        """Name the rows of samples without a score in the log."""
        for result in results:
            if not np.isfinite(result.kl).all():
                self.job.log.warning("row %d has no score: a model gave NaN or Inf for it", result.row)

    def teacher_logits(self, samples: Sequence[EncodedSample]) -> TeacherLogits:
        """Of the frozen teacher, for batches of these samples: from the states that are cached, else by its pass."""
        teacher, states = self._teacher(samples)
        return TeacherLogits(teacher, self._vocabulary, [sample.row for sample in samples], states)

    def _teacher(self, samples: Sequence[EncodedSample]) -> tuple[ScoredModel, list[Tensor | None]]:
        """The teacher, and its cached states of each sample, or None."""
        teacher = scored_model(self.models.teacher(self.job).model, samples, self._vocabulary)
        states = [
            state
            for piece in self.ranges(samples)
            for state in cached_states(
                self._hidden_cache(), cache_key(piece), samples[piece.start : piece.stop], teacher
            )
        ]
        return teacher, states

    def _hidden_cache(self) -> HiddenCache:
        if self._cache is None:
            teacher = self.models.teacher(self.job)
            key = digest([teacher.hash, self._dataset, self.settings.shard_rows, str(self.models.dtype)])
            self._cache = HiddenCache(self.job.workspace.hidden / key, int(self.settings.hidden_cache_gb * 1e9))
            width = teacher.model.config.get_text_config().hidden_size
            self.job.log.info(
                "the teacher's hidden states take %.1f MB for a million tokens (limit %.1f MB)",
                HiddenCache.estimate(1_000_000, width, self.models.dtype) / 1e6,
                self.settings.hidden_cache_gb * 1e3,
            )
        return self._cache

    @property
    def cache_bytes(self) -> int:
        """Bytes of cached hidden states on disk."""
        return self._hidden_cache().bytes

    def _token_rows(
        self, results: Sequence[SampleScores], samples: Sequence[EncodedSample], epoch: int
    ) -> list[dict[str, Any]]:
        return [
            token_row(self._text, sample, result) | {"epoch": epoch}
            for sample, result in zip(samples, results, strict=True)
        ]

    def read(self, samples: Sequence[EncodedSample], epoch: Epoch) -> Scored:
        """Read the scores of an epoch back from its parts, in the order of the samples.

        A part of an earlier version has fewer metrics; those that every part has are returned.
        """
        values: dict[str, list[NDArray[np.float32]]] = {metric: [] for metric in METRICS}
        seconds = 0.0
        for piece in self.ranges(samples):
            path = self.job.part_path("scores", epoch.part(piece))
            names = read_column(path, "metric")[:: piece.stop - piece.start]
            for metric, row in zip(names, read_column(path, "value").reshape(len(names), -1), strict=True):
                values[metric].append(row)
            seconds += read_seconds(path)
        whole = {metric: parts for metric, parts in values.items() if len(parts) == len(self.ranges(samples))}
        return Scored({metric: np.concatenate(parts) for metric, parts in whole.items()}, seconds)

    def read_states(self, samples: Sequence[EncodedSample]) -> NDArray[np.float32]:
        """The teacher's projected mean states over the responses, in the order of the samples: (n, 64)."""
        paths = [self.job.part_path("states", FIRST.part(piece)) for piece in self.ranges(samples)]
        return np.concatenate([read_column(path, "state") for path in paths])


def cache_key(piece: Range) -> str:
    """Where the teacher's hidden states of a piece are in the cache."""
    return f"shard-{piece.index:05d}"


def tokens_of(samples: Iterable[EncodedSample]) -> int:
    """Tokens of prompts and responses together."""
    return sum(len(sample.input_ids) for sample in samples)


def _tick_after(tick: Tick, before: int, total: int, done: int, _of_piece: int) -> None:
    tick(before + done, total)


def unscored_rows(samples: Sequence[EncodedSample], scored: Scored) -> list[int]:
    """Rows for which a model gave NaN or Inf."""
    return [s.row for s, value in zip(samples, scored.values["kl"], strict=True) if not np.isfinite(value)]


def metrics_of(results: Iterable[SampleScores]) -> dict[str, NDArray[np.float32]]:
    """Every metric of these samples, in their order."""
    found = [result.metrics() for result in results]
    return {metric: np.array([values[metric] for values in found], dtype=np.float32) for metric in METRICS}


def score_columns(rows: Sequence[int], values: Mapping[str, NDArray[np.float32]], epoch: Epoch) -> dict[str, Any]:
    """The scores table of some samples: metric by metric, in the order of `values` and of the samples."""
    count = len(rows) * len(values)
    return {
        "arm": [epoch.arm] * count,
        "seed": [epoch.seed] * count,
        "epoch": [epoch.epoch] * count,
        "row": np.tile(np.array(rows, dtype=np.int32), len(values)),
        "metric": np.repeat(list(values), len(rows)),
        "value": np.concatenate(list(values.values())),
    }


def token_row(text: TokenText, sample: EncodedSample, result: SampleScores) -> dict[str, Any]:
    """One row of the token_scores table, without its run and epoch."""

    def texts(ids: NDArray[np.integer]) -> list[list[str]]:
        return [[text[int(i)] for i in row] for row in ids]

    return {
        "row": sample.row,
        "tokens": text.of(sample.input_ids),
        "response": sample.response.tolist(),
        "kl": result.kl.tolist(),
        "teacher_tokens": texts(result.teacher_ids),
        "teacher_probs": result.teacher_probs.tolist(),
        "student_tokens": texts(result.student_ids),
        "student_probs": result.student_probs.tolist(),
        "turns": [{"speaker": speaker, "first": first} for speaker, first in sample.turns] or None,
    }
