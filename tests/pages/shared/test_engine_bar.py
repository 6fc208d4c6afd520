"""The frame: no page without it, the label of the engine, and nothing that changes a read-only workspace."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.common.paths import CHECKOUT
from engine.runtime import supervisor
from engine.storage.ledger import Ledger, Run
from engine.storage.workspace import Workspace
from pages.shared import engine_bar, frame
from tests.fixtures import sentences
from tests.fixtures.pruning_workspace import fill_workspace

PAGES = sorted(path.parent.name for path in (CHECKOUT / "pages").glob("*/page.py"))


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.delenv("WINNOW_READ_ONLY", raising=False)
    return AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60)


def framed(app: AppTest) -> bool:
    return [toggle.label for toggle in app.toggle if toggle.key == "plain"] == [sentences.PLAIN_WORDS]


def test_empty_workspace(app: AppTest) -> None:
    """A fresh workspace shows the first page in its frame."""
    app.run()
    assert not app.exception
    assert framed(app)
    assert app.title


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_the_frame(app: AppTest, page: str) -> None:
    """Each page stands in the frame."""
    app.run()
    app.switch_page(f"pages/{page}/page.py").run()
    assert not app.exception
    assert framed(app)


def test_every_page_can_be_the_first_visit() -> None:
    """Protects links: on a fresh server Streamlit looks for `pages/<address>.py`, and each of these starts over."""
    found = sorted((CHECKOUT / "pages").glob("*.py"))
    assert [path.stem.partition("_")[2] for path in found] == [address for *_, address in frame.PAGES[1:]]
    assert len({path.read_text(encoding="utf-8") for path in found}) == 1


def test_an_engine_can_be_started(app: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no engine runs the chip is a button; pressed once, it waits for the heartbeat and offers no second one."""
    started: list[Path] = []
    monkeypatch.setattr(supervisor, "start_detached", lambda workspace: started.append(workspace.root))
    app.run()
    app.button(key="engine_start").click().run()
    assert started == [workspace.root]
    assert "engine_start" not in [button.key for button in app.button]
    Ledger(workspace).beat_engine(time.time())
    app.run()
    assert [badge for badge in texts(app) if "idle" in badge]


def test_read_only(app: AppTest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only workspace has its badge and no button for an engine."""
    monkeypatch.setenv("WINNOW_READ_ONLY", "1")
    app.run()
    assert [text for text in texts(app) if "read-only" in text]
    assert "engine_start" not in [button.key for button in app.button]


def test_damaged_ledger_is_one_sentence(app: AppTest, workspace: Workspace) -> None:
    """A ledger that cannot be read is a message, not a traceback, and its path is plain text."""
    workspace.ledger.write_bytes(b"this is no database at all, " * 40)
    app.run()
    assert not app.exception
    assert "damaged" in app.error[0].value


def texts(app: AppTest) -> list[str]:
    return [markdown.value for markdown in app.markdown]


def runs(workspace: Workspace, state: str) -> list[Run]:
    fill_workspace(workspace, samples=60, epochs=2, seeds=(0,), state=state)
    return Ledger(workspace).runs()


def test_engine_label(workspace: Workspace) -> None:
    """The chip tells work, waiting, idleness and absence apart, in words."""
    assert engine_bar.engine_label([], alive=False) == "not running"
    assert engine_bar.engine_label([], alive=True) == "idle"
    assert engine_bar.engine_label(runs(workspace, "queued"), alive=True) == "starting on 1 run"
    assert engine_bar.engine_label(runs(workspace, "queued"), alive=False) == "not running"
    assert engine_bar.engine_label(runs(workspace, "running"), alive=True) == "working: 1 of 3, 50 %, 40 s left"
    assert engine_bar.engine_label(runs(workspace, "done"), alive=True) == "working: 1 of 3, 50 %, 40 s left"
