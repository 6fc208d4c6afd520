"""The frame: no page without it, what the engine chip says, and nothing to change in a workspace that is presented."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine import service
from engine.ledger import Ledger, Run
from engine.workspace import CHECKOUT, Workspace
from pages.parts import frame_bar
from tests.synthetic import fill_workspace

PAGES = sorted(path.name for path in (CHECKOUT / "pages").glob("*.py"))


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.delenv("WINNOW_READ_ONLY", raising=False)
    return AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60)


def framed(app: AppTest) -> bool:
    return [toggle.label for toggle in app.toggle if toggle.key == "plain"] == ["Plain words"]


def test_empty_workspace(app: AppTest) -> None:
    """A fresh workspace shows the first page in its frame."""
    app.run()
    assert not app.exception
    assert framed(app)
    assert app.title


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_the_frame(app: AppTest, page: str) -> None:
    """Each page stands in the frame, also where Streamlit would run the page alone."""
    app.run()
    app.switch_page(f"pages/{page}").run()  # each run starts as a fresh server does: with the folder taken for the app
    assert not app.exception
    assert framed(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_asks_for_the_frame_first(page: str) -> None:
    """Nothing is drawn before `context.framed()`, so a page alone is never seen."""
    body = ast.parse((CHECKOUT / "pages" / page).read_text(encoding="utf-8")).body
    first = next(
        node
        for node in body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
    assert ast.unparse(first) == "context.framed()"


def test_an_engine_can_be_started(app: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no engine runs the chip is a button; pressed once, it waits for the heartbeat and offers no second one."""
    started: list[Path] = []
    monkeypatch.setattr(service, "start_detached", lambda workspace: started.append(workspace.root))
    app.run()
    app.button(key="engine_start").click().run()
    assert started == [workspace.root]
    assert "engine_start" not in [button.key for button in app.button]
    Ledger(workspace).beat_engine(time.time())
    app.run()
    assert [badge for badge in texts(app) if "idle" in badge]


def test_read_only(app: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that is presented says so and offers no engine."""
    monkeypatch.setenv("WINNOW_READ_ONLY", "1")
    app.run()
    assert [text for text in texts(app) if "read-only" in text]
    assert "engine_start" not in [button.key for button in app.button]


def test_damaged_ledger_is_one_sentence(app: AppTest, workspace: Workspace) -> None:
    """A ledger that cannot be read is told, not thrown, and its path is text whatever it is called."""
    workspace.ledger.write_bytes(b"this is no database at all, " * 40)
    app.run()
    assert not app.exception
    assert "damaged" in app.error[0].value


def texts(app: AppTest) -> list[str]:
    return [markdown.value for markdown in app.markdown]


def runs(workspace: Workspace, state: str) -> list[Run]:
    fill_workspace(workspace, samples=60, epochs=2, seeds=(0,), state=state)
    return Ledger(workspace).runs()


def test_engine_words(workspace: Workspace) -> None:
    """The chip tells work, waiting, idleness and absence apart, in words."""
    assert frame_bar.engine_words([], alive=False) == "not running"
    assert frame_bar.engine_words([], alive=True) == "idle"
    assert frame_bar.engine_words(runs(workspace, "queued"), alive=True) == "starting on 1 run"
    assert frame_bar.engine_words(runs(workspace, "queued"), alive=False) == "not running"
    assert frame_bar.engine_words(runs(workspace, "running"), alive=True) == "working: 1 of 3, 50 %, 40 s left"
    assert frame_bar.engine_words(runs(workspace, "done"), alive=True) == "working: 1 of 3, 50 %, 40 s left"
