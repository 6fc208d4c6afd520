"""Exports: the zip holds what the page says is kept, and a read-only workspace is left as it is."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from engine.storage.ledger import Ledger
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace
from pages.samples import download
from pages.shared import session
from pages.shared.download import zipped
from tests.fixtures import sentences
from tests.fixtures.app import screen_text
from tests.fixtures.pruning_workspace import fill_workspace


@pytest.fixture
def run(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=80, epochs=2, seeds=(0,))


@pytest.fixture
def store(workspace: Workspace, ledger: Ledger, run: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.setenv("WINNOW_READ_ONLY", "")
    return session.store()


def packed(store: Store, query: SampleQuery, form: Any = "parquet") -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(zipped(download.writer(store, query, form)))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file but those SQLite and DuckDB keep beside their own while they are open."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".wal", ".duckdb"))
    }


def draw(store: Store, **query: Any) -> AppTest:
    """The opened panel for a query on the first ranking of the newest run."""

    def script(query):  # type: ignore[no-untyped-def]  # AppTest runs its text alone, without the imports above
        from engine.storage.store import SampleQuery
        from pages.samples import download
        from pages.shared import session

        scoring = session.store().scoring(session.scored_runs()[0].id, 0, 1, "kl")
        download.draw(SampleQuery(scoring, **query))

    app = AppTest.from_function(script, args=(query,), default_timeout=60)
    app.session_state["take_away"] = True
    app.run()
    assert not app.exception
    return app


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.get("download_button")]


def test_zip_holds_what_is_kept(store: Store, run: str) -> None:
    """Data, manifest and card; as many rows as are above tau, whichever format."""
    scoring = store.scoring(run, 0, 1, "kl")
    query = SampleQuery(scoring, tau=store.quantiles(scoring, [0.5])[0])
    kept = store.kept_count(query).samples
    parquet, lines = packed(store, query), packed(store, query, "jsonl")
    assert set(parquet) == {"data.parquet", "manifest.json", "README.md"}
    assert pq.read_table(io.BytesIO(parquet["data.parquet"])).num_rows == kept
    assert len(lines["data.jsonl"].splitlines()) == kept
    manifest = json.loads(parquet["manifest.json"])
    assert (manifest["run"], manifest["tau"], manifest["counts"]["kept"]) == (run, query.tau, kept)


def test_panel_counts_what_the_zip_holds(store: Store, run: str) -> None:
    """The numbers on the panel are those of the threshold; a filter narrows them only if it is switched on."""
    scoring = store.scoring(run, 0, 1, "kl")
    tau = store.quantiles(scoring, [0.5])[0]
    kept = store.kept_count(SampleQuery(scoring, tau=tau)).samples
    narrowed = store.kept_count(SampleQuery(scoring, tau=tau, search="answer")).samples
    assert 0 < narrowed < kept
    app = draw(store, tau=tau, search="answer")
    assert f"**{kept:,} of " in screen_text(app)
    assert labels(app) == [f"Download {kept} samples", sentences.REPORT]
    app.session_state["take_away"] = True
    app.toggle("take_filtered").set_value(True).run()
    assert labels(app)[0] == f"Download {narrowed} samples"
    assert "the filters" in screen_text(app)


def test_nothing_kept(store: Store) -> None:
    """Above every score there is nothing to download but the report."""
    app = draw(store, tau=1e9)
    assert "There is nothing to export" in screen_text(app)
    assert labels(app) == [sentences.REPORT]


def test_closed_panel_costs_nothing(store: Store) -> None:
    """Until it is opened the panel asks the store nothing and holds no button."""

    def script() -> None:
        from engine.storage.store import SampleQuery, Scoring
        from pages.samples import download

        download.draw(SampleQuery(Scoring("no such run", "base", -1, 1, "kl")))

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    assert labels(app) == []


def test_read_only_workspace_is_left_alone(workspace: Workspace, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, the same can be downloaded, and no file of the workspace is made or changed by it."""
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.setenv("WINNOW_READ_ONLY", "1")
    store = session.store()
    scoring = store.scoring(run, 0, 1, "kl")
    before = files(workspace.root)
    draw(store, tau=0.1)
    assert packed(store, SampleQuery(scoring, tau=0.1))
    assert files(workspace.root) == before
