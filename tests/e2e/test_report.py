"""The report in a real browser, from a file, as people without the app open it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from engine.storage.ledger import Ledger
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace
from pages.shared.report import html_report
from tests.fixtures.pruning_workspace import fill_workspace

pytestmark = pytest.mark.browser


def test_report_opens_alone(workspace: Workspace, ledger: Ledger, tmp_path: Path, page: Page) -> None:
    """Every chart is drawn, nothing but the file is requested, no script of a sample runs, the console is quiet."""
    run = fill_workspace(workspace, samples=120, epochs=3, seeds=(0, 1))
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    file = tmp_path / "report.html"
    scoring = store.scoring(run, 0, 1, "kl")
    file.write_text(html_report(store, ledger, ledger.run(run), SampleQuery(scoring, tau=0.5)), encoding="utf-8")
    messages: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    assert page.locator(".chart .main-svg").count() >= page.locator(".chart").count() == 7
    assert (messages, requested) == ([], [file.as_uri()])
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth == 390")  # charts follow the window a moment later
