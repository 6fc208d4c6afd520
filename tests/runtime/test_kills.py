"""`kill -9` at random moments of scoring and training: the run ends as one left alone does, every row once.

Engine, worker and the process that holds the store (as the app does) are killed in turn; nothing is asked to end.
"""

from __future__ import annotations

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
from engine.config.load import parse_recipe
from engine.runtime.worker import execute
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace, open_workspace
from tests.fixtures.tiny import tiny_recipe, write_rows
from tests.studies.test_distillation import everything, sentences
from tests.studies.test_distillation import recipe as tiny_distillation

KILLS = 26
TOO_LONG = 900.0  # seconds; what has not come so far by then hangs, however busy the machine is

pytestmark = pytest.mark.kill

# What the app does with the store, in a process that can be killed: take in whatever is new, again and again.
KEEPER = """
import sys, time
from engine.ledger import Ledger
from engine.store import Store
from engine.workspace import open_workspace
workspace = open_workspace(sys.argv[1])
store, ledger = Store(workspace), Ledger(workspace)
while True:
    store.sync(ledger)
    time.sleep(0.02)
"""


class Cast:
    """The processes of one workspace, each of which may be killed."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.engine = self._start("-m", "engine", "serve", "--workspace", str(workspace.root))
        self.keeper = self._start("-c", KEEPER, str(workspace.root))

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=CHECKOUT, env=self.environment, stderr=subprocess.DEVNULL
        )

    def worker(self) -> psutil.Process | None:
        for child in psutil.Process(self.engine.pid).children():
            with suppress(psutil.Error):
                if "work" in child.cmdline():
                    return child
        return None

    def kill_worker(self) -> None:
        worker = self.worker()
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    def kill_engine(self) -> None:
        self.engine.kill()
        self.engine.wait()
        self.engine = self._start("-m", "engine", "serve", "--workspace", str(self.workspace.root))

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
def cast(workspace: Workspace) -> Iterator[Cast]:
    cast = Cast(workspace)
    yield cast
    cast.end()


def test_a_run_survives_any_kill(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """The one promise everything else leans on."""
    recipe = tiny_recipe(write_rows(tmp_path / "rows.jsonl"), seeds=[0], scoring__shard_rows=4, training__epochs=8)
    quiet = open_workspace(tmp_path / "quiet", read_only=False)
    undisturbed, lock = Ledger(quiet).start(recipe)
    assert execute(quiet, Ledger(quiet), undisturbed, lock, device="cpu") == "done"
    # Both runs score with the same two models, so that every kill falls into scoring or training a study.
    shutil.copytree(quiet.models, workspace.models)

    run = ledger.submit(recipe)
    cast, dice = Cast(workspace), random.Random(0)
    try:
        started = time.monotonic()
        for kill in range(KILLS):
            wait_for_work(cast, ledger, run, parts=dice.randint(0, 1), until=started + TOO_LONG)
            assert ledger.run(run).state == "running", f"the run ended after {kill} kills; give it more to do"
            time.sleep(dice.uniform(0.0, 0.2))
            dice.choice([cast.kill_worker, cast.kill_worker, cast.kill_engine, cast.kill_keeper])()
        while ledger.run(run).state in ("running", "queued"):
            assert time.monotonic() - started < TOO_LONG, ledger.run(run)
            time.sleep(0.1)
    finally:
        cast.end()
    ended = ledger.run(run)
    assert ended.state == "done", ended.error

    for table, keys in (
        ("samples", ["row"]),
        ("scores", ["arm", "seed", "epoch", "row", "metric"]),
        ("token_scores", ["epoch", "row"]),
        ("selections", ["arm", "seed", "epoch", "row"]),
        ("metrics", ["arm", "seed", "epoch", "split", "name"]),
    ):
        one = rows(workspace, run, table).sort_values(keys).reset_index(drop=True)
        other = rows(quiet, undisturbed.id, table).sort_values(keys).reset_index(drop=True)
        assert not one.duplicated(keys).any(), f"{table} has a row twice"
        pd.testing.assert_frame_equal(one[keys], other[keys])
        if "value" in one:
            counted = ~one["name"].str.startswith("seconds") if "name" in one else slice(None)
            pd.testing.assert_series_equal(one.value[counted], other.value[counted], rtol=1e-5)

    store = Store(workspace)
    store.sync(ledger)
    assert store.problems() == []
    count = store.count(SampleQuery(store.scoring(run, 0, 1, "kl")))
    assert count.samples == 72


def wait_for_work(cast: Cast, ledger: Ledger, run: str, parts: int, until: float) -> None:
    """Until a worker works on the run and has recorded so many parts more than there were."""
    before = len(ledger.parts(run))
    while ledger.run(run).state in ("queued", "running"):
        assert time.monotonic() < until, ledger.run(run)
        lively = cast.worker() is not None and time.time() - (ledger.run(run).heartbeat or 0) < 1.0
        if lively and len(ledger.parts(run)) >= before + parts:
            return
        time.sleep(0.02)


def rows(workspace: Workspace, run: str, table: str) -> pd.DataFrame:
    return read_table(workspace, Ledger(workspace).parts(run, table), table).to_pandas()


def test_a_grid_survives_kills(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """The worker is killed in the middle of a grid: no finished cell is lost, none is there twice."""
    fractions = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    recipe = parse_recipe(
        {
            "kind": "pruned-kd",
            "data": {"source": "digits", "limit": 600},
            "training": {"epochs": 20, "equal": "steps"},
            "grid": {"scores": ["random", "el2n"], "fractions": fractions, "kd_weights": [0.0, 0.5]},
        }
    )
    quiet = open_workspace(tmp_path / "quiet", read_only=False)
    undisturbed, lock = Ledger(quiet).start(recipe)
    assert execute(quiet, Ledger(quiet), undisturbed, lock, device="cpu") == "done"

    run = ledger.submit(recipe)
    cast, dice = Cast(workspace), random.Random(0)
    try:
        started = time.monotonic()
        for kill in range(4):
            wait_for_work(cast, ledger, run, parts=1, until=started + TOO_LONG)
            assert ledger.run(run).state == "running", f"the run ended after {kill} kills; give it more to do"
            time.sleep(dice.uniform(0.0, 0.3))
            cast.kill_worker()
        while ledger.run(run).state in ("running", "queued"):
            assert time.monotonic() - started < TOO_LONG, ledger.run(run)
            time.sleep(0.1)
    finally:
        cast.end()
    assert ledger.run(run).state == "done", ledger.run(run).error
    keys = ["score", "fraction", "kd_weight", "seed"]
    one = rows(workspace, run, "grid").sort_values(keys).reset_index(drop=True)
    other = rows(quiet, undisturbed.id, "grid").sort_values(keys).reset_index(drop=True)
    assert not one.duplicated(keys).any()
    pd.testing.assert_frame_equal(one[[*keys, "cell", "samples", "steps"]], other[[*keys, "cell", "samples", "steps"]])
    pd.testing.assert_series_equal(one["loss"], other["loss"], rtol=1e-3)


def test_a_distillation_survives_kills(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """The worker is killed while it learns and measures: every snapshot and measurement is there once, and the same."""
    other = {"source": str(sentences(tmp_path / "other.csv", other=True)), "task": "text", "max_length": 16}
    recipe = tiny_distillation(
        sentences(tmp_path / "films.csv"),
        other=other,
        synthetic__per_class=[1, 2],
        outer__steps=60,
        outer__snapshots=20,
        worth__heads=4,
    )
    quiet = open_workspace(tmp_path / "quiet", read_only=False)
    undisturbed, lock = Ledger(quiet).start(recipe)
    assert execute(quiet, Ledger(quiet), undisturbed, lock, device="cpu") == "done"
    shutil.copytree(quiet.models, workspace.models)  # the encoder is there, so that every kill falls into the rest

    run = ledger.submit(recipe)
    cast, dice = Cast(workspace), random.Random(0)
    try:
        started = time.monotonic()
        for kill in range(5):
            wait_for_work(cast, ledger, run, parts=dice.randint(1, 25), until=started + TOO_LONG)
            assert ledger.run(run).state == "running", f"the run ended after {kill} kills; give it more to do"
            time.sleep(dice.uniform(0.0, 0.2))
            cast.kill_worker()
        while ledger.run(run).state in ("running", "queued"):
            assert time.monotonic() - started < TOO_LONG, ledger.run(run)
            time.sleep(0.1)
    finally:
        cast.end()
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert everything(workspace, run) == everything(quiet, undisturbed.id)
    assert not list(workspace.outputs.glob("*.training.*"))


def test_two_engines_never_do_one_run_twice(workspace: Workspace, ledger: Ledger, cast: Cast, tmp_path: Path) -> None:
    """Each run is claimed once, whoever is there to claim it, and each record of parts comes from one worker."""
    other = subprocess.Popen(
        [sys.executable, "-m", "engine", "serve", "--workspace", str(workspace.root)],
        cwd=CHECKOUT,
        env=cast.environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        source = write_rows(tmp_path / "rows.jsonl")
        recipes = [tiny_recipe(source, seeds=[seed], arms=["dynamic"], training__epochs=2) for seed in range(4)]
        submitted = [ledger.submit(recipe) for recipe in recipes]
        started = time.monotonic()
        while any(ledger.run(run).state in ("queued", "running") for run in submitted):
            assert time.monotonic() - started < TOO_LONG
            time.sleep(0.1)
        for run in submitted:
            assert ledger.run(run).state == "done", ledger.run(run).error
            text = ledger.log_path(run).read_text(encoding="utf-8")
            assert text.count(f"run {run} starts") == 1
    finally:
        other.terminate()
        other.wait(timeout=20)
