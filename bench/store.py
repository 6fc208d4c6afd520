"""What the store takes for a million scored samples with text, beside pandas on the same data.

    python -m bench.store [--samples 1000000] [--repeats 15]

pandas holds everything in one frame in memory. Each query is run on both in the fastest way we know for each, and
the results are compared before they are timed: a page of 50 carries its texts, a count its tokens, a histogram the
same bins between the same percentiles. pandas sorts at each page, since metric, filter and order change under it.

opened   the first query to a store just opened: the ranking and the texts come from the disk's cache
first    the first query of another metric, or another text to search for, in a store that is in use: the median
again    the same query once more, as when τ moves or a page is turned: the median
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.store_setup import RECIPE, TASKS, machine, sample_columns, score_columns, scored_samples, vocabulary
from engine.config.load import parse_recipe
from engine.config.rankings import METRICS
from engine.storage.ledger import Ledger
from engine.storage.parts import write_part
from engine.storage.store import Facet, SampleQuery, Scoring, Store
from engine.storage.workspace import Workspace

PAGE = 50
PART_ROWS = 50_000
RARE, COMMON = "zyzzyva", "quartzkq"  # in about 1 of 10,000 and 1 of 100 samples


@dataclass
class Data:
    frame: pd.DataFrame  # of pandas: row, instruction, input, response, task, length and one column per metric
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
        ingest(workspace, ledger)
        compare(workspace, data, options.repeats)
    finally:
        shutil.rmtree(folder)


def write_workspace(workspace: Workspace, ledger: Ledger, count: int) -> Data:
    """A finished run with synthetic words and numbers, in parts as an engine would have written them."""
    rng = np.random.default_rng(0)
    spans = {"instruction": (8, 16), "input": (0, 8), "response": (14, 32)}
    frame = scored_samples(rng, vocabulary(rng), 0, count, spans)
    for word, share in ((RARE, 1e-4), (COMMON, 1e-2)):
        marked = rng.random(count) < share
        frame.loc[marked, "response"] = frame.loc[marked, "response"] + f" {word.capitalize()}"
    run = ledger.submit(parse_recipe(RECIPE))
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


def describe(data: Data) -> None:
    characters = sum(int(data.frame[name].str.len().sum()) for name in ("instruction", "input", "response"))
    print(machine())
    print(f"{len(data.frame):,} samples of {characters / len(data.frame):.0f} characters, {len(METRICS)} metrics")


def ingest(workspace: Workspace, ledger: Ledger) -> None:
    with closing(Store(workspace)) as store:
        started = time.perf_counter()
        parts = store.sync(ledger)
        seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in workspace.store.iterdir())
    on_disk = sum(file.stat().st_size for file in workspace.parts.rglob("*.parquet"))
    print(f"ingesting {parts} parts ({on_disk / 1e6:.0f} MB): {seconds:.1f} s; the store is {size / 1e6:.0f} MB\n")


@dataclass(frozen=True)
class Query:
    """One query, run for a metric (every metric has other numbers) and in its `number`-th variant."""

    name: str
    ours: Callable[[Store, Scoring, int], Any]
    theirs: Callable[[str, int], Any]
    same: Callable[[Any, Any, str], bool]


def queries(frame: pd.DataFrame) -> list[Query]:
    tau, middle = 0.5, len(frame) // 2

    def count(metric: str, _: int) -> tuple[int, int]:
        kept = frame[metric].to_numpy() > tau
        return int(kept.sum()), int(frame["length"].to_numpy()[kept].sum())

    def histogram(metric: str, _: int) -> np.ndarray:
        values = frame[metric].to_numpy(dtype=np.float64)
        return np.histogram(values, bins=80, range=tuple(np.quantile(values, [0.005, 0.995])))[0]

    def page_at(metric: str, offset: int) -> pd.DataFrame:
        return frame.loc[frame[metric].sort_values(ascending=False).index[offset : offset + PAGE]]

    def far(number: int) -> int:
        return middle + number * len(frame) // 10

    def search(word: str, metric: str) -> pd.DataFrame:
        texts = (frame[name] for name in ("instruction", "input", "response"))
        found = [text.str.contains(word, case=False, regex=False) for text in texts]
        return frame[found[0] | found[1] | found[2]].nlargest(PAGE, metric)

    def same_page(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str) -> bool:
        """The same values, and if no two are equal the same texts."""
        distinct = theirs[metric].is_unique
        return ours["value"].tolist() == theirs[metric].astype(np.float64).tolist() and (
            not distinct or ours["response"].tolist() == theirs["response"].tolist()
        )

    def searching(name: str, words: list[str]) -> Query:
        return Query(
            name,
            lambda store, scoring, n: store.page(SampleQuery(scoring, search=words[n]), 0, PAGE),
            lambda metric, n: search(words[n], metric),
            same_page,
        )

    return [
        Query(
            "count and tokens above tau",
            lambda store, scoring, _: store.kept_counts(scoring, [tau])[0],
            count,
            lambda ours, theirs, _: (ours.samples, ours.tokens) == theirs,
        ),
        Query(
            "histogram, 80 bins",
            lambda store, scoring, _: store.histogram(scoring).counts,
            histogram,
            lambda ours, theirs, _: bool(np.array_equal(ours, theirs)),
        ),
        Query(
            "first page of 50",
            lambda store, scoring, _: store.page(SampleQuery(scoring), 0, PAGE),
            lambda metric, _: frame.nlargest(PAGE, metric),
            same_page,
        ),
        Query(
            f"page of 50 at {middle:,}",
            lambda store, scoring, _: store.page(SampleQuery(scoring), middle, PAGE),
            lambda metric, _: page_at(metric, middle),
            same_page,
        ),
        Query(
            "turning to a page, same ranking",
            lambda store, scoring, n: store.page(SampleQuery(replace(scoring, metric="kl")), far(n), PAGE),
            lambda _, n: page_at("kl", far(n)),
            lambda ours, theirs, _: same_page(ours, theirs, "kl"),
        ),
        Query(
            "first page of one task",
            lambda store, scoring, n: store.page(SampleQuery(scoring, facets=(Facet("task", TASKS[n]),)), 0, PAGE),
            lambda metric, n: frame[frame["task"] == TASKS[n]].nlargest(PAGE, metric),
            same_page,
        ),
        searching("text in 1 of 10,000: first page", [RARE[n:] for n in range(4)]),
        searching("text in 1 of 100: first page", [COMMON[n:] for n in range(4)]),
    ]


def compare(workspace: Workspace, data: Data, repeats: int) -> None:
    columns = ("opened", "first", "again", "pandas", "pandas/first", "pandas/again")
    print(f"{'milliseconds':34}" + "".join(f"{column:>13}" for column in columns))
    for query in queries(data.frame):
        with closing(Store(workspace)) as store:
            scorings = [store.scoring(data.run, 0, 1, metric) for metric in METRICS]
            variants = list(enumerate(scorings[:4]))
            times = [timed(partial(query.ours, store, scoring, n)) for n, scoring in variants]
            for n, scoring in variants:
                ours, theirs = query.ours(store, scoring, n), query.theirs(scoring.metric, n)
                if not query.same(ours, theirs, scoring.metric):
                    raise SystemExit(f"{query.name}: the store and pandas disagree about {scoring.metric}")
            opened, first = times[0], statistics.median(times[1:])
            again = statistics.median(timed(partial(query.ours, store, scorings[0], 0)) for _ in range(repeats))
            metric = scorings[0].metric
            pandas = statistics.median(timed(partial(query.theirs, metric, 0)) for _ in range(max(3, repeats // 3)))
        print(
            f"{query.name:34}{opened:13.1f}{first:13.1f}{again:13.3f}{pandas:13.1f}"
            f"{pandas / first:12.1f}x{pandas / again:12.0f}x"
        )


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
