"""The Samples page, driven without a browser: every state it can be in, and that the address carries the view."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from engine.config.load import parse_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.parts import write_part
from engine.storage.store import Count, Scoring
from engine.storage.workspace import Workspace
from pages.samples import listing
from pages.shared import histogram
from tests.fixtures import sentences
from tests.fixtures.app import new_app
from tests.fixtures.pruning_workspace import fill_workspace

SCORED = 271  # of 300 samples; the others are held out


@pytest.fixture
def app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(workspace.root))
    monkeypatch.delenv("WINNOW_READ_ONLY", raising=False)
    return new_app()


@pytest.fixture
def run(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=300, epochs=3)


def open_page(app: AppTest, **address: str | list[str]) -> AppTest:
    app.switch_page("pages/samples/page.py")
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception
    return app


def sentence(app: AppTest) -> str:
    return app.subheader[0].value


def component(app: AppTest, key: str) -> dict[str, Any]:
    """What a component of the page was given to draw."""
    found = [node for node in app.get("bidi_component") if key in node.proto.id]
    return json.loads(found[0].proto.json)


def listed(app: AppTest) -> list[int]:
    return [line["row"] for line in component(app, "list")["rows"]]


def shown(app: AppTest) -> str:
    """All plain text on the page."""
    return "\n".join(text.value for text in app.text)


# -- nothing to show yet ------------------------------------------------------------------------------------------


def test_empty_workspace(app: AppTest) -> None:
    """Without any run the page explains what is missing and links onward."""
    open_page(app)
    assert "Nothing has been scored" in sentence(app)
    assert len(app.get("page_link")) == 2


@pytest.mark.parametrize(
    ("state", "heading"), [("queued", sentences.RANKING_AHEAD), ("running", "Kept"), ("failed", "Kept")]
)
def test_unfinished_runs(app: AppTest, workspace: Workspace, state: str, heading: str) -> None:
    """A run that waits shows what is coming; one that stopped half-way shows what it has scored."""
    fill_workspace(workspace, samples=100, epochs=3, state=state)
    open_page(app)
    assert heading in sentence(app)


def test_newest_run_with_scores(app: AppTest, workspace: Workspace, run: str) -> None:
    """A run that still waits does not hide what has been scored before it; it can be chosen."""
    waiting = fill_workspace(workspace, samples=100, state="queued", name="later")
    open_page(app)
    assert app.selectbox(key="run").value == run
    assert app.selectbox(key="run").options[0] == waiting
    app.selectbox(key="run").select(waiting).run()
    assert sentences.RANKING_AHEAD in sentence(app)


def test_cancelled_before_scoring(app: AppTest, workspace: Workspace) -> None:
    """A run that never scored anything is shown as cancelled, not as waiting."""
    run = fill_workspace(workspace, samples=100, state="queued")
    Ledger(workspace).cancel(run)
    open_page(app)
    assert "cancelled" in sentence(app)


# -- what it is ranked by -----------------------------------------------------------------------------------------


def test_a_run_opens_ranked_by_what_it_ranks_by(app: AppTest, workspace: Workspace, run: str) -> None:
    """Its own metric and threshold stand first, also if another run is chosen; what a person chooses stays."""
    other = fill_workspace(workspace, samples=100, epochs=2, metric="excess_loss", name="other")
    open_page(app)
    assert app.selectbox(key="run").value == other
    assert app.selectbox(key="rank").value == "excess_loss"
    assert sentences.OWN_THRESHOLD in shown(app)
    app.selectbox(key="rank").select("entropy_teacher").run()
    assert app.selectbox(key="rank").value == "entropy_teacher"
    app.selectbox(key="run").select(run).run()
    assert not app.exception
    assert app.selectbox(key="rank").value == "kl"
    assert sentences.OWN_THRESHOLD in shown(app)


def test_rankings_that_arms_asked_for(app: AppTest, workspace: Workspace) -> None:
    """A run whose arms rank by more than the metrics of one pass offers those too, with their unit, before training."""
    fresh = {"name": "fresh", "selection": {"rank_by": "kl"}, "schedule": "every_epoch"}
    arms: list[Any] = ["random", "full", fresh, *({"name": r, "selection": {"rank_by": r}} for r in ("ifd", "length"))]
    run = fill_workspace(workspace, samples=100, epochs=3, arms=arms, budget={"fraction": 0.5}, name="many")
    open_page(app, rank="ifd", run=run)
    ranked = app.selectbox(key="rank")
    assert ranked.value == "ifd"
    assert "loss of the student with the prompt over its loss without" in ranked.options
    assert "tokens of the response" not in ranked.options
    assert component(app, "histogram")["axis"].endswith("ratio of losses")
    assert not [widget for widget in app.segmented_control if widget.key == "epoch"]
    row = listed(app)[0]
    open_page(app, sample=str(row))
    known = {str(name): value for table in app.table for name, value in table.value.iloc[:, 0].items()}
    assert any("with the prompt" in name for name in known), known
    app.selectbox(key="rank").select("kl").run()
    assert not app.exception  # scores of later epochs belong to an arm of its own, not to dynamic pruning
    assert not [widget for widget in app.segmented_control if widget.key == "epoch"]


# -- the threshold --------------------------------------------------------------------------------------------------


def test_the_run_itself(app: AppTest, run: str) -> None:
    """Untouched, the page shows the run's own threshold, what it keeps, what comes next, and how many have no score."""
    open_page(app)
    assert sentence(app).startswith(f"Kept 189 of {SCORED} samples (70 %)")
    assert sentences.OWN_THRESHOLD in shown(app)
    assert "would keep 180 → 166 → 154" in shown(app)
    assert "1 sample has no score (the model gave NaN)" in " ".join(caption.value for caption in app.caption)
    drawn = component(app, "histogram")
    assert drawn["now"] == 189
    assert drawn["tau"] == pytest.approx(0.3525, abs=1e-4)


def test_own_threshold(app: AppTest, run: str) -> None:
    """A threshold that was typed is named as such, and one click goes back."""
    open_page(app)
    app.number_input(key="tau").set_value(1.0).run()
    assert f"{sentences.YOUR_THRESHOLD}, τ = 1" in shown(app)
    kept = component(app, "histogram")["now"]
    assert sentence(app).startswith(f"Kept {kept} of {SCORED}")
    assert kept < 189
    app.button(key="own_tau").click().run()
    assert sentence(app).startswith("Kept 189")
    assert app.number_input(key="tau").value is None


@pytest.mark.parametrize(("tau", "kept"), [(0.0, SCORED - 1), (1e9, 0)])
def test_thresholds_at_both_ends(app: AppTest, run: str, tau: float, kept: int) -> None:
    """Below every score all are kept that have one, above every score none, and the page stands."""
    open_page(app, tau=str(tau))
    assert sentence(app).startswith(f"Kept {kept} of {SCORED} samples")


def test_only_nan(app: AppTest, workspace: Workspace) -> None:
    """A run in which all scores are NaN is shown, and everything drawn stays valid JSON."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    ledger = Ledger(workspace)
    for part in ledger.parts(run, "scores"):
        table = pq.read_table(part.path(workspace))
        all_nan = pa.array([math.nan] * table.num_rows, pa.float32())
        columns = {name: table[name] for name in table.column_names} | {"value": all_nan}
        ledger.record_parts([write_part(workspace, run, "scores", part.name, columns)])
    open_page(app)
    assert sentence(app).startswith("Kept 0 of 54 samples")
    for key in ("histogram", "list"):
        json.dumps(component(app, key), allow_nan=False)


def test_growth_and_the_least_number(app: AppTest, run: str) -> None:
    """Faster growth keeps fewer; if too few would be left, the run would stop."""
    open_page(app, growth="100.0")
    assert "With τ growing 100 % an epoch" in shown(app)
    app.number_input(key="tau").set_value(8.0).run()
    assert "it would stop" in shown(app)


def test_other_metric_forgets_the_threshold(app: AppTest, run: str) -> None:
    """A threshold of one score means nothing for another."""
    open_page(app, tau="1.0")
    app.selectbox(key="rank").select("reverse_kl").run()
    assert app.number_input(key="tau").value is None
    assert "The threshold is the median" in shown(app)


def test_another_run(app: AppTest, workspace: Workspace, run: str) -> None:
    """Going to a run with fewer epochs and other fields drops what it does not have."""
    other = fill_workspace(workspace, samples=120, epochs=2, seeds=(0,), hostile=False, name="other")
    open_page(app, run=run, epoch="3", seed="1", where=["task is <i>hostile</i>", "difficulty is hard"], tau="0.5")
    assert len(listed(app)) == 7
    app.selectbox(key="run").select(other).run()
    assert not app.exception
    assert "of 108 samples" in sentence(app)
    assert sentences.OWN_THRESHOLD in shown(app)
    assert app.multiselect(key="where").value == ["difficulty is hard"]


# -- the address --------------------------------------------------------------------------------------------------


def test_address_restores_the_view(app: AppTest, run: str) -> None:
    """Every control can be set by the address, and what it shows follows."""
    open_page(
        app,
        run=run,
        rank="KL over the response",
        order="low first",
        epoch="2",
        seed="1",
        tau="0.5",
        growth="20.0",
        q="lamp",
        where=["task is sort", "difficulty is not easy"],
        show="kept",
        low="0.2",
        high="3.0",
    )
    assert app.selectbox(key="rank").value == "kl_response"
    assert app.selectbox(key="seed").value == 1
    assert app.number_input(key="tau").value == 0.5
    assert app.slider(key="growth").value == 20.0
    assert app.multiselect(key="where").value == ["task is sort", "difficulty is not easy"]
    lines = component(app, "list")["rows"]
    assert lines
    values = [float(line["value"]) for line in lines]
    assert values == sorted(values)
    assert all(0.5 < value <= 3.0 for value in values)
    assert {line["field"] for line in lines} == {"sort"}
    for line in lines:
        assert any(hit and words == "lamp" for words, hit in line["prompt"] + line["response"])


@pytest.mark.parametrize(
    "address",
    [
        {"epoch": "99", "seed": "7", "run": "no-such-run", "rank": "taste", "order": "sideways", "show": "none"},
        {"tau": "-3", "growth": "nonsense", "page": "4000", "low": "9", "high": "1", "where": "task is unheard of"},
        {"sample": "-1"},
        {"sample": "1e3"},
        {"sample": "٣"},
        {"page": "-2", "tau": "nan"},
    ],
)
def test_wrong_addresses(app: AppTest, run: str, address: dict[str, str]) -> None:
    """An address that asks for the impossible shows the nearest possible, never an error."""
    open_page(app, **address)
    assert sentence(app).startswith("Kept")


def test_choosing_data(app: AppTest, workspace: Workspace, run: str) -> None:
    """If runs read different data, they can be selected by data first."""
    recipe = to_dict(Ledger(workspace).run(run).parsed())
    recipe["data"]["source"] = "/somewhere/letters.jsonl"
    other = Ledger(workspace).submit(parse_recipe(recipe))
    open_page(app, run=run)
    assert app.selectbox(key="data").options == ["any data", "letters.jsonl", "synthetic.jsonl"]
    app.selectbox(key="data").select("letters.jsonl").run()
    assert app.selectbox(key="run").options == [other]
    assert sentences.RANKING_AHEAD in sentence(app)
    app.selectbox(key="data").select("synthetic.jsonl").run()
    assert sentence(app).startswith("Kept 189")


def test_metric_by_its_short_name(app: AppTest, run: str) -> None:
    """Links may name a metric as recipes and the command line do."""
    open_page(app, rank="nll_student")
    assert app.selectbox(key="rank").value == "nll_student"


# -- the list -----------------------------------------------------------------------------------------------------


def test_pages_of_fifty(app: AppTest, run: str) -> None:
    """Fifty samples a page, ranked across pages; a filter goes back to the first page."""
    open_page(app)
    first = listed(app)
    app.pagination(key="page").set_value(6).run()
    assert len(first) == 50
    assert len(listed(app)) == SCORED - 250
    app.text_input(key="q").set_value("lamp").run()
    assert app.session_state["page"] == 1
    assert len(listed(app)) == 50
    assert f"of {SCORED} samples, highest" in shown(app)


def test_around_the_threshold(app: AppTest, run: str) -> None:
    """One click shows the samples on both sides of the threshold."""
    open_page(app, show="around the threshold")
    above = [line["above"] for line in component(app, "list")["rows"]]
    assert above == [True] * 25 + [False] * 25


def test_no_match(app: AppTest, run: str) -> None:
    """A search without a result has a message, and everything can be cleared at once."""
    open_page(app, q="zebra crossing", show="pruned", where="task is sort")
    assert "No sample matches" in shown(app)
    app.button(key="clear").click().run()
    assert len(listed(app)) == 50
    assert app.text_input(key="q").value == ""
    assert app.multiselect(key="where").value == []


def test_one_value_of_a_field(app: AppTest, run: str) -> None:
    """A second value of a field that is held already is not offered; excluding values is."""
    open_page(app)
    app.multiselect(key="where").select("task is sort").run()
    offered = app.multiselect(key="where").options
    assert "task is rewrite" not in offered
    assert "task is not rewrite" in offered
    assert "difficulty is hard" in offered


# -- one sample ---------------------------------------------------------------------------------------------------


def test_open_sample(app: AppTest, run: str) -> None:
    """The drawer explains why a sample stands out and shows the fields that the scoring does not read."""
    open_page(app, sample="20")
    assert f"of {SCORED} by KL over all positions" in shown(app)
    assert "the teacher expects" in shown(app)
    assert any("corrupted" in caption.value for caption in app.caption)
    cells = component(app, "drawer_heat")["cells"]
    assert [cell.get("kl") is None for cell in cells] == [True] + [False] * (len(cells) - 1)
    assert cells[-1]["text"] == "⟨end⟩"


def test_neighbours(app: AppTest, run: str) -> None:
    """Next and previous walk the list that is shown."""
    open_page(app, q="lamp")
    rows = listed(app)
    app.query_params["sample"] = str(rows[3])
    app.run()
    app.button(key="drawer_next").click().run()
    assert app.query_params["sample"] in (str(rows[4]), [str(rows[4])])
    app.button(key="drawer_previous").click().run()
    assert app.query_params["sample"] in (str(rows[3]), [str(rows[3])])


def test_sample_without_number_and_held_out(app: AppTest, run: str) -> None:
    """A sample without a score, one held out and one that does not exist have different messages."""
    open_page(app, sample="7")
    assert "NaN for this sample" in shown(app)
    held_out = next(row for row in range(20, 300) if row not in everything(app))
    app.query_params["sample"] = str(held_out)
    app.run()
    assert "Held out for validation" in shown(app)
    app.query_params["sample"] = "99999"
    app.run()
    assert "does not have" in app.warning[0].value


def everything(app: AppTest) -> set[int]:
    found: set[int] = set()
    for page in range(1, 7):
        app.pagination(key="page").set_value(page).run()
        found |= set(listed(app))
    return found


def test_by_hand_with_a_note(app: AppTest, workspace: Workspace, run: str) -> None:
    """A decision by hand goes to the ledger with its note, changes the counts, and can be undone."""
    open_page(app, sample="20")  # below the threshold
    note = next(field for field in app.text_input if field.key.startswith("note_"))
    note.set_value("worth keeping").run()
    app.button(key="drawer_keep").click().run()
    (override,) = Ledger(workspace).overrides().values()
    assert (override.decision, override.note) == ("keep", "worth keeping")
    assert sentence(app).startswith("Kept 190")
    assert sentences.BY_HAND in sentence(app)
    app.button(key="drawer_keep").click().run()
    assert sentence(app).startswith("Kept 189")
    assert [past.decision for past in Ledger(workspace).override_history(override.content_id)] == ["", "keep", ""]


def test_bulk_by_hand_and_undo(app: AppTest, workspace: Workspace, run: str) -> None:
    """What matches is decided about at once, after its number was shown, and one click undoes it, earlier ones kept."""
    open_page(app, sample="20")
    app.button(key="drawer_keep").click().run()
    before = {cid: (o.decision, o.note) for cid, o in Ledger(workspace).overrides().items()}
    del app.query_params["sample"]
    app.query_params["q"] = "lamp"
    app.text_input(key="q").set_value("lamp").run()
    matching = int(shown(app).split(f" of {SCORED} samples")[0].split()[-1])
    button = app.button(key="override_confirm")
    assert button.label == f"Prune these {matching} samples"
    button.click().run()
    decisions = [override.decision for override in Ledger(workspace).overrides().values()]
    assert decisions.count("prune") >= matching - 20  # equal texts share one decision
    app.pills(key="hand").set_value("pruned by hand").run()
    assert all(line["verdict"] == "pruned by hand" for line in component(app, "list")["rows"])
    app.button(key="override_undo_button").click().run()
    assert {cid: (o.decision, o.note) for cid, o in Ledger(workspace).overrides().items()} == before


def test_read_only(app: AppTest, workspace: Workspace, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, the threshold moves and samples open, and nothing changes the workspace."""
    monkeypatch.setenv("WINNOW_READ_ONLY", "1")
    open_page(app, sample="20", tau="0.9")
    keys = {widget.key for widget in [*app.button, *app.text_input]}
    assert not keys & {"drawer_keep", "drawer_prune", "override_confirm", "engine_start"}
    assert not [key for key in keys if key and key.startswith("note_")]
    assert sentences.YOUR_THRESHOLD in shown(app)


def test_hostile_text_never_reaches_markdown(app: AppTest, run: str) -> None:
    """Texts of samples are drawn as plain text or escaped; nothing that reads Markdown gets them raw."""
    open_page(app, sample="5", plain="true")
    drawn = [element.value for kind in (app.markdown, app.caption, app.subheader, app.title) for element in kind]
    for words in ("<script>", ":rainbow-background[", "](javascript:", "<img", "$$x^2$$", ":material/home:"):
        assert not [text for text in drawn if words in text]
    assert not app.get("html") or all("hostile" not in html.value for html in app.html)


# -- sentences and counts -----------------------------------------------------------------------------------------


def test_counts_with_decisions_by_hand() -> None:
    """At every threshold a decision by hand counts only if it differs from the rule."""

    class Fixed:
        def kept_counts(self, scoring: Scoring, taus: list[float]) -> list[Count]:
            values = [3.0, 2.0, 1.0, 1.0]
            return [Count(sum(v > tau for v in values), 10 * sum(v > tau for v in values)) for tau in taus]

    by_hand = pd.DataFrame(
        {"value": [3.0, 1.0, math.nan], "decision": ["prune", "keep", "keep"], "length": [10, 10, 10]}
    )
    scoring = Scoring("run", "base", -1, 1, "kl")
    counted = histogram.counts(Fixed(), scoring, [0.5, 1.0, 2.5, 9.0], by_hand)  # type: ignore[arg-type]
    assert [count.samples for count in counted] == [4, 3, 2, 2]
    assert [count.tokens for count in counted] == [40, 30, 20, 20]


def test_category_field() -> None:
    """A task-like field is shown in the list; without fields there is no such column."""
    assert listing.category_field(["corrupted", "Task"]) == "Task"
    assert listing.category_field(["corrupted"]) == "corrupted"
    assert listing.category_field([]) is None
