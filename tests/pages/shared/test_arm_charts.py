"""Charts of many arms: who stands in front, that arms differ by more than colour, and that every arm is drawn."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from engine.analysis.pruning_results import Results, results_of
from engine.analysis.tournament import tournament
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
from pages.shared import arm_charts, charts
from pages.shared.arm_styles import ASKED, BEST, EVERYTHING, LONGEST, ORACLE, RANDOM, RIVAL, styles
from tests.fixtures.pruning_workspace import fill_workspace

LONG = "a-name-that-no-margin-has-room-for"
CHOICES = ["ifd", "excess_loss", "trusted_kl", "kl", "length", "entropy_teacher", "disagreement", "reverse_kl"]


def _results(workspace: Workspace, arms: list[Any], **more: Any) -> Results:
    run = fill_workspace(
        workspace, samples=80, epochs=3, seeds=(0, 1, 2), arms=arms, budget={"fraction": 0.6}, hostile=False, **more
    )
    ledger = Ledger(workspace)
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    found = results_of(store, ledger.run(run))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Twelve arms, of which one has a long name, without dynamic pruning."""
    ranked = [{"name": name, "selection": {"rank_by": name}} for name in CHOICES]
    odd = {"name": LONG, "selection": {"rank_by": "kl", "spread": "window"}}
    oracle = {"name": "oracle", "selection": {"rank_by": "field:difficulty"}}
    return _results(Workspace(tmp_path_factory.mktemp("many")).create(), [*ranked, odd, oracle, "random", "full"])


def test_arms_in_front_differ_by_more_than_colour() -> None:
    """Line and marker together are never the same, and no colour is that of what is kept or pruned."""
    front = [BEST, RIVAL, RANDOM, EVERYTHING, ORACLE, *ASKED]
    for one, other in combinations(front, 2):
        assert one.marker != other.marker
        assert one.sign != other.sign
        assert one.colour != other.colour
    assert not {charts.KEPT, charts.PRUNED} & {style.colour for style in front}


def test_who_stands_in_front(many: Results) -> None:
    """The best, its rival, random, everything and the oracle; others if they are asked for, at most four."""
    drawn = styles(many)
    front = {arm for arm, style in drawn.items() if style.front}
    assert front == {"excess_loss", "ifd", "random", "full", "oracle"}
    assert list(drawn)[-1] == "excess_loss"  # drawn last, on top of all others
    assert drawn["excess_loss"].label == "● excess_loss"
    assert drawn["full"].label == "■ everything"
    asked = styles(many, ["kl", "ifd", "length", "reverse_kl", "trusted_kl", "disagreement"])
    assert asked["kl"].marker == ASKED[0].marker
    assert asked["ifd"].marker == RIVAL.marker
    assert sum(style.front for style in asked.values()) == len(front) + len(ASKED)
    assert set(asked) == set(many.recipe.arm_names)


def test_every_arm_is_drawn_and_those_in_front_are_named(many: Results) -> None:
    """The rest has its name where it is pointed at, and no band."""
    figure = arm_charts.curves(many.table, styles(many), "loss", "tokens_read")
    lines = {trace.name for trace in figure.data if trace.name}
    assert lines == {"everything", *many.recipe.arm_names} - {"full"}
    assert len(figure.data) == len(lines) + 5
    named = " ".join(note.text for note in figure.layout.annotations)
    assert "oracle" in named
    assert "trusted_kl" not in named


def test_forest_of_all_selections(many: Results) -> None:
    """A row for each selection, in the order of the table, with a ring for each seed; a long name is cut."""
    table = tournament(many)
    figure = arm_charts.forest(many, table, styles(many))
    rows = list(reversed(figure.layout.yaxis.ticktext))
    assert len(rows) == len(CHOICES) + 1
    assert "excess_loss" in rows[0]
    assert "better" in rows[0]
    assert not any(LONG in row for row in rows)
    assert any(LONG[: LONGEST - 1] in row for row in rows)
    rings = [trace for trace in figure.data if trace.marker.symbol == "circle-open" and len(trace.x) == 3]
    assert len(rings) == len(rows)
    settled = table.set_index("arm")["verdict"]
    hollow = [trace for trace in figure.data if len(trace.x) == 1 and trace.marker.symbol.endswith("-open")]
    assert len(hollow) == int((settled == "not settled").sum())


def test_cost_adds_up(many: Results) -> None:
    """Bars of choosing and training beside each other are the seconds of the table; random choice costs nothing."""
    table = tournament(many)
    figure = arm_charts.seconds(table, styles(many))
    training, choosing = figure.data
    assert list(training.x) == table["seconds_training"].tolist()
    assert list(choosing.x) == table["seconds_scoring"].tolist()
    assert choosing.marker.pattern.shape
    assert choosing.x[table["arm"].tolist().index("random")] == 0
    assert list(arm_charts.tokens(table, styles(many)).data[0].x) == table["tokens"].tolist()


def test_usage_of_those_in_front(many: Results) -> None:
    """A histogram for each arm in front, the best on top."""
    figure = arm_charts.usage(many.usage, styles(many))
    assert len(figure.data) == 5
    assert figure.data[0].marker.color == BEST.colour
