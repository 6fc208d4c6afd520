"""Every result of the store, against plain loops over the same random data."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.common.errors import WinnowError
from engine.storage.ledger import Ledger
from engine.storage.store import Facet, SampleQuery, Store
from engine.storage.workspace import Workspace
from tests.fixtures.store_parts import Reference, Row, samples_part, scores_part, submit

VALUES = st.one_of(
    st.sampled_from([0.0, 0.1, 0.5, 0.5, 1.0, float("nan"), float("inf"), -0.25]),
    st.floats(-10, 10, width=32),
)
TEXTS = st.text(alphabet="aAbB%_\\'é É\n<", max_size=6)
TAUS = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.5, 1.0, 99.0]), st.floats(-10, 10))
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    numbers = draw(st.lists(st.integers(0, 200), unique=True, max_size=40))
    return [
        Row(
            row=number,
            value=draw(VALUES),
            instruction=draw(TEXTS),
            input=draw(TEXTS),
            response=draw(TEXTS),
            fields={"task": draw(st.sampled_from(["x", "y", "<i>"]))} if draw(st.booleans()) else {},
            length=draw(st.integers(1, 500)),
            content_id=draw(st.sampled_from(["", "twin"])),  # several rows may have one text
        )
        for number in numbers
    ]


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    ids = st.sampled_from([*(f"id-{n}" for n in range(0, 200, 3)), "twin"])
    overrides = draw(st.dictionaries(ids, st.sampled_from(["keep", "prune"]), max_size=6))
    facet = st.builds(Facet, st.sampled_from(["task", "other"]), st.sampled_from(["x", "<i>", "z"]), st.booleans())
    return {
        "descending": draw(st.booleans()),
        "tau": draw(TAUS),
        "show": draw(st.sampled_from(["all", "kept", "pruned"])),
        "low": draw(TAUS),
        "high": draw(TAUS),
        "search": draw(st.sampled_from(["", "", "a", "%", "_", "\\", "é", "B"])),
        "facets": tuple(draw(st.lists(facet, max_size=3))),
        "by_hand": draw(st.sampled_from(["", "", "any", "keep", "prune"])),
        "overrides": tuple(sorted(overrides.items())),
    }


@contextmanager
def store_of(rows: list[Row], cut: int = 0) -> Iterator[tuple[Store, str]]:
    """A store in memory that holds `rows`, their scores in two parts."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).create()
        ledger = Ledger(workspace)
        run = submit(ledger)
        ledger.record_parts([samples_part(workspace, run, "all", rows)])
        for name, some in (("a", rows[:cut]), ("b", rows[cut:])):
            ledger.record_parts([scores_part(workspace, run, name, {row.row: row.value for row in some})])
        with closing(Store.in_memory(workspace, run)) as store:
            store.sync(ledger)
            yield store, run


@SOME
@given(rows=tables(), cases=st.lists(queries(), min_size=1, max_size=6), data=st.data())
def test_pages_counts_and_neighbours(rows: list[Row], cases: list[dict[str, Any]], data: st.DataObject) -> None:
    """Protects the order, the filters, the threshold and the ranks that people see, with ties, NaN and odd texts."""
    reference = Reference(rows)
    with store_of(rows, len(rows) // 2) as (store, run):
        if not rows:
            return
        for settings_ in cases:
            query = SampleQuery(store.scoring(run, 0, 1, "kl"), **settings_)
            expected = reference.result(query)
            overrides = dict(query.overrides)
            count = store.count(query)
            assert (count.samples, count.tokens) == (len(expected), sum(row.length for row in expected))

            offset, limit = data.draw(st.integers(0, 45)), data.draw(st.integers(1, 60))
            page = store.page(query, offset, limit)
            shown = expected[offset : offset + limit]
            assert page["row"].tolist() == [row.row for row in shown]
            assert page["rank"].tolist() == list(range(offset + 1, offset + 1 + len(shown)))
            assert page["kept"].tolist() == [reference.kept(row, query.tau, overrides) for row in shown]
            assert page["decision"].tolist() == [overrides.get(r.content_id or f"id-{r.row}", "") for r in shown]
            assert page["response"].tolist() == [row.response for row in shown]
            assert page["fields"].tolist() == [row.fields for row in shown]
            values = [reference.values[row.row] if reference.is_known(row) else np.nan for row in shown]
            np.testing.assert_array_equal(page["value"].to_numpy(dtype=float), values)

            tau = data.draw(st.sampled_from([0.0, 0.1, 0.5, 3.0]))
            known = [reference.values[row.row] for row in expected if reference.is_known(row)]
            before = [value > tau if query.descending else value <= tau for value in known]
            assert store.offset_at(query, tau) == sum(before)

            order = [row.row for row in expected]
            for place, row in enumerate(order):
                previous = order[place - 1] if place else None
                following = order[place + 1] if place + 1 < len(order) else None
                assert store.neighbours(query, row) == (previous, following, place + 1)


@SOME
@given(rows=tables().filter(bool), settings_=queries())
def test_neighbours_of_a_sample_outside_the_query(rows: list[Row], settings_: dict[str, Any]) -> None:
    """Protects stepping on from a sample that has just left the filter: nothing is skipped, nothing comes twice."""
    reference = Reference(rows)
    with store_of(rows) as (store, run):
        query = SampleQuery(store.scoring(run, 0, 1, "kl"), **settings_)
        inside = [row.row for row in reference.result(query)]
        everything = SampleQuery(query.scoring, descending=query.descending)
        order = [row.row for row in reference.result(everything)]
        for place, row in enumerate(order):
            if row not in inside:
                previous = [r for r in order[:place] if r in inside]
                following = [r for r in order[place:] if r in inside]
                expected = (previous[-1] if previous else None, following[0] if following else None, None)
                assert store.neighbours(query, row) == expected
        assert store.neighbours(query, 9999) == (None, None, None)


@SOME
@given(rows=tables().filter(bool), settings_=queries(), bins=st.integers(1, 12), taus=st.lists(st.floats(-10, 10)))
def test_shapes(rows: list[Row], settings_: dict[str, Any], bins: int, taus: list[float]) -> None:
    """Protects the histogram and the counts under the τ slider, which come from the order of the values."""
    reference = Reference(rows)
    known = np.array([reference.values[row.row] for row in rows if reference.is_known(row)])
    with store_of(rows) as (store, run):
        scoring = store.scoring(run, 0, 1, "kl")
        for tau, count in zip(taus, store.kept_counts(scoring, taus), strict=True):
            above = [row for row in rows if reference.kept(row, tau, {})]
            assert (count.samples, count.tokens) == (len(above), sum(row.length for row in above))

        query = SampleQuery(scoring, **settings_)
        seen = store.histogram(scoring, bins, query)
        assert seen.missing == len(rows) - len(known)
        passing = [reference.values[row.row] for row in reference.result(query) if reference.is_known(row)]
        np.testing.assert_array_equal(seen.counts, np.histogram(known, seen.edges)[0])
        np.testing.assert_array_equal(seen.filtered_counts, np.histogram(passing, seen.edges)[0])
        assert seen.below + seen.above + seen.counts.sum() == len(known)
        assert len(seen.edges) == bins + 1
        quantiles = store.quantiles(scoring, [0, 0.25, 0.5, 1])
        if not len(known):
            assert np.isnan(quantiles).all()
            assert np.isnan([seen.minimum, seen.maximum]).all()
            return
        np.testing.assert_allclose(quantiles, np.quantile(known, [0, 0.25, 0.5, 1]), atol=1e-12)
        assert (seen.minimum, seen.maximum) == (known.min(), known.max())

        samples, of = store.half_of_total(scoring)
        falling = np.sort(np.maximum(known, 0))[::-1]
        assert of == len(known)
        if falling.sum() > 0:
            assert falling[:samples].sum() >= falling.sum() / 2 * (1 - 1e-12)
            assert falling[: samples - 1].sum() < falling.sum() / 2 * (1 + 1e-12)
        curve = store.concentration(scoring, points=7)
        assert curve["share_samples"].is_monotonic_increasing
        assert curve["share_score"].is_monotonic_increasing
        if falling.sum() > 0:
            assert curve.iloc[-1].tolist() == pytest.approx([1.0, 1.0])


@SOME
@given(rows=tables().filter(bool), tau=st.sampled_from([0.0, 0.1, 0.5]))
def test_fields(rows: list[Row], tau: float) -> None:
    """Protects the chips: samples, kept and mean of each value of a field."""
    reference = Reference(rows)
    with store_of(rows) as (store, run):
        expected = Counter(row.fields["task"] for row in rows if "task" in row.fields)
        facets = store.facets(run)
        assert dict(zip(facets["value"], facets["samples"], strict=True)) == expected
        table = store.by_field(store.scoring(run, 0, 1, "kl"), "task", tau).set_index("value")
        assert set(table.index) == set(expected)
        for value, line in table.iterrows():
            having = [row for row in rows if row.fields.get("task") == value]
            known = [reference.values[row.row] for row in having if reference.is_known(row)]
            assert line["samples"] == len(having)
            assert line["kept"] == sum(reference.kept(row, tau, {}) for row in having)
            assert line["mean"] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)


@SOME
@given(rows=tables().filter(bool), settings_=queries(), fraction=st.one_of(st.none(), st.floats(0.01, 1)))
def test_kept_rows(rows: list[Row], settings_: dict[str, Any], fraction: float | None) -> None:
    """Protects the export: exactly round(fraction · n) by the threshold, ties by row, then decisions by hand."""
    reference = Reference(rows)
    settings_ = settings_ | {"show": "all"}
    with store_of(rows) as (store, run):
        query = SampleQuery(store.scoring(run, 0, 1, "kl"), **settings_)
        overrides = dict(query.overrides)
        ranked = [row for row in reference.result(SampleQuery(query.scoring)) if reference.is_known(row)]
        first = {row.row for row in ranked[: round((fraction or 0) * len(ranked))]}
        by_threshold = {r.row for r in rows if (r.row in first if fraction else reference.kept(r, query.tau, {}))}
        expected = []
        for row in sorted(reference.result(query), key=lambda row: row.row):
            decision = overrides.get(row.content_id or f"id-{row.row}")
            if decision == "keep" or (decision is None and row.row in by_threshold):
                expected.append((row.row, row.row not in by_threshold, row.response))
        found = store.kept_rows(query, fraction)
        assert [(r["row"], r["by_hand"], r["response"]) for r in found.to_pylist()] == expected
        assert store.kept_count(query, fraction).samples == len(expected)


def test_texts_of_many_values_are_no_facets(workspace: Workspace, ledger: Ledger) -> None:
    """Protects pages from a chip for every sample: a field is a facet only if it has few values."""
    run = submit(ledger)
    rows = [Row(n, n, fields={"few": str(n % 21), "many": f"text {n}", "one": "same"}) for n in range(150)]
    ledger.record_parts([samples_part(workspace, run, "all", rows)])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        assert set(store.facets(run)["field"]) == {"one"}
        assert set(store.facets(run, most=21)["field"]) == {"few", "one"}


def test_only_nan(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a page and its histogram if a model gave NaN for everything."""
    run = submit(ledger)
    rows = [Row(n, float("nan")) for n in (4, 2, 9)]
    ledger.record_parts([samples_part(workspace, run, "all", rows)])
    ledger.record_parts([scores_part(workspace, run, "all", {row.row: row.value for row in rows})])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        scoring = store.scoring(run, 0, 1, "kl")
        assert store.page(SampleQuery(scoring, descending=False, tau=0.0), 0)["row"].tolist() == [2, 4, 9]
        assert store.count(SampleQuery(scoring, tau=0.0, show="kept")).samples == 0
        assert (store.histogram(scoring).missing, store.histogram(scoring).counts.sum()) == (3, 0)
        assert store.half_of_total(scoring) == (0, 0)


def test_an_unknown_ranking(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a stale link from a traceback: the sentence names run, metric, seed and epoch."""
    run = submit(ledger)
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        with pytest.raises(WinnowError, match=rf"Run {run} has no kl scores of arm dynamic, seed 3, epoch 2; "):
            store.page(SampleQuery(store.scoring(run, 3, 2, "kl")), 0)
        assert store.scorings(run).empty
        assert store.splits(run).empty
        assert store.sample(run, 0) is None
        assert store.token_scores(run, 1, 0) is None
        assert [len(part) for part in store.states(run)] == [0, 0]
