"""The Samples page in a real browser: what only a browser can show."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.storage.workspace import Workspace
from tests.e2e.conftest import settled
from tests.fixtures import sentences
from tests.fixtures.pruning_workspace import HOSTILE, fill_workspace

pytestmark = pytest.mark.browser

Serve = Callable[..., str]


@pytest.fixture
def run(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=300, epochs=3)


def sentence(page: Page) -> Locator:
    return page.get_by_role("heading", level=3).filter(has_text=re.compile("^Kept "))


def handle(page: Page) -> Locator:
    return page.get_by_role("slider", name="Threshold tau")


def drawer(page: Page) -> Locator:
    return page.get_by_role("dialog")


def test_deep_link_first_visit(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """The very first visit to a fresh server may be a link: frame, page and every parameter are right."""
    address = served_app(workspace)
    link = f"{address}/samples?epoch=2&plain=true&sample=20&tau=0.9"
    page.goto(link)
    expect(drawer(page)).to_contain_text("row 20")
    expect(drawer(page)).to_contain_text("Darker words")  # the switch for plain words came with the link
    expect(page.get_by_text(sentences.PRUNING).first).to_be_visible()
    expect(page.get_by_text(sentences.PLAIN_WORDS)).to_be_visible()
    expect(sentence(page)).to_be_attached()
    expect(handle(page)).to_have_attribute("aria-valuenow", "0.9")
    assert page.url == link


def test_moving_the_threshold(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """While the handle is dragged the counts follow; let go, the sentence and the address say the same."""
    page.goto(f"{served_app(workspace)}/samples")
    expect(handle(page)).to_be_visible()
    settled(page)
    before = sentence(page).inner_text()
    box = page.locator(".st-key-histogram svg").bounding_box()
    line = handle(page).locator("line").bounding_box()
    assert box is not None
    assert line is not None
    page.mouse.move(line["x"] + line["width"] / 2, line["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, line["y"] + 60, steps=12)
    live = handle(page).get_attribute("aria-valuetext") or ""
    kept = re.search(r"keeps ([\d,]+) of", live)
    assert kept is not None
    assert sentence(page).inner_text() == before  # nothing is asked of the server while dragging
    page.mouse.up()
    expect(sentence(page)).to_contain_text(f"Kept {kept[1]} of")
    expect(page).to_have_url(re.compile(r"tau="))
    settled(page)
    dragged = page.url
    handle(page).press("ArrowRight")
    expect(page).not_to_have_url(dragged)  # one step on
    moved = handle(page).get_attribute("aria-valuetext") or ""
    assert moved != live
    page.reload()
    expect(handle(page)).to_have_attribute("aria-valuetext", moved)  # the address remembers it
    settled(page)
    page.get_by_text("Back to the run's own").click()
    expect(sentence(page)).to_have_text(before)
    expect(page).not_to_have_url(re.compile(r"tau="))


def test_brushing_a_range(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """Dragging across the histogram filters the list; a click clears it."""
    page.goto(f"{served_app(workspace)}/samples")
    expect(handle(page)).to_be_visible()
    settled(page)
    box = page.locator(".st-key-histogram svg").bounding_box()
    assert box is not None
    height = box["y"] + box["height"] * 0.6
    page.mouse.move(box["x"] + box["width"] * 0.3, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, height, steps=8)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"low=.*high="))
    expect(page.get_by_text(re.compile(r"^\d+ of 271 samples, highest"))).to_be_visible()
    settled(page)
    page.mouse.click(box["x"] + box["width"] * 0.9, height)
    expect(page).not_to_have_url(re.compile(r"low="))
    expect(page.get_by_text(re.compile(r"^271 samples, highest"))).to_be_visible()


def test_opening_samples(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """A row opens, the arrow keys go on, a token tells both models' expectations, and the link is copied."""
    page.goto(f"{served_app(workspace)}/samples?tau=0.9")
    ninth = page.locator(".st-key-list tbody tr").nth(8)
    expect(ninth).to_be_visible()
    settled(page)
    ninth.click()
    expect(drawer(page)).to_contain_text("Rank 9 of 271")
    settled(page)
    first = page.url
    assert "sample=" in first
    page.keyboard.press("ArrowRight")
    expect(drawer(page)).to_contain_text("Rank 10 of 271")
    settled(page)
    page.keyboard.press("ArrowLeft")
    expect(drawer(page)).to_contain_text("Rank 9 of 271")
    settled(page)
    assert page.url == first
    token = drawer(page).locator(".token").nth(3)
    token.hover()
    panel = drawer(page).locator(".panel")
    expect(panel).to_contain_text("Teacher expects")
    expect(panel).to_contain_text("Student expects")
    name = panel.locator("b").inner_text()
    token.focus()
    page.keyboard.press("ArrowRight")  # inside the text the arrow keys go from token to token
    expect(drawer(page).locator(".token").nth(4)).to_have_class(re.compile("chosen"))
    assert panel.locator("b").inner_text() != name
    expect(drawer(page)).to_contain_text("Rank 9 of 271")
    drawer(page).get_by_text("Copy link").click()
    expect(drawer(page)).to_contain_text("copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{first}&run={run}"  # named, because the newest run is another one tomorrow
    page.keyboard.press("Escape")
    expect(drawer(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("sample="))
    settled(page)
    ninth.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(drawer(page)).to_contain_text("Rank 10 of 271")
    settled(page)
    page.keyboard.press("Escape")
    expect(drawer(page)).to_have_count(0)
    settled(page)
    ninth.click()  # a row opens as often as one likes
    expect(drawer(page)).to_contain_text("Rank 9 of 271")


def test_deciding_by_hand(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """Pruned with one key, the sample is out when the drawer closes, and the sentence counts the decision by hand."""
    page.goto(f"{served_app(workspace)}/samples?sample=20&tau=0.01")
    expect(drawer(page)).to_contain_text("row 20")
    settled(page)
    page.keyboard.press("p")
    expect(drawer(page)).to_contain_text("pruned by hand")
    expect(drawer(page)).to_contain_text("take back")
    settled(page)
    page.keyboard.press("Escape")
    expect(sentence(page)).to_contain_text("Kept 269 of 271 samples")  # all but this one and the one without a score
    expect(sentence(page)).to_contain_text(sentences.BY_HAND)


def test_hostile_text_is_text(workspace: Workspace, run: str, served_app: Serve, page: Page) -> None:
    """No script, image, link or style of a sample comes alive, neither in the list nor in the drawer."""
    alive: list[str] = []
    page.on("dialog", lambda dialog: (alive.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: alive.append(request.url) if "invalid" in request.url else None)
    address = served_app(workspace)
    for row, (instruction, _) in enumerate(HOSTILE):
        page.goto(f"{address}/samples?sample={row}&q={'picture' if row == 1 else ''}")
        text = drawer(page).locator(".tokens").first
        expect(text).to_be_visible()
        shown = "".join(text.inner_text().split()).replace("⏎", "")
        wanted = "".join(instruction.split())
        for character in wanted:
            assert character in shown or not character.isprintable(), (row, character, shown)
        assert drawer(page).locator("img, a[href^=javascript], .katex").count() == 0
        assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert "⟨RLO⟩" in page_text_of(page, address, 3)
    assert "␛" in page_text_of(page, address, 2)
    assert alive == []


def page_text_of(page: Page, address: str, row: int) -> str:
    page.goto(f"{address}/samples?sample={row}")
    expect(drawer(page).locator(".tokens").first).to_be_visible()
    return drawer(page).locator(".heat").inner_text()


@pytest.mark.parametrize("path", ["/samples", "/samples?sample=20&plain=true"])
def test_on_a_phone(workspace: Workspace, run: str, served_app: Serve, browser: Browser, path: str) -> None:
    """At phone width nothing makes the page scroll sideways, and the handle can be reached."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{served_app(workspace)}{path}")
    expect(handle(page)).to_be_attached()
    if "sample" in path.partition("?")[2]:
        expect(drawer(page).locator(".tokens").first).to_be_visible()
    settled(page)
    wide = "[...document.querySelectorAll('body, [data-testid=stMain], [role=dialog]')]"
    assert page.evaluate(f"{wide}.every(e => e.scrollWidth <= e.clientWidth + 1)")
    context.close()
