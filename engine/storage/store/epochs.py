"""Queries of a run over its epochs: curves, kept sets, how often samples were used, which crossed τ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from engine.storage.store.database import Database


class EpochQueries(Database):
    def metrics(self, run: str) -> pd.DataFrame:
        """arm, seed, epoch, step, split, name, value: everything measured while training."""
        return self._frame(
            "SELECT arm, seed, epoch, step, split, name, value FROM metrics WHERE run = $run ORDER BY ALL", run=run
        )

    def selections(self, run: str) -> pd.DataFrame:
        """arm, seed, epoch, kept, tokens, tau (NaN for arms without a threshold): what each epoch trained on."""
        return self._cached(
            run,
            ("selections",),
            lambda: self._frame(
                "SELECT c.arm, c.seed, c.epoch, count(*) FILTER (t.kept) AS kept, "
                "coalesce(sum(s.length) FILTER (t.kept), 0)::BIGINT AS tokens, c.tau "
                "FROM choices c JOIN selections t ON t.choice = c.id "
                "LEFT JOIN run_datasets d ON d.run = c.run "
                "LEFT JOIN samples s ON s.dataset = d.dataset AND s.row = t.row "
                "WHERE c.run = $run GROUP BY ALL ORDER BY c.arm, c.seed, c.epoch",
                run=run,
            ),
        )

    def thresholds(self, run: str) -> pd.DataFrame:
        """seed, epoch, tau of the dynamic arm."""
        return self._frame(
            "SELECT seed, epoch, tau FROM choices WHERE run = $run AND arm = 'dynamic' ORDER BY ALL", run=run
        )

    def usage(self, run: str) -> pd.DataFrame:
        """arm, times, samples: how many samples were trained on how many times; the mean over seeds."""
        return self._cached(
            run,
            ("usage",),
            lambda: self._frame(
                "WITH used AS ("
                "  SELECT c.arm, c.seed, t.row, count(*) FILTER (t.kept) AS times "
                "  FROM choices c JOIN selections t ON t.choice = c.id WHERE c.run = $run GROUP BY ALL), "
                "seeds AS (SELECT arm, count(DISTINCT seed) AS seeds FROM used GROUP BY arm) "
                "SELECT arm, times, count(*) / any_value(seeds) AS samples "
                "FROM used JOIN seeds USING (arm) GROUP BY arm, times ORDER BY arm, times",
                run=run,
            ),
        )

    def crossings(self, run: str, seed: int, epoch: int, later: int) -> pd.DataFrame:
        """before, after ("kept" or "pruned"), samples: what became of the dynamic arm's samples between two epochs."""
        return self._frame(
            f"SELECT before, after, count(*) AS samples FROM ({_CROSSED}) GROUP BY ALL ORDER BY before, after",
            run=run,
            seed=seed,
            epoch=epoch,
            later=later,
        )

    def crossing_rows(
        self, run: str, seed: int, epoch: int, later: int, before: str, after: str, limit: int
    ) -> list[int]:
        """The first `limit` rows that were `before` in one epoch and `after` in the later one."""
        found = self._frame(
            f"SELECT row FROM ({_CROSSED}) WHERE before = $before AND after = $after ORDER BY row LIMIT $limit",
            run=run,
            seed=seed,
            epoch=epoch,
            later=later,
            before=before,
            after=after,
            limit=limit,
        )
        return [int(row) for row in found["row"].to_numpy()]

    def score_history(self, run: str, row: int) -> pd.DataFrame:
        """arm, seed, epoch, metric, value: the scores of one sample before training and by the dynamic arm."""
        return self._frame(
            "SELECT arm, seed, epoch, metric, coalesce(value, 'NaN'::FLOAT)::DOUBLE AS value "
            "FROM scores s JOIN scorings g ON g.id = s.scoring WHERE g.run = $run AND s.row = $row "
            "AND g.arm IN ('base', 'dynamic') ORDER BY metric, seed, epoch",
            run=run,
            row=row,
        )

    def values_by_epoch(self, run: str, rows: Sequence[int], metric: str, seed: int) -> dict[int, list[float]]:
        """The values of a few samples by one metric, epoch by epoch: before training, then by dynamic of one seed."""
        found = self._frame(
            "SELECT s.row, coalesce(value, 'NaN'::FLOAT)::DOUBLE AS value "
            "FROM scores s JOIN scorings g ON g.id = s.scoring "
            "WHERE g.run = $run AND g.metric = $metric AND (g.arm = 'base' OR g.arm = 'dynamic' AND g.seed = $seed) "
            "AND s.row IN (SELECT unnest($rows::INTEGER[])) ORDER BY s.row, g.epoch",
            run=run,
            rows=[int(row) for row in rows],
            metric=metric,
            seed=seed,
        )
        return {int(row): found["value"][found["row"] == row].tolist() for row in found["row"].unique()}


_CROSSED = (
    "SELECT e.row, CASE WHEN e.kept THEN 'kept' ELSE 'pruned' END AS before, "
    "CASE WHEN l.kept THEN 'kept' ELSE 'pruned' END AS after "
    "FROM selections e JOIN selections l ON l.row = e.row "
    "JOIN choices a ON a.id = e.choice AND a.run = $run AND a.arm = 'dynamic' AND a.seed = $seed AND a.epoch = $epoch "
    "JOIN choices b ON b.id = l.choice AND b.run = $run AND b.arm = 'dynamic' AND b.seed = $seed AND b.epoch = $later"
)
