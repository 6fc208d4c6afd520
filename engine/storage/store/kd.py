"""Queries of a grid of students: its cells, what each score keeps and prunes, and the samples to show of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engine.storage.store.database import Database
from engine.storage.tables import GRID


class KdQueries(Database):
    def grid(self, run: str) -> pd.DataFrame:
        """Every cell that has ended, in the columns of `tables.GRID`, noise-free and large fractions first.

        A cell (score, fraction, kd_weight, teacher, noise, seed) is here once: if it was trained again, as one that
        failed may be, the last record counts.
        """
        columns = ", ".join(GRID.names)
        return self._cached(
            run,
            ("grid",),
            lambda: self._frame(
                f"SELECT {columns} FROM grid WHERE run = $run QUALIFY row_number() OVER ("
                "  PARTITION BY score, fraction, kd_weight, teacher, noise, seed ORDER BY part DESC) = 1 "
                "ORDER BY noise, fraction DESC, score, kd_weight, teacher, seed",
                run=run,
            ),
        ).copy()

    def selection_arms(self, run: str) -> list[str]:
        """The arms that have a selection, by name."""
        return [
            row["arm"] for row in self._rows("SELECT DISTINCT arm FROM choices WHERE run = $run ORDER BY 1", run=run)
        ]

    def random_rows(self, run: str, arm: str, kept: bool, limit: int, seed: int = 0) -> list[int]:
        """At most `limit` rows that an arm keeps (or prunes), drawn at random, ascending.

        The same `seed` draws the same rows. Empty if the arm has no selection yet.
        """
        rows = self._selection(run, arm)[0 if kept else 1]
        if len(rows) > limit:
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        return [int(row) for row in rows]

    def overlap(self, run: str, arm_a: str, arm_b: str) -> tuple[int, int, int]:
        """How many samples both arms keep, how many only the first, how many only the second."""
        a, b = self._selection(run, arm_a)[0], self._selection(run, arm_b)[0]
        both = len(np.intersect1d(a, b, assume_unique=True))
        return both, len(a) - both, len(b) - both

    def kept_and_total(self, run: str, arm: str) -> tuple[int, int]:
        """(how many samples an arm keeps, how many it selects from); zeros if it has no selection yet."""
        kept, pruned = self._selection(run, arm)
        return len(kept), len(kept) + len(pruned)

    def kept_by_arm(self, run: str, row: int) -> pd.DataFrame:
        """arm, kept: whether each arm keeps one sample."""
        return self._frame(
            "SELECT c.arm, bool_or(t.kept) AS kept FROM selections t JOIN choices c ON c.id = t.choice "
            "WHERE c.run = $run AND t.row = $row GROUP BY c.arm ORDER BY c.arm",
            run=run,
            row=row,
        )

    def sample_ranks(self, run: str, row: int) -> pd.DataFrame:
        """arm, metric, value, above, below, samples: every score of one sample, its rank among `samples`.

        Those that are neither, the sample itself among them, have the same score.
        """
        return self._frame(
            "WITH mine AS (SELECT g.id, g.arm, g.metric, s.value FROM scores s JOIN scorings g ON g.id = s.scoring "
            "  WHERE g.run = $run AND s.row = $row AND s.value IS NOT NULL) "
            "SELECT m.arm, m.metric, any_value(m.value)::DOUBLE AS value, "
            "count(*) FILTER (o.value > m.value) AS above, count(*) FILTER (o.value < m.value) AS below, "
            "count(o.value) AS samples "
            "FROM mine m JOIN scores o ON o.scoring = m.id GROUP BY m.arm, m.metric ORDER BY m.arm, m.metric",
            run=run,
            row=row,
        )

    def images(self, run: str, rows: Sequence[int]) -> dict[int, bytes]:
        """The PNG of each of a few rows, for those that have one."""
        found = self._of_rows("row, image", run, rows, "image IS NOT NULL")
        return {int(sample["row"]): bytes(sample["image"]) for sample in found}

    def labelled_samples(self, run: str, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """label, instruction, input, has_image of each of a few rows; missing texts are empty."""
        columns = (
            "row, coalesce(label, '') AS label, coalesce(instruction, '') AS instruction, "
            "coalesce(input, '') AS input, image IS NOT NULL AS has_image"
        )
        return {int(sample.pop("row")): sample for sample in self._of_rows(columns, run, rows)}

    def test_classes(self, run: str) -> dict[str, int]:
        """How many samples of the test set have each label."""
        found = self._cached(
            run,
            ("test classes",),
            lambda: self._frame(
                "SELECT label, count(*) AS samples FROM samples WHERE dataset = $dataset AND split = 'test' "
                "AND label IS NOT NULL GROUP BY label ORDER BY label",
                dataset=self._dataset(run),
            ),
        )
        return {str(label): int(samples) for label, samples in zip(found["label"], found["samples"], strict=True)}

    def _of_rows(self, columns: str, run: str, rows: Sequence[int], where: str = "true") -> list[dict[str, Any]]:
        return self._rows(
            f"SELECT {columns} FROM samples WHERE dataset = $dataset AND row IN (SELECT unnest($rows::INTEGER[])) "
            f"AND {where}",
            dataset=self._dataset(run),
            rows=[int(row) for row in rows],
        )

    def _selection(self, run: str, arm: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows an arm keeps and those it prunes, ascending; of its lowest seed if it has several."""

        def read() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
            rows, kept = self._columns(
                "SELECT row, kept FROM selections WHERE choice = ("
                "  SELECT id FROM choices WHERE run = $run AND arm = $arm ORDER BY seed, epoch LIMIT 1) ORDER BY row",
                run=run,
                arm=arm,
            )
            return rows[kept.astype(bool)], rows[~kept.astype(bool)]

        return self._cached(run, ("selection", arm), read, "selections")
