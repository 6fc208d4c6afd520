"""Queries of a grid of students, against the parts it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.config.grid import noise_label, selection_arm
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, write_part
from engine.storage.store import SampleQuery, Store, rebuild
from engine.storage.tables import GRID
from engine.storage.workspace import Workspace
from tests.fixtures.kd_workspace import fill_grid_workspace, grid_recipe
from tests.fixtures.store_parts import Row, samples_part, scores_part, submit, table

CELL = ["score", "fraction", "kd_weight", "teacher", "noise", "seed"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, Path]]:
    workspace = Workspace(tmp_path_factory.mktemp("grids")).create()
    run = fill_grid_workspace(workspace, grid_recipe(noise=(0.0, 0.2)))
    store = Store(workspace)
    store.sync(Ledger(workspace))
    yield store, run, workspace.parts / run
    store.close()


def grid_part(workspace: Workspace, run: str, name: str, *cells: tuple[int, float]) -> Part:
    """Cells of one score that differ in their seed, each with its accuracy, NaN for one that failed."""
    same = {
        "cell": "key", "score": "random", "fraction": 0.1, "kd_weight": 0.5, "teacher": "self", "noise": 0.0,
        "samples": 10, "flipped": 0, "loss": 1.0, "epochs": 1.0, "steps": 1, "seconds": 0.1,
    }  # fmt: skip
    rows: list[dict[str, Any]] = [
        same | {"seed": seed, "valid": value, "accuracy": value, "failed": "it failed" if math.isnan(value) else ""}
        for seed, value in cells
    ]
    return write_part(workspace, run, "grid", name, rows)


def test_every_cell_once_in_a_stable_order(made: tuple[Store, str, Path]) -> None:
    """Protects the page's picture: every recorded cell with all of its columns, noise-free and large ones first."""
    store, run, folder = made
    found = store.grid(run)
    assert list(found.columns) == GRID.names
    assert not found.duplicated(CELL).any()
    order = [*CELL, "cell"]
    expected = table(folder, "grid").sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found.sort_values(order, ignore_index=True), expected, check_dtype=False)
    assert found["noise"].is_monotonic_increasing
    assert found[found["noise"] == 0]["fraction"].is_monotonic_decreasing
    found["accuracy"] = 0.0  # each caller has a copy
    assert store.grid(run)["accuracy"].max() > 0


def test_the_last_record_of_a_cell_counts(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a failed cell that was trained again, whatever the name of its part and the number of ingests."""
    run = submit(ledger)
    with closing(Store(workspace)) as store:
        ledger.record_parts([grid_part(workspace, run, "z-first", (0, math.nan), (1, 0.5))])
        store.sync(ledger)
        assert store.grid(run)["failed"].tolist() == ["it failed", ""]
        ledger.record_parts([grid_part(workspace, run, "a-again", (0, 0.7))])
        store.sync(ledger)
        again = store.grid(run)
        assert again["accuracy"].tolist() == [0.7, 0.5]
        assert again["failed"].tolist() == ["", ""]
    assert rebuild(workspace, ledger) == []
    with closing(Store(workspace)) as store:  # both parts in one ingest
        assert store.grid(run)["accuracy"].tolist() == [0.7, 0.5]


def test_a_removed_part_is_dropped(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a repaired run: what was removed is gone, what stays is not ingested twice."""
    run = submit(ledger)
    first, second = grid_part(workspace, run, "one", (0, 0.5)), grid_part(workspace, run, "two", (1, 0.6))
    ledger.record_parts([first, second])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        ledger.forget_parts([first])
        store.sync(ledger)
        assert store.grid(run)["seed"].tolist() == [1]
    with closing(Store.in_memory(workspace, run)) as store:
        store.sync(ledger)
        assert store.grid(run)["seed"].tolist() == [1]


def test_what_an_arm_keeps(made: tuple[Store, str, Path]) -> None:
    """Protects the gallery: only rows the arm kept (or pruned), the same ones each time, no more than the limit."""
    store, run, folder = made
    name = selection_arm("el2n", 0.25, 0.2)
    mine = table(folder, "selections")
    mine = mine[mine["arm"] == name]
    kept, pruned = set(mine[mine["kept"]]["row"]), set(mine[~mine["kept"]]["row"])
    assert store.kept_and_total(run, name) == (len(kept), len(kept) + len(pruned))
    assert set(store.random_rows(run, name, True, 1000)) == kept
    drawn = store.random_rows(run, name, False, 9)
    assert len(drawn) == 9
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= pruned
    assert drawn == store.random_rows(run, name, False, 9)
    assert drawn != store.random_rows(run, name, False, 9, seed=1)
    assert store.random_rows(run, "no such arm", True, 9) == []
    assert name in store.selection_arms(run)


def test_overlap(made: tuple[Store, str, Path]) -> None:
    """Protects the sentence between two galleries against a count of sets."""
    store, run, folder = made
    table_ = table(folder, "selections")
    one, other = selection_arm("el2n", 0.5, 0.0), selection_arm("random", 0.25, 0.0)
    a, b = (set(table_[(table_["arm"] == name) & table_["kept"]]["row"]) for name in (one, other))
    assert store.overlap(run, one, other) == (len(a & b), len(a - b), len(b - a))
    assert store.overlap(run, one, "no such arm") == (0, len(a), 0)


def test_pictures_and_labels_of_a_few_rows(made: tuple[Store, str, Path]) -> None:
    """Protects the pictures: byte for byte those of the parts, and only of the given rows."""
    store, run, folder = made
    samples = table(folder, "samples").set_index("row")
    rows = [3, 50, 9999]
    assert store.images(run, rows) == {row: samples["image"][row] for row in (3, 50)}
    found = store.labelled_samples(run, rows)
    assert {row: sample["label"] for row, sample in found.items()} == {row: samples["label"][row] for row in (3, 50)}
    assert found[3]["has_image"]
    sample = store.sample(run, 3)
    assert sample is not None
    assert (sample["label"], sample["has_image"]) == (samples["label"][3], True)
    assert store.images(run, []) == {}


def test_classes_of_the_test_set(made: tuple[Store, str, Path]) -> None:
    """Protects chance: the labels of the test set alone are counted; a run that is not there has none."""
    store, run, folder = made
    samples = table(folder, "samples")
    expected = samples[samples["split"] == "test"]["label"].value_counts().to_dict()
    assert store.test_classes(run) == expected
    assert store.test_classes("none") == {}


def test_the_ranks_of_a_sample(made: tuple[Store, str, Path]) -> None:
    """Protects the drawer: each score of a sample with how many are above it, and which arms keep it."""
    store, run, folder = made
    scores, row = table(folder, "scores"), 11
    found = store.sample_ranks(run, row).set_index(["arm", "metric"])
    assert ("base noise 0.2", "el2n") in found.index
    for (name, metric), mine in found.iterrows():
        others = scores[(scores["arm"] == name) & (scores["metric"] == metric)]
        value = others.set_index("row")["value"][row]
        assert mine["value"] == pytest.approx(float(value))
        assert (mine["above"], mine["samples"]) == ((others["value"] > value).sum(), len(others))
        assert mine["below"] == (others["value"] < value).sum()
    assert noise_label("base", 0.0) in found.index.get_level_values(0)
    selections = table(folder, "selections")
    expected = selections[selections["row"] == row].set_index("arm")["kept"].to_dict()
    kept = store.kept_by_arm(run, row)
    assert dict(zip(kept["arm"], kept["kept"], strict=True)) == expected


def test_samples_without_picture_or_label(workspace: Workspace, ledger: Ledger) -> None:
    """Protects instruction sets, which have neither: a page of them has neither and nothing else changes."""
    run = submit(ledger)
    ledger.record_parts(
        [samples_part(workspace, run, "s", [Row(1, 0.5)]), scores_part(workspace, run, "v", {1: 0.5, 2: 0.1})]
    )
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        page = store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0)
        assert page["label"].tolist() == [None, None]
        assert page["has_image"].tolist() == [False, False]  # the second is a sample whose part is not there
        sample = store.sample(run, 1)
        assert sample is not None
        assert (sample["label"], sample["has_image"]) == (None, False)
        assert store.images(run, [1]) == {}
        assert store.grid(run).empty
        assert np.array_equal(store.selection_arms(run), [])
