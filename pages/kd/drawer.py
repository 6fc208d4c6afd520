"""One labelled sample, opened beside the gallery: its picture or text, its label, and where it stands by every score.

Which sample is open stands in the address as `kd_sample`, so a link opens it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from engine.analysis import kd
from engine.common.text import escape_text
from engine.config.kd import PRUNING_SCORES, arm, kept_arm
from pages.kd.view import View
from pages.shared import copy_link, session
from pages.shared.escape import escape_markdown

WIDTH = 560
PICTURE = 224  # pixels


def open_if_asked(view: View, shown: Sequence[int]) -> None:
    """Open the sample that the address names; `shown` are the rows one can turn to."""
    row = asked()
    if row is None:
        return
    if session.store().sample(view.run.id, row) is None:
        st.warning(f"The link names sample {row:,}, which this run does not have.", icon=":material/link_off:")
        return
    # Made here and not at import: the drawer of one visit must not close over the view of another.
    st.dialog("Sample", width=WIDTH, position="right", on_dismiss=_close)(_draw)(view, shown)


def asked() -> int | None:
    """The row named in the address; None where there is none, or no number."""
    text = st.query_params.get("kd_sample", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def go(row: int) -> None:
    st.query_params["kd_sample"] = str(row)


def _close() -> None:
    st.query_params.pop("kd_sample", None)


def _draw(view: View, shown: Sequence[int]) -> None:
    with session.show_errors():
        row = asked()
        if row is not None:
            _body(view, shown, row)


def _body(view: View, shown: Sequence[int], row: int) -> None:
    store, run = session.store(), view.run.id
    told = store.labelled(run, [row])
    sample = store.sample(run, row)
    if row not in told or sample is None:
        return
    place = shown.index(row) if row in shown else -1
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, icon, key, to in (
            ("Previous", ":material/arrow_back:", "Left", place - 1),
            ("Next", ":material/arrow_forward:", "Right", place + 1),
        ):
            there = place >= 0 and 0 <= to < len(shown)
            st.button(
                label, icon=icon, shortcut=key, key=f"kd_{label}", disabled=not there, on_click=go,
                args=(shown[to] if there else row,),
            )  # fmt: skip
        copy_link.draw(key="kd_sample_link", also={"kd_run": run})
    png = store.images(run, [row]).get(row)
    with st.container(key="kd_picture"):
        if png is not None:
            st.html("<style>.st-key-kd_picture img { image-rendering: pixelated; }</style>")
            st.image(png, width=PICTURE, alt=f"Sample {row}")
        else:
            st.text(escape_text(f"{told[row]['instruction']}\n{told[row]['input']}".strip()))
    st.markdown(f"**{escape_markdown(told[row]['label']) or 'no label'}** :gray[label]")
    facts = [f"{name}: {value}" for name, value in dict(sample["fields"]).items()]
    split = {"train": "to learn from", "valid": "held back", "test": "for testing"}.get(sample["split"], "")
    st.caption(" · ".join(escape_markdown(fact) for fact in [*facts, split, f"row {row}"] if fact))
    _kept(view, row)
    _standing(view, row)


def _kept(view: View, row: int) -> None:
    """Which scores keep it at the share on the screen."""
    table = session.store().kept_by(view.run.id, row)
    arms = {name: bool(kept) for name, kept in zip(table["arm"], table["kept"], strict=True)}
    decided = {score: arms.get(kept_arm(score, view.fraction, view.noise)) for score in view.cells.scores}
    if all(kept is None for kept in decided.values()):
        return
    st.markdown(f"**At {kd.percent(view.fraction)} of the data**")
    with st.container(horizontal=True, gap="small"):
        for score, kept in decided.items():
            if kept is not None:
                st.badge(f"{PRUNING_SCORES[score]}: {'kept' if kept else 'pruned'}", color="blue" if kept else "orange")


def _standing(view: View, row: int) -> None:
    """Its value by every score, and the share of samples it ranks above."""
    table = session.store().standings(view.run.id, row)
    mine = table[table["arm"] == arm("base", view.noise)]
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
