"""The report: it fetches nothing, sample text in it is inert, and its numbers are those of the store."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from engine.analysis import samples
from engine.analysis.pruning_results import results_of
from engine.storage.ledger import Ledger
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace
from pages.shared.report import html_report
from tests.fixtures import sentences
from tests.fixtures.pruning_workspace import HOSTILE, fill_workspace


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] not in ("script", "style"):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.pieces)


@pytest.fixture
def run(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=120, epochs=3, seeds=(0, 1))


@pytest.fixture
def store(workspace: Workspace, ledger: Ledger, run: str) -> Store:
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    return store


def query(store: Store, run: str, **changes: Any) -> SampleQuery:
    scoring = store.scoring(run, 0, 1, "kl")
    return replace(SampleQuery(scoring, tau=store.quantiles(scoring, [0.4])[0]), **changes)


@pytest.fixture
def page(store: Store, ledger: Ledger, run: str) -> str:
    return html_report(store, ledger, ledger.run(run), query(store, run))


def test_nothing_is_fetched(page: str) -> None:
    """No tag loads anything from elsewhere, and the policy of the page forbids it."""
    tags = Reader(page).tags
    loading = [(tag, name, value) for tag, found in tags for name, value in found.items() if name in ("src", "href")]
    assert loading == []
    assert not {"link", "iframe", "img", "base", "object"} & {tag for tag, _ in tags}
    policy = next(found["content"] for tag, found in tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert policy.startswith("default-src 'none'")
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_hostile_text_is_inert(page: str) -> None:
    """Texts that try to escape from the page are shown as they are and run nothing."""
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 3  # plotly, the figures, what draws them
    assert not any(name.startswith("on") for _, found in reader.tags for name in found)
    assert "Repeat <b>this</b> <script>alert('instruction')</script>" in reader.text
    assert "</div></body></html><style>*{display:none}</style>" in reader.text
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert len(HOSTILE) == 7


def test_numbers_are_those_of_the_store(page: str, store: Store, ledger: Ledger, run: str) -> None:
    """The kept sentence, the finding of the arms and the first samples agree with the store and the analysis."""
    ranking, text = query(store, run), Reader(page).text
    kept, everything = store.count(replace(ranking, show="kept")), store.count(SampleQuery(ranking.scoring))
    assert samples.kept(kept, everything) in text
    found = results_of(store, ledger.run(run))
    assert found is not None
    assert found.headline in text
    assert found.pick is not None
    assert found.pick.sentence in text
    assert "ranks by KL over all positions anew in every epoch" in text
    first = store.page(replace(ranking, show="kept"), 0, 1).iloc[0]
    assert first["response"] in text
    for part in (sentences.PAYS, sentences.AROUND, sentences.HISTORY, "How to read this"):
        assert part in text


def test_border_shows_both_sides(page: str) -> None:
    """The second table has samples that are kept and samples that are not."""
    around = page[page.index(sentences.AROUND) : page.index(sentences.HISTORY)]
    assert around.count("● kept") == 10
    assert around.count("⊘ pruned") == 10


def test_recipe_and_provenance_without_paths(store: Store, ledger: Ledger, run: str, workspace: Workspace) -> None:
    """The recipe is whole, hashes are there, and the path of the workspace on this machine is not."""
    ledger.set_provenance(run, teacher_source=str(workspace.models / "teacher-abc"))
    page = html_report(store, ledger, ledger.run(run), query(store, run))
    assert "tau_quantile = 0.3" in page
    assert ledger.run(run).provenance["tokenizer_hash"] in page
    assert "(workspace)/models/teacher-abc" in page
    assert str(workspace.root) not in page


def test_figures_are_data(page: str) -> None:
    """Every place of a chart has its figure, as JSON that cannot end the script it stands in."""
    found = re.search(r'<script id="figures" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    figures = json.loads(found[1])
    assert len(figures) == page.count('class="chart"') == 7
    assert "<" not in found[1]


def test_run_without_training(workspace: Workspace, ledger: Ledger) -> None:
    """A run that has scored but not trained yet has a report of its scores alone; without a tau nothing is pruned."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,), state="running", hostile=False)
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    page = html_report(store, ledger, ledger.run(run), query(store, run, tau=None))
    text = Reader(page).text
    assert "No threshold was set." in text
    assert sentences.PAYS not in text
    assert sentences.AROUND not in text
