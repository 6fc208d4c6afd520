"""A grid of distilled students on a cluster: the students of a local run, each trained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.config.kd import PrunedKdRecipe
from engine.storage.ledger import Ledger
from engine.storage.parts import read_table
from engine.storage.workspace import Workspace, open_workspace
from tests.runtime.cluster.conftest import Machines, do, until
from tests.studies.test_kd import CELL
from tests.studies.test_kd import recipe as tiny_grid

pytestmark = pytest.mark.cluster


def recipe(**changes: Any) -> PrunedKdRecipe:
    """Four groups of students, one for each fraction, of a second or two each."""
    return tiny_grid(**{"grid__fractions": [0.2, 0.4, 0.6, 1.0], "training__epochs": 120} | changes)


def cells(workspace: Workspace, run: str) -> pd.DataFrame:
    found = read_table(workspace, Ledger(workspace).parts(run, "grid"), "grid").to_pandas()
    return found.drop(columns=["run", "seconds"]).sort_values(CELL).reset_index(drop=True)


def test_a_node_is_killed_in_the_middle_of_a_grid_that_later_grows(
    machines: Machines, workspace: Workspace, ledger: Ledger, tmp_path: Path
) -> None:
    """Nothing finished is trained again, neither after a loss nor when cells are added: two more cells are two more."""
    quiet = open_workspace(tmp_path / "quiet", read_only=False)
    local = do(quiet, recipe())
    killed: list[str] = []

    def kill(ledger: Ledger, run: str) -> None:
        until(lambda: any("students" in attempt.name for attempt in ledger.attempts(run)), (ledger, run))
        killed.append(machines.kill_one_at_work(ledger, run))

    cluster = {**machines.settings, "storage": f"file://{tmp_path / 'storage'}"}
    run = do(workspace, recipe(cluster=cluster), kill)
    assert ledger.run(run).state == "done", ledger.run(run).error
    assert not cells(workspace, run).duplicated(CELL).any()
    pd.testing.assert_frame_equal(cells(workspace, run), cells(quiet, local), check_exact=True)
    attempts = ledger.attempts(run)
    lost = [attempt for attempt in attempts if attempt.outcome == "lost"]
    assert [attempt.node for attempt in lost] == killed
    assert sum(attempt.outcome == "done" for attempt in attempts) == len({attempt.name for attempt in attempts}) == 6

    machines.complete()
    more = {"grid__fractions": [0.2, 0.4, 0.6, 0.8, 1.0], "grid__scores": ["random"], "grid__kd_weights": [0.0]}
    grown = do(workspace, recipe(cluster=cluster, **more))
    assert ledger.run(grown).state == "done", ledger.run(grown).error
    assert [attempt.name[:17] for attempt in ledger.attempts(grown)] == ["2 students on 80%"]
