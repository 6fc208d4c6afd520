"""Every recorded part is ingested exactly once, whatever happens around it."""

from __future__ import annotations

import tempfile
import threading
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.storage.ledger import Ledger
from engine.storage.parts import Part, part_path
from engine.storage.store import Facet, SampleQuery, Store
from engine.storage.workspace import Workspace
from tests.fixtures.pruning_workspace import fill_workspace
from tests.fixtures.store_parts import Row, samples_part, scores_part, submit

PARTS, ROWS = 4, 5


def values_of(store: Store, run: str) -> dict[int, float]:
    """Every row of the first scoring with its value; a row that came twice makes the lengths differ."""
    if store.scorings(run).empty:
        return {}
    page = store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0, 10_000)
    assert page["row"].is_unique
    assert store.scorings(run)["samples"].tolist() == [len(page)]
    return dict(zip(page["row"].tolist(), page["value"].tolist(), strict=True))


def contents(part: int, version: int) -> dict[int, float]:
    return {part * ROWS + n: float(part + 10 * version + n / 8) for n in range(ROWS)}


ACTIONS = st.one_of(
    st.tuples(st.just("record"), st.integers(0, PARTS - 1), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.integers(0, PARTS - 1), st.just(0)),
    st.tuples(st.just("damage"), st.integers(0, PARTS - 1), st.just(0)),
    st.tuples(st.sampled_from(["sync", "reopen", "finish"]), st.just(0), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(ACTIONS, max_size=14))
def test_any_order_of_events(actions: list[tuple[str, int, int]]) -> None:
    """Protects the one promise of the store: after a sync it holds what is recorded and whole, nothing else.

    A part that is removed is gone, one recorded again with other content is replaced, one damaged before it was
    ingested is left out and named; one damaged afterwards stays until its table is ingested again.
    """
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).create()
        ledger = Ledger(workspace)
        run = submit(ledger)
        recorded: dict[int, tuple[Part, dict[int, float]]] = {}
        damaged: set[int] = set()
        store = Store(workspace)
        for action, number, version in actions:
            name = f"part-{number}"
            if action == "record":
                part = scores_part(workspace, run, name, contents(number, version))
                ledger.record_parts([part])
                recorded[number] = (part, contents(number, version))
                damaged.discard(number)
            elif action == "remove" and number in recorded:
                ledger.forget_parts([recorded.pop(number)[0]])
            elif action == "damage" and number in recorded:
                store.sync(ledger)  # so that it is known what was ingested before
                path = part_path(workspace, run, "scores", name)
                path.write_bytes(path.read_bytes()[:-7])
                damaged.add(number)
            elif action == "reopen":
                store.close()
                store = Store(workspace)
            elif action == "finish":
                ledger.finish(run, "done")
            else:
                store.sync(ledger)
        store.sync(ledger)
        for number in damaged & set(recorded):  # such a part is in the store whole, or named as a problem
            held = set(contents(number, 0)) & set(values_of(store, run))
            named = any(f"scores/part-{number} " in sentence for sentence in store.problems())
            assert (held == set(contents(number, 0))) != named
            ledger.forget_parts([recorded.pop(number)[0]])
            store.sync(ledger)
        expected: dict[int, float] = {}
        for _, held_values in recorded.values():
            expected |= held_values
        assert values_of(store, run) == expected
        assert store.problems() == []
        store.sync(ledger)  # may compact the scores of an ended run
        assert values_of(store, run) == expected
        assert store.sync(ledger) == 0
        store.close()


def test_threads_that_sync_at_once(workspace: Workspace, ledger: Ledger) -> None:
    """Protects against a row coming twice when several people open the app while the engine is recording."""
    run = submit(ledger)
    ledger.record_parts([samples_part(workspace, run, "all", [Row(n, 0) for n in range(60)])])
    store = Store(workspace)
    failures: list[BaseException] = []
    counts: list[int] = []
    over = threading.Event()

    def keep_syncing() -> None:
        try:
            while not over.is_set():
                counts.append(store.sync(ledger))
                seen = values_of_quietly(store, run)
                assert len(seen) % 3 == 0  # never half a part
        except BaseException as error:  # noqa: BLE001 - reported below, in the main thread
            failures.append(error)

    threads = [threading.Thread(target=keep_syncing) for _ in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, 60, 3):
        ledger.record_parts(
            [scores_part(workspace, run, f"part-{start}", {start + n: start + n / 4 for n in range(3)})]
        )
    over.set()
    for thread in threads:
        thread.join()
    counts.append(store.sync(ledger))
    assert failures == []
    assert sum(counts) == 21
    assert values_of(store, run) == {n: n - n % 3 + n % 3 / 4 for n in range(60)}
    store.close()


def values_of_quietly(store: Store, run: str) -> list[int]:
    if store.scorings(run).empty:
        return []
    rows: list[int] = store.page(SampleQuery(store.scoring(run, 0, 1, "kl")), 0, 1000)["row"].tolist()
    assert len(set(rows)) == len(rows)
    return rows


def test_results_follow_what_is_ingested(workspace: Workspace, ledger: Ledger) -> None:
    """Protects against stale results: what is cached is dropped when something new is ingested."""
    run = submit(ledger)
    rows = [Row(n, n, response=f"text {n % 2}", fields={"task": str(n % 2)}) for n in range(20)]
    with closing(Store(workspace)) as store:
        query = SampleQuery(store.scoring(run, 0, 1, "kl"), search="text 1", facets=(Facet("task", "1"),))
        for stop in (10, 20):
            some = rows[stop - 10 : stop]
            ledger.record_parts([samples_part(workspace, run, f"samples-{stop}", some)])
            ledger.record_parts([scores_part(workspace, run, f"scores-{stop}", {r.row: r.value for r in some})])
            store.sync(ledger)
            assert store.count(query).samples == stop // 2
            assert store.facets(run)["samples"].sum() == stop
        assert store.page(query, 0)["row"].tolist() == list(range(19, 0, -2))
        ledger.finish(run, "done")
        store.sync(ledger)  # compacts the scores
        assert store.page(query, 0)["row"].tolist() == list(range(19, 0, -2))


def test_runs_that_share_a_dataset(workspace: Workspace, ledger: Ledger) -> None:
    """Protects samples from being ingested twice, and from vanishing with one of the runs that use them."""
    rows = [Row(n, n) for n in range(6)]
    runs = [submit(ledger, name) for name in ("first", "second")]
    parts = [samples_part(workspace, run, "all", rows) for run in runs]
    ledger.record_parts(parts)
    other = submit(ledger, "other")
    ledger.record_parts([samples_part(workspace, other, "all", rows[:2], dataset="other")])
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        assert [store.splits(run)["samples"].sum() for run in (*runs, other)] == [6, 6, 2]
        ledger.forget_parts([parts[0]])
        store.sync(ledger)
        assert [store.splits(run)["samples"].sum() for run in (*runs, other)] == [0, 6, 2]
        ledger.forget_parts([parts[1]])
        store.sync(ledger)
        assert [store.splits(run)["samples"].sum() for run in (*runs, other)] == [0, 0, 2]
        ledger.record_parts(parts)
        store.sync(ledger)
        assert [store.splits(run)["samples"].sum() for run in (*runs, other)] == [6, 6, 2]


def test_samples_recorded_again_with_other_texts(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a page from old texts when the samples of a run were written again."""
    run = submit(ledger)
    ledger.record_parts([scores_part(workspace, run, "scores", {0: 1.0, 1: 2.0})])
    with closing(Store(workspace)) as store:
        for response, length in (("old", 3), ("new", 4)):
            rows = [Row(n, 0, response=response, length=length) for n in range(2)]
            ledger.record_parts([samples_part(workspace, run, "all", rows)])
            store.sync(ledger)
            query = SampleQuery(store.scoring(run, 0, 1, "kl"))
            assert store.page(query, 0)["response"].tolist() == [response] * 2
            assert store.count(query).tokens == 2 * length


def test_scores_without_their_samples(workspace: Workspace, ledger: Ledger) -> None:
    """Protects a page if the part with the texts is lost: the ranking is there, the sentence names what is missing."""
    run = submit(ledger)
    part = samples_part(workspace, run, "all", [Row(0, 0)])
    ledger.record_parts([part, scores_part(workspace, run, "scores", {0: 1.0, 7: 2.0})])
    part.path(workspace).unlink()
    with closing(Store(workspace)) as store:
        assert store.sync(ledger) == 1
        (sentence,) = store.problems()
        assert sentence == (
            f"The part samples/all of run {run} is missing, so its rows are left out; "
            "`python -m engine doctor --rebuild` has the run make it again."
        )
        query = SampleQuery(store.scoring(run, 0, 1, "kl"), search="ask")
        assert store.count(query).samples == 0
        page = store.page(SampleQuery(query.scoring), 0)
        assert page["row"].tolist() == [7, 0]
        assert page["instruction"].tolist() == ["", ""]
        assert page["fields"].tolist() == [{}, {}]
        ledger.record_parts([samples_part(workspace, run, "all", [Row(0, 0), Row(7, 0)])])
        assert store.sync(ledger) == 1
        assert store.problems() == []
        assert store.count(query).samples == 2


def test_a_part_with_a_flipped_bit(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the numbers on the pages: a part that still opens, but is not what was written, is left out."""
    run = submit(ledger)
    part = scores_part(workspace, run, "scores", {n: float(n) for n in range(500)})
    ledger.record_parts([part])
    path = part.path(workspace)
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with closing(Store(workspace)) as store:
        assert store.sync(ledger) == 0
        (sentence,) = store.problems()
        assert sentence.startswith(f"The part scores/scores of run {run} is not what was written, so its rows are left")
        path.write_bytes(whole)  # as a backup would bring it back
        assert store.sync(ledger) == 1
        assert store.problems() == []


def test_in_memory_holds_one_run(workspace: Workspace, ledger: Ledger) -> None:
    """Protects the command line: it gets the results of the app's store, may run beside it, and ingests one run."""
    runs = [fill_workspace(workspace, samples=60, epochs=2, seeds=(0,), name=name) for name in ("one", "two")]
    with closing(Store(workspace)) as store, closing(Store.in_memory(workspace, runs[1])) as memory:
        store.sync(ledger)
        memory.sync(ledger)
        assert memory.scorings(runs[0]).empty
        query = SampleQuery(store.scoring(runs[1], 0, 2, "kl"), tau=0.3)
        assert store.page(query, 0).equals(memory.page(query, 0))
        assert store.token_scores(runs[1], 1, 9) == memory.token_scores(runs[1], 1, 9)
