"""Questions about a grid of distilled students: its cells, what a score keeps and prunes, and the pictures of that."""

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

        A cell (score, fraction, kd_weight, teacher, noise, seed) stands here once: where it was done again, as one
        that failed may be, what was recorded last counts.
        """
        columns = ", ".join(GRID.names)
        return self._remember(
            run,
            ("grid",),
            lambda: self._frame(
                f"SELECT {columns} FROM grid WHERE run = $run QUALIFY row_number() OVER ("
                "  PARTITION BY score, fraction, kd_weight, teacher, noise, seed ORDER BY part DESC) = 1 "
                "ORDER BY noise, fraction DESC, score, kd_weight, teacher, seed",
                run=run,
            ),
        ).copy()

    def kept_arms(self, run: str) -> list[str]:
        """The arms that have said what they keep, in the order of their names."""
        return [
            row["arm"] for row in self._rows("SELECT DISTINCT arm FROM choices WHERE run = $run ORDER BY 1", run=run)
        ]

    def kept_rows_of(self, run: str, arm: str, kept: bool, limit: int, seed: int = 0) -> list[int]:
        """At most `limit` rows that an arm keeps (or prunes), drawn at random from all of them, ascending.

        The same `seed` draws the same rows. Empty where the arm has not chosen yet.
        """
        every = self._chosen_by(run, arm)
        rows = every[0] if kept else every[1]
        if len(rows) > limit:
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        return [int(row) for row in rows]

    def overlap(self, run: str, arm_a: str, arm_b: str) -> tuple[int, int, int]:
        """How many samples both arms keep, how many only the first, how many only the second."""
        a, b = self._chosen_by(run, arm_a)[0], self._chosen_by(run, arm_b)[0]
        both = len(np.intersect1d(a, b, assume_unique=True))
        return both, len(a) - both, len(b) - both

    def kept_of(self, run: str, arm: str) -> tuple[int, int]:
        """(how many samples an arm keeps, how many it chose from); zeros where it has not chosen yet."""
        kept, pruned = self._chosen_by(run, arm)
        return len(kept), len(kept) + len(pruned)

    def kept_by(self, run: str, row: int) -> pd.DataFrame:
        """arm, kept: what every arm did with one sample."""
        return self._frame(
            "SELECT c.arm, bool_or(t.kept) AS kept FROM selections t JOIN choices c ON c.id = t.choice "
            "WHERE c.run = $run AND t.row = $row GROUP BY c.arm ORDER BY c.arm",
            run=run,
            row=row,
        )

    def standings(self, run: str, row: int) -> pd.DataFrame:
        """arm, metric, value, above, below, samples: every score of one sample, and how many are above and below it.

        Those that are neither, the sample itself among them, have the very same score.
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

    def labelled(self, run: str, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """label, instruction, input, has_image of each of a few rows; texts that are missing are empty."""
        columns = (
            "row, coalesce(label, '') AS label, coalesce(instruction, '') AS instruction, "
            "coalesce(input, '') AS input, image IS NOT NULL AS has_image"
        )
        return {int(sample.pop("row")): sample for sample in self._of_rows(columns, run, rows)}

    def _of_rows(self, columns: str, run: str, rows: Sequence[int], where: str = "true") -> list[dict[str, Any]]:
        return self._rows(
            f"SELECT {columns} FROM samples WHERE dataset = $dataset AND row IN (SELECT unnest($rows::INTEGER[])) "
            f"AND {where}",
            dataset=self._dataset(run),
            rows=[int(row) for row in rows],
        )

    def _chosen_by(self, run: str, arm: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows an arm keeps and those it prunes, ascending; of its lowest seed where it has several."""

        def read() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
            rows, kept = self._columns(
                "SELECT row, kept FROM selections WHERE choice = ("
                "  SELECT id FROM choices WHERE run = $run AND arm = $arm ORDER BY seed, epoch LIMIT 1) ORDER BY row",
                run=run,
                arm=arm,
            )
            return rows[kept.astype(bool)], rows[~kept.astype(bool)]

        return self._remember(run, ("chosen by", arm), read, "selections")
