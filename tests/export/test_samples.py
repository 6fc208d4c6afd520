"""What is taken away: the right samples, loadable elsewhere, with a manifest that tells how they were chosen."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.common.errors import ReadOnlyError, WinnowError
from engine.common.paths import CHECKOUT
from engine.config.load import parse_recipe
from engine.export.samples import export_run, with_source_columns
from engine.storage.ledger import Ledger
from engine.storage.store import Facet, SampleQuery, Store
from engine.storage.tables import SAMPLES
from engine.storage.workspace import Workspace
from tests.fixtures.pruning_workspace import HOSTILE, NAN_ROW, fill_workspace
from tests.fixtures.store_parts import Row, samples_part, scores_part, submit


@pytest.fixture
def finished(workspace: Workspace, ledger: Ledger) -> Iterator[tuple[Store, str]]:
    run = fill_workspace(workspace, samples=120, epochs=2, seeds=(0,))
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    yield store, run
    store.close()


def scores(workspace: Workspace, run: str) -> pd.DataFrame:
    """The first KL of every train row, with its texts, straight from the parts."""
    folder = workspace.parts / run
    values = pd.concat(pq.read_table(path).to_pandas() for path in (folder / "scores").glob("base-*.parquet"))
    texts = pd.concat(pq.read_table(path).to_pandas() for path in (folder / "samples").glob("*.parquet"))
    return values[values["metric"] == "kl"].merge(texts, on="row").sort_values("row", ignore_index=True)


def exported(out: Path) -> list[dict[str, Any]]:
    if (out / "data.parquet").exists():
        return pq.read_table(out / "data.parquet").to_pylist()
    return [json.loads(line) for line in (out / "data.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_what_is_above_tau(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path, format: Any
) -> None:
    """Protects the export itself: every sample above τ in the order of the source, texts untouched, nothing else."""
    store, run = finished
    out = tmp_path / "out"
    manifest = export_run(workspace, ledger, store, run, tau=0.5, out=out, format=format)
    rows = exported(out)
    expected = scores(workspace, run).query("value > 0.5")
    assert [row["winnow_row"] for row in rows] == expected["row"].tolist()
    np.testing.assert_allclose([row["winnow_score"] for row in rows], expected["value"])
    for name, column in (("instruction", "instruction"), ("input", "input"), ("output", "response")):
        assert [row[name] for row in rows] == expected[column].tolist()
    assert [row["task"] for row in rows] == [dict(fields)["task"] for fields in expected["fields"]]
    assert {row["winnow_kept_by"] for row in rows} == {"threshold"}
    assert rows[1]["instruction"] == HOSTILE[1][0]
    assert manifest["counts"] == {
        "scored": 108,
        "kept": len(rows),
        "kept_by_threshold": len(rows),
        "kept_by_hand": 0,
        "pruned_by_hand": 0,
        "tokens": expected["length"].sum(),
    }
    assert sorted(path.name for path in out.iterdir()) == ["README.md", f"data.{format}", "manifest.json"]


def test_the_manifest(workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path) -> None:
    """Protects repeating an export elsewhere: what was cut where, from which run, models, data and versions."""
    store, run = finished
    manifest = export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    found = ledger.run(run)
    wanted = {"run": run, "kind": "dynamic-pruning", "metric": "kl", "arm": "base", "seed": -1, "epoch": 1}
    wanted |= {"tau": 0.5, "fraction": None, "tau_growth": 0.1, "recipe": found.recipe, "overrides": {}}
    assert {key: manifest[key] for key in wanted} == wanted
    data = (tmp_path / "out" / "data.parquet").read_bytes()
    assert manifest["data"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["data"]["bytes"] == len(data)
    assert manifest["share"] == manifest["counts"]["kept"] / 108
    for fact in ("teacher_hash", "student_hash", "tokenizer_hash", "template_hash", "versions", "dataset"):
        assert manifest["provenance"][fact] == found.provenance[fact]


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.333, 0.01])
def test_a_fraction(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path, fraction: float
) -> None:
    """Protects the meaning of f: exactly round(f · n) of the samples that have a score, and the τ this amounts to."""
    store, run = finished
    manifest = export_run(workspace, ledger, store, run, fraction=fraction, out=tmp_path / "out")
    ranked = scores(workspace, run).dropna(subset="value").sort_values("value", ascending=False)
    count = round(fraction * len(ranked))
    assert sorted(ranked["row"][:count]) == [row["winnow_row"] for row in exported(tmp_path / "out")]
    assert manifest["fraction"] == fraction
    assert manifest["tau"] == (None if fraction == 1 else ranked["value"].iloc[count])


def test_ties_are_cut_by_row(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects the exact size of a fraction where many samples have the same score."""
    run = submit(ledger)
    rows = [Row(n, 1.0) for n in range(10)]
    values = {row.row: row.value for row in rows}
    ledger.record_parts([samples_part(workspace, run, "a", rows), scores_part(workspace, run, "a", values)])
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    export_run(workspace, ledger, store, run, fraction=0.3, out=tmp_path / "out")
    assert [row["winnow_row"] for row in exported(tmp_path / "out")] == [0, 1, 2]


def test_decisions_by_hand(workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path) -> None:
    """Protects what people decided: kept below τ, pruned above it, both stated; the ledger's word is the default."""
    store, run = finished
    table = scores(workspace, run).set_index("row")
    low, high = int(table["value"].idxmin()), int(table["value"].idxmax())
    ids = table["content_id"]
    ledger.override([ids[low], ids[NAN_ROW]], "keep")
    ledger.override([ids[high]], "prune")
    manifest = export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "out")
    rows = {row["winnow_row"]: row for row in exported(tmp_path / "out")}
    assert high not in rows
    assert rows[low]["winnow_kept_by"] == rows[NAN_ROW]["winnow_kept_by"] == "hand"
    assert rows[NAN_ROW]["winnow_score"] is None
    assert manifest["overrides"] == {ids[low]: "keep", ids[NAN_ROW]: "keep", ids[high]: "prune"}
    above = int((table["value"] > 0.5).sum())
    wanted = {"kept": above + 1, "kept_by_threshold": above - 1, "kept_by_hand": 2, "pruned_by_hand": 1}
    assert {key: manifest["counts"][key] for key in wanted} == wanted
    plain = export_run(workspace, ledger, store, run, tau=0.5, overrides={}, out=tmp_path / "plain")
    assert plain["counts"]["kept"] == above


def test_a_query_narrows_the_export(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path
) -> None:
    """Protects exporting what is on the page: its search, facets and scoring count, its page of kept or pruned not."""
    store, run = finished
    scoring = store.scoring(run, 0, 2, "kl_response")
    query = SampleQuery(scoring, search="SORT", facets=(Facet("task", "sort"),), show="pruned", tau=9.9)
    manifest = export_run(workspace, ledger, store, run, tau=0.4, query=query, out=tmp_path / "out")
    rows = exported(tmp_path / "out")
    expected = store.page(replace(query, tau=0.4, show="kept"), 0, 1000)
    assert [row["winnow_row"] for row in rows] == sorted(expected["row"])
    assert (manifest["metric"], manifest["epoch"], manifest["seed"]) == ("kl_response", 2, 0)
    assert manifest["query"]["search"] == "SORT"
    assert manifest["query"]["facets"] == [{"field": "task", "value": "sort", "negate": False}]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_datasets_loads_it(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path, format: Any
) -> None:
    """Protects the way out: `datasets.load_dataset` reads the folder as it is, in a process of its own."""
    store, run = finished
    export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "out", format=format)
    code = (
        "import sys, datasets\n"
        "rows = datasets.load_dataset(sys.argv[1], split='train')\n"
        "print(rows.num_rows, sorted(rows.column_names), rows[0]['winnow_row'])"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], env=environment, capture_output=True, text=True
    )
    rows = exported(tmp_path / "out")
    assert done.stdout.strip() == f"{len(rows)} {sorted(rows[0])} {rows[0]['winnow_row']}", done.stderr


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        ({}, "An export needs either tau or a fraction, one of the two."),
        ({"tau": 0.5, "fraction": 0.5}, "An export needs either tau or a fraction, one of the two."),
        ({"tau": -0.1}, "tau is -0.1; it must be at least 0, as no kl is below."),
        ({"tau": float("nan")}, "tau is nan; it must be a finite number."),
        ({"tau": float("-inf")}, "tau is -inf; it must be a finite number."),
        ({"fraction": 0.0}, "The fraction is 0.0; it is the part that is kept, above 0 and at most 1."),
        ({"fraction": 1.5}, "The fraction is 1.5; it is the part that is kept, above 0 and at most 1."),
        ({"fraction": -1.0}, "The fraction is -1.0; it is the part that is kept, above 0 and at most 1."),
        ({"fraction": float("nan")}, "The fraction is nan; it is the part that is kept, above 0 and at most 1."),
        ({"fraction": 0.001}, "A fraction of 0.001 of the samples of run RUN is less than one sample; raise it."),
        (
            {"tau": 9.0},
            "No sample of run RUN has kl above tau = 9 (the highest is 9), so there is nothing to export; lower tau.",
        ),
    ],
)
def test_a_cut_that_is_none(
    workspace: Workspace,
    ledger: Ledger,
    finished: tuple[Store, str],
    tmp_path: Path,
    cut: dict[str, Any],
    sentence: str,
) -> None:
    """Protects people from an empty export: one sentence that says what is wrong, and no files."""
    store, run = finished
    with pytest.raises(WinnowError) as raised:
        export_run(workspace, ledger, store, run, out=tmp_path / "deep" / "out", **cut)
    assert str(raised.value) == sentence.replace("RUN", run)
    assert not (tmp_path / "deep").exists()


def test_nothing_left_after_the_filters(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path
) -> None:
    """Protects people from blaming τ where the filters let nothing through."""
    store, run = finished
    query = SampleQuery(store.scoring(run, 0, 1, "kl"), search="no such text")
    with pytest.raises(WinnowError, match=r"was pruned by hand or filtered out, .*; remove a filter"):
        export_run(workspace, ledger, store, run, tau=0.1, query=query, out=tmp_path / "out")


def test_a_run_without_a_number(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects a run whose models gave only NaN."""
    run = submit(ledger)
    parts = [samples_part(workspace, run, "a", [Row(0, 0)]), scores_part(workspace, run, "a", {0: float("nan")})]
    ledger.record_parts(parts)
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    with pytest.raises(WinnowError, match=f"No sample of run {run} has a kl score"):
        export_run(workspace, ledger, store, run, fraction=1.0, out=tmp_path / "out")


def test_a_run_that_scored_nothing(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects exporting a run that only made models."""
    recipe = {"kind": "pretrain", "data": {"source": "x"}, "scratch": {"models": {}}}
    run = ledger.submit(parse_recipe(recipe))
    store = Store.in_memory(workspace, run)
    with pytest.raises(WinnowError, match="has scored no samples, so there is nothing to export"):
        export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "out")


def test_texts_that_are_lost(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects against an export that silently lacks samples whose part was lost."""
    run = submit(ledger)
    part = samples_part(workspace, run, "b", [Row(1, 0)])
    scored = scores_part(workspace, run, "a", {0: 1.0, 1: 1.0})
    ledger.record_parts([samples_part(workspace, run, "a", [Row(0, 0)]), part, scored])
    part.path(workspace).unlink()
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    with pytest.raises(WinnowError, match=f"1 kept samples of run {run} have no text.* doctor --rebuild"):
        export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path
) -> None:
    """Protects files that are there already: an export never mixes with them or replaces them."""
    store, run = finished
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(WinnowError, match="already holds something; name a folder that is empty or does not exist"):
            export_run(workspace, ledger, store, run, tau=0.5, out=out)
    with pytest.raises(WinnowError, match=r"could not be written to .*; free some disk space or name another folder"):
        export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "mine.txt" / "out")
    (tmp_path / "empty").mkdir()
    export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "empty")
    assert len(exported(tmp_path / "empty")) > 0


FULL = """
import resource, sys
from pathlib import Path
from engine.common.errors import WinnowError
from engine.export.samples import export_run, with_source_columns
from engine.storage.ledger import Ledger
from engine.storage.store import Store
from engine.storage.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
ledger, run = Ledger(workspace), sys.argv[2]
store = Store.in_memory(workspace, run)
store.sync(ledger)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    export_run(workspace, ledger, store, run, tau=0.1, out=Path(sys.argv[3]), format=sys.argv[5])
except WinnowError as error:
    print(error)
"""


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_full_disk(workspace: Workspace, tmp_path: Path, format: str) -> None:
    """Protects a folder from half an export when the disk is full."""
    run = fill_workspace(workspace, samples=2000, epochs=1, seeds=(0,))
    out = tmp_path / "exports" / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, [workspace.root, run, out, 40_000, format])],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"The export could not be written to {out} (")
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_workspace_that_is_presented(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path
) -> None:
    """Protects a presented workspace from new files, while visitors may still take their export elsewhere."""
    store, run = finished
    presented = Workspace(workspace.root, read_only=True)
    with pytest.raises(ReadOnlyError, match="cannot write an export into it"):
        export_run(presented, Ledger(presented), store, run, tau=0.5, out=presented.root / "exports" / "out")
    assert not (presented.root / "exports").exists()
    export_run(presented, Ledger(presented), store, run, tau=0.5, out=tmp_path / "elsewhere")


def test_names_of_the_source(workspace: Workspace, ledger: Ledger, tmp_path: Path) -> None:
    """Protects taking an export as the source of another: mapped names are used, and nothing is overwritten."""
    columns = {"instruction": "question", "response": "answer"}
    run = ledger.submit(
        parse_recipe(
            {"kind": "score", "data": {"source": "x", "columns": columns}, "models": {"teacher": "t", "student": "s"}}
        )
    )
    fields = {"winnow_row": "old", "input": "kept apart", "other": "field"}
    rows = [Row(0, 0, fields=fields), Row(1, 0, fields={"rare": "only here"})]
    scored = scores_part(workspace, run, "a", {0: 1.0, 1: 1.0})
    ledger.record_parts([samples_part(workspace, run, "a", rows), scored])
    store = Store.in_memory(workspace, run)
    store.sync(ledger)
    export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "mapped")
    first, second = exported(tmp_path / "mapped")
    assert (first["question"], first["answer"], first["input"]) == ("ask", "answer", "")
    assert (first["winnow_row"], first["winnow_row_"], first["input_"]) == (0, "old", "kept apart")
    assert (first["other"], first["rare"], second["other"], second["rare"]) == ("field", None, None, "only here")

    ledger.set_provenance(run, columns={"instruction": "q", "input": "", "response": "a"})
    export_run(workspace, ledger, store, run, tau=0.5, out=tmp_path / "found")
    first, _ = exported(tmp_path / "found")
    assert (first["q"], first["a"], first["input"]) == ("ask", "answer", "kept apart")


TURNS = [{"speaker": "user", "text": "Hi"}, {"speaker": "assistant", "text": "Hello"}]


@pytest.mark.parametrize(
    ("names", "column"), [({"response": "talk"}, "talk"), ({"instruction": "p", "response": "c"}, "messages")]
)
def test_conversations_leave_as_they_came(names: dict[str, str], column: str) -> None:
    """Lists of role and content, which every training library reads, and Winnow again."""
    rows = pa.table(
        {
            **{name: ["x"] for name in ("instruction", "input", "response", "system")},
            "turns": pa.array([TURNS], SAMPLES.field("turns").type),
            "fields": pa.array([[("id", "7")]], SAMPLES.field("fields").type),
            "row": [3], "value": [0.5], "by_hand": [False],
        }
    )  # fmt: skip
    [row] = with_source_columns(rows, names).to_pylist()
    assert row[column] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert set(row) == {column, "id", "winnow_row", "winnow_score", "winnow_kept_by"}


def test_a_score_below_zero_has_a_threshold_below_zero(
    workspace: Workspace, ledger: Ledger, finished: tuple[Store, str], tmp_path: Path
) -> None:
    """Excess loss may be negative, so a negative threshold is one there, and nowhere else."""
    store, run = finished
    scoring = store.scoring(run, -1, 1, "excess_loss")
    manifest = export_run(workspace, ledger, store, run, out=tmp_path / "out", tau=-0.5, scoring=scoring)
    assert manifest["counts"]["kept"] == int(np.isfinite(scores(workspace, run)["value"]).sum())
