"""The engine as a process: it works on the queue, answers requests, cancels runs, and its workers end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.common.errors import ReadOnlyError
from engine.common.paths import CHECKOUT
from engine.config.pruning import DynamicPruningRecipe
from engine.runtime.supervisor import start_detached
from engine.storage.ledger import Ledger, Request
from engine.storage.workspace import Workspace
from tests.fixtures.tiny import tiny_recipe, write_rows

LONG = 120.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("supervisor") / "workspace").create()


@pytest.fixture(scope="module")
def engine(home: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "serve", "--workspace", str(home.root)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source of all runs, so that its models are trained once."""
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def dynamic_alone(rows: Path, epochs: int) -> DynamicPruningRecipe:
    """A study of one arm, with models that are hardly trained."""
    hardly = {f"scratch__models__{model}__epochs": 0.25 for model in ("teacher", "student")}
    return tiny_recipe(rows, seeds=[0], arms=["dynamic"], training__epochs=epochs, **hardly)


@pytest.fixture(scope="module")
def finished(home: Workspace, engine: subprocess.Popen[bytes], rows: Path) -> str:
    """The id of a run that the engine has done."""
    ledger = Ledger(home)
    run = ledger.submit(dynamic_alone(rows, epochs=1))
    wait(lambda: ledger.run(run).state not in ("queued", "running"))
    assert ledger.run(run).state == "done", ledger.run(run).error
    return run


def wait(until: Any) -> None:
    started = time.monotonic()
    while not until():
        assert time.monotonic() - started < LONG
        time.sleep(0.05)


def answered(home: Workspace, kind: str, payload: dict[str, Any]) -> Request:
    ledger = Ledger(home)
    request = ledger.submit_request(kind, payload)
    wait(lambda: (found := ledger.request(request)) is not None and found.answer is not None)
    found = ledger.request(request)
    assert found is not None
    return found


def test_the_engine_sends_heartbeats(home: Workspace, engine: subprocess.Popen[bytes]) -> None:
    """The engine bar of the app depends on them."""
    wait(Ledger(home).engine_alive)


def test_a_finished_run_leaves_a_log_and_its_provenance(home: Workspace, finished: str) -> None:
    run = Ledger(home).run(finished)
    assert run.fraction == 1.0
    assert "is done" in Ledger(home).log_path(finished).read_text(encoding="utf-8")
    for key in (
        "teacher_hash",
        "student_hash",
        "tokenizer_hash",
        "template_hash",
        "dtype",
        "device",
        "versions",
        "tau",
    ):
        assert run.provenance[key], key


@pytest.mark.parametrize("student", ["base", "dynamic"])
def test_a_trace_shows_where_the_models_differ(home: Workspace, finished: str, student: str) -> None:
    """The playground: every token has a KL and the leading tokens of both models."""
    payload = {"run": finished, "student": student, "instruction": "What is 2 plus 3?", "input": "", "response": "5"}
    answer = answered(home, "trace", payload)
    assert answer.state == "answered", answer.answer
    assert answer.answer is not None
    count = len(answer.answer["tokens"])
    assert "".join(answer.answer["tokens"]) == "What is 2 plus 3?\n5"
    assert len(answer.answer["kl"]) == count
    assert all(len(leaders) == 5 for leaders in answer.answer["teacher_tokens"])
    assert answer.answer["metrics"]["kl"] == pytest.approx(sum(answer.answer["kl"]) / count, rel=1e-4)


def test_training_changes_the_trace(home: Workspace, finished: str) -> None:
    """The student after training differs from the one before, which a request leaves as it was."""
    payload = {"run": finished, "instruction": "Say lamp 2 times.", "input": "", "response": "lamp lamp "}
    kl = []
    for student in ("base", "dynamic", "base"):
        answer = answered(home, "trace", payload | {"student": student}).answer
        assert answer is not None
        kl.append(answer["metrics"]["kl"])
    assert kl[0] == kl[2] != kl[1]


def test_an_empty_response_is_refused(home: Workspace, finished: str) -> None:
    payload = {"run": finished, "student": "base", "instruction": "Hello", "input": "", "response": "  "}
    answer = answered(home, "trace", payload)
    assert answer.state == "refused"
    assert answer.answer is not None
    assert "response is empty" in answer.answer["error"]


def test_a_preview_shows_columns_and_lengths(home: Workspace, engine: subprocess.Popen[bytes], tmp_path: Path) -> None:
    source = str(write_rows(tmp_path / "rows.jsonl"))
    answer = answered(home, "preview", {"data": {"source": source}, "model": ""}).answer
    assert answer is not None
    assert answer["mapping"] == {"instruction": "instruction", "input": "input", "response": "output", "system": ""}
    assert answer["lengths"]["unit"] == "characters"


def test_a_check_counts_and_estimates(home: Workspace, engine: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Before anything starts a person sees samples, tokens, memory and where the models come from."""
    recipe = tiny_recipe(write_rows(tmp_path / "rows.jsonl"))
    answer = answered(home, "check", {"recipe": recipe.model_dump(mode="json")}).answer
    assert answer is not None
    assert answer["ok"], answer["problems"]
    assert answer["samples"] == 80
    assert answer["tokens"] > 0
    assert answer["memory_bytes"] > 0
    assert answer["teacher"]["parameters"] > answer["student"]["parameters"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": {"teacher": "scratch:student", "student": "scratch:student"}}, "the same model"),
        ({"data": {"source": "no-such-file.jsonl"}}, "no-such-file.jsonl"),
        ({"models": {"teacher": "no-such-folder/at-all", "student": "scratch:student"}}, "no-such-folder/at-all"),
    ],
)
def test_a_check_finds_what_would_fail(
    home: Workspace, engine: subprocess.Popen[bytes], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """Before the start, not after an hour."""
    recipe = tiny_recipe(write_rows(tmp_path / "rows.jsonl")).model_dump(mode="json")
    answer = answered(home, "check", {"recipe": recipe | change}).answer
    assert answer is not None
    assert not answer["ok"]
    assert any(words in problem for problem in answer["problems"]), answer["problems"]


def test_a_running_run_is_cancelled_and_resumed(
    home: Workspace, engine: subprocess.Popen[bytes], finished: str, rows: Path
) -> None:
    """It stops within a batch; what it finished stays; resumed it ends."""
    ledger = Ledger(home)
    run = ledger.submit(dynamic_alone(rows, epochs=15))
    wait(lambda: len(ledger.parts(run)) > 5)
    ledger.cancel(run)
    wait(lambda: ledger.run(run).state == "cancelled")
    kept = {(part.table, part.name) for part in ledger.parts(run)}
    assert kept
    ledger.resume(run)
    wait(lambda: ledger.run(run).state == "done")
    assert kept < {(part.table, part.name) for part in ledger.parts(run)}


def test_workers_end_with_their_engine(workspace: Workspace) -> None:
    """An engine that is killed leaves no process behind."""
    start_detached(workspace)
    ledger = Ledger(workspace)
    wait(ledger.engine_alive)
    (process,) = [
        found
        for found in psutil.process_iter(["cmdline"])
        if {str(workspace.root), "serve"} <= set(found.info["cmdline"] or [])
    ]
    wait(lambda: len(process.children()) == 2)
    children = process.children()
    process.kill()
    wait(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_nothing_starts_in_a_read_only_workspace(workspace: Workspace) -> None:
    with pytest.raises(ReadOnlyError, match="cannot start an engine"):
        start_detached(Workspace(workspace.root, read_only=True))
