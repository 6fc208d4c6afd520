"""The verdict on the command line: as a table of a run, and as a recommendation at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.cli import main
from engine.config.load import to_dict
from engine.config.toml import as_toml
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.fixtures.pruning_workspace import fill_workspace
from tests.fixtures.tiny import tiny_recipe, write_rows


def engine(workspace: Workspace, *arguments: str) -> int:
    return main([*arguments, "--workspace", str(workspace.root)])


def test_the_verdict_is_a_table_of_a_run(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """One row for each arm that chooses, as JSON that every reader takes."""
    run = fill_workspace(workspace, samples=80, epochs=3)
    assert engine(workspace, "table", run, "verdict") == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["arm"] for row in rows] == ["dynamic", "static"]
    assert {"arm", "rival", "multiplier", "low", "high", "net", "settled"} <= rows[0].keys()
    assert rows[0]["multiplier"] > 0
    assert rows[0]["settled"] in (True, False)


def test_a_run_without_arms_or_epochs_has_no_verdict(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence says why."""
    queued = fill_workspace(workspace, samples=80, state="queued")
    assert engine(workspace, "table", queued, "verdict") == 1
    assert "No epoch of run" in capsys.readouterr().err


def test_a_run_can_end_with_a_recommendation(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line before the id names an arm; two seeds of a tiny student cannot settle that it is another than random."""
    recipe = tiny_recipe(write_rows(tmp_path / "rows.jsonl"), training__epochs=3, arms=["dynamic", "random"])
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(to_dict(recipe)), encoding="utf-8")
    assert engine(workspace, "run", str(path), "--pick") == 0
    *_, said, run = capsys.readouterr().out.splitlines()
    assert Ledger(workspace).run(run).state == "done"
    assert re.match(r"Choose (at random \(random\): dynamic|by dynamic)", said)


def test_only_a_run_with_arms_can_be_asked_for_one(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it begins."""
    assert engine(workspace, "run", "demo-kd", "--pick") == 1
    assert "--pick recommends one of the arms of dynamic pruning; pruned-kd has none." in capsys.readouterr().err
    assert not Ledger(workspace).runs()
