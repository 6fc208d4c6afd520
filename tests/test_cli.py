"""The command line: its commands, its exit statuses, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.cli import main
from engine.common.paths import CHECKOUT
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.fixtures.pruning_workspace import fill_workspace
from tests.fixtures.tiny import tiny_recipe, write_rows


@pytest.fixture
def filled(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=80, epochs=2, seeds=(0,))


def engine(workspace: Workspace, *arguments: str) -> int:
    return main([*arguments, "--workspace", str(workspace.root)])


def test_run_prints_the_id_last_and_ends_with_zero(workspace: Workspace, tmp_path: Path) -> None:
    """Scripts read the last line; the recipe is a file, changed by --set."""
    recipe = tiny_recipe(write_rows(tmp_path / "rows.jsonl"))
    lines = ["kind = 'score'", "name = 'mine'", f"data = {{source = '{recipe.data.source}', template = 'plain'}}"]
    lines += ["models = {teacher = 'scratch:big', student = 'scratch:small', max_length = 48}", "[scratch]"]
    lines += ["vocab_size = 300", "corpus = {skip = 80}"]
    lines += ["models.big = {layers = 1, width = 32, heads = 2}", "models.small = {layers = 1, width = 16, heads = 2}"]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "engine",
            "run",
            str(path),
            "--set",
            "data.limit=40",
            "--workspace",
            str(workspace.root),
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = done.stdout.splitlines()[-1]
    assert Ledger(workspace).run(run).state == "done"
    assert {part.table for part in Ledger(workspace).parts(run)} == {"samples", "scores", "token_scores", "states"}


def test_a_failed_run_ends_with_one_and_one_sentence(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert engine(workspace, "run", "alpaca-kl-scratch", "--set", f"data.source={tmp_path / 'no.parquet'}") == 1
    shown = capsys.readouterr()
    assert shown.out.strip().startswith("alpaca-kl-scratch-")
    (sentence,) = [line for line in shown.err.splitlines() if "There is no file" in line]
    assert sentence.startswith("winnow: ")
    assert engine(workspace, "log", shown.out.split()[-1]) == 0
    assert sentence.removeprefix("winnow: ") in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["run", "no-such-recipe"], ["submit", "demo-kl", "--set", "pruning.tauu=1"]])
def test_a_recipe_that_is_wrong_ends_with_two(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Wrong usage and a failed run have different statuses."""
    assert engine(workspace, *arguments) == 2
    assert capsys.readouterr().err.startswith("winnow: ")
    assert Ledger(workspace).runs() == []


def test_wrong_usage_ends_with_two(workspace: Workspace) -> None:
    with pytest.raises(SystemExit) as caught:
        engine(workspace, "export", "x", "--out", "y")
    assert caught.value.code == 2


def test_submit_queues_and_runs_lists_it(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert engine(workspace, "submit", "demo-kl", "--set", "training.epochs=2") == 0
    run = capsys.readouterr().out.strip()
    assert engine(workspace, "runs", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["id"] == run
    assert (listed["kind"], listed["state"], listed["recipe"]) == ("dynamic-pruning", "queued", "demo-kl")
    assert listed["progress"] == 0
    assert engine(workspace, "cancel", run) == 0
    assert Ledger(workspace).run(run).state == "cancelled"
    assert engine(workspace, "resume", run) == 0
    assert Ledger(workspace).run(run).state == "queued"
    capsys.readouterr()
    assert engine(workspace, "show", run, "--json") == 0
    assert json.loads(capsys.readouterr().out)["settings"]["training"]["epochs"] == 2


def test_the_demo_is_queued_once(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`make app` may be called again and again."""
    for _ in range(2):
        assert engine(workspace, "demo", "--queue") == 0
    assert [run.name for run in Ledger(workspace).runs()] == [
        "demo-digits-distill",
        "demo-text-distill",
        "demo-kd",
        "demo-kl",
    ]
    capsys.readouterr()


def test_nothing_is_queued_read_only(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert engine(workspace, "submit", "demo-kl", "--read-only") == 1
    assert "read-only" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_table_writes_rows(workspace: Workspace, filled: str, tmp_path: Path, ending: str) -> None:
    """The columns are those of the schema, in every format."""
    out = tmp_path / f"scores.{ending}"
    assert engine(workspace, "table", filled, "scores", "--out", str(out)) == 0
    if ending == "parquet":
        assert pq.read_table(out).column_names == ["run", "arm", "seed", "epoch", "row", "metric", "value"]
    elif ending == "csv":
        assert out.read_text().splitlines()[0] == "run,arm,seed,epoch,row,metric,value"
    else:
        rows = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert rows[0].keys() == {"run", "arm", "seed", "epoch", "row", "metric", "value"}


def test_an_unknown_format_is_refused(
    workspace: Workspace, filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine(workspace, "table", filled, "scores", "--out", str(tmp_path / "x.xlsx")) == 1
    assert "must end in" in capsys.readouterr().err


def test_export_keeps_a_fraction(
    workspace: Workspace, filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine(workspace, "export", filled, "--fraction", "0.5", "--out", str(tmp_path / "kept")) == 0
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    assert json.loads(capsys.readouterr().out) == manifest
    assert pq.read_table(tmp_path / "kept" / "data.parquet").num_rows == 36


@pytest.mark.parametrize("cut", [("--fraction", "0"), ("--fraction", "1.2"), ("--tau", "-1"), ("--tau", "1e9")])
def test_export_refuses_what_makes_no_sense(
    workspace: Workspace, filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: tuple[str, str]
) -> None:
    assert engine(workspace, "export", filled, f"{cut[0]}={cut[1]}", "--out", str(tmp_path / "kept")) == 1
    assert capsys.readouterr().err.count("winnow: ") == 1
    assert not (tmp_path / "kept" / "manifest.json").exists()


def test_a_missing_run_is_named(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "log", "cancel", "resume"):
        assert engine(workspace, command, "missing") == 1
        assert "There is no run called 'missing'" in capsys.readouterr().err


def test_the_doctor_finds_and_repairs(workspace: Workspace, filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged part is named and removed, and its run queued again; a damaged store is rebuilt."""
    assert engine(workspace, "doctor") == 0
    ledger = Ledger(workspace)
    damaged = ledger.parts(filled, "scores")[0]
    damaged.path(workspace).write_bytes(b"damaged")
    assert engine(workspace, "doctor") == 1
    shown = capsys.readouterr()
    assert f"scores/{damaged.name}" in shown.out
    assert "--rebuild" in shown.err
    workspace.store.mkdir(exist_ok=True)
    assert engine(workspace, "doctor", "--rebuild") == 0
    assert damaged not in ledger.parts(filled)
    assert ledger.run(filled).state == "queued"


def test_a_reader_that_stops_early_is_no_failure(workspace: Workspace, filled: str) -> None:
    """`table RUN scores | head` ends in silence, not in a traceback."""
    ended = subprocess.run(
        [
            "bash",
            "-c",
            f'"{sys.executable}" -m engine table {filled} scores --workspace "{workspace.root}" | head -n 1',
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "[\n"
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr
