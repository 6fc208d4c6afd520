"""The page of dynamic pruning, driven: empty, partial, whole, one seed; the crossings; the form and its check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.config.load import parse_recipe
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.fixtures import sentences
from tests.fixtures.app import Show, field, opener, plain_text, screen_text, widget_keys
from tests.fixtures.pruning_workspace import HOSTILE, fill_workspace

PAGE = "pages/pruning/page.py"
BUDGET = {"of": "tokens", "fraction": 0.6}
ORACLE = {"name": "oracle", "selection": {"rank_by": "field:difficulty"}}
FITS: dict[str, Any] = {
    "ok": True,
    "problems": [],
    "notes": ["12 rows are left out: the response is <b>empty</b>."],
    "samples": 2400,
    "tokens": 91_000,
    "memory_bytes": 420_000_000,
    "cache_bytes": 23_000_000,
    "seconds": 125.0,
    "teacher": {"name": "scratch:teacher", "origin": "made by Winnow", "parameters": 1_200_000},
    "student": {"name": "scratch:student", "origin": "made by Winnow", "parameters": 300_000},
}


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, PAGE)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("pruning")).create()
    fill_workspace(workspace, samples=120, epochs=3, seeds=(0, 1, 2), name="whole")
    return workspace


def ranked(name: str) -> dict[str, Any]:
    return {"name": name, "selection": {"rank_by": name}}


def field_of(app: AppTest, key: str) -> Any:
    return app.multiselect(key=key)


def badges(app: AppTest) -> str:
    return "\n".join(str(element.value) for element in app.markdown if "-badge[" in str(element.value))


def test_empty_workspace(workspace: Workspace, show: Show) -> None:
    """Without a run the page explains what one is and offers the form, the recipe that needs no network first."""
    app = show(workspace)
    assert "Nothing has been pruned in this workspace yet." in screen_text(app)
    assert app.selectbox("form_start").value == "demo-kl"
    assert app.button("start_run").disabled
    assert not app.get("plotly_chart")


def test_whole_run_says_its_finding_first(full: Workspace, show: Show) -> None:
    """Multiplier, rival and paired seeds, computed from the parts; every chart is there with an alt text."""
    app = show(full)
    said = screen_text(app)
    assert said.index(f"{sentences.PAYS}\n") < said.index("Compute multiplier of **dynamic**")
    assert "\n# 1.2" in said
    assert "net of choosing**" in said
    assert sentences.PAIRED in said
    assert "2 of 2 selections are better than random" in said
    assert "**Recommended: dynamic**" in said
    assert "better than random" in badges(app)
    assert "seeds finished" not in badges(app)
    charts = app.get("plotly_chart")
    assert len(charts) == 10
    assert all(chart.proto.alt for chart in charts)
    (arms,) = app.dataframe
    assert list(arms.value["arm"]) == ["● dynamic", "▲ static", "◆ random", "■ everything"]
    assert list(arms.value["verdict"])[:2] == ["better", "better"]
    assert arms.value["of everything"].iloc[3] == pytest.approx(1)
    assert arms.value["multiplier"].iloc[0] > 1 > arms.value["net of choosing"].iloc[0]


def test_a_tournament(tmp_path: Path, show: Show) -> None:
    """Any number of arms: the best and its rivals in front, the rest grey until it is asked for; no dynamic needed."""
    workspace = Workspace(tmp_path / "tournament").create()
    arms: list[Any] = ["random", "full", *(ranked(name) for name in ("ifd", "excess_loss", "kl", "length")), ORACLE]
    fill_workspace(workspace, samples=120, epochs=3, seeds=(0, 1, 2), arms=arms, budget=BUDGET, name="many")
    app = show(workspace)
    said = screen_text(app)
    assert "Compute multiplier of **excess_loss**" in said
    assert "of 4 selections are better than random" in said
    assert sentences.CROSSED not in said
    assert "panel_Kept in each epoch" not in widget_keys(app, "plotly_chart")
    assert field_of(app, "show_arms").options == ["kl", "length"]
    assert [label for label in app.dataframe[0].value["arm"] if label[0] != "○"] == [
        "● excess_loss", "▲ ifd", "★ oracle", "◆ random", "■ everything",
    ]  # fmt: skip
    assert app.dataframe[0].value["place"].iloc[0] > 0
    field_of(app, "show_arms").set_value(["kl"]).run()
    assert "▼ kl" in list(app.dataframe[0].value["arm"])
    assert "▼ length" in list(show(workspace, show_arms="length").dataframe[0].value["arm"])
    assert show(workspace, show_arms="nobody").dataframe


def test_a_run_of_an_earlier_version(workspace: Workspace, show: Show) -> None:
    """Without counted operations and halves of the validation samples the page says what it can."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0, 1, 2), name="before", earlier=True)
    app = show(workspace)
    assert "Compute multiplier of **dynamic**" in screen_text(app)
    assert "FLOP" not in app.dataframe[0].value
    assert "net, FLOP" not in app.dataframe[0].value


def test_running_run_counts_finished_seeds(workspace: Workspace, show: Show) -> None:
    """A run at work shows what is there, how many seeds are finished, and its progress."""
    fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1), name="working", state="running")
    app = show(workspace)
    assert "1 of 2 seeds finished" in badges(app)
    assert app.get("progress")[0].proto.value == 66
    assert sentences.ONE_SEED in screen_text(app)
    assert len(app.get("plotly_chart")) == 10


def test_run_that_waits(workspace: Workspace, show: Show) -> None:
    """Before the first epoch the page says what will come."""
    fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1), name="ahead", state="queued")
    app = show(workspace)
    assert "The first epoch is still ahead." in screen_text(app)
    assert "4 arms for 3 epochs with 2 seeds" in screen_text(app)


def test_one_seed(workspace: Workspace, show: Show) -> None:
    """One seed settles nothing, and the page says so in words and badge."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(5,), name="one")
    app = show(workspace)
    assert f"{sentences.ONE_SEED}." in screen_text(app)
    assert sentences.NOT_SETTLED in badges(app)
    assert "one seed" in badges(app)


def test_dynamic_alone(workspace: Workspace, show: Show) -> None:
    """Without other arms there is nothing to compare with, and no claim is made."""
    fill_workspace(workspace, samples=80, epochs=2, seeds=(0, 1), name="alone", arms=["dynamic"])
    app = show(workspace)
    assert "No arm chooses at random, so nothing can be claimed for the others" in plain_text(app)
    assert "settled" not in badges(app)
    assert "random" not in badges(app)
    assert "Recommended" not in screen_text(app)
    assert list(app.dataframe[0].value["arm"]) == ["● dynamic"]
    assert len(app.get("plotly_chart")) == 9


def test_an_older_run_by_its_link(full: Workspace, show: Show) -> None:
    """A link names the run, the axis, the seed and the epochs; unknown values fall back instead of failing."""
    (whole,) = [run.id for run in Ledger(full).runs()]
    app = show(full, pruning_run=whole, against="seconds", flow_seed="1", flow_from="2", flow_to="3")
    assert app.selectbox("pruning_run").value == whole
    assert app.segmented_control("against").value == "seconds"
    assert "Between epoch 2 and epoch 3" in screen_text(app)
    lost = show(full, pruning_run="gone", against="money", flow_seed="99", flow_from="9", flow_to="7")
    assert lost.selectbox("pruning_run").value == whole
    assert "Between epoch 1 and epoch 2" in screen_text(lost)


def test_a_band_opens_its_samples(full: Workspace, show: Show) -> None:
    """The samples of a band are listed and each link opens that sample, in that epoch and seed, on Samples."""
    (whole,) = [run.id for run in Ledger(full).runs()]
    app = show(full, flow_band="fell below", flow_seed="1")
    rows = [link.proto for link in app.get("page_link") if link.proto.page.endswith("samples")]
    assert rows
    for link in rows:
        assert f"run={whole}" in link.query_string
        assert "epoch=2&seed=1&sample=" in link.query_string


def test_another_band_begins_at_its_first_page(full: Workspace, show: Show) -> None:
    """Changing the band or the epochs starts at the first page of what is then listed."""
    app = show(full, flow_band="stayed kept", flow_page="3")
    assert app.session_state["flow_page"] == 3
    app.pills("flow_band").set_value("fell below").run()
    assert not app.exception
    assert app.session_state["flow_page"] == 1
    app.selectbox("flow_to").set_value(3).run()
    app.selectbox("flow_from").set_value(2).run()
    assert not app.exception
    assert "Between epoch 2 and epoch 3" in screen_text(app)


def test_failed_run(workspace: Workspace, show: Show) -> None:
    """A run that failed says why, above what it had found by then."""
    fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1), name="broken", state="failed")
    app = show(workspace)
    assert sentences.DISK_FULL in app.error[0].value
    assert "1 of 2 seeds finished" in badges(app)
    assert len(app.get("plotly_chart")) == 10


def test_hostile_prompts_are_inert(full: Workspace, show: Show) -> None:
    """Prompts in the list of a band show their characters: no link, colour, HTML or escape sequence is live."""
    labels = []
    for page in ("1", "2", "3", "4", "5", "6", "7", "8", "9"):
        app = show(full, flow_band="stayed kept", flow_page=page)
        labels += [link.proto.label for link in app.get("page_link") if link.proto.page.endswith("samples")]
    shown = [label for label in labels if any(f"**{row}**" in label for row in range(len(HOSTILE)))]
    assert shown
    for label in shown:
        text = label.split("**", 2)[2]
        assert "<" not in text.replace("\\<", "")
        assert "](" not in text
        assert ":red[" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_presented(full: Workspace, show: Show) -> None:
    """Read-only keeps the finding and the charts and hides the form and its buttons."""
    app = show(full, read_only=True)
    assert "Compute multiplier of **dynamic**" in screen_text(app)
    assert sentences.START_ANOTHER not in screen_text(app)
    assert not [button for button in app.button if button.key in ("check_pair", "start_run")]


def answer(workspace: Workspace, **changes: Any) -> dict[str, Any]:
    """Be the engine: take the question and answer it; the recipe it was about."""
    ledger = Ledger(workspace)
    ask = ledger.next_request()
    assert ask is not None
    assert ask.kind == "check"
    refused = "error" in changes
    ledger.answer(ask.id, changes if refused else FITS | changes, refused=refused)
    return ask.payload["recipe"]


def test_checked_then_started(workspace: Workspace, show: Show) -> None:
    """Start is locked until the engine has found nothing against exactly this recipe; then it is what is queued."""
    app = show(workspace)
    app.button("check_pair").click().run()
    assert app.button("start_run").disabled
    asked = answer(workspace)
    app.run()
    assert "The pair fits." in screen_text(app)
    assert "4.0 times the student" in screen_text(app)
    assert "\\<b\\>" in "\n".join(info.value for info in app.info)
    assert not app.button("start_run").disabled
    app.button("start_run").click().run()
    assert not app.exception
    (run,) = Ledger(workspace).runs()
    assert run.recipe == asked
    assert app.selectbox("run_open").value == run.id


def test_changed_after_the_check(workspace: Workspace, show: Show) -> None:
    """A recipe changed after its check has to be checked again."""
    app = show(workspace)
    app.button("check_pair").click().run()
    answer(workspace)
    app.run()
    field(app, "form_epochs").set_value(7).run()
    assert app.button("start_run").disabled
    assert "The recipe has changed since it was checked." in screen_text(app)


def test_pair_that_does_not_fit(workspace: Workspace, show: Show) -> None:
    """What the engine has against a recipe is said, escaped, and nothing can be started."""
    app = show(workspace)
    app.button("check_pair").click().run()
    answer(workspace, ok=False, problems=["Teacher and student are <i>the same</i> model."])
    app.run()
    assert "\\<i\\>the same" in app.error[0].value
    assert app.button("start_run").disabled
    assert "The pair fits" not in screen_text(app)


def test_engine_that_refuses(workspace: Workspace, show: Show) -> None:
    """A question the engine could not answer is said in its sentence."""
    app = show(workspace)
    app.button("check_pair").click().run()
    answer(workspace, error="There is no model called nowhere.")
    app.run()
    assert "no model called nowhere" in app.error[0].value
    assert app.button("start_run").disabled


def test_fields_are_the_recipe(workspace: Workspace, show: Show) -> None:
    """What is typed into the fields is what the engine is asked about."""
    app = show(workspace)
    field(app, "form_seeds").set_value("3, 4,5").run()
    field(app, "form_limit").set_value(300).run()
    field(app, "form_growth").set_value(0.4).run()
    field(app, "form_way").set_value("tau").run()
    field(app, "form_tau").set_value(0.7).run()
    field(app, "form_ceiling").set_value("tau").run()
    field(app, "form_tau_max").set_value(1.5).run()
    app.button("check_pair").click().run()
    recipe = parse_recipe(answer(workspace))
    assert recipe.kind == "dynamic-pruning"
    assert recipe.seeds == [3, 4, 5]
    assert recipe.data.limit == 300
    assert (recipe.pruning.tau, recipe.pruning.tau_quantile) == (0.7, None)
    assert (recipe.pruning.tau_growth, recipe.pruning.tau_max) == (0.4, 1.5)


def test_on_a_cluster(workspace: Workspace, show: Show) -> None:
    """The cluster is part of the recipe that is checked; the answer says that its estimate knows of no cluster."""
    app = show(workspace)
    field(app, "form_place").set_value(sentences.ON_CLUSTER).run()
    field(app, "form_storage").set_value("/mnt/shared").run()
    app.button("check_pair").click().run()
    recipe = parse_recipe(answer(workspace))
    assert recipe.kind == "dynamic-pruning"
    assert (recipe.cluster.address, recipe.cluster.storage, recipe.cluster.workers) == ("auto", "/mnt/shared", None)
    app.run()
    assert "those of this machine doing it alone" in screen_text(app)
    field(app, "form_place").set_value(sentences.HERE).run()
    assert "doing it alone" not in screen_text(app)
    assert app.button("start_run").disabled


def test_data_that_was_added(workspace: Workspace, show: Show) -> None:
    """Data a person added can be chosen by its name, and brings its own source, columns and limit."""
    settings = {"source": "/data/my rows.jsonl", "limit": 70, "columns": {"instruction": "ask", "response": "tell"}}
    Ledger(workspace).add_dataset("mine", settings, {})
    app = show(workspace)
    field(app, "form_source").set_value("mine").run()
    assert field(app, "form_limit").value == 70
    app.button("check_pair").click().run()
    asked = answer(workspace)["data"]
    assert (asked["source"], asked["limit"], asked["columns"]["response"]) == ("/data/my rows.jsonl", 70, "tell")


def test_another_source_has_other_columns(workspace: Workspace, show: Show) -> None:
    """A recipe may hold out samples by columns of its source; another source in its place is not asked for them."""
    app = show(workspace)
    app.session_state["form_toml_panel"] = True
    app.run()
    text = field(app, "form_toml")
    text.set_value(text.value.replace('source = "demo"', 'source = "rows.csv"')).run()
    app.button("form_toml_use").click().run()
    app.button("check_pair").click().run()
    assert answer(workspace)["data"]["valid_only"] == {"corrupted": "no", "repeats": "no"}
    field(app, "form_source").set_value("demo").run()
    app.button("check_pair").click().run()
    asked = answer(workspace)["data"]
    assert (asked["source"], asked["valid_only"]) == ("demo", {})


def test_recipe_as_text(workspace: Workspace, show: Show) -> None:
    """The recipe can be edited as TOML; a wrong text is one sentence, a right one becomes the form's beginning."""
    app = show(workspace)
    app.session_state["form_toml_panel"] = True
    app.run()
    text = field(app, "form_toml")
    text.set_value(text.value + "\n[oops").run()
    assert "not valid TOML" in app.error[0].value.replace("\\", "")
    assert app.button("check_pair").disabled
    text = field(app, "form_toml")
    text.set_value(text.value.replace("[oops", "").replace("epochs = 4", "epochs = 9")).run()
    assert app.button("check_pair").disabled
    app.button("form_toml_use").click().run()
    assert not app.exception
    assert field(app, "form_epochs").value == 9
    assert not app.button("check_pair").disabled


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("form_seeds", "0, x", "seeds"),
        ("form_seeds", "1, 1", sentences.TWICE),
        ("form_growth", -0.1, "tau_growth"),
        ("form_valid", 1.5, "valid_fraction"),
        ("form_teacher", "scratch:nobody", "scratch.models.nobody"),
        ("form_arms", ["random"], "has no budget"),
        ("form_name", "../elsewhere", "name"),
    ],
)
def test_wrong_values(workspace: Workspace, show: Show, name: str, value: Any, sentence: str) -> None:
    """A wrong value is one sentence naming its key, and nothing can be checked or started with it."""
    app = show(workspace)
    if name == "form_arms":  # the demo has a budget, which does for any arm
        app.selectbox("form_start").set_value("alpaca-kl-scratch").run()
    field(app, name).set_value(value).run()
    assert not app.exception
    (error,) = app.error
    assert sentence in error.value.replace("\\", "")
    assert app.button("check_pair").disabled
    assert app.button("start_run").disabled


def test_from_the_run_above(full: Workspace, show: Show) -> None:
    """The form begins with the recipe of the run on the screen, and with another when another is chosen."""
    app = show(full)
    assert app.selectbox("form_start").value == "the run above"
    assert field(app, "form_limit").value == 120
    app.selectbox("form_start").set_value("alpaca-kl").run()
    assert field(app, "form_limit").value == 2000


def test_the_form_comes_first_for_who_came_to_start(full: Workspace, show: Show) -> None:
    """From "Start a run" on the data page one lands on the form, not on results with a form far below."""
    app = show(full)
    app.session_state["form_first"] = True
    app.run()
    headers = [header.value for header in app.header]
    assert headers[0] == sentences.START_ANOTHER
    assert sentences.COST not in headers
    app.button(key="form_later").click().run()
    assert sentences.COST in [header.value for header in app.header]


def test_arms_of_the_form(workspace: Workspace, show: Show) -> None:
    """The four, a ready one for each ranking, and a budget; each is described, and all of it is in the recipe."""
    app = show(workspace)
    arms = field(app, "form_arms")
    assert {"dynamic", "everything", "ifd", "cluster_far"} <= set(arms.options)
    app.selectbox("form_start").set_value("alpaca-kl-scratch").run()
    arms = field(app, "form_arms")
    arms.set_value(["random", "full", "ifd"]).run()
    assert "has no budget" in app.error[0].value
    field(app, "form_budget").set_value(0.4).run()
    assert not app.error
    assert "ranks by loss of the student with the prompt over its loss without, 40 % of the tokens" in plain_text(app)
    app.button("check_pair").click().run()
    recipe = parse_recipe(answer(workspace))
    assert recipe.kind == "dynamic-pruning"
    assert recipe.arm_names == ["random", "full", "ifd"]
    assert recipe.budget is not None
    assert (recipe.budget.fraction, recipe.budget.of) == (0.4, "tokens")
    assert recipe.entries[2].selection.rank_by == "ifd"


def test_tables_of_a_recipe_stay(workspace: Workspace, show: Show) -> None:
    """Arms that the form cannot write are listed by name and stay as they are, one with the name of a ready one too."""
    mine = {"name": "ifd", "selection": {"rank_by": {"ifd": 1, "length": 0.5}, "spread": "clusters"}}
    arms: list[Any] = ["dynamic", "random", mine, ranked("kl") | {"name": "odd-one", "schedule": "every_epoch"}]
    run = fill_workspace(workspace, samples=80, epochs=2, seeds=(0, 1), arms=arms, budget=BUDGET, name="tables")
    app = show(workspace)
    assert field(app, "form_arms").value == ["dynamic", "random", "ifd", "odd-one"]
    app.button("check_pair").click().run()
    assert answer(workspace)["arms"] == Ledger(workspace).run(run).recipe["arms"]
