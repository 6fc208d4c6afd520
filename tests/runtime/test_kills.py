"""`kill -9` in the middle of a run: it ends with the results of an undisturbed one, every row once.

Where a run is killed is chosen by its progress, not by the clock, so that every kill hits work on any machine.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from engine.common.paths import CHECKOUT
from engine.config.kinds import Recipe
from engine.config.load import parse_recipe
from engine.config.pruning import DynamicPruningRecipe
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace, open_workspace
from tests.fixtures.tiny import tiny_recipe, write_rows
from tests.studies.test_distillation import everything, sentences
from tests.studies.test_distillation import recipe as tiny_distillation

TOO_LONG = 900.0  # seconds; a process that has not come so far by then hangs, however busy the machine is
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.kill


def undisturbed(folder: Path, recipe: Recipe) -> tuple[Workspace, str]:
    """A run of the recipe in this process."""
    workspace = open_workspace(folder / "undisturbed", read_only=False)
    run, lock = Ledger(workspace).start(recipe)
    assert execute(workspace, Ledger(workspace), run, lock, device="cpu") == "done"
    return workspace, run.id


def do_with_kills(workspace: Workspace, recipe: Recipe, kills: int, files: int) -> str:
    """A run that is killed so many times, each time after at most `files` more files, at a random point of writing
    and recording one."""
    ledger, dice = Ledger(workspace), random.Random(0)
    run = ledger.submit(recipe)
    points = [(dice.randint(1, files), dice.randint(0, 8)) for _ in range(kills)]
    command = [sys.executable, "-m", "tests.runtime.killed_run", str(workspace.root), json.dumps(points)]
    subprocess.run(command, cwd=CHECKOUT, env=ENVIRONMENT, timeout=TOO_LONG, check=True)
    assert ledger.run(run).state == "done", ledger.run(run).error
    return run


def rows(workspace: Workspace, run: str, table: str, keys: list[str]) -> pd.DataFrame:
    """A table in the order of its keys, each of which is there once."""
    found = read_table(workspace, Ledger(workspace).parts(run, table), table).to_pandas()
    assert not found.duplicated(keys).any(), f"{table} has a row twice"
    return found.sort_values(keys).reset_index(drop=True)


# -- scoring and training ---------------------------------------------------------------------------------------


def study(folder: Path) -> DynamicPruningRecipe:
    return tiny_recipe(write_rows(folder / "rows.jsonl"), seeds=[0], scoring__shard_rows=4, training__epochs=8)


@pytest.fixture(scope="module")
def undisturbed_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    folder = tmp_path_factory.mktemp("study")
    return undisturbed(folder, study(folder))


def assert_same_study(workspace: Workspace, run: str, undisturbed_study: tuple[Workspace, str]) -> None:
    """Every row is there once and has the same value, and the store takes the parts in."""
    for table, keys in (
        ("samples", ["row"]),
        ("scores", ["arm", "seed", "epoch", "row", "metric"]),
        ("token_scores", ["epoch", "row"]),
        ("states", ["row"]),
        ("selections", ["arm", "seed", "epoch", "row"]),
        ("metrics", ["arm", "seed", "epoch", "split", "name"]),
    ):
        one, other = rows(workspace, run, table, keys), rows(*undisturbed_study, table, keys)
        pd.testing.assert_frame_equal(one[keys], other[keys])
        if "value" in one:
            counted = ~one["name"].str.startswith("seconds") if "name" in one else slice(None)
            pd.testing.assert_series_equal(one.value[counted], other.value[counted], rtol=1e-5)
    store = Store(workspace)
    store.sync(Ledger(workspace))
    assert store.problems() == []
    count = store.count(SampleQuery(store.scoring(run, 0, 1, "kl")))
    assert count.samples == 72


def test_a_run_survives_any_kill(
    workspace: Workspace, tmp_path: Path, undisturbed_study: tuple[Workspace, str]
) -> None:
    """The one promise everything else leans on."""
    # Both runs score with the same two models, so that every kill falls into scoring or training a study.
    shutil.copytree(undisturbed_study[0].models, workspace.models)
    assert_same_study(workspace, do_with_kills(workspace, study(tmp_path), 26, 8), undisturbed_study)


def test_a_grid_survives_kills(workspace: Workspace, tmp_path: Path) -> None:
    """A worker is killed in the middle of a grid: no finished cell is lost, none is there twice."""
    fractions = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    recipe = parse_recipe(
        {
            "kind": "pruned-kd",
            "data": {"source": "digits", "limit": 600},
            "training": {"epochs": 20, "equal": "steps"},
            "grid": {"scores": ["random", "el2n"], "fractions": fractions, "kd_weights": [0.0, 0.5]},
        }
    )
    quiet = undisturbed(tmp_path, recipe)
    run = do_with_kills(workspace, recipe, 4, 3)
    keys = ["score", "fraction", "kd_weight", "seed"]
    one, other = rows(workspace, run, "grid", keys), rows(*quiet, "grid", keys)
    pd.testing.assert_frame_equal(one[[*keys, "cell", "samples", "steps"]], other[[*keys, "cell", "samples", "steps"]])
    pd.testing.assert_series_equal(one["loss"], other["loss"], rtol=1e-3)


def test_a_distillation_survives_kills(workspace: Workspace, tmp_path: Path) -> None:
    """A worker is killed while it learns and evaluates: every snapshot and evaluation is there once, and the same."""
    other = {"source": str(sentences(tmp_path / "other.csv", other=True)), "task": "text", "max_length": 16}
    recipe = tiny_distillation(
        sentences(tmp_path / "films.csv"),
        other=other,
        synthetic__per_class=[1, 2],
        outer__steps=60,
        outer__snapshots=20,
        evaluation__eval_seeds=4,
    )
    quiet = undisturbed(tmp_path, recipe)
    shutil.copytree(quiet[0].models, workspace.models)  # the encoder is there, so that every kill falls into the rest
    run = do_with_kills(workspace, recipe, 8, 25)
    assert everything(workspace, run) == everything(*quiet)
    assert not list(workspace.outputs.glob("*.training.*"))  # hidden ones of killed processes included
    assert not list(workspace.parts.rglob(".*.tmp"))


# -- every process of an engine ---------------------------------------------------------------------------------

# What the app does with the store, in a process that can be killed: ingest new parts, again and again.
KEEPER = """
import sys, time
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import open_workspace
workspace = open_workspace(sys.argv[1])
store, ledger = Store(workspace), Ledger(workspace)
while True:
    store.sync(ledger)
    time.sleep(0.02)
"""


class Processes:
    """The processes of one workspace, each of which may be killed: engine, worker, and one that holds the store."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.engine = self.start_engine()
        self.keeper = self._start("-c", KEEPER, str(workspace.root))

    def start_engine(self) -> subprocess.Popen[bytes]:
        return self._start("-m", "engine", "serve", "--workspace", str(self.workspace.root))

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *arguments], cwd=CHECKOUT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)

    def worker(self) -> psutil.Process | None:
        for child in psutil.Process(self.engine.pid).children():
            with suppress(psutil.Error):
                if "work" in child.cmdline():
                    return child
        return None

    def kill_worker(self) -> None:
        worker = self.worker()
        assert worker is not None
        worker.kill()
        wait_until_gone(worker)

    def kill_engine(self) -> None:
        worker = self.worker()
        self.engine.kill()
        self.engine.wait()
        assert worker is not None
        wait_until_gone(worker)  # it ends by itself
        self.engine = self.start_engine()

    def kill_keeper(self) -> None:
        self.keeper.kill()
        self.keeper.wait()
        self.keeper = self._start("-c", KEEPER, str(self.workspace.root))

    def end(self) -> None:
        self.keeper.kill()
        self.keeper.wait()
        self.engine.send_signal(signal.SIGTERM)
        try:
            self.engine.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.engine.kill()


@pytest.fixture
def processes(workspace: Workspace) -> Iterator[Processes]:
    processes = Processes(workspace)
    yield processes
    processes.end()


def wait_until_gone(process: psutil.Process) -> None:
    started = time.monotonic()
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() - started < TOO_LONG, process
            time.sleep(0.02)


def wait_while_running(ledger: Ledger, run: str, parts: int | None = None) -> None:
    """Until so many parts more than now are recorded, and the run goes on; with None, until it has ended."""
    started, before = time.monotonic(), len(ledger.parts(run))
    while parts is None or len(ledger.parts(run)) < before + parts:
        assert time.monotonic() - started < TOO_LONG, ledger.run(run)
        if ledger.run(run).state not in ("queued", "running"):
            assert parts is None, f"the run ended first; give it more to do: {ledger.run(run)}"
            return
        time.sleep(0.02)


def test_a_run_survives_the_death_of_every_process(
    workspace: Workspace,
    ledger: Ledger,
    tmp_path: Path,
    undisturbed_study: tuple[Workspace, str],
    processes: Processes,
) -> None:
    """Engine, worker and the process that holds the store, as the app does, are killed in turn."""
    shutil.copytree(undisturbed_study[0].models, workspace.models)
    run = ledger.submit(study(tmp_path))
    for kill in (processes.kill_keeper, processes.kill_worker, processes.kill_engine, processes.kill_keeper):
        wait_while_running(ledger, run, parts=2)
        kill()
    wait_while_running(ledger, run)
    assert ledger.run(run).state == "done", ledger.run(run).error
    processes.end()  # only one process may hold the store
    assert_same_study(workspace, run, undisturbed_study)


def test_two_engines_never_do_one_run_twice(
    workspace: Workspace, ledger: Ledger, processes: Processes, tmp_path: Path
) -> None:
    """Each run is claimed once, however many workers wait for it, and all of its parts come from one worker."""
    other = processes.start_engine()
    try:
        source = write_rows(tmp_path / "rows.jsonl")
        recipes = [tiny_recipe(source, seeds=[seed], arms=["dynamic"], training__epochs=2) for seed in range(4)]
        submitted = [ledger.submit(recipe) for recipe in recipes]
        for run in submitted:
            wait_while_running(ledger, run)
            assert ledger.run(run).state == "done", ledger.run(run).error
            text = ledger.log_path(run).read_text(encoding="utf-8")
            assert text.count(f"run {run} starts") == 1
    finally:
        other.terminate()
        other.wait(timeout=20)
