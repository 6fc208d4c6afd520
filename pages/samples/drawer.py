"""One sample, opened beside the list: its text token by token, why it stands out, its epochs, decisions by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.analysis import samples
from engine.analysis.rankings import metric_of, pruning_recipe
from engine.common import formats
from engine.common.text import escape_text
from engine.config.rankings import RANKINGS
from engine.storage.store import SampleQuery
from pages.samples.listing import verdict
from pages.samples.view import Choice
from pages.shared import charts, session, token_heatmap
from pages.shared.drawer import Drawer
from pages.shared.escape import escape_markdown

DRAWER = Drawer("sample", width=760, key="drawer")
SHORT = 40  # characters of a field that fits into one line with others


def open_if_asked(choice: Choice, query: SampleQuery, place: DeltaGenerator) -> None:
    """Open the sample that the address names; say in `place` if the run has no such sample."""
    DRAWER.draw(choice.run.id, lambda row, sample: _body(choice, query, row, sample), place)


def _body(choice: Choice, query: SampleQuery, row: int, sample: dict[str, Any]) -> None:
    store, run = session.store(), choice.run.id
    before, after, _ = store.neighbours(query, row)
    rank = store.neighbours(SampleQuery(choice.scoring), row)[2]  # among all, whatever the list shows
    DRAWER.header(before, after, {"run": run})
    history = store.score_history(run, row)
    here = history[(history["epoch"] == choice.scoring.epoch) & (history["seed"].isin([-1, choice.scoring.seed]))]
    values = {metric: float(value) for metric, value in zip(here["metric"], here["value"], strict=True)}
    scores = store.token_scores(run, choice.scoring.epoch, row)
    decided = session.ledger().overrides().get(sample["content_id"])
    decision, note = (decided.decision, decided.note) if decided else ("", "")
    if choice.scoring.metric in values:
        value = values[choice.scoring.metric]
        kept = decision == "keep" if decision else value > (query.tau or 0.0)
        total = store.count(SampleQuery(choice.scoring)).samples
        losses = (values["nll_teacher"], values["nll_student"]) if "nll_student" in values else None
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(verdict(kept, decision), color="blue" if kept else "orange")
            st.markdown(f"**{formats.value(value, 4)}** {samples.unit(choice.scoring.metric)}", width="content")
            st.caption(_facts(sample), width="stretch")
        st.text(samples.stands_out(rank, total, choice.label, value, scores, losses))
    else:
        st.caption(_facts(sample))
        held = sample["split"] == "valid"
        st.text("Held out for validation, so it is not scored." if held else "Not scored yet in this epoch.")
    if not session.read_only() and sample["split"] != "valid":
        _decide(sample["content_id"], decision, note)
    elif note:
        st.text(f"Note: {escape_text(note)}")
    _text(choice, sample, scores, query.search)
    _epochs(choice, history)
    with st.expander("Everything known about this sample"):
        _known(sample, values)


def _decide(content_id: str, decision: str, note: str) -> None:
    """Keep or prune by hand, with a note; the ledger keeps it, the scores stay as they are."""

    def decide(new: str) -> None:
        with session.show_errors():
            session.ledger().override([content_id], new, st.session_state.get(key, note))

    key = f"note_{content_id}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for new, label, letter in (("keep", "Keep by hand", "K"), ("prune", "Prune by hand", "P")):
            done = decision == new
            st.button(
                label if not done else f"{'Kept' if new == 'keep' else 'Pruned'} by hand: take back",
                icon=":material/check:" if done else None, shortcut=letter, key=f"drawer_{new}",
                type="primary" if done else "secondary", on_click=decide, args=("" if done else new,),
            )  # fmt: skip
        st.text_input(
            "Note", value=note, key=key, placeholder="Note", label_visibility="collapsed", width="stretch",
            on_change=lambda: decide(decision),
        )  # fmt: skip


def _facts(sample: dict[str, Any]) -> str:
    """The short fields of the source in one line of Markdown; among them those that the scoring does not read."""
    short = [f"{name}: {value}" for name, value in dict(sample["fields"]).items() if len(f"{name}{value}") <= SHORT]
    facts = [*short, formats.count(sample["length"], "token"), f"row {sample['row']}"]
    return " · ".join(escape_markdown(fact) for fact in facts)


def _text(choice: Choice, sample: dict[str, Any], scores: dict[str, Any] | None, search: str) -> None:
    """The text as the models read it, or as it is if there are no token scores."""
    if scores is not None:
        token_heatmap.show(scores, key="drawer_heat", ends=not sample["truncated"], search=search)
        session.explain(
            "Darker words are those where the two models expect different things next. Point at a word, or tab to it "
            "and use the arrow keys, to see what each of them expected there."
        )
        recipe = pruning_recipe(choice.run)
        first = recipe.seeds[0] if recipe else -1
        if choice.scoring.seed not in (-1, first):
            st.caption(f"Token scores are stored for one seed only: these are of seed {first}.")
        return
    for name, text in samples.blocks(sample):
        st.caption(name)
        st.text(escape_text(text.strip()))
    st.caption("There are no token scores for this sample in this epoch.")


def _epochs(choice: Choice, history: pd.DataFrame) -> None:
    """The sample's value in every epoch, with the thresholds of the run."""
    metric = choice.scoring.metric
    mine = history[history["metric"] == metric]
    if mine["epoch"].nunique() < 2:
        return
    thresholds = session.store().thresholds(choice.run.id)
    if metric_of(choice.run) != metric:
        thresholds = thresholds[:0]
    st.caption(f"{choice.label} over the epochs" + (", with the run's threshold dashed" if len(thresholds) else ""))
    charts.show(
        charts.over_epochs(mine, thresholds, choice.seed, samples.unit(metric)),
        alt=f"{choice.label} of this sample in each epoch", key="drawer_epochs",
    )  # fmt: skip


def _known(sample: dict[str, Any], values: dict[str, float]) -> None:
    """Every field of the source and every score, as plain text."""
    known = {
        **{str(name): str(value) for name, value in dict(sample["fields"]).items()},
        "tokens": f"{sample['length']:,}, of which {sample['response_length']:,} of the response",
        "truncated to the context": "yes" if sample["truncated"] else "no",
        **{RANKINGS[metric]: f"{formats.value(value)} {samples.unit(metric)}" for metric, value in values.items()},
        "content id": str(sample["content_id"]),
    }
    st.table(
        {escape_markdown(name): escape_markdown(value) or "–" for name, value in known.items()}, border="horizontal"
    )
