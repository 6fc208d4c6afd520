"""The ledger: what was submitted, which process runs it, what people decided; shared by several processes."""

from __future__ import annotations

import inspect
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.common.errors import ReadOnlyError, WinnowError
from engine.common.paths import CHECKOUT
from engine.config.kinds import Recipe
from engine.config.load import parse_recipe
from engine.storage.ledger import Ledger
from engine.storage.parts import Part
from engine.storage.workspace import Workspace

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def recipe(name: str = "score") -> Recipe:
    return parse_recipe(
        {"kind": "score", "name": name, "data": {"source": "x"}, "models": {"teacher": "t", "student": "s"}}
    )


def part(name: str, run: str = "run", sha256: str = "0") -> Part:
    return Part(run, "scores", name, 1, 1, sha256)


# -- runs -----------------------------------------------------------------------------------------------------------


def test_a_run_from_submit_to_done(ledger: Ledger) -> None:
    """Protects the plain life of a run: what a page shows at each of its stages."""
    run = ledger.submit(recipe("first"))
    assert run.startswith("first-")
    queued = ledger.run(run)
    assert (queued.state, queued.kind, queued.seconds, queued.interrupted) == ("queued", "score", None, False)
    assert queued.parsed() == recipe("first")
    claimed = ledger.claim()
    assert claimed is not None
    found, lock = claimed
    assert (found.id, found.state) == (run, "running")
    assert ledger.progress(run, "scoring", 0.25, 12.0) is False
    ledger.set_provenance(run, device="cpu")
    ledger.set_provenance(run, tau=0.5)
    working = ledger.run(run)
    assert (working.phase, working.fraction, working.eta) == ("scoring", 0.25, 12.0)
    assert working.provenance == {"device": "cpu", "tau": 0.5}
    ledger.finish(run, "done")
    lock.release()
    done = ledger.run(run)
    assert (done.state, done.fraction, done.eta) == ("done", 1.0, None)
    assert done.seconds is not None
    assert ledger.claim() is None


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".", "line\nbreak", "x" * 300])
def test_names_that_make_no_folder(name: str) -> None:
    """Protects the workspace: a run's id names folders and files, so a recipe's name must be fit for one."""
    with pytest.raises(WinnowError, match="name"):
        recipe(name)


def test_runs_by_the_beginning_of_their_id(ledger: Ledger) -> None:
    """Protects typing a short id: it works if it is unambiguous and is refused if not."""
    first, second = ledger.submit(recipe("alpha")), ledger.submit(recipe("alpine"))
    assert ledger.run("alpha").id == first
    assert ledger.run(second).id == second
    with pytest.raises(WinnowError, match=r"alp could be alp.* or alp.*; write more of the id"):
        ledger.run("alp")
    for unknown in ("beta", "", "%", "alph_"):
        with pytest.raises(WinnowError, match="There is no run called"):
            ledger.run(unknown)
    assert [run.id for run in ledger.runs()] == [second, first]
    assert [run.id for run in ledger.runs(limit=1)] == [second]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "claim", "progress", "done", "failed", "cancelled", "cancel", "resume", "reopen"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@SLOW
@given(actions=ACTIONS)
def test_states(actions: list[tuple[str, int]]) -> None:
    """Protects the states of a run under any order of events, against a plain model of them."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Workspace(Path(folder)).create())
        model: dict[str, str] = {}
        cancelling: set[str] = set()
        locks: dict[str, Any] = {}
        for action, which in actions:
            run = list(model)[which] if which < len(model) else None
            if action == "submit":
                model[ledger.submit(recipe(f"run{len(model)}"))] = "queued"
            elif action == "claim":
                free = [name for name, state in model.items() if state == "queued"]
                claimed = ledger.claim()
                assert (claimed is None) == (not free)
                if claimed:
                    assert claimed[0].id == free[0]  # the oldest
                    model[free[0]], locks[free[0]] = "running", claimed[1]
            elif run is None:
                continue
            elif action == "progress" and model[run] == "running":
                assert ledger.progress(run, "phase", 0.5, None) == (run in cancelling)
            elif action in ("done", "failed", "cancelled") and model[run] == "running":
                ledger.finish(run, action, "why" if action == "failed" else "")
                locks.pop(run).release()
                model[run] = action
                cancelling.discard(run)
            elif action == "cancel" and model[run] in ("queued", "running"):
                ledger.cancel(run)
                if model[run] == "queued":
                    model[run] = "cancelled"
                else:
                    cancelling.add(run)
            elif action == "cancel":
                with pytest.raises(WinnowError, match=f"is already {model[run]}, so there is nothing to cancel"):
                    ledger.cancel(run)
            elif action == "resume" and model[run] in ("failed", "cancelled"):
                ledger.resume(run)
                model[run] = "queued"
            elif action == "resume":
                with pytest.raises(WinnowError, match=f"is {model[run]}; only a failed or cancelled run can be"):
                    ledger.resume(run)
            elif action == "reopen" and model[run] in ("running", "done", "failed"):
                ledger.reopen(run)
                model[run] = "running" if model[run] == "running" else "queued"
            assert {found.id: found.state for found in ledger.runs()} == model
        for lock in locks.values():
            lock.release()


def test_a_cancelled_run_reopened_goes_on(ledger: Ledger) -> None:
    """Protects a repair: a run queued again because parts were lost is not cancelled by an old request."""
    run = ledger.submit(recipe())
    ledger.cancel(run)
    ledger.reopen(run)
    assert ledger.progress(run, "", 0, None) is False


def test_a_failed_run_says_why_until_it_is_resumed(ledger: Ledger) -> None:
    """Protects the sentence on the Runs page, and that it is gone once the run is resumed."""
    run = ledger.submit(recipe())
    claimed = ledger.claim(run)
    assert claimed is not None
    ledger.finish(run, "failed", "The disk is full.")
    claimed[1].release()
    assert ledger.run(run).error == "The disk is full."
    ledger.resume(run)
    assert (ledger.run(run).error, ledger.run(run).finished) == ("", None)


CLAIM = """
import sys
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
ledger = Ledger(Workspace(Path(sys.argv[1])))
print("start", flush=True)
sys.stdin.readline()
while claimed := ledger.claim():
    run, lock = claimed
    ledger.record_parts([])
    ledger.finish(run.id, "done")
    lock.release()
    print(run.id, flush=True)
"""

HOLD = """
import sys, time
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
claimed = Ledger(Workspace(Path(sys.argv[1]))).claim()
print(claimed[0].id, flush=True)
time.sleep(600)
"""


def process(code: str, workspace: Workspace) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_run_is_done_twice(workspace: Workspace, ledger: Ledger) -> None:
    """Protects against two engines on one workspace: every run is worked on by exactly one of them."""
    runs = [ledger.submit(recipe(f"run{n}")) for n in range(12)]
    workers = [process(CLAIM, workspace) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "start\n"
    outputs = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        outputs += worker.communicate(timeout=60)[0].split()
        assert worker.returncode == 0
    assert sorted(outputs) == sorted(runs)


def test_a_run_of_a_killed_worker_is_resumed(workspace: Workspace, ledger: Ledger) -> None:
    """Protects resuming: while the worker is alive no other gets its run, and once it is killed the next one does."""
    run = ledger.submit(recipe())
    worker = process(HOLD, workspace)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == f"{run}\n"
        assert ledger.claim() is None
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        claimed = ledger.claim()
        assert claimed is not None
        assert claimed[0].id == run
        claimed[1].release()
    finally:
        worker.kill()
        worker.communicate()


def test_a_run_started_here_cannot_be_claimed(ledger: Ledger) -> None:
    """Protects `run` in the foreground: an engine that is alive beside it cannot claim it."""
    found, lock = ledger.start(recipe())
    assert found.state == "running"
    assert ledger.claim() is None
    lock.release()
    assert ledger.claim() is not None


def test_interrupted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the word "interrupted": a run without a heartbeat for a while, until the next one."""
    run = ledger.submit(recipe())
    claimed = ledger.claim()
    assert claimed is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert ledger.run(run).interrupted
    ledger.beat(run)
    assert not ledger.run(run).interrupted
    claimed[1].release()


# -- parts ----------------------------------------------------------------------------------------------------------


@SLOW
@given(
    actions=st.lists(
        st.tuples(st.sampled_from(["record", "remove"]), st.sampled_from("abc"), st.sampled_from("01")), max_size=15
    )
)
def test_parts(actions: list[tuple[str, str, str]]) -> None:
    """Protects the list of finished parts: each name once, with what was recorded last."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Workspace(Path(folder)).create())
        model: dict[str, Part] = {}
        for action, name, sha256 in actions:
            if action == "record":
                ledger.record_parts([part(name, sha256=sha256)])
                model[name] = part(name, sha256=sha256)
            else:
                ledger.forget_parts([part(name)])
                model.pop(name, None)
            assert {found.name: found for found in ledger.parts("run", "scores")} == model
        assert ledger.parts("other") == ledger.parts("run", "metrics") == []


def test_parts_version_changes(ledger: Ledger) -> None:
    """Protects the store from missing news: the version changes when a part is recorded, recorded again or removed."""
    versions = [ledger.parts_version()]
    for change in (
        lambda: ledger.record_parts([part("a"), part("b")]),
        lambda: ledger.record_parts([part("a", sha256="1")]),
        lambda: ledger.forget_parts([part("a")]),
        lambda: ledger.record_parts([part("c")]),
    ):
        change()
        assert ledger.parts_version() != versions[-1]
        versions.append(ledger.parts_version())


def test_parts_version_changes_when_the_last_part_is_made_again(ledger: Ledger) -> None:
    """Protects the store from missing a part that was removed and recorded anew between two looks."""
    ledger.record_parts([part("a"), part("b")])
    version = ledger.parts_version()
    ledger.forget_parts([part("b")])
    ledger.record_parts([part("b", sha256="1")])
    assert ledger.parts_version() != version


def test_parts_are_recorded_together(ledger: Ledger) -> None:
    """Protects a unit of work: when one of its parts cannot be recorded, none is."""
    with pytest.raises(Exception, match="rows"):
        ledger.record_parts([part("a"), Part("run", "scores", "b", None, 1, "0")])  # type: ignore[arg-type]
    assert ledger.parts() == []


# -- what people entered --------------------------------------------------------------------------------------------


@SLOW
@given(
    words=st.lists(
        st.tuples(
            st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True),
            st.sampled_from(["keep", "prune", ""]),
            st.sampled_from(["", "a note"]),
        ),
        max_size=12,
    )
)
def test_overrides(words: list[tuple[list[str], str, str]]) -> None:
    """Protects decisions by hand: the last one counts, also one that is undone, and all of them are kept."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Workspace(Path(folder)).create())
        history: dict[str, list[tuple[str, str]]] = {}
        for content_ids, decision, note in words:
            ledger.override(content_ids, decision, note)
            for content_id in content_ids:
                history.setdefault(content_id, []).insert(0, (decision, note))
        last = {key: decisions[0] for key, decisions in history.items() if decisions[0] != ("", "")}
        assert {key: (word.decision, word.note) for key, word in ledger.overrides().items()} == last
        for content_id, decisions in history.items():
            assert [(word.decision, word.note) for word in ledger.override_history(content_id)] == decisions


def test_an_unknown_decision(ledger: Ledger) -> None:
    """Protects the history from words that mean nothing."""
    with pytest.raises(WinnowError, match="A decision by hand is keep, prune or nothing, not 'maybe'"):
        ledger.override(["x"], "maybe")
    assert ledger.override_history("x") == []


def test_datasets(ledger: Ledger) -> None:
    """Protects data people added: newest first, replaced by name, gone when removed."""
    ledger.add_dataset("a", {"source": "a.csv"}, {"rows": 3})
    ledger.add_dataset("b", {"source": "b.csv"}, {"rows": 4})
    ledger.add_dataset("a", {"source": "a2.csv"}, {"rows": 5})
    assert [(found["name"], found["settings"]["source"]) for found in ledger.datasets()] == [
        ("a", "a2.csv"),
        ("b", "b.csv"),
    ]
    ledger.remove_dataset("a")
    assert [found["name"] for found in ledger.datasets()] == ["b"]


# -- requests and engines ----------------------------------------------------------------------------------------------


def test_requests_are_answered_once(ledger: Ledger) -> None:
    """Protects the query worker's queue: oldest first, each taken once, the answer or the refusal found again."""
    first, second = ledger.submit_request("trace", {"n": 1}), ledger.submit_request("check", {"n": 2})
    taken = [ledger.next_request(), ledger.next_request()]
    assert [request.id for request in taken if request] == [first, second]
    assert ledger.next_request() is None
    ledger.answer(first, {"kl": [0.5]})
    ledger.answer(second, {"error": "No."}, refused=True)
    for request, state, answer in ((first, "answered", {"kl": [0.5]}), (second, "refused", {"error": "No."})):
        found = ledger.request(request)
        assert found is not None
        assert (found.state, found.answer) == (state, answer)
    assert ledger.request(99) is None


def test_engines(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the engine chip: alive after a heartbeat, not without one for a while or after its end."""
    assert not ledger.engine_alive()
    ledger.beat_engine(time.time())
    assert ledger.engine_alive()
    ledger.forget_engine()
    assert not ledger.engine_alive()
    ledger.beat_engine(time.time())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert not ledger.engine_alive()


# -- read-only, damage, many at once ----------------------------------------------------------------------------------

WRITING: dict[str, Callable[[Ledger], object]] = {
    "submit": lambda ledger: ledger.submit(recipe()),
    "start": lambda ledger: ledger.start(recipe()),
    "claim": lambda ledger: ledger.claim(),
    "beat": lambda ledger: ledger.beat("run"),
    "progress": lambda ledger: ledger.progress("run", "", 0, None),
    "finish": lambda ledger: ledger.finish("run", "done"),
    "cancel": lambda ledger: ledger.cancel("run"),
    "resume": lambda ledger: ledger.resume("stopped"),
    "reopen": lambda ledger: ledger.reopen("run"),
    "set_provenance": lambda ledger: ledger.set_provenance("run", x=1),
    "extend_provenance": lambda ledger: ledger.extend_provenance("run", x=[1]),
    "begin_unit": lambda ledger: ledger.begin_unit("run", "scores 0", "node"),
    "end_units": lambda ledger: ledger.end_units("run", "done"),
    "record_parts": lambda ledger: ledger.record_parts([part("a")]),
    "forget_parts": lambda ledger: ledger.forget_parts([part("a")]),
    "override": lambda ledger: ledger.override(["x"], "keep"),
    "add_dataset": lambda ledger: ledger.add_dataset("a", {}, {}),
    "remove_dataset": lambda ledger: ledger.remove_dataset("a"),
    "submit_request": lambda ledger: ledger.submit_request("check", {}),
    "next_request": lambda ledger: ledger.next_request(),
    "answer": lambda ledger: ledger.answer(1, {}),
    "beat_engine": lambda ledger: ledger.beat_engine(0),
    "forget_engine": lambda ledger: ledger.forget_engine(),
}
READING = {
    "attempts",
    "datasets",
    "engine_alive",
    "lock",
    "log_path",
    "override_history",
    "overrides",
    "parts",
    "parts_version",
    "request",
    "run",
    "runs",
}


def test_every_method_is_known_to_read_or_write() -> None:
    """Protects the next test from a forgotten method."""
    methods = {name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")}
    assert methods == set(WRITING) | READING


@pytest.mark.parametrize("method", WRITING)
def test_read_only_refuses(workspace: Workspace, ledger: Ledger, method: str) -> None:
    """Protects a presentation: whatever page or command calls it, nothing in the ledger changes."""
    run, stopped = ledger.submit(recipe("run")), ledger.submit(recipe("stopped"))
    ledger.cancel(stopped)
    ledger.submit_request("check", {})
    before = workspace.ledger.read_bytes(), ledger.runs()
    presented = Ledger(Workspace(workspace.root, read_only=True))
    with pytest.raises(ReadOnlyError, match="open read-only, so Winnow cannot "):
        WRITING[method](presented)
    assert (workspace.ledger.read_bytes(), ledger.runs()) == before
    assert presented.run(run).state == "queued"


def test_a_damaged_ledger(workspace: Workspace) -> None:
    """Protects people from SQLite's own words when the ledger is no ledger any more."""
    workspace.ledger.write_bytes(b"not a database " * 1000)
    with pytest.raises(
        WinnowError, match=r"The ledger .* is damaged \(.*\); move it away and restore it from a backup"
    ):
        Ledger(workspace)


def test_a_ledger_torn_in_the_middle(workspace: Workspace) -> None:
    """Protects every reader: damage found later is the same sentence."""
    ledger = Ledger(workspace)
    for number in range(200):
        ledger.submit(recipe(f"run{number}"))
    with ledger._connect() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(workspace.ledger.read_bytes())
    data[4096:] = random.Random(0).randbytes(len(data) - 4096)
    workspace.ledger.write_bytes(data)
    with pytest.raises(WinnowError, match="is damaged"):
        ledger.runs()


FULL = """
import resource, sys
from pathlib import Path
from engine.storage.ledger import Ledger
from engine.storage.parts import Part
from engine.common.errors import WinnowError
from engine.storage.workspace import Workspace
ledger = Ledger(Workspace(Path(sys.argv[1])))
ledger.record_parts([Part("run", "scores", "first", 1, 1, "0")])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    ledger.record_parts([Part("run", "scores", str(number), 1, 1, "0" * 64) for number in range(20_000)])
except WinnowError as error:
    print(error)
print([part.name for part in ledger.parts()])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.record_parts([Part("run", "scores", "second", 1, 1, "0")])
print([part.name for part in ledger.parts()])
"""


def test_a_full_disk(workspace: Workspace) -> None:
    """Protects a run on a full disk: one sentence, nothing half recorded, and it goes on once there is room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(workspace.root)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    sentence, during, after = done.stdout.splitlines()
    assert sentence.startswith(f"The ledger {workspace.ledger} could not be used (")
    assert "free some disk space" in sentence
    assert (during, after) == ("['first']", "['first', 'second']")


def test_a_full_disk_is_named(workspace: Workspace) -> None:
    """Protects people from a sentence about a rollback if the disk is full."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(workspace.root)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert "rollback" not in done.stdout


def test_many_writers_at_once(ledger: Ledger) -> None:
    """Protects against "database is locked": threads that write at the same moment all get their turn."""
    run = ledger.submit(recipe())

    def write(number: int) -> None:
        for count in range(5):
            ledger.record_parts([part(f"{number}-{count}")])
            ledger.set_provenance(run, **{f"fact{number}{count}": count})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.parts()) == len(ledger.run(run).provenance) == 30


# -- work units of a run on a cluster ---------------------------------------------------------------------------------


def test_every_attempt_at_a_work_unit_is_kept(ledger: Ledger) -> None:
    """Protects the page of nodes: an attempt that was lost stays beside the one in its place."""
    run, other = ledger.submit(recipe("run")), ledger.submit(recipe("other"))
    lost, kept = ledger.begin_unit(run, "scores 0", "a"), ledger.begin_unit(run, "scores 1", "b")
    open_elsewhere = ledger.begin_unit(other, "scores 0", "a")
    ledger.end_units(run, "lost", "the node was lost", [lost])
    ledger.end_units(run, "done", attempts=[kept])
    again = ledger.begin_unit(run, "scores 0", "b")
    ledger.end_units(run, "cancelled")  # all that are still open
    found = {attempt.id: (attempt.name, attempt.node, attempt.outcome, attempt.why) for attempt in ledger.attempts(run)}
    assert found == {
        lost: ("scores 0", "a", "lost", "the node was lost"),
        kept: ("scores 1", "b", "done", ""),
        again: ("scores 0", "b", "cancelled", ""),
    }
    assert [attempt.ended for attempt in ledger.attempts(other)] == [None]
    assert ledger.attempts(other)[0].id == open_elsewhere


def test_facts_of_many_workers_are_all_kept(ledger: Ledger) -> None:
    """Protects what several workers record at once about one run: none overwrites what another has added."""
    run = ledger.submit(recipe("run"))
    threads = [
        threading.Thread(target=ledger.extend_provenance, args=(run,), kwargs={"sets": {str(i): i}, "notes": [i]})
        for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ledger.run(run).provenance
    assert found["sets"] == {str(i): i for i in range(12)}
    assert sorted(found["notes"]) == list(range(12))
