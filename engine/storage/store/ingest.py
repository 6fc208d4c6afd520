"""How each table ingests parts and drops the rows of a run; all inside the caller's transaction."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from engine.storage.parts import Part, read_part
from engine.storage.store.schema import NUMBERED, PLAIN
from engine.storage.tables import SCHEMAS
from engine.storage.workspace import Workspace

ORDER = ("samples", "scores", "selections", *PLAIN, "token_scores", *NUMBERED)
FACET_VALUES = 100  # a field with more different values than this is text, not a facet


def drop(cursor: duckdb.DuckDBPyConnection, run: str, table: str) -> None:
    """Delete the rows of one run from one table, and the record that its parts were ingested."""
    statements = {
        "samples": [
            "DELETE FROM samples WHERE dataset IN (SELECT dataset FROM run_datasets WHERE run = $run)",
            "DELETE FROM facets WHERE dataset IN (SELECT dataset FROM run_datasets WHERE run = $run)",
            "DELETE FROM facet_values WHERE dataset IN (SELECT dataset FROM run_datasets WHERE run = $run)",
            "DELETE FROM run_datasets WHERE run = $run",
        ],
        "scores": [
            "DELETE FROM scores WHERE scoring IN (SELECT id FROM scorings WHERE run = $run)",
            "DELETE FROM scorings WHERE run = $run",
        ],
        "selections": [
            "DELETE FROM selections WHERE choice IN (SELECT id FROM choices WHERE run = $run)",
            "DELETE FROM choices WHERE run = $run",
        ],
        "token_scores": [
            "DELETE FROM token_rows WHERE part IN (SELECT id FROM token_parts WHERE run = $run)",
            "DELETE FROM token_parts WHERE run = $run",
        ],
    }.get(table, [f"DELETE FROM {table} WHERE run = $run"])
    for statement in statements:
        cursor.execute(statement, {"run": run})
    cursor.execute("DELETE FROM parts WHERE run = $run AND tbl = $table", {"run": run, "table": table})


def ingest(workspace: Workspace, cursor: duckdb.DuckDBPyConnection, run: str, table: str, parts: list[Part]) -> None:
    """Ingest whole parts of one table of one run, and record that they were ingested."""
    paths = [part.path(workspace) for part in parts]
    if table == "token_scores":
        _ingest_token_rows(cursor, run, parts, paths)
    elif table in NUMBERED:
        _ingest_numbered(cursor, run, table, paths)
    else:
        incoming = ds.dataset([str(path) for path in paths], schema=SCHEMAS[table], format="parquet")
        cursor.register("incoming", incoming)
        if table in PLAIN:
            cursor.execute(f"INSERT INTO {table} SELECT i.* REPLACE ($run AS run) FROM incoming i", {"run": run})
        else:
            {"samples": _ingest_samples, "scores": _ingest_scores, "selections": _ingest_selections}[table](cursor, run)
        cursor.unregister("incoming")
    ingested = {
        "run": [run] * len(parts),
        "tbl": [table] * len(parts),
        "name": [part.name for part in parts],
        "sha256": [part.sha256 for part in parts],
    }
    _insert(cursor, "parts", pa.table(ingested))


def compact(cursor: duckdb.DuckDBPyConnection, run: str) -> None:
    """Sort the scores that came in several ingests into the order in which they are read, without reading a part again.

    A compacted scoring gets a new number, which tells its sorted rows from the unsorted ones until these are deleted.
    """
    several = "(SELECT id FROM scorings WHERE run = $run AND ingests > 1)"
    for statement in (
        f"INSERT INTO scores SELECT -scoring, row, value FROM scores WHERE scoring IN {several} "
        "ORDER BY -scoring, value DESC NULLS LAST, row",
        f"DELETE FROM scores WHERE scoring IN {several}",
        "UPDATE scorings SET id = -id, ingests = 1 WHERE run = $run AND ingests > 1",
    ):
        cursor.execute(statement, {"run": run})


def _ingest_samples(cursor: duckdb.DuckDBPyConnection, run: str) -> None:
    """Samples belong to a dataset, which several runs may share: rows that are there already are skipped.

    The cost grows with the new rows only, however many there are already: a run of millions of samples has them in
    thousands of parts.
    """
    spans = cursor.execute("SELECT dataset, min(row), max(row) FROM incoming GROUP BY dataset").fetchall()
    for name, low, high in spans:
        dataset = _dataset(cursor, name)
        # The bounds let DuckDB skip every row group of samples that were ingested before.
        fresh = (
            "incoming i WHERE i.dataset = $name AND NOT EXISTS (SELECT 1 FROM samples s "
            "WHERE s.dataset = $dataset AND s.row = i.row AND s.row BETWEEN $low AND $high)"
        )
        values = {"name": name, "dataset": dataset, "low": low, "high": high}
        _ingest_facets(cursor, fresh, values)
        cursor.execute(
            "INSERT INTO samples SELECT $dataset, i.row, content_id, split, instruction, input, response, "
            "coalesce(system, ''), turns, coalesce(fields, MAP {}), length, response_length, truncated, image, label "
            f"FROM {fresh}",
            values,
        )
        cursor.execute("DELETE FROM run_datasets WHERE run = $run", {"run": run})
        cursor.execute("INSERT INTO run_datasets VALUES ($run, $dataset)", {"run": run, "dataset": dataset})


def _ingest_facets(cursor: duckdb.DuckDBPyConnection, fresh: str, values: dict[str, object]) -> None:
    """Record which sample has which value of each field, unless the field is text."""
    entries = f"(SELECT i.row, unnest(map_entries(i.fields)) AS entry FROM {fresh})"
    texts = "(SELECT field FROM facet_values WHERE dataset = $dataset GROUP BY field HAVING count(*) > $most)"
    values = values | {"most": FACET_VALUES}
    cursor.execute(
        "INSERT INTO facet_values SELECT $dataset, found.* FROM ("
        f"  SELECT DISTINCT entry.key AS field, entry.value AS value FROM {entries} "
        f"  WHERE entry.value IS NOT NULL AND entry.key NOT IN {texts}) found "
        "WHERE NOT EXISTS (SELECT 1 FROM facet_values k "
        "  WHERE k.dataset = $dataset AND (k.field, k.value) = (found.field, found.value)) "
        "QUALIFY row_number() OVER (PARTITION BY field) <= $most + 1",
        values,
    )
    cursor.execute(
        f"DELETE FROM facets WHERE dataset = $dataset AND field IN {texts}",
        {"dataset": values["dataset"], "most": FACET_VALUES},
    )
    cursor.execute(
        f"INSERT INTO facets SELECT $dataset, entry.key, entry.value, row FROM {entries} "
        f"WHERE entry.value IS NOT NULL AND entry.key NOT IN {texts} ORDER BY ALL",
        values,
    )


def _dataset(cursor: duckdb.DuckDBPyConnection, name: str) -> int:
    found = cursor.execute("SELECT id FROM datasets WHERE name = $name", {"name": name}).fetchall()
    if found:
        return int(found[0][0])
    (made,) = cursor.execute(
        "INSERT INTO datasets VALUES (nextval('ids'), $name) RETURNING id", {"name": name}
    ).fetchall()
    return int(made[0])


def _ingest_scores(cursor: duckdb.DuckDBPyConnection, run: str) -> None:
    """Sort scores as they are read: ranking by ranking, the highest first, NaN (stored as NULL) last."""
    new = cursor.sql("SELECT arm, seed, epoch, metric, count(*) AS samples FROM incoming GROUP BY ALL").to_arrow_table()
    cursor.register("new", new)
    cursor.execute(
        "INSERT INTO scorings SELECT nextval('ids'), $run, arm, seed, epoch, metric, 0, 0 FROM new WHERE NOT EXISTS "
        "(SELECT 1 FROM scorings s WHERE s.run = $run AND (s.arm, s.seed, s.epoch, s.metric) = "
        "(new.arm, new.seed, new.epoch, new.metric))",
        {"run": run},
    )
    cursor.execute(
        "UPDATE scorings SET samples = scorings.samples + new.samples, ingests = ingests + 1 FROM new "
        "WHERE run = $run AND "
        "(scorings.arm, scorings.seed, scorings.epoch, scorings.metric) = (new.arm, new.seed, new.epoch, new.metric)",
        {"run": run},
    )
    cursor.unregister("new")
    cursor.execute(
        "INSERT INTO scores SELECT s.id, i.row, CASE WHEN isfinite(i.value) THEN i.value END AS value "
        "FROM incoming i JOIN scorings s USING (arm, seed, epoch, metric) WHERE s.run = $run "
        "ORDER BY s.id, value DESC NULLS LAST, i.row",
        {"run": run},
    )


def _ingest_selections(cursor: duckdb.DuckDBPyConnection, run: str) -> None:
    cursor.execute(
        "INSERT INTO choices SELECT nextval('ids'), $run, i.* "
        "FROM (SELECT arm, seed, epoch, max(tau) FROM incoming GROUP BY ALL) i WHERE NOT EXISTS "
        "(SELECT 1 FROM choices c WHERE c.run = $run AND (c.arm, c.seed, c.epoch) = (i.arm, i.seed, i.epoch))",
        {"run": run},
    )
    cursor.execute(
        "INSERT INTO selections SELECT c.id, i.row, i.kept FROM incoming i JOIN choices c USING (arm, seed, epoch) "
        "WHERE c.run = $run ORDER BY c.id, i.row",
        {"run": run},
    )


def _ingest_numbered(cursor: duckdb.DuckDBPyConnection, run: str, table: str, paths: list[Path]) -> None:
    """Rows get the number of their part, so that of rows that were recorded again the last ones can be found."""
    for path in paths:
        cursor.register("incoming", read_part(path, table))
        cursor.execute(
            f"INSERT INTO {table} "
            "SELECT p.id, i.* REPLACE ($run AS run) FROM incoming i, (SELECT nextval('ids') AS id) p",
            {"run": run},
        )
        cursor.unregister("incoming")


def _ingest_token_rows(cursor: duckdb.DuckDBPyConnection, run: str, parts: list[Part], paths: list[Path]) -> None:
    """Token scores stay in their parts; the store only records in which row group of which part a sample is."""
    for part, path in zip(parts, paths, strict=True):
        (made,) = cursor.execute(
            "INSERT INTO token_parts VALUES (nextval('ids'), $run, $name) RETURNING id", {"run": run, "name": part.name}
        ).fetchall()
        _insert(cursor, "token_rows", _token_rows(path, int(made[0])))


def _token_rows(path: Path, part: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        keys = file.read(columns=["epoch", "row"])
    groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return pa.table(
        {
            "part": pa.repeat(pa.scalar(part, pa.int32()), keys.num_rows),
            "epoch": keys.column("epoch"),
            "row": keys.column("row"),
            "row_group": groups,
        }
    )


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Append the rows of an Arrow table; `table` is one of the schema, never a name from outside."""
    cursor.register("incoming", rows)
    cursor.execute(f"INSERT INTO {table} SELECT * FROM incoming")
    cursor.unregister("incoming")
