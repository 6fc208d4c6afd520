"""Export of what is kept: the samples as Parquet or JSONL, and a manifest that says how they were selected.

out/data.parquet (or data.jsonl)   the kept samples under the columns of their source, and three of Winnow's
out/manifest.json                  run, metric, τ, decisions by hand, hashes, versions
out/README.md                      a dataset card, so that `datasets.load_dataset(out)` finds the data file
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.analysis.rankings import metric_of, pruning_recipe
from engine.common.atomic import write_folder_atomically
from engine.common.errors import WinnowError
from engine.common.hashing import file_sha256
from engine.config.kinds import KD, KINDS
from engine.config.rankings import SIGNED_METRICS
from engine.storage.ledger import Ledger, Run
from engine.storage.store import SampleQuery, Scoring, Store
from engine.storage.workspace import Workspace

Format = Literal["parquet", "jsonl"]
ROLES = ("instruction", "input", "response", "system")
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def export_run(
    workspace: Workspace,
    ledger: Ledger,
    store: Store,
    run: str,
    *,
    out: Path,
    tau: float | None = None,
    fraction: float | None = None,
    scoring: Scoring | None = None,
    overrides: dict[str, str] | None = None,
    query: SampleQuery | None = None,
    format: Format = "parquet",
) -> dict[str, Any]:
    """Write the kept samples of a run into the folder `out`, which must not hold anything yet; return the manifest.

    Kept is what is above `tau`, or the highest `fraction` in (0, 1] of the samples that have a score (exactly
    round(fraction · n), ties broken by row), changed by `overrides` (content id to "keep" or "prune";
    default: the ledger's). `scoring` is that of `query`, else the run's own metric before any training.
    `query` narrows the export to what its search, facets and range let through.

    The columns winnow_row (position in the source), winnow_score and winnow_kept_by ("threshold" or "hand") are added.
    Raises WinnowError if tau or fraction is out of range, nothing is kept, or `out` cannot be
    written; nothing is left behind.
    """
    if (tau is None) == (fraction is None):
        raise WinnowError("An export needs either tau or a fraction, one of the two.")
    if tau is not None and not math.isfinite(tau):
        raise WinnowError(f"tau is {tau}; it must be a finite number.")
    if fraction is not None and not 0 < fraction <= 1:
        raise WinnowError(f"The fraction is {fraction}; it is the part that is kept, above 0 and at most 1.")
    if out.resolve().is_relative_to(workspace.root.resolve()):
        workspace.require_writable("write an export into it")

    found = ledger.run(run)
    scoring = scoring or (query.scoring if query else default_scoring(store, found))
    if tau is not None and tau < 0 and scoring.metric not in SIGNED_METRICS:
        raise WinnowError(f"tau is {tau}; it must be at least 0, as no {scoring.metric} is below.")
    if overrides is None:
        overrides = {key: word.decision for key, word in ledger.overrides().items() if word.decision}
    query = replace(
        query or SampleQuery(scoring), scoring=scoring, tau=tau, show="all", overrides=tuple(sorted(overrides.items()))
    )
    if store.kept_count(query, fraction).samples == 0:
        raise WinnowError(_nothing(store, query, fraction))
    rows = store.kept_rows(query, fraction)
    data = with_source_columns(rows, source_names(found))
    manifest = describe(store, found, query, fraction, rows)
    return _write(out, data, manifest, format)


def default_scoring(store: Store, run: Run) -> Scoring:
    """The run's own metric before any training, which does not depend on a seed."""
    if run.kind == KD.name:
        raise WinnowError(
            f"Run {run.id} keeps another set for every score and fraction; "
            f"`python -m engine table {run.id} selections --out kept.parquet` lists the rows of each."
        )
    if not KINDS[run.kind].scores_text:
        raise WinnowError(f"Run {run.id} has scored no samples, so there is nothing to export.")
    return store.scoring(run.id, -1, 1, metric_of(run))


def source_names(run: Run) -> dict[str, str]:
    """What each role is called in the source; a role the source has no column for is left out."""
    columns: dict[str, str] | None = run.provenance.get("columns")
    if columns is not None:
        return {role: columns[role] for role in ROLES if columns.get(role)}
    mapped = run.recipe["data"]["columns"]
    return {role: mapped[role] or role for role in ROLES if role != "system"}


def with_source_columns(rows: pa.Table, names: dict[str, str]) -> pa.Table:
    """The kept samples as their source had them: its text columns, its other fields as text, and Winnow's three.

    Conversations are lists of role and content, in the column that held them, or in `messages` if they were spread over
    several columns.
    """
    turns = rows.column("turns")
    columns: dict[str, Any] = {name: rows.column(role) for role, name in names.items()}
    if turns.null_count < len(turns):
        whole = names["response"] if not names.get("instruction") else "messages"
        columns = {whole: pa.array([_messages(each) for each in turns.to_pylist()], MESSAGES)}
    winnow = {
        "winnow_row": rows.column("row"),
        "winnow_score": rows.column("value"),
        "winnow_kept_by": pc.if_else(rows.column("by_hand"), "hand", "threshold"),
    }
    fields = rows.column("fields")
    for key in _keys(fields):
        name = key
        while name in columns or name in winnow:  # the source may be an earlier export
            name += "_"
        columns[name] = pc.map_lookup(fields, key, "first")
    return pa.table(columns | winnow)


def _messages(turns: list[dict[str, str]] | None) -> list[dict[str, str]] | None:
    return turns and [{"role": turn["speaker"], "content": turn["text"]} for turn in turns]


def _keys(fields: pa.ChunkedArray) -> list[str]:
    """Every key of a column of maps, in the order they first appear."""
    keys = [chunk.keys for chunk in fields.chunks]
    return pc.unique(pa.chunked_array(keys, pa.string())).to_pylist() if keys else []


def describe(store: Store, run: Run, query: SampleQuery, fraction: float | None, rows: pa.Table) -> dict[str, Any]:
    """Everything another person needs to know about what was kept, and to choose it again."""
    scored = store.count(SampleQuery(query.scoring)).samples
    by_hand = int(pc.sum(rows.column("by_hand")).as_py())
    by_rule = store.kept_count(replace(query, overrides=()), fraction).samples
    tau = query.tau if fraction is None else store.tau_at(query.scoring, fraction)
    recipe = pruning_recipe(run)
    decided = store.page(replace(query, by_hand="any"), 0, scored) if query.overrides else None
    return {
        "run": run.id,
        "kind": run.kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "metric": query.scoring.metric,
        "arm": query.scoring.arm,
        "seed": query.scoring.seed,
        "epoch": query.scoring.epoch,
        "tau": tau,
        "fraction": fraction,
        "tau_growth": recipe.pruning.tau_growth if recipe else None,
        "counts": {
            "scored": scored,
            "kept": rows.num_rows,
            "kept_by_threshold": rows.num_rows - by_hand,
            "kept_by_hand": by_hand,
            "pruned_by_hand": by_rule - (rows.num_rows - by_hand),
            "tokens": int(pc.sum(rows.column("length")).as_py()),
        },
        "share": rows.num_rows / scored,
        "overrides": {} if decided is None else dict(zip(decided["content_id"], decided["decision"], strict=True)),
        "query": {
            "search": query.search,
            "facets": [asdict(facet) for facet in query.facets],
            "low": query.low,
            "high": query.high,
            "by_hand": query.by_hand,
        },
        "recipe": run.recipe,
        "provenance": {key: value for key, value in run.provenance.items() if key != "recipe"},
    }


def _nothing(store: Store, query: SampleQuery, fraction: float | None) -> str:
    scoring = query.scoring
    (highest,) = store.quantiles(scoring, [1.0])
    if math.isnan(highest):
        return f"No sample of run {scoring.run} has a {scoring.metric} score, so there is nothing to export."
    if query.tau is not None and query.tau >= highest:
        return (
            f"No sample of run {scoring.run} has {scoring.metric} above tau = {query.tau:g} (the highest is "
            f"{highest:.4g}), so there is nothing to export; lower tau."
        )
    if fraction is not None and store.kept_count(SampleQuery(scoring), fraction).samples == 0:
        return f"A fraction of {fraction:g} of the samples of run {scoring.run} is less than one sample; raise it."
    return (
        f"Every kept sample of run {scoring.run} was pruned by hand or filtered out, so there is nothing to export; "
        "remove a filter."
    )


def _write(out: Path, data: pa.Table, manifest: dict[str, Any], format: Format) -> dict[str, Any]:
    def fill(folder: Path) -> None:
        file = folder / f"data.{format}"
        if format == "parquet":
            pq.write_table(data, file, compression="zstd")
        else:
            _write_lines(file, data)
        manifest["data"] = described(file) | {"rows": data.num_rows, "columns": data.column_names}
        write_words(folder, manifest, _card(manifest))

    write_folder(out, fill)
    return manifest


def write_folder(out: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill(folder)` write everything that `out` will hold; `out` appears atomically.

    Raises WinnowError if `out` holds something already or cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise WinnowError(f"{out} already holds something; name a folder that is empty or does not exist.")
    try:
        write_folder_atomically(out, fill)
    except OSError as error:
        raise WinnowError(
            f"The export could not be written to {out} ({error.strerror or error}); free some disk space or name "
            "another folder."
        ) from error


def described(file: Path) -> dict[str, Any]:
    """What a manifest says of any file beside it."""
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": file_sha256(file)}


def write_words(folder: Path, manifest: dict[str, Any], card: str) -> None:
    """The manifest, and the dataset card."""
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write_lines(file: Path, data: pa.Table) -> None:
    with file.open("w", encoding="utf-8") as handle:
        for batch in data.to_batches(max_chunksize=10_000):
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())


def _card(manifest: dict[str, Any]) -> str:
    counts = manifest["counts"]
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files: {manifest['data']['file']}\n---\n\n"
        f"{counts['kept']:,} of {counts['scored']:,} samples, kept by {manifest['metric']}; "
        "`manifest.json` says how they were selected.\n"
    )
