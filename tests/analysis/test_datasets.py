"""The data sets and pairs of models of a workspace, and their sentences."""

from __future__ import annotations

from typing import Any

import pytest

from engine.analysis import datasets, model_pairs
from engine.analysis.datasets import DataSet
from engine.config.data import DataSettings
from engine.storage import uploads
from engine.storage.ledger import Ledger
from engine.storage.workspace import Workspace
from tests.fixtures import sentences
from tests.fixtures.pruning_workspace import synthetic_recipe


def test_uploaded_file_goes_with_the_last_that_reads_it(workspace: Workspace, ledger: Ledger) -> None:
    """A file without a reader is deleted; one that a run reads, or that was never uploaded, stays."""
    upload = uploads.save_upload(workspace, "a.jsonl", b"{}")
    used = uploads.save_upload(workspace, "b.jsonl", b"{}")
    outside = workspace.root / "c.jsonl"
    outside.write_bytes(b"{}")
    recipe = synthetic_recipe("r", 50, 1, [0], ["dynamic"])
    ledger.submit(recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": str(used)})}))
    for path in (upload, used, outside):
        ledger.add_dataset(path.name, DataSettings(source=str(path)).model_dump(mode="json"), {})
    for data in datasets.datasets(ledger):
        datasets.remove(ledger, data)
    assert not upload.exists()
    assert used.exists()
    assert outside.exists()


def test_names_for_sources() -> None:
    """A source gets a short name, and a number if that is taken."""
    assert datasets.name_of("tatsu-lab/alpaca") == "alpaca"
    assert datasets.name_of("/data/my.rows.jsonl") == "my.rows"
    assert datasets.name_of("/data/my.rows.csv.gz") == "my.rows"
    assert datasets.name_of("tatsu-lab/alpaca", ["alpaca", "alpaca-2"]) == "alpaca-3"


def test_data_is_known_once(ledger: Ledger) -> None:
    """A run on saved data does not make a second entry, another split of it does."""
    recipe = synthetic_recipe("r", 50, 1, [0], ["dynamic"])
    ledger.add_dataset("saved", recipe.data.model_copy(update={"limit": None}).model_dump(mode="json"), {})
    ledger.submit(recipe)
    (only,) = datasets.datasets(ledger)
    assert (only.name, len(only.runs)) == ("saved", 1)
    ledger.submit(recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": "test"})}))
    assert [known.added is None for known in datasets.datasets(ledger)] == [False, True]


def test_pairs_differ_by_where_they_were_read(ledger: Ledger) -> None:
    """Two runs of one pair are one pair; the same names from other folders are another."""
    runs = [ledger.submit(synthetic_recipe("r", 50, 1, [0], ["dynamic"])) for _ in range(3)]
    for run, folder in zip(runs, ("a", "a", "b"), strict=True):
        ledger.set_provenance(run, teacher_source=folder, student_source=folder)
    assert sorted(len(pair.runs) for pair in model_pairs.pairs(ledger.runs())) == [1, 2]


PREVIEW: dict[str, Any] = {"total": 10, "read": 10, "dropped": {}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "10 rows. All of them can be used."),
        ({"total": 52002, "read": 2000}, "52,002 rows. Of the first 2,000, all can be used."),
        ({"total": None}, "At least 10 rows. Of the first 10, all can be used."),
        (
            {"dropped": {"no response": 2, "no instruction": 1}},
            "10 rows. 7 can be used: 2 have no response and 1 has no instruction.",
        ),
    ],
)
def test_row_counts(change: dict[str, Any], sentence: str) -> None:
    """Every count names what it counts."""
    assert datasets.row_counts(PREVIEW | change) == sentence


def test_place_in_words(workspace: Workspace) -> None:
    """A source is on the Hub, on this machine, uploaded, or made by Winnow."""
    upload = uploads.save_upload(workspace, "a.csv", b"x,y")
    places = [datasets.place(workspace, source) for source in ("demo", "a/b", "/x/y", "rows.csv", str(upload))]
    assert [place.split()[0] for place in places] == ["Written", "From", "On", "On", "Uploaded"]
    assert DataSet("x", {"source": "a/b"}, {}, None, []).source == "a/b"


def test_sets_in_a_sentence() -> None:
    """How many sets, and how many of them a run has read."""
    unread, read = DataSet("x", {"source": "a/b"}, {}, 0.0, []), DataSet("x", {"source": "a/b"}, {}, 0.0, [object()])  # type: ignore[list-item]
    assert datasets.sentence([read]) == sentences.ONE_SET_READ
    assert datasets.sentence([unread, unread]) == "2 sets of data, none of them read by a run."
    assert datasets.sentence([unread, read]) == "2 sets of data, 1 of them read by a run."
    assert datasets.sentence([read, read]) == "2 sets of data, all of them read by a run."


def test_columns_that_are_not_read_are_named_by_their_reason() -> None:
    """Nothing of a set is left out without a word."""
    unused = [{"column": "a", "why": "x"}, {"column": "b", "why": "y"}, {"column": "c", "why": "x"}]
    assert datasets.unused_columns(unused) == "Not read by the models: a, c (x); b (y)."
    assert datasets.unused_columns([]) == ""
