"""The overview, driven: empty, running, full, hostile, read-only."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from engine.config.load import load_recipe, parse_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.conftest import CHECKOUT
from tests.fixtures import sentences
from tests.fixtures.app import new_app, plain_text, screen_text
from tests.fixtures.pruning_workspace import fill_workspace, synthetic_recipe


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three seeds finished, and a failed run after it."""
    workspace = Workspace(tmp_path_factory.mktemp("overview")).create()
    fill_workspace(workspace, samples=120, epochs=3, seeds=(0, 1, 2), name="whole")
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="broken", state="failed")
    return workspace


def show(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, read_only: bool = False) -> AppTest:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.setenv("WINNOW_READ_ONLY", "1" if read_only else "")
    app = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60).run()
    assert not app.exception
    return app


def links(app: AppTest) -> dict[str, tuple[str, str]]:
    """Label of each link to a page, with the page and its parameters."""
    return {link.proto.label: (link.proto.page, link.proto.query_string) for link in app.get("page_link")}


def test_empty_workspace_offers_the_demo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty workspace explains itself, and one button starts the demo."""
    app = show(workspace, monkeypatch)
    assert sentences.NOTHING_YET in screen_text(app)
    app.button("start_demo").click().run()
    assert not app.exception
    (run,) = Ledger(workspace).runs()
    assert (run.state, run.recipe) == ("queued", to_dict(load_recipe("demo-kl")))
    assert sentences.WAITING in "\n".join(progress.proto.text for progress in app.get("progress"))


def test_empty_workspace_read_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, the same text is there and no button."""
    app = show(workspace, monkeypatch, read_only=True)
    assert sentences.NOTHING_YET in screen_text(app)
    assert not [button for button in app.button if button.key == "start_demo"]


def test_findings_come_from_the_newest_runs(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share that carries half the divergence, and the newest finished run's finding, both computed from parts."""
    app = show(full, monkeypatch)
    words = plain_text(app)
    assert "carry half of all divergence." in words
    assert "dynamic is worth 1.2" in words
    assert "lower in loss than random" in words
    assert sentences.PAIRED in words
    assert sentences.ONE_DONE_ONE_FAILED in words
    assert len(app.get("plotly_chart")) == 2


def test_see_them_filters_to_exactly_those(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link names the run, the metric and the value from which on a sample belongs to the half."""
    app = show(full, monkeypatch)
    half = int(next(h.value for h in app.subheader if "carry half" in h.value).split()[0])
    page, query = links(app)["See them"]
    assert page.endswith("samples")
    parameters = dict(pair.split("=") for pair in query.split("&"))
    samples = new_app()
    for name, value in parameters.items():
        samples.query_params[name] = value
    samples.switch_page("pages/samples/page.py").run()
    assert not samples.exception
    assert f"{half} of" in "\n".join(text.value for text in samples.text)


def test_running_run_is_shown(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run works, its phase, share and time left stand on the page, with the steps ahead."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="working", state="running")
    app = show(workspace, monkeypatch)
    (bar,) = app.get("progress")
    assert bar.proto.value == 50
    words = bar.proto.text.replace("\\", "")
    assert words == "seed 0, epoch 2 · 50 % · 40 s left"
    assert ":material/check_circle: :gray[every sample scored" in screen_text(app)
    assert ":material/pending: :gray[all arms trained" in screen_text(app)


def test_first_prompts_are_inert(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompts that rank first open their samples, and show their characters whatever these are."""
    app = show(full, monkeypatch)
    first = [link.proto for link in app.get("page_link") if "sample=" in link.proto.query_string]
    assert len(first) == 3
    for link in first:
        assert "<" not in link.label.replace("\\<", "")
        assert "](" not in link.label
        assert "\x1b" not in link.label


def test_one_seed_is_not_called_settled(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one seed the card says that it settles nothing, and claims no multiplier."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0,), name="one")
    words = screen_text(show(workspace, monkeypatch))
    assert sentences.ONE_SEED in words


def test_hostile_names_are_inert(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of data and models are text from a form; Markdown in them is shown, not obeyed."""
    raw = to_dict(synthetic_recipe("x", 80, 2, [0], ["dynamic"]))
    raw["models"]["teacher"] = "[click](http://bad.invalid) :red[x]"
    raw["data"]["source"] = "<script>alert(1)</script> **bold**.jsonl"
    Ledger(workspace).submit(parse_recipe(raw))
    app = show(workspace, monkeypatch)
    drawn = [str(element.value) for kind in ("markdown", "caption") for element in app.get(kind)]
    assert any("click" in text for text in drawn)
    for text in drawn:
        assert "[click](" not in text
        assert ":red[x]" not in text
        assert "<script>" not in text
        assert "**bold**" not in text
