"""What nodes of a cluster did for a run: their charts, and the view of the Runs page."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis import cluster
from engine.config.load import load_recipe, parse_recipe, to_dict
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from pages.runs import nodes, nodes_chart
from tests.analysis.test_cluster import LOST, UNTIL, WORKER, tried
from tests.fixtures import sentences
from tests.fixtures.app import Show, opener, plain_text


def test_the_timeline_draws_every_attempt_in_its_place() -> None:
    """A bar begins when its attempt began, in a row of its node; two at once have two rows."""
    attempts = [
        tried("x", "a", 100, 110, "done"),
        tried("y", "a", 105, 125, "lost", LOST),
        tried("y", "c", 130, None, ""),
    ]
    drawn = nodes_chart.timeline(attempts, ["a", "b", "c"], 140, live=True)
    bars = {trace.name: (list(trace.y), list(trace.base)) for trace in drawn.data}
    assert bars == {"done": ([0], [0.0]), "lost": ([1], [5.0]), "in progress": ([3], [30.0])}
    assert list(drawn.layout.yaxis.ticktext) == ["a", "b", "c"]
    assert list(drawn.layout.yaxis.tickvals) == [0.5, 2, 3]
    assert drawn.layout.xaxis.title.text.startswith("seconds")
    hatches = [trace.marker.pattern.shape for trace in drawn.data]
    assert len(set(hatches)) == 3  # colour is never the only sign


def test_long_names_of_one_machine_stay_apart() -> None:
    """Two nodes of one machine differ at the end of their names, which therefore stays in what is shown."""
    names = ["ip-10-0-0-12.somewhere.internal a1b2c3", "ip-10-0-0-12.somewhere.internal d4e5f6"]
    drawn = nodes_chart.timeline([tried("x", name, 1, 2, "done") for name in names], [], UNTIL, live=False)
    assert list(drawn.layout.yaxis.ticktext) == ["ip-10-0-0-12.…l a1b2c3", "ip-10-0-0-12.…l d4e5f6"]


def test_a_timeline_of_many_nodes_stays_bounded() -> None:
    """Hundreds of nodes do not make a picture of many screens, and their names do not lie on each other."""
    attempts = [tried("x", f"node-{each}", 1, 2, "done") for each in range(900)]
    drawn = nodes_chart.timeline(attempts, [], UNTIL, live=False)
    assert drawn.layout.height < 900
    assert len(drawn.layout.yaxis.ticktext) <= nodes_chart.LABELS


# -- the view -------------------------------------------------------------------------------------------------------


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    return opener(monkeypatch, "pages/runs/page.py")


def begun(ledger: Ledger, place: Any = "auto", nodes: Sequence[str] = ("node-1", "node-2")) -> str:
    """A running run, on a cluster of these nodes."""
    recipe = parse_recipe(to_dict(load_recipe("demo-kd")) | {"cluster": place})
    run, lock = ledger.start(recipe)
    lock.release()
    if run.recipe["cluster"]["address"] != "none":
        found = [{"name": name, "cpus": 8.0, "gpus": 1.0, "memory_gb": 64.0} for name in nodes]
        ledger.set_provenance(run.id, cluster={"address": "10.0.0.1:6379", "workers": 4, "nodes": found})
    return run.id


def did(ledger: Ledger, run: str, name: str, node: str, outcome: str = "done", why: str = "") -> None:
    ledger.end_units(run, outcome, why, [ledger.begin_unit(run, name, node)])


@pytest.fixture
def ended(ledger: Ledger) -> str:
    """A finished run of two nodes, one of which was lost."""
    run = begun(ledger)
    did(ledger, run, "first", "node-1")
    did(ledger, run, "second", "node-2", "lost", LOST)
    did(ledger, run, "second", "node-1")
    ledger.finish(run, "done")
    return run


def views(app: AppTest) -> list[str]:
    return list(app.get("segmented_control")[0].options)


def test_the_view(workspace: Workspace, ended: str, show: Show) -> None:
    """A sentence, a row for each node, a chart, and why a work unit was tried twice; the list says where it ran."""
    app = show(workspace, run_open=ended, run_view="nodes")
    words = plain_text(app)
    assert "1 of 2 nodes did 2 work units; 1 node was lost, and 1 work unit was done again." in words
    assert "On the Ray cluster at 10.0.0.1:6379" in words.replace("\u2060", "")
    assert "knowledge distillation on digits · on 2 nodes" in words
    by_node, again = (frame.value for frame in app.dataframe)
    assert list(by_node["work units done"]) == [2, 0]
    assert list(by_node["lost"]) == ["", "the node, with 1 work unit"]
    assert list(by_node["machine"]) == ["8 CPUs, 1 GPU, 64 GB"] * 2
    assert "in progress" not in by_node
    assert list(again.iloc[0]) == ["second", 2, f"node-2: lost, {LOST} → node-1: done"]
    assert len(app.get("plotly_chart")) == 1


def test_what_is_at_work_now(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """While it runs the table names what each node has in hand; the next look sees what came since."""
    run = begun(ledger)
    for name in ("a", "b", "c", "d"):
        ledger.begin_unit(run, name, "node-1")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "1 node is working on 4 work units, none done yet; nothing was lost." in plain_text(app)
    assert list(app.dataframe[0].value["in progress"]) == ["a, b, c and 1 more", ""]
    assert len(app.dataframe) == 1
    ledger.end_units(run, "done")
    app.run()
    assert "1 of 2 nodes has done 4 work units so far; nothing was lost." in plain_text(app)


def test_a_run_whose_engine_died(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """No node is shown as busy in a run that was interrupted."""
    run = begun(ledger)
    ledger.begin_unit(run, "a", "node-1")
    with closing(sqlite3.connect(workspace.ledger)) as db, db:
        db.execute("UPDATE runs SET heartbeat = heartbeat - 3600")
        db.execute("UPDATE work_units SET began = began - 3700")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "No work unit is done yet on 2 nodes; nothing was lost." in plain_text(app)
    (by_node,) = (frame.value for frame in app.dataframe)
    assert "in progress" not in by_node
    assert by_node["busy seconds"].iloc[0] == pytest.approx(100, abs=5)


def test_offered_only_for_clusters(workspace: Workspace, ledger: Ledger, ended: str, show: Show) -> None:
    """A run on this machine has no such view: not by a link, and not when it is opened after one that has."""
    here = begun(ledger, "none")
    ledger.finish(here, "done")
    app = show(workspace, run_open=here, run_view="nodes")
    assert "nodes" not in views(app)
    assert 'name = "demo-kd"' in app.code[0].value
    app = show(workspace, run_open=ended, run_view="nodes")
    assert views(app) == ["recipe", "provenance", "nodes", "log", "compare"]
    app.selectbox("run_open").set_value(here).run()
    assert not app.exception
    assert views(app) == ["recipe", "provenance", "log", "compare"]
    assert 'name = "demo-kd"' in app.code[0].value


def test_before_the_first_work_unit(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """A run that waits for a cluster is listed as such, and no node has begun."""
    recipe = parse_recipe(to_dict(load_recipe("demo-kd")) | {"cluster": "auto"})
    app = show(workspace, run_open=ledger.submit(recipe), run_view="nodes")
    assert "on a Ray cluster" in plain_text(app)
    assert sentences.NO_UNIT in plain_text(app)
    assert not app.dataframe


def test_a_picture_has_a_limit(workspace: Workspace, ended: str, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many attempts the last are drawn and listed, with their total beside them; the numbers count all."""
    monkeypatch.setattr(nodes_chart, "MOST", 2)
    app = show(workspace, run_open=ended, run_view="nodes")
    assert "The last 2 of 3 attempts are drawn" in plain_text(app)
    assert app.dataframe[0].value["work units done"].sum() == 2
    (chart,) = app.get("plotly_chart")
    assert sum(len(trace["customdata"]) for trace in json.loads(chart.proto.spec)["data"]) == 2


def test_a_long_list_has_a_limit(
    workspace: Workspace, ledger: Ledger, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many repeated work units the last are listed, with their total beside them."""
    monkeypatch.setattr(nodes, "LISTED", 2)
    run = begun(ledger)
    for name in ("a", "b", "c"):
        did(ledger, run, name, "node-1", "lost", WORKER)
        did(ledger, run, name, "node-2")
    app = show(workspace, run_open=run, run_view="nodes")
    assert list(app.dataframe[1].value["work unit"]) == ["b", "c"]
    assert "The last 2 of 3 are listed." in plain_text(app)


def test_a_pause_is_left_out(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Between a run that stopped and the same one resumed there is a line, and how long it stands for."""
    run = begun(ledger)
    did(ledger, run, "a", "node-1", "cancelled")
    with closing(sqlite3.connect(workspace.ledger)) as db, db:
        db.execute("UPDATE work_units SET began = began - 7200, ended = ended - 7200")
    did(ledger, run, "a", "node-1")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "At the dotted line no node was working for 2 h 00 min; that time is left out." in plain_text(app)
    layout = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]
    assert [shape["line"]["dash"] for shape in layout["shapes"] if "dash" in shape["line"]] == ["dot"]
    assert layout["xaxis"]["range"][1] < 60


def test_hostile_names(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Names of nodes, work units and reasons are text from elsewhere: shown as they are, obeyed nowhere."""
    node, unit, why = "<img src=x onerror=alert(1)>", "[a](http://bad.invalid)\u202e", f"<b>{LOST}</b> %{{x}}"
    run = begun(ledger, nodes=[node])
    ledger.extend_provenance(run, cluster={"address": "<script>alert(1)</script>:[x](http://bad.invalid)"})
    did(ledger, run, unit, node, "lost", why)
    did(ledger, run, unit, node)
    app = show(workspace, run_open=run, run_view="nodes")
    drawn = "\n".join(str(element.value) for kind in ("markdown", "caption") for element in app.get(kind))
    assert "<script>" not in drawn
    assert "[x](" not in drawn
    assert "\u202e" not in app.dataframe[1].value["work unit"].iloc[0]
    spec = app.get("plotly_chart")[0].proto.spec
    assert "<img" not in spec
    assert "<b>" not in spec
    assert "\\u202e" not in spec.lower()
    assert "\u202e" not in spec
    facts = "\n".join(html.proto.body for html in show(workspace, run_open=run, run_view="provenance").get("html"))
    assert "nodes of the cluster" in facts
    assert "&lt;img src=x onerror=alert(1)&gt;: 8 CPUs, 1 GPU, 64 GB" in facts
    assert "<img" not in facts


def test_attempts_of_a_real_ledger(ledger: Ledger) -> None:
    """The numbers agree with what the ledger keeps, times included."""
    run = begun(ledger)
    before = time.time()
    did(ledger, run, "first", "node-1")
    open_one = ledger.begin_unit(run, "second", "node-1")
    attempts = ledger.attempts(run)
    (node,) = cluster.nodes(attempts, time.time(), True)
    assert (node.done, node.now) == (1, ("second",))
    assert 0 <= node.seconds <= time.time() - before
    ledger.end_units(run, "lost", "the engine ended")
    (node,) = cluster.nodes(ledger.attempts(run), time.time(), False)
    assert (node.lost, node.gone, node.now) == (1, False, ())
    assert ledger.attempts(run)[1].id == open_one
