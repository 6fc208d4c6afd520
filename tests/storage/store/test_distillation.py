"""Queries of distilled sets, against the parts it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.config.distillation import MAIN, OTHER, SetKey
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, write_part
from engine.storage.store import Store, rebuild
from engine.storage.tables import DISTILLED, DISTILLED_TOKENS, EVALUATION
from engine.storage.workspace import Workspace
from tests.fixtures.distillation_workspace import distillation_recipe, fill_distilled_workspace
from tests.fixtures.store_parts import submit, table

KEY = list(SetKey._fields)
ONE = SetKey(MAIN, "tiny", 1, 5, 0)
RECIPE = distillation_recipe(other=True, prompting=True, students=("tiny", "large"), transfer=("wide",), seeds=(0, 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, Path]]:
    workspace = Workspace(tmp_path_factory.mktemp("distilled")).create()
    run = fill_distilled_workspace(workspace, RECIPE, hostile=True)
    store = Store(workspace)
    store.sync(Ledger(workspace))
    yield store, run, workspace.parts / run
    store.close()


def of(frame: pd.DataFrame, key: SetKey) -> pd.DataFrame:
    return frame[(frame[KEY] == list(key)).all(axis=1)]


def plain(value: Any) -> Any:
    """Arrays as lists, what is missing as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and value != value else value


def same(found: pd.DataFrame, expected: pd.DataFrame) -> bool:
    values = [[plain(value) for value in row] for row in found.to_numpy(dtype=object)]
    return values == [[plain(value) for value in row] for row in expected[found.columns].to_numpy(dtype=object)]


def inputs_part(
    workspace: Workspace, run: str, name: str, text: str, steps: dict[int, bool], key: SetKey = ONE
) -> Part:
    """One input of a set at some steps, each the best one or not."""
    rows = [
        key._asdict()
        | {"step": step, "best": best, "input": 0, "label": "a", "labels": [1.0, 0.0], "text": f"{text} {step}"}
        | {"changed": 1, "length": 2, "image": None, "near_rows": [], "near_values": []}
        for step, best in steps.items()
    ]
    return write_part(workspace, run, "distilled", name, rows)


def tokens_part(workspace: Workspace, run: str, name: str, token: str, steps: Sequence[int]) -> Part:
    rows = [
        ONE._asdict() | {"step": step, "input": 0, "position": 0, "start": "s", "nearest": [token], "similarity": [1.0]}
        for step in steps
    ]
    return write_part(workspace, run, "distilled_tokens", name, rows)


def evaluation_part(workspace: Workspace, run: str, name: str, accuracies: dict[int, float]) -> Part:
    rows = [
        ONE._asdict()
        | {"method": "text", "trained": "tiny", "eval_seed": eval_seed, "samples": 2, "learning_rate": 1e-4, "steps": 9}
        | {"valid": value, "accuracy": value, "loss": 1.0, "seconds": 0.1, "flops": 1e9}
        for eval_seed, value in accuracies.items()
    ]
    return write_part(workspace, run, "evaluation", name, rows)


def test_every_finished_set_once(made: tuple[Store, str, Path]) -> None:
    """Protects the list a page begins with: the sets in the order of the recipe, counted over their inputs."""
    store, run, folder = made
    found = store.distilled_sets(run)
    assert [SetKey(*row) for row in found[KEY].itertuples(index=False)] == RECIPE.sets()
    parts = table(folder, "distilled")
    for row in found.itertuples(index=False):
        mine = of(parts, SetKey(*row[:5]))
        mine = mine[mine["best"]]
        assert (row.step, row.inputs) == (mine["step"].iloc[0], len(mine))
        assert (row.changed, row.length) == (mine["changed"].sum(), mine["length"].sum())
    found["inputs"] = 0  # each caller has a copy
    assert store.distilled_sets(run)["inputs"].min() > 0


@pytest.mark.parametrize("step", [None, 0, 500])
def test_a_snapshot_is_that_of_the_parts(made: tuple[Store, str, Path], step: int | None) -> None:
    """Protects the trajectory of a set: every input and token of a step as recorded, escape sequences included."""
    store, run, folder = made
    key = SetKey(MAIN, "tiny", 5, 5, 1)
    assert store.snapshots(run, key) == sorted(of(table(folder, "distilled"), key)["step"].unique())
    inputs = of(table(folder, "distilled"), key)
    inputs = inputs[inputs["best"]] if step is None else inputs[inputs["step"] == step]
    assert len(inputs) == 10
    found = store.distilled(run, key, step)
    assert {*found.columns, "run", "step", *KEY} == {*DISTILLED.names}
    assert same(found, inputs)
    assert isinstance(found["labels"][0], list)
    tokens = of(table(folder, "distilled_tokens"), key)
    tokens = tokens[tokens["step"] == inputs["step"].iloc[0]]
    tokens = tokens.drop_duplicates(["input", "position"])  # the best snapshot is recorded twice
    found = store.distilled_tokens(run, key, step)
    assert {*found.columns, "run", "step", *KEY} == {*DISTILLED_TOKENS.names}
    assert len(found) == 120
    assert same(found, tokens)


def test_a_key_out_of_a_frame(made: tuple[Store, str, Path]) -> None:
    """Protects pages, whose keys come from a frame and so hold NumPy numbers."""
    store, run, _ = made
    key = SetKey(*store.distilled_sets(run)[KEY].iloc[0])
    assert len(store.distilled(run, key)) == 2
    assert len(store.snapshots(run, key)) == 7
    assert store.distilled(run, key._replace(seed=9)).empty
    assert store.distilled_tokens(run, key._replace(seed=9)).empty
    assert store.distilled(run, key, 1).empty
    assert store.snapshots(run, key._replace(task=OTHER, seed=9)) == []


def test_every_evaluation_once(made: tuple[Store, str, Path]) -> None:
    """Protects the comparison: each evaluation with all of its columns, and nothing twice."""
    store, run, folder = made
    found, order = store.evaluations(run), [*KEY, "method", "trained", "eval_seed"]
    assert list(found.columns) == [name for name in EVALUATION.names if name != "run"]
    expected = table(folder, "evaluation").drop(columns="run").sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found.sort_values(order, ignore_index=True), expected, check_dtype=False)
    assert {"merged_text", "replay_none", "prompt_random", "full"} <= set(found["method"])
    assert set(found["trained"]) == {"tiny", "large", "wide", "Qwen/Qwen2.5-0.5B"}


def test_the_last_record_counts(workspace: Workspace, ledger: Ledger) -> None:
    """Protects what is done again, in one or two ingests: the last snapshot, best step, tokens and evaluation count."""
    run = submit(ledger)
    two = ONE._replace(seed=1)

    def check(store: Store) -> None:
        sets = store.distilled_sets(run)
        assert sets["seed"].tolist() == [0, 1]
        assert sets["step"].tolist() == [10, 20]
        assert sets["inputs"].tolist() == [1, 1]
        assert store.distilled(run, ONE)["text"].tolist() == ["new 10"]
        assert store.distilled(run, ONE, 0)["text"].tolist() == ["old 0"]
        assert store.distilled(run, ONE, 20)["text"].tolist() == ["new 20"]
        assert not store.distilled(run, ONE, 20)["best"].any()
        assert store.distilled_tokens(run, ONE)["nearest"].tolist() == [["new"]]
        assert store.distilled_tokens(run, ONE, 20)["nearest"].tolist() == [["old"]]
        evaluations = store.evaluations(run)
        assert evaluations["eval_seed"].tolist() == [0, 1, 2]
        assert evaluations["accuracy"].tolist() == [0.5, 0.7, 0.8]

    with closing(Store(workspace)) as store:
        ledger.record_parts(
            [
                inputs_part(workspace, run, "z-first", "old", {0: False, 10: False, 20: True}),
                inputs_part(workspace, run, "other-seed", "old", {20: True}, two),
                tokens_part(workspace, run, "z-first", "old", [10, 20]),
                evaluation_part(workspace, run, "z-first", {0: 0.5, 1: 0.6}),
            ]
        )
        store.sync(ledger)
        assert store.distilled(run, ONE)["text"].tolist() == ["old 20"]
        assert store.evaluations(run)["accuracy"].tolist() == [0.5, 0.6]
        ledger.record_parts(
            [
                inputs_part(workspace, run, "a-again", "new", {10: True, 20: False}),
                tokens_part(workspace, run, "a-again", "new", [10]),
                evaluation_part(workspace, run, "a-again", {1: 0.7, 2: 0.8}),
            ]
        )
        store.sync(ledger)
        check(store)
    assert rebuild(workspace, ledger) == []
    with closing(Store(workspace)) as store:  # all parts in one ingest
        check(store)


def test_a_removed_part_is_dropped(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a repaired run: what was removed is gone from each table, what stays is not ingested twice."""
    run = submit(ledger)
    removed = [
        inputs_part(workspace, run, "one", "removed", {0: False, 10: True}),
        tokens_part(workspace, run, "one", "removed", [10]),
        evaluation_part(workspace, run, "one", {0: 0.5}),
    ]
    stay = [
        inputs_part(workspace, run, "two", "stays", {0: True}),
        tokens_part(workspace, run, "two", "stays", [0]),
        evaluation_part(workspace, run, "two", {1: 0.6}),
    ]
    ledger.record_parts([*removed, *stay])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        ledger.forget_parts(removed)
        store.sync(ledger)
        assert store.snapshots(run, ONE) == [0]
        assert store.distilled(run, ONE)["text"].tolist() == ["stays 0"]
        assert store.distilled_tokens(run, ONE)["nearest"].tolist() == [["stays"]]
        assert store.evaluations(run)["eval_seed"].tolist() == [1]


def test_an_unfinished_set(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a page that is open during a run: snapshots are there, but no set before its best one is known."""
    run = fill_distilled_workspace(workspace, distillation_recipe(), state="running", sets=0)
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        key = distillation_recipe().sets()[0]
        assert store.distilled_sets(run).empty
        assert store.snapshots(run, key) == [0, 83, 167]
        assert store.distilled(run, key).empty
        assert store.distilled_tokens(run, key).empty
        assert len(store.distilled(run, key, 83)) == 2
        assert store.evaluations(run).empty
        curves = store.metrics(run)
        assert set(curves[curves["arm"] == key.name]["step"]) == {0, 83, 167}


def test_pictures(workspace: Workspace, ledger: Ledger) -> None:
    """Protects learned pictures: byte for byte those of the parts, without text, and near samples of their class."""
    run = fill_distilled_workspace(workspace, distillation_recipe(task="images"))
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        key = distillation_recipe(task="images").sets()[0]
        found = store.distilled(run, key)
        parts = of(table(workspace.parts / run, "distilled"), key)
        assert found["image"].tolist() == parts[parts["best"]]["image"].tolist()
        assert all(isinstance(image, bytes) and image.startswith(b"\x89PNG") for image in found["image"])
        assert found["text"].tolist() == [None] * 10
        assert store.distilled_tokens(run, key).empty
        near = store.labelled_samples(run, [row for rows in found["near_rows"] for row in rows])
        for label, rows in zip(found["label"], found["near_rows"], strict=True):
            assert {near[row]["label"] for row in rows} <= {label}
        assert len(near) > 20
