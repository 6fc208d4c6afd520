"""One labelled sample, opened beside the gallery: its picture or text, its label, and its rank by every score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from engine.analysis.wording import percent
from engine.common.text import escape_text
from engine.config.grid import PRUNING_SCORES, noise_label, selection_arm
from engine.config.kinds import KD
from pages.kd.controls import View
from pages.shared import session
from pages.shared.drawer import Drawer
from pages.shared.escape import escape_markdown

DRAWER = Drawer("kd_sample", width=560, key="kd_sample")
PICTURE = 224  # pixels


def open_if_asked(view: View, shown: Sequence[int]) -> None:
    """Open the sample that the address names; `shown` are the rows one can turn to."""
    DRAWER.draw(view.run.id, lambda row, sample: _body(view, shown, row, sample), st.container())


def _body(view: View, shown: Sequence[int], row: int, sample: dict[str, Any]) -> None:
    store, run = session.store(), view.run.id
    found = store.labelled_samples(run, [row])
    if row not in found:
        return
    place = shown.index(row) if row in shown else None
    before = shown[place - 1] if place else None
    after = shown[place + 1] if place is not None and place + 1 < len(shown) else None
    DRAWER.header(before, after, {KD.query: run})
    png = store.images(run, [row]).get(row)
    with st.container(key="kd_picture"):
        if png is not None:
            st.html("<style>.st-key-kd_picture img { image-rendering: pixelated; }</style>")
            st.image(png, width=PICTURE, alt=f"Sample {row}")
        else:
            st.text(escape_text(f"{found[row]['instruction']}\n{found[row]['input']}".strip()))
    st.markdown(f"**{escape_markdown(found[row]['label']) or 'no label'}** :gray[label]")
    facts = [f"{name}: {value}" for name, value in dict(sample["fields"]).items()]
    split = {"train": "to learn from", "valid": "held out", "test": "for testing"}.get(sample["split"], "")
    st.caption(" · ".join(escape_markdown(fact) for fact in [*facts, split, f"row {row}"] if fact))
    _kept(view, row)
    _ranks(view, row)


def _kept(view: View, row: int) -> None:
    """Which scores keep it at the share on the screen."""
    table = session.store().kept_by_arm(view.run.id, row)
    arms = {name: bool(kept) for name, kept in zip(table["arm"], table["kept"], strict=True)}
    kept_by = {score: arms.get(selection_arm(score, view.fraction, view.noise)) for score in view.cells.scores}
    if all(kept is None for kept in kept_by.values()):
        return
    st.markdown(f"**At {percent(view.fraction)} of the data**")
    with st.container(horizontal=True, gap="small"):
        for score, kept in kept_by.items():
            if kept is not None:
                st.badge(f"{PRUNING_SCORES[score]}: {'kept' if kept else 'pruned'}", color="blue" if kept else "orange")


def _ranks(view: View, row: int) -> None:
    """Its value by every score, and the share of samples it ranks above."""
    table = session.store().sample_ranks(view.run.id, row)
    mine = table[table["arm"] == noise_label("base", view.noise)]
    if mine.empty:
        st.caption("It has no scores: only samples to learn from are scored.")
        return
    below = 100 * mine["below"] / (mine["samples"] - 1).clip(lower=1)
    tied = mine["samples"] - mine["above"] - mine["below"] - 1
    st.dataframe(
        pd.DataFrame(
            {
                "score": [PRUNING_SCORES.get(metric, escape_text(metric)) for metric in mine["metric"]],
                "value": mine["value"],
                "ranks above": below,
                "as high": tied,
            }
        ),
        hide_index=True, width="stretch", alt="Every score of this sample",
        column_config={
            "value": st.column_config.NumberColumn(format="%.3g"),
            "ranks above": st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100),
            "as high": st.column_config.NumberColumn(
                format="%d", help="Other samples with the very same score; chance decides which of them stay."
            ),
        },
    )  # fmt: skip
    session.explain("Samples that rank high are kept first. For most scores they are the ones that are hard to learn.")
