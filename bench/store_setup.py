"""Input of the benchmarks of the store: synthetic texts and scores, and the columns of parts made of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from engine.config.rankings import METRICS

TASKS = ["arithmetic", "rewrite", "sort", "opposite"]
RECIPE = {"kind": "score", "data": {"source": "bench"}, "models": {"teacher": "a/teacher", "student": "a/student"}}


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, "
        f"load {os.getloadavg()[0]:.1f}; duckdb {duckdb.__version__}, pyarrow {pa.__version__}, pandas {pd.__version__}"
    )


def vocabulary(rng: np.random.Generator) -> np.ndarray:
    return np.array(["".join(rng.choice(list("abcdefghilmnoprstu"), rng.integers(2, 10))) for _ in range(5000)])


def texts(rng: np.random.Generator, words: np.ndarray, count: int, low: int, high: int) -> pa.Array:
    """`count` texts of low to high words, a few words being much more frequent than the others."""
    lengths = rng.integers(low, high, count)
    index = (rng.zipf(1.3, lengths.sum()) - 1) % len(words)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    picked = pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(words)).cast(pa.string())
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), picked), " ")


def scored_samples(
    rng: np.random.Generator, words: np.ndarray, start: int, count: int, spans: Mapping[str, tuple[int, int]]
) -> pd.DataFrame:
    """Samples `start` to `start + count`: row, texts of as many words as `spans` gives, task, length, every metric."""
    frame = pd.DataFrame({"row": np.arange(start, start + count, dtype=np.int32)})
    for name, (low, high) in spans.items():
        frame[name] = texts(rng, words, count, low, high).to_pandas()
    frame["task"] = rng.choice(TASKS, count)
    frame["length"] = (frame["instruction"].str.len() + frame["response"].str.len()).astype(np.int32) // 4
    for metric in METRICS:
        frame[metric] = rng.gamma(0.8, 1.0, count).astype(np.float32)
    return frame


def sample_columns(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "dataset": pa.repeat("bench", len(frame)),
        "row": frame["row"],
        "content_id": [f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}" for row in frame["row"].tolist()],
        "split": pa.repeat("train", len(frame)),
        "instruction": frame["instruction"],
        "input": frame["input"],
        "response": frame["response"],
        "fields": [[("task", task)] for task in frame["task"]],
        "length": frame["length"],
        "response_length": frame["length"] // 2,
        "truncated": pa.repeat(False, len(frame)),
        "image": pa.nulls(len(frame)),
        "label": pa.nulls(len(frame)),
    }


def score_columns(frame: pd.DataFrame) -> dict[str, Any]:
    count = len(frame) * len(METRICS)
    return {
        "arm": pa.repeat("base", count),
        "seed": np.full(count, -1, dtype=np.int32),
        "epoch": np.ones(count, dtype=np.int32),
        "row": np.tile(frame["row"], len(METRICS)),
        "metric": np.repeat(list(METRICS), len(frame)),
        "value": np.concatenate([frame[metric] for metric in METRICS]),
    }
