"""Try your own, driven: empty, requested, answered, refused, by a link, hostile, read-only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.traces import ordinal
from engine.storage.ledger import Ledger, Request
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace
from pages.playground import form
from pages.playground.examples import EXAMPLES
from pages.shared import charts
from tests.fixtures import sentences
from tests.fixtures.app import Show, opener, plain_text, press, screen_text
from tests.fixtures.pruning_workspace import fill_workspace
from tests.fixtures.traces import trace

HOSTILE = "<script>alert(1)</script> :red[x] \x1b[31m"


@pytest.fixture
def run(workspace: Workspace) -> str:
    return fill_workspace(workspace, samples=80, epochs=3, seeds=(0, 1))


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, "pages/playground/page.py")


def ask(app: AppTest, instruction: str, response: str) -> AppTest:
    app.text_area("try_instruction").set_value(instruction)
    app.text_area("try_response").set_value(response)
    return press(app, "See where they differ")


def answered(app: AppTest, ledger: Ledger, answer: dict[str, Any], refused: bool = False) -> Request:
    taken = ledger.next_request()
    assert taken is not None
    assert taken.kind == "trace"
    ledger.answer(taken.id, answer, refused=refused)
    app.run()
    assert not app.exception
    return taken


def test_empty_workspace(workspace: Workspace, show: Show) -> None:
    """Without a pair of models the page explains what will be possible, and offers no form."""
    app = show(workspace)
    assert "There is no pair of models here yet." in screen_text(app)
    assert not app.text_area


def test_question_and_answer(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """What was typed is requested; the answer is a sentence, a rank, the tokens and a chart."""
    ledger.beat_engine(0.0)
    app = ask(show(workspace), "Where?", "Paris")
    assert "Both models are reading your text" in screen_text(app)
    taken = answered(app, ledger, trace())
    assert taken.payload == {
        "run": run, "student": "base", "instruction": "Where?", "input": "", "response": "Paris",
    }  # fmt: skip
    words = plain_text(app)
    assert f"{sentences.DIFFER} “Paris”: the teacher expects “Paris” (92 %), the student “London” (31 %)." in words
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    scoring = store.scoring(run, -1, 1, "kl")
    values = store.page(SampleQuery(scoring), 0, 100)["value"].to_numpy()
    rank = 1 + int(np.sum(values > 1.5))
    assert f"Its KL of 1.5 would rank {ordinal(rank)} among the {np.sum(values == values)} samples" in words
    assert "so the run would keep it" in words
    assert len(app.get("plotly_chart")) == 1
    scores = app.dataframe[0].value.set_index("score")
    assert scores.loc["share of positions where the top tokens differ", "value"] == "NaN"


def test_student_after_training(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """Another student reads the same at once, and is compared with the last scores of the run."""
    app = ask(show(workspace), "Where?", "Paris")
    answered(app, ledger, trace())
    app.segmented_control("try_student").set_value("after dynamic pruning").run()
    taken = answered(app, ledger, trace())
    assert (taken.payload["student"], taken.payload["response"]) == ("dynamic", "Paris")
    assert "in its last epoch" in plain_text(app)


@pytest.mark.parametrize(
    ("instruction", "response", "sentence"),
    [("Where?", "  ", form.MISSING), ("", "Paris", form.NOTHING)],
)
def test_incomplete_samples_are_not_sent(
    workspace: Workspace,
    ledger: Ledger,
    run: str,
    show: Show,
    instruction: str,
    response: str,
    sentence: str,
) -> None:
    """A sample without a response, or without anything to respond to, gets a message and is not sent."""
    app = ask(show(workspace), instruction, response)
    assert sentence in [warning.value for warning in app.warning]
    assert ledger.next_request() is None


def test_link_is_sent_once(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """A link that carries a sample shows its answer; drawing the page again sends nothing."""
    app = show(workspace, try_instruction="Where?", try_response="Paris")
    answered(app, ledger, trace())
    assert sentences.DIFFER in screen_text(app)
    app.run()
    assert ledger.next_request() is None


def test_link_is_clamped(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """A link need not come from the form; what is requested stays bounded."""
    show(workspace, try_instruction="Where?", try_response="x" * 50_000)
    taken = ledger.next_request()
    assert taken is not None
    assert len(taken.payload["response"]) == form.LONGEST


def test_examples_are_sent_at_once(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """An example fills the three texts and is sent."""
    app = press(show(workspace), EXAMPLES[0].label)
    assert app.text_area("try_response").value == EXAMPLES[0].response
    taken = ledger.next_request()
    assert taken is not None
    assert taken.payload["input"] == EXAMPLES[0].input


def test_refusal_is_a_sentence(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """The reason of a refusal is shown, escaped."""
    app = ask(show(workspace), "Where?", "Paris")
    answered(app, ledger, {"error": f"No model called {HOSTILE}."}, refused=True)
    assert ":red[" not in app.error[0].value
    assert "No model called" in app.error[0].value


def test_no_engine_and_stopping(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """Without an engine the page explains how to start one; waiting can be stopped."""
    app = ask(show(workspace), "Where?", "Paris")
    assert sentences.NO_ENGINE in screen_text(app)
    press(app, sentences.STOP_WAITING).run()
    assert sentences.NO_ENGINE not in screen_text(app)


def test_hostile_tokens_are_inert(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """Tokens that are Markdown, HTML or terminal escapes reach the page escaped."""
    app = ask(show(workspace), "Where?", HOSTILE)
    answered(app, ledger, trace(HOSTILE))
    words = screen_text(app)
    for live in ("<script>", ":red[", "\x1b"):
        assert live not in words


def test_read_only_sends_nothing(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """Read-only, the page explains why it sends no request, even by a link that carries a sample."""
    app = show(workspace, read_only=True, try_instruction="Where?", try_response="Paris")
    assert sentences.READ_ONLY in screen_text(app)
    assert not app.text_area
    assert ledger.next_request() is None


def test_histogram_holds_every_sample(workspace: Workspace, ledger: Ledger, run: str) -> None:
    """Kept and pruned bars add up to the scored samples, kept to those above tau, outliers included."""
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    scoring = store.scoring(run, -1, 1, "kl")
    tau = store.quantiles(scoring, [0.4])[0]
    query = SampleQuery(scoring, tau=tau, show="kept")
    found = store.histogram(scoring, bins=20, query=query)
    bars = {bar.name: int(sum(bar.y)) for bar in charts.ranking(found, tau, "kl", ("this one", 1e9)).data}
    assert bars["kept"] == store.count(query).samples
    assert sum(bars.values()) + found.missing == store.count(SampleQuery(scoring)).samples
    (whole,) = charts.ranking(found, None, "kl").data
    assert sum(whole.y) == sum(bars.values())


def test_a_conversation_is_sent_as_turns(workspace: Workspace, ledger: Ledger, run: str, show: Show) -> None:
    """Several turns are written as they are read elsewhere; one that ends without a reply is not sent."""
    app = show(workspace)
    app.segmented_control("try_kind").set_value(form.SEVERAL).run()
    app.text_area("try_turns").set_value("Hi\nAssistant: Hello\nthere.\nUser: And?")
    press(app, "See where they differ")
    assert form.UNANSWERED in [warning.value for warning in app.warning]
    app.text_area("try_turns").set_value("System: Be brief.\nHi\nUSER: And?\nAssistant: Hello\nthere.")
    press(app, "See where they differ")
    taken = answered(app, ledger, trace())
    turns = [["system", "Be brief.\nHi"], ["user", "And?"], ["assistant", "Hello\nthere."]]
    assert taken.payload == {"run": run, "student": "base", "turns": turns}
