"""Export of what is on the screen: the kept samples with their manifest, and the report for people without the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import streamlit as st

from engine.common import formats
from engine.common.formats import share
from engine.config.rankings import RANKINGS
from engine.export.samples import export_run
from engine.storage.store import Count, SampleQuery, Store
from pages.shared import download, report, session
from pages.shared.escape import escape_markdown

FORMATS: dict[str, Literal["parquet", "jsonl"]] = {"Parquet": "parquet", "JSONL": "jsonl"}


def draw(query: SampleQuery) -> None:
    """The button and what it opens, for the threshold and the filters of `query`."""
    panel = st.popover("Export what is kept", icon=":material/download:", on_change="rerun", key="take_away")
    if not panel.open:
        return
    with panel, session.show_errors():
        store = session.store()
        _data(store, query)
        st.space("small")
        _report(store, query)


def _data(store: Store, query: SampleQuery) -> None:
    filtered = replace(query, show="all")
    exported = unfiltered(query)
    kept, narrowed = store.kept_count(exported), store.kept_count(filtered)
    counted = kept
    scored = store.count(SampleQuery(query.scoring)).samples
    st.markdown(f"**{kept.samples:,} of {formats.count(scored, 'sample')}** are kept ({share(kept.samples, scored)}).")
    if filtered != exported and st.toggle(
        f"Only the {narrowed.samples:,} of them that match the filters", key="take_filtered", bind="query-params"
    ):
        exported, counted = filtered, narrowed
    if not counted.samples:
        st.caption("There is nothing to export: lower the threshold, or clear a filter.")
        return
    form = st.segmented_control(
        "Format", list(FORMATS), default="Parquet", required=True, key="take_format", bind="query-params",
        help="Both open with `datasets.load_dataset`; JSONL can be read in any editor.",
    )  # fmt: skip
    download.button(
        f"Download {formats.count(counted.samples, 'sample')}", writer(store, exported, FORMATS.get(form, "parquet")),
        f"{query.scoring.run}-kept", key="take_data",
    )  # fmt: skip
    by_hand = store.count(replace(exported, by_hand="any")).samples
    st.caption(escape_markdown(manifest_sentence(exported, counted, by_hand)))


def unfiltered(query: SampleQuery) -> SampleQuery:
    """The same threshold and decisions by hand, without filters."""
    return SampleQuery(query.scoring, tau=query.tau, descending=query.descending, overrides=query.overrides)


def manifest_sentence(query: SampleQuery, counted: Count, by_hand: int) -> str:
    """What the manifest beside the data records, in a sentence. Plain text."""
    scoring = query.scoring
    when = "before any training" if scoring.epoch == 1 else f"epoch {scoring.epoch}, seed {scoring.seed}"
    parts = [f"run {scoring.run}", f"{RANKINGS[scoring.metric]} ({when})"]
    if query.tau is not None:
        parts.append(f"τ = {formats.value(query.tau, 4)}")
    if by_hand:
        parts.append(formats.count(by_hand, "decision by hand", "decisions by hand"))
    if query != unfiltered(query):
        parts.append("the filters")
    return (
        f"A zip with the data ({formats.count(counted.tokens, 'token')}) and a manifest that says how it was selected: "
        f"{', '.join(parts)}, the recipe, hashes and versions."
    )


def writer(store: Store, query: SampleQuery, form: Literal["parquet", "jsonl"]) -> Callable[[Path], object]:
    """What writes data, manifest and dataset card into a folder. It runs on request, outside the page."""
    workspace, ledger = session.workspace(), session.ledger()
    return lambda out: export_run(
        workspace, ledger, store, query.scoring.run, out=out, tau=query.tau,
        fraction=1.0 if query.tau is None else None, overrides=dict(query.overrides), query=query, format=form,
    )  # fmt: skip


def _report(store: Store, query: SampleQuery) -> None:
    ledger, run = session.ledger(), session.ledger().run(query.scoring.run)
    st.markdown("**A report of this run as one HTML file**")
    st.caption(
        "Sentences, charts, samples and settings, for people without the app. It opens in any browser, without a "
        "network, and can be printed."
    )
    st.download_button(
        "Download the report", lambda: report.html_report(store, ledger, run, query),
        file_name=f"{run.id}-report.html", mime="text/html", icon=":material/article:", on_click="ignore",
        key="take_report",
    )  # fmt: skip
