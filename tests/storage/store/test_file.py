"""The file behind the store: one process at a time, killed at any moment, damaged, or on a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from engine.common.errors import WinnowError
from engine.storage.ledger import Ledger
from engine.storage.store import SampleQuery, Store, database, rebuild
from engine.storage.store.database import make_file
from engine.storage.store.schema import FILE
from engine.storage.workspace import Workspace
from tests.conftest import CHECKOUT
from tests.fixtures.pruning_workspace import fill_workspace
from tests.fixtures.store_parts import Row, samples_part, scores_part, submit


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )


HOLD = """
import sys
from pathlib import Path
from engine.storage.store import Store
from engine.storage.workspace import Workspace
store = Store(Workspace(Path(sys.argv[1])))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_so(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a second app, and a rebuild under a running app, from DuckDB's own words."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for action in (lambda: Store(workspace), lambda: rebuild(workspace, ledger)):
            with pytest.raises(WinnowError, match="is open in another Winnow app; close that one first"):
                action()
    finally:
        holder.kill()
        holder.communicate()
    assert rebuild(workspace, ledger) == []


def test_two_handles_in_one_process(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a reloaded app: a store opened again in the same process sees the same data."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    with closing(Store(workspace)) as first, closing(Store(workspace)) as second:
        assert first.facets(run).empty
        second.sync(ledger)
        assert first.sync(ledger) == 0
        assert len(first.facets(run)) == len(second.facets(run)) > 0


def test_two_processes_that_make_it_at_once(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a store that another process has just made from being replaced while it is open."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        make_file(workspace.store / FILE)
    with closing(Store(workspace)) as store:
        assert store.splits(run)["samples"].sum() == 60
    assert [path.name for path in workspace.store.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO 'out.csv'",
        "ATTACH 'other.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM local_frame",
    ],
)
def test_the_store_is_locked_down(workspace: Workspace, statement: str) -> None:
    """Protects the machine from anything that might get into a query: no files, no network, no settings."""
    local_frame = pd.DataFrame({"a": [1]})
    with closing(Store(workspace)) as store, pytest.raises(duckdb.Error), store._cursor() as cursor:
        cursor.execute(statement)
    assert len(local_frame) == 1


def test_the_cache_is_bounded(workspace: Workspace, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the memory that training needs: old results go if there are too many or they are too large."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        query = SampleQuery(store.scoring(run, 0, 1, "kl"))
        for limit, most in (("CACHE_ENTRIES", 5), ("CACHE_BYTES", 1)):
            monkeypatch.setattr(database, limit, most)
            for tau in range(20):
                store.count(replace(query, tau=float(tau)))
                assert store.page(replace(query, tau=float(tau)), 0, 3)["rank"].tolist() == [1, 2, 3]
            assert len(store._cache) <= most


def spoil_head(file: Path) -> None:
    file.write_bytes(b"not a database " * 1000)


def spoil_all(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for place in range(5000, len(data), 20_000):
        data[place : place + 64] = os.urandom(64)
    file.write_bytes(data)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def read_everything(workspace: Workspace, ledger: Ledger, query: SampleQuery) -> None:
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        store.page(query, 0, 1000)
        store.metrics(query.scoring.run)
        store.usage(query.scoring.run)


@pytest.mark.parametrize("damage", [spoil_head, spoil_all, cut_short, empty])
def test_a_damaged_file(workspace: Workspace, ledger: Ledger, damage: Callable[[Path], None]) -> None:
    """Protects people from a store that was damaged: one sentence, and rebuilding makes it whole."""
    run = fill_workspace(workspace, samples=200, epochs=2, seeds=(0,))
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        query = SampleQuery(store.scoring(run, 0, 2, "kl"))
        before = store.page(query, 0, 1000)
    damage(workspace.store / FILE)
    with pytest.raises(WinnowError, match=r"is damaged \(.*\); run `python -m engine doctor --rebuild`"):
        read_everything(workspace, ledger, query)
    assert rebuild(workspace, ledger) == []
    with closing(Store(workspace)) as store:
        assert store.sync(ledger) == 0
        assert store.page(query, 0, 1000).equals(before)


def test_a_deleted_file(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the promise that the store can be thrown away: it is made again from the parts."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    with closing(Store(workspace)) as store:
        count = store.sync(ledger)
    (workspace.store / FILE).unlink()
    with closing(Store(workspace)) as store:
        assert store.sync(ledger) == count
        assert store.splits(run)["samples"].sum() == 60


def test_a_folder_that_cannot_be_written(workspace: Workspace) -> None:
    """Protects people from a traceback if the workspace has no room for a store."""
    workspace.store.write_text("a file instead of the folder")
    with pytest.raises(WinnowError, match=r"The store .* cannot be written \(.*\); free some disk space"):
        Store(workspace)


FULL = """
import resource, sys
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.common.errors import WinnowError
from engine.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
ledger = Ledger(workspace)
store = Store(workspace)
limit = max(file.stat().st_size for file in workspace.store.iterdir()) + 20_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    store.sync(ledger)
except WinnowError as error:
    print(error)
print(len(store.scorings(sys.argv[2])))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.sync(ledger) == len(ledger.parts()))
"""


def test_a_full_disk(workspace: Workspace, ledger: Ledger) -> None:
    """Protects people from a full disk: one sentence, nothing half ingested, and all of it once there is room."""
    run = fill_workspace(workspace, samples=1500, epochs=3, seeds=(0,))
    out, _ = python(FULL, workspace.root, run).communicate(timeout=120)
    sentence, rankings, whole = out.splitlines()
    assert "cannot be written (" in sentence
    assert "free some disk space" in sentence
    assert (rankings, whole) == ("0", "True")
    with closing(Store(workspace)) as store:
        assert store.splits(run)["samples"].sum() == 1500


WORK = """
import sys
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.common.hashing import file_sha256
from engine.storage.parts import Part, part_path
from engine.storage.workspace import Workspace
workspace, run, first = Workspace(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
ledger = Ledger(workspace)
print("start", flush=True)
store = Store(workspace)
store.sync(ledger)
for number in range(first, 400):
    path = part_path(workspace, run, "scores", f"part-{number:04d}")
    part = Part(run, "scores", path.stem, 50, path.stat().st_size, file_sha256(path))
    ledger.record_parts([part])
    store.sync(ledger)
    if number % 5 == 0:
        ledger.forget_parts([part])
        store.sync(ledger)
        ledger.record_parts([part])
"""


@pytest.mark.kill
def test_killed_while_ingesting(workspace: Workspace, ledger: Ledger) -> None:
    """Protects every row against the app being killed at any moment: the store opens and holds each part once."""
    run = submit(ledger)
    ledger.record_parts([samples_part(workspace, run, "all", [Row(n, 0) for n in range(100)])])
    for number in range(400):
        scores_part(workspace, run, f"part-{number:04d}", {number * 50 + n: float(n) for n in range(50)})
    chance = random.Random(0)
    for _ in range(6):
        recorded = len(ledger.parts(run, "scores"))
        worker = python(WORK, workspace.root, run, recorded)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "start\n"
        time.sleep(chance.uniform(0.02, 1.2))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        with closing(Store(workspace)) as store:
            store.sync(ledger)
            rows = len(ledger.parts(run, "scores")) * 50
            if rows:
                page = store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0, 100_000)
                assert sorted(page["row"].tolist()) == list(range(rows))
            assert store.problems() == []
