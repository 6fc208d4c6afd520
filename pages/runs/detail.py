"""One run opened: its state, its recipe, its provenance, its log."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from engine.analysis import cluster, run_labels
from engine.common.text import escape_text
from engine.config.kinds import KINDS, SCORE
from engine.config.toml import as_toml, flat
from engine.storage.ledger import Run
from pages.shared import links, run_list, session
from pages.shared.escape import escape_markdown

LOG_LINES, LOG_BYTES = 200, 100_000

LABELS = {
    "device": "device",
    "dtype": "number format",
    "tau": "first τ, as resolved",
    "tau_max": "ceiling of τ, as resolved",
    "dataset": "dataset",
    "template_hash": "prompt template, hash",
    "tokenizer_hash": "tokenizer, hash",
    "teacher_hash": "teacher, hash",
    "student_hash": "student, hash",
    "teacher_own_logits": "teacher scored through its own logits, because",
    "student_own_logits": "student scored through its own logits, because",
    "states": "projection of the teacher's states",
    "template": "prompt template",
    "not_a_number": "rows without a score",
    "cluster.address": "address of the cluster",
    "cluster.workers": "workers at once",
    "cluster.nodes": "nodes of the cluster",
}


def header(run: Run) -> None:
    """What it did and when, its error if there was one, and links to its results."""
    parts = [run_labels.subject(run), run_labels.where(run), f"submitted {run_labels.ago(run.created)}"]
    if took := run_labels.took(run):
        parts.append(f"{'has taken' if run_labels.active(run) else 'took'} {took}")
    st.caption(escape_markdown(" · ".join(part for part in parts if part)))
    if run.error:
        st.error(escape_markdown(run.error), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center"):
        kind = KINDS[run.kind]
        if kind.scores_text:
            links.show("samples", "See its samples", run=run.id)
        if kind.page and kind is not SCORE:
            links.results(run, "See what it found")
        run_list.actions(run, "detail")


def recipe(run: Run) -> None:
    st.caption("All settings of this run, defaults included. Saved as a file, it can be run again.")
    st.code(escape_text(as_toml(run.recipe)), language="toml")


def provenance(run: Run) -> None:
    """What the engine recorded, one fact a line; the recipe has a view of its own."""
    recorded = {key: value for key, value in run.provenance.items() if key != "recipe"}
    if not recorded:
        st.caption("Nothing is recorded yet: hashes, versions and the device are recorded when the run begins.")
        return
    if nodes := recorded.get("cluster", {}).get("nodes"):
        named = [f"{node['name']}: {cluster.machine(node)}" for node in nodes]
        recorded["cluster"] = {**recorded["cluster"], "nodes": "; ".join(named)}
    times = {"submitted": run.created, "started": run.started, "ended": run.finished}
    stamps = {name: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) for name, at in times.items() if at}
    facts(stamps | {_label(key): _shown(value) for key, value in flat(recorded).items()})


def _label(key: str) -> str:
    """`version of torch` for `versions.torch`, and so on; a key without a label is shown as it is."""
    for table, label in (("versions.", "version of "), ("columns.", "column of the ")):
        if key.startswith(table):
            return label + key.removeprefix(table)
    return LABELS.get(key, key.replace("_", " "))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def facts(pairs: Mapping[str, str]) -> None:
    """Names and values in two columns; both are shown as plain text."""
    lines = "".join(
        f'<dt style="opacity:.65;margin:0;padding:0">{html.escape(escape_text(name))}</dt>'
        f'<dd style="margin:0;padding:0;overflow-wrap:anywhere">{html.escape(escape_text(value))}</dd>'
        for name, value in pairs.items()
    )
    style = "display:grid;grid-template-columns:minmax(8rem,14rem) 1fr;gap:.35rem 1rem;margin:0;padding:0"
    st.html(f'<dl style="{style}">{lines}</dl>')


def log(run: Run) -> None:
    """The end of the run's log; while the run is active, refreshed by itself."""
    path = session.ledger().log_path(run.id)

    @st.fragment(run_every=run_list.EVERY if run_labels.active(run) else None)
    def show() -> None:
        text = tail(path)
        if text:
            with st.container(height=420, border=False, autoscroll=True):  # the newest lines are the last ones
                st.code(escape_text(text), language=None, wrap_lines=True)
        else:
            st.caption("There is no log yet.")

    show()


def tail(path: Path) -> str:
    """The last lines of a file; "" if there is none. Bytes that are not UTF-8 are shown as �."""
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - LOG_BYTES))
        text = handle.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-LOG_LINES:])
