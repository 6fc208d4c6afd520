"""Parts ingested one by one: the store ends as if all had come at once, and each ingest costs only its own rows."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.storage.ledger import Ledger
from engine.storage.parts import part_path
from engine.storage.store import Facet, SampleQuery, Store, ingest
from engine.storage.workspace import Workspace
from tests.fixtures.store_parts import Row, samples_part, scores_part, submit

FIELDS = st.dictionaries(st.sampled_from(["task", "note"]), st.sampled_from("abcdefgh"), max_size=2)


@settings(max_examples=25)
@given(batches=st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=5), reopened=st.booleans())
def test_fields_are_facets_or_text_whenever_they_come(batches: list[list[dict[str, str]]], reopened: bool) -> None:
    """Protects the filters: batch by batch, a field has the values it would have had if all had come at once."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "FACET_VALUES", 3)
        workspace = Workspace(Path(folder)).create()
        ledger = Ledger(workspace)
        run, number = submit(ledger), 0
        store = Store(workspace)
        for batch in batches:
            rows = [Row(number + n, 0.0, fields=fields) for n, fields in enumerate(batch)]
            ledger.record_parts([samples_part(workspace, run, f"samples-{number}", rows)])
            number += len(batch)
            store.sync(ledger)
            if reopened:
                store.close()
                store = Store(workspace)
        with closing(store), closing(Store.in_memory(workspace, run)) as at_once:
            at_once.sync(ledger)
            found = store.facets(run)
            assert found.equals(at_once.facets(run))
        every = [fields for batch in batches for fields in batch]
        values = {name: {fields[name] for fields in every if name in fields} for name in ("task", "note")}
        expected = {
            (name, value, sum(fields.get(name) == value for fields in every))
            for name, its_values in values.items()
            for value in its_values
            if len(its_values) <= 3
        }
        assert set(found.itertuples(index=False, name=None)) == expected


def test_samples_that_come_twice(workspace: Workspace, ledger: Ledger) -> None:
    """Protects samples of two runs on one dataset, whose parts overlap, from being stored twice."""
    runs = [submit(ledger, name) for name in ("first", "second")]
    rows = [Row(n, 0.0, fields={"task": str(n % 2)}) for n in range(9)]
    with closing(Store(workspace)) as store:
        for run, start, stop in ((runs[0], 3, 6), (runs[1], 0, 4), (runs[1], 4, 9), (runs[0], 0, 3), (runs[0], 6, 9)):
            ledger.record_parts([samples_part(workspace, run, f"samples-{start}", rows[start:stop])])
            store.sync(ledger)
        for run in runs:
            assert store.splits(run)["samples"].sum() == 9
            assert sorted(store.facets(run)["samples"]) == [4, 5]


def test_an_ended_run_is_compacted_without_its_parts(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the end of a long run from reading everything again: the scores are in the store already."""
    run, other = submit(ledger), submit(ledger, "other")
    values = {n: float(n * 7 % 20) - 5 for n in range(20)} | {7: float("nan")}
    batches = [{n: values[n] for n in range(start, start + 5)} for start in range(0, 20, 5)]
    with closing(Store(workspace)) as store:
        for number, batch in enumerate(batches):
            for owner in (run, other):
                ledger.record_parts([scores_part(workspace, owner, f"part-{number}", batch)])
                store.sync(ledger)
            part_path(workspace, run, "scores", f"part-{number}").unlink()
        before = store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0, 100)
        ledger.finish(run, "done")
        assert store.sync(ledger) == 0
        assert store.problems() == []
        stored = store._rows(
            "SELECT g.run, s.row, s.value FROM scores s JOIN scorings g ON g.id = s.scoring ORDER BY s.rowid"
        )
        of_run = [each["row"] for each in stored if each["run"] == run]
        assert of_run == sorted(values, key=lambda n: (n == 7, -values[n], n))
        assert sorted(each["row"] for each in stored if each["run"] == other) == sorted(values)
    with closing(Store(workspace)) as store:
        for owner in (run, other):
            page = store.page(SampleQuery(store.scoring(owner, 0, 1, "kl")), 0, 100)
            assert page[["row", "value"]].equals(before[["row", "value"]])
        assert store.scorings(run)["samples"].tolist() == [20]


def test_what_is_ingested_leaves_other_cached_results(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the speed of pages of a large run while other runs go on: what was read of it is not read again."""
    runs = [submit(ledger, name) for name in ("studied", "sharing", "going-on")]
    rows = [Row(n, 0.0, response="some text") for n in range(6)]
    for run, dataset in zip(runs, ("made", "made", "other"), strict=True):
        ledger.record_parts([samples_part(workspace, run, "samples", rows[:3], dataset=dataset)])
        ledger.record_parts([scores_part(workspace, run, "scores", {n: float(n) for n in range(3)})])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        studied, going_on = (store.scoring(run, 0, 1, "kl") for run in (runs[0], runs[2]))
        ranking, lengths = store._ranking(studied), store._lengths(runs[2])
        store._ranking(going_on)
        ledger.record_parts([scores_part(workspace, runs[2], "more", {3: 3.0})])
        store.sync(ledger)
        assert store._ranking(studied) is ranking
        assert store._lengths(runs[2]) is lengths
        assert store._ranking(going_on).rows.tolist() == [3, 2, 1, 0]
        ledger.record_parts([samples_part(workspace, runs[1], "more", rows[3:])])
        store.sync(ledger)
        assert store._ranking(studied) is not ranking
        assert len(store._lengths(runs[0])) == 6


def test_another_store_ingests_some_of_it(workspace: Workspace, ledger: Ledger) -> None:
    """Protects results of a run whose parts another store ingested, while this one ingests those of a second run."""
    runs = [submit(ledger, name) for name in ("first", "second")]
    for run in runs:
        ledger.record_parts([scores_part(workspace, run, "scores", {0: 1.0})])
    with closing(Store(workspace)) as store, closing(Store(workspace)) as other:
        store.sync(ledger)
        queries = [SampleQuery(store.scoring(run, 0, 1, "kl"), facets=(Facet("task", "x", True),)) for run in runs]
        assert [store.count(query).samples for query in queries] == [1, 1]
        for run in runs:
            ledger.record_parts([scores_part(workspace, run, "more", {1: 2.0})])
            if run == runs[0]:
                other.sync(ledger)
        assert store.sync(ledger) == 1
        assert [store.count(query).samples for query in queries] == [2, 2]


def test_a_field_that_was_text_in_other_samples(
    workspace: Workspace, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects samples that were written again from what was stored of the fields of the old ones."""
    monkeypatch.setattr(ingest, "FACET_VALUES", 2)
    run = submit(ledger)
    with closing(Store(workspace)) as store:
        for values, samples in (("abc", []), ("aab", [2, 1])):
            rows = [Row(n, 0.0, fields={"task": value}) for n, value in enumerate(values)]
            ledger.record_parts([samples_part(workspace, run, "samples", rows)])
            store.sync(ledger)
            assert store.facets(run)["samples"].tolist() == samples
