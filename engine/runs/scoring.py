"""Scoring every training sample once, shard by shard: scores, and token scores where the pages show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.samples import TokenSample
from engine.recipes import METRICS, ScoringSettings, digest
from engine.runs.job import Job
from engine.runs.prepare import Models
from engine.scoring.hidden import HiddenCache
from engine.scoring.score import SampleScores, score_samples
from engine.shards import Shard, do, split
from engine.tables import part_path, read_column, read_seconds

BASE = "base"  # the arm of the scores before any training, which every arm and seed shares
TOP_TOKENS = 5


@dataclass(frozen=True)
class Scored:
    """The scores of one epoch in the order of the samples, and the seconds they took over all lives of the run."""

    values: dict[str, NDArray[np.float32]]
    seconds: float


class Scorer:
    """Scores the same samples again and again against one frozen teacher, whose hidden states are cached."""

    def __init__(
        self, job: Job, models: Models, samples: Sequence[TokenSample], settings: ScoringSettings, dataset: str
    ) -> None:
        self.job = job
        self.models = models
        self.samples = samples
        self.settings = settings
        self.tokens = sum(len(sample.input_ids) for sample in samples)
        self.shards = split(len(samples), settings.shard_rows)
        self._words = TokenText(models.tokenizer)
        self._dataset = dataset
        self._cache: HiddenCache | None = None

    def score(
        self, student: PreTrainedModel, words: str, work: float, *, arm: str, seed: int, epoch: int, detail: bool
    ) -> Scored:
        """Score all samples with this student; shards an earlier life finished are read back, not done again.

        `detail` also keeps the scores of every token, for the sample on screen.
        """
        prefix = _prefix(arm, seed, epoch)
        with self.job.phase(words, work) as tick:

            def finished(shard: Shard) -> bool:
                return self._has(prefix, shard, detail)

            def one(shard: Shard) -> None:
                self._shard(student, shard, prefix, arm, seed, epoch, detail, tick)

            do(self.shards, finished, one)
        return self._read(prefix)

    def finished(self, arm: str, seed: int, epoch: int, detail: bool) -> bool:
        """Whether every part of an epoch's scores is there."""
        return all(self._has(_prefix(arm, seed, epoch), shard, detail) for shard in self.shards)

    def _has(self, prefix: str, shard: Shard, detail: bool) -> bool:
        tables = ("scores", "token_scores") if detail else ("scores",)
        return all(self.job.has(table, f"{prefix}-{shard.index:05d}") for table in tables)

    def _shard(
        self,
        student: PreTrainedModel,
        shard: Shard,
        prefix: str,
        arm: str,
        seed: int,
        epoch: int,
        detail: bool,
        tick: Callable[[int, int], None],
    ) -> None:
        samples = self.samples[shard.start : shard.stop]
        before = sum(len(sample.input_ids) for sample in self.samples[: shard.start])
        started = time.perf_counter()
        results = score_samples(
            self.models.teacher().model,
            student,
            samples,
            vocab_size=len(self.models.tokenizer),
            token_budget=self.settings.token_budget,
            tile=self.settings.tile,
            top_k=TOP_TOKENS if detail else 0,
            cache=self._hidden_cache(),
            cache_key=f"shard-{shard.index:05d}",
            tick=lambda done, _total: tick(before + done, self.tokens),
        )
        seconds = time.perf_counter() - started
        name = f"{prefix}-{shard.index:05d}"
        parts = [self.job.write("scores", name, _score_columns(results, arm, seed, epoch), seconds=seconds)]
        if detail:
            parts.append(self.job.write("token_scores", name, self._token_rows(results, samples, epoch)))
        self.job.record(parts)
        for sample, result in zip(samples, results, strict=True):
            if not np.isfinite(result.kl).all():
                self.job.log.warning("row %d has no score: a model gave NaN or Inf for it", sample.row)

    def _hidden_cache(self) -> HiddenCache:
        if self._cache is None:
            teacher = self.models.teacher()
            key = digest([teacher.hash, self._dataset, self.settings.shard_rows, str(self.models.dtype)])
            self._cache = HiddenCache(self.job.workspace.hidden / key, int(self.settings.hidden_cache_gb * 1e9))
            width = teacher.model.config.get_text_config().hidden_size
            self.job.log.info(
                "the teacher's hidden states take about %.1f MB (limit %.1f MB)",
                HiddenCache.estimate(self.tokens, width, self.models.dtype) / 1e6,
                self.settings.hidden_cache_gb * 1e3,
            )
        return self._cache

    @property
    def cache_bytes(self) -> int:
        """Bytes of cached hidden states on disk."""
        return self._hidden_cache().bytes

    def _token_rows(
        self, results: Sequence[SampleScores], samples: Sequence[TokenSample], epoch: int
    ) -> list[dict[str, Any]]:
        return [
            token_row(self._words, sample, result) | {"epoch": epoch}
            for sample, result in zip(samples, results, strict=True)
        ]

    def _read(self, prefix: str) -> Scored:
        """Read the scores of an epoch back from its parts, in the order of the samples."""
        values: dict[str, list[NDArray[np.float32]]] = {metric: [] for metric in METRICS}
        seconds = 0.0
        for shard in self.shards:
            path = part_path(self.job.workspace, self.job.run.id, "scores", f"{prefix}-{shard.index:05d}")
            column = read_column(path, "value").reshape(len(METRICS), -1)
            for metric, row in zip(METRICS, column, strict=True):
                values[metric].append(row)
            seconds += read_seconds(path)
        return Scored({metric: np.concatenate(parts) for metric, parts in values.items()}, seconds)


def _prefix(arm: str, seed: int, epoch: int) -> str:
    return f"{BASE}-e{epoch:03d}" if arm == BASE else f"{arm}-s{seed}-e{epoch:03d}"


def unscored_rows(samples: Sequence[TokenSample], scored: Scored) -> list[int]:
    """Rows for which a model gave NaN or Inf."""
    return [s.row for s, value in zip(samples, scored.values["kl"], strict=True) if not np.isfinite(value)]


def _score_columns(results: Sequence[SampleScores], arm: str, seed: int, epoch: int) -> dict[str, Any]:
    """The scores table of one shard: metric by metric, in the order of METRICS and of the samples."""
    rows = np.array([result.row for result in results], dtype=np.int32)
    metrics = [result.metrics() for result in results]
    count = len(rows) * len(METRICS)
    return {
        "arm": [arm] * count,
        "seed": [seed] * count,
        "epoch": [epoch] * count,
        "row": np.tile(rows, len(METRICS)),
        "metric": np.repeat(list(METRICS), len(rows)),
        "value": np.array([values[metric] for metric in METRICS for values in metrics], dtype=np.float32),
    }


class TokenText:
    """The text of single tokens, remembered; a token that is part of a character is shown in its raw form."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        if token not in self._known:
            text = str(self._tokenizer.decode([token]))
            if "\ufffd" in text or not text:
                text = str(self._tokenizer.convert_ids_to_tokens(token))
            self._known[token] = text
        return self._known[token]


def token_row(words: TokenText, sample: TokenSample, result: SampleScores) -> dict[str, Any]:
    """One row of the token_scores table, without its run and epoch."""

    def texts(ids: NDArray[np.integer]) -> list[list[str]]:
        return [[words[int(i)] for i in row] for row in ids]

    return {
        "row": sample.row,
        "tokens": [words[int(i)] for i in sample.input_ids],
        "response_start": sample.response_start,
        "kl": result.kl.tolist(),
        "teacher_tokens": texts(result.teacher_ids),
        "teacher_probs": result.teacher_probs.tolist(),
        "student_tokens": texts(result.student_ids),
        "student_probs": result.student_probs.tolist(),
    }
