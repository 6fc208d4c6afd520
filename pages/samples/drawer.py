"""One sample, opened beside the list: its text with token heat, why it stands out, its epochs, and what to do with it.

Which sample is open stands in the address as `sample`, so a link opens it again.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.analysis import samples
from engine.common import formats
from engine.common.text import escape_text
from engine.config.pruning import METRICS, DynamicPruningRecipe
from engine.storage.store import SampleQuery
from pages.samples.listing import verdict
from pages.samples.view import Choice
from pages.shared import charts, copy_link, session, token_heatmap
from pages.shared.escape import escape_markdown

WIDTH = 760
SHORT = 40  # characters of a field that fits into one line with others


def open_if_asked(choice: Choice, query: SampleQuery, place: DeltaGenerator) -> None:
    """Open the sample that the address names; say so in `place` where the run has no such sample."""
    row = asked()
    if row is None:
        return
    if session.store().sample(choice.run.id, row) is None:
        place.warning(f"The link names sample {row:,}, which this run does not have.", icon=":material/link_off:")
        return
    # Made here and not at import: the drawer of one visit must not close over the choice of another.
    st.dialog("Sample", width=WIDTH, position="right", on_dismiss=_close)(_draw)(choice, query)


def asked() -> int | None:
    """The row named in the address; None where there is none, or no number."""
    text = st.query_params.get("sample", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def go(row: int) -> None:
    st.query_params["sample"] = str(row)


def _close() -> None:
    st.query_params.pop("sample", None)


def _draw(choice: Choice, query: SampleQuery) -> None:
    with session.show_errors():
        _body(choice, query)


def _body(choice: Choice, query: SampleQuery) -> None:
    store, run = session.store(), choice.run.id
    row = asked()
    sample = store.sample(run, row) if row is not None else None
    if row is None or sample is None:
        return
    before, after, _ = store.neighbours(query, row)
    rank = store.neighbours(SampleQuery(choice.scoring), row)[2]  # among all, whatever the list shows
    history = store.history(run, row)
    _turn(before, after, run)
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
        st.text(samples.stands_out(rank, total, choice.label, value, scores, losses, token_heatmap.visible))
    else:
        st.caption(_facts(sample))
        held = sample["split"] == "valid"
        st.text("Held out for validation, so it is never scored." if held else "Not scored yet in this epoch.")
    if not session.read_only() and sample["split"] != "valid":
        _decide(sample["content_id"], decision, note)
    elif note:
        st.text(f"Note: {escape_text(note)}")
    _text(choice, sample, scores, query.search)
    _epochs(choice, history)
    with st.expander("Everything known about this sample"):
        _known(sample, values)


def _turn(before: int | None, after: int | None, run: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Previous", icon=":material/arrow_back:", shortcut="Left", key="drawer_previous", disabled=before is None,
            on_click=go, args=(before,),
        )  # fmt: skip
        st.button(
            "Next", icon=":material/arrow_forward:", shortcut="Right", key="drawer_next", disabled=after is None,
            on_click=go, args=(after,),
        )  # fmt: skip
        copy_link.draw(key="drawer_link", also={"run": run})


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
    """The short fields of the source in one line of Markdown; among them what the scoring never read."""
    short = [f"{name}: {value}" for name, value in dict(sample["fields"]).items() if len(f"{name}{value}") <= SHORT]
    facts = [*short, formats.count(sample["length"], "token"), f"row {sample['row']}"]
    return " · ".join(escape_markdown(fact) for fact in facts)


def _text(choice: Choice, sample: dict[str, Any], scores: dict[str, Any] | None, search: str) -> None:
    """The text as the models read it, or as it is where there are no token scores."""
    if scores is not None:
        token_heatmap.show(scores, key="drawer_heat", ends=not sample["truncated"], search=search)
        session.explain(
            "Darker words are those where the two models expect different things next. Point at a word, or tab to it "
            "and use the arrow keys, to see what each of them expected there."
        )
        first = _first_seed(choice)
        if choice.scoring.seed not in (-1, first):
            st.caption(f"Tokens are kept for one seed: this is how seed {first} saw them.")
        return
    for name, text in (
        ("Prompt", f"{sample['instruction']}\n{sample['input']}"),
        ("Response", str(sample["response"])),
    ):
        st.caption(name)
        st.text(escape_text(text.strip()))
    st.caption("There are no token scores for this sample in this epoch.")


def _first_seed(choice: Choice) -> int:
    recipe = choice.run.parsed()
    return recipe.seeds[0] if isinstance(recipe, DynamicPruningRecipe) else -1


def _epochs(choice: Choice, history: pd.DataFrame) -> None:
    """The sample's value in every epoch, with the thresholds of the run."""
    metric = choice.scoring.metric
    mine = history[history["metric"] == metric]
    if mine["epoch"].nunique() < 2:
        return
    recipe = choice.run.parsed()
    thresholds = session.store().thresholds(choice.run.id)
    if not isinstance(recipe, DynamicPruningRecipe) or recipe.pruning.metric != metric:
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
        "cut to the context": "yes" if sample["truncated"] else "no",
        **{METRICS[metric]: f"{formats.value(value)} {samples.unit(metric)}" for metric, value in values.items()},
        "content id": str(sample["content_id"]),
    }
    st.table(
        {escape_markdown(name): escape_markdown(value) or "–" for name, value in known.items()}, border="horizontal"
    )
