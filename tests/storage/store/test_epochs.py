"""Queries of a run over its epochs, against the parts of a made-up run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.common.errors import WinnowError
from engine.storage.ledger import Ledger
from engine.storage.parts import Part, write_part
from engine.storage.store import SampleQuery, Store
from engine.storage.workspace import Workspace
from tests.fixtures.pruning_workspace import NAN_ROW, fill_workspace
from tests.fixtures.store_parts import submit, table

EPOCHS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, Path]]:
    workspace = Workspace(tmp_path_factory.mktemp("epochs")).create()
    run = fill_workspace(workspace, samples=120, epochs=EPOCHS, seeds=(0, 5))
    store = Store(workspace)
    store.sync(Ledger(workspace))
    yield store, run, workspace.parts / run
    store.close()


def test_what_can_be_ranked(made: tuple[Store, str, Path]) -> None:
    """Protects the choice of epochs: one shared first scoring, then one for each seed, every metric in each."""
    store, run, folder = made
    expected = table(folder, "scores").groupby(["arm", "seed", "epoch", "metric"]).size()
    found = store.scorings(run).set_index(["arm", "seed", "epoch", "metric"])["samples"]
    assert found.to_dict() == expected.to_dict()
    assert store.scoring(run, 5, 1, "kl") == store.scoring(run, 0, 1, "kl")
    assert store.scoring(run, 5, 2, "kl").seed == 5


def test_the_scores_of_one_sample(made: tuple[Store, str, Path]) -> None:
    """Protects the scores of one sample over the epochs, first scoring included, other seeds not in its sparkline."""
    store, run, folder = made
    scores = table(folder, "scores")
    row = int(scores["row"].iloc[20])
    history = store.score_history(run, row)
    mine = scores[scores["row"] == row]
    assert len(history) == len(mine)
    key = ["arm", "seed", "epoch", "metric"]
    pd.testing.assert_series_equal(
        history.set_index(key)["value"].sort_index(),
        mine.set_index(key)["value"].astype(float).sort_index(),
        check_index_type=False,
    )
    values = store.values_by_epoch(run, [row, NAN_ROW], "kl", 5)
    seen = mine[(mine["metric"] == "kl") & mine["seed"].isin([-1, 5])].sort_values("epoch")["value"]
    np.testing.assert_array_equal(values[row], seen.astype(float))
    assert np.isnan(values[NAN_ROW]).all()
    assert len(values[NAN_ROW]) == EPOCHS


def test_selections_usage_and_thresholds(made: tuple[Store, str, Path]) -> None:
    """Protects the kept counts, the tokens and how often samples were used."""
    store, run, folder = made
    selections, samples = table(folder, "selections"), table(folder, "samples")
    selections = selections.merge(samples[["row", "length"]], on="row")
    found = store.selections(run).set_index(["arm", "seed", "epoch"])
    for key, group in selections.groupby(["arm", "seed", "epoch"]):
        line = found.loc[key]
        assert line["kept"] == group["kept"].sum()
        assert line["tokens"] == group.loc[group["kept"], "length"].sum()
        np.testing.assert_equal(line["tau"], group["tau"].iloc[0] if group["tau"].notna().any() else np.nan)
    times = selections.groupby(["arm", "seed", "row"])["kept"].sum().reset_index()
    expected = times.groupby(["arm", "kept"]).size() / 2  # two seeds
    usage = store.usage(run).set_index(["arm", "times"])["samples"]
    assert usage.to_dict() == expected.to_dict()
    dynamic = (
        selections[selections["arm"] == "dynamic"].drop_duplicates(["seed", "epoch"]).sort_values(["seed", "epoch"])
    )
    assert store.thresholds(run)["tau"].tolist() == dynamic["tau"].tolist()


def test_crossings(made: tuple[Store, str, Path]) -> None:
    """Protects which samples crossed τ between two epochs, as numbers and as rows."""
    store, run, folder = made
    selections = table(folder, "selections")
    selections = selections[(selections["arm"] == "dynamic") & (selections["seed"] == 5)]
    early, late = (selections[selections["epoch"] == epoch].set_index("row")["kept"] for epoch in (1, 3))
    word = {True: "kept", False: "pruned"}
    expected: dict[tuple[str, str], list[int]] = {}
    for row in sorted(early.index):
        expected.setdefault((word[early[row]], word[late[row]]), []).append(row)
    found = store.crossings(run, 5, 1, 3).set_index(["before", "after"])["samples"]
    assert found.to_dict() == {key: len(rows) for key, rows in expected.items()}
    for (before, after), rows in expected.items():
        assert store.crossing_rows(run, 5, 1, 3, before, after, 1000) == rows
        assert store.crossing_rows(run, 5, 1, 3, before, after, 2) == rows[:2]


def test_metrics_and_samples(made: tuple[Store, str, Path]) -> None:
    """Protects that curves and sample texts are those of the parts, each once."""
    store, run, folder = made
    columns = ["arm", "seed", "epoch", "step", "split", "name", "value"]
    expected = table(folder, "metrics")[columns].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(
        store.metrics(run).sort_values(columns, ignore_index=True), expected, check_dtype=False
    )
    samples = table(folder, "samples")
    counts = store.splits(run).set_index("split")
    for split, group in samples.groupby("split"):
        assert counts.loc[split].tolist() == [len(group), group["length"].sum(), group["truncated"].sum()]
    one = samples.iloc[3]
    found = store.sample(run, int(one["row"]))
    assert found is not None
    assert {key: found[key] for key in ("instruction", "response", "length")} == {
        key: one[key] for key in ("instruction", "response", "length")
    }
    assert found["fields"] == dict(one["fields"])


def test_token_scores(made: tuple[Store, str, Path]) -> None:
    """Protects the token heatmap: the tokens of the very sample and epoch, and none if none were recorded."""
    store, run, folder = made
    kept = table(folder, "token_scores")
    for epoch in (1, EPOCHS):
        for row in kept.loc[kept["epoch"] == epoch, "row"].iloc[::17]:
            expected = kept[(kept["epoch"] == epoch) & (kept["row"] == row)].iloc[0]
            found = store.token_scores(run, epoch, int(row))
            assert found is not None
            assert found["tokens"] == list(expected["tokens"])
            assert found["kl"] == list(expected["kl"])
            assert found["student_probs"][0] == list(expected["student_probs"][0])
            assert found["response"] == list(expected["response"])
            scoring = store.scoring(run, 0, epoch, "kl")
            history = store.score_history(run, int(row))
            value = history.query(f"metric == 'kl' and epoch == {epoch} and seed != 5")["value"]
            assert np.mean(found["kl"]) == pytest.approx(value.iloc[0], rel=1e-5), scoring
    assert store.token_scores(run, 1, NAN_ROW) is None
    assert store.token_scores(run, EPOCHS + 1, int(row)) is None


def test_states(made: tuple[Store, str, Path]) -> None:
    """Protects what clusters and the map are made of: every state with its row, in the order of the rows, NaN kept."""
    store, run, folder = made
    kept = table(folder, "states").sort_values("row")
    rows, states = store.states(run)
    assert states.dtype == np.float32
    np.testing.assert_array_equal(rows, kept["row"])
    np.testing.assert_array_equal(states, np.stack(kept["state"].tolist()))
    assert np.isnan(states).all(1).tolist() == (rows == NAN_ROW).tolist()
    rows, states = store.states("of an earlier version")
    assert rows.shape == (0,)
    assert states.shape == (0, 64)


def test_states_are_replaced_with_their_part(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a piece that is scored again: its states take the place of the former ones, and go with their part."""
    run = submit(ledger)

    def part(rows: list[int], value: float) -> Part:
        states = [np.full(64, value, dtype=np.float32) for _ in rows]
        return write_part(workspace, run, "states", f"base-e001-{rows[0]:05d}", {"row": rows, "state": states})

    with closing(Store(workspace)) as store:
        ledger.record_parts([part([4, 5], 1.0), part([0, 1], 2.0)])
        store.sync(ledger)
        again = part([4, 5], 3.0)
        ledger.record_parts([again])
        store.sync(ledger)
        rows, states = store.states(run)
        assert rows.tolist() == [0, 1, 4, 5]
        assert states[:, 63].tolist() == [2.0, 2.0, 3.0, 3.0]
        ledger.forget_parts([again])
        store.sync(ledger)
        assert store.states(run)[0].tolist() == [0, 1]


def test_token_scores_of_a_damaged_part(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the drawer of a sample from a traceback when the part behind it was lost after it was ingested."""
    run = fill_workspace(workspace, samples=60, epochs=1, seeds=(0,))
    store = Store(workspace)
    store.sync(ledger)
    row = int(store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0)["row"].iloc[0])
    for path in (workspace.parts / run / "token_scores").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WinnowError, match=r"token_scores.* is missing or damaged; `python -m engine doctor --rebuild`"):
        store.token_scores(run, 1, row)
    store.close()
