"""Workspaces of earlier versions: read under today's names, and no part of them changed by a byte."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from engine.cli import main
from engine.common.hashing import file_sha256
from engine.common.paths import CHECKOUT
from engine.runtime.doctor import report
from engine.storage import former
from engine.storage.ledger import Ledger, database
from engine.storage.parts import read_table, write_part
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from tests.fixtures.distillation_workspace import distillation_recipe, fill_distilled_workspace

FORMER_LEDGER = """
ALTER TABLE work_units RENAME TO shards;
DROP INDEX work_units_run;
CREATE INDEX shards_run ON shards (run);
DROP TABLE requests;
CREATE TABLE asks (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, answer TEXT,
    asked REAL NOT NULL);
"""


@pytest.fixture
def run(workspace: Workspace) -> str:
    """A distillation as the version before wrote it: parts of `worth`, columns and tables under their former names."""
    run = fill_distilled_workspace(workspace, distillation_recipe())
    ledger = Ledger(workspace)
    ledger.end_units(run, "done", attempts=[ledger.begin_unit(run, "distil", "node")])
    with closing(sqlite3.connect(workspace.ledger)) as db:
        for part in ledger.parts(run):
            if part.table in former.COLUMNS:
                names = {now: before for before, now in former.COLUMNS[part.table].items()}
                path = part.path(workspace)
                table = pq.read_table(path)
                pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), path)
                db.execute(
                    "UPDATE parts SET tbl = ?, size = ?, sha256 = ? WHERE run = ? AND tbl = ? AND name = ?",
                    (
                        {"evaluation": "worth"}.get(part.table, part.table),
                        path.stat().st_size,
                        file_sha256(path),
                        run,
                        part.table,
                        part.name,
                    ),
                )
        db.commit()
        db.executescript(FORMER_LEDGER)
    (workspace.parts / run / "evaluation").rename(workspace.parts / run / "worth")
    return run


@pytest.fixture
def expected(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The evaluations and the first distilled set of the same run, written by this version."""
    workspace = Workspace(tmp_path / "new").create()
    return from_store(workspace, fill_distilled_workspace(workspace, distillation_recipe()))


def from_store(workspace: Workspace, run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    with closing(Store(workspace)) as store:
        store.sync(Ledger(workspace))
        assert store.problems() == []
        return store.evaluations(run), store.distilled(run, distillation_recipe().sets()[0]).assign(
            step=store.distilled_sets(run)["step"].iloc[0]
        )


def on_disk(workspace: Workspace) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(workspace.parts.rglob("*.parquet"))}


def tables(workspace: Workspace) -> set[str]:
    with closing(sqlite3.connect(workspace.ledger)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")}


def test_every_reader_knows_the_former_names(
    workspace: Workspace, run: str, expected: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """Protects results made before: ledger, table, store and doctor read them, and leave the parts as they are."""
    before = on_disk(workspace)
    assert any("/worth/" in path for path in before)
    assert not any("/evaluation/" in path for path in before)
    ledger = Ledger(workspace)
    parts = ledger.parts(run, "evaluation")
    assert {part.table for part in parts} == {"evaluation"}
    assert set(parts) == {part for part in ledger.parts(run) if part.table == "evaluation"}
    rows = read_table(workspace, parts, "evaluation").to_pandas()
    assert len(rows) == len(expected[0])
    assert rows["flops"].sum() == expected[0]["flops"].sum()
    assert read_table(workspace, ledger.parts(run, "distilled"), "distilled").column("best").to_pylist().count(True)
    for found, wanted in zip(from_store(workspace, run), expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted)
    lines = list(report(workspace, rebuild_store=False))
    assert f"{len(before)} of {len(before)} parts are intact" in lines
    assert on_disk(workspace) == before


@pytest.mark.parametrize("name", ["evaluation", "worth"])
def test_a_table_by_either_name(workspace: Workspace, run: str, name: str, tmp_path: Path) -> None:
    """Protects scripts that ask for the table by the name it had."""
    out = tmp_path / "rows.json"
    assert main(["table", run, name, "--out", str(out), "--workspace", str(workspace.root)]) == 0
    rows = json.loads(out.read_text())
    assert rows
    assert {"eval_seed", "flops"} <= rows[0].keys()
    assert not {"head", "operations"} & rows[0].keys()


def test_a_lost_part_is_named_forgotten_and_made_under_the_new_name(workspace: Workspace, run: str) -> None:
    """Protects repairs: a part lost from the former folder leaves the ledger, and what takes its place is found."""
    ledger = Ledger(workspace)
    lost = ledger.parts(run, "evaluation")[0]
    assert lost.path(workspace) == workspace.parts / run / "worth" / f"{lost.name}.parquet"
    rows = read_table(workspace, [lost], "evaluation").to_pylist()
    lost.path(workspace).unlink()
    lines = list(report(workspace, rebuild_store=True))
    assert f"the part worth/{lost.name} of run {run} is missing" in lines
    assert lost.name not in {part.name for part in ledger.parts(run, "evaluation")}
    ledger.record_parts([write_part(workspace, run, "evaluation", lost.name, rows)])
    again = ledger.parts(run, "evaluation")[-1]
    assert again.path(workspace) == workspace.parts / run / "evaluation" / f"{lost.name}.parquet"
    assert read_table(workspace, [again], "evaluation").to_pylist() == rows
    assert list(report(workspace, rebuild_store=False))


def test_an_old_ledger_is_renamed_on_opening(workspace: Workspace, run: str) -> None:
    """Protects what nodes of a cluster did: its rows move with the table, and opening again changes nothing."""
    for _ in range(2):
        (attempt,) = Ledger(workspace).attempts(run)
        assert (attempt.name, attempt.outcome) == ("distil", "done")
        assert {"work_units", "work_units_run", "requests"} <= tables(workspace)
        assert not {"shards", "shards_run", "asks"} & tables(workspace)


def test_a_read_only_ledger_stays_as_it_is(workspace: Workspace, run: str) -> None:
    """Protects a presentation of an old workspace: everything is read from the former tables, and nothing written."""
    with closing(sqlite3.connect(workspace.ledger)) as db:
        db.execute("DROP TABLE engines")  # a ledger that is older still
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = workspace.ledger.read_bytes(), tables(workspace)
    presented = Ledger(Workspace(workspace.root, read_only=True))
    assert [attempt.outcome for attempt in presented.attempts(run)] == ["done"]
    assert presented.request(1) is None
    assert not presented.engine_alive()
    assert len(presented.parts(run, "evaluation")) > 1
    assert (workspace.ledger.read_bytes(), tables(workspace)) == before
    Ledger(workspace)  # and it goes on reading when an engine has renamed the tables
    assert [attempt.outcome for attempt in presented.attempts(run)] == ["done"]


def test_an_opening_that_is_interrupted_changes_nothing(
    workspace: Workspace, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects an old ledger from a half of the change: all of it happens, or none."""
    before = tables(workspace)
    with monkeypatch.context() as patched:
        patched.setattr(database, "INDEXES", ("CREATE INDEX nonsense",))
        with pytest.raises(Exception, match="could not be used"):
            Ledger(workspace)
    assert tables(workspace) == before
    assert len(Ledger(workspace).attempts(run)) == 1


OPEN = """
import sys
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
sys.stdin.readline()
print(len(Ledger(Workspace(Path(sys.argv[1]))).attempts(sys.argv[2])))
"""


def test_two_processes_open_an_old_ledger_at_once(workspace: Workspace, run: str) -> None:
    """Protects the app and the engine, which start together: one renames the tables, both read them."""
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(workspace.root), run],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("\n")
        opener.stdin.flush()
    assert [opener.communicate()[0] for opener in openers] == ["1\n"] * 3
