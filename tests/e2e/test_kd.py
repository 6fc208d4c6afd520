"""The page of distilled students in a real browser: a link on the very first visit, the map, the galleries."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.storage.workspace import Workspace
from tests.e2e.conftest import settled
from tests.fixtures import sentences
from tests.fixtures.kd_workspace import fill_grid_workspace

pytestmark = pytest.mark.browser

Serve = Callable[..., str]


def test_deep_link_first_visit(workspace: Workspace, served_app: Serve, page: Page) -> None:
    """The address is right on a fresh server: the frame, the fraction, the score and the open sample, and no notice."""
    fill_grid_workspace(workspace)
    page.goto(f"{served_app(workspace)}/kd_on_pruned_data?kd_score=EL2N&f=25+%25&kd_sample=3")
    expect(page.get_by_role("heading", name="How little data, how much teacher?")).to_be_attached()
    expect(page.get_by_text("At 25 % of the data, kept by EL2N")).to_be_attached()
    expect(page.get_by_text(sentences.PRUNING).first).to_be_attached()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_have_count(1)
    expect(drawer).to_contain_text("row 3")
    expect(page.get_by_text("Page not found")).to_have_count(0)
    assert "f=25" in page.url


def test_a_picture_opens_and_hostile_names_are_text(workspace: Workspace, served_app: Serve, page: Page) -> None:
    """A click on a card opens the sample; class names that try to be markup stay words."""
    fill_grid_workspace(workspace, hostile=True)
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(f"{served_app(workspace)}/kd_on_pruned_data")
    card = page.locator(".gallery button").first
    expect(card).to_be_visible()
    settled(page)
    card.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page).to_have_url(re.compile("kd_sample="))
    assert page.locator(".gallery script, .gallery iframe, .gallery img[onerror]").count() == 0
    assert not alerts


def test_on_a_phone(workspace: Workspace, served_app: Serve, browser: Browser) -> None:
    """Nothing is wider than the window, so the page does not scroll sideways."""
    fill_grid_workspace(workspace)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    try:
        page = context.new_page()
        page.goto(f"{served_app(workspace)}/kd_on_pruned_data")
        expect(page.get_by_role("heading", name=sentences.COST)).to_be_attached()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        context.close()
