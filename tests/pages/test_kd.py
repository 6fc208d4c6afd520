"""The page of KD on pruned data, driven: empty, running, done, failed and missing cells, presented, hostile."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest

from engine.config.kinds import KD
from engine.config.load import load_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from pages.kd import costs, gallery
from tests.fixtures import sentences
from tests.fixtures.app import Show, field, opener, screen_text, widget_keys
from tests.fixtures.kd_workspace import HOSTILE_CLASSES, fill_grid_workspace, grid_recipe
from tests.fixtures.pruning_workspace import fill_workspace

PAGE = "pages/kd/page.py"
CHARTS = ["kd_curves", "kd_map", "kd_why_curve"]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, PAGE)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three teachers and flipped labels, one failed cell, one single cell at a fraction of its own."""
    workspace = Workspace(tmp_path_factory.mktemp("kd")).create()
    extra = {"score": "random", "fraction": 0.7, "kd_weight": 0.5, "teacher": "self", "noise": 0.0}
    recipe = grid_recipe(
        teachers=("self", "small", "large"), noise=(0.0, 0.2), scores=("random", "el2n"), extra=[extra], seeds=(0, 1, 2)
    )
    fill_grid_workspace(workspace, recipe, samples=400, failed={("random", 0.1, 0.5)})
    return workspace


def test_empty_workspace_offers_the_demo(workspace: Workspace, show: Show) -> None:
    """Without a run the page says what it is for, and one button starts the ready-made demo."""
    app = show(workspace)
    assert "No student has been trained in this workspace yet." in screen_text(app)
    assert app.selectbox("kd_start_").value == "demo-kd"
    app.button("start_demo_kd").click().run()
    assert not app.exception
    (run,) = Ledger(workspace).runs()
    assert (run.state, run.recipe) == ("queued", to_dict(load_recipe("demo-kd")))
    assert "The first student is still ahead." in screen_text(app)


def test_empty_workspace_presented(workspace: Workspace, show: Show) -> None:
    """A presenter sees the words and the simulation, and nothing that starts anything."""
    app = show(workspace, read_only=True)
    assert sentences.READ_ONLY in screen_text(app)
    assert not {"start_demo_kd", "kd_start_run"} & set(widget_keys(app))
    assert len(app.get("plotly_chart")) == 1


def test_whole_grid_says_its_finding_first(full: Workspace, show: Show) -> None:
    """Best weight, gain and interval from the finished cells; every chart has words for those who cannot see it."""
    app = show(full)
    assert app.subheader[0].value.startswith("At 10 % of the data, kept at random, the best teacher weight is 0.9: +")
    assert "points over no teacher (±1.3, 95 % over 3 seeds); its strongest rival, " in app.subheader[0].value
    charts = app.get("plotly_chart")
    assert len(charts) == 6  # curves, map, teachers, noise, flipped labels, theory
    assert all(chart.proto.alt for chart in charts)
    assert "**small** :gray[1.3 k parameters, 0.27 times the student" in screen_text(app)
    assert "20 % of the labels flipped" in screen_text(app)
    assert "its kept outputs take 11 kB" in screen_text(app)
    (seeds, cost) = app.dataframe
    assert seeds.value["seed"].tolist() == [0, 1, 2]
    assert cost.value["kept"].tolist() == [
        "100 %",
        "50 %",
        "25 %",
        "10 %",
    ]  # 70 % has one cell, to compare with nothing


def test_the_finding_is_fair(full: Workspace, show: Show) -> None:
    """Random beside the score, above chance, everything it took, what intervals cover, and settled by Holm."""
    app = show(full)
    words = screen_text(app)
    assert "With a teacher at 10 %, EL2N ends 15.7 points below random (±1.6, 95 % over 3 seeds)." in words
    assert "74.5 points above chance (18.8 %, naming the largest class) · 28 samples, 2.2 s in all " in words
    assert "(teacher 2 s, student 0.2 s) · all of the data without a teacher: 93.5 % right, 280 samples" in words
    assert any("by Holm's correction over 4 shares kept" in text.proto.help for text in app.markdown)
    assert "bars: 95 % over 3 seeds" in words
    plain = words.replace("\\", "")
    assert "small beats no teacher by 11.2 points (±1.3, 95 % over 3 seeds); its strongest rival, self, is " in plain
    assert "Of 3 teachers, 3 end above no teacher, 0 end below, 0 are not settled." in plain
    assert "From 100 % to 10 % kept, the best weight changes by +0.73 (±0.72, 95 % over 3 seeds)." in words
    assert "that they differ is not settled." in words  # made up with the very same difference in every seed
    cost = app.dataframe[1].value
    assert cost["settled"].tolist() == [False, True, True, True]
    assert cost["teacher seconds a point"].isna().tolist() == [True, False, False, False]
    assert (cost["seconds in all"] - cost["seconds a student"]).tolist() == pytest.approx([2.0] * 4)
    assert (cost["with teacher"] - cost["above chance"]).tolist() == pytest.approx([18.75] * 4)


def test_the_address_is_the_view(full: Workspace, show: Show) -> None:
    """A link carries score, fraction, weight, teacher and share of flipped labels."""
    app = show(full, f="25 %", kd_alpha="0.5", kd_score="EL2N", kd_teacher="small", kd_noise="20 %")
    assert app.subheader[0].value.startswith("At 25 % of the data, kept by EL2N")
    assert "At 25 % of the data, listen to the teacher 50 %:" in screen_text(app)
    assert (app.selectbox("kd_teacher").value, app.selectbox("kd_noise").value) == ("small", 0.2)


def test_walking_along_the_weight(full: Workspace, show: Show) -> None:
    """The slider walks through the weights of a fraction; another fraction begins at its own best weight."""
    app = show(full)
    app.select_slider("kd_alpha").set_value(0.0).run()
    assert "At 10 % of the data, listen to no teacher:" in screen_text(app)
    app.select_slider("f").set_value(1.0).run()
    assert app.subheader[0].value.startswith("At all of the data,")
    assert "At all of the data, listen to" in screen_text(app)
    assert "everything is kept" in screen_text(app)
    assert not app.exception


def test_a_failed_cell_says_why_and_can_be_done_again(full: Workspace, show: Show) -> None:
    """A cell that failed shows its sentence, escaped; one click starts the recipe again as it is."""
    before = Ledger(full).runs()
    app = show(full, f="10 %", kd_alpha="0.5")
    assert "no student has finished here" in screen_text(app)
    assert "\\<b\\>9" in app.error[0].value
    app.button("kd_train").click().run()
    assert not app.exception
    new = Ledger(full).runs()[0]
    assert new.id not in {run.id for run in before}
    assert new.recipe == before[0].recipe
    assert app.selectbox("kd_run").value == new.id
    Ledger(full).cancel(new.id)


def test_a_missing_cell_is_one_click_away(tmp_path: Any, show: Show) -> None:
    """A cell the recipe does not name is added to the recipe for every seed, and what the recipe had stays in it."""
    workspace = Workspace(tmp_path / "missing").create()
    extra = {"score": "random", "fraction": 0.7, "kd_weight": 0.5, "teacher": "self", "noise": 0.0}
    run = fill_grid_workspace(workspace, grid_recipe(extra=[extra], seeds=(0, 1)))
    app = show(workspace, f="70 %", kd_alpha="0.9")
    assert "The recipe does not name this cell." in screen_text(app)
    app.button("kd_train").click().run()
    new = Ledger(workspace).runs()[0]
    assert new.id != run
    recipe = new.recipe_as(KD)
    assert [cell.model_dump() for cell in recipe.grid.extra] == [extra, extra | {"kd_weight": 0.9}]
    assert new.recipe["grid"] | {"extra": []} == Ledger(workspace).run(run).recipe["grid"] | {"extra": []}


def test_presented(full: Workspace, show: Show) -> None:
    """A presenter can move every slider and start nothing; nothing is written."""
    count = len(Ledger(full).runs())
    app = show(full, read_only=True, f="10 %", kd_alpha="0.5", kd_run=Ledger(full).runs()[-1].id)
    assert not {"kd_train", "kd_start_run", "start_demo_kd"} & set(widget_keys(app))
    assert app.select_slider("kd_alpha").set_value(0.9).run().subheader[0].value.startswith("At 10 %")
    assert len(Ledger(full).runs()) == count


def test_running_grid_shows_what_has_landed(workspace: Workspace, show: Show) -> None:
    """While a grid grows the page counts its students, begins where there is something, and says what is to come."""
    fill_grid_workspace(workspace, state="running")
    app = show(workspace)
    assert app.get("progress")
    assert "54 of 90 students" in screen_text(app)
    assert app.subheader[0].value.startswith("At 25 % of the data")
    app.select_slider("f").set_value(0.1).run()
    assert "there are no weights of the teacher to compare yet" in app.subheader[0].value
    assert "Still to come" in screen_text(app)
    assert "kd_train" not in widget_keys(app)


def test_hostile_classes_stay_text(workspace: Workspace, show: Show) -> None:
    """Names of classes come from the data; in the drawer they are escaped, in the gallery they are one inert line."""
    run = fill_grid_workspace(workspace, hostile=True)
    app = show(workspace, kd_sample="3")
    drawer = screen_text(app)
    label = next(label for label in HOSTILE_CLASSES if label in {str(s) for s in _labels(workspace, run, [3])})
    assert label not in drawer
    assert ":gray[label]" in drawer
    with_store = Store.in_memory(workspace, run)
    with_store.sync(Ledger(workspace))
    cards = gallery.cards(with_store, run, [0, 1, 2, 3, 999])
    assert [card["row"] for card in cards] == [0, 1, 2, 3]
    assert all(card["image"] and not card["words"] for card in cards)
    assert not any(character in card["label"] for card in cards for character in "\x1b\u202e\n")


def test_what_was_read_is_said(workspace: Workspace, show: Show) -> None:
    """Rows, source and the columns that no network reads stand under the finding, as plain text."""
    run = fill_grid_workspace(workspace)
    Ledger(workspace).set_provenance(run, data_origin="8 for training; columns not used: <b>id</b> (numbers the rows).")
    assert " \\<b\\>id\\<\\/b\\> \\(numbers the rows\\)" in screen_text(show(workspace))


def _labels(workspace: Workspace, run: str, rows: list[int]) -> list[str]:
    store = Store.in_memory(workspace, run)
    store.sync(Ledger(workspace))
    return [sample["label"] for sample in store.labelled_samples(run, rows).values()]


def test_only_a_png_is_shown_as_a_picture() -> None:
    """Bytes that are no PNG never reach the page as an image."""
    assert gallery.picture(b"<svg onload=alert(1)>") == ""
    assert gallery.picture(None) == ""
    assert gallery.picture(gallery.PNG + b"rest")


def test_texts_instead_of_pictures(workspace: Workspace, show: Show) -> None:
    """Where samples are texts they are shown as text, in the drawer too."""
    recipe = grid_recipe(task="text", kd_weights=(0.0, 0.5, 0.9), seeds=(0, 1))
    run = fill_grid_workspace(workspace, recipe, hostile=True)
    app = show(workspace, kd_sample="1")
    assert "Summarise [this page](javascript:alert(1))" in "\n".join(text.value for text in app.text)
    store = Store.in_memory(workspace, run)
    store.sync(Ledger(workspace))
    (card,) = gallery.cards(store, run, [1])
    assert (card["image"], card["words"]) == ("", "Summarise [this page](javascript:alert(1))")


def test_a_sample_opens_from_its_link(full: Workspace, show: Show) -> None:
    """The drawer shows label, split, which scores keep it, and where it stands; a wrong link is said."""
    run = Ledger(full).runs()[-1].id
    app = show(full, kd_run=run, kd_sample="7")
    assert "to learn from · row 7" in screen_text(app).replace("\\", "")
    assert "random: kept" in screen_text(app) or "random: pruned" in screen_text(app)
    assert show(full, kd_run=run, kd_sample="99999").warning[0].value.startswith("The link names sample 99,999")


def test_one_teacher_and_clean_labels_need_no_choice(workspace: Workspace, show: Show) -> None:
    """Controls and sections appear if there is something to choose."""
    fill_grid_workspace(workspace, grid_recipe(seeds=(0,)))
    app = show(workspace)
    assert not {"kd_teacher", "kd_noise"} & set(widget_keys(app, "selectbox"))
    assert "Wrong labels" not in [header.value for header in app.header]
    assert "one seed), not settled." in app.subheader[0].value


def test_many_scores_are_drawn_a_few_at_a_time(workspace: Workspace, show: Show) -> None:
    """With many scores the curves begin with a few, and any of them can be drawn."""
    scores = ("random", "el2n", "grand", "forgetting", "aum", "loss", "entropy", "margin")
    fill_grid_workspace(workspace, grid_recipe(scores=scores, seeds=(0, 1)))
    app = show(workspace)
    (drawn,) = [pills for pills in app.get("pills") if pills.key == "kd_drawn"]
    assert len(drawn.value) == 6
    drawn.set_value(["margin"]).run()
    assert not app.exception


def test_a_run_that_failed_before_a_student_was_done(workspace: Workspace, show: Show) -> None:
    """A grid without a student says so and offers the next one."""
    ledger = Ledger(workspace)
    run = ledger.submit(grid_recipe())
    ledger.finish(run, "failed", "There is no <i>data</i>.")
    app = show(workspace)
    assert "This run failed before its first student was done." in screen_text(app)
    assert "\\<i\\>" in app.error[0].value
    assert "kd_start_run" in widget_keys(app)


def test_the_form_is_the_recipe(workspace: Workspace, show: Show) -> None:
    """What is typed is what is queued, and the number of students follows the lists."""
    app = show(workspace)
    field(app, "kd_scores").set_value(["random", "loss"]).run()
    field(app, "kd_fractions").set_value("0.2, 1").run()
    field(app, "kd_weights").set_value("0, 0.5").run()
    field(app, "kd_seeds").set_value("4,5").run()
    field(app, "kd_source").set_value("my/images").run()
    # Two scores at 0.2, and one full set for both, with and without the teacher, for two seeds.
    assert "12 students to train; how long that takes is known once" in screen_text(app)
    app.button("kd_start_run").click().run()
    (run,) = Ledger(workspace).runs()
    recipe = run.recipe_as(KD)
    assert (recipe.grid.scores, recipe.grid.fractions, recipe.seeds) == (["random", "loss"], [0.2, 1.0], [4, 5])
    assert (recipe.grid.kd_weights, recipe.data.source) == ([0.0, 0.5], "my/images")


def test_a_grid_on_a_cluster(workspace: Workspace, show: Show) -> None:
    """The cluster that is chosen is that of the queued recipe, and the form of that run begins with it."""
    app = show(workspace)
    field(app, "kd_place").set_value(sentences.ON_CLUSTER).run()
    field(app, "kd_address").set_value("10.0.0.1:6379").run()
    field(app, "kd_workers").set_value(3).run()
    app.button("kd_start_run").click().run()
    assert not app.exception
    recipe = Ledger(workspace).runs()[0].recipe_as(KD)
    assert (recipe.cluster.address, recipe.cluster.workers) == ("10.0.0.1:6379", 3)
    assert field(app, "kd_place").value == sentences.ON_CLUSTER
    assert field(app, "kd_address").value == "10.0.0.1:6379"


def test_a_time_here_says_nothing_of_a_cluster(full: Workspace, show: Show) -> None:
    """The estimate comes from runs done in the same place; for a cluster a run on this machine is none."""
    app = show(full)
    next(box for box in app.selectbox if box.label == sentences.START_FROM).set_value(
        f"the run {Ledger(full).runs()[-1].id}"
    ).run()
    assert "students to train: about" in screen_text(app)
    field(app, "kd_place").set_value(sentences.ON_CLUSTER).run()
    assert "students to train: about" not in screen_text(app)
    assert "timed in the same place" in screen_text(app)


def test_a_grid_above_the_limit_asks_first(workspace: Workspace, show: Show) -> None:
    """A grid of more cells than the limit cannot be started before its size is agreed to."""
    app = show(workspace)
    field(app, "kd_seeds").set_value(", ".join(map(str, range(40)))).run()
    assert "grid.most_cells = 2,000" in app.error[0].value.replace("\\", "")
    assert app.button("kd_start_run").disabled
    demo = load_recipe("demo-kd")
    size = 40 * len(demo.cells()) // len(demo.seeds)
    (yes,) = app.checkbox
    assert yes.label == f"Yes, all {size:,} cells; the limit is 2,000"
    yes.check().run()
    assert not app.error
    app.button("kd_start_run").click().run()
    assert Ledger(workspace).runs()[0].recipe["grid"]["most_cells"] == size


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("kd_fractions", "0.1, 1.5", "grid.fractions"),
        ("kd_weights", "0, much", "grid.kd_weights"),
        ("kd_seeds", "1, 1", sentences.TWICE),
        ("kd_scores", [], "grid.scores"),
        ("kd_name", "../elsewhere", "name"),
    ],
)
def test_wrong_values(workspace: Workspace, show: Show, name: str, value: Any, sentence: str) -> None:
    """A wrong value is one sentence naming its key, and nothing can be started with it."""
    app = show(workspace)
    field(app, name).set_value(value).run()
    assert not app.exception
    (error,) = app.error
    assert sentence in error.value.replace("\\", "")
    assert app.button("kd_start_run").disabled


def test_time_is_estimated_from_a_run_of_the_same_name(full: Workspace, show: Show) -> None:
    """Once a grid of this name was timed the form says how long the next one may take."""
    app = show(full)
    next(box for box in app.selectbox if box.label == sentences.START_FROM).set_value(
        f"the run {Ledger(full).runs()[-1].id}"
    ).run()
    assert "students to train: about" in screen_text(app)


def test_all_cells_as_csv(full: Workspace) -> None:
    """The download holds every cell as it was recorded."""
    run = Ledger(full).runs()[-1].id
    store = Store.in_memory(full, run)
    store.sync(Ledger(full))
    grid = store.grid(run)
    read = pd.read_csv(io.BytesIO(costs.csv(grid)), keep_default_na=True)
    assert len(read) == len(grid)
    assert read["accuracy"].sum() == pytest.approx(grid["accuracy"].sum())


@pytest.mark.parametrize("page", ["overview", "runs", "samples", "pruning", "data", "playground"])
@pytest.mark.parametrize("both", [False, True])
def test_other_pages_live_with_a_grid(workspace: Workspace, show: Show, page: str, both: bool) -> None:
    """No other page breaks where a grid has run, alone or beside a run of the first system."""
    run = fill_grid_workspace(workspace, grid_recipe(seeds=(0, 1)))
    if both:
        fill_workspace(workspace, samples=80, epochs=2, seeds=(0, 1))
    app = show(workspace, f"pages/{page}/page.py", run_open=run)
    assert not app.error
    if page == "runs":
        assert "knowledge distillation on digits" in screen_text(app).replace("\\", "")
        assert sentences.SEE_RESULTS in [link.proto.label for link in app.get("page_link")]
    if page == "overview":
        assert any("the best teacher weight is" in heading.value for heading in app.subheader)
    if page == "data":
        assert "digits" not in screen_text(app)
