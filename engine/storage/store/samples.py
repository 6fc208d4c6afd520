"""Queries of the samples themselves: their text, their fields, their tokens, their states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.common.errors import WinnowError
from engine.storage import former
from engine.storage.parts import part_path
from engine.storage.store.database import Database
from engine.storage.tables import TOKEN_SCORES

TOKEN_COLUMNS = [name for name in TOKEN_SCORES.names if name not in ("run", "epoch", "row")]


class SampleQueries(Database):
    def splits(self, run: str) -> pd.DataFrame:
        """split, samples, tokens, truncated (samples cut to the context) of the run's dataset."""
        return self._frame(
            "SELECT split, count(*) AS samples, sum(length)::BIGINT AS tokens, "
            "count(*) FILTER (truncated) AS truncated FROM samples s JOIN run_datasets d ON d.dataset = s.dataset "
            "WHERE d.run = $run GROUP BY split ORDER BY split",
            run=run,
        )

    def sample(self, run: str, row: int) -> dict[str, Any] | None:
        """One sample: row, content_id, split, instruction, input, response, system, turns (speaker and text of each,
        None if it is no conversation), fields, length, response_length, truncated, label (None in instruction sets) and
        has_image.

        None if the run's dataset has no such row.
        """
        found = self._rows(
            "SELECT row, content_id, split, instruction, input, response, system, turns, fields, length, "
            "response_length, truncated, label, image IS NOT NULL AS has_image "
            "FROM samples s JOIN run_datasets d ON d.dataset = s.dataset WHERE d.run = $run AND s.row = $row",
            run=run,
            row=row,
        )
        return found[0] if found else None

    def facets(self, run: str, most: int = 20) -> pd.DataFrame:
        """field, value, samples: the fields of the run's scored samples that have at most `most` different values.

        Before anything has been scored every sample counts.
        """
        return self._cached(
            run,
            ("facets", most),
            lambda: self._frame(
                "WITH first AS (SELECT min(id) AS id FROM scorings WHERE run = $run), "
                "scored AS (SELECT row FROM scores WHERE scoring = (SELECT id FROM first)), "
                "counted AS ("
                "  SELECT f.field, f.value, count(*) AS samples FROM facets f "
                "  JOIN run_datasets d ON d.dataset = f.dataset WHERE d.run = $run "
                "  AND ((SELECT id FROM first) IS NULL OR f.row IN (SELECT row FROM scored)) GROUP BY ALL) "
                "SELECT field, value, samples FROM counted "
                "WHERE field IN (SELECT field FROM counted GROUP BY field HAVING count(*) <= $most) "
                "ORDER BY field, samples DESC, value",
                run=run,
                most=most,
            ),
        )

    def states(self, run: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows (n,), ascending, and the teacher's projected mean state over the response of each, (n, 64).

        Both are empty if the run has none, as those of earlier versions.
        """
        rows, states = self._columns("SELECT row, state FROM states WHERE run = $run ORDER BY row", run=run)
        return rows, states

    def token_scores(self, run: str, epoch: int, row: int) -> dict[str, Any] | None:
        """The token scores of one sample in one epoch, read from their part; None if they were not recorded.

        Lists of one length: tokens, response (whether the prediction belongs to a response), kl (nats), teacher_tokens,
        teacher_probs, student_tokens, student_probs; and turns (speaker and first token of each; None if it is no
        conversation).
        Raises WinnowError if the part is missing or damaged.
        """
        found = self._rows(
            "SELECT p.name, r.row_group FROM token_rows r JOIN token_parts p ON p.id = r.part "
            "WHERE p.run = $run AND r.epoch = $epoch AND r.row = $row",
            run=run,
            epoch=epoch,
            row=row,
        )
        if not found:
            return None
        path = part_path(self.workspace, run, "token_scores", found[0]["name"])
        try:
            with pq.ParquetFile(path) as file:
                group = file.read_row_group(found[0]["row_group"])
        except (OSError, pa.ArrowInvalid) as error:
            raise WinnowError(
                f"The part {path} is missing or damaged; `python -m engine doctor --rebuild` has its run make it again."
            ) from error
        place = group.column("row").to_pylist().index(row)
        mine = former.with_response(group.slice(place, 1))
        return {name: mine.column(name)[0].as_py() for name in TOKEN_COLUMNS}
