"""What it takes to bring millions of scored samples with text from parts into the store.

    python -m bench.ingest [--samples 10000000] [--shard-rows 4096] [--folder FOLDER]

1,000,000 samples by default, as in `make bench`: that takes a minute or two and 2 GB of disk. 10,000,000
take a quarter of an hour and 12 GB, in a folder that is made for them (inside --folder) and deleted afterwards.

Samples are made, written and freed shard by shard: --shard-rows samples with their texts in one part, their scores
by every metric in another, both recorded in one transaction, as a run does it. Nothing ever holds all of them. Every
stage that reads them is a process of its own, and its memory is the most that was resident at any time, the 0.2 GB of
Python and its libraries among it.

count   DuckDB counts the rows of the same Parquet files; it reads no more than their last bytes
plain   DuckDB makes tables of the same files with CREATE TABLE AS SELECT * FROM read_parquet, in a file, with the
        store's threads and memory limit; no hash is compared, no duplicate looked for, no index made
sync    the empty store ingests all of it at once
again   `Store.sync` once more in the same process, and in a process that has just opened the store
first   the first page, count and histogram of a store just opened, and of another metric after that
one     one more shard while the run goes on: its two parts are recorded, ingested, and the first page is read;
        the median and the worst of 20
ended   the run ends: scores that came in several parts are compacted into the order in which they are read
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psutil

from bench.store_setup import RECIPE, machine, sample_columns, score_columns, scored_samples, vocabulary
from engine.config.load import parse_recipe
from engine.config.rankings import METRICS
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, write_part
from engine.storage.store import SampleQuery, Store
from engine.storage.store.database import resource_limits
from engine.storage.workspace import Workspace

SPANS = {"instruction": (9, 30), "input": (9, 30), "response": (14, 42)}  # words; about 60 to 300 characters each
ARRIVING = 20  # shards that come while the run goes on
LEVELS = (0, 1_000, 10_000, 50_000)  # parts in the ledger
TABLES = ("samples", "scores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--shard-rows", type=int, default=4096)
    parser.add_argument("--folder", type=Path, help="where the data is written meanwhile, instead of the usual place")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-", dir=options.folder))
    try:
        print(machine(), flush=True)
        measure_ledger(Workspace(folder / "ledger").create())
        measure_store(Workspace(folder / "run").create(), options.samples, options.shard_rows)
    finally:
        shutil.rmtree(folder)


def log(text: str, peak: int = 0, more: str = "") -> None:
    """One finding, the most memory it took, and how busy the machine is."""
    memory = f"{peak / 1e9:.2f} GB of memory" if peak else ""
    print(f"[load {os.getloadavg()[0]:4.1f}] " + ", ".join(filter(None, (text, memory, more))), flush=True)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


# -- the ledger ---------------------------------------------------------------------------------------------------


def measure_ledger(workspace: Workspace) -> None:
    """How the ledger's results grow with the parts it knows; the parts are entries alone, without files."""
    ledger = Ledger(workspace)
    run = ledger.submit(parse_recipe(RECIPE))
    names = (
        Part(run, table, f"part-{number:08d}", 4096, 1_000_000, f"{number:064x}")
        for number in range(LEVELS[-1])
        for table in TABLES
    )
    print(
        f"\n{'parts in the ledger':>20}{'two at a time':>18}{'parts(run)':>14}{'parts_version()':>17}{'in one go':>18}"
    )
    known = 0
    for level in LEVELS:
        filled = [next(names) for _ in range(level - known)]
        filling = seconds(partial(ledger.record_parts, filled))
        pairs = [(next(names), next(names)) for _ in range(100)]
        one_by_one = sum(seconds(partial(ledger.record_parts, pair)) for pair in pairs)
        known = level + 2 * len(pairs)
        listing = statistics.median(seconds(lambda: ledger.parts(run)) for _ in range(5))
        marking = statistics.median(seconds(ledger.parts_version) for _ in range(5))
        in_one_go = f"{len(filled) / filling:,.0f} parts/s" if filled else ""
        print(
            f"{level:20,}{2 * len(pairs) / one_by_one:11,.0f} parts/s{listing * 1e3:11.1f} ms{marking * 1e3:14.2f} ms"
            f"{in_one_go:>18}",
            flush=True,
        )
    log("the ledger")


# -- the store ----------------------------------------------------------------------------------------------------


def measure_store(workspace: Workspace, samples: int, shard_rows: int) -> None:
    run, late = write(workspace, samples, shard_rows)
    rows = samples * (1 + len(METRICS))

    def log_rate(name: str, took: float, peak: int, more: str = "") -> None:
        log(f"{name}: {took:.1f} s, {rows / took:,.0f} rows/s, {samples / took:,.0f} samples/s", peak, more)

    (counting, counted), peak = apart(count_parquet, workspace, run)
    log_rate(f"count of {counted:,} rows", counting, peak)
    tables, peak = apart(plain_tables, workspace, run)
    for table, (took, size, held) in tables.items():
        log(f"plain, {table}: {took:.1f} s, {held / took:,.0f} rows/s", peak, f"a file of {size / 1e9:.2f} GB")
    plain = sum(took for took, _, _ in tables.values())
    log_rate("plain, both", plain, peak)

    (took, ingested, again), peak = apart(sync, workspace)
    log_rate(f"sync of {ingested:,} parts", took, peak, store_size(workspace))
    log(f"it takes {took / plain:.2f} times as long as plain and {took / counting:.0f} times as long as count")
    log(f"again, same process: {again * 1e3:.1f} ms")
    measure_queries(workspace, run)
    arrivals, peak = apart(one_more, workspace, late)
    for name, times in zip(("sync", "the first page after it"), zip(*arrivals, strict=True), strict=True):
        typical, worst = statistics.median(times), max(times)
        log(f"one more shard: {name} {typical * 1e3:,.0f} ms, at worst {worst * 1e3:,.0f} ms", peak)
    Ledger(workspace).finish(run, "done")
    (took, _, _), peak = apart(sync, workspace)
    log(f"ended, {rows - samples:,} scores compacted: {took:.1f} s", peak, store_size(workspace))
    measure_queries(workspace, run)


def measure_queries(workspace: Workspace, run: str) -> None:
    times, peak = apart(first_queries, workspace, run)
    for name, took in times.items():
        log(f"  {name}: {took * 1e3:,.1f} ms", peak)


def store_size(workspace: Workspace) -> str:
    return f"a store of {sum(file.stat().st_size for file in workspace.store.iterdir()) / 1e9:.2f} GB"


def write(workspace: Workspace, samples: int, shard_rows: int) -> tuple[str, list[Part]]:
    """The parts of an unfinished run, recorded; and those of a few more shards, only written."""
    ledger = Ledger(workspace)
    run = ledger.submit(parse_recipe(RECIPE))
    characters = on_disk = parts = 0
    making = writing = recording = 0.0
    late: list[Part] = []
    peak = 0
    for start, frame, made in shards(samples, shard_rows):
        began = time.perf_counter()
        found = [
            write_part(workspace, run, "samples", f"samples-{start:08d}", sample_columns(frame)),
            write_part(workspace, run, "scores", f"base-e001-{start:08d}", score_columns(frame)),
        ]
        if start >= samples:
            late += found
            continue
        making, writing = making + made, writing + time.perf_counter() - began
        recording += seconds(partial(ledger.record_parts, found))
        characters += sum(int(frame[name].str.len().sum()) for name in SPANS)
        on_disk += sum(part.size for part in found)
        parts += len(found)
        peak = max(peak, psutil.Process().memory_info().rss)
    print(
        f"\n{samples:,} samples of {characters / samples:.0f} characters, {len(METRICS)} metrics, {parts:,} parts of "
        f"{shard_rows:,} samples: {on_disk / 1e9:.2f} GB",
        flush=True,
    )
    log(f"making the texts and numbers up: {making:.1f} s")
    log(f"writing the parts: {writing:.1f} s, {samples / writing:,.0f} samples/s", peak)
    log(f"recording them, two at a time: {recording:.1f} s, {parts / recording:,.0f} parts/s")
    return run, late


def shards(samples: int, shard_rows: int) -> Iterator[tuple[int, pd.DataFrame, float]]:
    """Where a shard starts, its samples, and the seconds of making them up; ARRIVING more than `samples` need."""
    words = vocabulary(np.random.default_rng(0))
    late = [samples + number * shard_rows for number in range(ARRIVING)]
    for start in [*range(0, samples, shard_rows), *late]:
        count = shard_rows if start >= samples else min(shard_rows, samples - start)
        began = time.perf_counter()
        frame = scored_samples(np.random.default_rng(start + 1), words, start, count, SPANS)
        yield start, frame, time.perf_counter() - began


def apart(action: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """What `action` returns in a process of its own, and the most memory it had there, in bytes."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, action, *arguments))
    process.start()
    sender.close()
    watched, peak = psutil.Process(process.pid), 0
    while not receiver.poll(0.02):
        peak = max(peak, watched.memory_info().rss)
    result = receiver.recv()
    process.join()
    return result, peak


def _send_result(sender: Connection, action: Callable[..., Any], *arguments: Any) -> None:
    sender.send(action(*arguments))


# -- what is done in processes of their own -----------------------------------------------------------------------


def files_of(workspace: Workspace, run: str, table: str) -> list[str]:
    return [str(part.path(workspace)) for part in Ledger(workspace).parts(run, table)]


def count_parquet(workspace: Workspace, run: str) -> tuple[float, int]:
    with duckdb.connect(config={**resource_limits()}) as connection:
        lists = [files_of(workspace, run, table) for table in TABLES]
        started = time.perf_counter()
        found = [
            connection.execute("SELECT count(*) FROM read_parquet($files)", {"files": files}).fetchall()[0][0]
            for files in lists
        ]
        return time.perf_counter() - started, sum(found)


def plain_tables(workspace: Workspace, run: str) -> dict[str, tuple[float, int, int]]:
    """Table to seconds, bytes of the file and rows."""
    results = {}
    for table in TABLES:
        file = workspace.root / f"plain-{table}.duckdb"
        files = files_of(workspace, run, table)
        started = time.perf_counter()
        with duckdb.connect(str(file), config={**resource_limits()}) as connection:
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet($files)", {"files": files})
            rows = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
        results[table] = (time.perf_counter() - started, file.stat().st_size, rows)
        file.unlink()
    return results


def sync(workspace: Workspace) -> tuple[float, int, float]:
    """Seconds of a sync, with opening and closing the store; parts ingested; seconds of a second sync."""
    ledger = Ledger(workspace)
    started = time.perf_counter()
    with closing(Store(workspace)) as store:
        ingested = store.sync(ledger)
        again = seconds(lambda: store.sync(ledger))
    if problems := store.problems():
        raise SystemExit(problems[0])
    return time.perf_counter() - started - again, ingested, again


def first_queries(workspace: Workspace, run: str) -> dict[str, float]:
    """Seconds of opening an existing store, of a sync with nothing new, and of the first queries."""
    ledger = Ledger(workspace)
    found = {}
    started = time.perf_counter()
    with closing(Store(workspace)) as store:
        found["opening the store"] = time.perf_counter() - started
        kl, entropy = (store.scoring(run, 0, 1, metric) for metric in ("kl", "entropy_teacher"))

        def move(tau: float) -> None:
            query = SampleQuery(kl, tau=tau, show="kept")
            store.page(query, 0)
            store.count(query)
            store.histogram(kl, query=query)

        found["again, store just opened"] = seconds(lambda: store.sync(ledger))
        found["first page, store just opened"] = seconds(lambda: store.page(SampleQuery(kl), 0))
        found["count above τ, same metric"] = seconds(lambda: store.kept_counts(kl, [0.5]))
        found["histogram, same metric"] = seconds(lambda: store.histogram(kl))
        found["first page, next metric"] = seconds(lambda: store.page(SampleQuery(entropy), 0))
        moves = [seconds(partial(move, tau)) for tau in (0.3, 0.4, 0.5, 0.6, 0.7)]
        found["back, τ moved: page, count, histogram"] = moves[0]
        found["τ moved again: page, count, histogram"] = statistics.median(moves[1:])
    return found


def one_more(workspace: Workspace, late: list[Part]) -> list[tuple[float, float]]:
    """Seconds of ingesting and of the first page, for one shard after the other."""
    ledger = Ledger(workspace)
    run = late[0].run
    found = []
    with closing(Store(workspace)) as store:
        query = SampleQuery(store.scoring(run, 0, 1, "kl"))
        store.sync(ledger)
        store.page(query, 0)
        for number in range(0, len(late), len(TABLES)):
            ledger.record_parts(late[number : number + len(TABLES)])
            syncing = seconds(lambda: store.sync(ledger))
            found.append((syncing, seconds(lambda: store.page(query, 0))))
    return found


if __name__ == "__main__":
    main()
