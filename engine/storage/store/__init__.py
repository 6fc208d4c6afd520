"""The store: a DuckDB file made from the parts, which only the app's process opens, and every query of every page.

    store = Store(workspace)
    store.sync(ledger)                      # ingest what is new
    scoring = store.scoring(run, seed=0, epoch=3, metric="kl")
    store.page(SampleQuery(scoring, tau=0.4, show="kept"), offset=0)

The parts are the truth: delete the file and `sync` makes it again. DuckDB lets one process in at a time, so the
command line uses `Store.in_memory`.
"""

from __future__ import annotations

from contextlib import closing

from engine.storage.ledger import Ledger
from engine.storage.store.database import remove_files
from engine.storage.store.distillation import DistillationQueries
from engine.storage.store.epochs import EpochQueries
from engine.storage.store.kd import KdQueries
from engine.storage.store.queries import Count, Facet, Histogram, SampleQuery, Scoring
from engine.storage.store.ranking_queries import RankingQueries
from engine.storage.store.samples import SampleQueries
from engine.storage.store.schema import FILE
from engine.storage.store.sync import Sync
from engine.storage.workspace import Workspace

__all__ = ["Count", "Facet", "Histogram", "SampleQuery", "Scoring", "Store", "rebuild"]


class Store(Sync, RankingQueries, SampleQueries, EpochQueries, KdQueries, DistillationQueries):
    """Every query of results. Safe to share between threads; one process at a time."""

    def __init__(self, workspace: Workspace, *, only: str | None = None) -> None:
        """Open the store of a workspace, or make it. With `only` (a run's id) it is in memory, for that run alone.

        Raises WinnowError if the file is damaged, cannot be written, or another process has it open.
        """
        super().__init__(workspace, None if only else workspace.store / FILE, only)

    @classmethod
    def in_memory(cls, workspace: Workspace, run: str) -> Store:
        """The same tables in memory, for the command line; `sync` ingests the parts of one run alone."""
        return cls(workspace, only=run)


def rebuild(workspace: Workspace, ledger: Ledger) -> list[str]:
    """Delete the store, make it again from the parts, and return a sentence for each part that could not be ingested.

    Raises WinnowError if another process has it open or the folder cannot be written.
    """
    remove_files(workspace.store)
    with closing(Store(workspace)) as store:
        store.sync(ledger)
        return store.problems()
