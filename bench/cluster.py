"""What a Ray cluster adds to scoring on one machine, and what it takes.

    python -m bench.cluster [--rows 1200] [--workers 1 2 4]

The demo's rows are scored with a pair of small models by this process, and by 1, 2 and 4 workers of a Ray cluster on
this machine, one thread each. Throughput is tokens a second from the first unit given to the last one finished, with
the workers ready. What a unit costs beside its scoring is measured with units of one row. Memory is the proportional
set size (PSS), in which memory shared by processes counts once. What the engine's process can read and tokenise, on
the cores it may use, is measured on alpaca.parquet in the folder WINNOW_TEST_DATA (default ../shared/data); without a
number behind --workers that is all.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

from bench.scoring_setup import DATA
from engine.config.load import parse_recipe
from engine.config.pruning import ScoreRecipe
from engine.data.samples import prepare
from engine.data.sources import read_rows
from engine.models.loading import load_tokenizer
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.parts import part_path, read_seconds, read_table
from engine.storage.workspace import Workspace
from engine.studies.pruning.pair import SCORING

TEACHER = {"layers": 6, "width": 384, "heads": 6, "epochs": 0.05}
STUDENT = {"layers": 2, "width": 192, "heads": 3, "epochs": 0.05}
UNIT_ROWS = 30


@dataclass(frozen=True)
class Result:
    """Time and memory of a run."""

    run: str
    wall: float  # seconds from the first unit given to the last one finished
    scoring: float  # seconds of scoring in all units together
    units: int
    ready: float  # seconds from the start until a worker had its first unit
    memory: dict[str, float]  # MiB by kind of process, when the workers had the most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    try:
        memory = psutil.virtual_memory().total / 2**30
        cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
        print(f"{platform.processor() or platform.machine()}, {cores}, {memory:.0f} GiB memory, ", end="")
        print(f"load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, ray {ray.__version__}")
        workspace = Workspace(folder).create()
        measure(workspace, recipe(options.rows, "none", options.rows))  # makes the models
        if options.workers:
            compare(workspace, options.rows, options.workers)
        head(workspace)
    finally:
        shutil.rmtree(folder)


def compare(workspace: Workspace, rows: int, workers: list[int]) -> None:
    here = measure(workspace, recipe(rows, "none"))
    tokens = tokens_of(workspace, here.run)
    print(f"\n{rows:,} rows, {tokens:,} tokens, in units of {UNIT_ROWS} rows; every process with one thread")
    print(f"{'':24}{'tokens/s':>10}{'to local':>10}{'a worker':>10}{'ready after':>13}")
    print(f"{'this process':24}{tokens / here.wall:10,.0f}{1:10.2f}")
    for count in workers:
        result = measure(workspace, recipe(rows, {"address": "local", "workers": count}))
        times = here.wall / result.wall
        name = f"Ray, {count} worker{'s' * (count > 1)}"
        print(f"{name:24}{tokens / result.wall:10,.0f}{times:10.2f}{times / count:10.2f}{result.ready:11.1f} s")
    print("\nMiB (PSS) when the workers had the most, with the last of these:")
    for kind, size in sorted(result.memory.items()):
        print(f"  {kind:36}{size:8,.0f}")
    small = min(rows, 200)
    for name, cluster in (("this process", "none"), ("Ray, 1 worker", {"address": "local", "workers": 1})):
        result = measure(workspace, recipe(small, cluster, 1))
        each = 1000 * (result.wall - result.scoring) / result.units
        print(f"\nbeside its scoring a unit costs {each:.1f} ms ({name}, {result.units} units of one row)", end="")
    print(f"\n\ncancelled: every worker gone after {cancelling(workspace, rows):.1f} s")


def head(workspace: Workspace) -> None:
    """What the engine's process does before the first unit can go out: read and tokenise every row, and hold them."""
    source = DATA / "alpaca.parquet"
    if not source.is_file():
        print(f"\nreading and tokenising was not measured: there is no {source} (set WINNOW_TEST_DATA)")
        return
    tokenizer = load_tokenizer(str(next(workspace.models.glob("tokenizer-*"))))
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    rows = read_rows(str(source))
    read = time.perf_counter()
    prepared = prepare(rows, "alpaca", tokenizer, 512, 0.1, 0)
    ended = time.perf_counter()
    count, held = len(prepared.samples), psutil.Process().memory_info().rss - before
    tokens = sum(sample.length for sample in prepared.samples)
    print(
        f"\n{count:,} rows of Alpaca, {tokens / count:.0f} tokens each: read {count / (read - started):,.0f} rows/s, "
        f"tokenised {count / (ended - read):,.0f} rows/s, {held / count:,.0f} bytes of memory a row"
    )


def recipe(rows: int, cluster: str | dict[str, Any], rows_each: int = UNIT_ROWS) -> ScoreRecipe:
    """Scoring the demo's rows; hidden states are not kept, so that every run does the same work."""
    found = parse_recipe(
        {
            "kind": "score",
            "name": "bench",
            "data": {"source": "demo", "template": "plain", "limit": rows},
            "models": {"teacher": "scratch:teacher", "student": "scratch:student", "max_length": 128},
            "scratch": {"vocab_size": 4096, "models": {"teacher": TEACHER, "student": STUDENT}},
            "scoring": {"shard_rows": rows_each, "hidden_cache_gb": 0.0},
            "cluster": cluster,
        }
    )
    assert isinstance(found, ScoreRecipe)
    return found


def measure(workspace: Workspace, wanted: ScoreRecipe) -> Result:
    """Do a run in this process, and sample the memory meanwhile."""
    ledger = Ledger(workspace)
    run, lock = ledger.start(wanted)
    most: dict[str, float] = {}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.5):
            now = memory_of()
            if now.get("workers", 0.0) > most.get("workers", 0.0):
                most.clear()
                most.update(now)

    sampler = threading.Thread(target=sample)
    if wanted.cluster.used:
        sampler.start()
    begun: list[float] = []
    started = time.time()

    def report(phase: str, _fraction: float, _left: float | None) -> None:
        if phase.startswith(SCORING) and not begun:
            begun.append(time.time())

    try:
        state = execute(workspace, ledger, run, lock, device="cpu", report=report)
    finally:
        ended.set()
        if wanted.cluster.used:
            sampler.join()
    if state != "done":
        raise SystemExit(ledger.run(run.id).error)
    stopped = time.time()
    scores = ledger.parts(run.id, "scores")
    scoring = sum(read_seconds(part_path(workspace, run.id, "scores", part.name)) for part in scores)
    attempts = [attempt for attempt in ledger.attempts(run.id) if attempt.name.startswith("scores")]
    if not attempts:
        return Result(run.id, stopped - begun[0], scoring, len(scores), 0.0, most)
    wall = max(attempt.ended or 0.0 for attempt in attempts) - attempts[0].began
    return Result(run.id, wall, scoring, len(scores), attempts[0].began - started, most)


def tokens_of(workspace: Workspace, run: str) -> int:
    """Tokens of the training samples of a run."""
    rows = read_table(workspace, Ledger(workspace).parts(run, "samples"), "samples").to_pandas()
    return int(rows["length"][rows["split"] == "train"].sum())


def memory_of() -> dict[str, float]:
    """MiB of this process and of the Ray it has started, by kind."""
    found: dict[str, float] = {}
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        with suppress(psutil.Error):
            kind = "this process" if process == this else kind_of(" ".join(process.cmdline()))
            found[kind] = found.get(kind, 0.0) + process.memory_full_info().pss / 2**20
    return found


def kind_of(command: str) -> str:
    """What a process of Ray is, from its command line."""
    if command.startswith("ray::"):
        name = command.removeprefix("ray::").split(".")[0].split("(")[0].strip()
        kinds = {"Worker": "workers", "Coordinator": "coordinator"}
        return kinds.get(name, "agents of Ray" if "Agent" in name else "idle processes of Ray")
    for part, kind in (("gcs_server", "gcs server"), ("raylet/raylet", "raylet"), ("ray/autoscaler", "monitor of Ray")):
        if part in command:
            return kind
    return "agents of Ray"


def cancelling(workspace: Workspace, rows: int) -> float:
    """Seconds from cancelling until the last worker process is gone."""
    ledger = Ledger(workspace)
    run, lock = ledger.start(recipe(rows, "local"))
    asked: list[float] = []

    def cancel() -> None:
        while not any(attempt.name.startswith("scores") for attempt in ledger.attempts(run.id)):
            time.sleep(0.05)
        ledger.cancel(run.id)
        asked.append(time.time())

    threading.Thread(target=cancel).start()
    execute(workspace, ledger, run, lock, device="cpu")
    while memory_of().get("workers"):
        time.sleep(0.05)
    return time.time() - asked[0]


if __name__ == "__main__":
    main()
