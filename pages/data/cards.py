"""Cards of the page: a set of data with what can be done with it, and a pair of models."""

from __future__ import annotations

import re

import streamlit as st

from engine.analysis import run_labels
from engine.analysis.datasets import DataSet, amount, place, remove
from engine.analysis.model_pairs import Pair, model_size, shared
from engine.common import formats
from engine.config.data import DataSettings
from engine.config.load import load_recipe, to_dict
from engine.storage.store import Store
from pages.data import preview
from pages.pruning import form
from pages.shared import links, session
from pages.shared.escape import escape_markdown

MANY_ROWS = 2000  # a form that starts from larger data offers this many of its rows


def dataset(data: DataSet, position: int, store: Store) -> None:
    """The card; `position` on the page tells its widgets apart."""
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="top", gap="small"):
            with st.container(gap=None, width="stretch"):
                st.markdown(f"**{escape_markdown(data.name)}**")
                st.markdown(escape_markdown(amount(data, store)))
                st.caption(escape_markdown(" · ".join(_facts(data))))
            _actions(data, position, store)
        if data.info.get("rows"):
            panel = st.expander("First rows and lengths", on_change="rerun", key=f"data_rows_{position}")
            if panel.open:
                with panel:
                    preview.draw(data.info, f"data_{position}")


def _facts(data: DataSet) -> list[str]:
    origin = place(session.workspace(), data.source)
    parts = [origin if data.source == "demo" else f"{origin}: {data.source}"]
    if data.settings.get("split", "train") != "train":
        parts.append(f"split {data.settings['split']}")
    if data.added is not None:
        parts.append(f"added {run_labels.ago(data.added)}")
    parts.append(f"read by {formats.count(len(data.runs), 'run') if data.runs else 'no run yet'}")
    return parts


def _actions(data: DataSet, position: int, store: Store) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        scored = next((run for run in data.runs if len(store.scorings(run.id))), None)
        if scored is not None:
            links.show("samples", "See its samples", icon=":material/filter_alt:", run=scored.id)
        if session.read_only():
            return
        st.button(
            "Start a run", icon=":material/play_arrow:", key=f"data_start_{position}", type="tertiary",
            on_click=_start, args=(data,),
        )  # fmt: skip
        if data.added is not None:
            with st.popover("Remove", icon=":material/delete:", type="tertiary"):
                st.markdown("Winnow forgets this data. Its runs and their results stay.")
                st.button(
                    "Remove it", key=f"data_remove_{position}", type="primary",
                    on_click=remove, args=(session.ledger(), data),
                )  # fmt: skip


def _start(data: DataSet) -> None:
    form.begin_with(recipe_with(data))
    st.session_state["data_start"] = True


def recipe_with(data: DataSet) -> dict[str, object]:
    """What the form of the Dynamic pruning page starts from: a ready-made recipe that reads this data."""
    recipe = to_dict(load_recipe("demo-kl" if data.source == "demo" else "alpaca-kl"))
    if data.source != "demo":
        settings = DataSettings.model_validate(data.settings)
        total = data.info.get("total")
        if settings.limit is None and (total is None or total > MANY_ROWS):
            settings = settings.model_copy(update={"limit": MANY_ROWS})
        recipe["data"] = settings.model_dump(mode="json")
        recipe["name"] = re.sub(r"[^A-Za-z0-9]+", "-", data.name).strip("-").lower()[:30] or "my-data"
    return recipe


def models(pair: Pair) -> None:
    """One pair as a card: the teacher, the student, and what they share."""
    with st.container(border=True, gap="small"):
        for column, role, model in zip(
            st.columns(2, gap="large"), ("Teacher", "Student"), (pair.teacher, pair.student), strict=True
        ):
            with column.container(gap=None):
                st.caption(role)
                st.markdown(f"**{escape_markdown(model.name)}**")
                st.markdown(escape_markdown(model.origin))
                st.caption(escape_markdown(model_size(model, pair.dtype)))
        st.caption(escape_markdown(shared(pair)))
