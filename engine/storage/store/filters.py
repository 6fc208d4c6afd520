"""Rankings and filters: which samples of a ranking a query lets through.

SQL finds rows by their content, once for each search text and each facet; the ranking orders them. So turning a page,
moving τ and counting read no text again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.storage.store.database import Database
from engine.storage.store.queries import SampleQuery, Scoring
from engine.storage.store.ranking import Ranking


@dataclass(frozen=True, eq=False)
class QueryResult:
    """The result of a query, with the ranking it was found in: a later ranking may be longer."""

    ranking: Ranking
    positions: NDArray[np.int32]  # in the ranking, in the order of the query
    kept: NDArray[np.bool_]  # (n + m,) by position: kept by the threshold or by hand

    @property
    def nbytes(self) -> int:
        return self.positions.nbytes + self.kept.nbytes


class Filters(Database):
    def _ranking(self, scoring: Scoring) -> Ranking:
        return self._cached(scoring.run, ("ranking", scoring), lambda: self._read_ranking(scoring))

    def _read_ranking(self, scoring: Scoring) -> Ranking:
        with self._cursor() as cursor:  # one for both: a compacted scoring gets another number
            known = cursor.execute(
                "SELECT id FROM scorings WHERE run = $run AND arm = $arm AND seed = $seed AND epoch = $epoch "
                "AND metric = $metric",
                vars(scoring),
            ).fetchall()
            if not known:
                raise WinnowError(
                    f"Run {scoring.run} has no {scoring.metric} scores of arm {scoring.arm}, seed {scoring.seed}, "
                    f"epoch {scoring.epoch}; choose another epoch, or wait until the run has come that far."
                )
            found = cursor.sql(
                "SELECT row, coalesce(value, 'NaN'::FLOAT) FROM scores WHERE scoring = $scoring",
                params={"scoring": known[0][0]},
            ).to_arrow_table()
        rows, values = (column.to_numpy() for column in found.columns)
        return Ranking.of(rows, values, _at(self._lengths(scoring.run), rows))

    def _lengths(self, run: str) -> NDArray[np.int32]:
        """Tokens of every sample of the run's dataset, by row."""

        def read() -> NDArray[np.int32]:
            rows, tokens = self._columns(
                "SELECT row, length FROM samples WHERE dataset = $dataset", dataset=self._dataset(run)
            )
            lengths = np.zeros(rows.max() + 1 if len(rows) else 0, dtype=np.int32)
            lengths[rows] = tokens
            return lengths

        return self._cached(run, ("lengths",), read, "samples")

    def _result(self, query: SampleQuery) -> QueryResult:
        """The samples that a query lets through, in its order."""
        return self._cached(query.scoring.run, ("result", query), lambda: self._compute(query))

    def _compute(self, query: SampleQuery) -> QueryResult:
        ranking = self._ranking(query.scoring)
        kept = np.arange(len(ranking.rows)) < (
            len(ranking.rows) if query.tau is None else ranking.count_above(query.tau)
        )
        kept = self._by_hand(query, ranking, kept)
        passes = np.ones(len(ranking.rows), dtype=bool)
        if query.low is not None:
            passes[ranking.count_from(query.low) :] = False
        if query.high is not None:
            passes[: ranking.count_above(query.high)] = False
            passes[len(ranking.values) :] = False
        if query.show != "all":
            passes &= kept == (query.show == "kept")
        run = query.scoring.run
        if query.search:
            passes &= _at(self._rows_with(run, query.search), ranking.rows)
        wanted_of: dict[str, NDArray[np.bool_]] = {}  # by field: a sample with any of the values asked for
        for facet in query.facets:
            has = _at(self._rows_of_facet(run, facet.field, facet.value), ranking.rows)
            if facet.negate:
                passes &= ~has
            else:
                wanted_of[facet.field] = has | wanted_of.get(facet.field, False)
        for has in wanted_of.values():
            passes &= has
        if query.by_hand:
            wanted = ("keep", "prune") if query.by_hand == "any" else (query.by_hand,)
            decided = self._decided(query)
            passes &= np.isin(ranking.rows, [row for decision in wanted for row in decided[decision]])
        positions = np.flatnonzero(passes).astype(np.int32)
        if not query.descending:
            known = int(np.searchsorted(positions, len(ranking.values)))  # NaNs stay last
            positions = np.concatenate([positions[:known][::-1], positions[known:]])
        return QueryResult(ranking, positions, kept)

    def _by_hand(self, query: SampleQuery, ranking: Ranking, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is kept by the threshold, changed by decisions by hand."""
        if not query.overrides:
            return kept
        decided = self._decided(query)
        return (kept | np.isin(ranking.rows, decided["keep"])) & ~np.isin(ranking.rows, decided["prune"])

    def _decided(self, query: SampleQuery) -> dict[str, list[int]]:
        """The rows kept and pruned by hand; several rows may have one text."""
        decisions = dict(query.overrides)

        def find() -> dict[str, list[int]]:
            found = self._rows(
                "SELECT row, content_id FROM samples "
                "WHERE dataset = $dataset AND content_id IN (SELECT unnest($ids::VARCHAR[]))",
                dataset=self._dataset(query.scoring.run),
                ids=list(decisions),
            )
            return {
                decision: [row["row"] for row in found if decisions[row["content_id"]] == decision]
                for decision in ("keep", "prune")
            }

        return self._cached(query.scoring.run, ("decided", query.overrides), find, "samples")

    def _rows_with(self, run: str, text: str) -> NDArray[np.bool_]:
        """Which rows have this text in them, by row."""
        return self._mask(
            run,
            ("search", text),
            "SELECT row FROM samples WHERE dataset = $dataset AND (contains(lower(instruction), lower($text)) "
            "OR contains(lower(input), lower($text)) OR contains(lower(response), lower($text)) "
            "OR contains(lower(system), lower($text)))",
            {"text": text},
        )

    def _rows_of_facet(self, run: str, field: str, value: str) -> NDArray[np.bool_]:
        return self._mask(
            run,
            ("facet", field, value),
            "SELECT row FROM facets WHERE dataset = $dataset AND field = $field AND value = $value",
            {"field": field, "value": value},
        )

    def _mask(self, run: str, key: tuple[str, ...], sql: str, values: dict[str, Any]) -> NDArray[np.bool_]:
        """The rows that `sql` finds, as one boolean for every row up to the last of them."""

        def find() -> NDArray[np.bool_]:
            (rows,) = self._columns(sql, dataset=self._dataset(run), **values)
            mask = np.zeros(rows.max() + 1 if len(rows) else 0, dtype=bool)
            mask[rows] = True
            return mask

        return self._cached(run, ("mask", *key), find, "samples")


def _at(by_row: NDArray[Any], rows: NDArray[np.int32]) -> NDArray[Any]:
    """`by_row[rows]`, and 0 for a row beyond it."""
    if len(rows) and rows.max() >= len(by_row):
        by_row = np.append(by_row, np.zeros(rows.max() + 1 - len(by_row), dtype=by_row.dtype))
    return by_row[rows]
