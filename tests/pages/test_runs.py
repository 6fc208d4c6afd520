"""The page of runs, driven: empty, listed, opened, cancelled, resumed, compared, read-only."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from streamlit.testing.v1 import AppTest

from engine.config.load import parse_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from pages.runs import detail
from tests.fixtures import sentences
from tests.fixtures.app import Show, opener, plain_text
from tests.fixtures.pruning_workspace import fill_workspace, synthetic_recipe


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, "pages/runs/page.py")


@pytest.fixture
def two(workspace: Workspace) -> tuple[Workspace, str, str]:
    """A failed run of one seed, and a finished one of two."""
    failed = fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="failed-one", state="failed")
    done = fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1), name="done-one")
    return workspace, failed, done


def markup(app: AppTest) -> str:
    return "\n".join(html.proto.body for html in app.get("html"))


def test_empty(workspace: Workspace, show: Show) -> None:
    """Without runs there is a message and a link to the demo."""
    app = show(workspace)
    assert "Nothing has run here yet." in plain_text(app)
    assert [link.proto.label for link in app.get("page_link")] == ["Build the demo, or see where to begin"]


def test_list_and_sentence(two: tuple[Workspace, str, str], show: Show) -> None:
    """The sentence counts the runs by state, and every run is listed with what it does."""
    workspace, failed, done = two
    words = plain_text(show(workspace))
    assert sentences.ONE_DONE_ONE_FAILED in words
    assert failed in words
    assert done in words
    assert "dynamic pruning on synthetic.jsonl" in words


def test_open_by_button_and_by_link(two: tuple[Workspace, str, str], show: Show) -> None:
    """A button and a link open the same run: its error, its recipe, the links to its samples and findings."""
    workspace, failed, _ = two
    by_button = show(workspace)
    by_button.button(f"open_{failed}").click().run()
    by_link = show(workspace, run_open=failed)
    for app in (by_button, by_link):
        assert not app.exception
        assert app.selectbox("run_open").value == failed
        assert sentences.DISK_FULL in app.error[0].value
        assert 'name = "failed-one"' in app.code[0].value
        queries = {link.proto.label: link.proto.query_string for link in app.get("page_link")}
        assert queries["See its samples"] == f"run={failed}"
        assert queries[sentences.SEE_RESULTS] == f"pruning_run={failed}"


def test_unknown_run_in_the_link(two: tuple[Workspace, str, str], show: Show) -> None:
    """A link to a run that is not here opens the page with nothing opened."""
    app = show(two[0], run_open="nobody-knows", run_view="secrets", compare="gone")
    assert app.selectbox("run_open").value is None
    assert not app.code


def test_provenance(two: tuple[Workspace, str, str], show: Show) -> None:
    """Hashes, device and resolved threshold are named in words."""
    workspace, _, done = two
    facts = markup(show(workspace, run_open=done, run_view="provenance"))
    for name in (
        "device",
        "cpu",
        "tokenizer, hash",
        "first τ, as resolved",
        "version of winnow",
        "rows without a score",
    ):
        assert name in facts


def test_resume_and_cancel(two: tuple[Workspace, str, str], show: Show) -> None:
    """A failed run can be resumed and a waiting one cancelled; the ledger knows at once."""
    workspace, failed, done = two
    ledger = Ledger(workspace)
    app = show(workspace)
    assert not [button for button in app.button if done in (button.key or "") and "Resume" in button.key]
    app.button(f"Resume_row_{failed}").click().run()
    assert ledger.run(failed).state == "queued"
    assert sentences.WAITING in app.get("progress")[0].proto.text
    app.button(f"Cancel_row_{failed}").click().run()
    assert not app.exception
    assert ledger.run(failed).state == "cancelled"


def test_cancel_of_a_running_run(workspace: Workspace, show: Show) -> None:
    """A running run is cancelled, shown as stopping, and cannot be cancelled twice."""
    run = fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="busy", state="running")
    app = show(workspace)
    assert "40 s left" in app.get("progress")[0].proto.text
    app.button(f"Cancel_row_{run}").click().run()
    assert Ledger(workspace).run(run).cancel
    assert "stopping" in app.get("progress")[0].proto.text
    assert not [button for button in app.button if (button.key or "").startswith("Cancel")]


def test_interrupted_run(workspace: Workspace, show: Show) -> None:
    """A run whose worker died is interrupted, and has no estimate of time."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="lost", state="running")
    with closing(sqlite3.connect(workspace.ledger)) as db, db:
        db.execute("UPDATE runs SET heartbeat = heartbeat - 3600")
    app = show(workspace)
    assert "One run was interrupted." in plain_text(app)
    assert "interrupted" in app.get("progress")[0].proto.text
    assert "left" not in app.get("progress")[0].proto.text


def test_log_is_inert(two: tuple[Workspace, str, str], show: Show) -> None:
    """The end of the log is shown as text: terminal escapes and broken bytes are visible, nothing is obeyed."""
    workspace, failed, _ = two
    lines = b"first line\n" + b"x\n" * 300 + b"\x1b[31mred <script>alert(1)</script> \xff \xe2\x80\xae\n"
    Ledger(workspace).log_path(failed).write_bytes(lines)
    (shown,) = show(workspace, run_open=failed, run_view="log").code
    assert "first line" not in shown.value
    assert shown.value.endswith("␛[31mred <script>alert(1)</script> � ⟨RLO⟩")
    assert not shown.language or shown.language == "plaintext"


def test_no_log_yet(two: tuple[Workspace, str, str], show: Show) -> None:
    """A run without a log has a message."""
    workspace, _, done = two
    assert "There is no log yet." in plain_text(show(workspace, run_open=done, run_view="log"))


def test_compare(two: tuple[Workspace, str, str], show: Show) -> None:
    """Two finished runs side by side: the settings that differ, and where every arm of each ended."""
    workspace, _, done = two
    other = fill_workspace(workspace, samples=80, epochs=2, seeds=(0, 1), name="other")
    app = show(workspace, run_open=done, run_view="compare", compare=other)
    settings, results = (frame.value for frame in app.dataframe)
    assert list(settings["setting"]) == ["training.epochs"]
    assert list(settings.iloc[0][1:]) == ["3", "2"]
    assert "One setting differs." in plain_text(app)
    assert (results["perplexity, this run"] < results["perplexity, the other"]).all()
    assert len(results) == 4


def test_compare_with_a_run_without_results(two: tuple[Workspace, str, str], show: Show) -> None:
    """If one of the two has no results, only the settings are compared."""
    workspace, _, done = two
    waiting = fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1), name="later", state="queued")
    app = show(workspace, run_open=done, run_view="compare", compare=waiting)
    assert "Both have the same settings." in plain_text(app)
    assert not app.dataframe
    assert "Results stand here side by side once" in plain_text(app)


def test_read_only(two: tuple[Workspace, str, str], show: Show) -> None:
    """Read-only shows every run and offers neither cancel nor resume."""
    workspace, failed, _ = two
    Ledger(workspace).submit(synthetic_recipe("next", 80, 2, [0], ["dynamic"]))
    app = show(workspace, read_only=True, run_open=failed)
    assert failed in plain_text(app)
    assert not [button for button in app.button if (button.key or "").startswith(("Cancel", "Resume"))]


def test_many_runs_are_paged(workspace: Workspace, show: Show) -> None:
    """A page shows a few runs, and the address names the page."""
    ledger = Ledger(workspace)
    runs = [ledger.submit(synthetic_recipe(f"run-{index}", 80, 2, [0], ["dynamic"])) for index in range(11)]
    for run in runs:
        ledger.cancel(run)
    assert "Eleven" not in plain_text(show(workspace))
    assert "11 runs were cancelled." in plain_text(show(workspace))
    second = plain_text(show(workspace, runs_page="2"))
    assert [run in second for run in runs] == [True] * 3 + [False] * 8


def test_hostile_recipe(workspace: Workspace, show: Show) -> None:
    """A recipe whose values are markup is shown as text in the list, the code and the provenance."""
    raw = to_dict(synthetic_recipe("x", 80, 2, [0], ["dynamic"]))
    raw["data"]["source"] = "<script>alert(1)</script>.jsonl"
    raw["models"]["teacher"] = raw["models"]["student"] = "[a](http://bad.invalid)"
    ledger = Ledger(workspace)
    run = ledger.submit(parse_recipe(raw))
    ledger.set_provenance(run, note="<img src=x onerror=alert(1)>")
    app = show(workspace, run_open=run, run_view="provenance")
    drawn = "\n".join(str(e.value) for kind in ("markdown", "caption", "subheader") for e in app.get(kind))
    assert "<script>" not in drawn
    assert "[a](" not in drawn
    assert "&lt;img" in markup(app)
    assert "<img" not in markup(app)


def test_tail_of_a_missing_log(workspace: Workspace) -> None:
    """No file is no text, not an error."""
    assert detail.tail(workspace.logs / "none.log") == ""
