"""What the store takes for a million scored samples with text, beside pandas on the same data.

    python -m bench.store [--samples 1000000] [--repeats 15]

pandas holds everything in one frame in memory. Each question is asked of both in the way each does it fastest
that we know of, and the answers are compared before they are timed: a page of 50 carries its texts in both, a count
its tokens, a histogram the same bins. pandas sorts at each page, since the metric, the filter and the order change
under it. "first" is the first time a ranking or a text is asked for, read from disk; "again" the median of the
repeats, as when a slider moves; the ratio is that of pandas to "again", and to "first".
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from engine.ledger import Ledger
from engine.recipes import METRICS, parse_recipe
from engine.store import Facet, SampleQuery, Store
from engine.tables import write_part
from engine.workspace import Workspace

PAGE = 50
PART_ROWS = 50_000
RARE, COMMON = "zyzzyva", "quartz"  # in about 1 of 10,000 and 1 of 100 samples


@dataclass
class Data:
    frame: (
        pd.DataFrame
    )  # what pandas works on: row, instruction, input, response, task, length and one column per metric
    run: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        workspace = Workspace(folder).create()
        ledger = Ledger(workspace)
        data = write_workspace(workspace, ledger, options.samples)
        describe(data)
        take_in(workspace, ledger)
        compare(workspace, data, options.repeats)
    finally:
        shutil.rmtree(folder)


def write_workspace(workspace: Workspace, ledger: Ledger, count: int) -> Data:
    """A finished run with synthetic words and numbers, in parts as an engine would have written them."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghilmnoprstu"), rng.integers(2, 10))) for _ in range(5000)])
    frame = pd.DataFrame({"row": np.arange(count, dtype=np.int32)})
    for name, low, high in (("instruction", 8, 16), ("input", 0, 8), ("response", 14, 32)):
        frame[name] = texts(rng, words, count, low, high).to_pandas()
    for word, share in ((RARE, 1e-4), (COMMON, 1e-2)):
        chosen = rng.random(count) < share
        frame.loc[chosen, "response"] = frame.loc[chosen, "response"] + f" {word.capitalize()}"
    frame["task"] = rng.choice(["arithmetic", "rewrite", "sort", "opposite"], count)
    frame["length"] = (frame["instruction"].str.len() + frame["response"].str.len()).astype(np.int32) // 4
    for metric in METRICS:
        frame[metric] = rng.gamma(0.8, 1.0, count).astype(np.float32)

    recipe = parse_recipe(
        {"kind": "score", "data": {"source": "bench"}, "models": {"teacher": "a/teacher", "student": "a/student"}}
    )
    run = ledger.submit(recipe)
    for start in range(0, count, PART_ROWS):
        part = frame.iloc[start : start + PART_ROWS]
        ledger.record_parts(
            [
                write_part(workspace, run, "samples", f"samples-{start:08d}", sample_columns(part)),
                write_part(workspace, run, "scores", f"base-e001-{start:08d}", score_columns(part)),
            ]
        )
    ledger.finish(run, "done")
    return Data(frame, run)


def texts(rng: np.random.Generator, words: np.ndarray, count: int, low: int, high: int) -> pa.Array:
    """`count` texts of low to high words, a few words being much more frequent than the others."""
    lengths = rng.integers(low, high, count)
    index = (rng.zipf(1.3, lengths.sum()) - 1) % len(words)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    chosen = pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(words)).cast(pa.string())
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), chosen), " ")


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


def describe(data: Data) -> None:
    characters = sum(int(data.frame[name].str.len().sum()) for name in ("instruction", "input", "response"))
    memory = psutil.virtual_memory().total / 2**30
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}; duckdb {duckdb.__version__}, pandas {pd.__version__}")
    print(f"{len(data.frame):,} samples of {characters / len(data.frame):.0f} characters, {len(METRICS)} metrics")


def take_in(workspace: Workspace, ledger: Ledger) -> None:
    with closing(Store(workspace)) as store:
        started = time.perf_counter()
        parts = store.sync(ledger)
        seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in workspace.store.iterdir())
    on_disk = sum(file.stat().st_size for file in workspace.parts.rglob("*.parquet"))
    print(f"taking in {parts} parts ({on_disk / 1e6:.0f} MB): {seconds:.1f} s; the store is {size / 1e6:.0f} MB\n")


@dataclass
class Question:
    name: str
    ours: Callable[[Store], Any]
    theirs: Callable[[], Any]
    same: Callable[[Any, Any], bool]


def questions(data: Data, scoring_of: Callable[[str], Any]) -> list[Question]:
    frame, kl = data.frame, scoring_of("kl")
    ranked, tau, middle = SampleQuery(kl), 0.5, len(data.frame) // 2
    low, high = np.quantile(frame["kl"].to_numpy(dtype=np.float64), [0.005, 0.995])

    def count() -> tuple[int, int]:
        kept = frame["kl"].to_numpy() > tau
        return int(kept.sum()), int(frame["length"].to_numpy()[kept].sum())

    def middle_page() -> pd.DataFrame:
        order = frame["kl"].sort_values(ascending=False).index[middle : middle + PAGE]
        return frame.loc[order, ["row", "instruction", "input", "response", "kl"]]

    def found(word: str) -> pd.Series:
        has = [frame[name].str.contains(word, case=False, regex=False) for name in ("instruction", "input", "response")]
        return has[0] | has[1] | has[2]

    def search(word: str) -> pd.DataFrame:
        return frame[found(word)].nlargest(PAGE, "kl")

    def facet() -> pd.DataFrame:
        return frame[frame["task"] == "sort"].nlargest(PAGE, "kl")

    def same_rows(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
        return (
            ours["row"].tolist() == theirs["row"].tolist() and ours["response"].tolist() == theirs["response"].tolist()
        )

    def same_values(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
        """The same page where equal values may stand in another order."""
        return bool(np.array_equal(ours["value"], theirs["kl"].astype(np.float64)))

    return [
        Question(
            "count and tokens above tau",
            lambda store: store.kept_counts(kl, [tau]),
            count,
            lambda ours, theirs: (ours[0].samples, ours[0].tokens) == theirs,
        ),
        Question(
            "histogram, 80 bins",
            lambda store: store.histogram(kl),
            lambda: np.histogram(frame["kl"].to_numpy(dtype=np.float64), bins=80, range=(low, high))[0],
            lambda ours, theirs: bool(np.array_equal(ours.counts, theirs)),
        ),
        Question(
            "first page of 50",
            lambda store: store.page(ranked, 0, PAGE),
            lambda: frame.nlargest(PAGE, "kl"),
            same_values,
        ),
        Question(f"page at {middle:,}", lambda store: store.page(ranked, middle, PAGE), middle_page, same_values),
        Question(
            "first page of one task",
            lambda store: store.page(SampleQuery(kl, facets=(Facet("task", "sort"),)), 0, PAGE),
            facet,
            same_values,
        ),
        *(
            Question(
                f"search, 1 of {rarity:,}: first page",
                lambda store, word=word: store.page(SampleQuery(kl, search=word), 0, PAGE),
                lambda word=word: search(word),
                same_rows,
            )
            for word, rarity in ((RARE, 10_000), (COMMON, 100))
        ),
    ]


def compare(workspace: Workspace, data: Data, repeats: int) -> None:
    print(f"{'milliseconds':38} {'first':>9} {'again':>9} {'pandas':>9} {'pandas/first':>13} {'pandas/again':>13}")
    for index in range(len(questions(data, lambda metric: metric))):
        # A store just opened, so that each question pays for what it needs.
        with closing(Store(workspace)) as store:
            question = questions(data, lambda metric, store=store: store.scoring(data.run, 0, 1, metric))[index]
            first = timed(lambda store=store, question=question: question.ours(store))
            if not question.same(question.ours(store), question.theirs()):
                raise SystemExit(f"{question.name}: the store and pandas do not agree")
            again = statistics.median(timed(lambda s=store, q=question: q.ours(s)) for _ in range(repeats))
            pandas = statistics.median(timed(question.theirs) for _ in range(max(3, repeats // 3)))
        print(
            f"{question.name:38} {first:9.2f} {again:9.3f} {pandas:9.2f} {pandas / first:12.1f}x {pandas / again:12.0f}x"
        )


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
