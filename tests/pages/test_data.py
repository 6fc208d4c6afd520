"""Data & models, driven: empty, adding data in each of three ways, what is kept and removed, hostile, read-only."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from engine.common.errors import WinnowError
from engine.config.data import DataSettings
from engine.config.load import parse_recipe
from engine.data.preview import preview
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from pages.data.preview import KEPT_CHARACTERS, KEPT_ROWS, stored, strip
from tests.fixtures import sentences
from tests.fixtures.app import Show, opener, press, screen_text
from tests.fixtures.pruning_workspace import fill_workspace

ROWS = [
    {"question": "What is 2 + 2?", "answer": "4", "kind": "sum"},
    {"question": "Say <script>alert(1)</script> \x1b[31m", "answer": "[x](javascript:alert(1))", "kind": "odd"},
    {"question": "What is missing?", "answer": "", "kind": "odd"},
]
HOSTILE_NAME = "<b>x</b> :red[y] ![z](http://a.b/c.png)"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, "pages/data/page.py")


def answered(app: AppTest, ledger: Ledger) -> AppTest:
    """The page after the engine has answered its request."""
    ask = ledger.next_request()
    assert ask is not None
    assert ask.kind == "preview"
    try:
        ledger.answer(ask.id, preview(DataSettings.model_validate(ask.payload["data"])))
    except WinnowError as error:
        ledger.answer(ask.id, {"error": str(error)}, refused=True)
    app.run()
    assert not app.exception
    return app


def request_preview(app: AppTest, path: Path) -> AppTest:
    app.text_input("data_path").set_value(str(path))
    return press(app, sentences.PREVIEW)


def test_empty_workspace(workspace: Workspace, show: Show) -> None:
    """An empty workspace explains what data is, offers to add some, and has no models."""
    app = show(workspace)
    assert "No data yet." in screen_text(app)
    assert "No pair of models has been used here yet." in screen_text(app)
    assert app.text_input("data_hub")


def test_path_is_previewed_mapped_and_saved(workspace: Workspace, ledger: Ledger, rows: Path, show: Show) -> None:
    """From a path to saved data: the counts, the rows as plain text, and the columns that were found."""
    app = show(workspace, data_from="A path on this machine")
    request_preview(app, rows)
    assert sentences.NO_ENGINE in "\n".join(warning.value for warning in app.warning)
    answered(app, ledger)
    assert "3 rows\\. 2 can be used\\: 1 has no response\\." in screen_text(app).replace("\u2060", "")
    table = app.dataframe[0].value
    assert list(table.iloc[1]) == ["Say <script>alert(1)</script> ␛[31m", "[x](javascript:alert(1))", "odd"]
    app.text_input("data_name").set_value("my rows")
    press(app, sentences.SAVE)
    (kept,) = ledger.datasets()
    assert (kept["name"], kept["settings"]["source"]) == ("my rows", str(rows))
    columns = {"instruction": "question", "input": "", "response": "answer", "system": ""}
    assert kept["settings"]["columns"] == columns
    assert kept["info"]["lengths"]["unit"] == "characters"
    assert "my rows is saved" in screen_text(app)
    assert "One set of data, read by no run yet." in screen_text(app)


def test_columns_can_be_mapped_by_hand(workspace: Workspace, ledger: Ledger, tmp_path: Path, show: Show) -> None:
    """Columns of unusual names are shown with the reason, and choosing them requests another preview."""
    path = tmp_path / "odd.jsonl"
    path.write_text('{"eins": "What is 1 + 1?", "zwei": "2"}\n', encoding="utf-8")
    app = show(workspace, data_from="A path on this machine")
    answered(request_preview(app, path), ledger)
    assert "response" in app.error[0].value
    assert not [button for button in app.button if button.label == sentences.SAVE]
    app.selectbox("data_column_response").set_value("zwei").run()
    answered(app, ledger)
    app.selectbox("data_column_instruction").set_value("eins").run()
    answered(app, ledger)
    assert not app.error
    press(app, sentences.SAVE)
    assert ledger.datasets()[0]["settings"]["columns"] == {
        "instruction": "eins",
        "input": "",
        "response": "zwei",
        "system": "",
    }


def test_upload_is_stored_and_previewed(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """An upload lies in the workspace under a safe name, and is what is previewed."""
    app = show(workspace, data_from="Upload a file")
    press(app, sentences.PREVIEW)
    assert "No file has been chosen" in app.error[0].value
    app.file_uploader(key="data_upload").upload("my rows.jsonl", json.dumps(ROWS[0]).encode())
    answered(press(app, sentences.PREVIEW), ledger)
    (stored,) = workspace.uploads.iterdir()
    assert stored.read_text(encoding="utf-8") == json.dumps(ROWS[0])
    assert "1 row" in screen_text(app)


def test_refusal_and_missing_source_are_sentences(
    workspace: Workspace, ledger: Ledger, tmp_path: Path, show: Show
) -> None:
    """Nothing named, and a file that is not there: one sentence each, no traceback."""
    app = show(workspace, data_from="A path on this machine")
    press(app, sentences.PREVIEW)
    assert "No source was given" in app.error[0].value
    answered(request_preview(app, tmp_path / "absent.jsonl"), ledger)
    assert "There is no file" in app.error[0].value


def test_waiting_can_be_stopped(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """A person who does not want to wait gets the form back; a late answer changes nothing."""
    ledger.beat_engine(0.0)
    app = show(workspace)
    app.text_input("data_hub").set_value("some/set")
    press(app, sentences.PREVIEW)
    assert sentences.READING_ROWS in screen_text(app)
    press(app, sentences.STOP_WAITING)
    app.run()
    assert sentences.READING_ROWS not in screen_text(app)
    answered(app, ledger)
    assert not app.error


def test_runs_make_data_and_models_known(workspace: Workspace, show: Show) -> None:
    """What a run read and which models read it is known without anybody adding it."""
    run = fill_workspace(workspace, samples=60, epochs=2, seeds=(0,))
    Ledger(workspace).set_provenance(run, teacher_parameters=800_000, student_parameters=200_000)
    app = show(workspace)
    words = screen_text(app).replace("\\", "").replace("\u2060", "")
    assert sentences.ONE_SET_READ in words
    assert "60 samples, 5 of them held out" in words or "60 samples, 6 of them held out" in words
    assert "scratch:teacher" in words
    assert "800 k parameters · 3.2 MB in memory as float32" in words
    assert "The teacher is 4.0 times the student" in words


def test_run_can_be_started_from_saved_data(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """The form of the Dynamic pruning page begins with the data and its columns, as a recipe that can be run."""
    settings = DataSettings.model_validate({"source": "/data/x.jsonl", "columns": {"response": "answer"}})
    ledger.add_dataset("Mine!", settings.model_dump(mode="json"), {})
    app = press(show(workspace), "Start a run")
    recipe = parse_recipe(app.session_state["form_base"])
    assert (recipe.data.source, recipe.data.columns.response, recipe.name) == ("/data/x.jsonl", "answer", "mine")
    assert recipe.data.limit == 2000


def test_removing_data_asks_first(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Data is removed by a second button, and a run's data has none."""
    fill_workspace(workspace, samples=60, epochs=2, seeds=(0,))
    ledger.add_dataset("mine", DataSettings(source="/data/x.jsonl").model_dump(mode="json"), {})
    app = show(workspace)
    assert len([button for button in app.button if button.label == sentences.REMOVE]) == 1
    press(app, sentences.REMOVE)
    assert ledger.datasets() == []


def test_hostile_names_are_inert(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Names and sources that are Markdown or HTML reach the page escaped."""
    ledger.add_dataset(HOSTILE_NAME, DataSettings(source=HOSTILE_NAME).model_dump(mode="json"), {})
    app = show(workspace)
    words = screen_text(app)
    for live in ("<b>", ":red[", "![z]"):
        assert live not in words


def test_read_only_offers_no_change(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Read-only, data and models are there, and nothing that adds, removes or starts."""
    ledger.add_dataset("mine", DataSettings(source="/data/x.jsonl").model_dump(mode="json"), {})
    app = show(workspace, read_only=True)
    assert "mine" in screen_text(app)
    assert "Add data" not in screen_text(app)
    assert not app.button
    assert not app.text_input


@given(st.tuples(*[st.integers(1, 10**6)] * 3).map(sorted))
def test_strip_of_lengths_ends_where_the_sentence_says(lengths: list[int]) -> None:
    """The bars add up to the longest sample, or say that it lies beyond the picture."""
    median, p95, longest = lengths
    figure: go.Figure = strip({"unit": "tokens", "median": median, "p95": p95, "max": longest})
    whole = sum(bar.x[0] for bar in figure.data)
    assert whole == min(longest, 3 * p95)
    assert all(bar.x[0] >= 0 for bar in figure.data)


def test_stored_preview_is_bounded() -> None:
    """The preview stored with data stays small whatever the rows hold."""
    kept = stored({"rows": [{"a": "x" * 10**5, "b": None}] * 20})
    assert len(kept["rows"]) == KEPT_ROWS
    assert kept["rows"][0] == {"a": "x" * KEPT_CHARACTERS, "b": None}
