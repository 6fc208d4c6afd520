"""Scoring and dynamic pruning on a cluster: the numbers of a local run, whatever is killed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace
from tests.runtime.cluster.conftest import Machines, do, study

pytestmark = pytest.mark.cluster

TABLES = {
    "scores": ["arm", "seed", "epoch", "row", "metric"],
    "token_scores": ["epoch", "row"],
    "states": ["row"],
    "selections": ["arm", "seed", "epoch", "row"],
    "metrics": ["arm", "seed", "epoch", "split", "name"],
}


def rows(workspace: Workspace, run: str, table: str) -> pd.DataFrame:
    """A table without what depends on the clock, in one order."""
    found = read_table(workspace, Ledger(workspace).parts(run, table), table).to_pandas().drop(columns="run")
    if table == "metrics":
        found = found[~found["name"].str.startswith("seconds")]
    return found.sort_values(TABLES[table]).reset_index(drop=True)


def assert_same(workspace: Workspace, run: str, local_study: tuple[Workspace, str]) -> None:
    """Every row once, and every number to the bit."""
    for table, keys in TABLES.items():
        found, expected = rows(workspace, run, table), rows(*local_study, table)
        assert not found.duplicated(keys).any(), f"{table} has a row twice"
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_cluster_comes_to_the_same_numbers(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, local_study: tuple[Workspace, str]
) -> None:
    """Where a study is done changes nothing in it: the same scores, choices and curves, to the bit.

    Here nodes leave what they finish on a storage of its own; where one is killed, below, all see the workspace.
    """
    run = do(workspace, study(tmp_path, cluster={**machines.settings, "storage": f"file://{tmp_path / 'storage'}"}))
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert_same(workspace, run, local_study)
    attempts = ledger.attempts(run)
    assert {attempt.outcome for attempt in attempts} == {"done"}
    assert len({attempt.name for attempt in attempts}) == len(attempts) == 1 + 9 + 1 + 6
    nodes = {node["name"] for node in ledger.run(run).provenance["cluster"]["nodes"]}
    assert {attempt.node for attempt in attempts} <= nodes
    assert not list(workspace.staging.rglob("*.parquet"))
    assert f"[{attempts[0].node}]" in ledger.log_path(run).read_text(encoding="utf-8")


def test_a_node_is_killed_while_it_scores(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path, local_study: tuple[Workspace, str]
) -> None:
    """A lost node costs what it had not finished, and nothing else."""

    killed: list[str] = []
    run = do(
        workspace,
        study(tmp_path, cluster=machines.settings),
        lambda ledger, run: killed.append(machines.kill_one_at_work(ledger, run)),
    )
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert_same(workspace, run, local_study)
    lost = [attempt for attempt in ledger.attempts(run) if attempt.outcome == "lost"]
    assert [(attempt.node, attempt.why) for attempt in lost] == [(killed[0], "the node was lost")]
    again = [attempt for attempt in ledger.attempts(run) if attempt.name == lost[0].name]
    assert [attempt.outcome for attempt in again] == ["lost", "done"]
    assert again[1].node != lost[0].node
