"""Queries of distilled sets: what was learned, how it reads, and how it was evaluated.

A part may repeat what an earlier one holds, as when a set is distilled again: of each snapshot (always whole, in one
part) and of each evaluation the last record counts.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from engine.config.distillation import SetKey
from engine.storage.store.database import Database
from engine.storage.tables import DISTILLED_TOKENS, EVALUATION

KEY = ", ".join(SetKey._fields)
INPUT_COLUMNS = ["input", "label", "labels", "text", "changed", "length", "image", "near_rows", "near_values", "best"]
TOKEN_COLUMNS = [name for name in DISTILLED_TOKENS.names if name not in ("run", *SetKey._fields, "step")]
EVALUATION_COLUMNS = [name for name in EVALUATION.names if name != "run"]
MEASURED = f"{KEY}, method, trained, eval_seed"

LAST = (
    f"last AS (SELECT * FROM distilled WHERE run = $run QUALIFY part = max(part) OVER (PARTITION BY {KEY}, step)), "
    f"best_one AS (SELECT * FROM last WHERE best QUALIFY part = max(part) OVER (PARTITION BY {KEY}))"
)
"""Each snapshot as it was recorded last, and of them the best one of each set."""
OF_KEY = " AND ".join(f"{name} = ${name}" for name in SetKey._fields)


class DistillationQueries(Database):
    def distilled_sets(self, run: str) -> pd.DataFrame:
        """task, student, per_class, inner_steps, seed, step, inputs, changed, length: every finished set.

        `step` is that of its best snapshot, `inputs` how many it has; `changed` and `length` count the tokens of all
        of them. In the order in which the sets were first recorded.
        """
        return self._cached(
            run,
            ("distilled sets",),
            lambda: self._frame(
                f"WITH {LAST}, "
                f"first AS (SELECT {KEY}, min(rowid) AS place FROM distilled WHERE run = $run GROUP BY ALL) "
                f"SELECT {KEY}, any_value(step) AS step, count(*) AS inputs, sum(changed)::BIGINT AS changed, "
                f"sum(length)::BIGINT AS length FROM best_one JOIN first USING ({KEY}) "
                f"GROUP BY {KEY}, place ORDER BY place",
                run=run,
            ),
        ).copy()

    def snapshots(self, run: str, key: SetKey) -> list[int]:
        """The outer steps of which a set has a snapshot, ascending."""
        return [
            row["step"]
            for row in self._rows(
                f"SELECT DISTINCT step FROM distilled WHERE run = $run AND {OF_KEY} ORDER BY 1",
                run=run,
                **_named(key),
            )
        ]

    def distilled(self, run: str, key: SetKey, step: int | None = None) -> pd.DataFrame:
        """The inputs of one snapshot of a set, in the columns INPUT_COLUMNS; without `step`, of the best one.

        labels, near_rows and near_values are lists. Empty if there is no such snapshot.
        """
        source, values = ("best_one", {}) if step is None else ("last", {"step": step})
        return self._lists(
            f"WITH {LAST} SELECT {_quoted(INPUT_COLUMNS)} FROM {source} "
            f"WHERE {OF_KEY}{'' if step is None else ' AND step = $step'} ORDER BY input",
            INPUT_COLUMNS,
            run=run,
            **_named(key),
            **values,
        )

    def distilled_tokens(self, run: str, key: SetKey, step: int | None = None) -> pd.DataFrame:
        """input, position, start, nearest (list of tokens), similarity (list) of one snapshot; as `distilled`."""
        best = f"(SELECT any_value(step) FROM best_one WHERE {OF_KEY})"
        values = {} if step is None else {"step": step}
        return self._lists(
            f"WITH {LAST} SELECT {_quoted(TOKEN_COLUMNS)} FROM distilled_tokens "
            f"WHERE run = $run AND {OF_KEY} AND step = {best if step is None else '$step'} "
            "QUALIFY part = max(part) OVER () ORDER BY input, position",
            TOKEN_COLUMNS,
            run=run,
            **_named(key),
            **values,
        )

    def evaluations(self, run: str) -> pd.DataFrame:
        """Every evaluation, in the columns of `tables.EVALUATION` without the run, in the order first recorded.

        An evaluation (set, method, trained, eval_seed) is here once: if it was done again, the last
        record counts.
        """
        return self._cached(
            run,
            ("evaluations",),
            lambda: self._frame(
                f"WITH every AS (SELECT *, min(rowid) OVER (PARTITION BY {MEASURED}) AS place FROM evaluation "
                "  WHERE run = $run) "
                f"SELECT {_quoted(EVALUATION_COLUMNS)} FROM every QUALIFY row_number() OVER ("
                f"  PARTITION BY {MEASURED} ORDER BY part DESC) = 1 ORDER BY place",
                run=run,
            ),
        ).copy()

    def _lists(self, sql: str, columns: list[str], **values: Any) -> pd.DataFrame:
        """The result of one query as a frame whose lists are lists and whose pictures are bytes."""
        return pd.DataFrame(self._rows(sql, **values), columns=columns)


def _named(key: SetKey) -> dict[str, str | int]:
    """The parts of a key as plain values: one read from a frame holds NumPy numbers."""
    return SetKey(key.task, key.student, int(key.per_class), int(key.inner_steps), int(key.seed))._asdict()


def _quoted(columns: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
