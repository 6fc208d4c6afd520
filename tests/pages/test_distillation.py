"""The page of distilled data, driven: empty, queued, half-done, done, failed, presented, hostile."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from engine.analysis.distilled_sets import sets_of
from engine.config.distillation import SetKey
from engine.config.kinds import DISTILLATION
from engine.config.load import load_recipe, ready_made, to_dict
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from pages.distillation import cards, download
from pages.distillation.form import DEMOS
from pages.shared import empty, form
from pages.shared.download import zipped
from tests.fixtures import sentences
from tests.fixtures.app import Show, field, opener, screen_text, widget_keys
from tests.fixtures.distillation_workspace import HOSTILE_CLASSES, distillation_recipe, fill_distilled_workspace

PAGE = "pages/distillation/page.py"


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, PAGE)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page hands to its component, by key."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(cards, "show", lambda data, key: found.update({key: data}))
    return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Texts with everything that can be measured of them."""
    workspace = Workspace(tmp_path_factory.mktemp("distilled")).create()
    fill_distilled_workspace(workspace, distillation_recipe(transfer=("roberta",), other=True, prompting=True))
    return workspace


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("pictures")).create()
    fill_distilled_workspace(workspace, distillation_recipe(task="images", source="digits"))
    return workspace


def test_empty_workspace_offers_the_demos_there_are(workspace: Workspace, show: Show) -> None:
    """Without a run the page says what it is for; one button queues every ready-made demo."""
    app = show(workspace)
    assert "Nothing has been distilled in this workspace yet." in screen_text(app)
    there = [name for name in DEMOS if name in ready_made()]
    assert ("start_demo_distilled" in widget_keys(app)) == bool(there)
    if not there:
        pytest.skip("no demo recipe of a distillation is there")
    app.button("start_demo_distilled").click().run()
    assert not app.exception
    queued = Ledger(workspace).runs()
    assert sorted(run.recipe["name"] for run in queued) == sorted(to_dict(load_recipe(name))["name"] for name in there)
    assert {run.state for run in queued} == {"queued"}
    assert "The first learned inputs are still ahead." in screen_text(app)


def test_no_recipe_no_demo(workspace: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no recipe is there nothing is offered that could not be started."""
    for module in (empty, form):
        monkeypatch.setattr(module, "ready_made", lambda: ["demo-kd"])
    app = show(workspace)
    assert not {"start_demo_distilled", "distilled_start_run"} & set(widget_keys(app))
    assert "no ready-made recipe for dataset distillation" in screen_text(app)


def test_empty_workspace_presented(workspace: Workspace, show: Show) -> None:
    """A presenter sees the words and nothing that starts anything."""
    app = show(workspace, read_only=True)
    assert "Nothing has been distilled" in screen_text(app)
    assert not {"start_demo_distilled", "distilled_start_run"} & set(widget_keys(app))


def test_the_finding_stands_first(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """Shares from the finished measurements, a badge for what is not settled, and a chart for every question."""
    app = show(full)
    headline = app.subheader[0].value
    assert headline.startswith("2 synthetic sentences reach ")
    assert "of the accuracy of 84 real ones; read as plain words they teach no more than guessing; " in headline
    assert "; 2 herding real samples reach " in headline  # the strongest rival, in the sentence of the win
    assert "6 of 6 sets" in screen_text(app)
    assert len(app.get("plotly_chart")) == 10
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))
    table = app.dataframe[0].value
    assert table["trained on"].tolist()[:2] == ["all 84 real samples", "distilled embeddings"]
    assert table["model"].unique().tolist() == ["prajjwal1/bert-tiny", "roberta"]
    assert table["rates"].tolist()[1] == "learned"
    assert "Training on it takes 0.25 s instead of 12 s, and 5 steps instead of 240, for " in screen_text(app)
    assert "Learning the set took 2 min 14 s once" in screen_text(app)
    assert "Read by another model: roberta" in screen_text(app)


def test_the_finding_is_fair(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """The rival is the strongest real samples; all comparisons are counted; chance, time and coverage are said."""
    app = show(full)
    words = screen_text(app)
    assert "herding real samples beat decoded text" in words
    assert "Against 2 herding real samples, in points over 10 fresh starts: " in words
    assert "Of all 9 comparisons with as many real samples, " in words
    assert "Learning the set took 2 min 14 s, training on it 0.25 s; on everything 12 s." in words
    assert " above guessing) · " in words
    assert ", naming the largest class · ±: 95 % over 10 fresh starts" in words
    assert any("by Holm's correction over 9 comparisons" in text.proto.help for text in app.markdown)
    table = app.dataframe[0].value
    assert (table["in all"] - table["seconds"]).max() == pytest.approx(134.2, abs=0.1)
    assert table["above chance"].iloc[0] < table["right"].iloc[0] - 50
    assert "bars: 95 % over fresh starts, of one distillation each" in words
    assert "Distilled embeddings, inputs per class: " in words


def test_cards_hold_every_input(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """Class by class: the text by tokens with its next nearest, its label, how far it came, its neighbours."""
    show(full)
    data = drawn["distilled_cards"]
    assert (data["badge"], data["style"]) == ("machine-made", "texts")
    assert [group["name"] for group in data["classes"]] == ["negative", "positive"]
    (card,) = data["classes"][0]["cards"]
    assert len(card["tokens"]) == 12
    assert len(card["tokens"][0]["near"]) == 5
    assert card["changed"] == "8 of 12 tokens differ from the sentence it started from"
    assert [name for name, _ in card["labels"]] == ["negative", "positive"]
    assert len(card["near"]) == 3
    assert all(near["words"] for near in card["near"])


def test_the_address_is_the_view(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """A link carries the set and the step of its trajectory; the other task has none of the first one's samples."""
    app = show(full, distilled_per_class="5", distilled_step="250")
    assert app.subheader[0].value.startswith("10 synthetic sentences")
    assert app.select_slider("distilled_step").value == 250
    assert [len(group["cards"]) for group in drawn["distilled_cards"]["classes"]] == [5, 5]
    assert drawn["distilled_film"] != drawn["distilled_cards"]
    app.selectbox("distilled_task").set_value("other").run()
    assert not app.exception
    assert [group["name"] for group in drawn["distilled_cards"]["classes"]] == ["sports", "science"]
    assert all(not card["near"] for group in drawn["distilled_cards"]["classes"] for card in group["cards"])
    assert "distilled_per_class" not in widget_keys(app, "selectbox")  # one size of the other task: nothing to choose


def test_the_trajectory_goes_back_to_the_start(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """At step 0 no token differs; the best step is where the trajectory begins."""
    app = show(full)
    assert app.select_slider("distilled_step").value == 417
    app.select_slider("distilled_step").set_value(0).run()
    assert not app.exception
    cards = [card for group in drawn["distilled_film"]["classes"] for card in group["cards"]]
    assert all(card["unchanged"] for card in cards)
    assert "★ step 417 was best on held-out samples" in screen_text(app)


def test_pictures(pictures: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """One picture a class with the one it started from; nothing is said of words, prompts or other models."""
    app = show(pictures)
    assert app.subheader[0].value.startswith("10 learned pictures reach ")
    assert "plain words they" not in screen_text(app)
    assert "What else a distilled set can do" not in [header.value for header in app.header]
    data = drawn["distilled_cards"]
    assert data["style"] == "pictures"
    cards = [card for group in data["classes"] for card in group["cards"]]
    assert len(cards) == 10
    assert all(card["image"] and card["started"] and card["image"] != card["started"] for card in cards)
    assert all(near["image"] for card in cards for near in card["near"])
    assert drawn["distilled_film"]["style"] == "trajectory stills"


def test_an_unchanged_text_is_called_that(workspace: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """Where every sentence stayed what it was, no figure stands for distilled text, in headline, badge or table."""
    fill_distilled_workspace(workspace, distillation_recipe(per_class=(1,), inner_steps=(5,)), unchanged=(0, 1))
    app = show(workspace)
    assert "plain words" not in app.subheader[0].value
    assert sentences.CAPTION_UNCHANGED in screen_text(app)
    assert sentences.NO_TEXT_CHANGED in screen_text(app)
    names = app.dataframe[0].value["trained on"].tolist()
    assert "unchanged text" in names
    assert "decoded text" not in names
    assert all(c["unchanged"] for group in drawn["distilled_cards"]["classes"] for c in group["cards"])


def test_missing_parts_say_how_to_get_them(workspace: Workspace, show: Show) -> None:
    """Instead of an empty chart a line names the key of the recipe."""
    fill_distilled_workspace(workspace, distillation_recipe(per_class=(1,), inner_steps=(5,)))
    app = show(workspace)
    words = screen_text(app)
    for key in ("`synthetic.per_class`", "`inner.steps`", "`[other]`", "`[prompting]`", "`evaluation.transfer`"):
        assert key in words
    assert len(app.get("plotly_chart")) == 3  # the evaluation, and the two curves of the trajectory
    assert not {"distilled_task", "distilled_student", "distilled_seed"} & set(widget_keys(app, "selectbox"))


def test_a_running_distillation_shows_what_has_landed(workspace: Workspace, show: Show) -> None:
    """A set that is still being learned can be looked at and says so; what is not measured is not drawn."""
    fill_distilled_workspace(workspace, state="running")
    app = show(workspace)
    assert app.get("progress")
    assert "4 of 5 sets" in screen_text(app)
    assert "distilled_inner_steps" in widget_keys(app, "selectbox")
    app.selectbox("distilled_inner_steps").set_value(1).run()
    assert not app.exception
    assert "still being learned" in screen_text(app)
    assert "2 synthetic sentences, not measured yet." in app.subheader[0].value
    assert "It is measured once its inputs are learned." in screen_text(app)
    assert "Which snapshot is best is chosen once all are there" in screen_text(app)
    assert not [popover for popover in app.get("popover") if sentences.EXPORT_SET in str(popover.proto)]


@pytest.mark.parametrize(("state", "word"), [("queued", "still ahead"), ("failed", "failed before its first inputs")])
def test_runs_without_a_set(workspace: Workspace, show: Show, state: str, word: str) -> None:
    """A run that has not begun says what will come, one that failed says why and that nothing will."""
    ledger = Ledger(workspace)
    run = ledger.submit(distillation_recipe())
    if state == "failed":
        ledger.finish(run, "failed", "There is no <i>data</i>.")
    app = show(workspace)
    assert word in app.subheader[0].value
    assert not app.get("plotly_chart")
    assert [error for error in app.error if "\\<i\\>" in error.value] if state == "failed" else not app.error


def test_cancelled_and_failed_runs_show_what_is_there(workspace: Workspace, show: Show) -> None:
    """What was learned before a run ended early stays to be seen, and its state stands beside it."""
    fill_distilled_workspace(workspace, state="failed")
    app = show(workspace)
    assert sentences.DISK_FULL in app.error[0].value
    assert app.subheader[0].value.startswith("2 synthetic sentences reach")
    assert "4 of 5 sets" in screen_text(app)
    app.selectbox("distilled_inner_steps").set_value(1).run()
    assert "this run ended before" in screen_text(app)


def test_what_the_engine_had_to_change_is_said(workspace: Workspace, show: Show) -> None:
    """Notes of the run, such as a step back after an explosion, stand on its page as plain text."""
    run = fill_distilled_workspace(workspace, distillation_recipe(per_class=(1,), inner_steps=(5,)))
    Ledger(workspace).set_provenance(run, notes=["The loss of <b>it</b> exploded; went back."])
    assert "The loss of \\<b\\>it\\<\\/b\\> exploded\\; went back\\." in screen_text(show(workspace))


def test_hostile_names_and_texts_stay_text(workspace: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """Classes, tokens, neighbours and models come from anywhere: Markdown never gets them, the component as text."""
    model = "<b>x</b>[a](javascript:alert(1))"
    fill_distilled_workspace(workspace, distillation_recipe(transfer=(model,)), hostile=True)
    app = show(workspace)
    words = screen_text(app)
    assert model not in words
    assert not any(name in words for name in HOSTILE_CLASSES)
    assert not any(bad in json.dumps(drawn, ensure_ascii=False) for bad in ("\x1b", "\u202e", "\u2066"))
    assert app.dataframe[0].value["model"].iloc[-1] == model


def test_presented(full: Workspace, show: Show) -> None:
    """A presenter scrubs and chooses, takes the set away, and starts nothing."""
    count = len(Ledger(full).runs())
    app = show(full, read_only=True)
    assert not {"start_demo_distilled", "distilled_start_run"} & set(widget_keys(app))
    assert sentences.START_ANOTHER not in [header.value for header in app.header]
    app.select_slider("distilled_step").set_value(83).run()
    assert not app.exception
    assert len(Ledger(full).runs()) == count


def test_take_away(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zip is the export of the set on the screen, also in a read-only workspace; the program shown is in it."""
    monkeypatch.setenv("WINNOW_WORKSPACE", str(full.root))
    monkeypatch.setenv("WINNOW_READ_ONLY", "1")
    (run,) = Ledger(full).runs()
    recipe = run.recipe_as(DISTILLATION)
    key = recipe.sets()[0]
    with zipfile.ZipFile(io.BytesIO(zipped(download.writer(run.id, key)))) as archive:
        assert {"data.parquet", "distilled.safetensors", "manifest.json", "student.py"} <= set(archive.namelist())
        assert json.loads(archive.read("manifest.json"))["set"]["name"] == key.name
        assert archive.read("train.py").decode() == download.program()


def test_the_form_is_the_recipe(full: Workspace, show: Show) -> None:
    """What is typed is what is queued, and its time is estimated from the run it began with."""
    app = show(full)
    assert "to learn, 500 outer steps each: about" in screen_text(app)
    field(app, "distilled_source").set_value("my/texts")
    field(app, "distilled_sizes").set_value("3, 1")
    field(app, "distilled_inner").set_value("7")
    field(app, "distilled_outer").set_value(40)
    field(app, "distilled_seeds").set_value("4, 5")
    field(app, "distilled_labels").set_value("soft")
    field(app, "distilled_optimizer").set_value("adam")
    field(app, "distilled_pull").set_value(0.5)
    field(app, "distilled_name").set_value("mine")
    field(app, "distilled_place").set_value(sentences.ON_CLUSTER).run()
    field(app, "distilled_storage").set_value("s3://bucket/folder").run()
    assert "how long that takes is known once" in screen_text(app)
    app.button("distilled_start_run").click().run()
    assert not app.exception
    run = Ledger(full).runs()[0]
    recipe = run.recipe_as(DISTILLATION)
    assert (recipe.name, recipe.data.source, recipe.seeds, recipe.outer.steps) == ("mine", "my/texts", [4, 5], 40)
    assert (recipe.synthetic.per_class, recipe.inner.steps, recipe.inner.optimizer) == ([3, 1], [7], "adam")
    assert (recipe.synthetic.labels, recipe.synthetic.embedding_penalty) == ("soft", 0.5)
    assert (recipe.cluster.address, recipe.cluster.storage) == ("auto", "s3://bucket/folder")
    assert app.selectbox("distilled_run").value == run.id
    Ledger(full).cancel(run.id)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("distilled_sizes", "1, 1", sentences.TWICE),
        ("distilled_sizes", "0", "synthetic.per_class"),
        ("distilled_inner", "many", "inner.steps"),
        ("distilled_model", "mlp", "mlp reads no text"),
        ("distilled_name", "../elsewhere", "name"),
    ],
)
def test_wrong_values(workspace: Workspace, show: Show, name: str, value: Any, sentence: str) -> None:
    """A wrong value is one sentence naming its key, and nothing can be started with it."""
    Ledger(workspace).submit(distillation_recipe())
    app = show(workspace)
    field(app, name).set_value(value).run()
    assert not app.exception
    (error,) = app.error
    assert sentence in error.value.replace("\\", "")
    assert app.button("distilled_start_run").disabled


def test_overview_has_its_card(full: Workspace, show: Show, drawn: dict[str, Any]) -> None:
    """A finished distillation stands on the overview with its finding, its inputs and the way to its page."""
    app = show(full, page="pages/overview/page.py")
    assert [head.value for head in app.subheader if head.value.startswith("2 synthetic sentences reach")]
    assert drawn["distilled_card"]["classes"]
    links = {link.proto.label: link.proto for link in app.get("page_link")}
    done = [run.id for run in Ledger(full).runs() if run.state == "done"]
    assert links["See how"].query_string == f"distilled_run={done[0]}"
    assert "Distilled data" in links


def test_the_runs_page_leads_here(full: Workspace, show: Show) -> None:
    """A run that is opened links to what it found, and is called what it is."""
    done = next(run.id for run in Ledger(full).runs() if run.state == "done")
    app = show(full, page="pages/runs/page.py", run_open=done)
    links = {link.proto.label: link.proto for link in app.get("page_link")}
    assert links[sentences.SEE_RESULTS].query_string == f"distilled_run={done}"
    assert "dataset distillation on made-up" in screen_text(app).replace("\\", "")


def test_data_of_a_distillation_are_no_instructions(full: Workspace, show: Show) -> None:
    """The page of data lists sets of instructions; labelled samples of a distillation are not among them."""
    app = show(full, page="pages/data/page.py")
    assert "made-up" not in screen_text(app).replace("\\", "")


def test_sets_keep_the_order_of_the_recipe(full: Workspace) -> None:
    """The set the recipe names first is shown first, whatever was recorded first."""
    store = Store.in_memory(full, (run := Ledger(full).runs()[-1]).id)
    store.sync(Ledger(full))
    recipe = run.recipe_as(DISTILLATION)
    assert list(sets_of(store, run)) == recipe.sets()
    assert all(isinstance(key, SetKey) for key in sets_of(store, run))
