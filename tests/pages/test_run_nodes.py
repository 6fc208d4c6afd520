"""What nodes of a cluster did for a run: the numbers held against counting by hand, and the view of the Runs page."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from engine.analysis import cluster as run_nodes
from engine.config.load import load_recipe, parse_recipe, to_dict
from engine.storage.ledger import Attempt, Ledger
from engine.storage.workspace import Workspace
from pages.runs import nodes as run_nodes_view
from pages.runs import nodes_chart
from tests.fixtures.app import Show, opener

UNTIL = 1000.0
IDS = itertools.count()
LOST = run_nodes.NODE_LOST
WORKER = "its worker was killed: out of memory"


def tried(name: str, node: str, began: float, ended: float | None, outcome: str, why: str = "") -> Attempt:
    return Attempt(next(IDS), "run", name, node, began, ended, outcome, why)


def done(names: Iterable[int], node: str) -> list[Attempt]:
    return [tried(f"shard {each}", node, each, each + 1.0, "done") for each in names]


@st.composite
def histories(draw: st.DrawFn) -> list[Attempt]:
    """Attempts with whole seconds, so that sums are exact; only those that have not come out have no end."""
    found = []
    for number in range(draw(st.integers(0, 14))):
        outcome = draw(st.sampled_from(["", "done", "lost", "failed", "cancelled"]))
        began = float(draw(st.integers(0, 400)))
        ended = None if not outcome else began + draw(st.integers(1, 40))
        why = draw(st.sampled_from([LOST, WORKER])) if outcome == "lost" else ""
        node = f"node-{draw(st.integers(1, 3))}"
        shard = f"shard {draw(st.integers(1, 6))}"
        found.append(Attempt(number, "run", shard, node, began, ended, outcome, why))
    return found


def at_work(attempts: Iterable[Attempt], second: int) -> int:
    """How many attempts are at work in the second that begins at `second`."""
    return sum(each.began <= second < run_nodes.end(each, 500.0) for each in attempts)


@given(histories())
def test_time_at_work(attempts: list[Attempt]) -> None:
    """A node is at work in exactly those seconds in which it has at least one attempt in hand."""
    for node in run_nodes.nodes(attempts, 500.0, True):
        mine = [each for each in attempts if each.node == node.name]
        assert node.seconds == sum(at_work(mine, second) > 0 for second in range(500))


@given(histories(), st.booleans())
def test_every_attempt_is_counted_once(attempts: list[Attempt], live: bool) -> None:
    """What is lost, done and in hand adds up over nodes; a node is gone only where one of its attempts says so."""
    did = run_nodes.nodes(attempts, 500.0, live, ["node-1", "idle"])
    assert [node.name for node in did][:2] == ["node-1", "idle"]
    assert len({node.name for node in did}) == len(did)
    assert sum(node.lost for node in did) == sum(each.outcome == "lost" for each in attempts)
    assert sum(len(node.now) for node in did) == sum(not each.outcome for each in attempts) * live
    assert sum(node.done for node in did) == len({(e.node, e.name) for e in attempts if e.outcome == "done"})
    assert {node.name for node in did if node.gone} == {each.node for each in attempts if each.why == LOST}
    shards = run_nodes.shards(attempts)
    assert sorted(each.id for shard in shards for each in shard.attempts) == [each.id for each in attempts]
    assert {shard.name for shard in shards if shard.outcome == "done"} == {
        each.name for each in attempts if each.outcome == "done"
    }


@given(histories())
def test_lanes(attempts: list[Attempt]) -> None:
    """No two attempts overlap in a lane, and a node has as many lanes as it ever had attempts in hand at once."""
    lanes = run_nodes.lanes(attempts, 500.0)
    assert set(lanes) == {each.id for each in attempts}
    for node in {each.node for each in attempts}:
        mine = [each for each in attempts if each.node == node]
        wide = max(lanes[each.id] for each in mine) + 1
        assert wide == max(1, *(at_work(mine, second) for second in range(500)))
        for lane in range(wide):
            inside = [each for each in mine if lanes[each.id] == lane]
            assert all(at_work(inside, second) <= 1 for second in range(500))


@given(histories())
def test_pauses_are_left_out_and_nothing_else(attempts: list[Attempt]) -> None:
    """Without its pauses time still runs forward, and every attempt is as long as it was."""
    left_out = run_nodes.pauses(attempts, 500.0)
    assert all(not at_work(attempts, second) for a, b in left_out for second in range(int(a), int(b)))
    assert all(b - a > run_nodes.PAUSE for a, b in left_out)
    first = min((each.began for each in attempts), default=0.0)
    moments = [run_nodes.elapsed(first + second, first, left_out) for second in range(500)]
    assert moments == sorted(moments)
    for each in attempts:
        last = run_nodes.end(each, 500.0)
        shown = run_nodes.elapsed(last, first, left_out) - run_nodes.elapsed(each.began, first, left_out)
        assert shown == last - each.began


@given(histories(), st.booleans())
def test_the_sentence_is_a_sentence(attempts: list[Attempt], live: bool) -> None:
    """Whatever happened it is one sentence that says how many shards are done, and speaks of every lost node."""
    did, shards = run_nodes.nodes(attempts, 500.0, live), run_nodes.shards(attempts)
    said = run_nodes.sentence(did, shards, live)
    assert said.endswith(".")
    assert said.count(".") == 1
    assert "  " not in said
    finished = sum(shard.outcome == "done" for shard in shards)
    assert (f"{finished} shard" in said) or not finished
    gone = sum(node.gone for node in did)
    assert (f"{gone} node{'s were' if gone > 1 else ' was'} lost" in said) == (gone > 0)
    assert "nothing was lost" not in said or not any(each.outcome == "lost" for each in attempts)


RETRIED = [tried("shard 90", "c", 90, 95, "lost", LOST), tried("shard 90", "a", 95, 99, "done")]


@pytest.mark.parametrize(
    ("attempts", "known", "live", "sentence"),
    [
        ([], [], True, "No node has begun a shard yet."),
        ([], ["a"], False, "No node has begun a shard."),
        (done(range(3), "a"), [], False, "1 node did 3 shards; nothing was lost."),
        (done([1], "a"), ["a", "b"], True, "1 of 2 nodes has done 1 shard so far; nothing was lost."),
        (
            [*done(range(20), "a"), *done(range(20, 40), "b"), *done([40], "c"), *RETRIED],
            [],
            False,
            "3 nodes did 42 shards; 1 node was lost, and 1 shard was done again.",
        ),
        (
            [*done([1], "a"), tried("x", "b", 5, 6, "lost", WORKER), tried("x", "a", 7, None, "")],
            [],
            True,
            "1 of 2 nodes has done 1 shard so far; 1 shard is being done again.",
        ),
        (
            [*done([1, 2], "a"), tried("x", "b", 5, 6, "lost", LOST), tried("y", "b", 5, 6, "lost", LOST)],
            [],
            False,
            "1 of 2 nodes did 2 shards; 1 node was lost, and 2 shards were lost and not done again.",
        ),
        (
            [*done([1], "a"), tried("x", "a", 5, 6, "failed", "no"), tried("y", "a", 5, 6, "cancelled")],
            [],
            False,
            "1 node did 1 shard; 1 shard failed, and 1 shard was cancelled.",
        ),
        (
            [tried("x", "a", 5, None, ""), tried("y", "b", 5, None, "")],
            [],
            True,
            "2 nodes are at work on 2 shards, none done yet; nothing was lost.",
        ),
        (
            [*done([1], "a"), tried("x", "a", 5, None, "")],
            [],
            False,
            "1 node did 1 shard; 1 shard was in hand when the run was last heard of.",
        ),
        ([tried("x", "a", 5, 6, "failed", "no")], [], False, "No shard was done on 1 node; 1 shard failed."),
    ],
)
def test_sentences(attempts: list[Attempt], known: list[str], live: bool, sentence: str) -> None:
    """The answer in words, for runs that went well, badly, and not yet."""
    did = run_nodes.nodes(attempts, UNTIL, live, known)
    assert run_nodes.sentence(did, run_nodes.shards(attempts), live) == sentence


def test_nothing_ends_before_it_began() -> None:
    """An attempt begun after the last that was heard of its run took no time, not a negative one."""
    (node,) = run_nodes.nodes([tried("x", "a", UNTIL + 5, None, "")], UNTIL, False)
    assert node.seconds == 0


def test_a_lost_worker_is_no_lost_node() -> None:
    """A worker that was killed loses its shard; the node it ran on goes on."""
    (node,) = run_nodes.nodes([tried("x", "a", 0, 1, "lost", WORKER)], UNTIL, True)
    assert (node.lost, node.gone) == (1, False)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "a", "cpus": 8.0, "gpus": 1.0, "memory_gb": 62.71}, "8 CPUs, 1 GPU, 62.7 GB"),
        ({"name": "a", "cpus": 1.0, "gpus": 0.0, "memory_gb": 4.0}, "1 CPU, 4 GB"),
        ({"name": "a", "cpus": 0.5, "gpus": 2.0}, "0.5 CPUs, 2 GPUs"),
        ({}, ""),
    ],
)
def test_machine(node: dict[str, Any], words: str) -> None:
    """A machine in the words people order one in; what it has not is not spoken of."""
    assert run_nodes.machine(node) == words


def test_the_timeline_draws_every_attempt_in_its_place() -> None:
    """A bar begins when its attempt began, in a row of its node; two at once have two rows."""
    attempts = [
        tried("x", "a", 100, 110, "done"),
        tried("y", "a", 105, 125, "lost", LOST),
        tried("y", "c", 130, None, ""),
    ]
    drawn = nodes_chart.timeline(attempts, ["a", "b", "c"], 140, live=True)
    bars = {trace.name: (list(trace.y), list(trace.base)) for trace in drawn.data}
    assert bars == {"done": ([0], [0.0]), "lost": ([1], [5.0]), "at work": ([3], [30.0])}
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


def said(app: AppTest) -> str:
    kinds = ("markdown", "caption")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind)).replace("\\", "")


def begun(ledger: Ledger, cluster: Any = "auto", nodes: Sequence[str] = ("node-1", "node-2")) -> str:
    """A run that is at work, on a cluster of these nodes."""
    recipe = parse_recipe(to_dict(load_recipe("demo-kd")) | {"cluster": cluster})
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
    """The answer, a row for each node, a picture, and why a shard was tried twice; the list says where it was done."""
    app = show(workspace, run_open=ended, run_view="nodes")
    words = said(app)
    assert "1 of 2 nodes did 2 shards; 1 node was lost, and 1 shard was done again." in words
    assert "On the Ray cluster at 10.0.0.1:6379" in words.replace("\u2060", "")
    assert "knowledge distillation on digits · on 2 nodes" in words
    nodes, again = (frame.value for frame in app.dataframe)
    assert list(nodes["shards done"]) == [2, 0]
    assert list(nodes["lost"]) == ["", "the node, with 1 shard"]
    assert list(nodes["machine"]) == ["8 CPUs, 1 GPU, 64 GB"] * 2
    assert "at work on now" not in nodes
    assert list(again.iloc[0]) == ["second", 2, f"node-2: lost, {LOST} → node-1: done"]
    assert len(app.get("plotly_chart")) == 1


def test_what_is_at_work_now(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """While it runs the table names what each node has in hand; the next look sees what came since."""
    run = begun(ledger)
    for name in ("a", "b", "c", "d"):
        ledger.begin_unit(run, name, "node-1")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "1 node is at work on 4 shards, none done yet; nothing was lost." in said(app)
    assert list(app.dataframe[0].value["at work on now"]) == ["a, b, c and 1 more", ""]
    assert len(app.dataframe) == 1
    ledger.end_units(run, "done")
    app.run()
    assert "1 of 2 nodes has done 4 shards so far; nothing was lost." in said(app)


def test_a_run_whose_engine_died(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Nobody is said to be at work in a run that was interrupted."""
    run = begun(ledger)
    ledger.begin_unit(run, "a", "node-1")
    with closing(sqlite3.connect(workspace.ledger)) as db, db:
        db.execute("UPDATE runs SET heartbeat = heartbeat - 3600")
        db.execute("UPDATE work_units SET began = began - 3700")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "No shard is done yet on 2 nodes; nothing was lost." in said(app)
    (nodes,) = (frame.value for frame in app.dataframe)
    assert "at work on now" not in nodes
    assert nodes["seconds at work"].iloc[0] == pytest.approx(100, abs=5)


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


def test_before_the_first_shard(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """A run that waits for a cluster says so in the list, and that no node has begun."""
    recipe = parse_recipe(to_dict(load_recipe("demo-kd")) | {"cluster": "auto"})
    app = show(workspace, run_open=ledger.submit(recipe), run_view="nodes")
    assert "on a Ray cluster" in said(app)
    assert "No node has begun a shard yet." in said(app)
    assert not app.dataframe


def test_a_picture_has_a_limit(workspace: Workspace, ended: str, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many attempts the last are drawn and listed, and the page says of how many; the numbers count all."""
    monkeypatch.setattr(nodes_chart, "MOST", 2)
    app = show(workspace, run_open=ended, run_view="nodes")
    assert "The last 2 of 3 attempts are drawn" in said(app)
    assert app.dataframe[0].value["shards done"].sum() == 2
    (chart,) = app.get("plotly_chart")
    assert sum(len(trace["customdata"]) for trace in json.loads(chart.proto.spec)["data"]) == 2


def test_a_long_list_has_a_limit(
    workspace: Workspace, ledger: Ledger, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many repeated shards the last are listed, and the page says of how many."""
    monkeypatch.setattr(run_nodes_view, "LISTED", 2)
    run = begun(ledger)
    for name in ("a", "b", "c"):
        did(ledger, run, name, "node-1", "lost", WORKER)
        did(ledger, run, name, "node-2")
    app = show(workspace, run_open=run, run_view="nodes")
    assert list(app.dataframe[1].value["shard"]) == ["b", "c"]
    assert "The last 2 of 3 are listed." in said(app)


def test_a_pause_is_left_out_and_said(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Between a run that stopped and the same one resumed there is a line, and how long it stands for."""
    run = begun(ledger)
    did(ledger, run, "a", "node-1", "cancelled")
    with closing(sqlite3.connect(workspace.ledger)) as db, db:
        db.execute("UPDATE work_units SET began = began - 7200, ended = ended - 7200")
    did(ledger, run, "a", "node-1")
    app = show(workspace, run_open=run, run_view="nodes")
    assert "At the dotted line nobody was at work for 2 h 00 min; that time is left out." in said(app)
    layout = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]
    assert [shape["line"]["dash"] for shape in layout["shapes"] if "dash" in shape["line"]] == ["dot"]
    assert layout["xaxis"]["range"][1] < 60


def test_hostile_names(workspace: Workspace, ledger: Ledger, show: Show) -> None:
    """Names of nodes and shards and reasons are text from elsewhere: shown as they are, obeyed nowhere."""
    node, shard, why = "<img src=x onerror=alert(1)>", "[a](http://bad.invalid)\u202e", f"<b>{LOST}</b> %{{x}}"
    run = begun(ledger, nodes=[node])
    ledger.extend_provenance(run, cluster={"address": "<script>alert(1)</script>:[x](http://bad.invalid)"})
    did(ledger, run, shard, node, "lost", why)
    did(ledger, run, shard, node)
    app = show(workspace, run_open=run, run_view="nodes")
    drawn = "\n".join(str(element.value) for kind in ("markdown", "caption") for element in app.get(kind))
    assert "<script>" not in drawn
    assert "[x](" not in drawn
    assert "\u202e" not in app.dataframe[1].value["shard"].iloc[0]
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
    (node,) = run_nodes.nodes(attempts, time.time(), True)
    assert (node.done, node.now) == (1, ("second",))
    assert 0 <= node.seconds <= time.time() - before
    ledger.end_units(run, "lost", "the engine ended")
    (node,) = run_nodes.nodes(ledger.attempts(run), time.time(), False)
    assert (node.lost, node.gone, node.now) == (1, False, ())
    assert ledger.attempts(run)[1].id == open_one
