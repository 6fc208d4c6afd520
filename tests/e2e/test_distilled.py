"""The page of distilled data in a real browser: what was learned, its film, and the way out."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from engine.storage.workspace import Workspace
from tests.e2e.conftest import settled
from tests.fixtures import sentences
from tests.fixtures.distillation_workspace import HOSTILE_CLASSES, distillation_recipe, fill_distilled_workspace

pytestmark = pytest.mark.browser

Serve = Callable[..., str]


def test_from_the_headline_to_the_file(workspace: Workspace, served_app: Serve, page: Page) -> None:
    """A visitor comes by the address, reads, scrubs the film back to its start, and takes the set away."""
    run = fill_distilled_workspace(workspace, distillation_recipe(per_class=(1, 2), inner_steps=(5,)))
    page.goto(f"{served_app(workspace)}/distilled_data?distilled_per_class=2")
    expect(page.get_by_role("heading", name="What would a handful of samples have to say?")).to_be_attached()
    expect(page.get_by_text(re.compile("4 synthetic sentences reach ")).first).to_be_visible()
    expect(page.locator(".distilled article").first).to_be_attached()
    settled(page)

    film = page.get_by_role("slider", name=sentences.OUTER_STEP)
    film.scroll_into_view_if_needed()
    film.focus()
    film.press("Home")
    expect(page).to_have_url(re.compile(r"distilled_step=0\b"))
    expect(page.locator(".distilled .changed.warn")).to_have_count(4)  # at the start no token differs
    settled(page)

    page.get_by_role("button", name=sentences.EXPORT_SET).click()
    expect(page.get_by_text("load_file").first).to_be_visible()
    settled(page)
    with page.expect_download() as found:
        page.get_by_role("button", name=re.compile("^Download ")).click()
    assert found.value.suggested_filename.startswith(run)
    with zipfile.ZipFile(found.value.path()) as archive:
        assert {"data.parquet", "distilled.safetensors", "student.py", "train.py"} <= set(archive.namelist())


def test_hostile_texts_are_text(workspace: Workspace, served_app: Serve, page: Page) -> None:
    """Classes, texts and tokens that try to be markup stay words: no dialog, no script, nothing asked of strangers."""
    fill_distilled_workspace(workspace, distillation_recipe(per_class=(2,), inner_steps=(5,)), hostile=True)
    alerts: list[str] = []
    asked: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served_app(workspace)}/distilled_data")
    cards = page.locator(".distilled")
    expect(cards.locator("article").first).to_be_attached()
    expect(cards.locator("h4 .name").first).to_have_text(HOSTILE_CLASSES[0])
    settled(page)
    film = page.get_by_role("slider", name=sentences.OUTER_STEP)
    film.scroll_into_view_if_needed()
    film.focus()
    film.press("End")
    expect(page).to_have_url(re.compile("distilled_step=500"))
    settled(page)
    page.get_by_role("button", name=sentences.EXPORT_SET).click()
    expect(page.get_by_role("button", name=re.compile("^Download "))).to_be_visible()
    assert cards.locator("script, iframe, style, img[onerror], a").count() == 0
    assert not [url for url in asked if "example.invalid" in url or "//a.b" in url]
    assert not alerts
