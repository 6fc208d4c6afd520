"""Queries of one ranking: how many, which, in what order, and how their values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.storage.store.filters import Filters
from engine.storage.store.queries import Count, Histogram, SampleQuery, Scoring
from engine.storage.store.ranking import Ranking

TEXT = [
    *("content_id", "instruction", "input", "response", "system", "turns"),
    *("fields", "length", "response_length", "truncated"),
]
UNKNOWN: dict[str, Any] = dict.fromkeys(TEXT, "") | {
    "fields": {},
    "length": 0,
    "response_length": 0,
    "truncated": False,
}
"""Stands for a sample whose part could not be ingested."""
SHOWN = {"label": None, "has_image": False}
"""What a page shows beside the text: the name of the class, and whether there is a picture."""


class RankingQueries(Filters):
    def scorings(self, run: str) -> pd.DataFrame:
        """What can be ranked: arm, seed, epoch, metric, and how many samples have been scored so far."""
        return self._frame(
            "SELECT arm, seed, epoch, metric, samples FROM scorings WHERE run = $run ORDER BY ALL", run=run
        )

    def scoring(self, run: str, seed: int, epoch: int, metric: str) -> Scoring:
        """The scoring of `seed` in `epoch`; all seeds share that of the first epoch."""
        return Scoring(run, "base", -1, 1, metric) if epoch <= 1 else Scoring(run, "dynamic", seed, epoch, metric)

    def count(self, query: SampleQuery) -> Count:
        """How many samples the query lets through, and their tokens."""
        found = self._result(query)
        return Count(len(found.positions), int(found.ranking.lengths[found.positions].sum()))

    def kept_counts(self, scoring: Scoring, taus: Sequence[float]) -> list[Count]:
        """How many samples, and how many of their tokens, are above each τ, without decisions by hand."""
        ranking = self._ranking(scoring)
        above = [ranking.count_above(tau) for tau in taus]
        return [Count(count, int(ranking.tokens[count])) for count in above]

    def quantiles(self, scoring: Scoring, qs: Sequence[float]) -> list[float]:
        """The values below which each share q in [0, 1] of the values lies; NaN if there is none."""
        return self._ranking(scoring).quantiles(qs)

    def histogram(self, scoring: Scoring, bins: int = 80, query: SampleQuery | None = None) -> Histogram:
        """Values in `bins` equal bins, outliers counted apart, and what `query` (of this scoring) lets through."""
        found = None if query is None else self._result(query)
        ranking = found.ranking if found else self._ranking(scoring)
        edges = ranking.edges(bins)
        counts = ranking.bin_counts(edges)
        # They ascend already, or descend and then ascend: a stable sort merges such runs.
        ascending = np.sort(found.positions, kind="stable") if found else None
        known, above = len(ranking.values), ranking.count_above(edges[-1])
        return Histogram(
            edges=edges,
            counts=counts,
            filtered_counts=ranking.bin_counts(edges, ascending),
            below=known - ranking.count_from(edges[0]),
            above=above,
            low=float(edges[0]),
            high=float(edges[-1]),
            minimum=float(ranking.values[-1]) if known else float("nan"),
            maximum=float(ranking.values[0]) if known else float("nan"),
            missing=len(ranking.rows) - known,
        )

    def page(self, query: SampleQuery, offset: int, limit: int = 50) -> pd.DataFrame:
        """`limit` samples of the query from the one at `offset`, with their text.

        Columns: rank (from 1), row, value, kept, decision ("keep", "prune" or ""), content_id, instruction, input,
        response, system, turns (None if it is no conversation), fields (a dict), length, response_length, truncated,
        label (None in instruction sets), has_image.
        NaNs come last. Pictures are in `images`, by row.
        """
        found = self._result(query)
        shown = found.positions[offset : offset + limit]
        rows = found.ranking.rows[shown].tolist()
        texts = self._texts(query.scoring.run, tuple(rows))
        decisions = dict(query.overrides)
        return pd.DataFrame(
            {
                "rank": np.arange(offset + 1, offset + 1 + len(rows)),
                "row": rows,
                "value": found.ranking.values_at(shown),
                "kept": found.kept[shown],
                "decision": [decisions.get(text["content_id"], "") for text in texts],
            }
            | {column: [text[column] for text in texts] for column in (*TEXT, *SHOWN)}
        )

    def _texts(self, run: str, rows: tuple[int, ...]) -> list[dict[str, Any]]:
        """The texts of a few rows, in their order."""

        def read() -> list[dict[str, Any]]:
            found = self._rows(
                "SELECT row, " + ", ".join(TEXT) + ", label, image IS NOT NULL AS has_image FROM samples "
                "WHERE dataset = $dataset AND row IN (SELECT unnest($rows::INTEGER[]))",
                dataset=self._dataset(run),
                rows=list(rows),
            )
            by_row = {sample["row"]: sample for sample in found}
            return [by_row.get(row, UNKNOWN | SHOWN) for row in rows]

        return self._cached(run, ("texts", rows), read, "samples")

    def offset_at(self, query: SampleQuery, tau: float) -> int:
        """How many samples of the query come before τ: those above it, or when ascending those not above it."""
        found = self._result(query)
        known, border = found.positions[found.positions < len(found.ranking.values)], found.ranking.count_above(tau)
        return int(np.count_nonzero(known < border if query.descending else known >= border))

    def neighbours(self, query: SampleQuery, row: int) -> tuple[int | None, int | None, int | None]:
        """The rows before and after `row` in the query, and its rank from 1.

        For a sample the query does not let through the rank is None, and the neighbours are those of the position it
        would have; all three are None if it was not scored.
        """
        found = self._result(query)
        ranking, positions = found.ranking, found.positions
        position = ranking.position(row)
        if position is None:
            return None, None, None
        ahead = positions < position
        if not query.descending:
            # The values are reversed, NaNs still come last.
            known = positions < len(ranking.values)
            ahead = known & (positions > position) if position < len(ranking.values) else known | ahead
        before = int(np.count_nonzero(ahead))
        there = before < len(positions) and positions[before] == position
        after = before + 1 if there else before
        return (
            int(ranking.rows[positions[before - 1]]) if before else None,
            int(ranking.rows[positions[after]]) if after < len(positions) else None,
            before + 1 if there else None,
        )

    def concentration(self, scoring: Scoring, points: int = 200) -> pd.DataFrame:
        """share_samples against share_score: what the highest samples carry of the total, both from 0 to 1."""
        shares = self._ranking(scoring).cumulative_shares()
        at = np.unique(np.linspace(0, len(shares) - 1, min(points, len(shares))).round().astype(int))
        return pd.DataFrame({"share_samples": at / max(len(shares) - 1, 1), "share_score": shares[at]})

    def half_of_total(self, scoring: Scoring) -> tuple[int, int]:
        """(how many of the highest samples carry half of the total, samples that are not NaN)."""
        shares = self._ranking(scoring).cumulative_shares()
        return (int(np.searchsorted(shares, 0.5)) if shares[-1] > 0 else 0), len(shares) - 1

    def by_field(self, scoring: Scoring, field: str, tau: float) -> pd.DataFrame:
        """value, samples, kept (above τ) and mean, for each value of a field, most samples first."""
        return self._frame(
            "SELECT f.value, count(*) AS samples, count(*) FILTER (s.value::DOUBLE > $tau::DOUBLE) AS kept, "
            "coalesce(avg(s.value), 'NaN'::DOUBLE) AS mean "
            "FROM scores s JOIN scorings g ON g.id = s.scoring JOIN facets f ON f.row = s.row "
            "WHERE g.run = $run AND g.arm = $arm AND g.seed = $seed AND g.epoch = $epoch AND g.metric = $metric "
            "AND f.dataset = $dataset AND f.field = $field GROUP BY f.value ORDER BY samples DESC, f.value",
            tau=tau,
            dataset=self._dataset(scoring.run),
            field=field,
            **vars(scoring),
        )

    def tau_at(self, scoring: Scoring, fraction: float) -> float | None:
        """The τ that keeps the highest `fraction`: the highest value that is not among them, None if all are."""
        ranking = self._ranking(scoring)
        first = ranking.count_of(fraction)
        return float(ranking.values[first]) if first < len(ranking.values) else None

    def kept_count(self, query: SampleQuery, fraction: float | None = None) -> Count:
        """How many samples `kept_rows` would hold, and their tokens."""
        ranking, positions, _ = self._kept(query, fraction)
        return Count(len(positions), int(ranking.lengths[positions].sum()))

    def kept_rows(self, query: SampleQuery, fraction: float | None = None) -> pa.Table:
        """The kept samples of a query in the order of their rows, with text: what an export writes.

        Columns: row, value (null for NaN), by_hand (kept only by a decision by hand), and the texts of a page.
        With `fraction` the threshold is not `query.tau`: what is kept are the first
        round(fraction · n) of the n samples that are not NaN, ties broken by row.
        """
        ranking, positions, by_threshold = self._kept(query, fraction)
        values = pa.array(ranking.values_at(positions), from_pandas=True)  # NaN becomes null
        kept = pa.table({"row": ranking.rows[positions], "value": values, "by_hand": ~by_threshold[positions]})
        with self._cursor() as cursor:
            cursor.register("kept", kept)
            rows = cursor.sql(
                "SELECT p.row, p.value, p.by_hand, " + ", ".join(TEXT) + " FROM kept p "
                "JOIN samples s ON s.dataset = $dataset AND s.row = p.row ORDER BY p.row",
                params={"dataset": self._dataset(query.scoring.run)},
            ).to_arrow_table()
        if rows.num_rows < kept.num_rows:
            raise WinnowError(
                f"{kept.num_rows - rows.num_rows} kept samples of run {query.scoring.run} have no text, because a "
                "part of its samples is missing or damaged; run `python -m engine doctor --rebuild`."
            )
        return rows

    def _kept(self, query: SampleQuery, fraction: float | None) -> tuple[Ranking, NDArray[np.int32], NDArray[np.bool_]]:
        """The ranking, the positions of the kept samples of a query, and what the threshold alone would keep."""
        found = self._result(query)
        ranking = found.ranking
        first = len(ranking.rows) if query.tau is None else ranking.count_above(query.tau)
        if fraction is not None:
            first = ranking.count_of(fraction)
        by_threshold = np.arange(len(ranking.rows)) < first
        kept = self._by_hand(query, ranking, by_threshold)
        return ranking, found.positions[kept[found.positions]], by_threshold
